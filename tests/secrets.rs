//! What is kept from whom: closed servers and room keys, against everybody who should not hear, through the front door.

mod support;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fernet::Fernet;
use support::python::{Python, approves, content};
use support::sealed::{Sealed, at, mutations, yesterday};
use support::{
    Peer, Program, Server, Tap, client, ends_badly, ends_well, fernchat, folder, home_of,
    memory_holds, opened,
};

/// Each accent is one character with its letter.
const PHRASE: &str = "le caf\u{e9} des \u{e2}nes";

/// A file that only its owner can read, with this text.
fn private(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn closed_server(folder: &Path) -> (Server, String) {
    let secret = private(folder, "secret", &format!("{PHRASE}\n"));
    (Server::start_with(&["--secret-file", &secret]), secret)
}

/// Both members of the group `team`, with these options each.
fn two_members(port: u16, options: [&[&str]; 2]) -> [Program; 2] {
    let mut alice = client(port, "alice", options[0]);
    alice.hears("The group team is new");
    let mut bob = client(port, "bob", options[1]);
    bob.hears("You wait for the admin of team");
    approves(&mut alice, "bob");
    bob.hears("You have been approved");
    [alice, bob]
}

// ---- closed servers ----

#[test]
fn those_with_the_secret_chat_and_share_files() {
    let home = folder();
    let (mut server, secret) = closed_server(home.path());
    let downloads = home.path().display().to_string();
    // The same phrase as another system writes it: UTF-16, with a byte-order mark, and each accent behind its letter.
    let text = "\u{feff}le cafe\u{301} des a\u{302}nes\r\n".encode_utf16();
    let bytes: Vec<u8> = text.flat_map(u16::to_le_bytes).collect();
    let same_secret = private(home.path(), "same", "");
    fs::write(&same_secret, bytes).unwrap();
    let [mut alice, mut bob] = two_members(
        server.port,
        [
            &["--secret-file", &secret],
            &["--secret-file", &same_secret, "--downloads", &downloads],
        ],
    );
    alice.types("hello");
    bob.hears_next("alice: hello");
    fs::write(home.path().join("plan"), content(100_000)).unwrap();
    alice.types(&format!("/9 {downloads}/plan"));
    alice.hears("plan is on its way to 1 member.");
    bob.hears("Received plan from alice: ");
    assert_eq!(
        fs::read(home.path().join("plan (1)")).unwrap(),
        content(100_000)
    );
    alice.types("/3");
    ends_well(&mut alice);
    server.program.signal("TERM");
    server.program.ends();
    for program in [&mut server.program, &mut alice, &mut bob] {
        program.rest();
        assert!(
            !program
                .log_so_far()
                .iter()
                .any(|line| line.contains(PHRASE) || line.contains("hello"))
        );
    }
}

#[test]
fn python_derives_the_same_key_from_the_same_secret() {
    let home = folder();
    let (server, secret) = closed_server(home.path());
    let Some(mut peer) = Peer::connect_with(server.port, PHRASE) else {
        return;
    };
    peer.says("alice");
    let prompt = peer.hears_text();
    let challenge = prompt.strip_prefix("/sendGroupname fernchat/1 ").unwrap();
    peer.says(&format!("team\nfernchat/1 {challenge} mine"));
    peer.hears("/adminReady mine");
    let mut bob = server.client_with("bob", &["--secret-file", &secret]);
    bob.hears("You wait for the admin of team");
    let request = peer.hears_text();
    assert!(request.starts_with("/requested key:") && request.ends_with(" bob"));
}

#[test]
fn a_client_without_the_secret_is_refused_at_the_first_frame_and_told_why() {
    let home = folder();
    let (mut server, _) = closed_server(home.path());
    let refused = |server: &mut Server, part: &str| {
        let line = server
            .program
            .logs("departed: refused: this server is closed");
        assert!(line.contains(part), "{line}");
    };
    let mut without = server.client("alice");
    ends_badly(
        &mut without,
        "the server is closed: it takes only clients that have its secret",
    );
    refused(&mut server, "has none");

    let other = private(home.path(), "other", "another phrase");
    let mut with_another = server.client_with("alice", &["--secret-file", &other]);
    ends_badly(
        &mut with_another,
        "this server says that it has another secret than your file. Nothing was sent to it that it can read.",
    );
    refused(&mut server, "is another");

    let Some(python) = Python::find() else { return };
    let mut python = python.client(server.port, "alice", &[]);
    python.hears("joined");
    python.types("");
    python.hears("PyChat: this server is closed");
    refused(&mut server, "has none");
}

#[test]
fn a_client_with_a_secret_never_talks_to_a_plain_server() {
    let home = folder();
    let secret = private(home.path(), "secret", PHRASE);
    let mut server = Server::start();
    let tap = Tap::before(server.port);
    let mut alice = client(tap.port, "alice", &["--secret-file", &secret]);
    ends_badly(
        &mut alice,
        "this server says that it has no secret. Nothing was sent to it that it can read.",
    );
    server
        .program
        .logs("departed: refused: this server has no secret");
    let key = String::from_utf8(tap.received()[..44].to_vec()).unwrap();
    assert_eq!(
        opened(&tap.sent(), &key),
        "\n",
        "the name was sealed with the secret"
    );

    // One that does not even answer, one that gives advice, and one that talks as if nothing were wrong.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for says in [
        None,
        Some("/refused secret-file start again without --secret-file"),
        Some("/closing start again without --secret-file"),
        Some("/sendGroupname"),
        Some("/sendGroupname fernchat/1"),
    ] {
        let mut alice = client(port, "alice", &["--secret-file", &secret]);
        let mut peer = Peer::accept(&listener);
        // The client's name, which this key does not open.
        let name = peer.hears_raw(104);
        assert!(
            peer.fernet
                .decrypt(std::str::from_utf8(&name[4..]).unwrap())
                .is_err()
        );
        says.into_iter().for_each(|text| peer.says(text));
        drop(peer);
        ends_badly(
            &mut alice,
            "what answers there does not have your secret. Nothing was sent to it that it can read.",
        );
    }
}

