//! Tests of a group: who may do what, and what each member hears.

use std::time::Duration;

use super::*;
use crate::net::fairness::tests::source;
use crate::seal::{Identity, PublicKey};
use crate::server::testkit::{Kit, Person};
use crate::wire::frame;

fn names(names: &[&str]) -> Result<Vec<UserName>, Refusal> {
    Ok(names
        .iter()
        .map(|name| UserName::parse(name).unwrap())
        .collect())
}

fn no_request(name: &str) -> Refusal {
    Refusal::NoRequest(name.into())
}

fn no_member(name: &str) -> Refusal {
    Refusal::NoMember(name.into())
}

const CAROL_ASKS: &str = "PyChat: carol has requested to join the group.";

#[test]
fn first_to_join_administers_the_group() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    alice.hears(&["/adminReady"]);
    let group = alice.group.lock();
    assert_eq!(
        group.who_administers(&alice.client).unwrap().as_str(),
        "alice"
    );
    assert_eq!(group.members(&alice.client), names(&["alice"]));
}

#[test]
fn request_waits_until_the_admin_approves() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    let carol = kit.joins("carol");
    carol.hears(&["/wait"]);
    alice.hears(&[CAROL_ASKS]);
    bob.hears(&[CAROL_ASKS]);
    alice.says("nobody waits for this").unwrap();
    carol.hears_nothing();

    assert_eq!(alice.approves("dave"), Err(no_request("dave")));
    assert_eq!(alice.approves("bob"), Err(no_request("bob")));
    assert_eq!(alice.approves("carol"), Ok(()));
    carol.hears(&["/accepted"]);
    carol.says("hello").unwrap();
    alice.hears(&["carol: hello"]);
    let group = alice.group.lock();
    assert_eq!(group.requests(&alice.client), names(&[]));
    assert_eq!(
        group.members(&carol.client),
        names(&["alice", "bob", "carol"])
    );
}

#[test]
fn request_outlives_its_connection_and_is_told_once() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    let carol = kit.joins("carol");
    alice.hears(&["/adminReady", CAROL_ASKS]);
    carol.leaves();
    let carol = kit.joins("carol");
    carol.hears(&["/wait"]);
    alice.hears_nothing();
    carol.leaves();
    assert_eq!(
        alice.group.lock().requests(&alice.client),
        names(&["carol"])
    );
    alice.approves("carol").unwrap();
    assert_eq!(
        alice.group.lock().members(&alice.client),
        names(&["alice", "carol"])
    );
    kit.joins("carol").hears(&["/ready"]);
}

#[test]
fn name_of_somebody_who_is_here_is_refused() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    let carol = kit.joins("carol");
    for person in [&alice, &bob, &carol] {
        let refusal = kit.tries_to_join(person.client.name.as_str()).err();
        assert_eq!(
            refusal,
            Some(Refusal::NameProbed(person.client.name.clone()))
        );
    }
    alice.leaves();
    bob.leaves();
    kit.joins("alice").hears(&["/ready"]);
    kit.joins("bob").hears(&["/ready"]);
    // Other names, and other groups, are free.
    kit.joins("alicia").hears(&["/wait"]);
    let elsewhere = kit.tries_to_join_group("carol", "elsewhere").unwrap();
    elsewhere.hears(&["/adminReady"]);
}

#[test]
fn a_member_that_was_offline_hears_what_was_said_meanwhile() {
    let kit = Kit::new();
    let [alice, bob, carol] = kit.members(["alice", "bob", "carol"]);
    bob.leaves();
    carol.leaves();
    alice.says("one").unwrap();
    kit.joins("carol").hears(&["/ready", "alice: one"]);
    // This kit's groups keep three lines.
    for text in ["two", "three", "four", "five"] {
        alice.says(text).unwrap();
    }
    kit.joins("bob").hears(&[
        "/ready",
        "PyChat: Up to 2 earlier lines were not kept.",
        "alice: three",
        "alice: four",
        "alice: five",
    ]);
}

#[test]
fn what_had_not_gone_out_when_the_connection_broke_is_heard_over_the_next() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.says("one").unwrap();
    // The writer has written this, and then the connection breaks.
    bob.client.outbox.has_written(1);
    alice.says("two").unwrap();
    bob.leaves();
    bob.says("I am not here").unwrap_err();
    alice.says("three").unwrap();
    kit.joins("bob")
        .hears(&["/ready", "alice: two", "alice: three"]);
}

