//! The inbox: what one client sends, frame by frame, and opened.

use std::fmt::Display;
use std::io::Read;
use std::sync::Arc;

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
}

impl<'a, R: Read> Inbox<'a, R> {
    /// The inbox of a client that is joining: it may send short frames only.
    pub(crate) fn new(stream: R, key: &'a Key, outbox: &Arc<Outbox>, who: String) -> Inbox<'a, R> {
        Inbox {
            frames: FrameReader::new(stream, MAX_GREETING_FRAME),
            key,
            outbox: Arc::clone(outbox),
            who,
        }
    }

    /// The client has said who it is: it may send long frames, and the log calls it by name.
    pub(crate) fn settle(&mut self, who: impl Display) {
        self.frames.allow(MAX_FRAME);
        self.who = who.to_string();
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
        self.frames
            .next_frame(&|token| self.key.opens(token))?
            .ok_or(Departure::HungUp)
    }

    /// The next piece of a body, of which `left` bytes are due.
    pub(crate) fn piece(&mut self, left: u64, piece: &mut [u8]) -> Result<Piece, Departure> {
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
