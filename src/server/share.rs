//! Shares: a file that a member uploads, and to whom it is offered.
//!
//! Fernchat members are offered a long file as soon as it begins to come. A short file, and any file for Python members, is offered when it is
//! whole. If the connection of the uploader breaks, what has come is kept for ten minutes ([`Shares`]), and the upload goes on over the next one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use log::info;
use parking_lot::Mutex;

use super::Shared;
use super::client::Client;
use super::download::{Download, Uploader};
use super::frame::sealed_frame;
use super::group::Group;
use super::refusal::Refusal;
use super::spool::{Body, SpoolError, Upload};
use super::turn::Offer;
use crate::seal::{random_text, token_len};
use crate::wire::command::{Dialect, RECEIVE_FILE, notice};
use crate::wire::name::{FileName, GroupName, UserName};
use crate::wire::size;
use crate::wire::transfer::FileOffer;

/// A longer body is offered before it is whole, in bytes.
const EARLY_LEN: u64 = 1 << 20;

/// How long an upload is kept whose connection has broken.
const KEPT_TIME: Duration = Duration::from_secs(600);

/// A file that is being shared.
pub(crate) struct Share {
    pub offers: Offers,
    pub upload: Upload,
}

impl Share {
    /// Begins to share a file, with everybody or with one member.
    pub(crate) fn begin(
        shared: &Shared,
        group: &Arc<Mutex<Group>>,
        uploader: &Arc<Client>,
        what: (FileName, Option<UserName>),
        len: u64,
    ) -> Result<Share, ShareError> {
        let (file, to) = what;
        let limit = shared.settings.max_file;
        if len > token_len(limit) {
            return Err(SpoolError::TooLarge { limit }.into());
        }
        if let Some(name) = &to {
            let is_there = group.lock().client_of(name).is_some();
            is_there
                .then_some(())
                .ok_or(Refusal::NotThere(name.clone()))?;
        }
        let upload = shared.spool.begin(&shared.key, uploader.source, len)?;
        let mut offers = Offers::new(file, to);
        if len > EARLY_LEN {
            offers.offer_to(Dialect::Fernchat, shared, group, uploader, upload.body())?;
        }
        Ok(Share { offers, upload })
    }

    /// All bytes have come. Returns the result in words.
    pub(crate) fn finish(
        self,
        shared: &Shared,
        group: &Arc<Mutex<Group>>,
        uploader: &Arc<Client>,
    ) -> Result<String, ShareError> {
        let Share { mut offers, upload } = self;
        if let Err(refusal) = uploader.check_member() {
            upload.fail("its sender is no member any more");
            return Err(refusal.into());
        }
        let body = upload.finish()?;
        Ok(offers.offer_whole(shared, group, uploader, &body)?)
    }
}

