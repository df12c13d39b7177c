//! Turns: a prompt goes in; its answer is waited for, followed event by event, or looked up later. The turn itself
//! needs none of these.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::attachments::{self, NewAttachment};
use super::error::{Error, RETRY_SOON};
use super::events::check_cursor;
use super::idempotency::{Idempotency, Once, own_key};
use super::log_reader::LogReader;
use super::log_stream::LogStream;
use super::sessions::SessionService;
use super::turn_stream::{SHOWN, VERBATIM, follow};
use crate::agent::{Agents, Folders, LostTurns, NewTurn, OnBusy, OnLost, StartedTurn, TurnRefused};
use crate::cluster::PeerTurn;
use crate::domain::{
    BudgetStanding, BudgetVerdict, Clock, EventId, EventKind, EventQuery, Page, Principal, Role, Session,
    SessionId, SessionStatus, Spender, TenantId, Turn, TurnError, TurnErrorCode, TurnId, TurnReceipt,
    TurnStatus,
};
use crate::lifecycle::Shutdown;
use crate::limits::counter::{Counter, Occupied};
use crate::limits::{Counted, Limits};
use crate::store::Store;

/// More budgets than can cover a session: four scopes, three periods.
const BUDGETS_MAX: u32 = 12;

/// A prompt for a session.
#[derive(Debug, Clone)]
pub struct TurnOrder {
    /// The session.
    pub session: SessionId,
    /// The prompt.
    pub message: String,
    /// What goes with it.
    pub attachments: Vec<NewAttachment>,
    /// When the turn is to be interrupted if it has not ended.
    pub timeout: Option<Duration>,
    /// What is done when the session has a turn already.
    pub on_busy: OnBusy,
    /// What is done when the CLI no longer has the conversation.
    pub on_lost: OnLost,
    /// So that the same request, sent again, does not run again.
    pub once: Option<Once>,
}

impl TurnOrder {
    /// A prompt alone, of which a busy session says so.
    #[must_use]
    pub fn new(session: SessionId, message: String) -> Self {
        Self {
            session,
            message,
            attachments: Vec::new(),
            timeout: None,
            on_busy: OnBusy::Reject,
            on_lost: OnLost::Fail,
            once: None,
        }
    }
}

/// A turn, and where it is.
#[derive(Debug, Clone)]
pub struct TurnDetails {
    /// The turn.
    pub turn: Turn,
    /// Where it is.
    pub status: TurnStatus,
}

/// What holds for all turns.
#[derive(Debug, Clone, Copy)]
pub struct TurnRules {
    /// How many stored events are read at once for a reader that fell behind.
    pub read_batch: u32,
    /// The longest attachment, in bytes.
    pub attachment_max_bytes: u64,
}

/// Turns.
#[derive(Debug)]
pub struct TurnService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    idempotency: Arc<Idempotency>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    running: Counter,
    /// How many stored events are read at once for a reader that fell behind.
    read_batch: u32,
    /// The longest attachment, in bytes.
    attachment_max_bytes: u64,
}

