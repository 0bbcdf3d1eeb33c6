//! Uploads: a file is sealed while it is read and sent. Its size costs no memory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dialogues::{Dialogues, Outcome};
use super::link::{Link, sealed_frame};
use super::step::Expected;
use crate::machine;
use crate::screen::Transfer;
use crate::seal::{BodySealer, token_len};
use crate::wire::command::{BODY_END, Command, Dialect, NO_BODY, SEND_FILE, after};
use crate::wire::frame::{BODY_STEP, write_body};
use crate::wire::name::FileName;
use crate::wire::size;

/// Why an upload failed: the user stopped it.
const STOPPED: &str = "it was stopped";

/// Whether an upload is in progress, and whether the user wants to stop it.
#[derive(Default)]
pub(crate) struct UploadStop {
    is_in_progress: AtomicBool,
    is_asked_for: AtomicBool,
}

impl UploadStop {
    /// Stops the upload that is in progress. Returns whether there is one.
    pub(crate) fn ask(&self) -> bool {
        self.is_asked_for.store(true, Ordering::SeqCst);
        self.is_in_progress.load(Ordering::SeqCst)
    }

    fn is_asked_for(&self) -> bool {
        self.is_asked_for.load(Ordering::SeqCst)
    }
}

impl Dialogues {
    /// The dialogue in which a file is shared. What is wrong with the file is found out before it begins.
    pub(super) fn share(&self, path: &str) -> Outcome {
        if path.is_empty() {
            self.show("No file named, nothing done.");
            return Ok(());
        }
        let path = &machine::typed_path(path);
        match open(path) {
            Ok((file, len)) => self.upload(path, &file, len),
            Err(error) => {
                self.show(&format!("Cannot share {}: {error}.", path.display()));
                Ok(())
            }
        }
    }

    fn upload(&self, path: &Path, file: &File, len: u64) -> Outcome {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = FileName::from_peer(&name);
        let room_key = self.link.shared.room_key.as_ref();
        // Under a room key, the file that the server gets is a token.
        let head = room_key.map_or(String::new(), |room_key| room_key.file_head(&name));
        let inner_len = head.len() as u64 + len;
        let plain_len = room_key.map_or(len, |_| token_len(inner_len));
        let body_len = token_len(plain_len);

        self.begin(Command::FileTransfer)?;
        let permission = self.send_and_wait(name.as_str(), Expected::Words(vec![SEND_FILE]))?;
        let permission = String::from_utf8_lossy(&permission);
        let longest: Option<u64> = after(SEND_FILE, &permission).and_then(|len| len.parse().ok());
        self.expect(Expected::Result(name.to_string()));
        if longest.is_some_and(|longest| body_len > longest) {
            let size = size::in_words(len);
            self.show(&format!("{name} has {size}: more than this server takes."));
            self.link.send(&[NO_BODY])?;
            return self.upload_result().map(drop);
        }

        if self.link.shared.screen.is_interactive() {
            let size = size::in_words(len);
            self.show(&format!("Sharing {name} ({size}). Ctrl-C stops it."));
        }
        self.stop.is_asked_for.store(false, Ordering::SeqCst);
        self.stop.is_in_progress.store(true, Ordering::SeqCst);
        let inner = head.as_bytes().chain(file);
        let mut inner = room_key.map(|room_key| BodySealer::new(&room_key.key, inner, inner_len));
        let plain: &mut dyn Read = match &mut inner {
            Some(inner) => inner,
            None => &mut &*file,
        };
        let stop = &self.stop;
        let mut body = BodySealer::new(&self.link.key, Stoppable { plain, stop }, plain_len);
        let mut transfer = Transfer::begin(&*self.link.shared.screen, name.to_string(), body_len);
        let frame = sealed_frame(&self.link.key, &body_len.to_string());
        let n_sent = write_body(
            &mut &*self.link,
            &frame,
            body_len,
            BODY_STEP,
            |n_sent, piece| {
                transfer.reached(n_sent);
                if n_sent > 0 && stop.is_asked_for() && self.link.server == Dialect::Fernchat {
                    return 0;
                }
                // A sealer does not fail: it gives the bytes that were announced, and says afterwards what is wrong with them.
                body.read(piece).unwrap_or(0)
            },
        )?;
        transfer.reached(n_sent);
        if n_sent < body_len {
            self.link.send_bytes(&[BODY_END])?;
        }
        stop.is_in_progress.store(false, Ordering::SeqCst);
        let mut fault = body.fault().map(ToString::to_string);
        if n_sent < body_len || stop.is_asked_for() && fault.is_some() {
            fault = Some(STOPPED.to_owned());
        }
        let fault = fault.or_else(|| inner.as_ref()?.fault().map(ToString::to_string));

        let result = self.upload_result()?;
        match fault {
            Some(fault) => self.show(&format!("{name} was not shared: {fault}.")),
            None => self.show_result(&result),
        }
        Ok(())
    }
}

/// A file that cannot be read any more when the upload is to stop. Towards a Python server, which must get the whole length, this spoils
/// the body.
struct Stoppable<'a> {
    plain: &'a mut dyn Read,
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

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Looked at before it is opened: to open a pipe is to wait for the program that writes into it.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    Ok((File::open(path)?, metadata.len()))
}
