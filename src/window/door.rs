//! The door of the window: a small HTTP server on loopback, for the browser of the same user and for nobody else.
//!
//! It serves the files of the page, which are compiled in, and the files that the user has received. The path `socket` becomes a WebSocket,
//! and the path `upload` takes a file. Nothing else is answered.
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::seal::random_text;

/// The longest head of a request, in bytes. Those of browsers have about 1 KiB.
const MAX_HEAD: usize = 8 << 10;

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// How long the browser may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(20);

/// What every WebSocket handshake appends to the browser's key: RFC 6455.
const HANDSHAKE: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A file of the page: its type and its content.
fn file(path: &str) -> Option<(&'static str, &'static [u8])> {
    Some(match path {
        "" => ("text/html", include_bytes!("page/index.html")),
        "style.css" => ("text/css", include_bytes!("page/style.css")),
        "script.js" => ("text/javascript", include_bytes!("page/script.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("page/icon.svg")),
        _ => return None,
    })
}

/// The server, and who may enter.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    /// `127.0.0.1:PORT`.
    host: String,
    /// The path that nobody can guess, without its slashes.
    token: String,
    cookie: String,
    /// The cookie has been given to a browser.
    is_taken: AtomicBool,
}

/// What somebody wants who may enter.
pub(super) enum Wish {
    /// A file of the page: its content, and the head of the answer.
    Page(&'static [u8], String),
    /// The received file of this number.
    Download(String),
    /// To share a file, which comes in a body of this length.
    Upload(u64),
    /// A WebSocket: the head of the answer.
    Socket(String),
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

    /// What the request with this head wants. `None`: it is refused.
    pub(super) fn decide(&self, head: &str) -> Option<Wish> {
        let (first, headers) = head.split_once("\r\n")?;
        let values = |name: &'static str| {
            let headers = headers.lines().filter_map(|line| line.split_once(':'));
            let named = headers.filter(move |(found, _)| found.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.trim())
        };
        let (method, path) = first.strip_suffix(" HTTP/1.1")?.split_once(" /")?;
        let (token, path) = path.split_once('/')?;
        let host = self.host.as_str();
        let mut origins = values("origin");
        let has_origin = origins.clone().next().is_some();
        let is_ours = origins.all(|origin| origin.strip_prefix("http://") == Some(host));
        if !is_ours || !values("host").eq([host]) || !is_same(token, &self.token) {
            return None;
        }
        let mut set_cookie = String::new();
        let mut cookies = values("cookie").flat_map(|value| value.split("; "));
        let cookie = format!("fernchat={}", self.cookie);
        if !cookies.any(|known| is_same(known, &cookie)) {
            // The first visit gets the cookie.
            if (method, path) != ("GET", "") || self.is_taken.swap(true, Ordering::SeqCst) {
                return None;
            }
            set_cookie =
                format!("Set-Cookie: {cookie}; Path=/{token}/; HttpOnly; SameSite=Strict\r\n");
        }
        match (method, path) {
            // A browser always says which page opens a WebSocket or sends a file.
            ("GET", "socket") if has_origin => {
                let key = values("sec-websocket-key").next()?;
                let proof = STANDARD.encode(Sha1::digest(format!("{key}{HANDSHAKE}")));
                Some(Wish::Socket(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
                )))
            }
            ("POST", "upload") if has_origin => {
                let len = values("content-length").next()?;
                len.parse().ok().map(Wish::Upload)
            }
            ("GET", path) => Some(match file(path) {
                Some((kind, content)) => Wish::Page(
                    content,
                    format!(
                        "200 OK\r\nContent-Type: {kind}; charset=utf-8\r\n{set_cookie}Content-Security-Policy: default-src 'none'; script-src 'self'; \
                     style-src 'self'; img-src 'self'; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                    ),
                ),
                None => Wish::Download(path.strip_prefix("file/")?.to_owned()),
            }),
            _ => None,
        }
    }
}

/// Gives a received file to the browser, which saves it and does not open it.
pub(super) fn give_file(socket: &TcpStream, file: File) -> io::Result<()> {
    let len = file.metadata()?.len();
    let head = "200 OK\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment\r\nContent-Security-Policy: sandbox";
    reply(socket, head, file, len)
}

/// Says no. It is not said what is wrong: only who has an old address does not know.
pub(super) fn refuse(socket: &TcpStream) -> io::Result<()> {
    let words =
        "fernchat: this address is not valid here, or not any more. Start fernchat window again.\n";
    let head = "403 Forbidden\r\nContent-Type: text/plain";
    reply(socket, head, words.as_bytes(), words.len() as u64)
}

/// Writes an answer. Its head has more lines than these.
pub(super) fn reply(mut to: &TcpStream, head: &str, body: impl Read, len: u64) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {head}\r\nContent-Length: {len}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nCross-Origin-Opener-Policy: same-origin\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\r\n"
    );
    to.write_all(head.as_bytes())?;
    io::copy(&mut body.take(len), &mut to).map(drop)
}

/// Reads the head of a request. Returns what has come of the body, too.
pub(super) fn read_head(mut socket: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    socket.set_write_timeout(Some(WRITE_TIME))?;
    let until = Instant::now() + HEAD_TIME;
    let (mut head, mut bytes) = (Vec::new(), [0; 1024]);
    let end = loop {
        let left = until.saturating_duration_since(Instant::now());
        // No time at all would mean: for ever.
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let n = socket.read(&mut bytes)?;
        head.extend_from_slice(&bytes[..n]);
        if let Some(at) = head.windows(4).position(|part| part == b"\r\n\r\n") {
            break at + 4;
        }
        if n == 0 || left.is_zero() || head.len() > MAX_HEAD {
            return Err(io::Error::other("a head too long, slow or cut off"));
        }
    };
    socket.set_read_timeout(None)?;
    let body = head.split_off(end);
    Ok((String::from_utf8(head).map_err(io::Error::other)?, body))
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
            start in "(GET|GET|POST|\\PC{0,4}) /(\\PC{0,44}/)?(|socket|upload|file/0|\\PC{0,9})",
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
        for path in ["style.css", "socket", "upload", "file/0", "..", "?"] {
            assert!(is_refused(&door, &head(path)), "{path}");
        }
        match door.decide(&head("")) {
            Some(Wish::Page(_, headers)) => assert!(headers.contains(&door.cookie)),
            _ => panic!("the page is refused"),
        }
        assert!(is_refused(&door, &head("")));
    }
}
