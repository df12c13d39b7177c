//! How often something is done, over all servers.
//!
//! A server on a store of its own counts by itself. Servers that share a store share the buckets in it; each takes a
//! twentieth of a bucket at a time and uses that up, so that a busy tenant does not cost a query a request. So over all
//! servers no more than the limit is let through, and at most a twentieth of it for each other server that comes from
//! what they took before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::domain::Clock;
use crate::domain::rate::{Rate, Taken};
use crate::store::{Result, Store};

/// The part of a bucket that a server takes at once: one of so many.
const PARTS: u32 = 20;
/// The most buckets that are remembered.
const BUCKETS_MAX: usize = 50_000;

/// Counts how often things are done.
#[derive(Debug)]
pub struct RateLimiter {
    clock: Arc<dyn Clock>,
    /// Where servers count together; each counts by itself when absent.
    shared: Option<Arc<dyn Store>>,
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// What is known here of a bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// When it is full, in microseconds; of a shared one, as it was last seen.
    full_at: u64,
    /// What was taken from a shared one and not used yet.
    held: u32,
    /// How many a shared one had when it was last seen.
    left: u32,
}

impl RateLimiter {
    /// Counts by this clock, in this store if servers share it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, shared: Option<Arc<dyn Store>>) -> Self {
        Self {
            clock,
            shared,
            buckets: Mutex::default(),
        }
    }

    /// Takes one from a bucket.
    pub async fn take(&self, bucket: &str, rate: Rate) -> Result<Taken> {
        let now = micros(self.clock.now());
        let Some(store) = &self.shared else {
            let mut buckets = self.lock(now);
            let known = buckets.entry(bucket.to_owned()).or_default();
            let (taken, full_at) = rate.take(known.full_at, now, 1);
            known.full_at = full_at;
            return Ok(taken);
        };
        if let Some(taken) = self.take_held(bucket, now) {
            return Ok(taken);
        }
        let wanted = (rate.limit() / PARTS).max(1);
        let taken = store.take_tokens(bucket, rate, wanted, self.clock.now()).await?;
        if taken.taken == 0 {
            return Ok(taken);
        }
        let mut buckets = self.lock(now);
        let known = buckets.entry(bucket.to_owned()).or_default();
        // Another request may have taken some in this moment too.
        known.held = known.held.saturating_add(taken.taken - 1);
        known.left = taken.left;
        known.full_at = now + u64::try_from(taken.full_in.as_micros()).unwrap_or(u64::MAX);
        Ok(Taken {
            taken: 1,
            left: taken.left + known.held,
            ..taken
        })
    }

    fn take_held(&self, bucket: &str, now: u64) -> Option<Taken> {
        let mut buckets = self.lock(now);
        let known = buckets.get_mut(bucket).filter(|known| known.held > 0)?;
        known.held -= 1;
        Some(Taken {
            taken: 1,
            left: known.left + known.held,
            wait: std::time::Duration::ZERO,
            full_in: std::time::Duration::from_micros(known.full_at.saturating_sub(now)),
        })
    }

    fn lock(&self, now: u64) -> MutexGuard<'_, HashMap<String, Bucket>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            // A full bucket is as good as a new one.
            buckets.retain(|_, bucket| bucket.full_at > now);
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        buckets
    }
}

fn micros(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_micros()).unwrap_or(0)
}
