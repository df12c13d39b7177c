//! How much a session's folders hold while a turn runs. A turn past the limit is ended, with all that its agent started.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, statat};

use super::line::TurnControl;
use crate::domain::TurnErrorCode;
use crate::security::walk::{DEPTH_MAX, Folder};

/// The unit in which the file system counts.
const BLOCK_BYTES: u64 = 512;

/// How much a session's folders may hold; 0 is no limit.
#[derive(Debug, Clone, Copy)]
pub struct DiskLimits {
    /// In bytes on the disk.
    pub max_bytes: u64,
    /// In files, folders and links.
    pub max_entries: u64,
    /// How often that is looked at.
    pub interval: Duration,
}

/// What folders hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    bytes: u64,
    entries: u64,
    /// Whether folders lie deeper in each other than is looked.
    is_too_deep: bool,
}

impl DiskLimits {
    fn are_passed(&self, held: Held) -> bool {
        held.is_too_deep
            || (self.max_bytes > 0 && held.bytes > self.max_bytes)
            || (self.max_entries > 0 && held.entries > self.max_entries)
    }
}

/// Looks at these folders until one passes the limit, and then stops the turn.
pub(super) async fn watch(folders: Arc<Vec<OwnedFd>>, limits: DiskLimits, control: Arc<TurnControl>) {
    passed(folders, limits).await;
    control.stop(TurnErrorCode::WorkspaceFull);
}

/// Ends when these folders hold more than they may.
pub(super) async fn passed(folders: Arc<Vec<OwnedFd>>, limits: DiskLimits) {
    if limits.max_bytes == 0 && limits.max_entries == 0 {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep(limits.interval).await;
        let folders = Arc::clone(&folders);
        let held = tokio::task::spawn_blocking(move || {
            let mut held = Held::default();
            for folder in &*folders {
                // What cannot be looked into is not counted; the file system's own limits stand.
                let _counted = count(folder, DEPTH_MAX, limits, &mut held);
            }
            held
        });
        // One that broke off says nothing; the next may.
        let Ok(held) = held.await else { continue };
        if limits.are_passed(held) {
            tracing::warn!(
                held.bytes,
                held.entries,
                held.is_too_deep,
                "a session's folders hold more than they may; what fills them is stopped"
            );
            return;
        }
    }
}

/// Counts what a folder holds, and no further than matters.
fn count(folder: &impl AsFd, depth: u32, limits: DiskLimits, held: &mut Held) -> io::Result<()> {
    let Some(depth) = depth.checked_sub(1) else {
        held.is_too_deep = true;
        return Ok(());
    };
    let folder = Folder::of(folder)?;
    folder.for_each(|name, kind| {
        if limits.are_passed(*held) {
            return Ok(());
        }
        held.entries += 1;
        if let Ok(found) = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            held.bytes += u64::try_from(found.st_blocks).unwrap_or(0) * BLOCK_BYTES;
        }
        if kind != FileType::Directory {
            return Ok(());
        }
        // One that cannot be entered is counted itself.
        folder
            .enter(name)
            .ok()
            .flatten()
            .map_or(Ok(()), |inner| count(&inner, depth, limits, held))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_counted_once_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("a/b")).unwrap();
        std::fs::write(folder.path().join("a/b/file"), vec![1; 64 * 1024]).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("a/link")).unwrap();
        let open = || OwnedFd::from(std::fs::File::open(folder.path()).unwrap());
        let none = DiskLimits {
            max_bytes: 0,
            max_entries: 0,
            interval: Duration::ZERO,
        };
        let mut held = Held::default();
        count(&open(), DEPTH_MAX, none, &mut held).unwrap();
        assert_eq!(held.entries, 4);
        assert!((64 * 1024..100 * 1024).contains(&held.bytes), "{held:?}");
        let few = DiskLimits {
            max_entries: 1,
            ..none
        };
        let mut held = Held::default();
        count(&open(), DEPTH_MAX, few, &mut held).unwrap();
        assert!(few.are_passed(held) && held.entries < 4, "it stops when it knows");
    }

    #[test]
    fn folders_that_lie_deeper_in_each_other_than_is_looked_are_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let ambient = cap_std::ambient_authority();
        let mut at = cap_std::fs::Dir::open_ambient_dir(folder.path(), ambient).unwrap();
        for _ in 0..5000 {
            at.create_dir("d").unwrap();
            at = at.open_dir("d").unwrap();
        }
        let root = std::fs::File::open(folder.path()).unwrap();
        let limits = DiskLimits {
            max_bytes: 0,
            max_entries: 10_000,
            interval: Duration::ZERO,
        };
        let mut held = Held::default();
        count(&root, DEPTH_MAX, limits, &mut held).unwrap();
        assert!(limits.are_passed(held), "{held:?}");
        crate::security::walk::remove_all(&root, c"d").unwrap();
    }
}
