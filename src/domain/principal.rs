//! Who calls.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{KeyId, TenantId, TenantName, UserId};

/// What a credential allows, from least to most; each role may do what the ones before it may.
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
pub enum Role {
    /// Reads its tenant's sessions.
    Reader,
    /// Works in its tenant's sessions.
    Member,
    /// Owns its tenant.
    Owner,
    /// Runs the platform.
    Admin,
}

/// The caller of a request, as its credential tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The tenant whose data it reaches: never taken from a request's body or path.
    pub tenant: TenantId,
    /// The tenant's name, the first part of its workspaces' paths.
    pub tenant_name: TenantName,
    /// What it may do.
    pub role: Role,
    /// The one user it may act for; any user of the tenant when absent.
    pub user: Option<UserId>,
    /// What the credential is called in logs: a key's name, never the key.
    pub credential: String,
    /// The key that it is, if it is one.
    pub key: Option<KeyId>,
    /// Where the request came from, if it came over the network.
    pub address: Option<IpAddr>,
}

impl Principal {
    /// Whether it may act for `user`.
    #[must_use]
    pub fn acts_for(&self, user: &UserId) -> bool {
        self.user.as_ref().is_none_or(|own| own == user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_by_what_they_may_do() {
        assert!(Role::Reader < Role::Member && Role::Member < Role::Owner && Role::Owner < Role::Admin);
    }
}
