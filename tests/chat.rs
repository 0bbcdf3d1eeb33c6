//! The server and our client through the front door: the real binary, real sockets, spoken to frame by frame where it matters.

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread;

use support::python::approves;
use support::{
    DEADLINE, Peer, Program, STRANGER, Server, client, fernchat, folder, set, skipped, status_of,
    upload,
};

/// The group name as a fernchat client sends it.
const FERNCHAT: &str = "team\nfernchat/1";

// ---- joining ----

#[test]
fn request_waits_until_the_admin_approves() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    alice.hears("PyChat: bob has requested to join the group.");
    // Nothing that bob says has an effect before.
    bob.says("/messageSend");
    bob.says("let me in");
    // Both have been read by then.
    server
        .program
        .logs("bob is no member: /messageSend has no effect");
    server.program.logs("bob sent a frame that is no command");
    assert_eq!(
        alice.decides("/approveRequest", "bob"),
        "bob is now a member of the group."
    );
    bob.hears("/accepted");
    bob.tells("hello");
    alice.hears("bob: hello");
    assert_eq!(alice.asks_for_set("/allMembers"), set(&["alice", "bob"]));
}

#[test]
fn a_name_that_breaks_a_rule_is_refused_with_the_rule() {
    let server = Server::start();
    let too_long = "a".repeat(65);
    for (name, rule) in [
        ("PyChat", "reserved"),
        ("a:b", "colon"),
        (" bob", "blank"),
        (too_long.as_str(), "64"),
        ("", "64"),
    ] {
        let mut python = Peer::greet(server.port, name, "team");
        python.hears("/ready");
        let reason = python.hears_text();
        assert!(
            reason.starts_with("PyChat: ") && reason.contains(rule),
            "{name:?}: {reason}"
        );
        python.hears("/kicked");
        python.hears_end();

        let mut ours = Peer::greet(server.port, name, FERNCHAT);
        let refusal = ours.hears_text();
        assert!(
            refusal.starts_with("/refused bad-name ") && refusal.contains(rule),
            "{name:?}: {refusal}"
        );
        ours.hears_end();
    }
}

#[test]
fn a_name_that_is_in_use_is_refused_and_its_owner_stays() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    assert!(
        Peer::greet(server.port, "alice", FERNCHAT)
            .hears_text()
            .starts_with("/refused name-taken ")
    );
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    assert!(
        Peer::greet(server.port, "bob", FERNCHAT)
            .hears_text()
            .starts_with("/refused name-taken ")
    );
    alice.hears("PyChat: bob has requested to join the group.");
    alice.hears_nothing();
}

#[test]
fn a_denied_request_is_dropped_and_both_kinds_of_client_are_told() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut python = Peer::greet(server.port, "pat", "team");
    python.hears("/wait");
    let mut ours = Peer::greet(server.port, "olga", FERNCHAT);
    ours.hears("/wait");
    alice.hears("PyChat: pat has requested to join the group.");
    alice.hears("PyChat: olga has requested to join the group.");
    assert_eq!(
        alice.decides("/approveRequest", "!pat"),
        "The request of pat is denied."
    );
    assert_eq!(
        alice.decides("/approveRequest", "!olga"),
        "The request of olga is denied."
    );
    for step in [
        "/accepted",
        "PyChat: The admin denied your request to join.",
        "/kicked",
    ] {
        python.hears(step);
    }
    python.hears_end();
    ours.hears("/refused denied The admin denied your request to join.");
    ours.hears_end();
    assert!(
        alice
            .decides("/approveRequest", "pat")
            .contains("has asked to join")
    );
}

#[test]
fn a_full_server_says_so_and_one_that_is_full_of_silence_makes_room() {
    let server = Server::start_with(&["--max-clients", "1"]);
    // A stranger connects and says nothing; 65 places are 64 for such connections and one for a client. His own address gets no more.
    let silent: Vec<Peer> = (0..65)
        .map(|_| Peer::connect_from(STRANGER, server.port).unwrap())
        .collect();
    assert!(Peer::connect_from(STRANGER, server.port).is_err());
    // He pays for everybody who comes from elsewhere.
    let _others: Vec<Peer> = (0..14).map(|_| Peer::connect(server.port)).collect();
    let mut alice = Peer::join(server.port, "alice", None);
    assert!(
        Peer::greet(server.port, "bob", FERNCHAT)
            .hears_text()
            .starts_with("/refused full ")
    );
    let n_closed = silent
        .iter()
        .filter(|peer| peer.socket.peek(&mut [0]).is_ok_and(|n| n == 0))
        .take(15)
        .count();
    assert_eq!(n_closed, 15);
    alice.hears_nothing();
}

// ---- talking ----

