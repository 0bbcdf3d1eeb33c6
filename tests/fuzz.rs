//! Fuzzing on the stable toolchain: everything that parses bytes from the network gets valid input that is changed a little.
//!
//! A *case* is one number, the seed. It decides which inputs are taken, how they are changed, and where they are cut. Each test says what
//! must hold. For all of them: nothing panics, and everything ends. The tests share [`seconds`] of time: 5, or `FUZZ_SECONDS`;
//! `make fuzz SECONDS=600` runs longer. A failure prints its seed, and `FUZZ_SEED=... cargo test --test fuzz NAME` runs that
//! case alone. (If a real server or client takes part, its key is new each time, so such a case repeats except for the key.)

mod support;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use fernchat::relay::splitter::{MAX_TOKEN, Piece, Splitter};
use fernchat::seal::{
    BodyCheck, BodyOpener, BodySealer, Key, RoomFile, RoomLine, Secret, StampedLine,
};
use fernchat::wire::command::{Command, Dialect};
use fernchat::wire::frame::{self, FrameReader};
use fernchat::wire::name::{FileName, GroupName, UserName, is_harmful};
use fernchat::wire::name_set;
use fernet::Fernet;
use support::faults::{End, Footprint};
use support::{DEADLINE, Peer, Program, Server, fernchat, folder};

/// The number of tests here, which share the time.
const N_TESTS: u32 = 9;

const KEY: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";

/// Tokens that Python's Fernet made with that key: of no text, a command, a line, 40 letters, and the bytes from 0 to 199.
const TOKENS: [&str; 5] = [
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAlUmnUsx2xOx6ISrCTpvgolfACmYVKg-pj6u5kOEpVrhQ==",
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0ODzRqRNIyYVyAxZPGw1wmb-o6w4mlbqPFr_x1zVcn436q65BqlCj2iCpRJ6QwSSAdiA==",
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0ODxOpUJ4DKgkND8xLFv0eZKgMivjUBeumGFxyr-ZWpnKViZP5flxxXjimYAmAcpOUV7dKMMNplvFtbw4Mz6QZcBE=",
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD9O-hSSAA1cDYH_uVfvb_j3D-1fzy-VwrXV00j2FAEDTOHv7jNCWWTioNmyQGcq611y4_bPbYANQWF3fO9jiOzOEjJZ5yj-NS-E0EyDIsLz4",
    "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD9YyNpH6XNLBFrnzTrxVBi8PVg3bwG4_Z_fZPjz5C6FIuv3uIUT1QeGkjG6mBBmmacTSR_Ddt9B2IFi60QX7YfdPmnkJjIA8dHGJtlVai5MLNw5_CNoGMZYGtyvrXt42f2iNdgrRHk7NJzKGEZl4_o9JT904DixiZ2ExN85vzm3Hahy6RCvN9_YIGgbOIbXEhvqbpSCWQLVszdBNhn1KdD0Y6xqhdHWjFsC-yM8Ol_6KicggilgZtQs5fjxxtfNiX4vleKetqEt106rojFVEI-rk8SQ7D5xMhaFRBuJ6hkFV5xbICLMwrtrmiWZrS_7xWw==",
];

/// Bytes that mean something to a parser.
const MAGIC: [&[u8]; 26] = [
    b"\0\0\0\x64",
    b"\0\0\0\x78",
    b"\0\x10\0\0",
    b"\0\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\0",
    b"gAAAAA",
    b"gAA",
    b"=",
    b"==",
    b"\x80\x04",
    b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x95\0\0\0\0\0\0\0\x80",
    b"cbuiltins\nset\n",
    b"(",
    b"\x90",
    b".",
    b"..",
    b"/",
    b"\\",
    b"C:",
    b"NUL.",
    b": ",
    b"[09:05:00] ",
    "\u{202e}\u{2066}".as_bytes(),
    b"\x1b[2J",
];

// ---- the fuzzer ----

/// Numbers that follow from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        // Seeds that lie next to each other must not give numbers that do.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`, or 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 16) as usize % n.max(1)
    }

    fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// One of the corpus, changed a little, or not at all.
    fn mutant(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(corpus).clone();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below((bytes.len() - at).min(40) + 1);
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = self.next() as u8,
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at),
                4 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                5 => drop(bytes.splice(at..end, self.pick(&MAGIC).to_vec())),
                _ => {
                    let other = self.pick(corpus);
                    let from = self.below(other.len());
                    bytes.splice(at.., other[from..].to_vec());
                }
            }
        }
        bytes
    }

    /// Cuts bytes into pieces, most of them small.
    fn pieces<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let most = 1 + self.below(90.max(bytes.len() / 10));
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at((1 + self.below(most)).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }
}

