//! What tells people how to call the program: its help, the manual page, the completions of shells, and their installation.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use support::{Server, fernchat, folder, joins};

const COMMANDS: [&[&str]; 9] = [
    &[],
    &["server"],
    &["client"],
    &["relay"],
    &["relay-client"],
    &["window"],
    &["keygen"],
    &["token"],
    &["find"],
];

fn help(command: &[&str]) -> String {
    let output = fernchat().args(command).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The options in a text.
fn options(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    let starts = text.match_indices("--").map(|(at, _)| &text[at..]);
    starts
        .map(|rest| rest.chars().take_while(|c| is_part(*c)).collect())
        .filter(|option: &String| option.len() > 3)
        .collect()
}

fn extra(name: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/extra")
            .join(name),
    )
    .unwrap()
}

#[test]
fn help_fits_on_a_screen_and_has_an_example() {
    for command in COMMANDS {
        let text = help(command);
        assert!(
            text.lines().count() <= 24 && text.lines().all(|line| line.len() <= 80),
            "{text}"
        );
        assert!(text.contains("Example"), "{text}");
    }
}

#[test]
fn every_option_of_the_program_is_in_its_help_the_manual_page_and_the_completions() {
    // What the program takes, from the lines that take it.
    let source =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/args.rs")).unwrap();
    let arms = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => "));
    let taken: BTreeSet<String> = arms
        .filter(|(_, does)| does.contains('=') || *does == "{")
        .map(|(name, _)| format!("--{name}"))
        .collect();
    assert!(
        taken.contains("--bell") && taken.contains("--max-file") && taken.len() > 15,
        "{taken:?}"
    );

    let told: BTreeSet<String> = COMMANDS
        .iter()
        .flat_map(|command| options(&help(command)))
        .collect();
    assert_eq!(
        &told - &["--help", "--version"].map(String::from).into(),
        taken
    );
    let fish = extra("fernchat.fish").replace(" -l ", " --");
    for text in [
        extra("fernchat.1").replace("\\-", "-"),
        extra("fernchat.bash"),
        extra("fernchat.zsh"),
        fish,
    ] {
        let missing: Vec<&String> = told
            .iter()
            .filter(|option| !options(&text).contains(*option))
            .collect();
        assert!(missing.is_empty(), "{missing:?} not in {text}");
    }
}