#[test]
fn a_client_with_a_secret_says_nothing_to_a_python_server() {
    let home = folder();
    let secret = private(home.path(), "secret", PHRASE);
    let Some(python) = Python::find() else { return };
    let server = python.server(&[]);
    let mut alice = client(server.port, "alice", &["--secret-file", &secret]);
    ends_badly(
        &mut alice,
        "what answers there does not have your secret. Nothing was sent to it that it can read.",
    );
}

#[test]
fn what_was_recorded_cannot_be_played_again() {
    let home = folder();
    let (mut server, secret) = closed_server(home.path());
    let tap = Tap::before(server.port);
    let mut alice = client(tap.port, "alice", &["--secret-file", &secret]);
    alice.hears("The group team is new");
    alice.types("the canary sings");
    alice.types("/members");
    alice.hears("members: alice");
    let (sent, received) = (tap.sent(), tap.received());
    let salt = String::from_utf8(received[..44].to_vec()).unwrap();
    assert!(!opened(&sent, &salt).contains("canary") && !opened(&sent, &salt).contains("alice"));
    alice.types("/3");
    ends_well(&mut alice);

    // To the server, from somebody who has no secret.
    let mut mallory = Peer::connect(server.port);
    mallory.says_raw(&sent);
    server
        .program
        .logs("refused: the answer to this server's challenge is missing");

    // To a client, from such a one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut bob = client(port, "alice", &["--secret-file", &secret]);
    let (mut mallory, _) = listener.accept().unwrap();
    mallory.write_all(&received).unwrap();
    assert_eq!(bob.ends().code(), Some(1));
    assert_eq!(
        bob.rest().len(),
        1,
        "that it derives the key, and nothing of the recording"
    );
    bob.logs("a frame that is not the answer to joining");
}

