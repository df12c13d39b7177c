//! `permissions`: who answers what agents ask.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};
use crate::domain::PermissionRule;

/// Who answers what agents ask.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PermissionsSection {
    /// How long what an agent asks waits for a person's answer.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// What counts when nobody has answered in that time.
    pub on_timeout: OnTimeout,
    /// The most questions of one turn that wait at once; further ones are denied.
    pub pending_max: usize,
    /// Who answers, by tool. The first rule that matches counts, after those of the session; what no rule matches is
    /// asked of a person.
    pub rules: Vec<PermissionRule>,
}

/// What counts when nobody has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// It is not allowed.
    Deny,
    /// It is allowed.
    Allow,
}

impl Default for PermissionsSection {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(5),
            on_timeout: OnTimeout::Deny,
            pending_max: 100,
            rules: Vec::new(),
        }
    }
}

impl PermissionsSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            !self.timeout.is_zero(),
            problems,
            "permissions.timeout: must be more than 0",
        );
        for rule in self.rules.iter().filter(|rule| !rule.is_valid()) {
            problems.push(format!(
                "permissions.rules: `{}` is no pattern of tools",
                rule.tool
            ));
        }
    }
}
