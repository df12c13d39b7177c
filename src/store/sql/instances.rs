//! The instances that share a database: who lives, with whom each session is, and what they tell each other.
//!
//! Only on a server: a file, and memory, have one process. Here the database's clock rules, and none of an instance's own:
//! an instance lives until a time that it puts off again and again, and a session that is with one that does not live is
//! free. Epochs are the fence: whoever takes a session raises its epoch, and what was written under the one before is
//! refused.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgListener;

use super::engine::Row as _;
use super::platform::pairs;
use super::rows::epoch;
use super::statement::{Value, padded, sql};
use super::{Database, SqlStore, Transaction};
use crate::domain::{Claim, Epoch, Instance, InstanceId, SessionId, SessionStanding, TenantId};
use crate::store::postgres::{PostgresEngine, listener};
use crate::store::{Result, StoreError};

/// Where instances tell each other what happens to sessions.
const CHANNEL: &str = "paddock";

/// The instances that share a database.
#[derive(Debug, Clone)]
pub struct Instances {
    /// What claims go through.
    database: Arc<Database<PostgresEngine>>,
    /// What keeps this instance alive: of its own, so that it never waits for others' work.
    lifeline: Arc<Database<PostgresEngine>>,
}

/// What an instance learns when it says that it lives.
#[derive(Debug, Clone)]
pub struct Beat {
    /// The database's time.
    pub now: DateTime<Utc>,
    /// All that live, this one too, those that joined first first.
    pub alive: Vec<Instance>,
}

/// Something that an instance tells all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// An instance has taken a session, under this epoch.
    Taken(SessionId, Epoch, InstanceId),
    /// A session was given back, and is with no instance.
    Free(SessionId),
    /// A session is no more: it was closed, or removed.
    Gone(TenantId, SessionId),
    /// An instance lives.
    Beat(InstanceId),
}

impl Notice {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (kind, id) = (words.next()?, words.next()?);
        match kind {
            "taken" => {
                let epoch = Epoch::new(words.next()?.parse().ok()?)?;
                Some(Self::Taken(id.parse().ok()?, epoch, words.next()?.parse().ok()?))
            }
            "free" => id.parse().ok().map(Self::Free),
            "gone" => Some(Self::Gone(words.next()?.parse().ok()?, id.parse().ok()?)),
            "beat" => id.parse().ok().map(Self::Beat),
            _ => None,
        }
    }
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Taken(session, epoch, by) => write!(f, "taken {session} {} {by}", epoch.get()),
            Self::Free(session) => write!(f, "free {session}"),
            Self::Gone(tenant, session) => write!(f, "gone {session} {tenant}"),
            Self::Beat(instance) => write!(f, "beat {instance}"),
        }
    }
}

/// Hears what instances tell.
#[derive(Debug)]
pub struct Notices(PgListener);

impl Notices {
    /// The next notice.
    ///
    /// # Errors
    /// When the connection is lost: what was told since is not heard.
    pub async fn next(&mut self) -> Result<Notice> {
        loop {
            let told = self.0.try_recv().await;
            let told = told.map_err(|error| StoreError::Unavailable(Arc::new(error)))?;
            let Some(told) = told else {
                return Err(StoreError::Unavailable(Arc::new(sqlx::Error::WorkerCrashed)));
            };
            // What a later version tells is for its like.
            if let Some(notice) = Notice::parse(told.payload()) {
                return Ok(notice);
            }
        }
    }
}

impl SqlStore<PostgresEngine> {
    /// The instances that share this database.
    #[must_use]
    pub fn instances(&self) -> Instances {
        Instances {
            database: Arc::clone(&self.database),
            // So that a test sees all statements of a store.
            #[cfg(test)]
            lifeline: Arc::clone(&self.database),
            #[cfg(not(test))]
            lifeline: Arc::new(Database {
                metrics: self.database.metrics.clone(),
                engine: self.database.engine.lifeline(),
            }),
        }
    }
}

impl Instances {
    /// Joins. An earlier run of the same name is taken for dead from now on.
    pub async fn join(&self, instance: &Instance, ttl: Duration) -> Result<()> {
        let mut transaction = Database::begin(&self.lifeline).await?;
        let supersede = sql("UPDATE instances SET alive_until = '-infinity' WHERE name = $1")
            .bind(instance.name.as_str());
        transaction
            .run("take the place of an earlier run", supersede)
            .await?;
        let join = sql("INSERT INTO instances (id, name, url, joined_at, alive_until) \
             VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp() + $4 * INTERVAL '1 millisecond')")
        .bind(instance.id.as_uuid())
        .bind(instance.name.as_str())
        .bind(instance.url.as_str())
        .bind(milliseconds(ttl));
        transaction.run("join the instances", join).await?;
        transaction.commit().await
    }

