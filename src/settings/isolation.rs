//! `isolation`: what fences agents in.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Settings, duration, require};

/// What fences agents in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsolationSection {
    /// How strong the jail of agents is.
    pub level: IsolationLevel,
    /// Whether the server refuses to start where no jail holds. Null: yes, unless only one user can exist.
    pub required: Option<bool>,
    /// What agents may connect to, by TCP: `gateway` (the model gateway alone), `web` (also name service and the
    /// ports 80, 443 and 22), a list of ports (also the gateway; with 53 also name service), `open` (everything, and
    /// they may listen).
    pub network: NetworkSetting,
    /// What of its user's files an agent may touch.
    pub scope: IsolationScope,
    /// More that agents may read and execute; of all sessions alike.
    pub read_paths: Vec<PathBuf>,
    /// More that agents may change; of all sessions alike.
    pub write_paths: Vec<PathBuf>,
    /// The program that makes namespaces: a path, or a name that is looked up in PATH.
    pub bubblewrap_path: PathBuf,
    /// For a server that is root: agents run under users of their tenants' own, from this one on. Null: as root,
    /// without its rights.
    pub first_uid: Option<u32>,
    /// How many such users there are.
    pub uids: u32,
    /// The most open files of one process of an agent.
    pub open_files_max: u64,
    /// The longest file that an agent may write, in bytes.
    pub file_max_bytes: u64,
    /// The most processes and threads of an agent. They are counted where agents have a user, a user namespace or a
    /// control group of their own; else all agents share `agent.max_live` times as many.
    pub processes_max: u64,
    /// The most shared memory of an agent, in bytes, where it has its own (`namespaces`); elsewhere it has none.
    pub shared_memory_max_bytes: u64,
    /// A folder of control groups (v2) that is the server's to use; null: none.
    pub control_group: Option<PathBuf>,
    /// The most memory of an agent there, in bytes; 0: no limit.
    pub memory_max_bytes: u64,
    /// The most that the folders of a session may hold while a turn runs, in bytes; past it the turn ends with
    /// `workspace_full`. 0: no limit.
    pub disk_max_bytes: u64,
    /// The most files and folders that they may hold; 0: no limit.
    pub disk_max_entries: u64,
    /// How often that is looked at.
    #[serde(with = "duration")]
    pub disk_interval: Duration,
}

/// How strong the jail of agents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationLevel {
    /// The strongest that holds here, as is tried at the start.
    Best,
    /// Landlock and seccomp.
    Landlock,
    /// These, and namespaces, by bubblewrap.
    Namespaces,
    /// Nothing keeps agents from anything.
    None,
}

/// What of its user's files an agent may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationScope {
    /// Its session's workspace.
    Session,
    /// All of the user's tree.
    User,
}

/// What agents may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, from = "Written")]
pub enum NetworkSetting {
    /// By name.
    Named(NamedNetwork),
    /// These TCP ports, and the gateway.
    Ports(Vec<u16>),
}

/// What agents may connect to, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedNetwork {
    /// The gateway, name service, and ports 80, 443 and 22.
    Web,
    /// The gateway alone.
    Gateway,
    /// Everything.
    Open,
}

/// A network as it may be written: in a variable, ports are separated by commas.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected web, gateway, open, or a list of ports")]
enum Written {
    Named(NamedNetwork),
    Ports(Vec<u16>),
    Port(u16),
    #[serde(deserialize_with = "ports_of_text")]
    Text(Vec<u16>),
}

impl From<Written> for NetworkSetting {
    fn from(written: Written) -> Self {
        match written {
            Written::Named(network) => Self::Named(network),
            Written::Ports(ports) | Written::Text(ports) => Self::Ports(ports),
            Written::Port(port) => Self::Ports(vec![port]),
        }
    }
}

fn ports_of_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let ports = text.split(',').map(|port| port.trim().parse());
    ports.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

/// The port of name service.
const NAME_SERVICE: u16 = 53;
/// What packages and repositories are fetched by.
const WEB: [u16; 4] = [80, 443, 22, NAME_SERVICE];

