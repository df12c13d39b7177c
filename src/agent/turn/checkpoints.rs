//! The checkpoints of a turn: what its workspace was like before its agent was at it, and when it was done.
//!
//! None of them decides about the turn: one that cannot be taken is told in the log of the server and in the list of
//! checkpoints, and the turn goes on.

use std::time::Duration;

use super::TurnRun;
use super::waiting::stopped;
use crate::checkpoints::{Patience, TakeError};
use crate::domain::{Moment, TurnErrorCode};

/// How long one may still take when the server is to end: the turn's outcome is not stored before.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

impl TurnRun {
    /// Takes one, where the session wants that.
    pub(super) async fn take_checkpoint(&self, moment: Moment) {
        let (session, turn) = (&self.plan.session, self.plan.turn.id);
        let wanted = session
            .options
            .checkpoints
            .unwrap_or(self.shared.settings.checkpoints_by_default);
        let is_closing = matches!(*self.signals.stop.borrow(), Some(TurnErrorCode::SessionClosed));
        if !wanted || self.fenced || is_closing {
            return;
        }
        let checkpoints = &self.shared.settings.checkpoints;
        let patience = Patience::lasting(checkpoints.timeout());
        let kept = checkpoints.of(session.tenant, session.id);
        let workspace = self.plan.folders.workspace.dir().try_clone();
        let (now, clone) = (self.shared.clock.now(), patience.clone());
        let mut taking = tokio::task::spawn_blocking(move || {
            kept.take(&workspace.map_err(TakeError::from)?, turn, moment, now, &clone)
        });
        let taken = tokio::select! {
            taken = &mut taking => taken,
            () = self.no_longer_wanted(moment) => {
                patience.give_up();
                // It looks at that again and again, so this is soon.
                taking.await
            }
        };
        match taken {
            Ok(Ok(taken)) => {
                tracing::debug!(turn.id = %turn, %moment, files = taken.files, stored_bytes = taken.stored_bytes,
                    "a checkpoint was taken");
                if taken.not_kept > 0 {
                    tracing::info!(turn.id = %turn, %moment, files = taken.not_kept,
                        "some of a workspace is not kept, and stays as it is when it is gone back");
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(turn.id = %turn, %moment, error = &error as &dyn std::error::Error,
                    "no checkpoint was taken; the turn goes on without");
            }
            Err(error) => {
                tracing::error!(turn.id = %turn, %moment, error = &error as &dyn std::error::Error,
                    "taking a checkpoint broke off");
            }
        }
    }

    /// Ends when nobody needs it any more: the turn is stopped before it has begun, or the server has to end.
    async fn no_longer_wanted(&self, moment: Moment) {
        match moment {
            Moment::Before => {
                stopped(self.signals.stop.clone(), self.deadline).await;
            }
            Moment::After => {
                let shutdown = &self.shared.shutdown;
                let too_long = async {
                    shutdown.begun().await;
                    tokio::time::sleep(LAST_PATIENCE).await;
                };
                tokio::select! {
                    () = too_long => {}
                    () = shutdown.forced() => {}
                }
            }
        }
    }
}
