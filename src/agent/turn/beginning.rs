//! The beginning of a turn: stored, and told to whoever asked for it; at once, or once the session is its own.

use tokio::sync::oneshot;

use super::super::line::{TurnPlace, TurnTicket};
use super::super::log::{Hold, LogError};
use super::super::manager::TurnRefused;
use super::waiting::{broken, stopped};
use super::{StartedTurn, TurnRun};
use crate::domain::{EventBody, EventId, SessionStatus, TurnError, TurnErrorCode, TurnStatus, WaitsFor};
use crate::store::StoreError;

/// How often a turn is begun again whose session another instance takes in that very moment.
const BEGIN_TRIES: u32 = 3;

impl TurnRun {
    pub(super) async fn begin_now(
        &mut self,
        place: TurnPlace,
        taken: oneshot::Sender<Result<StartedTurn, TurnRefused>>,
    ) -> Option<TurnPlace> {
        match self.begin().await {
            Ok(after) => {
                self.tell_taken(after, taken);
                Some(place)
            }
            Err(error) => {
                self.runtime.log.let_go().await;
                let _waits = taken.send(Err(error.into()));
                None
            }
        }
    }

    /// Stores the turn as one that waits, and waits. `None` when it ended without having begun.
    pub(super) async fn begin_later(
        &mut self,
        mut ticket: TurnTicket,
        taken: oneshot::Sender<Result<StartedTurn, TurnRefused>>,
    ) -> Option<TurnPlace> {
        let waits = EventBody::TurnQueued {
            waits_for: WaitsFor::Session,
            position: ticket.position(),
        };
        match self
            .runtime
            .log
            .queue_turn(&self.plan.turn, vec![waits], self.plan.request_key.as_deref())
            .await
        {
            Ok((after, hold)) => {
                self.control.note_stored();
                self.hold = Some(hold);
                self.tell_taken(after, taken);
            }
            Err(error) => {
                let _waits = taken.send(Err(error.into()));
                return None;
            }
        }
        let granted = tokio::select! {
            biased;
            reason = stopped(self.signals.stop.clone(), self.deadline) => Err(broken(reason)),
            place = ticket.granted() => Ok(place),
        };
        drop(ticket);
        // The place, if there is one, is passed on only when the turn has its outcome.
        let (_place, error) = match granted {
            Ok(place) => match self.begin_queued().await {
                Ok(()) => return Some(place),
                Err(error) => (Some(place), error),
            },
            Err(error) => (None, error),
        };
        if let Some(turn) = self.store_unbegun(error).await {
            self.control.set_ended(turn);
        }
        None
    }

    /// Begins a turn that waited, in the session as it is now.
    async fn begin_queued(&mut self) -> Result<(), TurnError> {
        let stored = self
            .shared
            .store
            .find_session(self.plan.session.tenant, self.plan.session.id)
            .await;
        match stored {
            Ok(Some(session)) if session.status == SessionStatus::Active => self.plan.session = session,
            Ok(_) => return Err(broken(TurnErrorCode::SessionClosed)),
            Err(_) => return Err(broken(TurnErrorCode::StoreUnavailable)),
        }
        self.plan.turn.started_at = self.shared.clock.now();
        match self.begin().await {
            Ok(_) => Ok(()),
            Err(LogError::SessionMissing | LogError::Store(StoreError::SessionGone { .. })) => {
                Err(broken(TurnErrorCode::SessionClosed))
            }
            Err(error) => {
                tracing::error!(turn.id = %self.plan.turn.id, error = &error as &dyn std::error::Error,
                    "a turn that waited was not begun");
                Err(broken(TurnErrorCode::StoreUnavailable))
            }
        }
    }

    /// Tells that the turn is taken.
    fn tell_taken(&self, after: EventId, taken: oneshot::Sender<Result<StartedTurn, TurnRefused>>) {
        // Nobody may be waiting any more; the turn runs all the same.
        let _waits = taken.send(Ok(self.started(after)));
    }

    fn started(&self, after: EventId) -> StartedTurn {
        StartedTurn {
            turn: self.plan.turn.clone(),
            after,
            ended: self.control.ended(),
        }
    }

    /// Begins the turn in the session as it is. Another instance may take the session in this very moment: then this one
    /// takes it back, if that one is in no turn of it.
    async fn begin(&mut self) -> Result<EventId, LogError> {
        let mut tries = 0;
        loop {
            let hold = self.runtime.log.take().await?;
            match self.begin_in(hold).await {
                Err(LogError::Fenced | LogError::Store(StoreError::StaleEpoch { .. }))
                    if tries < BEGIN_TRIES =>
                {
                    tries += 1;
                }
                begun => {
                    self.hold = Some(hold);
                    return begun;
                }
            }
        }
    }

    async fn begin_in(&mut self, hold: Hold) -> Result<EventId, LogError> {
        if self.shared.cluster.is_some() || self.runtime.was_rewound() {
            // Another instance may have gone on with it since it was looked up, or it went back.
            let (tenant, session) = (self.plan.session.tenant, self.plan.session.id);
            let stored = self.shared.store.find_session(tenant, session).await?;
            self.plan.session = stored.ok_or(LogError::SessionMissing)?;
        }
        let session = &self.plan.session;
        let mut bodies = vec![
            EventBody::Message {
                text: self.plan.turn.message.clone(),
                attachments: self.plan.attachments.clone(),
            },
            EventBody::Session {
                session_id: session.id,
                claude_session_id: session.claude_session_id,
                model: session.options.model.clone(),
                permission_mode: session.options.permission_mode,
            },
        ];
        self.told_started = self.runtime.is_live() || !self.shared.pool.is_full();
        if self.told_started {
            bodies.push(EventBody::TurnStarted {});
        }
        let after = self
            .runtime
            .log
            .begin_turn(hold, &self.plan.turn, bodies, self.plan.request_key.as_deref())
            .await?;
        self.control.note_stored();
        self.control.set_status(if self.told_started {
            TurnStatus::Running
        } else {
            TurnStatus::Queued
        });
        Ok(after)
    }
}
