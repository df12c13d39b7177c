//! A session's private home: where its CLI keeps settings and transcripts. No two sessions share one.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::domain::{ClaudeSessionId, SessionId, TenantId};

/// Where private homes are.
#[derive(Debug, Clone)]
pub struct Homes {
    base: PathBuf,
}

/// One session's private home.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
}

impl Homes {
    /// Homes under `base`, which is made absolute and created for this user alone.
    pub fn open(base: &Path) -> io::Result<Self> {
        let base = std::path::absolute(base)?;
        create_private(&base)?;
        Ok(Self { base })
    }

    /// The home of a session, which need not exist.
    #[must_use]
    pub fn of(&self, tenant: TenantId, session: SessionId) -> Home {
        Home {
            path: self.base.join(tenant.to_string()).join(session.to_string()),
        }
    }
}

impl Home {
    /// Makes what is missing of it.
    pub fn create(&self) -> io::Result<()> {
        for folder in [self.path.clone(), self.config_dir(), self.temporary_dir()] {
            create_private(&folder)?;
        }
        Ok(())
    }

    /// Removes it and all that is in it. One that is not there is fine.
    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The agent's `HOME`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The agent's `CLAUDE_CONFIG_DIR`.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.path.join(".claude")
    }

    /// Where the CLI keeps its transcripts.
    #[must_use]
    pub fn projects_dir(&self) -> PathBuf {
        self.config_dir().join("projects")
    }

    /// The agent's `TMPDIR`.
    #[must_use]
    pub fn temporary_dir(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// Whether the CLI has written a transcript of this conversation, so that it can only be resumed.
    #[must_use]
    pub fn has_transcript(&self, conversation: ClaudeSessionId) -> bool {
        let name = format!("{conversation}.jsonl");
        std::fs::read_dir(self.projects_dir()).is_ok_and(|projects| {
            projects
                .flatten()
                .any(|project| project.path().join(&name).is_file())
        })
    }
}

/// A folder that only this user enters, with its parents.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// A new file that only this user reads, in place of one of that name.
pub(super) fn private_file(path: &Path) -> io::Result<std::fs::File> {
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    fn home(folder: &Path) -> Home {
        Homes::open(folder).unwrap().of(
            TenantId::generate(&SystemClock),
            SessionId::generate(&SystemClock),
        )
    }

    #[test]
    fn a_home_is_closed_to_other_users() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        home.create().unwrap();
        for path in [home.path().to_owned(), home.config_dir(), home.temporary_dir()] {
            assert_eq!(
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
    }

    #[test]
    fn a_transcript_is_found_whatever_folder_the_cli_gave_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(folder.path());
        let conversation = ClaudeSessionId::generate(&SystemClock);
        assert!(!home.has_transcript(conversation), "there is no home yet");
        let project = home.config_dir().join("projects/-some-folder");
        std::fs::create_dir_all(&project).unwrap();
        std::fs::write(project.join(format!("{conversation}.jsonl")), "{}").unwrap();
        assert!(home.has_transcript(conversation));
        assert!(!home.has_transcript(ClaudeSessionId::generate(&SystemClock)));
        home.remove().unwrap();
        home.remove().unwrap();
        assert!(!home.path().exists());
    }
}
