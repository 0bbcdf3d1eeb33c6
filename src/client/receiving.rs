//! What arrives: steps for the dialogue, events for the person, files.
//!
//! ```text
//!   frame ── is the expected step? ─▶ sending thread
//!         └─ else an event: a line is shown, a control word is obeyed, a delivery goes on
//! ```
//!
//! A delivery is three frames and a body: the offer, the name, the length. A Python server may send the name and the rest before our
//! answers, and other frames between them, so deliveries are remembered instead of awaited; both answers are given in any case.
//! Invariant: nothing that the server sends makes this loop wait for the person.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Sender;
use log::debug;

use super::files::{Download, Seal};
use super::joining::Frames;
use super::link::{Link, SERVER};
use super::room_key;
use super::sending::Sending;
use super::step::{is_line, speaker_of};
use super::{ClientError, Shared};
use crate::net::is_late;
use crate::seal::stamp_of;
use crate::terminal::SaidAt;
use crate::wire::command::{
    ACCEPTED, CLOSING, Dialect, KICKED, PYCHAT, RECEIVE_FILE, SEND_FILE, SEND_FILENAME,
    WAIT_DISCONNECT, after, refusal,
};
use crate::wire::frame::{BODY_STEP, Piece, WireError, mark};
use crate::wire::name::FileName;
use crate::wire::name_set;
use crate::wire::size;
use crate::wire::watch;

/// How many deliveries a server may begin without ending one.
const MAX_DELIVERIES: usize = 64;

/// A file on its way to this client.
struct Delivery {
    /// Who shares it, where the server says so.
    from: Option<String>,
    /// Its name, once that has come.
    name: Option<FileName>,
}

/// What a frame leads to.
enum Next {
    /// The frame after it.
    Frame,
    /// A body of so many bytes.
    Body(Delivery, u64),
    /// The end, which is no failure: the admin put the person out.
    End,
}

/// The half that receives. See the module's page.
pub struct Receiving {
    link: Arc<Link>,
    shared: Arc<Shared>,
    frames: Frames,
    /// Steps, to the sending thread.
    steps: Sender<Vec<u8>>,
    /// The other half.
    sending: Arc<Sending>,
    deliveries: VecDeque<Delivery>,
    /// A step of a dialogue that may have been the name of a delivery, which a Python server sends before it is asked: if a length
    /// comes and no name has, it was.
    mistaken: String,
}

impl Receiving {
    /// The half that receives what follows joining.
    pub fn new(
        link: Arc<Link>,
        frames: Frames,
        steps: Sender<Vec<u8>>,
        sending: Arc<Sending>,
    ) -> Receiving {
        Receiving {
            shared: Arc::clone(&link.shared),
            link,
            frames,
            steps,
            sending,
            deliveries: VecDeque::new(),
            mistaken: String::new(),
        }
    }

    /// Receives until the connection ends.
    ///
    /// # Errors
    /// The connection ended, and the person did not ask for it.
    pub fn receiving_loop(mut self) -> Result<(), ClientError> {
        loop {
            let link = Arc::clone(&self.link);
            let token = self.read(|frames| frames.next_frame(&|token| link.key().opens(token)))?;
            let token = token.ok_or(WireError::CutOff)?;
            match self.frame(&token)? {
                Next::Frame => {}
                Next::Body(delivery, length) => {
                    link.is_receiving.store(true, Ordering::SeqCst);
                    if let Next::End = self.body(delivery, length)? {
                        return Ok(());
                    }
                    link.is_receiving.store(false, Ordering::SeqCst);
                }
                Next::End => return Ok(()),
            }
        }
    }

    /// Reads on. If nothing comes for a while, a Python server may have missed the answer to its delivery, so that is given again.
    fn read<T>(
        &mut self,
        mut read: impl FnMut(&mut Frames) -> Result<T, WireError>,
    ) -> Result<T, ClientError> {
        loop {
            match read(&mut self.frames) {
                Err(WireError::Io(error)) if is_late(&error) => self.link.answer_again()?,
                result => return Ok(result?),
            }
        }
    }

