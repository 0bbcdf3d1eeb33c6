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

use super::Shared;
use super::dialogues::{LEAVE_TIME, Patience, Silence, Talk};
use super::typed::{Action, Typed, Wish};

/// The half that sends. See the module's page.
pub struct Sending {
    shared: Arc<Shared>,
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
    pub fn new(shared: Arc<Shared>) -> Sending {
        Sending {
            shared,
            state: Mutex::default(),
            busy: Mutex::new(()),
        }
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
        let worker = thread::Builder::new()
            .name("working off".into())
            .spawn(move || sending.work_off());
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
        while let Some(line) = self.shared.terminal.read_line() {
            if self.do_line(&line).is_break() {
                break;
            }
        }
        self.wants(Wish::Leave);
    }

    /// Leaves as politely as a short time allows. Called by the handler of Ctrl-C and SIGTERM.
    pub fn leave_at_signal(&self) {
        let Some(talk) = self.note_leaving() else {
            return;
        };
        match self.busy.try_lock_for(LEAVE_TIME) {
            Some(_busy) => talk.leave(Patience::Little),
            None => talk.link.shut(),
        }
        // Whoever waits for room on the screen, which a person may hold up, waits no longer.
        self.shared.terminal.end();
    }

    /// From now on the end of the connection is no failure. While there is none, the program ends here: nobody is to be told goodbye, and
    /// the other thread may be in the middle of joining again.
    fn note_leaving(&self) -> Option<Arc<Talk>> {
        let mut state = self.state.lock();
        state.is_leaving = true;
        if state.is_rejoining {
            drop(state);
            self.shared.terminal.end();
            std::process::exit(0);
        }
        state.talk.clone()
    }

    fn do_line(&self, line: &str) -> ControlFlow<()> {
        let typed = Typed::parse(line);
        if self.shared.known.is_waiting() {
            return match typed {
                Typed::Action(Action::Quit, ..) => ControlFlow::Break(()),
                _ if line == "/1" => ControlFlow::Break(()),
                _ => {
                    self.shared.terminal.show("You wait for the admin to approve you; nothing is sent until then. /1 leaves.");
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
                Wish::Say {
                    number: state.n_lines,
                    text: text.to_owned(),
                }
            }
        };
        self.wants(wish);
        ControlFlow::Continue(())
    }

    /// What an action needs to know. To a person who is to name one of those who asked to join, they are shown.
    fn ask_for(&self, action: Action, question: &str) -> Option<String> {
        if self.shared.terminal.is_interactive() && matches!(action, Action::Approve | Action::Deny)
        {
            self.wants(Wish::Do(Action::Requests, String::new()));
        }
        self.shared.terminal.ask(question)
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
            (true, true) if n_before == 0 || self.shared.terminal.is_interactive() => {
                if n_before > 0 {
                    self.shared.terminal.show(&format!("Not sent, since there is no connection: the last {n_before} that you typed."));
                }
                self.note_leaving();
            }
            (true, false) if n_before == 0 => self
                .shared
                .terminal
                .show("There is no connection: it is done as soon as there is one again."),
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
                Err(Silence::NoAnswer) => self
                    .shared
                    .terminal
                    .show("No answer came; what you typed may have had no effect."),
                Err(Silence::Gone) if matches!(wish, Wish::Do(Action::File, _)) => {
                    self.shared.terminal.show("The connection broke while the file was sent: share it again when it is back.");
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
        if let (false, Some(at)) = (
            talk.is_member(),
            state
                .wishes
                .iter()
                .position(|wish| matches!(wish, Wish::Leave)),
        ) {
            if at > 0 {
                self.shared.terminal.show(&format!(
                    "Not sent, since you wait for approval: the last {at} that you typed."
                ));
                state.wishes.drain(..at);
            }
        }
        let wish = state.wishes.front()?;
        (talk.is_member() || matches!(wish, Wish::Leave)).then(|| (talk, wish.clone()))
    }
}
