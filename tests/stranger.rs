//! A stranger at one address takes all that there is of something, and honest people at another still get some of it.
//!
//! | what he takes | who makes room | test |
//! | --- | --- | --- |
//! | all places, to wait for approval | his oldest client that waits | `a_stranger_who_waits_in_all_places_makes_room_for_a_newcomer_and_for_a_member_that_comes_back` |
//! | all places, with groups of one | his oldest member | `a_stranger_who_founds_groups_in_all_places_makes_room_but_members_from_several_addresses_stay` |
//! | all places, in silence | his oldest connection | `chat.rs`: `a_full_server_says_so_and_one_that_is_full_of_silence_makes_room` |
//! | all places in the spool, a byte at a time | his oldest upload | `a_stranger_whose_uploads_crawl_in_all_places_makes_room_and_stays_in_sync` |
//! | the memory for frames, while he waits | nobody: he may send short frames only | `a_client_that_waits_may_send_short_frames_only_and_long_ones_as_soon_as_it_is_a_member` |
//! | the memory, with frames and queues | those of his clients that hold most | `a_stranger_who_takes_all_memory_is_disconnected_and_honest_members_chat_on` |
//! | all places of a relay | his oldest connection | `a_stranger_who_fills_a_relay_makes_room` |

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use support::{
    DEADLINE, Den, Peer, Program, STRANGER, Server, connect_from, fernchat, send_partial_frames,
    status_of, upload,
};

/// What the stranger's client hears before it is closed, as a fernchat client.
const MADE_ROOM: &str = "/closing The server is full, and your address has most of its places.";

/// The word that a group's name ends with if the client is fernchat's.
const FERNCHAT: &str = "\nfernchat/1";

const PLACES: usize = 12;

fn full_server(n_places: usize) -> Server {
    Server::start_with(&["--max-clients", &n_places.to_string()])
}

#[test]
fn a_stranger_who_waits_in_all_places_makes_room_for_a_newcomer_and_for_a_member_that_comes_back() {
    // So few that each request is announced.
    const PLACES: usize = 6;
    let server = full_server(PLACES);
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let waits = |n: usize| {
        let mut peer = Peer::stranger(server.port, &format!("m{n}"), &format!("team{FERNCHAT}"));
        let heard = peer.hears_text();
        (peer, heard)
    };
    let mut strangers: Vec<Peer> = Vec::new();
    for n in 0..PLACES - 2 {
        let (peer, heard) = waits(n);
        assert_eq!(heard, "/wait");
        let notice = format!("PyChat: m{n} has requested to join the group.");
        alice.hears(&notice);
        bob.hears(&notice);
        strangers.push(peer);
    }
    // His own address gets no more, and nobody makes room for it.
    assert!(waits(PLACES).1.starts_with("/refused full "));
    // A newcomer and a member that comes back get in; the oldest of the stranger's clients are told why they go.
    let mut carol = Peer::greet(server.port, "carol", "team");
    carol.hears("/wait");
    strangers[0].hears(MADE_ROOM);
    strangers[0].hears_end();
    drop(bob);
    alice.hears("PyChat: carol has requested to join the group.");
    while alice.asks_for_set("/onlineMembers").len() > 1 {}
    let (_back, heard) = waits(0);
    assert_eq!(heard, "/wait", "the request stays");
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/ready");
    strangers[1].hears(MADE_ROOM);
    assert!(
        alice
            .decides("/approveRequest", "m0")
            .contains("is now a member")
    );
    // The others still wait.
    alice.decides("/approveRequest", "m2");
    strangers[2].hears("/accepted");
    alice.tells("hello");
    bob.hears("alice: hello");
}

#[test]
fn a_stranger_who_founds_groups_in_all_places_makes_room_but_members_from_several_addresses_stay() {
    let server = full_server(PLACES);
    let mut alice = Peer::join(server.port, "alice", None);
    let mut mallory = Peer::stranger(server.port, "mallory", "team");
    mallory.hears("/wait");
    alice.hears("PyChat: mallory has requested to join the group.");
    alice.decides("/approveRequest", "mallory");
    mallory.hears("/accepted");
    let founds = |n: usize| {
        let group = format!("group {n}{FERNCHAT}");
        let mut peer = Peer::stranger(server.port, "mallory", &group);
        let heard = peer.hears_text();
        (peer, heard)
    };
    let mut strangers: Vec<Peer> = (2..PLACES)
        .map(|n| {
            let (peer, heard) = founds(n);
            assert_eq!(heard, "/adminReady");
            peer
        })
        .collect();
    assert!(founds(PLACES).1.starts_with("/refused full "));
    // Honest people take places until both addresses have as many that can be taken.
    let honest: Vec<Peer> = (0..strangers.len() / 2)
        .map(|n| {
            let mut peer = Peer::greet(server.port, &format!("m{n}"), "another");
            assert!(["/adminReady", "/wait"].contains(&peer.hears_text().as_str()));
            strangers[n].hears(MADE_ROOM);
            peer
        })
        .collect();
    let mut one_more = Peer::greet(server.port, "one more", &format!("another{FERNCHAT}"));
    assert!(one_more.hears_text().starts_with("/refused full "));
    assert_eq!(honest.len(), 5);
    alice.tells("hello");
    mallory.hears("alice: hello");
}

