//! What people would use instead: two brokers from the distribution's packages, redis, and mosquitto without TLS and with it.
//! Every line that goes through them is sealed as ours are, so that all carry the same bytes, and they do not open it; with TLS,
//! mosquitto encrypts it once more, for each receiver anew. Their senders only say and their receivers only hear.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use super::sockets::{Outcome, Pipe, Process};
use super::tls::{Dress, certify};

type Pipes = Vec<Box<dyn Pipe>>;

/// A broker: how it is started, and what is said to it.
pub struct Broker {
    pub name: &'static str,
    program: &'static str,
    /// Starts it at this port. The folder is for its files, and lasts until all have connected.
    start: fn(Command, u16, &Path) -> Outcome<Process>,
    /// What its members put around their sockets, with what it needs for that in its folder. `None` where this cannot be had.
    dress: fn(&Path) -> Outcome<Option<Dress>>,
    /// What a receiver says first, and how long the answer to it is.
    subscribe: (&'static [u8], usize),
    /// What a sender says first, and how long the answer to it is.
    greet: (&'static [u8], usize),
    /// What stands before and behind a line that is said ...
    pub said: fn(&[u8]) -> Vec<u8>,
    /// ... and how much before and behind one that is heard, in bytes.
    pub around: (usize, usize),
}

pub const REDIS: Broker = Broker {
    name: "redis",
    program: "redis-server",
    start: |mut redis, port, _| {
        redis.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        redis.args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
        Process::start_at(redis, port)
    },
    dress: bare,
    subscribe: (
        b"*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nbench\r\n",
        b"*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n".len(),
    ),
    greet: (b"", 0),
    said: |line| {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n$5\r\nbench\r\n${}\r\n", line.len());
        [head.as_bytes(), line, b"\r\n"].concat()
    },
    around: (b"*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$228\r\n".len(), 2),
};

pub const MOSQUITTO: Broker = Broker {
    name: "mosquitto",
    program: "mosquitto",
    start: |mosquitto, port, folder| start_mosquitto(mosquitto, port, folder, ""),
    dress: bare,
    // CONNECT with a clean session and no name; SUBSCRIBE to the topic, at most once.
    subscribe: (
        b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0\x82\x0a\0\x01\0\x05bench\0",
        4 + 5,
    ),
    greet: (b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", 4),
    said: |line| {
        let len = 2 + 5 + line.len();
        let head = [0x30, (len % 128) as u8 | 0x80, (len / 128) as u8, 0, 5];
        [&head, b"bench".as_slice(), line].concat()
    },
    around: (10, 0),
};

/// The same, for members who all speak TLS 1.3 and check its certificate. Started by root, it stays root: the user that it would
/// become must not read the key.
pub const MOSQUITTO_TLS: Broker = Broker {
    name: "mosquitto TLS",
    start: |mosquitto, port, folder| {
        let pem = |name: &str| folder.join(name).display().to_string();
        let (cert, key) = (pem("cert.pem"), pem("key.pem"));
        let tls = format!(
            "user root\ncafile {cert}\ncertfile {cert}\nkeyfile {key}\ntls_version tlsv1.3\n"
        );
        start_mosquitto(mosquitto, port, folder, &tls)
    },
    dress: certify,
    ..MOSQUITTO
};

fn start_mosquitto(
    mut mosquitto: Command,
    port: u16,
    folder: &Path,
    tls: &str,
) -> Outcome<Process> {
    let setup = folder.join("setup");
    let plain = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n"
    );
    fs::write(&setup, plain + tls)?;
    mosquitto.arg("-c").arg(setup);
    Process::start_at(mosquitto, port)
}

fn bare(_: &Path) -> Outcome<Option<Dress>> {
    Ok(Some(Box::new(|socket| Ok(Box::new(socket)))))
}

impl Broker {
    /// Starts it and connects its members. The first of them say lines, and the others hear them. `None` if it cannot be had.
    pub fn start(&self, n_senders: usize, n_receivers: usize) -> Outcome<Option<(Process, Pipes)>> {
        let folder = tempfile::tempdir()?;
        let Some(dress) = (self.dress)(folder.path())?.filter(|_| is_installed(self.program))
        else {
            return Ok(None);
        };
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let process = (self.start)(Command::new(self.program), port, folder.path())?;
        let mut members = Vec::new();
        for member in 0..n_senders + n_receivers {
            let mut pipe = dress(TcpStream::connect(("127.0.0.1", port))?)?;
            let (words, answer_len) = if member < n_senders {
                self.greet
            } else {
                self.subscribe
            };
            pipe.write_all(words)?;
            pipe.read_exact(&mut vec![0; answer_len])?;
            members.push(pipe);
        }
        Ok(Some((process, members)))
    }
}

fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}
