//! The terminal, or the pipes in its place, as the [`Screen`] of both clients. Knows no protocol: a client says who said what.
//!
//! With pipes, typed lines come from standard input and shown lines go to standard output, so a client can be scripted. On a terminal,
//! the line [`editor`] keeps the line that is being typed whole while others talk. It starts when the person has joined. A terminal
//! that cannot have it (`TERM=dumb`) has plain lines and questions.
//!
//! What others said is made harmless here, and only here. Control characters, escape sequences and bidirectional overrides are
//! written out, so that no terminal obeys them.
//!
//! Where a key tells what is proven, a line that is not proven begins with [`MARK`]. Nothing else does: see [`wording`].
//!
//! - [`editor`]: the line that is being typed.
//! - [`completion`]: what Tab offers.
//! - [`style`]: how a line looks.
//! - [`log`]: what was shown, in a file.
//! - [`wording`]: the text that is made of what a client says.

#[cfg_attr(not(feature = "editor"), allow(dead_code))] // it completes what is typed in the editor
pub(crate) mod completion;
#[cfg(feature = "editor")]
pub(crate) mod editor;
#[cfg(not(feature = "editor"))]
#[path = "no_editor.rs"]
pub(crate) mod editor;
pub(crate) mod log;
pub(crate) mod style;
pub(crate) mod wording;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use self::editor::Editor;
use self::log::Log;
use self::style::{Day, Style, harmless};
use self::wording::{Reader, Row, minute};
use crate::machine;
use crate::screen::{Conversation, Event, Progress, Screen};

/// How the terminal looks, and what it keeps.
#[derive(Default)]
pub(crate) struct TerminalSettings {
    /// Where typed lines are kept between runs.
    pub history: Option<PathBuf>,
    /// Where shown lines are kept.
    pub log: Option<PathBuf>,
    /// Whether there are colours.
    pub color: Color,
    /// Whether each line has its time. `None`: on a terminal only.
    pub time: Option<bool>,
    /// Whether the bell rings at a line that mentions the person.
    pub bell: bool,
}

/// Whether there are colours.
#[derive(Clone, Copy, Default)]
pub(crate) enum Color {
    /// On a terminal that has them, unless the environment has `NO_COLOR`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The terminal, or the pipes in its place. Any thread may use it.
pub(crate) struct Terminal {
    is_interactive: bool,
    style: Style,
    settings: TerminalSettings,
    /// Held while a line is shown, so that the screen and the log have one order.
    shown: Mutex<Shown>,
    /// Set by [`Terminal::enter`].
    entered: OnceLock<Entered>,
}

struct Shown {
    /// The day of the last line.
    day: Day,
    /// When progress was shown last without the editor.
    progress_at: Option<Instant>,
    log: Option<Log>,
}

/// The conversation that the person has entered.
struct Entered {
    /// Its name in the log.
    name: String,
    me: String,
    editor: Option<Editor>,
}

impl Terminal {
    /// The terminal of this process.
    ///
    /// # Errors
    /// There is to be a log, and it cannot be written.
    pub(crate) fn new(settings: TerminalSettings) -> Result<Terminal, String> {
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let color = match settings.color {
            Color::Auto => {
                is_interactive
                    && !is_set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
            Color::Always => true,
            Color::Never => false,
        };
        let time = settings.time.unwrap_or(is_interactive);
        let log = settings.log.as_deref().map(Log::open).transpose()?;
        Ok(Terminal {
            is_interactive,
            style: Style { color, time },
            settings,
            shown: Mutex::new(Shown {
                day: Day::today(),
                progress_at: None,
                log,
            }),
            entered: OnceLock::new(),
        })
    }

    fn start_editor(&self, conversation: Conversation) -> Option<Editor> {
        if !self.is_interactive {
            return None;
        }
        let history = self.settings.history.clone();
        Editor::start(conversation, history, self.style.color)
    }

    fn editor(&self) -> Option<&Editor> {
        self.entered.get()?.editor.as_ref()
    }

    /// Who reads what is shown.
    fn reader(&self) -> Reader<'_> {
        Reader {
            me: self.entered.get().map_or("", |entered| &entered.me),
            style: &self.style,
            is_interactive: self.is_interactive,
            bell: self.settings.bell && self.is_interactive,
        }
    }

