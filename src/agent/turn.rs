//! Runs one turn to its end, whoever watches: waits for the session, hands the prompt to the agent, writes the log,
//! has what the agent asks answered, stores the outcome.

mod beginning;
mod checkpoints;
mod ending;
mod resuming;
mod waiting;

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use self::ending::Ending;
use self::waiting::{broken, crashed, out_of_grace, stopped, until};
use super::disk;
use super::handle::{Agent, TurnMessage, TurnMessages};
use super::launch::Folders;
use super::line::{Admission, TurnControl, TurnPlace, TurnSignals};
use super::log::{Hold, LogError};
use super::manager::{Shared, TurnRefused};
use super::questions::{Questions, Told};
use super::runtime::SessionRuntime;
use super::starting::{NoAgent, Purpose};
use super::translate::Translator;
use crate::domain::{
    Attachment, ClaudeSessionId, EventBody, EventId, MicroUsd, Moment, Permission, Session, SessionChange,
    Turn, TurnError, TurnErrorCode, TurnStatus, Usage, WaitsFor,
};
use crate::gateway::Meter;
use crate::limits::counter::Occupied;
use crate::protocol::control;
use crate::protocol::message::CliMessage;
use crate::protocol::question::{ControlRequest, Question};
use crate::store::StoreError;

/// What is done when the CLI no longer has the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLost {
    /// The turn fails, and nothing is changed.
    #[default]
    Fail,
    /// The conversation begins anew, and says so.
    Fresh,
}

/// A turn to be run.
#[derive(Debug)]
pub(super) struct TurnPlan {
    pub(super) session: Session,
    pub(super) folders: Folders,
    pub(super) turn: Turn,
    /// The prompt as the CLI gets it: a text, or content blocks.
    pub(super) content: Value,
    pub(super) attachments: Vec<Attachment>,
    pub(super) timeout: Option<Duration>,
    pub(super) on_lost: OnLost,
    pub(super) request_key: Option<String>,
    pub(super) _occupied: Occupied,
}

/// A turn that was begun, or queued.
#[derive(Debug, Clone)]
pub struct StartedTurn {
    /// The turn, as it was taken.
    pub turn: Turn,
    /// The id before its first event.
    pub after: EventId,
    /// The turn with its outcome, once it has one.
    pub ended: watch::Receiver<Option<Arc<Turn>>>,
}

/// A turn on its way.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct TurnRun {
    shared: Arc<Shared>,
    runtime: Arc<SessionRuntime>,
    control: Arc<TurnControl>,
    signals: TurnSignals,
    plan: TurnPlan,
    /// The id under which the agent gets the prompt.
    prompt: Uuid,
    taken_at: Instant,
    deadline: Option<Instant>,
    translator: Translator,
    questions: Questions,
    /// Whether its first event said already that the agent is at it.
    told_started: bool,
    told_delta: bool,
    /// Set once the store has refused an event: nothing more is written, and the turn is stopped.
    unwritten: bool,
    /// Set once the session is another instance's: what becomes of the turn is for that one to say.
    fenced: bool,
    /// The hold of the session in which the turn is.
    hold: Option<Hold>,
    claude_session_id: Option<ClaudeSessionId>,
    /// Whether the CLI began to work on the prompt.
    begun: bool,
    /// Whether what the CLI wrote down of the conversation is stored.
    written_down: bool,
    /// The model that answered last.
    model: Option<String>,
    /// Who is at it.
    agent: Option<Agent>,
    /// Counts what it uses of the model, if that goes through the gateway.
    meter: Option<Meter>,
    /// What it used before its server was lost, as the ledger has it.
    earlier: (Usage, MicroUsd),
}

/// What happens next to a turn whose agent is at it.
enum Step {
    Stop(TurnErrorCode),
    GraceOver(TurnErrorCode),
    Answer(Permission),
    QuestionsDue,
    Message(Option<TurnMessage>),
}

impl TurnRun {
    pub(super) fn new(
        shared: Arc<Shared>,
        runtime: Arc<SessionRuntime>,
        control: Arc<TurnControl>,
        signals: TurnSignals,
        plan: TurnPlan,
    ) -> Self {
        let now = Instant::now();
        Self {
            questions: Questions::new(Arc::clone(&shared), plan.session.clone(), plan.turn.id),
            shared,
            runtime,
            control,
            signals,
            taken_at: now,
            deadline: plan.timeout.map(|timeout| now + timeout),
            prompt: plan.turn.id.as_uuid(),
            plan,
            translator: Translator::default(),
            told_started: false,
            told_delta: false,
            unwritten: false,
            fenced: false,
            hold: None,
            claude_session_id: None,
            begun: false,
            written_down: false,
            model: None,
            agent: None,
            meter: None,
            earlier: (Usage::default(), MicroUsd::ZERO),
        }
    }

