//! Hostile peers: what each of them tries, what happens, and the test that shows it. Somebody else goes on chatting in most of them.
//!
//! At the server:
//!
//! | who | what happens | test |
//! | --- | --- | --- |
//! | says nothing, 65 times over | makes room for others, one connection for each | `chat.rs`: `a_full_server_says_so_and_one_that_is_full_of_silence_makes_room` |
//! | never ends the handshake | is closed at a limit | `a_handshake_without_end_is_closed_at_a_limit` |
//! | sends one byte at a time of much that it has announced | waits; costs what has come, not what is to come | `those_who_drip_cost_no_more_than_they_send` |
//! | sends garbage, huge lengths, foreign tokens | is told and closed | `chat.rs`: `what_breaks_the_protocol_ends_one_connection_with_one_line_and_nobody_else_notices` |
//! | connects 10,000 times | nothing is left of it | `a_storm_of_connections_leaves_nothing_behind` |
//! | takes all descriptors | the server says so, and serves again | `a_server_out_of_descriptors_says_so_and_serves_again`, `a_server_that_may_have_few_descriptors_says_so_and_takes_as_many_clients_as_it_can` |
//! | floods its group | is slowed down; the others are answered | `one_who_floods_is_slowed_down_and_the_others_are_answered` |
//! | reads nothing | departs | `chat.rs`: `a_member_that_stops_reading_departs_as_too_slow_and_the_others_hear_everything` |
//! | has a name that steers terminals, or lies about who speaks | is refused | `a_name_that_steers_terminals_is_refused_and_a_text_passes_as_it_is` |
//! | shares a file under a name from hell | the others are told a harmless one | `a_shared_file_s_name_is_made_harmless_whatever_it_was` |
//! | lies about a file's size | nothing is shared that is not whole | `a_size_that_lies_shares_nothing_and_ends_at_most_the_liar` |
//! | spoils a body | it is refused | `chat.rs`: `a_body_that_does_not_verify_is_refused_and_reaches_nobody` |
//! | breaks off anywhere, also in an upload | is offline | `offsets.rs`: both |
//! | dies anywhere in a delivery | is offline; the uploader is told | `a_receiver_that_dies_anywhere_in_a_delivery_holds_nobody_up` |
//! | vanishes without a word | is offline within 90 s | `vanished.rs` |
//! | is given random bytes by us | | `fuzz.rs` |
//! | floods a relay with small tokens | puts nobody out | `relay.rs`: `one_who_floods_with_small_tokens_puts_nobody_out` |
//! | sends a relay halves of tokens, junk, or a token without end | reaches nobody | `relay.rs`: `what_is_no_whole_token_reaches_nobody_and_is_logged_once_for_each_client`, `half_tokens_of_a_stranger_take_nothing_from_what_the_others_say` |
//!
//! At our client, a server or relay that
//!
//! | does what | what happens | test |
//! | --- | --- | --- |
//! | closes, or says what it may not, while the client joins | one line, and the end | `a_server_that_breaks_off_or_breaks_the_protocol_in_a_join_is_one_line` |
//! | the same afterwards, also inside a file without end | the same, and nothing half received stays | `a_server_that_breaks_off_or_breaks_the_protocol_later_is_one_line` |
//! | answers with pickles from hell, events, files that do not open | it is said, and the chat goes on | `a_server_that_answers_with_nonsense_is_shown_harmlessly_and_the_chat_goes_on` |
//! | never answers | Ctrl-C leaves, and so does the end of the input | `a_server_that_never_answers_can_be_left` |
//! | names people at length or without end, and approves again and again | bounded memory, and a bounded text | `what_a_server_says_at_length_is_shown_and_remembered_within_bounds` |
//! | sends a file above the limit, or one for which there is no room | its body is dropped, and both ends stay in sync | `a_file_that_is_too_long_or_finds_no_room_is_dropped_and_the_chat_goes_on` |
//! | offers files and reads no answer | Ctrl-C leaves | `a_server_that_reads_no_answer_can_be_left` |
//! | names files from hell | they lie in the folder for downloads, under other names | `a_received_file_stays_in_its_folder_whatever_its_name_was` |
//! | delivers sealed lines under other names | they are not shown | `secrets.rs`: `a_server_that_delivers_under_another_name_is_found_out` |
//! | (relay) sends garbage, escapes and tokens without end | it is said, and the chat goes on | `a_relay_that_sends_nonsense_is_mentioned_once_and_the_chat_goes_on` |

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fernchat::wire::name::is_harmful;
use fernet::Fernet;
use socket2::SockRef;
use support::faults::{End, Footprint, is_idle};
use support::{
    DEADLINE, Peer, Program, STRANGER, Server, ends_badly, ends_well, fernchat, folder, frame, set,
    skipped, status_of, upload,
};

/// The group name as a fernchat client sends it.
const FERNCHAT: &str = "team\nfernchat/1";

/// What a terminal would obey, or an eye would miss: an escape, its short form, a bell, an override, a line of its own, nothing.
const STEERING: [&str; 6] = [
    "a\x1b[2Jb",
    "a\u{9b}31mb",
    "a\x07b",
    "a\u{202e}b",
    "a\nAdmin: b",
    "a\u{200b}b",
];

/// File names from hell: separators of both kinds, ways up, roots, drives, devices, streams, options, dots, blanks, and nothing.
const FROM_HELL: [&str; 28] = [
    "../../../etc/passwd",
    "..\\..\\windows\\system.ini",
    "/etc/cron.d/evil",
    "\\\\server\\share\\evil",
    "C:\\autoexec.bat",
    "c:evil.txt",
    "/",
    "..",
    ".",
    "",
    "...",
    "a/..",
    ".bashrc",
    ".ssh/authorized_keys",
    "~error~",
    "~root",
    "-rf",
    "nul",
    "NUL.txt",
    "com1",
    "Com¹.log",
    "conin$",
    "evil.exe. . .",
    " evil ",
    "evil\0.txt",
    "evil\x1b[2J\u{202e}txt.exe",
    "file.txt:stream",
    "a<b>c|d?e*f\"g",
];

fn is_harmless_file_name(name: &str) -> bool {
    let stem = name.split('.').next().unwrap().to_ascii_lowercase();
    !name.is_empty()
        && name.len() <= 255
        && !name.contains([
            '/', '\\', ':', '<', '>', '|', '?', '*', '"', '\x1b', '\u{202e}',
        ])
        && !name.contains(char::is_control)
        && !name.starts_with(['.', '~', '-', ' '])
        && !name.ends_with(['.', ' '])
        && !["nul", "com1", "com¹", "conin$"].contains(&stem.as_str())
}

