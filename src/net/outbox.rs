//! The outbox: the one queue towards one client, and the loop that empties it into the socket.
//!
//! ```text
//!   any thread -- push --> [ crossbeam channel ] -- write_loop, one thread --> socket
//!                 count up                          count down, ring the bell
//! ```
//!
//! Pushing never blocks and never fails for the one who pushes, so it may happen under a lock. What bounds the queue is the byte
//! count: above [`SOFT_LIMIT`] whoever causes the bytes waits, holding no lock, until there is room ([`Bell`]). A client that gets
//! rid of too little while others wait for it departs as too slow.
//!
//! An ending is the last item: [`Outbox::end`] names the reason, once, and nothing that is pushed later is sent.
//! Knows no protocol and no socket: bytes go into an `impl Write`.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver, Sender};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::connection::Departure;

/// How many bytes may be queued for a client before those who cause more have to wait. Enough for a thousand lines, so that
/// a hiccup of one member slows nobody down.
pub const SOFT_LIMIT: usize = 256 << 10;

/// While it is over [`SOFT_LIMIT`], a client must get rid of this many bytes ...
const PROGRESS: u64 = 64 << 10;
/// ... in this time, or it departs. It is also the longest that anyone waits for anyone.
const PROGRESS_TIME: Duration = Duration::from_secs(5);

/// The most that is handed to the kernel in one write, in bytes, so that progress shows. A multiple of 4, as everything on the
/// wire is: so no length of a frame is ever split between two writes.
const MAX_WRITE: usize = 64 << 10;

/// How long the peer may take to read the last bytes and to close, once they are written.
pub const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Something that goes out to a client.
pub enum Item {
    /// Bytes that lie ready, often shared with the outboxes of others.
    Bytes(Arc<[u8]>),
    /// Something too long to lie ready: it writes itself when its turn comes. Dropped unused if the client is gone by then.
    Job(Job),
    /// The last item.
    End,
}

/// See [`Item::Job`].
pub type Job = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// Wakes all who wait for room in some outbox. One for a whole server: it rings seldom.
#[derive(Default)]
pub struct Bell {
    mutex: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Waits, while `blocked` holds, for the next ring. `blocked` may look at outboxes and nothing else.
    pub fn wait_while(&self, blocked: impl Fn() -> bool) {
        let mut guard = self.mutex.lock();
        while blocked() {
            self.rung.wait(&mut guard);
        }
    }

    /// Wakes all who wait, so that they look again.
    pub fn ring(&self) {
        // Whoever is between its look and its wait holds the mutex: it must not miss this ring.
        drop(self.mutex.lock());
        self.rung.notify_all();
    }
}

/// The one way out to one client. See the module's page.
pub struct Outbox {
    items: Sender<Item>,
    /// Bytes pushed and not yet written.
    queued: AtomicUsize,
    /// Bytes written since the client came.
    written: AtomicU64,
    bell: Arc<Bell>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Why the connection ends, once that is decided. The first reason stays.
    ending: Option<Departure>,
    /// When the socket is shut whatever is still queued, and the reason if there is none yet.
    deadline: Option<(Instant, Departure)>,
    /// Since when the client has been over the limit, and what it had written then.
    over_since: Option<(Instant, u64)>,
}

impl Outbox {
    /// A new outbox, and the end of its channel for the writer thread.
    pub fn new(bell: Arc<Bell>) -> (Arc<Outbox>, Receiver<Item>) {
        let (items, receiver) = unbounded();
        let (queued, written) = (AtomicUsize::new(0), AtomicU64::new(0));
        let outbox = Outbox {
            items,
            queued,
            written,
            bell,
            state: Mutex::default(),
        };
        (Arc::new(outbox), receiver)
    }

    /// Queues bytes for the client. Dropped if the client is ending: that news has its own way.
    pub fn push(&self, bytes: Arc<[u8]>) {
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.send(Item::Bytes(bytes));
    }

    /// Queues something that writes itself.
    pub fn push_job(&self, job: Job) {
        self.send(Item::Job(job));
    }

    fn send(&self, item: Item) {
        // The writer is gone only when the connection is; its reader notices by itself.
        let _ = self.items.send(item);
    }

    /// Whether those who cause bytes may push more. An ending client keeps nobody waiting.
    pub fn has_room(&self) -> bool {
        self.queued.load(Ordering::Relaxed) <= SOFT_LIMIT || self.is_ending()
    }

