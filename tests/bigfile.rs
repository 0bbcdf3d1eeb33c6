//! A big file through the real programs: is it whole, how fast is it, and does memory stay what it was?
//!
//! ```text
//!   uploader ── seal ──▶ server: check, spool ──▶ receiver: open, store
//! ```
//!
//! The file has 1 GiB, or as many MiB as `FERNCHAT_BIG_MIB` says. It, the spool and the download lie under the target directory while the
//! test runs, four times the file's size in all. Too much for the fast run, so it is started by name, and in release:
//! `cargo test --release --test bigfile`.
//! It is shared five times, and the medians are shown. The rates are to be read against what one thread reaches that does nothing but
//! seal, or open, the same file; they assert nothing.
//! What is asserted: the content, and that no process needs more than [`MORE_MEMORY`] for it. Reads `/proc`, so it needs Linux.

mod support;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use fernchat::seal::{BodyOpener, BodySealer, Key, token_len};
use support::{DEADLINE, Server, status_of};

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
    let mut bob = server.client_with("bob", &["--downloads", &downloads]);
    alice.hears("bob has requested");
    alice.types("/2 bob");
    alice.hears("bob is now a member");
    bob.hears("You have been approved");

    let processes = [
        ("server", server.program.id()),
        ("uploader", alice.id()),
        ("receiver", bob.id()),
    ];
    let before = processes.map(|(_, id)| status_of(id, "VmHWM"));
    // Of each run: upload, delivery, sealing and opening.
    let mut runs: Vec<[Duration; 4]> = Vec::new();
    for _ in 0..N_RUNS {
        let (sealing, opening) = alone(&path, len).unwrap();
        let start = Instant::now();
        alice.types(&format!("/9 {}", path.display()));
        alice.hears_within(deadline, "big.bin is on its way to 1 member.");
        let uploaded = Instant::now();
        bob.hears_within(deadline, "Received big.bin from alice");
        runs.push([uploaded - start, uploaded.elapsed(), sealing, opening]);
        let received = Path::new(&downloads).join("big.bin");
        assert!(
            are_equal(&path, &received).unwrap(),
            "what arrived is not what was sent"
        );
        // The next run finds the disk as this one did.
        std::fs::remove_file(received).unwrap();
    }
    let after = processes.map(|(_, id)| status_of(id, "VmHWM"));
    let [upload, delivery, sealing, opening] = [0, 1, 2, 3].map(|column| {
        runs.sort_by_key(|run| run[column]);
        runs[N_RUNS / 2][column]
    });

    println!(
        "A file of {} MiB, on the wire {} MiB; medians of {N_RUNS} runs\n\n{:<16} {:>8} {:>8} {:>26}",
        len >> 20,
        token_len(len) >> 20,
        "",
        "s",
        "MB/s",
        "of the limit"
    );
    let rates = [
        ("upload", upload, Some(("sealing", sealing))),
        ("delivery", delivery, Some(("opening", opening))),
        ("sealing alone", sealing, None),
        ("opening alone", opening, None),
    ];
    for (what, time, limit) in rates {
        let secs = time.as_secs_f64();
        let limit = limit
            .map(|(name, limit)| format!("{:.0} % of {name}", limit.as_secs_f64() / secs * 100.0));
        println!(
            "{what:<16} {secs:>8.2} {:>8.0} {:>26}",
            len as f64 / secs / 1e6,
            limit.unwrap_or_default()
        );
    }
    println!(
        "\n{:<16} {:>12} {:>12} {:>8}",
        "peak memory, KiB", "before", "after", "more"
    );
    for (((name, _), before), after) in processes.iter().zip(before).zip(after) {
        println!("{name:<16} {before:>12} {after:>12} {:>8}", after - before);
    }
    for (((name, _), before), after) in processes.iter().zip(before).zip(after) {
        let more = after - before;
        assert!(
            more <= MORE_MEMORY,
            "the {name} took {more} KiB more for the file"
        );
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