#[test]
fn what_is_wrong_with_a_secret_is_said_with_the_remedy() {
    let home = folder();
    let short = private(home.path(), "short", "eleven char\n");
    let two = private(home.path(), "two", "two lines of\nsome length");
    let simple = private(home.path(), "simple", "abcdeabcdeabcdeabcde\n");
    let long = private(home.path(), "long", &"a phrase of many ".repeat(64));
    let missing = home.path().join("missing").display().to_string();
    for (path, part) in [
        (&short, "one line of at least 12 characters"),
        (&two, "holds no secret"),
        (&simple, "6 of them different"),
        (&long, "it is longer than 1024 bytes"),
        (&missing, "cannot read"),
    ] {
        for command in ["server", "client"] {
            let output = fernchat()
                .args([command, "127.0.0.1", "0", "--secret-file", path])
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1));
            assert!(
                said.starts_with("error: ")
                    && said.contains(part)
                    && said.contains("fernchat keygen"),
                "{said}"
            );
            assert!(!said.contains("eleven") && !said.contains("some length"));
        }
    }
}

#[test]
fn a_file_that_others_may_read_or_change_draws_a_warning() {
    let home = folder();
    let (key, _) = room_key(home.path());
    for (mode, what) in [
        (0o644, Some("read")),
        (0o640, Some("read")),
        (0o622, Some("change")),
        (0o602, Some("change")),
        (0o620, Some("change")),
        (0o606, Some("read and change")),
        (0o600, None),
    ] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = fernchat();
        command.args(["relay-client", "127.0.0.1", "1", "--name", "bob"]);
        let output = command.args(["--key-file", &key]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let warning = said.split("others on this machine can ").nth(1);
        let warned = warning.and_then(|warning| warning.split(" the file").next());
        assert_eq!(warned, what, "{mode:o} {said}");
    }
}

#[test]
fn a_key_that_systemd_lends_draws_no_advice_about_its_mode() {
    let home = folder();
    let (key, _) = room_key(home.path());
    fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
    for (folder, is_lent) in [(home.path(), true), (Path::new("/nowhere"), false)] {
        let mut command = fernchat();
        command
            .args(["relay-client", "127.0.0.1", "1", "--name", "bob"])
            .args(["--key-file", &key])
            .env("CREDENTIALS_DIRECTORY", folder);
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        assert_eq!(!said.contains("chmod"), is_lent, "{said}");
    }
}

#[test]
fn a_key_can_come_from_a_pipe_and_what_follows_it_is_said() {
    let home = folder();
    let (key, _) = room_key(home.path());
    let text = fs::read_to_string(&key).unwrap();
    let server = Server::start();
    let mut alice = server.client_with("alice", &["--room-key-file", "/dev/stdin"]);
    alice.types(text.trim());
    alice.hears("The group team is new");
    let mut command = Command::new("bash");
    let port = server.port.to_string();
    command
        .env("XDG_CONFIG_HOME", home_of("bob"))
        .args(["-c", "exec \"$0\" client 127.0.0.1 \"$1\" --name bob --group team --room-key-file <(cat \"$2\")"])
        .args([env!("CARGO_BIN_EXE_fernchat"), &port, &key]);
    let mut bob = Program::start(command);
    bob.hears("You wait for the admin of team");
    approves(&mut alice, "bob");
    alice.types("from a pipe");
    hears_sealed(&mut bob, "alice: from a pipe");
    bob.types("from another");
    hears_sealed(&mut alice, "bob: from another");
}

#[test]
fn of_a_key_in_the_environment_one_copy_stays_in_memory() {
    use std::os::unix::fs::FileExt;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let key = Fernet::generate_key();
    // The blanks do not count. With them, the text is freed as one long piece, whose middle is not used again.
    let blanks = " ".repeat(30_000);
    let mut command = fernchat();
    command
        .args(["relay-client", "127.0.0.1", &port, "--name", "bob"])
        .env("FERNCHAT_KEY", format!("{blanks}{key}{blanks}"));
    let mut bob = Program::start(command);
    bob.hears("bob joined");
    let maps = fs::read_to_string(format!("/proc/{}/maps", bob.id())).unwrap();
    let heap = maps.lines().find(|line| line.ends_with("[heap]")).unwrap();
    let (from, to) = heap.split(' ').next().unwrap().split_once('-').unwrap();
    let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
    let mut bytes = vec![0; (to - from) as usize];
    let memory = fs::File::open(format!("/proc/{}/mem", bob.id())).unwrap();
    memory.read_exact_at(&mut bytes, from).unwrap();
    let key = key.as_bytes();
    let copies = bytes.windows(key.len()).filter(|part| *part == key);
    assert_eq!(copies.count(), 1);
}

