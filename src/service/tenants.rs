//! Tenants and their keys, and what the audit says of them.
//!
//! Whoever runs the platform sees every tenant; an owner sees its own, and every other name answers like one that
//! nobody has.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use secrecy::{ExposeSecret as _, SecretString};

use super::authentication::AuthenticationService;
use super::error::Error;
use crate::domain::{
    ApiKey, AuditAction, AuditEntry, AuditHash, AuditNote, Clock, KeyId, Page, Principal, Role, Tenant,
    TenantChange, TenantId, TenantName, UserId,
};
use crate::limits::tenants::Tenants;
use crate::security::keys::{digest_of, new_key};
use crate::store::{Store, StoreError};

/// How many entries are read at once.
const READ_BATCH: u32 = 1000;

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The one user that it acts for.
    pub user: Option<UserId>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// The networks that it may be used from; any when empty.
    pub networks: Vec<IpNet>,
}

/// An entry of the audit, read.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// Its number.
    pub number: u64,
    /// What it says.
    pub note: AuditNote,
    /// Its hash.
    pub hash: String,
}

/// Tenants and their keys.
#[derive(Debug)]
pub struct TenantService {
    store: Arc<dyn Store>,
    tenants: Arc<Tenants>,
    authentication: Arc<AuthenticationService>,
    clock: Arc<dyn Clock>,
}

impl TenantService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        tenants: Arc<Tenants>,
        authentication: Arc<AuthenticationService>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            tenants,
            authentication,
            clock,
        }
    }

    /// Makes a tenant on these terms.
    pub async fn create(
        &self,
        caller: &Principal,
        name: TenantName,
        terms: TenantChange,
    ) -> Result<Tenant, Error> {
        let now = self.clock.now();
        let tenant = Tenant {
            policy: terms.policy.unwrap_or_default(),
            limits: terms.limits.unwrap_or_default(),
            ..Tenant::new(TenantId::generate(&*self.clock), name, now)
        };
        let note = AuditNote::by(caller, now, tenant.id, AuditAction::TenantCreated, &tenant.name);
        if self.store.insert_tenant(&tenant, &note).await? {
            Ok(tenant)
        } else {
            Err(Error::TenantExists)
        }
    }

    /// A page of the tenants that the caller may see, by their names.
    pub async fn list(
        &self,
        caller: &Principal,
        after: Option<TenantName>,
        limit: u32,
    ) -> Result<Page<Tenant, TenantName>, Error> {
        if caller.role < Role::Admin {
            let own = self.store.get_tenant(caller.tenant).await?;
            let items = own.into_iter().filter(|_| after.is_none()).collect();
            return Ok(Page { items, next: None });
        }
        let tenants = self
            .store
            .list_tenants(after.as_ref(), limit.saturating_add(1))
            .await?;
        Ok(Page::cut(tenants, limit as usize, |tenant| tenant.name.clone()))
    }

    /// A tenant that the caller may see.
    pub async fn get(&self, caller: &Principal, name: &TenantName) -> Result<Tenant, Error> {
        if caller.role < Role::Admin && caller.tenant_name != *name {
            return Err(Error::TenantNotFound);
        }
        if caller.user.is_some() {
            return Err(Error::Forbidden {
                reason: "this credential acts for one user, not for the tenant",
            });
        }
        let found = self.store.find_tenant(name).await?;
        found.ok_or(Error::TenantNotFound)
    }

    /// Changes a tenant.
    pub async fn update(
        &self,
        caller: &Principal,
        name: &TenantName,
        change: &TenantChange,
    ) -> Result<Tenant, Error> {
        let tenant = self.get(caller, name).await?;
        let mut note = AuditNote::by(
            caller,
            self.clock.now(),
            tenant.id,
            AuditAction::TenantChanged,
            &tenant.name,
        );
        if let Some(suspended) = change.suspended {
            note = note.with("suspended", suspended);
        }
        if change.policy.is_some() || change.limits.is_some() {
            let changed = [
                ("policy", change.policy.is_some()),
                ("limits", change.limits.is_some()),
            ];
            let names = changed.into_iter().filter(|(_, is)| *is).map(|(name, _)| name);
            note = note.with("changed", names.collect::<Vec<_>>());
        }
        let changed = self.store.update_tenant(tenant.id, change, &note).await?;
        self.tenants.forget(tenant.id);
        changed.ok_or(Error::TenantNotFound)
    }

    /// Makes a key; itself is answered this once, and is kept nowhere.
    pub async fn create_key(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        new: NewKey,
    ) -> Result<(ApiKey, SecretString), Error> {
        let tenant = self.get(caller, tenant).await?;
        if new.role > caller.role {
            return Err(Error::Forbidden {
                reason: "a key can allow no more than the credential that makes it",
            });
        }
        if new.role == Role::Guest {
            return Err(Error::Key {
                field: "role",
                reason: "guests have no keys; share a session instead",
            });
        }
        if new.user.is_some() && new.role > Role::Member {
            return Err(Error::Key {
                field: "user_id",
                reason: "a key of role owner or admin acts for no single user",
            });
        }
        let now = self.clock.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Key {
                field: "expires_at",
                reason: "must lie ahead",
            });
        }
        let secret = new_key().map_err(|error| Error::Internal {
            action: "the system gives no random numbers",
            source: error.into(),
        })?;
        let key = ApiKey {
            id: KeyId::generate(&*self.clock),
            name: new.name,
            role: new.role,
            user: new.user,
            digest: digest_of(secret.expose_secret()),
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
            networks: new.networks,
        };
        let note = AuditNote::by(caller, now, tenant.id, AuditAction::KeyCreated, &key.id)
            .with("name", key.name.as_str())
            .with("role", key.role.to_string());
        if self.store.insert_key(tenant.id, &key, &note).await? {
            Ok((key, secret))
        } else {
            Err(Error::KeyNameTaken)
        }
    }

    /// A page of a tenant's keys, newest first, with those that are over.
    pub async fn list_keys(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        before: Option<KeyId>,
        limit: u32,
    ) -> Result<Page<ApiKey, KeyId>, Error> {
        let tenant = self.get(caller, tenant).await?;
        let keys = self
            .store
            .list_keys(tenant.id, before, limit.saturating_add(1))
            .await?;
        Ok(Page::cut(keys, limit as usize, |key| key.id))
    }

    /// A key of a tenant's.
    pub async fn get_key(&self, caller: &Principal, tenant: &TenantName, id: KeyId) -> Result<ApiKey, Error> {
        let tenant = self.get(caller, tenant).await?;
        let found = self.store.get_key(tenant.id, id).await?;
        found.ok_or(Error::KeyNotFound)
    }

    /// Revokes a key. One that is revoked stays as it is.
    pub async fn revoke_key(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        id: KeyId,
    ) -> Result<ApiKey, Error> {
        let tenant = self.get(caller, tenant).await?;
        let found = self.store.get_key(tenant.id, id).await?;
        let key = found.ok_or(Error::KeyNotFound)?;
        if key.role > caller.role {
            return Err(Error::Forbidden {
                reason: "the key allows more than the credential that would revoke it",
            });
        }
        let now = self.clock.now();
        let note = AuditNote::by(caller, now, tenant.id, AuditAction::KeyRevoked, &id)
            .with("name", key.name.as_str());
        let revoked = self.store.revoke_key(tenant.id, id, now, &note).await?;
        self.authentication.forget(key.digest);
        revoked.ok_or(Error::KeyNotFound)
    }

    /// A page of the audit, newest first: of one tenant, or of the whole platform for whoever runs it.
    pub async fn audit(
        &self,
        caller: &Principal,
        tenant: Option<&TenantName>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<AuditRecord, u64>, Error> {
        let tenant = match tenant {
            Some(name) => Some(self.get(caller, name).await?.id),
            None if caller.role < Role::Admin => Some(self.get(caller, &caller.tenant_name).await?.id),
            None => None,
        };
        let entries = self
            .store
            .list_audit(tenant, before, limit.saturating_add(1))
            .await?;
        let records = entries.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        Ok(Page::cut(records, limit as usize, |record| record.number))
    }
}

