//! What can be typed in both clients: the commands and their words, and what a line means.
//!
//! ```text
//!   Enter ─▶ what it means ─┬─▶ the screen: a line of one's own, a question
//!                           └─▶ the sending thread, when its turn comes
//! ```
//!
//! What a person types is interpreted once, at Enter. So the screen and the client take it for the same, whatever the names are when its turn
//! comes. A script's line is interpreted when its turn comes, because the lines before it tell the client names.
//!
//! A person makes mistakes. So at a terminal a word that is no command is not sent, and the nearest command is named. `//word` says it. What
//! looks like a path, or a paste of many lines, is asked about. A paste is said and never obeyed, because nobody reads each of its lines.
//!
//! A script makes none, and the Python scripts have no such rules: from a pipe a line is a command only if it is one exactly.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded, unbounded};
use parking_lot::Mutex;

use crate::machine;
use crate::screen::{Meaning, Names, Need, OnTyped, Said, Screen, in_list};
use crate::wire::name::UserName;

/// What a person can do beside saying something.
#[allow(missing_docs)] // The tables of commands say what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Requests,
    Approve,
    Deny,
    Quit,
    Members,
    Online,
    Transfer,
    Admin,
    Kick,
    Ban,
    BanAddress,
    Unban,
    Bans,
    WhoIs,
    File,
    Pack,
    Stop,
    Accept,
    Decline,
    Msg,
    Reply,
    Me,
    Ignore,
    Clear,
    Nick,
    Help,
}

/// A command of a client.
pub(crate) struct Row {
    words: &'static [&'static str],
    action: Action,
    /// What stands behind the word, as in `NAME`.
    argument: &'static str,
    /// In `/help`.
    summary: &'static str,
    /// Behind that, in `/help COMMAND`.
    detail: &'static str,
}

const fn row(
    words: &'static [&'static str],
    action: Action,
    argument: &'static str,
    summary: &'static str,
    detail: &'static str,
) -> Row {
    Row {
        words,
        action,
        argument,
        summary,
        detail,
    }
}

/// The commands of the group chat.
#[rustfmt::skip] // a table
pub(crate) const GROUP: &[Row] = &[
    row(&["/1", "/requests"], Action::Requests, "", "who has asked to join (admin)",
        "Your own request stays if you leave while you wait, by /1."),
    row(&["/2", "/approve"], Action::Approve, "NAME", "let somebody in, or several, or all (admin)",
        "Several names stand one behind the other. Without a name you are asked for one, if somebody waits."),
    row(&["/deny"], Action::Deny, "NAME", "refuse somebody, or several, or all (admin)",
        "The user may ask again; /ban keeps a user out."),
    row(&["/3", "/quit"], Action::Quit, "TEXT", "leave; TEXT is said first",
        "You stay a member, and hear at the next visit what was said meanwhile, as far as the server keeps it."),
    row(&["/4", "/members"], Action::Members, "", "all members of the group",
        "Those who are not online count, too."),
    row(&["/5", "/online", "/who"], Action::Online, "", "the members that are online",
        "The admin is marked, if this client knows who it is; /7 asks."),
    row(&["/6", "/transfer"], Action::Transfer, "NAME", "hand the admin's role over (admin)",
        "Any member can have it, also one that is not online."),
    row(&["/7", "/admin"], Action::Admin, "", "who the admin is",
        "The admin decides who may join."),
    row(&["/8", "/kick"], Action::Kick, "NAME", "remove somebody (admin)",
        "The user may ask to join again; /ban keeps a user out."),
    row(&["/9", "/file"], Action::File, "PATH", "share files (@NAME PATH: with one); /pack: a folder",
        "Several paths are quoted as in a shell. A path that is typed or dropped without the command is asked about."),
    row(&["/pack"], Action::Pack, "FOLDER", "share a folder as one file, a .tar",
        "It is packed while it is sent. @NAME in front shares it with one member."),
    row(&["/stop"], Action::Stop, "", "stop a file; /accept, /decline: take an offered one",
        "If there is one in each direction: /stop up, /stop down. Ctrl-C does the same."),
    row(&["/accept"], Action::Accept, "FILE", "receive the file that is on offer", "If there are several, FILE says which."),
    row(&["/decline"], Action::Decline, "FILE", "do not receive it", "Its sender hears so."),
    row(&["/msg"], Action::Msg, "NAME TEXT", "tell one member something",
        "Only that member hears it, and the server. It is not kept for a member that is not online."),
    row(&["/reply"], Action::Reply, "TEXT", "answer who told you something last",
        "As /msg, with the name of that member."),
    row(&["/me"], Action::Me, "TEXT", "say what you do: /me waves",
        "The others read * and your name in front of it."),
    row(&["/ignore"], Action::Ignore, "NAME", "hide what somebody says, or show it again",
        "Without a name it lists who is ignored. It holds until you leave, and the other does not notice."),
    row(&["/clear"], Action::Clear, "", "clear the screen", "Nothing is deleted, and a log stays as it is."),
    row(&["/nick"], Action::Nick, "", "how to change your name", ""),
    row(&["/ban"], Action::Ban, "NAME", "keep somebody out for good (admin)",
        "The ban holds for the name and for the key that came with it."),
    row(&["/ban-address"], Action::BanAddress, "NAME", "the same, with all at the same address (admin)",
        "Members at that address stay."),
    row(&["/unban"], Action::Unban, "NAME", "let somebody ask to join again (admin)", "/bans lists the names."),
    row(&["/bans"], Action::Bans, "", "who is banned (admin)", "/unban ends a ban."),
    row(&["/whois"], Action::WhoIs, "NAME", "which key proves the name, if one does",
        "Compare the fingerprint with the one that its owner reads to you."),
    row(&["/help"], Action::Help, "COMMAND", "more on a command; //word says /word",
        "All other lines are said to the group."),
];

