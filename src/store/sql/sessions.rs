//! Sessions.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Engine, Row as _};
use super::rows::{SESSION, epoch, from_json, insert_session, session, to_json};
use super::statement::{Statement, chunks, select, sql};
use super::{SqlStore, Transaction};
use crate::domain::{
    Activity, Epoch, Page, Room, Session, SessionChange, SessionFilter, SessionId, SessionOptions,
    SessionQuota, SessionStatus, TenantId,
};
use crate::store::{Result, SessionStore, terms};

#[async_trait]
impl<E: Engine> SessionStore for SqlStore<E> {
    async fn insert_session(&self, tenant: TenantId, session: &Session) -> Result<()> {
        let mut transaction = self.begin().await?;
        insert_in_tx(&mut transaction, tenant, session, Epoch::ZERO).await?;
        transaction.commit().await
    }

    async fn insert_session_within(
        &self,
        tenant: TenantId,
        session: &Session,
        quota: &SessionQuota,
    ) -> Result<Room> {
        let mut transaction = self.begin().await?;
        // So that two who count at once do not both find the last place.
        super::money::lock::<E>(&mut transaction, tenant).await?;
        for (most, user, full) in [
            (quota.of_tenant, None, Room::TenantFull),
            (quota.of_user, Some(&session.user), Room::UserFull),
        ] {
            let Some(most) = most else { continue };
            let filter = SessionFilter {
                user: user.cloned(),
                status: Some(SessionStatus::Active),
                activity: quota.used_after.map(Activity::After),
                ..SessionFilter::default()
            };
            let active = sql("SELECT COUNT(*) AS n FROM (");
            let active = select_page(active, tenant, &filter, None)
                .push_bind(" LIMIT ", most)
                .push(") AS counted");
            let row = transaction.row("count a tenant's sessions", active).await?;
            if super::count(row.as_ref())? >= u64::from(most) {
                transaction.roll_back().await?;
                return Ok(full);
            }
        }
        insert_in_tx(&mut transaction, tenant, session, Epoch::ZERO).await?;
        transaction.commit().await?;
        Ok(Room::Free)
    }

