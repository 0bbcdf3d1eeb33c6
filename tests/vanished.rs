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

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use support::{fernchat, set, Peer, Program};

/// How long a vanished peer may go unnoticed.
const LIMIT: Duration = Duration::from_secs(90);

/// When those speak who speak late: just before keepalive would tell, after 40 s, that nobody is there.
const LATE: Duration = Duration::from_secs(38);

fn main() {
    match Link::make() {
        Some(link) => those_who_vanish_are_noticed_by_both_ends_and_disturb_nobody(&link),
        None => eprintln!("SKIPPED: no root here, or no ip of iproute2: nobody can vanish"),
    }
}

fn those_who_vanish_are_noticed_by_both_ends_and_disturb_nobody(link: &Link) {
    let mut command = fernchat();
    command.args(["server", "0.0.0.0", "0"]).env("RUST_LOG", "fernchat=debug");
    let mut server = Program::start(command);
    let banner = server.hears("listening on 0.0.0.0:");
    let port: u16 = banner["listening on 0.0.0.0:".len()..].split(',').next().unwrap().parse().unwrap();

    let mut carl = Peer::greet(port, "carl", "loud");
    carl.hears("/adminReady");
    let mut clara = joins(port, "clara", "loud", &mut carl);
    let mut lea = Peer::greet(port, "lea", "late");
    lea.hears("/adminReady");
    let [mut vera, mut victor, mut vince, mut viola, mut vivian] =
        [("vera", "quiet"), ("victor", "loud"), ("vince", "late"), ("viola", "typing"), ("vivian", "typing late")]
            .map(|(name, group)| Ended { name, at: [None, None], program: link.client(port, name, group) });
    for ours in [&mut vera, &mut viola, &mut vivian] {
        ours.program.hears("you administer it");
    }
    for (admin, ours) in [(&mut carl, &mut victor), (&mut lea, &mut vince)] {
        admin.hears(&format!("PyChat: {} has requested to join the group.", ours.name));
        admin.decides("/approveRequest", ours.name);
        ours.program.hears("You have been approved");
    }
    clara.hears("PyChat: victor has requested to join the group.");

    link.down();
    let start = Instant::now();
    viola.program.types("is anybody there?");
    let mut is_late = false;
    let mut all = [vera, victor, vince, viola, vivian];
    while all.iter().any(|one| one.at.contains(&None)) && start.elapsed() < LIMIT {
        if !is_late && start.elapsed() >= LATE {
            is_late = true;
            lea.tells("am I late?");
            all[4].program.types("am I late?");
        }
        carl.tells("does this disturb you?");
        clara.hears("carl: does this disturb you?");
        while let Some(line) = server.tries_to_log("departed") {
            let one = all.iter_mut().find(|one| line.contains(&format!(" {} in ", one.name))).expect("one who vanished");
            one.at[0] = Some(start.elapsed());
        }
        for one in &mut all {
            if one.at[1].is_none() && one.program.tries_to_log("error: the connection to the server is lost").is_some() {
                one.at[1] = Some(start.elapsed());
            }
        }
    }

    println!("{:<10} {:>20} {:>20}", "noticed", "by the server, s", "by its client, s");
    let secs = |at: Option<Duration>| at.map_or("not at all".into(), |at| format!("{:.0}", at.as_secs_f64()));
    for one in &all {
        println!("{:<10} {:>20} {:>20}", one.name, secs(one.at[0]), secs(one.at[1]));
    }
    assert!(all.iter().all(|one| !one.at.contains(&None)), "not noticed within {LIMIT:?}");

    assert_eq!(carl.asks_for_set("/onlineMembers"), set(&["carl", "clara"]));
    assert_eq!(carl.asks_for_set("/allMembers"), set(&["carl", "clara", "victor"]));
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
    here: String,
}

impl Link {
    fn make() -> Option<Link> {
        let name = format!("fernchat-{}", std::process::id());
        let (here, there) = (format!("fc{}a", std::process::id()), format!("fc{}b", std::process::id()));
        ip(&["netns", "add", &name]).then_some(())?;
        let link = Link { name, here };
        let ends = ["link", "add", &link.here, "type", "veth", "peer", "name", &there, "netns", &link.name];
        let is_made = ip(&ends)
            && ip(&["addr", "add", "10.213.77.1/30", "dev", &link.here])
            && ip(&["link", "set", &link.here, "up"])
            && ip(&["-n", &link.name, "addr", "add", "10.213.77.2/30", "dev", &there])
            && ip(&["-n", &link.name, "link", "set", &there, "up"]);
        is_made.then_some(link)
    }

    /// Our client in the namespace.
    fn client(&self, port: u16, name: &str, group: &str) -> Program {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(fernchat().get_program());
        command.args(["client", "10.213.77.1", &port.to_string(), "--name", name, "--group", group, "--no-reconnect"]);
        Program::start(command)
    }

    /// What is sent from either end from now on is lost.
    fn down(&self) {
        let there = self.here.replace('a', "b");
        assert!(ip(&["-n", &self.name, "link", "set", &there, "down"]));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The link goes with the namespace that one of its ends is in.
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).status().is_ok_and(|status| status.success())
}
