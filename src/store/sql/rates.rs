//! How often things are done.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqlStore;
use super::engine::{Engine, Row as _};
use super::rows::{signed, unsigned};
use super::statement::sql;
use crate::domain::rate::{Rate, Taken};
use crate::store::{RateStore, Result};

#[async_trait]
impl<E: Engine> RateStore for SqlStore<E> {
    async fn take_tokens(&self, bucket: &str, rate: Rate, wanted: u32, now: DateTime<Utc>) -> Result<Taken> {
        let mut transaction = self.begin().await?;
        let make =
            sql("INSERT INTO rate_buckets (name, full_at) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING")
                .bind(bucket);
        transaction.run("make a bucket", make).await?;
        let find = sql("SELECT full_at FROM rate_buckets WHERE name = $1")
            .bind(bucket)
            .push(E::LOCK_ROWS);
        let row = transaction.row("find a bucket", find).await?;
        let full_at = row.map_or(Ok(0), |row| row.integer("full_at"))?;
        let now = u64::try_from(now.timestamp_micros()).unwrap_or(0);
        let (taken, full_at) = rate.take(unsigned("bucket", full_at)?, now, wanted);
        let set = sql("UPDATE rate_buckets SET full_at = $2 WHERE name = $1")
            .bind(bucket)
            .bind(signed(full_at));
        transaction.run("take from a bucket", set).await?;
        transaction.commit().await?;
        Ok(taken)
    }

    async fn forget_buckets(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let forget = sql("DELETE FROM rate_buckets WHERE name IN \
             (SELECT name FROM rate_buckets WHERE full_at < $1 ORDER BY full_at LIMIT $2)")
        .bind(now.timestamp_micros())
        .bind(limit);
        self.write("forget full buckets", forget).await
    }
}
