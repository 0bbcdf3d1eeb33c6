//! Joining: the five steps by which a client comes into a group.
//!
//! The steps are those of the table in [`wire`](crate::wire), and [`Joining::join`] goes through them in order. A client whose key is wrong is
//! refused after step 2. Everything else is refused at step 5, because a Python client understands a refusal nowhere else.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::info;

use super::Shared;
use super::client::{Client, dialect};
use super::frame::{Frame, farewell, news, sealed_frame};
use super::inbox::Inbox;
use super::refusal::Refusal;
use super::session::Session;
use crate::net::connection::ClientId;
use crate::net::departure::Departure;
use crate::net::fairness::Source;
use crate::net::outbox::Outbox;
use crate::seal::{Key, PublicKey, random_text};
use crate::wire::command::{
    ADMIN_READY, CLOSING, Dialect, HAS_REQUESTED, JOINED, READY, REFUSED, REQUESTED, RefusalCode,
    TAKEN_OVER, WAIT, notice, with,
};
use crate::wire::joining::{Introduction, question, statement};
use crate::wire::name::{GroupName, UserName};

/// How often a client that waits for a name looks whether it is free.
const NAME_TIME: Duration = Duration::from_millis(100);

/// A client that is joining.
#[derive(Clone, Copy)]
pub(crate) struct Joining<'a> {
    pub shared: &'a Shared,
    pub id: ClientId,
    pub source: Source,
    pub outbox: &'a Arc<Outbox>,
}

impl<'a> Joining<'a> {
    /// Goes through the five steps. Returns the session of a client that is a member, or waits for approval.
    pub(crate) fn join<R: Read>(self, stream: R) -> Result<Session<'a, R>, Departure> {
        let mut inbox = Inbox::new(stream, &self.shared.key, self.outbox, self.who());
        self.send_key(); // 1
        let user = self.user_name(&mut inbox)?; // 2
        let challenge = self.ask_for_group(); // 3
        let answer = inbox.text()?; // 4
        let (group, introduction) = Introduction::parse(&answer);
        self.proven_key(&challenge, &user, group, introduction)
            .and_then(|key| self.enter_group(&user, group, introduction, key, inbox)) // 5
            .map_err(|refusal| self.refuse(&refusal, dialect(introduction)))
    }

    /// What the log calls the client.
    fn who(self) -> String {
        format!("client {}", self.id)
    }

    /// What the 44 bytes of step 1 are, taken for a key.
    fn first_key(self) -> &'a Key {
        self.shared.salt.as_ref().unwrap_or(&self.shared.key)
    }

    /// Step 1: the key, or the salt that it is derived with.
    fn send_key(self) {
        let bytes = self.first_key().as_str().as_bytes();
        self.outbox.push(bytes.into());
    }

    /// Step 2: the user name. If its frame does not open, the two ends have different keys.
    fn user_name<R: Read>(self, inbox: &mut Inbox<R>) -> Result<String, Departure> {
        let first = inbox.token()?;
        if self.shared.key.opens(&first) {
            inbox.open(&first)
        } else {
            Err(self.refuse_key(&first))
        }
    }

    /// Step 3: asks for the group name. Returns the challenge in it.
    fn ask_for_group(self) -> String {
        let challenge = random_text();
        sealed_frame(&self.shared.key, question(&challenge)).send(self.who(), self.outbox);
        challenge
    }

    /// The key that the client has proven to hold, if it has one. A client of a closed server must repeat the challenge.
    fn proven_key(
        self,
        challenge: &str,
        user: &str,
        group: &str,
        introduction: Option<Introduction>,
    ) -> Result<Option<PublicKey>, Refusal> {
        let introduction = introduction.unwrap_or_default();
        if self.shared.salt.is_some() && introduction.repeated != challenge {
            return Err(Refusal::NoAnswer);
        }
        if introduction.key.is_empty() {
            return Ok(None);
        }
        let statement = statement(self.first_key().as_str(), challenge, user, group);
        let key: Option<PublicKey> = introduction.key.parse().ok();
        let key = key.ok_or(Refusal::NotSigned)?;
        // In a thread of its own: else the stack that this takes would stay with the client for as long as it is there.
        let has_signed = || key.has_signed(&statement, introduction.signature);
        thread::scope(|scope| {
            let thread = thread::Builder::new().spawn_scoped(scope, has_signed);
            let thread = thread.map_err(|_| Refusal::ServerFull)?;
            let has_signed = thread.join().unwrap_or_default();
            has_signed.then_some(Some(key)).ok_or(Refusal::NotSigned)
        })
    }

    /// Step 5: the client enters its group, unless a rule says no. The group sends the word for what the client is in it: the admin, a member,
    /// or one that waits.
    fn enter_group<R: Read>(
        self,
        user: &str,
        group: &str,
        introduction: Option<Introduction>,
        user_key: Option<PublicKey>,
        mut inbox: Inbox<'a, R>,
    ) -> Result<Session<'a, R>, Refusal> {
        let shared = self.shared;
        let name = UserName::parse(user)?;
        let group_name = GroupName::parse(group)?;
        let place = shared.take_place(self.id, self.source)?;
        let client = Client::new(self, name, introduction, user_key);
        let frames = JoinFrames::new(&client, introduction.map_or("", |its| its.challenge));
        let deadline = Instant::now() + shared.probe_time;
        let (group, verb) = loop {
            match shared.table.join(&group_name, &client, &frames) {
                // The connection that has the name may be dead. The group has probed it.
                Err(Refusal::NameProbed(_))
                    if Instant::now() < deadline && self.outbox.pause(NAME_TIME) => {}
                result => break result?,
            }
        };
        info!("{} {verb} group {group_name}", client.name);
        inbox.introduced(&client);
        Ok(Session {
            shared,
            inbox,
            client,
            group,
            group_name,
            held: VecDeque::new(),
            incoming: None,
            _place: place,
        })
    }

    /// Refuses at step 5.
    fn refuse(self, refusal: &Refusal, dialect: Dialect) -> Departure {
        let word = with(REFUSED, refusal.code().word());
        let reason = refusal.to_string();
        let frames = farewell(&self.shared.key, dialect, &[READY], &word, &reason);
        self.refuse_with(frames, &reason)
    }

    /// Refuses after step 2: one end was given a secret and the other was not, or they have different ones.
    ///
    /// The client is told under the first key, the only one that both ends are sure to have. It has not said yet what program it is, so the
    /// server sends frames that serve both kinds. A fernchat client ends at the first, `/refused`. A Python client takes the first frame for
    /// step 3, whatever it says, and the next, `/ready`, for step 5. Then it shows the line with the reason, and ends at `/kicked`.
    fn refuse_key(self, first: &[u8]) -> Departure {
        let (code, reason) = match &self.shared.salt {
            None => (
                RefusalCode::NoSecret,
                "this server has no secret, and what came does not open without one",
            ),
            Some(salt) if salt.opens(first) => (
                RefusalCode::Secret,
                "this server is closed: it takes fernchat clients that have its secret, and this client has none",
            ),
            Some(_) => (
                RefusalCode::Secret,
                "this server is closed, and the client's secret is another",
            ),
        };
        let word = with(REFUSED, &with(code.word(), reason));
        let before = [word.as_str(), READY];
        // The word for fernchat clients is in front already, so the argument for it is empty.
        let frames = farewell(self.first_key(), Dialect::Python, &before, "", reason);
        self.refuse_with(frames, reason)
    }

    fn refuse_with(self, frames: Vec<Frame>, reason: &str) -> Departure {
        for frame in frames {
            frame.send(self.who(), self.outbox);
        }
        Departure::Ended(format!("refused: {reason}"))
    }
}

