//! Runs one turn to its end, whoever watches: hands the prompt to the agent, writes the log, stores the outcome.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::feed::Feed;
use super::handle::{Agent, AgentEnd, TurnMessages};
use super::log::LogError;
use super::manager::{Shared, TurnRefused};
use super::runtime::TurnPlace;
use super::translate::{Translator, Verdict};
use crate::domain::{
    ClaudeSessionId, EventBody, EventId, MicroUsd, Session, Turn, TurnError, TurnErrorCode, TurnOutcome,
    TurnStatus, Usage, UsageRecord,
};
use crate::protocol::control;
use crate::protocol::message::{CliMessage, TurnResult};
use crate::security::workspace::Workspace;
use crate::store::{StoreError, TurnEnd};

/// How often the end of a turn is offered to a store that does not take it, and how long is waited in between.
const FINISH_RETRIES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// A turn to be run.
#[derive(Debug)]
pub(super) struct TurnPlan {
    pub(super) session: Session,
    pub(super) workspace: Workspace,
    pub(super) turn: Turn,
    pub(super) timeout: Option<Duration>,
}

/// A turn that was begun.
#[derive(Debug, Clone)]
pub struct StartedTurn {
    /// The turn, as it was begun.
    pub turn: Turn,
    /// Where its events are shown.
    pub feed: Arc<Feed>,
    /// The id before its first event.
    pub after: EventId,
    /// The turn with its outcome, once it has one.
    pub ended: watch::Receiver<Option<Arc<Turn>>>,
}

/// A turn on its way.
#[derive(Debug)]
pub(super) struct TurnRun {
    shared: Arc<Shared>,
    place: TurnPlace,
    plan: TurnPlan,
    deadline: Option<Instant>,
    translator: Translator,
    /// Set once the store has refused an event: nothing more is written, and the turn is stopped.
    unwritten: bool,
    claude_session_id: Option<ClaudeSessionId>,
    /// Whether the CLI began to work on the prompt.
    begun: bool,
    /// The model that answered last.
    model: Option<String>,
    /// Who is at it.
    agent: Option<Agent>,
}

/// How the agent's part of a turn ended.
enum Ending {
    /// With a result; and the reason why it was stopped, if it was.
    Result(Box<TurnResult>, Option<TurnErrorCode>),
    /// Without one.
    Broken(TurnError),
}

impl TurnRun {
    pub(super) fn new(shared: Arc<Shared>, place: TurnPlace, plan: TurnPlan) -> Self {
        let deadline = plan.timeout.map(|timeout| Instant::now() + timeout);
        Self {
            shared,
            place,
            plan,
            deadline,
            translator: Translator::default(),
            unwritten: false,
            claude_session_id: None,
            begun: false,
            model: None,
            agent: None,
        }
    }

    /// Stores the beginning, tells `begun` of it, and runs the turn.
    pub(super) async fn run(mut self, begun: oneshot::Sender<Result<StartedTurn, TurnRefused>>) {
        let (end, ended) = watch::channel(None);
        match self.begin().await {
            Ok(after) => {
                let feed = Arc::clone(&self.place.runtime.feed);
                // Nobody may be waiting any more; the turn runs all the same.
                let _waits = begun.send(Ok(StartedTurn {
                    turn: self.plan.turn.clone(),
                    feed,
                    after,
                    ended,
                }));
            }
            Err(error) => {
                self.place.runtime.log.let_go().await;
                let _waits = begun.send(Err(error.into()));
                return;
            }
        }
        let ending = self.drive().await;
        let turn = self.finish(ending).await;
        // The session is free before its client learns of the end, and can send its next prompt at once.
        drop(self.place);
        end.send_replace(Some(Arc::new(turn)));
    }

    async fn begin(&self) -> Result<EventId, LogError> {
        let session = &self.plan.session;
        let bodies = vec![
            EventBody::Message {
                text: self.plan.turn.message.clone(),
            },
            EventBody::Session {
                session_id: session.id,
                claude_session_id: session.claude_session_id,
                model: session.options.model.clone(),
                permission_mode: session.options.permission_mode,
            },
            EventBody::TurnStarted {},
        ];
        self.place.runtime.log.begin_turn(&self.plan.turn, bodies).await
    }

