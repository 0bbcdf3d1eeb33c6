//! Peers that vanish: the link between them and the server is taken down, and nobody says a word.
//!
//! ```text
//!   here: the server, and those who stay ──── link ──── in a network namespace: those who vanish
//! ```
//!
//! On loopback nobody can vanish: the system answers for a program that is gone. So this test makes a namespace and a link, which
//! takes root and `ip` of iproute2; without them it says that it is skipped. Nothing happens for a minute and a half, so it is
//! started by name: `make vanished`. All cases run at once, and each is noticed at both ends:
//!
//! | who | group | after the link is down |
//! | --- | --- | --- |
//! | vera | quiet | nobody says anything: only keepalive can tell |
//! | victor | loud | data for him is unacknowledged from then on, and keepalive is silent |
//! | vince | late | the same, from just before keepalive would tell |
//! | viola | typing | she has sent something herself that is unacknowledged |
//! | vivian | typing late | the same, later |
//! | vesna | wanted | she joins again from elsewhere at once; the name of a Python user is free for somebody else within 5 s |
//!
//! Beside them another link is down for 30 s only, as when a cable is put in again, while somebody writes on. What our client and a Python
//! one have heard of it afterwards is counted: ours must have all.
//!
//! More links are slow. Each goes down while a file passes, until both ends have given the connection up: just after its offer, in the
//! middle, in its last 64 KiB and after its last byte, up and down. When the link is up again, the file must go on where it stopped.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use fernchat::seal::token_len;
use support::python::{approves, content};
use support::{Peer, Program, Way, fernchat, home_of, lasting_client, set};

/// How long a vanished peer may go unnoticed.
const LIMIT: Duration = Duration::from_secs(90);

/// When those speak who speak late: just before keepalive would tell, after 40 s, that nobody is there.
const LATE: Duration = Duration::from_secs(38);

fn main() {
    let (Some(link), Some(short)) = (Link::make(1), Link::make(2)) else {
        eprintln!("SKIPPED: no root here, or no ip of iproute2: nobody can vanish");
        return;
    };
    let body_len = token_len(FILE_LEN);
    let places = [
        ("after the offer", 20_000),
        ("in the middle", body_len / 2),
        ("in the last 64 KiB", body_len - 40_000),
        ("after the last byte", body_len),
    ];
    let ways = [(Way::ToServer, 10), (Way::ToClient, 20)];
    std::thread::scope(|scope| {
        scope.spawn(|| who_comes_back_after_half_a_minute_has_missed_nothing(&short));
        for (way, first) in ways {
            for (n, (place, at)) in (first..).zip(places) {
                scope.spawn(move || a_file_goes_on_after_the_link_was_down(n, way, place, at));
            }
        }
        those_who_vanish_are_noticed_by_both_ends_and_disturb_nobody(&link);
    });
}

/// A server that the namespaces reach.
fn server() -> (Program, u16) {
    let mut command = fernchat();
    command
        .args(["server", "0.0.0.0", "0"])
        .env("RUST_LOG", "fernchat=debug");
    let mut server = Program::start(command);
    let banner = server.hears("listening on 0.0.0.0:");
    let port = banner["listening on 0.0.0.0:".len()..]
        .split(',')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    (server, port)
}

