//! The bench's sockets, the programs at their other ends, and one of these programs: the bare relay. Knows frames and no chat.

use std::error::Error;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use poller::{Poller, raise_limit};

/// A bench ends at the first error of any kind.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// The limit: passes on what each of `n` peers sends to all others, and ends when one of them does. One thread, nothing sealed or opened.
pub fn relay(n: usize) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("listening on {},", listener.local_addr()?);
    let mut peers = Vec::new();
    for _ in 0..n {
        peers.push(Stream::new(Box::new(listener.accept()?.0), None)?);
    }
    let mut poller = Poller::new(&peers)?;
    let mut due = vec![Vec::new(); n];
    loop {
        let is_idle = due.iter().all(Vec::is_empty);
        let limit = Duration::from_millis(if is_idle { 10_000 } else { 1 });
        for from in poller.wait(limit)? {
            let is_in = peers[from].read(|frame| {
                for (_, due) in due.iter_mut().enumerate().filter(|(to, _)| *to != from) {
                    due.extend_from_slice(frame);
                }
                Ok(())
            })?;
            if !is_in {
                return Ok(());
            }
        }
        for (peer, due) in peers
            .iter_mut()
            .zip(&mut due)
            .filter(|(_, due)| !due.is_empty())
        {
            match peer.pipe.write(due) {
                Ok(n) => drop(due.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What a member says and hears goes through it: a socket, with nothing around it or with TLS.
pub trait Pipe: Read + Write {
    fn socket(&self) -> &TcpStream;

    /// Whether it has taken more out of its socket than was read: epoll, which sees the socket alone, does not tell.
    fn holds_more(&self) -> bool;
}

impl Pipe for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn holds_more(&self) -> bool {
        false
    }
}

/// A pipe that never blocks, and the frames that come out of it.
pub struct Stream {
    pub pipe: Box<dyn Pipe>,
    buffer: Vec<u8>,
    /// How much of the buffer's beginning is a frame that is not complete yet.
    filled: usize,
    /// The length of every frame where none says it: the blind relay's bare tokens, and what other brokers deliver.
    bare_len: Option<usize>,
}

impl Stream {
    pub fn new(pipe: Box<dyn Pipe>, bare_len: Option<usize>) -> io::Result<Stream> {
        pipe.socket().set_nodelay(true)?;
        pipe.socket().set_nonblocking(true)?;
        Ok(Stream {
            pipe,
            buffer: vec![0; 16 << 10],
            filled: 0,
            bare_len,
        })
    }

    /// Reads once, and then all that the pipe holds. Gives every whole frame, with its length if it has one, to `take`. `false`
    /// at the end of the stream.
    pub fn read(&mut self, mut take: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<bool> {
        let mut is_in = self.read_once(&mut take)?;
        while is_in && self.pipe.holds_more() {
            is_in = self.read_once(&mut take)?;
        }
        Ok(is_in)
    }

    fn read_once(&mut self, take: &mut impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<bool> {
        match self.pipe.read(&mut self.buffer[self.filled..]) {
            Ok(0) => return Ok(false),
            Ok(n) => self.filled += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let mut rest = &self.buffer[..self.filled];
        while let Some(length) = rest.first_chunk() {
            let length = self
                .bare_len
                .unwrap_or(4 + u32::from_be_bytes(*length) as usize);
            if rest.len() < length {
                break;
            }
            let (frame, after) = rest.split_at(length);
            take(frame)?;
            rest = after;
        }
        let used = self.filled - rest.len();
        self.buffer.copy_within(used..self.filled, 0);
        self.filled -= used;
        Ok(true)
    }
}

/// A program that says where it listens. Killed when dropped.
pub struct Process {
    pub child: Child,
    pub port: u16,
}

impl Process {
    pub fn start(mut program: Command) -> Outcome<Process> {
        let mut child = program.stdout(Stdio::piped()).spawn()?;
        let mut banner = String::new();
        BufReader::new(child.stdout.take().ok_or("its output is a pipe")?)
            .read_line(&mut banner)?;
        let port = banner
            .trim()
            .strip_prefix("listening on 127.0.0.1:")
            .and_then(|rest| rest.split(',').next()?.parse().ok());
        Ok(Process {
            child,
            port: port.ok_or(format!("not a port: {banner}"))?,
        })
    }

    /// Starts a program that is told where to listen and does not say when it does.
    pub fn start_at(mut program: Command, port: u16) -> Outcome<Process> {
        let child = program
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let process = Process { child, port };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                return Err(format!("nothing listens on port {port}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// Its resident memory, in KiB.
    pub fn resident(&self) -> Outcome<f64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it has had, in KiB.
    pub fn peak(&self) -> Outcome<f64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, what: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(what)?.trim().strip_suffix(" kB"));
        Ok(value
            .ok_or("/proc does not tell the resident memory")?
            .parse()?)
    }

    pub fn cpu_secs(&self) -> Outcome<f64> {
        cpu_secs(&self.child.id().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The relay may have ended already, since the first of its peers has.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that a process has taken so far, user and system: to 10 ms, the unit in which Linux tells it.
pub fn cpu_secs(process: &str) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Counted from behind the program's name, which may hold blanks.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / 100.0)
}

#[cfg(target_os = "linux")]
mod poller {
    use super::*;
    use rustix::event::{Timespec, epoll};
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::os::fd::OwnedFd;

    /// Raises the soft limit on descriptors as far as it may.
    pub fn raise_limit() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let current = maximum;
        // If it is refused, the bench says so when it has no descriptor left.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
    }

    /// Tells which of many streams have something to read.
    pub struct Poller {
        epoll: OwnedFd,
        events: Vec<epoll::Event>,
    }

    impl Poller {
        pub fn new(streams: &[Stream]) -> Outcome<Poller> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for (at, stream) in streams.iter().enumerate() {
                let data = epoll::EventData::new_u64(at as u64);
                epoll::add(&epoll, stream.pipe.socket(), data, epoll::EventFlags::IN)?;
            }
            Ok(Poller {
                epoll,
                events: Vec::with_capacity(streams.len()),
            })
        }

        /// Waits until some are ready, or for `limit`.
        pub fn wait(&mut self, limit: Duration) -> Outcome<Vec<usize>> {
            let limit = Timespec::try_from(limit)?;
            self.events.clear();
            let spare = rustix::buffer::spare_capacity(&mut self.events);
            epoll::wait(&self.epoll, spare, Some(&limit))?;
            Ok(self
                .events
                .iter()
                .map(|event| event.data.u64() as usize)
                .collect())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod poller {
    use super::*;

    pub fn raise_limit() {}

    pub struct Poller;

    impl Poller {
        pub fn new(_: &[Stream]) -> Outcome<Poller> {
            Err("this bench measures on Linux only".into())
        }

        pub fn wait(&mut self, _: Duration) -> Outcome<Vec<usize>> {
            Ok(Vec::new())
        }
    }
}
