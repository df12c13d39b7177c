//! Going through a folder in the order of its paths, and through all that it holds, however deep: a walk holds one handle
//! a level, and is bounded.

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use super::FileError;
use crate::security::walk::Folder;

/// How far a walk goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    /// How many levels; 1: the folder alone.
    pub(super) depth: u32,
    /// The names, from the folder downwards, of the entry after which it begins; all when empty.
    pub(super) after: &'a [Vec<u8>],
}

/// Something that was come upon.
pub(super) struct Found<'a> {
    /// The folder that holds it.
    pub(super) folder: &'a Folder,
    /// Its name there.
    pub(super) name: &'a CStr,
    /// The names from where the walk began.
    pub(super) names: &'a [Vec<u8>],
    /// What the folder says that it is.
    pub(super) kind: FileType,
}

impl Found<'_> {
    /// Its path from where the walk began.
    pub(super) fn path(&self) -> String {
        String::from_utf8_lossy(&self.names.join(&b'/')).into_owned()
    }
}

/// What becomes of a walk after an entry.
pub(super) enum Step {
    /// It goes on, into the entry where that is a folder.
    On,
    /// It goes on beside it.
    Beside,
    /// It ends.
    End,
}

/// Goes through a folder. What is gone, or may not be entered, by the time that it is come to is passed over.
pub(super) fn walk(
    root: &impl AsFd,
    how: Walk<'_>,
    visit: &mut impl FnMut(&Found<'_>) -> Result<Step, FileError>,
) -> Result<(), FileError> {
    let mut names = Vec::new();
    level(&Folder::of(root)?, how, &mut names, visit).map(|_| ())
}

fn level(
    folder: &Folder,
    how: Walk<'_>,
    names: &mut Vec<Vec<u8>>,
    visit: &mut impl FnMut(&Found<'_>) -> Result<Step, FileError>,
) -> Result<ControlFlow<()>, FileError> {
    let mut entries: Vec<(CString, FileType)> = Vec::new();
    folder.for_each(|name, kind| {
        entries.push((name.to_owned(), kind));
        Ok(())
    })?;
    entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let begin = how.after.first();
    for (name, kind) in entries {
        let bytes = name.to_bytes();
        let inside: &[Vec<u8>] = match begin.map(|begin| bytes.cmp(begin.as_slice())) {
            Some(std::cmp::Ordering::Less) => continue,
            // It was told before; what it holds may not have been.
            Some(std::cmp::Ordering::Equal) => how.after.get(1..).unwrap_or_default(),
            Some(std::cmp::Ordering::Greater) | None => &[],
        };
        let was_told = begin.is_some_and(|begin| begin == bytes);
        names.push(bytes.to_vec());
        let step = if was_told {
            Step::On
        } else {
            visit(&Found {
                folder,
                name: &name,
                names,
                kind,
            })?
        };
        let goes_in = matches!(step, Step::On)
            && how.depth > 1
            && matches!(kind, FileType::Directory | FileType::Unknown);
        let mut flow = match step {
            Step::End => ControlFlow::Break(()),
            Step::On | Step::Beside => ControlFlow::Continue(()),
        };
        if goes_in && let Ok(Some(inner)) = folder.enter(&name) {
            let how = Walk {
                depth: how.depth - 1,
                after: inside,
            };
            flow = level(&inner, how, names, visit)?;
        }
        names.pop();
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}
