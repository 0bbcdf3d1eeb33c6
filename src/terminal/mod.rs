//! What a person sees and types: lines in, lines out.
//!
//! With pipes, plain lines: what is typed comes from standard input and what is shown goes to standard output, so that the client
//! can be scripted. On a terminal a question has a prompt. Everything that others said is made harmless here, and only here:
//! control characters, escape sequences and bidirectional overrides are shown as what they are instead of being obeyed.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};

use crate::wire::name::{is_harmful, NameError};

/// The terminal, or the pipes in its place. Free to use from any thread.
pub struct Terminal {
    is_interactive: bool,
}

impl Terminal {
    /// The terminal of this process.
    pub fn new() -> Terminal {
        Terminal { is_interactive: io::stdin().is_terminal() && io::stdout().is_terminal() }
    }

    /// Shows a line. What is dangerous to a terminal is made harmless.
    pub fn show(&self, line: &str) {
        let mut stdout = io::stdout().lock();
        // Nobody is left to be told that nobody listens.
        let _ = writeln!(stdout, "{}", harmless(line)).and_then(|()| stdout.flush());
    }

    /// Asks for a line; `None` at the end of the input. The question is shown to a person only.
    pub fn ask(&self, question: &str) -> Option<String> {
        if self.is_interactive {
            let mut stdout = io::stdout().lock();
            // As above.
            let _ = write!(stdout, "{question}: ").and_then(|()| stdout.flush());
        }
        self.read_line()
    }

    /// A name as given, or as asked for until there is one: a person is asked again until it is legal.
    ///
    /// # Errors
    /// The name breaks a rule, and there is no person to be asked again; or the input has ended.
    pub fn name<T>(
        &self,
        question: &str,
        given: Option<String>,
        parse: fn(&str) -> Result<T, NameError>,
    ) -> Result<T, NameError> {
        if let Some(given) = given {
            return parse(given.trim());
        }
        while let Some(answer) = self.ask(question) {
            match parse(answer.trim()) {
                Err(error) if self.is_interactive => self.show(&error.to_string()),
                Err(_) if answer.trim().is_empty() => {}
                result => return result,
            }
        }
        Err(NameError::new(format!("the input ended before the {question} was given; give it as a line, or as an option")))
    }

    /// Reads the next line, without its end; `None` at the end of the input. What is not UTF-8 is replaced.
    pub fn read_line(&self) -> Option<String> {
        let mut bytes = Vec::new();
        match io::stdin().lock().read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&bytes);
        Some(line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal::new()
    }
}

/// The text with every character that a terminal might obey written out: `^[` for escape, `<U+202E>` for an override.
pub fn harmless(text: &str) -> String {
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

/// A number of bytes as people read it.
pub fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(value.fract() != 0.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(harmless("bob: \x1b[2J\x07"), "bob: ^[[2J^G");
        assert_eq!(harmless("a\u{202e}b\u{9b}31m\x7f"), "a<U+202E>b<U+009B>31m<U+007F>");
        assert_eq!(harmless("bob: one\r\nAdmin: two"), "bob: one^M^JAdmin: two");
        assert_eq!(harmless("Grüße\t👩‍👩‍👧 مرحبا"), "Grüße\t👩‍👩‍👧 مرحبا");
    }
}
