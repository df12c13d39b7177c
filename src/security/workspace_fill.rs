//! Fills a workspace that is new or empty: in a folder of its own at first, from where all of it is moved up at once. So what fails
//! leaves nothing, and what others put there meanwhile is neither overwritten nor removed.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, MetadataExt as _};
use rustix::fs::{Gid, RenameFlags, Uid, fchown, renameat_with};

use super::walk::remove_all;
use super::workspace_copy::{CopyError, CopyLimits, copy_tree, open_own};

/// Whether there is nothing in a workspace.
pub fn check_empty(workspace: &Dir) -> Result<(), CopyError> {
    if workspace.entries()?.next().is_some() {
        return Err(CopyError::NotEmpty);
    }
    Ok(())
}

/// Copies all of a folder into a new one of the workspace's, of this name. May block.
pub fn copy_part(from: &Path, workspace: &Dir, part: &str, limits: CopyLimits) -> Result<(), CopyError> {
    let from = Dir::open_ambient_dir(from, cap_std::ambient_authority())?;
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    workspace.create_dir_with(part, &builder)?;
    let inner = open_own(workspace, Path::new(part))?;
    if rustix::process::geteuid().is_root() {
        // What is copied belongs to whom its folder belongs: the workspace's owner.
        let owner = workspace.dir_metadata()?;
        let (user, group) = (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid()));
        fchown(&inner, Some(user), Some(group)).map_err(io::Error::from)?;
    }
    copy_tree(&from, &inner, limits)
}

/// Moves all that a folder of the workspace holds up into it, and removes the folder; the names of what was moved. Where it fails,
/// what was moved is removed again. May block.
pub fn settle(workspace: &Dir, part: &str) -> Result<Vec<OsString>, CopyError> {
    for entry in workspace.entries()? {
        if entry?.file_name() != part {
            return Err(CopyError::NotEmpty);
        }
    }
    let inner = open_own(workspace, Path::new(part))?;
    let mut moved = Vec::new();
    for entry in inner.entries()? {
        let name = entry?.file_name();
        // Over nothing that came meanwhile.
        if let Err(error) = renameat_with(&inner, &name, workspace, &name, RenameFlags::NOREPLACE) {
            remove(workspace, &moved);
            return Err(match error {
                rustix::io::Errno::EXIST => CopyError::NotEmpty,
                error => CopyError::Failed(error.into()),
            });
        }
        moved.push(name);
    }
    workspace.remove_dir(part)?;
    Ok(moved)
}

/// Removes these of a workspace, as far as they are there. May block.
pub fn remove(workspace: &Dir, names: &[OsString]) {
    for name in names {
        // However deep: a repository may have been made to be deeper than a stack.
        let removed = CString::new(name.as_bytes())
            .map_err(io::Error::from)
            .and_then(|name| remove_all(workspace, &name));
        if let Err(error) = removed {
            tracing::warn!(%error, "what a workspace was to be filled with was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: CopyLimits = CopyLimits {
        max_bytes: 1000,
        max_entries: 10,
    };

    fn folders() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("from/sub")).unwrap();
        std::fs::create_dir(folder.path().join("to")).unwrap();
        std::fs::write(folder.path().join("from/sub/a.txt"), "hello").unwrap();
        std::fs::write(folder.path().join("from/.b"), "hello").unwrap();
        let to = Dir::open_ambient_dir(folder.path().join("to"), cap_std::ambient_authority()).unwrap();
        (folder, to)
    }

    fn names(dir: &Dir) -> Vec<OsString> {
        let mut names: Vec<_> = dir
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_filled_in_lies_in_the_workspace_itself_and_can_be_taken_back() {
        let (folder, to) = folders();
        check_empty(&to).unwrap();
        copy_part(&folder.path().join("from"), &to, ".part", ROOM).unwrap();
        assert_eq!(names(&to), [".part"]);
        let moved = settle(&to, ".part").unwrap();
        assert_eq!(names(&to), [".b", "sub"]);
        assert!(matches!(check_empty(&to), Err(CopyError::NotEmpty)));
        remove(&to, &moved);
        check_empty(&to).unwrap();
    }

    #[test]
    fn what_is_copied_belongs_to_the_workspaces_owner() {
        if !rustix::process::geteuid().is_root() {
            // Only root gives anything away.
            return;
        }
        let (folder, to) = folders();
        let somebody = Some(23_456);
        std::os::unix::fs::chown(folder.path().join("to"), somebody, somebody).unwrap();
        copy_part(&folder.path().join("from"), &to, ".part", ROOM).unwrap();
        settle(&to, ".part").unwrap();
        for path in ["sub", "sub/a.txt", ".b"] {
            assert_eq!(Some(to.symlink_metadata(path).unwrap().uid()), somebody, "{path}");
        }
    }

    #[test]
    fn what_others_put_there_meanwhile_stays() {
        let (folder, to) = folders();
        copy_part(&folder.path().join("from"), &to, ".part", ROOM).unwrap();
        to.write("theirs", "x").unwrap();
        assert!(matches!(settle(&to, ".part"), Err(CopyError::NotEmpty)));
        remove(&to, &[".part".into()]);
        assert_eq!(names(&to), ["theirs"]);
        remove(&to, &["never there".into()]);
    }
}
