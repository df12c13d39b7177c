//! Rows as they are stored, and what they mean.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sqlx::FromRow;
use uuid::Uuid;

use super::errors::{corrupt, failed};
use crate::domain::{
    ClaudeSessionId, Event, EventBody, EventId, Session, SessionId, Tenant, TenantId, Turn, TurnId,
};
use crate::store::{Result, StoreError};

#[derive(FromRow)]
pub(super) struct TenantRow {
    id: Uuid,
    name: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<TenantRow> for Tenant {
    type Error = StoreError;

    fn try_from(row: TenantRow) -> Result<Self> {
        let name = row.name.parse().map_err(|error| corrupt("tenant name", error))?;
        Ok(Self {
            id: TenantId::from_uuid(row.id),
            name,
            created_at: row.created_at,
        })
    }
}

#[derive(FromRow)]
pub(super) struct SessionRow {
    id: Uuid,
    tenant_id: Uuid,
    user_id: String,
    subdir: Option<String>,
    title: Option<String>,
    metadata: String,
    options: String,
    claude_session_id: Uuid,
    conversation_started: bool,
    status: String,
    message_count: i64,
    created_at: DateTime<Utc>,
    last_active_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self> {
        Ok(Self {
            id: SessionId::from_uuid(row.id),
            tenant: TenantId::from_uuid(row.tenant_id),
            user: row.user_id.parse().map_err(|error| corrupt("user id", error))?,
            subdir: row
                .subdir
                .map(|text| text.parse())
                .transpose()
                .map_err(|error| corrupt("subdir", error))?,
            title: row.title,
            metadata: from_json("session metadata", &row.metadata)?,
            options: from_json("session options", &row.options)?,
            claude_session_id: ClaudeSessionId::from_uuid(row.claude_session_id),
            conversation_started: row.conversation_started,
            status: row
                .status
                .parse()
                .map_err(|error| corrupt("session status", error))?,
            message_count: u64::try_from(row.message_count)
                .map_err(|error| corrupt("message count", error))?,
            created_at: row.created_at,
            last_active_at: row.last_active_at,
            closed_at: row.closed_at,
        })
    }
}

#[derive(FromRow)]
pub(super) struct TurnRow {
    id: Uuid,
    session_id: Uuid,
    message: String,
    started_at: DateTime<Utc>,
    outcome: Option<String>,
}

impl TryFrom<TurnRow> for Turn {
    type Error = StoreError;

    fn try_from(row: TurnRow) -> Result<Self> {
        Ok(Self {
            id: TurnId::from_uuid(row.id),
            session: SessionId::from_uuid(row.session_id),
            message: row.message,
            started_at: row.started_at,
            outcome: row
                .outcome
                .map(|text| from_json("turn outcome", &text))
                .transpose()?,
        })
    }
}

#[derive(FromRow)]
pub(super) struct EventRow {
    id: i64,
    turn_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    body: String,
}

impl TryFrom<EventRow> for Event {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self> {
        let id = u64::try_from(row.id).ok().and_then(EventId::from_number);
        Ok(Self {
            id: id.ok_or_else(|| corrupt("event id", "it is out of range"))?,
            turn_id: row.turn_id.map(TurnId::from_uuid),
            created_at: row.created_at,
            body: from_json::<EventBody>("event", &row.body)?,
        })
    }
}

/// An event's id as the database keeps it.
pub(super) fn number(id: EventId) -> i64 {
    // Ids are below 2^53.
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

/// A value as the database keeps it.
pub(super) fn to_json(what: &'static str, value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| failed(what, error))
}

fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| corrupt(what, error))
}
