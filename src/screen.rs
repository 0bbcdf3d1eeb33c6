//! What a person is shown and types: values, between a client and the [`Screen`] in front of the person.
//!
//! ```text
//!   client ── Event ──▶ Screen: a terminal, or the pipes in its place
//!          ◀─ lines ──
//! ```
//!
//! A client says what happened, and what it knows to be proven. The screen makes text of that, once. So no text that a peer sent is taken
//! apart to find out what it is, and none can pass for something that is proven.
//!
//! Names and words of peers have types of their own, [`Name`] and [`Words`]. They are as they came: a screen makes them harmless before it
//! shows them.
//! Invariant: a [`Event::Notice`] is a sentence of this program. It may quote a peer, but it does not begin with what a peer said.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, FixedOffset};
use parking_lot::Mutex;

use crate::wire::name::{FileName, MAX_NAME_CHARACTERS, NameError};
use crate::wire::size;

/// What stands between a client and the person. Any thread may use it.
pub trait Screen: Send + Sync {
    /// Shows what happened. Waits while the screen has too much to show.
    fn show(&self, event: Event);

    /// Whether a person is there. If not, a script reads and writes.
    fn is_interactive(&self) -> bool;

    /// Asks a question, and returns the next line. `None`: the input has ended, or nobody can be asked.
    fn ask(&self, _question: &str) -> Option<String> {
        None
    }

    /// The person has joined. From here on, what is typed and shown belongs to this conversation.
    ///
    /// # Errors
    /// The system has no thread.
    fn enter(&self, conversation: Conversation, typed: OnTyped) -> io::Result<()>;

    /// The conversation is over. All that was to be shown is shown.
    fn end(&self);

    /// A command waits for the answer to this question, which the next line is.
    fn prompt(&self, question: &str);

    /// Whether all could be shown.
    ///
    /// # Errors
    /// Why not, for the person.
    fn check_output(&self) -> Result<(), String> {
        Ok(())
    }

    /// How to leave without a command, as a sentence.
    fn how_to_leave(&self) -> &'static str;

    /// The person has left while there was no connection. A screen that is there for this conversation only ends the program.
    fn left_without_goodbye(&self) {}

    /// Takes what leaves at a signal. If it cannot be set, a signal ends the program at once.
    fn at_signal(&self, _leave: Box<dyn FnMut() + Send>) {}
}

/// Something to be shown.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A line that the room key has opened, or the key of the friends at a relay. It is the line that its sender sealed.
    Sealed {
        /// The name in the seal, which is also the name under which a server delivered the line.
        who: Name,
        /// When it was sealed, by the sender's clock.
        when: When,
        /// Its place among the lines of its sender.
        order: Order,
        /// Whether the server says that it was said before the person joined.
        is_earlier: bool,
        /// What was said.
        text: Words,
    },
    /// A line that is not sealed. Everybody on the way could read it, or make it up.
    Unsealed {
        /// The name under which the server delivered it.
        who: Name,
        /// If it was said before the person joined: when, by the server's clock, in seconds since 1970.
        earlier: Option<u64>,
        /// What was said.
        text: Words,
        /// Whether there is a room key here.
        trust: Trust,
    },
    /// A line that is sealed, and cannot be shown.
    NotOpened {
        /// The name under which the server delivered it.
        who: Name,
        /// Why it cannot be shown.
        why: NotOpened,
    },
    /// A line that only the person hears. What it is, the event in it says.
    Told(Box<Event>),
    /// A line that the person said. A person who typed it has seen it, unless it is for one member.
    Own {
        /// What the person said, and to whom.
        said: Said,
        /// If it is to be shown to a script, too: the time in it, and the name.
        echo: Option<(String, &'static str)>,
    },
    /// What a server says in its own name, or a text without a name.
    Unsigned {
        /// What it says.
        text: Words,
        /// Whether there is a key here by which the person knows what is proven.
        trust: Trust,
    },
    /// A sentence of this program.
    Notice(String),
    /// A line of help, which happened at no time.
    Help(String),
    /// What the person says is sealed with the room key in this file, if the client knows which it is.
    SealsWith(Option<String>),
    /// Somebody asks to join the group.
    Requested {
        /// Who.
        name: Name,
        /// How the server knows that it is the same person as before.
        proof: Proof,
        /// Whether the person can answer the request.
        right: Right,
        /// Whether there is a room key here.
        trust: Trust,
    },
    /// What became of a member, as the server says.
    News {
        /// Who.
        name: Name,
        /// What.
        what: News,
        /// Who did it, as far as the client knows.
        by: Option<Name>,
        /// Whether there is a room key here.
        trust: Trust,
    },
    /// A list of names that the person asked for.
    Names {
        /// What they are, such as `members`.
        title: &'static str,
        /// The names.
        names: BTreeSet<String>,
        /// The admin, if the client knows who it is.
        admin: Option<String>,
    },
    /// What became of the connection.
    Connection(Connection),
    /// A file that the person is asked about.
    Offered(Offered),
    /// How far a file has come.
    Progress(Progress),
    /// A file was received.
    Received(Received),
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The member is online now.
    Joined,
    /// The member is not online any more.
    Left,
    /// The admin has removed the member from the group.
    Removed,
    /// The member is the admin now.
    Admin,
}

