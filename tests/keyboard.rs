//! What a person may expect at the keyboard, on screens of several widths and kinds.

#![cfg(feature = "editor")]

mod support;

use std::fs;

use support::python::approves;
use support::screen::{Screen, Setup, USUAL, has_tmux};
use support::{Peer, Server, Tap, folder, lasting_client, waits_for_the_next_second};

// ---- before the chat ----

#[test]
fn the_last_server_and_names_are_offered_and_the_configuration_file_is_obeyed() {
    if !has_tmux() {
        return;
    }
    let server = Server::start();
    let home = folder();
    let place = home.path().display().to_string();
    let setup = Setup {
        environment: &[("LC_ALL", "C.UTF-8"), ("XDG_CONFIG_HOME", &place)],
        ..USUAL
    };
    let bare = || Screen::with(&setup, &["client"]);
    let address = format!("127.0.0.1:{}", server.port);

    let alice = bare();
    alice.ends_in("server (such as 192.168.1.20:8000):");
    alice.types(&address.replace(':', " "));
    alice.ends_in("user name:");
    alice.types("alice");
    alice.ends_in("group:");
    alice.types("team");
    alice.shows(&format!("Connecting to {address} ..."));
    alice.ends_in("team>");
    alice.types("/3");
    alice.shows("ended with 0");

    let alice = bare();
    for question in [
        format!("server [{address}]:"),
        "user name [alice]:".into(),
        "group [team]:".into(),
    ] {
        alice.ends_in(&question);
        alice.presses(&["Enter"]);
    }
    alice.shows("You are in the group team.");
    alice.types("/3");
    alice.shows("ended with 0");

    let config = home.path().join("fernchat/config");
    let log = home.path().join("log");
    let text = format!(
        "# where we meet\nserver = {address}\nname=carol\nlog = {}\nbell\n",
        log.display()
    );
    fs::write(&config, text).unwrap();
    let carol = bare();
    carol.ends_in("group [team]:");
    carol.types("hall");
    carol.ends_in("hall>");
    carol.types("hello");
    carol.types("/3");
    carol.shows("ended with 0");
    assert!(
        fs::read_to_string(log)
            .unwrap()
            .contains("[hall] carol: hello")
    );

    for (line, error) in [
        (
            "nmae = carol",
            "no key is called 'nmae'; the keys are server, name,",
        ),
        ("color = green", "colour is auto, always or never"),
        ("bell = yes", "bell stands alone"),
        ("name", "name needs a value: name = ..."),
    ] {
        fs::write(&config, format!("# one\n{line}\n")).unwrap();
        let nobody = bare();
        nobody.shows("ended with 2");
        let text = nobody.text().replace('\n', "");
        assert!(
            text.contains("error: line 2 of ") && text.contains(error),
            "{text}"
        );
    }
}

#[test]
fn who_is_refused_for_the_name_is_asked_for_another() {
    if !has_tmux() {
        return;
    }
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let bob = Screen::client(server.port, "alice", &[]);
    bob.shows(&format!("Connecting to 127.0.0.1:{} ...", server.port));
    bob.ends_in("another user name:");
    bob.types("a:b");
    bob.ends_in("another user name:");
    bob.types("bob");
    alice.hears("PyChat: bob has requested to join the group.");
    bob.shows("You wait for the admin of team to approve you. /quit leaves.");
    bob.types("/help quit");
    bob.shows("\n/3 /quit TEXT: leave; TEXT is said first.");
}

// ---- what is typed ----

/// A server, alice who administers the group `team` on a screen of this width, and bob, who is a member.
fn alice_and_bob(columns: u32) -> Option<(Server, Screen, Peer)> {
    if !has_tmux() {
        return None;
    }
    let server = Server::start();
    let setup = Setup { columns, ..USUAL };
    let port = server.port.to_string();
    let arguments = [
        "client",
        "127.0.0.1",
        &port,
        "--name",
        "alice",
        "--group",
        "team",
    ];
    let alice = Screen::with(&setup, &arguments);
    alice.ends_in("team>");
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    alice.shows_broken("Answer with /approve bob or /deny bob.");
    alice.types("/approve bob");
    bob.hears("/accepted");
    alice.shows_broken("bob is now a member of the group.");
    Some((server, alice, bob))
}

