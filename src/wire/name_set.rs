//! Sets of names, as Python pickles them. They answer `/allMembers`, `/onlineMembers` and `/viewRequests`.
//!
//! [`encode`] writes pickle protocol 4 without memo or frames. Every Python from 3.4 loads it, and it names no callable:
//! `PROTO 4, EMPTY_SET, MARK, one string after the other, ADDITEMS, STOP`.
//!
//! [`decode`] reads that form and the forms that `pickle.dumps` gives a set of str. It refuses everything else, because a pickle is a program:
//!
//! ```text
//! protocol 3     PROTO 3, GLOBAL builtins.set, EMPTY_LIST, strings in batches (MARK .. APPENDS, or one APPEND), TUPLE1, REDUCE, STOP
//! protocol 4, 5  PROTO n, EMPTY_SET, strings in batches (MARK .. ADDITEMS), STOP
//! ```
//!
//! Between the opcodes Python notes what it may fetch again (the memo) and begins frames. Nothing is ever fetched here,
//! and all the bytes are there already, so both are skipped.
//!
//! Known limits: protocols 0 to 2, sets that another pickler wrote in other forms, lone surrogates, more than 100,000 names.
//! Invariant: one pass without recursion. A string is copied only after its bytes are there, so memory follows the input and not its claims.

use std::collections::BTreeSet;

use thiserror::Error;

/// Writes a set of names, of which none comes twice. No names make the empty set, not nothing: the Python client compares with one.
pub fn encode<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = vec![PROTO, 4, EMPTY_SET, MARK];
    for name in names {
        match u8::try_from(name.len()) {
            Ok(len) => bytes.extend([SHORT_BINUNICODE, len]),
            Err(_) => {
                bytes.push(BINUNICODE8);
                bytes.extend((name.len() as u64).to_le_bytes());
            }
        }
        bytes.extend(name.as_bytes());
    }
    bytes.extend([ADDITEMS, STOP]);
    bytes
}

/// What [`encode`] writes beside the bytes of a name, at most. A name of 64 characters can have 256 bytes, and then takes all of it.
pub const NAME_OVERHEAD: usize = 1 + size_of::<u64>();

/// Reads a set of names. The names are any text: whether they are legal is for `UserName` to say.
///
/// # Errors
/// The bytes are no set of str as Python writes it. The caller drops them; the stream is still in sync.
pub fn decode(bytes: &[u8]) -> Result<BTreeSet<String>, NameSetError> {
    let mut pickle = Pickle { rest: bytes };
    let names = pickle.set().filter(|_| pickle.rest.is_empty());
    names.ok_or(NameSetError)
}

/// The bytes are no such set. Where they differ from one is not said, because it would help nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a set of at most {MAX_NAMES} names as Python writes it")]
pub struct NameSetError;

/// The most names that are read: ten times what a group of fernchat can hold (10,000 members or requests), and more than a screen can use.
/// A name of three bytes takes about 60 in memory, so a hostile set takes at most some 6 MiB and the strings themselves.
pub const MAX_NAMES: usize = 100_000;

/// What is left of a pickle. `None` always means that something else stands there, or nothing more.
struct Pickle<'a> {
    rest: &'a [u8],
}

impl<'a> Pickle<'a> {
    fn set(&mut self) -> Option<BTreeSet<String>> {
        let (is_list, end_of_batch, end) = match self.array()? {
            // No opcode makes a set here: `set` is called with a list. That one callable is compared, never looked up.
            [PROTO, 3] => {
                self.rest = self.rest.strip_prefix(GLOBAL_SET)?;
                self.expect(EMPTY_LIST)?;
                (true, APPENDS, TUPLE1)
            }
            [PROTO, 4 | 5] => {
                self.expect(EMPTY_SET)?;
                (false, ADDITEMS, STOP)
            }
            _ => return None,
        };

        // Python ends a batch after 1000 strings. Its slow pickler may leave the last batch empty. A list gets a single string by APPEND.
        let mut names = BTreeSet::new();
        let mut is_in_batch = false;
        loop {
            match self.opcode()? {
                MARK if !is_in_batch => is_in_batch = true,
                opcode if opcode == end_of_batch && is_in_batch => is_in_batch = false,
                opcode if opcode == end && !is_in_batch => break,
                opcode if is_in_batch || is_list => {
                    let name = self.string(opcode)?;
                    if names.len() == MAX_NAMES || !names.insert(name) {
                        return None;
                    }
                    if !is_in_batch {
                        self.expect(APPEND)?;
                    }
                }
                _ => return None,
            }
        }

        if is_list {
            self.expect(REDUCE)?;
            self.expect(STOP)?;
        }
        Some(names)
    }

