//! Checkpoints: what a workspace was like before and after a turn.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::TurnId;

/// When, of a turn.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Moment {
    /// Before its agent was at it.
    Before,
    /// When its agent was done.
    After,
}

/// Why there is nothing to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CheckpointFailure {
    /// The workspace holds more files, folders and links than are kept of one.
    TooManyEntries,
    /// The workspace's files are larger together than is kept of one.
    TooLarge,
    /// It took longer than it may.
    TimedOut,
    /// The turn was ended meanwhile, or the server.
    Interrupted,
    /// The file system failed.
    Failed,
}

/// What a workspace was like at a moment of a turn, without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its place among the session's, from 1.
    pub number: u64,
    /// The turn.
    pub turn: TurnId,
    /// When, of the turn.
    pub moment: Moment,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
    /// How many files it has.
    pub files: u64,
    /// How long they are together, in bytes.
    pub bytes: u64,
    /// How much of that no earlier one had, in bytes.
    pub stored_bytes: u64,
    /// How many files are not kept, and stay as they are when it is gone back to.
    pub not_kept: u64,
    /// Why there is nothing to go back to, if so.
    pub failure: Option<CheckpointFailure>,
}
