//! Making folders, moving, copying, removing.

use std::ffi::CString;
use std::path::Path;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _};
use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, statat, unlinkat};

use super::listing::Room;
use super::part::PartFile;
use super::{EntryKind, Expected, FileError, FileTag, folder_at, holder, kind_of, open_own, reading};
use crate::domain::FilePath;
use crate::security::workspace_copy::{CopyError, CopyLimits, copy_tree};
use crate::security::{ownership, walk};

/// The folder that is to hold something new, made with its parents where it is missing, and the new name there.
pub fn make_holder<'a>(root: &Dir, path: &'a FilePath, parents: bool) -> Result<(Dir, &'a str), FileError> {
    path.check_new().map_err(FileError::Name)?;
    if parents && let (Some(folder), _) = path.split() {
        make_folders(root, folder)?;
    }
    holder(root, path)
}

/// Makes a folder with its parents.
pub fn make_folder(root: &Dir, path: &FilePath) -> Result<(), FileError> {
    let (folder, name) = make_holder(root, path, true)?;
    make(&folder, name)
}

/// The folder of this path, made with its parents where it is missing.
pub fn ensure_folder(root: &Dir, path: Option<&FilePath>) -> Result<Dir, FileError> {
    if let Some(path) = path {
        path.check_new().map_err(FileError::Name)?;
        make_folders(root, path.as_str())?;
    }
    folder_at(root, path)
}

fn make_folders(root: &Dir, path: &str) -> Result<(), FileError> {
    let mut folder = root.try_clone()?;
    let mut so_far = String::new();
    for part in path.split('/') {
        match make(&folder, part) {
            Ok(()) | Err(FileError::Exists) => {}
            Err(error) => return Err(error),
        }
        so_far = if so_far.is_empty() {
            part.to_owned()
        } else {
            format!("{so_far}/{part}")
        };
        // From the top again: a link on the way is followed as far as it stays inside.
        folder = root.open_dir(&so_far)?;
    }
    Ok(())
}

/// Makes a folder, which belongs to whom its parent belongs.
fn make(parent: &Dir, name: &str) -> Result<(), FileError> {
    let mut builder = DirBuilder::new();
    builder.mode(0o755);
    parent.create_dir_with(name, &builder)?;
    if rustix::process::geteuid().is_root() {
        let owner = rustix::fs::fstat(parent)?.st_uid;
        ownership::give(&open_own(parent, name)?, owner)?;
    }
    Ok(())
}

/// Removes what is at a path; a folder that holds something only if `recursive`. Of a link, the link.
pub fn remove(root: &Dir, path: &FilePath, recursive: bool, expected: &Expected) -> Result<(), FileError> {
    let (folder, name) = holder(root, path)?;
    let stat = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_folder = kind_of(&stat) == EntryKind::Folder;
    expected.check((!is_folder).then(|| FileTag::of(&stat)))?;
    if !is_folder {
        return Ok(unlinkat(&folder, name, AtFlags::empty())?);
    }
    if recursive {
        remove_all(&folder, name)
    } else {
        Ok(folder.remove_dir(name)?)
    }
}

/// Removes a folder with all that it holds.
pub(super) fn remove_all(folder: &Dir, name: &str) -> Result<(), FileError> {
    let name = CString::new(name).map_err(|_nul| FileError::Missing)?;
    Ok(walk::remove_all(folder, &name)?)
}

/// Moves what is at a path. What is at the new one is replaced only if `overwrite`, and a folder only if it is empty.
pub fn rename(root: &Dir, from: &FilePath, to: &FilePath, overwrite: bool) -> Result<(), FileError> {
    refuse_into_itself(from, to)?;
    let (old_folder, old_name) = holder(root, from)?;
    // Looked for first, so that no folders are made for what is not there.
    statat(&old_folder, old_name, AtFlags::SYMLINK_NOFOLLOW)?;
    let (new_folder, new_name) = make_holder(root, to, true)?;
    put(&old_folder, old_name, &new_folder, new_name, overwrite)
}

