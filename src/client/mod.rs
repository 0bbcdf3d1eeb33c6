//! The group chat's client: two threads around one connection.
//!
//! ```text
//!   typed lines ─▶ sending thread: one line, one dialogue ──────────────────▶ socket
//!                     ▲ steps (channel)
//!   shown lines ◀─ receiving thread: is it the expected step, or an event? ◀─ socket
//! ```
//!
//! - [`joining`] and [`link`]: connecting, joining, and what a joined client sends through.
//! - [`sending`]: the queue of what is typed ([`typed`](crate::typed)).
//! - [`step`] and [`dialogues`]: which step is expected, and the dialogues with the server, one at a time.
//! - [`receiving`]: steps go to the sending thread, events to the person.
//! - [`upload`] and [`download`]: files, sealed or opened as a stream. [`offers`]: those that a fernchat server has for this client.
//! - [`room_key`]: lines and files that members seal for each other.
//!
//! The receiving thread is the main thread. When the connection ends for good, the program ends. The other threads are not joined: they may
//! wait for a line that nobody types.

pub(crate) mod dialogues;
pub(crate) mod download;
pub(crate) mod joining;
pub(crate) mod link;
pub(crate) mod offers;
pub(crate) mod pack;
pub(crate) mod paths;
pub(crate) mod receiving;
pub(crate) mod room_key;
pub(crate) mod sending;
pub(crate) mod step;
pub(crate) mod upload;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use log::warn;
use parking_lot::Mutex;
use thiserror::Error;

use self::joining::{Frames, join};
use self::link::Link;
use self::offers::{ASKS_ABOVE, Offers};
use self::receiving::Receiving;
use self::room_key::RoomKey;
use self::sending::Sending;
use self::upload::UploadStop;
use crate::configuration::Last;
use crate::machine::{self, TemporaryFile};
use crate::net::{
    ConnectError, MAX_RETRY_DELAY, Pauses, RECONNECT_TIMEOUT, one_word, parse_address,
};
use crate::screen::{
    Connection, Conversation, Event, MAX_WORDS, Names, Screen, Standing, Trust, Words, ask_name,
    shortened,
};
use crate::seal::{Identity, Key, Secret, random_text};
use crate::typed::{self, GROUP, Typed, Typist};
use crate::wire::command::{RefusalCode, Refused};
use crate::wire::frame::WireError;
use crate::wire::name::{GroupName, UserName};

/// How a client is set up.
#[derive(Clone, Default)]
pub struct ClientSettings {
    /// The server's host. Empty: the person is asked for the address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The user name. `None`: the person is asked for it.
    pub name: Option<String>,
    /// The group. `None`: the person is asked for it.
    pub group: Option<String>,
    /// Where received files go. Empty: at a terminal the folder that the system has for it, else the current one.
    pub downloads: PathBuf,
    /// The file with the secret of a closed server.
    pub secret_file: Option<PathBuf>,
    /// The file with the key that the group's members share, and the server does not.
    pub room_key_file: Option<PathBuf>,
    /// The largest file that is kept, in bytes. `None`: any.
    pub max_receive: Option<u64>,
    /// A longer file is asked about, in bytes. `None`: what suits the terminal. `Some(None)`: none is.
    pub asks_above: Option<Option<u64>>,
    /// The file with the user's key pair. `None`: the one in the user's configuration folder.
    pub identity: Option<PathBuf>,
    /// Whether to join again when the connection breaks.
    pub reconnect: bool,
}

/// What the threads of the client share, from one connection to the next.
pub struct Shared {
    /// How the client was started.
    pub settings: ClientSettings,
    /// The user.
    pub name: UserName,
    /// The group.
    pub group: GroupName,
    /// The user's key pair, by which a fernchat server knows the name's owner.
    pub identity: Identity,
    /// The secret of a closed server.
    pub secret: Option<Secret>,
    /// The key that the group's members share, and the server does not.
    pub room_key: Option<RoomKey>,
    /// A name for this run of the program, by which a fernchat server knows it again over another connection.
    pub run: String,
    /// The mark of the last line that arrived: where a fernchat server goes on after a broken connection.
    pub last_mark: Mutex<String>,
    /// What the client knows of the group. The screen completes names from it.
    pub names: Arc<Mutex<Names>>,
    /// The files that a fernchat server has for this client.
    pub(crate) offers: Mutex<Offers>,
    /// Whether the upload that is on its way is to be stopped.
    pub(crate) upload_stop: UploadStop,
    /// What the person sees and types.
    pub screen: Box<dyn Screen>,
}

