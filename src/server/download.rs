//! Downloads: a stored file on its way to one member.
//!
//! After an upload, the file is offered to every other member online. An offer waits in the member's [turn](super::turn) until the member
//! asks for the body. Then the member's writer thread reads the body from the spool, piece by piece, so its size costs no memory.
//!
//! If a download comes to nothing, its uploader is told at the next tick of the clock: a download may be dropped under any lock.
//! Invariant: a download reaches its member, or the uploader is told that it did not.

use std::io::{self, Write};
use std::sync::{Arc, Weak};

use log::{error, info};
use parking_lot::Mutex;

use super::Shared;
use super::client::Client;
use super::frame::{Frame, sealed_frame};
use super::group::Group;
use super::refusal::Refusal;
use super::spool::{Body, SpoolError};
use super::turn::{Offer, Turn};
use crate::net::outbox::Job;
use crate::seal::token_len;
use crate::wire::command::{Dialect, NO_BODY, RECEIVE_FILE, notice, with};
use crate::wire::frame::write_body;
use crate::wire::name::FileName;
use crate::wire::size;

/// What stands in a body in place of what the spool cannot read. Any letter of base64 would do: the body's HMAC fails.
const FILLER: u8 = b'A';

/// A stored file on its way to one member. If it is dropped before it is delivered, its uploader is told.
pub(crate) struct Download {
    pub file: FileName,
    body: Arc<Body>,
    /// The frame with the length of the body.
    length: Frame,
    /// Weak, because a client holds the offers to it: two clients that offer each other files would keep both for ever.
    uploader: Weak<Client>,
    /// What the uploader is told at the end. `None`: nothing, the file is delivered.
    failure: Option<String>,
}

/// Offers a stored file to every other member online. Returns the result in words, which begin with the file's name.
pub(crate) fn offer_to_others(
    shared: &Shared,
    group: &Mutex<Group>,
    uploader: &Arc<Client>,
    file: &FileName,
    body: Body,
) -> Result<String, Refusal> {
    let name = &uploader.name;
    // The token is base64, 4 characters for 3 bytes. What else is in it is too short to matter here.
    let file_size = size::in_words(body.token_len() / 4 * 3);
    let seal = |text: String| sealed_frame(&shared.key, text);
    let ask_python = seal(RECEIVE_FILE.to_owned());
    let ask_fernchat = seal(with(RECEIVE_FILE, name.as_str()));
    let file_name = seal(file.to_string());
    let length = seal(body.token_len().to_string());
    let too_large = seal(notice(format!(
        "{name} shared {file} ({file_size}), too large for this program."
    )));
    let limit = shared.settings.python_file_limit;
    let is_for_python = limit.is_none_or(|limit| body.token_len() <= token_len(limit));
    let body = Arc::new(body);

    let (mut n_offered, mut n_told) = (0, 0);
    let group = group.lock();
    uploader.check_member()?;
    for client in group.others(uploader) {
        let ask = match client.dialect {
            Dialect::Fernchat => &ask_fernchat,
            Dialect::Python if is_for_python => &ask_python,
            Dialect::Python => {
                client.send_notice(too_large.clone());
                n_told += 1;
                continue;
            }
        };
        let download = Box::new(Download {
            file: file.clone(),
            body: Arc::clone(&body),
            length: length.clone(),
            uploader: Arc::downgrade(uploader),
            failure: Some(format!("{file} did not reach {}.", client.name)),
        });
        let (ask, name) = (ask.clone(), file_name.clone());
        let offer = Offer {
            ask,
            name,
            download,
        };
        let is_offered = client.with_turn(|turn| turn.offer(offer));
        n_offered += usize::from(is_offered);
    }
    drop(group);
    info!("{name} shares {file_size} with {n_offered} members");
    let members = if n_offered == 1 { "member" } else { "members" };
    let told = match n_told {
        0 => String::new(),
        n => format!("; {n} more cannot receive a file of this size and were told"),
    };
    Ok(format!(
        "{file} is on its way to {n_offered} {members}{told}."
    ))
}