#[test]
fn many_who_talk_at_once_are_heard_by_all_in_one_order_with_nothing_lost_or_doubled() {
    const N: usize = 8;
    const LINES: usize = 60;
    let server = Server::start();
    let mut admin = Peer::join(server.port, "anna", None);
    let mut talkers: Vec<Peer> = Vec::new();
    for i in 0..N {
        talkers.push(Peer::join(server.port, &format!("m{i}"), Some(&mut admin)));
        // The requests of the later ones are heard by the earlier ones.
        for earlier in &mut talkers[..i] {
            earlier.hears(&format!("PyChat: m{i} has requested to join the group."));
        }
    }
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let threads: Vec<_> = talkers
            .iter_mut()
            .enumerate()
            .map(|(i, peer)| {
                scope.spawn(move || {
                    let mut lines = Vec::new();
                    for n in 0..LINES {
                        peer.says("/messageSend");
                        // What others say may come before the echo, and never between echo and text.
                        loop {
                            match peer.hears_text() {
                                echo if echo == "/messageSend" => break,
                                line => lines.push(line),
                            }
                        }
                        peer.says(&format!("{n}"));
                        lines.push(format!("m{i}: {n}"));
                    }
                    while lines.len() < N * LINES {
                        lines.push(peer.hears_text());
                    }
                    lines
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let all: Vec<String> = (0..N * LINES).map(|_| admin.hears_text()).collect();
    for (i, lines) in heard.into_iter().enumerate() {
        // One's own lines do not come back, so they are left out of the comparison.
        let own = format!("m{i}: ");
        let others = |lines: &[String]| {
            lines
                .iter()
                .filter(|line| !line.starts_with(&own))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(others(&lines), others(&all));
        let mine: Vec<_> = all
            .iter()
            .filter(|line| line.starts_with(&own))
            .cloned()
            .collect();
        assert_eq!(
            mine,
            (0..LINES).map(|n| format!("m{i}: {n}")).collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_client_that_dies_in_mid_sentence_is_offline_and_nobody_else_notices() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let half = bob.frame("never heard");
    bob.says("/messageSend");
    bob.hears("/messageSend");
    bob.says_raw(&half[..half.len() / 2]);
    drop(bob);
    server.program.logs("departed: hung up");
    assert_eq!(alice.asks_for_set("/onlineMembers"), set(&["alice"]));
    // His name is free for him.
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/ready");
    bob.tells("back");
    alice.hears("bob: back");
}

#[test]
fn a_member_that_stops_reading_departs_as_too_slow_and_the_others_hear_everything() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let stalled = Peer::join(server.port, "stan", Some(&mut alice));
    let mut carol = Peer::join(server.port, "carol", Some(&mut alice));
    let text = "x".repeat(64 << 10);
    let mut n = 0;
    let mut log = Vec::new();
    while !log
        .iter()
        .any(|line: &String| line.contains("departed: too slow"))
    {
        alice.tells(&text);
        n += 1;
        assert_eq!(carol.hears_text().len(), "alice: ".len() + text.len());
        assert!(
            n < 1000,
            "64 MB went to somebody who does not read: {log:?}"
        );
        log = server.program.log_so_far().to_vec();
    }
    assert_eq!(
        alice.asks_for_set("/onlineMembers"),
        set(&["alice", "carol"])
    );
    drop(stalled);
}

#[test]
fn a_member_kicked_in_the_middle_of_a_dialogue_is_refused_and_then_hears_it() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    bob.says("/whoAdmin");
    bob.hears("/whoAdmin");
    assert_eq!(
        alice.decides("/kickMember", "bob"),
        "bob is not a member of the group any more."
    );
    alice.tells("he is gone");
    bob.says("team");
    assert!(bob.hears_text().contains("not a member"));
    bob.hears("/kicked");
    bob.hears_end();
    Peer::greet(server.port, "bob", "team").hears("/wait");
}

#[test]
fn the_new_admin_is_told_and_has_the_rights_that_the_old_one_has_lost() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    assert_eq!(
        alice.decides("/changeAdmin", "bob"),
        "bob is now the admin of the group."
    );
    bob.hears("PyChat: alice made you the admin of the group.");
    alice.says("/kickMember");
    alice.hears("/kickMember");
    alice.says(".");
    assert!(alice.hears_text().contains("Only the admin"));
    assert_eq!(
        bob.decides("/kickMember", "alice"),
        "alice is not a member of the group any more."
    );
    alice.hears("/kicked");
}

// ---- files ----

#[test]
fn a_file_reaches_every_other_member_and_its_name_is_made_safe() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let body = alice.fernet.encrypt(b"some text");
    assert_eq!(
        upload(&mut alice, "../../etc/notes.txt", body.as_bytes()),
        "notes.txt is on its way to 1 member."
    );
    bob.hears("/receiveFile");
    // A command that crosses with the offer runs after the delivery.
    bob.says("/whoAdmin");
    bob.says("/sendFilename");
    bob.hears("notes.txt");
    bob.says("/sendFile");
    bob.hears(&body.len().to_string());
    assert_eq!(bob.hears_raw(body.len()), body.as_bytes());
    bob.hears("/whoAdmin");
    bob.says("team");
    bob.hears("Admin: alice");
    alice.hears_nothing();
}

#[test]
fn a_body_that_does_not_verify_is_refused_and_reaches_nobody() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let mut body = alice.fernet.encrypt(b"some text").into_bytes();
    body[60] ^= 1;
    let result = upload(&mut alice, "bad.txt", &body);
    assert!(
        result.starts_with("bad.txt was not shared: it did not arrive whole"),
        "{result}"
    );
    bob.hears_nothing();
    alice.hears_nothing();
}

#[test]
fn a_body_that_its_sender_gives_up_ends_at_once_and_reaches_nobody() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut olga = Peer::greet(server.port, "olga", FERNCHAT);
    olga.hears("/wait");
    alice.hears("PyChat: olga has requested to join the group.");
    alice.decides("/approveRequest", "olga");
    olga.hears("/accepted");
    olga.says("/receiveFile 7 1000000\nplan\n");
    olga.hears("/sendFile 7 0");
    // What stands behind it is a frame, also if all of it comes at once.
    let next = olga.frame("/whoAdmin");
    olga.says_raw(&[b"gAAAAABnotmuch!", next.as_slice()].concat());
    olga.hears("/whoAdmin");
    olga.says("team");
    olga.hears("/result Admin: alice");
    alice.hears_nothing();
}

#[test]
fn a_file_over_the_limit_is_refused_in_step_and_a_fernchat_client_is_told_before() {
    let server = Server::start_with(&["--max-file", "1K"]);
    let mut alice = Peer::join(server.port, "alice", None);
    let mut olga = Peer::join(server.port, "olga", Some(&mut alice));
    let body = alice.fernet.encrypt(&[7; 2000]);
    assert_eq!(
        upload(&mut alice, "big", body.as_bytes()),
        "big was not shared: this server takes files of at most 1 KiB."
    );
    olga.hears_nothing();
    drop(olga);

    let mut olga = Peer::greet(server.port, "olga", FERNCHAT);
    olga.hears("/ready");
    olga.says("/receiveFile 7 1484\nbig\n");
    olga.hears("/stopFile 7 this server takes files of at most 1 KiB");
    olga.says("/receiveFile 7 1464\nbig\n");
    olga.hears("/sendFile 7 0");
    olga.says_raw(b"!");
    olga.hears_nothing();
}

#[test]
fn a_file_too_large_for_a_python_client_is_announced_to_it_and_offered_to_ours() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let mut olga = Peer::join(server.port, "olga", Some(&mut alice));
    bob.hears("PyChat: olga has requested to join the group.");
    olga.says("/disconnect");
    olga.hears("/disconnect");
    olga.says(".");
    olga.hears_end();
    let mut olga = Peer::greet(server.port, "olga", FERNCHAT);
    olga.hears("/ready");
    let body = alice.fernet.encrypt(&[7; (64 << 10) + 20]);
    let result = upload(&mut alice, "big.bin", body.as_bytes());
    assert_eq!(
        result,
        "big.bin is on its way to 1 member; 1 more cannot receive a file of this size and were told."
    );
    assert!(
        bob.hears_text()
            .starts_with("PyChat: alice shared big.bin (64.1 KiB)")
    );
    let (id, len) = olga.hears_offer("big.bin", "alice");
    assert_eq!(olga.takes_file(&id, 0, len), body.as_bytes());
    bob.hears_nothing();
}

