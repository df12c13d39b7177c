//! A control group (v2) of an agent's own, where the server has been given a folder for them: its memory and its processes
//! are bounded there, whatever users and namespaces they are in.

use std::io;
use std::path::{Path, PathBuf};

use crate::domain::SessionId;

/// Where control groups are made for agents, and what they bound.
#[derive(Debug, Clone)]
pub struct ControlGroups {
    /// The folder, delegated to the server.
    pub folder: PathBuf,
    /// The most memory, in bytes; 0: no limit.
    pub memory_max_bytes: u64,
    /// The most processes and threads.
    pub processes_max: u64,
}

/// The control group of one agent. It is removed when this is dropped, when nothing is left in it.
#[derive(Debug)]
pub struct ControlGroup {
    path: PathBuf,
}

impl ControlGroups {
    /// Lets the groups that are made bound memory and processes.
    ///
    /// # Errors
    /// When the folder is not the server's to use, or the kernel does not bound these there.
    pub fn prepare(&self) -> io::Result<()> {
        std::fs::write(self.folder.join("cgroup.subtree_control"), "+memory +pids")
    }

    pub(super) fn make(&self, session: SessionId) -> io::Result<ControlGroup> {
        let path = self.folder.join(session.to_string());
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let group = ControlGroup { path };
        std::fs::write(group.path.join("pids.max"), self.processes_max.to_string())?;
        if self.memory_max_bytes > 0 {
            std::fs::write(group.path.join("memory.max"), self.memory_max_bytes.to_string())?;
            // Swapping would only put off the end, and take the disk from all others.
            std::fs::write(group.path.join("memory.swap.max"), "0").or_else(|error| {
                // There is none where the kernel does not swap.
                if error.kind() == io::ErrorKind::NotFound {
                    Ok(())
                } else {
                    Err(error)
                }
            })?;
        }
        Ok(group)
    }
}

impl ControlGroup {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a control group was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn in_a_stand_in_for_the_kernels_folder_the_limits_are_written() {
        // A folder like any other: that the kernel keeps to what is written is not tested here.
        let folder = tempfile::tempdir().unwrap();
        let groups = ControlGroups {
            folder: folder.path().to_owned(),
            memory_max_bytes: 1 << 30,
            processes_max: 100,
        };
        groups.prepare().unwrap();
        let group = groups.make(SessionId::generate(&SystemClock)).unwrap();
        let read = |name: &str| std::fs::read_to_string(group.path().join(name)).unwrap();
        assert_eq!(
            (read("pids.max"), read("memory.max")),
            ("100".into(), "1073741824".into())
        );
        let missing = ControlGroups {
            folder: folder.path().join("none"),
            ..groups
        };
        missing.prepare().unwrap_err();
        missing.make(SessionId::generate(&SystemClock)).unwrap_err();
    }
}
