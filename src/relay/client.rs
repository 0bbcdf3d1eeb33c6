//! The relay's client: friends who share a key, at a relay that does not have it.
//!
//! Two threads, as in the chat client: the main thread receives, the other reads lines and sends. The key never comes from the command line.
//! A line is sealed as `[HH:MM:SS] NAME: TEXT`, and split so that a Python peer can read each token with one call.

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
use super::{FULL, PAUSE, READ_LEN};
use crate::machine;
use crate::net::{connect, is_late};
use crate::screen::{
    Conversation, Event, Name, Names, Order, Screen, Trust, When, Words, ask_name,
};
use crate::seal::{Key, StampedLine};
use crate::wire::name::{NameError, UserName};

/// The longest text that is sealed into one token, in bytes. Its token has 1024, which is what a Python peer reads at once.
const MAX_TEXT: usize = 703;

/// The name under which a person's own lines are shown in a pipe. A user of our client cannot choose it.
const SELF: &str = "You";

/// How long the relay may take to close after the end of the input. A Python relay never closes.
const LEAVE_TIME: Duration = Duration::from_secs(2);

/// How a client is set up.
#[derive(Default)]
pub(crate) struct RelayClientSettings {
    /// The relay's host.
    pub host: String,
    /// The relay's port.
    pub port: u16,
    /// The name. If none is given, the person is asked.
    pub name: Option<String>,
    /// The file with the key that all friends hold. Without one, the environment has the key.
    pub key_file: Option<PathBuf>,
}

/// What both threads share.
struct Chat {
    name: UserName,
    key: Key,
    socket: TcpStream,
    screen: Box<dyn Screen>,
    /// The friends who have said something: Tab completes their names.
    names: Arc<Mutex<Names>>,
    /// The person leaves, so the end of the connection is no failure.
    is_leaving: AtomicBool,
}

/// How the relay ended the connection.
enum End {
    /// It closed it.
    Closed,
    /// It had no place.
    Full,
}

/// Connects and chats until the person leaves.
///
/// # Errors
/// No key, no connection, or an end that the person did not ask for: in words for the person.
pub(crate) fn run(settings: RelayClientSettings, screen: Box<dyn Screen>) -> Result<(), String> {
    let key = Key::find(settings.key_file.as_deref()).map_err(|error| error.to_string())?;
    let name = ask_name(&*screen, "name", settings.name, None, name);
    let name = name.map_err(|error| error.to_string())?;
    let socket = connect(&settings.host, settings.port).map_err(|error| error.to_string())?;
    screen.show(Event::Notice(format!(
        "{} {name} joined {}:{}",
        machine::local_time(),
        settings.host,
        settings.port
    )));
    let chat = Arc::new(Chat {
        name,
        key,
        socket,
        screen,
        names: Arc::default(),
        is_leaving: AtomicBool::new(false),
    });
    let at_signal = Arc::clone(&chat);
    // Without the handler a signal kills the program, which does a relay no harm.
    let _ = machine::at_signal(move || at_signal.leave(Shutdown::Both));
    let at_second_ctrl_c = Arc::clone(&chat);
    let conversation = Conversation {
        name: settings.host,
        me: chat.name.to_string(),
        names: Arc::clone(&chat.names),
        commands: Vec::new(),
        stop: Box::new(|| false),
        leave: Arc::new(move || at_second_ctrl_c.leave(Shutdown::Both)),
    };
    let _visit = conversation.enter(&*chat.screen);
    let sending = Arc::clone(&chat);
    let lines = chat.screen.lines().map_err(|error| error.to_string())?;
    machine::spawn("sending", move || sending.sending_loop(lines))
        .map_err(|error| error.to_string())?;
    match chat.receiving_loop() {
        Ok(End::Full) => Err("the relay is full; try again later".into()),
        _ if chat.is_leaving.load(Ordering::SeqCst) => chat.screen.check_output(),
        Ok(End::Closed) => Err("the relay closed the connection".into()),
        Err(error) => Err(format!("the connection to the relay is lost: {error}")),
    }
}

fn name(text: &str) -> Result<UserName, NameError> {
    if text == SELF {
        let rule = format!("the name {SELF} stands for the person who reads");
        return Err(NameError(rule));
    }
    UserName::parse(text)
}