// ---- room keys ----

/// A key in a file.
fn room_key(folder: &Path) -> (String, Fernet) {
    let path = folder.join("room.key").display().to_string();
    assert!(
        fernchat()
            .args(["keygen", &path])
            .output()
            .unwrap()
            .status
            .success()
    );
    let key = fs::read_to_string(&path).unwrap();
    (path, Fernet::new(key.trim()).unwrap())
}

/// A line as it is shown to those who have the room key: with the time at which it was sealed.
#[track_caller]
fn hears_sealed(program: &mut Program, line: &str) {
    let heard = program.hears(line);
    assert!(
        heard.starts_with('[')
            && heard.ends_with(line)
            && heard.len() == "[09:05:00] ".len() + line.len(),
        "{heard}"
    );
}

#[test]
fn the_server_holds_nothing_of_what_is_sealed_with_a_room_key_nor_does_the_wire() {
    let home = folder();
    let (key, _) = room_key(home.path());
    let mut server = Server::start();
    let tap = Tap::before(server.port);
    let mut alice = client(tap.port, "alice", &["--room-key-file", &key]);
    alice.hears("The group team is new");
    let mut bob = server.client_with("bob", &["--room-key-file", &key]);
    bob.hears("You wait");
    approves(&mut alice, "bob");
    alice.types("the canary sings");
    hears_sealed(&mut bob, "alice: the canary sings");
    assert!(
        memory_holds(server.program.id(), b"alice"),
        "the search works"
    );
    assert!(!memory_holds(server.program.id(), b"canary sings"));
    let link_key = String::from_utf8(tap.received()[..44].to_vec()).unwrap();
    let texts = opened(&tap.sent(), &link_key);
    assert!(
        texts.contains("/messageSend") && !texts.contains("canary"),
        "{texts}"
    );
    server.program.signal("TERM");
    server.program.ends();
    assert!(
        !server
            .program
            .log_so_far()
            .iter()
            .any(|line| line.contains("canary"))
    );
}

#[test]
fn a_line_to_one_person_is_sealed_with_the_room_key_for_that_person() {
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let server = Server::start();
    let tap = Tap::before(server.port);
    let mut alice = client(tap.port, "alice", &["--room-key-file", &key]);
    alice.hears("The group team is new");
    let mut bob = server.client_with("bob", &["--room-key-file", &key]);
    bob.hears("You wait");
    approves(&mut alice, "bob");
    alice.types("/msg bob psst");
    hears_sealed(&mut bob, "alice (to you): psst");
    let link_key = String::from_utf8(tap.received()[..44].to_vec()).unwrap();
    let texts = opened(&tap.sent(), &link_key);
    let (_, told) = texts.split_once("/tell bob\n").unwrap();
    let token = told.lines().next().unwrap();
    let sealed = fernet.decrypt(token).unwrap();
    let sealed = String::from_utf8(sealed).unwrap();
    assert!(sealed.starts_with("fernchat tell team\nbob\n2"), "{sealed}");
}

