//! One group of writes in one transaction: first it is seen which may be done, then all of those are done at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::engine::{Engine, Row as _};
use super::super::idempotency::finish;
use super::super::money;
use super::super::rows::{event_id, is_queued, status};
use super::super::statement::{Value, chunks, padded, sql};
use super::super::{Database, Transaction, webhooks};
use super::{Job, Work};
use crate::domain::{
    EventId, SessionId, SessionStatus, TenantId, TranscriptEntry, TranscriptPath, Turn, TurnId, TurnStatus,
};
use crate::store::{RequestAnswer, Result, StoreError, TurnEnd};

/// A session as the group finds it, and as the writes that were let through so far leave it.
struct Owned {
    tenant: TenantId,
    epoch: i64,
    status: SessionStatus,
    /// The last event that was stored before this group.
    stored: EventId,
    last: EventId,
    has_log: bool,
    /// Whether its tenant has events sent anywhere.
    has_webhooks: bool,
    /// The turn that has begun and has no outcome.
    running: Option<TurnId>,
    /// The turns that wait.
    queued: BTreeSet<TurnId>,
}

/// What is to be done with a write.
enum Verdict {
    Write,
    /// It begins a turn that is stored as one that waits.
    BeginQueued,
    /// It is done already: by an earlier try, or since its turn has its outcome.
    Nothing,
}

/// Commits what may be done of a group, and answers what became of each. Where the answer is an error as a whole,
/// nothing of the group was done.
pub(super) async fn commit<E: Engine>(database: &Arc<Database<E>>, jobs: &[Job]) -> Result<Vec<Result<u64>>> {
    let mut transaction = Database::begin(database).await?;
    let mut sessions = look_up(&mut transaction, jobs).await?;
    let mut writes = Vec::new();
    let mut logs_begun: Vec<(SessionId, DateTime<Utc>)> = Vec::new();
    let mut outcomes = Vec::with_capacity(jobs.len());
    for (index, job) in jobs.iter().enumerate() {
        let verdict = judge(job, sessions.get_mut(&job.session));
        if let (Ok(verdict @ (Verdict::Write | Verdict::BeginQueued)), Some(owned)) =
            (&verdict, sessions.get_mut(&job.session))
        {
            writes.push((index, job, matches!(verdict, Verdict::BeginQueued)));
            if let Some(first) = job.work.rows().first().filter(|_| !owned.has_log) {
                owned.has_log = true;
                logs_begun.push((job.session, first.created_at));
            }
        }
        outcomes.push(verdict.map(|_| 0));
    }
    if writes.is_empty() {
        transaction.roll_back().await?;
        return Ok(outcomes);
    }
    insert_events(&mut transaction, &writes).await?;
    deliver(&mut transaction, &writes, &sessions).await?;
    for (session, at) in logs_begun {
        let note = sql("UPDATE sessions SET log_from = COALESCE(log_from, $2), \
             events_from = COALESCE(events_from, $2) WHERE id = $1")
        .bind(session.as_uuid())
        .bind(at);
        transaction.run("note where a log begins", note).await?;
    }
    for (index, job, was_queued) in writes {
        let stored = match &job.work {
            Work::Append(_) => 0,
            Work::Queue { turn, answer, .. } => {
                keep_answer(&mut transaction, job.tenant, answer.as_ref()).await?;
                store_turn(&mut transaction, turn, TurnStatus::Queued).await?
            }
            Work::Begin { turn, answer, .. } => {
                keep_answer(&mut transaction, job.tenant, answer.as_ref()).await?;
                begin_turn(&mut transaction, turn, was_queued).await?
            }
            Work::Finish { end, outcome, .. } => {
                finish_turn(&mut transaction, job.tenant, end, outcome).await?
            }
            Work::Transcript { path, entries } => {
                append_transcript(&mut transaction, job.session, path, entries).await?
            }
        };
        if let Some(outcome) = outcomes.get_mut(index) {
            *outcome = Ok(stored);
        }
    }
    transaction.commit().await?;
    Ok(outcomes)
}

