//! Deliveries: the files that are on their way to one fernchat client.
//!
//! ```text
//!            /sendFile ID HAVE           turn comes          last byte            /haveFile ID
//!   offered ──────────────────▶ wanted ────────────▶ sending ──────────▶ sent ──────────────────▶ gone
//!       └────────────────────────────────┴── /stopFile from either end ───┴──────────────────────▶ gone
//! ```
//!
//! One body is on its way at a time. The client's writer thread writes it piece by piece, and what else there is for the client goes between
//! the pieces. A body that is still being uploaded is read while it grows: the job waits in the spool for more.
//!
//! If the connection breaks, the group keeps the deliveries of a client that can join again, and offers them again to its next connection.
//! The lock is a leaf, as that of a turn: what is pushed is pushed under it.

use std::io::{self, Write};
use std::sync::Arc;

use super::client::Client;
use super::download::{Download, Outcome};
use super::frame::sealed_frame;
use super::spool::{SpoolError, Waiter};
use super::turn::MAX_OFFERS;
use crate::net::departure::Departure;
use crate::net::outbox::Job;
use crate::wire::command::{BODY_END, Dialect, SEND_FILE, STOP_FILE};
use crate::wire::frame::{PieceLen, WireError};

/// See the module's page.
#[derive(Default)]
pub(crate) struct Deliveries(Vec<Delivery>);

pub(crate) struct Delivery {
    download: Arc<Download>,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Offered,
    /// From this byte on.
    Wanted(u64),
    /// At most one. Its job takes it out if it was stopped.
    Sending,
    Sent,
}

impl Deliveries {
    fn find(&mut self, id: &str) -> Option<&mut Delivery> {
        let mut entries = self.0.iter_mut();
        entries.find(|entry| entry.download.file.id == id)
    }

    /// The clock has ticked. Returns those whose client takes too long to answer, and those that do not come and have not begun.
    pub(crate) fn tick(&mut self) -> Vec<Delivery> {
        let is_over = |Delivery { download, stage }: &Delivery| match stage {
            Stage::Offered => download.tick() || download.body.failure().is_some(),
            Stage::Wanted(_) => download.body.failure().is_some(),
            // Its job says so if the rest does not come.
            Stage::Sending => false,
            Stage::Sent => download.tick(),
        };
        let (over, left) = std::mem::take(&mut self.0).into_iter().partition(is_over);
        self.0 = left;
        over
    }
}

impl Client {
    /// Offers a file. `false`: too many are on their way already.
    pub(crate) fn offer(self: &Arc<Client>, download: Arc<Download>) -> bool {
        if self.dialect == Dialect::Python {
            return self.with_turn(|turn| turn.offer(download));
        }
        let mut deliveries = self.deliveries.lock();
        let has_space = deliveries.0.len() < MAX_OFFERS;
        if has_space {
            self.reply(&download.file.for_fernchat);
            deliveries.0.push(Delivery {
                download,
                stage: Stage::Offered,
            });
        }
        has_space
    }

    /// The client comes with what was on its way over its last connection.
    pub(crate) fn offer_again(self: &Arc<Client>, left: Deliveries) {
        for entry in left.0 {
            self.offer(entry.download);
        }
    }

    /// The connection is gone: takes what was on its way.
    pub(crate) fn take_deliveries(&self) -> Deliveries {
        let mut left = std::mem::take(&mut *self.deliveries.lock());
        left.0.retain(|entry| !entry.download.is_over());
        for entry in &mut left.0 {
            entry.stage = Stage::Offered;
            entry.download.waits_anew();
        }
        left
    }

    /// The client wants the body of a file from this byte on.
    pub(crate) fn wants_file(self: &Arc<Client>, id: &str, have: &str) -> Result<(), Departure> {
        let mut deliveries = self.deliveries.lock();
        let Some(entry) = deliveries.find(id) else {
            drop(deliveries);
            self.reply_stop(id, "it is not on offer any more");
            return Ok(());
        };
        let len = entry.download.body.token_len();
        let have = have.parse().ok().filter(|have| *have <= len);
        let have = have.ok_or(WireError::NotTheStep(
            "a place in the file that is on offer",
        ))?;
        if entry.stage == Stage::Offered {
            entry.stage = Stage::Wanted(have);
            self.send_next(&mut deliveries);
        }
        Ok(())
    }

    /// If no body is on its way, the next one begins.
    fn send_next(self: &Arc<Client>, deliveries: &mut Deliveries) {
        let mut entries = deliveries.0.iter();
        if entries.any(|entry| entry.stage == Stage::Sending) {
            return;
        }
        for entry in &mut deliveries.0 {
            if let Stage::Wanted(at) = entry.stage {
                entry.stage = Stage::Sending;
                let course = Course {
                    client: Arc::clone(self),
                    download: Arc::clone(&entry.download),
                    at,
                    piece_len: PieceLen::default(),
                };
                self.reply_text(format!("{SEND_FILE} {} {at}", course.download.file.id));
                return self.outbox.push_job(course.rest());
            }
        }
    }

