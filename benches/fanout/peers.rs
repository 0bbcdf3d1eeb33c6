//! What people would use instead: two brokers from the distribution's packages. Every line that goes through them is sealed as ours are, so
//! that all carry the same bytes; they seal nothing themselves. Their senders only say and their receivers only hear.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use super::sockets::{Outcome, Process};

/// A broker: how it is started, and what is said to it.
pub struct Broker {
    pub name: &'static str,
    program: &'static str,
    start: fn(Command, u16) -> Outcome<Process>,
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
    start: |mut redis, port| {
        redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        redis.args(["--client-output-buffer-limit", "pubsub 0 0 0"]);
        Process::start_at(redis, port)
    },
    subscribe: (b"*2\r\n$9\r\nSUBSCRIBE\r\n$5\r\nbench\r\n", b"*3\r\n$9\r\nsubscribe\r\n$5\r\nbench\r\n:1\r\n".len()),
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
    start: |mut mosquitto, port| {
        let mut setup = tempfile::NamedTempFile::new()?;
        write!(setup, "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nmax_queued_messages 0\n")?;
        // Read by the time that it listens.
        mosquitto.arg("-c").arg(setup.path());
        Process::start_at(mosquitto, port)
    },
    // CONNECT with a clean session and no name; SUBSCRIBE to the topic, at most once.
    subscribe: (b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0\x82\x0a\0\x01\0\x05bench\0", 4 + 5),
    greet: (b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0", 4),
    said: |line| {
        let len = 2 + 5 + line.len();
        let head = [0x30, (len % 128) as u8 | 0x80, (len / 128) as u8, 0, 5];
        [&head, b"bench".as_slice(), line].concat()
    },
    around: (10, 0),
};

impl Broker {
    /// Starts it and connects so many members, of which the first say and the others hear. `None` if it is not installed.
    pub fn start(&self, n_senders: usize, n_receivers: usize) -> Outcome<Option<(Process, Vec<TcpStream>)>> {
        if !is_installed(self.program) {
            return Ok(None);
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let process = (self.start)(Command::new(self.program), port)?;
        let mut members = Vec::new();
        for member in 0..n_senders + n_receivers {
            let mut socket = TcpStream::connect(("127.0.0.1", port))?;
            let (words, answer_len) = if member < n_senders { self.greet } else { self.subscribe };
            socket.write_all(words)?;
            socket.read_exact(&mut vec![0; answer_len])?;
            members.push(socket);
        }
        Ok(Some((process, members)))
    }
}

fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
