//! What two fernchat ends add to steps 3 and 4 of joining. A Python program neither sends nor reads any of it.
//!
//! ```text
//!   step 3, the server:   /sendGroupname fernchat/1 CHALLENGE
//!   step 4, the client:   GROUP
//!                         fernchat/1 CHALLENGE CHALLENGE2
//!                         RUN MARK
//!                         PUBLIC-KEY SIGNATURE
//!   step 5, the server:   /ready CHALLENGE2
//! ```
//!
//! Each end makes up its own challenge, and the other end repeats it. So neither takes a recording for the other end. The signature shows
//! that the client holds the private half of its key: see [`statement`]. An end that does not say exactly `fernchat/1` is treated as a
//! Python program.

use super::command::{FERNCHAT, SEND_GROUP_NAME, after, with};

/// Step 3, with the server's challenge.
pub fn question(challenge: &str) -> String {
    with(SEND_GROUP_NAME, &with(FERNCHAT, challenge))
}

/// The challenge in step 3 of a fernchat server. `None`: another program says it, or it is no step 3.
pub fn challenge_of(question: &str) -> Option<&str> {
    after(FERNCHAT, after(SEND_GROUP_NAME, question)?)
}

/// What a client signs: that it joins with this name, now, and here. Each part has its length in bytes in front, 4 bytes, big-endian.
/// So no two sets of parts make the same statement.
///
/// `opening` is the 44 bytes of step 1, and `challenge` that of step 3.
pub fn statement(opening: &str, challenge: &str, user: &str, group: &str) -> Vec<u8> {
    let mut statement = Vec::new();
    for part in ["fernchat name v1", opening, challenge, user, group] {
        statement.extend_from_slice(&(part.len() as u32).to_be_bytes());
        statement.extend_from_slice(part.as_bytes());
    }
    statement
}

/// What a fernchat client says of itself at step 4. A field without a value is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Introduction<'a> {
    /// The server's challenge, repeated.
    pub repeated: &'a str,
    /// The client's own challenge, which the server repeats at step 5.
    pub challenge: &'a str,
    /// The name that the client made up for its run.
    pub run: &'a str,
    /// The mark of the last chat line that arrived.
    pub last_mark: &'a str,
    /// The public key of the user.
    pub key: &'a str,
    /// The signature of the [`statement`].
    pub signature: &'a str,
}

impl<'a> Introduction<'a> {
    /// Step 4.
    pub fn answer(&self, group: &str) -> String {
        let words = with(&with(FERNCHAT, self.repeated), self.challenge);
        let Introduction {
            run,
            last_mark,
            key,
            signature,
            ..
        } = self;
        format!("{group}\n{words}\n{run} {last_mark}\n{key} {signature}")
    }

    /// Takes step 4 apart: the group, and the introduction if a fernchat client says it.
    pub fn parse(answer: &'a str) -> (&'a str, Option<Introduction<'a>>) {
        let mut lines = answer.split('\n');
        let mut line = || lines.next().unwrap_or_default();
        let (group, words) = (line(), line());
        let mut two = || {
            let line = line();
            line.split_once(' ').unwrap_or((line, ""))
        };
        let ((run, last_mark), (key, signature)) = (two(), two());
        let introduction = after(FERNCHAT, words).map(|challenges| {
            let (repeated, challenge) = challenges.split_once(' ').unwrap_or((challenges, ""));
            Introduction {
                repeated,
                challenge,
                run,
                last_mark,
                key,
                signature,
            }
        });
        (group, introduction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_reads_what_the_other_says() {
        assert_eq!(challenge_of(&question("c1")), Some("c1"));
        for fields in [
            ["c1", "c2", "r", "", "k", "s"],
            ["c1", "c2", "r", "m", "", ""],
            [""; 6],
        ] {
            let [repeated, challenge, run, last_mark, key, signature] = fields;
            let introduction = Introduction {
                repeated,
                challenge,
                run,
                last_mark,
                key,
                signature,
            };
            let answer = introduction.answer("team");
            assert_eq!(Introduction::parse(&answer), ("team", Some(introduction)));
        }
    }

    #[test]
    fn what_does_not_say_this_version_is_taken_for_python() {
        for words in ["", " fernchat/10", " fernchat/2", " Fernchat/1", " hello"] {
            let question = format!("{SEND_GROUP_NAME}{words}");
            assert_eq!(challenge_of(&question), None, "{question}");
        }
        for answer in ["team", "team\nfernchat/10", "team\nfernchat/2 c1\nr m"] {
            assert_eq!(Introduction::parse(answer), ("team", None), "{answer}");
        }
    }

    #[test]
    fn two_statements_are_the_same_only_if_all_their_parts_are() {
        let statement_of = |user, group| statement("opening", "challenge", user, group);
        assert_eq!(statement_of("bob", "den"), statement_of("bob", "den"));
        assert_ne!(statement_of("bob", "den"), statement_of("bobd", "en"));
        assert_ne!(statement_of("bob", ""), statement_of("", "bob"));
    }
}
