//! The link to the server: what a joined client sends goes through it, one whole frame or more at a time.
//!
//! The sending thread and the receiving thread both use it. The receiving thread answers the deliveries of files; towards a Python server
//! an answer has to wait for the end of the open dialogue.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::step::{Dialogue, Expected};
use crate::seal::Key;
use crate::wire::command::{Dialect, RESULT, after};
use crate::wire::frame;
use crate::wire::watch;

/// How late a delivery's answer goes to a Python server. The server misses an answer that comes before it has begun to wait.
const ANSWER_DELAY: Duration = Duration::from_millis(5);

/// After this long without a frame from a Python server, the answer is sent again. On a busy machine the server may have missed the first
/// one, and would wait for ever. A second answer has no effect there.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);

/// How many answers wait for the end of a dialogue. A Python server begins one delivery at a time.
const MAX_ANSWERS: usize = 100;

/// What the log calls the other end.
pub(crate) const SERVER: &str = "the server";

/// The connection to the server, after joining.
pub struct Link {
    /// The program at the other end.
    pub server: Dialect,
    /// What all threads of the client share.
    pub shared: Arc<Shared>,
    /// The key that this server's clients share.
    pub key: Arc<Key>,
    /// The connection.
    pub socket: Arc<TcpStream>,
    /// Held while frames are written, so that those of two threads do not mix.
    pub writing: Mutex<()>,
    /// When the user joined, by the server's clock, in seconds since 1970. A line with an earlier stamp was said before.
    pub joined_at: u64,
    /// The dialogue that is open, if one is.
    pub dialogue: Mutex<Dialogue>,
    /// Notified when no delivery waits for an answer any more.
    pub answered: Condvar,
}

impl Link {
    /// Sends texts, one frame each, in one write. An error means that the connection is gone; the receiving thread says so.
    pub fn send(&self, texts: &[&str]) -> io::Result<()> {
        let frames = texts.iter().map(|text| sealed_frame(&self.key, text));
        self.send_bytes(&frames.collect::<Vec<_>>().concat())
    }

    /// Sends whole frames, or a piece of a body. A write that fails may leave half a frame behind, so it ends the connection, which
    /// wakes the receiving thread.
    pub fn send_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let _guard = self.writing.lock();
        let result = (&*self.socket).write_all(bytes);
        result.inspect_err(|_| self.shut(Shutdown::Both))
    }

    /// Answers a delivery of a Python server, after the open dialogue: a Python client does so, too, and the server's threads expect it.
    pub fn answer(&self, word: &'static str) -> io::Result<()> {
        self.dialogue.lock().last_answer = Some(word);
        self.socket.set_read_timeout(Some(ANSWER_AGAIN))?;
        thread::sleep(ANSWER_DELAY);
        // Held while it is sent: a dialogue that began meanwhile would lose its step to this word.
        let mut dialogue = self.dialogue.lock();
        if !dialogue.is_open {
            return self.send(&[word]);
        }
        let is_full = dialogue.answers_due.len() == MAX_ANSWERS;
        if dialogue.answers_due.back() != Some(&word) && !is_full {
            dialogue.answers_due.push_back(word);
        }
        Ok(())
    }

    /// If these bytes are the expected step, hands them to the sending thread, without the mark of a result. Then that step is not expected any
    /// more. All of it happens under one lock, so a step that is late never gets to the next dialogue.
    pub fn step<'a>(&self, bytes: &'a [u8], steps: &Sender<Vec<u8>>) -> Option<&'a [u8]> {
        let is_step = |expected: &mut Expected| expected.is(bytes, self.server);
        let mut dialogue = self.dialogue.lock();
        dialogue.expected.take_if(is_step)?;
        let text = std::str::from_utf8(bytes).ok();
        let result = text.and_then(|text| after(RESULT, text)).map(str::as_bytes);
        let step = result.unwrap_or(bytes);
        // The sending thread may have given up on it meanwhile.
        let _ = steps.try_send(step.to_vec());
        Some(step)
    }

    /// Gives the last answer again. A Python server may have missed it.
    pub fn answer_again(&self) -> io::Result<()> {
        let word = self.dialogue.lock().last_answer;
        word.map_or(Ok(()), |word| self.answer(word))
    }

    /// The dialogue is over. Deliveries that a Python server began meanwhile get their answers now. An answer that falls due while they are
    /// sent stands behind them, so their order stays.
    pub fn end_dialogue(&self) -> io::Result<()> {
        loop {
            let mut dialogue = self.dialogue.lock();
            (dialogue.expected, dialogue.about) = (None, None);
            let Some(word) = dialogue.answers_due.pop_front() else {
                dialogue.is_open = false;
                return Ok(());
            };
            drop(dialogue);
            thread::sleep(ANSWER_DELAY);
            self.send(&[word])?;
        }
    }

    /// No delivery waits for an answer any more.
    pub fn no_answer_due(&self) {
        self.dialogue.lock().last_answer = None;
        // If it fails, an idle client wakes once a second for nothing.
        let _ = self.socket.set_read_timeout(None);
        self.answered.notify_all();
    }

    /// Ends the connection, which wakes the receiving thread, or only the sending side of it.
    pub fn shut(&self, how: Shutdown) {
        // Fails only if the server was faster.
        let _ = self.socket.shutdown(how);
    }
}

/// The frame that carries a text to the server. It is sent at once.
pub(crate) fn sealed_frame(key: &Key, text: &str) -> Vec<u8> {
    let token = key.seal(text.as_bytes());
    watch::goes(SERVER, token.len(), watch::kind(text.as_bytes()));
    frame::encode(token.as_bytes())
}