/// The commands of the relay's client.
#[rustfmt::skip] // a table
pub(crate) const RELAY: &[Row] = &[
    row(&["/quit"], Action::Quit, "TEXT", "leave; TEXT is said first", "Ctrl-D leaves, too, and so does Ctrl-C twice."),
    row(&["/me"], Action::Me, "TEXT", "say what you do: /me waves",
        "The others read * and your name in front of it."),
    row(&["/who"], Action::Online, "", "who is here: a relay cannot tell",
        "It lists who has said something since you came."),
    row(&["/ignore"], Action::Ignore, "NAME", "hide what somebody says, or show it again",
        "Without a name it lists who is ignored. It holds until you leave, and the other does not notice."),
    row(&["/clear"], Action::Clear, "", "clear the screen", "Nothing is deleted, and a log stays as it is."),
    row(&["/help"], Action::Help, "COMMAND", "more on a command; //word says /word",
        "All other lines are said to everybody at the relay who has your key."),
];

impl Action {
    /// What the command needs to know. The person is asked for it, unless it follows the word.
    pub(crate) fn need(self) -> Need {
        match self {
            Action::Approve => Need::Request("Who is to be approved"),
            Action::Deny => Need::Request("Who is to be denied"),
            Action::Transfer => Need::Member("Who is to be the admin"),
            Action::Kick => Need::Member("Who is to be kicked"),
            Action::Ban | Action::BanAddress => Need::Member("Who is to be banned"),
            Action::Unban => Need::Member("Whose ban is to end"),
            Action::WhoIs => Need::Member("Whose name"),
            Action::File => Need::File("Which file"),
            Action::Pack => Need::File("Which folder"),
            _ => Need::Nothing,
        }
    }
}

/// What a client knows when a line is typed.
pub(crate) struct Typist<'a> {
    /// The commands of the client.
    pub commands: &'static [Row],
    /// The user's name.
    pub me: &'a str,
    /// Who is there.
    pub names: &'a Names,
}

/// What a typed text means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A script's line, as it came.
    Line(String),
    /// Do this, with what follows the word.
    Do(Action, String),
    /// Ask for what this needs. It is done when the answer has been typed.
    Ask(Action),
    /// Ask this. The other is meant if the answer is yes.
    If(&'static str, Box<Typed>),
    /// Say these lines.
    Say(Vec<Said>),
    /// Show this sentence and do nothing.
    Show(String),
    /// Show these lines of help.
    Help(Vec<String>),
}