/// How long all tests here may take together.
fn seconds() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(5, |seconds| {
        seconds.parse().expect("FUZZ_SECONDS is a number")
    });
    Duration::from_secs(seconds)
}

/// Runs cases until the time is up. A case that fails, or does not end, is named by its seed.
fn fuzz(check: impl Fn(&mut Random) + Send + 'static) {
    let wanted: Option<u64> = std::env::var("FUZZ_SEED")
        .ok()
        .map(|seed| seed.parse().expect("FUZZ_SEED is a number"));
    let first =
        wanted.unwrap_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64);
    let time = seconds() / N_TESTS;
    let now = Arc::new(AtomicU64::new(first));
    let seed = Arc::clone(&now);
    let (done, is_done) = channel::<()>();
    let cases = thread::spawn(move || {
        let until = Instant::now() + time;
        loop {
            check(&mut Random::new(seed.load(Ordering::SeqCst)));
            if wanted.is_some() || Instant::now() >= until {
                break;
            }
            seed.fetch_add(1, Ordering::SeqCst);
        }
        drop(done);
    });
    let is_over = is_done.recv_timeout(time + 2 * DEADLINE);
    let seed = now.load(Ordering::SeqCst);
    assert_ne!(
        is_over,
        Err(RecvTimeoutError::Timeout),
        "FUZZ_SEED={seed}: this case does not end"
    );
    if let Err(panic) = cases.join() {
        eprintln!("FUZZ_SEED={seed} is the case");
        resume_unwind(panic);
    }
    println!("{} cases, the last of them {seed}", seed - first + 1);
}

// ---- what is fuzzed ----

/// A stream that comes in pieces, and counts what was taken from it.
struct Stream<'a> {
    pieces: Vec<&'a [u8]>,
    n_read: usize,
}

