//! The talk of a Python client: the question, its echo, the text. Each frame goes in two writes on a socket with Nagle's algorithm, so a
//! server that is slow to acknowledge costs it 40 ms and more at every step. Measured is a line from the question to its one receiver.

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use fernchat::seal::Key;
use fernchat::wire::command::Command;

use super::sockets::{Outcome, Process};
use super::{expect, hear_text, join, seal};

/// The Python server of the tests, if there is a Python that can run it: `make test` sets one up.
pub fn python_server() -> Outcome<Option<Process>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("FERNCHAT_PYTHON")
        .map_or_else(|| root.join("target/python/bin/python3"), PathBuf::from);
    if !python.is_file() {
        return Ok(None);
    }
    let mut server = Program::new(python);
    server
        .arg(root.join("tests/python/pychat_server.py"))
        .args(["127.0.0.1", "0"]);
    server.stderr(Stdio::null()); // it has a traceback for everybody who hangs up
    Ok(Some(Process::start(server)?))
}

pub fn measure(n_lines: usize) -> Outcome<()> {
    let mut server = Program::new(env!("CARGO_BIN_EXE_fernchat"));
    server
        .args(["server", "127.0.0.1", "0"])
        .env("RUST_LOG", "warn");
    let ours = talk(&Process::start(server)?, n_lines)?;
    println!(
        "\nAs a Python client talks, to one receiver, p50 of {n_lines} lines: group chat {ours:.2?}"
    );
    if let Some(server) = python_server()? {
        let theirs = talk(&server, n_lines)?;
        println!(
            "The Python server {theirs:.2?}: {:.0} times as long",
            theirs.div_duration_f64(ours)
        );
    }
    Ok(())
}

fn talk(server: &Process, n_lines: usize) -> Outcome<Duration> {
    let (key, mut members) = join(server.port, 2)?;
    let [speaker, listener] = members.as_mut_slice() else {
        return Err("two were to join".into());
    };
    let mut times = Vec::new();
    for _ in 0..n_lines {
        let start = Instant::now();
        says(speaker, &key, Command::MessageSend.word())?;
        expect(speaker, &key, Command::MessageSend.word())?;
        says(speaker, &key, "hello")?;
        hear_text(listener, &key)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// The length and the token in a write each, as the Python client does it.
fn says(socket: &mut TcpStream, key: &Key, text: &str) -> Outcome<()> {
    let frame = seal(key, text);
    let (length, token) = frame.split_at(4);
    socket.write_all(length)?;
    Ok(socket.write_all(token)?)
}
