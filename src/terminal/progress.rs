//! How far a file has come: for a person, and only for a file that takes longer than a second.

use std::time::Instant;

use super::Terminal;
use super::style::{cut, harmless};
use crate::wire::size;

/// The progress of one file.
pub struct Progress<'a> {
    terminal: &'a Terminal,
    title: String,
    /// The length of the body, in bytes.
    len: u64,
    start: Instant,
    /// When the progress was shown last, in seconds after the start.
    shown_at: u64,
}

impl Progress<'_> {
    /// `n_done` bytes of the body are through.
    pub fn reached(&mut self, n_done: u64) {
        let seconds = self.start.elapsed().as_secs();
        let is_last = n_done == self.len && self.shown_at > 0;
        if is_last || seconds >= self.shown_at + self.terminal.progress_time() {
            self.shown_at = seconds;
            let text = text(n_done, self.len, self.start.elapsed().as_secs_f64());
            let line = format!("{text}: {}", harmless(&self.title));
            self.terminal.show_progress(&line);
        }
    }
}

impl Terminal {
    /// Begins to show the progress of a file.
    pub fn progress(&self, title: String, len: u64) -> Progress<'_> {
        Progress {
            terminal: self,
            title,
            len,
            start: Instant::now(),
            shown_at: 0,
        }
    }

    /// How many seconds pass until the progress is shown, again and again. Without the editor a line cannot be replaced, so it is shown
    /// less often.
    fn progress_time(&self) -> u64 {
        match (self.is_interactive, self.editor()) {
            (true, Some(_)) => 1,
            (true, None) => 10,
            (false, _) => u64::MAX,
        }
    }

    /// Shows the progress, in place of the line before if that showed progress, too.
    fn show_progress(&self, line: &str) {
        match self.editor() {
            Some(editor) => editor.show_progress(|columns| self.style.quiet(cut(line, columns))),
            None => self.show(line),
        }
    }
}

/// Percent, bytes of the file in a second, and the time left. A body has four bytes for three of the file.
fn text(n_done: u64, len: u64, seconds: f64) -> String {
    let rate = n_done as f64 / seconds.max(0.001);
    let left = ((len - n_done.min(len)) as f64 / rate.max(1.0)) as u64;
    let percent = n_done as u128 * 100 / u128::from(len.max(1));
    format!(
        "{percent} %, {}/s, {}:{:02} left",
        size::in_words((rate * 0.75) as u64),
        left / 60,
        left % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_rate_and_time_left_are_those_of_the_file() {
        for (n_done, len, seconds, expected) in [
            (4 << 20, 40 << 20, 1.0, "10 %, 3 MiB/s, 0:09 left"),
            (1 << 20, 1 << 30, 2.0, "0 %, 384 KiB/s, 34:06 left"),
            (40 << 20, 40 << 20, 10.0, "100 %, 3 MiB/s, 0:00 left"),
            (0, 0, 0.0, "0 %, 0 bytes/s, 0:00 left"),
        ] {
            assert_eq!(text(n_done, len, seconds), expected);
        }
    }
}