#[test]
fn a_client_that_is_the_same_run_says_how_far_it_has_heard_and_nothing_is_taken_twice() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    bob.leaves();
    let known = |heard: &str| kit.tries_to_join_known("bob", ("run", heard)).unwrap();
    let bob = known("");
    bob.hears(&["/ready"]);
    let lines: Vec<Frame> = ["one", "two"]
        .iter()
        .map(|text| alice.says_frame(text).unwrap())
        .collect();
    // Both were written into a link that was broken.
    bob.client.outbox.has_written(2);
    let says = |bob: &Person, number| {
        bob.group
            .lock()
            .say(&bob.client, Some(number), &kit.frame("bob: hello"))
            .unwrap()
    };
    says(&bob, 1);
    alice.hears(&["bob: hello"]);
    bob.leaves();
    let bob = known("");
    bob.hears(&["/ready", "alice: one", "alice: two"]);
    bob.leaves();
    let bob = known(&frame::mark(&lines[0].bytes));
    bob.hears(&["/ready", "alice: two"]);
    says(&bob, 1);
    alice.hears_nothing();
    says(&bob, 2);
    alice.hears(&["bob: hello"]);
    bob.leaves();
    // Another client of the same user begins anew, behind what was written.
    let bob = kit.tries_to_join_known("bob", ("other", "")).unwrap();
    bob.hears(&["/ready", "alice: two"]);
    says(&bob, 1);
    alice.hears(&["bob: hello"]);
}

#[test]
fn nobody_hears_what_was_said_before_being_let_in() {
    let kit = Kit::new();
    let [alice, _bob] = kit.members(["alice", "bob"]);
    let carol = kit.tries_to_join_known("carol", ("run", "")).unwrap();
    let line = alice.says_frame("among us").unwrap();
    alice.approves("carol").unwrap();
    carol.hears(&["/wait", "/accepted"]);
    carol.leaves();
    kit.tries_to_join_known("carol", ("run", &frame::mark(&line.bytes)))
        .unwrap()
        .hears(&["/ready"]);
}

#[test]
fn who_was_let_in_while_waiting_hears_nothing_from_before_over_another_connection_either() {
    let kit = Kit::new();
    let [alice, _bob] = kit.members(["alice", "bob"]);
    for (name, first, then) in [
        ("carol", ("", ""), ("", "")),
        ("dave", ("run", ""), ("other run", "")),
        (
            "erin",
            ("run", "a mark of an older server"),
            ("run", "a mark of an older server"),
        ),
    ] {
        let waiting = kit.tries_to_join_known(name, first).unwrap();
        alice.says("among us").unwrap();
        alice.approves(name).unwrap();
        waiting.leaves();
        kit.tries_to_join_known(name, then)
            .unwrap()
            .hears(&["/ready"]);
    }
}

#[test]
fn a_mark_that_is_not_kept_any_more_loses_no_line_that_is() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    bob.leaves();
    let known = |heard: &str| kit.tries_to_join_known("bob", ("run", heard)).unwrap();
    let bob = known("");
    let lines = ["1", "2", "3"].map(|text| alice.says_frame(text).unwrap());
    // All were written, but 2 and 3 into a link that was broken.
    bob.client.outbox.has_written(3);
    bob.leaves();
    alice.says("4").unwrap();
    known(&frame::mark(&lines[0].bytes)).hears(&["/ready", "alice: 2", "alice: 3", "alice: 4"]);
}

#[test]
fn one_s_own_lines_are_never_missing() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    let hi = bob.says_frame("hi").unwrap();
    alice.leaves();
    let says = |alice: &Person, numbers: std::ops::Range<u64>| {
        numbers.for_each(|n| {
            alice
                .group
                .lock()
                .say(&alice.client, Some(n), &kit.frame("alice: x"))
                .unwrap();
        });
    };
    let alice = kit.tries_to_join_known("alice", ("run", "")).unwrap();
    alice.client.outbox.has_written(1);
    says(&alice, 1..3);
    alice.leaves();
    let alice = kit
        .tries_to_join_known("alice", ("run", &frame::mark(&hi.bytes)))
        .unwrap();
    says(&alice, 3..9);
    alice.leaves();
    kit.tries_to_join_known("alice", ("another run", ""))
        .unwrap()
        .hears(&["/ready"]);
}

