//! The relay's client: friends who share a key, and a relay that does not have it.
//!
//! Two threads, as in the chat client: the main one receives, the other reads lines and sends. The key never comes from the command line.
//! A line is sealed as `[HH:MM:SS] NAME: TEXT`, and split so that every token stays within what a Python peer reads at once.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::splitter::{Piece, REST_TIME, Splitter};
use super::{PAUSE, READ_LEN};
use crate::machine;
use crate::net::{ConnectError, connect, is_late};
use crate::seal::{Key, KeyFileError, StampedLine, token_len};
use crate::terminal::log::LogError;
use crate::terminal::{self, ChatLine, Conversation, Names, SaidAt, Terminal};
use crate::wire::name::{NameError, UserName};

/// The longest token that is sent, in bytes: what a Python peer reads at once.
const MAX_TOKEN: u64 = 1024;

/// The name under which one's own lines are shown, so that nobody else may bear it.
const SELF: &str = "You";

/// How many names are kept for completion.
const MAX_NAMES: usize = 10_000;

/// How long the relay may take to close after the end of the input. A Python relay never does.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// How a client is set up.
pub struct RelayClientSettings {
    /// The relay's host.
    pub host: String,
    /// The relay's port.
    pub port: u16,
    /// The name; asked for if it is not given.
    pub name: Option<String>,
    /// The file with the key that all friends hold; without one, the environment has the key.
    pub key_file: Option<PathBuf>,
    /// What the person wishes of the terminal.
    pub terminal: terminal::TerminalSettings,
}

/// What both threads share.
struct Chat {
    name: UserName,
    key: Key,
    socket: TcpStream,
    terminal: Terminal,
    /// The friends who have said something: Tab completes their names.
    names: Arc<Mutex<Names>>,
    /// The end of the connection is no failure any more.
    is_leaving: AtomicBool,
}

/// Connects and chats until the person leaves.
///
/// # Errors
/// No key, no connection, or an end that the person did not ask for.
pub fn run(settings: RelayClientSettings) -> Result<(), ClientError> {
    let key = Key::find(settings.key_file.as_deref()).map_err(ClientError::Key)?;
    let terminal = Terminal::new(settings.terminal).map_err(ClientError::Log)?;
    let name = terminal
        .name("name", settings.name, name)
        .map_err(ClientError::Name)?;
    let socket = connect(&settings.host, settings.port).map_err(ClientError::Connect)?;
    terminal.show(&format!(
        "{} {name} joined {}:{}",
        machine::local_time(),
        settings.host,
        settings.port
    ));
    let chat = Arc::new(Chat {
        name,
        key,
        socket,
        terminal,
        names: Arc::default(),
        is_leaving: AtomicBool::new(false),
    });
    let at_signal = Arc::clone(&chat);
    // Without the handler a signal ends the program the hard way, which a relay takes as well.
    let _ = machine::at_signal(Box::new(move || at_signal.leave(Shutdown::Both)));
    let at_second_ctrl_c = Arc::clone(&chat);
    let _visit = chat.terminal.enter(Conversation {
        name: settings.host,
        me: chat.name.to_string(),
        names: Arc::clone(&chat.names),
        commands: Vec::new(),
        stop: Box::new(|| false),
        leave: Box::new(move || at_second_ctrl_c.leave(Shutdown::Both)),
    });
    let sending = Arc::clone(&chat);
    let lines = chat.terminal.lines().map_err(ClientError::Lost)?;
    // Not joined: it waits for lines that are typed.
    thread::Builder::new()
        .name("sending".into())
        .spawn(move || sending.sending_loop(lines))
        .map_err(ClientError::Lost)?;
    match chat.receiving_loop() {
        _ if chat.is_leaving.load(Ordering::SeqCst) => Ok(()),
        Ok(()) => Err(ClientError::Closed),
        Err(error) => Err(ClientError::Lost(error)),
    }
}

fn name(text: &str) -> Result<UserName, NameError> {
    match UserName::parse(text)? {
        name if name.as_str() == SELF => Err(NameError(format!(
            "the name {SELF} stands for oneself here"
        ))),
        name => Ok(name),
    }
}

impl Chat {
    /// Reads lines and sends them, until the input ends.
    fn sending_loop(&self, lines: Receiver<String>) {
        for line in lines {
            if self.say(&line).is_err() {
                // Half a token may be out: nothing can follow it. The receiving thread says so.
                let _ = self.socket.shutdown(Shutdown::Both);
                return;
            }
        }
        self.leave(Shutdown::Write);
        // Not a wait for an event: the program ends as soon as the relay closes, and after this time in any case.
        thread::sleep(LEAVE_TIME);
        self.leave(Shutdown::Both);
    }

