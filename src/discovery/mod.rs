//! Servers that are found on the local network without an address. A server announces itself by multicast DNS (RFC 6762 and 6763), and
//! `fernchat find` and a client without an address listen for two seconds.
//!
//! ```text
//!   server ─▶ announcement: "garden", 192.168.1.20, 8000, closed ─▶ multicast ─▶ find ─▶ a list, or the only one
//! ```
//!
//! - [`mdns`]: what goes over the network. Without the feature `discovery` there is a stand-in that announces and finds nothing.
//!
//! An announcement proves nothing: anybody on the network can announce anything. So it is only a way to an address, and what a person sees of
//! it is made harmless and short. Server, client and relay do not know this module. The page of [`wire`](crate::wire) has the words.

#[cfg(feature = "discovery")]
pub(crate) mod mdns;
#[cfg(not(feature = "discovery"))]
#[path = "no_mdns.rs"]
pub(crate) mod mdns;

use std::fmt::{self, Display};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use self::mdns::find;
use crate::net::parse_address;
use crate::screen::{Screen, ask_name, shortened};
use crate::terminal;
use crate::terminal::style::harmless;
use crate::wire::name::MAX_NAME_CHARACTERS;

/// How long a server may take to answer at one of its addresses, if it has several.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// What is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A group chat's server.
    Chat,
    /// A group chat's server whose clients must have its secret.
    ClosedChat,
    /// A relay.
    Relay,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Chat => "chat",
            Kind::ClosedChat => "closed chat",
            Kind::Relay => "relay",
        })
    }
}

/// A server that was found.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its name, as it was announced. It is not harmless.
    pub name: String,
    /// Its addresses, the most promising one first. There is one at least.
    pub hosts: Vec<String>,
    /// Its port.
    pub port: u16,
}

impl Found {
    /// Its name, harmless on a screen.
    fn shown_name(&self) -> String {
        harmless(&shortened(&self.name, MAX_NAME_CHARACTERS)).replace('\t', " ")
    }

    /// The first address at which it answers, or else the first one. Over a link, a machine may announce an address of another link.
    fn reachable_host(&self) -> String {
        let answers = |host: &&String| {
            let address = (host.as_str(), self.port).to_socket_addrs();
            let address = address.ok().and_then(|mut addresses| addresses.next());
            address.is_some_and(|to| TcpStream::connect_timeout(&to, ANSWER_TIME).is_ok())
        };
        let only = self.hosts.len() == 1;
        let host = self.hosts.iter().find(|host| only || answers(host));
        host.unwrap_or(&self.hosts[0]).clone()
    }
}

/// `KIND  HOST PORT  NAME`. The name is last, because it may hold blanks.
impl Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_string();
        let address = format!("{} {}", self.hosts[0], self.port);
        write!(f, "{kind:<11}  {address:<21}  {}", self.shown_name())
    }
}

/// All servers and relays that answer within two seconds, one a line.
///
/// # Errors
/// There are none.
pub(crate) fn list() -> Result<String, String> {
    let found = find()?;
    if found.is_empty() {
        return Err("no server answers on this network; start one with fernchat server 0.0.0.0 8000, or ask for its address".into());
    }
    let lines: Vec<String> = found.iter().map(Found::to_string).collect();
    Ok(lines.join("\n"))
}

/// Host and port of the server that a client without an address joins: the only one, or the one that the person chooses. The person may
/// also type an address, whose port is the usual one if it names none.
///
/// # Errors
/// There is none, or nobody is there to choose.
pub(crate) fn choose(screen: &dyn Screen, usual_port: u16) -> Result<(String, u16), String> {
    terminal::print("Looking for chat servers on this network.");
    let mut found = find()?;
    found.retain(|one| one.kind != Kind::Relay);
    let at = match found.len() {
        0 => {
            return Err("no chat server answers on this network; ask for its address, and join it with fernchat client HOST PORT".into());
        }
        1 => 0,
        n => {
            for (at, one) in found.iter().enumerate() {
                terminal::print(&format!("{:>3}  {one}", at + 1));
            }
            if !screen.is_interactive() {
                return Err(
                    "several chat servers answer; join one of them with fernchat client HOST PORT"
                        .into(),
                );
            }
            let parse = |answer: &str| {
                let address = answer.contains(['.', ':', ' ']).then_some(answer);
                match (answer.parse(), address.map(parse_address)) {
                    (Ok(number), _) if (1..=n).contains(&number) => Ok((number - 1, None)),
                    (_, Some(Ok(address))) => Ok((0, Some(address))),
                    _ => Err(format!(
                        "a number from 1 to {n}, or an address; {}",
                        screen.how_to_leave().trim_end_matches('.')
                    )),
                }
            };
            let question = format!("which one, 1 to {n}, or an address");
            let answer = ask_name(screen, &question, None, None, parse);
            match answer.map_err(|error| error.to_string())? {
                (_, Some((host, port))) => return Ok((host, port.unwrap_or(usual_port))),
                (at, None) => at,
            }
        }
    };
    let one = found.swap_remove(at);
    let (kind, name, port) = (one.kind, one.shown_name(), one.port);
    let host = one.reachable_host();
    terminal::print(&format!("Joining the {kind} {name} at {host} {port}."));
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_harmless_and_short_on_a_screen() {
        let mut found = Found {
            kind: Kind::ClosedChat,
            name: "the garden".into(),
            hosts: vec!["192.168.1.20".into()],
            port: 8000,
        };
        assert_eq!(
            found.to_string(),
            "closed chat  192.168.1.20 8000      the garden"
        );
        found.name = format!("\x1b[2J\r\n\t\u{202e}{}", "x".repeat(100));
        let shown = found.to_string();
        assert!(shown.contains("^[[2J^M^J <U+202E>xxx") && shown.ends_with("xxx..."));
        assert!(shown.len() < 130, "{shown}");
    }
}
