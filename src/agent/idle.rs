//! Holding a session in which no turn runs, so that none begins while something is done with it.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::line::{Admission, NotAdmitted, OnBusy, TurnControl, TurnPlace};
use super::log::{Hold, LogError};
use super::manager::{Agents, TurnRefused};
use super::runtime::SessionRuntime;
use crate::checkpoints::SessionCheckpoints;
use crate::domain::{EventBody, Session, SessionId, SessionStatus, TenantId, TranscriptPath, TurnId};
use crate::store::Store;

/// How long a turn may take to go whose end is stored.
const LEAVING: Duration = Duration::from_secs(2);

/// A session in which no turn runs, and none begins until this is dropped.
#[derive(Debug)]
pub struct IdleSession {
    runtime: Arc<SessionRuntime>,
    store: Arc<dyn Store>,
    hold: Hold,
    _place: TurnPlace,
}

impl Agents {
    /// Takes a session in which no turn runs or waits.
    pub async fn hold_idle(&self, tenant: TenantId, session: SessionId) -> Result<IdleSession, TurnRefused> {
        if self.shared.shutdown.has_begun() {
            return Err(TurnRefused::ShuttingDown);
        }
        let runtime = self.shared.runtime(tenant, session);
        if !runtime.log.is_owned() {
            // A turn that a lost server left may have to go on first.
            runtime.log.take().await?;
        }
        // In the place of a turn, of which nobody hears.
        let (control, _signals) = TurnControl::new(TurnId::generate(&*self.shared.clock));
        let mut entered = runtime.line.enter(&control, OnBusy::Reject, 0);
        if entered.is_err() {
            // A turn whose end is stored, and may be known, goes in this very moment.
            let store = &self.shared.store;
            let unfinished = store.unfinished_turns(tenant, session).await;
            if unfinished.map_err(LogError::from)?.is_empty() {
                let _in_time = tokio::time::timeout(LEAVING, runtime.line.until_empty()).await;
                entered = runtime.line.enter(&control, OnBusy::Reject, 0);
            }
        }
        let place = match entered {
            Ok(Admission::Now(place)) => place,
            Ok(Admission::Later(_)) | Err(NotAdmitted::Busy | NotAdmitted::Full) => {
                return Err(TurnRefused::Busy);
            }
        };
        let hold = runtime.log.take().await?;
        runtime.touch();
        Ok(IdleSession {
            runtime,
            store: Arc::clone(&self.shared.store),
            hold,
            _place: place,
        })
    }

    /// A session's checkpoints.
    #[must_use]
    pub fn checkpoints(&self, tenant: TenantId, session: SessionId) -> SessionCheckpoints {
        self.shared.settings.checkpoints.of(tenant, session)
    }

    /// Removes a session's checkpoints. They may be many.
    pub async fn remove_checkpoints(&self, tenant: TenantId, session: SessionId) {
        let kept = self.checkpoints(tenant, session);
        let removed = tokio::task::spawn_blocking(move || kept.remove()).await;
        if let Ok(Err(error)) | Err(error) = removed.map_err(std::io::Error::other) {
            tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error,
                "a session's checkpoints were not removed");
        }
    }

    /// Removes all that is left of a tenant's checkpoints.
    pub async fn remove_checkpoints_of(&self, tenant: TenantId) -> std::io::Result<()> {
        let checkpoints = self.shared.settings.checkpoints.clone();
        tokio::task::spawn_blocking(move || checkpoints.remove_tenant(tenant))
            .await
            .map_err(std::io::Error::other)?
    }

    /// Does something to its end, whoever waits for it; `None` when it broke off.
    pub async fn to_its_end<T: Send + 'static>(
        &self,
        what: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.shared.tasks.spawn(what.in_current_span()).await.ok()
    }
}

impl IdleSession {
    /// Ends the session's agent, with all that it started. The next turn looks at the session anew.
    pub async fn end_agent(&self) {
        self.runtime.note_rewound();
        let live = self.runtime.agent.lock().await.take();
        if let Some(live) = live {
            live.agent.stop().await;
        }
    }

    /// The session as it is stored, if it takes turns.
    pub async fn session(&self) -> Result<Session, LogError> {
        let found = self
            .store
            .find_session(self.runtime.tenant, self.runtime.session)
            .await?;
        let active = found.filter(|session| session.status == SessionStatus::Active);
        active.ok_or(LogError::SessionMissing)
    }

    /// Whether it still is held: another instance may have taken it.
    pub fn check(&self) -> Result<(), LogError> {
        if self.runtime.log.covers(self.hold) {
            Ok(())
        } else {
            Err(LogError::Fenced)
        }
    }

    /// Appends lines to its transcript.
    pub async fn write_transcript(&self, path: &TranscriptPath, lines: &[String]) -> Result<(), LogError> {
        let log = &self.runtime.log;
        log.append_transcript(Some(self.hold), path, lines)
            .await
            .map(|_| ())
    }

    /// Appends events that belong to no turn.
    pub async fn record(&self, bodies: Vec<EventBody>) -> Result<(), LogError> {
        self.check()?;
        self.runtime.log.append(None, bodies).await
    }
}
