//! `defaults`: what sessions get that do not say otherwise.

use serde::{Deserialize, Serialize};

use super::require;
use crate::domain::{Effort, PermissionMode, SessionOptions, SettingSource};

/// What sessions get that do not say otherwise. Null means: as the CLI does by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultsSection {
    /// The model.
    pub model: Option<String>,
    /// The model that is asked when the model is overloaded.
    pub fallback_model: Option<String>,
    /// How much the model is to think.
    pub effort: Option<Effort>,
    /// Replaces the CLI's system prompt.
    pub system_prompt: Option<String>,
    /// Is added after the system prompt.
    pub append_system_prompt: Option<String>,
    /// What tools may do without asking.
    pub permission_mode: Option<PermissionMode>,
    /// Tools, or tool patterns, that need no permission.
    pub allowed_tools: Vec<String>,
    /// Tools that are not offered to the model.
    pub disallowed_tools: Vec<String>,
    /// Whose settings the CLI reads besides.
    pub setting_sources: Vec<SettingSource>,
    /// The most model requests of one turn.
    pub max_turns: Option<u32>,
    /// The most that the life of one agent process may cost, in USD.
    pub max_budget_usd: Option<f64>,
}

impl Default for DefaultsSection {
    fn default() -> Self {
        Self {
            model: None,
            fallback_model: None,
            effort: None,
            system_prompt: None,
            append_system_prompt: None,
            permission_mode: Some(PermissionMode::AcceptEdits),
            allowed_tools: ["Bash", "Read", "Write", "Edit", "Glob", "Grep"]
                .map(ToOwned::to_owned)
                .to_vec(),
            disallowed_tools: Vec::new(),
            setting_sources: Vec::new(),
            max_turns: None,
            max_budget_usd: None,
        }
    }
}

impl DefaultsSection {
    /// These values as a session's options.
    #[must_use]
    pub fn options(&self) -> SessionOptions {
        SessionOptions {
            model: self.model.clone(),
            fallback_model: self.fallback_model.clone(),
            effort: self.effort,
            system_prompt: self.system_prompt.clone(),
            append_system_prompt: self.append_system_prompt.clone(),
            permission_mode: self.permission_mode,
            allowed_tools: Some(self.allowed_tools.clone()),
            disallowed_tools: Some(self.disallowed_tools.clone()),
            setting_sources: Some(self.setting_sources.clone()),
            max_turns: self.max_turns,
            max_budget_usd: self.max_budget_usd,
            ..SessionOptions::default()
        }
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            self.max_turns != Some(0),
            problems,
            "defaults.max_turns: must be at least 1, or null for no limit",
        );
        require(
            self.max_budget_usd.is_none_or(|usd| usd > 0.0),
            problems,
            "defaults.max_budget_usd: must be more than 0, or null for no limit",
        );
    }
}
