//! How a line looks: colours, dates, and what is made harmless in it.
//!
//! The colour of a name comes from a hash of the name, so a member has the same colour at every start. The colours can be read on a dark
//! and on a light ground: each has a contrast of at least 3.5 to black and to white.

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate};

use crate::machine;
use crate::wire::name::is_harmful;

/// The colours of names.
const COLORS: [u8; 12] = [160, 166, 94, 64, 28, 30, 32, 33, 63, 99, 134, 162];

/// Whether lines have colour and time.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Names have colours, notices are dim.
    pub color: bool,
    /// Each line has its time.
    pub time: bool,
}

impl Style {
    /// Neither.
    #[cfg(any(feature = "window", test))]
    pub(crate) const PLAIN: Style = Style {
        color: false,
        time: false,
    };

    /// A name in its colour.
    pub(crate) fn name(&self, name: &str) -> String {
        // FNV-1a: short, and the same in every version.
        let hash = name.bytes().fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let color = COLORS[hash as usize % COLORS.len()];
        self.paint(&format!("38;5;{color}"), name)
    }

    /// A text that is dimmer than what people say.
    pub(crate) fn quiet(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// A text that stands out.
    pub(crate) fn loud(&self, text: &str) -> String {
        self.paint("1;7", text)
    }

    fn paint(&self, how: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{how}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The days of the week.
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// The day whose lines are being shown.
pub(crate) struct Day(NaiveDate);

impl Day {
    /// This day.
    pub(crate) fn today() -> Day {
        Day(machine::local_time().date())
    }

    /// Goes on to `today`. Returns the line that says so, if it is another day.
    pub(crate) fn turn(&mut self, today: Day) -> Option<String> {
        let is_new = self.0 != today.0;
        *self = today;
        is_new.then(|| format!("--- {}, {} ---", DAYS[self.0.weekday() as usize], self.0))
    }
}

/// Whether a text mentions this user, as a word of its own, in capitals or not.
pub(crate) fn mentions(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_end = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    text.match_indices(&name).any(|(at, found)| {
        !found.is_empty()
            && is_end(text[..at].chars().next_back())
            && is_end(text[at + found.len()..].chars().next())
    })
}

/// The text with every character that a terminal might obey written out: `^[` for escape, `<U+202E>` for an override.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(c),
            '\0'..='\x1f' => shown.extend(['^', char::from(c as u8 ^ 0x40)]),
            // Writing to a string cannot fail.
            c if is_harmful(c) => write!(shown, "<U+{:04X}>", c as u32).unwrap_or_default(),
            c => shown.push(c),
        }
    }
    shown
}

/// A line in rows of so many columns, cut at blanks. All rows but the first are indented. So what begins at the left edge of the screen
/// begins a line, and no text can look like another line by its length. A word that is longer than a row stays in one piece: an address can be
/// copied.
pub(crate) fn in_rows(line: &str, columns: usize) -> String {
    let (mut rows, mut row_width) = (String::with_capacity(line.len()), 0);
    for part in line.split_inclusive(is_blank) {
        let word = part.trim_end_matches(is_blank);
        let width = shown_width(word);
        if row_width + width > columns && row_width > INDENT.len() {
            let end = rows.trim_end_matches(is_blank).len();
            rows.truncate(end);
            rows.push('\n');
            rows.push_str(INDENT);
            row_width = INDENT.len();
        }
        rows.push_str(word);
        row_width += width;
        if part.len() > word.len() && row_width < columns {
            rows.push_str(&part[word.len()..]);
            row_width += shown_width(&part[word.len()..]);
        }
    }
    rows
}

/// What stands in front of each row of a line but the first.
const INDENT: &str = "  ";

/// Whether a character looks like a blank, so that words seem to end there.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{2800}'
        )
}

/// How many columns a text takes, at most. Our own escape sequences, which end in an `m`, and the bell take none.
fn shown_width(text: &str) -> usize {
    let mut chars = text.chars();
    let mut width = 0;
    while let Some(c) = chars.next() {
        width += match c {
            '\x1b' => {
                chars.find(|c| *c == 'm');
                0
            }
            '\x07' => 0,
            '\t' => 8,
            c => width_of(c),
        };
    }
    width
}

/// How many columns a character takes, at most: from U+1100 on, where the wide ones begin, it is taken to be wide.
fn width_of(c: char) -> usize {
    if c < '\u{1100}' { 1 } else { 2 }
}

