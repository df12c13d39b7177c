//! Tickets: who may open one connection, for a short while, where no header can be sent.
//!
//! A ticket says who its holder is and is signed; nothing of it is kept. That it is used once is for whoever takes it to see.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use super::signing::hmac_by;
use crate::domain::{KeyId, Role, SessionId, TenantId, UserId};

/// Signs tickets. All instances of a server have the same key.
#[derive(Clone)]
pub struct TicketKey([u8; 32]);

impl std::fmt::Debug for TicketKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKey(..)")
    }
}

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Which ticket it is.
    pub number: Uuid,
    /// The session that it opens.
    pub session: SessionId,
    /// Whose.
    pub tenant: TenantId,
    /// What its holder may do.
    pub role: Role,
    /// The one user that its holder acts for; any of the tenant's when absent.
    pub user: Option<UserId>,
    /// What the holder's credential is called.
    pub credential: String,
    /// The holder's key, if it is one.
    pub key: Option<KeyId>,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

impl TicketKey {
    /// Signs with this secret.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The ticket as its holder gets it.
    pub fn sign(&self, ticket: &Ticket) -> Result<String, serde_json::Error> {
        let said = URL_SAFE_NO_PAD.encode(serde_json::to_vec(ticket)?);
        let tag = URL_SAFE_NO_PAD.encode(self.mac(&said).finalize().into_bytes());
        Ok(format!("{said}.{tag}"))
    }

    /// What a ticket says, if we signed it.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Ticket> {
        let (said, tag) = text.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        self.mac(said).verify_slice(&tag).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(said).ok()?).ok()
    }

    fn mac(&self, said: &str) -> Hmac<Sha256> {
        let mut mac = hmac_by(&self.0);
        mac.update(said.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn a_ticket_opens_as_it_was_signed_and_a_changed_one_does_not() {
        let key = TicketKey::new([7; 32]);
        let ticket = Ticket {
            number: Uuid::nil(),
            session: SessionId::generate(&SystemClock),
            tenant: TenantId::generate(&SystemClock),
            role: Role::Member,
            user: Some("alice".parse().unwrap()),
            credential: "laptop".into(),
            key: None,
            expires_at: DateTime::UNIX_EPOCH,
        };
        let text = key.sign(&ticket).unwrap();
        assert_eq!(key.open(&text), Some(ticket));
        assert_eq!(TicketKey::new([8; 32]).open(&text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last letter of base64 has bits that mean nothing; they are refused too.
            assert_eq!(key.open(&changed), None, "{changed}");
        }
        for wrong in ["", ".", "a.b", &text.replace('.', "")] {
            assert_eq!(key.open(wrong), None);
        }
    }
}
