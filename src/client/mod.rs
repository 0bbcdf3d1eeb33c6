//! The group chat's client: two threads around one connection.
//!
//! ```text
//!   standard input ─▶ sending: one line, one dialogue ─────────────▶ socket
//!                        ▲ steps (channel)
//!   standard output ◀─ receiving: is it the step that is due, or an event? ◀─ socket
//! ```
//!
//! - [`link`]: connecting and joining, and the one way out to the server.
//! - [`sending`]: what is typed, and the dialogues, one at a time.
//! - [`receiving`]: what arrives: steps for the dialogue, events for the person, files.
//! - [`files`]: a file is read and sealed, or received and opened, as a stream.
//!
//! The thread that receives is the main one: when the connection ends the program does, though the other still waits for a line
//! that nobody types. That is the one thread which is not joined: a read of standard input cannot be woken.

pub mod files;
pub mod link;
pub mod receiving;
pub mod sending;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::bounded;

use self::link::Link;
use self::receiving::Receiving;
use self::sending::Sending;
use crate::terminal::Terminal;
use crate::wire::frame::WireError;
use crate::wire::name::{GroupName, NameError, UserName};

/// How a client is set up.
pub struct Setup {
    /// The server's host.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The user name; asked for if it is not given.
    pub name: Option<String>,
    /// The group; asked for if it is not given.
    pub group: Option<String>,
    /// Where received files go.
    pub downloads: PathBuf,
}

/// How a client ended without a failure.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The person left.
    Left,
    /// The admin took the person out of the group.
    Kicked,
}

/// Joins and chats until the person leaves or the server ends it.
///
/// # Errors
/// No connection, no seat in the group, or an end that the person did not ask for.
pub fn run(setup: Setup) -> Result<Outcome, ClientError> {
    let terminal = Arc::new(Terminal::new());
    let Setup { host, port, name, group, downloads } = setup;
    files::check_folder(&downloads)?;
    let name = terminal.name("User name", name, UserName::parse).map_err(ClientError::Name)?;
    let group = terminal.name("Group", group, GroupName::parse).map_err(ClientError::Name)?;
    let (Some(name), Some(group)) = (name, group) else {
        return Err(ClientError::NoName);
    };

    let (link, frames) = Link::join(&host, port, name, group, &terminal)?;
    let (steps, steps_due) = bounded(1);
    let sender = Arc::new(Sending::new(Arc::clone(&link), Arc::clone(&terminal), steps_due));
    let at_signal = Arc::clone(&sender);
    // Without the handler a signal ends the program the hard way: no reason not to chat.
    let _ = ctrlc::set_handler(move || at_signal.leave_at_signal());
    thread::Builder::new().name("sending".into()).spawn(move || sender.sending_loop()).map_err(ClientError::Thread)?;
    Receiving::new(link, terminal, frames, steps, downloads).receiving_loop()
}

/// Why a client failed. Shown in one line.
#[derive(Debug)]
pub enum ClientError {
    /// A user or group name breaks a rule.
    Name(NameError),
    /// The input ended before the names were given.
    NoName,
    /// Files cannot be received into this folder.
    Downloads {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The server cannot be reached.
    Connect {
        /// Host and port.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// Something answers there that is not a chat server.
    NotAChat {
        /// Host and port.
        server: String,
    },
    /// The server went silent while joining.
    NoAnswer {
        /// Host and port.
        server: String,
        /// What was due.
        step: &'static str,
    },
    /// The server does not let this user in; the reason is the server's.
    Refused(String),
    /// The server ended the connection; the reason is the server's, if it gave one.
    Closed(String),
    /// The connection failed, or the server broke the protocol.
    Lost(WireError),
    /// The system has no thread left.
    Thread(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ClientError::Name(error) => write!(f, "{error}"),
            ClientError::NoName => write!(
                f,
                "the input ended before user name and group were given; give them on the first two lines, or with --name and --group"
            ),
            ClientError::Downloads { folder, error } => {
                write!(f, "cannot receive files into {}: {error}; choose another folder with --downloads", folder.display())
            }
            ClientError::Connect { server, error } => {
                write!(f, "cannot reach {server}: {error}; is the server running, and the address right?")
            }
            ClientError::NotAChat { server } => {
                write!(f, "what answers at {server} is no chat server; is the port right?")
            }
            ClientError::NoAnswer { server, step } => {
                write!(f, "{server} does not answer: {step} did not come; try again, or ask for the server to be restarted")
            }
            ClientError::Refused(reason) => write!(f, "the server refused: {reason}"),
            ClientError::Closed(reason) => write!(f, "the server closed the connection: {reason}"),
            ClientError::Lost(error) => write!(f, "the connection to the server is lost: {error}"),
            ClientError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Name(error) => Some(error),
            ClientError::Downloads { error, .. } | ClientError::Connect { error, .. } | ClientError::Thread(error) => Some(error),
            ClientError::Lost(error) => Some(error),
            _ => None,
        }
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