impl Shared {
    /// What a script's line means.
    pub(crate) fn script_means(&self, line: &str) -> Typed {
        let typist = Typist {
            commands: GROUP,
            me: self.name.as_str(),
            names: &self.names.lock(),
        };
        typist.script_means(line)
    }

    /// Shows a notice, which is a sentence of this program.
    pub fn show(&self, notice: &str) {
        self.screen.show(Event::Notice(notice.to_owned()));
    }

    /// Shows what became of the connection.
    pub fn tell(&self, connection: Connection) {
        self.screen.show(Event::Connection(connection));
    }

    /// Whether the person has a room key, which tells what is proven.
    pub fn trust(&self) -> Trust {
        Trust::of(self.room_key.as_ref())
    }

    /// The length above which a file is asked about, in bytes, if there is one. From a pipe nobody answers.
    fn asks_above(&self) -> Option<u64> {
        let usual = self.screen.is_interactive().then_some(ASKS_ABOVE);
        self.settings.asks_above.unwrap_or(usual)
    }
}

/// Joins and chats until the user leaves or the server ends it.
///
/// # Errors
/// The settings are wrong, the server does not let the user in, or the connection ended though the user did not want it to.
pub(crate) fn run(settings: ClientSettings, screen: Box<dyn Screen>) -> Result<(), String> {
    let secret = settings.secret_file.as_deref().map(Secret::load);
    let secret = secret.transpose().map_err(|error| error.to_string())?;
    let room_key = settings.room_key_file.as_deref().map(Key::load);
    let room_key = room_key.transpose().map_err(|error| error.to_string())?;
    run_with(settings, secret, room_key, screen)
}

/// The same with this secret and this room key, whatever files the settings name.
///
/// # Errors
/// As for [`run`].
pub(crate) fn run_with(
    mut settings: ClientSettings,
    secret: Option<Secret>,
    room_key: Option<Key>,
    screen: Box<dyn Screen>,
) -> Result<(), String> {
    if settings.downloads.as_os_str().is_empty() {
        let usual = machine::downloads_folder().filter(|_| screen.is_interactive());
        settings.downloads = usual.unwrap_or_else(|| ".".into());
    }
    if screen.is_interactive() {
        // Who reads where a file lies does not see in which folder the program was started.
        let whole = std::path::absolute(&settings.downloads);
        settings.downloads = whole.unwrap_or(settings.downloads);
    }
    check_folder(&settings.downloads)?;
    let identity = identity(settings.identity.as_deref())?;
    let last = Last::read();
    if settings.host.is_empty() {
        let offered = last.server.as_deref();
        let question = match offered {
            None if screen.is_interactive() => "server (such as 192.168.1.20:8000)",
            _ => "server",
        };
        let address = ask_name(&*screen, question, None, offered, parse_address);
        let (host, port) = address.map_err(|error| error.to_string())?;
        (settings.host, settings.port) = (host, port.unwrap_or(settings.port));
    }
    let (name, offered) = (settings.name.take(), last.name.as_deref());
    let name = ask_name(&*screen, "user name", name, offered, UserName::parse);
    let name = name.map_err(|error| error.to_string())?;
    let (group, offered) = (settings.group.take(), last.group.as_deref());
    let group = ask_name(&*screen, "group", group, offered, GroupName::parse);
    let group = group.map_err(|error| error.to_string())?;
    let run = random_text();
    chat(Shared {
        settings,
        names: Arc::default(),
        identity,
        secret,
        room_key: room_key.map(|key| RoomKey::new(key, &name, &group, &run)),
        run,
        name,
        group,
        last_mark: Mutex::default(),
        offers: Mutex::default(),
        upload_stop: UploadStop::default(),
        screen,
    })
    .map_err(|error| error.to_string())
}

