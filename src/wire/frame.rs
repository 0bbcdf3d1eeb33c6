//! Frames: how tokens are cut out of the byte stream, and written into it.
//!
//! A frame is a 4-byte big-endian length in bytes, then that many bytes of token. Knows nothing of keys, commands or sockets: bytes go
//! in, frames come out; whether a token opens is asked of the caller.
//!
//! **Torn frames.** The Python programs write length and token in two calls, from several threads, without a lock. What arrives is
//! `len len token token`, in some order, and a frame, whole or torn, can land inside a file's body. All the same every piece can be
//! told: a length begins with a zero byte (no frame reaches 16 MiB), a token and a body are base64, which has none.
//!
//! ```text
//!            0x00: a length          it is owed a token
//!   next byte
//!            else: a token           of one of the owed lengths; where they differ, the shortest that opens
//!
//!   in a body, 0x00: a length; `gAAAAA` while a token is owed: that token, if it opens; else: body
//! ```
//!
//! Invariant: the buffer holds less than [`MAX_FRAME`] and one read, whatever the peer claims; it grows only as bytes arrive.

use std::fmt;
use std::io::{self, Read};

use byteorder::{BigEndian, ByteOrder};

/// The longest token that a frame may carry, in bytes. Holds the token of a [`MAX_TEXT`] text and its sender's name.
pub const MAX_FRAME: usize = 1 << 20;

/// The longest text that a frame may carry, in bytes: people paste whole files into a chat.
pub const MAX_TEXT: usize = 512 << 10;

/// The longest token while a client is greeting, in bytes: two names fit, and a stranger gets no more.
pub const MAX_GREETING_FRAME: usize = 1 << 10;

/// How many tokens may be owed at one time. A Python client has two threads that write, a Python server one for each member
/// that speaks in the same millisecond.
const MAX_OWED: usize = 64;

/// How often, from one token to the next, what looks like the beginning of an owed token inside a body may turn out to be body. A
/// body's own beginning does, and by chance one place in 64 GiB; each time costs a verification of every length that is owed.
const MAX_CHANCES: usize = 16;

/// The shortest token there is, in bytes: that of the empty text.
const MIN_TOKEN: usize = 100;

/// What every token begins with: the version byte and the high bytes of a time stamp before the year 4147.
pub const TOKEN_START: &[u8] = b"gAAAAA";

/// How much of a body is read, stored and written at once, in bytes, by both ends.
pub const BODY_STEP: usize = 256 << 10;

/// How many characters at the end of a token tell it from all others: they carry the end of its HMAC.
const MARK_LEN: usize = 24;

/// How much is asked of the stream at once, in bytes. Lies on the stack, so that an idle client keeps no buffer; what a stack has been
/// used for once stays in memory, so it is not more than a line needs.
const READ_LEN: usize = 512;

/// Writes the frame of a token: its length and the token in one piece, because the Python peers read the length with a single
/// call and misread it if it arrives split.
pub fn encode(token: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4 + token.len()];
    BigEndian::write_u32(&mut frame, token.len() as u32);
    frame[4..].copy_from_slice(token);
    frame
}

/// Whether these bytes begin as a token does, as far as they go.
pub fn begins_token(bytes: &[u8]) -> bool {
    let n = bytes.len().min(TOKEN_START.len());
    bytes[..n] == TOKEN_START[..n]
}

/// The characters that tell a token, or its frame, from all others.
pub fn mark(token: &[u8]) -> String {
    String::from_utf8_lossy(&token[token.len().saturating_sub(MARK_LEN)..]).into_owned()
}

/// A piece of what arrives while a body is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of the body stand at the beginning of the caller's buffer. At least one.
    Body(usize),
    /// The token of a frame that landed inside the body.
    Frame(Vec<u8>),
}

