//! Tests of the dialogues, of commands typed ahead, of waiting, and of how a session ends.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::net::deadlines::Awaited;
use crate::seal::Key;
use crate::server::testkit::{DEN, Kit, Person, Script};
use crate::wire::frame::MAX_FRAME;
use crate::wire::name_set::NAME_OVERHEAD;

const CLOSED: &str = "The connection is closed: ";

// ---- dialogues ----

const BUSY: &str = "You were typing something else meanwhile: please try again.";

/// The dialogues of the admin, in the order of the protocol's table. `|` stands between the steps: what the client says, `>`, the
/// reply. The reply to the first is its echo.
const TALKS: &[&str] = &[
    r#"/viewRequests | . > /sendingData | /readyForData > {"carol"}"#,
    "/approveRequest | . > /proceed | carol > carol is now a member of the group.",
    "/approveRequest | . > /proceed | bob > Nobody called 'bob' has asked to join; /1 lists who has.",
    "/approveRequest | . > /proceed | !carol > The request of carol is denied.",
    "/approveRequest | . > /proceed | !bob > Nobody called 'bob' has asked to join; /1 lists who has.",
    r#"/allMembers | . > {"alice", "bob", "gone"}"#,
    r#"/onlineMembers | . > {"alice", "bob"}"#,
    "/changeAdmin | . > /proceed | gone > gone is now the admin of the group.",
    "/changeAdmin | . > /proceed | alice > You are the admin already.",
    "/whoAdmin | the den > Admin: alice",
    "/whoAdmin | elsewhere > You are in the group the den; ask about that one.",
    "/kickMember | . > /proceed | gone > gone is not a member of the group any more.",
    "/kickMember | . > /proceed | alice > The admin cannot be kicked; hand the role over first, with /6.",
    "/kickMember | . > /proceed | carol > The group has no member called 'carol'; /4 lists the members.",
    "/fileTransfer | ~error~",
    "/fileTransfer | a.txt > /sendFile | 0 > a.txt was not shared.",
    "/messageSend | hello",
];

/// Those of a member who has no right to more.
const MEMBER_TALKS: &[&str] = &[
    "/viewRequests | . > Only the admin of the group may do this.",
    "/approveRequest | . > Only the admin of the group may do this.",
    "/changeAdmin | . > Only the admin of the group may do this.",
    "/kickMember | . > Only the admin of the group may do this.",
    r#"/allMembers | . > {"alice", "bob", "gone"}"#,
    "/whoAdmin | the den > Admin: alice",
];

/// Those of a member who is kicked after the first step.
const KICKED_TALKS: &[&str] = &[
    "/allMembers | . > {}",
    "/whoAdmin | the den > This is for members, and you are not a member of the group any more.",
    "/viewRequests | . > This is for members, and you are not a member of the group any more.",
    "/kickMember | . > This is for members, and you are not a member of the group any more.",
    "/messageSend | I am still here",
    "/fileTransfer | ~error~",
];

/// The steps of a talk: what the client says, and what it hears then.
fn steps(talk: &str) -> Vec<(&str, Vec<&str>)> {
    let step = |(at, step): (usize, _)| match str::split_once(step, " > ") {
        Some((text, reply)) => (text, vec![reply]),
        None if at == 0 => (step, vec![step]),
        None => (step, vec![]),
    };
    talk.split(" | ").enumerate().map(step).collect()
}

/// Alice, who administers the group, and bob are there; gone is offline; carol waits.
fn people(kit: &Kit) -> [Person<'_>; 3] {
    let [alice, bob, gone] = kit.members(["alice", "bob", "gone"]);
    gone.leaves();
    let carol = kit.joins("carol");
    for person in [&alice, &bob, &carol] {
        person.output.heard();
    }
    [alice, bob, carol]
}

/// Plays a talk. While it lasts the other says something after each step, and is heard right behind the last.
fn plays<'a>(mut script: Script<'a>, talk: &str, other: &'a Person<'a>) -> Script<'a> {
    let mut lines = Vec::new();
    let n_steps = steps(talk).len();
    for (at, (text, mut replies)) in steps(talk).into_iter().enumerate() {
        if at + 1 == n_steps {
            replies.extend(lines.iter().map(String::as_str));
            return script.says(text).hears(&replies);
        }
        let text_then = format!("while you are at {at}");
        lines.push(command::line(&other.client.name, &text_then));
        script = script
            .says(text)
            .hears(&replies)
            .then(move || other.says(&text_then).unwrap());
    }
    script
}

