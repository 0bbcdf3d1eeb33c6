//! The group table: all groups by name, behind one `RwLock`.
//!
//! The lock is taken to find or create a group, and released before the group is locked: so a busy group holds nobody up but its own
//! members. The one exception looks into groups while it makes room in a full table; the order of locks is table, group, turn.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::client::Client;
use super::group::{Group, Joined};
use super::joining::JoinFrames;
use super::refusal::Refusal;
use crate::wire::name::GroupName;

/// The most groups. When the table is full, groups that nobody would miss give way.
const MAX_GROUPS: usize = 10_000;

/// All groups of a server.
pub struct GroupTable {
    groups: RwLock<HashMap<GroupName, Arc<Mutex<Group>>>>,
    /// How many lines each keeps for members who are offline.
    backlog: usize,
}

impl GroupTable {
    /// An empty table, whose groups keep so many lines.
    pub fn new(backlog: usize) -> GroupTable {
        GroupTable {
            groups: RwLock::default(),
            backlog,
        }
    }

    /// Seats a client in the group of this name, which is created if need be.
    ///
    /// # Errors
    /// As [`Group::join`]; [`Refusal::NoMoreGroups`] if there is no room for a new one.
    pub fn join(
        &self,
        name: &GroupName,
        client: &Arc<Client>,
        frames: &JoinFrames,
    ) -> Result<(Arc<Mutex<Group>>, Joined), Refusal> {
        loop {
            let shared = self.find_or_create(name, client)?;
            let mut group = shared.lock();
            if !group.is_dropped {
                let joined = group.join(client, frames)?;
                drop(group);
                return Ok((shared, joined));
            }
        }
    }

    fn find_or_create(
        &self,
        name: &GroupName,
        founder: &Client,
    ) -> Result<Arc<Mutex<Group>>, Refusal> {
        if let Some(group) = self.groups.read().get(name) {
            return Ok(Arc::clone(group));
        }
        let mut groups = self.groups.write();
        if groups.len() >= MAX_GROUPS {
            groups.retain(|_, group| {
                let mut group = group.lock();
                group.is_dropped = group.is_forgettable();
                !group.is_dropped
            });
        }
        if groups.len() >= MAX_GROUPS {
            return Err(Refusal::NoMoreGroups);
        }
        let group = || Arc::new(Mutex::new(Group::new(founder.name.clone(), self.backlog)));
        Ok(Arc::clone(groups.entry(name.clone()).or_insert_with(group)))
    }

    /// All groups there are now.
    pub fn all(&self) -> Vec<Arc<Mutex<Group>>> {
        self.groups.read().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::server::testkit::{DEN, Kit};

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
    fn whoever_joins_first_administers_also_if_another_was_faster_to_create() {
        let kit = Kit::new();
        let bob = kit.tries_to_join_group("bob", "elsewhere").unwrap();
        let name = GroupName::parse(DEN).unwrap();
        kit.shared.table.find_or_create(&name, &bob.client).unwrap();
        let alice = kit.joins("alice");
        alice.hears(&["/adminReady"]);
        let group = alice.group.lock();
        assert_eq!(
            group.who_administers(&alice.client),
            Ok(alice.client.name.clone())
        );
    }

    #[test]
    fn group_that_is_dropped_while_somebody_joins_is_looked_for_again() {
        // The drop may come before the join, so the test gives the two many chances to meet.
        for _ in 0..50 {
            let kit = Kit::new();
            let alice = kit.joins("alice");
            alice.leaves();
            let (steps, step) = bounded(0);
            thread::scope(|scope| {
                let mut dropped = alice.group.lock();
                scope.spawn(|| {
                    steps.send("looks").unwrap();
                    let bob = kit.joins("bob");
                    bob.hears(&["/adminReady"]);
                    assert!(!Arc::ptr_eq(&bob.group, &alice.group));
                    steps.send("joined").unwrap();
                });
                let deadline = Duration::from_secs(10);
                assert_eq!(step.recv_timeout(deadline), Ok("looks"));
                thread::yield_now();
                dropped.is_dropped = true;
                let name = GroupName::parse(DEN).unwrap();
                kit.shared.table.groups.write().remove(&name);
                drop(dropped);
                assert_eq!(step.recv_timeout(deadline), Ok("joined"));
            });
        }
    }
}
