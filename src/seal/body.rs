//! Bodies: a whole file as one token, as a stream.
//!
//! A body is an ordinary token (`token.rs` draws its form) that is too long to be held in memory. Each of these types
//! holds one piece at a time, so a file of any size takes the same memory:
//!
//! ```text
//! BodySealer   reads plain text of a known length  ->  token                  (the sender of a file)
//! BodyCheck    token in pieces  ->  was it sealed with this key?              (the server's spool)
//! BodyOpener   token in pieces  ->  plain text; was it sealed with this key?  (the receiver of a file)
//! ```
//!
//! The length of a body is announced before its first byte. So a sealer gives exactly that many characters, even if the
//! file shrinks, grows or cannot be read meanwhile. It then spoils the HMAC, and no receiver takes the result for the file.
//! The HMAC comes last, so a receiver can be sure of a body only at its end.
//!
//! Lengths and limits are the caller's. Invariant: how a body is cut into pieces never changes the result.

use std::io::{self, Read};

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::inout::InOutBuf;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use super::token::{BLOCK_LEN, HEAD_LEN, HMAC_LEN, VERSION};
use super::{Key, SealError};

/// Seals plain text while it is read: a `Read` of exactly `token_len(plain_len)` characters.
///
/// Reading never fails and never ends early. After its end, [`BodySealer::fault`] says whether the body holds the file as it is.
pub struct BodySealer<R> {
    source: R,
    /// How many bytes of plain text are still to be read from the source, or made up.
    to_come: u64,
    fault: Option<BodyFault>,
    hmac: Hmac<Sha256>,
    encryptor: cbc::Encryptor<Aes128>,
    /// Bytes of the token that are not yet base64. Between two pieces there are at most two, which make three with the next.
    sealed: Vec<u8>,
    /// The piece in base64, of which the first `n_given` characters have been read.
    chars: Vec<u8>,
    n_given: usize,
    is_complete: bool,
}

impl<R: Read> BodySealer<R> {
    /// Begins a body, stamped with the present time, for a source that is expected to give `plain_len` bytes.
    pub fn new(key: &Key, source: R, plain_len: u64) -> BodySealer<R> {
        BodySealer::again(key, BodyHead::fresh(key), source, plain_len)
    }

    /// Begins a body with this head. The same head, source and key give the same body again.
    pub fn again(key: &Key, head: BodyHead, source: R, plain_len: u64) -> BodySealer<R> {
        let head = head.0;
        BodySealer {
            source,
            to_come: plain_len,
            fault: None,
            hmac: new_hmac(key).chain_update(head),
            encryptor: cbc::Encryptor::new((&*key.encryption).into(), iv_of(&head).into()),
            sealed: head.to_vec(),
            chars: Vec::new(),
            n_given: 0,
            is_complete: false,
        }
    }

    /// Where the plain text comes from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// Why the body was spoiled, once it is read to its end; `None` if it is the file as announced.
    pub fn fault(&self) -> Option<&BodyFault> {
        self.fault.as_ref()
    }

    /// Makes the next piece of base64; the last one carries padding and HMAC.
    fn seal_piece(&mut self) {
        let start = self.sealed.len();
        let plain_len = self.to_come.min(PIECE_LEN as u64) as usize;
        self.to_come -= plain_len as u64;
        let is_last = self.to_come == 0;
        self.read_plain(plain_len, is_last);
        if is_last {
            let padding_len = BLOCK_LEN - plain_len % BLOCK_LEN;
            let padded_len = self.sealed.len() + padding_len;
            self.sealed.resize(padded_len, padding_len as u8);
        }

        self.encrypt_and_hash(start);
        let mut n_bytes = self.sealed.len() / 3 * 3;
        if is_last {
            let mut hmac = self.hmac.clone().finalize().into_bytes();
            if self.fault.is_some() {
                hmac.iter_mut().for_each(|byte| *byte = !*byte);
            }
            self.sealed.extend_from_slice(&hmac);
            n_bytes = self.sealed.len();
            self.is_complete = true;
        }

        self.chars.clear();
        base64_simd::URL_SAFE.encode_append(&self.sealed[..n_bytes], &mut self.chars);
        self.sealed.drain(..n_bytes);
        self.n_given = 0;
    }

