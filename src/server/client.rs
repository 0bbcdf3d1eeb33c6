//! A client, as the rest of the server sees it: who it is, and the way to it.
//!
//! In front of the client's outbox stands its [`Turn`], behind a mutex. What the turn lets go is pushed into the outbox before the mutex is
//! released, so nothing overtakes. This module knows neither the group nor the dialogues.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::deliveries::{Deliveries, stop};
use super::frame::{Frame, farewell, sealed_frame};
use super::joining::Joining;
use super::refusal::Refusal;
use super::turn::{Event, Line, MAX_PARKED, Outgoing, Turn};
use crate::net::connection::ClientId;
use crate::net::deadlines::Awaited;
use crate::net::departure::Departure;
use crate::net::fairness::Source;
use crate::net::outbox::Outbox;
use crate::seal::{Key, PublicKey};
use crate::wire::command::{self, CLOSING, Dialect, NO_BODY, WAIT_DISCONNECT};
use crate::wire::joining::Introduction;
use crate::wire::name::UserName;

/// If a client is disconnected, how long what is queued for it may take to be written.
const END_TIME: Duration = Duration::from_secs(30);

/// The same, if another is to get its place.
const ROOM_TIME: Duration = Duration::from_secs(1);

/// How long a client that is kicked or denied in the middle of a dialogue may take to finish it.
const KICK_TIME: Duration = Duration::from_secs(60);

/// One connected client.
pub(crate) struct Client {
    pub id: ClientId,
    /// Where it comes from, as far as limits are concerned.
    pub source: Source,
    /// The name of its user.
    pub name: UserName,
    /// What program it is.
    pub dialect: Dialect,
    /// The name that a fernchat client made up for its run. By this it is known again over another connection, and its messages have
    /// numbers. Empty for other clients.
    pub run: Arc<str>,
    /// The mark of the last line that such a client has received, or nothing: see the page of [`wire`](crate::wire).
    pub last_mark: Box<str>,
    /// The key that the user has proven to hold.
    pub user_key: Option<PublicKey>,
    /// The key of the server's run.
    pub key: Arc<Key>,
    /// What waits for a Python client. Nothing waits for a fernchat client.
    turn: Mutex<Turn>,
    /// The files on their way to a fernchat client.
    pub deliveries: Mutex<Deliveries>,
    /// What goes out to the client, behind the turn.
    pub outbox: Arc<Outbox>,
    /// It changes under the group's lock only.
    is_member: AtomicBool,
    was_member: AtomicBool,
}

impl Client {
    /// A client that has joined no group yet. Without an introduction, it speaks as Python programs do.
    pub(crate) fn new(
        joining: Joining,
        name: UserName,
        introduction: Option<Introduction>,
        user_key: Option<PublicKey>,
    ) -> Arc<Client> {
        Arc::new(Client {
            id: joining.id,
            source: joining.source,
            name,
            dialect: dialect(introduction),
            run: introduction.map_or("", |its| its.run).into(),
            last_mark: introduction.map_or("", |its| its.last_mark).into(),
            user_key,
            key: Arc::clone(&joining.shared.key),
            turn: Mutex::default(),
            deliveries: Mutex::default(),
            outbox: Arc::clone(joining.outbox),
            is_member: AtomicBool::new(false),
            was_member: AtomicBool::new(false),
        })
    }

    /// Whether the client numbers its messages. Then each of them is confirmed, and not echoed.
    pub(crate) fn numbers_messages(&self) -> bool {
        !self.run.is_empty()
    }

    /// Refuses the client if it is no member of its group: it waits for approval, or was kicked.
    pub(crate) fn check_member(&self) -> Result<(), Refusal> {
        let is_member = self.is_member.load(Ordering::Relaxed);
        is_member.then_some(()).ok_or(Refusal::NotMember)
    }

    /// The client becomes a member, or is none any more. Called under the group's lock.
    pub(crate) fn set_member(&self, is_member: bool) {
        self.is_member.store(is_member, Ordering::Relaxed);
        self.was_member.fetch_or(is_member, Ordering::Relaxed);
    }

    /// Sends a reply inside a dialogue, or something else that need not wait for its turn.
    pub(crate) fn reply(&self, frame: &Frame) {
        frame.send(self, &self.outbox);
    }

    /// Seals a text, and sends it as a reply.
    pub(crate) fn reply_text(&self, text: impl AsRef<[u8]>) {
        self.reply(&sealed_frame(&self.key, text));
    }

    /// Sends the word that ends the transfer of a file.
    pub(crate) fn reply_stop(&self, id: &str, reason: impl fmt::Display) {
        self.reply_text(stop(id, reason));
    }

    /// Sends a notice when its turn comes.
    pub(crate) fn send_notice(&self, frame: Frame) {
        self.send_line(Line { frame, number: 0 });
    }

