//! The secrets: keys, and what is sealed under them. Bytes in, bytes out.
//!
//! Three files, in reading order: a [`Key`]; a text sealed into one token and opened again
//! (`token.rs`); a whole file as one token, sealed and opened piece by piece so that its size costs
//! no memory (`body.rs`). Knows nothing of frames, commands, sockets or files: a caller brings a
//! `Read` or pieces of bytes.
//!
//! Texts go through the `fernet` package. Bodies are put together here from the same parts
//! (AES-CBC, HMAC-SHA256, base64), because `fernet` wants a token whole and in memory; the tests
//! hold both ways to the same bytes.
//!
//! What is not here: a time-to-live. A token is good at any age, and also when it is stamped in the
//! future: the older programs accept both, and the clocks of old machines are wrong.
//!
//! Invariant: nothing in this room shows a key or a text in an error, a `Debug` or a log line.

mod key;

mod token;

mod body;

use std::error::Error;
use std::fmt;

pub use body::{BodyCheck, BodyFault, BodyOpener, BodySealer};
pub use key::Key;
pub use token::{is_token_len, token_len};

/// Why a key, a token or a body that came from outside was not accepted.
///
/// Carries lengths and positions, never a part of a key or of a text, so that it can go into any
/// log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// A key has this many bytes instead of 44.
    KeyLength(usize),
    /// A key has 44 bytes that are not the base64url of 32 bytes.
    KeyCharacters,
    /// A token of this many bytes is damaged, or was sealed with another key.
    Token(usize),
    /// The four characters at this offset of a body are not base64url, or are padding before its
    /// end.
    BodyCharacters(u64),
    /// A body has this many characters, which no token has.
    BodyLength(u64),
    /// A body begins with this version byte instead of 0x80.
    BodyVersion(u8),
    /// A body's HMAC does not fit: it was damaged or cut together, or sealed with another key.
    BodyHmac,
    /// A body's last block does not end in the padding of PKCS#7, although its HMAC fits.
    BodyPadding,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::KeyLength(len) => write!(f, "a key has 44 characters, not {len}"),
            SealError::KeyCharacters => {
                write!(
                    f,
                    "a key is 43 letters, digits, `-` or `_` and one `=`, as `keygen` writes it"
                )
            }
            SealError::Token(len) => {
                write!(
                    f,
                    "a token of {len} bytes does not open: damaged, or sealed with another key"
                )
            }
            SealError::BodyCharacters(at) => {
                write!(
                    f,
                    "the characters {at} to {} of the body are not base64url",
                    at.saturating_add(3)
                )
            }
            SealError::BodyLength(len) => write!(f, "a body cannot have {len} characters"),
            SealError::BodyVersion(version) => {
                write!(
                    f,
                    "a body of version {version:#04x} is not known, only 0x80"
                )
            }
            SealError::BodyHmac => {
                write!(
                    f,
                    "the body's HMAC does not fit: damaged, or sealed with another key"
                )
            }
            SealError::BodyPadding => write!(f, "the body's last block does not end in a padding"),
        }
    }
}

impl Error for SealError {}

/// The vectors that the Fernet specification publishes, for the tests of this room.
#[cfg(test)]
mod vectors {
    /// The key of all of them.
    pub const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

    /// `generate.json` and `verify.json`: "hello", at [`HELLO_SECS`], with the bytes 0 to 15 as IV.
    pub const HELLO: &str =
        "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    /// 1985-10-26T01:20:00-07:00 in seconds since 1970.
    pub const HELLO_SECS: u64 = 499_162_800;

    /// `invalid.json`: what is wrong, and the token.
    pub const INVALID: [(&str, &str); 6] = [
        (
            "incorrect mac",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
        ),
        ("too short", "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA=="),
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
        for error in [
            SealError::KeyLength(43),
            SealError::KeyCharacters,
            SealError::Token(100),
            SealError::BodyCharacters(u64::MAX),
            SealError::BodyLength(99),
            SealError::BodyVersion(0x7f),
            SealError::BodyHmac,
            SealError::BodyPadding,
        ] {
            let line = error.to_string();
            assert!(
                line.starts_with(|first: char| first.is_lowercase()),
                "{line}"
            );
            assert!(!line.ends_with('.') && !line.contains('\n'), "{line}");
        }
    }
}
