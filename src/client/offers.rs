//! Offers: the files that a fernchat server has for this client.
//!
//! ```text
//!            the person, or the settings         /sendFile ID HAVE            the whole body
//!   asked ────────────────────────────▶ wanted ───────────────────▶ arriving ──────────────▶ stored
//!     └────────────────────────────────────┴── /stopFile from either end, or `!` ──────────▶ gone
//! ```
//!
//! The list survives the connection. If that breaks, the server offers its files again, and what has come of a file is kept for ten minutes:
//! the body goes on where it stopped. Both threads use the list, and so does Ctrl-C. Nothing is sent or shown while it is locked.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::download::{Download, obstacle, title};
use super::link::Link;
use crate::machine;
use crate::screen::{Event, MAX_WORDS, Name, Offered, shortened};
use crate::seal::{Key, token_len};
use crate::wire::command::{HAVE_FILE, SEND_FILE, STOP_FILE};
use crate::wire::frame::WireError;
use crate::wire::name::{FileName, MAX_NAME_CHARACTERS};
use crate::wire::transfer::{FileOffer, about_file};

/// How many offers are remembered. A fernchat server has no more on their way.
const MAX_OFFERS: usize = 64;

/// How long what has come is kept after the connection has broken.
const KEPT_TIME: Duration = Duration::from_secs(600);

/// At a terminal a longer file is asked about, unless the user has set another limit, in bytes.
pub(crate) const ASKS_ABOVE: u64 = 100 << 20;

/// How long the server has after a broken connection to offer its files again. It does so at once.
const AGAIN_TIME: Duration = Duration::from_secs(10);

/// The files on offer. See the module's page.
#[derive(Default)]
pub(crate) struct Offers {
    list: Vec<Offer>,
    /// When the last connection broke, and the key of its server.
    lost: Option<(Instant, Arc<Key>)>,
    /// Until when the server of the present connection may offer again what was lost.
    again_until: Option<Instant>,
}

/// A file on offer. What arrives of it has a value of its own, so that no lock is held meanwhile.
pub(crate) struct Offer {
    /// Empty: from a Python server.
    pub id: String,
    pub name: FileName,
    /// Who shares it. Empty: the server does not say.
    pub from: String,
    /// The length of the body in bytes.
    pub len: u64,
    pub stage: Stage,
    /// How much has come.
    pub have: u64,
    /// What it has become. `None`: while it arrives, what comes is dropped.
    pub download: Option<Download>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The person is to say whether it is wanted.
    Asked,
    Wanted,
    Arriving,
    /// It was wanted when the connection broke.
    Lost,
    /// It is not wanted any more, and the user has been told why, or is told this.
    Stopped(Option<&'static str>),
    /// It is stored. The server may not know yet.
    Stored,
}

impl Offer {
    /// Name and sender, as they are shown.
    pub(super) fn title(&self) -> String {
        title(&self.name, &self.from)
    }

    /// What the server gets if it offers the file once more. A file that was accepted while there was no connection is wanted already.
    fn offered_again(&mut self) -> Option<String> {
        match self.stage {
            Stage::Stored => Some(format!("{HAVE_FILE} {}", self.id)),
            Stage::Lost | Stage::Wanted => {
                self.stage = Stage::Wanted;
                Some(format!("{SEND_FILE} {} {}", self.id, self.have))
            }
            Stage::Asked | Stage::Arriving | Stage::Stopped(_) => None,
        }
    }
}

impl Offers {
    fn find(&mut self, id: &str) -> Option<&mut Offer> {
        self.list.iter_mut().find(|offer| offer.id == id)
    }

    fn remove(&mut self, id: &str) -> Option<Offer> {
        let at = self.list.iter().position(|offer| offer.id == id)?;
        Some(self.list.remove(at))
    }

    /// Whether one more is remembered. What is stored is remembered only until the server knows. If there is no space, that has been long
    /// ago.
    fn has_space(&mut self) -> bool {
        if self.list.len() >= MAX_OFFERS {
            self.list.retain(|offer| offer.stage != Stage::Stored);
        }
        self.list.len() < MAX_OFFERS
    }

    /// The connection is lost, perhaps inside a body.
    pub(crate) fn disconnected(&mut self, key: &Arc<Key>, arrival: Option<Offer>) {
        self.lost = Some((Instant::now(), Arc::clone(key)));
        if let Some(Offer {
            id, have, download, ..
        }) = arrival
        {
            if let Some(offer) = self.find(&id) {
                (offer.have, offer.download) = (have, download);
            }
        }
        self.list
            .retain(|offer| !matches!(offer.stage, Stage::Stopped(_)));
        for offer in &mut self.list {
            if matches!(offer.stage, Stage::Wanted | Stage::Arriving) {
                offer.stage = Stage::Lost;
            }
        }
    }