    /// The string that follows its opcode.
    fn string(&mut self, opcode: u8) -> Option<String> {
        let len = match opcode {
            SHORT_BINUNICODE => u64::from(u8::from_le_bytes(self.array()?)),
            BINUNICODE => u64::from(u32::from_le_bytes(self.array()?)),
            BINUNICODE8 => u64::from_le_bytes(self.array()?),
            _ => return None,
        };
        let (string, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        String::from_utf8(string.to_vec()).ok()
    }

    fn expect(&mut self, opcode: u8) -> Option<()> {
        (self.opcode()? == opcode).then_some(())
    }

    /// The next opcode that means something here.
    fn opcode(&mut self) -> Option<u8> {
        loop {
            match self.array()? {
                [MEMOIZE] => {}
                [BINPUT] => drop(self.array::<1>()?),
                [LONG_BINPUT] => drop(self.array::<4>()?),
                [FRAME] => {
                    let frame_len = u64::from_le_bytes(self.array()?);
                    if frame_len > self.rest.len() as u64 {
                        return None;
                    }
                }
                [opcode] => return Some(opcode),
            }
        }
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(array)
    }
}

// The opcodes, by the names of Python's pickletools.
const PROTO: u8 = 0x80;
const FRAME: u8 = 0x95;
const GLOBAL_SET: &[u8] = b"cbuiltins\nset\n";
const EMPTY_SET: u8 = 0x8F;
const EMPTY_LIST: u8 = b']';
const MARK: u8 = b'(';
const SHORT_BINUNICODE: u8 = 0x8C;
const BINUNICODE: u8 = b'X';
const BINUNICODE8: u8 = 0x8D;
const ADDITEMS: u8 = 0x90;
const APPEND: u8 = b'a';
const APPENDS: u8 = b'e';
const TUPLE1: u8 = 0x85;
const REDUCE: u8 = b'R';
const MEMOIZE: u8 = 0x94;
const BINPUT: u8 = b'q';
const LONG_BINPUT: u8 = b'r';
const STOP: u8 = b'.';

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `pickle.dumps` of Python 3.11 wrote, and the names it was given.
    const RECORDED: [(&[u8], &[&str]); 9] = [
        (b"\x80\x03cbuiltins\nset\nq\x00]q\x01\x85q\x02Rq\x03.", &[]),
        (
            b"\x80\x03cbuiltins\nset\nq\x00]q\x01X\x01\x00\x00\x00aq\x02a\x85q\x03Rq\x04.",
            &["a"],
        ),
        (
            b"\x80\x03cbuiltins\nset\nq\x00]q\x01(X\x01\x00\x00\x00bq\x02X\x02\x00\x00\x00\xC3\xA9q\x03X\x01\x00\x00\x00aq\x04e\x85q\x05Rq\x06.",
            &["a", "b", "é"],
        ),
        (b"\x80\x04\x8F\x94.", &[]),
        (
            b"\x80\x04\x95\x09\x00\x00\x00\x00\x00\x00\x00\x8F\x94(\x8C\x01a\x94\x90.",
            &["a"],
        ),
        (
            b"\x80\x04\x95\x12\x00\x00\x00\x00\x00\x00\x00\x8F\x94(\x8C\x01b\x94\x8C\x02\xC3\xA9\x94\x8C\x01a\x94\x90.",
            &["a", "b", "é"],
        ),
        (b"\x80\x05\x8F\x94.", &[]),
        (
            b"\x80\x05\x95\x09\x00\x00\x00\x00\x00\x00\x00\x8F\x94(\x8C\x01a\x94\x90.",
            &["a"],
        ),
        (
            b"\x80\x05\x95\x12\x00\x00\x00\x00\x00\x00\x00\x8F\x94(\x8C\x01b\x94\x8C\x02\xC3\xA9\x94\x8C\x01a\x94\x90.",
            &["a", "b", "é"],
        ),
    ];

    fn set(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
        names.into_iter().map(Into::into).collect()
    }

