//! Asking other instances, by HTTP at the address that they registered.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::messages::{LogLine, PeerAnswer, PeerCommand, PeerRequest};
use super::{Cluster, Shared};
use crate::domain::{Instance, InstanceId, SessionId, TenantId};

/// The longest line of a log: more than the longest event.
/// How many signs of life may be missed before a connection is given up.
const MISSED_SIGNS: u32 = 3;

/// Why another instance did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It cannot be reached, or did not answer in time.
    #[error("instance {name} at {url} cannot be reached")]
    Unreachable {
        /// What it is called.
        name: String,
        /// Where it is said to be.
        url: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// It takes no request that is so long (`instance.message_max_bytes`).
    #[error("instance {name} takes no request that is so long")]
    TooLong {
        /// What it is called.
        name: String,
    },
    /// Something else answers at its address.
    #[error("instance {name} at {url} answered with status {status}")]
    NotThere {
        /// What it is called.
        name: String,
        /// Where it is said to be.
        url: String,
        /// The status.
        status: u16,
    },
}

/// A session's log at the instance that writes it, as it comes.
pub struct PeerLog {
    lines: std::pin::Pin<Box<dyn Stream<Item = Result<String, LinesCodecError>> + Send>>,
    patience: Duration,
}

impl std::fmt::Debug for PeerLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerLog").finish_non_exhaustive()
    }
}

impl PeerLog {
    /// The next line; `None` when there is no more: the instance does not have the session any more, or is lost.
    pub async fn next(&mut self) -> Option<LogLine> {
        let line = tokio::time::timeout(self.patience, self.lines.next()).await;
        let line = line.ok()??.ok()?;
        serde_json::from_str(&line).ok()
    }
}

/// Makes the client by which other instances are asked.
pub(super) fn client(
    tls: rustls::ClientConfig,
    connect_timeout: Duration,
) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        // Between instances there is no proxy.
        .no_proxy()
        .connect_timeout(connect_timeout)
        .tcp_nodelay(true)
        .build()
}

impl Cluster {
    /// An instance that lives, by its run.
    #[must_use]
    pub fn peer(&self, id: InstanceId) -> Option<Instance> {
        self.alive().iter().find(|peer| peer.id == id).cloned()
    }

    /// Asks an instance to do something with a session.
    pub async fn ask(
        &self,
        peer: &Instance,
        tenant: TenantId,
        session: SessionId,
        command: PeerCommand,
        patience: Option<Duration>,
    ) -> Result<PeerAnswer, PeerError> {
        let request = PeerRequest {
            tenant,
            session,
            command,
        };
        let shared = &*self.0;
        let asked = shared
            .http
            .post(address(peer, "commands"))
            .bearer_auth(shared.tokens.token_for(peer.id))
            .timeout(patience.unwrap_or(shared.settings.peer_timeout))
            .json(&request)
            .send()
            .await
            .map_err(|error| unreachable(peer, error))?;
        let answered = well(peer, asked)?;
        answered.json().await.map_err(|error| unreachable(peer, error))
    }

    /// Asks the instance that had a session to end its agent, before one is started here.
    pub(crate) async fn ask_to_drop(
        &self,
        peer: &Instance,
        tenant: TenantId,
        session: SessionId,
        epoch: crate::domain::Epoch,
    ) {
        let command = PeerCommand::drop_for(epoch);
        let patience = self.0.settings.handover_timeout;
        if let Err(error) = self.ask(peer, tenant, session, command, Some(patience)).await {
            // It is fenced all the same: nothing that its agent says is taken.
            tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error,
                "the instance that had a session did not say that its agent has ended");
        }
    }

    /// Follows a session's log at the instance that writes it.
    pub async fn follow(&self, peer: &Instance, session: SessionId) -> Result<PeerLog, PeerError> {
        let Shared {
            http,
            tokens,
            settings,
            ..
        } = &*self.0;
        let asked = http
            .get(address(peer, &format!("logs/{session}")))
            .bearer_auth(tokens.token_for(peer.id))
            .send();
        let asked = tokio::time::timeout(settings.peer_timeout, asked).await;
        let answered = match asked {
            Ok(asked) => well(peer, asked.map_err(|error| unreachable(peer, error))?)?,
            Err(_late) => {
                return Err(PeerError::NotThere {
                    name: peer.name.to_string(),
                    url: peer.url.clone(),
                    status: 0,
                });
            }
        };
        let bytes = answered.bytes_stream().map_err(std::io::Error::other);
        let lines = FramedRead::new(
            StreamReader::new(bytes),
            LinesCodec::new_with_max_length(settings.message_max_bytes),
        );
        Ok(PeerLog {
            lines: Box::pin(lines),
            patience: settings.heartbeat_interval * MISSED_SIGNS,
        })
    }
}

fn address(peer: &Instance, what: &str) -> String {
    format!("{}/internal/v1/{what}", peer.url.trim_end_matches('/'))
}

fn unreachable(peer: &Instance, source: reqwest::Error) -> PeerError {
    PeerError::Unreachable {
        name: peer.name.to_string(),
        url: peer.url.clone(),
        source: source.without_url(),
    }
}

fn well(peer: &Instance, answered: reqwest::Response) -> Result<reqwest::Response, PeerError> {
    if answered.status().is_success() {
        return Ok(answered);
    }
    if answered.status() == reqwest::StatusCode::PAYLOAD_TOO_LARGE {
        return Err(PeerError::TooLong {
            name: peer.name.to_string(),
        });
    }
    Err(PeerError::NotThere {
        name: peer.name.to_string(),
        url: peer.url.clone(),
        status: answered.status().as_u16(),
    })
}