// ---- at the server ----

#[test]
fn a_handshake_without_end_is_closed_at_a_limit() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let name = alice.fernet.encrypt(b"mallory");
    let lengths = |n: usize| 120_u32.to_be_bytes().repeat(n);
    for (bytes, reason) in [
        (lengths(65), "more than 64 lengths"),
        (frame(&[b'A'; 1028]), "the limit is 1024"),
        (
            [frame(name.as_bytes()), name.into_bytes()].concat(),
            "bytes that are no frame",
        ),
        (
            frame(alice.fernet.encrypt(&[b'a'; 600]).as_bytes()),
            "a user name has 1 to 64 characters",
        ),
    ] {
        let mut mallory = Peer::connect(server.port);
        mallory.says_raw(&bytes);
        // A name may be too long for the rules only; that is said at the end of the handshake.
        mallory.says_raw(&mallory.frame(FERNCHAT));
        assert!(
            server.program.logs("departed: ").contains(reason),
            "{reason}"
        );
    }
    alice.hears_nothing();
}

#[test]
fn those_who_drip_cost_no_more_than_they_send() {
    const N: usize = 60;
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    // They have announced names of 1 KiB, texts of 1 MiB, and files of 4 GiB.
    let mut drips: Vec<Peer> = (0..N).map(|_| Peer::connect(server.port)).collect();
    for (i, drip) in drips.iter_mut().enumerate() {
        if i % 3 == 0 {
            drip.says_raw(&1024_u32.to_be_bytes());
            continue;
        }
        drip.says(&format!("drip{i}"));
        drip.hears_text();
        drip.says(&format!("group {i}"));
        drip.hears("/adminReady");
        if i % 3 == 1 {
            drip.says_raw(&(1_u32 << 20).to_be_bytes());
            continue;
        }
        for text in ["/fileTransfer", "notes.txt"] {
            drip.says(text);
            drip.hears_text();
        }
        drip.says(&(4_u64 << 30).to_string());
    }
    let process = server.program.id();
    alice.hears_nothing();
    let before = (status_of(process, "VmRSS"), Footprint::of(process));
    for byte in b"gAAA" {
        for drip in &mut drips {
            drip.says_raw(&[*byte]);
        }
        alice.tells("does it drip?");
        bob.hears("alice: does it drip?");
    }
    let more = status_of(process, "VmRSS").saturating_sub(before.0);
    assert!(more < 1 << 10, "{more} KiB more for {} bytes", 4 * N);
    drop(drips);
    for _ in 0..N {
        server.program.logs("departed: hung up");
    }
    alice.hears_nothing();
}

#[test]
fn a_storm_of_connections_leaves_nothing_behind() {
    const BATCHES: usize = 100;
    const CONNECTIONS: usize = 100;
    let mut command = fernchat();
    command
        .args(["server", "127.0.0.1", "0"])
        .env("RUST_LOG", "fernchat=debug");
    let mut server = Server::of(command);
    let process = server.program.id();
    let mut alice = Peer::join(server.port, "alice", None);
    let before = Footprint::of(process);
    let mut memory = Vec::new();
    let what: [&[u8]; 4] = [
        b"",
        b"\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        &alice.frame("mallory"),
    ];
    for _ in 0..BATCHES {
        for i in 0..CONNECTIONS {
            let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            // The server may have had enough of it already.
            let _ = socket.write_all(what[i % what.len()]);
        }
        for _ in 0..CONNECTIONS {
            server.program.logs("departed: ");
        }
        before.comes_back(process);
        alice.hears_nothing();
        memory.push(status_of(process, "VmRSS"));
    }
    // The system keeps the stacks of as many threads as there were at one time, which takes some batches to settle.
    let (first, second) = memory.split_at(BATCHES / 2);
    let more = second
        .iter()
        .max()
        .unwrap()
        .saturating_sub(*first.iter().max().unwrap());
    assert!(more < 2 << 10, "KiB after each batch: {memory:?}");
    is_idle(process, &alice);
}

#[test]
fn a_server_out_of_descriptors_says_so_and_serves_again() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let process = server.program.id();
    let before = Footprint::of(process);
    let limits = |n: u64| {
        let (process, limit) = (format!("--pid={process}"), format!("--nofile={n}:"));
        assert!(
            Command::new("prlimit")
                .args([process, limit])
                .status()
                .unwrap()
                .success()
        );
    };
    limits(30);
    let sockets: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(("127.0.0.1", server.port)).unwrap())
        .collect();
    server
        .program
        .logs("cannot accept a connection: Too many open files");
    let n_logged = server.program.log_so_far().len();
    // It is said once, while the accept loop tries ten times a second; the others chat on.
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        alice.tells("is it full?");
        bob.hears("alice: is it full?");
    }
    assert!(
        !server
            .program
            .log_so_far()
            .iter()
            .skip(n_logged)
            .any(|line| line.contains("cannot accept"))
    );
    // A file needs a descriptor, too.
    let body = alice.fernet.encrypt(b"some text");
    let result = upload(&mut alice, "notes.txt", body.as_bytes());
    assert!(
        result.starts_with(
            "notes.txt was not shared: the server cannot store it: Too many open files"
        ),
        "{result}"
    );
    drop(sockets);
    before.comes_back(process);
    Peer::greet(server.port, "carol", "team").hears("/wait");
    alice.hears("PyChat: carol has requested to join the group.");
    assert_eq!(
        upload(&mut alice, "notes.txt", body.as_bytes()),
        "notes.txt is on its way to 1 member."
    );
    is_idle(process, &alice);
}

#[test]
fn a_server_that_may_have_few_descriptors_says_so_and_takes_as_many_clients_as_it_can() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 64 && exec \"$0\" server 127.0.0.1 0"])
        .arg(fernchat().get_program());
    let mut server = Server::of(command);
    server
        .program
        .logs("this machine lets the server have 30 clients at one time, not 1000: for more, raise its limit on open files (ulimit -n)");
    let clients: Vec<Peer> = (0..30)
        .map(|i| Peer::greet(server.port, &format!("m{i}"), &format!("group {i}")))
        .collect();
    for mut client in clients {
        client.hears("/adminReady");
        drop(client);
        server.program.logs("departed: ");
    }
    // They are gone now. A stranger takes all places and says nothing, and one still gets in.
    let _silent: Vec<Peer> = (0..40)
        .map(|_| Peer::connect_from(STRANGER, server.port).unwrap())
        .collect();
    Peer::greet(server.port, "alice", "team").hears("/adminReady");
}

