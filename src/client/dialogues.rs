//! The dialogues with the server: straight-line code, one at a time.
//!
//! A dialogue asks and awaits: [`Talk::ask`] says what is expected next, sends, and waits until the receiving thread hands over
//! the step. A message is the one exception to question and answer: its text goes out with its command in one write.
//!
//! A Python server may send events between any two steps, so [`Expected`] also says what cannot be the step; a fernchat
//! server never does, and there the next frame is the step.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::link::{ANSWER_DELAY, Link};
use super::step::Expected;
use super::typed::{ACTIONS, Action, Wish};
use super::{Shared, room_key};
use crate::wire::command::{
    ACCEPTED, ACKNOWLEDGEMENT, ADMIN, Command, DENY, Dialect, PROCEED, READY_FOR_DATA,
    SENDING_DATA, TAKEN, WAIT_DISCONNECT,
};
use crate::wire::frame::MAX_TEXT;
use crate::wire::name::UserName;
use crate::wire::name_set;

/// How long the server may take for a step, not counting a body that arrives meanwhile.
const STEP_TIME: Duration = Duration::from_secs(10);

/// How long the server may take for the result of an upload.
const UPLOAD_TIME: Duration = Duration::from_secs(600);

/// How long a goodbye may take when a signal asks for it, each of: the dialogue that is open, the step, the server's close.
pub(super) const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Why a dialogue did not come to its end.
pub enum Silence {
    /// The step that was due did not come in time.
    NoAnswer,
    /// The connection is gone, and the receiving thread says so.
    Gone,
}

/// How long the server may take for a step.
#[derive(Clone, Copy)]
pub enum Patience {
    /// As long as it takes: to give up would be to lose step.
    Usual,
    /// Of a goodbye: [`STEP_TIME`], and as long as a body arrives meanwhile.
    Goodbye,
    /// Of a goodbye that a signal asks for: [`LEAVE_TIME`].
    Little,
}

/// Whether an upload is under way, and whether the person wants it stopped.
#[derive(Default)]
pub struct Stop {
    is_under_way: AtomicBool,
    is_asked_for: AtomicBool,
}

impl Stop {
    /// Stops the upload that is under way; `false`: none is. A Python server gets the whole length in any case.
    pub fn ask(&self) -> bool {
        self.is_asked_for.store(true, Ordering::SeqCst);
        self.is_under_way.load(Ordering::SeqCst)
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.is_asked_for.load(Ordering::SeqCst)
    }

    /// An upload is under way until what is returned is dropped.
    pub(super) fn under_way(&self) -> impl Drop + '_ {
        struct UnderWay<'a>(&'a Stop);
        impl Drop for UnderWay<'_> {
            fn drop(&mut self) {
                self.0.is_under_way.store(false, Ordering::SeqCst);
            }
        }
        self.is_asked_for.store(false, Ordering::SeqCst);
        self.is_under_way.store(true, Ordering::SeqCst);
        UnderWay(self)
    }
}

/// One connection, and the dialogues over it. See the module's page.
pub struct Talk {
    pub(super) link: Arc<Link>,
    pub(super) shared: Arc<Shared>,
    /// Steps, from the receiving thread.
    steps: Receiver<Vec<u8>>,
    /// Of the upload that is under way.
    pub(super) stop: Stop,
}

impl Talk {
    /// The dialogues over this link.
    pub fn new(link: Arc<Link>, steps: Receiver<Vec<u8>>) -> Talk {
        Talk {
            shared: Arc::clone(&link.shared),
            link,
            steps,
            stop: Stop::default(),
        }
    }

    /// Whether the person may chat.
    pub fn is_member(&self) -> bool {
        self.link.is_member.load(Ordering::SeqCst)
    }

