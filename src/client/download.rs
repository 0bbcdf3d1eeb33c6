//! Downloads: files that the server delivers, opened as they arrive. Their size costs no memory.
//!
//! A delivery is three frames and a body: the offer, the name, the length. A Python server may send the name and the rest before the
//! client's two answers, and other frames between them. So the client remembers deliveries and does not wait for them. It gives both
//! answers in any case.
//!
//! A file that is too long for the settings or for the disk is not written: its body is taken off the stream and dropped.
//!
//! A received file is written under a temporary name in its folder. It gets its name when the whole body has been verified. The name
//! never leads out of the folder, and is never that of a file that exists.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::NamedTempFile;
use thiserror::Error;

use super::receiving::Receiving;
use super::room_key::RoomKey;
use super::step::is_line;
use super::{ClientError, ClientSettings};
use crate::machine;
use crate::screen::{Event, FileSeal, NotOpened, Received, Transfer, Trust, shortened};
use crate::seal::{BodyOpener, Key, RoomFile, SealError, is_token_len, token_len};
use crate::wire::command::{Dialect, SEND_FILE, SEND_FILENAME};
use crate::wire::frame::{BODY_STEP, Piece, TOKEN_START, WireError};
use crate::wire::name::{FileName, MAX_NAME_CHARACTERS};
use crate::wire::{name_set, size};

/// How many files a server may offer without sending one.
const MAX_OFFERS: usize = 64;

/// How many names are tried for a received file: `name (1).ext` and so on.
const MAX_NUMBER: u32 = 9999;

/// The files that the server has offered, and not sent yet.
#[derive(Default)]
pub(crate) struct Offers {
    /// Who shares the files whose names have not come yet. Empty: the server does not say.
    unnamed: VecDeque<String>,
    named: VecDeque<Offer>,
    /// A step of a dialogue that may have been the name of an offered file, which a Python server sends before it is asked. If a length
    /// comes and no name has, it was.
    mistaken: String,
}

/// A file whose body is due.
pub(crate) struct Offer {
    name: FileName,
    /// Who shares it. Empty: the server does not say.
    from: String,
}

/// A file's name and whose it is, as they are shown.
fn title(name: &FileName, from: &str) -> String {
    match from {
        "" => name.to_string(),
        from => format!("{name} from {from}"),
    }
}

impl Offers {
    /// Gives this name to the first file that has none. Returns whether there was one.
    fn name(&mut self, name: &str) -> bool {
        let Some(from) = self.unnamed.pop_front() else {
            return false;
        };
        let name = FileName::from_peer(name);
        self.named.push_back(Offer { name, from });
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
    /// The server offers a file.
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
            if let Some(offer) = self.offers.named.pop_front() {
                let length = text.parse();
                let length = length.map_err(|_| WireError::NotTheStep("the length of a body"))?;
                if self.offers.named.is_empty() && self.offers.unnamed.is_empty() {
                    self.link.no_answer_due();
                }
                self.receive(offer, length)?;
                return Ok(true);
            }
        }
        let may_be_name = self.link.server == Dialect::Fernchat || !is_line(text);
        Ok(may_be_name && self.named(text)?)
    }

    /// If a file needs this name, asks for its body.
    fn named(&mut self, name: &str) -> Result<bool, ClientError> {
        let is_needed = self.offers.name(name);
        if is_needed {
            self.link.answer(SEND_FILE)?;
        }
        Ok(is_needed)
    }

    /// Receives a body. Frames that come inside it are done at once.
    fn receive(&mut self, offer: Offer, length: u64) -> Result<(), ClientError> {
        let (link, shared) = (Arc::clone(&self.link), Arc::clone(&self.link.shared));
        let Offer { name, from } = offer;
        let title = title(&name, &from);
        if length == 0 {
            shared.show(&format!(
                "The file {title} is not coming: the server called it off."
            ));
            return Ok(());
        }
        if std::mem::replace(&mut link.dialogue.lock().is_receiving, true) {
            return Err(WireError::NotTheStep("the end of a body").into());
        }
        let folder = &shared.settings.downloads;
        let mut download = match obstacle(&shared.settings, length) {
            None => Some(Download::begin(folder, &link.key, shared.room_key.as_ref())),
            Some(obstacle) => {
                shared.show(&format!("The file {title} was not received: {obstacle}."));
                None
            }
        };
        // A token as long as the body may be the body itself: then only its text can tell.
        let is_frame = |token: &[u8]| match link.key.open(token) {
            Ok(text) => token.len() as u64 != length || has_frame_form(&text),
            Err(_) => false,
        };
        let mut transfer = Transfer::begin(&*shared.screen, title.clone(), length);
        let (mut piece, mut n_done) = (vec![0; BODY_STEP], 0);
        while n_done < length {
            match self.read(|frames| frames.next_piece(length - n_done, &mut piece, &is_frame))? {
                Piece::Body(n) => {
                    n_done += n as u64;
                    if let Some(download) = &mut download {
                        download.write(&piece[..n]);
                        transfer.reached(n_done);
                    }
                }
                Piece::Frame(token) => self.frame(&token)?,
            }
        }
        link.dialogue.lock().is_receiving = false;
        let Some(download) = download else {
            return Ok(());
        };
        let finished = download.finish(folder, &name, &from, shared.room_key.as_ref());
        shared.screen.show(match finished {
            Ok((path, seal)) => Event::Received(Received {
                title: match &seal {
                    FileSeal::Opened { who, .. } => self::title(&name, who.raw()),
                    _ => title,
                },
                size: path.metadata().ok().map(|file| file.len()),
                path,
                seal,
            }),
            Err(error) => Event::Notice(format!("The file {title} was not received: {error}.")),
        });
        Ok(())
    }
}

