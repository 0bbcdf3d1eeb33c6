//! The group table: all groups by name, behind one `RwLock`.
//!
//! A client that joins holds the table while it enters its group. So no group is forgotten that somebody is about to enter.
//! The order of locks is table, group, turn.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};

use super::backlog::Backlog;
use super::client::Client;
use super::group::Group;
use super::joining::JoinFrames;
use super::refusal::Refusal;
use crate::net::connection::ClientId;
use crate::net::fairness::{Source, who_makes_room};
use crate::net::memory::Memory;
use crate::wire::name::{GroupName, UserName};

/// The most groups. If the table is full, it forgets groups as [`Group::is_forgettable`] says. If it is still full, a group without anybody
/// online makes room.
const MAX_GROUPS: usize = 10_000;

/// All groups of a server.
pub(crate) struct GroupTable {
    groups: RwLock<BTreeMap<GroupName, Founded>>,
    /// How many lines each keeps for members that are offline.
    backlog: usize,
    memory: Arc<Memory>,
    pub(super) changes: Arc<Changes>,
}

/// What has changed in any group.
#[derive(Default)]
pub(crate) struct Changes {
    /// Something that the state file keeps.
    pub to_save: AtomicBool,
    /// A count of requests. The members are told of it later.
    pub to_tell: AtomicBool,
}

/// A group and where it comes from.
struct Founded {
    group: Arc<Mutex<Group>>,
    /// The client that founded it. Later groups have larger numbers.
    by: ClientId,
    source: Source,
}

impl GroupTable {
    /// An empty table, whose groups keep this many lines, which count in this memory.
    pub(crate) fn new(backlog: usize, memory: Arc<Memory>) -> GroupTable {
        GroupTable {
            groups: RwLock::default(),
            backlog,
            memory,
            changes: Arc::default(),
        }
    }

    /// A client joins the group of this name. If there is none, the client founds it. Returns the group, and what the client does, for the
    /// log.
    pub(crate) fn join(
        &self,
        name: &GroupName,
        client: &Arc<Client>,
        frames: &JoinFrames,
    ) -> Result<(Arc<Mutex<Group>>, &'static str), Refusal> {
        let join = |Founded { group, .. }: &Founded| {
            let verb = group.lock().join(client, frames)?;
            Ok((Arc::clone(group), verb))
        };
        if let Some(group) = self.groups.read().get(name) {
            return join(group);
        }
        let mut groups = self.groups.write();
        if let Some(group) = groups.get(name) {
            // Another client was faster.
            return join(group);
        }
        if groups.len() >= MAX_GROUPS {
            groups.retain(|_, founded| !founded.group.lock().is_forgettable());
        }
        if groups.len() >= MAX_GROUPS {
            let name = who_is_forgotten(&groups, client.source).ok_or(Refusal::NoMoreGroups)?;
            groups.remove(&name);
        }
        let mut group = self.new_group(client.name.clone());
        group.found(client, frames);
        let group = Arc::new(Mutex::new(group));
        let founded = Founded {
            group: Arc::clone(&group),
            by: client.id,
            source: client.source,
        };
        groups.insert(name.clone(), founded);
        Ok((group, "founds"))
    }

    /// A group without members, which is not in the table yet.
    pub(super) fn new_group(&self, admin: UserName) -> Group {
        Group::new(
            admin,
            Backlog::new(self.backlog, &self.memory),
            &self.changes,
        )
    }

    /// Puts a group into the table that was in the state file. Returns whether there is one of this name already.
    pub(crate) fn restore(&self, name: GroupName, group: Group, source: Source) -> bool {
        let founded = Founded {
            group: Arc::new(Mutex::new(group)),
            // Older than all that come.
            by: 0,
            source,
        };
        self.groups.write().insert(name, founded).is_some()
    }

    /// All groups, in the order of their names.
    pub(crate) fn all(&self) -> Vec<(GroupName, Arc<Mutex<Group>>)> {
        let groups = self.groups.read();
        let all = groups.iter();
        all.map(|(name, it)| (name.clone(), Arc::clone(&it.group)))
            .collect()
    }

    /// Those clients of all groups that `of` finds in a group.
    pub(crate) fn clients(&self, of: impl Fn(&Group) -> Vec<Arc<Client>>) -> Vec<Arc<Client>> {
        self.all()
            .iter()
            .flat_map(|(_, group)| of(&group.lock()))
            .collect()
    }

