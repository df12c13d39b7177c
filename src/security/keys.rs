//! Keys that callers prove themselves with: how they are made, and whom a configured one stands for.
//!
//! Only digests are held. Keys are long random strings, so a fast hash is enough; all are compared, each in constant
//! time, so that the time taken tells nothing of how near a guess was.

use base64::Engine as _;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::{KeyDigest, KeyId, Role, TenantName, UserId};

/// What the keys that are made here begin with, so that a leaked one is known for what it is.
const PREFIX: &str = "pdk_key_";

/// What the tokens of links that show sessions begin with.
const SHARE_PREFIX: &str = "pdk_share_";

/// A new key of 256 random bits.
pub fn new_key() -> Result<SecretString, getrandom::Error> {
    random(PREFIX)
}

/// A new token of 256 random bits for a link that shows a session.
pub fn new_share_token() -> Result<SecretString, getrandom::Error> {
    random(SHARE_PREFIX)
}

/// Whether it has the form of a token of a link that shows a session.
#[must_use]
pub fn is_share_token(key: &str) -> bool {
    key.starts_with(SHARE_PREFIX)
}

fn random(prefix: &str) -> Result<SecretString, getrandom::Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
    Ok(format!("{prefix}{text}").into())
}

/// The digest of a key.
#[must_use]
pub fn digest_of(key: &str) -> KeyDigest {
    KeyDigest(Sha256::digest(key.as_bytes()).into())
}

/// The digest that is written as 64 hexadecimal digits.
#[must_use]
pub fn digest_from_hex(text: &str) -> Option<KeyDigest> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(KeyDigest(bytes))
}

/// The id of a key that is configured and not stored: the same on all instances, and as long as the key is.
#[must_use]
pub fn id_of_configured(digest: KeyDigest) -> KeyId {
    // Of the digest's digest: an id is shown, and is to tell nothing of the key.
    let again = Sha256::digest(digest.0);
    let mut bytes = [0; 16];
    for (byte, from) in bytes.iter_mut().zip(again) {
        *byte = from;
    }
    KeyId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Whether two digests are the same, in a time that does not depend on them.
#[must_use]
pub fn is_same(one: KeyDigest, other: KeyDigest) -> bool {
    one.0.ct_eq(&other.0).into()
}

/// Whom a configured key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIdentity {
    /// The key's name, for logs.
    pub name: String,
    /// Its tenant.
    pub tenant: TenantName,
    /// What it may do.
    pub role: Role,
    /// The one user it acts for; any of the tenant when absent.
    pub user: Option<UserId>,
}

/// The keys that are configured.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(Vec<(KeyDigest, KeyIdentity)>);

impl KeyRing {
    /// A ring of these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (KeyDigest, KeyIdentity)>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whom all its keys stand for.
    pub fn identities(&self) -> impl Iterator<Item = &KeyIdentity> {
        self.0.iter().map(|(_, identity)| identity)
    }

    /// Whether no key is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of this id is configured.
    #[must_use]
    pub fn has(&self, id: KeyId) -> bool {
        self.0.iter().any(|(digest, _)| id_of_configured(*digest) == id)
    }

    /// Whom the key of this digest stands for.
    #[must_use]
    pub fn find(&self, presented: KeyDigest) -> Option<&KeyIdentity> {
        let mut found = None;
        for (digest, identity) in &self.0 {
            let same: Choice = digest.0.ct_eq(&presented.0);
            if bool::from(same) {
                found = Some(identity);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn identity(name: &str) -> KeyIdentity {
        KeyIdentity {
            name: name.into(),
            tenant: "acme".parse().unwrap(),
            role: Role::Member,
            user: None,
        }
    }

    #[test]
    fn a_key_is_known_by_its_digest_and_no_other_is() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let ring = KeyRing::new([
            (digest_of("first-key"), identity("first")),
            (digest_from_hex(hex).unwrap(), identity("abc")),
        ]);
        let find = |key: &str| ring.find(digest_of(key));
        assert_eq!(find("first-key").unwrap().name, "first");
        assert_eq!(find("abc").unwrap().name, "abc");
        for wrong in ["", "first-ke", "first-key ", "FIRST-KEY", hex] {
            assert_eq!(find(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_digest_is_written_as_64_hexadecimal_digits() {
        for wrong in ["", "ba", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert!(digest_from_hex(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn new_keys_are_recognised_and_are_never_the_same() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        for key in [&one, &other] {
            let random = key.expose_secret().strip_prefix("pdk_key_").unwrap();
            assert_eq!(random.len(), 43, "256 bits");
        }
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    #[test]
    fn debug_shows_no_key() {
        let ring = KeyRing::new([(digest_of("a-secret-key"), identity("n"))]);
        assert!(!format!("{ring:?}").contains("a-secret-key"));
    }
}
