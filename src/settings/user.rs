//! `user`: users' folders.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Users' folders.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserSection {
    /// The folder below which every workspace lies, as `{tenant}/{user_id}[/{subdir}]`.
    pub base_dir: PathBuf,
    /// Whether a workspace that is missing is made when a session is created or resumed.
    pub auto_create_dir: bool,
}

impl Default for UserSection {
    fn default() -> Self {
        Self {
            base_dir: "data/workspaces".into(),
            auto_create_dir: true,
        }
    }
}
