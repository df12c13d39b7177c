//! Who may call: the configured keys, those in the store, and the first one of all.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use super::{StartupError, stores};
use crate::domain::{
    ApiKey, AuditAction, AuditNote, Clock, KeyId, Principal, Role, SystemClock, Tenant, TenantId, TenantName,
};
use crate::limits::tenants::Tenants;
use crate::security::keys::{KeyIdentity, KeyRing, digest_from_hex, digest_of, new_key};
use crate::security::oidc::{OidcRules, OidcVerifier};
use crate::security::tickets::TicketKey;
use crate::security::tls;
use crate::service::{AuthenticationRules, AuthenticationService, TenantService};
use crate::settings::{OidcSettings, Settings};
use crate::store::Store;

/// The tenant of callers without a credential, where they are allowed, and of the platform's own key.
pub(crate) const DEFAULT_TENANT: &str = "default";

/// Finds whom credentials stand for; and the key that was just made, if there was none and one is needed.
pub(super) async fn authentication(
    settings: &Settings,
    store: &Arc<dyn Store>,
    tenants: &Arc<Tenants>,
    clock: &Arc<dyn Clock>,
) -> Result<(AuthenticationService, Option<SecretString>), StartupError> {
    let name: TenantName = parse("auth", DEFAULT_TENANT)?;
    let ring = key_ring(settings, &name)?;
    let mut configured = HashMap::new();
    let anonymous = settings.dialects.enabled();
    let anonymous = anonymous.filter_map(|(_, dialect)| Some(&dialect.anonymous.as_ref()?.tenant));
    let keys = ring.identities().map(|identity| &identity.tenant);
    for name in keys.chain(anonymous) {
        let tenant = ensure_tenant(&**store, &**clock, name).await?;
        configured.insert(name.clone(), tenant.id);
    }
    let default = ensure_tenant(&**store, &**clock, &name).await?;
    let rules = AuthenticationRules {
        enforced: settings.auth.is_enforced(),
        // Where agents may be unfenced because only one user can exist, no other key may bring in another one.
        stored_keys: !settings.is_for_one_user(),
        stands: settings.auth.cache_ttl,
        ticket_ttl: settings.websocket.ticket_ttl,
        tickets: TicketKey::new(stores::shared_secret(&**store, "tickets").await?),
    };
    let needs_key =
        rules.enforced && ring.is_empty() && settings.auth.oidc.is_none() && !store.has_key().await?;
    let first = if needs_key {
        Some(first_key(&**store, &**clock, &default).await?)
    } else {
        None
    };
    let service = AuthenticationService::new(
        Arc::clone(store),
        Arc::clone(clock),
        Arc::clone(tenants),
        ring,
        configured,
        default,
        rules,
    );
    let service = match &settings.auth.oidc {
        Some(settings) => service.with_tokens(oidc(settings)?),
        None => service,
    };
    Ok((service, first))
}

/// What is done to tenants and their keys from the command line, without a server.
pub async fn administration(
    settings: &Settings,
    store: &Arc<dyn Store>,
) -> Result<(TenantService, Principal), StartupError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tenants = Arc::new(Tenants::new(Arc::clone(store), settings.auth.cache_ttl));
    let default = ensure_tenant(&**store, &*clock, &parse("auth", DEFAULT_TENANT)?).await?;
    let operator = Principal {
        tenant: default.id,
        tenant_name: default.name.clone(),
        role: Role::Admin,
        user: None,
        credential: "command line".to_owned(),
        key: None,
        guest: None,
        address: None,
    };
    let rules = AuthenticationRules {
        enforced: true,
        stored_keys: true,
        stands: settings.auth.cache_ttl,
        ticket_ttl: settings.websocket.ticket_ttl,
        tickets: TicketKey::new(stores::shared_secret(&**store, "tickets").await?),
    };
    let authentication = AuthenticationService::new(
        Arc::clone(store),
        Arc::clone(&clock),
        Arc::clone(&tenants),
        KeyRing::default(),
        HashMap::new(),
        default,
        rules,
    );
    let service = TenantService::new(Arc::clone(store), tenants, Arc::new(authentication), clock);
    Ok((service, operator))
}

