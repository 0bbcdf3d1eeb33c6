//! The spool: uploaded bodies in temporary files, until the last receiver has them.
//!
//! A body is the file's token as it came. All clients of a server share its key, so the token can be passed on as it is. Its HMAC is
//! checked while it is stored. A body can be read while it arrives, but for its last bytes. Those come out only if the HMAC held. So nobody
//! can take a body that is not whole for one that is. The files have no name on the disk, or on Windows one that goes when the file is closed. So nothing is left
//! behind, also after a crash.
//! If there is no space for one more, a body makes room: it loses its file, and its people are told.
//! Invariant: the bodies in the spool never take more space than the limit. A body that is dropped gives its space back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::refusal::Refusal;
use crate::machine::{body_ceiling, free_space, read_at, write_all_at};
use crate::net::fairness::{Source, who_makes_room};
use crate::seal::{BodyCheck, Key, SealError};
use crate::wire::size;

/// The most that all bodies may take, in bytes. It is half of the free space of the disk, if that is less.
const MAX_SPOOL: u64 = 16 << 30;

/// How much of a body is held back until its HMAC has held, in bytes.
const HELD_BACK: u64 = 64 << 10;

/// An upload that brings less than this many bytes ...
const PROGRESS: u64 = 64 << 10;
/// ... in this time makes room when its place is wanted.
const PROGRESS_TIME: Duration = Duration::from_secs(60);

/// Where uploaded bodies are kept.
pub(crate) struct Spool {
    folder: PathBuf,
    /// The most bytes that all bodies may take together.
    limit: u64,
    /// The most bodies at one time: each takes a descriptor.
    max_bodies: usize,
    bodies: Arc<Bodies>,
}

/// The bodies that take space, in the order in which they came.
type Bodies = Mutex<Vec<Held>>;

/// What a body takes of the spool.
struct Held {
    source: Source,
    len: u64,
    /// When the upload had brought [`PROGRESS`] more bytes the last time, and how many it had brought then. `None`: all bytes have come.
    progress: Option<(Instant, u64)>,
    file: Stored,
}

/// The file of a body, which others read. `None`: the body made room.
type Stored = Arc<RwLock<Option<File>>>;

impl Spool {
    /// A spool in this folder. The error says that no file can be made there.
    pub(crate) fn new(folder: &Path) -> io::Result<Spool> {
        tempfile::tempfile_in(folder)?;
        let free = free_space(folder).unwrap_or(u64::MAX);
        Ok(Spool {
            folder: folder.to_owned(),
            limit: MAX_SPOOL.min(free / 2),
            max_bodies: body_ceiling(),
            bodies: Arc::default(),
        })
    }

    /// Whether nobody has a body, not even one that made room.
    pub(crate) fn is_empty(&self) -> bool {
        Arc::strong_count(&self.bodies) == 1
    }

    /// Begins to store a body of `len` bytes that comes from this source.
    pub(crate) fn begin(&self, key: &Key, source: Source, len: u64) -> Result<Upload, SpoolError> {
        let mut bodies = self.bodies.lock();
        let most = self.max_bodies;
        while bodies.len() >= most {
            make_room(&mut bodies, source, |_| 1).ok_or(SpoolError::TooMany { most })?;
        }
        let file = tempfile::tempfile_in(&self.folder).map_err(SpoolError::NotStored)?;
        let file = Stored::new(RwLock::new(Some(file)));
        bodies.push(Held {
            source,
            len: 0,
            progress: Some((Instant::now(), 0)),
            file: Arc::clone(&file),
        });
        Ok(Upload {
            body: Arriving(Arc::new(Body {
                file,
                len,
                bodies: Arc::clone(&self.bodies),
                growth: Mutex::new(Growth {
                    readable: Ok(0),
                    waiters: Vec::new(),
                }),
            })),
            n_arrived: 0,
            source,
            check: BodyCheck::new(key),
            limit: self.limit,
        })
    }
}

/// One body makes room for an upload from this source: one that crawls, or the oldest of the source that takes most. Its people are told
/// when they come to it.
fn make_room(bodies: &mut Vec<Held>, newcomer: Source, cost: fn(&Held) -> usize) -> Option<()> {
    let now = Instant::now();
    let holders = || {
        let bodies = bodies.iter().enumerate();
        bodies.map(|(at, held)| (held.source, cost(held), (at, held)))
    };
    let crawling = holders().filter(|(_, _, (_, held))| held.is_crawling(now));
    let (at, _) =
        who_makes_room(crawling, None).or_else(|| who_makes_room(holders(), Some(newcomer)))?;
    *bodies.remove(at).file.write() = None;
    Some(())
}

