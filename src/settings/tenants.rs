//! `tenants` and `rates`: how much tenants, keys and addresses may ask for, and how often.

use serde::{Deserialize, Serialize};

use crate::domain::TenantLimits;

/// How much a tenant may ask for that has no limits of its own; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantsSection {
    /// The most requests to this API a minute.
    pub requests_per_minute: u32,
    /// The most sessions made a minute.
    pub sessions_per_minute: u32,
    /// The most turns begun a minute.
    pub turns_per_minute: u32,
    /// The most active sessions.
    pub sessions_max: u32,
    /// The most active sessions of one user.
    pub user_sessions_max: u32,
    /// The most turns at once, waiting ones included, on each instance.
    pub turns_max: u32,
    /// The most live agents, on each instance.
    pub agents_max: u32,
}

/// How often keys and addresses may do things, a minute; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RatesSection {
    /// The most requests of one address; of IPv6, of one network of 64 bits.
    pub address_requests_per_minute: u32,
    /// The most sessions that are made from one address.
    pub address_sessions_per_minute: u32,
    /// The most turns that are begun from one address.
    pub address_turns_per_minute: u32,
    /// The most requests of one key.
    pub key_requests_per_minute: u32,
    /// The most sessions that one key makes.
    pub key_sessions_per_minute: u32,
    /// The most turns that one key begins.
    pub key_turns_per_minute: u32,
}

impl TenantsSection {
    /// As the limits of a tenant.
    #[must_use]
    pub fn limits(&self) -> TenantLimits {
        TenantLimits {
            requests_per_minute: Some(self.requests_per_minute),
            sessions_per_minute: Some(self.sessions_per_minute),
            turns_per_minute: Some(self.turns_per_minute),
            sessions_max: Some(self.sessions_max),
            user_sessions_max: Some(self.user_sessions_max),
            turns_max: Some(self.turns_max),
            agents_max: Some(self.agents_max),
            ..TenantLimits::default()
        }
    }
}
