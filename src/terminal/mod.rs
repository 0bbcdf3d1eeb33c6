//! What a person sees and types, for both clients. Knows no protocol: a client says who said what.
//!
//! With pipes, typed lines come from standard input and shown lines go to standard output, so a client can be scripted. On a terminal,
//! the line [`editor`] keeps the line that is being typed whole while others talk. It starts when the person has joined. A terminal
//! that cannot have it (`TERM=dumb`) has plain lines and questions.
//!
//! What others said is made harmless here, and only here. Control characters, escape sequences and bidirectional overrides are
//! written out, so that no terminal obeys them.
//!
//! - [`editor`]: the line that is being typed.
//! - [`completion`]: what Tab offers.
//! - [`style`]: how a line looks.
//! - [`log`]: what was shown, in a file.
//! - [`progress`]: how far a file has come.

#[cfg_attr(not(feature = "editor"), allow(dead_code))] // it completes what is typed in the editor
pub(crate) mod completion;
#[cfg(feature = "editor")]
pub(crate) mod editor;
#[cfg(not(feature = "editor"))]
#[path = "no_editor.rs"]
pub(crate) mod editor;
pub(crate) mod log;
pub(crate) mod progress;
pub(crate) mod style;

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Local, NaiveDateTime};
use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use self::editor::Editor;
use self::log::Log;
use self::style::{Day, Style, harmless, shortened};
use crate::machine;
use crate::wire::name::{MAX_NAME_CHARACTERS, NameError};

/// How the terminal looks, and what it keeps.
#[derive(Default)]
pub struct TerminalSettings {
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
pub enum Color {
    /// On a terminal that has them, unless the environment has `NO_COLOR`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where the person is, and what can be typed there.
pub struct Conversation {
    /// The group, or the host of a relay. The prompt shows it.
    pub name: String,
    /// The name of the person.
    pub me: String,
    /// What Tab offers.
    pub names: Arc<Mutex<Names>>,
    /// The words that are commands, and what each needs.
    pub commands: Vec<(&'static str, Need)>,
    /// Stops what is going on, at Ctrl-C. Returns whether something was.
    pub stop: Box<dyn Fn() -> bool + Send + Sync>,
    /// Leaves, at the second Ctrl-C in a row. The editing thread calls it.
    pub leave: Box<dyn Fn() + Send + Sync>,
}

/// What a command needs to know, with the question for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    #[default]
    Nothing,
    /// Somebody who asked to join.
    Request(&'static str),
    /// A member.
    Member(&'static str),
    /// A file.
    File(&'static str),
}

impl Need {
    /// What a command needs. `Nothing`: the word is no command, either.
    fn of(word: &str, commands: &[(&str, Need)]) -> Need {
        let command = commands.iter().find(|(command, _)| *command == word);
        command.map_or(Need::Nothing, |(_, need)| *need)
    }

    /// The question for it.
    pub fn question(self) -> Option<&'static str> {
        match self {
            Need::Nothing => None,
            Need::Request(question) | Need::Member(question) | Need::File(question) => {
                Some(question)
            }
        }
    }
}

/// The first word of a line, and what follows it without the blanks around it.
pub(crate) fn split_word(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim())
}

/// The names that Tab offers, and whether the person still waits. The client keeps them up to date.
#[derive(Default)]
pub struct Names {
    /// The members that the client has heard of.
    pub members: BTreeSet<String>,
    /// Those who asked to join.
    pub requests: BTreeSet<String>,
    /// The person waits for approval, so commands have no effect.
    pub is_waiting: bool,
}

/// How many members are kept, and how many requests. A hostile server could name people without end.
pub(crate) const MAX_NAMES: usize = 10_000;

impl Names {
    /// Learns that somebody is a member.
    pub fn add_member(&mut self, name: &str) {
        self.requests.remove(name);
        if self.members.len() < MAX_NAMES && !is_long(name) {
            self.members.insert(name.to_owned());
        }
    }

