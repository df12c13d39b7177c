//! Reading files: whole, or open for whoever reads them piece by piece.

use std::fs::File;
use std::io::Read as _;

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{OFlags, fstat};

use super::{Entry, EntryKind, FileError, kind_of};
use crate::domain::FilePath;

/// An open file, and what it is.
#[derive(Debug)]
pub struct OpenFile {
    /// The file.
    pub file: File,
    /// What it is: of the file that is open, whatever has its name by now.
    pub entry: Entry,
}

/// Opens a file. A link is followed as far as it stays in the workspace.
pub fn open(root: &Dir, path: &FilePath) -> Result<OpenFile, FileError> {
    let mut options = OpenOptions::new();
    // Opening a pipe would wait for its other end.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    options.read(true).custom_flags(flags);
    let file = match root.open_with(path.as_str(), &options) {
        Ok(file) => file.into_std(),
        // What a socket, or a device that is not there, says.
        Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::NXIO) => {
            return Err(FileError::NotAFile);
        }
        Err(error) => return Err(error.into()),
    };
    let stat = fstat(&file)?;
    if kind_of(&stat) != EntryKind::File {
        return Err(FileError::NotAFile);
    }
    let entry = Entry::of(&stat, EntryKind::File, path.to_string(), None);
    Ok(OpenFile { file, entry })
}

/// Reads a whole file of at most so many bytes.
pub fn read(root: &Dir, path: &FilePath, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut data = Vec::new();
    let file = open(root, path)?.file;
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut data)?;
    if data.len() as u64 > max_bytes {
        return Err(FileError::TooLong { max_bytes });
    }
    Ok(data)
}
