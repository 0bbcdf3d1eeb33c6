//! One client's two threads, one more while it greets, and the one way a connection ends.
//!
//! ```text
//!   reader thread: serve(..) ──> Departure ──> outbox.end ──> discard ──> join the writer ──> one log line
//!   writer thread: write_loop ──> end the sending side ──┘ (the peer closes, or the clock shuts the socket)
//! ```
//!
//! The writer starts with the first thing that does not go at once, and stays; a client that takes what it is sent never has one, and its
//! sending side is ended by the round that brings its end.
//!
//! The reader joins its writer and is the only one that takes its client away. Others who want a connection to end say so to
//! its outbox; the clock of the listener shuts the socket if that takes too long; either way the reader wakes.
//!
//! A connection is closed gently: the sending side first, then what still comes is thrown away until its end. Unread input
//! would turn the close into a reset, and a reset eats the last frames on their way to the peer.

use std::fmt;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use log::{error, info, warn};
use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};

use super::departure::Departure;
use super::is_late;
use super::outbox::{CLOSE_TIME, Item, Outbox, Pace, Post, Way, write_loop};
use crate::machine;

/// The stack of each thread of a client: almost three times what a debug build needs. On 32-bit machines address space is
/// what runs out first.
pub const STACK_LEN: usize = if cfg!(target_pointer_width = "64") {
    128 << 10
} else {
    64 << 10
};

/// The stack of a thread that [`aside`] starts. Shorter, since the system keeps the stacks of threads that have ended, with the memory
/// that they used, and gives them to new threads that ask for no more.
const STACK_ASIDE_LEN: usize = STACK_LEN / 4 * 3;

/// How long one write may take without any progress.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// How long what is queued may take to be written when a connection ends in peace.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// A silent peer is asked for a sign of life after this time ...
const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
/// ... and then this often, three times. Where there is a [`USER_TIMEOUT`], as often as that takes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a peer may acknowledge nothing, neither keepalive nor data. Keepalive is silent while data is unacknowledged, and the time for
/// data begins with the data, which may come just before keepalive would have told: so a vanished peer is gone after twice this
/// time and one interval at the latest. Longer than it takes to put a cable in again.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(40);

/// A peer whose name somebody else wants must show that it is there: after this time, and then this often, three times ...
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// ... and what is on its way to it must have arrived by then.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// How much the system takes of what it cannot send yet, in bytes. Left to itself it takes megabytes, and then nothing for a long
/// time: a slow peer would look like one that has stopped.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_LEN: u32 = 64 << 10;

/// Tells the clients of one run apart. Never reused, so that a late goodbye cannot take a newcomer away.
pub type ClientId = u64;

/// Does something in a thread of its own and waits for it: what its stack was used for goes with it, which a client that says nothing
/// for the rest of the day would keep.
///
/// # Errors
/// The system has no thread.
pub fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("aside".into())
            .stack_size(STACK_ASIDE_LEN)
            .spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// One client: its socket and its outbox.
pub struct Connection {
    /// The client.
    pub id: ClientId,
    /// Where it connected from.
    pub peer: SocketAddr,
    line: Arc<Line>,
    outbox: Arc<Outbox>,
    /// What the log calls it beside its address, if anything. With it the client has said who it is, and need not make room for others.
    name: OnceLock<Option<String>>,
}

impl Connection {
    pub(super) fn new(
        id: ClientId,
        peer: SocketAddr,
        socket: TcpStream,
        post: Arc<Post>,
        pace: Pace,
    ) -> Connection {
        let line = Arc::new(Line {
            id,
            socket,
            writer: Mutex::default(),
        });
        let outbox = Outbox::new(post, pace, Arc::clone(&line) as Arc<dyn Way>);
        Connection {
            id,
            peer,
            line,
            outbox,
            name: OnceLock::new(),
        }
    }

    /// The stream of what the client sends.
    pub fn incoming(&self) -> impl Read + '_ {
        Incoming(self)
    }

    /// Sets how long a read of [`Connection::incoming`] may take; `None`: for ever.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.line.socket.set_read_timeout(patience)
    }

    /// The way out to the client.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The client has said who it is, so it is past the greeting; the log calls it by this name, if it has one.
    pub fn settle(&self, name: Option<String>) {
        // A client says it once; the first name stays.
        let _ = self.name.set(name);
        self.outbox.no_deadline(&Departure::GreetingTooLong);
    }

    /// Whether the client has yet to say who it is.
    pub fn is_greeting(&self) -> bool {
        self.name.get().is_none()
    }

    /// Shuts the socket both ways, which wakes both threads.
    pub(super) fn shut(&self) {
        self.line.shut();
    }

    /// Serves the client until it is gone. This is the body of the reader thread.
    pub(super) fn run(&self, serve: impl FnOnce() -> Departure) {
        let departure = catch_unwind(AssertUnwindSafe(serve)).unwrap_or(Departure::Panicked);
        self.outbox.end(departure, DRAIN_TIME);
        self.outbox.post().make_round();
        match self.outbox.ending() {
            Some(Departure::HungUp | Departure::TooSlow | Departure::Panicked) => self.shut(),
            _ => self.discard(),
        }
        self.line.join_writer();
        match self.outbox.ending() {
            Some(departure @ (Departure::Broke(_) | Departure::TooSlow)) => {
                warn!("{self} departed: {departure}")
            }
            Some(departure) => info!("{self} departed: {departure}"),
            None => info!("{self} departed"),
        }
    }

    /// Throws away what still comes, until the peer closes or the clock shuts the socket. Not inlined: a client that is there
    /// would keep room on its stack for this.
    #[inline(never)]
    fn discard(&self) {
        // An error is an end, too.
        let _ = io::copy(&mut self.incoming(), &mut io::sink());
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.name.get() {
            Some(Some(name)) => write!(f, "client {} {name} from {}", self.id, self.peer),
            _ => write!(f, "client {} from {}", self.id, self.peer),
        }
    }
}