#[test]
fn lines_and_answers_pass_in_both_directions_while_a_file_is_uploaded_and_delivered() {
    let server = Server::start();
    let mut alice = Peer::join_as_fernchat(server.port, "alice", None);
    let mut olga = Peer::join_as_fernchat(server.port, "olga", Some(&mut alice));
    let body = alice.fernet.encrypt(&vec![7; 2 << 20]).into_bytes();
    let (half, open) = (body.len() / 2, body.len() - (64 << 10));
    alice.says(&format!("/receiveFile 7 {}\nbig.bin\n", body.len()));
    alice.hears("/sendFile 7 0");
    alice.says_raw(&body[..half]);
    // It is offered while it comes, and delivered as far as it has come.
    let (id, len) = olga.hears_offer("big.bin", "alice");
    assert_eq!(len, body.len());
    assert!(olga.takes_file(&id, 0, half) == body[..half]);
    alice.tells("hello");
    olga.hears("alice: hello");
    olga.tells("hello yourself");
    alice.hears("olga: hello yourself");
    let all = set(&["alice", "olga"]);
    assert_eq!(alice.asks_for_set("/onlineMembers"), all);
    assert_eq!(olga.asks_for_set("/onlineMembers"), all);
    // The last 64 KiB come when all of it is there.
    alice.says_raw(&body[half..body.len() - 4]);
    assert!(olga.hears_raw(open - half) == body[half..open]);
    alice.tells("almost there");
    olga.hears("alice: almost there");
    alice.says_raw(&body[body.len() - 4..]);
    assert!(olga.hears_raw(body.len() - open) == body[open..]);
    alice.hears("/haveFile 7 big.bin is on its way to 1 member.");
    olga.says(&format!("/haveFile {id}"));
    alice.hears("PyChat: olga has big.bin.");
    olga.hears_nothing();
}