    /// Says that the instance lives, for so long; what it then learns. `None` when it is taken for dead: whatever it had
    /// may be another's.
    pub async fn beat(&self, id: InstanceId, ttl: Duration) -> Result<Option<Beat>> {
        let mut transaction = Database::begin(&self.lifeline).await?;
        // That an instance lives need not outlive the database: it does not wait for the disk to be said.
        let at_once = sql("SET LOCAL synchronous_commit TO off");
        transaction.run("say so at once", at_once).await?;
        let beat = sql("UPDATE instances \
             SET alive_until = clock_timestamp() + $2 * INTERVAL '1 millisecond' \
             WHERE id = $1 AND alive_until > clock_timestamp() RETURNING clock_timestamp() AS now")
        .bind(id.as_uuid())
        .bind(milliseconds(ttl));
        let Some(now) = transaction.row("say that this instance lives", beat).await? else {
            transaction.roll_back().await?;
            return Ok(None);
        };
        let now = now.time("now")?;
        let alive = sql("SELECT id, name, url, joined_at FROM instances \
             WHERE alive_until > clock_timestamp() ORDER BY joined_at, id");
        let alive = transaction.rows("list instances", alive).await?;
        tell(&mut transaction, Notice::Beat(id)).await?;
        transaction.commit().await?;
        Ok(Some(Beat {
            now,
            alive: alive.iter().map(instance).collect::<Result<_>>()?,
        }))
    }

    /// Whether another run of this name lives.
    pub async fn is_superseded(&self, own: &Instance) -> Result<bool> {
        let find =
            sql("SELECT id FROM instances WHERE name = $1 AND id <> $2 AND alive_until > clock_timestamp()")
                .bind(own.name.as_str())
                .bind(own.id.as_uuid());
        Ok(!self.lifeline.read("find another run", find).await?.is_empty())
    }

    /// Leaves: gives all sessions back.
    pub async fn leave(&self, id: InstanceId) -> Result<()> {
        let mut transaction = Database::begin(&self.lifeline).await?;
        let give_back = sql("UPDATE sessions SET instance_id = NULL WHERE instance_id = $1 RETURNING id")
            .bind(id.as_uuid());
        for row in transaction.rows("give all sessions back", give_back).await? {
            let session = SessionId::from_uuid(row.uuid("id")?);
            tell(&mut transaction, Notice::Free(session)).await?;
        }
        let leave = sql("DELETE FROM instances WHERE id = $1").bind(id.as_uuid());
        transaction.run("leave the instances", leave).await?;
        transaction.commit().await
    }

    /// Takes a session for an instance: if it is with none, or with one that does not live, or is in no turn.
    pub async fn claim(&self, tenant: TenantId, session: SessionId, by: InstanceId) -> Result<Claim> {
        let mut transaction = Database::begin(&self.database).await?;
        let find = sql("SELECT instance_id FROM sessions WHERE id = $1 AND tenant_id = $2 FOR NO KEY UPDATE")
            .bind(session.as_uuid())
            .bind(tenant.as_uuid());
        let Some(row) = transaction.row("find a session", find).await? else {
            transaction.roll_back().await?;
            return Ok(Claim::NoSession);
        };
        let before = row.uuid_or_null("instance_id")?.map(InstanceId::from_uuid);
        // By statements of their own: they see what was committed until the row was locked.
        let ids = padded(
            [Some(by), before]
                .into_iter()
                .flatten()
                .map(|id| id.as_uuid().into())
                .collect(),
        );
        let alive = sql("SELECT id, name, url, joined_at FROM instances \
             WHERE alive_until > clock_timestamp() AND id IN ")
        .push_row(ids);
        let alive = transaction.rows("find instances", alive).await?;
        let alive = alive.iter().map(instance).collect::<Result<Vec<_>>>()?;
        if !alive.iter().any(|instance| instance.id == by) {
            transaction.roll_back().await?;
            return Ok(Claim::Fenced);
        }
        let other = alive
            .into_iter()
            .find(|instance| Some(instance.id) == before && instance.id != by);
        if let Some(other) = other {
            let unfinished = sql("SELECT id FROM turns WHERE session_id = $1 AND outcome IS NULL LIMIT 1")
                .bind(session.as_uuid());
            if transaction
                .row("find a turn without outcome", unfinished)
                .await?
                .is_some()
            {
                transaction.roll_back().await?;
                return Ok(Claim::Held(other));
            }
        }
        let take =
            sql("UPDATE sessions SET epoch = epoch + 1, instance_id = $2 WHERE id = $1 RETURNING epoch")
                .bind(session.as_uuid())
                .bind(by.as_uuid());
        let taken = transaction.row("take a session", take).await?;
        let taken = taken
            .ok_or(StoreError::SessionGone { session })?
            .integer("epoch")?;
        let epoch = epoch(session, taken)?;
        if before != Some(by) {
            tell(&mut transaction, Notice::Taken(session, epoch, by)).await?;
        }
        transaction.commit().await?;
        Ok(Claim::Taken { epoch, before })
    }

    /// Gives a session back, unless it is another's by now.
    pub async fn release(&self, session: SessionId, by: InstanceId) -> Result<()> {
        let mut transaction = Database::begin(&self.database).await?;
        let release = sql("UPDATE sessions SET instance_id = NULL WHERE id = $1 AND instance_id = $2")
            .bind(session.as_uuid())
            .bind(by.as_uuid());
        if transaction.run("give a session back", release).await? > 0 {
            tell(&mut transaction, Notice::Free(session)).await?;
        }
        transaction.commit().await
    }