    async fn drive(&mut self) -> Ending {
        let started = tokio::select! {
            started = self.start() => started,
            reason = stopped(self.place.stop.clone(), self.deadline) => Err(broken(reason)),
        };
        match started {
            Ok((agent, messages)) => {
                self.agent = Some(agent.clone());
                self.follow(agent, messages).await
            }
            Err(error) => Ending::Broken(error),
        }
    }

    /// Hands the prompt to the session's agent.
    async fn start(&self) -> Result<(Agent, TurnMessages), TurnError> {
        let prompt = self.plan.turn.id.as_uuid();
        let line = control::prompt(prompt, &self.plan.turn.message);
        // An agent that ended while it was idle is noticed only now; the prompt has not reached it.
        let mut second_try = false;
        loop {
            let agent = self
                .shared
                .ensure_agent(&self.place.runtime, &self.plan.session, &self.plan.workspace)
                .await
                .map_err(|error| error.to_turn_error())?;
            match agent.start_turn(prompt, line.clone()).await {
                Ok(messages) => return Ok((agent, messages)),
                Err(_gone) if !second_try => second_try = true,
                Err(_gone) => return Err(crashed(&*agent.ended().await)),
            }
        }
    }

    /// Takes the agent's messages up to the result; every line is drained, also after an interrupt.
    async fn follow(&mut self, agent: Agent, mut messages: TurnMessages) -> Ending {
        let mut stopping: Option<(TurnErrorCode, Instant)> = None;
        loop {
            let reason = tokio::select! {
                biased;
                reason = stopped(self.place.stop.clone(), self.deadline), if stopping.is_none() => reason,
                reason = out_of_grace(stopping), if stopping.is_some() => {
                    self.end_agent(&agent, true).await;
                    return Ending::Broken(broken(reason));
                }
                message = messages.recv() => match message {
                    Some(CliMessage::Result(result)) => {
                        if result.ends_process() {
                            self.end_agent(&agent, false).await;
                        }
                        return Ending::Result(Box::new(result), stopping.map(|(reason, _)| reason));
                    }
                    Some(message) => {
                        self.note(&message).await;
                        if !self.unwritten || stopping.is_some() {
                            continue;
                        }
                        TurnErrorCode::StoreUnavailable
                    }
                    None => {
                        let end = agent.ended().await;
                        self.place.runtime.forget(&agent).await;
                        let error = stopping.map_or_else(|| crashed(&end), |(reason, _)| broken(reason));
                        return Ending::Broken(error);
                    }
                },
            };
            stopping = Some((reason, Instant::now() + self.shared.settings.interrupt_grace));
            if agent.interrupt().await.is_err() {
                tracing::debug!(turn.id = %self.plan.turn.id, "the agent ended before it was interrupted");
            }
        }
    }

    async fn end_agent(&self, agent: &Agent, kill: bool) {
        self.place.runtime.forget(agent).await;
        if kill {
            agent.kill().await;
        } else {
            agent.stop().await;
        }
    }

    /// Writes what a message stands for into the log.
    async fn note(&mut self, message: &CliMessage) {
        match message {
            CliMessage::System(system) if system.subtype == "init" => {
                self.begun = true;
                self.claude_session_id = system.session_id.map(ClaudeSessionId::from_uuid);
            }
            CliMessage::Assistant(message) => {
                self.begun = true;
                if message.parent_tool_use_id.is_none() {
                    self.model.clone_from(&message.model);
                }
            }
            _ => {}
        }
        let bodies = self.translator.translate(message);
        self.write(bodies).await;
    }

    /// Durable events are stored before they are shown; pieces of text are only shown. Order is kept.
    async fn write(&mut self, bodies: Vec<EventBody>) {
        if self.unwritten || bodies.is_empty() {
            return;
        }
        if let Err(error) = self.try_write(bodies).await {
            tracing::error!(turn.id = %self.plan.turn.id, error = &error as &dyn std::error::Error,
                "a turn's events were not stored; the turn is stopped");
            self.unwritten = true;
        }
    }

