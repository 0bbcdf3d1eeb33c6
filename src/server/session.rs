//! One client's way through the protocol: greeting, waiting, dialogues.
//!
//! A dialogue is one function that reads like its row in the table of [`wire`](crate::wire): echo, acknowledgement, right, answer, reply.
//! A blocking read is what a thread for each client is for: where the client is in the protocol is where the code is. Frames come from
//! an `impl Read` and replies go into an outbox, so no test of this room needs a socket.
//!
//! Where an answer is due, a Python client may have typed its next command ahead: [`Session::next_answer`] keeps it, and it runs next.
//! The two answers of a delivery go to the turn when, and only when, it is owed them.
//! Invariant: whatever ends a session, its member is offline afterwards ([`Drop`]), also after a panic.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crossbeam_channel::Sender;
use log::{debug, info, trace};
use parking_lot::Mutex;

use super::group::{Group, JoinFrames, Joined, Refusal};
use super::seat::{seal, seal_all, Delivery, Failure, Peer, Receipt, Seat};
use super::spool::{Body, Spool, SpoolError};
use super::table::GroupTable;
use super::turn::{Frames, Offer};
use crate::net::connection::{ClientId, Departure};
use crate::net::outbox::Outbox;
use crate::seal::{token_len, Key};
use crate::terminal::size;
use crate::wire::command::{
    self, Command, ACCEPTED, ADMIN_READY, DENY, FERNCHAT, FILE_ERROR, KICKED, PROCEED, READY,
    RECEIVE_FILE, REFUSED, SENDING_DATA, SEND_FILE, SEND_FILENAME, SEND_GROUP_NAME, WAIT,
    WAIT_DISCONNECT,
};
use crate::wire::frame::{FrameReader, Piece, WireError, MAX_FRAME, MAX_GREETING_FRAME, MAX_TEXT};
use crate::wire::name::{FileName, GroupName, UserName};
use crate::wire::name_set;

/// How many commands a client may type ahead. A page of pasted lines fits many times.
const MAX_HELD: usize = 4096;

/// How much of a body is read at once, in bytes.
const BODY_STEP: usize = 256 << 10;

/// What all sessions of a server share.
pub struct House {
    /// The key of this run, the same for every client.
    pub key: Arc<Key>,
    /// The groups.
    pub table: GroupTable,
    /// Uploaded bodies.
    pub spool: Spool,
    /// How many clients have been seated.
    pub n_seated: AtomicUsize,
    /// How many may be.
    pub max_clients: usize,
    /// The largest file that is taken, in bytes.
    pub max_file: u64,
    /// The largest file that is offered to a Python client, in bytes; `None`: any.
    pub python_file_limit: Option<u64>,
    /// Where deliveries that failed are reported.
    pub failures: Sender<Failure>,
}

/// See the module's page.
pub struct Session<'a, R> {
    house: &'a House,
    incoming: Incoming<'a, R>,
    seat: Arc<Seat>,
    group: Arc<Mutex<Group>>,
    group_name: GroupName,
    /// Commands that came where an answer was due.
    held: VecDeque<Command>,
    _place: Place<'a>,
}

/// The frames of one client, opened.
struct Incoming<'a, R> {
    frames: FrameReader<R>,
    key: &'a Key,
}

impl<R: Read> Incoming<'_, R> {
    fn text(&mut self) -> Result<String, Departure> {
        let token = self
            .frames
            .next_frame(&|token| self.key.opens(token))?
            .ok_or(Departure::HungUp)?;
        trace!("a frame of {} bytes", token.len());
        self.open(&token)
    }

    fn open(&self, token: &[u8]) -> Result<String, Departure> {
        let text = self.key.open(token).map_err(|_| WireError::NotOpened)?;
        if text.len() > MAX_TEXT {
            return Err(WireError::TextTooLong(text.len()).into());
        }
        String::from_utf8(text).map_err(|_| WireError::NotUtf8.into())
    }
}

impl From<WireError> for Departure {
    fn from(error: WireError) -> Departure {
        match error {
            WireError::CutOff | WireError::Io(_) => Departure::HungUp,
            broken => Departure::Broke(broken.to_string()),
        }
    }
}

impl<'a, R: Read> Session<'a, R> {
    /// Joining: the five steps. Returns the session of a client that is a member or waits.
    ///
    /// # Errors
    /// The client is not seated: it went away, broke the protocol, or was refused and told so.
    pub fn greet(
        house: &'a House,
        id: ClientId,
        outbox: &Arc<Outbox>,
        stream: R,
    ) -> Result<Session<'a, R>, Departure> {
        let key = &house.key;
        let mut incoming = Incoming {
            frames: FrameReader::new(stream, MAX_GREETING_FRAME),
            key,
        };
        outbox.push(key.as_str().as_bytes().into());
        let user = incoming.text()?;
        outbox.push(seal(key, format!("{SEND_GROUP_NAME} {FERNCHAT}")));
        let answer = incoming.text()?;
        incoming.frames.allow(MAX_FRAME);

