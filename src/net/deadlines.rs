//! Deadlines: what a client must do in time. [`Deadlines`] is a small table, pure, and the listener's clock acts on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::departure::Departure;
use super::outbox::Outbox;

/// How long the system looks for a sign of life from a peer that is probed. A dead peer has failed sooner.
pub(crate) const PROBE_TIME: Duration = Duration::from_secs(5);

/// A peer is probed at most this often. So somebody who asks for a name again and again does not keep its holder busy.
const PROBE_PAUSE: Duration = Duration::from_secs(60);

/// What is awaited from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The client says who it is.
    Greeting,
    /// The client sends more of what it has begun.
    Progress,
    /// The client finishes what it is doing, since the service wants to end the connection.
    Finish,
    /// What is queued is written, and the peer closes.
    Close,
    /// The peer shows that it is still there. The system watches over this; the deadline only ends the watching.
    SignOfLife,
    /// Nothing: until then, the peer is not probed again.
    NextProbe,
}

impl Awaited {
    /// Why the connection ends if it does not come. `None`: the connection goes on.
    pub(crate) fn departure(self) -> Option<Departure> {
        match self {
            Awaited::Greeting => Some(Departure::GreetingTooLong),
            Awaited::Progress => Some(Departure::Stalled),
            Awaited::Finish => Some(Departure::Ended(
                "told to leave, and did not finish in time".into(),
            )),
            Awaited::Close => Some(Departure::TooSlow),
            Awaited::SignOfLife | Awaited::NextProbe => None,
        }
    }
}

/// The deadlines of one connection, at most one of each kind.
#[derive(Default)]
pub(crate) struct Deadlines(Vec<(Awaited, Instant)>);

impl Deadlines {
    /// Sets a deadline anew. For the close of the connection, the soonest counts.
    pub(crate) fn set(&mut self, awaited: Awaited, at: Instant) {
        let before = self.get(awaited).filter(|_| awaited == Awaited::Close);
        self.clear(awaited);
        self.0
            .push((awaited, before.map_or(at, |before| before.min(at))));
    }

    /// When this must have come, if it is awaited.
    pub(crate) fn get(&self, awaited: Awaited) -> Option<Instant> {
        let found = self.0.iter().find(|(kind, _)| *kind == awaited)?;
        Some(found.1)
    }

    /// This is not awaited any more.
    pub(crate) fn clear(&mut self, awaited: Awaited) {
        self.0.retain(|(kind, _)| *kind != awaited);
    }

    /// Takes a deadline that has passed out of the table.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Awaited> {
        let at = self.0.iter().position(|(_, at)| *at <= now)?;
        Some(self.0.swap_remove(at).0)
    }
}

impl Outbox {
    /// The client must do this in time, or it is disconnected.
    pub(crate) fn expect(&self, awaited: Awaited, limit: Duration) {
        self.deadlines.lock().set(awaited, Instant::now() + limit);
    }

    /// The client has done this, or need not do it any more.
    pub(crate) fn expect_no_more(&self, awaited: Awaited) {
        self.deadlines.lock().clear(awaited);
    }

    /// Asks the system to find out quickly whether the peer is still there, at most once a minute. Waits for nothing. Returns whether the
    /// system is looking now.
    pub(crate) fn probe(&self) -> bool {
        let mut deadlines = self.deadlines.lock();
        if deadlines.get(Awaited::NextProbe).is_none() {
            let now = Instant::now();
            deadlines.set(Awaited::SignOfLife, now + PROBE_TIME);
            deadlines.set(Awaited::NextProbe, now + PROBE_PAUSE);
            self.transport.probe(true);
        }
        deadlines.get(Awaited::SignOfLife).is_some()
    }

    /// Ends the connection if a deadline has passed, or if the client takes too little. Called by the listener's clock.
    pub(super) fn look_at_clock(self: &Arc<Self>, now: Instant) {
        let due = self.deadlines.lock().take_due(now);
        if due == Some(Awaited::SignOfLife) {
            self.transport.probe(false);
        }
        let reason = match due {
            Some(due) => due.departure(),
            None => self.flow.is_too_slow(now).then_some(Departure::TooSlow),
        };
        if let Some(reason) = reason {
            self.end(reason, Duration::ZERO);
            self.transport.shut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::outbox::tests::asked_outbox;

    #[test]
    fn each_kind_has_one_deadline_and_is_due_once() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut deadlines = Deadlines::default();
        deadlines.set(Awaited::Progress, at(1));
        deadlines.set(Awaited::Progress, at(5));
        deadlines.set(Awaited::Greeting, at(4));
        deadlines.set(Awaited::Close, at(3));
        deadlines.set(Awaited::Close, at(9));
        assert_eq!(deadlines.get(Awaited::Close), Some(at(3)));
        assert_eq!(deadlines.take_due(at(2)), None);
        assert_eq!(deadlines.take_due(at(3)), Some(Awaited::Close));
        deadlines.clear(Awaited::Greeting);
        assert_eq!(deadlines.take_due(at(4)), None);
        assert_eq!(deadlines.take_due(at(5)), Some(Awaited::Progress));
        assert_eq!(deadlines.take_due(at(99)), None);
    }

    #[test]
    fn client_is_disconnected_for_what_it_did_not_do_in_time() {
        const LIMIT: Duration = Duration::from_secs(60);
        for awaited in [Awaited::Greeting, Awaited::Progress, Awaited::Finish] {
            let (outbox, asked) = asked_outbox();
            outbox.expect(awaited, LIMIT);
            outbox.look_at_clock(Instant::now());
            assert_eq!(outbox.ending(), None, "{awaited:?}");
            outbox.look_at_clock(Instant::now() + LIMIT);
            assert_eq!(outbox.ending(), awaited.departure().as_ref());
            assert_eq!(*asked.lock(), ["shut"]);

            let (outbox, _) = asked_outbox();
            outbox.expect(awaited, LIMIT);
            outbox.expect_no_more(awaited);
            outbox.look_at_clock(Instant::now() + LIMIT);
            assert_eq!(outbox.ending(), None, "{awaited:?}");
        }
    }

    #[test]
    fn probe_ends_by_itself_and_disconnects_nobody() {
        let (outbox, asked) = asked_outbox();
        assert!(outbox.probe() && outbox.probe());
        outbox.look_at_clock(Instant::now());
        assert_eq!(*asked.lock(), ["probe"]);
        outbox.look_at_clock(Instant::now() + PROBE_TIME);
        assert_eq!(*asked.lock(), ["probe", "no probe"]);
        assert_eq!(outbox.ending(), None);
    }

    #[test]
    fn a_peer_is_probed_once_a_minute() {
        let (outbox, asked) = asked_outbox();
        assert!(outbox.probe());
        outbox.look_at_clock(Instant::now() + PROBE_TIME);
        assert!(!outbox.probe(), "within the minute");
        outbox.look_at_clock(Instant::now() + PROBE_PAUSE);
        assert!(outbox.probe(), "after it");
        assert_eq!(*asked.lock(), ["probe", "no probe", "probe"]);
    }
}
