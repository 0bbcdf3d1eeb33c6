//! The face that a client sees in place of a terminal: what the client says becomes messages to the pages, and what is typed on a page comes
//! back to the client.
//!
//! Who is here, and who asks to join, a page asks for with commands that nobody typed. The answer goes into the lists at the side of all
//! pages, and not among the lines.

use std::io;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Local, Utc};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

use super::pages::{Pages, list, message};
use crate::machine;
use crate::screen::{
    Connection, Conversation, Event, Meaning, NOT_TAKEN, OnTyped, Order, Screen, Standing, Trust,
    When,
};
use crate::terminal::style::mentions;
use crate::terminal::wording::{Reader, Row};

/// How long a client that was left may take to say goodbye, before the next one starts or the program ends.
const GOODBYE_TIME: Duration = Duration::from_secs(3);

/// A file that has made no progress for this time is not on its way any more.
const STALLED: Duration = Duration::from_secs(10);

/// After this time without an answer, a list is taken for one that the person asked for.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How many received files can still be saved from a page.
const MAX_FILES: usize = 1000;

/// What one client shows, from its start until the person leaves. See the module's page.
#[derive(Default)]
pub(super) struct Face {
    /// What shows it. When the person has left, these are pages that nobody sees.
    pages: Mutex<Arc<Pages>>,
    state: Mutex<State>,
    /// Notified when the client has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// The client is here: the person has not left, and it has not failed before it joined.
    is_here: bool,
    is_running: bool,
    conversation: Option<Conversation>,
    /// The name of the person.
    me: String,
    typed: Option<OnTyped>,
    /// The next line that is typed is an answer.
    is_asked: bool,
    /// Where the files lie that came from pages.
    folders: Vec<TempDir>,
    /// What the pages show of the connection.
    stage: &'static str,
    /// The title of the list that a page asked for by itself, and when it did.
    asked: Option<(String, Instant)>,
    /// When a file made progress last.
    progress_at: Option<Instant>,
    /// The files that were received.
    files: Vec<PathBuf>,
}

impl Face {
    /// For a client that starts now.
    pub(super) fn new(pages: &Arc<Pages>) -> Arc<Face> {
        pages.set(message("state", &[&"connecting"]));
        let face = Arc::<Face>::default();
        *face.pages.lock() = Arc::clone(pages);
        let state = &mut *face.state.lock();
        (state.is_here, state.is_running) = (true, true);
        Arc::clone(&face)
    }

    /// Whether the person is here.
    pub(super) fn is_here(&self) -> bool {
        self.state.lock().is_here
    }

    /// Whether a file is on its way.
    pub(super) fn is_busy(&self) -> bool {
        let progress_at = self.state.lock().progress_at;
        progress_at.is_some_and(|at| at.elapsed() < STALLED)
    }

    /// The client has ended like this. What was said stays to be read. If it never joined, the form shows why.
    pub(super) fn over(&self, ended: Result<(), String>) {
        self.pages.lock().set(message("state", &[&"ended"]));
        let mut state = self.state.lock();
        let has_joined = state.conversation.take().is_some();
        (state.is_running, state.is_here) = (false, state.is_here && has_joined);
        drop(state);
        self.ended.notify_all();
        match ended {
            Err(error) if has_joined => self.notice(&format!("The conversation is over: {error}.")),
            Err(error) => {
                let is_secret = [" secret than your file", "your secret", "has no secret"];
                let is_secret = is_secret.iter().any(|words| error.contains(words));
                let is_secret = is_secret || error.starts_with("the server is closed: ");
                let field = if is_secret { "secret" } else { "server" };
                let error = for_page(&error);
                self.pages.lock().send(list("error", [field, &error]));
            }
            Ok(()) => {}
        }
    }

    /// Waits until the client has ended, but not for ever.
    pub(super) fn wait_until_ended(&self) {
        let runs = |state: &mut State| state.is_running;
        let mut state = self.state.lock();
        self.ended.wait_while_for(&mut state, runs, GOODBYE_TIME);
        state.folders.clear();
    }

    /// Hands a typed line to the client.
    pub(super) fn say(&self, line: String) {
        let typed = self.state.lock().typed.clone();
        let meaning = typed.map_or(Meaning::Other, |typed| typed(&line));
        self.state.lock().is_asked = matches!(meaning, Meaning::Asks(_));
        if meaning == Meaning::NotTaken {
            self.notice(NOT_TAKEN);
        }
    }

    /// Stops the file that is on its way.
    pub(super) fn stop(&self) {
        let state = self.state.lock();
        let stop = state.conversation.as_ref().map(|it| Arc::clone(&it.stop));
        drop(state);
        // If nothing is on its way any more, there is nothing to be done.
        let _ = stop.map(|stop| stop());
    }

