//! The clients as a person has them: keys are sent to a real terminal, and its screen is read. The terminal is tmux.

#![cfg(feature = "editor")]

mod support;

use std::net::TcpListener;

use support::screen::{Screen, Setup, USUAL, has_tmux};
use support::sealed::{Sealed, mutations};
use support::{Peer, Server, folder, frame, waits_for_the_next_second};

/// A server, or `None` where tmux cannot be had: said loudly, and a failure in CI.
fn server() -> Option<Server> {
    has_tmux().then(Server::start)
}

/// A person on a screen and somebody to talk with: the admin of the group `team`.
fn two(server: &Server, options: &[&str]) -> (Screen, Peer) {
    let mut alice = Peer::join(server.port, "alice", None);
    let bob = Screen::client(server.port, "bob", options);
    alice.hears("PyChat: bob has requested to join the group.");
    bob.shows("(waiting; /quit leaves)");
    alice.decides("/approveRequest", "bob");
    bob.ends_in("team>");
    (bob, alice)
}

// ---- the line that is being typed ----

#[test]
fn the_log_of_a_client_at_a_terminal_holds_no_key_that_is_typed() {
    let Some(server) = server() else { return };
    let folder = folder();
    let log = folder.path().join("log");
    let to_log = format!("trace 2>{}", log.display());
    let setup = Setup {
        environment: &[("LC_ALL", "C.UTF-8"), ("RUST_LOG", &to_log)],
        ..USUAL
    };
    let port = server.port.to_string();
    let screen = Screen::with(
        &setup,
        &["client", "127.0.0.1", &port, "--name", "a", "--group", "g"],
    );
    screen.shows("/help lists the commands.");
    screen.types("hello");
    screen.types("/3");
    screen.shows("ended with 0");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("/messageSend"), "{log}");
    for line in log.lines() {
        let is_ours = line.contains(" TRACE to ") || line.contains(" TRACE from ");
        assert!(is_ours || line.contains(" DEBUG the server "), "{line}");
    }
}

#[test]
fn a_typed_line_stays_whole_while_others_talk() {
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &[]);
    bob.presses_text("half a sen");
    bob.ends_in("team> half a sen");
    for n in 0..20 {
        alice.tells(&format!("line {n}"));
    }
    bob.shows("alice: line 19");
    bob.ends_in("team> half a sen");
    bob.types("tence");
    alice.hears("bob: half a sentence");
    let lines: Vec<String> = (0..20).map(|n| format!("alice: line {n}")).collect();
    bob.shows_in_order(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn lines_come_back_with_the_arrow_keys_and_with_ctrl_r_also_after_a_new_start() {
    let home = folder();
    let history = home.path().join("history").display().to_string();
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &["--history", &history]);
    for line in ["first words", "second words"] {
        bob.types(line);
        alice.hears(&format!("bob: {line}"));
    }
    bob.presses(&["Up", "Up", "Enter"]);
    alice.hears("bob: first words");
    // The editor is there again. Before that, the terminal itself takes the key.
    bob.shows_in_order(&[
        "bob: first words",
        "bob: second words",
        "bob: first words",
        "team>",
    ]);
    bob.presses(&["C-d"]);
    bob.shows("ended with 0");
    let bob = Screen::client(server.port, "bob", &["--history", &history]);
    bob.ends_in("team>");
    bob.presses(&["C-r"]);
    bob.presses_text("second");
    bob.shows("reverse-i-search");
    // Who searches holds nothing up.
    alice.tells("meanwhile");
    assert!(alice.asks_for_set("/onlineMembers").contains("bob"));
    bob.presses(&["Enter"]);
    alice.hears("bob: second words");
    bob.shows("alice: meanwhile");
}

#[test]
fn ctrl_c_clears_the_line_and_leaves_at_the_second_time() {
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &[]);
    bob.presses_text("never said");
    bob.presses(&["C-c"]);
    bob.ends_in("team> (Ctrl-C again leaves)");
    bob.types("said");
    alice.hears("bob: said");
    bob.presses(&["C-c"]);
    bob.ends_in("team> (Ctrl-C again leaves)");
    bob.presses(&["C-c"]);
    bob.shows("ended with 0\ncooked");
    assert_eq!(alice.asks_for_set("/onlineMembers").len(), 1);
}

