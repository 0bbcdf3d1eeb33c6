//! What the tests talk with: real programs on real sockets, and a peer that says exactly what it is told.
//! Every wait has a deadline; nothing sleeps.

#![allow(dead_code)] // each test program uses its own part of this

pub mod faults;
pub mod python;
pub mod screen;
pub mod sealed;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fernchat::wire::transfer::FileOffer;
use fernet::Fernet;
use socket2::{Domain, Socket, Type};

/// How long any expected thing may take. Long, because the machine may be busy; nothing that works takes it.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The program under test. Its configuration folder is not that of the person who runs the tests.
pub fn fernchat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fernchat"));
    command
        .env("XDG_CONFIG_HOME", home_of("everybody"))
        .env_remove("FERNCHAT_SERVER");
    command
}

/// A configuration folder for the user of this name. It stays, so the user has the same key in each client.
pub fn home_of(user: &str) -> String {
    format!("{}/{user}", env!("CARGO_TARGET_TMPDIR"))
}

/// Says in the result that this test proves nothing here. Fails in CI. The test runner captures what the print macros write, so this
/// does without them.
pub fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "not tested: {why}");
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED: {test}, because {why}\n");
    // If standard error is closed, there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// One of the Python programs, or `None` where Python with `cryptography` cannot be had: see [`skipped`].
pub fn python(script: &str) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("FERNCHAT_PYTHON")
        .map_or_else(|| root.join("target/python/bin/python3"), PathBuf::from);
    if !python.exists() {
        let python = python.display();
        skipped(&format!("there is no Python at {python}: run make test"));
        return None;
    }
    let mut command = Command::new(python);
    command
        .arg("-B")
        .arg(root.join("tests/python").join(script));
    Some(command)
}

/// A running program whose lines are heard as they come. Killed when dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What was heard so far, for the message of a failure.
    heard: Vec<String>,
    errors: Receiver<String>,
    logged: Vec<String>,
}

impl Program {
    pub fn start(mut command: Command) -> Program {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let errors = lines_of(child.stderr.take().unwrap());
        let stdin = child.stdin.take();
        Program {
            child,
            stdin,
            lines,
            heard: Vec::new(),
            errors,
            logged: Vec::new(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Types a line into a program that may have ended.
    pub fn tries_to_type(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the input is open");
        let _ = stdin.write_all(format!("{line}\n").as_bytes());
    }

    /// Types several lines in one write, as if pasted.
    pub fn pastes(&mut self, lines: &[&str]) {
        self.types(&lines.join("\n"));
    }

    /// Ends the input.
    pub fn ends_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for a line that contains this; skips those that do not. Returns it.
    #[track_caller]
    pub fn hears(&mut self, part: &str) -> String {
        self.hears_within(DEADLINE, part)
    }

    /// As [`Program::hears`], for what takes longer.
    #[track_caller]
    pub fn hears_within(&mut self, limit: Duration, part: &str) -> String {
        let start = self.heard.len();
        let until = Instant::now() + limit;
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.heard.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
        let logged: Vec<String> = self.errors.try_iter().collect();
        panic!(
            "never heard {part:?}, but {:#?}; before: {:#?}; on stderr: {logged:#?}",
            &self.heard[start..],
            &self.heard[..start]
        );
    }

    /// Takes in the lines that have come.
    pub fn hears_what_is_there(&mut self) {
        self.heard.extend(self.lines.try_iter());
    }

    /// Whether a line that contains this has come or comes at once: for what must be tried until it works.
    pub fn tries_to_hear(&mut self, part: &str) -> bool {
        while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
            self.heard.push(line.clone());
            if line.contains(part) {
                return true;
            }
        }
        false
    }

    /// The next line is exactly this.
    #[track_caller]
    pub fn hears_next(&mut self, line: &str) {
        let heard = self.lines.recv_timeout(DEADLINE);
        let logged: Vec<String> = self.errors.try_iter().collect();
        assert_eq!(
            heard.as_deref(),
            Ok(line),
            "before: {:#?}; on stderr: {logged:#?}",
            self.heard
        );
        self.heard.push(line.into());
    }

    /// Everything said from here on to the end of the output.
    pub fn rest(&mut self) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut rest = Vec::new();
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            rest.push(line);
        }
        self.heard.extend(rest.iter().cloned());
        rest
    }