    /// Leaves politely, as if the input had ended. What the client still does, nobody sees.
    pub(super) fn leave(&self) {
        *self.pages.lock() = Arc::default();
        let mut state = self.state.lock();
        (state.is_here, state.typed) = (false, None);
        let leave = state.conversation.as_ref().map(|it| Arc::clone(&it.leave));
        let is_lost = !matches!(state.stage, "connected" | "waiting");
        drop(state);
        if let Some(leave) = leave.filter(|_| is_lost) {
            // There is nobody to say goodbye to, and a line may wait for a connection.
            leave();
        }
    }

    /// Shares a file that has come from a page. It goes with the conversation.
    pub(super) fn share(&self, (line, folder): (String, TempDir)) {
        self.state.lock().folders.push(folder);
        self.say(line);
    }

    /// The path of a received file.
    pub(super) fn file(&self, number: &str) -> Option<PathBuf> {
        let number: usize = number.parse().ok()?;
        self.state.lock().files.get(number).cloned()
    }

    /// Shows a sentence of ours.
    pub(super) fn notice(&self, text: &str) {
        self.show_rows(Event::Notice(text.to_owned()));
    }

    /// Asks the server for a list that nobody typed a command for. If another one is due, or the person is to answer something, the page
    /// asks again later.
    pub(super) fn ask(&self, command: &str) {
        let mut state = self.state.lock();
        let is_due = |(_, at): &(String, Instant)| at.elapsed() < ANSWER_TIME;
        let is_busy = state.is_asked || state.asked.as_ref().is_some_and(is_due);
        if state.stage == "connected" && !is_busy {
            let title = command.trim_start_matches('/').to_owned();
            state.asked = Some((title, Instant::now()));
            drop(state);
            self.say(command.to_owned());
        }
    }

    /// Shows what happened. `told` is `private` if only the person hears it.
    fn show_event(&self, event: Event, told: &str) {
        let how = |is_earlier| if is_earlier { "earlier" } else { told };
        match event {
            Event::Sealed {
                who,
                when,
                order,
                is_earlier,
                text,
            } => {
                // Where the clock shows another time, the mark is what it shows.
                let (at, mark) = match when {
                    When::Date(date) => (Some(date.timestamp()), String::new()),
                    When::Time { time, zone } => match zone {
                        None => (today_at(&time), String::new()),
                        Some(zone) => (None, format!("{time} UTC{zone}")),
                    },
                };
                let mark = match order {
                    Order::Next => mark.as_str(),
                    Order::Repeated => "repeated",
                    Order::Late => "late or repeated",
                };
                self.line(at, who.raw(), mark, how(is_earlier), text.raw());
            }
            Event::Unsealed {
                who,
                earlier,
                text,
                trust,
            } => {
                let is_unproven = trust == Trust::Unproven;
                let mark = if is_unproven { "not sealed" } else { "" };
                // A time to come is not taken for an earlier one.
                let at = earlier.and_then(|at| i64::try_from(at).ok());
                let at = at.filter(|at| *at <= now());
                self.line(at, who.raw(), mark, how(at.is_some()), text.raw());
            }
            Event::Own { said, .. } => {
                let me = self.state.lock().me.clone();
                let (how, mark) = match said.to {
                    Some(to) => ("own private", format!("to {to}")),
                    None => ("own", String::new()),
                };
                self.line(None, &me, &mark, how, &said.text);
            }
            Event::Progress(progress) => {
                self.state.lock().progress_at = Some(Instant::now());
                let words = progress.sentence();
                let (title, n_done, len) = (progress.title, progress.n_done, progress.len);
                let transfer = message("transfer", &[&title, &n_done, &len, &words]);
                self.pages.lock().send(transfer);
            }
            Event::Received(ref received) => self.received(&received.path.clone(), event),
            Event::Offered(offered) => {
                let text = offered.sentence();
                let offer = message("offer", &[&now(), &offered.name, &text]);
                self.pages.lock().show(offer);
            }
            Event::Names {
                title,
                names,
                admin,
            } if self.is_answer(title) => {
                let fields = iter::once(admin.unwrap_or_default()).chain(names);
                self.pages.lock().set(list(title, fields));
            }
            Event::SealsWith(file) => {
                let file = file.as_deref().unwrap_or("your room key");
                self.notice(&format!(
                    "What you say is sealed with {file}. What is not sealed is marked."
                ));
            }
            event => {
                if let Event::Connection(connection) = &event {
                    self.connection(connection);
                }
                if let Event::Requested { name, .. } = &event {
                    self.pages.lock().send(message("requested", &[&name.raw()]));
                }
                self.show_rows(event);
            }
        }
    }

    /// Whether a list is the one that a page asked for by itself.
    fn is_answer(&self, title: &str) -> bool {
        let asked = &mut self.state.lock().asked;
        asked.take_if(|(asked, _)| asked == title).is_some()
    }

    /// Shows a line that somebody said, `at` some time in seconds since 1970.
    fn line(&self, at: Option<i64>, who: &str, mark: &str, how: &str, text: &str) {
        let is_loud = how.is_empty() && mentions(text, &self.state.lock().me);
        let how = if is_loud { "loud" } else { how };
        let at = at.unwrap_or_else(now);
        let line = message("line", &[&at, &who, &mark, &how, &text]);
        self.pages.lock().show(line);
    }

