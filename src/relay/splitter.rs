//! Where a token ends, by its shape alone. Bytes go in, pieces come out. There is no key, no socket and no clock here.
//!
//! Nothing on the relay's wire says how long a token is. But a token begins with `gAAAAA`. Its length is 4⌈(57+16n)/3⌉ for some n ≥ 1
//! (Fernet specification, "Token Format"). It ends with `==` or `=`, unless n is a multiple of 3:
//!
//! ```text
//!   n        1     2     3    4     5     6
//!   length   100   120   140  164   184   204  ...
//!   ends in  ==    =     -    ==    =     -
//! ```
//!
//! So padding ends a token, and the beginning of the next token ends one without padding. If neither has come, the caller waits
//! ([`Splitter::wait`]), and then takes what is held back ([`Splitter::flush`]).
//!
//! Every `gAAAAA` begins a token, so half a token in front of a whole one does not swallow it. The price: a token that holds these
//! letters once more by chance is lost. That happens to one in 60 million of 1 KiB.
//!
//! ```
//! use fernchat::relay::splitter::{Piece, Splitter};
//!
//! // n = 1, the vector that the Fernet specification publishes, and n = 3, which has no padding.
//! let padded = b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";
//! let plain = b"gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0OD_9BgsC923hd13FG4MFsLlYls9PyUE3V1KrWpwTQgfmIPz5m68m4SU0wK6c-99IYjCK6\
//!     p3XqawW5rJpTbp7BeCp7BwRLgOJwmlDE0-jqVkQt";
//! assert_eq!((padded.len(), plain.len()), (100, 140));
//! let token = |bytes: &[u8]| Piece::Token(bytes.to_vec());
//! let mut splitter = Splitter::default();
//!
//! // A token cut in two: nothing is certain until its padding has come. Then nothing is held back.
//! assert_eq!(splitter.push(&padded[..40]), []);
//! assert_eq!(splitter.push(&padded[40..]), [token(padded)]);
//! assert_eq!(splitter.wait(), None);
//!
//! // 140 is a possible length, so this may be a whole token, or the beginning of a longer one. The next token tells.
//! assert_eq!(splitter.push(plain), []);
//! assert_eq!(splitter.push(plain), [token(plain)]);
//!
//! // Nothing comes after the second: after a moment it is taken for a whole token.
//! assert!(splitter.wait().is_some());
//! assert_eq!(splitter.flush(), Some(token(plain)));
//!
//! // What is no whole token comes out as such, up to the place where one begins. The relay drops it.
//! assert_eq!(splitter.push(&[b"hello ", &padded[..]].concat()), [Piece::Other(b"hello ".to_vec()), token(padded)]);
//! assert_eq!(splitter.push(&[b"gAAAAABx", &padded[..]].concat()), [Piece::Other(b"gAAAAABx".to_vec()), token(padded)]);
//! ```
//!
//! Invariant: all bytes that go in come out, in order. At most [`MAX_TOKEN`] bytes are held back, and each byte is looked at once.

use std::time::Duration;

use crate::wire::frame::{TOKEN_START, begins_token};

/// The longest token that comes out as one, in bytes.
pub const MAX_TOKEN: usize = 64 << 10;

/// How long to wait before a possible end of a token is taken for its end. Longer than the pause between two pieces that were sent
/// together, and shorter than people notice.
const QUIET_TIME: Duration = Duration::from_millis(20);

/// How long the rest of a token may take. A lost segment is sent again in less.
pub const REST_TIME: Duration = Duration::from_secs(2);

/// A piece of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole token, by its shape.
    Token(Vec<u8>),
    /// Bytes that are no token, or a part of one.
    Other(Vec<u8>),
}

impl Piece {
    /// The bytes of the piece.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Piece::Token(bytes) | Piece::Other(bytes) => bytes,
        }
    }
}

/// Cuts a stream of bytes into tokens.
#[derive(Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// How many bytes at the front of the buffer are letters of one token. They have been looked at.
    n_letters: usize,
}

/// What stands at the front of the buffer.
enum Front {
    /// A token of this length.
    Token(usize),
    /// This many bytes that are no token.
    Other(usize),
    /// The beginning of a token, perhaps a whole one, or nothing.
    Part,
}

