//! Files of sessions' workspaces.

use std::sync::Arc;

use super::error::Error;
use super::sessions::{SessionService, off_the_worker};
use crate::agent::Folders;
use crate::domain::{Clock, EntryId, Principal, SessionId, Subdir};
use crate::security::workspace_files::{self, FileError};

/// Files of sessions' workspaces.
#[derive(Debug)]
pub struct FileService {
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
    /// The longest file, in bytes.
    max_bytes: u64,
}

impl FileService {
    /// The use cases over these parts, for files of at most so many bytes.
    #[must_use]
    pub fn new(sessions: Arc<SessionService>, clock: Arc<dyn Clock>, max_bytes: u64) -> Self {
        Self {
            sessions,
            clock,
            max_bytes,
        }
    }

    /// A file's content.
    pub async fn read(&self, caller: &Principal, session: SessionId, path: Subdir) -> Result<Vec<u8>, Error> {
        let max_bytes = self.max_bytes;
        self.with(caller, session, move |folders| {
            workspace_files::read(folders.workspace.dir(), &path, max_bytes)
        })
        .await
    }

    /// Writes a file, in place of one that is there.
    pub async fn write(
        &self,
        caller: &Principal,
        session: SessionId,
        path: Subdir,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let max_bytes = self.max_bytes;
        let part = format!(".{}.part", EntryId::generate(&*self.clock).as_uuid().simple());
        self.with(caller, session, move |folders| {
            workspace_files::write(folders.workspace.dir(), &path, &data, max_bytes, &part)
        })
        .await
    }

    /// Removes a file.
    pub async fn remove(&self, caller: &Principal, session: SessionId, path: Subdir) -> Result<(), Error> {
        self.with(caller, session, move |folders| {
            workspace_files::remove(folders.workspace.dir(), &path)
        })
        .await
    }

    /// The names of what lies in a folder of the workspace, or in the workspace itself, in order, at most so many.
    pub async fn list(
        &self,
        caller: &Principal,
        session: SessionId,
        path: Option<Subdir>,
        most: usize,
    ) -> Result<Vec<String>, Error> {
        self.with(caller, session, move |folders| {
            workspace_files::list(folders.workspace.dir(), path.as_ref(), most)
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        caller: &Principal,
        session: SessionId,
        work: impl FnOnce(&Folders) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Error> {
        let session = self.sessions.find_usable(caller, session).await?;
        let folders = self.sessions.folders(caller, &session).await?;
        off_the_worker(move || Ok(work(&folders)?)).await
    }
}
