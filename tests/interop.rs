//! Each of our ends against real Python at the other: programs of our own that do what the older chat's programs do, faults included.
//! Some faults need a moment that cannot be hit by chance; then a program is stopped while the other goes on, or a switch makes it certain.

mod support;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

use support::python::{Python, PythonServer, approves, content};
use support::screen::{Screen, has_tmux};
use support::{Peer, Program, Server, client, ends_badly, ends_well, set};

/// Sizes around the blocks of the cipher and of base64, and the largest that Python can be trusted with.
const SIZES: [usize; 7] = [0, 1, 15, 16, 17, 1000, 40 << 10];

/// A Python client types a command about somebody, and hears this.
#[track_caller]
fn decides(admin: &mut Program, command: &str, name: &str, result: &str) {
    admin.types(command);
    admin.hears_next("name?");
    admin.types(name);
    admin.hears_next(result);
}

/// A Python client shares a file.
#[track_caller]
fn shares(program: &mut Program, path: &str, result: &str) {
    program.types("/9");
    program.hears_next("file?");
    program.types(path);
    program.hears_next(result);
}

/// Our server, and two Python clients in one group; `None` without Python.
fn team(options: &[&str]) -> Option<(Python, Server, Program, Program)> {
    let python = Python::find()?;
    let server = Server::start_with(options);
    let mut alice = python.admin(server.port, "alice", &[]);
    let bob = python.member(server.port, "bob", &[], &mut alice);
    Some((python, server, alice, bob))
}

/// A Python server, and two of our clients in one group; `None` without Python.
fn our_team(switches: &[&str]) -> Option<(Python, PythonServer, Program, Program)> {
    let python = Python::find()?;
    let server = python.server(switches);
    let mut alice = python.our_admin(server.port, "alice");
    let bob = python.our_member(server.port, "bob", &mut alice);
    Some((python, server, alice, bob))
}

/// Carol, with our client, is let in by two Python clients.
fn third(python: &Python, server: &Server, alice: &mut Program, bob: &mut Program) -> Program {
    let mut carol = python.our_client(server.port, "carol");
    carol.hears("You wait");
    alice.hears_next("PyChat: carol has requested to join the group.");
    bob.hears_next("PyChat: carol has requested to join the group.");
    decides(alice, "/2", "carol", "carol is now a member of the group.");
    carol.hears("You have been approved");
    carol
}

mod tokens {
    use super::*;
    use std::io::Read;

    use fernchat::seal::{BodyOpener, BodySealer, Key};

    struct Fernet {
        program: Program,
    }

    impl Fernet {
        fn start(key: &Key) -> Option<Fernet> {
            let mut command = support::python("fernet_lines.py")?;
            command.arg(key.as_str());
            Some(Fernet {
                program: Program::start(command),
            })
        }

        fn seals(&mut self, text: &[u8]) -> String {
            self.program.types(&format!("seal {}", hex(text)));
            self.program.hears("")
        }

        #[track_caller]
        fn opens(&mut self, token: &str, text: &[u8]) {
            self.program.types(&format!("open {token}"));
            let opened = self.program.hears("");
            assert!(opened == hex(text), "a token of {} bytes", text.len());
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn what_one_side_seals_the_other_opens() {
        let key = Key::generate();
        let Some(mut python) = Fernet::start(&key) else {
            return;
        };
        for size in (0..=100).chain([703, 1000, 1023, 1024, 65_535, 200_000]) {
            let text = content(size);
            python.opens(&key.seal(&text), &text);
            let token = python.seals(&text);
            assert!(key.open(token.as_bytes()).unwrap() == text, "{size} bytes");
        }
    }

    #[test]
    fn a_body_is_one_token_in_python_s_eyes() {
        let key = Key::generate();
        let Some(mut python) = Fernet::start(&key) else {
            return;
        };
        for size in SIZES.into_iter().chain([31, 32, 33, 4095, 4096, 300_000]) {
            let text = content(size);
            let mut body = String::new();
            let mut sealer = BodySealer::new(&key, &text[..], size as u64);
            sealer.read_to_string(&mut body).unwrap();
            assert!(sealer.fault().is_none());
            python.opens(&body, &text);

            let token = python.seals(&text);
            let (mut opener, mut opened) = (BodyOpener::new(&key), Vec::new());
            for piece in token.as_bytes().chunks(1001) {
                opener.update(piece, &mut opened).unwrap();
            }
            opener.finish(&mut opened).unwrap();
            assert!(opened == text, "{size} bytes");
        }
    }

    #[test]
    fn a_token_of_another_key_opens_nowhere() {
        let key = Key::generate();
        let Some(mut python) = Fernet::start(&key) else {
            return;
        };
        python
            .program
            .types(&format!("open {}", Key::generate().seal(b"hello")));
        python.program.hears_next("refused");
        let token = python.seals(b"hello");
        assert!(Key::generate().open(token.as_bytes()).is_err());
    }
}

/// Our server, and people with Python clients.
mod python_client {
    use super::*;

    #[test]
    fn the_first_administers_and_lets_others_in() {
        let Some((python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        bob.types("hello, Grüße");
        alice.hears_next("bob: hello, Grüße");
        alice.types("welcome");
        bob.hears_next("alice: welcome");

        bob.types("/3");
        bob.hears_next("disconnected");
        ends_well(&mut bob);
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("joined");
        alice.types("you are back");
        bob.hears_next("alice: you are back");
    }

    #[test]
    fn a_request_stays_when_its_user_leaves() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &[]);
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("waiting");
        alice.hears_next("PyChat: bob has requested to join the group.");
        bob.types("/1");
        bob.hears_next("disconnected");
        ends_well(&mut bob);

        alice.types("/1");
        alice.hears_next("set: ['bob']");
        decides(&mut alice, "/2", "bob", "bob is now a member of the group.");
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("joined");
    }

