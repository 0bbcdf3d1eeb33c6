//! Tests of files: the upload, the offers, and the way to each member.

use super::*;
use crate::seal::Key;
use crate::server::testkit::{DEN, Kit, Person, Script};

/// What a fernchat client hears of a short file.
const OFFER: &str = "/receiveFile <id> 100\na.txt\nalice";

const NO_MEMBER: &str = "This is for members, and you are not a member of the group any more.";

/// An upload of this body under this length.
fn uploads<'a>(script: Script<'a>, file: &str, length: usize, body: &[u8]) -> Script<'a> {
    script
        .says("/fileTransfer")
        .says(file)
        .says(&length.to_string())
        .sends(body)
}

/// The same, with a fernchat client. The server must want it.
fn offers<'a>(script: Script<'a>, file: &str, length: usize, body: &[u8]) -> Script<'a> {
    script
        .says(&format!("/receiveFile 1 {length}\n{file}\n"))
        .hears(&["/sendFile 1 0"])
        .sends(body)
}

/// Alice is offline; bob with a Python client and fred with a fernchat client are there.
fn receivers(kit: &Kit) -> [Person<'_>; 2] {
    let [alice, bob] = kit.members(["alice", "bob"]);
    let fred = kit
        .tries_to_join_with(Dialect::Fernchat, "fred", DEN)
        .unwrap();
    alice.approves("fred").unwrap();
    alice.leaves();
    bob.output.heard();
    fred.output.heard();
    [bob, fred]
}

#[test]
fn file_is_offered_to_every_other_member_and_comes_as_it_went() {
    let kit = Kit::new();
    let [bob, fred] = receivers(&kit);
    let _waiting = kit.joins("carol");
    let asked = "PyChat: carol has requested to join the group.";
    let asked_fred = "/requested from:10.0.0.1 carol";
    let token = kit.shared.key.seal(b"hello, all");
    uploads(
        kit.python("alice"),
        "../secret/a.txt",
        token.len(),
        token.as_bytes(),
    )
    .hears(&[
        "/fileTransfer",
        "/sendFile",
        "a.txt is on its way to 2 members.",
    ])
    .departs(Departure::HungUp);
    bob.hears(&[asked, "/receiveFile"]);
    assert!(bob.wants_name());
    bob.hears(&["a.txt"]);
    assert!(bob.wants_body() && !bob.wants_body());
    bob.hears(&["100", "<hello, all>"]);
    fred.hears(&[asked_fred, OFFER]);
    fred.wants_file(0);
    fred.hears(&["/sendFile <id> 0", "<hello, all>"]);
    fred.wants_file(0);
    fred.hears_nothing();
    assert!(!kit.shared.spool.is_empty());
    fred.client.ends_file(&fred.file_id(), Outcome::Has);
    assert!(kit.shared.spool.is_empty());
}

#[test]
fn file_that_a_python_client_cannot_receive_is_told_to_it_in_a_line() {
    let kit = Kit::new();
    let [bob, fred] = receivers(&kit);
    let token = kit.shared.key.seal(&[b'a'; 112]);
    let len = token.len();
    offers(kit.fernchat("alice"), "a.txt", len, token.as_bytes())
        .hears(&["/haveFile 1 a.txt is on its way to 1 member; 1 more cannot receive a file of this size and were told."])
        .departs(Departure::HungUp);
    bob.hears(&["PyChat: alice shared a.txt (186 bytes), too large for this program."]);
    fred.hears(&[&format!("/receiveFile <id> {len}\na.txt\nalice")]);
    // One byte less in the last block is the most that a Python client gets.
    let token = kit.shared.key.seal(&[b'a'; 111]);
    uploads(kit.python("alice"), "a.txt", token.len(), token.as_bytes()).departs(Departure::HungUp);
    bob.hears(&["/receiveFile"]);
}

