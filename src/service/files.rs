//! Files of sessions' workspaces. Those of a session that is over are still read; written are those of one in use.

mod incoming;
mod outgoing;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

pub use self::incoming::{IncomingArchive, Writing, WrittenFile};
use self::outgoing::Pieces;
use super::error::{Error, RETRY_SOON};
use super::sessions::{SessionService, off_the_worker};
use crate::agent::Folders;
use crate::domain::{Clock, EntryId, FilePath, Page, Principal, SessionId};
use crate::files::changing;
use crate::files::listing::{self, Held, ListOrder, Position, Room};
use crate::files::packing::{ArchiveFormat, pack};
use crate::files::part::scratch;
use crate::files::reading::{self, OpenFile};
use crate::files::searching::{Hits, SearchLimits, SearchOrder, search};
use crate::files::unpacking::UnpackLimits;
use crate::files::{Entry, Expected, FileError};
use crate::limits::Limits;
use crate::security::workspace_copy::CopyLimits;

/// How much of an archive is packed ahead of its reader, in pieces.
const PIECES_AHEAD: usize = 8;

/// How much may be asked for.
#[derive(Debug, Clone, Copy)]
pub struct FileRules {
    /// The longest file that is written, in bytes.
    pub max_file_bytes: u64,
    /// The longest file that is handed over whole, in bytes.
    pub max_whole_bytes: u64,
    /// How many levels of folders are looked into.
    pub depth_max: u32,
    /// How many files and folders are looked at for one page of a list.
    pub list_max_seen: usize,
    /// How much is searched.
    pub search: SearchLimits,
    /// The longest archive that is taken, in bytes.
    pub archive_max_bytes: u64,
    /// How much one may hold.
    pub unpack: UnpackLimits,
    /// How much is copied at once.
    pub copy: CopyLimits,
    /// How many archives and searches are worked on at once.
    pub heavy_max: usize,
    /// How long an archive may be left unread.
    pub archive_patience: Duration,
    /// How much a workspace may hold whose tenant has no limit of its own; 0 is no limit.
    pub workspace: Held,
}

/// Files of sessions' workspaces.
#[derive(Debug)]
pub struct FileService {
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    rules: FileRules,
    heavy: Arc<Semaphore>,
}

/// A page of what a workspace holds, or what was asked of it.
pub(super) type FilePage = Page<Entry, Position>;

