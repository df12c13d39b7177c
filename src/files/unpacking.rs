//! Archives that are unpacked into a workspace: all of one, or nothing.
//!
//! An archive is a stranger's word. Names that are absolute, climb, or are no text are refused, and so are links, devices, what
//! comes twice, what is encrypted, and more entries or bytes than are allowed, counted as they come out and not as the
//! archive tells. Everything is unpacked beside the target first, and moved into it once all of it was good.

mod tar_gz;
#[cfg(test)]
mod tests;
mod zipped;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use rustix::fs::{FlockOperation, flock};

use super::changing::{ensure_folder, merge, remove_all};
use super::listing::{Held, Room};
use super::packing::ArchiveFormat;
use super::part::PartFile;
use super::{Expected, FileError, open_own};
use crate::domain::{FilePath, InvalidName};
use crate::security::ownership;

/// What folders are called in which archives are unpacked, before they are whole.
const STAGING: &str = ".paddock-unpacking-";
/// The mode of files that an archive says no mode of.
const USUAL_MODE: u32 = 0o644;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct UnpackLimits {
    /// Bytes, unpacked.
    pub max_bytes: u64,
    /// Files and folders.
    pub max_entries: u64,
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is none of this form, or is damaged.
    #[error("it is no whole archive of this form ({0})")]
    Damaged(String),
    /// A name cannot be used.
    #[error("the name of {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: InvalidName,
    },
    /// A name is no UTF-8.
    #[error("a name is no UTF-8: {0:?}")]
    NotText(String),
    /// It holds a link.
    #[error("{0:?} is a link")]
    Link(String),
    /// It holds a device, a pipe, or something else that is neither file nor folder.
    #[error("{0:?} is neither a file nor a folder")]
    Special(String),
    /// Something comes twice, or lies in a file.
    #[error("{0:?} comes twice, or lies in a file")]
    Twice(String),
    /// Something is encrypted.
    #[error("{0:?} is encrypted")]
    Encrypted(String),
    /// There is too much in it.
    #[error("it holds more than {max_bytes} bytes")]
    TooLarge {
        /// How much it may hold.
        max_bytes: u64,
    },
    /// There are too many in it.
    #[error("it holds more than {max_entries} files and folders")]
    TooMany {
        /// How many it may hold.
        max_entries: u64,
    },
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpacked {
    /// Files.
    pub files: u64,
    /// Folders, also such as were there.
    pub folders: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

/// How an archive is to be unpacked.
#[derive(Debug, Clone)]
pub struct UnpackOrder {
    /// Its form.
    pub format: ArchiveFormat,
    /// The folder into which it goes, made where it is missing; the workspace itself when absent.
    pub folder: Option<FilePath>,
    /// Whether files that are there are replaced; else, if there is one, nothing is unpacked.
    pub overwrite: bool,
    /// What it is called until it is whole.
    pub part: String,
}

/// Unpacks an archive into a workspace.
pub fn unpack(
    root: &Dir,
    archive: File,
    order: &UnpackOrder,
    limits: UnpackLimits,
    quota: Room,
) -> Result<Unpacked, FileError> {
    sweep(root);
    let staging = Staging::make(root, &order.part)?;
    let mut writer = Writer {
        folder: &staging.folder,
        limits,
        quota,
        told: Unpacked::default(),
        files: HashSet::new(),
        folders: HashSet::new(),
    };
    match order.format {
        ArchiveFormat::TarGz => tar_gz::read(archive, &mut writer)?,
        ArchiveFormat::Zip => zipped::read(archive, &mut writer)?,
    }
    let told = writer.told;
    if rustix::process::geteuid().is_root() {
        ownership::give_all(&staging.folder, rustix::fs::fstat(root)?.st_uid)?;
    }
    let target = ensure_folder(root, order.folder.as_ref())?;
    merge(&staging.folder, &target, order.overwrite)?;
    Ok(told)
}

/// The folder in which an archive is unpacked. It is gone with this value, with all that is left in it.
struct Staging<'a> {
    root: &'a Dir,
    name: String,
    folder: Dir,
}

impl<'a> Staging<'a> {
    fn make(root: &'a Dir, part: &str) -> Result<Self, FileError> {
        let name = format!("{STAGING}{part}");
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        root.create_dir_with(&name, &builder)?;
        let folder = open_own(root, &name)?;
        // Held as long as it is used: one that nobody holds was left by a server that was killed.
        flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { root, name, folder })
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let _gone = remove_all(self.root, &self.name);
    }
}

