//! A session: one client's way through the protocol, from its first command to its departure.
//!
//! A dialogue is one function that reads like its row in the table of [`wire`](crate::wire): echo, acknowledgement, right, answer, reply.
//! Each client has a thread, and the thread blocks in a read. So the place in the code is the place in the protocol.
//! Frames come from an `impl Read` and replies go into an outbox: no test of this module needs a socket.
//!
//! Where an answer is due, a Python client may have typed its next command ahead. [`Session::next_answer`] keeps it, and it runs next.
//! Invariant: whatever ends a session, also a panic, its member is offline afterwards ([`Drop`]).

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use log::{debug, info};
use parking_lot::Mutex;

use super::Shared;
use super::client::Client;
use super::frame::{Frame, farewell, sealed_frame};
use super::group::Group;
use super::inbox::Inbox;
use super::refusal::Refusal;
use super::turn::Turn;
use crate::net::departure::Departure;
use crate::wire::command::{
    self, ACCEPTED, Command, DENY, Dialect, KICKED, MADE_ADMIN, PROCEED, REFUSED, RefusalCode,
    SEND_FILE, SEND_FILENAME, SENDING_DATA, TAKEN, WAIT_DISCONNECT, with,
};
use crate::wire::frame::{MAX_TEXT, WireError};
use crate::wire::name::{GroupName, UserName};
use crate::wire::name_set;

/// How many commands a client may type ahead. A page of pasted lines fits many times.
const MAX_HELD: usize = 4096;

/// The session of a client that is a member of a group, or waits for approval.
pub struct Session<'a, R> {
    pub shared: &'a Shared,
    pub inbox: Inbox<'a, R>,
    pub client: Arc<Client>,
    pub group: Arc<Mutex<Group>>,
    pub group_name: GroupName,
    /// Commands that came where an answer was due.
    pub held: VecDeque<Command>,
    /// The text of a message that had to be held: a fernchat client sends it in one write with its command.
    pub early_text: Option<String>,
    /// The session takes one of the server's places.
    pub _place: Arc<()>,
}