impl Splitter {
    /// Takes the next bytes of the stream, and returns the pieces that are certain now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.buffer.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let mut rest = self.buffer.as_slice();
        loop {
            let (piece, n): (fn(_) -> _, _) = match front(rest, &mut self.n_letters) {
                Front::Token(n) if n <= MAX_TOKEN => (Piece::Token, n),
                Front::Token(n) | Front::Other(n) => (Piece::Other, n),
                Front::Part if rest.len() > MAX_TOKEN => (Piece::Other, rest.len()),
                Front::Part => break,
            };
            pieces.push(piece(rest[..n].to_vec()));
            rest = &rest[n..];
            self.n_letters = 0;
        }
        if !pieces.is_empty() {
            // A short rest keeps no long buffer.
            self.buffer = rest.to_vec();
        }
        pieces
    }

    /// How long to wait for more bytes before [`Splitter::flush`]. `None`: nothing is held back.
    pub fn wait(&self) -> Option<Duration> {
        match self.buffer.len() {
            0 => None,
            n if n >= TOKEN_START.len() && !self.may_be_whole() => Some(REST_TIME),
            _ => Some(QUIET_TIME),
        }
    }

    /// The bytes that are held back.
    pub fn held(&self) -> &[u8] {
        &self.buffer
    }

    /// No more bytes have come: returns what is held back.
    pub fn flush(&mut self) -> Option<Piece> {
        let piece = if self.may_be_whole() {
            Piece::Token
        } else {
            Piece::Other
        };
        self.n_letters = 0;
        (!self.buffer.is_empty()).then(|| piece(std::mem::take(&mut self.buffer)))
    }

    /// Whether what is held back is a whole token, if nothing follows.
    fn may_be_whole(&self) -> bool {
        ends_padded(self.n_letters, 0) && self.n_letters == self.buffer.len()
    }
}