#[test]
fn a_client_that_waits_may_send_short_frames_only_and_long_ones_as_soon_as_it_is_a_member() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut mallory = Peer::stranger(server.port, "mallory", "team");
    mallory.hears("/wait");
    mallory.says_raw(&1028_u32.to_be_bytes());
    let line = server.program.logs("broke the protocol");
    assert!(
        line.contains("a frame of 1028 bytes, the limit is 1024"),
        "{line}"
    );
    alice.hears("PyChat: mallory has requested to join the group.");
    // A frame of a client that is approved may be long at once.
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let long = "x".repeat(2000);
    bob.tells(&long);
    alice.hears(&format!("bob: {long}"));
}

#[test]
fn a_stranger_whose_uploads_crawl_in_all_places_makes_room_and_stays_in_sync() {
    /// The most files that are on their way at one time.
    const BODIES: usize = 96;
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let body = alice.fernet.encrypt(&[7; 100]);
    // As a Python client, which sends its body whatever happens.
    let begins = |n: usize| {
        let mut peer = Peer::stranger(server.port, "mallory", &format!("group {n}"));
        peer.hears("/adminReady");
        for text in ["/fileTransfer", "notes.txt"] {
            peer.says(text);
            peer.hears_text();
        }
        peer.says(&body.len().to_string());
        peer.says_raw(&body.as_bytes()[..4]);
        peer
    };
    let mut strangers: Vec<Peer> = (0..BODIES).map(begins).collect();
    assert!(upload(&mut alice, "notes.txt", body.as_bytes()).contains("on its way to 1 member"));
    bob.hears("/receiveFile");
    let rest = &body.as_bytes()[4..];
    let mut result = |n: usize| {
        strangers[n].says_raw(rest);
        let heard = strangers[n].hears_text();
        assert_eq!(strangers[n].asks_for_set("/onlineMembers").len(), 1);
        heard
    };
    let no_room =
        "notes.txt was not shared: the server needed its place for another; try again later.";
    assert_eq!(result(0), no_room);
    assert_eq!(result(1), "notes.txt is on its way to 0 members.");
}

#[test]
fn a_stranger_who_takes_all_memory_is_disconnected_and_honest_members_chat_on() {
    /// The budget, and what the server may take beside it: stacks, and what the allocator keeps. In KiB. His frames alone are 80 MiB.
    const BUDGET: u64 = 8 << 10;
    const BESIDE: u64 = 32 << 10;
    const MEMBERS: usize = 40;
    /// Less than a sender waits for a slow member.
    const TIME: Duration = Duration::from_secs(4);
    let mut server = Server::start_with(&["--memory", "8M"]);
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    for honest in [&alice, &bob] {
        honest.socket.set_read_timeout(Some(TIME)).unwrap();
    }
    let mut dens: Vec<Den> = ["one", "another"]
        .map(|group| Den::found(server.port, group, MEMBERS))
        .into();
    let process = server.program.id();
    let before = status_of(process, "VmRSS");
    let mut most = 0;
    let mut chat = || {
        alice.tells("hello");
        bob.hears("alice: hello");
        bob.tells("hello yourself");
        alice.hears("bob: hello yourself");
        most = most.max(status_of(process, "VmRSS").saturating_sub(before));
        assert!(most < BUDGET + BESIDE, "{most} KiB more");
    };
    // First a flood of short and one of long lines, which nobody reads; then frames that never end.
    thread::scope(|scope| {
        let lines = [(20_000, 1), (200, 300_000)].into_iter();
        let floods: Vec<_> = dens
            .iter_mut()
            .zip(lines)
            .map(|(den, (n, len))| scope.spawn(move || Den::flood(&mut den.admin, n, len)))
            .collect();
        while !floods.iter().all(|flood| flood.is_finished()) {
            chat();
        }
    });
    thread::scope(|scope| {
        let send = |den| scope.spawn(move || send_partial_frames(den));
        let frames: Vec<_> = dens.iter_mut().map(|den| send(&mut den.members)).collect();
        while !frames.iter().all(|sender| sender.is_finished()) {
            chat();
        }
    });
    chat();
    for _ in 0..MEMBERS {
        server.program.logs("short of memory");
    }
    chat();
}

#[test]
fn a_stranger_who_fills_a_relay_makes_room() {
    let mut command = fernchat();
    command.args(["relay", "127.0.0.1", "0", "--max-clients", "6"]);
    let mut relay = Program::start(command);
    let banner = relay.hears("listening on 127.0.0.1:");
    let port = banner.split([':', ',']).nth(1).unwrap().parse().unwrap();
    let is_closed = |mut socket: &TcpStream| {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        match socket.read(&mut [0; 6]) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    };
    let strangers: Vec<TcpStream> = (0..6).map(|_| connect_from(STRANGER, port)).collect();
    let mut refused = connect_from(STRANGER, port);
    refused.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut word = [0; 6];
    refused.read_exact(&mut word).unwrap();
    assert_eq!(word, *b"/full\n");
    let honest: Vec<TcpStream> = (0..3).map(|_| connect_from("127.0.0.1", port)).collect();
    for stranger in &strangers[..3] {
        assert!(is_closed(stranger));
    }
    // Those who stay hear each other.
    let token = fernet::Fernet::new(&fernet::Fernet::generate_key())
        .unwrap()
        .encrypt(b"hello");
    let mut got = vec![0; token.len()];
    honest[1].set_read_timeout(Some(DEADLINE)).unwrap();
    while {
        (&honest[0]).write_all(token.as_bytes()).unwrap();
        (&honest[1]).read_exact(&mut got).is_err()
    } {}
    assert_eq!(got, token.as_bytes());
    (&strangers[5]).read_exact(&mut got).unwrap();
}
