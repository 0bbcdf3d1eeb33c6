//! What the command line asks for: parses the arguments, starts the log and a server, client or relay, and returns the exit code.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use chrono::{DateTime, Local};

use crate::args::{self, Args};
use crate::client;
use crate::discovery::mdns::Announcement;
use crate::discovery::{self, Kind};
use crate::log_queue;
use crate::machine;
use crate::net::listener::Service;
use crate::relay::{self, Relay};
use crate::screen::Screen;
use crate::seal::{Anatomy, Key, hex};
use crate::server::Server;
use crate::terminal::Terminal;
use crate::terminal::style::harmless;
#[cfg(feature = "window")]
use crate::window;

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
        Args::Server(..) | Args::Relay(..) => "info",
        _ => "warn",
    });
    match args {
        Args::Server(settings, announced) => serve(Server::bind(settings)?, announced),
        Args::Client(mut settings, terminal) => {
            let terminal = Terminal::new(terminal)?;
            if settings.host.is_empty() {
                match discovery::choose(&terminal, settings.port) {
                    Ok(found) => (settings.host, settings.port) = found,
                    // The client asks for the address.
                    Err(error) if terminal.is_interactive() => print_line(&error)?,
                    Err(error) => return Err(error),
                }
            }
            client::run(settings, Box::new(terminal))
        }
        Args::Relay(settings, announced) => serve(Relay::bind(settings)?, announced),
        Args::RelayClient(settings, terminal) => {
            relay::client::run(settings, Box::new(Terminal::new(terminal)?))
        }
        #[cfg(feature = "window")]
        Args::Window(settings) => {
            window::run(settings).map_err(|error| format!("cannot open the window: {error}"))
        }
        Args::Keygen(None) => print_line(Key::generate().as_str()),
        Args::Keygen(Some(path)) => {
            Key::create(&path).map_err(|error| error.to_string())?;
            print_line(&format!(
                "made the key {}; hand it over by other means than the network",
                path.display()
            ))
        }
        Args::Token(token, key_file) => show_token(token, key_file.as_deref()),
        Args::Find => print_line(&discovery::list()?),
        Args::Print(text) => print_line(&text),
    }
}

/// The longest token that is taken apart, in bytes.
const MAX_TOKEN: u64 = 1 << 20;

/// Prints the parts of a token, and its text if there is a key.
fn show_token(token: Option<String>, key_file: Option<&Path>) -> Result<(), String> {
    let key = key_file.map(Key::load).transpose();
    let key = key.map_err(|error| error.to_string())?;
    let token = match token {
        Some(token) => token,
        None => {
            let mut input = String::new();
            let read = std::io::stdin().take(MAX_TOKEN).read_to_string(&mut input);
            read.map_err(|error| format!("cannot read a token from standard input: {error}"))?;
            input
        }
    };
    let token = token.trim();
    let parts = Anatomy::parse(token).map_err(|error| format!("this is no token: {error}"))?;
    let time = i64::try_from(parts.stamp()).ok();
    let time = time.and_then(|secs| DateTime::from_timestamp(secs, 0));
    let time = time.map_or("beyond all calendars".into(), |time| {
        time.with_timezone(&Local).to_rfc3339()
    });
    let n_blocks = parts.ciphertext().len() / parts.iv().len();
    let hmac = match &key {
        None => "not checked: give the key with --key-file",
        Some(key) if parts.holds(key) => "it holds: a holder of the key made this token",
        Some(_) => "it does not hold: another key, or the token was changed",
    };
    let n_characters = token.len();
    print_line(&format!(
        "token       {n_characters} characters of base64url\n\
         version     {:02x}\n\
         time        {time}, {} seconds since 1970\n\
         IV          16 bytes: {}\n\
         ciphertext  {} bytes, {n_blocks} of AES's blocks: {}\n\
         HMAC        32 bytes: {}\n            {hmac}",
        parts.version(),
        parts.stamp(),
        hex(parts.iv(), 16),
        parts.ciphertext().len(),
        hex(parts.ciphertext(), 32),
        hex(parts.hmac(), 32),
    ))?;
    let Some(key) = key else { return Ok(()) };
    let text = key.open(token.as_bytes());
    let text = text.map_err(|error| format!("the token does not open: {error}"))?;
    print_line(&match std::str::from_utf8(&text) {
        Ok(words) => format!("text        {} bytes: {}", text.len(), harmless(words)),
        Err(_) => format!(
            "text        {} bytes, no UTF-8: {}",
            text.len(),
            hex(&text, 32)
        ),
    })
}

/// Runs a service until Ctrl-C, SIGTERM or SIGHUP. A second one ends the program at once. Until then it is announced on the network, unless it
/// is to stay unannounced.
fn serve(service: impl Service + 'static, announced: Option<Kind>) -> Result<(), String> {
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
    print_line(&reach(service))?;
    let address = service.listener().address();
    let _announcement = announced.and_then(|kind| Announcement::start(kind, address));
    service
        .listener()
        .run(service)
        .map_err(|error| error.to_string())
}

/// Where a service listens, who can read what is said, and what is typed on another machine to join it.
fn reach(service: &dyn Service) -> String {
    let address = service.listener().address();
    let at = |ip| SocketAddr::new(ip, address.port());
    let others: Vec<SocketAddr> = match address.ip() {
        ip if ip.is_loopback() => Vec::new(),
        ip if !ip.is_unspecified() => vec![address],
        _ => {
            let mut ips = machine::addresses();
            ips.retain(|ip| service.listener().takes(ip));
            ips.into_iter().map(at).collect()
        }
    };
    let reachable = match others.as_slice() {
        [] => "only from this machine".to_owned(),
        others => {
            let others: Vec<String> = others.iter().map(SocketAddr::to_string).collect();
            format!("by others at {}", others.join(" or "))
        }
    };
    let (place, first) = match (others.first(), address.ip()) {
        (Some(first), _) => ("On another machine", first.ip()),
        (None, ip) if !ip.is_unspecified() => ("In another terminal", ip),
        (None, IpAddr::V4(_)) => ("In another terminal", Ipv4Addr::LOCALHOST.into()),
        (None, IpAddr::V6(_)) => ("In another terminal", Ipv6Addr::LOCALHOST.into()),
    };
    let (command, options) = service.join_command();
    format!(
        "listening on {address}, reachable {reachable}; {}\n{place}, join with: fernchat {command} {first} {}{options}",
        service.who_reads(),
        address.port()
    )
}

fn fail(code: u8, error: &str) -> ExitCode {
    // If nobody reads the errors, there is nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "error: {}",
        machine::without_numbers(error)
    );
    ExitCode::from(code)
}

/// Prints in one write, so that a script may close the pipe when it has read the first line.
fn print_line(line: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout();
    stdout
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot print: {error}"))
}
