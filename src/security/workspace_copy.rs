//! Copies a workspace into another, through directory handles: nothing outside of the two is read or written.
//!
//! Links are copied as links, never followed. Pipes, sockets and devices are left out.

use std::io;
use std::path::Path;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, MetadataExt as _};
use rustix::fs::{Mode, OFlags, openat};

use super::ownership;
use super::walk::DEPTH_MAX;

/// How much is copied at most.
#[derive(Debug, Clone, Copy)]
pub struct CopyLimits {
    /// Bytes.
    pub max_bytes: u64,
    /// Files, folders and links.
    pub max_entries: u64,
}

/// Why a workspace was not copied. What was copied before stays.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something in the new one.
    #[error("the new workspace is not empty")]
    NotEmpty,
    /// It is more than may be copied.
    #[error("the workspace is larger than may be copied")]
    TooLarge,
    /// The file system failed.
    #[error("the workspace was not copied")]
    Failed(#[from] io::Error),
}

/// Copies all of `from` into `to`, which must be empty. May block.
pub fn copy_tree(from: &Dir, to: &Dir, limits: CopyLimits) -> Result<(), CopyError> {
    if to.entries()?.next().is_some() {
        return Err(CopyError::NotEmpty);
    }
    let target = to.dir_metadata()?;
    let mut copier = Copier {
        left: limits,
        // Where the new one lies in the old one, it is not copied into itself.
        target: (target.dev(), target.ino()),
    };
    copier.copy(from, to, DEPTH_MAX)?;
    if rustix::process::geteuid().is_root() {
        // The copies belong to whom their folder belongs.
        ownership::give_all(to, target.uid())?;
    }
    Ok(())
}

struct Copier {
    left: CopyLimits,
    target: (u64, u64),
}

impl Copier {
    fn copy(&mut self, from: &Dir, to: &Dir, depth: u32) -> Result<(), CopyError> {
        let depth = depth.checked_sub(1).ok_or(CopyError::TooLarge)?;
        for entry in from.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            let name = Path::new(&name);
            self.left.max_entries = self.left.max_entries.checked_sub(1).ok_or(CopyError::TooLarge)?;
            // Of the name itself: a link is a link.
            let metadata = from.symlink_metadata(name)?;
            if metadata.is_symlink() {
                to.symlink_contents(from.read_link_contents(name)?, name)?;
            } else if metadata.is_dir() {
                if (metadata.dev(), metadata.ino()) == self.target {
                    continue;
                }
                let mut builder = DirBuilder::new();
                builder.mode(0o700);
                to.create_dir_with(name, &builder)?;
                self.copy(&open_own(from, name)?, &open_own(to, name)?, depth)?;
            } else if metadata.is_file() {
                let size = metadata.len();
                self.left.max_bytes = self.left.max_bytes.checked_sub(size).ok_or(CopyError::TooLarge)?;
                from.copy(name, to, name)?;
            }
        }
        Ok(())
    }
}

/// Opens a folder that is no link, also if one has been put in its place since.
pub fn open_own(parent: &Dir, name: &Path) -> io::Result<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(parent, name, flags, Mode::empty())?;
    Ok(Dir::from_std_file(opened.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use cap_std::ambient_authority;

    use super::*;

    const ROOM: CopyLimits = CopyLimits {
        max_bytes: 1000,
        max_entries: 10,
    };

    fn folder() -> (tempfile::TempDir, Dir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        std::fs::create_dir_all(from.join("sub/inner")).unwrap();
        std::fs::write(from.join("sub/a.txt"), "hello").unwrap();
        symlink("/etc/passwd", from.join("out")).unwrap();
        let open = |path: &Path| Dir::open_ambient_dir(path, ambient_authority()).unwrap();
        std::fs::create_dir(from.join("to")).unwrap();
        let dirs = (open(&from), open(&from.join("to")));
        (folder, dirs.0, dirs.1)
    }

    #[test]
    fn files_folders_and_links_are_copied_and_links_stay_links() {
        let (folder, from, to) = folder();
        copy_tree(&from, &to, ROOM).unwrap();
        let copy = folder.path().join("from/to");
        assert_eq!(std::fs::read_to_string(copy.join("sub/a.txt")).unwrap(), "hello");
        assert!(copy.join("sub/inner").is_dir());
        assert_eq!(
            std::fs::read_link(copy.join("out")).unwrap(),
            Path::new("/etc/passwd")
        );
        assert!(!copy.join("to").exists(), "it is not copied into itself");
        assert!(matches!(copy_tree(&from, &to, ROOM), Err(CopyError::NotEmpty)));
    }

    #[test]
    fn more_than_may_be_copied_is_refused_by_name() {
        for limits in [
            CopyLimits { max_bytes: 4, ..ROOM },
            CopyLimits {
                max_entries: 2,
                ..ROOM
            },
        ] {
            let (_folder, from, to) = folder();
            assert!(
                matches!(copy_tree(&from, &to, limits), Err(CopyError::TooLarge)),
                "{limits:?}"
            );
        }
    }

    #[test]
    fn folders_that_lie_too_deep_in_each_other_are_refused() {
        let (_folder, from, to) = folder();
        let mut at = from.try_clone().unwrap();
        for _ in 0..5000 {
            at.create_dir("d").unwrap();
            at = at.open_dir("d").unwrap();
        }
        let room = CopyLimits {
            max_entries: 10_000,
            ..ROOM
        };
        assert!(matches!(copy_tree(&from, &to, room), Err(CopyError::TooLarge)));
        for (dir, name) in [(&from, c"d"), (&to, c"d")] {
            crate::security::walk::remove_all(dir, name).unwrap();
        }
    }
}