impl FileService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        rules: FileRules,
    ) -> Self {
        Self {
            sessions,
            clock,
            limits,
            rules,
            heavy: Arc::new(Semaphore::new(rules.heavy_max)),
        }
    }

    /// What a folder holds.
    pub async fn list(
        &self,
        caller: &Principal,
        session: SessionId,
        mut order: ListOrder,
    ) -> Result<FilePage, Error> {
        order.depth = order.depth.min(self.rules.depth_max);
        order.most_seen = self.rules.list_max_seen;
        self.reading(caller, session, move |folders| {
            listing::list(folders.workspace.dir(), &order)
        })
        .await
    }

    /// The names of what lies in a folder, in order, at most so many.
    pub async fn names(
        &self,
        caller: &Principal,
        session: SessionId,
        folder: Option<FilePath>,
        most: usize,
    ) -> Result<Vec<String>, Error> {
        let order = ListOrder {
            folder,
            depth: 1,
            glob: None,
            after: None,
            limit: most,
            most_seen: most,
        };
        let page = self.list(caller, session, order).await?;
        let name = |entry: Entry| match entry.path.rsplit_once('/') {
            Some((_, name)) => name.to_owned(),
            None => entry.path,
        };
        Ok(page.items.into_iter().map(name).collect())
    }

    /// What is at a path; at none, the workspace.
    pub async fn stat(
        &self,
        caller: &Principal,
        session: SessionId,
        path: Option<FilePath>,
    ) -> Result<Entry, Error> {
        self.reading(caller, session, move |folders| {
            listing::stat(folders.workspace.dir(), path.as_ref())
        })
        .await
    }

    /// A file, open.
    pub async fn open(
        &self,
        caller: &Principal,
        session: SessionId,
        path: FilePath,
    ) -> Result<OpenFile, Error> {
        self.reading(caller, session, move |folders| {
            reading::open(folders.workspace.dir(), &path)
        })
        .await
    }

    /// A file's content, whole.
    pub async fn read(
        &self,
        caller: &Principal,
        session: SessionId,
        path: FilePath,
    ) -> Result<Vec<u8>, Error> {
        let max_bytes = self.rules.max_whole_bytes;
        self.reading(caller, session, move |folders| {
            reading::read(folders.workspace.dir(), &path, max_bytes)
        })
        .await
    }

    /// Begins to write files: what is written is kept aside until it is placed.
    pub async fn begin(&self, caller: &Principal, session: SessionId) -> Result<Writing, Error> {
        let folders = Arc::new(self.writable(caller, session).await?);
        let room = self.room(caller, &folders).await?;
        Ok(Writing {
            folders,
            clock: Arc::clone(&self.clock),
            max_file_bytes: self.rules.max_file_bytes,
            room,
        })
    }

    /// Writes a file that is at hand whole, in place of one that is there.
    pub async fn write(
        &self,
        caller: &Principal,
        session: SessionId,
        path: FilePath,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let max_bytes = self.rules.max_whole_bytes;
        if data.len() as u64 > max_bytes {
            return Err(FileError::TooLong { max_bytes }.into());
        }
        let mut writing = self.begin(caller, session).await?;
        let mut file = writing.file().await?;
        writing.write(&mut file, &data).await?;
        writing.place(file, path, false, Expected::Anything).await?;
        Ok(())
    }

    /// Makes a folder, with its parents.
    pub async fn make_folder(
        &self,
        caller: &Principal,
        session: SessionId,
        path: FilePath,
    ) -> Result<Entry, Error> {
        let folders = Arc::new(self.writable(caller, session).await?);
        self.room(caller, &folders).await?;
        off_the_worker(move || {
            changing::make_folder(folders.workspace.dir(), &path)?;
            Ok(listing::stat(folders.workspace.dir(), Some(&path))?)
        })
        .await
    }

    /// Moves a file or a folder.
    pub async fn rename(
        &self,
        caller: &Principal,
        session: SessionId,
        from: FilePath,
        to: FilePath,
        overwrite: bool,
    ) -> Result<Entry, Error> {
        self.changing(caller, session, move |folders| {
            changing::rename(folders.workspace.dir(), &from, &to, overwrite)?;
            listing::stat(folders.workspace.dir(), Some(&to))
        })
        .await
    }

    /// Copies a file or a folder.
    pub async fn copy(
        &self,
        caller: &Principal,
        session: SessionId,
        from: FilePath,
        to: FilePath,
        overwrite: bool,
    ) -> Result<Entry, Error> {
        let _one_of_few = self.heavy()?;
        let folders = Arc::new(self.writable(caller, session).await?);
        let quota = self.room(caller, &folders).await?;
        let (part, limits) = (part_name(&*self.clock), self.rules.copy);
        off_the_worker(move || {
            let root = folders.workspace.dir();
            changing::copy(root, &from, &to, overwrite, limits, quota, &part)?;
            Ok(listing::stat(root, Some(&to))?)
        })
        .await
    }

    /// Removes a file, or a folder.
    pub async fn remove(
        &self,
        caller: &Principal,
        session: SessionId,
        path: FilePath,
        recursive: bool,
        expected: Expected,
    ) -> Result<(), Error> {
        self.changing(caller, session, move |folders| {
            changing::remove(folders.workspace.dir(), &path, recursive, &expected)
        })
        .await
    }

    /// Removes a file that is no folder.
    pub async fn remove_file(
        &self,
        caller: &Principal,
        session: SessionId,
        path: FilePath,
    ) -> Result<(), Error> {
        self.changing(caller, session, move |folders| {
            let root = folders.workspace.dir();
            if listing::stat(root, Some(&path))?.kind == crate::files::EntryKind::Folder {
                return Err(FileError::NotAFile);
            }
            changing::remove(root, &path, false, &Expected::Anything)
        })
        .await
    }

    /// Finds text in files.
    pub async fn search(
        &self,
        caller: &Principal,
        session: SessionId,
        order: SearchOrder,
    ) -> Result<Hits, Error> {
        let _one_of_few = self.heavy()?;
        let limits = self.rules.search;
        self.reading(caller, session, move |folders| {
            search(folders.workspace.dir(), &order, limits)
        })
        .await
    }

    /// A folder as an archive, piece by piece. It is packed while it is read, and ends with an error if it cannot be packed
    /// whole.
    pub async fn pack(
        &self,
        caller: &Principal,
        session: SessionId,
        folder: Option<FilePath>,
        format: ArchiveFormat,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, Error> {
        let one_of_few = self.heavy()?;
        let session = self.sessions.find(caller, session).await?;
        let folders = self.sessions.folders(caller, &session).await?;
        let depth = self.rules.depth_max;
        let (pieces, reader) = mpsc::channel(PIECES_AHEAD);
        let (root, folder) = off_the_worker(move || {
            // What cannot be opened is told before the answer begins.
            crate::files::check_folder(folders.workspace.dir(), folder.as_ref())?;
            Ok((folders, folder))
        })
        .await?;
        let out = Pieces::new(pieces.clone(), self.rules.archive_patience);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _one_of_few: OwnedSemaphorePermit = one_of_few;
            if let Err(error) = pack(root.workspace.dir(), folder.as_ref(), format, depth, out) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a folder was not packed whole"
                );
                let told = pieces.send(Err(io::Error::other(error.to_string())));
                let _reader_gone = runtime.block_on(tokio::time::timeout(Duration::from_secs(1), told));
            }
        });
        Ok(reader)
    }

    /// Begins to take an archive.
    pub async fn begin_archive(
        &self,
        caller: &Principal,
        session: SessionId,
    ) -> Result<IncomingArchive, Error> {
        let one_of_few = self.heavy()?;
        let folders = Arc::new(self.writable(caller, session).await?);
        let room = self.room(caller, &folders).await?;
        let name = part_name(&*self.clock);
        let (file, folders) = off_the_worker(move || {
            let file = scratch(folders.workspace.dir(), &name)?;
            Ok((file, folders))
        })
        .await?;
        Ok(IncomingArchive {
            file: tokio::fs::File::from_std(file),
            folders,
            room,
            written: 0,
            max_bytes: self.rules.archive_max_bytes,
            limits: self.rules.unpack,
            part: part_name(&*self.clock),
            one_of_few,
        })
    }

    /// One of the few places for what takes long.
    fn heavy(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.heavy).try_acquire_owned();
        place.map_err(|_all_taken| Error::FilesBusy {
            retry_after: RETRY_SOON,
        })
    }

    async fn writable(&self, caller: &Principal, session: SessionId) -> Result<Folders, Error> {
        let session = self.sessions.find_usable(caller, session).await?;
        self.sessions.folders(caller, &session).await
    }

    /// How much more the workspace may hold.
    async fn room(&self, caller: &Principal, folders: &Arc<Folders>) -> Result<Room, Error> {
        let own = self.limits.limits_of(caller.tenant).await?;
        let most = |most: u64| (most > 0).then_some(most);
        let room = Room {
            bytes: most(own.workspace_max_bytes.unwrap_or(self.rules.workspace.bytes)),
            entries: most(own.workspace_max_entries.unwrap_or(self.rules.workspace.entries)),
        };
        let (folders, depth) = (Arc::clone(folders), self.rules.depth_max);
        off_the_worker(move || Ok(room.beside(folders.workspace.dir(), depth)?)).await
    }

    async fn reading<T: Send + 'static>(
        &self,
        caller: &Principal,
        session: SessionId,
        work: impl FnOnce(&Folders) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Error> {
        let session = self.sessions.find(caller, session).await?;
        let folders = self.sessions.folders(caller, &session).await?;
        off_the_worker(move || Ok(work(&folders)?)).await
    }

    async fn changing<T: Send + 'static>(
        &self,
        caller: &Principal,
        session: SessionId,
        work: impl FnOnce(&Folders) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Error> {
        let folders = self.writable(caller, session).await?;
        off_the_worker(move || Ok(work(&folders)?)).await
    }
}

/// What something is called that is not whole.
fn part_name(clock: &dyn Clock) -> String {
    format!(".{}.part", EntryId::generate(clock).as_uuid().simple())
}
