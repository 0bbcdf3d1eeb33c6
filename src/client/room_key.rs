//! The room key: what members share and the server does not have.
//!
//! A line is sealed twice: `[HH:MM:SS] NAME: TEXT` under the room key, and the token of that, as a text like any other, under the server's.
//! So any server passes it on, also the Python one. What arrives is shown as what it is: a line that was sealed for this room by the one
//! under whose name it came, or else why it is not one. The room key proves the name as far as its holders are trusted: any of them can seal
//! in any name, but then only the server can deliver it under that name.

use std::borrow::Cow;

use crate::machine;
use crate::seal::{Key, StampedLine, has_token_form};
use crate::wire::command::PYCHAT;
use crate::wire::name::UserName;

/// The text that says `text` to those who have the room key.
pub fn seal(room_key: &Key, name: &UserName, text: &str) -> String {
    let time = machine::local_time().time().to_string();
    room_key.seal(
        StampedLine {
            time: &time,
            name: name.as_str(),
            text,
        }
        .to_string()
        .as_bytes(),
    )
}

/// What a line that the server delivered, `NAME: TEXT`, is to somebody who has this room key, or none.
pub fn shown<'a>(line: &'a str, room_key: Option<&Key>) -> Cow<'a, str> {
    // A Python server takes names with a colon; a token has none.
    let (name, text) = match line.rsplit_once(": ") {
        Some((name, text)) if has_token_form(text) => (name, text),
        _ => return in_clear(line, room_key),
    };
    let Some(room_key) = room_key else {
        return format!("{name} says something that is sealed with a room key.").into();
    };
    let opened = room_key
        .open(text.as_bytes())
        .map(|text| String::from_utf8_lossy(&text).into_owned());
    let Ok(opened) = opened else {
        return format!("{name} says something that this room key does not open.").into();
    };
    match StampedLine::parse(&opened) {
        Some(line) if line.name == name => opened.into(),
        Some(line) => format!(
            "Not shown: a line that the server says is {name}'s was sealed as {}'s.",
            line.name
        )
        .into(),
        None => format!("Not shown: {name} sealed something that is no line.").into(),
    }
}

/// With a room key, a line that everybody on the way could read or make up is marked. The server's own notices are never anything else.
fn in_clear<'a>(line: &'a str, room_key: Option<&Key>) -> Cow<'a, str> {
    match line.split_once(": ") {
        Some((name, text)) if room_key.is_some() && name != PYCHAT => {
            format!("{name} (not sealed): {text}").into()
        }
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (
                "PyChat: bob is here".into(),
                Some(&key),
                "PyChat: bob is here",
            ),
            ("no name".into(), Some(&key), "no name"),
        ] {
            assert_eq!(shown(&line, room_key), expected);
        }
        let now = shown(&format!("alice: {token}"), Some(&key)).into_owned();
        assert_eq!(
            StampedLine::parse(&now).map(|line| (line.name, line.text)),
            Some(("alice", "meet: at noon"))
        );
    }
}