/// How many typed texts wait for the sending thread. A person's next one is not taken.
const MAX_TYPED: usize = 10_000;

/// Interprets what is typed at a screen. Returns what the screen hands its texts to, and what comes of them, for the sending thread.
pub(crate) fn channel(
    screen: &dyn Screen,
    commands: &'static [Row],
    me: &UserName,
    names: &Arc<Mutex<Names>>,
) -> (OnTyped, Receiver<Typed>) {
    if !screen.is_interactive() {
        // One line is read ahead, and no more.
        let (sender, typed) = bounded(0);
        let pass_on = move |line: &str| match sender.send(Typed::Line(line.to_owned())) {
            Ok(()) => Meaning::Other,
            Err(_) => Meaning::NotTaken,
        };
        return (Arc::new(pass_on), typed);
    }
    let (sender, typed) = unbounded();
    let (me, names) = (me.to_string(), Arc::clone(names));
    // The open question: the next text is the answer.
    let asked: Mutex<Option<Typed>> = Mutex::default();
    let interpret = move |text: &str| {
        let mut asked = asked.lock();
        if sender.len() >= MAX_TYPED {
            return Meaning::NotTaken;
        }
        let typist = |names: &Names| {
            let me = me.as_str();
            Typist {
                commands,
                me,
                names,
            }
            .person_means(text)
        };
        let typed = match asked.take() {
            None => typist(&names.lock()),
            Some(Typed::Ask(action)) => Typed::Do(action, text.trim().to_owned()),
            Some(Typed::If(_, typed)) if is_yes(text) => *typed,
            Some(_) => show("Not done."),
        };
        let meaning = typed.meaning();
        if let Meaning::Asks(_) = meaning {
            *asked = Some(typed.clone());
        }
        // Fails only at the end.
        let _ = sender.send(typed);
        meaning
    };
    (Arc::new(interpret), typed)
}

impl Typed {
    /// What the screen does at once.
    fn meaning(&self) -> Meaning {
        match self {
            // A line to one person is shown when the server has passed it on.
            Typed::Say(lines) if lines.iter().any(|said| said.to.is_some()) => Meaning::Other,
            Typed::Say(lines) => Meaning::Said(lines.clone()),
            Typed::Ask(action) => Meaning::Asks(action.need()),
            Typed::If(question, _) => Meaning::Asks(Need::Yes(question)),
            Typed::Do(Action::Clear, _) => Meaning::Clear,
            Typed::Do(..) | Typed::Show(_) | Typed::Help(_) | Typed::Line(_) => Meaning::Other,
        }
    }

    /// What the person is asked.
    pub(crate) fn question(&self) -> Option<&'static str> {
        match self {
            Typed::Ask(action) => action.need().question(),
            Typed::If(question, _) => Some(question),
            _ => None,
        }
    }
}

/// From this many lines on, a paste is asked about.
const MANY_LINES: usize = 21;

const SAY: &str = "Say this to everybody (y/n)";
const SAY_ALL: &str = "Say all these lines to everybody (y/n)";
const SHARE: &str = "Share this file with everybody (y/n)";
const PACK: &str = "This is a folder. Share it as one file, a .tar (y/n)";

const WAITS: &str =
    "You wait for the admin to approve you; nothing is sent until then. /quit leaves.";

/// Whether an answer to such a question is yes.
fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

