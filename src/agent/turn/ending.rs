//! The end of a turn: what it came to, stored in one step with its last events and what it used.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::log::{Hold, LogError};
use super::super::translate::Verdict;
use super::waiting::broken;
use super::{TurnRun, is_fenced};
use crate::domain::{
    ClaudeSessionId, EntryId, EventBody, LedgerEntry, MicroUsd, Payer, Reported, Spender, Turn, TurnError,
    TurnErrorCode, TurnOutcome, TurnStatus, Usage,
};
use crate::gateway::Meter;
use crate::protocol::message::TurnResult;
use crate::store::{StoreError, TurnEnd};

/// How often the end of a turn is offered to a store that does not take it, and how long is waited in between.
const FINISH_RETRIES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// How long a turn's end waits for its last request to be in the ledger, so that what budgets have to say of it is told in it.
const SETTLE_PATIENCE: Duration = Duration::from_millis(250);

/// How the agent's part of a turn ended.
pub(super) enum Ending {
    /// With a result; and the reason why it was stopped, if it was.
    Result(Box<TurnResult>, Option<TurnErrorCode>),
    /// Without one.
    Broken(TurnError),
}

impl TurnRun {
    /// Stores the end of a turn, and answers the turn with its outcome; `None` when the session is another instance's by
    /// now: then that one says what became of it.
    pub(super) async fn finish(&mut self, ending: Ending) -> Option<Turn> {
        let told = self.questions.withdraw_all().await;
        match told {
            Ok(all) => {
                for told in all {
                    self.write(told.events).await;
                }
            }
            Err(_) => self.unwritten = true,
        }
        let result = match &ending {
            Ending::Result(result, _) => Some(&**result),
            Ending::Broken(_) => None,
        };
        // What was said of a turn that was cut short is kept; what a broken one was about to say does not count.
        let cut_short = matches!(&ending, Ending::Result(_, Some(_)));
        let rest = self.translator.finish(result, cut_short);
        self.write(rest).await;
        // What another machine needs to go on is stored before anyone is told that the turn is over.
        if let Some(agent) = self.agent.take() {
            match agent.flush_transcript().await {
                Ok(any) => self.written_down = any,
                Err(_lost) => self.unwritten = true,
            }
        }

        if let Some(meter) = &self.meter {
            meter.settled(SETTLE_PATIENCE).await;
            meter.end_turn(self.plan.turn.id);
        }
        self.tell_warnings().await;
        let mut verdict = match ending {
            Ending::Result(result, stopped) => {
                self.claude_session_id = result
                    .session_id
                    .map(ClaudeSessionId::from_uuid)
                    .or(self.claude_session_id);
                let mut verdict = self.translator.judge(&result);
                // A turn that had ended by itself before the interrupt reached it did complete.
                if let (Some(reason), Some(_)) = (stopped, &verdict.error) {
                    verdict.error = Some(broken(reason));
                }
                verdict
            }
            Ending::Broken(error) => Verdict::broken(error),
        };
        if self.meter.is_some() {
            verdict.error = self.blame_budget(verdict.error);
        }
        if self.unwritten {
            verdict.error = Some(broken(TurnErrorCode::StoreUnavailable));
        }
        if let Some(conversation) = self.claude_session_id
            && let Some(live) = &mut *self.runtime.agent.lock().await
        {
            live.note_conversation(conversation);
        }
        self.store_end(verdict).await
    }

    /// Stores the end of a turn that never began.
    pub(super) async fn store_unbegun(&mut self, error: TurnError) -> Option<Turn> {
        self.store_end(Verdict::broken(error)).await
    }