impl<'a> Stream<'a> {
    fn new(mut pieces: Vec<&'a [u8]>) -> Stream<'a> {
        pieces.reverse();
        Stream { pieces, n_read: 0 }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.pieces.pop() else {
            return Ok(0);
        };
        let n = piece.read(buffer)?;
        if !piece.is_empty() {
            self.pieces.push(piece);
        }
        self.n_read += n;
        Ok(n)
    }
}

/// What a reader finds in a stream in which a body of `body_len` bytes follows the first frame: tokens, body, and how the stream ended.
fn heard(key: &Key, pieces: Vec<&[u8]>, body_len: usize) -> (Vec<Vec<u8>>, Vec<u8>, String) {
    // The longest of the tokens.
    const LIMIT: usize = 356;
    let longest_piece = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
    let mut frames = FrameReader::new(Stream::new(pieces), LIMIT);
    let opens = |token: &[u8]| key.opens(token);
    let (mut tokens, mut body) = (Vec::new(), Vec::new());
    let mut buffer = [0; 50];
    let end = loop {
        let is_body_due = !tokens.is_empty() && body.len() < body_len;
        let next = if is_body_due {
            frames
                .next_piece((body_len - body.len()) as u64, &mut buffer, &opens)
                .map(Some)
        } else {
            frames
                .next_frame(&opens)
                .map(|token| token.map(frame::Piece::Frame))
        };
        match next {
            Ok(Some(frame::Piece::Frame(token))) => tokens.push(token),
            Ok(Some(frame::Piece::Body(n))) => body.extend_from_slice(&buffer[..n]),
            Ok(None) => break "a clean end".into(),
            Err(error) => break error.to_string(),
        }
        let n_given: usize = body.len() + tokens.iter().map(Vec::len).sum::<usize>();
        let n_held = frames.stream().n_read - n_given - 4 * tokens.len();
        assert!(
            n_held <= LIMIT + 4 * 65 + longest_piece,
            "{n_held} bytes are held"
        );
    };
    assert!(tokens.iter().all(|token| token.len() <= LIMIT) && body.len() <= body_len);
    (tokens, body, end)
}

#[test]
fn frames_and_bodies_are_the_same_however_they_are_cut_and_torn_ones_come_out_whole() {
    let key = Key::parse(KEY).unwrap();
    let frames = TOKENS.map(|token| frame::encode(token.as_bytes()));
    let with_body = [&frames[1], TOKENS[3].as_bytes(), &frames[2]].concat();
    let torn_body = [
        &frames[1],
        &TOKENS[3].as_bytes()[..70],
        &frames[2],
        &TOKENS[3].as_bytes()[70..],
    ]
    .concat();
    let too_long = frame::encode(&[b'A'; 360]);
    let torn_frames = torn(&mut Random::new(7), &TOKENS);
    let corpus = [
        &frames[..],
        &[frames.concat(), with_body, torn_body, torn_frames, too_long],
    ]
    .concat();
    fuzz(move |random| {
        let stream = random.mutant(&corpus);
        let lens = [0, 0, 140, random.below(500)];
        let body_len = *random.pick(&lens);
        let whole = heard(&key, vec![&stream], body_len);
        assert_eq!(heard(&key, random.pieces(&stream), body_len), whole);

        let texts: Vec<&str> = (0..random.below(8))
            .map(|_| *random.pick(&TOKENS))
            .collect();
        let stream = torn(random, &texts);
        let (mut tokens, _, end) = heard(&key, random.pieces(&stream), 0);
        let mut sent: Vec<Vec<u8>> = texts
            .iter()
            .map(|token| token.as_bytes().to_vec())
            .collect();
        tokens.sort();
        sent.sort();
        assert_eq!((tokens, end.as_str()), (sent, "a clean end"));
    });
}

/// The frames of several threads that write length and token in two calls, without a lock.
fn torn(random: &mut Random, tokens: &[&str]) -> Vec<u8> {
    let (mut stream, mut begun, mut waiting) = (Vec::new(), Vec::new(), tokens.to_vec());
    while !waiting.is_empty() || !begun.is_empty() {
        match random.below(2) {
            0 if !waiting.is_empty() => {
                let token = waiting.swap_remove(random.below(waiting.len()));
                stream.extend((token.len() as u32).to_be_bytes());
                begun.push(token);
            }
            _ if !begun.is_empty() => {
                stream.extend(begun.swap_remove(random.below(begun.len())).bytes())
            }
            _ => {}
        }
    }
    stream
}

#[test]
fn a_set_that_is_read_is_written_and_read_again_as_the_same() {
    let mut corpus: Vec<Vec<u8>> = [
        b"\x80\x03cbuiltins\nset\nq\x00]q\x01(X\x01\x00\x00\x00bq\x02X\x02\x00\x00\x00\xC3\xA9q\x03X\x01\x00\x00\x00aq\x04e\x85q\x05Rq\x06."
            .as_slice(),
        b"\x80\x03cbuiltins\nset\nq\x00]q\x01X\x01\x00\x00\x00aq\x02a\x85q\x03Rq\x04.",
        b"\x80\x04\x95\x12\x00\x00\x00\x00\x00\x00\x00\x8F\x94(\x8C\x01b\x94\x8C\x02\xC3\xA9\x94\x8C\x01a\x94\x90.",
        b"\x80\x05\x8F\x94.",
    ]
    .map(<[u8]>::to_vec)
    .into();
    corpus.push(name_set::encode(["alice", "bob", &"語".repeat(200)]));
    fuzz(move |random| {
        let bytes = random.mutant(&corpus);
        if let Ok(names) = name_set::decode(&bytes) {
            assert!(names.iter().map(String::len).sum::<usize>() <= bytes.len());
            assert_eq!(
                name_set::decode(&name_set::encode(names.iter().map(String::as_str))),
                Ok(names)
            );
        }
    });
}

#[test]
fn what_goes_into_the_splitter_comes_out_and_its_tokens_do_not_depend_on_the_cuts() {
    let mut corpus: Vec<Vec<u8>> = TOKENS
        .iter()
        .map(|token| token.as_bytes().to_vec())
        .collect();
    corpus.push(TOKENS.concat().into_bytes());
    let long = ("gAAAAA".to_owned() + &"x".repeat(MAX_TOKEN + 1000)).into_bytes();
    fn split(pieces: Vec<&[u8]>) -> Vec<Piece> {
        let mut splitter = Splitter::default();
        let mut out: Vec<Piece> = Vec::new();
        let mut put = |piece| match (piece, out.last_mut()) {
            (Piece::Other(bytes), Some(Piece::Other(before))) => before.extend(bytes),
            (piece, _) => out.push(piece),
        };
        for piece in pieces {
            splitter.push(piece).into_iter().for_each(&mut put);
            assert!(splitter.held().len() <= MAX_TOKEN);
            assert_eq!(splitter.wait().is_none(), splitter.held().is_empty());
        }
        splitter.flush().into_iter().for_each(&mut put);
        assert!(splitter.held().is_empty());
        out
    }
    fuzz(move |random| {
        // It takes its time with what may still become a token.
        let stream = match random.below(50) {
            0 => random.mutant(std::slice::from_ref(&long)),
            _ => random.mutant(&corpus),
        };
        let whole = split(vec![&stream]);
        let cut = split(random.pieces(&stream));
        let bytes = |pieces: &[Piece]| {
            pieces
                .iter()
                .flat_map(|piece| piece.clone().into_bytes())
                .collect::<Vec<u8>>()
        };
        assert!(bytes(&whole) == stream && bytes(&cut) == stream);
        // What is too long for a token is cut where the pieces are.
        if stream.len() <= MAX_TOKEN {
            assert_eq!(cut, whole);
        }
    });
}

#[test]
fn a_body_opens_to_what_was_sealed_or_not_at_all_as_a_whole_token_does() {
    let key = Key::parse(KEY).unwrap();
    let mut corpus: Vec<Vec<u8>> = TOKENS
        .iter()
        .map(|token| token.as_bytes().to_vec())
        .collect();
    // The bytes of a token, but encoded in two parts, with padding between them.
    let bytes = URL_SAFE.decode(TOKENS[3]).unwrap();
    corpus.push(
        [&bytes[..25], &bytes[25..]]
            .map(|part| URL_SAFE.encode(part))
            .concat()
            .into_bytes(),
    );
    fuzz(move |random| {
        let open = |pieces: &[&[u8]]| {
            let (mut check, mut opener, mut plain) =
                (BodyCheck::new(&key), BodyOpener::new(&key), Vec::new());
            let mut is_broken = false;
            for piece in pieces {
                check.update(piece);
                let result = opener.update(piece, &mut plain);
                assert!(
                    !is_broken || result.is_err(),
                    "broken once, broken for ever"
                );
                is_broken = result.is_err();
            }
            let (is_checked, result) = (check.finish().is_ok(), opener.finish(&mut plain));
            assert!(is_checked || result.is_err());
            result.ok().map(|()| plain)
        };
        let body = random.mutant(&corpus);
        let opened = open(&[&body]);
        assert_eq!(open(&random.pieces(&body)), opened);
        assert_eq!(opened, key.open(&body).ok());

        let plain = random.mutant(&corpus);
        let mut sealed = Vec::new();
        BodySealer::new(&key, plain.as_slice(), plain.len() as u64)
            .read_to_end(&mut sealed)
            .unwrap();
        assert_eq!(open(&random.pieces(&sealed)), Some(plain));
    });
}

#[test]
fn names_files_words_and_lines_are_legal_or_refused() {
    let texts = "alice|the den: two|PyChat|/messageSend|!bob|~error~|notes.txt|../../etc/passwd|C:\\a\\b.txt|NUL.tar.gz|Com¹|.bashrc|-rf .|\
                 [09:05:00] bob: hello|bob: hello|/refused bad-name no|/receiveFile alice|語語語語|a\u{301}\u{200d}b";
    let mut corpus: Vec<Vec<u8>> = texts
        .split('|')
        .map(|text| text.as_bytes().to_vec())
        .collect();
    corpus.push("語".repeat(100).into_bytes());
    corpus.push(format!("alice: {}", TOKENS[2]).into_bytes());
    corpus.push(b"fernchat line team\n2026-11-26T09:05:02+01:00 run 7 alice: hello".to_vec());
    corpus.push(b"fernchat file team\n2026-11-26T09:05:02+01:00 alice\nplan\ntext".to_vec());
    fuzz(move |random| {
        let bytes = random.mutant(&corpus);
        let text = String::from_utf8_lossy(&bytes);
        let is_legal = !text.contains(is_harmful)
            && (1..=64).contains(&text.chars().count())
            && text.trim() == text;
        if let Ok(name) = UserName::parse(&text) {
            assert!(is_legal && name.as_str() == text && !text.contains(':'));
        }
        if let Ok(name) = GroupName::parse(&text) {
            assert!(is_legal && name.as_str() == text);
        }
        let file = FileName::from_peer(&text);
        for name in [file.clone(), file.numbered(7), file.numbered(u32::MAX)] {
            let name = name.as_str();
            assert!(
                (1..=255).contains(&name.len())
                    && !name.contains(['/', '\\', ':'])
                    && !name.contains(is_harmful)
            );
            assert!(!name.starts_with(['.', '~', '-']) && !name.ends_with(['.', ' ']));
            assert_eq!(
                FileName::from_peer(name).as_str(),
                name,
                "safe once, safe for ever"
            );
        }
        if let Some(command) = Command::parse(&text, Dialect::Fernchat) {
            assert_eq!(command.word(), text);
        }
        if let Some(line) = StampedLine::parse(&text) {
            assert_eq!(line.to_string(), text);
        }
        if let Some(line) = RoomLine::parse(&text) {
            let again = line.to_string();
            assert_eq!(RoomLine::parse(&again), Some(line));
        }
        if let Some(len) = RoomFile::head_len(text.as_bytes()) {
            assert!(len <= RoomFile::MAX_HEAD && text.as_bytes()[len - 1] == b'\n');
            if let Some(head) = RoomFile::parse(&text[..len]) {
                let again = head.to_string();
                assert_eq!(RoomFile::parse(&again), Some(head));
            }
        }
        if let Ok(key) = Key::parse(&text) {
            assert_eq!(key.as_str(), text.trim());
        }
    });
}

#[test]
fn a_key_file_holds_a_key_or_is_refused() {
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let standard = KEY.replace('-', "+").replace('_', "/");
    let corpus: Vec<Vec<u8>> = vec![
        KEY.into(),
        format!("b'{standard}'\r\n").into(),
        format!("\u{feff}\"{KEY}\"\n").into(),
        utf_16(&format!("\u{feff}{KEY}\n")),
        "Gru\u{308}\u{df}e aus Cafe\u{301}s".into(),
    ];
    let home = folder();
    let file = home.path().join("key");
    fuzz(move |random| {
        std::fs::write(&file, random.mutant(&corpus)).unwrap();
        let (key, secret) = (Key::load(&file), Secret::load(&file));
        if let Ok(key) = key {
            assert_eq!(key.as_str().len(), KEY.len());
            assert!(secret.is_ok(), "a key is a secret");
        }
    });
}

/// Texts that mean something to one of the ends, somewhere.
fn vocabulary() -> Vec<Vec<u8>> {
    let words = "/viewRequests|/approveRequest|/disconnect|/allMembers|/onlineMembers|/changeAdmin|/whoAdmin|/kickMember|/fileTransfer|\
                 /messageSend|/sendGroupname|/sendGroupname fernchat/1|/adminReady|/ready|/wait|/accepted|/waitDisconnect|/kicked|\
                 /sendingData|/readyForData|/proceed|/receiveFile|/receiveFile bob|/sendFilename|/sendFile|/sendFile 1000|/closing why|\
                 /refused denied no|~error~|.|0|100|140|1000|18446744073709551615|den|den\nfernchat/1|other den|alice|bob|!bob|bob: hello|\
                 PyChat: hello|Admin: bob|notes.txt|../notes.txt";
    let mut texts: Vec<Vec<u8>> = words
        .split('|')
        .map(|word| word.as_bytes().to_vec())
        .collect();
    texts.extend([
        name_set::encode(["alice", "bob"]),
        vec![b'x'; 2000],
        vec![0xff, 0xfe],
    ]);
    texts
}

/// Frames of these texts and others, in which some bytes are changed, and a body now and then.
fn script(random: &mut Random, fernet: &Fernet, opening: &[&str], texts: &[Vec<u8>]) -> Vec<u8> {
    let mut said: Vec<Vec<u8>> = opening
        .iter()
        .take(random.below(3 * opening.len() + 1))
        .map(|text| text.as_bytes().to_vec())
        .collect();
    said.extend((0..random.below(8)).map(|_| random.mutant(texts)));
    let mut stream = Vec::new();
    for text in &said {
        let token = fernet.encrypt(text);
        match random.below(8) {
            0 => stream.extend(token.bytes()),
            _ => stream.extend(frame::encode(token.as_bytes())),
        }
    }
    match random.below(3) {
        0 => random.mutant(&[stream]),
        _ => stream,
    }
}

#[test]
fn a_server_outlives_all_that_is_said_to_it() {
    let mut command = fernchat();
    // At this level the log has panics only.
    command
        .args(["server", "127.0.0.1", "0"])
        .env("RUST_LOG", "error");
    let server = std::sync::Mutex::new(Server::of(command));
    let (port, process) = server
        .lock()
        .map(|server| (server.port, server.program.id()))
        .unwrap();
    let alice = std::sync::Mutex::new(Peer::join(port, "alice", None));
    let key = alice.lock().unwrap().key.clone();
    let before = Footprint::of(process);
    // Nobody is led to her group, so that she hears nothing.
    let texts = vocabulary();
    fuzz(move |random| {
        let fernet = Fernet::new(&key).unwrap();
        let names = ["mallory", "bob", "alice", "x"];
        let opening = [
            *random.pick(&names),
            *random.pick(&["den", "den\nfernchat/1", "other den"]),
        ];
        let stream = script(random, &fernet, &opening, &texts);
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        // The server may have had enough of it already.
        let _ = socket.write_all(&stream);
        End::BOTH[random.below(2)].of(socket);
        alice.lock().unwrap().hears_nothing();
        assert_eq!(
            server.lock().unwrap().program.log_so_far(),
            [] as [String; 0]
        );
        before.comes_back(process);
    });
}

#[test]
fn our_client_ends_or_goes_on_whatever_a_server_says() {
    let texts = vocabulary();
    fuzz(move |random| {
        let (listener, downloads, key) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            folder(),
            Fernet::generate_key(),
        );
        let port = listener.local_addr().unwrap().port();
        let mut alice = support::client(
            port,
            "alice",
            &["--downloads", downloads.path().to_str().unwrap()],
        );
        let (mut socket, _) = listener.accept().unwrap();
        let fernet = Fernet::new(&key).unwrap();
        let opening = [
            *random.pick(&["/sendGroupname", "/sendGroupname fernchat/1"]),
            *random.pick(&["/ready", "/wait", "/adminReady"]),
        ];
        let stream = [key.as_bytes(), &script(random, &fernet, &opening, &texts)].concat();
        alice.pastes(&["/4", "/2 bob", "hello"]);
        // The client may have had enough of it already.
        let _ = socket.write_all(&stream);
        End::BOTH[random.below(2)].of(socket);
        check_end_of_client(&mut alice);
        for file in downloads.path().read_dir().unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert_eq!(FileName::from_peer(&name).as_str(), name);
        }
    });
}

