//! Files between two fernchat ends: the words, and how they are read. The same in both directions.
//!
//! | word | from | says |
//! | --- | --- | --- |
//! | `/receiveFile ID BYTES`, line feed, NAME, line feed, WHO | who has the file | a body of so many bytes is on offer |
//! | `/sendFile ID HAVE` | the other | send it from this byte on: I have what is before |
//! | `/sendFile ID HAVE` | who has the file | the body follows from this byte on (a server says so; a client just sends) |
//! | `/haveFile ID` | the other | I have all of it, and it opens; from a server TEXT follows, for the user |
//! | `/stopFile ID REASON` | either | the file is not sent, not wanted, or could not be kept; who is sending a body then ends it |
//!
//! From a client WHO is the one member who is offered the file, or nobody: then everybody is. From a server WHO is who shares it.
//! ID is made up by who offers the file. By it a transfer goes on after a broken connection.
//! While a body is due, what comes is either a piece of it, which has no zero byte, or a frame, which begins with one. The byte
//! [`BODY_END`](super::command::BODY_END) in place of a piece ends the body early.

use super::command::{RECEIVE_FILE, after, with};

/// The longest ID that is taken, in bytes.
const MAX_ID: usize = 64;

/// A file that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOffer<'a> {
    /// How both ends call the transfer.
    pub id: &'a str,
    /// The length of the body in bytes.
    pub len: u64,
    /// The file's name, as the other end says it.
    pub name: &'a str,
    /// Whom it is for, or who shares it. Empty: everybody.
    pub who: &'a str,
}

impl<'a> FileOffer<'a> {
    /// The offer that this text is, if it is one.
    pub fn parse(text: &'a str) -> Option<FileOffer<'a>> {
        let mut lines = after(RECEIVE_FILE, text)?.splitn(3, '\n');
        let (id, len) = lines.next()?.split_once(' ')?;
        Some(FileOffer {
            id: checked_id(id)?,
            len: len.parse().ok()?,
            name: lines.next()?,
            who: lines.next()?,
        })
    }

    /// The text of the offer.
    pub fn text(&self) -> String {
        let FileOffer { id, len, name, who } = self;
        with(RECEIVE_FILE, &format!("{id} {len}\n{name}\n{who}"))
    }
}

/// The ID behind this word, and what follows it, if the text begins with the word.
pub fn about_file<'a>(word: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = after(word, text)?;
    let (id, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((checked_id(id)?, rest))
}

fn checked_id(id: &str) -> Option<&str> {
    (1..=MAX_ID).contains(&id.len()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command::{SEND_FILE, STOP_FILE};

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        let offer = FileOffer {
            id: "7",
            len: 1400,
            name: "my notes.txt",
            who: "bob the builder",
        };
        assert_eq!(
            offer.text(),
            "/receiveFile 7 1400\nmy notes.txt\nbob the builder"
        );
        assert_eq!(FileOffer::parse(&offer.text()), Some(offer));
        let long = format!("/receiveFile {} 1\na\n", "x".repeat(MAX_ID + 1));
        for text in [
            "/receiveFile",
            "/receiveFile 7",
            "/receiveFile 7 1400",
            "/receiveFile 7 1400\na",
            "/receiveFile 7 -1\na\n",
            "/receiveFile  1400\na\n",
            &long,
        ] {
            assert_eq!(FileOffer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_word_about_a_file_has_its_id_and_a_rest() {
        assert_eq!(about_file(SEND_FILE, "/sendFile 7 12"), Some(("7", "12")));
        assert_eq!(
            about_file(STOP_FILE, "/stopFile 7 no room"),
            Some(("7", "no room"))
        );
        assert_eq!(about_file(STOP_FILE, "/stopFile 7"), Some(("7", "")));
        assert_eq!(about_file(STOP_FILE, "/stopFile"), None);
        assert_eq!(about_file(STOP_FILE, "/sendFile 7"), None);
    }
}