fn put(from: &Dir, old: &str, to: &Dir, new: &str, overwrite: bool) -> Result<(), FileError> {
    let moved = if overwrite {
        renameat(from, old, to, new)
    } else {
        renameat_with(from, old, to, new, RenameFlags::NOREPLACE)
    };
    moved.map_err(|errno| match errno {
        rustix::io::Errno::INVAL => FileError::IntoItself,
        rustix::io::Errno::ISDIR => FileError::NotAFile,
        errno => errno.into(),
    })
}

fn refuse_into_itself(from: &FilePath, to: &FilePath) -> Result<(), FileError> {
    let below = to.as_str().strip_prefix(from.as_str());
    if below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
        return Err(FileError::IntoItself);
    }
    Ok(())
}

/// Copies a file, or a folder with all that it holds. Whoever looks meanwhile sees nothing, or all of it. `part` is what it is
/// called until then.
pub fn copy(
    root: &Dir,
    from: &FilePath,
    to: &FilePath,
    overwrite: bool,
    limits: CopyLimits,
    mut quota: Room,
    part: &str,
) -> Result<(), FileError> {
    refuse_into_itself(from, to)?;
    let (old_folder, old_name) = holder(root, from)?;
    let stat = statat(&old_folder, old_name, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind_of(&stat) == EntryKind::Folder {
        let source = open_own(&old_folder, old_name)?;
        let (new_folder, new_name) = make_holder(root, to, true)?;
        make(&new_folder, part)?;
        let limits = CopyLimits {
            max_bytes: quota
                .bytes
                .map_or(limits.max_bytes, |left| left.min(limits.max_bytes)),
            max_entries: quota
                .entries
                .map_or(limits.max_entries, |left| left.min(limits.max_entries)),
        };
        let copied = open_own(&new_folder, part).and_then(|staging| {
            copy_tree(&source, &staging, limits).map_err(|error| match error {
                CopyError::Failed(error) => error.into(),
                CopyError::TooLarge => FileError::Full,
                CopyError::NotEmpty => FileError::NotEmpty,
            })?;
            put(&new_folder, part, &new_folder, new_name, overwrite)
        });
        if copied.is_err() {
            let _gone = remove_all(&new_folder, part);
        }
        return copied;
    }
    // A link is copied as what it leads to, where that is a file of the workspace.
    let source = reading::open(root, from)?;
    quota.take(super::listing::Held {
        bytes: source.entry.size_bytes,
        entries: 1,
    })?;
    let (new_folder, new_name) = make_holder(root, to, true)?;
    let copy = PartFile::create(&new_folder, part.to_owned())?;
    // No more than was told, however it grows.
    let mut told = std::io::Read::take(&source.file, source.entry.size_bytes);
    std::io::copy(&mut told, &mut copy.file())?;
    let expected = if overwrite {
        Expected::Anything
    } else {
        Expected::Nothing
    };
    copy.place(&new_folder, new_name, &expected, Some(source.entry.mode & 0o777))
        .map_err(|error| match error {
            FileError::Changed => FileError::Exists,
            error => error,
        })?;
    Ok(())
}

/// Puts a whole tree of files into a folder: those of folders that are there go into them. With `overwrite`, files replace
/// files; else nothing is put if one is there.
pub(super) fn merge(staging: &Dir, target: &Dir, overwrite: bool) -> Result<(), FileError> {
    if !overwrite {
        refuse_clashes(staging, target)?;
    }
    for entry in staging.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = Path::new(&name);
        let there = match target.symlink_metadata(name) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let is_folder = entry.file_type()?.is_dir();
        match there {
            Some(there) if there.is_dir() && is_folder => {
                let text = name.to_str().ok_or(FileError::Missing)?;
                merge(&open_own(staging, text)?, &open_own(target, text)?, overwrite)?;
            }
            Some(there) if there.is_dir() || is_folder => return Err(FileError::Exists),
            _ => renameat(staging, name, target, name)?,
        }
    }
    Ok(())
}

fn refuse_clashes(staging: &Dir, target: &Dir) -> Result<(), FileError> {
    for entry in staging.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let Ok(there) = target.symlink_metadata(&name) else {
            continue;
        };
        if !(there.is_dir() && entry.file_type()?.is_dir()) {
            return Err(FileError::Exists);
        }
        let text = name.to_str().ok_or(FileError::Missing)?;
        refuse_clashes(&open_own(staging, text)?, &open_own(target, text)?)?;
    }
    Ok(())
}
