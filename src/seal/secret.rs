//! The secret of a closed server: a phrase that its users were told by other means. The key of a server's run is made from it.
//!
//! A plain server sends its key in the first 44 bytes. A closed server sends a *salt* of the same form in their place, fresh for each
//! run, and both ends derive the key: PBKDF2-HMAC-SHA256 (RFC 8018, section 5.2). Its many rounds make each guess at a phrase expensive.
//! They cost an end that knows the phrase a fraction of a second, or some seconds on an old machine, once a run.

use std::sync::Arc;

use fernet::Fernet;
use parking_lot::Mutex;
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::Key;

/// The least length of a secret, in characters. Shorter phrases can be guessed.
pub(super) const MIN_SECRET: usize = 12;

/// How many of them differ at least: `aaaaaaaaaaaa` is long, and the first thing to be guessed.
pub(super) const MIN_DIFFERENT: usize = 6;

/// Makes the key differ from all that is derived from the same phrase for other purposes.
const PURPOSE: &[u8] = b"fernchat link v1";

/// How often the hash is applied: as advised since 2023 (OWASP, Password Storage Cheat Sheet).
const N_ROUNDS: u32 = 600_000;

/// The phrase of a closed server, and the key that was derived from it last.
pub struct Secret {
    text: Zeroizing<String>,
    /// The salt of the last run, and its key. Another connection to the same run need not derive it again.
    derived: Mutex<Option<(String, Arc<Key>)>>,
}

impl Secret {
    /// Takes a secret from one line. Blanks and line ends around it do not count, nor does a byte-order mark. One system writes a letter with
    /// its accent in one, another in two; both give the same secret. `None`: there are more lines, or it is too short or too simple.
    pub(super) fn parse(text: &str) -> Option<Secret> {
        let line = text.trim_start_matches('\u{FEFF}').trim();
        // Of this size from the start, so that no copy stays behind: in this form a text is at most three times as long.
        let mut text = Zeroizing::new(String::with_capacity(3 * line.len()));
        text.extend(line.nfc());
        let is_first = |(at, c): &(usize, char)| !text[..*at].contains(*c);
        let n_different = text.char_indices().filter(is_first).count();
        let is_strong = text.chars().count() >= MIN_SECRET && n_different >= MIN_DIFFERENT;
        let is_one = !text.contains(['\n', '\r', '\u{FFFD}']);
        (is_one && is_strong).then(|| Secret {
            text,
            derived: Mutex::default(),
        })
    }

    /// Whether [`Secret::derive`] has the key of the run with this salt already, and returns at once.
    pub fn has_derived(&self, salt: &Key) -> bool {
        self.derived
            .lock()
            .as_ref()
            .is_some_and(|(last, _)| last == salt.as_str())
    }

    /// The key of the run with this salt. The first call takes a fraction of a second, or some seconds on an old machine.
    pub fn derive(&self, salt: &Key) -> Arc<Key> {
        let mut derived = self.derived.lock();
        match &*derived {
            Some((last, key)) if last == salt.as_str() => Arc::clone(key),
            _ => {
                let bytes_of_salt =
                    Zeroizing::new([PURPOSE, &*salt.signing, &*salt.encryption].concat());
                let mut bytes = Zeroizing::new([0; 32]);
                pbkdf2_hmac::<Sha256>(self.text.as_bytes(), &bytes_of_salt, N_ROUNDS, &mut *bytes);
                let key = Arc::new(Key::from_bytes(&bytes));
                *derived = Some((salt.as_str().to_owned(), Arc::clone(&key)));
                key
            }
        }
    }
}

/// A new random text. The other end must repeat it, sealed, to show that it is no recording.
pub fn random_text() -> String {
    Fernet::generate_key()
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("Secret(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line_of_some_length() {
        for text in [
            "twelve chars",
            "  twelve chars\r\n",
            "zwölf Zeichen",
            "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n",
        ] {
            assert_eq!(Secret::parse(text).unwrap().text.as_str(), text.trim());
        }
        for text in [
            "",
            "  eleven char ",
            "éééééé",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "abcdeabcdeabcde",
            "what is not \u{FFFD} text",
            "two lines of\nsome length",
            "\n\n\n\n\n\n\n\n\n\n\n\n\n",
        ] {
            assert!(Secret::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_phrase_is_the_same_secret_however_its_letters_are_written() {
        let text_of = |text: &str| Secret::parse(text).unwrap().text;
        let phrase = text_of("Gr\u{FC}\u{DF}e aus Caf\u{E9}s");
        for same in [
            "Gru\u{308}\u{DF}e aus Cafe\u{301}s\n",
            "\u{FEFF}Gr\u{FC}\u{DF}e aus Caf\u{E9}s\r\n",
        ] {
            assert_eq!(text_of(same), phrase, "{same:?}");
        }
    }

    #[test]
    fn the_key_is_that_of_python_s_hashlib() {
        // hashlib.pbkdf2_hmac("sha256", "Grüße aus dem Raum".encode(), b"fernchat link v1" + bytes(range(32)), 600000, 32)
        let salt = Key::parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let secret = Secret::parse("Grüße aus dem Raum").unwrap();
        assert!(!secret.has_derived(&salt));
        let key = secret.derive(&salt);
        assert!(secret.has_derived(&salt) && !secret.has_derived(&Key::generate()));
        assert_eq!(key.as_str(), "y2qKmgxOZIhRTRoJp2d74NtERgy6shMOH0G8gz8NWrM=");
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        assert_eq!(
            format!("{:?}", Secret::parse("a long canary phrase").unwrap()),
            "Secret(secret)"
        );
    }
}