#[test]
fn every_command_that_can_be_typed_is_in_the_manual_page_and_in_the_readme() {
    // From the tables of commands, as `row(&["/1", "/requests"], ...`.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("src/typed.rs")).unwrap();
    let rows = source.lines().filter_map(|line| {
        let words = line.trim().strip_prefix("row(&[")?.split_once(']')?.0;
        Some(words.split(", ").map(|word| word.trim_matches('"')))
    });
    let words: BTreeSet<&str> = rows.flatten().collect();
    assert!(words.contains("/msg") && words.len() > 30, "{words:?}");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    for text in [readme, extra("fernchat.1").replace("\\-", "-")] {
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
        let told: BTreeSet<&str> = text
            .match_indices('/')
            .map(|(at, _)| &text[at..])
            .map(|rest| &rest[..rest[1..].find(is_end).map_or(rest.len(), |end| end + 1)])
            .collect();
        let missing: Vec<_> = words.difference(&told).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/extra/fernchat.bash");
    let complete = |words: &str| {
        let run = format!(
            "compopt() {{ true; }}; source '{script}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _fernchat; \
             echo \"${{COMPREPLY[@]}}\""
        );
        String::from_utf8(
            Command::new("bash")
                .args(["-c", &run])
                .output()
                .unwrap()
                .stdout,
        )
        .unwrap()
        .trim()
        .to_owned()
    };
    assert_eq!(complete("fernchat re"), "relay relay-client");
    assert_eq!(
        complete("fernchat client host 8000 --no"),
        "--no-reconnect --no-news --no-time"
    );
    assert_eq!(
        complete("fernchat client host 8000 --color a"),
        "auto always"
    );
    assert_eq!(complete("fernchat relay --p"), "--pause");
}

/// What `make install` puts into its folder.
const INSTALLED: [&str; 6] = [
    "bin/fernchat",
    "share/man/man1/fernchat.1",
    "share/bash-completion/completions/fernchat",
    "share/zsh/site-functions/_fernchat",
    "share/fish/vendor_completions.d/fernchat.fish",
    "lib/systemd/system/fernchat.service",
];

/// Runs make as root under sudo would: without cargo, after the program was built.
fn make(target: &str, prefix: &str) -> Output {
    Command::new("make")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--silent", target, &format!("PREFIX={prefix}")])
        .arg(format!("FERNCHAT={}", env!("CARGO_BIN_EXE_fernchat")))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap()
}

#[test]
fn what_is_built_is_installed_without_cargo_under_any_prefix_and_goes_again() {
    let folder = folder();
    let beside = folder.path().join("my");
    std::fs::write(&beside, "not ours").unwrap();
    for (name, in_unit) in [
        ("plain", "plain"),
        ("my Prög#am (x)", r"my\x20Prög#am\x20(x)"),
    ] {
        let prefix = folder.path().join(name);
        let output = make("install", prefix.to_str().unwrap());
        assert!(output.status.success(), "{output:?}");
        assert!(INSTALLED.iter().all(|path| prefix.join(path).exists()));
        let unit = std::fs::read_to_string(prefix.join(INSTALLED[5])).unwrap();
        let start = format!(
            "ExecStart={}/{in_unit}/bin/fernchat server",
            folder.path().display()
        );
        assert!(
            unit.contains(&start) && !unit.contains("/usr/local"),
            "{unit}"
        );
        let program = Command::new(prefix.join("bin/fernchat"))
            .arg("--version")
            .output();
        assert!(program.unwrap().status.success());
        let other = prefix.join("bin/other");
        std::fs::write(&other, "not ours").unwrap();
        let output = make("uninstall", prefix.to_str().unwrap());
        assert!(output.status.success(), "{output:?}");
        assert!(!INSTALLED.iter().any(|path| prefix.join(path).exists()));
        assert!(other.exists() && beside.exists());
    }
    for prefix in [
        "", "relative", "/a\"b", "/a'b", "/a%b", "/a|b", "/a&b", "/a\\b",
    ] {
        for target in ["install", "uninstall"] {
            let output = make(target, prefix);
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(
                !output.status.success() && error.contains("error: "),
                "{prefix}: {error}"
            );
        }
    }
}

/// The blocks of code on the lesson's page.
fn lesson() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/lesson.md");
    let page = std::fs::read_to_string(page).unwrap();
    page.split("```")
        .skip(1)
        .step_by(2)
        .map(String::from)
        .collect()
}

#[test]
fn the_lesson_s_log_is_what_a_server_logs() {
    let blocks = lesson();
    let is_start = |block: &&String| block.contains("RUST_LOG=");
    let start = blocks.iter().find(is_start).unwrap();
    let mut levels = start
        .split("RUST_LOG=")
        .skip(1)
        .map(|rest| rest.split(' ').next().unwrap());
    let mut command = fernchat();
    command
        .args(["server", "127.0.0.1", "0"])
        .env("RUST_LOG", levels.next().unwrap());
    let mut server = Server::of(command);
    let mut command = fernchat();
    command.env("RUST_LOG", levels.next().unwrap());
    let mut alice = joins(command, server.port, "alice", &[]);
    alice.hears("you administer it");
    alice.types("hello");
    alice.types("/requests");
    alice.hears("requests: nobody");
    server.program.logs(": set, ");

    let is_log = |block: &&String| block.contains("from client 1: ");
    let told = blocks.iter().find(is_log).unwrap();
    let logged = server.program.log_so_far().iter();
    let logged: Vec<&str> = logged
        .filter_map(|line| Some(line.split_once(" TRACE ")?.1))
        .collect();
    assert_eq!(logged, told.lines().skip(1).collect::<Vec<_>>());
}

#[test]
fn the_lesson_s_dialogue_is_what_a_session_does() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/session.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let source: String = source
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let blocks = lesson();
    let told = blocks
        .iter()
        .find_map(|block| block.strip_prefix("rust,ignore\n"));
    assert!(source.contains(told.unwrap()), "{told:?}");
}
