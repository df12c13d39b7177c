//! Links by which sessions are shown.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::SqlStore;
use super::audit;
use super::engine::{Engine, Row};
use super::rows::key_digest;
use super::statement::{Statement, select, sql};
use crate::domain::{AuditNote, KeyDigest, SessionId, Share, ShareId, TenantId};
use crate::store::{Result, ShareStore, StoreError};

/// What [`share`] reads, and whose the link is.
const SHARE: &str =
    "id, tenant_id, session_id, files, digest, created_by, created_at, expires_at, revoked_at";

fn share(row: &impl Row) -> Result<Share> {
    Ok(Share {
        id: ShareId::from_uuid(row.uuid("id")?),
        session: SessionId::from_uuid(row.uuid("session_id")?),
        files: row.boolean("files")?,
        digest: key_digest(row)?,
        created_by: row.text("created_by")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        revoked_at: row.time_or_null("revoked_at")?,
    })
}

/// Only to a session of this tenant.
pub(super) fn insert(tenant: TenantId, share: &Share) -> Statement {
    sql(
        "INSERT INTO shares (id, tenant_id, session_id, files, digest, created_by, created_at, expires_at, revoked_at) \
         SELECT $1, tenant_id, id, $4, $5, $6, $7, $8, $9 FROM sessions WHERE id = $3 AND tenant_id = $2",
    )
    .bind(share.id.as_uuid())
    .bind(tenant.as_uuid())
    .bind(share.session.as_uuid())
    .bind(share.files)
    .bind(share.digest.0.as_slice())
    .bind(share.created_by.as_str())
    .bind(share.created_at)
    .bind(share.expires_at)
    .bind(share.revoked_at)
}

#[async_trait]
impl<E: Engine> ShareStore for SqlStore<E> {
    async fn insert_share(&self, tenant: TenantId, share: &Share, note: &AuditNote) -> Result<()> {
        let mut transaction = self.begin().await?;
        if transaction.run("store a share", insert(tenant, share)).await? == 0 {
            transaction.roll_back().await?;
            return Err(StoreError::SessionGone {
                session: share.session,
            });
        }
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await
    }

    async fn find_share(&self, digest: KeyDigest) -> Result<Option<(TenantId, Share)>> {
        let statement = select(SHARE, " FROM shares WHERE digest = $1").bind(digest.0.as_slice());
        let row = self.read_one("find a share", statement).await?;
        row.map(|row| Ok((TenantId::from_uuid(row.uuid("tenant_id")?), share(&row)?)))
            .transpose()
    }

    async fn get_share(&self, tenant: TenantId, id: ShareId) -> Result<Option<Share>> {
        let statement = select(SHARE, " FROM shares WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        let row = self.read_one("get a share", statement).await?;
        row.as_ref().map(share).transpose()
    }

    async fn list_shares(
        &self,
        tenant: TenantId,
        session: Option<SessionId>,
        before: Option<ShareId>,
        limit: u32,
    ) -> Result<Vec<Share>> {
        let mut statement = select(SHARE, " FROM shares WHERE").push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(session) = session {
            statement = statement.push_bind(" AND session_id = ", session.as_uuid());
        }
        if let Some(before) = before {
            statement = statement.push_bind(" AND id < ", before.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY id DESC LIMIT ", limit);
        let rows = self.read("list shares", statement).await?;
        rows.iter().map(share).collect()
    }

    async fn revoke_share(
        &self,
        tenant: TenantId,
        id: ShareId,
        at: DateTime<Utc>,
        note: &AuditNote,
    ) -> Result<Option<Share>> {
        let mut transaction = self.begin().await?;
        let revoke = sql(
            "UPDATE shares SET revoked_at = $3 WHERE id = $1 AND tenant_id = $2 AND revoked_at IS NULL RETURNING ",
        )
        .push(SHARE)
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(at);
        let Some(row) = transaction.row("revoke a share", revoke).await? else {
            transaction.roll_back().await?;
            return self.get_share(tenant, id).await;
        };
        let revoked = share(&row)?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(Some(revoked))
    }
}
