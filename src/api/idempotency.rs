//! `Idempotency-Key`: so that a request that is sent again is not done again.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::BodyDigest;
use super::problem::{FieldError, Problem, ProblemCode};
use crate::domain::Principal;
use crate::service::{Once, Services};

/// The header.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest key, in bytes.
const KEY_MAX_BYTES: usize = 255;

/// The key that a client gave a request, if it gave one.
#[derive(Debug)]
pub struct IdempotencyKey {
    key: Option<String>,
    /// A digest of the request without its body.
    head: BodyDigest,
}

impl IdempotencyKey {
    /// What makes the request the same as another.
    #[must_use]
    pub fn with(self, body: BodyDigest) -> Option<Once> {
        Some(Once {
            key: self.key?,
            fingerprint: body.0,
        })
    }

    /// The same, for a request without a body.
    #[must_use]
    pub fn alone(self) -> Option<Once> {
        let body = self.head;
        self.with(body)
    }
}

/// An answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    status: u16,
    location: Option<String>,
    body: Value,
}

/// An answer, and what of it is kept for the request that is sent again.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    location: Option<String>,
    body: Value,
    /// What is told only once.
    secrets: Vec<(&'static str, Value)>,
}

impl Answer {
    /// An answer of this status and body.
    pub fn new(status: StatusCode, view: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_value(view).map_err(|error| {
            tracing::error!(%error, "an answer cannot be written as JSON");
            Problem::new(ProblemCode::Internal)
        })?;
        Ok(Self {
            status,
            location: None,
            body,
            secrets: Vec::new(),
        })
    }

    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            location: None,
            body: Value::Null,
            secrets: Vec::new(),
        }
    }

    /// The same, of something that was made and is there.
    #[must_use]
    pub fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }

    /// The same, with a field that is told this once: in what is kept, it is null.
    #[must_use]
    pub fn with_secret(mut self, name: &'static str, secret: Value) -> Self {
        self.secrets.push((name, secret));
        self
    }

    fn response(self) -> HttpResponse {
        let mut body = self.body;
        let is_secret = !self.secrets.is_empty();
        if let Some(fields) = body.as_object_mut() {
            fields.extend(
                self.secrets
                    .into_iter()
                    .map(|(name, secret)| (name.to_owned(), secret)),
            );
        }
        let mut response = HttpResponse::build(self.status);
        if let Some(location) = self.location {
            response.insert_header((header::LOCATION, location));
        }
        if is_secret {
            response.insert_header((header::CACHE_CONTROL, "no-store"));
        }
        if body.is_null() {
            response.finish()
        } else {
            response.json(body)
        }
    }
}

/// Does what a request asks for, unless the same was done: then it is answered with what was answered then.
pub async fn once(
    caller: &Principal,
    services: &Services,
    once: Option<Once>,
    work: impl AsyncFnOnce() -> Result<Answer, Problem>,
) -> Result<HttpResponse, Problem> {
    let Some(once) = once else {
        return work().await.map(Answer::response);
    };
    let idempotency = &services.idempotency;
    if let Some(kept) = idempotency.begin(caller, &once).await? {
        let kept: Kept = serde_json::from_slice(&kept).map_err(|error| {
            tracing::error!(%error, "what a request was answered with cannot be read");
            Problem::new(ProblemCode::Internal)
        })?;
        let answer = Answer {
            status: StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK),
            location: kept.location,
            body: kept.body,
            secrets: Vec::new(),
        };
        return Ok(answer.response());
    }
    match work().await {
        Ok(answer) => {
            let mut body = answer.body.clone();
            if let Some(fields) = body.as_object_mut() {
                fields.extend(
                    answer
                        .secrets
                        .iter()
                        .map(|(name, _)| ((*name).to_owned(), Value::Null)),
                );
            }
            let kept = Kept {
                status: answer.status.as_u16(),
                location: answer.location.clone(),
                body,
            };
            let kept = serde_json::to_vec(&kept).unwrap_or_default();
            if let Err(error) = idempotency.finish(caller, &once, &kept).await {
                // It is done all the same.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "what a request was answered with was not kept"
                );
            }
            Ok(answer.response())
        }
        Err(problem) => {
            idempotency.forget(caller, &once).await;
            Err(problem)
        }
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let head = BodyDigest::of(request, b"");
        let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else {
            return ready(Ok(Self { key: None, head }));
        };
        let good = |text: &&str| (1..=KEY_MAX_BYTES).contains(&text.len());
        let read = value.to_str().ok().filter(good).map(ToOwned::to_owned);
        ready(read.map(|key| Self { key: Some(key), head }).ok_or_else(|| {
            let words = format!("must be 1 to {KEY_MAX_BYTES} visible ASCII characters");
            let error = FieldError::new("Idempotency-Key", "invalid_header", words);
            Problem::fields(ProblemCode::ValidationFailed, vec![error])
        }))
    }
}
