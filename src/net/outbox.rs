//! The outbox: the one way out to one client. What can go at once goes at once; a queue and a thread of its own take the rest.
//!
//! ```text
//!   any thread -- push --> posted -- a round, one write that does not block --> socket
//!                 count up               \-- the rest --> [ crossbeam channel ] -- write_loop, one thread --> socket
//! ```
//!
//! Pushing never blocks and never fails for the one who pushes, so it may happen under a lock: it only posts. What is posted goes out
//! in rounds, one at a time ([`Post::make_round`]): a thread that serves a client asks for one each time before it waits for more. A short
//! round it makes itself, and a long one too while nobody else says anything; otherwise that is the postman's. So a line to a hundred
//! members wakes one thread at most and not a hundred, and what many say meanwhile is with each member in one write of the next round.
//!
//! What bounds the queue is the byte count: up when pushed, down when written. Above [`SOFT_LIMIT`] whoever causes the bytes waits, holding
//! no lock, until there is room ([`Bell`]). A client that gets rid of too little while others wait for it departs as too slow.
//!
//! An ending is the last item: [`Outbox::end`] names the reason, once, and nothing that is pushed later is sent.
//! Knows no protocol and no socket: bytes go into a [`Way`] or an `impl Write`.
//! Invariant: what is pushed first goes out first, so nothing goes straight while the writer still has something.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::departure::Departure;

/// How many bytes may be queued for a client before those who cause more have to wait. Enough for a thousand lines, so that
/// a hiccup of one member slows nobody down.
pub const SOFT_LIMIT: usize = 256 << 10;

/// While it is over [`SOFT_LIMIT`], a client must get rid of this many bytes ...
const PROGRESS: u64 = 64 << 10;
/// ... in this time, or it departs. It is also the longest that anyone waits, with one line, for anyone.
const PROGRESS_TIME: Duration = Duration::from_secs(5);

/// With more than this queued, in bytes, a client departs at once: what waited for the end of its dialogue, and a good deal more.
const MAX_QUEUED: usize = 16 << 20;

/// What an item that goes out singly counts at least, in bytes: so that however short the items are, those that wait for their turn
/// are few, and progress shows at every pace.
const MIN_SINGLE: usize = 1 << 10;

/// The longest pause of [`Pace::Single`]: at one item in this time a client still makes the progress that is asked of it.
pub const MAX_PAUSE: Duration = Duration::from_millis(50);

/// The most that is handed to the kernel in one write, in bytes, so that progress shows. A multiple of 4, as everything on the
/// wire is: so no length of a frame is ever split between two writes.
const MAX_WRITE: usize = 64 << 10;

/// How long a peer is probed whose name somebody else wants. One that is not there any more has failed sooner.
pub const PROBE_TIME: Duration = Duration::from_secs(5);

/// How long the peer may take to read the last bytes and to close, once they are written.
pub const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Something that goes out to a client.
pub enum Item {
    /// Bytes that lie ready, often shared with the outboxes of others; if they are a line, its number.
    Bytes(Arc<[u8]>, u64),
    /// Something too long to lie ready: it writes itself when its turn comes. Dropped unused if the client is gone by then.
    Job(Job),
    /// The last item.
    End,
}

/// How what is ready goes out.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Everything that is ready in one write: for peers that know where a frame ends.
    Batched,
    /// One write for each item, and at least this time between two: for peers that take what one read brings for one item.
    Single(Duration),
}

/// See [`Item::Job`].
pub type Job = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

/// What lies beyond an outbox: a socket and a thread, or a test.
pub trait Way: Send + Sync {
    /// Writes what the client takes without waiting, and says how many bytes that were. An error is left to the writer, which meets it again.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Something does not go at once, for the first time: starts the writer, which takes it out of the channel.
    fn start_writer(self: Arc<Self>, outbox: &Arc<Outbox>, items: Receiver<Item>);
    /// The peer must soon show that it is still there, or the connection fails; or it has as long as ever again.
    fn probe(&self, _is_on: bool) {}
    /// Everything is written: ends the sending side. `false`: there is a writer, whose part that is.
    fn finish(&self, outbox: &Arc<Outbox>) -> bool;
    /// Ends both directions, which wakes all who read or write.
    fn shut(&self) {}
}

/// What all outboxes of a server share: the rounds, the postman, the bell, and the clock's list.
pub struct Post {
    bell: Bell,
    /// The outboxes with something that the clock must look at. A client that does nothing is not among them, and costs no time.
    watched: Mutex<Vec<Weak<Outbox>>>,
    /// The outboxes to which something was posted since the last round.
    due: Mutex<Vec<Arc<Outbox>>>,
    round: Mutex<Round>,
    /// How often a round was asked for since the last one began.
    n_asked: AtomicUsize,
    call: Sender<()>,
    calls: Receiver<()>,
}

/// What a round works with, kept from one to the next.
#[derive(Default)]
struct Round {
    /// How many rounds in a row were asked for by one thread each.
    n_alone: usize,
    due: Vec<Arc<Outbox>>,
    batch: Vec<u8>,
}

/// To so many outboxes whoever asks for a round writes by himself, since to wake the postman takes as long as some writes. Measured:
/// 16 are better than 4 for a group of ten; a hundred, and what many say goes out in many small writes.
const SHORT_ROUND: usize = 16;

/// After so many rounds that one thread each asked for, whoever asks makes the next by himself, however long it is: while he speaks alone
/// there is nothing to wait for that could go out with it. Measured: a fifth more lines to a hundred when both cores are busy.
const ALONE: usize = 8;

impl Default for Post {
    fn default() -> Post {
        let (call, calls) = bounded(1);
        Post {
            bell: Bell::default(),
            watched: Mutex::default(),
            due: Mutex::default(),
            round: Mutex::default(),
            n_asked: AtomicUsize::new(0),
            call,
            calls,
        }
    }
}

