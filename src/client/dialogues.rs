//! The dialogues with the server: straight-line code, one at a time.
//!
//! A dialogue asks and waits. [`Dialogues::send_and_wait`] says which step is expected next, sends, and waits until the receiving thread hands the
//! step over. A message has only one step: its text is sent with its command in one write.
//!
//! A Python server may send events between any two steps, so [`Expected`] also says what cannot be the step. A fernchat server sends none
//! there: the next frame is the step.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::link::Link;
use super::sending::Task;
use super::step::Expected;
use crate::screen::{Event, Right, Said, Words, in_list, shortened};
use crate::typed::{Action, meant};
use crate::wire::command::{
    ACCEPTED, ACKNOWLEDGEMENT, ADMIN, Command, DENY, Dialect, PROCEED, READY_FOR_DATA,
    SENDING_DATA, TAKEN, WAIT_DISCONNECT, to_one,
};
use crate::wire::frame::MAX_TEXT;
use crate::wire::name::{MAX_NAME_CHARACTERS, UserName};
use crate::wire::name_set;

/// After this time without the step, a dialogue says that the server does not answer, or gives up: see [`StepTimeout`].
const STEP_TIME: Duration = Duration::from_secs(10);

/// How long the server may take for the result of an upload: a Python server opens the whole file, and seals it again for each receiver.
const UPLOAD_TIME: Duration = Duration::from_secs(600);

/// Said in place of a longer line. A line of this length always fits into [`MAX_TEXT`], with its number or its name, time and seal.
const LINE_TOO_LONG: &str =
    "Not sent: this line is too long. A line has at most 511 KiB, or 383 KiB under a room key.";

/// When a signal ends the client, it waits this long for the end of the open dialogue, for each step of the goodbye, and for the server to
/// close.
pub(super) const LEAVE_TIME: Duration = Duration::from_secs(2);

/// What is typed in place of a name to answer all requests.
const ALL: &str = "all";

/// Why a dialogue did not come to its end.
pub(crate) enum DialogueError {
    /// The step that was due did not come in time.
    NoAnswer,
    /// The connection is gone. The receiving thread says so.
    Disconnected,
}

impl From<io::Error> for DialogueError {
    fn from(_: io::Error) -> DialogueError {
        DialogueError::Disconnected
    }
}

impl From<RecvTimeoutError> for DialogueError {
    fn from(error: RecvTimeoutError) -> DialogueError {
        match error {
            RecvTimeoutError::Timeout => DialogueError::NoAnswer,
            RecvTimeoutError::Disconnected => DialogueError::Disconnected,
        }
    }
}

/// What a dialogue, or a part of it, comes to.
pub(super) type Outcome<T = ()> = Result<T, DialogueError>;

/// How long a dialogue waits for a step.
#[derive(Clone, Copy)]
pub(crate) enum StepTimeout {
    /// As long as it takes, because giving up would leave both ends out of sync. The exception is a Python server's result that has the form
    /// of a chat line: it may have been shown as one already, so [`STEP_TIME`] is the limit.
    Usual,
    /// For a goodbye: [`STEP_TIME`], and as long as a body arrives.
    Goodbye,
    /// For a goodbye at a signal: [`LEAVE_TIME`].
    Short,
}

/// A name with the mark that denies a request, or bans an address with the name.
fn with_mark(name: &str) -> String {
    format!("{DENY}{name}")
}

/// One connection, and the dialogues over it. See the module's page.
pub(crate) struct Dialogues {
    pub(super) link: Arc<Link>,
    /// Steps, from the receiving thread.
    steps: Receiver<Vec<u8>>,
    /// The client has looked around in the group.
    has_looked: AtomicBool,
}

impl Dialogues {
    /// The dialogues over this link.
    pub(crate) fn new(link: Arc<Link>, steps: Receiver<Vec<u8>>) -> Dialogues {
        let has_looked = AtomicBool::default();
        Dialogues {
            link,
            steps,
            has_looked,
        }
    }

