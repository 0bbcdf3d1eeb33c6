//! The inbox: what one client sends, frame by frame, and opened.

use std::io::Read;
use std::sync::Arc;

use super::client::Client;
use crate::net::departure::Departure;
use crate::net::outbox::Outbox;
use crate::seal::Key;
use crate::wire::frame::{FrameReader, MAX_FRAME, MAX_GREETING_FRAME, MAX_TEXT, Piece, WireError};
use crate::wire::watch;

/// The frames of one client.
pub(crate) struct Inbox<'a, R> {
    frames: FrameReader<R>,
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
            frames: FrameReader::new(stream, MAX_GREETING_FRAME),
            key,
            outbox: Arc::clone(outbox),
            who,
            client: None,
        }
    }

    /// The client has said who it is, and the log calls it by name.
    pub(crate) fn settle(&mut self, client: &Arc<Client>) {
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
        let opens = |token: &[u8]| self.key.opens(token);
        let frame = match self.frames.next_frame(&opens) {
            // A client that waited may have become a member since it was asked last.
            Err(WireError::TooLong { .. }) if self.is_member() => {
                self.frames.allow(MAX_FRAME);
                self.frames.next_frame(&opens)
            }
            result => result,
        };
        frame?.ok_or(Departure::HungUp)
    }

    fn is_member(&self) -> bool {
        let client = self.client.as_ref();
        client.is_some_and(|client| client.check_member().is_ok())
    }

    /// The next piece of a body, of which `left` bytes are due.
    pub(crate) fn piece(&mut self, left: u64, piece: &mut [u8]) -> Result<Piece, Departure> {
        // Only a member sends bodies. A frame inside one may be long.
        self.frames.allow(MAX_FRAME);
        let opens = |token: &[u8]| self.key.opens(token);
        Ok(self.frames.next_piece(left, piece, &opens)?)
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

impl From<WireError> for Departure {
    fn from(error: WireError) -> Departure {
        match error {
            WireError::CutOff | WireError::Io(_) => Departure::HungUp,
            broken => Departure::Broke(broken.to_string()),
        }
    }
}
