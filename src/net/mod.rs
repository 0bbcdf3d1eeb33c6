//! The threads and sockets that server and relay share. No protocol.
//!
//! - [`listener`]: who may come in, the clock that keeps the deadlines, and the stop.
//! - [`connection`]: the thread that reads from one client, and how a connection ends: for one named reason, a [`departure`].
//! - [`outbox`]: everything that goes out to one client: a channel, and a thread that writes.
//! - [`fanout`]: the fast path from one sender to many outboxes.
//! - [`flow`] and [`deadlines`]: how much may be queued for a client, and how long it may take for what.
//! - [`memory`]: how much may be held for all clients together.
//! - [`fairness`]: who makes room when something is used up.

pub(crate) mod connection;
pub(crate) mod deadlines;
pub(crate) mod departure;
pub(crate) mod fairness;
pub(crate) mod fanout;
pub(crate) mod flow;
pub(crate) mod listener;
pub(crate) mod memory;
pub(crate) mod outbox;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long the server may take to accept the connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The addresses of a host, which may be a name. IPv4 addresses come first, because the Python programs listen only there.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// The host and the port in what a person typed: `HOST`, `HOST PORT`, `HOST:PORT`, `[ADDRESS]`, `[ADDRESS]:PORT`, or an IPv6 address without
/// brackets.
///
/// # Errors
/// It has none of these forms: in words.
pub(crate) fn parse_address(typed: &str) -> Result<(String, Option<u16>), String> {
    let typed = typed.trim();
    if let Some((host, port)) = typed.split_once(char::is_whitespace) {
        return match parse_address(host)? {
            (host, None) => Ok((host, Some(parse_port(port.trim_start())?))),
            _ => Err("the port is given twice".into()),
        };
    }
    let (host, port) = match typed.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or("the ] of the address is missing")?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err(format!("'{rest}' behind ] is no :PORT")),
                port => (host, port),
            }
        }
        None => match typed.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (typed, None),
        },
    };
    if host.is_empty() {
        return Err("the HOST is missing".into());
    }
    Ok((host.to_owned(), port.map(parse_port).transpose()?))
}

/// The port in a text.
pub(crate) fn parse_port(text: &str) -> Result<u16, &'static str> {
    let port = text.parse().ok();
    port.ok_or("a port is a number from 1 to 65535, or 0 for any that is free")
}

/// An address as it is typed in one word.
pub(crate) fn one_word(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Connects to a host, which may be a name: to the first of its addresses that answers.
pub(crate) fn connect(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let connect = || {
        let unknown = |error| io::Error::new(io::ErrorKind::NotFound, error);
        let mut result = Err(io::ErrorKind::NotFound.into());
        for address in resolve(host, port).map_err(unknown)? {
            result = TcpStream::connect_timeout(&address, CONNECT_TIME);
            if result.is_ok() {
                break;
            }
        }
        let socket = result?;
        connection::tune(&socket)?;
        Ok(socket)
    };
    connect().map_err(|error| ConnectError {
        peer: one_word(host, port),
        error,
    })
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("cannot reach {peer}: {} ({error})", advice(error))]
pub(crate) struct ConnectError {
    peer: String,
    error: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there; does it run, and is the port right?"
        }
        io::ErrorKind::TimedOut => {
            "no answer; is the address right, and does a firewall let it through?"
        }
        io::ErrorKind::NotFound => "the name is not known; is it right? An address does as well",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no way leads there; is it in this network?"
        }
        _ => "does it run there, and is the address right?",
    }
}

/// The second try to connect again comes after this time. The first one comes at once.
const MIN_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Each pause is twice the last one, up to this one.
pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_secs(4);

/// How long a client that is not at a terminal goes on trying. Nobody is there to end it.
pub(crate) const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// The pauses before each try to connect again.
#[derive(Default)]
pub(crate) struct Pauses(Duration);

impl Pauses {
    /// The next one, up to a quarter longer or shorter. So a hundred clients of a server that was restarted do not all make their second
    /// try at once.
    pub(crate) fn next_pause(&mut self) -> Duration {
        // The standard library's one source of random numbers.
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        let pause = self.0.mul_f64(0.75 + random / 2.0);
        self.0 = (self.0 * 2).clamp(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
        pause
    }
}

/// Whether a read or write took as long as it may. Windows says so in another word, which elsewhere means that the peer has vanished.
pub(crate) fn is_late(error: &io::Error) -> bool {
    let late = if cfg!(windows) {
        io::ErrorKind::TimedOut
    } else {
        io::ErrorKind::WouldBlock
    };
    error.kind() == late
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_in_every_form_in_which_people_write_it() {
        for (typed, host, port) in [
            ("192.168.1.20", "192.168.1.20", None),
            ("192.168.1.20:8000", "192.168.1.20", Some(8000)),
            (" 192.168.1.20  8000 ", "192.168.1.20", Some(8000)),
            ("::1 8000", "::1", Some(8000)),
            ("hall.local:1", "hall.local", Some(1)),
            ("::1", "::1", None),
            ("[::1]", "::1", None),
            ("[::1]:8000", "::1", Some(8000)),
            ("[hall]:0", "hall", Some(0)),
        ] {
            assert_eq!(parse_address(typed), Ok((host.to_owned(), port)), "{typed}");
        }
        for typed in [
            "",
            ":8000",
            "h:",
            "h:x",
            "h:65536",
            "[::1",
            "[::1]8000",
            "[]:1",
            "h:1 2",
            "h x",
        ] {
            assert!(parse_address(typed).is_err(), "{typed}");
        }
        assert_eq!(one_word("::1", 8000), "[::1]:8000");
        assert_eq!(one_word("hall", 8000), "hall:8000");
    }

    #[test]
    fn what_is_in_the_way_is_said_in_words() {
        for (kind, words) in [
            (io::ErrorKind::ConnectionRefused, "nobody listens there"),
            (io::ErrorKind::TimedOut, "does a firewall let it through?"),
            (io::ErrorKind::NotFound, "the name is not known"),
            (io::ErrorKind::HostUnreachable, "no way leads there"),
            (io::ErrorKind::AddrNotAvailable, "is the address right?"),
        ] {
            let error = ConnectError {
                peer: "host:8000".into(),
                error: kind.into(),
            }
            .to_string();
            assert!(
                error.starts_with("cannot reach host:8000: ") && error.contains(words),
                "{error}"
            );
        }
    }
}
