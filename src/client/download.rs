//! Downloads: files that the server delivers, opened as they arrive. Their size costs no memory.
//!
//! A delivery is three frames and a body: the offer, the name, the length. A Python server may send the name and the rest before the
//! client's two answers, and other frames between them. So the client remembers deliveries and does not wait for them. It gives both
//! answers in any case.
//!
//! A file that is too long for the settings or for the disk is not written: its body is taken off the stream and dropped.
//!
//! A received file is written without a name, or under a temporary one, in its folder. It gets its name when the whole body has been verified. The name
//! never leads out of the folder, and is never that of a file that exists.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::offers::{Offer, Stage};
use super::receiving::Receiving;
use super::room_key::RoomKey;
use super::step::is_line;
use super::{ClientError, Shared};
use crate::machine::{self, TemporaryFile};
use crate::screen::{Event, FileSeal, NotOpened, Received, Transfer, Trust, shortened};
use crate::seal::{BodyOpener, Key, RoomFile, SealError, is_token_len, token_len};
use crate::wire::command::{BODY_END, Dialect, SEND_FILE, SEND_FILENAME};
use crate::wire::frame::{BODY_STEP, TOKEN_START, WireError};
use crate::wire::name::{FileName, MAX_NAME_CHARACTERS};
use crate::wire::{name_set, size};

/// How many files a server may offer without sending one.
const MAX_OFFERS: usize = 64;

/// How many names are tried for a received file: `name (1).ext` and so on.
const MAX_NUMBER: u32 = 9999;

/// The files that a Python server has offered, and not sent yet.
#[derive(Default)]
pub(crate) struct PythonOffers {
    /// Who shares the files whose names have not come yet. Empty: the server does not say.
    unnamed: VecDeque<String>,
    named: VecDeque<(FileName, String)>,
    /// A step of a dialogue that may have been the name of an offered file, which a Python server sends before it is asked. If a length
    /// comes and no name has, it was.
    mistaken: String,
}

/// A file's name and whose it is, as they are shown.
pub(super) fn title(name: &FileName, from: &str) -> String {
    match from {
        "" => name.to_string(),
        from => format!("{name} from {from}"),
    }
}

impl PythonOffers {
    /// Gives this name to the first file that has none. Returns whether there was one.
    fn name(&mut self, name: &str) -> bool {
        let Some(from) = self.unnamed.pop_front() else {
            return false;
        };
        let name = FileName::from_peer(name);
        self.named.push_back((name, from));
        self.mistaken.clear();
        true
    }

    /// Remembers a step that may as well be the name of a file.
    pub(crate) fn note_step(&mut self, step: &[u8]) {
        if !self.unnamed.is_empty() && !step.starts_with(b"/") {
            self.mistaken = String::from_utf8_lossy(step).into_owned();
        }
    }
}

impl Receiving {
    /// A Python server offers a file.
    pub(super) fn offered(&mut self, from: &str) -> Result<(), ClientError> {
        if self.offers.unnamed.len() + self.offers.named.len() == MAX_OFFERS {
            return Err(WireError::NotTheStep("the end of a delivery").into());
        }
        let from = shortened(from, MAX_NAME_CHARACTERS).into_owned();
        self.offers.unnamed.push_back(from);
        Ok(self.link.answer(SEND_FILENAME)?)
    }

