//! Makes a workspace what it was: writes what differs, removes what was not there, leaves alone what was not kept.
//!
//! All of it goes by handles, from the workspace's own downwards, and never through a link: whatever somebody puts in its way
//! meanwhile, nothing outside of the workspace is touched. Begun again, it does what is left to be done.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use cap_std::fs::Dir;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fstat, mkdirat, openat, readlinkat, renameat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::index::Stamp;
use super::object::{ObjectId, Objects, digest, share, sync_file_system};
use super::taking::{FILE_MODE, FOLDER_MODE, open_file, permissions};
use super::tree::{Kind, PathBytes, Tree};
use super::{CheckpointError, Patience};
use crate::security::ownership;
use crate::security::walk::Folder;

/// What something is called until it is whole, or while it is removed.
const PART: &str = ".paddock-restore";
/// How deep is gone into what is removed, before it is moved up.
const REMOVED_DEPTH: u32 = 32;
/// The permissions of a folder that is being filled.
const OPEN_MODE: u32 = 0o700;

/// What going back came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// How many files, folders and links were written.
    pub written: u64,
    /// How many were removed.
    pub removed: u64,
    /// What was not kept, and is as it was found.
    pub not_kept: Vec<String>,
}

/// What a folder is to hold, by name.
#[derive(Debug, Default)]
struct Wanted<'a> {
    entries: BTreeMap<&'a OsStr, (&'a Kind, Wanted<'a>)>,
}

impl<'a> Wanted<'a> {
    fn of(tree: &'a Tree) -> Result<Self, CheckpointError> {
        let mut wanted = Self::default();
        for entry in &tree.entries {
            wanted.add(entry.path.as_bytes(), &entry.is).ok_or_else(|| {
                CheckpointError::Damaged(format!("{:?} lies in no folder of it", entry.path))
            })?;
        }
        Ok(wanted)
    }

    fn add(&mut self, path: &'a [u8], kind: &'a Kind) -> Option<()> {
        let (first, rest) = match path.iter().position(|byte| *byte == b'/') {
            Some(at) => (path.get(..at)?, Some(path.get(at + 1..)?)),
            None => (path, None),
        };
        if matches!(first, b"" | b"." | b"..") || first.contains(&0) {
            return None;
        }
        let name = OsStr::from_bytes(first);
        let Some(rest) = rest else {
            self.entries.insert(name, (kind, Wanted::default()));
            return Some(());
        };
        match self.entries.get_mut(name)? {
            (Kind::Folder { .. }, inner) => inner.add(rest, kind),
            _ => None,
        }
    }
}

/// Makes a workspace what it was.
pub(super) fn restore(
    tree: &Tree,
    objects: &Objects,
    known: HashMap<PathBytes, (Stamp, ObjectId)>,
    workspace: &Dir,
) -> Result<Restored, CheckpointError> {
    let wanted = Wanted::of(tree)?;
    // Nothing is touched while it is not sure that all is there.
    if let Some(missing) = tree.objects().find(|object| !objects.has(*object)) {
        return Err(CheckpointError::Damaged(format!(
            "what a file held is gone: {missing}"
        )));
    }
    let folder = Folder::of(workspace)?;
    let owner = fstat(&folder).map_err(io::Error::from)?.st_uid;
    let mut restorer = Restorer {
        objects,
        known,
        owner: rustix::process::geteuid().is_root().then_some(owner),
        done: Restored {
            not_kept: tree.not_kept().map(|(path, _)| path.shown()).collect(),
            ..Restored::default()
        },
        parts: 0,
    };
    restorer.folder(&folder, &wanted, &mut Vec::new())?;
    sync_file_system(&folder)?;
    Ok(restorer.done)
}

struct Restorer<'a> {
    objects: &'a Objects,
    known: HashMap<PathBytes, (Stamp, ObjectId)>,
    /// To whom it is given, where the server can give.
    owner: Option<u32>,
    done: Restored,
    parts: u64,
}

