//! Joining: from an address to a connection over which the user is in the group, or waits.
//!
//! | step | from | says |
//! | --- | --- | --- |
//! | 1 | server | 44 bytes: its key, or what a closed server's key is derived from |
//! | 2 | client | the user name |
//! | 3 | server | the question for the group |
//! | 4 | client | the group |
//! | 5 | server | whether the user administers the group, is a member, or waits |
//!
//! A Python server may send events before any step. So a text that cannot be the step is shown as an event. A client with a secret takes
//! nothing from a server that does not have it. Nor does it from one that repeats what another run said.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::link::{Link, SERVER, sealed_frame};
use super::receiving::heard;
use super::{ClientError, Shared};
use crate::net::connection::QuickAck;
use crate::net::{connect, is_late};
use crate::screen::{Connection, Standing};
use crate::seal::{Key, random_text, stamp_of};
use crate::wire::command::{
    ADMIN_READY, Dialect, READY, RefusalCode, Refused, SEND_GROUP_NAME, WAIT, after, refusal,
};
use crate::wire::frame::{FrameReader, MAX_FRAME, WireError};
use crate::wire::joining::{Introduction, challenge_of, statement};
use crate::wire::watch;

/// How long the server may be silent before a step. A Python server with a dead member may never say the last one.
const JOIN_TIME: Duration = Duration::from_secs(20);

/// How long the server may take for step 1, which a chat server sends at once. If the connection got lost in a queue of the system, the
/// client tries again soon.
const OPENING_TIME: Duration = Duration::from_secs(5);

/// The length of step 1, in bytes.
const OPENING_LEN: usize = 44;

/// Connects and joins.
///
/// # Errors
/// No connection, no chat server, another secret, or a server that does not let the user in.
pub(crate) fn join(shared: &Arc<Shared>) -> Result<(Arc<Link>, Frames, Standing), ClientError> {
    let mut joining = Joining::connect(shared)?; // 1
    joining.send(shared.name.as_str())?; // 2
    let server_challenge = joining.question()?; // 3
    joining.send(&joining.answer(server_challenge.as_deref()))?; // 4
    if server_challenge.is_none() && shared.secret.is_none() {
        // A Python server repeats nothing.
        joining.challenge.clear();
    }
    let (standing, joined_at) = joining.verdict()?; // 5

    let server = match server_challenge {
        Some(_) => Dialect::Fernchat,
        None => Dialect::Python,
    };
    shared.names.lock().joined(standing, shared.name.as_str());
    joining.socket.set_read_timeout(None)?;
    let link = Link {
        server,
        shared: Arc::clone(shared),
        key: joining.key,
        socket: joining.socket,
        writing: Mutex::new(()),
        joined_at,
        dialogue: Mutex::default(),
        answered: Condvar::new(),
    };
    Ok((Arc::new(link), joining.frames, standing))
}

/// The frames that a server sends.
pub(crate) type Frames = FrameReader<SocketReader>;

/// Reads from the socket of a link.
pub(crate) struct SocketReader(Arc<TcpStream>);

impl Read for SocketReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        QuickAck(&self.0).read(buffer)
    }
}

/// What the server says at step 5 in a text, which must repeat the client's challenge.
fn standing(text: &str, challenge: &str) -> Option<Standing> {
    [
        (ADMIN_READY, Standing::Admin),
        (READY, Standing::Member),
        (WAIT, Standing::Waiting),
    ]
    .into_iter()
    .find(|(word, _)| after(word, text) == Some(challenge))
    .map(|(_, standing)| standing)
}

/// A connection while it joins.
struct Joining<'a> {
    shared: &'a Shared,
    socket: Arc<TcpStream>,
    frames: Frames,
    key: Arc<Key>,
    /// The 44 bytes of step 1.
    opening: Key,
    /// What the server must repeat, to show that it is no recording.
    challenge: String,
}

