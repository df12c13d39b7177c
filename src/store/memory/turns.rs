//! Turns, the log of events, and transcripts.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::MemoryStore;
use crate::domain::{
    Epoch, Event, EventQuery, Page, SessionId, SessionStatus, TenantId, Transcript, TranscriptFile,
    TranscriptPath, Turn, TurnId,
};
use crate::store::contract::parse_lines;
use crate::store::{
    EventLog, LogBounds, RequestAnswer, Result, StoreError, TranscriptAppended, TranscriptStore, TrimKind,
    TurnEnd, TurnStore, storable,
};

#[async_trait]
impl TurnStore for MemoryStore {
    async fn queue_turn_once(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        turn: &Turn,
        events: &[Event],
        answer: Option<&RequestAnswer>,
    ) -> Result<()> {
        storable("a prompt", Some(&turn.message))?;
        let session = turn.session;
        let mut state = self.lock();
        let kept = state.owned(tenant, session, epoch, events)?;
        if kept.session.status != SessionStatus::Active {
            return Err(StoreError::SessionGone { session });
        }
        let queued = Turn {
            queued: true,
            ..turn.clone()
        };
        kept.turns.insert(turn.id, queued);
        kept.events.extend_from_slice(events);
        state.deliver(tenant, session, events);
        state.keep_answer(tenant, answer);
        Ok(())
    }

    async fn begin_turn_once(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        turn: &Turn,
        events: &[Event],
        answer: Option<&RequestAnswer>,
    ) -> Result<()> {
        storable("a prompt", Some(&turn.message))?;
        let session = turn.session;
        let mut state = self.lock();
        let kept = state.owned(tenant, session, epoch, events)?;
        if kept.session.status != SessionStatus::Active {
            return Err(StoreError::SessionGone { session });
        }
        if kept.has_running_turn() {
            return Err(StoreError::TurnUnfinished { session });
        }
        if kept.turns.get(&turn.id).is_some_and(|stored| !stored.queued) {
            return Err(StoreError::failed(
                "store a turn",
                std::io::Error::other("it is stored already"),
            ));
        }
        let begun = Turn {
            queued: false,
            ..turn.clone()
        };
        kept.turns.insert(turn.id, begun);
        kept.events.extend_from_slice(events);
        kept.session.message_count += 1;
        kept.touch(turn.started_at);
        state.deliver(tenant, session, events);
        state.keep_answer(tenant, answer);
        Ok(())
    }

    async fn finish_turn(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        end: &TurnEnd,
        events: &[Event],
    ) -> Result<()> {
        let mut state = self.lock();
        let kept = state.owned(tenant, end.session, epoch, events)?;
        let Some(turn) = kept
            .turns
            .get_mut(&end.turn)
            .filter(|turn| turn.outcome.is_none())
        else {
            return Ok(());
        };
        turn.queued = false;
        turn.outcome = Some(end.outcome.clone());
        kept.events.extend_from_slice(events);
        kept.touch(end.outcome.ended_at);
        kept.session.conversation_started |= end.conversation_started;
        if let Some(id) = end.claude_session_id {
            kept.session.claude_session_id = id;
        }
        state.deliver(tenant, end.session, events);
        for entry in &end.usage {
            state.enter_usage(tenant, entry);
        }
        Ok(())
    }

    async fn find_turn(&self, tenant: TenantId, session: SessionId, id: TurnId) -> Result<Option<Turn>> {
        let state = self.lock();
        let kept = state.find(tenant, session);
        Ok(kept.and_then(|kept| kept.turns.get(&id)).cloned())
    }

    async fn list_turns(
        &self,
        tenant: TenantId,
        session: SessionId,
        before: Option<TurnId>,
        limit: u32,
    ) -> Result<Page<Turn, TurnId>> {
        let state = self.lock();
        let limit = limit as usize;
        let turns = state.find(tenant, session).into_iter();
        let found = turns
            .flat_map(|kept| kept.turns.values().rev())
            .filter(|turn| before.is_none_or(|before| turn.id < before))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        Ok(Page::cut(found, limit, |turn: &Turn| turn.id))
    }

