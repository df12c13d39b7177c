//! Gzipped tars. Long names are read here and not by the library, which would read one of any length into memory.

use std::fs::File;
use std::io::{BufReader, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::{FileError, Refused, Writer, damaged, shown};

/// The longest record that tells of the entry after it, in bytes.
const RECORD_MAX_BYTES: u64 = 64 * 1024;

pub(super) fn read(archive: File, writer: &mut Writer<'_>) -> Result<(), FileError> {
    let unpacked = MultiGzDecoder::new(BufReader::new(archive));
    // Also what is skipped costs time: no more comes out than may be written, and the archive's own records.
    let overhead = writer
        .limits
        .max_entries
        .saturating_mul(4 * 1024 + RECORD_MAX_BYTES);
    let most = writer.limits.max_bytes.saturating_add(overhead);
    let mut archive = Archive::new(unpacked.take(most));
    let mut long_name: Option<Vec<u8>> = None;
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let name = match &long_name {
            Some(name) => name.clone(),
            None => entry.header().path_bytes().into_owned(),
        };
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                let mut name = record(&mut entry)?;
                while name.last() == Some(&0) {
                    name.pop();
                }
                long_name = Some(name);
                continue;
            }
            EntryType::XHeader => {
                if let Some(name) = extended(&record(&mut entry)?)? {
                    long_name = Some(name);
                }
                continue;
            }
            EntryType::XGlobalHeader => {
                record(&mut entry)?;
                continue;
            }
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => writer.folder(&name)?,
            EntryType::Regular | EntryType::Continuous => {
                let mode = entry.header().mode().ok();
                let told = entry.header().size().map_err(damaged)?;
                let before = writer.told.bytes;
                writer.file(&name, mode, &mut entry)?;
                if writer.told.bytes - before != told {
                    return Err(Refused::Damaged(format!("{:?} is cut off", shown(&name))).into());
                }
            }
            EntryType::Directory => writer.folder(&name)?,
            EntryType::Symlink | EntryType::Link | EntryType::GNULongLink => {
                return Err(Refused::Link(shown(&name)).into());
            }
            _ => return Err(Refused::Special(shown(&name)).into()),
        }
        long_name = None;
    }
    Ok(())
}

fn record(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, FileError> {
    let mut data = Vec::new();
    entry
        .take(RECORD_MAX_BYTES + 1)
        .read_to_end(&mut data)
        .map_err(damaged)?;
    if data.len() as u64 > RECORD_MAX_BYTES {
        return Err(Refused::Damaged("a record is too long".to_owned()).into());
    }
    Ok(data)
}

/// The name in a record of the extended form; what else it tells is passed over, but for what changes the content.
fn extended(record: &[u8]) -> Result<Option<Vec<u8>>, FileError> {
    let mut name = None;
    for extension in PaxExtensions::new(record) {
        let extension = extension.map_err(damaged)?;
        match extension.key_bytes() {
            b"path" => name = Some(extension.value_bytes().to_vec()),
            b"linkpath" => return Err(Refused::Link(shown(extension.value_bytes())).into()),
            key if key == b"size" || key.starts_with(b"GNU.sparse") => {
                return Err(Refused::Special("a sparse file, or one of more than 8 GiB".to_owned()).into());
            }
            _ => {}
        }
    }
    Ok(name)
}