/// Why a file is not shared.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum ShareError {
    Spool(#[from] SpoolError),
    Refusal(#[from] Refusal),
}

/// To whom a file is offered.
pub(crate) struct Offers {
    pub file: FileName,
    /// `None`: everybody.
    to: Option<UserName>,
    /// How fernchat clients call the file.
    id: Arc<str>,
    /// Those with fernchat clients have their offers.
    fernchat_is_served: bool,
    n_offered: usize,
    /// How many cannot receive it, and were told so.
    n_told: usize,
}

impl Offers {
    /// Nobody is offered the file yet.
    pub(crate) fn new(file: FileName, to: Option<UserName>) -> Offers {
        Offers {
            file,
            to,
            id: random_text().into(),
            fernchat_is_served: false,
            n_offered: 0,
            n_told: 0,
        }
    }

    /// Offers a whole file to those who are not offered it yet. Returns the result in words, which begin with the file's name.
    pub(crate) fn offer_whole(
        &mut self,
        shared: &Shared,
        group: &Arc<Mutex<Group>>,
        uploader: &Arc<Client>,
        body: &Arc<Body>,
    ) -> Result<String, Refusal> {
        if !self.fernchat_is_served {
            self.offer_to(Dialect::Fernchat, shared, group, uploader, body)?;
        }
        self.offer_to(Dialect::Python, shared, group, uploader, body)?;
        let (file, n_offered) = (&self.file, self.n_offered);
        let members = if n_offered == 1 { "member" } else { "members" };
        let told = match self.n_told {
            0 => String::new(),
            n => format!("; {n} more cannot receive a file of this size and were told"),
        };
        let (name, file_size) = (&uploader.name, file_size(body));
        info!("{name} shares {file_size} with {n_offered} members");
        Ok(format!(
            "{file} is on its way to {n_offered} {members}{told}."
        ))
    }

    /// Offers the file to every other member online whose client is of this kind, or to the one whom it is for.
    fn offer_to(
        &mut self,
        dialect: Dialect,
        shared: &Shared,
        group: &Arc<Mutex<Group>>,
        uploader: &Arc<Client>,
        body: &Arc<Body>,
    ) -> Result<(), Refusal> {
        self.fernchat_is_served |= dialect == Dialect::Fernchat;
        let (name, file) = (&uploader.name, &self.file);
        let seal = |text: String| sealed_frame(&shared.key, text);
        let ask_python = seal(RECEIVE_FILE.to_owned());
        let file_name = seal(file.to_string());
        let offer = match dialect {
            Dialect::Python => seal(body.token_len().to_string()),
            Dialect::Fernchat => seal(
                FileOffer {
                    id: &self.id,
                    len: body.token_len(),
                    name: file.as_str(),
                    who: name.as_str(),
                }
                .text(),
            ),
        };
        let too_large = seal(notice(format!(
            "{name} shared {file} ({}), too large for this program.",
            file_size(body)
        )));
        let limit = shared.settings.python_file_limit;
        let is_for_python = limit.is_none_or(|limit| body.token_len() <= token_len(limit));
        let news_for = Uploader {
            name: name.clone(),
            group: Arc::downgrade(group),
            news: Arc::clone(&shared.news),
            hears_all: uploader.dialect == Dialect::Fernchat,
        };

        let group = group.lock();
        uploader.check_member()?;
        for client in group.others(uploader) {
            if client.dialect != dialect || self.to.as_ref().is_some_and(|to| *to != client.name) {
                continue;
            }
            if dialect == Dialect::Python && !is_for_python {
                client.send_notice(too_large.clone());
                self.n_told += 1;
                continue;
            }
            let download = Download {
                id: Arc::clone(&self.id),
                file: file.clone(),
                body: Arc::clone(body),
                offer: offer.clone(),
                to: client.name.clone(),
                uploader: Some(news_for.clone()),
                is_over: AtomicBool::new(false),
            };
            let is_offered = match dialect {
                Dialect::Fernchat => client.offer(Arc::new(download)),
                Dialect::Python => {
                    let (ask, name) = (ask_python.clone(), file_name.clone());
                    let download = Box::new(download);
                    let offer = Offer {
                        ask,
                        name,
                        download,
                    };
                    client.with_turn(|turn| turn.offer(offer))
                }
            };
            self.n_offered += usize::from(is_offered);
        }
        Ok(())
    }
}

/// The size of the file in a body, in words. The token is base64, 4 characters for 3 bytes. What else is in it is too short to matter.
fn file_size(body: &Body) -> String {
    size::in_words(body.token_len() / 4 * 3)
}

/// What has come of a file. Empty: it was refused, or another connection has taken it up.
pub(crate) type Slot = Arc<Mutex<Option<Share>>>;

/// The files that fernchat clients are uploading, also those whose connection has broken.
#[derive(Default)]
pub(crate) struct Shares(Mutex<Vec<Kept>>);

struct Kept {
    group: GroupName,
    by: UserName,
    /// How the client calls the upload.
    id: String,
    slot: Slot,
    /// When the connection broke, or the upload was over.
    left_at: Option<Instant>,
    /// What the client was told, if the upload is over.
    result: Option<String>,
}

impl Shares {
    /// A client begins to upload.
    pub(crate) fn enter(&self, group: &GroupName, by: &UserName, id: &str, share: Share) -> Slot {
        let slot = Arc::new(Mutex::new(Some(share)));
        self.0.lock().push(Kept {
            group: group.clone(),
            by: by.clone(),
            id: id.to_owned(),
            slot: Arc::clone(&slot),
            left_at: None,
            result: None,
        });
        slot
    }

    /// Takes what has come of an upload of this user, also from a connection that is dead and does not know it yet.
    pub(crate) fn take_up(&self, group: &GroupName, by: &UserName, id: &str) -> Option<Share> {
        let mut all = self.0.lock();
        let is_it =
            |it: &Kept| it.id == id && it.by == *by && it.group == *group && it.result.is_none();
        let at = all.iter().position(is_it)?;
        let kept = all.remove(at);
        drop(all);
        kept.slot.lock().take()
    }

    /// The connection has broken: keeps what has come, if the client can come back for it.
    pub(crate) fn leave(&self, slot: &Slot, client: &Client) {
        if !client.numbers_messages() {
            drop(self.end(slot));
        }
        let mut all = self.0.lock();
        let its = all.iter_mut().filter(|it| Arc::ptr_eq(&it.slot, slot));
        its.for_each(|it| it.left_at = Some(Instant::now()));
    }

    /// The upload is over.
    pub(crate) fn end(&self, slot: &Slot) -> Option<Share> {
        self.0.lock().retain(|it| !Arc::ptr_eq(&it.slot, slot));
        slot.lock().take()
    }

    /// This user uploads nothing more.
    pub(crate) fn end_of(&self, group: &GroupName, by: &str) {
        self.remove(|it| it.by.as_str() == by && it.group == *group);
    }

    /// Remembers the result of an upload, in place of the one before. The client may not get it over the connection that there is.
    pub(crate) fn note_result(&self, group: &GroupName, by: &UserName, id: &str, result: &str) {
        self.remove(|it| it.by == *by && it.group == *group && it.result.is_some());
        self.0.lock().push(Kept {
            group: group.clone(),
            by: by.clone(),
            id: id.to_owned(),
            slot: Slot::default(),
            left_at: Some(Instant::now()),
            result: Some(result.to_owned()),
        });
    }

    /// The result of an upload, if it is over.
    pub(crate) fn result(&self, group: &GroupName, by: &UserName, id: &str) -> Option<String> {
        let all = self.0.lock();
        let is_it = |it: &&Kept| it.id == id && it.by == *by && it.group == *group;
        all.iter().find(is_it)?.result.clone()
    }

    /// Drops what has been kept for too long. Called by the clock.
    pub(crate) fn drop_old(&self, now: Instant) {
        self.remove(|it| {
            let time = it.left_at.map(|at| now.duration_since(at));
            time.is_some_and(|time| time >= KEPT_TIME)
        });
    }

    fn remove(&self, is_it: impl Fn(&Kept) -> bool) {
        let mut all = self.0.lock();
        let (its, others): (Vec<_>, _) = std::mem::take(&mut *all).into_iter().partition(is_it);
        *all = others;
        drop(all);
        // Those who read them are told.
        its.into_iter().for_each(|it| drop(it.slot.lock().take()));
    }
}
