//! This program and one that was built for another machine talk to each other: `cargo test --test cross -- COMMAND...`, where `COMMAND...`
//! starts the other one, perhaps through what stands for its machine: `wine fernchat.exe`, `qemu-arm -L ROOT fernchat`.
//!
//! Each is the server once and the client once; lines, a file and a folder pass both ways, a file of 5 GiB is refused in words, the window of
//! each joins, each finds the other's server on the network, and Ctrl-C stops a server. Started by `make cross`.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use support::{DEADLINE, Program, Server, ends_well, fernchat, folder};

/// More than one piece of a file's body, and no multiple of anything.
const FILE_LEN: usize = 1_234_567;

fn main() {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let [program, arguments @ ..] = command.as_slice() else {
        eprintln!("error: no program to talk with; say cargo test --test cross -- COMMAND...");
        std::process::exit(2);
    };
    let other = || {
        let mut command = Command::new(program);
        command.args(arguments);
        command
    };
    // For Windows this is a device, with any extension.
    exchange(fernchat, other, ["nul.txt", "_nul.txt"]);
    exchange(other, fernchat, ["plan.txt", "plan.txt"]);
    if program.starts_with("qemu-") {
        // Its socket option for the interface of multicast is refused there.
        eprintln!("NOT TRIED: who finds whom on the network, because {program} has no multicast");
    } else if finds(fernchat, fernchat) {
        assert!(finds(fernchat, other), "our server is not found");
        assert!(finds(other, fernchat), "the other server is not found");
    } else {
        support::skipped("this network has no multicast, so nobody finds anybody");
    }
    println!(
        "lines and files both ways, as a client and as a server: {}",
        command.join(" ")
    );
}

/// Whether the second program finds a server that the first one announces.
fn finds(servers: impl Fn() -> Command, others: impl Fn() -> Command) -> bool {
    let mut command = servers();
    command.args(["server", "0.0.0.0", "0"]);
    let mut server = Program::start(command);
    let line = server.hears("listening on 0.0.0.0:");
    let port = &line["listening on 0.0.0.0:".len()..]
        .split(',')
        .next()
        .unwrap();
    server.logs("announced on the network");
    let found = others().arg("find").output().unwrap();
    let is_found = String::from_utf8_lossy(&found.stdout)
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some(port));
    server.signal("INT");
    ends_well(&mut server);
    is_found
}

/// Somebody on the server's machine, who administers the group and shares a file, and somebody on the other one, who gets it under the
/// second name.
fn exchange(
    servers: impl Fn() -> Command,
    others: impl Fn() -> Command,
    [shared, received]: [&str; 2],
) {
    let mut command = servers();
    command.args(["server", "127.0.0.1", "0"]);
    let mut server = Server::of(command);
    let join = |program: Command, name: &str, downloads: &str| {
        support::joins(
            program,
            server.port,
            name,
            &["--no-reconnect", "--downloads", downloads],
        )
    };
    let (home, away) = (folder(), folder());
    let mut alice = join(servers(), "alice", home.path().to_str().unwrap());
    alice.hears("you administer it");
    let mut bob = join(others(), "bob", away.path().to_str().unwrap());
    alice.hears("bob has requested");
    alice.types("/approve bob");
    bob.hears("You have been approved");

    alice.types("Grüße, 世界 🎉");
    bob.hears_next("alice: Grüße, 世界 🎉");
    bob.types("Ευχαριστώ");
    alice.hears("bob: Ευχαριστώ");

    let body: Vec<u8> = (0..FILE_LEN).map(|i| ((i * i) >> 8) as u8).collect();
    fs::write(home.path().join(shared), &body).unwrap();
    alice.types(&format!("/file {}", home.path().join(shared).display()));
    bob.hears(&format!("Received {received} from alice"));
    assert!(fs::read(away.path().join(received)).unwrap() == body);
    fs::write(away.path().join("ähm.txt"), &body).unwrap();
    bob.types(&format!("/file {}", away.path().join("ähm.txt").display()));
    alice.hears("Received ähm.txt from bob");
    assert!(fs::read(home.path().join("ähm.txt")).unwrap() == body);

    // Nothing is read of it: it takes no room on the disk.
    let huge = away.path().join("huge.bin");
    fs::File::create(&huge).unwrap().set_len(5 << 30).unwrap();
    bob.types(&format!("/file {}", huge.display()));
    bob.hears("this server takes files of at most 4 GiB");

    let photos = away.path().join("photos");
    fs::create_dir_all(photos.join("août")).unwrap();
    fs::write(photos.join("août").join("été.txt"), &body).unwrap();
    bob.types(&format!("/pack {}", photos.display()));
    alice.hears("Received photos.tar from bob");
    let archive = fs::File::open(home.path().join("photos.tar")).unwrap();
    tar::Archive::new(archive).unpack(home.path()).unwrap();
    assert!(fs::read(home.path().join("photos/août/été.txt")).unwrap() == body);

    let mut command = others();
    command
        .env("XDG_CONFIG_HOME", away.path())
        .args(["window", "127.0.0.1", &server.port.to_string()])
        .args(["--no-open", "--name", "carl", "--group", "team"]);
    let mut window = Program::start(command);
    let line = window.hears("http://127.0.0.1:");
    alice.hears("carl has requested");
    let (host, path) = line
        .rsplit_once("http://")
        .unwrap()
        .1
        .split_once('/')
        .unwrap();
    let mut page = TcpStream::connect(host).unwrap();
    page.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(page, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("<title>"), "{answer}");
    window.signal("INT");
    ends_well(&mut window);

    bob.types("/quit");
    ends_well(&mut bob);
    server.program.signal("INT");
    ends_well(&mut server.program);
    alice.ends();
}
