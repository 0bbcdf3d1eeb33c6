//! The line that is being typed, while others talk.
//!
//! ```text
//!   keyboard ─▶ editing: one line after the other ─▶ channel ─▶ whoever reads lines
//!                 ▲ the printer's pipe
//!               showing: one line after the other ◀─ queue ◀─ whoever shows lines
//! ```
//!
//! Two threads, so that nobody waits for the person: the editing one is in the editor all the time, also while a line is being dealt
//! with, because only there can a line be shown above the one that is being typed. A line goes to the editor's printer when the one
//! before it has been seen to be shown: the prompt was drawn again. Between two lines that are typed none is shown.
//! As the editing thread is ahead of the dialogues, it knows by itself which question follows a command.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};
use rustyline::completion::Completer;
use rustyline::config::{BellStyle, ColorMode, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ExternalPrinter, Helper};

use super::style::harmless;
use super::{Conversation, Names, Need, completion, print};
use crate::machine;

/// How many lines wait to be shown while the person searches the history, say. Past it whoever shows a line waits, and then the server
/// does for this client, as for any that is slow.
const MAX_LINES: usize = 1000;

/// How many typed lines can be called up again.
const HISTORY_LEN: usize = 1000;

/// The longest name of a room in the prompt, in characters: the line needs room, too.
const MAX_NAME: usize = 16;

/// What stands behind the prompt after the first Ctrl-C.
const LEAVES: &str = "(Ctrl-C again leaves)";

/// How long the last lines may take to be shown at the end, while the person searches the history, say.
const END_TIME: Duration = Duration::from_millis(200);

/// The line editor.
pub struct Editor {
    screen: Arc<Screen>,
    typed: Receiver<String>,
    restore_mode: Box<dyn Fn() + Send + Sync>,
}

/// What both threads know of the screen.
#[derive(Default)]
struct Screen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What is to be shown; the first of it may be on its way.
    lines: VecDeque<Line>,
    /// The last line says how far a file has come, and another one that does takes its place.
    is_progress: bool,
    /// The prompt stands there: a line can be shown above it.
    is_open: bool,
    /// The first line is on its way, and the prompt has not been drawn since.
    is_showing: bool,
    /// What stands behind the prompt: what Ctrl-C did.
    notice: &'static str,
    /// The editor is to end.
    is_ending: bool,
    /// The editor is no more: lines are printed.
    is_over: bool,
}

/// A line that is to be shown.
struct Line {
    text: String,
    is_progress: bool,
}

impl Editor {
    /// Starts editing; `None` on a terminal that is too plain for it.
    pub fn start(room: Conversation, history: Option<PathBuf>, color: bool) -> Option<Editor> {
        let screen = Arc::new(Screen::default());
        let restore_mode = Box::new(machine::keep_terminal_mode());
        let config = Config::builder().max_history_size(HISTORY_LEN).ok()?;
        let config = config
            .completion_type(CompletionType::List)
            .bell_style(BellStyle::None);
        let color_mode = if color {
            ColorMode::Forced
        } else {
            ColorMode::Disabled
        };
        let config = config.color_mode(color_mode).build();
        let mut lines = rustyline::Editor::<Helping, FileHistory>::with_config(config).ok()?;
        let printer = lines.create_external_printer().ok()?;
        if let Some(path) = &history {
            // At the first time there is none.
            let _ = lines.load_history(path);
        }
        let notice = Notice {
            screen: Arc::clone(&screen),
            names: Arc::clone(&room.names),
        };
        lines.set_helper(Some(Helping {
            notice,
            commands: room.commands.clone(),
            need: Need::Nothing,
        }));

        // Without a bound: it holds what a person typed. To wait here would be to show nothing.
        let (sender, typed) = unbounded();
        let editing = Editing {
            lines,
            room,
            history,
            typed: sender,
            screen: Arc::clone(&screen),
        };
        let showing = Arc::clone(&screen);
        // Neither is joined: a read of the keyboard cannot be woken.
        thread::Builder::new()
            .name("showing".into())
            .spawn(move || showing.showing_loop(printer))
            .ok()?;
        thread::Builder::new()
            .name("editing".into())
            .spawn(move || editing.editing_loop())
            .ok()?;
        Some(Editor {
            screen,
            typed,
            restore_mode,
        })
    }

