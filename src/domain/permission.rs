//! Permissions: an agent asks whether it may use a tool, and somebody answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString};

use super::{PermissionId, SessionId, TurnId, UserId};

/// A question whether a tool may be used, and its answer once there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Permission {
    /// Its id.
    pub id: PermissionId,
    /// The session whose agent asks.
    pub session: SessionId,
    /// The session's user.
    pub user: UserId,
    /// The turn in which it asks.
    pub turn: TurnId,
    /// The tool.
    pub tool_name: String,
    /// What the tool would be called with.
    pub tool_input: Value,
    /// The call's id, where the CLI tells it.
    pub tool_use_id: Option<String>,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
    /// When it ends without an answer.
    pub expires_at: DateTime<Utc>,
    /// The answer; `None` while it waits.
    pub resolution: Option<PermissionResolution>,
}

/// How a question was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermissionResolution {
    /// The answer.
    pub decision: PermissionDecision,
    /// What the agent is told besides.
    pub message: Option<String>,
    /// What the tool is to be called with instead.
    pub updated_input: Option<Value>,
    /// Who answered: a credential's name; `paddock` for the server itself.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl PermissionResolution {
    /// The server's own answer when nobody gave one in time.
    #[must_use]
    pub fn expired(at: DateTime<Utc>) -> Self {
        Self {
            decision: PermissionDecision::Expired,
            message: None,
            updated_input: None,
            by: "paddock".to_owned(),
            at,
        }
    }
}

/// An answer to the question whether a tool may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PermissionDecision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// Nobody answered in time.
    Expired,
    /// The agent no longer asks.
    Withdrawn,
}