    async fn unfinished_turns(&self, tenant: TenantId, session: SessionId) -> Result<Vec<Turn>> {
        let state = self.lock();
        let turns = state
            .find(tenant, session)
            .into_iter()
            .flat_map(|kept| kept.turns.values());
        Ok(turns.filter(|turn| turn.outcome.is_none()).cloned().collect())
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn append_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        events: &[Event],
    ) -> Result<()> {
        let mut state = self.lock();
        let kept = state.owned(tenant, session, epoch, events)?;
        kept.events.extend_from_slice(events);
        state.deliver(tenant, session, events);
        Ok(())
    }

    async fn read_events(
        &self,
        tenant: TenantId,
        session: SessionId,
        query: &EventQuery,
        limit: u32,
    ) -> Result<Vec<Event>> {
        let state = self.lock();
        let Some(kept) = state.find(tenant, session) else {
            return Ok(Vec::new());
        };
        let from = kept.events.partition_point(|event| event.id <= query.after);
        Ok(kept
            .events
            .iter()
            .skip(from)
            .filter(|event| query.matches(event))
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn log_bounds(&self, tenant: TenantId, session: SessionId) -> Result<Option<LogBounds>> {
        let state = self.lock();
        Ok(state.find(tenant, session).map(|kept| LogBounds {
            last: kept.last_event().max(kept.trimmed_to),
            trimmed_to: kept.trimmed_to,
        }))
    }

    async fn trim_events(
        &self,
        tenant: TenantId,
        kind: TrimKind,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<u64> {
        let mut left = limit;
        let mut state = self.lock();
        let of_tenant = state
            .sessions
            .values_mut()
            .filter(|kept| kept.session.tenant == tenant);
        for kept in of_tenant {
            let unfinished = kept.has_unfinished_turn();
            if unfinished && kind != TrimKind::Deltas {
                continue;
            }
            let turns = &kept.turns;
            let runs = |turn| turns.get(&turn).is_some_and(|turn| turn.outcome.is_none());
            let mut trimmed_to = kept.trimmed_to;
            // Times may go back; ids do not.
            let border = kept.events.iter().find(|event| event.created_at >= before);
            let border = border.map(|event| event.id);
            kept.events.retain(|event| {
                let of_kind = match kind {
                    TrimKind::Deltas => {
                        event.body.kind().is_delta()
                            && event.created_at < before
                            && !event.turn_id.is_some_and(runs)
                    }
                    TrimKind::Events => {
                        !event.body.kind().is_message() && border.is_none_or(|border| event.id < border)
                    }
                    TrimKind::All => border.is_none_or(|border| event.id < border),
                };
                let old = of_kind && left > 0;
                if old {
                    left -= 1;
                    if kind != TrimKind::Deltas {
                        trimmed_to = trimmed_to.max(event.id);
                    }
                }
                !old
            });
            kept.trimmed_to = trimmed_to;
        }
        Ok(u64::from(limit - left))
    }
}

#[async_trait]
impl TranscriptStore for MemoryStore {
    async fn append_transcript(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        path: &TranscriptPath,
        lines: &[String],
    ) -> Result<TranscriptAppended> {
        let (entries, refused) = parse_lines(path, lines);
        let given = entries.len() as u64;
        let mut state = self.lock();
        let stored = state
            .owned(tenant, session, epoch, &[])?
            .write_down(path, entries);
        Ok(TranscriptAppended {
            stored,
            repeated: given - stored,
            refused,
        })
    }

    async fn read_transcript(&self, tenant: TenantId, session: SessionId) -> Result<Transcript> {
        let state = self.lock();
        let files = state
            .find(tenant, session)
            .into_iter()
            .flat_map(|kept| &kept.transcript)
            .filter(|(_, entries)| !entries.is_empty())
            .map(|(path, entries)| TranscriptFile {
                path: path.clone(),
                entries: entries.clone(),
            })
            .collect();
        Ok(Transcript {
            files,
            damaged: Vec::new(),
        })
    }
}
