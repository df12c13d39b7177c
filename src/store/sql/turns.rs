//! Turns.

use async_trait::async_trait;

use super::SqlStore;
use super::engine::Engine;
use super::rows::{TURN, to_json, turn};
use super::statement::{Statement, select};
use super::writer::{Entries, Work};
use crate::domain::{Epoch, Event, Page, SessionId, TenantId, Turn, TurnId};
use crate::store::{RequestAnswer, Result, TurnEnd, TurnStore, storable};

impl<E: Engine> SqlStore<E> {
    async fn commit(&self, tenant: TenantId, session: SessionId, epoch: Epoch, work: Work) -> Result<()> {
        self.writer.write(tenant, session, epoch, work).await.map(|_| ())
    }
}

/// Turns, with their sessions.
fn select_turns(which: &'static str) -> Statement {
    let from = " FROM turns JOIN sessions ON sessions.id = turns.session_id";
    select(TURN, from).push(which)
}

#[async_trait]
impl<E: Engine> TurnStore for SqlStore<E> {
    async fn queue_turn_once(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        turn: &Turn,
        events: &[Event],
        answer: Option<&RequestAnswer>,
    ) -> Result<()> {
        storable("a prompt", Some(&turn.message))?;
        let work = Work::Queue {
            turn: Box::new(turn.clone()),
            entries: Entries::of(events)?,
            answer: answer.cloned(),
        };
        self.commit(tenant, turn.session, epoch, work).await
    }

    async fn begin_turn_once(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        turn: &Turn,
        events: &[Event],
        answer: Option<&RequestAnswer>,
    ) -> Result<()> {
        // Refused before it can be in a group.
        storable("a prompt", Some(&turn.message))?;
        let work = Work::Begin {
            turn: Box::new(turn.clone()),
            entries: Entries::of(events)?,
            answer: answer.cloned(),
        };
        self.commit(tenant, turn.session, epoch, work).await
    }

    async fn finish_turn(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        end: &TurnEnd,
        events: &[Event],
    ) -> Result<()> {
        let work = Work::Finish {
            end: Box::new(end.clone()),
            outcome: to_json("write a turn's outcome", &end.outcome)?,
            entries: Entries::of(events)?,
        };
        self.commit(tenant, end.session, epoch, work).await
    }

    async fn find_turn(&self, tenant: TenantId, session: SessionId, id: TurnId) -> Result<Option<Turn>> {
        let statement =
            select_turns(" WHERE turns.id = $1 AND turns.session_id = $2 AND sessions.tenant_id = $3")
                .bind(id.as_uuid())
                .bind(session.as_uuid())
                .bind(tenant.as_uuid());
        let row = self.read_one("find a turn", statement).await?;
        row.as_ref().map(turn).transpose()
    }

    async fn list_turns(
        &self,
        tenant: TenantId,
        session: SessionId,
        before: Option<TurnId>,
        limit: u32,
    ) -> Result<Page<Turn, TurnId>> {
        let mut statement = select_turns(" WHERE")
            .push_bind(" turns.session_id = ", session.as_uuid())
            .push_bind(" AND sessions.tenant_id = ", tenant.as_uuid());
        if let Some(before) = before {
            statement = statement.push_bind(" AND turns.id < ", before.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY turns.id DESC LIMIT ", i64::from(limit) + 1);
        let rows = self.read("list turns", statement).await?;
        let turns = rows.iter().map(turn).collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(turns, limit as usize, |turn| turn.id))
    }

    async fn unfinished_turns(&self, tenant: TenantId, session: SessionId) -> Result<Vec<Turn>> {
        let statement = select_turns(
            " WHERE turns.session_id = $1 AND turns.outcome IS NULL AND sessions.tenant_id = $2 \
             ORDER BY turns.id",
        )
        .bind(session.as_uuid())
        .bind(tenant.as_uuid());
        let rows = self.read("find unfinished turns", statement).await?;
        rows.iter().map(turn).collect()
    }
}