/// Why a file whose body has this length is not kept, if so. Its body must be taken off the stream all the same: a Python server
/// cannot stop.
fn obstacle(settings: &ClientSettings, length: u64) -> Option<String> {
    let size = length / 4 * 3;
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
    let room = machine::free_space(&settings.downloads).filter(|room| *room < size)?;
    let (size, room) = (in_words(size), in_words(room));
    Some(format!("it has {size}, and the disk has room for {room}"))
}

/// Whether an opened token has the form of something that a server says of its own accord, of an echo, or of a set.
fn has_frame_form(text: &[u8]) -> bool {
    name_set::decode(text).is_ok()
        || text.starts_with(b"/")
        || std::str::from_utf8(text).is_ok_and(is_line)
}

/// A file that is being received.
struct Download {
    /// What the server's key opens.
    outer: Result<Opening, DownloadError>,
    /// What the room key opens of that, if there is a room key. Only the end of the body shows which of the two is the file.
    inner: Option<Result<Opening, DownloadError>>,
}

impl Download {
    fn begin(folder: &Path, key: &Key, room_key: Option<&RoomKey>) -> Download {
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

    /// Verifies the body, and gives the file its name. Returns where it lies, and what its seal is. A file that is still
    /// sealed has a name that says so. After an error nothing is left of the file.
    fn finish(
        mut self,
        folder: &Path,
        name: &FileName,
        from: &str,
        room_key: Option<&RoomKey>,
    ) -> Result<(PathBuf, FileSeal), DownloadError> {
        let Opened {
            file: outer, last, ..
        } = self.outer?.finish()?;
        if !is_sealed(outer.as_file())? {
            let trust = self.inner.map_or(Trust::NoKey, |_| Trust::Unproven);
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
    file: NamedTempFile,
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
    file: NamedTempFile,
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
            file: machine::temporary_file(folder)?,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.plain.clear();
        self.opener.update(bytes, &mut self.plain)?;
        Ok(store(&mut self.file, &mut self.head, &self.plain)?)
    }

    fn finish(mut self) -> Result<Opened, DownloadError> {
        self.plain.clear();
        self.opener.finish(&mut self.plain)?;
        store(&mut self.file, &mut self.head, &self.plain)?;
        Ok(Opened {
            file: self.file,
            head: self.head.map_or(Vec::new(), |head| head.bytes),
            last: self.plain,
        })
    }
}

/// Writes what was opened, but for what stands in front of the file.
fn store(file: &mut NamedTempFile, head: &mut Option<Head>, plain: &[u8]) -> io::Result<()> {
    match head {
        Some(head) if !head.is_complete => file.write_all(&head.take(plain)),
        _ => file.write_all(plain),
    }
}

/// Gives a file a name in the folder that is free: this one, or `name (1).ext` and so on.
fn give_name(mut file: NamedTempFile, folder: &Path, name: &FileName) -> io::Result<PathBuf> {
    let mut free = name.clone();
    for number in 1..=MAX_NUMBER {
        let path = folder.join(free.as_str());
        match file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => file = taken.file,
            Err(other) => return Err(other.error),
        }
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
