//! Paths: which files a typed line means, and for whom they are.
//!
//! A line is one path if there is such a file. Otherwise it is several words, as in a shell: quotes and backslashes keep blanks together, and
//! `file:///tmp/my%20file.txt` is what some desktops put in when a file is dragged into a terminal. `@NAME` in front says for whom.

use std::path::PathBuf;

use crate::machine;

/// The name in front, or nothing, and the paths.
pub(crate) fn parse(typed: &str) -> (String, Vec<PathBuf>) {
    let typed = typed.trim();
    let (to, rest) = match typed.strip_prefix('@') {
        Some(rest) if !PathBuf::from(typed).exists() => match first_word(rest) {
            Some((name, rest)) => (name, rest.trim_start()),
            None => (String::new(), typed),
        },
        _ => (String::new(), typed),
    };
    let mut paths = Vec::new();
    let as_one = machine::typed_path(rest);
    if as_one.exists() {
        paths.push(as_one);
    } else {
        let mut words = rest;
        while let Some((word, more)) = first_word(words) {
            paths.push(path(&word));
            words = more;
        }
        let is_quoted = rest.contains(['"', '\'', '\\']) || rest.contains("file://");
        if paths.len() > 1 && !is_quoted && !paths.iter().any(|path| path.exists()) {
            // A name with blanks, of a file that is not there.
            paths = vec![as_one];
        }
    }
    (to, paths)
}

/// The first word, without quotes and backslashes, and what follows it.
fn first_word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            // A backslash separates folders on Windows.
            ('\\', None | Some('"')) if !cfg!(windows) => {
                word.extend(chars.next().map(|(_, c)| c));
            }
            (c, None) if c.is_whitespace() => return Some((word, &text[at..])),
            (c, _) => word.push(c),
        }
    }
    (!text.is_empty()).then_some((word, ""))
}

/// The path that a word is, with the home folder in place of `~`.
fn path(word: &str) -> PathBuf {
    match word.strip_prefix("file://") {
        Some(address) => {
            // What stands before the first slash is the host: this one.
            let at = address.find('/').unwrap_or(0);
            PathBuf::from(without_percent(&address[at..]))
        }
        None => machine::typed_path(word),
    }
}

/// The text with bytes in place of `%20` and the like.
fn without_percent(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_in_a_shell() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("/no/a.txt", "", &["/no/a.txt"]),
            (r"/no/my\ file.txt", "", &["/no/my file.txt"]),
            (r"'/no/it'\''s.txt'", "", &["/no/it's.txt"]),
            (r#""/no/a b" /no/c"#, "", &["/no/a b", "/no/c"]),
            ("file:///no/my%20file.txt", "", &["/no/my file.txt"]),
            ("file:///no/a file:///no/b", "", &["/no/a", "/no/b"]),
            ("@bob /no/a.txt", "bob", &["/no/a.txt"]),
            (
                r#"@"bob the builder" /no/a.txt"#,
                "bob the builder",
                &["/no/a.txt"],
            ),
            ("@bob", "bob", &[]),
        ];
        // A backslash keeps a blank everywhere but on Windows.
        let here = |(typed, ..): &(&str, &str, &[&str])| !cfg!(windows) || !typed.contains('\\');
        for (typed, to, paths) in cases.into_iter().filter(here) {
            let paths = paths.iter().map(PathBuf::from).collect();
            assert_eq!(parse(typed), (to.to_owned(), paths), "{typed}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_meant_literally_and_several_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").unwrap();
            path
        };
        let odd = at(if cfg!(windows) {
            "my 'odd' 100%20file.txt"
        } else {
            r#"my "odd"\ 100%20file.txt"#
        });
        let (one, two) = (at("one"), at("two"));
        let nobody = String::new();
        assert_eq!(
            parse(&odd.display().to_string()),
            (nobody.clone(), vec![odd])
        );
        let both = format!("{} {}", one.display(), two.display());
        assert_eq!(parse(&both), (nobody.clone(), vec![one, two]));
        let missing = "/no/such file";
        assert_eq!(parse(missing), (nobody, vec![PathBuf::from(missing)]));
    }
}
