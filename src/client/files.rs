//! Files: one is read and sealed, or received and opened, as a stream. Constant memory whatever the size.
//!
//! A received file is written under a temporary name beside its place, and gets its final name only when the whole token has been
//! verified. The final name is a base name, and never that of a file that exists.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::dialogues::{Dialogues, Outcome, Stop};
use super::link;
use super::step::Expected;
use crate::machine;
use crate::seal::{BodyOpener, BodySealer, Key, SealError, is_token_len, token_len};
use crate::terminal::completion;
use crate::wire::command::{BODY_END, Command, Dialect, NO_BODY, SEND_FILE, after};
use crate::wire::frame::{BODY_STEP, TOKEN_START};
use crate::wire::name::FileName;
use crate::wire::size;

/// How many names are tried for a received file: `name (1).ext` and so on.
const MAX_NUMBER: u32 = 9999;

/// Checks that files can be received into this folder.
///
/// # Errors
/// They cannot; what to do about it.
pub fn check_folder(folder: &Path) -> Result<(), String> {
    let error = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => io::ErrorKind::NotADirectory.into(),
        Err(error) => error,
    };
    Err(format!(
        "cannot receive files into {}: {error}; choose another folder with --downloads",
        folder.display()
    ))
}

impl Dialogues {
    /// The dialogue in which a file is shared. What is wrong with the file is found out before it begins.
    pub(super) fn share(&self, path: &str) -> Outcome {
        let path = &completion::path(path);
        match open(path) {
            Ok((file, len)) => self.upload(path, file, len),
            Err(error) => {
                self.show(&format!("Cannot share {}: {error}.", path.display()));
                Ok(())
            }
        }
    }

    fn upload(&self, path: &Path, file: File, len: u64) -> Outcome {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy())
            .unwrap_or_default();
        let name = FileName::from_peer(&name);
        let room_key = self.shared.room_key.as_ref();
        // Under a room key, what the server is sent as a file is the token of one.
        let plain_len = if room_key.is_some() {
            token_len(len)
        } else {
            len
        };
        let length = token_len(plain_len);
        self.begin(Command::FileTransfer)?;
        let permission = self.ask(name.as_str(), Expected::Words(vec![SEND_FILE]))?;
        let permission = String::from_utf8_lossy(&permission);
        let longest = after(SEND_FILE, &permission).and_then(|longest| longest.parse().ok());
        self.expect(Expected::Result(name.to_string()));
        if longest.is_some_and(|longest: u64| length > longest) {
            self.show(&format!(
                "{name} has {}: more than this server takes.",
                size::in_words(len)
            ));
            self.link.send(&[NO_BODY])?;
            return self.upload_result().map(drop);
        }

        if self.shared.terminal.is_interactive() {
            self.show(&format!(
                "Sharing {name} ({}). Ctrl-C stops it.",
                size::in_words(len)
            ));
        }
        let under_way = self.stop.under_way();
        let mut inner = room_key.map(|room_key| BodySealer::new(room_key, &file, len));
        let plain: &mut dyn Read = match &mut inner {
            Some(inner) => inner,
            None => &mut &file,
        };
        // Stopped, the rest is made up, and the body spoiled.
        let mut body = BodySealer::new(
            self.link.key(),
            Stoppable {
                plain,
                stop: &self.stop,
            },
            plain_len,
        );
        let mut progress = self.shared.terminal.progress(name.to_string(), length);
        let mut step = link::sealed_frame(self.link.key(), &length.to_string());
        let mut filled = step.len();
        let mut left = length;
        step.resize(BODY_STEP, 0);
        loop {
            // A sealer of a body does not fail: it gives the bytes that were announced, and says afterwards what is wrong with them.
            let n = body.read(&mut step[filled..]).unwrap_or(0);
            if n == 0 {
                break;
            }
            self.link.send_bytes(&step[..filled + n])?;
            filled = 0;
            progress.add(n);
            left -= n as u64;
            // Behind the last byte it would be no part of the body any more.
            if left > 0 && self.stop.is_asked_for() && self.link.server == Dialect::Fernchat {
                self.link.send_bytes(&[BODY_END])?;
                break;
            }
        }
        drop(under_way);
        let is_stopped = left > 0 || self.stop.is_asked_for() && body.fault().is_some();
        let stopped = is_stopped.then(|| STOPPED.to_owned());
        let fault = stopped.or_else(|| body.fault().map(ToString::to_string));
        let fault = fault.or_else(|| inner.as_ref()?.fault().map(ToString::to_string));
        let result = self.upload_result()?;
        match fault {
            Some(fault) => self.show(&format!("{name} was not shared: {fault}.")),
            None => self.show_result(&result)?,
        }
        Ok(())
    }
}

/// Why an upload came to nothing that the person did not want any more.
const STOPPED: &str = "it was stopped";

/// What fails to be read as soon as it is to be stopped.
struct Stoppable<'a, R> {
    plain: R,
    stop: &'a Stop,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_asked_for() {
            Err(io::Error::other(STOPPED))
        } else {
            self.plain.read(buffer)
        }
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Looked at before it is opened: to open a pipe is to wait for whoever writes into it.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder",
        ));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a plain file",
        ));
    }
    Ok((File::open(path)?, metadata.len()))
}

