//! Takes a checkpoint: goes through a workspace by handles and reads what it does not know yet.
//!
//! An agent may change the workspace at the same time, and need not be friendly: nothing is followed through a link, nothing
//! but files is read, and what does not hold still is noted as not kept.

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::index::{NewIndex, Stamp};
use super::object::{NewObjects, ObjectId};
use super::tree::{Entry, Kind, NotKept, PathBytes, Tree};
use super::{CheckpointLimits, Patience, TakeError};
use crate::security::walk::Folder;

/// How often something is looked at again that does not hold still.
const TRIES: u32 = 3;
/// The permissions of a file that are kept. Who runs it does so as themselves.
pub(super) const FILE_MODE: u32 = 0o777;
/// The permissions of a folder that are kept.
pub(super) const FOLDER_MODE: u32 = 0o3777;

/// Goes through a workspace.
pub(super) struct Taker<'a> {
    limits: CheckpointLimits,
    patience: &'a Patience,
    /// What is known of files from before.
    known: HashMap<PathBytes, (Stamp, ObjectId)>,
    pub(super) new: NewObjects<'a>,
    pub(super) index: NewIndex,
    pub(super) tree: Tree,
    /// The contents so far, and how long they are together.
    seen: HashSet<ObjectId>,
    seen_bytes: u64,
}

/// What became of a look at an entry.
enum Look {
    Is(Kind),
    IsFolder(Kind, Folder),
    Gone,
    /// Something else was put in its place meanwhile.
    Again,
}

impl<'a> Taker<'a> {
    pub(super) fn new(
        limits: CheckpointLimits,
        patience: &'a Patience,
        known: HashMap<PathBytes, (Stamp, ObjectId)>,
        new: NewObjects<'a>,
        index: NewIndex,
    ) -> Self {
        Self {
            limits,
            patience,
            known,
            new,
            index,
            tree: Tree::default(),
            seen: HashSet::new(),
            seen_bytes: 0,
        }
    }

    /// Takes all that lies in a workspace.
    pub(super) fn take(&mut self, workspace: impl AsFd) -> Result<(), TakeError> {
        self.folder(&Folder::of(workspace)?, &mut Vec::new(), 1)
    }

