//! The words of the group chat's protocol. Each is written here, and in no other file.
//!
//! A word is the text of a frame, or the beginning of one. Words that begin a dialogue are [`Command`]s; the others are the
//! steps and events below. Words marked *fernchat only* pass between two fernchat ends, and never reach a Python program.
//! Who may say what, and when, is not known here: the server's session knows.

use std::fmt;

/// A word that begins a dialogue of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The admin asks for the pending requests.
    ViewRequests,
    /// The admin approves one of them, or denies it by `!NAME`.
    ApproveRequest,
    /// Leave the group and the server.
    Disconnect,
    /// All members, also those offline.
    AllMembers,
    /// The members that are online.
    OnlineMembers,
    /// The admin hands over to another member.
    ChangeAdmin,
    /// Who the admin is.
    WhoAdmin,
    /// The admin takes a member out of the group.
    KickMember,
    /// Upload a file to every other member online.
    FileTransfer,
    /// Say something to the group.
    MessageSend,
    /// The admin keeps somebody out for good (*fernchat only*). The dialogue is that of [`Command::KickMember`].
    BanMember,
    /// The admin lets somebody who is banned ask again (*fernchat only*). The dialogue is the same.
    UnbanMember,
    /// Lists who is banned (*fernchat only*). The dialogue is that of [`Command::ViewRequests`].
    ViewBans,
    /// Says what the group knows of a name (*fernchat only*): C name, S text.
    WhoIs,
}

impl Command {
    /// All commands with their words, in the order of the enum. The first nine are in the order of the digits that people type, `/1` to
    /// `/9`. If a command is missing here, it is never recognised.
    pub const ALL: [(Command, &str); 14] = [
        (Command::ViewRequests, "/viewRequests"),
        (Command::ApproveRequest, "/approveRequest"),
        (Command::Disconnect, "/disconnect"),
        (Command::AllMembers, "/allMembers"),
        (Command::OnlineMembers, "/onlineMembers"),
        (Command::ChangeAdmin, "/changeAdmin"),
        (Command::WhoAdmin, "/whoAdmin"),
        (Command::KickMember, "/kickMember"),
        (Command::FileTransfer, "/fileTransfer"),
        (Command::MessageSend, "/messageSend"),
        (Command::BanMember, "/banMember"),
        (Command::UnbanMember, "/unbanMember"),
        (Command::ViewBans, "/viewBans"),
        (Command::WhoIs, "/whoIs"),
    ];

    /// The word as it stands on the wire.
    pub fn word(self) -> &'static str {
        Command::ALL[self as usize].1
    }

    /// The command whose word this text is, if it is one that clients of this kind have.
    pub fn parse(text: &str, dialect: Dialect) -> Option<Command> {
        let all = match dialect {
            Dialect::Python => &Command::ALL[..N_PYTHON],
            Dialect::Fernchat => &Command::ALL,
        };
        let (command, _) = all.iter().find(|(_, word)| *word == text)?;
        Some(*command)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The first commands are those of PyChat.
const N_PYTHON: usize = 10;

/// What the program at the other end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A Python program, or another that does not say [`FERNCHAT`]. A Python server sends events also inside dialogues.
    Python,
    /// A fernchat program. It knows the words marked *fernchat only*, and takes files of any size.
    Fernchat,
}

