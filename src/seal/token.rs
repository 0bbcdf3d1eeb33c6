//! Tokens: a text sealed under a key, all at once.
//!
//! ```text
//! base64url( 0x80 | seconds, 8 bytes | IV, 16 | AES-128-CBC, 16 a block | HMAC-SHA256, 32 )
//!            '---------- head: 25 ----------'
//! ```
//!
//! (Fernet specification, "Token Format".) PKCS#7 fills the last block up with n bytes of the value n, 1 to 16, so the blocks tell where
//! the text ends. The HMAC covers all that stands before it. `=` fills the base64 up to a multiple of four characters.
//!
//! Whether a text is UTF-8, and where a token lies in a stream, is not asked here.
//! Invariant: `seal` gives exactly `token_len` characters, because a sender announces that number beforehand.

use std::str;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::{Key, SealError};

impl Key {
    /// Seals a text into a token, stamped with the present time.
    pub fn seal(&self, text: &[u8]) -> String {
        // A clock before 1970 is no reason to stop: no receiver refuses a token for its stamp.
        let now_secs = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_secs());
        self.fernet.encrypt_at_time(text, now_secs)
    }

    /// Opens a token. Its time stamp may be any.
    ///
    /// # Errors
    /// [`SealError::NotOpened`]: it is no token, was damaged, or was sealed with another key.
    pub fn open(&self, token: &[u8]) -> Result<Vec<u8>, SealError> {
        // The package also takes a token with too few or too many `=`.
        if !is_token_len(token.len() as u64) {
            return Err(SealError::NotOpened);
        }
        let token = str::from_utf8(token).map_err(|_| SealError::NotOpened)?;
        self.fernet
            .decrypt_at_time(token, None, END_OF_TIME_SECS)
            .map_err(|_| SealError::NotOpened)
    }

    /// Whether a token opens under this key.
    pub fn opens(&self, token: &[u8]) -> bool {
        self.open(token).is_ok()
    }
}

/// The present time for the package, which refuses a token that is stamped more than 60 s later. So it is as late as can be, less the
/// 60 s that the package adds.
const END_OF_TIME_SECS: u64 = u64::MAX - 60;

/// Version, time stamp and IV, in bytes before base64.
pub(super) const HEAD_LEN: usize = 1 + 8 + BLOCK_LEN;

/// One block of AES.
pub(super) const BLOCK_LEN: usize = 16;

/// One HMAC-SHA256.
pub(super) const HMAC_LEN: usize = 32;

/// The first byte of every token.
pub(super) const VERSION: u8 = 0x80;

/// The number of characters of a token for a text of `plain_len` bytes, which may be a file's size: up to 2^63.
pub fn token_len(plain_len: u64) -> u64 {
    let n_blocks = plain_len / BLOCK_LEN as u64 + 1;
    base64_len(sealed_len(n_blocks))
}

/// Whether some text seals to a token of `len` characters: 100, 120, 140, 164, and so on.
pub fn is_token_len(len: u64) -> bool {
    let most_bytes = len / 4 * 3;
    let n_blocks = most_bytes.saturating_sub(sealed_len(0)) / BLOCK_LEN as u64;
    n_blocks > 0 && base64_len(sealed_len(n_blocks)) == len
}

/// Whether a text has the form of a token, under any key.
pub fn has_token_form(text: &str) -> bool {
    is_token_len(text.len() as u64) && URL_SAFE.decode(text).is_ok_and(|bytes| bytes[0] == VERSION)
}

/// The time that a token is stamped with, in seconds since 1970, by the clock of its sender. `None`: it is no base64, or too short.
pub fn stamp_of(token: &[u8]) -> Option<u64> {
    let head = URL_SAFE.decode(token.get(..12)?).ok()?;
    Some(u64::from_be_bytes(*head.last_chunk()?))
}

/// The bytes of a token with that many blocks, before base64.
fn sealed_len(n_blocks: u64) -> u64 {
    HEAD_LEN as u64 + BLOCK_LEN as u64 * n_blocks + HMAC_LEN as u64
}

