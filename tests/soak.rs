//! Fifty clients for a while: they talk, ask, share files, lose their connections and are killed; a model knows what each must hear.
//!
//! `make soak SECONDS=600 SEED=7` says how long and with which random numbers. Forty of them are *steady*: only their connections break.
//! Every steady client must hear every line of the steady ones once, and all of them in one order. The other ten are killed now and then and
//! come back under the same names: what one of them was about to say may be lost with it, but nothing is heard twice.
//!
//! Meanwhile a *stranger* at another address does all that a stranger can do to a server, at random: see [`Stranger`]. The others notice
//! nothing of it.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::faults::Footprint;
use support::{Peer, Program, STRANGER, Server, Tap, folder, lasting_client, status_of};

const N_STEADY: usize = 40;
const N_MORTAL: usize = 10;

/// Clients that share a tap lose their connections together.
const N_TAPS: usize = 10;

/// How many things happen in a second, all in all.
const PACE: u32 = 60;

fn main() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (seconds, seed) = (number("SECONDS", 60), number("SEED", 1));
    println!("soak: {seconds} s, seed {seed}");
    let home = folder();
    let mut crowd = Crowd::gather(home.path(), seed);
    let port = crowd.server.port;
    let is_over = Arc::new(AtomicBool::new(false));
    let is_over_there = Arc::clone(&is_over);
    let stranger = thread::spawn(move || Stranger::new(port, seed).roams_until(&is_over_there));
    let before = (
        Footprint::of(crowd.server.program.id()),
        status_of(crowd.server.program.id(), "VmRSS"),
    );
    let start = Instant::now();
    for n in 1.. {
        if start.elapsed() > Duration::from_secs(seconds) {
            break;
        }
        crowd.something_happens();
        crowd.listens_until(start + Duration::from_secs(1) * n / PACE);
    }
    is_over.store(true, Ordering::Relaxed);
    println!("the stranger: {:?}", stranger.join().unwrap());
    crowd.comes_to_rest();
    let after = (
        Footprint::of(crowd.server.program.id()),
        status_of(crowd.server.program.id(), "VmRSS"),
    );
    crowd.is_what_the_model_says();
    println!("server before: {:?}, {} KiB", before.0, before.1);
    println!("server after:  {:?}, {} KiB", after.0, after.1);
}

/// Everybody, and what each has said.
struct Crowd<'a> {
    home: &'a Path,
    server: Server,
    taps: Vec<Tap>,
    clients: Vec<Program>,
    n_said: Vec<u64>,
    n_files: Vec<usize>,
    /// How often each kind of thing happened.
    n_done: HashMap<&'static str, u64>,
    random: u64,
}

fn name(at: usize) -> String {
    format!("{}{at:02}", if at < N_STEADY { "steady" } else { "mortal" })
}

