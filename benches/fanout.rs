//! Fan-out: how fast, how soon and at what cost the lines of a group reach all of its members, beside what people would use instead.
//!
//! ```text
//!   S senders ─┐              ┌─▶ N receivers
//!              ├─▶ server ────┤                     all members are sockets of this one thread
//!              └── W lines ◀──┘─▶ the other senders (of a chat; a broker's senders only say)
//! ```
//!
//! The servers are the release program's group chat and its blind relay (without a pause), the brokers of [`peers`], one of them
//! also with TLS, and the Python server that the tests use, each in a process of its own; who cannot be had is named and left
//! out. Their figures are to be read against a limit that is measured in turn with them, on the same load: this program
//! started once more as one thread that seals nothing, takes what has come and gives each member all of it in one write.
//!
//! W lines are under way at any time: a sender says the next as soon as one of them is with everybody. The rows with a pace say a line
//! each 10 ms instead, and show what a single person sees. The last table is the talk of a Python client: question, answer, text.
//! Every delivery is counted. A line is opened once, when the first member has it; the others are known by the random part of their
//! token, but for the Python server, which seals a line for each. A line that somebody does not get, or gets twice, ends the bench
//! with exit 1.
//!
//! `cargo bench --bench fanout` takes ten minutes; with `-- --quick` every row is one short run;
//! the others measure something else: `-- --idle` clients that do nothing, `-- --restart` clients that come back to a server that was
//! killed, and `-- --guesses` what it costs to guess a phrase.
//! Reads `/proc` and waits with epoll, so it measures on Linux and says so elsewhere.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command as Program, ExitCode};
use std::time::{Duration, Instant};

use fernchat::seal::{Key, token_len};
use fernchat::wire::command::{
    ACCEPTED, ACKNOWLEDGEMENT, ADMIN_READY, Command, FERNCHAT, PROCEED, WAIT, line,
};
use fernchat::wire::frame;

#[path = "fanout/sockets.rs"]
mod sockets;

#[path = "fanout/guesses.rs"]
mod guesses;

#[path = "fanout/idle.rs"]
mod idle;

#[path = "fanout/peers.rs"]
mod peers;

#[path = "fanout/restart.rs"]
mod restart;

#[path = "fanout/talk.rs"]
mod talk;

#[path = "fanout/tls.rs"]
mod tls;

use peers::{Broker, MOSQUITTO, MOSQUITTO_TLS, REDIS};
use sockets::{Outcome, Poller, Process, Stream, cpu_secs, relay};

/// The length of a line's text, in bytes.
const TEXT_LEN: usize = 100;

/// After so much time without any delivery, those that are missing are lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long is listened after a run for what nobody should hear.
const QUIET: Duration = Duration::from_millis(50);

/// How long a run is that is not counted.
const WARM_UP: Duration = Duration::from_millis(100);

/// Groups of more members are started anew for each run: all of them at once would be more sockets than one process may have.
const MOST_TO_KEEP: usize = 1100;

/// The most receivers at the Python server. To let more in takes it too long.
const MOST_FOR_PYTHON: usize = 100;

const PYTHON: &str = "Python with cryptography";

/// What is asked of a group of `n_receivers` and `n_senders`.
struct Load {
    n_receivers: usize,
    n_senders: usize,
    /// The most lines under way.
    window: usize,
    /// The time between two lines; zero says the next as soon as the window lets it.
    pace: Duration,
}

/// The rows of the table: receivers, senders, window, pace in ms.
const LOADS: [(usize, usize, usize, u64); 10] = [
    (10, 1, 1, 0),
    (10, 16, 16, 0),
    (100, 1, 1, 0),
    (100, 16, 16, 0),
    (1000, 1, 1, 0),
    (1000, 16, 16, 0),
    (5000, 1, 1, 0),
    (5000, 16, 16, 0),
    (1, 1, 100, 10),
    (100, 1, 100, 10),
];

