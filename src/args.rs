//! The command line: one set-up per command. What is wrong with it is said with the usage and an example; exit 2.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use fernchat::net::outbox::MAX_PAUSE;
use fernchat::relay::{self, client as relay_client};
use fernchat::terminal::{self, Color};
use fernchat::{client, server};

/// What the program was asked to do.
pub enum Args {
    /// Run a group chat's server.
    Server(server::ServerSettings),
    /// Join a group chat.
    Client(client::ClientSettings),
    /// Run a relay.
    Relay(relay::RelaySettings),
    /// Join friends at a relay.
    RelayClient(relay_client::RelayClientSettings),
    /// Make a key, in a file or for standard output.
    Keygen(Option<PathBuf>),
    /// Print this text.
    Print(String),
}

const USAGE: &str = "\
Usage: fernchat COMMAND ...

  fernchat server HOST PORT              run a group chat's server
  fernchat client HOST PORT              join a group chat

  fernchat relay [IP [PORT]]             run a relay, which reads nothing
  fernchat relay-client [HOST [PORT]]    talk with those who share a key
  fernchat keygen [FILE]                 make a key

Example:
  fernchat server 0.0.0.0 8000
  fernchat client 192.168.1.20 8000

fernchat COMMAND --help tells more, and so does man fernchat.
fernchat --version prints the version.";

const SERVER_USAGE: &str = "\
Usage: fernchat server HOST PORT [OPTION ...]

Runs a group chat's server. HOST is an address or name of this machine; 0.0.0.0
is all of its addresses.

  --max-clients N           at most N clients that have joined or wait (1000)
  --max-file SIZE           the largest file that is taken (4G)
  --python-file-limit SIZE  the largest file offered to a Python client, or none
                            for any (64K)
  --backlog N               the lines kept for members that are offline, at most
                            (200); 0 keeps none
  --spool DIR               where shared files lie until everybody has them (the
                            system's temporary folder)
  --secret-file FILE        a closed server: its clients must have the same
                            secret, a line of at least 12 characters. Without it
                            everybody on the network can read what is said

SIZE is a number of bytes, or ends in K, M or G. RUST_LOG=debug logs every step,
RUST_LOG=warn only what is wrong.

Example:
  fernchat server 0.0.0.0 8000 --max-file 100M";

const CLIENT_USAGE: &str = "\
Usage: fernchat client HOST PORT [OPTION ...]

Joins a group chat. User name and group are asked for if they are not given.

  --name NAME           the user name
  --group GROUP         the group; the first to name it administers it
  --downloads DIR       where received files go (the current folder)
  --no-reconnect        ends when the connection breaks
  --secret-file FILE    the secret of a closed server
  --room-key-file FILE  a key that the members share, and the server has not
  --history FILE        keeps what was typed, for the next time
  --log FILE            keeps what is shown; the next start shows its last lines
  --color WHEN          always, never, or auto: on a terminal, but for NO_COLOR
  --time, --no-time     the time in front of each line (on a terminal)
  --bell                rings at a line that mentions one's name

Every line is said to the group, but for the commands that /help lists. From a
pipe, user name and group are the first two lines.

Example:
  fernchat client 192.168.1.20 8000
  fernchat client 192.168.1.20 8000 --name alice --group team --log team.log";

const RELAY_USAGE: &str = "\
Usage: fernchat relay [IP [PORT]] [OPTION ...]

Runs a relay: it passes on to everybody what each one sends, and can read none
of it. IP is 0.0.0.0, all addresses of this machine, and PORT is 12345 or the
environment variable PORT, unless they are given.

  --max-clients N     at most N clients (1000)
  --pause MS          the least time between two messages for one client, in
                      milliseconds (5); 0, if all clients are fernchat's

Example:
  fernchat relay 0.0.0.0 12345";

const RELAY_CLIENT_USAGE: &str = "\
Usage: fernchat relay-client [HOST [PORT]] [OPTION ...]

Talks over a relay with friends who hold the same key. HOST is 127.0.0.1 and
PORT is 12345 unless they are given.

  --key-file FILE       the key, as keygen makes it; without it the environment
                        variable FERNCHAT_KEY is the key
  --name NAME           the name; asked for if it is not given
  --history FILE        keeps what was typed, for the next time
  --log FILE            keeps what is shown; the next start shows its last lines
  --color WHEN          always, never, or auto: on a terminal, but for NO_COLOR
  --time, --no-time     the time in front of each line (on a terminal)
  --bell                rings at a line that mentions one's name

Example:
  fernchat keygen friends.key     (once; hand it to your friends by other means)
  fernchat relay-client 192.168.1.20 12345 --key-file friends.key";

const KEYGEN_USAGE: &str = "\
Usage: fernchat keygen [FILE]

Makes a key: in FILE, readable by its owner only, or on standard output. A file
that exists is not replaced.

Example:
  fernchat keygen friends.key";

/// The port of the relay, where nothing else is said.
const RELAY_PORT: u16 = 12345;

/// Parses the arguments of this process. What is wrong with them is told together with the usage.
pub fn parse() -> Result<Args, String> {
    let mut parser = Parser::from_env();
    let wrong = |error: &dyn fmt::Display, usage| format!("{error}\n\n{usage}");
    let command = match parser.next().map_err(|error| wrong(&error, USAGE))? {
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Args::Print(USAGE.into())),
        Some(Arg::Long("version") | Arg::Short('V')) => {
            return Ok(Args::Print(format!(
                "fernchat {}",
                env!("CARGO_PKG_VERSION")
            )));
        }
        Some(Arg::Value(command)) => command,
        Some(other) => return Err(wrong(&other.unexpected(), USAGE)),
        None => return Err(wrong(&"a command is missing", USAGE)),
    };
    type Command = fn(&mut Parser) -> Result<Option<Args>, lexopt::Error>;
    let (usage, command): (&str, Command) = match command.to_str() {
        Some("server") => (SERVER_USAGE, server),
        Some("client") => (CLIENT_USAGE, client),
        Some("relay") => (RELAY_USAGE, relay),
        Some("relay-client") => (RELAY_CLIENT_USAGE, relay_client),
        Some("keygen") => (KEYGEN_USAGE, keygen),
        _ => {
            return Err(wrong(
                &format_args!("no command is called '{}'", command.to_string_lossy()),
                USAGE,
            ));
        }
    };
    match command(&mut parser) {
        Ok(Some(args)) => Ok(args),
        Ok(None) => Ok(Args::Print(usage.into())),
        Err(error) => Err(wrong(&error, usage)),
    }
}

