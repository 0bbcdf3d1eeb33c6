//! The command line: each command has its settings. If something is wrong, one line says so and names the help, and the exit code is 2.
//!
//! At a terminal the clients take their settings from the person's [`configuration`] first. What stands on the command line goes before it.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::client::ClientSettings;
use crate::configuration;
use crate::discovery::Kind;
use crate::machine;
use crate::net::outbox::MAX_PAUSE;
use crate::net::{parse_address, parse_port};
use crate::relay::client::RelayClientSettings;
use crate::relay::{PAUSE, RelaySettings};
use crate::server::ServerSettings;
use crate::terminal::{Color, TerminalSettings, is_interactive};
#[cfg(feature = "window")]
use crate::window::WindowSettings;

/// What the program was asked to do.
pub(crate) enum Args {
    /// Run a group chat's server, and announce it as this.
    Server(ServerSettings, Option<Kind>),
    /// Join a group chat. Without a host: one that is found on the network.
    Client(ClientSettings, TerminalSettings),
    /// Run a relay, and announce it as this.
    Relay(RelaySettings, Option<Kind>),
    /// Join friends at a relay.
    RelayClient(RelayClientSettings, TerminalSettings),
    /// Chat on a page in the browser.
    #[cfg(feature = "window")]
    Window(WindowSettings),
    /// Make a key, in a file or for standard output.
    Keygen(Option<PathBuf>),
    /// Take a token apart: this one, or one from standard input, with the key in this file, if there is one.
    Token(Option<String>, Option<PathBuf>),
    /// List the servers on the network.
    Find,
    /// Print this text.
    Print(String),
}

const USAGE: &str = "\
Usage: fernchat COMMAND ...

  fernchat server HOST [PORT]            run a group chat's server
  fernchat client [HOST [PORT]]          join a group chat
  fernchat find                          list the servers on this network

  fernchat relay [IP [PORT]]             run a relay, which cannot read anything
  fernchat relay-client [HOST [PORT]]    talk with those who share a key
  fernchat keygen [FILE]                 make a key
  fernchat token [TOKEN]                 show what is in a Fernet token

  fernchat window                        do both on a page in the browser

Example:
  fernchat server 0.0.0.0 8000
  fernchat client

fernchat COMMAND --help tells more, and so does man fernchat.
fernchat --version prints the version.";

const SERVER_USAGE: &str = "\
Usage: fernchat server HOST [PORT] [OPTION ...]

