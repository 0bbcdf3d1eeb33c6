//! The outbox: everything that goes out to one client, in one order.
//!
//! ```text
//!   any thread ── push ──▶ posted ──▶ round of the fan-out ──────────── what the socket takes at once ──▶ socket
//!                                              └── the rest ──▶ [ channel ] ──▶ writer thread ──────────────┘
//! ```
//!
//! Pushing never blocks, so it may happen under a lock. Each client has its own channel and its own writer thread. They start with the first
//! item that has to wait for the socket. Most clients take at once what they are sent, and never need them: for those the round is the
//! fast path ([`super::fanout`]).
//!
//! Its methods stand in four files. `post` and `flush` are in [`super::fanout`]. What waits for space is in [`super::flow`], which bounds
//! the queue. Deadlines and probes are in [`super::deadlines`].
//!
//! An end is the last item: [`Outbox::end`] names the reason, once, and nothing that is pushed later is sent.
//! Knows no protocol: bytes go into a [`Transport`].
//! Invariant: what is pushed first is written first. So while the writer has something, nothing is written past it.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use log::error;
use parking_lot::Mutex;

use super::connection::named_thread;
use super::deadlines::{Awaited, Deadlines};
use super::departure::Departure;
use super::fanout::Fanout;
use super::flow::Flow;
use super::is_late;
use super::memory::{Account, Bytes};

/// What an item counts at least, in bytes, at [`Pace::Single`]. There each short item takes as long to write as a long one. So the limits
/// in bytes must hold for many short items, too.
const MIN_SINGLE: usize = 1 << 10;

/// The longest pause of [`Pace::Single`]: at one item in this time a client still makes the progress that is asked of it.
pub(crate) const MAX_PAUSE: Duration = Duration::from_millis(50);

/// The most that the writer gives to the kernel in one write, in bytes. A multiple of 4, as is all that a Python program gets: so the length
/// of a frame is never split between two writes.
const MAX_WRITE: usize = 64 << 10;

/// How long the peer may take to read the last bytes and to close, once they are written.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// What an item costs while it waits for the writer, beside its bytes.
const ITEM_COST: usize = 64;

/// What goes out to a client.
pub(crate) enum Item {
    /// Bytes, often shared with the outboxes of others, and a number: see [`Outbox::written_number`].
    Bytes(Bytes, u64),
    /// Something too long to lie in memory: it writes itself when its turn comes. Dropped if the client is gone by then.
    Job(Job),
    /// The last item.
    End,
}

/// Something that writes itself, or a part of itself. What it returns is the rest: its turn comes after what is queued by then.
pub(crate) struct Job(pub Box<Writes>);

type Writes = dyn FnOnce(&mut dyn Write) -> io::Result<Option<Job>> + Send;

/// How items are written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Everything that is ready in one write: for peers that know where a frame ends.
    Batched,
    /// One write for each item, and at least this time between two: for peers that take what one read brings for one item.
    Single(Duration),
}

/// What an outbox writes into: a socket, or a test.
pub(crate) trait Transport: Send + Sync {
    /// Writes what the peer takes without waiting, and returns how many bytes that were. The writer meets an error again.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes some of the bytes, and waits until the peer takes them.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Asks the system to find out soon whether the peer is still there. `false`: the system may take its time again.
    fn probe(&self, is_on: bool);
    /// Ends the sending side.
    fn end_sending(&self);
    /// Ends both directions, which wakes the threads that read or write.
    fn shut(&self);
}

/// See the module's page.
pub(crate) struct Outbox {
    pub(super) transport: Box<dyn Transport>,
    pub(super) pace: Pace,
    pub(super) fanout: Arc<Fanout>,
    /// What was pushed since the last round of the fan-out.
    pub(super) posted: Mutex<Vec<Item>>,
    /// The channel to the writer, once there is one.
    items: OnceLock<Sender<Item>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// How many items the writer was given and has not written yet.
    pub(super) n_with_writer: AtomicUsize,
    written_number: AtomicU64,
    /// Why the connection ends, once that is decided.
    ending: OnceLock<Departure>,
    pub(super) flow: Flow,
    pub(super) deadlines: Mutex<Deadlines>,
}

