//! `model`: the model's API.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::prices::{self, PriceSettings, UnknownPrice};
use super::redacted::redact;
use super::{duration, require};

/// The shortest time after which a request counts as abandoned: it may be told of late twice.
const ABANDONED_AFTER_MIN: Duration = Duration::from_secs(45);

/// The model's API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// Where the model's API is; null: the CLI's own choice.
    pub base_url: Option<Url>,
    /// An API key. Better set by `ANTHROPIC_API_KEY` or a file.
    #[serde(serialize_with = "redact")]
    pub api_key: Option<SecretString>,
    /// Instead of an API key: a token, sent as a bearer.
    #[serde(serialize_with = "redact")]
    pub auth_token: Option<SecretString>,
    /// Instead of an API key: a long-lived token of the CLI's own login.
    #[serde(serialize_with = "redact")]
    pub oauth_token: Option<SecretString>,
    /// Whether answers come from the built-in scripted model: no model at all, for a first look and for tests.
    pub scripted: bool,
    /// Whether agents talk to a gateway of ours, which keeps the credential and counts what is used; else each agent
    /// gets the credential itself.
    pub gateway: bool,
    /// The models that may be asked: names, or beginnings that end in `*`. None: all.
    pub allowed_models: Vec<String>,
    /// The most requests of a tenant at once; 0: no limit.
    pub concurrency_max: u32,
    /// The most requests of a tenant a minute; 0: no limit.
    pub requests_per_minute_max: u32,
    /// The longest request, in bytes.
    pub request_max_bytes: usize,
    /// How long an agent may take to send a request.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How long connecting to the API may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long the API may be silent, before its answer and in the middle of it.
    #[serde(with = "duration")]
    pub silence_timeout: Duration,
    /// The most connections of one agent to the gateway; further ones wait.
    pub connections_max: usize,
    /// What models cost, for budgets and the ledger. The most exact name counts, and of that the latest day.
    pub prices: Vec<PriceSettings>,
    /// What becomes of a model that has no price.
    pub unknown_price: UnknownPrice,
    /// How long a request waits for others that hold what is left of its budget; then 429.
    #[serde(with = "duration")]
    pub budget_wait: Duration,
    /// After how long a request counts as abandoned whose server does not tell of it (servers do every 15 s); it is
    /// then billed at what was seen.
    #[serde(with = "duration")]
    pub abandoned_after: Duration,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key: None,
            auth_token: None,
            oauth_token: None,
            scripted: false,
            gateway: true,
            allowed_models: Vec::new(),
            concurrency_max: 0,
            requests_per_minute_max: 0,
            request_max_bytes: 32 * 1024 * 1024,
            request_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
            silence_timeout: Duration::from_mins(5),
            connections_max: 64,
            prices: prices::known(),
            unknown_price: UnknownPrice::Dearest,
            budget_wait: Duration::from_secs(30),
            abandoned_after: Duration::from_mins(1),
        }
    }
}

impl ModelSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let credentials = [&self.api_key, &self.auth_token, &self.oauth_token]
            .into_iter()
            .filter(|secret| secret.is_some())
            .count();
        require(
            credentials <= 1,
            problems,
            "model: set one of api_key, auth_token and oauth_token (ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN, \
             CLAUDE_CODE_OAUTH_TOKEN)",
        );
        require(
            !(self.scripted && (credentials > 0 || self.base_url.is_some())),
            problems,
            "model.scripted: is true, and so is a credential or model.base_url set; choose one",
        );
        require(
            self.base_url
                .as_ref()
                .is_none_or(|url| matches!(url.scheme(), "http" | "https")),
            problems,
            "model.base_url: must begin with http:// or https://",
        );
        for (value, name) in [
            (self.request_timeout, "request_timeout"),
            (self.connect_timeout, "connect_timeout"),
            (self.silence_timeout, "silence_timeout"),
        ] {
            require(
                !value.is_zero(),
                problems,
                &format!("model.{name}: must be more than 0"),
            );
        }
        require(
            self.request_max_bytes >= 1024 * 1024,
            problems,
            "model.request_max_bytes: must be at least 1048576",
        );
        prices::check(&self.prices, problems);
        require(
            self.abandoned_after >= ABANDONED_AFTER_MIN,
            problems,
            "model.abandoned_after: must be at least 45s, since servers tell of requests every 15s",
        );
        require(
            self.connections_max > 0,
            problems,
            "model.connections_max: must be at least 1",
        );
        let counts =
            !self.allowed_models.is_empty() || self.concurrency_max > 0 || self.requests_per_minute_max > 0;
        require(
            self.gateway || !counts,
            problems,
            "model.allowed_models, model.concurrency_max, model.requests_per_minute_max: need model.gateway",
        );
    }
}