/// Verifies tokens of the company's own login.
fn oidc(settings: &OidcSettings) -> Result<OidcVerifier, StartupError> {
    let cannot = |problem: String| StartupError::Key {
        setting: "auth.oidc",
        problem,
    };
    let tls = tls::client().map_err(|error| cannot(error.to_string()))?;
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| cannot(error.to_string()))?;
    let own_names = || {
        [Role::Reader, Role::Member, Role::Owner, Role::Admin]
            .into_iter()
            .map(|role| (role.to_string(), role))
            .collect()
    };
    let meanings = settings.roles.clone();
    let rules = OidcRules {
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        jwks_url: settings.jwks_url.clone(),
        keys_ttl: settings.keys_ttl,
        leeway: settings.leeway,
        tenant_claim: settings.tenant_claim.clone(),
        default_tenant: settings
            .default_tenant
            .as_deref()
            .map(|name| parse("auth.oidc.default_tenant", name))
            .transpose()?,
        user_claim: settings.user_claim.clone(),
        role_claim: settings.role_claim.clone(),
        roles: if meanings.is_empty() {
            own_names()
        } else {
            meanings
        },
        default_role: settings.default_role,
    };
    Ok(OidcVerifier::new(rules, client))
}

async fn ensure_tenant(
    store: &dyn Store,
    clock: &dyn Clock,
    name: &TenantName,
) -> Result<Tenant, StartupError> {
    let new = Tenant::new(TenantId::generate(clock), name.clone(), clock.now());
    Ok(store.ensure_tenant(&new).await?)
}

/// A key for whoever runs the platform. Of several instances that start at once, one makes it.
async fn first_key(
    store: &dyn Store,
    clock: &dyn Clock,
    tenant: &Tenant,
) -> Result<SecretString, StartupError> {
    let secret = new_key().map_err(StartupError::Random)?;
    let now = clock.now();
    let key = ApiKey {
        id: KeyId::generate(clock),
        name: "first".to_owned(),
        role: Role::Admin,
        user: None,
        digest: digest_of(secret.expose_secret()),
        created_at: now,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        networks: Vec::new(),
    };
    let note = AuditNote {
        at: now,
        tenant: Some(tenant.id),
        actor: "paddock".to_owned(),
        address: None,
        action: AuditAction::KeyCreated,
        target: key.id.to_string(),
        details: serde_json::Map::new(),
    };
    let note = note.with("name", "first").with("role", "admin");
    if store.insert_key(tenant.id, &key, &note).await? {
        Ok(secret)
    } else {
        Err(StartupError::Key {
            setting: "auth.enabled",
            problem: "another instance made the first key in this very moment; start again".to_owned(),
        })
    }
}

fn key_ring(settings: &Settings, default: &TenantName) -> Result<KeyRing, StartupError> {
    let mut keys = Vec::new();
    if let Some(key) = &settings.auth.admin_key {
        let identity = KeyIdentity {
            name: "admin_key".to_owned(),
            tenant: default.clone(),
            role: Role::Admin,
            user: None,
        };
        keys.push((digest_of(key.expose_secret()), identity));
    }
    for key in &settings.auth.keys {
        let plain = key.key.as_ref().map(|key| digest_of(key.expose_secret()));
        let hash = plain.or_else(|| digest_from_hex(key.key_sha256.as_deref()?));
        let hash = hash.ok_or_else(|| StartupError::Key {
            setting: "auth.keys",
            problem: format!("`{}` has neither a key nor a hash", key.name),
        })?;
        let identity = KeyIdentity {
            name: key.name.clone(),
            tenant: parse("auth.keys.tenant", &key.tenant)?,
            role: key.role,
            user: key
                .user_id
                .as_deref()
                .map(|user| parse("auth.keys.user_id", user))
                .transpose()?,
        };
        keys.push((hash, identity));
    }
    Ok(KeyRing::new(keys))
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(
    setting: &'static str,
    text: &str,
) -> Result<T, StartupError> {
    text.parse().map_err(|error: T::Err| StartupError::Key {
        setting,
        problem: error.to_string(),
    })
}
