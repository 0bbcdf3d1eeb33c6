//! The blind relay: it passes on the tokens that each peer sends to all the others, and can read none of them.
//!
//! The relay holds no key and adds nothing. What is no whole token it drops. As in the chat server, each peer has a reader thread, an outbox, and a writer thread as soon as
//! something must wait. The wire is another one: it has no frames.
//!
//! ```text
//!   bytes ─▶ splitter: whole tokens ─▶ outbox of every other peer ─▶ writer: one write each, a small pause between
//! ```
//!
//! - [`splitter`]: where a token ends, by its shape alone.
//! - [`client`]: the other end, the only part that has a key.
//!
//! # The wire
//! The port is 12345, unless another is given. There is no handshake, and there are no frames. A message is one Fernet token of the text
//! `[HH:MM:SS] NAME: TEXT`, with the local time of the sender. All friends hold the key, and the relay does not. The relay sends nothing
//! back to the sender.
//!
//! A Python peer reads with one call of at most 1024 bytes, and takes the result for one token. A longer token, two tokens that arrive
//! together, or anything else that does not open ends its receiving for good. So the relay writes tokens one by one with a pause
//! between, and our client keeps each within 1024 bytes.
//!
//! Bytes that have not the shape of a whole token are dropped, and so is a token above [`splitter::MAX_TOKEN`]. If halves were passed on, a
//! stranger could delete what others say: half a token makes a reader lose the next one.
//!
//! A relay without a place for a client writes `/full` and a line feed, and closes.

pub(crate) mod client;
pub mod splitter;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use log::{debug, info, warn};

use self::splitter::{Piece, Splitter};
use crate::net::connection::Connection;
use crate::net::departure::Departure;
use crate::net::is_late;
use crate::net::listener::{Listener, Service, servable};
use crate::net::memory::{Bytes, Memory};
use crate::net::outbox::Pace;

/// The pause between two tokens for one peer, unless another is set. Measured with a Python reader that takes one read for
/// one token: 3 ms are enough, also on a busy machine.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// How much is read at once, in bytes. Lies on the stack.
const READ_LEN: usize = 8 << 10;

/// What a client hears that gets no place: a word for our client. A Python client stops receiving anyway.
pub(crate) const FULL: &[u8] = b"/full\n";

/// How a relay is set up.
pub(crate) struct RelaySettings {
    /// The host to listen on.
    pub host: String,
    /// The port. With 0, the system chooses a free one.
    pub port: u16,
    /// The most peers. Kept below what the machine allows.
    pub max_clients: usize,
    /// The memory for what is held for its clients, in bytes. `None`: what suits the machine.
    pub memory: Option<u64>,
    /// The least time between two tokens for one peer.
    pub pause: Duration,
}

/// A relay that listens.
pub(crate) struct Relay {
    listener: Listener,
    pause: Duration,
}

impl Relay {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(crate) fn bind(settings: RelaySettings) -> Result<Relay, String> {
        let (max_clients, _) = servable(settings.max_clients, 0, "relay");
        let listener = Listener::bind(
            &settings.host,
            settings.port,
            max_clients,
            Arc::new(Memory::new(settings.memory)),
        )?;
        Ok(Relay {
            listener,
            pause: settings.pause,
        })
    }

    /// Passes a token on to every other peer that is being served. All is pushed while no peer comes or goes, so all of them get one order.
    fn pass_on(&self, from: &Connection, token: Vec<u8>) {
        let bytes = Bytes::from(token);
        let mut full = None;
        for peer in self.listener.connections().iter() {
            if peer.id != from.id && !peer.is_greeting() {
                peer.outbox().push(bytes.clone());
                if !peer.outbox().has_space() {
                    full = Some(Arc::clone(peer.outbox()));
                }
            }
        }
        // One of them is enough to slow this sender down.
        if let Some(full) = full {
            full.wait_for_space();
        }
    }
}

impl Service for Relay {
    fn listener(&self) -> &Listener {
        &self.listener
    }

    fn who_reads(&self) -> &'static str {
        "this relay has no key, and passes on what it cannot read"
    }

    fn join_command(&self) -> (&'static str, &'static str) {
        ("relay-client", " --key-file FILE")
    }

    fn full_word(&self) -> &'static [u8] {
        FULL
    }

    fn pace(&self) -> Pace {
        Pace::Single(self.pause)
    }

    fn serve(&self, connection: &Connection) -> Departure {
        connection.introduced(None);
        debug!("{connection} takes its place");
        let mut splitter = Splitter::default();
        let (mut n_tokens, mut n_bytes, mut n_dropped) = (0, 0, 0);
        let mut pass_on = |piece: Piece| match piece {
            Piece::Token(token) => {
                n_tokens += 1;
                self.pass_on(connection, token);
            }
            Piece::Other(bytes) => {
                if n_dropped == 0 {
                    warn!("{connection} sends bytes that are no whole token; they are dropped");
                }
                n_dropped += bytes.len();
            }
        };
        let mut n_held = 0;
        let departure = loop {
            let mut bytes = [0; READ_LEN];
            connection.outbox().flush();
            let n = splitter.held().len();
            // Twice, for the space that a growing buffer takes.
            connection.outbox().account().change(n_held, 2 * n);
            n_held = 2 * n;
            let read = connection
                .set_patience(splitter.wait())
                .and_then(|()| connection.stream().read(&mut bytes));
            match read {
                Ok(0) => break Departure::Left,
                Ok(n) => {
                    n_bytes += n;
                    splitter
                        .push(&bytes[..n])
                        .into_iter()
                        .for_each(&mut pass_on);
                }
                Err(error) if is_late(&error) => {
                    splitter.flush().into_iter().for_each(&mut pass_on)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break Departure::HungUp,
            }
        };
        splitter.flush().into_iter().for_each(&mut pass_on);
        if n_bytes > 0 {
            info!(
                "{connection} sent {n_tokens} tokens, {n_bytes} bytes in all, {n_dropped} of them dropped"
            );
        }
        departure
    }
}
