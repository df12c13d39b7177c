//! What files held when they were last read, by what the file system says of them: a file of which it says the same is not
//! read again.
//!
//! A file that was changed a moment before it was read may be changed again without the file system saying anything else
//! of it, since its clock ticks slowly. So what is as young as that is not remembered.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Stat, fstat};
use serde::{Deserialize, Serialize};

use super::object::ObjectId;
use super::own;
use super::tree::PathBytes;

/// How old a change must be when the file is read: more than file systems' clocks differ from one tick to the next.
const SETTLED_SECONDS: i64 = 2;

/// What the file system says of a file, as far as it tells one content from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Numbers", into = "Numbers")]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// The same, of its content or of what is said of it. No program sets it.
    changed: (i64, i64),
}

/// A stamp as it is written: there are thousands.
type Numbers = (u64, u64, u64, (i64, i64), (i64, i64));

impl From<Numbers> for Stamp {
    fn from((device, inode, size, modified, changed): Numbers) -> Self {
        Self {
            device,
            inode,
            size,
            modified,
            changed,
        }
    }
}

impl From<Stamp> for Numbers {
    fn from(stamp: Stamp) -> Self {
        (
            stamp.device,
            stamp.inode,
            stamp.size,
            stamp.modified,
            stamp.changed,
        )
    }
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: unsigned(stat.st_dev),
            inode: unsigned(stat.st_ino),
            size: unsigned(stat.st_size),
            modified: (signed(stat.st_mtime), signed(stat.st_mtime_nsec)),
            changed: (signed(stat.st_ctime), signed(stat.st_ctime_nsec)),
        }
    }

    /// Whether nobody wrote to it between then and now. It may have another name by now, or none.
    pub(super) fn holds_as(&self, then: &Self) -> bool {
        (self.size, self.modified) == (then.size, then.modified)
    }

    /// Whether its last change is so long ago that another would be seen.
    fn is_settled(&self, now: i64) -> bool {
        let last = self.modified.0.max(self.changed.0);
        last.saturating_add(SETTLED_SECONDS) < now
    }
}

/// Numbers that are of other types on other systems.
fn unsigned<T: TryInto<u64>>(number: T) -> u64 {
    number.try_into().unwrap_or_default()
}

fn signed<T: TryInto<i64>>(number: T) -> i64 {
    number.try_into().unwrap_or_default()
}

/// What files held when they were last read.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// The tree that it belongs to, whose objects are there.
    tree: Option<ObjectId>,
    files: Vec<Remembered>,
}

/// A file, what was said of it, and what it held.
type Remembered = (PathBytes, Stamp, ObjectId);

impl Index {
    /// The index of a session's folder, if it belongs to this tree. One that is damaged is none.
    pub(super) fn read(session: &Path, tree: Option<ObjectId>) -> io::Result<Self> {
        let bytes = own::read(&file_of(session))?;
        let index: Option<Self> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(index
            .filter(|index| index.tree.is_some() && index.tree == tree)
            .unwrap_or_default())
    }

    pub(super) fn by_path(self) -> HashMap<PathBytes, (Stamp, ObjectId)> {
        let files = self.files.into_iter();
        files.map(|(path, stamp, holds)| (path, (stamp, holds))).collect()
    }
}

/// An index that is being made.
#[derive(Debug)]
pub(super) struct NewIndex {
    files: Vec<Remembered>,
    /// Whether it has something that was not remembered before.
    is_new: bool,
    /// When the files began to be read, by the file system's clock, in seconds.
    now: i64,
}

impl NewIndex {
    /// At this moment, as the file system says it of a new file.
    pub(super) fn begin(waiting: &Path) -> io::Result<Self> {
        let path = waiting.join("now");
        let file = own::create_new(&path)?;
        let now = signed(fstat(&file)?.st_ctime);
        std::fs::remove_file(&path)?;
        Ok(Self {
            files: Vec::new(),
            is_new: false,
            now,
        })
    }

    /// What was read.
    pub(super) fn note(&mut self, path: PathBytes, stamp: Stamp, holds: ObjectId) {
        if stamp.is_settled(self.now) {
            self.files.push((path, stamp, holds));
            self.is_new = true;
        }
    }

    /// What was remembered, and need not be read.
    pub(super) fn note_again(&mut self, path: PathBytes, stamp: Stamp, holds: ObjectId) {
        self.files.push((path, stamp, holds));
    }

    /// Whether it says no more than the one before, of the same tree.
    pub(super) fn says_the_same(&self, tree: ObjectId, last: Option<ObjectId>) -> bool {
        !self.is_new && last == Some(tree)
    }

    /// Writes it for this tree. It may be lost: then files are read again.
    pub(super) fn write(self, session: &Path, waiting: &Path, tree: ObjectId) -> io::Result<()> {
        let index = Index {
            tree: Some(tree),
            files: self.files,
        };
        let part = waiting.join("index");
        let file = own::create_new(&part)?;
        let mut out = io::BufWriter::new(file);
        serde_json::to_writer(&mut out, &index)?;
        let written: File = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        // Not waited for: one that a crash left half written is no JSON, and is none.
        drop(written);
        std::fs::rename(&part, file_of(session))
    }
}

fn file_of(session: &Path) -> PathBuf {
    session.join("index.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_a_moment_ago_is_not_remembered() {
        let stamp = |changed| Stamp {
            device: 1,
            inode: 2,
            size: 3,
            modified: (0, 0),
            changed: (changed, 0),
        };
        assert!(!stamp(100).is_settled(100));
        assert!(!stamp(100).is_settled(102));
        assert!(stamp(100).is_settled(103));
        assert!(!stamp(i64::MAX).is_settled(103), "a clock that is ahead");
    }
}
