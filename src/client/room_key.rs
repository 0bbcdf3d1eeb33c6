//! The room key: what members share and the server does not have.
//!
//! A line is sealed twice. What the room key seals is a [`RoomLine`], and the token of that is the text of an ordinary line. So any server
//! passes it on, also the Python one. The same goes for a file and a [`RoomFile`].
//!
//! A receiver shows a line as sealed only if it was sealed as a line and for this group. The server must also deliver it under the name in which it was sealed.
//! Each holder of the room key can seal in any name, but only the server can then deliver the line under that name. So the name is as
//! certain as the holders are trusted. A server can keep lines back, and it can deliver one again: then the number of the line shows it,
//! or its date does.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, FixedOffset, Local};
use parking_lot::Mutex;

use crate::screen::{Event, Name, NotOpened, Order, Trust, When, Words};
use crate::seal::{Key, RoomFile, RoomLine, has_token_form, is_room_file, is_room_line};
use crate::wire::name::{FileName, GroupName, UserName};

/// A room key, as it is used by this user in this group.
pub struct RoomKey {
    /// The key.
    pub key: Key,
    group: GroupName,
    /// The user.
    pub name: UserName,
    /// The name of this run of the program.
    run: String,
    heard: Mutex<Heard>,
}

/// How many runs of members are remembered. Then the one that began first is forgotten.
const MAX_RUNS: usize = 1000;

/// The lines that have come.
#[derive(Default)]
struct Heard {
    /// The number of the last line of each run of each member.
    last: HashMap<(String, String), u64>,
    /// The runs, in the order in which they began.
    runs: VecDeque<(String, String)>,
}

impl Heard {
    /// Takes note of a line. Returns its place.
    fn take(&mut self, line: &RoomLine) -> Order {
        let run = (line.name.to_owned(), line.run.to_owned());
        if let Some(last) = self.last.get_mut(&run) {
            let order = match line.number {
                number if number > *last => Order::Next,
                number if number == *last => Order::Repeated,
                _ => Order::Late,
            };
            *last = line.number.max(*last);
            return order;
        }
        if self.runs.len() == MAX_RUNS {
            let first = self.runs.pop_front();
            first.map(|first| self.last.remove(&first));
        }
        self.runs.push_back(run.clone());
        self.last.insert(run, line.number);
        Order::Next
    }
}

impl RoomKey {
    /// A key, for this run of the program.
    pub fn new(key: Key, name: &UserName, group: &GroupName, run: &str) -> RoomKey {
        RoomKey {
            key,
            group: group.clone(),
            name: name.clone(),
            run: run.to_owned(),
            heard: Mutex::default(),
        }
    }

    /// The text that says `text` to those who have the room key, or to one of them. It is the line of this run with this number.
    pub fn seal(&self, number: u64, to: Option<&str>, text: &str) -> String {
        let line = RoomLine {
            group: self.group.as_str(),
            time: Local::now().fixed_offset(),
            run: &self.run,
            number,
            to,
            name: self.name.as_str(),
            text,
        };
        self.key.seal(line.to_string().as_bytes())
    }

    /// What is sealed in front of a file.
    pub fn file_head(&self, file: &FileName) -> String {
        let head = RoomFile {
            group: self.group.as_str(),
            time: Local::now().fixed_offset(),
            name: self.name.as_str(),
            file: file.as_str(),
        };
        head.to_string()
    }

    /// Who sealed a file, and when. `head` is what stood in front of it; the server says that it is this file, from this member. A Python
    /// server does not say from whom it is: then `from` is empty.
    ///
    /// # Errors
    /// It was sealed as something else.
    pub fn check_file(
        &self,
        head: &[u8],
        from: &str,
        file: &FileName,
    ) -> Result<(Name, DateTime<FixedOffset>), NotOpened> {
        if is_room_line(head) {
            return Err(NotOpened::AnotherKind);
        }
        let head = std::str::from_utf8(head).ok();
        let head = head.and_then(RoomFile::parse).ok_or(NotOpened::NoForm)?;
        self.check(head.group, head.name, from)?;
        if head.file != file.as_str() {
            return Err(NotOpened::AnotherFile);
        }
        Ok((Name::of_peer(head.name), head.time))
    }

    /// Checks that what was sealed belongs to this group, and to the member that the server names.
    fn check(&self, group: &str, name: &str, named: &str) -> Result<(), NotOpened> {
        if group != self.group.as_str() {
            return Err(NotOpened::AnotherGroup(Name::of_peer(group)));
        }
        if name != named && !named.is_empty() {
            return Err(NotOpened::AnotherName(Name::of_peer(name)));
        }
        Ok(())
    }

