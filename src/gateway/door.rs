//! An agent's own way in: a port on loopback and a token, both of which end with the agent.
//!
//! The kernel lets an agent connect to its own port alone, and a token opens its own port alone. So a token that leaves its
//! agent is of no use to another.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::meter::{Account, Meter};
use super::{Gateway, Shared, forward};

/// What tokens begin with, so that a leaked one is known for what it is.
const PREFIX: &str = "pdk_agent_";
/// How long is waited after a connection could not be taken, for want of descriptors, say.
const BREATH: Duration = Duration::from_millis(50);

/// Why a door was not opened.
#[derive(Debug, thiserror::Error)]
pub enum DoorClosed {
    /// No port could be had.
    #[error("the gateway has no port for the agent")]
    Port(#[from] io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// An agent's own way to the model. It is closed when this is dropped.
#[derive(Debug)]
pub struct Door {
    port: u16,
    token: SecretString,
    meter: Meter,
    _open: DropGuard,
}

/// What a request needs to know of the door that it came through.
pub(super) struct Behind {
    pub(super) gateway: Arc<Shared>,
    pub(super) meter: Meter,
    token: [u8; 32],
}

impl Gateway {
    /// Opens a door for an agent of this account.
    pub async fn open_door(&self, account: Account) -> Result<Door, DoorClosed> {
        let shared = &self.shared;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let token = new_token()?;
        let meter = Meter::new(account);
        let behind = Arc::new(Behind {
            gateway: Arc::clone(shared),
            meter: meter.clone(),
            token: digest(token.expose_secret()),
        });
        let open = CancellationToken::new();
        let closed = open.clone();
        shared.tasks.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = answer_all(listener, behind, &closed) => {}
            }
        });
        Ok(Door {
            port,
            token,
            meter,
            _open: open.drop_guard(),
        })
    }
}

impl Door {
    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the agent finds the model's API.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// What it proves itself with there.
    #[must_use]
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// Counts what is used through it.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Behind {
    /// Whether this is the token of this door.
    pub(super) fn is_token(&self, given: &str) -> bool {
        // Digests are compared, so that the time it takes tells nothing of the token.
        digest(given).ct_eq(&self.token).into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn new_token() -> Result<SecretString, getrandom::Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
    Ok(format!("{PREFIX}{text}").into())
}

async fn answer_all(listener: TcpListener, behind: Arc<Behind>, closed: &CancellationToken) {
    let places = Arc::new(Semaphore::new(behind.gateway.settings.connections_max));
    loop {
        // Further connections wait where the kernel keeps them.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the gateway could not take a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let (behind, closed) = (Arc::clone(&behind), closed.clone());
        let tasks = behind.gateway.tasks.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = answer(stream, behind) => {}
            }
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, behind: Arc<Behind>) {
    // Deltas are short, and are not to wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection went away at once");
        return;
    }
    let patience = behind.gateway.settings.request_timeout;
    let service = service_fn(move |request| {
        let behind = Arc::clone(&behind);
        async move { Ok::<_, std::convert::Infallible>(forward::answer(&behind, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        // Agents end in the middle of things.
        tracing::debug!(%error, "a connection to the gateway broke off");
    }
}
