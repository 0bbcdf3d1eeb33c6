//! Shares: a file that a member uploads, and to whom it is offered.
//!
//! Fernchat members are offered a long file as soon as it begins to come. A short file, and any file for Python members, is offered when it is
//! whole. If the connection of the uploader breaks, the group keeps what has come for ten minutes ([`LastUpload`]), and the upload goes on
//! over the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::info;
use parking_lot::Mutex;

use super::Shared;
use super::client::Client;
use super::download::{Download, SharedFile};
use super::frame::sealed_frame;
use super::group::Group;
use super::refusal::Refusal;
use super::spool::{Body, Upload};
use crate::seal::{random_text, token_len};
use crate::wire::command::{Dialect, RECEIVE_FILE, notice};
use crate::wire::name::{FileName, UserName};
use crate::wire::size;
use crate::wire::transfer::FileOffer;

/// How long an upload is kept whose connection has broken.
const KEPT_TIME: Duration = Duration::from_secs(600);

/// A file that is being shared.
pub(crate) struct Share {
    pub offers: Offers,
    pub upload: Upload,
}

impl Share {
    /// Whether all members with fernchat clients have declined the file, or could not take it. Who still wants it holds the body.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.offers.fernchat_is_served && Arc::strong_count(self.upload.body()) == 1
    }
}

/// To whom a file is offered.
pub(crate) struct Offers {
    file: Arc<SharedFile>,
    /// `None`: everybody.
    to: Option<UserName>,
    /// How large a file may be that is offered to a Python client, in bytes. `None`: any.
    python_limit: Option<u64>,
    /// Those with fernchat clients have their offers.
    fernchat_is_served: bool,
    n_offered: usize,
    /// How many cannot receive it, and were told so.
    n_told: usize,
}

impl Offers {
    /// Nobody is offered the file yet, whose body has this length.
    pub(crate) fn new(
        shared: &Shared,
        group: &Arc<Mutex<Group>>,
        uploader: &Client,
        (name, to): (FileName, Option<UserName>),
        len: u64,
    ) -> Offers {
        let seal = |text: &str| sealed_frame(&shared.key, text);
        let id = random_text();
        let offer = FileOffer {
            id: &id,
            len,
            name: name.as_str(),
            who: uploader.name.as_str(),
        };
        let file = SharedFile {
            for_fernchat: seal(&offer.text()),
            for_python: [RECEIVE_FILE, name.as_str(), &len.to_string()].map(seal),
            id,
            name,
            by: uploader.name.clone(),
            group: Arc::downgrade(group),
            news: Arc::clone(&shared.news),
            hears_all: uploader.dialect == Dialect::Fernchat,
        };
        Offers {
            file: Arc::new(file),
            to,
            python_limit: shared.settings.python_file_limit,
            fernchat_is_served: false,
            n_offered: 0,
            n_told: 0,
        }
    }

    /// Offers a whole file to those who are not offered it yet. Returns the result in words, which begin with the file's name.
    pub(crate) fn offer_whole(
        &mut self,
        group: &Mutex<Group>,
        uploader: &Client,
        body: &Arc<Body>,
    ) -> Result<String, Refusal> {
        if !self.fernchat_is_served {
            self.offer_to(Dialect::Fernchat, group, uploader, body)?;
        }
        self.offer_to(Dialect::Python, group, uploader, body)?;
        let (file, n_offered) = (&self.file.name, self.n_offered);
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
    pub(crate) fn offer_to(
        &mut self,
        dialect: Dialect,
        group: &Mutex<Group>,
        uploader: &Client,
        body: &Arc<Body>,
    ) -> Result<(), Refusal> {
        self.fernchat_is_served |= dialect == Dialect::Fernchat;
        let (name, file, to) = (&uploader.name, &self.file, &self.to);
        let limit = self.python_limit.filter(|_| dialect == Dialect::Python);
        let too_large = limit.filter(|limit| body.token_len() > token_len(*limit));
        let too_large = too_large.map(|_| {
            let (file, size) = (&file.name, file_size(body));
            let text = format!("{name} shared {file} ({size}), too large for this program.");
            sealed_frame(&uploader.key, notice(text))
        });
        let is_for = |client: &&Arc<Client>| {
            client.dialect == dialect && to.as_ref().is_none_or(|to| *to == client.name)
        };
        let group = group.lock();
        uploader.check_member()?;
        for client in group.others(uploader).filter(is_for) {
            if let Some(notice) = &too_large {
                client.send_notice(notice.clone());
                self.n_told += 1;
            } else {
                let is_offered = client.offer(Download::new(file, body, &client.name));
                self.n_offered += usize::from(is_offered);
            }
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

/// The last upload of a member, also if its connection has broken. If this is dropped, the upload ends. So it is dropped without any lock.
pub(crate) struct LastUpload {
    /// How the client calls it.
    pub id: String,
    pub slot: Slot,
    /// What a fernchat client was told, if it is over. The client may not get it over the connection that there is.
    pub result: Option<String>,
    /// When the member went offline.
    pub left_at: Option<Instant>,
}

impl LastUpload {
    /// The upload of a member that is online.
    pub(crate) fn new(id: &str, slot: &Slot, result: Option<String>) -> LastUpload {
        LastUpload {
            id: id.to_owned(),
            slot: Arc::clone(slot),
            result,
            left_at: None,
        }
    }

    /// Whether it has been kept for too long.
    pub(crate) fn is_old(&self, now: Instant) -> bool {
        self.left_at.is_some_and(|at| now - at >= KEPT_TIME)
    }
}

impl Drop for LastUpload {
    fn drop(&mut self) {
        // Those who read the file are told.
        drop(self.slot.lock().take());
    }
}
