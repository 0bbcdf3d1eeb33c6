//! The text that is made of what a client says: for the screen, for a pipe and for the log.
//!
//! ```text
//!   pipe          [09:05:02] alice: hello       a sealed line
//!                 ! (not sealed) bob: hello     a line that is not sealed
//!   terminal      09:05 alice: hello
//!                 ! 09:05 (not sealed) bob: hello
//! ```
//!
//! Invariant: a row begins with [`MARK`] in two cases only. A key here tells what is proven, and the row is not; or it says that a
//! line cannot be shown. The mark is the first thing in its row. What a peer said stands behind it, or behind something of ours, or has a
//! leading `!` written out. So no text and no name can look like the mark, or do without it.

use std::collections::BTreeSet;

use chrono::{DateTime, Local, NaiveDateTime};

use super::style::{Style, harmless, mentions};
use crate::machine::{self, without_numbers};
use crate::screen::{
    Connection, Event, FileSeal, MAX_NAMES, MAX_WORDS, Name, News, NotOpened, Order, Proof,
    Received, Right, Said, Trust, When, Words, in_list, shortened,
};
use crate::wire::command::{HAS_REQUESTED, PYCHAT};
use crate::wire::name::MAX_NAME_CHARACTERS;
use crate::wire::size;

/// The first thing in the row of what is not proven, where a key tells what is.
pub(super) const MARK: &str = "! ";

/// How many names a person is shown of a list. A script is shown as many as a group can hold.
const MAX_LISTED: usize = 500;

/// Who reads what is shown.
pub(crate) struct Reader<'a> {
    /// The name of the person.
    pub me: &'a str,
    /// How lines look.
    pub style: &'a Style,
    /// Whether a person reads. If not, a script does.
    pub is_interactive: bool,
    /// Whether the bell rings at a line that mentions the person.
    pub bell: bool,
    /// Whether the person is shown who comes and goes.
    pub news: bool,
    /// Whether only the person hears the line.
    pub is_told: bool,
}

/// What is shown in one line. It is harmless.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// [`MARK`], or nothing.
    pub mark: &'static str,
    /// The time that is shown where lines have their time. `None`: the present one. Empty: none.
    pub time: Option<String>,
    /// What is shown where lines have no time.
    pub front: String,
    /// What is shown, with colours. `None`: it is only logged.
    pub shown: Option<String>,
    /// What is logged.
    pub logged: String,
}