#[test]
fn a_server_that_may_have_few_threads_counts_them_and_says_full_to_those_beyond() {
    if fs::metadata("/proc/self").map_or(0, |it| std::os::unix::fs::MetadataExt::uid(&it)) != 0 {
        // The limit counts all threads of a user, so the user must have no others.
        return skipped("this needs root, to become a user without other threads");
    }
    // The program lies where another user may not read. A copy in a folder of its own can be read.
    let home = folder();
    let program = home.path().join("fernchat");
    fs::copy(fernchat().get_program(), &program).unwrap();
    let all_may = |path: &Path| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, mode).unwrap();
    };
    all_may(home.path());
    all_may(&program);
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=54321",
            "--regid=54321",
            "--clear-groups",
            "bash",
            "-c",
        ])
        .args(["ulimit -u 40 && exec \"$0\" server 127.0.0.1 0"])
        .arg(&program)
        .env("RUST_LOG", "fernchat=debug");
    let mut server = Server::of(command);
    let line = server.program.logs("this machine lets the server have ");
    assert!(
        line.ends_with("raise its limit on threads (ulimit -u, or pids.max of its control group)")
    );
    let number = line.split("have ").nth(1).unwrap();
    let n: usize = number.split(' ').next().unwrap().parse().unwrap();
    assert!((4..20).contains(&n), "{line}");
    let mut clients: Vec<Peer> = (0..n)
        .map(|i| Peer::greet(server.port, &format!("m{i}"), &format!("group {i}")))
        .collect();
    clients
        .iter_mut()
        .for_each(|client| client.hears("/adminReady"));
    let mut late = Peer::greet(server.port, "late", "team\nfernchat/1");
    late.hears("/refused full the server is full; try again later");
    // Each has the thread that it needs: it gets more than its system takes at once.
    drop(clients.split_off(1));
    let mut bob = Peer::join(server.port, "bob", None);
    let mut carol = Peer::join(server.port, "carol", Some(&mut bob));
    let text = "x".repeat(390_000);
    bob.tells(&text);
    carol.hears(&format!("bob: {text}"));
}

#[test]
fn one_who_floods_is_slowed_down_and_the_others_are_answered() {
    /// What may lie between a question and its answer, in bytes: four times what may be queued for a member before others wait for it.
    /// The other three are for a write under way and what the system holds at both ends.
    const MOST: usize = 1 << 20;
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    SockRef::from(&bob.socket)
        .set_recv_buffer_size(64 << 10)
        .unwrap();
    let mut carol = Peer::join(server.port, "carol", Some(&mut alice));
    bob.hears("PyChat: carol has requested to join the group.");
    let mut mallory = Peer::join(server.port, "mallory", Some(&mut alice));
    for other in [&mut bob, &mut carol] {
        other.hears("PyChat: mallory has requested to join the group.");
    }
    let is_over = AtomicBool::new(false);
    // How much of the flood he hears before this.
    let flood_before = |peer: &mut Peer, wanted: &str| {
        let mut n = 0;
        loop {
            match peer.hears_text() {
                text if text == wanted => return n,
                text => {
                    assert!(text.starts_with("mallory: xxx"), "{text}");
                    n += text.len() * 4 / 3;
                }
            }
        }
    };
    thread::scope(|scope| {
        let mut echoes = mallory.socket.try_clone().unwrap();
        // He reads nothing but echoes, and those at once.
        scope.spawn(move || while matches!(echoes.read(&mut [0; 4096]), Ok(n) if n > 0) {});
        scope.spawn(|| {
            let line = [
                mallory.frame("/messageSend"),
                mallory.frame(&"x".repeat(200)),
            ]
            .concat();
            let lines = line.repeat(100);
            while !is_over.load(Ordering::SeqCst) {
                mallory.says_raw(&lines);
            }
            mallory.socket.shutdown(Shutdown::Both).unwrap();
        });
        // Everybody else keeps reading, because the server waits for those who do not.
        let reader = |peer: &mut Peer| while peer.hears_text() != "bob: that is all" {};
        let (alice, carol) = (&mut alice, &mut carol);
        scope.spawn(move || reader(alice));
        scope.spawn(move || reader(carol));
        // It has begun.
        assert!(bob.hears_text().starts_with("mallory: xxx"));
        for _ in 0..20 {
            bob.says("/whoAdmin");
            let n = flood_before(&mut bob, "/whoAdmin");
            bob.says("team");
            bob.hears("Admin: alice");
            assert!(n < MOST, "{n} bytes of flood before an answer");
        }
        bob.says("/messageSend");
        flood_before(&mut bob, "/messageSend");
        is_over.store(true, Ordering::SeqCst);
        bob.says("that is all");
    });
}

#[test]
fn a_name_that_steers_terminals_is_refused_and_a_text_passes_as_it_is() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    for steering in STEERING {
        for (name, group) in [
            (steering, FERNCHAT.to_owned()),
            ("carol", format!("{steering}\nfernchat/1")),
        ] {
            // A group's name ends at a line feed.
            if group.starts_with("a\n") {
                continue;
            }
            let refusal = Peer::greet(server.port, name, &group).hears_text();
            assert!(
                refusal.starts_with("/refused bad-name ") && !refusal.contains(is_harmful),
                "{refusal:?}"
            );
        }
        alice.tells(steering);
        bob.hears(&format!("alice: {steering}"));
        assert!(
            alice
                .decides("/approveRequest", steering)
                .contains("has asked to join")
        );
    }
    assert!(
        !server
            .program
            .log_so_far()
            .iter()
            .any(|line| line.contains(is_harmful)),
        "the log is for terminals, too"
    );
}

