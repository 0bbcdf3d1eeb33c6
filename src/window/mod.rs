//! The window: the clients on a page in the browser of this machine.
//!
//! ```text
//!   browser ──▶ door ──▶ socket of each page ──▶ form, upload ──▶ conversation ──▶ a client
//!   browser ◀──────────────── pages ◀───────────────────────────── conversation ◀── a client
//! ```
//!
//! - [`door`]: the HTTP server on loopback, and who may enter.
//! - [`socket`]: the WebSocket of one page.
//! - [`pages`]: what the pages show, and the table of messages.
//! - [`conversation`]: the face that a client sees in place of a terminal.
//! - [`form`]: what is entered at the start.
//! - [`upload`]: files that come from a page.
//!
//! The clients do not know whether a terminal or a page shows what they say, and nothing but the program's start uses this module.
//! Each client runs in a thread of its own, one after the other. The program ends when no page has been open for a minute and no file is on its way.

pub(crate) mod conversation;
pub(crate) mod door;
pub(crate) mod form;
pub(crate) mod pages;
pub(crate) mod socket;
pub(crate) mod upload;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::debug;
use parking_lot::Mutex;

use self::conversation::Face;
use self::door::{Door, Wish, give_file, read_head, refuse, reply};
use self::form::{Form, MAX_ENTRIES, Problem, Start};
use self::pages::{Pages, list, message};
use crate::client::ClientSettings;
use crate::discovery::mdns;
use crate::machine;

/// How the window is set up.
pub(crate) struct WindowSettings {
    /// The group chat to join at once. If its name or group is missing, what there is fills the form.
    pub client: ClientSettings,
    /// Whether the system is to open its browser.
    pub opens_browser: bool,
}

/// What all threads of the window share.
struct Window {
    door: Door,
    pages: Arc<Pages>,
    /// Of the client that was started last.
    face: Mutex<Arc<Face>>,
    form: Form,
}

/// How many connections there are at a time. A page takes one, and some more while it loads.
const MAX_CONNECTIONS: usize = 64;

/// Shows pages until they have been left.
///
/// # Errors
/// There is no port or no thread.
pub(crate) fn run(settings: WindowSettings) -> io::Result<()> {
    let window = Arc::new(Window {
        door: Door::open()?,
        pages: Arc::default(),
        face: Mutex::default(),
        form: Form::load(settings.client),
    });
    window.back();
    if let Some(start) = window.form.at_once() {
        window.start(Ok(start));
    }
    let (pages, entered) = (Arc::clone(&window.pages), Arc::clone(&window));
    // Asked a second time, the program ends at once. Without the handler it does so the first time.
    let _ = machine::at_signal(move || pages.end());
    machine::spawn("door", move || entered.accept_loop())?;
    let address = window.door.address();
    let opens = settings.opens_browser && open::that_detached(&address).is_ok();
    let words = if opens {
        format!(
            "Opening {address} in the browser; if no page appears, open this address in one browser."
        )
    } else {
        format!("Open this address in one browser: {address}")
    };
    // If nobody reads the output, the browser may show the page all the same.
    let _ = writeln!(io::stdout(), "{words}");
    window.pages.wait_until_left(|| window.face().is_busy());
    window.face().leave();
    window.face().wait_until_ended();
    Ok(())
}

impl Window {
    fn face(&self) -> Arc<Face> {
        Arc::clone(&self.face.lock())
    }

    /// Shows the form.
    fn back(&self) {
        self.pages.reset();
        self.pages.set(self.form.message());
    }

    /// Starts a client in a thread of its own, or shows why it cannot.
    fn start(&self, start: Result<Start, Problem>) {
        let mut last = self.face.lock();
        match start {
            // Another page has been faster.
            Ok(_) if last.is_here() => {}
            Ok(start) => {
                let face = Face::new(&self.pages);
                let before = std::mem::replace(&mut *last, Arc::clone(&face));
                let client = move || {
                    // It has been left. If it stays longer, it says goodbye beside this one.
                    before.wait_until_ended();
                    let client = || start(Box::new(Arc::clone(&face)));
                    face.over(face.is_here().then(client).unwrap_or(Ok(())));
                };
                if let Err(error) = machine::spawn("client", client) {
                    last.over(Err(error.to_string()));
                }
            }
            Err(Problem(field, text)) => self.pages.send(message("error", &[&field, &text])),
        }
    }

    /// Takes connections, each in a thread of its own.
    fn accept_loop(self: &Arc<Window>) {
        for socket in self.door.listener.incoming() {
            let Ok(socket) = socket else {
                // Out of descriptors, perhaps. It must not become a busy loop.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            // Each connection holds the window.
            if Arc::strong_count(self) > MAX_CONNECTIONS || !machine::is_own_connection(&socket) {
                continue;
            }
            let window = Arc::clone(self);
            // Without a thread the connection is dropped, and the browser says so. It says as well what fails later.
            let _ = machine::spawn("page", move || drop(window.enter(socket)));
        }
    }

    /// Does what a browser wants.
    fn enter(&self, mut socket: TcpStream) -> io::Result<()> {
        let (head, body) = read_head(&socket)?;
        match self.door.decide(&head) {
            None => refuse(&socket),
            Some(Wish::Page(content, head)) => reply(&socket, &head, content, content.len() as u64),
            Some(Wish::Socket(answer)) => {
                socket.write_all(answer.as_bytes())?;
                socket::serve(socket, &self.pages, |said| self.hear(said))
            }
            Some(Wish::Download(number)) => match self.face().file(&number).map(File::open) {
                Some(Ok(file)) => give_file(&socket, file),
                _ => refuse(&socket),
            },
            Some(Wish::Upload(len)) => {
                let (face, mut name) = (self.face(), String::new());
                match upload::take(body.chain(&socket), len, &mut name) {
                    Ok(shared) => face.share(shared),
                    Err(error) => face.notice(&format!("{name} was not shared: {error}.")),
                }
                reply(&socket, "200 OK", io::empty(), 0)
            }
        }
    }

    /// Does what a page says.
    fn hear(&self, text: &str) {
        let fields: Vec<&str> = text.split('\n').collect();
        match fields.as_slice() {
            ["join", values @ ..] if text.len() <= MAX_ENTRIES => {
                self.start(self.form.start(values))
            }
            ["key", path] => match form::make_key(path) {
                Ok(path) => self.pages.send(message("made", &[&path.display()])),
                Err(problem) => self.start(Err(problem)),
            },
            ["find"] => {
                let pages = Arc::clone(&self.pages);
                // Without a thread the page goes on looking.
                let _ = machine::spawn("finding", move || match mdns::find() {
                    Ok(found) => pages.send(list("found", found)),
                    Err(error) => pages.send(message("unfound", &[&error])),
                });
            }
            ["say", lines @ ..] => self.face().say(lines.join("\n")),
            ["ask", command] => self.face().ask(command),
            ["stop"] => self.face().stop(),
            ["leave"] => {
                self.face().leave();
                self.back();
            }
            ["open", number] => {
                let path = self.face().file(number);
                let folder = path.as_deref().and_then(Path::parent);
                if let Some(Err(error)) = folder.map(open::that_detached) {
                    let what = format!("The folder cannot be opened: {error}.");
                    self.face().notice(&what);
                }
            }
            _ => debug!("a page says something that is not known here"),
        }
    }
}