impl Reader<'_> {
    /// A person who reads texts without colours and times.
    #[cfg(feature = "window")]
    pub(crate) fn plain(me: &str) -> Reader<'_> {
        Reader {
            me,
            style: &Style::PLAIN,
            is_interactive: true,
            bell: false,
            news: true,
            is_told: false,
        }
    }

    /// The rows for an event. Most have one.
    pub(crate) fn rows(&self, event: Event) -> Vec<Row> {
        let row = match event {
            Event::Sealed {
                who,
                when,
                order,
                is_earlier,
                text,
            } => self.sealed(&who, &when, order, is_earlier, &text),
            Event::Unsealed {
                who,
                earlier,
                text,
                trust,
            } => {
                let remark = match trust {
                    Trust::NoKey => "",
                    Trust::Unproven => "(not sealed) ",
                };
                let time = earlier.and_then(|seconds| self.earlier(seconds));
                let row = self.said(&who, &text, remark, time.is_some());
                let mark = mark(trust);
                Row { mark, time, ..row }
            }
            Event::NotOpened { who, why } => {
                let who = name(&who);
                let row = self.quiet(&format!("(not shown) {who}: {}", line_reason(&why)));
                Row { mark: MARK, ..row }
            }
            Event::Told(event) => {
                let reader = Reader {
                    is_told: true,
                    ..*self
                };
                return reader.rows(*event);
            }
            Event::Own { said, echo } => self.own(&said, echo),
            Event::News {
                name,
                what,
                by,
                trust,
            } => self.news(&name, what, by.as_ref(), trust),
            Event::Unsigned { text, trust } => {
                let text = without_numbers(text.raw());
                let text = first(&shortened(&text, MAX_WORDS));
                let row = self.quiet(&text);
                let mark = mark(trust);
                Row { mark, ..row }
            }
            Event::Requested {
                name,
                proof,
                right,
                trust,
            } => return self.requested(&name, &proof, right, trust),
            Event::Names {
                title,
                names,
                admin,
            } => self.quiet(&self.list(title, &names, admin.as_deref())),
            Event::Notice(notice) => self.quiet(&without_numbers(&notice)),
            Event::Help(line) => Row {
                time: Some(String::new()),
                ..self.quiet(&line)
            },
            Event::SealsWith(file) => {
                let file = file.as_deref().unwrap_or("your room key");
                let text =
                    format!("What you say is sealed with {file}. Lines marked ! are not sealed.");
                self.quiet(&text)
            }
            Event::Offered(offered) => {
                self.quiet(&format!("{} /accept or /decline?", offered.sentence()))
            }
            Event::Connection(connection) => match connection.sentence() {
                Some(sentence) => self.quiet(&without_numbers(&sentence)),
                None => return Vec::new(),
            },
            Event::Progress(progress) => self.quiet(&progress.sentence()),
            Event::Received(received) => self.received(&received),
        };
        vec![row]
    }

    /// A notice. What it quotes is made harmless with it.
    fn quiet(&self, text: &str) -> Row {
        let logged = harmless(text);
        Row {
            shown: Some(self.style.quiet(&logged)),
            logged,
            ..Row::default()
        }
    }

    fn sealed(&self, who: &Name, when: &When, order: Order, is_earlier: bool, text: &Words) -> Row {
        let (remark, mark) = match order {
            Order::Next => ("", ""),
            Order::Repeated => ("(repeated) ", MARK),
            Order::Late => ("(late or repeated) ", MARK),
        };
        let is_earlier = is_earlier && self.is_interactive;
        let row = self.said(who, text, remark, is_earlier);
        match when {
            When::Time { time, zone } => Row {
                mark,
                time: time.get(..5).map(|time| match zone {
                    Some(zone) => format!("{time} (UTC{zone})"),
                    None => time.to_owned(),
                }),
                front: format!("{time} "),
                ..row
            },
            When::Date(date) => {
                let local = date.with_timezone(&Local).naive_local();
                let day = other_day(local);
                let front = format!("[{day}{}] ", local.format("%H:%M:%S"));
                Row {
                    mark,
                    time: Some(format!("{day}{}", minute(local))),
                    logged: format!("{front}{}", row.logged),
                    front,
                    ..row
                }
            }
        }
    }

    /// What somebody said, behind a remark.
    fn said(&self, who: &Name, text: &Words, remark: &str, is_earlier: bool) -> Row {
        let text = harmless(text.raw());
        let to = if self.is_told { " (to you)" } else { "" };
        let mut row = self.line(&name(who), to, &text, mentions(&text, self.me));
        let earlier = if is_earlier {
            self.style.quiet("(earlier)") + " "
        } else {
            String::new()
        };
        row.shown = row.shown.map(|shown| format!("{earlier}{remark}{shown}"));
        row.logged.insert_str(0, remark);
        row
    }

    /// A line, or what its speaker does: `* alice waves`. `to`: who hears it, if not everybody.
    fn line(&self, who: &str, to: &str, text: &str, is_mention: bool) -> Row {
        let logged = format!("{who}{to}: {text}");
        let name = self.style.name(who);
        let doing = text
            .strip_prefix("* ")
            .and_then(|rest| rest.strip_prefix(who));
        let doing = doing.filter(|rest| self.is_interactive && rest.starts_with(' '));
        let before = match doing {
            Some(_) => format!("* {name}{to}"),
            None => format!("{name}{to}: "),
        };
        let text = doing.unwrap_or(text);
        let bell = if self.bell { "\x07" } else { "" };
        let shown = match is_mention && doing.is_none() {
            // Without colours the mark alone shows it.
            true if self.is_interactive => format!("> {before}{}{bell}", self.style.loud(text)),
            true => format!("{before}{}", self.style.loud(text)),
            false => format!("{before}{text}"),
        };
        Row {
            shown: Some(shown),
            logged,
            ..Row::default()
        }
    }

    /// What the person says, as everybody else's lines are shown.
    pub(super) fn typed(&self, said: &Said) -> Row {
        self.line(self.me, &to(said), &harmless(&said.text), false)
    }

    fn own(&self, said: &Said, echo: Option<(String, &'static str)>) -> Row {
        let is_new = self.is_interactive && said.to.is_some();
        let (to, text) = (to(said), &said.text);
        match echo.filter(|_| !self.is_interactive) {
            None => Row {
                shown: self.typed(said).shown.filter(|_| is_new),
                logged: harmless(&format!("{}{to}: {text}", self.me)),
                ..Row::default()
            },
            Some((time, me)) => Row {
                time: time.get(..5).map(str::to_owned),
                front: format!("{time} "),
                shown: Some(format!("{}: {}", self.style.name(me), harmless(text))),
                logged: harmless(&format!("{me}: {text}")),
                ..Row::default()
            },
        }
    }

    /// What became of a member, for a person who wants to know.
    fn news(&self, who: &Name, what: News, by: Option<&Name>, trust: Trust) -> Row {
        let by = by.map_or("the admin", Name::raw);
        let what = match what {
            News::Joined => "joined".to_owned(),
            News::Left => "left".to_owned(),
            News::Removed => format!("was removed by {by}"),
            News::Admin => "is the admin now".to_owned(),
        };
        let row = self.quiet(&format!("{} {what}.", name(who)));
        Row {
            mark: mark(trust),
            shown: row.shown.filter(|_| self.news),
            ..row
        }
    }

    /// The request, and for a person what can be done about it.
    fn requested(&self, who: &Name, proof: &Proof, right: Right, trust: Trust) -> Vec<Row> {
        let proof = match proof {
            Proof::Key(fingerprint) => format!(" It came with the key {}.", fingerprint.raw()),
            Proof::Address(address) => format!(" It came without a key, from {}.", address.raw()),
            Proof::Nothing => " It came without a key.".to_owned(),
            Proof::Unknown => String::new(),
        };
        let who = who.raw();
        let row = self.quiet(&format!("{PYCHAT}: {who}{HAS_REQUESTED}{proof}"));
        let mark = mark(trust);
        let advice = match right {
            Right::Admin => Some(format!("Answer with /approve {who} or /deny {who}.")),
            Right::Unknown => Some(format!(
                "If you administer the group: /approve {who} or /deny {who}."
            )),
            Right::Member => None,
        };
        let advice = advice.filter(|_| self.is_interactive);
        let advice = advice.map(|advice| self.quiet(&advice));
        [Row { mark, ..row }].into_iter().chain(advice).collect()
    }

    /// A list of names. A person also reads how many there are, and who the admin is.
    fn list(&self, title: &str, names: &BTreeSet<String>, admin: Option<&str>) -> String {
        if names.is_empty() {
            return format!("{title}: nobody");
        }
        let listed = |name: &String| match (shortened(name, MAX_NAME_CHARACTERS), admin) {
            (short, _) if !self.is_interactive => short.into_owned(),
            (short, Some(admin)) if admin == name => format!("{} (admin)", in_list(&short)),
            (short, _) => in_list(&short).into_owned(),
        };
        let most = if self.is_interactive {
            MAX_LISTED
        } else {
            MAX_NAMES
        };
        let mut list: Vec<String> = names.iter().take(most).map(listed).collect();
        if names.len() > most {
            list.push(format!("and {} more", names.len() - most));
        }
        let list = list.join(", ");
        if self.is_interactive {
            format!("{title} ({}): {list}", names.len())
        } else {
            format!("{title}: {list}")
        }
    }

    fn received(&self, received: &Received) -> Row {
        let Received {
            title, path, size, ..
        } = received;
        let size = match size.filter(|_| self.is_interactive) {
            Some(size) => format!(" ({})", size::in_words(size)),
            None => String::new(),
        };
        let path = path.display();
        let (mark, text) = match &received.seal {
            FileSeal::Missing(Trust::NoKey) => ("", format!("Received {title}{size}: {path}")),
            FileSeal::Opened { when, .. } => {
                let local = when.with_timezone(&Local).naive_local();
                let sealed = match other_day(local).as_str() {
                    "" => String::new(),
                    day => format!(", sealed on {day}at {}", minute(local)),
                };
                ("", format!("Received {title}{size}{sealed}: {path}"))
            }
            FileSeal::Missing(Trust::Unproven) => {
                (MARK, format!("(not sealed) Received {title}{size}: {path}"))
            }
            FileSeal::NotOpened(why) => (
                MARK,
                format!(
                    "(not opened) Received {title}{size}, sealed, and {}: {path}",
                    file_reason(why)
                ),
            ),
        };
        let row = self.quiet(&text);
        Row { mark, ..row }
    }

    /// How an earlier time is shown. In a pipe it is not, and a time to come is not taken for one.
    fn earlier(&self, seconds: u64) -> Option<String> {
        let time = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
        if !self.is_interactive || time > Local::now() {
            return None;
        }
        let time = time.with_timezone(&Local).naive_local();
        Some(format!("{}{}", other_day(time), minute(time)))
    }
}