/// What is wrong with the audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditBroken {
    /// The store does not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry was changed, taken out or put in.
    #[error("entry {number} does not follow the one before: the audit was changed there")]
    Entry {
        /// Its number.
        number: u64,
    },
    /// The last entries are gone.
    #[error("the audit ends with entry {last}, and once had {noted}")]
    CutOff {
        /// The last one that is there.
        last: u64,
        /// The last one that there was.
        noted: u64,
    },
}

/// Checks that every entry of the audit follows the one before; the number and the hash of the last, which, kept
/// elsewhere, prove later that nothing before it was changed.
pub async fn verify_audit(store: &dyn Store) -> Result<Option<(u64, AuditHash)>, AuditBroken> {
    let mut last: Option<(u64, AuditHash)> = None;
    // What comes in meanwhile is not looked at.
    let noted = store.audit_head().await?;
    let end = noted.map_or(0, |(number, _)| number);
    loop {
        let after = last.map_or(0, |(number, _)| number);
        let entries = store.read_audit(after, READ_BATCH).await?;
        let read = entries.len();
        for entry in entries.into_iter().filter(|entry| entry.number <= end) {
            if !entry.follows(last) {
                return Err(AuditBroken::Entry { number: entry.number });
            }
            last = Some((entry.number, entry.hash));
        }
        if last == noted {
            return Ok(last);
        }
        if read == 0 {
            return Err(AuditBroken::CutOff {
                last: after,
                noted: end,
            });
        }
        if last.map_or(0, |(number, _)| number) == after {
            return Err(AuditBroken::Entry { number: end });
        }
    }
}

fn read(entry: &AuditEntry) -> Result<AuditRecord, Error> {
    let note = entry.note().map_err(|error| Error::Internal {
        action: "an entry of the audit cannot be read",
        source: error.into(),
    })?;
    Ok(AuditRecord {
        number: entry.number,
        note,
        hash: entry.hash.to_string(),
    })
}