impl Typist<'_> {
    /// What a script's line means.
    pub(crate) fn script_means(&self, line: &str) -> Typed {
        let (word, argument) = split_word(line);
        match self.action(word) {
            action if self.names.is_waiting => while_waiting(line, action),
            Some(Action::Help) if argument.is_empty() => Typed::Help(self.help("")),
            Some(Action::Msg) => match self.member_in(argument) {
                (name, text) if !text.is_empty() => say(Some(name), text),
                _ => say(None, line),
            },
            Some(Action::Me) if !argument.is_empty() => say(None, &self.doing(argument)),
            Some(Action::Reply | Action::Me | Action::Nick | Action::Clear) => say(None, line),
            Some(action @ (Action::Ignore | Action::Stop | Action::Accept | Action::Decline)) => {
                Typed::Do(action, argument.to_owned())
            }
            Some(action) if argument.is_empty() || action.need() != Need::Nothing => {
                Typed::Do(action, argument.to_owned())
            }
            _ => say(None, line),
        }
    }

    /// What a person's text means. It has several lines if it was pasted.
    fn person_means(&self, text: &str) -> Typed {
        let text = text.trim_end_matches('\n');
        if self.names.is_waiting {
            let (word, argument) = split_word(text.trim());
            return match self.action(&word.to_lowercase()) {
                Some(Action::Help) => Typed::Help(self.help(argument)),
                action => while_waiting(text, action),
            };
        }
        if text.contains('\n') {
            // A line without anything would not be passed on.
            let lines = text.split('\n');
            let lines: Vec<Said> = lines
                .map(|line| said(None, if line.is_empty() { " " } else { line }))
                .collect();
            return if lines.len() < MANY_LINES {
                Typed::Say(lines)
            } else {
                ask(SAY_ALL, Typed::Say(lines))
            };
        }
        let line = text.trim();
        if let Some(rest) = line.strip_prefix("//") {
            return say(None, &format!("/{rest}"));
        }
        if !line.starts_with('/') {
            return if is_dropped_file(line) {
                self.dropped(line)
            } else {
                say(None, text)
            };
        }
        let (word, argument) = split_word(line);
        let is_digit = word[1..].starts_with(|c: char| c.is_ascii_digit());
        match self.action(&word.to_lowercase()) {
            // Such as "/3 things to do".
            Some(action) if is_digit && !argument.is_empty() && action.need() == Need::Nothing => {
                ask(SAY, say(None, line))
            }
            Some(action) => self.command(action, argument),
            None if is_dropped_file(line) => self.dropped(line),
            None if word[1..].contains('/') => ask(SAY, say(None, line)),
            None => show(self.unknown(word)),
        }
    }

    /// What the path of a file means that stands alone.
    fn dropped(&self, path: &str) -> Typed {
        match self.action("/file") {
            Some(action) => ask(SHARE, Typed::Do(action, path.to_owned())),
            None => show("A relay passes on no files."),
        }
    }

    fn command(&self, action: Action, argument: &str) -> Typed {
        let usage = || show(self.usage(action));
        match action {
            Action::Help => Typed::Help(self.help(argument)),
            Action::Msg => match self.member_in(argument) {
                (name, text) if !text.is_empty() => say(Some(name), text),
                _ => usage(),
            },
            Action::Reply => match (&self.names.teller, argument) {
                (_, "") => usage(),
                (Some(teller), text) => say(Some(teller), text),
                (None, _) => show("Nobody has told you anything yet: /msg NAME TEXT."),
            },
            Action::Ignore if !argument.is_empty() => match self.member_meant(argument) {
                Ok(name) => Typed::Do(action, name),
                Err(question) => show(question),
            },
            Action::File if is_folder(argument) => {
                ask(PACK, Typed::Do(Action::Pack, argument.to_owned()))
            }
            Action::Me if argument.is_empty() => usage(),
            Action::Me => say(None, &self.doing(argument)),
            Action::Nick => show(format!(
                "You are {} as long as you are here: a name belongs to a key and a connection. /quit, and come back with --name NAME.",
                self.me
            )),
            // Nobody is known to wait, so the list says who does.
            Action::Approve | Action::Deny
                if argument.is_empty() && self.names.requests.is_empty() =>
            {
                let word = if action == Action::Deny {
                    "/deny"
                } else {
                    "/approve"
                };
                Typed::Do(Action::Requests, word.to_owned())
            }
            action if argument.is_empty() && action.need() != Need::Nothing => Typed::Ask(action),
            Action::Requests => Typed::Do(action, String::new()),
            action => Typed::Do(action, argument.to_owned()),
        }
    }

    /// What a doer is said to do. A Python user reads it as a line of the doer: `alice: * alice waves`.
    fn doing(&self, text: &str) -> String {
        format!("* {} {text}", self.me)
    }

    fn action(&self, word: &str) -> Option<Action> {
        let mut commands = self.commands.iter();
        let row = commands.find(|row| row.words.contains(&word))?;
        Some(row.action)
    }

    /// The member whose name a text begins with, and the rest. A name may have blanks, so the longest one that is known counts.
    fn member_in<'a>(&'a self, text: &'a str) -> (&'a str, &'a str) {
        let rest = |name: &str| text.strip_prefix(name)?.strip_prefix(' ');
        let known = self.names.members.iter();
        let known = known.filter_map(|name| Some((name.as_str(), rest(name)?.trim())));
        known
            .max_by_key(|(name, _)| name.len())
            .unwrap_or_else(|| split_word(text))
    }

    /// The member whom a person means by this name. An error asks which one is meant. A name that is like no other is taken as it is.
    fn member_meant(&self, name: &str) -> Result<String, String> {
        let (members, ignored) = (&self.names.members, &self.names.ignored);
        if ignored.contains(name) {
            return Ok(name.to_owned());
        }
        meant(name, members).map(|meant| meant.unwrap_or(name).to_owned())
    }

    fn unknown(&self, word: &str) -> String {
        let words = self.commands.iter().flat_map(|row| row.words).copied();
        let nearest = match nearest(&word.to_lowercase(), words) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "/help lists the commands.".to_owned(),
        };
        format!("Not sent: {word} is no command; {nearest} /{word} says it.")
    }

    /// What a command of this client needs, in a sentence.
    fn usage(&self, action: Action) -> String {
        let row = self.commands.iter().find(|row| row.action == action);
        row.map_or(String::new(), |row| {
            format!("{}: {}.", row.head(), row.summary)
        })
    }

    /// What `/help` shows, or `/help` with a command.
    fn help(&self, argument: &str) -> Vec<String> {
        if argument.is_empty() {
            // Others are named in the rows of those they belong to.
            let is_listed =
                |row: &&Row| !matches!(row.action, Action::Pack | Action::Accept | Action::Decline);
            let rows = self.commands.iter().filter(is_listed);
            return rows
                .map(|row| format!("{:<21} {}", row.head(), row.summary))
                .collect();
        }
        let word = format!("/{}", argument.trim_start_matches('/').to_lowercase());
        let Some(action) = self.action(&word) else {
            return vec![format!("There is no command {word}; /help lists them.")];
        };
        let details = self.commands.iter().filter(|row| row.action == action);
        let details = details.map(|row| row.detail.to_owned());
        let details = details.filter(|detail| !detail.is_empty());
        [self.usage(action)].into_iter().chain(details).collect()
    }
}

