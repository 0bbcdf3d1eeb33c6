//! Uploads: bodies that come from a client.
//!
//! A Python client uploads in a dialogue. It sends its body even if the server refuses it. So a body that is refused is taken off the stream,
//! too, and dropped: both ends stay in sync. Frames that land inside the body are commands typed ahead.
//!
//! A fernchat client offers a file, and sends the body when the server wants it ([`transfer`](crate::wire::transfer)). Meanwhile it goes
//! on with everything else: whatever reads a frame takes the pieces of the body on the way ([`Session::frame_text`]).
//! What comes goes into a [share](super::share).

use std::io::Read;
use std::time::Duration;

use super::refusal::Refusal;
use super::session::{EarlyEnd, Session};
use super::share::{Share, ShareError, Slot};
use crate::net::deadlines::Awaited;
use crate::net::departure::Departure;
use crate::wire::command::{BODY_END, Dialect, FILE_ERROR, HAVE_FILE, SEND_FILE, STOP_FILE};
use crate::wire::frame::{BODY_STEP, Piece, WireError};
use crate::wire::name::{FileName, UserName};
use crate::wire::transfer::{FileOffer, about_file};

/// How long an upload may stand still before its client is disconnected. Until then it keeps space in the spool from others.
const PROGRESS_LIMIT: Duration = Duration::from_secs(60);

/// How many bytes an old machine seals in a second.
const SEALED_IN_A_SECOND: u64 = 10_000_000;

/// A body that is due.
pub(crate) struct Incoming {
    /// How a fernchat client calls it.
    id: String,
    file: FileName,
    /// How many bytes are still to come.
    left: u64,
    piece: Vec<u8>,
    pub slot: Slot,
    /// Why the file is not shared, if that is so already.
    failure: Option<String>,
}

