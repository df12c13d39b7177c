//! Going through a folder that others change at the same time: by handles, and never through a link.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;

/// How many levels of folders are gone into. Each takes an open folder, and room on a thread's stack; an agent makes them by
/// the thousand in a moment.
pub const DEPTH_MAX: u32 = 256;

/// What a folder says that is deeper than folders are gone into.
#[must_use]
pub fn too_deep() -> io::Error {
    io::Error::new(
        io::ErrorKind::QuotaExceeded,
        format!("folders lie in each other more than {DEPTH_MAX} levels deep"),
    )
}

/// An open folder that can be listed.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
}

impl Folder {
    /// The folder of a handle, which may be one that only finds.
    pub fn of(handle: impl AsFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(handle, ".", flags, Mode::empty())?;
        Ok(Self { handle })
    }

    /// Calls `with` for each entry but those that stand for this folder and its parent.
    pub fn for_each(&self, mut with: impl FnMut(&CStr, FileType) -> io::Result<()>) -> io::Result<()> {
        for entry in Dir::read_from(&self.handle)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                with(name, entry.file_type())?;
            }
        }
        Ok(())
    }

    /// The folder of this name in it; `None` when what is there is none, or no longer, or a link.
    pub fn enter(&self, name: &CStr) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => Ok(Some(Self { handle })),
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP | rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Removes what has this name in a folder, with all that it holds, however deep; what is not there is fine. Links are removed,
/// and not followed.
pub fn remove_all(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    let parent = parent.as_fd();
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let parent = Folder {
        handle: rustix::io::fcntl_dupfd_cloexec(parent, 0)?,
    };
    let Some(top) = parent.enter(name)? else {
        return Ok(unlinkat(&parent, name, AtFlags::empty())?);
    };
    // What lies in folders of folders is brought up to the top one, so that this goes no deeper than one level, whatever
    // the depth.
    let mut brought_up = 0_u64;
    loop {
        let mut is_empty = true;
        top.for_each(|folder, _| {
            is_empty = false;
            empty(&top, folder, &mut brought_up)
        })?;
        if is_empty {
            break;
        }
    }
    match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what has this name in a folder; the folders in it are brought up beside it.
fn empty(top: &Folder, name: &CStr, brought_up: &mut u64) -> io::Result<()> {
    match unlinkat(top, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(folder) = top.enter(name)? else {
        return Ok(());
    };
    folder.for_each(|inner, _| match unlinkat(&folder, inner, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => bring_up(top, &folder, inner, brought_up),
        Err(error) => Err(error.into()),
    })?;
    match unlinkat(top, name, AtFlags::REMOVEDIR) {
        // Something has been put there since: the next round sees it.
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Gives a folder a new name in the top one.
fn bring_up(top: &Folder, folder: &Folder, name: &CStr, brought_up: &mut u64) -> io::Result<()> {
    loop {
        *brought_up += 1;
        let new = format!(".removing-{brought_up}");
        match renameat_with(folder, name, top, new.as_str(), RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn all_of_a_folder_goes_however_deep_and_nothing_that_its_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), "").unwrap();
        std::fs::create_dir(folder.path().join("top")).unwrap();
        let root = cap_std::fs::Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let mut at = root.open_dir("top").unwrap();
        for _ in 0..5000 {
            at.create_dir("d").unwrap();
            at.create("file").unwrap();
            at.symlink_contents(&outside, "link").unwrap();
            at = at.open_dir("d").unwrap();
        }
        symlink(&outside, folder.path().join("link")).unwrap();
        std::fs::create_dir(folder.path().join("top/.removing-1")).unwrap();
        for name in [c"top", c"link", c"nothing"] {
            remove_all(&root, name).unwrap();
        }
        let left = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["outside"]);
        assert!(outside.join("file").exists());
    }
}
