//! The server of the group chat.
//!
//! ```text
//!   socket ─▶ inbox ─▶ session ─▶ group ─▶ each member's client: turn ─▶ outbox ─▶ socket
//!             └── one thread for each client ──┘                                └── net: fan-out and writer threads
//! ```
//!
//! - [`joining`]: how a client comes into its group. [`session`]: its dialogues from then on. [`decisions`]: those in which the admin decides
//!   about a name.
//! - [`group`] and [`table`]: who is in which group, who may do what, and the order of the lines. [`member`]: who owns a name.
//!   [`announcer`] and [`bans`]: which requests are announced, and who stays out. [`backlog`]: lines for members that are offline.
//!   [`refusal`]: what the rules say no to. [`state`]: what a restart leaves.
//! - [`places`]: how many clients may have joined, and who makes room.
//! - [`inbox`]: what a client sends, frame by frame. [`client`] and [`turn`]: what may go to a client now, and what must wait. [`frame`]:
//!   what goes out.
//! - [`upload`], [`share`], [`spool`], [`download`] and [`deliveries`]: a file's way to the server, in it, and to each member.
//!
//! The locks are taken in this order: the table, one group, one turn.

pub(crate) mod announcer;
pub(crate) mod backlog;
pub(crate) mod bans;
pub(crate) mod client;
pub(crate) mod decisions;
pub(crate) mod deliveries;
pub(crate) mod download;
pub(crate) mod frame;
pub(crate) mod group;
pub(crate) mod inbox;
pub(crate) mod joining;
pub(crate) mod member;
pub(crate) mod places;
pub(crate) mod refusal;
pub(crate) mod session;
pub(crate) mod share;
pub(crate) mod spool;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod turn;
pub(crate) mod upload;

#[cfg(test)]
mod testkit;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use log::info;
use parking_lot::Mutex;

use self::client::Client;
use self::download::{News, tell_news};
use self::frame::sealed_frame;
use self::group::Group;
use self::joining::Joining;
use self::places::Places;
use self::spool::Spool;
use self::state::StateFile;
use self::table::GroupTable;
use crate::net::connection::{ClientId, Connection};
use crate::net::deadlines::PROBE_TIME;
use crate::net::departure::Departure;
use crate::net::fairness::Source;
use crate::net::listener::{GREETING_PLACES, Listener, Service, servable};
use crate::net::memory::Memory;
use crate::net::outbox::Pace;
use crate::seal::{Key, Secret};
use crate::wire::command::notice;

/// How a server is set up. The defaults are in [`ServerSettings::new`].
pub(crate) struct ServerSettings {
    /// The host to listen on: an address of this machine, or a name of it.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The most clients that have joined. The server lowers it to what the machine allows.
    pub max_clients: usize,
    /// The largest file that the server takes, in bytes.
    pub max_file: u64,
    /// The largest file that is offered to a Python client, in bytes. `None`: any.
    pub python_file_limit: Option<u64>,
    /// Where uploaded bodies are kept. In a folder that lies in memory, they take memory.
    pub spool: PathBuf,
    /// The file with the secret that all clients must have. `None`: every client that connects gets the key.
    pub secret_file: Option<PathBuf>,
    /// The file that keeps the groups over a restart. `None`: they are forgotten.
    pub state: Option<PathBuf>,
    /// The memory for what is held for its clients, in bytes. `None`: what suits the machine.
    pub memory: Option<u64>,
    /// How many lines a group keeps for members that are offline. 0: none.
    pub backlog: usize,
}

impl ServerSettings {
    /// A server at this address, with the limits that suit a local network.
    pub(crate) fn new(host: String, port: u16) -> ServerSettings {
        ServerSettings {
            host,
            port,
            max_clients: 1000,
            // People have other means for longer files, and each receiver needs as long as the sender.
            max_file: 4 << 30,
            // A Python client reads a body with one call: on loopback 92 KiB of body arrive, and not 95.
            python_file_limit: Some(64 << 10),
            spool: std::env::temp_dir(),
            secret_file: None,
            state: None,
            memory: None,
            backlog: 200,
        }
    }
}

/// A server that listens.
pub(crate) struct Server {
    shared: Shared,
    state: Option<StateFile>,
    listener: Listener,
}

/// What all sessions of a server share.
pub(crate) struct Shared {
    settings: ServerSettings,
    /// The key of this run, the same for every client.
    key: Arc<Key>,
    /// What a closed server sends in place of its key, which it has derived from this and from the secret. `None`: a plain server. It has the
    /// form of a key, because a refusal is sealed under it.
    salt: Option<Key>,
    table: GroupTable,
    spool: Spool,
    /// What became of shared files, for their uploaders.
    news: Arc<Mutex<Vec<News>>>,
    /// Who has joined.
    places: Places,
    /// How long a newcomer waits for a name whose connection may be dead.
    probe_time: Duration,
}

