//! The end of a turn: what it came to, stored in one step with its last events and what it used.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::super::log::LogError;
use super::super::translate::Verdict;
use super::TurnRun;
use super::waiting::broken;
use crate::domain::{
    ClaudeSessionId, EventBody, MicroUsd, Turn, TurnError, TurnErrorCode, TurnOutcome, TurnStatus, Usage,
    UsageRecord,
};
use crate::protocol::message::TurnResult;
use crate::store::{StoreError, TurnEnd};

/// How often the end of a turn is offered to a store that does not take it, and how long is waited in between.
const FINISH_RETRIES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// How the agent's part of a turn ended.
pub(super) enum Ending {
    /// With a result; and the reason why it was stopped, if it was.
    Result(Box<TurnResult>, Option<TurnErrorCode>),
    /// Without one.
    Broken(TurnError),
}

impl TurnRun {
    pub(super) async fn finish(&mut self, ending: Ending) -> Turn {
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
        if let Some(agent) = self.agent.take()
            && agent.flush_transcript().await.is_err()
        {
            self.unwritten = true;
        }

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
    pub(super) async fn store_unbegun(&mut self, error: TurnError) -> Turn {
        self.store_end(Verdict::broken(error)).await
    }

    async fn store_end(&mut self, verdict: Verdict) -> Turn {
        let (text, tool_calls) = std::mem::take(&mut self.translator).into_parts();
        let Verdict {
            usage,
            cost,
            model_costs,
            stop_reason,
            structured_output,
            error,
        } = verdict;
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
            conversation_started: self.begun,
            usage: self.ledger_entries(usage, cost, model_costs, ended_at),
        };
        if let Err(error) = self.try_store_end(&end, bodies).await {
            tracing::error!(turn.id = %turn.id, error = &error as &dyn std::error::Error,
                "a turn's end was not stored; it will be settled as unknown");
            self.runtime.log.let_go().await;
            if let Some(meter) = &self.meter {
                meter.put_back(turn.id);
            }
            let error = broken(TurnErrorCode::StoreUnavailable);
            end.outcome.status = error.code.status();
            end.outcome.error = Some(error);
        }
        self.shared
            .metrics
            .turn_ended(end.outcome.status, self.taken_at.elapsed());
        turn.outcome = Some(end.outcome);
        turn
    }

    /// What is entered in the ledger: nothing for a turn that used nothing. Where a gateway counts tokens, it knows them; what
    /// they cost the CLI says.
    fn ledger_entries(
        &self,
        usage: Usage,
        cost: MicroUsd,
        model_costs: Vec<(String, MicroUsd)>,
        at: DateTime<Utc>,
    ) -> Vec<UsageRecord> {
        let turn = self.plan.turn.id;
        let last_model = || self.model.clone().unwrap_or_default();
        let mut entries: BTreeMap<String, (Usage, MicroUsd)> = BTreeMap::new();
        match &self.meter {
            None => {
                entries.insert(last_model(), (usage, cost));
            }
            Some(meter) => {
                for (model, used) in meter.take(turn) {
                    entries.entry(model).or_default().0 = used;
                }
                let mut costs = model_costs;
                if costs.is_empty() {
                    costs.push((last_model(), cost));
                }
                for (model, cost) in costs {
                    entries.entry(model).or_default().1 = cost;
                }
            }
        }
        let session = &self.plan.session;
        entries
            .into_iter()
            .filter(|(_, (usage, cost))| *usage != Usage::default() || *cost != MicroUsd::ZERO)
            .map(|(model, (usage, cost))| UsageRecord {
                turn,
                model,
                session: session.id,
                user: session.user.clone(),
                usage,
                cost,
                at,
            })
            .collect()
    }

    async fn try_store_end(&self, end: &TurnEnd, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let log = &self.runtime.log;
        for wait in FINISH_RETRIES {
            match log.finish_turn(end, bodies.clone()).await {
                Ok(()) => return Ok(()),
                // The store has been patient itself.
                Err(error @ LogError::Store(StoreError::Unavailable(_))) => return Err(error),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "storing a turn's end is tried again"
                ),
            }
            tokio::time::sleep(wait).await;
        }
        log.finish_turn(end, bodies).await
    }
}
