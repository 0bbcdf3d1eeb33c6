//! Keys and secrets in files: one line, readable by its owner only.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use log::warn;
use thiserror::Error;
use zeroize::Zeroizing;

use super::secret::MIN_SECRET;
use super::{Key, Secret};
use crate::machine;

/// The environment variable that may hold a key.
const VARIABLE: &str = "FERNCHAT_KEY";

/// The longest such file, in bytes: a key or a phrase, and blanks around it.
const MAX_LEN: usize = 1024;

impl Key {
    /// Finds a person's key: in this file, or else in the environment. Never on the command line, which others can see.
    ///
    /// # Errors
    /// It is in neither place, or the text there is no key.
    pub fn find(path: Option<&Path>) -> Result<Key, KeyFileError> {
        if let Some(path) = path {
            return Key::load(path);
        }
        let text = std::env::var(VARIABLE).map(Zeroizing::new).map_err(|_| KeyFileError(
            "a key is missing; give it with --key-file FILE, and make one with: fernchat keygen FILE".into(),
        ))?;
        Key::parse(&text).map_err(|error| {
            KeyFileError(format!(
                "the environment variable {VARIABLE} is no key: {error}"
            ))
        })
    }

    /// Reads a key from a file. Warns if others may read or change it.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Key, KeyFileError> {
        Key::parse(&read_private(path)?).map_err(|error| {
            let path = path.display();
            KeyFileError(format!(
                "the file {path} holds no key: {error}; a key file is one line, as fernchat keygen makes it"
            ))
        })
    }

    /// Makes a fresh key in a file that only its owner can read.
    ///
    /// # Errors
    /// The file exists already, or cannot be written.
    pub fn create(path: &Path) -> Result<Key, KeyFileError> {
        let refuse = |error: io::Error| {
            let path = path.display();
            KeyFileError(match error.kind() {
                io::ErrorKind::AlreadyExists => format!(
                    "{path} exists, and a key that is in use must not be lost; remove it, or choose another name"
                ),
                _ => format!("cannot make the key file {path}: {error}"),
            })
        };
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
    /// Reads the secret of a closed server from a file. Warns if others may read or change it.
    ///
    /// # Errors
    /// The file cannot be read, or holds anything but one line that is long enough.
    pub fn load(path: &Path) -> Result<Secret, KeyFileError> {
        Secret::parse(&read_private(path)?).ok_or_else(|| {
            let path = path.display();
            KeyFileError(format!(
                "the file {path} holds no secret: that is one line of at least {MIN_SECRET} characters; fernchat keygen makes a good one"
            ))
        })
    }
}

/// Reads a small file that others should not be able to read or change.
fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let refuse = |error: io::Error| {
        let path = path.display();
        KeyFileError(format!(
            "cannot read the file {path}: {error}; get it from a friend, or make one with: fernchat keygen FILE"
        ))
    };
    // Checked before the file is opened, because to open a pipe is to wait for a writer.
    if !path.metadata().map_err(refuse)?.is_file() {
        return Err(refuse(io::Error::other("it is not a plain file")));
    }
    let file = File::open(path).map_err(refuse)?;
    if let Some(what) = machine::open_to_others(&file) {
        let path = path.display();
        warn!(
            "others on this machine can {what} the file {path}; chmod 600 {path} keeps it to you"
        );
    }
    // Of this size from the start: a vector that grows leaves copies behind, which nothing wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    file.take(MAX_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(refuse)?;
    if bytes.len() > MAX_LEN {
        let error = format!("it is longer than {MAX_LEN} bytes");
        return Err(refuse(io::Error::other(error)));
    }
    // The same for the text: what is not UTF-8 becomes at most three bytes for one.
    let mut text = Zeroizing::new(String::with_capacity(3 * bytes.len()));
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend((!chunk.invalid().is_empty()).then_some('\u{FFFD}'));
    }
    Ok(text)
}

/// What is wrong with a key or a secret, or with its file: one line that also says what to do. It never shows the key.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct KeyFileError(String);