/// The socket, and the thread that writes what does not go at once.
struct Line {
    id: ClientId,
    socket: TcpStream,
    writer: Mutex<Writer>,
}

/// The writer thread of a client. Most clients never need theirs.
#[derive(Default)]
enum Writer {
    #[default]
    NotNeeded,
    Running(JoinHandle<()>),
    /// It is being joined, or there was no thread for it.
    Gone,
}

impl Way for Line {
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        machine::write_now(&self.socket, bytes)
    }

    fn start_writer(self: Arc<Self>, outbox: &Arc<Outbox>, items: Receiver<Item>) {
        let mut writer = self.writer.lock();
        if let Writer::NotNeeded = *writer {
            let thread = thread::Builder::new()
                .name(format!("write {}", self.id))
                .stack_size(STACK_LEN);
            let (line, its_outbox) = (Arc::clone(&self), Arc::clone(outbox));
            *writer = thread
                .spawn(move || line.writer_loop(&its_outbox, &items))
                .map_or_else(
                    |error| {
                        error!("client {}: no thread for its writer: {error}", self.id);
                        self.shut();
                        Writer::Gone
                    },
                    Writer::Running,
                );
        }
    }

    fn probe(&self, is_on: bool) {
        // Refused, it takes as long as it always does.
        let _ = if is_on {
            keep_alive(&self.socket, PROBE_INTERVAL, PROBE_INTERVAL)
        } else {
            keep_alive(&self.socket, KEEPALIVE_TIME, KEEPALIVE_INTERVAL)
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(&self.socket).set_tcp_user_timeout(Some(if is_on {
            PROBE_TIMEOUT
        } else {
            USER_TIMEOUT
        }));
    }

    fn finish(&self, outbox: &Arc<Outbox>) -> bool {
        // A writer that is being joined waits for its last item, too.
        let has_none = matches!(*self.writer.lock(), Writer::NotNeeded);
        if has_none {
            self.end_sending(outbox);
        }
        has_none
    }

    fn shut(&self) {
        // Fails only if the peer was faster.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Line {
    fn writer_loop(&self, outbox: &Arc<Outbox>, items: &Receiver<Item>) {
        let result = catch_unwind(AssertUnwindSafe(|| {
            write_loop(outbox, items, &mut &self.socket)
        }));
        let reason = match result {
            Ok(Ok(())) => return self.end_sending(outbox),
            Ok(Err(error)) if is_late(&error) => Departure::TooSlow,
            Ok(Err(_)) => Departure::HungUp,
            Err(_panic) => Departure::Panicked,
        };
        outbox.end(reason, Duration::ZERO);
        self.shut();
    }

    fn end_sending(&self, outbox: &Arc<Outbox>) {
        // The peer may be gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
        outbox.end_within(CLOSE_TIME, Departure::Left);
    }

    /// Waits until the writer has ended, which the ending of its outbox brings about.
    fn join_writer(&self) {
        let writer = std::mem::replace(&mut *self.writer.lock(), Writer::Gone);
        if let Writer::Running(thread) = writer {
            // A panic of it has been dealt with in its loop.
            let _ = thread.join();
        }
    }
}

/// What a client sends. Before its thread waits for more, all that it has caused so far goes out.
struct Incoming<'a>(&'a Connection);

impl Read for Incoming<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.outbox.post().make_round();
        Quick(&self.0.line.socket).read(buffer)
    }
}

/// A socket that acknowledges at once what was read (on Linux). A Python program writes a frame in two pieces, and its second
/// waits for the acknowledgement of the first: 44 ms each time, if that is delayed.
pub struct Quick<'a>(pub &'a TcpStream);

impl Read for Quick<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        // The system forgets it after a while, so it is set again each time. Refused, it is only slower.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(self.0).set_tcp_quickack(true);
        Ok(n)
    }
}

/// Sets up a connected socket, at either end: frames leave at once, a vanished peer is noticed, a write cannot take for ever.
///
/// # Errors
/// The system refused an option: the connection is of no use.
pub fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_TIME))?;
    keep_alive(socket, KEEPALIVE_TIME, KEEPALIVE_INTERVAL)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        SockRef::from(socket).set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_LEN)?;
    }
    Ok(())
}

/// Has the system ask a silent peer for a sign of life after this time, and then this often, three times. Windows can be told how often
/// since Windows 10 only; left to itself it asks ten times, which is soon enough as well.
fn keep_alive(socket: &TcpStream, time: Duration, interval: Duration) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
    #[cfg(not(any(target_os = "openbsd", windows)))]
    let keepalive = keepalive.with_retries(3);
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}
