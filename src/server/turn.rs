//! The turn of one client: what may go to it now, and what must wait.
//!
//! A Python client takes the next frame for the answer, whatever it is. So from the echo of a command to the last frame of its
//! dialogue nothing else may be sent, nor between `/receiveFile` and the end of the body. What comes meanwhile is parked, in
//! order, and let go as soon as both are over.
//!
//! ```text
//!                    offer passes            /sendFilename          /sendFile              body out
//!   delivery:  None ─────────────▶ Offered ───────────────▶ Named ─────────────▶ Sending ───────────▶ None
//!                                     └── called off: the steps stay the same, but no body follows ──▶
//!   dialogue:  closed ──open──▶ open ──close──▶ closed        (never opens while an answer of a delivery is due)
//! ```
//!
//! Pure: no lock, no socket, no clock. Inputs are the methods, outputs are the [`Pass`]es, in the order in which they must go out.
//! Replies inside a dialogue do not come here: they are in turn by nature, and go straight into the outbox.
//! Invariant: whatever went in comes out once, in order, but for lines that gave way to [`Pass::Lost`] and what follows an ending.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::net::connection::Departure;

/// The bytes of one or more whole frames.
pub type Frames = Arc<[u8]>;

/// How many bytes may be parked for a client. A person may be typing a name meanwhile, and a file may take minutes.
const MAX_PARKED: usize = 8 << 20;

/// How many offers may wait for one client, the one under way not counted.
pub const MAX_OFFERS: usize = 64;

/// How many ticks of the server's clock a delivery may wait for an answer. A Python client reads nothing between `/accepted` and
/// the next Enter, so this is 10 minutes.
const ANSWER_TICKS: u32 = 10 * 60 * 4;

/// A file that is offered to one client. `B` is what it takes to write the body; this room does not look into it.
pub struct Offer<B> {
    /// The frame that begins the delivery.
    pub ask: Frames,
    /// The frame with the file's name.
    pub name: Frames,
    /// The body, with its length.
    pub body: B,
}

/// Something that reaches a client outside the dialogues that it started.
pub enum Event<B> {
    /// A chat line or a word from the server.
    Line(Frames),
    /// A file.
    Offer(Offer<B>),
    /// The last thing this client hears, and why.
    End(Frames, Departure),
}

/// What may go out now.
#[derive(Debug, PartialEq, Eq)]
pub enum Pass<B> {
    /// These frames.
    Frames(Frames),
    /// A line that says how many older lines gave way.
    Lost(usize),
    /// The length and the body of the delivery; [`Turn::body_out`] is due when it is written.
    Body(B),
    /// In place of length and body: nothing follows.
    NoBody,
    /// These frames, and then the connection ends for this reason.
    End(Frames, Departure),
}

/// See the module's page.
pub struct Turn<B> {
    is_dialogue_open: bool,
    delivery: Option<Delivery<B>>,
    parked: VecDeque<Event<B>>,
    parked_len: usize,
    n_offers: usize,
    n_lost: usize,
    is_ended: bool,
}

enum Delivery<B> {
    /// `/receiveFile` went out. No body: the delivery was called off.
    Offered {
        name: Frames,
        body: Option<B>,
        ticks: u32,
    },
    /// The file's name went out.
    Named { body: Option<B>, ticks: u32 },
    /// The body is on its way through the outbox.
    Sending,
}

/// The turn of a client that has just joined.
impl<B> Default for Turn<B> {
    fn default() -> Turn<B> {
        Turn {
            is_dialogue_open: false,
            delivery: None,
            parked: VecDeque::new(),
            parked_len: 0,
            n_offers: 0,
            n_lost: 0,
            is_ended: false,
        }
    }
}

impl<B> Turn<B> {
    /// Opens a dialogue, unless a delivery is owed an answer: then the command must wait for it.
    pub fn open_dialogue(&mut self) -> bool {
        self.is_dialogue_open = !self.is_answer_due();
        self.is_dialogue_open
    }

