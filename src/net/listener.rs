//! The listener: who may come in, the clock that keeps the deadlines, and the stop.
//!
//! There are three threads beside those of the clients. One accepts, and starts a reader thread for each client. The clock looks four times
//! a second for connections whose time is up. The third is the shared thread of the [fan-out](super::fanout). All threads belong to one
//! scope: when [`Listener::run`] returns, each of them is joined.
//!
//! A stop wakes the accept loop. The service tells its clients. Each client has [`STOP_TIME`] to read that, and then its socket is shut.

use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded, select};
use log::{debug, error, info, warn};
use parking_lot::{Condvar, Mutex, MutexGuard};
use socket2::SockRef;

use super::connection::{ClientId, Connection, named_thread, tune};
use super::deadlines::Awaited;
use super::departure::Departure;
use super::fairness::{Source, who_makes_room};
use super::fanout::Fanout;
use super::memory::Memory;
use super::outbox::Pace;
use super::{one_word, resolve};
use crate::machine;

/// How often the clock looks for deadlines that have passed.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// How long a client may take to say who it is. A Python client connects first and asks its user for the names afterwards.
pub(crate) const GREETING_TIME: Duration = Duration::from_secs(600);

/// How long all clients together may take to read their goodbye when the server stops.
const STOP_TIME: Duration = Duration::from_secs(2);

/// How long a client may greet before a newcomer of its own address may push it out. Until then it greets in good time: all clients of an
/// address come at once after a restart.
const GREETING_GRACE: Duration = Duration::from_secs(20);

/// Places for those who have not said yet who they are, beyond the places of those who have.
pub(crate) const GREETING_PLACES: usize = 64;

/// How long a newcomer waits for the client that makes room.
const ROOM_TIME: Duration = Duration::from_secs(1);

/// How many connections may wait to be accepted: all clients of a server that was started again come at once. The system may allow
/// fewer. One that finds no room tries again after seconds.
const QUEUE_LEN: i32 = 4096;

/// The pause after an accept that failed, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many of `n_clients` clients this machine can serve, beside `n_greeting` that are still joining: of each at most its share. If it serves
/// fewer, the log says so: the clients are told only that the `service` is full.
pub(crate) fn servable(n_clients: usize, n_greeting: usize, service: &str) -> (usize, usize) {
    let (ceiling, limit) = machine::client_ceiling();
    let n_greeting = n_greeting.min(ceiling / 4);
    let most = ceiling - n_greeting;
    if most < n_clients {
        warn!(
            "this machine lets the {service} have {most} clients at one time, not {n_clients}: for more, raise its limit on {limit}"
        );
    }
    (n_clients.min(most), n_greeting)
}

/// What a listener does with its clients: the chat server, or the relay.
pub(crate) trait Service: Sync {
    /// Where its clients come from.
    fn listener(&self) -> &Listener;
    /// Who can read what is said, in words.
    fn who_reads(&self) -> &'static str;
    /// The command that joins the service: what stands before its address, and behind it.
    fn join_command(&self) -> (&'static str, &'static str);
    /// How frames go out to the clients.
    fn pace(&self) -> Pace;
    /// Talks with one client until it is gone, in the thread of this client.
    fn serve(&self, connection: &Connection) -> Departure;
    /// What the service keeps in memory for those who are not there: from which source, and how many bytes.
    fn kept(&self) -> Vec<(Source, usize)> {
        Vec::new()
    }
    /// Forgets what it keeps of this source.
    fn forget(&self, _source: Source) {}
    /// Tells a client, or all of them, why it is disconnected, if there is a word for it. It is ended right afterwards.
    fn tell_why(&self, _client: Option<ClientId>, _reason: &str, _departure: Departure) {}
    /// What a client hears that gets no place. It is written only if that needs no waiting, because a stranger may never read it.
    fn full_word(&self) -> &'static [u8] {
        b""
    }
    /// Called by the clock at every tick. Must not block.
    fn tick(&self) {}
    /// Called in a thread of its own, for work that may wait for a disk. Returns when `stopped` is disconnected: no client is there then.
    fn run_beside(&self, _stopped: &Receiver<()>) {}
}

/// A listening socket and the clients that came through it.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    fanout: Arc<Fanout>,
    places: usize,
    /// In the order in which they came.
    connections: Mutex<Vec<Arc<Connection>>>,
    /// Notified whenever a connection is gone.
    gone: Condvar,
    stopping: AtomicBool,
}

