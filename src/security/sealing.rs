//! Sealing: secrets as they lie in the store, of no use without the server's key.
//!
//! Each is encrypted and authenticated (XChaCha20-Poly1305) with what it is for, so that one sealed for a tenant does not
//! open as another's. There may be several keys: the newest seals, all of them open, so that keys can be changed without a
//! stop.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// What a sealed text begins with.
const VERSION: &str = "v1";
/// The length of a key, in bytes.
const KEY_BYTES: usize = 32;
/// The length of a nonce, in bytes; long enough to be drawn by lot.
const NONCE_BYTES: usize = 24;

/// The keys that seal and open.
#[derive(Clone, Default)]
pub struct SealingKeys {
    /// The newest first.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no key.
    #[error("no sealing key is configured (auth.sealing_key)")]
    NoKey,
    /// It was sealed with a key that is not among these.
    #[error("it was sealed with a key that is not configured")]
    UnknownKey,
    /// It is not what was sealed, or was sealed for something else.
    #[error("it is not what was sealed, or was sealed for something else")]
    Broken,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] getrandom::Error),
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("each key must be 64 hexadecimal digits (openssl rand -hex 32)")]
pub struct BadKey;

impl std::fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.keys.iter().map(|key| &key.id))
            .finish()
    }
}

impl SealingKeys {
    /// The keys that stand in a text, newest first, apart by commas or white space.
    pub fn parse(text: &SecretString) -> Result<Self, BadKey> {
        let words = text
            .expose_secret()
            .split(|letter: char| letter == ',' || letter.is_whitespace())
            .filter(|word| !word.is_empty());
        let keys = words.map(Key::parse).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// A key that nobody knows.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(Self {
            keys: vec![Key::of(bytes)],
        })
    }

    /// Seals a secret for a purpose.
    pub fn seal(&self, purpose: &str, secret: &SecretString) -> Result<String, SealError> {
        let key = self.keys.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SealError::Random)?;
        let payload = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: purpose.as_bytes(),
        };
        let sealed = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_opaque| SealError::Broken)?;
        let text = STANDARD_NO_PAD.encode([nonce.as_slice(), &sealed].concat());
        Ok(format!("{VERSION}.{}.{text}", key.id))
    }

    /// Opens what was sealed for this purpose.
    pub fn open(&self, purpose: &str, sealed: &str) -> Result<SecretString, SealError> {
        if self.keys.is_empty() {
            return Err(SealError::NoKey);
        }
        let mut parts = sealed.splitn(3, '.');
        let (Some(VERSION), Some(id), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SealError::Broken);
        };
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or(SealError::UnknownKey)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_bad| SealError::Broken)?;
        let (nonce, sealed) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SealError::Broken)?;
        let payload = Payload {
            msg: sealed,
            aad: purpose.as_bytes(),
        };
        let opened = key
            .cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_opaque| SealError::Broken)?;
        String::from_utf8(opened)
            .map(Into::into)
            .map_err(|_bad| SealError::Broken)
    }

    /// Whether the newest key sealed this.
    #[must_use]
    pub fn is_newest(&self, sealed: &str) -> bool {
        let id = sealed.split('.').nth(1);
        self.keys.first().is_some_and(|key| Some(key.id.as_str()) == id)
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, BadKey> {
        let mut bytes = [0; KEY_BYTES];
        if text.len() != 2 * KEY_BYTES || !text.is_ascii() {
            return Err(BadKey);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_bad| BadKey)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_bad| BadKey)?;
        }
        Ok(Self::of(bytes))
    }

    fn of(bytes: [u8; KEY_BYTES]) -> Self {
        // By this a key is known, and nothing of it told.
        let digest = Sha256::new_with_prefix("paddock sealing key")
            .chain_update(bytes)
            .finalize();
        let [first, second, third, fourth, ..] = <[u8; 32]>::from(digest);
        let id = format!("{:08x}", u32::from_be_bytes([first, second, third, fourth]));
        Self {
            id,
            cipher: XChaCha20Poly1305::new(&bytes.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(digits: &[char]) -> SealingKeys {
        let text: Vec<_> = digits.iter().map(|digit| digit.to_string().repeat(64)).collect();
        SealingKeys::parse(&text.join(",\n").into()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_purpose_alone() {
        let keys = keys(&['a']);
        let sealed = keys.seal("one", &"secret".to_owned().into()).unwrap();
        assert!(!sealed.contains("secret"));
        assert_eq!(keys.open("one", &sealed).unwrap().expose_secret(), "secret");
        assert!(matches!(keys.open("other", &sealed), Err(SealError::Broken)));
        assert_ne!(
            keys.seal("one", &"secret".to_owned().into()).unwrap(),
            sealed,
            "the same secret looks different each time"
        );
    }

    #[test]
    fn an_older_key_still_opens_and_the_newest_seals() {
        let sealed = keys(&['a']).seal("p", &"secret".to_owned().into()).unwrap();
        let both = keys(&['b', 'a']);
        assert_eq!(both.open("p", &sealed).unwrap().expose_secret(), "secret");
        assert!(!both.is_newest(&sealed));
        let again = both.seal("p", &"secret".to_owned().into()).unwrap();
        assert!(both.is_newest(&again));
        assert!(matches!(
            keys(&['a']).open("p", &again),
            Err(SealError::UnknownKey)
        ));
        assert!(matches!(
            SealingKeys::default().open("p", &again),
            Err(SealError::NoKey)
        ));
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let keys = keys(&['a']);
        let sealed = keys.seal("p", &"secret".to_owned().into()).unwrap();
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(keys.open("p", &changed).is_err(), "at {at}");
        }
        for broken in ["", "v1", "v1.a", "v1..", "v2.a.b"] {
            assert!(keys.open("p", broken).is_err());
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_none_is_shown() {
        for bad in ["a", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(SealingKeys::parse(&bad.to_owned().into()).unwrap_err(), BadKey);
        }
        let shown = format!("{:?}", keys(&['a']));
        assert!(!shown.contains("aaaa"), "{shown}");
    }
}
