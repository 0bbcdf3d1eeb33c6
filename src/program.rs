//! What the command line asks for: parses the arguments, starts the log and a server, client or relay, and returns the exit code.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use crate::args::{self, Args};
use crate::client;
use crate::log_queue;
use crate::machine;
use crate::net::listener::Service;
use crate::relay::{self, Relay};
use crate::seal::Key;
use crate::server::Server;
use crate::terminal::Terminal;
use crate::terminal::style::harmless;

/// Does what the command line says. Returns the exit code: 0, 1 for an error, 2 for wrong arguments.
pub fn run() -> ExitCode {
    match args::parse() {
        Ok(args) => {
            let result = start(args);
            // An error stands behind the lines that led to it.
            log::logger().flush();
            match result {
                Ok(()) => ExitCode::SUCCESS,
                // The error may quote a server, and the terminal must not obey that.
                Err(error) => fail(1, &harmless(&error)),
            }
        }
        Err(usage) => fail(2, &usage),
    }
}

fn start(args: Args) -> Result<(), String> {
    log_queue::set_up(match args {
        Args::Server(_) | Args::Relay(_) => "info",
        _ => "warn",
    });
    match args {
        Args::Server(settings) => serve(Server::bind(settings).map_err(|error| error.to_string())?),
        Args::Client(settings, terminal) => {
            client::run(settings, Box::new(Terminal::new(terminal)?))
        }
        Args::Relay(settings) => serve(Relay::bind(settings).map_err(|error| error.to_string())?),
        Args::RelayClient(settings, terminal) => {
            relay::client::run(settings, Box::new(Terminal::new(terminal)?))
        }
        Args::Keygen(None) => print_line(Key::generate().as_str()),
        Args::Keygen(Some(path)) => {
            Key::create(&path).map_err(|error| error.to_string())?;
            print_line(&format!(
                "made the key {}; hand it to your friends by other means than this chat",
                path.display()
            ))
        }
        Args::Print(text) => print_line(&text),
    }
}

/// Runs a service until Ctrl-C, SIGTERM or SIGHUP. A second one ends the program at once.
fn serve(service: impl Service + 'static) -> Result<(), String> {
    // It lives as long as the program, like the handler that stops it.
    let service: &'static _ = Box::leak(Box::new(service));
    let mut n_signals = 0;
    machine::at_signal(move || {
        n_signals += 1;
        match n_signals {
            1 => service.listener().stop(),
            _ => std::process::exit(1),
        }
    })
    .map_err(|error| error.to_string())?;
    let reach = reach(service.listener().address());
    print_line(&format!("{reach}; {}", service.who_reads()))?;
    service
        .listener()
        .run(service)
        .map_err(|error| error.to_string())
}

/// Where a service listens and where others reach it, in words.
fn reach(address: SocketAddr) -> String {
    let is_same_kind = |ip: &IpAddr| address.is_ipv6() || ip.is_ipv4();
    let reach: Vec<String> = match address.ip() {
        ip if ip.is_loopback() => Vec::new(),
        ip if !ip.is_unspecified() => vec![address.to_string()],
        _ => machine::addresses()
            .into_iter()
            .filter(is_same_kind)
            .map(|ip| SocketAddr::new(ip, address.port()).to_string())
            .collect(),
    };
    if reach.is_empty() {
        return format!("listening on {address}, reachable only from this machine");
    }
    let reach = reach.join(" or ");
    format!("listening on {address}, reachable by others at {reach}")
}

fn fail(code: u8, error: &str) -> ExitCode {
    // If nobody reads the errors, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(code)
}

fn print_line(line: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot print: {error}"))
}
