//! Keys in files: one line of 44 characters, readable by its owner only.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use log::warn;

use super::{Key, SealError};
use crate::machine;

/// The environment variable that may hold a key.
const VARIABLE: &str = "FERNCHAT_KEY";

/// The most that is read of a key file, in bytes: a key, and blanks around it.
const MAX_LEN: u64 = 1024;

impl Key {
    /// Finds the key of a person: in this file, or else in the environment. Never on the command line, which others can see.
    ///
    /// # Errors
    /// It is in neither place, or what is there is no key.
    pub fn find(path: Option<&Path>) -> Result<Key, KeyFileError> {
        match (path, std::env::var(VARIABLE)) {
            (Some(path), _) => Key::load(path),
            (None, Ok(text)) => Key::parse(&text).map_err(KeyFileError::Environment),
            (None, Err(_)) => Err(KeyFileError::Missing),
        }
    }

    /// Reads a key from a file. Warns if others may read it as well.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Key, KeyFileError> {
        let refuse = |error| KeyFileError::Unreadable(path.to_owned(), error);
        // Looked at before it is opened: to open a pipe is to wait for whoever writes into it.
        if !path.metadata().map_err(refuse)?.is_file() {
            return Err(refuse(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")));
        }
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
        if let Err(error) = writeln!(file, "{}", key.as_str()) {
            // Half a key is of no use, and would be in the way of the next try.
            let _ = std::fs::remove_file(path);
            return Err(refuse(error));
        }
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
    /// The environment holds something else.
    Environment(SealError),
    /// There is neither a file nor a key in the environment.
    Missing,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            KeyFileError::Unreadable(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "cannot read the key file {path}: {error}; get one from a friend, or make one with: fernchat keygen FILE"
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
            KeyFileError::Environment(error) => write!(f, "the environment variable {VARIABLE} is no key: {error}"),
            KeyFileError::Missing => {
                write!(f, "a key is missing; give it with --key-file FILE, and make one with: fernchat keygen FILE")
            }
        }
    }
}

impl std::error::Error for KeyFileError {}
