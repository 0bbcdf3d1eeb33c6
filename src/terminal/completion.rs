//! What Tab offers: commands, then what the command needs. In a line that is to be said, it offers names.

use std::fs;
use std::path::{MAIN_SEPARATOR, PathBuf, is_separator};

use super::style::harmless;
use crate::machine::at_home;
use crate::screen::{Names, Need};

/// What the end of this line can become, and where that end begins. `need` is what the person was asked for. If that is nothing, the line
/// begins with a command, or is to be said.
pub(crate) fn candidates(
    line: &str,
    need: Need,
    commands: &[(&'static str, Need)],
    names: &Names,
) -> (usize, Vec<String>) {
    let argument = line.split_once(' ');
    if need == Need::Nothing && line.starts_with('/') && argument.is_none() {
        let begun = commands.iter().filter(|(word, _)| word.starts_with(line));
        let with_blank = |(word, need): &(&str, Need)| match need {
            Need::Nothing => (*word).to_owned(),
            _ => format!("{word} "),
        };
        return (0, begun.map(with_blank).collect());
    }
    let (need, begun) = match (need, argument) {
        (Need::Nothing, Some((word, rest))) if Need::of(word, commands) != Need::Nothing => {
            (Need::of(word, commands), rest.trim_start())
        }
        (Need::Nothing, _) => (need, line.rsplit(' ').next().unwrap_or_default()),
        _ => (need, line),
    };
    let begins = |name: &&String| name.to_lowercase().starts_with(&begun.to_lowercase());
    let mut found: Vec<String> = match need {
        Need::Yes(_) => Vec::new(),
        Need::Nothing if begun.is_empty() => Vec::new(),
        Need::Nothing | Need::Member(_) => names.members.iter().filter(begins).cloned().collect(),
        Need::Request(_) => names.requests.iter().filter(begins).cloned().collect(),
        Need::File(_) => files(begun),
    };
    // Names from others, and also names of files, may hold what a terminal would obey.
    found.retain(|found| harmless(found) == *found);
    (line.len() - begun.len(), found)
}

const QUOTES: [char; 2] = ['"', '\''];

/// The files whose path begins like this, perhaps behind a quote. Folders end in a separator.
fn files(begun: &str) -> Vec<String> {
    let unquoted = begun.strip_prefix(QUOTES).unwrap_or(begun);
    let quote = &begun[..begun.len() - unquoted.len()];
    let (folder, name) = unquoted.split_at(unquoted.rfind(is_separator).map_or(0, |at| at + 1));
    let entries = fs::read_dir(if folder.is_empty() {
        PathBuf::from(".")
    } else {
        at_home(folder)
    });
    let begins = |entry: fs::DirEntry| {
        let found = entry.file_name().into_string().ok()?;
        // As in a shell, hidden files are offered to a person who types the dot.
        if !found.starts_with(name) || found.starts_with('.') != name.starts_with('.') {
            return None;
        }
        Some(if entry.path().is_dir() {
            format!("{quote}{folder}{found}{MAIN_SEPARATOR}")
        } else {
            format!("{quote}{folder}{found}{quote}")
        })
    };
    let entries = entries.into_iter().flatten().flatten();
    let mut found: Vec<String> = entries.filter_map(begins).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [(&str, Need); 5] = [
        ("/2", Need::Request("?")),
        ("/approve", Need::Request("?")),
        ("/admin", Need::Nothing),
        ("/kick", Need::Member("?")),
        ("/file", Need::File("?")),
    ];

    #[test]
    fn each_place_in_a_line_has_its_own_candidates() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        for file in ["plan one.txt", "plan two.txt", ".hidden"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let has_such_names = fs::write(folder.path().join("plan\x1b[2J"), "").is_ok();
        assert!(has_such_names || cfg!(windows));
        fs::create_dir(folder.path().join("plans")).unwrap();
        let name = |name: &str| name.to_owned();
        let names = Names {
            members: ["alice", "Bob the builder", "carol"].map(name).into(),
            requests: ["bea", "dan", "d\x1b[2J"].map(name).into(),
            ..Names::default()
        };
        let file = |line: &str| line.replace('@', &at.to_string());
        let in_folder = if cfg!(windows) {
            r"@/plans\"
        } else {
            "@/plans/"
        };
        for (line, need, start, expected) in [
            ("/a", Need::Nothing, 0, vec!["/approve ", "/admin"]),
            ("/x", Need::Nothing, 0, vec![]),
            ("/approve ", Need::Nothing, 9, vec!["bea", "dan"]),
            ("/2 d", Need::Nothing, 3, vec!["dan"]),
            ("d", Need::Request("?"), 0, vec!["dan"]),
            ("/kick bob the", Need::Nothing, 6, vec!["Bob the builder"]),
            ("/admin a", Need::Nothing, 7, vec!["alice"]),
            ("hello ca", Need::Nothing, 6, vec!["carol"]),
            ("hello ", Need::Nothing, 6, vec![]),
            (
                "/file @/plan",
                Need::Nothing,
                6,
                vec!["@/plan one.txt", "@/plan two.txt", in_folder],
            ),
            ("/file @/plan o", Need::Nothing, 6, vec!["@/plan one.txt"]),
            ("'@/plan o", Need::File("?"), 0, vec!["'@/plan one.txt'"]),
            ("@/.", Need::File("?"), 0, vec!["@/.hidden"]),
            ("/nowhere/at all", Need::File("?"), 0, vec![]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(file).collect();
            assert_eq!(
                candidates(&file(line), need, &COMMANDS, &names),
                (start, expected),
                "{line}"
            );
        }
    }
}