impl Outbox {
    /// An empty outbox.
    pub(crate) fn new(
        fanout: Arc<Fanout>,
        pace: Pace,
        transport: Box<dyn Transport>,
    ) -> Arc<Outbox> {
        Arc::new(Outbox {
            transport,
            pace,
            flow: Flow::new(Arc::clone(&fanout.memory)),
            fanout,
            posted: Mutex::default(),
            items: OnceLock::new(),
            writer: Mutex::default(),
            n_with_writer: AtomicUsize::new(0),
            written_number: AtomicU64::new(0),
            ending: OnceLock::new(),
            deadlines: Mutex::default(),
        })
    }

    // ---- in: what others push ----

    /// Queues bytes for the client.
    pub(crate) fn push(self: &Arc<Self>, bytes: Bytes) {
        self.push_numbered(bytes, 0);
    }

    /// Queues bytes with a number. Numbers rise; 0 is none.
    pub(crate) fn push_numbered(self: &Arc<Self>, bytes: Bytes, number: u64) {
        if !self.is_ending() {
            self.flow.push(self.cost(bytes.len()));
            self.post(Item::Bytes(bytes, number));
        }
    }

    /// Queues something that writes itself.
    pub(crate) fn push_job(self: &Arc<Self>, job: Job) {
        self.post(Item::Job(job));
    }

    /// What bytes count at this pace.
    fn cost(&self, n: usize) -> usize {
        match self.pace {
            Pace::Batched => n,
            Pace::Single(_) => n.max(MIN_SINGLE),
        }
    }

    /// How many bytes are held for the client. What is queued for others as well counts in full.
    pub(super) fn held(&self) -> usize {
        self.account().held() + self.flow.queued()
    }

    /// What is held for the client.
    pub(crate) fn account(&self) -> &Account {
        &self.flow.account
    }

    // ---- out: the writer ----

    /// Gives an item to the writer, which starts with the first one.
    pub(super) fn give_to_writer(self: &Arc<Self>, item: Item) {
        let items = self.items.get_or_init(|| {
            let (items, receiver) = unbounded();
            self.start_writer(receiver);
            items
        });
        if let Item::Bytes(bytes, _) = &item {
            bytes.count_in(&self.account().memory);
        }
        self.queue_for_writer(items, item);
    }

    fn queue_for_writer(&self, items: &Sender<Item>, item: Item) {
        self.n_with_writer.fetch_add(1, Ordering::Relaxed);
        self.account().hold(ITEM_COST);
        // Without a writer the connection is ending.
        let _ = items.send(item);
    }

    fn start_writer(self: &Arc<Self>, items: Receiver<Item>) {
        let outbox = Arc::clone(self);
        match named_thread("writer").spawn(move || outbox.writer_loop(&items)) {
            Ok(thread) => *self.writer.lock() = Some(thread),
            Err(error) => {
                error!("no thread to write to a client: {error}");
                self.transport.shut();
            }
        }
    }

    /// The writer thread: writes what the rounds give it, until the end.
    fn writer_loop(self: Arc<Self>, items: &Receiver<Item>) {
        let reason = match catch_unwind(AssertUnwindSafe(|| self.write_items(items))) {
            Ok(Ok(())) => {
                self.transport.end_sending();
                return self.expect(Awaited::Close, CLOSE_TIME);
            }
            Ok(Err(error)) if is_late(&error) => Departure::TooSlow,
            Ok(Err(_)) => Departure::HungUp,
            Err(_panic) => Departure::Panicked,
        };
        self.end(reason, Duration::ZERO);
        self.transport.shut();
    }

