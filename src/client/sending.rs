//! What is typed, and the dialogues: straight-line code, one at a time.
//!
//! A dialogue asks and awaits: [`Sending::ask`] says what is expected next, sends, and waits until the receiving thread hands over
//! the step. The next line of the input is read only when the dialogue of the last one is over, so piped input never
//! overtakes an answer. A message is the one exception to question and answer: its text goes out with its command in one write.
//!
//! A Python server may send events between any two steps, so [`Expected`] also says what cannot be the step; a fernchat
//! server never does, and there the next frame is the step.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use super::files::Stop;
use super::link::{Link, Membership, ServerKind, ANSWER_DELAY};
use super::room;
use crate::terminal::{Need, Terminal};
use crate::wire::command::{
    after, Command, ACCEPTED, ACKNOWLEDGEMENT, ADMIN, CLOSING, DENY, KICKED, PROCEED, READY_FOR_DATA, RECEIVE_FILE, SENDING_DATA,
    WAIT_DISCONNECT,
};
use crate::wire::frame::MAX_TEXT;
use crate::wire::name::UserName;
use crate::wire::name_set;

/// How long the server may take for a step, not counting a body that arrives meanwhile.
const STEP_TIME: Duration = Duration::from_secs(10);

/// How long the server may take for the result of an upload.
const UPLOAD_TIME: Duration = Duration::from_secs(600);

/// How long a goodbye may take when a signal asks for it, each of: the dialogue that is open, the step, the server's close.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// What a person can type beside messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Requests,
    Approve,
    Deny,
    Quit,
    Members,
    Online,
    Transfer,
    Admin,
    Kick,
    File,
    Help,
}

/// Each action with its words, what it needs to know, and its line of help.
const ACTIONS: [(Action, &[&str], Need, &str); 11] = [
    (Action::Requests, &["/1", "/requests"], Need::Nothing, "who has asked to join (admin)"),
    (Action::Approve, &["/2", "/approve"], Need::Request("Who is to be approved"), "NAME: let somebody in (admin)"),
    (Action::Deny, &["/deny"], Need::Request("Who is to be denied"), "NAME: refuse somebody (admin)"),
    (Action::Quit, &["/3", "/quit"], Need::Nothing, "leave"),
    (Action::Members, &["/4", "/members"], Need::Nothing, "all members of the group"),
    (Action::Online, &["/5", "/online"], Need::Nothing, "the members that are online"),
    (Action::Transfer, &["/6", "/transfer"], Need::Member("Who is to be the admin"), "NAME: hand the admin's role over (admin)"),
    (Action::Admin, &["/7", "/admin"], Need::Nothing, "who the admin is"),
    (Action::Kick, &["/8", "/kick"], Need::Member("Who is to be kicked"), "NAME: put somebody out (admin)"),
    (Action::File, &["/9", "/file"], Need::File("Which file"), "PATH: share a file with everybody online"),
    (Action::Help, &["/help"], Need::Nothing, "this list; any other line is said to the group"),
];

/// Every word that is a command, and what it needs to know.
pub fn commands() -> Vec<(&'static str, Need)> {
    ACTIONS.iter().flat_map(|(_, words, need, _)| words.iter().map(|word| (*word, *need))).collect()
}

/// A typed line.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    /// An action, what it needs to know (empty: to be asked for), and the question for it.
    Action(Action, &'a str, Option<&'static str>),
    Message(&'a str),
}

impl Typed<'_> {
    /// Any line that is not exactly an action is a message, also one that begins with a slash.
    fn parse(line: &str) -> Typed<'_> {
        let (word, argument) = line.split_once(' ').map_or((line, ""), |(word, rest)| (word, rest.trim()));
        match ACTIONS.iter().find(|(_, words, ..)| words.contains(&word)) {
            Some((action, _, need, _)) if *need != Need::Nothing || argument.is_empty() => {
                Typed::Action(*action, argument, need.question())
            }
            _ => Typed::Message(line),
        }
    }
}

/// What the receiving thread must know of the dialogue that is open.
#[derive(Default)]
pub struct Dialogue {
    /// From the command to the last step.
    pub is_open: bool,
    /// The step that is due.
    pub expected: Option<Expected>,
    /// The last answer to a delivery, while one is under way.
    pub last_answer: Option<&'static str>,
    /// What deliveries are owed as soon as the dialogue is over.
    pub answers_due: VecDeque<&'static str>,
}