    /// Takes a text that is the name of an offered file, or the length of a body. Returns whether it is one of them.
    pub(super) fn delivery_step(&mut self, text: &str) -> Result<bool, ClientError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            if self.offers.named.is_empty() && !self.offers.mistaken.is_empty() {
                let name = std::mem::take(&mut self.offers.mistaken);
                self.named(&name)?;
            }
            if let Some((name, from)) = self.offers.named.pop_front() {
                let length = text.parse();
                let length = length.map_err(|_| WireError::NotTheStep("the length of a body"))?;
                if self.offers.named.is_empty() && self.offers.unnamed.is_empty() {
                    self.link.no_answer_due();
                }
                self.python_body(name, from, length)?;
                return Ok(true);
            }
        }
        Ok(!is_line(text) && self.named(text)?)
    }

    /// If a file needs this name, asks for its body.
    fn named(&mut self, name: &str) -> Result<bool, ClientError> {
        let is_needed = self.offers.name(name);
        if is_needed {
            self.link.answer(SEND_FILE)?;
        }
        Ok(is_needed)
    }

    fn python_body(&mut self, name: FileName, from: String, len: u64) -> Result<(), ClientError> {
        let (shared, key) = (Arc::clone(&self.link.shared), &self.link.key);
        let title = title(&name, &from);
        if len == 0 {
            shared.show(&format!(
                "The file {title} is not coming: the server called it off."
            ));
            return Ok(());
        }
        // Its body must be taken off the stream all the same: a Python server cannot stop.
        let download = match obstacle(&shared, len) {
            None => {
                let (folder, room_key) = (&shared.settings.downloads, shared.room_key.as_ref());
                Some(Download::begin(folder, key, room_key))
            }
            Some(obstacle) => {
                shared.show(&format!("The file {title} was not received: {obstacle}."));
                None
            }
        };
        self.body_begins(Offer {
            id: String::new(),
            name,
            from,
            len,
            stage: Stage::Arriving,
            have: 0,
            download,
        })
    }

    /// A body is due from here on.
    pub(super) fn body_begins(&mut self, arrival: Offer) -> Result<(), ClientError> {
        if self.arriving.is_some() {
            return Err(WireError::NotTheStep("the end of a body").into());
        }
        self.link.dialogue.lock().is_receiving = true;
        let transfer = Transfer::begin(arrival.title(), arrival.have, arrival.len);
        self.piece = vec![0; BODY_STEP];
        self.arriving = Some((arrival, transfer));
        self.body_goes_on(0)
    }

    /// Takes the next `n` bytes of the body that is due.
    pub(super) fn body_goes_on(&mut self, n: usize) -> Result<(), ClientError> {
        let Some((arrival, transfer)) = &mut self.arriving else {
            return Ok(());
        };
        let mut bytes = &self.piece[..n];
        let is_fernchat = self.link.server == Dialect::Fernchat;
        let is_ended = is_fernchat && bytes.ends_with(&[BODY_END]);
        if is_ended {
            bytes = &bytes[..n - 1];
        }
        arrival.have += bytes.len() as u64;
        if let Some(download) = &mut arrival.download {
            download.write(bytes);
            transfer.reached(&*self.link.shared.screen, arrival.have);
            if is_fernchat && download.has_failed() {
                self.link.cannot_store(arrival)?;
            }
        }
        if is_ended || arrival.have == arrival.len {
            self.piece = Vec::new();
            self.link.dialogue.lock().is_receiving = false;
            if let Some((arrival, _)) = self.arriving.take() {
                self.link.arrived(arrival)?;
            }
            self.sending.wake();
        }
        Ok(())
    }
}

/// Why a file whose body has this length is not kept, if so.
pub(super) fn obstacle(shared: &Shared, length: u64) -> Option<String> {
    let (settings, size) = (&shared.settings, length / 4 * 3);
    let in_words = size::in_words;
    if let Some(limit) = settings
        .max_receive
        .filter(|most| length > token_len(*most))
    {
        let (size, limit) = (in_words(size), in_words(limit));
        return Some(format!(
            "{size} is above the limit of {limit}; --max-receive raises it"
        ));
    }
    // Under a room key it lies there sealed and opened, until it is known which of the two is the file.
    let (verb, needed) = match &shared.room_key {
        None => ("has", size),
        Some(_) => ("takes", size + size / 4 * 3),
    };
    let room = machine::free_space(&settings.downloads).filter(|room| *room < needed)?;
    let (needed, room) = (in_words(needed), in_words(room));
    Some(format!(
        "it {verb} {needed}, and the disk has room for {room}"
    ))
}

