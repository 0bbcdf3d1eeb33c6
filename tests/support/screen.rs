//! A person's screen: keys are sent to a real terminal, and its screen is read. The terminal is tmux.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::{DEADLINE, home_of, skipped};

/// Whether tmux can be had. If not, that is said loudly, and a failure in CI.
pub fn has_tmux() -> bool {
    let has_tmux = Command::new("tmux").arg("-V").output().is_ok();
    if !has_tmux {
        skipped("there is no tmux");
    }
    has_tmux
}

/// A terminal with a program in it. Closed when dropped.
pub struct Screen {
    socket: String,
}

/// How a terminal is.
pub struct Setup<'a> {
    pub columns: u32,
    pub environment: &'a [(&'a str, &'a str)],
}

/// The usual one.
pub const USUAL: Setup = Setup {
    columns: 80,
    environment: &[("LC_ALL", "C.UTF-8")],
};

impl Screen {
    /// A client of the group `team`; then the terminal says how it ended.
    pub fn client(port: u16, name: &str, options: &[&str]) -> Screen {
        Screen::with(
            &USUAL,
            &[
                &[
                    "client",
                    "127.0.0.1",
                    &port.to_string(),
                    "--name",
                    name,
                    "--group",
                    "team",
                ],
                options,
            ]
            .concat(),
        )
    }

    pub fn with(setup: &Setup, arguments: &[&str]) -> Screen {
        let environment = setup
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value} "))
            .collect::<String>();
        let quoted = arguments
            .iter()
            .map(|argument| format!("'{argument}' "))
            .collect::<String>();
        let (program, home) = (env!("CARGO_BIN_EXE_fernchat"), home_of("everybody"));
        let mode = "stty -a | grep -q ' icanon' && echo cooked";
        let client = format!("XDG_CONFIG_HOME='{home}' {environment} '{program}' {quoted}");
        let script = format!("{client}; echo \"ended with $?\"; {mode}; exec cat");
        Screen::of(setup.columns, &["sh", "-c", &script])
    }

    /// A shell that has jobs.
    pub fn shell(setup: &Setup) -> Screen {
        let home = format!("XDG_CONFIG_HOME={}", home_of("everybody"));
        let command = ["env", &home, "PS1=$ ", "bash", "--norc", "-i"];
        Screen::of(setup.columns, &command)
    }

    fn of(columns: u32, command: &[&str]) -> Screen {
        static N: AtomicU32 = AtomicU32::new(0);
        let n = N.fetch_add(1, Ordering::Relaxed);
        let screen = Screen {
            socket: format!("fernchat-{}-{n}", std::process::id()),
        };
        let columns = columns.to_string();
        let session = ["-u", "-f", "/dev/null", "new-session", "-d", "-x", &columns];
        screen.tmux(&[session.as_slice(), &["-y", "24"], command].concat());
        screen
    }

    pub fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new("tmux")
            .args(["-L", &self.socket])
            .args(arguments)
            .env_remove("TMUX")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// Types this, and Enter.
    pub fn types(&self, line: &str) {
        self.presses_text(line);
        self.presses(&["Enter"]);
    }

    /// Types this, and nothing behind it.
    pub fn presses_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Presses keys by their names.
    pub fn presses(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// What stands on the screen and what has left it at the top.
    pub fn text(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-S", "-", "-t", ":0"]);
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// What stands on the screen now.
    pub fn visible(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-t", ":0"]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the text is as it should be.
    #[track_caller]
    pub fn waits(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let text = self.text();
            if is_so(&text) {
                return text;
            }
            assert!(Instant::now() < until, "never {what}, but:\n{text}");
        }
    }

    #[track_caller]
    pub fn shows(&self, part: &str) -> String {
        self.waits(&format!("shows {part:?}"), |text| text.contains(part))
    }

    /// Shows this, however its lines are broken.
    #[track_caller]
    pub fn shows_broken(&self, part: &str) -> String {
        self.waits(&format!("shows {part:?}"), |text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            words.join(" ").contains(part)
        })
    }

    /// The line at the bottom is this.
    #[track_caller]
    pub fn ends_in(&self, line: &str) -> String {
        self.waits(&format!("ends in {line:?}"), |text| {
            text.lines()
                .last()
                .is_some_and(|last| last.trim_end() == line)
        })
    }

    /// These lines follow each other.
    #[track_caller]
    pub fn shows_in_order(&self, lines: &[&str]) {
        self.waits(&format!("shows {lines:?} in this order"), |text| {
            let mut shown = text.lines();
            lines
                .iter()
                .all(|line| shown.any(|shown| shown.trim_end().ends_with(line)))
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = Command::new("tmux")
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}
