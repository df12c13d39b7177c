//! `checkpoints`: what workspaces were like before and after turns.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// What workspaces were like before and after turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointsSection {
    /// Whether checkpoints are taken in sessions that do not say otherwise (options.checkpoints).
    pub enabled: bool,
    /// The folder that they lie in, one folder a session. Several instances share it, as they share workspaces. Null:
    /// `checkpoints` beside `agent.homes_dir`.
    pub dir: Option<PathBuf>,
    /// How much is kept of one session, in bytes. The oldest checkpoints go first. A workspace whose files are larger together
    /// has none.
    pub max_bytes: u64,
    /// The most files, folders and links of a workspace. One that has more has no checkpoints.
    pub max_entries: u64,
    /// The largest file that is kept, in bytes. A larger one stays as it is when it is gone back.
    pub max_file_bytes: u64,
    /// How deep folders are gone into. What lies deeper stays as it is when it is gone back.
    pub max_depth: u32,
    /// Of how many turns of a session checkpoints are kept.
    pub max_turns: usize,
    /// How long taking one may take. A turn goes on without it then.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// The longest file that is compared line by line in a turn's diff, in bytes.
    pub diff_file_max_bytes: u64,
    /// The most text of a turn's diff, in bytes. What is more is left out, and told to be.
    pub diff_max_bytes: usize,
    /// The most files of a turn's diff.
    pub diff_files_max: usize,
    /// How long is looked for the shortest diff before a longer one is told.
    #[serde(with = "duration")]
    pub diff_timeout: Duration,
}

impl Default for CheckpointsSection {
    fn default() -> Self {
        Self {
            enabled: false,
            dir: None,
            max_bytes: 2 * 1024 * 1024 * 1024,
            max_entries: 200_000,
            max_file_bytes: 100 * 1024 * 1024,
            max_depth: 64,
            max_turns: 50,
            timeout: Duration::from_mins(1),
            diff_file_max_bytes: 1024 * 1024,
            diff_max_bytes: 4 * 1024 * 1024,
            diff_files_max: 1000,
            diff_timeout: Duration::from_secs(2),
        }
    }
}

impl CheckpointsSection {
    /// The folder, where private homes lie in this one.
    #[must_use]
    pub fn folder(&self, homes: &Path) -> PathBuf {
        self.dir
            .clone()
            .unwrap_or_else(|| homes.with_file_name("checkpoints"))
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (is_some, name) in [
            (self.max_bytes > 0, "max_bytes"),
            (self.max_entries > 0, "max_entries"),
            (self.max_file_bytes > 0, "max_file_bytes"),
            (self.max_turns > 0, "max_turns"),
            (self.diff_files_max > 0, "diff_files_max"),
            (!self.timeout.is_zero(), "timeout"),
        ] {
            require(
                is_some,
                problems,
                &format!("checkpoints.{name}: must be more than 0"),
            );
        }
        require(
            self.dir.as_ref().is_none_or(|dir| !dir.as_os_str().is_empty()),
            problems,
            "checkpoints.dir: must not be empty; null is the usual one",
        );
        require(
            (1..=256).contains(&self.max_depth),
            problems,
            "checkpoints.max_depth: must be between 1 and 256",
        );
    }
}