    /// Learns that somebody has asked to join.
    pub fn add_request(&mut self, name: &str) {
        if self.requests.len() < MAX_NAMES && !is_long(name) {
            self.requests.insert(name.to_owned());
        }
    }
}

/// Whether a name is too long to be kept: only a Python server or a hostile one lets somebody have it.
fn is_long(name: &str) -> bool {
    name.chars().nth(MAX_NAME_CHARACTERS).is_some()
}

/// A line that somebody said.
pub struct ChatLine {
    /// Who said it.
    pub name: String,
    /// What stands behind the name, such as ` (not sealed)`. Usually nothing.
    pub remark: &'static str,
    /// What was said.
    pub text: String,
    /// When it was said.
    pub said_at: SaidAt,
    /// The time that the line brings with it.
    pub stamp: Option<Stamp>,
}

impl ChatLine {
    /// A line that brings its own time, `HH:MM:SS`. `front` is shown in front of it where lines do not have their time.
    pub fn stamped(name: &str, text: &str, time: &str, front: String) -> ChatLine {
        let time = time.to_owned();
        ChatLine {
            name: name.to_owned(),
            remark: "",
            text: text.to_owned(),
            said_at: SaidAt::Now,
            stamp: Some(Stamp { time, front }),
        }
    }
}

/// When a line was said.
pub enum SaidAt {
    /// Now.
    Now,
    /// Before the person joined, in seconds since 1970.
    Earlier(u64),
}

/// When a line was said, by its sender's clock.
pub struct Stamp {
    /// `HH:MM:SS`.
    time: String,
    /// What is shown in front of the line where lines do not have their time.
    pub front: String,
}

/// The terminal, or the pipes in its place. Any thread may use it.
pub struct Terminal {
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
    pub fn new(settings: TerminalSettings) -> Result<Terminal, String> {
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
                log,
            }),
            entered: OnceLock::new(),
        })
    }

    /// Whether a person is at the terminal. If not, there are pipes.
    pub fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// From here on lines are edited, where that is possible, and logged. When the returned value is dropped, the terminal is as it was
    /// before. The last lines of the log are shown first.
    pub fn enter(&self, conversation: Conversation) -> impl Drop {
        struct Visit<'a>(&'a Terminal);
        impl Drop for Visit<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }

        let name = harmless(&conversation.name);
        let earlier = self.shown.lock().log.as_mut().map(|log| log.earlier(&name));
        match earlier.unwrap_or(Ok(Vec::new())) {
            Ok(lines) => lines
                .iter()
                .map(|line| self.style.quiet(&format!("earlier: {}", harmless(line))))
                .for_each(|line| self.write(line)),
            Err(error) => self.show(&format!("The log cannot be read: {error}.")),
        }
        self.entered.get_or_init(|| Entered {
            name,
            me: conversation.me.clone(),
            editor: self.start_editor(conversation),
        });
        Visit(self)
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

    /// What Ctrl-C does to leave. In the editor the first one clears the line.
    pub fn how_to_leave(&self) -> &'static str {
        match self.editor() {
            Some(_) => "Ctrl-C twice leaves.",
            None => "Ctrl-C leaves.",
        }
    }

    /// Ends the editing: the terminal is as it was before.
    pub fn end(&self) {
        if let Some(editor) = self.editor() {
            editor.end();
        }
    }

    /// Shows a line that somebody said.
    pub fn show_line(&self, line: &ChatLine) {
        let name = shortened(&line.name, MAX_NAME_CHARACTERS);
        let said = self.styled(&name, line);
        let plain = format!("{name}{}: {}", line.remark, line.text);
        let earlier_time = match line.said_at {
            SaidAt::Now => None,
            SaidAt::Earlier(at) => self.earlier_time(at),
        };
        match (earlier_time, &line.stamp) {
            (Some(time), _) => {
                let earlier = self.style.quiet("(earlier)");
                self.put(Some(&time), &format!("{earlier} {said}"), &plain)
            }
            (None, Some(stamp)) if self.style.time => self.put(stamp.time.get(..5), &said, &plain),
            (None, Some(stamp)) => self.put(None, &format!("{}{said}", stamp.front), &plain),
            (None, None) => self.put(None, &said, &plain),
        }
    }

    /// How an earlier time is shown. In a pipe it is not, and a time to come is not taken for one.
    fn earlier_time(&self, seconds: u64) -> Option<String> {
        let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
        if !self.is_interactive || time > Local::now() {
            return None;
        }
        let time = time.with_timezone(&Local).naive_local();
        let minute = minute(time);
        if time.date() == machine::local_time().date() {
            Some(minute)
        } else {
            Some(format!("{} {minute}", time.date()))
        }
    }

    fn styled(&self, name: &str, line: &ChatLine) -> String {
        let (name, text) = (harmless(name), harmless(&line.text));
        let me = self.entered.get().map_or("", |entered| &entered.me);
        let name = self.style.name(&name) + line.remark;
        if !style::mentions(&text, me) {
            return format!("{name}: {text}");
        }
        let rings = self.settings.bell && self.is_interactive;
        let bell = if rings { "\x07" } else { "" };
        format!("{name}: {}{bell}", self.style.loud(&text))
    }

    /// Logs a line that the person said, and sees already.
    pub fn log_own(&self, text: &str) {
        let me = self.entered.get().map_or("", |entered| &entered.me);
        self.log(&mut self.shown.lock(), &format!("{me}: {text}"));
    }

    /// Shows a notice.
    pub fn show(&self, notice: &str) {
        self.put(None, &self.style.quiet(&harmless(notice)), notice);
    }

    /// Writes a line that is harmless, with the given time or the present one, and logs its plain form.
    fn put(&self, time: Option<&str>, line: &str, plain: &str) {
        let mut shown = self.shown.lock();
        self.log(&mut shown, plain);
        if !self.style.time {
            return self.write(line.to_owned());
        }
        if let Some(date) = shown.day.turn(Day::today()) {
            self.write(self.style.quiet(&date));
        }
        let now = minute(machine::local_time());
        self.write(format!("{} {line}", self.style.quiet(time.unwrap_or(&now))));
    }

    fn log(&self, shown: &mut Shown, line: &str) {
        if let (Some(log), Some(entered)) = (&mut shown.log, self.entered.get()) {
            if let Err(error) = log.write(&entered.name, &harmless(line)) {
                self.write(format!("The log cannot be written any more: {error}."));
                shown.log = None;
            }
        }
    }

    fn write(&self, line: String) {
        match self.editor() {
            Some(editor) => editor.show(line),
            None => print(&line),
        }
    }

    /// The lines that are typed from now on, without their ends. The channel ends when the input does.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn lines(&self) -> io::Result<Receiver<String>> {
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

    /// Shows a question to a person whose terminal has no editor. The editor shows questions by itself, and a pipe shows none.
    pub fn prompt(&self, question: &str) {
        if self.is_interactive && self.editor().is_none() {
            write(&format!("{question}: "));
        }
    }

    /// Parses the name that was given as an option, or else asks for one. A person is asked until the name is legal.
    ///
    /// # Errors
    /// The name breaks a rule, and no person can be asked again; or the input has ended.
    pub fn ask_name<T>(
        &self,
        question: &str,
        given: Option<String>,
        parse: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, NameError> {
        if let Some(given) = given {
            return parse(given.trim());
        }
        loop {
            self.prompt(question);
            let Some(answer) = read_line() else { break };
            match parse(answer.trim()) {
                Err(error) if self.is_interactive => self.show(&error.to_string()),
                Err(_) if answer.trim().is_empty() => {}
                result => return result,
            }
        }
        Err(NameError(format!(
            "the input ended before the {question} was given; give it as a line, or as an option"
        )))
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

/// The time of day as lines have it: `HH:MM`.
fn minute(time: NaiveDateTime) -> String {
    time.time().to_string()[..5].to_owned()
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
