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
//! The main thread runs one client after the other. The program ends when no page has been open for a minute and no file is on its way.

pub(crate) mod conversation;
pub(crate) mod door;
pub(crate) mod form;
pub(crate) mod pages;
pub(crate) mod socket;
pub(crate) mod upload;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use log::debug;

use self::conversation::Face;
use self::door::{Door, Visit, give_file, refuse};
use self::form::{Form, Problem, Start};
use self::pages::{list, message};
use self::socket::Said;
use self::upload::Upload;
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
    face: Arc<Face>,
    form: Form,
    /// To the main thread, which runs the clients. `None`: the program ends.
    starts: Sender<Option<Start>>,
    is_ending: AtomicBool,
}

/// Shows pages until they have been left.
///
/// # Errors
/// There is no port or no thread.
pub(crate) fn run(settings: WindowSettings) -> Result<(), String> {
    let window = open(settings.client, settings.opens_browser);
    let (window, to_start) = window.map_err(|error| format!("cannot open the window: {error}"))?;
    window.chats(&to_start);
    Ok(())
}

fn open(
    mut client: ClientSettings,
    opens_browser: bool,
) -> io::Result<(Arc<Window>, Receiver<Option<Start>>)> {
    let door = Arc::new(Door::open()?);
    // Who reads where a file lies does not see in which folder the program was started.
    // An empty path stands for the usual folder.
    client.downloads = std::path::absolute(&client.downloads).unwrap_or_default();
    let (starts, to_start) = bounded(1);
    let window = Arc::new(Window {
        face: Arc::default(),
        form: Form::load(client),
        starts,
        is_ending: AtomicBool::new(false),
    });
    let [at_signal, entered, left] = [(); 3].map(|()| Arc::clone(&window));
    // Without the handler a signal ends the program at once.
    let _ = machine::at_signal(move || at_signal.end());
    let address = door.address();
    machine::spawn("door", move || {
        door.accept_loop(move |visit| entered.enter(visit))
    })?;
    machine::spawn("leaving", move || {
        left.face.pages.wait_until_left(|| left.face.is_busy());
        left.end();
    })?;
    let what = if opens_browser && open::that_detached(&address).is_ok() {
        "the browser shows"
    } else {
        "open this address in one browser:"
    };
    // If nobody reads the output, the browser may show the page all the same.
    let _ = writeln!(io::stdout(), "{what} {address}");
    Ok((window, to_start))
}

impl Window {
    /// Runs one client after the other, until the program ends.
    fn chats(&self, starts: &Receiver<Option<Start>>) {
        self.back();
        if let Some(start) = self.form.at_once() {
            self.start(Ok(start));
        }
        while let Ok(Some(start)) = starts.recv() {
            let ended = start(Box::new(Arc::clone(&self.face)));
            match self.face.over(ended) {
                _ if self.is_ending.load(Ordering::SeqCst) => return,
                Some(error) => self.start(Err(Problem("server", error))),
                None => {}
            }
        }
    }

    /// Shows the form.
    fn back(&self) {
        self.face.pages.reset();
        self.face.pages.set(self.form.message());
    }

    /// Has the main thread run a client, or shows why it cannot.
    fn start(&self, start: Result<Start, Problem>) {
        match start {
            // Full: another page has been faster.
            Ok(start) => drop(self.starts.try_send(Some(start))),
            Err(Problem(field, text)) => self.face.pages.send(message("error", &[&field, &text])),
        }
    }

    /// Leaves and ends the program. Asked a second time, it ends at once.
    fn end(&self) {
        if self.is_ending.swap(true, Ordering::SeqCst) {
            std::process::exit(1);
        }
        let _ = self.starts.try_send(None);
        self.face.leave_now();
    }

    /// Does what a browser wants beyond the files of the page.
    fn enter(&self, visit: Visit) {
        let done = match visit {
            Visit::Socket(socket) => {
                let mut upload = None;
                let hear = |page, said| self.hear(page, said, &mut upload);
                socket::serve(socket, &self.face.pages, hear)
            }
            Visit::Download(socket, number) => match self.face.file(&number).map(File::open) {
                Some(Ok(file)) => give_file(&socket, file),
                _ => refuse(&socket),
            },
        };
        if let Err(error) = done {
            debug!("a page has gone: {error}");
        }
    }

    /// Does what a page says.
    fn hear(&self, page: u64, said: Said, upload: &mut Option<Upload>) {
        let text = match said {
            Said::Text(text) => text,
            Said::Piece(piece) => {
                if let Some(begun) = upload.take() {
                    self.upload(page, upload, begun.take(&piece));
                }
                return;
            }
            Said::Closed => return *upload = None,
        };
        let mut fields: Vec<&str> = text.split('\n').collect();
        match (fields.remove(0), fields.as_slice()) {
            ("join", values) => self.start(self.form.start(values)),
            ("key", [path]) => match form::make_key(path) {
                Ok(path) => self.face.pages.answer(page, message("made", &[&path])),
                Err(problem) => self.start(Err(problem)),
            },
            ("find", []) => {
                let pages = Arc::clone(&self.face.pages);
                // Without a thread the page offers nothing.
                let _ = machine::spawn("finding", move || match mdns::find() {
                    Ok(found) => pages.answer(page, list("found", &found)),
                    Err(error) => debug!("no servers are offered: {error}"),
                });
            }
            ("say", lines) => self.face.say(lines.join("\n")),
            ("ask", [command]) => self.face.ask(command),
            ("stop", []) => self.face.stop(),
            ("leave", []) => {
                self.face.leave();
                self.back();
            }
            ("open", [number]) => {
                let path = self.face.file(number);
                let folder = path.as_deref().and_then(Path::parent);
                if let Some(Err(error)) = folder.map(open::that_detached) {
                    let what = format!("The folder cannot be opened: {error}.");
                    self.face.notice(&what);
                }
            }
            ("upload", [name, len, to]) => {
                self.upload(page, upload, Upload::begin(name, len, to));
            }
            ("cancel", []) => *upload = None,
            (kind, _) => debug!("a page says {kind:?}, which is not known here"),
        }
    }

    /// Goes on with a file that comes from a page: asks for its next piece, or shares it.
    fn upload(&self, page: u64, slot: &mut Option<Upload>, begun: io::Result<Upload>) {
        let answer = match begun {
            Err(error) => message("refused", &[&error]),
            Ok(begun) if begun.is_whole() => {
                self.face.share(begun.typed());
                message("taken", &[])
            }
            Ok(begun) => {
                *slot = Some(begun);
                message("more", &[])
            }
        };
        self.face.pages.answer(page, answer);
    }
}