impl Download {
    /// The job that writes the body, in the writer thread of the member.
    pub(crate) fn job(mut self: Box<Self>, member: Arc<Client>) -> Job {
        Box::new(move |stream| {
            self.failure = self.write(&member, stream)?.map(|error| {
                error!("{} did not reach {member}: {error}", self.file);
                member.tell(format!("{} did not arrive: {error}.", self.file));
                format!("{} did not reach {}: {error}.", self.file, member.name)
            });
            member.with_turn(Turn::body_out);
            Ok(())
        })
    }

    /// Writes the length and the body. An error is the connection's; if the spool fails, its error is returned.
    ///
    /// If the spool fails at the beginning, the delivery is called off. If it fails later, the rest is filled: both ends stay in sync.
    fn write(&self, member: &Client, stream: &mut dyn Write) -> io::Result<Option<SpoolError>> {
        self.length.goes_to(member);
        let (length, len) = (&self.length.bytes, self.body.token_len());
        let mut fault = None;
        let (account, step) = (member.outbox.account(), member.file_step());
        account.hold(step);
        let n_written = write_body(stream, length, len, step, |offset, piece| {
            self.body.read_at(piece, offset).unwrap_or_else(|error| {
                fault.get_or_insert(error);
                piece.fill(FILLER);
                if offset == 0 { 0 } else { piece.len() }
            })
        })?;
        account.release(step);
        if n_written == 0 {
            let no_body = sealed_frame(&member.key, NO_BODY);
            no_body.goes_to(member);
            stream.write_all(&no_body.bytes)?;
        }
        Ok(fault)
    }
}

/// A download that nobody uploaded.
#[cfg(test)]
impl Download {
    pub fn of(file: &str) -> Download {
        use std::sync::LazyLock;

        use crate::net::fairness::tests::source;
        use crate::seal::Key;
        use crate::server::spool::Spool;

        static BODY: LazyLock<Arc<Body>> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            let (spool, key) = (Spool::new(folder.path()).unwrap(), Key::generate());
            let upload = spool.begin(&key, source(1)).unwrap();
            let upload = upload.write(key.seal(b"hello").as_bytes()).unwrap();
            Arc::new(upload.finish().unwrap())
        });
        Download {
            file: FileName::from_peer(file),
            body: Arc::clone(&BODY),
            length: Frame::plain(""),
            uploader: Weak::new(),
            failure: None,
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(uploader) = self.uploader.upgrade() {
            uploader.notices.lock().extend(self.failure.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::server::testkit::{DEN, Kit};
    use crate::wire::command::Dialect;
    use crate::wire::frame::BODY_STEP;

    const CAUSE: &str = "the server cannot read it any more: unexpected end of file.";

    #[test]
    fn file_that_cannot_be_read_is_called_off_and_both_ends_are_told_why() {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        let body = alice.stores(b"hello");
        body.cut(0);
        alice.shares_body("a.txt", body);
        alice.says("hi").unwrap();
        assert!(bob.wants_name() && bob.wants_body());
        let told = format!("PyChat: a.txt did not arrive: {CAUSE}");
        bob.hears(&["/receiveFile", "a.txt", "0", "alice: hi", &told]);
        assert_eq!(
            alice.notices(),
            [format!("a.txt did not reach bob: {CAUSE}")]
        );
    }

    #[test]
    fn file_that_cannot_be_read_to_its_end_comes_as_long_as_it_was_announced_and_damaged() {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        let fred = kit
            .tries_to_join_with(Dialect::Fernchat, "fred", DEN)
            .unwrap();
        alice.approves("fred").unwrap();
        let body = alice.stores(&[b'a'; BODY_STEP]);
        let len = body.token_len();
        body.cut(len - 10);
        alice.shares_body("a.txt", body);
        assert!(fred.wants_name() && fred.wants_body());
        let damaged = format!("<{len} bytes, damaged, or sealed with another key>");
        let told = format!("PyChat: a.txt did not arrive: {CAUSE}");
        fred.hears(&[
            "/wait",
            "/accepted",
            "/receiveFile alice",
            "a.txt",
            &len.to_string(),
            &damaged,
            &told,
        ]);
        assert_eq!(
            alice.notices(),
            [format!("a.txt did not reach fred: {CAUSE}")]
        );
        assert!(kit.shared.spool.is_empty());
    }
}