    /// The numbers below `n` as Python's slow pickler writes them at protocol 3: batches of 1000, a single left-over by `APPEND`.
    fn numbers_at_protocol_3(n: u32) -> Vec<u8> {
        let mut bytes = b"\x80\x03cbuiltins\nset\nq\x00]q\x01".to_vec();
        let numbers: Vec<u32> = (0..n).collect();
        for batch in numbers.chunks(1000) {
            if batch.len() > 1 {
                bytes.push(MARK);
            }
            for number in batch {
                let text = number.to_string();
                bytes.push(BINUNICODE);
                bytes.extend((text.len() as u32).to_le_bytes());
                bytes.extend(text.as_bytes());
                match u8::try_from(number + 2) {
                    Ok(memo) => bytes.extend([BINPUT, memo]),
                    Err(_) => {
                        bytes.push(LONG_BINPUT);
                        bytes.extend((number + 2).to_le_bytes());
                    }
                }
            }
            bytes.push(if batch.len() > 1 { APPENDS } else { APPEND });
        }
        bytes.extend(b"\x85r\xFF\xFF\x00\x00Rr\x00\x00\x01\x00.");
        bytes
    }

    /// The numbers below `n` as Python's slow pickler writes them at protocol 4: a full batch is followed by one more, perhaps empty.
    fn numbers_at_protocol_4(n: u32) -> Vec<u8> {
        let mut bytes = vec![EMPTY_SET, MEMOIZE, MARK];
        for number in 0..n {
            let digits = number.to_string();
            bytes.extend([SHORT_BINUNICODE, digits.len() as u8]);
            bytes.extend(digits.as_bytes());
            bytes.push(MEMOIZE);
            if number % 1000 == 999 {
                bytes.extend([ADDITEMS, MARK]);
            }
        }
        bytes.extend([ADDITEMS, STOP]);
        let mut framed = vec![PROTO, 4, FRAME];
        framed.extend((bytes.len() as u64).to_le_bytes());
        framed.extend(bytes);
        framed
    }

    #[test]
    fn sets_that_python_wrote_are_read() {
        for (bytes, names) in RECORDED {
            assert_eq!(decode(bytes), Ok(set(names.iter().copied())), "{bytes:?}");
        }
    }

    #[test]
    fn batches_of_a_thousand_are_read() {
        for n in [999, 1000, 1001, 2500] {
            let names = set((0..n).map(|number| number.to_string()));
            assert_eq!(decode(&numbers_at_protocol_3(n)).as_ref(), Ok(&names));
            assert_eq!(decode(&numbers_at_protocol_4(n)).as_ref(), Ok(&names));
        }
    }

    #[test]
    fn long_strings_and_frames_in_odd_places_are_read() {
        // Python ends a frame before a string of 64 KiB and may begin the next one between that string and its memo.
        let long = "x".repeat(70_000);
        let mut bytes =
            b"\x80\x05\x95\x03\x00\x00\x00\x00\x00\x00\x00\x8F\x94(X\x70\x11\x01\x00".to_vec();
        bytes.extend(long.as_bytes());
        bytes.extend(b"\x95\x0F\x00\x00\x00\x00\x00\x00\x00\x94\x8D\x02\x00\x00\x00\x00\x00\x00\x00\xC3\xA9\x94\x90.");
        assert_eq!(decode(&bytes), Ok(set([long.as_str(), "é"])));
    }

    #[test]
    fn a_written_set_is_short_and_complete() {
        assert_eq!(encode([]), b"\x80\x04\x8F(\x90.");
        assert_eq!(
            encode(["b", "é"]),
            b"\x80\x04\x8F(\x8C\x01b\x8C\x02\xC3\xA9\x90."
        );
        for (len, head) in [
            (255, &b"(\x8C\xFF"[..]),
            (256, b"(\x8D\x00\x01\x00\x00\x00\x00\x00\x00"),
        ] {
            let bytes = encode([&*"x".repeat(len)]);
            assert!(bytes[3..].starts_with(head));
        }
    }

