//! A session: one client's way through the protocol, from its first command to its departure.
//!
//! A dialogue is one function that reads like its row in the table of [`wire`](crate::wire): echo, acknowledgement, right, answer, reply.
//! Each client has a thread, and the thread blocks in a read. So the place in the code is the place in the protocol.
//! Frames come from an `impl Read` and replies go into an outbox: no test of this module needs a socket.
//!
//! What comes of a file is taken off on the way: `frame_text` and `file_word` are in [`super::upload`].
//!
//! Where an answer is due, a Python client may have typed its next command ahead. [`Session::next_answer`] holds it, and it runs next.
//! Invariant: after a session has ended, also by a panic, its member is offline ([`Drop`]).

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use log::debug;
use parking_lot::Mutex;

use super::Shared;
use super::client::Client;
use super::frame::{Frame, news, sealed_frame};
use super::group::Group;
use super::inbox::Inbox;
use super::places::Place;
use super::refusal::Refusal;
use super::turn::Turn;
use super::upload::Incoming;
use crate::net::departure::Departure;
use crate::wire::command::{
    self, Command, Dialect, LEFT, RESULT, SEND_FILE, SEND_FILENAME, SENDING_DATA, TAKEN,
    WAIT_DISCONNECT, with,
};
use crate::wire::frame::{MAX_TEXT, WireError};
use crate::wire::name::{GroupName, UserName};
use crate::wire::name_set;

/// How many commands a client may type ahead. A page of pasted lines fits many times.
const MAX_HELD: usize = 4096;

/// The session of a client that is a member of a group, or waits for approval.
pub(crate) struct Session<'a, R> {
    pub shared: &'a Shared,
    pub inbox: Inbox<'a, R>,
    pub client: Arc<Client>,
    pub group: Arc<Mutex<Group>>,
    pub group_name: GroupName,
    /// Held commands: they came while an answer was due, in a dialogue or a delivery. They run later, in order.
    pub held: VecDeque<Command>,
    /// The body that is due from the client.
    pub incoming: Option<Incoming>,
    /// This client's place.
    pub _place: Place<'a>,
}

