//! Names that belong to keys: who may have a name, who hears of a request, and who stays out.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::{
    DEADLINE, Peer, Program, Server, ends_badly, ends_well, fernchat, folder, home_of,
    lasting_client,
};

/// A fernchat client with an identity of its own, whatever its name is.
fn stranger(port: u16, name: &str) -> Program {
    let mut command = fernchat();
    command.args(["client", "127.0.0.1", &port.to_string()]);
    command.args(["--name", name, "--group", "team"]);
    command.args(["--identity", &format!("{}-key", home_of("stranger"))]);
    Program::start(command)
}

#[test]
fn a_name_that_came_with_a_key_is_refused_to_everybody_else_and_its_holder_is_not_disturbed() {
    let server = Server::start();
    let mut alice = lasting_client(server.port, "alice", &[]);
    alice.hears("The group team is new");
    let mut bob = lasting_client(server.port, "bob", &[]);
    bob.hears("You wait");
    alice.hears("bob has requested to join the group. It came with the key ");
    alice.types("/approve bob");
    bob.hears("You have been approved");
    let refused = "the name alice belongs to another key in this group";
    let is_refused_everywhere = || {
        let start = Instant::now();
        ends_badly(&mut stranger(server.port, "alice"), refused);
        let mut python = Peer::greet(server.port, "alice", "team");
        python.hears("/ready");
        python.hears(&format!("PyChat: {refused}; choose another name"));
        python.hears("/kicked");
        // At once, and not after a time in which a dead connection would be found.
        assert!(start.elapsed() < Duration::from_secs(4));
    };
    is_refused_everywhere();
    alice.types("hello");
    bob.hears("alice: hello");
    // Nor is it anybody's while its holder is away.
    alice.types("/quit");
    ends_well(&mut alice);
    is_refused_everywhere();
    let mut alice = lasting_client(server.port, "alice", &[]);
    alice.hears("You are in the group team");
    alice.types("/7");
    alice.hears("Admin: alice");
}

#[test]
fn a_second_client_of_the_same_person_takes_the_first_one_s_place_and_the_first_ends_with_a_sentence()
 {
    let server = Server::start();
    let mut bob = Peer::join(server.port, "bob", None);
    let mut first = lasting_client(server.port, "alice", &[]);
    first.hears("You wait");
    bob.hears("PyChat: alice has requested to join the group.");
    let mut second = lasting_client(server.port, "alice", &[]);
    second.hears("You wait");
    ends_badly(
        &mut first,
        "you have joined this group with another client, so this one ends",
    );
    assert!(
        bob.decides("/approveRequest", "alice")
            .contains("is now a member")
    );
    second.hears("You have been approved");
    let mut third = lasting_client(server.port, "alice", &[]);
    third.hears("You are in the group team");
    ends_badly(
        &mut second,
        "you have joined this group with another client",
    );
    bob.tells("hello");
    third.hears("bob: hello");
}

#[test]
fn a_connection_that_stands_still_is_taken_over_at_once_by_its_own_user() {
    let server = Server::start();
    let mut first = lasting_client(server.port, "alice", &[]);
    first.hears("The group team is new");
    let mut bob = lasting_client(server.port, "bob", &[]);
    first.hears("bob has requested");
    first.types("/approve bob");
    first.hears("bob is now a member");
    // As if its machine slept: the system still answers for it.
    first.signal("STOP");
    let start = Instant::now();
    let mut second = lasting_client(server.port, "alice", &[]);
    second.hears("You are in the group team");
    assert!(start.elapsed() < Duration::from_secs(4));
    second.types("here again");
    first.signal("CONT");
    bob.hears("alice: here again");
}

#[test]
fn a_member_learns_whether_a_name_is_proven() {
    let server = Server::start();
    let mut alice = lasting_client(server.port, "alice", &[]);
    alice.hears("The group team is new");
    let _bob = Peer::greet(server.port, "bob", "team");
    alice.hears("bob has requested to join the group. It came without a key, from 127.0.0.1");
    alice.types("/whois alice");
    alice.hears("alice: the admin, online, name proven by the key ");
    alice.types("/whois bob");
    alice.hears("bob: asks to join, online, name not proven: it came without a key");
    alice.types("/whois carol");
    alice.hears("The group has no member called 'carol'");
}

#[test]
fn several_requests_are_answered_in_one_line() {
    let server = Server::start();
    let mut alice = lasting_client(server.port, "alice", &[]);
    alice.hears("The group team is new");
    let asks = |name: &str| {
        let mut peer = Peer::greet(server.port, name, "team");
        peer.hears("/wait");
        peer
    };
    let mut people = ["bob", "carol", "dave the great", "eve"].map(asks);
    alice.types("/approve dave the great");
    alice.hears("dave the great is now a member");
    alice.types("/approve bob carol");
    alice.hears("bob is now a member");
    alice.hears("carol is now a member");
    let [bob, carol, dave, eve] = &mut people;
    for person in [dave, bob, carol] {
        person.hears("/accepted");
    }
    let _frank = asks("frank");
    alice.types("/approve all");
    alice.hears("eve is now a member");
    eve.hears("/accepted");
    alice.hears("frank is now a member");
    let mut gina = asks("gina");
    alice.types("/deny all");
    alice.hears("The request of gina is denied.");
    gina.hears("/accepted");
    gina.hears("PyChat: The admin denied your request to join.");
    gina.hears("/kicked");
}