impl Chat {
    /// Reads lines and sends them, until the input ends.
    fn sending_loop(&self, lines: Receiver<String>) {
        for line in lines {
            if self.say(&line).is_err() {
                // Half a token may be out, and nothing can follow it. The receiving thread reports the failure.
                let _ = self.socket.shutdown(Shutdown::Both);
                return;
            }
        }
        self.leave(Shutdown::Write);
        // The program ends as soon as the relay closes, and after this time in any case.
        thread::sleep(LEAVE_TIME);
        self.leave(Shutdown::Both);
    }

    fn leave(&self, how: Shutdown) {
        self.is_leaving.store(true, Ordering::SeqCst);
        // Fails only if the relay was faster.
        let _ = self.socket.shutdown(how);
    }

    /// Sends a line in as many tokens as it takes. It pauses after each, because a Python relay passes on two that arrive together as one.
    fn say(&self, line: &str) -> io::Result<()> {
        let time = &machine::local_time().time().to_string();
        let stamped = |name, text| StampedLine { time, name, text };
        // At most 269 bytes, because a name has at most 64 characters.
        let n_before = stamped(self.name.as_str(), "").to_string().len();
        for text in pieces(line, MAX_TEXT - n_before) {
            let line = stamped(self.name.as_str(), text).to_string();
            (&self.socket).write_all(self.key.seal(line.as_bytes()).as_bytes())?;
            self.screen.show(Event::Own {
                text: text.to_owned(),
                echo: Some((time.clone(), SELF)),
            });
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Shows the text of a token.
    fn hear(&self, text: &str) {
        self.screen.show(match StampedLine::parse(text) {
            Some(StampedLine { time, name, text }) => {
                self.names.lock().add_member(name);
                Event::Sealed {
                    who: Name::of_peer(name),
                    when: When::Time(time.to_owned()),
                    order: Order::Next,
                    is_earlier: false,
                    text: Words::of_peer(text),
                }
            }
            None => Event::Unsigned {
                text: Words::of_peer(text),
                trust: Trust::Unproven,
            },
        });
    }

    /// Shows what arrives, until the connection ends.
    fn receiving_loop(&self) -> io::Result<End> {
        let mut splitter = Splitter::default();
        let (mut is_first, mut is_full) = (true, false);
        let mut is_warned = false;
        let mut show = |piece: Piece| match self.key.open(&piece.into_bytes()) {
            Ok(text) => self.hear(&String::from_utf8_lossy(&text)),
            Err(_) if is_warned => {}
            Err(_) => {
                is_warned = true;
                self.screen.show(Event::Notice(
                    "Something arrived that this key does not open: do all of you have the same key? This is said only once.".into(),
                ));
            }
        };
        loop {
            let mut bytes = [0; READ_LEN];
            self.socket
                .set_read_timeout((!splitter.held().is_empty()).then_some(REST_TIME))?;
            match (&self.socket).read(&mut bytes) {
                Ok(0) if is_full => return Ok(End::Full),
                Ok(0) => return Ok(End::Closed),
                Ok(n) if std::mem::take(&mut is_first) && bytes[..n] == *FULL => is_full = true,
                Ok(n) => splitter.push(&bytes[..n]).into_iter().for_each(&mut show),
                Err(error) if is_late(&error) => splitter.flush().into_iter().for_each(&mut show),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if is_full => return Ok(End::Full),
                Err(error) => return Err(error),
            }
            // The shape of a token may leave open whether it is whole. The HMAC tells.
            if self.key.opens(splitter.held()) {
                splitter.flush().into_iter().for_each(&mut show);
            }
        }
    }
}

/// Cuts a line, between two characters, into pieces of at most `most` bytes.
fn pieces(mut line: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !line.is_empty() {
        let mut end = most.min(line.len());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, rest) = line.split_at(end);
        pieces.push(piece);
        line = rest;
    }
    pieces
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
                let pieces = pieces(&line, MAX_TEXT - before.len());
                assert_eq!(pieces.concat(), line);
                for piece in pieces {
                    assert!(key.seal(format!("{before}{piece}").as_bytes()).len() <= 1024);
                }
            }
        }
    }
}
