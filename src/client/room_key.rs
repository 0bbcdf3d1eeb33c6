//! The room key: what members share and the server does not have.
//!
//! A line is sealed twice. `[HH:MM:SS] NAME: TEXT` is sealed with the room key, and the token of that is the text of an ordinary line.
//! So any server passes it on, also the Python one. A receiver shows the line only if it was sealed in the name under which the server
//! delivers it. Each holder of the room key can seal in any name, but only the server can then deliver the line under that name. So
//! the name is as certain as the holders are trusted.

use crate::machine;
use crate::seal::{Key, StampedLine, has_token_form};
use crate::terminal::{ChatLine, SaidAt};
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

/// The line in a text that the server delivered, `NAME: TEXT`, for a client with this room key or with none.
///
/// # Errors
/// It cannot be shown as a line. The error is the notice that is shown in its place.
pub(crate) fn open(
    text: &str,
    said_at: SaidAt,
    room_key: Option<&Key>,
) -> Result<ChatLine, String> {
    // A Python server takes names with a colon; a token has none.
    let sealed = text.rsplit_once(": ");
    let Some((name, token)) = sealed.filter(|(_, token)| has_token_form(token)) else {
        let (name, said) = text.split_once(": ").ok_or(text)?;
        // Everybody on the way could read this line, or make it up.
        let remark = room_key.map_or("", |_| " (not sealed)");
        return Ok(ChatLine {
            name: name.to_owned(),
            remark,
            text: said.to_owned(),
            said_at,
            stamp: None,
        });
    };
    let opened = match room_key.map(|room_key| room_key.open(token.as_bytes())) {
        Some(Ok(opened)) => opened,
        Some(Err(_)) => Err(format!(
            "{name} says something that this room key does not open."
        ))?,
        None => Err(format!(
            "{name} says something that is sealed with a room key."
        ))?,
    };
    let opened = String::from_utf8_lossy(&opened);
    match StampedLine::parse(&opened) {
        Some(StampedLine {
            time,
            name: sealed_by,
            text,
        }) if sealed_by == name => {
            let front = format!("[{time}] ");
            let line = ChatLine::stamped(name, text, time, front);
            Ok(ChatLine { said_at, ..line })
        }
        Some(line) => Err(format!(
            "Not shown: a line that the server says is {name}'s was sealed as {}'s.",
            line.name
        )),
        None => Err(format!(
            "Not shown: {name} sealed something that is no line."
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What stands on the screen.
    fn shown(text: &str, room_key: Option<&Key>) -> String {
        match open(text, SaidAt::Now, room_key) {
            Ok(line) => {
                let front = line.stamp.map_or(String::new(), |stamp| stamp.front);
                format!("{front}{}{}: {}", line.name, line.remark, line.text)
            }
            Err(notice) => notice,
        }
    }

    #[test]
    fn a_line_of_383_kib_fits_under_a_room_key() {
        let name = UserName::parse(&"\u{1f469}".repeat(64)).unwrap();
        let token = seal(&Key::generate(), &name, &"x".repeat(383 << 10));
        let number = format!("{} ", u64::MAX);
        assert!(number.len() + token.len() <= crate::wire::frame::MAX_TEXT);
    }

    #[test]
    fn a_line_is_shown_as_what_it_is() {
        let (key, other) = (Key::generate(), Key::generate());
        let alice = UserName::parse("alice").unwrap();
        let token = seal(&key, &alice, "meet: at noon");
        let stamped = StampedLine::parse("[09:05:00] alice: meet: at noon").unwrap();
        let fixed = key.seal(stamped.to_string().as_bytes());
        let loose = key.seal(b"no line at all");
        for (line, room_key, expected) in [
            (
                format!("alice: {fixed}"),
                Some(&key),
                "[09:05:00] alice: meet: at noon",
            ),
            (
                format!("bob: {fixed}"),
                Some(&key),
                "Not shown: a line that the server says is bob's was sealed as alice's.",
            ),
            (
                format!("a: alice: {fixed}"),
                Some(&key),
                "Not shown: a line that the server says is a: alice's was sealed as alice's.",
            ),
            (
                format!("alice: {loose}"),
                Some(&key),
                "Not shown: alice sealed something that is no line.",
            ),
            (
                format!("alice: {token}"),
                Some(&other),
                "alice says something that this room key does not open.",
            ),
            (
                format!("alice: {token}"),
                None,
                "alice says something that is sealed with a room key.",
            ),
            (
                "alice: hello: you".into(),
                Some(&key),
                "alice (not sealed): hello: you",
            ),
            ("alice: hello".into(), None, "alice: hello"),
            (
                format!("alice: {token} or so"),
                None,
                &format!("alice: {token} or so"),
            ),
            ("no name".into(), Some(&key), "no name"),
        ] {
            assert_eq!(shown(&line, room_key), expected);
        }
        let now = shown(&format!("alice: {token}"), Some(&key));
        assert!(now.ends_with("] alice: meet: at noon"), "{now}");
    }

    proptest! {
        #[test]
        fn any_text_is_shown_without_a_panic_and_hardly_longer(text: String, sealed: String) {
            let key = Key::generate();
            let token = key.seal(sealed.as_bytes());
            for text in [text.clone(), format!("{text}: {token}")] {
                for room_key in [None, Some(&key)] {
                    prop_assert!(shown(&text, room_key).len() <= text.len() + 100);
                }
            }
        }
    }
}
