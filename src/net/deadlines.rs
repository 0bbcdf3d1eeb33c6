//! What a client must do in time: a small table, and pure. The listener's clock asks it what is due.

use std::time::Instant;

use super::departure::Departure;

/// What is awaited from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The client says who it is.
    Greeting,
    /// The client sends more of what it has begun.
    More,
    /// The client finishes what it is doing, since the service wants to end the connection.
    Finish,
    /// What is queued is written, and the peer closes.
    Close,
    /// The peer shows that it is still there. The system watches over this; the deadline only ends the watching.
    SignOfLife,
}

impl Awaited {
    /// Why the connection ends if it does not come. `None`: the connection goes on.
    pub fn departure(self) -> Option<Departure> {
        match self {
            Awaited::Greeting => Some(Departure::GreetingTooLong),
            Awaited::More => Some(Departure::Stalled),
            Awaited::Finish => Some(Departure::Ended(
                "told to leave, and did not finish in time".into(),
            )),
            Awaited::Close => Some(Departure::TooSlow),
            Awaited::SignOfLife => None,
        }
    }
}

/// The deadlines of one connection, at most one of each kind.
#[derive(Default)]
pub struct Deadlines(Vec<(Awaited, Instant)>);

impl Deadlines {
    /// Sets a deadline anew.
    pub fn set(&mut self, awaited: Awaited, at: Instant) {
        self.clear(awaited);
        self.0.push((awaited, at));
    }

    /// Sets a deadline, unless there is one that comes sooner.
    pub fn set_sooner(&mut self, awaited: Awaited, at: Instant) {
        let sooner = self.get(awaited).map_or(at, |before| before.min(at));
        self.set(awaited, sooner);
    }

    /// When this must have come, if it is awaited.
    pub fn get(&self, awaited: Awaited) -> Option<Instant> {
        let found = self.0.iter().find(|(kind, _)| *kind == awaited)?;
        Some(found.1)
    }

    /// This is not awaited any more.
    pub fn clear(&mut self, awaited: Awaited) {
        self.0.retain(|(kind, _)| *kind != awaited);
    }

    /// Takes a deadline that has passed out of the table.
    pub fn take_due(&mut self, now: Instant) -> Option<Awaited> {
        let at = self.0.iter().position(|(_, at)| *at <= now)?;
        Some(self.0.swap_remove(at).0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_kind_has_one_deadline_and_is_due_once() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut deadlines = Deadlines::default();
        deadlines.set(Awaited::More, at(1));
        deadlines.set(Awaited::More, at(5));
        deadlines.set(Awaited::Greeting, at(4));
        deadlines.set_sooner(Awaited::Close, at(3));
        deadlines.set_sooner(Awaited::Close, at(9));
        assert_eq!(deadlines.get(Awaited::Close), Some(at(3)));
        assert_eq!(deadlines.take_due(at(2)), None);
        assert_eq!(deadlines.take_due(at(3)), Some(Awaited::Close));
        deadlines.clear(Awaited::Greeting);
        assert_eq!(deadlines.take_due(at(4)), None);
        assert_eq!(deadlines.take_due(at(5)), Some(Awaited::More));
        assert_eq!(deadlines.take_due(at(99)), None);
    }
}