impl Held {
    fn is_crawling(&self, now: Instant) -> bool {
        let progress = self.progress;
        progress.is_some_and(|(since, _)| now.duration_since(since) >= PROGRESS_TIME)
    }
}

/// A body that is being uploaded.
pub(crate) struct Upload {
    body: Arriving,
    /// How many bytes of it have come.
    pub n_arrived: u64,
    source: Source,
    check: BodyCheck,
    limit: u64,
}

/// A body that fails if this is dropped before its end.
struct Arriving(Arc<Body>);

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.becomes(Err("its sender is gone".into()));
    }
}

impl Upload {
    /// The body, which others may read while it arrives.
    pub(crate) fn body(&self) -> &Arc<Body> {
        &self.body.0
    }

    /// Stores the next bytes. Space is taken as they arrive, not as they are announced.
    pub(crate) fn write(mut self, bytes: &[u8]) -> Result<Upload, SpoolError> {
        let stored = self.store(bytes);
        match &stored {
            Ok(()) => {
                let open_len = self.body().len.saturating_sub(HELD_BACK);
                self.body().becomes(Ok(self.n_arrived.min(open_len)));
            }
            Err(error) => self.fail(error),
        }
        stored.map(|()| self)
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.take_space(bytes.len() as u64)?;
        self.check.update(bytes);
        let offset = self.n_arrived - bytes.len() as u64;
        match self.body().file.read().as_ref() {
            Some(file) => write_all_at(file, bytes, offset).map_err(SpoolError::NotStored),
            None => Err(SpoolError::MadeRoom),
        }
    }

    fn take_space(&mut self, n: u64) -> Result<(), SpoolError> {
        let body = &self.body.0;
        let mut bodies = body.bodies.lock();
        while bodies.iter().map(|held| held.len).sum::<u64>() + n > self.limit {
            let full = SpoolError::Full { limit: self.limit };
            let bytes = |held: &Held| usize::try_from(held.len).unwrap_or(usize::MAX);
            make_room(&mut bodies, self.source, bytes).ok_or(full)?;
        }
        let own = body.find(&mut bodies).ok_or(SpoolError::MadeRoom)?;
        own.len += n;
        self.n_arrived = own.len;
        if let Some((since, then)) = &mut own.progress {
            if own.len - *then >= PROGRESS {
                (*since, *then) = (Instant::now(), own.len);
            }
        }
        Ok(())
    }

    /// The rest does not come. Those who read the body are told why.
    pub(crate) fn fail(&self, reason: impl ToString) {
        self.body().becomes(Err(reason.to_string()));
    }

    /// All bytes have come: returns the body, if it is a token of the server's key.
    pub(crate) fn finish(self) -> Result<Arc<Body>, SpoolError> {
        let body = Arc::clone(self.body());
        let is_whole = self.check.finish().map_err(SpoolError::NotOpened);
        let is_whole = is_whole.and_then(|()| {
            let mut bodies = body.bodies.lock();
            let own = body.find(&mut bodies).ok_or(SpoolError::MadeRoom)?;
            own.progress = None;
            Ok(body.len)
        });
        body.becomes(is_whole.as_ref().copied().map_err(ToString::to_string));
        is_whole.map(|_| body)
    }
}

/// A body in the spool, whole or still arriving.
pub(crate) struct Body {
    file: Stored,
    /// Its length in bytes when it is whole.
    len: u64,
    bodies: Arc<Bodies>,
    growth: Mutex<Growth>,
}

/// How far a body has come, and who waits for more of it.
struct Growth {
    /// How many bytes may be read now, or why the rest does not come.
    readable: Result<u64, String>,
    waiters: Vec<Waiter>,
}

/// Somebody who waits for more of a body.
pub(crate) struct Waiter {
    /// Whether somebody still waits. If not, this may be dropped.
    pub is_there: Box<dyn Fn() -> bool + Send>,
    /// What is to be done then.
    pub go_on: Box<dyn FnOnce() + Send>,
}

impl Body {
    /// Its length in bytes when it is whole.
    pub(crate) fn token_len(&self) -> u64 {
        self.len
    }

