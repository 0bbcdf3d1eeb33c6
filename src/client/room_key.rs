//! The room key: what members share and the server does not have.
//!
//! A line is sealed twice. `[HH:MM:SS] NAME: TEXT` is sealed with the room key, and the token of that is the text of an ordinary line.
//! So any server passes it on, also the Python one. A receiver shows the line only if it was sealed in the name under which the server
//! delivers it. Each holder of the room key can seal in any name, but only the server can then deliver the line under that name. So
//! the name is as certain as the holders are trusted.

use chrono::Local;

use crate::machine;
use crate::screen::{Event, Name, NotOpened, Order, Trust, When, Words};
use crate::seal::{Key, StampedLine, has_token_form};
use crate::wire::name::UserName;

/// The text that says `text` to those who have the room key.
pub(crate) fn seal(room_key: &Key, name: &UserName, text: &str) -> String {
    let line = StampedLine {
        time: &machine::local_time().time().to_string(),
        name: name.as_str(),
        text,
    };
    room_key.seal(line.to_string().as_bytes())
}

/// What a text is that the server delivered, `NAME: TEXT`, for a client with this room key or with none. `earlier`: it was said before the
/// user joined, in seconds since 1970.
pub(crate) fn open(text: &str, earlier: Option<u64>, room_key: Option<&Key>) -> Event {
    let trust = room_key.map_or(Trust::NoKey, |_| Trust::Unproven);
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
    opened(name, token, earlier.is_some(), room_key).unwrap_or_else(|why| Event::NotOpened {
        who: Name::of_peer(name),
        why,
    })
}

fn opened(
    name: &str,
    token: &str,
    is_earlier: bool,
    room_key: Option<&Key>,
) -> Result<Event, NotOpened> {
    let room_key = room_key.ok_or(NotOpened::NoKey)?;
    let opened = room_key.open(token.as_bytes());
    let opened = opened.map_err(|_| NotOpened::AnotherKey)?;
    let opened = String::from_utf8(opened).map_err(|_| NotOpened::NoForm)?;
    let line = StampedLine::parse(&opened).ok_or(NotOpened::NoForm)?;
    if line.name != name {
        return Err(NotOpened::AnotherName(Name::of_peer(line.name)));
    }
    let time = line.time.parse().map_err(|_| NotOpened::NoForm)?;
    let date = Local::now().with_time(time).earliest();
    Ok(Event::Sealed {
        who: Name::of_peer(name),
        when: When::Date(date.ok_or(NotOpened::NoForm)?.fixed_offset()),
        order: Order::Next,
        is_earlier,
        text: Words::of_peer(line.text),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_of_383_kib_fits_under_a_room_key() {
        let name = UserName::parse(&"\u{1f469}".repeat(64)).unwrap();
        let token = seal(&Key::generate(), &name, &"x".repeat(383 << 10));
        let number = format!("{} ", u64::MAX);
        assert!(number.len() + token.len() <= crate::wire::frame::MAX_TEXT);
    }

    #[test]
    fn a_line_is_what_its_seal_says() {
        let (key, other) = (Key::generate(), Key::generate());
        let alice = UserName::parse("alice").unwrap();
        let token = seal(&key, &alice, "meet: at noon");
        let loose = key.seal(b"no line at all");
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
            assert_eq!(open(&line, None, room_key), expected, "{line}");
        }
        let now = open(&format!("alice: {token}"), None, known);
        let Event::Sealed { who, text, .. } = now else {
            panic!("{now:?}");
        };
        assert_eq!((who.raw(), text.raw()), ("alice", "meet: at noon"));
    }

    proptest! {
        #[test]
        fn any_text_is_taken_without_a_panic(text: String, sealed: String) {
            let key = Key::generate();
            let token = key.seal(sealed.as_bytes());
            for text in [text.clone(), format!("{text}: {token}")] {
                for room_key in [None, Some(&key)] {
                    open(&text, None, room_key);
                }
            }
        }
    }
}