#[test]
fn upload_that_fails_says_why_and_stays_in_step() {
    let kit = Kit::new();
    let [bob, fred] = receivers(&kit);
    let token = kit.shared.key.seal(b"hello").into_bytes();
    let foreign = Key::generate().seal(b"hello").into_bytes();
    let damaged = [&token[..50], b"AAAA", &token[54..]].concat();
    let large = kit.shared.key.seal(&[b'a'; 1008]).into_bytes();
    let cases: [(&[u8], &str); 5] = [
        (
            &foreign,
            "it did not arrive whole: damaged, or sealed with another key",
        ),
        (
            &damaged,
            "it did not arrive whole: damaged, or sealed with another key",
        ),
        (
            &token[..96],
            "it did not arrive whole: damaged, or sealed with another key",
        ),
        (
            b"A",
            "it did not arrive whole: damaged, or sealed with another key",
        ),
        (&large, "this server takes files of at most 1000 bytes."),
    ];
    for (body, reason) in cases {
        let output = uploads(kit.python("alice"), "a.txt", body.len(), body)
            .says("/onlineMembers")
            .departs(Departure::HungUp);
        let heard = output.heard();
        assert_eq!(heard[..2], ["/fileTransfer", "/sendFile"]);
        let result = format!("a.txt was not shared: {reason}");
        assert!(heard[2].starts_with(&result), "{} {result}", heard[2]);
        assert_eq!(heard[3], "/onlineMembers");
    }
    let largest = kit.shared.key.seal(&[b'a'; 1007]);
    uploads(
        kit.python("alice"),
        "a.txt",
        largest.len(),
        largest.as_bytes(),
    )
    .departs(Departure::HungUp);
    fred.hears(&[&format!(
        "/receiveFile <id> {}\na.txt\nalice",
        largest.len()
    )]);
    bob.hears(&["PyChat: alice shared a.txt (1 KiB), too large for this program."]);
    let step = "the length of a body";
    for length in ["many", "-1", "1.5", "", "99999999999999999999"] {
        kit.python("alice")
            .says("/fileTransfer")
            .says("a.txt")
            .says(length)
            .departs(Departure::from(WireError::NotTheStep(step)));
    }
}

#[test]
fn commands_torn_into_a_body_run_after_it() {
    let kit = Kit::new();
    let [bob, _fred] = receivers(&kit);
    let token = kit.shared.key.seal(b"hello").into_bytes();
    let (one, two) = (kit.bytes("/onlineMembers"), kit.bytes("/whoAdmin"));
    let noise = kit.bytes("no command");
    let (length, rest) = two.split_at(4);
    // One whole, one whose length comes before the body and whose token comes inside it, and something else.
    let body = [
        &token[..30],
        &one,
        &token[30..60],
        rest,
        &token[60..61],
        &noise,
        &token[61..],
    ]
    .concat();
    kit.python("alice")
        .says("/fileTransfer")
        .says("a.txt")
        .sends(&[length, &kit.bytes("100")].concat())
        .hears(&["/fileTransfer", "/sendFile"])
        .sends(&body)
        .hears(&["a.txt is on its way to 2 members.", "/onlineMembers"])
        .says(".")
        .hears(&[r#"{"alice", "bob", "fred"}"#, "/whoAdmin"])
        .departs(Departure::HungUp);
    bob.hears(&["/receiveFile"]);
}

#[test]
fn kicked_in_the_middle_of_an_upload_shares_nothing() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    bob.leaves();
    let token = kit.shared.key.seal(b"hello");
    let (half, rest) = token.as_bytes().split_at(50);
    uploads(kit.python("bob"), "a.txt", token.len(), half)
        .hears(&["/fileTransfer", "/sendFile"])
        .then(|| alice.throws_out("bob"))
        .sends(rest)
        .hears(&[NO_MEMBER, "/kicked", "<end: kicked>"])
        .departs(Departure::Ended("kicked".into()));
    alice.hears_nothing();
}

#[test]
fn delivery_goes_step_by_step_and_everything_else_waits() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    kit.python("alice")
        .says("/allMembers")
        .then(|| bob.shares("a.txt", "hello"))
        .hears(&["/allMembers"])
        .says(".")
        .hears(&[r#"{"alice", "bob"}"#, "/receiveFile"])
        .then(|| bob.says("are you there?").unwrap())
        .then(|| bob.shares("b.txt", "once more"))
        // Typed between the two answers.
        .says("/onlineMembers")
        .says("/sendFilename")
        .hears(&["a.txt"])
        .says("/whoAdmin")
        .hears_nothing()
        .says("/sendFile")
        .hears(&["100", "<hello>", "/onlineMembers"])
        .says(".")
        .hears(&[r#"{"alice", "bob"}"#, "bob: are you there?", "/receiveFile"])
        .says("/sendFilename")
        .says("/sendFile")
        .hears(&["b.txt", "100", "<once more>", "/whoAdmin"])
        // Nothing is offered: the words mean nothing.
        .says("/sendFilename")
        .hears(&["You are in the group the den; ask about that one."])
        .departs(Departure::HungUp);
    bob.hears_news(&[]);
}

#[test]
fn members_that_offer_each_other_files_and_leave_keep_no_room() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.shares("a.txt", "from alice");
    bob.shares("b.txt", "from bob");
    for person in [alice, bob] {
        person.leaves();
        drop(person);
    }
    assert!(kit.shared.spool.is_empty());
}

#[test]
fn receiver_that_leaves_before_it_has_the_file_is_reported() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    kit.python("alice")
        .then(|| bob.shares("a.txt", "hello"))
        .says("/sendFilename")
        .departs(Departure::HungUp);
    bob.hears_news(&["a.txt did not reach alice."]);
}
