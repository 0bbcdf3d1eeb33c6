//! The announcer: which requests to join are announced to the members one by one, and which are only counted. No lock, no clock.
//!
//! A request of a name is announced at once: no more than five in ten seconds, and one name no more than once a minute. The others are
//! counted. One line says how many they were: after ten seconds, or, for a name that asks again, after its minute.

use std::time::{Duration, Instant};

use crate::wire::name::UserName;

/// At most this many requests are announced one by one ...
const MAX_IN_TURN: usize = 5;
/// ... in this time.
const TURN_TIME: Duration = Duration::from_secs(10);

/// How long a name that was announced is not announced again.
const NAME_TIME: Duration = Duration::from_secs(60);

/// See the module's page.
#[derive(Default)]
pub(crate) struct Announcer {
    /// The names that were announced in the last minute, and when. Bounded by the limit on the rate.
    announced: Vec<(UserName, Instant)>,
    /// How many requests were counted since the last line about them, and when that line is due.
    counted: Option<(usize, Instant)>,
}

impl Announcer {
    /// Somebody asks to join. Returns whether this is announced now. If not, it is counted.
    pub(crate) fn announces(&mut self, name: &UserName, now: Instant) -> bool {
        self.announced.retain(|(_, at)| now < *at + NAME_TIME);
        let same = self.announced.iter().find(|(other, _)| other == name);
        let recent = |(_, at): &&(UserName, Instant)| now < *at + TURN_TIME;
        let due = match same {
            Some((_, at)) => *at + NAME_TIME,
            None if self.announced.iter().filter(recent).count() < MAX_IN_TURN => {
                self.announced.push((name.clone(), now));
                return true;
            }
            None => now + TURN_TIME,
        };
        let (n, before) = self.counted.unwrap_or((0, due));
        self.counted = Some((n + 1, before.min(due)));
        false
    }

    /// The admin has decided about this name. If its user asks again, that is announced.
    pub(crate) fn forget(&mut self, name: &str) {
        self.announced.retain(|(other, _)| other.as_str() != name);
    }

    /// Whether a line about requests will be due.
    pub(crate) fn is_counting(&self) -> bool {
        self.counted.is_some()
    }

    /// How many requests were only counted, if the line about them is due.
    pub(crate) fn take_count(&mut self, now: Instant) -> Option<usize> {
        let (n, _) = self.counted.take_if(|(_, due)| *due <= now)?;
        Some(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> UserName {
        UserName::parse(&format!("bob {n}")).unwrap()
    }

    #[test]
    fn five_in_ten_seconds_are_announced_and_the_others_counted_in_one_line() {
        let (start, mut announcer) = (Instant::now(), Announcer::default());
        for n in 0..1000 {
            assert_eq!(announcer.announces(&name(n), start), n < 5, "{n}");
        }
        assert_eq!(announcer.take_count(start + TURN_TIME / 2), None);
        assert_eq!(announcer.take_count(start + TURN_TIME), Some(995));
        assert_eq!(announcer.take_count(start + TURN_TIME), None);
        assert!(!announcer.is_counting());
        assert!(announcer.announces(&name(1000), start + TURN_TIME));
    }

    #[test]
    fn a_name_is_announced_once_a_minute() {
        let (start, mut announcer) = (Instant::now(), Announcer::default());
        let at = |secs| start + Duration::from_secs(secs);
        assert!(announcer.announces(&name(1), start));
        assert!(!announcer.announces(&name(1), at(1)));
        assert!(!announcer.announces(&name(1), at(59)));
        assert_eq!(announcer.take_count(at(59)), None);
        assert_eq!(announcer.take_count(at(60)), Some(2));
        assert!(announcer.announces(&name(1), at(60)));
        announcer.forget("bob 1");
        assert!(announcer.announces(&name(1), at(61)));
    }
}
