//! Files and archives on their way into a workspace: kept aside until they are whole.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::part_name;
use crate::agent::Folders;
use crate::domain::{Clock, FilePath};
use crate::files::listing::{self, Held, Room};
use crate::files::packing::ArchiveFormat;
use crate::files::part::PartFile;
use crate::files::unpacking::{UnpackLimits, UnpackOrder, Unpacked, unpack};
use crate::files::{Entry, Expected, FileError, changing};
use crate::service::error::Error;
use crate::service::sessions::off_the_worker;

/// Files of a workspace that are being written.
#[derive(Debug)]
pub struct Writing {
    pub(super) folders: Arc<Folders>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) max_file_bytes: u64,
    pub(super) room: Room,
}

/// A file that is being written.
#[derive(Debug)]
pub struct WrittenFile {
    part: PartFile,
    file: tokio::fs::File,
    written: u64,
}

impl Writing {
    /// A new file.
    pub async fn file(&mut self) -> Result<WrittenFile, Error> {
        self.room.take(Held { bytes: 0, entries: 1 })?;
        let (folders, name) = (Arc::clone(&self.folders), part_name(&*self.clock));
        let (part, file) = off_the_worker(move || {
            let part = PartFile::create(folders.workspace.dir(), name)?;
            let file = part.try_clone()?;
            Ok((part, file))
        })
        .await?;
        Ok(WrittenFile {
            part,
            file: tokio::fs::File::from_std(file),
            written: 0,
        })
    }

    /// Writes more of a file.
    pub async fn write(&mut self, file: &mut WrittenFile, data: &[u8]) -> Result<(), Error> {
        let more = data.len() as u64;
        file.written += more;
        if file.written > self.max_file_bytes {
            let max_bytes = self.max_file_bytes;
            return Err(FileError::TooLong { max_bytes }.into());
        }
        self.room.take(Held {
            bytes: more,
            entries: 0,
        })?;
        Ok(file.file.write_all(data).await.map_err(FileError::from)?)
    }

    /// Refuses if there is something at one of these paths.
    pub async fn refuse_existing(&self, paths: Vec<FilePath>) -> Result<(), Error> {
        let folders = Arc::clone(&self.folders);
        off_the_worker(move || {
            for path in paths {
                match listing::stat(folders.workspace.dir(), Some(&path)) {
                    Ok(_) => return Err(FileError::Exists.into()),
                    Err(FileError::Missing) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(())
        })
        .await
    }

    /// Gives a file that is whole its name, and tells it, and whether nothing had the name before.
    pub async fn place(
        &self,
        mut file: WrittenFile,
        path: FilePath,
        parents: bool,
        expected: Expected,
    ) -> Result<(Entry, bool), Error> {
        file.file.flush().await.map_err(FileError::from)?;
        let folders = Arc::clone(&self.folders);
        off_the_worker(move || {
            let root = folders.workspace.dir();
            let (folder, name) = changing::make_holder(root, &path, parents)?;
            let is_new = file.part.place(&folder, name, &expected, None)?;
            Ok((listing::stat(root, Some(&path))?, is_new))
        })
        .await
    }
}

/// An archive that is being taken.
#[derive(Debug)]
pub struct IncomingArchive {
    pub(super) file: tokio::fs::File,
    pub(super) folders: Arc<Folders>,
    pub(super) room: Room,
    pub(super) written: u64,
    pub(super) max_bytes: u64,
    pub(super) limits: UnpackLimits,
    pub(super) part: String,
    pub(super) one_of_few: OwnedSemaphorePermit,
}

impl IncomingArchive {
    /// Takes more of it.
    pub async fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.written += data.len() as u64;
        if self.written > self.max_bytes {
            let max_bytes = self.max_bytes;
            return Err(FileError::TooLong { max_bytes }.into());
        }
        Ok(self.file.write_all(data).await.map_err(FileError::from)?)
    }

    /// Unpacks it, now that it is whole.
    pub async fn unpack(
        mut self,
        format: ArchiveFormat,
        folder: Option<FilePath>,
        overwrite: bool,
    ) -> Result<Unpacked, Error> {
        self.file.flush().await.map_err(FileError::from)?;
        let mut file = self.file.into_std().await;
        let (folders, limits, quota) = (self.folders, self.limits, self.room);
        let order = UnpackOrder {
            format,
            folder,
            overwrite,
            part: self.part,
        };
        let one_of_few = self.one_of_few;
        off_the_worker(move || {
            let _one_of_few = one_of_few;
            io::Seek::rewind(&mut file).map_err(FileError::from)?;
            Ok(unpack(folders.workspace.dir(), file, &order, limits, quota)?)
        })
        .await
    }
}
