//! `auth`: who may call.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::redacted::redact;
use super::{duration, require};
use crate::domain::{Role, TenantName, UserId};

/// The shortest key.
const KEY_MIN_CHARS: usize = 16;
/// The longest time for which a revoked key may still be believed in.
const CACHE_TTL_MAX: Duration = Duration::from_secs(5);

/// Who may call.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSection {
    /// Whether callers need a key. Null: as soon as a key is set here. `true` without one: those in the store count, and where
    /// there is none, the first start makes one and prints it, once. `false` is possible on loopback only.
    pub enabled: Option<bool>,
    /// The platform's own key, of role `admin`. Better set by a variable or a file.
    #[serde(serialize_with = "redact")]
    pub admin_key: Option<SecretString>,
    /// What tenants' own secrets are sealed with in the store: 64 hexadecimal digits (`openssl rand -hex 32`), or
    /// several such keys, newest first, apart by commas or line ends; the newest seals, all open, `paddock reseal`
    /// seals anew. Better set by a variable or a file.
    #[serde(serialize_with = "redact")]
    pub sealing_key: Option<SecretString>,
    /// How long what was found of a stored key, or of a tenant, is believed: so long an instance may not know that
    /// another one revoked or suspended it.
    #[serde(with = "duration")]
    pub cache_ttl: Duration,
    /// How often it is looked whether those who stay connected may: so long, at most, is a log followed with a key that
    /// was revoked.
    #[serde(with = "duration")]
    pub recheck_interval: Duration,
    /// How long a link shows a session where nobody says otherwise. Tenants allow links by their policy (`share_links`).
    #[serde(with = "duration")]
    pub share_link_ttl: Duration,
    /// The longest time for which a link may show a session.
    #[serde(with = "duration")]
    pub share_link_ttl_max: Duration,
    /// Tokens of a company's own login (`OpenID` Connect), taken as bearers; none are taken when null. The tenant
    /// must be known. Readers and members act for their own user alone. RSA, EC (P-256, P-384) and Ed25519; no shared
    /// secrets.
    pub oidc: Option<OidcSettings>,
    /// More keys.
    pub keys: Vec<KeySettings>,
}

/// Tokens of a company's own login (`OpenID` Connect).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// Who signs them: the `iss` of tokens.
    pub issuer: String,
    /// For whom they have to be: the `aud` of tokens.
    pub audience: String,
    /// Where the signer's keys are; null: as the issuer tells under `/.well-known/openid-configuration`.
    #[serde(default)]
    pub jwks_url: Option<Url>,
    /// How long keys that were fetched are believed.
    #[serde(default = "five_minutes", with = "duration")]
    pub keys_ttl: Duration,
    /// How far clocks may be apart.
    #[serde(default = "one_minute", with = "duration")]
    pub leeway: Duration,
    /// The claim that names the tenant.
    #[serde(default = "tenant_claim")]
    pub tenant_claim: String,
    /// The tenant of tokens without that claim; they are refused when null.
    #[serde(default)]
    pub default_tenant: Option<String>,
    /// The claim that names the user.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// The claim that names the role: a text, or a list of which the highest counts.
    #[serde(default = "role_claim")]
    pub role_claim: String,
    /// What its values mean; the roles' own names when empty.
    #[serde(default)]
    pub roles: HashMap<String, Role>,
    /// The role of tokens whose claim means none; they are refused when null.
    #[serde(default)]
    pub default_role: Option<Role>,
}

const fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

const fn one_minute() -> Duration {
    Duration::from_mins(1)
}

fn tenant_claim() -> String {
    "tenant".to_owned()
}

fn user_claim() -> String {
    "sub".to_owned()
}

fn role_claim() -> String {
    "role".to_owned()
}

impl OidcSettings {
    fn check(&self, problems: &mut Vec<String>) {
        let is_near = |url: &Url| match url.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_safe = |url: &Url| url.scheme() == "https" || (url.scheme() == "http" && is_near(url));
        require(
            Url::parse(&self.issuer).is_ok_and(|url| is_safe(&url)),
            problems,
            "auth.oidc.issuer: must begin with https://",
        );
        require(
            self.jwks_url.as_ref().is_none_or(is_safe),
            problems,
            "auth.oidc.jwks_url: must begin with https://",
        );
        require(
            !self.audience.is_empty(),
            problems,
            "auth.oidc.audience: must not be empty, or tokens for others would be taken",
        );
        let mut roles = self.roles.values().copied().chain(self.default_role);
        require(
            roles.all(|role| role != Role::Guest),
            problems,
            "auth.oidc.roles: guests come by links that show a session, not by a login",
        );
        if let Some(Err(error)) = self.default_tenant.as_deref().map(str::parse::<TenantName>) {
            problems.push(format!("auth.oidc.default_tenant: {error}"));
        }
    }
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            enabled: None,
            admin_key: None,
            sealing_key: None,
            cache_ttl: Duration::from_secs(2),
            recheck_interval: Duration::from_secs(15),
            share_link_ttl: Duration::from_hours(24 * 7),
            share_link_ttl_max: Duration::from_hours(24 * 30),
            oidc: None,
            keys: Vec::new(),
        }
    }
}