    /// Encrypts the bytes from `start` on, and takes them into the HMAC. Encryption and HMAC alternate in short strides. Each
    /// stride depends on the one before, so the processor overlaps the two.
    fn encrypt_and_hash(&mut self, start: usize) {
        let mut hashed = start;
        for at in (start..self.sealed.len()).step_by(STRIDE_LEN) {
            let end = self.sealed.len().min(at + STRIDE_LEN);
            let (blocks, _) = InOutBuf::from(&mut self.sealed[at..end]).into_chunks();
            self.encryptor.encrypt_blocks_inout_mut(blocks);
            // The HMAC stays behind by the length of the head. So it gets whole blocks of SHA-256, which are not copied.
            let until = end.saturating_sub(HEAD_LEN).max(hashed);
            self.hmac.update(&self.sealed[hashed..until]);
            hashed = until;
        }
        self.hmac.update(&self.sealed[hashed..]);
    }

    /// Appends `plain_len` bytes of plain text to `sealed`. What the source does not give is made up of zeros.
    fn read_plain(&mut self, plain_len: usize, is_last: bool) {
        let end = self.sealed.len() + plain_len;
        if self.fault.is_none() {
            // If one byte more can be read at the end, the file grew.
            let limit = plain_len as u64 + u64::from(is_last);
            let mut source = self.source.by_ref().take(limit);
            self.fault = match source.read_to_end(&mut self.sealed) {
                Err(error) => Some(BodyFault::Unreadable(error)),
                Ok(n) if n < plain_len => Some(BodyFault::Shrank),
                Ok(n) if n > plain_len => Some(BodyFault::Grew),
                Ok(_) => None,
            };
        }
        self.sealed.resize(end, 0);
    }
}

/// What a body begins with: its time stamp, and the random bytes that make it differ from each other body.
#[derive(Clone, Copy)]
pub struct BodyHead([u8; HEAD_LEN]);

impl BodyHead {
    /// A new one, with the present time. The key plays no part: an empty text is sealed because that makes a stamp and random bytes.
    pub fn fresh(key: &Key) -> BodyHead {
        let token = URL_SAFE
            .decode(key.seal(b""))
            .expect("a new token is base64url");
        BodyHead(*token.first_chunk().expect("a new token begins with a head"))
    }
}

/// How much plain text is sealed at once, in bytes: a multiple of [`STRIDE_LEN`], and 64 KiB as base64.
const PIECE_LEN: usize = 48 * 1024;

/// How much is encrypted before it is taken into the HMAC, in bytes: two blocks of SHA-256. Measured: sealing is a third faster than if a
/// whole piece were encrypted first. Steps of one block cost more calls, and steps of four are too long to overlap.
const STRIDE_LEN: usize = 128;

impl<R: Read> Read for BodySealer<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.n_given == self.chars.len() && !self.is_complete {
            self.seal_piece();
        }
        let n = (&self.chars[self.n_given..]).read(buffer)?;
        self.n_given += n;
        Ok(n)
    }
}

/// What happened to a file while it was sealed, so that its body was spoiled.
#[derive(Debug, Error)]
pub enum BodyFault {
    /// The file ended before the length that was announced.
    #[error("the file shrank while it was sent")]
    Shrank,
    /// The file went on after the length that was announced.
    #[error("the file grew while it was sent")]
    Grew,
    /// The file could not be read on.
    #[error("the file could not be read: {0}")]
    Unreadable(io::Error),
}

/// Checks a body without decrypting it: is it a token, and does its HMAC fit?
///
/// A body that passes was sealed by a holder of the key. Only [`BodyOpener`] sees the padding inside the last block.
pub struct BodyCheck {
    hmac: Hmac<Sha256>,
    /// Something came that no token has. The bytes after it are ignored.
    is_broken: bool,
    /// Up to three characters that wait for the rest of their group of four.
    begun: Vec<u8>,
    /// A group of four with `=` has come, so the body must be at its end.
    is_padded: bool,
    /// Version, time stamp and IV, once they have come.
    head: Option<[u8; HEAD_LEN]>,
    /// Decoded bytes behind the head that are held back, because they may be the tail.
    decoded: Vec<u8>,
}