fn who_comes_back_after_half_a_minute_has_missed_nothing(link: &Link) {
    let (_server, port) = server();
    let mut carl = Peer::greet(port, "carl", "team");
    carl.hears("/adminReady");
    let mut ours = link.client(port, "vaclav", "team", &[]);
    carl.hears("PyChat: vaclav has requested to join the group.");
    carl.decides("/approveRequest", "vaclav");
    ours.hears("You have been approved");
    let mut python = link.python_client(port);
    if let Some(python) = &mut python {
        python.pastes(&["vasco", "team"]);
        carl.hears("PyChat: vasco has requested to join the group.");
        carl.decides("/approveRequest", "vasco");
        python.hears("accepted");
        python.types("");
    }

    link.set("down");
    let start = Instant::now();
    let mut n_said = 0;
    while start.elapsed() < Duration::from_secs(30) {
        carl.tells(&format!("line {n_said}"));
        n_said += 1;
        std::thread::sleep(Duration::from_millis(200)); // not a wait for an event: people write as fast as that
    }
    link.set("up");
    carl.tells("the end");
    ours.hears_within(LIMIT, "carl: the end");
    let lines = |program: &Program| {
        program
            .heard()
            .iter()
            .filter(|line| line.starts_with("carl: line "))
            .count()
    };
    println!(
        "a link that was down for 30 s, {n_said} lines said meanwhile: ours lost {}",
        n_said - lines(&ours)
    );
    assert_eq!(lines(&ours), n_said);
    let said: Vec<String> = (0..n_said).map(|n| format!("carl: line {n}")).collect();
    assert!(
        ours.heard()
            .iter()
            .filter(|line| line.starts_with("carl: line "))
            .eq(&said),
        "out of order"
    );
    if let Some(mut python) = python {
        // It hears the rest over the same connection or none.
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && !python.tries_to_hear("carl: the end") {}
        println!("a Python client lost {}", n_said - lines(&python));
    }
}

/// How long a file is that passes over a slow link.
const FILE_LEN: u64 = 1_300_000;

/// Bob is behind a link of 250 kB/s. It goes down when so many bytes of a file have passed, which he shares or receives.
fn a_file_goes_on_after_the_link_was_down(n: u8, way: Way, place: &str, at: u64) {
    let link = Link::make(n).expect("another link");
    link.is_slow();
    let (mut server, port) = server();
    let folders = [support::folder(), support::folder()];
    let [of_alice, of_bob] = [0, 1].map(|n: usize| folders[n].path().to_str().unwrap());
    let mut alice = lasting_client(port, &format!("alice{n}"), &["--downloads", of_alice]);
    alice.hears("The group team is new");
    let bob_s = format!("bob{n}");
    let mut bob = link.client(port, &bob_s, "team", &["--downloads", of_bob]);
    approves(&mut alice, &bob_s);
    bob.hears("You have been approved");
    let home = support::folder();
    let path = home.path().join("data.bin");
    let data = content(FILE_LEN as usize);
    std::fs::write(&path, &data).unwrap();

    let begin = link.n_passed(port, way).expect("bob's connection");
    let share = format!("/9 {}", path.display());
    let (from, to, folder) = match way {
        Way::ToServer => (&mut bob, &mut alice, &folders[0]),
        Way::ToClient => (&mut alice, &mut bob, &folders[1]),
    };
    from.types(&share);
    let until = Instant::now() + LIMIT;
    while link.n_passed(port, way).expect("still connected") < begin + at {
        assert!(
            Instant::now() < until,
            "{way:?} {place}: the file does not pass"
        );
    }
    link.set("down");
    let n_before = link.n_passed(port, way).expect("nobody knows yet") - begin;
    let start = Instant::now();
    // Both ends give the connection up: the client says so, and the server lets the file wait for its next one.
    let departed = format!(" {bob_s} in ");
    let until = Instant::now() + LIMIT;
    while !server
        .tries_to_log("departed")
        .is_some_and(|line| line.contains(&departed))
    {
        assert!(Instant::now() < until, "{way:?} {place}: not noticed");
    }
    let n_seconds = start.elapsed().as_secs();
    link.set("up");
    to.hears_within(LIMIT, "Received data.bin from ");
    bob.types("here again");
    alice.hears_within(LIMIT, &format!("{bob_s}: here again"));
    let n_after = link.n_passed(port, way).expect("connected again");
    println!(
        "a link that went down {place}, {way:?}: the server noticed after {n_seconds} s; {n_before} bytes had passed, then {n_after}"
    );
    assert!(
        std::fs::read(folder.path().join("data.bin")).unwrap() == data,
        "{way:?} {place}"
    );
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    let body_len = token_len(FILE_LEN);
    // What the kernel had sent but the other end had not read passes again, and the words of joining.
    assert!(
        n_before + n_after < body_len + 100_000,
        "{way:?} {place}: {n_before} + {n_after} of {body_len}"
    );
}