#[test]
fn a_shared_file_s_name_is_made_harmless_whatever_it_was() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let body = alice.fernet.encrypt(b"some text");
    let (long, longest) = (format!("{}.txt", "語".repeat(300)), "x".repeat(255));
    for name in FROM_HELL
        .into_iter()
        .chain([long.as_str(), longest.as_str()])
        .filter(|name| *name != "~error~")
    {
        let result = upload(&mut alice, name, body.as_bytes());
        bob.hears("/receiveFile");
        bob.says("/sendFilename");
        let told = bob.hears_text();
        assert!(is_harmless_file_name(&told), "{name:?} became {told:?}");
        assert_eq!(result, format!("{told} is on its way to 1 member."));
        bob.says("/sendFile");
        bob.hears(&body.len().to_string());
        bob.hears_raw(body.len());
    }
    // A name that is not UTF-8 is no text.
    alice.says("/fileTransfer");
    alice.hears("/fileTransfer");
    alice.says_raw(&frame(alice.fernet.encrypt(b"caf\xe9.txt").as_bytes()));
    assert!(
        server
            .program
            .logs("departed: broke the protocol")
            .contains("not UTF-8")
    );
    bob.hears_nothing();
}

#[test]
fn a_size_that_lies_shares_nothing_and_ends_at_most_the_liar() {
    let mut server = Server::start();
    let process = server.program.id();
    let mut alice = Peer::join(server.port, "alice", None);
    let before = Footprint::of(process);
    let body = alice.fernet.encrypt(&[7; 1000]).into_bytes();
    let len = body.len();
    // What is announced, what comes, the result if there is one, and how the liar departs.
    let cases: [(String, &[u8], Option<&str>, &str); 8] = [
        (
            (len - 4).to_string(),
            &body,
            Some("it did not arrive whole"),
            "bytes that are no frame",
        ),
        ((len + 4).to_string(), &body, None, "hung up"),
        (
            (len - 1).to_string(),
            &body[..len - 1],
            Some("it did not arrive whole"),
            "hung up",
        ),
        ("0".into(), b"", Some("was not shared"), "hung up"),
        (u64::MAX.to_string(), &body, None, "hung up"),
        (format!("{}0", u64::MAX), b"", None, "the length of a body"),
        ("-1".into(), b"", None, "the length of a body"),
        ("a lot".into(), b"", None, "the length of a body"),
    ];
    for (i, (length, bytes, result, departure)) in cases.into_iter().enumerate() {
        let mut mallory = Peer::join(server.port, &format!("mallory{i}"), Some(&mut alice));
        for text in ["/fileTransfer", "notes.txt"] {
            mallory.says(text);
            mallory.hears_text();
        }
        mallory.says(&length);
        mallory.says_raw(bytes);
        if let Some(result) = result {
            assert!(mallory.hears_text().contains(result), "{length}");
        }
        End::Close.of(mallory.socket);
        let line = server.program.logs("departed: ");
        assert!(line.contains(departure), "{length}: {line}");
    }
    alice.hears_nothing();
    before.comes_back(process);
}

#[test]
fn a_receiver_that_dies_anywhere_in_a_delivery_holds_nobody_up() {
    let mut server = Server::start();
    let process = server.program.id();
    let mut alice = Peer::join(server.port, "alice", None);
    let before = Footprint::of(process);
    let ours = |name: &str, alice: &mut Peer| {
        let mut peer = Peer::greet(server.port, name, FERNCHAT);
        peer.hears("/wait");
        alice.hears(&format!("PyChat: {name} has requested to join the group."));
        alice.decides("/approveRequest", name);
        peer.hears("/accepted");
        peer
    };
    let mut otto = ours("otto", &mut alice);
    drop(ours("olga", &mut alice));
    otto.hears("/requested from:127.0.0.1 olga");
    otto.hears("/news joined olga");
    otto.hears("/news left olga");
    server.program.logs("departed: ");
    // More than the system takes for somebody who does not read.
    let body = alice.fernet.encrypt(&vec![7; 4 << 20]);
    let receives = |olga: &mut Peer, n_steps: usize| {
        if n_steps == 0 {
            return;
        }
        let (id, _) = olga.hears_offer("big.bin", "alice");
        let asked = format!("/sendFile {id} 0");
        match n_steps {
            1 => {}
            2 => olga.says(&asked),
            _ => drop(olga.takes_file(&id, 0, 300_000)),
        }
    };
    for (n_steps, end) in (0..=3).flat_map(|n_steps| End::BOTH.map(|end| (n_steps, end))) {
        let mut olga = Peer::greet(server.port, "olga", FERNCHAT);
        olga.hears("/ready");
        assert_eq!(
            upload(&mut alice, "big.bin", body.as_bytes()),
            "big.bin is on its way to 2 members."
        );
        receives(&mut olga, n_steps);
        match end {
            // Shut both ways, or the rest would be read.
            End::Close => olga.socket.shutdown(Shutdown::Both).unwrap(),
            End::Reset => end.of(olga.socket),
        }
        otto.hears("/news joined olga");
        let (id, len) = otto.hears_offer("big.bin", "alice");
        otto.hears("/news left olga");
        assert!(otto.takes_file(&id, 0, len) == body.as_bytes());
        otto.says(&format!("/haveFile {id}"));
        alice.hears("PyChat: big.bin did not reach olga.");
        server.program.logs("departed: ");
        assert_eq!(
            alice.asks_for_set("/onlineMembers"),
            set(&["alice", "otto"]),
            "{n_steps} {end:?}"
        );
    }
    drop(otto);
    before.comes_back(process);
}