impl Joining<'_> {
    /// Connects, and takes step 1.
    fn connect(shared: &Shared) -> Result<Joining<'_>, ClientError> {
        let socket = Arc::new(connect(&shared.settings.host, shared.settings.port)?);
        socket.set_read_timeout(Some(OPENING_TIME))?;
        let mut reader = SocketReader(Arc::clone(&socket));
        let mut opening = [0; OPENING_LEN];
        // A chat server says it at once.
        reader
            .read_exact(&mut opening)
            .map_err(|_| ClientError::NotAChat)?;
        socket.set_read_timeout(Some(JOIN_TIME))?;
        let opening = std::str::from_utf8(&opening).map_err(|_| ClientError::NotAChat)?;
        let opening = Key::parse(opening).map_err(|_| ClientError::NotAChat)?;
        let frames = FrameReader::new(reader, MAX_FRAME);
        let key = match &shared.secret {
            None => Arc::new(Key::parse(opening.as_str()).map_err(|_| ClientError::NotAChat)?),
            Some(secret) => {
                if !secret.has_derived(&opening) {
                    shared.tell(Connection::Deriving);
                }
                secret.derive(&opening)
            }
        };
        Ok(Joining {
            shared,
            socket,
            frames,
            key,
            opening,
            challenge: random_text(),
        })
    }

    fn send(&self, text: &str) -> io::Result<()> {
        (&*self.socket).write_all(&sealed_frame(&self.key, text))
    }

    /// Step 3. Returns the challenge of a fernchat server, `None` for a Python server.
    fn question(&mut self) -> Result<Option<String>, ClientError> {
        let question = self.step("the question for the group", |text| {
            after(SEND_GROUP_NAME, text).map(|_| challenge_of(text).map(str::to_owned))
        });
        match question {
            Err(ClientError::Closed(_) | ClientError::NoAnswer(_))
                if self.shared.secret.is_some() =>
            {
                Err(unproven(None))
            }
            Err(ClientError::Closed(_)) => Err(ClientError::NotAChat),
            question => Ok(question?.0),
        }
    }

    /// Step 4.
    fn answer(&self, server_challenge: Option<&str>) -> String {
        let group = self.shared.group.as_str();
        let Some(server_challenge) = server_challenge else {
            return group.to_owned();
        };
        let (user, identity) = (self.shared.name.as_str(), &self.shared.identity);
        let statement = statement(self.opening.as_str(), server_challenge, user, group);
        let introduction = Introduction {
            repeated: server_challenge,
            challenge: &self.challenge,
            run: &self.shared.run,
            last_mark: &self.shared.last_mark.lock(),
            key: &identity.public().to_string(),
            signature: &identity.sign(&statement),
        };
        introduction.answer(group)
    }

    /// Step 5, and when the server said it, in seconds since 1970.
    fn verdict(&mut self) -> Result<(Standing, u64), ClientError> {
        let challenge = self.challenge.clone();
        self.step("the answer to joining", |text| standing(text, &challenge))
    }

    /// Waits for a step. Returns what `parse` makes of it, and its time stamp. Other texts are events, and are shown; from a server that
    /// must prove its secret there are none.
    fn step<T>(
        &mut self,
        step: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<(T, u64), ClientError> {
        loop {
            let token = match self.frames.next_frame(&|token| self.key.opens(token)) {
                Ok(Some(token)) => token,
                Ok(None) => return Err(WireError::CutOff.into()),
                Err(WireError::Io(error)) if is_late(&error) => {
                    return Err(ClientError::NoAnswer(step));
                }
                Err(error) => return Err(error.into()),
            };
            let is_closed = self.shared.secret.is_some();
            let plain_text = || self.opening.open(&token).ok().filter(|_| is_closed);
            let (text, is_plain) = match (self.key.open(&token), plain_text()) {
                (Ok(text), _) => (text, false),
                (Err(_), Some(text)) => (text, true),
                (Err(_), None) => return Err(WireError::NotOpened.into()),
            };
            watch::came(SERVER, token.len(), &text);
            let text = String::from_utf8(text).map_err(|_| WireError::NotUtf8)?;
            match (refusal(&text), parse(&text)) {
                // Anybody can seal under the 44 bytes. So the code only chooses among sentences of our own.
                (refused, _) if is_plain => return Err(unproven(refused.and_then(|it| it.code))),
                (Some(Refused { code, .. }), _)
                    if code == Some(RefusalCode::Secret) && !is_closed =>
                {
                    return Err(ClientError::SecretMissing);
                }
                (Some(refused), _) => return Err(ClientError::Refused(refused)),
                (None, Some(parsed)) => return Ok((parsed, stamp_of(&token).unwrap_or(0))),
                (None, None) if is_closed => {
                    return Err(WireError::NotTheStep(step).into());
                }
                (None, None) => heard(self.shared, &text, None),
            }
        }
    }
}

/// What the person reads of a server that does not have the secret. It may have said why by this code.
fn unproven(code: Option<RefusalCode>) -> ClientError {
    ClientError::NoSecretThere(match code {
        Some(RefusalCode::Secret) => "this server says that it has another secret than your file",
        Some(RefusalCode::NoSecret) => "this server says that it has no secret",
        _ => "what answers there does not have your secret",
    })
}
