//! What a person may expect at the keyboard, on screens of several widths and kinds.

#![cfg(feature = "editor")]

mod support;

use std::fs;

use support::screen::{Screen, Setup, USUAL, has_tmux};
use support::{Peer, Server, folder};

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
    alice.ends_in("server:");
    alice.types(&address);
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
    bob.shows("You wait for the admin of team to approve you.");
}