/// Reads the user's identity. If there is none yet, makes one. Without a folder to keep it in, it is for this run only.
fn identity(path: Option<&Path>) -> Result<Identity, String> {
    if let Some(path) = path {
        return Identity::load_or_create(path).map_err(|error| error.to_string());
    }
    let folder = machine::configuration_folder();
    let made = folder.filter(|folder| fs::create_dir_all(folder).is_ok());
    let path = made.map(|folder| folder.join("identity"));
    match path.map(|path| (path.exists(), Identity::load_or_create(&path))) {
        Some((_, Ok(identity))) => Ok(identity),
        // A file that is there must not be forgotten silently: its name would be lost.
        Some((true, Err(error))) => Err(error.to_string()),
        Some((false, Err(_))) | None => {
            warn!(
                "there is no folder to keep an identity in, so your name is proven for this run only; --identity FILE keeps it"
            );
            Ok(Identity::generate())
        }
    }
}

/// Checks that files can be received into this folder, and makes it if it is not there.
fn check_folder(folder: &Path) -> Result<(), String> {
    // If it cannot be made, the file says why. It is gone at once.
    let _ = fs::create_dir(folder);
    let file = TemporaryFile::create(folder);
    file.map(drop).map_err(|error| {
        let folder = folder.display();
        format!(
            "cannot receive files into {folder}: {error}; choose another folder with --downloads"
        )
    })
}

fn chat(shared: Shared) -> Result<(), ClientError> {
    let at_joining = Arc::new(OnceLock::<Arc<Sending>>::new());
    let at_signal = Arc::clone(&at_joining);
    let leave = Box::new(move || match at_signal.get() {
        Some(sending) => sending.leave_at_signal(),
        None => {
            // There is nobody yet to say goodbye to.
            log::logger().flush();
            std::process::exit(0)
        }
    });
    shared.screen.at_signal(leave);
    let (shared, (link, frames, standing)) = join_under_some_name(shared)?;
    let shared = &shared;
    let sending = at_joining.get_or_init(|| Arc::new(Sending::new(Arc::clone(shared))));
    if shared.screen.is_interactive() {
        let ClientSettings { host, port, .. } = &shared.settings;
        let (name, group) = (shared.name.as_str(), shared.group.as_str());
        // Without it, the next start offers nothing.
        let _ = Last::write(&one_word(host, *port), name, group);
    }
    let (at_ctrl_c, at_second_ctrl_c) = (Arc::clone(sending), Arc::clone(sending));
    let names = &shared.names;
    let (typed, lines) = typed::channel(&*shared.screen, GROUP, &shared.name, names);
    let conversation = Conversation {
        name: shared.group.to_string(),
        prompt: shared.group.to_string(),
        me: shared.name.to_string(),
        names: Arc::clone(names),
        commands: typed::words(GROUP),
        stop: Arc::new(move || at_ctrl_c.stop()),
        leave: Arc::new(move || at_second_ctrl_c.leave_at_signal()),
    };
    let visit = conversation.enter(typed, &*shared.screen);
    let _visit = visit.map_err(ClientError::NoThread)?;
    if shared.room_key.is_some() && shared.screen.is_interactive() {
        let path = shared.settings.room_key_file.as_deref();
        let file = path.and_then(Path::file_name);
        let file = file.map(|name| name.to_string_lossy().into_owned());
        shared.screen.show(Event::SealsWith(file));
    }
    let joined = |standing, is_again| Connection::Joined {
        group: shared.group.to_string(),
        standing,
        is_again,
    };
    let mut receiving = Receiving::begin(link, frames, joined(standing, false), sending);
    let sender = Arc::clone(sending);
    machine::spawn("sending", move || sender.sending_loop(lines)).map_err(ClientError::NoThread)?;
    let mut pauses = Pauses::default();
    loop {
        let joined_at = Instant::now();
        let prepare_to_rejoin = || shared.settings.reconnect && sending.disconnected();
        let Err(error) = receiving.receiving_loop();
        let error = match error {
            ClientError::Kicked => {
                shared.tell(Connection::Removed);
                return Ok(());
            }
            error if error.is_passing() && prepare_to_rejoin() => {
                let is_person = shared.screen.is_interactive();
                let patience = if is_person {
                    Duration::MAX
                } else {
                    RECONNECT_TIMEOUT
                };
                if joined_at.elapsed() > MAX_RETRY_DELAY {
                    pauses = Pauses::default();
                }
                match rejoin(sending, error, patience, &mut pauses) {
                    Ok((link, frames, standing)) => {
                        receiving = Receiving::begin(link, frames, joined(standing, true), sending);
                        continue;
                    }
                    Err(error) => error,
                }
            }
            error => error,
        };
        if sending.is_leaving() {
            return shared.screen.check_output().map_err(ClientError::Output);
        }
        return Err(error);
    }
}

