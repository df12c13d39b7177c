//! The model gateway: agents talk to it, and only it holds a real credential.
//!
//! Each agent has a door of its own: a port on loopback, and a token that opens this door alone, for as long as the agent
//! lives. What comes in is held against the tenant's limits (`limits`), gets the tenant's or the platform's credential
//! ([`credential`]), goes to the model's API as it is, and comes back as it comes, while what it used is read off and
//! entered in the ledger ([`meter`]). What is refused answers in the API's own shape (`refusal`), so that the CLI says
//! so well.
//!
//! It forwards what the CLI needs to run a model, and nothing else of the API: no files, no batches, no administration.

pub mod billing;
pub mod credential;
mod door;
mod forward;
mod limits;
pub mod meter;
mod metrics;
mod refusal;
mod session_keys;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use url::Url;

use self::credential::{Credential, Credentials};
use self::limits::ModelLimits;
use self::refusal::Refusal;
use self::session_keys::SessionKeys;
use crate::domain::{Clock, Payer, SessionId};
use crate::lifecycle::Tasks;
use crate::limits::Limits;
use crate::limits::prices::PriceTable;
use crate::security::sealing::SealError;
use crate::security::tls;
use crate::store::Store;

pub use door::{Door, DoorClosed};
pub use meter::Meter;
pub use metrics::GatewayMetrics;

/// How the gateway is set.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where the model's API is.
    pub upstream: Url,
    /// The models that may be asked: names, or beginnings that end in `*`. Empty: all.
    pub models: Vec<String>,
    /// What models cost.
    pub prices: PriceTable,
    /// How long a request waits for others that hold what is left of its budget.
    pub budget_wait: Duration,
    /// The longest request body, in bytes.
    pub request_max_bytes: usize,
    /// How long an agent may take to send a request.
    pub request_timeout: Duration,
    /// How long connecting to the API may take.
    pub connect_timeout: Duration,
    /// How long the API may be silent, before its answer and in the middle of it.
    pub silence_timeout: Duration,
    /// The most connections of one agent.
    pub connections_max: usize,
}

impl GatewaySettings {
    /// Where something of the model's API is.
    fn address_of(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.upstream.clone();
        // An address of a proxy may have a path of its own, before that of the API.
        let path = format!("{}{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_query(query);
        url
    }
}

/// The model gateway of a server.
#[derive(Debug, Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
}

/// What all doors share.
#[derive(Debug)]
struct Shared {
    settings: GatewaySettings,
    client: reqwest::Client,
    credentials: Credentials,
    session_keys: SessionKeys,
    limits: ModelLimits,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: GatewayMetrics,
}

/// What came of trying a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// The model's API takes it.
    Taken,
    /// It does not.
    Refused,
    /// It did not tell.
    NoAnswer,
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The client that talks to the model's API cannot be made.
    #[error("the client for the model's API cannot be made")]
    Client(#[source] reqwest::Error),
    /// Encryption cannot be set up.
    #[error("encryption cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(
        settings: GatewaySettings,
        credentials: Credentials,
        limits: Arc<Limits>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
    ) -> Result<Self, GatewayError> {
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client().map_err(GatewayError::Tls)?)
            .connect_timeout(settings.connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        // A proxy is for what lies beyond the machine.
        let is_near = |host: url::Host<&str>| match host {
            url::Host::Domain(name) => name == "localhost",
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
        };
        if settings.upstream.host().is_some_and(is_near) {
            client = client.no_proxy();
        }
        let client = client.build().map_err(GatewayError::Client)?;
        let limits = ModelLimits::new(settings.models.clone(), limits);
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                client,
                credentials,
                session_keys: SessionKeys::new().map_err(GatewayError::Random)?,
                limits,
                store,
                clock,
                tasks,
                metrics: GatewayMetrics::default(),
            }),
        })
    }

    /// Whether the model's API takes a credential: it is asked for its models.
    pub async fn try_credential(&self, credential: &Credential) -> Tried {
        let url = self.shared.settings.address_of("/v1/models", Some("limit=1"));
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        credential.add_to(&mut headers);
        let asked = self.shared.client.get(url).headers(headers).send();
        match tokio::time::timeout(self.shared.settings.silence_timeout, asked).await {
            Ok(Ok(answer)) if matches!(answer.status().as_u16(), 401 | 403) => Tried::Refused,
            Ok(Ok(answer)) if !answer.status().is_server_error() => Tried::Taken,
            _ => Tried::NoAnswer,
        }
    }

    /// What is counted and measured of it.
    #[must_use]
    pub fn metrics(&self) -> &GatewayMetrics {
        &self.shared.metrics
    }

    /// Forgets which credential a tenant has: it was changed.
    pub fn forget_credential(&self, tenant: crate::domain::TenantId) {
        self.shared.credentials.forget(tenant);
    }

    /// Sets the key with which one session's agents ask the model, until it is forgotten or the server ends.
    pub fn set_session_key(&self, session: SessionId, key: &SecretString) -> Result<(), SealError> {
        self.shared.session_keys.set(session, key)
    }

    /// Whether a session has a key of its own.
    #[must_use]
    pub fn has_session_key(&self, session: SessionId) -> bool {
        self.shared.session_keys.has(session)
    }

    /// Forgets a session's own key.
    pub fn forget_session_key(&self, session: SessionId) {
        self.shared.session_keys.forget(session);
    }
}

impl Shared {
    /// What a request proves itself with, and who pays for it: the session's own key, else its tenant's, else the platform's.
    async fn credential(&self, meter: &Meter) -> Result<(Arc<Credential>, Payer), Refusal> {
        let own = meter.session().map(|session| self.session_keys.of(session));
        match own.transpose() {
            Ok(Some(Some(own))) => Ok((Arc::new(own), Payer::Tenant)),
            Ok(_) => self.credentials.of(meter.tenant()).await,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a session's own key cannot be opened"
                );
                Err(Refusal::CredentialUnreadable)
            }
        }
    }
}