impl Restorer<'_> {
    fn folder(
        &mut self,
        folder: &Folder,
        wanted: &Wanted<'_>,
        path: &mut Vec<u8>,
    ) -> Result<(), CheckpointError> {
        let mut found: Vec<CString> = Vec::new();
        folder.for_each(|name, _| {
            found.push(name.to_owned());
            Ok(())
        })?;
        for name in found {
            if !wanted.entries.contains_key(OsStr::from_bytes(name.to_bytes())) {
                self.remove(folder, &name)?;
                self.done.removed += 1;
            }
        }
        for (name, (kind, inner)) in &wanted.entries {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            let name = CString::new(name.as_bytes()).map_err(io::Error::from)?;
            let done = match kind {
                Kind::Folder { mode } => self.inner_folder(folder, &name, *mode, inner, path),
                Kind::File { mode, holds, .. } => self.file(folder, &name, *mode, *holds, path),
                Kind::Link { to } => self.link(folder, &name, to),
                Kind::NotKept { .. } => Ok(()),
            };
            path.truncate(length);
            done?;
        }
        Ok(())
    }

    fn inner_folder(
        &mut self,
        folder: &Folder,
        name: &CString,
        mode: u32,
        wanted: &Wanted<'_>,
        path: &mut Vec<u8>,
    ) -> Result<(), CheckpointError> {
        let inner = match kind_of(folder, name)? {
            Some(FileType::Directory) => {
                make_enterable(folder, name)?;
                folder.enter(name)?
            }
            Some(_) => {
                self.remove(folder, name)?;
                None
            }
            None => None,
        };
        let inner = match inner {
            Some(inner) => inner,
            None => self.new_folder(folder, name)?,
        };
        self.folder(&inner, wanted, path)?;
        // Last, since it may be one into which nothing can be written.
        if permissions(fstat(&inner).map_err(io::Error::from)?.st_mode) & FOLDER_MODE != mode {
            fchmod(&inner, raw(mode)).map_err(io::Error::from)?;
        }
        Ok(())
    }

    fn new_folder(&mut self, folder: &Folder, name: &CString) -> io::Result<Folder> {
        mkdirat(folder, name, raw(OPEN_MODE))?;
        let inner = folder.enter(name)?.ok_or_else(swapped)?;
        if let Some(owner) = self.owner {
            ownership::give_file(&inner, owner)?;
        }
        self.done.written += 1;
        Ok(inner)
    }

    fn file(
        &mut self,
        folder: &Folder,
        name: &CString,
        mode: u32,
        holds: ObjectId,
        path: &[u8],
    ) -> Result<(), CheckpointError> {
        match kind_of(folder, name)? {
            Some(FileType::RegularFile) => {
                if self.is_as_wanted(folder, name, mode, holds, path)? {
                    return Ok(());
                }
            }
            Some(FileType::Directory) => self.remove(folder, name)?,
            Some(_) | None => {}
        }
        let part = self.new_part(folder)?;
        let written = self.write(folder, &part, mode, holds);
        let placed =
            written.and_then(|()| Ok(renameat(folder, &part, folder, name).map_err(io::Error::from)?));
        if placed.is_err() {
            // Nothing half written is left.
            let _gone = unlinkat(folder, &part, AtFlags::empty());
        }
        self.done.written += u64::from(placed.is_ok());
        placed
    }

    /// Whether a file needs nothing; its permissions are set.
    fn is_as_wanted(
        &self,
        folder: &Folder,
        name: &CString,
        mode: u32,
        holds: ObjectId,
        path: &[u8],
    ) -> io::Result<bool> {
        let file = match open_file(folder, name) {
            Ok(handle) => File::from(handle),
            // It cannot be read, or is something else by now: another takes its place.
            Err(_refused) => return Ok(false),
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(false);
        }
        let stamp = Stamp::of(&stat);
        let known = self.known.get(&PathBytes::new(path.to_vec()));
        let content = if let Some((_, content)) = known.filter(|(known, _)| *known == stamp) {
            Some(*content)
        } else {
            let read = digest(&mut &file, &mut io::sink(), u64::MAX, &Patience::endless())?;
            read.map(|(id, _)| id)
        };
        if content != Some(holds) {
            return Ok(false);
        }
        if permissions(stat.st_mode) & FILE_MODE == mode {
            return Ok(true);
        }
        // What has another name may lie outside of the workspace too.
        if stat.st_nlink != 1 {
            return Ok(false);
        }
        fchmod(&file, raw(mode))?;
        Ok(true)
    }

    fn write(
        &self,
        folder: &Folder,
        part: &CString,
        mode: u32,
        holds: ObjectId,
    ) -> Result<(), CheckpointError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = openat(folder, part, flags, raw(0o600)).map_err(io::Error::from)?;
        let mut file = File::from(handle);
        let mut object = self.objects.open(holds)?;
        let patience = Patience::endless();
        let written = if share(&file, &object) {
            let read = digest(&mut file, &mut io::sink(), u64::MAX, &patience)?;
            file.rewind()?;
            read
        } else {
            digest(&mut object, &mut file, u64::MAX, &patience)?
        };
        if written.map(|(id, _)| id) != Some(holds) {
            return Err(CheckpointError::Damaged(format!(
                "what a file held is not what it was: {holds}"
            )));
        }
        if let Some(owner) = self.owner {
            ownership::give_file(&file, owner)?;
        }
        Ok(fchmod(&file, raw(mode)).map_err(io::Error::from)?)
    }

    fn link(&mut self, folder: &Folder, name: &CString, to: &PathBytes) -> Result<(), CheckpointError> {
        match kind_of(folder, name)? {
            Some(FileType::Symlink) => {
                let now = readlinkat(folder, name, Vec::new()).map_err(io::Error::from)?;
                if now.to_bytes() == to.as_bytes() {
                    return Ok(());
                }
            }
            Some(FileType::Directory) => self.remove(folder, name)?,
            Some(_) | None => {}
        }
        let part = self.new_part(folder)?;
        symlinkat(to.as_path(), folder, &part).map_err(io::Error::from)?;
        if let Some(owner) = self.owner {
            let (uid, gid) = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)));
            chownat(folder, &part, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)?;
        }
        renameat(folder, &part, folder, name).map_err(io::Error::from)?;
        self.done.written += 1;
        Ok(())
    }

    /// A name that nothing in a folder has.
    fn new_part(&mut self, folder: &Folder) -> io::Result<CString> {
        loop {
            self.parts += 1;
            let name = CString::new(format!("{PART}-{}", self.parts))?;
            if kind_of(folder, &name)?.is_none() {
                return Ok(name);
            }
        }
    }

    /// Removes what has a name in a folder, with all that it holds, however deep that is.
    fn remove(&mut self, folder: &Folder, name: &CString) -> io::Result<()> {
        let mut waiting = vec![name.clone()];
        while let Some(name) = waiting.pop() {
            self.remove_some(folder, folder, &name, 0, &mut waiting)?;
        }
        Ok(())
    }

    /// Removes what has a name in a folder. What lies too deep in it is moved to `top`, and waits there.
    fn remove_some(
        &mut self,
        top: &Folder,
        folder: &Folder,
        name: &CString,
        depth: u32,
        waiting: &mut Vec<CString>,
    ) -> io::Result<()> {
        match kind_of(folder, name)? {
            None => return Ok(()),
            Some(FileType::Directory) => {}
            Some(_) => {
                return match unlinkat(folder, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
        }
        if depth >= REMOVED_DEPTH {
            let part = self.new_part(top)?;
            renameat(folder, name, top, &part)?;
            waiting.push(part);
            return Ok(());
        }
        make_enterable(folder, name)?;
        if let Some(inner) = folder.enter(name)? {
            let mut names: Vec<CString> = Vec::new();
            inner.for_each(|name, _| {
                names.push(name.to_owned());
                Ok(())
            })?;
            for name in names {
                self.remove_some(top, &inner, &name, depth + 1, waiting)?;
            }
        }
        match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What has a name in a folder, if anything has.
fn kind_of(folder: &Folder, name: &CString) -> io::Result<Option<FileType>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Lets the owner of a folder into it, and write there.
fn make_enterable(folder: &Folder, name: &CString) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, flags | OFlags::RDONLY, Mode::empty()) {
        Ok(handle) => open_up(&handle),
        #[cfg(target_os = "linux")]
        Err(Errno::ACCESS) => {
            // Only found, and then changed by its handle: a path could lead elsewhere by now.
            let handle = openat(folder, name, flags | OFlags::PATH, Mode::empty())?;
            let own = format!("/proc/self/fd/{}", handle.as_raw_fd());
            let open = std::os::unix::fs::PermissionsExt::from_mode(OPEN_MODE);
            std::fs::set_permissions(own, open)
        }
        Err(error) => Err(error.into()),
    }
}

fn open_up(folder: &OwnedFd) -> io::Result<()> {
    let mode = permissions(fstat(folder.as_fd())?.st_mode);
    if mode & OPEN_MODE != OPEN_MODE && !rustix::process::geteuid().is_root() {
        fchmod(folder, raw(mode | OPEN_MODE))?;
    }
    Ok(())
}

/// A mode as the system takes it, where it is of another type.
fn raw(mode: u32) -> Mode {
    Mode::from_bits_truncate(narrowed(mode))
}

fn narrowed<T: TryFrom<u32> + Default>(mode: u32) -> T {
    T::try_from(mode).unwrap_or_default()
}

fn swapped() -> io::Error {
    io::Error::other("a folder that was just made is something else by now")
}
