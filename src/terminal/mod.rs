//! What a person sees and types: lines in, lines out, for both clients.
//!
//! With pipes, plain lines: what is typed comes from standard input and what is shown goes to standard output, so that a client
//! can be scripted. On a terminal, from joining on, the line [`editor`] keeps what is being typed whole while others talk; on one that is too
//! plain for it (`TERM=dumb`), lines are plain but for the questions. Everything that others said is made harmless here, and only here:
//! control characters, escape sequences and bidirectional overrides are shown as what they are instead of being obeyed.
//!
//! - [`editor`]: the line that is being typed.
//! - [`completion`]: what Tab makes of it.
//! - [`style`]: how a line looks.
//! - [`log`]: what was shown, in a file.
//! - [`progress`]: how far a file has come.

pub mod completion;
#[cfg(feature = "editor")]
pub mod editor;
#[cfg(not(feature = "editor"))]
#[path = "no_editor.rs"]
pub mod editor;
pub mod log;
pub mod progress;
pub mod style;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Local, NaiveDateTime};
use parking_lot::{Mutex, MutexGuard};

use self::editor::Editor;
use self::log::{Log, LogError};
use self::style::{Day, Style, harmless};
use crate::machine;
use crate::seal::StampedLine;
use crate::wire::command::{HAS_REQUESTED, MADE_ADMIN, PYCHAT};
use crate::wire::name::NameError;

