//! The log: lines go through a bounded queue to one thread, which writes them to standard error.
//!
//! Invariant: a thread that logs never waits. If nobody reads the log, or its terminal stands still, the queue fills. Then lines are
//! dropped, and the next line that finds room is preceded by their number.
//!
//! `RUST_LOG` sets what the log holds. Only fernchat's own modules are heard: the package of the line editor would log each key typed.

use std::io::{self, Write};
use std::panic;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use env_logger::{Builder, Env, Logger, Target};
use log::{Log, Metadata, Record, error};

use crate::machine;

/// How many lines may wait. A line has some hundred bytes.
const MAX_LINES: usize = 2048;

/// How long the end of the program waits for the lines that are queued.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The logger: env_logger chooses and formats the lines.
struct LogQueue {
    logger: Logger,
    queue: Sender<Entry>,
}

/// What the thread gets.
enum Entry {
    Line(Vec<u8>),
    /// Dropped when all lines before it are written: see [`LogQueue::flush`].
    Mark(Sender<()>),
}

/// Sets up the log, with local time. `default` says what it holds if `RUST_LOG` does not.
pub(crate) fn set_up(default: &str) {
    let (queue, entries) = bounded(MAX_LINES);
    // Without this thread there is no log. A server needs more threads, and says at its end that it cannot have them.
    let _ = machine::spawn("log", move || write_loop(&entries));
    let lines = Lines {
        queue: queue.clone(),
        n_dropped: 0,
    };
    let logger = Builder::from_env(Env::default().default_filter_or(default))
        .target(Target::Pipe(Box::new(lines)))
        .format(|line, record| {
            let time = machine::local_time();
            let text = machine::without_numbers(&record.args().to_string());
            writeln!(line, "{time} {:5} {text}", record.level())
        })
        .build();
    log::set_max_level(logger.filter());
    // It is set up once.
    let _ = log::set_boxed_logger(Box::new(LogQueue { logger, queue }));
    // A panic's own message would wait for standard error.
    panic::set_hook(Box::new(|panic| {
        error!("{panic}");
        log::logger().flush();
    }));
}

impl Log for LogQueue {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("fernchat") && self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            self.logger.log(record);
        }
    }

    /// Waits until what is queued is written, for at most [`FLUSH_TIME`].
    fn flush(&self) {
        let deadline = Instant::now() + FLUSH_TIME;
        let (mark, passed) = bounded(0);
        // If there is no room or no thread, or the mark does not pass in time, nobody reads the log.
        let _ = self.queue.send_deadline(Entry::Mark(mark), deadline);
        let _ = passed.recv_deadline(deadline);
    }
}

/// Where env_logger writes: each line in one call.
struct Lines {
    queue: Sender<Entry>,
    /// Since the last line that passed.
    n_dropped: u64,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = Vec::new();
        if self.n_dropped > 0 {
            text = format!("{} lines of the log were dropped\n", self.n_dropped).into_bytes();
        }
        text.extend_from_slice(line);
        match self.queue.try_send(Entry::Line(text)) {
            Ok(()) => self.n_dropped = 0,
            Err(_) => self.n_dropped += 1,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_loop(entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            // If standard error is closed, there is nobody to tell.
            Entry::Line(line) => drop(io::stderr().write_all(&line)),
            Entry::Mark(mark) => drop(mark),
        }
    }
}