    #[test]
    fn a_set_cut_anywhere_is_refused() {
        for (bytes, _) in RECORDED {
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "{bytes:?} {end}");
            }
        }
        for bytes in [numbers_at_protocol_3(1001), numbers_at_protocol_4(1001)] {
            // Each byte at both ends, one in 101 between: all of them would take seconds.
            let ends = (0..100).chain((100..bytes.len() - 100).step_by(101));
            for end in ends.chain(bytes.len() - 100..bytes.len()) {
                assert!(decode(&bytes[..end]).is_err());
            }
        }
    }

    #[test]
    fn bytes_behind_a_set_are_refused() {
        for (bytes, _) in RECORDED {
            for tail in [&b"."[..], b"\x00\x00", b"\x80\x04\x8F."] {
                assert_eq!(decode(&[bytes, tail].concat()), Err(NameSetError));
            }
        }
    }

    #[test]
    fn other_pickles_are_refused() {
        let others: [(&str, &[u8]); 22] = [
            ("nothing", b""),
            ("text", b"alice: hello"),
            (
                "protocol 2",
                b"\x80\x02c__builtin__\nset\nq\x00]q\x01\x85q\x02Rq\x03.",
            ),
            ("protocol 6", b"\x80\x06\x8F\x94."),
            ("None", b"\x80\x04N."),
            ("dict", b"\x80\x04}\x94."),
            ("list", b"\x80\x04]\x94."),
            ("list, protocol 3", b"\x80\x03]q\x00."),
            ("tuple", b"\x80\x04)."),
            ("frozenset", b"\x80\x04(\x91\x94."),
            ("set of a frozenset", b"\x80\x04\x8F\x94((\x91\x94\x90."),
            ("set in a list", b"\x80\x04]\x94\x8F\x94a."),
            ("set of int", b"\x80\x04\x8F\x94(K\x01\x90."),
            ("set of bytes", b"\x80\x04\x8F\x94(C\x01a\x94\x90."),
            (
                "set of int, protocol 3",
                b"\x80\x03cbuiltins\nset\nq\x00]q\x01K\x01a\x85q\x02Rq\x03.",
            ),
            (
                "set with a get",
                b"\x80\x04\x8F\x94(\x8C\x01a\x94h\x01\x90.",
            ),
            (
                "os.system",
                b"\x80\x03cposix\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
            ),
            (
                "os.system, protocol 4",
                b"\x80\x04\x8C\x05posix\x94\x8C\x06system\x94\x93\x94\x8C\x02id\x94\x85\x94R\x94.",
            ),
            (
                "os.system in a set",
                b"\x80\x04\x8F\x94(cposix\nsystem\n\x8C\x02id\x85R\x90.",
            ),
            ("None in a set", b"\x80\x04\x8FN."),
            ("append to a set", b"\x80\x04\x8F\x8C\x01aa."),
            (
                "frame at protocol 3",
                b"\x80\x03\x95\x00\x00\x00\x00\x00\x00\x00\x00cbuiltins\nset\n]\x85R.",
            ),
        ];
        for (what, bytes) in others {
            assert!(decode(bytes).is_err(), "{what}");
        }
    }

    #[test]
    fn surrogates_and_repeated_names_are_refused() {
        let surrogate = b"\x80\x04\x8F\x94(\x8C\x03\xED\xA0\x80\x94\x90.";
        assert_eq!(decode(surrogate), Err(NameSetError));
        let repeated = b"\x80\x04\x8F(\x8C\x01a\x8C\x01a\x90.";
        assert_eq!(decode(repeated), Err(NameSetError));
    }

    #[test]
    fn a_length_that_is_only_claimed_is_refused() {
        for bytes in [
            &b"\x80\x04\x8F(\x8C\xFFa\x90."[..],
            b"\x80\x04\x8F(X\xFF\xFF\xFF\xFFa\x90.",
            b"\x80\x04\x8F(\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFa\x90.",
            b"\x80\x04\x95\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x8F.",
            b"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00\x8F.",
        ] {
            assert_eq!(decode(bytes), Err(NameSetError));
        }
    }

    #[test]
    fn the_limit_of_names_holds() {
        for n in [MAX_NAMES - 1, MAX_NAMES, MAX_NAMES + 1] {
            let names = set((0..n).map(|number| number.to_string()));
            let read = decode(&encode(names.iter().map(String::as_str)));
            if n > MAX_NAMES {
                assert_eq!(read, Err(NameSetError))
            } else {
                assert_eq!(read, Ok(names))
            }
        }
    }

    /// Opcodes strung together, which get further into the decoder than arbitrary bytes do.
    fn opcodes() -> impl Strategy<Value = Vec<u8>> {
        let piece = proptest::sample::select(vec![
            GLOBAL_SET,
            b"\x8F",
            b"]",
            b"(",
            b"\x8C\x01a",
            b"X\x01\x00\x00\x00b",
            b"\x90",
            b"a",
            b"e",
            b"\x85",
            b"R",
            b"\x94",
            b"q\x00",
            b"r\x00\x00\x00\x00",
            b".",
            b"\x95\x01\x00\x00\x00\x00\x00\x00\x00",
        ]);
        (3..6u8, proptest::collection::vec(piece, 0..12))
            .prop_map(|(protocol, pieces)| [&[PROTO, protocol][..], &pieces.concat()].concat())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(names: BTreeSet<String>) {
            prop_assert_eq!(decode(&encode(names.iter().map(String::as_str))), Ok(names));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop_oneof![any::<Vec<u8>>(), opcodes()]) {
            if let Ok(names) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(names.iter().map(String::as_str))), Ok(names));
            }
        }
    }
}