#[test]
fn who_is_banned_stays_out_under_every_name_until_the_ban_ends() {
    let server = Server::start();
    let mut alice = lasting_client(server.port, "alice", &[]);
    alice.hears("The group team is new");
    let mut mallory = stranger(server.port, "mallory");
    alice.hears("mallory has requested");
    alice.types("/approve mallory");
    mallory.hears("You have been approved");
    alice.types("/ban mallory");
    alice.hears("mallory is banned");
    mallory.hears("the group.");
    ends_well(&mut mallory);
    let banned = "the server refused: the admin of the group has banned you";
    for name in ["mallory", "Mallory", "somebody else"] {
        ends_badly(&mut stranger(server.port, name), banned);
    }
    alice.types("/bans");
    alice.hears("banned: mallory");
    // A Python client has no key, but an address.
    let mut paul = Peer::stranger(server.port, "paul", "team");
    paul.hears("/wait");
    alice.types("/ban-address paul");
    alice.hears("paul is banned");
    paul.hears("/accepted");
    paul.hears("PyChat: The admin of the group has banned you.");
    paul.hears("/kicked");
    let mut other = Peer::stranger(server.port, "other", "team");
    other.hears("/ready");
    other.hears("PyChat: the admin of the group has banned you");
    Peer::greet(server.port, "other", "team").hears("/wait");
    alice.types("/unban mallory");
    alice.hears("mallory may ask to join again");
    let mut mallory = stranger(server.port, "mallory");
    mallory.hears("You wait for the admin");
}

#[test]
fn the_name_of_another_address_is_announced_again_before_it_is_approved() {
    let server = Server::start();
    let mut alice = lasting_client(server.port, "alice", &[]);
    alice.hears("The group team is new");
    drop(Peer::greet(server.port, "bob", "team"));
    alice.hears("bob has requested to join the group. It came without a key, from 127.0.0.1");
    let mut mallory = Peer::stranger(server.port, "bob", "team");
    mallory.hears("/wait");
    // The same name within a minute is counted, so that nobody floods the others with notices.
    alice.types("/whois bob");
    alice.hears("bob: asks to join, online");
    alice.types("/deny bob");
    alice.hears("The request of bob is denied.");
    let mut bob = Peer::greet(server.port, "bob", "team");
    bob.hears("/wait");
    alice.hears("bob has requested to join the group. It came without a key, from 127.0.0.1");
}

#[test]
fn a_thousand_requests_are_five_notices_and_a_line() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    for n in 0..1000 {
        Peer::stranger(server.port, &format!("m{n}"), "team").hears("/wait");
    }
    let start = Instant::now();
    let mut notices = Vec::new();
    while notices.len() < 6 {
        let notice = alice.hears_text();
        notices.push(notice);
        assert!(start.elapsed() < DEADLINE);
    }
    let (line, announced) = notices.split_last().unwrap();
    assert!(
        announced
            .iter()
            .all(|notice| notice.contains(" has requested to join the group."))
    );
    assert!(
        line.ends_with(" more requests to join the group; /1 lists them."),
        "{line}"
    );
}

#[test]
fn a_paused_admin_without_a_key_keeps_the_name_however_often_somebody_asks_for_it() {
    let server = Server::start();
    let mut alice = Peer::join(server.port, "alice", None);
    let mut bob = Peer::join(server.port, "bob", Some(&mut alice));
    // More than alice's system holds while she reads nothing, so data is under way to her all the time.
    SockRef::from(&alice.socket)
        .set_recv_buffer_size(4096)
        .unwrap();
    let text = "x".repeat(150_000);
    bob.tells(&text);
    let start = Instant::now();
    // Longer than a probe takes.
    while start.elapsed() < Duration::from_secs(8) {
        let mut mallory = Peer::stranger(server.port, "alice", "team");
        mallory.hears("/ready");
        mallory.hears("PyChat: the name alice is in use in this group; choose another");
    }
    alice.hears(&format!("bob: {text}"));
    alice.tells("still here");
    bob.hears("alice: still here");
}

#[test]
fn an_identity_that_is_no_key_is_an_error_and_without_a_home_there_is_one_for_the_run() {
    let server = Server::start();
    let home = folder();
    let file = home.path().join("identity");
    std::fs::write(&file, "nothing\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let options = ["--identity", file.to_str().unwrap()];
    ends_badly(
        &mut lasting_client(server.port, "alice", &options),
        "holds no key",
    );
    let mut command = fernchat();
    command.env("XDG_CONFIG_HOME", "/dev/null");
    command.args(["client", "127.0.0.1", &server.port.to_string()]);
    command.args(["--name", "alice", "--group", "team"]);
    let mut alice = Program::start(command);
    alice.hears("The group team is new");
    alice.logs("your name is proven for this run only");
    alice.types("/whois alice");
    alice.hears("name proven by the key");
}