    /// With which instance that lives a session is, if with any.
    pub async fn holder(&self, tenant: TenantId, session: SessionId) -> Result<Option<Instance>> {
        let find = sql("SELECT instances.id, name, url, joined_at FROM sessions \
             JOIN instances ON instances.id = sessions.instance_id \
             WHERE sessions.id = $1 AND sessions.tenant_id = $2 AND alive_until > clock_timestamp()")
        .bind(session.as_uuid())
        .bind(tenant.as_uuid());
        let rows = self.database.read("find a session's instance", find).await?;
        rows.first().map(instance).transpose()
    }

    /// How sessions of a tenant are; those that are not there are left out.
    pub async fn standing(
        &self,
        tenant: TenantId,
        sessions: &[SessionId],
    ) -> Result<Vec<(SessionId, SessionStanding)>> {
        let ids: Vec<Value> = sessions.iter().map(|id| id.as_uuid().into()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let find = sql("SELECT id, \
             EXISTS (SELECT 1 FROM instances WHERE instances.id = instance_id \
             AND alive_until > clock_timestamp()) AS held, \
             EXISTS (SELECT 1 FROM turns WHERE session_id = sessions.id AND outcome IS NULL) AS busy \
             FROM sessions WHERE")
        .push_bind(" tenant_id = ", tenant.as_uuid())
        .push(" AND id IN ")
        .push_row(padded(ids));
        let rows = self.database.read("see how sessions are", find).await?;
        rows.iter()
            .map(|row| {
                let standing = SessionStanding {
                    held: row.boolean("held")?,
                    busy: row.boolean("busy")?,
                };
                Ok((SessionId::from_uuid(row.uuid("id")?), standing))
            })
            .collect()
    }

    /// Up to `limit` sessions that have a turn without outcome and are with no instance that lives.
    pub async fn abandoned(&self, limit: u32) -> Result<Vec<(TenantId, SessionId)>> {
        let find = sql("SELECT DISTINCT sessions.tenant_id, sessions.id FROM turns \
             JOIN sessions ON sessions.id = turns.session_id \
             WHERE turns.outcome IS NULL AND NOT EXISTS (SELECT 1 FROM instances \
             WHERE instances.id = sessions.instance_id AND alive_until > clock_timestamp()) LIMIT $1")
        .bind(limit);
        pairs(&self.database.read("find abandoned turns", find).await?)
    }

    /// Forgets instances that do not live and have left no turn without outcome; their sessions are with none.
    pub async fn bury(&self) -> Result<u64> {
        let mut transaction = Database::begin(&self.database).await?;
        let dead = sql("SELECT id FROM instances WHERE alive_until <= clock_timestamp() \
             AND NOT EXISTS (SELECT 1 FROM sessions JOIN turns ON turns.session_id = sessions.id \
             WHERE sessions.instance_id = instances.id AND turns.outcome IS NULL) FOR UPDATE");
        let dead = transaction.rows("find dead instances", dead).await?;
        for row in &dead {
            let id = row.uuid("id")?;
            let free =
                sql("UPDATE sessions SET instance_id = NULL WHERE instance_id = $1 RETURNING id").bind(id);
            for row in transaction.rows("free a dead instance's sessions", free).await? {
                let session = SessionId::from_uuid(row.uuid("id")?);
                tell(&mut transaction, Notice::Free(session)).await?;
            }
            let forget = sql("DELETE FROM instances WHERE id = $1").bind(id);
            transaction.run("forget a dead instance", forget).await?;
        }
        transaction.commit().await?;
        Ok(dead.len() as u64)
    }

    /// Tells all instances that a session is no more.
    pub async fn tell_gone(&self, tenant: TenantId, session: SessionId) -> Result<()> {
        let mut transaction = Database::begin(&self.database).await?;
        tell(&mut transaction, Notice::Gone(tenant, session)).await?;
        transaction.commit().await
    }

    /// Hears what instances tell from now on.
    pub async fn listen(&self) -> Result<Notices> {
        let mut heard = listener(&self.lifeline.engine).await?;
        let listening = heard.listen(CHANNEL).await;
        listening.map_err(|error| StoreError::Unavailable(Arc::new(error)))?;
        Ok(Notices(heard))
    }
}

async fn tell(transaction: &mut Transaction<PostgresEngine>, notice: Notice) -> Result<()> {
    let tell = sql("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(notice.to_string());
    transaction.rows("tell other instances", tell).await.map(|_| ())
}

fn instance(row: &sqlx::postgres::PgRow) -> Result<Instance> {
    Ok(Instance {
        id: InstanceId::from_uuid(row.uuid("id")?),
        name: row
            .text("name")?
            .parse()
            .map_err(|error| StoreError::corrupt("instance's name", error))?,
        url: row.text("url")?,
        joined_at: row.time("joined_at")?,
    })
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