/// Whether an opened token has the form of something that a server says of its own accord, of an echo, or of a set.
pub(super) fn has_frame_form(text: &[u8]) -> bool {
    name_set::decode(text).is_ok()
        || text.starts_with(b"/")
        || std::str::from_utf8(text).is_ok_and(is_line)
}

/// A file that is being received.
pub(crate) struct Download {
    /// What the server's key opens.
    outer: Result<Opening, DownloadError>,
    /// What the room key opens of that, if there is a room key. Only the end of the body shows which of the two is the file.
    inner: Option<Result<Opening, DownloadError>>,
}

impl Download {
    pub(super) fn begin(folder: &Path, key: &Key, room_key: Option<&RoomKey>) -> Download {
        let inner = |room_key: &RoomKey| {
            let opening = Opening::begin(folder, &room_key.key)?;
            let head = Some(Head::default());
            Ok(Opening { head, ..opening })
        };
        Download {
            outer: Opening::begin(folder, key),
            inner: room_key.map(inner),
        }
    }

    /// Takes the next bytes of the body. What goes wrong is kept for [`Download::finish`]: the rest of the body must be taken off the
    /// stream in any case.
    fn write(&mut self, bytes: &[u8]) {
        write(&mut self.outer, bytes);
        if let (Ok(outer), Some(inner)) = (&self.outer, &mut self.inner) {
            write(inner, &outer.plain);
        }
    }

    /// Whether nothing can come of it any more.
    fn has_failed(&self) -> bool {
        self.outer.is_err()
    }

    /// Verifies the body, gives the file its name, and says so. The error says why it is not stored.
    pub(super) fn store(self, shared: &Shared, name: &FileName, from: &str) -> Result<(), String> {
        let title = title(name, from);
        let folder = &shared.settings.downloads;
        let stored = self.finish(folder, name, from, shared.room_key.as_ref());
        let (path, seal) = stored.map_err(|error| {
            shared.show(&format!("The file {title} was not received: {error}."));
            error.to_string()
        })?;
        shared.screen.show(Event::Received(Received {
            title: match &seal {
                FileSeal::Opened { who, .. } => self::title(name, who.raw()),
                _ => title,
            },
            size: path.metadata().ok().map(|file| file.len()),
            path,
            seal,
        }));
        Ok(())
    }

    /// Verifies the body, and gives the file its name. Returns where it lies, and what is to be said about its seal. A file that is still
    /// sealed has a name that says so. After an error nothing is left of the file.
    fn finish(
        mut self,
        folder: &Path,
        name: &FileName,
        from: &str,
        room_key: Option<&RoomKey>,
    ) -> Result<(PathBuf, FileSeal), DownloadError> {
        let Opened {
            file: mut outer,
            last,
            ..
        } = self.outer?.finish()?;
        if !is_sealed(outer.file())? {
            let trust = Trust::of(self.inner);
            return Ok((give_name(outer, folder, name)?, FileSeal::Missing(trust)));
        }
        if let Some(inner) = &mut self.inner {
            write(inner, &last);
        }
        let inner = self.inner.map(|inner| inner.and_then(Opening::finish));
        let why = match (inner, room_key) {
            (Some(Ok(inner)), Some(room_key)) => match room_key.check_file(&inner.head, from, name)
            {
                Ok((who, when)) => {
                    let path = give_name(inner.file, folder, name)?;
                    return Ok((path, FileSeal::Opened { who, when }));
                }
                Err(why) => why,
            },
            (Some(Err(DownloadError::NotOpened(_))), _) => NotOpened::AnotherKey,
            (Some(Err(DownloadError::Io(_))), _) => NotOpened::Disk,
            (None, _) | (_, None) => NotOpened::NoKey,
        };
        let name = FileName::from_peer(&format!("{name}.sealed"));
        let path = give_name(outer, folder, &name)?;
        Ok((path, FileSeal::NotOpened(why)))
    }
}