/// A name that a peer says, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// At most as long as a name may be: only a Python server or a hostile one lets somebody have a longer one.
    pub fn of_peer(name: &str) -> Name {
        Name(shortened(name, MAX_NAME_CHARACTERS).into_owned())
    }

    /// As it came. Not for a terminal.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

/// What a peer says, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// All of it.
    pub fn of_peer(text: impl Into<String>) -> Words {
        Words(text.into())
    }

    /// As it came. Not for a terminal.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

/// Whether the person has a key by which some of what is shown is proven. Then all that is not proven is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// There is none: nothing that is shown is proven.
    NoKey,
    /// There is one, and this is not proven by it.
    Unproven,
}

impl Trust {
    /// With this key, or without one, for something that the key has not opened.
    pub fn of<K>(key: Option<K>) -> Trust {
        key.map_or(Trust::NoKey, |_| Trust::Unproven)
    }
}

/// When a line was sealed, by its sender's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At a relay.
    Time {
        /// `HH:MM:SS`, the sender's local time.
        time: String,
        /// The sender's time zone, if it is not ours.
        zone: Option<FixedOffset>,
    },
    /// Under a room key.
    Date(DateTime<FixedOffset>),
}

/// The place of a sealed line among those of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Behind all that have come, as far as the client knows.
    Next,
    /// It is the last one once more.
    Repeated,
    /// Others that were said after it have come before.
    Late,
}

/// Why a sealed line or a sealed file cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// There is no room key here.
    NoKey,
    /// The room key does not open it.
    AnotherKey,
    /// It was sealed for another group.
    AnotherGroup(Name),
    /// It was sealed under another name.
    AnotherName(Name),
    /// It was sealed as something else: a file in place of a line, or a line in place of a file.
    AnotherKind,
    /// It was sealed for one member and came to all or to another one, or the other way round.
    AnotherReader,
    /// It was sealed under another file name.
    AnotherFile,
    /// It has no form that is known here.
    NoForm,
    /// It could not be stored.
    Disk,
}

/// How a server knows that a request comes from the same person as before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By the key with this fingerprint.
    Key(Name),
    /// By nothing. It came from this address.
    Address(Name),
    /// By nothing.
    Nothing,
    /// The server does not say: it is a Python server.
    Unknown,
}

/// Whether the person can answer a request to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// The person administers the group.
    Admin,
    /// Somebody else does.
    Member,
    /// The client does not know.
    Unknown,
}

/// What a person is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The group is new, and the person administers it.
    Admin,
    /// The person is a member.
    Member,
    /// An admin must approve the person.
    Waiting,
}

/// What became of the connection to a chat server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The client connects and joins.
    Connecting,
    /// The client derives the key of a closed server, which takes its time.
    Deriving,
    /// The person is in the group, or waits.
    Joined {
        /// The group.
        group: String,
        /// What the person is there.
        standing: Standing,
        /// Whether this is another connection after one that was lost.
        is_again: bool,
    },
    /// There is a connection to the relay again.
    Back,
    /// An admin has let the person in.
    Approved,
    /// It is lost, and the client tries again.
    Lost {
        /// Why, in words that may be a server's.
        why: String,
    },
    /// Another try failed, for another reason than the one before.
    StillLost {
        /// Why, in words that may be a server's.
        why: String,
    },
    /// The next try comes after this time.
    TryingIn(Duration),
    /// The admin has removed the person.
    Removed,
}

