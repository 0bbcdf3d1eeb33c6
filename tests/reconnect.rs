//! Connections that break, and what is not lost by it.

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use fernchat::seal::token_len;
use support::faults::End;
use support::python::{Python, approves, content};
use support::{
    Cut, Peer, Program, Server, Tap, Way, ends_well, fernchat, folder, lasting_client, status_of,
};

/// Alice and bob in the group `team`; bob's connection goes through a tap.
struct Pair {
    server: Server,
    tap: Tap,
    alice: Program,
    bob: Program,
}

impl Pair {
    fn start(options: &[&str]) -> Pair {
        Pair::of("alice", options)
    }

    /// With another name for alice.
    fn of(admin: &str, options: &[&str]) -> Pair {
        let server = Server::start_with(options);
        let tap = Tap::before(server.port);
        let mut alice = lasting_client(server.port, admin, &[]);
        alice.hears("The group team is new");
        let mut bob = lasting_client(tap.port, "bob", &[]);
        bob.hears("You wait");
        approves(&mut alice, "bob");
        bob.hears("You have been approved");
        Pair {
            server,
            tap,
            alice,
            bob,
        }
    }

    /// Bob's connection breaks, and none is let through.
    fn cuts(&mut self) {
        self.tap.shuts(true);
        self.tap.cuts();
        self.bob.hears("Connection lost: ");
        self.server.program.logs("departed: hung up");
    }

    fn mends(&mut self) {
        self.tap.shuts(false);
        self.bob
            .hears("Connected again: you are in the group team.");
    }
}

#[test]
fn what_either_side_says_while_the_connection_is_broken_is_heard_afterwards() {
    let mut pair = Pair::start(&[]);
    pair.alice.types("before");
    pair.bob.hears_next("alice: before");
    pair.cuts();
    pair.alice.types("one");
    pair.alice.types("two");
    pair.bob.types("three");
    pair.bob
        .hears("There is no connection: it is done as soon as there is one again.");
    pair.bob.pastes(&["four", "/members"]);
    pair.mends();
    pair.bob.hears_next("alice: one");
    pair.bob.hears_next("alice: two");
    pair.bob.hears_next("members: alice, bob");
    pair.alice.hears_next("bob: three");
    pair.alice.hears_next("bob: four");
    pair.bob.types("/3");
    ends_well(&mut pair.bob);
}

#[test]
fn no_line_is_lost_or_doubled_however_often_the_connection_breaks() {
    let mut pair = Pair::start(&[]);
    let n_rounds = 25;
    let n_lines = 20;
    for round in 0..n_rounds {
        for n in 0..n_lines {
            pair.alice.types(&format!("a {}", round * n_lines + n));
            pair.bob.types(&format!("b {}", round * n_lines + n));
            if n == round % n_lines {
                pair.tap.cuts();
            }
        }
        // What came in the first half of the round is there, so the next cut is at another place.
        pair.bob
            .hears(&format!("alice: a {}", round * n_lines + n_lines / 2));
    }
    pair.alice.types("the end of alice");
    pair.bob.types("the end of bob");
    pair.alice.hears("bob: the end of bob");
    pair.bob.hears("alice: the end of alice");
    for (program, prefix) in [(&pair.alice, "bob: b "), (&pair.bob, "alice: a ")] {
        let heard: Vec<&str> = program
            .heard()
            .iter()
            .filter_map(|line| line.strip_prefix(prefix))
            .collect();
        let said: Vec<String> = (0..n_rounds * n_lines).map(|n| n.to_string()).collect();
        assert_eq!(heard, said);
    }
    assert!(
        pair.bob
            .heard()
            .iter()
            .filter(|line| line.starts_with("Connected again"))
            .count()
            > 3
    );
}

