//! What a person or a script may expect of the command line, of pipes, and of the files that a client keeps.

mod support;

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use support::{Peer, Program, Server, ends_well, fernchat, folder};

// ---- the command line ----

fn wrong(arguments: &[&str]) -> String {
    let output: Output = fernchat().args(arguments).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
    error
}

#[test]
fn what_is_wrong_with_a_command_line_is_one_line_that_names_the_help() {
    for (arguments, error, help) in [
        (vec![], "a command is missing", "fernchat --help"),
        (
            vec!["dance"],
            "no command is called 'dance'",
            "fernchat --help",
        ),
        (
            vec!["server"],
            "the HOST is missing",
            "fernchat server --help",
        ),
        (
            vec!["client", "127.0.0.1", "x"],
            "a port is a number",
            "fernchat client --help",
        ),
        (
            vec!["client", "[::1", "80"],
            "the ] of the address is missing",
            "fernchat client --help",
        ),
        (
            vec!["relay-client", "h:1", "2"],
            "the port is given twice",
            "fernchat relay-client --help",
        ),
        (
            vec!["server", "h", "1", "--max-file", "x"],
            "a size is a number",
            "fernchat server --help",
        ),
    ] {
        let line = wrong(&arguments);
        assert!(
            line.starts_with("error: ")
                && line.contains(error)
                && line.ends_with(&format!("; {help} tells more\n"))
                && line.lines().count() == 1,
            "{line}"
        );
    }
}

#[test]
fn an_address_is_taken_in_one_word_or_two_or_from_the_environment() {
    for (host, shown) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let mut command = fernchat();
        command.args(["server", host]);
        let mut server = Program::start(command);
        server.hears("listening on ");
        let line = server.hears(&format!(
            "In another terminal, join with: fernchat client {shown} "
        ));
        let words: Vec<&str> = line.rsplitn(3, ' ').collect();
        let (port, host) = (words[0], words[1]);
        let in_word = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        for (arguments, variable) in [
            (vec!["client", host, port], None),
            (vec!["client", &in_word], None),
            (vec!["client"], Some(&in_word)),
        ] {
            let mut command = fernchat();
            command
                .args(arguments)
                .args(["--name", "alice", "--group", "team"]);
            if let Some(server) = variable {
                command.env("FERNCHAT_SERVER", server);
            }
            let mut alice = Program::start(command);
            alice.hears("/help lists the commands.");
            alice.ends_input();
            ends_well(&mut alice);
        }
    }
    let unused = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let output = fernchat()
        .args(["client", &unused.to_string(), "--name", "a", "--group", "g"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&format!("{unused}")), "{error}");
}

#[test]
fn a_script_does_not_meet_the_configuration_file() {
    let server = Server::start();
    let home = folder();
    fs::create_dir(home.path().join("fernchat")).unwrap();
    fs::write(home.path().join("fernchat/config"), "name = bob\nnonsense").unwrap();
    let mut command = fernchat();
    command.env("XDG_CONFIG_HOME", home.path()).args([
        "client",
        "127.0.0.1",
        &server.port.to_string(),
    ]);
    let mut alice = Program::start(command);
    for line in ["alice", "team", "/7"] {
        alice.types(line);
    }
    alice.hears("Admin: alice");
    assert!(!home.path().join("fernchat/last").exists());
}

#[test]
fn the_address_of_the_default_route_is_named_first_and_one_that_is_down_not_at_all() {
    // In a network of its own. The third link has no carrier: nobody has put its peer up.
    let script = "set -e
        link() { ip addr add $2/24 dev $1; ip link set $1 up; }
        ip link add far type veth peer name near; ip link add dead type veth peer name peer
        link far 10.1.1.1; link near 192.168.7.7; link dead 10.0.0.1
        ip link set lo up; ip route add default via 192.168.7.1
        for address in 0.0.0.0 :: ; do timeout 2 \"$0\" server $address 8000 || true; done
        echo 1 >/proc/sys/net/ipv6/bindv6only; timeout 2 \"$0\" server :: 8000";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", script])
        .arg(fernchat().get_program())
        .output();
    let said = output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8(output.stdout).unwrap(),
    );
    if !said.contains("listening on ") {
        return support::skipped(&format!("there is no network of its own here: {said}"));
    }
    let lines: Vec<&str> = said.lines().collect();
    let reach = "reachable by others at 192.168.7.7:8000 or 10.1.1.1:8000;";
    for at in [0, 2] {
        assert!(lines[at].contains(reach), "{said}");
        let command = "On another machine, join with: fernchat client 192.168.7.7 8000";
        assert_eq!(lines[at + 1], command);
    }
    assert!(
        lines[4].contains("reachable only from this machine"),
        "{said}"
    );
    assert_eq!(
        lines[5],
        "In another terminal, join with: fernchat client ::1 8000"
    );
}