impl Load {
    fn n_members(&self) -> usize {
        self.n_senders + self.n_receivers
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    let outcome = match args.iter().position(|arg| arg == "--relay") {
        Some(at) => relay(args[at + 1].parse().unwrap_or_default()),
        None if has("--idle") => idle::measure(),
        None if has("--guesses") => guesses::measure(),
        None if has("--restart") => restart::measure(),
        // Only `cargo bench` says --bench: somebody who runs all targets as tests wants to know that it works.
        None => measure(has("--quick") || !has("--bench")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(is_quick: bool) -> Outcome<()> {
    // Both groups of the largest row are more sockets than the usual soft limit, which this raises.
    sockets::raise_limit();
    let n_runs = if is_quick { 1 } else { 5 };
    println!(
        "A line is {TEXT_LEN} bytes, a delivery {} bytes on the wire. Median (least-most) of {n_runs} runs.\n",
        delivery_len()
    );
    print_cells(
        [
            "N",
            "S",
            "W",
            "through",
            "1000 deliveries/s",
            "CPU µs/delivery",
            "p50 ms",
            "p99 ms",
            "bench %",
        ]
        .map(String::from),
    );
    let mut skipped = Vec::new();
    for (n_receivers, n_senders, window, pace) in LOADS {
        let pace = Duration::from_millis(pace);
        let load = &Load {
            n_receivers,
            n_senders,
            window,
            pace,
        };
        let time = Duration::from_millis(match (is_quick, load.pace.is_zero()) {
            (true, _) => 300,
            (false, true) => 1000,
            (false, false) => 2000,
        });
        let mut rows = contenders(load);
        for _ in 0..n_runs {
            for row in &mut rows {
                row.run(load, time)?;
            }
        }
        let (rows, left_out): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| !row.runs.is_empty());
        skipped.extend(left_out.into_iter().map(|row| row.through));
        print_rows(load, &rows);
    }
    println!(
        "\nN receivers, S senders, W lines under way or the time between two; a chat's line goes to N + S - 1 members, a broker's to N.\n\
         CPU: what the server takes on all cores, user and system, told in units of 10 ms: of little meaning for 1 receiver.\n\
         bench: how busy the one thread is that says and hears it all; at 100 % the program could do more.\n\
         chat/ ...: the group chat's median over that of another."
    );
    skipped.sort_unstable();
    skipped.dedup();
    skipped
        .iter()
        .for_each(|name| println!("Not to be had here, so left out: {name}."));
    talk::measure(if is_quick { 5 } else { 50 })?;
    Ok(())
}

/// What one run came to: 1000 deliveries/s, CPU µs/delivery, p50 ms, p99 ms, how busy the bench was in percent.
type Figures = [f64; 5];

/// Something that lines go through, and what its runs came to.
struct Row {
    through: &'static str,
    /// Starts it, if it can be had here.
    start: Box<Start>,
    group: Option<Group>,
    runs: Vec<Figures>,
}

/// What starts a group for a load, if it can be had here.
type Start = dyn Fn(&Load) -> Outcome<Option<Group>>;

/// All that this load is put on, in turn.
fn contenders(load: &Load) -> Vec<Row> {
    let mut rows = vec![
        Row::new("group chat", |load| Group::of_fernchat(load).map(Some)),
        Row::new("limit", |load| Group::of_limit(load).map(Some)),
        Row::new("blind relay", |load| Group::of_blind_relay(load).map(Some)),
    ];
    rows.extend(
        [REDIS, MOSQUITTO, MOSQUITTO_TLS]
            .map(|broker| Row::new(broker.name, move |load| Group::of_broker(load, &broker))),
    );
    // With several senders its frames are torn, as each of its threads writes length and token apart.
    if load.n_senders == 1 && load.n_receivers <= MOST_FOR_PYTHON {
        rows.push(Row::new(PYTHON, Group::of_python));
    }
    rows
}

impl Row {
    fn new(
        through: &'static str,
        start: impl Fn(&Load) -> Outcome<Option<Group>> + 'static,
    ) -> Row {
        Row {
            through,
            start: Box::new(start),
            group: None,
            runs: Vec::new(),
        }
    }

    /// A run, if it can be had.
    fn run(&mut self, load: &Load, time: Duration) -> Outcome<()> {
        let named = |error| format!("{}: {error}", self.through);
        if self.group.is_none() {
            self.group = (self.start)(load).map_err(named)?;
            // To warm up.
            if let Some(group) = &mut self.group {
                group.run(load, WARM_UP).map_err(named)?;
            }
        }
        if let Some(group) = &mut self.group {
            self.runs.push(group.run(load, time).map_err(named)?);
        }
        if load.n_members() > MOST_TO_KEEP {
            self.group = None;
        }
        Ok(())
    }

    /// The median, the least and the most of a column.
    fn spread(&self, column: usize) -> (f64, f64, f64) {
        let mut values: Vec<f64> = self.runs.iter().map(|figures| figures[column]).collect();
        values.sort_by(f64::total_cmp);
        (
            values[values.len() / 2],
            values[0],
            values[values.len() - 1],
        )
    }
}

fn print_rows(load: &Load, rows: &[Row]) {
    let window = if load.pace.is_zero() {
        load.window.to_string()
    } else {
        format!("{} ms", load.pace.as_millis())
    };
    for row in rows {
        let cell = |column, digits| {
            let (median, least, most) = row.spread(column);
            match row.runs.len() {
                1 => format!("{median:.digits$}"),
                _ => format!("{median:.digits$} ({least:.digits$}-{most:.digits$})"),
            }
        };
        let (n, s) = (load.n_receivers.to_string(), load.n_senders.to_string());
        let busy = format!("{:.0}", row.spread(4).0);
        print_cells([
            n,
            s,
            window.clone(),
            row.through.into(),
            cell(0, 1),
            cell(1, 2),
            cell(2, 3),
            cell(3, 3),
            busy,
        ]);
    }
    let none = String::new;
    let (chat, others) = rows
        .split_first()
        .expect("there is a row for the group chat");
    for other in others {
        let ratio = |column| match chat.spread(column).0 / other.spread(column).0 {
            ratio if ratio.is_finite() => format!("{ratio:.2}"),
            _ => "-".into(),
        };
        let title = format!("chat/ {}", other.through);
        print_cells([
            none(),
            none(),
            none(),
            title,
            ratio(0),
            ratio(1),
            ratio(2),
            ratio(3),
            none(),
        ]);
    }
}

fn print_cells(cells: [String; 9]) {
    const WIDTHS: [usize; 9] = [4, 3, 6, 19, 24, 20, 22, 22, 8];
    let line: String = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| format!("{cell:>width$} "))
        .collect();
    println!("{}", line.trim_end());
}

/// All members of one group. Those from `n_senders` on only listen.
struct Group {
    process: Process,
    streams: Vec<Stream>,
    poller: Poller,
    /// What a text becomes on its way from this sender.
    utter: Utter,
    tally: Tally,
}

enum Utter {
    /// Sealed and with all that the chat wants said with it.
    Chat(fn(&Key, sender: usize, text: &str) -> Vec<u8>),
    /// The sealed line inside of what the broker wants.
    Brokered(fn(&[u8]) -> Vec<u8>),
}

impl Group {
    fn of_fernchat(load: &Load) -> Outcome<Group> {
        let mut server = Program::new(env!("CARGO_BIN_EXE_fernchat"));
        server
            .args(["server", "127.0.0.1", "0", "--max-clients", "6000"])
            .env("RUST_LOG", "warn");
        let process = Process::start(server)?;
        let (key, members) = join(process.port, load.n_members())?;
        let utter = |key: &Key, _, text: &str| {
            [seal(key, Command::MessageSend.word()), seal(key, text)].concat()
        };
        Group::new(load, process, key, members, utter, 4)
    }

    fn of_blind_relay(load: &Load) -> Outcome<Group> {
        let mut relay = Program::new(env!("CARGO_BIN_EXE_fernchat"));
        relay
            .args(["relay", "127.0.0.1", "0", "--pause", "0"])
            .args(["--max-clients", "6000"])
            .env("RUST_LOG", "warn");
        let process = Process::start(relay)?;
        let mut members = connect(process.port, load.n_members())?;
        await_all(&mut members)?;
        let utter =
            |key: &Key, me, text: &str| key.seal(line(name(me), text).as_bytes()).into_bytes();
        Group::new(load, process, Key::generate(), members, utter, 0)
    }

    fn of_limit(load: &Load) -> Outcome<Group> {
        let mut relay = Program::new(std::env::current_exe()?);
        relay.args(["--relay", &load.n_members().to_string()]);
        let process = Process::start(relay)?;
        let members = connect(process.port, load.n_members())?;
        Group::new(
            load,
            process,
            Key::generate(),
            members,
            |key, me, text| seal(key, &line(name(me), text)),
            4,
        )
    }

    /// The Python server of the tests, which seals a line anew for everybody.
    fn of_python(load: &Load) -> Outcome<Option<Group>> {
        let Some(process) = talk::python_server()? else {
            return Ok(None);
        };
        let (key, members) = join(process.port, load.n_members())?;
        let utter = |key: &Key, _, text: &str| {
            [seal(key, Command::MessageSend.word()), seal(key, text)].concat()
        };
        let mut group = Group::new(load, process, key, members, utter, 4)?;
        group.tally.is_sealed_once = false;
        Ok(Some(group))
    }

    fn of_broker(load: &Load, broker: &Broker) -> Outcome<Option<Group>> {
        let Some((process, members)) = broker.start(load.n_senders, load.n_receivers)? else {
            return Ok(None);
        };
        let (before, behind) = broker.around;
        let len = before + delivery_len() - 4 + behind;
        // What a sender hears is nothing, or a number.
        let len_of = |member| Some(if member < load.n_senders { 1 } else { len });
        let streams = members
            .into_iter()
            .enumerate()
            .map(|(member, pipe)| Stream::new(pipe, len_of(member)));
        let utter = Utter::Brokered(broker.said);
        let mut group = Group::with_streams(
            load,
            process,
            Key::generate(),
            streams.collect::<Result<_, _>>()?,
            utter,
            before,
        )?;
        group.tally.behind_len = behind;
        group.tally.n_hearing = load.n_receivers;
        Ok(Some(group))
    }

    fn new(
        load: &Load,
        process: Process,
        key: Key,
        members: Vec<TcpStream>,
        utter: fn(&Key, usize, &str) -> Vec<u8>,
        prefix_len: usize,
    ) -> Outcome<Group> {
        let bare_len = (prefix_len == 0).then(|| delivery_len() - 4);
        let stream = |socket| Stream::new(Box::new(socket), bare_len);
        let streams: Vec<Stream> = members.into_iter().map(stream).collect::<Result<_, _>>()?;
        Group::with_streams(load, process, key, streams, Utter::Chat(utter), prefix_len)
    }

    fn with_streams(
        load: &Load,
        process: Process,
        key: Key,
        streams: Vec<Stream>,
        utter: Utter,
        prefix_len: usize,
    ) -> Outcome<Group> {
        Ok(Group {
            process,
            poller: Poller::new(&streams)?,
            streams,
            utter,
            tally: Tally {
                key,
                prefix_len,
                behind_len: 0,
                is_sealed_once: true,
                n_hearing: load.n_members() - 1,
                n_members: load.n_members(),
                free: (0..load.window).map(|n| n % load.n_senders).collect(),
                n_said: 0,
                said: HashMap::new(),
                heard: HashMap::new(),
                n_missing: 0,
                latencies: Vec::new(),
            },
        })
    }

    /// Puts the load on the group for this time, and waits until every line is with everybody.
    fn run(&mut self, load: &Load, time: Duration) -> Outcome<Figures> {
        self.tally.latencies.clear();
        let (cpu, own_cpu) = (self.process.cpu_secs()?, cpu_secs("self")?);
        let start = Instant::now();
        let (mut due, mut last) = (start, start);
        loop {
            let now = Instant::now();
            while due <= now && now - start < time {
                let Some(sender) = self.tally.free.pop_front() else {
                    break;
                };
                self.say(sender)?;
                due += load.pace;
            }
            let n_missing = self.tally.n_missing;
            if n_missing == 0 && now - start >= time {
                break;
            }
            if now - last > PATIENCE {
                return Err(format!("{n_missing} deliveries are lost").into());
            }
            let limit = if load.pace.is_zero() {
                PATIENCE
            } else {
                due.saturating_duration_since(now)
            };
            if self.listen(limit)? {
                last = Instant::now();
            }
        }
        let cpu = self.process.cpu_secs()? - cpu;
        let own_cpu = cpu_secs("self")? - own_cpu;
        while self.listen(QUIET)? {}

        let secs = (last - start).as_secs_f64();
        let latencies = &mut self.tally.latencies;
        latencies.sort_unstable();
        let n = latencies.len();
        let percentile = |percent: usize| latencies[n * percent / 100].as_secs_f64() * 1e3;
        Ok([
            n as f64 / secs / 1e3,
            cpu / n as f64 * 1e6,
            percentile(50),
            percentile(99),
            own_cpu / secs * 100.0,
        ])
    }

    fn say(&mut self, sender: usize) -> Outcome<()> {
        let text = format!("{:0TEXT_LEN$}", self.tally.n_said);
        let key = &self.tally.key;
        let bytes = match self.utter {
            Utter::Chat(utter) => utter(key, sender, &text),
            Utter::Brokered(said) => {
                said(key.seal(line(name(sender), &text).as_bytes()).as_bytes())
            }
        };
        self.tally.say(sender);
        // Nothing is in the way of so few bytes: a write that would block is an error here.
        let pipe = &mut self.streams[sender].pipe;
        pipe.write_all(&bytes)?;
        Ok(pipe.flush()?) // TLS does not tell before
    }

    /// Hears what has come, or waits for it. Returns whether anything came.
    fn listen(&mut self, limit: Duration) -> Outcome<bool> {
        let ready = self.poller.wait(limit)?;
        for &member in &ready {
            let tally = &mut self.tally;
            let is_in = self.streams[member].read(|frame| tally.hear(member, frame))?;
            if !is_in {
                return Err(format!("member {member} was put out").into());
            }
        }
        Ok(!ready.is_empty())
    }
}

/// Who said what, and who has heard it.
struct Tally {
    key: Key,
    /// How much stands before a token, in bytes: its length, or nothing.
    prefix_len: usize,
    /// How much stands behind it.
    behind_len: usize,
    /// Whether all members get the same token.
    is_sealed_once: bool,
    n_members: usize,
    /// How many of them hear a line.
    n_hearing: usize,
    /// Whose turn it is, once for each line that may still get under way.
    free: VecDeque<usize>,
    n_said: usize,
    /// Lines that nobody has yet, by their number.
    said: HashMap<usize, Line>,
    /// Lines that somebody has, by the random part of their token, or by their number.
    heard: HashMap<[u8; 16], Line>,
    /// Deliveries that are still to come.
    n_missing: usize,
    /// How long each delivery of this run took.
    latencies: Vec<Duration>,
}

struct Line {
    sender: usize,
    at: Instant,
    /// Which members have it, the sender counted in: it gets none.
    has: Vec<bool>,
    n_missing: usize,
}

impl Tally {
    fn say(&mut self, sender: usize) {
        let mut has = vec![false; self.n_members];
        has[sender] = true;
        let n_missing = self.n_hearing;
        let line = Line {
            sender,
            at: Instant::now(),
            has,
            n_missing,
        };
        self.said.insert(self.n_said, line);
        self.n_said += 1;
        self.n_missing += n_missing;
    }

    fn hear(&mut self, member: usize, frame: &[u8]) -> Outcome<()> {
        let now = Instant::now();
        if frame.len() == 1 {
            return Ok(()); // what a broker tells a sender
        }
        let token = &frame[self.prefix_len..frame.len() - self.behind_len];
        match token.len() + 4 {
            len if len == delivery_len() => {}
            len if len == 4 + token_len(Command::MessageSend.word().len() as u64) as usize => {
                return Ok(()); // the echo
            }
            len => return Err(format!("member {member} heard a frame of {len} bytes").into()),
        }
        // Behind the version and the time stamp, which are 9 bytes or 12 characters.
        let mark: [u8; 16] = if self.is_sealed_once {
            token[12..28].try_into()?
        } else {
            (number(&self.key, token)? as u128).to_be_bytes()
        };
        let mut line = match self.heard.entry(mark) {
            Entry::Occupied(line) => line,
            Entry::Vacant(place) => {
                let number = number(&self.key, token)?;
                let line = self.said.remove(&number);
                let line = line.ok_or(format!("member {member} heard line {number} twice"))?;
                place.insert_entry(line)
            }
        };
        if std::mem::replace(&mut line.get_mut().has[member], true) {
            return Err(format!("member {member} heard a line twice").into());
        }
        self.latencies.push(now - line.get().at);
        self.n_missing -= 1;
        line.get_mut().n_missing -= 1;
        if line.get().n_missing == 0 {
            self.free.push_back(line.remove().sender);
        }
        Ok(())
    }
}

/// The number of a line, which is all that it says.
fn number(key: &Key, token: &[u8]) -> Outcome<usize> {
    let text = String::from_utf8(key.open(token)?)?;
    Ok(text[text.len() - TEXT_LEN..].parse()?)
}

/// The connections of `n_members` members, in the order of the members.
fn connect(port: u16, n_members: usize) -> Outcome<Vec<TcpStream>> {
    Ok((0..n_members)
        .map(|_| TcpStream::connect(("127.0.0.1", port)))
        .collect::<Result<_, _>>()?)
}

/// Waits until the blind relay has taken all connections. It takes them in their order, so the last one tells.
fn await_all(members: &mut [TcpStream]) -> Outcome<()> {
    let token = Key::generate().seal(b"is everybody here?");
    let [first, .., last] = members else {
        return Err("there are at least two members".into());
    };
    last.set_read_timeout(Some(QUIET))?;
    let until = Instant::now() + PATIENCE;
    loop {
        first.write_all(token.as_bytes())?;
        match last.read_exact(&mut vec![0; token.len()]) {
            Ok(()) => break,
            Err(error) if Instant::now() > until => return Err(error.into()),
            Err(_) => {}
        }
    }
    for member in members {
        member.set_read_timeout(Some(QUIET))?;
        while member.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
    }
    Ok(())
}

/// Joins `n_members` fernchat clients to one group. The first administers it. First all ask and then all are approved, so that nobody but
/// the admin hears of the requests.
fn join(port: u16, n_members: usize) -> Outcome<(Key, Vec<TcpStream>)> {
    let mut key = [0; 44];
    let mut members = Vec::new();
    for member in 0..n_members {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.read_exact(&mut key)?;
        let key = Key::parse(std::str::from_utf8(&key)?)?;
        socket.write_all(&seal(&key, &name(member)))?;
        hear_text(&mut socket, &key)?; // the question for the group
        socket.write_all(&seal(&key, &format!("bench\n{FERNCHAT}")))?;
        expect(
            &mut socket,
            &key,
            if member == 0 { ADMIN_READY } else { WAIT },
        )?;
        members.push(socket);
    }
    let key = Key::parse(std::str::from_utf8(&key)?)?;
    let (admin, others) = members.split_first_mut().ok_or("a group has members")?;
    for (at, socket) in others.iter_mut().enumerate() {
        let approve = Command::ApproveRequest.word();
        admin.write_all(&seal(&key, approve))?;
        expect(admin, &key, approve)?;
        admin.write_all(&seal(&key, ACKNOWLEDGEMENT))?;
        expect(admin, &key, PROCEED)?;
        admin.write_all(&seal(&key, &name(at + 1)))?;
        expect(socket, &key, ACCEPTED)?;
    }
    // The first of them have heard who came after them.
    for socket in &mut members {
        socket.set_read_timeout(Some(QUIET))?;
        while hear_text(socket, &key).is_ok() {}
    }
    Ok((key, members))
}

/// The name of a member; all are equally long, and so are all deliveries.
fn name(member: usize) -> String {
    format!("m{member:04}")
}

/// The length of a delivery's frame, in bytes.
fn delivery_len() -> usize {
    4 + token_len(line(name(0), "").len() as u64 + TEXT_LEN as u64) as usize
}

fn seal(key: &Key, text: &str) -> Vec<u8> {
    frame::encode(key.seal(text.as_bytes()).as_bytes())
}

fn hear_text(socket: &mut TcpStream, key: &Key) -> Outcome<String> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut token = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut token)?;
    Ok(String::from_utf8(key.open(&token)?)?)
}

/// Hears until this text comes. What else comes are notices of who asked to join, or has joined.
fn expect(socket: &mut TcpStream, key: &Key, text: &str) -> Outcome<()> {
    loop {
        let heard = hear_text(socket, key).map_err(|error| format!("{text} was due: {error}"))?;
        if heard == text {
            return Ok(());
        }
    }
}
