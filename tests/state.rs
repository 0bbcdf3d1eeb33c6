//! The state file: a server that comes back with the same groups, whatever ended it.

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::{DEADLINE, Peer, Server, ends_badly, fernchat, folder, lasting_client};

fn server(port: u16, state: &Path) -> Server {
    let mut command = fernchat();
    command
        .args(["server", "127.0.0.1", &port.to_string()])
        .args([Path::new("--state"), state]);
    Server::of(command)
}

/// Waits until the file holds this.
fn is_saved(state: &Path, part: &str) {
    let start = Instant::now();
    while !fs::read_to_string(state).unwrap().contains(part) {
        assert!(start.elapsed() < DEADLINE, "never saved {part}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_restart_changes_nobody_s_role_and_asks_nobody_anew() {
    let home = folder();
    let state = home.path().join("state");
    let first = server(0, &state);
    let port = first.port;
    let mut alice = lasting_client(port, "alice", &[]);
    alice.hears("The group team is new");
    let mut bob = lasting_client(port, "bob", &[]);
    bob.hears("You wait for the admin");
    alice.types("/approve bob");
    bob.hears("You have been approved");
    let mut carol = lasting_client(port, "carol", &[]);
    carol.hears("You wait for the admin");
    is_saved(&state, "request\tcarol");
    first.program.signal("KILL");
    alice.hears("Connection lost");
    drop(first);

    let second = server(port, &state);
    // A stranger is faster than the admin, and types the admin's name, and bob's.
    for name in ["alice", "bob"] {
        let mut mallory = Peer::greet(port, name, "team\nfernchat/1");
        let refused = format!(
            "/refused name-taken the name {name} belongs to another key in this group; choose another name"
        );
        mallory.hears(&refused);
    }
    alice.hears("Connected again: you are in the group team.");
    bob.hears("Connected again: you are in the group team.");
    carol.hears("Connected again, but you wait again");
    alice.types("/approve carol");
    carol.hears("You have been approved");
    carol.types("/7");
    carol.hears("Admin: alice");
    bob.types("hello");
    alice.hears("bob: hello");
    is_saved(&state, "member\tcarol");
    drop(second);
}

#[test]
fn what_changed_last_is_saved_at_the_end() {
    let home = folder();
    let state = home.path().join("state");
    let mut server = server(0, &state);
    let mut alice = Peer::join(server.port, "alice", None);
    alice.says("/disconnect");
    server.program.signal("TERM");
    assert!(server.program.ends().success());
    let text = fs::read_to_string(&state).unwrap();
    assert!(
        text.contains("group\tteam\nadmin\talice\t-\t127.0.0.1\n"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_wrong_in_line_7_is_an_error_that_says_so_and_nothing_is_overwritten() {
    let home = folder();
    let state = home.path().join("state");
    let text = "fernchat state 1\ngroup\tteam\nadmin\talice\t-\t-\nmember\tbob\t-\t-\nmember\tcarol\t-\t-\nmember\tdave\t-\t-\nmember\teve\n";
    fs::write(&state, text).unwrap();
    let mut command = fernchat();
    command
        .args(["server", "127.0.0.1", "0", "--state"])
        .arg(&state);
    let mut program = support::Program::start(command);
    ends_badly(&mut program, "line 7: the key is missing");
    assert_eq!(fs::read_to_string(&state).unwrap(), text);
}

#[test]
fn a_server_that_is_killed_at_any_moment_of_a_save_leaves_a_whole_file() {
    let home = folder();
    let state = home.path().join("state");
    let mut n_groups = 0;
    for kill_after in [0, 1, 3, 10, 30, 100, 300, 900, 1000, 1001, 1002, 1005] {
        let server = server(0, &state);
        let start = Instant::now();
        let mut founders = Vec::new();
        while start.elapsed() < Duration::from_millis(kill_after) {
            n_groups += 1;
            let mut founder = Peer::greet(server.port, "alice", &format!("group {n_groups}"));
            founder.hears("/adminReady");
            founders.push(founder);
            if founders.len() > 50 {
                founders.clear();
            }
        }
        server.program.signal("KILL");
    }
    // One save at least is whole, on a disk that is slow as well.
    let server = server(0, &state);
    let mut founder = Peer::greet(server.port, "alice", "the last group");
    founder.hears("/adminReady");
    let until = Instant::now() + DEADLINE;
    while !state.exists() {
        assert!(Instant::now() < until, "never saved");
        std::thread::yield_now();
    }
    server.program.signal("KILL");
    drop(server);
    // It still understands what it wrote, or it would not start.
    let text = fs::read_to_string(&state).unwrap();
    drop(self::server(0, &state));
    assert!(text.lines().count() > 1);
}