#[test]
fn a_typing_error_is_said_to_nobody_and_the_nearest_command_is_named() {
    for columns in [40, 120] {
        let Some((_server, alice, mut bob)) = alice_and_bob(columns) else {
            return;
        };
        alice.types("/memebrs");
        alice.shows_broken("Not sent: /memebrs is no command; did you mean /members?");
        alice.types("/help me");
        alice.shows_broken("/me TEXT: say what you do: /me waves.");
        alice.types(" /ONLINE");
        alice.shows_broken("online (2): alice (admin), bob");
        alice.types("/etc/hosts is empty");
        alice.ends_in("Say this to everybody (y/n):");
        alice.types("n");
        alice.shows("Not done.");
        alice.types("//quit says it");
        bob.hears("alice: /quit says it");
        alice.types("/etc/hosts is empty");
        alice.ends_in("Say this to everybody (y/n):");
        alice.types("y");
        bob.hears("alice: /etc/hosts is empty");
        alice.types("/QUIT bye");
        bob.hears("alice: bye");
        alice.shows("ended with 0");
    }
}

#[test]
fn a_paste_is_said_and_never_obeyed_and_a_dropped_file_is_asked_about() {
    let Some((_server, alice, mut bob)) = alice_and_bob(80) else {
        return;
    };
    alice.tmux(&["set-buffer", "one\n/quit\n\n  /8 bob\nfive"]);
    alice.tmux(&["paste-buffer", "-p"]);
    alice.presses(&["Enter"]);
    for line in ["one", "/quit", " ", "  /8 bob", "five"] {
        bob.hears(&format!("alice: {line}"));
    }
    let folder = folder();
    let file = folder.path().join("plan of ours.txt");
    fs::write(&file, "a plan").unwrap();
    alice.types(&format!("'{}' ", file.display()));
    alice.ends_in("Share this file with everybody (y/n):");
    alice.types("y");
    bob.hears("/receiveFile");
    // A folder goes as one file, if that is wanted.
    alice.types(&format!("/file {}", folder.path().display()));
    alice.ends_in("This is a folder. Share it as one file, a .tar (y/n):");
    alice.types("n");
    alice.ends_in("team>");
    alice.types(&format!("/file {}", folder.path().display()));
    alice.ends_in("This is a folder. Share it as one file, a .tar (y/n):");
    alice.types("y");
    alice.shows(".tar (");
}

#[test]
fn people_are_told_ignored_and_greeted() {
    let Some((server, alice, mut bob)) = alice_and_bob(80) else {
        return;
    };
    let carol = Screen::client(server.port, "carol", &[]);
    alice.shows("carol has requested to join");
    alice.types("/approve carol");
    carol.ends_in("team>");
    // Who decides reads one sentence of it.
    let text = alice.shows(" carol is now a member of the group.");
    assert!(!text.contains("carol joined."), "{text}");
    bob.hears("PyChat: carol has requested to join the group.");
    // One member hears it, Python or not, and in the right name.
    alice.types("/msg BOB psst");
    bob.hears("alice (to you): psst");
    alice.shows(" alice (to bob): psst");
    alice.types("/msg carol you, too");
    carol.shows(" alice (to you): you, too");
    carol.types("/reply and you");
    alice.shows(" carol (to you): and you");
    alice.types("/me waves");
    bob.hears("alice: * alice waves");
    carol.shows(" * alice waves");
    alice.shows(" * alice waves");
    alice.types("/msg carl hi");
    let text = alice.shows("Nobody is called carl: did you mean carol?");
    assert!(!text.contains("(to carl)"), "{text}");
    carol.types("/ignore bob");
    carol.shows("You ignore bob from now on");
    bob.tells("can you hear me");
    alice.shows("bob: can you hear me");
    carol.types("/ignore bob");
    carol.shows("You hear bob again.");
    bob.tells("and now");
    let text = carol.shows("bob: and now");
    assert!(!text.contains("can you hear me"), "{text}");
    carol.types("/nick dora");
    carol.shows_broken("/quit, and come back with --name NAME.");
    carol.types("/clear");
    carol.ends_in("team>");
    carol.waits("is clear", |_| !carol.visible().contains("and now"));
    // Who comes, goes, is removed, and has another role.
    let dan = Screen::client(server.port, "dan", &[]);
    alice.shows("dan has requested to join");
    alice.types("/approve dan");
    dan.ends_in("team>");
    carol.shows(" dan joined.");
    alice.types("/transfer carol");
    dan.shows(" carol is the admin now.");
    carol.shows(" PyChat: alice made you the admin of the group.");
    carol.types("/kick bob");
    alice.shows(" bob was removed by carol.");
    let text = carol.shows(" bob is not a member of the group any more.");
    assert!(!text.contains("bob was removed"), "{text}");
    carol.types("/quit");
    alice.shows(" carol left.");
    alice.types("/msg carol are you there");
    let text = alice.shows_broken("carol is not online, so nobody has heard your line.");
    assert!(!text.contains("(to carol): are you there"), "{text}");
}