/// What joining comes to: the link, what comes over it, and whether the user is a member.
type Joined = (Arc<Link>, Frames, Standing);

/// Joins. If the server refuses the name, a person is asked for another one.
fn join_under_some_name(mut shared: Shared) -> Result<(Arc<Shared>, Joined), ClientError> {
    loop {
        shared.tell(Connection::Connecting);
        if shared.screen.is_interactive() {
            let place = one_word(&shared.settings.host, shared.settings.port);
            shared.show(&format!("Connecting to {place} ..."));
        }
        let joining = Arc::new(shared);
        let refused = match join(&joining) {
            Ok(joined) => return Ok((joining, joined)),
            Err(ClientError::Refused(refused)) => refused,
            Err(error) => return Err(error),
        };
        let is_name = matches!(
            refused.code,
            Some(RefusalCode::NameTaken | RefusalCode::BadName)
        );
        // Nobody else has it: there is no connection.
        let Some(this) =
            Arc::into_inner(joining).filter(|this| this.screen.is_interactive() && is_name)
        else {
            return Err(ClientError::Refused(refused));
        };
        shared = this;
        shared.screen.show(Event::Unsigned {
            text: Words::of_peer(format!("{}.", refused.reason)),
            trust: shared.trust(),
        });
        let name = ask_name(
            &*shared.screen,
            "another user name",
            None,
            None,
            UserName::parse,
        );
        shared.name = name.map_err(|_| ClientError::Refused(refused))?;
        if let Some(room_key) = &mut shared.room_key {
            room_key.name = shared.name.clone();
        }
    }
}

/// Joins again. Tries until a server lets this user in, a server refuses for good, the user leaves, or the time is over. Each try comes after a pause, which
/// is zero at first and grows. It goes on growing if a server lets the client in and closes at once.
fn rejoin(
    sending: &Sending,
    mut error: ClientError,
    patience: Duration,
    pauses: &mut Pauses,
) -> Result<Joined, ClientError> {
    let shared = &sending.shared;
    let why = match &error {
        ClientError::Lost(error) => error.to_string(),
        ClientError::Closed(reason) => shortened(reason, MAX_WORDS).into_owned(),
        error => error.to_string(),
    };
    let why = why.trim_end_matches('.').to_owned();
    shared.tell(Connection::Lost { why });
    let since = Instant::now();
    loop {
        let left = patience.saturating_sub(since.elapsed());
        let wait = pauses.next_pause().min(left);
        shared.tell(Connection::TryingIn(wait));
        sending.pause(wait);
        if sending.is_leaving() {
            return Err(error);
        }
        shared.tell(Connection::Connecting);
        match join(shared) {
            Ok(joined) => return Ok(joined),
            Err(now) if !now.is_passing() => return Err(now),
            // Said once, not every half minute.
            Err(now) if now.to_string() == error.to_string() => {}
            Err(now) => {
                let why = now.to_string();
                shared.tell(Connection::StillLost { why });
                error = now;
            }
        }
        if left.is_zero() {
            return Err(error);
        }
    }
}