#[test]
fn what_was_written_into_a_link_that_was_broken_already_is_heard_over_the_next() {
    let mut pair = Pair::start(&[]);
    pair.alice.types("one");
    pair.bob.hears_next("alice: one");
    // Bob's machine sleeps: what comes now lies in its socket, and is gone with it.
    pair.bob.stands_still();
    pair.alice.types("two");
    pair.alice.types("/online");
    pair.alice.hears("online: alice, bob");
    pair.tap.cuts();
    pair.bob.signal("CONT");
    pair.bob.hears("Connected again");
    pair.alice.types("three");
    pair.bob.hears("alice: three");
    let heard: Vec<&String> = pair
        .bob
        .heard()
        .iter()
        .filter(|line| line.starts_with("alice: "))
        .collect();
    assert_eq!(heard, ["alice: one", "alice: two", "alice: three"]);
}

#[test]
fn what_does_not_fit_into_the_backlog_is_said_in_one_line() {
    let mut pair = Pair::start(&["--backlog", "3"]);
    pair.cuts();
    pair.alice.pastes(&["1", "2", "3", "4", "5"]);
    pair.alice.types("/online");
    pair.alice.hears("online: alice");
    pair.mends();
    for line in [
        "PyChat: Up to 2 earlier lines were not kept.",
        "alice: 3",
        "alice: 4",
        "alice: 5",
    ] {
        pair.bob.hears_next(line);
    }
}

#[test]
fn a_python_client_hears_what_it_missed_when_it_comes_back() {
    let Some(python) = Python::find() else { return };
    let server = Server::start();
    let mut alice = python.our_admin(server.port, "alice");
    let mut bob = python.client(server.port, "bob", &[]);
    bob.hears_next("waiting");
    approves(&mut alice, "bob");
    bob.hears_next("accepted");
    bob.types("");
    alice.types("hello");
    bob.hears_next("alice: hello");
    bob.types("/3");
    bob.ends();
    alice.pastes(&["one", "two"]);
    alice.types("/online");
    alice.hears("online: alice");
    let mut bob = python.client(server.port, "bob", &[]);
    bob.hears_next("joined");
    bob.types("");
    bob.hears_next("alice: one");
    bob.hears_next("alice: two");
    bob.types("/7");
    bob.hears_next("Admin: alice");
}

#[test]
fn a_server_that_comes_back_empty_is_told_apart_from_one_that_remembers() {
    let server = Server::start();
    let port = server.port;
    let mut alice = lasting_client(port, "alice", &[]);
    alice.hears("The group team is new");
    server.program.signal("TERM");
    alice.hears_next("Connection lost: The server stops; trying again.");
    drop(server);
    alice.hears("Still no connection: cannot reach 127.0.0.1:");
    alice.types("are you there?");
    alice.hears("There is no connection");
    let server = Server::start_at(port);
    alice.hears_next(
        "Connected again, to a server that has forgotten the group team: you administer it now.",
    );
    let mut bob = lasting_client(port, "bob", &[]);
    bob.hears("You wait for the admin of team");
    // Once more, and now another is the first.
    server.program.signal("KILL");
    bob.hears("Connection lost");
    alice.signal("STOP");
    drop(server);
    let _server = Server::start_at(port);
    bob.hears(
        "Connected again, to a server that has forgotten the group team: you administer it now.",
    );
    alice.signal("CONT");
    alice.hears("Connected again, but you wait again for the admin of team to approve you.");
    bob.hears("PyChat: alice has requested to join the group.");
}

#[test]
fn a_name_that_another_took_meanwhile_is_waited_for() {
    let server = Server::start();
    let port = server.port;
    let mut bob = lasting_client(port, "bob", &[]);
    bob.hears("The group team is new");
    bob.signal("STOP");
    server.program.signal("KILL");
    drop(server);
    // The server has forgotten whose name it was, and another is faster.
    let _server = Server::start_at(port);
    let mut other = Peer::greet(port, "bob", "team");
    other.hears("/adminReady");
    bob.signal("CONT");
    bob.hears("Still no connection: the server refused: the name bob is in use in this group; choose another");
    drop(other);
    bob.hears("Connected again: you are in the group team.");
}

