//! Uploads: a file is sealed while it is read and sent. Its size costs no memory.
//!
//! To a fernchat server an [`Upload`] goes piece by piece: between two pieces the sending thread does what else there is to do. If the
//! connection breaks, the upload goes on over the next one where the server has what came before. For that the file is sealed again with the
//! same time stamp and random bytes, and gives the same body.
//!
//! A Python server gets the whole body in one dialogue, in which nothing else is said.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::Shared;
use super::dialogues::{Dialogues, Outcome};
use super::link::{Link, sealed_frame};
use super::pack::Folder;
use super::room_key::RoomKey;
use super::step::Expected;
use crate::screen::{Event, MAX_WORDS, Transfer, Words, shortened};
use crate::seal::{BodyHead, BodySealer, Key, random_text, token_len};
use crate::wire::command::{BODY_END, Command, HAVE_FILE, SEND_FILE, STOP_FILE};
use crate::wire::frame::{BODY_STEP, PieceLen, write_body};
use crate::wire::name::FileName;
use crate::wire::size;
use crate::wire::transfer::{FileOffer, about_file};

/// Why an upload failed: the user stopped it.
const STOPPED: &str = "it was stopped";

/// How much is sealed and not sent at once, in bytes, when an upload goes on.
const SKIP_LEN: u64 = 1 << 20;

/// Whether an upload is in progress, and whether the user wants to stop it.
#[derive(Default)]
pub(crate) struct UploadStop {
    is_in_progress: AtomicBool,
    is_asked_for: AtomicBool,
}

impl UploadStop {
    /// Stops the upload that is in progress. Returns whether there is one.
    pub(crate) fn ask(&self) -> bool {
        let is_in_progress = self.is_in_progress();
        self.is_asked_for.store(is_in_progress, Ordering::SeqCst);
        is_in_progress
    }

    /// Whether there is one.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.is_in_progress.load(Ordering::SeqCst)
    }

    fn is_asked_for(&self) -> bool {
        self.is_asked_for.load(Ordering::SeqCst)
    }

    /// An upload begins, or has come to its end.
    pub(super) fn set_in_progress(&self, is_in_progress: bool) {
        self.is_asked_for.store(false, Ordering::SeqCst);
        self.is_in_progress.store(is_in_progress, Ordering::SeqCst);
    }
}

/// A file that is to be shared.
pub(crate) struct FileToShare {
    name: FileName,
    len: u64,
    source: Source,
}

/// What is read of a file or a folder.
type Content = Box<dyn Read + Send>;

enum Source {
    /// With the time at which it was changed last.
    File(File, Option<SystemTime>),
    Folder(Folder),
}

impl FileToShare {
    /// Opens a file. What is wrong with it is found out here.
    pub(super) fn open(path: &Path) -> io::Result<FileToShare> {
        // Looked at before it is opened: to open a pipe is to wait for the program that writes into it.
        let metadata = path.metadata()?;
        if metadata.is_dir() {
            let reason = "it is a folder; /pack shares it as one file";
            return Err(io::Error::other(reason));
        }
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a plain file"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(FileToShare {
            name: FileName::from_peer(&name),
            len: metadata.len(),
            source: Source::File(File::open(path)?, metadata.modified().ok()),
        })
    }

    /// Opens a folder, which is packed while it is sent.
    pub(super) fn pack(path: &Path) -> io::Result<FileToShare> {
        let folder = Folder::open(path)?;
        let name = folder.name().to_string_lossy();
        Ok(FileToShare {
            name: FileName::from_peer(&format!("{name}.tar")),
            len: folder.len,
            source: Source::Folder(folder),
        })
    }

    /// Whether the file is as it was.
    fn is_unchanged(&self) -> bool {
        match &self.source {
            Source::File(file, changed_at) => file
                .metadata()
                .is_ok_and(|now| (now.len(), now.modified().ok()) == (self.len, *changed_at)),
            Source::Folder(folder) => folder.is_unchanged(),
        }
    }

    /// What the server gets, before it is sealed with its key: the file, or a token under the room key.
    fn plain(&self, room_key: Option<&RoomKey>, heads: &Heads) -> io::Result<(Plain, u64)> {
        let content: Content = match &self.source {
            Source::File(file, _) => {
                let mut file = file.try_clone()?;
                file.rewind()?;
                Box::new(file)
            }
            Source::Folder(folder) => Box::new(folder.read()),
        };
        Ok(match room_key {
            None => (Plain::File(content), self.len),
            Some(room_key) => {
                let front = Cursor::new(heads.front.clone());
                let content: Content = Box::new(front.chain(content));
                let len = self.sealed_len(heads);
                let sealer = BodySealer::again(&room_key.key, heads.inner, content, len);
                (Plain::Sealed(Box::new(sealer)), token_len(len))
            }
        })
    }

    /// The length of what the room key seals.
    fn sealed_len(&self, heads: &Heads) -> u64 {
        heads.front.len() as u64 + self.len
    }

    fn size(&self) -> String {
        size::in_words(self.len)
    }
}

