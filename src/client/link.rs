//! The link to the server: connecting, joining, and the one way out.
//!
//! Joining is straight-line code in five steps. A Python server may send events before any of them, so whatever cannot be
//! the step that is due is shown as an event. Given a secret, it derives the key from it and what the server sends, and takes nothing
//! less: neither a plain server nor one that repeats what another run of it said.
//! Both threads write through [`Link::send`], one whole frame or more at a time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::receiving::show_text;
use super::step::Dialogue;
use super::{ClientError, ClientSettings, Shared};
use crate::net::connection::QuickAck;
use crate::net::{connect, is_late};
use crate::seal::{Key, challenge, stamp_of};
use crate::terminal::SaidAt;
use crate::wire::command::{ADMIN_READY, Dialect, READY, SEND_GROUP_NAME, WAIT, after, refusal};
use crate::wire::frame::{self, FrameReader, MAX_FRAME, WireError};
use crate::wire::joining::{self, Introduction};
use crate::wire::watch;

/// How long the server may be silent while a step of joining is due. A Python server with a dead member may never send the last.
const JOIN_TIME: Duration = Duration::from_secs(20);

/// The length of what a connection begins with, in bytes: the key, or a closed server's salt.
const OPENING_LEN: usize = 44;

/// How late a delivery's answer goes to a Python server, which misses one that comes before it has begun to wait.
pub(super) const ANSWER_DELAY: Duration = Duration::from_millis(5);

/// After how long without anything from a Python server a delivery's answer is given again: on a busy machine the first may have
/// been missed all the same, for ever. One too many has no effect there.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);

/// What the log calls the other end.
pub(super) const SERVER: &str = "the server";

/// The connection to the server, after joining.
pub struct Link {
    /// The program at the other end.
    pub server: Dialect,
    /// What all threads of the client share.
    pub shared: Arc<Shared>,
    key: Arc<Key>,
    socket: Arc<TcpStream>,
    /// Held while frames are written, so that those of two threads do not mix.
    writing: Mutex<()>,
    /// When the user joined, by the server's clock, in seconds since 1970: what is stamped before was said before.
    pub joined_at: u64,
    /// A body is arriving: answers may take as long as it does.
    pub is_receiving: AtomicBool,
    /// The dialogue that is open, if one is.
    pub dialogue: Mutex<Dialogue>,
    /// Notified when no delivery is owed an answer any more.
    pub answered: Condvar,
}

/// A connection over which the user has joined.
pub struct Joined {
    /// The way out.
    pub link: Arc<Link>,
    /// What arrives from now on.
    pub frames: FrameReader<Incoming>,
    /// What the person is told.
    pub greeting: String,
}

/// What arrives, from the socket.
pub struct Incoming {
    socket: Arc<TcpStream>,
    /// The link, once joined, if it is a Python server that writes.
    python: Option<Arc<Link>>,
    is_joining: bool,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(link) = &self.python else {
            return if self.is_joining {
                QuickAck(&self.socket).read(buffer)
            } else {
                (&*self.socket).read(buffer)
            };
        };
        loop {
            match QuickAck(&self.socket).read(buffer) {
                Err(error) if is_late(&error) => link.answer_again()?,
                result => return result,
            }
        }
    }
}