/// What a person wishes of the terminal.
#[derive(Default)]
pub struct TerminalSettings {
    /// Where typed lines are kept between runs.
    pub history: Option<PathBuf>,
    /// Where what is shown is kept.
    pub log: Option<PathBuf>,
    /// Whether there are colours.
    pub color: Color,
    /// Whether each line has its time; on a terminal only, if nothing is said.
    pub time: Option<bool>,
    /// The bell rings at a line that mentions the person.
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

/// The terminal, or the pipes in its place. Free to use from any thread.
pub struct Terminal {
    is_interactive: bool,
    style: Style,
    options: TerminalSettings,
    /// What was shown. Held while a line is, so that screen and log have one order.
    shown: Mutex<Shown>,
    editor: OnceLock<Arc<Editor>>,
    people: Arc<Mutex<People>>,
}

/// What was shown so far.
struct Shown {
    /// The day of the last line.
    day: Day,
    log: Option<Log>,
    /// The room, once it is entered: from then on the log is kept.
    room: Option<String>,
}

/// Where the person is, and what can be typed there.
pub struct Conversation {
    /// The group, or what stands for it in the prompt.
    pub name: String,
    /// Every word that is a command, and what it needs to know.
    pub commands: Vec<(&'static str, Need)>,
    /// Ends what is under way, at Ctrl-C; `false`: nothing is.
    pub stop: Box<dyn Fn() -> bool + Send>,
    /// Leaves, at the second Ctrl-C in a row. Called by the editor's thread.
    pub leave: Box<dyn Fn() + Send>,
}

/// What a command needs to know, and is asked for if it is not given: the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Somebody who asked to join.
    Request(&'static str),
    /// A member.
    Member(&'static str),
    /// A file.
    File(&'static str),
}

impl Need {
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

/// Who the client has heard of.
#[derive(Default)]
pub struct People {
    /// The person at this terminal.
    pub me: String,
    /// The admin, if that is known.
    pub admin: Option<String>,
    /// The members.
    pub members: BTreeSet<String>,
    /// Those who asked to join.
    pub requests: BTreeSet<String>,
    /// This client waits for approval.
    pub is_waiting: bool,
}

impl People {
    /// Somebody is a member.
    pub fn meet(&mut self, name: &str) {
        self.requests.remove(name);
        if name != PYCHAT && self.members.len() < MAX_PEOPLE {
            self.members.insert(name.to_owned());
        }
    }

    /// Takes notice of what the server says. Returns what the person can do about it.
    fn learn(&mut self, notice: &str) -> Option<String> {
        if notice.ends_with(MADE_ADMIN) {
            self.admin = Some(self.me.clone());
        }
        let name = notice.strip_suffix(HAS_REQUESTED)?;
        if self.requests.len() < MAX_PEOPLE {
            self.requests.insert(name.to_owned());
        }
        match &self.admin {
            Some(admin) if *admin == self.me => {
                Some(format!("Answer with /approve {name} or /deny {name}."))
            }
            Some(_) => None,
            None => Some(format!(
                "If you administer the group: /approve {name} or /deny {name}."
            )),
        }
    }
}

/// How many names are kept in mind, of members and of those who asked to join.
const MAX_PEOPLE: usize = 10_000;

impl Terminal {
    /// The terminal of this process.
    ///
    /// # Errors
    /// There is to be a log, and it cannot be written.
    pub fn new(options: TerminalSettings) -> Result<Terminal, LogError> {
        let is_interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
        let is_set = |name| std::env::var_os(name).is_some_and(|value: OsString| !value.is_empty());
        let color = match options.color {
            Color::Auto => {
                is_interactive
                    && !is_set("NO_COLOR")
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
            Color::Always => true,
            Color::Never => false,
        };
        let style = Style {
            color,
            time: options.time.unwrap_or(is_interactive),
        };
        let log = options.log.as_deref().map(Log::open).transpose()?;
        let shown = Mutex::new(Shown {
            day: Day::today(),
            log,
            room: None,
        });
        Ok(Terminal {
            is_interactive,
            style,
            options,
            shown,
            editor: OnceLock::new(),
            people: Arc::default(),
        })
    }

    /// Whether a person sits there.
    pub fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    /// Who the client has heard of.
    pub fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock()
    }

    /// From here on lines are edited where that can be, until what is returned is dropped: the terminal is then as it was before.
    /// What was said there before, as far as the log has it, comes first.
    pub fn enter(&self, room: Conversation) -> impl Drop {
        let mut shown = self.shown.lock();
        let earlier = shown
            .log
            .as_mut()
            .map_or(Ok(Vec::new()), |log| log.earlier(&harmless(&room.name)));
        for line in
            earlier.unwrap_or_else(|error| vec![format!("The log cannot be read: {error}.")])
        {
            self.write(self.style.quiet(&format!("earlier: {}", harmless(&line))));
        }
        shown.room = Some(harmless(&room.name));
        drop(shown);
        let editor = if self.is_interactive {
            Editor::start(
                room,
                Arc::clone(&self.people),
                self.options.history.clone(),
                self.style.color,
            )
        } else {
            None
        };
        Visit(editor.map(|editor| Arc::clone(self.editor.get_or_init(|| Arc::new(editor)))))
    }

    /// The program is about to end without coming back from where it entered: the terminal is as it was before.
    pub fn end(&self) {
        if let Some(editor) = self.editor.get() {
            editor.end();
        }
    }

    /// Shows what the server passed on: a line that somebody said, stamped or not, or a notice of its own.
    pub fn hear(&self, line: &str) {
        match (StampedLine::parse(line), line.split_once(": ")) {
            (Some(stamped), _) => self.hear_stamped(&format!("[{}] ", stamped.time), stamped),
            (None, Some((PYCHAT, notice))) => {
                self.show(line);
                let advice = self.people().learn(notice);
                if let (true, Some(advice)) = (self.is_interactive, advice) {
                    self.show(&advice);
                }
            }
            (None, Some((name, text))) => self.put(None, &self.talk(name, text), line),
            (None, None) => self.show(line),
        }
    }

    /// Shows a line that was said before the person came, at this time, in seconds since 1970; where nobody sits there, as any other.
    pub fn hear_earlier(&self, line: &str, said_at: u64) {
        let said_at = i64::try_from(said_at)
            .ok()
            .and_then(|said_at| DateTime::from_timestamp(said_at, 0));
        // A date that no calendar has is none, nor is one to come.
        let said_at = said_at.filter(|said_at| *said_at <= Local::now());
        match (StampedLine::parse(line), line.split_once(": "), said_at) {
            (None, Some((name, text)), Some(said_at)) if self.is_interactive && name != PYCHAT => {
                let said_at = said_at.with_timezone(&Local).naive_local();
                let is_today = said_at.date() == machine::local_time().date();
                let minute = minute(said_at);
                let time = if is_today {
                    minute
                } else {
                    format!("{} {minute}", said_at.date())
                };
                self.put(
                    Some(&time),
                    &format!(
                        "{} {}",
                        self.style.quiet("(earlier)"),
                        self.talk(name, text)
                    ),
                    line,
                );
            }
            _ => self.hear(line),
        }
    }

    /// Shows a line that brings its own time, which stands in front of it as `head` where lines have no time.
    pub fn hear_stamped(&self, head: &str, line: StampedLine) {
        let StampedLine { time, name, text } = line;
        let (talk, plain) = (self.talk(name, text), format!("{name}: {text}"));
        if self.style.time {
            self.put(time.get(..5), &talk, &plain)
        } else {
            self.put(None, &format!("{head}{talk}"), &plain)
        }
    }

    /// The person said this, and has it before the eyes: it is for the log.
    pub fn said(&self, text: &str) {
        let line = format!("{}: {text}", self.people().me);
        self.log(&mut self.shown.lock(), &line);
    }

    /// How a line of talk looks.
    fn talk(&self, name: &str, text: &str) -> String {
        let (name, text) = (harmless(name), harmless(text));
        let is_mention = style::mentions(&text, &self.people().me);
        let bell = if is_mention && self.options.bell && self.is_interactive {
            "\x07"
        } else {
            ""
        };
        let text = if is_mention {
            self.style.loud(&text)
        } else {
            text
        };
        format!("{}: {text}{bell}", self.style.name(&name))
    }

    /// Shows a list of names.
    pub fn list(&self, title: &str, names: &BTreeSet<String>) {
        if names.is_empty() {
            return self.show(&format!("{title}: nobody"));
        }
        let admin = self.people().admin.clone().filter(|_| self.is_interactive);
        let mark = |name: &String| {
            if admin.as_ref() == Some(name) {
                format!("{name} (admin)")
            } else {
                name.clone()
            }
        };
        let list = names.iter().map(mark).collect::<Vec<_>>().join(", ");
        if self.is_interactive {
            self.show(&format!("{title} ({}): {list}", names.len()))
        } else {
            self.show(&format!("{title}: {list}"))
        }
    }

    /// Shows a notice. What is dangerous to a terminal is made harmless.
    pub fn show(&self, line: &str) {
        self.put(None, &self.style.quiet(&harmless(line)), line);
    }

    /// Puts out a line that is harmless, with its time or the present one, and its plain form into the log.
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
        if let Shown {
            log: Some(log),
            room: Some(room),
            ..
        } = shown
        {
            if let Err(error) = log.write(room, &harmless(line)) {
                self.write(format!("The log cannot be written any more: {error}."));
                shown.log = None;
            }
        }
    }

    /// How long a file may take until its progress is shown, again and again, in seconds; where a line cannot be replaced, less often.
    fn progress_time(&self) -> u64 {
        match (self.is_interactive, self.editor.get()) {
            (true, Some(_)) => 1,
            (true, None) => 10,
            (false, _) => u64::MAX,
        }
    }

    /// Shows how far a file has come, in the place of the line that said so before, if that is the last one.
    fn show_progress(&self, line: &str) {
        match self.editor.get() {
            Some(editor) => {
                editor.show_progress(|columns| self.style.quiet(style::cut(line, columns)))
            }
            None => self.show(line),
        }
    }

    fn write(&self, line: String) {
        match self.editor.get() {
            Some(editor) => editor.show(line),
            None => print(&line),
        }
    }

    /// Asks for a line; `None` at the end of the input. The question is shown to a person only.
    pub fn ask(&self, question: &str) -> Option<String> {
        if self.is_interactive && self.editor.get().is_none() {
            write(&format!("{question}: "));
        }
        self.read_line()
    }

    /// A name as given, or as asked for until there is one: a person is asked again until it is legal.
    ///
    /// # Errors
    /// The name breaks a rule, and there is no person to be asked again; or the input has ended.
    pub fn name<T>(
        &self,
        question: &str,
        given: Option<String>,
        parse: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, NameError> {
        if let Some(given) = given {
            return parse(given.trim());
        }
        while let Some(answer) = self.ask(question) {
            match parse(answer.trim()) {
                Err(error) if self.is_interactive => self.show(&error.to_string()),
                Err(_) if answer.trim().is_empty() => {}
                result => return result,
            }
        }
        Err(NameError::new(format!(
            "the input ended before the {question} was given; give it as a line, or as an option"
        )))
    }

    /// Reads the next line, without its end; `None` at the end of the input. What is not UTF-8 is replaced.
    pub fn read_line(&self) -> Option<String> {
        if let Some(editor) = self.editor.get() {
            return editor.next_line();
        }
        let mut bytes = Vec::new();
        match io::stdin().lock().read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&bytes);
        Some(line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// Ends the editing when it is dropped.
struct Visit(Option<Arc<Editor>>);

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(editor) = &self.0 {
            editor.end();
        }
    }
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
    // Nobody is left to be told that nobody listens.
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
