//! A small machine: the server and its fernchat clients together in 32 MB of memory, then on a fifth of a core, each time with fifty
//! clients and a file of 200 MB; the server in 32 MB with a stranger who sends what he can; and what it costs to seal.
//!
//! What is asserted: the file arrives, the lines arrive, nobody honest is lost. How long that takes is printed and asserts nothing.
//! The limits are control groups, of either version, so it takes root; without them it says so and fails.
//! `make small` starts it; with `-- seal` it only says what sealing costs.

mod support;

use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use fernchat::seal::{BodySealer, Key};
use support::{Den, Peer, Program, Server, ends_well, fernchat, send_partial_frames, status_of};

const MEMORY: &str = "33554432";
const FILE_LEN: u64 = 200 << 20;

/// How long the file may take before the test gives up: it is a fifth of a core.
const FILE_TIME: Duration = Duration::from_secs(300);

/// Those who only listen, beside the one who shares the file and the one who gets it.
const N_PEERS: usize = 48;

/// The stranger's clients that wait for approval, each with most of a frame.
const N_WAITING: usize = 300;

/// The stranger's members, who never read.
const N_MEMBERS: usize = 100;

fn main() {
    sealing();
    if std::env::args().any(|arg| arg == "seal") {
        return;
    }
    let memory = Limits {
        controller: "memory",
        v1: &[("memory.limit_in_bytes", MEMORY)],
        v2: &[("memory.max", MEMORY)],
    };
    let group = Cgroup::new(&memory);
    share(&group, "32 MB of memory for the server and two clients");
    print_peak(&group);
    drop(group);
    let group = Cgroup::new(&memory);
    hostile(&group);
    print_peak(&group);
    drop(group);

    let core = Limits {
        controller: "cpu",
        v1: &[("cpu.cfs_period_us", "10000"), ("cpu.cfs_quota_us", "2000")],
        v2: &[("cpu.max", "2000 10000")],
    };
    share(
        &Cgroup::new(&core),
        "a fifth of a core for the server and two clients",
    );
}

fn print_peak(group: &Cgroup) {
    let peaks = ["memory.max_usage_in_bytes", "memory.peak"]
        .iter()
        .filter_map(|file| fs::read_to_string(group.0.join(file)).ok());
    println!(
        "  most that was used, with what the system kept of the files: {:?} bytes",
        peaks.map(|n| n.trim().to_owned()).next()
    );
}

/// A stranger's clients send and do not read, while two honest members chat.
fn hostile(group: &Cgroup) {
    println!(
        "32 MB of memory for the server; a stranger's {N_WAITING} clients that wait, and his group of {N_MEMBERS}"
    );
    let mut command = group.within(fernchat());
    command
        .args(["server", "127.0.0.1", "0"])
        // Long frames that are gone are given back to the system at once.
        .env("MALLOC_MMAP_THRESHOLD_", "131072");
    let mut server = Server::of(command);
    let mut alice = Peer::join(server.port, "alice", None);
    let mut peers = [
        Peer::join(server.port, "peer 0", Some(&mut alice)),
        Peer::join(server.port, "peer 1", Some(&mut alice)),
    ];
    let mut den = Den::found(server.port, "den", N_MEMBERS);
    let waits = |n: usize| {
        // There are not places for all of them.
        let mut peer = Peer::stranger(server.port, &format!("w{n}"), "den");
        let heard = peer.hears_text();
        let frame = [&1024_u32.to_be_bytes()[..], &[b'g'; 1000]].concat();
        let is_in = heard == "/wait" && peer.socket.write_all(&frame).is_ok();
        is_in.then_some(peer)
    };
    let waiting: Vec<Peer> = (0..N_WAITING).filter_map(waits).collect();
    println!("  {} of them found a place", waiting.len());
    let mut times = Vec::new();
    thread::scope(|scope| {
        let Den { admin, members } = &mut den;
        let flood = scope.spawn(|| Den::flood(admin, 50_000, 1));
        let frames = scope.spawn(|| send_partial_frames(members));
        while !flood.is_finished() || !frames.is_finished() {
            times.push(latency(&mut peers, &format!("meanwhile {}", times.len())));
            // She only listens.
            alice.hears(&format!("peer 0: meanwhile {}", times.len() - 1));
        }
    });
    println!("  a line, until another hears it: {}", spread(times));
    println!(
        "  most memory of the server: {} KiB",
        status_of(server.program.id(), "VmHWM")
    );
    drop(waiting);
    server.program.signal("INT");
    ends_well(&mut server.program);
}