    /// The line in a token that the server delivered under this name, `to` one member or to all.
    fn open(
        &self,
        name: &str,
        token: &str,
        is_earlier: bool,
        to: Option<&str>,
    ) -> Result<Event, NotOpened> {
        let opened = self.key.open(token.as_bytes());
        let opened = opened.map_err(|_| NotOpened::AnotherKey)?;
        if is_room_file(&opened) {
            return Err(NotOpened::AnotherKind);
        }
        let opened = String::from_utf8(opened).map_err(|_| NotOpened::NoForm)?;
        let line = RoomLine::parse(&opened).ok_or(NotOpened::NoForm)?;
        self.check(line.group, line.name, name)?;
        if line.to != to {
            return Err(NotOpened::AnotherReader);
        }
        Ok(Event::Sealed {
            who: Name::of_peer(name),
            when: When::Date(line.time),
            order: self.heard.lock().take(&line),
            is_earlier,
            text: Words::of_peer(line.text),
        })
    }
}

/// What a text is that the server delivered, `NAME: TEXT`, for a client with this room key or with none. `earlier`: it was said before the
/// user joined, in seconds since 1970. `to`: the user, if the server delivered it to nobody else.
pub(crate) fn open(
    text: &str,
    earlier: Option<u64>,
    room_key: Option<&RoomKey>,
    to: Option<&str>,
) -> Event {
    let trust = Trust::of(room_key);
    // A Python server takes names with a colon; a token has none.
    let sealed = text.rsplit_once(": ");
    let Some((name, token)) = sealed.filter(|(_, token)| has_token_form(token)) else {
        return match text.split_once(": ") {
            Some((name, said)) => Event::Unsealed {
                who: Name::of_peer(name),
                earlier,
                text: Words::of_peer(said),
                trust,
            },
            None => Event::Unsigned {
                text: Words::of_peer(text),
                trust,
            },
        };
    };
    let room_key = room_key.ok_or(NotOpened::NoKey);
    let opened = room_key.and_then(|room_key| room_key.open(name, token, earlier.is_some(), to));
    opened.unwrap_or_else(|why| Event::NotOpened {
        who: Name::of_peer(name),
        why,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seal::random_text;

    fn room_key(key: Key, name: &str, group: &str) -> RoomKey {
        let (name, group) = (
            UserName::parse(name).unwrap(),
            GroupName::parse(group).unwrap(),
        );
        RoomKey::new(key, &name, &group, &random_text())
    }

    #[test]
    fn a_line_of_383_kib_fits_under_a_room_key() {
        let longest = "\u{1f469}".repeat(64);
        let token = room_key(Key::generate(), &longest, &longest).seal(
            u64::MAX,
            Some(&longest),
            &"x".repeat(383 << 10),
        );
        let number = format!("{} ", u64::MAX);
        assert!(number.len() + token.len() <= crate::wire::frame::MAX_TEXT);
    }

    #[test]
    fn a_line_is_what_its_seal_says() {
        let text = Key::generate();
        let same = || Key::parse(text.as_str()).unwrap();
        let key = room_key(same(), "alice", "team");
        let other = room_key(Key::generate(), "alice", "team");
        let token = key.seal(1, None, "meet: at noon");
        let to_me = key.seal(2, Some("alice"), "psst");
        let to_bob = key.seal(3, Some("bob"), "psst");
        let den = room_key(same(), "alice", "den").seal(1, None, "meet: at noon");
        let loose = key.key.seal(b"no line at all");
        let stamped = key.key.seal(b"[09:05:02] alice: the form of the relay");
        let plan = FileName::from_peer("plan");
        let file = key
            .key
            .seal(format!("{}text", key.file_head(&plan)).as_bytes());
        let unsealed = |who: &str, text: &str, trust| Event::Unsealed {
            who: Name::of_peer(who),
            earlier: None,
            text: Words::of_peer(text),
            trust,
        };
        let not_opened = |who: &str, why| Event::NotOpened {
            who: Name::of_peer(who),
            why,
        };
        let alice_s = || NotOpened::AnotherName(Name::of_peer("alice"));
        let known = Some(&key);
        for (line, room_key, expected) in [
            (format!("bob: {token}"), known, not_opened("bob", alice_s())),
            (
                format!("a: alice: {token}"),
                known,
                not_opened("a: alice", alice_s()),
            ),
            (
                format!("alice: {loose}"),
                known,
                not_opened("alice", NotOpened::NoForm),
            ),
            (
                format!("alice: {stamped}"),
                known,
                not_opened("alice", NotOpened::NoForm),
            ),
            (
                format!("alice: {file}"),
                known,
                not_opened("alice", NotOpened::AnotherKind),
            ),
            (
                format!("alice: {den}"),
                known,
                not_opened("alice", NotOpened::AnotherGroup(Name::of_peer("den"))),
            ),
            (
                format!("alice: {token}"),
                Some(&other),
                not_opened("alice", NotOpened::AnotherKey),
            ),
            (
                format!("alice: {token}"),
                None,
                not_opened("alice", NotOpened::NoKey),
            ),
            (
                "alice: hello: you".into(),
                known,
                unsealed("alice", "hello: you", Trust::Unproven),
            ),
            (
                "alice: hello".into(),
                None,
                unsealed("alice", "hello", Trust::NoKey),
            ),
            (
                format!("alice: {token} or so"),
                None,
                unsealed("alice", &format!("{token} or so"), Trust::NoKey),
            ),
            (
                "no name".into(),
                known,
                Event::Unsigned {
                    text: Words::of_peer("no name"),
                    trust: Trust::Unproven,
                },
            ),
        ] {
            assert_eq!(open(&line, None, room_key, None), expected, "{line}");
        }
        let another_reader = not_opened("alice", NotOpened::AnotherReader);
        let me = Some("alice");
        for (to, token) in [(None, &to_me), (None, &to_bob), (me, &to_bob), (me, &token)] {
            let event = open(&format!("alice: {token}"), None, known, to);
            assert_eq!(event, another_reader, "{to:?}");
        }
        let told = open(&format!("alice: {to_me}"), None, known, me);
        assert!(matches!(told, Event::Sealed { .. }), "{told:?}");
        let now = open(
            &format!("alice: {}", key.seal(4, None, "meet: at noon")),
            None,
            known,
            None,
        );
        let Event::Sealed { who, text, .. } = now else {
            panic!("{now:?}");
        };
        assert_eq!((who.raw(), text.raw()), ("alice", "meet: at noon"));
    }

    #[test]
    fn a_line_that_comes_again_or_late_is_known_by_its_number() {
        let key = room_key(Key::generate(), "alice", "team");
        let lines: Vec<String> = (0..3).map(|number| key.seal(number, None, "hi")).collect();
        let place = |number: usize| {
            let event = open(&format!("alice: {}", lines[number]), None, Some(&key), None);
            let Event::Sealed { order, .. } = event else {
                panic!("{event:?}");
            };
            order
        };
        for (number, order) in [
            (0, Order::Next),
            (0, Order::Repeated),
            (2, Order::Next),
            (1, Order::Late),
            (2, Order::Repeated),
        ] {
            assert_eq!(place(number), order, "{number}");
        }
    }

    #[test]
    fn so_many_runs_are_remembered() {
        let mut heard = Heard::default();
        let mut take = |run: usize, number| {
            let (run, time) = (run.to_string(), Local::now().fixed_offset());
            heard.take(&RoomLine {
                group: "team",
                time,
                run: &run,
                number,
                to: None,
                name: "alice",
                text: "",
            })
        };
        for run in 0..MAX_RUNS {
            assert_eq!(take(run, 5), Order::Next);
        }
        assert_eq!(take(0, 5), Order::Repeated);
        assert_eq!(take(MAX_RUNS, 5), Order::Next);
        assert_eq!(take(0, 5), Order::Next);
        assert_eq!(take(2, 5), Order::Repeated);
        assert_eq!((heard.last.len(), heard.runs.len()), (MAX_RUNS, MAX_RUNS));
    }

    #[test]
    fn a_file_is_what_its_seal_says() {
        let key = room_key(Key::generate(), "alice", "team");
        let (plan, other) = (FileName::from_peer("plan"), FileName::from_peer("other"));
        let head = key.file_head(&plan);
        let check = |head: &str, from, file| {
            key.check_file(head.as_bytes(), from, file)
                .map(|(name, _)| name)
        };
        let alice = Name::of_peer("alice");
        assert_eq!(check(&head, "alice", &plan), Ok(alice.clone()));
        assert_eq!(check(&head, "", &plan), Ok(alice.clone()));
        assert_eq!(
            check(&head, "bob", &plan),
            Err(NotOpened::AnotherName(alice))
        );
        assert_eq!(check(&head, "alice", &other), Err(NotOpened::AnotherFile));
        let den = head.replace("file team", "file den");
        let why = NotOpened::AnotherGroup(Name::of_peer("den"));
        assert_eq!(check(&den, "alice", &plan), Err(why));
        let line = head.replace("file team", "line team");
        assert_eq!(check(&line, "alice", &plan), Err(NotOpened::AnotherKind));
        assert_eq!(check("plan", "alice", &plan), Err(NotOpened::NoForm));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(text: String, sealed: String) {
            let key = room_key(Key::generate(), "alice", "team");
            let token = key.key.seal(sealed.as_bytes());
            for text in [text.clone(), format!("{text}: {token}")] {
                for room_key in [None, Some(&key)] {
                    open(&text, None, room_key, None);
                }
            }
        }
    }
}
