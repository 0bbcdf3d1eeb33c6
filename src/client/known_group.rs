//! What the client knows of the group: who the admin is, who is a member, who has asked to join, and whether the user still waits.
//!
//! All of it comes from what the server says. The names are shared with the terminal, which completes them.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::screen::{Names, Right, Standing};
use crate::wire::command::MADE_ADMIN;
use crate::wire::name::UserName;

/// What the client knows of the group.
pub struct KnownGroup {
    me: String,
    /// The admin, if the client knows who it is.
    pub admin: Mutex<Option<String>>,
    /// Shared with the terminal.
    pub names: Arc<Mutex<Names>>,
}

impl KnownGroup {
    /// Nothing is known yet.
    pub fn new(me: &UserName) -> KnownGroup {
        KnownGroup {
            me: me.to_string(),
            admin: Mutex::default(),
            names: Arc::default(),
        }
    }

    /// Learns from the server's answer to joining.
    pub fn joined(&self, standing: Standing) {
        self.names.lock().is_waiting = standing == Standing::Waiting;
        let mut admin = self.admin.lock();
        match standing {
            Standing::Admin => *admin = Some(self.me.clone()),
            // A server that was started again has another admin than before.
            Standing::Waiting => *admin = None,
            Standing::Member => {}
        }
    }

    /// Whether the user waits for approval.
    pub fn is_waiting(&self) -> bool {
        self.names.lock().is_waiting
    }

    /// Whether the client has heard of a member of this name.
    pub fn has_member(&self, name: &str) -> bool {
        self.names.lock().members.contains(name)
    }

    /// Learns from a notice of the server.
    pub fn learn(&self, notice: &str) {
        if notice.ends_with(MADE_ADMIN) {
            *self.admin.lock() = Some(self.me.clone());
        }
    }

    /// Somebody asks to join. Returns whether the user can answer.
    pub fn requested(&self, name: &str) -> Right {
        self.names.lock().add_request(name);
        match &*self.admin.lock() {
            Some(admin) if *admin == self.me => Right::Admin,
            Some(_) => Right::Member,
            None => Right::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::MAX_NAMES;

    #[test]
    fn the_admin_can_answer_a_request() {
        let known = KnownGroup::new(&UserName::parse("alice").unwrap());
        known.joined(Standing::Member);
        assert_eq!(known.requested("bob"), Right::Unknown);
        *known.admin.lock() = Some("carol".into());
        assert_eq!(known.requested("bob"), Right::Member);
        known.learn(&format!("carol{MADE_ADMIN}"));
        assert_eq!(known.requested("bob"), Right::Admin);
        assert!(known.names.lock().requests.contains("bob"));
        known.names.lock().add_member("bob");
        assert!(known.names.lock().requests.is_empty());
    }

    #[test]
    fn who_waits_again_knows_no_admin_any_more() {
        let known = KnownGroup::new(&UserName::parse("alice").unwrap());
        known.joined(Standing::Admin);
        known.joined(Standing::Member);
        assert_eq!(known.admin.lock().as_deref(), Some("alice"));
        known.joined(Standing::Waiting);
        assert_eq!(*known.admin.lock(), None);
    }

    #[test]
    fn a_server_that_names_people_without_end_costs_no_more_than_a_limit() {
        let known = KnownGroup::new(&UserName::parse("alice").unwrap());
        for n in 0..=MAX_NAMES {
            known.names.lock().add_member(&n.to_string());
            known.requested(&n.to_string());
        }
        let names = known.names.lock();
        assert_eq!(names.members.len(), MAX_NAMES);
        assert_eq!(names.requests.len(), MAX_NAMES);
    }
}
