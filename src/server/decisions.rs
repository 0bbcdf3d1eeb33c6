//! The dialogues in which the admin decides about a name: approve or deny, hand over, kick, ban and unban.
//!
//! All begin with the same steps ([`Session::name_to_decide_on`]). The group decides whether the client may; here its members and those who
//! wait are told.

use std::io::Read;
use std::sync::Arc;

use log::info;

use super::client::Client;
use super::frame::farewell;
use super::group::Banned;
use super::member::Member;
use super::refusal::Refusal;
use super::session::{EarlyEnd, Session};
use crate::wire::command::{
    self, ACCEPTED, Command, DENY, IS_ADMIN, JOINED, KICKED, MADE_ADMIN, PROCEED, REFUSED, REMOVED,
    RefusalCode, with,
};
use crate::wire::name::UserName;

impl<R: Read> Session<'_, R> {
    pub(crate) fn approve_request(&mut self) -> Result<(), EarlyEnd> {
        let answer = self.name_to_decide_on()?;
        match answer.strip_prefix(DENY) {
            Some(name) => self.deny(name),
            None => self.approve(&answer),
        }
    }

    fn approve(&self, name: &str) -> Result<(), EarlyEnd> {
        let accepted = self.frame(ACCEPTED);
        let is_online = self.group.lock().approve(&self.client, name, &accepted)?;
        info!("{}: approved {name}", self.who());
        if is_online {
            self.spread(JOINED, name);
        }
        self.reply_result(format!("{name} is now a member of the group."));
        Ok(())
    }

    fn deny(&self, name: &str) -> Result<(), EarlyEnd> {
        let waiting = self.group.lock().deny(&self.client, name)?;
        info!("{}: denied {name}", self.who());
        self.turn_away(waiting, "The admin denied your request to join.");
        self.reply_result(format!("The request of {name} is denied."));
        Ok(())
    }

    /// Disconnects a client that waits for approval.
    fn turn_away(&self, waiting: Option<Arc<Client>>, reason: &str) {
        if let Some(client) = waiting {
            let word = with(REFUSED, RefusalCode::Denied.word());
            let frames = farewell(&self.shared.key, client.dialect, &[ACCEPTED], &word, reason);
            client.end(frames, "denied");
        }
    }

    pub(crate) fn change_admin(&mut self) -> Result<(), EarlyEnd> {
        let name = self.name_to_decide_on()?;
        let notice = self.frame(command::notice(format!("{}{MADE_ADMIN}", self.client.name)));
        self.group.lock().hand_over(&self.client, &name, &notice)?;
        info!("{}: handed the group over to {name}", self.who());
        self.spread(IS_ADMIN, &name);
        self.reply_result(format!("{name} is now the admin of the group."));
        Ok(())
    }

    pub(crate) fn kick_member(&mut self) -> Result<(), EarlyEnd> {
        let name = self.name_to_decide_on()?;
        let kicked = self.group.lock().kick(&self.client, &name)?;
        info!("{}: kicked {name}", self.who());
        self.throw_out(&name, *kicked);
        self.reply_result(format!("{name} is not a member of the group any more."));
        Ok(())
    }

    /// Disconnects somebody who is no member any more. What was on its way ends.
    fn throw_out(&self, name: &str, kicked: Member) {
        self.spread(REMOVED, name);
        if let Some(client) = kicked.holder.client {
            client.end(vec![self.frame(KICKED)], "kicked");
        }
    }

    pub(crate) fn ban_member(&mut self) -> Result<(), EarlyEnd> {
        let answer = self.name_to_decide_on()?;
        let with_address = answer.starts_with(DENY);
        let name = UserName::parse(answer.trim_start_matches(DENY)).map_err(Refusal::from)?;
        let banned = self
            .group
            .lock()
            .ban(&self.client, name.clone(), with_address)?;
        info!("{}: banned {name}", self.who());
        match banned {
            Banned::Member(member) => self.throw_out(name.as_str(), *member),
            Banned::Other(client) => {
                self.turn_away(client, "The admin of the group has banned you.")
            }
        }
        self.reply_result(format!("{name} is banned; /unban {name} ends that."));
        Ok(())
    }

    pub(crate) fn unban_member(&mut self) -> Result<(), EarlyEnd> {
        let answer = self.name_to_decide_on()?;
        let name = UserName::parse(&answer).map_err(Refusal::from)?;
        self.group.lock().unban(&self.client, &name)?;
        info!("{}: unbanned {name}", self.who());
        self.reply_result(format!("{name} may ask to join again."));
        Ok(())
    }

    /// The steps before the admin's decision about a name: acknowledgement, right, name.
    fn name_to_decide_on(&mut self) -> Result<String, EarlyEnd> {
        self.next_answer()?; // the acknowledgement
        self.group.lock().may_decide(&self.client)?;
        if self.held.contains(&Command::MessageSend) {
            // A Python client with a message under way would wait for its echo, and never send the name.
            return Err(Refusal::Busy.into());
        }
        self.reply(PROCEED);
        Ok(self.next_answer()?)
    }
}
