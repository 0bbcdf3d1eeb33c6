//! Frames: how tokens are cut out of the byte stream, and written into it.
//!
//! A frame is a 4-byte big-endian length in bytes, then a token of that length. A body, the token of a file, has no length in front: the
//! caller knows it from the frame before. Knows nothing of keys, commands or sockets. Bytes go in, tokens come out.
//!
//! The first byte says what comes next: a length begins with a zero byte, because no frame reaches 16 MiB. Tokens and bodies are base64,
//! which has no zero byte. Two Python threads that write at once can tear their frames apart: `torn.rs` puts these together.
//!
//! Invariant: the buffer holds less than [`MAX_FRAME`] and one read, however long a frame is announced. It grows only as bytes arrive.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use byteorder::{BigEndian, ByteOrder};
use thiserror::Error;

use super::torn::Owed;

/// The longest token that a frame may carry, in bytes. Holds the token of a [`MAX_TEXT`] text and its sender's name.
pub const MAX_FRAME: usize = 1 << 20;

/// The longest text that a frame may carry, in bytes: people paste whole files into a chat.
pub const MAX_TEXT: usize = 512 << 10;

/// The longest token while a client is joining, in bytes: two names fit, and a stranger gets no more.
pub const MAX_GREETING_FRAME: usize = 1 << 10;

/// How much of a body is read, stored and written at once, in bytes, by both ends.
pub const BODY_STEP: usize = 256 << 10;

/// The shortest token there is, in bytes: that of the empty text.
const MIN_TOKEN: usize = 100;

/// How much is read at once, in bytes, if no longer frame is due: some lines. It lies on the stack of each client that waits.
const READ_LEN: usize = 1 << 10;

/// How much is read at once, in bytes, while a longer frame is due.
const REST_LEN: usize = 16 << 10;

/// Writes the frame of a token. Length and token are one piece, because a Python peer reads the length with a single call, and
/// misreads it if it arrives split.
pub fn encode(token: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4 + token.len()];
    BigEndian::write_u32(&mut frame, token.len() as u32);
    frame[4..].copy_from_slice(token);
    frame
}

/// Cuts tokens and bodies out of a stream of bytes.
pub struct FrameReader<R> {
    stream: R,
    /// Bytes that were read; those from `used` on are not yet used.
    buffer: Vec<u8>,
    used: usize,
    /// The lengths that came and whose tokens did not yet: one at most, if no frame is torn.
    owed: Owed,
    max_frame: usize,
}

/// A piece of what arrives while a body is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// This many bytes of the body stand at the beginning of the caller's buffer. At least one.
    Body(usize),
    /// The token of a frame that came inside the body.
    Frame(Vec<u8>),
}