#[test]
fn each_end_can_stop_a_file_and_the_uploader_hears_what_became_of_it_at_each_member() {
    let server = Server::start();
    let mut alice = Peer::join_as_fernchat(server.port, "alice", None);
    let mut olga = Peer::join_as_fernchat(server.port, "olga", Some(&mut alice));
    let mut otto = Peer::join_as_fernchat(server.port, "otto", Some(&mut alice));
    olga.hears("/requested from:127.0.0.1 otto");
    olga.hears("/news joined otto");
    let body = alice.fernet.encrypt(&vec![7; 2 << 20]).into_bytes();
    let half = body.len() / 2;
    alice.says(&format!("/receiveFile 7 {}\nbig.bin\n", body.len()));
    alice.hears("/sendFile 7 0");
    alice.says_raw(&body[..half]);
    let (id, _) = olga.hears_offer("big.bin", "alice");
    otto.hears_offer("big.bin", "alice");
    olga.takes_file(&id, 0, half);
    // One stops it in the middle, one does not want it.
    olga.says(&format!("/stopFile {id} no room"));
    assert_eq!(olga.hears_raw(1), b"!");
    otto.says(&format!("/stopFile {id}"));
    let mut news = [alice.hears_text(), alice.hears_text()];
    news.sort();
    assert_eq!(
        news,
        [
            "PyChat: big.bin did not reach olga: no room.",
            "PyChat: otto declined big.bin."
        ]
    );
    olga.hears_nothing();
    // Nobody is left who would get it.
    alice.says_raw(&body[half..]);
    alice.hears("/stopFile 7 nobody takes it any more");

    // The sender stops: the one who has begun to receive it hears why, and so does the one who has not answered.
    alice.says(&format!("/receiveFile 8 {}\nbig.bin\n", body.len()));
    alice.hears("/sendFile 8 0");
    alice.says_raw(&body[..half]);
    let (id, _) = olga.hears_offer("big.bin", "alice");
    otto.hears_offer("big.bin", "alice");
    olga.takes_file(&id, 0, half);
    alice.says_raw(b"!");
    let gone = format!("/stopFile {id} its sender stopped it");
    olga.hears(&gone);
    assert_eq!(olga.hears_raw(1), b"!");
    otto.hears(&gone);
    alice.tells("sorry");
    olga.hears("alice: sorry");
}

#[test]
fn a_file_for_one_person_is_offered_to_nobody_else() {
    let server = Server::start();
    let mut alice = Peer::join_as_fernchat(server.port, "alice", None);
    let mut olga = Peer::join_as_fernchat(server.port, "olga", Some(&mut alice));
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    for peer in [&mut alice, &mut olga] {
        peer.hears("/requested from:127.0.0.1 bob");
    }
    alice.approves_as_fernchat("bob");
    bob.hears("/accepted");
    olga.hears("/news joined bob");
    let body = alice.fernet.encrypt(b"for olga").into_bytes();
    for (to, receiver) in [("olga", &mut olga), ("bob", &mut bob)] {
        alice.says(&format!("/receiveFile {to} {}\na.txt\n{to}", body.len()));
        alice.hears(&format!("/sendFile {to} 0"));
        alice.says_raw(&body);
        alice.hears(&format!("/haveFile {to} a.txt is on its way to 1 member."));
        let offer = receiver.hears_text();
        assert!(offer.starts_with("/receiveFile"), "{offer}");
    }
    olga.hears_nothing();
    alice.says(&format!("/receiveFile 9 {}\na.txt\ncarol", body.len()));
    alice.hears("/stopFile 9 carol is not online");
}

#[test]
fn a_delivery_that_fails_is_told_to_the_uploader() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let body = alice.fernet.encrypt(b"some text");
    upload(&mut alice, "notes.txt", body.as_bytes());
    bob.hears("/receiveFile");
    drop(bob);
    alice.hears("PyChat: notes.txt did not reach bob.");
}

#[test]
fn the_spool_leaves_nothing_behind_also_when_the_server_is_killed() {
    let spool = folder();
    let mut server = Server::start_with(&["--spool", spool.path().to_str().unwrap()]);
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    let body = alice.fernet.encrypt(&[7; 40_000]);
    upload(&mut alice, "notes.txt", body.as_bytes());
    bob.hears("/receiveFile");
    server.program.signal("KILL");
    server.program.ends();
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
}

// ---- bad input ----

#[test]
fn what_breaks_the_protocol_ends_one_connection_with_one_line_and_nobody_else_notices() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let stranger = fernet::Fernet::new(&fernet::Fernet::generate_key()).unwrap();
    let cases: [(&str, Vec<u8>); 6] = [
        ("4294967295 bytes", b"\xff\xff\xff\xff".to_vec()),
        ("1048580 bytes", (1_048_580_u32).to_be_bytes().to_vec()),
        (
            "bytes that are no frame",
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ),
        ("which no token has", 101_u32.to_be_bytes().to_vec()),
        (
            "does not open",
            support::frame(stranger.encrypt(b"hello").as_bytes()),
        ),
        (
            "not UTF-8",
            support::frame(alice.fernet.encrypt(b"\xff\xfe").as_bytes()),
        ),
    ];
    for (i, (reason, bytes)) in cases.into_iter().enumerate() {
        let mut bob = Peer::join(server.port, &format!("bob{i}"), Some(&mut alice));
        bob.says_raw(&bytes);
        assert!(
            bob.hears_text()
                .starts_with("PyChat: The connection is closed: ")
        );
        bob.hears("/kicked");
        bob.hears_end();
        let line = server.program.logs("broke the protocol");
        let reason = if i == 0 {
            "bytes that are no frame"
        } else {
            reason
        };
        assert!(line.contains(reason) && line.contains("WARN"), "{line}");

        // The same from a stranger who has not said who he is.
        let mut greeting = Peer::connect(server.port);
        if !reason.contains("UTF-8") && !reason.contains("open") {
            greeting.says_raw(&bytes);
            greeting.hears_end();
            server.program.logs("broke the protocol");
        }
    }
    alice.hears_nothing();
}

