//! What is asked of a session is asked of the instance that has it: of this one, or of another.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::feed::FeedRead;
use super::launch::Folders;
use super::log::LogError;
use super::manager::Agents;
use super::runtime::OpenLog;
use super::steering::{CliQuestion, SteeringError};
use super::turn::StartedTurn;
use crate::cluster::{
    Begun, Cluster, PeerAnswer, PeerCommand, PeerError, PeerQuestion, PeerRefusal, PeerTurn,
};
use crate::domain::{
    EventBody, EventId, Instance, Permission, Principal, Session, SessionId, SessionStanding, TenantId, Turn,
    TurnId, TurnStatus,
};
use crate::store::StoreError;

/// How often it is asked again who has a session that moves.
const MOVES: u32 = 3;
/// How many events are looked through at once for a turn's end.
const BATCH: usize = 256;
/// How often a turn elsewhere is looked up whose end is not heard of.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Why the instance that has a session did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ElsewhereError {
    /// It is not known which has it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be reached.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// It refused.
    #[error("the instance that has the session refused: {0:?}")]
    Refused(PeerRefusal),
    /// It answered something else than was asked: it is of another version.
    #[error("the instance that has the session answered something else than was asked")]
    Odd,
    /// The log did not take it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The CLI did not do it.
    #[error(transparent)]
    Steering(#[from] SteeringError),
}

type Result<T> = std::result::Result<T, ElsewhereError>;

impl Agents {
    /// The other instance that has a session, if one has it and this one does not.
    pub async fn elsewhere(
        &self,
        tenant: TenantId,
        session: SessionId,
    ) -> std::result::Result<Option<(&Cluster, Instance)>, StoreError> {
        let Some(cluster) = &self.shared.cluster else {
            return Ok(None);
        };
        if self.is_here(session) {
            return Ok(None);
        }
        let holder = cluster.other_holder(tenant, session).await?;
        Ok(holder.map(|holder| (cluster, holder)))
    }

    /// Whether this instance has a session, as far as it knows.
    #[must_use]
    pub fn is_here(&self, session: SessionId) -> bool {
        let known = self.shared.known(session);
        known.is_some_and(|runtime| runtime.log.is_owned())
    }

    /// Asks the other instance that has a session; `None` when none has it, or this one.
    async fn ask_holder(
        &self,
        tenant: TenantId,
        session: SessionId,
        command: impl Fn() -> PeerCommand,
        patience: Option<Duration>,
    ) -> Result<Option<PeerAnswer>> {
        for _ in 0..MOVES {
            let Some((cluster, holder)) = self.elsewhere(tenant, session).await? else {
                return Ok(None);
            };
            match cluster.ask(&holder, tenant, session, command(), patience).await? {
                PeerAnswer::Refused(PeerRefusal::NotHere) => {}
                PeerAnswer::Refused(refusal) => return Err(ElsewhereError::Refused(refusal)),
                answer => return Ok(Some(answer)),
            }
        }
        Err(ElsewhereError::Refused(PeerRefusal::NotHere))
    }

    /// Interrupts a session's turn, and which it was: the named one, which may also wait; else the one that has the
    /// session.
    pub async fn interrupt(
        &self,
        tenant: TenantId,
        session: SessionId,
        turn: Option<TurnId>,
    ) -> Result<Option<TurnId>> {
        let command = || PeerCommand::Interrupt { turn };
        match self.ask_holder(tenant, session, command, None).await? {
            None => Ok(self.interrupt_here(session, turn)),
            Some(PeerAnswer::Interrupted { turn }) => Ok(turn),
            Some(_) => Err(ElsewhereError::Odd),
        }
    }

    /// Brings an answer to the turn whose agent asked; whether that turn listens.
    pub async fn bring_answer(&self, tenant: TenantId, permission: Permission) -> Result<bool> {
        let command = || PeerCommand::Answer {
            permission: Box::new(permission.clone()),
        };
        match self.ask_holder(tenant, permission.session, command, None).await? {
            None => Ok(self.bring_answer_here(permission).await),
            Some(PeerAnswer::Answered { taken }) => Ok(taken),
            Some(_) => Err(ElsewhereError::Odd),
        }
    }