impl Row {
    fn head(&self) -> String {
        let blank = if self.argument.is_empty() { "" } else { " " };
        format!("{}{blank}{}", self.words.join(" "), self.argument)
    }
}

/// The words that are commands, and what each needs to know: for completion.
pub(crate) fn words(commands: &'static [Row]) -> Vec<(&'static str, Need)> {
    let need = |action: Action| match action {
        Action::Msg | Action::Ignore => Need::Member(""),
        action => action.need(),
    };
    let words = |row: &'static Row| row.words.iter().map(move |word| (*word, need(row.action)));
    commands.iter().flat_map(words).collect()
}

/// The one of these names that a person means: also in capitals, and with composed letters. `None`: it is like no other. An error asks
/// whether the one that it is like is meant.
pub(crate) fn meant<'a>(
    name: &str,
    names: &'a BTreeSet<String>,
) -> Result<Option<&'a str>, String> {
    let looks_like = |other: &&String| match (UserName::parse(name), UserName::parse(other)) {
        (Ok(name), Ok(other)) => name.looks_like(&other),
        _ => false,
    };
    let found = names.get(name).or_else(|| names.iter().find(looks_like));
    if let Some(found) = found {
        return Ok(Some(found));
    }
    match nearest(&name.to_lowercase(), names.iter().map(String::as_str)) {
        Some(nearest) => Err(format!("Nobody is called {name}: did you mean {nearest}?")),
        None => Ok(None),
    }
}