/// Looks at the front of `bytes`, of which the first `n_letters` were looked at before.
fn front(bytes: &[u8], n_letters: &mut usize) -> Front {
    if !begins_token(bytes) {
        let next = (1..bytes.len()).find(|at| begins_token(&bytes[*at..]));
        return Front::Other(next.unwrap_or(bytes.len()));
    }
    // The beginning of the next token may have come in part before.
    let from = n_letters.saturating_sub(TOKEN_START.len() - 1).max(1);
    let is_end = |at: &usize| !is_letter(bytes[*at]) || bytes[*at..].starts_with(TOKEN_START);
    *n_letters = (from..bytes.len()).find(is_end).unwrap_or(bytes.len());
    let end = *n_letters;
    match &bytes[end..] {
        [] => Front::Part,
        [b'=', b'=', ..] if ends_padded(end + 2, 2) => Front::Token(end + 2),
        [b'=', ..] if ends_padded(end + 1, 1) => Front::Token(end + 1),
        [b'='] if ends_padded(end + 2, 2) => Front::Part,
        [b'=', ..] => Front::Other(end + 1),
        _ if ends_padded(end, 0) => Front::Token(end),
        _ => Front::Other(end),
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Whether a token of this length ends in `n_padding` times `=`. Without padding: 140, 204, 268 ...
fn ends_padded(length: usize, n_padding: usize) -> bool {
    let n_bytes = (length / 4 * 3).saturating_sub(n_padding);
    length % 4 == 0 && n_bytes >= 57 + 16 && (n_bytes - 57) % 16 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A token by its shape, n blocks long.
    fn token(n: usize, seed: u8) -> Vec<u8> {
        let n_bytes = 57 + 16 * n;
        let n_padding = (3 - n_bytes % 3) % 3;
        let length = n_bytes.div_ceil(3) * 4;
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut token = TOKEN_START.to_vec();
        // No A follows a g, so no token begins inside this one.
        token
            .extend((6..length - n_padding).map(|i| letters[2 + (i * 7 + usize::from(seed)) % 60]));
        token.resize(length, b'=');
        token
    }

    fn split(stream: &[u8], cuts: &[usize]) -> Vec<Piece> {
        let mut splitter = Splitter::default();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([stream.len()]) {
            pieces.extend(splitter.push(&stream[from..cut]));
            from = cut;
        }
        pieces.extend(splitter.flush());
        pieces
    }

    fn tokens(pieces: Vec<Piece>) -> Vec<Vec<u8>> {
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Token(token) => token,
                Piece::Other(other) => panic!("no token: {:?}", String::from_utf8_lossy(&other)),
            })
            .collect()
    }

    #[test]
    fn lengths_are_those_of_the_table() {
        let lengths: Vec<usize> = (1..=6).map(|n| token(n, 0).len()).collect();
        assert_eq!(lengths, [100, 120, 140, 164, 184, 204]);
    }

    #[test]
    fn every_pair_of_tokens_cut_at_every_byte_comes_out_as_two() {
        for (a, b) in (1..=7).flat_map(|a| (1..=7).map(move |b| (token(a, 1), token(b, 2)))) {
            let stream = [a.clone(), b.clone()].concat();
            for cut in 0..=stream.len() {
                assert_eq!(tokens(split(&stream, &[cut])), [a.clone(), b.clone()]);
            }
        }
    }

    #[test]
    fn a_token_without_padding_waits_for_the_quiet_and_others_do_not_wait() {
        for n in 1..=9 {
            let mut splitter = Splitter::default();
            let pieces = splitter.push(&token(n, 0));
            assert_eq!(pieces.is_empty(), n % 3 == 0);
            assert_eq!(splitter.wait(), (n % 3 == 0).then_some(QUIET_TIME));
        }
        let mut splitter = Splitter::default();
        splitter.push(&token(4, 0)[..150]);
        assert_eq!(splitter.wait(), Some(REST_TIME));
    }

    #[test]
    fn bytes_that_are_no_token_are_not_held_back() {
        for text in [
            "hello\n",
            "gAAA and more",
            "=",
            "gAAAAA==",
            "\0\u{ff}",
            "gAAAAA short",
        ] {
            let mut splitter = Splitter::default();
            let pieces = splitter.push(text.as_bytes());
            let bytes: Vec<u8> = pieces.into_iter().flat_map(Piece::into_bytes).collect();
            assert_eq!(
                (bytes.as_slice(), splitter.wait()),
                (text.as_bytes(), None),
                "{text}"
            );
        }
        let token = token(2, 0);
        let stream = [b"hello ", token.as_slice(), b" there"].concat();
        let pieces = [
            Piece::Other(b"hello ".to_vec()),
            Piece::Token(token),
            Piece::Other(b" there".to_vec()),
        ];
        assert_eq!(split(&stream, &[]), pieces);
    }

    #[test]
    fn half_a_token_swallows_nothing_of_the_next() {
        let whole = token(4, 1);
        let junk = |bytes: &[u8]| Piece::Other(bytes.to_vec());
        // Also one of 64 letters, which would make a possible length of both together.
        for half in [
            &b"gAAAAA"[..],
            b"gAAAAABx",
            b"gAAAAABx=",
            &token(9, 0)[..64],
            &token(3, 0)[..139],
        ] {
            let stream = [half, &whole, half, &whole].concat();
            let pieces = vec![[junk(half), Piece::Token(whole.clone())]; 2].concat();
            for cut in 0..=stream.len() {
                assert_eq!(split(&stream, &[cut]), pieces);
            }
        }
    }

    #[test]
    fn a_token_is_whole_up_to_the_limit_and_none_beyond_it() {
        let (longest, longer, next) = (token(3068, 0), token(3069, 0), token(1, 1));
        assert!(longest.len() <= MAX_TOKEN && longer.len() > MAX_TOKEN);
        for (long, is_whole) in [(longest, true), (longer, false), (token(6000, 0), false)] {
            for chunk in [1, 1000, 1024, 8192, MAX_TOKEN, MAX_TOKEN + 1, 1 << 20] {
                let mut splitter = Splitter::default();
                let mut pieces = Vec::new();
                for bytes in [&long[..], &next].concat().chunks(chunk) {
                    pieces.extend(splitter.push(bytes));
                    assert!(splitter.buffer.len() <= MAX_TOKEN);
                }
                assert_eq!(pieces.pop(), Some(Piece::Token(next.clone())));
                let is_token = matches!(pieces.as_slice(), [Piece::Token(token)] if *token == long);
                assert_eq!(is_token, is_whole, "{} {chunk}", long.len());
                assert_eq!(
                    is_whole,
                    pieces.iter().any(|piece| matches!(piece, Piece::Token(_)))
                );
                let bytes: Vec<u8> = pieces.into_iter().flat_map(Piece::into_bytes).collect();
                assert_eq!(bytes, long);
            }
        }
    }

    proptest! {
        #[test]
        fn any_sequence_of_tokens_cut_anywhere_comes_out_as_the_same_tokens(
            shapes in prop::collection::vec((1usize..40, any::<u8>()), 1..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let sent: Vec<Vec<u8>> = shapes.into_iter().map(|(n, seed)| token(n, seed)).collect();
            let stream = sent.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(tokens(split(&stream, &cuts)), sent);
        }

        #[test]
        fn arbitrary_bytes_come_out_as_they_went_in(
            parts in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..50),
                (1usize..8, any::<u8>()).prop_map(|(n, seed)| token(n, seed)),
                Just(b"gAAAAA".to_vec()),
                Just(b"gAA".to_vec()),
                Just(b"==".to_vec()),
            ], 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let stream = parts.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let bytes: Vec<u8> = split(&stream, &cuts).into_iter().flat_map(Piece::into_bytes).collect();
            prop_assert_eq!(bytes, stream);
        }
    }
}
