//! The expected step: what the server may say next in a dialogue, and which texts cannot be meant.

use std::collections::VecDeque;

use crate::wire::command::{ACCEPTED, Dialect, KICKED, RECEIVE_FILE, RESULT, after};

/// What the receiving thread must know of the open dialogue.
#[derive(Default)]
pub struct Dialogue {
    /// From the command to the last step.
    pub is_open: bool,
    /// A body is arriving: a step may take as long as it does.
    pub is_receiving: bool,
    /// The expected step.
    pub expected: Option<Expected>,
    /// The name on which the user decides. The result says what became of it.
    pub about: Option<String>,
    /// The last answer to a delivery that is in progress.
    pub last_answer: Option<&'static str>,
    /// The answers that deliveries get when the dialogue is over.
    pub answers_due: VecDeque<&'static str>,
}

/// What the next step of a dialogue can be.
#[derive(Debug)]
pub enum Expected {
    /// One of these words, perhaps with more behind it.
    Words(Vec<&'static str>),
    /// This word, or a result in its place.
    WordOrResult(&'static str),
    /// A result in words. A fernchat server marks it; a Python server's text that begins with this one is certainly a result.
    Result(String),
    /// A set of names.
    Set,
}

impl Expected {
    /// Whether these bytes are the step.
    pub fn is(&self, bytes: &[u8], server: Dialect) -> bool {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return matches!(self, Expected::Set);
        };
        let is_word = |words: &[&str]| words.iter().any(|word| after(word, text).is_some());
        let is_result = |beginning: &str| match server {
            Dialect::Fernchat => is_word(&[RESULT]),
            Dialect::Python => {
                let is_length = text.bytes().all(|byte| byte.is_ascii_digit());
                let is_event =
                    is_word(&[RECEIVE_FILE, KICKED, ACCEPTED]) || is_line(text) || is_length;
                (!beginning.is_empty() && text.starts_with(beginning)) || !is_event
            }
        };
        match self {
            Expected::Words(words) => is_word(words),
            Expected::WordOrResult(word) => is_word(&[word]) || is_result(""),
            Expected::Result(beginning) => is_result(beginning),
            // No set is UTF-8: its first byte is not.
            Expected::Set => false,
        }
    }
}

/// Whether a text has the form of a chat line, `NAME: TEXT`.
pub(crate) fn is_line(text: &str) -> bool {
    speaker_of(text).is_some()
}

/// The name in a text that has the form of a chat line.
pub(crate) fn speaker_of(text: &str) -> Option<&str> {
    let (name, _) = text.split_once(": ")?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::PROCEED;

    #[test]
    fn of_a_fernchat_server_only_a_marked_text_is_a_result() {
        let upload = Expected::Result("notes.txt".into());
        for (expected, text, is_step) in [
            (&upload, "/result notes.txt: on its way", true),
            (&upload, "notes.txt is on its way", false),
            (&upload, "1400", false),
            (&upload, "/results", false),
            (&Expected::WordOrResult(PROCEED), "/proceed", true),
            (&Expected::WordOrResult(PROCEED), "/result bob: no", true),
            (&Expected::WordOrResult(PROCEED), "only the admin", false),
        ] {
            let is = expected.is(text.as_bytes(), Dialect::Fernchat);
            assert_eq!(is, is_step, "{expected:?} {text}");
        }
    }

    #[test]
    fn a_python_server_s_events_are_no_steps() {
        let result = Expected::Result(String::new());
        let upload = Expected::Result("notes: old.txt".into());
        for (expected, text, is_step) in [
            (&result, "bob is now a member", true),
            (&result, "bob: hello", false),
            (&result, "/receiveFile", false),
            (&result, "1400", false),
            (&upload, "notes: old.txt was sent", true),
            (&upload, "bob: notes", false),
            (&Expected::WordOrResult(PROCEED), "/proceed", true),
            (&Expected::WordOrResult(PROCEED), "carol: hi", false),
            (&Expected::WordOrResult(PROCEED), "only the admin", true),
            (&Expected::Set, "bob: hello", false),
        ] {
            assert_eq!(
                expected.is(text.as_bytes(), Dialect::Python),
                is_step,
                "{expected:?} {text}"
            );
        }
        assert!(Expected::Set.is(b"\x80\x04\x8f.", Dialect::Python));
    }
}
