//! What instances of the server prove themselves with to each other: by a secret that only they share, for one run of the
//! one that is asked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use subtle::ConstantTimeEq as _;

use super::signing::hmac_by;
use crate::domain::InstanceId;

/// Makes tokens for instances. All instances have the same secret.
#[derive(Clone)]
pub struct PeerTokens([u8; 32]);

impl std::fmt::Debug for PeerTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTokens(..)")
    }
}

impl PeerTokens {
    /// By this secret.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// What this run of an instance takes.
    #[must_use]
    pub fn token_for(&self, instance: InstanceId) -> String {
        let mut mac = hmac_by(&self.0);
        mac.update(instance.as_uuid().as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    /// Whether it is for this run.
    #[must_use]
    pub fn is_for(&self, instance: InstanceId, token: &str) -> bool {
        self.token_for(instance).as_bytes().ct_eq(token.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn a_token_is_for_one_run_of_one_instance() {
        let [one, other] = [(); 2].map(|()| InstanceId::generate(&SystemClock));
        let tokens = PeerTokens::new([7; 32]);
        let token = tokens.token_for(one);
        assert!(tokens.is_for(one, &token) && !tokens.is_for(other, &token));
        assert!(!PeerTokens::new([8; 32]).is_for(one, &token) && !tokens.is_for(one, ""));
        assert_eq!(format!("{tokens:?}"), "PeerTokens(..)");
    }
}
