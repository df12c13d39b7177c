//! What tenants may ask for, and how much of it.

pub mod counter;
pub mod prices;
pub mod rate;
pub mod tenants;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use self::rate::RateLimiter;
use self::tenants::Tenants;
use crate::domain::rate::{Rate, Taken};
use crate::domain::{KeyId, Tenant, TenantId, TenantLimits};
use crate::store::{Result, StoreError};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Requests to this API.
    Request,
    /// Sessions that are made.
    Session,
    /// Turns that are begun.
    Turn,
}

impl Counted {
    const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Session => "session",
            Self::Turn => "turn",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Session => "new sessions",
            Self::Turn => "turns",
        }
    }
}

/// How often a key, or an address, may do something, a minute; 0 is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyRates {
    /// Requests of one address.
    pub address_requests: u32,
    /// Sessions of one address.
    pub address_sessions: u32,
    /// Turns of one address.
    pub address_turns: u32,
    /// Requests of one key.
    pub requests: u32,
    /// Sessions of one key.
    pub sessions: u32,
    /// Turns of one key.
    pub turns: u32,
}

/// Why something may not be done now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TooOften {
    /// It was done as often as it may be.
    #[error("{what} of this {whose} are limited to {limit} a minute")]
    Limited {
        /// What.
        what: &'static str,
        /// Of whom: tenant, key or address.
        whose: &'static str,
        /// How often.
        limit: u32,
        /// When it may be done again.
        wait: Duration,
    },
    /// The store did not tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The limit that is nearest to being reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How many a minute.
    pub limit: u32,
    /// How many are left.
    pub left: u32,
    /// When all are there again.
    pub full_in: Duration,
}

/// What tenants, keys and addresses may do, and how often.
#[derive(Debug)]
pub struct Limits {
    tenants: Arc<Tenants>,
    rates: RateLimiter,
    keys: KeyRates,
    defaults: TenantLimits,
}

impl Limits {
    /// With these rates of keys, and these limits for tenants that have none of their own.
    #[must_use]
    pub fn new(tenants: Arc<Tenants>, rates: RateLimiter, keys: KeyRates, defaults: TenantLimits) -> Self {
        Self {
            tenants,
            rates,
            keys,
            defaults,
        }
    }

    /// Tenants.
    #[must_use]
    pub fn tenants(&self) -> &Arc<Tenants> {
        &self.tenants
    }

    /// A tenant, with the limits that hold for it.
    pub async fn of(&self, tenant: TenantId) -> Result<Option<Tenant>> {
        let found = self.tenants.get(tenant).await?;
        Ok(found.map(|tenant| Tenant {
            limits: tenant.limits.or(self.defaults),
            ..(*tenant).clone()
        }))
    }

    /// The limits that hold for a tenant; none for one that is not known.
    pub async fn limits_of(&self, tenant: TenantId) -> Result<TenantLimits> {
        let found = self.tenants.get(tenant).await?;
        Ok(found.map_or_else(TenantLimits::default, |tenant| tenant.limits.or(self.defaults)))
    }

    /// Counts what comes from an address; of requests, before it is known who calls.
    pub async fn count_address(
        &self,
        what: Counted,
        address: Option<IpAddr>,
    ) -> std::result::Result<Option<Standing>, TooOften> {
        let per_minute = match what {
            Counted::Request => self.keys.address_requests,
            Counted::Session => self.keys.address_sessions,
            Counted::Turn => self.keys.address_turns,
        };
        let (Some(address), Some(rate)) = (address, Rate::per_minute(per_minute)) else {
            return Ok(None);
        };
        let bucket = format!("{}/address/{}", what.name(), network_of(address));
        self.take("address", &bucket, what.words(), rate).await.map(Some)
    }

    /// Counts what a key of a tenant's does; the limit that is nearest to being reached.
    pub async fn count(
        &self,
        what: Counted,
        tenant: TenantId,
        key: Option<KeyId>,
    ) -> std::result::Result<Option<Standing>, TooOften> {
        let limits = self.limits_of(tenant).await?;
        let (of_key, of_tenant) = match what {
            Counted::Request => (self.keys.requests, limits.requests_per_minute),
            Counted::Session => (self.keys.sessions, limits.sessions_per_minute),
            Counted::Turn => (self.keys.turns, limits.turns_per_minute),
        };
        let words = what.words();
        let mut nearest: Option<Standing> = None;
        let mut note = |standing: Standing| {
            if nearest.is_none_or(|nearest| standing.left < nearest.left) {
                nearest = Some(standing);
            }
        };
        if let (Some(key), Some(rate)) = (key, Rate::per_minute(of_key)) {
            let bucket = format!("{}/{key}", what.name());
            note(self.take("key", &bucket, words, rate).await?);
        }
        if let Some(rate) = of_tenant.and_then(Rate::per_minute) {
            let bucket = format!("{}/{tenant}", what.name());
            note(self.take("tenant", &bucket, words, rate).await?);
        }
        Ok(nearest)
    }

    /// Counts a request of a tenant's for the model; when it may be made, where it may not be now.
    pub async fn count_model_request(&self, tenant: TenantId, per_minute: u32) -> Result<Option<Duration>> {
        let Some(rate) = Rate::per_minute(per_minute) else {
            return Ok(None);
        };
        let Taken { taken, wait, .. } = self.rates.take(&format!("model/{tenant}"), rate).await?;
        Ok((taken == 0).then_some(wait))
    }

    async fn take(
        &self,
        whose: &'static str,
        bucket: &str,
        what: &'static str,
        rate: Rate,
    ) -> std::result::Result<Standing, TooOften> {
        let taken = self.rates.take(bucket, rate).await?;
        if taken.taken == 0 {
            return Err(TooOften::Limited {
                what,
                whose,
                limit: rate.limit(),
                wait: taken.wait,
            });
        }
        Ok(Standing {
            limit: rate.limit(),
            left: taken.left,
            full_in: taken.full_in,
        })
    }
}

/// The network that an address stands for: whoever has one address of IPv6 has 2^64 of them.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}
