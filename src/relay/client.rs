//! The relay's client: friends who share a key, and a relay that does not have it.
//!
//! Two threads, as in the chat client: the main one receives, the other reads lines and sends. The key never comes from the command line.
//! A line is sealed as `[HH:MM:SS] NAME: TEXT`, and split so that every token stays within what a Python peer reads at once.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use chrono::Local;

use super::splitter::{Piece, Splitter};
use super::READ_LEN;
use crate::net::connect;
use crate::net::connection::tune;
use crate::seal::{token_len, Key, Line};
use crate::terminal::Terminal;
use crate::wire::name::{NameError, UserName};

/// The longest token that is sent, in bytes: what a Python peer reads at once.
const MAX_TOKEN: u64 = 1024;

/// How a client is set up.
pub struct Setup {
    /// The relay's host.
    pub host: String,
    /// The relay's port.
    pub port: u16,
    /// The name; asked for if it is not given.
    pub name: Option<String>,
    /// The key that all friends hold.
    pub key: Key,
}

/// Connects and chats until the person leaves.
///
/// # Errors
/// No connection, or an end that the person did not ask for.
pub fn run(setup: Setup) -> Result<(), ClientError> {
    let terminal = Arc::new(Terminal::new());
    let name = terminal.name("Your name", setup.name, UserName::parse).map_err(ClientError::Name)?;
    let name = name.ok_or(ClientError::NoName)?;
    let server = format!("{}:{}", setup.host, setup.port);
    let refuse = |error| ClientError::Connect { server: server.clone(), error };
    let socket = Arc::new(connect(&setup.host, setup.port).map_err(refuse)?);
    tune(&socket).map_err(refuse)?;
    terminal.show(&format!("{} {name} joined {server}", Local::now().format("%Y-%m-%d %H:%M:%S")));

    let is_leaving = Arc::new(AtomicBool::new(false));
    let leave = {
        let (socket, is_leaving) = (Arc::clone(&socket), Arc::clone(&is_leaving));
        move |how| {
            is_leaving.store(true, Ordering::SeqCst);
            // Fails only if the relay was faster.
            let _ = socket.shutdown(how);
        }
    };
    let at_signal = leave.clone();
    // Without the handler a signal ends the program the hard way, which a relay takes as well.
    let _ = ctrlc::set_handler(move || at_signal(Shutdown::Both));
    let key = Arc::new(setup.key);
    let (sending_key, sending_socket, sending_terminal) = (Arc::clone(&key), Arc::clone(&socket), Arc::clone(&terminal));
    let sending = move || {
        while let Some(line) = sending_terminal.read_line() {
            if say(&line, &name, &sending_key, &sending_socket, &sending_terminal).is_err() {
                return;
            }
        }
        leave(Shutdown::Write);
    };
    // Not joined: a read of standard input cannot be woken.
    thread::Builder::new().name("sending".into()).spawn(sending).map_err(ClientError::Thread)?;
    match receiving_loop(&socket, &key, &terminal) {
        _ if is_leaving.load(Ordering::SeqCst) => Ok(()),
        Ok(()) => Err(ClientError::Closed),
        Err(error) => Err(ClientError::Lost(error)),
    }
}

/// Sends a line in as many tokens as it takes.
fn say(line: &str, name: &UserName, key: &Key, mut socket: &TcpStream, terminal: &Terminal) -> io::Result<()> {
    let time = Local::now().format("%H:%M:%S").to_string();
    for text in pieces(line, Line { time: &time, name: name.as_str(), text: "" }.to_string().len()) {
        let stamped = Line { time: &time, name: name.as_str(), text };
        socket.write_all(key.seal(stamped.to_string().as_bytes()).as_bytes())?;
        terminal.show(&format!("{time} You: {text}"));
    }
    Ok(())
}

/// Cuts a line, between two characters, into pieces that fit into a token together with `n_before` bytes.
fn pieces(line: &str, n_before: usize) -> Vec<&str> {
    let most = (0..MAX_TOKEN).rev().find(|n| token_len(*n) <= MAX_TOKEN).unwrap_or(0) as usize;
    let most = most.saturating_sub(n_before);
    let mut pieces = Vec::new();
    let mut rest = line;
    while rest.len() > most {
        let end = (1..=most).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}

/// Shows what arrives, until the connection ends.
fn receiving_loop(mut socket: &TcpStream, key: &Key, terminal: &Terminal) -> io::Result<()> {
    let mut splitter = Splitter::default();
    let mut is_warned = false;
    let mut show = |piece: Piece| {
        let bytes = piece.into_bytes();
        match key.open(&bytes) {
            Ok(text) => terminal.show(&shown(&String::from_utf8_lossy(&text))),
            Err(_) if is_warned => {}
            Err(_) => {
                is_warned = true;
                terminal.show("Something arrived that this key does not open: do all of you have the same key? More of it is not mentioned.");
            }
        }
    };
    loop {
        let mut bytes = [0; READ_LEN];
        socket.set_read_timeout(splitter.rest_wait())?;
        match socket.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(n) => splitter.push(&bytes[..n]).into_iter().for_each(&mut show),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => splitter.flush().into_iter().for_each(&mut show),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
        // Where the shape leaves it open whether this is all of a token, the HMAC does not.
        if key.opens(splitter.held()) {
            splitter.flush().into_iter().for_each(&mut show);
        }
    }
}

/// A line as people know it from the scripts.
fn shown(text: &str) -> String {
    match Line::parse(text) {
        Some(Line { time, name, text }) => format!("{time} {name}: {text}"),
        None => text.to_owned(),
    }
}

/// Why a client failed. Shown in one line.
#[derive(Debug)]
pub enum ClientError {
    /// The name breaks a rule.
    Name(NameError),
    /// The input ended before a name was given.
    NoName,
    /// The relay cannot be reached.
    Connect {
        /// Host and port.
        server: String,
        /// What the system says.
        error: io::Error,
    },
    /// The relay closed the connection.
    Closed,
    /// The connection failed.
    Lost(io::Error),
    /// The system has no thread left.
    Thread(io::Error),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ClientError::Name(error) => error.fmt(f),
            ClientError::NoName => {
                write!(f, "the input ended before a name was given; give it on the first line, or with --name")
            }
            ClientError::Connect { server, error } => {
                write!(f, "cannot reach {server}: {error}; is the relay running, and the address right?")
            }
            ClientError::Closed => write!(f, "the relay closed the connection"),
            ClientError::Lost(error) => write!(f, "the connection to the relay is lost: {error}"),
            ClientError::Thread(error) => write!(f, "cannot start a thread: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Name(error) => Some(error),
            ClientError::Connect { error, .. } | ClientError::Lost(error) | ClientError::Thread(error) => Some(error),
            ClientError::NoName | ClientError::Closed => None,
        }
    }
}

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