/// Passes bytes to an opening that has not failed yet. The temporary file of one that fails is removed.
fn write(opening: &mut Result<Opening, DownloadError>, bytes: &[u8]) {
    if let Err(error) = opening
        .as_mut()
        .map_or(Ok(()), |opening| opening.write(bytes))
    {
        *opening = Err(error);
    }
}

/// Whether a file is a token, as far as its beginning and its length tell.
fn is_sealed(file: &File) -> io::Result<bool> {
    let mut start = [0; TOKEN_START.len()];
    let n = machine::read_at(file, &mut start, 0)?;
    Ok(&start[..n] == TOKEN_START && is_token_len(file.metadata()?.len()))
}

/// A body that is opened into a temporary file.
struct Opening {
    opener: BodyOpener,
    /// What the last bytes opened to.
    plain: Vec<u8>,
    /// Under the room key: what stands in front of the file.
    head: Option<Head>,
    file: TemporaryFile,
}

/// What stands in front of a file, as far as it has come.
#[derive(Default)]
struct Head {
    bytes: Vec<u8>,
    is_complete: bool,
}

impl Head {
    /// Takes the next bytes of a head that is not complete. Returns those behind it.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(bytes);
        let len = RoomFile::head_len(&self.bytes);
        self.is_complete = len.is_some();
        // What is longer is no head, and what follows is not kept.
        self.bytes
            .split_off(len.unwrap_or(RoomFile::MAX_HEAD.min(self.bytes.len())))
    }
}

/// A body that was opened to its end.
struct Opened {
    file: TemporaryFile,
    /// What stood in front of the file.
    head: Vec<u8>,
    /// What was opened last.
    last: Vec<u8>,
}

impl Opening {
    fn begin(folder: &Path, key: &Key) -> Result<Opening, DownloadError> {
        Ok(Opening {
            opener: BodyOpener::new(key),
            plain: Vec::new(),
            head: None,
            file: TemporaryFile::create(folder)?,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.plain.clear();
        self.opener.update(bytes, &mut self.plain)?;
        Ok(store(self.file.file(), &mut self.head, &self.plain)?)
    }

    fn finish(mut self) -> Result<Opened, DownloadError> {
        self.plain.clear();
        self.opener.finish(&mut self.plain)?;
        store(self.file.file(), &mut self.head, &self.plain)?;
        Ok(Opened {
            file: self.file,
            head: self.head.map_or(Vec::new(), |head| head.bytes),
            last: self.plain,
        })
    }
}

/// Writes what was opened, but for what stands in front of the file.
fn store(file: &mut File, head: &mut Option<Head>, plain: &[u8]) -> io::Result<()> {
    match head {
        Some(head) if !head.is_complete => file.write_all(&head.take(plain)),
        _ => file.write_all(plain),
    }
}

/// Gives a file a name in the folder that is free: this one, or `name (1).ext` and so on.
fn give_name(mut file: TemporaryFile, folder: &Path, name: &FileName) -> io::Result<PathBuf> {
    let mut free = name.clone();
    for number in 1..=MAX_NUMBER {
        let path = folder.join(free.as_str());
        file = match file.persist_new(&path) {
            Ok(()) => return Ok(path),
            Err((error, file)) if error.kind() == io::ErrorKind::AlreadyExists => file,
            Err((error, _)) => return Err(error),
        };
        free = name.numbered(number);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Why a file was not received.
#[derive(Debug, Error)]
enum DownloadError {
    /// The disk is full or broken.
    #[error("it cannot be stored: {0}")]
    Io(#[from] io::Error),
    /// The body was altered or cut on its way.
    #[error("it did not arrive whole: {0}")]
    NotOpened(#[from] SealError),
}
