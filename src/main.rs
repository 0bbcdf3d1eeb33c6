//! The command line program: parse, set up the log, call, exit code.

mod args;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use args::Args;
use fernchat::client;
use fernchat::relay::{self, Relay};
use fernchat::seal::Key;
use fernchat::server::Server;

fn main() -> ExitCode {
    match args::parse() {
        Ok(args) => run(args).unwrap_or_else(|error| fail(1, error.as_ref())),
        Err(usage) => fail(2, &usage),
    }
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Display>> {
    match args {
        Args::Print(text) => print_line(&text),
        Args::Server(setup) => {
            set_up_log("info");
            let server: &'static Server = Box::leak(Box::new(Server::bind(setup).map_err(boxed)?));
            stop_at_signal(|| server.stop())?;
            print_line(&server.banner());
            server.run();
        }
        Args::Relay(setup) => {
            set_up_log("info");
            let relay: &'static Relay = Box::leak(Box::new(Relay::bind(setup).map_err(boxed)?));
            stop_at_signal(|| relay.stop())?;
            print_line(&relay.banner());
            relay.run();
        }
        Args::RelayClient(client) => {
            set_up_log("warn");
            relay::client::run(client.setup().map_err(boxed)?).map_err(boxed)?;
        }
        Args::Keygen(None) => print_line(Key::generate().as_str()),
        Args::Keygen(Some(path)) => {
            Key::create(&path).map_err(boxed)?;
            print_line(&format!("made the key {}; hand it to your friends by other means than this chat", path.display()));
        }
        Args::Client(setup) => {
            set_up_log("warn");
            client::run(setup).map_err(boxed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C and SIGTERM stop the service; a second one ends the program at once.
fn stop_at_signal(stop: impl Fn() + Send + 'static) -> Result<(), Box<dyn Display>> {
    let mut n_signals = 0;
    let at_signal = move || {
        n_signals += 1;
        match n_signals {
            1 => stop(),
            _ => std::process::exit(1),
        }
    };
    ctrlc::set_handler(at_signal).map_err(boxed)
}

fn boxed(error: impl Display + 'static) -> Box<dyn Display> {
    Box::new(error)
}

fn fail(code: u8, error: &dyn Display) -> ExitCode {
    // Nobody is left to be told that nobody listens; likewise below.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(code)
}

fn print_line(line: &str) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// The log goes to standard error, with local time; `RUST_LOG` sets what it holds.
fn set_up_log(default: &str) {
    let env = env_logger::Env::default().default_filter_or(default);
    env_logger::Builder::from_env(env)
        .format(|line, record| {
            let time = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
            writeln!(line, "{time} {:5} {}", record.level(), record.args())
        })
        .init();
}