    /// Writes a row, and logs it.
    fn put(&self, row: &Row) {
        let mut shown = self.shown.lock();
        self.log(&mut shown, row);
        let Some(text) = &row.shown else {
            return;
        };
        if !self.style.time {
            return self.write(format!("{}{}{text}", row.mark, row.front));
        }
        if let Some(date) = shown.day.turn(Day::today()) {
            self.write(self.style.quiet(&date));
        }
        let time = match &row.time {
            Some(time) => self.style.quiet(time),
            None => self.style.quiet(&minute(machine::local_time())),
        };
        self.write(format!("{}{time} {text}", row.mark));
    }

    fn log(&self, shown: &mut Shown, row: &Row) {
        if let (Some(log), Some(entered)) = (&mut shown.log, self.entered.get()) {
            if let Err(error) = log.write(&entered.name, &format!("{}{}", row.mark, row.logged)) {
                self.write(format!("The log cannot be written any more: {error}."));
                shown.log = None;
            }
        }
    }

    /// Shows the progress to a person, in place of the line before if that showed progress, too. Without the editor a line cannot be
    /// replaced, so it is shown less often.
    fn show_progress(&self, progress: &Progress) {
        let line = harmless(&progress.sentence());
        if let Some(editor) = self.editor() {
            return editor.show_progress(|columns| self.style.quiet(style::cut(&line, columns)));
        }
        let progress_at = &mut self.shown.lock().progress_at;
        let is_due = progress_at.is_none_or(|at| at.elapsed() >= PLAIN_PROGRESS_TIME);
        if self.is_interactive && (is_due || progress.n_done == progress.len) {
            *progress_at = Some(Instant::now());
            self.write(self.style.quiet(&line));
        }
    }

    fn write(&self, mut line: String) {
        if let Some(columns) = machine::columns().filter(|_| self.is_interactive) {
            line = style::in_rows(&line, columns);
        }
        match self.editor() {
            Some(editor) => editor.show(line),
            None => print(&line),
        }
    }
}

/// How often progress is shown without the editor.
const PLAIN_PROGRESS_TIME: Duration = Duration::from_secs(10);

impl Screen for Terminal {
    fn show(&self, event: Event) {
        if let Event::Progress(progress) = &event {
            return self.show_progress(progress);
        }
        let rows = self.reader().rows(event);
        rows.iter().for_each(|row| self.put(row));
    }

    fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    fn ask(&self, question: &str) -> Option<String> {
        self.prompt(question);
        read_line()
    }

    /// From here on lines are edited, where that is possible, and logged. The last lines of the log are shown first.
    fn enter(&self, conversation: Conversation) {
        let name = harmless(&conversation.name);
        let earlier = self.shown.lock().log.as_mut().map(|log| log.earlier(&name));
        match earlier.unwrap_or(Ok(Vec::new())) {
            Ok(lines) => lines
                .iter()
                .map(|line| self.style.quiet(&format!("earlier: {}", harmless(line))))
                .for_each(|line| self.write(line)),
            Err(error) => self.show(Event::Notice(format!("The log cannot be read: {error}."))),
        }
        self.entered.get_or_init(|| Entered {
            name,
            me: conversation.me.clone(),
            editor: self.start_editor(conversation),
        });
    }

    /// Ends the editing: the terminal is as it was before.
    fn end(&self) {
        if let Some(editor) = self.editor() {
            editor.end();
        }
    }

    fn lines(&self) -> io::Result<Receiver<String>> {
        if let Some(editor) = self.editor() {
            return Ok(editor.lines());
        }
        // One line is read ahead, and no more.
        let (typed, lines) = bounded(0);
        let reading_loop =
            move || while read_line().is_some_and(|line| typed.send(line).is_ok()) {};
        machine::spawn("reading", reading_loop)?;
        Ok(lines)
    }

    /// Shows it to a person whose terminal has no editor. The editor shows questions by itself, and a pipe shows none.
    fn prompt(&self, question: &str) {
        if self.is_interactive && self.editor().is_none() {
            write(&format!("{question}: "));
        }
    }

    /// In the editor the first Ctrl-C clears the line.
    fn how_to_leave(&self) -> &'static str {
        match self.editor() {
            Some(_) => "Ctrl-C twice leaves.",
            None => "Ctrl-C leaves.",
        }
    }
}

/// Reads the next line, without its end. `None`: the input has ended. Bytes that are not UTF-8 are replaced.
fn read_line() -> Option<String> {
    let mut bytes = Vec::new();
    match io::stdin().lock().read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => return None,
        Ok(_) => {}
    }
    let line = String::from_utf8_lossy(&bytes);
    Some(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Writes a line to standard output.
fn print(line: &str) {
    write(&format!("{line}\n"));
}

/// Writes a text to standard output.
fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    // If nobody reads the output, there is nobody to tell.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
