//! The stamped line: `[HH:MM:SS] NAME: TEXT`, the text that friends at a relay seal.
//!
//! Time and name are the sender's own claims. The key proves only that one of its holders sealed the line.

/// A stamped line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct StampedLine<'a> {
    /// `HH:MM:SS`, local time of the sender.
    pub time: &'a str,
    /// The sender.
    pub name: &'a str,
    /// What the sender says.
    pub text: &'a str,
}

impl<'a> StampedLine<'a> {
    /// Takes a line apart. `None`: it has another form.
    pub fn parse(line: &'a str) -> Option<StampedLine<'a>> {
        let (time, rest) = line.strip_prefix('[')?.split_once("] ")?;
        let (name, text) = rest.split_once(": ")?;
        let has_form = time.len() == 8
            && time.bytes().enumerate().all(|(at, byte)| match at {
                2 | 5 => byte == b':',
                _ => byte.is_ascii_digit(),
            });
        has_form.then_some(StampedLine { time, name, text })
    }
}

impl std::fmt::Display for StampedLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "[{}] {}: {}", self.time, self.name, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart_and_put_together() {
        let line = StampedLine {
            time: "09:05:00",
            name: "bob",
            text: "a: [b] c",
        };
        assert_eq!(line.to_string(), "[09:05:00] bob: a: [b] c");
        assert_eq!(StampedLine::parse("[09:05:00] bob: a: [b] c"), Some(line));
        for other in [
            "",
            "bob: hello",
            "[9:05:00] bob: x",
            "[09:05:0x] bob: x",
            "[09:05:00] bob",
            "[09-05-00] b: x",
        ] {
            assert_eq!(StampedLine::parse(other), None, "{other}");
        }
    }
}
