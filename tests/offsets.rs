//! A session that is cut after each of its bytes, as close and as reset, while others in the group go on chatting.
//!
//! The session has every command of a Python client in it, and an upload. Its bytes are sealed with the key of this server run, since
//! that key is fresh each time, so the session is a script and not a file. No byte of it is left out.
//! What holds after each cut: the member is offline. What holds throughout: the others hear each other. What holds at the end: no
//! thread, no descriptor and no memory is left behind, the server takes no time when nothing happens, and the roster is right.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use support::faults::{End, Footprint, is_idle};
use support::{Peer, Server, fernchat, set, status_of};

#[test]
fn a_session_closed_after_any_of_its_bytes_leaves_nothing_and_disturbs_nobody() {
    cut_after_every_byte(End::Close);
}

#[test]
fn a_session_reset_after_any_of_its_bytes_leaves_nothing_and_disturbs_nobody() {
    cut_after_every_byte(End::Reset);
}

fn cut_after_every_byte(end: End) {
    let mut command = fernchat();
    command
        .args(["server", "127.0.0.1", "0"])
        .env("RUST_LOG", "fernchat=info,fernchat::net=debug");
    let mut server = Server::of(command);
    let (process, port) = (server.program.id(), server.port);
    let mut wilma = Peer::join(port, "wilma", None);
    let before = Footprint::of(process);
    let mut walter = Peer::join(port, "walter", Some(&mut wilma));
    let mut mallory = Peer::join(port, "mallory", Some(&mut wilma));
    walter.hears("PyChat: mallory has requested to join the group.");
    wilma.decides("/changeAdmin", "mallory");
    mallory.hears("PyChat: wilma made you the admin of the group.");
    let session = session(&mallory);
    end.of(mallory.socket);
    server.program.logs("departed: ");

    let memory = thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            let mut memory = 0;
            // From the last byte to the first: so what an upload takes has been taken when memory is looked at.
            for cut in (0..=session.len()).rev() {
                let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
                socket.read_exact(&mut [0; 44]).unwrap();
                socket.write_all(&session[..cut]).unwrap();
                end.of(socket);
                // If the one before still had the name, it would be refused.
                let line = server.program.logs("departed: ");
                assert!(!line.contains("refused"), "{cut}: {line}");
                if cut == session.len() / 2 {
                    memory = status_of(process, "VmRSS");
                }
            }
            memory
        });
        while !cutter.is_finished() {
            chat(&mut wilma, &mut walter, "wilma: hello");
        }
        cutter.join().unwrap()
    });
    drop(walter);
    // She still takes what the last of the sessions have shared.
    before.comes_back_while(process, || {
        wilma.says("/whoAdmin");
        hears_in_between(&mut wilma, "/whoAdmin");
        wilma.says("team");
        wilma.hears("Admin: mallory");
    });
    assert_eq!(
        wilma.asks_for_set("/allMembers"),
        set(&["mallory", "walter", "wilma"])
    );
    assert_eq!(wilma.asks_for_set("/onlineMembers"), set(&["wilma"]));
    is_idle(process, &wilma);
    let more = status_of(process, "VmRSS").saturating_sub(memory);
    assert!(
        more < 1 << 10,
        "the second half of the cuts left {more} KiB behind"
    );
}

/// What an admin's Python client sends from its name to its goodbye.
fn session(mallory: &Peer) -> Vec<u8> {
    let body = mallory.fernet.encrypt(&[7; 100]);
    let before = "mallory team /viewRequests . /readyForData /approveRequest . carol /allMembers . /onlineMembers . \
                  /changeAdmin . carol /whoAdmin team /kickMember . carol /messageSend hello /fileTransfer notes.txt";
    let frames = |texts: &str| {
        texts
            .split_whitespace()
            .flat_map(|text| mallory.frame(text))
            .collect::<Vec<u8>>()
    };
    [
        frames(before),
        mallory.frame(&body.len().to_string()),
        body.into_bytes(),
        frames("/disconnect ."),
    ]
    .concat()
}

/// One says something, and the other hears it.
fn chat(speaker: &mut Peer, listener: &mut Peer, line: &str) {
    speaker.says("/messageSend");
    hears_in_between(speaker, "/messageSend");
    speaker.says("hello");
    hears_in_between(listener, line);
}

/// Hears this; what the other's session did comes before, and a file is taken.
fn hears_in_between(peer: &mut Peer, wanted: &str) {
    loop {
        match peer.hears_text().as_str() {
            text if text == wanted => return,
            "/receiveFile" => {
                peer.says("/sendFilename");
                peer.hears("notes.txt");
                peer.says("/sendFile");
                let length = peer.hears_text().parse().unwrap();
                peer.hears_raw(length);
            }
            other => assert_eq!(other, "mallory: hello"),
        }
    }
}