    async fn try_write(&self, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let (log, turn) = (&self.place.runtime.log, self.plan.turn.id);
        let mut durable = Vec::new();
        for body in bodies {
            if body.is_durable() {
                durable.push(body);
            } else {
                log.append(Some(turn), std::mem::take(&mut durable)).await?;
                log.show(turn, vec![body]).await?;
            }
        }
        log.append(Some(turn), durable).await
    }

    async fn finish(&mut self, ending: Ending) -> Turn {
        let result = match &ending {
            Ending::Result(result, _) => Some(&**result),
            Ending::Broken(_) => None,
        };
        let rest = self.translator.finish(result);
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
            Ending::Broken(error) => Verdict {
                usage: Usage::default(),
                cost: MicroUsd::ZERO,
                stop_reason: None,
                error: Some(error),
            },
        };
        if self.unwritten {
            verdict.error = Some(broken(TurnErrorCode::StoreUnavailable));
        }
        self.store_end(verdict).await
    }

    async fn store_end(&mut self, verdict: Verdict) -> Turn {
        let (text, tool_calls) = std::mem::take(&mut self.translator).into_parts();
        let Verdict {
            usage,
            cost,
            stop_reason,
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
            usage: self.ledger_entries(usage, cost, ended_at),
        };
        if let Err(error) = self.try_store_end(&end, bodies).await {
            tracing::error!(turn.id = %turn.id, error = &error as &dyn std::error::Error,
                "a turn's end was not stored; it will be settled as unknown");
            self.place.runtime.log.let_go().await;
            let error = broken(TurnErrorCode::StoreUnavailable);
            end.outcome.status = error.code.status();
            end.outcome.error = Some(error);
        }
        turn.outcome = Some(end.outcome);
        turn
    }

    /// What is entered in the ledger: nothing for a turn that used nothing.
    fn ledger_entries(&self, usage: Usage, cost: MicroUsd, at: DateTime<Utc>) -> Vec<UsageRecord> {
        if usage == Usage::default() && cost == MicroUsd::ZERO {
            return Vec::new();
        }
        let session = &self.plan.session;
        vec![UsageRecord {
            turn: self.plan.turn.id,
            model: self.model.clone().unwrap_or_default(),
            session: session.id,
            user: session.user.clone(),
            usage,
            cost,
            at,
        }]
    }

    async fn try_store_end(&self, end: &TurnEnd, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let log = &self.place.runtime.log;
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

/// Ends when the turn is to be stopped: with the reason it is told, or at its deadline.
async fn stopped(
    mut stop: watch::Receiver<Option<TurnErrorCode>>,
    deadline: Option<Instant>,
) -> TurnErrorCode {
    let told = async {
        let told = stop.wait_for(Option::is_some).await.map(|reason| *reason);
        match told {
            Ok(Some(reason)) => reason,
            // Nobody is left who could stop it.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        reason = told => reason,
        () = until(deadline), if deadline.is_some() => TurnErrorCode::TurnTimeout,
    }
}

/// Ends when a turn that was told to end has had its time: with the reason for which it was told to.
async fn out_of_grace(stopping: Option<(TurnErrorCode, Instant)>) -> TurnErrorCode {
    match stopping {
        Some((reason, until)) => {
            tokio::time::sleep_until(until).await;
            reason
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn crashed(end: &AgentEnd) -> TurnError {
    let message = if end.complaint.is_empty() {
        format!("the CLI ended in the middle of the turn, with {}", end.status)
    } else {
        format!(
            "the CLI ended in the middle of the turn, with {}: {}",
            end.status, end.complaint
        )
    };
    TurnError {
        code: TurnErrorCode::AgentCrashed,
        message,
    }
}

/// A turn's end for a reason that says it all.
fn broken(code: TurnErrorCode) -> TurnError {
    let message = match code {
        TurnErrorCode::TurnTimeout => "the turn reached the time limit that was asked for",
        TurnErrorCode::ServerShutdown => "the server stopped before the turn ended",
        TurnErrorCode::SessionClosed => "the session was closed before the turn ended",
        TurnErrorCode::StoreUnavailable => "the store did not take the turn's events",
        _ => "the agent did not end the turn when it was told to",
    };
    TurnError {
        code,
        message: message.to_owned(),
    }
}