/// Joining, step 3: the server asks for the group name. A fernchat server appends [`FERNCHAT`], which Python clients ignore.
pub const SEND_GROUP_NAME: &str = "/sendGroupname";
/// How one fernchat end tells the other what it is: after the word of step 3, and on a second line of the group name at step 4.
pub const FERNCHAT: &str = "fernchat/1";
/// Joining, step 5: the group is new, and the client is its admin.
pub const ADMIN_READY: &str = "/adminReady";
/// Joining, step 5: the client is a member.
pub const READY: &str = "/ready";
/// Joining, step 5: an admin must approve.
pub const WAIT: &str = "/wait";
/// Joining, step 3 or 5, or while waiting (*fernchat only*): `/refused CODE REASON`. The server closes.
pub const REFUSED: &str = "/refused";
/// A waiting client has been approved and may chat from now on.
pub const ACCEPTED: &str = "/accepted";
/// A waiting client leaves, and the server answers with the same word. If the server sends it first, it ends a waiting client.
pub const WAIT_DISCONNECT: &str = "/waitDisconnect";
/// The member is out of the group. The server closes.
pub const KICKED: &str = "/kicked";
/// The server closes (*fernchat only*): `/closing REASON`. Python members get [`KICKED`] in its place.
pub const CLOSING: &str = "/closing";
/// In place of the reason of [`CLOSING`]: the same user has joined with another client. This one must not come back by itself.
pub const TAKEN_OVER: &str = "taken-over";
/// Somebody asks to join (*fernchat only*): `/requested PROOF NAME`. PROOF is `key:` and the fingerprint of the key that came with the
/// name, or `from:` and the address that the request came from.
pub const REQUESTED: &str = "/requested";
/// The server has taken a numbered line, and the group has it (*fernchat only*): `/taken NUMBER`.
pub const TAKEN: &str = "/taken";
/// In front of a result in words (*fernchat only*): `/result TEXT`. So no other text can be taken for a result.
pub const RESULT: &str = "/result";
/// A line that one member hears (*fernchat only*): `/tell NAME`, a line feed and the text. From a client it is the text of a message, and NAME
/// hears it. From the server it is an event, and NAME has said it.
pub const TELL: &str = "/tell";
/// What has become of a member (*fernchat only*): `/news WHAT NAME`. WHAT is one of the next four words.
pub const NEWS: &str = "/news";
/// The member is online now.
pub const JOINED: &str = "joined";
/// The member is offline now.
pub const LEFT: &str = "left";
/// The admin has removed the member.
pub const REMOVED: &str = "removed";
/// The member is the admin now.
pub const IS_ADMIN: &str = "admin";
/// The acknowledgement of an echo. Its text is not looked at.
pub const ACKNOWLEDGEMENT: &str = ".";
/// The requests may be read: the client answers with [`READY_FOR_DATA`] and gets a set.
pub const SENDING_DATA: &str = "/sendingData";
/// The client's answer to [`SENDING_DATA`].
pub const READY_FOR_DATA: &str = "/readyForData";
/// The client may send the name that its command is about.
pub const PROCEED: &str = "/proceed";
/// In place of a file name: the upload is called off.
pub const FILE_ERROR: &str = "~error~";
/// A file is on offer for this client. Between two fernchat ends more follows: see [`transfer`](super::transfer).
pub const RECEIVE_FILE: &str = "/receiveFile";
/// A delivery's first answer: the client wants the file's name.
pub const SEND_FILENAME: &str = "/sendFilename";
/// In a delivery the client's second answer. In an upload the server's permission. Between two fernchat ends more follows: see
/// [`transfer`](super::transfer).
pub const SEND_FILE: &str = "/sendFile";
/// A file is stored whole (*fernchat only*): see [`transfer`](super::transfer).
pub const HAVE_FILE: &str = "/haveFile";
/// A file is not sent, or not wanted (*fernchat only*): see [`transfer`](super::transfer).
pub const STOP_FILE: &str = "/stopFile";
/// In place of a body's length: no body follows, and both ends stay in sync.
pub const NO_BODY: &str = "0";
/// Inside a body (*fernchat only*): the rest does not come. No token has this byte.
pub const BODY_END: u8 = b'!';
/// The sender of the server's own lines. No user may have this name.
pub const PYCHAT: &str = "PyChat";
/// What the answer to [`Command::WhoAdmin`] begins with. No user may have this name.
pub const ADMIN: &str = "Admin";
/// What the server says of a user who wants to join, after the name.
pub const HAS_REQUESTED: &str = " has requested to join the group.";
/// What the server says to a new admin, after the name of the old one.
pub const MADE_ADMIN: &str = " made you the admin of the group.";
/// In front of the name in the dialogue of [`Command::ApproveRequest`]: deny instead of approve. In that of [`Command::BanMember`]: ban
/// the address, too.
pub const DENY: char = '!';

/// The words that are no commands, for [`word_of`].
const STEPS: [&str; 23] = [
    SEND_GROUP_NAME,
    ADMIN_READY,
    READY,
    WAIT,
    REFUSED,
    ACCEPTED,
    WAIT_DISCONNECT,
    KICKED,
    CLOSING,
    REQUESTED,
    TAKEN,
    RESULT,
    TELL,
    NEWS,
    SENDING_DATA,
    READY_FOR_DATA,
    PROCEED,
    FILE_ERROR,
    RECEIVE_FILE,
    SEND_FILENAME,
    SEND_FILE,
    HAVE_FILE,
    STOP_FILE,
];

/// The word that this text is, or begins with in front of a blank.
pub fn word_of(text: &str) -> Option<&'static str> {
    let mut words = Command::ALL.map(|(_, word)| word).into_iter().chain(STEPS);
    words.find(|word| after(word, text).is_some())
}

/// What follows `word` and a blank, if the text begins so; `Some("")` for the bare word. So `fernchat/10` is not `fernchat/1`.
pub fn after<'a>(word: &str, text: &'a str) -> Option<&'a str> {
    let rest = text.strip_prefix(word)?;
    if rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix(' ')
}

