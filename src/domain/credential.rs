//! What proves the platform, or a tenant, to the model's API.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

/// What kind of credential it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CredentialKind {
    /// An API key, sent as `x-api-key`.
    ApiKey,
    /// A token, sent as a bearer.
    AuthToken,
    /// A long-lived token of the CLI's own login.
    OauthToken,
}

/// A tenant's own credential, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCredential {
    /// What kind it is.
    pub kind: CredentialKind,
    /// The credential, sealed.
    pub sealed: String,
    /// When it was set.
    pub set_at: DateTime<Utc>,
}
