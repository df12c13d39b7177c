//! Tokens used, and the ledger that they are entered in.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{MicroUsd, SessionId, TurnId, UserId};

/// Tokens that a turn, or a sum of turns, used, by the kind they are priced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to the prompt cache.
    #[serde(default)]
    pub input_tokens: u64,
    /// Output tokens.
    #[serde(default)]
    pub output_tokens: u64,
    /// Input tokens read from the prompt cache.
    #[serde(default)]
    pub cache_read_input_tokens: u64,
    /// Input tokens written to the prompt cache.
    #[serde(default)]
    pub cache_creation_input_tokens: u64,
}

/// One entry of the ledger: what a turn used of a model. It stays when its session is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The turn. A turn has one entry for each model.
    pub turn: TurnId,
    /// The model; empty where it is not known.
    pub model: String,
    /// The turn's session.
    pub session: SessionId,
    /// The session's user.
    pub user: UserId,
    /// Tokens.
    pub usage: Usage,
    /// Cost.
    pub cost: MicroUsd,
    /// When.
    pub at: DateTime<Utc>,
}

/// Which entries of the ledger are added up, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageQuery {
    /// Those from then on.
    pub from: Option<DateTime<Utc>>,
    /// Those before then.
    pub before: Option<DateTime<Utc>>,
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those of this session.
    pub session: Option<SessionId>,
    /// One sum for each value of these; one sum of all when empty.
    pub by: Vec<UsageGroup>,
}

/// What sums are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageGroup {
    /// The day, in UTC.
    Day,
    /// The user.
    User,
    /// The session.
    Session,
    /// The model.
    Model,
}

/// A sum of entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct UsageSum {
    /// Their day, where sums are told apart by it.
    pub day: Option<NaiveDate>,
    /// Their user, where sums are told apart by it.
    pub user: Option<UserId>,
    /// Their session, where sums are told apart by it.
    pub session: Option<SessionId>,
    /// Their model, where sums are told apart by it.
    pub model: Option<String>,
    /// Tokens.
    pub usage: Usage,
    /// Cost.
    pub cost: MicroUsd,
    /// How many entries.
    pub entries: u64,
}

impl Usage {
    /// Of each figure, the larger one of both.
    #[must_use]
    pub fn larger(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.max(other.input_tokens),
            output_tokens: self.output_tokens.max(other.output_tokens),
            cache_read_input_tokens: self.cache_read_input_tokens.max(other.cache_read_input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .max(other.cache_creation_input_tokens),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .saturating_add(other.cache_read_input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .saturating_add(other.cache_creation_input_tokens),
        }
    }
}