#[test]
fn a_storm_of_connections_leaves_no_thread_and_no_descriptor_behind() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    alice.hears_nothing(); // so the thread of her greeting has ended
    let process = server.program.id();
    let descriptors = || fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    let before = (status_of(process, "Threads"), descriptors());
    for _ in 0..300 {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.write_all(b"\0\0").unwrap();
    }
    for _ in 0..300 {
        server.program.logs("departed: hung up");
    }
    let until = std::time::Instant::now() + DEADLINE;
    let is_more = |now: (_, _)| now.0 > before.0 || now.1 > before.1;
    while is_more((status_of(process, "Threads"), descriptors())) {
        assert!(
            std::time::Instant::now() < until,
            "{before:?} became {:?}",
            (status_of(process, "Threads"), descriptors())
        );
        thread::yield_now();
    }
    alice.hears_nothing();
}

// ---- starting and stopping ----

#[test]
fn a_stop_tells_a_hundred_clients_and_ends_cleanly() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut clients: Vec<Peer> = (0..100)
        .map(|i| Peer::greet(server.port, &format!("m{i}"), &format!("group {i}")))
        .collect();
    clients
        .iter_mut()
        .for_each(|client| client.hears("/adminReady"));
    let mut waiting = Peer::greet(server.port, "bob", "team");
    waiting.hears("/wait");
    let mut ours = Peer::greet(server.port, "olga", "team\nfernchat/1");
    ours.hears("/wait");
    alice.hears_text();
    alice.hears_text();
    let mut greeting = Peer::connect(server.port);
    server.program.signal("TERM");
    for client in clients.iter_mut().chain([&mut alice]) {
        client.hears("PyChat: The server stops.");
        client.hears("/kicked");
        client.hears_end();
    }
    waiting.hears("/waitDisconnect");
    waiting.hears_end();
    ours.hears("/closing The server stops.");
    greeting.hears_end();
    drop((clients, alice, waiting, ours, greeting));
    assert!(server.program.ends().success());
    assert!(
        server
            .program
            .log_so_far()
            .iter()
            .any(|line| line.ends_with("stopped"))
    );
}

#[test]
fn a_server_that_cannot_listen_says_why_and_what_to_try() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (host, port, part) in [
        ("127.0.0.1", port.as_str(), "the port is in use"),
        ("192.0.2.1", "8000", "this machine has no such address"),
        (
            "no.such.host.invalid",
            "8000",
            "try an address of this machine",
        ),
    ] {
        let output = fernchat().args(["server", host, port]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.starts_with("error: ") && error.contains(part) && error.lines().count() == 1,
            "{error}"
        );
    }
}

#[test]
fn a_name_is_as_good_as_an_address() {
    let mut command = fernchat();
    command.args(["server", "localhost", "0"]);
    let mut server = Program::start(command);
    let banner = server.hears("listening on 127.0.0.1:");
    assert!(
        banner.contains("everyone who reaches it can read what is said"),
        "{banner}"
    );
    let port = banner["listening on 127.0.0.1:".len()..]
        .split(',')
        .next()
        .unwrap();
    let mut command = fernchat();
    command.args(["client", "localhost", port]);
    let mut alice = Program::start(command);
    alice.pastes(&["alice", "team"]);
    alice.hears("The group team is new");
}

#[test]
fn the_log_never_holds_what_people_say() {
    let mut server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    alice.tells("the canary sings");
    bob.hears("alice: the canary sings");
    alice.says("the canary flies");
    let body = alice.fernet.encrypt(b"the canary in a file");
    upload(&mut alice, "notes.txt", body.as_bytes());
    server.program.signal("TERM");
    drop((alice, bob));
    server.program.ends();
    let log = server.program.log_so_far();
    assert!(
        log.iter().any(|line| line.contains("/messageSend")),
        "the log was on: {log:#?}"
    );
    assert!(!log.iter().any(|line| line.contains("canary")), "{log:#?}");
}

