//! Sessions that do not begin with an empty workspace: with a clone of a repository, or with the files of a template.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::Error;
use super::git::{GitService, SourceOrder};
use super::sessions::{NewSession, SessionDetails, SessionService, off_the_worker};
use crate::agent::Folders;
use crate::domain::{Clock, EntryId, Principal};
use crate::lifecycle::Tasks;
use crate::security::workspace_copy::CopyLimits;
use crate::security::workspace_fill::{check_empty, copy_part, remove, settle};

/// A folder of the server's that workspaces can begin with.
#[derive(Debug, Clone)]
pub struct Template {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it is.
    pub path: PathBuf,
}

/// What a workspace begins with.
#[derive(Debug, Clone)]
pub enum Beginning {
    /// A clone of a repository.
    Clone(SourceOrder),
    /// The files of the template of this name.
    Template(String),
}

/// Makes sessions whose workspaces begin with something.
#[derive(Debug, Clone)]
pub struct BeginningService {
    sessions: Arc<SessionService>,
    git: Arc<GitService>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    /// By their names.
    templates: Arc<[Template]>,
    limits: CopyLimits,
}

impl BeginningService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        sessions: Arc<SessionService>,
        git: Arc<GitService>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        templates: Vec<Template>,
        limits: CopyLimits,
    ) -> Self {
        Self {
            sessions,
            git,
            clock,
            tasks,
            templates: templates.into(),
            limits,
        }
    }

    /// The templates that there are, by their names.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// Makes a session whose workspace, which must be new or empty, begins with this. Where that fails, there is no session, and
    /// nothing is left in the workspace. What is begun is ended, also where nobody waits for it any more.
    pub async fn create(
        &self,
        caller: &Principal,
        new: NewSession,
        beginning: Beginning,
    ) -> Result<SessionDetails, Error> {
        let (own, caller) = (self.clone(), caller.clone());
        let made = self
            .tasks
            .spawn(async move { own.fill(&caller, new, beginning).await });
        made.await.unwrap_or_else(|error| {
            Err(Error::Internal {
                action: "a session was not made",
                source: error.into(),
            })
        })
    }

    async fn fill(
        &self,
        caller: &Principal,
        new: NewSession,
        beginning: Beginning,
    ) -> Result<SessionDetails, Error> {
        let session = self.sessions.prepare(caller, new).await?;
        let folders = Arc::new(self.sessions.make_folders(caller, &session).await?);
        in_workspace(&folders, |folders| Ok(check_empty(folders.workspace.dir())?)).await?;
        let part = format!(".{}.part", EntryId::generate(&*self.clock).as_uuid().simple());
        let filled = match beginning {
            Beginning::Clone(order) => self.git.fetch_into(caller, &folders, &order, &part).await,
            Beginning::Template(name) => self.copy(&folders, &name, &part).await,
        };
        let own_part = part.clone();
        let settled = match filled {
            Ok(()) => in_workspace(&folders, move |folders| {
                Ok(settle(folders.workspace.dir(), &own_part)?)
            }),
            Err(error) => {
                take_back(&folders, vec![part.into()]).await?;
                return Err(error);
            }
        };
        let moved = match settled.await {
            Ok(moved) => moved,
            Err(error) => {
                take_back(&folders, vec![part.into()]).await?;
                return Err(error);
            }
        };
        let own = self.sessions.folders(caller, &session).await?;
        let made = self.sessions.finish(caller, session, own).await;
        if made.is_err() {
            take_back(&folders, moved).await?;
        }
        made
    }

    async fn copy(&self, folders: &Arc<Folders>, name: &str, part: &str) -> Result<(), Error> {
        let template = self.templates.iter().find(|template| template.name == name);
        let from = template.ok_or(Error::TemplateNotFound)?.path.clone();
        let (part, limits) = (part.to_owned(), self.limits);
        in_workspace(folders, move |folders| {
            Ok(copy_part(&from, folders.workspace.dir(), &part, limits)?)
        })
        .await
    }
}

async fn take_back(folders: &Arc<Folders>, names: Vec<OsString>) -> Result<(), Error> {
    in_workspace(folders, move |folders| {
        remove(folders.workspace.dir(), &names);
        Ok(())
    })
    .await
}

async fn in_workspace<T: Send + 'static>(
    folders: &Arc<Folders>,
    work: impl FnOnce(&Folders) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let folders = Arc::clone(folders);
    off_the_worker(move || work(&folders)).await
}