#[test]
fn who_and_what_a_command_is_about_is_found_or_asked_for() {
    let Some((server, alice, mut bob)) = alice_and_bob(80) else {
        return;
    };
    alice.types("/approve");
    alice.shows("requests: nobody");
    alice.ends_in("team>");
    // Composed letters, and letters with an accent behind them.
    let mut jorg = Peer::greet(server.port, "Jo\u{308}rg", "team");
    jorg.hears("/wait");
    alice.shows_broken("or /deny J");
    bob.hears("PyChat: Jo\u{308}rg has requested to join the group.");
    alice.types("/approve jörg");
    jorg.hears("/accepted");
    // Tab knows a member who has not spoken yet.
    alice.presses_text("/kick bo\t");
    alice.ends_in("team> /kick bob");
    alice.presses(&["C-u"]);
    alice.types("/whois BOB");
    alice.shows(" bob: a member, online, name not proven");
    alice.types("/ban bub");
    alice.shows("Nobody is called bub: did you mean bob?");
    alice.types("/file @BUB /etc/hostname");
    alice.shows("Nobody is called BUB: did you mean bob?");
    alice.types("/ban zachary");
    alice.shows_in_order(&[
        "zachary is banned; /unban zachary ends that.",
        "Nobody here has the name zachary.",
    ]);
    alice.types("/ignore zachary");
    alice.shows_broken("ends that. Nobody here has this name, as far as is known.");
    alice.types("/ban BOB");
    bob.hears("/kicked");
    alice.types("/kick JÖRG");
    jorg.hears("/kicked");
    alice.types("/file /etc/hostname");
    alice.shows("Nobody else is online: not shared.");
}

/// Waits until somebody asks to join, and approves.
fn lets_in(alice: &Screen, name: &str) {
    alice.shows_broken(&format!("{name} has requested to join"));
    alice.types(&format!("/approve {name}"));
    alice.shows_broken(&format!("{name} is now a member of the group."));
}

#[test]
fn the_newer_commands_do_their_work_on_plain_terminals_and_in_other_locales() {
    for (term, locale) in [("dumb", "C.UTF-8"), ("xterm-256color", "C"), ("dumb", "C")] {
        if !has_tmux() {
            return;
        }
        let server = Server::start();
        let setup = Setup {
            environment: &[("TERM", term), ("LC_ALL", locale)],
            ..USUAL
        };
        let port = server.port.to_string();
        let join = [
            "client",
            "127.0.0.1",
            &port,
            "--name",
            "alice",
            "--group",
            "team",
        ];
        let alice = Screen::with(&setup, &join);
        alice.shows("The group team is new");
        let bob = Screen::client(server.port, "bob", &[]);
        lets_in(&alice, "bob");
        bob.ends_in("team>");
        alice.types("/who");
        alice.shows("online (2): alice (admin), bob");
        alice.types("/msg bob Grüße");
        bob.shows(" alice (to you): Grüße");
        alice.shows(" alice (to bob): Grüße");
        bob.types("/reply and 語");
        alice.shows(" bob (to you): and 語");
        alice.types("/me waves");
        bob.shows(" * alice waves");
        alice.types("/msg bub hi");
        alice.shows("Nobody is called bub: did you mean bob?");
        alice.types("/ignore bob");
        alice.shows("You ignore bob from now on");
        bob.types("unheard");
        bob.shows(" bob: unheard");
        alice.types("/ignore bob");
        alice.shows("You hear bob again.");
        bob.types("heard");
        let text = alice.shows(" bob: heard");
        assert!(!text.contains("unheard"), "{text}");
    }
}