impl Crowd<'_> {
    fn gather(home: &Path, seed: u64) -> Crowd<'_> {
        // So few places that the stranger takes them all.
        let server = Server::start_with(&["--backlog", "1000", "--max-clients", "150"]);
        let taps = (0..N_TAPS).map(|_| Tap::before(server.port)).collect();
        let n_said = vec![0; N_STEADY + N_MORTAL];
        let mut crowd = Crowd {
            home,
            server,
            taps,
            clients: Vec::new(),
            n_said,
            n_files: vec![0; N_STEADY + N_MORTAL],
            n_done: HashMap::new(),
            random: seed | 1,
        };
        for at in 0..N_STEADY + N_MORTAL {
            let mut client = crowd.start(at);
            match at {
                0 => drop(client.hears("you administer it")),
                _ => {
                    client.hears("You wait");
                    crowd.clients[0].types(&format!("/approve {}", name(at)));
                    client.hears("You have been approved");
                }
            }
            crowd.clients.push(client);
        }
        crowd
    }

    fn start(&self, at: usize) -> Program {
        let downloads = self.home.join(name(at));
        fs::create_dir_all(&downloads).unwrap();
        lasting_client(
            self.taps[at % N_TAPS].port,
            &name(at),
            &["--downloads", downloads.to_str().unwrap()],
        )
    }

    fn random(&mut self, n: usize) -> usize {
        below(n, &mut self.random)
    }

    fn something_happens(&mut self) {
        let at = self.random(N_STEADY + N_MORTAL);
        let what = match self.random(1000) {
            0..=849 => {
                self.n_said[at] += 1;
                let line = format!("{} says {}", name(at), self.n_said[at]);
                self.clients[at].types(&line);
                "lines"
            }
            850..=939 => {
                let command =
                    ["/members", "/online", "/admin", "/requests", "/kick nobody"][self.random(5)];
                self.clients[at].types(command);
                "commands"
            }
            940..=949 => {
                // A quarter of them is so long that it is delivered while it is uploaded.
                let most = [50_000, 50_000, 50_000, 2_000_000][self.random(4)];
                let len = self.random(most);
                self.n_files[at] += 1;
                let path = self.home.join(format!("file-{len}"));
                fs::write(&path, content(len)).unwrap();
                self.clients[at].types(&format!("/file {}", path.display()));
                if len > 500_000 {
                    // It is on its way when its connection breaks.
                    self.listens_until(Instant::now() + Duration::from_millis(20));
                    self.taps[at % N_TAPS].cuts();
                }
                "files"
            }
            950..=989 => {
                let tap = self.random(N_TAPS);
                self.taps[tap].cuts();
                "cuts"
            }
            _ => {
                let mortal = N_STEADY + self.random(N_MORTAL);
                self.clients[mortal].signal("KILL");
                self.clients[mortal].ends();
                self.clients[mortal] = self.start(mortal);
                "kills"
            }
        };
        *self.n_done.entry(what).or_default() += 1;
    }

    /// Takes in what the clients show, until this moment.
    fn listens_until(&mut self, until: Instant) {
        while Instant::now() < until {
            self.clients
                .iter_mut()
                .for_each(Program::hears_what_is_there);
            std::thread::sleep(Duration::from_millis(2)); // not a wait for an event: it sets the pace
        }
    }

    /// Everybody says a last line, and the steady ones hear those of all others. All their files have been shared by then.
    fn comes_to_rest(&mut self) {
        for at in 0..N_STEADY {
            self.clients[at].types(&format!("{} is done", name(at)));
        }
        for at in 0..N_STEADY {
            for other in (0..N_STEADY).filter(|other| *other != at) {
                let last = format!("{0}: {0} is done", name(other));
                if !self.clients[at].heard().contains(&last) {
                    self.clients[at].hears_within(Duration::from_secs(120), &last);
                }
            }
        }
        for at in 0..N_STEADY {
            let results = |client: &Program| {
                let lines = client.heard().iter();
                lines
                    .filter(|line| line.contains("is on its way to"))
                    .count()
            };
            while results(&self.clients[at]) < self.n_files[at] {
                self.clients[at].hears_within(Duration::from_secs(120), "is on its way to");
            }
        }
    }

    /// What the steady clients were told of the files they shared, and of those they did not get.
    fn files_of_steady(&self) {
        let (mut n_resumed, mut n_restarted) = (0, 0);
        for (at, client) in self.clients[..N_STEADY].iter().enumerate() {
            for line in client.heard() {
                let is_lost = [
                    "was not shared",
                    "was not received",
                    "is not coming",
                    "did not arrive",
                ]
                .iter()
                .any(|words| line.contains(words));
                let is_mortal = line.contains("from mortal");
                assert!(!is_lost || is_mortal, "{}: {line}", name(at));
                n_resumed += usize::from(line.contains("it goes on when it is back"));
                n_restarted += usize::from(line.contains("share it again"));
            }
        }
        println!("files of steady clients: {n_resumed} resumed, {n_restarted} restarted, 0 lost");
    }

    fn is_what_the_model_says(&self) {
        self.files_of_steady();
        let (mut n_heard, mut n_files) = (0, 0);
        // All lines of steady clients in the order in which the first of them heard them; its own have no place in it.
        let order: Vec<&str> = lines(&self.clients[0])
            .filter(|line| line.starts_with("steady"))
            .collect();
        for (at, client) in self.clients.iter().enumerate() {
            let mut next: HashMap<&str, u64> = HashMap::new();
            for (speaker, number) in
                lines(client).filter_map(|line| line.split_once(": ")?.1.split_once(" says "))
            {
                let (number, last) = (
                    number.parse::<u64>().unwrap(),
                    next.entry(speaker).or_default(),
                );
                assert!(
                    number > *last,
                    "{} heard line {number} of {speaker} twice or late",
                    name(at)
                );
                let is_whole = at < N_STEADY && speaker.starts_with("steady");
                assert!(
                    !is_whole || number == *last + 1,
                    "{} missed line {} of {speaker}",
                    name(at),
                    *last + 1
                );
                *last = number;
                n_heard += 1;
            }
            if at < N_STEADY {
                for other in (0..N_STEADY).filter(|other| *other != at) {
                    let heard = next.get(name(other).as_str()).copied().unwrap_or(0);
                    assert_eq!(
                        heard,
                        self.n_said[other],
                        "lines of {} that {} heard",
                        name(other),
                        name(at)
                    );
                }
                let (own, first) = (format!("{}: ", name(at)), format!("{}: ", name(0)));
                let others = |line: &&str| {
                    line.starts_with("steady")
                        && !line.starts_with(&own)
                        && !line.starts_with(&first)
                };
                let mut pairs = lines(client)
                    .filter(others)
                    .zip(order.iter().copied().filter(others));
                let differs = pairs.find(|(here, there)| here != there);
                assert_eq!(
                    differs,
                    None,
                    "{} heard the lines in another order than {}",
                    name(at),
                    name(0)
                );
            }
            for file in self
                .home
                .join(name(at))
                .read_dir()
                .unwrap()
                .map(|file| file.unwrap().path())
            {
                let len = fs::metadata(&file).unwrap().len() as usize;
                assert!(fs::read(&file).unwrap() == content(len), "{file:?}");
                n_files += 1;
            }
        }
        println!(
            "{:?}; {n_heard} lines heard, {n_files} files received; lost 0, doubled 0, one order for all",
            self.n_done
        );
    }
}