#[test]
fn an_uploader_who_lies_or_vanishes_gives_nobody_a_file_that_looks_whole() {
    let server = Server::start();
    let process = server.program.id();
    let mut alice = Peer::join_as_fernchat(server.port, "alice", None);
    let mut mallory = Peer::join_as_fernchat(server.port, "mallory", Some(&mut alice));
    let before = Footprint::of(process);
    let good = alice.fernet.encrypt(&vec![7; 2 << 20]).into_bytes();
    let len = good.len();
    let mut bad = good.clone();
    bad[len - 20] ^= 1;
    let last = len - 1000;
    // What is sent of it, and the reason that the receiver hears.
    let cases: [(&[u8], &[u8], &str); 4] = [
        // A false HMAC.
        (&bad[..last], &bad[last..], "it did not arrive whole: "),
        // An end in the last piece.
        (&good[..last], b"!", "its sender stopped it"),
        // No end: the connection is closed instead.
        (&good[..last], b"", "its sender is gone"),
        (&good[..len / 2], b"", "its sender is gone"),
    ];
    for (n, (begin, rest, reason)) in cases.into_iter().enumerate() {
        mallory.says(&format!("/receiveFile {n} {len}\nbig.bin\n"));
        mallory.hears(&format!("/sendFile {n} 0"));
        mallory.says_raw(begin);
        let (id, _) = alice.hears_offer("big.bin", "mallory");
        let open = begin.len().min(len - (64 << 10));
        assert!(alice.takes_file(&id, 0, open) == begin[..open]);
        mallory.says_raw(rest);
        if rest.is_empty() {
            mallory.socket.shutdown(Shutdown::Both).unwrap();
        }
        let mut told = alice.hears_text();
        // What else there is for alice may go before the next piece of a body, and so before its end.
        let has_heard_news = rest.is_empty() && told == "/news left mallory";
        if has_heard_news {
            told = alice.hears_text();
        }
        assert!(
            told.starts_with(&format!("/stopFile {id} {reason}")),
            "{told}"
        );
        assert_eq!(alice.hears_raw(1), b"!");
        if rest.is_empty() {
            if !has_heard_news {
                alice.hears("/news left mallory");
            }
            mallory = Peer::greet(server.port, "mallory", FERNCHAT);
            mallory.hears("/ready");
            alice.hears("/news joined mallory");
        } else if n == 0 {
            let told = mallory.hears_text();
            assert!(told.starts_with("/stopFile 0 it did not"), "{told}");
        }
    }
    mallory.says(&format!("/receiveFile 9 {}\nbig.bin\n", u64::MAX));
    assert!(
        mallory
            .hears_text()
            .starts_with("/stopFile 9 this server takes")
    );
    before.comes_back(process);
}

#[test]
fn a_receiver_who_asks_for_what_is_not_there_gets_nothing() {
    let mut server = Server::start();
    let mut alice = Peer::join_as_fernchat(server.port, "alice", None);
    let mut mallory = Peer::join_as_fernchat(server.port, "mallory", Some(&mut alice));
    let mut otto = Peer::join_as_fernchat(server.port, "otto", Some(&mut alice));
    mallory.hears("/requested from:127.0.0.1 otto");
    mallory.hears("/news joined otto");
    let body = alice.fernet.encrypt(b"for otto").into_bytes();
    alice.says(&format!("/receiveFile 7 {}\na.txt\notto", body.len()));
    alice.hears("/sendFile 7 0");
    alice.says_raw(&body);
    alice.hears("/haveFile 7 a.txt is on its way to 1 member.");
    let (id, len) = otto.hears_offer("a.txt", "alice");
    // It was not offered this file, and can neither take nor end it.
    for id in [&id, "7", "no such file"] {
        let id = id.split(' ').next().unwrap();
        mallory.says(&format!("/haveFile {id}"));
        mallory.says(&format!("/stopFile {id} none of yours"));
        mallory.says(&format!("/sendFile {id} 0"));
        mallory.hears(&format!("/stopFile {id} it is not on offer any more"));
    }
    // From its end on, from behind it, and from no place at all.
    assert!(otto.takes_file(&id, 0, len) == body);
    otto.says(&format!("/haveFile {id}"));
    alice.hears("PyChat: otto has a.txt.");
    for place in [
        (len + 1).to_string(),
        u64::MAX.to_string(),
        "-1".into(),
        "all".into(),
    ] {
        alice.says(&format!("/receiveFile {place} {}\na.txt\notto", body.len()));
        alice.hears(&format!("/sendFile {place} 0"));
        alice.says_raw(&body);
        assert!(alice.hears_text().starts_with("/haveFile "));
        let (id, _) = otto.hears_offer("a.txt", "alice");
        otto.says(&format!("/sendFile {id} {place}"));
        assert!(otto.hears_text().starts_with("/closing "));
        server.program.logs("otto");
        otto = Peer::greet(server.port, "otto", FERNCHAT);
        otto.hears("/ready");
        // In some order: that otto left and came, and what became of the file.
        let mut heard = [(); 3].map(|()| alice.hears_text());
        heard.sort();
        let news = ["/news joined otto", "/news left otto"];
        assert_eq!(
            heard,
            [news[0], news[1], "PyChat: a.txt did not reach otto."]
        );
    }
}

// ---- at our client ----

/// Our client, on its way into the group `team` of a server that is this test.
fn guest(listener: &TcpListener, downloads: &Path) -> Program {
    let port = listener.local_addr().unwrap().port();
    support::client(port, "alice", &["--downloads", downloads.to_str().unwrap()])
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Everything below a folder.
fn files(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// What no server may say at any point, and what our client says then.
fn nonsense(key: &str) -> Vec<(Vec<u8>, &'static str)> {
    let (fernet, foreign) = (
        Fernet::new(key).unwrap(),
        Fernet::new(&Fernet::generate_key()).unwrap(),
    );
    vec![
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            "bytes that are no frame",
        ),
        (b"\xff\xff\xff\xff".to_vec(), "bytes that are no frame"),
        (
            b"\x00\xff\xff\xff".to_vec(),
            "a frame of 16777215 bytes, the limit is 1048576",
        ),
        (101_u32.to_be_bytes().to_vec(), "which no token has"),
        (120_u32.to_be_bytes().repeat(65), "more than 64 lengths"),
        (
            frame(foreign.encrypt(b"/ready").as_bytes()),
            "a token that does not open",
        ),
        (
            fernet.encrypt(b"/ready").into_bytes(),
            "bytes that are no frame",
        ),
    ]
}

#[test]
fn a_server_that_breaks_off_or_breaks_the_protocol_in_a_join_is_one_line() {
    let (listener, downloads) = (listener(), folder());
    let key = Fernet::generate_key();
    let fernet = Fernet::new(&key).unwrap();
    let says = |text: &[u8]| frame(fernet.encrypt(text).as_bytes());
    let steps = [key.clone().into_bytes(), says(b"/sendGroupname")];
    let mut cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "no chat server answers there"),
        (b"too short".to_vec(), "no chat server answers there"),
        (
            key.as_bytes()[..43].to_vec(),
            "no chat server answers there",
        ),
        (
            b"a key of 44 bytes, but none that is one here".to_vec(),
            "no chat server answers there",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(),
            "no chat server answers there",
        ),
    ];
    let mut so_far = Vec::new();
    let when_closed = [
        "no chat server answers there",
        "the server closed the connection: it ended without a word",
    ];
    for (step, closed) in steps.into_iter().zip(when_closed) {
        so_far.extend(step);
        cases.push((so_far.clone(), closed));
        let refused = says("/refused bad-name \x1b]0;owned\x07\u{202e}\nerror: again".as_bytes());
        cases.push((
            [&so_far, &refused[..]].concat(),
            "refused: ^[]0;owned^G<U+202E>^Jerror: again",
        ));
        cases.push((
            [&so_far, &says(b"caf\xe9")[..]].concat(),
            "a text that is not UTF-8",
        ));
        for (nonsense, reason) in nonsense(&key) {
            cases.push(([&so_far[..], &nonsense].concat(), reason));
        }
    }
    for (bytes, reason) in cases {
        let mut alice = guest(&listener, downloads.path());
        let (mut socket, _) = listener.accept().unwrap();
        socket.write_all(&bytes).unwrap();
        End::Close.of(socket);
        ends_badly(&mut alice, reason);
    }
    assert!(files(downloads.path()).is_empty());
}

