//! A big file through the real programs: is it whole, how fast is it, and does memory stay what it was?
//!
//! ```text
//!   uploader ── seal ──▶ server: check, spool ──▶ receiver: open, store
//! ```
//!
//! The file has 1 GiB, or as many MiB as `FERNCHAT_BIG_MIB` says. It, the spool and the downloads lie under the target directory while the
//! test runs. Too much for the fast run, so it is started by name, and in release: `cargo test --release --test bigfile`.
//!
//! It is shared five times with one receiver, in turn with `scp` to this machine if there is an sshd, and the medians are shown: from the
//! typed line to the line at the receiver. Then a tenth of it is shared with ten receivers at once. The rates are to be read against what one
//! thread reaches that does nothing but seal, or open, the same file; they assert nothing.
//! What is asserted: the content, and that no process needs more than [`MORE_MEMORY`] for it. Reads `/proc`, so it needs Linux.

mod support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fernchat::seal::{BodyOpener, BodySealer, Key, token_len};
use support::{DEADLINE, Program, Server, folder, status_of};

/// By how much the peak of a process's resident memory may grow through a file, in KiB.
const MORE_MEMORY: u64 = 16 << 10;

/// The time that 1 MiB may take before the test gives up: 10 MiB/s.
const TIME_PER_MIB: Duration = Duration::from_millis(100);

const N_RUNS: usize = 5;

/// How much of a file is read at once, in bytes.
const STEP: usize = 1 << 20;

fn main() {
    if !cfg!(target_os = "linux") {
        println!("bigfile: not run, it reads /proc");
        return;
    }
    let mib: u32 = match std::env::var("FERNCHAT_BIG_MIB") {
        Ok(mib) => mib.parse().expect("FERNCHAT_BIG_MIB is a number of MiB"),
        Err(_) => 1024,
    };
    let len = u64::from(mib) << 20;
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // The file, its token in the spool and the download; and the spool takes at most half of what was free at the server's start.
    let free = free_space(place).unwrap_or(u64::MAX);
    if free < 4 * len {
        eprintln!(
            "error: no room in {}: {} MiB are free and {} are needed; a smaller FERNCHAT_BIG_MIB needs less",
            place.display(),
            free >> 20,
            (4 * len) >> 20
        );
        std::process::exit(1);
    }
    let folder = tempfile::tempdir_in(place).unwrap();
    share(folder.path(), len, DEADLINE + TIME_PER_MIB * mib);
}

