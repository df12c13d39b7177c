//! `workspaces`: what workspaces can begin with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::require;

/// What workspaces can begin with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkspacesSection {
    /// Folders of the server that sessions can begin with a copy of (`template`), by name.
    pub templates: BTreeMap<String, TemplateSettings>,
}

/// A folder of the server that sessions can begin with a copy of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSettings {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for, as people are told.
    #[serde(default)]
    pub description: String,
}

impl WorkspacesSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        for (name, template) in &self.templates {
            require(
                (1..=100).contains(&name.len()) && name.bytes().all(fits),
                problems,
                &format!("workspaces.templates: `{name}` must be 1 to 100 of A-Z a-z 0-9 - _ ."),
            );
            require(
                template.path.is_absolute(),
                problems,
                &format!("workspaces.templates.{name}.path: must begin with /"),
            );
        }
    }
}
