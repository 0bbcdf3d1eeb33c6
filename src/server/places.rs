//! Places: how many clients may have joined at one time, and who makes room when all places are taken.
//!
//! Members of a group with several sources keep their places. Clients that wait make room first, then members of a group that is online
//! from one source only: a stranger can found such groups alone.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Shared;
use super::client::Client;
use super::group::Group;
use super::refusal::Refusal;
use crate::net::connection::ClientId;
use crate::net::fairness::{Source, who_makes_room};

/// The clients that have a place.
pub(crate) type Places = Mutex<HashSet<ClientId>>;

/// The place of one client, which is free again when this is dropped.
pub(crate) struct Place<'a> {
    places: &'a Places,
    id: ClientId,
}

impl Shared {
    /// Takes a place for a client that comes from this source. Another may have to make room for it.
    pub(crate) fn take_place(&self, id: ClientId, source: Source) -> Result<Place<'_>, Refusal> {
        loop {
            let places = &self.places;
            let mut taken = places.lock();
            if taken.len() < self.settings.max_clients {
                taken.insert(id);
                return Ok(Place { places, id });
            }
            drop(taken);
            self.make_room(source)?;
        }
    }

    /// One client makes room for another from this source.
    fn make_room(&self, newcomer: Source) -> Result<(), Refusal> {
        let mut clients = self.table.clients(|group| {
            let alone = group.online().filter(|_| !is_shared(group));
            group.waiting().chain(alone).cloned().collect()
        });
        let taken = self.places.lock();
        clients.retain(|client| taken.contains(&client.id));
        drop(taken);
        clients.sort_by_key(|client| (client.check_member().is_ok(), client.id));
        let waiting = clients.iter().filter(|it| it.check_member().is_err());
        let client = who_makes_room(waiting.map(one), Some(newcomer))
            .or_else(|| who_makes_room(clients.iter().map(one), Some(newcomer)))
            .ok_or(Refusal::ServerFull)?;
        if self.places.lock().remove(&client.id) {
            client.make_room();
        }
        Ok(())
    }
}

/// What one client holds: one place.
fn one(client: &Arc<Client>) -> (Source, usize, &Arc<Client>) {
    (client.source, 1, client)
}

/// Whether members from several sources are online.
fn is_shared(group: &Group) -> bool {
    let mut sources = group.online().map(|client| client.source);
    let first = sources.next();
    sources.any(|source| Some(source) != first)
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.lock().remove(&self.id);
    }
}
