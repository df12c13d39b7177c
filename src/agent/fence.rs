//! What fences this server's agents in: from what is set, and the folders of a session, to the jail of its agent.

use std::path::PathBuf;

use super::control_group::ControlGroups;
use super::home::Home;
use super::launch::{Folders, Means};
use crate::gateway::Door;
use crate::jail::{Grant, Jail, Level, Limits, Network};
use crate::security::workspace::Workspace;

/// What fences all agents in.
#[derive(Debug, Clone)]
pub struct Fence {
    /// How strong the jail is, as was found when it was tried.
    pub level: Level,
    /// What agents may connect to, besides the gateway.
    pub network: Network,
    /// Whether an agent may touch all of its user's tree, and not its workspace alone.
    pub whole_user: bool,
    /// What all of them may touch besides their own.
    pub grants: Vec<Grant>,
    /// How much each may use.
    pub limits: Limits,
    /// The users that they run under; the server's own when absent.
    pub users: Option<Users>,
    /// Where control groups are made for them.
    pub control_groups: Option<ControlGroups>,
    /// The program that makes namespaces.
    pub bubblewrap: PathBuf,
}

/// Users of the machine, one for each tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Users {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Fence {
    /// No fence at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            level: Level::None,
            network: Network {
                ports: None,
                datagrams: true,
            },
            whole_user: false,
            grants: Vec::new(),
            limits: Limits {
                open_files: u64::MAX,
                file_bytes: u64::MAX,
                processes: u64::MAX,
                shared_memory_bytes: u64::MAX,
            },
            users: None,
            control_groups: None,
            bubblewrap: PathBuf::new(),
        }
    }

    /// The jail of a session's agent.
    pub(super) fn of_session(&self, folders: &Folders, home: &Home, means: &Means<'_>) -> Option<Jail> {
        let own = |workspace: &Workspace| Grant::write(workspace.path()).exactly(workspace.identity().pair());
        let read = |workspace: &Workspace| Grant::read(workspace.path()).exactly(workspace.identity().pair());
        let mut grants: Vec<_> = folders.added.iter().map(own).collect();
        if self.whole_user {
            grants.push(own(&folders.tree));
        }
        grants.extend(folders.plugins.iter().map(read));
        self.jail(own(&folders.workspace), grants, home, means)
    }

    /// The jail of an agent that has no session, and works in its home.
    #[must_use]
    pub fn of_nobody(&self, home: &Home, means: &Means<'_>) -> Option<Jail> {
        self.jail(Grant::write(home.path()), Vec::new(), home, means)
    }

    fn jail(
        &self,
        working_dir: Grant,
        mut grants: Vec<Grant>,
        home: &Home,
        means: &Means<'_>,
    ) -> Option<Jail> {
        if self.level == Level::None {
            return None;
        }
        grants.push(Grant::write(home.path()));
        grants.extend(self.grants.iter().cloned());
        let mut network = self.network.clone();
        if means.model_only {
            network = Network {
                ports: Some(Vec::new()),
                datagrams: false,
            };
        }
        if let Some(ports) = &mut network.ports {
            ports.extend(means.door.map(Door::port));
        }
        Some(Jail {
            level: self.level,
            working_dir,
            grants,
            temporary_dir: home.temporary_dir(),
            network,
            limits: self.limits,
            user: means.user,
            control_group: means.control_group.map(|group| group.path().to_owned()),
            bubblewrap: self.bubblewrap.clone(),
        })
    }
}
