//! The relay and its client through the front door, alone and with the Python programs at the other end.

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fernchat::relay::splitter::{Piece, Splitter};
use fernet::Fernet;
use support::{DEADLINE, Program, ends_badly, fernchat, folder, memory_holds, python, status_of};

/// A relay on a free port of loopback.
struct Relay {
    program: Program,
    port: u16,
}

impl Relay {
    fn start(options: &[&str]) -> Relay {
        let mut command = fernchat();
        command
            .args(["relay", "127.0.0.1", "0"])
            .args(options)
            .env("RUST_LOG", "trace");
        Relay::of(command)
    }

    fn of(command: std::process::Command) -> Relay {
        let mut program = Program::start(command);
        let banner = program.hears("listening on ");
        let address = banner
            .trim_start_matches("listening on ")
            .split(',')
            .next()
            .unwrap();
        Relay {
            port: address.rsplit(':').next().unwrap().parse().unwrap(),
            program,
        }
    }

    /// A connection of which the relay knows.
    fn peer(&mut self) -> TcpStream {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        self.program
            .logs(&format!("{} takes its place", socket.local_addr().unwrap()));
        socket
    }
}

/// The next tokens that arrive, in pieces of any kind.
fn tokens(socket: &mut TcpStream, n: usize) -> Vec<String> {
    let mut splitter = Splitter::default();
    let mut tokens = Vec::new();
    let mut bytes = [0; 1024];
    while tokens.len() < n {
        socket
            .set_read_timeout(splitter.wait().or(Some(DEADLINE)))
            .unwrap();
        let pieces = match socket.read(&mut bytes) {
            Ok(0) => panic!("the end after {tokens:?}"),
            Ok(n) => splitter.push(&bytes[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                assert!(
                    [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
                    "{error}"
                );
                vec![splitter.flush().expect("nothing came in time")]
            }
        };
        tokens.extend(pieces.into_iter().map(|piece| match piece {
            Piece::Token(token) => String::from_utf8(token).unwrap(),
            Piece::Other(other) => panic!("no token: {other:?}"),
        }));
    }
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    tokens
}

fn texts(fernet: &Fernet, tokens: Vec<String>) -> Vec<String> {
    tokens
        .iter()
        .map(|token| String::from_utf8(fernet.decrypt(token).unwrap()).unwrap())
        .collect()
}

/// A key in a file, as friends hand it around.
fn key_file(folder: &tempfile::TempDir) -> (String, Fernet) {
    let path = folder.path().join("friends.key").display().to_string();
    assert!(
        fernchat()
            .args(["keygen", &path])
            .output()
            .unwrap()
            .status
            .success()
    );
    let key = fs::read_to_string(&path).unwrap();
    (path, Fernet::new(key.trim()).unwrap())
}

fn client(port: u16, name: &str, key_file: &str) -> Program {
    client_with(port, name, key_file, &[])
}

fn client_with(port: u16, name: &str, key_file: &str, options: &[&str]) -> Program {
    let mut command = fernchat();
    command
        .args(["relay-client", "127.0.0.1", &port.to_string()])
        .args(["--name", name, "--key-file", key_file])
        .args(options);
    let mut program = Program::start(command);
    program.hears(&format!("{name} joined"));
    program
}

fn python_client(port: u16, name: &str, key_file: &str) -> Option<Program> {
    let mut command = python("cipherchat_client.py")?;
    command.args(["127.0.0.1", &port.to_string(), key_file, name]);
    let mut program = Program::start(command);
    program.hears("connected");
    Some(program)
}

#[test]
fn a_relay_that_closes_every_connection_at_once_is_asked_again_after_pauses_that_grow() {
    let home = folder();
    let (key, _) = key_file(&home);
    let closes = TcpListener::bind("127.0.0.1:0").unwrap();
    let _client = client(closes.local_addr().unwrap().port(), "alice", &key);
    // The first try again comes at once. The next two come after pauses of about a second, then two.
    let times: Vec<Instant> = (0..4)
        .map(|_| {
            drop(closes.accept().unwrap());
            Instant::now()
        })
        .collect();
    assert!(times[2] - times[1] > Duration::from_millis(700));
    assert!(times[3] - times[2] > Duration::from_millis(1400));
}

#[test]
fn tokens_arrive_whole_and_in_order_however_they_were_cut_and_joined() {
    let fernet = Fernet::new(&Fernet::generate_key()).unwrap();
    let mut relay = Relay::start(&["--pause", "0"]);
    let (mut alice, mut bob, mut carol) = (relay.peer(), relay.peer(), relay.peer());
    let said: Vec<String> = (0..40)
        .map(|n| format!("{n} {}", "x".repeat(n * 3)))
        .collect();
    let stream: Vec<u8> = said
        .iter()
        .flat_map(|text| fernet.encrypt(text.as_bytes()).into_bytes())
        .collect();
    for piece in stream.chunks(97) {
        alice.write_all(piece).unwrap();
    }
    for peer in [&mut bob, &mut carol] {
        assert_eq!(texts(&fernet, tokens(peer, 40)), said);
    }
    // The sender hears nothing of its own: the next thing it hears is somebody else's.
    bob.write_all(fernet.encrypt(b"from bob").as_bytes())
        .unwrap();
    assert_eq!(texts(&fernet, tokens(&mut alice, 1)), ["from bob"]);
}

#[test]
fn what_is_no_whole_token_reaches_nobody_and_is_logged_once_for_each_client() {
    let mut relay = Relay::start(&["--pause", "0"]);
    let (mut alice, mut bob) = (relay.peer(), relay.peer());
    let fernet = Fernet::new(&Fernet::generate_key()).unwrap();
    let whole = fernet.encrypt(b"[10:20:30] alice: hello");
    // On both sides of 64 KiB.
    let (longest, longer) = (
        fernet.encrypt(&vec![7; 49_087]),
        fernet.encrypt(&vec![7; 49_088]),
    );
    assert_eq!((longest.len(), longer.len()), (65_528, 65_548));
    for junk in [
        b"hello, is this a chat?\n".as_slice(),
        b"gAAAAA",
        b"gAAAAABx",
        b"\0\xff",
        &whole.as_bytes()[..64],
        &whole.as_bytes()[20..],
        longer.as_bytes(),
        fernet.encrypt(&vec![7; 200_000]).as_bytes(),
    ] {
        alice.write_all(junk).unwrap();
        alice.write_all(whole.as_bytes()).unwrap();
        assert_eq!(tokens(&mut bob, 1), [whole.as_str()]);
    }
    alice.write_all(longest.as_bytes()).unwrap();
    assert_eq!(tokens(&mut bob, 1), [longest]);
    // In the middle of a token.
    let mut mallory = relay.peer();
    mallory.write_all(&whole.as_bytes()[..50]).unwrap();
    drop(mallory);
    relay
        .program
        .logs("sent 0 tokens, 50 bytes in all, 50 of them dropped");
    drop(alice);
    relay.program.logs("sent 9 tokens");
    let log = relay.program.log_so_far();
    let said = log
        .iter()
        .filter(|line| line.contains("no whole token; they are dropped"));
    assert_eq!(said.count(), 2, "{log:#?}");
}

#[test]
fn half_tokens_of_a_stranger_take_nothing_from_what_the_others_say() {
    let home = folder();
    let (key, fernet) = key_file(&home);
    let mut relay = Relay::start(&[]);
    let mut alice = relay.peer();
    let mut bob = client(relay.port, "bob", &key);
    relay.program.logs("takes its place");
    let mut pat = python_client(relay.port, "pat", &key);
    if pat.is_some() {
        relay.program.logs("takes its place");
    }
    let mut mallory = relay.peer();
    let half: [&[u8]; 3] = [b"gAAAAABx", b"=", b"gAAAAABx!"];
    for n in 0..30 {
        mallory.write_all(half[n % half.len()]).unwrap();
        let line = format!("[10:20:30] alice: {n}");
        alice
            .write_all(fernet.encrypt(line.as_bytes()).as_bytes())
            .unwrap();
        mallory.write_all(half[(n + 1) % half.len()]).unwrap();
        bob.hears_next(&format!("10:20:30 alice: {n}"));
        pat.iter_mut().for_each(|pat| {
            pat.hears_next(&format!("[10:20:30] alice: {n}"));
        });
    }
    drop(mallory);
    relay.program.logs("sent 0 tokens");
}

#[test]
fn a_leaver_is_not_noticed_and_a_peer_that_stops_reading_departs() {
    let mut relay = Relay::start(&["--pause", "0"]);
    let (mut alice, mut bob) = (relay.peer(), relay.peer());
    let stalled = relay.peer();
    let n_threads = status_of(relay.program.id(), "Threads");
    let leaver = relay.peer();
    drop(leaver);
    relay.program.logs("departed: left");
    // What has no thread takes no time either.
    let until = Instant::now() + DEADLINE;
    while status_of(relay.program.id(), "Threads") != n_threads {
        assert!(Instant::now() < until, "the leaver's threads stay");
        std::thread::yield_now();
    }
    let fernet = Fernet::new(&Fernet::generate_key()).unwrap();
    let token = fernet.encrypt(&[7; 40_000]);
    let mut n = 0;
    while !relay
        .program
        .log_so_far()
        .iter()
        .any(|line| line.contains("departed: too slow"))
    {
        alice.write_all(token.as_bytes()).unwrap();
        assert_eq!(tokens(&mut bob, 1), [token.as_str()]);
        n += 1;
        assert!(
            n < 2000,
            "{} MB went to somebody who does not read",
            n * token.len() / 1_000_000
        );
    }
    drop(stalled);
    relay.program.signal("TERM");
    assert!(relay.program.ends().success());
}

#[test]
fn two_of_ours_talk_and_each_sees_what_people_know_from_the_scripts() {
    let home = folder();
    let (key, fernet) = key_file(&home);
    let mut relay = Relay::start(&[]);
    let mut witness = relay.peer();
    let mut alice = client(relay.port, "alice", &key);
    let mut bob = client_with(relay.port, "bob", &key, &["--no-reconnect"]);
    relay.program.logs("client 3 from");
    alice.types("hello \x1b[31m friends");
    let own = alice.hears("You: hello ^[[31m friends");
    let theirs = bob.hears("alice: hello ^[[31m friends");
    assert_eq!(own[..8], theirs[..8]);
    assert_eq!(own.as_bytes()[2], b':');
    let text = texts(&fernet, tokens(&mut witness, 1)).remove(0);
    assert_eq!(
        text,
        format!("[{}] alice: hello \x1b[31m friends", &own[..8])
    );
    // A long line goes in pieces, none of them longer than a Python peer reads at once.
    let long = "語".repeat(1000);
    alice.types(&long);
    let mut heard = String::new();
    while heard.len() < long.len() {
        heard += bob.hears("alice: ").split("alice: ").nth(1).unwrap();
    }
    assert_eq!(heard, long);
    for token in tokens(&mut witness, 5) {
        assert!(token.len() <= 1024, "{}", token.len());
    }
    alice.ends_input();
    assert!(alice.ends().success());
    relay.program.signal("TERM");
    assert_eq!(bob.ends().code(), Some(1));
    bob.logs("error: the relay closed the connection");
}

#[test]
fn a_token_that_does_not_open_is_mentioned_once_and_ends_nothing() {
    let (home, other) = (folder(), folder());
    let ((key, fernet), (wrong, _)) = (key_file(&home), key_file(&other));
    let mut relay = Relay::start(&[]);
    let mut alice = client(relay.port, "alice", &key);
    relay.program.logs("takes its place");
    let output = fernchat()
        .args([
            "relay-client",
            "127.0.0.1",
            "1",
            "--name",
            "You",
            "--key-file",
            &key,
        ])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("stands for the person who reads")
    );
    let mut mallory = client(relay.port, "mallory", &wrong);
    for _ in 0..3 {
        mallory.types("can you read this?");
        mallory.hears("You: ");
    }
    alice.hears("this key does not open");
    relay.program.logs("takes its place");
    let mut bob = relay.peer();
    // One token in three pieces, and two in one.
    let said = |text: &str| {
        fernet
            .encrypt(format!("[10:20:30] bob: {text}").as_bytes())
            .into_bytes()
    };
    for piece in said("in pieces").chunks(40) {
        bob.write_all(piece).unwrap();
    }
    bob.write_all(&[said("two"), said("at once and a little longer")].concat())
        .unwrap();
    for text in ["in pieces", "two", "at once and a little longer"] {
        alice.hears_next(&format!("10:20:30 bob: {text}"));
    }
}

#[test]
fn three_people_of_both_kinds_talk_over_our_relay_and_a_burst_arrives_whole() {
    let home = folder();
    let (key, _) = key_file(&home);
    // A pause that even a busy machine keeps up with; the default is measured, not tested.
    let mut relay = Relay::start(&["--pause", "40"]);
    let Some(mut pat) = python_client(relay.port, "pat", &key) else {
        return;
    };
    let Some(mut sue) = python_client(relay.port, "sue", &key) else {
        return;
    };
    let mut olga = client(relay.port, "olga", &key);
    for _ in 0..3 {
        relay.program.logs("takes its place");
    }
    pat.types("from pat");
    for other in [&mut sue, &mut olga] {
        other.hears("pat: from pat");
    }
    let burst: Vec<String> = (0..20).map(|n| format!("burst {n}")).collect();
    olga.pastes(&burst.iter().map(String::as_str).collect::<Vec<_>>());
    for n in 0..20 {
        pat.hears(&format!("olga: burst {n}"));
        sue.hears(&format!("olga: burst {n}"));
    }
    olga.types(&"long ".repeat(300));
    pat.hears("long long");
    sue.hears("long long");
    // A Python client sends a long line in one long token, which only ours can read.
    pat.types(&"much longer ".repeat(200));
    olga.hears("much longer ".repeat(200).trim_end());
    sue.hears("receiving ended");
    drop(olga);
    sue.types("still here");
    pat.hears("sue: still here");
}

#[test]
fn a_python_client_with_another_key_disturbs_only_its_own_kind() {
    let (home, other) = (folder(), folder());
    let ((key, _), (wrong, _)) = (key_file(&home), key_file(&other));
    let mut relay = Relay::start(&[]);
    let Some(mut mallory) = python_client(relay.port, "mallory", &wrong) else {
        return;
    };
    let mut olga = client(relay.port, "olga", &key);
    let mut otto = client(relay.port, "otto", &key);
    for _ in 0..3 {
        relay.program.logs("takes its place");
    }
    mallory.types("can you read this?");
    for friend in [&mut olga, &mut otto] {
        friend.hears("this key does not open");
    }
    olga.types("no");
    otto.hears("olga: no");
    mallory.hears("receiving ended");
}

#[test]
fn ours_talk_over_the_python_relay() {
    let home = folder();
    let (key, _) = key_file(&home);
    let Some(mut command) = python("cipherchat_relay.py") else {
        return;
    };
    command.arg("0");
    let relay = Relay::of(command);
    let mut alice = client(relay.port, "alice", &key);
    let mut bob = client(relay.port, "bob", &key);
    // That relay does not say when it has accepted somebody: so speak until you are heard.
    let speak = |from: &mut Program, to: &mut Program, name: &str| {
        let is_heard = (0..300).any(|_| {
            from.types("hello");
            to.tries_to_hear(&format!("{name}: hello"))
        });
        assert!(is_heard, "{name} is not heard");
    };
    speak(&mut alice, &mut bob, "alice");
    speak(&mut bob, &mut alice, "bob");
    let long = "x".repeat(2000);
    alice.types(&long);
    let mut n = 0;
    while n < long.len() {
        n += bob.hears("alice: x").split("alice: ").nth(1).unwrap().len();
    }
    assert_eq!(n, long.len());
    // That relay does not notice who leaves, and does not close.
    alice.ends_input();
    assert!(alice.ends().success());
}

#[test]
fn a_relay_with_one_place_has_room_for_one() {
    let mut relay = Relay::start(&["--max-clients", "1"]);
    let first = relay.peer();
    let mut second = TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
    relay.program.logs("refused: all 1 places are taken");
    let mut heard = Vec::new();
    second.read_to_end(&mut heard).unwrap();
    assert_eq!(heard, b"/full\n");
    let home = folder();
    let (key, _) = key_file(&home);
    // A script has said all it has to say before it knows.
    for line in [None, Some("hello")] {
        let mut alice = client(relay.port, "alice", &key);
        line.into_iter().for_each(|line| alice.tries_to_type(line));
        alice.ends_input();
        ends_badly(&mut alice, "error: the relay is full; try again later");
    }
    drop(first);
    relay.program.logs("departed");
    // The place is free a moment after the log says so.
    let until = Instant::now() + DEADLINE;
    loop {
        let third = TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
        let line = relay.program.logs(&third.local_addr().unwrap().to_string());
        if !line.contains("refused") {
            return;
        }
        assert!(Instant::now() < until, "never free again");
    }
}

#[test]
fn one_who_floods_with_small_tokens_puts_nobody_out() {
    let mut relay = Relay::start(&[]);
    let (mut mallory, mut bob) = (relay.peer(), relay.peer());
    mallory
        .set_write_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let token = [b"gAAAAA".as_slice(), &[b'x'; 92], b"=="].concat();
    let mut bytes = [0; 4096];
    let mut n_heard = 0;
    while n_heard < 20_000 {
        // What does not fit waits for the relay, as it should.
        let _ = mallory.write(&token.repeat(50));
        match bob.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => {
                let n = read.unwrap();
                assert!(n > 0, "put out");
                n_heard += n;
            }
        }
    }
    assert!(
        !relay
            .program
            .log_so_far()
            .iter()
            .any(|line| line.contains("too slow"))
    );
}

