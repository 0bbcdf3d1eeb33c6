//! The pipes that server and relay share: an accept loop, two threads and an outbox for each client. No protocol.
//!
//! - [`listener`]: who may come in, the clock that keeps the deadlines, and the stop.
//! - [`connection`]: the two threads of one client, and [`Departure`](connection::Departure), the one way a connection ends.
//! - [`outbox`]: the channel towards one client, and the loop that empties it.
//! - [`machine`]: what this machine allows: descriptors, threads, room on a disk.

pub mod connection;
pub mod listener;
pub mod machine;
pub mod outbox;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The addresses of a host, which may be a name, IPv4 first: the Python programs know nothing else.
///
/// # Errors
/// The name is unknown, or it has no address.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(addresses),
    }
}
