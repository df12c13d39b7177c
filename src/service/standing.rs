//! Whether a caller who stays connected may stay: what was allowed when it came may be over since.

use std::sync::Arc;
use std::time::Duration;

use super::authentication::AuthenticationService;
use crate::domain::Principal;
use crate::lifecycle::Shutdown;

/// Why a connection is ended that its client would have kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The credential was revoked or has ended, or its tenant is suspended.
    Credential,
    /// The server stops.
    Shutdown,
}

/// Ends when a caller's connection is to be ended, as it is seen every so often.
pub(super) async fn until_over(
    authentication: Arc<AuthenticationService>,
    caller: Principal,
    shutdown: Shutdown,
    every: Duration,
) -> Over {
    let revoked = async {
        loop {
            tokio::time::sleep(every).await;
            match authentication.still_stands(&caller).await {
                Ok(true) => {}
                Ok(false) => return,
                // A store that does not answer now says nothing about anybody.
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "whether a caller may stay connected is not known"
                ),
            }
        }
    };
    tokio::select! {
        () = revoked => Over::Credential,
        () = shutdown.streams_to_end() => Over::Shutdown,
    }
}