/// See [`FileToShare::plain`].
enum Plain {
    File(Content),
    Sealed(Box<BodySealer<Content>>),
}

impl Plain {
    /// Why the file is not sealed as it is, if so.
    fn fault(&self) -> Option<String> {
        match self {
            Plain::File(_) => None,
            Plain::Sealed(sealer) => sealer.fault().map(ToString::to_string),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Plain::File(file) => file.read(buffer),
            Plain::Sealed(sealer) => sealer.read(buffer),
        }
    }
}

/// A file on its way to a fernchat server.
pub(crate) struct Upload {
    file: FileToShare,
    /// The one member who is offered the file, or nobody: then everybody is.
    to: String,
    id: String,
    /// The key of the server for which the upload was begun.
    key: Arc<Key>,
    heads: Heads,
    stage: Stage,
}

enum Stage {
    /// There is a connection, and the server does not know of the file, or of this connection.
    New,
    /// The server is to say from where on it wants the body.
    Offered,
    Sending(Box<Course>),
    /// The server is to say that it has the file.
    Sent,
}

/// A body on its way.
struct Course {
    body: BodySealer<Plain>,
    len: u64,
    /// How much of it is sealed, and where it is to be sent from.
    n_sealed: u64,
    from: u64,
    piece: Vec<u8>,
    piece_len: PieceLen,
    transfer: Transfer,
}

/// What the sending thread does next about an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on at once.
    Go,
    /// It waits for the server.
    Wait,
    /// The upload has come to its end.
    Over,
}

impl Upload {
    /// Nothing is sent yet.
    pub(super) fn new(file: FileToShare, to: &str, link: &Link) -> Upload {
        Upload {
            heads: Heads::fresh(link, &file.name),
            file,
            to: to.to_owned(),
            id: random_text(),
            key: Arc::clone(&link.key),
            stage: Stage::New,
        }
    }

    /// The file's name.
    pub(super) fn name(&self) -> &FileName {
        &self.file.name
    }

    /// The connection is lost. Returns whether the upload had begun.
    pub(super) fn disconnected(&mut self) -> bool {
        let stage = std::mem::replace(&mut self.stage, Stage::New);
        !matches!(stage, Stage::New)
    }

    /// Does what can be done now, at most one piece.
    pub(super) fn go_on(&mut self, link: &Link, stop: &UploadStop) -> io::Result<Next> {
        if stop.is_asked_for() && !matches!(self.stage, Stage::Sent) {
            return self.give_up(link, STOPPED);
        }
        match &mut self.stage {
            Stage::New => self.offer(link),
            Stage::Offered | Stage::Sent => Ok(Next::Wait),
            Stage::Sending(course) => {
                course.send_piece(link)?;
                if let Some(fault) = course.fault() {
                    return self.give_up(link, &fault);
                }
                if course.n_sealed == course.len {
                    self.stage = Stage::Sent;
                    return Ok(Next::Wait);
                }
                Ok(Next::Go)
            }
        }
    }

