//! Bans: the users that a group keeps out for good.
//!
//! A ban holds for a name and those that look like it, and for the key that came with the name. It also holds for an address if the admin
//! wants that.
//! Members are not looked up here. So the ban of an address keeps no member out that shares it.

use super::client::Client;
use super::refusal::Refusal;
use crate::net::fairness::Source;
use crate::seal::PublicKey;
use crate::wire::name::UserName;

/// The most bans of a group.
const MAX_BANS: usize = 1000;

/// All bans of a group.
#[derive(Default)]
pub(crate) struct Bans(pub(super) Vec<Ban>);

/// See the module's page.
pub(crate) struct Ban {
    pub name: UserName,
    pub key: Option<PublicKey>,
    pub source: Option<Source>,
}

impl Bans {
    /// Bans a user. A ban of the same name is replaced.
    pub(crate) fn add(
        &mut self,
        name: &UserName,
        key: Option<PublicKey>,
        source: Option<Source>,
    ) -> Result<(), Refusal> {
        self.0.retain(|ban| ban.name != *name);
        if self.0.len() == MAX_BANS {
            return Err(Refusal::TooManyBans);
        }
        self.0.push(Ban {
            name: name.clone(),
            key,
            source,
        });
        Ok(())
    }

    /// Lifts the ban of this name.
    pub(crate) fn remove(&mut self, name: &UserName) -> Result<(), Refusal> {
        let n_before = self.0.len();
        self.0.retain(|ban| !ban.name.looks_like(name));
        if self.0.len() == n_before {
            return Err(Refusal::NotBanned(name.clone()));
        }
        Ok(())
    }

    /// The names that are banned.
    pub(crate) fn names(&self) -> Vec<UserName> {
        self.0.iter().map(|ban| ban.name.clone()).collect()
    }

    /// Refuses a client that is banned.
    pub(crate) fn check(&self, client: &Client) -> Result<(), Refusal> {
        let concerns = |ban: &Ban| {
            ban.name.looks_like(&client.name)
                || ban.key.is_some() && ban.key == client.user_key
                || ban.source == Some(client.source)
        };
        if self.0.iter().any(concerns) {
            return Err(Refusal::Banned);
        }
        Ok(())
    }
}
