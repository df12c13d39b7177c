//! `model`: the model's API.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::redacted::redact;
use super::require;

/// The model's API.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// Where it is; null: the CLI's own choice.
    pub base_url: Option<Url>,
    /// An API key.
    #[serde(serialize_with = "redact")]
    pub api_key: Option<SecretString>,
    /// A token, sent as a bearer, instead of an API key.
    #[serde(serialize_with = "redact")]
    pub auth_token: Option<SecretString>,
    /// A long-lived token of the CLI's own login, instead of an API key.
    #[serde(serialize_with = "redact")]
    pub oauth_token: Option<SecretString>,
    /// Whether answers come from the built-in scripted model: no model at all, for a first look and for tests.
    pub scripted: bool,
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
    }
}