/// What a received file is to those who have a room key, or none.
#[derive(Debug)]
pub enum Seal {
    /// It was not sealed with a room key.
    None,
    /// It was, and the room key opened it.
    Opened,
    /// It was, and is still, for this reason.
    Closed(&'static str),
}

/// A file that is being received.
pub struct Download {
    /// What the server's key opens, or why there is none of it any more.
    outer: Result<Opening, DownloadError>,
    inner: Inner,
    folder: PathBuf,
}

/// What the room key opens of that. Both files are kept, since this one turns out to be nothing only at its end.
struct Inner {
    /// With a room key.
    opening: Option<Result<Opening, DownloadError>>,
    /// Whether the file begins like a token; `None` before its first bytes.
    is_sealed: Option<bool>,
}

impl Download {
    /// Begins a file in this folder, whose body comes under this key; what is sealed once more is opened with the room key.
    pub fn begin(folder: &Path, key: &Key, room_key: Option<&Key>) -> Download {
        let inner = Inner {
            opening: room_key.map(|room_key| Opening::begin(folder, room_key)),
            is_sealed: None,
        };
        Download {
            outer: Opening::begin(folder, key),
            inner,
            folder: folder.to_owned(),
        }
    }

    /// Takes the next bytes of the body. What goes wrong is kept for [`Download::finish`]: the rest of the body must be
    /// taken off the stream in any case.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Ok(outer) = &mut self.outer {
            match outer.write(bytes) {
                Ok(()) => self.inner.write(&outer.plain),
                // The temporary file is removed as it is dropped.
                Err(error) => self.outer = Err(error),
            }
        }
    }

    /// The body is complete: verifies it, and gives the file its name. Returns where it lies. What is still sealed bears a name that
    /// says so.
    ///
    /// # Errors
    /// It was not stored, or is not what its sender sent. Nothing is left of it.
    pub fn finish(mut self, name: &FileName) -> Result<(PathBuf, Seal), DownloadError> {
        let (outer, last) = self.outer?.finish()?;
        self.inner.write(&last);
        let len = outer.as_file().metadata().map_err(DownloadError::Io)?.len();
        if self.inner.is_sealed != Some(true) || !is_token_len(len) {
            return Ok((give_name(outer, &self.folder, name)?, Seal::None));
        }
        let why = match self
            .inner
            .opening
            .map(|inner| inner.and_then(Opening::finish))
        {
            Some(Ok((file, _))) => return Ok((give_name(file, &self.folder, name)?, Seal::Opened)),
            Some(Err(DownloadError::NotOpened(_))) => "this room key does not open it",
            Some(Err(DownloadError::Io(_))) => "opened, it could not be stored",
            None => "there is no room key here",
        };
        let name = FileName::from_peer(&format!("{name}.sealed"));
        Ok((give_name(outer, &self.folder, &name)?, Seal::Closed(why)))
    }
}

impl Inner {
    fn write(&mut self, plain: &[u8]) {
        if plain.is_empty()
            || !*self
                .is_sealed
                .get_or_insert_with(|| plain.starts_with(TOKEN_START))
        {
            return;
        }
        if let Some(Ok(opening)) = &mut self.opening {
            if let Err(error) = opening.write(plain) {
                self.opening = Some(Err(error));
            }
        }
    }
}

/// A body that is opened into a temporary file.
struct Opening {
    opener: BodyOpener,
    /// What the last bytes opened to.
    plain: Vec<u8>,
    file: NamedTempFile,
}

impl Opening {
    fn begin(folder: &Path, key: &Key) -> Result<Opening, DownloadError> {
        let file = machine::temporary_file(folder).map_err(DownloadError::Io)?;
        Ok(Opening {
            opener: BodyOpener::new(key),
            plain: Vec::new(),
            file,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.plain.clear();
        self.opener
            .update(bytes, &mut self.plain)
            .map_err(DownloadError::NotOpened)?;
        self.file.write_all(&self.plain).map_err(DownloadError::Io)
    }

    /// The file, and what was opened last.
    fn finish(mut self) -> Result<(NamedTempFile, Vec<u8>), DownloadError> {
        self.plain.clear();
        self.opener
            .finish(&mut self.plain)
            .map_err(DownloadError::NotOpened)?;
        self.file
            .write_all(&self.plain)
            .map_err(DownloadError::Io)?;
        Ok((self.file, self.plain))
    }
}

/// Gives a file a name in its folder that is free: this one, or `name (1).ext` and so on.
fn give_name(
    mut file: NamedTempFile,
    folder: &Path,
    name: &FileName,
) -> Result<PathBuf, DownloadError> {
    let mut free = name.clone();
    for number in 1..=MAX_NUMBER {
        let path = folder.join(free.as_str());
        match file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => file = taken.file,
            Err(other) => return Err(DownloadError::Io(other.error)),
        }
        free = name.numbered(number);
    }
    Err(DownloadError::Io(io::ErrorKind::AlreadyExists.into()))
}

/// Why a file was not received.
#[derive(Debug)]
pub enum DownloadError {
    /// The disk is full or broken.
    Io(io::Error),
    /// The body is not a token of the server's key: it was altered or cut on its way.
    NotOpened(SealError),
}

impl std::fmt::Display for DownloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            DownloadError::Io(error) => write!(f, "it cannot be stored: {error}"),
            DownloadError::NotOpened(error) => write!(f, "it did not arrive whole: {error}"),
        }
    }
}