/// Shares the file in a group of fifty, and talks before and meanwhile.
fn share(group: &Cgroup, what: &str) {
    println!(
        "{what}, {} clients, a file of {} MB",
        N_PEERS + 2,
        FILE_LEN >> 20
    );
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("spool")).unwrap();
    fs::create_dir(at("downloads")).unwrap();
    fs::File::create(at("big.bin"))
        .unwrap()
        .set_len(FILE_LEN)
        .unwrap();

    let mut command = group.within(fernchat());
    command.args(["server", "127.0.0.1", "0", "--spool", &at("spool")]);
    let mut server = Server::of(command);
    let options = ["--no-reconnect", "--downloads", &at("downloads")];
    let join = |name: &str| support::joins(group.within(fernchat()), server.port, name, &options);
    let mut alice = join("alice");
    alice.hears("you administer it");
    let mut bob = join("bob");
    approve(&mut alice, "bob");
    bob.hears("You have been approved");
    let mut peers: Vec<Peer> = (0..N_PEERS)
        .map(|n| member(server.port, &mut alice, &format!("peer {n}")))
        .collect();

    let before: Vec<Duration> = (0..100)
        .map(|n| latency(&mut peers, &format!("before {n}")))
        .collect();
    let start = Instant::now();
    alice.types(&format!("/file {}", at("big.bin")));
    let mut meanwhile = Vec::new();
    while !bob.tries_to_hear("Received big.bin from alice") {
        assert!(
            start.elapsed() < FILE_TIME,
            "the file does not arrive: {:#?}",
            bob.heard()
        );
        meanwhile.push(latency(
            &mut peers,
            &format!("meanwhile {}", meanwhile.len()),
        ));
    }
    println!("  the file took {:.1} s", start.elapsed().as_secs_f64());
    println!(
        "  a line, until another hears it: before {}; meanwhile {}",
        spread(before),
        spread(meanwhile)
    );
    assert_eq!(
        fs::metadata(at("downloads/big.bin")).unwrap().len(),
        FILE_LEN
    );
    for peer in &mut peers {
        peer.says("/whoAdmin");
        while peer.hears_text() != "/whoAdmin" {}
    }
    server.program.signal("INT");
    ends_well(&mut server.program);
}

fn approve(admin: &mut Program, name: &str) {
    admin.hears(&format!("{name} has requested"));
    admin.types(&format!("/approve {name}"));
}

/// Somebody who joined through a client as Python's, to which no large file is offered.
fn member(port: u16, admin: &mut Program, name: &str) -> Peer {
    let mut peer = Peer::greet(port, name, "team");
    peer.hears("/wait");
    approve(admin, name);
    peer.hears("/accepted");
    peer
}

/// How long a line takes from one member to another, with the whole dialogue.
fn latency(peers: &mut [Peer], text: &str) -> Duration {
    let [one, other, ..] = peers else {
        unreachable!("there are enough")
    };
    let start = Instant::now();
    one.says("/messageSend");
    while one.hears_text() != "/messageSend" {}
    one.says(text);
    let line = format!("peer 0: {text}");
    while other.hears_text() != line {}
    start.elapsed()
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| {
        times
            .get((times.len() * share / 100).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    format!(
        "p50 {:.1?}, p99 {:.1?}, most {:.1?} ({} lines)",
        at(50),
        at(99),
        at(100),
        times.len()
    )
}

/// Prints what a line and a megabyte cost.
fn sealing() {
    let (key, line, megabyte) = (Key::generate(), [b'x'; 100], vec![0; 1 << 20]);
    let token = key.seal(&line);
    let per = |n: u32, work: &dyn Fn()| {
        let start = Instant::now();
        (0..n).for_each(|_| work());
        start.elapsed() / n
    };
    println!(
        "a line of 100 bytes: sealed in {:.2?}, opened in {:.2?}; a megabyte: sealed in {:.2?}",
        per(10_000, &|| drop(black_box(key.seal(&line)))),
        per(10_000, &|| drop(black_box(key.open(token.as_bytes())))),
        per(20, &|| {
            let mut body = BodySealer::new(&key, megabyte.as_slice(), megabyte.len() as u64);
            io::copy(&mut body.by_ref(), &mut io::sink()).unwrap();
        }),
    );
}

/// What a control group may have, in the words of both versions.
struct Limits {
    controller: &'static str,
    v1: &'static [(&'static str, &'static str)],
    v2: &'static [(&'static str, &'static str)],
}

/// A control group; those in it when it is dropped have ended.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(limits: &Limits) -> Cgroup {
        let root = Path::new("/sys/fs/cgroup");
        let name = format!("fernchat-{}-{}", limits.controller, std::process::id());
        let is_v2 = root.join("cgroup.controllers").exists();
        let (path, files) = match is_v2 {
            true => (root.join(name), limits.v2),
            false => (root.join(limits.controller).join(name), limits.v1),
        };
        if is_v2 {
            // On already, or the limit cannot be set below.
            let _ = fs::write(
                root.join("cgroup.subtree_control"),
                format!("+{}", limits.controller),
            );
        }
        let make = || -> io::Result<()> {
            fs::create_dir(&path)?;
            files
                .iter()
                .try_for_each(|(file, value)| fs::write(path.join(file), value))
        };
        make().unwrap_or_else(|error| {
            panic!(
                "no control group {}: {error}; are you root?",
                path.display()
            )
        });
        Cgroup(path)
    }

    /// The same program, within this group.
    fn within(&self, program: Command) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""])
            .arg(&self.0)
            .arg(program.get_program());
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It cannot go while somebody who was killed has not ended yet; an empty group costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