    fn folder(&mut self, folder: &Folder, path: &mut Vec<u8>, depth: u32) -> Result<(), TakeError> {
        let room = self.limits.max_entries.saturating_sub(self.entries());
        let mut names: Vec<CString> = Vec::new();
        folder.for_each(|name, _| {
            // One more than there may be tells that there are too many.
            if names.len() as u64 <= room {
                names.push(name.to_owned());
            }
            Ok(())
        })?;
        if names.len() as u64 > room {
            return Err(TakeError::TooManyEntries);
        }
        names.sort();
        for name in names {
            self.patience.check()?;
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.to_bytes());
            let done = self.entry(folder, &name, path, depth);
            path.truncate(length);
            done?;
        }
        Ok(())
    }

    fn entries(&self) -> u64 {
        self.tree.entries.len() as u64
    }

    fn entry(
        &mut self,
        folder: &Folder,
        name: &CStr,
        path: &mut Vec<u8>,
        depth: u32,
    ) -> Result<(), TakeError> {
        for _ in 0..TRIES {
            match self.look(folder, name, path, depth)? {
                Look::Gone => return Ok(()),
                Look::Is(kind) => return self.note(path, kind),
                Look::IsFolder(kind, inner) => {
                    self.note(path, kind)?;
                    return self.folder(&inner, path, depth + 1);
                }
                Look::Again => {}
            }
        }
        match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.note(path, not_kept(NotKept::Changing, &Stamp::of(&stat))),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(TakeError::Io(error.into())),
        }
    }

    fn note(&mut self, path: &[u8], kind: Kind) -> Result<(), TakeError> {
        if self.entries() >= self.limits.max_entries {
            return Err(TakeError::TooManyEntries);
        }
        if let Kind::File { size, holds, .. } = kind
            && self.seen.insert(holds)
        {
            self.seen_bytes = self.seen_bytes.saturating_add(size);
            if self.seen_bytes > self.limits.max_bytes {
                return Err(TakeError::TooLarge);
            }
        }
        self.tree.entries.push(Entry {
            path: PathBytes::new(path.to_vec()),
            is: kind,
        });
        Ok(())
    }

    fn look(&mut self, folder: &Folder, name: &CStr, path: &[u8], depth: u32) -> Result<Look, TakeError> {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Look::Gone),
            Err(error) => return Err(TakeError::Io(error.into())),
        };
        let stamp = Stamp::of(&stat);
        let not_kept = |why| Ok(Look::Is(not_kept(why, &stamp)));
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth >= self.limits.max_depth => not_kept(NotKept::TooDeep),
            FileType::Directory => match folder.enter(name) {
                Ok(Some(inner)) => {
                    // The one that was entered, whatever was there when it was looked at.
                    let mode = permissions(fstat(&inner).map_err(io::Error::from)?.st_mode) & FOLDER_MODE;
                    Ok(Look::IsFolder(Kind::Folder { mode }, inner))
                }
                Ok(None) => Ok(Look::Again),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    not_kept(NotKept::Unreadable)
                }
                Err(error) => Err(error.into()),
            },
            FileType::Symlink => match readlinkat(folder, name, Vec::new()) {
                Ok(to) => Ok(Look::Is(Kind::Link {
                    to: PathBytes::new(to.into_bytes()),
                })),
                Err(Errno::INVAL | Errno::NOENT) => Ok(Look::Again),
                Err(error) => Err(TakeError::Io(error.into())),
            },
            FileType::RegularFile if stamp.size > self.limits.max_file_bytes => not_kept(NotKept::TooLarge),
            FileType::RegularFile => {
                let path = PathBytes::new(path.to_vec());
                if let Some((known, holds)) = self.known.get(&path)
                    && *known == stamp
                {
                    let holds = *holds;
                    self.index.note_again(path, stamp, holds);
                    return Ok(Look::Is(Kind::File {
                        mode: permissions(stat.st_mode) & FILE_MODE,
                        size: stamp.size,
                        holds,
                    }));
                }
                self.file(folder, name, path)
            }
            _ => not_kept(NotKept::Special),
        }
    }

    fn file(&mut self, folder: &Folder, name: &CStr, path: PathBytes) -> Result<Look, TakeError> {
        let mut file = match open_file(folder, name) {
            Ok(handle) => File::from(handle),
            Err(Errno::ACCESS | Errno::PERM) => {
                let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
                return Ok(match stat {
                    Ok(stat) => Look::Is(not_kept(NotKept::Unreadable, &Stamp::of(&stat))),
                    Err(_gone) => Look::Again,
                });
            }
            // A link, a pipe, a socket, or nothing.
            Err(Errno::LOOP | Errno::NXIO | Errno::NOENT | Errno::ISDIR | Errno::NODEV) => {
                return Ok(Look::Again);
            }
            Err(error) => return Err(TakeError::Io(error.into())),
        };
        let stat = fstat(&file).map_err(io::Error::from)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(Look::Again);
        }
        let before = Stamp::of(&stat);
        let max_bytes = self.limits.max_file_bytes;
        let Some(content) = self.new.add(&mut file, max_bytes, self.patience)? else {
            return Ok(Look::Is(not_kept(NotKept::TooLarge, &before)));
        };
        let stat = fstat(&file).map_err(io::Error::from)?;
        let after = Stamp::of(&stat);
        let held_still = after.holds_as(&before) && content.bytes == before.size;
        if !content.is_whole && !held_still {
            return Ok(Look::Again);
        }
        if after == before {
            self.index.note(path, before, content.id);
        }
        Ok(Look::Is(Kind::File {
            mode: permissions(stat.st_mode) & FILE_MODE,
            size: content.bytes,
            holds: content.id,
        }))
    }
}

/// Opens a file without following a link, and without waiting for a pipe's other end.
pub(super) fn open_file(folder: &Folder, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::empty())
}

/// A mode, which is of another type on other systems.
pub(super) fn permissions<T: Into<u32>>(mode: T) -> u32 {
    mode.into() & 0o7777
}

fn not_kept(why: NotKept, stamp: &Stamp) -> Kind {
    Kind::NotKept {
        why,
        size: stamp.size,
        changed: stamp.modified,
    }
}
