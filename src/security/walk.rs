//! Going through a folder that others change at the same time: by handles, and never through a link.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, openat};

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