/// The text that [`after`] takes apart: the word, then a blank and `rest`, if there is a rest.
pub fn with(word: &str, rest: &str) -> String {
    let blank = if rest.is_empty() { "" } else { " " };
    format!("{word}{blank}{rest}")
}

/// Why a server refuses a client (*fernchat only*).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// The server has a secret, and the client has none, or another.
    Secret,
    /// The server has no secret, and the client has one.
    NoSecret,
    /// The user name or the group name breaks a rule.
    BadName,
    /// Another client has the name, or waits for the admin under it.
    NameTaken,
    /// The server or the group has no place left.
    Full,
    /// The admin denied the request to join.
    Denied,
}

impl RefusalCode {
    /// All codes with their words, in the order of the enum.
    const ALL: [(RefusalCode, &str); 6] = [
        (RefusalCode::Secret, "secret"),
        (RefusalCode::NoSecret, "no-secret"),
        (RefusalCode::BadName, "bad-name"),
        (RefusalCode::NameTaken, "name-taken"),
        (RefusalCode::Full, "full"),
        (RefusalCode::Denied, "denied"),
    ];

    /// The code as it stands on the wire.
    pub fn word(self) -> &'static str {
        RefusalCode::ALL[self as usize].1
    }
}

/// A refusal, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `None`: a code that this version does not know.
    pub code: Option<RefusalCode>,
    /// The reason in words. Without one, the code.
    pub reason: String,
}

/// The refusal that this text is, if it is one.
pub fn refusal(text: &str) -> Option<Refused> {
    let refusal = after(REFUSED, text)?;
    let (code, reason) = refusal.split_once(' ').unwrap_or((refusal, refusal));
    let found = RefusalCode::ALL.into_iter().find(|(_, word)| *word == code);
    Some(Refused {
        code: found.map(|(code, _)| code),
        reason: reason.to_owned(),
    })
}

/// A chat line as every receiver gets it: `NAME: TEXT`.
pub fn line(name: impl fmt::Display, text: &str) -> String {
    format!("{name}: {text}")
}

/// The text of a line that one member hears: see [`TELL`]. `name` is who is told, or who tells.
pub fn to_one(name: &str, text: &str) -> String {
    format!("{TELL} {name}\n{text}")
}

/// The name and the text that [`to_one`] puts together. No user's name has a line feed.
pub fn one_to_one(text: &str) -> Option<(&str, &str)> {
    after(TELL, text)?.split_once('\n')
}

/// The number and the text of a message from a client that numbers its messages: `1 hello`.
pub fn numbered(text: &str) -> Option<(u64, &str)> {
    let (number, text) = text.split_once(' ')?;
    Some((number.parse().ok()?, text))
}

/// A line from the server itself: `PyChat: TEXT`.
pub fn notice(text: impl fmt::Display) -> String {
    format!("{PYCHAT}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_parses_to_its_command_and_nothing_else_does() {
        for (command, word) in Command::ALL {
            assert_eq!(Command::parse(word, Dialect::Fernchat), Some(command));
            assert_eq!(command.word(), word);
            assert_eq!(Command::parse(&format!("{word} "), Dialect::Fernchat), None);
        }
        for word in [ACCEPTED, SEND_FILE, SEND_FILENAME, ACKNOWLEDGEMENT, ""] {
            assert_eq!(Command::parse(word, Dialect::Fernchat), None);
        }
    }

    #[test]
    fn what_follows_a_word_is_cut_at_the_blank() {
        assert_eq!(after(SEND_FILE, "/sendFile"), Some(""));
        assert_eq!(after(SEND_FILE, "/sendFile 123"), Some("123"));
        assert_eq!(after(SEND_FILE, "/sendFilename"), None);
        assert_eq!(
            after(REFUSED, "/refused denied by the admin"),
            Some("denied by the admin")
        );
        assert_eq!(after(FERNCHAT, "fernchat/10 challenge"), None);
        for rest in ["", "123", "1 2"] {
            assert_eq!(after(SEND_FILE, &with(SEND_FILE, rest)), Some(rest));
        }
    }

    #[test]
    fn a_refusal_is_read_with_and_without_a_code_that_is_known() {
        for (code, word) in RefusalCode::ALL {
            assert_eq!(code.word(), word);
            let text = format!("{REFUSED} {word} try another name");
            let reason = "try another name".to_owned();
            let code = Some(code);
            assert_eq!(refusal(&text), Some(Refused { code, reason }));
        }
        for (text, reason) in [
            ("/refused", ""),
            ("/refused later", "later"),
            ("/refused later because", "because"),
            ("/refused full-moon because", "because"),
        ] {
            let (code, reason) = (None, reason.to_owned());
            assert_eq!(refusal(text), Some(Refused { code, reason }), "{text}");
        }
        assert_eq!(refusal("/refusedly full no"), None);
    }
}
