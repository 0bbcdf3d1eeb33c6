//! Multicast DNS: an announcement, and a search of two seconds. The package `mdns-sd` does both in a thread of its own.
//!
//! It announces on all interfaces at which the server listens, and follows them as they come and go. Loopback is no network.
//!
//! The package keeps every record that somebody sends it, without a bound, though an announcement needs none of them. So a thread counts them each
//! second, and starts anew when there are too many.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::{debug, info, warn};
use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};

use super::{Found, Kind};
use crate::machine;
use crate::terminal::style::harmless;

/// The services: of chat servers, and of relays.
const CHAT: &str = "_fernchat._tcp.local.";
const RELAY: &str = "_fernchat-relay._tcp.local.";

/// The key of the name that people see.
const NAME: &str = "name";

/// The key that says who may join, and its value where that takes a secret.
const ACCESS: &str = "access";
const CLOSED: &str = "closed";

/// How long a search takes. All that are there answer within a fraction of it, but a question or an answer may get lost once.
const SEARCH_TIME: Duration = Duration::from_secs(2);

/// How long a search waits for one service before it looks at the other.
const TURN: Duration = Duration::from_millis(20);

/// How many servers a search finds at most. A stranger could announce any number.
const MAX_FOUND: usize = 100;

/// How many addresses of a server are kept.
const MAX_ADDRESSES: usize = 4;

/// How often the records are counted that others have sent, and how many may be kept. A record has some hundred bytes.
const COUNT_TIME: Duration = Duration::from_millis(250);
const MAX_RECORDS: i64 = 10_000;

