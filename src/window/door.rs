//! The door of the window: a small HTTP server on loopback, for the browser of the same user and for nobody else.
//!
//! It serves the files of the page, which are compiled in, and the files that the user has received. The path `socket` becomes a WebSocket.
//! Nothing else is answered.
//!
//! | who | why that fails |
//! | --- | --- |
//! | another machine | the server listens on 127.0.0.1 |
//! | another user of this machine | Linux says whose a connection is; elsewhere the token must be known |
//! | a page of another site | it knows no token, `Origin` is another, and the cookie is `SameSite=Strict` |
//! | a name that was made to mean 127.0.0.1 | `Host` is another |
//! | who finds the address later | the first visit gets the only cookie; it is `HttpOnly` |
//! | another server of this machine | the cookie is for paths below the token, which nobody else knows |
//!
//! Invariant: a connection costs at most one thread, [`MAX_HEAD`] bytes and [`HEAD_TIME`] before all this is checked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::debug;
use sha1::{Digest, Sha1};

use crate::machine;
use crate::seal::random_text;

/// The longest head of a request, in bytes. Those of browsers have about 1 KiB.
const MAX_HEAD: usize = 8 << 10;

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long the browser may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(20);

/// How many connections there are at a time. A page takes one, and some more while it loads.
const MAX_CONNECTIONS: usize = 64;

/// What every WebSocket handshake appends to the browser's key: RFC 6455.
const HANDSHAKE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A file of the page: its type and its content.
fn file(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "" => ("text/html", include_str!("page/index.html")),
        "style.css" => ("text/css", include_str!("page/style.css")),
        "script.js" => ("text/javascript", include_str!("page/script.js")),
        "icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    })
}

/// The server, and who may enter.
pub(super) struct Door {
    listener: TcpListener,
    /// `127.0.0.1:PORT`.
    host: String,
    /// The path that nobody can guess, without its slashes.
    token: String,
    cookie: String,
    /// The cookie has been given to a browser.
    is_taken: AtomicBool,
}

/// What is more than a file of the page.
pub(super) enum Visit {
    /// A page wants to talk. The handshake is done.
    Socket(TcpStream),
    /// A received file, by its number.
    Download(TcpStream, String),
}

/// What a request gets.
enum Answer<'a> {
    /// This file of the page, with a header that gives the cookie, or with none.
    File(&'static str, &'static str, String),
    /// The received file of this number.
    Download(&'a str),
    /// A WebSocket, if the proof is made of this key.
    Socket(&'a str),
    Refused,
}

impl Door {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The system gives no port.
    pub(super) fn open() -> io::Result<Door> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let host = listener.local_addr()?.to_string();
        let [token, cookie] = [(); 2].map(|()| random_text().replace('=', ""));
        Ok(Door {
            listener,
            host,
            token,
            cookie,
            is_taken: AtomicBool::new(false),
        })
    }

    /// The address of the page.
    pub(super) fn address(&self) -> String {
        format!("http://{}/{}/", self.host, self.token)
    }

    /// Lets browsers in, each connection in a thread of its own. `enter` gets what is more than a file of the page.
    pub(super) fn accept_loop(self: &Arc<Door>, enter: impl Fn(Visit) + Send + Clone + 'static) {
        for socket in self.listener.incoming() {
            let Ok(socket) = socket else {
                // Out of descriptors, perhaps. It must not become a busy loop.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            // Each connection holds the door.
            if Arc::strong_count(self) > MAX_CONNECTIONS || !machine::is_own_connection(&socket) {
                continue;
            }
            let (door, enter) = (Arc::clone(self), enter.clone());
            // Without a thread the connection is dropped, and the browser says so.
            let _ = machine::spawn("page", move || match door.answer(socket) {
                Ok(Some(visit)) => enter(visit),
                Ok(None) => {}
                Err(error) => debug!("a request to the window failed: {error}"),
            });
        }
    }

    /// Reads a request, and answers it unless it wants more than a file of the page.
    fn answer(&self, socket: TcpStream) -> io::Result<Option<Visit>> {
        socket.set_write_timeout(Some(WRITE_TIME))?;
        let head = read_head(&socket)?;
        match self.decide(&head).unwrap_or(Answer::Refused) {
            Answer::Refused => refuse(&socket)?,
            Answer::Download(number) => return Ok(Some(Visit::Download(socket, number.into()))),
            Answer::File(kind, content, cookie) => {
                let host = &self.host;
                let headers = format!(
                    "Content-Type: {kind}; charset=utf-8\r\n{cookie}Content-Security-Policy: default-src 'none'; script-src 'self'; \
                     style-src 'self'; img-src 'self'; connect-src ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                );
                reply(&socket, "200 OK", &headers, content.len() as u64)?;
                (&socket).write_all(content.as_bytes())?;
            }
            Answer::Socket(key) => {
                let proof = STANDARD.encode(Sha1::digest(format!("{key}{HANDSHAKE}")));
                let status = "101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade";
                let head = format!("HTTP/1.1 {status}\r\nSec-WebSocket-Accept: {proof}\r\n\r\n");
                (&socket).write_all(head.as_bytes())?;
                return Ok(Some(Visit::Socket(socket)));
            }
        }
        Ok(None)
    }

    /// What the request with this head gets. `None`: nothing.
    fn decide<'a>(&self, head: &'a str) -> Option<Answer<'a>> {
        let (first, headers) = head.split_once("\r\n")?;
        let headers = headers.lines().filter_map(|line| line.split_once(':'));
        let values = |name: &'static str| {
            let named = headers
                .clone()
                .filter(move |(found, _)| found.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.trim())
        };
        let path = first.strip_prefix("GET /")?.strip_suffix(" HTTP/1.1")?;
        let (token, path) = path.split_once('/')?;
        let origin = format!("http://{}", self.host);
        let is_ours =
            values("host").eq([self.host.as_str()]) && values("origin").all(|from| from == origin);
        if !is_ours || !is_same(token, &self.token) {
            return None;
        }
        let cookies = values("cookie").flat_map(|value| value.split("; "));
        let mut ours = cookies.filter_map(|cookie| cookie.strip_prefix("fernchat="));
        match (ours.any(|cookie| is_same(cookie, &self.cookie)), file(path)) {
            (true, Some((kind, content))) => Some(Answer::File(kind, content, String::new())),
            // A browser always says which page opens a WebSocket.
            (true, None) if path == "socket" => {
                values("origin").next()?;
                values("sec-websocket-key").next().map(Answer::Socket)
            }
            (true, None) => path.strip_prefix("file/").map(Answer::Download),
            // The first visit gets the cookie.
            (false, Some((kind, content)))
                if path.is_empty() && !self.is_taken.swap(true, Ordering::SeqCst) =>
            {
                let (token, cookie) = (&self.token, &self.cookie);
                let cookie = format!(
                    "Set-Cookie: fernchat={cookie}; Path=/{token}/; HttpOnly; SameSite=Strict\r\n"
                );
                Some(Answer::File(kind, content, cookie))
            }
            (false, _) => None,
        }
    }
}

