//! Watching the protocol: a line in the log for each frame, at the level `trace`. `RUST_LOG=fernchat::wire=trace` shows a dialogue while
//! it happens.
//!
//! A line says where the frame comes from or goes to, what kind of text it holds, and how long its token is. A word of the protocol
//! is shown by name. Names and what people say are shown as `text`. (A text that begins with a word of the protocol is shown as that
//! word, and the rest of it is not shown.)
//!
//! ```text
//! from client 2 bob: /messageSend, 100 bytes
//! to client 2 bob: /messageSend, 100 bytes
//! from client 2 bob: text, 100 bytes
//! to client 1 alice: text, 100 bytes
//! ```
//!
//! There are no keys here: the code that opens or seals a token says what the token holds. A server writes the line when the frame enters an
//! outbox, while it holds the locks that keep the order. That is good for a lesson, and too slow for a busy server.

use std::fmt::Display;

use log::trace;

use super::command::{ACKNOWLEDGEMENT, word_of};

/// What these lines are called in the log.
const TARGET: &str = "fernchat::wire";

/// A frame came, with a token of this many bytes that opens to this text.
pub fn came(from: impl Display, token_len: usize, text: &[u8]) {
    trace!(target: TARGET, "from {from}: {}, {token_len} bytes", kind(text));
}

/// A frame goes out, with a token of this many bytes that opens to a text of this [`kind`].
pub fn goes(to: impl Display, token_len: usize, kind: &str) {
    trace!(target: TARGET, "to {to}: {kind}, {token_len} bytes");
}

/// What the log shows of a text: the word of the protocol that it is, or what else it is.
pub fn kind(text: &[u8]) -> &'static str {
    // A pickled set begins with a byte that begins no text.
    let Ok(text) = std::str::from_utf8(text) else {
        return "set";
    };
    match word_of(text) {
        Some(word) => word,
        None if text == ACKNOWLEDGEMENT => "acknowledgement",
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => "number",
        None => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::{Command, FILE_ERROR};
    use crate::wire::name_set;

    #[test]
    fn words_are_shown_by_name_and_nothing_else_is_shown() {
        for (_, word) in Command::ALL {
            assert_eq!(kind(word.as_bytes()), word);
        }
        for (text, shown) in [
            ("/sendGroupname fernchat/1", "/sendGroupname"),
            ("/refused denied no canaries here", "/refused"),
            ("/taken 7", "/taken"),
            (FILE_ERROR, FILE_ERROR),
            (".", "acknowledgement"),
            ("136", "number"),
            ("", "text"),
            ("alice: /ready", "text"),
            ("1 /ready", "text"),
            ("/readyish", "text"),
            ("the canary sings", "text"),
        ] {
            assert_eq!(kind(text.as_bytes()), shown, "{text}");
        }
        assert_eq!(kind(&name_set::encode(["canary"])), "set");
        assert_eq!(kind(&name_set::encode([])), "set");
    }
}
