//! The log of events.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Engine, Row as _};
use super::rows::{event_id, from_json, number, to_json};
use super::statement::{Statement, Value, sql};
use super::writer::{Entries, Work};
use super::{SqlStore, Transaction, count};
use crate::domain::{Epoch, Event, EventBody, EventId, EventKind, EventQuery, SessionId, TenantId, TurnId};
use crate::store::{EventLog, LogBounds, Result, TrimKind, deltas};

/// A row of the log, ready to be stored.
#[derive(Debug, Clone)]
pub(super) struct EventRow {
    pub(super) id: EventId,
    turn: Option<TurnId>,
    kind: &'static str,
    pub(super) created_at: DateTime<Utc>,
    body: String,
}

impl EventRow {
    /// The rows that these events make.
    pub(super) fn of(events: &[Event]) -> Result<Vec<Self>> {
        deltas::rows(events)
            .into_iter()
            .filter_map(Self::of_row)
            .collect()
    }

    fn of_row(row: deltas::Row<'_>) -> Option<Result<Self>> {
        let (last, kind) = match row {
            deltas::Row::Whole(event) => (event, <&'static str>::from(event.body.kind())),
            deltas::Row::Pieces(pieces) => (pieces.last()?, deltas::KIND),
        };
        let body = match row {
            deltas::Row::Whole(event) => to_json("write an event", &event.body),
            deltas::Row::Pieces(pieces) => deltas::pack(pieces, last.created_at),
        };
        Some(body.map(|body| Self {
            id: last.id,
            turn: last.turn_id,
            kind,
            created_at: last.created_at,
            body,
        }))
    }

    pub(super) fn values(self, session: SessionId) -> Vec<Value> {
        vec![
            session.as_uuid().into(),
            number(self.id).into(),
            self.turn.map(|turn| turn.as_uuid()).into(),
            self.kind.into(),
            self.created_at.into(),
            self.body.into(),
        ]
    }

    /// How much of memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + 64
    }
}

#[async_trait]
impl<E: Engine> EventLog for SqlStore<E> {
    async fn append_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<()> {
        let work = Work::Append(Entries::of(events)?);
        self.writer.write(tenant, session, epoch, work).await.map(|_| ())
    }

    async fn read_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        query: &EventQuery,
        limit: u32,
    ) -> Result<Vec<Event>> {
        let mut events: Vec<Event> = Vec::new();
        let mut after = query.after;
        // A row of pieces holds many events: few rows are read at first, and more if those were not enough.
        let mut rows_at_once = if query.wants_deltas() {
            limit.div_ceil(8)
        } else {
            limit
        };
        loop {
            let rows = self
                .read(
                    "read events",
                    select_events(tenant, session, query, after, rows_at_once),
                )
                .await?;
            let full = rows.len() == rows_at_once as usize;
            rows_at_once = limit.min(rows_at_once.saturating_mul(2));
            for row in rows {
                let turn_id = row.uuid_or_null("turn_id")?.map(TurnId::from_uuid);
                let (created_at, body) = (row.time("created_at")?, row.text("body")?);
                after = event_id(row.integer("id")?)?;
                if row.text("kind")? == deltas::KIND {
                    let pieces = deltas::unpack(&body, turn_id, created_at)?;
                    events.extend(pieces.into_iter().filter(|event| query.matches(event)));
                } else {
                    events.push(Event {
                        id: after,
                        turn_id,
                        created_at,
                        body: from_json::<EventBody>("event", &body)?,
                    });
                }
            }
            // Rows of pieces may hold none that matches: fewer events than rows do not mean the end.
            if !full || events.len() >= limit as usize {
                break;
            }
        }
        events.truncate(limit as usize);
        Ok(events)
    }

    async fn log_bounds(&self, tenant: TenantId, session: SessionId) -> Result<Option<LogBounds>> {
        let statement = sql("SELECT trimmed_to, \
             (SELECT MAX(events.id) FROM events WHERE events.session_id = sessions.id) AS last_event_id \
             FROM sessions WHERE id = $1 AND tenant_id = $2")
        .bind(session.as_uuid())
        .bind(tenant.as_uuid());
        let Some(row) = self.read_one("find how far a log reaches", statement).await? else {
            return Ok(None);
        };
        let trimmed_to = event_id(row.integer("trimmed_to")?)?;
        let last = row.integer_or_null("last_event_id")?.map(event_id).transpose()?;
        Ok(Some(LogBounds {
            last: last.map_or(trimmed_to, |last| last.max(trimmed_to)),
            trimmed_to,
        }))
    }

    async fn trim_events(
        &self,
        tenant: TenantId,
        kind: TrimKind,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64> {
        let find = match kind {
            TrimKind::Deltas => return self.trim_deltas(tenant, before, limit).await,
            TrimKind::Events => sql(
                "SELECT id FROM sessions WHERE tenant_id = $1 AND events_from < $2 \
                 AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.session_id = sessions.id AND turns.outcome IS NULL) \
                 ORDER BY events_from LIMIT $3",
            ),
            TrimKind::All => sql("SELECT id FROM sessions WHERE tenant_id = $1 AND log_from < $2 \
                 AND NOT EXISTS (SELECT 1 FROM turns WHERE turns.session_id = sessions.id AND turns.outcome IS NULL) \
                 ORDER BY log_from LIMIT $3"),
        };
        let find = find.bind(tenant.as_uuid()).bind(before).bind(limit);
        let sessions = self.read("find sessions with old events", find).await?;
        let mut done = 0;
        for row in sessions {
            if done >= u64::from(limit) {
                break;
            }
            let session = SessionId::from_uuid(row.uuid("id")?);
            let mut transaction = self.begin().await?;
            let left = limit.saturating_sub(u32::try_from(done).unwrap_or(u32::MAX));
            // One more, for the session that was looked at: the work is bounded by it too.
            done += 1 + trim_session(&mut transaction, session, kind, before, left).await?;
            transaction.commit().await?;
        }
        Ok(done)
    }
}

