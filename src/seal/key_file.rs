//! Keys and secrets in files: one line, readable by its owner only.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use log::warn;
use zeroize::Zeroizing;

use super::secret::MIN_SECRET;
use super::{Key, SealError, Secret};
use crate::machine;

/// The environment variable that may hold a key.
const VARIABLE: &str = "FERNCHAT_KEY";

/// The most that is read of such a file, in bytes: a key or a phrase, and blanks around it.
const MAX_LEN: usize = 1024;

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
        Key::parse(&read_private(path)?)
            .map_err(|error| KeyFileError::NoKey(path.to_owned(), error))
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

impl Secret {
    /// Reads the secret of a closed server from a file. Warns if others may read it as well.
    ///
    /// # Errors
    /// The file cannot be read, or holds anything but one line that is long enough.
    pub fn load(path: &Path) -> Result<Secret, KeyFileError> {
        Secret::parse(&read_private(path)?).ok_or_else(|| KeyFileError::NoSecret(path.to_owned()))
    }
}

/// Reads the beginning of a file that others should not be able to read.
fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let refuse = |error| KeyFileError::Unreadable(path.to_owned(), error);
    // Looked at before it is opened: to open a pipe is to wait for whoever writes into it.
    if !path.metadata().map_err(refuse)?.is_file() {
        return Err(refuse(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a plain file",
        )));
    }
    let file = File::open(path).map_err(refuse)?;
    if machine::is_readable_by_others(&file) {
        let path = path.display();
        warn!("others on this machine can read the file {path}; chmod 600 {path} keeps it to you");
    }
    // Of this size from the start, so that no part of it stays behind where it grew out of.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    file.take(MAX_LEN as u64)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    Ok(Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What is wrong with the file of a key or of a secret.
#[derive(Debug)]
pub enum KeyFileError {
    /// It cannot be read.
    Unreadable(PathBuf, io::Error),
    /// It does not hold a key.
    NoKey(PathBuf, SealError),
    /// It does not hold a secret.
    NoSecret(PathBuf),
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
                    "cannot read the file {path}: {error}; get it from a friend, or make one with: fernchat keygen FILE"
                )
            }
            KeyFileError::NoKey(path, error) => {
                let path = path.display();
                write!(
                    f,
                    "the file {path} holds no key: {error}; a key file is one line, as fernchat keygen makes it"
                )
            }
            KeyFileError::NoSecret(path) => {
                let path = path.display();
                write!(
                    f,
                    "the file {path} holds no secret: that is one line of at least {MIN_SECRET} characters; fernchat keygen makes a good one"
                )
            }
            KeyFileError::NotCreated(path, error)
                if error.kind() == io::ErrorKind::AlreadyExists =>
            {
                let path = path.display();
                write!(
                    f,
                    "{path} exists, and a key that is in use must not be lost; remove it, or choose another name"
                )
            }
            KeyFileError::NotCreated(path, error) => {
                write!(f, "cannot make the key file {}: {error}", path.display())
            }
            KeyFileError::Environment(error) => {
                write!(f, "the environment variable {VARIABLE} is no key: {error}")
            }
            KeyFileError::Missing => {
                write!(
                    f,
                    "a key is missing; give it with --key-file FILE, and make one with: fernchat keygen FILE"
                )
            }
        }
    }
}

impl std::error::Error for KeyFileError {}
