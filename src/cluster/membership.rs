//! How an instance joins, lives, is taken for dead, joins anew, and leaves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::peers::client;
use super::{Cluster, ClusterSettings, Member, NOTICES, Shared};
use crate::domain::{Clock as _, Instance, InstanceId, SharedClock};
use crate::lifecycle::Shutdown;
use crate::security::peer_tokens::PeerTokens;
use crate::store::StoreError;
use crate::store::sql::instances::{Beat, Instances};

/// Why an instance did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others cannot be asked.
    #[error("what asks other instances cannot be made")]
    Client(#[from] reqwest::Error),
    /// It was taken for dead at once.
    #[error("the lease had ended before it began; instance.lease_ttl is too short for this database")]
    TooSlow,
}

/// What came of saying that this instance lives.
enum Said {
    Lives,
    Dead,
    Unheard,
}

impl Cluster {
    /// Joins the instances that share a database.
    pub async fn join(
        settings: ClusterSettings,
        instances: Instances,
        clock: Arc<SharedClock>,
        tokens: PeerTokens,
        tls: rustls::ClientConfig,
    ) -> Result<Self, JoinError> {
        let own = new_run(&settings, &clock);
        let cluster = Self(Arc::new(Shared {
            http: client(tls, settings.peer_timeout)?,
            settings,
            instances,
            clock,
            tokens,
            member: watch::Sender::new(Member {
                own: own.clone(),
                until: None,
                alive: Arc::default(),
                superseded: false,
            }),
            heard: broadcast::Sender::new(NOTICES),
        }));
        cluster.enter(own).await?;
        Ok(cluster)
    }

    /// Lives for as long as the server runs. When this instance is, or may be, taken for dead, `end_all` ends all that it
    /// has; then it joins anew, unless another run has its name: then the server ends.
    pub async fn run_membership<F: Future<Output = ()>>(
        self,
        shutdown: Shutdown,
        stopped: impl Future<Output = ()>,
        end_all: impl Fn() -> F,
    ) {
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                () = self.live() => {}
                () = &mut stopped => break,
            }
            tracing::error!(instance.name = %self.name(),
                "this instance could not say in time that it lives; all that it has is ended");
            end_all().await;
            tokio::select! {
                rejoined = self.rejoin() => if !rejoined {
                    tracing::error!(instance.name = %self.name(),
                        "another server runs under this instance's name (instance.id); this one ends");
                    self.0.member.send_modify(|member| member.superseded = true);
                    shutdown.force();
                    return;
                },
                () = &mut stopped => break,
            }
        }
        let own = self.0.member.borrow().own.id;
        let left = tokio::time::timeout(self.0.settings.peer_timeout, self.0.instances.leave(own)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::warn!("this instance could not take its leave; others find out by themselves");
        }
    }

    /// Says that this instance lives again and again; ends when it is, or may be, taken for dead.
    async fn live(&self) {
        let interval = self.0.settings.heartbeat_interval;
        loop {
            let until = self.0.member.borrow().until;
            let Some(until) = until else { return };
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => break,
                said = async {
                    tokio::time::sleep(interval).await;
                    self.say().await
                } => match said {
                    Said::Lives | Said::Unheard => {}
                    Said::Dead => break,
                },
            }
        }
        self.0.member.send_modify(|member| member.until = None);
    }

    /// Says once that this instance lives.
    async fn say(&self) -> Said {
        let shared = &*self.0;
        let (own, began) = (shared.member.borrow().own.id, Instant::now());
        match shared.instances.beat(own, shared.settings.lease_ttl).await {
            Ok(Some(beat)) => {
                self.lives(beat, began);
                Said::Lives
            }
            Ok(None) => Said::Dead,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the database did not hear that this instance lives"
                );
                Said::Unheard
            }
        }
    }

    fn lives(&self, beat: Beat, began: Instant) {
        let shared = &*self.0;
        let ago = TimeDelta::from_std(began.elapsed()).unwrap_or_default();
        shared.clock.set(beat.now, ago);
        // Counted from before the question: the database counts from later.
        let until = began + shared.settings.lease_ttl;
        shared.member.send_modify(|member| {
            member.until = Some(until);
            member.alive = beat.alive.into();
        });
    }

    async fn enter(&self, own: Instance) -> Result<(), JoinError> {
        self.0.instances.join(&own, self.0.settings.lease_ttl).await?;
        self.0.member.send_modify(|member| member.own = own);
        match self.say().await {
            Said::Lives => Ok(()),
            Said::Dead | Said::Unheard => Err(JoinError::TooSlow),
        }
    }

    /// Joins as a new run; whether nobody else has taken the name.
    async fn rejoin(&self) -> bool {
        let again: Duration = self.0.settings.heartbeat_interval;
        loop {
            let old = self.0.member.borrow().own.clone();
            match self.0.instances.is_superseded(&old).await {
                Ok(true) => return false,
                Ok(false) => {
                    let own = new_run(&self.0.settings, &self.0.clock);
                    match self.enter(own).await {
                        Ok(()) => {
                            tracing::info!(instance.name = %self.name(), "this instance has joined anew");
                            return true;
                        }
                        Err(error) => tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "this instance does not get to join anew"
                        ),
                    }
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the database does not answer; this instance joins anew when it does"
                ),
            }
            tokio::time::sleep(again).await;
        }
    }
}

fn new_run(settings: &ClusterSettings, clock: &SharedClock) -> Instance {
    Instance {
        id: InstanceId::generate(clock),
        name: settings.name.clone(),
        url: settings.url.clone(),
        joined_at: clock.now(),
    }
}