impl TurnService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        idempotency: Arc<Idempotency>,
        rules: TurnRules,
    ) -> Self {
        let TurnRules {
            read_batch,
            attachment_max_bytes,
        } = rules;
        Self {
            idempotency,
            store,
            agents,
            sessions,
            clock,
            limits,
            running: Counter::default(),
            read_batch,
            attachment_max_bytes,
        }
    }

    /// Runs a turn and waits for its end. The turn goes on if the caller does not wait that long.
    ///
    /// # Errors
    /// Also when the turn did not complete: [`Error::TurnEnded`].
    pub async fn run(&self, caller: &Principal, order: TurnOrder) -> Result<Turn, Error> {
        let started = self.start(caller, order).await?;
        let mut ended = started.ended;
        let turn = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|turn| turn.clone());
        let turn = match turn.map(Arc::unwrap_or_clone) {
            Some(turn) => turn,
            None => self.lost(caller, started.turn).await?,
        };
        match turn.outcome.as_ref().and_then(|outcome| outcome.error.clone()) {
            Some(error) => Err(Error::TurnEnded { turn: turn.id, error }),
            None => Ok(turn),
        }
    }

    /// Goes on with turns that lost servers have left, as they are found, for as long as the server runs.
    pub async fn resume_lost(&self, mut lost: LostTurns, shutdown: Shutdown) {
        loop {
            let found = tokio::select! {
                found = lost.recv() => found,
                () = shutdown.begun() => None,
            };
            // What is not gone on with here is left to whoever takes the session next.
            let Some(turn) = found else { return };
            let (session, id) = (turn.turn.session, turn.turn.id);
            match self.prepare(turn.tenant, session, &turn.turn).await {
                Ok((session, folders, occupied)) => {
                    self.agents.resume_turn(turn, session, folders, occupied);
                }
                Err(Error::Store(_)) => self.agents.find_again(turn).await,
                Err(error) => {
                    tracing::warn!(session.id = %session, turn.id = %id, error = &error as &dyn std::error::Error,
                        "a turn that a lost server left does not go on");
                    self.agents.give_up_turn(turn).await;
                }
            }
        }
    }

    /// What is needed to go on with a turn that was taken by another server.
    async fn prepare(
        &self,
        tenant: TenantId,
        session: SessionId,
        turn: &Turn,
    ) -> Result<(Session, Folders, Occupied), Error> {
        let found = self
            .limits
            .of(tenant)
            .await?
            .filter(|tenant| tenant.suspended_at.is_none());
        let tenant = found.ok_or(Error::TenantNotFound)?;
        let session = self.store.find_session(tenant.id, session).await?;
        let session = session
            .filter(|session| session.status == SessionStatus::Active)
            .ok_or(Error::SessionNotFound)?;
        let caller = Principal {
            tenant: tenant.id,
            tenant_name: tenant.name,
            role: Role::Member,
            user: Some(session.user.clone()),
            credential: "a lost server".to_owned(),
            key: turn.key,
            guest: None,
            address: None,
        };
        let folders = self.sessions.folders(&caller, &session).await?;
        // It was let in when it began.
        let occupied = self.running.join(tenant.id);
        Ok((session, folders, occupied))
    }

    /// What became of a turn that this instance began and another has by now.
    async fn lost(&self, caller: &Principal, turn: Turn) -> Result<Turn, Error> {
        // Where there is one instance, whoever ran it is gone and says no more.
        let told = if self.agents.has_others() {
            let mut ended = self.agents.watch_elsewhere(caller.tenant, &turn, EventId::START);
            let told = ended.wait_for(Option::is_some).await;
            told.ok().and_then(|turn| turn.clone())
        } else {
            None
        };
        match told {
            Some(turn) => Ok(Arc::unwrap_or_clone(turn)),
            None => Err(Error::TurnEnded {
                turn: turn.id,
                error: TurnError {
                    code: TurnErrorCode::TurnUnknown,
                    message: "the instance that ran the turn lost its session; ask for the turn again"
                        .to_owned(),
                },
            }),
        }
    }

    /// Begins a turn and follows its events, those after `after` where that is given: an earlier request with the same key
    /// was told the ones before. The turn goes on if the stream is dropped.
    pub async fn stream(
        &self,
        caller: &Principal,
        order: TurnOrder,
        after: Option<EventId>,
    ) -> Result<LogStream, Error> {
        if let Some(after) = after {
            self.sessions.find(caller, order.session).await?;
            let log = self.agents.open_log(caller.tenant, order.session);
            check_cursor(&*self.store, &self.agents, &log, after).await?;
        }
        let started = self.start(caller, order).await?;
        let after = started.after.max(after.unwrap_or(EventId::START));
        Ok(self.follow(caller, started, after, &SHOWN))
    }

    /// Begins a turn and follows what the CLI itself says of it, where the session keeps that (`agent_messages`), up to the turn's
    /// last event. The turn goes on if the stream is dropped.
    pub async fn stream_verbatim(&self, caller: &Principal, order: TurnOrder) -> Result<LogStream, Error> {
        let started = self.start(caller, order).await?;
        let after = started.after;
        Ok(self.follow(caller, started, after, &VERBATIM))
    }

    fn follow(
        &self,
        caller: &Principal,
        started: StartedTurn,
        after: EventId,
        kinds: &[EventKind],
    ) -> LogStream {
        let query = EventQuery {
            deltas: true,
            turn: Some(started.turn.id),
            ..EventQuery::after(after)
        };
        let reader = LogReader::new(
            self.agents.open_log(caller.tenant, started.turn.session),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            query.of_kinds(kinds),
            self.read_batch,
            self.agents.metrics().reading(),
        );
        follow(started, reader, Arc::clone(&self.clock))
    }

    /// Takes a turn and waits for nothing.
    pub async fn submit(&self, caller: &Principal, order: TurnOrder) -> Result<TurnDetails, Error> {
        let started = self.start(caller, order).await?;
        Ok(self.details(caller, started.turn).await)
    }

    /// A turn of a session.
    pub async fn get(
        &self,
        caller: &Principal,
        session: SessionId,
        id: TurnId,
    ) -> Result<TurnDetails, Error> {
        self.sessions.find(caller, session).await?;
        let turn = self.store.find_turn(caller.tenant, session, id).await?;
        Ok(self.details(caller, turn.ok_or(Error::TurnNotFound)?).await)
    }

    /// A page of a session's turns, newest first.
    pub async fn list(
        &self,
        caller: &Principal,
        session: SessionId,
        before: Option<TurnId>,
        limit: u32,
    ) -> Result<Page<TurnDetails, TurnId>, Error> {
        self.sessions.find(caller, session).await?;
        let page = self
            .store
            .list_turns(caller.tenant, session, before, limit)
            .await?;
        let mut items = Vec::with_capacity(page.items.len());
        for turn in page.items {
            items.push(self.details(caller, turn).await);
        }
        Ok(Page {
            items,
            next: page.next,
        })
    }

    /// Interrupts a turn that runs or waits. One that has ended stays as it is.
    pub async fn cancel(
        &self,
        caller: &Principal,
        session: SessionId,
        id: TurnId,
    ) -> Result<TurnDetails, Error> {
        self.get(caller, session, id).await?;
        self.agents.interrupt(caller.tenant, session, Some(id)).await?;
        self.get(caller, session, id).await
    }

    /// Interrupts the turn that has the session; which it was, if any had.
    pub async fn interrupt(&self, caller: &Principal, session: SessionId) -> Result<Option<TurnId>, Error> {
        self.sessions.find_usable(caller, session).await?;
        Ok(self.agents.interrupt(caller.tenant, session, None).await?)
    }

    async fn details(&self, caller: &Principal, turn: Turn) -> TurnDetails {
        let status = match &turn.outcome {
            Some(outcome) => outcome.status,
            None => self
                .agents
                .turn_status(caller.tenant, turn.session, turn.id)
                .await
                .unwrap_or(if turn.queued {
                    TurnStatus::Queued
                } else {
                    TurnStatus::Running
                }),
        };
        TurnDetails { turn, status }
    }

    async fn start(&self, caller: &Principal, order: TurnOrder) -> Result<StartedTurn, Error> {
        let session = self.sessions.find_usable(caller, order.session).await?;
        let Some(once) = order.once.clone() else {
            return self.begin(caller, session, order).await;
        };
        if let Some(receipt) = self.idempotency.begin_turn(caller, &once).await? {
            return self.join(caller, order.session, receipt).await;
        }
        let begun = self.begin(caller, session, order).await;
        if begun.is_err() {
            self.idempotency.forget(caller, &once).await;
        }
        begun
    }

    async fn begin(
        &self,
        caller: &Principal,
        session: Session,
        order: TurnOrder,
    ) -> Result<StartedTurn, Error> {
        self.check_budgets(caller, &session).await?;
        let occupied = self.count(caller).await?;
        let folders = self.sessions.folders(caller, &session).await?;
        let (content, attachments) = attachments::content(
            &order.message,
            order.attachments,
            &folders.workspace,
            self.attachment_max_bytes,
        )
        .await?;
        let request_key = order.once.map(|once| own_key(caller, &once));
        // Only if the session is in a turn elsewhere, and this one is to wait for it, is it sent there.
        let elsewhere = (self.agents.has_others() && order.on_busy != OnBusy::Reject).then(|| PeerTurn {
            caller: caller.clone(),
            message: order.message.clone(),
            content: content.clone(),
            attachments: attachments.clone(),
            timeout: order.timeout,
            interrupts: order.on_busy == OnBusy::Interrupt,
            fresh_if_lost: order.on_lost == OnLost::Fresh,
            request_key: request_key.clone(),
        });
        let id = session.id;
        let new = NewTurn {
            session,
            folders,
            message: order.message,
            content,
            attachments,
            timeout: order.timeout,
            on_busy: order.on_busy,
            on_lost: order.on_lost,
            request_key,
            key: caller.key,
            occupied,
        };
        match (self.agents.start_turn(new).await, elsewhere) {
            (Err(TurnRefused::Elsewhere(holder)), Some(turn)) => {
                let started = self.agents.begin_elsewhere(&holder, id, turn).await?;
                started.ok_or(Error::SessionBusy {
                    retry_after: RETRY_SOON,
                })
            }
            (started, _) => Ok(started?),
        }
    }

    /// Begins a turn that another instance was asked for; `None` when the session is not this one's.
    pub(super) async fn begin_for_peer(
        &self,
        session: SessionId,
        turn: PeerTurn,
    ) -> Result<Option<StartedTurn>, Error> {
        let caller = &turn.caller;
        let session = self.sessions.find_usable(caller, session).await?;
        let folders = self.sessions.folders(caller, &session).await?;
        let new = NewTurn {
            session,
            folders,
            message: turn.message,
            content: turn.content,
            attachments: turn.attachments,
            timeout: turn.timeout,
            on_busy: if turn.interrupts {
                OnBusy::Interrupt
            } else {
                OnBusy::Queue
            },
            on_lost: if turn.fresh_if_lost {
                OnLost::Fresh
            } else {
                OnLost::Fail
            },
            request_key: turn.request_key,
            key: caller.key,
            occupied: self.occupy(caller).await?,
        };
        match self.agents.start_turn(new).await {
            Ok(started) => Ok(Some(started)),
            Err(TurnRefused::Elsewhere(_)) => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Counts a turn that is about to begin: it is one of the tenant's until it has ended.
    async fn count(&self, caller: &Principal) -> Result<Occupied, Error> {
        self.limits.count_address(Counted::Turn, caller.address).await?;
        self.limits
            .count(Counted::Turn, caller.tenant, caller.key)
            .await?;
        self.occupy(caller).await
    }

    async fn occupy(&self, caller: &Principal) -> Result<Occupied, Error> {
        let limits = self.limits.limits_of(caller.tenant).await?;
        let most = limits.turns_max.unwrap_or(0);
        let occupied = self.running.occupy(caller.tenant, most);
        occupied.ok_or(Error::QuotaReached {
            limit: "turns_max",
            most,
        })
    }

    /// Refuses a turn that could ask the model nothing.
    async fn check_budgets(&self, caller: &Principal, session: &Session) -> Result<(), Error> {
        let spender = Spender {
            user: session.user.clone(),
            session: session.id,
            turn: None,
            key: caller.key,
        };
        let now = self.clock.now();
        let budgets = self
            .store
            .list_budgets(caller.tenant, Some(&spender), now, None, BUDGETS_MAX)
            .await?;
        let spent = |standing: &&BudgetStanding| standing.verdict() == BudgetVerdict::Exhausted;
        match budgets.iter().find(spent) {
            Some(standing) => Err(Error::BudgetExceeded {
                budget: standing.budget.describe(),
            }),
            None => Ok(()),
        }
    }

    /// The turn that an earlier request with the same key began.
    async fn join(
        &self,
        caller: &Principal,
        session: SessionId,
        TurnReceipt { turn, after }: TurnReceipt,
    ) -> Result<StartedTurn, Error> {
        let find = || self.store.find_turn(caller.tenant, session, turn);
        let turn = find().await?.ok_or(Error::TurnNotFound)?;
        if turn.outcome.is_none()
            && let Some(running) = self.agents.follow(&turn, after)
        {
            return Ok(running);
        }
        // It may have ended between the two looks.
        let turn = find().await?.ok_or(Error::TurnNotFound)?;
        let ended = if turn.outcome.is_none() && self.agents.has_others() {
            self.agents.watch_elsewhere(caller.tenant, &turn, after)
        } else {
            let ended = turn.outcome.is_some().then(|| Arc::new(turn.clone()));
            watch::Sender::new(ended).subscribe()
        };
        Ok(StartedTurn { turn, after, ended })
    }
}