#[test]
fn rights_are_the_admin_s_and_those_of_members() {
    let kit = Kit::new();
    let [alice, bob, kicked, gone] = kit.members(["alice", "bob", "kicked", "gone"]);
    alice.kicks("kicked").unwrap();
    gone.leaves();
    let carol = kit.joins("carol");
    let cases = [
        (&bob, Refusal::NotAdmin, true),
        (&carol, Refusal::NotMember, false),
        (&kicked, Refusal::NotMember, false),
        (&gone, Refusal::NotMember, false),
    ];
    for (person, refusal, is_member) in cases {
        assert_eq!(person.approves("carol"), Err(refusal.clone()));
        assert_eq!(person.denies("carol").err(), Some(refusal.clone()));
        assert_eq!(person.kicks("alice").err(), Some(refusal.clone()));
        assert_eq!(person.kicks("bob").err(), Some(refusal.clone()));
        assert_eq!(person.hands_over("bob"), Err(refusal.clone()));
        let group = person.group.lock();
        assert_eq!(group.requests(&person.client), Err(refusal.clone()));
        assert_eq!(group.may_decide(&person.client), Err(refusal));
        let refused = (!is_member).then_some(Refusal::NotMember);
        assert_eq!(group.members(&person.client).err(), refused);
        assert_eq!(group.members_online(&person.client).err(), refused);
        assert_eq!(group.who_administers(&person.client).err(), refused);
        assert_eq!(person.client.check_member().is_ok(), is_member);
        drop(group);
        assert_eq!(person.says("hi").err(), refused);
    }
    alice.hears(&[CAROL_ASKS, "bob: hi"]);
    let group = alice.group.lock();
    assert_eq!(group.may_decide(&alice.client), Ok(()));
    assert_eq!(group.requests(&alice.client), names(&["carol"]));
    assert_eq!(group.members(&bob.client), names(&["alice", "bob", "gone"]));
    assert_eq!(group.members_online(&bob.client), names(&["alice", "bob"]));
}

#[test]
fn denied_request_is_dropped_and_may_be_made_again() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    let carol = kit.joins("carol");
    assert_eq!(alice.denies("dave").err(), Some(no_request("dave")));
    assert_eq!(alice.denies("alice").err(), Some(no_request("alice")));
    let client = alice.denies("carol").unwrap();
    assert_eq!(client.map(|client| client.id), Some(carol.client.id));
    assert_eq!(alice.approves("carol"), Err(no_request("carol")));
    carol.leaves();
    kit.joins("carol").leaves();
    alice.hears(&["/adminReady", CAROL_ASKS, CAROL_ASKS]);
    // Nobody waits for the answer this time.
    assert!(alice.denies("carol").unwrap().is_none());
}

#[test]
fn kicked_member_is_out_at_once_and_must_ask_again() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    assert_eq!(alice.kicks("dave").err(), Some(no_member("dave")));
    assert_eq!(alice.kicks("alice").err(), Some(Refusal::AdminStays));
    let client = alice.kicks("bob").unwrap();
    assert_eq!(client.map(|client| client.id), Some(bob.client.id));
    alice.says("without bob").unwrap();
    bob.hears_nothing();
    let again = kit.joins("bob");
    again.hears(&["/wait"]);
    // The kicked connection says goodbye late.
    bob.leaves();
    alice.approves("bob").unwrap();
    again.hears(&["/accepted"]);

    again.leaves();
    assert!(alice.kicks("bob").unwrap().is_none(), "offline");
    kit.joins("bob").hears(&["/wait"]);
}

#[test]
fn admin_hands_over_to_any_member_and_loses_the_role() {
    let kit = Kit::new();
    let [alice, bob, gone] = kit.members(["alice", "bob", "gone"]);
    gone.leaves();
    let carol = kit.joins("carol");
    assert_eq!(alice.hands_over("dave"), Err(no_member("dave")));
    assert_eq!(alice.hands_over("carol"), Err(no_member("carol")));
    assert_eq!(alice.hands_over("alice"), Err(Refusal::AdminAlready));
    bob.hears(&[CAROL_ASKS]);
    assert_eq!(alice.hands_over("bob"), Ok(()));
    bob.hears(&["PyChat: it is yours"]);
    assert_eq!(alice.approves("carol"), Err(Refusal::NotAdmin));
    assert_eq!(bob.kicks("bob").err(), Some(Refusal::AdminStays));
    assert_eq!(bob.approves("carol"), Ok(()));
    carol.hears(&["/wait", "/accepted"]);

    assert_eq!(bob.hands_over("gone"), Ok(()));
    assert!(bob.kicks("alice").is_err());
    let back = kit.joins("gone");
    back.hears(&["/ready"]);
    assert!(back.kicks("alice").is_ok());
}