/// The sessions of a group, locked in one order so that two groups never wait for each other.
async fn look_up<E: Engine>(
    transaction: &mut Transaction<E>,
    jobs: &[Job],
) -> Result<HashMap<SessionId, Owned>> {
    let ids: BTreeSet<_> = jobs.iter().map(|job| job.session).collect();
    let ids: Vec<Value> = padded(ids.iter().map(|id| Value::from(id.as_uuid())).collect());
    let found = sql("SELECT id, tenant_id, epoch, status, log_from, events_from, \
         (SELECT MAX(events.id) FROM events WHERE events.session_id = sessions.id) AS last_event_id, \
         (SELECT COUNT(*) FROM webhooks WHERE webhooks.tenant_id = sessions.tenant_id) AS webhooks \
         FROM sessions WHERE id IN ")
    .push_row(ids.clone())
    .push(" ORDER BY id")
    .push(E::LOCK_ROWS);
    let mut sessions = HashMap::new();
    for row in transaction.rows("find sessions' owners", found).await? {
        let last = row
            .integer_or_null("last_event_id")?
            .map_or(Ok(EventId::START), event_id)?;
        let owned = Owned {
            tenant: TenantId::from_uuid(row.uuid("tenant_id")?),
            epoch: row.integer("epoch")?,
            status: status(&row)?,
            stored: last,
            last,
            has_webhooks: row.integer("webhooks")? > 0,
            has_log: row.time_or_null("log_from")?.is_some() && row.time_or_null("events_from")?.is_some(),
            running: None,
            queued: BTreeSet::new(),
        };
        sessions.insert(SessionId::from_uuid(row.uuid("id")?), owned);
    }
    if jobs.iter().any(|job| job.work.turn().is_some()) {
        let unfinished =
            sql("SELECT id, session_id, status FROM turns WHERE outcome IS NULL AND session_id IN ")
                .push_row(ids);
        for row in transaction.rows("find unfinished turns", unfinished).await? {
            if let Some(owned) = sessions.get_mut(&SessionId::from_uuid(row.uuid("session_id")?)) {
                let turn = TurnId::from_uuid(row.uuid("id")?);
                if is_queued(&row)? {
                    owned.queued.insert(turn);
                } else {
                    owned.running = Some(turn);
                }
            }
        }
    }
    Ok(sessions)
}

fn judge(job: &Job, owned: Option<&mut Owned>) -> Result<Verdict> {
    let (session, epoch) = (job.session, job.epoch);
    let owned = owned
        .filter(|owned| owned.tenant == job.tenant)
        .ok_or(StoreError::SessionGone { session })?;
    if owned.epoch != i64::from(epoch.get()) {
        return Err(StoreError::StaleEpoch { session, epoch });
    }
    let ids = job.work.ids();
    // Ids of an epoch are given by one writer, once. So if its last is there, an earlier try was committed.
    if job.tried && ids.last().is_some_and(|last| *last <= owned.stored) {
        return Ok(Verdict::Nothing);
    }
    let mut last = owned.last;
    for id in ids {
        if *id <= last {
            return Err(StoreError::IdsTaken { session });
        }
        last = *id;
    }
    match &job.work {
        Work::Begin { turn, .. } => {
            if owned.status != SessionStatus::Active {
                return Err(StoreError::SessionGone { session });
            }
            if owned.running.is_some() {
                return Err(StoreError::TurnUnfinished { session });
            }
            owned.running = Some(turn.id);
            if owned.queued.remove(&turn.id) {
                owned.last = last;
                return Ok(Verdict::BeginQueued);
            }
        }
        Work::Queue { turn, .. } => {
            if owned.status != SessionStatus::Active {
                return Err(StoreError::SessionGone { session });
            }
            owned.queued.insert(turn.id);
        }
        Work::Finish { end, .. } => {
            if owned.running == Some(end.turn) {
                owned.running = None;
            } else if !owned.queued.remove(&end.turn) {
                // It has its outcome, and its last events: nothing of this is kept.
                return Ok(Verdict::Nothing);
            }
        }
        Work::Append(_) | Work::Transcript { .. } => {}
    }
    owned.last = last;
    Ok(Verdict::Write)
}

async fn insert_events<E: Engine>(
    transaction: &mut Transaction<E>,
    writes: &[(usize, &Job, bool)],
) -> Result<()> {
    let rows: Vec<_> = writes
        .iter()
        .flat_map(|(_, job, _)| job.work.rows().iter().map(|row| (job.session, row)))
        .collect();
    for chunk in chunks(&rows, E::ROWS_A_STATEMENT) {
        let insert = sql("INSERT INTO events (session_id, id, turn_id, kind, created_at, body) VALUES ")
            .push_rows(chunk.iter().map(|(session, row)| (*row).clone().values(*session)));
        transaction.run("append events", insert).await?;
    }
    Ok(())
}

/// Makes deliveries of the events, for the webhooks that want them.
async fn deliver<E: Engine>(
    transaction: &mut Transaction<E>,
    writes: &[(usize, &Job, bool)],
    sessions: &HashMap<SessionId, Owned>,
) -> Result<()> {
    let events: Vec<_> = writes
        .iter()
        .map(|(_, job, _)| *job)
        .filter(|job| sessions.get(&job.session).is_some_and(|owned| owned.has_webhooks))
        .flat_map(|job| job.work.rows().iter().map(|row| (job.session, row.id)))
        .collect();
    webhooks::deliver(transaction, &events).await
}