    /// What the lines cost that are kept for members that are offline, in bytes, for each source whose groups keep any.
    pub(crate) fn kept(&self) -> Vec<(Source, usize)> {
        let groups = self.groups.read();
        let groups = groups.values();
        let mut kept: HashMap<Source, usize> = HashMap::new();
        for it in groups {
            *kept.entry(it.source).or_default() += it.group.lock().backlog.cost();
        }
        kept.into_iter().filter(|(_, cost)| *cost > 0).collect()
    }

    /// Forgets the lines that are kept in the groups of this source.
    pub(crate) fn forget_lines(&self, source: Source) {
        let groups = self.groups.read();
        let its = groups.values().filter(|it| it.source == source);
        its.for_each(|it| it.group.lock().backlog.forget());
    }
}

/// The group that makes room for one from this source: nobody is online in it, and it is the oldest of the source that founded most such
/// groups. If that is the newcomer's own source, it is the oldest of that one.
fn who_is_forgotten(groups: &BTreeMap<GroupName, Founded>, newcomer: Source) -> Option<GroupName> {
    let is_left = |(_, it): &(&GroupName, &Founded)| it.group.lock().clients().next().is_none();
    let mut left: Vec<_> = groups.iter().filter(is_left).collect();
    left.sort_by_key(|(_, it)| it.by);
    let mut holders = left.iter().map(|(name, it)| (it.source, 1, *name));
    who_makes_room(holders.clone(), Some(newcomer))
        .or_else(|| Some(holders.find(|(source, ..)| *source == newcomer)?.2))
        .cloned()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::net::fairness::tests::source;
    use crate::server::testkit::{DEN, Kit, Person};

    /// Fills the table up with other names of this group, which a stranger founded.
    fn fill(table: &GroupTable, group: &Arc<Mutex<Group>>) {
        let mut groups = table.groups.write();
        for n in groups.len()..MAX_GROUPS {
            let name = GroupName::parse(&format!("group {n}")).unwrap();
            let founded = Founded {
                group: Arc::clone(group),
                by: 1000 + n as u64,
                source: source(66),
            };
            groups.insert(name, founded);
        }
    }

    #[test]
    fn in_a_full_table_a_group_of_the_stranger_who_founded_most_makes_room_but_no_group_that_is_online()
     {
        let kit = Kit::new();
        let table = &kit.shared.table;
        let [alice, _bob] = kit.members(["alice", "bob"]);
        // He left somebody in it, so it would be missed.
        *kit.source.lock() = source(66);
        let his = ["mallory", "trudy"].map(|name| kit.tries_to_join_group(name, "group").unwrap());
        his[0].approves("trudy").unwrap();
        his.iter().for_each(Person::leaves);
        fill(table, &his[0].group);
        let exists = |name: &str| {
            table
                .groups
                .read()
                .contains_key(&GroupName::parse(name).unwrap())
        };
        *kit.source.lock() = source(2);
        kit.tries_to_join_group("carol", "one more").unwrap();
        assert!(!exists("group") && exists("group 2") && table.all().len() == MAX_GROUPS);
        // His own next group takes the place of his oldest.
        *kit.source.lock() = source(66);
        kit.tries_to_join_group("mallory", "two more").unwrap();
        assert!(!exists("group 2") && exists("group 3") && exists("one more"));
        alice.says("hello").unwrap();
        assert!(exists(DEN));
    }

    #[test]
    fn in_a_full_table_groups_that_nobody_would_miss_give_way() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let table = &kit.shared.table;
        fill(table, &alice.group);
        let refusal = kit.tries_to_join_group("bob", "one more").err();
        assert_eq!(refusal, Some(Refusal::NoMoreGroups));
        kit.joins("bob").hears(&["/wait"]);
        alice.denies("bob").unwrap();

        alice.leaves();
        let bob = kit.tries_to_join_group("bob", "one more").unwrap();
        bob.hears(&["/adminReady"]);
        assert_eq!(table.all().len(), 1);
        // The old group is forgotten, and so is who administered it.
        kit.joins("carol").hears(&["/adminReady"]);
    }

    #[test]
    fn of_clients_that_join_a_new_group_at_once_one_founds_it() {
        for _ in 0..50 {
            let kit = &Kit::new();
            let heard: Vec<_> = thread::scope(|scope| {
                let join = |name| scope.spawn(move || kit.joins(name).output.heard());
                let joining = ["alice", "bob", "carol"].map(join);
                joining.map(|thread| thread.join().unwrap()).concat()
            });
            let is_founder = |text: &&String| *text == "/adminReady";
            assert_eq!(heard.iter().filter(is_founder).count(), 1, "{heard:?}");
            assert_eq!(kit.shared.table.all().len(), 1);
        }
    }
}
