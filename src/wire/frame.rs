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

/// The shortest token there is, in bytes: that of the empty text.
const MIN_TOKEN: usize = 100;

/// What every token begins with: the version byte and the high bytes of a time stamp before the year 4147.
const TOKEN_START: &[u8] = b"gAAAAA";

/// How much is asked of the stream at once, in bytes. Lies on the stack, so that an idle client keeps no buffer.
const READ_LEN: usize = 8 << 10;

/// Writes the frame of a token: its length and the token in one piece, because the Python peers read the length with a single
/// call and misread it if it arrives split.
pub fn encode(token: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4 + token.len()];
    BigEndian::write_u32(&mut frame, token.len() as u32);
    frame[4..].copy_from_slice(token);
    frame
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
                    Cut::NoToken => return Ok(self.take_body(1, piece)),
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
        let may_start_token = |at: &usize| {
            let rest = &self.front()[*at..zero];
            let n = rest.len().min(TOKEN_START.len());
            rest[..n] == TOKEN_START[..n]
        };
        (0..zero).find(may_start_token).unwrap_or(zero)
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

impl std::error::Error for WireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WireError::Io(error) => Some(error),
            _ => None,
        }
    }
}