impl<E: Engine> SqlStore<E> {
    async fn trim_deltas(&self, tenant: TenantId, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let delete = sql("DELETE FROM events WHERE (session_id, id) IN \
             (SELECT events.session_id, events.id FROM events JOIN sessions ON sessions.id = events.session_id \
             WHERE events.kind = 'deltas' AND events.created_at < $2 AND sessions.tenant_id = $1 AND NOT EXISTS \
             (SELECT 1 FROM turns WHERE turns.id = events.turn_id AND turns.session_id = events.session_id \
             AND turns.outcome IS NULL) \
             ORDER BY events.created_at LIMIT $3)")
        .bind(tenant.as_uuid())
        .bind(before)
        .bind(limit);
        self.write("remove old pieces of messages", delete).await
    }
}

fn select_events(
    tenant: TenantId,
    session: SessionId,
    query: &EventQuery,
    after: EventId,
    limit: u32,
) -> Statement {
    let mut statement = sql(
        "SELECT events.id, events.turn_id, events.kind, events.created_at, events.body FROM events \
         JOIN sessions ON sessions.id = events.session_id WHERE",
    )
    .push_bind(" events.session_id = ", session.as_uuid())
    .push_bind(" AND sessions.tenant_id = ", tenant.as_uuid())
    .push_bind(" AND events.id > ", number(after));
    if let Some(until) = query.until {
        statement = if query.wants_deltas() {
            // A row of pieces may begin before the border and end after it.
            statement
                .push_bind(" AND (events.id <= ", number(until))
                .push(" OR events.kind = 'deltas')")
        } else {
            statement.push_bind(" AND events.id <= ", number(until))
        };
    }
    if query.kinds.is_empty() {
        if !query.deltas {
            statement = statement.push(" AND events.kind <> 'deltas'");
        }
    } else {
        let mut kinds: Vec<Value> = query
            .kinds
            .iter()
            .filter(|kind| !kind.is_delta())
            .map(|kind| Value::from(<&'static str>::from(kind)))
            .collect();
        if query.wants_deltas() {
            kinds.push(deltas::KIND.into());
        }
        statement = statement.push(" AND events.kind IN ").push_row(kinds);
    }
    if let Some(turn) = query.turn {
        statement = statement.push_bind(" AND events.turn_id = ", turn.as_uuid());
    }
    statement.push_bind(" ORDER BY events.id LIMIT ", limit)
}

/// Removes up to `limit` of a session's events from before `before`, and notes from when on it still has them, and up to where
/// it has not.
async fn trim_session<E: Engine>(
    transaction: &mut Transaction<E>,
    session: SessionId,
    kind: TrimKind,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64> {
    let first_kept = sql(
        "SELECT id, created_at FROM events WHERE session_id = $1 AND created_at >= $2 ORDER BY id LIMIT 1",
    )
    .bind(session.as_uuid())
    .bind(before);
    let first_kept = transaction.row("find the events to keep", first_kept).await?;
    let (border, kept_from) = match &first_kept {
        Some(row) => (row.integer("id")?, Some(row.time("created_at")?)),
        None => (i64::MAX, None),
    };
    let of_kind = |statement: Statement| match kind {
        TrimKind::Events => statement
            .push(" AND kind NOT IN ")
            .push_row(EventKind::MESSAGES.map(|kind| Value::from(<&'static str>::from(kind)))),
        TrimKind::All | TrimKind::Deltas => statement,
    };
    let old = of_kind(
        sql("SELECT COUNT(*) AS n, MAX(id) AS last FROM (SELECT id FROM events WHERE")
            .push_bind(" session_id = ", session.as_uuid())
            .push_bind(" AND id < ", border),
    )
    .push_bind(" ORDER BY id LIMIT ", limit)
    .push(") AS counted");
    let old = transaction.row("find old events", old).await?;
    let removed = count(old.as_ref())?;
    if let Some(last) = old.map(|row| row.integer_or_null("last")).transpose()?.flatten() {
        let delete = of_kind(
            sql("DELETE FROM events WHERE")
                .push_bind(" session_id = ", session.as_uuid())
                .push_bind(" AND id <= ", last),
        );
        transaction.run("remove old events", delete).await?;
        let note = sql("UPDATE sessions SET trimmed_to = $2 WHERE id = $1 AND trimmed_to < $2")
            .bind(session.as_uuid())
            .bind(last);
        transaction.run("note how far a log was trimmed", note).await?;
    }
    if removed < u64::from(limit) {
        let note = match kind {
            TrimKind::Events => sql("UPDATE sessions SET events_from = $2 WHERE id = $1"),
            // What is no longer there is neither.
            TrimKind::All | TrimKind::Deltas => {
                sql("UPDATE sessions SET log_from = $2, events_from = $2 WHERE id = $1")
            }
        };
        let note = note.bind(session.as_uuid()).bind(kept_from);
        transaction.run("note where a log begins", note).await?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_is_called_as_rows_of_pieces_are() {
        assert!(deltas::KIND.parse::<EventKind>().is_err());
    }
}