impl<R: Read> FrameReader<R> {
    /// Reads from `stream`. A frame whose token is longer than `max_frame` bytes is an error.
    pub fn new(stream: R, max_frame: usize) -> FrameReader<R> {
        FrameReader {
            stream,
            buffer: Vec::new(),
            used: 0,
            owed: Owed::default(),
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

    /// How many bytes have been read and not been returned yet.
    pub fn n_held(&self) -> usize {
        self.front().len()
    }

    /// Reads the next frame and returns its token, or `None` at the end of the stream. Whether the token opens is not asked, except of
    /// torn frames: there `opens` decides which length is the token's.
    ///
    /// # Errors
    /// Any of them means that the stream cannot be read on: the caller ends the connection.
    pub fn next_frame(
        &mut self,
        opens: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, WireError> {
        loop {
            while self.take_length()? {}
            let front = &self.buffer[self.used..];
            let is_token = front.first().is_some_and(|byte| *byte != 0);
            let length = match self.owed.only() {
                _ if !is_token => None,
                Some(length) => (length <= front.len()).then_some(length),
                None => self.owed.token_at(front, opens)?,
            };
            if let Some(length) = length {
                return Ok(Some(self.take_token(length)));
            }
            if self.fill()? == 0 {
                let is_clean = self.front().is_empty() && self.owed.lengths.is_empty();
                return is_clean.then_some(None).ok_or(WireError::CutOff);
            }
        }
    }

    /// Reads on in a body of which `left` bytes are still due, at most into `piece`. Call it until `left` bytes have come.
    ///
    /// # Errors
    /// As [`FrameReader::next_frame`]. Here the end of the stream is an error, too.
    pub fn next_piece(
        &mut self,
        left: u64,
        piece: &mut [u8],
        opens: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Piece, WireError> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        if self.front().is_empty() {
            // Straight into the caller's buffer.
            let n = read(&mut self.stream, &mut piece[..most])?;
            if n == 0 {
                return Err(WireError::CutOff);
            }
            if self.owed.body_len(&piece[..n], n) == n {
                return Ok(Piece::Body(n));
            }
            self.buffer.extend_from_slice(&piece[..n]);
        }
        loop {
            let front = &self.buffer[self.used..];
            let mut n_body = self.owed.body_len(front, most);
            if n_body == 0 && front.first().is_some_and(|byte| *byte != 0) {
                match self.owed.token_at(front, opens) {
                    Ok(Some(length)) => return Ok(Piece::Frame(self.take_token(length))),
                    Ok(None) => {}
                    Err(_) if self.owed.allows_false_alarm() => n_body = 1,
                    Err(error) => return Err(error),
                }
            }
            if n_body > 0 {
                piece[..n_body].copy_from_slice(&self.front()[..n_body]);
                self.advance(n_body);
                return Ok(Piece::Body(n_body));
            }
            if !self.take_length()? && self.fill()? == 0 {
                return Err(WireError::CutOff);
            }
        }
    }

    /// Whether the next frame has come whole, so that [`FrameReader::next_frame`] would not wait for the stream.
    pub fn has_frame(&self) -> bool {
        let front = self.front();
        let length = front.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        length.is_some_and(|length| front.len() - 4 >= length as usize)
    }

    /// Moves the length at the front of the buffer, if it is all there, to those that are owed a token.
    fn take_length(&mut self) -> Result<bool, WireError> {
        let Some(bytes @ [0, ..]) = self.front().first_chunk::<4>() else {
            return Ok(false);
        };
        let length = BigEndian::read_u32(bytes) as usize;
        if length > self.max_frame {
            let limit = self.max_frame;
            return Err(WireError::TooLong { length, limit });
        }
        if length < MIN_TOKEN || length % 4 != 0 {
            return Err(WireError::NoTokenIs(length));
        }
        self.owed.push(length)?;
        self.advance(4);
        Ok(true)
    }

    /// Takes the token of this length, which is there, from the front of the buffer.
    fn take_token(&mut self, length: usize) -> Vec<u8> {
        self.owed.remove(length);
        let token = self.front()[..length].to_vec();
        self.advance(length);
        token
    }

    fn advance(&mut self, n: usize) {
        self.used += n;
        if self.front().is_empty() {
            self.buffer = Vec::new(); // an idle client keeps none
            self.used = 0;
        }
    }

    /// The bytes that are not yet used.
    fn front(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    /// Reads what has arrived, at least one byte, into the buffer; 0 is the end of the stream.
    fn fill(&mut self) -> Result<usize, WireError> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let (mut first, mut rest) = ([0; READ_LEN], Vec::new());
        let mut bytes = &mut first[..];
        if self.owed.lengths.last() > Some(&READ_LEN) {
            rest.resize(REST_LEN, 0);
            bytes = &mut rest;
        }
        let n = read(&mut self.stream, bytes)?;
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }
}

fn read(stream: &mut impl Read, buffer: &mut [u8]) -> Result<usize, WireError> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

/// Writes a body of `len` bytes behind the frame that says its length, at most `step` bytes at once. `read_at` copies the bytes at an
/// offset of the body into a buffer and returns their number; if that is 0, the body ends there. Returns how many bytes of the body were
/// written. If none were, the frame was not written either. The frame is shorter than a step.
///
/// The frame and the first piece go in one write, because a Python client reads the whole body with one call.
pub fn write_body(
    stream: &mut dyn Write,
    frame: &[u8],
    len: u64,
    step: usize,
    mut read_at: impl FnMut(u64, &mut [u8]) -> usize,
) -> io::Result<u64> {
    let mut buffer = vec![0; step];
    buffer[..frame.len()].copy_from_slice(frame);
    let (mut start, mut written) = (frame.len(), 0);
    while written < len {
        let end = step.min(start + (len - written).min(step as u64) as usize);
        let n = read_at(written, &mut buffer[start..end]);
        if n == 0 {
            break;
        }
        stream.write_all(&buffer[..start + n])?;
        written += n as u64;
        start = 0;
    }
    Ok(written)
}

/// How long the next piece of a body to a fernchat end is. A line may wait for it, so it is what the link takes in [`PIECE_TIME`]. So a
/// line between two pieces is not late on a slow link, and a fast link has long pieces.
pub struct PieceLen {
    len: usize,
    since: Instant,
    /// How many bytes were written since then.
    n_written: usize,
}

/// The first and the shortest piece, in bytes.
const MIN_PIECE: usize = 8 << 10;

/// How long a piece should take to write.
const PIECE_TIME: Duration = Duration::from_millis(50);

/// How long the link is looked at before the length changes. The system takes a burst at once, also on a slow link.
const LOOK_TIME: Duration = Duration::from_millis(200);

impl Default for PieceLen {
    fn default() -> PieceLen {
        PieceLen {
            len: MIN_PIECE,
            since: Instant::now(),
            n_written: 0,
        }
    }
}

impl PieceLen {
    /// The length of the next piece, in bytes.
    pub fn next(&self) -> usize {
        self.len
    }

    /// A piece of this length has been written.
    pub fn wrote(&mut self, n: usize) {
        self.n_written += n;
        let time = self.since.elapsed();
        if time >= LOOK_TIME {
            let len = self.n_written as f64 * PIECE_TIME.div_duration_f64(time);
            // A multiple of 4, as is a body.
            self.len = (len as usize & !3).clamp(MIN_PIECE, BODY_STEP);
            (self.since, self.n_written) = (Instant::now(), 0);
        }
    }
}

/// Why a stream of frames cannot be read on. All but [`WireError::Io`] and [`WireError::CutOff`] mean that the peer broke the protocol.
#[derive(Debug, Error)]
pub enum WireError {
    /// A frame announces more bytes than the limit, both in bytes.
    #[error("a frame of {length} bytes, the limit is {limit}")]
    TooLong {
        /// What the frame announces.
        length: usize,
        /// What is allowed at this point.
        limit: usize,
    },
    /// A frame announces a length, in bytes, that no token has.
    #[error("a frame of {0} bytes, which no token has")]
    NoTokenIs(usize),
    /// Bytes that are no length where a length is due.
    #[error("bytes that are no frame")]
    NoLength,
    /// More lengths than this limit came without their tokens.
    #[error("more than {0} lengths without their tokens")]
    TooTorn(usize),
    /// Of this many lengths that are owed a token, none gives one that opens.
    #[error("{0} torn frames of which none opens")]
    NoneOpens(usize),
    /// A token that does not open: another key, or altered on its way.
    #[error("a token that does not open")]
    NotOpened,
    /// A text that is not UTF-8.
    #[error("a text that is not UTF-8")]
    NotUtf8,
    /// A text of this many bytes, more than [`MAX_TEXT`].
    #[error("a text of {0} bytes, the limit is {MAX_TEXT}")]
    TextTooLong(usize),
    /// A frame that cannot be the step that is due, which is named here.
    #[error("a frame that is not {0}")]
    NotTheStep(&'static str),
    /// The stream ended inside a frame or a body.
    #[error("the stream ended inside a frame")]
    CutOff,
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What every token begins with: the version byte and the high bytes of a time stamp before the year 4147.
pub const TOKEN_START: &[u8] = b"gAAAAA";

/// Whether these bytes begin as a token does, as far as they go.
pub fn begins_token(bytes: &[u8]) -> bool {
    let n = bytes.len().min(TOKEN_START.len());
    bytes[..n] == TOKEN_START[..n]
}

/// The last characters of a token, or of its frame. They carry the end of the HMAC, so no two tokens have the same.
pub fn mark(token: &[u8]) -> String {
    String::from_utf8_lossy(&token[token.len().saturating_sub(MARK_LEN)..]).into_owned()
}

/// The length of a [`mark`], in characters.
const MARK_LEN: usize = 24;

#[cfg(test)]
pub(in crate::wire) mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::torn::MAX_OWED;

    // A stream in letters: `A` is the length of token `a`, and so on; `1` to `4` are the parts of a body, due behind token `a`.
    // What is heard, in letters: tokens; `#` is a whole body, `.` a clean end, `!` an end inside something.

    pub fn bytes_of(letters: &str) -> Vec<u8> {
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

    pub fn token_of(letter: u8) -> Vec<u8> {
        let len = match letter {
            b'b' => 120,
            b'c' => 140,
            _ => 100,
        };
        token(letter, len)
    }

    /// A token as far as this module can tell: it begins as all do, and its last characters say whether it is whole.
    pub fn token(fill: u8, len: usize) -> Vec<u8> {
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

    pub fn opens(token: &[u8]) -> bool {
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

    /// A stream that gives one of these pieces at each read, and counts the reads.
    pub struct Pieces(VecDeque<Vec<u8>>, usize);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
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

    pub fn reader_of(pieces: &[&[u8]], max_frame: usize) -> FrameReader<Pieces> {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty());
        let pieces = pieces.map(|piece| piece.to_vec()).collect();
        FrameReader::new(Pieces(pieces, 0), max_frame)
    }

    pub fn drip(bytes: &[u8]) -> Vec<&[u8]> {
        bytes.chunks(1).collect()
    }

    /// What is heard if a body of `body_len` bytes is due behind token `a`.
    pub fn heard(pieces: &[&[u8]], body_len: usize) -> String {
        heard_asking(pieces, body_len, &opens)
    }

    pub fn heard_asking(
        pieces: &[&[u8]],
        body_len: usize,
        opens: &dyn Fn(&[u8]) -> bool,
    ) -> String {
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

    pub fn body_len_in(letters: &str) -> usize {
        100 * letters.bytes().filter(u8::is_ascii_digit).count()
    }

    /// What is to be heard: tokens in the order in which they came, however they were torn.
    pub fn in_order(letters: &str) -> String {
        let mut heard = letters.replace('4', "#");
        heard.retain(|letter| letter.is_ascii_lowercase() || letter == '#');
        heard + "."
    }

    #[test]
    fn frame_is_there_when_all_its_bytes_are() {
        let frame = encode(&token_of(b'a'));
        for n in 0..frame.len() {
            let mut reader = FrameReader::new(&b""[..], MAX_FRAME);
            reader.buffer = frame[..n].to_vec();
            assert!(!reader.has_frame(), "{n}");
        }
        let mut reader = FrameReader::new(&b""[..], MAX_FRAME);
        reader.buffer = [&frame[..], b"\0"].concat();
        assert!(reader.has_frame());
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
        assert_eq!(reader.buffer.capacity(), 0);
        assert!(reader.stream.1 < 300, "{} reads", reader.stream.1);
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
        fn any_interleaving_of_frames_and_pieces_of_a_body_gives_the_same_frames_and_the_same_body(
            parts in prop::collection::vec(("[gA0-9a-z]{0,300}", prop::option::of("[a-cxyz]")), 1..12),
            cuts in prop::collection::vec(1..500_usize, 1..20),
        ) {
            // Every other piece begins as a token does. Behind each there is a frame, or none.
            let (mut stream, mut body, mut frames) = (Vec::new(), Vec::new(), String::new());
            for (n, (piece, frame)) in parts.iter().enumerate() {
                let piece = [if n % 2 == 0 { TOKEN_START } else { b"" }, piece.as_bytes()].concat();
                stream.extend_from_slice(&piece);
                body.extend_from_slice(&piece);
                if let Some(letter) = frame {
                    stream.extend(encode(&token_of(letter.as_bytes()[0])));
                    frames += letter;
                }
            }
            stream.extend(encode(&token_of(b'a')));
            let (mut rest, mut reads) = (&stream[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (read, more) = rest.split_at(rest.len().min(*cut));
                reads.push(read);
                rest = more;
            }
            let mut reader = reader_of(&reads, MAX_FRAME);
            let (mut got, mut heard, mut piece) = (Vec::new(), Vec::new(), vec![0; 64]);
            while got.len() < body.len() {
                let left = (body.len() - got.len()) as u64;
                match reader.next_piece(left, &mut piece, &opens).unwrap() {
                    Piece::Body(n) => got.extend_from_slice(&piece[..n]),
                    Piece::Frame(token) => heard.push(token),
                }
            }
            while let Some(token) = reader.next_frame(&opens).unwrap() {
                heard.push(token);
            }
            prop_assert!(got == body);
            let frames: Vec<Vec<u8>> = frames.bytes().chain([b'a']).map(token_of).collect();
            prop_assert!(heard == frames);
        }

        #[test]
        fn arbitrary_bytes_never_panic_and_never_fill_the_buffer(
            pieces in hostile_stream(),
            reads in prop::collection::vec(prop::option::of(1..3000_u64), 1..20),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut reader = reader_of(&pieces, 500);
            let mut piece = vec![0; REST_LEN];
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
                prop_assert!(reader.front().len() < 500 + REST_LEN);
                prop_assert!(reader.owed.lengths.is_sorted() && reader.owed.lengths.len() <= MAX_OWED);
                if is_over {
                    break;
                }
            }
        }
    }
}
