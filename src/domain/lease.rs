//! Leases: which instance of the server a session is with, and until when.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Epoch, InvalidName};

/// An instance of the server, by its name: 1 to 128 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(String);

impl InstanceId {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 128;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            Err(InvalidName::Empty)
        } else if !text.chars().all(|c| c.is_ascii_graphic()) {
            Err(InvalidName::Characters {
                allowed: "printable ASCII characters without spaces",
            })
        } else if text.len() > Self::MAX_CHARS {
            Err(InvalidName::TooLong {
                max: Self::MAX_CHARS,
                unit: "characters",
            })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// That a session is with an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The instance.
    pub owner: InstanceId,
    /// The epoch under which it writes.
    pub epoch: Epoch,
    /// When the lease ends unless it is renewed.
    pub until: DateTime<Utc>,
}

/// What an instance asks for when it wants a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseClaim {
    /// Who asks.
    pub owner: InstanceId,
    /// When.
    pub now: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// What comes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseGrant {
    /// The session is the claimant's, under a new epoch.
    Granted(Epoch),
    /// It is with another instance.
    Held(Lease),
    /// There is no such session.
    NoSession,
}