#[test]
fn a_server_that_breaks_off_or_breaks_the_protocol_later_is_one_line() {
    let (listener, downloads) = (listener(), folder());
    type Act<'a> = &'a dyn Fn(&mut Peer);
    let offers_a_file = |server: &mut Peer, length: &str| {
        for text in ["/receiveFile", "big.bin", length] {
            server.says(text);
        }
    };
    let acts: [(Act, &str); 7] = [
        (&|_| (), "it ended without a word"),
        (
            &|server| server.says("/waitDisconnect"),
            "it ends those who wait",
        ),
        // Offers without end.
        (
            &|server| (0..65).for_each(|_| server.says("/receiveFile")),
            "not the end of a delivery",
        ),
        // A length that is no number of bytes.
        (
            &|server| offers_a_file(server, &"9".repeat(30)),
            "not the length of a body",
        ),
        // A file without end, that begins as it should; and one that holds another.
        (
            &|server| {
                offers_a_file(server, &u64::MAX.to_string());
                let body = server.fernet.encrypt(&vec![7; 1 << 20]);
                server.says_raw(body.as_bytes());
            },
            "it ended without a word",
        ),
        (
            &|server| {
                offers_a_file(server, "1000");
                server.says_raw(b"gAAAAA");
                offers_a_file(server, "1000");
            },
            "not the end of a body",
        ),
        (
            &|server| {
                offers_a_file(server, "1000");
                server.says("/closing enough \x1b[31mof this");
            },
            "enough ^[[31mof this",
        ),
    ];
    let ends = |act: Act, reason: &str| {
        let mut alice = guest(&listener, downloads.path());
        let mut server = Peer::host(&listener);
        server.says("/ready");
        act(&mut server);
        End::Close.of(server.socket);
        ends_badly(&mut alice, reason);
        assert!(files(downloads.path()).is_empty(), "{reason}");
    };
    for (act, reason) in acts {
        ends(act, reason);
    }
    let n_nonsense = nonsense(&Fernet::generate_key()).len();
    for at in 0..n_nonsense {
        let reason = nonsense(&Fernet::generate_key())[at].1;
        ends(
            &|server| server.says_raw(&nonsense(&server.key)[at].0),
            reason,
        );
    }
}

#[test]
fn a_server_that_answers_with_nonsense_is_shown_harmlessly_and_the_chat_goes_on() {
    let (listener, downloads) = (listener(), folder());
    let mut alice = guest(&listener, downloads.path());
    let mut server = Peer::host(&listener);
    server.says("/ready");
    let says_bytes = |server: &mut Peer, bytes: &[u8]| {
        let frame = frame(server.fernet.encrypt(bytes).as_bytes());
        server.says_raw(&frame);
    };
    let evil = fernchat::wire::name_set::encode(STEERING);
    let canary = downloads.path().join("canary").display().to_string();
    let calls = format!("\x04cos\nsystem\n(X{}touch {canary}tR.", "\x00");
    let nested = [b"\x80\x04".as_slice(), &b"]".repeat(100_000), b"."].concat();
    for pickle in [
        &[b"\x80", calls.as_bytes()].concat(),
        &nested,
        &b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec(),
        &evil,
    ] {
        alice.types("/4");
        server.hears("/allMembers");
        server.says("/allMembers");
        server.hears(".");
        says_bytes(&mut server, pickle);
    }
    for _ in 0..3 {
        alice.hears("The server's list cannot be read");
    }
    let shown = alice.hears("members: ");
    assert!(
        !shown.contains(is_harmful) && shown.contains("a^[[2Jb"),
        "{shown}"
    );
    // A result that steers terminals, with events before it; a set and bytes that nobody asked for.
    alice.types("/7");
    server.hears("/whoAdmin");
    server.says("bob: before the echo");
    server.says("/whoAdmin");
    server.hears("team");
    says_bytes(&mut server, &evil);
    says_bytes(&mut server, b"\xff\xfe");
    server.says(&format!("Admin: {}", STEERING.concat()));
    let shown = alice.hears("Admin: ");
    assert!(!shown.contains(is_harmful), "{shown}");
    // A file that does not open, one that is none, and one that is called off.
    for (length, body) in [
        ("1000", "A".repeat(1000)),
        ("5", "GET /".to_owned()),
        ("0", String::new()),
    ] {
        for text in ["/receiveFile", "notes.txt", length] {
            server.says(text);
        }
        server.says_raw(body.as_bytes());
        let line = alice.hears("notes.txt");
        assert!(
            line.contains("was not received") || line.contains("is not coming"),
            "{line}"
        );
    }
    server.says("bob: hello again");
    alice.hears_next("bob: hello again");
    assert!(files(downloads.path()).is_empty());
    assert_eq!(alice.log_so_far(), [] as [String; 0]);
}

#[test]
fn a_server_that_never_answers_can_be_left() {
    let (listener, downloads) = (listener(), folder());
    let mut alice = guest(&listener, downloads.path());
    let mut server = Peer::host(&listener);
    server.says("/ready");
    alice.types("/7");
    server.hears("/whoAdmin");
    server.says("/whoAdmin");
    server.hears("team");
    alice.signal("INT");
    ends_well(&mut alice);

    // A script leaves by itself: its goodbye is not answered, either.
    let mut alice = guest(&listener, downloads.path());
    let mut server = Peer::host(&listener);
    server.says("/ready");
    alice.ends_input();
    server.hears("/disconnect");
    ends_well(&mut alice);
}