    async fn store_end(&mut self, verdict: Verdict) -> Option<Turn> {
        let hold = self
            .hold
            .filter(|hold| !self.fenced && self.runtime.log.covers(*hold));
        let Some(hold) = hold else {
            tracing::warn!(turn.id = %self.plan.turn.id,
                "the session is another instance's by now, which says what became of this turn");
            return None;
        };
        let (text, tool_calls) = std::mem::take(&mut self.translator).into_parts();
        let Verdict {
            usage,
            cost,
            stop_reason,
            structured_output,
            error,
        } = verdict;
        let (used, reported) = self.accounts(Reported { usage, cost });
        let Reported { usage, cost } = used;
        let status = error
            .as_ref()
            .map_or(TurnStatus::Completed, |error| error.code.status());
        let last = match &error {
            None => EventBody::Done {
                text: text.clone(),
                usage,
                cost,
                stop_reason: stop_reason.clone(),
                structured_output: structured_output.clone(),
            },
            Some(error) => EventBody::Error {
                error: error.message.clone(),
                code: error.code,
            },
        };
        let bodies = vec![EventBody::Usage { usage, cost }, last];
        let ended_at = self.shared.clock.now();
        let outcome = TurnOutcome {
            status,
            text,
            tool_calls,
            structured_output,
            usage,
            cost,
            reported,
            stop_reason,
            error,
            ended_at,
        };
        let mut turn = self.plan.turn.clone();
        let mut end = TurnEnd {
            session: turn.session,
            turn: turn.id,
            outcome,
            claude_session_id: self.claude_session_id,
            // What was begun and ended before any of it was written down cannot be gone on with.
            conversation_started: self.begun && self.written_down,
            usage: self.ledger_entries(used, ended_at),
        };
        if let Err(error) = self.try_store_end(hold, &end, bodies).await {
            if is_fenced(&error) {
                return None;
            }
            tracing::error!(turn.id = %turn.id, error = &error as &dyn std::error::Error,
                "a turn's end was not stored; it will be settled as unknown");
            self.runtime.log.let_go_after(turn.id).await;
            self.shared.settle_later(&self.runtime);
            let error = broken(TurnErrorCode::StoreUnavailable);
            end.outcome.status = error.code.status();
            end.outcome.error = Some(error);
        }
        self.shared
            .metrics
            .turn_ended(end.outcome.status, self.taken_at.elapsed());
        turn.outcome = Some(end.outcome);
        Some(turn)
    }

    /// What the turn used, as the gateway counted it; and what the CLI says. Without a gateway, there is only the CLI.
    fn accounts(&self, reported: Reported) -> (Reported, Option<Reported>) {
        let Some(meter) = &self.meter else {
            return (reported, None);
        };
        let (usage, cost) = meter.used_in(self.plan.turn.id);
        let told = reported.usage != Usage::default() || reported.cost != MicroUsd::ZERO;
        if told {
            self.shared.metrics.accounts_compared(cost, reported.cost);
        }
        if told && cost.differs_from(reported.cost) {
            tracing::warn!(turn.id = %self.plan.turn.id, metered = cost.get(), reported = reported.cost.get(),
                "the CLI says that the turn cost something else than was counted, in micro-USD; see model.prices");
        }
        let (before, spent) = self.earlier;
        let used = Reported {
            usage: before.plus(usage),
            cost: spent.plus(cost),
        };
        (used, told.then_some(reported))
    }

    /// What is entered in the ledger with the turn's end: where there is a gateway, nothing, since it enters each request.
    fn ledger_entries(&self, used: Reported, at: DateTime<Utc>) -> Vec<LedgerEntry> {
        if self.meter.is_some() {
            return Vec::new();
        }
        let session = &self.plan.session;
        let entry = LedgerEntry {
            id: EntryId::generate(&*self.shared.clock),
            spender: Spender {
                user: session.user.clone(),
                session: session.id,
                turn: Some(self.plan.turn.id),
                key: self.plan.turn.key,
            },
            model: self.model.clone().unwrap_or_default(),
            usage: used.usage,
            cost: used.cost,
            payer: Payer::Platform,
            at,
        };
        [entry].into_iter().filter(|entry| !entry.is_empty()).collect()
    }

    /// Tells what budgets have to say of what was spent.
    pub(super) async fn tell_warnings(&mut self) {
        let warnings = self.meter.as_ref().map(Meter::take_warnings).unwrap_or_default();
        if !warnings.is_empty() {
            self.write(
                warnings
                    .iter()
                    .map(|warning| EventBody::BudgetWarning(warning.into()))
                    .collect(),
            )
            .await;
        }
    }

    /// A turn that failed since a budget is spent failed for that.
    fn blame_budget(&self, error: Option<TurnError>) -> Option<TurnError> {
        let exhausted = self.meter.as_ref()?.exhausted_in(self.plan.turn.id);
        match (error, exhausted) {
            (Some(_), Some(budget)) => Some(TurnError {
                code: TurnErrorCode::BudgetExceeded,
                message: format!("the budget is spent: {}", budget.describe()),
            }),
            (error, _) => error,
        }
    }

    async fn try_store_end(&self, hold: Hold, end: &TurnEnd, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let log = &self.runtime.log;
        for wait in FINISH_RETRIES {
            match log.finish_turn(hold, end, bodies.clone()).await {
                Ok(()) => return Ok(()),
                // The store has been patient itself.
                Err(error @ LogError::Store(StoreError::Unavailable(_))) => return Err(error),
                Err(error) if is_fenced(&error) => return Err(error),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "storing a turn's end is tried again"
                ),
            }
            tokio::time::sleep(wait).await;
        }
        log.finish_turn(hold, end, bodies).await
    }
}