    /// Waits for a line on standard error (the log) that contains this. Returns it.
    #[track_caller]
    pub fn logs(&mut self, part: &str) -> String {
        let until = Instant::now() + DEADLINE;
        while let Ok(line) = self
            .errors
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.logged.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
        panic!("never logged {part:?}, but {:#?}", self.logged);
    }

    /// The next line on standard error that contains this, if it has come or comes at once: for what is waited for beside other things.
    pub fn tries_to_log(&mut self, part: &str) -> Option<String> {
        while let Ok(line) = self.errors.recv_timeout(Duration::from_millis(100)) {
            self.logged.push(line.clone());
            if line.contains(part) {
                return Some(line);
            }
        }
        None
    }

    /// Everything on standard error up to now.
    pub fn log_so_far(&mut self) -> &[String] {
        self.logged.extend(self.errors.try_iter());
        &self.logged
    }

    /// Everything that was waited for or skipped so far.
    pub fn heard(&self) -> &[String] {
        &self.heard
    }

    /// Waits for the program to end by itself.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        self.ends_within(DEADLINE)
    }

    /// As [`Program::ends`], for what takes longer.
    #[track_caller]
    pub fn ends_within(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > until {
                let logged: Vec<String> = self.log_so_far().to_vec();
                panic!("does not end; heard {:#?}; logged {logged:#?}", self.heard);
            }
            // Not a wait for an event: the standard library has no wait with a deadline.
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Makes the program stand still, all of its threads: what is sent to it waits in its sockets until it gets `CONT`.
    pub fn stands_still(&self) {
        self.signal("STOP");
        let is_still = |task: std::io::Result<std::fs::DirEntry>| {
            // A thread that has ended meanwhile is still, too.
            let status = task
                .and_then(|task| std::fs::read_to_string(task.path().join("status")))
                .unwrap_or_default();
            !status
                .lines()
                .any(|line| line.starts_with("State:") && !line.contains('T'))
        };
        let until = Instant::now() + DEADLINE;
        while !std::fs::read_dir(format!("/proc/{}/task", self.id()))
            .unwrap()
            .all(is_still)
        {
            assert!(Instant::now() < until, "does not stand still");
            thread::yield_now();
        }
    }

    pub fn signal(&self, name: &str) {
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &self.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while matches!(output.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\n', '\r'])
                .to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Our server on a free port of loopback.
pub struct Server {
    pub program: Program,
    pub port: u16,
}

impl Server {
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    pub fn start_with(options: &[&str]) -> Server {
        let mut command = fernchat();
        command
            .args(["server", "127.0.0.1", "0"])
            .args(options)
            .env("RUST_LOG", "fernchat=debug");
        Server::of(command)
    }

    /// A server whose wire is watched.
    pub fn watched() -> Server {
        let mut command = fernchat();
        command
            .args(["server", "127.0.0.1", "0"])
            .env("RUST_LOG", "fernchat::wire=trace");
        Server::of(command)
    }

    /// A server at a port that was another's before.
    pub fn start_at(port: u16) -> Server {
        let mut command = fernchat();
        command
            .args(["server", "127.0.0.1", &port.to_string()])
            .env("RUST_LOG", "fernchat=debug");
        Server::of(command)
    }

    /// The server that this command starts on loopback.
    pub fn of(command: Command) -> Server {
        let mut program = Program::start(command);
        let banner = program.hears("listening on 127.0.0.1:");
        let port = banner["listening on 127.0.0.1:".len()..]
            .split(',')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        Server { program, port }
    }

    /// Our client, joined to this server's group `team`; what it says about joining is not yet heard.
    pub fn client(&self, name: &str) -> Program {
        self.client_with(name, &[])
    }

    pub fn client_with(&self, name: &str, options: &[&str]) -> Program {
        client(self.port, name, options)
    }
}

/// Our client, joined to the group `team`, which ends when its connection does.
pub fn client(port: u16, name: &str, options: &[&str]) -> Program {
    lasting_client(port, name, &[&["--no-reconnect"], options].concat())
}

/// Our client, joined to the group `team`.
pub fn lasting_client(port: u16, name: &str, options: &[&str]) -> Program {
    joins(fernchat(), port, name, options)
}

/// The client that this command starts, joined to the group `team`.
pub fn joins(mut command: Command, port: u16, name: &str, options: &[&str]) -> Program {
    command
        .env("XDG_CONFIG_HOME", home_of(name))
        .args([
            "client",
            "127.0.0.1",
            &port.to_string(),
            "--name",
            name,
            "--group",
            "team",
        ])
        .args(options);
    Program::start(command)
}

/// An address of loopback, where everybody else connects from 127.0.0.1.
pub const STRANGER: &str = "127.0.0.66";

/// Connects to loopback from this address of it.
pub fn connect_from(address: &str, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let at = |address: &str, port| SocketAddr::new(address.parse().unwrap(), port).into();
    socket.bind(&at(address, 0)).unwrap();
    socket.connect(&at("127.0.0.1", port)).unwrap();
    socket.into()
}

/// A client that says exactly what it is told, frame by frame, and behaves like a Python client where it says nothing.
pub struct Peer {
    pub socket: TcpStream,
    pub fernet: Fernet,
    pub key: String,
}

impl Peer {
    /// Connects and takes the key.
    pub fn connect(port: u16) -> Peer {
        Peer::connect_from("127.0.0.1", port).unwrap()
    }

    /// Connects from this address of loopback, and takes the key, if the server sends one.
    pub fn connect_from(address: &str, port: u16) -> std::io::Result<Peer> {
        let mut socket = connect_from(address, port);
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut key = [0; 44];
        socket.read_exact(&mut key)?;
        let key = String::from_utf8(key.to_vec()).unwrap();
        Ok(Peer {
            socket,
            fernet: Fernet::new(&key).unwrap(),
            key,
        })
    }

    /// Connects to a closed server, with the key that Python derives from this secret and the salt.
    pub fn connect_with(port: u16, secret: &str) -> Option<Peer> {
        let mut peer = Peer::connect(port);
        let derive = "import base64, hashlib, sys; salt = b'fernchat link v1' + base64.urlsafe_b64decode(sys.argv[2]); \
                      key = hashlib.pbkdf2_hmac('sha256', sys.argv[1].encode(), salt, 600000, 32); \
                      print(base64.urlsafe_b64encode(key).decode())";
        let python = python("pychat_client.py")?;
        let output = Command::new(python.get_program())
            .args(["-c", derive, secret, &peer.key])
            .output()
            .unwrap();
        peer.key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        peer.fernet = Fernet::new(&peer.key).unwrap();
        Some(peer)
    }

    /// In the place of a server: waits for a client and sends it a key.
    pub fn accept(listener: &TcpListener) -> Peer {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        let key = Fernet::generate_key();
        socket.write_all(key.as_bytes()).unwrap();
        Peer {
            socket,
            fernet: Fernet::new(&key).unwrap(),
            key,
        }
    }

    /// In the place of a Python server: waits for a client and asks for both names; step 5 is not yet said.
    pub fn host(listener: &TcpListener) -> Peer {
        let mut peer = Peer::accept(listener);
        peer.hears_text();
        peer.says("/sendGroupname");
        peer.hears_text();
        peer
    }

    /// In the place of a fernchat server: waits for a client, and takes it in as a member.
    pub fn host_fernchat(listener: &TcpListener) -> Peer {
        let mut peer = Peer::accept(listener);
        peer.hears_text();
        peer.says("/sendGroupname fernchat/1 ours");
        let answer = peer.hears_text();
        let challenges = answer.lines().nth(1).unwrap();
        let theirs = challenges.strip_prefix("fernchat/1 ours ").unwrap();
        peer.says(&format!("/ready {theirs}"));
        peer
    }

    /// In the place of a fernchat server: shares a file with the client, whole.
    pub fn shares(&mut self, from: &str, name: &str, plain: &[u8]) {
        let body = self.fernet.encrypt(plain);
        // No two tokens have the same.
        let id = &body[20..40];
        self.says(&format!("/receiveFile {id} {}\n{name}\n{from}", body.len()));
        self.hears(&format!("/sendFile {id} 0"));
        self.says(&format!("/sendFile {id} 0"));
        self.says_raw(body.as_bytes());
        self.hears(&format!("/haveFile {id}"));
    }

    /// Connects and sends both names; step 5 is not yet heard.
    pub fn greet(port: u16, name: &str, group: &str) -> Peer {
        Peer::connect(port).greets(name, group)
    }

    /// The same, from a stranger's address.
    pub fn stranger(port: u16, name: &str, group: &str) -> Peer {
        Peer::connect_from(STRANGER, port)
            .unwrap()
            .greets(name, group)
    }

    fn greets(mut self, name: &str, group: &str) -> Peer {
        self.says(name);
        assert!(self.hears_text().starts_with("/sendGroupname"));
        self.says(group);
        self
    }

    /// Joins the group `team`, as its admin or, if `admin` is given, approved by it.
    pub fn join(port: u16, name: &str, admin: Option<&mut Peer>) -> Peer {
        let mut peer = Peer::greet(port, name, "team");
        match admin {
            None => peer.hears("/adminReady"),
            Some(admin) => {
                peer.hears("/wait");
                admin.hears(&format!("PyChat: {name} has requested to join the group."));
                admin.decides("/approveRequest", name);
                peer.hears("/accepted");
            }
        }
        peer
    }

    pub fn frame(&self, text: &str) -> Vec<u8> {
        frame(self.fernet.encrypt(text.as_bytes()).as_bytes())
    }

    pub fn says(&mut self, text: &str) {
        let frame = self.frame(text);
        self.socket.write_all(&frame).unwrap();
    }

    pub fn says_raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Says something to the group: the whole dialogue.
    pub fn tells(&mut self, text: &str) {
        self.says("/messageSend");
        self.hears("/messageSend");
        self.says(text);
    }

    /// One of the admin's dialogues about a name, with the result.
    #[track_caller]
    pub fn decides(&mut self, command: &str, name: &str) -> String {
        self.says(command);
        self.hears(command);
        self.says(".");
        self.hears("/proceed");
        self.says(name);
        self.hears_text()
    }

    /// One of the dialogues that answer with a set.
    #[track_caller]
    pub fn asks_for_set(&mut self, command: &str) -> BTreeSet<String> {
        self.says(command);
        self.hears(command);
        self.says(".");
        self.hears_set()
    }

    /// A round trip that proves that nothing else is on its way: what was pushed before has been heard before.
    #[track_caller]
    pub fn hears_nothing(&mut self) {
        self.says("/whoAdmin");
        self.hears("/whoAdmin");
        self.says("team");
        assert!(self.hears_text().contains("Admin: "));
    }

    /// The next frame's bytes, opened; `None` at the end of the stream.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).ok()?;
        let mut token = vec![0; u32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut token).unwrap();
        Some(
            self.fernet
                .decrypt(std::str::from_utf8(&token).unwrap())
                .unwrap(),
        )
    }

    #[track_caller]
    pub fn hears_text(&mut self) -> String {
        String::from_utf8(self.next().expect("a frame, not the end")).unwrap()
    }

    #[track_caller]
    pub fn hears(&mut self, text: &str) {
        assert_eq!(self.hears_text(), text);
    }

    #[track_caller]
    pub fn hears_set(&mut self) -> BTreeSet<String> {
        fernchat::wire::name_set::decode(&self.next().expect("a set, not the end")).unwrap()
    }

    /// The next bytes, bare.
    pub fn hears_raw(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.socket.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// A fernchat server offers a file with this name from this member. Returns how it calls the file, and the length of the body.
    #[track_caller]
    pub fn hears_offer(&mut self, name: &str, from: &str) -> (String, usize) {
        let text = self.hears_text();
        let offer = FileOffer::parse(&text).unwrap_or_else(|| panic!("no offer: {text}"));
        assert_eq!((offer.name, offer.who), (name, from));
        (offer.id.to_owned(), offer.len as usize)
    }

    /// Joins the group `team` as a fernchat client does that cannot join again.
    pub fn join_as_fernchat(port: u16, name: &str, admin: Option<&mut Peer>) -> Peer {
        let mut peer = Peer::greet(port, name, "team\nfernchat/1");
        match admin {
            None => peer.hears("/adminReady"),
            Some(admin) => {
                peer.hears("/wait");
                admin.hears_text();
                admin.approves_as_fernchat(name);
                peer.hears("/accepted");
            }
        }
        peer
    }

    /// The dialogue of an admin with a fernchat client, and what it hears of the new member.
    #[track_caller]
    pub fn approves_as_fernchat(&mut self, name: &str) {
        assert_eq!(
            self.decides("/approveRequest", name),
            format!("/news joined {name}")
        );
        self.hears(&format!("/result {name} is now a member of the group."));
    }

    /// Asks for a file from this byte on. Returns what comes, up to this length.
    #[track_caller]
    pub fn takes_file(&mut self, id: &str, have: usize, len: usize) -> Vec<u8> {
        self.says(&format!("/sendFile {id} {have}"));
        self.hears(&format!("/sendFile {id} {have}"));
        self.hears_raw(len - have)
    }

    /// The server closes the connection, without a reset.
    #[track_caller]
    pub fn hears_end(&mut self) {
        assert_eq!(
            self.socket.read(&mut [0; 1]).expect("an end, not a reset"),
            0,
            "an end, not another frame"
        );
    }
}

/// A stranger's own group. All its members have opened a dialogue, and none of them reads.
pub struct Den {
    pub admin: Peer,
    pub members: Vec<Peer>,
}

impl Den {
    pub fn found(port: u16, group: &str, n_members: usize) -> Den {
        let mut admin = Peer::stranger(port, "mallory", group);
        admin.hears("/adminReady");
        let waits = |n: usize| Peer::stranger(port, &format!("m{n}"), group);
        let mut members: Vec<Peer> = (0..n_members).map(waits).collect();
        for (n, member) in members.iter_mut().enumerate() {
            member.hears("/wait");
            for (text, answer) in [
                ("/approveRequest", "/approveRequest"),
                (".", "/proceed"),
                (&format!("m{n}"), "is now a member"),
            ] {
                admin.says(text);
                while !admin.hears_text().contains(answer) {}
            }
            member.hears("/accepted");
            member.says("/messageSend");
        }
        Den { admin, members }
    }

    /// The admin says this many lines of this length in one go. Returns early if the server ends the connection.
    pub fn flood(admin: &mut Peer, n_lines: usize, len: usize) {
        let mut reader = admin.socket.try_clone().unwrap();
        let frames = [admin.frame("/messageSend"), admin.frame(&"x".repeat(len))];
        let line = frames.concat();
        thread::scope(|scope| {
            // What it hears is taken, or the server waits for it.
            scope.spawn(|| std::io::copy(&mut reader, &mut std::io::sink()));
            let is_over = (0..n_lines).any(|_| admin.socket.write_all(&line).is_err());
            if !is_over {
                // Nothing more: its last lines have been taken when the server closes.
                let _ = admin.socket.write_all(&admin.frame("/disconnect"));
            }
            // The end wakes the reader.
            let _ = admin.socket.shutdown(std::net::Shutdown::Write);
        });
    }
}

/// Each peer sends a frame of 1 MiB but for its last bytes. Those that the server disconnects cannot.
pub fn send_partial_frames(peers: &mut [Peer]) {
    let mut bytes = vec![b'g'; 1 << 20];
    let length = bytes.len() as u32;
    bytes.truncate(bytes.len() - 100);
    for peer in peers {
        let sent = peer.socket.write_all(&length.to_be_bytes());
        let _ = sent.and_then(|()| peer.socket.write_all(&bytes));
    }
}

/// Uploads as a Python client does: everything, even if the server refuses it. Returns the result.
pub fn upload(peer: &mut Peer, name: &str, body: &[u8]) -> String {
    peer.says("/fileTransfer");
    peer.hears("/fileTransfer");
    peer.says(name);
    assert!(peer.hears_text().starts_with("/sendFile"));
    peer.says(&body.len().to_string());
    peer.says_raw(body);
    peer.hears_text()
}

pub fn frame(token: &[u8]) -> Vec<u8> {
    [&(token.len() as u32).to_be_bytes(), token].concat()
}

/// A fresh folder, removed when dropped.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A line of `/proc/PID/status`, in KiB or as a number.
pub fn status_of(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The program ends by itself, and successfully.
#[track_caller]
pub fn ends_well(program: &mut Program) {
    let status = program.ends();
    assert!(status.success(), "{status}: {:#?}", program.log_so_far());
}

/// The program ends in failure, with one line that says why.
#[track_caller]
pub fn ends_badly(program: &mut Program, reason: &str) {
    assert_eq!(program.ends().code(), Some(1));
    program.logs(reason);
    program.rest();
    let log = program.log_so_far();
    assert_eq!(log.len(), 1, "{log:#?}");
}

/// Whether these bytes stand anywhere in the memory of a process.
pub fn memory_holds(process: u32, wanted: &[u8]) -> bool {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{process}/mem")).unwrap();
    maps.lines().any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (
            u64::from_str_radix(from, 16).unwrap(),
            u64::from_str_radix(to, 16).unwrap(),
        );
        // Untouched parts of an arena and what belongs to the kernel cannot be read; nothing of ours is there.
        let pages = (from..to).step_by(1 << 16);
        let mut bytes = vec![0; (1 << 16) + wanted.len()];
        pages.into_iter().any(|at| {
            let most = bytes.len().min((to - at) as usize);
            let n = memory.read_at(&mut bytes[..most], at).unwrap_or(0);
            bytes[..n]
                .windows(wanted.len())
                .any(|window| window == wanted)
        })
    })
}

/// Somebody on the way between clients and a server, who keeps what passes, and can cut it.
pub struct Tap {
    /// Where clients connect.
    pub port: u16,
    /// What they sent, and what the server did.
    heard: [Arc<Mutex<Vec<u8>>>; 2],
    /// The sockets of the connections so far.
    sockets: Arc<Mutex<Vec<TcpStream>>>,
    /// No connection passes.
    is_shut: Arc<AtomicBool>,
    /// The connections are cut when so much has passed in each direction, and how.
    cut_at: [Arc<AtomicUsize>; 2],
    cut: Arc<Mutex<Cut>>,
}

/// How a [`Tap`] cuts a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both ends read to the end of what has passed.
    Close,
    /// Both ends hear that the connection is reset.
    Reset,
    /// Nothing more passes this way, and neither end hears why.
    Silence,
}

/// Which way bytes pass a [`Tap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

impl Tap {
    /// Passes connections on to this port of loopback.
    pub fn before(server: u16) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let tap = Tap {
            port,
            heard: Default::default(),
            sockets: Arc::default(),
            is_shut: Arc::default(),
            cut_at: [usize::MAX; 2].map(|n| Arc::new(AtomicUsize::new(n))),
            cut: Arc::new(Mutex::new(Cut::Close)),
        };
        let (heard, sockets, is_shut, cut_at, cut) = (
            tap.heard.clone(),
            Arc::clone(&tap.sockets),
            Arc::clone(&tap.is_shut),
            tap.cut_at.clone(),
            Arc::clone(&tap.cut),
        );
        thread::spawn(move || {
            for client in listener.incoming() {
                if is_shut.load(Ordering::SeqCst) {
                    continue;
                }
                let client = client.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                for socket in [&client, &server] {
                    socket.set_nodelay(true).unwrap();
                    sockets.lock().unwrap().push(socket.try_clone().unwrap());
                }
                let ways = [
                    (client.try_clone().unwrap(), server.try_clone().unwrap()),
                    (server, client),
                ];
                let marks = heard.clone().into_iter().zip(cut_at.clone());
                for ((from, to), (heard, cut_at)) in ways.into_iter().zip(marks) {
                    let (sockets, cut) = (Arc::clone(&sockets), Arc::clone(&cut));
                    thread::spawn(move || {
                        let is_cut = pass_on(&from, &to, &heard, &cut_at);
                        let cut = *cut.lock().unwrap();
                        match cut {
                            Cut::Silence if is_cut => {}
                            Cut::Reset => {
                                // The other direction ends, too. When nobody holds the sockets, they are reset.
                                sockets.lock().unwrap().clear();
                                for socket in [&from, &to] {
                                    let linger = Some(Duration::ZERO);
                                    socket2::SockRef::from(socket).set_linger(linger).unwrap();
                                    let _ = socket.shutdown(std::net::Shutdown::Read);
                                }
                            }
                            Cut::Close | Cut::Silence => {
                                let _ = from.shutdown(std::net::Shutdown::Both);
                                let _ = to.shutdown(std::net::Shutdown::Write);
                            }
                        }
                    });
                }
            }
        });
        tap
    }

    /// Ends all connections at once, also if something is on its way.
    pub fn cuts(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            // The other end may have been faster.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Cuts the connection, once, when so many more bytes have passed this way: exactly those, and no more.
    pub fn cuts_after(&self, way: Way, n: usize, cut: Cut) {
        *self.cut.lock().unwrap() = cut;
        let passed = self.heard[way as usize].lock().unwrap().len();
        self.cut_at[way as usize].store(passed + n, Ordering::SeqCst);
    }

    /// Lets no new connection pass, or lets them again.
    pub fn shuts(&self, is_shut: bool) {
        self.is_shut.store(is_shut, Ordering::SeqCst);
    }

    /// Waits until the clients have sent more than this.
    #[track_caller]
    pub fn passes_more_than(&self, n: usize) {
        let until = Instant::now() + DEADLINE;
        while self.sent().len() <= n {
            assert!(Instant::now() < until, "nothing more passes");
            thread::yield_now();
        }
    }

    /// What the clients sent so far.
    pub fn sent(&self) -> Vec<u8> {
        self.heard[0].lock().unwrap().clone()
    }

    /// What the server sent so far.
    pub fn received(&self) -> Vec<u8> {
        self.heard[1].lock().unwrap().clone()
    }
}

/// Returns whether the connection is to be cut.
fn pass_on(
    mut from: &TcpStream,
    mut to: &TcpStream,
    heard: &Mutex<Vec<u8>>,
    cut_at: &AtomicUsize,
) -> bool {
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        let mut heard = heard.lock().unwrap();
        let left = cut_at.load(Ordering::SeqCst).saturating_sub(heard.len());
        let is_cut = n >= left;
        let bytes = &bytes[..n.min(left)];
        heard.extend_from_slice(bytes);
        drop(heard);
        if is_cut {
            cut_at.store(usize::MAX, Ordering::SeqCst);
        }
        if to.write_all(bytes).is_err() || is_cut {
            return is_cut;
        }
    }
    false
}

/// Waits until stamps, which are seconds, are later ones than now.
pub fn waits_for_the_next_second() {
    let second = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = second();
    while second() == now {
        thread::yield_now();
    }
}

/// The texts of the frames in these bytes that this key opens, in one.
pub fn opened(mut bytes: &[u8], key: &str) -> String {
    let fernet = Fernet::new(key).unwrap();
    let mut texts = String::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (token, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        let text = fernet
            .decrypt(std::str::from_utf8(token).unwrap())
            .unwrap_or_default();
        texts.push_str(&String::from_utf8_lossy(&text));
        texts.push('\n');
        bytes = rest;
    }
    texts
}