/// Cuts tokens and bodies out of a stream of bytes.
pub struct FrameReader<R> {
    stream: R,
    /// Bytes that were read; those from `used` on are not yet used.
    buffer: Vec<u8>,
    used: usize,
    /// Lengths that came, whose tokens did not yet. Sorted.
    owed: Vec<usize>,
    /// The token at the front of the buffer is longer than this: the owed lengths up to here have been tried and do not open.
    refuted: usize,
    /// How often what looked like a token inside a body was none.
    n_chances: usize,
    max_frame: usize,
}

/// What a try to cut a token from the front of the buffer came to.
enum Cut {
    Token(Vec<u8>),
    TooEarly,
    NoToken,
}

impl<R: Read> FrameReader<R> {
    /// Reads from `stream`; a frame with a longer token than `max_frame` bytes is an error.
    pub fn new(stream: R, max_frame: usize) -> FrameReader<R> {
        FrameReader {
            stream,
            buffer: Vec::new(),
            used: 0,
            owed: Vec::new(),
            refuted: 0,
            n_chances: 0,
            max_frame,
        }
    }

    /// Sets the limit for the frames that come from now on.
    pub fn allow(&mut self, max_frame: usize) {
        self.max_frame = max_frame;
    }

    /// The stream that the frames come from.
    pub fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// Whether something was read that is not yet used, so that the next call may return without reading.
    pub fn has_buffered(&self) -> bool {
        !self.front().is_empty()
    }

    /// Reads the next `n` bytes, which stand bare on the wire: the key at the beginning of a connection.
    ///
    /// # Errors
    /// [`WireError::CutOff`] if the stream ends before, [`WireError::Io`] if it fails.
    pub fn next_bare(&mut self, n: usize) -> Result<Vec<u8>, WireError> {
        while self.front().len() < n {
            if self.fill()? == 0 {
                return Err(WireError::CutOff);
            }
        }
        Ok(self.take(n))
    }

    /// Reads the next frame and returns its token, or `None` at the end of the stream. Torn frames are put together:
    /// where several lengths are owed a token, `opens` decides, and is asked for nothing else.
    ///
    /// # Errors
    /// The stream is past saving after any of them: the caller ends the connection.
    pub fn next_frame(
        &mut self,
        opens: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, WireError> {
        loop {
            match self.front().first() {
                Some(0) if self.front().len() >= 4 => {
                    self.take_length()?;
                    continue;
                }
                Some(0) | None => {}
                Some(_) => match (self.owed.first(), self.owed.last()) {
                    (None, _) | (_, None) => return Err(WireError::NoLength),
                    (Some(&only), Some(&longest)) if only == longest => {
                        if self.front().len() >= only {
                            return Ok(Some(self.take_token(only)));
                        }
                    }
                    _ => match self.cut_token(opens) {
                        Cut::Token(token) => return Ok(Some(token)),
                        Cut::TooEarly => {}
                        Cut::NoToken => return Err(WireError::NoneOpens(self.owed.len())),
                    },
                },
            }
            if self.fill()? == 0 {
                let clean = self.front().is_empty() && self.owed.is_empty();
                return if clean {
                    Ok(None)
                } else {
                    Err(WireError::CutOff)
                };
            }
        }
    }

    /// Reads on in a body of which `left` bytes are still due, at most into `piece`. Call it until `left` bytes have come.
    ///
    /// # Errors
    /// As [`FrameReader::next_frame`]; the end of the stream is one here.
    pub fn next_piece(
        &mut self,
        left: u64,
        piece: &mut [u8],
        opens: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Piece, WireError> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        if self.front().is_empty() && self.owed.is_empty() {
            // The plain case, and the fast one: straight into the caller's buffer.
            let n = self.read(|stream| stream.read(&mut piece[..most]))?;
            if n == 0 {
                return Err(WireError::CutOff);
            }
            if !piece[..n].contains(&0) {
                return Ok(Piece::Body(n));
            }
            self.buffer.extend_from_slice(&piece[..n]);
        }
        loop {
            let plain = self.plain_len().min(most);
            if plain > 0 {
                return Ok(self.take_body(plain, piece));
            }
            match self.front().first() {
                Some(0) if self.front().len() >= 4 => {
                    self.take_length()?;
                    continue;
                }
                Some(0) | None => {}
                Some(_) => match self.cut_token(opens) {
                    Cut::Token(token) => return Ok(Piece::Frame(token)),
                    Cut::TooEarly => {}
                    Cut::NoToken if self.n_chances == MAX_CHANCES => {
                        return Err(WireError::NoneOpens(self.owed.len()));
                    }
                    Cut::NoToken => {
                        self.n_chances += 1;
                        return Ok(self.take_body(1, piece));
                    }
                },
            }
            if self.fill()? == 0 {
                return Err(WireError::CutOff);
            }
        }
    }

    /// How many bytes at the front of the buffer are body beyond doubt.
    fn plain_len(&self) -> usize {
        let zero = self
            .front()
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.front().len());
        if self.owed.is_empty() {
            return zero;
        }
        (0..zero)
            .find(|at| begins_token(&self.front()[*at..zero]))
            .unwrap_or(zero)
    }

