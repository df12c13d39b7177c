//! `git`: repositories in workspaces.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::Network;
use super::{duration, require};

/// Repositories in workspaces. `git` runs in the jail of the session's agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GitSection {
    /// The program: a path, or a name that is looked up in PATH.
    pub path: PathBuf,
    /// How long it may take, waiting for a place included.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The most that run at once, on each instance.
    pub concurrency_max: usize,
    /// How much of what it tells is taken, in bytes; what is longer is cut off, and that is told.
    pub output_max_bytes: usize,
    /// The host of the addresses of those who make commits and have none: `USER@HOST`.
    pub email_host: String,
    /// Whether sessions may begin with a clone of a repository (`source`).
    pub clone: bool,
    /// How long a clone may take.
    #[serde(with = "duration")]
    pub clone_timeout: Duration,
    /// How many commits a clone has of each branch; 0: all.
    pub clone_depth: u32,
    /// The hosts that may be cloned from: names, or endings such as `*.example.com`; any when empty.
    pub clone_hosts: Vec<String>,
    /// Whether repositories may be cloned without TLS.
    pub clone_http: bool,
    /// The private networks that may be cloned from: addresses, or networks such as `10.0.0.0/8`. None by default.
    pub clone_networks: Vec<Network>,
}

impl Default for GitSection {
    fn default() -> Self {
        Self {
            path: "git".into(),
            timeout: Duration::from_secs(30),
            concurrency_max: 8,
            output_max_bytes: 4 * 1024 * 1024,
            email_host: "paddock.invalid".to_owned(),
            clone: true,
            clone_timeout: Duration::from_mins(5),
            clone_depth: 0,
            clone_hosts: Vec::new(),
            clone_http: false,
            clone_networks: Vec::new(),
        }
    }
}

impl GitSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (time, name) in [(self.timeout, "timeout"), (self.clone_timeout, "clone_timeout")] {
            require(
                !time.is_zero(),
                problems,
                &format!("git.{name}: must be more than 0"),
            );
        }
        require(
            self.concurrency_max > 0,
            problems,
            "git.concurrency_max: must be at least 1",
        );
        require(
            self.output_max_bytes >= 4096,
            problems,
            "git.output_max_bytes: must be at least 4096",
        );
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
        require(
            !self.email_host.is_empty() && self.email_host.chars().all(is_plain),
            problems,
            "git.email_host: must be a host's name",
        );
        require(
            self.clone_hosts
                .iter()
                .all(|host| !host.is_empty() && !host.contains(['/', ':'])),
            problems,
            "git.clone_hosts: must be names of hosts, or endings such as *.example.com",
        );
    }
}