#[test]
fn dialogues_go_as_the_table_says_and_events_wait_until_they_end() {
    for talk in TALKS {
        let kit = Kit::new();
        let [alice, bob, _carol] = people(&kit);
        alice.leaves();
        plays(kit.python("alice"), talk, &bob)
            .then(|| bob.says("again").unwrap())
            .hears(&["bob: again"])
            .departs(Departure::HungUp);
    }
    for talk in MEMBER_TALKS {
        let kit = Kit::new();
        let [alice, bob, _carol] = people(&kit);
        bob.leaves();
        plays(kit.python("bob"), talk, &alice)
            .then(|| alice.says("again").unwrap())
            .hears(&["alice: again"])
            .departs(Departure::HungUp);
    }
}

#[test]
fn fernchat_client_gets_results_marked() {
    let kit = Kit::new();
    let [alice, bob, _carol] = people(&kit);
    alice.leaves();
    kit.fernchat("alice")
        .says("/approveRequest")
        .says(".")
        .says("carol")
        .hears(&[
            "/approveRequest",
            "/proceed",
            "/news joined carol",
            "/result carol is now a member of the group.",
        ])
        .says("/whoAdmin")
        .says("the den")
        .hears(&["/whoAdmin", "/result Admin: alice"])
        .departs(Departure::HungUp);
    bob.leaves();
    kit.fernchat("bob")
        .says("/viewRequests")
        .says(".")
        .hears(&[
            "/viewRequests",
            "/result Only the admin of the group may do this.",
        ])
        .departs(Departure::HungUp);
}

#[test]
fn what_is_decided_reaches_whom_it_is_about() {
    let decide = |command: &str, name: &str| {
        let kit = Kit::new();
        let [alice, bob, carol] = people(&kit);
        alice.leaves();
        let script = kit.python("alice").says(command).says(".").says(name);
        script.departs(Departure::HungUp);
        (bob.output.heard(), carol.output.heard())
    };
    let nothing = Vec::<String>::new;
    let told = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let cases = [
        ("/approveRequest", "carol", nothing(), told(&["/accepted"])),
        (
            "/approveRequest",
            "!carol",
            nothing(),
            told(&[
                "/accepted",
                "PyChat: The admin denied your request to join.",
                "/kicked",
                "<end: denied>",
            ]),
        ),
        (
            "/changeAdmin",
            "bob",
            told(&["PyChat: alice made you the admin of the group."]),
            nothing(),
        ),
        (
            "/kickMember",
            "bob",
            told(&["/kicked", "<end: kicked>"]),
            nothing(),
        ),
    ];
    for (command, name, bob, carol) in cases {
        assert_eq!(decide(command, name), (bob, carol), "{command} {name}");
    }
}

#[test]
fn fernchat_client_that_waits_is_told_of_a_denial_in_one_word() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    alice.leaves();
    let fred = kit
        .tries_to_join_with(Dialect::Fernchat, "fred", DEN)
        .unwrap();
    kit.python("alice")
        .says("/approveRequest")
        .says(".")
        .says("!fred")
        .departs(Departure::HungUp);
    fred.hears(&[
        "/wait",
        "/refused denied The admin denied your request to join.",
        "<end: denied>",
    ]);
}

#[test]
fn goodbye_is_a_dialogue_too() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    let output = kit
        .python("alice")
        .says("/disconnect")
        .hears(&["/disconnect"])
        .then(|| bob.says("farewell").unwrap())
        .hears_nothing()
        .says(".")
        .departs(Departure::Left);
    output.hears(&["<end: left>"]);
    kit.joins("alice").hears(&["/ready", "bob: farewell"]);
}