    /// Whether the client is to look around: once, and for a person only. A Python server is asked nothing that nobody typed.
    pub(crate) fn must_look(&self) -> bool {
        let is_person = self.link.shared.screen.is_interactive();
        let can_look = is_person && self.link.server == Dialect::Fernchat;
        can_look && !self.has_looked.swap(true, Ordering::Relaxed)
    }

    /// Holds the dialogue that a task needs. In a pipe it may `ask` for the name in the middle.
    pub(crate) fn hold(&self, task: &Task, ask: &dyn Fn() -> String) -> Outcome {
        self.link.dialogue.lock().is_open = true;
        let outcome = match task {
            Task::Say(number, said) => self.say(*number, said),
            Task::Do(action, argument) => self.act(*action, argument, ask),
            Task::Look => self.look(),
        };
        self.link.end_dialogue()?;
        outcome
    }

    fn act(&self, action: Action, argument: &str, ask: &dyn Fn() -> String) -> Outcome {
        let decide = |command, answer| {
            let Some(name) = self.meant(argument, Command::AllMembers)? else {
                return Ok(());
            };
            let is_person = self.link.shared.screen.is_interactive() && !name.is_empty();
            let is_stranger = is_person && !self.knows(&name);
            self.decide_on(command, &name, answer, ask)?;
            if is_stranger && command == Command::BanMember {
                self.show(&format!("Nobody here has the name {name}."));
            }
            Ok(())
        };
        match action {
            Action::Requests => {
                let requests = self.list(Command::ViewRequests, "requests")?;
                // The answer that was typed has no name.
                if !argument.is_empty() && requests.is_some_and(|names| !names.is_empty()) {
                    self.show(&format!("Which one? {argument} NAME, or {argument} all."));
                }
                Ok(())
            }
            Action::Approve => self.answer_requests(argument, |name| {
                self.decide_on(Command::ApproveRequest, name, str::to_owned, ask)?;
                // A result is free text. If the server said no, Tab offers one name too many.
                let mut names = self.link.shared.names.lock();
                if !name.is_empty() {
                    names.add_member(name);
                }
                Ok(())
            }),
            Action::Deny => self.answer_requests(argument, |name| self.deny(name, ask)),
            Action::Members => self.list(Command::AllMembers, "members").map(drop),
            Action::Online => self.list(Command::OnlineMembers, "online").map(drop),
            Action::Transfer => decide(Command::ChangeAdmin, str::to_owned),
            Action::Admin => self.who_administers(),
            Action::Kick => decide(Command::KickMember, str::to_owned),
            Action::Ban | Action::BanAddress | Action::Unban | Action::Bans | Action::WhoIs
                if self.link.server == Dialect::Python =>
            {
                self.show("A Python server has no such command.");
                Ok(())
            }
            Action::Ban => decide(Command::BanMember, str::to_owned),
            Action::BanAddress => decide(Command::BanMember, with_mark),
            Action::Unban => self.decide_on(Command::UnbanMember, argument, str::to_owned, ask),
            Action::Bans => self.list(Command::ViewBans, "banned").map(drop),
            Action::WhoIs if argument.is_empty() => self.who_is(&self.asked(ask)),
            Action::WhoIs => {
                let name = self.meant(argument, Command::AllMembers)?;
                name.map_or(Ok(()), |name| self.who_is(&name))
            }
            // The sending thread does these.
            Action::File
            | Action::Pack
            | Action::Accept
            | Action::Decline
            | Action::Stop
            | Action::Help
            | Action::Quit
            | Action::Msg
            | Action::Reply
            | Action::Me
            | Action::Ignore
            | Action::Clear
            | Action::Nick => Ok(()),
        }
    }

