//! Keys in files: one line of 44 characters, readable by its owner only.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use log::warn;

use super::{Key, SealError};
use crate::machine;

/// The most that is read of a key file, in bytes: a key, and blanks around it.
const MAX_LEN: u64 = 1024;

impl Key {
    /// Reads a key from a file. Warns if others may read it as well.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Key, KeyFileError> {
        let refuse = |error| KeyFileError::Unreadable(path.to_owned(), error);
        let file = File::open(path).map_err(refuse)?;
        if machine::is_readable_by_others(&file) {
            let path = path.display();
            warn!("others on this machine can read the key file {path}; chmod 600 {path} keeps it to you");
        }
        let mut bytes = Vec::new();
        file.take(MAX_LEN).read_to_end(&mut bytes).map_err(refuse)?;
        let text = String::from_utf8_lossy(&bytes);
        Key::parse(&text).map_err(|error| KeyFileError::NoKey(path.to_owned(), error))
    }

    /// Makes a fresh key in a file that only its owner can read.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub fn create(path: &Path) -> Result<Key, KeyFileError> {
        let refuse = |error| KeyFileError::NotCreated(path.to_owned(), error);
        let mut file = machine::create_private(path).map_err(refuse)?;
        let key = Key::generate();
        writeln!(file, "{}", key.as_str()).map_err(refuse)?;
        Ok(key)
    }
}

/// What is wrong with a key file.
#[derive(Debug)]
pub enum KeyFileError {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It does not hold a key.
    NoKey(PathBuf, SealError),
    /// It cannot be made.
    NotCreated(PathBuf, io::Error),
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            KeyFileError::Unreadable(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "cannot read the key file {path}: {error}; get it from a friend, or make one with: fernchat keygen {path}"
                )
            }
            KeyFileError::NoKey(path, error) => {
                let path = path.display();
                write!(f, "the file {path} holds no key: {error}; a key file is one line, as fernchat keygen makes it")
            }
            KeyFileError::NotCreated(path, error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let path = path.display();
                write!(f, "{path} exists, and a key that is in use must not be lost; remove it, or choose another name")
            }
            KeyFileError::NotCreated(path, error) => {
                write!(f, "cannot make the key file {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for KeyFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeyFileError::Unreadable(_, error) | KeyFileError::NotCreated(_, error) => Some(error),
            KeyFileError::NoKey(_, error) => Some(error),
        }
    }
}
