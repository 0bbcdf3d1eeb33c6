//! Files: one is read and sealed, or received and opened, as a stream. Constant memory whatever the size.
//!
//! A received file is written under a temporary name beside its place, and gets its final name only when the whole token has been
//! verified. The final name is a base name, and never that of a file that exists.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::sending::{Expected, Sending, Silence};
use super::{link, ClientError};
use crate::machine;
use crate::seal::{token_len, BodyOpener, BodySealer, Key, SealError};
use crate::terminal::size;
use crate::wire::command::{after, Command, NO_BODY, SEND_FILE};
use crate::wire::frame::BODY_STEP;
use crate::wire::name::FileName;

/// How many names are tried for a received file: `name (1).ext` and so on.
const MAX_NUMBER: u32 = 9999;

/// Looks whether files can be received into this folder.
///
/// # Errors
/// They cannot.
pub fn check_folder(folder: &Path) -> Result<(), ClientError> {
    let refuse = |error| ClientError::Downloads(folder.to_owned(), error);
    match folder.metadata().map_err(refuse)?.is_dir() {
        true => Ok(()),
        false => Err(refuse(io::ErrorKind::NotADirectory.into())),
    }
}

impl Sending {
    /// The dialogue in which a file is shared. What is wrong with the file is found out before it begins.
    pub(super) fn share(&self, path: &str) -> Result<(), Silence> {
        let path = Path::new(path);
        match open(path) {
            Ok((file, len)) => self.upload(path, file, len),
            Err(error) => {
                self.terminal.show(&format!("Cannot share {}: {error}.", path.display()));
                Ok(())
            }
        }
    }

    fn upload(&self, path: &Path, file: File, len: u64) -> Result<(), Silence> {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let name = FileName::from_peer(&name);
        let length = token_len(len);
        self.begin(Command::FileTransfer)?;
        let permission = self.ask(name.as_str(), Expected::Words(vec![SEND_FILE]))?;
        let permission = String::from_utf8_lossy(&permission);
        let longest = after(SEND_FILE, &permission).and_then(|longest| longest.parse().ok());
        self.expect(Expected::Result(name.to_string()));
        if longest.is_some_and(|longest: u64| length > longest) {
            self.terminal.show(&format!("{name} has {}: more than this server takes.", size(len)));
            self.link.send(&[NO_BODY]).map_err(|_| Silence::Gone)?;
            return self.upload_result().map(drop);
        }

        let mut body = BodySealer::new(self.link.key(), file, len);
        let mut step = link::seal(self.link.key(), &length.to_string());
        let mut filled = step.len();
        step.resize(BODY_STEP, 0);
        loop {
            // A sealer of a body does not fail: it gives the bytes that were announced, and says afterwards what is wrong with them.
            let n = body.read(&mut step[filled..]).unwrap_or(0);
            if n == 0 {
                break;
            }
            self.link.send_bytes(&step[..filled + n]).map_err(|_| Silence::Gone)?;
            filled = 0;
        }
        let result = self.upload_result()?;
        match body.fault() {
            Some(fault) => self.terminal.show(&format!("{name} was not shared: {fault}.")),
            None => self.show_result(&result)?,
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Looked at before it is opened: to open a pipe is to wait for whoever writes into it.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
    }
    Ok((File::open(path)?, metadata.len()))
}

/// A file that is being received.
pub struct Download {
    opener: BodyOpener,
    /// Plain text that is not written yet.
    plain: Vec<u8>,
    /// The file, or why there is none any more.
    file: Result<NamedTempFile, DownloadError>,
    folder: PathBuf,
}

impl Download {
    /// Begins a file in this folder, whose body comes under this key.
    pub fn begin(folder: &Path, key: &Key) -> Download {
        let file = machine::temporary_file(folder).map_err(DownloadError::Io);
        Download { opener: BodyOpener::new(key), plain: Vec::new(), file, folder: folder.to_owned() }
    }

    /// Takes the next bytes of the body. What goes wrong is kept for [`Download::finish`]: the rest of the body must be
    /// taken off the stream in any case.
    pub fn write(&mut self, bytes: &[u8]) {
        let Ok(file) = &mut self.file else {
            return;
        };
        let opened = self.opener.update(bytes, &mut self.plain).map_err(DownloadError::NotOpened);
        let written = opened.and_then(|()| file.write_all(&self.plain).map_err(DownloadError::Io));
        self.plain.clear();
        if let Err(error) = written {
            // Dropped here, the temporary file is removed.
            self.file = Err(error);
        }
    }

    /// The body is complete: verifies it, and gives the file its name. Returns where it lies.
    ///
    /// # Errors
    /// It was not stored, or is not what its sender sent. Nothing is left of it.
    pub fn finish(mut self, name: &FileName) -> Result<PathBuf, DownloadError> {
        let mut file = self.file?;
        self.opener.finish(&mut self.plain).map_err(DownloadError::NotOpened)?;
        file.write_all(&self.plain).map_err(DownloadError::Io)?;
        let mut free = name.clone();
        for number in 1..=MAX_NUMBER {
            let path = self.folder.join(free.as_str());
            match file.persist_noclobber(&path) {
                Ok(_) => return Ok(path),
                Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => file = taken.file,
                Err(other) => return Err(DownloadError::Io(other.error)),
            }
            free = name.numbered(number);
        }
        Err(DownloadError::Io(io::ErrorKind::AlreadyExists.into()))
    }
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
