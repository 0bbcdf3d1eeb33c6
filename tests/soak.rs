//! Fifty clients for a while: they talk, ask, share files, lose their connections and are killed; a model knows what each must hear.
//!
//! `make soak SECONDS=600 SEED=7` says how long and with which random numbers. Forty of them are *steady*: only their connections break.
//! Every steady client must hear every line of the steady ones once, and all of them in one order. The other ten are killed now and then and
//! come back under the same names: what one of them was about to say may be lost with it, but nothing is heard twice.

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::faults::Footprint;
use support::{Program, Server, Tap, folder, lasting_client, status_of};

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
    /// How often each kind of thing happened.
    n_done: HashMap<&'static str, u64>,
    random: u64,
}

fn name(at: usize) -> String {
    format!("{}{at:02}", if at < N_STEADY { "steady" } else { "mortal" })
}

impl Crowd<'_> {
    fn gather(home: &Path, seed: u64) -> Crowd<'_> {
        let server = Server::start_with(&["--backlog", "1000"]);
        let taps = (0..N_TAPS).map(|_| Tap::before(server.port)).collect();
        let n_said = vec![0; N_STEADY + N_MORTAL];
        let mut crowd = Crowd {
            home,
            server,
            taps,
            clients: Vec::new(),
            n_said,
            n_done: HashMap::new(),
            random: seed | 1,
        };
        for at in 0..N_STEADY + N_MORTAL {
            let mut client = crowd.start(at);
            match at {
                0 => drop(client.hears("you administer it")),
                _ => {
                    client.hears("You wait");
                    crowd.clients[0].hears(&format!("PyChat: {} has requested", name(at)));
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

    /// A number below `n` (xorshift64: small, and the same for the same seed).
    fn random(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n as u64) as usize
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
                let len = self.random(50_000);
                let path = self.home.join(format!("file-{len}"));
                fs::write(&path, content(len)).unwrap();
                self.clients[at].types(&format!("/file {}", path.display()));
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

    /// Everybody says a last line, and the steady ones hear those of all others.
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
    }

    fn is_what_the_model_says(&self) {
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
                let is_part = file.file_name().unwrap().to_string_lossy().starts_with('.');
                assert!(
                    is_part
                        || fs::read(&file).unwrap()
                            == content(fs::metadata(&file).unwrap().len() as usize),
                    "{file:?}"
                );
                n_files += 1;
            }
        }
        println!(
            "{:?}; {n_heard} lines heard, {n_files} files received; lost 0, doubled 0, one order for all",
            self.n_done
        );
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
