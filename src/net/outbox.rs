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
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver, Sender};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::connection::Departure;

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
    items: Sender<Item>,
    /// Bytes pushed and not yet written.
    queued: AtomicUsize,
    /// Bytes written since the client came.
    written: AtomicU64,
    /// The number of the last line written.
    heard: AtomicU64,
    /// Whether the peer is to show that it is still there.
    challenged: AtomicBool,
    bell: Arc<Bell>,
    pace: Pace,
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
    /// When a peer that is in the middle of something must have sent more of it.
    more_by: Option<Instant>,
}

impl Outbox {
    /// A new outbox, and the end of its channel for the writer thread.
    pub fn new(bell: Arc<Bell>, pace: Pace) -> (Arc<Outbox>, Receiver<Item>) {
        let (items, receiver) = unbounded();
        let outbox = Outbox {
            items,
            queued: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            challenged: AtomicBool::new(false),
            bell,
            pace,
            state: Mutex::default(),
        };
        (Arc::new(outbox), receiver)
    }

    /// Queues bytes for the client. Dropped if the client is ending: that news has its own way.
    pub fn push(&self, bytes: Arc<[u8]>) {
        self.push_line(bytes, 0);
    }

    /// Queues a line, which has a number: see [`Outbox::heard`].
    pub fn push_line(&self, bytes: Arc<[u8]>, number: u64) {
        if !self.is_ending() {
            self.queued.fetch_add(self.cost(bytes.len()), Ordering::Relaxed);
            self.send(Item::Bytes(bytes, number));
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
        let _ = self.heard.compare_exchange(number - 1, number, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks the system to find out quickly whether the peer is still there. The listener's clock does it.
    pub fn challenge(&self) {
        self.challenged.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked for since it was done last.
    pub fn take_challenge(&self) -> bool {
        self.challenged.swap(false, Ordering::Relaxed)
    }

    /// What bytes count that go out at this pace.
    fn cost(&self, n: usize) -> usize {
        match self.pace {
            Pace::Batched => n,
            Pace::Single(_) => n.max(MIN_SINGLE),
        }
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

    /// Waits, holding no lock, while `find_full` finds an outbox that has no room: so a flood slows the flooder, whose outbox this is.
    /// Woken by room, by the end of the full one, and by its own; after [`PROGRESS_TIME`] it waits no longer.
    pub fn wait_for_room(&self, find_full: impl Fn() -> Option<Arc<Outbox>>) {
        let deadline = Instant::now() + PROGRESS_TIME;
        while let Some(full) = find_full() {
            let is_woken = self.bell.wait_while(|| !full.has_room() && !self.is_ending(), deadline);
            if !is_woken || self.is_ending() {
                return;
            }
        }
    }

    /// Waits so long, or until the connection ends: then `false`.
    pub fn pause(&self, time: Duration) -> bool {
        self.bell.wait_while(|| !self.is_ending(), Instant::now() + time);
        !self.is_ending()
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

    /// The peer must send more within this time, each time anew, or it has broken the protocol; `None`: it may take its time.
    pub fn expect_more(&self, limit: Option<Duration>) {
        self.state.lock().more_by = limit.map(|limit| Instant::now() + limit);
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
        let queued = self.queued.load(Ordering::Relaxed);
        state.over_since = match state.over_since {
            _ if queued <= SOFT_LIMIT => None,
            Some((since, then)) if written - then < PROGRESS => Some((since, then)),
            _ => Some((now, written)),
        };
        let reason = match &state.deadline {
            _ if queued > MAX_QUEUED => Departure::TooSlow,
            _ if state.over_since.is_some_and(|(since, _)| now - since >= PROGRESS_TIME) => Departure::TooSlow,
            _ if state.more_by.is_some_and(|more_by| now >= more_by) => Departure::Broke("nothing more of a file came".into()),
            Some((deadline, reason)) if now >= *deadline => reason.clone(),
            _ => return false,
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
        if self.deadline.as_ref().is_none_or(|(deadline, _)| at < *deadline) {
            self.deadline = Some((at, reason));
        }
    }
}

/// Empties the outbox into `stream` until the last item.
///
/// # Errors
/// A write that failed or timed out. Whatever is still queued is dropped with the channel.
pub fn write_loop(outbox: &Outbox, items: &Receiver<Item>, stream: &mut dyn Write) -> io::Result<()> {
    let mut batch = Vec::new();
    let mut written_at: Option<Instant> = None;
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        let mut last_line = 0;
        while let Some(item) = next {
            match item {
                Item::Bytes(bytes, number) => {
                    batch.extend_from_slice(&bytes);
                    last_line = number.max(last_line);
                }
                Item::Job(job) => {
                    write_batch(outbox, &mut batch, stream)?;
                    job(&mut Counted { outbox, stream })?;
                }
                Item::End => return write_batch(outbox, &mut batch, stream),
            }
            next = match outbox.pace {
                Pace::Batched if batch.len() < MAX_WRITE => items.try_recv().ok(),
                _ => None,
            };
        }
        if let (Pace::Single(pause), Some(at)) = (outbox.pace, written_at) {
            thread::sleep(pause.saturating_sub(at.elapsed()));
        }
        write_batch(outbox, &mut batch, stream)?;
        outbox.has_heard(last_line);
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

fn write_batch(outbox: &Outbox, batch: &mut Vec<u8>, stream: &mut dyn Write) -> io::Result<()> {
    for piece in batch.chunks(MAX_WRITE) {
        stream.write_all(piece)?;
        outbox.wrote(piece.len());
    }
    if !batch.is_empty() {
        outbox.wrote(outbox.cost(batch.len()) - batch.len());
    }
    // A long line leaves no long buffer behind.
    batch.clear();
    batch.shrink_to(4 << 10);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::bounded;

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
            self.room = self.room.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
            self.writes.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn new() -> (Arc<Outbox>, Receiver<Item>) {
        Outbox::new(Arc::default(), Pace::Batched)
    }

    fn bytes(len: usize) -> Arc<[u8]> {
        (0..len).map(|at| (at / 4) as u8).collect()
    }

    fn written(outbox: &Outbox, items: &Receiver<Item>) -> Vec<Vec<u8>> {
        let mut stream = Writes { writes: Vec::new(), room: usize::MAX };
        write_loop(outbox, items, &mut stream).unwrap();
        stream.writes
    }

    fn end(outbox: &Outbox) {
        outbox.end(Departure::Left, Duration::from_secs(30));
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
        let cases: [&[usize]; 6] =
            [&[MAX_WRITE - 4], &[MAX_WRITE], &[MAX_WRITE + 4], &[MAX_WRITE - 4, 104], &[104, 3 * MAX_WRITE, 104], &[1004; 1000]];
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
            outbox.push_job(Box::new(move |_| failures.send(()).map_err(io::Error::other)));
            let mut stream = Writes { writes: Vec::new(), room };
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
    fn wakes(event: fn(full: &Outbox, own: &Outbox)) {
        // The event may come before the wait, so the test gives them many chances to meet.
        for _ in 0..50 {
            let bell = Arc::new(Bell::default());
            let (full, _items) = Outbox::new(Arc::clone(&bell), Pace::Batched);
            let (own, _own_items) = Outbox::new(bell, Pace::Batched);
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
        let (outbox, items) = Outbox::new(Arc::default(), Pace::Single(pause));
        for text in ["one", "two", "three"] {
            outbox.push(text.as_bytes().into());
        }
        assert_eq!(outbox.queued.load(Ordering::Relaxed), 3 * MIN_SINGLE);
        end(&outbox);
        let start = Instant::now();
        assert_eq!(written(&outbox, &items), [b"one".as_slice(), b"two", b"three"]);
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
        outbox.no_deadline();
        assert!(!outbox.is_overdue(after(11)));
        outbox.end(Departure::Left, secs(30));
        outbox.no_deadline();
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
        assert_eq!(items.len(), 1, "one end is enough");
    }
}