impl Post {
    /// Sees to it that everything posted so far goes out, whoever posted it. Waits for no client and for no round; called without any lock.
    pub fn make_round(&self) {
        let n_due = self.due.lock().len();
        if n_due == 0 {
            return;
        }
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        match self.round.try_lock() {
            Some(mut round) if n_due <= SHORT_ROUND || round.n_alone >= ALONE => round.run(self),
            // A call that was not heard yet will do.
            _ => drop(self.call.try_send(())),
        }
    }

    /// Shuts the connections whose time is up. Called by the listener's clock.
    pub fn keep_deadlines(&self, now: Instant) {
        let mut watched = std::mem::take(&mut *self.watched.lock());
        watched.retain(|outbox| {
            outbox
                .upgrade()
                .is_some_and(|outbox| outbox.look_at_clock(now) == Look::Again)
        });
        self.watched.lock().append(&mut watched);
    }

    /// The postman: makes the rounds that are long, or that were asked for during another.
    pub fn post_loop(&self, stopped: &Receiver<()>) {
        loop {
            select! {
                recv(self.calls) -> _ => while !self.due.lock().is_empty() {
                    // Whoever is about to post goes first, so that the round carries it, too.
                    thread::yield_now();
                    self.round.lock().run(self);
                },
                recv(stopped) -> _ => return,
            }
        }
    }
}

impl Round {
    fn run(&mut self, post: &Post) {
        match post.n_asked.swap(0, Ordering::Relaxed) {
            0 => {} // the rest of what the last one did not carry
            1 => self.n_alone += 1,
            _ => self.n_alone = 0,
        }
        std::mem::swap(&mut self.due, &mut post.due.lock());
        self.due
            .drain(..)
            .for_each(|outbox| outbox.deliver(&mut self.batch));
    }
}

/// Wakes all who wait for room in some outbox. One for a whole server: it rings seldom.
#[derive(Default)]
pub struct Bell {
    mutex: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Waits while `blocked` holds, looking again at each ring; `false` if it still holds at the deadline. `blocked` may look at
    /// outboxes and nothing else.
    pub fn wait_while(&self, blocked: impl Fn() -> bool, deadline: Instant) -> bool {
        let mut guard = self.mutex.lock();
        while blocked() {
            if self.rung.wait_until(&mut guard, deadline).timed_out() {
                return false;
            }
        }
        true
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
    /// What was pushed since the last round. With anything in it, the outbox is due.
    posted: Mutex<Vec<Item>>,
    way: Arc<dyn Way>,
    /// The way to the writer, once there is one.
    items: OnceLock<Sender<Item>>,
    /// How many items the writer was handed and has not written yet.
    n_handed: AtomicUsize,
    /// Bytes pushed and not yet written.
    queued: AtomicUsize,
    /// Bytes written since the client came.
    written: AtomicU64,
    /// The number of the last line written.
    heard: AtomicU64,
    post: Arc<Post>,
    pace: Pace,
    state: Mutex<State>,
}

/// What comes of the clock's look at an outbox.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// There is nothing for it to look at any more.
    Enough,
    Again,
    /// Its time was up: it is shut.
    Over,
}

#[derive(Default)]
struct State {
    /// Why the connection ends, once that is decided. The first reason stays.
    ending: Option<Departure>,
    /// When the socket is shut whatever is still queued, and the reason if there is none yet.
    deadline: Option<(Instant, Departure)>,
    /// Since when the client has been over the limit, and what it had written then.
    over_since: Option<(Instant, u64)>,
    /// When a peer that is in the middle of something must have sent more of it.
    more_by: Option<Instant>,
    /// Until when the peer is probed.
    probed_until: Option<Instant>,
    /// Whether the clock looks at this outbox.
    is_watched: bool,
}

impl Outbox {
    /// A new outbox. What it holds for its client takes no room before there is something.
    pub fn new(post: Arc<Post>, pace: Pace, way: Arc<dyn Way>) -> Arc<Outbox> {
        Arc::new(Outbox {
            posted: Mutex::default(),
            way,
            items: OnceLock::new(),
            n_handed: AtomicUsize::new(0),
            queued: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            post,
            pace,
            state: Mutex::default(),
        })
    }

    /// The post that this outbox belongs to.
    pub fn post(&self) -> &Post {
        &self.post
    }

    /// Queues bytes for the client. Dropped if the client is ending: that news has its own way.
    pub fn push(self: &Arc<Self>, bytes: Arc<[u8]>) {
        self.push_line(bytes, 0);
    }

    /// Queues a line, which has a number: see [`Outbox::heard`].
    pub fn push_line(self: &Arc<Self>, bytes: Arc<[u8]>, number: u64) {
        if !self.is_ending() {
            let cost = self.cost(bytes.len());
            let before = self.queued.fetch_add(cost, Ordering::Relaxed);
            if before <= SOFT_LIMIT && before + cost > SOFT_LIMIT {
                self.watch(&mut self.state.lock());
            }
            self.post_item(Item::Bytes(bytes, number));
        }
    }

    /// The number of the last line that was written. Lines come in the order of their numbers.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The client is known to have heard all up to the line of this number.
    pub fn has_heard(&self, number: u64) {
        self.heard.fetch_max(number, Ordering::Relaxed);
    }