#[test]
fn the_terminal_is_as_it_was_however_the_client_ends() {
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &[]);
    bob.presses_text("half");
    alice.decides("/kickMember", "bob");
    bob.shows("You have been removed from the group.\nteam> half\nended with 0\ncooked");
    let carol = Screen::with(
        &USUAL,
        &[
            "client",
            "127.0.0.1",
            &server.port.to_string(),
            "--name",
            "carol",
            "--group",
            "other",
            "--no-reconnect",
        ],
    );
    carol.ends_in("other>");
    // And one that would join again, and is left while it tries.
    let dave = Screen::with(
        &USUAL,
        &[
            "client",
            "127.0.0.1",
            &server.port.to_string(),
            "--name",
            "dave",
            "--group",
            "third",
        ],
    );
    dave.ends_in("third>");
    server.program.signal("TERM");
    carol.shows("ended with 1\ncooked");
    dave.shows("Still no connection");
    dave.types("/3");
    dave.shows("ended with 0\ncooked");
}

#[test]
fn a_question_has_its_own_prompt_and_ctrl_c_takes_it_back() {
    let Some(server) = server() else { return };
    let alice = Screen::client(server.port, "alice", &[]);
    alice.ends_in("team>");
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    // Before, nobody is known to wait, and the command lists who does.
    alice.shows("or /deny bob.");
    alice.types("/2");
    alice.ends_in("Who is to be approved:");
    alice.presses(&["C-c"]);
    alice.shows("Nobody named, nothing done.");
    alice.ends_in("team>");
    alice.types("/approve");
    alice.ends_in("Who is to be approved:");
    alice.types("bob");
    bob.hears("/accepted");
    alice.shows("bob is now a member of the group.");
    alice.ends_in("team>");
}

#[test]
fn what_is_pasted_or_typed_ahead_is_said_line_by_line_in_order() {
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &[]);
    let lines: Vec<String> = (0..300)
        .map(|n| format!("line {n} of what was pasted"))
        .collect();
    bob.tmux(&["set-buffer", &lines.join("\n")]);
    // Once as a terminal does that marks what is pasted, once as one that types it.
    bob.tmux(&["paste-buffer", "-p"]);
    bob.presses(&["Enter"]);
    bob.ends_in("Say all these lines to everybody (y/n):");
    bob.types("y");
    bob.tmux(&["paste-buffer"]);
    bob.presses(&["Enter"]);
    for line in lines.iter().chain(&lines) {
        alice.hears(&format!("bob: {line}"));
    }
    // A command with a tab behind it, which cannot be typed, is a command to the prompt and to the client.
    bob.tmux(&["set-buffer", "/8\t"]);
    bob.tmux(&["paste-buffer", "-p"]);
    bob.presses(&["Enter"]);
    bob.ends_in("Who is to be kicked:");
    bob.presses(&["Enter"]);
    bob.shows("Nobody named, nothing done.");
}

#[test]
fn a_person_with_the_editor_is_told_that_ctrl_c_leaves_at_the_second_time() {
    let Some(server) = server() else { return };
    let (bob, _alice) = two(&server, &[]);
    server.program.stands_still();
    bob.types("/5");
    bob.shows("The server does not answer; still waiting for it. Ctrl-C twice leaves.");
}

#[test]
fn wide_characters_and_long_lines_are_edited_on_narrow_and_on_plain_terminals() {
    for (term, locale) in [
        ("xterm-256color", "C.UTF-8"),
        ("linux", "C.UTF-8"),
        ("screen", "C"),
    ] {
        let Some(server) = server() else { return };
        let setup = Setup {
            columns: 40,
            environment: &[("TERM", term), ("LC_ALL", locale)],
        };
        let alice = Screen::with(
            &setup,
            &[
                "client",
                "127.0.0.1",
                &server.port.to_string(),
                "--name",
                "alice",
                "--group",
                "team",
            ],
        );
        alice.ends_in("team>");
        let mut bob = Peer::greet(server.port, "bob", "team");
        bob.hears("/wait");
        alice.types("/approve bob");
        bob.hears("/accepted");
        let long = "words ".repeat(30) + "語語語";
        alice.presses_text(&long);
        alice.shows("語語語");
        let line = "a line that is longer than the terminal has columns, and comes in between";
        bob.tells(line);
        alice.shows_broken(&format!("bob: {line} team>"));
        alice.presses(&["BSpace", "Enter"]);
        bob.hears(&format!(
            "alice: {}",
            long.trim_end_matches('語').to_owned() + "語語"
        ));
    }
}

