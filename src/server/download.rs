//! Downloads: a stored file on its way to one member, and what its uploader hears of it.
//!
//! A Python client is offered a whole file in its [turn](super::turn). Then the client's writer thread reads the body from the spool, piece
//! by piece. So its size costs no memory. What a fernchat client gets is in [`super::deliveries`].
//!
//! The uploader is told at the next tick of the clock what became of a download: it may come to its end under any lock.
//! Invariant: a download reaches its member, or the uploader is told that it did not.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use log::error;
use parking_lot::Mutex;

use super::client::Client;
use super::frame::{Frame, sealed_frame};
use super::group::Group;
use super::spool::{Body, SpoolError};
use super::turn::{ANSWER_TICKS, Turn};
use crate::net::outbox::Job;
use crate::wire::command::NO_BODY;
use crate::wire::frame::{BODY_STEP, write_body};
use crate::wire::name::{FileName, UserName};

/// What stands in a body in place of what the spool cannot read. Any letter of base64 would do: the body's HMAC fails.
const FILLER: u8 = b'A';

/// A file that is shared, and who hears what became of it.
pub(crate) struct SharedFile {
    /// How fernchat clients call it.
    pub id: String,
    pub name: FileName,
    /// The frame that offers it to a fernchat client.
    pub for_fernchat: Frame,
    /// The frames that offer it to a Python client, say its name, and say the length of the body.
    pub for_python: [Frame; 3],
    /// Who shares it.
    pub by: UserName,
    /// Weak, because a member holds the offers to it: two members that offer each other files would keep both for ever.
    pub group: Weak<Mutex<Group>>,
    pub news: Arc<Mutex<Vec<News>>>,
    /// A Python user hears of failures only.
    pub hears_all: bool,
}

/// A stored file on its way to one member. If it is dropped before it comes to an end, its uploader is told that it did not arrive.
pub(crate) struct Download {
    pub file: Arc<SharedFile>,
    pub body: Arc<Body>,
    /// Who gets it.
    to: UserName,
    is_over: AtomicBool,
    /// For how many ticks of the server's clock its client has owed an answer.
    n_ticks: AtomicU64,
}

/// What became of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The member has stored it.
    Has,
    /// The member does not want it.
    Declined,
    /// The member is gone.
    Gone,
    /// The upload has failed. The uploader knows.
    NotSent,
    /// It failed, for this reason.
    Failed(String),
}

/// An outcome, on its way to the uploader.
pub(crate) struct News {
    file: Arc<SharedFile>,
    outcome: Outcome,
    /// The members of whom this is so.
    members: Vec<UserName>,
    /// How many ticks it has waited for the uploader to be online.
    n_ticks: u64,
}

impl Download {
    pub(crate) fn new(file: &Arc<SharedFile>, body: &Arc<Body>, to: &UserName) -> Arc<Download> {
        Arc::new(Download {
            file: Arc::clone(file),
            body: Arc::clone(body),
            to: to.clone(),
            is_over: AtomicBool::new(false),
            n_ticks: AtomicU64::new(0),
        })
    }

    /// The clock has ticked while the client owed an answer. Returns whether it takes too long.
    pub(crate) fn tick(&self) -> bool {
        self.n_ticks.fetch_add(1, Ordering::Relaxed) + 1 >= ANSWER_TICKS
    }

    /// The client has as much time again for its next answer.
    pub(crate) fn waits_anew(&self) {
        self.n_ticks.store(0, Ordering::Relaxed);
    }

    /// The download has come to its end. The first one counts.
    pub(crate) fn ends(&self, outcome: Outcome) {
        let is_news = match outcome {
            Outcome::NotSent => false,
            Outcome::Has => self.file.hears_all,
            _ => true,
        };
        if self.is_over.swap(true, Ordering::Relaxed) || !is_news {
            return;
        }
        let mut news = self.file.news.lock();
        let is_same =
            |one: &&mut News| Arc::ptr_eq(&one.file, &self.file) && one.outcome == outcome;
        match news.iter_mut().find(is_same) {
            Some(one) => one.members.push(self.to.clone()),
            None => news.push(News {
                file: Arc::clone(&self.file),
                outcome,
                members: vec![self.to.clone()],
                n_ticks: 0,
            }),
        }
    }

    /// Whether it has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The job that writes the length and the whole body to a Python client, in its writer thread.
    pub(crate) fn job(self: Arc<Self>, member: Arc<Client>) -> Job {
        Job(Box::new(move |stream| {
            match self.write(&member, stream)? {
                None => self.ends(Outcome::Has),
                Some(error) => {
                    let file = &self.file.name;
                    error!("{file} did not reach {member}: {error}");
                    member.tell(format!("{file} did not arrive: {error}."));
                    self.ends(Outcome::Failed(error.to_string()));
                }
            }
            member.with_turn(Turn::body_out);
            Ok(None)
        }))
    }

