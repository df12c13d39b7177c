//! Sessions: conversations bound to one workspace.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{ClaudeSessionId, SessionId, Subdir, TenantId, TenantName, UserId};

/// Whom keys belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, which never changes.
    pub name: TenantName,
    /// When it was first known.
    pub created_at: DateTime<Utc>,
}

/// A conversation bound to one workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For which user of the tenant.
    pub user: UserId,
    /// The folder in the user's tree that is its workspace; the tree itself when absent.
    pub subdir: Option<Subdir>,
    /// What people call it.
    pub title: Option<String>,
    /// What its client attached, verbatim.
    pub metadata: Map<String, Value>,
    /// How its agents are run: the options asked for, on top of the server's defaults as they were then.
    pub options: SessionOptions,
    /// The CLI's id of the conversation.
    pub claude_session_id: ClaudeSessionId,
    /// Whether the CLI has answered in it, so that it must be resumed and can be lost.
    pub conversation_started: bool,
    /// Whether it can be used.
    pub status: SessionStatus,
    /// How many prompts it has taken.
    pub message_count: u64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was made or last took or finished a turn.
    pub last_active_at: DateTime<Utc>,
    /// When it was closed, if it is.
    pub closed_at: Option<DateTime<Utc>>,
}

/// Whether a session can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SessionStatus {
    /// It takes turns.
    Active,
    /// It was closed by its client and cannot come back.
    Closed,
}

/// How a session's agents are run. Absent means: as the CLI does by itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SessionOptions {
    /// The model, by the name the CLI takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Replaces the CLI's system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Is added after the system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub append_system_prompt: Option<String>,
    /// What tools may do without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<PermissionMode>,
    /// Tools, or tool patterns, that need no permission.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    /// Tools that are not offered to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disallowed_tools: Option<Vec<String>>,
    /// The most model requests of one turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// The most that the life of one agent process may cost, in USD, by the CLI's own count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
}

impl SessionOptions {
    /// These options, with `defaults` where they are silent.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            model: self.model.or_else(|| defaults.model.clone()),
            system_prompt: self.system_prompt.or_else(|| defaults.system_prompt.clone()),
            append_system_prompt: self
                .append_system_prompt
                .or_else(|| defaults.append_system_prompt.clone()),
            permission_mode: self.permission_mode.or(defaults.permission_mode),
            allowed_tools: self.allowed_tools.or_else(|| defaults.allowed_tools.clone()),
            disallowed_tools: self
                .disallowed_tools
                .or_else(|| defaults.disallowed_tools.clone()),
            max_turns: self.max_turns.or(defaults.max_turns),
            max_budget_usd: self.max_budget_usd.or(defaults.max_budget_usd),
        }
    }
}

/// What tools may do without asking, in the CLI's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum PermissionMode {
    /// What is not allowed by a rule is asked for.
    Default,
    /// File edits in the workspace need no permission.
    AcceptEdits,
    /// The agent plans and changes nothing.
    Plan,
    /// What is not allowed by a rule is denied.
    DontAsk,
    /// The CLI's classifier decides.
    Auto,
    /// Nothing is asked.
    BypassPermissions,
}

/// What a client may change in a session. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionChange {
    /// The title; `Some(None)` removes it.
    pub title: Option<Option<String>>,
    /// The metadata, as a whole.
    pub metadata: Option<Map<String, Value>>,
}

/// Which sessions of a tenant a list holds. `None` does not filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionFilter {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those of this status.
    pub status: Option<SessionStatus>,
    /// Those last used then.
    pub activity: Option<Activity>,
    /// Those whose metadata has, at the top, all of these keys with these values: a text, or what a number, a boolean
    /// or null is written as.
    pub metadata: Vec<(String, String)>,
    /// Those in whose title a word begins like this, or several words one after the other; case does not count.
    pub title: Option<String>,
}

/// When sessions were last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Later than then.
    After(DateTime<Utc>),
    /// Then or before.
    UpTo(DateTime<Utc>),
}

impl Activity {
    /// Whether a use at `at` is such a one.
    #[must_use]
    pub fn covers(self, at: DateTime<Utc>) -> bool {
        match self {
            Self::After(border) => at > border,
            Self::UpTo(border) => at <= border,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_fall_back_one_by_one() {
        let asked = SessionOptions {
            model: Some("a".into()),
            ..SessionOptions::default()
        };
        let defaults = SessionOptions {
            model: Some("b".into()),
            max_turns: Some(3),
            ..SessionOptions::default()
        };
        let merged = asked.or(&defaults);
        assert_eq!(merged.model.as_deref(), Some("a"));
        assert_eq!(merged.max_turns, Some(3));
    }

    #[test]
    fn permission_modes_are_spelled_as_the_cli_does() {
        assert_eq!(PermissionMode::AcceptEdits.to_string(), "acceptEdits");
        assert_eq!(serde_json::to_value(PermissionMode::DontAsk).unwrap(), "dontAsk");
    }
}