/// How many characters this many bytes have in base64.
fn base64_len(n_bytes: u64) -> u64 {
    4 * n_bytes.div_ceil(3)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::super::vectors::*;
    use super::*;

    #[test]
    fn published_token_opens() {
        let key = Key::parse(KEY).unwrap();
        assert_eq!(key.open(HELLO.as_bytes()).unwrap(), b"hello");
        assert!(key.opens(HELLO.as_bytes()));
    }

    #[test]
    fn the_stamp_of_a_token_is_read_without_a_key() {
        assert_eq!(stamp_of(HELLO.as_bytes()), Some(HELLO_SECS));
        assert_eq!(
            (stamp_of(b"gAAAAAAdwJ6"), stamp_of(b"%%%%%%%%%%%%")),
            (None, None)
        );
    }

    #[test]
    fn published_invalid_tokens_are_refused() {
        let key = Key::parse(KEY).unwrap();
        for (wrong, token) in INVALID {
            assert_eq!(
                key.open(token.as_bytes()),
                Err(SealError::NotOpened),
                "{wrong}"
            );
            assert!(!key.opens(token.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn no_token_is_too_old_or_too_new() {
        let key = Key::parse(KEY).unwrap();
        for token in INVALID_BY_THE_CLOCK {
            assert_eq!(key.open(token.as_bytes()).unwrap(), b"");
        }
        let now_secs = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        for secs in [0, now_secs - 3600, now_secs + 61, now_secs + 3600, u64::MAX] {
            let token = key.fernet.encrypt_at_time(b"late", secs);
            assert_eq!(key.open(token.as_bytes()).unwrap(), b"late", "{secs}");
        }
    }

    #[test]
    fn token_is_stamped_with_the_present_time() {
        let secs_now = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
        };
        let key = Key::generate();
        let earliest = secs_now();
        let token = key.seal(b"now");
        let now = earliest..=secs_now();
        assert!(
            now.clone()
                .any(|secs| key.fernet.decrypt_at_time(&token, Some(0), secs).is_ok()),
            "{now:?}"
        );
    }

    #[test]
    fn other_key_opens_nothing() {
        let token = Key::generate().seal(b"hello");
        assert_eq!(
            Key::generate().open(token.as_bytes()),
            Err(SealError::NotOpened)
        );
    }

    #[test]
    fn token_has_one_form_only() {
        let key = Key::parse(KEY).unwrap();
        let bare = HELLO.trim_end_matches('=');
        for token in [
            bare.to_owned(),
            format!("{bare}="),
            format!("{HELLO}="),
            format!("{HELLO}\n"),
            String::new(),
        ] {
            assert_eq!(
                key.open(token.as_bytes()),
                Err(SealError::NotOpened),
                "{token:?}"
            );
        }
    }

    #[test]
    fn token_len_is_that_of_real_tokens() {
        let key = Key::generate();
        for plain_len in (0..300).chain([1023, 1024, 65_535, 65_536]) {
            let token = key.seal(&vec![b'x'; plain_len]);
            assert_eq!(
                token_len(plain_len as u64),
                token.len() as u64,
                "{plain_len}"
            );
        }
        assert_eq!(token_len(703), 1016);
        assert_eq!(token_len(704), 1036);
        // The largest file that any file system holds.
        assert_eq!(token_len(i64::MAX as u64), 12_297_829_382_473_034_488);
    }

    #[test]
    fn only_lengths_of_real_tokens_are_token_lengths() {
        let lengths: HashSet<u64> = (0..3000).map(token_len).collect();
        for len in 0..3000 {
            assert_eq!(is_token_len(len), lengths.contains(&len), "{len}");
        }
        let longest = u64::MAX - 7;
        assert!(is_token_len(longest));
        assert!((longest + 1..=u64::MAX).all(|len| !is_token_len(len)));
    }

    #[test]
    fn a_token_is_known_by_its_form() {
        let token = Key::generate().seal(b"hello");
        assert!(has_token_form(&token));
        for text in [
            "hello".to_owned(),
            format!("{token} "),
            token[4..].to_owned(),
            token.to_uppercase().replace('G', "A"),
            String::new(),
        ] {
            assert!(!has_token_form(&text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(text in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let key = Key::parse(KEY).unwrap();
            let token = key.seal(&text);
            prop_assert!(is_token_len(token.len() as u64));
            prop_assert_eq!(key.open(token.as_bytes()).unwrap(), text);
        }

        #[test]
        fn arbitrary_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(!Key::parse(KEY).unwrap().opens(&bytes));
        }
    }
}
