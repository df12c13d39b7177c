//! Rows as they are stored, and what they mean.

use serde::de::DeserializeOwned;

use super::engine::Row;
use super::statement::{Statement, Value, sql};
use crate::domain::{
    ApiKey, ClaudeSessionId, EntryId, Epoch, EventId, KeyDigest, KeyId, LedgerEntry, MicroUsd, Permission,
    PermissionResolution, Session, SessionId, SessionStatus, Spender, Subdir, Tenant, TenantId, Turn, TurnId,
    TurnStatus, Usage,
};
use crate::store::{Result, StoreError};

/// A value as the database keeps it.
pub(super) fn to_json(what: &'static str, value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::failed(what, error))
}

pub(super) fn from_json<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| StoreError::corrupt(what, error))
}

/// An event's id as the database keeps it.
pub(super) fn number(id: EventId) -> i64 {
    // Ids are below 2^53.
    i64::try_from(id.get()).unwrap_or(i64::MAX)
}

/// The id that a database kept as this number.
pub(super) fn event_id(number: i64) -> Result<EventId> {
    u64::try_from(number)
        .ok()
        .and_then(EventId::from_number)
        .ok_or_else(|| StoreError::corrupt("event id", "it is out of range"))
}

/// A count as the database keeps it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(what: &'static str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|error| StoreError::corrupt(what, error))
}

/// The epoch that a database kept as this number; past the last one it is used up.
pub(super) fn epoch(session: SessionId, number: i64) -> Result<Epoch> {
    u32::try_from(number)
        .ok()
        .and_then(Epoch::new)
        .ok_or(StoreError::EpochsUsedUp { session })
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    what: &'static str,
    text: &str,
) -> Result<T> {
    text.parse()
        .map_err(|error: T::Err| StoreError::corrupt(what, error))
}

/// What [`tenant`] reads.
pub(super) const TENANT: &str = "id, name, created_at, suspended_at, policy, limits";

pub(super) fn tenant(row: &impl Row) -> Result<Tenant> {
    Ok(Tenant {
        id: TenantId::from_uuid(row.uuid("id")?),
        name: parsed("tenant name", &row.text("name")?)?,
        created_at: row.time("created_at")?,
        suspended_at: row.time_or_null("suspended_at")?,
        policy: from_json("tenant's policy", &row.text("policy")?)?,
        limits: from_json("tenant's limits", &row.text("limits")?)?,
    })
}

/// What [`session`] reads.
pub(super) const SESSION: &str = "id, tenant_id, user_id, subdir, title, metadata, options, claude_session_id, \
    conversation_started, status, message_count, created_at, last_active_at, closed_at";

pub(super) fn session(row: &impl Row) -> Result<Session> {
    let message_count = row.integer("message_count")?;
    Ok(Session {
        id: SessionId::from_uuid(row.uuid("id")?),
        tenant: TenantId::from_uuid(row.uuid("tenant_id")?),
        user: parsed("user id", &row.text("user_id")?)?,
        subdir: row
            .text_or_null("subdir")?
            .map(|text| parsed("subdir", &text))
            .transpose()?,
        title: row.text_or_null("title")?,
        metadata: from_json("session metadata", &row.text("metadata")?)?,
        options: from_json("session options", &row.text("options")?)?,
        claude_session_id: ClaudeSessionId::from_uuid(row.uuid("claude_session_id")?),
        conversation_started: row.boolean("conversation_started")?,
        status: status(row)?,
        message_count: unsigned("message count", message_count)?,
        created_at: row.time("created_at")?,
        last_active_at: row.time("last_active_at")?,
        closed_at: row.time_or_null("closed_at")?,
    })
}

pub(super) fn status(row: &impl Row) -> Result<SessionStatus> {
    parsed("session status", &row.text("status")?)
}

