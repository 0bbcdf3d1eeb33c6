//! The line that is being typed, while others talk.
//!
//! ```text
//!   keyboard ─▶ editing thread ─▶ channel of typed lines
//!                 ▲ the editor's printer
//!               showing thread ◀─ queue of lines to be shown
//! ```
//!
//! The editing thread is always in the editor, because only there can a line be shown above the one that is being typed. The showing
//! thread gives the printer one line, and waits until it is shown: the editor has drawn the prompt again. While there is no prompt, no
//! line is shown. Typed lines go into a channel, so the editing thread waits for nobody. It is ahead of the dialogues, so it finds out by
//! itself which question follows a command.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
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
use super::{completion, print};
use crate::machine;
use crate::screen::{Conversation, Need, split_word};

/// How many lines wait to be shown, for example while the person searches the history. If there are more, the receiving thread waits. The
/// server then sees a client that is slow.
const MAX_LINES: usize = 1000;

/// How many typed lines can be called up again.
const HISTORY_LEN: usize = 1000;

/// How many characters of the conversation's name the prompt shows: the line needs space, too.
const MAX_NAME: usize = 16;

/// What stands behind the prompt after the first Ctrl-C.
const LEAVES: &str = "(Ctrl-C again leaves)";

/// How long the end waits for the last lines to be shown, and then for the editor. While the user searches the history, the editor does
/// not end, so the whole time passes.
const END_TIME: Duration = Duration::from_millis(200);

/// How many characters a row holds where the system does not say.
const USUAL_COLUMNS: usize = 79;

/// The line editor.
pub(crate) struct Editor {
    screen: Arc<Screen>,
    typed: Receiver<String>,
    restore_mode: Box<dyn Fn() + Send + Sync>,
}

/// What both threads know.
struct Screen {
    conversation: Conversation,
    state: Mutex<ScreenState>,
    changed: Condvar,
}

#[derive(Default)]
struct ScreenState {
    /// The lines to be shown. The first of them may be on its way.
    queue: VecDeque<QueuedLine>,
    /// The last line that was shown is one of progress. The next line takes its place.
    is_progress: bool,
    /// The prompt stands there, so a line can be shown above it.
    has_prompt: bool,
    /// The first line is on its way, and the prompt has not been drawn since.
    is_showing: bool,
    /// What the person is being asked for.
    need: Need,
    /// What stands behind the prompt: what Ctrl-C did.
    notice: &'static str,
    /// The editor is to end.
    is_ending: bool,
    /// The editor has ended: lines are printed.
    is_over: bool,
}

struct QueuedLine {
    text: String,
    is_progress: bool,
}

