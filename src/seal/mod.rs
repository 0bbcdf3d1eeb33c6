//! Keys, secrets and identities, and what is sealed or signed with them. Bytes in, bytes out.
//!
//! To *seal* is to turn a text into a [Fernet token](https://github.com/fernet/spec/blob/master/Spec.md), which only the holders of the key
//! can read or change. To *open* is the way back. In reading order:
//!
//! - `key.rs`: a [`Key`]. `key_file.rs`: a key in a file. `secret.rs`: a key from a [`Secret`], the phrase of a closed server.
//! - `identity.rs`: the key pair by which a server knows its users again.
//! - `token.rs`: a text sealed into one token, and opened again. `stamped_line.rs`: the line that friends at a relay seal.
//! - `room_text.rs`: the line and the file that members of a group seal for each other.
//! - `body.rs`: a whole file as one token, sealed and opened piece by piece, so that its size costs no memory.
//! - `anatomy.rs`: the parts of a token, for people who want to look at one.
//!
//! Knows nothing of frames, commands or sockets: a caller brings a `Read` or pieces of bytes.
//!
//! Texts go through the `fernet` package. It wants a token whole and in memory, so bodies are put together here from the same parts:
//! AES-CBC, HMAC-SHA256, base64. Tests compare the two byte by byte.
//!
//! Not here: a time-to-live. A token is good at any age, and also if it is stamped in the future. The Python
//! programs accept both, and the clocks of old machines are wrong.
//! Invariant: nothing in this module shows a key or a text in an error, a `Debug` or a log line. Keys are wiped when they are dropped.
//! Two things are not: the state of an HMAC, and the decoded copy that the `fernet` package makes.

mod anatomy;
mod body;
mod identity;
mod key;
mod key_file;
mod room_text;
mod secret;
mod stamped_line;
mod token;

use thiserror::Error;

pub use anatomy::{Anatomy, hex};
pub use body::{BodyCheck, BodyFault, BodyHead, BodyOpener, BodySealer};
pub use identity::{Identity, PublicKey};
pub use key::Key;
pub use key_file::KeyFileError;
pub use room_text::{RoomFile, RoomLine, is_room_file, is_room_line};
pub use secret::{Secret, random_text};
pub use stamped_line::StampedLine;
pub use token::{has_token_form, is_token_len, stamp_of, token_len};

/// Why a key, a token or a body that came from outside was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// A text is not a key.
    #[error("a key is 43 letters, digits, `-` or `_` and one `=`")]
    Key,
    /// Bytes are no token or body, or were damaged, or were sealed with another key. The HMAC cannot tell these apart.
    #[error("damaged, or sealed with another key")]
    NotOpened,
}

/// The vectors that the Fernet specification publishes, for the tests of this module.
#[cfg(test)]
mod vectors {
    /// The key of all of them.
    pub const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    /// `generate.json` and `verify.json`: "hello", at [`HELLO_SECS`], with the bytes 0 to 15 as IV.
    pub const HELLO: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    /// 1985-10-26T01:20:00-07:00 in seconds since 1970.
    pub const HELLO_SECS: u64 = 499_162_800;

    /// `invalid.json`: what is wrong, and the token.
    pub const INVALID: [(&str, &str); 6] = [
        (
            "incorrect mac",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
        ),
        (
            "too short",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
        ),
        (
            "invalid base64",
            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
        ),
        (
            "payload size not multiple of block size",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
        ),
        (
            "payload padding error",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
        ),
        (
            "incorrect IV (causes padding error)",
            "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAkLhFLHpGtDBRLRTZeUfWgHSv49TF2AUEZ1TIvcZjK1zQ==",
        ),
    ];

    /// The other two of `invalid.json`, "far-future TS" and "expired TTL": they are wrong only for
    /// a reader that looks at the clock. This one does not, so both open (to an empty text).
    pub const INVALID_BY_THE_CLOCK: [&str; 2] = [
        "gAAAAAAdwStRAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_one_lower_case_line_without_a_full_stop() {
        for error in [SealError::Key, SealError::NotOpened] {
            let line = error.to_string();
            assert!(
                line.starts_with(|first: char| first.is_lowercase()),
                "{line}"
            );
            assert!(!line.ends_with('.') && !line.contains('\n'), "{line}");
        }
    }
}
