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

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use self::editor::Editor;
use self::log::Log;
use self::style::{Day, Style, harmless};
use self::wording::{Reader, Row, minute};
use crate::machine;
use crate::screen::{Conversation, Event, Meaning, OnTyped, Progress, Said, Screen};

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
    /// Whether the person is not told who comes and goes.
    pub no_news: bool,
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

/// Whether a person is at the terminal of this process. If not, there are pipes.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
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
    /// Why nothing can be shown any more.
    output_error: Arc<OnceLock<io::Error>>,
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
    leave: Arc<dyn Fn() + Send + Sync>,
    editor: Option<Editor>,
}

impl Terminal {
    /// The terminal of this process.
    ///
    /// # Errors
    /// There is to be a log or a history, and the file cannot be used for it.
    pub(crate) fn new(settings: TerminalSettings) -> Result<Terminal, String> {
        let is_interactive = is_interactive();
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
        settings.history.as_deref().map_or(Ok(()), check_history)?;
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
            output_error: Arc::default(),
        })
    }

    /// Watches standard output, so that a client whose lines nobody reads any more does not stay for ever.
    fn leave_at_end_of_output(&self) {
        let Some(Entered { leave, .. }) = self.entered.get() else {
            return;
        };
        let (leave, output_error) = (Arc::clone(leave), Arc::clone(&self.output_error));
        // Without the thread, the client leaves when it shows a line.
        let _ = machine::spawn("output", move || {
            machine::wait_for_end_of_output();
            if output_error.set(io::ErrorKind::BrokenPipe.into()).is_ok() {
                leave();
            }
        });
    }

    fn start_editor(&self, conversation: Conversation, typed: &OnTyped) -> Option<Editor> {
        if !self.is_interactive {
            return None;
        }
        let history = self.settings.history.clone();
        let (style, me) = (self.style, conversation.me.clone());
        let own = move |said: &Said| {
            let reader = Reader {
                me: &me,
                style: &style,
                is_interactive: true,
                bell: false,
                news: false,
                is_told: false,
            };
            let text = reader.typed(said).shown.unwrap_or_default();
            if style.time {
                let time = style.quiet(&minute(machine::local_time()));
                format!("{time} {text}")
            } else {
                text
            }
        };
        let (typed, color) = (Arc::clone(typed), self.style.color);
        Editor::start(conversation, typed, history, color, Box::new(own))
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
            news: self.is_interactive && !self.settings.no_news,
            is_told: false,
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
        let time = match row.time.as_deref() {
            Some("") => String::new(),
            Some(time) => self.style.quiet(time) + " ",
            None => self.style.quiet(&minute(machine::local_time())) + " ",
        };
        self.write(format!("{}{time}{text}", row.mark));
    }

    fn log(&self, shown: &mut Shown, row: &Row) {
        if let (Some(log), Some(entered)) = (&mut shown.log, self.entered.get()) {
            let was_behind = log.is_behind();
            match log.write(&entered.name, &format!("{}{}", row.mark, row.logged)) {
                Err(error) if !was_behind => self.write(format!(
                    "The log cannot be written: {error}. It goes on as soon as it can, and says how many lines are missing."
                )),
                _ => {}
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
        if let Some(editor) = self.editor() {
            return editor.show(line);
        }
        if let Some(columns) = machine::columns().filter(|_| self.is_interactive) {
            line = style::in_rows(&line, columns);
        }
        self.print(&format!("{line}\n"));
    }

    /// Writes a text to standard output. If that fails, there is nobody to chat for.
    fn print(&self, text: &str) {
        let Err(error) = write(text) else { return };
        if self.output_error.set(error).is_ok() {
            if let Some(Entered { leave, .. }) = self.entered.get() {
                let leave = Arc::clone(leave);
                // The goodbye may wait for this thread. Without another one, the client stays until its input ends.
                let _ = machine::spawn("leaving", move || leave());
            }
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
        if let (Event::Connection(connection), Some(editor)) = (&event, self.editor()) {
            editor.show_connection(wording::behind_prompt(connection));
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
    fn enter(&self, conversation: Conversation, typed: OnTyped) -> io::Result<()> {
        let name = harmless(&conversation.name);
        let earlier = self.shown.lock().log.as_mut().map(|log| log.earlier(&name));
        match earlier.unwrap_or(Ok(Vec::new())) {
            Ok(lines) => lines
                .iter()
                .map(|line| self.style.quiet(&format!("earlier: {}", harmless(line))))
                .for_each(|line| self.write(line)),
            Err(error) => self.show(Event::Notice(format!("The log cannot be read: {error}."))),
        }
        let entered = self.entered.get_or_init(|| Entered {
            name,
            me: conversation.me.clone(),
            leave: Arc::clone(&conversation.leave),
            editor: self.start_editor(conversation, &typed),
        });
        if !self.is_interactive {
            self.leave_at_end_of_output();
        }
        if entered.editor.is_some() {
            return Ok(());
        }
        let is_taken = move |line: String| typed(&line) != Meaning::NotTaken;
        machine::spawn(
            "reading",
            move || while read_line().is_some_and(&is_taken) {},
        )
    }

    fn check_output(&self) -> Result<(), String> {
        let error = self.output_error.get();
        error.map_or(Ok(()), |error| {
            Err(format!("nobody reads what is shown: {error}"))
        })
    }

    /// Ends the editing: the terminal is as it was before.
    fn end(&self) {
        if let Some(editor) = self.editor() {
            editor.end();
        }
    }

    /// Shows it to a person whose terminal has no editor. The editor shows questions by itself, and a pipe shows none.
    fn prompt(&self, question: &str) {
        if self.is_interactive && self.editor().is_none() {
            self.print(&format!("{question}: "));
        }
    }

    /// In the editor the first Ctrl-C clears the line.
    fn how_to_leave(&self) -> &'static str {
        match self.editor() {
            Some(_) => "Ctrl-C twice leaves.",
            None => "Ctrl-C leaves.",
        }
    }

    /// Ends the program. It fails if not all could be shown.
    fn left_without_goodbye(&self) {
        let output = self.check_output();
        if let Err(error) = &output {
            ::log::error!("{error}");
        }
        ::log::logger().flush();
        std::process::exit(i32::from(output.is_err()))
    }

    fn at_signal(&self, leave: Box<dyn FnMut() + Send>) {
        // If it cannot be set, a signal ends the program at once. One can chat all the same.
        let _ = machine::at_signal(leave);
    }
}

/// Reads the next line, without its end. `None`: the input has ended. Bytes that are not UTF-8 are replaced.
fn read_line() -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        match io::stdin().lock().read_until(b'\n', &mut bytes) {
            Ok(0) if bytes.is_empty() => return None,
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => machine::wait_for_input(),
            Err(_) => return None,
        }
    }
    let line = String::from_utf8_lossy(&bytes);
    Some(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Writes a line to standard output.
pub(crate) fn print(line: &str) {
    // If nobody reads the output, there is nobody to tell.
    let _ = write(&format!("{line}\n"));
}

/// Writes a text to standard output, also if the parent has set that so that a write does not wait.
fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut rest = text.as_bytes();
    loop {
        let result = match rest {
            [] => stdout.flush().map(|()| true),
            _ => stdout.write(rest).map(|n| {
                rest = &rest[n..];
                false
            }),
        };
        match result {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => machine::wait_for_output(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a file of typed lines begins with.
const HISTORY_START: &[u8] = b"#V2\n";

/// Checks that nothing but typed lines would be overwritten.
fn check_history(path: &Path) -> Result<(), String> {
    let mut start = Vec::new();
    let read = log::plain(path).and_then(|()| File::open(path)?.take(4).read_to_end(&mut start));
    let why = match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(_) if start.is_empty() || start == HISTORY_START => return Ok(()),
        Ok(_) => "it holds something else".to_owned(),
        Err(error) => error.to_string(),
    };
    let path = path.display();
    Err(format!(
        "{path} is no history of typed lines: {why}; choose another file with --history"
    ))
}
