//! Tokens of a company's own login (`OpenID` Connect): who signed them, for whom they are, and what they say of the caller.
//!
//! The signer's keys are fetched from where it publishes them, kept for a while, and fetched again when a token names one
//! that is not among them. A token is taken only with a signature of a kind that is allowed here; the kind that the token
//! itself names decides nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::domain::{Role, TenantName, UserId};

/// How soon after a fetch another one is made for a key that is not among those fetched.
const FETCHED_AGAIN: Duration = Duration::from_secs(5);
/// How long the signer may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer of the signer, in bytes.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// How tokens are looked at.
#[derive(Debug, Clone)]
pub struct OidcRules {
    /// Who signs them.
    pub issuer: String,
    /// For whom they have to be.
    pub audience: String,
    /// Where the signer's keys are; as the issuer tells, when absent.
    pub jwks_url: Option<Url>,
    /// How long keys that were fetched are believed.
    pub keys_ttl: Duration,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The tenant of tokens without that claim; they are refused when absent.
    pub default_tenant: Option<TenantName>,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that names the role; a text, or a list of which the highest counts.
    pub role_claim: String,
    /// What its values mean.
    pub roles: HashMap<String, Role>,
    /// The role of tokens whose claim means none; they are refused when absent.
    pub default_role: Option<Role>,
}

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    /// What it is called in logs.
    pub subject: String,
    /// Its tenant.
    pub tenant: TenantName,
    /// What it may do.
    pub role: Role,
    /// The one user it acts for; any of the tenant for owners and admins.
    pub user: Option<UserId>,
}

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// It is not a token, or not signed by whom it should be, or over.
    #[error("the token is not valid: {0}")]
    Invalid(#[from] jsonwebtoken::errors::Error),
    /// Its signer's keys do not have the one it names.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// It says nothing that names a caller here.
    #[error("the token's claim `{claim}` {problem}")]
    Claim {
        /// The claim.
        claim: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The signer's keys cannot be fetched.
    #[error("the issuer's keys cannot be fetched")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Verifies tokens of one issuer.
#[derive(Debug)]
pub struct OidcVerifier {
    rules: OidcRules,
    client: Client,
    keys: Mutex<Option<Fetched>>,
}

#[derive(Debug)]
struct Fetched {
    keys: Arc<JwkSet>,
    at: Instant,
}

#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: Url,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Whether a credential looks like a token, and not like a key.
#[must_use]
pub fn is_token(credential: &str) -> bool {
    credential.starts_with("eyJ") && credential.split('.').count() == 3
}

impl OidcVerifier {
    /// Verifies by these rules, with this client.
    #[must_use]
    pub fn new(rules: OidcRules, client: Client) -> Self {
        Self {
            rules,
            client,
            keys: Mutex::new(None),
        }
    }

    /// Whom a token stands for.
    pub async fn verify(&self, token: &str) -> Result<TokenIdentity, TokenRefused> {
        let header = decode_header(token)?;
        let key = self.key(header.kid.as_deref()).await?;
        let decoding = DecodingKey::from_jwk(&key)?;
        let allowed = algorithms_of(&key);
        // The first is what decides what kind of key there must be.
        let mut validation = Validation::new(allowed.first().copied().unwrap_or(Algorithm::RS256));
        validation.algorithms = allowed;
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&[&self.rules.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = self.rules.leeway.as_secs();
        let token = decode::<Claims>(token, &decoding, &validation)?;
        self.identity(token.claims)
    }

    fn identity(&self, claims: Claims) -> Result<TokenIdentity, TokenRefused> {
        let rules = &self.rules;
        let wrong = |claim: &str, problem| TokenRefused::Claim {
            claim: claim.to_owned(),
            problem,
        };
        let claim = |name: &str| {
            if name == "sub" {
                Some(Value::String(claims.sub.clone()))
            } else {
                claims.others.get(name).cloned()
            }
        };
        let tenant = match claim(&rules.tenant_claim) {
            Some(Value::String(name)) => name
                .parse()
                .map_err(|_invalid| wrong(&rules.tenant_claim, "is no tenant's name"))?,
            Some(_) => return Err(wrong(&rules.tenant_claim, "is no text")),
            None => rules
                .default_tenant
                .clone()
                .ok_or_else(|| wrong(&rules.tenant_claim, "is missing"))?,
        };
        let values = match claim(&rules.role_claim) {
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
            None => Vec::new(),
        };
        let meant = values.iter().filter_map(|value| rules.roles.get(value.as_str()?));
        let role = meant.max().copied().or(rules.default_role);
        let role = role.ok_or_else(|| wrong(&rules.role_claim, "means no role here"))?;
        let user = match claim(&rules.user_claim) {
            Some(Value::String(name)) => name.parse().ok(),
            _ => None,
        };
        // Whoever works acts for itself alone.
        let user = match (role, user) {
            (Role::Owner | Role::Admin, _) => None,
            (_, Some(user)) => Some(user),
            (_, None) => return Err(wrong(&rules.user_claim, "is no user's id")),
        };
        Ok(TokenIdentity {
            subject: claims.sub,
            tenant,
            role,
            user,
        })
    }

    /// The issuer's key of this id.
    async fn key(&self, id: Option<&str>) -> Result<Jwk, TokenRefused> {
        let mut kept = self.keys.lock().await;
        let fresh = kept
            .as_ref()
            .filter(|fetched| fetched.at.elapsed() < self.rules.keys_ttl);
        if let Some(fetched) = fresh {
            if let Some(key) = find(&fetched.keys, id) {
                return Ok(key);
            }
            if fetched.at.elapsed() < FETCHED_AGAIN {
                return Err(TokenRefused::UnknownKey);
            }
        }
        match self.fetch().await {
            Ok(keys) => {
                let found = find(&keys, id);
                *kept = Some(Fetched {
                    keys: Arc::new(keys),
                    at: Instant::now(),
                });
                found.ok_or(TokenRefused::UnknownKey)
            }
            // Keys that were good a moment ago are better than none.
            Err(error) => match kept.as_ref().and_then(|fetched| find(&fetched.keys, id)) {
                Some(key) => {
                    tracing::warn!(
                        error = &*error as &dyn std::error::Error,
                        "the issuer's keys cannot be fetched; the last ones go on"
                    );
                    Ok(key)
                }
                None => Err(TokenRefused::Unreachable(error)),
            },
        }
    }

    async fn fetch(&self) -> Result<JwkSet, Box<dyn std::error::Error + Send + Sync>> {
        if let Some(url) = &self.rules.jwks_url {
            return self.get(url.clone()).await;
        }
        let issuer = self.rules.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{issuer}/.well-known/openid-configuration"))?;
        let told: Discovered = self.get(url).await?;
        if told.issuer != self.rules.issuer {
            return Err("the issuer names another one as itself".into());
        }
        self.get(told.jwks_uri).await
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        url: Url,
    ) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
        let mut answer = self
            .client
            .get(url)
            .timeout(PATIENCE)
            .send()
            .await?
            .error_for_status()?;
        let mut body = Vec::new();
        while let Some(bytes) = answer.chunk().await? {
            if body.len() + bytes.len() > ANSWER_MAX_BYTES {
                return Err("the issuer's answer is too long".into());
            }
            body.extend_from_slice(&bytes);
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

/// The key of this id; where there is one key alone, a token need not name it.
fn find(keys: &JwkSet, id: Option<&str>) -> Option<Jwk> {
    match (id, keys.keys.as_slice()) {
        (Some(id), _) => keys.find(id).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// The kinds of signature that a key is good for. None of them is a shared secret.
fn algorithms_of(key: &Jwk) -> Vec<Algorithm> {
    use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve};
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => vec![Algorithm::ES256],
        },
        AlgorithmParameters::OctetKeyPair(_) => vec![Algorithm::EdDSA],
        _ => Vec::new(),
    }
}
