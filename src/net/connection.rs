//! One client's connection: the thread that reads from it, its outbox, and how it ends.
//!
//! ```text
//!   reader thread: serve(..) ──▶ Departure ──▶ outbox.end ──▶ discard ──▶ join the writer ──▶ one log line
//!   writer thread: what is queued ──▶ end the sending side ──▶ (the peer closes, or the clock shuts the socket)
//! ```
//!
//! The reader thread joins its writer and is the only one that removes its client. Others that want a connection to end tell its outbox.
//! The listener's clock shuts the socket if the end takes too long. Either way the reader wakes.
//!
//! A connection is closed gently: the sending side first, then what still comes is discarded until the peer closes. Unread input would
//! turn the close into a reset, and a reset destroys the last frames on their way to the peer.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, log};
use socket2::{SockRef, TcpKeepalive};

use super::deadlines::Awaited;
use super::departure::Departure;
use super::fairness::Source;
use super::fanout::Fanout;
use super::outbox::{Outbox, Pace, Transport};
use crate::machine;

/// The stack of each thread of a client: almost three times what a debug build needs. On 32-bit machines address space runs out first.
pub(crate) const STACK_LEN: usize = if cfg!(target_pointer_width = "64") {
    128 << 10
} else {
    64 << 10
};

/// A thread of this name, with a stack of that size.
pub(super) fn named_thread(name: &str) -> thread::Builder {
    let thread = thread::Builder::new().name(name.into());
    thread.stack_size(STACK_LEN)
}

/// How long one write may take without any progress.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// How long what is queued may take to be written when a connection ends normally.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// After this time without anything from a peer, the system sends it a keepalive probe.
const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
/// The time between two keepalive probes. After three without an answer, the connection fails. Where there is a [`USER_TIMEOUT`], that time
/// decides in place of the number.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a peer may send no TCP acknowledgement, neither of a probe nor of data. It is longer than it takes to plug a cable in again.
///
/// While data is not acknowledged, the system sends no probes, and this time begins with the data. The data may come just before the probes
/// would have shown that the peer is gone. So a vanished peer is noticed after twice this time and one interval at the latest.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(40);

/// If a newcomer wants the name of a peer, the system sends probes sooner: this is then the first time and the interval. A peer to which data
/// is on its way gets none: it has [`USER_TIMEOUT`], as ever.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How much the system takes of what it cannot send yet, in bytes. By default it takes megabytes, and then nothing for a long time: a
/// slow peer would look like one that has stopped.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT_LEN: u32 = 64 << 10;

/// Tells the clients of one run apart. Never reused, so that a late goodbye cannot remove a newcomer.
pub(crate) type ClientId = u64;

/// One client: its socket and its outbox.
pub(crate) struct Connection {
    /// The client.
    pub id: ClientId,
    /// Where it connected from.
    pub peer: SocketAddr,
    came_at: Instant,
    socket: Arc<TcpStream>,
    outbox: Arc<Outbox>,
    /// What the log calls the client beside its address, if anything. It is set when the client has said who it is.
    name: OnceLock<Option<String>>,
}

impl Connection {
    pub(super) fn new(
        id: ClientId,
        peer: SocketAddr,
        socket: TcpStream,
        fanout: Arc<Fanout>,
        pace: Pace,
    ) -> Connection {
        let socket = Arc::new(socket);
        let outbox = Outbox::new(fanout, pace, Box::new(Arc::clone(&socket)));
        Connection {
            id,
            peer,
            came_at: Instant::now(),
            socket,
            outbox,
            name: OnceLock::new(),
        }
    }

    /// Where it comes from, as far as limits are concerned.
    pub(crate) fn source(&self) -> Source {
        self.peer.ip().into()
    }