/// Keeps what the request that asks for a turn is answered with.
async fn keep_answer<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    answer: Option<&RequestAnswer>,
) -> Result<()> {
    if let Some(RequestAnswer { key, answer }) = answer {
        let keep = finish(tenant, key, answer);
        transaction.run("keep a request's answer", keep).await?;
    }
    Ok(())
}

async fn store_turn<E: Engine>(
    transaction: &mut Transaction<E>,
    turn: &Turn,
    status: TurnStatus,
) -> Result<u64> {
    let store = sql(
        "INSERT INTO turns (id, session_id, message, status, started_at, key_id, deadline) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(turn.id.as_uuid())
    .bind(turn.session.as_uuid())
    .bind(turn.message.as_str())
    .bind(status.to_string())
    .bind(turn.started_at)
    .bind(turn.key.map(|key| key.as_uuid()))
    .bind(turn.deadline);
    transaction.run("store a turn", store).await
}

async fn begin_turn<E: Engine>(
    transaction: &mut Transaction<E>,
    turn: &Turn,
    was_queued: bool,
) -> Result<u64> {
    if was_queued {
        let begin = sql("UPDATE turns SET status = $2, started_at = $3 WHERE id = $1")
            .bind(turn.id.as_uuid())
            .bind(TurnStatus::Running.to_string())
            .bind(turn.started_at);
        transaction.run("begin a turn that waited", begin).await?;
    } else {
        store_turn(transaction, turn, TurnStatus::Running).await?;
    }
    let used = sql("UPDATE sessions SET message_count = message_count + 1, \
         last_active_at = CASE WHEN last_active_at < $2 THEN $2 ELSE last_active_at END WHERE id = $1")
    .bind(turn.session.as_uuid())
    .bind(turn.started_at);
    transaction.run("count a prompt", used).await
}

async fn finish_turn<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    end: &TurnEnd,
    outcome: &str,
) -> Result<u64> {
    let finish = sql("UPDATE turns SET status = $3, outcome = $4 WHERE id = $1 AND session_id = $2")
        .bind(end.turn.as_uuid())
        .bind(end.session.as_uuid())
        .bind(end.outcome.status.to_string())
        .bind(outcome);
    transaction.run("store a turn's outcome", finish).await?;
    let note = sql(
        "UPDATE sessions SET last_active_at = CASE WHEN last_active_at < $2 THEN $2 ELSE last_active_at END, \
         claude_session_id = COALESCE($3, claude_session_id), \
         conversation_started = CASE WHEN $4 THEN $4 ELSE conversation_started END WHERE id = $1",
    )
    .bind(end.session.as_uuid())
    .bind(end.outcome.ended_at)
    .bind(end.claude_session_id.map(|id| id.as_uuid()))
    .bind(end.conversation_started);
    transaction.run("note a turn's end", note).await?;
    if !end.usage.is_empty() {
        money::lock::<E>(transaction, tenant).await?;
        for entry in &end.usage {
            money::enter::<E>(transaction, tenant, entry).await?;
        }
    }
    Ok(0)
}

/// Appends entries to a file of a transcript; how many it did not have already.
pub(in crate::store::sql) async fn append_transcript<E: Engine>(
    transaction: &mut Transaction<E>,
    session: SessionId,
    path: &TranscriptPath,
    entries: &[TranscriptEntry],
) -> Result<u64> {
    let last = sql(
        "SELECT position FROM transcript_entries WHERE session_id = $1 AND path = $2 ORDER BY position DESC LIMIT 1",
    )
    .bind(session.as_uuid())
    .bind(path.as_str());
    let last = transaction.row("find a transcript's last entry", last).await?;
    let last = last.map_or(Ok(0), |row| row.integer("position"))?;
    let rows: Vec<_> = (last + 1..).zip(entries).collect();
    let mut stored = 0;
    for chunk in chunks(&rows, E::ROWS_A_STATEMENT) {
        let insert = sql("INSERT INTO transcript_entries (session_id, path, position, uuid, body) VALUES ")
            .push_rows(chunk.iter().map(|(position, entry)| {
                vec![
                    session.as_uuid().into(),
                    path.as_str().into(),
                    (*position).into(),
                    entry.uuid().into(),
                    entry.as_json().into(),
                ]
            }))
            .push(" ON CONFLICT (session_id, path, uuid) WHERE uuid IS NOT NULL DO NOTHING");
        stored += transaction.run("append to a transcript", insert).await?;
    }
    Ok(stored)
}