impl Editor {
    /// Starts editing. `None`: the terminal is too plain for it.
    pub(crate) fn start(
        conversation: Conversation,
        history: Option<PathBuf>,
        color: bool,
    ) -> Option<Editor> {
        let restore_mode = Box::new(machine::keep_terminal_mode());
        let color_mode = if color {
            ColorMode::Forced
        } else {
            ColorMode::Disabled
        };
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .bell_style(BellStyle::None)
            .color_mode(color_mode)
            .max_history_size(HISTORY_LEN)
            .ok()?;
        let mut editor = rustyline::Editor::with_config(config.build()).ok()?;
        let printer = editor.create_external_printer().ok()?;
        if let Some(path) = &history {
            // At the first time there is none.
            let _ = editor.load_history(path);
        }
        let screen = Arc::new(Screen {
            conversation,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        editor.set_helper(Some(OnScreen(Arc::clone(&screen))));
        // Without a limit: it holds what a person typed. To wait here would be to show nothing.
        let (sender, typed) = unbounded();
        let editing = Editing {
            editor,
            history,
            typed: sender,
            screen: Arc::clone(&screen),
        };
        let showing = Arc::clone(&screen);
        machine::spawn("showing", move || showing.showing_loop(printer)).ok()?;
        machine::spawn("editing", move || editing.editing_loop()).ok()?;
        Some(Editor {
            screen,
            typed,
            restore_mode,
        })
    }

    /// Shows a line above the one that is being typed.
    pub(crate) fn show(&self, text: String) {
        let mut state = self.screen.state.lock();
        let is_full = |state: &mut ScreenState| state.queue.len() == MAX_LINES && !state.is_over;
        self.screen.changed.wait_while(&mut state, is_full);
        if state.is_over {
            return print(&text);
        }
        let is_progress = false;
        state.queue.push_back(QueuedLine { text, is_progress });
        self.screen.changed.notify_all();
    }

    /// Shows the progress of a file, if nothing else is to be shown. `line` makes a line that fits into the given columns.
    pub(crate) fn show_progress(&self, line: impl Fn(usize) -> String) {
        let mut state = self.screen.state.lock();
        if state.queue.is_empty() && !state.is_over {
            let (text, is_progress) = (line(machine::columns().unwrap_or(USUAL_COLUMNS)), true);
            state.queue.push_back(QueuedLine { text, is_progress });
            self.screen.changed.notify_all();
        }
    }

    /// The lines that are typed.
    pub(crate) fn lines(&self) -> Receiver<String> {
        self.typed.clone()
    }

    /// Ends the editing. The lines in the queue are shown, and the terminal is as it was.
    pub(crate) fn end(&self) {
        let Screen { state, changed, .. } = &*self.screen;
        let mut state = state.lock();
        let is_busy = |state: &mut ScreenState| {
            !(state.is_over || state.has_prompt && state.queue.is_empty())
        };
        changed.wait_while_for(&mut state, is_busy, END_TIME);
        if state.is_over {
            return;
        }
        state.is_ending = true;
        machine::interrupt();
        changed.wait_while_for(&mut state, |state| !state.is_over, END_TIME);
        if !state.is_over {
            // While the person searches the history, the editor notices only keys. So end here what it has begun, also the marking of
            // pasted text.
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
                !state.is_over && (!state.has_prompt || state.queue.is_empty())
            });
            let (mut text, is_progress) = match state.queue.front() {
                Some(line) if !state.is_over => (format!("{}\n", line.text), line.is_progress),
                _ => return,
            };
            if state.is_progress {
                // To the line above, and over it.
                text.insert_str(0, "\x1b[A\r\x1b[K");
            }
            state.is_progress = is_progress;
            state.is_showing = true;
            drop(state);
            if printer.print(text).is_err() {
                return;
            }
            let mut state = self.state.lock();
            let is_under_way = |state: &mut ScreenState| state.is_showing && !state.is_over;
            self.changed.wait_while(&mut state, is_under_way);
            state.queue.pop_front();
            self.changed.notify_all();
        }
    }

    /// From here on lines are printed.
    fn close(&self, state: &mut ScreenState) {
        state.is_over = true;
        state.queue.drain(..).for_each(|line| print(&line.text));
        self.changed.notify_all();
    }
}

/// The editing thread.
struct Editing {
    editor: rustyline::Editor<OnScreen, FileHistory>,
    history: Option<PathBuf>,
    typed: Sender<String>,
    screen: Arc<Screen>,
}

