//! Sharing a file: the one dialogue with a body in it.
//!
//! The body is taken off the stream whatever becomes of it, because a Python client sends it in any case and the stream must stay in step.
//! On its way it is stored and verified; only then is it offered, to every other member online. What becomes of the offers is the turns'.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, info};

use super::group::Refusal;
use super::seat::{Delivery, Failure, Receipt, seal};
use super::session::Session;
use super::spool::{self, Body, SpoolError};
use super::turn::{Frames, Offer};
use crate::net::departure::Departure;
use crate::seal::token_len;
use crate::terminal::style::size;
use crate::wire::command::{self, BODY_END, Command, FILE_ERROR, Peer, RECEIVE_FILE, SEND_FILE};
use crate::wire::frame::{BODY_STEP, Piece, WireError};
use crate::wire::name::FileName;

/// How long an upload may stand still before its client is put out: until then it keeps room in the spool from others.
const MORE_TIME: Duration = Duration::from_secs(60);

impl<R: Read> Session<'_, R> {
    pub(super) fn file_transfer(&mut self) -> Result<(), Departure> {
        let answer = self.next_answer()?;
        if answer == FILE_ERROR {
            return Ok(());
        }
        let file = FileName::from_peer(&answer);
        let longest = token_len(self.house.max_file);
        self.reply(match self.seat.peer {
            Peer::Python => SEND_FILE.to_owned(),
            Peer::Fernchat => format!("{SEND_FILE} {longest}"),
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
        let house = self.house;
        let mut stored = if length > longest {
            Err(SpoolError::TooLarge {
                limit: house.max_file,
            })
        } else {
            house.spool.begin(&house.key)
        };
        let mut piece = vec![0; BODY_STEP];
        let mut left = length;
        while left > 0 {
            self.seat.outbox().expect_more(Some(MORE_TIME));
            match self
                .incoming
                .frames
                .next_piece(left, &mut piece, &|token| house.key.opens(token))?
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
                        self.seat.name
                    ),
                },
            }
        }
        self.seat.outbox().expect_more(None);
        Ok(stored.and_then(spool::Incoming::finish))
    }

    /// Offers a body to every other member online. Returns the result in words, which begin with the file's name.
    fn share(&self, file: &FileName, body: Body) -> Result<String, Refusal> {
        let house = self.house;
        let (key, uploader) = (&house.key, &self.seat);
        let length = seal(key, body.token_len().to_string());
        let name = seal(key, file.as_str());
        let ask_python = seal(key, RECEIVE_FILE);
        let ask_fernchat = seal(key, format!("{RECEIVE_FILE} {}", uploader.name));
        let file_size = size(body.token_len() / 4 * 3);
        let too_large = seal(
            key,
            command::notice(format!(
                "{} shared {file} ({file_size}), too large for this program.",
                uploader.name
            )),
        );
        let is_too_large = house
            .python_file_limit
            .is_some_and(|limit| body.token_len() > token_len(limit));
        let body = Arc::new(body);

        let (mut n_offered, mut n_told) = (0, 0);
        let group = self.group.lock();
        for seat in group.others(uploader)? {
            if seat.peer == Peer::Python && is_too_large {
                seat.hear(Frames::clone(&too_large));
                n_told += 1;
                continue;
            }
            let ask = match seat.peer {
                Peer::Python => Frames::clone(&ask_python),
                Peer::Fernchat => Frames::clone(&ask_fernchat),
            };
            let failure = Failure {
                uploader: Arc::downgrade(uploader),
                receiver: seat.name.clone(),
                file: file.clone(),
            };
            let receipt = Receipt::new(Arc::clone(&house.failures), failure);
            let delivery = Delivery {
                length: Frames::clone(&length),
                body: Arc::clone(&body),
                receipt,
            };
            // An offer that comes back is dropped, and reported by its receipt.
            if seat
                .offer(Offer::new(ask, Frames::clone(&name), Box::new(delivery)))
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
