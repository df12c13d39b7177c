//! Reads an archive line by line.

use std::io::BufRead;

use sha2::{Digest as _, Sha256};

use super::{ArchiveError, End, EndLine, FORMAT, Header, LINE_MAX_BYTES, Record, VERSION};

/// A line of an archive.
pub(super) enum Line {
    Record(Box<Record>),
    End(End),
}

/// Reads an archive line by line.
pub(super) struct Reader<R> {
    archive: R,
    line: u64,
    pub(super) records: u64,
    pub(super) hash: Sha256,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn open(archive: R) -> Result<Self, ArchiveError> {
        let mut reader = Self {
            archive,
            line: 0,
            records: 0,
            hash: Sha256::new(),
        };
        let first = reader.read_line()?.unwrap_or_default();
        match serde_json::from_slice::<Header>(&first) {
            Ok(header) if header.format == FORMAT && header.version == VERSION => Ok(reader),
            _ => Err(ArchiveError::NotAnArchive),
        }
    }

    /// The next line with its end, if there is one.
    pub(super) fn read_line(&mut self) -> Result<Option<Vec<u8>>, ArchiveError> {
        let mut line = Vec::new();
        let limit = LINE_MAX_BYTES + 1;
        let read = std::io::Read::take(&mut self.archive, limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if read as u64 == limit {
            return Err(ArchiveError::LongLine { line: self.line });
        }
        Ok(Some(line))
    }

    pub(super) fn next(&mut self) -> Result<Option<Line>, ArchiveError> {
        let Some(line) = self.read_line()? else {
            return Ok(None);
        };
        if line.last() != Some(&b'\n') {
            return Err(ArchiveError::CutOff {
                records: self.records,
            });
        }
        if let Ok(EndLine { end }) = serde_json::from_slice(&line) {
            return Ok(Some(Line::End(end)));
        }
        let record = serde_json::from_slice(&line).map_err(|source| ArchiveError::BadLine {
            line: self.line,
            source,
        })?;
        self.records += 1;
        self.hash.update(&line);
        Ok(Some(Line::Record(Box::new(record))))
    }
}
