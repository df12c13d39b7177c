//! The audit: what was changed, refused or answered, by whom, each entry bound to the one before.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{Principal, TenantId};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditAction {
    /// A tenant was made.
    TenantCreated,
    /// A tenant was changed.
    TenantChanged,
    /// A tenant was erased.
    TenantErased,
    /// A user of a tenant was erased.
    UserErased,
    /// What belongs to a user of a tenant was handed out.
    UserExported,
    /// What belongs to a tenant was handed out.
    TenantExported,
    /// A key was made.
    KeyCreated,
    /// A key was revoked.
    KeyRevoked,
    /// A credential was presented that opens nothing.
    KeyRefused,
    /// A tenant's own credential for the model was set.
    ModelCredentialSet,
    /// A tenant's own credential for the model was removed.
    ModelCredentialRemoved,
    /// An option was asked for that the tenant's policy forbids.
    OptionRefused,
    /// A budget was set.
    BudgetSet,
    /// A budget was removed.
    BudgetRemoved,
    /// A webhook was made.
    WebhookCreated,
    /// A webhook was changed, or its secret was.
    WebhookChanged,
    /// A webhook was removed.
    WebhookRemoved,
    /// Events were sent to a webhook again.
    WebhookReplayed,
    /// A link was made by which a session is shown.
    ShareCreated,
    /// A link by which a session was shown was revoked.
    ShareRevoked,
    /// A person answered an agent's question.
    PermissionAnswered,
}

/// Something to be entered in the audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditNote {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Whom it concerns; the platform when absent.
    pub tenant: Option<TenantId>,
    /// Who did it: a credential's name, never the credential.
    pub actor: String,
    /// Where the request came from, if it came over the network.
    pub address: Option<IpAddr>,
    /// What happened.
    pub action: AuditAction,
    /// What it was done to: an id or a name.
    pub target: String,
    /// What else is to be known of it.
    pub details: Map<String, Value>,
}

impl AuditNote {
    /// What `caller` did to `target`, which is of `tenant`.
    #[must_use]
    pub fn by(
        caller: &Principal,
        at: DateTime<Utc>,
        tenant: TenantId,
        action: AuditAction,
        target: &impl ToString,
    ) -> Self {
        Self {
            at,
            tenant: Some(tenant),
            actor: caller.credential.clone(),
            address: caller.address,
            action,
            target: target.to_string(),
            details: Map::new(),
        }
    }

    /// The same, with something else to be known.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// The hash of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHash(pub [u8; 32]);

impl AuditHash {
    /// What the first entry is bound to.
    pub const START: Self = Self([0; 32]);

    /// The hash of the entry of this number and text, after the one of hash `before`.
    #[must_use]
    pub fn of(before: Self, number: u64, text: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(before.0);
        hash.update(number.to_be_bytes());
        hash.update(text.as_bytes());
        Self(hash.finalize().into())
    }
}

impl std::fmt::Display for AuditHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An entry of the audit, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number: 1 and on, without a gap.
    pub number: u64,
    /// The note, in the very words that were hashed.
    pub text: String,
    /// Its hash.
    pub hash: AuditHash,
}

impl AuditEntry {
    /// The entry that comes after the last one, which is `None` when there is none.
    pub fn after(last: Option<(u64, AuditHash)>, note: &AuditNote) -> serde_json::Result<Self> {
        let (number, before) = last.unwrap_or((0, AuditHash::START));
        let text = serde_json::to_string(note)?;
        let number = number + 1;
        Ok(Self {
            number,
            hash: AuditHash::of(before, number, &text),
            text,
        })
    }

    /// The note.
    pub fn note(&self) -> serde_json::Result<AuditNote> {
        serde_json::from_str(&self.text)
    }

    /// Whether it is the one that comes after the last one, unchanged.
    #[must_use]
    pub fn follows(&self, last: Option<(u64, AuditHash)>) -> bool {
        let (number, before) = last.unwrap_or((0, AuditHash::START));
        self.number == number + 1 && self.hash == AuditHash::of(before, self.number, &self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Clock as _, SystemClock};

    fn note(target: &str) -> AuditNote {
        AuditNote {
            at: SystemClock.now(),
            tenant: None,
            actor: "ops".into(),
            address: None,
            action: AuditAction::KeyCreated,
            target: target.into(),
            details: Map::new(),
        }
    }

    #[test]
    fn an_entry_follows_only_the_one_that_it_was_made_after_and_only_unchanged() {
        let first = AuditEntry::after(None, &note("a")).unwrap();
        let second = AuditEntry::after(Some((first.number, first.hash)), &note("b")).unwrap();
        assert!(first.follows(None));
        assert!(second.follows(Some((first.number, first.hash))));
        assert!(!second.follows(None), "one was taken out");
        let changed = AuditEntry {
            text: second.text.replace('b', "c"),
            ..second.clone()
        };
        assert!(!changed.follows(Some((first.number, first.hash))));
        let moved = AuditEntry { number: 3, ..second };
        assert!(!moved.follows(Some((first.number, first.hash))));
    }
}
