//! Flow control: how much is queued for one client, who waits for it, and when it is too slow.
//!
//! A count of bytes goes up when something is pushed and down when it is written. Above [`SOFT_LIMIT`], the thread that causes more bytes
//! waits until there is space again. So a flood slows the one who floods. A client that stays above the limit and takes too little is too
//! slow, and is disconnected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::memory::{Account, MIN_SHARE, Memory};
use super::outbox::Outbox;

/// How many bytes may be queued for a client before those who cause more wait, or its share of the memory, if that is less. Enough for a
/// thousand lines, so a short pause of one member slows nobody down.
pub(crate) const SOFT_LIMIT: usize = 256 << 10;

/// While it is above [`SOFT_LIMIT`], a client must take this many bytes ...
pub(super) const PROGRESS: u64 = 64 << 10;
/// ... in this time, or it is disconnected. This is also the longest that a sender waits, with one line, for a member.
pub(super) const PROGRESS_TIME: Duration = Duration::from_secs(5);

/// With more than this queued, in bytes, a client is disconnected at once. All that may be parked for a client fits in, and as much again.
const MAX_QUEUED: usize = 16 << 20;

/// See the module's page.
pub(super) struct Flow {
    /// What is held for the client.
    pub(super) account: Account,
    /// Bytes that were pushed and not yet written.
    queued: AtomicUsize,
    /// Bytes that the client has taken since it came.
    taken: AtomicU64,
    /// Since when the client has been above the limit, and what it had taken then.
    above_since: Mutex<Option<(Instant, u64)>>,
    /// Notified when there is space again, and at the end of the connection.
    changed: Condvar,
}

