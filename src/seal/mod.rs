//! The secrets: keys, and what is sealed under them. Bytes in, bytes out.
//!
//! In reading order: a [`Key`], and where it comes from: a file (`key_file.rs`), or a [`Secret`]; a text sealed into one token and opened
//! again (`token.rs`), and the line that friends seal (`stamped_line.rs`); a whole file as one token, sealed and opened piece by piece so that its
//! size costs no memory (`body.rs`). Knows nothing of frames, commands or sockets: a caller brings a `Read` or pieces of bytes.
//!
//! Texts go through the `fernet` package. Bodies are put together here from the same parts (AES-CBC, HMAC-SHA256, base64),
//! because `fernet` wants a token whole and in memory; the tests hold both ways to the same bytes.
//!
//! What is not here: a time-to-live. A token is good at any age, and also when it is stamped in the future: the older
//! programs accept both, and the clocks of old machines are wrong.
//! Invariant: nothing in this room shows a key or a text in an error, a `Debug` or a log line. Keys are wiped when they are dropped, but
//! for the state of an HMAC, whose package has no means for it.

mod body;
mod key;
mod key_file;
mod secret;
mod stamped_line;
mod token;

use std::error::Error;
use std::fmt;

pub use body::{BodyCheck, BodyFault, BodyOpener, BodySealer};
pub use key::Key;
pub use key_file::KeyFileError;
pub use secret::{Secret, challenge};
pub use stamped_line::StampedLine;
pub use token::{has_token_form, is_token_len, stamp_of, token_len};

/// Why a key, a token or a body that came from outside was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// A text is not a key.
    Key,
    /// A token or a body is none, was damaged, or was sealed with another key. Which of these, the HMAC cannot tell.
    NotOpened,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealError::Key => "a key is 43 letters, digits, `-` or `_` and one `=`",
            SealError::NotOpened => "damaged, or sealed with another key",
        })
    }
}

impl Error for SealError {}

/// The vectors that the Fernet specification publishes, for the tests of this room.
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