impl Link {
    /// Connects and joins, perhaps again: the five steps.
    ///
    /// # Errors
    /// No connection, not a chat server, another secret, or no seat in the group.
    pub fn join(shared: &Arc<Shared>, again: bool) -> Result<Joined, ClientError> {
        let Shared {
            settings: ClientSettings { host, port, .. },
            name,
            group,
            secret,
            run,
            last_mark,
            terminal,
            ..
        } = &**shared;
        let socket = Arc::new(connect(host, *port).map_err(ClientError::Connect)?);
        socket
            .set_read_timeout(Some(JOIN_TIME))
            .map_err(WireError::Io)?;

        let mut incoming = Incoming {
            socket: Arc::clone(&socket),
            python: None,
            is_joining: true,
        };
        let mut opening = [0; OPENING_LEN];
        incoming.read_exact(&mut opening).map_err(|error| {
            // A chat server says its key at once.
            if is_late(&error) || error.kind() == io::ErrorKind::UnexpectedEof {
                ClientError::NotAChat
            } else {
                ClientError::Lost(WireError::Io(error))
            }
        })?; // 1
        let mut frames = FrameReader::new(incoming, MAX_FRAME);
        let opening = std::str::from_utf8(&opening)
            .ok()
            .and_then(|text| Key::parse(text).ok());
        let opening = opening.ok_or(ClientError::NotAChat)?;
        let derived = secret.as_ref().map(|secret| {
            if !secret.has_derived(&opening) {
                terminal.show(
                    "Deriving the key from the secret; on an old machine this takes some seconds.",
                );
            }
            secret.derive(&opening)
        });
        let key = derived.as_deref().unwrap_or(&opening);
        // What the server must repeat to show that it is no recording.
        let proof = secret.as_ref().map_or(String::new(), |_| challenge());
        let plain = secret.is_some().then_some(&opening);
        let mut next_step = |step, is_step: &dyn Fn(&str) -> bool| {
            next_step(&mut frames, key, plain, shared, step, is_step)
        };

        send(&socket, &seal(key, name.as_str()))?; // 2
        let prompt = next_step("the question for the group", &|text| {
            after(SEND_GROUP_NAME, text).is_some()
        }); // 3
        let (prompt, _) = prompt.map_err(|error| match error {
            ClientError::NotAChat | ClientError::NoAnswer(_) if secret.is_some() => {
                ClientError::NoSecretThere
            }
            other => other,
        })?;
        let (server, answer) = match joining::challenge_of(&prompt) {
            Some(server_challenge) => {
                let introduction = Introduction {
                    challenge: &proof,
                    run,
                    last_mark: &last_mark.lock(),
                };
                let answer = introduction.answer(group.as_str(), server_challenge);
                (Dialect::Fernchat, answer)
            }
            None => (Dialect::Python, group.to_string()),
        };
        send(&socket, &seal(key, &answer))?; // 4
        let verdict_of = |text: &str| {
            [ADMIN_READY, READY, WAIT]
                .into_iter()
                .find(|verdict| after(verdict, text) == Some(&proof))
        };
        let (verdict, joined_at) =
            next_step("the answer to joining", &|text| verdict_of(text).is_some())?; // 5
        let verdict = verdict_of(&verdict).unwrap_or(WAIT);
        shared.known.joined(verdict);
        let greeting = match verdict {
            ADMIN_READY if again => {
                format!(
                    "Connected again, to a server that has forgotten the group {group}: you administer it now."
                )
            }
            ADMIN_READY => {
                format!("The group {group} is new: you administer it. /help lists the commands.")
            }
            READY if again => format!("Connected again: you are in the group {group}."),
            READY => format!("You are in the group {group}. /help lists the commands."),
            _ if again => format!(
                "Connected again, but you wait again for the admin of {group} to approve you. /1 leaves."
            ),
            _ => format!("You wait for the admin of {group} to approve you. /1 leaves."),
        };

        let link = Arc::new(Link {
            server,
            shared: Arc::clone(shared),
            key: derived.unwrap_or_else(|| Arc::new(opening)),
            socket,
            writing: Mutex::new(()),
            joined_at,
            is_receiving: AtomicBool::new(false),
            dialogue: Mutex::default(),
            answered: Condvar::new(),
        });
        let is_python = server == Dialect::Python;
        link.socket.set_read_timeout(None).map_err(WireError::Io)?;
        let incoming = frames.stream();
        incoming.is_joining = false;
        incoming.python = is_python.then(|| Arc::clone(&link));
        Ok(Joined {
            link,
            frames,
            greeting,
        })
    }

    /// The key that this server's clients share.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Sends texts, one frame each, in one write.
    ///
    /// # Errors
    /// The connection is gone; the receiving thread says so.
    pub fn send(&self, texts: &[&str]) -> io::Result<()> {
        let frames: Vec<Vec<u8>> = texts.iter().map(|text| seal(&self.key, text)).collect();
        self.send_bytes(&frames.concat())
    }