#[test]
fn our_relay_client_ends_or_goes_on_whatever_a_relay_sends() {
    let mut corpus: Vec<Vec<u8>> = TOKENS
        .iter()
        .map(|token| token.as_bytes().to_vec())
        .collect();
    corpus.push(TOKENS.concat().into_bytes());
    fuzz(move |random| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = fernchat();
        let port = listener.local_addr().unwrap().port().to_string();
        command
            .args([
                "relay-client",
                "127.0.0.1",
                &port,
                "--name",
                "alice",
                "--no-reconnect",
            ])
            .env("FERNCHAT_KEY", KEY);
        let mut alice = Program::start(command);
        let (mut socket, _) = listener.accept().unwrap();
        let stream = random.mutant(&corpus);
        for piece in random.pieces(&stream) {
            socket.write_all(piece).unwrap();
        }
        End::BOTH[random.below(2)].of(socket);
        check_end_of_client(&mut alice);
    });
}

/// It ends in success, or in failure with one line that says why; and nothing that it said steers a terminal.
fn check_end_of_client(program: &mut Program) {
    let status = program.ends();
    if status.code() == Some(1) {
        program.logs("error: ");
    }
    let mut said = program.rest();
    let log = program.log_so_far().to_vec();
    assert!(
        matches!((status.code(), log.len()), (Some(0), 0) | (Some(1), 1)),
        "{status}: {log:#?}"
    );
    said.extend(log);
    assert!(
        !said
            .iter()
            .any(|line| line.contains(|c| c != '\t' && is_harmful(c))),
        "{said:#?}"
    );
}