impl Flow {
    pub(super) fn new(memory: Arc<Memory>) -> Flow {
        Flow {
            account: Account::new(memory),
            queued: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
            above_since: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// This many bytes were pushed.
    pub(super) fn push(&self, n: usize) {
        self.queued.fetch_add(n, Ordering::Relaxed);
    }

    /// The client has taken this many bytes, queued or not.
    pub(super) fn take(&self, n: usize) {
        self.taken.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// This many bytes are not queued any more.
    pub(super) fn free(&self, n: usize) {
        let before = self.queued.fetch_sub(n, Ordering::Relaxed);
        let limit = self.account.soft_limit();
        if before > limit && before - n <= limit {
            self.notify();
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Wakes the threads that wait, so that they look again.
    pub(super) fn notify(&self) {
        // A thread between its look and its wait holds the mutex, and must not miss this.
        drop(self.above_since.lock());
        self.changed.notify_all();
    }

    /// Waits while `is_blocked`, but no longer than this.
    fn wait_while(&self, time: Duration, is_blocked: impl Fn() -> bool) {
        let deadline = Instant::now() + time;
        let mut guard = self.above_since.lock();
        while is_blocked() {
            if self.changed.wait_until(&mut guard, deadline).timed_out() {
                return;
            }
        }
    }

    /// Whether the client takes too little. The clock asks this again and again.
    pub(super) fn is_too_slow(&self, now: Instant) -> bool {
        let queued = self.queued();
        let taken = self.taken.load(Ordering::Relaxed);
        let mut above_since = self.above_since.lock();
        *above_since = match *above_since {
            _ if queued <= self.account.soft_limit() => None,
            Some((since, then)) if taken - then < PROGRESS => Some((since, then)),
            _ => Some((now, taken)),
        };
        queued > MAX_QUEUED || above_since.is_some_and(|(since, _)| now - since >= PROGRESS_TIME)
    }
}

impl Outbox {
    /// Whether those who cause bytes may push more. An ending client keeps nobody waiting. While the memory is used up, only a client for
    /// which little is held has space.
    pub(crate) fn has_space(&self) -> bool {
        let has_space = self.flow.queued() <= self.flow.account.soft_limit() && !self.is_short();
        has_space || self.is_ending()
    }

    /// Whether the memory is used up, and much of it is held for this client.
    pub(crate) fn is_short(&self) -> bool {
        self.flow.account.memory.is_used_up() && self.held() > MIN_SHARE
    }

    /// Waits until this outbox has space, at most [`PROGRESS_TIME`]. The caller holds no lock.
    pub(crate) fn wait_for_space(&self) {
        // There may be space as soon as what this very thread has caused is written.
        self.flush();
        self.flow.wait_while(PROGRESS_TIME, || !self.has_space());
    }

    /// Waits for this long, or until the connection ends: then `false`.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        self.flush();
        self.flow.wait_while(time, || !self.is_ending());
        !self.is_ending()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::net::departure::Departure;
    use crate::net::outbox::Pace;
    use crate::net::outbox::tests::{TakesNothing, with_channel};

    impl Flow {
        pub(crate) fn taken(&self) -> u64 {
            self.taken.load(Ordering::Relaxed)
        }
    }

    fn full() -> Arc<Outbox> {
        let (outbox, _) = with_channel(Arc::default(), Pace::Batched, Box::new(TakesNothing));
        outbox.push(vec![0; SOFT_LIMIT].into());
        assert!(outbox.has_space());
        outbox.push(vec![0; 4].into());
        assert!(!outbox.has_space());
        outbox
    }

    /// Two threads wait for space in a full outbox; `event` must wake them.
    fn wakes(event: fn(full: &Arc<Outbox>)) {
        // The event may come before the wait, so the test gives them many chances to meet.
        for _ in 0..50 {
            let full = full();
            let (woken, is_woken) = crossbeam_channel::bounded(0);
            for _ in 0..2 {
                let (full, woken) = (Arc::clone(&full), woken.clone());
                thread::spawn(move || {
                    woken.send(()).unwrap();
                    full.wait_for_space();
                    woken.send(()).unwrap();
                });
            }
            // Before the time that they would wait at most.
            let patience = PROGRESS_TIME.mul_f64(0.8);
            (0..2).for_each(|_| is_woken.recv_timeout(patience).unwrap());
            thread::yield_now();
            event(&full);
            assert!(full.has_space());
            (0..2).for_each(|_| is_woken.recv_timeout(patience).expect("nobody woke them"));
        }
    }

    #[test]
    fn space_wakes_those_who_wait() {
        wakes(|full| full.flow.free(4));
    }

    #[test]
    fn end_of_the_slow_client_wakes_those_who_wait() {
        wakes(|full| full.end(Departure::Left, Duration::from_secs(30)));
    }

    #[test]
    fn client_that_is_disconnected_as_too_slow_wakes_those_who_wait() {
        wakes(|full| {
            let now = Instant::now();
            full.look_at_clock(now);
            full.look_at_clock(now + PROGRESS_TIME);
            assert_eq!(full.ending(), Some(&Departure::TooSlow));
        });
    }

    #[test]
    fn client_that_takes_too_little_in_five_seconds_is_too_slow() {
        let flow = Flow::new(Arc::default());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        flow.push(4 * SOFT_LIMIT);
        assert!(!flow.is_too_slow(at(0)));
        assert!(!flow.is_too_slow(at(4_999)));
        // If it takes enough, it has five seconds more.
        flow.take(PROGRESS as usize);
        assert!(!flow.is_too_slow(at(5_000)));
        flow.take(PROGRESS as usize - 4);
        assert!(!flow.is_too_slow(at(9_999)));
        assert!(flow.is_too_slow(at(10_000)));
    }

    #[test]
    fn client_within_the_limit_may_take_all_the_time_it_wants() {
        let flow = Flow::new(Arc::default());
        let now = Instant::now();
        let later = now + 2 * PROGRESS_TIME;
        flow.push(SOFT_LIMIT + 4);
        assert!(!flow.is_too_slow(now));
        flow.free(4);
        assert!(!flow.is_too_slow(later));
        // Above the limit again, it has its five seconds from now on.
        flow.push(4);
        assert!(!flow.is_too_slow(later + PROGRESS_TIME));
        assert!(flow.is_too_slow(later + 2 * PROGRESS_TIME));
    }

    #[test]
    fn client_with_far_too_much_queued_is_too_slow_at_once() {
        let flow = Flow::new(Arc::default());
        flow.push(MAX_QUEUED);
        assert!(!flow.is_too_slow(Instant::now()));
        flow.push(4);
        assert!(flow.is_too_slow(Instant::now()));
    }
}
