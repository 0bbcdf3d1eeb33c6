//! What the tests of faults have in common: ways to go that nobody expects, and what a process has left when all is over.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{DEADLINE, Peer, status_of};

/// How a connection ends in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The program ends: what was sent arrives, and then the end.
    Close,
    /// The program is killed with something unread, or the machine starts anew.
    Reset,
}

impl End {
    pub const BOTH: [End; 2] = [End::Close, End::Reset];

    /// Ends a connection like this.
    pub fn of(self, mut socket: TcpStream) {
        match self {
            End::Close => {
                // The other end may have been faster.
                let _ = socket.shutdown(Shutdown::Write);
                while matches!(socket.read(&mut [0; 4096]), Ok(n) if n > 0) {}
            }
            End::Reset => socket2::SockRef::from(&socket)
                .set_linger(Some(Duration::ZERO))
                .unwrap(),
        }
    }
}

/// How many stay while others come and go.
const MEMBERS: u64 = 2;

/// What a process holds that it must give back.
#[derive(Debug, PartialEq, Eq)]
pub struct Footprint {
    threads: u64,
    descriptors: usize,
}

impl Footprint {
    pub fn of(process: u32) -> Footprint {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))
            .unwrap()
            .count();
        Footprint {
            threads: status_of(process, "Threads"),
            descriptors,
        }
    }

    /// The process comes back to this.
    #[track_caller]
    pub fn comes_back(&self, process: u32) {
        self.comes_back_while(process, thread::yield_now);
    }

    /// The process comes back to this while something is done over and over.
    #[track_caller]
    pub fn comes_back_while(&self, process: u32, mut act: impl FnMut()) {
        let until = Instant::now() + DEADLINE;
        // Each of the members that stay may have got its writer meanwhile, which starts when it is needed.
        let is_back = |now: Footprint| {
            now.descriptors == self.descriptors && now.threads <= self.threads + MEMBERS
        };
        while !is_back(Footprint::of(process)) {
            assert!(
                Instant::now() < until,
                "{self:?} became {:?}",
                Footprint::of(process)
            );
            act();
        }
    }
}

/// Nothing comes to this member for a second, and the process takes none of that time: it does not spin. However busy the machine
/// is, it cannot make an idle process take time.
#[track_caller]
pub fn is_idle(process: u32, member: &Peer) {
    let before = cpu_ticks(process);
    member
        .socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    assert!(member.socket.peek(&mut [0]).is_err(), "nothing was to come");
    member.socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let ticks = cpu_ticks(process) - before;
    assert!(ticks <= 10, "{ticks} hundredths of a second for nothing");
}

/// The time that a process has taken so far, in hundredths of a second.
pub fn cpu_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program, in brackets, may hold blanks; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    fields[11..=12]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}
