//! Tenants' own credentials for the model's API: set, looked at, removed. What is set is sealed at once, and never shown.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::error::Error;
use super::sessions::SessionDetails;
use super::tenants::TenantService;
use crate::domain::{
    AuditAction, AuditNote, Clock, CredentialKind, Principal, StoredCredential, TenantId, TenantName,
};
use crate::gateway::credential::{Credential, sealed_for};
use crate::gateway::{Gateway, Tried};
use crate::security::sealing::{SealError, SealingKeys};
use crate::store::{Store, StoreError};

/// How many tenants are read at once.
const READ_BATCH: u32 = 256;

/// What may be told of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialInfo {
    /// What kind it is.
    pub kind: CredentialKind,
    /// When it was set.
    pub set_at: DateTime<Utc>,
}

impl From<StoredCredential> for CredentialInfo {
    fn from(stored: StoredCredential) -> Self {
        Self {
            kind: stored.kind,
            set_at: stored.set_at,
        }
    }
}

/// Keeps tenants' own credentials for the model's API.
#[derive(Debug)]
pub struct CredentialService {
    store: Arc<dyn Store>,
    keys: SealingKeys,
    gateway: Option<Gateway>,
    tenants: Arc<TenantService>,
    clock: Arc<dyn Clock>,
}

impl CredentialService {
    /// Credentials in this store, sealed with these keys, used by this gateway.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        keys: SealingKeys,
        gateway: Option<Gateway>,
        tenants: Arc<TenantService>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            keys,
            gateway,
            tenants,
            clock,
        }
    }

    /// Sets a tenant's credential in place of the one it had; if it is to be tried, only one that the model's API takes.
    pub async fn set(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        kind: CredentialKind,
        secret: &SecretString,
        tried: bool,
    ) -> Result<CredentialInfo, Error> {
        let gateway = self.gateway.as_ref().ok_or(Error::GatewayOff)?;
        let tenant = self.tenants.get(caller, tenant).await?.id;
        if tried {
            let credential = Credential {
                kind,
                secret: secret.clone(),
            };
            match gateway.try_credential(&credential).await {
                Tried::Taken => {}
                Tried::Refused => return Err(Error::CredentialRefused),
                Tried::NoAnswer => return Err(Error::ModelUnreachable),
            }
        }
        let stored = StoredCredential {
            kind,
            sealed: seal(&self.keys, tenant, secret)?,
            set_at: self.clock.now(),
        };
        let action = AuditAction::ModelCredentialSet;
        let note =
            AuditNote::by(caller, stored.set_at, tenant, action, &tenant).with("kind", kind.to_string());
        self.store.set_model_credential(tenant, &stored, &note).await?;
        gateway.forget_credential(tenant);
        Ok(stored.into())
    }

    /// Sets the key with which a session's agents ask the model. It is kept sealed, in this server's memory alone.
    pub fn set_for_session(&self, session: &SessionDetails, key: &SecretString) -> Result<(), Error> {
        let gateway = self.gateway.as_ref().ok_or(Error::GatewayOff)?;
        let set = gateway.set_session_key(session.session.id, key);
        set.map_err(|error| Error::Internal {
            action: "a session's key was not sealed",
            source: error.into(),
        })
    }

    /// Whether this server has a key of a session's own.
    #[must_use]
    pub fn has_for_session(&self, session: &SessionDetails) -> bool {
        let gateway = self.gateway.as_ref();
        gateway.is_some_and(|gateway| gateway.has_session_key(session.session.id))
    }

    /// Forgets a session's own key.
    pub fn forget_for_session(&self, session: &SessionDetails) {
        if let Some(gateway) = &self.gateway {
            gateway.forget_session_key(session.session.id);
        }
    }

    /// What may be told of a tenant's credential.
    pub async fn get(&self, caller: &Principal, tenant: &TenantName) -> Result<CredentialInfo, Error> {
        let tenant = self.tenants.get(caller, tenant).await?.id;
        let stored = self.store.find_model_credential(tenant).await?;
        stored.map(Into::into).ok_or(Error::CredentialNotFound)
    }

    /// Removes a tenant's credential; the platform's is used from then on.
    pub async fn remove(&self, caller: &Principal, tenant: &TenantName) -> Result<(), Error> {
        let tenant = self.tenants.get(caller, tenant).await?.id;
        let action = AuditAction::ModelCredentialRemoved;
        let note = AuditNote::by(caller, self.clock.now(), tenant, action, &tenant);
        let removed = self.store.remove_model_credential(tenant, &note).await?;
        if let Some(gateway) = &self.gateway {
            gateway.forget_credential(tenant);
        }
        if removed {
            Ok(())
        } else {
            Err(Error::CredentialNotFound)
        }
    }
}

fn seal(keys: &SealingKeys, tenant: TenantId, secret: &SecretString) -> Result<String, Error> {
    keys.seal(&sealed_for(tenant), secret)
        .map_err(|error| match error {
            SealError::NoKey => Error::SealingOff,
            error => Error::Internal {
                action: "a credential was not sealed",
                source: error.into(),
            },
        })
}

/// Why not everything was sealed anew.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The store does not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tenant's credential does not open, or could not be sealed.
    #[error("the credential of tenant {tenant} cannot be sealed anew")]
    Seal {
        /// Whose.
        tenant: TenantName,
        /// Why not.
        #[source]
        source: SealError,
    },
}

/// Seals anew what older keys sealed; how many credentials those were. Afterwards, the older keys are of no use.
pub async fn reseal(store: &dyn Store, keys: &SealingKeys) -> Result<u64, ResealError> {
    let mut resealed = 0;
    let mut after: Option<TenantName> = None;
    loop {
        let tenants = store.list_tenants(after.as_ref(), READ_BATCH).await?;
        let Some(last) = tenants.last() else {
            return Ok(resealed);
        };
        after = Some(last.name.clone());
        for tenant in tenants {
            let Some(old) = store.find_model_credential(tenant.id).await? else {
                continue;
            };
            if keys.is_newest(&old.sealed) {
                continue;
            }
            let purpose = sealed_for(tenant.id);
            let anew = keys
                .open(&purpose, &old.sealed)
                .and_then(|secret| keys.seal(&purpose, &secret));
            let sealed = anew.map_err(|source| ResealError::Seal {
                tenant: tenant.name.clone(),
                source,
            })?;
            let new = StoredCredential {
                sealed,
                ..old.clone()
            };
            // One that was set meanwhile was sealed with the newest key.
            resealed += u64::from(store.replace_model_credential(tenant.id, &old, &new).await?);
        }
    }
}
