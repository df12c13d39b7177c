//! `mcp_servers` and `plugins`: what every session has besides its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::domain::hide_mcp_secrets;

/// MCP servers by name, as the CLI defines them. Printed without what they are told in secret.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct McpServers(pub Map<String, Value>);

impl Serialize for McpServers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = self.0.clone();
        hide_mcp_secrets(&mut shown);
        shown.serialize(serializer)
    }
}

impl std::fmt::Debug for McpServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum PluginSettings {
    /// A folder.
    Local {
        /// Its absolute path.
        path: PathBuf,
    },
}

impl McpServers {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (name, server) in &self.0 {
            if server.get("command").is_none() && server.get("url").is_none() {
                problems.push(format!("mcp_servers.{name}: must have a command or a url"));
            }
        }
    }
}

impl PluginSettings {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let Self::Local { path } = self;
        if !path.is_absolute() || !path.is_dir() {
            problems.push(format!(
                "plugins: {} must be the absolute path of a folder",
                path.display()
            ));
        }
    }
}