impl Server {
    /// Begins to listen, with a fresh key. With a secret, deriving it takes a moment first. The error is in words.
    pub(crate) fn bind(mut settings: ServerSettings) -> Result<Server, String> {
        let (max_clients, greeting) = servable(settings.max_clients, GREETING_PLACES, "server");
        settings.max_clients = max_clients;
        let places = max_clients + greeting;
        let memory = Arc::new(Memory::new(settings.memory));
        let listener = Listener::bind(&settings.host, settings.port, places, Arc::clone(&memory))?;
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
            table: GroupTable::new(settings.backlog, memory),
            spool,
            news: Arc::default(),
            places: Places::default(),
            probe_time: PROBE_TIME,
            settings,
        };
        let path = shared.settings.state.as_deref();
        let state = path.map(|path| StateFile::load(path, &shared.table));
        Ok(Server {
            state: state.transpose()?,
            shared,
            listener,
        })
    }
}

impl Shared {
    /// Tells the members of each group how many requests were not announced, where that is due.
    fn tell_counts(&self, now: Instant) {
        let to_tell = &self.table.changes.to_tell;
        if !to_tell.swap(false, Ordering::Relaxed) {
            return;
        }
        for (_, group) in self.table.all() {
            let mut guard = group.lock();
            let count = guard.announcer.take_count(now);
            // The admin may have decided about some of them meanwhile.
            let count = count.map(|n| n.min(guard.requests.len()));
            if guard.announcer.is_counting() {
                to_tell.store(true, Ordering::Relaxed);
            }
            drop(guard);
            if let Some(n) = count.filter(|n| *n > 0) {
                let requests = if n == 1 { "request" } else { "requests" };
                let text = format!("{n} more {requests} to join the group; /1 lists them.");
                let frame = sealed_frame(&self.key, notice(text));
                let group = group.lock();
                group
                    .online()
                    .for_each(|member| member.send_notice(frame.clone()));
            }
        }
    }
}

impl Service for Server {
    fn listener(&self) -> &Listener {
        &self.listener
    }

    fn who_reads(&self) -> &'static str {
        match self.shared.salt {
            None => {
                "everyone who reaches it can read what is said; --secret-file FILE prevents that"
            }
            Some(_) => "closed: only those who have the secret can join and read",
        }
    }

    fn join_command(&self) -> (&'static str, &'static str) {
        match self.shared.salt {
            None => ("client", ""),
            Some(_) => ("client", " --secret-file FILE"),
        }
    }

    fn pace(&self) -> Pace {
        Pace::Batched
    }

    fn serve(&self, connection: &Connection) -> Departure {
        let joining = Joining {
            shared: &self.shared,
            id: connection.id,
            source: connection.source(),
            outbox: connection.outbox(),
        };
        match joining.join(connection.stream()) {
            Ok(session) => {
                connection.introduced(Some(session.who()));
                session.run()
            }
            Err(departure) => departure,
        }
    }

    fn tick(&self) {
        self.shared.tell_counts(Instant::now());
        // Only files wait for a tick, and only their uploaders are told something at one.
        if self.shared.spool.is_empty() && self.shared.news.lock().is_empty() {
            return;
        }
        for (_, group) in self.shared.table.all() {
            let late = group.lock().take_late_files(Instant::now());
            drop(late);
        }
        let online = |group: &Group| group.online().cloned().collect();
        for client in self.shared.table.clients(online) {
            // A panic concerns this client only.
            let _ = catch_unwind(AssertUnwindSafe(|| client.tick()));
        }
        tell_news(&self.shared.news);
    }

    fn run_beside(&self, stopped: &Receiver<()>) {
        if let Some(state) = &self.state {
            state.saving_loop(&self.shared.table, stopped);
        }
    }

    fn kept(&self) -> Vec<(Source, usize)> {
        self.shared.table.kept()
    }

    fn forget(&self, source: Source) {
        self.shared.table.forget_lines(source);
    }

    fn tell_why(&self, client: Option<ClientId>, reason: &str, departure: Departure) {
        let is_told = |one: &&Arc<Client>| client.is_none_or(|id| id == one.id);
        let told = |group: &Group| group.clients().filter(is_told).cloned().collect();
        for one in self.shared.table.clients(told) {
            one.disconnect(reason, departure.clone());
        }
    }
}