/// What stands behind the prompt. Nothing, while there is a connection.
pub(super) fn behind_prompt(connection: &Connection) -> &'static str {
    match connection {
        Connection::Connecting | Connection::Deriving => "(connecting ...)",
        Connection::Lost { .. } | Connection::StillLost { .. } => "(no connection)",
        Connection::TryingIn(time) => match time.as_secs_f64().ceil() as u64 {
            0 | 1 => "(no connection; trying again in 1 s)",
            2 => "(no connection; trying again in 2 s)",
            3 => "(no connection; trying again in 3 s)",
            4 => "(no connection; trying again in 4 s)",
            _ => "(no connection; trying again in 5 s)",
        },
        Connection::Joined { .. }
        | Connection::Back
        | Connection::Approved
        | Connection::Removed => "",
    }
}

/// Who hears what the person says, if not everybody.
fn to(said: &Said) -> String {
    let to = said.to.as_ref();
    to.map_or(String::new(), |name| harmless(&format!(" (to {name})")))
}

/// The mark of what is not proven, if there is anything that is.
fn mark(trust: Trust) -> &'static str {
    match trust {
        Trust::NoKey => "",
        Trust::Unproven => MARK,
    }
}

/// A name as it is shown.
fn name(name: &Name) -> String {
    harmless(&first(name.raw()))
}