    /// The dialogue is over.
    pub fn close_dialogue(&mut self) -> Vec<Pass<B>> {
        self.is_dialogue_open = false;
        self.let_go()
    }

    /// Something for the client, which goes now or is parked.
    pub fn event(&mut self, event: Event<B>) -> Vec<Pass<B>> {
        if self.is_ended {
            return Vec::new();
        }
        self.park(event);
        self.let_go()
    }

    /// Whether an offer more may come.
    pub fn has_room_for_offer(&self) -> bool {
        self.n_offers < MAX_OFFERS && !self.is_ended
    }

    /// The client asks for the file's name. `None` if that is not due.
    pub fn name_wanted(&mut self) -> Option<Pass<B>> {
        match self.delivery.take() {
            Some(Delivery::Offered { name, body, .. }) => {
                self.delivery = Some(Delivery::Named { body, ticks: 0 });
                Some(Pass::Frames(name))
            }
            other => {
                self.delivery = other;
                None
            }
        }
    }

    /// The client asks for the body. `None` if that is not due.
    pub fn body_wanted(&mut self) -> Option<Vec<Pass<B>>> {
        match self.delivery.take() {
            Some(Delivery::Named {
                body: Some(body), ..
            }) => {
                self.delivery = Some(Delivery::Sending);
                Some(vec![Pass::Body(body)])
            }
            Some(Delivery::Named { body: None, .. }) => {
                let mut passes = vec![Pass::NoBody];
                passes.append(&mut self.let_go());
                Some(passes)
            }
            other => {
                self.delivery = other;
                None
            }
        }
    }

    /// The body is written.
    pub fn body_out(&mut self) -> Vec<Pass<B>> {
        self.delivery = None;
        self.let_go()
    }

    /// The server's clock has ticked. A delivery whose receiver takes too long to answer is called off: its body is given back
    /// here, and the steps go on without it when the answer comes after all.
    pub fn tick(&mut self) -> Option<B> {
        match &mut self.delivery {
            Some(Delivery::Offered { body, ticks, .. } | Delivery::Named { body, ticks }) => {
                *ticks += 1;
                if *ticks < ANSWER_TICKS {
                    return None;
                }
                body.take()
            }
            Some(Delivery::Sending) | None => None,
        }
    }

    fn is_answer_due(&self) -> bool {
        matches!(
            self.delivery,
            Some(Delivery::Offered { .. } | Delivery::Named { .. })
        )
    }

    fn park(&mut self, event: Event<B>) {
        match &event {
            Event::Line(frames) => self.parked_len += frames.len(),
            Event::Offer(_) => self.n_offers += 1,
            Event::End(..) => self.is_ended = true,
        }
        self.parked.push_back(event);
        while self.parked_len > MAX_PARKED {
            let Some(at) = self
                .parked
                .iter()
                .position(|event| matches!(event, Event::Line(_)))
            else {
                return;
            };
            if let Some(Event::Line(frames)) = self.parked.remove(at) {
                self.parked_len -= frames.len();
                self.n_lost += 1;
            }
        }
    }

    fn let_go(&mut self) -> Vec<Pass<B>> {
        let mut passes = Vec::new();
        while !self.is_dialogue_open && self.delivery.is_none() {
            if self.n_lost > 0 {
                passes.push(Pass::Lost(std::mem::take(&mut self.n_lost)));
            }
            match self.parked.pop_front() {
                None => break,
                Some(Event::Line(frames)) => {
                    self.parked_len -= frames.len();
                    passes.push(Pass::Frames(frames));
                }
                Some(Event::Offer(Offer { ask, name, body })) => {
                    self.n_offers -= 1;
                    self.delivery = Some(Delivery::Offered {
                        name,
                        body: Some(body),
                        ticks: 0,
                    });
                    passes.push(Pass::Frames(ask));
                }
                Some(Event::End(frames, reason)) => passes.push(Pass::End(frames, reason)),
            }
        }
        passes
    }
}