    /// Its part of the trace, and of the log; in the request that asked for it.
    pub(super) fn span(&self) -> Span {
        let (session, turn) = (&self.plan.session, &self.plan.turn);
        tracing::info_span!(
            "turn",
            tenant.id = %session.tenant,
            session.id = %session.id,
            turn.id = %turn.id,
            turn.status = tracing::field::Empty,
        )
    }

    /// Stores the turn, tells `taken` of it, and runs it once the session is its own.
    pub(super) async fn run(
        mut self,
        admission: Admission,
        taken: oneshot::Sender<Result<StartedTurn, TurnRefused>>,
    ) {
        let began = match admission {
            Admission::Now(place) => self.begin_now(place, taken).await,
            Admission::Later(ticket) => self.begin_later(ticket, taken).await,
        };
        let Some(place) = began else { return };
        self.take_checkpoint(Moment::Before).await;
        let ending = self.drive().await;
        self.end(ending, place).await;
    }

    async fn end(mut self, ending: Ending, place: TurnPlace) {
        // Before anyone is told that the turn is over: what it changed can be asked for at once.
        self.take_checkpoint(Moment::After).await;
        let turn = self.finish(ending).await;
        if let Some(outcome) = turn.as_ref().and_then(|turn| turn.outcome.as_ref()) {
            Span::current().record("turn.status", tracing::field::display(outcome.status));
        }
        // The session is free before its client learns of the end, and can send its next prompt at once.
        self.runtime.touch();
        drop(place);
        self.shared.pool.note_change();
        if let Some(turn) = turn {
            self.control.set_ended(turn);
        }
    }

    async fn drive(&mut self) -> Ending {
        loop {
            match self.get_agent().await {
                Ok((agent, messages)) => {
                    self.meter.clone_from(&agent.meter);
                    self.agent = Some(agent.clone());
                    if !self.told_started {
                        self.write(vec![EventBody::TurnStarted {}]).await;
                    }
                    self.control.set_status(TurnStatus::Running);
                    let limits = self.shared.disk_limits(self.plan.session.tenant).await;
                    let watched = disk::watch(self.written_folders(), limits, Arc::clone(&self.control));
                    let watch = self.shared.tasks.spawn(watched);
                    let ending = self.follow(agent, messages).await;
                    watch.abort();
                    return ending;
                }
                Err(GetAgentError::Lost) if self.plan.on_lost == OnLost::Fresh => {
                    if let Err(error) = self.begin_anew().await {
                        return Ending::Broken(error);
                    }
                }
                Err(error) => return Ending::Broken(error.into()),
            }
        }
    }

    /// Gets the session's agent and hands it the prompt; tells meanwhile for how many it waits.
    async fn get_agent(&mut self) -> Result<(Agent, TurnMessages), GetAgentError> {
        let position = watch::Sender::new(0);
        let mut told = position.subscribe();
        let mut failed = false;
        let got = {
            let mut starting = std::pin::pin!(self.start(&position));
            let mut stop = std::pin::pin!(stopped(self.signals.stop.clone(), self.deadline));
            loop {
                tokio::select! {
                    started = &mut starting => break started,
                    reason = &mut stop => break Err(GetAgentError::Other(broken(reason))),
                    Ok(()) = told.changed() => {
                        let waits = EventBody::TurnQueued {
                            waits_for: WaitsFor::Agent,
                            position: *told.borrow_and_update(),
                        };
                        failed |= self.try_write(vec![waits]).await.is_err();
                    }
                }
            }
        };
        self.unwritten |= failed;
        got
    }