fn share(folder: &Path, len: u64, deadline: Duration) {
    let path = folder.join("big.bin");
    make(&path, len).unwrap();
    let in_folder = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (spool, downloads) = (in_folder("spool"), in_folder("downloads"));
    let max_file = len.to_string();
    let server = Server::start_with(&["--spool", &spool, "--max-file", &max_file]);
    let mut alice = server.client("alice");
    alice.hears("you administer it");
    let joins = |alice: &mut Program, name: &str, downloads: &str| {
        let mut client = server.client_with(name, &["--downloads", downloads]);
        alice.hears(&format!("{name} has requested"));
        alice.types(&format!("/2 {name}"));
        alice.hears(&format!("{name} is now a member"));
        client.hears("You have been approved");
        client
    };
    let mut bob = joins(&mut alice, "bob", &downloads);
    let scp = Scp::start();

    let processes = [
        ("server", server.program.id()),
        ("uploader", alice.id()),
        ("receiver", bob.id()),
    ];
    let before = processes.map(|(_, id)| (status_of(id, "VmHWM"), cpu_ms(id)));
    // Of each run: fernchat, scp, sealing and opening.
    let mut runs: Vec<[Duration; 4]> = Vec::new();
    for _ in 0..N_RUNS {
        let (sealing, opening) = alone(&path, len).unwrap();
        let start = Instant::now();
        alice.types(&format!("/9 {}", path.display()));
        bob.hears_within(deadline, "Received big.bin from alice");
        let time = start.elapsed();
        alice.hears_within(deadline, "bob has big.bin.");
        let copying = scp.as_ref().map(|scp| scp.copies(&path, folder));
        runs.push([time, copying.unwrap_or_default(), sealing, opening]);
        let received = Path::new(&downloads).join("big.bin");
        assert!(
            are_equal(&path, &received).unwrap(),
            "what arrived is not what was sent"
        );
        // The next run finds the disk as this one did.
        std::fs::remove_file(received).unwrap();
    }
    let after = processes.map(|(_, id)| (status_of(id, "VmHWM"), cpu_ms(id)));
    let [sharing, copying, sealing, opening] = [0, 1, 2, 3].map(|column| {
        runs.sort_by_key(|run| run[column]);
        runs[N_RUNS / 2][column].as_secs_f64()
    });

    println!(
        "A file of {} MiB, on the wire {} MiB; medians of {N_RUNS} runs\n",
        len >> 20,
        token_len(len) >> 20
    );
    let rates = [
        ("typed to received", sharing),
        ("scp", copying),
        ("sealing alone", sealing),
        ("opening alone", opening),
    ];
    for (what, secs) in rates.into_iter().filter(|(_, secs)| *secs > 0.0) {
        let rate = len as f64 / secs / 1e6;
        println!("{what:<18} {secs:>8.2} s {rate:>8.0} MB/s");
    }
    match copying {
        0.0 => println!("no sshd here that takes a key, so there is nothing to compare with"),
        copying => println!("{:.2} of the time of scp", sharing / copying),
    }
    println!(
        "\n{:<16} {:>20} {:>12} {:>8}",
        "", "CPU, ms for each MB", "memory, KiB", "more"
    );
    let n_mb = (N_RUNS as u64 * len) as f64 / 1e6;
    for (((name, _), before), after) in processes.iter().zip(before).zip(after) {
        let (cpu, more) = ((after.1 - before.1) as f64 / n_mb, after.0 - before.0);
        println!("{name:<16} {cpu:>20.2} {:>12} {more:>8}", after.0);
        assert!(more <= MORE_MEMORY, "the {name} took {more} KiB more");
    }

    // To ten at once.
    let names: Vec<String> = (1..=N_MANY).map(|n| format!("friend{n}")).collect();
    let mut friends: Vec<(Program, String)> = Vec::new();
    for name in &names {
        let downloads = in_folder(name);
        friends.push((joins(&mut alice, name, &downloads), downloads));
    }
    drop(bob);
    let path = folder.join("tenth.bin");
    let len = (len / N_MANY).next_multiple_of(STEP as u64);
    make(&path, len).unwrap();
    let id = server.program.id();
    let (memory, cpu) = (status_of(id, "VmRSS"), cpu_ms(id));
    let start = Instant::now();
    alice.types(&format!("/9 {}", path.display()));
    for (friend, _) in &mut friends {
        friend.hears_within(deadline, "Received tenth.bin from alice");
    }
    let secs = start.elapsed().as_secs_f64();
    let cpu = (cpu_ms(id) - cpu) as f64 / (N_MANY * len) as f64 * 1e6;
    let more = status_of(id, "VmHWM").saturating_sub(memory);
    println!(
        "\nA file of {} MiB to {N_MANY} at once: {secs:.2} s, {cpu:.2} ms of the server's CPU for each MB that is delivered, {more} KiB more memory",
        len >> 20
    );
    for (_, downloads) in &friends {
        assert!(are_equal(&path, &Path::new(downloads).join("tenth.bin")).unwrap());
    }
}

/// How many receive a file at once.
const N_MANY: u64 = 10;

/// The CPU time that a process has used, in milliseconds. The kernel counts in hundredths of a second.
fn cpu_ms(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks * 10
}

/// An sshd of this test on a port of loopback, with keys of its own.
struct Scp {
    daemon: Child,
    port: String,
    key: PathBuf,
    _keys: tempfile::TempDir,
}

