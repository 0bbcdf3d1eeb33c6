//! Keys: 32 random bytes, half of them to sign and half to encrypt.
//!
//! A key is written as 44 characters of base64url: 43 carry the bytes, the last one is `=`. Python's `Fernet.generate_key` gives this
//! form, and a server sends it. Where a key comes from (the wire, a file, a phrase) is not known here.
//! Invariant: a `Key` has exactly 32 bytes, its `Debug` does not show them, and they are wiped when it is dropped.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fernet::Fernet;
use zeroize::Zeroizing;

use super::SealError;

/// A Fernet key that is ready for use.
pub struct Key {
    text: Zeroizing<String>,
    /// The half for the HMAC.
    pub(super) signing: Zeroizing<[u8; 16]>,
    /// The half for AES.
    pub(super) encryption: Zeroizing<[u8; 16]>,
    /// The same key for the `fernet` package. It wipes itself.
    pub(super) fernet: Fernet,
}

impl Key {
    /// Makes a new key from the random numbers of the operating system.
    pub fn generate() -> Key {
        Key::parse(&Zeroizing::new(Fernet::generate_key()))
            .expect("a generated key has the form of a key")
    }

    /// Reads a key from its 44 characters. Blanks and line ends around them do not count.
    ///
    /// # Errors
    /// [`SealError::Key`]: the text is anything else.
    pub fn parse(text: &str) -> Result<Key, SealError> {
        // Fernet::new takes a key without its `=`, and Python does not. So the form is checked here.
        // Into a place that is wiped also if the text is no key. The package wants one byte more than 44 characters give.
        let mut bytes = Zeroizing::new([0; 33]);
        match URL_SAFE.decode_slice(text.trim(), &mut *bytes) {
            Ok(32) => Ok(Key::from_bytes(
                bytes.first_chunk().expect("33 bytes begin with 32"),
            )),
            _ => Err(SealError::Key),
        }
    }

    /// The key of these bytes.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Key {
        let (mut signing, mut encryption) = (Zeroizing::new([0; 16]), Zeroizing::new([0; 16]));
        signing.copy_from_slice(&bytes[..16]);
        encryption.copy_from_slice(&bytes[16..]);
        let text = Zeroizing::new(URL_SAFE.encode(bytes));
        let fernet = Fernet::new(&text).expect("32 bytes make a key");
        Key {
            text,
            signing,
            encryption,
            fernet,
        }
    }

    /// The 44 characters, for the wire or a key file.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::vectors::KEY;
    use super::*;

    #[test]
    fn generated_keys_differ_and_parse_again() {
        let key = Key::generate();
        assert_eq!(key.as_str().len(), 44);
        assert_eq!(Key::parse(key.as_str()).unwrap().as_str(), key.as_str());
        assert_ne!(Key::generate().as_str(), key.as_str());
    }

    #[test]
    fn first_half_signs_and_second_half_encrypts() {
        let key = Key::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        assert_eq!(
            *key.signing,
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
        );
        assert_eq!(
            *key.encryption,
            [
                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
            ]
        );
    }

    #[test]
    fn blanks_around_a_key_are_forgiven() {
        for text in [
            format!("{KEY}\n"),
            format!("  {KEY}\r\n"),
            format!("\t{KEY} "),
        ] {
            assert_eq!(Key::parse(&text).unwrap().as_str(), KEY);
        }
    }

    #[test]
    fn text_that_is_no_key_is_refused() {
        let bytes = KEY.strip_suffix('=').unwrap();
        for text in [
            String::new(),
            bytes.to_owned(),
            format!("{KEY}="),
            format!("{bytes}A"),
            format!("{}==", &bytes[..42]),
            format!("{}+=", &bytes[..42]),
            format!("{} {}=", &bytes[..21], &bytes[22..]),
            // The same key in Python's eyes, with bits set that stand for nothing.
            format!("{}5=", &bytes[..42]),
            "é".repeat(22),
        ] {
            assert_eq!(Key::parse(&text).unwrap_err(), SealError::Key, "{text:?}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = Key::parse(KEY).unwrap();
        assert_eq!(format!("{key:?} {key:#?}"), "Key(secret) Key(secret)");
    }
}