    async fn start(&self, position: &watch::Sender<usize>) -> Result<(Agent, TurnMessages), GetAgentError> {
        let turn = &self.plan.turn;
        let line = control::prompt(self.prompt, &self.plan.content);
        let verbatim = self.plan.session.options.agent_messages == Some(true);
        // An agent that ended while it was idle is noticed only now; the prompt has not reached it.
        let mut second_try = false;
        loop {
            let (session, folders) = (&self.plan.session, &self.plan.folders);
            let agent = self
                .shared
                .ensure_agent(&self.runtime, session, folders, Purpose::Turn(position))
                .await
                .map_err(|error| match error {
                    NoAgent::ConversationLost => GetAgentError::Lost,
                    error => GetAgentError::Other(error.to_turn_error()),
                })?;
            match agent
                .start_turn(turn.id, turn.key, self.prompt, line.clone(), verbatim)
                .await
            {
                Ok(messages) => return Ok((agent, messages)),
                Err(_gone) if !second_try => second_try = true,
                Err(_gone) => return Err(GetAgentError::Other(crashed(&*agent.ended().await))),
            }
        }
    }

    /// Gives the session a new conversation in place of the one that is lost, and says so.
    async fn begin_anew(&mut self) -> Result<(), TurnError> {
        let anew = ClaudeSessionId::generate(&*self.shared.clock);
        let change = SessionChange {
            new_conversation: Some(anew),
            ..SessionChange::default()
        };
        let (tenant, session) = (self.plan.session.tenant, self.plan.session.id);
        match self.shared.store.update_session(tenant, session, &change).await {
            Ok(Some(session)) => self.plan.session = session,
            Ok(None) => return Err(broken(TurnErrorCode::SessionClosed)),
            Err(_) => return Err(broken(TurnErrorCode::StoreUnavailable)),
        }
        tracing::warn!(session.id = %session, "a lost conversation begins anew, as was asked for");
        self.write(vec![EventBody::ConversationReset {
            claude_session_id: anew,
        }])
        .await;
        Ok(())
    }

    /// The folders that the agent writes in.
    fn written_folders(&self) -> Arc<Vec<OwnedFd>> {
        let folders = &self.plan.folders;
        let home = self
            .shared
            .homes
            .of(self.plan.session.tenant, self.plan.session.id);
        let workspaces = [&folders.workspace].into_iter().chain(&folders.added);
        let handles = workspaces.map(|workspace| workspace.dir().as_fd().try_clone_to_owned());
        // One that cannot be opened is not there to be filled.
        Arc::new(handles.chain([home.handle()]).flatten().collect())
    }

    /// Takes the agent's messages up to the result; every line is drained, also after an interrupt.
    async fn follow(&mut self, agent: Agent, mut messages: TurnMessages) -> Ending {
        let mut stopping: Option<(TurnErrorCode, Instant)> = None;
        loop {
            let due = self.questions.next_deadline();
            let step = tokio::select! {
                biased;
                reason = stopped(self.signals.stop.clone(), self.deadline), if stopping.is_none() => Step::Stop(reason),
                reason = out_of_grace(stopping), if stopping.is_some() => Step::GraceOver(reason),
                Some(answer) = self.signals.answers.recv() => Step::Answer(answer),
                () = until(due), if due.is_some() => Step::QuestionsDue,
                message = messages.recv() => Step::Message(message),
            };
            let mut end_for = None;
            match step {
                Step::Stop(reason) => end_for = Some(reason),
                Step::GraceOver(reason) => {
                    self.end_agent(&agent, true).await;
                    return Ending::Broken(broken(reason));
                }
                Step::Answer(answer) => {
                    let told = self.questions.answered(&answer);
                    self.tell(&agent, Ok(vec![told])).await;
                }
                Step::QuestionsDue => {
                    let told = self.questions.expire().await;
                    self.tell(&agent, told).await;
                }
                Step::Message(Some(TurnMessage {
                    message: CliMessage::Result(result),
                    line,
                })) => {
                    self.keep(line).await;
                    let fills_disk = matches!(stopping, Some((TurnErrorCode::WorkspaceFull, _)));
                    if result.ends_process() || fills_disk {
                        // What is to end at once may be at it in the background.
                        self.end_agent(&agent, fills_disk).await;
                    }
                    return Ending::Result(Box::new(result), stopping.map(|(reason, _)| reason));
                }
                Step::Message(Some(TurnMessage { message, line })) => {
                    self.tell_warnings().await;
                    self.keep(line).await;
                    self.take(&agent, message).await;
                }
                Step::Message(None) => {
                    let end = agent.ended().await;
                    self.runtime.forget(&agent).await;
                    let error = stopping.map_or_else(|| crashed(&end), |(reason, _)| broken(reason));
                    if error.code == TurnErrorCode::AgentCrashed {
                        self.shared.metrics.agent_crashed();
                    }
                    return Ending::Broken(error);
                }
            }
            if self.fenced {
                // Another instance goes on: nothing of the agent may be left.
                self.end_agent(&agent, true).await;
                return Ending::Broken(broken(TurnErrorCode::TurnUnknown));
            }
            if self.unwritten {
                end_for = end_for.or(Some(TurnErrorCode::StoreUnavailable));
            }
            if let (Some(reason), None) = (end_for, stopping) {
                stopping = Some((reason, Instant::now() + self.shared.settings.interrupt_grace));
                if agent.interrupt().await.is_err() {
                    tracing::debug!(turn.id = %self.plan.turn.id, "the agent ended before it was interrupted");
                }
            }
        }
    }