#[test]
fn all_members_hear_the_same_lines_in_one_order() {
    let kit = Kit::new();
    let [alice, bob, carol, gone] = kit.members(["alice", "bob", "carol", "gone"]);
    gone.leaves();
    assert!(carol.opens_dialogue());
    alice.says("one").unwrap();
    bob.says("two").unwrap();
    carol.says("three").unwrap();
    alice.says("four").unwrap();
    alice.hears(&["bob: two", "carol: three"]);
    bob.hears(&["alice: one", "carol: three", "alice: four"]);
    carol.hears_nothing();
    carol.closes_dialogue();
    carol.hears(&["alice: one", "bob: two", "alice: four"]);
    gone.hears_nothing();
}

#[test]
fn late_goodbye_of_an_old_connection_leaves_the_new_one_alone() {
    let kit = Kit::new();
    let [alice, old] = kit.members(["alice", "bob"]);
    old.leaves();
    let new = kit.joins("bob");
    old.leaves();
    alice.says("hello").unwrap();
    new.hears(&["/ready", "alice: hello"]);
    assert_eq!(old.says("I am gone"), Err(Refusal::NotMember));

    let old = kit.joins("carol");
    old.leaves();
    let new = kit.joins("carol");
    old.leaves();
    assert!(!old.stops_waiting());
    alice.approves("carol").unwrap();
    new.hears(&["/wait", "/accepted"]);
}

#[test]
fn goodbye_of_one_who_waits_is_ignored_when_it_crosses_with_the_approval() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    let carol = kit.joins("carol");
    alice.approves("carol").unwrap();
    assert!(!carol.stops_waiting());
    carol.hears(&["/wait", "/accepted"]);
    alice.says("welcome").unwrap();
    carol.hears(&["alice: welcome"]);

    let dave = kit.joins("dave");
    assert!(dave.stops_waiting());
    alice.approves("dave").unwrap();
    dave.hears(&["/wait", "/waitDisconnect"]);
    kit.joins("dave").hears(&["/ready"]);
}

#[test]
fn group_has_room_for_so_many_members_and_requests() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    let name = |n| UserName::parse(&format!("user {n}")).unwrap();
    let mut group = alice.group.lock();
    let request = |n: usize| Holder {
        id: 1000 + (MAX_REQUESTS - n) as u64,
        source: source(66),
        key: None,
        client: None,
    };
    group.requests = (1..MAX_REQUESTS).map(|n| (name(n), request(n))).collect();
    drop(group);
    let carol = kit.joins("carol");
    // The stranger who made most of them can make no more, and his oldest makes room for somebody else's.
    *kit.source.lock() = source(66);
    assert_eq!(kit.tries_to_join("mallory").err(), Some(Refusal::GroupFull));
    *kit.source.lock() = source(2);
    kit.joins("dave").hears(&["/wait"]);
    let last = format!("user {}", MAX_REQUESTS - 1);
    assert_eq!(alice.approves(&last), Err(Refusal::NoRequest(last)));
    alice.denies("dave").unwrap();
    carol.leaves();
    kit.joins("carol").hears(&["/wait"]);

    let mut group = alice.group.lock();
    group
        .members
        .extend((2..MAX_MEMBERS).map(|n| (name(n), Member::new(request(n), 0))));
    drop(group);
    assert_eq!(alice.approves("user 1"), Ok(()));
    assert_eq!(alice.approves("carol"), Err(Refusal::GroupFull));
    alice.kicks("user 2").unwrap();
    assert_eq!(alice.approves("carol"), Ok(()));
}