    /// Brings a live agent to the model and permission mode that its session has now. One that does not take them is
    /// replaced before the next turn; so is one elsewhere that is not reached.
    pub async fn apply_options(&self, session: &Session) {
        let command = || PeerCommand::ApplyOptions;
        match self.ask_holder(session.tenant, session.id, command, None).await {
            Ok(None) => self.apply_options_here(session).await,
            Ok(Some(_)) => {}
            Err(error) => tracing::warn!(session.id = %session.id, error = &error as &dyn std::error::Error,
                "options are set with the next agent: the instance that has the session did not take them"),
        }
    }

    /// Appends events that belong to no turn to a session's log.
    pub async fn record(&self, tenant: TenantId, session: SessionId, bodies: Vec<EventBody>) -> Result<()> {
        for _ in 0..MOVES {
            let command = || PeerCommand::Record {
                bodies: bodies.clone(),
            };
            if let Some(_done) = self.ask_holder(tenant, session, command, None).await? {
                return Ok(());
            }
            match self.record_here(tenant, session, bodies.clone()).await {
                // Another took it in this very moment.
                Err(LogError::Elsewhere(_) | LogError::Store(StoreError::StaleEpoch { .. })) => {}
                recorded => return Ok(recorded?),
            }
        }
        Err(ElsewhereError::Refused(PeerRefusal::NotHere))
    }

    /// Asks a session's CLI, which is started if it does not live.
    pub async fn ask(
        &self,
        caller: &Principal,
        session: Session,
        folders: Folders,
        question: CliQuestion,
    ) -> Result<Value> {
        let (tenant, id) = (session.tenant, session.id);
        let as_json = serde_json::to_value(&question).unwrap_or_default();
        let command = || {
            PeerCommand::Ask(PeerQuestion {
                caller: caller.clone(),
                question: as_json.clone(),
            })
        };
        // The other instance may have to start an agent first.
        let settings = &self.shared.settings;
        let patience = settings.control_timeout + settings.queue_timeout + settings.actor.start_timeout;
        match self.ask_holder(tenant, id, command, Some(patience)).await? {
            None => Ok(self.ask_here(session, folders, question).await?),
            Some(PeerAnswer::Said { value }) => Ok(value),
            Some(_) => Err(ElsewhereError::Odd),
        }
    }

    /// Where a turn without outcome is, if it is alive anywhere.
    pub async fn turn_status(
        &self,
        tenant: TenantId,
        session: SessionId,
        turn: TurnId,
    ) -> Option<TurnStatus> {
        let command = || PeerCommand::TurnStatus { turn };
        match self.ask_holder(tenant, session, command, None).await {
            Ok(None) => self.turn_status_here(session, turn),
            Ok(Some(PeerAnswer::TurnStatus { status })) => status,
            // What is stored of it is told instead.
            Ok(Some(_)) | Err(_) => None,
        }
    }

    /// How sessions are, here or elsewhere, in the order in which they are asked for.
    pub async fn standing(
        &self,
        tenant: TenantId,
        sessions: &[SessionId],
    ) -> std::result::Result<Vec<SessionStanding>, StoreError> {
        let found: HashMap<_, _> = match &self.shared.cluster {
            Some(cluster) => cluster.standing(tenant, sessions).await?.into_iter().collect(),
            None => HashMap::new(),
        };
        let standings = sessions.iter().map(|session| {
            let elsewhere = found.get(session).copied().unwrap_or_default();
            let here = self.is_here(*session) || self.shared.cluster.is_none();
            SessionStanding {
                held: if here {
                    self.is_live(*session)
                } else {
                    elsewhere.held
                },
                busy: elsewhere.busy || self.is_busy(*session),
            }
        });
        Ok(standings.collect())
    }

