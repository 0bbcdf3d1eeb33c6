//! A file that comes from a page. It is kept in a temporary folder and shared from there, because a browser tells no path.
//!
//! It is the body of a request: a line with `@` and the one member whom it is for, or with nothing; a line with its name; then its content.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use tempfile::TempDir;

use crate::machine;
use crate::wire::name::FileName;

/// The longest line in front of the content, in bytes.
const MAX_LINE: u64 = 4096;

/// Takes a body of this length. Returns what the person would type to share the file, and the folder that it is in, which goes with it.
/// `name` becomes its name.
///
/// # Errors
/// The disk has no room for it, it cannot be written, or the page has gone.
pub(super) fn take(body: impl Read, len: u64, name: &mut String) -> io::Result<(String, TempDir)> {
    let mut body = BufReader::new(body.take(len));
    let mut to = String::new();
    for line in [&mut to, &mut *name] {
        body.by_ref().take(MAX_LINE).read_line(line)?;
    }
    *name = FileName::from_peer(name.trim_end_matches('\n')).to_string();
    let folder = tempfile::Builder::new().prefix("fernchat-").tempdir()?;
    if machine::free_space(folder.path()).is_some_and(|room| room < len) {
        let what = "the disk for temporary files has no room for it";
        return Err(io::Error::other(what));
    }
    let path = folder.path().join(&*name);
    io::copy(&mut body, &mut File::create_new(&path)?)?;
    if body.into_inner().limit() > 0 {
        return Err(io::Error::other("it did not come whole"));
    }
    Ok((format!("/file {} {}", to.trim(), path.display()), folder))
}
