//! Keys that callers prove themselves with.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{KeyId, Role, UserId};

/// The SHA-256 of a key. Keys are random and long, so that this cannot be turned back; they themselves are not kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyDigest(pub [u8; 32]);

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// A key of a tenant's, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// What people call it; one of its tenant's living keys at most has a name.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The one user that it acts for; any of the tenant's when absent.
    pub user: Option<UserId>,
    /// What it is recognised by.
    pub digest: KeyDigest,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself; never when absent.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, as far as that was noted.
    pub last_used_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_not_shown() {
        assert_eq!(format!("{:?}", KeyDigest([7; 32])), "KeyDigest(..)");
    }
}
