//! A folder as an archive, written while it is read. Links are packed as links, and pipes, sockets and devices are left out.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;

use cap_std::fs::Dir;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags, fstat, openat};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::walking::{Found, Step, Walk, walk};
use super::{Entry, EntryKind, FileError, folder_at, kind_of};
use crate::domain::FilePath;

/// Longer files say so in a zip.
const ZIP_LARGE_BYTES: u64 = u32::MAX as u64;

/// The form of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// A gzipped tar.
    TarGz,
    /// A zip.
    Zip,
}

/// Writes a folder as an archive.
pub fn pack(
    root: &Dir,
    folder: Option<&FilePath>,
    format: ArchiveFormat,
    depth: u32,
    out: impl Write,
) -> Result<(), FileError> {
    let folder = folder_at(root, folder)?;
    let how = Walk { depth, after: &[] };
    match format {
        ArchiveFormat::TarGz => {
            let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::default()));
            walk(&folder, how, &mut |found| into_tar(&mut tar, found))?;
            tar.into_inner()?.finish()?;
        }
        ArchiveFormat::Zip => {
            let mut zip = ZipWriter::new_stream(out);
            walk(&folder, how, &mut |found| into_zip(&mut zip, found))?;
            zip.finish().map_err(io::Error::from)?;
        }
    }
    Ok(())
}

/// What was come upon, and its content where it is a file; `None` where it has gone or is left out.
fn look(found: &Found<'_>) -> Result<Option<(Entry, Option<std::fs::File>)>, FileError> {
    let entry = match Entry::at(found.folder, found.name, found.path()) {
        Ok(entry) => entry,
        Err(FileError::Missing) => return Ok(None),
        Err(error) => return Err(error),
    };
    if entry.kind == EntryKind::Other {
        return Ok(None);
    }
    if entry.kind != EntryKind::File {
        return Ok(Some((entry, None)));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(found.folder, found.name, flags, Mode::empty()) else {
        return Ok(None);
    };
    // Of the file that is open: another may have its name by now.
    let stat = fstat(&file)?;
    if kind_of(&stat) != EntryKind::File {
        return Ok(None);
    }
    let entry = Entry::of(&stat, EntryKind::File, entry.path, None);
    Ok(Some((entry, Some(file.into()))))
}

fn into_tar<W: Write>(tar: &mut tar::Builder<W>, found: &Found<'_>) -> Result<Step, FileError> {
    let Some((entry, file)) = look(found)? else {
        return Ok(Step::Beside);
    };
    let name = found.names.join(&b'/');
    let name = OsStr::from_bytes(&name);
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode & 0o777);
    header.set_mtime(u64::try_from(entry.modified_at.timestamp()).unwrap_or(0));
    header.set_size(0);
    match (entry.kind, entry.link_target, file) {
        (EntryKind::Folder, ..) => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, name, io::empty())?;
        }
        (EntryKind::Link, Some(target), _) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, name, target)?;
        }
        (EntryKind::File, _, Some(file)) => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(entry.size_bytes);
            // As long as was told, whatever the agent does with it meanwhile: what grows is cut, and what shrinks is filled up
            // with zeros, as tar does.
            let content = file.chain(io::repeat(0)).take(entry.size_bytes);
            tar.append_data(&mut header, name, content)?;
        }
        _ => {}
    }
    Ok(Step::On)
}

fn into_zip<W: Write>(zip: &mut ZipWriter<StreamWriter<W>>, found: &Found<'_>) -> Result<Step, FileError> {
    let Some((entry, file)) = look(found)? else {
        return Ok(Step::Beside);
    };
    let mut options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .large_file(entry.size_bytes >= ZIP_LARGE_BYTES)
        .unix_permissions(entry.mode & 0o777);
    if let Ok(time) = zip::DateTime::try_from(entry.modified_at.naive_utc()) {
        options = options.last_modified_time(time);
    }
    match (entry.kind, entry.link_target, file) {
        (EntryKind::Folder, ..) => zip.add_directory(entry.path, options).map_err(io::Error::from)?,
        (EntryKind::Link, Some(target), _) => {
            zip.add_symlink(entry.path, target, options)
                .map_err(io::Error::from)?;
        }
        (EntryKind::File, _, Some(file)) => {
            zip.start_file(entry.path, options).map_err(io::Error::from)?;
            io::copy(&mut file.take(entry.size_bytes), zip)?;
        }
        _ => {}
    }
    Ok(Step::On)
}
