//! Hears what other instances tell, over a connection of its own, and passes on what concerns sessions.
//!
//! What is told while the connection is lost is not heard; so whoever hears is then told to look at everything. A
//! connection on which this instance does not even hear itself is counted as lost.

use std::time::Duration;

use super::{Cluster, Heard};
use crate::lifecycle::Shutdown;
use crate::store::sql::instances::{Notice, Notices};

/// How many of its own signs of life an instance may miss before it connects anew.
const MISSED_SIGNS: u32 = 3;
/// How long is waited before it connects anew.
const CONNECT_AGAIN: Duration = Duration::from_millis(500);

impl Cluster {
    /// Hears, for as long as the server runs.
    pub async fn run_notices(self, shutdown: Shutdown) {
        loop {
            match self.0.instances.listen().await {
                Ok(notices) => {
                    self.pass_on(Heard::Missed);
                    self.hear_on(notices, &shutdown).await;
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "other instances cannot be heard"
                ),
            }
            tokio::select! {
                () = tokio::time::sleep(CONNECT_AGAIN) => {}
                () = shutdown.streams_to_end() => return,
            }
        }
    }

    async fn hear_on(&self, mut notices: Notices, shutdown: &Shutdown) {
        let patience = self.0.settings.heartbeat_interval * MISSED_SIGNS;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(patience, notices.next()) => next,
                () = shutdown.streams_to_end() => return,
            };
            match next {
                Ok(Ok(notice)) => self.take(notice),
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "other instances are not heard any more"
                    );
                    return;
                }
                Err(_silence) => {
                    tracing::warn!("nothing is heard of any instance; the connection is made anew");
                    return;
                }
            }
        }
    }

    fn take(&self, notice: Notice) {
        match notice {
            Notice::Taken(session, epoch, by) if Some(by) != self.own_id() => {
                self.pass_on(Heard::Taken(session, epoch));
            }
            Notice::Free(session) => self.pass_on(Heard::Free(session)),
            Notice::Gone(tenant, session) => self.pass_on(Heard::Gone(tenant, session)),
            Notice::Taken(..) | Notice::Beat(_) => {}
        }
    }

    fn pass_on(&self, heard: Heard) {
        // Nobody may work with sessions yet.
        let _hearers = self.0.heard.send(heard);
    }
}