    /// Shows a line above the one that is being typed.
    pub fn show(&self, line: String) {
        let mut state = self.screen.state.lock();
        self.screen.changed.wait_while(&mut state, |state| {
            state.lines.len() == MAX_LINES && !state.is_over
        });
        if state.is_over {
            return print(&line);
        }
        state.lines.push_back(Line {
            text: line,
            is_progress: false,
        });
        self.screen.changed.notify_all();
    }

    /// Shows how far a file has come, if nothing else is to be shown. Must fit into the columns that are given.
    pub fn show_progress(&self, line: impl Fn(usize) -> String) {
        let mut state = self.screen.state.lock();
        if state.lines.is_empty() && !state.is_over {
            state.lines.push_back(Line {
                text: line(machine::columns()),
                is_progress: true,
            });
            self.screen.changed.notify_all();
        }
    }

    /// The lines that are typed.
    pub fn lines(&self) -> Receiver<String> {
        self.typed.clone()
    }

    /// Ends the editing: what is to be shown is shown, and the terminal is as it was.
    pub fn end(&self) {
        let mut state = self.screen.state.lock();
        let is_busy =
            |state: &mut State| !(state.is_over || state.is_open && state.lines.is_empty());
        self.screen
            .changed
            .wait_while_for(&mut state, is_busy, END_TIME);
        if state.is_over {
            return;
        }
        state.is_ending = true;
        machine::interrupt();
        self.screen
            .changed
            .wait_while_for(&mut state, |state| !state.is_over, END_TIME);
        if !state.is_over {
            // The person searches the history, say, and the editor hears nothing but keys: without it, pasting is as it was, too.
            (self.restore_mode)();
            print("\x1b[?2004l");
            self.screen.close(&mut state);
        }
    }
}

impl Screen {
    /// Gives lines to the printer, one at a time. The body of the showing thread.
    fn showing_loop(&self, mut printer: impl ExternalPrinter) {
        loop {
            let mut state = self.state.lock();
            self.changed.wait_while(&mut state, |state| {
                !state.is_over && (!state.is_open || state.lines.is_empty())
            });
            let (text, is_progress) = match state.lines.front() {
                Some(line) if !state.is_over => (format!("{}\n", line.text), line.is_progress),
                _ => return,
            };
            let takes_place = state.is_progress && is_progress;
            state.is_progress = is_progress;
            state.is_showing = true;
            drop(state);
            let up = if takes_place { "\x1b[A\r\x1b[K" } else { "" };
            if printer.print(format!("{up}{text}")).is_err() {
                return;
            }
            let mut state = self.state.lock();
            self.changed
                .wait_while(&mut state, |state| state.is_showing && !state.is_over);
            state.lines.pop_front();
            self.changed.notify_all();
        }
    }

    /// The prompt was drawn.
    fn is_drawn(&self) {
        let mut state = self.state.lock();
        (state.is_open, state.is_showing) = (true, false);
        self.changed.notify_all();
    }

    /// From here on lines are printed.
    fn close(&self, state: &mut State) {
        state.is_over = true;
        state.lines.drain(..).for_each(|line| print(&line.text));
        self.changed.notify_all();
    }
}

/// The thread that is in the editor.
struct Editing {
    lines: rustyline::Editor<Helping, FileHistory>,
    room: Conversation,
    history: Option<PathBuf>,
    typed: Sender<String>,
    screen: Arc<Screen>,
}

