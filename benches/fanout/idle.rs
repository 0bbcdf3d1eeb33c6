//! What clients cost that do nothing: memory, and processor time. Each has founded a group of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use fernchat::seal::Key;
use fernchat::wire::command::{ADMIN_READY, FERNCHAT};

use super::sockets::{Outcome, Process};
use super::{expect, hear_text, seal};

/// The second is almost what one process may have: two threads for each, of which only one runs.
const N_CLIENTS: [usize; 2] = [1000, 7500];

const N_RUNS: usize = 5;

/// How many clients come before the memory of each further one is measured.
const N_FIRST: usize = 20;

/// How long they do nothing.
const TIME: Duration = Duration::from_secs(2);

pub fn measure() -> Outcome<()> {
    super::sockets::raise_limit();
    println!(
        "Medians of {N_RUNS} runs.\n{:>8} {:>22} {:>12} {:>8}",
        "clients", "server before, KiB", "KiB/client", "CPU %"
    );
    for n_clients in N_CLIENTS {
        let mut runs = Vec::new();
        for _ in 0..N_RUNS {
            runs.push(idle(n_clients)?);
        }
        let median = |column: usize| {
            let mut values: Vec<f64> = runs.iter().map(|run| run[column]).collect();
            values.sort_by(f64::total_cmp);
            values[N_RUNS / 2]
        };
        println!(
            "{n_clients:>8} {:>22.0} {:>12.1} {:>8.1}",
            median(0),
            median(1),
            median(2)
        );
    }
    Ok(())
}

/// The server's memory before them, what it grew by for each, and the processor time that it takes for all, in percent.
fn idle(n_clients: usize) -> Outcome<[f64; 3]> {
    let mut server = Command::new(env!("CARGO_BIN_EXE_fernchat"));
    server
        .args([
            "server",
            "127.0.0.1",
            "0",
            "--max-clients",
            &n_clients.to_string(),
        ])
        .env("RUST_LOG", "warn");
    let server = Process::start(server)?;
    let before = server.resident()?;
    // The first few make the program touch more of itself.
    let mut clients: Vec<TcpStream> = (0..N_FIRST)
        .map(|client| found(server.port, client))
        .collect::<Result<_, _>>()?;
    let with_first = server.resident()?;
    for client in N_FIRST..n_clients {
        clients.push(found(server.port, client)?);
    }
    let cpu = server.cpu_secs()?;
    sleep(TIME);
    let cpu = server.cpu_secs()? - cpu;
    let grown = server.resident()? - with_first;
    drop(clients);
    Ok([
        before,
        grown / (n_clients - N_FIRST) as f64,
        cpu / TIME.as_secs_f64() * 100.0,
    ])
}

fn found(port: u16, client: usize) -> Outcome<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    let mut key = [0; 44];
    socket.read_exact(&mut key)?;
    let key = Key::parse(std::str::from_utf8(&key)?)?;
    socket.write_all(&seal(&key, &format!("m{client}")))?;
    hear_text(&mut socket, &key)?; // the question for the group
    socket.write_all(&seal(&key, &format!("g{client}\n{FERNCHAT}")))?;
    expect(&mut socket, &key, ADMIN_READY)?;
    Ok(socket)
}
