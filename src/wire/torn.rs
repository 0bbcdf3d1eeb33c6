//! Torn frames: which token belongs to which length, when several threads wrote at once.
//!
//! The Python programs write length and token in two calls, from several threads, without a lock. What arrives is
//! `length length token token`, in some order. Such a frame, whole or torn, can also come inside a file's body.
//!
//! ```text
//!            0x00: a length          it is owed a token
//!   next byte
//!            else: a token           of one of the owed lengths; where they differ, the shortest that opens
//!
//!   in a body, 0x00: a length; `gAAAAA` while a token is owed: that token, if it opens; else: body
//! ```
//!
//! Invariant: however slowly bytes arrive, no length is tried twice on the same token. No byte of a body is looked at again before it
//! is used.

use super::frame::{WireError, begins_token};

/// How many tokens may be owed at one time. A Python client has two threads that write. A Python server has one for each member that
/// speaks in the same millisecond.
pub(super) const MAX_OWED: usize = 64;

/// A body begins like any token, so inside a body data can look like the start of an owed token. This many such false alarms are allowed
/// from one token to the next. Each costs one check of every length that is owed.
const MAX_FALSE_ALARMS: usize = 16;

/// The lengths that came, and whose tokens did not yet.
#[derive(Default)]
pub(super) struct Owed {
    /// Sorted.
    pub(super) lengths: Vec<usize>,
    /// The owed lengths up to this one have been tried on the token that is arriving, and it does not open with them.
    refuted: usize,
    n_false_alarms: usize,
}

impl Owed {
    /// The length of the next token, if there is no choice.
    pub(super) fn only(&self) -> Option<usize> {
        let first = self.lengths.first();
        first.filter(|_| first == self.lengths.last()).copied()
    }

    pub(super) fn push(&mut self, length: usize) -> Result<(), WireError> {
        if self.lengths.len() == MAX_OWED {
            return Err(WireError::TooTorn(MAX_OWED));
        }
        let at = self.lengths.partition_point(|owed| *owed < length);
        self.lengths.insert(at, length);
        Ok(())
    }

    pub(super) fn remove(&mut self, length: usize) {
        if let Ok(at) = self.lengths.binary_search(&length) {
            self.lengths.remove(at);
        }
        self.refuted = 0;
        self.n_false_alarms = 0;
    }

    /// The length of the token at the front: the shortest that is owed and opens. `None`: it has not arrived as a whole.
    pub(super) fn token_at(
        &mut self,
        front: &[u8],
        opens: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<usize>, WireError> {
        for length in &self.lengths {
            if *length <= self.refuted {
                continue;
            }
            match front.get(..*length) {
                None => return Ok(None),
                Some(token) if opens(token) => return Ok(Some(*length)),
                Some(_) => self.refuted = *length,
            }
        }
        self.refuted = 0;
        Err(match self.lengths.len() {
            0 => WireError::NoLength,
            n => WireError::NoneOpens(n),
        })
    }

    /// How many of the first `most` bytes at the front are body: those before the next length, or before what may be an owed token.
    pub(super) fn body_len(&self, front: &[u8], most: usize) -> usize {
        let most = most.min(front.len());
        if self.lengths.is_empty() && !front[..most].contains(&0) {
            return most; // the plain case, and the fast one
        }
        let ends_body = |at: &usize| {
            #[cfg(test)]
            tests::N_SCANNED.set(tests::N_SCANNED.get() + 1);
            front[*at] == 0 || !self.lengths.is_empty() && begins_token(&front[*at..])
        };
        (0..most).find(ends_body).unwrap_or(most)
    }

    /// Whether what looked like a token inside a body, and is none, may be body.
    pub(super) fn allows_false_alarm(&mut self) -> bool {
        self.n_false_alarms += 1;
        self.n_false_alarms <= MAX_FALSE_ALARMS
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::tests::*;
    use crate::wire::frame::{MAX_FRAME, Piece, TOKEN_START};

    thread_local! {
        /// How many bytes of bodies have been looked at, one by one.
        pub static N_SCANNED: Cell<usize> = const { Cell::new(0) };
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
    fn however_slowly_a_body_arrives_none_of_it_is_looked_at_twice() {
        // A body that begins like the longest token there is, while that one is owed.
        let owed = token(b'l', MAX_FRAME);
        let mut body = vec![b'b'; MAX_FRAME + 1000];
        body[..TOKEN_START.len()].copy_from_slice(TOKEN_START);
        let length = (MAX_FRAME as u32).to_be_bytes();
        let stream = [&length[..], &body, &owed].concat();
        for read_len in [100, 4096] {
            let pieces: Vec<&[u8]> = stream.chunks(read_len).collect();
            let mut reader = reader_of(&pieces, MAX_FRAME);
            let (mut got, mut piece) = (Vec::new(), vec![0; 256 << 10]);
            N_SCANNED.set(0);
            while got.len() < body.len() {
                match reader.next_piece((body.len() - got.len()) as u64, &mut piece, &opens) {
                    Ok(Piece::Body(n)) => got.extend_from_slice(&piece[..n]),
                    other => panic!("{other:?}"),
                }
            }
            assert!(got == body);
            let n_reads = pieces.len();
            assert!(N_SCANNED.get() <= stream.len() + n_reads);
            assert!(reader.next_frame(&opens).unwrap() == Some(owed.clone()));
        }
    }

    proptest! {
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
