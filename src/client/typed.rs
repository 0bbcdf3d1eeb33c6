//! What can be typed: the commands with their words, and what a line means.

use crate::terminal::Need;

/// What a person can type beside messages.
#[allow(missing_docs)] // their words and their help stand below
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Requests,
    Approve,
    Deny,
    Quit,
    Members,
    Online,
    Transfer,
    Admin,
    Kick,
    File,
    Help,
}

/// Each action with its words, what it needs to know, and its line of help.
pub(super) const ACTIONS: [(Action, &[&str], Need, &str); 11] = [
    (
        Action::Requests,
        &["/1", "/requests"],
        Need::Nothing,
        "who has asked to join (admin)",
    ),
    (
        Action::Approve,
        &["/2", "/approve"],
        Need::Request("Who is to be approved"),
        "NAME: let somebody in (admin)",
    ),
    (
        Action::Deny,
        &["/deny"],
        Need::Request("Who is to be denied"),
        "NAME: refuse somebody (admin)",
    ),
    (Action::Quit, &["/3", "/quit"], Need::Nothing, "leave"),
    (
        Action::Members,
        &["/4", "/members"],
        Need::Nothing,
        "all members of the group",
    ),
    (
        Action::Online,
        &["/5", "/online"],
        Need::Nothing,
        "the members that are online",
    ),
    (
        Action::Transfer,
        &["/6", "/transfer"],
        Need::Member("Who is to be the admin"),
        "NAME: hand the admin's role over (admin)",
    ),
    (
        Action::Admin,
        &["/7", "/admin"],
        Need::Nothing,
        "who the admin is",
    ),
    (
        Action::Kick,
        &["/8", "/kick"],
        Need::Member("Who is to be kicked"),
        "NAME: put somebody out (admin)",
    ),
    (
        Action::File,
        &["/9", "/file"],
        Need::File("Which file"),
        "PATH: share a file with everybody online",
    ),
    (
        Action::Help,
        &["/help"],
        Need::Nothing,
        "this list; any other line is said to the group",
    ),
];

/// Every word that is a command, and what it needs to know.
pub fn commands() -> Vec<(&'static str, Need)> {
    ACTIONS
        .iter()
        .flat_map(|(_, words, need, _)| words.iter().map(|word| (*word, *need)))
        .collect()
}

/// A typed line.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed<'a> {
    /// An action, what it needs to know (empty: to be asked for), and the question for it.
    Action(Action, &'a str, Option<&'static str>),
    /// A line to be said.
    Message(&'a str),
}

impl Typed<'_> {
    /// Any line that is not exactly an action is a message, also one that begins with a slash.
    pub fn parse(line: &str) -> Typed<'_> {
        let (word, argument) = line
            .split_once(' ')
            .map_or((line, ""), |(word, rest)| (word, rest.trim()));
        match ACTIONS.iter().find(|(_, words, ..)| words.contains(&word)) {
            Some((action, _, need, _)) if *need != Need::Nothing || argument.is_empty() => {
                Typed::Action(*action, argument, need.question())
            }
            _ => Typed::Message(line),
        }
    }
}

/// What the person wants, in full.
#[derive(Clone)]
pub enum Wish {
    /// Say this to the group; the number tells it from all other lines of this run.
    Say {
        /// From 1.
        number: u64,
        /// The line.
        text: String,
    },
    /// Do this, with the name or the path that it takes.
    Do(Action, String),
    /// Leave.
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_action_only_if_it_is_one_exactly() {
        let approve = Some("Who is to be approved");
        let cases = [
            ("/2", Typed::Action(Action::Approve, "", approve)),
            ("/2 bob", Typed::Action(Action::Approve, "bob", approve)),
            (
                "/approve  bob the builder ",
                Typed::Action(Action::Approve, "bob the builder", approve),
            ),
            ("/5", Typed::Action(Action::Online, "", None)),
            ("/5 and more", Typed::Message("/5 and more")),
            ("/10", Typed::Message("/10")),
            (
                "/etc/passwd is a file",
                Typed::Message("/etc/passwd is a file"),
            ),
            (" /5", Typed::Message(" /5")),
            ("hello", Typed::Message("hello")),
            ("", Typed::Message("")),
        ];
        for (line, typed) in cases {
            assert_eq!(Typed::parse(line), typed, "{line:?}");
        }
    }
}
