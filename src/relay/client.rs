//! The relay's client: friends who share a key, at a relay that does not have it.
//!
//! Two threads, as in the chat client: the main thread receives, the other reads lines and sends. The key never comes from the command line.
//! A line is sealed as `[HH:MM:SS] NAME: TEXT`, and split so that a Python peer can read each token with one call.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, FixedOffset, Local, NaiveTime, Offset, TimeZone};
use crossbeam_channel::Receiver;
use parking_lot::{Condvar, Mutex};
use thiserror::Error;

use super::splitter::{Piece, REST_TIME, Splitter};
use super::{FULL, PAUSE, READ_LEN};
use crate::machine;
use crate::net::{
    ConnectError, MAX_RETRY_DELAY, Pauses, RECONNECT_TIMEOUT, connect, is_late, one_word,
};
use crate::screen::{
    Connection, Conversation, Event, Name, Names, Order, Said, Screen, Trust, When, Words, ask_name,
};
use crate::seal::{Key, StampedLine, stamp_of};
use crate::typed::{self, Action, RELAY, Typed};
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
    /// Whether to connect again when the connection breaks.
    pub reconnect: bool,
}

/// What the threads share.
struct Chat {
    name: UserName,
    key: Key,
    settings: RelayClientSettings,
    screen: Box<dyn Screen>,
    /// The friends who have said something.
    names: Arc<Mutex<Names>>,
    connection: Mutex<Connected>,
    /// Notified when there is another connection, and when the person leaves.
    changed: Condvar,
    /// The person has been told that somebody else has the same name.
    has_namesake: AtomicBool,
}

struct Connected {
    /// The connection. `None`: it is lost, and another is to be made.
    socket: Option<Arc<TcpStream>>,
    /// The person leaves, so the end of the connection is no failure.
    is_leaving: bool,
}