    /// Ends a session's turn and agent and removes its private home, wherever they are; answers when nothing of it is left
    /// here, and where it was, unless that instance is not reached.
    pub async fn close(&self, tenant: TenantId, session: SessionId) {
        let command = || PeerCommand::Close;
        if let Err(error) = self.ask_holder(tenant, session, command, None).await {
            tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error,
                "the instance that had a session did not say that it has closed it");
        }
        self.close_here(tenant, session).await;
        // Others may still have a home of it, or readers of its log.
        if let Some(cluster) = &self.shared.cluster
            && let Err(error) = cluster.tell_gone(tenant, session).await
        {
            tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error,
                "other instances were not told that a session is closed");
        }
    }

    /// Whether an instance that does not tell may have shown an event that is not stored.
    pub async fn may_have_shown(&self, log: &OpenLog, id: EventId) -> std::result::Result<bool, StoreError> {
        let (tenant, session) = (log.tenant(), log.session());
        if log.is_mirrored() || self.elsewhere(tenant, session).await?.is_none() {
            return Ok(false);
        }
        let epoch = self.shared.store.session_epoch(tenant, session).await?;
        Ok(epoch.is_some_and(|epoch| id <= EventId::new(epoch, u32::MAX).of(session)))
    }

    /// Whether there can be other instances.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.shared.cluster.is_some()
    }

    /// Has a turn run by the instance that has its session; `None` when no instance takes it now: the one that has it is
    /// ending, or it moves again and again.
    pub async fn begin_elsewhere(
        &self,
        holder: &Instance,
        session: SessionId,
        turn: PeerTurn,
    ) -> Result<Option<StartedTurn>> {
        let Some(cluster) = &self.shared.cluster else {
            return Ok(None);
        };
        let tenant = turn.caller.tenant;
        let patience = self.shared.settings.control_timeout;
        let command = PeerCommand::Begin(Box::new(turn));
        let Begun { turn, after } = match cluster
            .ask(holder, tenant, session, command, Some(patience))
            .await?
        {
            PeerAnswer::Begun(begun) => begun,
            PeerAnswer::Refused(PeerRefusal::NotHere | PeerRefusal::ShuttingDown) => return Ok(None),
            PeerAnswer::Refused(refusal) => return Err(ElsewhereError::Refused(refusal)),
            _ => return Err(ElsewhereError::Odd),
        };
        let stored = self.shared.store.find_turn(tenant, session, turn).await?;
        let turn = stored.ok_or(ElsewhereError::Odd)?;
        let ended = self.watch_elsewhere(tenant, &turn, after);
        Ok(Some(StartedTurn { turn, after, ended }))
    }

    /// Tells the end of a turn that another instance runs: the turn with its outcome, once it has one. Nothing is ever told
    /// if the turn is removed.
    #[must_use]
    pub fn watch_elsewhere(
        &self,
        tenant: TenantId,
        turn: &Turn,
        after: EventId,
    ) -> watch::Receiver<Option<Arc<Turn>>> {
        let (told, ended) = watch::channel(None);
        let (agents, session, id) = (self.clone(), turn.session, turn.id);
        self.shared.tasks.spawn(async move {
            let log = agents.open_log(tenant, session);
            let (mut newest, mut cursor) = (log.feed().watch(), after);
            loop {
                newest.borrow_and_update();
                match agents.shared.store.find_turn(tenant, session, id).await {
                    Ok(Some(turn)) if turn.outcome.is_some() => {
                        told.send_replace(Some(Arc::new(turn)));
                        return;
                    }
                    Ok(None) => return,
                    Ok(Some(_)) | Err(_) => {}
                }
                let heard = async {
                    while newest.changed().await.is_ok() {
                        match log.feed().read_after(cursor, BATCH) {
                            FeedRead::Items(items) => {
                                cursor = items.last().map_or(cursor, |item| item.id);
                                if items.iter().any(|item| item.terminal && item.turn == Some(id)) {
                                    return;
                                }
                            }
                            FeedRead::Stored { up_to } => {
                                cursor = up_to.map_or(cursor, |up_to| cursor.max(up_to));
                                return;
                            }
                        }
                    }
                };
                tokio::select! {
                    () = heard => {}
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                    () = told.closed() => return,
                    () = agents.shared.shutdown.streams_to_end() => return,
                }
            }
        });
        ended
    }
}
