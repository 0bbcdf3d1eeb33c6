//! What was shown, in a file: dated, without escape sequences, and read again at the next start.
//!
//! A line is `YYYY-MM-DD HH:MM:SS [ROOM] TEXT`; one file may serve several rooms.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::machine;

/// How many lines of a room are shown again.
const EARLIER: usize = 20;

/// How much of the end of the file is looked at for them, in bytes.
const TAIL_LEN: u64 = 256 << 10;

/// The length of date and time, as far as they are shown again and in all.
const MINUTE_LEN: usize = "YYYY-MM-DD HH:MM".len();
const TIME_LEN: usize = "YYYY-MM-DD HH:MM:SS ".len();

/// The file.
pub struct Log {
    file: File,
}

impl Log {
    /// Opens the file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub fn open(path: &Path) -> Result<Log, LogError> {
        let file = machine::append_private(path).map_err(|error| LogError {
            path: path.to_owned(),
            error,
        })?;
        Ok(Log { file })
    }

    /// Appends a line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, room: &str, line: &str) -> io::Result<()> {
        self.file
            .write_all(format!("{} [{room}] {line}\n", machine::local_time()).as_bytes())
    }

    /// The last lines of this room, each with its date and minute.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn earlier(&mut self, room: &str) -> io::Result<Vec<String>> {
        let start = self.file.metadata()?.len().saturating_sub(TAIL_LEN);
        self.file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        self.file.read_to_end(&mut tail)?;
        let tail = String::from_utf8_lossy(&tail);
        let of_room = |line: &str| {
            let text = line.get(TIME_LEN..)?.strip_prefix(&format!("[{room}] "))?;
            Some(format!("{} {text}", line.get(..MINUTE_LEN)?))
        };
        let mut lines: Vec<String> = tail
            .lines()
            .rev()
            .filter_map(of_room)
            .take(EARLIER)
            .collect();
        lines.reverse();
        Ok(lines)
    }
}

/// Why there is no log.
#[derive(Debug)]
pub struct LogError {
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "cannot write the log {}: {}; choose another file with --log",
            self.path.display(),
            self.error
        )
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_room_are_found_among_those_of_others() {
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
        assert!(Log::open(folder.path()).is_err_and(|error| error.to_string().contains("--log")));
    }
}