    /// Writes the length and the body. An error is the connection's; if the spool fails, its error is returned.
    ///
    /// If the spool fails at the beginning, the delivery is called off. If it fails later, the rest is filled: both ends stay in sync.
    fn write(&self, member: &Client, stream: &mut dyn Write) -> io::Result<Option<SpoolError>> {
        let [_, _, length] = &self.file.for_python;
        length.goes_to(member);
        let (length, len) = (&length.bytes, self.body.token_len());
        let mut fault = None;
        let account = member.outbox.account();
        account.hold(BODY_STEP);
        let n_written = write_body(stream, length, len, BODY_STEP, |offset, piece| {
            self.body.read_at(piece, offset).unwrap_or_else(|error| {
                fault.get_or_insert(error);
                piece.fill(FILLER);
                if offset == 0 { 0 } else { piece.len() }
            })
        })?;
        account.release(BODY_STEP);
        if n_written == 0 {
            let no_body = sealed_frame(&member.key, NO_BODY);
            no_body.goes_to(member);
            stream.write_all(&no_body.bytes)?;
        }
        Ok(fault)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.ends(Outcome::Gone);
    }
}

/// Tells the uploaders what there is to tell. If one is offline, it has ten minutes to come back. Called by the clock, without any lock.
pub(crate) fn tell_news(all: &Mutex<Vec<News>>) {
    let mut untold = std::mem::take(&mut *all.lock());
    untold.retain_mut(|news| {
        let Some(group) = news.file.group.upgrade() else {
            return false;
        };
        let client = group.lock().client_of(&news.file.by);
        news.n_ticks += 1;
        match client {
            Some(client) => client.tell(news.text()),
            None => return news.n_ticks < ANSWER_TICKS,
        }
        false
    });
    all.lock().append(&mut untold);
}

impl News {
    /// The news in words.
    fn text(&self) -> String {
        let names: Vec<&str> = self.members.iter().map(UserName::as_str).collect();
        let (file, names) = (&self.file.name, names.join(", "));
        match &self.outcome {
            Outcome::Has if self.members.len() == 1 => format!("{names} has {file}."),
            Outcome::Has => format!("{names} have {file}."),
            Outcome::Declined => format!("{names} declined {file}."),
            Outcome::Gone | Outcome::NotSent => format!("{file} did not reach {names}."),
            Outcome::Failed(reason) => format!("{file} did not reach {names}: {reason}."),
        }
    }
}

/// A download whose uploader is gone.
#[cfg(test)]
impl Download {
    pub fn of(file: &str) -> Arc<Download> {
        use std::sync::LazyLock;

        use crate::net::fairness::tests::source;
        use crate::seal::Key;
        use crate::server::spool::Spool;

        static BODY: LazyLock<Arc<Body>> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            let (spool, key) = (Spool::new(folder.path()).unwrap(), Key::generate());
            let token = key.seal(b"hello");
            let upload = spool.begin(&key, source(1), token.len() as u64).unwrap();
            upload.write(token.as_bytes()).unwrap().finish().unwrap()
        });
        let bob = UserName::parse("bob").unwrap();
        let file = SharedFile {
            id: "7".into(),
            name: FileName::from_peer(file),
            for_fernchat: Frame::plain(""),
            for_python: [format!("{file}?"), format!("name:{file}"), "".into()].map(Frame::plain),
            by: bob.clone(),
            group: Weak::new(),
            news: Arc::default(),
            hears_all: false,
        };
        Download::new(&Arc::new(file), &BODY, &bob)
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
        alice.hears_news(&[&format!("a.txt did not reach bob: {CAUSE}")]);
    }

    #[test]
    fn file_that_cannot_be_read_to_its_end_is_ended_early_for_a_fernchat_client() {
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
        let offer = format!("/receiveFile <id> {len}\na.txt\nalice");
        fred.hears(&["/wait", "/accepted", &offer]);
        fred.wants_file(0);
        // What was there, and in place of the rest the byte that ends a body and the reason.
        let cause = &CAUSE[..CAUSE.len() - 1];
        fred.hears(&[
            "/sendFile <id> 0",
            "<...>",
            &format!("/stopFile <id> {cause}"),
            "<...!>",
        ]);
        alice.hears_news(&[&format!("a.txt did not reach fred: {CAUSE}")]);
        assert!(kit.shared.spool.is_empty());
    }
}
