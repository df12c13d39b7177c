//! Turns in SQLite.

use async_trait::async_trait;

use super::errors::explain;
use super::events::append_in_tx;
use super::rows::{TurnRow, to_json};
use super::{SqliteStore, commit};
use crate::domain::{Epoch, Event, SessionId, SessionStatus, TenantId, Turn, TurnId, TurnStatus};
use crate::store::{Result, StoreError, TurnEnd, TurnStore};

#[async_trait]
impl TurnStore for SqliteStore {
    async fn begin_turn(&self, tenant: TenantId, epoch: Epoch, turn: &Turn, events: &[Event]) -> Result<()> {
        let session = turn.session;
        let mut transaction = self.write().await?;
        append_in_tx(&mut transaction, tenant, session, epoch, events).await?;
        let used = sqlx::query(
            "UPDATE sessions SET message_count = message_count + 1, last_active_at = $2 WHERE id = $1 AND status = $3",
        )
        .bind(session.as_uuid())
        .bind(turn.started_at)
        .bind(SessionStatus::Active.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(explain("count a prompt"))?;
        if used.rows_affected() == 0 {
            return Err(StoreError::SessionGone { session });
        }
        let begun = sqlx::query(
            "INSERT INTO turns (id, session_id, message, status, started_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (session_id) WHERE outcome IS NULL DO NOTHING",
        )
        .bind(turn.id.as_uuid())
        .bind(session.as_uuid())
        .bind(turn.message.as_str())
        .bind(TurnStatus::Running.to_string())
        .bind(turn.started_at)
        .execute(&mut *transaction)
        .await
        .map_err(explain("store a turn"))?;
        if begun.rows_affected() == 0 {
            return Err(StoreError::TurnUnfinished { session });
        }
        commit(transaction).await
    }

    async fn finish_turn(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        end: &TurnEnd,
        events: &[Event],
    ) -> Result<()> {
        let mut transaction = self.write().await?;
        append_in_tx(&mut transaction, tenant, end.session, epoch, events).await?;
        let finished = sqlx::query(
            "UPDATE turns SET status = $3, outcome = $4 WHERE id = $1 AND session_id = $2 AND outcome IS NULL",
        )
        .bind(end.turn.as_uuid())
        .bind(end.session.as_uuid())
        .bind(end.outcome.status.to_string())
        .bind(to_json("write a turn's outcome", &end.outcome)?)
        .execute(&mut *transaction)
        .await
        .map_err(explain("store a turn's outcome"))?;
        if finished.rows_affected() == 0 {
            // It has its outcome, and its last events: nothing of this is kept.
            return Ok(());
        }
        sqlx::query(
            "UPDATE sessions SET last_active_at = $2, claude_session_id = COALESCE($3, claude_session_id), \
             conversation_started = CASE WHEN $4 THEN $4 ELSE conversation_started END WHERE id = $1",
        )
        .bind(end.session.as_uuid())
        .bind(end.outcome.ended_at)
        .bind(end.claude_session_id.map(|id| id.as_uuid()))
        .bind(end.conversation_started)
        .execute(&mut *transaction)
        .await
        .map_err(explain("note a turn's end"))?;
        commit(transaction).await
    }

    async fn find_turn(&self, tenant: TenantId, session: SessionId, id: TurnId) -> Result<Option<Turn>> {
        let row: Option<TurnRow> = sqlx::query_as(
            "SELECT turns.* FROM turns JOIN sessions ON sessions.id = turns.session_id \
             WHERE turns.id = $1 AND turns.session_id = $2 AND sessions.tenant_id = $3",
        )
        .bind(id.as_uuid())
        .bind(session.as_uuid())
        .bind(tenant.as_uuid())
        .fetch_optional(&self.readers)
        .await
        .map_err(explain("find a turn"))?;
        row.map(Turn::try_from).transpose()
    }

    async fn unfinished_turns(&self, tenant: TenantId, session: SessionId) -> Result<Vec<Turn>> {
        let rows: Vec<TurnRow> = sqlx::query_as(
            "SELECT turns.* FROM turns JOIN sessions ON sessions.id = turns.session_id \
             WHERE turns.session_id = $1 AND turns.outcome IS NULL AND sessions.tenant_id = $2",
        )
        .bind(session.as_uuid())
        .bind(tenant.as_uuid())
        .fetch_all(&self.readers)
        .await
        .map_err(explain("find unfinished turns"))?;
        rows.into_iter().map(Turn::try_from).collect()
    }
}