#[test]
fn a_client_that_waits_again_can_leave_with_lines_unsent() {
    let server = Server::start();
    let port = server.port;
    let mut alice = lasting_client(port, "alice", &[]);
    alice.hears("The group team is new");
    let mut carol = lasting_client(port, "carol", &[]);
    carol.hears("You wait for the admin");
    server.program.signal("KILL");
    alice.hears("Connection lost");
    carol.hears("Connection lost");
    alice.types("are you there?");
    alice.hears("There is no connection");
    drop(server);
    let server = Server::start_at(port);
    let _first = Peer::join(server.port, "bob", None);
    alice.hears("Connected again, but you wait again");
    alice.types("/1");
    alice.hears("Not sent, since you wait for approval: the last line that you typed.");
    ends_well(&mut alice);
    // Who waited before can leave as before, also with a blank behind the command.
    carol.hears("Connected again, but you wait again");
    carol.types("/1 ");
    ends_well(&mut carol);
}

#[test]
fn lines_of_somebody_who_is_called_almost_like_the_server_are_not_said_twice() {
    let mut pair = Pair::of("PyChatter", &[]);
    pair.alice.types("once");
    pair.bob.hears_next("PyChatter: once");
    pair.tap.cuts();
    pair.bob.hears("Connected again");
    pair.alice.types("and no more");
    pair.bob.hears_next("PyChatter: and no more");
}

#[test]
fn a_client_without_a_connection_can_leave() {
    for how in ["/3", "INT", "TERM", "end"] {
        let mut pair = Pair::start(&[]);
        pair.cuts();
        match how {
            "/3" => pair.bob.types(how),
            "end" => pair.bob.ends_input(),
            signal => pair.bob.signal(signal),
        }
        ends_well(&mut pair.bob);
    }
}

#[test]
fn a_signal_before_the_first_connection_ends_the_client_at_once() {
    for signal in ["INT", "TERM"] {
        // It accepts, and never says its key.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut alice = lasting_client(port, "alice", &[]);
        let _connection = silent.accept().unwrap();
        alice.signal(signal);
        // Sooner than the client would give up by itself.
        let status = alice.ends_within(Duration::from_secs(10));
        assert!(status.success(), "{signal}: {status}");
        assert!(alice.rest().is_empty() && alice.log_so_far().is_empty());
    }
}

#[test]
fn a_server_that_lets_a_client_in_and_closes_again_and_again_is_asked_less_and_less() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut alice = lasting_client(port, "alice", &[]);
    let mut joined_at = Vec::new();
    for _ in 0..4 {
        Peer::host(&listener).says("/ready");
        alice.hears("ou are in the group team");
        joined_at.push(Instant::now());
    }
    // The first pause is none, the next is a second, and the next is two. Each may be a quarter shorter.
    assert!(joined_at[3] - joined_at[0] >= Duration::from_millis(2250));
}

#[test]
fn a_server_that_approves_again_and_again_costs_no_thread() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut alice = lasting_client(port, "alice", &[]);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    alice.hears("You are in the group team");
    drop(server);
    alice.hears("Connection lost");
    // The next one is not let in yet, so this stays in the queue.
    let mut server = Peer::accept(&listener);
    alice.types("hello");
    alice.hears("There is no connection");
    server.hears("alice");
    server.says("/sendGroupname");
    server.hears_text();
    server.says("/wait");
    for _ in 0..1000 {
        server.says("/accepted");
    }
    server.says("PyChat: that was all");
    alice.hears_next(
        "Connected again, but you wait again for the admin of team to approve you. /quit leaves.",
    );
    alice.hears("PyChat: that was all");
    assert!(status_of(alice.id(), "Threads:") < 10);
    // What was typed is said once, and the queue goes on.
    server.hears("/messageSend");
    server.hears("hello");
    server.says("/messageSend");
    alice.types("again");
    server.hears("/messageSend");
    server.hears("again");
}