/// Removes what a server that was killed has left.
fn sweep(root: &Dir) {
    let Ok(entries) = root.entries() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(STAGING)) else {
            continue;
        };
        let is_left = open_own(root, name)
            .is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok());
        if is_left {
            let _gone = remove_all(root, name);
        }
    }
}

/// Writes what comes out of an archive.
struct Writer<'a> {
    folder: &'a Dir,
    limits: UnpackLimits,
    quota: Room,
    told: Unpacked,
    files: HashSet<String>,
    folders: HashSet<String>,
}

impl Writer<'_> {
    fn count(&mut self) -> Result<(), FileError> {
        if self.told.files + self.told.folders >= self.limits.max_entries {
            let max_entries = self.limits.max_entries;
            return Err(Refused::TooMany { max_entries }.into());
        }
        self.quota.take(Held { bytes: 0, entries: 1 })
    }

    /// The folders above a path, and the path itself where it is one.
    fn folders(&mut self, path: &str) -> Result<(), FileError> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let folder = path.get(..end).unwrap_or(path);
            if self.files.contains(folder) {
                return Err(Refused::Twice(folder.to_owned()).into());
            }
            if !self.folders.contains(folder) {
                self.count()?;
                self.folder.create_dir(folder)?;
                self.told.folders += 1;
                self.folders.insert(folder.to_owned());
            }
        }
        Ok(())
    }

    /// A folder. The archive's own top is no news.
    fn folder(&mut self, raw: &[u8]) -> Result<(), FileError> {
        if matches!(raw, b"." | b"./") {
            return Ok(());
        }
        let path = name_of(raw)?;
        self.folders(path.as_str())
    }

    /// A file.
    fn file(&mut self, raw: &[u8], mode: Option<u32>, content: &mut impl Read) -> Result<(), FileError> {
        let path = name_of(raw)?;
        if self.files.contains(path.as_str()) || self.folders.contains(path.as_str()) {
            return Err(Refused::Twice(path.to_string()).into());
        }
        let (holder, name) = path.split();
        if let Some(holder) = holder {
            self.folders(holder)?;
        }
        self.count()?;
        let folder = match holder {
            Some(holder) => self.folder.open_dir(holder)?,
            None => self.folder.try_clone()?,
        };
        let part = PartFile::create(&folder, format!("{STAGING}part"))?;
        let left = self.limits.max_bytes - self.told.bytes;
        // One more than may come tells that more came.
        let mut content = content.take(left.saturating_add(1).min(room_for(self.quota).saturating_add(1)));
        let written = io::copy(&mut content, &mut part.file()).map_err(damaged)?;
        if written > left {
            let max_bytes = self.limits.max_bytes;
            return Err(Refused::TooLarge { max_bytes }.into());
        }
        self.quota.take(Held {
            bytes: written,
            entries: 0,
        })?;
        self.told.bytes += written;
        self.told.files += 1;
        self.files.insert(path.to_string());
        // What would run as somebody else does not.
        let mode = mode.map_or(USUAL_MODE, |mode| mode & 0o777 | 0o600);
        part.place(&folder, name, &Expected::Nothing, Some(mode))?;
        Ok(())
    }
}

/// The path that a name of an archive is.
fn name_of(raw: &[u8]) -> Result<FilePath, FileError> {
    let text = std::str::from_utf8(raw).map_err(|_not_text| Refused::NotText(shown(raw)))?;
    let refused = |reason| Refused::Name {
        name: shown(raw),
        reason,
    };
    if text.contains('\\') {
        // Which separates folders where the archive may have been made.
        return Err(refused(InvalidName::Backslash).into());
    }
    let path: FilePath = text.parse().map_err(refused)?;
    path.check_new().map_err(refused)?;
    Ok(path)
}

fn room_for(room: Room) -> u64 {
    room.bytes.unwrap_or(u64::MAX)
}

/// What reading an archive fails with: the disk's faults are the disk's, all others the archive's.
fn damaged(error: io::Error) -> FileError {
    if error.raw_os_error().is_some() {
        return error.into();
    }
    Refused::Damaged(error.to_string()).into()
}

/// A name as it is told.
fn shown(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).into_owned()
}