#[test]
fn message_is_heard_by_every_other_member_whatever_it_says() {
    let kit = Kit::new();
    let [alice, bob, carol] = kit.members(["alice", "bob", "carol"]);
    alice.leaves();
    for text in [
        "hello",
        "",
        ".",
        "/disconnect",
        "/messageSend",
        "/sendFilename",
        "/waitDisconnect",
        "~error~",
        "bob: hi",
        "ü\n",
    ] {
        kit.python("alice")
            .says("/messageSend")
            .hears(&["/messageSend"])
            .says(text)
            .hears_nothing()
            .departs(Departure::HungUp);
        let line = format!("alice: {text}");
        bob.hears(&[&line]);
        carol.hears(&[&line]);
    }
}

#[test]
fn frames_that_are_no_commands_are_nothing() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    let texts = [
        ".",
        "hello",
        "/accepted",
        "/sendFile",
        "/sendFilename",
        "/waitDisconnect",
        "/AllMembers",
        "",
    ];
    let script = kit.python("alice");
    texts
        .iter()
        .fold(script, |script, text| script.says(text).hears_nothing())
        .says("/allMembers")
        .hears(&["/allMembers"])
        .departs(Departure::HungUp);
    bob.hears_nothing();
}

// ---- commands typed ahead ----

#[test]
fn command_typed_ahead_runs_next_wherever_it_comes() {
    let admin = TALKS.iter().map(|talk| ("alice", talk));
    let member = MEMBER_TALKS.iter().map(|talk| ("bob", talk));
    for (name, talk) in admin.chain(member) {
        let n_steps = steps(talk).len();
        for at in 1..n_steps {
            if talk.starts_with("/messageSend") {
                continue;
            }
            let kit = Kit::new();
            let people = people(&kit);
            let is_named = |person: &&Person| person.client.name.as_str() == name;
            people.iter().filter(is_named).for_each(Person::leaves);
            let mut script = kit.python(name);
            for (step, (text, mut replies)) in steps(talk).into_iter().enumerate() {
                if step == at {
                    script = script.says("/whoAdmin").says("/disconnect").hears_nothing();
                }
                if step + 1 == n_steps {
                    replies.push("/whoAdmin");
                }
                script = script.says(text).hears(&replies);
            }
            script
                .says("elsewhere")
                .hears(&[
                    "You are in the group the den; ask about that one.",
                    "/disconnect",
                ])
                .says(".")
                .departs(Departure::Left);
        }
    }
}

#[test]
fn message_typed_ahead_of_an_admin_s_dialogue_makes_it_try_again() {
    for command in ["/approveRequest", "/changeAdmin", "/kickMember"] {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        alice.leaves();
        kit.python("alice")
            .says(command)
            .hears(&[command])
            .says("/messageSend")
            .hears_nothing()
            .says(".")
            .hears(&[BUSY, "/messageSend"])
            .says("hello")
            // Where the name is due, it is too late to refuse, and no harm.
            .says(command)
            .says(".")
            .hears(&[command, "/proceed"])
            .says("/messageSend")
            .hears_nothing()
            .says("nobody")
            .then(|| bob.hears(&["alice: hello"]))
            .says("again")
            .departs(Departure::HungUp);
        bob.hears(&["alice: again"]);
    }
}

#[test]
fn more_commands_typed_ahead_than_anybody_types_end_the_connection() {
    let kit = Kit::new();
    let all = kit.bytes("/allMembers").repeat(MAX_HELD + 1);
    let one = all.len() / (MAX_HELD + 1);
    let set: &[&str] = &[r#"{"alice"}"#, "/allMembers"];
    kit.python("alice")
        .says("/allMembers")
        .sends(&all[one..])
        .hears(&["/allMembers"])
        .says(".")
        .hears(set)
        .departs(Departure::HungUp);
    let reason = format!("more than {MAX_HELD} commands typed ahead");
    kit.python("alice")
        .says("/allMembers")
        .sends(&all)
        .departs(Departure::Broke(reason));
}

// ---- waiting ----

#[test]
fn waiting_client_s_commands_take_no_effect() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    let script = Command::ALL
        .iter()
        .fold(kit.python("carol"), |script, (_, word)| {
            script
                .says(word)
                .hears_nothing()
                .says(".")
                .says("hello")
                .hears_nothing()
        });
    script
        .then(|| alice.approves("carol").unwrap())
        .then(|| alice.says("welcome").unwrap())
        .hears(&["/accepted", "alice: welcome"])
        .says("/whoAdmin")
        .hears(&["/whoAdmin"])
        .departs(Departure::HungUp);
    bob.hears(&[
        "PyChat: carol has requested to join the group.",
        "alice: welcome",
    ]);
}