    /// There is a connection again, to the server with this key.
    pub(crate) fn connected(&mut self, key: &Key) {
        let now = Instant::now();
        let Some((at, before)) = self.lost.take() else {
            return;
        };
        // Another server, or the same one after this time, has forgotten them.
        let is_known = before.as_str() == key.as_str() && now.duration_since(at) < KEPT_TIME;
        self.again_until = Some(if is_known { now + AGAIN_TIME } else { now });
    }

    /// Whether a file that was lost may still come.
    pub(crate) fn awaits_lost(&self) -> bool {
        self.list.iter().any(|offer| offer.stage == Stage::Lost)
    }

    /// Gives up the files that the server has not offered again. Returns their titles.
    pub(crate) fn give_up_lost(&mut self) -> Vec<String> {
        if self.again_until.is_none_or(|until| Instant::now() < until) {
            return Vec::new();
        }
        self.again_until = None;
        let list = std::mem::take(&mut self.list).into_iter();
        let (lost, others) = list.partition(|offer| offer.stage == Stage::Lost);
        self.list = others;
        let lost: Vec<Offer> = lost;
        lost.iter().map(Offer::title).collect()
    }

    /// Whether a file is arriving.
    pub(crate) fn is_arriving(&self) -> bool {
        let mut list = self.list.iter();
        list.any(|offer| offer.stage == Stage::Arriving)
    }

    /// Whether a file is wanted and not yet stored.
    pub(crate) fn has_wanted(&self) -> bool {
        let mut list = self.list.iter();
        list.any(|offer| matches!(offer.stage, Stage::Wanted | Stage::Arriving | Stage::Lost))
    }

    /// The word by which the file that is arriving is stopped, if there is one.
    pub(crate) fn stop_arriving(&mut self) -> Option<String> {
        let mut list = self.list.iter_mut();
        let offer = list.find(|offer| offer.stage == Stage::Arriving)?;
        offer.stage = Stage::Stopped(Some("it was stopped"));
        Some(format!("{STOP_FILE} {} it was stopped there", offer.id))
    }

    /// Takes the answer of the person to an offer, or to the oldest one of which this is the name. Returns what is sent, or the
    /// titles of all that could be meant.
    pub(crate) fn answer(&mut self, name: &str, wants: Answer) -> Result<String, Vec<String>> {
        let is_asked = |offer: &&mut Offer| offer.stage == Stage::Asked;
        let mut asked: Vec<&mut Offer> = self.list.iter_mut().filter(is_asked).collect();
        let is_meant = |offer: &&mut Offer| name.is_empty() || offer.name.as_str() == name;
        let titles: Vec<String> = asked.iter().map(|offer| offer.title()).collect();
        if name.is_empty() && asked.len() > 1 {
            return Err(titles);
        }
        let offer = asked
            .iter_mut()
            .find(|offer| is_meant(offer))
            .ok_or(titles)?;
        let id = offer.id.clone();
        match wants {
            Answer::Accept => {
                offer.stage = Stage::Wanted;
                Ok(format!("{SEND_FILE} {id} 0"))
            }
            Answer::Decline => {
                self.remove(&id);
                Ok(format!("{STOP_FILE} {id}"))
            }
        }
    }
}

/// What the person says to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accept,
    Decline,
}

impl Link {
    /// The server offers a file.
    pub(super) fn offered(&self, offer: &FileOffer) -> io::Result<()> {
        let mut offers = self.shared.offers.lock();
        let known = offers.find(offer.id).map(Offer::offered_again);
        drop(offers);
        let answer = known.unwrap_or_else(|| self.consider(offer));
        answer.map_or(Ok(()), |answer| self.send(&[&answer]))
    }

    /// Takes a new offer into the list, unless it cannot be received. `None`: the person is asked.
    fn consider(&self, offer: &FileOffer) -> Option<String> {
        let FileOffer { id, len, name, who } = offer;
        let shared: &Shared = &self.shared;
        if !shared.offers.lock().has_space() {
            return Some(format!(
                "{STOP_FILE} {id} too many files are on offer there"
            ));
        }
        let name = FileName::from_peer(name);
        let from = shortened(who, MAX_NAME_CHARACTERS).into_owned();
        let title = title(&name, &from);
        if let Some(obstacle) = obstacle(shared, *len) {
            shared.show(&format!("The file {title} was not received: {obstacle}."));
            return Some(format!("{STOP_FILE} {id} {obstacle}"));
        }
        let asks = shared
            .asks_above()
            .is_some_and(|limit| *len > token_len(limit) || limit == 0);
        shared.offers.lock().list.push(Offer {
            id: (*id).to_owned(),
            name: name.clone(),
            from: from.clone(),
            len: *len,
            stage: if asks { Stage::Asked } else { Stage::Wanted },
            have: 0,
            download: None,
        });
        if asks {
            shared.screen.show(Event::Offered(Offered {
                name: name.clone(),
                from: Name::of_peer(who),
                size: len / 4 * 3,
                free: machine::free_space(&shared.settings.downloads),
            }));
        }
        (!asks).then(|| format!("{SEND_FILE} {id} 0"))
    }