#[test]
fn group_is_forgettable_when_its_admin_alone_is_left_and_offline() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    let is_forgettable = || alice.group.lock().is_forgettable();
    assert!(!is_forgettable());
    alice.leaves();
    assert!(is_forgettable());
    let alice = kit.joins("alice");
    kit.joins("bob").leaves();
    alice.approves("bob").unwrap();
    alice.leaves();
    assert!(!is_forgettable(), "bob is a member");
    let alice = kit.joins("alice");
    alice.kicks("bob").unwrap();
    let carol = kit.joins("carol");
    alice.leaves();
    assert!(!is_forgettable(), "carol waits");
    carol.leaves();
    assert!(is_forgettable(), "who has asked and left can ask again");
}

// ---- names and keys ----

fn key() -> PublicKey {
    Identity::generate().public()
}

#[test]
fn a_name_that_came_with_a_key_is_for_that_key_only() {
    let (kit, alices) = (Kit::new(), key());
    let alice = kit.tries_with_key("alice", alices).unwrap();
    alice.hears(&["/adminReady"]);
    let owned = Some(Refusal::NameOwned(alice.client.name.clone()));
    for is_here in [true, false] {
        assert_eq!(kit.tries_to_join("alice").err(), owned);
        assert_eq!(kit.tries_with_key("alice", key()).err(), owned);
        alice.hears_nothing();
        if is_here {
            alice.leaves();
        }
    }
    kit.tries_with_key("alice", alices)
        .unwrap()
        .hears(&["/ready"]);
}

#[test]
fn the_same_key_takes_an_old_connection_over_at_once() {
    let (kit, alices) = (Kit::new(), key());
    let alice = kit.tries_with_key("alice", alices).unwrap();
    let bob = kit.joins("bob");
    alice.approves("bob").unwrap();
    let again = kit.tries_with_key("alice", alices).unwrap();
    again.hears(&["/ready"]);
    alice.hears(&[
        "/adminReady",
        "/requested from:10.0.0.1 bob",
        "/closing taken-over",
        "<end: its user has connected again>",
    ]);
    // The goodbye of the old one comes late, and the new one stays.
    alice.leaves();
    bob.says("hello").unwrap();
    again.hears(&["bob: hello"]);
    alice.hears_nothing();
    assert_eq!(alice.says("hi"), Err(Refusal::NotMember));
}

#[test]
fn the_same_key_takes_over_while_it_waits_too() {
    let (kit, bobs) = (Kit::new(), key());
    let alice = kit.joins("alice");
    let bob = kit.tries_with_key("bob", bobs).unwrap();
    let owned = Some(Refusal::NameOwned(bob.client.name.clone()));
    assert_eq!(kit.tries_to_join("bob").err(), owned);
    let again = kit.tries_with_key("bob", bobs).unwrap();
    bob.hears(&[
        "/wait",
        "/closing taken-over",
        "<end: its user has connected again>",
    ]);
    alice.approves("bob").unwrap();
    again.hears(&["/wait", "/accepted"]);
    again.leaves();
    assert_eq!(kit.tries_to_join("bob").err(), owned);
    alice.hears(&[
        "/adminReady",
        "PyChat: bob has requested to join the group.",
    ]);
}

#[test]
fn a_name_without_a_key_is_announced_again_if_somebody_else_asks_under_it() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    alice.hears(&["/adminReady"]);
    let told = "PyChat: bob has requested to join the group.";
    kit.joins("bob").leaves();
    alice.hears(&[told]);
    kit.joins("bob").leaves();
    alice.hears_nothing();
    alice.group.lock().announcer = Announcer::default();
    kit.tries_from("bob", source(66)).unwrap().leaves();
    alice.hears(&[told]);
    alice.group.lock().announcer = Announcer::default();
    kit.tries_with_key("bob", key()).unwrap();
    alice.hears(&[told]);
}

#[test]
fn a_name_that_looks_like_one_of_the_group_is_refused() {
    let kit = Kit::new();
    let _alice = kit.joins("alice");
    let _bob = kit.joins("Jörg");
    for (name, known) in [
        ("Alice", "alice"),
        ("al\u{200D}ice", "alice"),
        ("Jo\u{308}rg", "Jörg"),
        ("JÖRG", "Jörg"),
    ] {
        let refusal = Refusal::LooksLike(UserName::parse(known).unwrap());
        assert_eq!(kit.tries_to_join(name).err(), Some(refusal), "{name}");
    }
    kit.joins("alicia");
    kit.tries_to_join_group("Alice", "another den").unwrap();
}