    /// Says a line. A fernchat server confirms that it has passed the line on, and by the number it knows a line that is sent again. A Python
    /// server echoes the command before it has the text, so its echo proves little.
    fn say(&self, number: u64, said: &Said) -> Outcome {
        let to = match &said.to {
            None => None,
            Some(_) if self.link.server == Dialect::Python => {
                self.show("Not sent: a Python server cannot tell one member something, only all.");
                return Ok(());
            }
            Some(to) => match self.meant(to, Command::AllMembers)? {
                None => return Ok(()),
                name => name,
            },
        };
        let mut text = match &self.link.shared.room_key {
            Some(room_key) => Cow::Owned(room_key.seal(number, to.as_deref(), &said.text)),
            None => Cow::Borrowed(said.text.as_str()),
        };
        if let Some(name) = &to {
            text = Cow::Owned(to_one(name, &text));
        }
        let (text, expected) = match self.link.server {
            Dialect::Fernchat => (Cow::Owned(format!("{number} {text}")), TAKEN),
            Dialect::Python => (text, Command::MessageSend.word()),
        };
        if text.len() > MAX_TEXT {
            self.show(LINE_TOO_LONG);
            return Ok(());
        }
        self.expect(match self.link.server {
            Dialect::Fernchat => Expected::WordOrResult(expected),
            Dialect::Python => Expected::Words(vec![expected]),
        });
        self.link.send(&[Command::MessageSend.word(), &text])?;
        let answer = self.step(StepTimeout::Usual)?;
        if !answer.starts_with(expected.as_bytes()) {
            self.show_result(&answer);
            return Ok(());
        }
        self.link.shared.screen.show(Event::Own {
            said: Said {
                to,
                text: said.text.clone(),
            },
            echo: None,
        });
        Ok(())
    }

    /// Shows a list of the server, and returns it. `None`: there is none, and the person has been told why.
    fn list(&self, command: Command, title: &'static str) -> Outcome<Option<BTreeSet<String>>> {
        let names = match self.fetch(command)? {
            Ok(names) => names,
            Err(refusal) => {
                self.show_result(&refusal);
                return Ok(None);
            }
        };
        let names = match name_set::decode(&names) {
            Ok(names) => names,
            Err(error) => {
                self.show(&format!("The server's list cannot be read: {error}."));
                return Ok(None);
            }
        };
        let mut known = self.link.shared.names.lock();
        match command {
            Command::ViewRequests => {
                known.requests.clear();
                names.iter().for_each(|name| known.add_request(name));
            }
            Command::AllMembers | Command::OnlineMembers => {
                names.iter().for_each(|name| known.add_member(name));
            }
            _ => {}
        }
        let admin = known.admin.clone();
        drop(known);
        self.link.shared.screen.show(Event::Names {
            title,
            names: names.clone(),
            admin,
        });
        Ok(Some(names))
    }

    /// Asks for a list of the server: a set of names. An error is the server's word that the user may not see it.
    fn fetch(&self, command: Command) -> Outcome<Result<Vec<u8>, Vec<u8>>> {
        self.begin(command)?;
        if matches!(command, Command::ViewRequests | Command::ViewBans) {
            let right =
                self.send_and_wait(ACKNOWLEDGEMENT, Expected::WordOrResult(SENDING_DATA))?;
            if right != SENDING_DATA.as_bytes() {
                return Ok(Err(right));
            }
            return Ok(Ok(self.send_and_wait(READY_FOR_DATA, Expected::Set)?));
        }
        Ok(Ok(self.send_and_wait(ACKNOWLEDGEMENT, Expected::Set)?))
    }

    /// The member, or the one who has asked to join, whom a person means by this name: see [`meant`]. `None`: the person has been told. A name
    /// that is like no other is for the server to judge. A script means what it says.
    pub(super) fn meant(&self, name: &str, list: Command) -> Outcome<Option<String>> {
        let shared = &self.link.shared;
        if name.is_empty() || self.knows(name) || !shared.screen.is_interactive() {
            return Ok(Some(name.to_owned()));
        }
        let names = self.listed(list)?;
        match meant(name, &names) {
            Ok(meant) => Ok(Some(meant.unwrap_or(name).to_owned())),
            Err(question) => {
                self.show(&question);
                Ok(None)
            }
        }
    }

