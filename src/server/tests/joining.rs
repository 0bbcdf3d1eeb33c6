//! Tests of joining: what a client says at each step, and what it hears.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::seal::Key;
use crate::server::testkit::{DEN, Kit};
use crate::wire::frame::{MAX_GREETING_FRAME, WireError};

#[test]
fn joining_takes_five_steps() {
    let kit = Kit::new();
    for (group, step_5) in [
        (DEN.to_owned(), "/adminReady"),
        (DEN.to_owned(), "/ready"),
        (format!("{DEN}\nfernchat/1"), "/ready"),
    ] {
        kit.connects()
            .hears(&["<key>"])
            .says("alice")
            .hears(&["/sendGroupname <ours>"])
            .says(&group)
            .hears(&[step_5])
            .departs(Departure::HungUp);
    }
    assert_eq!(kit.n_clients(), 0);
}

#[test]
fn refused_client_is_told_why_in_its_own_words() {
    let mut kit = Kit::new();
    let refused = |kit: &Kit, user: &str, group: &str, code: &str, reason: &str| {
        let for_python = vec![
            "/ready".into(),
            format!("PyChat: {reason}"),
            "/kicked".into(),
        ];
        let told = [
            (group.to_owned(), for_python.clone()),
            (format!("{group}\nfernchat/10"), for_python),
            (
                format!("{group}\nfernchat/1"),
                vec![format!("/refused {code} {reason}")],
            ),
        ];
        for (group, told) in told {
            let said = kit.connects().says(user).says(&group);
            let output = said.departs(Departure::Ended(format!("refused: {reason}")));
            let heard = output.heard();
            assert_eq!(heard[..2], ["<key>", "/sendGroupname <ours>"]);
            assert_eq!(heard[2..heard.len() - 1], told, "{user} {group}");
        }
    };
    let _alice = kit.joins("alice");
    let taken = "the name alice is in use in this group; choose another";
    refused(&kit, "alice", DEN, "name-taken", taken);
    for name in ["", "/bob", "bob: me", "PyChat", "b\u{7}b"] {
        let reason = UserName::parse(name).unwrap_err().to_string();
        refused(&kit, name, DEN, "bad-name", &reason);
    }
    let reason = GroupName::parse("~den").unwrap_err().to_string();
    refused(&kit, "bob", "~den", "bad-name", &reason);
    kit.joins("bob").hears(&["/wait"]);
    kit.shared.settings.max_clients = 0;
    let full = "the server is full; try again later";
    refused(&kit, "carol", DEN, "full", full);
    assert_eq!(kit.n_clients(), 0);
}

#[test]
fn stranger_gets_no_further_than_one_bad_frame() {
    let kit = Kit::new();
    let foreign = sealed_frame(&Key::generate(), "alice").bytes;
    let long = kit.bytes([b'a'; 800]);
    let too_long = WireError::TooLong {
        length: long.len() - 4,
        limit: MAX_GREETING_FRAME,
    };
    let cases: [(&[u8], Departure); 3] = [
        (&long[..100], Departure::from(too_long)),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            Departure::from(WireError::NoLength),
        ),
        (&foreign[..50], Departure::HungUp),
    ];
    for (bytes, departure) in cases {
        let end = format!("<end: {departure}>");
        let output = kit
            .connects()
            .hears(&["<key>"])
            .sends(bytes)
            .departs(departure);
        output.hears(&[&end]);
    }
}

#[test]
fn stranger_that_has_another_key_is_told_so_under_this_one() {
    let kit = Kit::new();
    let foreign = sealed_frame(&Key::generate(), "alice").bytes;
    let reason = "this server has no secret, and what came does not open without one";
    let departure = Departure::Ended(format!("refused: {reason}"));
    let end = format!("<end: {departure}>");
    let output = kit
        .connects()
        .hears(&["<key>"])
        .sends(&foreign)
        .departs(departure);
    output.hears(&[
        &format!("/refused no-secret {reason}"),
        "/ready",
        &format!("PyChat: {reason}"),
        "/kicked",
        &end,
    ]);
}

#[test]
fn member_whose_session_panics_is_offline_and_can_come_back() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    bob.leaves();
    let doomed = kit
        .python("bob")
        .says("/whoAdmin")
        .then(|| panic!("in the middle of a dialogue, as it was told"));
    let played = catch_unwind(AssertUnwindSafe(|| doomed.departs(Departure::HungUp)));
    assert!(played.is_err());
    let online = alice.group.lock().members_online(&alice.client).unwrap();
    assert_eq!(online, std::slice::from_ref(&alice.client.name));
    assert_eq!(kit.n_clients(), 0);
    kit.joins("bob").hears(&["/ready"]);
}