    /// Moves the length at the front of the buffer to the owed ones.
    fn take_length(&mut self) -> Result<(), WireError> {
        let length = BigEndian::read_u32(&self.take(4)) as usize;
        if length > self.max_frame {
            return Err(WireError::TooLong {
                length,
                limit: self.max_frame,
            });
        }
        if length < MIN_TOKEN || length % 4 != 0 {
            return Err(WireError::NoTokenIs(length));
        }
        if self.owed.len() == MAX_OWED {
            return Err(WireError::TooTorn(MAX_OWED));
        }
        let at = self.owed.partition_point(|owed| *owed < length);
        self.owed.insert(at, length);
        Ok(())
    }

    /// Tries the owed lengths, shortest first, on the front of the buffer; each is tried once, however slowly the bytes arrive.
    fn cut_token(&mut self, opens: &dyn Fn(&[u8]) -> bool) -> Cut {
        for at in 0..self.owed.len() {
            let length = self.owed[at];
            if length <= self.refuted {
                continue;
            }
            match self.front().get(..length) {
                None => return Cut::TooEarly,
                Some(token) if opens(token) => return Cut::Token(self.take_token(length)),
                Some(_) => self.refuted = length,
            }
        }
        self.refuted = 0;
        Cut::NoToken
    }

    fn take_token(&mut self, length: usize) -> Vec<u8> {
        if let Some(at) = self.owed.iter().position(|owed| *owed == length) {
            self.owed.remove(at);
        }
        self.refuted = 0;
        self.n_chances = 0;
        self.take(length)
    }

    fn take_body(&mut self, n: usize, piece: &mut [u8]) -> Piece {
        piece[..n].copy_from_slice(&self.take(n));
        Piece::Body(n)
    }

    /// Takes `n` bytes, which are there, from the front of the buffer.
    fn take(&mut self, n: usize) -> Vec<u8> {
        let taken = self.front()[..n].to_vec();
        self.used += n;
        if self.used == self.buffer.len() {
            // An idle client keeps no buffer.
            self.buffer = Vec::new();
            self.used = 0;
        }
        taken
    }