#[test]
fn a_server_that_reads_no_answer_can_be_left() {
    let (listener, downloads) = (listener(), folder());
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let mut alice = guest(&listener, downloads.path());
    let mut server = Peer::accept(&listener);
    server.hears_text();
    server.says("/sendGroupname fernchat/1 ours");
    let introduction = server.hears_text();
    let theirs = introduction.split([' ', '\n']).nth(3).unwrap();
    server.says(&format!("/ready {theirs}"));
    alice.hears("You are in the group team");
    // It goes on until the client, stuck in an answer, reads no more.
    let offer = format!("/receiveFile 7 {}\nx\nmallory", 1_u64 << 60);
    let offers = server.frame(&offer).repeat(300);
    let patience = Some(Duration::from_secs(2));
    server.socket.set_write_timeout(patience).unwrap();
    while server.socket.write_all(&offers).is_ok() {
        alice.hears_what_is_there();
    }
    alice.signal("TERM");
    assert!(alice.ends_within(Duration::from_secs(10)).success());
}

#[test]
fn what_a_server_says_at_length_is_shown_and_remembered_within_bounds() {
    let (listener, downloads) = (listener(), folder());
    let mut alice = guest(&listener, downloads.path());
    let mut server = Peer::host(&listener);
    server.says("/wait");
    alice.hears("You wait for the admin of team");
    for _ in 0..1000 {
        server.says("/accepted");
    }
    server.says("bob: hello");
    alice.hears("You have been approved");
    alice.hears_next("bob: hello");
    let n_threads = status_of(alice.id(), "Threads");
    assert!(n_threads < 10, "{n_threads} threads");

    // Names as long as a frame can carry: of people who speak, who ask to join, and who share files.
    let name = |n: usize| format!("{}{n:0>9}", "0".repeat(700_000));
    let (long, cut) = ("0".repeat(700_000), format!("{}...", "0".repeat(64)));
    server.says(&format!("{long}: hello"));
    alice.hears_next(&format!("{cut}: hello"));
    let before = status_of(alice.id(), "VmRSS");
    for n in 0..8 {
        server.says(&format!("{}: hello", name(n)));
        server.says(&format!(
            "PyChat: {} has requested to join the group.",
            name(n)
        ));
        server.says(&format!("/receiveFile {}", name(n)));
    }
    for _ in 0..8 {
        alice.hears_next(&format!("{cut}: hello"));
        assert!(alice.hears("PyChat: 000").len() < 1100);
    }
    // What a friend says stays whole.
    let line = format!("bob: {}", "x".repeat(512 << 10));
    server.says(&line);
    alice.hears_next(&line);
    let more = status_of(alice.id(), "VmRSS").saturating_sub(before);
    assert!(more < 8 << 10, "{more} KiB more");
    for _ in 0..8 {
        server.says("notes.txt");
        server.says("0");
        alice.hears_next(&format!(
            "The file notes.txt from {cut} is not coming: the server called it off."
        ));
    }

    // Lists.
    let mut members = |alice: &mut Program, set: &[u8]| {
        alice.types("/4");
        // The answers to the offers come first, some of them twice.
        while server.hears_text() != "/allMembers" {}
        server.says("/allMembers");
        server.hears(".");
        server.says_raw(&frame(server.fernet.encrypt(set).as_bytes()));
    };
    let names: Vec<String> = (10_000..30_001).map(|n| n.to_string()).collect();
    let encode =
        |names: &[String]| fernchat::wire::name_set::encode(names.iter().map(String::as_str));
    members(&mut alice, &encode(&[long]));
    alice.hears_next(&format!("members: {cut}"));
    members(&mut alice, &encode(&names[..10_000]));
    assert!(alice.hears("members: 10000, ").ends_with(", 19999"));
    members(&mut alice, &encode(&names));
    assert!(
        alice
            .hears("members: 10000, ")
            .ends_with(", 19999, and 10001 more")
    );
    let many: Vec<String> = (0..100_001).map(|n| n.to_string()).collect();
    members(&mut alice, &encode(&many));
    alice.hears("not a set of at most 100000 names");
    // A result, and the last words.
    alice.types("/7");
    server.hears("/whoAdmin");
    server.says("/whoAdmin");
    server.hears("team");
    server.says(&format!("Admin: {}", name(7)));
    assert_eq!(alice.hears("Admin: 000").len(), 1003);
    server.says(&format!("/closing {}", name(7)));
    assert_eq!(alice.ends().code(), Some(1));
    let last = alice.logs("the server closed the connection: 000");
    assert!(last.len() < 1100, "{last}");
}

#[test]
fn a_file_that_is_too_long_or_finds_no_room_is_dropped_and_the_chat_goes_on() {
    let (listener, downloads) = (listener(), folder());
    let port = listener.local_addr().unwrap().port();
    let start = |limit: &str| {
        let downloads = downloads.path().to_str().unwrap();
        let options = ["--downloads", downloads, "--max-receive", limit];
        let mut alice = support::client(port, "alice", &options);
        let mut server = Peer::host(&listener);
        server.says("/ready");
        alice.hears("You are in the group team");
        (alice, server)
    };
    let offers = |server: &mut Peer, len: u64| {
        for text in ["/receiveFile", "notes.txt", &len.to_string()] {
            server.says(text);
        }
    };
    let (mut alice, mut server) = start("100K");
    // Of the last length that is kept, and of the first that is not: the next block of AES.
    let most = 100 << 10;
    for (len, is_kept) in [
        (most, true),
        (most + 16, false),
        (3 * most, false),
        (7, true),
    ] {
        let body = server.fernet.encrypt(&vec![7; len]).into_bytes();
        offers(&mut server, body.len() as u64);
        let (first, rest) = body.split_at(body.len() / 2);
        server.says_raw(first);
        server.says("bob: in the middle");
        server.says_raw(rest);
        server.says("bob: afterwards");
        if !is_kept {
            let line = alice.hears("notes.txt was not received: ");
            assert!(
                line.contains("is above the limit of 100 KiB; --max-receive raises it"),
                "{line}"
            );
        }
        alice.hears_next("bob: in the middle");
        if is_kept {
            alice.hears("Received notes.txt: ");
        }
        alice.hears_next("bob: afterwards");
    }
    assert_eq!(files(downloads.path()).len(), 2);

    // Without a limit the disk is one, and it is looked at before anything is written.
    let (mut alice, mut server) = start("none");
    offers(&mut server, 1 << 60);
    server.says_raw(b"gAAAAA");
    let line =
        alice.hears("notes.txt was not received: it has 768 PiB, and the disk has room for ");
    assert!(!line.contains("--max-receive"), "{line}");
    server.says_raw(&[b'x'; 1 << 20]);
    server.says("bob: in the middle");
    alice.hears_next("bob: in the middle");
    assert_eq!(files(downloads.path()).len(), 2);
}

