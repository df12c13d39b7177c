//! Whose files are: what a server that is root makes for an agent belongs to the user that the agent runs under.
//!
//! Nothing is reached by a path and no link is followed: agents may change what lies here at any time.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, fstat, openat};

use super::walk::{DEPTH_MAX, Folder, too_deep};

/// That all users may pass through a folder.
const PASS: u32 = 0o001;

/// Who enters a tenant's folder besides the server: its user, who may not look around in it.
const PASSED_THROUGH: u32 = 0o710;

/// Makes a folder that is the server's own, with its parents. Where agents run under users of their own, these may pass
/// through it, also through one that was there; else one that was there stays as it is.
pub fn create_own(path: &Path) -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let mode = if is_root { 0o711 } else { 0o700 };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)?;
    let now = std::fs::metadata(path)?.permissions().mode();
    if is_root && now & PASS == 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(now | PASS))?;
    }
    Ok(())
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
    give_levels(folder, user, DEPTH_MAX)
}

fn give_levels(folder: impl AsFd, user: u32, depth: u32) -> io::Result<()> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let (uid, gid) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
    let folder = Folder::of(folder)?;
    folder.for_each(|name, kind| {
        if matches!(kind, FileType::Directory | FileType::Unknown)
            && let Some(inner) = folder.enter(name)?
        {
            return give_levels(&inner, user, depth);
        }
        match chownat(&folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    })?;
    // Last, so that what was left half done is done again.
    Ok(fchown(&folder, uid, gid)?)
}

/// Gives an open file to a user.
pub fn give_file(file: impl AsFd, user: u32) -> io::Result<()> {
    Ok(fchown(
        file,
        Some(Uid::from_raw(user)),
        Some(Gid::from_raw(user)),
    )?)
}

/// Lets a user pass through the folder that holds this one, and no other user.
pub fn let_through_parent(folder: impl AsFd, user: u32) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat(folder, "..", flags, Mode::empty())?;
    if fstat(&parent)?.st_gid == user {
        return Ok(());
    }
    fchmod(&parent, Mode::from_raw_mode(PASSED_THROUGH))?;
    Ok(fchown(&parent, None, Some(Gid::from_raw(user)))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn all_of_a_folder_is_given_and_nothing_that_its_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let (given, outside) = (folder.path().join("given"), folder.path().join("outside"));
        std::fs::create_dir_all(given.join("a/b")).unwrap();
        std::fs::write(given.join("a/b/file"), "").unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), "").unwrap();
        symlink(&outside, given.join("a/link")).unwrap();
        symlink(outside.join("file"), given.join("file-link")).unwrap();
        // Only root can give to another; anyone can to itself.
        let own = rustix::process::geteuid().as_raw();
        let user = if own == 0 { 12_345 } else { own };
        give(std::fs::File::open(&given).unwrap(), user).unwrap();
        let owner = |path: &Path| std::fs::symlink_metadata(path).unwrap().uid();
        for inside in ["", "a", "a/b", "a/b/file", "a/link", "file-link"] {
            assert_eq!(owner(&given.join(inside)), user, "{inside}");
        }
        for beyond in [&outside, &outside.join("file"), folder.path()] {
            assert_eq!(owner(beyond), own, "{}", beyond.display());
        }
    }
}
