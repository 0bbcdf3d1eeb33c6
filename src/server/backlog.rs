//! The backlog: the last lines of a group, kept for members that have not got them.
//!
//! There is one for the whole group: a line is kept once, however many members missed it, and all of them get the very same frame.
//! Lines have numbers, from 1. For each member the group knows the number of the last line that it has. No lock, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::Frame;
use super::turn::Line;
use crate::net::memory::Memory;
use crate::wire::name::UserName;

/// The most that is kept of a group, in bytes of frames. A page of pasted text fits.
const MAX_KEPT: usize = 64 << 10;

/// What an entry costs, with its name, in a queue that may be half empty.
const ENTRY_COST: usize = 2 * size_of::<(UserName, Line)>() + 64;

/// The last lines of a group.
pub(crate) struct Backlog {
    /// Each with the name of the member that said it.
    lines: VecDeque<(UserName, Line)>,
    n_bytes: usize,
    /// The number of the last line that was said, or 0.
    last: u64,
    max_lines: usize,
    memory: Arc<Memory>,
}

impl Backlog {
    /// Keeps this many lines at most, which count in this memory.
    pub(crate) fn new(max_lines: usize, memory: &Arc<Memory>) -> Backlog {
        Backlog {
            lines: VecDeque::new(),
            n_bytes: 0,
            last: 0,
            max_lines,
            memory: Arc::clone(memory),
        }
    }

    /// The number of the last line that was said, or 0.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Numbers a line and keeps it, in place of the oldest.
    pub(crate) fn push(&mut self, by: &UserName, frame: &Frame) -> Line {
        self.last += 1;
        let line = Line {
            frame: frame.clone(),
            number: self.last,
        };
        self.n_bytes += frame.bytes.len();
        frame.bytes.count_in(&self.memory);
        self.memory.add(ENTRY_COST);
        self.lines.push_back((by.clone(), line.clone()));
        while self.lines.len() > self.max_lines || self.n_bytes > MAX_KEPT {
            let oldest = self.lines.pop_front();
            self.n_bytes -= oldest.map_or(0, |(_, line)| line.frame.bytes.len());
            self.memory.free(ENTRY_COST);
        }
        line
    }

    /// What the lines cost, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.n_bytes + self.lines.len() * ENTRY_COST
    }

    /// Keeps none of the lines any more.
    pub(crate) fn forget(&mut self) {
        self.memory.free(self.lines.len() * ENTRY_COST);
        self.lines = VecDeque::new();
        self.n_bytes = 0;
    }

    /// The number of the line with this mark, if it is kept.
    pub(crate) fn find(&self, mark: &str) -> Option<u64> {
        let is_it = |line: &Line| !mark.is_empty() && line.frame.bytes.ends_with(mark.as_bytes());
        let (_, line) = self.lines.iter().find(|(_, line)| is_it(line))?;
        Some(line.number)
    }

    /// What a member has missed that has all lines up to this number: the lines of others that are kept. First comes how many later lines
    /// are not kept any more. Some of those may be the member's own: the authors of lines that are not kept are forgotten.
    pub(crate) fn since(&self, number: u64, name: &UserName) -> (u64, Vec<Line>) {
        let lost = (self.oldest() - 1).saturating_sub(number);
        let missed = |(by, line): &&(UserName, Line)| line.number > number && by != name;
        let missed = self.lines.iter().filter(missed);
        (lost, missed.map(|(_, line)| line.clone()).collect())
    }

    /// The number of the oldest line that is kept, or of the next line that will be.
    pub(crate) fn oldest(&self) -> u64 {
        self.last + 1 - self.lines.len() as u64
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.forget();
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
        let words = lines.into_iter().map(|Line { frame, number }| {
            format!("{number}:{}", String::from_utf8_lossy(&frame.bytes))
        });
        (lost, words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_member_gets_what_the_others_said_since() {
        let mut backlog = Backlog::new(3, &Arc::default());
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
        // Line 1 was alice's own, so this is the most that she may have missed.
        assert_eq!(missed(&backlog, 0, "alice"), (1, "2:two".into()));
    }

    #[test]
    fn long_lines_give_way_sooner_and_without_room_nothing_is_kept() {
        let mut backlog = Backlog::new(200, &Arc::default());
        let long = Frame::plain(vec![b'x'; MAX_KEPT / 2]);
        let numbers = [1, 2, 3].map(|_| backlog.push(&name("alice"), &long).number);
        assert_eq!(numbers, [1, 2, 3]);
        assert_eq!(backlog.since(0, &name("bob")).0, 1);
        let mut none = Backlog::new(0, &Arc::default());
        none.push(&name("alice"), &long);
        assert_eq!(missed(&none, 0, "bob"), (1, String::new()));
    }
}
