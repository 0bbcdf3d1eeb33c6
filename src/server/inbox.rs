//! The inbox: what one client sends, frame by frame, and opened.

use std::io::{self, Read};
use std::sync::Arc;

use super::client::Client;
use crate::net::departure::Departure;
use crate::net::outbox::Outbox;
use crate::seal::Key;
use crate::wire::frame::{FrameReader, MAX_FRAME, MAX_GREETING_FRAME, MAX_TEXT, Piece, WireError};
use crate::wire::watch;

/// The frames of one client.
pub(crate) struct Inbox<'a, R> {
    frames: FrameReader<Meter<R>>,
    key: &'a Key,
    outbox: Arc<Outbox>,
    /// What the log calls the client.
    who: String,
    /// The client, when it has said who it is.
    client: Option<Arc<Client>>,
}

impl<'a, R: Read> Inbox<'a, R> {
    /// The inbox of a client that is joining. Until it is a member, it may send short frames only.
    pub(crate) fn new(stream: R, key: &'a Key, outbox: &Arc<Outbox>, who: String) -> Inbox<'a, R> {
        Inbox {
            frames: FrameReader::new(
                Meter {
                    stream,
                    outbox: Arc::clone(outbox),
                    n_read: 0,
                    n_held: 0,
                },
                MAX_GREETING_FRAME,
            ),
            key,
            outbox: Arc::clone(outbox),
            who,
            client: None,
        }
    }

    /// The client has said who it is, and the log calls it by name.
    pub(crate) fn introduced(&mut self, client: &Arc<Client>) {
        self.who = client.to_string();
        self.client = Some(Arc::clone(client));
    }

    /// The text of the next frame.
    pub(crate) fn text(&mut self) -> Result<String, Departure> {
        let token = self.token()?;
        self.open(&token)
    }

    /// The token of the next frame.
    pub(crate) fn token(&mut self) -> Result<Vec<u8>, Departure> {
        if !self.frames.has_frame() {
            // Before this thread waits for more, everything that it has caused goes out.
            self.outbox.flush();
        }
        self.count_anew();
        let opens = |token: &[u8]| self.key.opens(token);
        let is_member = |client: &Arc<Client>| client.check_member().is_ok();
        let frame = match self.frames.next_frame(&opens) {
            // A client that waited may have become a member since it was asked last.
            Err(WireError::TooLong { .. }) if self.client.as_ref().is_some_and(is_member) => {
                self.frames.allow(MAX_FRAME);
                self.frames.next_frame(&opens)
            }
            result => result,
        };
        frame?.ok_or(Departure::HungUp)
    }

    /// The next piece of a body, of which `left` bytes are due.
    pub(crate) fn piece(&mut self, left: u64, piece: &mut [u8]) -> Result<Piece, Departure> {
        if self.frames.n_held() == 0 {
            self.outbox.flush();
        }
        self.count_anew();
        // Only a member sends bodies. A frame inside one may be long.
        self.frames.allow(MAX_FRAME);
        let opens = |token: &[u8]| self.key.opens(token);
        let piece = self.frames.next_piece(left, piece, &opens)?;
        // What is in the caller's buffer, the caller counts.
        self.count_anew();
        Ok(piece)
    }

    /// What was returned has been used. The rest still counts.
    fn count_anew(&mut self) {
        let n_held = self.frames.n_held();
        self.frames.stream().count(n_held);
    }

    /// Opens a token.
    pub(crate) fn open(&self, token: &[u8]) -> Result<String, Departure> {
        let text = self.key.open(token).map_err(|_| WireError::NotOpened)?;
        watch::came(&self.who, token.len(), &text);
        if text.len() > MAX_TEXT {
            return Err(WireError::TextTooLong(text.len()).into());
        }
        String::from_utf8(text).map_err(|_| WireError::NotUtf8.into())
    }
}

/// A stream that counts what lies in memory of a long frame: what was read since the last frame, twice for the space that a growing buffer
/// takes.
struct Meter<R> {
    stream: R,
    outbox: Arc<Outbox>,
    n_read: usize,
    n_held: usize,
}

/// What may be read of a frame before it counts, in bytes.
const FREE_LEN: usize = 4 << 10;

impl<R> Meter<R> {
    /// This much lies in memory now.
    fn count(&mut self, n: usize) {
        let n_held = if n > FREE_LEN { 2 * n } else { 0 };
        self.outbox.account().change(self.n_held, n_held);
        (self.n_read, self.n_held) = (n, n_held);
    }
}

impl<R: Read> Read for Meter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.outbox.is_short() {
            // While the memory is used up, nothing more is read for a client for which much is held.
            self.outbox.wait_for_space();
        }
        let n = self.stream.read(buffer)?;
        self.count(self.n_read + n);
        Ok(n)
    }
}

impl From<WireError> for Departure {
    fn from(error: WireError) -> Departure {
        match error {
            WireError::CutOff | WireError::Io(_) => Departure::HungUp,
            broken => Departure::Broke(broken.to_string()),
        }
    }
}