#[test]
fn a_received_file_stays_in_its_folder_whatever_its_name_was() {
    let (listener, home) = (listener(), folder());
    let downloads = home.path().join("some").join("downloads");
    fs::create_dir_all(&downloads).unwrap();
    let mut alice = guest(&listener, &downloads);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    let body = server.fernet.encrypt(b"evil");
    let (long, longest) = (format!("{}.txt", "語".repeat(300)), "x".repeat(255));
    // Some of them twice, which is once too often for a folder.
    let twice = [long.as_str(), longest.as_str()].repeat(2);
    let names: Vec<&str> = FROM_HELL.into_iter().chain(twice).collect();
    for name in &names {
        server.says("/receiveFile");
        server.hears("/sendFilename");
        server.says(name);
        server.hears("/sendFile");
        server.says(&body.len().to_string());
        server.says_raw(body.as_bytes());
        let line = alice.hears("Received ");
        assert!(!line.contains(is_harmful), "{line}");
    }
    let received = files(&downloads);
    assert_eq!(received.len(), names.len());
    for name in received {
        assert!(is_harmless_file_name(&name), "{name:?}");
        assert_eq!(fs::read(downloads.join(&name)).unwrap(), b"evil");
    }
    assert_eq!(
        (files(home.path()), files(downloads.parent().unwrap())),
        (vec!["some".into()], vec!["downloads".into()])
    );
}

#[test]
fn a_relay_that_sends_nonsense_is_mentioned_once_and_the_chat_goes_on() {
    let (listener, key) = (listener(), Fernet::generate_key());
    let fernet = Fernet::new(&key).unwrap();
    let mut command = fernchat();
    let port = listener.local_addr().unwrap().port().to_string();
    command
        .args(["relay-client", "127.0.0.1", &port, "--name", "alice"])
        .arg("--no-reconnect")
        .env("FERNCHAT_KEY", &key);
    let mut alice = Program::start(command);
    alice.hears("alice joined");
    let (mut relay, _) = listener.accept().unwrap();
    relay.set_write_timeout(Some(DEADLINE)).unwrap();
    let token = |text: &[u8]| fernet.encrypt(text).into_bytes();
    let hello = token(b"[10:20:30] bob: hello");
    let memory = status_of(alice.id(), "VmRSS");
    for nonsense in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0; 100_000],
        Fernet::new(&Fernet::generate_key())
            .unwrap()
            .encrypt(b"hello")
            .into_bytes(),
        // A token without end, for the shape's sake; the next can be told from it only because it is padded.
        [b"gAAAAA".as_slice(), &vec![b'x'; 16 << 20], b"="].concat(),
    ] {
        relay.write_all(&nonsense).unwrap();
        relay.write_all(&hello).unwrap();
        alice.hears("10:20:30 bob: hello");
    }
    for steering in STEERING {
        relay
            .write_all(&token(format!("[10:20:30] bob: {steering}").as_bytes()))
            .unwrap();
        let line = alice.hears("10:20:30 bob: a");
        assert!(!line.contains(is_harmful), "{line}");
    }
    relay.write_all(&token(b"caf\xe9")).unwrap();
    alice.hears("caf");
    let more = status_of(alice.id(), "VmRSS").saturating_sub(memory);
    assert!(more < 4 << 10, "{more} KiB more");
    // In the middle of a token.
    relay.write_all(&hello[..50]).unwrap();
    End::Close.of(relay);
    ends_badly(&mut alice, "the relay closed the connection");
}

/// A fernchat client that can join again, of a member that has no key.
fn lasting_peer(server: &Server, name: &str) -> Peer {
    Peer::greet(server.port, name, &format!("team\nfernchat/1\nrun-{name} "))
}

#[test]
fn a_receiver_who_comes_and_goes_while_an_upload_stands_still_keeps_no_connection_open() {
    let mut server = Server::start();
    let mut alice = Peer::join_as_fernchat(server.port, "alice", None);
    let mut bob = lasting_peer(&server, "bob");
    bob.hears("/wait");
    alice.hears("/requested from:127.0.0.1 bob");
    alice.approves_as_fernchat("bob");
    bob.hears("/accepted");
    let body = alice.fernet.encrypt(&vec![7; 2 << 20]).into_bytes();
    alice.says(&format!("/receiveFile 7 {}\nbig.bin\n", body.len()));
    alice.hears("/sendFile 7 0");
    alice.says_raw(&body[..body.len() / 2]);
    let process = server.program.id();
    let descriptors = || {
        let all = std::fs::read_dir(format!("/proc/{process}/fd"));
        all.unwrap().count()
    };
    let before = descriptors();
    for _ in 0..20 {
        let (id, _) = bob.hears_offer("big.bin", "alice");
        // The rest does not come, so the server waits for it.
        bob.takes_file(&id, 0, body.len() / 2);
        drop(bob);
        server.program.logs(" bob is offline");
        bob = lasting_peer(&server, "bob");
        bob.hears("/ready");
    }
    assert!(descriptors() < before + 10, "{before}, {}", descriptors());
}

#[test]
fn a_line_to_one_person_that_was_heard_is_not_said_to_be_unheard_when_it_comes_again() {
    let mut server = Server::start();
    let mut alice = lasting_peer(&server, "alice");
    alice.hears("/adminReady");
    let mut bob = Peer::join_as_fernchat(server.port, "bob", Some(&mut alice));
    alice.says("/messageSend");
    alice.says("1 /tell bob\nhello");
    bob.hears("/tell alice\nhello");
    // What the server said to that is lost with the connection, and bob leaves.
    drop(alice);
    server.program.logs(" alice is offline");
    drop(bob);
    server.program.logs(" bob is offline");
    let mut alice = lasting_peer(&server, "alice");
    alice.hears("/ready");
    alice.says("/messageSend");
    alice.says("1 /tell bob\nhello");
    alice.hears("/taken 1");
}
