//! What tells people how to call the program: its help, the manual page, the completions of shells, and their installation.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use support::{fernchat, folder};

const COMMANDS: [&[&str]; 7] = [
    &[],
    &["server"],
    &["client"],
    &["relay"],
    &["relay-client"],
    &["keygen"],
    &["token"],
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
        "--no-reconnect --no-time"
    );
    assert_eq!(
        complete("fernchat client host 8000 --color a"),
        "auto always"
    );
    assert_eq!(complete("fernchat relay --p"), "--pause");
}

#[test]
fn what_is_installed_is_all_there_and_goes_again() {
    let folder = folder();
    let make = |target: &str| {
        let mut make = Command::new("make");
        make.current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["--silent", target]);
        make.arg(format!("PREFIX={}", folder.path().display()))
            .arg(format!("FERNCHAT={}", env!("CARGO_BIN_EXE_fernchat")));
        // The program is there already.
        let output = make.args(["--old-file", "build"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    make("install");
    let installed = |path: &str| folder.path().join(path).exists();
    let all = [
        "bin/fernchat",
        "share/man/man1/fernchat.1",
        "share/bash-completion/completions/fernchat",
        "share/zsh/site-functions/_fernchat",
        "share/fish/vendor_completions.d/fernchat.fish",
        "lib/systemd/system/fernchat.service",
    ];
    assert!(all.iter().all(|path| installed(path)));
    let unit =
        std::fs::read_to_string(folder.path().join("lib/systemd/system/fernchat.service")).unwrap();
    assert!(
        unit.contains(&format!(
            "ExecStart={}/bin/fernchat server",
            folder.path().display()
        )) && !unit.contains("/usr/local")
    );
    assert!(
        Command::new(folder.path().join("bin/fernchat"))
            .arg("--version")
            .output()
            .unwrap()
            .status
            .success()
    );
    make("uninstall");
    assert!(!all.iter().any(|path| installed(path)));
}
