//! Keys and secrets in files: one line, readable by its owner only.
//!
//! Editors, shells and Python scripts leave more in a file than the line: a byte-order mark, line ends of Windows, quotes, UTF-16, the other
//! alphabet of base64. Where it is clear what is meant, it is taken. Else the error says what is in the way.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;

use log::warn;
use thiserror::Error;
use zeroize::Zeroizing;

use super::secret::{MIN_DIFFERENT, MIN_SECRET};
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
        key_in(&text).map_err(|error| {
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
        Key::of_file(path, &read_private(path)?)
    }

    /// Takes a key from the content of a file. The path is for the error.
    ///
    /// # Errors
    /// The content is something else.
    pub fn of_file(path: &Path, content: &str) -> Result<Key, KeyFileError> {
        key_in(content).map_err(|error| {
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
        Secret::of_file(path, &read_private(path)?)
    }

    /// Takes a secret from the content of a file. The path is for the error.
    ///
    /// # Errors
    /// The content is anything but one line that is long enough.
    pub fn of_file(path: &Path, content: &str) -> Result<Secret, KeyFileError> {
        // A key is the same secret in any of its forms.
        let secret = match key_in(content) {
            Ok(key) => Secret::parse(key.as_str()),
            Err(_) => Secret::parse(content),
        };
        secret.ok_or_else(|| {
            let path = path.display();
            KeyFileError(format!(
                "the file {path} holds no secret: that is one line of at least {MIN_SECRET} characters, {MIN_DIFFERENT} of them different; fernchat keygen makes a good one"
            ))
        })
    }
}

/// The key in a text as people have it: in quotes, also with Python's `b` in front, and in either alphabet of base64.
fn key_in(text: &str) -> Result<Key, String> {
    let line = text.trim();
    let unquoted = |quote: char| {
        let line = line.strip_prefix('b').unwrap_or(line);
        line.strip_prefix(quote)?.strip_suffix(quote)
    };
    let line = ['"', '\''].into_iter().find_map(unquoted).unwrap_or(line);
    // Of this size from the start, so that no copy stays behind.
    let mut key = Zeroizing::new(String::with_capacity(line.len()));
    key.extend(line.chars().map(|c| match c {
        '+' => '-',
        '/' => '_',
        c => c,
    }));
    Key::parse(&key).map_err(|error| match line {
        "" => "it is empty".to_owned(),
        line if line.contains('\u{FFFD}') => "it is not text, neither UTF-8 nor UTF-16".to_owned(),
        line if line.contains(['\n', '\r']) => "it has more than one line".to_owned(),
        line if line.len() == KEY_LEN - 1 => "the `=` at its end is missing".to_owned(),
        line if line.contains('=') && line.len() > KEY_LEN => {
            "it has more than the key in it".to_owned()
        }
        _ => error.to_string(),
    })
}

/// The length of a key, in characters.
const KEY_LEN: usize = 44;

/// Reads a small file that others should not be able to read or change.
fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let refuse = |error: io::Error| {
        let path = path.display();
        KeyFileError(format!(
            "cannot read the file {path}: {error}; get it from a friend, or make one with: fernchat keygen FILE"
        ))
    };
    let metadata = path.metadata().map_err(refuse)?;
    if metadata.is_dir() {
        return Err(refuse(io::Error::other("it is a folder")));
    }
    let file = File::open(path).map_err(refuse)?;
    if let Some(what) = machine::open_to_others(&file).filter(|_| is_kept(path, &metadata)) {
        let path = path.display();
        warn!(
            "others on this machine can {what} the file {path}; chmod 600 {path} keeps it to you"
        );
    }
    // Of this size from the start: a vector that grows leaves copies behind, which nothing wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    if metadata.is_file() {
        file.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes)
    } else {
        read_line(file, &mut bytes)
    }
    .map_err(refuse)?;
    if bytes.len() > MAX_LEN {
        let error = format!("it is longer than {MAX_LEN} bytes");
        return Err(refuse(io::Error::other(error)));
    }
    Ok(text_of(&bytes))
}

