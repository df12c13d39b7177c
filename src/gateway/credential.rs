//! What the gateway proves itself with to the model's API: the tenant's own credential, else the platform's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use super::refusal::Refusal;
use crate::domain::{CredentialKind, Payer, TenantId};
use crate::security::sealing::SealingKeys;
use crate::store::Store;

/// How long a tenant's credential is believed to be the one that was read: another server may change it.
const STANDS: Duration = Duration::from_secs(10);
/// The most tenants whose credentials are remembered.
const REMEMBERED: usize = 10_000;

/// What a token of the CLI's own login needs besides.
const OAUTH_BETA: &str = "oauth-2025-04-20";
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// A credential for the model's API.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What kind it is.
    pub kind: CredentialKind,
    /// The credential.
    pub secret: SecretString,
}

/// What is sealed of a tenant's credential is bound to the tenant: another's seal does not open it.
#[must_use]
pub fn sealed_for(tenant: TenantId) -> String {
    format!("model-credential/{tenant}")
}

impl Credential {
    /// Puts it among the headers of a request.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        let secret = self.secret.expose_secret();
        let (name, text) = match self.kind {
            CredentialKind::ApiKey => (HeaderName::from_static("x-api-key"), secret.to_owned()),
            CredentialKind::AuthToken | CredentialKind::OauthToken => {
                (AUTHORIZATION, format!("Bearer {secret}"))
            }
        };
        // What cannot be a header was refused when it was set.
        if let Ok(mut value) = HeaderValue::from_str(&text) {
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if self.kind == CredentialKind::OauthToken {
            let has_beta = headers
                .get_all(BETA)
                .iter()
                .any(|value| value.to_str().is_ok_and(|text| text.contains(OAUTH_BETA)));
            if !has_beta {
                headers.append(BETA, HeaderValue::from_static(OAUTH_BETA));
            }
        }
    }
}

/// What a tenant was found to have: a credential of its own, or none.
#[derive(Debug, Clone)]
struct Known {
    since: Instant,
    own: Option<Arc<Credential>>,
}

/// Finds the credential of a tenant.
#[derive(Debug)]
pub struct Credentials {
    platform: Option<Arc<Credential>>,
    keys: SealingKeys,
    store: Arc<dyn Store>,
    known: Mutex<HashMap<TenantId, Known>>,
}

impl Credentials {
    /// The platform's, and those of tenants in the store, sealed with these keys.
    #[must_use]
    pub fn new(platform: Option<Credential>, keys: SealingKeys, store: Arc<dyn Store>) -> Self {
        Self {
            platform: platform.map(Arc::new),
            keys,
            store,
            known: Mutex::default(),
        }
    }

    /// The tenant's own, else the platform's.
    pub(super) async fn of(&self, tenant: TenantId) -> Result<(Arc<Credential>, Payer), Refusal> {
        let own = match self.remembered(tenant) {
            Some(known) => known.own,
            None => self.read(tenant).await?,
        };
        let own = own.map(|own| (own, Payer::Tenant));
        let platform = || Some((self.platform.clone()?, Payer::Platform));
        own.or_else(platform).ok_or(Refusal::NoCredential)
    }

    pub(super) fn forget(&self, tenant: TenantId) {
        self.lock().remove(&tenant);
    }

    fn remembered(&self, tenant: TenantId) -> Option<Known> {
        let known = self.lock();
        known
            .get(&tenant)
            .filter(|known| known.since.elapsed() < STANDS)
            .cloned()
    }

    async fn read(&self, tenant: TenantId) -> Result<Option<Arc<Credential>>, Refusal> {
        let stored = self.store.find_model_credential(tenant).await.map_err(|error| {
            tracing::error!(tenant.id = %tenant, error = &error as &dyn std::error::Error, "a tenant's credential cannot be read");
            Refusal::CredentialUnreadable
        })?;
        let opened = match stored {
            None => None,
            Some(stored) => {
                let secret = self.keys.open(&sealed_for(tenant), &stored.sealed).map_err(|error| {
                    tracing::error!(tenant.id = %tenant, error = &error as &dyn std::error::Error, "a tenant's credential cannot be opened");
                    Refusal::CredentialUnreadable
                })?;
                Some(Arc::new(Credential {
                    kind: stored.kind,
                    secret,
                }))
            }
        };
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let since = Instant::now();
        known.insert(
            tenant,
            Known {
                since,
                own: opened.clone(),
            },
        );
        Ok(opened)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
