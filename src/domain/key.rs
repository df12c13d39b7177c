//! Keys that callers prove themselves with.

use std::fmt;
use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
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
    /// The networks that it may be used from; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
}

impl ApiKey {
    /// Whether it was revoked, or has ended.
    #[must_use]
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_some() || self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether it may be used from there.
    #[must_use]
    pub fn is_for(&self, address: Option<IpAddr>) -> bool {
        self.networks.is_empty()
            || address.is_some_and(|address| {
                let address = address.to_canonical();
                self.networks.iter().any(|network| network.contains(&address))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_not_shown() {
        assert_eq!(format!("{:?}", KeyDigest([7; 32])), "KeyDigest(..)");
    }
}
