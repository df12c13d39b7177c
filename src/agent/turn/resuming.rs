//! Going on with a turn whose server was lost: what is stored of it is taken up, and its agent told to look and go on.

use chrono::TimeDelta;
use serde_json::Value;

use super::super::line::TurnPlace;
use super::super::log::LogError;
use super::ending::Ending;
use super::{TurnRun, is_fenced};
use crate::domain::{
    EventBody, EventId, EventKind, EventQuery, MicroUsd, TurnError, TurnErrorCode, TurnId, TurnStatus, Usage,
    UsageQuery,
};
use crate::store::StoreError;

/// How many events of the turn are read at once.
const BATCH: u32 = 256;
/// How far clocks may have been apart, so that nothing that the turn used is left out.
const CLOCKS_APART: TimeDelta = TimeDelta::hours(1);

/// Why a turn does not go on.
#[derive(Debug, thiserror::Error)]
enum CannotGoOn {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("it had attachments that its agent had not written down")]
    AttachmentsLost,
    #[error("it has ended")]
    HasEnded,
}

impl From<StoreError> for CannotGoOn {
    fn from(error: StoreError) -> Self {
        Self::Log(error.into())
    }
}

impl TurnRun {
    /// Goes on with a turn to its end; its session is its own.
    pub(in crate::agent) async fn run_on(mut self, place: TurnPlace) {
        let ending = match self.take_up().await {
            Ok(()) => self.drive().await,
            Err(error) => {
                tracing::warn!(turn.id = %self.plan.turn.id, error = &error as &dyn std::error::Error,
                    "a turn whose server was lost does not go on");
                self.fenced = match &error {
                    CannotGoOn::Log(error) => is_fenced(error),
                    CannotGoOn::HasEnded => true,
                    CannotGoOn::AttachmentsLost => false,
                };
                Ending::Broken(TurnError {
                    code: TurnErrorCode::TurnUnknown,
                    message: format!("the server ended while this turn ran, and it could not go on: {error}"),
                })
            }
        };
        self.end(ending, place).await;
    }

    async fn take_up(&mut self) -> Result<(), CannotGoOn> {
        self.hold = Some(self.runtime.log.take().await?);
        self.control.note_stored();
        let turn = self.plan.turn.id;
        // Another instance may have had the session meanwhile.
        let (tenant, session) = (self.plan.session.tenant, self.plan.session.id);
        let stored = self.shared.store.find_turn(tenant, session, turn).await?;
        if stored.is_none_or(|turn| turn.outcome.is_some()) {
            return Err(CannotGoOn::HasEnded);
        }
        let mut bodies = self.runtime.log.withdraw_questions(turn).await?;
        let had_attachments = self.recall().await?;
        self.earlier = self.spent_so_far().await?;
        if self.agent_has_prompt().await? {
            // The CLI takes a prompt of an id that it knows for one that it has answered.
            self.prompt = TurnId::generate(&*self.shared.clock).as_uuid();
            self.plan.content = Value::String(self.shared.settings.resume_prompt.clone());
            self.plan.session.conversation_started = true;
        } else if had_attachments {
            return Err(CannotGoOn::AttachmentsLost);
        }
        bodies.push(EventBody::TurnResumed {
            text: self.translator.said().to_owned(),
        });
        self.try_write(bodies).await?;
        self.told_started = true;
        self.control.set_status(TurnStatus::Running);
        tracing::info!(session.id = %self.plan.session.id, turn.id = %turn, "goes on with a turn whose server was lost");
        Ok(())
    }

    /// Takes in what the turn has come to so far; whether its prompt had attachments.
    async fn recall(&mut self) -> Result<bool, StoreError> {
        let mut had_attachments = false;
        let mut after = EventId::START;
        loop {
            let query = EventQuery {
                turn: Some(self.plan.turn.id),
                ..EventQuery::after(after)
            };
            let query = query.of_kinds(&[
                EventKind::Message,
                EventKind::AssistantMessage,
                EventKind::ToolUse,
                EventKind::ToolResult,
            ]);
            let session = &self.plan.session;
            let store = &self.shared.store;
            let events = store
                .read_events(session.tenant, session.id, &query, BATCH)
                .await?;
            let is_last = events.len() < BATCH as usize;
            for event in events {
                after = event.id;
                had_attachments |=
                    matches!(&event.body, EventBody::Message { attachments, .. } if !attachments.is_empty());
                self.translator.recall(event.body);
            }
            if is_last {
                return Ok(had_attachments);
            }
        }
    }

    /// What the ledger has of it. What was under way when its server was lost is entered there later.
    async fn spent_so_far(&self) -> Result<(Usage, MicroUsd), StoreError> {
        let turn = &self.plan.turn;
        let query = UsageQuery {
            from: Some(turn.started_at - CLOCKS_APART),
            turn: Some(turn.id),
            ..UsageQuery::default()
        };
        let sums = self
            .shared
            .store
            .sum_usage(Some(self.plan.session.tenant), &query)
            .await?;
        Ok(sums.first().map(|sum| (sum.usage, sum.cost)).unwrap_or_default())
    }

    /// Whether the agent will find the prompt in its conversation.
    async fn agent_has_prompt(&self) -> Result<bool, StoreError> {
        let (session, prompt) = (&self.plan.session, self.prompt);
        let stored = self
            .shared
            .store
            .read_transcript(session.tenant, session.id)
            .await?;
        let mut entries = stored.files.iter().flat_map(|file| &file.entries);
        if entries.any(|entry| entry.uuid() == Some(prompt)) {
            return Ok(true);
        }
        // Where there is one instance, its home may have more than had reached the store.
        let home = self.shared.homes.of(session.tenant, session.id);
        Ok(self.shared.cluster.is_none() && home.transcript_names(session.claude_session_id, prompt))
    }
}