    /// Reads from `offset` on. Several threads may do so at once. 0: no more has come yet.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SpoolError> {
        let readable = self.growth.lock().readable.clone();
        let n = readable.map_err(SpoolError::Failed)?.saturating_sub(offset);
        let n = buffer.len().min(usize::try_from(n).unwrap_or(usize::MAX));
        let file = self.file.read();
        match read_at(
            file.as_ref().ok_or(SpoolError::MadeRoom)?,
            &mut buffer[..n],
            offset,
        ) {
            Ok(0) if n > 0 => Err(SpoolError::NotRead(io::ErrorKind::UnexpectedEof.into())),
            result => result.map_err(SpoolError::NotRead),
        }
    }

    /// Calls `waiter` when more can be read than up to `offset`, or the body has failed, or [`Body::wake`] is called. Those who are gone make
    /// room for it.
    pub(crate) fn wait(&self, offset: u64, waiter: Waiter) {
        let mut growth = self.growth.lock();
        if growth.readable.as_ref().is_ok_and(|n| *n <= offset) {
            growth.waiters.retain(|other| (other.is_there)());
            return growth.waiters.push(waiter);
        }
        drop(growth);
        (waiter.go_on)();
    }

    /// Calls all who wait.
    pub(crate) fn wake(&self) {
        let waiters = std::mem::take(&mut self.growth.lock().waiters);
        waiters.into_iter().for_each(|waiter| (waiter.go_on)());
    }

    /// More of it can be read, or the rest does not come. A body that is whole or has failed stays so.
    fn becomes(&self, readable: Result<u64, String>) {
        let mut growth = self.growth.lock();
        if growth.readable.as_ref().is_ok_and(|n| *n < self.len) {
            growth.readable = readable;
        }
        drop(growth);
        self.wake();
    }

    /// Why the rest does not come, if that is so.
    pub(crate) fn failure(&self) -> Option<String> {
        self.growth.lock().readable.clone().err()
    }

    /// What this body takes, if it did not make room.
    fn find<'a>(&self, bodies: &'a mut [Held]) -> Option<&'a mut Held> {
        bodies
            .iter_mut()
            .find(|held| Arc::ptr_eq(&held.file, &self.file))
    }

    /// Cuts the stored file, as a disk that fails might.
    #[cfg(test)]
    pub fn cut(&self, len: u64) {
        self.file.read().as_ref().unwrap().set_len(len).unwrap();
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut bodies = self.bodies.lock();
        bodies.retain(|held| !Arc::ptr_eq(&held.file, &self.file));
    }
}