pub(super) fn insert_session(tenant: TenantId, session: &Session, epoch: Epoch) -> Result<Statement> {
    Ok(sql(
        "INSERT INTO sessions (id, tenant_id, user_id, subdir, title, metadata, options, claude_session_id, \
         conversation_started, status, message_count, created_at, last_active_at, closed_at, epoch) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
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
    .bind(signed(session.message_count))
    .bind(session.created_at)
    .bind(session.last_active_at)
    .bind(session.closed_at)
    .bind(epoch.get()))
}

/// Whether a turn without outcome waits for others.
pub(super) fn is_queued(row: &impl Row) -> Result<bool> {
    Ok(parsed::<TurnStatus>("turn's status", &row.text("status")?)? == TurnStatus::Queued)
}

/// What [`turn`] reads.
pub(super) const TURN: &str = "turns.id, turns.session_id, turns.message, turns.status, turns.started_at, turns.key_id, \
    turns.deadline, turns.outcome";

pub(super) fn turn(row: &impl Row) -> Result<Turn> {
    Ok(Turn {
        queued: is_queued(row)?,
        id: TurnId::from_uuid(row.uuid("id")?),
        session: SessionId::from_uuid(row.uuid("session_id")?),
        message: row.text("message")?,
        started_at: row.time("started_at")?,
        key: row.uuid_or_null("key_id")?.map(KeyId::from_uuid),
        deadline: row.time_or_null("deadline")?,
        outcome: row
            .text_or_null("outcome")?
            .map(|text| from_json("turn outcome", &text))
            .transpose()?,
    })
}

pub(super) fn permission(row: &impl Row) -> Result<Permission> {
    let resolution = row
        .text_or_null("resolution")?
        .map(|text| from_json::<PermissionResolution>("permission's answer", &text))
        .transpose()?;
    Ok(Permission {
        resolution,
        ..from_json("permission", &row.text("question")?)?
    })
}

pub(super) fn insert_permission(tenant: TenantId, permission: &Permission) -> Result<Statement> {
    let question = Permission {
        resolution: None,
        ..permission.clone()
    };
    let resolution = permission
        .resolution
        .as_ref()
        .map(|resolution| to_json("write a permission's answer", resolution))
        .transpose()?;
    // Only into a session of this tenant.
    Ok(sql(
        "INSERT INTO permissions (id, tenant_id, session_id, user_id, expires_at, question, resolution) \
         SELECT $1, tenant_id, id, $4, $5, $6, $7 FROM sessions WHERE id = $3 AND tenant_id = $2",
    )
    .bind(permission.id.as_uuid())
    .bind(tenant.as_uuid())
    .bind(permission.session.as_uuid())
    .bind(permission.user.as_str())
    .bind(permission.expires_at)
    .bind(to_json("write a permission", &question)?)
    .bind(resolution))
}

/// What [`api_key`] reads, and whose the key is.
pub(super) const API_KEY: &str = "id, tenant_id, name, role, user_id, digest, created_at, expires_at, revoked_at, \
    last_used_at, networks";

/// The digest that a row has.
pub(super) fn key_digest(row: &impl Row) -> Result<KeyDigest> {
    let digest = row.bytes("digest")?.try_into();
    let digest = digest.map_err(|_bytes| StoreError::corrupt("key digest", "it is not of 32 bytes"))?;
    Ok(KeyDigest(digest))
}

pub(super) fn api_key(row: &impl Row) -> Result<ApiKey> {
    Ok(ApiKey {
        id: KeyId::from_uuid(row.uuid("id")?),
        name: row.text("name")?,
        role: parsed("role", &row.text("role")?)?,
        user: row
            .text_or_null("user_id")?
            .map(|text| parsed("user id", &text))
            .transpose()?,
        digest: key_digest(row)?,
        created_at: row.time("created_at")?,
        expires_at: row.time_or_null("expires_at")?,
        revoked_at: row.time_or_null("revoked_at")?,
        last_used_at: row.time_or_null("last_used_at")?,
        networks: from_json("key's networks", &row.text("networks")?)?,
    })
}

pub(super) fn insert_key(tenant: TenantId, key: &ApiKey) -> Result<Statement> {
    Ok(sql(
        "INSERT INTO api_keys (id, tenant_id, name, role, user_id, digest, created_at, expires_at, revoked_at, \
         last_used_at, networks) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
         ON CONFLICT (tenant_id, name) WHERE revoked_at IS NULL DO NOTHING",
    )
    .bind(key.id.as_uuid())
    .bind(tenant.as_uuid())
    .bind(key.name.as_str())
    .bind(key.role.to_string())
    .bind(key.user.as_ref().map(crate::domain::UserId::as_str))
    .bind(key.digest.0.as_slice())
    .bind(key.created_at)
    .bind(key.expires_at)
    .bind(key.revoked_at)
    .bind(key.last_used_at)
    .bind(to_json("write a key's networks", &key.networks)?))
}

/// What [`ledger_entry`] reads.
pub(super) const LEDGER_ENTRY: &str = "id, user_id, session_id, turn_id, key_id, model, payer, at, input_tokens, \
    output_tokens, cache_read_input_tokens, cache_creation_input_tokens, cost_micro_usd";

pub(super) fn ledger_entry(row: &impl Row) -> Result<LedgerEntry> {
    Ok(LedgerEntry {
        id: EntryId::from_uuid(row.uuid("id")?),
        spender: Spender {
            user: parsed("user id", &row.text("user_id")?)?,
            session: SessionId::from_uuid(row.uuid("session_id")?),
            turn: row.uuid_or_null("turn_id")?.map(TurnId::from_uuid),
            key: row.uuid_or_null("key_id")?.map(KeyId::from_uuid),
        },
        model: row.text("model")?,
        usage: usage(row)?,
        cost: MicroUsd::new(unsigned("cost", row.integer("cost_micro_usd")?)?),
        payer: parsed("payer", &row.text("payer")?)?,
        at: row.time("at")?,
    })
}

pub(super) fn usage(row: &impl Row) -> Result<Usage> {
    let tokens = |column| unsigned("number of tokens", row.integer(column)?);
    Ok(Usage {
        input_tokens: tokens("input_tokens")?,
        output_tokens: tokens("output_tokens")?,
        cache_read_input_tokens: tokens("cache_read_input_tokens")?,
        cache_creation_input_tokens: tokens("cache_creation_input_tokens")?,
    })
}

pub(super) fn ledger_values(tenant: TenantId, entry: &LedgerEntry) -> Vec<Value> {
    let LedgerEntry { spender, usage, .. } = entry;
    vec![
        entry.id.as_uuid().into(),
        tenant.as_uuid().into(),
        spender.user.as_str().into(),
        spender.session.as_uuid().into(),
        spender.turn.map(|turn| turn.as_uuid()).into(),
        spender.key.map(|key| key.as_uuid()).into(),
        entry.model.as_str().into(),
        entry.payer.to_string().into(),
        entry.at.date_naive().to_string().into(),
        entry.at.into(),
        signed(usage.input_tokens).into(),
        signed(usage.output_tokens).into(),
        signed(usage.cache_read_input_tokens).into(),
        signed(usage.cache_creation_input_tokens).into(),
        signed(entry.cost.get()).into(),
    ]
}
