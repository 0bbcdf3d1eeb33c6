//! The backlog: the last lines of a group, kept for members that have not heard them.
//!
//! One for the whole group instead of one for each member: a line is there once, however many missed it, and it is the very frame that
//! all of them get. Lines have numbers, from 1; a member is at the number of the last one that it heard. Pure: no lock, no clock.

use std::collections::VecDeque;

use super::frame::Frame;
use super::turn::Line;
use crate::wire::name::UserName;

/// The most that is kept of a group, in bytes of frames. A page of pasted text fits.
const MAX_KEPT: usize = 64 << 10;

/// See the module's page.
pub struct Backlog {
    lines: VecDeque<(UserName, Frame)>,
    n_bytes: usize,
    /// The number of the last line.
    last: u64,
    max_lines: usize,
}

impl Backlog {
    /// Keeps so many lines at most.
    pub fn new(max_lines: usize) -> Backlog {
        Backlog {
            lines: VecDeque::new(),
            n_bytes: 0,
            last: 0,
            max_lines,
        }
    }

    /// The number of the last line that was said, or 0.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Keeps a line that somebody said, in place of the oldest. Returns its number.
    pub fn push(&mut self, by: &UserName, frame: &Frame) -> u64 {
        self.last += 1;
        self.n_bytes += frame.bytes.len();
        self.lines.push_back((by.clone(), frame.clone()));
        while self.lines.len() > self.max_lines || self.n_bytes > MAX_KEPT {
            self.n_bytes -= self
                .lines
                .pop_front()
                .map_or(0, |(_, frame)| frame.bytes.len());
        }
        self.last
    }

    /// The number of the line whose frame ends like this, if it is kept.
    pub fn find(&self, mark: &str) -> Option<u64> {
        let at = self
            .lines
            .iter()
            .position(|(_, frame)| !mark.is_empty() && frame.bytes.ends_with(mark.as_bytes()))?;
        Some(self.oldest() + at as u64)
    }

    /// What `name` has not heard of the lines behind the one of this number: how many are not kept any more, and the others.
    pub fn since<'a>(
        &'a self,
        number: u64,
        name: &'a UserName,
    ) -> (u64, impl Iterator<Item = Line> + 'a) {
        let lost = (self.oldest() - 1).saturating_sub(number);
        let numbered = (self.oldest()..).zip(&self.lines);
        let missed = numbered.filter(move |(at, (by, _))| *at > number && by != name);
        (
            lost,
            missed.map(|(number, (_, frame))| Line {
                frame: frame.clone(),
                number,
            }),
        )
    }

    /// The number of the oldest line that is kept, or of the next one that will be.
    pub fn oldest(&self) -> u64 {
        self.last + 1 - self.lines.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    /// How many were not kept, and the numbers and the text of those that were.
    fn missed(backlog: &Backlog, since: u64, by: &str) -> (u64, String) {
        let by = name(by);
        let (lost, lines) = backlog.since(since, &by);
        let words = lines.map(|Line { frame, number }| {
            format!("{number}:{}", String::from_utf8_lossy(&frame.bytes))
        });
        (lost, words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_member_gets_what_the_others_said_since() {
        let mut backlog = Backlog::new(3);
        assert_eq!(missed(&backlog, 0, "bob"), (0, String::new()));
        for (by, text) in [("alice", "one"), ("bob", "two"), ("alice", "three")] {
            backlog.push(&name(by), &Frame::plain(text));
        }
        assert_eq!(missed(&backlog, 0, "bob"), (0, "1:one 3:three".into()));
        assert_eq!(missed(&backlog, 1, "alice"), (0, "2:two".into()));
        assert_eq!(missed(&backlog, 3, "carol"), (0, String::new()));
        assert_eq!(backlog.find("ree"), Some(3));
        backlog.push(&name("alice"), &Frame::plain("four"));
        assert_eq!(missed(&backlog, 0, "bob"), (1, "3:three 4:four".into()));
        assert_eq!(
            (backlog.find("one"), backlog.find("our"), backlog.find("")),
            (None, Some(4), None)
        );
        assert_eq!(backlog.last(), 4);
    }

    #[test]
    fn long_lines_give_way_sooner_and_without_room_nothing_is_kept() {
        let mut backlog = Backlog::new(200);
        let long = Frame::plain(vec![b'x'; MAX_KEPT / 2]);
        let numbers = [1, 2, 3].map(|_| backlog.push(&name("alice"), &long));
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(backlog.since(0, &name("bob")).0, 1);
        let mut none = Backlog::new(0);
        none.push(&name("alice"), &long);
        assert_eq!(missed(&none, 0, "bob"), (1, String::new()));
    }
}