/// A peer's text that may be the first thing in its row: its leading `!` is written out.
fn first(text: &str) -> String {
    match text.strip_prefix('!') {
        Some(rest) => format!("<U+0021>{rest}"),
        None => text.to_owned(),
    }
}

/// Why a line cannot be shown.
fn line_reason(why: &NotOpened) -> String {
    match why {
        NotOpened::NoKey => "it is sealed with a room key, and there is none here".to_owned(),
        NotOpened::AnotherKind => "it was sealed as a file, and is no line".to_owned(),
        why => file_reason(why),
    }
}

/// Why a file stays sealed.
fn file_reason(why: &NotOpened) -> String {
    match why {
        NotOpened::NoKey => "there is no room key here".to_owned(),
        NotOpened::AnotherKey => "this room key does not open it".to_owned(),
        NotOpened::AnotherGroup(group) => format!("it was sealed for the group {}", group.raw()),
        NotOpened::AnotherName(name) => format!("it was sealed as {}'s", name.raw()),
        NotOpened::AnotherReader => "it was sealed for another reader".to_owned(),
        NotOpened::AnotherFile => "it was sealed under another file name".to_owned(),
        NotOpened::AnotherKind => "it was sealed as a line, and is no file".to_owned(),
        NotOpened::NoForm => "its seal has no form that is known here".to_owned(),
        NotOpened::Disk => "opened, it could not be stored".to_owned(),
    }
}

/// The date of another day than today, and a blank.
fn other_day(time: NaiveDateTime) -> String {
    if time.date() == machine::local_time().date() {
        String::new()
    } else {
        format!("{} ", time.date())
    }
}

