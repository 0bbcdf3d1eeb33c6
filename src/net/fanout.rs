//! The fan-out: the fast path from one sender to a hundred outboxes.
//!
//! Without it, every line to a hundred members would wake a hundred writer threads. Instead, a push only notes that its outbox is due. A
//! *round* then makes one write for each outbox that is due, which takes what the socket takes without waiting. The writer threads get
//! the rest.
//!
//! A thread asks for a round ([`Fanout::flush`]) before it waits for its own client. One rule decides who makes the round: if the same
//! thread also asked for the last one, it makes this one itself. Otherwise one shared thread does, which carries what several clients
//! say at once in one write. So a lone sender wakes no other thread, and sixteen senders share their rounds.
//!
//! The server would work without it, if [`Outbox::push`] gave each item to the writer.
//! Invariants: one round at a time, so no two threads write past the writer of one outbox; and none while the writer has something.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, ThreadId};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;

use super::departure::Departure;
use super::memory::Memory;
use super::outbox::{Batch, Item, Outbox, Pace};

/// What all outboxes of a server share.
pub(crate) struct Fanout {
    /// The memory for what is held for their clients.
    pub(super) memory: Arc<Memory>,
    /// The outboxes to which something was pushed since the last round.
    due: Mutex<Vec<Arc<Outbox>>>,
    /// The thread that asked for the last round.
    last: Mutex<Option<ThreadId>>,
    /// Held during a round.
    round: Mutex<()>,
    wake: Sender<()>,
    woken: Receiver<()>,
}

#[cfg(test)]
impl Default for Fanout {
    fn default() -> Fanout {
        Fanout::new(Arc::default())
    }
}

impl Fanout {
    pub(super) fn new(memory: Arc<Memory>) -> Fanout {
        let (wake, woken) = bounded(1);
        Fanout {
            memory,
            due: Mutex::default(),
            last: Mutex::default(),
            round: Mutex::default(),
            wake,
            woken,
        }
    }

    /// Starts a round for everything that was pushed so far, by any thread. Waits for no client. The caller holds no lock.
    pub(crate) fn flush(&self) {
        if self.due.lock().is_empty() {
            return;
        }
        let me = Some(thread::current().id());
        let is_same = std::mem::replace(&mut *self.last.lock(), me) == me;
        match self.round.try_lock() {
            Some(_round) if is_same => self.make_round(),
            // If the shared thread has been woken and has not come yet, that will do.
            _ => drop(self.wake.try_send(())),
        }
    }

    /// Waits until everything that was pushed so far has had its round.
    pub(super) fn flush_now(&self) {
        let _round = self.round.lock();
        self.make_round();
    }

    /// One write for each outbox that is due.
    fn make_round(&self) {
        let due = std::mem::take(&mut *self.due.lock());
        for outbox in due {
            let write = AssertUnwindSafe(|| outbox.write_posted());
            if catch_unwind(write).is_err() {
                outbox.end(Departure::Panicked, Duration::ZERO);
            }
        }
    }

    /// The shared thread.
    pub(super) fn fanout_loop(&self, stopped: &Receiver<()>) {
        loop {
            select! {
                recv(self.woken) -> _ => while !self.due.lock().is_empty() {
                    // Threads that are about to push go first, so that the round carries their lines, too.
                    thread::yield_now();
                    self.flush_now();
                },
                recv(stopped) -> _ => return,
            }
        }
    }
}

impl Outbox {
    /// Queues an item for the next round.
    pub(super) fn post(self: &Arc<Self>, item: Item) {
        let mut posted = self.posted.lock();
        posted.push(item);
        if posted.len() == 1 {
            self.fanout.due.lock().push(Arc::clone(self));
        }
    }

    /// Starts a round for this and all other outboxes that are due. Called, without any lock, before a thread waits.
    pub(crate) fn flush(&self) {
        self.fanout.flush();
    }

