//! The log of events in SQLite.

use async_trait::async_trait;
use sqlx::sqlite::SqliteTransaction;
use sqlx::{QueryBuilder, Sqlite};

use super::errors::explain;
use super::rows::{EventRow, number, to_json};
use super::{SqliteStore, commit};
use crate::domain::{Epoch, Event, EventId, EventKind, SessionId, TenantId};
use crate::store::{EventLog, Result, StoreError};

/// Rows of one statement: each binds six values, and a statement takes 32 766.
const ROWS_A_STATEMENT: usize = 500;

#[async_trait]
impl EventLog for SqliteStore {
    async fn append_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<()> {
        let mut transaction = self.write().await?;
        append_in_tx(&mut transaction, tenant, session, epoch, events).await?;
        commit(transaction).await
    }

    async fn read_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        after: EventId,
        kinds: &[EventKind],
        limit: u32,
    ) -> Result<Vec<Event>> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT events.id, events.turn_id, events.created_at, events.body FROM events \
             JOIN sessions ON sessions.id = events.session_id WHERE events.session_id = ",
        );
        query.push_bind(session.as_uuid());
        query
            .push(" AND sessions.tenant_id = ")
            .push_bind(tenant.as_uuid());
        query.push(" AND events.id > ").push_bind(number(after));
        if !kinds.is_empty() {
            query.push(" AND events.kind IN (");
            let mut list = query.separated(", ");
            for kind in kinds {
                list.push_bind(<&'static str>::from(kind));
            }
            query.push(")");
        }
        query
            .push(" ORDER BY events.id LIMIT ")
            .push_bind(i64::from(limit));
        let rows: Vec<EventRow> = query
            .build_query_as()
            .fetch_all(&self.readers)
            .await
            .map_err(explain("read events"))?;
        rows.into_iter().map(Event::try_from).collect()
    }
}

/// Checks that the session is owned under `epoch` and that the ids rise above what is stored, then appends.
pub(super) async fn append_in_tx(
    transaction: &mut SqliteTransaction<'_>,
    tenant: TenantId,
    session: SessionId,
    epoch: Epoch,
    events: &[Event],
) -> Result<()> {
    let found: Option<(i64, i64)> =
        sqlx::query_as("SELECT epoch, last_event_id FROM sessions WHERE id = $1 AND tenant_id = $2")
            .bind(session.as_uuid())
            .bind(tenant.as_uuid())
            .fetch_optional(&mut **transaction)
            .await
            .map_err(explain("find a session's owner"))?;
    let (owner, mut last) = found.ok_or(StoreError::SessionGone { session })?;
    if owner != i64::from(epoch.get()) {
        return Err(StoreError::StaleEpoch { session, epoch });
    }
    for event in events {
        let id = number(event.id);
        if id <= last {
            return Err(StoreError::IdsTaken { session });
        }
        last = id;
    }
    if events.is_empty() {
        return Ok(());
    }
    for rows in events.chunks(ROWS_A_STATEMENT) {
        insert_in_tx(transaction, session, rows).await?;
    }
    sqlx::query("UPDATE sessions SET last_event_id = $2 WHERE id = $1")
        .bind(session.as_uuid())
        .bind(last)
        .execute(&mut **transaction)
        .await
        .map_err(explain("note a session's last event"))?;
    Ok(())
}

async fn insert_in_tx(
    transaction: &mut SqliteTransaction<'_>,
    session: SessionId,
    events: &[Event],
) -> Result<()> {
    let bodies = events
        .iter()
        .map(|event| to_json("write an event", &event.body))
        .collect::<Result<Vec<_>>>()?;
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO events (session_id, id, turn_id, kind, created_at, body) ");
    query.push_values(events.iter().zip(bodies), |mut row, (event, body)| {
        row.push_bind(session.as_uuid())
            .push_bind(number(event.id))
            .push_bind(event.turn_id.map(|turn| turn.as_uuid()))
            .push_bind(<&'static str>::from(event.body.kind()))
            .push_bind(event.created_at)
            .push_bind(body);
    });
    query
        .build()
        .execute(&mut **transaction)
        .await
        .map_err(explain("append events"))?;
    Ok(())
}
