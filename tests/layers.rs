//! The house keeps its rules: which room may look into which, and what must not be in the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fernchat::wire::command::word_of;

/// Each room, and the rooms it may use beside itself.
const ARROWS: [(&str, &[&str]); 8] = [
    ("machine", &[]),
    ("wire", &[]),
    ("seal", &["machine"]),
    ("net", &["machine"]),
    ("terminal", &["machine", "seal", "wire"]),
    ("server", &["machine", "net", "seal", "terminal", "wire"]),
    ("client", &["machine", "net", "seal", "terminal", "wire"]),
    ("relay", &["machine", "net", "seal", "terminal", "wire"]),
];

/// What only these files may contain: a dependency is used in one room, a word is written in one file.
const HOMES: [(&str, &[&str]); 12] = [
    ("aes::", &["seal/"]),
    ("fernet::", &["seal/"]),
    ("pbkdf2::", &["seal/"]),
    ("zeroize::", &["seal/"]),
    ("byteorder", &["wire/frame.rs"]),
    ("rustix::", &["machine.rs"]),
    ("rustyline::", &["terminal/editor.rs"]),
    ("if_addrs", &["machine.rs"]),
    ("ctrlc::", &["machine.rs"]),
    ("println!", &[]),
    ("std::process::exit", &["main.rs", "client/sending.rs"]),
    ("\"PyChat\"", &["wire/command.rs"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file with its path below `src` and its text up to the tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files)
            } else {
                files.push(path)
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    files.retain(|file| {
        file.extension().is_some_and(|extension| extension == "rs") && !file.ends_with("testkit.rs")
    });
    assert!(files.len() > 20);
    let source = |path: PathBuf| {
        let name = path
            .strip_prefix(root().join("src"))
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let text = fs::read_to_string(&path).unwrap();
        (name, text.split("#[cfg(test)]").next().unwrap().to_owned())
    };
    files.into_iter().map(source).collect()
}

/// The code of a text: without its comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.starts_with("//"))
}

#[test]
fn arrows_between_the_rooms_point_one_way() {
    for (file, text) in sources() {
        let room = file.split(['/', '.']).next().unwrap();
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            assert!(
                ["main", "args", "lib"].contains(&room),
                "{file} belongs to no room"
            );
            continue;
        };
        for used in code(&text).flat_map(|line| line.split("crate::").skip(1)) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            assert!(
                used == room || allowed.contains(&used.as_str()),
                "{file} uses {used}"
            );
        }
    }
}

#[test]
fn the_relay_cannot_reach_a_key() {
    for (file, text) in sources()
        .into_iter()
        .filter(|(file, _)| file.starts_with("relay/") && file != "relay/client.rs")
    {
        assert!(
            !code(&text).any(|line| line.contains("seal") || line.contains("Key")),
            "{file} could read along"
        );
    }
}

#[test]
fn each_thing_is_used_where_it_lives() {
    for (thing, homes) in HOMES {
        for (file, text) in sources() {
            let is_home = homes.iter().any(|home| file.starts_with(home));
            assert!(
                is_home || !code(&text).any(|line| line.contains(thing)),
                "{file} contains {thing}"
            );
        }
    }
}

#[test]
fn a_word_of_the_protocol_is_written_in_one_file() {
    assert!(word_of("/refused denied").is_some());
    for (file, text) in sources()
        .into_iter()
        .filter(|(file, _)| file != "wire/command.rs")
    {
        for line in code(&text) {
            let mut literals = line.split('"').skip(1).step_by(2);
            assert!(
                !literals.any(|literal| word_of(literal).is_some()),
                "{file}: {line}"
            );
        }
    }
}

#[test]
fn nothing_heavy_is_in_the_tree() {
    let arguments = [
        "tree",
        "--locked",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("fernet v"), "{tree}");
    for name in [
        "tokio",
        "async-std",
        "smol",
        "openssl",
        "clap",
        "regex",
        "serde",
    ] {
        assert!(
            !tree
                .lines()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{name} is in the tree"
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    for (file, text) in sources() {
        for mark in ["TODO", "FIXME", "todo!", "unimplemented!", "dbg!"] {
            assert!(!text.contains(mark), "{file} contains {mark}");
        }
        // In an example on a page it stands for: this holds.
        assert!(
            !code(&text).any(|line| line.contains(".unwrap()")),
            "{file} unwraps"
        );
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = |folder: &str| {
        let files = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        files.filter(|file| file.is_file()).collect::<Vec<_>>()
    };
    let folders = [
        "tests",
        "src/server",
        "src/client",
        "src/wire",
        "src/relay",
        "src/seal",
        "src/net",
        "src/terminal",
    ];
    let files: Vec<PathBuf> = folders.into_iter().flat_map(tests).collect();
    for page in ["from_python.md", "exercises.md"] {
        let page = fs::read_to_string(root().join("src").join(page)).unwrap();
        let named = page
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|name| name.split_once("::"));
        let named: Vec<_> = named
            .filter(|(_, test)| test.matches('_').count() > 2)
            .collect();
        assert!(named.len() > 5);
        for (file, test) in named {
            let is_there = |path: &PathBuf| {
                path.file_stem().is_some_and(|stem| stem == file)
                    && fs::read_to_string(path)
                        .unwrap()
                        .contains(&format!("fn {test}("))
            };
            assert!(
                files.iter().any(is_there),
                "{file}::{test} is named and does not exist"
            );
        }
    }
}
