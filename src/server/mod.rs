//! The group chat's server: one thread that accepts, two for each client, and the groups between them.
//!
//! ```text
//!   client's socket ─▶ session (reader thread) ─▶ group (mutex) ─▶ seat of each member: turn ─▶ outbox ─▶ writer thread ─▶ socket
//! ```
//!
//! - [`session`]: one client's way through the protocol, straight-line code.
//! - [`group`] and [`table`]: who is who, who may do what, and the order of what is heard.
//! - [`seat`] and [`turn`]: what may go to a client now, and what must wait.
//! - [`spool`]: uploaded bodies in temporary files.

pub mod group;
pub mod seat;
pub mod session;
pub mod spool;
pub mod table;
pub mod turn;

#[cfg(test)]
mod testkit;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;

use crossbeam_channel::{unbounded, Receiver};
use log::info;

use self::seat::{seal, Failure};
use self::session::{House, Session};
use self::spool::Spool;
use self::table::GroupTable;
use crate::net::connection::{Connection, Departure};
use crate::net::listener::{Listener, Service};
use crate::net::{machine, resolve};
use crate::seal::Key;
use crate::wire::command::notice;

/// How a server is set up. The defaults are in [`Setup::new`].
pub struct Setup {
    /// The host to listen on: an address of this machine, or a name of it.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The most clients that have said who they are. Kept below what the machine allows.
    pub max_clients: usize,
    /// The largest file that is taken, in bytes.
    pub max_file: u64,
    /// The largest file that is offered to a Python client, in bytes; `None`: any.
    pub python_file_limit: Option<u64>,
    /// Where uploaded bodies are kept. Beware of a folder that lies in memory.
    pub spool: PathBuf,
}

impl Setup {
    /// A server at this address, with the limits that suit a local network.
    pub fn new(host: String, port: u16) -> Setup {
        Setup {
            host,
            port,
            max_clients: 1000,
            // Longer than this, people have other means; and every receiver needs the time.
            max_file: 4 << 30,
            // A Python client reads a body with one call: on loopback 92 KiB of body arrive, and not 95.
            python_file_limit: Some(64 << 10),
            spool: std::env::temp_dir(),
        }
    }
}

/// A server that listens.
pub struct Server {
    house: House,
    listener: Listener,
    failures: Receiver<Failure>,
}

impl Server {
    /// Begins to listen, with a fresh key.
    ///
    /// # Errors
    /// The address cannot be used, or the spool's folder cannot.
    pub fn bind(setup: Setup) -> Result<Server, ServerError> {
        let Setup { host, port, max_clients, max_file, python_file_limit, spool } = setup;
        let refuse = |error| ServerError::Listen { host: host.clone(), port, error };
        let max_clients = max_clients.min(machine::client_ceiling());
        let addresses = resolve(&host, port).map_err(|error| ServerError::Name { host: host.clone(), error })?;
        let listener = Listener::bind(&addresses, max_clients).map_err(refuse)?;
        let spool = Spool::new(&spool).map_err(|error| ServerError::Spool { folder: spool, error })?;
        let (failures, failed) = unbounded();
        let house = House {
            key: Arc::new(Key::generate()),
            table: GroupTable::default(),
            spool,
            n_seated: AtomicUsize::new(0),
            max_clients,
            max_file,
            python_file_limit,
            failures,
        };
        Ok(Server { house, listener, failures: failed })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What to tell whoever started it: where it listens, how others reach it, and who can read along.
    pub fn banner(&self) -> String {
        let address = self.address();
        let reach: Vec<String> = reachable(address).iter().map(ToString::to_string).collect();
        let reach = match reach.is_empty() {
            true => "only from this machine".to_owned(),
            false => format!("by others at {}", reach.join(" or ")),
        };
        format!("listening on {address}, reachable {reach}; everyone on the network can read the key, and so all that is said")
    }

    /// Serves clients until [`Server::stop`].
    pub fn run(&self) {
        self.listener.run(self);
        info!("stopped");
    }

    /// Stops the server, from any thread: clients are told, and [`Server::run`] returns.
    pub fn stop(&self) {
        self.listener.stop();
    }
}

impl Service for Server {
    fn serve(&self, connection: &Connection) -> Departure {
        match Session::greet(&self.house, connection.id, connection.outbox(), connection.incoming()) {
            Err(departure) => departure,
            Ok(session) => {
                connection.settle(session.who());
                session.run()
            }
        }
    }

    fn tick(&self) {
        for Failure { uploader, receiver, file } in self.failures.try_iter() {
            if let Some(uploader) = uploader.upgrade() {
                uploader.hear(seal(&self.house.key, notice(format!("{file} did not reach {receiver}."))));
            }
        }
        for group in self.house.table.all() {
            group.lock().online().for_each(|seat| seat.tick());
        }
    }

    fn say_goodbye(&self) {
        let reason = "The server stops.";
        for group in self.house.table.all() {
            let (online, waiting): (Vec<_>, Vec<_>) = {
                let group = group.lock();
                (group.online().cloned().collect(), group.waiting().cloned().collect())
            };
            online.iter().for_each(|seat| seat.close(reason, Departure::Stopping));
            waiting.iter().for_each(|seat| seat.close_waiting(reason, Departure::Stopping));
        }
    }
}

/// The addresses at which other machines reach a server that listens here.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    if address.ip().is_loopback() {
        return Vec::new();
    }
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    // A system that does not tell its addresses is no reason not to start.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| is_reachable(ip, address));
    let mut addresses: Vec<SocketAddr> = addresses.map(|ip| SocketAddr::new(ip, address.port())).collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}

fn is_reachable(ip: &IpAddr, listening: SocketAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        // A link-local address needs its interface named, which few know how to do.
        IpAddr::V6(ip) => listening.is_ipv6() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// Why a server does not start.
#[derive(Debug)]
pub enum ServerError {
    /// The host is no address, and no name that is known here.
    Name {
        /// The host.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// It cannot listen there.
    Listen {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        error: io::Error,
    },
    /// No file can be made in the folder for uploaded bodies.
    Spool {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ServerError::Name { host, error } => {
                write!(f, "cannot find the host {host}: {error}; try an address of this machine, such as 127.0.0.1 or 0.0.0.0")
            }
            ServerError::Listen { host, port, error } => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    write!(f, "cannot listen on {host}:{port}: the port is in use; stop the program that has it, or choose another port")
                }
                io::ErrorKind::AddrNotAvailable => {
                    write!(f, "cannot listen on {host}:{port}: this machine has no such address; try 0.0.0.0 for all that it has")
                }
                io::ErrorKind::PermissionDenied => {
                    write!(
                        f,
                        "cannot listen on {host}:{port}: ports below 1024 are for the system; choose one from 1024 to 65535"
                    )
                }
                _ => write!(f, "cannot listen on {host}:{port}: {error}"),
            },
            ServerError::Spool { folder, error } => {
                write!(f, "cannot keep files in {}: {error}; choose another folder with --spool", folder.display())
            }
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServerError::Name { error, .. } | ServerError::Listen { error, .. } | ServerError::Spool { error, .. } => Some(error),
        }
    }
}