/// Why a client failed. Shown in one line.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// The server cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A secret was given, and the server does not show that it has it. The sentence says what it says of itself, which is
    /// not proven.
    #[error(
        "{0}. Nothing was sent to it that it can read. Ask whoever runs it for the right file, or check the address; do not join without the secret"
    )]
    NoSecretThere(&'static str),
    /// No secret was given, and the server has one.
    #[error(
        "the server is closed: it takes only clients that have its secret; get the secret from whoever runs it, and join with --secret-file FILE"
    )]
    SecretMissing,
    /// The server closed the connection before it said anything, or says something else.
    #[error(
        "no chat server answers there, or it is full; is the port right? Friends at a relay join with fernchat relay-client"
    )]
    NotAChat,
    /// The server went silent while joining. This step was due.
    #[error(
        "the server does not answer: {0} did not come; try again, or ask for the server to be restarted"
    )]
    NoAnswer(&'static str),
    /// The server does not let this user in.
    #[error("the server refused: {}", shortened(&.0.reason, MAX_WORDS))]
    Refused(Refused),
    /// The server ended the connection, for this reason.
    #[error("the server closed the connection: {}", shortened(.0, MAX_WORDS))]
    Closed(String),
    /// The same user has joined with another client. To join again would end that one.
    #[error("you have joined this group with another client, so this one ends")]
    TakenOver,
    /// The admin has removed the user. That is no failure.
    #[error("removed from the group")]
    Kicked,
    /// What is shown has no reader.
    #[error("{0}")]
    Output(String),
    /// The client needs a thread, and the system has none.
    #[error(
        "the system lets this program start no thread: {0}; end other programs, or raise their limit (ulimit -u)"
    )]
    NoThread(io::Error),
    /// The connection failed, or the server broke the protocol.
    #[error("the connection to the server is lost: {0}")]
    Lost(WireError),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> ClientError {
        ClientError::Lost(error.into())
    }
}

impl From<WireError> for ClientError {
    fn from(error: WireError) -> ClientError {
        match error {
            WireError::CutOff => ClientError::Closed("it ended without a word".into()),
            other => ClientError::Lost(other),
        }
    }
}

impl ClientError {
    /// Whether a later try may succeed: the cable or the server is back, or an old connection has given up the name.
    fn is_passing(&self) -> bool {
        match self {
            ClientError::Refused(Refused { code, .. }) => {
                matches!(code, Some(RefusalCode::NameTaken | RefusalCode::Full))
            }
            ClientError::Lost(error) => matches!(error, WireError::Io(_)),
            ClientError::NoSecretThere(_)
            | ClientError::SecretMissing
            | ClientError::Kicked
            | ClientError::TakenOver
            | ClientError::Output(_)
            | ClientError::NoThread(_) => false,
            ClientError::Connect(_)
            | ClientError::NotAChat
            | ClientError::NoAnswer(_)
            | ClientError::Closed(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Recorder;

    #[test]
    fn a_client_that_finds_no_server_gives_up_when_its_patience_is_over() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let name = UserName::parse("alice").unwrap();
        let shared = Shared {
            settings: ClientSettings {
                host: "127.0.0.1".into(),
                port: listener.local_addr().unwrap().port(),
                ..ClientSettings::default()
            },
            names: Arc::default(),
            name,
            group: GroupName::parse("team").unwrap(),
            identity: Identity::generate(),
            secret: None,
            room_key: None,
            run: String::new(),
            last_mark: Mutex::default(),
            offers: Mutex::default(),
            upload_stop: UploadStop::default(),
            screen: Box::new(Recorder::default()),
        };
        drop(listener);
        let patience = Duration::from_millis(300);
        let start = Instant::now();
        let lost = ClientError::Closed("it went".into());
        let sending = Sending::new(Arc::new(shared));
        let given_up = rejoin(&sending, lost, patience, &mut Pauses::default());
        let error = given_up.err().expect("nobody listens there").to_string();
        assert!(error.starts_with("cannot reach 127.0.0.1:"), "{error}");
        assert!(start.elapsed() >= patience);
    }
}