impl Connection {
    /// What the person reads of it. `None`: nothing, where lines stand below each other for good.
    pub fn sentence(&self) -> Option<String> {
        Some(match self {
            Connection::Connecting | Connection::TryingIn(_) => return None,
            Connection::Deriving => {
                "Deriving the key from the secret; on an old machine this takes some seconds."
                    .to_owned()
            }
            Connection::Joined {
                group,
                standing,
                is_again,
            } => match (standing, is_again) {
                (Standing::Admin, false) => {
                    format!(
                        "The group {group} is new: nobody was here before you. You made it, and you administer it. /help lists the commands."
                    )
                }
                (Standing::Member, false) => {
                    format!("You are in the group {group}. /help lists the commands.")
                }
                (Standing::Waiting, false) => {
                    format!("You wait for the admin of {group} to approve you. /quit leaves.")
                }
                (Standing::Admin, true) => format!(
                    "Connected again, to a server that has forgotten the group {group}: you administer it now."
                ),
                (Standing::Member, true) => {
                    format!("Connected again: you are in the group {group}.")
                }
                (Standing::Waiting, true) => format!(
                    "Connected again, but you wait again for the admin of {group} to approve you. /quit leaves."
                ),
            },
            Connection::Back => "Connected again.".to_owned(),
            Connection::Approved => {
                "You have been approved: say hello. /help lists the commands.".to_owned()
            }
            Connection::Lost { why } => format!("Connection lost: {why}; trying again."),
            Connection::StillLost { why } => format!("Still no connection: {why}"),
            Connection::Removed => "You have been removed from the group.".to_owned(),
        })
    }
}

/// A file that is on offer until the person accepts or declines it.
#[derive(Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: FileName,
    /// Whose it is.
    pub from: Name,
    /// Its size in bytes.
    pub size: u64,
    /// How many bytes are free where it would be stored, if the system says so.
    pub free: Option<u64>,
}

impl Offered {
    /// What the person reads of it, in front of how to answer.
    pub fn sentence(&self) -> String {
        let free = self.free.map(size::in_words);
        let free = free.map_or(String::new(), |free| format!(", and {free} are free"));
        let (name, from, size) = (&self.name, &self.from.0, size::in_words(self.size));
        format!("A file is on offer from {from}, {name}: it has {size}{free}.")
    }
}

/// How far a file has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The file's name, and whose it is.
    pub title: String,
    /// How many bytes of the body were through before: the transfer goes on after a broken connection.
    pub n_before: u64,
    /// How many bytes of the body are through.
    pub n_done: u64,
    /// How many it has.
    pub len: u64,
    /// How long that took since then.
    pub elapsed: Duration,
}

impl Progress {
    /// Percent, bytes of the file in a second, and the time left. A body has four bytes for three of the file.
    pub fn sentence(&self) -> String {
        let n_new = self.n_done.saturating_sub(self.n_before);
        let rate = n_new as f64 / self.elapsed.as_secs_f64().max(0.001);
        let left = ((self.len - self.n_done.min(self.len)) as f64 / rate.max(1.0)) as u64;
        let percent = self.n_done as u128 * 100 / u128::from(self.len.max(1));
        format!(
            "{percent} %, {}/s, {}:{:02} left: {}",
            size::in_words((rate * 0.75) as u64),
            left / 60,
            left % 60,
            self.title
        )
    }
}

/// A file that was received.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// Its name, and whose it is.
    pub title: String,
    /// Its size in bytes, if the disk says so.
    pub size: Option<u64>,
    /// Where it lies.
    pub path: PathBuf,
    /// What its seal is.
    pub seal: FileSeal,
}

/// The seal of a received file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSeal {
    /// It has none.
    Missing(Trust),
    /// The room key has opened it. It is the file that its sender sealed.
    Opened {
        /// The sender.
        who: Name,
        /// When it was sealed, by the sender's clock.
        when: DateTime<FixedOffset>,
    },
    /// It is still sealed.
    NotOpened(NotOpened),
}

/// Tells a screen how far a file has come, at most once a second, and only of a file that takes longer than that.
pub(crate) struct Transfer {
    progress: Progress,
    start: Instant,
    /// When it was told last, in seconds after the start.
    told_at: u64,
}

impl Transfer {
    /// A file with a body of this length begins. `n_before` bytes of it are through already.
    pub(crate) fn begin(title: String, n_before: u64, len: u64) -> Transfer {
        Transfer {
            progress: Progress {
                title,
                n_before,
                n_done: n_before,
                len,
                elapsed: Duration::ZERO,
            },
            start: Instant::now(),
            told_at: 0,
        }
    }

    /// `n_done` bytes of the body are through.
    pub(crate) fn reached(&mut self, screen: &dyn Screen, n_done: u64) {
        let elapsed = self.start.elapsed();
        let is_last = n_done == self.progress.len && self.told_at > 0;
        if is_last || elapsed.as_secs() > self.told_at {
            self.told_at = elapsed.as_secs();
            self.progress.n_done = n_done;
            self.progress.elapsed = elapsed;
            screen.show(Event::Progress(self.progress.clone()));
        }
    }
}