    /// Shows what is no line, in the words of the terminal.
    fn show_rows(&self, event: Event) {
        // Behind a request stands how to answer it in a terminal. The page has buttons.
        let is_request = matches!(event, Event::Requested { .. });
        let n_rows = if is_request { 1 } else { usize::MAX };
        for row in self.rows(event).into_iter().take(n_rows) {
            let (mark, text) = with_mark(&row);
            let notice = message("notice", &[&now(), &mark, &text]);
            self.pages.lock().show(notice);
        }
    }

    fn rows(&self, event: Event) -> Vec<Row> {
        let me = self.state.lock().me.clone();
        Reader::plain(&me).rows(event)
    }

    fn received(&self, path: &Path, event: Event) {
        let row = self.rows(event).pop().unwrap_or_default();
        let (mark, text) = with_mark(&row);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let files = &mut self.state.lock().files;
        let file = message("file", &[&now(), &files.len(), &name, &mark, &text]);
        self.pages.lock().show(file);
        if files.len() < MAX_FILES {
            files.push(path.to_owned());
        }
    }

    fn connection(&self, connection: &Connection) {
        let (stage, seconds) = match connection {
            Connection::Connecting | Connection::Deriving => ("connecting", 0),
            Connection::Joined { standing, .. } if *standing == Standing::Waiting => ("waiting", 0),
            Connection::Joined { .. } | Connection::Back | Connection::Approved => ("connected", 0),
            Connection::Lost { .. } | Connection::StillLost { .. } => ("lost", 0),
            Connection::TryingIn(time) => ("lost", time.as_secs()),
            Connection::Removed => ("ended", 0),
        };
        self.state.lock().stage = stage;
        self.pages.lock().set(message("state", &[&stage, &seconds]));
    }
}

impl Screen for Arc<Face> {
    fn show(&self, event: Event) {
        match event {
            Event::Told(event) => self.show_event(*event, "private"),
            event => self.show_event(event, ""),
        }
    }

    fn is_interactive(&self) -> bool {
        true
    }

    fn enter(&self, conversation: Conversation, typed: OnTyped) -> io::Result<()> {
        let commands = conversation.commands.iter().map(|(word, _)| *word);
        let names = [conversation.name.as_str(), &conversation.me];
        let pages = Arc::clone(&self.pages.lock());
        pages.reset();
        pages.set(list("room", names.into_iter().chain(commands)));
        pages.set(message("state", &[&"connected"]));
        let mut state = self.state.lock();
        (state.stage, state.me) = ("connected", conversation.me.clone());
        state.conversation = Some(conversation);
        // If the person has left meanwhile, no more is typed.
        state.typed = state.is_here.then_some(typed);
        Ok(())
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.typed = None;
        state.folders.clear();
    }

    fn prompt(&self, question: &str) {
        self.notice(&format!("{question}?"));
    }

    fn how_to_leave(&self) -> &'static str {
        "The button Leave leaves."
    }
}

/// The mark of a row in words, and the text without them. A page marks what the terminal marks.
fn with_mark(row: &Row) -> (&'static str, &str) {
    if row.mark.is_empty() {
        return ("", &row.logged);
    }
    let marks = [
        ("not sealed", "(not sealed) "),
        ("not shown", "(not shown) "),
        ("not opened", "(not opened) "),
    ];
    let mut marked = marks.into_iter();
    let found = marked.find_map(|(mark, words)| Some((mark, row.logged.strip_prefix(words)?)));
    found.unwrap_or(("not proven", &row.logged))
}

/// An error in the words of the page, which has no options and no commands.
pub(super) fn for_page(error: &str) -> String {
    PAGE_WORDS
        .iter()
        .fold(error.to_owned(), |text, (program, page)| {
            text.replace(program, page)
        })
}

/// What an error of the program says to those who start it with a command, and what the page says in its place.
const PAGE_WORDS: [(&str, &str); 7] = [
    (
        "and join with --secret-file FILE",
        "and choose its file here",
    ),
    (
        "Friends at a relay join with fernchat relay-client",
        "For a relay, choose Private room",
    ),
    (
        "give it with --key-file FILE, and make one with: fernchat keygen FILE",
        "choose its file, or make one below",
    ),
    (
        "get it from a friend, or make one with: fernchat keygen FILE",
        "get it from whoever has it",
    ),
    ("as fernchat keygen makes it", "as Make a new key makes it"),
    ("; fernchat keygen makes a good one", ""),
    (
        "join it with fernchat client",
        "choose Group chat to join it",
    ),
];

/// The present time, in seconds since 1970.
fn now() -> i64 {
    Utc::now().timestamp()
}

/// Today at this time of a sender's clock, `HH:MM:SS`, in seconds since 1970.
fn today_at(time: &str) -> Option<i64> {
    let today = machine::local_time().date().and_time(time.parse().ok()?);
    Some(today.and_local_timezone(Local).earliest()?.timestamp())
}