    fn offer(&mut self, link: &Link) -> io::Result<Next> {
        if self.key.as_str() != link.key.as_str() {
            // Another run of the server: it knows nothing.
            (self.key, self.id) = (Arc::clone(&link.key), random_text());
            self.heads = Heads::fresh(link, &self.file.name);
        }
        if !self.file.is_unchanged() {
            return self.give_up(link, "the file has changed since");
        }
        let room_key = link.shared.room_key.as_ref();
        let sealed_len = token_len(self.file.sealed_len(&self.heads));
        let len = token_len(room_key.map_or(self.file.len, |_| sealed_len));
        let offer = FileOffer {
            id: &self.id,
            len,
            name: self.file.name.as_str(),
            who: &self.to,
        };
        link.send(&[&offer.text()])?;
        self.stage = Stage::Offered;
        Ok(Next::Wait)
    }

    /// Takes what the server says about a file. If it is about another one, nothing happens. An error means that the connection is gone.
    pub(super) fn answered(&mut self, link: &Link, text: &str) -> io::Result<Next> {
        let name = &self.file.name;
        let about = |word| about_file(word, text).filter(|(id, _)| *id == self.id);
        if let Some((_, have)) = about(SEND_FILE) {
            if let (Stage::Offered, Ok(from)) = (&self.stage, have.parse()) {
                let course = match self.course(link, from) {
                    Ok(course) => course,
                    Err(error) => return self.give_up(link, &error.to_string()),
                };
                self.stage = Stage::Sending(Box::new(course));
                return Ok(Next::Go);
            }
        } else if let Some((_, result)) = about(HAVE_FILE) {
            link.shared.screen.show(Event::Unsigned {
                text: Words::of_peer(result),
                trust: link.shared.trust(),
            });
            return Ok(Next::Over);
        } else if let Some((_, reason)) = about(STOP_FILE) {
            let reason = shortened(reason.trim_end_matches('.'), MAX_WORDS);
            link.shared
                .show(&format!("The file {name} was not shared: {reason}."));
            if matches!(self.stage, Stage::Sending(_)) {
                link.send_bytes(&[BODY_END])?;
            }
            return Ok(Next::Over);
        }
        Ok(Next::Wait)
    }

    fn course(&self, link: &Link, from: u64) -> io::Result<Course> {
        let room_key = link.shared.room_key.as_ref();
        let (plain, len) = self.file.plain(room_key, &self.heads)?;
        let (name, shared) = (&self.file.name, &link.shared);
        if from == 0 && shared.screen.is_interactive() {
            let size = self.file.size();
            shared.show(&format!("Sharing {name} ({size}). /stop stops it."));
        }
        let body_len = token_len(len);
        Ok(Course {
            body: BodySealer::again(&link.key, self.heads.body, plain, len),
            len: body_len,
            n_sealed: 0,
            from: from.min(body_len),
            piece: Vec::new(),
            piece_len: PieceLen::default(),
            transfer: Transfer::begin(name.to_string(), from, body_len),
        })
    }

    /// Ends the upload from this side.
    fn give_up(&mut self, link: &Link, why: &str) -> io::Result<Next> {
        match self.stage {
            Stage::Sending(_) => link.send_bytes(&[BODY_END])?,
            // The server may have what came over an earlier connection, or wait for what is offered.
            _ => link.send(&[&format!("{STOP_FILE} {} {why}", self.id)])?,
        }
        link.shared.show(&format!(
            "The file {} was not shared: {why}.",
            self.file.name
        ));
        Ok(Next::Over)
    }
}

/// What makes a body differ from all others. The same heads give the same body again.
struct Heads {
    body: BodyHead,
    /// Of the token under the room key, inside the body.
    inner: BodyHead,
    /// What stands in front of the file there. Empty without a room key.
    front: String,
}

