//! The spool: uploaded bodies in temporary files, until the last receiver has them.
//!
//! A body is the file's token as it came: all clients of a server share its key, so it can be passed on as it is. Its HMAC is
//! checked while it is written. The files have no name on the disk, on Windows one that goes when they are closed, so nothing is left
//! behind, also after a crash.
//! Invariant: the bodies in the spool never take more room than the limit; a body that is dropped gives its room back.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::machine::{free_space, read_at};
use crate::seal::{BodyCheck, Key, SealError};
use crate::wire::size;

/// The most that all spooled bodies may take, in bytes. Half of the free room of the disk, if that is less.
pub const MAX_SPOOL: u64 = 16 << 30;

/// The most bodies at one time: each takes a descriptor.
const MAX_BODIES: usize = 96;

/// Where uploaded bodies are kept.
pub struct Spool {
    folder: PathBuf,
    space: Arc<SpoolSpace>,
}

struct SpoolSpace {
    limit: u64,
    taken: AtomicU64,
    n_bodies: AtomicUsize,
}

impl Spool {
    /// A spool in this folder.
    ///
    /// # Errors
    /// No file can be made there.
    pub fn new(folder: &Path) -> io::Result<Spool> {
        tempfile::tempfile_in(folder)?;
        let limit = free_space(folder).map_or(MAX_SPOOL, |free| MAX_SPOOL.min(free / 2));
        let space = Arc::new(SpoolSpace {
            limit,
            taken: AtomicU64::new(0),
            n_bodies: AtomicUsize::new(0),
        });
        Ok(Spool {
            folder: folder.to_owned(),
            space,
        })
    }

    /// Whether there is no body at all.
    pub fn is_empty(&self) -> bool {
        self.space.n_bodies.load(Ordering::Relaxed) == 0
    }

    /// Begins a body.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin(&self, key: &Key) -> Result<Incoming, SpoolError> {
        let n_bodies = self.space.n_bodies.fetch_add(1, Ordering::Relaxed);
        let file = if n_bodies < MAX_BODIES {
            tempfile::tempfile_in(&self.folder).map_err(SpoolError::Io)
        } else {
            Err(SpoolError::TooMany)
        };
        if file.is_err() {
            self.space.n_bodies.fetch_sub(1, Ordering::Relaxed);
        }
        let body = Body {
            file: file?,
            len: 0,
            space: Arc::clone(&self.space),
        };
        Ok(Incoming {
            body,
            check: BodyCheck::new(key),
        })
    }
}

/// A body that is being uploaded.
pub struct Incoming {
    body: Body,
    check: BodyCheck,
}

impl Incoming {
    /// Stores the next bytes. SpoolSpace is taken as they arrive, not as they are announced.
    ///
    /// # Errors
    /// The spool is full, or the disk is full or broken.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        let n = bytes.len() as u64;
        let space = &self.body.space;
        if space.taken.fetch_add(n, Ordering::Relaxed) + n > space.limit {
            space.taken.fetch_sub(n, Ordering::Relaxed);
            return Err(SpoolError::Full { limit: space.limit });
        }
        self.body.len += n;
        self.check.update(bytes);
        self.body.file.write_all(bytes).map_err(SpoolError::Io)
    }

    /// All bytes have come.
    ///
    /// # Errors
    /// They are not a token of the server's key.
    pub fn finish(self) -> Result<Body, SpoolError> {
        self.check.finish().map_err(SpoolError::NotOpened)?;
        Ok(self.body)
    }
}

/// A body in the spool. What [`Incoming::finish`] returns has an HMAC that held.
pub struct Body {
    file: File,
    len: u64,
    space: Arc<SpoolSpace>,
}

impl Body {
    /// Its length in bytes.
    pub fn token_len(&self) -> u64 {
        self.len
    }

    /// Reads from `offset` on; several threads may do so.
    ///
    /// # Errors
    /// The disk is broken, or the file is shorter than it was.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match read_at(&self.file, buffer, offset)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.space.taken.fetch_sub(self.len, Ordering::Relaxed);
        self.space.n_bodies.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why an upload was not stored. Told to the uploader in these words.
#[derive(Debug)]
pub enum SpoolError {
    /// The body is longer than this server takes.
    TooLarge {
        /// The longest file it takes, in bytes.
        limit: u64,
    },
    /// The spool has no room left for it.
    Full {
        /// The room of the whole spool, in bytes.
        limit: u64,
    },
    /// The spool has as many bodies as it may have.
    TooMany,
    /// The disk is full or broken.
    Io(io::Error),
    /// What arrived is not a token of the server's key.
    NotOpened(SealError),
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SpoolError::TooLarge { limit } => {
                write!(
                    f,
                    "this server takes files of at most {}",
                    size::in_words(*limit)
                )
            }
            SpoolError::Full { limit } => write!(
                f,
                "the server has room for {} of files in all; try again later",
                size::in_words(*limit)
            ),
            SpoolError::TooMany => write!(
                f,
                "the server has {MAX_BODIES} files on their way; try again later"
            ),
            SpoolError::Io(error) => write!(f, "the server cannot store it: {error}"),
            SpoolError::NotOpened(error) => write!(f, "it did not arrive whole: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn spool(folder: &Path) -> Spool {
        let space = Arc::new(SpoolSpace {
            limit: LIMIT,
            taken: AtomicU64::new(0),
            n_bodies: AtomicUsize::new(0),
        });
        Spool {
            folder: folder.to_owned(),
            space,
        }
    }

    fn taken(spool: &Spool) -> u64 {
        spool.space.taken.load(Ordering::Relaxed)
    }

    fn n_files(folder: &Path) -> usize {
        folder.read_dir().unwrap().count()
    }

    /// Stores these bytes in pieces.
    fn store(spool: &Spool, key: &Key, bytes: &[u8]) -> Result<Body, SpoolError> {
        let mut body = spool.begin(key)?;
        for piece in bytes.chunks(99) {
            body.write(piece)?;
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
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn room_is_given_back_whatever_becomes_of_a_body() {
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

        let mut called_off = another;
        called_off.write(&token[..50]).unwrap();
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
        let mut body = spool.begin(&key).unwrap();
        body.write(&[b'A'; LIMIT as usize - 100]).unwrap();
        let mut other = spool.begin(&key).unwrap();
        let error = other.write(&[b'A'; 101]).unwrap_err();
        assert!(matches!(error, SpoolError::Full { limit: LIMIT }));
        other.write(&[b'A'; 100]).unwrap();
        assert_eq!(taken(&spool), LIMIT);
        assert!(other.write(b"A").is_err() && body.write(b"A").is_err());
        drop(body);
        other.write(&[b'A'; LIMIT as usize - 100]).unwrap();
    }

    #[test]
    fn folder_that_takes_no_files_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Spool::new(&missing).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