/// Where the person is, and what can be typed there.
pub struct Conversation {
    /// The group, or the host of a relay.
    pub name: String,
    /// What the person reads in front of what is typed.
    pub prompt: String,
    /// The name of the person.
    pub me: String,
    /// Who is there.
    pub names: Arc<Mutex<Names>>,
    /// The words that are commands, and what each needs.
    pub commands: Vec<(&'static str, Need)>,
    /// Stops what is going on. Returns whether something was.
    pub stop: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Leaves without a command, or because nobody reads what is shown. A thread of the screen calls it.
    pub leave: Arc<dyn Fn() + Send + Sync>,
}

impl Conversation {
    /// Enters the conversation. When the returned value is dropped, it is over.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn enter(self, typed: OnTyped, screen: &dyn Screen) -> io::Result<impl Drop> {
        struct Visit<'a>(&'a dyn Screen);
        impl Drop for Visit<'_> {
            fn drop(&mut self) {
                self.0.end();
            }
        }

        screen.enter(self, typed)?;
        Ok(Visit(screen))
    }
}

/// Takes each text that is typed, without its end, and returns what the screen does at once. It is dropped when the input has ended.
pub(crate) type OnTyped = Arc<dyn Fn(&str) -> Meaning + Send + Sync>;

/// What is said of a text for which [`Meaning::NotTaken`] is the answer.
#[cfg(any(feature = "editor", feature = "window"))]
pub(crate) const NOT_TAKEN: &str = "Not sent: too many lines wait already.";

/// What a screen does at once with a text that has been typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// These lines are said: they are shown as everybody's are.
    Said(Vec<Said>),
    /// The next line is the answer to this.
    Asks(Need),
    /// The screen is cleared.
    Clear,
    /// Nothing.
    Other,
    /// Nothing comes of the text: too many wait already, or the client has left.
    NotTaken,
}

/// A line that the person says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The one member who is told it. `None`: everybody is.
    pub to: Option<String>,
    /// What is said.
    pub text: String,
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
    /// Whether it is to be done: yes or no.
    Yes(&'static str),
}

impl Need {
    /// What a command needs. `Nothing`: the word is no command, either.
    #[cfg_attr(not(feature = "editor"), allow(dead_code))] // the editor asks for it
    pub fn of(word: &str, commands: &[(&str, Need)]) -> Need {
        let command = commands.iter().find(|(command, _)| *command == word);
        command.map_or(Need::Nothing, |(_, need)| *need)
    }

    /// The question for it.
    pub fn question(self) -> Option<&'static str> {
        match self {
            Need::Nothing => None,
            Need::Request(question)
            | Need::Member(question)
            | Need::File(question)
            | Need::Yes(question) => Some(question),
        }
    }
}

/// The names that the client has heard of, and whether the person still waits. The client keeps them up to date.
#[derive(Default)]
pub struct Names {
    /// The members.
    pub members: BTreeSet<String>,
    /// Those who asked to join.
    pub requests: BTreeSet<String>,
    /// The admin, if the client knows who it is.
    pub admin: Option<String>,
    /// The member who told the person something last, which nobody else heard.
    pub teller: Option<String>,
    /// The names whose lines are not shown.
    pub ignored: BTreeSet<String>,
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

    /// Somebody says something, so that is a member. Returns whether the person wants to hear it.
    pub(crate) fn hears(&mut self, name: &str) -> bool {
        if self.ignored.contains(name) {
            return false;
        }
        self.add_member(name);
        true
    }

    /// Learns from the server's answer to joining what the person, who is called `me`, is in the group.
    pub(crate) fn joined(&mut self, standing: Standing, me: &str) {
        self.is_waiting = standing == Standing::Waiting;
        match standing {
            Standing::Admin => self.admin = Some(me.to_owned()),
            // A server that was started again has another admin than before.
            Standing::Waiting => self.admin = None,
            Standing::Member => {}
        }
    }

    /// Whether the person, who is called `me`, can answer a request.
    pub(crate) fn right(&self, me: &str) -> Right {
        match &self.admin {
            Some(admin) if admin == me => Right::Admin,
            Some(_) => Right::Member,
            None => Right::Unknown,
        }
    }