    fn write_items(&self, items: &Receiver<Item>) -> io::Result<()> {
        let mut batch = Batch::default();
        let mut written_at: Option<Instant> = None;
        for first in items {
            let mut next = Some(first);
            let mut n_items = 0;
            while let Some(item) = next {
                n_items += 1;
                match item {
                    Item::Bytes(bytes, number) => batch.add(&bytes, number),
                    Item::Job(job) => {
                        self.write_batch(&mut batch)?;
                        let rest = (job.0)(&mut Stream(self))?;
                        // The job may have pushed: with the body written, the turn lets go what was parked.
                        self.flush();
                        if let (Some(rest), Some(items)) = (rest, self.items.get()) {
                            self.queue_for_writer(items, Item::Job(rest));
                        }
                        break;
                    }
                    Item::End => return self.write_batch(&mut batch),
                }
                next = match self.pace {
                    Pace::Batched if batch.bytes.len() < MAX_WRITE => items.try_recv().ok(),
                    _ => None,
                };
            }
            if let (Pace::Single(pause), Some(at)) = (self.pace, written_at) {
                thread::sleep(pause.saturating_sub(at.elapsed()));
            }
            self.write_batch(&mut batch)?;
            self.n_with_writer.fetch_sub(n_items, Ordering::Release);
            self.account().release(n_items * ITEM_COST);
            written_at = Some(Instant::now());
        }
        Ok(())
    }

    fn write_batch(&self, batch: &mut Batch) -> io::Result<()> {
        let n_held = batch.bytes.capacity();
        self.account().hold(n_held);
        for piece in batch.bytes.chunks(MAX_WRITE) {
            Stream(self).write_all(piece)?;
            self.flow.free(piece.len());
        }
        let n = batch.bytes.len();
        if n > 0 {
            // A short item counts as much when it is written as when it was pushed.
            self.flow.take(self.cost(n) - n);
            self.flow.free(self.cost(n) - n);
        }
        self.wrote_to(batch.number);
        // A long line leaves no long buffer behind.
        *batch = Batch::default();
        self.account().release(n_held);
        Ok(())
    }

    /// Everything up to this number is written.
    pub(super) fn wrote_to(&self, number: u64) {
        self.written_number.fetch_max(number, Ordering::Relaxed);
    }

    /// The number of the last bytes that were written with one.
    pub(crate) fn written_number(&self) -> u64 {
        self.written_number.load(Ordering::Relaxed)
    }

    // ---- the end ----

    /// Ends the connection for this reason: what is queued is still written, for at most `limit`, then the socket is closed.
    /// Only the first reason counts.
    pub(crate) fn end(self: &Arc<Self>, reason: Departure, limit: Duration) {
        self.expect(Awaited::Close, limit);
        if self.ending.set(reason).is_ok() {
            self.post(Item::End);
            self.flow.notify();
        }
    }

    /// Why the connection is ending, if it is.
    pub(crate) fn ending(&self) -> Option<&Departure> {
        self.ending.get()
    }

    /// Whether the connection is ending.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Waits until the end has been written, or cannot be. Called by the client's own thread, once, after [`Outbox::end`].
    pub(super) fn join_writer(&self) {
        let writer = self.writer.lock().take();
        if let Some(thread) = writer {
            // Its loop deals with a panic.
            let _ = thread.join();
        }
    }
}

/// Items that go out in one write.
#[derive(Default)]
pub(super) struct Batch {
    pub bytes: Vec<u8>,
    /// The last number among them.
    pub number: u64,
}

impl Batch {
    pub(super) fn add(&mut self, bytes: &[u8], number: u64) {
        self.bytes.extend_from_slice(bytes);
        self.number = self.number.max(number);
    }
}

