//! Uploads: the one dialogue with a body in it.
//!
//! The session takes the body off the stream and stores it in the spool. A Python client sends its body even if the server refuses it. So a
//! body that is refused is taken off the stream, too, and dropped: both ends stay in sync.
//! The stored file is then offered to the other members ([`super::download`]).

use std::io::Read;
use std::time::Duration;

use log::debug;

use super::download::offer_to_others;
use super::session::{EarlyEnd, Session};
use super::spool::{Body, SpoolError, Upload};
use crate::net::deadlines::Awaited;
use crate::net::departure::Departure;
use crate::seal::token_len;
use crate::wire::command::{BODY_END, Dialect, FILE_ERROR, SEND_FILE};
use crate::wire::frame::{Piece, WireError};
use crate::wire::name::FileName;

/// How long an upload may stand still before its client is disconnected. Until then it keeps space in the spool from others.
const PROGRESS_LIMIT: Duration = Duration::from_secs(60);

impl<R: Read> Session<'_, R> {
    pub(crate) fn file_transfer(&mut self) -> Result<(), EarlyEnd> {
        let answer = self.next_answer()?;
        if answer == FILE_ERROR {
            return Ok(());
        }
        let file = FileName::from_peer(&answer);
        let limit = self.shared.settings.max_file;
        self.reply(match self.client.dialect {
            Dialect::Python => SEND_FILE.to_owned(),
            Dialect::Fernchat => format!("{SEND_FILE} {}", token_len(limit)),
        });
        let no_step = |_| Departure::from(WireError::NotTheStep("the length of a body"));
        let length: u64 = self.next_answer()?.parse().map_err(no_step)?;
        let result = match self.store(length, limit)? {
            _ if length == 0 => format!("{file} was not shared."),
            Ok(body) => offer_to_others(self.shared, &self.group, &self.client, &file, body)?,
            Err(error) => format!("{file} was not shared: {error}."),
        };
        self.reply(result);
        Ok(())
    }

    /// Takes the `length` bytes of a body off the stream, and stores them if the file is not above the limit. A client that gives up sends
    /// [`BODY_END`] inside the body. Frames that land inside the body are commands typed ahead.
    fn store(&mut self, length: u64, limit: u64) -> Result<Result<Body, SpoolError>, Departure> {
        let mut stored = if length > token_len(limit) {
            Err(SpoolError::TooLarge { limit })
        } else {
            let source = self.client.source;
            self.shared.spool.begin(&self.shared.key, source)
        };
        let account = self.client.outbox.account();
        let mut piece = vec![0; self.client.file_step()];
        account.hold(piece.len());
        let mut left = length;
        while left > 0 {
            self.client.outbox.expect(Awaited::Progress, PROGRESS_LIMIT);
            match self.inbox.piece(left, &mut piece)? {
                Piece::Body(n) if piece[..n].contains(&BODY_END) => left = 0,
                Piece::Body(n) => {
                    left -= n as u64;
                    stored = stored.and_then(|upload| upload.write(&piece[..n]));
                }
                Piece::Frame(token) => match self.command(&self.inbox.open(&token)?) {
                    Some(command) => self.hold(command)?,
                    None => debug!("{}: a frame inside a body that is no command", self.client),
                },
            }
        }
        self.client.outbox.expect_no_more(Awaited::Progress);
        self.client.outbox.account().release(piece.len());
        Ok(stored.and_then(Upload::finish))
    }
}

#[cfg(test)]
#[path = "tests/files.rs"]
mod tests;