impl Listener {
    /// Listens at this host, which may be a name, for at most `places` clients at one time. The error is in words.
    pub(crate) fn bind(
        host: &str,
        port: u16,
        places: usize,
        memory: Arc<Memory>,
    ) -> Result<Listener, String> {
        let refuse = |error| {
            let advice = advice(&error, port);
            let place = one_word(host, port);
            format!("cannot listen on {place}: {advice} ({error})")
        };
        let addresses = resolve(host, port).map_err(refuse)?;
        let socket = TcpListener::bind(addresses.as_slice()).map_err(refuse)?;
        // The standard library asks for 128. Refused, that is what there is.
        let _ = SockRef::from(&socket).listen(QUEUE_LEN);
        Ok(Listener {
            address: socket.local_addr().map_err(refuse)?,
            socket,
            fanout: Arc::new(Fanout::new(memory)),
            places,
            connections: Mutex::default(),
            gone: Condvar::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether clients can come by this version of IP.
    pub(crate) fn takes(&self, ip: &IpAddr) -> bool {
        // A system may be set up so that `::` is no IPv4 address.
        let is_both = || !SockRef::from(&self.socket).only_v6().unwrap_or(true);
        ip.is_ipv6() == self.address.is_ipv6() || self.address.is_ipv6() && is_both()
    }

    /// All clients that there are, in the order in which they came. While this is held, none comes or goes.
    pub(crate) fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock()
    }

    /// Serves clients until [`Listener::stop`]. Then the service tells its clients, and each connection ends.
    pub(crate) fn run(&self, service: &dyn Service) -> io::Result<()> {
        let (stop, stopped) = bounded(0);
        thread::scope(|scope| {
            let clock = || self.clock_loop(&stopped, service);
            named_thread("clock").spawn_scoped(scope, clock)?;
            named_thread("beside").spawn_scoped(scope, || service.run_beside(&stopped))?;
            named_thread("fan-out").spawn_scoped(scope, || self.fanout.fanout_loop(&stopped))?;
            self.accept_loop(scope, service);
            service.tell_why(None, "The server stops.", Departure::Stopping);
            for connection in self.connections().iter() {
                connection.outbox().end(Departure::Stopping, STOP_TIME);
            }
            self.fanout.flush();
            let mut connections = self.connections();
            while !connections.is_empty() {
                self.gone.wait(&mut connections);
            }
            drop(stop);
            info!("stopped");
            Ok(())
        })
    }

    /// Ends [`Listener::run`], from any thread, and does not wait for it.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if cfg!(target_os = "linux") {
            // Shutting a listening socket wakes its accept; there is nothing else to fail here.
            let _ = SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
        } else {
            // Elsewhere a connection wakes it; the limit is for a queue that is full, and a full queue wakes it as well.
            let ip = match self.address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            let address = SocketAddr::new(ip, self.address.port());
            let _ = TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
    }

    fn accept_loop<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        service: &'scope dyn Service,
    ) {
        let mut is_failing = false;
        for id in 1.. {
            let accepted = self.socket.accept();
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Said once, until it works again.
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!("cannot accept a connection: {error}");
                    }
                    thread::sleep(ACCEPT_PAUSE);
                    continue;
                }
            };
            is_failing = false;
            if let Err(error) = tune(&socket) {
                debug!("{peer} was gone at once: {error}");
                continue;
            }
            if !self.has_place(peer.ip().into()) {
                warn!("{peer} refused: all {} places are taken", self.places);
                // Fails only if the client has gone already.
                let _ = machine::write_now(&socket, service.full_word());
                continue;
            }
            let connection = Arc::new(Connection::new(
                id,
                peer,
                socket,
                Arc::clone(&self.fanout),
                service.pace(),
            ));
            connection.outbox().expect(Awaited::Greeting, GREETING_TIME);
            let mut connections = self.connections.lock();
            connections.push(Arc::clone(&connection));
            self.fanout.memory.share_among(connections.len());
            drop(connections);
            let reader = named_thread(&format!("client {id}"));
            let body = move || {
                connection.run(|| service.serve(&connection));
                self.remove(id);
            };
            if let Err(error) = reader.spawn_scoped(scope, body) {
                error!("{peer} refused: no thread for it: {error}");
                self.remove(id);
            }
        }
    }

    /// Whether there is a place for one more. If all are taken, one that the service has given no place of its own makes room.
    fn has_place(&self, newcomer: Source) -> bool {
        let mut connections = self.connections.lock();
        if connections.len() < self.places {
            return true;
        }
        let may_go = || connections.iter().filter(|one| one.has_no_name());
        let holders = may_go().map(|one| (one.source(), 1, one));
        let slow_neighbour =
            || may_go().find(|one| one.source() == newcomer && one.is_greeting_for(GREETING_GRACE));
        let Some(oldest) = who_makes_room(holders, Some(newcomer)).or_else(slow_neighbour) else {
            return false;
        };
        oldest.outbox().end(Departure::MadeRoom, Duration::ZERO);
        oldest.outbox().transport.shut();
        let deadline = Instant::now() + ROOM_TIME;
        while connections.len() >= self.places {
            if self.gone.wait_until(&mut connections, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    fn remove(&self, id: ClientId) {
        let mut connections = self.connections.lock();
        connections.retain(|connection| connection.id != id);
        self.fanout.memory.share_among(connections.len());
        drop(connections);
        self.gone.notify_all();
    }

    /// If the memory is used up, the source that holds most of it makes room: with what is kept for it, and then with the clients that hold
    /// most. It goes on until there is some memory again, or nothing is left to free.
    fn relieve_memory(&self, service: &dyn Service) {
        let memory = &self.fanout.memory;
        while memory.is_used_up() {
            let kept = service.kept().into_iter();
            let mut holders: Vec<_> = kept.map(|(source, n)| (source, n, None)).collect();
            let (mut excess, mut is_any_ending) = (memory.excess(), false);
            let mut clients = self.connections().clone();
            clients.retain(|one| one.outbox().held() > 0);
            clients.sort_by_cached_key(|one| Reverse(one.outbox().held()));
            for client in clients {
                let n = client.outbox().held();
                if client.outbox().is_ending() {
                    // What it holds is free when it is gone, and that is now.
                    client.outbox().transport.shut();
                    excess = excess.saturating_sub(n);
                    is_any_ending = true;
                } else {
                    holders.push((client.source(), n, Some(client)));
                }
            }
            if holders.is_empty() && !is_any_ending {
                return;
            }
            while excess > 0 {
                let places = holders.iter().enumerate();
                let places = places.map(|(at, (source, n, _))| (*source, *n, at));
                let Some(at) = who_makes_room(places, None) else {
                    break;
                };
                let (source, n, client) = holders.remove(at);
                excess = excess.saturating_sub(n);
                match client {
                    None => service.forget(source),
                    Some(client) => self.disconnect(&client, service),
                }
            }
            self.wait_for_memory();
        }
    }

    fn disconnect(&self, client: &Connection, service: &dyn Service) {
        let reason = "The server is short of memory.";
        service.tell_why(Some(client.id), reason, Departure::ShortOfMemory);
        let outbox = client.outbox();
        outbox.end(Departure::ShortOfMemory, Duration::ZERO);
        self.fanout.flush_now();
        outbox.transport.shut();
    }

    /// Waits until there is memory, or those are gone that are ending.
    fn wait_for_memory(&self) {
        let mut connections = self.connections();
        let deadline = Instant::now() + ROOM_TIME;
        let is_ending = |one: &Arc<Connection>| one.outbox().is_ending();
        while self.fanout.memory.is_used_up() && connections.iter().any(is_ending) {
            let wait = self.gone.wait_until(&mut connections, deadline);
            if wait.timed_out() {
                return;
            }
        }
    }

    fn clock_loop(&self, stopped: &Receiver<()>, service: &dyn Service) {
        let ticks = crossbeam_channel::tick(TICK);
        loop {
            select! {
                recv(stopped) -> _ => return,
                recv(self.fanout.memory.woken()) -> _ => {
                    let relieve = || self.relieve_memory(service);
                    let _ = catch_unwind(AssertUnwindSafe(relieve));
                    for connection in self.connections().iter() {
                        // Those that wait for memory look again.
                        connection.outbox().flow.notify();
                    }
                    continue;
                }
                recv(ticks) -> _ => {}
            }
            let now = Instant::now();
            let connections = self.connections().clone();
            // A panic must not end the clock: without it no deadline is kept.
            for connection in connections {
                let look = || connection.outbox().look_at_clock(now);
                let _ = catch_unwind(AssertUnwindSafe(look));
            }
            let _ = catch_unwind(AssertUnwindSafe(|| service.tick()));
            self.fanout.flush();
        }
    }
}

/// What to do about an address or a port that cannot be listened on.
fn advice(error: &io::Error, port: u16) -> String {
    let first_free = machine::first_free_port();
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is in use; choose another, or stop its program",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; try 0.0.0.0 for all",
        io::ErrorKind::PermissionDenied if cfg!(windows) => {
            "Windows keeps the port for itself; try another (netsh int ipv4 show excludedportrange tcp lists what it keeps)"
        }
        io::ErrorKind::PermissionDenied if port < first_free => {
            return format!("ports below {first_free} are for the system; try a higher one");
        }
        io::ErrorKind::PermissionDenied => {
            "a policy of this system forbids it, such as one of SELinux or AppArmor; try another port, or have it allowed"
        }
        _ => "try an address of this machine, such as 127.0.0.1 or 0.0.0.0",
    };
    advice.into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::net::outbox::Job;

    /// A service that says every byte again, and panics where it is told to. At every tick it tells the test, and panics.
    struct Parrot(Listener, crossbeam_channel::Sender<()>);

    /// A parrot, and its ticks.
    fn parrot() -> (Parrot, Receiver<()>) {
        let (tick, ticks) = crossbeam_channel::unbounded();
        (
            Parrot(
                Listener::bind("127.0.0.1", 0, 10, Arc::default()).unwrap(),
                tick,
            ),
            ticks,
        )
    }

    impl Service for Parrot {
        fn listener(&self) -> &Listener {
            &self.0
        }

        fn who_reads(&self) -> &'static str {
            "nobody"
        }

        fn join_command(&self) -> (&'static str, &'static str) {
            ("", "")
        }

        fn pace(&self) -> Pace {
            Pace::Batched
        }

        fn serve(&self, connection: &Connection) -> Departure {
            let mut byte = [0];
            while matches!(connection.stream().read(&mut byte), Ok(1)) {
                match &byte {
                    b"r" => panic!("the reader, as it was told"),
                    b"w" => connection
                        .outbox()
                        .push_job(Job(Box::new(|_| panic!("the writer, as it was told")))),
                    _ => connection.outbox().push(byte.as_slice().into()),
                }
            }
            Departure::Left
        }

        fn tick(&self) {
            // One test listens.
            let _ = self.1.send(());
            panic!("the clock, as it was told");
        }
    }

    fn is_answered(mut socket: &TcpStream) -> bool {
        let mut answer = [0];
        socket
            .write_all(b"?")
            .and_then(|()| socket.read_exact(&mut answer))
            .is_ok()
            && answer == *b"?"
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_forbidden_port_is_the_system_s_or_a_policy_s() {
        let denied = io::ErrorKind::PermissionDenied.into();
        let first_free = machine::first_free_port();
        assert!(advice(&denied, first_free).starts_with("a policy of this system"));
        if let Some(port) = first_free.checked_sub(1) {
            let advice = advice(&denied, port);
            assert!(advice.starts_with(&format!("ports below {first_free} ")));
        }
    }

    #[test]
    fn a_panic_in_a_thread_of_one_client_ends_that_client_only() {
        let (parrot, _ticks) = parrot();
        let connect = || TcpStream::connect(parrot.0.address).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| parrot.0.run(&parrot));
            let calm = connect();
            for order in [b"r", b"w"] {
                let mut doomed = connect();
                assert!(is_answered(&doomed));
                doomed.write_all(order).unwrap();
                // An end or a reset, but no wait for ever.
                assert!(!matches!(doomed.read(&mut [0]), Ok(1)));
                assert!(is_answered(&calm));
                assert!(is_answered(&connect()));
            }
            parrot.0.stop();
        });
        // The threads of those that panicked were joined like all others.
        assert!(parrot.0.connections.lock().is_empty());
    }

    #[test]
    fn a_panic_in_the_clock_does_not_end_it() {
        let (parrot, ticks) = parrot();
        thread::scope(|scope| {
            scope.spawn(|| parrot.0.run(&parrot));
            let client = TcpStream::connect(parrot.0.address).unwrap();
            assert!(is_answered(&client));
            for _ in 0..3 {
                ticks.recv_timeout(Duration::from_secs(10)).unwrap();
            }
            // It still keeps the deadlines: the greeting of this client is over now.
            let greeting = Arc::clone(&parrot.0.connections()[0]);
            greeting.outbox().expect(Awaited::Greeting, Duration::ZERO);
            assert!(!matches!((&client).read(&mut [0]), Ok(1)));
            parrot.0.stop();
        });
    }
}