impl<R: Read> Session<'_, R> {
    /// The dialogue of a Python client.
    pub(crate) fn file_transfer(&mut self) -> Result<(), EarlyEnd> {
        let answer = self.next_answer()?;
        if answer == FILE_ERROR {
            return Ok(());
        }
        let file = FileName::from_peer(&answer);
        self.reply(SEND_FILE);
        let no_step = |_| Departure::from(WireError::NotTheStep("the length of a body"));
        let length: u64 = self.next_answer()?.parse().map_err(no_step)?;
        if length == 0 {
            self.reply_result(format!("{file} was not shared."));
            return Ok(());
        }
        let what = (file.clone(), None);
        let share = Share::begin(self.shared, &self.group, &self.client, what, length);
        self.expect_body("", file, length, share);
        while self.incoming.is_some() {
            if let Some(text) = self.next_in_body()? {
                if let Some(command) = self.command(&text) {
                    self.hold(command)?;
                }
            }
        }
        Ok(())
    }

    /// A fernchat client offers a file.
    fn begin_upload(&mut self, offer: FileOffer) {
        let file = FileName::from_peer(offer.name);
        if self.incoming.is_some() {
            let reason = "another file is on its way; one at a time";
            return self.client.reply_stop(offer.id, reason);
        }
        let (shares, by) = (&self.shared.shares, &self.client.name);
        if let Some(result) = shares.result(&self.group_name, by, offer.id) {
            return self.reply(format!("{HAVE_FILE} {} {result}", offer.id));
        }
        let kept = shares.take_up(&self.group_name, by, offer.id);
        let share = match kept.filter(|kept| kept.upload.body().token_len() == offer.len) {
            Some(share) => Ok(share),
            None => self.begin_share(file.clone(), offer),
        };
        match share {
            Err(error) => self.client.reply_stop(offer.id, error),
            Ok(share) => {
                let have = share.upload.n_arrived;
                self.reply(format!("{SEND_FILE} {} {have}", offer.id));
                self.expect_body(offer.id, file, offer.len - have, Ok(share));
            }
        }
    }

    fn begin_share(&self, file: FileName, offer: FileOffer) -> Result<Share, ShareError> {
        let to = match offer.who {
            "" => None,
            who => Some(UserName::parse(who).map_err(Refusal::from)?),
        };
        Share::begin(
            self.shared,
            &self.group,
            &self.client,
            (file, to),
            offer.len,
        )
    }

    /// So many bytes of a body are due. If the file is refused, they are dropped.
    fn expect_body(
        &mut self,
        id: &str,
        file: FileName,
        left: u64,
        share: Result<Share, ShareError>,
    ) {
        let (shares, by) = (&self.shared.shares, &self.client.name);
        let have = share.as_ref().map_or(0, |share| share.upload.n_arrived);
        let (slot, failure) = match share {
            Ok(share) => (shares.enter(&self.group_name, by, id, share), None),
            Err(error) => (Slot::default(), Some(error.to_string())),
        };
        let account = self.client.outbox.account();
        let piece = vec![0; account.memory.share(2 * BODY_STEP) / 2];
        account.hold(piece.len());
        // A client that goes on seals again what it has sent before.
        let limit = PROGRESS_LIMIT + Duration::from_secs(have / SEALED_IN_A_SECOND);
        self.client.outbox.expect(Awaited::Progress, limit);
        self.incoming = Some(Incoming {
            id: id.to_owned(),
            file,
            left,
            piece,
            slot,
            failure,
        });
        if left == 0 {
            self.end_body();
        }
    }

    /// The text of the next frame. What comes of a body before it is stored.
    pub(crate) fn frame_text(&mut self) -> Result<String, Departure> {
        while self.incoming.is_some() {
            if let Some(text) = self.next_in_body()? {
                return Ok(text);
            }
        }
        self.inbox.text()
    }

    /// Takes a piece of the body that is due, or returns the text of a frame that comes inside it.
    fn next_in_body(&mut self) -> Result<Option<String>, Departure> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(None);
        };
        match self.inbox.piece(incoming.left, &mut incoming.piece)? {
            Piece::Frame(token) => return Ok(Some(self.inbox.open(&token)?)),
            Piece::Body(n) => self.take_piece(n),
        }
        Ok(None)
    }

    fn take_piece(&mut self, n: usize) {
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        self.client.outbox.expect(Awaited::Progress, PROGRESS_LIMIT);
        let piece = &incoming.piece[..n];
        incoming.left -= n as u64;
        let mut slot = incoming.slot.lock();
        if self.client.dialect == Dialect::Fernchat && piece.contains(&BODY_END) {
            incoming.left = 0;
            if let Some(share) = slot.take() {
                share.upload.fail("its sender stopped it");
            }
        } else if let Some(Share { offers, upload }) = slot.take() {
            match upload.write(piece) {
                Ok(upload) => *slot = Some(Share { offers, upload }),
                Err(error) => {
                    let failure = incoming.failure.insert(error.to_string());
                    if self.client.dialect == Dialect::Fernchat {
                        self.client.reply_stop(&incoming.id, failure);
                    }
                }
            }
        }
        drop(slot);
        if incoming.left == 0 {
            self.end_body();
        }
    }

    /// The body has come to its end. Its client gets the result.
    fn end_body(&mut self) {
        let Some(incoming) = self.incoming.take() else {
            return;
        };
        let Incoming {
            id,
            file,
            piece,
            slot,
            failure,
            ..
        } = incoming;
        self.client.outbox.expect_no_more(Awaited::Progress);
        self.client.outbox.account().release(piece.len());
        let share = self.shared.shares.end(&slot);
        let is_python = self.client.dialect == Dialect::Python;
        let result = match (share, failure) {
            (Some(share), None) => share.finish(self.shared, &self.group, &self.client),
            (_, Some(failure)) if is_python => {
                return self.reply_result(format!("{file} was not shared: {failure}."));
            }
            // The client knows.
            _ => return,
        };
        match result {
            Ok(text) if is_python => self.reply_result(text),
            Ok(text) => {
                let (shares, by) = (&self.shared.shares, &self.client.name);
                shares.note_result(&self.group_name, by, &id, &text);
                self.reply(format!("{HAVE_FILE} {id} {text}"));
            }
            Err(ShareError::Refusal(refusal)) if is_python => {
                self.reply_result(refusal.to_string())
            }
            Err(error) if is_python => {
                self.reply_result(format!("{file} was not shared: {error}."))
            }
            Err(error) => self.client.reply_stop(&id, error),
        }
    }

    /// Does what a word about a file asks for. `false`: the text is no such word.
    pub(crate) fn file_word(&mut self, text: &str) -> Result<bool, Departure> {
        if let Some(offer) = FileOffer::parse(text) {
            self.begin_upload(offer);
        } else if let Some((id, have)) = about_file(SEND_FILE, text) {
            self.client.wants_file(id, have)?;
        } else if let Some((id, _)) = about_file(HAVE_FILE, text) {
            self.client.has_file(id);
        } else if let Some((id, reason)) = about_file(STOP_FILE, text) {
            // What has come of its own upload is not needed any more, or a file is not wanted.
            let (shares, by) = (&self.shared.shares, &self.client.name);
            match shares.take_up(&self.group_name, by, id) {
                Some(share) => share.upload.fail("its sender stopped it"),
                None => self.client.stops_file(id, reason),
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
#[path = "tests/files.rs"]
mod tests;