    async fn end_agent(&self, agent: &Agent, kill: bool) {
        self.runtime.forget(agent).await;
        if kill {
            agent.kill().await;
        } else {
            agent.stop().await;
        }
    }

    /// Takes a message of the agent that does not end the turn.
    async fn take(&mut self, agent: &Agent, message: CliMessage) {
        match message {
            CliMessage::ControlRequest(ControlRequest {
                request_id,
                question: Question::CanUseTool(question),
            }) => {
                let told = self.questions.ask(request_id, *question).await;
                self.tell(agent, told.map(|told| vec![told])).await;
            }
            CliMessage::ControlCancelRequest { request_id } => {
                let told = self.questions.withdraw(&request_id).await;
                self.tell(agent, told).await;
            }
            message => self.note(&message).await,
        }
    }

    /// Tells the log, then the CLI, how questions stand.
    async fn tell(&mut self, agent: &Agent, told: Result<Vec<Told>, StoreError>) {
        match told {
            Ok(all) => {
                for told in all {
                    self.write(told.events).await;
                    if let Some(line) = told.line
                        && agent.send(line).await.is_err()
                    {
                        tracing::debug!(turn.id = %self.plan.turn.id, "the agent ended before it was answered");
                    }
                }
            }
            Err(error) => {
                tracing::error!(turn.id = %self.plan.turn.id, error = &error as &dyn std::error::Error,
                    "what an agent asked was not stored; the turn is stopped");
                self.unwritten = true;
            }
        }
        self.control.set_status(if self.questions.any_pending() {
            TurnStatus::AwaitingPermission
        } else {
            TurnStatus::Running
        });
    }

    /// Writes a message's own line into the log, where the session keeps them.
    async fn keep(&mut self, line: Option<String>) {
        // It was read as JSON before.
        let message = line.and_then(|line| serde_json::from_str(&line).ok());
        if let Some(message) = message {
            self.write(vec![EventBody::AgentMessage { message }]).await;
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
        let speaks = !self.told_delta
            && bodies
                .iter()
                .any(|body| matches!(body, EventBody::TextDelta { .. }));
        if let Err(error) = self.try_write(bodies).await {
            tracing::error!(turn.id = %self.plan.turn.id, error = &error as &dyn std::error::Error,
                "a turn's events were not stored; the turn is stopped");
            self.fenced |= is_fenced(&error);
            self.unwritten = true;
        }
        if speaks {
            self.told_delta = true;
            self.shared.metrics.first_delta(self.taken_at.elapsed());
        }
    }

    async fn try_write(&self, bodies: Vec<EventBody>) -> Result<(), LogError> {
        let (log, turn) = (&self.runtime.log, self.plan.turn.id);
        let hold = self.hold.ok_or(LogError::Fenced)?;
        let mut durable = Vec::new();
        for body in bodies {
            if body.is_durable() {
                durable.push(body);
            } else {
                log.append(Some((turn, hold)), std::mem::take(&mut durable))
                    .await?;
                log.show(turn, hold, vec![body]).await?;
            }
        }
        log.append(Some((turn, hold)), durable).await
    }
}

/// Whether the session is another instance's.
fn is_fenced(error: &LogError) -> bool {
    matches!(
        error,
        LogError::Fenced | LogError::Elsewhere(_) | LogError::Store(StoreError::StaleEpoch { .. })
    )
}

/// Why a turn has no agent.
enum GetAgentError {
    /// The CLI no longer has the conversation.
    Lost,
    Other(TurnError),
}

impl From<GetAgentError> for TurnError {
    fn from(error: GetAgentError) -> Self {
        match error {
            GetAgentError::Lost => NoAgent::ConversationLost.to_turn_error(),
            GetAgentError::Other(error) => error,
        }
    }
}
