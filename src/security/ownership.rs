//! Whose files are: what a server that is root makes for an agent belongs to the user that the agent runs under.
//!
//! Nothing is reached by a path and no link is followed: agents may change what lies here at any time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, openat};

/// Who enters a tenant's folder besides the server: its user, who may not look around in it.
const PASSED_THROUGH: u32 = 0o710;

/// Makes a folder that is the server's own, with its parents. Where agents run under users of their own, these pass
/// through it; where not, there is nobody else who would.
pub fn create_own(path: &Path) -> io::Result<()> {
    let mode = if rustix::process::geteuid().is_root() {
        0o711
    } else {
        0o700
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Gives a folder and all in it to a user, unless the folder is the user's already.
pub fn give(folder: impl AsFd, user: u32) -> io::Result<()> {
    let folder = folder.as_fd();
    if fstat(folder)?.st_uid == user {
        return Ok(());
    }
    give_all(folder, user)
}

/// Gives a folder and all in it to a user.
pub fn give_all(folder: impl AsFd, user: u32) -> io::Result<()> {
    let folder = folder.as_fd();
    give_content(folder, user)?;
    // Last, so that what was left half done is done again. By its name, since the handle may be one that only finds.
    let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
    Ok(chownat(folder, ".", uid, gid, AtFlags::empty())?)
}

fn give_content(folder: BorrowedFd<'_>, user: u32) -> io::Result<()> {
    // The list needs a handle that reads, which this may not be.
    let listed = openat(
        folder,
        ".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for entry in Dir::read_from(&listed)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(&listed, name, flags, Mode::empty()) {
                Ok(inner) => {
                    give_all(&inner, user)?;
                    continue;
                }
                // It is no folder, or no longer one.
                Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {}
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
        match chownat(&listed, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Lets a user pass through the folder that holds this one, and no other user.
pub fn let_through_parent(folder: impl AsFd, user: u32) -> io::Result<()> {
    let parent = openat(
        folder,
        "..",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    if fstat(&parent)?.st_gid == user {
        return Ok(());
    }
    fchmod(&parent, Mode::from_raw_mode(PASSED_THROUGH))?;
    Ok(fchown(&parent, None, Some(Gid::from_raw(user)))?)
}