fn those_who_vanish_are_noticed_by_both_ends_and_disturb_nobody(link: &Link) {
    let (mut server, port) = server();

    let mut carl = Peer::greet(port, "carl", "loud");
    carl.hears("/adminReady");
    let mut clara = joins(port, "clara", "loud", &mut carl);
    let mut lea = Peer::greet(port, "lea", "late");
    lea.hears("/adminReady");
    let [
        mut vera,
        mut victor,
        mut vince,
        mut viola,
        mut vivian,
        mut vesna,
    ] = [
        ("vera", "quiet"),
        ("victor", "loud"),
        ("vince", "late"),
        ("viola", "typing"),
        ("vivian", "typing late"),
        ("vesna", "wanted"),
    ]
    .map(|(name, group)| Ended {
        name,
        at: [None, None],
        program: link.client(port, name, group, &["--no-reconnect"]),
    });
    for ours in [&mut vera, &mut viola, &mut vivian, &mut vesna] {
        ours.program.hears("you administer it");
    }
    for (admin, ours) in [(&mut carl, &mut victor), (&mut lea, &mut vince)] {
        admin.hears(&format!(
            "PyChat: {} has requested to join the group.",
            ours.name
        ));
        admin.decides("/approveRequest", ours.name);
        ours.program.hears("You have been approved");
    }
    clara.hears("PyChat: victor has requested to join the group.");
    let mut python = link.python_client(port);
    if let Some(python) = &mut python {
        python.pastes(&["vasek", "python"]);
        server.logs("vasek founds group python");
        // Not a wait for an event: until a delayed acknowledgement has come, data is under way, and the peer is not asked.
        std::thread::sleep(Duration::from_millis(500));
    }

    link.set("down");
    let start = Instant::now();
    viola.program.types("is anybody there?");
    let mut again = lasting_client(port, "vesna", &["--group", "wanted"]);
    again.hears("You are in the group wanted");
    println!(
        "vesna took her own name over after {:.1} s",
        start.elapsed().as_secs_f64()
    );
    if python.is_some() {
        // A name that came without a key is free as soon as it is clear that nobody is there.
        let start = Instant::now();
        Peer::greet(port, "vasek", "python").hears("/ready");
        println!(
            "a Python user's name was free for somebody else after {:.1} s",
            start.elapsed().as_secs_f64()
        );
    }
    let mut is_late = false;
    let mut all = [vera, victor, vince, viola, vivian, vesna];
    while all.iter().any(|one| one.at.contains(&None)) && start.elapsed() < LIMIT {
        if !is_late && start.elapsed() >= LATE {
            is_late = true;
            lea.tells("am I late?");
            all[4].program.types("am I late?");
        }
        carl.tells("does this disturb you?");
        clara.hears("carl: does this disturb you?");
        while let Some(line) = server.tries_to_log("departed") {
            let mut those = all.iter_mut();
            let one = those.find(|one| line.contains(&format!(" {} in ", one.name)));
            if let Some(one) = one {
                one.at[0] = Some(start.elapsed());
            }
        }
        for one in &mut all {
            if one.at[1].is_none()
                && one
                    .program
                    .tries_to_log("error: the connection to the server is lost")
                    .is_some()
            {
                one.at[1] = Some(start.elapsed());
            }
        }
    }

    println!(
        "{:<10} {:>20} {:>20}",
        "noticed", "by the server, s", "by its client, s"
    );
    let secs = |at: Option<Duration>| {
        at.map_or("not at all".into(), |at| format!("{:.0}", at.as_secs_f64()))
    };
    for one in &all {
        println!(
            "{:<10} {:>20} {:>20}",
            one.name,
            secs(one.at[0]),
            secs(one.at[1])
        );
    }
    for one in &mut all {
        if one.at.contains(&None) {
            eprintln!("{}: {:?}", one.name, one.program.log_so_far());
        }
    }
    assert!(
        all.iter().all(|one| !one.at.contains(&None)),
        "not noticed within {LIMIT:?}"
    );

    assert_eq!(carl.asks_for_set("/onlineMembers"), set(&["carl", "clara"]));
    assert_eq!(
        carl.asks_for_set("/allMembers"),
        set(&["carl", "clara", "victor"])
    );
    assert_eq!(lea.asks_for_set("/onlineMembers"), set(&["lea"]));
    Peer::greet(port, "vera", "quiet").hears("/ready");
}