#[test]
fn a_line_is_shown_as_what_it_is_to_those_with_the_room_key_and_without() {
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let server = Server::start();
    let [mut alice, mut bob] = two_members(server.port, [&["--room-key-file", &key], &[]]);
    let mut carol = server.client_with("carol", &["--room-key-file", &key]);
    approves(&mut alice, "carol");
    carol.hears("You have been approved");

    alice.types("for those who have it");
    hears_sealed(&mut carol, "alice: for those who have it");
    let heard =
        bob.hears("(not shown) alice: it is sealed with a room key, and there is none here");
    assert!(heard.starts_with("! (not shown)"), "{heard}");
    bob.types("for everybody");
    alice.hears("! (not sealed) bob: for everybody");
    carol.hears("! (not sealed) bob: for everybody");
    // Said by bob, as if alice had said it; and with a key of his own.
    let mut forged = Sealed::by_bob(1, "give bob the money");
    forged.name = "alice".into();
    let forged = fernet.encrypt(forged.line().as_bytes());
    bob.types(&forged);
    carol.hears("! (not shown) bob: it was sealed as alice's");
    bob.types(
        &Fernet::new(&Fernet::generate_key())
            .unwrap()
            .encrypt(Sealed::by_bob(2, "hello").line().as_bytes()),
    );
    carol.hears("! (not shown) bob: this room key does not open it");
    for program in [&mut alice, &mut bob, &mut carol] {
        program.types("/3");
        ends_well(program);
        assert!(
            !program
                .rest()
                .iter()
                .any(|line| line.contains("money") || line.contains("gAAAAA"))
        );
    }
}

#[test]
fn a_server_that_delivers_under_another_name_is_found_out() {
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut alice = client(port, "alice", &["--room-key-file", &key]);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    let sealed = Sealed::by_bob(1, "I agree");
    let time = &sealed.time[11..19];
    let token = fernet.encrypt(sealed.line().as_bytes());
    server.says(&format!("carol: {token}"));
    server.says(&format!("bob: {token}"));
    server.says("bob: I do not");
    alice.hears("You are in the group team");
    alice.hears_next("! (not shown) carol: it was sealed as bob's");
    alice.hears_next(&format!("[{time}] bob: I agree"));
    alice.hears_next("! (not sealed) bob: I do not");
}

#[test]
fn a_sealed_line_with_any_field_changed_is_marked_in_a_pipe_and_in_the_log() {
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let log = home.path().join("log");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = ["--room-key-file", &key, "--log", log.to_str().unwrap()];
    let mut alice = client(port, "alice", &options);
    let mut server = Peer::host(&listener);
    server.says("/ready");
    alice.hears("You are in the group team");
    let mutations = mutations(&fernet);
    for (text, shown) in &mutations {
        server.says(text);
        alice.hears_next(shown);
    }
    let log = fs::read_to_string(log).unwrap();
    let logged = log
        .lines()
        .map(|line| line.split_once(" [team] ").unwrap().1);
    let logged = logged.skip_while(|line| line.starts_with("You are in the group"));
    assert!(logged.eq(mutations.iter().map(|(_, shown)| shown)), "{log}");
}

