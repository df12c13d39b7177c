//! What a turn waits for besides its agent's messages, and why it ends without a result.

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::handle::AgentEnd;
use crate::domain::{TurnError, TurnErrorCode};

/// Ends when the turn is to be stopped: with the reason it is told, or at its deadline.
pub(super) async fn stopped(
    mut stop: watch::Receiver<Option<TurnErrorCode>>,
    deadline: Option<Instant>,
) -> TurnErrorCode {
    let told = async {
        let told = stop.wait_for(Option::is_some).await.map(|reason| *reason);
        match told {
            Ok(Some(reason)) => reason,
            // Nobody is left who could stop it.
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        reason = told => reason,
        () = until(deadline), if deadline.is_some() => TurnErrorCode::TurnTimeout,
    }
}

/// Ends when a turn that was told to end has had its time: with the reason for which it was told to.
pub(super) async fn out_of_grace(stopping: Option<(TurnErrorCode, Instant)>) -> TurnErrorCode {
    match stopping {
        Some((reason, until)) => {
            tokio::time::sleep_until(until).await;
            reason
        }
        None => std::future::pending().await,
    }
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

pub(super) fn crashed(end: &AgentEnd) -> TurnError {
    let message = if end.complaint.is_empty() {
        format!("the CLI ended in the middle of the turn, with {}", end.status)
    } else {
        format!(
            "the CLI ended in the middle of the turn, with {}: {}",
            end.status, end.complaint
        )
    };
    TurnError {
        code: TurnErrorCode::AgentCrashed,
        message,
    }
}

/// A turn's end for a reason that says it all.
pub(super) fn broken(code: TurnErrorCode) -> TurnError {
    let message = match code {
        TurnErrorCode::TurnTimeout => "the turn reached the time limit that was asked for",
        TurnErrorCode::TurnInterrupted => "the turn was interrupted",
        TurnErrorCode::WorkspaceFull => {
            "the session's folders hold more than they may (isolation.disk_max_bytes, isolation.disk_max_entries); all that ran was ended"
        }
        TurnErrorCode::ServerShutdown => "the server stopped before the turn ended",
        TurnErrorCode::SessionClosed => "the session was closed before the turn ended",
        TurnErrorCode::TurnUnknown => {
            "another instance has taken the session; some of the turn's tools may have run"
        }
        TurnErrorCode::StoreUnavailable => "the store did not take the turn's events",
        _ => "the agent did not end the turn when it was told to",
    };
    TurnError {
        code,
        message: message.to_owned(),
    }
}