/// As much of a text as fits into this many columns.
pub(crate) fn cut(text: &str, columns: usize) -> &str {
    let widths = text.char_indices().scan(0, |width, (at, c)| {
        *width += width_of(c);
        Some((at, *width))
    });
    widths
        .into_iter()
        .find(|(_, width)| *width > columns)
        .map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(harmless("bob: \x1b[2J\x07"), "bob: ^[[2J^G");
        assert_eq!(
            harmless("a\u{202e}b\u{9b}31m\x7f"),
            "a<U+202E>b<U+009B>31m<U+007F>"
        );
        assert_eq!(harmless("bob: one\r\nAdmin: two"), "bob: one^M^JAdmin: two");
        assert_eq!(harmless("Grüße\t👩‍👩‍👧 مرحبا"), "Grüße\t👩‍👩‍👧 مرحبا");
    }

    #[test]
    fn a_text_is_cut_between_characters_where_it_would_not_fit() {
        assert_eq!(
            (cut("abc", 3), cut("abc", 2), cut("語語", 3), cut("", 0)),
            ("abc", "ab", "語", "")
        );
    }

    #[test]
    fn a_line_is_cut_into_rows_at_blanks_and_only_its_first_row_is_not_indented() {
        for (line, columns, rows) in [
            ("", 9, ""),
            ("alice: hi", 9, "alice: hi"),
            ("alice: hi you", 9, "alice: hi\n  you"),
            (
                "alice: https://x.y/z and",
                9,
                "alice:\n  https://x.y/z\n  and",
            ),
            (
                "alice: hi        09:05 bob: x",
                9,
                "alice: hi\n  09:05\n  bob: x",
            ),
            (
                "alice: hi\u{a0}\u{a0}\u{3000}09:05 x",
                9,
                "alice: hi\n  09:05 x",
            ),
            (
                "alice: hi\u{2800}09:05\u{2800}x",
                9,
                "alice: hi\n  09:05\n  x",
            ),
            (
                "\x1b[2m09:05\x1b[0m \x1b[1mhi\x1b[0m",
                8,
                "\x1b[2m09:05\x1b[0m \x1b[1mhi\x1b[0m",
            ),
            ("語語語 語語", 8, "語語語\n  語語"),
        ] {
            assert_eq!(in_rows(line, columns), rows, "{line}");
        }
        for n in 0..200 {
            let lie = format!("bob: hi{}[09:05:02] alice: I approve", " ".repeat(n));
            for row in in_rows(&lie, 40).lines().skip(1) {
                assert!(row.starts_with(INDENT) && row.len() <= 40, "{row}");
            }
        }
    }

    #[test]
    fn a_name_is_mentioned_as_a_word_of_its_own() {
        for text in ["bob", "Bob: look", "ask @bob!", "is that BOB?"] {
            assert!(mentions(text, "bob"), "{text}");
        }
        for text in ["", "bobby", "a kebob", "bo b"] {
            assert!(!mentions(text, "bob"), "{text}");
        }
        assert!(mentions("Ärger mit ängel", "Ängel"));
    }

    #[test]
    fn the_date_is_said_when_the_day_changes() {
        let day = |n| Day(NaiveDate::from_ymd_opt(2026, 11, n).unwrap());
        let mut shown = day(22);
        assert_eq!(shown.turn(day(22)), None);
        assert_eq!(
            shown.turn(day(23)).as_deref(),
            Some("--- Monday, 2026-11-23 ---")
        );
        assert_eq!(shown.turn(day(23)), None);
    }

    #[test]
    fn a_name_keeps_its_colour_and_colours_can_be_read_on_dark_and_light() {
        let style = Style {
            color: true,
            time: false,
        };
        assert_eq!(style.name("alice"), style.name("alice"));
        assert_eq!(
            Style {
                color: false,
                time: false
            }
            .name("alice"),
            "alice"
        );
        let linear = |level: u8| match level {
            0 => 0.0,
            level => ((f64::from(55 + 40 * level) / 255.0 + 0.055) / 1.055).powf(2.4),
        };
        for color in COLORS {
            let (red, green, blue) = ((color - 16) / 36, (color - 16) / 6 % 6, (color - 16) % 6);
            let light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
            assert!(
                1.05 / (light + 0.05) > 3.5 && (light + 0.05) / 0.05 > 3.5,
                "{color}: {light}"
            );
        }
    }
}
