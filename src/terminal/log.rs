//! What was shown, in a file: dated, without escape sequences, and shown again at the next start.
//!
//! A line is `YYYY-MM-DD HH:MM:SS [GROUP] TEXT`. One file may serve several groups.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::machine;

/// How many lines of a group are shown again.
const EARLIER: usize = 20;

/// How much of the end of the file is searched for them, in bytes.
const TAIL_LEN: u64 = 256 << 10;

/// The length of date and time, as far as they are shown again and in all.
const MINUTE_LEN: usize = "YYYY-MM-DD HH:MM".len();
const TIME_LEN: usize = "YYYY-MM-DD HH:MM:SS ".len();

/// The file.
pub(crate) struct Log(File);

impl Log {
    /// Opens the file. A new one only its owner can read.
    ///
    /// # Errors
    /// Nothing can be written there: what to do about it.
    pub(crate) fn open(path: &Path) -> Result<Log, String> {
        machine::append_private(path).map(Log).map_err(|error| {
            let path = path.display();
            format!("cannot write the log {path}: {error}; choose another file with --log")
        })
    }

    /// Appends a line.
    pub(crate) fn write(&mut self, group: &str, line: &str) -> io::Result<()> {
        let line = format!("{} [{group}] {line}\n", machine::local_time());
        self.0.write_all(line.as_bytes())
    }

    /// The last lines of this group, each with its date and minute.
    pub(crate) fn earlier(&mut self, group: &str) -> io::Result<Vec<String>> {
        let start = self.0.metadata()?.len().saturating_sub(TAIL_LEN);
        self.0.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        self.0.read_to_end(&mut tail)?;
        let tail = String::from_utf8_lossy(&tail);
        let of_group = |line: &str| {
            let text = line.get(TIME_LEN..)?.strip_prefix(&format!("[{group}] "))?;
            Some(format!("{} {text}", line.get(..MINUTE_LEN)?))
        };
        let lines = tail.lines().rev().filter_map(of_group);
        let mut lines: Vec<String> = lines.take(EARLIER).collect();
        lines.reverse();
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_group_are_found_among_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "no line\n2026-11-22 09:05:00 [team] alice: héllo\n").unwrap();
        let mut log = Log::open(&path).unwrap();
        assert_eq!(
            log.earlier("team").unwrap(),
            ["2026-11-22 09:05 alice: héllo"]
        );
        assert_eq!(log.earlier("tea").unwrap(), [""; 0]);
        for n in 0..30 {
            log.write("team", &format!("alice: {n}")).unwrap();
            log.write("other", &format!("bob: {n}")).unwrap();
        }
        let lines = Log::open(&path).unwrap().earlier("team").unwrap();
        assert_eq!(lines.len(), EARLIER);
        assert!(
            lines[0].ends_with(" alice: 10") && lines[19].ends_with(" alice: 29"),
            "{lines:?}"
        );
        // What is longer than the tail is cut at its beginning, and what is cut is no line.
        log.write("team", &"x".repeat(TAIL_LEN as usize)).unwrap();
        assert_eq!(log.earlier("team").unwrap(), [""; 0]);
        assert!(Log::open(folder.path()).is_err_and(|error| error.contains("--log")));
    }
}
