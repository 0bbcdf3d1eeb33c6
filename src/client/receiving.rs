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
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use crossbeam_channel::Sender;
use log::debug;

use super::files::Download;
use super::link::{is_late, Incoming, Link, ServerKind};
use super::sending::is_line;
use super::{ClientError, Outcome};
use crate::seal::is_token_len;
use crate::terminal::Terminal;
use crate::wire::command::{
    after, Command, ACCEPTED, CLOSING, KICKED, NO_BODY, PROCEED, RECEIVE_FILE, REFUSED,
    SENDING_DATA, SEND_FILE, SEND_FILENAME, WAIT_DISCONNECT,
};
use crate::wire::frame::{FrameReader, Piece, WireError};
use crate::wire::name::FileName;

/// How many deliveries a server may begin without ending one.
const MAX_DELIVERIES: usize = 64;

/// How much of a body is read at once, in bytes.
const BODY_STEP: usize = 256 << 10;

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
    /// The end.
    End(Outcome),
}

/// The half that receives. See the module's page.
pub struct Receiving {
    link: Arc<Link>,
    terminal: Arc<Terminal>,
    frames: FrameReader<Incoming>,
    /// Steps, to the sending thread.
    steps: Sender<Vec<u8>>,
    downloads: PathBuf,
    deliveries: VecDeque<Delivery>,
    /// What was taken for a result while the name of a delivery was due too: it may have been that name. The length tells.
    doubtful: Option<String>,
}

impl Receiving {
    /// The half that receives what follows joining.
    pub fn new(
        link: Arc<Link>,
        terminal: Arc<Terminal>,
        frames: FrameReader<Incoming>,
        steps: Sender<Vec<u8>>,
        downloads: PathBuf,
    ) -> Receiving {
        Receiving {
            link,
            terminal,
            frames,
            steps,
            downloads,
            deliveries: VecDeque::new(),
            doubtful: None,
        }
    }

    /// Receives until the connection ends.
    ///
    /// # Errors
    /// The connection ended, and the person did not ask for it.
    pub fn receiving_loop(mut self) -> Result<Outcome, ClientError> {
        let result = self.receive();
        match result {
            Err(_) if self.link.is_leaving.load(Ordering::SeqCst) => Ok(Outcome::Left),
            result => result,
        }
    }