#[test]
fn many_requests_are_counted_in_one_line() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    for n in 0..20 {
        kit.joins(&format!("bob {n}")).leaves();
    }
    let told: Vec<_> = (0..5)
        .map(|n| format!("PyChat: bob {n} has requested to join the group."))
        .collect();
    assert_eq!(alice.output.heard()[1..], told);
    kit.shared.tell_counts(Instant::now());
    alice.hears_nothing();
    kit.shared
        .tell_counts(Instant::now() + Duration::from_secs(10));
    alice.hears(&["PyChat: 15 more requests to join the group; /1 lists them."]);
    kit.shared
        .tell_counts(Instant::now() + Duration::from_secs(20));
    alice.hears_nothing();
}

#[test]
fn a_request_that_was_answered_meanwhile_is_not_counted_any_more() {
    for (n_left, told) in [
        (
            1,
            Some("PyChat: 1 more request to join the group; /1 lists them."),
        ),
        (0, None),
    ] {
        let kit = Kit::new();
        let alice = kit.joins("alice");
        for n in 0..8 {
            kit.joins(&format!("bob {n}")).leaves();
        }
        for n in n_left..8 {
            alice.approves(&format!("bob {n}")).unwrap();
        }
        alice.output.heard();
        kit.shared
            .tell_counts(Instant::now() + Duration::from_secs(10));
        alice.hears(told.as_slice());
    }
}

#[test]
fn who_is_banned_stays_out_by_name_key_and_address_until_it_is_lifted() {
    let (kit, bobs) = (Kit::new(), key());
    let alice = kit.joins("alice");
    let bob = kit.tries_with_key("bob", bobs).unwrap();
    alice.approves("bob").unwrap();
    let ban = |name: &str, with_address| {
        let name = UserName::parse(name).unwrap();
        alice.group.lock().ban(&alice.client, name, with_address)
    };
    let is_online =
        |banned: &Banned| matches!(banned, Banned::Member(it) if it.holder.client.is_some());
    assert!(ban("bob", false).is_ok_and(|banned| is_online(&banned)));
    assert_eq!(bob.says("hi"), Err(Refusal::NotMember));
    assert_eq!(kit.tries_to_join("BOB").err(), Some(Refusal::Banned));
    let other_name = kit.tries_with_key("rob", bobs).err();
    assert_eq!(other_name, Some(Refusal::Banned));

    let carol = kit.tries_from("carol", source(66)).unwrap();
    assert!(matches!(ban("carol", true), Ok(Banned::Other(Some(_)))));
    carol.hears(&["/wait"]);
    let neighbour = kit.tries_from("dave", source(66)).err();
    assert_eq!(neighbour, Some(Refusal::Banned));
    kit.joins("dave").hears(&["/wait"]);

    assert!(matches!(ban("nobody yet", false), Ok(Banned::Other(None))));
    assert_eq!(ban("Alice", false).err(), Some(Refusal::AdminStays));
    let banned = |group: &Group| group.banned(&alice.client).unwrap();
    assert_eq!(banned(&alice.group.lock()).len(), 3);
    let bob = UserName::parse("bob").unwrap();
    alice.group.lock().unban(&alice.client, &bob).unwrap();
    let again = alice.group.lock().unban(&alice.client, &bob);
    assert_eq!(again, Err(Refusal::NotBanned(bob)));
    kit.tries_with_key("bob", bobs).unwrap().hears(&["/wait"]);
}

#[test]
fn what_the_group_knows_of_a_name() {
    let kit = Kit::new();
    let alices = key();
    let alice = kit.tries_with_key("alice", alices).unwrap();
    kit.joins("bob").leaves();
    let who_is = |name: &str| {
        let who = alice.group.lock().who_is(&alice.client, name);
        who.map(|who| who.to_string())
    };
    let proven = format!(
        "alice: the admin, online, name proven by the key {}",
        alices.fingerprint()
    );
    assert_eq!(who_is("alice"), Ok(proven));
    let unproven = "bob: asks to join, offline, name not proven: it came without a key";
    assert_eq!(who_is("bob"), Ok(unproven.into()));
    assert_eq!(who_is("carol"), Err(Refusal::NoMember("carol".into())));
}