#[test]
fn who_wants_no_news_is_not_told_who_comes_and_goes() {
    if !has_tmux() {
        return;
    }
    let server = Server::start();
    let alice = Screen::client(server.port, "alice", &["--no-news"]);
    alice.shows("The group team is new");
    let bob = Screen::client(server.port, "bob", &[]);
    lets_in(&alice, "bob");
    bob.ends_in("team>");
    let mut carol = Peer::greet(server.port, "carol", "team");
    carol.hears("/wait");
    lets_in(&alice, "carol");
    bob.shows(" carol joined.");
    drop(carol);
    bob.shows(" carol left.");
    alice.types("/transfer bob");
    bob.shows(" alice made you the admin of the group.");
    bob.types("/kick carol");
    bob.types("the end");
    let text = alice.shows(" bob: the end");
    for news in ["joined.", "left.", "is the admin now.", "was removed"] {
        assert!(!text.contains(news), "{text}");
    }
}

#[test]
fn an_answer_that_is_typed_ahead_of_a_slow_server_is_no_line() {
    let Some((server, alice, mut bob)) = alice_and_bob(80) else {
        return;
    };
    let mut carol = Peer::greet(server.port, "carol", "team");
    carol.hears("/wait");
    bob.hears("PyChat: carol has requested to join the group.");
    alice.shows_broken("or /deny carol.");
    // When the second command is typed, a request is open. When its turn comes, none is.
    server.program.stands_still();
    alice.types("/approve carol");
    alice.types("/approve");
    alice.ends_in("Who is to be approved:");
    alice.types("dan");
    alice.types("well");
    server.program.signal("CONT");
    carol.hears("/accepted");
    bob.hears("alice: well");
}

// ---- the screen ----

#[test]
fn help_and_lists_keep_their_words_whole_at_any_width() {
    for columns in [40, 120] {
        let Some((server, alice, _bob)) = alice_and_bob(columns) else {
            return;
        };
        let names: Vec<String> = (0..12).map(|n| format!("member-number-{n}")).collect();
        let mut members = Vec::new();
        for name in &names {
            let mut member = Peer::greet(server.port, name, "team");
            member.hears("/wait");
            alice.types(&format!("/approve {name}"));
            member.hears("/accepted");
            members.push(member);
        }
        alice.types("/clear");
        alice.ends_in("team>");
        alice.types("/who");
        let text = alice.shows_broken("member-number-9");
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        alice.shows_broken("online (14): alice (admin), bob, member-number-0,");
        alice.types("/help");
        alice.shows_broken("more on a command; //word says /word");
        let text = alice.text();
        for words in [
            "/requests",
            "/ban-address",
            "somebody",
            "several,",
            "address",
        ] {
            assert!(text.contains(words), "{words} is broken in:\n{text}");
        }
        let is_wide = |row: &str| row.chars().count() > columns as usize;
        assert!(!text.lines().any(is_wide), "{text}");
    }
}

#[test]
fn own_lines_look_like_everybody_s_and_words_stay_whole() {
    for columns in [40, 120] {
        let Some((_server, alice, mut bob)) = alice_and_bob(columns) else {
            return;
        };
        let long = "one two three four five six seven eight nine ten eleven twelve".repeat(2);
        alice.types(&long);
        bob.hears(&format!("alice: {long}"));
        bob.tells("und bei mir auch: Donaudampfschifffahrt, die so lang ist, alice");
        let text = alice.shows_broken("so lang ist, alice");
        let text = text.replace(" \n", "\n");
        let is_line = |line: &&str| line.contains(" alice: one two");
        assert_eq!(text.lines().filter(is_line).count(), 1, "{text}");
        assert!(!text.contains("team> one"), "{text}");
        assert!(text.contains("> bob: und bei"), "{text}");
        for word in long.split(' ').chain(["Donaudampfschifffahrt,"]) {
            assert!(text.contains(word), "{word} is broken in:\n{text}");
        }
        let folded: Vec<&str> = text.split_whitespace().collect();
        assert!(
            folded.join(" ").contains(&format!("alice: {long}")),
            "{text}"
        );
    }
}

#[test]
fn the_state_of_the_connection_stands_behind_the_prompt_and_what_was_typed_is_sent_later() {
    let Some((server, alice, bob)) = alice_and_bob(80) else {
        return;
    };
    drop(bob);
    alice.shows(" bob left.");
    let port = server.port;
    drop(server);
    alice.shows("(no connection; trying again in ");
    alice.presses_text("typed meanwhile");
    alice.shows("team> typed meanwhile(no connection");
    alice.presses(&["Enter"]);
    alice.shows("There is no connection: it is done as soon as there is one again.");
    let _server = Server::start_at(port);
    alice.shows("Connected again");
    alice.ends_in("team>");
}

