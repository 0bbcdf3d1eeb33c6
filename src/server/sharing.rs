//! Sharing a file: the one dialogue with a body in it.
//!
//! The body is taken off the stream whatever becomes of it, because a Python client sends it in any case and the stream must stay in step.
//! On its way it is stored and verified; only then is it offered, to every other member online. What becomes of the offers is the turns'.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, info};

use super::client::{Delivery, Failure, Receipt};
use super::group::Refusal;
use super::sealed_frame::sealed_frame;
use super::session::Session;
use super::spool::{self, Body, SpoolError};
use super::turn::Offer;
use crate::net::deadlines::Awaited;
use crate::net::departure::Departure;
use crate::seal::token_len;
use crate::wire::command::{self, BODY_END, Command, Dialect, FILE_ERROR, RECEIVE_FILE, SEND_FILE};
use crate::wire::frame::{BODY_STEP, Piece, WireError};
use crate::wire::name::FileName;
use crate::wire::size;

/// How long an upload may stand still before its client is put out: until then it keeps room in the spool from others.
const MORE_TIME: Duration = Duration::from_secs(60);

impl<R: Read> Session<'_, R> {
    pub(super) fn file_transfer(&mut self) -> Result<(), Departure> {
        let answer = self.next_answer()?;
        if answer == FILE_ERROR {
            return Ok(());
        }
        let file = FileName::from_peer(&answer);
        let longest = token_len(self.shared.max_file);
        self.reply(match self.client.dialect {
            Dialect::Python => SEND_FILE.to_owned(),
            Dialect::Fernchat => format!("{SEND_FILE} {longest}"),
        });
        let length: u64 = self
            .next_answer()?
            .parse()
            .map_err(|_| WireError::NotTheStep("the length of a body"))?;
        let result = match self.store(length, longest)? {
            _ if length == 0 => format!("{file} was not shared."),
            Ok(body) => self
                .share(&file, body)
                .unwrap_or_else(|refusal| refusal.to_string()),
            Err(error) => format!("{file} was not shared: {error}."),
        };
        self.reply(result);
        Ok(())
    }

    /// Takes the `length` bytes of a body off the stream, whatever becomes of them, and stores them. A client that gives up on it says
    /// so inside the body; what it says next is a frame, which no piece of a body goes beyond.
    fn store(&mut self, length: u64, longest: u64) -> Result<Result<Body, SpoolError>, Departure> {
        let shared = self.shared;
        let mut stored = if length > longest {
            Err(SpoolError::TooLarge {
                limit: shared.max_file,
            })
        } else {
            shared.spool.begin(&shared.key)
        };
        let mut piece = vec![0; BODY_STEP];
        let mut left = length;
        while left > 0 {
            self.client.outbox().expect(Awaited::More, MORE_TIME);
            match self
                .incoming
                .frames
                .next_piece(left, &mut piece, &|token| shared.key.opens(token))?
            {
                Piece::Body(n) => {
                    left = if piece[..n].contains(&BODY_END) {
                        0
                    } else {
                        left - n as u64
                    };
                    let written = stored
                        .as_mut()
                        .map_or(Ok(()), |body| body.write(&piece[..n]));
                    if let Err(error) = written {
                        stored = Err(error);
                    }
                }
                Piece::Frame(token) => match Command::parse(&self.incoming.open(&token)?) {
                    Some(command) => self.hold(command)?,
                    None => debug!(
                        "{} sent a frame inside a body that is no command",
                        self.client.name
                    ),
                },
            }
        }
        self.client.outbox().expect_no_more(Awaited::More);
        Ok(stored.and_then(spool::Incoming::finish))
    }

    /// Offers a body to every other member online. Returns the result in words, which begin with the file's name.
    fn share(&self, file: &FileName, body: Body) -> Result<String, Refusal> {
        let shared = self.shared;
        let (key, uploader) = (&shared.key, &self.client);
        let length = sealed_frame(key, body.token_len().to_string());
        let name = sealed_frame(key, file.as_str());
        let ask_python = sealed_frame(key, RECEIVE_FILE);
        let ask_fernchat = sealed_frame(key, format!("{RECEIVE_FILE} {}", uploader.name));
        let file_size = size::in_words(body.token_len() / 4 * 3);
        let too_large = sealed_frame(
            key,
            command::notice(format!(
                "{} shared {file} ({file_size}), too large for this program.",
                uploader.name
            )),
        );
        let is_too_large = shared
            .python_file_limit
            .is_some_and(|limit| body.token_len() > token_len(limit));
        let body = Arc::new(body);

        let (mut n_offered, mut n_told) = (0, 0);
        let group = self.group.lock();
        for client in group.others(uploader)? {
            if client.dialect == Dialect::Python && is_too_large {
                client.hear(too_large.clone());
                n_told += 1;
                continue;
            }
            let ask = match client.dialect {
                Dialect::Python => ask_python.clone(),
                Dialect::Fernchat => ask_fernchat.clone(),
            };
            let failure = Failure {
                uploader: Arc::downgrade(uploader),
                receiver: client.name.clone(),
                file: file.clone(),
            };
            let receipt = Receipt::new(Arc::clone(&shared.failures), failure);
            let delivery = Delivery {
                length: length.clone(),
                body: Arc::clone(&body),
                receipt,
            };
            // An offer that comes back is dropped, and reported by its receipt.
            if client
                .offer(Offer::new(ask, name.clone(), Box::new(delivery)))
                .is_none()
            {
                n_offered += 1;
            }
        }
        drop(group);
        info!(
            "{} shares a file of {} bytes with {n_offered} members",
            uploader.name,
            body.token_len()
        );
        let members = if n_offered == 1 { "member" } else { "members" };
        let told = match n_told {
            0 => String::new(),
            n => format!("; {n} more cannot receive a file of this size and were told"),
        };
        Ok(format!(
            "{file} is on its way to {n_offered} {members}{told}."
        ))
    }
}