#[test]
fn waiting_client_leaves_and_its_request_stays() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    let output = kit
        .python("carol")
        .says("/waitDisconnect")
        .departs(Departure::Left);
    output.hears(&["/waitDisconnect", "<end: left>"]);
    alice.approves("carol").unwrap();
    kit.joins("carol").hears(&["/ready"]);
}

#[test]
fn goodbye_of_a_waiting_client_that_crosses_with_its_approval_is_ignored() {
    let kit = Kit::new();
    let alice = kit.joins("alice");
    kit.python("carol")
        .then(|| alice.approves("carol").unwrap())
        .hears(&["/accepted"])
        .says("/waitDisconnect")
        .hears_nothing()
        .says("/disconnect")
        .hears(&["/disconnect"])
        .says(".")
        .departs(Departure::Left);
}

// ---- endings ----

#[test]
fn member_that_breaks_the_protocol_is_told_so_and_is_offline() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    let long = vec![b'a'; MAX_TEXT + 1];
    let not_open = sealed_frame(&Key::generate(), "hello").bytes;
    let cases: [(&[u8], WireError); 6] = [
        (&not_open, WireError::NotOpened),
        (&kit.bytes(b"\xff\xfe"), WireError::NotUtf8),
        (&kit.bytes(&long), WireError::TextTooLong(long.len())),
        (b"hello", WireError::NoLength),
        (&[0, 0, 0, 99], WireError::NoTokenIs(99)),
        (
            &[0, 16, 0, 4],
            WireError::TooLong {
                length: MAX_FRAME + 4,
                limit: MAX_FRAME,
            },
        ),
    ];
    for (bytes, error) in cases {
        for command in ["/nothing", "/messageSend", "/allMembers"] {
            let is_echoed = usize::from(command != "/nothing");
            let reason = format!("{CLOSED}{error}.");
            let end = format!("<end: broke the protocol: {error}>");
            let output = kit
                .python("alice")
                .says(command)
                .sends(bytes)
                .departs(Departure::Broke(error.to_string()));
            let said = format!("PyChat: {reason}");
            output.hears(&[command, &said, "/kicked", &end][1 - is_echoed..]);
            let output = kit
                .fernchat("alice")
                .says(command)
                .sends(bytes)
                .departs(Departure::Broke(error.to_string()));
            output.hears(&[command, &format!("/closing {reason}"), &end][1 - is_echoed..]);
        }
    }
    bob.hears_nothing();
    assert_eq!(
        bob.group.lock().members_online(&bob.client).unwrap().len(),
        1
    );
}

#[test]
fn waiting_client_that_breaks_the_protocol_is_ended_in_words_that_it_knows() {
    let kit = Kit::new();
    let _alice = kit.joins("alice");
    let (foreign, departure) = (
        sealed_frame(&Key::generate(), "hello").bytes,
        Departure::from(WireError::NotOpened),
    );
    let end = format!("<end: {departure}>");
    let output = kit
        .python("carol")
        .sends(&foreign)
        .departs(departure.clone());
    output.hears(&["/waitDisconnect", &end]);
    let output = kit.fernchat("carol").sends(&foreign).departs(departure);
    let closing = format!("/closing {CLOSED}{}.", WireError::NotOpened);
    output.hears(&[&closing, &end]);
}

#[test]
fn longest_text_is_passed_on() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    let text = "a".repeat(MAX_TEXT);
    kit.python("alice")
        .says("/messageSend")
        .says(&text)
        .departs(Departure::HungUp);
    bob.hears(&[&format!("alice: {text}")]);
}

