//! The memory for what is held for clients: one budget for all of a server.
//!
//! What counts, with the entries that hold it: what waits for a client's writer or turn, backlogs, frames and tokens that are being read,
//! and the buffers of files under way. [`Bytes`] that wait for many clients exist once, and count once.
//!
//! What does not count has limits of its own. A frame counts from its fifth KiB. A thread has a stack of 64 KiB, and a client two threads
//! at most. The allocator keeps some megabytes of what was freed. Members, requests and groups have their limits in the server's modules. What a client takes at once is gone at once.
//!
//! The thread that adds something never waits for it, and may hold any lock. If the budget is used up, the listener's clock is woken and
//! makes room: see [`Listener`](super::listener::Listener). Meanwhile senders wait for those clients that much is held for.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::flow::SOFT_LIMIT;
use crate::machine;

/// The most that is taken unless a budget is set, in bytes.
const MAX_BUDGET: u64 = 256 << 20;

/// The least that may be queued for a client before senders wait for it, however many clients there are, in bytes: some lines.
pub(super) const MIN_SHARE: usize = 8 << 10;

/// What bytes cost beside themselves.
const BYTES_COST: usize = 64;

/// See the module's page.
pub(crate) struct Memory {
    budget: usize,
    used: AtomicUsize,
    /// What each client may hold if all hold as much.
    share: AtomicUsize,
    wake: Sender<()>,
    woken: Receiver<()>,
}

impl Memory {
    /// This budget in bytes, or what suits the machine: a quarter of its memory at most. Threads take up to half of it.
    pub(crate) fn new(budget: Option<u64>) -> Memory {
        let most = || machine::memory().map_or(MAX_BUDGET, |all| MAX_BUDGET.min(all / 4));
        let budget = usize::try_from(budget.unwrap_or_else(most)).unwrap_or(usize::MAX);
        let (wake, woken) = bounded(1);
        Memory {
            budget,
            used: AtomicUsize::new(0),
            share: AtomicUsize::new(budget),
            wake,
            woken,
        }
    }

    /// There are this many clients now.
    pub(super) fn share_among(&self, n_clients: usize) {
        let share = self.budget / n_clients.max(1);
        self.share.store(share, Ordering::Relaxed);
    }

    /// How many bytes may be held for one client, but at most this many.
    pub(crate) fn share(&self, most: usize) -> usize {
        most.min(self.share.load(Ordering::Relaxed)).max(MIN_SHARE)
    }

    pub(crate) fn add(&self, n: usize) {
        let used = self.used.fetch_add(n, Ordering::Relaxed) + n;
        if used > self.budget {
            // If the clock has been woken and has not come yet, that will do.
            let _ = self.wake.try_send(());
        }
    }

    pub(crate) fn free(&self, n: usize) {
        self.used.fetch_sub(n, Ordering::Relaxed);
    }

    /// Whether the budget is used up.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.budget
    }

    /// How much is to be freed if it is: an eighth of the budget stays for what comes next.
    pub(crate) fn excess(&self) -> usize {
        let used = self.used.load(Ordering::Relaxed);
        used.saturating_sub(self.budget - self.budget / 8)
    }

    /// Gets a message when the budget is used up.
    pub(super) fn woken(&self) -> &Receiver<()> {
        &self.woken
    }
}

/// No limit.
#[cfg(test)]
impl Default for Memory {
    fn default() -> Memory {
        Memory::new(Some(u64::MAX))
    }
}

/// What is held for one client alone.
pub(crate) struct Account {
    pub(crate) memory: Arc<Memory>,
    held: AtomicUsize,
    /// What waits for the client's turn, and perhaps for others as well.
    parked: AtomicUsize,
}

impl Account {
    pub(super) fn new(memory: Arc<Memory>) -> Account {
        Account {
            memory,
            held: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
        }
    }

    /// How many bytes may be queued for the client before those who cause more wait.
    pub(super) fn soft_limit(&self) -> usize {
        self.memory.share(SOFT_LIMIT)
    }

    pub(crate) fn hold(&self, n: usize) {
        self.held.fetch_add(n, Ordering::Relaxed);
        self.memory.add(n);
    }

    pub(crate) fn release(&self, n: usize) {
        self.held.fetch_sub(n, Ordering::Relaxed);
        self.memory.free(n);
    }

    /// Something that held `before` bytes holds `after` bytes now.
    pub(crate) fn change(&self, before: usize, after: usize) {
        if after > before {
            self.hold(after - before);
        } else if after < before {
            self.release(before - after);
        }
    }

    /// [`Bytes`] of this length wait for the client's turn.
    pub(crate) fn park(&self, n: usize) {
        self.parked.store(n, Ordering::Relaxed);
    }

    /// What is held for the client, in bytes. What waits for others as well counts in full.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed) + self.parked.load(Ordering::Relaxed)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // What was held when the client went.
        self.memory.free(*self.held.get_mut());
    }
}

/// Bytes that go out, often to many clients. They count while they exist, once they have had to wait for anyone.
#[derive(Clone)]
pub(crate) struct Bytes(Arc<Shared>);

struct Shared {
    bytes: Box<[u8]>,
    memory: OnceLock<Arc<Memory>>,
}

impl Bytes {
    /// They have to wait, so they count from now on.
    pub(crate) fn count_in(&self, memory: &Arc<Memory>) {
        self.0.memory.get_or_init(|| {
            memory.add(self.len() + BYTES_COST);
            Arc::clone(memory)
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.get() {
            memory.free(self.bytes.len() + BYTES_COST);
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl<T: Into<Box<[u8]>>> From<T> for Bytes {
    fn from(bytes: T) -> Bytes {
        Bytes(Arc::new(Shared {
            bytes: bytes.into(),
            memory: OnceLock::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    impl fmt::Debug for Bytes {
        fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
            write!(f, "{} bytes", self.len())
        }
    }

    #[test]
    fn bytes_count_once_from_the_first_wait_until_the_last_clone_is_gone() {
        let memory = Arc::new(Memory::new(Some(1000)));
        let bytes = Bytes::from(vec![0; 100]);
        let others = vec![bytes.clone(); 50];
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        for bytes in &others {
            bytes.count_in(&memory);
        }
        drop(bytes);
        assert_eq!(memory.used.load(Ordering::Relaxed), 100 + BYTES_COST);
        drop(others);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_clock_is_woken_above_the_budget_and_an_account_that_is_dropped_frees_what_it_holds() {
        let memory = Arc::new(Memory::new(Some(1000)));
        let account = Account::new(Arc::clone(&memory));
        account.hold(1000);
        assert!(!memory.is_used_up() && memory.woken().is_empty());
        account.change(10, 11);
        assert!(memory.is_used_up() && memory.woken().len() == 1);
        assert_eq!(memory.excess(), 126);
        drop(account);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_share_shrinks_with_the_clients_and_has_a_lower_limit() {
        let memory = Memory::new(Some(1 << 20));
        for (n_clients, share) in [
            (0, SOFT_LIMIT),
            (4, SOFT_LIMIT),
            (8, 128 << 10),
            (1000, MIN_SHARE),
        ] {
            memory.share_among(n_clients);
            assert_eq!(memory.share(SOFT_LIMIT), share, "{n_clients}");
        }
    }
}
