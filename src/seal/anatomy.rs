//! The parts of a token, for people who want to look at one. Nothing that the program itself relies on is decided here: [`Key::open`] is.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use hmac::Mac;

use super::Key;
use super::body::new_hmac;
use super::token::{BLOCK_LEN, HEAD_LEN, HMAC_LEN, VERSION};

/// A token, taken apart (Fernet specification, "Token Format").
pub struct Anatomy {
    bytes: Vec<u8>,
}

impl Anatomy {
    /// Takes a token apart.
    ///
    /// # Errors
    /// The text has not the form of a token. The error says which part is wrong.
    pub fn parse(token: &str) -> Result<Anatomy, String> {
        let bytes = URL_SAFE.decode(token).map_err(|error| {
            let n = token.len();
            format!("{n} characters that are no base64url: {error}")
        })?;
        let least = HEAD_LEN + BLOCK_LEN + HMAC_LEN;
        match bytes.first() {
            Some(&VERSION) => {}
            Some(first) => {
                return Err(format!(
                    "the first byte is {first:02x}, and that of a token is {VERSION:02x}"
                ));
            }
            None => return Err("there is no token".into()),
        }
        if bytes.len() < least {
            return Err(format!(
                "it is cut off: {} bytes, and a token has at least {least}",
                bytes.len()
            ));
        }
        if (bytes.len() - least) % BLOCK_LEN != 0 {
            return Err(format!(
                "its ciphertext is no multiple of {BLOCK_LEN} bytes long, so something is missing or too much"
            ));
        }
        Ok(Anatomy { bytes })
    }

    /// The version, one byte.
    pub fn version(&self) -> u8 {
        self.bytes[0]
    }

    /// The time of the sender's clock, in seconds since 1970.
    pub fn stamp(&self) -> u64 {
        self.bytes[1..9]
            .iter()
            .fold(0, |n, byte| n << 8 | u64::from(*byte))
    }

    /// The random bytes that make two tokens of one text differ.
    pub fn iv(&self) -> &[u8] {
        &self.bytes[9..HEAD_LEN]
    }

    /// The text, encrypted with AES-128-CBC.
    pub fn ciphertext(&self) -> &[u8] {
        &self.bytes[HEAD_LEN..self.bytes.len() - HMAC_LEN]
    }

    /// The HMAC-SHA256 of all that stands before it.
    pub fn hmac(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - HMAC_LEN..]
    }

    /// Whether the HMAC was made with this key.
    pub fn holds(&self, key: &Key) -> bool {
        let mut hmac = new_hmac(key);
        hmac.update(&self.bytes[..self.bytes.len() - HMAC_LEN]);
        hmac.verify_slice(self.hmac()).is_ok()
    }
}

/// Bytes in hexadecimal, at most this many of them.
pub fn hex(bytes: &[u8], most: usize) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(most) {
        // Writing into a string never fails.
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > most {
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::vectors::{HELLO, HELLO_SECS, INVALID, KEY};
    use super::*;

    #[test]
    fn the_published_token_has_the_parts_that_are_published() {
        let token = Anatomy::parse(HELLO).unwrap();
        assert_eq!((token.version(), token.stamp()), (0x80, HELLO_SECS));
        assert_eq!(hex(token.iv(), 16), "000102030405060708090a0b0c0d0e0f");
        assert_eq!((token.ciphertext().len(), token.hmac().len()), (16, 32));
        assert!(token.holds(&Key::parse(KEY).unwrap()));
        assert!(!token.holds(&Key::generate()));
        assert_eq!(hex(token.ciphertext(), 2), "2d36 ...");
    }

    #[test]
    fn what_is_wrong_with_a_token_is_named() {
        let why = |token: &str| Anatomy::parse(token).err();
        assert_eq!(
            why(INVALID[1].1).unwrap(),
            "it is cut off: 40 bytes, and a token has at least 73"
        );
        // Another HMAC or padding is no matter of the form.
        assert!(why(INVALID[0].1).is_none() && why(INVALID[4].1).is_none());
        let odd = URL_SAFE.encode([&[VERSION][..], &[0; 73]].concat());
        assert!(
            why(&odd)
                .unwrap()
                .starts_with("its ciphertext is no multiple of 16")
        );
        assert!(why(INVALID[2].1).unwrap().contains("no base64url"));
        assert_eq!(why("").unwrap(), "there is no token");
        assert!(why("AAAA").unwrap().starts_with("the first byte is 00"));
    }
}
