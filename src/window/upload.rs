//! A file that comes from a page, in pieces. It is kept in a temporary folder and shared from there, because a browser tells no path.
//!
//! The page sends the next piece when it is asked for one, so little is on its way at a time.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::machine;
use crate::wire::name::FileName;

/// A file that has not come whole yet.
pub(super) struct Upload {
    file: File,
    /// How many bytes are still to come.
    left: u64,
    path: PathBuf,
    /// The one member whom it is for. Empty: everybody.
    to: String,
    /// The file goes with it.
    folder: TempDir,
}

impl Upload {
    /// Begins a file of this name, in a folder of its own.
    ///
    /// # Errors
    /// The disk has no room for it, or it cannot be written.
    pub(super) fn begin(name: &str, len: &str, to: &str) -> io::Result<Upload> {
        let left = len.parse().map_err(io::Error::other)?;
        let folder = tempfile::Builder::new().prefix("fernchat-").tempdir()?;
        if machine::free_space(folder.path()).is_some_and(|room| room < left) {
            let what = "the disk for temporary files has no room for it";
            return Err(io::Error::other(what));
        }
        let path = folder.path().join(FileName::from_peer(name).as_str());
        Ok(Upload {
            file: File::create_new(&path)?,
            left,
            path,
            to: to.to_owned(),
            folder,
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// It is longer than the file was said to be, or cannot be written.
    pub(super) fn take(mut self, piece: &[u8]) -> io::Result<Upload> {
        let left = self.left.checked_sub(piece.len() as u64);
        let left = left.filter(|_| !piece.is_empty());
        self.left = left.ok_or_else(|| io::Error::other("it changed while it was read"))?;
        self.file.write_all(piece)?;
        Ok(self)
    }

    /// Whether it has come whole.
    pub(super) fn is_whole(&self) -> bool {
        self.left == 0
    }

    /// What the person would type to share the file, and the folder that it is in.
    pub(super) fn typed(self) -> (String, TempDir) {
        let to = match self.to.as_str() {
            "" => String::new(),
            to => format!("@{to} "),
        };
        let line = format!("/file {to}{}", self.path.display());
        (line, self.folder)
    }
}