fn joins(port: u16, name: &str, group: &str, admin: &mut Peer) -> Peer {
    let mut peer = Peer::greet(port, name, group);
    peer.hears("/wait");
    admin.hears(&format!("PyChat: {name} has requested to join the group."));
    admin.decides("/approveRequest", name);
    peer.hears("/accepted");
    peer
}

/// Somebody who vanishes, and when the server noticed, and his own client.
struct Ended {
    name: &'static str,
    at: [Option<Duration>; 2],
    program: Program,
}

/// A namespace, and the link to it. Removed when dropped.
struct Link {
    name: String,
    /// The end in the namespace.
    there: String,
    n: u8,
}

impl Link {
    /// The link of this number.
    fn make(n: u8) -> Option<Link> {
        let id = std::process::id();
        let name = format!("fernchat-{id}-{n}");
        let [here, there] = ["a", "b"].map(|end| format!("fc{id}{n}{end}"));
        ip(&["netns", "add", &name]).then_some(())?;
        let link = Link { name, there, n };
        let ends = [
            "link",
            "add",
            &here,
            "type",
            "veth",
            "peer",
            "name",
            &link.there,
            "netns",
            &link.name,
        ];
        let is_made = ip(&ends)
            && ip(&[
                "addr",
                "add",
                &format!("{}/30", link.address(1)),
                "dev",
                &here,
            ])
            && ip(&["link", "set", &here, "up"])
            && ip(&[
                "-n",
                &link.name,
                "addr",
                "add",
                &format!("{}/30", link.address(2)),
                "dev",
                &link.there,
            ])
            && link.set("up");
        is_made.then_some(link)
    }

    /// The address of this end, 1, or that in the namespace, 2.
    fn address(&self, end: u8) -> String {
        format!("10.213.{}.{end}", 70 + self.n)
    }

    /// A program in the namespace.
    fn program(&self, program: Command) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.get_program())
            .args(program.get_args())
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        command
    }

    /// Our client in the namespace.
    fn client(&self, port: u16, name: &str, group: &str, options: &[&str]) -> Program {
        let mut command = self.program(fernchat());
        command
            .env("XDG_CONFIG_HOME", home_of(name))
            .args([
                "client",
                &self.address(1),
                &port.to_string(),
                "--name",
                name,
                "--group",
                group,
            ])
            .args(options);
        Program::start(command)
    }

    /// A Python client in the namespace, if there is Python.
    fn python_client(&self, port: u16) -> Option<Program> {
        let mut command = self.program(support::python("pychat_client.py")?);
        command.args([&self.address(1), &port.to_string()]);
        Some(Program::start(command))
    }

    /// From now on 250 kB pass in a second, each way.
    fn is_slow(&self) {
        let limit = "root tbf rate 2mbit burst 8kb limit 32kb";
        let (here, tc) = (
            format!("{}a", &self.there[..self.there.len() - 1]),
            "tc qdisc add dev",
        );
        for line in [
            format!("{tc} {here} {limit}"),
            format!("ip netns exec {} {tc} {} {limit}", self.name, self.there),
        ] {
            let mut words = line.split(' ');
            let status = Command::new(words.next().unwrap()).args(words).status();
            assert!(status.is_ok_and(|status| status.success()), "{line}");
        }
    }

    /// How many bytes have passed over the newest connection through this link to a server, and were acknowledged.
    fn n_passed(&self, port: u16, way: Way) -> Option<u64> {
        let filter = format!("sport = :{port} and dst {}", self.address(2));
        let ss = Command::new("ss")
            .args(["-tinH", "state", "established", &filter])
            .output();
        let ss = String::from_utf8(ss.unwrap().stdout).unwrap();
        let field = match way {
            Way::ToServer => "bytes_received:",
            Way::ToClient => "bytes_acked:",
        };
        ss.split_once(field)?
            .1
            .split(' ')
            .next()?
            .trim()
            .parse()
            .ok()
    }

    /// Down, what is sent from either end is lost, until it is up.
    fn set(&self, state: &str) -> bool {
        ip(&["-n", &self.name, "link", "set", &self.there, state])
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The link goes with the namespace that one of its ends is in.
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .status()
        .is_ok_and(|status| status.success())
}