    fn receive(&mut self) -> Result<Outcome, ClientError> {
        loop {
            let link = Arc::clone(&self.link);
            let token = match self.frames.next_frame(&|token| link.key().opens(token)) {
                Err(WireError::Io(error)) if is_late(&error) => {
                    self.answer_again()?;
                    continue;
                }
                token => token?,
            };
            let token =
                token.ok_or_else(|| ClientError::Closed("it ended without a word".into()))?;
            match self.frame(&token)? {
                Next::Frame => {}
                Next::Body(delivery, length) => {
                    link.is_receiving.store(true, Ordering::SeqCst);
                    if let Some(outcome) = self.body(delivery, length)? {
                        return Ok(outcome);
                    }
                    link.is_receiving.store(false, Ordering::SeqCst);
                }
                Next::End(outcome) => return Ok(outcome),
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
        if self.is_step(&bytes) {
            self.doubt(&bytes);
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
                self.terminal.show("You have been put out of the group.");
                return Ok(Next::End(Outcome::Kicked));
            }
            WAIT_DISCONNECT => {
                return Err(ClientError::Closed(
                    "it ends those who wait for approval".into(),
                ))
            }
            ACCEPTED => {
                self.link.is_member.store(true, Ordering::SeqCst);
                self.terminal
                    .show("You have been approved: say hello. /help lists the commands.");
                return Ok(Next::Frame);
            }
            _ => {}
        }
        if let Some(reason) = after(CLOSING, &text) {
            return Err(ClientError::Closed(reason.to_owned()));
        }
        if let Some(refusal) = after(REFUSED, &text) {
            let reason = refusal
                .split_once(' ')
                .map_or(refusal, |(_code, reason)| reason);
            return Err(ClientError::Refused(reason.to_owned()));
        }
        if let Some(from) = after(RECEIVE_FILE, &text) {
            return self.offer((!from.is_empty()).then(|| from.to_owned()));
        }
        self.delivery_step(text)
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

    /// Notes a step that could as well be the name of a file that a Python server sends before it is asked.
    fn doubt(&mut self, step: &[u8]) {
        let is_named = |delivery: &Delivery| delivery.name.is_some();
        if self.link.server == ServerKind::Fernchat || self.deliveries.iter().all(is_named) {
            return;
        }
        let is_word = |text: &str| [PROCEED, SENDING_DATA].contains(&text);
        match std::str::from_utf8(step) {
            Ok(text) if Command::parse(text).is_none() && !is_word(text) && !is_line(text) => {
                self.doubtful = Some(text.to_owned());
            }
            _ => {}
        }
    }

    fn offer(&mut self, from: Option<String>) -> Result<Next, ClientError> {
        if self.deliveries.len() == MAX_DELIVERIES {
            return Err(WireError::NotTheStep("the end of a delivery").into());
        }
        self.deliveries.push_back(Delivery { from, name: None });
        self.link.answer(SEND_FILENAME).map_err(WireError::Io)?;
        Ok(Next::Frame)
    }

    /// Nothing came for a while: what a delivery waits for may have been missed.
    fn answer_again(&self) -> Result<(), ClientError> {
        for delivery in &self.deliveries {
            let word = delivery.name.as_ref().map_or(SEND_FILENAME, |_| SEND_FILE);
            self.link.answer(word).map_err(WireError::Io)?;
        }
        Ok(())
    }

    /// A text that is the next step of a delivery, or else a line.
    fn delivery_step(&mut self, text: String) -> Result<Next, ClientError> {
        let is_length = text.parse().is_ok_and(is_token_len);
        if is_length
            && self
                .deliveries
                .iter()
                .all(|delivery| delivery.name.is_none())
        {
            if let (Some(delivery), Some(name)) =
                (self.deliveries.front_mut(), self.doubtful.take())
            {
                delivery.name = Some(FileName::from_peer(&name));
                self.link.answer(SEND_FILE).map_err(WireError::Io)?;
            }
        }
        let may_be_step = self.link.server == ServerKind::Fernchat || !is_line(&text);
        let named = self
            .deliveries
            .iter()
            .position(|delivery| delivery.name.is_some());
        let unnamed = self
            .deliveries
            .iter_mut()
            .find(|delivery| delivery.name.is_none());
        match (named, unnamed) {
            (Some(at), _) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = text
                    .parse()
                    .map_err(|_| WireError::NotTheStep("the length of a body"))?;
                let Some(delivery) = self.deliveries.remove(at) else {
                    return Ok(Next::Frame);
                };
                if text == NO_BODY {
                    self.terminal.show(&format!(
                        "{} is not coming: the server called it off.",
                        delivery.title()
                    ));
                    return Ok(Next::Frame);
                }
                Ok(Next::Body(delivery, length))
            }
            (_, Some(delivery)) if may_be_step => {
                delivery.name = Some(FileName::from_peer(&text));
                self.link.answer(SEND_FILE).map_err(WireError::Io)?;
                Ok(Next::Frame)
            }
            _ => {
                self.terminal.show(&text);
                Ok(Next::Frame)
            }
        }
    }

    /// Receives a body. Frames that land inside it are done as they come.
    fn body(&mut self, delivery: Delivery, length: u64) -> Result<Option<Outcome>, ClientError> {
        let link = Arc::clone(&self.link);
        let mut download = Download::begin(&self.downloads, link.key());
        let mut piece = vec![0; BODY_STEP];
        let mut left = length;
        while left > 0 {
            let next = self
                .frames
                .next_piece(left, &mut piece, &|token| link.key().opens(token));
            match next {
                Err(WireError::Io(error)) if is_late(&error) => continue,
                next => match next? {
                    Piece::Body(n) => {
                        left -= n as u64;
                        download.write(&piece[..n]);
                    }
                    Piece::Frame(token) => match self.frame(&token)? {
                        Next::Frame => {}
                        Next::Body(..) => {
                            return Err(WireError::NotTheStep("the end of a body").into())
                        }
                        Next::End(outcome) => return Ok(Some(outcome)),
                    },
                },
            }
        }
        let title = delivery.title();
        let name = delivery.name.unwrap_or_else(|| FileName::from_peer(""));
        self.terminal.show(&match download.finish(&name) {
            Ok(path) => format!("Received {title}: {}", path.display()),
            Err(error) => format!("{title} was not received: {error}."),
        });
        Ok(None)
    }
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