#[test]
fn the_log_of_the_wire_shows_each_frame_by_its_kind_and_never_a_text() {
    let mut server = Server::watched();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut canary = fernchat();
    let downloads = support::folder();
    canary.args([
        "client",
        "127.0.0.1",
        &server.port.to_string(),
        "--name",
        "canary",
        "--group",
        "team",
    ]);
    canary.arg("--downloads").arg(downloads.path());
    canary.env("RUST_LOG", "fernchat::wire=trace");
    let mut canary = Program::start(canary);
    alice.hears("PyChat: canary has requested to join the group.");
    alice.decides("/approveRequest", "canary");
    canary.hears("You have been approved");
    alice.tells("the canary sings");
    canary.hears("alice: the canary sings");
    canary.types("the canary flies");
    alice.hears("canary: the canary flies");
    alice.asks_for_set("/allMembers");
    let body = alice.fernet.encrypt(b"the canary in a file");
    upload(&mut alice, "canary.txt", body.as_bytes());
    canary.hears("Received canary.txt");

    let of_server = [
        "from client 1: text, 100 bytes",
        "to client 1: /sendGroupname, 184 bytes",
        "to client 1 alice: /adminReady, 100 bytes",
        "from client 1 alice: /approveRequest, 100 bytes",
        "to client 1 alice: /approveRequest, 100 bytes",
        "from client 1 alice: acknowledgement, 100 bytes",
        "to client 1 alice: /proceed, 100 bytes",
        "from client 1 alice: text, 100 bytes",
        "to client 2 canary: /accepted, 100 bytes",
        "from client 1 alice: /messageSend, 100 bytes",
        "to client 1 alice: /messageSend, 100 bytes",
        "from client 1 alice: text, 120 bytes",
        "to client 2 canary: text, 120 bytes",
        "to client 2 canary: /taken, 100 bytes",
        "to client 1 alice: set, 120 bytes",
        "from client 1 alice: number, 100 bytes",
        "to client 2 canary: /receiveFile, 184 bytes",
        "from client 2 canary: /sendFile, 164 bytes",
        "to client 2 canary: /sendFile, 164 bytes",
        "from client 2 canary: /haveFile, 164 bytes",
    ];
    for line in of_server {
        server.program.logs(line);
    }
    canary.ends_input();
    support::ends_well(&mut canary);
    server
        .program
        .logs("from client 2 canary: /disconnect, 100 bytes");
    let of_client = [
        "to the server: text, ",
        "from the server: /sendGroupname, ",
        "from the server: /wait, ",
        "from the server: /accepted, ",
    ];
    for line in of_client {
        canary.logs(line);
    }
    for line in server
        .program
        .log_so_far()
        .iter()
        .chain(canary.log_so_far())
    {
        let is_text_shown = line.replace("client 2 canary:", "").contains("canary");
        assert!(!is_text_shown, "{line}");
    }
}

// ---- our client ----

#[test]
fn what_is_no_chat_server_is_told_from_one_that_is_not_there() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    support::ends_badly(
        &mut support::client(port, "alice", &[]),
        "nobody listens there; does it run, and is the port right?",
    );
    let mut nowhere = fernchat();
    nowhere.args([
        "client",
        "no.such.name.invalid",
        "8000",
        "--name",
        "alice",
        "--group",
        "team",
    ]);
    support::ends_badly(&mut Program::start(nowhere), "the name is not known");
    for words in ["HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut alice = support::client(listener.local_addr().unwrap().port(), "alice", &[]);
        listener
            .accept()
            .unwrap()
            .0
            .write_all(words.as_bytes())
            .unwrap();
        support::ends_badly(
            &mut alice,
            "no chat server answers there, or it is full; is the port right?",
        );
    }
}

#[test]
fn our_client_says_what_is_wrong_before_it_connects_and_when_it_cannot() {
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    for (args, part) in [
        (vec!["--name", "a:b", "--group", "team"], "colon"),
        (
            vec!["--name", "alice", "--group", "te\u{202e}am"],
            "group name",
        ),
        (vec!["--name", "alice", "--group", "team"], "cannot reach"),
        (
            vec![
                "--name",
                "alice",
                "--group",
                "team",
                "--downloads",
                "/no/such/folder",
            ],
            "--downloads",
        ),
        (vec![], "the input ended"),
    ] {
        let mut command = fernchat();
        command.args(["client", "127.0.0.1", &unused]).args(&args);
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(
            error.starts_with("error: ") && error.contains(part) && error.lines().count() == 1,
            "{args:?}: {error}"
        );
    }
}

#[test]
fn two_of_ours_chat_and_what_others_say_is_shown_harmlessly() {
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("The group team is new");
    let mut bob = server.client("bob");
    bob.hears("You wait for the admin of team");
    bob.types("too early");
    bob.hears("nothing is sent until then");
    alice.hears("PyChat: bob has requested to join the group.");
    alice.types("/requests");
    alice.hears_next("requests: bob");
    alice.types("/approve");
    alice.types("bob");
    alice.hears_next("bob is now a member of the group.");
    bob.hears("You have been approved");
    bob.types("/etc is a folder, \x1b[2J not a command");
    alice.hears_next("bob: /etc is a folder, ^[[2J not a command");
    alice.types("/online");
    alice.hears_next("online: alice, bob");
    alice.types("/transfer bob");
    alice.hears_next("bob is now the admin of the group.");
    bob.hears_next("PyChat: alice made you the admin of the group.");
    bob.types("/admin");
    bob.hears_next("Admin: bob");
    bob.types("/kick alice");
    bob.hears_next("alice is not a member of the group any more.");
    alice.hears_next("You have been removed from the group.");
    assert!(alice.ends().success());
    bob.types("/help");
    bob.hears("/9 /file");
    bob.types("/3");
    assert!(bob.ends().success());
}

