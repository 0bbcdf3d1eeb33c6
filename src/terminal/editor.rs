//! The line that is being typed, while others talk.
//!
//! ```text
//!   keyboard ─▶ editing thread ─▶ what takes typed texts
//!                 ▲ the editor's printer
//!               showing thread ◀─ queue of lines to be shown
//! ```
//!
//! The editing thread is always in the editor, because only there can a line be shown above the one that is being typed. The showing
//! thread gives the printer one line, and waits until it is shown: the editor has drawn the prompt again. While there is no prompt, no
//! line is shown. What is typed is interpreted at Enter and goes into a channel, so the editing thread waits for nobody. It is ahead of the
//! dialogues: the next prompt is the question that follows a command.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustyline::completion::Completer;
use rustyline::config::{BellStyle, ColorMode, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ExternalPrinter, Helper};
use unicode_width::UnicodeWidthChar;

use super::style::{harmless, in_rows};
use super::{completion, print};
use crate::machine;
use crate::screen::{Conversation, Meaning, NOT_TAKEN, Need, OnTyped, Said};

/// How many lines wait to be shown, for example while the person searches the history. If there are more, the receiving thread waits. The
/// server then sees a client that is slow.
const MAX_LINES: usize = 1000;

/// How many typed lines can be called up again.
const HISTORY_LEN: usize = 1000;

/// How many characters of the conversation's name the prompt shows: the line needs space, too.
const MAX_NAME: usize = 16;

/// What stands behind the prompt after the first Ctrl-C.
const LEAVES: &str = "(Ctrl-C again leaves)";

/// Said after a key or a paste with such bytes.
const NOT_UTF_8: &str = "The last key, or all that was pasted, is not UTF-8 and was left out.";

/// How long the end waits for the last lines to be shown, and then for the editor. While the user searches the history, the editor does
/// not end, so the whole time passes.
const END_TIME: Duration = Duration::from_millis(200);

/// The line editor.
pub(crate) struct Editor {
    screen: Arc<Screen>,
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
    /// The last line that was shown is one of progress. Any other one takes its place.
    is_progress: bool,
    /// The last lines that were shown.
    recent: VecDeque<String>,
    /// How wide the terminal was when the editor last asked.
    columns: usize,
    /// All is to be drawn again: the terminal has another width.
    is_stale: bool,
    /// The prompt is to be drawn again.
    is_prompt_stale: bool,
    /// What stands behind the prompt: what became of the connection.
    connection: &'static str,
    /// What is being typed, and where the cursor stands in it.
    line: (String, usize),
    /// Sets the terminal's mode to that of editing.
    edit_mode: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The prompt stands there, so a line can be shown above it.
    has_prompt: bool,
    /// The first line is on its way, and the prompt has not been drawn since.
    is_showing: bool,
    /// What the person is being asked for.
    need: Need,
    /// What stands behind the prompt: what Ctrl-C did.
    notice: &'static str,
    /// What is in the queue is the last that is to be shown.
    is_finishing: bool,
    /// All of it stands on the screen.
    is_finished: bool,
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
        typed: OnTyped,
        history: Option<PathBuf>,
        color: bool,
        own: Box<dyn Fn(&Said) -> String + Send>,
    ) -> Option<Editor> {
        machine::make_terminal_wait();
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
        let editing = Editing {
            editor,
            history,
            typed,
            own,
            screen: Arc::clone(&screen),
        };
        let continued = Arc::clone(&screen);
        // Without it, a person who brings the program back from the background presses Ctrl-L.
        let _ = machine::at_continue(move || continued.draw_again());
        let showing = Arc::clone(&screen);
        machine::spawn("showing", move || showing.showing_loop(printer)).ok()?;
        machine::spawn("editing", move || editing.editing_loop()).ok()?;
        Some(Editor {
            screen,
            restore_mode,
        })
    }

    /// Shows a line above the one that is being typed.
    pub(crate) fn show(&self, text: String) {
        let mut state = self.screen.state.lock();
        let is_full = |state: &mut ScreenState| state.queue.len() >= MAX_LINES && !state.is_over;
        self.screen.changed.wait_while(&mut state, is_full);
        if state.is_over {
            return print(&in_rows(&text, columns()));
        }
        state.push(text);
        self.screen.changed.notify_all();
    }

    /// Shows the progress of a file, if nothing else is to be shown. `line` makes a line that fits into the given columns.
    pub(crate) fn show_progress(&self, line: impl Fn(usize) -> String) {
        let mut state = self.screen.state.lock();
        if state.queue.is_empty() && !state.is_over {
            // It has one row, so that it can be replaced.
            let (text, is_progress) = (line(columns()), true);
            state.queue.push_back(QueuedLine { text, is_progress });
            self.screen.changed.notify_all();
        }
    }

    /// Shows what became of the connection behind the prompt. Nothing, if there is one.
    pub(crate) fn show_connection(&self, connection: &'static str) {
        let mut state = self.screen.state.lock();
        state.is_prompt_stale |= state.connection != connection;
        state.connection = connection;
        self.screen.changed.notify_all();
    }

    /// Ends the editing. The lines in the queue are shown, and the terminal is as it was.
    pub(crate) fn end(&self) {
        let Screen { state, changed, .. } = &*self.screen;
        let mut state = state.lock();
        state.is_finishing = true;
        changed.notify_all();
        let is_busy = |state: &mut ScreenState| !state.is_over && !state.is_finished;
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
                let has_something = state.is_stale
                    || state.is_prompt_stale
                    || state.is_finishing != state.is_finished
                    || !state.queue.is_empty();
                !(state.is_over || state.has_prompt && has_something)
            });
            if state.is_over {
                return;
            }
            let is_stale = std::mem::take(&mut state.is_stale);
            // Every text draws the prompt again.
            state.is_prompt_stale = false;
            let has_line = !is_stale && !state.queue.is_empty();
            let is_last = state.is_finishing && !is_stale && !has_line;
            let text = match is_stale {
                true => state.screenful(),
                false if has_line => state.next_text(),
                false => UP_AND_DOWN.to_owned(),
            };
            state.is_showing = true;
            drop(state);
            if printer.print(text).is_err() {
                return;
            }
            // The prompt may also have been drawn for a key, before the last line was. The printer holds one text: it takes this one when the
            // editor has begun with the text before, and so is done with that line.
            if is_last && printer.print(UP_AND_DOWN.to_owned()).is_err() {
                return;
            }
            let mut state = self.state.lock();
            let is_under_way = |state: &mut ScreenState| state.is_showing && !state.is_over;
            self.changed.wait_while(&mut state, is_under_way);
            if has_line {
                state.queue.pop_front();
            }
            state.is_finished |= is_last;
            self.changed.notify_all();
        }
    }

    /// Draws everything again, after the program was in the background.
    fn draw_again(&self) {
        let mut state = self.state.lock();
        if let Some(edit_mode) = state.edit_mode.clone().filter(|_| state.has_prompt) {
            edit_mode();
            state.is_prompt_stale = true;
            self.changed.notify_all();
        }
    }

    /// From here on lines are printed.
    fn close(&self, state: &mut ScreenState) {
        state.is_over = true;
        let lines = state.queue.drain(..);
        lines.for_each(|line| print(&in_rows(&line.text, columns())));
        self.changed.notify_all();
    }
}