impl NetworkSetting {
    /// The TCP ports; `None`: all.
    #[must_use]
    pub fn ports(&self) -> Option<&[u16]> {
        match self {
            Self::Named(NamedNetwork::Web) => Some(&WEB),
            Self::Named(NamedNetwork::Gateway) => Some(&[]),
            Self::Named(NamedNetwork::Open) => None,
            Self::Ports(ports) => Some(ports),
        }
    }

    /// Whether names can be looked up.
    #[must_use]
    pub fn has_name_service(&self) -> bool {
        self.ports().is_none_or(|ports| ports.contains(&NAME_SERVICE))
    }
}

impl Default for IsolationSection {
    fn default() -> Self {
        Self {
            level: IsolationLevel::Best,
            required: None,
            network: NetworkSetting::Named(NamedNetwork::Web),
            scope: IsolationScope::Session,
            read_paths: Vec::new(),
            write_paths: Vec::new(),
            bubblewrap_path: "bwrap".into(),
            first_uid: Some(20_000),
            uids: 40_000,
            open_files_max: 16_384,
            file_max_bytes: 4 * 1024 * 1024 * 1024,
            processes_max: 1024,
            shared_memory_max_bytes: 64 * 1024 * 1024,
            control_group: None,
            memory_max_bytes: 0,
            disk_max_bytes: 20 * 1024 * 1024 * 1024,
            disk_max_entries: 1_000_000,
            disk_interval: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// Whether the server must not start without a jail that holds.
    #[must_use]
    pub fn needs_jail(&self) -> bool {
        self.isolation.required.unwrap_or_else(|| !self.is_for_one_user())
    }
}

impl IsolationSection {
    pub(super) fn check(&self, settings: &Settings, problems: &mut Vec<String>) {
        require(
            !(self.level == IsolationLevel::None && self.required == Some(true)),
            problems,
            "isolation.required: is true, and isolation.level is none; choose one",
        );
        self.check_network(settings, problems);
        for (value, least, name) in [
            (self.open_files_max, 256, "open_files_max"),
            (self.file_max_bytes, 1024 * 1024, "file_max_bytes"),
            (self.processes_max, 64, "processes_max"),
            (
                self.shared_memory_max_bytes,
                1024 * 1024,
                "shared_memory_max_bytes",
            ),
        ] {
            require(
                value >= least,
                problems,
                &format!("isolation.{name}: must be at least {least}"),
            );
        }
        require(
            !self.disk_interval.is_zero(),
            problems,
            "isolation.disk_interval: must be more than 0",
        );
        require(
            self.uids > 0
                && self
                    .first_uid
                    .is_none_or(|first| first >= 1000 && first.checked_add(self.uids).is_some()),
            problems,
            "isolation.first_uid, isolation.uids: must be users from 1000 on, at least one",
        );
        require(
            self.memory_max_bytes == 0 || self.control_group.is_some(),
            problems,
            "isolation.memory_max_bytes: needs isolation.control_group",
        );
        for (paths, name) in [
            (&self.read_paths, "read_paths"),
            (&self.write_paths, "write_paths"),
        ] {
            for path in paths {
                require(
                    path.is_absolute(),
                    problems,
                    &format!("isolation.{name}: `{}` must begin with /", path.display()),
                );
                for (kept, what) in [
                    (&settings.user.base_dir, "user.base_dir"),
                    (&settings.agent.homes_dir, "agent.homes_dir"),
                    (&settings.session.sqlite_path, "session.sqlite_path"),
                ] {
                    require(
                        !super::lies_in(kept, path),
                        problems,
                        &format!(
                            "isolation.{name}: `{}` holds {what}, which agents must not reach",
                            path.display()
                        ),
                    );
                }
            }
        }
    }

    /// Our own port and the database's are not to be reached.
    fn check_network(&self, settings: &Settings, problems: &mut Vec<String>) {
        let Some(ports) = self.network.ports() else { return };
        require(
            !ports.contains(&0),
            problems,
            "isolation.network: 0 is not a port",
        );
        let mut kept = vec![(settings.api.port, "the server listens on (api.port)")];
        if let Some(port) = settings.session.database_port() {
            kept.push((port, "the database is reached by"));
        }
        for (port, whose) in kept {
            require(
                !ports.contains(&port),
                problems,
                &format!(
                    "isolation.network: lets agents connect to port {port}, which {whose}; choose another port, other ports \
                     for agents, or say open"
                ),
            );
        }
    }
}