    /// The client has the whole file, does not want it, or could not keep it. It may have it before the writer thread has noted that the last
    /// piece is written.
    pub(crate) fn ends_file(&self, id: &str, outcome: Outcome) {
        let mut deliveries = self.deliveries.lock();
        let Some(Delivery { download, stage }) = deliveries.find(id) else {
            return;
        };
        let (download, stage) = (Arc::clone(download), *stage);
        let has_begun = matches!(stage, Stage::Sending | Stage::Sent);
        if outcome == Outcome::Has && !has_begun {
            return;
        }
        if stage != Stage::Sending {
            deliveries.0.retain(|entry| entry.download.file.id != id);
        }
        drop(deliveries);
        download.ends(outcome);
        // If it is on its way, its job ends the body. It may be waiting for more.
        download.body.wake();
    }

    /// The body is not on its way any more.
    fn body_over(self: &Arc<Client>, id: &str, is_sent: bool) {
        let mut deliveries = self.deliveries.lock();
        match deliveries.find(id) {
            Some(entry) if is_sent && !entry.download.is_over() => {
                entry.stage = Stage::Sent;
                entry.download.waits_anew();
            }
            _ => deliveries.0.retain(|entry| entry.download.file.id != id),
        }
        self.send_next(&mut deliveries);
    }

    /// What takes too long, or does not come, is withdrawn. Called by the clock.
    pub(crate) fn withdraw_late(&self) {
        let over = self.deliveries.lock().tick();
        for Delivery { download, .. } in over {
            let (outcome, reason) = match download.body.failure() {
                Some(failure) => (Outcome::NotSent, failure),
                None => (
                    Outcome::Failed("no answer came for ten minutes".into()),
                    "you did not answer for ten minutes".into(),
                ),
            };
            download.ends(outcome);
            self.reply_stop(&download.file.id, reason);
        }
    }
}

/// The word that ends a transfer.
pub(crate) fn stop(id: &str, reason: impl std::fmt::Display) -> String {
    format!("{STOP_FILE} {id} {reason}")
}

/// A body on its way: where it is, and how long the next piece is.
struct Course {
    client: Arc<Client>,
    download: Arc<Download>,
    at: u64,
    piece_len: PieceLen,
}

impl Course {
    /// The job that writes what is left of the body.
    fn rest(self) -> Job {
        Job(Box::new(move |stream| self.go_on(stream)))
    }

    /// Writes the next piece. Returns the job for the rest, if there is a rest and more of it is there.
    fn go_on(mut self, stream: &mut dyn Write) -> io::Result<Option<Job>> {
        let (client, file) = (Arc::clone(&self.client), Arc::clone(&self.download.file));
        let id = &file.id;
        if self.at == self.download.body.token_len() {
            client.body_over(id, true);
            return Ok(None);
        }
        if self.download.is_over() {
            stream.write_all(&[BODY_END])?;
            client.body_over(id, false);
            return Ok(None);
        }
        let account = client.outbox.account();
        let mut piece = vec![0; account.memory.share(self.piece_len.next())];
        account.hold(piece.len());
        let read = self.download.body.read_at(&mut piece, self.at);
        let rest = match read {
            Ok(0) => {
                self.waits();
                None
            }
            Ok(n) => {
                stream.write_all(&piece[..n])?;
                self.at += n as u64;
                self.piece_len.wrote(n);
                Some(self.rest())
            }
            Err(error) => {
                let word = sealed_frame(&client.key, stop(id, &error));
                word.goes_to(&client);
                stream.write_all(&[&*word.bytes, &[BODY_END]].concat())?;
                self.download.ends(match error {
                    SpoolError::Failed(_) => Outcome::NotSent,
                    error => Outcome::Failed(error.to_string()),
                });
                client.body_over(id, false);
                None
            }
        };
        account.release(piece.len());
        Ok(rest)
    }

    /// Goes on when there is more of the body, if the client is still there: who waits does not keep its connection open.
    fn waits(self) {
        let Course {
            client,
            download,
            at,
            piece_len,
        } = self;
        let client = Arc::downgrade(&client);
        let (asked, waiting) = (client.clone(), Arc::clone(&download));
        let go_on = move || {
            let Some(client) = client.upgrade() else {
                return;
            };
            let outbox = Arc::clone(&client.outbox);
            let course = Course {
                client,
                download: waiting,
                at,
                piece_len,
            };
            outbox.push_job(course.rest());
        };
        let waiter = Waiter {
            is_there: Box::new(move || asked.strong_count() > 0),
            go_on: Box::new(go_on),
        };
        download.body.wait(at, waiter);
        if download.is_over() {
            // It was stopped just before.
            download.body.wake();
        }
    }
}
