//! What concerns the whole platform.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::engine::{Engine, Row as _};
use super::rows::to_json;
use super::statement::sql;
use super::{SqlStore, count};
use crate::domain::{PermissionDecision, PermissionResolution, SessionId, SessionStatus, TenantId};
use crate::store::{PlatformStore, Result, StoreError, StoreMetrics};

#[async_trait]
impl<E: Engine> PlatformStore for SqlStore<E> {
    fn backend(&self) -> &'static str {
        E::BACKEND
    }

    fn metrics(&self) -> &StoreMetrics {
        &self.database.metrics
    }

    async fn ping(&self) -> Result<()> {
        self.read("answer", sql("SELECT 1")).await.map(|_| ())
    }

    async fn count_active_sessions(&self, used_after: Option<DateTime<Utc>>) -> Result<u64> {
        let mut statement = sql("SELECT COUNT(*) AS n FROM sessions WHERE")
            .push_bind(" status = ", SessionStatus::Active.to_string());
        if let Some(used_after) = used_after {
            statement = statement.push_bind(" AND last_active_at > ", used_after);
        }
        count(self.read_one("count sessions", statement).await?.as_ref())
    }

    async fn sessions_with_unfinished_turns(
        &self,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<(TenantId, SessionId)>> {
        let statement = sql("SELECT DISTINCT sessions.tenant_id, sessions.id FROM turns \
             JOIN sessions ON sessions.id = turns.session_id \
             WHERE turns.outcome IS NULL AND turns.session_id > $1 ORDER BY sessions.id LIMIT $2")
        .bind(after.map_or(Uuid::nil(), |after| after.as_uuid()))
        .bind(limit);
        pairs(&self.read("find unfinished turns", statement).await?)
    }

    async fn unused_sessions(
        &self,
        unused_since: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(TenantId, SessionId)>> {
        let statement = sql(
            "SELECT tenant_id, id FROM sessions WHERE last_active_at <= $1 \
             AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.session_id = sessions.id AND turns.outcome IS NULL) \
             ORDER BY last_active_at LIMIT $2",
        )
        .bind(unused_since)
        .bind(limit);
        pairs(&self.read("find unused sessions", statement).await?)
    }

    async fn purge_removed(&self, limit: u32) -> Result<u64> {
        let next = sql("SELECT session_id FROM removed_sessions ORDER BY session_id LIMIT 1");
        let Some(row) = self.read_one("find what a session left", next).await? else {
            return Ok(0);
        };
        let session = row.uuid("session_id")?;
        let mut transaction = self.begin().await?;
        let events = sql("DELETE FROM events WHERE session_id = $1 AND id IN \
             (SELECT id FROM events WHERE session_id = $1 ORDER BY id LIMIT $2)")
        .bind(session)
        .bind(limit);
        let mut freed = transaction.run("free a removed session's events", events).await?;
        let entries = sql(
            "DELETE FROM transcript_entries WHERE session_id = $1 AND (path, position) IN \
             (SELECT path, position FROM transcript_entries WHERE session_id = $1 ORDER BY path, position LIMIT $2)",
        )
        .bind(session)
        .bind(limit);
        freed += transaction
            .run("free a removed session's transcript", entries)
            .await?;
        if freed == 0 {
            let done = sql("DELETE FROM removed_sessions WHERE session_id = $1").bind(session);
            freed = transaction.run("forget a removed session", done).await?;
        }
        transaction.commit().await?;
        Ok(freed.max(1))
    }

    async fn expire_permissions(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let expired = PermissionResolution::by_server(PermissionDecision::Expired, now);
        let expire = sql(
            "UPDATE permissions SET resolution = $3 WHERE resolution IS NULL AND id IN \
             (SELECT id FROM permissions WHERE resolution IS NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2)",
        )
        .bind(now)
        .bind(limit)
        .bind(to_json("write a permission's answer", &expired)?);
        self.write("expire permissions", expire).await
    }

    async fn forget_requests(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let forget = sql("DELETE FROM requests WHERE (tenant_id, key) IN \
             (SELECT tenant_id, key FROM requests WHERE began_at < $1 ORDER BY began_at LIMIT $2)")
        .bind(before)
        .bind(limit);
        self.write("forget old requests", forget).await
    }

    async fn ensure_secret(&self, name: &str, new: [u8; 32]) -> Result<[u8; 32]> {
        let insert = sql("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(new.as_slice());
        self.write("store a secret", insert).await?;
        let find = sql("SELECT value FROM secrets WHERE name = $1").bind(name);
        let row = self.read_one("find a secret", find).await?;
        let value = row.map_or_else(|| Ok(new.to_vec()), |row| row.bytes("value"))?;
        value
            .try_into()
            .map_err(|_bytes| StoreError::corrupt("secret", "it is not of 32 bytes"))
    }

    async fn close(&self) {
        self.writer.close().await;
        self.database.engine.close().await;
    }
}

pub(super) fn pairs(rows: &[impl super::engine::Row]) -> Result<Vec<(TenantId, SessionId)>> {
    rows.iter()
        .map(|row| {
            Ok((
                TenantId::from_uuid(row.uuid("tenant_id")?),
                SessionId::from_uuid(row.uuid("id")?),
            ))
        })
        .collect()
}
