//! What becomes of turns whose server did not live to end them.

use super::super::questions::resolved;
use super::{LogError, Ownership, SessionLog};
use crate::domain::{
    EventBody, EventKind, EventQuery, MicroUsd, PermissionDecision, PermissionResolution, Turn, TurnError,
    TurnErrorCode, TurnId, TurnOutcome, Usage,
};
use crate::store::{PermissionFilter, StoreError, TurnEnd};

impl SessionLog {
    /// Ends a turn whose server did not live to end it. What the tools of one that had begun did is not known, and it
    /// is not run again; one that waited did not run.
    pub(super) async fn settle(&self, owned: &mut Ownership, turn: &Turn) -> Result<(), LogError> {
        let (code, message) = if turn.queued {
            (
                TurnErrorCode::ServerShutdown,
                "the server ended before this turn began; it did not run",
            )
        } else {
            (
                TurnErrorCode::TurnUnknown,
                "the server ended while this turn ran; some of its tools may have run",
            )
        };
        let error = TurnError {
            code,
            message: message.to_owned(),
        };
        let mut bodies = self.withdraw_questions(turn.id).await?;
        bodies.push(EventBody::Error {
            error: error.message.clone(),
            code: error.code,
        });
        let end = TurnEnd {
            session: self.session,
            turn: turn.id,
            outcome: TurnOutcome {
                status: error.code.status(),
                text: String::new(),
                tool_calls: Vec::new(),
                structured_output: None,
                usage: Usage::default(),
                cost: MicroUsd::ZERO,
                reported: None,
                stop_reason: None,
                error: Some(error),
                ended_at: self.clock.now(),
            },
            claude_session_id: None,
            conversation_started: false,
            usage: Vec::new(),
        };
        let events = self.number(owned, Some(turn.id), bodies)?;
        self.store
            .finish_turn(self.tenant, owned.epoch, &end, &events)
            .await?;
        self.publish(&events).map(|_| ())
    }

    /// Ends a turn whose server did not live to end it, and with which nobody goes on.
    pub(in crate::agent) async fn settle_unknown(&self, turn: &Turn) -> Result<(), LogError> {
        let mut state = self.ownership.lock().await;
        let owned = self.owned(&mut state, None).await?;
        self.settle(owned, turn).await
    }

    /// What becomes of a turn whose server did not live to end it: it goes on, or ends.
    pub(super) async fn deal_with(
        &self,
        owned: &mut Ownership,
        turn: &Turn,
        may_go_on: bool,
    ) -> Result<(), LogError> {
        // One that waited did not run.
        if may_go_on
            && !turn.queued
            && let Some(resuming) = &self.resuming
            && resuming.is_asked_for_by(self.tenant).await?
            && !self.has_gone_on(turn.id, resuming.most).await?
            && resuming.go_on(self.tenant, turn, &self.line)
        {
            return Ok(());
        }
        self.settle(owned, turn).await
    }

    /// Whether a turn went on this often already.
    async fn has_gone_on(&self, turn: TurnId, times: u32) -> Result<bool, StoreError> {
        let query = EventQuery {
            turn: Some(turn),
            ..EventQuery::default()
        };
        let query = query.of_kinds(&[EventKind::TurnResumed]);
        let store = &self.store;
        let events = store
            .read_events(self.tenant, self.session, &query, times)
            .await?;
        Ok(events.len() >= times as usize)
    }

    /// Ends what the agent of a turn asked that is over.
    pub(in crate::agent) async fn withdraw_questions(
        &self,
        turn: TurnId,
    ) -> Result<Vec<EventBody>, LogError> {
        const BATCH: u32 = 100;
        let filter = PermissionFilter {
            session: Some(self.session),
            user: None,
        };
        let mut events = Vec::new();
        let mut after = None;
        loop {
            let batch = self
                .store
                .list_pending_permissions(self.tenant, &filter, after, BATCH)
                .await?;
            after = batch.last().map(|permission| permission.id);
            for permission in batch.iter().filter(|permission| permission.turn == turn) {
                let withdrawn =
                    PermissionResolution::by_server(PermissionDecision::Withdrawn, self.clock.now());
                let standing = self
                    .store
                    .resolve_permission(self.tenant, permission.id, &withdrawn, None)
                    .await?;
                if let Some(resolution) = standing.and_then(|standing| standing.resolution) {
                    events.push(resolved(permission, &resolution));
                }
            }
            if batch.len() < BATCH as usize {
                return Ok(events);
            }
        }
    }
}
