//! The spool: uploaded bodies in temporary files, until the last receiver has them.
//!
//! A body is the file's token as it came. All clients of a server share its key, so the token can be passed on as it is. Its HMAC is
//! checked while it is stored. The files have no name on the disk, or on Windows one that goes when the file is closed. So nothing is left
//! behind, also after a crash.
//! Invariant: the bodies in the spool never take more space than the limit. A body that is dropped gives its space back.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::machine::{free_space, read_at};
use crate::seal::{BodyCheck, Key, SealError};
use crate::wire::size;

/// The most that all bodies may take, in bytes. It is half of the free space of the disk, if that is less.
const MAX_SPOOL: u64 = 16 << 30;

/// The most bodies at one time: each takes a descriptor.
const MAX_BODIES: usize = 96;

/// Where uploaded bodies are kept.
pub(crate) struct Spool {
    folder: PathBuf,
    /// The most bytes that all bodies may take together.
    limit: u64,
    /// The bytes that they take. Each body holds a clone, so the count of clones counts the bodies.
    taken: Arc<AtomicU64>,
    /// Whether there was a body since the clock asked last.
    was_used: AtomicBool,
}

impl Spool {
    /// A spool in this folder. The error says that no file can be made there.
    pub(crate) fn new(folder: &Path) -> io::Result<Spool> {
        tempfile::tempfile_in(folder)?;
        let free = free_space(folder).unwrap_or(u64::MAX);
        Ok(Spool {
            folder: folder.to_owned(),
            limit: MAX_SPOOL.min(free / 2),
            taken: Arc::default(),
            was_used: AtomicBool::new(false),
        })
    }

    /// Whether there is no body at all.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        Arc::strong_count(&self.taken) == 1
    }

    /// Whether there was any body since the last call. Called by the clock.
    pub(crate) fn was_used(&self) -> bool {
        let has_bodies = Arc::strong_count(&self.taken) > 1;
        self.was_used.swap(has_bodies, Ordering::Relaxed)
    }

    /// Begins to store a body.
    pub(crate) fn begin(&self, key: &Key) -> Result<Upload, SpoolError> {
        self.was_used.store(true, Ordering::Relaxed);
        let taken = Arc::clone(&self.taken);
        if Arc::strong_count(&taken) - 1 > MAX_BODIES {
            return Err(SpoolError::TooMany);
        }
        let file = tempfile::tempfile_in(&self.folder).map_err(SpoolError::NotStored)?;
        Ok(Upload {
            body: Body {
                file,
                len: 0,
                taken,
            },
            check: BodyCheck::new(key),
            limit: self.limit,
        })
    }
}

/// A body that is being uploaded.
pub(crate) struct Upload {
    body: Body,
    check: BodyCheck,
    limit: u64,
}

impl Upload {
    /// Stores the next bytes. Space is taken as they arrive, not as they are announced.
    pub(crate) fn write(mut self, bytes: &[u8]) -> Result<Upload, SpoolError> {
        let (n, body) = (bytes.len() as u64, &mut self.body);
        body.len += n;
        if body.taken.fetch_add(n, Ordering::Relaxed) + n > self.limit {
            return Err(SpoolError::Full { limit: self.limit });
        }
        self.check.update(bytes);
        body.file.write_all(bytes).map_err(SpoolError::NotStored)?;
        Ok(self)
    }

    /// All bytes have come: returns the body, if it is a token of the server's key.
    pub(crate) fn finish(self) -> Result<Body, SpoolError> {
        self.check.finish().map_err(SpoolError::NotOpened)?;
        Ok(self.body)
    }
}

/// A body in the spool. What [`Upload::finish`] returns has an HMAC that held.
pub(crate) struct Body {
    file: File,
    len: u64,
    taken: Arc<AtomicU64>,
}

impl Body {
    /// Its length in bytes.
    pub(crate) fn token_len(&self) -> u64 {
        self.len
    }

    /// Reads at least one byte from `offset` on. Several threads may do so at once.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SpoolError> {
        match read_at(&self.file, buffer, offset) {
            Ok(0) => Err(SpoolError::NotRead(io::ErrorKind::UnexpectedEof.into())),
            result => result.map_err(SpoolError::NotRead),
        }
    }

    /// Cuts the stored file, as a disk that fails might.
    #[cfg(test)]
    pub fn cut(&self, len: u64) {
        self.file.set_len(len).unwrap();
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// Why a file was not stored, or does not come out again. The people concerned are told in these words.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("this server takes files of at most {}", size::in_words(*.limit))]
    TooLarge { limit: u64 },
    #[error("the server has room for {} of files in all; try again later", size::in_words(*.limit))]
    Full { limit: u64 },
    #[error("the server has {MAX_BODIES} files on their way; try again later")]
    TooMany,
    #[error("the server cannot store it: {0}")]
    NotStored(#[source] io::Error),
    #[error("the server cannot read it any more: {0}")]
    NotRead(#[source] io::Error),
    #[error("it did not arrive whole: {0}")]
    NotOpened(#[source] SealError),
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn spool(folder: &Path) -> Spool {
        Spool {
            folder: folder.to_owned(),
            limit: LIMIT,
            taken: Arc::default(),
            was_used: AtomicBool::new(false),
        }
    }

    fn taken(spool: &Spool) -> u64 {
        spool.taken.load(Ordering::Relaxed)
    }

    fn n_files(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    /// Stores these bytes in pieces.
    fn store(spool: &Spool, key: &Key, bytes: &[u8]) -> Result<Body, SpoolError> {
        let mut body = spool.begin(key)?;
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
        let error = body.read_at(&mut all, token.len() as u64).unwrap_err();
        assert!(matches!(error, SpoolError::NotRead(_)), "{error}");
    }

    #[test]
    fn space_is_given_back_when_a_body_is_dropped_at_any_stage() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        let token = key.seal(&[0; 100]).into_bytes();
        let body = store(&spool, &key, &token).unwrap();
        assert_eq!(taken(&spool), token.len() as u64);
        // Kept until the last receiver has it.
        let (one, another) = (Arc::new(body), spool.begin(&key).unwrap());
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
        let stores = |n| spool.begin(&key).unwrap().write(&vec![b'A'; n]);
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
        let mut uploads: Vec<_> = (0..MAX_BODIES)
            .map(|_| spool.begin(&key).unwrap())
            .collect();
        let error = spool.begin(&key).err().unwrap();
        assert!(matches!(error, SpoolError::TooMany));
        uploads.pop();
        uploads.push(spool.begin(&key).unwrap());
        drop(uploads);
        assert!(spool.is_empty());
    }

    #[test]
    fn the_clock_hears_of_each_body_also_of_one_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, key) = (spool(folder.path()), Key::generate());
        assert!(!spool.was_used());
        drop(spool.begin(&key).unwrap());
        assert!(spool.was_used(), "it came and went between two ticks");
        assert!(!spool.was_used());
        let upload = spool.begin(&key).unwrap();
        assert!(spool.was_used());
        assert!(spool.was_used());
        drop(upload);
        assert!(spool.was_used(), "once more, for what it left to say");
        assert!(!spool.was_used());
    }

    #[test]
    fn folder_that_takes_no_files_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Spool::new(&missing).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
