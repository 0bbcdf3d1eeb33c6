//! What a room key seals: a line or a file, with the purpose for which it was sealed in front.
//!
//! ```text
//! fernchat line GROUP                                  fernchat file GROUP
//! 2026-11-26T09:05:02+01:00 RUN NUMBER NAME: TEXT      2026-11-26T09:05:02+01:00 NAME
//!                                                      FILE
//!                                                      the bytes of the file
//!
//! fernchat tell GROUP                                  a line to the one member TO
//! TO
//! 2026-11-26T09:05:02+01:00 RUN NUMBER NAME: TEXT
//! ```
//!
//! So nothing that was sealed for one purpose serves another. All of it is the sender's own claim: the key proves only that one of its
//! holders sealed it. Whether the claims fit what a server says is asked by the client.

use std::fmt;

use chrono::{DateTime, FixedOffset};

/// A line, with its purpose.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomLine<'a> {
    /// The group for which it was sealed.
    pub group: &'a str,
    /// When it was sealed, by the sender's clock.
    pub time: DateTime<FixedOffset>,
    /// The sender's name for this start of the client.
    pub run: &'a str,
    /// The number of the line among those of the run.
    pub number: u64,
    /// The one member for whom it was sealed. `None`: it is for all.
    pub to: Option<&'a str>,
    /// The sender.
    pub name: &'a str,
    /// What the sender says.
    pub text: &'a str,
}

/// What stands in front of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomFile<'a> {
    /// The group for which it was sealed.
    pub group: &'a str,
    /// When it was sealed, by the sender's clock.
    pub time: DateTime<FixedOffset>,
    /// The sender.
    pub name: &'a str,
    /// The name of the file.
    pub file: &'a str,
}

/// The beginning of what was sealed as a line, as a line to one member, and as a file.
const LINE: &str = "fernchat line ";
const TELL: &str = "fernchat tell ";
const FILE: &str = "fernchat file ";

/// Date, time and offset.
const TIME: &str = "%Y-%m-%dT%H:%M:%S%:z";

/// How many characters they have.
const TIME_LEN: usize = "2026-11-26T09:05:02+01:00".len();

/// The longest name of a run, in bytes. A receiver remembers it.
const MAX_RUN: usize = 64;

/// How many line feeds end what stands in front of a file.
const N_HEAD_LINES: usize = 3;

impl<'a> RoomLine<'a> {
    /// Takes an opened line apart. `None`: it has another form.
    pub fn parse(text: &'a str) -> Option<RoomLine<'a>> {
        let (group, to, rest) = match text.strip_prefix(TELL) {
            None => {
                let (group, rest) = text.strip_prefix(LINE)?.split_once('\n')?;
                (group, None, rest)
            }
            Some(text) => {
                let (group, rest) = text.split_once('\n')?;
                let (to, rest) = rest.split_once('\n')?;
                (group, Some(to), rest)
            }
        };
        let (time, rest) = rest.split_once(' ')?;
        let (run, rest) = rest.split_once(' ')?;
        let (number, rest) = rest.split_once(' ')?;
        let (name, text) = rest.split_once(": ")?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        let has_form = is_number && (1..=MAX_RUN).contains(&run.len());
        has_form.then_some(())?;
        Some(RoomLine {
            group,
            time: parse_time(time)?,
            run,
            number: number.parse().ok()?,
            to,
            name,
            text,
        })
    }
}

impl fmt::Display for RoomLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let time = self.time.format(TIME);
        match self.to {
            None => writeln!(f, "{LINE}{}", self.group)?,
            Some(to) => writeln!(f, "{TELL}{}\n{to}", self.group)?,
        }
        write!(f, "{time} {} {} ", self.run, self.number)?;
        write!(f, "{}: {}", self.name, self.text)
    }
}

impl<'a> RoomFile<'a> {
    /// The most bytes that stand in front of a file: three names, of which none is longer than 256 bytes, and what stands between them.
    pub const MAX_HEAD: usize = 1024;

    /// Takes apart what stands in front of a file: three lines, with their ends. `None`: it has another form.
    pub fn parse(head: &'a str) -> Option<RoomFile<'a>> {
        let (group, rest) = head.strip_prefix(FILE)?.split_once('\n')?;
        let (line, rest) = rest.split_once('\n')?;
        let (time, name) = line.split_once(' ')?;
        let file = rest.strip_suffix('\n')?;
        Some(RoomFile {
            group,
            time: parse_time(time)?,
            name,
            file: (!file.contains('\n')).then_some(file)?,
        })
    }

    /// How many of these bytes, the first that were opened, stand in front of the file. `None`: more must come, or it is no file.
    pub fn head_len(bytes: &[u8]) -> Option<usize> {
        let ends = bytes.iter().take(RoomFile::MAX_HEAD).enumerate();
        let mut ends = ends.filter(|(_, byte)| **byte == b'\n');
        ends.nth(N_HEAD_LINES - 1).map(|(at, _)| at + 1)
    }
}

impl fmt::Display for RoomFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let time = self.time.format(TIME);
        writeln!(
            f,
            "{FILE}{}\n{time} {}\n{}",
            self.group, self.name, self.file
        )
    }
}