/// Gives a received file to the browser, which saves it and does not open it.
pub(super) fn give_file(mut socket: &TcpStream, file: File) -> io::Result<()> {
    let len = file.metadata()?.len();
    let headers = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment\r\nContent-Security-Policy: sandbox";
    reply(socket, "200 OK", headers, len)?;
    io::copy(&mut file.take(len), &mut socket).map(drop)
}

/// Says no. It is not said what is wrong: only who has an old address does not know.
pub(super) fn refuse(mut socket: &TcpStream) -> io::Result<()> {
    let words =
        "fernchat: this address is not valid here, or not any more. Start fernchat window again.\n";
    let (headers, len) = ("Content-Type: text/plain", words.len() as u64);
    reply(socket, "403 Forbidden", headers, len)?;
    socket.write_all(words.as_bytes())
}

/// Writes the head of an answer.
fn reply(mut socket: &TcpStream, status: &str, headers: &str, len: u64) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {len}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Opener-Policy: same-origin\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\r\n"
    );
    socket.write_all(head.as_bytes())
}

/// Reads the head of a request.
fn read_head(mut socket: &TcpStream) -> io::Result<String> {
    let until = Instant::now() + HEAD_TIME;
    let (mut head, mut bytes) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let left = until.saturating_duration_since(Instant::now());
        // No time at all would mean: for ever.
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let n = socket.read(&mut bytes)?;
        head.extend_from_slice(&bytes[..n]);
        if n == 0 || left.is_zero() || head.len() > MAX_HEAD {
            let what = "its head is too long, too slow or cut off";
            return Err(io::Error::other(what));
        }
    }
    socket.set_read_timeout(None)?;
    String::from_utf8(head).map_err(io::Error::other)
}

/// Whether two secrets are the same. Where their digests differ says nothing of the secrets, so the time that it takes does not either.
fn is_same(one: &str, other: &str) -> bool {
    Sha1::digest(one) == Sha1::digest(other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_refused(door: &Door, head: &str) -> bool {
        door.decide(head).is_none()
    }

    proptest! {
        #[test]
        fn whatever_a_head_says_nobody_gets_in_without_the_token(
            start in "(GET|GET|POST|\\PC{0,4}) /(\\PC{0,44}/)?(|socket|file/0|\\PC{0,9})",
            rest in "(\r\n(Host|Origin|Cookie|host|\\PC{0,9})(: ?\\PC{0,40}|)){0,5}(\r\n){0,2}",
        ) {
            let door = Door::open().unwrap();
            let (host, cookie) = (&door.host, &door.cookie);
            let bare = start.clone() + &rest;
            prop_assert!(is_refused(&door, &bare));
            let head = format!("{start} HTTP/1.1\r\nHost: {host}\r\nCookie: fernchat={cookie}{rest}");
            prop_assert!(is_refused(&door, &head));
        }
    }

    #[test]
    fn the_cookie_is_given_with_the_page_only_and_once() {
        let door = Door::open().unwrap();
        let (host, token) = (&door.host, &door.token);
        let head = |path: &str| format!("GET /{token}/{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        for path in ["style.css", "socket", "file/0", "..", "?"] {
            assert!(is_refused(&door, &head(path)), "{path}");
        }
        match door.decide(&head("")) {
            Some(Answer::File("text/html", _, header)) => assert!(header.contains(&door.cookie)),
            _ => panic!("the page is refused"),
        }
        assert!(is_refused(&door, &head("")));
    }
}