    /// Whether somebody of this name is known here.
    fn knows(&self, name: &str) -> bool {
        let names = self.link.shared.names.lock();
        names.members.contains(name) || names.requests.contains(name)
    }

    /// A list of the server that is not shown. Without the right to see it, it is empty.
    fn listed(&self, list: Command) -> Outcome<BTreeSet<String>> {
        let names = self.fetch(list)?.unwrap_or_default();
        let names = name_set::decode(&names).unwrap_or_default();
        if list == Command::AllMembers {
            let mut known = self.link.shared.names.lock();
            names.iter().for_each(|name| known.add_member(name));
        }
        Ok(names)
    }

    /// Answers the request of the user of this name, or of several, or of `all`. A name may have blanks in it. So which names are meant shows
    /// in the list of requests.
    fn answer_requests(&self, argument: &str, answer: impl Fn(&str) -> Outcome) -> Outcome {
        if argument != ALL && !argument.contains(' ') {
            let meant = self.meant(argument, Command::ViewRequests)?;
            return meant.map_or(Ok(()), |name| answer(&name));
        }
        let Some(requests) = self.list(Command::ViewRequests, "requests")? else {
            return Ok(());
        };
        if argument == ALL {
            requests.iter().try_for_each(|name| answer(name))
        } else if requests.contains(argument) {
            answer(argument)
        } else {
            argument.split_whitespace().try_for_each(answer)
        }
    }

    /// Whether nobody is there who would get a file. A script shares it all the same, and a Python server is not asked.
    pub(super) fn is_alone(&self) -> Outcome<bool> {
        let is_person = self.link.shared.screen.is_interactive();
        let is_sure = is_person && self.link.server == Dialect::Fernchat;
        Ok(is_sure && self.listed(Command::OnlineMembers)?.len() == 1)
    }

    fn who_is(&self, name: &str) -> Outcome {
        self.begin(Command::WhoIs)?;
        let result = self.send_and_wait(name, Expected::Result(String::new()))?;
        self.show_result(&result);
        Ok(())
    }

    /// Learns who administers the group, and who waits if it is the person. Shows what of this is news to the person.
    fn look(&self) -> Outcome {
        let shared = &self.link.shared;
        let (me, group) = (shared.name.as_str(), &shared.group);
        let names = shared.names.lock();
        let (before, known) = (names.right(me), names.requests.clone());
        drop(names);
        self.learn_admin()?;
        let names = shared.names.lock();
        let (right, admin) = (names.right(me), names.admin.clone().unwrap_or_default());
        drop(names);
        let mut news = Vec::new();
        match (before, right) {
            (Right::Admin, Right::Member) => news.push(format!(
                "You do not administer the group {group} any more: {admin} does."
            )),
            (before, Right::Admin) if before != Right::Admin => {
                news.push(format!("You administer the group {group}."));
            }
            _ => {}
        }
        if right == Right::Admin {
            let requests = self.listed(Command::ViewRequests)?;
            if !requests.is_subset(&known) {
                let asks = if requests.len() == 1 { "asks" } else { "ask" };
                let names = requests
                    .iter()
                    .map(|name| in_list(name))
                    .collect::<Vec<_>>();
                let names = names.join(", ");
                news.push(format!("{} {asks} to join: {names}.", requests.len()));
            }
            let mut names = shared.names.lock();
            // Who has asked meanwhile stays.
            let is_over = |name: &String| known.contains(name) && !requests.contains(name);
            names.requests.retain(|name| !is_over(name));
            requests.iter().for_each(|name| names.add_request(name));
        }
        if !news.is_empty() {
            self.show_result(news.join(" ").as_bytes());
        }
        Ok(())
    }