/// Reads what follows a command: `take` is given each option and says whether it knows it; at most `n_values` values that are no
/// option's are returned. `None`: help is asked for.
fn options(
    parser: &mut Parser,
    n_values: usize,
    mut take: impl FnMut(&str, &mut Parser) -> Result<bool, lexopt::Error>,
) -> Result<Option<Vec<OsString>>, lexopt::Error> {
    let mut values = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long(name) => {
                let name = name.to_owned();
                if !take(&name, parser)? {
                    return Err(Arg::Long(&name).unexpected());
                }
            }
            Arg::Value(value) if values.len() < n_values => values.push(value),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(values))
}

fn server(parser: &mut Parser) -> Result<Option<Args>, lexopt::Error> {
    let mut settings = server::ServerSettings::new(String::new(), 0);
    let values = options(parser, 2, |name, parser| {
        match name {
            "max-clients" => settings.max_clients = parser.value()?.parse_with(at_least_one)?,
            "max-file" => settings.max_file = parser.value()?.parse_with(size)?,
            "python-file-limit" => {
                settings.python_file_limit = parser.value()?.parse_with(limit)?
            }
            "backlog" => settings.backlog = parser.value()?.parse()?,
            "spool" => settings.spool = PathBuf::from(parser.value()?),
            "secret-file" => settings.secret_file = Some(PathBuf::from(parser.value()?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Some(values) = values else {
        return Ok(None);
    };
    (settings.host, settings.port) = address(values, None, None)?;
    Ok(Some(Args::Server(settings)))
}

fn client(parser: &mut Parser) -> Result<Option<Args>, lexopt::Error> {
    let (mut name, mut group, mut downloads) = (None, None, PathBuf::from("."));
    let (mut secret_file, mut room_key_file, mut reconnect) = (None, None, true);
    let mut terminal = terminal::TerminalSettings::default();
    let values = options(parser, 2, |option, parser| {
        match option {
            "name" => name = Some(parser.value()?.string()?),
            "group" => group = Some(parser.value()?.string()?),
            "downloads" => downloads = PathBuf::from(parser.value()?),
            "secret-file" => secret_file = Some(PathBuf::from(parser.value()?)),
            "no-reconnect" => reconnect = false,
            "room-key-file" => room_key_file = Some(PathBuf::from(parser.value()?)),
            other => return of_terminal(other, parser, &mut terminal),
        }
        Ok(true)
    })?;
    let Some(values) = values else {
        return Ok(None);
    };
    let (host, port) = address(values, None, None)?;
    Ok(Some(Args::Client(client::ClientSettings {
        host,
        port,
        name,
        group,
        downloads,
        secret_file,
        room_key_file,
        reconnect,
        terminal,
    })))
}

fn relay(parser: &mut Parser) -> Result<Option<Args>, lexopt::Error> {
    let (mut max_clients, mut pause) = (1000, relay::PAUSE);
    let values = options(parser, 2, |option, parser| {
        match option {
            "max-clients" => max_clients = parser.value()?.parse_with(at_least_one)?,
            "pause" => pause = Duration::from_millis(parser.value()?.parse_with(milliseconds)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Some(values) = values else {
        return Ok(None);
    };
    let default_port = match std::env::var_os("PORT") {
        Some(text) if values.len() < 2 => text
            .parse_with(port)
            .map_err(|_| "the environment variable PORT is no port")?,
        _ => RELAY_PORT,
    };
    let (host, port) = address(values, Some("0.0.0.0"), Some(default_port))?;
    Ok(Some(Args::Relay(relay::RelaySettings {
        host,
        port,
        max_clients,
        pause,
    })))
}

fn relay_client(parser: &mut Parser) -> Result<Option<Args>, lexopt::Error> {
    let (mut name, mut key_file) = (None, None);
    let mut terminal = terminal::TerminalSettings::default();
    let values = options(parser, 2, |option, parser| {
        match option {
            "name" => name = Some(parser.value()?.string()?),
            "key-file" => key_file = Some(PathBuf::from(parser.value()?)),
            other => return of_terminal(other, parser, &mut terminal),
        }
        Ok(true)
    })?;
    let Some(values) = values else {
        return Ok(None);
    };
    let (host, port) = address(values, Some("127.0.0.1"), Some(RELAY_PORT))?;
    Ok(Some(Args::RelayClient(relay_client::RelayClientSettings {
        host,
        port,
        name,
        key_file,
        terminal,
    })))
}

fn keygen(parser: &mut Parser) -> Result<Option<Args>, lexopt::Error> {
    let values = options(parser, 1, |_, _| Ok(false))?;
    Ok(values.map(|values| Args::Keygen(values.into_iter().next().map(PathBuf::from))))
}

/// The options of both clients that say how they look on a terminal.
fn of_terminal(
    option: &str,
    parser: &mut Parser,
    terminal: &mut terminal::TerminalSettings,
) -> Result<bool, lexopt::Error> {
    match option {
        "color" => terminal.color = parser.value()?.parse_with(color)?,
        "time" => terminal.time = Some(true),
        "no-time" => terminal.time = Some(false),
        "bell" => terminal.bell = true,
        "log" => terminal.log = Some(PathBuf::from(parser.value()?)),
        "history" => terminal.history = Some(PathBuf::from(parser.value()?)),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Host and port, with what stands for those that are left out; `None`: they may not be.
fn address(
    values: Vec<OsString>,
    host: Option<&str>,
    port: Option<u16>,
) -> Result<(String, u16), lexopt::Error> {
    let mut values = values.into_iter();
    let host = match (values.next(), host) {
        (Some(value), _) => value.string()?,
        (None, host) => host.ok_or("the HOST is missing")?.to_owned(),
    };
    let port = match (values.next(), port) {
        (Some(value), _) => value.parse_with(self::port)?,
        (None, port) => port.ok_or("the PORT is missing")?,
    };
    Ok((host, port))
}

fn color(text: &str) -> Result<Color, &'static str> {
    match text {
        "auto" => Ok(Color::Auto),
        "always" => Ok(Color::Always),
        "never" => Ok(Color::Never),
        _ => Err("colour is auto, always or never"),
    }
}

fn milliseconds(text: &str) -> Result<u64, &'static str> {
    text.parse()
        .ok()
        .filter(|ms| Duration::from_millis(*ms) <= MAX_PAUSE)
        .ok_or("a pause is a number of milliseconds from 0 to 50")
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse()
        .map_err(|_| "a port is a number from 1 to 65535, or 0 for any that is free")
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or("a number from 1 on is needed here")
}

fn size(text: &str) -> Result<u64, &'static str> {
    let (digits, unit) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 1 << 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 1 << 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    // More than this is no limit at all, and would not fit into the length of a token.
    let most = 1 << 50;
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .filter(|bytes| *bytes <= most);
    bytes.ok_or("a size is a number of bytes, or ends in K, M or G, such as 100M")
}

fn limit(text: &str) -> Result<Option<u64>, &'static str> {
    match text {
        "none" => Ok(None),
        text => size(text).map(Some),
    }
}
