//! What goes out to clients: a text, sealed and in a frame.
//!
//! A frame is sealed once, however many clients get it: they share its bytes. It is sealed before any lock is taken, except for the two
//! short ones of [`Client::with_turn`](super::client::Client::with_turn).
//! It remembers what kind of text it holds, so that [`watch`] can show it when it goes out, and forgets the text.

use std::fmt::Display;
use std::sync::Arc;

use crate::net::memory::Bytes;
use crate::net::outbox::Outbox;
use crate::seal::Key;
use crate::wire::command::{Dialect, KICKED, NEWS, notice, with};
use crate::wire::frame;
use crate::wire::watch;

/// A sealed text in a frame, as it stands on the wire.
#[derive(Clone)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Frame {
    /// The length and the token.
    pub bytes: Bytes,
    kind: &'static str,
}

/// Seals a text and puts it in a frame.
pub(crate) fn sealed_frame(key: &Key, text: impl AsRef<[u8]>) -> Frame {
    let text = text.as_ref();
    Frame {
        bytes: frame::encode(key.seal(text).as_bytes()).into(),
        kind: watch::kind(text),
    }
}

/// What has become of a member, for the others.
pub(crate) fn news(key: &Key, what: &str, name: &str) -> Frame {
    sealed_frame(key, with(NEWS, &format!("{what} {name}")))
}

/// The last frames for a client that the server disconnects, with the reason.
///
/// A fernchat client gets them as one `word`. A Python client can show a reason only as a chat line, and ends at `/kicked`. If it is not
/// a member yet, it understands both only after the words in `before`, which let it in.
pub(crate) fn farewell(
    key: &Key,
    dialect: Dialect,
    before: &[&str],
    word: &str,
    reason: &str,
) -> Vec<Frame> {
    match dialect {
        Dialect::Python => [before, &[&notice(reason), KICKED]]
            .concat()
            .into_iter()
            .map(|text| sealed_frame(key, text))
            .collect(),
        Dialect::Fernchat => vec![sealed_frame(key, with(word, reason))],
    }
}

impl Frame {
    /// Sends the frame to a client.
    pub(crate) fn send(&self, client: impl Display, outbox: &Arc<Outbox>) {
        self.goes_to(client);
        outbox.push(self.bytes.clone());
    }

    /// Shows in the log that this frame goes out to a client.
    pub(crate) fn goes_to(&self, client: impl Display) {
        // The length in front of the token has 4 bytes.
        watch::goes(client, self.bytes.len().saturating_sub(4), self.kind);
    }

    /// A frame whose bytes are this text, not sealed.
    #[cfg(test)]
    pub fn plain(text: impl AsRef<[u8]>) -> Frame {
        Frame {
            bytes: text.as_ref().into(),
            kind: "",
        }
    }
}
