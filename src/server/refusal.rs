//! Refusals: every rule of a server that can say no, and the words in which the client is told.

use crate::wire::command::RefusalCode;
use crate::wire::name::{GroupName, NameError, UserName};

/// A rule said no. This is no error: the text goes back to the client that asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    // ---- joining ----
    #[error("the answer to this server's challenge is missing, as in a recording")]
    NoAnswer,
    #[error("the signature of the client's key does not hold")]
    NotSigned,
    #[error(transparent)]
    BadName(#[from] NameError),
    #[error("the name {0} is in use in this group; choose another")]
    NameTaken(UserName),
    /// The system is looking whether the connection that has the name is dead. Until then it is in use.
    #[error("the name {0} is in use in this group; choose another")]
    NameProbed(UserName),
    #[error("the name {0} belongs to another key in this group; choose another name")]
    NameOwned(UserName),
    #[error("the name looks like {0}, a name that this group knows; choose another")]
    LooksLike(UserName),
    #[error("the admin of the group has banned you")]
    Banned,
    #[error("the server is full; try again later")]
    ServerFull,
    #[error("the server has as many groups as it can hold")]
    NoMoreGroups,
    /// The group has as many members or requests as it may have.
    #[error("the group is full")]
    GroupFull,

    // ---- what a member asks for ----
    #[error("Only the admin of the group may do this.")]
    NotAdmin,
    /// The client waits for approval, or was kicked meanwhile.
    #[error("This is for members, and you are not a member of the group any more.")]
    NotMember,
    #[error("Nobody called '{0}' has asked to join; /1 lists who has.")]
    NoRequest(String),
    #[error("The group has no member called '{0}'; /4 lists the members.")]
    NoMember(String),
    #[error("{0} is not online")]
    NotThere(UserName),
    #[error("{0} is not online, so nobody has heard your line.")]
    NotOnline(String),
    #[error("The admin cannot be kicked; hand the role over first, with /6.")]
    AdminStays,
    #[error("You are the admin already.")]
    AdminAlready,
    #[error("Nobody called '{0}' is banned; /bans lists who is.")]
    NotBanned(UserName),
    #[error("The group has as many bans as it may have; /unban somebody first.")]
    TooManyBans,
    #[error("You are in the group {0}; ask about that one.")]
    OtherGroup(GroupName),
    /// The client has typed a message ahead.
    #[error("You were typing something else meanwhile: please try again.")]
    Busy,
}

impl Refusal {
    /// The code that a fernchat client gets with the text, if it is refused while it joins.
    pub(crate) fn code(&self) -> RefusalCode {
        match self {
            Refusal::NoAnswer => RefusalCode::Secret,
            Refusal::BadName(_) | Refusal::NotSigned => RefusalCode::BadName,
            Refusal::NameTaken(_)
            | Refusal::NameProbed(_)
            | Refusal::NameOwned(_)
            | Refusal::LooksLike(_) => RefusalCode::NameTaken,
            Refusal::Banned => RefusalCode::Denied,
            _ => RefusalCode::Full,
        }
    }
}