/// What the printer shows if only the prompt is to be drawn again: nothing.
const UP_AND_DOWN: &str = "\x1b[A\n";

/// How many lines are drawn again.
const MAX_RECENT: usize = 200;

impl ScreenState {
    /// Puts a line into the queue. What the person types may make it longer than [`MAX_LINES`]. Then others wait until it is shorter.
    fn push(&mut self, text: String) {
        let is_progress = false;
        self.queue.push_back(QueuedLine { text, is_progress });
    }

    /// The first line of the queue, for the printer.
    fn next_text(&mut self) -> String {
        let Some(line) = self.queue.front() else {
            return String::new();
        };
        // To the line of progress above, and over it.
        let front = if self.is_progress {
            "\x1b[A\r\x1b[K"
        } else {
            ""
        };
        let text = format!("{front}{}\n", in_rows(&line.text, columns()));
        self.is_progress = line.is_progress;
        if !line.is_progress {
            self.recent.push_back(line.text.clone());
            if self.recent.len() > MAX_RECENT {
                self.recent.pop_front();
            }
        }
        text
    }

    /// As many of the last lines as the terminal has rows for, on a clean screen. What stands there goes up and out of sight.
    fn screenful(&mut self) -> String {
        let (columns, rows) = (columns(), machine::rows());
        let recent = self.recent.iter().rev();
        let mut lines: Vec<String> = recent
            .flat_map(|line| {
                let rows = in_rows(line, columns);
                let rows: Vec<String> = rows.lines().rev().map(str::to_owned).collect();
                rows
            })
            .take(rows.saturating_sub(3))
            .collect();
        lines.reverse();
        self.is_progress = false;
        let up = "\n".repeat(rows);
        format!("\x1b[{rows};1H{up}\x1b[H\x1b[J{}\n", lines.join("\n"))
    }
}

/// How many characters a row holds, with the cursor behind them.
fn columns() -> usize {
    machine::columns().unwrap_or(79)
}

/// How many rows a text takes on a terminal with this many columns, with the one in which the cursor stands behind it.
fn n_rows(text: &str, columns: usize) -> usize {
    let (mut row, mut column) = (0, 0);
    for c in text.chars() {
        let width = match c {
            '\n' => {
                (row, column) = (row + 1, 0);
                continue;
            }
            '\t' => 8 - column % 8,
            c => c.width().unwrap_or(0),
        };
        column += width;
        if column > columns {
            (row, column) = (row + 1, width);
        }
    }
    row + 1 + usize::from(column == columns)
}

/// Erases a text that was typed. The cursor stands in the row below it.
fn erase(typed: &str) {
    let n_rows = n_rows(typed, columns() + 1);
    // If it fails, the terminal is gone.
    let _ = super::write(&format!("\x1b[{n_rows}A\r\x1b[J"));
}