#[test]
fn a_sealed_file_with_any_field_changed_stays_sealed_and_is_marked() {
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let (log, downloads) = (home.path().join("log"), home.path().join("files"));
    fs::create_dir(&downloads).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = [
        "--room-key-file",
        &key,
        "--log",
        log.to_str().unwrap(),
        "--downloads",
        downloads.to_str().unwrap(),
    ];
    let mut alice = client(port, "alice", &options);
    let mut server = Peer::host_fernchat(&listener);
    alice.hears("You are in the group team");
    let other_key = Fernet::new(&Fernet::generate_key()).unwrap();
    let usual = || Sealed::by_bob(0, "the plan");
    let changed = |change: &dyn Fn(&mut Sealed)| {
        let mut sealed = usual();
        change(&mut sealed);
        fernet.encrypt(sealed.file("plan").as_bytes())
    };
    let mut altered = changed(&|_| ()).into_bytes();
    altered[60] = if altered[60] == b'A' { b'B' } else { b'A' };
    let (old, sealed_on) = (at(yesterday()), yesterday().format("%Y-%m-%d at %H:%M"));
    let why = |why: &str| Err(why.to_owned());
    let no_form = || why("its seal has no form that is known here");
    let no_key = || why("this room key does not open it");
    let mut shown = Vec::new();
    for (n, (token, expected)) in [
        (changed(&|_| ()), Ok(String::new())),
        (
            changed(&|sealed| sealed.time = old.clone()),
            Ok(format!(", sealed on {sealed_on}")),
        ),
        (
            changed(&|sealed| sealed.kind = "fernchat vote".into()),
            no_form(),
        ),
        (
            changed(&|sealed| sealed.group = "den".into()),
            why("it was sealed for the group den"),
        ),
        (changed(&|sealed| sealed.time.truncate(19)), no_form()),
        (
            changed(&|sealed| sealed.name = "alice".into()),
            why("it was sealed as alice's"),
        ),
        (
            fernet.encrypt(usual().file("plot").as_bytes()),
            why("it was sealed under another file name"),
        ),
        (
            fernet.encrypt(usual().line().as_bytes()),
            why("it was sealed as a line, and is no file"),
        ),
        (fernet.encrypt(b"the plan"), no_form()),
        (fernet.encrypt(&[b'x'; 3000]), no_form()),
        (String::from_utf8(altered).unwrap(), no_key()),
        (other_key.encrypt(usual().file("plan").as_bytes()), no_key()),
    ]
    .into_iter()
    .enumerate()
    {
        server.shares("bob", "plan", token.as_bytes());
        let line = match &expected {
            Ok(sealed) => format!("Received plan from bob{sealed}: "),
            Err(why) => format!("! (not opened) Received plan from bob, sealed, and {why}: "),
        };
        let heard = alice.hears("Received plan");
        let path = heard
            .strip_prefix(&line)
            .unwrap_or_else(|| panic!("{n}: {heard}"));
        let is_sealed =
            path.contains("plan.sealed") || path.contains("plan (") && path.ends_with(".sealed");
        assert_eq!(is_sealed, expected.is_err(), "{n}: {heard}");
        let content = fs::read_to_string(path).unwrap();
        assert_eq!(content, if is_sealed { &token } else { "the plan" }, "{n}");
        shown.push(heard);
    }
    // Not sealed at all; and the same under a name that a Python server does not say.
    server.shares("bob", "plan", b"the plan");
    shown.push(alice.hears("Received plan"));
    assert!(
        shown
            .last()
            .unwrap()
            .starts_with("! (not sealed) Received plan from bob: ")
    );
    let log = fs::read_to_string(log).unwrap();
    for line in shown {
        assert!(log.contains(&format!(" [team] {line}\n")), "{line}: {log}");
    }
}

#[test]
fn a_kicked_member_hears_nothing_more_though_its_key_is_still_good() {
    let home = folder();
    let (key, _) = room_key(home.path());
    let server = Server::start();
    let options = ["--room-key-file", &key];
    let [mut alice, mut bob] = two_members(server.port, [&options; 2]);
    alice.types("/kick bob");
    alice.hears_next("! bob is not a member of the group any more.");
    bob.hears("You have been removed from the group.");
    ends_well(&mut bob);
    let tap = Tap::before(server.port);
    let mut bob = client(tap.port, "bob", &options);
    bob.hears("You wait for the admin of team");
    alice.hears("PyChat: bob has requested to join the group.");
    alice.types("without bob");
    // A round trip of alice's, and one of bob's: what was to come to him has come.
    alice.types("/members");
    alice.hears_next("members: alice");
    bob.types("/1");
    ends_well(&mut bob);
    let link_key = String::from_utf8(tap.received()[..44].to_vec()).unwrap();
    let heard = opened(&tap.received()[44..], &link_key);
    assert_eq!(heard.lines().last(), Some("/waitDisconnect"), "{heard}");
    assert_eq!(heard.lines().count(), 3, "{heard}");
}