    /// The stream of what the client sends. Before it reads, a service lets out what it has caused: [`Outbox::flush`].
    pub(crate) fn stream(&self) -> QuickAck<'_> {
        QuickAck(&self.socket)
    }

    /// Sets how long a read may take; `None`: for ever.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(patience)
    }

    /// What goes out to the client.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// The client has said who it is. The log calls it by this name, if it has one.
    pub(crate) fn introduced(&self, name: Option<String>) {
        // A client says it once; the first name stays.
        let _ = self.name.set(name);
        self.outbox.expect_no_more(Awaited::Greeting);
    }

    /// Whether the client has yet to say who it is.
    pub(crate) fn is_greeting(&self) -> bool {
        self.name.get().is_none()
    }

    /// Whether the service has given it no name, and so no place of its own: a newcomer may push it out.
    pub(super) fn has_no_name(&self) -> bool {
        self.name.get().is_none_or(Option::is_none)
    }

    /// Whether the client has been greeting for longer than this.
    pub(super) fn is_greeting_for(&self, time: Duration) -> bool {
        self.is_greeting() && self.came_at.elapsed() > time
    }

    /// Serves the client until it is gone. The body of the reader thread.
    pub(super) fn run(&self, serve: impl FnOnce() -> Departure) {
        let departure = catch_unwind(AssertUnwindSafe(serve)).unwrap_or(Departure::Panicked);
        self.outbox.end(departure.clone(), DRAIN_TIME);
        self.outbox.fanout.flush_now();
        let departure = self.outbox.ending().cloned().unwrap_or(departure);
        if matches!(
            departure,
            Departure::HungUp | Departure::TooSlow | Departure::Panicked
        ) {
            self.outbox.transport.shut();
        } else {
            // Until the peer closes, or the clock shuts the socket. An error is an end, too. Not by io::copy: its buffer would lie on the
            // stack of each client as long as it is there.
            let rest = BufReader::new(self.stream());
            rest.bytes().take_while(Result::is_ok).for_each(drop);
        }
        self.outbox.join_writer();
        let level = match departure {
            Departure::Broke(_) | Departure::TooSlow | Departure::Stalled => Level::Warn,
            // A port probe, say: it said nothing that anybody would look for in the log.
            Departure::Left
            | Departure::HungUp
            | Departure::GreetingTooLong
            | Departure::MadeRoom
                if self.has_no_name() =>
            {
                Level::Debug
            }
            _ => Level::Info,
        };
        log!(level, "{self} departed: {departure}");
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "client {}", self.id)?;
        if let Some(Some(name)) = self.name.get() {
            write!(f, " {name}")?;
        }
        write!(f, " from {}", self.peer)
    }
}

impl Transport for Arc<TcpStream> {
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        machine::write_now(self, bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&**self).write(bytes)
    }

    fn probe(&self, is_on: bool) {
        // If the system refuses, a dead peer is noticed as late as ever.
        let _ = if is_on {
            keep_alive(self, PROBE_INTERVAL, PROBE_INTERVAL)
        } else {
            keep_alive(self, KEEPALIVE_TIME, KEEPALIVE_INTERVAL)
        };
        // With a user timeout, the system would not count the unanswered probes. Without one, data has longer, never less.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(&**self).set_tcp_user_timeout((!is_on).then_some(USER_TIMEOUT));
    }

    fn end_sending(&self) {
        // The peer may be gone already.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn shut(&self) {
        // As above.
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// A socket that sends the TCP acknowledgement of what was read at once (on Linux). A Python program writes a frame in two pieces, and its
/// second piece waits for the acknowledgement of the first: 44 ms each time, if that is delayed.
pub(crate) struct QuickAck<'a>(pub &'a TcpStream);

impl Read for QuickAck<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        // The system forgets it after a while, so it is set again each time. Refused, it is only slower.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(self.0).set_tcp_quickack(true);
        Ok(n)
    }
}

/// Sets up a connected socket, at either end: frames leave at once, a vanished peer is noticed, a write cannot take for ever.
pub(crate) fn tune(socket: &TcpStream) -> io::Result<()> {
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