    /// Takes what the server says about a file that it has offered. Returns the body that begins, if one does.
    ///
    /// # Errors
    /// The body of a file that was not asked for.
    pub(super) fn about_offer(&self, text: &str) -> Result<Option<Offer>, WireError> {
        let shared: &Shared = &self.shared;
        if let Some((id, from)) = about_file(SEND_FILE, text) {
            let mut offers = shared.offers.lock();
            let Some(offer) = offers.find(id) else {
                return Ok(None);
            };
            let is_due = matches!(offer.stage, Stage::Wanted | Stage::Stopped(_));
            if !is_due || from.parse() != Ok(offer.have) {
                return Err(WireError::NotTheStep("a body that was asked for"));
            }
            let download = match offer.stage {
                Stage::Wanted => Some(offer.download.take().unwrap_or_else(|| {
                    let folder = &shared.settings.downloads;
                    Download::begin(folder, &self.key, shared.room_key.as_ref())
                })),
                _ => None,
            };
            if download.is_some() {
                offer.stage = Stage::Arriving;
            }
            return Ok(Some(Offer {
                id: id.to_owned(),
                name: offer.name.clone(),
                from: offer.from.clone(),
                download,
                ..*offer
            }));
        }
        if let Some((id, reason)) = about_file(STOP_FILE, text) {
            let mut offers = shared.offers.lock();
            let Some(offer) = offers.find(id) else {
                return Ok(None);
            };
            let reason = shortened(reason.trim_end_matches('.'), MAX_WORDS);
            let (stage, title) = (offer.stage, offer.title());
            if stage == Stage::Arriving {
                // The byte that ends its body follows.
                offer.stage = Stage::Stopped(None);
            } else {
                offers.remove(id);
            }
            drop(offers);
            match stage {
                Stage::Stopped(_) | Stage::Stored => {}
                Stage::Arriving => {
                    shared.show(&format!("The file {title} was not received: {reason}."))
                }
                _ => shared.show(&format!("The file {title} is not coming: {reason}.")),
            }
        }
        Ok(None)
    }

    /// A body has come to its end, or what came of it is of no use. Says so to the user and to the server.
    pub(super) fn arrived(&self, arrival: Offer) -> io::Result<()> {
        let title = arrival.title();
        let Offer {
            id,
            name,
            from,
            len,
            have,
            download,
            ..
        } = arrival;
        let shared: &Shared = &self.shared;
        let stage = shared.offers.lock().find(&id).map(|offer| offer.stage);
        if let Some(Stage::Stopped(reason)) = stage {
            shared.offers.lock().remove(&id);
            if let Some(reason) = reason {
                shared.show(&format!("The file {title} was not received: {reason}."));
            }
            return Ok(());
        }
        let Some(download) = download else {
            return Ok(());
        };
        if have < len {
            shared.offers.lock().remove(&id);
            shared.show(&format!(
                "The file {title} was not received: its sender ended it."
            ));
            return Ok(());
        }
        let stored = download.store(shared, &name, &from);
        if id.is_empty() {
            return Ok(());
        }
        let mut offers = shared.offers.lock();
        let word = match stored {
            Ok(()) => {
                offers
                    .find(&id)
                    .iter_mut()
                    .for_each(|it| it.stage = Stage::Stored);
                format!("{HAVE_FILE} {id}")
            }
            Err(why) => {
                offers.remove(&id);
                format!("{STOP_FILE} {id} {why}")
            }
        };
        drop(offers);
        self.send(&[&word])
    }

    /// What has come of a body cannot be stored. The rest is not needed.
    pub(super) fn cannot_store(&self, arrival: &mut Offer) -> io::Result<()> {
        let Some(download) = arrival.download.take() else {
            return Ok(());
        };
        let why = match download.store(&self.shared, &arrival.name, &arrival.from) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        let mut offers = self.shared.offers.lock();
        let Some(offer) = offers.find(&arrival.id) else {
            return Ok(());
        };
        offer.stage = Stage::Stopped(None);
        drop(offers);
        self.send(&[&format!("{STOP_FILE} {} {why}", arrival.id)])
    }
}