        let (peer, group) = match answer
            .strip_suffix(FERNCHAT)
            .and_then(|rest| rest.strip_suffix('\n'))
        {
            Some(group) => (Peer::Fernchat, group),
            None => (Peer::Python, answer.as_str()),
        };
        let refuse = |code: &str, reason: String| {
            outbox.push(match peer {
                // All that a Python client can show: it is let in, reads the reason, and is put out again.
                Peer::Python => seal_all(key, &[READY, &command::notice(&reason), KICKED]),
                Peer::Fernchat => seal(key, format!("{REFUSED} {code} {reason}")),
            });
            Departure::Refused(reason)
        };
        let name = UserName::parse(&user).map_err(|error| refuse("bad-name", error.to_string()))?;
        let group_name =
            GroupName::parse(group).map_err(|error| refuse("bad-name", error.to_string()))?;
        let place = Place::take(house)
            .ok_or_else(|| refuse("full", "the server is full; try again later".into()))?;
        let seat = Seat::new(id, name, peer, Arc::clone(key), Arc::clone(outbox));
        let frames = JoinFrames {
            admin_ready: seal(key, ADMIN_READY),
            ready: seal(key, READY),
            wait: seal(key, WAIT),
            request: seal(
                key,
                command::notice(format!("{} has requested to join the group.", seat.name)),
            ),
        };
        let (group, joined) = house
            .table
            .join(&group_name, &seat, &frames)
            .map_err(|refusal| match refusal {
                Refusal::Full => refuse("full", refusal.to_string()),
                _ => refuse("name-taken", refusal.to_string()),
            })?;
        match joined {
            Joined::AsAdmin => info!("{} created group {group_name}", seat.name),
            Joined::AsMember => info!("{} joined group {group_name}", seat.name),
            Joined::Waiting => info!("{} asks to join group {group_name}", seat.name),
        }
        Ok(Session {
            house,
            incoming,
            seat,
            group,
            group_name,
            held: VecDeque::new(),
            _place: place,
        })
    }

    /// What the log calls this client.
    pub fn who(&self) -> String {
        format!("{} in {}", self.seat.name, self.group_name)
    }

    /// Runs the dialogues, one after the other, until the client departs.
    pub fn run(mut self) -> Departure {
        loop {
            if let Err(departure) = self.next_dialogue() {
                if let Departure::Broke(reason) = &departure {
                    self.seat.close(
                        &format!("The connection is closed: {reason}."),
                        departure.clone(),
                    );
                }
                return departure;
            }
        }
    }

    fn next_dialogue(&mut self) -> Result<(), Departure> {
        let command = self.next_command()?;
        // A client that floods commands and does not read the answers waits for itself.
        self.seat.outbox().wait_for_room(self.seat.outbox());
        if !self.group.lock().has_member(self.seat.id, &self.seat.name) {
            debug!("{} is no member: {command} has no effect", self.seat.name);
            self.seat.close_dialogue();
            return Ok(());
        }
        debug!("{} {command}", self.seat.name);
        self.reply(command.word());
        match command {
            Command::ViewRequests => self.view_requests(),
            Command::ApproveRequest => self.approve_request(),
            Command::Disconnect => self.disconnect(),
            Command::AllMembers => self.members(Group::members),
            Command::OnlineMembers => self.members(Group::members_online),
            Command::ChangeAdmin => self.change_admin(),
            Command::WhoAdmin => self.who_admin(),
            Command::KickMember => self.kick_member(),
            Command::FileTransfer => self.file_transfer(),
            Command::MessageSend => self.message_send(),
        }?;
        self.seat.close_dialogue();
        Ok(())
    }

    // ---- the dialogues, after the echo ----

    fn view_requests(&mut self) -> Result<(), Departure> {
        self.next_answer()?; // the acknowledgement
        let requests = self.group.lock().requests(&self.seat);
        match requests {
            Ok(names) => {
                self.reply(SENDING_DATA);
                self.next_answer()?; // ready for data
                self.reply_set(&names);
            }
            Err(refusal) => self.reply(refusal.to_string()),
        }
        Ok(())
    }

    fn approve_request(&mut self) -> Result<(), Departure> {
        self.decide_on(|session, answer| match answer.strip_prefix(DENY) {
            Some(name) => session.deny(name),
            None => session.approve(answer),
        })
    }

    fn approve(&self, name: &str) -> Result<String, Refusal> {
        let accepted = seal(&self.house.key, ACCEPTED);
        self.group.lock().approve(&self.seat, name, &accepted)?;
        info!(
            "{} approved {name} in group {}",
            self.seat.name, self.group_name
        );
        Ok(format!("{name} is now a member of the group."))
    }

    fn deny(&self, name: &str) -> Result<String, Refusal> {
        let waiting = self.group.lock().deny(&self.seat, name)?;
        info!(
            "{} denied {name} in group {}",
            self.seat.name, self.group_name
        );
        if let Some(seat) = waiting {
            let reason = "The admin denied your request to join.";
            let frames = match seat.peer {
                Peer::Python => seal_all(
                    &self.house.key,
                    &[ACCEPTED, &command::notice(reason), KICKED],
                ),
                Peer::Fernchat => seal(&self.house.key, format!("{REFUSED} denied {reason}")),
            };
            seat.end(frames, Departure::Denied);
        }
        Ok(format!("The request of {name} is denied."))
    }

    fn disconnect(&mut self) -> Result<(), Departure> {
        self.next_answer()?; // the acknowledgement
        Err(Departure::Left)
    }

    fn members(
        &mut self,
        names: fn(&Group, &Seat) -> Result<Vec<UserName>, Refusal>,
    ) -> Result<(), Departure> {
        self.next_answer()?; // the acknowledgement
        let names = names(&self.group.lock(), &self.seat);
        // Kicked meanwhile: a set is due all the same, or the client would take the refusal for one.
        self.reply_set(&names.unwrap_or_default());
        Ok(())
    }

    fn change_admin(&mut self) -> Result<(), Departure> {
        self.decide_on(|session, name| {
            let text = format!("{} made you the admin of the group.", session.seat.name);
            let notice = seal(&session.house.key, command::notice(text));
            session
                .group
                .lock()
                .hand_over(&session.seat, name, &notice)?;
            info!(
                "{} handed group {} over to {name}",
                session.seat.name, session.group_name
            );
            Ok(format!("{name} is now the admin of the group."))
        })
    }

    fn who_admin(&mut self) -> Result<(), Departure> {
        let asked = self.next_answer()?;
        let admin = self.group.lock().who_administers(&self.seat);
        self.reply(match admin {
            _ if asked != self.group_name.as_str() => {
                format!(
                    "You are in the group {}; ask about that one.",
                    self.group_name
                )
            }
            Ok(admin) => command::line(command::ADMIN, admin.as_str()),
            Err(refusal) => refusal.to_string(),
        });
        Ok(())
    }

    fn kick_member(&mut self) -> Result<(), Departure> {
        self.decide_on(|session, name| {
            let kicked = session.group.lock().kick(&session.seat, name)?;
            info!(
                "{} kicked {name} out of group {}",
                session.seat.name, session.group_name
            );
            if let Some(seat) = kicked {
                seat.end(seal(&session.house.key, KICKED), Departure::Kicked);
            }
            Ok(format!("{name} is not a member of the group any more."))
        })
    }

    fn file_transfer(&mut self) -> Result<(), Departure> {
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

    fn message_send(&mut self) -> Result<(), Departure> {
        // Whatever the next frame says, it is the text: here a Python client cannot type ahead.
        let text = self.incoming.text()?;
        let line = seal(&self.house.key, command::line(&self.seat.name, &text));
        self.wait_for_room();
        if self.group.lock().say(&self.seat, &line).is_err() {
            debug!("{} was kicked before the text came", self.seat.name);
        }
        Ok(())
    }

    // ---- what the dialogues have in common ----

    /// The dialogues in which the admin decides about a name: acknowledgement, right, name, result.
    fn decide_on(
        &mut self,
        act: impl FnOnce(&Self, &str) -> Result<String, Refusal>,
    ) -> Result<(), Departure> {
        self.next_answer()?; // the acknowledgement
        let right = self.group.lock().may_decide(&self.seat);
        if let Err(refusal) = right {
            self.reply(refusal.to_string());
            return Ok(());
        }
        if self.held.contains(&Command::MessageSend) {
            // A Python client with a message under way would wait for its echo and never send the name.
            self.reply("You were typing something else meanwhile: please try again.");
            return Ok(());
        }
        self.reply(PROCEED);
        let name = self.next_answer()?;
        self.reply(act(self, &name).unwrap_or_else(|refusal| refusal.to_string()));
        Ok(())
    }

    /// Takes the `length` bytes of a body off the stream, whatever becomes of them, and stores them.
    fn store(&mut self, length: u64, longest: u64) -> Result<Result<Body, SpoolError>, Departure> {
        let house = self.house;
        let mut stored = match length > longest {
            true => Err(SpoolError::TooLarge {
                limit: house.max_file,
            }),
            false => house.spool.begin(&house.key),
        };
        let mut piece = vec![0; BODY_STEP];
        let mut left = length;
        while left > 0 {
            match self
                .incoming
                .frames
                .next_piece(left, &mut piece, &|token| house.key.opens(token))?
            {
                Piece::Body(n) => {
                    left -= n as u64;
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
        Ok(stored.and_then(super::spool::Incoming::finish))
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
                uploader: Arc::clone(uploader),
                receiver: seat.name.clone(),
                file: file.clone(),
            };
            let receipt = Receipt::new(house.failures.clone(), failure);
            let delivery = Delivery {
                length: Frames::clone(&length),
                body: Arc::clone(&body),
                receipt,
            };
            // An offer that comes back is dropped, and reported by its receipt.
            if seat
                .offer(Offer {
                    ask,
                    name: Frames::clone(&name),
                    body: delivery,
                })
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

    /// Waits, holding no lock, while some other member has no room for more: so a flood slows the flooder.
    fn wait_for_room(&self) {
        let full = || {
            let group = self.group.lock();
            let mut others = group.others(&self.seat).ok()?;
            others.find(|seat| !seat.outbox().has_room()).cloned()
        };
        while let Some(seat) = full() {
            seat.outbox().wait_for_room(self.seat.outbox());
            if self.seat.outbox().is_ending() {
                return;
            }
        }
    }

    /// The next command, kept from before or read now, with its dialogue open.
    fn next_command(&mut self) -> Result<Command, Departure> {
        loop {
            if !self.held.is_empty() && self.seat.open_dialogue() {
                if let Some(command) = self.held.pop_front() {
                    return Ok(command);
                }
            }
            let text = self.incoming.text()?;
            match Command::parse(&text) {
                Some(command) => self.hold(command)?,
                None if text == SEND_FILENAME && self.seat.name_wanted() => {}
                None if text == SEND_FILE && self.seat.body_wanted() => {}
                None if text == WAIT_DISCONNECT => {
                    let farewell = seal(&self.house.key, WAIT_DISCONNECT);
                    if self.group.lock().stop_waiting(&self.seat, &farewell) {
                        return Err(Departure::Left);
                    }
                }
                None => debug!("{} sent a frame that is no command", self.seat.name),
            }
        }
    }

    /// The next answer of the open dialogue. A command that was typed ahead is kept for later. While a dialogue is open,
    /// no delivery is owed an answer.
    fn next_answer(&mut self) -> Result<String, Departure> {
        loop {
            let text = self.incoming.text()?;
            match Command::parse(&text) {
                Some(command) => self.hold(command)?,
                None => return Ok(text),
            }
        }
    }

    fn hold(&mut self, command: Command) -> Result<(), Departure> {
        if self.held.len() == MAX_HELD {
            return Err(Departure::Broke(format!(
                "more than {MAX_HELD} commands typed ahead"
            )));
        }
        self.held.push_back(command);
        Ok(())
    }

    fn reply(&self, text: impl AsRef<[u8]>) {
        self.seat.reply(seal(&self.house.key, text));
    }

    /// Replies with a set of names. What does not fit into a text is counted in a last element.
    fn reply_set(&self, names: &[UserName]) {
        let mut room = MAX_TEXT - 100;
        let fits = |name: &&UserName| {
            let n = name.as_str().len() + 5;
            room = room.saturating_sub(n);
            room > 0
        };
        let mut shown: Vec<String> = names
            .iter()
            .take_while(fits)
            .map(ToString::to_string)
            .collect();
        if shown.len() < names.len() {
            shown.push(format!("... and {} more", names.len() - shown.len()));
        }
        self.reply(name_set::encode(shown.iter().map(String::as_str)));
    }
}

impl<R> Drop for Session<'_, R> {
    fn drop(&mut self) {
        self.group.lock().leave(&self.seat);
        debug!("{} is offline in group {}", self.seat.name, self.group_name);
    }
}

/// One of the places for clients that have said who they are. Dropped, it is free again.
struct Place<'a>(&'a House);

impl<'a> Place<'a> {
    fn take(house: &'a House) -> Option<Place<'a>> {
        let n = house.n_seated.fetch_add(1, Ordering::Relaxed);
        let place = Place(house);
        (n < house.max_clients).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.n_seated.fetch_sub(1, Ordering::Relaxed);
    }
}