/// How long the package may take to answer, also to say goodbye.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// The announcement of a server. When it is dropped, the others hear that the server is gone.
pub(crate) struct Announcement {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Announcement {
    /// Announces a server that listens at this address, unless only this machine reaches it. If that fails, the server runs without it.
    pub(crate) fn start(kind: Kind, address: SocketAddr) -> Option<Announcement> {
        if address.ip().is_loopback() {
            return None;
        }
        let (stop, stopped) = bounded(0);
        let service = service(kind, address).map_err(|error| error.to_string());
        let builder = thread::Builder::new().name("announcing".into());
        let thread = service.and_then(|service| {
            let body = move || announcing_loop(&service, &stopped);
            builder.spawn(body).map_err(|error| error.to_string())
        });
        match thread {
            Ok(thread) => Some(Announcement {
                stop: Some(stop),
                thread: Some(thread),
            }),
            Err(error) => {
                warn!("the server is not announced on the network: {error}");
                None
            }
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

fn service(kind: Kind, address: SocketAddr) -> mdns_sd::Result<ServiceInfo> {
    let name = machine::host_name();
    let (service, access) = match kind {
        Kind::Chat => (CHAT, "open"),
        Kind::ClosedChat => (CHAT, CLOSED),
        Kind::Relay => (RELAY, "open"),
    };
    // Names that nobody else has, also over another link: two machines may have one name, and another program may announce that of this one.
    let random = RandomState::new().build_hasher().finish();
    let instance = format!("fernchat-{random:016x}");
    let host = format!("{instance}.local.");
    let everywhere = address.ip().is_unspecified();
    let ips = if everywhere {
        Vec::new()
    } else {
        vec![address.ip()]
    };
    let properties = [(NAME, name.as_str()), (ACCESS, access)];
    let mut service = ServiceInfo::new(
        service,
        &instance,
        &host,
        &ips[..],
        address.port(),
        &properties[..],
    )?;
    service.set_interfaces(vec![match address.ip() {
        ip if !everywhere => IfKind::Addr(ip),
        IpAddr::V4(_) => IfKind::IPv4,
        IpAddr::V6(_) => IfKind::All,
    }]);
    Ok(if everywhere {
        service.enable_addr_auto()
    } else {
        service
    })
}

/// Announces until `stopped` is disconnected.
fn announcing_loop(service: &ServiceInfo, stopped: &Receiver<()>) {
    let name = harmless(&machine::host_name());
    info!("announced on the network as {name}; --no-announce prevents this");
    let mut daemon = None;
    loop {
        if daemon
            .as_ref()
            .and_then(n_records)
            .is_none_or(|n| n > MAX_RECORDS)
        {
            daemon.take().as_ref().map(end);
            daemon = start(service)
                .inspect_err(|error| debug!("not announced: {error}"))
                .ok();
        }
        if stopped.recv_timeout(COUNT_TIME) == Err(RecvTimeoutError::Disconnected) {
            break;
        }
    }
    daemon.as_ref().map(end);
}

fn start(service: &ServiceInfo) -> mdns_sd::Result<ServiceDaemon> {
    let daemon = network()?;
    daemon.register(service.clone())?;
    Ok(daemon)
}

/// Multicast DNS on all interfaces but loopback.
fn network() -> mdns_sd::Result<ServiceDaemon> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    Ok(daemon)
}

/// How many records of others it keeps. `None`: it has ended.
fn n_records(daemon: &ServiceDaemon) -> Option<i64> {
    let metrics = daemon.get_metrics().ok()?.recv_timeout(ANSWER_TIME).ok()?;
    let kept = metrics
        .iter()
        .filter(|(name, _)| name.starts_with("cached-"));
    Some(kept.map(|(_, n)| n).sum())
}

/// Ends it, and waits until it has said goodbye.
fn end(daemon: &ServiceDaemon) {
    // If it has ended before, that is well.
    let _ = daemon.shutdown().map(|done| done.recv_timeout(ANSWER_TIME));
}

/// The servers that answer within two seconds, in the order in which they are listed.
///
/// # Errors
/// The system lets this program not listen. In words.
pub(crate) fn find() -> Result<Vec<Found>, String> {
    let until = Instant::now() + SEARCH_TIME;
    let search = || -> mdns_sd::Result<_> {
        let daemon = network()?;
        let events = [daemon.browse(CHAT)?, daemon.browse(RELAY)?];
        Ok((daemon, events))
    };
    let (daemon, events) = search().map_err(|error| format!("cannot look for servers: {error}"))?;
    let mut found = HashMap::new();
    while Instant::now() < until {
        for events in &events {
            match events.recv_timeout(TURN) {
                Ok(ServiceEvent::ServiceResolved(service)) if found.len() < MAX_FOUND => {
                    found.insert(service.get_fullname().to_owned(), service);
                }
                Ok(ServiceEvent::ServiceRemoved(_, name)) => drop(found.remove(&name)),
                // Another event, or none.
                _ => {}
            }
        }
    }
    end(&daemon);
    let found: BTreeSet<Found> = found.values().filter_map(|service| read(service)).collect();
    Ok(found.into_iter().collect())
}

/// What an announcement says. `None`: it has no address.
fn read(service: &ResolvedService) -> Option<Found> {
    let is_closed = service.get_property_val_str(ACCESS) == Some(CLOSED);
    Some(Found {
        kind: match service.ty_domain.as_str() {
            RELAY => Kind::Relay,
            _ if is_closed => Kind::ClosedChat,
            _ => Kind::Chat,
        },
        name: match service.get_property_val_str(NAME) {
            Some(name) => name.into(),
            None => instance(service.get_fullname(), &service.ty_domain),
        },
        hosts: in_order(service.get_addresses())?,
        port: service.get_port(),
    })
}

/// The addresses to connect to: IPv4 first, and link-local ones last. `None`: there are none.
fn in_order(addresses: &HashSet<ScopedIp>) -> Option<Vec<String>> {
    let order = |address: &&ScopedIp| {
        let is_link_local = match address.to_ip_addr() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        (address.is_ipv6(), is_link_local, address.to_string())
    };
    let mut addresses: Vec<&ScopedIp> = addresses.iter().collect();
    addresses.sort_by_key(order);
    addresses.truncate(MAX_ADDRESSES);
    (!addresses.is_empty()).then(|| addresses.iter().map(ToString::to_string).collect())
}

/// The name of an instance, where nothing else is said: what stands before its service.
fn instance(full_name: &str, service: &str) -> String {
    let name = full_name.strip_suffix(service).unwrap_or(full_name);
    name.strip_suffix('.').unwrap_or(name).to_owned()
}
