//! Zips. How many entries one says that it has is held against the limit before they are read.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{FileError, Refused, Writer, damaged, shown};

/// How far from the end the record of the end may begin: itself, and the longest comment.
const END_MAX_BYTES: u64 = 22 + 65_535;
const END_MARK: &[u8] = b"PK\x05\x06";
const END64_LOCATOR_MARK: &[u8] = b"PK\x06\x07";
const END64_MARK: &[u8] = b"PK\x06\x06";

pub(super) fn read(mut archive: File, writer: &mut Writer<'_>) -> Result<(), FileError> {
    let max_entries = writer.limits.max_entries;
    let told = entries_told(&mut archive).map_err(damaged)?;
    if told.is_some_and(|told| told > max_entries) {
        return Err(Refused::TooMany { max_entries }.into());
    }
    archive.rewind().map_err(damaged)?;
    let mut archive = ZipArchive::new(BufReader::new(archive)).map_err(wrong)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| match error {
            ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
                FileError::from(Refused::Encrypted(format!("entry {index}")))
            }
            error => wrong(error),
        })?;
        let name = entry.name_raw().to_vec();
        if entry.is_symlink() {
            return Err(Refused::Link(shown(&name)).into());
        }
        let mode = entry.unix_mode();
        // The upper bits tell what it is; an archive without them holds files and folders alone.
        let kind = mode.map_or(0, |mode| mode & 0o170_000);
        if !matches!(kind, 0 | 0o100_000 | 0o040_000) {
            return Err(Refused::Special(shown(&name)).into());
        }
        if name.ends_with(b"/") {
            writer.folder(&name)?;
        } else {
            writer.file(&name, mode, &mut entry)?;
        }
    }
    Ok(())
}

fn wrong(error: ZipError) -> FileError {
    match error {
        ZipError::Io(error) => damaged(error),
        error => Refused::Damaged(error.to_string()).into(),
    }
}

/// How many entries the archive says that it has, by the record at its end.
fn entries_told(archive: &mut File) -> io::Result<Option<u64>> {
    let length = archive.seek(SeekFrom::End(0))?;
    let begin = length.saturating_sub(END_MAX_BYTES + 20);
    archive.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    archive.take(END_MAX_BYTES + 20).read_to_end(&mut tail)?;
    // Any of them may be the one that is read.
    let ends = tail.windows(4).enumerate().filter(|(_, mark)| *mark == END_MARK);
    let mut most = None;
    for (end, _) in ends {
        most = most.max(told_at(archive, &tail, end)?);
    }
    Ok(most)
}

/// What the record at this place of the tail tells.
fn told_at(archive: &mut File, tail: &[u8], end: usize) -> io::Result<Option<u64>> {
    let short = number::<2>(tail, end + 10).unwrap_or(0);
    let locator = end.checked_sub(20).filter(|at| {
        tail.get(*at..)
            .is_some_and(|rest| rest.starts_with(END64_LOCATOR_MARK))
    });
    let Some(locator) = locator else {
        return Ok(Some(short));
    };
    let at = number::<8>(tail, locator + 8).unwrap_or(0);
    archive.seek(SeekFrom::Start(at))?;
    let mut record = Vec::new();
    archive.take(56).read_to_end(&mut record)?;
    if !record.starts_with(END64_MARK) {
        return Ok(Some(short));
    }
    Ok(number::<8>(&record, 32))
}

/// The number of so many bytes at a place, least first.
fn number<const BYTES: usize>(data: &[u8], at: usize) -> Option<u64> {
    let bytes = data.get(at..at.checked_add(BYTES)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}