/// What the writer and its jobs write into. It counts the bytes that the client takes, also those of a job, which were never queued.
struct Stream<'a>(&'a Outbox);

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.0.transport.write(bytes)?;
        self.0.flow.take(n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::flow::{PROGRESS, PROGRESS_TIME, SOFT_LIMIT};

    /// How long any expected thing may take.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// A client that takes only `space` bytes at once, and breaks when it has taken `limit` bytes.
    struct Fake {
        space: AtomicUsize,
        limit: usize,
        /// Each write apart: what went at once, and what the writer wrote.
        at_once: Mutex<Vec<Vec<u8>>>,
        by_writer: Mutex<Vec<Vec<u8>>>,
        /// What else was asked of the transport.
        asked: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Transport for Arc<Fake> {
        fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.space.load(Ordering::Relaxed));
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.space.fetch_sub(n, Ordering::Relaxed);
            self.at_once.lock().push(bytes[..n].to_vec());
            Ok(n)
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            let mut writes = self.by_writer.lock();
            if writes.concat().len() + bytes.len() > self.limit {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            writes.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn probe(&self, is_on: bool) {
            self.asked
                .lock()
                .push(if is_on { "probe" } else { "no probe" });
        }

        fn end_sending(&self) {
            self.asked.lock().push("end sending");
        }

        fn shut(&self) {
            self.asked.lock().push("shut");
        }
    }

    /// A job that writes itself at once.
    fn job(write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static) -> Job {
        Job(Box::new(move |stream| write(stream).map(|()| None)))
    }

    /// An outbox whose writer is a test.
    pub(crate) fn with_channel(
        fanout: Arc<Fanout>,
        pace: Pace,
        transport: Box<dyn Transport>,
    ) -> (Arc<Outbox>, Receiver<Item>) {
        let outbox = Outbox::new(fanout, pace, transport);
        let (items, receiver) = unbounded();
        outbox.items.set(items).unwrap();
        (outbox, receiver)
    }

    /// A client that takes nothing at once, so that a test sees all its items.
    pub(crate) struct TakesNothing;

    impl Transport for TakesNothing {
        fn write_now(&self, _: &[u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn probe(&self, _: bool) {}

        fn end_sending(&self) {}

        fn shut(&self) {}
    }

    /// An outbox, and what is asked of its transport beside writing.
    pub(crate) fn asked_outbox() -> (Arc<Outbox>, Arc<Mutex<Vec<&'static str>>>) {
        let client = Client::with_space(0);
        (client.outbox, Arc::clone(&client.fake.asked))
    }

    impl Outbox {
        /// Whether the clock finds that its time is up.
        pub(crate) fn is_overdue(self: &Arc<Self>, now: Instant) -> bool {
            self.look_at_clock(now);
            self.is_ending()
        }

        pub(crate) fn flush_in_test(&self) {
            self.fanout.flush_now();
        }

        /// As if everything up to this number were written.
        pub(crate) fn has_written(&self, number: u64) {
            self.written_number.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// One client of a test.
    struct Client {
        outbox: Arc<Outbox>,
        items: Receiver<Item>,
        fake: Arc<Fake>,
    }

    impl Client {
        /// A client that takes `space` bytes at once.
        fn with_space(space: usize) -> Client {
            Client::new(space, Pace::Batched, usize::MAX)
        }

        fn new(space: usize, pace: Pace, limit: usize) -> Client {
            let fake = Arc::new(Fake {
                space: AtomicUsize::new(space),
                limit,
                at_once: Mutex::default(),
                by_writer: Mutex::default(),
                asked: Arc::default(),
            });
            let transport = Box::new(Arc::clone(&fake));
            let (outbox, items) = with_channel(Arc::default(), pace, transport);
            Client {
                outbox,
                items,
                fake,
            }
        }

        fn is_sent(&self, text: &str) {
            self.outbox.push(text.as_bytes().into());
        }

        fn is_sent_job(&self, text: &str) {
            let text = text.to_owned();
            self.outbox
                .push_job(job(move |stream| stream.write_all(text.as_bytes())));
        }

        /// What went at once in the round that is made now, each write apart.
        fn takes(&self) -> Vec<String> {
            self.outbox.flush_in_test();
            texts(&self.fake.at_once)
        }

        /// What the writer writes of what it has been given, each write apart.
        fn gets_from_the_writer(&self) -> Vec<String> {
            let (give, given) = unbounded();
            self.items
                .try_iter()
                .for_each(|item| give.send(item).unwrap());
            drop(give);
            self.outbox.write_items(&given).unwrap();
            texts(&self.fake.by_writer)
        }

        fn queued(&self) -> usize {
            self.outbox.flow.queued()
        }

        fn ends(&self) {
            self.outbox.end(Departure::Left, Duration::from_secs(30));
        }
    }

    fn texts(writes: &Mutex<Vec<Vec<u8>>>) -> Vec<String> {
        let writes = std::mem::take(&mut *writes.lock());
        writes
            .into_iter()
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    fn bytes(len: usize) -> Bytes {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 4) as u8 % 100).collect();
        bytes.into()
    }

    #[test]
    fn what_the_client_takes_at_once_goes_in_one_write_and_needs_no_writer() {
        let client = Client::with_space(1000);
        for text in ["one ", "two ", "three"] {
            client.is_sent(text);
        }
        assert_eq!(client.takes(), ["one two three"]);
        assert!(client.takes().is_empty());
        assert!(client.items.is_empty());
        assert_eq!(client.queued(), 0);
        assert_eq!(client.outbox.flow.taken(), 13);
    }

    #[test]
    fn rest_of_a_write_goes_before_anything_else() {
        let client = Client::with_space(6);
        client.is_sent("one two");
        assert_eq!(client.takes(), ["one tw"]);
        client.fake.space.store(1000, Ordering::Relaxed);
        client.is_sent(" three");
        assert!(client.takes().is_empty(), "nothing overtakes the writer");
        assert_eq!(client.gets_from_the_writer(), ["o three"]);
        client.is_sent("four");
        assert_eq!(client.takes(), ["four"]);
        assert_eq!(client.queued(), 0);
    }

    #[test]
    fn writer_thread_starts_with_what_has_to_wait_and_ends_with_the_end() {
        for space in [3, 1000] {
            let fake = Client::with_space(space).fake;
            let outbox = Outbox::new(Arc::default(), Pace::Batched, Box::new(Arc::clone(&fake)));
            outbox.push(b"line".as_slice().into());
            outbox.flush_in_test();
            assert_eq!(outbox.items.get().is_some(), space == 3);
            outbox.end(Departure::Left, Duration::from_secs(30));
            outbox.push(b"late".as_slice().into());
            outbox.flush_in_test();
            outbox.push_job(job(|_| panic!("a job after the end")));
            outbox.flush_in_test();
            outbox.join_writer();
            let written = [texts(&fake.at_once), texts(&fake.by_writer)].concat();
            assert_eq!(written.concat(), "line");
            assert_eq!(*fake.asked.lock(), ["end sending"]);
        }
    }

    #[test]
    fn job_is_the_writers_and_what_follows_waits_for_it() {
        let client = Client::with_space(1000);
        client.is_sent("before ");
        client.is_sent_job("job ");
        client.is_sent_job("another ");
        client.is_sent("after");
        assert_eq!(client.takes(), ["before "]);
        assert_eq!(client.gets_from_the_writer(), ["job ", "another ", "after"]);
    }

    #[test]
    fn what_is_pushed_goes_between_the_pieces_of_a_job() {
        fn in_pieces(n: usize) -> Job {
            Job(Box::new(move |stream| {
                stream.write_all(format!("piece {n} ").as_bytes())?;
                Ok((n < 3).then(|| in_pieces(n + 1)))
            }))
        }
        let client = Client::with_space(1000);
        client.outbox.push_job(in_pieces(1));
        client.is_sent("one ");
        assert!(client.takes().is_empty());
        assert_eq!(client.gets_from_the_writer(), ["piece 1 ", "one "]);
        client.is_sent("two ");
        client.takes();
        assert_eq!(client.gets_from_the_writer(), ["piece 2 ", "two "]);
        assert_eq!(client.gets_from_the_writer(), ["piece 3 "]);
        client.is_sent("three ");
        assert_eq!(client.takes(), ["three "]);
    }

    #[test]
    fn mark_is_that_of_the_last_bytes_that_are_written_whole() {
        let client = Client::with_space(6);
        client.outbox.push_numbered(b"four".as_slice().into(), 1);
        client.outbox.push_numbered(b"more".as_slice().into(), 2);
        client.outbox.push_numbered(b"last".as_slice().into(), 3);
        client.is_sent("unmarked");
        assert_eq!(client.outbox.written_number(), 0);
        client.takes();
        assert_eq!(client.outbox.written_number(), 0, "not known to be whole");
        client.gets_from_the_writer();
        assert_eq!(client.outbox.written_number(), 3);
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
            let client = Client::with_space(0);
            let all: Vec<Bytes> = lens.iter().map(|len| bytes(*len)).collect();
            all.iter()
                .for_each(|bytes| client.outbox.push(bytes.clone()));
            assert!(client.takes().is_empty());
            let writes = client.gets_from_the_writer();
            assert!(writes.iter().all(|write| write.len() <= MAX_WRITE));
            assert!(writes.iter().all(|write| write.len() % 4 == 0), "{lens:?}");
            assert!(
                writes.concat().as_bytes()
                    == all.iter().flat_map(|it| it.to_vec()).collect::<Vec<_>>(),
                "{lens:?}"
            );
            assert!(writes.len() <= 2 * (writes.concat().len() / MAX_WRITE + 1));
        }
    }

    #[test]
    fn stream_that_breaks_ends_the_writer_and_drops_what_is_queued() {
        for limit in [0, 8] {
            let client = Client::new(0, Pace::Batched, limit);
            let (used, is_used) = crossbeam_channel::bounded::<()>(1);
            client.is_sent("one ");
            client.is_sent_job("job is too long");
            client
                .outbox
                .push_job(job(move |_| used.send(()).map_err(io::Error::other)));
            client.outbox.flush_in_test();
            let error = client.outbox.write_items(&client.items).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            drop(client);
            assert!(is_used.recv_timeout(DEADLINE).is_err(), "dropped unused");
        }
    }

    #[test]
    fn client_that_is_flooded_with_crumbs_is_not_too_slow() {
        let client = Client::new(0, Pace::Single(MAX_PAUSE), usize::MAX);
        let n_items = 20 * SOFT_LIMIT / MIN_SINGLE;
        (0..n_items).for_each(|_| client.is_sent("crumb"));
        // The writer writes one item in each pause, and the clock looks on.
        let start = Instant::now();
        let mut batch = Batch::default();
        for n_written in 0..n_items as u32 {
            let now = start + MAX_PAUSE * n_written;
            assert!(!client.outbox.flow.is_too_slow(now), "{n_written}");
            batch.add(b"crumb", 0);
            client.outbox.write_batch(&mut batch).unwrap();
        }
        assert_eq!(client.queued(), 0);
    }

    #[test]
    fn single_items_go_in_one_write_each_and_apart() {
        let pause = Duration::from_millis(20);
        let client = Client::new(1000, Pace::Single(pause), usize::MAX);
        for text in ["one", "two", "three"] {
            client.is_sent(text);
        }
        assert_eq!(client.queued(), 3 * MIN_SINGLE);
        let start = Instant::now();
        assert!(client.takes().is_empty());
        assert_eq!(client.gets_from_the_writer(), ["one", "two", "three"]);
        assert_eq!(client.queued(), 0);
        assert!(PROGRESS_TIME.div_duration_f64(MAX_PAUSE) * MIN_SINGLE as f64 > PROGRESS as f64);
        // Three writes have two pauses between them; nothing bounds them from above.
        assert!(start.elapsed() >= 2 * pause);
    }

    #[test]
    fn client_that_takes_a_file_is_not_too_slow() {
        let client = Client::with_space(0);
        let start = Instant::now();
        let outbox = Arc::clone(&client.outbox);
        client.outbox.push_job(job(move |stream| {
            assert!(!outbox.flow.is_too_slow(start));
            stream.write_all(&bytes(PROGRESS as usize))?;
            assert!(!outbox.flow.is_too_slow(start + PROGRESS_TIME));
            Ok(())
        }));
        client.outbox.push(bytes(SOFT_LIMIT + 4));
        client.ends();
        client.takes();
        client.gets_from_the_writer();
        assert_eq!(client.queued(), 0);
        assert_eq!(client.outbox.ending(), Some(&Departure::Left));
    }

    #[test]
    fn first_reason_stays_and_the_sooner_limit_counts() {
        let client = Client::with_space(0);
        let look = |secs| {
            client
                .outbox
                .look_at_clock(Instant::now() + Duration::from_secs(secs))
        };
        client.ends();
        assert!(
            client.outbox.has_space(),
            "nobody waits for a client that is ending"
        );
        look(29);
        assert!(client.fake.asked.lock().is_empty());
        client.outbox.end(Departure::HungUp, Duration::ZERO);
        look(0);
        assert_eq!(*client.fake.asked.lock(), ["shut"]);
        assert_eq!(client.outbox.ending(), Some(&Departure::Left));
        client.takes();
        assert_eq!(client.items.len(), 1, "one end is enough");
    }

    /// A client that takes at once a random part of what it is offered, or nothing, and whose writer takes its time.
    struct Moody {
        taken: Mutex<Vec<u8>>,
        n_calls: AtomicUsize,
    }

    impl Transport for Arc<Moody> {
        fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
            let n_calls = self.n_calls.fetch_add(1, Ordering::Relaxed);
            let n = [bytes.len(), 0, bytes.len() / 3, bytes.len()][n_calls % 4];
            self.taken.lock().extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            thread::yield_now();
            let n = bytes.len().min(7);
            self.taken.lock().extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn probe(&self, _: bool) {}

        fn end_sending(&self) {}

        fn shut(&self) {}
    }

    /// Rounds of several threads against the writer's own thread: fails if `Outbox::is_writer_idle` is not asked.
    #[test]
    fn order_is_kept_while_rounds_and_the_writer_run_at_once() {
        const N_LINES: usize = 20_000;
        let fanout = Arc::new(Fanout::default());
        let moody = Arc::new(Moody {
            taken: Mutex::default(),
            n_calls: AtomicUsize::new(0),
        });
        let transport = Box::new(Arc::clone(&moody));
        let outbox = Outbox::new(Arc::clone(&fanout), Pace::Batched, transport);
        // As in a group: what is pushed under one lock has one order.
        let next = Mutex::new(0);
        let (stop, stopped) = crossbeam_channel::bounded(0);
        thread::scope(|scope| {
            scope.spawn(|| fanout.fanout_loop(&stopped));
            let senders: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            let mut next = next.lock();
                            if *next == N_LINES {
                                return;
                            }
                            outbox.push(format!("{next} ").as_bytes().into());
                            *next += 1;
                            drop(next);
                            outbox.flush();
                        }
                    })
                })
                .collect();
            senders
                .into_iter()
                .for_each(|sender| sender.join().unwrap());
            outbox.end(Departure::Left, Duration::from_secs(30));
            fanout.flush_now();
            outbox.join_writer();
            drop(stop);
        });
        let taken = String::from_utf8(moody.taken.lock().clone()).unwrap();
        let numbers: Vec<usize> = taken
            .split_terminator(' ')
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers.into_iter().eq(0..N_LINES));
    }

    proptest! {
        /// The client takes any part at once, and the writer comes at any time.
        #[test]
        fn order_is_kept(steps in proptest::collection::vec((0..4, 0..20_usize), 0..100)) {
            let client = Client::with_space(0);
            let (mut sent, mut got) = (String::new(), String::new());
            for (n, (step, space)) in steps.into_iter().enumerate() {
                let text = format!("{n} ");
                match step {
                    0 => {
                        client.is_sent(&text);
                        sent += &text;
                    }
                    1 => {
                        client.is_sent_job(&text);
                        sent += &text;
                    }
                    2 => {
                        client.fake.space.store(space, Ordering::Relaxed);
                        got.extend(client.takes());
                    }
                    _ => got.extend(client.gets_from_the_writer()),
                }
            }
            got.extend(client.takes());
            got.extend(client.gets_from_the_writer());
            prop_assert_eq!(got, sent);
        }
    }
}
