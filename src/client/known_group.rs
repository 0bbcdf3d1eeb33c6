//! What the client knows of the group: who the admin is, who is a member, who has asked to join, and whether the user still waits.
//!
//! All of it comes from what the server says. The names are shared with the terminal, which completes them.

use std::sync::Arc;

use parking_lot::Mutex;

use super::joining::Verdict;
use crate::terminal::Names;
use crate::wire::command::{HAS_REQUESTED, MADE_ADMIN};
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
    pub fn joined(&self, verdict: Verdict) {
        self.names.lock().is_waiting = verdict == Verdict::Waiting;
        let mut admin = self.admin.lock();
        match verdict {
            Verdict::Admin => *admin = Some(self.me.clone()),
            // A server that was started again has another admin than before.
            Verdict::Waiting => *admin = None,
            Verdict::Member => {}
        }
    }

    /// Whether the user waits for approval.
    pub fn is_waiting(&self) -> bool {
        self.names.lock().is_waiting
    }

    /// Learns from a notice of the server. Returns what the user can do about it.
    pub fn learn(&self, notice: &str) -> Option<String> {
        if notice.ends_with(MADE_ADMIN) {
            *self.admin.lock() = Some(self.me.clone());
        }
        self.requested(notice.strip_suffix(HAS_REQUESTED)?)
    }

    /// Somebody asks to join. Returns what the user can do about it.
    pub fn requested(&self, name: &str) -> Option<String> {
        self.names.lock().add_request(name);
        match &*self.admin.lock() {
            Some(admin) if *admin == self.me => {
                Some(format!("Answer with /approve {name} or /deny {name}."))
            }
            Some(_) => None,
            None => Some(format!(
                "If you administer the group: /approve {name} or /deny {name}."
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::MAX_NAMES;

    #[test]
    fn who_can_answer_a_request_is_told_how() {
        let known = KnownGroup::new(&UserName::parse("alice").unwrap());
        known.joined(Verdict::Member);
        let request = format!("bob{HAS_REQUESTED}");
        let advice = "/approve bob or /deny bob.";
        let if_admin = format!("If you administer the group: {advice}");
        assert_eq!(known.learn(&request), Some(if_admin));
        *known.admin.lock() = Some("carol".into());
        assert_eq!(known.learn(&request), None);
        assert_eq!(known.learn(&format!("carol{MADE_ADMIN}")), None);
        assert_eq!(known.learn(&request), Some(format!("Answer with {advice}")));
        assert!(known.names.lock().requests.contains("bob"));
        known.names.lock().add_member("bob");
        assert!(known.names.lock().requests.is_empty());
    }

    #[test]
    fn who_waits_again_knows_no_admin_any_more() {
        let known = KnownGroup::new(&UserName::parse("alice").unwrap());
        known.joined(Verdict::Admin);
        known.joined(Verdict::Member);
        assert_eq!(known.admin.lock().as_deref(), Some("alice"));
        known.joined(Verdict::Waiting);
        assert_eq!(*known.admin.lock(), None);
    }

    #[test]
    fn a_server_that_names_people_without_end_costs_no_more_than_a_limit() {
        let known = KnownGroup::new(&UserName::parse("alice").unwrap());
        for n in 0..=MAX_NAMES {
            known.names.lock().add_member(&n.to_string());
            known.learn(&format!("{n}{HAS_REQUESTED}"));
        }
        let names = known.names.lock();
        assert_eq!(names.members.len(), MAX_NAMES);
        assert_eq!(names.requests.len(), MAX_NAMES);
    }
}