impl BodyCheck {
    /// Begins the check of one body.
    pub fn new(key: &Key) -> BodyCheck {
        BodyCheck {
            hmac: new_hmac(key),
            is_broken: false,
            begun: Vec::new(),
            is_padded: false,
            head: None,
            decoded: Vec::new(),
        }
    }

    /// Takes the next bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.take(bytes, |_, _| ());
    }

    /// Says whether the body was whole and sealed with this key.
    ///
    /// # Errors
    /// It was not.
    pub fn finish(self) -> Result<(), SealError> {
        self.into_last_block().map(|_| ())
    }

    /// Takes bytes through base64 and HMAC, and shows the caller the head and the blocks that are complete now.
    fn take(&mut self, bytes: &[u8], mut show: impl FnMut(&[u8; HEAD_LEN], &mut [u8])) {
        for piece in bytes.chunks(PIECE_CHARS) {
            self.decode(piece);
            if self.is_broken {
                return;
            }
            if self.head.is_none() {
                self.head = self.decoded.first_chunk().copied();
                if let Some(head) = &self.head {
                    self.is_broken = head[0] != VERSION;
                    self.hmac.update(head);
                    self.decoded.drain(..HEAD_LEN);
                }
            }
            if let Some(head) = &self.head {
                let ready_len = self.decoded.len().saturating_sub(TAIL_LEN) / BLOCK_LEN * BLOCK_LEN;
                self.hmac.update(&self.decoded[..ready_len]);
                show(head, &mut self.decoded[..ready_len]);
                self.decoded.drain(..ready_len);
            }
        }
    }

    /// Decodes a piece of base64, as far as its groups of four are complete, and appends it to `decoded`.
    fn decode(&mut self, piece: &[u8]) {
        self.begun.extend_from_slice(piece);
        let begun = self
            .begun
            .split_off(self.begun.len() / GROUP_LEN * GROUP_LEN);
        let groups = std::mem::replace(&mut self.begun, begun);
        if groups.is_empty() || self.is_broken {
            return;
        }
        let decoded = base64_simd::URL_SAFE.decode_append(&groups, &mut self.decoded);
        self.is_broken |= self.is_padded || decoded.is_err();
        self.is_padded = groups.ends_with(b"=");
    }

    /// The end of the body: the last block, still encrypted, if all is well.
    fn into_last_block(mut self) -> Result<[u8; BLOCK_LEN], SealError> {
        // All blocks before the tail were used as they came. So exactly the tail is left, if the length is right.
        let is_whole = self.begun.is_empty() && self.decoded.len() == TAIL_LEN;
        let (last_block, hmac) = match self.decoded.split_first_chunk() {
            Some(tail) if is_whole && !self.is_broken => tail,
            _ => return Err(SealError::NotOpened),
        };
        self.hmac.update(last_block);
        // The comparison takes the same time wherever the difference is.
        match self.hmac.verify_slice(hmac) {
            Ok(()) => Ok(*last_block),
            Err(_) => Err(SealError::NotOpened),
        }
    }
}

/// Base64 turns this many characters into three bytes.
const GROUP_LEN: usize = 4;

/// How many characters are decoded at once. A [`BodySealer`] makes as many, but neither depends on it.
const PIECE_CHARS: usize = 64 * 1024;

/// How many bytes are held back until the end of a body is known: the block with the padding, and the HMAC.
const TAIL_LEN: usize = BLOCK_LEN + HMAC_LEN;

/// Opens a body while it comes in.
///
/// **Do not trust the plain text, or show it as the file, before [`BodyOpener::finish`] returns `Ok`.**
pub struct BodyOpener {
    check: BodyCheck,
    encryption_key: Zeroizing<[u8; 16]>,
    /// `None` until the head, which has the IV, has come.
    decryptor: Option<cbc::Decryptor<Aes128>>,
}

impl BodyOpener {
    /// Begins to open one body.
    pub fn new(key: &Key) -> BodyOpener {
        BodyOpener {
            check: BodyCheck::new(key),
            encryption_key: key.encryption.clone(),
            decryptor: None,
        }
    }