#[test]
fn the_relay_shows_nothing_of_what_is_said() {
    let home = folder();
    let (key, _) = key_file(&home);
    let mut relay = Relay::start(&[]);
    let mut witness = relay.peer();
    let mut alice = client(relay.port, "alice", &key);
    let mut bob = client(relay.port, "bob", &key);
    relay.program.logs("client 3 from");
    alice.types("the canary sings");
    bob.hears("alice: the canary sings");
    let token = tokens(&mut witness, 1).remove(0);
    assert!(!token.contains("canary"));
    assert!(
        memory_holds(relay.program.id(), b"takes its place"),
        "the search works"
    );
    assert!(!memory_holds(relay.program.id(), b"the canary sings"));
    drop((alice, bob, witness));
    relay.program.signal("TERM");
    relay.program.ends();
    let log = relay.program.log_so_far();
    assert!(
        log.iter().any(|line| line.contains("sent 1 tokens")),
        "{log:#?}"
    );
    assert!(
        !log.iter()
            .any(|line| line.contains("canary") || line.contains(&token)),
        "{log:#?}"
    );
}

#[test]
fn a_key_is_made_for_its_owner_and_never_replaced() {
    let home = folder();
    let (path, _) = key_file(&home);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let output = fernchat().args(["keygen", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("must not be lost")
    );
    assert_eq!(fs::read(&path).unwrap(), before);
    let printed = String::from_utf8(fernchat().arg("keygen").output().unwrap().stdout).unwrap();
    assert!(Fernet::new(printed.trim()).is_some() && printed.trim().len() == 44);
}

#[test]
fn a_token_is_taken_apart_with_its_key_and_without() {
    let home = folder();
    let (path, fernet) = key_file(&home);
    let token = fernet.encrypt_at_time(b"se\x1bcret", 499_162_800);
    let run = |args: &[&str], input: &str| {
        let mut command = fernchat();
        command.arg("token").args(args).env("TZ", "UTC");
        let mut program = Program::start(command);
        program.tries_to_type(input);
        program.ends_input();
        let status = program.ends();
        (
            status.code(),
            program.rest().join("\n"),
            program.log_so_far().to_vec().join("\n"),
        )
    };
    let (code, parts, _) = run(&[&token], "");
    assert_eq!(code, Some(0));
    for part in [
        "version     80",
        "1985-10-26T08:20:00+00:00",
        "16 bytes, 1 of",
        "not checked",
    ] {
        assert!(parts.contains(part), "{part} not in {parts}");
    }
    assert!(!parts.contains("cret"));
    let (code, parts, _) = run(&["--key-file", &path], &token);
    assert_eq!(code, Some(0));
    assert!(
        parts.contains("it holds") && parts.contains("7 bytes: se^[cret"),
        "{parts}"
    );

    let changed = token.replacen("gAAAAAA", "gAAAAAB", 1);
    let (code, parts, log) = run(&[&changed, "--key-file", &path], "");
    assert_eq!(code, Some(1));
    assert!(parts.contains("it does not hold"), "{parts}");
    assert!(log.contains("error: the token does not open"), "{log}");
    let (code, _, log) = run(&["gAAA"], "");
    assert_eq!(code, Some(1));
    assert!(
        log.contains("error: this is no token: it is cut off: 3 bytes"),
        "{log}"
    );
}

#[test]
fn what_is_wrong_with_a_key_is_said_with_the_remedy() {
    let home = folder();
    let (path, _) = key_file(&home);
    let bad = home.path().join("bad.key").display().to_string();
    fs::write(&bad, "canary\n").unwrap();
    let missing = home.path().join("missing.key").display().to_string();
    for (arguments, variable, part) in [
        (
            vec!["--key-file", missing.as_str()],
            None,
            "fernchat keygen",
        ),
        (vec!["--key-file", bad.as_str()], None, "holds no key"),
        (vec![], None, "--key-file"),
        (vec![], Some("canary"), "FERNCHAT_KEY"),
    ] {
        let mut command = fernchat();
        command
            .args(["relay-client", "127.0.0.1", "1", "--name", "bob"])
            .args(&arguments)
            .env_remove("FERNCHAT_KEY");
        command.envs(variable.map(|value| ("FERNCHAT_KEY", value)));
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.starts_with("error: ") || error.contains("\nerror: "),
            "{error}"
        );
        assert!(error.contains(part) && !error.contains("canary"), "{error}");
    }
    // Blanks around it are forgiven, and others who may read it are a reason to warn.
    let key = format!("  {} \n\n", fs::read_to_string(&path).unwrap().trim());
    fs::write(&path, key).unwrap();
    std::process::Command::new("chmod")
        .args(["644", &path])
        .status()
        .unwrap();
    let mut command = fernchat();
    command.args([
        "relay-client",
        "127.0.0.1",
        "1",
        "--name",
        "bob",
        "--key-file",
        &path,
    ]);
    let error = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(
        error.contains("others on this machine can read") && error.contains("cannot reach"),
        "{error}"
    );
}