/// Whether a text begins like a line that a room key seals.
pub fn is_room_line(text: &[u8]) -> bool {
    text.starts_with(LINE.as_bytes()) || text.starts_with(TELL.as_bytes())
}

/// Whether a text begins like a file that a room key seals.
pub fn is_room_file(text: &[u8]) -> bool {
    text.starts_with(FILE.as_bytes())
}

fn parse_time(text: &str) -> Option<DateTime<FixedOffset>> {
    let time = DateTime::parse_from_str(text, TIME).ok()?;
    (text.len() == TIME_LEN).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time() -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339("2026-11-26T09:05:02+01:00").unwrap()
    }

    const LINE_TEXT: &str =
        "fernchat line the team\n2026-11-26T09:05:02+01:00 r-1 7 bob the builder: a: [b] c";

    const FILE_HEAD: &str =
        "fernchat file the team\n2026-11-26T09:05:02+01:00 bob the builder\nplan (1).txt\n";

    #[test]
    fn a_line_is_taken_apart_and_put_together() {
        let line = RoomLine {
            group: "the team",
            time: time(),
            run: "r-1",
            number: 7,
            to: None,
            name: "bob the builder",
            text: "a: [b] c",
        };
        assert_eq!(line.to_string(), LINE_TEXT);
        assert_eq!(RoomLine::parse(LINE_TEXT).as_ref(), Some(&line));
        let told = RoomLine {
            to: Some("carol s"),
            ..line
        };
        let text = told.to_string();
        assert!(text.starts_with("fernchat tell the team\ncarol s\n2026-"));
        assert_eq!(RoomLine::parse(&text), Some(told));
        for (part, other) in [
            ("fernchat line", "fernchat lime"),
            ("fernchat line", "fernchat file"),
            ("fernchat line ", ""),
            ("\n", " "),
            ("2026-11-26", "2026-11-31"),
            ("2026-11-26", "+2026-11-26"),
            ("T09", " 09"),
            (":02+", ":02.5+"),
            ("+01:00", ""),
            (" r-1", " "),
            (" r-1", &format!(" {}", "r".repeat(65))),
            (" 7", " +7"),
            (" 7", " -7"),
            (" 7", " x"),
            (" 7", " 18446744073709551616"),
            (": a: [b] c", ""),
        ] {
            let text = LINE_TEXT.replace(part, other);
            assert_ne!(text, LINE_TEXT);
            assert_eq!(RoomLine::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn what_stands_in_front_of_a_file_is_taken_apart_and_put_together() {
        let head = RoomFile {
            group: "the team",
            time: time(),
            name: "bob the builder",
            file: "plan (1).txt",
        };
        assert_eq!(head.to_string(), FILE_HEAD);
        assert_eq!(RoomFile::parse(FILE_HEAD), Some(head));
        for (part, other) in [
            ("fernchat file", "fernchat line"),
            ("the team\n", "the team"),
            ("T09", "T9"),
            ("2026", "26"),
            (" bob the builder", ""),
            (".txt\n", ".txt"),
            (".txt\n", ".txt\n\n"),
        ] {
            let text = FILE_HEAD.replace(part, other);
            assert_ne!(text, FILE_HEAD);
            assert_eq!(RoomFile::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn the_head_of_a_file_ends_at_its_third_line_feed_or_is_none() {
        let file = format!("{FILE_HEAD}one\ntwo\n");
        for n in 0..file.len() {
            let len = RoomFile::head_len(&file.as_bytes()[..n]);
            assert_eq!(
                len,
                (n >= FILE_HEAD.len()).then_some(FILE_HEAD.len()),
                "{n}"
            );
        }
        assert_eq!(RoomFile::head_len(&[b'x'; 2 * RoomFile::MAX_HEAD]), None);
        let long = "\u{1f469}".repeat(64);
        let head = RoomFile {
            group: &long,
            time: time(),
            name: &long,
            file: &"x".repeat(255),
        };
        assert!(head.to_string().len() <= RoomFile::MAX_HEAD);
    }
}