#[test]
fn more_lines_than_wait_for_a_connection_are_read_when_it_is_back() {
    let mut pair = Pair::start(&[]);
    pair.cuts();
    let lines: Vec<String> = (0..1500).map(|n| format!("line {n}")).collect();
    pair.bob
        .pastes(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    pair.mends();
    for line in lines {
        pair.alice.hears_next(&format!("bob: {line}"));
    }
}

#[test]
fn a_script_says_everything_before_it_ends() {
    let mut pair = Pair::start(&[]);
    pair.cuts();
    pair.bob.types("my last words");
    pair.bob.ends_input();
    pair.mends();
    pair.alice.hears_next("bob: my last words");
    ends_well(&mut pair.bob);
}

#[test]
fn a_closed_server_is_joined_again_without_deriving_the_key_again() {
    let home = folder();
    let secret = home.path().join("secret").display().to_string();
    assert!(
        fernchat()
            .args(["keygen", &secret])
            .output()
            .unwrap()
            .status
            .success()
    );
    let server = Server::start_with(&["--secret-file", &secret]);
    let tap = Tap::before(server.port);
    let mut alice = lasting_client(tap.port, "alice", &["--secret-file", &secret]);
    alice.hears("The group team is new");
    tap.cuts();
    alice.hears_next("Connection lost: it ended without a word; trying again.");
    alice.hears_next("Connected again: you are in the group team.");
}

#[test]
fn a_python_server_is_joined_again_and_a_line_in_doubt_is_said_again() {
    let Some(python) = Python::find() else { return };
    let server = python.server(&[]);
    let tap = Tap::before(server.port);
    let mut alice = python.our_admin(server.port, "alice");
    let mut bob = lasting_client(
        tap.port,
        "bob",
        &["--downloads", &python.folder("bob").display().to_string()],
    );
    bob.hears("You wait");
    approves(&mut alice, "bob");
    bob.hears("You have been approved");
    server.program.stands_still();
    let n_sent = tap.sent().len();
    bob.types("is this said?");
    // It goes out, and no echo comes.
    tap.passes_more_than(n_sent);
    tap.cuts();
    bob.hears("Connection lost");
    server.program.signal("CONT");
    bob.hears("Connected again");
    alice.hears_next("bob: is this said?");
    bob.types("this is");
    alice.hears("bob: this is");
}

#[test]
fn a_connection_that_is_reset_is_said_in_one_clause() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut alice = lasting_client(listener.local_addr().unwrap().port(), "alice", &[]);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    alice.hears("You are in the group team");
    End::Reset.of(server.socket);
    let lost = alice.hears("Connection lost: ");
    assert_eq!(
        lost,
        "Connection lost: Connection reset by peer; trying again."
    );
    drop(listener);
    let still = alice.hears("Still no connection: cannot reach ");
    assert!(
        still.ends_with("is the port right? (Connection refused)"),
        "{still}"
    );
}

// ---- files ----

#[test]
fn a_file_that_is_accepted_while_there_is_no_connection_comes_over_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = folder();
    let options = [
        "--accept",
        "none",
        "--downloads",
        home.path().to_str().unwrap(),
    ];
    let port = listener.local_addr().unwrap().port();
    let mut alice = lasting_client(port, "alice", &options);
    let mut server = Peer::host_fernchat(&listener);
    let offer = format!("/receiveFile 1 {}\nplan.txt\nbob", token_len(6));
    server.says(&offer);
    alice.hears("plan.txt: it has ");
    drop(server);
    alice.hears("Connection lost");
    alice.types("/accept");
    alice.hears("There is no connection: it is done as soon as there is one again.");
    let mut server = Peer::host_fernchat(&listener);
    // The answer comes before the server has offered the file again, so it may know no such file yet.
    server.hears("/sendFile 1 0");
    server.says(&offer);
    server.hears("/sendFile 1 0");
    server.says("/sendFile 1 0");
    let body = server.fernet.encrypt(b"a plan");
    server.says_raw(body.as_bytes());
    server.hears("/haveFile 1");
    alice.hears("Received plan.txt from bob");
}

