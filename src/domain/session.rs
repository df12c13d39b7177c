//! Sessions: conversations bound to one workspace.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{ClaudeSessionId, PermissionMode, SessionId, SessionOptions, Subdir, TenantId, UserId};

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

/// What a client may change in a session. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionChange {
    /// The title; `Some(None)` removes it.
    pub title: Option<Option<String>>,
    /// The metadata, as a whole.
    pub metadata: Option<Map<String, Value>>,
    /// The model; `Some(None)` leaves it to the CLI.
    pub model: Option<Option<String>>,
    /// What tools may do without asking.
    pub permission_mode: Option<PermissionMode>,
    /// A tool, or tool pattern, that needs no permission from now on.
    pub allow_tool: Option<String>,
    /// The CLI's id of the conversation, which begins anew under it.
    pub new_conversation: Option<ClaudeSessionId>,
    /// Whether the conversation of the new id has a beginning already, and is gone on with; of use with `new_conversation`.
    pub conversation_goes_on: bool,
}

impl SessionChange {
    /// The options as they are after this change.
    #[must_use]
    pub fn apply_to(&self, mut options: SessionOptions) -> SessionOptions {
        if let Some(model) = &self.model {
            options.model.clone_from(model);
        }
        options.permission_mode = self.permission_mode.or(options.permission_mode);
        if let Some(tool) = &self.allow_tool {
            let allowed = options.allowed_tools.get_or_insert_default();
            if !allowed.contains(tool) {
                allowed.push(tool.clone());
            }
        }
        options
    }

    /// Whether it changes options.
    #[must_use]
    pub const fn changes_options(&self) -> bool {
        self.model.is_some() || self.permission_mode.is_some() || self.allow_tool.is_some()
    }
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
