//! What is typed: lines become wishes, which are granted one after the other.
//!
//! ```text
//!   a line ─▶ wish ─▶ [ queue ] ─▶ a dialogue over the connection that there is
//! ```
//!
//! The next line of the input is read only when the wish of the last one is granted, so piped input never overtakes an answer. While
//! there is no connection, wishes stay in the queue, and so does one whose dialogue broke off: a fernchat server knows a line by its
//! number, so it is not said twice. When the connection is back, a thread that lives just for this works the queue off, since the
//! sending one waits for what is typed next.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use log::debug;
use parking_lot::Mutex;

use super::dialogues::{Patience, Silence, Talk, LEAVE_TIME};
use crate::terminal::{Need, Terminal};

/// What a person can type beside messages.
#[allow(missing_docs)] // their words and their help stand below
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
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
pub(super) const ACTIONS: [(Action, &[&str], Need, &str); 11] = [
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

/// What the person wants, in full.
#[derive(Clone)]
pub enum Wish {
    /// Say this to the group; the number tells it from all other lines of this run.
    Say {
        /// From 1.
        number: u64,
        /// The line.
        text: String,
    },
    /// Do this, with the name or the path that it takes.
    Do(Action, String),
    /// Leave.
    Leave,
}

/// The half that sends. See the module's page.
pub struct Sending {
    terminal: Arc<Terminal>,
    state: Mutex<State>,
    /// Held while wishes are granted: there is one dialogue at a time.
    busy: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The connection, if there is one.
    talk: Option<Arc<Talk>>,
    /// What is to be done. The first may be under way.
    wishes: VecDeque<Wish>,
    /// How many lines were said.
    n_lines: u64,
    /// The end of the connection is no failure any more.
    is_leaving: bool,
    /// There is no connection, and there will be another.
    is_rejoining: bool,
}

impl Sending {
    /// The half that sends, without a connection.
    pub fn new(terminal: Arc<Terminal>) -> Sending {
        Sending { terminal, state: Mutex::default(), busy: Mutex::new(()) }
    }

    /// There is a connection; see [`Sending::may_go_on`].
    pub fn connected(&self, talk: Talk) {
        let mut state = self.state.lock();
        (state.talk, state.is_rejoining) = (Some(Arc::new(talk)), false);
    }

    /// What was typed may be possible now. It is done in a thread of its own: the caller is the one that receives the answers.
    pub fn may_go_on(self: &Arc<Sending>) {
        if self.state.lock().wishes.is_empty() {
            return;
        }
        let sending = Arc::clone(self);
        let worker = thread::Builder::new().name("working off".into()).spawn(move || sending.work_off());
        if let Err(error) = worker {
            // What waits is done with the next line that is typed.
            debug!("no thread: {error}");
        }
    }

    /// The connection is gone.
    pub fn disconnected(&self) {
        self.state.lock().talk = None;
    }

    /// Another connection is being made, unless the person leaves; or none is made any more.
    pub fn set_rejoining(&self, is_rejoining: bool) -> bool {
        let mut state = self.state.lock();
        state.is_rejoining = is_rejoining && !state.is_leaving;
        state.is_rejoining
    }

    /// Whether the person is leaving.
    pub fn is_leaving(&self) -> bool {
        self.state.lock().is_leaving
    }

    /// Stops the upload that is under way; `false`: none is.
    pub fn stop(&self) -> bool {
        let talk = self.state.lock().talk.clone();
        talk.is_some_and(|talk| talk.stop.ask())
    }

    /// Reads lines and does what they say, until the input ends or the person leaves. The body of the sending thread.
    pub fn sending_loop(&self) {
        while let Some(line) = self.terminal.read_line() {
            if self.do_line(&line).is_break() {
                break;
            }
        }
        self.wants(Wish::Leave);
    }

    /// Leaves as politely as a short time allows. Called by the handler of Ctrl-C and SIGTERM.
    pub fn leave_at_signal(&self) {
        let Some(talk) = self.note_leaving() else { return };
        match self.busy.try_lock_for(LEAVE_TIME) {
            Some(_busy) => talk.leave(Patience::Little),
            None => talk.link.shut(),
        }
        // Whoever waits for room on the screen, which a person may hold up, waits no longer.
        self.terminal.end();
    }

    /// From now on the end of the connection is no failure. While there is none, the program ends here: nobody is to be told goodbye, and
    /// the other thread may be in the middle of joining again.
    fn note_leaving(&self) -> Option<Arc<Talk>> {
        let mut state = self.state.lock();
        state.is_leaving = true;
        if state.is_rejoining {
            drop(state);
            self.terminal.end();
            std::process::exit(0);
        }
        state.talk.clone()
    }

    fn do_line(&self, line: &str) -> ControlFlow<()> {
        let typed = Typed::parse(line);
        if self.terminal.people().is_waiting {
            return match typed {
                Typed::Action(Action::Quit, ..) => ControlFlow::Break(()),
                _ if line == "/1" => ControlFlow::Break(()),
                _ => {
                    self.terminal.show("You wait for the admin to approve you; nothing is sent until then. /1 leaves.");
                    ControlFlow::Continue(())
                }
            };
        }
        let wish = match typed {
            Typed::Action(Action::Quit, ..) => return ControlFlow::Break(()),
            Typed::Action(action, "", Some(question)) => match self.ask_for(action, question) {
                None => return ControlFlow::Break(()),
                Some(answer) => Wish::Do(action, answer.trim().to_owned()),
            },
            Typed::Action(action, argument, _) => Wish::Do(action, argument.to_owned()),
            Typed::Message("") => return ControlFlow::Continue(()),
            Typed::Message(text) => {
                let mut state = self.state.lock();
                state.n_lines += 1;
                Wish::Say { number: state.n_lines, text: text.to_owned() }
            }
        };
        self.wants(wish);
        ControlFlow::Continue(())
    }

    /// What an action needs to know. To a person who is to name one of those who asked to join, they are shown.
    fn ask_for(&self, action: Action, question: &str) -> Option<String> {
        if self.terminal.is_interactive() && matches!(action, Action::Approve | Action::Deny) {
            self.wants(Wish::Do(Action::Requests, String::new()));
        }
        self.terminal.ask(question)
    }

    fn wants(&self, wish: Wish) {
        let is_leave = matches!(wish, Wish::Leave);
        let mut state = self.state.lock();
        let n_before = state.wishes.len();
        state.wishes.push_back(wish);
        let is_offline = state.talk.is_none();
        drop(state);
        match (is_offline, is_leave) {
            (false, _) => self.work_off(),
            // A person wants to be gone now; a script wants to have said everything.
            (true, true) if n_before == 0 || self.terminal.is_interactive() => {
                if n_before > 0 {
                    self.terminal.show(&format!("Not sent, since there is no connection: the last {n_before} that you typed."));
                }
                self.note_leaving();
            }
            (true, false) if n_before == 0 => {
                self.terminal.show("There is no connection: it is done as soon as there is one again.")
            }
            (true, _) => {}
        }
    }

    /// Grants the wishes, as long as there is a connection.
    fn work_off(&self) {
        let _busy = self.busy.lock();
        while let Some((talk, wish)) = self.next_wish() {
            if matches!(wish, Wish::Leave) {
                self.note_leaving();
            }
            match talk.grant(&wish) {
                Ok(()) => {}
                Err(Silence::NoAnswer) => self.terminal.show("No answer came; what you typed may have had no effect."),
                Err(Silence::Gone) if matches!(wish, Wish::Do(Action::File, _)) => {
                    self.terminal.show("The connection broke while the file was sent: share it again when it is back.");
                }
                // It is still the first when the connection is back.
                Err(Silence::Gone) => return,
            }
            self.state.lock().wishes.pop_front();
        }
    }

    /// The first wish, if it can be granted now: whoever waits for approval can do nothing but leave.
    fn next_wish(&self) -> Option<(Arc<Talk>, Wish)> {
        let mut state = self.state.lock();
        let talk = state.talk.clone()?;
        if let (false, Some(at)) = (talk.is_member(), state.wishes.iter().position(|wish| matches!(wish, Wish::Leave))) {
            if at > 0 {
                self.terminal.show(&format!("Not sent, since you wait for approval: the last {at} that you typed."));
                state.wishes.drain(..at);
            }
        }
        let wish = state.wishes.front()?;
        (talk.is_member() || matches!(wish, Wish::Leave)).then(|| (talk, wish.clone()))
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
}