impl Editing {
    /// Edits lines until the person leaves. The body of the editing thread.
    fn editing_loop(mut self) {
        let mut need = Need::Nothing;
        let mut notice = "";
        loop {
            let mut state = self.screen.state.lock();
            (state.notice, state.is_progress) = (notice, false);
            drop(state);
            if let Some(helping) = self.lines.helper_mut() {
                helping.need = need;
            }
            let result = self.lines.readline(&self.prompt(need));
            if self.screen.state.lock().is_ending {
                break;
            }
            match result {
                Ok(text) => {
                    notice = "";
                    self.remember(&text);
                    // What was pasted may be many lines.
                    for line in text.trim_end_matches('\n').split('\n') {
                        need = self.need_after(need, line);
                        // Fails only at the end.
                        let _ = self.typed.send(line.to_owned());
                    }
                }
                Err(ReadlineError::Interrupted) if need != Need::Nothing => {
                    need = Need::Nothing;
                    // As above. No answer, and nothing is done.
                    let _ = self.typed.send(String::new());
                }
                Err(ReadlineError::Interrupted) if (self.room.stop)() => notice = "(stopped)",
                Err(ReadlineError::Interrupted) if notice != LEAVES => notice = LEAVES,
                // Ctrl-D, or the terminal is gone: whoever reads lines leaves.
                _ => break,
            }
        }
        drop(self.lines);
        self.screen.close(&mut self.screen.state.lock());
        if notice == LEAVES {
            (self.room.leave)();
        }
    }

    fn prompt(&self, need: Need) -> Prompt {
        let name: String = match need.question() {
            Some(question) => format!("{question}: "),
            None => harmless(&self.room.name)
                .chars()
                .take(MAX_NAME)
                .chain("> ".chars())
                .collect(),
        };
        Prompt {
            text: name,
            screen: Arc::clone(&self.screen),
        }
    }

    /// What will be asked for after this line, of which `need` was asked for.
    fn need_after(&self, need: Need, line: &str) -> Need {
        if need != Need::Nothing || self.room.names.lock().is_waiting {
            return Need::Nothing;
        }
        self.room
            .commands
            .iter()
            .find(|(word, _)| *word == line.trim_end())
            .map_or(Need::Nothing, |(_, need)| *need)
    }

    fn remember(&mut self, text: &str) {
        let is_new = !text.trim().is_empty()
            && self
                .lines
                .add_history_entry(text)
                .is_ok_and(|is_new| is_new);
        if let (true, Some(path)) = (is_new, &self.history) {
            if let Err(error) = self.lines.append_history(path) {
                print(&format!(
                    "Cannot keep the history in {}: {error}.",
                    path.display()
                ));
                self.history = None;
            }
        }
    }
}

/// A prompt that tells when it is drawn.
struct Prompt {
    text: String,
    screen: Arc<Screen>,
}

impl rustyline::Prompt for Prompt {
    fn raw(&self) -> &str {
        self.screen.is_drawn();
        &self.text
    }
}

/// What the editor asks while a line is being typed.
struct Helping {
    notice: Notice,
    commands: Vec<(&'static str, Need)>,
    /// What is being asked for.
    need: Need,
}

impl Helper for Helping {}

impl Completer for Helping {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(completion::candidates(
            &line[..at],
            self.need,
            &self.commands,
            &self.notice.names.lock(),
        ))
    }
}

impl Validator for Helping {
    /// The line is done: nothing is shown until the next prompt.
    fn validate(&self, _: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        self.notice.screen.state.lock().is_open = false;
        Ok(ValidationResult::Valid(None))
    }
}

impl Hinter for Helping {
    type Hint = Notice;

    fn hint(&self, line: &str, _: usize, _: &rustyline::Context<'_>) -> Option<Notice> {
        line.is_empty().then(|| self.notice.clone())
    }
}

impl Highlighter for Helping {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        format!("\x1b[2m{hint}\x1b[0m").into()
    }
}

/// What stands behind the prompt while nothing is typed. Looked at whenever the line is drawn.
#[derive(Clone)]
struct Notice {
    screen: Arc<Screen>,
    names: Arc<Mutex<Names>>,
}

impl Hint for Notice {
    fn display(&self) -> &str {
        match (
            self.screen.state.lock().notice,
            self.names.lock().is_waiting,
        ) {
            ("", true) => "(waiting; /1 leaves)",
            (notice, _) => notice,
        }
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}