/// What the next step of a dialogue can be.
#[derive(Debug)]
pub enum Expected {
    /// One of these words, perhaps with more behind it.
    Words(Vec<&'static str>),
    /// This word, or a result in its place.
    WordOrResult(&'static str),
    /// A result in words. What begins with this text is one for certain.
    Result(String),
    /// A set of names.
    Set,
}

impl Expected {
    /// Whether these bytes are the step.
    pub fn is(&self, bytes: &[u8], server: ServerKind) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return matches!(self, Expected::Set);
        };
        let is_word = |words: &[&str]| words.iter().any(|word| after(word, text).is_some());
        let is_event = || match server {
            ServerKind::Fernchat => is_word(&[RECEIVE_FILE, KICKED, CLOSING]),
            ServerKind::Python => {
                let is_length = text.bytes().all(|byte| byte.is_ascii_digit());
                is_word(&[RECEIVE_FILE, KICKED, ACCEPTED]) || is_line(text) || is_length
            }
        };
        match self {
            Expected::Words(words) => is_word(words),
            Expected::WordOrResult(word) => is_word(&[word]) || !is_event(),
            Expected::Result(beginning) => (!beginning.is_empty() && text.starts_with(beginning)) || !is_event(),
            // The first byte of every set is no UTF-8, so this text is none.
            Expected::Set => false,
        }
    }
}

/// Whether a text has the form of a chat line, `NAME: TEXT`.
pub fn is_line(text: &str) -> bool {
    text.split_once(": ").is_some_and(|(name, _)| !name.is_empty())
}

/// Why a dialogue did not come to its end.
pub enum Silence {
    /// The step that was due did not come in time.
    NoAnswer,
    /// The connection is gone, and the receiving thread says so.
    Gone,
}

/// How long a goodbye may take.
#[derive(Clone, Copy)]
enum Patience {
    /// As long as any dialogue.
    Usual,
    /// As short as possible.
    Little,
}

/// The half that sends. See the module's page.
pub struct Sending {
    pub(super) link: Arc<Link>,
    pub(super) terminal: Arc<Terminal>,
    /// Steps, from the receiving thread.
    steps: Receiver<Vec<u8>>,
    /// Of the upload that is under way.
    pub(super) stop: Stop,
    /// Held for the time of a dialogue: the next line and a signal wait for it.
    busy: Mutex<()>,
}

impl Sending {
    /// The half that sends over this link.
    pub fn new(link: Arc<Link>, terminal: Arc<Terminal>, steps: Receiver<Vec<u8>>) -> Sending {
        Sending { link, terminal, steps, stop: Stop::default(), busy: Mutex::new(()) }
    }