#[test]
fn a_file_is_sealed_twice_and_stays_sealed_without_the_room_key() {
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let server = Server::start();
    let place = |name: &str| -> PathBuf {
        let folder = home.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let options = |name: &str| ["--downloads".to_owned(), place(name).display().to_string()];
    let (with, without, at_alice) = (options("carol"), options("bob"), options("alice"));
    let alice = ["--room-key-file", &key, &at_alice[0], &at_alice[1]];
    let [mut alice, mut bob] = two_members(server.port, [&alice, &[&without[0], &without[1]]]);
    let mut carol = server.client_with("carol", &["--room-key-file", &key, &with[0], &with[1]]);
    approves(&mut alice, "carol");
    carol.hears("You have been approved");
    for size in [0, 1, 15, 16, 17, 1000, 300_000] {
        let path = place("alice").join(format!("plan{size}.txt"));
        fs::write(&path, content(size)).unwrap();
        alice.types(&format!("/9 {}", path.display()));
        alice.hears(&format!("plan{size}.txt is on its way to 2 members."));
        carol.hears_next(&format!(
            "Received plan{size}.txt from alice: {}/plan{size}.txt",
            with[1]
        ));
        assert!(
            fs::read(place("carol").join(format!("plan{size}.txt"))).unwrap() == content(size),
            "{size}"
        );
        let sealed = format!("plan{size}.txt.sealed");
        bob.hears(&format!("! (not opened) Received plan{size}.txt from alice, sealed, and there is no room key here: {}/{sealed}", without[1]));
        let token = fs::read_to_string(place("bob").join(sealed)).unwrap();
        let opened = fernet.decrypt(&token).unwrap();
        let head = format!("alice\nplan{size}.txt\n");
        let at = opened.len() - size;
        assert!(
            opened[at..] == content(size) && opened[..at].ends_with(head.as_bytes()),
            "Python's Fernet opens it, too"
        );
    }
    // Not sealed, though some have the key; and sealed with another.
    let path = place("bob").join("note");
    fs::write(&path, "gAAAAA is how a token begins").unwrap();
    bob.types(&format!("/9 {}", path.display()));
    carol.hears_next(&format!(
        "! (not sealed) Received note from bob: {}/note",
        with[1]
    ));
    fs::write(
        &path,
        Fernet::new(&Fernet::generate_key())
            .unwrap()
            .encrypt(&content(500)),
    )
    .unwrap();
    bob.types(&format!("/9 {}", path.display()));
    carol.hears_next(&format!(
        "! (not opened) Received note from bob, sealed, and this room key does not open it: {}/note.sealed",
        with[1]
    ));
    assert_eq!(
        fs::read(place("carol").join("note.sealed")).unwrap(),
        fs::read(&path).unwrap()
    );
    assert_eq!(
        place("carol").read_dir().unwrap().count(),
        9,
        "nothing half done is left"
    );
}

#[test]
fn a_room_key_works_over_a_python_server() {
    let Some(python) = Python::find() else { return };
    let home = folder();
    let (key, fernet) = room_key(home.path());
    let mut server = python.server(&[]);
    let downloads = python.folder("bob").display().to_string();
    let options: [&[&str]; 2] = [
        &["--room-key-file", &key],
        &["--room-key-file", &key, "--downloads", &downloads],
    ];
    let [mut alice, mut bob] = two_members(server.port, options);
    let mut carol = python.client(server.port, "carol", &[]);
    carol.hears_next("waiting");
    approves(&mut alice, "carol");
    carol.hears_next("accepted");
    carol.types("");
    alice.types("the canary sings");
    hears_sealed(&mut bob, "alice: the canary sings");
    let line = carol.hears("alice: gAAAAA");
    let token = line.split_once(": ").unwrap().1;
    assert!(
        fernet
            .decrypt(token)
            .unwrap()
            .ends_with(b" 1 alice: the canary sings")
    );
    carol.types("good morning");
    bob.hears_next("! (not sealed) carol: good morning");
    let path = python.file("alice", "plan.txt", 2000);
    alice.types(&format!("/9 {}", path.display()));
    bob.hears_next(&format!(
        "Received plan.txt from alice: {downloads}/plan.txt"
    ));
    python.has_file("bob", "plan.txt", 2000);
    server.program.signal("TERM");
    server.program.ends();
    assert!(
        !server
            .program
            .log_so_far()
            .iter()
            .any(|line| line.contains("canary"))
    );
}