    /// Does what a frame asks for.
    fn frame(&mut self, token: &[u8]) -> Result<Next, ClientError> {
        let bytes = self
            .link
            .key()
            .open(token)
            .map_err(|_| WireError::NotOpened)?;
        watch::came(SERVER, token.len(), &bytes);
        if self.is_step(&bytes) {
            self.note_mistake(&bytes);
            // The sending thread may have given up on it meanwhile.
            let _ = self.steps.try_send(bytes);
            return Ok(Next::Frame);
        }
        let Ok(text) = String::from_utf8(bytes) else {
            debug!("the server sent a set that nobody asked for, or a text that is not UTF-8");
            return Ok(Next::Frame);
        };
        match text.as_str() {
            KICKED => {
                self.shared
                    .terminal
                    .show("You have been put out of the group.");
                return Ok(Next::End);
            }
            WAIT_DISCONNECT => {
                return Err(ClientError::Closed(
                    "it ends those who wait for approval".into(),
                ));
            }
            ACCEPTED => {
                self.shared.known.approved();
                self.shared
                    .terminal
                    .show("You have been approved: say hello. /help lists the commands.");
                self.sending.wake();
                return Ok(Next::Frame);
            }
            _ => {}
        }
        if let Some(reason) = after(CLOSING, &text) {
            return Err(ClientError::Closed(reason.to_owned()));
        }
        if let Some(refused) = refusal(&text) {
            return Err(refused.into());
        }
        if let Some(from) = after(RECEIVE_FILE, &text) {
            return self.offer((!from.is_empty()).then(|| from.to_owned()));
        }
        if self.link.server == Dialect::Fernchat && text.starts_with('/') {
            // No line and no file name begins like this: it is a word of a later version.
            debug!("the server sent a word that is not known here");
            return Ok(Next::Frame);
        }
        self.delivery_step(&text, token)
    }

    /// Whether these bytes are the step that the sending thread waits for. If so, it is not expected again.
    fn is_step(&self, bytes: &[u8]) -> bool {
        let mut dialogue = self.link.dialogue.lock();
        let is_step = dialogue
            .expected
            .as_ref()
            .is_some_and(|expected| expected.is(bytes, self.link.server));
        if is_step {
            dialogue.expected = None;
        }
        is_step
    }

    /// Notes a step that could as well be the name that a delivery waits for.
    fn note_mistake(&mut self, step: &[u8]) {
        let is_name_due = self
            .deliveries
            .iter()
            .any(|delivery| delivery.name.is_none());
        if self.link.server == Dialect::Python && is_name_due && !step.starts_with(b"/") {
            self.mistaken = String::from_utf8_lossy(step).into_owned();
        }
    }

    fn offer(&mut self, from: Option<String>) -> Result<Next, ClientError> {
        if self.deliveries.len() == MAX_DELIVERIES {
            return Err(WireError::NotTheStep("the end of a delivery").into());
        }
        self.deliveries.push_back(Delivery { from, name: None });
        self.link.answer(SEND_FILENAME)?;
        Ok(Next::Frame)
    }

