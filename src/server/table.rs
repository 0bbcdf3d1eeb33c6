//! The group table: all groups by name, behind one `RwLock`.
//!
//! The lock is taken to find or create a group, and released before the group is locked: so a busy group holds nobody up but its own
//! members. The one exception looks into groups while it makes room in a full table; the order of locks is table, group, turn.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::group::{Group, JoinFrames, Joined, Refusal};
use super::seat::Seat;
use crate::wire::name::GroupName;

/// The most groups. When the table is full, groups that nobody would miss give way.
const MAX_GROUPS: usize = 10_000;

/// All groups of a server.
#[derive(Default)]
pub struct GroupTable {
    groups: RwLock<HashMap<GroupName, Arc<Mutex<Group>>>>,
}

impl GroupTable {
    /// Seats a client in the group of this name, which is created if need be.
    ///
    /// # Errors
    /// As [`Group::join`]; [`Refusal::Full`] also if there is no room for a new group.
    pub fn join(
        &self,
        name: &GroupName,
        seat: &Arc<Seat>,
        frames: &JoinFrames,
    ) -> Result<(Arc<Mutex<Group>>, Joined), Refusal> {
        loop {
            let shared = self.find_or_create(name, seat)?;
            let mut group = shared.lock();
            if !group.is_dropped {
                let joined = group.join(seat, frames)?;
                drop(group);
                return Ok((shared, joined));
            }
        }
    }

    fn find_or_create(
        &self,
        name: &GroupName,
        founder: &Seat,
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
            return Err(Refusal::Full);
        }
        let group = groups
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Mutex::new(Group::new(founder.name.clone()))));
        Ok(Arc::clone(group))
    }

    /// All groups there are now.
    pub fn all(&self) -> Vec<Arc<Mutex<Group>>> {
        self.groups.read().values().cloned().collect()
    }
}