/// The time of day as lines have it: `HH:MM`.
pub(super) fn minute(time: NaiveDateTime) -> String {
    time.format("%H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn script() -> Reader<'static> {
        Reader {
            me: "carol",
            style: &Style::PLAIN,
            is_interactive: false,
            bell: false,
            news: false,
            is_told: false,
        }
    }

    /// What stands in a pipe.
    fn shown(event: Event) -> String {
        let rows = script().rows(event);
        let [row] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        let text = row.shown.as_deref().unwrap_or_default();
        format!("{}{}{text}", row.mark, row.front)
    }

    fn sealed(order: Order, text: &str) -> Event {
        Event::Sealed {
            who: Name::of_peer("alice"),
            when: When::Date(Local::now().fixed_offset()),
            order,
            is_earlier: false,
            text: Words::of_peer(text),
        }
    }

    fn unsealed(who: &str, text: &str, trust: Trust) -> Event {
        Event::Unsealed {
            who: Name::of_peer(who),
            earlier: None,
            text: Words::of_peer(text),
            trust,
        }
    }

    #[test]
    fn what_is_not_proven_is_marked_before_its_text() {
        let now = shown(sealed(Order::Next, "hello"));
        assert!(
            now.starts_with('[') && now.ends_with("] alice: hello"),
            "{now}"
        );
        assert_eq!(now.len(), "[09:05:00] alice: hello".len());
        for (order, remark) in [
            (Order::Repeated, "(repeated)"),
            (Order::Late, "(late or repeated)"),
        ] {
            let now = shown(sealed(order, "hello"));
            let end = format!("] {remark} alice: hello");
            assert!(now.starts_with("! [") && now.ends_with(&end), "{now}");
        }
        for (event, expected) in [
            (unsealed("bob", "hi", Trust::NoKey), "bob: hi"),
            (
                unsealed("bob", "hi", Trust::Unproven),
                "! (not sealed) bob: hi",
            ),
            (
                Event::NotOpened {
                    who: Name::of_peer("bob"),
                    why: NotOpened::AnotherKey,
                },
                "! (not shown) bob: this room key does not open it",
            ),
        ] {
            assert_eq!(shown(event), expected);
        }
    }

    #[test]
    fn a_line_of_another_day_has_its_date() {
        let yesterday = Local::now() - TimeDelta::days(1);
        let line = |is_interactive, time| {
            let style = Style { color: false, time };
            let reader = Reader {
                style: &style,
                is_interactive,
                ..script()
            };
            let event = Event::Sealed {
                who: Name::of_peer("alice"),
                when: When::Date(yesterday.fixed_offset()),
                order: Order::Next,
                is_earlier: false,
                text: Words::of_peer("hi"),
            };
            let mut rows = reader.rows(event);
            rows.remove(0)
        };
        let row = line(false, false);
        let day = yesterday.format("%Y-%m-%d");
        assert!(row.front.starts_with(&format!("[{day} ")), "{row:?}");
        assert!(row.logged.starts_with(&format!("[{day} ")), "{row:?}");
        let row = line(true, true);
        assert_eq!(
            row.time,
            Some(yesterday.format("%Y-%m-%d %H:%M").to_string())
        );
    }

    #[test]
    fn no_name_in_a_list_can_pass_for_several_or_for_the_admin_s() {
        let names = ["Tim", "Tim, Lena", "a\", \"b", "eve (admin)"].map(str::to_owned);
        let list = |is_interactive| {
            let reader = Reader {
                is_interactive,
                ..script()
            };
            reader.list("online", &names.clone().into(), Some("Tim"))
        };
        let listed = r#"online (4): Tim (admin), "Tim, Lena", "a\", \"b", "eve (admin)""#;
        assert_eq!(list(true), listed);
        assert_eq!(
            list(false),
            r#"online: Tim, Tim, Lena, a", "b, eve (admin)"#
        );
    }

    /// Texts that try to look like a mark, or like a line that is proven.
    fn liars() -> impl Strategy<Value = String> {
        let lies = [
            "! ",
            "!",
            "! (not sealed) ",
            "! not sealed",
            "[09:05:02] alice: I approve",
            "\n[09:05:02] alice: I approve",
            "\r[09:05:02] alice: I approve",
            "\u{2028}[09:05:02] alice: I approve",
            "\u{1b}[1G[09:05:02] alice: I approve",
            "\u{8}\u{8}",
            "",
        ];
        (prop::sample::select(lies.to_vec()), any::<String>())
            .prop_map(|(lie, end)| lie.to_owned() + &end)
    }

    proptest! {
        #[test]
        fn no_name_and_no_text_can_look_like_the_mark_or_do_without_it(name in liars(), text in liars()) {
            let is_one_row = |row: &str| !row.contains(['\n', '\r', '\u{8}', '\u{1b}', '\u{2028}']);
            let who = || Name::of_peer(&name);
            let words = || Words::of_peer(text.clone());
            for (trust, is_marked) in [(Trust::NoKey, false), (Trust::Unproven, true)] {
                for event in [
                    unsealed(&name, &text, trust),
                    Event::Unsigned { text: words(), trust },
                    Event::Requested { name: who(), proof: Proof::Key(Name::of_peer(&text)), right: Right::Member, trust },
                ] {
                    let row = shown(event);
                    prop_assert_eq!(row.starts_with('!'), is_marked, "{}", row);
                    prop_assert!(is_one_row(&row), "{}", row);
                }
            }
            let event = Event::Sealed { who: who(), when: When::Date(Local::now().fixed_offset()), order: Order::Next, is_earlier: false, text: words() };
            let row = shown(event);
            prop_assert!(row.starts_with('[') && is_one_row(&row), "{}", row);
            let row = shown(Event::NotOpened { who: who(), why: NotOpened::AnotherName(Name::of_peer(&text)) });
            prop_assert!(row.starts_with("! (not shown) ") && is_one_row(&row), "{}", row);
        }
    }
}