impl Heads {
    fn fresh(link: &Link, name: &FileName) -> Heads {
        let room_key = link.shared.room_key.as_ref();
        Heads {
            body: BodyHead::fresh(&link.key),
            inner: BodyHead::fresh(room_key.map_or(&link.key, |room_key| &room_key.key)),
            front: room_key.map_or(String::new(), |room_key| room_key.file_head(name)),
        }
    }
}

impl Course {
    /// Sends the next piece. What the server has is only sealed.
    fn send_piece(&mut self, link: &Link) -> io::Result<()> {
        if self.n_sealed < self.from {
            let most = SKIP_LEN.min(self.from - self.n_sealed);
            self.n_sealed += io::copy(&mut (&mut self.body).take(most), &mut io::sink())?;
            return Ok(());
        }
        self.piece.resize(self.piece_len.next(), 0);
        let n = self.body.read(&mut self.piece)?;
        link.send_bytes(&self.piece[..n])?;
        self.piece_len.wrote(n);
        self.n_sealed += n as u64;
        self.transfer.reached(&*link.shared.screen, self.n_sealed);
        Ok(())
    }

    /// Why the body is spoiled, if it is.
    fn fault(&self) -> Option<String> {
        let fault = self.body.fault().map(ToString::to_string);
        fault.or_else(|| self.body.source().fault())
    }
}

impl Dialogues {
    /// The dialogue in which a Python server gets a file. Until it is over, nothing else is said.
    pub(super) fn share_file(&self, file: &FileToShare) -> Outcome {
        self.link.dialogue.lock().is_open = true;
        let outcome = self.share_in_dialogue(file);
        self.link.end_dialogue()?;
        outcome
    }

    fn share_in_dialogue(&self, file: &FileToShare) -> Outcome {
        let shared: &Shared = &self.link.shared;
        let name = &file.name;
        let room_key = shared.room_key.as_ref();
        let heads = Heads::fresh(&self.link, name);
        let (mut plain, plain_len) = file.plain(room_key, &heads)?;
        let body_len = token_len(plain_len);

        self.begin(Command::FileTransfer)?;
        self.send_and_wait(name.as_str(), Expected::Words(vec![SEND_FILE]))?;
        self.expect(Expected::Result(name.to_string()));
        if shared.screen.is_interactive() {
            let size = file.size();
            self.show(&format!("Sharing {name} ({size}). /stop stops it."));
        }
        let stop = &shared.upload_stop;
        stop.set_in_progress(true);
        let stoppable = Stoppable {
            plain: &mut plain,
            stop,
        };
        let mut body = BodySealer::again(&self.link.key, heads.body, stoppable, plain_len);
        let mut transfer = Transfer::begin(name.to_string(), 0, body_len);
        let frame = sealed_frame(&self.link.key, &body_len.to_string());
        let send = |n_sent: u64, piece: &mut [u8]| {
            transfer.reached(&*shared.screen, n_sent);
            // A sealer does not fail: it gives the bytes that were announced, and says afterwards what is wrong with them.
            body.read(piece).unwrap_or(0)
        };
        write_body(&mut &*self.link, &frame, body_len, BODY_STEP, send)?;
        let fault = match body.fault().map(ToString::to_string) {
            Some(_) if stop.is_asked_for() => Some(STOPPED.to_owned()),
            fault => fault.or_else(|| plain.fault()),
        };
        stop.set_in_progress(false);

        let result = self.upload_result()?;
        match fault {
            Some(fault) => self.show(&format!("The file {name} was not shared: {fault}.")),
            None => self.show_result(&result),
        }
        Ok(())
    }
}

/// A file that cannot be read any more when the upload is to stop. A Python server must get the whole length, so this spoils the body.
struct Stoppable<'a> {
    plain: &'a mut Plain,
    stop: &'a UploadStop,
}

impl Read for Stoppable<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_asked_for() {
            return Err(io::Error::other(STOPPED));
        }
        self.plain.read(buffer)
    }
}

/// The body, piece by piece. Between two pieces the receiving thread may send a frame.
impl Write for &Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_bytes(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
