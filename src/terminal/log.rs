//! What was shown, in a file: dated, without escape sequences, and shown again at the next start.
//!
//! A line is `YYYY-MM-DD HH:MM:SS [GROUP] TEXT`. One file may serve several groups. A `]` in the name of a group is written `\]`. So no group
//! has a name that makes its lines look like another's. If the disk is full, the log goes on when there is room, and says how
//! many lines are missing.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use log::warn;

use crate::machine;

/// How many lines of a group are shown again.
const EARLIER: usize = 20;

/// How much of the end of the file is searched for them, in bytes.
const TAIL_LEN: u64 = 256 << 10;

/// The length of date and time, as far as they are shown again and in all.
const MINUTE_LEN: usize = "YYYY-MM-DD HH:MM".len();
const TIME_LEN: usize = "YYYY-MM-DD HH:MM:SS ".len();

/// The file.
pub(crate) struct Log {
    file: File,
    /// How many lines could not be written since the last one that was.
    n_missing: u64,
    /// The last line was written in part.
    is_torn: bool,
}

impl Log {
    /// Opens the file. A new one only its owner can read.
    ///
    /// # Errors
    /// Nothing can be written there: what to do about it.
    pub(crate) fn open(path: &Path) -> Result<Log, String> {
        let shown = path.display();
        let file = plain(path).and_then(|()| machine::append_private(path));
        let file = file.map_err(|error| {
            format!("cannot write the log {shown}: {error}; choose another file with --log")
        })?;
        if path.is_symlink() {
            warn!("the log {shown} is a symbolic link: what is shown goes to where it leads");
        }
        if let Some(what) = machine::open_to_others(&file) {
            warn!("others can {what} the log {shown}: chmod 600 keeps it to you");
        }
        Ok(Log {
            file,
            n_missing: 0,
            is_torn: false,
        })
    }

    /// Appends a line. If the disk is full, the next line that finds room says how many are missing.
    ///
    /// # Errors
    /// The line is missing.
    pub(crate) fn write(&mut self, group: &str, line: &str) -> io::Result<()> {
        let before = format!("{} [{}] ", machine::local_time(), escaped(group));
        let mut text = String::new();
        if self.is_torn {
            text.push('\n');
        }
        if self.n_missing > 0 {
            text += &format!("{before}(missing here: {})\n", lines(self.n_missing));
        }
        text += &format!("{before}{line}\n");
        let n_written = self.file.write(text.as_bytes());
        if matches!(n_written, Ok(n) if n == text.len()) {
            (self.n_missing, self.is_torn) = (0, false);
            return Ok(());
        }
        self.n_missing += 1;
        self.is_torn |= matches!(n_written, Ok(n) if n > 0);
        Err(n_written.err().unwrap_or(io::ErrorKind::StorageFull.into()))
    }

    /// Whether the last line is missing.
    pub(crate) fn is_behind(&self) -> bool {
        self.n_missing > 0
    }

    /// The last lines of this group, each with its date and minute.
    pub(crate) fn earlier(&mut self, group: &str) -> io::Result<Vec<String>> {
        let start = self.file.metadata()?.len().saturating_sub(TAIL_LEN);
        self.file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        (&self.file).take(TAIL_LEN).read_to_end(&mut tail)?;
        let tail = String::from_utf8_lossy(&tail);
        let group = escaped(group);
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

/// Refuses what is there and no plain file: a device, a pipe or a folder could be read or written without end.
pub(super) fn plain(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is no plain file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The name of a group as it stands between brackets.
fn escaped(group: &str) -> String {
    group.replace('\\', "\\\\").replace(']', "\\]")
}

fn lines(n: u64) -> String {
    match n {
        1 => "1 line".to_owned(),
        n => format!("{n} lines"),
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

    #[test]
    fn a_group_cannot_write_lines_of_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(&folder.path().join("log")).unwrap();
        let planted = ["team] bob: hi", "team\\", "team\\] bob: hi"];
        for group in planted {
            log.write(group, "alice: x").unwrap();
        }
        assert_eq!(log.earlier("team").unwrap(), [""; 0]);
        for group in planted {
            assert_eq!(log.earlier(group).unwrap().len(), 1, "{group}");
        }
    }
}
