//! Storing records of an archive as they are.

use async_trait::async_trait;

use super::engine::{Engine, Row as _};
use super::events::EventRow;
use super::rows::{epoch, insert_key, insert_permission, permission, to_json};
use super::sessions::insert_in_tx;
use super::statement::{chunks, sql};
use super::writer::append_transcript;
use super::{SqlStore, Transaction};
use crate::domain::{
    Epoch, Event, Permission, PermissionId, SessionId, TenantId, TranscriptEntry, TranscriptPath, Turn,
    TurnStatus,
};
use crate::store::archive::Record;
use crate::store::{RestoreStore, Result, StoreError};

#[async_trait]
impl<E: Engine> RestoreStore for SqlStore<E> {
    async fn is_empty(&self) -> Result<bool> {
        let any = sql("SELECT 1 FROM tenants LIMIT 1");
        Ok(self.read_one("look for a tenant", any).await?.is_none())
    }

    async fn session_epoch(&self, tenant: TenantId, id: SessionId) -> Result<Option<Epoch>> {
        let statement = sql("SELECT epoch FROM sessions WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        let row = self.read_one("find a session's epoch", statement).await?;
        row.map(|row| epoch(id, row.integer("epoch")?)).transpose()
    }

    async fn list_permissions(
        &self,
        tenant: TenantId,
        after: Option<PermissionId>,
        limit: u32,
    ) -> Result<Vec<Permission>> {
        let mut statement = sql("SELECT question, resolution FROM permissions WHERE")
            .push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(after) = after {
            statement = statement.push_bind(" AND id > ", after.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY id LIMIT ", limit);
        let rows = self.read("list all permissions", statement).await?;
        rows.iter().map(permission).collect()
    }

    async fn restore(&self, records: &[Record]) -> Result<()> {
        let mut transaction = self.begin().await?;
        for same in records.chunk_by(go_together) {
            restore(&mut transaction, same).await?;
        }
        transaction.commit().await
    }
}

/// Whether two records are stored by one statement.
fn go_together(a: &Record, b: &Record) -> bool {
    match (a, b) {
        (Record::Event { session: a, .. }, Record::Event { session: b, .. }) => a == b,
        (
            Record::TranscriptEntry {
                session: a,
                path: file,
                ..
            },
            Record::TranscriptEntry {
                session: b,
                path: other,
                ..
            },
        ) => a == b && file == other,
        _ => false,
    }
}

async fn restore<E: Engine>(transaction: &mut Transaction<E>, same: &[Record]) -> Result<()> {
    let Some(first) = same.first() else { return Ok(()) };
    match first {
        Record::Tenant { tenant } => {
            transaction
                .run("restore a tenant", super::tenants::insert(tenant)?)
                .await?;
        }
        Record::Key { tenant, key } => {
            transaction
                .run("restore a key", insert_key(*tenant, key)?)
                .await?;
        }
        Record::Credential { tenant, credential } => {
            let set = super::credentials::set(*tenant, credential);
            transaction.run("restore a credential", set).await?;
        }
        Record::Audit { tenant, entry } => {
            let insert = super::audit::insert(*tenant, entry);
            transaction.run("restore the audit", insert).await?;
            transaction
                .run("restore the audit's head", super::audit::set_head(entry))
                .await?;
        }
        Record::Budget { tenant, budget } => {
            let insert = super::budgets::insert(*tenant, budget);
            transaction.run("restore a budget", insert).await?;
        }
        Record::Usage { tenant, usage } => {
            super::money::enter(transaction, *tenant, usage).await?;
        }
        Record::Session {
            session,
            epoch: number,
            trimmed_to,
        } => {
            let epoch = epoch(session.id, i64::from(*number))?;
            insert_in_tx(transaction, session.tenant, session, epoch).await?;
            let trimmed = sql("UPDATE sessions SET trimmed_to = $2 WHERE id = $1")
                .bind(session.id.as_uuid())
                .bind(super::rows::number(*trimmed_to));
            transaction
                .run("restore how far a log was trimmed", trimmed)
                .await?;
        }
        Record::Turn { turn } => restore_turn(transaction, turn).await?,
        Record::Event { session, .. } => {
            let events: Vec<_> = same
                .iter()
                .filter_map(|record| match record {
                    Record::Event { event, .. } => Some((**event).clone()),
                    _ => None,
                })
                .collect();
            restore_events(transaction, *session, &events).await?;
        }
        Record::TranscriptEntry { session, path, .. } => {
            let lines = same.iter().filter_map(|record| match record {
                Record::TranscriptEntry { line, .. } => Some(line.clone()),
                _ => None,
            });
            restore_transcript(transaction, *session, path, lines).await?;
        }
        Record::Webhook { tenant, webhook } => {
            let insert = super::webhooks::insert(*tenant, webhook)?;
            transaction.run("restore a webhook", insert).await?;
        }
        Record::Delivery { delivery } => {
            let insert = super::webhooks::insert_delivery(delivery)?;
            transaction.run("restore a delivery", insert).await?;
        }
        Record::Share { tenant, share } => {
            let insert = super::shares::insert(*tenant, share);
            if transaction.run("restore a share", insert).await? == 0 {
                return Err(StoreError::SessionGone {
                    session: share.session,
                });
            }
        }
        Record::Permission { tenant, permission } => {
            let insert = insert_permission(*tenant, permission)?;
            if transaction.run("restore a permission", insert).await? == 0 {
                return Err(StoreError::SessionGone {
                    session: permission.session,
                });
            }
        }
    }
    Ok(())
}

async fn restore_turn<E: Engine>(transaction: &mut Transaction<E>, turn: &Turn) -> Result<()> {
    let status = match &turn.outcome {
        Some(outcome) => outcome.status,
        None if turn.queued => TurnStatus::Queued,
        None => TurnStatus::Running,
    };
    let outcome = turn
        .outcome
        .as_ref()
        .map(|outcome| to_json("write a turn's outcome", outcome))
        .transpose()?;
    let insert = sql(
        "INSERT INTO turns (id, session_id, message, status, started_at, outcome, key_id, deadline) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(turn.id.as_uuid())
    .bind(turn.session.as_uuid())
    .bind(turn.message.as_str())
    .bind(status.to_string())
    .bind(turn.started_at)
    .bind(outcome)
    .bind(turn.key.map(|key| key.as_uuid()))
    .bind(turn.deadline);
    transaction.run("restore a turn", insert).await.map(|_| ())
}

async fn restore_events<E: Engine>(
    transaction: &mut Transaction<E>,
    session: SessionId,
    events: &[Event],
) -> Result<()> {
    let rows = EventRow::of(events)?;
    let log_from = sql("UPDATE sessions SET log_from = COALESCE(log_from, $2), \
         events_from = COALESCE(events_from, $2) WHERE id = $1")
    .bind(session.as_uuid())
    .bind(rows.first().map(|row| row.created_at));
    if transaction.run("note where a log begins", log_from).await? == 0 {
        return Err(StoreError::SessionGone { session });
    }
    for chunk in chunks(&rows, E::ROWS_A_STATEMENT) {
        let insert = sql("INSERT INTO events (session_id, id, turn_id, kind, created_at, body) VALUES ")
            .push_rows(chunk.iter().map(|row| row.clone().values(session)));
        transaction.run("restore events", insert).await?;
    }
    Ok(())
}

async fn restore_transcript<E: Engine>(
    transaction: &mut Transaction<E>,
    session: SessionId,
    path: &TranscriptPath,
    lines: impl Iterator<Item = String>,
) -> Result<()> {
    let entries = lines
        .map(|line| {
            TranscriptEntry::parse(line)
                .map_err(|reason| StoreError::corrupt("entry of a transcript", reason))
        })
        .collect::<Result<Vec<_>>>()?;
    append_transcript(transaction, session, path, &entries)
        .await
        .map(|_| ())
}