Runs a group chat's server. HOST is an address or name of this machine; 0.0.0.0
is all of its addresses. PORT is 8000 unless it is given; HOST:PORT will do.

  --max-clients N           at most N clients that have joined or wait (1000)
  --memory SIZE             for what is held for clients (at most 256M)
  --max-file SIZE           the largest file that is taken (4G)
  --python-file-limit SIZE  the largest file offered to a Python client (64K);
                            none sets no limit
  --backlog N               the lines kept for members that are offline (200)
  --spool DIR               where shared files lie until everybody has them (the
                            system's temporary folder)
  --state FILE              keeps groups, members and requests over a restart
  --secret-file FILE        only for clients with the same secret (keygen makes
                            one); without it all on the network can read along
  --no-announce             does not announce the server on the network

SIZE is a number of bytes, or ends in K, M or G. RUST_LOG=debug logs every step,
RUST_LOG=warn only what is wrong.

Example:
  fernchat server 0.0.0.0 8000 --max-file 100M";

const CLIENT_USAGE: &str = "\
Usage: fernchat client [HOST [PORT]] [OPTION ...]

Joins a group chat, and asks for what is not given. HOST:PORT will do. Without
HOST it looks for a server on this network.

  --name NAME           the user name
  --group GROUP         the group; the first to name it administers it
  --downloads DIR       where received files go (Downloads; in a pipe: here)
  --max-receive SIZE    the largest received file that is kept, or none (1G)
  --accept SIZE         asks about longer files (100M at a terminal); all, none
  --identity FILE       the key pair that proves your name
  --no-reconnect        ends when the connection breaks
  --secret-file FILE    the secret of a closed server
  --room-key-file FILE  a key that the members share, and the server lacks
  --history FILE        keeps what was typed, for the next time
  --log FILE            keeps what is shown; the next start shows its last lines
  --color WHEN          always, never, or auto: if no NO_COLOR is set
  --time, --no-time     the time in front of each line (at a terminal)
  --bell, --no-news     rings at your name; hides who comes and goes

Lines are said, except commands (/help). In a pipe, name and group come first.

Example:
  fernchat client 192.168.1.20 8000 --name alice --group team --log team.log";

const RELAY_USAGE: &str = "\
Usage: fernchat relay [IP [PORT]] [OPTION ...]

Runs a relay: it passes on to everybody what each one sends, and can read none
of it. IP is 0.0.0.0, all addresses of this machine, and PORT is 12345 or the
environment variable PORT, unless they are given.

  --max-clients N     at most N clients (1000)
  --memory SIZE       for what is held for clients (a quarter of the machine's,
                      at most 256M)
  --pause MS          the least time between two messages for one client, in
                      milliseconds (5); 0, if all clients are fernchat's
  --no-announce       does not announce the relay on the network

Example:
  fernchat relay 0.0.0.0 12345";

const RELAY_CLIENT_USAGE: &str = "\
Usage: fernchat relay-client [HOST [PORT]] [OPTION ...]

Talks over a relay with friends who hold the same key. HOST is 127.0.0.1 and
PORT is 12345 unless they are given.

  --key-file FILE       the key, as keygen makes it; without it the environment
                        variable FERNCHAT_KEY is the key
  --name NAME           the name; asked for if it is not given
  --no-reconnect        ends when the connection breaks
  --history FILE        keeps what was typed, for the next time
  --log FILE            keeps what is shown; the next start shows its last lines
  --color WHEN          always, never, or auto: at a terminal, unless NO_COLOR
                        is set
  --time, --no-time     the time in front of each line (at a terminal)
  --bell                rings at a line that mentions your name

Example:
  fernchat keygen friends.key     (once; hand it to your friends by other means)
  fernchat relay-client 192.168.1.20 12345 --key-file friends.key";

#[cfg(feature = "window")]
const WINDOW_USAGE: &str = "\
Usage: fernchat window [HOST PORT] [OPTION ...]

Chats on a page in the browser of this machine: in a group, or with friends at a
relay. The page asks where. Given an address, --name and --group, it joins. The
program ends a minute after the last page has been closed.

  --no-open             prints the address of the page, and opens no browser
  --name NAME           the user name
  --group GROUP         the group; the first to name it administers it
  --downloads DIR       where received files go (Downloads)
  --max-receive SIZE    the largest received file that is kept, or none (1G)
  --accept SIZE         asks about longer files (100M); or all, or none
  --identity FILE       the key pair that proves your name
  --no-reconnect        ends the chat when the connection breaks
  --secret-file FILE    the secret of a closed server
  --room-key-file FILE  a key that the members share, and the server lacks

Example:
  fernchat window
  fernchat window 192.168.1.20 8000 --name alice --group team";

const KEYGEN_USAGE: &str = "\
Usage: fernchat keygen [FILE]

Makes a key: in FILE, readable by its owner only, or on standard output. A file
that exists is not replaced.

Example:
  fernchat keygen friends.key";

const TOKEN_USAGE: &str = "\
Usage: fernchat token [TOKEN] [OPTION ...]

Takes a Fernet token apart: version, time, IV, ciphertext and HMAC. With a key
it says whether the HMAC holds, and shows the text. Without TOKEN, it reads one
from standard input.

  --key-file FILE       the key; a key on the command line could be seen by
                        others

Example:
  fernchat keygen lesson.key
  fernchat token gAAAAABl...Zg== --key-file lesson.key";

const FIND_USAGE: &str = "\
Usage: fernchat find

Lists the servers and relays that announce themselves on this network, one a
line: what it is, its address and port, and its name. This takes two seconds.
Anybody can announce anything, so a name proves nothing.

Example:
  fernchat find";

/// The port of the relay, where nothing else is said.
const RELAY_PORT: u16 = 12345;

/// The port of a group chat's server, where nothing else is said.
const SERVER_PORT: u16 = 8000;

/// The variable of the environment that names the server, for a client that is given none.
const SERVER: &str = "FERNCHAT_SERVER";

/// Why the arguments give nothing to do.
enum ArgsError {
    /// Help was asked for.
    Help,
    /// Something is wrong with them.
    Wrong(String),
}

impl<E: Display> From<E> for ArgsError {
    fn from(error: E) -> ArgsError {
        ArgsError::Wrong(error.to_string())
    }
}

/// Parses the arguments of this process. An error is one line for the person.
pub(crate) fn parse() -> Result<Args, String> {
    let mut usage = USAGE;
    match command(&mut Parser::from_env(), &mut usage) {
        Ok(args) => Ok(args),
        Err(ArgsError::Help) => Ok(Args::Print(usage.into())),
        Err(ArgsError::Wrong(error)) => {
            // The usage begins with the command.
            let words = usage.split_whitespace().skip(1).take(2);
            let command = words.filter(|word| word.chars().all(|c| c.is_lowercase() || c == '-'));
            let command: String = command.map(|word| format!("{word} ")).collect();
            Err(format!("{error}; {command}--help tells more"))
        }
    }
}

/// Parses the command and what follows it. Sets the usage that fits.
fn command(parser: &mut Parser, usage: &mut &str) -> Result<Args, ArgsError> {
    let command = match parser.next()? {
        Some(Arg::Long("help") | Arg::Short('h')) => return Err(ArgsError::Help),
        Some(Arg::Long("version") | Arg::Short('V')) => {
            let version = concat!("fernchat ", env!("CARGO_PKG_VERSION"));
            return Ok(Args::Print(version.into()));
        }
        Some(Arg::Value(command)) if command == "help" => return Err(ArgsError::Help),
        Some(Arg::Value(command)) => command,
        Some(other) => return Err(other.unexpected().into()),
        None => return Err("a command is missing".into()),
    };
    type Parse = fn(&mut Parser) -> Result<Args, ArgsError>;
    let (its_usage, parse): (_, Parse) = match command.to_str() {
        Some("server") => (SERVER_USAGE, server),
        Some("client") => (CLIENT_USAGE, client),
        Some("relay") => (RELAY_USAGE, relay),
        Some("relay-client") => (RELAY_CLIENT_USAGE, relay_client),
        #[cfg(feature = "window")]
        Some("window") => (WINDOW_USAGE, window),
        Some("keygen") => (KEYGEN_USAGE, keygen),
        Some("token") => (TOKEN_USAGE, token),
        Some("find") => (FIND_USAGE, find),
        _ => return Err(format!("no command is called '{}'", command.to_string_lossy()).into()),
    };
    *usage = its_usage;
    parse(parser)
}

fn server(parser: &mut Parser) -> Result<Args, ArgsError> {
    let mut settings = ServerSettings::new(String::new(), 0);
    let mut is_announced = true;
    let values = options(parser, 2, |option, parser| {
        match option {
            "max-clients" => settings.max_clients = parser.value()?.parse_with(at_least_one)?,
            "memory" => settings.memory = Some(parser.value()?.parse_with(size)?),
            "max-file" => settings.max_file = parser.value()?.parse_with(size)?,
            "python-file-limit" => {
                settings.python_file_limit = parser.value()?.parse_with(limit)?
            }
            "backlog" => settings.backlog = parser.value()?.parse()?,
            "spool" => settings.spool = parser.value()?.into(),
            "secret-file" => settings.secret_file = Some(parser.value()?.into()),
            "state" => settings.state = Some(parser.value()?.into()),
            "no-announce" => is_announced = false,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let (host, port) = address(values, SERVER_PORT)?;
    let missing = "the HOST is missing: 0.0.0.0 is all addresses of this machine";
    (settings.host, settings.port) = (host.ok_or(missing)?, port);
    let kind = match settings.secret_file {
        None => Kind::Chat,
        Some(_) => Kind::ClosedChat,
    };
    Ok(Args::Server(settings, is_announced.then_some(kind)))
}

fn client(parser: &mut Parser) -> Result<Args, ArgsError> {
    let mut settings = client_settings();
    let mut at_terminal = TerminalSettings::default();
    let mut take = |option: &str, parser: &mut Parser| {
        Ok(client_option(option, parser, &mut settings)?
            || terminal(option, parser, &mut at_terminal)?)
    };
    let server = configured(&mut take)?;
    let mut values = options(parser, 2, take)?;
    if values.is_empty() {
        let given = std::env::var_os(SERVER).filter(|server| !server.is_empty());
        values.extend(given.or(server));
    }
    let (host, port) = address(values, SERVER_PORT)?;
    if host.is_none() && !is_interactive() && cfg!(not(feature = "discovery")) {
        return Err(format!("the HOST is missing; {SERVER} may name it, too").into());
    }
    (settings.host, settings.port) = (host.unwrap_or_default(), port);
    Ok(Args::Client(settings, at_terminal))
}

#[cfg(feature = "window")]
fn window(parser: &mut Parser) -> Result<Args, ArgsError> {
    let mut client = client_settings();
    let mut opens_browser = true;
    let values = options(parser, 2, |option, parser| {
        match option {
            "no-open" => opens_browser = false,
            other => return client_option(other, parser, &mut client),
        }
        Ok(true)
    })?;
    // Without an address the page asks for it.
    let (host, port) = address(values, SERVER_PORT)?;
    (client.host, client.port) = (host.unwrap_or_default(), port);
    Ok(Args::Window(WindowSettings {
        client,
        opens_browser,
    }))
}

fn client_settings() -> ClientSettings {
    ClientSettings {
        max_receive: Some(1 << 30),
        reconnect: true,
        ..ClientSettings::default()
    }
}

/// Takes an option of the group chat's client, wherever the person sees it.
fn client_option(
    option: &str,
    parser: &mut Parser,
    settings: &mut ClientSettings,
) -> Result<bool, ArgsError> {
    match option {
        "name" => settings.name = Some(parser.value()?.string()?),
        "group" => settings.group = Some(parser.value()?.string()?),
        "downloads" => settings.downloads = parser.value()?.into(),
        "max-receive" => settings.max_receive = parser.value()?.parse_with(limit)?,
        "accept" => settings.asks_above = Some(parser.value()?.parse_with(accept)?),
        "secret-file" => settings.secret_file = Some(parser.value()?.into()),
        "room-key-file" => settings.room_key_file = Some(parser.value()?.into()),
        "identity" => settings.identity = Some(parser.value()?.into()),
        "no-reconnect" => settings.reconnect = false,
        _ => return Ok(false),
    }
    Ok(true)
}

fn relay(parser: &mut Parser) -> Result<Args, ArgsError> {
    let (mut max_clients, mut memory, mut pause) = (1000, None, PAUSE);
    let mut is_announced = true;
    let values = options(parser, 2, |option, parser| {
        match option {
            "max-clients" => max_clients = parser.value()?.parse_with(at_least_one)?,
            "memory" => memory = Some(parser.value()?.parse_with(size)?),
            "pause" => pause = parser.value()?.parse_with(milliseconds)?,
            "no-announce" => is_announced = false,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let default_port = match std::env::var_os("PORT") {
        Some(text) if values.len() < 2 => text
            .parse_with(parse_port)
            .map_err(|_| "the environment variable PORT is no port")?,
        _ => RELAY_PORT,
    };
    let (host, port) = address(values, default_port)?;
    let settings = RelaySettings {
        host: host.unwrap_or_else(|| "0.0.0.0".into()),
        port,
        max_clients,
        memory,
        pause,
    };
    Ok(Args::Relay(settings, is_announced.then_some(Kind::Relay)))
}

fn relay_client(parser: &mut Parser) -> Result<Args, ArgsError> {
    let mut settings = RelayClientSettings {
        reconnect: true,
        ..RelayClientSettings::default()
    };
    let mut at_terminal = TerminalSettings::default();
    let mut take = |option: &str, parser: &mut Parser| {
        match option {
            "name" => settings.name = Some(parser.value()?.string()?),
            "key-file" => settings.key_file = Some(parser.value()?.into()),
            "no-reconnect" => settings.reconnect = false,
            other => return terminal(other, parser, &mut at_terminal),
        }
        Ok(true)
    };
    configured(&mut take)?;
    let (host, port) = address(options(parser, 2, take)?, RELAY_PORT)?;
    (settings.host, settings.port) = (host.unwrap_or_else(|| "127.0.0.1".into()), port);
    Ok(Args::RelayClient(settings, at_terminal))
}

fn find(parser: &mut Parser) -> Result<Args, ArgsError> {
    options(parser, 0, |_, _| Ok(false))?;
    Ok(Args::Find)
}

fn keygen(parser: &mut Parser) -> Result<Args, ArgsError> {
    let mut values = options(parser, 1, |_, _| Ok(false))?;
    Ok(Args::Keygen(values.pop().map(PathBuf::from)))
}

fn token(parser: &mut Parser) -> Result<Args, ArgsError> {
    let mut key_file = None;
    let mut values = options(parser, 1, |option, parser| {
        match option {
            "key-file" => key_file = Some(parser.value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let token = values.pop().map(|value| value.string()).transpose()?;
    Ok(Args::Token(token, key_file))
}

/// Takes an option that both clients have.
fn terminal(
    option: &str,
    parser: &mut Parser,
    settings: &mut TerminalSettings,
) -> Result<bool, ArgsError> {
    match option {
        "color" => settings.color = parser.value()?.parse_with(color)?,
        "time" => settings.time = Some(true),
        "no-time" => settings.time = Some(false),
        "bell" => settings.bell = true,
        "no-news" => settings.no_news = true,
        "log" => settings.log = Some(parser.value()?.into()),
        "history" => settings.history = Some(parser.value()?.into()),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads what follows a command. `take` gets each option and returns whether it knows it. Returns the values that belong to no option, at
/// most `n_values`.
fn options(
    parser: &mut Parser,
    n_values: usize,
    mut take: impl FnMut(&str, &mut Parser) -> Result<bool, ArgsError>,
) -> Result<Vec<OsString>, ArgsError> {
    let mut values = Vec::new();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Err(ArgsError::Help),
            Arg::Long(option) => {
                let option = option.to_owned();
                if !take(&option, parser)? {
                    return Err(Arg::Long(&option).unexpected().into());
                }
            }
            Arg::Value(value) if values.len() < n_values => values.push(value),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(values)
}

/// The keys of the configuration file. The relay's client needs only some of them.
const KEYS: [&str; 9] = [
    "server",
    "name",
    "downloads",
    "log",
    "history",
    "color",
    "bell",
    "no-time",
    "no-news",
];

/// Takes what the person's configuration file says, as if it stood on the command line. Scripts do without it. Returns the server, which has
/// no option there.
fn configured(
    take: &mut impl FnMut(&str, &mut Parser) -> Result<bool, ArgsError>,
) -> Result<Option<OsString>, ArgsError> {
    let mut server = None;
    let Some(path) = configuration::path().filter(|_| is_interactive()) else {
        return Ok(None);
    };
    let path = path.display();
    let entries = configuration::read().map_err(|error| format!("cannot read {path}: {error}"))?;
    for entry in entries {
        let wrong = |error: &dyn Display| format!("line {} of {path}: {error}", entry.line);
        let key = entry.key.as_str();
        if !KEYS.contains(&key) {
            let keys = KEYS.join(", ");
            return Err(wrong(&format!("no key is called '{key}'; the keys are {keys}")).into());
        }
        let mut words = vec![OsString::from(format!("--{key}"))];
        match (key, entry.value.as_str()) {
            ("bell" | "no-time" | "no-news", "") => {}
            ("bell" | "no-time" | "no-news", _) => {
                return Err(wrong(&format!("{key} stands alone")).into());
            }
            (_, "") => return Err(wrong(&format!("{key} needs a value: {key} = ...")).into()),
            (_, value) => words.push(machine::at_home(value).into()),
        }
        if key == "server" {
            server = words.pop();
            continue;
        }
        let mut parser = Parser::from_args(words);
        // It is there: it has just been put there.
        parser.next()?;
        match take(key, &mut parser) {
            Ok(_) => {}
            Err(ArgsError::Wrong(error)) => return Err(wrong(&error).into()),
            Err(help) => return Err(help),
        }
    }
    Ok(server)
}

/// The host, if one is given, and the port: as `HOST PORT`, or in one word.
fn address(values: Vec<OsString>, default: u16) -> Result<(Option<String>, u16), ArgsError> {
    let mut values = values.into_iter();
    let Some(first) = values.next() else {
        return Ok((None, default));
    };
    let (host, in_word) = parse_address(&first.string()?)?;
    let port = match (values.next(), in_word) {
        (Some(_), Some(_)) => return Err("the port is given twice".into()),
        (Some(value), None) => value.parse_with(parse_port)?,
        (None, port) => port.unwrap_or(default),
    };
    Ok((Some(host), port))
}

fn color(text: &str) -> Result<Color, &'static str> {
    match text {
        "auto" => Ok(Color::Auto),
        "always" => Ok(Color::Always),
        "never" => Ok(Color::Never),
        _ => Err("colour is auto, always or never"),
    }
}

fn milliseconds(text: &str) -> Result<Duration, &'static str> {
    let pause = text.parse().map(Duration::from_millis).ok();
    let pause = pause.filter(|pause| *pause <= MAX_PAUSE);
    pause.ok_or("a pause is a number of milliseconds from 0 to 50")
}

fn at_least_one(text: &str) -> Result<usize, &'static str> {
    let n = text.parse().ok().filter(|n| *n > 0);
    n.ok_or("a number from 1 on is needed here")
}

fn size(text: &str) -> Result<u64, &'static str> {
    let digits = text.trim_end_matches(['k', 'K', 'm', 'M', 'g', 'G']);
    let unit = match &text[digits.len()..] {
        "" => Some(1),
        "k" | "K" => Some(1 << 10),
        "m" | "M" => Some(1 << 20),
        "g" | "G" => Some(1 << 30),
        _ => None,
    };
    let bytes = unit.and_then(|unit: u64| unit.checked_mul(digits.parse().ok()?));
    // A larger limit would be none, and would not fit into the length of a token.
    let bytes = bytes.filter(|bytes| *bytes <= 1 << 50);
    bytes.ok_or("a size is a number of bytes, or ends in K, M or G, such as 100M")
}

/// Up to which size files are received without a question.
fn accept(text: &str) -> Result<Option<u64>, &'static str> {
    match text {
        "all" => Ok(None),
        "none" => Ok(Some(0)),
        text => size(text).map(Some),
    }
}

fn limit(text: &str) -> Result<Option<u64>, &'static str> {
    match text {
        "none" => Ok(None),
        text => size(text).map(Some),
    }
}
