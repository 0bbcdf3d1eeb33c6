//! What the compiler cannot keep: which module may use which, and where a dependency or a word of the protocol may stand.
//!
//! What is private to a module, and what clippy finds, is not looked for here.

use std::fs;
use std::path::Path;
use std::process::Command;

use fernchat::wire::command::word_of;

/// Where a file lies, and the modules that it may use beside its own. The first row that fits counts.
/// A row names only modules of rows above it, so there is no circle. `program`, `args` and `lib` may use all.
const ARROWS: [(&str, &str); 16] = [
    ("guide/", ""),
    ("machine.rs", ""),
    ("log_queue.rs", "machine"),
    ("configuration.rs", "machine"),
    ("wire/", ""),
    ("seal/", "machine"),
    ("net/", "machine"),
    ("screen.rs", "wire"),
    ("terminal/", "machine wire screen"),
    ("discovery/", "machine wire net screen terminal"),
    ("server/", "machine wire seal net"),
    ("typed.rs", "machine wire screen"),
    (
        "client/",
        "machine configuration wire seal net screen typed",
    ),
    ("relay/client.rs", "machine wire seal net screen typed"),
    // The relay is blind: it has no key, and nothing that could open a token.
    ("relay/", "machine wire net"),
    (
        "window/",
        "machine wire seal net screen terminal discovery client relay",
    ),
];

/// Dependencies that are used in one place.
const HOMES: [(&str, &str); 15] = [
    ("aes::", "seal/"),
    ("fernet::", "seal/"),
    ("pbkdf2::", "seal/"),
    ("zeroize::", "seal/"),
    ("byteorder::", "wire/frame.rs"),
    ("rustix::", "machine.rs"),
    ("rustyline::", "terminal/editor.rs"),
    ("ctrlc::", "machine.rs"),
    ("signal_hook::", "machine.rs"),
    ("env_logger::", "log_queue.rs"),
    ("if_addrs::", "machine.rs"),
    ("mdns_sd::", "discovery/mdns.rs"),
    ("tungstenite::", "window/socket.rs"),
    ("sha1::", "window/door.rs"),
    ("open::that", "window/mod.rs"),
];

/// Each file below this folder that ends like this: its path there, and its text.
fn files(below: &str, ending: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                let name = path.strip_prefix(&root).unwrap();
                let name = name.to_str().unwrap().replace('\\', "/");
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// The lines of code in each source file: without comments, and without what is compiled for tests only.
fn sources() -> Vec<(String, Vec<String>)> {
    let mut files = files("src", ".rs");
    files.retain(|(name, _)| !name.ends_with("testkit.rs") && !name.contains("/tests/"));
    assert!(files.len() > 20);
    let files = files.into_iter();
    files.map(|(name, text)| (name, code(&text))).collect()
}

fn code(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        if start.starts_with("#[cfg(test)]") {
            let indent = &line[..line.len() - start.len()];
            let rest = lines.by_ref();
            let item = rest.find(|line| !line.trim_start().starts_with("#["));
            if item.is_some_and(|line| line.ends_with(['{', '(', '[', '='])) {
                // Its last line closes it, as far in as its first.
                let closes = |rest: &str| rest.starts_with(['}', ')', ']']) && !rest.ends_with('{');
                rest.find(|line| line.strip_prefix(indent).is_some_and(closes));
            }
        } else if !start.starts_with("//") {
            code.push(line.to_owned());
        }
    }
    code
}

#[test]
fn code_for_tests_is_told_from_the_code_behind_it() {
    let text = "\
use a;
#[cfg(test)]
mod b;
fn c() {
    #[cfg(test)]
    if d {
        e
    } else {
        f
    }
    g
}
#[cfg(test)]
#[allow(h)]
mod tests {
    fn i(
        j: K,
    ) {
    }
}
// l
fn m() {}";
    assert_eq!(
        code(text),
        ["use a;", "fn c() {", "    g", "}", "fn m() {}"]
    );
}

#[test]
fn modules_use_only_what_is_below_them() {
    for (at, (row, allowed)) in ARROWS.iter().enumerate() {
        for used in allowed.split_whitespace() {
            let mut above = ARROWS[..at].iter();
            assert!(above.any(|(row, _)| row.starts_with(used)), "{row} {used}");
        }
    }
    for (file, code) in sources() {
        let module = file.split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = ARROWS.iter().find(|(row, _)| file.starts_with(row)) else {
            assert!(
                ["main", "program", "args", "lib"].contains(&module),
                "{file} has no row"
            );
            continue;
        };
        for used in code.iter().flat_map(|line| line.split("crate::").skip(1)) {
            let mut words = used.split(|c: char| !c.is_alphanumeric() && c != '_');
            let used = words.next().unwrap();
            let is_allowed = used == module || allowed.split(' ').any(|name| name == used);
            assert!(is_allowed, "{file} uses {used}");
        }
    }
}

