//! What can be typed: the commands and their words, and what a line means.

use crate::screen::{Need, split_word};

/// A typed line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed<'a> {
    /// A command, and what follows its word.
    Action(Action, &'a str),
    /// A line to be said.
    Message(&'a str),
}

impl Typed<'_> {
    /// A line is a message unless it is exactly a command, also if it begins with a slash.
    pub(crate) fn parse(line: &str) -> Typed<'_> {
        let (word, argument) = split_word(line);
        match Action::parse(word) {
            Some(action)
                if argument.is_empty() || action.need() != Need::Nothing || action.has_option() =>
            {
                Typed::Action(action, argument)
            }
            _ => Typed::Message(line),
        }
    }
}

/// What a person can do beside saying something.
#[allow(missing_docs)] // `HELP` says what they are.
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
    Help,
}

/// What `/help` shows. Tab completes the words at the beginning of each line.
pub(crate) const HELP: &str = "\
/1 /requests   who has asked to join (admin)
/2 /approve    NAME: let somebody in, or several, or all (admin)
/deny          NAME: refuse somebody, or several, or all (admin)
/3 /quit       leave
/4 /members    all members of the group
/5 /online     the members that are online
/6 /transfer   NAME: hand the admin's role over (admin)
/7 /admin      who the admin is
/8 /kick       NAME: remove somebody (admin)
/9 /file       [@NAME] PATH ...: share files with everybody online, or with one
/pack          [@NAME] FOLDER: share a folder as one file, a .tar
/stop          [up|down]: stop the file that is on its way
/accept        [FILE]: receive the file that is on offer
/decline       [FILE]: do not receive it
/ban           NAME: keep somebody out for good (admin)
/ban-address   NAME: the same, with everybody at the same address (admin)
/unban         NAME: let somebody ask to join again (admin)
/bans          who is banned (admin)
/whois         NAME: which key proves the name, if one does
/help          this list; any other line is said to the group";

impl Action {
    fn parse(word: &str) -> Option<Action> {
        Some(match word {
            "/1" | "/requests" => Action::Requests,
            "/2" | "/approve" => Action::Approve,
            "/deny" => Action::Deny,
            "/3" | "/quit" => Action::Quit,
            "/4" | "/members" => Action::Members,
            "/5" | "/online" => Action::Online,
            "/6" | "/transfer" => Action::Transfer,
            "/7" | "/admin" => Action::Admin,
            "/8" | "/kick" => Action::Kick,
            "/9" | "/file" => Action::File,
            "/pack" => Action::Pack,
            "/stop" => Action::Stop,
            "/accept" => Action::Accept,
            "/decline" => Action::Decline,
            "/ban" => Action::Ban,
            "/ban-address" => Action::BanAddress,
            "/unban" => Action::Unban,
            "/bans" => Action::Bans,
            "/whois" => Action::WhoIs,
            "/help" => Action::Help,
            _ => return None,
        })
    }

    /// Whether something may follow the word, and need not.
    fn has_option(self) -> bool {
        matches!(self, Action::Stop | Action::Accept | Action::Decline)
    }

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

/// The words that are commands, and what each needs to know.
pub(crate) fn commands() -> Vec<(&'static str, Need)> {
    let words = |line: &'static str| line.split(' ').take_while(|word| word.starts_with('/'));
    HELP.lines()
        .flat_map(words)
        .filter_map(|word| Some((word, Action::parse(word)?.need())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_action_only_if_it_is_one_exactly() {
        let cases = [
            ("/2", Typed::Action(Action::Approve, "")),
            ("/2 bob", Typed::Action(Action::Approve, "bob")),
            (
                "/approve  bob the builder ",
                Typed::Action(Action::Approve, "bob the builder"),
            ),
            ("/2\t", Typed::Action(Action::Approve, "")),
            ("/5", Typed::Action(Action::Online, "")),
            ("/5 and more", Typed::Message("/5 and more")),
            ("/stop", Typed::Action(Action::Stop, "")),
            ("/stop up", Typed::Action(Action::Stop, "up")),
            ("/accept a.txt", Typed::Action(Action::Accept, "a.txt")),
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

    #[test]
    fn every_word_of_the_help_is_a_command_and_every_command_is_in_the_help() {
        let words: Vec<&str> = commands().into_iter().map(|(word, _)| word).collect();
        for digit in 1..=9 {
            assert!(words.contains(&format!("/{digit}").as_str()));
        }
        let n_words = HELP.matches("\n/").count() + 1 + HELP.matches(" /").count();
        assert_eq!(words.len(), n_words);
        assert_eq!(words.len(), 29);
    }
}