    /// A text that is the next step of a delivery, or else a line, which may have been said before this client joined.
    fn delivery_step(&mut self, text: &str, token: &[u8]) -> Result<Next, ClientError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            if !self.mistaken.is_empty()
                && self
                    .deliveries
                    .iter()
                    .all(|delivery| delivery.name.is_none())
            {
                let name = std::mem::take(&mut self.mistaken);
                self.name_delivery(&name)?;
            }
            if let Some(at) = self
                .deliveries
                .iter()
                .position(|delivery| delivery.name.is_some())
            {
                let length = text
                    .parse()
                    .map_err(|_| WireError::NotTheStep("the length of a body"))?;
                let delivery = self.deliveries.remove(at);
                if self.deliveries.is_empty() {
                    self.link.no_answer_due();
                }
                return Ok(delivery.map_or(Next::Frame, |delivery| Next::Body(delivery, length)));
            }
        }
        let may_be_name = self.link.server == Dialect::Fernchat || !is_line(text);
        if !may_be_name || !self.name_delivery(text)? {
            if speaker_of(text).is_some_and(|name| name != PYCHAT) {
                *self.shared.last_mark.lock() = mark(token);
            }
            let said_at = stamp_of(token).filter(|said_at| *said_at < self.link.joined_at);
            show_text(
                &self.shared,
                text,
                said_at.map_or(SaidAt::Now, SaidAt::Earlier),
            );
        }
        Ok(Next::Frame)
    }

    /// Gives this name to the first delivery that has none, and asks for its body. `false`: there is none.
    fn name_delivery(&mut self, name: &str) -> Result<bool, ClientError> {
        let Some(delivery) = self
            .deliveries
            .iter_mut()
            .find(|delivery| delivery.name.is_none())
        else {
            return Ok(false);
        };
        delivery.name = Some(FileName::from_peer(name));
        self.mistaken.clear();
        self.link.answer(SEND_FILE)?;
        Ok(true)
    }

    /// Receives a body. Frames that land inside it are done as they come.
    fn body(&mut self, delivery: Delivery, length: u64) -> Result<Next, ClientError> {
        let (link, shared) = (Arc::clone(&self.link), Arc::clone(&self.shared));
        let terminal = &shared.terminal;
        if length == 0 {
            self.shared.terminal.show(&format!(
                "{} is not coming: the server called it off.",
                delivery.title()
            ));
            return Ok(Next::Frame);
        }
        let mut download = Download::begin(
            &shared.settings.downloads,
            link.key(),
            shared.room_key.as_ref(),
        );
        // A token as long as the body may be the body itself: then only the text can tell.
        let is_frame = |token: &[u8]| match link.key().open(token) {
            Ok(text) => token.len() as u64 != length || has_frame_form(&text),
            Err(_) => false,
        };
        let mut piece = vec![0; BODY_STEP];
        let mut left = length;
        let mut progress = terminal.progress(delivery.title(), length);
        while left > 0 {
            match self.read(|frames| frames.next_piece(left, &mut piece, &is_frame))? {
                Piece::Body(n) => {
                    left -= n as u64;
                    download.write(&piece[..n]);
                    progress.add(n);
                }
                Piece::Frame(token) => match self.frame(&token)? {
                    Next::Frame => {}
                    Next::Body(..) => return Err(WireError::NotTheStep("the end of a body").into()),
                    Next::End => return Ok(Next::End),
                },
            }
        }
        let mut title = delivery.title();
        let name = delivery.name.unwrap_or_else(|| FileName::from_peer(""));
        let has_room_key = shared.room_key.is_some();
        let received = download.finish(&name);
        if let (true, Ok((path, _))) = (terminal.is_interactive(), &received) {
            title = format!(
                "{title} ({})",
                path.metadata()
                    .map_or_else(|error| error.to_string(), |file| size::in_words(file.len()))
            );
        }
        terminal.show(&match received {
            Ok((path, Seal::None)) if has_room_key => format!(
                "Received {title}, not sealed with a room key: {}",
                path.display()
            ),
            Ok((path, Seal::None | Seal::Opened)) => {
                format!("Received {title}: {}", path.display())
            }
            Ok((path, Seal::Closed(why))) => {
                format!("Received {title}, sealed, and {why}: {}", path.display())
            }
            Err(error) => format!("{title} was not received: {error}."),
        });
        Ok(Next::Frame)
    }
}

/// Shows a text that is no step: a notice of the server, or a line that somebody said.
pub(super) fn show_text(shared: &Shared, text: &str, said_at: SaidAt) {
    let terminal = &shared.terminal;
    match text.split_once(": ") {
        Some((PYCHAT, notice)) => {
            terminal.show(text);
            let advice = shared.known.learn(notice);
            if let Some(advice) = advice.filter(|_| terminal.is_interactive()) {
                terminal.show(&advice);
            }
            return;
        }
        Some((name, _)) => shared.known.add_member(name),
        None => {}
    }
    match room_key::open(text, said_at, shared.room_key.as_ref()) {
        Ok(line) => terminal.show_line(&line),
        Err(notice) => terminal.show(&notice),
    }
}

/// Whether an opened token has the form of something that a server says of its own accord, of an echo, or of a set.
fn has_frame_form(text: &[u8]) -> bool {
    name_set::decode(text).is_ok()
        || text.starts_with(b"/")
        || std::str::from_utf8(text).is_ok_and(is_line)
}

impl Delivery {
    fn title(&self) -> String {
        let name = self.name.as_ref().map_or("a file", FileName::as_str);
        match &self.from {
            Some(from) => format!("{name} from {from}"),
            None => name.to_owned(),
        }
    }
}
