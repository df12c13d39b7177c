//! What happens to sessions between instances: one is taken from here, is given back, or was left by an instance that died.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::broadcast::error::RecvError;

use super::log::LogError;
use super::manager::{Agents, Shared};
use super::runtime::SessionRuntime;
use crate::cluster::{Cluster, Heard};
use crate::domain::{Epoch, SessionId, TurnErrorCode};
use crate::store::StoreError;

/// How many abandoned sessions are settled in one step.
const BATCH: u32 = 100;
/// How often it is tried to settle a turn whose end the store did not take.
const SETTLE_AGAIN: Duration = Duration::from_secs(1);

impl Agents {
    /// Does what has to be done when other instances take sessions, or close them, for as long as the server runs.
    pub async fn heed_others(&self, cluster: Cluster) {
        let mut heard = cluster.hear();
        loop {
            let next = tokio::select! {
                next = heard.recv() => next,
                () = self.shared.shutdown.streams_to_end() => return,
            };
            match next {
                Ok(Heard::Taken(session, epoch)) => {
                    if let Some(runtime) = self.shared.known(session) {
                        let shared = Arc::clone(&self.shared);
                        self.shared
                            .tasks
                            .spawn(async move { shared.lose(&runtime, epoch).await });
                    }
                }
                Ok(Heard::Free(session)) => {
                    if let Some(runtime) = self.shared.known(session) {
                        runtime.note_news();
                    }
                }
                Ok(Heard::Gone(tenant, session)) => {
                    let shared = Arc::clone(&self.shared);
                    self.shared
                        .tasks
                        .spawn(async move { shared.close(tenant, session).await });
                }
                Ok(Heard::Missed) | Err(RecvError::Lagged(_)) => self.look_at_all(&cluster).await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Ends the agent of a session that another instance has taken under this epoch; answers when nothing of it is left.
    pub async fn give_up(&self, session: SessionId, epoch: Epoch) {
        if let Some(runtime) = self.shared.known(session) {
            self.shared.lose(&runtime, epoch).await;
        }
    }

    /// Ends all that there is: this instance counts as dead, and others go on with its sessions.
    pub async fn end_all(&self) {
        let runtimes: Vec<_> = self.shared.lock_runtimes().values().cloned().collect();
        for runtime in &runtimes {
            runtime.log.fence();
            runtime.line.stop_stored(TurnErrorCode::TurnUnknown);
        }
        join_all(runtimes.iter().map(|runtime| runtime.drop_left_over())).await;
        for runtime in &runtimes {
            runtime.note_news();
        }
    }

    /// Settles turns that dead instances have left, for as long as the server runs. Every instance looks; whichever takes a
    /// session first settles it.
    pub async fn settle_abandoned(&self, cluster: Cluster) {
        let shutdown = &self.shared.shutdown;
        loop {
            tokio::select! {
                () = tokio::time::sleep(cluster.heartbeat_interval() / 2) => {}
                () = shutdown.begun() => return,
            }
            if let Err(error) = self.settle_once(&cluster).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what dead instances have left is not settled; it is tried again"
                );
            }
        }
    }

    /// The same, once; how many sessions there were.
    pub async fn settle_once(&self, cluster: &Cluster) -> Result<u64, StoreError> {
        let mut settled = 0;
        loop {
            let abandoned = cluster.abandoned(BATCH).await?;
            let (found, before) = (abandoned.len(), settled);
            for (tenant, session) in abandoned {
                if cluster.other_holder(tenant, session).await?.is_some() {
                    // Another is at it already.
                    continue;
                }
                let runtime = self.shared.runtime(tenant, session);
                match runtime.log.take().await {
                    Ok(_) => settled += 1,
                    // Another is at it.
                    Err(LogError::Elsewhere(_) | LogError::Fenced | LogError::SessionMissing) => {}
                    Err(LogError::Store(error)) => return Err(error),
                    Err(error) => {
                        tracing::error!(session.id = %session, error = &error as &dyn std::error::Error,
                            "a turn that a dead instance has left was not settled");
                    }
                }
                if !runtime.is_busy() && !runtime.is_live() {
                    runtime.log.release().await;
                }
            }
            // What is left is tried again at the next look, and not at once.
            if found < BATCH as usize || settled == before {
                break;
            }
        }
        if settled > 0 {
            tracing::warn!(
                sessions = settled,
                "settled turns that dead instances left, or goes on with them"
            );
        }
        if cluster.bury().await? > 0 {
            tracing::info!("forgot instances that are dead");
        }
        Ok(settled)
    }

    /// Looks whether what is here still is.
    async fn look_at_all(&self, cluster: &Cluster) {
        let runtimes: Vec<_> = self.shared.lock_runtimes().values().cloned().collect();
        for runtime in runtimes {
            runtime.note_news();
            if !runtime.log.is_owned() {
                continue;
            }
            let holder = cluster.other_holder(runtime.tenant, runtime.session).await;
            if let Ok(Some(_other)) = holder {
                runtime.log.fence();
                runtime.drop_left_over().await;
            }
        }
    }
}

impl Shared {
    /// A session is another instance's from this epoch on.
    async fn lose(&self, runtime: &SessionRuntime, epoch: Epoch) {
        if runtime.log.revoke(epoch) {
            runtime.line.stop_stored(TurnErrorCode::TurnUnknown);
            self.metrics.agent_evicted("moved");
        }
        runtime.drop_left_over().await;
        runtime.note_news();
    }

    /// Settles a turn whose end the store did not take, once it does: until then the session counts as busy.
    pub(super) fn settle_later(&self, runtime: &Arc<SessionRuntime>) {
        let (runtime, shutdown) = (Arc::clone(runtime), self.shutdown.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(SETTLE_AGAIN) => {}
                    () = shutdown.begun() => return,
                }
                match runtime.log.take().await {
                    Err(LogError::Store(_)) => {}
                    // Or it is another instance's by now, which has settled it.
                    Ok(_) | Err(_) => return,
                }
            }
        });
    }

    /// Gives sessions back that nothing here needs.
    pub(super) async fn release_idle(&self, runtimes: &[Arc<SessionRuntime>]) {
        for runtime in runtimes {
            if runtime.log.is_owned() && !runtime.is_busy() && !runtime.is_live() {
                runtime.log.release().await;
            }
        }
    }
}

impl SessionRuntime {
    /// Kills the agent if it is of a time in which the session was this instance's.
    async fn drop_left_over(&self) {
        let left_over = {
            let mut slot = self.agent.lock().await;
            slot.take_if(|live| live.is_left_over(&self.log))
        };
        if let Some(live) = left_over {
            live.agent.kill().await;
        }
    }
}