    /// The bytes that are not yet used.
    fn front(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Reads what has arrived, at least one byte, into the buffer; 0 is the end of the stream.
    /// Inlined, its bytes would lie on the stack below all that is done with a frame, several times over.
    #[inline(never)]
    fn fill(&mut self) -> Result<usize, WireError> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let mut bytes = [0; READ_LEN];
        let n = self.read(|stream| stream.read(&mut bytes))?;
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn read(
        &mut self,
        mut read: impl FnMut(&mut R) -> io::Result<usize>,
    ) -> Result<usize, WireError> {
        loop {
            match read(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(WireError::Io),
            }
        }
    }
}

/// Why a stream of frames cannot be read on. All but [`WireError::Io`] and [`WireError::CutOff`] mean that the peer broke the protocol.
#[derive(Debug)]
pub enum WireError {
    /// A frame announces more bytes than the limit, both in bytes.
    TooLong {
        /// What the frame announces.
        length: usize,
        /// What is allowed at this point.
        limit: usize,
    },
    /// A frame announces a length, in bytes, that no token has.
    NoTokenIs(usize),
    /// Bytes that are no length where a length is due.
    NoLength,
    /// More than so many lengths came without their tokens.
    TooTorn(usize),
    /// Of so many lengths that are owed a token none gives one that opens.
    NoneOpens(usize),
    /// A token that does not open: another key, or altered on its way.
    NotOpened,
    /// A text that is not UTF-8.
    NotUtf8,
    /// A text of more than [`MAX_TEXT`] bytes: so many.
    TextTooLong(usize),
    /// A frame that cannot be the step that is due, which is named here.
    NotTheStep(&'static str),
    /// The stream ended inside a frame or a body.
    CutOff,
    /// The stream failed.
    Io(io::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            WireError::TooLong { length, limit } => {
                write!(f, "a frame of {length} bytes, the limit is {limit}")
            }
            WireError::NoTokenIs(length) => {
                write!(f, "a frame of {length} bytes, which no token has")
            }
            WireError::NoLength => write!(f, "bytes that are no frame"),
            WireError::TooTorn(limit) => {
                write!(f, "more than {limit} lengths without their tokens")
            }
            WireError::NoneOpens(n) => write!(f, "{n} torn frames of which none opens"),
            WireError::NotOpened => write!(f, "a token that does not open"),
            WireError::NotUtf8 => write!(f, "a text that is not UTF-8"),
            WireError::TextTooLong(length) => {
                write!(f, "a text of {length} bytes, the limit is {MAX_TEXT}")
            }
            WireError::NotTheStep(step) => write!(f, "a frame that is not {step}"),
            WireError::CutOff => write!(f, "the stream ended inside a frame"),
            WireError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    // A stream in letters: `A` is the length of token `a`, and so on; `1` to `4` are the parts of a body, due behind token `a`.
    // What is heard, in letters: tokens; `#` is a whole body, `.` a clean end, `!` an end inside something.

    fn bytes_of(letters: &str) -> Vec<u8> {
        let piece = |letter: u8| match letter {
            b'1'..=b'4' => {
                let at = usize::from(letter - b'1') * 100;
                body()[at..at + 100].to_vec()
            }
            b'A'..=b'Z' => {
                let length = token_of(letter.to_ascii_lowercase()).len() as u32;
                length.to_be_bytes().to_vec()
            }
            letter => token_of(letter),
        };
        letters.bytes().flat_map(piece).collect()
    }

    fn token_of(letter: u8) -> Vec<u8> {
        let len = match letter {
            b'b' => 120,
            b'c' => 140,
            _ => 100,
        };
        token(letter, len)
    }

    /// A token as far as this room can tell: it begins as all do, and its last characters say whether it is whole.
    fn token(fill: u8, len: usize) -> Vec<u8> {
        let mut token = TOKEN_START.to_vec();
        token.resize(len - 4, fill);
        token.extend(check_of(&token));
        token
    }

    fn check_of(token: &[u8]) -> [u8; 4] {
        let sum = token.iter().fold(token.len(), |sum, byte| {
            (sum * 31 + usize::from(*byte)) & 0xffff
        });
        [0, 4, 8, 12].map(|shift| b'a' + (sum >> shift & 15) as u8)
    }

    fn opens(token: &[u8]) -> bool {
        token
            .split_last_chunk()
            .is_some_and(|(rest, check)| *check == check_of(rest))
    }

    /// A body that begins like any token, looks like one again in its third part, and like the beginning of one at its end.
    fn body() -> Vec<u8> {
        let mut body = token(b'0', 400);
        body[250..256].copy_from_slice(TOKEN_START);
        body[396..].copy_from_slice(b"gAAA");
        body
    }

    /// A stream that gives one of these pieces at each read.
    struct Pieces(VecDeque<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(piece) = self.0.front_mut() else {
                return Ok(0);
            };
            let n = piece.len().min(buffer.len());
            buffer[..n].copy_from_slice(&piece[..n]);
            piece.drain(..n);
            if piece.is_empty() {
                self.0.pop_front();
            }
            Ok(n)
        }
    }

    fn reader_of(pieces: &[&[u8]], max_frame: usize) -> FrameReader<Pieces> {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let pieces = pieces.map(|piece| piece.to_vec()).collect();
        FrameReader::new(Pieces(pieces), max_frame)
    }

    fn drip(bytes: &[u8]) -> Vec<&[u8]> {
        bytes.chunks(1).collect()
    }

    /// What is heard if a body of `body_len` bytes is due behind token `a`.
    fn heard(pieces: &[&[u8]], body_len: usize) -> String {
        heard_asking(pieces, body_len, &opens)
    }

    fn heard_asking(pieces: &[&[u8]], body_len: usize, opens: &dyn Fn(&[u8]) -> bool) -> String {
        let mut letters = String::new();
        match read_all(pieces, body_len, opens, &mut letters) {
            Ok(()) => letters.push('.'),
            Err(WireError::CutOff) => letters.push('!'),
            Err(error) => letters.push_str(&format!(" {error}")),
        }
        letters
    }

    fn read_all(
        pieces: &[&[u8]],
        body_len: usize,
        opens: &dyn Fn(&[u8]) -> bool,
        letters: &mut String,
    ) -> Result<(), WireError> {
        let letter_of = |token: &[u8]| {
            assert_eq!(token, token_of(token[6]));
            char::from(token[6])
        };
        let mut reader = reader_of(pieces, MAX_FRAME);
        while let Some(token) = reader.next_frame(opens)? {
            letters.push(letter_of(&token));
            if token[6] != b'a' || body_len == 0 {
                continue;
            }
            let (mut got, mut piece) = (Vec::new(), [0; 64]);
            while got.len() < body_len {
                match reader.next_piece((body_len - got.len()) as u64, &mut piece, opens)? {
                    Piece::Body(n) => got.extend_from_slice(&piece[..n]),
                    Piece::Frame(token) => letters.push(letter_of(&token)),
                }
            }
            assert_eq!(got, body());
            letters.push('#');
        }
        Ok(())
    }

    fn body_len_in(letters: &str) -> usize {
        100 * letters.bytes().filter(u8::is_ascii_digit).count()
    }

    /// What is to be heard: tokens in the order in which they came, whoever tore them.
    fn in_order(letters: &str) -> String {
        let mut heard = letters.replace('4', "#");
        heard.retain(|letter| letter.is_ascii_lowercase() || letter == '#');
        heard + "."
    }

    #[test]
    fn each_stream_is_heard_alike_whole_and_split_at_each_byte_and_with_a_tail() {
        let cases = [
            ("", "."),
            ("Aa", "a."),
            ("AaBb", "ab."),
            ("AaAa", "aa."),
            // Torn, with different lengths and with equal ones.
            ("ABab", "ab."),
            ("ABba", "ba."),
            ("AXxa", "xa."),
            ("AXax", "ax."),
            ("ABbCca", "bca."),
            ("CBAabc", "abc."),
            // A body, and a frame behind it.
            ("Aa1234", "a#."),
            ("Aa1234Bb", "a#b."),
            // A frame in the body: whole, torn by it, and begun before it.
            ("Aa1Bb234", "ab#."),
            ("AaBb1234", "ab#."),
            ("Aa1B23b4", "ab#."),
            ("Aa123B4b", "a#b."),
            ("ABa1b234", "ab#."),
            ("ABa123b4", "ab#."),
            ("ABa1234b", "a#b."),
            ("ABba1234", "ba#."),
            // More than one.
            ("AaBC1c2b34", "acb#."),
            ("AXa1B2x3Cb4c", "axb#c."),
            ("AXYa1x23y4", "axy#."),
            // What the peer owes when it hangs up.
            ("A", "!"),
            ("ABb", "b!"),
            ("AaB", "a!"),
            ("Aa123", "a!"),
            // The last bytes of the body may be the first of the token that is owed.
            ("ABa1234", "a!"),
        ];
        for (letters, expected) in cases {
            let bytes = bytes_of(letters);
            // A stream that ends in the middle of a body is still one with a body.
            let body_len = body_len_in(letters).next_multiple_of(400);
            for at in 0..=bytes.len() {
                let (left, right) = bytes.split_at(at);
                assert_eq!(heard(&[left, right], body_len), expected, "{letters} {at}");
            }
            assert_eq!(heard(&drip(&bytes), body_len), expected, "{letters}");
            if let Some(expected) = expected.strip_suffix('.') {
                let tail = bytes_of("Zz");
                let expected = format!("{expected}z.");
                assert_eq!(heard(&[&bytes, &tail], body_len), expected, "{letters}");
            }
        }
    }

    /// All orders in which these writers can write, each its own pieces in turn.
    fn orders(writers: &[&str]) -> Vec<String> {
        if writers.iter().all(|writer| writer.is_empty()) {
            return vec![String::new()];
        }
        let mut all = Vec::new();
        for (at, writer) in writers.iter().enumerate() {
            let Some(first) = writer.get(..1) else {
                continue;
            };
            let mut rest = writers.to_vec();
            rest[at] = &writer[1..];
            all.extend(orders(&rest).iter().map(|order| format!("{first}{order}")));
        }
        all
    }

    #[test]
    fn torn_frames_are_put_together_in_all_orders() {
        let writers: [(&[&str], usize); 9] = [
            (&["Aa", "Bb"], 6),
            (&["Aa", "Xx"], 6),
            (&["Aa", "Bb", "Cc"], 90),
            (&["Aa", "Xx", "Bb"], 90),
            (&["Aa", "Xx", "Yy"], 90),
            (&["AaBb", "XxCc"], 70),
            (&["Aa1234", "Bb"], 28),
            (&["Aa1234", "Xx"], 28),
            (&["Aa1234", "Xx", "Bb"], 1260),
        ];
        for (writers, n) in writers {
            let orders = orders(writers);
            assert_eq!(orders.len(), n);
            for letters in orders {
                let (bytes, body_len) = (bytes_of(&letters), body_len_in(&letters));
                for piece_len in [bytes.len(), 97, 31] {
                    let pieces: Vec<&[u8]> = bytes.chunks(piece_len).collect();
                    assert_eq!(heard(&pieces, body_len), in_order(&letters), "{letters}");
                }
            }
        }
    }

    #[test]
    fn stream_that_ends_inside_something_is_cut_off_wherever_it_ends() {
        let bytes = bytes_of("AaCBbc");
        let clean = [0, bytes_of("Aa").len(), bytes.len()];
        for at in 0..=bytes.len() {
            let heard = heard(&[&bytes[..at]], 0);
            assert_eq!(heard.ends_with('.'), clean.contains(&at), "{at} {heard}");
        }
        let bytes = bytes_of("Aa1B2b34");
        for at in bytes_of("Aa").len()..bytes.len() {
            assert!(heard(&[&bytes[..at]], 400).ends_with('!'), "{at}");
        }
    }

    #[test]
    fn bytes_that_stand_bare_are_read_before_the_first_frame() {
        let bytes = [b"forty-four".to_vec(), bytes_of("Aa")].concat();
        for pieces in [vec![&bytes[..]], drip(&bytes)] {
            let mut reader = reader_of(&pieces, MAX_FRAME);
            assert_eq!(reader.next_bare(10).unwrap(), b"forty-four");
            assert_eq!(reader.next_frame(&opens).unwrap(), Some(token_of(b'a')));
        }
        let cut_off = reader_of(&[b"forty-fou"], MAX_FRAME).next_bare(10);
        assert!(matches!(cut_off, Err(WireError::CutOff)));
    }

    #[test]
    fn lengths_are_looked_at_before_anything_is_kept_for_them() {
        let too_long = |length, limit| format!("a frame of {length} bytes, the limit is {limit}");
        let no_token = |length| format!("a frame of {length} bytes, which no token has");
        let cut_off = || WireError::CutOff.to_string();
        let cases = [
            (0, MAX_FRAME, no_token(0)),
            (MIN_TOKEN - 4, MAX_FRAME, no_token(96)),
            (MIN_TOKEN - 1, MAX_FRAME, no_token(99)),
            (MIN_TOKEN, MAX_FRAME, cut_off()),
            (MIN_TOKEN + 1, MAX_FRAME, no_token(101)),
            (MAX_FRAME - 1, MAX_FRAME, no_token(0xf_ffff)),
            (MAX_FRAME, MAX_FRAME, cut_off()),
            (MAX_FRAME + 1, MAX_FRAME, too_long(0x10_0001, MAX_FRAME)),
            (0xff_fffc, MAX_FRAME, too_long(0xff_fffc, MAX_FRAME)),
            (MAX_GREETING_FRAME - 1, MAX_GREETING_FRAME, no_token(1023)),
            (MAX_GREETING_FRAME, MAX_GREETING_FRAME, cut_off()),
            (
                MAX_GREETING_FRAME + 1,
                MAX_GREETING_FRAME,
                too_long(1025, MAX_GREETING_FRAME),
            ),
            // No length begins with another byte than zero.
            (1 << 24, MAX_FRAME, WireError::NoLength.to_string()),
            (0xffff_ffff, MAX_FRAME, WireError::NoLength.to_string()),
        ];
        for (length, max_frame, expected) in cases {
            let length = (length as u32).to_be_bytes();
            for pieces in [vec![&length[..]], drip(&length)] {
                let mut reader = reader_of(&pieces, max_frame);
                let error = reader.next_frame(&opens).unwrap_err();
                assert_eq!(error.to_string(), expected);
                assert!(reader.buffer.capacity() <= 2 * READ_LEN);

                let mut reader = reader_of(&pieces, max_frame);
                let read = reader.next_piece(8, &mut [0; 8], &opens);
                // In a body, what begins with no zero is body.
                let is_body = matches!(read, Ok(Piece::Body(_)));
                assert_eq!(is_body, expected == WireError::NoLength.to_string());
            }
        }
    }

    #[test]
    fn longest_frame_arrives_and_the_limit_can_be_raised() {
        let longest = token(b'l', MAX_FRAME);
        let frame = encode(&longest);
        let greeting = encode(&token(b'g', MAX_GREETING_FRAME));
        let mut reader = reader_of(&[&greeting, &frame], MAX_GREETING_FRAME);
        assert_eq!(reader.next_frame(&opens).unwrap().unwrap(), greeting[4..]);
        reader.allow(MAX_FRAME);
        assert_eq!(reader.next_frame(&opens).unwrap().unwrap(), longest);
        assert_eq!(
            reader.buffer.capacity(),
            0,
            "an idle client keeps no buffer"
        );
    }

    #[test]
    fn what_cannot_be_put_together_is_an_error_with_its_numbers() {
        let garbage = [b'%'; 200];
        let many = bytes_of(&"A".repeat(MAX_OWED + 1));
        let cases: [(Vec<u8>, &str); 5] = [
            (garbage.to_vec(), " bytes that are no frame"),
            (
                [bytes_of("Aa"), garbage.to_vec()].concat(),
                "a bytes that are no frame",
            ),
            (
                [bytes_of("AB"), garbage.to_vec()].concat(),
                " 2 torn frames of which none opens",
            ),
            (
                [bytes_of("ABCb"), garbage.to_vec()].concat(),
                "b 2 torn frames of which none opens",
            ),
            (many, " more than 64 lengths without their tokens"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(heard(&[&bytes], 0), expected);
            assert_eq!(heard(&drip(&bytes), 0), expected);
        }
        let most = "A".repeat(MAX_OWED) + &"a".repeat(MAX_OWED);
        assert_eq!(heard(&[&bytes_of(&most)], 0), in_order(&most));
    }

    #[test]
    fn slow_trickle_tries_each_owed_length_once() {
        let cases: [(&str, &[usize]); 5] = [
            // A single length is taken at its word.
            ("Aa", &[]),
            ("AXxa", &[]),
            ("ABCcab", &[100, 120, 140, 100]),
            // The body begins like a token, twice; then the owed one comes.
            ("ABa1234b", &[100, 120, 120]),
            ("ABCa12c34b", &[100, 120, 140, 120, 140, 120]),
        ];
        for (letters, expected) in cases {
            let asked = RefCell::new(Vec::new());
            let opens = |token: &[u8]| {
                asked.borrow_mut().push(token.len());
                opens(token)
            };
            let (bytes, body_len) = (bytes_of(letters), body_len_in(letters));
            let heard = heard_asking(&drip(&bytes), body_len, &opens);
            assert_eq!(heard, in_order(letters));
            assert_eq!(*asked.borrow(), expected, "{letters}");
        }
    }

    #[test]
    fn interrupted_read_goes_on_and_a_failed_one_is_the_end() {
        struct Failing(Vec<io::ErrorKind>);
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(self.0.remove(0).into())
            }
        }
        let failing = Failing(vec![
            io::ErrorKind::Interrupted,
            io::ErrorKind::ConnectionReset,
        ]);
        match FrameReader::new(failing, MAX_FRAME).next_frame(&opens) {
            Err(WireError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
            other => panic!("{other:?}"),
        }
    }

    /// Bytes that mean something in a stream, in any order.
    fn hostile_stream() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let piece = prop_oneof![
            "[ABCXa-cx1-4]{1,4}".prop_map(|letters| bytes_of(&letters)),
            (0..600_u32).prop_map(|length| length.to_be_bytes().to_vec()),
            Just(TOKEN_START.to_vec()),
            Just(vec![b'A'; 3000]),
            prop::collection::vec(any::<u8>(), 1..40),
        ];
        prop::collection::vec(piece, 0..20)
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic_and_never_fill_the_buffer(
            pieces in hostile_stream(),
            reads in prop::collection::vec(prop::option::of(1..3000_u64), 1..20),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut reader = reader_of(&pieces, 500);
            let mut piece = vec![0; READ_LEN];
            for read in reads {
                let is_over = match read {
                    None => !matches!(reader.next_frame(&opens), Ok(Some(_))),
                    Some(left) => match reader.next_piece(left, &mut piece, &opens) {
                        Ok(Piece::Body(n)) => {
                            prop_assert!(0 < n && n as u64 <= left);
                            false
                        }
                        Ok(Piece::Frame(token)) => {
                            prop_assert!(opens(&token));
                            false
                        }
                        Err(_) => true,
                    },
                };
                prop_assert!(reader.front().len() < 500 + READ_LEN);
                prop_assert!(reader.owed.is_sorted() && reader.owed.len() <= MAX_OWED);
                if is_over {
                    break;
                }
            }
        }

        #[test]
        fn any_number_of_writers_cut_anywhere_are_heard_in_the_order_of_their_tokens(
            writers in prop::collection::vec("([A-CXYZ]){0,5}", 1..8),
            turns in prop::collection::vec(any::<prop::sample::Index>(), 80),
            cuts in prop::collection::vec(1..400_usize, 1..20),
        ) {
            let mut writers: Vec<VecDeque<char>> = writers
                .iter()
                .map(|lengths| lengths.chars().flat_map(|c| [c, c.to_ascii_lowercase()]).collect())
                .collect();
            let mut letters = String::new();
            for turn in turns {
                writers.retain(|writer| !writer.is_empty());
                if writers.is_empty() {
                    break;
                }
                letters.extend(turn.get_mut(&mut writers).pop_front());
            }
            letters.extend(writers.into_iter().flatten());

            let bytes = bytes_of(&letters);
            let (mut rest, mut pieces) = (&bytes[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at(rest.len().min(*cut));
                pieces.push(piece);
                rest = more;
            }
            prop_assert_eq!(heard(&pieces, 0), in_order(&letters));
        }
    }
}