#[test]
fn a_terminal_that_is_too_plain_for_the_editor_has_plain_lines() {
    let Some(server) = server() else { return };
    let home = folder();
    let place = home.path().display().to_string();
    let setup = Setup {
        columns: 80,
        environment: &[("TERM", "dumb"), ("XDG_CONFIG_HOME", &place)],
    };
    let alice = Screen::with(&setup, &["client", "127.0.0.1", &server.port.to_string()]);
    alice.ends_in("user name:");
    alice.types("alice");
    alice.ends_in("group:");
    alice.types("team");
    alice.shows("The group team is new");
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    alice.shows("or /deny bob.");
    alice.types("/2");
    alice.ends_in("Who is to be approved:");
    alice.types("bob");
    bob.hears("/accepted");
    alice.types("hello");
    bob.hears("alice: hello");
    alice.presses(&["C-d"]);
    alice.shows("ended with 0");
}

// ---- what is offered ----

#[test]
fn tab_completes_commands_then_names_then_files() {
    let Some(server) = server() else { return };
    let home = folder();
    std::fs::write(home.path().join("the plan.txt"), "a plan").unwrap();
    let alice = Screen::client(server.port, "alice", &[]);
    alice.ends_in("team>");
    let mut bob = Peer::greet(server.port, "bob the builder", "team");
    bob.hears("/wait");
    alice.shows("Answer with /approve bob the builder or /deny bob the builder.");
    alice.presses_text("/appr\tb\t");
    alice.ends_in("team> /approve bob the builder");
    alice.presses(&["Enter"]);
    bob.hears("/accepted");
    bob.tells("hello");
    alice.shows("bob the builder: hello");
    alice.presses_text("ask bo\t");
    alice.ends_in("team> ask bob the builder");
    alice.presses(&["Enter"]);
    bob.hears("alice: ask bob the builder");
    alice.presses_text(&format!("/file \"{}/the\t", home.path().display()));
    alice.shows("the plan.txt\"");
    alice.presses(&["Enter"]);
    bob.hears("/receiveFile");
    bob.says("/sendFilename");
    bob.hears("the plan.txt");
}

#[test]
fn an_admin_is_told_who_asks_and_is_offered_the_pending_ones_and_lists_mark_the_admin() {
    let Some(server) = server() else { return };
    let alice = Screen::client(server.port, "alice", &[]);
    alice.ends_in("team>");
    let mut waiting = ["bob", "carol"].map(|name| Peer::greet(server.port, name, "team"));
    waiting.iter_mut().for_each(|peer| peer.hears("/wait"));
    alice.types("/2");
    alice.shows("requests (2): bob, carol");
    alice.ends_in("Who is to be approved:");
    alice.presses_text("c\t");
    alice.ends_in("Who is to be approved: carol");
    alice.presses(&["Enter"]);
    alice.shows("carol is now a member of the group.");
    alice.types("/deny");
    alice.shows("requests (1): bob");
    alice.types("bob");
    alice.shows("The request of bob is denied.");
    alice.types("/4");
    alice.shows("members (2): alice (admin), carol");
    alice.types("/transfer carol");
    alice.types("/7");
    alice.shows("Admin: carol");
    alice.types("/members");
    alice.shows("members (2): alice, carol (admin)");
}

#[test]
fn an_admin_who_comes_back_is_told_so_and_who_asks_and_is_asked_whom_to_approve() {
    let Some(server) = server() else { return };
    let alice = Screen::client(server.port, "alice", &[]);
    alice.ends_in("team>");
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    alice.types("/approve bob");
    bob.hears("/accepted");
    alice.types("/3");
    alice.shows("ended with 0");
    let asks = |name| {
        let mut peer = Peer::greet(server.port, name, "team");
        peer.hears("/wait");
        peer
    };
    let mut zoe = asks("Zoe");
    zoe.says("/waitDisconnect");
    zoe.hears("/waitDisconnect");
    let [_tim, mut uma, _zoe] = ["Tim", "Uma", "Zoe"].map(asks);
    let alice = Screen::client(server.port, "alice", &[]);
    alice.shows("You are in the group team.");
    alice.shows_broken("You administer the group team. 3 ask to join: Tim, Uma, Zoe.");
    alice.types("/who");
    alice.shows("online (2): alice (admin), bob");
    alice.types("/approve");
    alice.ends_in("Who is to be approved:");
    alice.types("Uma");
    uma.hears("/accepted");
    alice.types("/quit");
    alice.shows("ended with 0");
    // A member who comes back is told nothing of that, but sees who the admin is.
    drop(bob);
    let bob = Screen::client(server.port, "bob", &[]);
    bob.shows("You are in the group team.");
    bob.types("/who");
    bob.shows("online (2): Uma, bob");
    assert!(!bob.text().contains("administer"), "{}", bob.text());
}