/// The frames that step 5 may need, sealed before the group is locked.
pub(crate) struct JoinFrames {
    /// For the client that created the group.
    pub admin_ready: Frame,
    /// For a member.
    pub ready: Frame,
    /// For a client that must wait for approval.
    pub wait: Frame,
    /// For members with Python clients, if the client must wait.
    request: Frame,
    /// The same for members with fernchat clients.
    requested: Frame,
    /// For the other members, if the client is one.
    pub joined: Frame,
    /// For the old client of the same user.
    pub taken_over: Frame,
}

impl JoinFrames {
    /// The frames for this client. They repeat its challenge.
    pub(crate) fn new(client: &Client, challenge: &str) -> JoinFrames {
        let (key, user) = (&client.key, &client.name);
        let step_5 = |word| sealed_frame(key, with(word, challenge));
        let proof = match client.user_key {
            Some(key) => format!("key:{}", key.fingerprint()),
            None => format!("from:{}", client.source),
        };
        JoinFrames {
            admin_ready: step_5(ADMIN_READY),
            ready: step_5(READY),
            wait: step_5(WAIT),
            request: sealed_frame(key, notice(format!("{user}{HAS_REQUESTED}"))),
            requested: sealed_frame(key, format!("{REQUESTED} {proof} {user}")),
            joined: news(key, JOINED, user.as_str()),
            taken_over: sealed_frame(key, with(CLOSING, TAKEN_OVER)),
        }
    }

    /// What a member is told of the request.
    pub(crate) fn request_for(&self, dialect: Dialect) -> &Frame {
        match dialect {
            Dialect::Python => &self.request,
            Dialect::Fernchat => &self.requested,
        }
    }
}

#[cfg(test)]
#[path = "tests/joining.rs"]
mod tests;
