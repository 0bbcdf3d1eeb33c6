//! The turn of one client: what may go to it now, and what must wait.
//!
//! A Python client takes the next frame for the answer that it waits for, even if the frame is something else. So the server sends it
//! nothing else from the echo of a command to the last frame of its dialogue. The same holds from `/receiveFile` to the end of a body.
//! Events that come meanwhile are parked, in order. They go out as soon as the dialogue and the delivery are both over.
//!
//! ```text
//!                   /receiveFile             /sendFilename              /sendFile              written
//!   delivery:  none ─────────────▶ name is due ─────────────▶ body is due ───────────▶ sending ─────────▶ none
//!                                     └── called off: the steps stay the same, but no body follows ──────▶
//!   dialogue:  closed ──open──▶ open ──close──▶ closed        (never opens while a name or a body is due)
//! ```
//!
//! No lock, no socket, no clock: what happens to the client is a call of a method. After each call that may let something go,
//! [`Turn::next_outgoing`] returns what goes out, in order, until there is nothing left.
//! Replies inside a dialogue do not come here. They are in turn by nature, and go straight into the outbox.
//! Invariant: what went in comes out once, in order, except for lines that gave way to [`Outgoing::Lost`] and what follows an end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::download::Download;
use super::frame::Frame;
use crate::net::departure::Departure;
use crate::net::listener::TICK;

/// How many bytes may be parked for a client, if its share of the memory allows. Meanwhile a person may be typing a name, and a file may
/// take minutes.
pub(crate) const MAX_PARKED: usize = 8 << 20;

/// What an entry costs in a queue that may be half empty.
const ENTRY_COST: usize = 2 * size_of::<Event>();

/// How many offers may wait for one client. For a Python client the one under way comes on top.
pub(crate) const MAX_OFFERS: usize = 64;

/// How many ticks of the server's clock a delivery may wait for an answer: those of 10 minutes. A Python client reads nothing between
/// `/accepted` and the next Enter.
pub(crate) const ANSWER_TICKS: u64 = 10 * 60 * 1000 / TICK.as_millis() as u64;

/// What may go to one client, and what must wait. The default is a client that has just joined.
#[derive(Default)]
pub(crate) struct Turn {
    is_dialogue_open: bool,
    delivery: Option<Delivery>,
    /// The step of the delivery that the client has asked for.
    wanted: Option<Outgoing>,
    /// A body is on its way through the outbox.
    is_sending: bool,
    /// What waits.
    parked: VecDeque<Event>,
    parked_len: usize,
    n_lost: u64,
    is_ended: bool,
}

/// A chat line, or a notice from the server.
#[derive(Clone)]
pub(crate) struct Line {
    /// Its frame.
    pub frame: Frame,
    /// Its number in the group; 0 for a notice.
    pub number: u64,
}

/// Something that reaches a client outside the dialogues that it started.
pub(crate) enum Event {
    /// A chat line or a notice.
    Line(Line),
    /// A file.
    Offer(Arc<Download>),
    /// The last frames for this client, and why its connection ends.
    End(Vec<Frame>, Departure),
}

/// What goes out.
pub(crate) enum Outgoing {
    /// This frame.
    Frame(Frame),
    /// This line.
    Line(Line),
    /// A notice: up to this many older lines were not kept.
    Lost(u64),
    /// The length and the body of the delivery; [`Turn::body_out`] is due when it is written.
    Body(Arc<Download>),
    /// In place of length and body: nothing follows.
    NoBody,
    /// These frames, and then the connection ends for this reason.
    End(Vec<Frame>, Departure),
}

/// A delivery that waits for its client.
struct Delivery {
    /// The file's name, until the client has asked for it.
    name: Option<Frame>,
    /// `None`: the delivery was called off.
    download: Option<Arc<Download>>,
}

impl Turn {
    /// Opens a dialogue. `false`: a delivery is owed an answer, and the command must wait for it.
    pub(crate) fn open_dialogue(&mut self) -> bool {
        self.is_dialogue_open = self.delivery.is_none();
        self.is_dialogue_open
    }

    /// The dialogue is over.
    pub(crate) fn close_dialogue(&mut self) {
        self.is_dialogue_open = false;
    }

    /// A line for the client. It comes back if it may go out at once. Otherwise it is parked.
    pub(crate) fn line(&mut self, line: Line) -> Option<Line> {
        if !self.is_busy() && self.parked.is_empty() && self.n_lost == 0 && !self.is_ended {
            return Some(line);
        }
        self.event(Event::Line(line));
        None
    }