    fn who_administers(&self) -> Outcome {
        let result = self.learn_admin()?;
        self.show_result(&result);
        Ok(())
    }

    /// Asks who administers the group. Returns the server's words.
    fn learn_admin(&self) -> Outcome<Vec<u8>> {
        self.begin(Command::WhoAdmin)?;
        let expected = Expected::Result(format!("{ADMIN}: "));
        let result = self.send_and_wait(self.link.shared.group.as_str(), expected)?;
        let text = String::from_utf8_lossy(&result);
        let admin = text.split_once(": ").filter(|(word, _)| *word == ADMIN);
        let admin = admin.map(|(_, name)| shortened(name, MAX_NAME_CHARACTERS).into_owned());
        self.link.shared.names.lock().admin = admin;
        Ok(result)
    }

    fn deny(&self, name: &str, ask: &dyn Fn() -> String) -> Outcome {
        match self.link.server {
            Dialect::Fernchat => self.decide_on(Command::ApproveRequest, name, with_mark, ask),
            Dialect::Python => {
                // It would approve a user called `!NAME`.
                self.show("This server cannot deny: who is not approved stays outside.");
                Ok(())
            }
        }
    }

    /// What the person, or the next line of a pipe, says in place of an argument that is missing.
    pub(super) fn asked(&self, ask: &dyn Fn() -> String) -> String {
        let is_interactive = self.link.shared.screen.is_interactive();
        if is_interactive { String::new() } else { ask() }
    }

    /// The dialogues in which the admin decides about a name. `answer` makes of the name what is sent.
    fn decide_on(
        &self,
        command: Command,
        name: &str,
        answer: fn(&str) -> String,
        ask: &dyn Fn() -> String,
    ) -> Outcome {
        let is_person = self.link.shared.screen.is_interactive();
        if name.is_empty() && is_person {
            self.show("Nobody named, nothing done.");
            return Ok(());
        }
        if let (false, Dialect::Fernchat, Err(error)) =
            (name.is_empty(), self.link.server, UserName::parse(name))
        {
            self.show(&format!("Nobody can be called '{name}': {error}."));
            return Ok(());
        }
        self.begin(command)?;
        let right = self.send_and_wait(ACKNOWLEDGEMENT, Expected::WordOrResult(PROCEED))?;
        if right != PROCEED.as_bytes() {
            self.show_result(&right);
            return Ok(());
        }
        let asked = name.is_empty().then(|| ask().trim().to_owned());
        let name = asked.as_deref().unwrap_or(name);
        let answer = &answer(name);
        if command == Command::ChangeAdmin {
            // A fernchat server says who it is, before the result.
            self.link.shared.names.lock().admin = None;
        }
        self.link.dialogue.lock().about = Some(name.to_owned());
        let result = self.send_and_wait(answer, Expected::Result(String::new()))?;
        self.link.shared.names.lock().requests.remove(name);
        if command == Command::KickMember {
            self.link.shared.names.lock().remove_member(name);
        }
        self.show_result(&result);
        Ok(())
    }

    /// Leaves, and ends the connection.
    pub(crate) fn leave(&self, patience: StepTimeout) {
        let mut dialogue = self.link.dialogue.lock();
        // A Python server would wait for ever for the answers of a client that has gone.
        if dialogue.last_answer.is_some() {
            self.link.answered.wait_for(&mut dialogue, LEAVE_TIME);
        }
        drop(dialogue);
        // If this fails, the connection is shut all the same.
        let _ = self.say_goodbye(patience);
        self.link.shut(Shutdown::Write);
        // The receiving thread hangs up when the server has closed.
        let _ = self.steps.recv_timeout(LEAVE_TIME);
        self.link.shut(Shutdown::Both);
    }

