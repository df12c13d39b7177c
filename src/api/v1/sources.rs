//! What the workspace of a new session begins with.

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;
use utoipa::ToSchema;

use super::git::is_commit_name;
use crate::api::problem::FieldError;
use crate::service::{GitCredential, SourceOrder};

/// The longest URL, in bytes.
const URL_MAX_BYTES: usize = 2000;
/// The longest name or password of a credential, in bytes.
const CREDENTIAL_MAX_BYTES: usize = 4096;

/// A repository that the workspace of a new session begins with a clone of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"git_url": "https://github.com/octocat/Hello-World.git", "ref": "master"}))]
pub struct SourceRequest {
    /// Where it is: `https://`, without a user or password in it.
    #[schema(
        required,
        nullable = false,
        max_length = 2000,
        example = "https://github.com/octocat/Hello-World.git"
    )]
    git_url: Option<String>,
    /// The branch or tag that is checked out; the repository's own choice when absent.
    #[serde(rename = "ref")]
    #[schema(nullable = false, max_length = 255, example = "master")]
    name: Option<String>,
    /// How one proves oneself there. It is used for this one clone and kept nowhere: who fetches later needs it again.
    #[schema(nullable = false)]
    credential: Option<SourceCredentialRequest>,
}

/// How one proves oneself to where a repository is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"username": "x-access-token", "password": "a-token"}))]
pub struct SourceCredentialRequest {
    /// As whom; `x-access-token` when absent, which fits most hosts' tokens.
    #[schema(nullable = false, max_length = 4096, example = "x-access-token")]
    username: Option<String>,
    /// A password, or a token.
    #[schema(value_type = String, required, nullable = false, max_length = 4096, example = "a-token")]
    password: Option<SecretString>,
}

impl SourceRequest {
    /// What is wrong with it.
    pub(super) fn check(&self) -> Vec<FieldError> {
        self.order().err().into_iter().collect()
    }

    /// What is to be cloned.
    pub(super) fn order(&self) -> Result<SourceOrder, FieldError> {
        let wrong =
            |field: &str, words: &str| FieldError::new(format!("source.{field}"), "invalid_source", words);
        let url = self.git_url.as_deref();
        let url = url.ok_or_else(|| FieldError::new("source.git_url", "missing", "is missing"))?;
        let url = Some(url).filter(|url| url.len() <= URL_MAX_BYTES);
        let url = url.and_then(|url| Url::parse(url).ok());
        let url = url.ok_or_else(|| wrong("git_url", "must be a URL of at most 2000 bytes"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(
                "git_url",
                "must begin with https://; other protocols are not taken",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "git_url",
                "must hold no user and no password; they go in `credential`",
            ));
        }
        if url.fragment().is_some() {
            return Err(wrong(
                "git_url",
                "must have nothing after `#`; a branch goes in `ref`",
            ));
        }
        if let Some(Err(error)) = self.name.as_deref().map(is_commit_name) {
            return Err(wrong("ref", &error.message.unwrap_or_default()));
        }
        let credential = self.credential.as_ref().map(SourceCredentialRequest::credential);
        let credential = credential
            .transpose()
            .map_err(|words| wrong("credential", words))?;
        Ok(SourceOrder {
            url,
            name: self.name.clone(),
            credential,
        })
    }
}

impl SourceCredentialRequest {
    fn credential(&self) -> Result<GitCredential, &'static str> {
        use secrecy::ExposeSecret as _;
        let good = |text: &str| {
            (1..=CREDENTIAL_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
        };
        let username = self
            .username
            .clone()
            .unwrap_or_else(|| "x-access-token".to_owned());
        let password = self.password.clone();
        let password = password.filter(|password| good(password.expose_secret()));
        match password {
            Some(password) if good(&username) && !username.contains(':') => {
                Ok(GitCredential { username, password })
            }
            _ => Err(
                "must have a `password`, and no more than 4096 bytes of either; no control characters, and no `:` in `username`",
            ),
        }
    }
}