    #[test]
    fn a_refused_client_reads_the_reason_and_ends_at_enter() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &[]);
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("waiting");
        alice.hears_next("PyChat: bob has requested to join the group.");

        let long = "x".repeat(65);
        for (name, group, reason) in [
            (
                "alice",
                "team",
                "the name alice is in use in this group; choose another",
            ),
            (
                "bob",
                "team",
                "the name bob is in use in this group; choose another",
            ),
            ("a:b", "team", "a user name has no colon"),
            ("PyChat", "team", "PyChat"),
            ("/3", "team", "does not begin with /"),
            (&long, "team", "64 characters"),
            ("carol", "!team", "a group name"),
        ] {
            let mut refused = python.client_in(server.port, name, group, &[]);
            refused.hears_next("joined");
            let line = refused.hears("PyChat: ");
            assert!(line.contains(reason), "{name} in {group}: {line}");
            refused.hears_next("kicked");
            refused.types("");
            ends_well(&mut refused);
        }
        alice.types("/5");
        alice.hears_next("set: ['alice']");
    }

    #[test]
    fn a_denied_client_reads_so_and_ends() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &[]);
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("waiting");
        alice.hears_next("PyChat: bob has requested to join the group.");
        decides(&mut alice, "/2", "!bob", "The request of bob is denied.");
        bob.hears_next("accepted");
        bob.types("");
        bob.hears_next("PyChat: The admin denied your request to join.");
        bob.hears_next("kicked");
        bob.types("");
        ends_well(&mut bob);
        alice.pastes(&["/1", "/4"]);
        alice.hears_next("set: []");
        alice.hears_next("set: ['alice']");
    }

    #[test]
    fn every_command_gets_its_answer() {
        let Some((python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let mut carol = python.client(server.port, "carol", &[]);
        carol.hears_next("waiting");
        alice.hears_next("PyChat: carol has requested to join the group.");
        bob.hears_next("PyChat: carol has requested to join the group.");

        for (typed, heard) in [
            ("/1", "set: ['carol']"),
            ("/4", "set: ['alice', 'bob']"),
            ("/5", "set: ['alice', 'bob']"),
            ("/7", "Admin: alice"),
        ] {
            alice.types(typed);
            alice.hears_next(heard);
        }
        decides(
            &mut alice,
            "/2",
            "dave",
            "Nobody called 'dave' has asked to join; /1 lists who has.",
        );
        decides(
            &mut alice,
            "/6",
            "dave",
            "The group has no member called 'dave'; /4 lists the members.",
        );
        decides(
            &mut alice,
            "/8",
            "dave",
            "The group has no member called 'dave'; /4 lists the members.",
        );
        decides(
            &mut alice,
            "/8",
            "alice",
            "The admin cannot be kicked; hand the role over first, with /6.",
        );
        for typed in ["/1", "/2", "/6", "/8"] {
            bob.types(typed);
            bob.hears_next("Only the admin of the group may do this.");
        }
        shares(&mut bob, "no such file", "no such file");
        bob.types("/etc/passwd is no command");
        alice.hears_next("bob: /etc/passwd is no command");
        bob.types("/3");
        bob.hears_next("disconnected");
        ends_well(&mut bob);
        alice.pastes(&["/4", "/5"]);
        alice.hears_next("set: ['alice', 'bob']");
        alice.hears_next("set: ['alice']");
    }

    #[test]
    fn lines_wait_until_its_dialogue_ends() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &[]);
        let mut bob = Peer::greet(server.port, "bob", "team");
        bob.hears("/wait");
        alice.hears_next("PyChat: bob has requested to join the group.");
        decides(&mut alice, "/2", "bob", "bob is now a member of the group.");
        bob.hears("/accepted");

        for (typed, question, answer, result) in [
            (
                "/2",
                "name?",
                "dave",
                "Nobody called 'dave' has asked to join; /1 lists who has.",
            ),
            (
                "/6",
                "name?",
                "dave",
                "The group has no member called 'dave'; /4 lists the members.",
            ),
            (
                "/8",
                "name?",
                "dave",
                "The group has no member called 'dave'; /4 lists the members.",
            ),
            ("/9", "file?", "no such file", "no such file"),
        ] {
            alice.types(typed);
            alice.hears_next(question);
            bob.tells("one");
            bob.tells("two");
            // So the server has dealt with both lines.
            bob.hears_nothing();
            alice.types(answer);
            alice.hears_next(result);
            alice.hears_next("bob: one");
            alice.hears_next("bob: two");
        }
        // What waited has not cost the step.
        alice.types("/5");
        alice.hears_next("set: ['alice', 'bob']");
    }

    #[test]
    fn commands_typed_ahead_run_one_after_the_other() {
        let Some((_python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        // While the server stands still, all that is typed is sent before any answer.
        let ahead = |alice: &mut Program, lines: &[&str], last: &str| {
            server.program.stands_still();
            alice.pastes(lines);
            alice.logs(last);
            server.program.signal("CONT");
        };

        ahead(&mut alice, &["/4", "/7", "/1", "/5"], "-> /onlineMembers");
        alice.hears_next("set: ['alice', 'bob']");
        alice.hears_next("Admin: alice");
        alice.hears_next("set: []");
        alice.hears_next("set: ['alice', 'bob']");

        ahead(&mut alice, &["/2", "/5", "/8"], "-> /kickMember");
        alice.hears_next("name?");
        alice.types("dave");
        alice.hears_next("Nobody called 'dave' has asked to join; /1 lists who has.");
        alice.hears_next("set: ['alice', 'bob']");
        alice.hears_next("name?");
        alice.types("erin");
        alice.hears_next("The group has no member called 'erin'; /4 lists the members.");

        ahead(&mut alice, &["/9", "/4"], "-> /allMembers");
        alice.hears_next("file?");
        alice.types("no such file");
        alice.hears_next("no such file");
        alice.hears_next("set: ['alice', 'bob']");

        for typed in ["/2", "/6", "/8"] {
            ahead(&mut alice, &[typed, "and a line"], "-> /messageSend");
            alice.hears_next("You were typing something else meanwhile: please try again.");
            bob.hears_next("alice: and a line");
        }

        ahead(&mut alice, &["/5", "a line", "/7"], "-> /messageSend");
        alice.hears_next("set: ['alice', 'bob']");
        bob.hears_next("alice: a line");
        alice.hears_next("Admin: alice");

        // A command where a name is asked for is both: the name, and a command.
        alice.types("/6");
        alice.hears_next("name?");
        alice.types("/5");
        alice.hears_next("The group has no member called '/5'; /4 lists the members.");
        alice.hears_next("set: ['alice', 'bob']");

        ahead(&mut alice, &["/4", "/3"], "-> /disconnect");
        alice.hears_next("set: ['alice', 'bob']");
        alice.hears_next("disconnected");
        ends_well(&mut alice);
    }

    #[test]
    fn a_page_of_pasted_lines_arrives_whole_and_in_order() {
        let Some((_python, _server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let page: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
        let page: Vec<&str> = page.iter().map(String::as_str).collect();
        alice.pastes(&page);
        bob.pastes(&page);
        for line in page {
            alice.hears_next(&format!("bob: {line}"));
            bob.hears_next(&format!("alice: {line}"));
        }
    }

    #[test]
    fn torn_frames_are_put_together() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &["--torn"]);
        for _ in 0..5 {
            // L1 L2 T1 T2, then L1 L2 T2 T1.
            alice.pastes(&["/4", "/7"]);
            alice.hears_next("set: ['alice']");
            alice.hears_next("Admin: alice");
            alice.pastes(&["/4", "/7"]);
            alice.hears_next("Admin: alice");
            alice.hears_next("set: ['alice']");
        }
        alice.types("/7");
        alice.hears_next("Admin: alice");
    }

    #[test]
    fn a_frame_inside_its_upload_is_a_command() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &["--torn-body"]);
        let mut bob = python.member(server.port, "bob", &[], &mut alice);
        for (at, size) in SIZES.into_iter().enumerate() {
            let name = format!("file {at}");
            python.file("alice", &name, size);
            shares(
                &mut alice,
                &name,
                &format!("{name} is on its way to 1 member."),
            );
            alice.hears_next("set: ['alice', 'bob']");
            bob.hears_next(&format!("received {name} {size} bytes"));
            python.has_file("bob", &name, size);
        }
    }

    #[test]
    fn files_arrive_whole_at_both_kinds_of_client() {
        let Some((python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let mut carol = third(&python, &server, &mut alice, &mut bob);

        for size in SIZES {
            let name = format!("python {size}.bin");
            python.file("alice", &name, size);
            shares(
                &mut alice,
                &name,
                &format!("{name} is on its way to 2 members."),
            );
            bob.hears_next(&format!("received {name} {size} bytes"));
            carol.hears(&format!("Received {name} from alice: "));
            python.has_file("bob", &name, size);
            python.has_file("carol", &name, size);

            let name = format!("ours {size}.bin");
            let path = python.file("carol", &name, size);
            carol.types(&format!("/9 {}", path.display()));
            carol.hears(&format!("{name} is on its way to 2 members."));
            for (receiver, receivers_name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
                receiver.hears_next(&format!("received {name} {size} bytes"));
                python.has_file(receivers_name, &name, size);
            }
        }
    }

    #[test]
    fn a_path_is_reduced_to_its_name() {
        let Some((python, _server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        python.file("alice", "deep/er/notes.txt", 100);
        shares(
            &mut alice,
            "deep/er/notes.txt",
            "notes.txt is on its way to 1 member.",
        );
        bob.hears_next("received notes.txt 100 bytes");
        python.file("alice", "../outside.txt", 10);
        shares(
            &mut alice,
            "../outside.txt",
            "outside.txt is on its way to 1 member.",
        );
        bob.hears_next("received outside.txt 10 bytes");
        assert_eq!(python.files("bob"), set(&["notes.txt", "outside.txt"]));
    }

    #[test]
    fn a_file_that_it_cannot_take_is_a_line() {
        let Some((python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let mut carol = third(&python, &server, &mut alice, &mut bob);

        let size = 5_000_000;
        python.file("alice", "film", size);
        shares(
            &mut alice,
            "film",
            "film is on its way to 1 member; 1 more cannot receive a file of this size and were told.",
        );
        bob.hears_next("PyChat: alice shared film (4.8 MiB), too large for this program.");
        carol.hears("Received film from alice: ");
        python.has_file("carol", "film", size);
        alice.types("did it arrive?");
        bob.hears_next("alice: did it arrive?");
        assert_eq!(python.files("bob"), set(&[]));
    }

    #[test]
    fn an_upload_that_is_refused_costs_no_step() {
        let Some((python, _server, mut alice, mut bob)) = team(&["--max-file", "1K"]) else {
            return;
        };
        python.file("alice", "film", 1025 + 16);
        shares(
            &mut alice,
            "film",
            "film was not shared: this server takes files of at most 1 KiB.",
        );
        python.file("alice", "notes", 1000);
        shares(&mut alice, "notes", "notes is on its way to 1 member.");
        bob.hears_next("received notes 1000 bytes");
        assert_eq!(python.files("bob"), set(&["notes"]));
    }

    #[test]
    fn a_body_that_was_altered_reaches_nobody() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &[]);
        let mut eve = Peer::greet(server.port, "eve", "team");
        eve.hears("/wait");
        alice.hears_next("PyChat: eve has requested to join the group.");
        decides(&mut alice, "/2", "eve", "eve is now a member of the group.");
        eve.hears("/accepted");

        let token = eve.fernet.encrypt(b"a letter");
        let altered = [
            &token[..30],
            if &token[30..31] == "A" { "B" } else { "A" },
            &token[31..],
        ];
        eve.says("/fileTransfer");
        eve.hears("/fileTransfer");
        eve.says("letter");
        eve.hears("/sendFile");
        eve.says(&token.len().to_string());
        eve.says_raw(altered.concat().as_bytes());
        let result = eve.hears_text();
        assert!(
            result.starts_with("letter was not shared: it did not arrive whole"),
            "{result}"
        );
        eve.tells("try again");
        alice.hears_next("eve: try again");
        assert_eq!(python.files("alice"), set(&[]));
    }

    #[test]
    fn a_file_waits_until_its_dialogue_ends() {
        let Some((python, mut server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        python.file("bob", "notes", 1000);
        alice.types("/8");
        alice.hears_next("name?");
        shares(&mut bob, "notes", "notes is on its way to 1 member.");
        bob.types("look at this");
        server.program.logs("bob /messageSend");
        alice.types("dave");
        alice.hears_next("The group has no member called 'dave'; /4 lists the members.");
        alice.hears_next("received notes 1000 bytes");
        alice.hears_next("bob: look at this");
        python.has_file("alice", "notes", 1000);
    }

    #[test]
    fn a_kicked_member_hears_it_and_ends_at_enter() {
        let Some((python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        decides(
            &mut alice,
            "/8",
            "bob",
            "bob is not a member of the group any more.",
        );
        bob.hears_next("kicked");
        bob.types("");
        ends_well(&mut bob);
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("waiting");
        alice.hears_next("PyChat: bob has requested to join the group.");
    }

    #[test]
    fn a_member_kicked_in_a_dialogue_finishes_it_first() {
        let Some((python, _server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        python.file("bob", "notes", 1000);
        bob.types("/9");
        bob.hears_next("file?");
        decides(
            &mut alice,
            "/8",
            "bob",
            "bob is not a member of the group any more.",
        );
        bob.types("notes");
        bob.hears_next("This is for members, and you are not a member of the group any more.");
        bob.hears_next("kicked");
        bob.types("");
        ends_well(&mut bob);
        alice.types("/4");
        alice.hears_next("set: ['alice']");
        assert_eq!(python.files("alice"), set(&[]));
    }

    #[test]
    fn the_role_is_handed_over() {
        let Some((_python, _server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        decides(
            &mut alice,
            "/6",
            "bob",
            "bob is now the admin of the group.",
        );
        bob.hears_next("PyChat: alice made you the admin of the group.");
        bob.types("/7");
        bob.hears_next("Admin: bob");
        alice.types("/2");
        alice.hears_next("Only the admin of the group may do this.");
        decides(
            &mut bob,
            "/8",
            "alice",
            "alice is not a member of the group any more.",
        );
        alice.hears_next("kicked");
    }

    #[test]
    fn everybody_is_told_when_the_server_stops() {
        let Some((python, mut server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let mut carol = python.client(server.port, "carol", &[]);
        carol.hears_next("waiting");
        alice.hears_next("PyChat: carol has requested to join the group.");
        bob.hears_next("PyChat: carol has requested to join the group.");

        server.program.signal("TERM");
        alice.hears_next("PyChat: The server stops.");
        alice.hears_next("kicked");
        alice.types("");
        ends_well(&mut alice);
        bob.hears_next("PyChat: The server stops.");
        bob.hears_next("kicked");
        bob.types("");
        ends_well(&mut bob);
        carol.hears_next("disconnected");
        ends_well(&mut carol);
        ends_well(&mut server.program);
    }

    #[test]
    fn a_clock_that_is_an_hour_ahead_does_not_matter() {
        let Some(python) = Python::find() else { return };
        let server = Server::start();
        let mut alice = python.admin(server.port, "alice", &["--future", "3600"]);
        let mut bob = python.member(server.port, "bob", &[], &mut alice);
        alice.types("hello");
        bob.hears_next("alice: hello");
        python.file("alice", "notes", 1000);
        shares(&mut alice, "notes", "notes is on its way to 1 member.");
        bob.hears_next("received notes 1000 bytes");
        python.has_file("bob", "notes", 1000);
    }

    #[test]
    fn one_that_stops_reading_disturbs_nobody() {
        let Some((python, server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let mut deaf = python.member(server.port, "deaf", &[], &mut alice);
        bob.hears_next("PyChat: deaf has requested to join the group.");
        deaf.types("/3");
        deaf.hears_next("disconnected");
        let mut deaf = python.client(server.port, "deaf", &["--no-reading"]);
        deaf.hears_next("joined");
        python.file("alice", "notes", 1000);
        for _ in 0..3 {
            shares(&mut alice, "notes", "notes is on its way to 2 members.");
            bob.hears_next("received notes 1000 bytes");
            alice.types("have you read it?");
            bob.hears_next("alice: have you read it?");
        }
    }

    #[test]
    fn one_that_dies_is_offline_and_disturbs_nobody() {
        let Some((python, mut server, mut alice, mut bob)) = team(&[]) else {
            return;
        };
        let mut carol = python.member(server.port, "carol", &[], &mut alice);
        bob.hears_next("PyChat: carol has requested to join the group.");

        // Between the command and its text.
        server.program.stands_still();
        bob.types("I wanted to say");
        bob.logs("-> /messageSend");
        bob.signal("KILL");
        server.program.signal("CONT");
        server.program.logs("bob is offline");
        alice.types("/5");
        alice.hears_next("set: ['alice', 'carol']");
        alice.types("where is bob?");
        carol.hears_next("alice: where is bob?");

        // In the middle of a dialogue, and then of a delivery.
        carol.types("/9");
        carol.hears_next("file?");
        carol.signal("KILL");
        server.program.logs("carol is offline");
        alice.types("/5");
        alice.hears_next("set: ['alice']");
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("joined");
        bob.stands_still();
        python.file("alice", "notes", 1000);
        shares(&mut alice, "notes", "notes is on its way to 1 member.");
        bob.signal("KILL");
        alice.hears_next("PyChat: notes did not reach bob.");
        alice.types("/5");
        alice.hears_next("set: ['alice']");
    }
}

/// The Python server, and people with our client.
mod python_server {
    use super::*;

    #[test]
    fn every_command_is_done_by_digit_and_by_name() {
        let Some((python, mut server, mut alice, mut bob)) = our_team(&[]) else {
            return;
        };
        let mut carol = python.our_client(server.port, "carol");
        carol.hears("You wait for the admin of team");
        alice.hears("PyChat: carol has requested to join the group.");
        bob.hears("PyChat: carol has requested to join the group.");
        let notes = python.file("alice", "notes", 1000);
        let notes = notes.to_str().unwrap();

        for (words, argument, result) in [
            (["/1", "/requests"], None, "requests: carol"),
            (["/4", "/members"], None, "members: alice, bob"),
            (["/5", "/online"], None, "online: alice, bob"),
            (["/7", "/admin"], None, "Admin: alice"),
            (
                ["/2", "/approve"],
                Some("dave"),
                "dave has not asked to join.",
            ),
            (
                ["/6", "/transfer"],
                Some("dave"),
                "dave is not a member of the group.",
            ),
            (
                ["/8", "/kick"],
                Some("dave"),
                "dave is not a member of the group.",
            ),
            (
                ["/9", "/file"],
                Some(notes),
                "notes has been sent to all online members.",
            ),
        ] {
            for word in words {
                let Some(argument) = argument else {
                    alice.types(word);
                    alice.hears_next(result);
                    continue;
                };
                alice.types(&format!("{word} {argument}"));
                alice.hears_next(result);
                alice.pastes(&[word, argument]);
                alice.hears_next(result);
            }
        }
        for _ in 0..4 {
            bob.hears("Received notes: ");
        }
        assert_eq!(
            python.files("bob"),
            set(&["notes", "notes (1)", "notes (2)", "notes (3)"])
        );

        for typed in ["/1", "/2 x", "/6 x", "/8 x"] {
            bob.types(typed);
            bob.hears("Only the admin of this group may do that.");
        }
        alice.types("/deny carol");
        alice.hears_next("This server cannot deny: who is not approved stays outside.");
        alice.types("/10 is a line");
        bob.hears("alice: /10 is a line");
        alice.types("/6 bob");
        alice.hears_next("bob is now the admin of the group.");
        bob.types("/2 carol");
        bob.hears("carol is now a member of the group.");
        carol.hears("You have been approved");
        for (mut program, name, word) in [(alice, "alice", "/3"), (bob, "bob", "/quit")] {
            program.types(word);
            ends_well(&mut program);
            server.program.hears(&format!("gone {name}"));
        }
        carol.types("/5");
        carol.hears("online: carol");
    }

    #[test]
    fn piped_input_never_overtakes_an_answer() {
        let Some(python) = Python::find() else { return };
        let mut server = python.server(&[]);
        let notes = python.file("alice", "notes", 1000);
        for run in 0..20 {
            let (name, group) = (format!("user {run}"), format!("team {run}"));
            let mut command = support::fernchat();
            command.args(["client", "127.0.0.1", &server.port.to_string()]);
            let mut program = Program::start(command);
            program.pastes(&[
                &name,
                &group,
                "/1",
                "first",
                "/4",
                "/2 dave",
                "/5",
                "second",
                "/7",
                "/8",
                "dave",
                &format!("/9 {}", notes.display()),
                "last",
            ]);
            program.ends_input();
            let heard = program.rest();
            assert_eq!(
                heard[1..],
                [
                    "requests: nobody".to_owned(),
                    format!("members: {name}"),
                    "dave has not asked to join.".to_owned(),
                    format!("online: {name}"),
                    format!("Admin: {name}"),
                    "dave is not a member of the group.".to_owned(),
                    "notes has been sent to all online members.".to_owned(),
                ],
                "run {run}"
            );
            ends_well(&mut program);
            for line in ["first", "second", "last"] {
                server.program.hears(&format!("<- {name}: {line}"));
            }
            server.program.hears(&format!("gone {name}"));
        }
    }

    #[test]
    fn a_waiting_client_reads_the_echo_before_it_leaves() {
        let Some(python) = Python::find() else { return };
        let mut server = python.server(&[]);
        let mut alice = python.our_admin(server.port, "alice");
        for leaving in ["/1", "/3", "end", "TERM", "INT"] {
            let mut bob = python.our_client(server.port, "bob");
            bob.hears("You wait for the admin of team");
            bob.types("let me in");
            bob.hears("nothing is sent until then");
            leave(&mut bob, leaving);
            server.program.hears("done bob: /waitDisconnect");
        }
        // The admin who approves bob now does not lose the session.
        approves(&mut alice, "bob");
        alice.types("/4");
        alice.hears_next("members: alice, bob");
        let mut bob = python.our_client(server.port, "bob");
        bob.hears("You are in the group team");
        assert!(server.program.log_so_far().is_empty());
    }

    #[test]
    fn a_client_that_leaves_says_so() {
        let Some((python, mut server, mut alice, mut bob)) = our_team(&[]) else {
            return;
        };
        for leaving in ["/3", "/quit", "end", "TERM", "INT"] {
            leave(&mut bob, leaving);
            server.program.hears("gone bob");
            bob = python.our_client(server.port, "bob");
            bob.hears("You are in the group team");
            alice.types("you are back");
            bob.hears("alice: you are back");
        }
        assert!(server.program.log_so_far().is_empty());
    }

    #[track_caller]
    fn leave(program: &mut Program, how: &str) {
        match how {
            "end" => program.ends_input(),
            "TERM" | "INT" => program.signal(how),
            word => program.types(word),
        }
        ends_well(program);
    }

    /// A session from the first to the last command, among the lines that a switch of the server mixes in.
    #[track_caller]
    fn holds_a_session(switches: &[&str], marks: &[&str]) {
        let Some(python) = Python::find() else { return };
        let mut server = python.server(switches);
        let mut alice = python.our_client(server.port, "alice");
        let rounds = 10;
        let mut expected = vec![
            "The group team is new: nobody was here before you. You made it, and you administer it. /help lists the commands.",
        ];
        for _ in 0..rounds {
            alice.pastes(&[
                "/1", "/4", "hello", "/5", "/7", "/2 dave", "/6 dave", "/8 dave", "hello",
            ]);
            expected.extend([
                "requests: nobody",
                "members: alice",
                "online: alice",
                "Admin: alice",
                "dave has not asked to join.",
                "dave is not a member of the group.",
                "dave is not a member of the group.",
            ]);
        }
        alice.types("/3");
        ends_well(&mut alice);
        let heard = alice.rest();
        let is_mixed_in = |line: &&String| marks.iter().any(|mark| line.starts_with(mark));
        let said: Vec<&String> = heard.iter().filter(|line| !is_mixed_in(line)).collect();
        assert_eq!(said, expected, "{heard:#?}");
        for mark in marks {
            let mixed_in: BTreeSet<&String> =
                heard.iter().filter(|line| line.starts_with(mark)).collect();
            let sent: BTreeSet<String> = (1..=mixed_in.len())
                .map(|n| format!("{mark} {n}"))
                .collect();
            assert_eq!(mixed_in, sent.iter().collect());
            assert!(mixed_in.len() > 20 * rounds, "{mark}: {}", mixed_in.len());
        }
        server.program.hears("gone alice");
    }

    #[test]
    fn lines_before_every_step_cost_no_step() {
        holds_a_session(&["--chatter"], &["PyChat: chatter"]);
    }

    #[test]
    fn torn_frames_cost_no_step() {
        holds_a_session(&["--torn"], &["PyChat: torn"]);
    }

    #[test]
    fn lines_and_torn_frames_together_cost_no_step() {
        holds_a_session(
            &["--torn", "--chatter"],
            &["PyChat: torn", "PyChat: chatter"],
        );
    }

    /// Files from our client to our client through a server with these switches, while the receiver types commands.
    #[track_caller]
    fn delivers(switches: &[&str]) {
        let Some(python) = Python::find() else { return };
        let server = python.server(switches);
        let mut alice = python.our_admin(server.port, "alice");
        let mut bob = python.our_member(server.port, "bob", &mut alice);
        let sizes = [0, 1, 15, 16, 17, 1000, 40 << 10, 300_000];
        for size in sizes {
            let path = python.file("alice", &format!("file {size}"), size);
            alice.types(&format!("/9 {}", path.display()));
            // Meanwhile the receiver is in a dialogue, most of the time.
            bob.pastes(&["/5", "/4", "/5", "/4", "/5", "/4", "/5", "/4"]);
        }
        for size in sizes {
            alice.hears(&format!("file {size} has been sent to all online members."));
        }
        bob.ends_input();
        ends_well(&mut bob);
        let heard = bob.rest();
        let count = |part: &str| heard.iter().filter(|line| line.starts_with(part)).count();
        assert_eq!(count("online: alice, bob"), 4 * sizes.len(), "{heard:#?}");
        assert_eq!(count("members: alice, bob"), 4 * sizes.len(), "{heard:#?}");
        assert_eq!(count("Received file "), sizes.len(), "{heard:#?}");
        for size in sizes {
            python.has_file("bob", &format!("file {size}"), size);
        }
        assert_eq!(python.files("bob").len(), sizes.len());
    }

    #[test]
    fn files_arrive_among_dialogues() {
        delivers(&[]);
    }

    #[test]
    fn files_arrive_with_lines_between_the_steps() {
        delivers(&["--chatter"]);
    }

    #[test]
    fn files_arrive_with_lines_inside_them() {
        delivers(&["--torn-body", "--torn"]);
    }

    #[test]
    fn files_arrive_that_come_before_they_are_asked_for() {
        delivers(&["--eager-delivery", "--torn-body"]);
    }

    #[test]
    fn a_file_s_name_that_comes_where_a_result_is_due_costs_no_step() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = support::folder();
        let folder = room.path().to_str().unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut alice = client(port, "alice", &["--downloads", folder]);
        let mut server = Peer::host(&listener);
        server.says("/adminReady");
        alice.hears("The group team is new");

        // Another client's answer has released this client's delivery too, in the middle of a dialogue.
        alice.types("/8 dave");
        server.hears("/kickMember");
        server.says("/receiveFile");
        server.says("/kickMember");
        server.hears(".");
        server.says("/proceed");
        server.hears("dave");
        server.says("notes.txt");
        let token = server.fernet.encrypt(&content(1000));
        server.says(&token.len().to_string());
        server.says_raw(token.as_bytes());
        server.says("dave has been kicked out of the group.");
        alice.hears("Received notes.txt: ");
        alice.hears("dave has been kicked out of the group.");
        let found = std::fs::read(room.path().join("notes.txt")).unwrap();
        assert!(found == content(1000));

        // Both answers come all the same, outside the dialogues, and the next dialogue is in sync.
        server.hears("/sendFilename");
        server.hears("/sendFile");
        alice.types("/7");
        server.hears("/whoAdmin");
        server.says("/whoAdmin");
        server.hears("team");
        server.says("Admin: alice");
        alice.hears("Admin: alice");
    }

    #[test]
    fn a_missed_answer_is_given_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let room = support::folder();
        let folder = room.path().to_str().unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut alice = client(port, "alice", &["--downloads", folder]);
        let mut server = Peer::host(&listener);
        server.says("/ready");
        server.says("/receiveFile");
        server.hears("/sendFilename");
        server.hears("/sendFilename");
        server.says("notes.txt");
        server.hears("/sendFile");
        server.hears("/sendFile");
        let token = server.fernet.encrypt(&content(1000));
        server.says(&token.len().to_string());
        server.says_raw(token.as_bytes());
        alice.hears("Received notes.txt: ");
    }

    #[test]
    fn a_server_that_never_lets_in_is_given_up() {
        let Some(python) = Python::find() else { return };
        let server = python.server(&["--no-step5"]);
        let mut alice = python.our_client(server.port, "alice");
        ends_badly(
            &mut alice,
            "does not answer: the answer to joining did not come",
        );
    }

    #[test]
    fn a_server_that_does_not_answer_is_waited_for_and_can_be_left() {
        let Some(python) = Python::find() else { return };
        let server = python.server(&["--no-answer", "/allMembers"]);
        let mut alice = python.our_admin(server.port, "alice");
        alice.pastes(&["/4", "/5"]);
        alice.hears_next("The server does not answer; still waiting for it. Ctrl-C leaves.");
        alice.signal("INT");
        ends_well(&mut alice);
        assert!(alice.rest().is_empty());
    }

    #[test]
    fn uploads_land_at_the_server_and_at_python_clients() {
        let Some(python) = Python::find() else { return };
        let server = python.server(&[]);
        let mut alice = python.our_admin(server.port, "alice");
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("waiting");
        approves(&mut alice, "bob");
        bob.hears_next("accepted");
        bob.types("");
        for size in SIZES {
            let name = format!("file {size}");
            let path = python.file("alice", &name, size);
            alice.types(&format!("/9 {}", path.display()));
            alice.hears_next(&format!("{name} has been sent to all online members."));
            bob.hears_next(&format!("received {name} {size} bytes"));
            python.has_file("server", &name, size);
            python.has_file("bob", &name, size);
        }
        let path = python.file("alice", "film", 5_000_000);
        bob.types("/3");
        bob.hears_next("disconnected");
        ends_well(&mut bob);
        alice.types(&format!("/9 {}", path.display()));
        alice.hears_next("film has been sent to all online members.");
        python.has_file("server", "film", 5_000_000);
    }

    #[test]
    fn received_names_stay_in_the_folder_and_replace_nothing() {
        let Some(python) = Python::find() else { return };
        let server = python.server(&[]);
        let mut alice = python.our_admin(server.port, "alice");
        let mut bob = python.client(server.port, "bob", &[]);
        bob.hears_next("waiting");
        approves(&mut alice, "bob");
        bob.hears_next("accepted");
        bob.types("");
        python.file("alice", "notes.txt", 7);
        python.file("server", "a/folder", 0);

        for (path, name, size) in [
            ("../x", "x", 100),
            ("a/b", "b", 200),
            ("notes.txt", "notes (1).txt", 300),
            ("notes.txt", "notes (2).txt", 400),
            (".bashrc", "_.bashrc", 500),
        ] {
            python.file("bob", path, size);
            shares(
                &mut bob,
                path,
                &format!("{path} has been sent to all online members."),
            );
            let line = alice.hears("Received ");
            assert!(
                line.ends_with(&python.folder("alice").join(name).display().to_string()),
                "{line}"
            );
            python.has_file("alice", name, size);
        }
        python.has_file("alice", "notes.txt", 7);
        assert_eq!(python.files("alice").len(), 6);
        let path: &Path = python.room.path();
        assert!(
            path.join("x").exists(),
            "what the Python programs do themselves"
        );
    }

    #[test]
    fn what_it_cannot_do_is_said_in_a_sentence_and_the_chat_goes_on() {
        let Some((_python, server, mut alice, mut bob)) = our_team(&[]) else {
            return;
        };
        let no_msg = "Not sent: a Python server cannot tell one member something, only all.";
        alice.pastes(&["/msg bob psst", "/who", "/me waves", "/ignore", "said"]);
        alice.hears_next(no_msg);
        alice.hears_next("online: alice, bob");
        alice.hears_next("You ignore nobody.");
        bob.hears_next("alice: * alice waves");
        bob.hears_next("alice: said");
        // And at a terminal.
        if !has_tmux() || cfg!(not(feature = "editor")) {
            return;
        }
        let carol = Screen::client(server.port, "carol", &[]);
        approves(&mut alice, "carol");
        carol.ends_in("team>");
        carol.types("/msg bob psst");
        let text = carol.shows(no_msg);
        assert!(!text.contains("(to bob)"), "{text}");
        carol.types("/who");
        carol.shows("online (3): alice, bob, carol");
        carol.types("/whois bob");
        carol.shows("A Python server has no such command.");
        carol.types("/reply hello");
        carol.shows("Nobody has told you anything yet: /msg NAME TEXT.");
        carol.types("/me waves");
        bob.hears("carol: * carol waves");
        carol.shows(" * carol waves");
        carol.types("/quit bye");
        bob.hears_next("carol: bye");
        carol.shows("ended with 0");
    }

    #[test]
    fn a_large_file_arrives_whole() {
        let Some((python, _server, mut alice, mut bob)) = our_team(&[]) else {
            return;
        };
        let path = python.file("bob", "film", 5_000_000);
        bob.types(&format!("/9 {}", path.display()));
        alice.hears("Received film: ");
        bob.hears("film has been sent to all online members.");
        python.has_file("alice", "film", 5_000_000);
    }

    #[test]
    fn a_server_that_dies_is_one_line_and_a_failure() {
        let Some(python) = Python::find() else { return };
        let server = python.server(&[]);
        let mut alice = python.our_admin(server.port, "alice");
        let mut bob = python.our_client(server.port, "bob");
        bob.hears("You wait");
        alice.types("/5");
        alice.hears("online: alice");
        server.program.signal("KILL");
        ends_badly(&mut alice, "error: ");
        ends_badly(&mut bob, "error: ");
    }

    #[test]
    fn a_kicked_member_is_told_and_ends() {
        let Some((_python, _server, mut alice, mut bob)) = our_team(&[]) else {
            return;
        };
        alice.types("/8 bob");
        alice.hears("bob has been kicked out of the group.");
        bob.hears("You have been removed from the group.");
        ends_well(&mut bob);
        alice.pastes(&["/5", "is anybody here?", "/4"]);
        alice.hears_next("online: alice");
        alice.hears_next("members: alice");
    }

    #[test]
    fn both_kinds_of_client_hear_each_other() {
        let Some((python, server, mut alice, bob)) = our_team(&[]) else {
            return;
        };
        let mut pythons = Vec::new();
        for name in ["carol", "dave"] {
            let mut program = python.client(server.port, name, &[]);
            program.hears_next("waiting");
            approves(&mut alice, name);
            program.hears_next("accepted");
            program.types("");
            pythons.push((name, program));
        }
        let mut everybody = vec![("alice", alice), ("bob", bob)];
        everybody.extend(pythons);
        for round in 0..5 {
            for speaker in 0..everybody.len() {
                let (name, program) = &mut everybody[speaker];
                program.types(&format!("round {round}"));
                let line = format!("{name}: round {round}");
                for (hearer, (_, program)) in everybody.iter_mut().enumerate() {
                    if hearer != speaker {
                        program.hears(&line);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_when_everybody_speaks_at_once() {
        let Some((python, server, mut alice, bob)) = our_team(&[]) else {
            return;
        };
        let carol = python.our_member(server.port, "carol", &mut alice);
        let mut everybody = [("alice", alice), ("bob", bob), ("carol", carol)];
        let lines: Vec<String> = (0..100)
            .map(|n| format!("line {n} {}", "x".repeat(n)))
            .collect();
        let page: Vec<&str> = lines.iter().map(String::as_str).collect();
        for (_, program) in &mut everybody {
            program.pastes(&page);
            program.types("/7");
        }
        for hearer in 0..everybody.len() {
            let mut due: Vec<(String, usize)> = everybody
                .iter()
                .enumerate()
                .filter(|(speaker, _)| *speaker != hearer)
                .map(|(_, (name, _))| (format!("{name}: line "), 0))
                .collect();
            let program = &mut everybody[hearer].1;
            let mut has_answer = false;
            while !has_answer || due.iter().any(|(_, n)| *n < lines.len()) {
                let line = program.hears("");
                has_answer |= line == "Admin: alice";
                if let Some((speaker, n)) = due
                    .iter_mut()
                    .find(|(start, _)| line.starts_with(start.as_str()))
                {
                    // Each speaker's own lines come in order, also from a Python server.
                    assert_eq!(
                        line,
                        format!("{}{}", speaker.strip_suffix("line ").unwrap(), lines[*n])
                    );
                    *n += 1;
                }
            }
        }
    }
}
