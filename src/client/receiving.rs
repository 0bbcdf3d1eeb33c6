//! The receiving thread: steps go to the sending thread, events to the person.
//!
//! ```text
//!   frame ── is it the expected step? ─▶ sending thread
//!         └─ else an event: a line is shown, a control word is obeyed, a delivery goes on
//! ```
//!
//! Invariant: nothing that the server sends makes this loop wait for the person. The one exception: when a thousand lines wait to be shown,
//! the loop waits until one of them is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use log::debug;

use super::dialogues::Dialogues;
use super::download::{PythonOffers, has_frame_form};
use super::joining::Frames;
use super::link::{Link, SERVER};
use super::offers::Offer;
use super::sending::Sending;
use super::step::speaker_of;
use super::{ClientError, Shared, room_key};
use crate::net::is_late;
use crate::screen::{Connection, Event, Name, News, Proof, Transfer, Words};
use crate::seal::stamp_of;
use crate::wire::command::{
    ACCEPTED, CLOSING, Dialect, HAS_REQUESTED, HAVE_FILE, IS_ADMIN, JOINED, KICKED, LEFT,
    MADE_ADMIN, NEWS, PYCHAT, RECEIVE_FILE, REMOVED, REQUESTED, SEND_FILE, STOP_FILE, TAKEN_OVER,
    WAIT_DISCONNECT, after, line, one_to_one, refusal,
};
use crate::wire::frame::{Piece, WireError, mark};
use crate::wire::transfer::FileOffer;
use crate::wire::watch;

/// After a cut, a member that the client knew before and that joins within this time was cut off, too: that is no news.
const RETURN_TIME: Duration = Duration::from_secs(10);

/// After a cut, a line that was said less than this long before the return is not marked as an earlier one. In seconds.
const RECENT: u64 = 60;

/// The half that receives. See the module's page.
pub(crate) struct Receiving {
    pub(super) link: Arc<Link>,
    frames: Frames,
    /// When this connection took the place of one that was lost.
    back_at: Option<Instant>,
    /// Steps, to the sending thread.
    steps: Sender<Vec<u8>>,
    /// The other half.
    pub(super) sending: Arc<Sending>,
    pub(super) offers: PythonOffers,
    /// The body that is due, and what is shown of it.
    pub(super) arriving: Option<(Offer, Transfer)>,
    /// Its next bytes.
    pub(super) piece: Vec<u8>,
}

impl Receiving {
    /// Begins to use a connection that has joined.
    pub(crate) fn begin(
        link: Arc<Link>,
        frames: Frames,
        joined: Connection,
        sending: &Arc<Sending>,
    ) -> Receiving {
        let is_again = matches!(joined, Connection::Joined { is_again: true, .. });
        let (steps, steps_due) = bounded(1);
        link.shared.offers.lock().connected(&link.key);
        sending.connected(Dialogues::new(Arc::clone(&link), steps_due));
        // Not before: who reads it can leave politely.
        link.shared.tell(joined);
        sending.wake();
        Receiving {
            link,
            frames,
            back_at: is_again.then(Instant::now),
            steps,
            sending: Arc::clone(sending),
            offers: PythonOffers::default(),
            arriving: None,
            piece: Vec::new(),
        }
    }