#[test]
fn a_person_is_shown_500_names_of_a_list_and_how_many_more_there_are() {
    if server().is_none() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let alice = Screen::client(listener.local_addr().unwrap().port(), "alice", &[]);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    alice.ends_in("team>");
    for (n, end) in [(500, "598, 599"), (502, "598, 599, and 2 more")] {
        alice.types("/4");
        server.hears("/allMembers");
        server.says("/allMembers");
        server.hears(".");
        let names: Vec<String> = (100..100 + n).map(|n| n.to_string()).collect();
        let set = fernchat::wire::name_set::encode(names.iter().map(String::as_str));
        server.says_raw(&frame(server.fernet.encrypt(&set).as_bytes()));
        alice.shows_broken(end);
    }
}

// ---- how lines look ----

/// The screen with its escape sequences.
fn colours(screen: &Screen) -> String {
    String::from_utf8(
        screen
            .tmux(&["capture-pane", "-p", "-e", "-S", "-", "-t", ":0"])
            .stdout,
    )
    .unwrap()
}

#[test]
fn names_have_their_colours_notices_are_quiet_and_mentions_stand_out() {
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &[]);
    alice.tells("hello");
    alice.tells("and you, Bob?");
    let text = bob.shows("and you, Bob?");
    let line = text
        .lines()
        .find(|line| line.contains("alice: hello"))
        .unwrap();
    assert!(
        line.as_bytes()
            .iter()
            .zip(b"00:00 ")
            .all(|(c, form)| c == form || c.is_ascii_digit()),
        "{line}"
    );
    let text = colours(&bob);
    assert!(
        text.contains("\x1b[38;5;162malice\x1b[39m: hello"),
        "{text:?}"
    );
    assert!(text.contains("\x1b[2mYou wait"), "{text:?}");
    assert!(text.contains("\x1b[1;7mand you, Bob?"), "{text:?}");
}

#[test]
fn colour_and_time_can_be_turned_off_and_the_bell_on() {
    let Some(server) = server() else { return };
    let (bob, mut alice) = two(&server, &["--color", "never", "--no-time", "--bell"]);
    bob.tmux(&["new-window", "-d", "cat"]);
    bob.tmux(&["select-window", "-t", ":1"]);
    alice.tells("hello");
    alice.tells("hello bob");
    bob.waits("rings", |_| bell_flag(&bob) == "1");
    let text = bob.shows("\n> alice: hello bob");
    assert!(!colours(&bob).contains('\x1b'), "{text}");
}

