//! Who calls: the one place where a credential becomes a [`Principal`].
//!
//! Keys are configured or stored. What was found of a stored one is believed for a short while, so that a busy key does
//! not cost a query a request; a key that is revoked here is forgotten here at once, and elsewhere after that while. Tokens
//! of links that show sessions are looked up in the same way, and make guests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tokio::time::Instant;

use super::error::Error;
use super::failures::Failures;
use crate::domain::{
    ApiKey, AuditAction, AuditNote, Clock, EntryId, Guest, KeyDigest, Principal, Role, SessionId, Share,
    Tenant, TenantId, TenantName,
};
use crate::limits::tenants::Tenants;
use crate::security::keys::{KeyIdentity, KeyRing, digest_of, id_of_configured, is_same, is_share_token};
use crate::security::oidc::{OidcVerifier, TokenRefused, is_token};
use crate::security::tickets::{Ticket, TicketKey};
use crate::store::{Begun, Store, StoreError};

/// The most keys that are remembered, known and unknown.
const REMEMBERED: usize = 10_000;
/// How exactly it is kept when a key was last used.
const USE_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);

/// Why a caller is nobody.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unauthenticated {
    /// No credential was sent.
    #[error("send a key as `Authorization: Bearer …` or `X-API-Key: …`")]
    Missing,
    /// It is not known.
    #[error("the key is not known")]
    Unknown,
    /// It has ended.
    #[error("the key has expired")]
    Expired,
    /// It was revoked.
    #[error("the key was revoked")]
    Revoked,
    /// It may not be used from where it was.
    #[error("the key may not be used from this address")]
    Network,
    /// Its tenant's credentials are not taken for now.
    #[error("the tenant is suspended")]
    Suspended,
    /// The token of the company's login is refused.
    #[error("{0}")]
    Token(String),
    /// The ticket is none, or of another session, or has ended, or was used.
    #[error("the ticket does not open this session, has ended, or was used; ask for another")]
    Ticket,
    /// The token's tenant is not known here.
    #[error("the token's tenant is not known here")]
    TokenTenant,
    /// The link is not known, or its session is gone.
    #[error("the link is not known, or what it showed is gone")]
    ShareUnknown,
    /// The link has ended.
    #[error("the link has expired")]
    ShareExpired,
    /// The link was revoked.
    #[error("the link was revoked")]
    ShareRevoked,
    /// The tenant does not show sessions by links.
    #[error("the tenant does not show sessions by links")]
    SharesOff,
    /// The issuer of tokens does not answer.
    #[error("the issuer of tokens does not answer")]
    IssuerAway,
    /// The store did not tell.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was found of a digest: nothing, or a key and whose it is.
type Found = Option<Arc<(TenantId, ApiKey)>>;
/// What was found of a link's digest: nothing, or the link and whose it is.
type FoundShare = Option<Arc<(TenantId, Share)>>;

/// How credentials are looked at.
#[derive(Debug, Clone)]
pub struct AuthenticationRules {
    /// Whether a caller needs a credential.
    pub enforced: bool,
    /// Whether keys are looked for in the store.
    pub stored_keys: bool,
    /// How long what was found of a key is believed.
    pub stands: Duration,
    /// How long a ticket opens a connection.
    pub ticket_ttl: Duration,
    /// Signs tickets.
    pub tickets: TicketKey,
}

/// Finds whom credentials stand for.
#[derive(Debug)]
pub struct AuthenticationService {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tenants: Arc<Tenants>,
    ring: KeyRing,
    /// The tenants of configured keys.
    configured: HashMap<TenantName, TenantId>,
    /// Whose those without a credential are, where they need none.
    default: Tenant,
    rules: AuthenticationRules,
    /// Verifies tokens of the company's own login, where there are such.
    oidc: Option<OidcVerifier>,
    known: Mutex<HashMap<KeyDigest, (Instant, Found)>>,
    shares: Mutex<HashMap<KeyDigest, (Instant, FoundShare)>>,
    failures: Failures,
}

