//! The server as a service: its log, its signals, and what the machine allows it.

mod support;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};
use support::{Peer, Program, Server, ends_well, fernchat, folder, joins, skipped};

/// The log goes into a pipe with this name, which stays open while nobody reads it.
const LOG_TO_A_PIPE: &str =
    "mkfifo \"$1\" && exec 9<>\"$1\" && exec \"$0\" server 127.0.0.1 0 2>\"$1\"";

/// A server that a shell starts: `$0` is the program, `$1` the argument.
fn shell(script: &str, argument: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .arg(fernchat().get_program())
        .arg(argument);
    command
}

/// Connects from the stranger's address.
fn stranger(port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = "127.0.0.66:0".parse().unwrap();
    socket.bind(&from.into()).unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], port).into();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

#[test]
fn a_log_that_nobody_reads_stops_nobody_and_says_what_it_has_dropped() {
    let folder = folder();
    let log = folder.path().join("log");
    let mut command = shell(LOG_TO_A_PIPE, &log);
    command.env("RUST_LOG", "trace");
    let mut server = Server::of(command);
    for _ in 0..2000 {
        stranger(server.port);
    }
    let mut alice = Peer::join(server.port, "alice", None);
    for _ in 0..500 {
        alice.tells("does nobody read?");
    }
    alice.hears_nothing();
    // Now somebody does. The lines that were dropped are counted before the next one that passes.
    let mut cat = Command::new("cat");
    cat.arg(&log);
    let mut reader = Program::start(cat);
    while !reader.tries_to_hear(" lines of the log were dropped") {
        alice.tells("and now?");
    }
    server.program.signal("TERM");
    ends_well(&mut server.program);
    reader.hears(" stopped");
}

#[test]
fn a_server_whose_log_stands_still_ends_at_a_signal() {
    let folder = folder();
    let mut command = shell(LOG_TO_A_PIPE, &folder.path().join("log"));
    command.env("RUST_LOG", "trace");
    let mut server = Server::of(command);
    let mut alice = Peer::join(server.port, "alice", None);
    for _ in 0..500 {
        alice.tells("does nobody read?");
    }
    alice.hears_nothing();
    server.program.signal("TERM");
    alice.hears("PyChat: The server stops.");
    ends_well(&mut server.program);
}

#[test]
fn a_script_may_read_the_first_line_of_a_server_and_close_the_pipe() {
    for service in ["server", "relay"] {
        let mut command = fernchat();
        command.args([service, "127.0.0.1", "0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut banner = [0; 4096];
        // One read brings both lines, so none is written to a closed pipe.
        let n = child.stdout.take().unwrap().read(&mut banner).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let banner = String::from_utf8_lossy(&banner[..n]);
        assert_eq!(banner.lines().count(), 2, "{banner}");
        assert!(banner.ends_with('\n'), "{banner}");
    }
}

#[test]
fn a_port_probe_is_one_line_at_debug_and_a_member_two_at_info() {
    let mut server = Server::start();
    let probe = stranger(server.port).local_addr().unwrap();
    server.program.logs("departed: hung up");
    let alice = Peer::join(server.port, "alice", None);
    let address = alice.socket.local_addr().unwrap();
    drop(alice);
    server.program.logs("departed: hung up");
    server.program.signal("TERM");
    ends_well(&mut server.program);
    let log = server.program.log_so_far();
    let lines = |part: &str| -> Vec<&String> {
        let lines = log.iter().filter(|line| line.contains(part));
        lines.collect()
    };
    let of_probe = lines(&probe.to_string());
    assert_eq!(of_probe.len(), 1, "{log:#?}");
    assert!(of_probe[0].contains(" DEBUG client 1 from "), "{log:#?}");
    let at_info = lines(" INFO ");
    assert_eq!(at_info.len(), 3, "{log:#?}");
    assert!(at_info[0].ends_with("alice founds group team"), "{log:#?}");
    let departed = format!("client 2 alice in team from {address} departed: hung up");
    assert!(at_info[1].ends_with(&departed), "{log:#?}");
}

/// Whether this process ignores SIGHUP, as under nohup: the lowest bit of SigIgn, see proc_pid_status(5).
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let set = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    set.is_some_and(|set| {
        set.trim_end()
            .ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f'])
    })
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let folder = folder();
    let script = "trap '' HUP && exec \"$0\" server 127.0.0.1 0";
    let mut server = Server::of(shell(script, folder.path()));
    let mut client = Command::new("sh");
    client
        .args(["-c", "trap '' HUP && exec \"$0\" \"$@\""])
        .arg(fernchat().get_program());
    let mut alice = joins(client, server.port, "alice", &[]);
    alice.hears("/help lists the commands.");
    for program in [&server.program, &alice] {
        program.signal("HUP");
    }
    let mut bob = server.client("bob");
    alice.hears("bob has requested to join");
    bob.hears("You wait for the admin");
    // Without that, it ends them, unless who runs the tests has it ignored, too.
    if is_hangup_ignored() {
        bob.ends_input();
    } else {
        bob.signal("HUP");
    }
    ends_well(&mut bob);
    for program in [&mut alice, &mut server.program] {
        program.signal("TERM");
        ends_well(program);
    }
    let mut server = Server::start();
    let signal = if is_hangup_ignored() { "TERM" } else { "HUP" };
    server.program.signal(signal);
    ends_well(&mut server.program);
}

#[test]
fn a_port_that_is_forbidden_is_explained_by_the_limit_of_this_system() {
    // In a network of its own, where no port is in use, and without the rights of root.
    let script = "echo 9000 >/proc/sys/net/ipv4/ip_unprivileged_port_start && ip link set lo up && \
                  exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" server 127.0.0.1 8000";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", script])
        .arg(fernchat().get_program())
        .output();
    let error = output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8(output.stderr).unwrap(),
    );
    if !error.contains("error: cannot listen") {
        return skipped(&format!("there is no network of its own here: {error}"));
    }
    let why = "ports below 9000 are for the system; try a higher one";
    assert!(error.contains(why), "{error}");
}

#[test]
#[cfg(feature = "discovery")]
fn a_client_without_an_address_joins_the_server_that_is_announced_and_no_other() {
    // In a network of its own, where one end of a link hears the other.
    let network = "ip link set lo up && ip link add near type veth peer name far && ip addr add 10.213.90.1/24 dev near && \
                   ip link set near up && ip link set far up";
    let in_network = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c"]);
        command.arg(format!("{network} || exit\n{script}"));
        command.arg(fernchat().get_program());
        command
    };
    let output = in_network("").output();
    if !output.as_ref().is_ok_and(|output| output.status.success()) {
        return skipped(&format!("there is no network of its own here: {output:?}"));
    }
    let script = "\"$0\" server 0.0.0.0 8001 --no-announce 2>&1 & hidden=$!
                  \"$0\" server 0.0.0.0 8000 2>&1 & server=$!
                  until \"$0\" find; do :; done
                  printf 'alice\\nteam\\n/quit\\n' | \"$0\" client && kill -INT $hidden $server && wait $server";
    let mut all = Program::start(in_network(script));
    let found = all
        .hears("  10.213.90.1 80")
        .replace("  10.213.90.1 8000", "");
    assert!(
        found.starts_with("chat ") && !found.contains(" 80"),
        "{found}"
    );
    assert!(
        all.hears("Joining the chat ")
            .contains(" at 10.213.90.1 8000.")
    );
    all.hears("The group team is new");
    ends_well(&mut all);
}
