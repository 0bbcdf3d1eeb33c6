//! Packing: a folder as one file, a `.tar`, made while it is read. Its length is known before, and it takes no room on the disk.
//!
//! Links are packed as links. What is no file, folder or link is left out.

use std::fs::{self, File, Metadata};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::vec;

use tar::{Builder, EntryType, Header};

/// What a file in an archive is filled up to, in bytes.
const BLOCK: u64 = 512;

/// An archive ends with two blocks of zeros.
const END: u64 = 2 * BLOCK;

/// The most files in a folder that is packed. Their names lie in memory.
const MAX_ENTRIES: usize = 100_000;

/// A folder that is to be packed.
#[derive(Clone)]
pub(crate) struct Folder {
    entries: Vec<Entry>,
    /// The length of the archive in bytes.
    pub len: u64,
}

#[derive(Clone)]
struct Entry {
    path: PathBuf,
    /// Its name in the archive.
    name: PathBuf,
    metadata: Metadata,
}

impl Folder {
    /// Looks at everything in a folder.
    pub(crate) fn open(path: &Path) -> io::Result<Folder> {
        Folder::open_up_to(path, MAX_ENTRIES)
    }

    /// The same with at most this many files. An error comes as soon as there are more.
    fn open_up_to(path: &Path, most: usize) -> io::Result<Folder> {
        let name = path.canonicalize()?;
        let name = name
            .file_name()
            .ok_or_else(|| io::Error::other("it has no name"))?;
        let mut entries = vec![Entry {
            path: path.to_owned(),
            name: name.into(),
            metadata: path.metadata()?,
        }];
        let mut at = 0;
        while at < entries.len() {
            if entries[at].metadata.is_dir() {
                let mut found = entries[at].children(most - entries.len())?;
                found.sort_by(|one, other| one.name.cmp(&other.name));
                entries.append(&mut found);
            }
            at += 1;
        }
        let mut len = END;
        for entry in &entries {
            len += entry.header()?.len() as u64 + entry.content_len().next_multiple_of(BLOCK);
        }
        Ok(Folder { entries, len })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Path {
        &self.entries[0].name
    }

    /// Whether everything in it is as it was.
    pub(crate) fn is_unchanged(&self) -> bool {
        let path = &self.entries[0].path;
        Folder::open(path).is_ok_and(|now| {
            let pairs = now.entries.iter().zip(&self.entries);
            now.entries.len() == self.entries.len()
                && pairs.into_iter().all(|(now, then)| now.is_as(then))
        })
    }

    /// Reads the archive.
    pub(crate) fn read(&self) -> Archive {
        Archive {
            entries: self.entries.clone().into_iter(),
            bytes: Cursor::default(),
            file: None,
            open: None,
            is_at_end: false,
        }
    }
}

impl Entry {
    fn children(&self, most: usize) -> io::Result<Vec<Entry>> {
        let mut children = Vec::new();
        for child in fs::read_dir(&self.path)? {
            let child = child?;
            let metadata = child.metadata()?;
            if metadata.is_file() || metadata.is_dir() || metadata.is_symlink() {
                if children.len() == most {
                    let reason = format!("it has more than {MAX_ENTRIES} files");
                    return Err(io::Error::other(reason));
                }
                children.push(Entry {
                    path: child.path(),
                    name: self.name.join(child.file_name()),
                    metadata,
                });
            }
        }
        Ok(children)
    }

    fn content_len(&self) -> u64 {
        if self.metadata.is_file() {
            self.metadata.len()
        } else {
            0
        }
    }

    fn is_as(&self, other: &Entry) -> bool {
        let of = |entry: &Entry| {
            let metadata = &entry.metadata;
            (
                entry.name.clone(),
                entry.content_len(),
                metadata.modified().ok(),
            )
        };
        of(self) == of(other)
    }