impl AuthenticationService {
    /// For these configured keys, whose tenants are these.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tenants: Arc<Tenants>,
        ring: KeyRing,
        configured: HashMap<TenantName, TenantId>,
        default: Tenant,
        rules: AuthenticationRules,
    ) -> Self {
        Self {
            failures: Failures::default(),
            store,
            clock,
            tenants,
            ring,
            configured,
            default,
            rules,
            oidc: None,
            known: Mutex::default(),
            shares: Mutex::default(),
        }
    }

    /// The same, which takes tokens of the company's own login too.
    #[must_use]
    pub fn with_tokens(mut self, oidc: OidcVerifier) -> Self {
        self.oidc = Some(oidc);
        self
    }

    /// Whom a credential stands for that came from `address`.
    pub async fn authenticate(
        &self,
        key: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<Principal, Unauthenticated> {
        let found = match key {
            Some(key) => self.whose(key, address).await,
            None => Err(Unauthenticated::Missing),
        };
        match found {
            // Where no key is needed, a key means nothing; it is not held against whoever sends one.
            Err(Unauthenticated::Missing | Unauthenticated::Unknown) if !self.rules.enforced => {
                Ok(self.anybody(address))
            }
            Err(refused) => {
                self.note_failure(key, address, &refused).await;
                Err(refused)
            }
            found => found,
        }
    }

    /// Whom a caller without a credential is that came from `address`, where such callers are this one.
    pub async fn authenticate_as(
        &self,
        identity: &KeyIdentity,
        address: Option<IpAddr>,
    ) -> Result<Principal, Unauthenticated> {
        let tenant = self.configured.get(&identity.tenant);
        let principal = Principal {
            tenant: *tenant.ok_or(Unauthenticated::Missing)?,
            tenant_name: identity.tenant.clone(),
            role: identity.role,
            user: identity.user.clone(),
            credential: identity.name.clone(),
            key: None,
            guest: None,
            address,
        };
        self.admit(principal).await
    }

    /// Whether a caller who was let in may stay.
    pub async fn still_stands(&self, caller: &Principal) -> Result<bool, StoreError> {
        let Some(tenant) = self.tenants.get(caller.tenant).await? else {
            return Ok(false);
        };
        if tenant.suspended_at.is_some() && caller.role != Role::Admin {
            return Ok(false);
        }
        if let Some(guest) = caller.guest {
            let share = self.store.get_share(caller.tenant, guest.share).await?;
            let is_good = |share: &Share| !share.is_over(self.clock.now());
            return Ok(tenant.policy.share_links && share.as_ref().is_some_and(is_good));
        }
        match caller.key {
            // Configured keys are not in the store, and last as long as the server.
            Some(key) if !self.ring.has(key) => {
                let key = self.store.get_key(caller.tenant, key).await?;
                Ok(key.is_some_and(|key| !key.is_over(self.clock.now()) && key.is_for(caller.address)))
            }
            _ => Ok(true),
        }
    }

    /// A ticket by which the caller may open one connection to a session, and when it ends.
    pub async fn issue_ticket(
        &self,
        caller: &Principal,
        session: SessionId,
    ) -> Result<(SecretString, DateTime<Utc>), Error> {
        let sessions = self.store.find_session(caller.tenant, session).await?;
        if sessions.is_none_or(|session| !caller.may_see(&session)) {
            return Err(Error::SessionNotFound);
        }
        let expires_at = self.clock.now() + self.rules.ticket_ttl;
        let ticket = Ticket {
            number: EntryId::generate(&*self.clock).as_uuid(),
            session,
            tenant: caller.tenant,
            role: caller.role,
            user: caller.user.clone(),
            credential: caller.credential.clone(),
            key: caller.key,
            expires_at,
        };
        let text = self
            .rules
            .tickets
            .sign(&ticket)
            .map_err(|error| Error::Internal {
                action: "a ticket was not written",
                source: Box::new(error),
            })?;
        Ok((text.into(), expires_at))
    }

    /// Whom a ticket stands for that came from `address`. It is good once.
    pub async fn redeem_ticket(
        &self,
        ticket: &str,
        session: SessionId,
        address: Option<IpAddr>,
    ) -> Result<Principal, Unauthenticated> {
        let now = self.clock.now();
        let ticket = self.rules.tickets.open(ticket).ok_or(Unauthenticated::Ticket)?;
        if ticket.session != session || ticket.expires_at <= now {
            return Err(Unauthenticated::Ticket);
        }
        let tenant = self.tenants.get(ticket.tenant).await?;
        let tenant = tenant.ok_or(Unauthenticated::Ticket)?;
        let principal = Principal {
            tenant: ticket.tenant,
            tenant_name: tenant.name.clone(),
            role: ticket.role,
            user: ticket.user,
            credential: ticket.credential,
            key: ticket.key,
            guest: None,
            address,
        };
        if !self.still_stands(&principal).await? {
            return Err(Unauthenticated::Ticket);
        }
        // Keys of clients' own requests have a slash in them.
        let number = format!("ticket:{}", ticket.number.simple());
        let first = self
            .store
            .begin_request(ticket.tenant, &number, [0; 32], now, DateTime::<Utc>::MIN_UTC)
            .await?;
        if first != Begun::New {
            return Err(Unauthenticated::Ticket);
        }
        Ok(principal)
    }

    /// Forgets a key: it was changed here.
    pub(super) fn forget(&self, digest: KeyDigest) {
        self.lock().remove(&digest);
    }

    /// Forgets all keys: some were removed.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
        self.lock_shares().clear();
    }

    /// Forgets a link: it was changed here.
    pub(super) fn forget_share(&self, digest: KeyDigest) {
        self.lock_shares().remove(&digest);
    }

    fn anybody(&self, address: Option<IpAddr>) -> Principal {
        Principal {
            tenant: self.default.id,
            tenant_name: self.default.name.clone(),
            role: Role::Admin,
            user: None,
            credential: "none".to_owned(),
            key: None,
            guest: None,
            address,
        }
    }

    async fn whose(&self, key: &str, address: Option<IpAddr>) -> Result<Principal, Unauthenticated> {
        let digest = digest_of(key);
        if is_share_token(key) {
            return self.guest(digest, address).await;
        }
        let principal = if let Some(oidc) = self.oidc.as_ref().filter(|_| is_token(key)) {
            self.bearer(oidc, key, address).await?
        } else if let Some(identity) = self.ring.find(digest) {
            let tenant = self.configured.get(&identity.tenant);
            let tenant = *tenant.ok_or(Unauthenticated::Unknown)?;
            Principal {
                tenant,
                tenant_name: identity.tenant.clone(),
                role: identity.role,
                user: identity.user.clone(),
                credential: identity.name.clone(),
                key: Some(id_of_configured(digest)),
                guest: None,
                address,
            }
        } else {
            let found = self.stored(digest).await?.ok_or(Unauthenticated::Unknown)?;
            let (tenant, key) = &*found;
            self.check(key, address)?;
            self.note_use(*tenant, key).await;
            Principal {
                tenant: *tenant,
                tenant_name: self.default.name.clone(),
                role: key.role,
                user: key.user.clone(),
                credential: key.name.clone(),
                key: Some(key.id),
                guest: None,
                address,
            }
        };
        self.admit(principal).await
    }

    /// The principal, if its tenant's credentials are taken.
    async fn admit(&self, principal: Principal) -> Result<Principal, Unauthenticated> {
        let tenant = self.tenants.get(principal.tenant).await?;
        let tenant = tenant.ok_or(Unauthenticated::Unknown)?;
        // Whoever runs the platform may always undo it.
        if tenant.suspended_at.is_some() && principal.role != Role::Admin {
            return Err(Unauthenticated::Suspended);
        }
        Ok(Principal {
            tenant_name: tenant.name.clone(),
            ..principal
        })
    }

    /// Whom a link lets in. Where no key is needed it is still held to: who comes by it sees no more.
    async fn guest(&self, digest: KeyDigest, address: Option<IpAddr>) -> Result<Principal, Unauthenticated> {
        let found = self.shared(digest).await?.ok_or(Unauthenticated::ShareUnknown)?;
        let (tenant, share) = &*found;
        if share.revoked_at.is_some() {
            return Err(Unauthenticated::ShareRevoked);
        }
        if share.is_over(self.clock.now()) {
            return Err(Unauthenticated::ShareExpired);
        }
        let owner = self.tenants.get(*tenant).await?;
        if !owner.is_some_and(|tenant| tenant.policy.share_links) {
            return Err(Unauthenticated::SharesOff);
        }
        self.admit(Principal {
            tenant: *tenant,
            tenant_name: self.default.name.clone(),
            role: Role::Guest,
            user: None,
            credential: share.id.to_string(),
            key: None,
            guest: Some(Guest {
                share: share.id,
                session: share.session,
                files: share.files,
            }),
            address,
        })
        .await
    }

    async fn shared(&self, digest: KeyDigest) -> Result<FoundShare, StoreError> {
        let remembered = self.lock_shares().get(&digest).cloned();
        if let Some((since, found)) = remembered
            && since.elapsed() < self.rules.stands
        {
            return Ok(found);
        }
        let since = Instant::now();
        let found = self.store.find_share(digest).await?;
        let found = found
            .filter(|(_, share)| is_same(share.digest, digest))
            .map(Arc::new);
        let mut known = self.lock_shares();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, (since, found.clone()));
        Ok(found)
    }

    /// Whom a token of the company's login stands for.
    async fn bearer(
        &self,
        oidc: &OidcVerifier,
        token: &str,
        address: Option<IpAddr>,
    ) -> Result<Principal, Unauthenticated> {
        let identity = oidc.verify(token).await.map_err(|refused| match refused {
            TokenRefused::Unreachable(error) => {
                tracing::error!(
                    error = &*error as &dyn std::error::Error,
                    "the issuer's keys cannot be fetched"
                );
                Unauthenticated::IssuerAway
            }
            refused => Unauthenticated::Token(refused.to_string()),
        })?;
        let tenant = self.store.find_tenant(&identity.tenant).await?;
        let tenant = tenant.ok_or(Unauthenticated::TokenTenant)?;
        Ok(Principal {
            tenant: tenant.id,
            tenant_name: tenant.name,
            role: identity.role,
            user: identity.user,
            credential: format!("token of {}", identity.subject),
            key: None,
            guest: None,
            address,
        })
    }

    fn check(&self, key: &ApiKey, address: Option<IpAddr>) -> Result<(), Unauthenticated> {
        if key.revoked_at.is_some() {
            return Err(Unauthenticated::Revoked);
        }
        if key.is_over(self.clock.now()) {
            return Err(Unauthenticated::Expired);
        }
        if !key.is_for(address) {
            return Err(Unauthenticated::Network);
        }
        Ok(())
    }

    async fn stored(&self, digest: KeyDigest) -> Result<Found, StoreError> {
        if !self.rules.stored_keys {
            return Ok(None);
        }
        let remembered = self.lock().get(&digest).cloned();
        if let Some((since, found)) = remembered
            && since.elapsed() < self.rules.stands
        {
            return Ok(found);
        }
        let since = Instant::now();
        let found = self.store.find_key(digest).await?;
        let found = found.filter(|(_, key)| is_same(key.digest, digest)).map(Arc::new);
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, (since, found.clone()));
        Ok(found)
    }

    async fn note_use(&self, tenant: TenantId, key: &ApiKey) {
        let now = self.clock.now();
        if key.last_used_at.is_some_and(|last| now - last < USE_NOTED_EVERY) {
            return;
        }
        {
            // Once: the others of this moment need not.
            let mut known = self.lock();
            let Some((_, Some(found))) = known.get_mut(&key.digest) else {
                return;
            };
            if found.1.last_used_at != key.last_used_at {
                return;
            }
            let used = ApiKey {
                last_used_at: Some(now),
                ..key.clone()
            };
            *found = Arc::new((tenant, used));
        }
        if let Err(error) = self.store.note_key_use(tenant, key.id, now).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "when a key was last used was not noted"
            );
        }
    }

    /// Enters in the audit that a credential was refused; of many from one place in a short time, a few.
    async fn note_failure(&self, key: Option<&str>, address: Option<IpAddr>, refused: &Unauthenticated) {
        let is_ours = matches!(refused, Unauthenticated::Store(_) | Unauthenticated::IssuerAway);
        let (Some(key), false) = (key, is_ours) else {
            return;
        };
        let Some(unnoted) = self.failures.count(address) else {
            return;
        };
        let remembered = self.lock().get(&digest_of(key)).cloned();
        let known = remembered.and_then(|(_, found)| found);
        let note = AuditNote {
            at: self.clock.now(),
            tenant: known.as_ref().map(|known| known.0),
            actor: known
                .as_ref()
                .map_or("unknown", |known| known.1.name.as_str())
                .to_owned(),
            address,
            action: AuditAction::KeyRefused,
            target: known.map_or_else(|| "unknown".to_owned(), |known| known.1.id.to_string()),
            details: serde_json::Map::new(),
        };
        let note = note
            .with("reason", refused.to_string())
            .with("unnoted_before", unnoted);
        if let Err(error) = self.store.append_audit(&[note]).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a refused key was not entered in the audit"
            );
        }
    }

    fn lock_shares(&self) -> MutexGuard<'_, HashMap<KeyDigest, (Instant, FoundShare)>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyDigest, (Instant, Found)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
