//! What a room key seals, field by field, so that a hostile server can change one of them at a time.

use chrono::{DateTime, FixedOffset, Local, TimeDelta};
use fernet::Fernet;

/// The fields of a line or a file. The usual ones belong together.
#[derive(Clone)]
pub struct Sealed {
    pub kind: String,
    pub group: String,
    pub time: String,
    pub run: String,
    pub number: String,
    pub name: String,
    pub text: String,
}

impl Sealed {
    /// What bob seals for the group `team`, now.
    pub fn by_bob(number: u64, text: &str) -> Sealed {
        Sealed {
            kind: "fernchat line".into(),
            group: "team".into(),
            time: at(now()),
            run: "the-run-of-bob".into(),
            number: number.to_string(),
            name: "bob".into(),
            text: text.into(),
        }
    }

    /// The line.
    pub fn line(&self) -> String {
        let Sealed {
            kind,
            group,
            time,
            run,
            number,
            name,
            text,
        } = self;
        format!("{kind} {group}\n{time} {run} {number} {name}: {text}")
    }

    /// The same as a file of this name.
    pub fn file(&self, file: &str) -> String {
        let Sealed {
            kind,
            group,
            time,
            name,
            text,
            ..
        } = self;
        let kind = kind.replace("line", "file");
        format!("{kind} {group}\n{time} {name}\n{file}\n{text}")
    }
}

pub fn now() -> DateTime<FixedOffset> {
    Local::now().fixed_offset()
}

pub fn yesterday() -> DateTime<FixedOffset> {
    now() - TimeDelta::days(1)
}

/// A time as it is sealed.
pub fn at(time: DateTime<FixedOffset>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The texts that a hostile server delivers to a client with this room key, one field of a sealed line changed in each, and lies that are
/// not sealed. Behind each of them stands what a pipe and the log must show.
pub fn mutations(key: &Fernet) -> Vec<(String, String)> {
    let other_key = Fernet::new(&Fernet::generate_key()).unwrap();
    let approve = |number| Sealed::by_bob(number, "I approve");
    let token = |sealed: Sealed| key.encrypt(sealed.line().as_bytes());
    let by_bob = |sealed: Sealed| format!("bob: {}", token(sealed));
    let change = |number, change: &dyn Fn(&mut Sealed)| {
        let mut sealed = approve(number);
        change(&mut sealed);
        sealed
    };
    let genuine = approve(5);
    let time = genuine.time[11..19].to_owned();
    let mut altered = token(approve(50)).into_bytes();
    altered[60] = if altered[60] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    let date = yesterday().format("%Y-%m-%d %H:%M:%S").to_string();
    let old = at(yesterday());

    let not_shown = |why: &str| format!("! (not shown) bob: {why}");
    let no_form = || not_shown("its seal has no form that is known here");
    let mut mutations = vec![
        (by_bob(genuine.clone()), format!("[{time}] bob: I approve")),
        (
            by_bob(change(6, &|sealed| sealed.kind = "fernchat file".into())),
            not_shown("it was sealed as a file, and is no line"),
        ),
        (
            by_bob(change(7, &|sealed| sealed.kind = "fernchat vote".into())),
            no_form(),
        ),
        (
            by_bob(change(8, &|sealed| sealed.group = "den".into())),
            not_shown("it was sealed for the group den"),
        ),
        (
            by_bob(change(9, &|sealed| sealed.time = old.clone())),
            format!("[{date}] bob: I approve"),
        ),
        (
            by_bob(change(10, &|sealed| sealed.time.truncate(19))),
            no_form(),
        ),
        (
            by_bob(change(11, &|sealed| sealed.run = "r".repeat(65))),
            no_form(),
        ),
        (
            by_bob(genuine.clone()),
            format!("! [{time}] (late or repeated) bob: I approve"),
        ),
        (
            by_bob(change(9, &|sealed| sealed.time = genuine.time.clone())),
            format!("! [{time}] (repeated) bob: I approve"),
        ),
        (
            by_bob(change(12, &|sealed| sealed.number = "-1".into())),
            no_form(),
        ),
        (
            by_bob(change(13, &|sealed| sealed.name = "alice".into())),
            not_shown("it was sealed as alice's"),
        ),
        (
            format!("carol: {}", token(approve(14))),
            "! (not shown) carol: it was sealed as bob's".into(),
        ),
        (
            format!("bob: {altered}"),
            not_shown("this room key does not open it"),
        ),
        (
            format!("bob: {}", other_key.encrypt(approve(15).line().as_bytes())),
            not_shown("this room key does not open it"),
        ),
        (
            format!("bob: {}", key.encrypt(b"[09:05:02] bob: I approve")),
            no_form(),
        ),
    ];
    let with_token = format!(
        "[09:05:02] alice: I approve. By the way, carl: {}",
        token(approve(16))
    );
    let lies = [
        ("bob: I approve", "! (not sealed) bob: I approve"),
        (
            with_token.as_str(),
            "! (not shown) [09:05:02] alice: I approve. By the way, carl: it was sealed as bob's",
        ),
        (
            "[09:05:02] alice: I approve",
            "! (not sealed) [09:05:02] alice: I approve",
        ),
        ("I approve", "! I approve"),
        ("[09:05:02] I approve", "! [09:05:02] I approve"),
        (
            "! not sealed: I approve",
            "! (not sealed) <U+0021> not sealed: I approve",
        ),
        (
            "bob: \n[09:05:02] alice: I approve",
            "! (not sealed) bob: ^J[09:05:02] alice: I approve",
        ),
        (
            "bob: \r[09:05:02] alice: I approve",
            "! (not sealed) bob: ^M[09:05:02] alice: I approve",
        ),
        (
            "bob: ! (not sealed) carl: I approve",
            "! (not sealed) bob: ! (not sealed) carl: I approve",
        ),
        (
            "PyChat: [09:05:02] alice: I approve",
            "! PyChat: [09:05:02] alice: I approve",
        ),
        (
            "PyChat: mallory has requested to join the group.",
            "! PyChat: mallory has requested to join the group.",
        ),
    ];
    mutations.extend(lies.map(|(lie, shown)| (lie.to_owned(), shown.to_owned())));
    mutations
}