impl<R: Read> Session<'_, R> {
    /// What the log calls this client.
    pub fn who(&self) -> String {
        format!("{} in {}", self.client.name, self.group_name)
    }

    /// Runs the dialogues, one after the other, until the client departs.
    pub fn run(mut self) -> Departure {
        let departure = loop {
            if let Err(departure) = self.run_dialogue() {
                break departure;
            }
        };
        if let Departure::Broke(reason) = &departure {
            let reason = format!("The connection is closed: {reason}.");
            if self.group.lock().stop_waiting(&self.client) {
                self.client.close_waiting(&reason, departure.clone());
            } else {
                self.client.close(&reason, departure.clone());
            }
        }
        departure
    }

    fn run_dialogue(&mut self) -> Result<(), Departure> {
        let command = self.next_command()?;
        let own = &self.client.outbox;
        if !own.has_space() {
            // A client that floods commands and does not read the answers waits for itself.
            own.wait_for_space();
        }
        if self.client.check_member().is_err() {
            debug!("{} is no member: {command} has no effect", self.client);
            self.client.take_turn(Turn::close_dialogue);
            return Ok(());
        }
        debug!("{} {command}", self.client);
        if command != Command::MessageSend || self.client.run.is_empty() {
            // A numbered line is confirmed instead, when it has been passed on.
            self.reply(command.word());
        }
        let result = match command {
            Command::ViewRequests => self.view_requests(),
            Command::ApproveRequest => self.approve_request(),
            Command::Disconnect => self.disconnect(),
            Command::AllMembers => self.members(Group::members),
            Command::OnlineMembers => self.members(Group::members_online),
            Command::ChangeAdmin => self.change_admin(),
            Command::WhoAdmin => self.who_admin(),
            Command::KickMember => self.kick_member(),
            Command::FileTransfer => self.file_transfer(),
            Command::MessageSend => self.message_send(),
        };
        match result {
            Ok(()) => {}
            Err(Stop::Refusal(refusal)) => self.reply(refusal.to_string()),
            Err(Stop::Departure(departure)) => return Err(departure),
        }
        self.client.take_turn(Turn::close_dialogue);
        Ok(())
    }

    // ---- the dialogues, after the echo ----

    fn view_requests(&mut self) -> Result<(), Stop> {
        self.next_answer()?; // the acknowledgement
        let names = self.group.lock().requests(&self.client)?;
        self.reply(SENDING_DATA);
        self.next_answer()?; // ready for data
        self.reply_set(&names);
        Ok(())
    }

    fn approve_request(&mut self) -> Result<(), Stop> {
        let answer = self.name_to_decide_on()?;
        match answer.strip_prefix(DENY) {
            Some(name) => self.deny(name),
            None => self.approve(&answer),
        }
    }

    fn approve(&self, name: &str) -> Result<(), Stop> {
        let accepted = self.frame(ACCEPTED);
        self.group.lock().approve(&self.client, name, &accepted)?;
        info!("{}: approved {name}", self.who());
        self.reply(format!("{name} is now a member of the group."));
        Ok(())
    }

    fn deny(&self, name: &str) -> Result<(), Stop> {
        let waiting = self.group.lock().deny(&self.client, name)?;
        info!("{}: denied {name}", self.who());
        if let Some(client) = waiting {
            let reason = "The admin denied your request to join.";
            let word = with(REFUSED, RefusalCode::Denied.word());
            let frames = farewell(&self.shared.key, client.dialect, &[ACCEPTED], &word, reason);
            client.end(frames, "denied");
        }
        self.reply(format!("The request of {name} is denied."));
        Ok(())
    }

    fn disconnect(&mut self) -> Result<(), Stop> {
        self.next_answer()?; // the acknowledgement
        Err(Departure::Left.into())
    }

    fn members(
        &mut self,
        names: fn(&Group, &Client) -> Result<Vec<UserName>, Refusal>,
    ) -> Result<(), Stop> {
        self.next_answer()?; // the acknowledgement
        let names = names(&self.group.lock(), &self.client);
        // If the client was kicked meanwhile, a set is due all the same: it would take the refusal for one.
        self.reply_set(&names.unwrap_or_default());
        Ok(())
    }

    fn change_admin(&mut self) -> Result<(), Stop> {
        let name = self.name_to_decide_on()?;
        let notice = self.frame(command::notice(format!("{}{MADE_ADMIN}", self.client.name)));
        self.group.lock().hand_over(&self.client, &name, &notice)?;
        info!("{}: handed the group over to {name}", self.who());
        self.reply(format!("{name} is now the admin of the group."));
        Ok(())
    }

    fn who_admin(&mut self) -> Result<(), Stop> {
        let asked = self.next_answer()?;
        if asked != self.group_name.as_str() {
            return Err(Refusal::OtherGroup(self.group_name.clone()).into());
        }
        let admin = self.group.lock().who_administers(&self.client)?;
        self.reply(command::line(command::ADMIN, admin.as_str()));
        Ok(())
    }

    fn kick_member(&mut self) -> Result<(), Stop> {
        let name = self.name_to_decide_on()?;
        let kicked = self.group.lock().kick(&self.client, &name)?;
        info!("{}: kicked {name}", self.who());
        if let Some(client) = kicked {
            client.end(vec![self.frame(KICKED)], "kicked");
        }
        self.reply(format!("{name} is not a member of the group any more."));
        Ok(())
    }

    fn message_send(&mut self) -> Result<(), Stop> {
        // Whatever the next frame says, it is the text: here a Python client cannot type ahead.
        let text = match self.early_text.take() {
            Some(text) => text,
            None => self.inbox.text()?,
        };
        let (number, text) = if self.client.run.is_empty() {
            (None, text.as_str())
        } else {
            let no_step = Departure::from(WireError::NotTheStep("a numbered line"));
            let (number, text) = command::numbered(&text).ok_or(no_step)?;
            (Some(number), text)
        };
        let line = self.frame(command::line(&self.client.name, text));
        let said = self.group.lock().say(&self.client, number, &line);
        let Ok(full) = said else {
            debug!("{} was kicked before the text came", self.client);
            return Ok(());
        };
        if let Some(number) = number {
            self.reply(format!("{TAKEN} {number}"));
        }
        if let Some(full) = full {
            // So a flood slows the one who floods.
            full.wait_for_space();
        }
        Ok(())
    }

    // ---- what the dialogues have in common ----

    /// The steps before the admin's decision about a name: acknowledgement, right, name.
    fn name_to_decide_on(&mut self) -> Result<String, Stop> {
        self.next_answer()?; // the acknowledgement
        self.group.lock().may_decide(&self.client)?;
        if self.held.contains(&Command::MessageSend) {
            // A Python client with a message under way would wait for its echo, and never send the name.
            return Err(Refusal::Busy.into());
        }
        self.reply(PROCEED);
        Ok(self.next_answer()?)
    }

    /// The next command, kept from before or read now, with its dialogue open.
    fn next_command(&mut self) -> Result<Command, Departure> {
        loop {
            if !self.held.is_empty() && self.client.take_turn(Turn::open_dialogue) {
                if let Some(command) = self.held.pop_front() {
                    return Ok(command);
                }
            }
            let text = self.inbox.text()?;
            // Commands that are still held wait for the answers of a delivery.
            let is_message_held = self.client.dialect == Dialect::Fernchat
                && self.held.back() == Some(&Command::MessageSend);
            match Command::parse(&text) {
                // Our client sends it in one write with its command, so nothing can be between the two.
                _ if is_message_held && self.early_text.is_none() => self.early_text = Some(text),
                _ if text == SEND_FILENAME && self.client.take_turn(Turn::name_wanted) => {}
                _ if text == SEND_FILE && self.client.take_turn(Turn::body_wanted) => {}
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

    /// The next answer of the open dialogue. A command that was typed ahead is kept for later. While a dialogue is open, no answer of a
    /// delivery is due.
    pub fn next_answer(&mut self) -> Result<String, Departure> {
        loop {
            let text = self.inbox.text()?;
            match Command::parse(&text) {
                Some(command) => self.hold(command)?,
                None => return Ok(text),
            }
        }
    }

    pub fn hold(&mut self, command: Command) -> Result<(), Departure> {
        if self.held.len() == MAX_HELD {
            return Err(Departure::Broke(format!(
                "more than {MAX_HELD} commands typed ahead"
            )));
        }
        self.held.push_back(command);
        Ok(())
    }

    fn frame(&self, text: impl AsRef<[u8]>) -> Frame {
        sealed_frame(&self.shared.key, text)
    }

    pub fn reply(&self, text: impl AsRef<[u8]>) {
        self.client.reply(&self.frame(text));
    }

    /// Replies with a set of names. What does not fit into a text is counted in one more element, which nobody can be called.
    fn reply_set(&self, names: &[UserName]) {
        let mut room = MAX_TEXT - 100;
        let fits = |name: &&UserName| {
            let n = name.as_str().len() + 5;
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
pub enum Stop {
    /// A rule said no: the client is told so, and the next dialogue begins.
    Refusal(#[from] Refusal),
    /// The connection ends.
    Departure(#[from] Departure),
}

impl<R> Drop for Session<'_, R> {
    fn drop(&mut self) {
        self.group.lock().leave(&self.client);
        debug!("{client} is offline", client = self.client);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::net::deadlines::Awaited;
    use crate::seal::{Key, token_len};
    use crate::server::testkit::{DEN, Kit, Person, Script};
    use crate::wire::frame::{MAX_FRAME, MAX_GREETING_FRAME};

    const CLOSED: &str = "The connection is closed: ";

    fn broke(error: WireError) -> Departure {
        Departure::Broke(error.to_string())
    }

    // ---- joining ----

    #[test]
    fn joining_takes_five_steps() {
        let kit = Kit::new();
        for (group, step_5) in [
            (DEN.to_owned(), "/adminReady"),
            (DEN.to_owned(), "/ready"),
            (format!("{DEN}\nfernchat/1"), "/ready"),
        ] {
            kit.connects()
                .hears(&["<key>"])
                .says("alice")
                .hears(&["/sendGroupname fernchat/1"])
                .says(&group)
                .hears(&[step_5])
                .departs(Departure::HungUp);
        }
        assert_eq!(kit.n_clients(), 0);
    }

    #[test]
    fn refused_client_is_told_why_in_its_own_words() {
        let mut kit = Kit::new();
        let refused = |kit: &Kit, user: &str, group: &str, code: &str, reason: &str| {
            let for_python = vec![
                "/ready".into(),
                format!("PyChat: {reason}"),
                "/kicked".into(),
            ];
            let told = [
                (group.to_owned(), for_python.clone()),
                (format!("{group}\nfernchat/10"), for_python),
                (
                    format!("{group}\nfernchat/1"),
                    vec![format!("/refused {code} {reason}")],
                ),
            ];
            for (group, told) in told {
                let said = kit.connects().says(user).says(&group);
                let ear = said.departs(Departure::Ended(format!("refused: {reason}")));
                let heard = ear.heard();
                assert_eq!(heard[..2], ["<key>", "/sendGroupname fernchat/1"]);
                assert_eq!(heard[2..heard.len() - 1], told, "{user} {group}");
            }
        };
        let _alice = kit.joins("alice");
        let taken = "the name alice is in use in this group; choose another";
        refused(&kit, "alice", DEN, "name-taken", taken);
        for name in ["", "/bob", "bob: me", "PyChat", "b\u{7}b"] {
            let reason = UserName::parse(name).unwrap_err().to_string();
            refused(&kit, name, DEN, "bad-name", &reason);
        }
        let reason = GroupName::parse("~den").unwrap_err().to_string();
        refused(&kit, "bob", "~den", "bad-name", &reason);
        kit.joins("bob").hears(&["/wait"]);
        kit.shared.settings.max_clients = 0;
        let full = "the server is full; try again later";
        refused(&kit, "carol", DEN, "full", full);
        assert_eq!(kit.n_clients(), 0);
    }

    #[test]
    fn stranger_gets_no_further_than_one_bad_frame() {
        let kit = Kit::new();
        let foreign = sealed_frame(&Key::generate(), "alice").bytes;
        let long = kit.bytes([b'a'; 800]);
        let too_long = WireError::TooLong {
            length: long.len() - 4,
            limit: MAX_GREETING_FRAME,
        };
        let cases: [(&[u8], Departure); 3] = [
            (&long[..100], broke(too_long)),
            (b"GET / HTTP/1.1\r\n\r\n", broke(WireError::NoLength)),
            (&foreign[..50], Departure::HungUp),
        ];
        for (bytes, departure) in cases {
            let end = format!("<end: {departure}>");
            let ear = kit
                .connects()
                .hears(&["<key>"])
                .sends(bytes)
                .departs(departure);
            ear.hears(&[&end]);
        }
    }

    #[test]
    fn stranger_that_has_another_key_is_told_so_under_this_one() {
        let kit = Kit::new();
        let foreign = sealed_frame(&Key::generate(), "alice").bytes;
        let reason = "this server has no secret, and what came does not open without one";
        let departure = Departure::Ended(format!("refused: {reason}"));
        let end = format!("<end: {departure}>");
        let ear = kit
            .connects()
            .hears(&["<key>"])
            .sends(&foreign)
            .departs(departure);
        ear.hears(&[
            &format!("/refused secret {reason}"),
            "/ready",
            &format!("PyChat: {reason}"),
            "/kicked",
            &end,
        ]);
    }

    #[test]
    fn member_whose_session_panics_is_offline_and_can_come_back() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        bob.leaves();
        let doomed = kit
            .python("bob")
            .says("/whoAdmin")
            .then(|| panic!("in the middle of a dialogue, as it was told"));
        let played = catch_unwind(AssertUnwindSafe(|| doomed.departs(Departure::HungUp)));
        assert!(played.is_err());
        let online = alice.group.lock().members_online(&alice.client).unwrap();
        assert_eq!(online, std::slice::from_ref(&alice.client.name));
        assert_eq!(kit.n_clients(), 0);
        kit.joins("bob").hears(&["/ready"]);
    }

    // ---- dialogues ----

    const BUSY: &str = "You were typing something else meanwhile: please try again.";
    const NO_MEMBER: &str = "This is for members, and you are not a member of the group any more.";

    /// The dialogues of the admin, in the order of the protocol's table. `|` stands between the steps: what the client says, `>`, the
    /// reply. The reply to the first is its echo.
    const TALKS: &[&str] = &[
        r#"/viewRequests | . > /sendingData | /readyForData > {"carol"}"#,
        "/approveRequest | . > /proceed | carol > carol is now a member of the group.",
        "/approveRequest | . > /proceed | bob > Nobody called 'bob' has asked to join; /1 lists who has.",
        "/approveRequest | . > /proceed | !carol > The request of carol is denied.",
        "/approveRequest | . > /proceed | !bob > Nobody called 'bob' has asked to join; /1 lists who has.",
        r#"/allMembers | . > {"alice", "bob", "gone"}"#,
        r#"/onlineMembers | . > {"alice", "bob"}"#,
        "/changeAdmin | . > /proceed | gone > gone is now the admin of the group.",
        "/changeAdmin | . > /proceed | alice > You are the admin already.",
        "/whoAdmin | the den > Admin: alice",
        "/whoAdmin | elsewhere > You are in the group the den; ask about that one.",
        "/kickMember | . > /proceed | gone > gone is not a member of the group any more.",
        "/kickMember | . > /proceed | alice > The admin cannot be kicked; hand the role over first, with /6.",
        "/kickMember | . > /proceed | carol > The group has no member called 'carol'; /4 lists the members.",
        "/fileTransfer | ~error~",
        "/fileTransfer | a.txt > /sendFile | 0 > a.txt was not shared.",
        "/messageSend | hello",
    ];

    /// Those of a member who has no right to more.
    const MEMBER_TALKS: &[&str] = &[
        "/viewRequests | . > Only the admin of the group may do this.",
        "/approveRequest | . > Only the admin of the group may do this.",
        "/changeAdmin | . > Only the admin of the group may do this.",
        "/kickMember | . > Only the admin of the group may do this.",
        r#"/allMembers | . > {"alice", "bob", "gone"}"#,
        "/whoAdmin | the den > Admin: alice",
    ];

    /// Those of a member who is kicked after the first step.
    const KICKED_TALKS: &[&str] = &[
        "/allMembers | . > {}",
        "/whoAdmin | the den > This is for members, and you are not a member of the group any more.",
        "/viewRequests | . > This is for members, and you are not a member of the group any more.",
        "/kickMember | . > This is for members, and you are not a member of the group any more.",
        "/messageSend | I am still here",
        "/fileTransfer | ~error~",
    ];

    /// The steps of a talk: what the client says, and what it hears then.
    fn steps(talk: &str) -> Vec<(&str, Vec<&str>)> {
        let step = |(at, step): (usize, _)| match str::split_once(step, " > ") {
            Some((text, reply)) => (text, vec![reply]),
            None if at == 0 => (step, vec![step]),
            None => (step, vec![]),
        };
        talk.split(" | ").enumerate().map(step).collect()
    }

    /// Alice, who administers the group, and bob are there; gone is offline; carol waits.
    fn people(kit: &Kit) -> [Person<'_>; 3] {
        let [alice, bob, gone] = kit.members(["alice", "bob", "gone"]);
        gone.leaves();
        let carol = kit.joins("carol");
        for person in [&alice, &bob, &carol] {
            person.ear.heard();
        }
        [alice, bob, carol]
    }

    /// Plays a talk. While it lasts the other says something after each step, and is heard right behind the last.
    fn plays<'a>(mut script: Script<'a>, talk: &str, other: &'a Person<'a>) -> Script<'a> {
        let mut lines = Vec::new();
        let n_steps = steps(talk).len();
        for (at, (text, mut replies)) in steps(talk).into_iter().enumerate() {
            if at + 1 == n_steps {
                replies.extend(lines.iter().map(String::as_str));
                return script.says(text).hears(&replies);
            }
            let text_then = format!("while you are at {at}");
            lines.push(command::line(&other.client.name, &text_then));
            script = script
                .says(text)
                .hears(&replies)
                .then(move || other.says(&text_then).unwrap());
        }
        script
    }

    #[test]
    fn dialogues_go_as_the_table_says_and_events_wait_until_they_end() {
        for talk in TALKS {
            let kit = Kit::new();
            let [alice, bob, _carol] = people(&kit);
            alice.leaves();
            plays(kit.python("alice"), talk, &bob)
                .then(|| bob.says("again").unwrap())
                .hears(&["bob: again"])
                .departs(Departure::HungUp);
        }
        for talk in MEMBER_TALKS {
            let kit = Kit::new();
            let [alice, bob, _carol] = people(&kit);
            bob.leaves();
            plays(kit.fernchat("bob"), talk, &alice)
                .then(|| alice.says("again").unwrap())
                .hears(&["alice: again"])
                .departs(Departure::HungUp);
        }
    }

    #[test]
    fn what_is_decided_reaches_whom_it_is_about() {
        let decide = |command: &str, name: &str| {
            let kit = Kit::new();
            let [alice, bob, carol] = people(&kit);
            alice.leaves();
            let script = kit.python("alice").says(command).says(".").says(name);
            script.departs(Departure::HungUp);
            (bob.ear.heard(), carol.ear.heard())
        };
        let nothing = Vec::<String>::new;
        let told = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let cases = [
            ("/approveRequest", "carol", nothing(), told(&["/accepted"])),
            (
                "/approveRequest",
                "!carol",
                nothing(),
                told(&[
                    "/accepted",
                    "PyChat: The admin denied your request to join.",
                    "/kicked",
                    "<end: denied>",
                ]),
            ),
            (
                "/changeAdmin",
                "bob",
                told(&["PyChat: alice made you the admin of the group."]),
                nothing(),
            ),
            (
                "/kickMember",
                "bob",
                told(&["/kicked", "<end: kicked>"]),
                nothing(),
            ),
        ];
        for (command, name, bob, carol) in cases {
            assert_eq!(decide(command, name), (bob, carol), "{command} {name}");
        }
    }

    #[test]
    fn fernchat_client_that_waits_is_told_of_a_denial_in_one_word() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        alice.leaves();
        let fred = kit
            .tries_to_join_with(Dialect::Fernchat, "fred", DEN)
            .unwrap();
        kit.python("alice")
            .says("/approveRequest")
            .says(".")
            .says("!fred")
            .departs(Departure::HungUp);
        fred.hears(&[
            "/wait",
            "/refused denied The admin denied your request to join.",
            "<end: denied>",
        ]);
    }

    #[test]
    fn goodbye_is_a_dialogue_too() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        let ear = kit
            .python("alice")
            .says("/disconnect")
            .hears(&["/disconnect"])
            .then(|| bob.says("farewell").unwrap())
            .hears_nothing()
            .says(".")
            .departs(Departure::Left);
        ear.hears(&["<end: left>"]);
        kit.joins("alice").hears(&["/ready", "bob: farewell"]);
    }

    #[test]
    fn message_is_heard_by_every_other_member_whatever_it_says() {
        let kit = Kit::new();
        let [alice, bob, carol] = kit.members(["alice", "bob", "carol"]);
        alice.leaves();
        for text in [
            "hello",
            "",
            ".",
            "/disconnect",
            "/messageSend",
            "/sendFilename",
            "/waitDisconnect",
            "~error~",
            "bob: hi",
            "ü\n",
        ] {
            kit.python("alice")
                .says("/messageSend")
                .hears(&["/messageSend"])
                .says(text)
                .hears_nothing()
                .departs(Departure::HungUp);
            let line = format!("alice: {text}");
            bob.hears(&[&line]);
            carol.hears(&[&line]);
        }
    }

    #[test]
    fn frames_that_are_no_commands_are_nothing() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        let texts = [
            ".",
            "hello",
            "/accepted",
            "/sendFile",
            "/sendFilename",
            "/waitDisconnect",
            "/AllMembers",
            "",
        ];
        let script = kit.python("alice");
        texts
            .iter()
            .fold(script, |script, text| script.says(text).hears_nothing())
            .says("/allMembers")
            .hears(&["/allMembers"])
            .departs(Departure::HungUp);
        bob.hears_nothing();
    }

    // ---- commands typed ahead ----

    #[test]
    fn command_typed_ahead_runs_next_wherever_it_comes() {
        let admin = TALKS.iter().map(|talk| ("alice", talk));
        let member = MEMBER_TALKS.iter().map(|talk| ("bob", talk));
        for (name, talk) in admin.chain(member) {
            let n_steps = steps(talk).len();
            for at in 1..n_steps {
                if talk.starts_with("/messageSend") {
                    continue;
                }
                let kit = Kit::new();
                let people = people(&kit);
                let is_named = |person: &&Person| person.client.name.as_str() == name;
                people.iter().filter(is_named).for_each(Person::leaves);
                let mut script = kit.python(name);
                for (step, (text, mut replies)) in steps(talk).into_iter().enumerate() {
                    if step == at {
                        script = script.says("/whoAdmin").says("/disconnect").hears_nothing();
                    }
                    if step + 1 == n_steps {
                        replies.push("/whoAdmin");
                    }
                    script = script.says(text).hears(&replies);
                }
                script
                    .says("elsewhere")
                    .hears(&[
                        "You are in the group the den; ask about that one.",
                        "/disconnect",
                    ])
                    .says(".")
                    .departs(Departure::Left);
            }
        }
    }

    #[test]
    fn message_typed_ahead_of_an_admin_s_dialogue_makes_it_try_again() {
        for command in ["/approveRequest", "/changeAdmin", "/kickMember"] {
            let kit = Kit::new();
            let [alice, bob] = kit.members(["alice", "bob"]);
            alice.leaves();
            kit.python("alice")
                .says(command)
                .hears(&[command])
                .says("/messageSend")
                .hears_nothing()
                .says(".")
                .hears(&[BUSY, "/messageSend"])
                .says("hello")
                // Where the name is due, it is too late to refuse, and no harm.
                .says(command)
                .says(".")
                .hears(&[command, "/proceed"])
                .says("/messageSend")
                .hears_nothing()
                .says("nobody")
                .then(|| bob.hears(&["alice: hello"]))
                .says("again")
                .departs(Departure::HungUp);
            bob.hears(&["alice: again"]);
        }
    }

    #[test]
    fn more_commands_typed_ahead_than_anybody_types_end_the_connection() {
        let kit = Kit::new();
        let all = kit.bytes("/allMembers").repeat(MAX_HELD + 1);
        let one = all.len() / (MAX_HELD + 1);
        let set: &[&str] = &[r#"{"alice"}"#, "/allMembers"];
        kit.python("alice")
            .says("/allMembers")
            .sends(&all[one..])
            .hears(&["/allMembers"])
            .says(".")
            .hears(set)
            .departs(Departure::HungUp);
        let reason = format!("more than {MAX_HELD} commands typed ahead");
        kit.python("alice")
            .says("/allMembers")
            .sends(&all)
            .departs(Departure::Broke(reason));
    }

    // ---- waiting ----

    #[test]
    fn waiting_client_s_commands_take_no_effect() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        let script = Command::ALL
            .iter()
            .fold(kit.python("carol"), |script, command| {
                script
                    .says(command.word())
                    .hears_nothing()
                    .says(".")
                    .says("hello")
                    .hears_nothing()
            });
        script
            .then(|| alice.approves("carol").unwrap())
            .then(|| alice.says("welcome").unwrap())
            .hears(&["/accepted", "alice: welcome"])
            .says("/whoAdmin")
            .hears(&["/whoAdmin"])
            .departs(Departure::HungUp);
        bob.hears(&[
            "PyChat: carol has requested to join the group.",
            "alice: welcome",
        ]);
    }

    #[test]
    fn waiting_client_leaves_and_its_request_stays() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let ear = kit
            .python("carol")
            .says("/waitDisconnect")
            .departs(Departure::Left);
        ear.hears(&["/waitDisconnect", "<end: left>"]);
        alice.approves("carol").unwrap();
        kit.joins("carol").hears(&["/ready"]);
    }

    #[test]
    fn goodbye_of_a_waiting_client_that_crosses_with_its_approval_is_ignored() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        kit.python("carol")
            .then(|| alice.approves("carol").unwrap())
            .hears(&["/accepted"])
            .says("/waitDisconnect")
            .hears_nothing()
            .says("/disconnect")
            .hears(&["/disconnect"])
            .says(".")
            .departs(Departure::Left);
    }

    // ---- endings ----

    #[test]
    fn member_that_breaks_the_protocol_is_told_so_and_is_offline() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        let long = vec![b'a'; MAX_TEXT + 1];
        let not_open = sealed_frame(&Key::generate(), "hello").bytes;
        let cases: [(&[u8], WireError); 6] = [
            (&not_open, WireError::NotOpened),
            (&kit.bytes(b"\xff\xfe"), WireError::NotUtf8),
            (&kit.bytes(&long), WireError::TextTooLong(long.len())),
            (b"hello", WireError::NoLength),
            (&[0, 0, 0, 99], WireError::NoTokenIs(99)),
            (
                &[0, 16, 0, 4],
                WireError::TooLong {
                    length: MAX_FRAME + 4,
                    limit: MAX_FRAME,
                },
            ),
        ];
        for (bytes, error) in cases {
            for command in ["/nothing", "/messageSend", "/allMembers"] {
                let is_echoed = usize::from(command != "/nothing");
                let reason = format!("{CLOSED}{error}.");
                let end = format!("<end: broke the protocol: {error}>");
                let ear = kit
                    .python("alice")
                    .says(command)
                    .sends(bytes)
                    .departs(Departure::Broke(error.to_string()));
                let said = format!("PyChat: {reason}");
                ear.hears(&[command, &said, "/kicked", &end][1 - is_echoed..]);
                let ear = kit
                    .fernchat("alice")
                    .says(command)
                    .sends(bytes)
                    .departs(Departure::Broke(error.to_string()));
                ear.hears(&[command, &format!("/closing {reason}"), &end][1 - is_echoed..]);
            }
        }
        bob.hears_nothing();
        assert_eq!(
            bob.group.lock().members_online(&bob.client).unwrap().len(),
            1
        );
    }

    #[test]
    fn waiting_client_that_breaks_the_protocol_is_ended_in_words_that_it_knows() {
        let kit = Kit::new();
        let _alice = kit.joins("alice");
        let (foreign, departure) = (
            sealed_frame(&Key::generate(), "hello").bytes,
            broke(WireError::NotOpened),
        );
        let end = format!("<end: {departure}>");
        let ear = kit
            .python("carol")
            .sends(&foreign)
            .departs(departure.clone());
        ear.hears(&["/waitDisconnect", &end]);
        let ear = kit.fernchat("carol").sends(&foreign).departs(departure);
        let closing = format!("/closing {CLOSED}{}.", WireError::NotOpened);
        ear.hears(&[&closing, &end]);
    }

    #[test]
    fn longest_text_is_passed_on() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        let text = "a".repeat(MAX_TEXT);
        kit.python("alice")
            .says("/messageSend")
            .says(&text)
            .departs(Departure::HungUp);
        bob.hears(&[&format!("alice: {text}")]);
    }

    #[test]
    fn client_that_vanishes_anywhere_is_offline_and_nobody_hears_of_it() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        let token = kit.shared.key.seal(b"file");
        let length = kit.bytes(token.len().to_string());
        let bytes = [
            &kit.bytes("/messageSend"),
            &kit.bytes("hello"),
            &kit.bytes("/fileTransfer"),
            &kit.bytes("a.txt"),
            &length,
            &token.as_bytes()[..99],
        ]
        .concat();
        for at in 0..=bytes.len() {
            kit.python("alice")
                .sends(&bytes[..at])
                .departs(Departure::HungUp);
            let heard = bob.ear.heard();
            assert!(heard.is_empty() || heard == ["alice: hello"], "{heard:?}");
        }
        assert_eq!(
            bob.group.lock().members_online(&bob.client).unwrap().len(),
            1
        );
    }

    #[test]
    fn member_kicked_in_a_dialogue_hears_its_end_and_then_of_the_kick() {
        for talk in KICKED_TALKS {
            let kit = Kit::new();
            let [alice, bob] = kit.members(["alice", "bob"]);
            bob.leaves();
            let [(command, echo), (answer, replies)] = &steps(talk)[..] else {
                panic!("{talk}");
            };
            let last = [&replies[..], &["/kicked", "<end: kicked>"]].concat();
            kit.python("bob")
                .says(command)
                .hears(echo)
                .then(|| alice.throws_out("bob"))
                .then(|| alice.says("he is out").unwrap())
                .hears_nothing()
                .says(answer)
                .hears(&last)
                .says("/messageSend")
                .says("and again")
                .hears_nothing()
                .departs(Departure::Ended("kicked".into()));
            alice.hears_nothing();
        }
    }

    #[test]
    fn names_that_do_not_fit_into_a_text_are_counted_in_one_that_nobody_can_have() {
        let kit = Kit::new();
        kit.joins("alice").leaves();
        let name = |n| format!("{}{n:04}", "\u{1F600}".repeat(60));
        let n_shown = (MAX_TEXT - 100) / (name(0).len() + 5);
        let n_all = n_shown + 20;
        (0..n_all).for_each(|n| kit.joins(&name(n)).leaves());
        let rest = "...: and 20 more";
        assert!(UserName::parse(rest).is_err());
        let set: BTreeSet<String> = (0..n_shown).map(name).chain([rest.to_owned()]).collect();
        kit.python("alice")
            .says("/viewRequests")
            .says(".")
            .hears(&["/viewRequests", "/sendingData"])
            .says("/readyForData")
            .hears(&[&format!("{set:?}")])
            .departs(Departure::HungUp);
    }

    #[test]
    fn kicked_member_that_does_not_finish_its_dialogue_is_ended_after_a_minute() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        assert!(bob.opens_dialogue());
        alice.throws_out("bob");
        bob.hears_nothing();
        let after = |secs| Instant::now() + Duration::from_secs(secs);
        let outbox = &bob.client.outbox;
        assert!(!outbox.is_overdue(after(59)));
        assert!(outbox.is_overdue(after(61)));
        assert_eq!(outbox.ending(), Some(&Awaited::Finish.departure().unwrap()));
    }

    #[test]
    fn admin_who_loses_the_role_while_a_name_is_due_is_refused() {
        let kit = Kit::new();
        let [alice, bob, _carol] = people(&kit);
        alice.leaves();
        kit.python("alice")
            .says("/kickMember")
            .says(".")
            .hears(&["/kickMember", "/proceed"])
            .then(|| {
                let alice = kit.shared.table.all()[0]
                    .lock()
                    .online()
                    .next()
                    .cloned()
                    .unwrap();
                let notice = kit.frame("PyChat: bob is the admin");
                bob.group.lock().hand_over(&alice, "bob", &notice).unwrap();
            })
            .says("bob")
            .hears(&["Only the admin of the group may do this."])
            .departs(Departure::HungUp);
    }

    // ---- files ----

    /// An upload of this body under this length.
    fn uploads<'a>(script: Script<'a>, file: &str, length: usize, body: &[u8]) -> Script<'a> {
        script
            .says("/fileTransfer")
            .says(file)
            .says(&length.to_string())
            .sends(body)
    }

    /// Alice is offline; bob with a Python client and fred with a fernchat client are there.
    fn receivers(kit: &Kit) -> [Person<'_>; 2] {
        let [alice, bob] = kit.members(["alice", "bob"]);
        let fred = kit
            .tries_to_join_with(Dialect::Fernchat, "fred", DEN)
            .unwrap();
        alice.approves("fred").unwrap();
        alice.leaves();
        bob.ear.heard();
        fred.ear.heard();
        [bob, fred]
    }

    #[test]
    fn file_is_offered_to_every_other_member_and_comes_as_it_went() {
        let kit = Kit::new();
        let [bob, fred] = receivers(&kit);
        let _waiting = kit.joins("carol");
        let asked = "PyChat: carol has requested to join the group.";
        let token = kit.shared.key.seal(b"hello, all");
        uploads(
            kit.python("alice"),
            "../secret/a.txt",
            token.len(),
            token.as_bytes(),
        )
        .hears(&[
            "/fileTransfer",
            "/sendFile",
            "a.txt is on its way to 2 members.",
        ])
        .departs(Departure::HungUp);
        for (person, ask) in [(&bob, "/receiveFile"), (&fred, "/receiveFile alice")] {
            person.hears(&[asked, ask]);
            assert!(person.wants_name());
            person.hears(&["a.txt"]);
            assert!(person.wants_body() && !person.wants_body());
            person.hears(&["100", "<hello, all>"]);
        }
        assert!(kit.shared.spool.is_empty());
    }

    #[test]
    fn file_that_a_python_client_cannot_receive_is_told_to_it_in_a_line() {
        let kit = Kit::new();
        let [bob, fred] = receivers(&kit);
        let token = kit.shared.key.seal(&[b'a'; 112]);
        let longest = format!("/sendFile {}", token_len(1000));
        uploads(kit.fernchat("alice"), "a.txt", token.len(), token.as_bytes())
            .hears(&[
                "/fileTransfer",
                &longest,
                "a.txt is on its way to 1 member; 1 more cannot receive a file of this size and were told.",
            ])
            .departs(Departure::HungUp);
        bob.hears(&["PyChat: alice shared a.txt (186 bytes), too large for this program."]);
        fred.hears(&["/receiveFile alice"]);
        // One byte less in the last block is the most that a Python client gets.
        let token = kit.shared.key.seal(&[b'a'; 111]);
        uploads(kit.python("alice"), "a.txt", token.len(), token.as_bytes())
            .departs(Departure::HungUp);
        bob.hears(&["/receiveFile"]);
    }

    #[test]
    fn upload_that_fails_says_why_and_stays_in_step() {
        let kit = Kit::new();
        let [bob, fred] = receivers(&kit);
        let token = kit.shared.key.seal(b"hello").into_bytes();
        let foreign = Key::generate().seal(b"hello").into_bytes();
        let damaged = [&token[..50], b"AAAA", &token[54..]].concat();
        let large = kit.shared.key.seal(&[b'a'; 1008]).into_bytes();
        let cases: [(&[u8], &str); 5] = [
            (
                &foreign,
                "it did not arrive whole: damaged, or sealed with another key",
            ),
            (
                &damaged,
                "it did not arrive whole: damaged, or sealed with another key",
            ),
            (
                &token[..96],
                "it did not arrive whole: damaged, or sealed with another key",
            ),
            (
                b"A",
                "it did not arrive whole: damaged, or sealed with another key",
            ),
            (&large, "this server takes files of at most 1000 bytes."),
        ];
        for (body, reason) in cases {
            let ear = uploads(kit.python("alice"), "a.txt", body.len(), body)
                .says("/onlineMembers")
                .departs(Departure::HungUp);
            let heard = ear.heard();
            assert_eq!(heard[..2], ["/fileTransfer", "/sendFile"]);
            let result = format!("a.txt was not shared: {reason}");
            assert!(heard[2].starts_with(&result), "{} {result}", heard[2]);
            assert_eq!(heard[3], "/onlineMembers");
        }
        let largest = kit.shared.key.seal(&[b'a'; 1007]);
        uploads(
            kit.python("alice"),
            "a.txt",
            largest.len(),
            largest.as_bytes(),
        )
        .departs(Departure::HungUp);
        fred.hears(&["/receiveFile alice"]);
        bob.hears(&["PyChat: alice shared a.txt (1.0 KiB), too large for this program."]);
        let step = "the length of a body";
        for length in ["many", "-1", "1.5", "", "99999999999999999999"] {
            kit.python("alice")
                .says("/fileTransfer")
                .says("a.txt")
                .says(length)
                .departs(broke(WireError::NotTheStep(step)));
        }
    }

    #[test]
    fn commands_torn_into_a_body_run_after_it() {
        let kit = Kit::new();
        let [bob, _fred] = receivers(&kit);
        let token = kit.shared.key.seal(b"hello").into_bytes();
        let (one, two) = (kit.bytes("/onlineMembers"), kit.bytes("/whoAdmin"));
        let noise = kit.bytes("no command");
        let (length, rest) = two.split_at(4);
        // One whole, one whose length comes before the body and whose token comes inside it, and something else.
        let body = [
            &token[..30],
            &one,
            &token[30..60],
            rest,
            &token[60..61],
            &noise,
            &token[61..],
        ]
        .concat();
        kit.python("alice")
            .says("/fileTransfer")
            .says("a.txt")
            .sends(&[length, &kit.bytes("100")].concat())
            .hears(&["/fileTransfer", "/sendFile"])
            .sends(&body)
            .hears(&["a.txt is on its way to 2 members.", "/onlineMembers"])
            .says(".")
            .hears(&[r#"{"alice", "bob", "fred"}"#, "/whoAdmin"])
            .departs(Departure::HungUp);
        bob.hears(&["/receiveFile"]);
    }

    #[test]
    fn kicked_in_the_middle_of_an_upload_shares_nothing() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        bob.leaves();
        let token = kit.shared.key.seal(b"hello");
        let (half, rest) = token.as_bytes().split_at(50);
        uploads(kit.python("bob"), "a.txt", token.len(), half)
            .hears(&["/fileTransfer", "/sendFile"])
            .then(|| alice.throws_out("bob"))
            .sends(rest)
            .hears(&[NO_MEMBER, "/kicked", "<end: kicked>"])
            .departs(Departure::Ended("kicked".into()));
        alice.hears_nothing();
    }

    #[test]
    fn delivery_goes_step_by_step_and_everything_else_waits() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        kit.python("alice")
            .says("/allMembers")
            .then(|| bob.shares("a.txt", "hello"))
            .hears(&["/allMembers"])
            .says(".")
            .hears(&[r#"{"alice", "bob"}"#, "/receiveFile"])
            .then(|| bob.says("are you there?").unwrap())
            .then(|| bob.shares("b.txt", "once more"))
            // Typed between the two answers.
            .says("/onlineMembers")
            .says("/sendFilename")
            .hears(&["a.txt"])
            .says("/whoAdmin")
            .hears_nothing()
            .says("/sendFile")
            .hears(&["100", "<hello>", "/onlineMembers"])
            .says(".")
            .hears(&[r#"{"alice", "bob"}"#, "bob: are you there?", "/receiveFile"])
            .says("/sendFilename")
            .says("/sendFile")
            .hears(&["b.txt", "100", "<once more>", "/whoAdmin"])
            // Nothing is offered: the words mean nothing.
            .says("/sendFilename")
            .hears(&["You are in the group the den; ask about that one."])
            .departs(Departure::HungUp);
        assert!(bob.news().is_empty());
    }

    #[test]
    fn message_in_one_write_with_its_command_may_cross_with_a_file_on_offer() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        for text in ["hello", "/disconnect"] {
            kit.fernchat("alice")
                .then(|| bob.shares("a.txt", "hello"))
                .hears(&["/receiveFile bob"])
                .sends(&[kit.bytes("/messageSend"), kit.bytes(text)].concat())
                .hears_nothing()
                .says("/sendFilename")
                .hears(&["a.txt"])
                .says("/sendFile")
                .hears(&["100", "<hello>", "/messageSend"])
                .says("/messageSend")
                .says("and then")
                .hears(&["/messageSend"])
                .departs(Departure::HungUp);
            bob.hears(&[&format!("alice: {text}"), "alice: and then"]);
        }
    }

    #[test]
    fn members_that_offer_each_other_files_and_leave_keep_no_room() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.shares("a.txt", "from alice");
        bob.shares("b.txt", "from bob");
        for person in [alice, bob] {
            person.leaves();
            drop(person);
        }
        assert!(kit.shared.spool.is_empty());
    }

    #[test]
    fn receiver_that_leaves_before_it_has_the_file_is_reported() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        kit.python("alice")
            .then(|| bob.shares("a.txt", "hello"))
            .says("/sendFilename")
            .departs(Departure::HungUp);
        assert_eq!(bob.news(), ["a.txt did not reach alice."]);
    }
}
