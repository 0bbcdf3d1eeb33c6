//! Two small files in the user's configuration folder: `config`, which the person writes, and `last`, which the client writes.
//!
//! Both have one form: a line is `KEY = VALUE`, or `KEY` alone for a switch. A line that begins with `#` is a remark. The keys of `config` are
//! options of the clients without their dashes, and `server`. `last` says where this person was last: `server`, `name` and `group`. A person
//! at a terminal is offered these. Scripts never meet either file: what a script does stands on its command line.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::machine;

/// A line of such a file.
pub(crate) struct Entry {
    /// Where it stands, from 1 on.
    pub line: usize,
    /// Without dashes.
    pub key: String,
    /// Empty for a switch.
    pub value: String,
}

/// The file that the person writes. `None`: there is no folder for it.
pub(crate) fn path() -> Option<PathBuf> {
    Some(machine::configuration_folder()?.join("config"))
}

/// What the person has written. Without the file that is nothing.
///
/// # Errors
/// The file is there and cannot be read.
pub(crate) fn read() -> io::Result<Vec<Entry>> {
    match path().map(fs::read_to_string) {
        Some(Ok(text)) => Ok(entries(&text)),
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(Vec::new()),
    }
}

/// Where the person was last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Last {
    /// `HOST:PORT`.
    pub server: Option<String>,
    /// The user name.
    pub name: Option<String>,
    /// The group.
    pub group: Option<String>,
}

impl Last {
    /// Reads it. What cannot be read is not known.
    pub(crate) fn read() -> Last {
        let file = machine::configuration_folder().map(|folder| folder.join("last"));
        let text = file.and_then(|file| fs::read_to_string(file).ok());
        let mut last = Last::default();
        for Entry { key, value, .. } in entries(&text.unwrap_or_default()) {
            match key.as_str() {
                "server" => last.server = Some(value),
                "name" => last.name = Some(value),
                "group" => last.group = Some(value),
                _ => {}
            }
        }
        last
    }

    /// Keeps it for the next start.
    pub(crate) fn write(server: &str, name: &str, group: &str) -> io::Result<()> {
        let folder = machine::configuration_folder().ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir_all(&folder)?;
        let text = format!("server = {server}\nname = {name}\ngroup = {group}\n");
        machine::replace_private(&folder.join("last"))?.write_all(text.as_bytes())
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let lines = text
        .lines()
        .zip(1..)
        .map(|(text, line)| (line, text.trim()));
    let lines = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
    let entry = |(line, text): (usize, &str)| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
        Entry { line, key, value }
    };
    lines.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_key_and_a_value_or_a_switch_or_a_remark() {
        let text = "# mine\n\n name = alice = me \nbell\ncolor=\n";
        let entries = entries(text);
        let read: Vec<_> = entries
            .iter()
            .map(|entry| (entry.line, entry.key.as_str(), entry.value.as_str()))
            .collect();
        assert_eq!(
            read,
            [(3, "name", "alice = me"), (4, "bell", ""), (5, "color", "")]
        );
    }
}
