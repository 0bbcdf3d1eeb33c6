//! Uploads: bodies that come from a client.
//!
//! A Python client uploads in a dialogue. It sends its body even if the server refuses it. So a body that is refused is taken off the stream,
//! too, and dropped: both ends stay in sync. Frames that land inside the body are commands typed ahead.
//!
//! A fernchat client offers a file, and sends the body when the server wants it ([`transfer`](crate::wire::transfer)). Meanwhile it goes
//! on with everything else: whatever reads a frame takes the pieces of the body on the way ([`Session::frame_text`]).
//! What comes goes into a [share](super::share).

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::download::Outcome;
use super::refusal::Refusal;
use super::session::{EarlyEnd, Session};
use super::share::{LastUpload, Offers, Share, Slot};
use super::spool::SpoolError;
use crate::net::deadlines::Awaited;
use crate::net::departure::Departure;
use crate::seal::token_len;
use crate::wire::command::{BODY_END, Dialect, FILE_ERROR, HAVE_FILE, SEND_FILE, STOP_FILE};
use crate::wire::frame::{BODY_STEP, Piece, WireError};
use crate::wire::name::{FileName, UserName};
use crate::wire::transfer::{FileOffer, about_file};

/// How long an upload may stand still before its client is disconnected. Until then it keeps space in the spool from others.
const PROGRESS_LIMIT: Duration = Duration::from_secs(60);

/// A longer body is offered before it is whole, in bytes.
const EARLY_LEN: u64 = 1 << 20;

/// Why an upload is stopped when all who were offered the file have declined it, or could not take it.
const UNWANTED: &str = "nobody takes it any more";

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
    /// Why the file is not shared, if that is so and the client does not know it.
    failure: Option<SpoolError>,
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
        let share = self.begin_share(file.clone(), "", length);
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
        let share = match self.kept(offer.id) {
            Some(Err(result)) => return self.reply(format!("{HAVE_FILE} {} {result}", offer.id)),
            Some(Ok(share)) if share.upload.body().token_len() == offer.len => Ok(share),
            _ => self.begin_share(file.clone(), offer.who, offer.len),
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

    /// What has come of an upload of this user, also over a connection that is dead and does not know it yet; or its result, if it is over.
    fn kept(&self, id: &str) -> Option<Result<Share, String>> {
        let mut group = self.group.lock();
        let kept = group.member_of(&self.client)?.upload.as_ref();
        let kept = kept.filter(|kept| kept.id == id)?;
        if let Some(result) = &kept.result {
            return Some(Err(result.clone()));
        }
        let slot = Arc::clone(&kept.slot);
        drop(group);
        let share = slot.lock().take()?;
        Some(Ok(share))
    }

    /// The member's last upload is this one from now on. The one before ends.
    pub(crate) fn replace_upload(&self, mut upload: Option<LastUpload>) {
        if let Some(member) = self.group.lock().member_of(&self.client) {
            std::mem::swap(&mut member.upload, &mut upload);
        }
    }

    /// Begins to share a file, with everybody or with one member.
    fn begin_share(&self, file: FileName, to: &str, len: u64) -> Result<Share, SpoolError> {
        let (shared, group, client) = (self.shared, &self.group, &self.client);
        let limit = shared.settings.max_file;
        if len > token_len(limit) {
            return Err(SpoolError::TooLarge { limit });
        }
        let to = match to {
            "" => None,
            name => Some(UserName::parse(name).map_err(Refusal::from)?),
        };
        if let Some(name) = &to {
            let receiver = group.lock().client_of(name);
            receiver.ok_or_else(|| Refusal::NotThere(name.clone()))?;
        }
        let upload = shared.spool.begin(&shared.key, client.source, len)?;
        let mut offers = Offers::new(shared, group, client, (file, to), len);
        if len > EARLY_LEN {
            offers.offer_to(Dialect::Fernchat, group, client, upload.body())?;
        }
        Ok(Share { offers, upload })
    }

    /// All bytes of a file have come. Returns the result in words.
    fn finish_share(&self, share: Share) -> Result<String, SpoolError> {
        let Share { mut offers, upload } = share;
        if let Err(refusal) = self.client.check_member() {
            upload.fail("its sender is no member any more");
            return Err(refusal.into());
        }
        let body = upload.finish()?;
        Ok(offers.offer_whole(&self.group, &self.client, &body)?)
    }

    /// So many bytes of a body are due. If the file is refused, they are dropped.
    fn expect_body(
        &mut self,
        id: &str,
        file: FileName,
        left: u64,
        share: Result<Share, SpoolError>,
    ) {
        let have = share.as_ref().map_or(0, |share| share.upload.n_arrived);
        let (share, failure) = match share {
            Ok(share) => (Some(share), None),
            Err(error) => (None, Some(error)),
        };
        let slot = Slot::new(Mutex::new(share));
        self.replace_upload(Some(LastUpload::new(id, &slot, None)));
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
        let n = match self.inbox.piece(incoming.left, &mut incoming.piece)? {
            Piece::Frame(token) => return Ok(Some(self.inbox.open(&token)?)),
            Piece::Body(n) => n,
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
                Err(error) => match self.client.dialect {
                    Dialect::Python => incoming.failure = Some(error),
                    Dialect::Fernchat => self.client.reply_stop(&incoming.id, error),
                },
            }
        }
        let is_unwanted = slot.as_ref().is_some_and(Share::is_unwanted);
        // A group is never locked under a slot: a member that is removed ends its upload.
        drop(slot);
        if incoming.left == 0 {
            self.end_body();
        } else if is_unwanted
            && self
                .group
                .lock()
                .has_no_other(&self.client, Dialect::Python)
        {
            let share = incoming.slot.lock().take();
            share.inspect(|share| share.upload.fail(UNWANTED));
            self.client.reply_stop(&incoming.id, UNWANTED);
        }
        Ok(None)
    }

    /// The body has come to its end. Its client gets the result.
    fn end_body(&mut self) {
        let Some(incoming) = self.incoming.take() else {
            return;
        };
        self.client.outbox.expect_no_more(Awaited::Progress);
        let account = self.client.outbox.account();
        account.release(incoming.piece.len());
        let is_python = self.client.dialect == Dialect::Python;
        let share = incoming.slot.lock().take();
        let result = match (share, incoming.failure) {
            (Some(share), None) => self.finish_share(share),
            (_, Some(failure)) => Err(failure),
            // Its member was kicked.
            (None, None) if is_python => Err(Refusal::NotMember.into()),
            // The client knows, or goes on over another connection.
            (None, None) => return,
        };
        let (id, file) = (incoming.id, incoming.file);
        match result {
            Ok(text) if is_python => self.reply_result(text),
            Ok(text) => {
                self.reply(format!("{HAVE_FILE} {id} {text}"));
                let upload = LastUpload::new(&id, &incoming.slot, Some(text));
                self.replace_upload(Some(upload));
            }
            Err(SpoolError::Refused(refusal)) if is_python => {
                self.reply_result(refusal.to_string());
            }
            Err(error) if is_python => {
                self.reply_result(format!("{file} was not shared: {error}."));
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
            self.client.ends_file(id, Outcome::Has);
        } else if let Some((id, reason)) = about_file(STOP_FILE, text) {
            // What has come of its own upload is not needed any more, or a file is not wanted.
            match self.kept(id) {
                Some(Ok(share)) => share.upload.fail("its sender stopped it"),
                _ if reason.is_empty() => self.client.ends_file(id, Outcome::Declined),
                _ => self.client.ends_file(id, Outcome::Failed(reason.into())),
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
