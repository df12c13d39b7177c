//! Tenants: whom keys belong to.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{TenantId, TenantName};

/// Whom keys belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its name, which never changes.
    pub name: TenantName,
    /// When it was first known.
    pub created_at: DateTime<Utc>,
    /// Since when its credentials are not taken, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<DateTime<Utc>>,
}

impl Tenant {
    /// A tenant that can be used.
    #[must_use]
    pub const fn new(id: TenantId, name: TenantName, created_at: DateTime<Utc>) -> Self {
        Self {
            id,
            name,
            created_at,
            suspended_at: None,
        }
    }
}

/// What is changed of a tenant. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantChange {
    /// Whether its credentials are not taken.
    pub suspended: Option<bool>,
}
