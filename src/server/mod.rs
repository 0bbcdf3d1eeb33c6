//! The group chat's server: one thread that accepts, one or two for each client and one more while it greets, and the groups between
//! them.
//!
//! ```text
//!   client's socket ─▶ session (reader thread) ─▶ group (mutex) ─▶ client of each member: turn ─▶ outbox ─▶ round ─▶ socket
//! ```
//!
//! - [`session`]: one client's way through the protocol, straight-line code.
//! - [`group`] and [`table`]: who is who, who may do what, and the order of what is heard; [`backlog`]: what those heard later who were offline.
//! - [`client`] and [`turn`]: what may go to a client now, and what must wait.
//! - [`sharing`] and [`spool`]: a file's upload and its offers, and its body in a temporary file meanwhile.

mod backlog;
mod client;
mod download;
mod frame;
mod group;
mod inbox;
mod joining;
mod refusal;
mod session;
mod spool;
mod table;
mod turn;
mod upload;

#[cfg(test)]
mod testkit;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::info;

use self::group::Group;
use self::joining::join;
use self::spool::Spool;
use self::table::GroupTable;
use crate::net::connection::Connection;
use crate::net::deadlines::PROBE_TIME;
use crate::net::departure::Departure;
use crate::net::listener::{GREETING_PLACES, Listener, Service, bearable};
use crate::net::outbox::Pace;
use crate::seal::{Key, Secret};

/// How a server is set up. The defaults are in [`ServerSettings::new`].
pub struct ServerSettings {
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
    /// The file with the secret that all clients must have; `None`: the key is sent to everybody who connects.
    pub secret_file: Option<PathBuf>,
    /// How many lines a group keeps for members that are offline; 0: none.
    pub backlog: usize,
}

impl ServerSettings {
    /// A server at this address, with the limits that suit a local network.
    pub fn new(host: String, port: u16) -> ServerSettings {
        ServerSettings {
            host,
            port,
            max_clients: 1000,
            // Longer than this, people have other means; and every receiver needs the time.
            max_file: 4 << 30,
            // A Python client reads a body with one call: on loopback 92 KiB of body arrive, and not 95.
            python_file_limit: Some(64 << 10),
            spool: std::env::temp_dir(),
            secret_file: None,
            backlog: 200,
        }
    }
}

/// A server that listens.
pub struct Server {
    shared: Shared,
    listener: Listener,
}

/// What all sessions of a server share.
struct Shared {
    settings: ServerSettings,
    /// The key of this run, the same for every client.
    key: Arc<Key>,
    /// What a closed server sends in place of its key: what the key was derived with.
    salt: Option<Key>,
    table: GroupTable,
    spool: Spool,
    /// Each client that has joined holds a clone, so the count of clones counts the clients.
    places: Arc<()>,
    /// How long a newcomer waits for a name whose connection may be dead.
    probe_time: Duration,
}

impl Server {
    /// Begins to listen, with a fresh key. With a secret, deriving it takes a moment first. The error is in words.
    pub fn bind(mut settings: ServerSettings) -> Result<Server, String> {
        settings.max_clients = bearable(settings.max_clients, GREETING_PLACES, "server");
        let places = settings.max_clients + GREETING_PLACES;
        let listener = Listener::bind(&settings.host, settings.port, places)?;
        let spool = Spool::new(&settings.spool).map_err(|error| {
            let folder = settings.spool.display();
            format!("cannot keep files in {folder}: {error}; choose another folder with --spool")
        })?;
        let (key, salt) = match &settings.secret_file {
            None => (Arc::new(Key::generate()), None),
            Some(path) => {
                let secret = Secret::load(path).map_err(|error| error.to_string())?;
                info!("deriving the key of this run from the secret");
                let salt = Key::generate();
                (secret.derive(&salt), Some(salt))
            }
        };
        let shared = Shared {
            key,
            salt,
            table: GroupTable::new(settings.backlog),
            spool,
            places: Arc::default(),
            probe_time: PROBE_TIME,
            settings,
        };
        Ok(Server { shared, listener })
    }
}

impl Service for Server {
    fn listener(&self) -> &Listener {
        &self.listener
    }

    fn banner(&self) -> String {
        let who = match self.shared.salt {
            None => "everyone on the network can read the key, and so all that is said",
            Some(_) => "closed: only those who have the secret can join and read",
        };
        format!("{}; {who}", self.listener.banner())
    }

    fn pace(&self) -> Pace {
        Pace::Batched
    }

    fn serve(&self, connection: &Connection) -> Departure {
        let (id, outbox) = (connection.id, connection.outbox());
        match join(&self.shared, id, outbox, connection.stream()) {
            Ok(session) => {
                connection.settle(Some(session.who()));
                session.run()
            }
            Err(departure) => departure,
        }
    }

    fn tick(&self) {
        let online = |group: &Group| group.online().cloned().collect();
        for client in self.shared.table.clients(online) {
            // A panic concerns this client only.
            let _ = catch_unwind(AssertUnwindSafe(|| client.tick()));
        }
    }

    fn say_goodbye(&self) {
        let (table, reason) = (&self.shared.table, "The server stops.");
        for client in table.clients(|group| group.waiting().cloned().collect()) {
            client.close_waiting(reason, Departure::Stopping);
        }
        for client in table.clients(|group| group.online().cloned().collect()) {
            client.close(reason, Departure::Stopping);
        }
    }
}