/// The name or word that a person may have meant: one that begins so, or differs in two letters at most.
pub(crate) fn nearest<'a>(
    typed: &str,
    among: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |known: &str| {
        if known.starts_with(typed) && typed.chars().count() > 2 {
            return 0;
        }
        strsim::damerau_levenshtein(typed, &known.to_lowercase())
    };
    // In a short word, two letters would be another word.
    let most = (typed.chars().count() / 2).min(2);
    let near = among.into_iter().map(|known| (distance(known), known));
    let near = near.filter(|(distance, known)| *distance <= most && known.len() > 2);
    Some(near.min_by_key(|(distance, _)| *distance)?.1)
}

/// Whether a line is the path of a file, as a terminal types it when a file is dropped on it.
fn is_dropped_file(line: &str) -> bool {
    let is_path = line.starts_with(['/', '~', '\'', '"']) || Path::new(line).is_absolute();
    is_path && machine::typed_path(line).is_file()
}

/// Whether the argument of `/file` is a folder, perhaps for one member.
fn is_folder(argument: &str) -> bool {
    let path = match argument.strip_prefix('@') {
        Some(rest) => split_word(rest).1,
        None => argument,
    };
    !path.is_empty() && machine::typed_path(path).is_dir()
}

/// The first word of a line, and what follows it without the blanks around it.
fn split_word(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim())
}

/// Hides what this name says, or shows it again. Returns what the person reads of it.
pub(crate) fn ignore(name: &str, names: &mut Names) -> String {
    let ignored = &mut names.ignored;
    if name.is_empty() {
        let names: Vec<_> = ignored.iter().map(|name| in_list(name)).collect();
        return match names.as_slice() {
            [] => "You ignore nobody.".to_owned(),
            names => format!("You ignore {}.", names.join(", ")),
        };
    }
    if ignored.remove(name) {
        return format!("You hear {name} again.");
    }
    ignored.insert(name.to_owned());
    format!("You ignore {name} from now on; /ignore {name} ends that.")
}

fn said(to: Option<&str>, text: &str) -> Said {
    Said {
        to: to.map(str::to_owned),
        text: text.to_owned(),
    }
}

fn say(to: Option<&str>, text: &str) -> Typed {
    Typed::Say(vec![said(to, text)])
}

fn show(sentence: impl Into<String>) -> Typed {
    Typed::Show(sentence.into())
}

fn ask(question: &'static str, typed: Typed) -> Typed {
    Typed::If(question, Box::new(typed))
}