    /// Leaves with the words of a Python client. A Python server does not notice a client that only closes, and its broadcasts stop at one.
    fn say_goodbye(&self, patience: StepTimeout) -> Outcome {
        if self.link.shared.names.lock().is_waiting {
            let expected = Expected::Words(vec![WAIT_DISCONNECT, ACCEPTED]);
            let answer = self.send_and_wait_for(patience, WAIT_DISCONNECT, expected)?;
            if answer != ACCEPTED.as_bytes() {
                return Ok(());
            }
            // Approved at the same moment. The server has ignored the word, so leave as a member.
        }
        let word = Command::Disconnect.word();
        let echo =
            self.send_and_wait_for(patience, word, Expected::Words(vec![word, WAIT_DISCONNECT]))?;
        if echo == word.as_bytes() {
            self.link.send(&[ACKNOWLEDGEMENT])?;
        }
        Ok(())
    }

    // ---- what the dialogues have in common ----

    /// Sends a command and waits for its echo.
    pub(super) fn begin(&self, command: Command) -> Outcome {
        let word = command.word();
        self.send_and_wait(word, Expected::Words(vec![word]))
            .map(drop)
    }

    /// Sends an answer and waits for the next step.
    pub(super) fn send_and_wait(&self, text: &str, expected: Expected) -> Outcome<Vec<u8>> {
        self.send_and_wait_for(StepTimeout::Usual, text, expected)
    }

    fn send_and_wait_for(
        &self,
        patience: StepTimeout,
        text: &str,
        expected: Expected,
    ) -> Outcome<Vec<u8>> {
        self.expect(expected);
        self.link.send(&[text])?;
        self.step(patience)
    }

    /// Says what is expected, before it is asked for: the answer may come at once.
    pub(super) fn expect(&self, expected: Expected) {
        let mut dialogue = self.link.dialogue.lock();
        // A step that came too late for its own dialogue must not be taken for one of this.
        while self.steps.try_recv().is_ok() {}
        dialogue.expected = Some(expected);
    }

    /// Waits for the step, as [`StepTimeout`] says.
    fn step(&self, patience: StepTimeout) -> Outcome<Vec<u8>> {
        let time = match patience {
            StepTimeout::Usual | StepTimeout::Goodbye => STEP_TIME,
            StepTimeout::Short => LEAVE_TIME,
        };
        let mut is_told = false;
        loop {
            match self.steps.recv_timeout(time) {
                Err(RecvTimeoutError::Timeout) => {}
                result => return Ok(result?),
            }
            let is_receiving = self.link.dialogue.lock().is_receiving;
            let gives_up = match patience {
                StepTimeout::Usual => self.result_may_be_shown(),
                StepTimeout::Goodbye => !is_receiving,
                StepTimeout::Short => true,
            };
            if gives_up {
                return Err(DialogueError::NoAnswer);
            }
            if !is_told && !is_receiving {
                is_told = true;
                let how_to_leave = self.link.shared.screen.how_to_leave();
                self.show(&format!(
                    "The server does not answer; still waiting for it. {how_to_leave}"
                ));
            }
        }
    }

    fn result_may_be_shown(&self) -> bool {
        let expected = &self.link.dialogue.lock().expected;
        let is_result = matches!(
            expected,
            Some(Expected::Result(_) | Expected::WordOrResult(_))
        );
        is_result && self.link.server == Dialect::Python
    }

    /// Waits for the result of an upload.
    pub(super) fn upload_result(&self) -> Outcome<Vec<u8>> {
        Ok(self.steps.recv_timeout(UPLOAD_TIME)?)
    }

    pub(super) fn show(&self, notice: &str) {
        self.link.shared.show(notice);
    }

    pub(super) fn show_result(&self, result: &[u8]) {
        let shared = &self.link.shared;
        shared.screen.show(Event::Unsigned {
            text: Words::of_peer(String::from_utf8_lossy(result)),
            trust: shared.trust(),
        });
    }
}