    fn leave(&self, how: Shutdown) {
        self.is_leaving.store(true, Ordering::SeqCst);
        // Fails only if the relay was faster.
        let _ = self.socket.shutdown(how);
    }

    /// Sends a line in as many tokens as it takes, one at a time: a Python relay passes on what comes together as one.
    fn say(&self, line: &str) -> io::Result<()> {
        let time = machine::local_time().time().to_string();
        let stamp = |text| {
            StampedLine {
                time: &time,
                name: self.name.as_str(),
                text,
            }
            .to_string()
        };
        for text in pieces(line, stamp("").len()) {
            (&self.socket).write_all(self.key.seal(stamp(text).as_bytes()).as_bytes())?;
            // On a terminal it stands there already.
            if self.terminal.is_interactive() {
                self.terminal.log_own(text)
            } else {
                self.show(StampedLine {
                    time: &time,
                    name: SELF,
                    text,
                })
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Shows what a token opened to.
    fn hear(&self, text: &str) {
        match StampedLine::parse(text) {
            Some(line) => {
                let members = &mut self.names.lock().members;
                if members.len() < MAX_NAMES {
                    members.insert(line.name.to_owned());
                }
                self.show(line);
            }
            None => self.terminal.show(text),
        }
    }

    /// Shows a line as people know it from the scripts.
    fn show(&self, line: StampedLine) {
        self.terminal.show_line(&ChatLine {
            name: line.name.to_owned(),
            remark: "",
            text: line.text.to_owned(),
            time: SaidAt::Stamped {
                time: line.time.to_owned(),
                front: format!("{} ", line.time),
            },
        });
    }

    /// Shows what arrives, until the connection ends.
    fn receiving_loop(&self) -> io::Result<()> {
        let mut splitter = Splitter::default();
        let mut is_warned = false;
        let mut show = |piece: Piece| match self.key.open(&piece.into_bytes()) {
            Ok(text) => self.hear(&String::from_utf8_lossy(&text)),
            Err(_) if is_warned => {}
            Err(_) => {
                is_warned = true;
                self.terminal.show(
                    "Something arrived that this key does not open: do all of you have the same key? More of it is not mentioned.",
                );
            }
        };
        loop {
            let mut bytes = [0; READ_LEN];
            self.socket
                .set_read_timeout((!splitter.held().is_empty()).then_some(REST_TIME))?;
            match (&self.socket).read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(n) => splitter.push(&bytes[..n]).into_iter().for_each(&mut show),
                Err(error) if is_late(&error) => splitter.flush().into_iter().for_each(&mut show),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // Where the shape leaves it open whether this is all of a token, the HMAC does not.
            if self.key.opens(splitter.held()) {
                splitter.flush().into_iter().for_each(&mut show);
            }
        }
    }
}

/// Cuts a line, between two characters, into pieces that fit into a token together with `n_before` bytes.
fn pieces(line: &str, n_before: usize) -> Vec<&str> {
    let most = (0..MAX_TOKEN)
        .rev()
        .find(|n| token_len(*n) <= MAX_TOKEN)
        .unwrap_or(0) as usize;
    let most = most.saturating_sub(n_before);
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() > most {
        let end = (1..=most)
            .rev()
            .find(|at| rest.is_char_boundary(*at))
            .unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Why a client failed. Shown in one line.
#[derive(Debug)]
pub enum ClientError {
    /// There is no key.
    Key(KeyFileError),
    /// The name breaks a rule, or there is none.
    Name(NameError),
    /// What is shown cannot be kept.
    Log(LogError),
    /// The relay cannot be reached.
    Connect(ConnectError),
    /// The relay closed the connection.
    Closed,
    /// The connection failed.
    Lost(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ClientError::Key(error) => error.fmt(f),
            ClientError::Name(error) => error.fmt(f),
            ClientError::Log(error) => error.fmt(f),
            ClientError::Connect(error) => error.fmt(f),
            ClientError::Closed => write!(f, "the relay closed the connection"),
            ClientError::Lost(error) => write!(f, "the connection to the relay is lost: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_characters_and_every_token_fits() {
        let key = Key::generate();
        for character in ["x", "é", "語", "👩"] {
            for n in [0, 1, 100, 600, 690, 703, 704, 3000] {
                let line = character.repeat(n);
                let before = "[00:00:00] alice: ";
                let pieces = pieces(&line, before.len());
                assert_eq!(pieces.concat(), line);
                for piece in pieces {
                    assert!(key.seal(format!("{before}{piece}").as_bytes()).len() <= 1024);
                }
            }
        }
    }
}