#[test]
fn a_dependency_is_used_where_it_lives() {
    for (file, code) in sources() {
        for (dependency, home) in HOMES {
            let is_used = code.iter().any(|line| line.contains(dependency));
            let is_home = file.starts_with(home);
            assert!(!is_used || is_home, "{file} uses {dependency}");
        }
    }
}

#[test]
fn a_word_of_the_protocol_is_written_in_one_file() {
    assert!(word_of("/refused denied").is_some());
    for (file, code) in sources() {
        if file == "wire/command.rs" {
            continue;
        }
        for line in code {
            for literal in line.split('"').skip(1).step_by(2) {
                let is_word = word_of(literal).is_some() || literal == "PyChat";
                assert!(!is_word, "{file}: {line}");
            }
        }
    }
}

#[test]
fn nothing_heavy_is_in_the_tree() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal"])
        .args(["--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let has = |name: &str| {
        tree.lines()
            .any(|line| line.split(' ').next() == Some(name))
    };
    assert!(has("fernet"), "{tree}");
    let heavy = "tokio async-std smol openssl clap regex serde";
    for name in heavy.split(' ') {
        assert!(!has(name), "{name} is in the tree");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (file, text) in files("src", ".rs") {
        for mark in ["TODO", "FIXME"] {
            assert!(!text.contains(mark), "{file} contains {mark}");
        }
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut tests = files("src", ".rs");
    tests.extend(files("tests", ".rs"));
    let mut n_named = 0;
    for (page, text) in files("src", ".md") {
        let quoted = text.split('`').skip(1).step_by(2);
        for (file, test) in quoted.filter_map(|name| name.split_once("::")) {
            // What is shorter is no sentence, and names a part of the program.
            if test.matches('_').count() < 3 {
                continue;
            }
            n_named += 1;
            let (file, test) = (format!("{file}.rs"), format!("fn {test}("));
            let is_there = |(path, text): &(String, String)| {
                path.rsplit('/').next() == Some(&file) && text.contains(&test)
            };
            assert!(tests.iter().any(is_there), "{page}: no {test} in {file}");
        }
    }
    assert!(n_named > 10, "{n_named}");
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (n_lines, n_words) = (readme.lines().count(), readme.split_whitespace().count());
    assert!(n_lines <= 180 && n_words <= 2200, "{n_lines} {n_words}");
    let links = readme.split("](").skip(1);
    for link in links.filter_map(|rest| rest.split(')').next()) {
        let is_there = link.starts_with("https://") || root.join(link).exists();
        assert!(is_there, "README.md: {link}");
    }
}

#[test]
fn a_sentence_on_a_page_is_short() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let mut pages = files("src", ".md");
    pages.push(("README.md".into(), fs::read_to_string(readme).unwrap()));
    // A page of the source names parts of the code, which takes some words more.
    let in_source = files("src", ".rs").into_iter().map(|(file, text)| {
        let lines = text.lines().filter_map(|line| line.strip_prefix("//!"));
        let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
        (file, lines.collect::<Vec<_>>().join("\n"), 28)
    });
    let pages = pages.into_iter().map(|(page, text)| (page, text, 25));
    for (page, text, most) in pages.chain(in_source) {
        for sentence in sentences(&text) {
            let n_words = sentence.split_whitespace().count();
            assert!(n_words <= most, "{page}: {n_words} words: {sentence}");
        }
    }
}

/// The sentences of a page: without code, and without tables.
fn sentences(page: &str) -> Vec<String> {
    let mut sentences = vec![String::new()];
    let mut is_code = false;
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        let is_other = ["|", "#", "```", "    "]
            .iter()
            .any(|start| line.starts_with(start));
        let begins = line.is_empty() || line.trim_start().starts_with("- ");
        if begins || is_other {
            sentences.push(String::new());
        }
        if is_code || is_other {
            continue;
        }
        for word in line.split_whitespace() {
            let sentence = sentences.last_mut().unwrap();
            sentence.push_str(word);
            sentence.push(' ');
            if word
                .trim_end_matches(['*', ')', '"'])
                .ends_with(['.', '?', '!', ':'])
            {
                sentences.push(String::new());
            }
        }
    }
    sentences
}