#[test]
fn our_client_receives_a_file_under_a_name_that_is_free() {
    let downloads = folder();
    let file = folder();
    let path = file.path().join("notes.txt");
    fs::write(&path, "the text").unwrap();
    fs::write(downloads.path().join("notes.txt"), "older").unwrap();
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("is new");
    let mut bob = server.client_with("bob", &["--downloads", downloads.path().to_str().unwrap()]);
    alice.hears("bob has requested");
    alice.types("/2 bob");
    bob.hears("approved");
    alice.types(&format!("/9 {}", path.display()));
    alice.hears("notes.txt is on its way to 1 member.");
    let line = bob.hears("Received notes.txt from alice: ");
    alice.hears_next("PyChat: bob has notes.txt.");
    assert!(line.ends_with("notes (1).txt"), "{line}");
    assert_eq!(
        fs::read_to_string(downloads.path().join("notes (1).txt")).unwrap(),
        "the text"
    );
    assert_eq!(
        fs::read_to_string(downloads.path().join("notes.txt")).unwrap(),
        "older"
    );
    assert_eq!(fs::read_dir(downloads.path()).unwrap().count(), 2);
    // What cannot be shared is said, and the chat goes on.
    for (what, part) in [
        ("/no/such/file", "No such file"),
        ("/tmp", "folder"),
        ("/dev/null", "not a plain file"),
    ] {
        alice.types(&format!("/9 {what}"));
        let line = alice.hears("Cannot share");
        assert!(line.contains(part), "{line}");
    }
    // A line has its limit, with a room key another one.
    alice.types(&"x".repeat(512 << 10));
    alice.hears_next(
        "Not sent: this line is too long. A line has at most 511 KiB, or 383 KiB under a room key.",
    );
    let longest = "x".repeat(511 << 10);
    alice.types(&longest);
    bob.hears_next(&format!("alice: {longest}"));
    // The answer to "Which file".
    alice.pastes(&["/9", ""]);
    alice.hears_next("No file named, nothing done.");
    alice.types("still here");
    bob.hears_next("alice: still here");
}

#[test]
fn our_client_shares_several_files_and_a_folder_and_asks_before_it_receives() {
    let (home, received) = (folder(), folder());
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("is new");
    let in_bobs = ["--downloads", received.path().to_str().unwrap()];
    let mut bob = server.client_with("bob", &[&in_bobs[..], &["--accept", "none"]].concat());
    alice.hears("bob has requested");
    alice.types("/2 bob");
    bob.hears("approved");
    let at = |name: &str| home.path().join(name).display().to_string();
    fs::write(at("one.txt"), "the first").unwrap();
    fs::write(at("two words.txt"), "the second").unwrap();
    fs::create_dir_all(at("photos/summer")).unwrap();
    fs::write(at("photos/summer/sea.jpg"), "blue").unwrap();
    let read = |name: &str| fs::read_to_string(received.path().join(name)).unwrap();

    // Two files in one line, one of them with a blank, for one person. Bob takes the second one.
    let dragged = format!("file://{}", at("two%20words.txt"));
    alice.types(&format!("/9 @bob '{}' {dragged}", at("one.txt")));
    for name in ["one.txt", "two words.txt"] {
        alice.hears(&format!("{name} is on its way to 1 member."));
        bob.hears(&format!("A file is on offer from alice, {name}: "));
    }
    bob.types("/accept");
    bob.hears("Which file? On offer: one.txt from alice, two words.txt from alice.");
    bob.types("/accept two words.txt");
    bob.hears("Received two words.txt from alice: ");
    assert_eq!(read("two words.txt"), "the second");
    alice.hears("PyChat: bob has two words.txt.");
    bob.types("/decline");
    alice.hears("PyChat: bob declined one.txt.");
    bob.types("/accept");
    bob.hears("No file is on offer.");

    // A folder.
    alice.types(&format!("/9 {}", at("photos")));
    alice.hears("it is a folder; /pack shares it as one file.");
    alice.types(&format!("/pack {}", at("photos")));
    bob.hears("A file is on offer from alice, photos.tar: ");
    bob.types("/accept");
    bob.hears("Received photos.tar from alice: ");
    let archive = fs::File::open(received.path().join("photos.tar")).unwrap();
    tar::Archive::new(archive).unpack(received.path()).unwrap();
    assert_eq!(read("photos/summer/sea.jpg"), "blue");

    // Somebody who is not there, and nothing to stop.
    alice.types(&format!("/9 @carol {}", at("one.txt")));
    alice.hears("one.txt was not shared: carol is not online.");
    alice.types("/stop up");
    alice.hears("There is nothing to stop: ");
}

#[test]
fn a_script_ends_when_its_files_have_been_shared_and_received() {
    let (home, received) = (folder(), folder());
    let path = home.path().join("data.bin");
    fs::write(&path, vec![7; 3 << 20]).unwrap();
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("is new");
    let mut bob = server.client_with("bob", &["--downloads", received.path().to_str().unwrap()]);
    alice.hears("bob has requested");
    alice.types("/2 bob");
    bob.hears("approved");
    alice.types(&format!("/9 {}", path.display()));
    alice.types("goodbye");
    alice.ends_input();
    bob.hears("alice: goodbye");
    alice.hears("data.bin is on its way to 1 member.");
    support::ends_well(&mut alice);
    bob.ends_input();
    support::ends_well(&mut bob);
    let bytes = fs::read(received.path().join("data.bin")).unwrap();
    assert!(bytes == vec![7; 3 << 20]);
}

#[test]
fn our_client_says_how_the_server_ended() {
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("is new");
    server.program.signal("TERM");
    assert_eq!(alice.ends().code(), Some(1));
    alice.logs("error: the server closed the connection: The server stops.");

    let mut server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("is new");
    server.program.signal("KILL");
    server.program.ends();
    assert_eq!(alice.ends().code(), Some(1));
    alice.logs("error: ");
}