#[test]
fn the_port_comes_from_the_environment_if_nowhere_else() {
    let mut command = fernchat();
    command.args(["relay", "127.0.0.1"]).env("PORT", "0");
    assert_ne!(Relay::of(command).port, 12345);
    let mut command = fernchat();
    command.args(["relay", "127.0.0.1"]).env("PORT", "x");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("PORT is no port")
    );
}

// ---- our client at the keyboard, and when the connection breaks ----

/// A relay's client at a terminal, or nothing where there is no tmux.
#[cfg(feature = "editor")]
fn on_screen(port: u16, key: &str, name: &str) -> Option<support::screen::Screen> {
    use support::screen::{Screen, USUAL, has_tmux};
    let port = port.to_string();
    let arguments = [
        "relay-client",
        "127.0.0.1",
        &port,
        "--key-file",
        key,
        "--name",
        name,
    ];
    has_tmux().then(|| Screen::with(&USUAL, &arguments))
}

#[cfg(feature = "editor")]
#[test]
fn at_a_terminal_a_relay_s_client_has_the_manners_of_the_other() {
    let folder = folder();
    let key = folder.path().join("key").display().to_string();
    fernchat().args(["keygen", &key]).output().unwrap();
    let relay = Relay::start(&[]);
    let port = relay.port;
    let (Some(alice), Some(bob)) = (on_screen(port, &key, "alice"), on_screen(port, &key, "bob"))
    else {
        return;
    };
    alice.shows_broken(&format!(
        "alice joined 127.0.0.1:{port}. /help lists the commands. The others see you when you say something."
    ));
    alice.ends_in("relay>");
    bob.ends_in("relay>");
    alice.types("/help");
    alice.shows("/quit TEXT");
    alice.types("/qiut");
    alice.shows("Not sent: /qiut is no command; did you mean /quit?");
    alice.types("/me waves");
    bob.shows(" * alice waves");
    alice.types("/who");
    alice.shows("A relay does not know who is here.");
    alice.types("hello");
    bob.shows(" alice: hello");
    alice.shows(" alice: hello");
    bob.types("/ignore alice");
    bob.shows("You ignore alice from now on");
    // The relay goes and comes back: what was typed meanwhile is said.
    drop(relay);
    alice.shows("Connection lost: the relay closed the connection; trying again.");
    alice.shows("(no connection; trying again in ");
    alice.types("said meanwhile");
    alice.shows("There is no connection: it is said as soon as there is one again.");
    bob.types("/ignore alice");
    bob.shows("You hear alice again.");
    let mut command = fernchat();
    command
        .env("RUST_LOG", "fernchat=debug")
        .args(["relay", "127.0.0.1", &port.to_string()]);
    let mut relay = Relay::of(command);
    for _ in 0..2 {
        relay.program.logs("takes its place");
    }
    alice.shows("Connected again.");
    bob.shows("Connected again.");
    alice.ends_in("relay>");
    alice.types("/quit bye");
    bob.shows(" alice: bye");
    alice.shows("ended with 0\ncooked");
    relay.program.signal("TERM");
    bob.types("/quit");
    bob.shows("ended with 0\ncooked");
}