    /// Writes what was posted: at once as far as the peer takes it, the rest through the writer.
    fn write_posted(self: &Arc<Self>) {
        let posted = std::mem::take(&mut *self.posted.lock());
        let mut batch = Batch::default();
        for item in posted {
            match (item, self.pace) {
                (Item::Bytes(bytes, number), Pace::Batched) if self.is_writer_idle() => {
                    batch.add(&bytes, number)
                }
                (item, _) => {
                    self.write_now(std::mem::take(&mut batch));
                    self.give_to_writer(item);
                }
            }
        }
        self.write_now(batch);
    }

    /// Whether the writer has nothing that would be overtaken. After the end it always has: the end itself.
    fn is_writer_idle(&self) -> bool {
        self.n_with_writer.load(Ordering::Acquire) == 0
    }

    fn write_now(self: &Arc<Self>, Batch { bytes, number }: Batch) {
        if bytes.is_empty() {
            return;
        }
        let n = self.transport.write_now(&bytes).unwrap_or(0);
        self.flow.take(n);
        self.flow.free(n);
        if n == bytes.len() {
            self.wrote_to(number);
        } else {
            self.give_to_writer(Item::Bytes(bytes[n..].into(), number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::outbox::tests::{TakesNothing, with_channel};

    /// How long any expected thing may take.
    const DEADLINE: Duration = Duration::from_secs(10);

    fn outbox(fanout: &Arc<Fanout>) -> (Arc<Outbox>, Receiver<Item>) {
        with_channel(Arc::clone(fanout), Pace::Batched, Box::new(TakesNothing))
    }

    #[test]
    fn the_thread_that_asked_last_makes_the_round_itself_and_another_leaves_it_to_the_shared_one() {
        let fanout = Arc::new(Fanout::default());
        let (outbox, items) = outbox(&fanout);
        let says = || {
            outbox.push(b"line".as_slice().into());
            fanout.flush();
        };
        says();
        assert!(items.is_empty(), "nobody asked before");
        says();
        assert_eq!(items.try_iter().count(), 1);
        thread::scope(|scope| scope.spawn(says).join().unwrap());
        assert!(items.is_empty(), "another thread asked before");
        says();
        assert!(items.is_empty(), "likewise");
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            scope.spawn(|| fanout.fanout_loop(&stopped));
            assert!(items.recv_timeout(DEADLINE).is_ok());
            drop(stop);
        });
    }

    #[test]
    fn what_is_asked_for_during_a_round_goes_out_in_the_next() {
        let fanout = Arc::new(Fanout::default());
        let (outbox, items) = outbox(&fanout);
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            let round = fanout.round.lock();
            scope.spawn(|| fanout.fanout_loop(&stopped));
            for _ in 0..2 {
                outbox.push(b"line".as_slice().into());
                fanout.flush();
            }
            assert!(items.is_empty());
            drop(round);
            assert!(items.recv_timeout(DEADLINE).is_ok());
            drop(stop);
        });
    }

    #[test]
    fn a_panic_in_a_round_ends_one_outbox_and_not_the_round() {
        struct Panics;
        impl crate::net::outbox::Transport for Panics {
            fn write_now(&self, _: &[u8]) -> std::io::Result<usize> {
                panic!("as it was told")
            }
            fn write(&self, _: &[u8]) -> std::io::Result<usize> {
                Ok(0)
            }
            fn probe(&self, _: bool) {}
            fn end_sending(&self) {}
            fn shut(&self) {}
        }
        let fanout = Arc::new(Fanout::default());
        let doomed = Outbox::new(Arc::clone(&fanout), Pace::Batched, Box::new(Panics));
        let (calm, items) = outbox(&fanout);
        doomed.push(b"line".as_slice().into());
        calm.push(b"another".as_slice().into());
        fanout.flush_now();
        assert_eq!(doomed.ending(), Some(&Departure::Panicked));
        assert!(matches!(items.try_recv(), Ok(Item::Bytes(bytes, 0)) if *bytes == *b"another"));
    }
}