    /// Sends bytes that are ready: frames, or a piece of a body. A write that fails may leave half a frame behind, so the
    /// connection is over then, and the receiving thread wakes.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let _guard = self.writing.lock();
        (&*self.socket).write_all(bytes).inspect_err(|_| {
            // Fails only if the server was faster.
            let _ = self.socket.shutdown(Shutdown::Both);
        })
    }

    /// Sends a delivery's answer: to a fernchat server at once, which is owed it; to a Python server after the dialogue that
    /// is open, because that is what a Python client does and what the server's threads expect.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn answer(&self, word: &'static str) -> io::Result<()> {
        self.dialogue.lock().last_answer = Some(word);
        if self.server == Dialect::Fernchat {
            return self.send(&[word]);
        }
        self.socket.set_read_timeout(Some(ANSWER_AGAIN))?;
        thread::sleep(ANSWER_DELAY);
        // Held while it is sent: a dialogue that began meanwhile would lose its step to this word.
        let mut dialogue = self.dialogue.lock();
        if !dialogue.is_open {
            return self.send(&[word]);
        }
        if dialogue.answers_due.back() != Some(&word) {
            dialogue.answers_due.push_back(word);
        }
        Ok(())
    }

    /// Nothing came for a while: what a delivery waits for may have been missed.
    fn answer_again(&self) -> io::Result<()> {
        let word = self.dialogue.lock().last_answer;
        word.map_or(Ok(()), |word| self.answer(word))
    }

    /// The next answer that a delivery is owed when a dialogue has ended. With none left, the dialogue is over. An answer that falls due
    /// meanwhile stands behind the others, so their order stays.
    pub fn next_answer_due(&self) -> Option<&'static str> {
        let mut dialogue = self.dialogue.lock();
        dialogue.expected = None;
        let word = dialogue.answers_due.pop_front();
        dialogue.is_open = word.is_some();
        word
    }

    /// No delivery is under way any more that could miss an answer.
    pub fn no_answer_due(&self) {
        self.dialogue.lock().last_answer = None;
        // Refused, an idle client wakes once a second for nothing.
        let _ = self.socket.set_read_timeout(None);
        self.answered.notify_all();
    }

    /// Ends the sending side: the server sees the end of the stream.
    pub fn finish(&self) {
        // Fails only if the server was faster.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Ends the connection, which wakes the receiving thread.
    pub fn shut(&self) {
        // As above.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// Seals and frames a text that is sent at once.
pub(super) fn seal(key: &Key, text: &str) -> Vec<u8> {
    let token = key.seal(text.as_bytes());
    watch::goes(SERVER, token.len(), watch::kind(text.as_bytes()));
    frame::encode(token.as_bytes())
}

fn send(mut socket: &TcpStream, frame: &[u8]) -> Result<(), WireError> {
    socket.write_all(frame).map_err(WireError::Io)
}

/// The next text that may be the step of joining which is due, and its stamp; what cannot be is shown. With a secret nothing else may come, and `plain` is
/// the key of a plain server: what only that opens is refused, and serves to say why.
fn next_step(
    frames: &mut FrameReader<Incoming>,
    key: &Key,
    plain: Option<&Key>,
    shared: &Shared,
    step: &'static str,
    is_step: &dyn Fn(&str) -> bool,
) -> Result<(String, u64), ClientError> {
    loop {
        let token = frames
            .next_frame(&|token| key.opens(token))
            .and_then(|token| token.ok_or(WireError::CutOff));
        let token = token.map_err(|error| late(step, error))?;
        let (text, is_plain) = match (key.open(&token), plain.map(|plain| plain.open(&token))) {
            (Ok(text), _) => (text, false),
            (Err(_), Some(Ok(text))) => (text, true),
            _ => return Err(WireError::NotOpened.into()),
        };
        watch::came(SERVER, token.len(), &text);
        let text = String::from_utf8(text).map_err(|_| WireError::NotUtf8)?;
        match refusal(&text) {
            Some(refused) => return Err(refused.into()),
            None if is_plain => return Err(ClientError::NoSecretThere),
            None if is_step(&text) => return Ok((text, stamp_of(&token).unwrap_or(0))),
            None if plain.is_some() => return Err(WireError::NotTheStep(step).into()),
            None => show_text(shared, &text, SaidAt::Now),
        }
    }
}

/// What it means that the stream failed where this step of joining was due.
fn late(step: &'static str, error: WireError) -> ClientError {
    match error {
        WireError::Io(error) if is_late(&error) => ClientError::NoAnswer(step),
        WireError::CutOff => ClientError::NotAChat,
        other => ClientError::Lost(other),
    }
}
