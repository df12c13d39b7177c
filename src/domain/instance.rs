//! Instances of the server: several may share a store, and each session is with one of them at a time.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Epoch, InstanceId, InvalidName};

/// What an instance is called, over its restarts: 1 to 128 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName(String);

impl InstanceName {
    /// The longest name, in characters.
    pub const MAX_CHARS: usize = 128;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InstanceName {
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

impl TryFrom<String> for InstanceName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InstanceName> for String {
    fn from(name: InstanceName) -> Self {
        name.0
    }
}

/// One run of an instance, as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// This run: a new one with each start, and each time that it was taken for dead.
    pub id: InstanceId,
    /// What it is called.
    pub name: InstanceName,
    /// Where the others reach it.
    pub url: String,
    /// When it joined, by the database's clock.
    pub joined_at: DateTime<Utc>,
}

/// What comes of wanting a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the claimant's, under a new epoch; and with whom it was before.
    Taken {
        /// The epoch.
        epoch: Epoch,
        /// With whom it was, if with anyone.
        before: Option<InstanceId>,
    },
    /// Another instance that lives is in a turn of it.
    Held(Instance),
    /// The claimant itself is taken for dead.
    Fenced,
    /// There is no such session.
    NoSession,
}

/// How a session is, as all instances see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionStanding {
    /// Whether it is with an instance that lives.
    pub held: bool,
    /// Whether it has a turn without outcome.
    pub busy: bool,
}