#[test]
fn what_a_server_gives_as_its_reason_is_one_harmless_line() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut alice = support::client(listener.local_addr().unwrap().port(), "alice", &[]);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    server.says("/closing \x1b]0;owned\x07\nerror: another");
    assert_eq!(alice.ends().code(), Some(1));
    assert_eq!(
        alice.logs("error"),
        "error: the server closed the connection: ^[]0;owned^G^Jerror: another"
    );
}

#[test]
fn our_client_keeps_step_with_a_server_that_stands_still_for_a_while() {
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("is new");
    let mut bob = server.client("bob");
    alice.hears("bob has requested");
    alice.types("/2 bob");
    bob.hears("approved");
    alice.hears("is now a member");
    server.program.stands_still();
    alice.pastes(&["/4", "hello"]);
    alice.hears_next("The server does not answer; still waiting for it. Ctrl-C leaves.");
    server.program.signal("CONT");
    alice.hears_next("members: alice, bob");
    bob.hears_next("alice: hello");
}

/// This command with a folder in front of which a small disk is mounted, which only it can see. `None`, loudly, where that cannot be done.
fn with_small_disk(
    folder: &std::path::Path,
    command: std::process::Command,
) -> Option<std::process::Command> {
    let can = std::process::Command::new("unshare")
        .args(["-rm", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !can {
        skipped("unshare cannot make a small disk");
        return None;
    }
    let mut small = std::process::Command::new("unshare");
    let script = format!(
        "mount -t tmpfs -o size=256k small '{}' && exec \"$0\" \"$@\"",
        folder.display()
    );
    small
        .args(["-rm", "sh", "-c", &script])
        .arg(command.get_program())
        .args(command.get_args());
    Some(small)
}

#[test]
fn a_full_disk_on_either_end_is_said_and_nothing_half_written_has_a_name() {
    let (home, disk) = (folder(), folder());
    let path = home.path().join("big.bin");
    let share = format!("/9 {}", path.display());
    let key = home.path().join("key").display().to_string();
    assert!(
        fernchat()
            .args(["keygen", &key])
            .output()
            .unwrap()
            .status
            .success()
    );
    // Under a room key a file lies on the disk twice, until it is opened.
    let with_key = ["--room-key-file", key.as_str()];
    for (len, options, why) in [
        (150_000, with_key.as_slice(), "it takes 342"),
        (300_000, &[], "it has 29"),
    ] {
        fs::write(&path, vec![7; len]).unwrap();
        let server = Server::start();
        let mut alice = server.client_with("alice", options);
        alice.hears("is new");
        let mut command = fernchat();
        let port = server.port.to_string();
        let arguments = ["client", "127.0.0.1", &port, "--name", "bob"];
        command
            .args(arguments)
            .args(["--group", "team"])
            .args(options)
            .arg("--downloads")
            .arg(disk.path());
        let Some(command) = with_small_disk(disk.path(), command) else {
            return;
        };
        let mut bob = Program::start(command);
        alice.hears("bob has requested");
        alice.types("/2 bob");
        bob.hears("approved");
        alice.types(&share);
        alice.hears("big.bin is on its way to 1 member.");
        let line = bob.hears("big.bin from alice was not received");
        let room = ", and the disk has room for 256 KiB";
        assert!(line.contains(why) && line.contains(room), "{line}");
        let seen_by_bob =
            fs::read_dir(format!("/proc/{}/root{}", bob.id(), disk.path().display())).unwrap();
        assert_eq!(seen_by_bob.count(), 0);
        bob.types("still here");
        alice.hears("bob: still here");
    }

    let mut command = fernchat();
    command
        .args(["server", "127.0.0.1", "0", "--spool"])
        .arg(disk.path());
    let server = Server::of(with_small_disk(disk.path(), command).unwrap());
    let mut alice = server.client("alice");
    alice.hears("is new");
    alice.types(&share);
    let line = alice.hears("big.bin was not shared");
    assert!(line.contains("room for 128 KiB"), "{line}");
    alice.types("/5");
    alice.hears_next("online: alice");
}

#[test]
fn a_signal_or_the_end_of_the_input_leaves_politely() {
    let mut server = Server::start();
    for signal in ["INT", "TERM", ""] {
        let mut alice = server.client("alice");
        alice.hears("group team");
        match signal {
            "" => alice.ends_input(),
            signal => alice.signal(signal),
        }
        assert!(alice.ends().success());
        server.program.logs("departed: left");
    }
}

#[test]
fn an_upload_that_nobody_takes_any_more_ends_and_the_next_begins() {
    let server = Server::start();
    let home = folder();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let mut alice = client(server.port, "alice", &[]);
    alice.hears("The group team is new");
    let downloads = path("downloads");
    std::fs::create_dir(&downloads).unwrap();
    let options = ["--downloads", &downloads, "--max-receive", "2M"];
    let mut bob = client(server.port, "bob", &options);
    approves(&mut alice, "bob");
    // It would take minutes.
    let large = std::fs::File::create(path("large")).unwrap();
    large.set_len(1 << 30).unwrap();
    std::fs::write(path("small"), "hello").unwrap();
    alice.types(&format!("/file {}", path("large")));
    alice.types(&format!("/file {}", path("small")));
    alice.hears("The file large was not shared: nobody takes it any more.");
    bob.hears("Received small from alice");
    assert_eq!(
        std::fs::read_to_string(format!("{downloads}/small")).unwrap(),
        "hello"
    );
}