    /// What stands in front of its content: the name, with as many blocks as a long one takes, and what else is known of it.
    fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = Header::new_gnu();
        header.set_metadata(&self.metadata);
        header.set_size(self.content_len());
        let mut builder = Builder::new(Vec::new());
        if self.metadata.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(&self.path)?;
            builder.append_link(&mut header, &self.name, target)?;
        } else {
            builder.append_data(&mut header, &self.name, io::empty())?;
        }
        Ok(builder.get_ref().clone())
    }
}

/// An archive that is made while it is read. A file that shrank or cannot be read is an error.
pub(crate) struct Archive {
    entries: vec::IntoIter<Entry>,
    /// A header, what a file is filled up with, or the end.
    bytes: Cursor<Vec<u8>>,
    /// The file whose header has been read, and how many bytes of it are to come.
    file: Option<(Entry, u64)>,
    open: Option<File>,
    is_at_end: bool,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.bytes.read(buffer)?;
            if n > 0 || buffer.is_empty() || self.is_at_end && self.file.is_none() {
                return Ok(n);
            }
            match &mut self.file {
                Some((_, 0)) => self.fill_up(),
                Some((entry, left)) => {
                    let file = match &mut self.open {
                        Some(file) => file,
                        none => none.insert(File::open(&entry.path)?),
                    };
                    let n = file.take(*left).read(buffer)?;
                    *left -= n as u64;
                    if n == 0 {
                        return Err(io::Error::other("a file in it shrank while it was sent"));
                    }
                    return Ok(n);
                }
                None => self.next_entry()?,
            }
        }
    }
}

impl Archive {
    /// The file has been read to its end.
    fn fill_up(&mut self) {
        self.open = None;
        if let Some((entry, _)) = self.file.take() {
            let len = entry.content_len();
            let n = len.next_multiple_of(BLOCK) - len;
            self.bytes = Cursor::new(vec![0; n as usize]);
        }
    }

    fn next_entry(&mut self) -> io::Result<()> {
        let bytes = match self.entries.next() {
            Some(entry) => {
                let header = entry.header()?;
                let len = entry.content_len();
                self.file = Some((entry, len));
                header
            }
            None => {
                self.is_at_end = true;
                vec![0; END as usize]
            }
        };
        self.bytes = Cursor::new(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_length_that_was_announced_and_holds_everything() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("photos");
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        for (name, len) in [
            ("a.txt", 0),
            ("b.bin", 511),
            ("sub/c.bin", 512),
            (&long, 70_000),
        ] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![7; len]).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("a.txt", folder.join("link")).unwrap();
        let packed = Folder::open(&folder).unwrap();
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        packed.read().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, packed.len);
        // In small pieces it is the same.
        let mut archive = packed.read();
        let mut piece = [0; 100];
        while let n @ 1.. = archive.read(&mut piece).unwrap() {
            again.extend_from_slice(&piece[..n]);
        }
        assert!(bytes == again);
        let out = home.path().join("out");
        tar::Archive::new(&bytes[..]).unpack(&out).unwrap();
        for (name, len) in [
            ("a.txt", 0),
            ("b.bin", 511),
            ("sub/c.bin", 512),
            (&long, 70_000),
        ] {
            let read = fs::read(out.join("photos").join(name)).unwrap();
            assert!(read == vec![7; len], "{name}");
        }
        #[cfg(unix)]
        assert!(out.join("photos/link").is_symlink());
        assert!(packed.is_unchanged());
        let n_entries = packed.entries.len();
        assert!(Folder::open_up_to(&folder, n_entries).is_ok());
        let error = Folder::open_up_to(&folder, n_entries - 1).err().unwrap();
        assert!(error.to_string().contains("it has more than"), "{error}");
        fs::write(folder.join("sub/c.bin"), "changed").unwrap();
        assert!(!packed.is_unchanged());
        let error = packed.read().read_to_end(&mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("shrank"), "{error}");
    }
}
