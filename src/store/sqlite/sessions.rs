//! Tenants and sessions in SQLite.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Sqlite};

use super::errors::explain;
use super::rows::{SessionRow, TenantRow, to_json};
use super::{SqliteStore, commit};
use crate::domain::{
    Epoch, Page, Session, SessionChange, SessionFilter, SessionId, SessionStatus, Subdir, Tenant, TenantId,
};
use crate::store::{Result, SessionStore, StoreError, TenantStore};

#[async_trait]
impl TenantStore for SqliteStore {
    async fn ensure_tenant(&self, tenant: &Tenant) -> Result<Tenant> {
        let mut transaction = self.write().await?;
        sqlx::query(
            "INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(tenant.id.as_uuid())
        .bind(tenant.name.as_str())
        .bind(tenant.created_at)
        .execute(&mut *transaction)
        .await
        .map_err(explain("store a tenant"))?;
        let row: TenantRow = sqlx::query_as("SELECT id, name, created_at FROM tenants WHERE name = $1")
            .bind(tenant.name.as_str())
            .fetch_one(&mut *transaction)
            .await
            .map_err(explain("find a tenant"))?;
        commit(transaction).await?;
        row.try_into()
    }
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn insert_session(&self, tenant: TenantId, session: &Session) -> Result<()> {
        sqlx::query(
            "INSERT INTO sessions (id, tenant_id, user_id, subdir, title, metadata, options, claude_session_id, \
             conversation_started, status, message_count, created_at, last_active_at, closed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(session.id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(session.user.as_str())
        .bind(session.subdir.as_ref().map(Subdir::as_str))
        .bind(session.title.as_deref())
        .bind(to_json("write session metadata", &session.metadata)?)
        .bind(to_json("write session options", &session.options)?)
        .bind(session.claude_session_id.as_uuid())
        .bind(session.conversation_started)
        .bind(session.status.to_string())
        .bind(i64::try_from(session.message_count).unwrap_or(i64::MAX))
        .bind(session.created_at)
        .bind(session.last_active_at)
        .bind(session.closed_at)
        .execute(&self.writer)
        .await
        .map_err(explain("store a session"))?;
        Ok(())
    }

    async fn find_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Session>> {
        let row: Option<SessionRow> =
            sqlx::query_as("SELECT * FROM sessions WHERE id = $1 AND tenant_id = $2")
                .bind(id.as_uuid())
                .bind(tenant.as_uuid())
                .fetch_optional(&self.readers)
                .await
                .map_err(explain("find a session"))?;
        row.map(Session::try_from).transpose()
    }

    async fn list_sessions(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Page<Session, SessionId>> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM sessions WHERE tenant_id = ");
        query.push_bind(tenant.as_uuid());
        if let Some(user) = &filter.user {
            query.push(" AND user_id = ").push_bind(user.as_str());
        }
        if let Some(status) = filter.status {
            query.push(" AND status = ").push_bind(status.to_string());
        }
        if let Some(before) = before {
            query.push(" AND id < ").push_bind(before.as_uuid());
        }
        query
            .push(" ORDER BY id DESC LIMIT ")
            .push_bind(i64::from(limit) + 1);
        let rows: Vec<SessionRow> = query
            .build_query_as()
            .fetch_all(&self.readers)
            .await
            .map_err(explain("list sessions"))?;
        let sessions = rows
            .into_iter()
            .map(Session::try_from)
            .collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(sessions, limit as usize, |session| session.id))
    }

    async fn update_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        change: &SessionChange,
    ) -> Result<Option<Session>> {
        let metadata = change
            .metadata
            .as_ref()
            .map(|metadata| to_json("write session metadata", metadata))
            .transpose()?;
        let row: Option<SessionRow> = sqlx::query_as(
            "UPDATE sessions SET title = CASE WHEN $4 THEN $5 ELSE title END, metadata = COALESCE($6, metadata) \
             WHERE id = $1 AND tenant_id = $2 AND status = $3 RETURNING *",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(SessionStatus::Active.to_string())
        .bind(change.title.is_some())
        .bind(change.title.as_ref().and_then(Option::as_deref))
        .bind(metadata)
        .fetch_optional(&self.writer)
        .await
        .map_err(explain("change a session"))?;
        row.map(Session::try_from).transpose()
    }

    async fn close_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>> {
        let row: Option<SessionRow> = sqlx::query_as(
            "UPDATE sessions SET status = $3, closed_at = COALESCE(closed_at, $4) WHERE id = $1 AND tenant_id = $2 \
             RETURNING *",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(SessionStatus::Closed.to_string())
        .bind(at)
        .fetch_optional(&self.writer)
        .await
        .map_err(explain("close a session"))?;
        row.map(Session::try_from).transpose()
    }

    async fn acquire_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>> {
        let epoch: Option<i64> = sqlx::query_scalar(
            "UPDATE sessions SET epoch = epoch + 1 WHERE id = $1 AND tenant_id = $2 RETURNING epoch",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .fetch_optional(&self.writer)
        .await
        .map_err(explain("take a session"))?;
        let epoch = epoch.map(|epoch| u32::try_from(epoch).ok().and_then(Epoch::new));
        epoch
            .map(|epoch| epoch.ok_or(StoreError::EpochsUsedUp { session: id }))
            .transpose()
    }
}