/// Why a file was not stored, or does not come out again. The people concerned are told in these words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("this server takes files of at most {}", size::in_words(*.limit))]
    TooLarge { limit: u64 },
    #[error("the server has room for {} of files in all; try again later", size::in_words(*.limit))]
    Full { limit: u64 },
    #[error("the server has {most} files on their way; try again later")]
    TooMany { most: usize },
    #[error("the server needed its place for another; try again later")]
    MadeRoom,
    #[error("the server cannot store it: {0}")]
    NotStored(#[source] io::Error),
    #[error("the server cannot read it any more: {0}")]
    NotRead(#[source] io::Error),
    #[error("it did not arrive whole: {0}")]
    NotOpened(#[source] SealError),
    /// The rest of a body does not come, for this reason.
    #[error("{0}")]
    Failed(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::fairness::tests::source;

    const LIMIT: u64 = 1000;

    fn spool(folder: &Path) -> Spool {
        Spool {
            folder: folder.to_owned(),
            limit: LIMIT,
            max_bodies: 96,
            bodies: Arc::default(),
        }
    }

    fn taken(spool: &Spool) -> u64 {
        spool.bodies.lock().iter().map(|held| held.len).sum()
    }

    fn n_files(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    /// Stores these bytes in pieces.
    fn store(spool: &Spool, key: &Key, bytes: &[u8]) -> Result<Arc<Body>, SpoolError> {
        let mut body = spool.begin(key, source(1), bytes.len() as u64)?;
        for piece in bytes.chunks(99) {
            body = body.write(piece)?;
        }
        body.finish()
    }

    #[test]
    fn body_comes_back_as_it_went_in_and_nobody_sees_it_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        let token = key.seal(b"hello, all of you").into_bytes();
        let body = store(&spool, &key, &token).unwrap();
        assert_eq!(n_files(folder.path()), usize::from(cfg!(windows)));
        assert_eq!(body.token_len(), token.len() as u64);
        // Two readers at two places, in any order.
        let (mut end, mut all) = ([0; 20], vec![0; token.len() + 1]);
        let n = body.read_at(&mut end, 100).unwrap();
        assert_eq!(end[..n], token[100..100 + n]);
        assert_eq!(body.read_at(&mut all, 0).unwrap(), token.len());
        assert_eq!(all[..token.len()], token);
        assert_eq!(body.read_at(&mut all, token.len() as u64).unwrap(), 0);
    }

    #[test]
    fn body_is_read_while_it_arrives_but_for_its_last_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, key) = (spool(folder.path()), Key::generate());
        spool.limit = 1 << 20;
        let token = key.seal(&[7; 100_000]).into_bytes();
        let open_len = token.len() - HELD_BACK as usize;
        let damaged = [&token[..token.len() - 4], b"AAAA"].concat();
        for (bytes, is_whole) in [(&token, true), (&damaged, false)] {
            let upload = spool.begin(&key, source(1), token.len() as u64).unwrap();
            let body = Arc::clone(upload.body());
            let (woken, is_woken) = crossbeam_channel::unbounded();
            let waits = |at| {
                let woken = woken.clone();
                let waiter = Waiter {
                    is_there: Box::new(|| true),
                    go_on: Box::new(move || woken.send(at).unwrap()),
                };
                body.wait(at, waiter);
            };
            waits(0);
            waits(1000);
            let upload = upload.write(&bytes[..1000]).unwrap();
            assert_eq!(is_woken.try_iter().collect::<Vec<_>>(), [0, 1000]);
            let mut all = vec![0; bytes.len()];
            assert_eq!(body.read_at(&mut all, 0).unwrap(), 1000);
            assert_eq!(body.read_at(&mut all, 1000).unwrap(), 0);
            // Where somebody reads is not where the next bytes go.
            assert_eq!(body.read_at(&mut all[..10], 0).unwrap(), 10);
            waits(999);
            assert_eq!(is_woken.try_recv(), Ok(999), "there is more already");
            let upload = upload.write(&bytes[1000..]).unwrap();
            assert_eq!(body.read_at(&mut all, 0).unwrap(), open_len);
            assert!(all[..open_len] == bytes[..open_len]);
            waits(open_len as u64);
            assert!(is_woken.is_empty());
            assert_eq!(upload.finish().is_ok(), is_whole);
            assert_eq!(is_woken.try_recv(), Ok(open_len as u64));
            match body.read_at(&mut all, open_len as u64) {
                Ok(n) => {
                    assert!(is_whole && n == HELD_BACK as usize && all[..n] == bytes[open_len..])
                }
                Err(error) => assert!(!is_whole && error.to_string().contains("whole"), "{error}"),
            }
        }
        // A sender that is gone is a failure, too.
        let upload = spool.begin(&key, source(1), 1000).unwrap();
        let body = Arc::clone(upload.body());
        drop(upload);
        let error = body.read_at(&mut [0], 0).unwrap_err();
        assert_eq!(error.to_string(), "its sender is gone");
    }

    #[test]
    fn space_is_given_back_when_a_body_is_dropped_at_any_stage() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        let token = key.seal(&[0; 100]).into_bytes();
        let body = store(&spool, &key, &token).unwrap();
        assert_eq!(taken(&spool), token.len() as u64);
        // Kept until the last receiver has it.
        let (one, another) = (body, spool.begin(&key, source(1), LIMIT).unwrap());
        let two = Arc::clone(&one);
        drop(one);
        assert_eq!(taken(&spool), token.len() as u64);
        drop(two);
        assert_eq!(taken(&spool), 0);

        let called_off = another.write(&token[..50]).unwrap();
        assert_eq!(taken(&spool), 50);
        drop(called_off);
        assert_eq!(taken(&spool), 0);

        let foreign = Key::generate().seal(b"hello").into_bytes();
        for bytes in [&foreign[..], &token[..99], b""] {
            let error = store(&spool, &key, bytes).err().unwrap();
            assert!(matches!(error, SpoolError::NotOpened(_)), "{error}");
            assert_eq!(taken(&spool), 0);
        }
    }

    #[test]
    fn full_spool_refuses_what_does_not_fit_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        let stores = |n| {
            spool
                .begin(&key, source(1), LIMIT)
                .unwrap()
                .write(&vec![b'A'; n])
        };
        let most = LIMIT as usize;
        let body = stores(most - 100).unwrap();
        for n in [101, most] {
            let error = stores(n).err().unwrap();
            assert!(matches!(error, SpoolError::Full { limit: LIMIT }));
        }
        let other = stores(100).unwrap();
        assert_eq!(taken(&spool), LIMIT);
        assert!(other.write(b"A").is_err());
        drop(body);
        stores(most).unwrap();
    }

    #[test]
    fn the_bodies_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        assert!(spool.is_empty());
        let mut uploads: Vec<_> = (0..spool.max_bodies)
            .map(|_| spool.begin(&key, source(1), LIMIT).unwrap())
            .collect();
        let error = spool.begin(&key, source(1), LIMIT).err().unwrap();
        assert!(matches!(error, SpoolError::TooMany { .. }));
        uploads.pop();
        uploads.push(spool.begin(&key, source(1), LIMIT).unwrap());
        drop(uploads);
        assert!(spool.is_empty());
    }

    #[test]
    fn the_oldest_body_of_the_source_that_has_most_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        let token = key.seal(b"hello").into_bytes();
        let honest = spool.begin(&key, source(2), LIMIT).unwrap();
        let mut his: Vec<_> = (1..spool.max_bodies)
            .map(|_| spool.begin(&key, source(66), LIMIT))
            .collect();
        assert!(matches!(
            spool.begin(&key, source(66), LIMIT),
            Err(SpoolError::TooMany { .. })
        ));
        let another = spool
            .begin(&key, source(2), LIMIT)
            .unwrap()
            .write(&token)
            .unwrap();
        let first = his.remove(0).unwrap();
        assert!(matches!(first.write(&token), Err(SpoolError::MadeRoom)));
        // A body that waits for its receivers makes room as well, and they are told.
        let second = his.remove(0).unwrap().write(&token).unwrap();
        let second = second.finish().unwrap();
        let _one_more = spool.begin(&key, source(3), LIMIT).unwrap();
        let error = second.read_at(&mut [0], 0).unwrap_err();
        assert!(matches!(error, SpoolError::MadeRoom), "{error}");
        assert!(another.finish().is_ok() && honest.write(&token).is_ok());
    }

    #[test]
    fn bytes_of_the_source_that_has_most_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        let stores = |n, at| {
            spool
                .begin(&key, source(at), LIMIT)
                .unwrap()
                .write(&vec![b'A'; n])
        };
        let his = stores(600, 66).unwrap();
        let his_other = stores(300, 66).unwrap();
        assert!(matches!(
            stores(101, 66),
            Err(SpoolError::Full { limit: LIMIT })
        ));
        let honest = stores(101, 1).unwrap();
        assert!(matches!(his.write(b"A"), Err(SpoolError::MadeRoom)));
        assert_eq!(taken(&spool), 401);
        let honest = honest.write(&[b'A'; 600]).unwrap();
        assert!(matches!(his_other.write(b"A"), Err(SpoolError::MadeRoom)));
        let error = honest.write(&[b'A'; 300]).err().unwrap();
        assert!(matches!(error, SpoolError::Full { .. }), "{error}");
    }

    #[test]
    fn an_upload_that_crawls_makes_room_for_anybody() {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, key) = (spool(folder.path()), Key::generate());
        spool.limit = 1 << 20;
        let mut uploads: Vec<_> = (0..spool.max_bodies)
            .map(|_| spool.begin(&key, source(1), LIMIT).unwrap())
            .collect();
        let age = |at: usize| {
            let mut bodies = spool.bodies.lock();
            let (since, _) = bodies[at].progress.as_mut().unwrap();
            *since = since.checked_sub(PROGRESS_TIME).unwrap();
        };
        // One brings enough in a minute, one does not, and one has brought all.
        let bytes = vec![b'A'; PROGRESS as usize];
        age(0);
        let brings_enough = uploads.remove(0).write(&bytes).unwrap();
        let crawls = uploads.remove(0).write(&bytes[1..]).unwrap();
        age(1);
        let _newcomer = spool.begin(&key, source(1), LIMIT).unwrap();
        assert!(matches!(crawls.write(b"A"), Err(SpoolError::MadeRoom)));
        let _brings_enough = brings_enough.write(b"A").unwrap();
        assert!(matches!(
            spool.begin(&key, source(1), LIMIT),
            Err(SpoolError::TooMany { .. })
        ));
    }

    #[test]
    fn folder_that_takes_no_files_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Spool::new(&missing).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