fn bell_flag(screen: &Screen) -> String {
    let output = screen.tmux(&["display-message", "-p", "-t", ":0", "#{window_bell_flag}"]);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn friends_at_a_relay_have_the_same_terminal() {
    let Some(_) = server() else { return };
    let home = folder();
    let key = home.path().join("key").display().to_string();
    assert!(
        support::fernchat()
            .args(["keygen", &key])
            .output()
            .unwrap()
            .status
            .success()
    );
    let mut relay = support::fernchat();
    relay.args(["relay", "127.0.0.1", "0"]);
    let relay = Server::of(relay);
    let join = |name| {
        Screen::with(
            &USUAL,
            &[
                "relay-client",
                "127.0.0.1",
                &relay.port.to_string(),
                "--key-file",
                &key,
                "--name",
                name,
            ],
        )
    };
    let (alice, bob) = (join("alice"), join("bob"));
    alice.ends_in("relay>");
    bob.ends_in("relay>");
    bob.presses_text("half a line");
    bob.ends_in("relay> half a line");
    alice.types("hello bob");
    let text = bob.shows("alice: hello bob");
    let line = text
        .lines()
        .find(|line| line.contains("alice: hello bob"))
        .unwrap();
    assert_eq!(line.len(), "00:00 > alice: hello bob".len(), "{line}");
    bob.ends_in("relay> half a line");
    // The path of a file is no question there, so the next line is no answer.
    alice.types(&key);
    alice.shows("A relay passes on no files.");
    alice.ends_in("relay>");
    alice.types("/etc/hosts is empty");
    alice.ends_in("Say this to everybody (y/n):");
    alice.types("y");
    bob.shows("alice: /etc/hosts is empty");
    // Help happens at no time, and nothing tells two people of one name apart but this.
    alice.types("/help");
    alice.shows("\n/quit TEXT  ");
    let other = join("alice");
    other.ends_in("relay>");
    for line in ["first of the other", "second of the other"] {
        other.types(line);
        alice.shows(&format!("alice: {line}"));
    }
    let told = alice.text();
    assert_eq!(
        told.matches("Somebody else here is called alice, too.")
            .count(),
        1
    );
    assert!(!bob.text().contains("Somebody else here"));
    bob.presses(&["C-u"]);
    bob.presses_text("ask al\t");
    bob.ends_in("relay> ask alice");
    bob.presses(&["C-c"]);
    bob.ends_in("relay> (Ctrl-C again leaves)");
    bob.presses(&["C-c"]);
    bob.shows("ended with 0\ncooked");
    alice.presses(&["C-d"]);
    alice.shows("ended with 0\ncooked");
}

#[test]
fn a_signal_ends_a_friend_at_a_relay_who_holds_the_screen_up() {
    let Some(_) = server() else { return };
    let home = folder();
    let key = home.path().join("key").display().to_string();
    let made = support::fernchat().args(["keygen", &key]).output();
    assert!(made.unwrap().status.success());
    let mut relay = support::fernchat();
    relay.args(["relay", "127.0.0.1", "0", "--pause", "0"]);
    let relay = Server::of(relay);
    let port = relay.port.to_string();
    let arguments = |name| {
        let to = ["relay-client", "127.0.0.1", &port, "--key-file", &key];
        [to.as_slice(), &["--name", name]].concat()
    };
    let in_pipe = |name| {
        let mut command = support::fernchat();
        command.args(arguments(name));
        let mut friend = support::Program::start(command);
        friend.hears("joined");
        friend
    };
    let alice = Screen::with(&USUAL, &arguments("alice"));
    alice.ends_in("relay>");
    alice.types("hello");
    alice.shows("alice: hello");
    // While she searches what she typed, nothing is shown.
    alice.presses(&["C-r"]);
    alice.shows("(reverse-i-search)");
    let (mut bob, mut carol) = (in_pipe("bob"), in_pipe("carol"));
    let lines: Vec<String> = (0..1500).map(|n| format!("line {n}")).collect();
    bob.pastes(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    carol.hears("line 1499");
    let output = alice.tmux(&["display-message", "-p", "-t", ":0", "#{pane_pid}"]);
    let shell = String::from_utf8(output.stdout).unwrap();
    let shell = shell.trim();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
    let client = children.unwrap().trim().to_owned();
    let killed = std::process::Command::new("kill").arg(&client).status();
    assert!(killed.unwrap().success());
    alice.shows("ended with 0\ncooked");
}

// ---- files ----

/// A file of this length, which takes no room on the disk.
fn large_file(folder: &std::path::Path, name: &str, len: u64) -> String {
    let path = folder.join(name);
    std::fs::File::create(&path).unwrap().set_len(len).unwrap();
    path.display().to_string()
}

#[test]
fn both_ends_see_how_far_a_file_has_come_and_ctrl_c_stops_it_in_step() {
    let Some(server) = server() else { return };
    let home = folder();
    let alice = Screen::client(server.port, "alice", &[]);
    alice.ends_in("team>");
    let bob = Screen::client(
        server.port,
        "bob",
        &[
            "--downloads",
            &home.path().display().to_string(),
            "--max-receive",
            "4G",
        ],
    );
    bob.shows("(waiting; /quit leaves)");
    alice.types("/2 bob");
    bob.shows("You have been approved");
    alice.types(&format!(
        "/9 {}",
        large_file(home.path(), "huge.bin", 3 << 30)
    ));
    alice.shows("Sharing huge.bin (3 GiB). /stop stops it.");
    alice.waits("says it twice in one place", |text| {
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("left: huge.bin"))
            .collect();
        lines.len() == 1 && !lines[0].starts_with("0 %")
    });
    alice.presses(&["C-c"]);
    alice.shows("huge.bin was not shared: it was stopped.");
    alice.types("still here");
    // A long file is asked about, as soon as it begins to come.
    bob.shows("A file is on offer from alice, huge.bin: it has 3 GiB");
    bob.shows("huge.bin from alice is not coming: its sender stopped it.");
    bob.shows("alice: still here");

    alice.types(&format!(
        "/9 {}",
        large_file(home.path(), "large.bin", 40 << 20)
    ));
    bob.shows("left: large.bin from alice");
    bob.shows("Received large.bin from alice (40 MiB): ");
    // The progress has gone.
    assert!(!bob.text().contains("left: large.bin"), "{}", bob.text());
}

#[test]
fn ctrl_c_asks_which_of_two_files_is_to_stop() {
    let Some(server) = server() else { return };
    let home = folder();
    let into = home.path().display().to_string();
    let options = [
        "--downloads",
        &into,
        "--max-receive",
        "4G",
        "--accept",
        "all",
    ];
    let alice = Screen::client(server.port, "alice", &options);
    alice.ends_in("team>");
    let bob = Screen::client(server.port, "bob", &options);
    bob.shows("(waiting; /quit leaves)");
    alice.types("/2 bob");
    bob.shows("You have been approved");
    for (screen, name) in [(&alice, "down.bin"), (&bob, "up.bin")] {
        let path = large_file(home.path(), name, 2 << 30);
        screen.types(&format!("/9 {path}"));
    }
    bob.shows("left: down.bin from alice");
    bob.shows("left: up.bin");
    bob.presses(&["C-c"]);
    bob.shows_broken(
        "Two files are on their way: /stop up ends what you share, /stop down what you receive.",
    );
    bob.types("/stop up");
    bob.shows("up.bin was not shared: it was stopped.");
    alice.shows("up.bin from bob was not received: ");
    // Only one is left.
    bob.presses(&["C-c"]);
    bob.shows("down.bin from alice was not received: it was stopped.");
    bob.types("still here");
    alice.shows("bob: still here");
}

#[test]
fn an_upload_to_a_python_server_is_stopped_in_step_and_spoiled() {
    let Some(_) = server() else { return };
    let home = folder();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let alice = Screen::client(port, "alice", &[]);
    let mut python = Peer::host(&listener);
    python.says("/ready");
    alice.ends_in("team>");
    alice.types(&format!(
        "/9 {}",
        large_file(home.path(), "large.bin", 20 << 20)
    ));
    python.hears("/fileTransfer");
    python.says("/fileTransfer");
    python.hears("large.bin");
    python.says("/sendFile");
    let length: usize = python.hears_text().parse().unwrap();
    alice.shows("Sharing large.bin (20 MiB). /stop stops it.");
    alice.presses(&["C-c"]);
    alice.ends_in("team> (stopped)");
    let body = python.hears_raw(length);
    assert!(
        python
            .fernet
            .decrypt(std::str::from_utf8(&body).unwrap())
            .is_err()
    );
    python.says("large.bin could not be opened");
    alice.shows("large.bin was not shared: it was stopped.");
    alice.types("hello");
    python.hears("/messageSend");
    python.hears("hello");
}

// ---- the log ----

#[test]
fn a_log_keeps_what_was_shown_and_shows_it_again_at_the_next_start() {
    let Some(server) = server() else { return };
    let home = folder();
    let log = home.path().join("log");
    let options = ["--log", log.to_str().unwrap()];
    let (bob, mut alice) = two(&server, &options);
    alice.tells("hello bob \x1b[2J");
    bob.shows("alice: hello bob ^[[2J");
    bob.types("hello yourself");
    alice.hears("bob: hello yourself");
    bob.ends_in("team>");
    bob.presses(&["C-d"]);
    bob.shows("ended with 0");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        !text.contains('\x1b') && text.lines().all(|line| &line[19..27] == " [team] "),
        "{text}"
    );

    let bob = Screen::client(server.port, "bob", &options);
    let text = bob.shows("bob: hello yourself");
    let line = text
        .lines()
        .find(|line| line.contains("hello bob"))
        .unwrap();
    assert!(
        line.starts_with("earlier: 20") && line.ends_with("alice: hello bob ^[[2J"),
        "{text}"
    );
    bob.types("again");
    alice.hears("bob: again");
    bob.ends_in("team>");
    bob.presses(&["C-d"]);
    bob.shows("ended with 0");
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("hello yourself").count(), 1, "{text}");

    let other = Screen::with(
        &USUAL,
        &[
            &[
                "client",
                "127.0.0.1",
                &server.port.to_string(),
                "--name",
                "bob",
                "--group",
                "other",
            ],
            &options[..],
        ]
        .concat(),
    );
    other.ends_in("other>");
    assert!(!other.text().contains("earlier"));
}

