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
pub(crate) struct Style {
    /// Names have colours, notices are dim.
    pub color: bool,
    /// Each line has its time.
    pub time: bool,
}

impl Style {
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

/// As much of a text as fits into this many columns. Characters from U+1100 on, where the wide ones begin, are taken to be two columns wide.
pub(crate) fn cut(text: &str, columns: usize) -> &str {
    let widths = text.char_indices().scan(0, |width, (at, c)| {
        *width += if c < '\u{1100}' { 1 } else { 2 };
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