/// A number below `n` (xorshift64: small, and the same for the same seed).
fn below(n: usize, random: &mut u64) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random % n as u64) as usize
}

/// Somebody who knows the protocol and wants to spoil the chat.
struct Stranger {
    port: u16,
    random: u64,
    /// The connections that it has.
    peers: Vec<Peer>,
    /// How often it did each thing.
    n_done: HashMap<&'static str, u64>,
}

impl Stranger {
    /// At most this many connections at a time.
    const MOST: usize = 400;

    fn new(port: u16, seed: u64) -> Stranger {
        Stranger {
            port,
            random: seed.wrapping_mul(7) | 1,
            peers: Vec::new(),
            n_done: HashMap::new(),
        }
    }

    fn roams_until(mut self, is_over: &AtomicBool) -> HashMap<&'static str, u64> {
        while !is_over.load(Ordering::Relaxed) {
            let what = match self.random(10) {
                0 => ("says nothing", self.connects().is_some()),
                1..=3 => {
                    let name = format!("m{}", self.random(10_000));
                    ("asks to join", self.joins(&name, "team"))
                }
                4 => {
                    let name = name(self.random(N_STEADY + N_MORTAL));
                    ("takes a name", self.joins(&name, "team"))
                }
                5 => {
                    let group = format!("own {}", self.random(10_000));
                    ("founds a group", self.joins("mallory", &group))
                }
                6 => ("sends nonsense", self.sends(&[0xA5; 200])),
                7 => ("sends half a frame", self.sends(b"\0\x0f\0\0gAAAAA")),
                8 => ("floods its group", self.floods()),
                _ => ("hangs up", self.hangs_up()),
            };
            if what.1 {
                *self.n_done.entry(what.0).or_default() += 1;
            }
            while self.peers.len() > Stranger::MOST {
                self.hangs_up();
            }
            // Not a wait for an event: with more in a minute, its system would have no ports left.
            thread::sleep(Duration::from_millis(2));
        }
        self.n_done
    }

    fn random(&mut self, n: usize) -> usize {
        below(n, &mut self.random)
    }

    /// Connects and takes the key. Fails where the server has no place for it.
    fn connects(&mut self) -> Option<&mut Peer> {
        let peer = Peer::connect_from(STRANGER, self.port).ok()?;
        let patience = Some(Duration::from_millis(50));
        peer.socket.set_write_timeout(patience).unwrap();
        self.peers.push(peer);
        self.peers.last_mut()
    }

    fn joins(&mut self, name: &str, group: &str) -> bool {
        let Some(peer) = self.connects() else {
            return false;
        };
        let frames = [name, group].map(|text| peer.frame(text)).concat();
        peer.socket.write_all(&frames).is_ok()
    }

    fn sends(&mut self, bytes: &[u8]) -> bool {
        let at = self.random(self.peers.len().max(1));
        let peer = self.peers.get_mut(at);
        peer.is_some_and(|peer| peer.socket.write_all(bytes).is_ok())
    }

    fn floods(&mut self) -> bool {
        let at = self.random(self.peers.len().max(1));
        let Some(peer) = self.peers.get_mut(at) else {
            return false;
        };
        let frames = ["/messageSend", "flood"].map(|text| peer.frame(text));
        let flood = frames.concat().repeat(100);
        peer.socket.write_all(&flood).is_ok()
    }

    fn hangs_up(&mut self) -> bool {
        let at = self.random(self.peers.len().max(1));
        let is_there = at < self.peers.len();
        if is_there {
            self.peers.swap_remove(at);
        }
        is_there
    }
}

/// The chat lines that a client has shown.
fn lines(client: &Program) -> impl Iterator<Item = &str> {
    let is_line = |line: &&str| {
        line.split_once(": ")
            .is_some_and(|(name, _)| name.starts_with("steady") || name.starts_with("mortal"))
    };
    client.heard().iter().map(String::as_str).filter(is_line)
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251 + len) as u8).collect()
}