/// The frame of a text with this length, in bytes.
fn frame_len(text_len: usize) -> usize {
    4 + token_len(text_len as u64) as usize
}

/// Alice at the server, and bob behind a tap. Both have folders for what they receive.
struct Friends {
    _server: Server,
    tap: Tap,
    alice: Program,
    bob: Program,
    folders: [tempfile::TempDir; 2],
}

impl Friends {
    fn meet() -> Friends {
        let server = Server::start();
        let tap = Tap::before(server.port);
        let folders = [support::folder(), support::folder()];
        let [of_alice, of_bob] = [&folders[0], &folders[1]].map(|it| it.path().to_str().unwrap());
        let mut alice = lasting_client(server.port, "alice", &["--downloads", of_alice]);
        alice.hears("The group team is new");
        let mut bob = lasting_client(tap.port, "bob", &["--downloads", of_bob]);
        bob.hears("You wait");
        approves(&mut alice, "bob");
        bob.hears("You have been approved");
        Friends {
            _server: server,
            tap,
            alice,
            bob,
            folders,
        }
    }
}

#[test]
fn a_file_goes_on_where_its_connection_was_cut_wherever_that_was() {
    goes_on_after(Cut::Close);
}

#[test]
fn a_file_goes_on_where_its_connection_was_reset_wherever_that_was() {
    goes_on_after(Cut::Reset);
}

#[track_caller]
fn goes_on_after(cut: Cut) {
    let data = content(1_300_000);
    let home = support::folder();
    let path = home.path().join("data.bin");
    std::fs::write(&path, &data).unwrap();
    let share = format!("/9 {}", path.display());
    let body_len = token_len(data.len() as u64) as usize;
    let id = "x".repeat(44);
    let offer = frame_len(format!("/receiveFile {id} {body_len}\ndata.bin\n").len());
    let begins = frame_len(format!("/sendFile {id} 0").len());
    // Where bob's connection is cut while he shares the file, and while he receives it; and whether most of it has passed by then.
    let cuts = [
        (Way::ToServer, 50, false),
        (Way::ToServer, offer, false),
        (Way::ToServer, offer + 100, false),
        (Way::ToServer, offer + body_len / 2, true),
        (Way::ToServer, offer + body_len - 30_000, true),
        (Way::ToServer, offer + body_len, true),
        (Way::ToClient, 50, false),
        (Way::ToClient, offer + begins, false),
        (Way::ToClient, offer + begins + body_len / 2, true),
        (Way::ToClient, offer + begins + body_len - 30_000, true),
        (Way::ToClient, offer + begins + body_len - 4, true),
        (Way::ToClient, offer + begins + body_len, true),
    ];
    let mut friends = Friends::meet();
    for (n, (way, at, is_far)) in cuts.into_iter().enumerate() {
        let Friends {
            tap,
            alice,
            bob,
            folders,
            ..
        } = &mut friends;
        let passed = |tap: &Tap| match way {
            Way::ToServer => tap.sent().len(),
            Way::ToClient => tap.received().len(),
        };
        let before = passed(tap);
        tap.cuts_after(way, at, cut);
        let (folder, from) = match way {
            Way::ToServer => {
                bob.types(&share);
                bob.hears("Connection lost: ");
                bob.hears("data.bin is on its way to 1 member.");
                (&folders[0], alice.hears("Received data.bin from bob"))
            }
            Way::ToClient => {
                alice.types(&share);
                bob.hears("Connection lost: ");
                (&folders[1], bob.hears("Received data.bin from alice"))
            }
        };
        let received = std::fs::read_dir(folder.path()).unwrap();
        let received: Vec<_> = received.map(|it| it.unwrap().path()).collect();
        assert_eq!(received.len(), 1, "{n}: {received:?} {from}");
        assert!(
            std::fs::read(&received[0]).unwrap() == data,
            "{cut:?} {way:?} {at}"
        );
        std::fs::remove_file(&received[0]).unwrap();
        // Both ends hear that it has arrived, and lines pass.
        match way {
            // What the server says just when the connection breaks may be lost with it.
            Way::ToServer if at == offer + body_len => String::new(),
            Way::ToServer => bob.hears("PyChat: alice has data.bin."),
            Way::ToClient => alice.hears("PyChat: bob has data.bin."),
        };
        let line = format!("line {n}");
        bob.types(&line);
        alice.hears(&format!("bob: {line}"));
        // Nothing else is on its way to bob, so the next cut is where it is to be.
        bob.types("/members");
        bob.hears("members: ");
        let most = match cut {
            _ if !is_far => body_len * 2,
            // What the receiver had not read yet is lost with the connection, and passes again.
            Cut::Reset => body_len * 3 / 2,
            _ => body_len * 11 / 10,
        };
        let passed = passed(tap) - before;
        assert!(
            passed < most,
            "{cut:?} {way:?} {at}: {passed} of {body_len}"
        );
    }
}