/// What a text means before an admin has approved the user: only to leave has an effect.
fn while_waiting(text: &str, action: Option<Action>) -> Typed {
    match action {
        Some(Action::Quit) => Typed::Do(Action::Quit, String::new()),
        _ if text.trim() == "/1" => Typed::Do(Action::Quit, String::new()),
        _ => show(WAITS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names {
            teller: Some("carl".into()),
            ..Names::default()
        };
        for name in ["bob", "bob the builder"] {
            names.add_member(name);
        }
        names
    }

    fn act(action: Action, argument: &str) -> Typed {
        Typed::Do(action, argument.to_owned())
    }

    #[test]
    fn a_script_s_line_is_a_command_only_if_it_is_one_exactly() {
        let typist = Typist {
            commands: GROUP,
            me: "alice",
            names: &names(),
        };
        for (line, typed) in [
            ("/2", act(Action::Approve, "")),
            ("/2 bob", act(Action::Approve, "bob")),
            (
                "/approve  bob the builder ",
                act(Action::Approve, "bob the builder"),
            ),
            ("/2\t", act(Action::Approve, "")),
            ("/5", act(Action::Online, "")),
            ("/msg bob hi", say(Some("bob"), "hi")),
            ("/me waves", say(None, "* alice waves")),
        ] {
            assert_eq!(typist.script_means(line), typed, "{line:?}");
        }
        for line in [
            "/5 and more",
            "/10",
            "/etc/passwd is a file",
            " /5",
            "hello",
            "",
            "/QUIT",
            "/memebrs",
            "//x",
            "/quit now",
            "/me",
            "/msg bob",
        ] {
            assert_eq!(typist.script_means(line), say(None, line), "{line:?}");
        }
    }

    #[test]
    fn a_person_s_mistakes_are_not_said() {
        let typist = Typist {
            commands: GROUP,
            me: "alice",
            names: &names(),
        };
        let ask_to_say = |text: &str| ask(SAY, say(None, text));
        let lines = |lines: &[&str]| lines.iter().map(|line| said(None, line)).collect();
        for (text, typed) in [
            ("hello", say(None, "hello")),
            ("  hello ", say(None, "  hello ")),
            ("", say(None, "")),
            (" /quit", act(Action::Quit, "")),
            ("/QUIT bye all", act(Action::Quit, "bye all")),
            ("/help me", Typed::Help(typist.help("me"))),
            ("/8", Typed::Ask(Action::Kick)),
            ("/2", act(Action::Requests, "/approve")),
            ("/3 things to do", ask_to_say("/3 things to do")),
            ("/8 BOB", act(Action::Kick, "BOB")),
            ("/etc/hosts is empty", ask_to_say("/etc/hosts is empty")),
            ("//etc is full", say(None, "/etc is full")),
            (
                "/msg bob the builder hi",
                say(Some("bob the builder"), "hi"),
            ),
            ("/msg bob the hi", say(Some("bob"), "the hi")),
            ("/msg dan hi", say(Some("dan"), "hi")),
            ("/reply hi you", say(Some("carl"), "hi you")),
            ("/ignore BOB", act(Action::Ignore, "bob")),
            ("/ignore dan", act(Action::Ignore, "dan")),
            (
                "/ignore bub",
                show("Nobody is called bub: did you mean bob?"),
            ),
            (
                "/msg bob",
                show("/msg NAME TEXT: tell one member something."),
            ),
            ("/me waves", say(None, "* alice waves")),
            (
                "/memebrs",
                show("Not sent: /memebrs is no command; did you mean /members? //memebrs says it."),
            ),
            (
                "/exit",
                show("Not sent: /exit is no command; did you mean /quit? //exit says it."),
            ),
            (
                "/memb",
                show("Not sent: /memb is no command; did you mean /members? //memb says it."),
            ),
            (
                "/x",
                show("Not sent: /x is no command; /help lists the commands. //x says it."),
            ),
            (
                "one\n/quit\n\n/9 id_rsa\n",
                Typed::Say(lines(&["one", "/quit", " ", "/9 id_rsa"])),
            ),
            ("/quit\n", act(Action::Quit, "")),
        ] {
            assert_eq!(typist.person_means(text), typed, "{text:?}");
        }
        let many = vec!["x"; MANY_LINES].join("\n");
        assert!(matches!(typist.person_means(&many), Typed::If(SAY_ALL, _)));
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        for dropped in [path.clone(), format!("'{path}' ")] {
            let shared = ask(SHARE, act(Action::File, dropped.trim()));
            assert_eq!(typist.person_means(&dropped), shared);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        for argument in [path.clone(), format!("@bob {path}")] {
            let packed = ask(PACK, act(Action::Pack, &argument));
            assert_eq!(typist.person_means(&format!("/file {argument}")), packed);
        }
    }

    #[test]
    fn what_was_meant_is_found_if_it_is_near() {
        for (typed, meant) in [
            ("boby", Some("bob")),
            ("jorg", Some("Jörg")),
            ("alixe", Some("alice")),
            ("ali", Some("alice")),
            ("carol", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, ["alice", "bob", "Jörg"]), meant, "{typed}");
        }
    }

    #[test]
    fn the_help_fits_on_one_screen_and_tells_more_of_each_command() {
        for commands in [GROUP, RELAY] {
            let typist = Typist {
                commands,
                me: "alice",
                names: &names(),
            };
            let lines = typist.help("");
            // The time stands in front of each, and the prompt below them.
            assert!(lines.len() < 24, "{}", lines.len());
            for line in &lines {
                assert!(line.len() <= 74, "{line}");
            }
            for (word, _) in words(commands) {
                let help = typist.help(word);
                let is_short = |line: &String| line.len() < 130;
                assert!(
                    help[0].contains(word) && help.iter().all(is_short),
                    "{help:?}"
                );
                assert_eq!(typist.help(&word[1..]), help);
            }
        }
        let known = words(GROUP);
        for digit in 1..=9 {
            let word = format!("/{digit}");
            assert!(known.iter().any(|(known, _)| *known == word));
        }
    }
}
