//! What a workspace holds, in pages.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};

use super::walking::{Step, Walk, walk};
use super::{Entry, EntryKind, FileError, folder_at, holder, kind_of, size};
use crate::domain::{FilePath, Page};

/// What is to be listed.
#[derive(Debug, Clone)]
pub struct ListOrder {
    /// The folder; the workspace itself when absent.
    pub folder: Option<FilePath>,
    /// How many levels; 1: the folder alone.
    pub depth: u32,
    /// What the paths, from the folder downwards, must match.
    pub glob: Option<Glob>,
    /// After which entry.
    pub after: Option<Position>,
    /// How many entries at most.
    pub limit: usize,
    /// How many entries are looked at for one page.
    pub most_seen: usize,
}

/// Where a list goes on: the names of its last entry, from the folder downwards, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(Vec<Vec<u8>>);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.join(&0)))
    }
}

impl FromStr for Position {
    type Err = base64::DecodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text)?;
        Ok(Self(bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()))
    }
}

/// A pattern of paths: `*` and `?` stay in a folder, `**` does not.
#[derive(Debug, Clone)]
pub struct Glob(GlobMatcher);

impl FromStr for Glob {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| FileError::Pattern(error.kind().to_string()))?;
        Ok(Self(glob.compile_matcher()))
    }
}

impl Glob {
    pub(super) fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

/// A page of what a folder holds, in the order of the paths. A page may be short, or empty, and not be the last.
pub fn list(root: &Dir, order: &ListOrder) -> Result<Page<Entry, Position>, FileError> {
    let folder = folder_at(root, order.folder.as_ref())?;
    let prefix = order
        .folder
        .as_ref()
        .map(|folder| format!("{folder}/"))
        .unwrap_or_default();
    let mut page = Page {
        items: Vec::new(),
        next: None,
    };
    let mut seen = 0_usize;
    let mut last: Vec<Vec<u8>> = Vec::new();
    let after = order.after.as_ref().map(|after| after.0.as_slice());
    let how = Walk {
        depth: order.depth,
        after: after.unwrap_or_default(),
    };
    walk(&folder, how, &mut |found| {
        if page.items.len() >= order.limit || seen >= order.most_seen {
            page.next = Some(Position(std::mem::take(&mut last)));
            return Ok(Step::End);
        }
        seen += 1;
        last = found.names.to_vec();
        let path = found.path();
        if order.glob.as_ref().is_none_or(|glob| glob.matches(&path)) {
            match Entry::at(found.folder, found.name, format!("{prefix}{path}")) {
                Ok(entry) => page.items.push(entry),
                // It has gone meanwhile.
                Err(FileError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Step::On)
    })?;
    Ok(page)
}

/// What is at a path; a link is told of itself.
pub fn stat(root: &Dir, path: Option<&FilePath>) -> Result<Entry, FileError> {
    let Some(path) = path else {
        let stat = rustix::fs::fstat(root)?;
        return Ok(Entry::of(&stat, EntryKind::Folder, String::new(), None));
    };
    let (folder, name) = holder(root, path)?;
    let name = std::ffi::CString::new(name).map_err(|_nul| FileError::Missing)?;
    Entry::at(&folder, &name, path.to_string())
}

/// How much a folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// Bytes of files.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

/// How much more a folder may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of files; any number when absent.
    pub bytes: Option<u64>,
    /// Files, folders and links; any number when absent.
    pub entries: Option<u64>,
}

impl Room {
    /// What is left after this much more.
    pub fn take(&mut self, more: Held) -> Result<(), FileError> {
        let less = |left: Option<u64>, by: u64| match left {
            Some(left) => left.checked_sub(by).map(Some).ok_or(FileError::Full),
            None => Ok(None),
        };
        *self = Self {
            bytes: less(self.bytes, more.bytes)?,
            entries: less(self.entries, more.entries)?,
        };
        Ok(())
    }

    /// What is left beside all that a workspace holds.
    pub fn beside(mut self, root: &Dir, depth: u32) -> Result<Self, FileError> {
        if self.bytes.is_none() && self.entries.is_none() {
            return Ok(self);
        }
        walk(root, Walk { depth, after: &[] }, &mut |found| {
            let stat = rustix::fs::statat(found.folder, found.name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
            let bytes = match stat {
                Ok(stat) if kind_of(&stat) == EntryKind::File => size(&stat),
                _ => 0,
            };
            self.take(Held { bytes, entries: 1 })?;
            Ok(Step::On)
        })?;
        Ok(self)
    }
}
