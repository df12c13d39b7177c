//! Files of a workspace: told, read, written, moved, searched, packed and unpacked, all through the workspace's handle.
//!
//! The agent works in the same folders at the same time, and may plant anything there. So nothing is reached by a whole
//! path of the machine; a link is followed only as far as it stays in the workspace, and never on a walk; what is written
//! is whole before it has its name. It refuses what leads out, what passes a limit, and what is no file where one is
//! wanted. All of it may block.

pub mod changing;
pub mod listing;
pub mod packing;
pub mod part;
pub mod reading;
pub mod searching;
#[cfg(test)]
mod tests;
pub mod unpacking;
mod walking;

use std::fmt;
use std::io;
use std::path::Path;

use cap_std::fs::Dir;
use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

use crate::domain::{FilePath, InvalidName, Subdir};
use crate::security::workspace::{WorkspaceError, explain};
use crate::security::workspace_copy;

/// Why a file was not used as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no such file or folder")]
    Missing,
    /// The path leads out of the workspace.
    #[error("the path leads out of the workspace")]
    Outside,
    /// The way to it cannot be gone.
    #[error("it cannot be opened")]
    Path(#[source] WorkspaceError),
    /// It is a folder, a pipe, or the like.
    #[error("it is not a file")]
    NotAFile,
    /// It is not a folder, or something on the way to it is none.
    #[error("it is not a folder")]
    NotAFolder,
    /// There is something of this name.
    #[error("there is something of this name already")]
    Exists,
    /// There is something in the folder.
    #[error("the folder is not empty")]
    NotEmpty,
    /// A folder cannot be moved or copied into itself.
    #[error("a folder cannot be put into itself")]
    IntoItself,
    /// It is not as the caller last saw it.
    #[error("it is not as the request says that it is")]
    Changed,
    /// It is longer than files may be here.
    #[error("it has more than {max_bytes} bytes")]
    TooLong {
        /// How long they may be, in bytes.
        max_bytes: u64,
    },
    /// The workspace would hold more than it may.
    #[error("the workspace would hold more than it may")]
    Full,
    /// Nothing new may have this name.
    #[error("the name {0}")]
    Name(#[source] InvalidName),
    /// The pattern is none.
    #[error("the pattern is none: {0}")]
    Pattern(String),
    /// The archive is not taken.
    #[error("the archive is not taken: {0}")]
    Archive(#[from] unpacking::Refused),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(Errno::EXIST) => return Self::Exists,
            Some(Errno::NOTEMPTY) => return Self::NotEmpty,
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => return Self::Full,
            Some(Errno::NAMETOOLONG) => {
                return Self::Name(InvalidName::TooLong {
                    max: Subdir::MAX_PART_BYTES,
                    unit: "bytes",
                });
            }
            _ => {}
        }
        match explain(error) {
            WorkspaceError::Missing => Self::Missing,
            WorkspaceError::Outside => Self::Outside,
            WorkspaceError::NotAFolder => Self::NotAFolder,
            error => Self::Path(error),
        }
    }
}

impl From<rustix::io::Errno> for FileError {
    fn from(errno: rustix::io::Errno) -> Self {
        io::Error::from(errno).into()
    }
}

/// What something in a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link, wherever it leads.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// Something in a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path in the workspace. A name that is not UTF-8 is told with its bad bytes replaced.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// How long it is, in bytes.
    pub size_bytes: u64,
    /// When it was last written.
    pub modified_at: DateTime<Utc>,
    /// Who may do what with it, as `chmod` takes it.
    pub mode: u32,
    /// Which state of a file this is; `None` for what is no file.
    pub tag: Option<FileTag>,
    /// Where a link leads, as it is written.
    pub link_target: Option<String>,
}

/// Which state of a file's content it is: another one as soon as it is written or replaced. Its owner and its mode do not count: the
/// server itself gives files to their tenant's user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileTag {
    inode: u64,
    written_ns: i128,
    size_bytes: u64,
}

impl fmt::Display for FileTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.inode, self.written_ns, self.size_bytes)
    }
}

impl FileTag {
    fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            written_ns: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            size_bytes: size(stat),
        }
    }
}

impl Entry {
    /// What is at `name` of this folder; a link is told of itself.
    fn at(folder: &impl std::os::fd::AsFd, name: &std::ffi::CStr, path: String) -> Result<Self, FileError> {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind_of(&stat);
        let link_target = if kind == EntryKind::Link {
            let target = readlinkat(folder, name, Vec::new())?;
            Some(target.to_string_lossy().into_owned())
        } else {
            None
        };
        Ok(Self::of(&stat, kind, path, link_target))
    }

    fn of(stat: &Stat, kind: EntryKind, path: String, link_target: Option<String>) -> Self {
        Self {
            path,
            kind,
            size_bytes: size(stat),
            modified_at: modified(stat),
            mode: stat.st_mode & 0o7777,
            tag: (kind == EntryKind::File).then(|| FileTag::of(stat)),
            link_target,
        }
    }
}

/// What the caller takes a file to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Expected {
    /// Anything.
    #[default]
    Anything,
    /// Nothing at all.
    Nothing,
    /// There is a file, whatever its state.
    Something,
    /// A file in one of these states, as they were told.
    Tags(Vec<String>),
}

impl Expected {
    /// Holds it against what is there.
    fn check(&self, there: Option<FileTag>) -> Result<(), FileError> {
        let holds = match (self, there) {
            (Self::Anything, _) | (Self::Nothing, None) | (Self::Something, Some(_)) => true,
            (Self::Nothing, Some(_)) | (Self::Something | Self::Tags(_), None) => false,
            (Self::Tags(tags), Some(there)) => tags.contains(&there.to_string()),
        };
        if holds { Ok(()) } else { Err(FileError::Changed) }
    }
}

/// The folder that holds what is at this path, and its name there.
fn holder<'a>(root: &Dir, path: &'a FilePath) -> Result<(Dir, &'a str), FileError> {
    let (folder, name) = path.split();
    let folder = match folder {
        Some(folder) => root.open_dir(folder)?,
        None => root.try_clone()?,
    };
    Ok((folder, name))
}

/// The folder of this path, or the workspace itself.
fn folder_at(root: &Dir, path: Option<&FilePath>) -> Result<Dir, FileError> {
    Ok(match path {
        Some(path) => root.open_dir(path.as_str())?,
        None => root.try_clone()?,
    })
}

/// Whether there is a folder at this path that can be entered.
pub fn check_folder(root: &Dir, path: Option<&FilePath>) -> Result<(), FileError> {
    folder_at(root, path).map(|_| ())
}

/// Opens a folder that is no link, also if one has been put in its place since.
fn open_own(parent: &Dir, name: &str) -> Result<Dir, FileError> {
    Ok(workspace_copy::open_own(parent, Path::new(name))?)
}

fn kind_of(stat: &Stat) -> EntryKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn modified(stat: &Stat) -> DateTime<Utc> {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    DateTime::from_timestamp(stat.st_mtime, nanoseconds).unwrap_or_default()
}

fn nanoseconds(seconds: i64, nanoseconds: impl Into<i128>) -> i128 {
    i128::from(seconds) * 1_000_000_000 + nanoseconds.into()
}
