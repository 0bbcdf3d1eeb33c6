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
        peer: format!("{host}:{port}"),
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