    /// Learns that somebody is not a member any more.
    pub fn remove_member(&mut self, name: &str) {
        self.members.remove(name);
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

/// The name as it stands in a list. One that could pass for several, or for the admin's, stands in quotes.
pub(crate) fn in_list(name: &str) -> Cow<'_, str> {
    if name.contains([',', ';', '(', '"']) {
        format!("\"{}\"", name.replace('"', "\\\"")).into()
    } else {
        name.into()
    }
}

/// The most characters that are shown of what a server says in its own name, such as a notice or the reason of a refusal.
pub(crate) const MAX_WORDS: usize = 1000;

/// The text. If it has more than `most` characters, its beginning and `...`.
pub(crate) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}...", &text[..end]).into(),
    }
}

/// Parses the name that was given as an option, or else asks for one. A person is asked until the name is legal. With Enter alone a person
/// takes the name that is offered.
///
/// # Errors
/// The name breaks a rule, and no person can be asked again; or the input has ended.
pub(crate) fn ask_name<T, E: Display>(
    screen: &dyn Screen,
    question: &str,
    given: Option<String>,
    offered: Option<&str>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, NameError> {
    let parse = |text: &str| parse(text).map_err(|error| NameError(error.to_string()));
    if let Some(given) = given {
        return parse(given.trim());
    }
    let offered = offered.filter(|_| screen.is_interactive());
    let asked = match offered {
        Some(offered) => format!("{question} [{offered}]"),
        None => question.to_owned(),
    };
    while let Some(answer) = screen.ask(&asked) {
        let answer = match (answer.trim(), offered) {
            ("", Some(offered)) => offered,
            (answer, _) => answer,
        };
        match parse(answer) {
            Err(error) if screen.is_interactive() => screen.show(Event::Notice(error.to_string())),
            Err(_) if answer.is_empty() => {}
            result => return result,
        }
    }
    Err(NameError(format!(
        "the input ended before the {question} was given; give it as a line, or as an option"
    )))
}

/// In the place of a screen, for tests: remembers what it is shown. Nothing is typed.
#[cfg(test)]
#[derive(Default)]
pub struct Recorder(pub(crate) Mutex<Vec<Event>>);

#[cfg(test)]
impl Screen for Recorder {
    fn show(&self, event: Event) {
        self.0.lock().push(event);
    }

    fn is_interactive(&self) -> bool {
        false
    }

    fn enter(&self, _: Conversation, _: OnTyped) -> io::Result<()> {
        Ok(())
    }

    fn end(&self) {}

    fn prompt(&self, _: &str) {}

    fn how_to_leave(&self) -> &'static str {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shortened_beyond_its_limit_only() {
        for (text, short) in [("", ""), ("語語", "語語"), ("語語x", "語語...")] {
            assert_eq!(shortened(text, 2), short);
        }
    }

    #[test]
    fn the_admin_can_answer_a_request() {
        let mut names = Names::default();
        assert_eq!(names.right("alice"), Right::Unknown);
        names.admin = Some("carol".into());
        assert_eq!(names.right("alice"), Right::Member);
        names.admin = Some("alice".into());
        assert_eq!(names.right("alice"), Right::Admin);
        names.add_request("bob");
        names.add_member("bob");
        assert!(names.requests.is_empty());
    }

    #[test]
    fn who_waits_again_knows_no_admin_any_more() {
        let mut names = Names::default();
        names.joined(Standing::Admin, "alice");
        names.joined(Standing::Member, "alice");
        assert_eq!(names.admin.as_deref(), Some("alice"));
        names.joined(Standing::Waiting, "alice");
        assert_eq!(names.admin, None);
    }

    #[test]
    fn a_server_that_names_people_without_end_costs_no_more_than_a_limit() {
        let mut names = Names::default();
        for n in 0..=MAX_NAMES {
            names.add_member(&n.to_string());
            names.add_request(&n.to_string());
        }
        assert_eq!(names.members.len(), MAX_NAMES);
        assert_eq!(names.requests.len(), MAX_NAMES);
    }

    #[test]
    fn percent_rate_and_time_left_are_those_of_the_file() {
        for (n_done, len, seconds, expected) in [
            (4 << 20, 40 << 20, 1, "10 %, 3 MiB/s, 0:09 left: plan"),
            (1 << 20, 1 << 30, 2, "0 %, 384 KiB/s, 34:06 left: plan"),
            (40 << 20, 40 << 20, 10, "100 %, 3 MiB/s, 0:00 left: plan"),
            (0, 0, 0, "0 %, 0 bytes/s, 0:00 left: plan"),
        ] {
            let progress = Progress {
                title: "plan".into(),
                n_before: 0,
                n_done,
                len,
                elapsed: Duration::from_secs(seconds),
            };
            assert_eq!(progress.sentence(), expected);
        }
    }
}
