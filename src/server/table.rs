//! The group table: all groups by name, behind one `RwLock`.
//!
//! A client that joins holds the table while it enters its group. So no group is forgotten that somebody is about to enter.
//! The order of locks is table, group, turn.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::client::Client;
use super::group::Group;
use super::joining::JoinFrames;
use super::refusal::Refusal;
use crate::wire::name::GroupName;

/// The most groups. If the table is full, groups that nobody would miss are forgotten.
const MAX_GROUPS: usize = 10_000;

/// All groups of a server.
pub(crate) struct GroupTable {
    groups: RwLock<HashMap<GroupName, Arc<Mutex<Group>>>>,
    /// How many lines each keeps for members that are offline.
    backlog: usize,
}

impl GroupTable {
    /// An empty table, whose groups keep this many lines.
    pub(crate) fn new(backlog: usize) -> GroupTable {
        GroupTable {
            groups: RwLock::default(),
            backlog,
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
        let join = |group: &Arc<Mutex<Group>>| {
            let deed = group.lock().join(client, frames)?;
            Ok((Arc::clone(group), deed))
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
            groups.retain(|_, group| !group.lock().is_forgettable());
        }
        if groups.len() >= MAX_GROUPS {
            return Err(Refusal::NoMoreGroups);
        }
        let group = Group::found(client, frames, self.backlog);
        let group = Arc::new(Mutex::new(group));
        groups.insert(name.clone(), Arc::clone(&group));
        Ok((group, "founds"))
    }

    /// Those clients of all groups that `of` finds in a group.
    pub(crate) fn clients(&self, of: impl Fn(&Group) -> Vec<Arc<Client>>) -> Vec<Arc<Client>> {
        let groups: Vec<_> = self.groups.read().values().cloned().collect();
        groups.iter().flat_map(|group| of(&group.lock())).collect()
    }

    /// All groups.
    #[cfg(test)]
    pub fn all(&self) -> Vec<Arc<Mutex<Group>>> {
        self.groups.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::server::testkit::Kit;

    /// Fills the table up with other names of this group.
    fn fill(table: &GroupTable, group: &Arc<Mutex<Group>>) {
        let mut groups = table.groups.write();
        for n in groups.len()..MAX_GROUPS {
            let name = GroupName::parse(&format!("group {n}")).unwrap();
            groups.insert(name, Arc::clone(group));
        }
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
