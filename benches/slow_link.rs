//! A slow link: how late is a line while a file of 6 MB passes over 200 kB/s, up or down?
//!
//! ```text
//!   alice ──────── server ──── 200 kB/s ──── bob
//! ```
//!
//! Bob shares the file, and then receives it. Meanwhile he and alice say a line in turn, each as soon as the last one has arrived. The times
//! are from the typed line to the line at the other one, real programs at both ends. The link is a pair of threads for each connection that
//! pass on a little at a time, with small buffers. `cargo bench --bench slow_link` takes two minutes. The figures assert nothing.

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};
use support::{Program, Server, folder, lasting_client};

/// What passes in a second, each way, in bytes.
const RATE: f64 = 200e3;

/// How much passes at once, in bytes: a packet.
const PACKET: usize = 1400;

/// What the kernel may hold on the way, in bytes. It doubles this.
const BUFFER: usize = 8 << 10;

const FILE_LEN: usize = 6_000_000;

/// How long the file may take.
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("slow_link: not run, it takes two minutes; cargo bench --bench slow_link runs it");
        return;
    }
    let server = Server::start();
    let port = throttled(server.port);
    let (home, downloads) = (folder(), folder());
    let downloads = ["--downloads", downloads.path().to_str().unwrap()];
    let mut alice = lasting_client(server.port, "alice", &downloads);
    alice.hears("The group team is new");
    let mut bob = lasting_client(port, "bob", &downloads);
    alice.hears("bob has requested");
    alice.types("/2 bob");
    bob.hears("You have been approved");
    let path = home.path().join("slow.bin");
    std::fs::write(&path, vec![7; FILE_LEN]).unwrap();
    let share = format!("/9 {}", path.display());

    println!(
        "A line while a file of {} MB passes over {} kB/s, from typed to heard, in ms\n\n{:<34} {:>6} {:>8} {:>8}",
        FILE_LEN / 1_000_000,
        RATE / 1e3,
        "",
        "lines",
        "median",
        "longest"
    );
    for (is_up, what) in [(true, "up"), (false, "down")] {
        let start = Instant::now();
        let (sharer, receiver) = if is_up {
            (&mut bob, &mut alice)
        } else {
            (&mut alice, &mut bob)
        };
        sharer.types(&share);
        let is_over = |receiver: &Program| {
            receiver
                .heard()
                .iter()
                .any(|line| line.contains("Received slow.bin"))
        };
        let mut times = [Vec::new(), Vec::new()];
        for n in 0.. {
            if is_over(receiver) {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "the file does not come");
            let line = format!("line {n} {what}");
            for (way, times) in times.iter_mut().enumerate() {
                let (by, to) = if way == 0 {
                    (&mut *sharer, &mut *receiver)
                } else {
                    (&mut *receiver, &mut *sharer)
                };
                let start = Instant::now();
                by.types(&line);
                to.hears(&format!(": {line}"));
                times.push(start.elapsed());
            }
        }
        let secs = start.elapsed().as_secs_f64();
        for (way, mut times) in times.into_iter().enumerate() {
            times.sort();
            let [median, longest] = [times[times.len() / 2], times[times.len() - 1]];
            let row = format!("file {what}, line {} it", ["with", "against"][way]);
            println!(
                "{row:<34} {:>6} {:>8.0} {:>8.0}",
                times.len(),
                median.as_secs_f64() * 1e3,
                longest.as_secs_f64() * 1e3
            );
        }
        println!("the file took {secs:.0} s");
        receiver.hears_what_is_there();
        for folder in [downloads[1]] {
            for file in std::fs::read_dir(folder).unwrap() {
                std::fs::remove_file(file.unwrap().path()).unwrap();
            }
        }
    }
}

/// A port whose connections reach this one slowly.
fn throttled(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    SockRef::from(&listener)
        .set_recv_buffer_size(BUFFER)
        .unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let upstream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            upstream.set_recv_buffer_size(BUFFER).unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], server));
            upstream.connect(&address.into()).unwrap();
            let upstream = TcpStream::from(upstream);
            for socket in [&client, &upstream] {
                socket.set_nodelay(true).unwrap();
                SockRef::from(socket).set_send_buffer_size(BUFFER).unwrap();
            }
            let ways = [
                (client.try_clone().unwrap(), upstream.try_clone().unwrap()),
                (upstream, client),
            ];
            for (from, to) in ways {
                thread::spawn(move || pass_on(from, to));
            }
        }
    });
    port
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut packet = [0; PACKET];
    let mut free_at = Instant::now();
    while let Ok(n @ 1..) = from.read(&mut packet) {
        // The link is busy with what came before. This is the link's own time, and no wait for an event.
        free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(n as f64 / RATE);
        thread::sleep(free_at.saturating_duration_since(Instant::now()));
        if to.write_all(&packet[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