// ---- pipes ----

#[test]
fn in_a_pipe_a_dialogue_begins_at_once_and_takes_a_name_only_if_the_server_asks_for_one() {
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("The group team is new");
    let mut bob = server.client("bob");
    alice.hears("bob has requested");
    // She may name somebody, and the next line is the name.
    alice.pastes(&["/2", "bob", "hello bob"]);
    alice.hears("bob is now a member of the group.");
    bob.hears("alice: hello bob");
    // He may not. So the next line is said.
    bob.pastes(&["/2", "hello", "/8", "again"]);
    alice.hears("bob: hello");
    alice.hears("bob: again");
    // The input ends where a name is due: nobody is removed, and she leaves.
    alice.types("/8");
    alice.ends_input();
    ends_well(&mut alice);
    bob.types("still here");
    bob.ends_input();
    ends_well(&mut bob);
}

#[test]
fn in_a_pipe_a_client_that_is_asked_for_a_name_leaves_at_a_signal() {
    let mut server = Server::start();
    let mut alice = server.client_with("alice", &[]);
    alice.hears("The group team is new");
    alice.types("/6");
    server.program.logs("changeAdmin");
    alice.signal("TERM");
    ends_well(&mut alice);
    server.program.logs("departed: left");
}

/// Runs a client of the group `team` in a pipe that a shell makes: `$1` is the port.
#[test]
fn a_script_ends_although_the_system_does_not_let_it_read_a_file() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder();
    let plan = folder.path().join("plan.txt");
    fs::write(&plan, "a plan").unwrap();
    let mut alice = support::client(listener.local_addr().unwrap().port(), "alice", &[]);
    let mut server = Peer::host_fernchat(&listener);
    alice.types(&format!("/9 {}", plan.display()));
    alice.ends_input();
    let (id, _) = server.hears_offer("plan.txt", "");
    // It has opened the file, and can open nothing more.
    let lowered = Command::new("prlimit")
        .args(["--pid", &alice.id().to_string(), "--nofile=4:4"])
        .status();
    if !lowered.is_ok_and(|status| status.success()) {
        return support::skipped("there is no prlimit");
    }
    server.says(&format!("/sendFile {id} 0"));
    let word = server.hears_text();
    let start = format!("/stopFile {id} Too many open files");
    assert!(word.starts_with(&start), "{word}");
    alice.hears("The file plan.txt was not shared: Too many open files");
    server.hears("/disconnect");
}

fn in_shell(server: &Server, script: &str, more: &str) -> Program {
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .arg(fernchat().get_program())
        .args([&server.port.to_string(), more])
        .env("XDG_CONFIG_HOME", support::home_of("everybody"));
    Program::start(command)
}

#[test]
fn a_listener_hears_everything_and_leaves_at_a_signal() {
    let server = Server::start();
    let mut alice = support::Peer::join(server.port, "alice", None);
    // As the manual page has it.
    let script = "tail -f /dev/null | $0 client 127.0.0.1 $1 --name ear --group team & \
        echo started $!; wait $!; echo code $?; kill %1";
    let mut shell = in_shell(&server, script, "");
    let started = shell.hears("started ");
    alice.hears("PyChat: ear has requested to join the group.");
    alice.decides("/approveRequest", "ear");
    shell.hears("You have been approved");
    for n in 0..100 {
        alice.tells(&format!("line {n}"));
    }
    for n in 0..100 {
        shell.hears_next(&format!("alice: line {n}"));
    }
    let process = started.rsplit(' ').next().unwrap();
    let killed = Command::new("kill").arg(process).status().unwrap();
    assert!(killed.success());
    shell.hears("code 0");
    assert_eq!(alice.asks_for_set("/onlineMembers").len(), 1);
}

#[test]
fn a_client_whose_output_nobody_reads_any_more_leaves_and_fails() {
    let server = Server::start();
    let mut alice = support::Peer::join(server.port, "alice", None);
    let join = "{ $0 client 127.0.0.1 $1 --name bob --group team; echo code $? >&2; }";
    for (output, said) in [
        // It has read the first line, and says nothing: the client notices that it is gone.
        ("| head -1", "nobody reads what is shown: broken pipe"),
        (
            ">/dev/full",
            "nobody reads what is shown: No space left on device",
        ),
    ] {
        let script = format!("tail -f /dev/null | {join} {output} & wait $!; kill %1");
        let mut shell = in_shell(&server, &script, "");
        alice.hears("PyChat: bob has requested to join the group.");
        shell.logs(said);
        shell.logs("code 1");
        alice.decides("/approveRequest", "bob");
        assert_eq!(alice.asks_for_set("/onlineMembers").len(), 1);
        alice.decides("/kickMember", "bob");
    }
}