/// Whether this is a file that its owner keeps. Not a pipe, and not what systemd lends to a service, readable by its group.
fn is_kept(path: &Path, metadata: &Metadata) -> bool {
    let lent = std::env::var_os(CREDENTIALS).is_some_and(|folder| path.starts_with(folder));
    metadata.is_file() && !lent
}

/// The environment variable with the folder of what systemd lends: see systemd.exec(5), `LoadCredential=`.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Reads a line of a pipe or a terminal, with its end, byte by byte: what follows is for others, such as what is said in the chat.
fn read_line(mut file: File, line: &mut Vec<u8>) -> io::Result<usize> {
    let mut byte = Zeroizing::new([0]);
    while line.len() <= MAX_LEN && !line.ends_with(b"\n") && file.read(&mut *byte)? > 0 {
        line.push(byte[0]);
    }
    Ok(line.len())
}

/// The text of a file in UTF-8, or in UTF-16 as editors and shells of Windows write it, without its byte-order mark. What is neither is
/// replaced by U+FFFD.
fn text_of(bytes: &[u8]) -> Zeroizing<String> {
    // Of this size from the start, for the same reason: one byte, or half a unit of UTF-16, becomes at most three bytes.
    let mut text = Zeroizing::new(String::with_capacity(3 * bytes.len()));
    let unit: Option<fn([u8; 2]) -> u16> = match bytes {
        [0xFF, 0xFE, ..] => Some(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = unit {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        text.extend(char::decode_utf16(units.skip(1)).map(|c| c.unwrap_or('\u{FFFD}')));
        return text;
    }
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid().trim_start_matches('\u{FEFF}'));
        text.extend((!chunk.invalid().is_empty()).then_some('\u{FFFD}'));
    }
    text
}

/// What is wrong with a key or a secret, or with its file: one line that also says what to do. It never shows the key.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct KeyFileError(String);

#[cfg(test)]
mod tests {
    use super::super::vectors::KEY;
    use super::*;

    #[test]
    fn a_key_is_taken_in_every_form_that_is_clear() {
        let standard = KEY.replace('-', "+").replace('_', "/");
        assert_ne!(standard, KEY);
        let utf_16 = |bytes: fn(u16) -> [u8; 2]| {
            let text = format!("\u{FEFF}{KEY}\r\n");
            text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>()
        };
        for bytes in [
            KEY.as_bytes().to_vec(),
            format!("\u{FEFF}{KEY}\r\n").into_bytes(),
            format!(" \"{KEY}\"\n").into_bytes(),
            format!("'{KEY}'").into_bytes(),
            format!("b'{KEY}'\n").into_bytes(),
            format!("b\"{standard}\"").into_bytes(),
            standard.into_bytes(),
            utf_16(u16::to_le_bytes),
            utf_16(u16::to_be_bytes),
        ] {
            let key = key_in(&text_of(&bytes)).unwrap();
            assert_eq!(key.as_str(), KEY, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_in_the_way_of_a_key_is_named() {
        for (text, why) in [
            (String::new(), "it is empty"),
            ("\u{FEFF} \n".into(), "it is empty"),
            (format!("{KEY}\n{KEY}"), "it has more than one line"),
            (format!("# mine\n{KEY}"), "it has more than one line"),
            (KEY.replace('=', ""), "the `=` at its end is missing"),
            (format!("KEY = b'{KEY}'"), "it has more than the key in it"),
            ("the correct horse".into(), "a key is 43 letters"),
        ] {
            let error = key_in(&text_of(text.as_bytes())).unwrap_err();
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
        let error = key_in(&text_of(b"\x80\x81\x82")).unwrap_err();
        assert!(error.starts_with("it is not text"), "{error}");
    }
}