    /// Waits until this outbox has room, or until `own`, the outbox of the client on whose behalf it waits, is ending.
    pub fn wait_for_room(&self, own: &Outbox) {
        if !self.has_room() {
            self.bell
                .wait_while(|| !self.has_room() && !own.is_ending());
        }
    }

    /// Ends the connection for this reason: what is queued is still written, for at most `limit`, then the socket is closed.
    /// Only the first reason counts.
    pub fn end(&self, reason: Departure, limit: Duration) {
        let mut state = self.state.lock();
        state.meet(Instant::now() + limit, reason.clone());
        self.decide(state, reason);
    }

    fn decide(&self, mut state: MutexGuard<State>, reason: Departure) {
        if state.ending.is_none() {
            state.ending = Some(reason);
            drop(state);
            self.send(Item::End);
            self.bell.ring();
        }
    }

    /// Ends the connection for this reason when `limit` has passed, unless [`Outbox::no_deadline`] comes first.
    pub fn end_within(&self, limit: Duration, reason: Departure) {
        self.state.lock().meet(Instant::now() + limit, reason);
    }

    /// The deadline was met. Has no effect on a connection that is ending.
    pub fn no_deadline(&self) {
        let mut state = self.state.lock();
        if state.ending.is_none() {
            state.deadline = None;
        }
    }

    /// Why the connection is ending, if it is.
    pub fn ending(&self) -> Option<Departure> {
        self.state.lock().ending.clone()
    }

    /// Whether the connection is ending.
    pub fn is_ending(&self) -> bool {
        self.state.lock().ending.is_some()
    }

    /// Whether the socket is to be shut now: a deadline has passed, or the client is too slow. Called by the listener's clock.
    pub fn is_overdue(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let written = self.written.load(Ordering::Relaxed);
        state.over_since = match state.over_since {
            _ if self.queued.load(Ordering::Relaxed) <= SOFT_LIMIT => None,
            Some((since, then)) if written - then < PROGRESS => Some((since, then)),
            _ => Some((now, written)),
        };
        let too_slow = state
            .over_since
            .filter(|(since, _)| now - *since >= PROGRESS_TIME)
            .map(|_| Departure::TooSlow);
        let late = state
            .deadline
            .clone()
            .filter(|(deadline, _)| now >= *deadline)
            .map(|(_, reason)| reason);
        let Some(reason) = too_slow.or(late) else {
            return false;
        };
        self.decide(state, reason);
        true
    }

    fn wrote(&self, n: usize) {
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        let before = self.queued.fetch_sub(n, Ordering::Relaxed);
        if before > SOFT_LIMIT && before - n <= SOFT_LIMIT {
            self.bell.ring();
        }
    }
}

impl State {
    /// Sets the deadline, unless there is one already that comes sooner.
    fn meet(&mut self, at: Instant, reason: Departure) {
        if self
            .deadline
            .as_ref()
            .is_none_or(|(deadline, _)| at < *deadline)
        {
            self.deadline = Some((at, reason));
        }
    }
}

/// Empties the outbox into `stream` until the last item: everything that is ready goes in one write.
///
/// # Errors
/// A write that failed or timed out. Whatever is still queued is dropped with the channel.
pub fn write_loop(
    outbox: &Outbox,
    items: &Receiver<Item>,
    stream: &mut dyn Write,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        while let Some(item) = next {
            match item {
                Item::Bytes(bytes) => batch.extend_from_slice(&bytes),
                Item::Job(job) => {
                    write_batch(outbox, &mut batch, stream)?;
                    job(stream)?;
                }
                Item::End => return write_batch(outbox, &mut batch, stream),
            }
            if batch.len() >= MAX_WRITE {
                break;
            }
            next = items.try_recv().ok();
        }
        write_batch(outbox, &mut batch, stream)?;
    }
    Ok(())
}

fn write_batch(outbox: &Outbox, batch: &mut Vec<u8>, stream: &mut dyn Write) -> io::Result<()> {
    for piece in batch.chunks(MAX_WRITE) {
        stream.write_all(piece)?;
        outbox.wrote(piece.len());
    }
    // A long line leaves no long buffer behind.
    batch.clear();
    batch.shrink_to(4 << 10);
    Ok(())
}