    /// The client itself said the line of this number, so if it has heard all before, it has heard this.
    pub fn has_said(&self, number: u64) {
        // If not, it is told its own line is missing, at worst.
        let _ =
            self.heard
                .compare_exchange(number - 1, number, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Has the system find out quickly whether the peer is still there, for [`PROBE_TIME`]. Waits for nothing.
    pub fn probe(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if state.probed_until.is_none() {
            state.probed_until = Some(Instant::now() + PROBE_TIME);
            self.watch(&mut state);
            self.way.probe(true);
        }
    }

    /// What bytes count that go out at this pace.
    fn cost(&self, n: usize) -> usize {
        match self.pace {
            Pace::Batched => n,
            Pace::Single(_) => n.max(MIN_SINGLE),
        }
    }

    /// Queues something that writes itself.
    pub fn push_job(self: &Arc<Self>, job: Job) {
        self.post_item(Item::Job(job));
    }

    fn post_item(self: &Arc<Self>, item: Item) {
        let mut posted = self.posted.lock();
        posted.push(item);
        if posted.len() == 1 {
            self.post.due.lock().push(Arc::clone(self));
        }
    }

    /// Writes what was posted, as far as it goes straight, and hands the rest to the writer. Called by the round, so never twice at a time.
    fn deliver(self: &Arc<Self>, batch: &mut Vec<u8>) {
        let posted = std::mem::take(&mut *self.posted.lock());
        let mut last_line = 0;
        for item in posted {
            match item {
                Item::Bytes(bytes, number)
                    if self.goes_straight() && matches!(self.pace, Pace::Batched) =>
                {
                    batch.extend_from_slice(&bytes);
                    last_line = number.max(last_line);
                }
                Item::End => {
                    self.write_straight(batch, last_line);
                    if self.goes_straight() && self.way.finish(self) {
                        drop(self.items.set(unbounded().0))
                    } else {
                        self.hand_over(Item::End)
                    }
                    // Nothing goes straight any more.
                    self.n_handed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                item => {
                    self.write_straight(batch, last_line);
                    self.hand_over(item);
                }
            }
        }
        self.write_straight(batch, last_line);
    }

    /// Whether the writer has nothing that would be overtaken.
    fn goes_straight(&self) -> bool {
        self.n_handed.load(Ordering::Acquire) == 0
    }

    fn write_straight(self: &Arc<Self>, batch: &mut Vec<u8>, last_line: u64) {
        if !batch.is_empty() {
            let n = self.way.write_now(batch).unwrap_or(0);
            self.wrote(n);
            match batch.get(n..) {
                Some(rest @ [_, ..]) => self.hand_over(Item::Bytes(rest.into(), last_line)),
                _ => self.has_heard(last_line),
            }
            batch.clear();
            batch.shrink_to(MAX_WRITE);
        }
    }

    fn hand_over(self: &Arc<Self>, item: Item) {
        self.n_handed.fetch_add(1, Ordering::Relaxed);
        let items = self.items.get_or_init(|| {
            let (items, receiver) = unbounded();
            Arc::clone(&self.way).start_writer(self, receiver);
            items
        });
        // Without a writer, the connection is ending or its reader notices by itself.
        let _ = items.send(item);
    }

    /// Whether those who cause bytes may push more. An ending client keeps nobody waiting.
    pub fn has_room(&self) -> bool {
        self.queued.load(Ordering::Relaxed) <= SOFT_LIMIT || self.is_ending()
    }

    /// Waits, holding no lock, while `find_full` finds an outbox that has no room: so a flood slows the flooder, whose outbox this is.
    /// Woken by room, by the end of the full one, and by its own; after [`PROGRESS_TIME`] it waits no longer.
    pub fn wait_for_room(&self, find_full: impl Fn() -> Option<Arc<Outbox>>) {
        let deadline = Instant::now() + PROGRESS_TIME;
        while let Some(full) = find_full() {
            // It may have room as soon as what this very thread has caused is out.
            self.post.make_round();
            let is_woken = self
                .post
                .bell
                .wait_while(|| !full.has_room() && !self.is_ending(), deadline);
            if !is_woken || self.is_ending() {
                return;
            }
        }
    }

    /// Waits so long, or until the connection ends: then `false`.
    pub fn pause(&self, time: Duration) -> bool {
        self.post
            .bell
            .wait_while(|| !self.is_ending(), Instant::now() + time);
        !self.is_ending()
    }

    /// Ends the connection for this reason: what is queued is still written, for at most `limit`, then the socket is closed.
    /// Only the first reason counts.
    pub fn end(self: &Arc<Self>, reason: Departure, limit: Duration) {
        let mut state = self.state.lock();
        state.meet(Instant::now() + limit, reason.clone());
        self.watch(&mut state);
        self.decide(state, reason);
    }

    fn watch(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_watched, true) {
            self.post.watched.lock().push(Arc::downgrade(self));
        }
    }

    fn decide(self: &Arc<Self>, mut state: MutexGuard<State>, reason: Departure) {
        if state.ending.is_none() {
            state.ending = Some(reason);
            drop(state);
            self.post_item(Item::End);
            self.post.bell.ring();
        }
    }

    /// Ends the connection for this reason when `limit` has passed, unless [`Outbox::no_deadline`] comes first.
    pub fn end_within(self: &Arc<Self>, limit: Duration, reason: Departure) {
        let mut state = self.state.lock();
        state.meet(Instant::now() + limit, reason);
        self.watch(&mut state);
    }

    /// The peer must send more within this time, each time anew, or it has broken the protocol; `None`: it may take its time.
    pub fn expect_more(self: &Arc<Self>, limit: Option<Duration>) {
        let mut state = self.state.lock();
        state.more_by = limit.map(|limit| Instant::now() + limit);
        if limit.is_some() {
            self.watch(&mut state);
        }
    }

    /// The deadline that was set for this reason was met. Has no effect on another, nor on a connection that is ending.
    pub fn no_deadline(&self, reason: &Departure) {
        let mut state = self.state.lock();
        if state.ending.is_none() {
            state.deadline.take_if(|(_, its)| its == reason);
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

    /// Shuts the connection if a deadline has passed, or the client is too slow.
    fn look_at_clock(self: &Arc<Self>, now: Instant) -> Look {
        let mut state = self.state.lock();
        if state.probed_until.take_if(|until| now >= *until).is_some() {
            self.way.probe(false);
        }
        let written = self.written.load(Ordering::Relaxed);
        let queued = self.queued.load(Ordering::Relaxed);
        state.over_since = match state.over_since {
            _ if queued <= SOFT_LIMIT => None,
            Some((since, then)) if written - then < PROGRESS => Some((since, then)),
            _ => Some((now, written)),
        };
        let reason = match &state.deadline {
            _ if queued > MAX_QUEUED => Departure::TooSlow,
            _ if state
                .over_since
                .is_some_and(|(since, _)| now - since >= PROGRESS_TIME) =>
            {
                Departure::TooSlow
            }
            _ if state.more_by.is_some_and(|more_by| now >= more_by) => {
                Departure::Broke("nothing more of a file came".into())
            }
            Some((deadline, reason)) if now >= *deadline => reason.clone(),
            _ => {
                let is_timed = state.deadline.is_some()
                    || state.more_by.is_some()
                    || state.probed_until.is_some();
                // From here on whoever finds something for the clock puts it on the list again.
                state.is_watched = is_timed || state.over_since.is_some();
                return if state.is_watched {
                    Look::Again
                } else {
                    Look::Enough
                };
            }
        };
        state.is_watched = false;
        self.decide(state, reason);
        self.way.shut();
        Look::Over
    }

    fn wrote(&self, n: usize) {
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        let before = self.queued.fetch_sub(n, Ordering::Relaxed);
        if before > SOFT_LIMIT && before - n <= SOFT_LIMIT {
            self.post.bell.ring();
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

/// Writes what the rounds hand over into `stream`, until the last item.
///
/// # Errors
/// A write that failed or timed out. Whatever is still queued is dropped with the channel.
pub fn write_loop(
    outbox: &Outbox,
    items: &Receiver<Item>,
    stream: &mut dyn Write,
) -> io::Result<()> {
    let mut batch = Vec::new();
    let mut written_at: Option<Instant> = None;
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        let mut n_items = 0;
        let mut last_line = 0;
        while let Some(item) = next {
            n_items += 1;
            match item {
                Item::Bytes(bytes, number) => {
                    batch.extend_from_slice(&bytes);
                    last_line = number.max(last_line);
                }
                Item::Job(job) => {
                    write_batch(outbox, &mut batch, last_line, stream)?;
                    job(&mut Counted { outbox, stream })?;
                    outbox.post.make_round();
                }
                Item::End => return write_batch(outbox, &mut batch, last_line, stream),
            }
            next = match outbox.pace {
                Pace::Batched if batch.len() < MAX_WRITE => items.try_recv().ok(),
                _ => None,
            };
        }
        if let (Pace::Single(pause), Some(at)) = (outbox.pace, written_at) {
            thread::sleep(pause.saturating_sub(at.elapsed()));
        }
        write_batch(outbox, &mut batch, last_line, stream)?;
        outbox.n_handed.fetch_sub(n_items, Ordering::Release);
        written_at = Some(Instant::now());
    }
    Ok(())
}

/// The stream for a job, whose bytes were never queued but show that the client takes what it is sent.
struct Counted<'a> {
    outbox: &'a Outbox,
    stream: &'a mut dyn Write,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.stream.write(bytes)?;
        self.outbox.written.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Writes a batch, with which the client has heard all up to the line of this number.
fn write_batch(
    outbox: &Outbox,
    batch: &mut Vec<u8>,
    last_line: u64,
    stream: &mut dyn Write,
) -> io::Result<()> {
    for piece in batch.chunks(MAX_WRITE) {
        stream.write_all(piece)?;
        outbox.wrote(piece.len());
    }
    if !batch.is_empty() {
        outbox.wrote(outbox.cost(batch.len()) - batch.len());
    }
    outbox.has_heard(last_line);
    // A long line leaves no long buffer behind.
    batch.clear();
    batch.shrink_to(4 << 10);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    /// How long any expected thing may take.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// A stream that keeps each write apart, and breaks when it is full.
    struct Writes {
        writes: Vec<Vec<u8>>,
        room: usize,
    }

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.room = self
                .room
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::BrokenPipe)?;
            self.writes.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn new() -> (Arc<Outbox>, Receiver<Item>) {
        at_pace(Pace::Batched)
    }

    /// An outbox whose client takes nothing at once.
    fn at_pace(pace: Pace) -> (Arc<Outbox>, Receiver<Item>) {
        with_channel(Arc::default(), pace, Arc::new(NoWay))
    }

    /// An outbox whose writer is a test.
    pub(crate) fn with_channel(
        post: Arc<Post>,
        pace: Pace,
        way: Arc<dyn Way>,
    ) -> (Arc<Outbox>, Receiver<Item>) {
        let outbox = Outbox::new(post, pace, way);
        let (items, receiver) = unbounded();
        outbox.items.set(items).unwrap();
        (outbox, receiver)
    }

    impl Outbox {
        /// Whether the clock finds that its time is up.
        pub(crate) fn is_overdue(self: &Arc<Self>, now: Instant) -> bool {
            self.look_at_clock(now) == Look::Over
        }
    }

    /// A client that takes nothing at once; what is handed to its writer is looked at by a test.
    pub(crate) struct NoWay;

    impl Way for NoWay {
        fn write_now(&self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn start_writer(self: Arc<Self>, _: &Arc<Outbox>, _: Receiver<Item>) {}

        fn finish(&self, _: &Arc<Outbox>) -> bool {
            false
        }
    }

    /// A client that takes at once what this function says, and tells what else is asked of it.
    struct Straight<F>(F, Sender<&'static str>);

    impl<F: Fn(&[u8]) -> io::Result<usize> + Send + Sync> Way for Straight<F> {
        fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
            self.0(bytes)
        }

        fn start_writer(self: Arc<Self>, _: &Arc<Outbox>, _: Receiver<Item>) {
            // Only some tests listen.
            let _ = self.1.send("start");
        }

        fn finish(&self, _: &Arc<Outbox>) -> bool {
            self.1.send("finish").is_ok()
        }

        fn probe(&self, is_on: bool) {
            let _ = self.1.send(if is_on {
                "challenge"
            } else {
                "challenge no more"
            });
        }

        fn shut(&self) {
            let _ = self.1.send("shut");
        }
    }

    fn way(write_now: impl Fn(&[u8]) -> io::Result<usize> + Send + Sync + 'static) -> Arc<dyn Way> {
        Arc::new(Straight(write_now, unbounded().0))
    }

    fn bytes(len: usize) -> Arc<[u8]> {
        (0..len).map(|at| (at / 4) as u8).collect()
    }

    fn written(outbox: &Outbox, items: &Receiver<Item>) -> Vec<Vec<u8>> {
        let mut stream = Writes {
            writes: Vec::new(),
            room: usize::MAX,
        };
        outbox.post.make_round();
        write_loop(outbox, items, &mut stream).unwrap();
        stream.writes
    }

    fn end(outbox: &Arc<Outbox>) {
        outbox.end(Departure::Left, Duration::from_secs(30));
    }

    /// A client that takes only so many bytes at once; what each way brought it.
    struct Client {
        outbox: Arc<Outbox>,
        items: Receiver<Item>,
        room: Arc<AtomicUsize>,
        straight: Receiver<Vec<u8>>,
    }

    impl Client {
        fn with_room(room: usize) -> Client {
            let room = Arc::new(AtomicUsize::new(room));
            let (taken, straight) = unbounded();
            let its_room = Arc::clone(&room);
            let take = move |bytes: &[u8]| {
                let n = bytes.len().min(its_room.load(Ordering::Relaxed));
                its_room.fetch_sub(n, Ordering::Relaxed);
                taken.send(bytes[..n].to_vec()).map_err(io::Error::other)?;
                if n > 0 {
                    Ok(n)
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            };
            let (outbox, items) = with_channel(Arc::default(), Pace::Batched, way(take));
            Client {
                outbox,
                items,
                room,
                straight,
            }
        }

        fn is_sent(&self, text: &str) {
            self.outbox.push(text.as_bytes().into());
        }

        /// What went straight in the round that is made now, each write apart.
        fn takes(&self) -> Vec<String> {
            self.outbox.post.make_round();
            self.straight
                .try_iter()
                .map(|bytes| String::from_utf8(bytes).unwrap())
                .collect()
        }

        /// What the writer writes of what it has been handed.
        fn gets_from_the_writer(&self) -> String {
            let (hand, handed) = unbounded();
            self.items
                .try_iter()
                .for_each(|item| hand.send(item).unwrap());
            drop(hand);
            let mut bytes = Vec::new();
            write_loop(&self.outbox, &handed, &mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        }
    }

    #[test]
    fn what_the_client_takes_at_once_goes_straight_and_in_one_write() {
        let client = Client::with_room(1000);
        ["one ", "two ", "three"]
            .iter()
            .for_each(|text| client.is_sent(text));
        assert_eq!(client.takes(), ["one two three"]);
        assert!(client.takes().is_empty());
        assert!(client.items.is_empty(), "the writer slept");
        assert_eq!(client.outbox.queued.load(Ordering::Relaxed), 0);
        assert_eq!(client.outbox.written.load(Ordering::Relaxed), 13);
    }

    #[test]
    fn rest_of_a_write_goes_before_anything_else() {
        let client = Client::with_room(6);
        client.is_sent("one two");
        assert_eq!(client.takes(), ["one tw"]);
        client.room.store(1000, Ordering::Relaxed);
        client.is_sent(" three");
        assert!(
            client.takes().is_empty(),
            "nothing goes straight past the writer"
        );
        assert_eq!(client.gets_from_the_writer(), "o three");
        client.is_sent("four");
        assert_eq!(client.takes(), ["four"]);
        assert_eq!(client.outbox.queued.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn writer_starts_for_what_does_not_go_at_once_and_for_no_end_without_it() {
        for (room, asked) in [(4, vec!["finish"]), (3, vec!["start"])] {
            let (ask, asks) = unbounded();
            let take = move |bytes: &[u8]| Ok(bytes.len().min(room));
            let outbox = Outbox::new(Arc::default(), Pace::Batched, Arc::new(Straight(take, ask)));
            outbox.push(b"line".as_slice().into());
            end(&outbox);
            outbox.push(b"late".as_slice().into());
            outbox.post.make_round();
            outbox.push_job(Box::new(|_| panic!("a job after the end")));
            outbox.post.make_round();
            assert_eq!(asks.try_iter().collect::<Vec<_>>(), asked);
        }
    }

    #[test]
    fn job_is_the_writers_and_what_follows_waits_for_it() {
        let client = Client::with_room(1000);
        client.is_sent("before ");
        client
            .outbox
            .push_job(Box::new(|stream| stream.write_all(b"job ")));
        client.is_sent("after");
        assert_eq!(client.takes(), ["before "]);
        assert_eq!(client.gets_from_the_writer(), "job after");
    }

    #[test]
    fn what_is_asked_for_during_a_round_goes_out_in_the_next() {
        let post = Arc::new(Post::default());
        let (begin, begun) = unbounded();
        let (told, tells) = bounded(0);
        let tell = |what: &'static str| {
            let (begin, told) = (begin.clone(), told.clone());
            // Taken only when the test looks: until then the round is under way.
            way(move |bytes| {
                begin.send(()).unwrap();
                told.send_timeout(what, DEADLINE)
                    .map(|()| bytes.len())
                    .map_err(io::Error::other)
            })
        };
        let (first, _items) = with_channel(Arc::clone(&post), Pace::Batched, tell("first"));
        let (second, _more_items) = with_channel(Arc::clone(&post), Pace::Batched, tell("second"));
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            first.push(b"line".as_slice().into());
            scope.spawn(|| post.make_round());
            begun.recv_timeout(DEADLINE).unwrap();
            second.push(b"line".as_slice().into());
            post.make_round();
            scope.spawn(|| post.post_loop(&stopped));
            assert_eq!(tells.recv_timeout(DEADLINE), Ok("first"));
            assert_eq!(tells.recv_timeout(DEADLINE), Ok("second"));
            drop(stop);
        });
    }

    #[test]
    fn long_round_is_made_at_once_while_one_speaks_alone() {
        let post = Arc::new(Post::default());
        let outboxes: Vec<_> = (0..=SHORT_ROUND)
            .map(|_| with_channel(Arc::clone(&post), Pace::Batched, Arc::new(NoWay)))
            .collect();
        let is_line_to_all_out_at_once = || {
            outboxes
                .iter()
                .for_each(|(outbox, _)| outbox.push(b"line".as_slice().into()));
            post.make_round();
            outboxes
                .iter()
                .all(|(_, items)| items.try_iter().count() > 0)
        };
        for _ in 0..ALONE {
            outboxes[0].0.push(b"line".as_slice().into());
            post.make_round();
        }
        assert!(is_line_to_all_out_at_once());
        // Somebody else asks while the next round has not begun.
        post.n_asked.fetch_add(1, Ordering::Relaxed);
        assert!(is_line_to_all_out_at_once());
        assert!(!is_line_to_all_out_at_once());
    }

    #[test]
    fn long_round_is_left_to_the_postman() {
        let post = Arc::new(Post::default());
        let outboxes: Vec<_> = (0..=SHORT_ROUND)
            .map(|_| with_channel(Arc::clone(&post), Pace::Batched, Arc::new(NoWay)))
            .collect();
        outboxes
            .iter()
            .for_each(|(outbox, _)| outbox.push(b"line".as_slice().into()));
        post.make_round();
        assert!(outboxes.iter().all(|(_, items)| items.is_empty()));
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            scope.spawn(|| post.post_loop(&stopped));
            for (_, items) in &outboxes {
                assert!(items.recv_timeout(DEADLINE).is_ok());
            }
            drop(stop);
        });
    }

    #[test]
    fn everything_that_is_ready_goes_in_one_write() {
        let (outbox, items) = new();
        for text in ["one ", "two ", "three"] {
            outbox.push(text.as_bytes().into());
        }
        end(&outbox);
        assert_eq!(written(&outbox, &items), [b"one two three"]);
        assert_eq!(outbox.queued.load(Ordering::Relaxed), 0);
        assert_eq!(outbox.written.load(Ordering::Relaxed), 13);
    }

    #[test]
    fn writes_are_at_most_64_kib_and_never_split_a_length() {
        let cases: [&[usize]; 6] = [
            &[MAX_WRITE - 4],
            &[MAX_WRITE],
            &[MAX_WRITE + 4],
            &[MAX_WRITE - 4, 104],
            &[104, 3 * MAX_WRITE, 104],
            &[1004; 1000],
        ];
        for lens in cases {
            let (outbox, items) = new();
            let all: Vec<Arc<[u8]>> = lens.iter().map(|len| bytes(*len)).collect();
            all.iter().for_each(|bytes| outbox.push(Arc::clone(bytes)));
            end(&outbox);
            let writes = written(&outbox, &items);
            assert!(writes.iter().all(|write| write.len() <= MAX_WRITE));
            assert!(writes.iter().all(|write| write.len() % 4 == 0), "{lens:?}");
            assert!(writes.concat() == all.concat(), "{lens:?}");
            assert!(writes.len() <= 2 * (writes.concat().len() / MAX_WRITE + 1));
        }
    }

    #[test]
    fn jobs_write_themselves_in_their_turn() {
        let (outbox, items) = new();
        outbox.push(b"one ".as_slice().into());
        outbox.push_job(Box::new(|stream| stream.write_all(b"job ")));
        outbox.push_job(Box::new(|stream| stream.write_all(b"another ")));
        outbox.push(b"two".as_slice().into());
        end(&outbox);
        let writes = written(&outbox, &items);
        assert_eq!(writes, [&b"one "[..], b"job ", b"another ", b"two"]);
    }

    #[test]
    fn nothing_is_sent_after_the_end() {
        let (outbox, items) = new();
        outbox.push(b"before".as_slice().into());
        end(&outbox);
        outbox.push(b"after".as_slice().into());
        outbox.push_job(Box::new(|_| panic!("a job after the end")));
        assert_eq!(written(&outbox, &items), [b"before"]);
    }

    #[test]
    fn stream_that_breaks_ends_the_loop_and_drops_what_is_queued() {
        for room in [0, 8] {
            let (outbox, items) = new();
            let (failures, failed) = bounded::<()>(1);
            outbox.push(b"one ".as_slice().into());
            outbox.push_job(Box::new(|stream| stream.write_all(b"job is too long")));
            outbox.push_job(Box::new(move |_| {
                failures.send(()).map_err(io::Error::other)
            }));
            let mut stream = Writes {
                writes: Vec::new(),
                room,
            };
            outbox.post.make_round();
            let error = write_loop(&outbox, &items, &mut stream).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            drop(items);
            assert!(failed.recv_timeout(DEADLINE).is_err(), "dropped unused");
        }
    }

    #[test]
    fn room_ends_above_the_soft_limit_and_comes_back() {
        let (outbox, _items) = new();
        outbox.push(bytes(SOFT_LIMIT));
        assert!(outbox.has_room());
        outbox.push(bytes(4));
        assert!(!outbox.has_room());
        outbox.wrote(4);
        assert!(outbox.has_room());
    }

    /// Two wait for room in a full outbox; `event` must wake them.
    fn wakes(event: fn(full: &Arc<Outbox>, own: &Arc<Outbox>)) {
        // The event may come before the wait, so the test gives them many chances to meet.
        for _ in 0..50 {
            let post = Arc::new(Post::default());
            let outbox = || with_channel(Arc::clone(&post), Pace::Batched, Arc::new(NoWay));
            let ((full, _items), (own, _own_items)) = (outbox(), outbox());
            full.push(bytes(SOFT_LIMIT + 4));
            let (woken, is_woken) = bounded(0);
            for _ in 0..2 {
                let (full, own, woken) = (Arc::clone(&full), Arc::clone(&own), woken.clone());
                thread::spawn(move || {
                    woken.send(()).unwrap();
                    own.wait_for_room(|| (!full.has_room()).then(|| Arc::clone(&full)));
                    woken.send(()).unwrap();
                });
            }
            for n in 0..4 {
                if n == 2 {
                    thread::yield_now();
                    event(&full, &own);
                }
                is_woken.recv_timeout(DEADLINE).expect("nobody woke them");
            }
        }
    }

    #[test]
    fn single_items_go_in_one_write_each_and_apart() {
        let pause = Duration::from_millis(20);
        let (outbox, items) = at_pace(Pace::Single(pause));
        for text in ["one", "two", "three"] {
            outbox.push(text.as_bytes().into());
        }
        assert_eq!(outbox.queued.load(Ordering::Relaxed), 3 * MIN_SINGLE);
        end(&outbox);
        let start = Instant::now();
        assert_eq!(
            written(&outbox, &items),
            [b"one".as_slice(), b"two", b"three"]
        );
        assert_eq!(outbox.queued.load(Ordering::Relaxed), 0);
        assert!(PROGRESS_TIME.div_duration_f64(MAX_PAUSE) * MIN_SINGLE as f64 > PROGRESS as f64);
        // Three writes have two pauses between them; nothing bounds them from above.
        assert!(start.elapsed() >= 2 * pause);
    }

    #[test]
    fn room_wakes_those_who_wait() {
        wakes(|full, _| full.wrote(4));
    }

    #[test]
    fn end_of_the_slow_client_wakes_those_who_wait() {
        wakes(|full, _| end(full));
    }

    #[test]
    fn own_end_wakes_the_one_who_waits() {
        wakes(|_, own| end(own));
    }

    #[test]
    fn client_that_is_thrown_out_as_too_slow_wakes_those_who_wait() {
        wakes(|full, _| {
            let now = Instant::now();
            assert!(!full.is_overdue(now));
            assert!(full.is_overdue(now + PROGRESS_TIME));
        });
    }

    #[test]
    fn nobody_waits_for_a_client_that_is_ending() {
        let (outbox, _items) = new();
        outbox.push(bytes(SOFT_LIMIT + 4));
        end(&outbox);
        assert!(outbox.has_room());
    }

    #[test]
    fn ring_is_not_missed_between_look_and_wait() {
        let bell = Arc::new(Bell::default());
        let is_blocked = Arc::new(AtomicUsize::new(1));
        let (looks, looked) = bounded(2);
        let (his_bell, his_look) = (Arc::clone(&bell), Arc::clone(&is_blocked));
        thread::spawn(move || {
            let look = || {
                let is_blocked = his_look.load(Ordering::SeqCst) == 1;
                looks.send(()).unwrap();
                // Time for the other to ring too early, if that could be.
                thread::yield_now();
                is_blocked
            };
            his_bell.wait_while(look, Instant::now() + DEADLINE);
        });
        looked.recv_timeout(DEADLINE).unwrap();
        is_blocked.store(0, Ordering::SeqCst);
        bell.ring();
        looked.recv_timeout(DEADLINE).expect("the ring was missed");
    }

    #[test]
    fn client_that_gets_rid_of_too_little_in_five_seconds_is_too_slow() {
        let (outbox, _items) = new();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        outbox.push(bytes(4 * SOFT_LIMIT));
        assert!(!outbox.is_overdue(at(0)));
        assert!(!outbox.is_overdue(at(4_999)));
        // Enough progress gives it five seconds more.
        outbox.wrote(PROGRESS as usize);
        assert!(!outbox.is_overdue(at(5_000)));
        outbox.wrote(PROGRESS as usize - 4);
        assert!(!outbox.is_overdue(at(9_999)));
        assert_eq!(outbox.ending(), None);
        assert!(outbox.is_overdue(at(10_000)));
        assert_eq!(outbox.ending(), Some(Departure::TooSlow));
    }

    #[test]
    fn clock_looks_only_where_there_is_something_to_look_at() {
        const LIMIT: Duration = PROGRESS_TIME;
        type Event = fn(&Arc<Outbox>);
        let cases: [(Event, &[&str]); 5] = [
            (|outbox| outbox.push(bytes(SOFT_LIMIT + 4)), &["shut"]),
            (|outbox| outbox.end(Departure::Left, LIMIT), &["shut"]),
            (
                |outbox| outbox.end_within(LIMIT, Departure::Kicked),
                &["shut"],
            ),
            (|outbox| outbox.expect_more(Some(LIMIT)), &["shut"]),
            (|outbox| outbox.probe(), &["challenge", "challenge no more"]),
        ];
        for (event, asked) in cases {
            let (ask, asks) = unbounded();
            let outbox = Outbox::new(
                Arc::default(),
                Pace::Batched,
                Arc::new(Straight(|_: &[u8]| Ok(0), ask)),
            );
            let n_watched = || outbox.post.watched.lock().len();
            assert_eq!(n_watched(), 0, "{asked:?}");
            event(&outbox);
            event(&outbox);
            let now = Instant::now();
            assert_eq!(n_watched(), 1, "{asked:?}");
            outbox.post.keep_deadlines(now);
            assert_eq!(n_watched(), 1, "{asked:?}");
            outbox.post.keep_deadlines(now + LIMIT);
            assert_eq!(asks.try_iter().collect::<Vec<_>>(), asked);
            assert_eq!(n_watched(), 0, "{asked:?}");
        }

        // What was met leaves the list, and what was too much and is so again has all its time.
        let (outbox, _items) = new();
        let now = Instant::now();
        outbox.end_within(LIMIT, Departure::GreetingTooLong);
        outbox.push(bytes(SOFT_LIMIT + 4));
        outbox.post.keep_deadlines(now);
        outbox.no_deadline(&Departure::GreetingTooLong);
        outbox.wrote(4);
        outbox.post.keep_deadlines(now);
        assert!(outbox.post.watched.lock().is_empty());
        outbox.push(bytes(4));
        outbox.post.keep_deadlines(now + 10 * LIMIT);
        assert_eq!(outbox.ending(), None);
    }

    #[test]
    fn client_that_takes_a_file_is_not_too_slow() {
        let (outbox, items) = new();
        let start = Instant::now();
        let clock = Arc::clone(&outbox);
        outbox.push_job(Box::new(move |stream| {
            assert!(!clock.is_overdue(start));
            stream.write_all(&bytes(PROGRESS as usize))?;
            assert!(!clock.is_overdue(start + PROGRESS_TIME));
            Ok(())
        }));
        outbox.push(bytes(SOFT_LIMIT + 4));
        end(&outbox);
        written(&outbox, &items);
        assert_eq!(outbox.queued.load(Ordering::Relaxed), 0);
        assert_eq!(outbox.ending(), Some(Departure::Left));
    }

    #[test]
    fn client_within_the_limit_may_take_all_the_time_it_wants() {
        let (outbox, _items) = new();
        let now = Instant::now();
        let later = now + 2 * PROGRESS_TIME;
        outbox.push(bytes(SOFT_LIMIT + 4));
        assert!(!outbox.is_overdue(now));
        outbox.wrote(4);
        assert!(!outbox.is_overdue(later));
        // Over the limit again, it has its five seconds from now on.
        outbox.push(bytes(4));
        assert!(!outbox.is_overdue(later + PROGRESS_TIME));
        assert!(outbox.is_overdue(later + 2 * PROGRESS_TIME));
    }

    #[test]
    fn of_two_deadlines_the_sooner_wins_and_none_may_be_taken_back_after_the_end() {
        let secs = Duration::from_secs;
        let after = |n| Instant::now() + secs(n);
        for limits in [[10, 60], [60, 10]] {
            let (outbox, _items) = new();
            let reasons = limits.map(|limit| match limit {
                10 => Departure::GreetingTooLong,
                _ => Departure::Kicked,
            });
            for (limit, reason) in limits.into_iter().zip(reasons) {
                outbox.end_within(secs(limit), reason);
            }
            assert!(!outbox.is_overdue(after(9)));
            assert!(outbox.is_overdue(after(11)));
            assert_eq!(outbox.ending(), Some(Departure::GreetingTooLong));
        }

        let (outbox, _items) = new();
        outbox.end_within(secs(10), Departure::GreetingTooLong);
        outbox.no_deadline(&Departure::GreetingTooLong);
        assert!(!outbox.is_overdue(after(11)));
        outbox.end_within(secs(60), Departure::Kicked);
        outbox.no_deadline(&Departure::GreetingTooLong);
        assert!(!outbox.is_overdue(after(59)));
        outbox.end(Departure::Left, secs(30));
        outbox.no_deadline(&Departure::Kicked);
        assert!(!outbox.is_overdue(after(29)));
        assert!(outbox.is_overdue(after(31)));
    }

    #[test]
    fn first_reason_stays() {
        let (outbox, items) = new();
        outbox.end(Departure::Kicked, Duration::from_secs(30));
        outbox.end(Departure::HungUp, Duration::ZERO);
        assert_eq!(outbox.ending(), Some(Departure::Kicked));
        // The second has its say about the time.
        assert!(outbox.is_overdue(Instant::now()));
        assert_eq!(outbox.ending(), Some(Departure::Kicked));
        outbox.post.make_round();
        assert_eq!(items.len(), 1, "one end is enough");
    }

    proptest! {
        /// Whatever the client takes at once, and whenever the writer gets to it.
        #[test]
        fn order_is_kept(steps in proptest::collection::vec((0..4, 0..20_usize), 0..100)) {
            let client = Client::with_room(0);
            let (mut sent, mut got) = (String::new(), String::new());
            for (n, (step, room)) in steps.into_iter().enumerate() {
                let text = format!("{n} ");
                match step {
                    0 => {
                        client.is_sent(&text);
                        sent += &text;
                    }
                    1 => {
                        client.outbox.push_job(Box::new({
                            let text = text.clone();
                            move |stream| stream.write_all(text.as_bytes())
                        }));
                        sent += &text;
                    }
                    2 => {
                        client.room.store(room, Ordering::Relaxed);
                        got.extend(client.takes());
                    }
                    _ => got += &client.gets_from_the_writer(),
                }
            }
            got.extend(client.takes());
            got += &client.gets_from_the_writer();
            prop_assert_eq!(got, sent);
        }
    }
}
