//! Requests that must not be done twice.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqlStore;
use super::engine::{Engine, Row as _};
use super::statement::{Statement, sql};
use crate::domain::TenantId;
use crate::store::{Begun, IdempotencyStore, Result};

#[async_trait]
impl<E: Engine> IdempotencyStore for SqlStore<E> {
    async fn begin_request(
        &self,
        tenant: TenantId,
        key: &str,
        fingerprint: [u8; 32],
        now: DateTime<Utc>,
        given_up: DateTime<Utc>,
    ) -> Result<Begun> {
        let begin = sql(
            "INSERT INTO requests (tenant_id, key, fingerprint, began_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, key) DO UPDATE SET began_at = excluded.began_at \
             WHERE requests.answer IS NULL AND requests.fingerprint = excluded.fingerprint AND requests.began_at < $5",
        )
        .bind(tenant.as_uuid())
        .bind(key)
        .bind(fingerprint.as_slice())
        .bind(now)
        .bind(given_up);
        if self.write("begin a request", begin).await? > 0 {
            return Ok(Begun::New);
        }
        let known = sql("SELECT fingerprint, answer FROM requests WHERE tenant_id = $1 AND key = $2")
            .bind(tenant.as_uuid())
            .bind(key);
        Ok(match self.read_one("find a request", known).await? {
            Some(row) if row.bytes("fingerprint")? != fingerprint => Begun::Different,
            Some(row) => row
                .bytes_or_null("answer")?
                .map_or(Begun::InProgress, Begun::Done),
            // Forgotten since then; whoever sends it again may do it.
            None => Begun::InProgress,
        })
    }

    async fn finish_request(&self, tenant: TenantId, key: &str, answer: &[u8]) -> Result<()> {
        self.write("keep a request's answer", finish(tenant, key, answer))
            .await
            .map(|_| ())
    }

    async fn forget_request(&self, tenant: TenantId, key: &str) -> Result<()> {
        let forget = sql("DELETE FROM requests WHERE tenant_id = $1 AND key = $2 AND answer IS NULL")
            .bind(tenant.as_uuid())
            .bind(key);
        self.write("forget a request", forget).await.map(|_| ())
    }
}

pub(super) fn finish(tenant: TenantId, key: &str, answer: &[u8]) -> Statement {
    sql("UPDATE requests SET answer = $3 WHERE tenant_id = $1 AND key = $2 AND answer IS NULL")
        .bind(tenant.as_uuid())
        .bind(key)
        .bind(answer)
}
