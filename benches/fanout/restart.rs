//! A restart: how long it takes until all clients are back after the server was killed, and what that costs it. The clients are real ones
//! on the same machine, each in a group of its own, so most of the work is theirs.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Instant;

use super::sockets::{Outcome, Process};

const N_CLIENTS: usize = 1000;

const N_RUNS: usize = 5;

pub fn measure() -> Outcome<()> {
    super::sockets::raise_limit();
    println!(
        "Medians of {N_RUNS} runs.\n{:>8} {:>12} {:>12} {:>12} {:>20}",
        "clients", "half back, s", "all back, s", "CPU, s", "server at most, MiB"
    );
    let mut runs = Vec::new();
    for _ in 0..N_RUNS {
        runs.push(restart()?);
    }
    let median = |column: usize| {
        let mut values: Vec<f64> = runs.iter().map(|run| run[column]).collect();
        values.sort_by(f64::total_cmp);
        values[N_RUNS / 2]
    };
    println!(
        "{N_CLIENTS:>8} {:>12.2} {:>12.2} {:>12.2} {:>20.1}",
        median(0),
        median(1),
        median(2),
        median(3)
    );
    Ok(())
}

/// The times until half and all of the clients were back, and the server's CPU time and peak memory until then.
fn restart() -> Outcome<[f64; 4]> {
    let home = tempfile::tempdir()?;
    let (first, mut log) = start_server(0)?;
    let port = first.port;
    let mut clients = Vec::new();
    for n in 0..N_CLIENTS {
        let mut client = Command::new(env!("CARGO_BIN_EXE_fernchat"));
        client
            .args(["client", "127.0.0.1", &port.to_string()])
            .args(["--name", &format!("u{n}"), "--group", &format!("g{n}")])
            .env("XDG_CONFIG_HOME", home.path().join(n.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        clients.push(Client(client.spawn()?));
    }
    await_joins(&mut log, N_CLIENTS)?;
    drop(first); // it is killed
    let start = Instant::now();
    let (server, mut log) = start_server(port)?;
    await_joins(&mut log, N_CLIENTS / 2)?;
    let half = start.elapsed();
    await_joins(&mut log, N_CLIENTS - N_CLIENTS / 2)?;
    let all = start.elapsed();
    Ok([
        half.as_secs_f64(),
        all.as_secs_f64(),
        server.cpu_secs()?,
        server.peak()? / 1024.0,
    ])
}

/// A server at this port, and its log.
fn start_server(port: u16) -> Outcome<(Process, BufReader<ChildStderr>)> {
    let mut server = Command::new(env!("CARGO_BIN_EXE_fernchat"));
    server
        .args(["server", "127.0.0.1", &port.to_string()])
        .args(["--max-clients", "1100"])
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped());
    let mut server = Process::start(server)?;
    let log = server.child.stderr.take().ok_or("its log is a pipe")?;
    Ok((server, BufReader::new(log)))
}

/// Waits until so many more clients have founded their groups.
fn await_joins(log: &mut impl BufRead, n: usize) -> Outcome<()> {
    let mut line = String::new();
    let mut n_joined = 0;
    while n_joined < n {
        line.clear();
        if log.read_line(&mut line)? == 0 {
            return Err("the server has ended".into());
        }
        n_joined += usize::from(line.contains(" founds group g"));
    }
    Ok(())
}

/// A client, which is killed when this is dropped.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