    async fn find_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Session>> {
        let statement = select(SESSION, " FROM sessions WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        let row = self.read_one("find a session", statement).await?;
        row.as_ref().map(session).transpose()
    }

    async fn list_sessions(
        &self,
        tenant: TenantId,
        filter: &SessionFilter,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Page<Session, SessionId>> {
        let statement = select_page(sql(""), tenant, filter, before)
            .push_bind(" ORDER BY sessions.id DESC LIMIT ", i64::from(limit) + 1);
        let rows = self.read("list sessions", statement).await?;
        let sessions = rows.iter().map(session).collect::<Result<Vec<_>>>()?;
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
        let mut transaction = self.begin().await?;
        let options = if change.changes_options() {
            let Some(options) = options_of::<E>(&mut transaction, tenant, id).await? else {
                transaction.roll_back().await?;
                return Ok(None);
            };
            Some(to_json("write session options", &change.apply_to(options))?)
        } else {
            None
        };
        let update = sql(
            "UPDATE sessions SET title = CASE WHEN $4 THEN $5 ELSE title END, metadata = COALESCE($6, metadata), \
             options = COALESCE($7, options), claude_session_id = COALESCE($8, claude_session_id), \
             conversation_started = CASE WHEN $9 THEN $10 ELSE conversation_started END \
             WHERE id = $1 AND tenant_id = $2 AND status = $3 RETURNING ",
        )
        .push(SESSION)
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(SessionStatus::Active.to_string())
        .bind(change.title.is_some())
        .bind(change.title.as_ref().and_then(Option::as_deref))
        .bind(metadata)
        .bind(options)
        .bind(change.new_conversation.map(|id| id.as_uuid()))
        .bind(change.new_conversation.is_some())
        .bind(change.conversation_goes_on);
        let Some(row) = transaction.row("change a session", update).await? else {
            transaction.roll_back().await?;
            return Ok(None);
        };
        let changed = session(&row)?;
        let forget = sql("DELETE FROM session_terms WHERE session_id = $1").bind(id.as_uuid());
        transaction
            .run("forget what a session was found by", forget)
            .await?;
        insert_terms(&mut transaction, tenant, &changed).await?;
        transaction.commit().await?;
        Ok(Some(changed))
    }

    async fn touch_session(&self, tenant: TenantId, id: SessionId, at: DateTime<Utc>) -> Result<bool> {
        let update = sql(
            "UPDATE sessions SET last_active_at = CASE WHEN last_active_at < $4 THEN $4 ELSE last_active_at END \
             WHERE id = $1 AND tenant_id = $2 AND status = $3",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(SessionStatus::Active.to_string())
        .bind(at);
        Ok(self.write("mark a session as used", update).await? > 0)
    }

    async fn close_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>> {
        let update = sql(
            "UPDATE sessions SET status = $3, closed_at = COALESCE(closed_at, $4) WHERE id = $1 AND tenant_id = $2 \
             RETURNING ",
        )
        .push(SESSION)
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(SessionStatus::Closed.to_string())
        .bind(at);
        let rows = self.write_returning("close a session", update).await?;
        rows.first().map(session).transpose()
    }

    async fn acquire_session(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>> {
        let update =
            sql("UPDATE sessions SET epoch = epoch + 1 WHERE id = $1 AND tenant_id = $2 RETURNING epoch")
                .bind(id.as_uuid())
                .bind(tenant.as_uuid());
        let rows = self.write_returning("take a session", update).await?;
        rows.first()
            .map(|row| epoch(id, row.integer("epoch")?))
            .transpose()
    }

    async fn remove_session(
        &self,
        tenant: TenantId,
        id: SessionId,
        unused_since: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let delete = sql(
            "DELETE FROM sessions WHERE id = $1 AND tenant_id = $2 AND last_active_at <= $3 \
             AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.session_id = sessions.id AND turns.outcome IS NULL)",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(unused_since);
        if transaction.run("remove a session", delete).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        let note = sql("INSERT INTO removed_sessions (session_id) VALUES ($1)").bind(id.as_uuid());
        transaction.run("note what a session left", note).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// Stores a session and what it is found by.
pub(super) async fn insert_in_tx<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    session: &Session,
    epoch: Epoch,
) -> Result<()> {
    transaction
        .run("store a session", insert_session(tenant, session, epoch)?)
        .await?;
    insert_terms(transaction, tenant, session).await
}

/// The options of an active session, whose row is locked until the transaction ends.
async fn options_of<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    id: SessionId,
) -> Result<Option<SessionOptions>> {
    let find = sql("SELECT options FROM sessions WHERE id = $1 AND tenant_id = $2 AND status = $3")
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(SessionStatus::Active.to_string())
        .push(E::LOCK_ROWS);
    let row = transaction.row("find a session's options", find).await?;
    row.map(|row| from_json("session options", &row.text("options")?))
        .transpose()
}

async fn insert_terms<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    session: &Session,
) -> Result<()> {
    let terms: Vec<_> = terms::of_session(session.title.as_deref(), &session.metadata)
        .into_iter()
        .collect();
    for chunk in chunks(&terms, E::ROWS_A_STATEMENT) {
        let insert = sql("INSERT INTO session_terms (tenant_id, term, session_id) VALUES ").push_rows(
            chunk.iter().map(|term| {
                vec![
                    tenant.as_uuid().into(),
                    term.as_str().into(),
                    session.id.as_uuid().into(),
                ]
            }),
        );
        transaction.run("note what a session is found by", insert).await?;
    }
    Ok(())
}

fn select_page(
    statement: Statement,
    tenant: TenantId,
    filter: &SessionFilter,
    before: Option<SessionId>,
) -> Statement {
    let mut statement = statement
        .push("SELECT ")
        .push(SESSION)
        .push(" FROM sessions WHERE")
        .push_bind(" sessions.tenant_id = ", tenant.as_uuid());
    if let Some(user) = &filter.user {
        statement = statement.push_bind(" AND sessions.user_id = ", user.as_str());
    }
    if let Some(status) = filter.status {
        statement = statement.push_bind(" AND sessions.status = ", status.to_string());
    }
    statement = match filter.activity {
        Some(Activity::After(border)) => statement.push_bind(" AND sessions.last_active_at > ", border),
        Some(Activity::UpTo(border)) => statement.push_bind(" AND sessions.last_active_at <= ", border),
        None => statement,
    };
    for (key, value) in &filter.metadata {
        let term = terms::of_metadata(key, value);
        statement = statement
            .push_bind(
                " AND sessions.id IN (SELECT session_id FROM session_terms WHERE tenant_id = ",
                tenant.as_uuid(),
            )
            .push_bind(" AND term = ", term)
            .push(")");
    }
    if let Some(title) = &filter.title {
        let (from, to) = terms::of_search(title);
        statement = statement
            .push_bind(
                " AND sessions.id IN (SELECT session_id FROM session_terms WHERE tenant_id = ",
                tenant.as_uuid(),
            )
            .push_bind(" AND term >= ", from)
            .push_bind(" AND term < ", to)
            .push(")");
    }
    if let Some(before) = before {
        statement = statement.push_bind(" AND sessions.id < ", before.as_uuid());
    }
    statement
}
