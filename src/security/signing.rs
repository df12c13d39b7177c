//! HMAC-SHA256 by keys of 256 bits: what cursors, tickets and messages to webhooks are signed with.

use hmac::{Hmac, KeyInit as _};
use sha2::Sha256;

/// The block size of SHA-256, in bytes.
const BLOCK_BYTES: usize = 64;

/// What signs by this key.
#[must_use]
pub fn hmac_by(key: &[u8; 32]) -> Hmac<Sha256> {
    // As long as a block of the hash: HMAC pads a shorter key with zeros.
    let mut block = [0; BLOCK_BYTES];
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use hmac::Mac as _;

    use super::*;

    #[test]
    fn it_is_the_standards() {
        let mut mac = hmac_by(&[7; 32]);
        mac.update(b"said");
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
        assert_eq!(
            mac.finalize().into_bytes().as_slice(),
            ring::hmac::sign(&key, b"said").as_ref()
        );
    }
}