/// How a connection ended.
#[derive(Debug, Error)]
enum End {
    /// The relay closed it.
    #[error("the relay closed the connection")]
    Closed,
    /// The relay had no place.
    #[error("the relay is full; try again later")]
    Full,
    /// What is there is a server of the group chat.
    #[error("this is no relay but a group chat's server: join it with fernchat client")]
    GroupServer,
    /// It failed.
    #[error("the connection to the relay is lost: {0}")]
    Lost(#[from] io::Error),
    /// No new one could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Connects and chats until the person leaves.
///
/// # Errors
/// No key, no connection, or an end that the person did not ask for: in words for the person.
pub(crate) fn run(settings: RelayClientSettings, screen: Box<dyn Screen>) -> Result<(), String> {
    let key = Key::find(settings.key_file.as_deref()).map_err(|error| error.to_string())?;
    run_with(settings, key, screen)
}

/// The same with this key, whatever file the settings name.
///
/// # Errors
/// As for [`run`].
pub(crate) fn run_with(
    mut settings: RelayClientSettings,
    key: Key,
    screen: Box<dyn Screen>,
) -> Result<(), String> {
    let name = ask_name(&*screen, "name", settings.name.take(), None, name);
    let name = name.map_err(|error| error.to_string())?;
    let place = one_word(&settings.host, settings.port);
    if screen.is_interactive() {
        screen.show(Event::Notice(format!("Connecting to {place} ...")));
    }
    let socket = connect(&settings.host, settings.port).map_err(|error| error.to_string())?;
    let socket = Arc::new(socket);
    screen.show(Event::Notice(if screen.is_interactive() {
        format!(
            "{name} joined {place}. /help lists the commands. The others see you when you say something."
        )
    } else {
        let now = machine::local_time();
        format!("{now} {name} joined {}:{}", settings.host, settings.port)
    }));
    let chat = Arc::new(Chat {
        name,
        key,
        settings,
        screen,
        names: Arc::default(),
        connection: Mutex::new(Connected {
            socket: Some(Arc::clone(&socket)),
            is_leaving: false,
        }),
        changed: Condvar::new(),
        has_namesake: AtomicBool::default(),
    });
    let at_signal = Arc::clone(&chat);
    let leave = Box::new(move || {
        at_signal.leave(Shutdown::Both);
        // The receiving thread may be waiting for the screen, which a person can hold up.
        at_signal.screen.end();
    });
    chat.screen.at_signal(leave);
    let at_second_ctrl_c = Arc::clone(&chat);
    let (typed, lines) = typed::channel(&*chat.screen, RELAY, &chat.name, &chat.names);
    let conversation = Conversation {
        name: chat.settings.host.clone(),
        prompt: "relay".into(),
        me: chat.name.to_string(),
        names: Arc::clone(&chat.names),
        commands: typed::words(RELAY),
        stop: Arc::new(|| false),
        leave: Arc::new(move || at_second_ctrl_c.leave(Shutdown::Both)),
    };
    let visit = conversation.enter(typed, &*chat.screen);
    let _visit = visit.map_err(|error| error.to_string())?;
    let sending = Arc::clone(&chat);
    machine::spawn("sending", move || sending.sending_loop(lines))
        .map_err(|error| error.to_string())?;
    let end = chat.chat(socket);
    match end {
        // What a script said to a full relay reached nobody, also if its input has ended since.
        End::Closed | End::Lost(_) | End::Connect(_) if chat.connection.lock().is_leaving => {
            chat.screen.check_output()
        }
        end => Err(end.to_string()),
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
    /// Receives over one connection after the other. Returns why there is no other one.
    fn chat(&self, mut socket: Arc<TcpStream>) -> End {
        let mut pauses = Pauses::default();
        loop {
            let connected_at = Instant::now();
            let Err(end) = self.receiving_loop(&socket);
            self.connection.lock().socket = None;
            let is_passing = matches!(end, End::Closed | End::Lost(_));
            if !is_passing || !self.settings.reconnect || self.connection.lock().is_leaving {
                return end;
            }
            if connected_at.elapsed() > MAX_RETRY_DELAY {
                pauses = Pauses::default();
            }
            socket = match self.connect_again(end, &mut pauses) {
                Ok(socket) => Arc::new(socket),
                Err(end) => return end,
            };
            let mut connection = self.connection.lock();
            if connection.is_leaving {
                return End::Closed;
            }
            connection.socket = Some(Arc::clone(&socket));
            drop(connection);
            self.changed.notify_all();
        }
    }

    /// Tries until there is a connection, the person leaves, or the time is over. The pauses go on growing if a relay takes the connection and
    /// closes it at once.
    fn connect_again(&self, end: End, pauses: &mut Pauses) -> Result<TcpStream, End> {
        let tell = |connection| self.screen.show(Event::Connection(connection));
        let why = end.to_string();
        tell(Connection::Lost { why });
        let since = Instant::now();
        loop {
            let pause = pauses.next_pause();
            tell(Connection::TryingIn(pause));
            let mut connection = self.connection.lock();
            let is_here = |connection: &mut Connected| !connection.is_leaving;
            self.changed.wait_while_for(&mut connection, is_here, pause);
            if connection.is_leaving {
                return Err(end);
            }
            drop(connection);
            tell(Connection::Connecting);
            match connect(&self.settings.host, self.settings.port) {
                Ok(socket) => {
                    tell(Connection::Back);
                    return Ok(socket);
                }
                Err(error)
                    if !self.screen.is_interactive() && since.elapsed() > RECONNECT_TIMEOUT =>
                {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
    }

    /// Does what the typed lines say, until the input ends.
    fn sending_loop(&self, lines: Receiver<Typed>) {
        for typed in lines {
            match typed {
                // A relay's script says every line.
                Typed::Line(text) => self.say_all(&[Said { to: None, text }]),
                Typed::Do(Action::Quit, words) => {
                    let (to, text) = (None, words);
                    self.say_all(&[Said { to, text }]);
                    break;
                }
                Typed::Say(lines) => self.say_all(&lines),
                Typed::If(question, _) => self.screen.prompt(question),
                Typed::Show(sentence) => self.show(&sentence),
                Typed::Help(lines) => {
                    let lines = lines.into_iter().map(Event::Help);
                    lines.for_each(|line| self.screen.show(line));
                }
                Typed::Do(Action::Ignore, name) => {
                    let notice = typed::ignore(&name, &mut self.names.lock());
                    self.show(&notice);
                }
                Typed::Do(Action::Online, _) => {
                    self.show(
                        "A relay does not know who is here. Who has said something since you came:",
                    );
                    let names = self.names.lock().members.clone();
                    let (title, admin) = ("heard", None);
                    self.screen.show(Event::Names {
                        title,
                        names,
                        admin,
                    });
                }
                Typed::Do(..) | Typed::Ask(_) => {}
            }
        }
        self.leave(Shutdown::Write);
        // The program ends as soon as the relay closes, and after this time in any case.
        thread::sleep(LEAVE_TIME);
        self.leave(Shutdown::Both);
    }

    fn show(&self, notice: &str) {
        self.screen.show(Event::Notice(notice.to_owned()));
    }

    fn leave(&self, how: Shutdown) {
        let mut connection = self.connection.lock();
        connection.is_leaving = true;
        if let Some(socket) = &connection.socket {
            // Fails only if the relay was faster.
            let _ = socket.shutdown(how);
        }
        self.changed.notify_all();
    }

    /// Says lines over the connection that there is, or the next one. A relay confirms nothing: what was on its way when a connection
    /// broke may be lost.
    fn say_all(&self, lines: &[Said]) {
        for said in lines.iter().filter(|said| !said.text.is_empty()) {
            loop {
                let mut connection = self.connection.lock();
                if connection.socket.is_none() && !connection.is_leaving {
                    let notice =
                        "There is no connection: it is said as soon as there is one again.";
                    drop(connection);
                    self.show(notice);
                    connection = self.connection.lock();
                    self.changed.wait_while(&mut connection, |connection| {
                        connection.socket.is_none() && !connection.is_leaving
                    });
                }
                let Some(socket) = connection.socket.clone() else {
                    return;
                };
                drop(connection);
                if self.say(&socket, &said.text).is_ok() {
                    break;
                }
                // Half a token may be out, and nothing can follow it. The receiving thread makes another connection.
                let _ = socket.shutdown(Shutdown::Both);
                let is_old = |now: &Connected| {
                    now.socket
                        .as_ref()
                        .is_some_and(|now| Arc::ptr_eq(now, &socket))
                };
                let mut connection = self.connection.lock();
                self.changed.wait_while_for(
                    &mut connection,
                    |now| is_old(now) && !now.is_leaving,
                    LEAVE_TIME,
                );
            }
        }
    }

    /// Sends a line in as many tokens as it takes. It pauses after each, because a Python relay passes on two that arrive together as one.
    fn say(&self, mut socket: &TcpStream, line: &str) -> io::Result<()> {
        let time = &machine::local_time().time().to_string();
        let stamped = |name, text| StampedLine { time, name, text };
        // At most 269 bytes, because a name has at most 64 characters.
        let n_before = stamped(self.name.as_str(), "").to_string().len();
        for text in pieces(line, MAX_TEXT - n_before) {
            let line = stamped(self.name.as_str(), text).to_string();
            socket.write_all(self.key.seal(line.as_bytes()).as_bytes())?;
            self.screen.show(Event::Own {
                said: Said {
                    to: None,
                    text: text.to_owned(),
                },
                echo: Some((time.clone(), SELF)),
            });
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Shows the text of a token that was sealed at this time, in seconds since 1970.
    fn hear(&self, text: &str, sealed_at: Option<u64>) {
        self.screen.show(match StampedLine::parse(text) {
            Some(StampedLine { time, name, text }) => {
                if !self.names.lock().hears(name) {
                    return;
                }
                // A relay does not send a line back to its sender.
                let is_namesake = name == self.name.as_str() && self.screen.is_interactive();
                if is_namesake && !self.has_namesake.swap(true, Ordering::Relaxed) {
                    self.show(&format!("Somebody else here is called {name}, too."));
                }
                Event::Sealed {
                    who: Name::of_peer(name),
                    when: When::Time {
                        time: time.to_owned(),
                        zone: sealed_at.and_then(|at| other_zone(time, at, &Local)),
                    },
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
    fn receiving_loop(&self, mut socket: &TcpStream) -> Result<Infallible, End> {
        let mut splitter = Splitter::default();
        let (mut is_first, mut is_full) = (true, false);
        let mut is_warned = false;
        let mut show = |piece: Piece| {
            let token = piece.into_bytes();
            match self.key.open(&token) {
                Ok(text) => self.hear(&String::from_utf8_lossy(&text), stamp_of(&token)),
                Err(_) if is_warned => {}
                Err(_) => {
                    is_warned = true;
                    self.show("Something arrived that this key does not open: do all of you have the same key? This is said only once.");
                }
            }
        };
        loop {
            let mut bytes = [0; READ_LEN];
            socket.set_read_timeout((!splitter.held().is_empty()).then_some(REST_TIME))?;
            match socket.read(&mut bytes) {
                Ok(0) if is_full => return Err(End::Full),
                Ok(0) => return Err(End::Closed),
                Ok(n) if is_first && bytes[..n] == *FULL => is_full = true,
                Ok(n) if is_first && is_group_server(&bytes[..n]) => return Err(End::GroupServer),
                Ok(n) => splitter.push(&bytes[..n]).into_iter().for_each(&mut show),
                Err(error) if is_late(&error) => splitter.flush().into_iter().for_each(&mut show),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if is_full => return Err(End::Full),
                Err(error) => return Err(error.into()),
            }
            is_first = false;
            // The shape of a token may leave open whether it is whole. The HMAC tells.
            if self.key.opens(splitter.held()) {
                splitter.flush().into_iter().for_each(&mut show);
            }
        }
    }
}

/// Whether these are the first bytes of a group chat's server: its key, which stands alone. A relay passes on tokens, which are longer.
fn is_group_server(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Key::parse(text).is_ok())
}

/// The time zone of a sender whose clock says `time`, `HH:MM:SS`, while the token says how late it is in UTC. `None`: it is ours, or no zone.
/// Zones that are a day apart look the same.
fn other_zone(time: &str, sealed_at: u64, ours: &impl TimeZone) -> Option<FixedOffset> {
    let utc = DateTime::from_timestamp(i64::try_from(sealed_at).ok()?, 0)?.naive_utc();
    let time: NaiveTime = time.parse().ok()?;
    let ahead = (time - utc.time()).num_seconds();
    // Zones differ by quarters of an hour. Line and token may have been made in two seconds.
    let quarters = (ahead + 450).div_euclid(900);
    let is_zone = (ahead - quarters * 900).abs() < 60;
    // From -10:45 to +13:00.
    let quarters = (quarters + 43).rem_euclid(96) - 43;
    let zone = FixedOffset::east_opt(i32::try_from(quarters * 900).ok()?)?;
    let our_ahead = ours.offset_from_utc_datetime(&utc).fix().local_minus_utc();
    let is_ours = (our_ahead - zone.local_minus_utc()) % 86_400 == 0;
    (is_zone && !is_ours).then_some(zone)
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
    use chrono::Utc;

    use super::*;

    #[test]
    fn the_zone_of_a_sender_is_known_by_the_time_of_the_token() {
        let at = |time: &str| {
            let date = format!("2026-11-26T{time}Z").parse::<DateTime<FixedOffset>>();
            date.unwrap().timestamp() as u64
        };
        let (utc, tonga) = (Utc, FixedOffset::east_opt(13 * 3600).unwrap());
        for (time, sealed_at, zone) in [
            ("09:05:02", "09:05:02", None),
            ("09:05:01", "09:05:02", None),
            ("18:05:02", "09:05:02", Some("+09:00")),
            ("00:05:02", "15:05:03", Some("+09:00")),
            ("14:35:02", "09:05:02", Some("+05:30")),
            ("04:05:02", "09:05:02", Some("-05:00")),
            ("21:00:00", "02:00:00", Some("-05:00")),
            ("22:05:02", "09:05:02", Some("+13:00")),
            // A clock that is wrong is no zone.
            ("09:10:02", "09:05:02", None),
            ("25:00:00", "09:05:02", None),
        ] {
            let found = other_zone(time, at(sealed_at), &utc);
            let found = found.map(|zone| zone.to_string());
            assert_eq!(found.as_deref(), zone, "{time} {sealed_at}");
        }
        assert_eq!(other_zone("22:05:02", at("09:05:02"), &tonga), None);
        let samoa = FixedOffset::west_opt(11 * 3600).unwrap();
        assert_eq!(other_zone("22:05:02", at("09:05:02"), &samoa), None);
    }

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
