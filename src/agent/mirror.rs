//! Has this process hear of a session whose log another instance writes.
//!
//! While anyone follows the log here, its tail in memory is kept as the other instance has it, pieces of messages too; what
//! came before is in the store. When the session goes to another instance, or to none, or comes here, that is heard of,
//! and looked at.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::feed::FeedItem;
use super::manager::Shared;
use super::runtime::SessionRuntime;
use crate::cluster::{Cluster, LogLine, PeerError};
use crate::domain::Instance;

/// How long is waited before a store, or an instance, that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How long a reader waits at most until it is known what another instance has of the log.
const SETTLE_PATIENCE: Duration = Duration::from_secs(2);

/// That a log is followed here. With the last one that is dropped, it no longer is.
#[derive(Debug)]
pub(super) struct Mirrored {
    settled: watch::Sender<bool>,
    _until: DropGuard,
}

impl Mirrored {
    /// Whether it is known who writes the log, and what of it is not in the store.
    pub(super) fn is_settled(&self) -> bool {
        *self.settled.borrow()
    }

    /// Waits until it is known who writes the log, and what of it is not in the store.
    pub(super) async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        let _in_time = tokio::time::timeout(SETTLE_PATIENCE, settled.wait_for(|settled| *settled)).await;
    }
}

impl Shared {
    /// Has this process hear of a session, where there can be other instances.
    pub(super) fn mirror(&self, runtime: &Arc<SessionRuntime>) -> Option<Arc<Mirrored>> {
        let cluster = self.cluster.clone()?;
        Some(runtime.mirrored(|| {
            let (until, settled) = (CancellationToken::new(), watch::Sender::new(false));
            let mirror = Mirror {
                cluster,
                runtime: Arc::clone(runtime),
                settled: settled.clone(),
            };
            let over = until.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = over.cancelled() => {}
                    () = mirror.run() => {}
                }
            });
            Arc::new(Mirrored {
                settled,
                _until: until.drop_guard(),
            })
        }))
    }
}

struct Mirror {
    cluster: Cluster,
    runtime: Arc<SessionRuntime>,
    settled: watch::Sender<bool>,
}

impl Mirror {
    async fn run(self) {
        let mut owned = self.runtime.log.watch_ownership();
        let mut news = self.runtime.news();
        loop {
            // Before the look: what is heard from now on ends the wait after it.
            owned.borrow_and_update();
            news.borrow_and_update();
            if self.runtime.log.is_owned() {
                self.settled.send_replace(true);
                if owned.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let (tenant, session) = (self.runtime.tenant, self.runtime.session);
            match self.cluster.other_holder(tenant, session).await {
                Ok(Some(peer)) => {
                    self.settled.send_replace(false);
                    let followed = tokio::select! {
                        followed = self.follow(&peer) => followed,
                        // It is here now.
                        _ = owned.changed() => continue,
                        _ = news.changed() => continue,
                    };
                    if let Err(error) = followed {
                        tracing::info!(session.id = %session, error = &error as &dyn std::error::Error,
                            "a log cannot be followed at the instance that writes it");
                    }
                    // Whoever has it next is heard of, or the one that has it is looked for again.
                    tokio::select! {
                        () = tokio::time::sleep(ASK_AGAIN) => {}
                        _ = owned.changed() => {}
                        _ = news.changed() => {}
                    }
                }
                Ok(None) => {
                    self.runtime.log.forget_feed().await;
                    self.settled.send_replace(true);
                    tokio::select! {
                        _ = owned.changed() => {}
                        _ = news.changed() => {}
                    }
                }
                Err(_unanswered) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    async fn follow(&self, peer: &Instance) -> Result<(), PeerError> {
        let mut log = self.cluster.follow(peer, self.runtime.session).await?;
        let mut behind = None;
        while let Some(line) = log.next().await {
            let here = match line {
                LogLine::Start { stored, shown } => {
                    behind = Some(shown).filter(|shown| *shown > stored);
                    self.runtime.log.mirror_from(stored).await
                }
                LogLine::Item {
                    id,
                    turn,
                    kind,
                    terminal,
                    event,
                } => {
                    let item = FeedItem {
                        id,
                        turn,
                        kind,
                        terminal,
                        json: String::from(Box::<str>::from(event)).into(),
                    };
                    behind = behind.filter(|shown| id < *shown);
                    self.runtime.log.mirror_item(item).await
                }
                LogLine::Alive => true,
            };
            if !here {
                break;
            }
            // From here on it is known what was shown when it was asked.
            if behind.is_none() && !*self.settled.borrow() {
                self.settled.send_replace(true);
            }
        }
        Ok(())
    }
}