#[test]
fn after_a_short_cut_nobody_joins_again_and_no_line_is_called_an_earlier_one() {
    if !has_tmux() {
        return;
    }
    let mut server = Server::start();
    let taps = [Tap::before(server.port), Tap::before(server.port)];
    let mut alice = lasting_client(taps[0].port, "alice", &[]);
    alice.hears("The group team is new");
    let bob = Screen::client(taps[1].port, "bob", &[]);
    approves(&mut alice, "bob");
    bob.shows("You have been approved");
    let mut carol = Peer::greet(server.port, "carol", "team");
    carol.hears("/wait");
    approves(&mut alice, "carol");
    carol.hears("/accepted");
    bob.shows(" carol joined.");
    alice.types("hello");
    bob.shows(" alice: hello");
    carol.hears("alice: hello");
    for tap in &taps {
        tap.shuts(true);
        tap.cuts();
    }
    bob.shows("Connection lost");
    server.program.logs("departed: hung up");
    server.program.logs("departed: hung up");
    carol.tells("said meanwhile");
    waits_for_the_next_second();
    taps[1].shuts(false);
    bob.shows("Connected again");
    let text = bob.shows("carol: said meanwhile");
    assert!(!text.contains("(earlier)"), "{text}");
    taps[0].shuts(false);
    alice.hears("Connected again");
    alice.types("back again");
    let text = bob.shows(" alice: back again");
    assert!(!text.contains("alice joined"), "{text}");
}

#[test]
fn a_resize_while_a_wrapped_line_is_typed_loses_nothing() {
    let Some((_server, alice, mut bob)) = alice_and_bob(60) else {
        return;
    };
    for n in 0..4 {
        bob.tells(&format!("line {n} of bob"));
    }
    alice.shows("bob: line 3 of bob");
    let typed = "words that are typed while the window changes its width ".repeat(2);
    alice.presses_text(&typed);
    for columns in ["110", "45", "80", "39"] {
        alice.tmux(&["resize-window", "-x", columns]);
        bob.tells(&format!("now {columns}"));
        alice.shows(&format!("bob: now {columns}"));
        for n in 0..4 {
            alice.shows(&format!("bob: line {n} of bob"));
        }
    }
    alice.presses(&["Enter"]);
    bob.hears(&format!("alice: {typed}"));
}

#[test]
fn a_byte_that_is_not_utf_8_is_left_out_with_a_word() {
    let Some((_server, alice, mut bob)) = alice_and_bob(80) else {
        return;
    };
    alice.presses_text("Gr");
    alice.ends_in("team> Gr");
    alice.presses(&["-H", "fc"]);
    alice.shows("is not UTF-8 and was left out.");
    alice.types("uesse");
    bob.hears("alice: Gruesse");
    // In a paste, nothing behind it is taken for keys.
    let paste = "1b 5b 32 30 30 7e 6f 6e 65 fc 0d 2f 71 75 69 74 0d 1b 5b 32 30 31 7e";
    let bytes: Vec<&str> = ["-H"].into_iter().chain(paste.split(' ')).collect();
    alice.presses(&bytes);
    alice.waits("leaves it out", |text| {
        text.matches("was left out.").count() == 2
    });
    alice.ends_in("team>");
    alice.types("still here");
    bob.hears("alice: still here");
}

#[test]
fn a_client_that_comes_back_from_the_background_is_as_before() {
    if !has_tmux() {
        return;
    }
    let server = Server::start();
    let setup = Setup {
        environment: &[("LC_ALL", "C.UTF-8")],
        ..USUAL
    };
    let shell = Screen::shell(&setup);
    shell.types(&format!(
        "{} client 127.0.0.1:{} --name alice --group team",
        env!("CARGO_BIN_EXE_fernchat"),
        server.port
    ));
    shell.ends_in("team>");
    shell.presses_text("half");
    shell.presses(&["C-z"]);
    shell.shows("Stopped");
    shell.types("fg");
    shell.ends_in("team> half");
    shell.types(" a line");
    shell.shows(" alice: half a line");
}