/// The editing thread.
struct Editing {
    editor: rustyline::Editor<OnScreen, FileHistory>,
    history: Option<PathBuf>,
    typed: OnTyped,
    /// How a line is shown that the person says.
    own: Box<dyn Fn(&Said) -> String + Send>,
    screen: Arc<Screen>,
}

impl Editing {
    /// Edits lines until the person leaves. The body of the editing thread.
    fn editing_loop(mut self) {
        let screen = Arc::clone(&self.screen);
        let Conversation { stop, leave, .. } = &screen.conversation;
        let (mut need, mut notice) = (Need::Nothing, "");
        // What was being typed when something else came in between.
        let mut begun = (String::new(), 0);
        loop {
            let mut state = screen.state.lock();
            (state.need, state.notice, state.columns) = (need, notice, columns());
            drop(state);
            let prompt = self.prompt(need);
            let (left, right) = begun.0.split_at(begun.1);
            let result = self.editor.readline_with_initial(&prompt, (left, right));
            begun = (String::new(), 0);
            if screen.state.lock().is_ending {
                break;
            }
            match result {
                Ok(text) => {
                    notice = "";
                    self.remember(&text);
                    need = self.typed(&prompt.text, &text);
                    continue;
                }
                Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    // A key of another character set, or a paste with such a byte. The rest of a paste is not taken for keys.
                    machine::drop_input();
                    let mut state = screen.state.lock();
                    begun = state.line.clone();
                    state.push(NOT_UTF_8.to_owned());
                    erase(&format!("{}{}", prompt.text, begun.0));
                    continue;
                }
                // An empty answer: nothing is done.
                Err(ReadlineError::Interrupted) if need != Need::Nothing => {
                    need = self.typed(&prompt.text, "");
                }
                Err(ReadlineError::Interrupted) if stop() => notice = "(stopped)",
                Err(ReadlineError::Interrupted) if notice != LEAVES => notice = LEAVES,
                // The second Ctrl-C, or Ctrl-D, or the terminal is gone. The channel of typed lines ends.
                _ => break,
            }
            screen.state.lock().is_progress = false;
        }
        drop(self.editor);
        screen.close(&mut screen.state.lock());
        if notice == LEAVES {
            leave();
        }
    }

    /// Hands on a typed text, and does on the screen what it means. Returns what the person is asked for next.
    fn typed(&self, prompt: &str, text: &str) -> Need {
        // Locked before, so that no answer to a line is shown above it.
        let mut state = self.screen.state.lock();
        let meaning = (self.typed)(text);
        match meaning {
            Meaning::Said(lines) => {
                // The cursor stands below the rows of what was typed. They make room for the line as everybody's lines look.
                erase(&format!("{prompt}{text}"));
                for said in lines.iter().filter(|said| !said.text.is_empty()) {
                    state.push((self.own)(said));
                }
                self.screen.changed.notify_all();
                return Need::Nothing;
            }
            Meaning::Asks(need) => {
                state.is_progress = false;
                return need;
            }
            Meaning::Clear => {
                state.recent.clear();
                let _ = super::write("\x1b[H\x1b[J");
            }
            Meaning::NotTaken => state.push(NOT_TAKEN.to_owned()),
            Meaning::Other => {}
        }
        state.is_progress = false;
        Need::Nothing
    }

    fn prompt(&self, need: Need) -> Prompt {
        let text = match need.question() {
            Some(question) => format!("{question}: "),
            None => {
                let name = harmless(&self.screen.conversation.prompt);
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

/// A prompt that notices when it is drawn.
struct Prompt {
    text: String,
    screen: Arc<Screen>,
}

impl rustyline::Prompt for Prompt {
    fn raw(&self) -> &str {
        let mut state = self.screen.state.lock();
        (state.has_prompt, state.is_showing) = (true, false);
        if state.edit_mode.is_none() {
            // The editor has just set it.
            state.edit_mode = Some(Arc::new(machine::keep_terminal_mode()));
        }
        self.screen.changed.notify_all();
        &self.text
    }
}

/// In place of nothing: the editor draws a hint again only if there was one before.
const NO_HINT: &str = " ";

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

    fn hint(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> Option<OnScreen> {
        let mut state = self.0.state.lock();
        let columns = columns();
        // The editor learns a new width only after all keys that came before. Then it draws the same line again, if that is or was
        // wrapped. Until then it counts the rows of the old width, and each key may erase a row of others' lines.
        if line == state.line.0 && columns != state.columns {
            state.is_stale = true;
            state.columns = columns;
            self.0.changed.notify_all();
        }
        state.line = (line.to_owned(), at);
        Some(self.clone())
    }
}

impl Hint for OnScreen {
    /// What became of the connection is always seen. The rest is seen while nothing is typed.
    fn display(&self) -> &str {
        let is_waiting = self.0.conversation.names.lock().is_waiting;
        let state = self.0.state.lock();
        match (state.connection, state.notice) {
            ("", _) if !state.line.0.is_empty() => NO_HINT,
            ("", "") if is_waiting => "(waiting; /quit leaves)",
            ("", "") => NO_HINT,
            ("", notice) => notice,
            (connection, _) => connection,
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