    /// Takes the next bytes of the body, and appends the plain text that is ready to `out`.
    ///
    /// # Errors
    /// This is no body. Every later call says so, too. The caller may go on, to take all of it off the wire.
    pub fn update(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.check.take(bytes, |head, ready| {
            let decryptor = self.decryptor.get_or_insert_with(|| {
                cbc::Decryptor::new((&*self.encryption_key).into(), iv_of(head).into())
            });
            let (blocks, _) = InOutBuf::from(&mut *ready).into_chunks();
            decryptor.decrypt_blocks_inout_mut(blocks);
            out.extend_from_slice(ready);
        });
        if self.check.is_broken {
            Err(SealError::NotOpened)
        } else {
            Ok(())
        }
    }

    /// Says whether the body was whole and sealed with this key, and appends the last of the plain text.
    ///
    /// # Errors
    /// It was not, or the padding is wrong. The caller then throws away all the plain text.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), SealError> {
        let mut last_block = self.check.into_last_block()?;
        let plain = self
            .decryptor
            .expect("a body with a last block has had a head")
            .decrypt_padded_mut::<Pkcs7>(&mut last_block)
            .map_err(|_| SealError::NotOpened)?;
        out.extend_from_slice(plain);
        Ok(())
    }
}

fn iv_of(head: &[u8; HEAD_LEN]) -> &[u8; BLOCK_LEN] {
    head.last_chunk()
        .expect("a head is longer than the IV it ends with")
}