    /// Whether the client is in the middle of something that no event may interrupt.
    fn is_busy(&self) -> bool {
        self.is_dialogue_open || self.delivery.is_some() || self.is_sending
    }

    /// Something for the client, which goes out with the next [`Turn::next_outgoing`] or is parked.
    pub(crate) fn event(&mut self, event: Event) {
        if self.is_ended {
            return;
        }
        if let Event::Line(line) = &event {
            self.parked_len += line.frame.bytes.len();
        }
        self.is_ended = matches!(event, Event::End(..));
        self.parked.push_back(event);
        self.lose_above(MAX_PARKED);
    }

    /// The bytes of the lines that are parked for the client, and perhaps for others as well.
    pub(crate) fn parked_len(&self) -> usize {
        self.parked_len
    }

    /// What the entries cost that hold what is parked, in bytes.
    pub(crate) fn entries_cost(&self) -> usize {
        self.parked.len() * ENTRY_COST
    }

    /// If what is parked costs more than this, in bytes with its entries, the oldest lines are lost.
    pub(crate) fn lose_above(&mut self, most: usize) {
        let is_line = |event: &Event| matches!(event, Event::Line(_));
        while self.parked_len + self.entries_cost() > most {
            let oldest = self.parked.iter().position(is_line);
            let removed = oldest.and_then(|at| self.parked.remove(at));
            let Some(Event::Line(line)) = removed else {
                return;
            };
            self.parked_len -= line.frame.bytes.len();
            self.n_lost += 1;
        }
    }

    /// A file for the client. `false`: too many files wait already, or the client is ending.
    pub(crate) fn offer(&mut self, download: Arc<Download>) -> bool {
        let is_offer = |event: &&Event| matches!(event, Event::Offer(_));
        let has_space = !self.is_ended && self.parked.iter().filter(is_offer).count() < MAX_OFFERS;
        if has_space {
            self.event(Event::Offer(download));
        }
        has_space
    }

    /// Up to this many lines, from before what comes next, were not kept.
    pub(crate) fn lost(&mut self, n: u64) {
        self.n_lost += n;
    }

    /// The client asks for the file's name. `false`: that is not due.
    pub(crate) fn name_wanted(&mut self) -> bool {
        let delivery = self.delivery.as_mut();
        let Some(delivery) = delivery.filter(|delivery| delivery.name.is_some()) else {
            return false;
        };
        delivery.download.iter().for_each(|it| it.waits_anew());
        self.wanted = delivery.name.take().map(Outgoing::Frame);
        true
    }

    /// The client asks for the body. `false`: that is not due.
    pub(crate) fn body_wanted(&mut self) -> bool {
        let delivery = self.delivery.take_if(|delivery| delivery.name.is_none());
        let Some(delivery) = delivery else {
            return false;
        };
        self.is_sending = delivery.download.is_some();
        self.wanted = Some(delivery.download.map_or(Outgoing::NoBody, Outgoing::Body));
        true
    }

    /// The body is written.
    pub(crate) fn body_out(&mut self) {
        self.is_sending = false;
    }

    /// The server's clock has ticked. If the client takes too long to answer, the delivery is called off; if an offer has waited as long,
    /// it is withdrawn. Returns their downloads. If the client answers after all, the steps go on, without a body.
    pub(crate) fn tick(&mut self) -> Vec<Arc<Download>> {
        let mut late = Vec::new();
        if let Some(delivery) = &mut self.delivery {
            late.extend(delivery.download.take_if(|download| download.tick()));
        }
        self.parked.retain(|event| match event {
            Event::Offer(download) if download.tick() => {
                late.push(Arc::clone(download));
                false
            }
            _ => true,
        });
        late
    }

    /// What goes out next.
    pub(crate) fn next_outgoing(&mut self) -> Option<Outgoing> {
        if self.wanted.is_some() {
            return self.wanted.take();
        }
        if self.is_busy() {
            return None;
        }
        if self.n_lost > 0 {
            return Some(Outgoing::Lost(std::mem::take(&mut self.n_lost)));
        }
        Some(match self.parked.pop_front()? {
            Event::Line(line) => {
                self.parked_len -= line.frame.bytes.len();
                Outgoing::Line(line)
            }
            Event::Offer(download) => {
                download.waits_anew();
                let [ask, name, _] = download.file.for_python.clone();
                self.delivery = Some(Delivery {
                    name: Some(name),
                    download: Some(download),
                });
                Outgoing::Frame(ask)
            }
            Event::End(frames, reason) => Outgoing::End(frames, reason),
        })
    }
}

#[cfg(test)]
#[path = "tests/turn.rs"]
mod tests;
