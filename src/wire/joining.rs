//! What two fernchat ends add to steps 3 and 4 of joining. A Python program neither sends nor reads any of it.
//!
//! ```text
//!   step 3, the server:   /sendGroupname fernchat/1 CHALLENGE
//!   step 4, the client:   GROUP
//!                         fernchat/1 CHALLENGE CHALLENGE2
//!                         RUN MARK
//! ```
//!
//! The challenges are there if the server is closed. An end that does not say exactly `fernchat/1` is treated as a Python program.

use super::command::{FERNCHAT, SEND_GROUP_NAME, after, with};

/// Step 3. A server that is not closed has no challenge: it is empty.
pub fn question(challenge: &str) -> String {
    with(SEND_GROUP_NAME, &with(FERNCHAT, challenge))
}

/// The challenge in step 3 of a fernchat server. `None`: another program says it, or it is no step 3.
pub fn challenge_of(question: &str) -> Option<&str> {
    after(FERNCHAT, after(SEND_GROUP_NAME, question)?)
}

/// What a fernchat client says of itself at step 4. A field without a value is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduction<'a> {
    /// The client's own challenge, which the server repeats at step 5.
    pub challenge: &'a str,
    /// The name that the client made up for its run.
    pub run: &'a str,
    /// The mark of the last chat line that arrived.
    pub last_mark: &'a str,
}

impl<'a> Introduction<'a> {
    /// Step 4, which repeats the server's challenge.
    pub fn answer(&self, group: &str, server_challenge: &str) -> String {
        let words = with(&with(FERNCHAT, server_challenge), self.challenge);
        format!("{group}\n{words}\n{} {}", self.run, self.last_mark)
    }

    /// Takes step 4 apart: the group, and the introduction if a fernchat client repeats this challenge.
    pub fn parse(answer: &'a str, server_challenge: &str) -> (&'a str, Option<Introduction<'a>>) {
        let mut lines = answer.splitn(4, '\n');
        let mut line = || lines.next().unwrap_or_default();
        let (group, words, run) = (line(), line(), line());
        let (run, last_mark) = run.split_once(' ').unwrap_or((run, ""));
        let challenge = after(&with(FERNCHAT, server_challenge), words);
        let introduction = challenge.map(|challenge| Introduction {
            challenge,
            run,
            last_mark,
        });
        (group, introduction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_reads_what_the_other_says() {
        for server_challenge in ["", "c1"] {
            let question = question(server_challenge);
            assert_eq!(challenge_of(&question), Some(server_challenge));
            for (challenge, run, last_mark) in [("", "r", ""), ("c2", "r", "m"), ("", "", "")] {
                let introduction = Introduction {
                    challenge,
                    run,
                    last_mark,
                };
                let answer = introduction.answer("team", server_challenge);
                let parsed = Introduction::parse(&answer, server_challenge);
                assert_eq!(parsed, ("team", Some(introduction)));
            }
        }
    }

    #[test]
    fn what_does_not_say_this_version_or_not_this_challenge_is_taken_for_python() {
        for words in ["", " fernchat/10", " fernchat/2", " Fernchat/1", " hello"] {
            let question = format!("{SEND_GROUP_NAME}{words}");
            assert_eq!(challenge_of(&question), None, "{question}");
        }
        for (answer, server_challenge) in [
            ("team", ""),
            ("team\nfernchat/10", ""),
            ("team\nfernchat/2 c1\nr m", ""),
            ("team\nfernchat/1", "c1"),
            ("team\nfernchat/1 c10 c2\nr m", "c1"),
        ] {
            let parsed = Introduction::parse(answer, server_challenge);
            assert_eq!(parsed, ("team", None), "{answer}");
        }
    }
}