    /// Sends a line when its turn comes.
    pub(crate) fn send_line(&self, line: Line) {
        if self.dialect == Dialect::Fernchat {
            return self.push_line(line);
        }
        let mut turn = self.turn.lock();
        let before = turn.entries_cost();
        if line.number == 0 {
            // A chat line counts in the backlog already.
            line.frame.bytes.count_in(&self.outbox.account().memory);
        }
        match turn.line(line) {
            Some(line) => self.push_line(line),
            None => self.count_parked(&mut turn, before),
        }
    }

    /// What is parked for the client, where entries cost `before` until now, has changed: it counts, and must stay within the client's share of the memory.
    fn count_parked(&self, turn: &mut Turn, before: usize) {
        let account = self.outbox.account();
        turn.lose_above(account.memory.share(MAX_PARKED));
        account.change(before, turn.entries_cost());
        account.park(turn.parked_len());
    }

    fn push_line(&self, Line { frame, number }: Line) {
        frame.goes_to(self);
        self.outbox.push_numbered(frame.bytes, number);
    }

    /// Tells the client something in the server's name, when its turn comes. Called without any lock.
    pub(crate) fn tell(&self, text: impl fmt::Display) {
        self.send_notice(sealed_frame(&self.key, command::notice(text)));
    }

    /// Disconnects the client when its turn comes. These frames are the last that it gets.
    pub(crate) fn end(self: &Arc<Client>, frames: Vec<Frame>, reason: &str) {
        let reason = Departure::Ended(reason.to_owned());
        if self.dialect == Dialect::Fernchat {
            frames.iter().for_each(|frame| self.reply(frame));
            return self.outbox.end(reason, END_TIME);
        }
        self.outbox.expect(Awaited::Finish, KICK_TIME);
        self.with_turn(|turn| turn.event(Event::End(frames, reason)));
    }

    /// Disconnects the client at once, and tells it why. What is pushed later is not sent.
    pub(crate) fn disconnect(&self, reason: &str, departure: Departure) {
        if self.dialect == Dialect::Python && !self.was_member.load(Ordering::Relaxed) {
            // While it waits for approval, it understands one word, and no reason.
            self.reply_text(WAIT_DISCONNECT);
        } else {
            for frame in farewell(&self.key, self.dialect, &[], CLOSING, reason) {
                self.reply(&frame);
            }
        }
        self.outbox.end(departure, END_TIME);
    }

    /// Disconnects the client, so that another gets its place.
    pub(crate) fn make_room(&self) {
        let reason = "The server is full, and your address has most of its places.";
        self.disconnect(reason, Departure::MadeRoom);
        // Its thread and its descriptor are wanted, too.
        self.outbox.end(Departure::MadeRoom, ROOM_TIME);
    }

    /// The server's clock has ticked. Called without any lock: if a download takes too long, it is dropped here, perhaps with its file.
    pub(crate) fn tick(self: &Arc<Client>) {
        drop(self.with_turn(Turn::tick));
        self.withdraw_late();
    }

    /// Up to this many lines, from before what comes next, were not kept.
    pub(crate) fn tell_lost(self: &Arc<Client>, n: u64) {
        match self.dialect {
            Dialect::Python => self.with_turn(|turn| turn.lost(n)),
            Dialect::Fernchat if n > 0 => self.tell(lost(n)),
            Dialect::Fernchat => {}
        }
    }

    /// Tells the turn what happens, and sends what it lets go. Two short frames are sealed here, under the turn's lock, because only the
    /// turn knows that they are due.
    pub(crate) fn with_turn<T>(self: &Arc<Client>, tell: impl FnOnce(&mut Turn) -> T) -> T {
        let mut turn = self.turn.lock();
        let before = turn.entries_cost();
        let answer = tell(&mut turn);
        while let Some(pass) = turn.next_outgoing() {
            match pass {
                Outgoing::Frame(frame) => self.reply(&frame),
                Outgoing::Line(line) => self.push_line(line),
                Outgoing::Lost(n) => self.reply_text(command::notice(lost(n))),
                Outgoing::Body(download) => self.outbox.push_job(download.job(Arc::clone(self))),
                Outgoing::NoBody => self.reply_text(NO_BODY),
                Outgoing::End(frames, reason) => {
                    frames.iter().for_each(|frame| self.reply(frame));
                    self.outbox.end(reason, END_TIME);
                }
            }
        }
        self.count_parked(&mut turn, before);
        answer
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "client {} {}", self.id, self.name)
    }
}

/// The notice of lines that were not kept.
fn lost(n: u64) -> String {
    format!("Up to {n} earlier lines were not kept.")
}

/// A fernchat client introduces itself, a Python client does not.
pub(crate) fn dialect(introduction: Option<Introduction>) -> Dialect {
    introduction.map_or(Dialect::Python, |_| Dialect::Fernchat)
}