    /// Reads lines and does what they say, until the input ends or the person leaves. The body of the sending thread.
    pub fn sending_loop(&self) {
        while let Some(line) = self.terminal.read_line() {
            match self.do_line(&line) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break,
                Err(Silence::NoAnswer) => self.terminal.show("No answer came; what you typed may have had no effect."),
                Err(Silence::Gone) => return,
            }
        }
        let _busy = self.busy.lock();
        self.leave(Patience::Usual);
    }

    /// Leaves as politely as a short time allows. Called by the handler of Ctrl-C and SIGTERM.
    pub fn leave_at_signal(&self) {
        match self.busy.try_lock_for(LEAVE_TIME) {
            Some(_busy) => self.leave(Patience::Little),
            None => self.link.shut(),
        }
    }

    /// Stops the upload that is under way; `false`: none is.
    pub fn stop(&self) -> bool {
        self.stop.ask()
    }

    fn do_line(&self, line: &str) -> Result<ControlFlow<()>, Silence> {
        let typed = Typed::parse(line);
        if !self.link.is_member.load(Ordering::SeqCst) {
            return Ok(match typed {
                Typed::Action(Action::Quit, ..) => ControlFlow::Break(()),
                _ if line == "/1" => ControlFlow::Break(()),
                _ => {
                    self.terminal.show("You wait for the admin to approve you; nothing is sent until then. /1 leaves.");
                    ControlFlow::Continue(())
                }
            });
        }
        let (action, argument) = match typed {
            Typed::Action(Action::Quit, ..) => return Ok(ControlFlow::Break(())),
            Typed::Action(action, "", Some(question)) => match self.ask_for(action, question)? {
                None => return Ok(ControlFlow::Break(())),
                Some(answer) => (action, answer.trim().to_owned()),
            },
            Typed::Action(action, argument, _) => (action, argument.to_owned()),
            Typed::Message("") => return Ok(ControlFlow::Continue(())),
            Typed::Message(text) => {
                self.dialogue(|| self.say(text))?;
                return Ok(ControlFlow::Continue(()));
            }
        };
        self.dialogue(|| match action {
            Action::Requests => self.requests(),
            Action::Approve => self.decide_on(Command::ApproveRequest, &argument, &argument),
            Action::Deny => self.deny(&argument),
            Action::Members => self.names(Command::AllMembers, "members"),
            Action::Online => self.names(Command::OnlineMembers, "online"),
            Action::Transfer => self.decide_on(Command::ChangeAdmin, &argument, &argument),
            Action::Admin => self.who_administers(),
            Action::Kick => self.decide_on(Command::KickMember, &argument, &argument),
            Action::File => self.share(&argument),
            Action::Help | Action::Quit => self.help(),
        })?;
        Ok(ControlFlow::Continue(()))
    }

    /// What an action needs to know. To a person who is to name one of those who asked to join, they are shown.
    fn ask_for(&self, action: Action, question: &str) -> Result<Option<String>, Silence> {
        if self.terminal.is_interactive() && matches!(action, Action::Approve | Action::Deny) {
            self.dialogue(|| self.requests())?;
        }
        Ok(self.terminal.ask(question))
    }

    // ---- the dialogues ----

    fn say(&self, text: &str) -> Result<(), Silence> {
        let Membership { name, room_key, .. } = &*self.link.membership;
        let said = text;
        let text = match room_key {
            Some(room_key) => Cow::Owned(room::seal(room_key, name, text)),
            None => Cow::Borrowed(text),
        };
        if text.len() > MAX_TEXT {
            self.terminal.show(&format!("Not sent: {} bytes, and a line has at most {MAX_TEXT}.", text.len()));
            return Ok(());
        }
        self.expect(Expected::Words(vec![Command::MessageSend.word()]));
        self.link.send(&[Command::MessageSend.word(), &text]).map_err(|_| Silence::Gone)?;
        self.step(Patience::Usual)?;
        self.terminal.said(said);
        Ok(())
    }

    fn requests(&self) -> Result<(), Silence> {
        self.begin(Command::ViewRequests)?;
        let answer = self.ask(ACKNOWLEDGEMENT, Expected::WordOrResult(SENDING_DATA))?;
        if answer != SENDING_DATA.as_bytes() {
            return self.show_result(&answer);
        }
        let names = self.ask(READY_FOR_DATA, Expected::Set)?;
        if let Some(names) = self.show_names("requests", &names) {
            self.terminal.people().requests = names;
        }
        Ok(())
    }

    fn names(&self, command: Command, title: &str) -> Result<(), Silence> {
        self.begin(command)?;
        let names = self.ask(ACKNOWLEDGEMENT, Expected::Set)?;
        let names = self.show_names(title, &names).unwrap_or_default();
        names.iter().for_each(|name| self.terminal.people().meet(name));
        Ok(())
    }

    fn who_administers(&self) -> Result<(), Silence> {
        self.begin(Command::WhoAdmin)?;
        let result = self.ask(self.link.membership.group.as_str(), Expected::Result(format!("{ADMIN}: ")))?;
        let admin =
            String::from_utf8_lossy(&result).strip_prefix(ADMIN).and_then(|rest| rest.strip_prefix(": ")).map(str::to_owned);
        self.terminal.people().admin = admin;
        self.show_result(&result)
    }

    fn deny(&self, name: &str) -> Result<(), Silence> {
        if self.link.server == ServerKind::Python {
            // It would approve a user called `!NAME`.
            self.terminal.show("This server cannot deny: who is not approved stays outside.");
            return Ok(());
        }
        self.decide_on(Command::ApproveRequest, name, &format!("{DENY}{name}"))
    }

    /// The dialogues in which the admin decides about a name.
    fn decide_on(&self, command: Command, name: &str, answer: &str) -> Result<(), Silence> {
        if name.is_empty() {
            self.terminal.show("Nobody named, nothing done.");
            return Ok(());
        }
        if let (ServerKind::Fernchat, Err(error)) = (self.link.server, UserName::parse(name)) {
            self.terminal.show(&format!("Nobody can be called '{name}': {error}."));
            return Ok(());
        }
        self.begin(command)?;
        let right = self.ask(ACKNOWLEDGEMENT, Expected::WordOrResult(PROCEED))?;
        if right != PROCEED.as_bytes() {
            return self.show_result(&right);
        }
        let result = self.ask(answer, Expected::Result(String::new()))?;
        let mut people = self.terminal.people();
        people.requests.remove(name);
        if command == Command::ChangeAdmin {
            people.admin = None;
        }
        drop(people);
        self.show_result(&result)
    }

    fn help(&self) -> Result<(), Silence> {
        for (_, words, _, help) in ACTIONS {
            self.terminal.show(&format!("{:<14} {help}", words.join(" ")));
        }
        Ok(())
    }

    fn leave(&self, patience: Patience) {
        self.link.is_leaving.store(true, Ordering::SeqCst);
        let mut dialogue = self.link.dialogue.lock();
        // A Python server would wait for ever for the answers of a client that has gone.
        if dialogue.last_answer.is_some() {
            self.link.answered.wait_for(&mut dialogue, LEAVE_TIME);
        }
        drop(dialogue);
        // Whatever goes wrong here, the connection is shut at the end.
        let _ = self.say_goodbye(patience);
        self.link.finish();
        // The receiving thread hangs up when the server has closed.
        let _ = self.steps.recv_timeout(LEAVE_TIME);
        self.link.shut();
    }

    /// The Python server never notices a bare close, and its broadcasts stop at a dead member: so say goodbye in its words.
    fn say_goodbye(&self, patience: Patience) -> Result<(), Silence> {
        if !self.link.is_member.load(Ordering::SeqCst) {
            let answer = self.ask_with(patience, WAIT_DISCONNECT, Expected::Words(vec![WAIT_DISCONNECT, ACCEPTED]))?;
            if answer != ACCEPTED.as_bytes() {
                return Ok(());
            }
            // Approved at the same moment: a fernchat server takes no notice of the word, so leave as a member.
        }
        let word = Command::Disconnect.word();
        let echo = self.ask_with(patience, word, Expected::Words(vec![word, WAIT_DISCONNECT]))?;
        if echo == word.as_bytes() {
            self.link.send(&[ACKNOWLEDGEMENT]).map_err(|_| Silence::Gone)?;
        }
        Ok(())
    }

    // ---- what the dialogues have in common ----

    /// Holds a dialogue. Deliveries of a Python server that came meanwhile get their answers afterwards.
    fn dialogue(&self, talk: impl FnOnce() -> Result<(), Silence>) -> Result<(), Silence> {
        let _busy = self.busy.lock();
        self.link.dialogue.lock().is_open = true;
        let result = talk();
        // Answers that come due meanwhile stand behind those that did before, so that their order stays.
        while let Some(word) = self.next_answer_due() {
            thread::sleep(ANSWER_DELAY);
            self.link.send(&[word]).map_err(|_| Silence::Gone)?;
        }
        result
    }

    /// The next answer that a delivery is owed. With none left, the dialogue is over.
    fn next_answer_due(&self) -> Option<&'static str> {
        let mut dialogue = self.link.dialogue.lock();
        dialogue.expected = None;
        let word = dialogue.answers_due.pop_front();
        dialogue.is_open = word.is_some();
        word
    }

    /// Sends a command and awaits its echo.
    pub(super) fn begin(&self, command: Command) -> Result<(), Silence> {
        self.ask(command.word(), Expected::Words(vec![command.word()])).map(drop)
    }

    /// Sends an answer and awaits the step that follows.
    pub(super) fn ask(&self, text: &str, expected: Expected) -> Result<Vec<u8>, Silence> {
        self.ask_with(Patience::Usual, text, expected)
    }

    fn ask_with(&self, patience: Patience, text: &str, expected: Expected) -> Result<Vec<u8>, Silence> {
        self.expect(expected);
        self.link.send(&[text]).map_err(|_| Silence::Gone)?;
        self.step(patience)
    }

    /// Says what is expected. Before it is asked for, because the answer may be here at once.
    pub(super) fn expect(&self, expected: Expected) {
        // A step that came too late for its own dialogue must not be taken for one of this.
        while self.steps.try_recv().is_ok() {}
        self.link.dialogue.lock().expected = Some(expected);
    }

    /// Awaits the result of an upload: a Python server opens the whole file and seals it again for each receiver.
    pub(super) fn upload_result(&self) -> Result<Vec<u8>, Silence> {
        self.steps.recv_timeout(UPLOAD_TIME).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::NoAnswer,
            RecvTimeoutError::Disconnected => Silence::Gone,
        })
    }

    /// Awaits the step. To give up on one that may still come would be to lose step, so that is done only where it can have come
    /// already: a Python server's result that has the form of a chat line was shown as one.
    fn step(&self, patience: Patience) -> Result<Vec<u8>, Silence> {
        let mut is_told = false;
        loop {
            let time = match patience {
                Patience::Usual => STEP_TIME,
                Patience::Little => LEAVE_TIME,
            };
            match self.steps.recv_timeout(time) {
                Ok(step) => return Ok(step),
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::Gone),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let may_be_mistaken = self.link.server == ServerKind::Python
                && matches!(self.link.dialogue.lock().expected, Some(Expected::Result(_) | Expected::WordOrResult(_)));
            match patience {
                Patience::Little => return Err(Silence::NoAnswer),
                Patience::Usual if may_be_mistaken => return Err(Silence::NoAnswer),
                Patience::Usual if is_told || self.link.is_receiving.load(Ordering::SeqCst) => {}
                Patience::Usual => {
                    is_told = true;
                    self.terminal.show("The server does not answer; still waiting for it. Ctrl-C leaves.");
                }
            }
        }
    }

    pub(super) fn show_result(&self, result: &[u8]) -> Result<(), Silence> {
        self.terminal.show(&String::from_utf8_lossy(result));
        Ok(())
    }

    fn show_names(&self, title: &str, pickle: &[u8]) -> Option<BTreeSet<String>> {
        let names = name_set::decode(pickle);
        match &names {
            Ok(names) => self.terminal.list(title, names),
            Err(error) => self.terminal.show(&format!("The server's list cannot be read: {error}.")),
        }
        names.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_action_only_if_it_is_one_exactly() {
        let approve = Some("Who is to be approved");
        let cases = [
            ("/2", Typed::Action(Action::Approve, "", approve)),
            ("/2 bob", Typed::Action(Action::Approve, "bob", approve)),
            ("/approve  bob the builder ", Typed::Action(Action::Approve, "bob the builder", approve)),
            ("/5", Typed::Action(Action::Online, "", None)),
            ("/5 and more", Typed::Message("/5 and more")),
            ("/10", Typed::Message("/10")),
            ("/etc/passwd is a file", Typed::Message("/etc/passwd is a file")),
            (" /5", Typed::Message(" /5")),
            ("hello", Typed::Message("hello")),
            ("", Typed::Message("")),
        ];
        for (line, typed) in cases {
            assert_eq!(Typed::parse(line), typed, "{line:?}");
        }
    }

    #[test]
    fn a_python_server_s_events_are_no_steps() {
        let result = Expected::Result(String::new());
        let upload = Expected::Result("notes: old.txt".into());
        for (expected, text, is_step) in [
            (&result, "bob is now a member", true),
            (&result, "bob: hello", false),
            (&result, "/receiveFile", false),
            (&result, "1400", false),
            (&upload, "notes: old.txt was sent", true),
            (&upload, "bob: notes", false),
            (&Expected::WordOrResult(PROCEED), "/proceed", true),
            (&Expected::WordOrResult(PROCEED), "carol: hi", false),
            (&Expected::WordOrResult(PROCEED), "only the admin", true),
            (&Expected::Set, "bob: hello", false),
        ] {
            assert_eq!(expected.is(text.as_bytes(), ServerKind::Python), is_step, "{expected:?} {text}");
        }
        assert!(result.is(b"Note: this server says it with a colon", ServerKind::Fernchat));
        assert!(Expected::Set.is(b"\x80\x04\x8f.", ServerKind::Python));
    }
}