#[test]
fn a_file_that_changed_while_the_connection_was_broken_is_refused_in_words() {
    let home = support::folder();
    let path = home.path().join("data.bin");
    let data = content(1_300_000);
    let mut friends = Friends::meet();
    let Friends {
        tap,
        alice,
        bob,
        folders,
        ..
    } = &mut friends;
    // It grows, or has other bytes of the same number.
    for grows in [true, false] {
        std::fs::write(&path, &data).unwrap();
        tap.cuts_after(Way::ToServer, 900_000, Cut::Close);
        tap.shuts(true);
        bob.types(&format!("/9 {}", path.display()));
        bob.hears("Connection lost: ");
        bob.hears("Still no connection: ");
        let mut changed = data.clone();
        changed[0] ^= 1;
        changed.extend(vec![0; usize::from(grows)]);
        std::fs::write(&path, &changed).unwrap();
        tap.shuts(false);
        bob.hears("The file data.bin was not shared: the file has changed since.");
        alice.hears("data.bin from bob was not received: ");
        bob.types(&format!("it grew: {grows}"));
        alice.hears(&format!("bob: it grew: {grows}"));
        assert_eq!(std::fs::read_dir(folders[0].path()).unwrap().count(), 0);
    }
}

#[test]
fn a_receiver_that_is_killed_leaves_no_part_of_a_file_and_its_next_client_gets_it_whole() {
    let home = support::folder();
    let path = home.path().join("data.bin");
    let data = content(1_300_000);
    std::fs::write(&path, &data).unwrap();
    let mut friends = Friends::meet();
    let Friends {
        tap,
        alice,
        bob,
        folders,
        ..
    } = &mut friends;
    let folder = folders[1].path();
    let is_at = tap.received().len() + 900_000;
    tap.cuts_after(Way::ToClient, 900_000, Cut::Silence);
    alice.types(&format!("/9 {}", path.display()));
    // Bob has a part of it, in a file without a name.
    let fds = format!("/proc/{}/fd", bob.id());
    let has_part = || {
        std::fs::read_dir(&fds).unwrap().any(|fd| {
            let fd = fd.unwrap().path();
            let is_there = std::fs::read_link(&fd).is_ok_and(|it| it.starts_with(folder));
            is_there && std::fs::metadata(&fd).is_ok_and(|it| it.len() > 500_000)
        })
    };
    let until = Instant::now() + support::DEADLINE;
    while tap.received().len() < is_at || !has_part() {
        assert!(Instant::now() < until, "nothing has come");
        std::thread::yield_now();
    }
    bob.signal("KILL");
    bob.ends();
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    let options = ["--downloads", folder.to_str().unwrap()];
    let mut bob = lasting_client(tap.port, "bob", &options);
    bob.hears("Received data.bin from alice");
    alice.hears("PyChat: bob has data.bin.");
    assert!(std::fs::read(folder.join("data.bin")).unwrap() == data);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
}
