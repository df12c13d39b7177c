//! Who calls.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{KeyId, Session, SessionId, ShareId, TenantId, TenantName, UserId};

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
    /// Looks at the one session that was shared with it.
    Guest,
    /// Reads its tenant's sessions.
    Reader,
    /// Works in its tenant's sessions.
    Member,
    /// Owns its tenant.
    Owner,
    /// Runs the platform.
    Admin,
}

/// What a guest may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// The link by which it came.
    pub share: ShareId,
    /// The one session.
    pub session: SessionId,
    /// Whether it may look at the session's files too.
    pub files: bool,
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
    /// What it may look at, if it is a guest.
    pub guest: Option<Guest>,
    /// Where the request came from, if it came over the network.
    pub address: Option<IpAddr>,
}

impl Principal {
    /// Whether it may act for `user`.
    #[must_use]
    pub fn acts_for(&self, user: &UserId) -> bool {
        self.user.as_ref().is_none_or(|own| own == user)
    }

    /// Whether a session of its tenant is its to see.
    #[must_use]
    pub fn may_see(&self, session: &Session) -> bool {
        match self.guest {
            Some(guest) => guest.session == session.id,
            // A guest to nothing is a guest to nothing.
            None => self.role > Role::Guest && self.acts_for(&session.user),
        }
    }

    /// Whether it may look at the files of sessions that are its to see.
    #[must_use]
    pub fn may_see_files(&self) -> bool {
        self.guest.is_none_or(|guest| guest.files)
    }

    /// What its requests are counted under, besides its tenant: each link is counted for itself, like a key.
    #[must_use]
    pub fn counted_as(&self) -> Option<KeyId> {
        let of_share = self.guest.map(|guest| KeyId::from_uuid(guest.share.as_uuid()));
        of_share.or(self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_by_what_they_may_do() {
        assert!(Role::Guest < Role::Reader);
        assert!(Role::Reader < Role::Member && Role::Member < Role::Owner && Role::Owner < Role::Admin);
    }
}