    /// Does what the person wants.
    pub fn grant(&self, wish: &Wish) -> Result<(), Silence> {
        let (action, argument) = match wish {
            Wish::Say { number, text } => return self.dialogue(|| self.say(*number, text)),
            Wish::Do(action, argument) => (action, argument.as_str()),
            Wish::Leave => {
                self.leave(Patience::Goodbye);
                return Ok(());
            }
        };
        self.dialogue(|| match action {
            Action::Requests => self.requests(),
            Action::Approve => self.decide_on(Command::ApproveRequest, argument, argument),
            Action::Deny => self.deny(argument),
            Action::Members => self.names(Command::AllMembers, "members"),
            Action::Online => self.names(Command::OnlineMembers, "online"),
            Action::Transfer => self.decide_on(Command::ChangeAdmin, argument, argument),
            Action::Admin => self.who_administers(),
            Action::Kick => self.decide_on(Command::KickMember, argument, argument),
            Action::File => self.share(argument),
            Action::Help | Action::Quit => self.help(),
        })
    }

    // ---- the dialogues ----

    /// A fernchat server confirms that it has passed the line on; by the number it knows one that is sent again. Any other echoes the
    /// command before it has the text, which proves little.
    fn say(&self, number: u64, text: &str) -> Result<(), Silence> {
        let Shared { name, room_key, .. } = &*self.shared;
        let said = text;
        let text = match room_key {
            Some(room_key) => Cow::Owned(room_key::seal(room_key, name, text)),
            None => Cow::Borrowed(text),
        };
        let (text, expected) = match self.link.server {
            Dialect::Fernchat => (Cow::Owned(format!("{number} {text}")), TAKEN),
            Dialect::Python => (text, Command::MessageSend.word()),
        };
        if text.len() > MAX_TEXT {
            self.shared.terminal.show(&format!(
                "Not sent: {} bytes, and a line has at most {MAX_TEXT}.",
                text.len()
            ));
            return Ok(());
        }
        self.expect(Expected::Words(vec![expected]));
        self.link
            .send(&[Command::MessageSend.word(), &text])
            .map_err(|_| Silence::Gone)?;
        self.step(Patience::Usual)?;
        self.shared.terminal.log_own(said);
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
            self.shared.known.set_requests(names);
        }
        Ok(())
    }

    fn names(&self, command: Command, title: &str) -> Result<(), Silence> {
        self.begin(command)?;
        let names = self.ask(ACKNOWLEDGEMENT, Expected::Set)?;
        for name in self.show_names(title, &names).unwrap_or_default() {
            self.shared.known.add_member(&name);
        }
        Ok(())
    }

    fn who_administers(&self) -> Result<(), Silence> {
        self.begin(Command::WhoAdmin)?;
        let result = self.ask(
            self.shared.group.as_str(),
            Expected::Result(format!("{ADMIN}: ")),
        )?;
        let admin = String::from_utf8_lossy(&result)
            .strip_prefix(ADMIN)
            .and_then(|rest| rest.strip_prefix(": "))
            .map(str::to_owned);
        self.shared.known.set_admin(admin);
        self.show_result(&result)
    }

    fn deny(&self, name: &str) -> Result<(), Silence> {
        if self.link.server == Dialect::Python {
            // It would approve a user called `!NAME`.
            self.shared
                .terminal
                .show("This server cannot deny: who is not approved stays outside.");
            return Ok(());
        }
        self.decide_on(Command::ApproveRequest, name, &format!("{DENY}{name}"))
    }

    /// The dialogues in which the admin decides about a name.
    fn decide_on(&self, command: Command, name: &str, answer: &str) -> Result<(), Silence> {
        if name.is_empty() {
            self.shared.terminal.show("Nobody named, nothing done.");
            return Ok(());
        }
        if let (Dialect::Fernchat, Err(error)) = (self.link.server, UserName::parse(name)) {
            self.shared
                .terminal
                .show(&format!("Nobody can be called '{name}': {error}."));
            return Ok(());
        }
        self.begin(command)?;
        let right = self.ask(ACKNOWLEDGEMENT, Expected::WordOrResult(PROCEED))?;
        if right != PROCEED.as_bytes() {
            return self.show_result(&right);
        }
        let result = self.ask(answer, Expected::Result(String::new()))?;
        self.shared.known.remove_request(name);
        if command == Command::ChangeAdmin {
            self.shared.known.set_admin(None);
        }
        self.show_result(&result)
    }

    fn help(&self) -> Result<(), Silence> {
        for (_, words, _, help) in ACTIONS {
            self.shared
                .terminal
                .show(&format!("{:<14} {help}", words.join(" ")));
        }
        Ok(())
    }

    /// Leaves, and ends the connection.
    pub fn leave(&self, patience: Patience) {
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
            let answer = self.ask_with(
                patience,
                WAIT_DISCONNECT,
                Expected::Words(vec![WAIT_DISCONNECT, ACCEPTED]),
            )?;
            if answer != ACCEPTED.as_bytes() {
                return Ok(());
            }
            // Approved at the same moment: a fernchat server takes no notice of the word, so leave as a member.
        }
        let word = Command::Disconnect.word();
        let echo = self.ask_with(patience, word, Expected::Words(vec![word, WAIT_DISCONNECT]))?;
        if echo == word.as_bytes() {
            self.link
                .send(&[ACKNOWLEDGEMENT])
                .map_err(|_| Silence::Gone)?;
        }
        Ok(())
    }

    // ---- what the dialogues have in common ----

    /// Holds a dialogue. Deliveries of a Python server that came meanwhile get their answers afterwards.
    fn dialogue(&self, talk: impl FnOnce() -> Result<(), Silence>) -> Result<(), Silence> {
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
        self.ask(command.word(), Expected::Words(vec![command.word()]))
            .map(drop)
    }

    /// Sends an answer and awaits the step that follows.
    pub(super) fn ask(&self, text: &str, expected: Expected) -> Result<Vec<u8>, Silence> {
        self.ask_with(Patience::Usual, text, expected)
    }

    fn ask_with(
        &self,
        patience: Patience,
        text: &str,
        expected: Expected,
    ) -> Result<Vec<u8>, Silence> {
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
        self.steps
            .recv_timeout(UPLOAD_TIME)
            .map_err(|error| match error {
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
                Patience::Usual | Patience::Goodbye => STEP_TIME,
                Patience::Little => LEAVE_TIME,
            };
            match self.steps.recv_timeout(time) {
                Ok(step) => return Ok(step),
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::Gone),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let may_be_mistaken = self.link.server == Dialect::Python
                && matches!(
                    self.link.dialogue.lock().expected,
                    Some(Expected::Result(_) | Expected::WordOrResult(_))
                );
            let is_receiving = self.link.is_receiving.load(Ordering::SeqCst);
            match patience {
                Patience::Little => return Err(Silence::NoAnswer),
                Patience::Goodbye if !is_receiving => return Err(Silence::NoAnswer),
                Patience::Usual if may_be_mistaken => return Err(Silence::NoAnswer),
                _ if is_told || is_receiving => {}
                _ => {
                    is_told = true;
                    self.shared
                        .terminal
                        .show("The server does not answer; still waiting for it. Ctrl-C leaves.");
                }
            }
        }
    }

    pub(super) fn show_result(&self, result: &[u8]) -> Result<(), Silence> {
        self.shared.terminal.show(&String::from_utf8_lossy(result));
        Ok(())
    }

    fn show_names(&self, title: &str, pickle: &[u8]) -> Option<BTreeSet<String>> {
        match name_set::decode(pickle) {
            Ok(names) => {
                self.list(title, &names);
                Some(names)
            }
            Err(error) => {
                let notice = format!("The server's list cannot be read: {error}.");
                self.shared.terminal.show(&notice);
                None
            }
        }
    }

    /// Shows a list of names. A person also reads how many there are, and who the admin is.
    fn list(&self, title: &str, names: &BTreeSet<String>) {
        let terminal = &self.shared.terminal;
        if names.is_empty() {
            return terminal.show(&format!("{title}: nobody"));
        }
        if !terminal.is_interactive() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return terminal.show(&format!("{title}: {}", names.join(", ")));
        }
        let admin = self.shared.known.admin();
        let mark = |name: &String| match &admin {
            Some(admin) if admin == name => format!("{name} (admin)"),
            _ => name.clone(),
        };
        let marked: Vec<String> = names.iter().map(mark).collect();
        terminal.show(&format!("{title} ({}): {}", names.len(), marked.join(", ")));
    }
}
