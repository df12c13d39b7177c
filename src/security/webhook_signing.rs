//! Signs what is sent to webhooks, by Standard Webhooks: HMAC-SHA256 of id, time and body.
//!
//! A webhook's secret is made from the platform's and its id, so that none is kept, and all instances sign the same.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac as _;
use secrecy::SecretString;

use super::signing::hmac_by;
use crate::domain::WebhookId;

/// Makes webhooks' secrets, and signs with them.
#[derive(Clone)]
pub struct WebhookSigner([u8; 32]);

impl std::fmt::Debug for WebhookSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSigner(..)")
    }
}

impl WebhookSigner {
    /// By this secret of the platform's.
    #[must_use]
    pub const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// A webhook's secret, as its owner gets it: `whsec_` and base64.
    #[must_use]
    pub fn secret(&self, webhook: WebhookId, version: u32) -> SecretString {
        format!("whsec_{}", STANDARD.encode(self.key(webhook, version))).into()
    }

    /// The header `webhook-signature`, by each of these versions of the secret.
    #[must_use]
    pub fn sign(
        &self,
        webhook: WebhookId,
        versions: impl IntoIterator<Item = u32>,
        message: &str,
        unix_seconds: i64,
        body: &[u8],
    ) -> String {
        let signatures = versions.into_iter().map(|version| {
            let mut mac = hmac_by(&self.key(webhook, version));
            mac.update(format!("{message}.{unix_seconds}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }

    fn key(&self, webhook: WebhookId, version: u32) -> [u8; 32] {
        let mut mac = hmac_by(&self.0);
        mac.update(format!("webhook:{webhook}:{version}").as_bytes());
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn each_webhook_and_version_has_a_secret_of_its_own() {
        let signer = WebhookSigner::new([7; 32]);
        let (one, other) = (
            WebhookId::generate(&SystemClock),
            WebhookId::generate(&SystemClock),
        );
        let text = |webhook, version| signer.secret(webhook, version).expose_secret().to_owned();
        assert_eq!(text(one, 1), text(one, 1));
        assert!(text(one, 1) != text(one, 2) && text(one, 1) != text(other, 1));
        let key = STANDARD
            .decode(text(one, 1).strip_prefix("whsec_").unwrap())
            .unwrap();
        assert_eq!(key.len(), 32, "as the standard wants: 24 to 64 bytes");
    }

    #[test]
    fn a_signature_is_the_standards() {
        let signer = WebhookSigner::new([7; 32]);
        let webhook = WebhookId::generate(&SystemClock);
        let header = signer.sign(webhook, [2, 1], "msg_1", 1_700_000_000, b"{}");
        let (new, old) = header.split_once(' ').unwrap();
        for (signature, version) in [(new, 2), (old, 1)] {
            // Made anew from the secret as its owner has it.
            let secret = signer.secret(webhook, version);
            let key = STANDARD
                .decode(secret.expose_secret().strip_prefix("whsec_").unwrap())
                .unwrap();
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
            let made = ring::hmac::sign(&key, b"msg_1.1700000000.{}");
            assert_eq!(signature, format!("v1,{}", STANDARD.encode(made.as_ref())));
        }
    }
}