    /// Receives until the connection ends. The error says why it did.
    pub(crate) fn receiving_loop(mut self) -> Result<Infallible, ClientError> {
        loop {
            match self.next() {
                Ok(Piece::Body(n)) => self.body_goes_on(n)?,
                Ok(Piece::Frame(token)) => self.frame(&token)?,
                // If nothing comes for a while, a Python server may have missed the answer to its delivery, so that is given again.
                Err(WireError::Io(error)) if is_late(&error) => self.link.answer_again()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame, or a piece of the body that is due.
    fn next(&mut self) -> Result<Piece, WireError> {
        let key = &self.link.key;
        let Some((Offer { len, have, .. }, _)) = self.arriving else {
            let token = self.frames.next_frame(&|token| key.opens(token))?;
            return Ok(Piece::Frame(token.ok_or(WireError::CutOff)?));
        };
        // A token as long as the body may be the body itself: then only its text can tell.
        let is_frame = |token: &[u8]| match key.open(token) {
            Ok(text) => token.len() as u64 != len || has_frame_form(&text),
            Err(_) => false,
        };
        self.frames
            .next_piece(len - have, &mut self.piece, &is_frame)
    }

    /// Does what a frame asks for.
    pub(super) fn frame(&mut self, token: &[u8]) -> Result<(), ClientError> {
        let bytes = self.link.key.open(token);
        let bytes = bytes.map_err(|_| WireError::NotOpened)?;
        watch::came(SERVER, token.len(), &bytes);
        if let Some(step) = self.link.step(&bytes, &self.steps) {
            if self.link.server == Dialect::Python {
                self.offers.note_step(step);
            }
            return Ok(());
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.event(&text, token),
            Err(_) => {
                debug!("the server sent a set that nobody asked for, or a text that is not UTF-8");
                Ok(())
            }
        }
    }

    fn event(&mut self, text: &str, token: &[u8]) -> Result<(), ClientError> {
        let shared = Arc::clone(&self.link.shared);
        match text {
            KICKED => return Err(ClientError::Kicked),
            WAIT_DISCONNECT => {
                return Err(ClientError::Closed(
                    "it ends those who wait for approval".into(),
                ));
            }
            ACCEPTED => {
                if !std::mem::take(&mut shared.names.lock().is_waiting) {
                    debug!("the server approves somebody who is a member already");
                    return Ok(());
                }
                shared.tell(Connection::Approved);
                self.sending.wake();
                return Ok(());
            }
            _ => {}
        }
        if let Some(reason) = after(CLOSING, text) {
            if reason == TAKEN_OVER {
                return Err(ClientError::TakenOver);
            }
            return Err(ClientError::Closed(reason.to_owned()));
        }
        if let Some(refused) = refusal(text) {
            return Err(ClientError::Refused(refused));
        }
        if let Some((proof, name)) = after(REQUESTED, text).and_then(|rest| rest.split_once(' ')) {
            requested(&shared, name, proof_of(proof));
            return Ok(());
        }
        if let Some((name, said)) = one_to_one(text) {
            return self.told(name, said, token);
        }
        if let Some((what, name)) = after(NEWS, text).and_then(|rest| rest.split_once(' ')) {
            let is_back = self.back_at.is_some_and(|at| at.elapsed() < RETURN_TIME);
            let is_return = is_back && what == JOINED && shared.names.lock().members.contains(name);
            let is_decided = self.link.dialogue.lock().about.as_deref() == Some(name);
            shared.news(what, name, is_return || is_decided);
            return Ok(());
        }
        if self.link.server == Dialect::Fernchat {
            if let Some(offer) = FileOffer::parse(text) {
                return Ok(self.link.offered(&offer)?);
            }
            if [SEND_FILE, HAVE_FILE, STOP_FILE]
                .iter()
                .any(|word| after(word, text).is_some())
            {
                self.sending.answered(text);
                if let Some(arrival) = self.link.about_offer(text)? {
                    self.body_begins(arrival)?;
                }
                return Ok(());
            }
        } else if let Some(from) = after(RECEIVE_FILE, text) {
            return self.offered(from);
        }
        if self.link.server == Dialect::Fernchat && text.starts_with('/') {
            // No line and no file name begins like this: it is a word of a later version.
            debug!("the server sent a word that is not known here");
            return Ok(());
        }
        if self.link.server == Dialect::Python && self.delivery_step(text)? {
            return Ok(());
        }
        if speaker_of(text).is_some_and(|name| name != PYCHAT) {
            *shared.last_mark.lock() = mark(token);
        }
        let earlier = self.earlier(token);
        heard(&shared, text, earlier);
        Ok(())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let arrival = self.arriving.take().map(|(arrival, _)| arrival);
        let mut offers = self.link.shared.offers.lock();
        offers.disconnected(&self.link.key, arrival);
    }
}

impl Receiving {
    /// If a line was said before the user joined: when, in seconds since 1970.
    fn earlier(&self, token: &[u8]) -> Option<u64> {
        let recent = self.back_at.map_or(0, |_| RECENT);
        let until = self.link.joined_at.saturating_sub(recent);
        stamp_of(token).filter(|said_at| *said_at < until)
    }

    /// A member tells this one something that nobody else hears.
    fn told(&self, name: &str, said: &str, token: &[u8]) -> Result<(), ClientError> {
        let shared = &self.link.shared;
        let mut names = shared.names.lock();
        if !names.hears(name) {
            return Ok(());
        }
        names.teller = Some(name.to_owned());
        drop(names);
        let earlier = self.earlier(token);
        let text = line(name, said);
        let to = Some(shared.name.as_str());
        let event = room_key::open(&text, earlier, shared.room_key.as_ref(), to);
        shared.screen.show(Event::Told(Box::new(event)));
        Ok(())
    }
}

impl Shared {
    /// The server says what has become of a member. `is_told`: the person need not be told.
    fn news(&self, what: &str, name: &str, is_told: bool) {
        let mut names = self.names.lock();
        let what = match what {
            JOINED => News::Joined,
            LEFT => News::Left,
            REMOVED => News::Removed,
            IS_ADMIN => News::Admin,
            _ => return debug!("the server sent news of a kind that is not known here"),
        };
        match what {
            News::Removed => names.remove_member(name),
            _ => names.add_member(name),
        }
        let by = names.admin.as_deref().map(Name::of_peer);
        if what == News::Admin {
            names.admin = Some(name.to_owned());
        }
        drop(names);
        if is_told {
            return;
        }
        self.screen.show(Event::News {
            name: Name::of_peer(name),
            what,
            by,
            trust: self.trust(),
        });
    }
}

/// Somebody asks to join.
fn requested(shared: &Shared, name: &str, proof: Proof) {
    let mut names = shared.names.lock();
    names.add_request(name);
    let right = names.right(shared.name.as_str());
    drop(names);
    shared.screen.show(Event::Requested {
        name: Name::of_peer(name),
        proof,
        right,
        trust: shared.trust(),
    });
}

/// What a fernchat server says of a request, in front of the name.
fn proof_of(word: &str) -> Proof {
    match word.split_once(':') {
        Some(("key", fingerprint)) => Proof::Key(Name::of_peer(fingerprint)),
        Some((_, address)) => Proof::Address(Name::of_peer(address)),
        None => Proof::Nothing,
    }
}

/// Shows a text that is no step: a notice of the server, or a line that somebody said. `earlier`: it was said before the user joined, in
/// seconds since 1970.
pub(super) fn heard(shared: &Shared, text: &str, earlier: Option<u64>) {
    match text.split_once(": ") {
        Some((PYCHAT, notice)) => {
            if notice.ends_with(MADE_ADMIN) {
                shared.names.lock().admin = Some(shared.name.to_string());
            }
            return match notice.strip_suffix(HAS_REQUESTED) {
                Some(name) => requested(shared, name, Proof::Unknown),
                None => shared.screen.show(Event::Unsigned {
                    text: Words::of_peer(text),
                    trust: shared.trust(),
                }),
            };
        }
        Some((name, _)) if !shared.names.lock().hears(name) => return,
        _ => {}
    }
    let event = room_key::open(text, earlier, shared.room_key.as_ref(), None);
    shared.screen.show(event);
}
