//! API keys: who a presented key belongs to.
//!
//! Only hashes are held. Keys are long random strings, so a fast hash is enough; all are compared, each in constant
//! time, so that the time taken tells nothing of how near a guess was.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use crate::domain::{Role, TenantName, UserId};

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

impl KeyHash {
    /// The hash of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The hash that is written as 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// Whom a key stands for.
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

/// The keys that are known.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(Vec<(KeyHash, KeyIdentity)>);

impl KeyRing {
    /// A ring of these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = (KeyHash, KeyIdentity)>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// Whom all its keys stand for.
    pub fn identities(&self) -> impl Iterator<Item = &KeyIdentity> {
        self.0.iter().map(|(_, identity)| identity)
    }

    /// Whom a presented key stands for.
    #[must_use]
    pub fn authenticate(&self, presented: &str) -> Option<&KeyIdentity> {
        let presented = KeyHash::of(presented);
        let mut found = None;
        for (hash, identity) in &self.0 {
            let same: Choice = hash.0.ct_eq(&presented.0);
            if bool::from(same) {
                found = Some(identity);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
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
    fn a_key_is_known_by_its_hash_and_no_other_is() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let ring = KeyRing::new([
            (KeyHash::of("first-key"), identity("first")),
            (KeyHash::from_hex(hex).unwrap(), identity("abc")),
        ]);
        assert_eq!(ring.authenticate("first-key").unwrap().name, "first");
        assert_eq!(ring.authenticate("abc").unwrap().name, "abc");
        for wrong in ["", "first-ke", "first-key ", "FIRST-KEY", hex] {
            assert_eq!(ring.authenticate(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_hash_is_written_as_64_hexadecimal_digits() {
        for wrong in ["", "ba", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert!(KeyHash::from_hex(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let ring = KeyRing::new([(KeyHash::of("a-secret-key"), identity("n"))]);
        assert!(!format!("{ring:?}").contains("a-secret-key"));
    }
}