#[test]
fn lines_that_were_said_before_are_marked_as_earlier_ones() {
    let Some(server) = server() else { return };
    let home = folder();
    let key = fernet::Fernet::generate_key();
    let key_file = home.path().join("room.key").display().to_string();
    std::fs::write(&key_file, &key).unwrap();
    let options = ["--room-key-file", key_file.as_str()];
    let (bob, mut alice) = two(&server, &options);
    bob.presses(&["C-d"]);
    bob.shows("ended with 0");
    alice.tells("hello bob");
    let room_key = fernet::Fernet::new(&key).unwrap();
    let mut sealed = Sealed::by_bob(1, "hello with the room key");
    sealed.name = "alice".into();
    alice.tells(&room_key.encrypt(sealed.line().as_bytes()));
    waits_for_the_next_second();
    let bob = Screen::client(server.port, "bob", &options);
    bob.shows(" (earlier) (not sealed) > alice: hello bob");
    bob.shows(" (earlier) alice: hello with the room key");
    alice.tells("hello now");
    let text = bob.shows(" (not sealed) alice: hello now");
    assert!(
        !text.contains("(earlier) (not sealed) alice: hello now"),
        "{text}"
    );
}

#[test]
fn a_sealed_line_with_any_field_changed_is_marked_on_the_screen() {
    if server().is_none() {
        return;
    }
    let home = folder();
    let key = fernet::Fernet::generate_key();
    let key_file = home.path().join("room.key").display().to_string();
    std::fs::write(&key_file, &key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let arguments = [
        "client",
        "127.0.0.1",
        &port,
        "--name",
        "alice",
        "--group",
        "team",
    ];
    let options = ["--room-key-file", &key_file, "--no-reconnect"];
    for (columns, time) in [(120, "--time"), (120, "--no-time"), (60, "--time")] {
        let setup = Setup { columns, ..USUAL };
        let arguments = [&arguments[..], &options, &[time]].concat();
        let screen = Screen::with(&setup, &arguments);
        let mut server = Peer::host(&listener);
        server.says("/ready");
        screen.shows("You are in the group team");
        screen.shows_broken("What you say is sealed with room.key. Lines marked ! are not sealed.");
        let mutations = mutations(&fernet::Fernet::new(&key).unwrap());
        for (text, _) in &mutations {
            server.says(text);
        }
        // Long enough for a row of its own, wherever that begins.
        for n in 0..columns {
            let n = n as usize;
            server.says(&format!(
                "bob: {}[09:05:02] alice: I approve",
                " ".repeat(n)
            ));
        }
        server.says("bob: the end");
        let text = screen.shows(" bob: the end");
        // A line begins at the left edge, and its other rows do not.
        let mut lines: Vec<String> = Vec::new();
        for row in text.lines().skip_while(|row| !row.ends_with("I approve")) {
            match (row.strip_prefix("  "), lines.last_mut()) {
                (Some(rest), Some(line)) => *line += &format!(" {rest}"),
                _ => lines.push(row.to_owned()),
            }
        }
        lines.retain(|line| !line.contains("If you administer the group: "));
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for (line, (_, shown)) in lines.iter().zip(&mutations) {
            assert_eq!(line.starts_with("! "), shown.starts_with("! "), "{line}");
            let said = shown.rsplit("] ").next().unwrap();
            let said = said.strip_prefix("! ").unwrap_or(said);
            assert!(words(line).ends_with(&words(said)), "{line}: {shown}");
        }
        let behind = &lines[mutations.len()..][..columns as usize];
        for line in behind {
            assert!(
                line.starts_with("! ") && line.ends_with("alice: I approve"),
                "{line}"
            );
        }
        screen.types("/3");
    }
}