/// One key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// What it is called, in logs.
    pub name: String,
    /// The key: at least 16 characters.
    #[serde(default, serialize_with = "redact")]
    pub key: Option<SecretString>,
    /// Instead of the key: its SHA-256, as 64 hexadecimal digits.
    #[serde(default)]
    pub key_sha256: Option<String>,
    /// The tenant it belongs to.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// What it may do.
    #[serde(default = "member")]
    pub role: Role,
    /// The one user it acts for; any of the tenant's when null.
    #[serde(default)]
    pub user_id: Option<String>,
}

fn default_tenant() -> String {
    "default".to_owned()
}

const fn member() -> Role {
    Role::Member
}

impl AuthSection {
    /// Whether callers need a key.
    #[must_use]
    pub fn is_enforced(&self) -> bool {
        self.enabled.unwrap_or_else(|| self.has_key())
    }

    /// Whether all that can call act for the same user.
    #[must_use]
    pub fn is_for_one_user(&self) -> bool {
        let mut users = self.keys.iter().map(|key| (&key.tenant, &key.user_id));
        let first = users.next();
        self.is_enforced()
            && self.admin_key.is_none()
            && self.oidc.is_none()
            && first.is_some_and(|(_, user)| user.is_some())
            && users.all(|other| Some(other) == first)
    }

    fn has_key(&self) -> bool {
        self.admin_key.is_some() || !self.keys.is_empty() || self.oidc.is_some()
    }

    pub(super) fn check(&self, host: IpAddr, problems: &mut Vec<String>) {
        let open = !host.is_loopback();
        require(
            !open || self.has_key() || self.enabled == Some(true),
            problems,
            "auth: api.host is not a loopback address, so anyone on the network could run agents here; set auth.admin_key \
             (PADDOCK__AUTH__ADMIN_KEY) or auth.keys, or auth.enabled: true to use the keys in the store, or listen on 127.0.0.1",
        );
        require(
            self.enabled != Some(false) || !open,
            problems,
            "auth.enabled: may be false only while api.host is a loopback address",
        );
        require(
            !self.recheck_interval.is_zero(),
            problems,
            "auth.recheck_interval: must be more than 0",
        );
        require(
            self.cache_ttl <= CACHE_TTL_MAX,
            problems,
            "auth.cache_ttl: must be at most 5s; so long may a revoked key open other instances",
        );
        require(
            self.share_link_ttl >= Duration::from_secs(1) && self.share_link_ttl <= self.share_link_ttl_max,
            problems,
            "auth.share_link_ttl: must be at least 1s, and at most auth.share_link_ttl_max",
        );
        let long_enough = |key: &SecretString| key.expose_secret().chars().count() >= KEY_MIN_CHARS;
        require(
            self.admin_key.as_ref().is_none_or(long_enough),
            problems,
            &format!("auth.admin_key: must have at least {KEY_MIN_CHARS} characters"),
        );
        if let Some(oidc) = &self.oidc {
            oidc.check(problems);
        }
        let mut names = HashSet::new();
        let mut keys: HashSet<&str> = self.admin_key.iter().map(ExposeSecret::expose_secret).collect();
        for (index, key) in self.keys.iter().enumerate() {
            let at = format!("auth.keys[{index}]");
            require(
                !key.name.is_empty(),
                problems,
                &format!("{at}.name: must not be empty"),
            );
            require(
                names.insert(&key.name),
                problems,
                &format!("{at}.name: `{}` names another key too", key.name),
            );
            if let Err(error) = key.tenant.parse::<TenantName>() {
                problems.push(format!("{at}.tenant: {error}"));
            }
            if let Some(Err(error)) = key.user_id.as_deref().map(str::parse::<UserId>) {
                problems.push(format!("{at}.user_id: {error}"));
            }
            require(
                key.role != Role::Guest,
                problems,
                &format!("{at}.role: guests have no keys; they come by links that show a session"),
            );
            match (&key.key, &key.key_sha256) {
                (Some(plain), None) => {
                    require(
                        long_enough(plain),
                        problems,
                        &format!("{at}.key: must have at least {KEY_MIN_CHARS} characters"),
                    );
                    require(
                        keys.insert(plain.expose_secret()),
                        problems,
                        &format!("{at}.key: is another key too"),
                    );
                }
                (None, Some(hash)) => require(
                    hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
                    problems,
                    &format!("{at}.key_sha256: must be 64 hexadecimal digits"),
                ),
                _ => problems.push(format!("{at}: set either key or key_sha256")),
            }
        }
    }
}