#[cfg(feature = "editor")]
#[test]
fn a_friend_s_time_zone_is_shown_if_it_is_another_one() {
    use support::screen::{Screen, Setup, USUAL, has_tmux};
    if !has_tmux() {
        return;
    }
    let folder = folder();
    let (key, _) = key_file(&folder);
    let mut relay = Relay::start(&[]);
    let setup = Setup {
        environment: &[("LC_ALL", "C.UTF-8"), ("TZ", "UTC0")],
        ..USUAL
    };
    let port = relay.port.to_string();
    let arguments = ["relay-client", "127.0.0.1", &port, "--key-file", &key];
    let bob = Screen::with(&setup, &[&arguments[..], &["--name", "bob"]].concat());
    bob.ends_in("relay>");
    relay.program.logs("takes its place");
    for (name, zone, shown) in [
        ("anna", "JST-9", " (UTC+09:00) anna: hello"),
        ("carl", "UTC0", " carl: hello"),
    ] {
        let mut command = fernchat();
        command
            .args(arguments)
            .args(["--name", name])
            .env("TZ", zone);
        let mut friend = Program::start(command);
        friend.hears(&format!("{name} joined"));
        relay.program.logs("takes its place");
        friend.types("hello");
        let text = bob.shows(shown);
        assert_eq!(text.matches("UTC+").count(), 1, "{text}");
    }
}