#[test]
fn a_client_waits_where_its_parent_has_set_the_pipes_so_that_they_do_not_wait() {
    let Some(python) = support::python("unblocked.py") else {
        return;
    };
    let server = Server::start();
    let mut alice = server.client("alice");
    alice.hears("The group team is new");
    let mut parent = python;
    parent
        .arg(fernchat().get_program())
        .args(["client", "127.0.0.1", &server.port.to_string()])
        .args(["--name", "bob", "--group", "team", "--no-reconnect"])
        .env("XDG_CONFIG_HOME", support::home_of("bob"));
    let mut bob = Program::start(parent);
    alice.hears("bob has requested");
    alice.types("/2 bob");
    bob.hears("You have been approved");
    // Its reader reads nothing until it is told to.
    for n in 0..2000 {
        alice.types(&format!("line {n} {}", "x".repeat(100)));
    }
    alice.types("/4");
    alice.hears("members: alice, bob");
    bob.types("go on");
    for n in 0..2000 {
        bob.hears(&format!("alice: line {n} "));
    }
    alice.hears("bob: go on");
}

// ---- the files that a client keeps ----

#[test]
fn a_history_or_a_log_that_is_something_else_is_refused_and_not_touched() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("letter"), "Dear Bob,\n").unwrap();
    let mkfifo = Command::new("mkfifo").arg(at("pipe")).status().unwrap();
    assert!(mkfifo.success());
    fs::create_dir(at("folder")).unwrap();
    let own = folder.path().display().to_string();
    for (option, path, why) in [
        ("--history", at("letter"), "it holds something else"),
        ("--history", at("pipe"), "it is no plain file"),
        ("--log", at("pipe"), "it is no plain file"),
        ("--log", at("folder"), "it is no plain file"),
        ("--log", "/dev/full".into(), "it is no plain file"),
        ("--log", "/dev/zero".into(), "it is no plain file"),
        (
            "--log",
            format!("{own}/none/log"),
            "No such file or directory",
        ),
    ] {
        for client in ["client", "relay-client"] {
            let output = fernchat()
                .args([client, "127.0.0.1", "1", "--name", "a", option, &path])
                .env("FERNCHAT_KEY", fernet::Fernet::generate_key())
                .output()
                .unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{error}");
            let advice = format!("choose another file with {option}");
            assert!(
                error.contains(&path) && error.contains(why) && error.contains(&advice),
                "{error}"
            );
        }
    }
    assert_eq!(fs::read_to_string(at("letter")).unwrap(), "Dear Bob,\n");
}

#[test]
fn a_log_that_others_can_read_or_that_is_a_link_draws_a_warning() {
    let server = Server::start();
    let folder = folder();
    let log = folder.path().join("log");
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&log, &link).unwrap();
    let mut alice = server.client_with("alice", &["--log", link.to_str().unwrap()]);
    alice.logs("link is a symbolic link");
    alice.logs("others can read the log");
    alice.ends_input();
    ends_well(&mut alice);
}

#[test]
fn a_log_goes_on_when_there_is_room_again_and_says_what_is_missing() {
    let server = Server::start();
    let folder = folder();
    let log = folder.path().join("log");
    // The limit on the length of a file stands for a disk that is full.
    let script = "trap '' XFSZ; ulimit -S -f 1
        exec $0 client 127.0.0.1 $1 --name alice --group team --log $2";
    let mut alice = in_shell(&server, script, log.to_str().unwrap());
    alice.hears("The group team is new");
    let said = "words ".repeat(30);
    for n in 0..10 {
        alice.types(&format!("{n} {said}"));
    }
    alice.hears("The log cannot be written: no storage space. It goes on as soon as it can");
    alice.types("/4");
    alice.hears("members: alice");
    let raised = Command::new("prlimit")
        .args(["--pid", &alice.id().to_string(), "--fsize=unlimited"])
        .status();
    if !raised.is_ok_and(|status| status.success()) {
        return support::skipped("there is no prlimit");
    }
    alice.types("there is room");
    alice.types("/7");
    alice.hears("Admin: alice");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let [.., torn, missing, said, _admin] = lines.as_slice() else {
        panic!("{text}");
    };
    let n_written = text.matches("words \n").count() as u64;
    // The torn one is missing, and so is the list of members.
    assert!(
        missing.ends_with(&format!("[team] (missing here: {} lines)", 11 - n_written)),
        "{text}"
    );
    assert!(said.ends_with("[team] alice: there is room"), "{text}");
    assert!(torn.starts_with("20"), "{text}");
    let heard = alice.heard().iter();
    assert_eq!(
        heard
            .filter(|line| line.contains("The log cannot be written"))
            .count(),
        1
    );
}