impl Editing {
    /// Edits lines until the person leaves. The body of the editing thread.
    fn editing_loop(mut self) {
        let screen = Arc::clone(&self.screen);
        let Conversation { stop, leave, .. } = &screen.conversation;
        let (mut need, mut notice) = (Need::Nothing, "");
        loop {
            let mut state = screen.state.lock();
            (state.need, state.notice, state.is_progress) = (need, notice, false);
            drop(state);
            let result = self.editor.readline(&self.prompt(need));
            if screen.state.lock().is_ending {
                break;
            }
            match result {
                Ok(text) => {
                    notice = "";
                    self.remember(&text);
                    // What was pasted may be many lines.
                    for line in text.trim_end_matches('\n').split('\n') {
                        need = screen.need_after(need, line);
                        // Fails only at the end.
                        let _ = self.typed.send(line.to_owned());
                    }
                }
                Err(ReadlineError::Interrupted) if need != Need::Nothing => {
                    need = Need::Nothing;
                    // An empty answer: nothing is done. It fails only at the end.
                    let _ = self.typed.send(String::new());
                }
                Err(ReadlineError::Interrupted) if stop() => notice = "(stopped)",
                Err(ReadlineError::Interrupted) if notice != LEAVES => notice = LEAVES,
                // The second Ctrl-C, or Ctrl-D, or the terminal is gone. The channel of typed lines ends.
                _ => break,
            }
        }
        drop(self.editor);
        screen.close(&mut screen.state.lock());
        if notice == LEAVES {
            leave();
        }
    }

    fn prompt(&self, need: Need) -> Prompt {
        let text = match need.question() {
            Some(question) => format!("{question}: "),
            None => {
                let name = harmless(&self.screen.conversation.name);
                name.chars().take(MAX_NAME).chain("> ".chars()).collect()
            }
        };
        let screen = Arc::clone(&self.screen);
        Prompt { text, screen }
    }

    /// Keeps a typed text for the arrow keys and for the next start.
    fn remember(&mut self, text: &str) {
        let is_new =
            !text.trim().is_empty() && matches!(self.editor.add_history_entry(text), Ok(true));
        let Some(path) = self.history.as_ref().filter(|_| is_new) else {
            return;
        };
        if let Err(error) = self.editor.append_history(path) {
            let path = path.display();
            print(&format!("Cannot keep the history in {path}: {error}."));
            self.history = None;
        }
    }
}

impl Screen {
    /// What the person will be asked for after this line, which was the answer to `need`. While the person waits for approval, commands
    /// have no effect.
    fn need_after(&self, need: Need, line: &str) -> Need {
        let Conversation {
            names, commands, ..
        } = &self.conversation;
        if need != Need::Nothing || names.lock().is_waiting {
            return Need::Nothing;
        }
        match split_word(line) {
            (word, "") => Need::of(word, commands),
            _ => Need::Nothing,
        }
    }
}

/// A prompt that notices when it is drawn.
struct Prompt {
    text: String,
    screen: Arc<Screen>,
}

impl rustyline::Prompt for Prompt {
    fn raw(&self) -> &str {
        let mut state = self.screen.state.lock();
        (state.has_prompt, state.is_showing) = (true, false);
        self.screen.changed.notify_all();
        &self.text
    }
}

/// Answers what the editor asks while a line is being typed. It is also what stands behind the prompt while nothing is typed.
#[derive(Clone)]
struct OnScreen(Arc<Screen>);

impl Helper for OnScreen {}

impl Completer for OnScreen {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &rustyline::Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let Conversation {
            commands, names, ..
        } = &self.0.conversation;
        let need = self.0.state.lock().need;
        let names = &names.lock();
        Ok(completion::candidates(&line[..at], need, commands, names))
    }
}

impl Validator for OnScreen {
    /// The line is done: nothing is shown until the next prompt.
    fn validate(&self, _: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        self.0.state.lock().has_prompt = false;
        Ok(ValidationResult::Valid(None))
    }
}

impl Hinter for OnScreen {
    type Hint = OnScreen;

    fn hint(&self, line: &str, _: usize, _: &rustyline::Context<'_>) -> Option<OnScreen> {
        line.is_empty().then(|| self.clone())
    }
}

impl Hint for OnScreen {
    fn display(&self) -> &str {
        let is_waiting = self.0.conversation.names.lock().is_waiting;
        match self.0.state.lock().notice {
            "" if is_waiting => "(waiting; /1 leaves)",
            notice => notice,
        }
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Highlighter for OnScreen {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        format!("\x1b[2m{hint}\x1b[0m").into()
    }
}