pub(super) fn new_hmac(key: &Key) -> Hmac<Sha256> {
    Hmac::new_from_slice(&*key.signing).expect("an HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::token::token_len;
    use super::super::vectors::*;
    use super::*;

    /// The pieces that bodies are cut into and read in.
    const CUTS: [usize; 8] = [1, 2, 3, 4, 5, 7, 64, 4096];

    /// Lengths around the blocks, the groups of base64 and the pieces of this module.
    fn plain_lens() -> impl Iterator<Item = usize> {
        let around = |len: usize| [len - 17, len - 16, len - 1, len, len + 1, len + 16];
        (0..=50)
            .chain(around(PIECE_LEN))
            .chain(around(2 * PIECE_LEN))
    }

    fn plain_of(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
    }

    fn seal(key: &Key, plain: &[u8]) -> Vec<u8> {
        let mut sealer = BodySealer::new(key, plain, plain.len() as u64);
        let mut body = Vec::new();
        sealer.read_to_end(&mut body).unwrap();
        assert!(sealer.fault().is_none());
        body
    }

    /// Checks a body that comes in these pieces, and opens it: what either says.
    fn check_and_open<'a>(
        key: &Key,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Result<(), SealError>, Result<Vec<u8>, SealError>) {
        let mut check = BodyCheck::new(key);
        let mut opener = BodyOpener::new(key);
        let mut plain = Vec::new();
        let mut so_far = Ok(());
        for piece in pieces {
            check.update(piece);
            let updated = opener.update(piece, &mut plain);
            assert_eq!(so_far.and(updated), updated, "an error stays");
            so_far = updated;
        }
        let opened = opener.finish(&mut plain);
        assert_eq!(so_far.and(opened), opened, "an error stays");
        (check.finish(), opened.map(|()| plain))
    }

    /// Opens a body that comes in these pieces, and holds the check to the same result.
    fn open<'a>(
        key: &Key,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<u8>, SealError> {
        let (checked, opened) = check_and_open(key, pieces);
        assert_eq!(checked.is_ok(), opened.is_ok());
        opened
    }

    fn key() -> Key {
        Key::parse(KEY).unwrap()
    }

    #[test]
    fn published_token_is_sealed_to_the_byte() {
        let mut head = [VERSION; HEAD_LEN];
        head[1..9].copy_from_slice(&HELLO_SECS.to_be_bytes());
        (0..16).for_each(|at| head[9 + at] = at as u8);
        let mut body = String::new();
        BodySealer::again(&key(), BodyHead(head), &b"hello"[..], 5)
            .read_to_string(&mut body)
            .unwrap();
        assert_eq!(body, HELLO);
    }

    #[test]
    fn published_tokens_open_at_any_time() {
        assert_eq!(open(&key(), [HELLO.as_bytes()]).unwrap(), b"hello");
        for token in INVALID_BY_THE_CLOCK {
            assert_eq!(open(&key(), [token.as_bytes()]).unwrap(), b"");
        }
    }

    #[test]
    fn published_invalid_tokens_are_refused() {
        for (wrong, token) in INVALID {
            let (checked, opened) = check_and_open(&key(), [token.as_bytes()]);
            assert!(opened.is_err(), "{wrong}");
            // The padding is under the encryption, where a check does not look.
            assert_eq!(checked.is_ok(), wrong.contains("padding error"), "{wrong}");
        }
    }

    #[test]
    fn body_is_a_token_of_the_announced_length() {
        let key = key();
        for plain_len in plain_lens() {
            let plain = plain_of(plain_len);
            let body = seal(&key, &plain);
            assert_eq!(body.len() as u64, token_len(plain_len as u64));
            assert!(key.open(&body).unwrap() == plain, "{plain_len} bytes");
        }
    }

    #[test]
    fn token_opens_as_a_body() {
        let key = key();
        for plain_len in plain_lens() {
            let plain = plain_of(plain_len);
            let token = key.seal(&plain);
            assert!(
                open(&key, [token.as_bytes()]).unwrap() == plain,
                "{plain_len} bytes"
            );
        }
    }

    #[test]
    fn body_opens_in_pieces_of_any_length() {
        let key = key();
        for plain_len in [0, 1, 15, 16, 17, 47, 48, 49, 1000, PIECE_LEN + 1] {
            let plain = plain_of(plain_len);
            let body = seal(&key, &plain);
            for len in CUTS {
                assert!(
                    open(&key, body.chunks(len)).unwrap() == plain,
                    "{plain_len} bytes by {len}"
                );
            }
        }
    }

    #[test]
    fn small_body_opens_split_at_each_byte() {
        let key = key();
        for plain_len in [0, 20, 40] {
            let plain = plain_of(plain_len);
            let body = seal(&key, &plain);
            for at in 0..=body.len() {
                let (front, rest) = body.split_at(at);
                assert_eq!(open(&key, [front, rest]).unwrap(), plain, "split at {at}");
            }
        }
    }

    #[test]
    fn sealer_gives_the_same_body_by_reads_of_any_length() {
        let key = key();
        let head = BodyHead::fresh(&key).0;
        for plain_len in [0, 40, PIECE_LEN + 1] {
            let plain = plain_of(plain_len);
            let sealer =
                || BodySealer::again(&key, BodyHead(head), plain.as_slice(), plain_len as u64);
            let mut whole = Vec::new();
            sealer().read_to_end(&mut whole).unwrap();
            for len in CUTS {
                let mut sealer = sealer();
                let mut buffer = vec![0; len];
                let mut body = Vec::new();
                loop {
                    let n = sealer.read(&mut buffer).unwrap();
                    if n == 0 {
                        break;
                    }
                    body.extend_from_slice(&buffer[..n]);
                }
                assert!(body == whole, "{plain_len} bytes by {len}");
            }
        }
    }

    /// A source that gives a few bytes at a time, and is interrupted before each of them.
    struct Dribble<'a> {
        plain: &'a [u8],
        is_interrupted: bool,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.is_interrupted = !self.is_interrupted;
            if self.is_interrupted {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let len = buffer.len().min(5);
            self.plain.read(&mut buffer[..len])
        }
    }

    #[test]
    fn source_may_dribble() {
        let key = key();
        let plain = plain_of(PIECE_LEN + 100);
        let dribble = Dribble {
            plain: &plain,
            is_interrupted: false,
        };
        let mut sealer = BodySealer::new(&key, dribble, plain.len() as u64);
        let mut body = Vec::new();
        sealer.read_to_end(&mut body).unwrap();
        assert!(sealer.fault().is_none());
        assert!(open(&key, [body.as_slice()]).unwrap() == plain);
    }

    /// Seals a source that does not keep to its length: the body keeps to it, and does not open.
    fn spoil(source: impl Read, plain_len: usize) -> String {
        let key = key();
        let mut sealer = BodySealer::new(&key, source, plain_len as u64);
        let mut body = Vec::new();
        sealer.read_to_end(&mut body).unwrap();
        assert_eq!(body.len() as u64, token_len(plain_len as u64));
        assert_eq!(open(&key, [body.as_slice()]), Err(SealError::NotOpened));
        assert!(!key.opens(&body));
        sealer.fault().unwrap().to_string()
    }

    #[test]
    fn file_that_shrinks_spoils_its_body() {
        for (expected, found) in [
            (1, 0),
            (16, 15),
            (17, 16),
            (100, 0),
            (PIECE_LEN, PIECE_LEN - 1),
            (3 * PIECE_LEN, PIECE_LEN),
        ] {
            let reason = spoil(plain_of(found).as_slice(), expected);
            assert_eq!(reason, "the file shrank while it was sent");
        }
    }

    #[test]
    fn file_that_grows_spoils_its_body() {
        for (expected, found) in [
            (0, 1),
            (15, 16),
            (16, 17),
            (100, 300),
            (PIECE_LEN, PIECE_LEN + 1),
            (7, PIECE_LEN),
        ] {
            let reason = spoil(plain_of(found).as_slice(), expected);
            assert_eq!(reason, "the file grew while it was sent");
        }
    }

    struct BadDisk;

    impl Read for BadDisk {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("bad sector"))
        }
    }

    #[test]
    fn file_that_cannot_be_read_spoils_its_body() {
        for (expected, found) in [
            (0, 0),
            (20, 0),
            (20, 7),
            (20, 20),
            (2 * PIECE_LEN, 100),
            (2 * PIECE_LEN, PIECE_LEN),
        ] {
            let source = plain_of(found);
            assert_eq!(
                spoil(source.chain(BadDisk), expected),
                "the file could not be read: bad sector"
            );
        }
    }

    #[test]
    fn flipped_bit_is_refused_wherever_it_is() {
        let key = key();
        for plain_len in [0, 20, 40] {
            let mut body = seal(&key, &plain_of(plain_len));
            for at in 0..body.len() {
                for bit in 0..8 {
                    body[at] ^= 1 << bit;
                    assert!(
                        open(&key, [body.as_slice()]).is_err(),
                        "bit {bit} of byte {at}"
                    );
                    body[at] ^= 1 << bit;
                }
            }
        }
    }

    #[test]
    fn truncated_body_is_refused() {
        let key = key();
        for plain_len in [0, 20, 40] {
            let body = seal(&key, &plain_of(plain_len));
            for len in 0..body.len() {
                assert!(
                    open(&key, [&body[..len]]).is_err(),
                    "{len} of {} characters",
                    body.len()
                );
            }
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let key = key();
        for plain_len in [0, 20, 40] {
            let body = seal(&key, &plain_of(plain_len));
            for tail in [
                "A",
                "=",
                "\n",
                "AAAA",
                "====",
                HELLO,
                "AAAAAAAAAAAAAAAAAAAAAAAA",
            ] {
                assert!(
                    open(&key, [&body, tail.as_bytes()]).is_err(),
                    "{plain_len} bytes and {tail:?}"
                );
                assert!(open(&key, [[&body, tail.as_bytes()].concat().as_slice()]).is_err());
            }
        }
    }

    #[test]
    fn other_key_is_refused() {
        let body = seal(&Key::generate(), b"hello");
        assert_eq!(
            open(&Key::generate(), [body.as_slice()]),
            Err(SealError::NotOpened)
        );
    }

    #[test]
    fn other_version_is_refused_though_its_hmac_fits() {
        let mut head = BodyHead::fresh(&key()).0;
        head[0] = 0x81;
        let mut body = Vec::new();
        BodySealer::again(&key(), BodyHead(head), &b"hello"[..], 5)
            .read_to_end(&mut body)
            .unwrap();
        assert_eq!(open(&key(), [body.as_slice()]), Err(SealError::NotOpened));
    }

    #[test]
    fn characters_outside_the_alphabet_are_refused() {
        for at in [0, 3, 4, 50, 99] {
            for wrong in [b'+', b'/', b'%', b' ', b'\n', 0, 0xff] {
                let mut body = HELLO.as_bytes().to_vec();
                body[at] = wrong;
                for len in CUTS {
                    let opened = open(&key(), body.chunks(len));
                    assert!(opened.is_err(), "{wrong:#04x} at {at} by {len}");
                }
            }
        }
    }

    #[test]
    fn padding_is_accepted_at_the_end_only() {
        for padded in ["AAA=", "AA=="] {
            let body = [&HELLO[..40], padded, &HELLO[44..]].concat();
            for len in CUTS {
                let opened = open(&key(), body.as_bytes().chunks(len));
                assert!(opened.is_err(), "{padded} by {len}");
            }
        }
    }

    #[test]
    fn nothing_is_taken_after_the_first_error() {
        let mut opener = BodyOpener::new(&key());
        let mut plain = Vec::new();
        let error = SealError::NotOpened;
        assert_eq!(opener.update(b"%%%%", &mut plain), Err(error));
        assert_eq!(opener.update(HELLO.as_bytes(), &mut plain), Err(error));
        assert_eq!(opener.update(b"****", &mut plain), Err(error));
        assert_eq!(opener.finish(&mut plain), Err(error));
        assert!(plain.is_empty());
    }

    #[test]
    fn memory_stays_at_one_piece() {
        let key = key();
        let plain_len = 10 * PIECE_LEN as u64;
        let mut sealer = BodySealer::new(&key, io::repeat(7), plain_len);
        let mut body = Vec::new();
        sealer.read_to_end(&mut body).unwrap();
        let mut check = BodyCheck::new(&key);
        check.update(&body);
        let mut broken = BodyCheck::new(&key);
        broken.update(b"%");
        body.chunks(1000).for_each(|piece| broken.update(piece));
        for capacity in [
            broken.begun.capacity(),
            broken.decoded.capacity(),
            sealer.sealed.capacity(),
            sealer.chars.capacity(),
            check.begun.capacity(),
            check.decoded.capacity(),
        ] {
            assert!(capacity <= 3 * PIECE_LEN, "{capacity}");
        }
    }

    /// A body with some of its characters replaced, mostly by such as matter.
    fn damaged_body() -> impl Strategy<Value = Vec<u8>> {
        let characters = prop_oneof![Just(b'='), Just(b'A'), Just(b'-'), Just(b'%'), any::<u8>()];
        let damages = proptest::collection::vec((any::<prop::sample::Index>(), characters), 0..4);
        (0..200_usize, damages, any::<prop::sample::Index>()).prop_map(
            |(plain_len, damages, end)| {
                let mut body = seal(&key(), &plain_of(plain_len));
                for (at, character) in &damages {
                    *at.get_mut(&mut body) = *character;
                }
                if damages.len() > 2 {
                    body.truncate(end.index(body.len()));
                }
                body
            },
        )
    }

    /// Cuts a body into pieces of these lengths, over and over.
    fn cut<'a>(mut body: &'a [u8], lens: &[usize]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        for len in lens.iter().cycle() {
            if body.is_empty() {
                break;
            }
            let (piece, rest) = body.split_at((*len).min(body.len()));
            pieces.push(piece);
            body = rest;
        }
        pieces
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_result(
            body in damaged_body(),
            lens in proptest::collection::vec(1..90_usize, 1..20),
        ) {
            prop_assert_eq!(open(&key(), cut(&body, &lens)), open(&key(), [body.as_slice()]));
        }

        #[test]
        fn arbitrary_bytes_never_pass(
            body in proptest::collection::vec(any::<u8>(), 0..300),
            lens in proptest::collection::vec(1..90_usize, 1..20),
        ) {
            prop_assert!(open(&key(), cut(&body, &lens)).is_err());
        }

        #[test]
        fn arbitrary_base64_never_passes(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            lens in proptest::collection::vec(1..90_usize, 1..20),
        ) {
            let body = URL_SAFE.encode(bytes);
            prop_assert!(open(&key(), cut(body.as_bytes(), &lens)).is_err());
        }

        #[test]
        fn what_is_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..500)) {
            prop_assert_eq!(open(&key(), [seal(&key(), &plain).as_slice()]), Ok(plain));
        }
    }
}