#[test]
fn client_that_vanishes_anywhere_is_offline_and_nobody_hears_of_it() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    alice.leaves();
    let token = kit.shared.key.seal(b"file");
    let length = kit.bytes(token.len().to_string());
    let bytes = [
        &kit.bytes("/messageSend"),
        &kit.bytes("hello"),
        &kit.bytes("/fileTransfer"),
        &kit.bytes("a.txt"),
        &length,
        &token.as_bytes()[..99],
    ]
    .concat();
    for at in 0..=bytes.len() {
        kit.python("alice")
            .sends(&bytes[..at])
            .departs(Departure::HungUp);
        let heard = bob.output.heard();
        assert!(heard.is_empty() || heard == ["alice: hello"], "{heard:?}");
    }
    assert_eq!(
        bob.group.lock().members_online(&bob.client).unwrap().len(),
        1
    );
}

#[test]
fn member_kicked_in_a_dialogue_hears_its_end_and_then_of_the_kick() {
    for talk in KICKED_TALKS {
        let kit = Kit::new();
        let [alice, bob] = kit.members(["alice", "bob"]);
        bob.leaves();
        let [(command, echo), (answer, replies)] = &steps(talk)[..] else {
            panic!("{talk}");
        };
        let last = [&replies[..], &["/kicked", "<end: kicked>"]].concat();
        kit.python("bob")
            .says(command)
            .hears(echo)
            .then(|| alice.throws_out("bob"))
            .then(|| alice.says("he is out").unwrap())
            .hears_nothing()
            .says(answer)
            .hears(&last)
            .says("/messageSend")
            .says("and again")
            .hears_nothing()
            .departs(Departure::Ended("kicked".into()));
        alice.hears_nothing();
    }
}

#[test]
fn names_that_do_not_fit_into_a_text_are_counted_in_one_that_nobody_can_have() {
    let kit = Kit::new();
    kit.joins("alice").leaves();
    // The longest names that there are: 256 bytes.
    let last = |n| char::from_u32(0x2_0000 + n as u32).unwrap();
    let name = |n: usize| format!("{}{}", "\u{1F600}".repeat(63), last(n));
    let n_shown = (MAX_TEXT - 100) / (name(0).len() + NAME_OVERHEAD);
    let n_all = n_shown + 20;
    (0..n_all).for_each(|n| kit.joins(&name(n)).leaves());
    let rest = "...: and 20 more";
    assert!(UserName::parse(rest).is_err());
    let set: BTreeSet<String> = (0..n_shown).map(name).chain([rest.to_owned()]).collect();
    let n_bytes = name_set::encode(set.iter().map(String::as_str)).len();
    assert!((MAX_TEXT - 300..=MAX_TEXT).contains(&n_bytes), "{n_bytes}");
    kit.python("alice")
        .says("/viewRequests")
        .says(".")
        .hears(&["/viewRequests", "/sendingData"])
        .says("/readyForData")
        .hears(&[&format!("{set:?}")])
        .departs(Departure::HungUp);
}

#[test]
fn kicked_member_that_does_not_finish_its_dialogue_is_ended_after_a_minute() {
    let kit = Kit::new();
    let [alice, bob] = kit.members(["alice", "bob"]);
    assert!(bob.opens_dialogue());
    alice.throws_out("bob");
    bob.hears_nothing();
    let after = |secs| Instant::now() + Duration::from_secs(secs);
    let outbox = &bob.client.outbox;
    assert!(!outbox.is_overdue(after(59)));
    assert!(outbox.is_overdue(after(61)));
    assert_eq!(outbox.ending(), Some(&Awaited::Finish.departure().unwrap()));
}

#[test]
fn admin_who_loses_the_role_while_a_name_is_due_is_refused() {
    let kit = Kit::new();
    let [alice, bob, _carol] = people(&kit);
    alice.leaves();
    kit.python("alice")
        .says("/kickMember")
        .says(".")
        .hears(&["/kickMember", "/proceed"])
        .then(|| {
            let alice = kit.shared.table.all()[0]
                .1
                .lock()
                .online()
                .next()
                .cloned()
                .unwrap();
            let notice = kit.frame("PyChat: bob is the admin");
            bob.group.lock().hand_over(&alice, "bob", &notice).unwrap();
        })
        .says("bob")
        .hears(&["Only the admin of the group may do this."])
        .departs(Departure::HungUp);
}