impl<R: Read> Session<'_, R> {
    /// What the log calls this client.
    pub(crate) fn who(&self) -> String {
        format!("{} in {}", self.client.name, self.group_name)
    }

    /// Runs the dialogues, one after the other, until the client departs.
    pub(crate) fn run(mut self) -> Departure {
        let departure = loop {
            if let Err(departure) = self.run_dialogue() {
                break departure;
            }
        };
        if departure == Departure::Left {
            // It does not come back for its files.
            drop(self.client.take_deliveries());
            self.replace_upload(None);
        }
        if let Departure::Broke(reason) = &departure {
            let reason = format!("The connection is closed: {reason}.");
            self.client.disconnect(&reason, departure.clone());
        }
        departure
    }

    fn run_dialogue(&mut self) -> Result<(), Departure> {
        let command = self.next_command()?;
        let own = &self.client.outbox;
        if !own.has_space() {
            // The client sends commands and does not read the replies. So its thread reads no more commands until there is space.
            own.wait_for_space();
        }
        let word = command.word();
        if self.client.check_member().is_err() {
            debug!("{} is no member: {word} has no effect", self.client);
            self.client.with_turn(Turn::close_dialogue);
            return Ok(());
        }
        debug!("{} {word}", self.client);
        if command != Command::MessageSend || !self.client.numbers_messages() {
            // A numbered message is not echoed, but confirmed when it has been passed on.
            self.reply(word);
        }
        let result = match command {
            Command::ViewRequests => self.names_for_admin(Group::requests),
            Command::ApproveRequest => self.approve_request(),
            Command::Disconnect => self.disconnect(),
            Command::AllMembers => self.members(Group::members),
            Command::OnlineMembers => self.members(Group::members_online),
            Command::ChangeAdmin => self.change_admin(),
            Command::WhoAdmin => self.who_admin(),
            Command::KickMember => self.kick_member(),
            Command::FileTransfer => self.file_transfer(),
            Command::MessageSend => self.message_send(),
            Command::BanMember => self.ban_member(),
            Command::UnbanMember => self.unban_member(),
            Command::ViewBans => self.names_for_admin(Group::banned),
            Command::WhoIs => self.who_is(),
        };
        match result {
            Ok(()) => {}
            Err(EarlyEnd::Refusal(refusal)) => self.reply_result(refusal.to_string()),
            Err(EarlyEnd::Departure(departure)) => return Err(departure),
        }
        self.client.with_turn(Turn::close_dialogue);
        Ok(())
    }

    // ---- the dialogues, after the echo ----

    fn names_for_admin(
        &mut self,
        names: fn(&Group, &Client) -> Result<Vec<UserName>, Refusal>,
    ) -> Result<(), EarlyEnd> {
        self.next_answer()?; // the acknowledgement
        let names = names(&self.group.lock(), &self.client)?;
        self.reply(SENDING_DATA);
        self.next_answer()?; // ready for data
        self.reply_set(&names);
        Ok(())
    }

    fn disconnect(&mut self) -> Result<(), EarlyEnd> {
        self.next_answer()?; // the acknowledgement
        Err(Departure::Left.into())
    }

    fn members(
        &mut self,
        names: fn(&Group, &Client) -> Result<Vec<UserName>, Refusal>,
    ) -> Result<(), EarlyEnd> {
        self.next_answer()?; // the acknowledgement
        let names = names(&self.group.lock(), &self.client);
        // A client that was kicked meanwhile gets the empty set, because it reads whatever comes here as a set.
        self.reply_set(&names.unwrap_or_default());
        Ok(())
    }

    fn who_admin(&mut self) -> Result<(), EarlyEnd> {
        let asked = self.next_answer()?;
        if asked != self.group_name.as_str() {
            return Err(Refusal::OtherGroup(self.group_name.clone()).into());
        }
        let admin = self.group.lock().who_administers(&self.client)?;
        self.reply_result(command::line(command::ADMIN, admin.as_str()));
        Ok(())
    }

    fn who_is(&mut self) -> Result<(), EarlyEnd> {
        let name = self.next_answer()?;
        let who_is = self.group.lock().who_is(&self.client, &name)?;
        self.reply_result(who_is);
        Ok(())
    }

    fn message_send(&mut self) -> Result<(), EarlyEnd> {
        // The next frame is the text, also if it looks like a command: here a Python client cannot type ahead.
        let text = self.frame_text()?;
        let (number, text) = if self.client.numbers_messages() {
            let no_step = Departure::from(WireError::NotTheStep("a numbered line"));
            let (number, text) = command::numbered(&text).ok_or(no_step)?;
            (Some(number), text)
        } else {
            (None, text.as_str())
        };
        let name = &self.client.name;
        let to_one = command::one_to_one(text);
        let said = match to_one.filter(|_| self.client.dialect == Dialect::Fernchat) {
            None => {
                let line = self.frame(command::line(name, text));
                self.group.lock().say(&self.client, number, &line)
            }
            Some((to, text)) => {
                let line = self.frame(command::line(format!("{name} (to you)"), text));
                let told = self.frame(command::to_one(name.as_str(), text));
                let frames = [&line, &told];
                self.group.lock().tell(&self.client, number, to, frames)
            }
        };
        let full = match said {
            Ok(full) => full,
            Err(Refusal::NotMember) => {
                debug!("{} was kicked before the text came", self.client);
                return Ok(());
            }
            Err(refusal) => return Err(refusal.into()),
        };
        if let Some(number) = number {
            self.reply(format!("{TAKEN} {number}"));
        }
        if let Some(full) = full {
            // A member is behind, so the sender waits.
            full.wait_for_space();
        }
        Ok(())
    }

    // ---- what the dialogues have in common ----

    /// The next command, held from before or read now. Its dialogue is open.
    fn next_command(&mut self) -> Result<Command, Departure> {
        loop {
            if !self.held.is_empty() && self.client.with_turn(Turn::open_dialogue) {
                if let Some(command) = self.held.pop_front() {
                    return Ok(command);
                }
            }
            let text = self.text()?;
            match self.command(&text) {
                // Asking the turn also tells it: each step is due only once.
                _ if text == SEND_FILENAME && self.client.with_turn(Turn::name_wanted) => {}
                _ if text == SEND_FILE && self.client.with_turn(Turn::body_wanted) => {}
                Some(command)
                    if self.held.is_empty() && self.client.with_turn(Turn::open_dialogue) =>
                {
                    return Ok(command);
                }
                Some(command) => self.hold(command)?,
                None if text == WAIT_DISCONNECT => {
                    if self.group.lock().stop_waiting(&self.client) {
                        self.reply(WAIT_DISCONNECT);
                        return Err(Departure::Left);
                    }
                }
                None => debug!("{} sent a frame that is no command", self.client),
            }
        }
    }

    /// The next answer of the open dialogue. A command that was typed ahead is held for later. While a dialogue is open, no answer of a
    /// delivery is due.
    pub(crate) fn next_answer(&mut self) -> Result<String, Departure> {
        loop {
            let text = self.text()?;
            match self.command(&text) {
                Some(command) => self.hold(command)?,
                None => return Ok(text),
            }
        }
    }

    /// The text of the next frame that is no word about a file. Those are obeyed wherever a fernchat client sends them.
    fn text(&mut self) -> Result<String, Departure> {
        loop {
            let text = self.frame_text()?;
            let is_fernchat = self.client.dialect == Dialect::Fernchat;
            if !is_fernchat || self.client.check_member().is_err() || !self.file_word(&text)? {
                return Ok(text);
            }
        }
    }

    pub(crate) fn command(&self, text: &str) -> Option<Command> {
        Command::parse(text, self.client.dialect)
    }

    pub(crate) fn hold(&mut self, command: Command) -> Result<(), Departure> {
        if self.held.len() == MAX_HELD {
            return Err(Departure::Broke(format!(
                "more than {MAX_HELD} commands typed ahead"
            )));
        }
        self.held.push_back(command);
        Ok(())
    }

    pub(crate) fn frame(&self, text: impl AsRef<[u8]>) -> Frame {
        sealed_frame(&self.shared.key, text)
    }

    pub(crate) fn reply(&self, text: impl AsRef<[u8]>) {
        self.client.reply_text(text);
    }

    /// Replies with a result in words. A fernchat client gets it marked, so that it cannot take an event for it.
    pub(crate) fn reply_result(&self, result: String) {
        self.reply(match self.client.dialect {
            Dialect::Python => result,
            Dialect::Fernchat => with(RESULT, &result),
        });
    }

    /// Replies with a set of names. If not all fit into a text, one more element says how many are missing: it is no legal name.
    fn reply_set(&self, names: &[UserName]) {
        let mut room = MAX_TEXT - 100;
        let fits = |name: &&UserName| {
            let n = name.as_str().len() + name_set::NAME_OVERHEAD;
            room = room.saturating_sub(n);
            room > 0
        };
        let (shown, others) = names.split_at(names.iter().take_while(fits).count());
        let rest = (!others.is_empty()).then(|| format!("...: and {} more", others.len()));
        self.reply(name_set::encode(
            shown.iter().map(UserName::as_str).chain(rest.as_deref()),
        ));
    }
}

/// What ends a dialogue early.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum EarlyEnd {
    /// A rule said no: the client is told so, and the next dialogue begins.
    Refusal(#[from] Refusal),
    /// The connection ends.
    Departure(#[from] Departure),
}

impl<R> Session<'_, R> {
    /// Tells the other members what has become of one.
    pub(crate) fn spread(&self, what: &str, name: &str) {
        let news = news(&self.shared.key, what, name);
        self.group.lock().spread(name, &news);
    }
}

impl<R> Drop for Session<'_, R> {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            if !self.client.numbers_messages() {
                // It cannot come back for it.
                drop(incoming.slot.lock().take());
            }
        }
        let is_offline = self.group.lock().leave(&self.client);
        if is_offline {
            self.spread(LEFT, self.client.name.as_str());
        }
        debug!("{client} is offline", client = self.client);
    }
}

#[cfg(test)]
#[path = "tests/session.rs"]
mod tests;