impl Scp {
    /// `None`: it cannot be had here.
    fn start() -> Option<Scp> {
        let keys = folder();
        let at = |name: &str| keys.path().join(name);
        for name in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            keygen
                .arg(at(name))
                .status()
                .ok()
                .filter(|it| it.success())?;
        }
        std::fs::copy(at("user.pub"), at("authorized")).ok()?;
        // What it needs if root starts it.
        let _ = std::fs::create_dir("/run/sshd");
        let listener = TcpListener::bind("127.0.0.1:0").ok()?;
        let port = listener.local_addr().ok()?.port().to_string();
        drop(listener);
        let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"].into_iter();
        let mut command = Command::new(sshd.into_iter().find(|it| Path::new(it).exists())?);
        command.args(["-D", "-f", "/dev/null", "-p", &port, "-o", "StrictModes=no"]);
        for (option, path) in [("HostKey", "host"), ("AuthorizedKeysFile", "authorized")] {
            command
                .arg("-o")
                .arg(format!("{option}={}", at(path).display()));
        }
        command.args(["-o", "Subsystem=sftp internal-sftp"]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let scp = Scp {
            daemon: command.spawn().ok()?,
            port: port.clone(),
            key: at("user"),
            _keys: keys,
        };
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
            if Instant::now() > until {
                return None;
            }
            std::thread::yield_now();
        }
        let (from, to) = (folder(), folder());
        let from = from.path().join("try");
        std::fs::write(&from, "x").ok()?;
        scp.copy(&from, to.path()).then_some(scp)
    }

    fn copy(&self, from: &Path, to: &Path) -> bool {
        let mut command = Command::new("scp");
        command
            .args(["-q", "-B", "-P", &self.port, "-i"])
            .arg(&self.key);
        command.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        command.arg(from);
        command.arg(format!("127.0.0.1:{}", to.join("copy").display()));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// How long it takes to copy the file.
    fn copies(&self, from: &Path, folder: &Path) -> Duration {
        let start = Instant::now();
        assert!(self.copy(from, folder), "scp fails");
        let time = start.elapsed();
        std::fs::remove_file(folder.join("copy")).unwrap();
        time
    }
}

impl Drop for Scp {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Makes a file in which no piece repeats, so that a lost or swapped one shows.
fn make(path: &Path, len: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut step = vec![0; STEP];
    for _ in 0..len / STEP as u64 {
        for bytes in step.chunks_exact_mut(8) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.copy_from_slice(&random.to_le_bytes());
        }
        file.write_all(&step)?;
    }
    // Or the disk would still be busy with it when the clock runs.
    file.sync_all()
}

/// How long one thread takes that does nothing but seal, and nothing but open, this file.
fn alone(path: &Path, len: u64) -> io::Result<(Duration, Duration)> {
    let key = Key::generate();
    let mut sealer = BodySealer::new(&key, File::open(path)?, len);
    let mut opener = BodyOpener::new(&key);
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let (mut step, mut plain) = (vec![0; STEP], Vec::new());
    loop {
        let start = Instant::now();
        let n = sealer.read(&mut step)?;
        let sealed = Instant::now();
        opener.update(&step[..n], &mut plain).unwrap();
        plain.clear();
        opening += sealed.elapsed();
        sealing += sealed - start;
        if n == 0 {
            opener.finish(&mut plain).unwrap();
            return Ok((sealing, opening));
        }
    }
}

fn are_equal(left: &Path, right: &Path) -> io::Result<bool> {
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let (mut a, mut b) = (vec![0; STEP], vec![0; STEP]);
    for _ in 0..left.metadata()?.len() / STEP as u64 {
        left.read_exact(&mut a)?;
        right.read_exact(&mut b)?;
        if a != b {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The free room on the disk that holds `folder`, in bytes, where that can be asked.
#[cfg(unix)]
fn free_space(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail * disk.f_frsize)
}

#[cfg(not(unix))]
fn free_space(_: &Path) -> Option<u64> {
    None
}