#[test]
fn a_relay_s_client_that_meets_a_group_server_says_so() {
    let server = support::Server::start();
    let mut command = fernchat();
    command
        .args(["relay-client", "127.0.0.1", &server.port.to_string()])
        .args(["--name", "alice"])
        .env("FERNCHAT_KEY", fernet::Fernet::generate_key());
    let mut alice = Program::start(command);
    alice.logs("this is no relay but a group chat's server: join it with fernchat client");
    assert_eq!(alice.ends().code(), Some(1));
}

#[test]
fn in_a_pipe_every_line_is_said_and_the_connection_is_made_again() {
    let key = fernet::Fernet::generate_key();
    let mut relay = Relay::start(&[]);
    let join = |name: &str, port: u16| {
        let mut command = fernchat();
        command
            .args([
                "relay-client",
                "127.0.0.1",
                &port.to_string(),
                "--name",
                name,
            ])
            .env("FERNCHAT_KEY", &key);
        let mut program = Program::start(command);
        program.hears(&format!("{name} joined"));
        program
    };
    let (mut alice, mut bob) = (join("alice", relay.port), join("bob", relay.port));
    relay.program.logs("takes its place");
    relay.program.logs("takes its place");
    alice.types("/quit");
    bob.hears("alice: /quit");
    alice.types("/me waves");
    bob.hears("alice: /me waves");
    let port = relay.port;
    drop(relay);
    for program in [&mut alice, &mut bob] {
        program.hears("Connection lost: the relay closed the connection; trying again.");
    }
    let mut command = fernchat();
    command
        .env("RUST_LOG", "fernchat=debug")
        .args(["relay", "127.0.0.1", &port.to_string()]);
    let mut relay = Relay::of(command);
    // A connection that the old relay's end cuts off may have come first.
    for program in [&mut alice, &mut bob] {
        relay.program.logs("takes its place");
        program.hears("Connected again.");
    }
    alice.types("back");
    bob.hears("alice: back");
}
