//! `Idempotency-Key`: so that a request that is sent again does not run again.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::input::BodyDigest;
use super::problem::{FieldError, Problem, ProblemCode};
use crate::service::Once;

/// The header.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest key, in bytes.
const KEY_MAX_BYTES: usize = 255;

/// The key that a client gave a request, if it gave one.
#[derive(Debug)]
pub struct IdempotencyKey(Option<String>);

impl IdempotencyKey {
    /// What makes the request the same as another.
    #[must_use]
    pub fn with(self, body: BodyDigest) -> Option<Once> {
        Some(Once {
            key: self.0?,
            fingerprint: body.0,
        })
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else {
            return ready(Ok(Self(None)));
        };
        let good = |text: &&str| (1..=KEY_MAX_BYTES).contains(&text.len());
        let read = value.to_str().ok().filter(good).map(ToOwned::to_owned);
        ready(read.map(|key| Self(Some(key))).ok_or_else(|| {
            let words = format!("must be 1 to {KEY_MAX_BYTES} visible ASCII characters");
            let error = FieldError::new("Idempotency-Key", "invalid_header", words);
            Problem::fields(ProblemCode::ValidationFailed, vec![error])
        }))
    }
}
