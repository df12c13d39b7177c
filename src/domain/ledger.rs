//! The ledger: an entry for each request that used the model, never changed; and sums of entries.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::budget::Amount;
use super::{EntryId, KeyId, MicroUsd, SessionId, TenantId, TurnId, Usage, UserId};

/// Who spends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spender {
    /// The session's user.
    pub user: UserId,
    /// The session.
    pub session: SessionId,
    /// The turn, if the request belongs to one.
    pub turn: Option<TurnId>,
    /// The key that asked for the turn, if one did.
    pub key: Option<KeyId>,
}

/// Whose credential paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Payer {
    /// The platform's.
    Platform,
    /// The tenant's own.
    Tenant,
}

/// An entry of the ledger: what a request used of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its id.
    pub id: EntryId,
    /// Who spent.
    #[serde(flatten)]
    pub spender: Spender,
    /// The model; empty where it is not known.
    pub model: String,
    /// Tokens.
    pub usage: Usage,
    /// Cost.
    pub cost: MicroUsd,
    /// Whose credential paid.
    pub payer: Payer,
    /// When the request began.
    pub at: DateTime<Utc>,
}

impl LedgerEntry {
    /// What it adds to what is spent.
    #[must_use]
    pub const fn amount(&self) -> Amount {
        Amount {
            cost: self.cost,
            tokens: self.usage.total(),
        }
    }

    /// Whether nothing was used.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.usage == Usage::default() && self.cost == MicroUsd::ZERO
    }
}

/// A request that runs: its entry as far as it is known, and what it may spend at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The entry that it will become, with what was seen of it so far.
    pub entry: LedgerEntry,
    /// What it may spend at most.
    pub estimate: Amount,
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
    /// Those of this key.
    pub key: Option<KeyId>,
    /// Those of this session.
    pub session: Option<SessionId>,
    /// Those of this turn.
    pub turn: Option<TurnId>,
    /// One sum for each value of these; one sum of all when empty.
    pub by: Vec<UsageGroup>,
}

/// What sums are told apart by.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum UsageGroup {
    /// The day, in UTC.
    Day,
    /// The tenant.
    Tenant,
    /// The user.
    User,
    /// The key.
    Key,
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
    /// Their tenant, where sums are told apart by it.
    pub tenant: Option<TenantId>,
    /// Their user, where sums are told apart by it.
    pub user: Option<UserId>,
    /// Their key, where sums are told apart by it and there was one.
    pub key: Option<KeyId>,
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
