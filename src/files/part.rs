//! Files that are being written. They have no name until they are whole, so nobody sees half of one, and nothing is left
//! of one that was never finished, whatever ends the server.

use std::fs::File;

use cap_std::fs::Dir;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fchmod, fstat, openat, renameat, renameat_with, statat, unlinkat,
};

use super::{EntryKind, Expected, FileError, FileTag, kind_of};
use crate::security::ownership;

/// The mode of files that are made here, before the process's mask.
const NEW_MODE: u32 = 0o644;

/// A file that is being written.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    /// What it is called meanwhile.
    name: String,
    /// Where it has that name now, if it has.
    named_in: Option<Dir>,
}

impl PartFile {
    /// A new file on the file system of a folder. `name` is what it is called there if it cannot be without a name, and for
    /// the moment in which it takes another's place.
    pub fn create(folder: &Dir, name: String) -> Result<Self, FileError> {
        if let Some(file) = nameless(folder) {
            return Ok(Self {
                file,
                name,
                named_in: None,
            });
        }
        let named_in = Some(folder.try_clone()?);
        let file = named(folder, &name)?;
        Ok(Self { file, name, named_in })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Another handle of the file.
    pub fn try_clone(&self) -> Result<File, FileError> {
        Ok(self.file.try_clone()?)
    }

    /// Gives the file its name in a folder, if what is there is what was expected. It has `mode`; without one, that of the file
    /// which it replaces, else that of any new file. It belongs to whom its folder belongs.
    /// Whether nothing had the name before.
    pub fn place(
        mut self,
        folder: &Dir,
        target: &str,
        expected: &Expected,
        mode: Option<u32>,
    ) -> Result<bool, FileError> {
        let there = match statat(folder, target, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(rustix::io::Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        if there
            .as_ref()
            .is_some_and(|there| kind_of(there) == EntryKind::Folder)
        {
            return Err(FileError::NotAFile);
        }
        expected.check(there.as_ref().map(FileTag::of))?;
        let kept = there
            .as_ref()
            .filter(|there| kind_of(there) == EntryKind::File)
            .map(|there| there.st_mode & 0o777);
        let mode = mode.or(kept).unwrap_or(NEW_MODE);
        fchmod(&self.file, Mode::from_raw_mode(mode))?;
        if rustix::process::geteuid().is_root() {
            ownership::give_file(&self.file, fstat(folder)?.st_uid)?;
        }
        self.file.sync_all()?;
        let from = self.take_name(folder)?;
        if *expected == Expected::Nothing {
            // Refused by the kernel when something has taken the name since.
            renameat_with(&from, self.name.as_str(), folder, target, RenameFlags::NOREPLACE).map_err(
                |errno| match errno {
                    rustix::io::Errno::EXIST => FileError::Changed,
                    errno => errno.into(),
                },
            )?;
        } else {
            renameat(&from, self.name.as_str(), folder, target)?;
        }
        self.named_in = None;
        Ok(there.is_none())
    }

    /// The folder in which it has its own name; one that has none gets it in this folder.
    fn take_name(&mut self, folder: &Dir) -> Result<Dir, FileError> {
        if let Some(named_in) = &self.named_in {
            return Ok(named_in.try_clone()?);
        }
        link(&self.file, folder, &self.name)?;
        self.named_in = Some(folder.try_clone()?);
        Ok(folder.try_clone()?)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if let Some(folder) = &self.named_in {
            let _gone = unlinkat(folder, self.name.as_str(), AtFlags::empty());
        }
    }
}

/// A file without a name, for reading back what was written. Nothing is left of it when it is dropped.
pub fn scratch(folder: &Dir, name: &str) -> Result<File, FileError> {
    if let Some(file) = nameless(folder) {
        return Ok(file);
    }
    let file = named(folder, name)?;
    unlinkat(folder, name, AtFlags::empty())?;
    Ok(file)
}

const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

fn named(folder: &Dir, name: &str) -> Result<File, FileError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, MODE)?.into())
}

/// A file without a name, where the file system has such.
#[cfg(target_os = "linux")]
fn nameless(folder: &Dir) -> Option<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    openat(folder, ".", flags, MODE).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Dir) -> Option<File> {
    None
}

/// Gives a name to a file without one.
#[cfg(target_os = "linux")]
fn link(file: &File, folder: &Dir, name: &str) -> Result<(), FileError> {
    use std::os::fd::AsRawFd as _;
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    let follow = AtFlags::SYMLINK_FOLLOW;
    Ok(rustix::fs::linkat(rustix::fs::CWD, own, folder, name, follow)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Dir, _: &str) -> Result<(), FileError> {
    // No file is without one here.
    Err(FileError::Missing)
}
