//! A session's private home: where its CLI keeps settings and transcripts. No two sessions share one.
//!
//! An agent may put anything there, links to elsewhere too; so what the server does in a home, it does by the home's
//! handle.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _, Permissions};
use uuid::Uuid;

use crate::domain::{ClaudeSessionId, SessionId, TenantId};
use crate::security::ownership;
use crate::security::walk::remove_all;

/// The folder of the CLI's own files, in a home.
const CONFIG: &str = ".claude";
/// The folder of its transcripts, in there.
const PROJECTS: &str = "projects";
/// The folder for temporary files, in a home.
const TEMPORARY: &str = "tmp";

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
        // Closed to others, whatever it was; but for those who pass.
        create_private(&base)?;
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o700))?;
        ownership::create_own(&base)?;
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
    /// Makes what is missing of it; whether all of it was.
    pub fn create(&self) -> io::Result<bool> {
        let is_new = !self.path.exists();
        create_private(&self.path)?;
        let home = self.open()?;
        for folder in [CONFIG, TEMPORARY] {
            // An agent may have put something else in its place.
            if home.symlink_metadata(folder).is_ok_and(|found| !found.is_dir()) {
                home.remove_file(folder)?;
            }
            home.create_dir_all(folder)?;
            home.set_permissions(folder, private(0o700))?;
        }
        Ok(is_new)
    }

    /// Copies all that a folder holds into it. Links are copied as what they lead to.
    pub fn fill_from(&self, template: &Path) -> io::Result<()> {
        copy_into(&self.open()?, Path::new(""), template)
    }

    /// Gives all of it to a user of the machine, who may pass through the folder that it is in.
    pub fn give_to(&self, user: u32) -> io::Result<()> {
        let home = self.open()?;
        ownership::let_through_parent(&home, user)?;
        ownership::give_all(&home, user)
    }

    /// Its handle: what an agent puts there leads nowhere else for those who go by it.
    fn open(&self) -> io::Result<Dir> {
        Dir::open_ambient_dir(&self.path, ambient_authority())
    }

    /// Its handle, for those who only look.
    pub(super) fn handle(&self) -> io::Result<std::os::fd::OwnedFd> {
        Ok(self.open()?.into_std_file().into())
    }

    /// A new file of this name that only its owner reads.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut new_file(&self.open()?, Path::new(name))?, content)
    }

    /// A new file among the CLI's transcripts that only its owner reads, in place of one of that name.
    pub fn transcript_file(&self, path: &Path) -> io::Result<std::fs::File> {
        let path = Path::new(CONFIG).join(PROJECTS).join(path);
        new_file(&self.open()?, &path)
    }

    /// Removes the CLI's transcripts.
    pub fn forget_transcripts(&self) -> io::Result<()> {
        match self.open()?.open_dir(CONFIG) {
            Ok(config) => remove_all(&config, &CString::new(PROJECTS)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes it and all that is in it. One that is not there is fine.
    pub fn remove(&self) -> io::Result<()> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Ok(());
        };
        match std::fs::File::open(folder) {
            Ok(folder) => remove_all(&folder, &CString::new(name.as_bytes())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
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
        self.path.join(CONFIG)
    }

    /// Where the CLI keeps its transcripts.
    #[must_use]
    pub fn projects_dir(&self) -> PathBuf {
        self.config_dir().join(PROJECTS)
    }

    /// The agent's `TMPDIR`.
    #[must_use]
    pub fn temporary_dir(&self) -> PathBuf {
        self.path.join(TEMPORARY)
    }

    /// Whether the CLI has written a transcript of this conversation, so that it can only be resumed.
    #[must_use]
    pub fn has_transcript(&self, conversation: ClaudeSessionId) -> bool {
        self.folder_of_transcript(conversation).is_some()
    }

    /// Whether the transcript of a conversation is there and names this id.
    #[must_use]
    pub fn transcript_names(&self, conversation: ClaudeSessionId, id: Uuid) -> bool {
        let name = transcript_name(conversation);
        let text = self
            .folder_of_transcript(conversation)
            .and_then(|folder| folder.read(name).ok());
        let id = id.hyphenated().to_string();
        text.is_some_and(|text| text.windows(id.len()).any(|part| part == id.as_bytes()))
    }

    fn folder_of_transcript(&self, conversation: ClaudeSessionId) -> Option<Dir> {
        let name = transcript_name(conversation);
        let projects = self
            .open()
            .and_then(|home| home.read_dir(Path::new(CONFIG).join(PROJECTS)));
        let folders = projects.ok()?.flatten().flat_map(|project| project.open_dir());
        folders
            .into_iter()
            .find(|folder| folder.symlink_metadata(&name).is_ok_and(|found| found.is_file()))
    }
}

fn transcript_name(conversation: ClaudeSessionId) -> String {
    format!("{conversation}.jsonl")
}

/// A folder that only this user enters, with its parents.
fn create_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// A new file that only its owner reads, with the folders on its way.
fn new_file(within: &Dir, path: &Path) -> io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        within.create_dir_with(folder, &builder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    Ok(within.open_with(path, &options)?.into_std())
}

fn copy_into(home: &Dir, at: &Path, template: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(template)? {
        let entry = entry?;
        let (from, to) = (entry.path(), at.join(entry.file_name()));
        let found = std::fs::metadata(&from)?;
        if found.is_dir() {
            home.create_dir_all(&to)?;
            copy_into(home, &to, &from)?;
        } else if found.is_file() {
            io::copy(&mut std::fs::File::open(&from)?, &mut new_file(home, &to)?)?;
            home.set_permissions(&to, private(found.permissions().mode() & 0o700))?;
        }
    }
    Ok(())
}

fn private(mode: u32) -> Permissions {
    Permissions::from_std(std::fs::Permissions::from_mode(mode))
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
        assert!(home.create().unwrap());
        assert!(!home.create().unwrap(), "it is there already");
        for path in [home.path().to_owned(), home.config_dir(), home.temporary_dir()] {
            assert_eq!(
                std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
    }

    #[test]
    fn what_an_agent_links_to_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let home = home(&folder.path().join("homes"));
        home.create().unwrap();
        std::fs::remove_dir(home.config_dir()).unwrap();
        std::os::unix::fs::symlink(&outside, home.config_dir()).unwrap();
        home.transcript_file(Path::new("project/a.jsonl")).unwrap_err();
        home.create().unwrap();
        assert!(home.config_dir().is_dir() && !home.config_dir().is_symlink());
        std::os::unix::fs::symlink(&outside, home.projects_dir()).unwrap();
        home.transcript_file(Path::new("project/a.jsonl")).unwrap_err();
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn a_template_is_copied_with_what_its_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let template = folder.path().join("template");
        std::fs::create_dir_all(template.join(".claude/hooks")).unwrap();
        std::fs::write(template.join(".claude/settings.json"), "{}").unwrap();
        std::fs::write(template.join(".claude/hooks/run.sh"), "exit").unwrap();
        std::fs::set_permissions(
            template.join(".claude/hooks/run.sh"),
            std::fs::Permissions::from_mode(0o755),
        )
        .unwrap();
        std::os::unix::fs::symlink("settings.json", template.join(".claude/link")).unwrap();
        let home = home(&folder.path().join("homes"));
        home.create().unwrap();
        home.fill_from(&template).unwrap();
        for (name, mode) in [("settings.json", 0o600), ("hooks/run.sh", 0o700), ("link", 0o600)] {
            let found = std::fs::symlink_metadata(home.config_dir().join(name)).unwrap();
            assert!(found.is_file());
            assert_eq!(found.permissions().mode() & 0o777, mode, "{name}");
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
        let id = conversation.as_uuid();
        assert!(!home.transcript_names(conversation, id));
        std::fs::write(
            project.join(format!("{conversation}.jsonl")),
            format!("{{\"uuid\":\"{id}\"}}\n"),
        )
        .unwrap();
        assert!(home.transcript_names(conversation, id));
        assert!(!home.has_transcript(ClaudeSessionId::generate(&SystemClock)));
        home.remove().unwrap();
        home.remove().unwrap();
        assert!(!home.path().exists());
    }
}
