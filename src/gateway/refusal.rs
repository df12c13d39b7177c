//! What the gateway refuses, in the Messages API's own shape.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
use strum::{IntoStaticStr, VariantNames};

/// Why a request is not forwarded, or its answer not given.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames, thiserror::Error)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Refusal {
    #[error("this token does not open this door")]
    Token,
    #[error("the gateway does not forward this")]
    Path,
    #[error("the request is longer than {0} bytes")]
    TooLong(usize),
    #[error("the request was not sent in time, or not in full")]
    Unsent,
    #[error("the request is not JSON that names a model")]
    Malformed,
    #[error("the model `{0}` is not allowed here")]
    Model(String),
    #[error("as many requests of this tenant run as may")]
    Concurrency,
    #[error("this tenant has made as many requests as it may for now")]
    Rate(Duration),
    #[error("the budget is spent: {0}")]
    Budget(String),
    #[error("what is left of the budget is held by requests that run: {0}")]
    BudgetBusy(String),
    #[error("the model `{0}` has no price, and is not asked without one")]
    Price(String),
    #[error("the ledger cannot be written")]
    Ledger,
    #[error("no credential for the model is configured")]
    NoCredential,
    #[error("the credential for the model cannot be read")]
    CredentialUnreadable,
    #[error("the model's API cannot be reached")]
    Unreachable,
    #[error("the model's API was silent for too long")]
    Silent,
}

impl Refusal {
    /// Our own name for it.
    pub(super) fn name(&self) -> &'static str {
        self.into()
    }

    /// The API's name for it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Token | Self::NoCredential => "authentication_error",
            Self::Path => "not_found_error",
            Self::TooLong(_) => "request_too_large",
            Self::Unsent | Self::Malformed => "invalid_request_error",
            Self::Model(_) | Self::Price(_) => "permission_error",
            Self::Budget(_) => "billing_error",
            Self::Concurrency | Self::Rate(_) | Self::BudgetBusy(_) => "rate_limit_error",
            Self::CredentialUnreadable | Self::Unreachable | Self::Ledger => "api_error",
            Self::Silent => "timeout_error",
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Token | Self::NoCredential => StatusCode::UNAUTHORIZED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unsent | Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Model(_) | Self::Price(_) => StatusCode::FORBIDDEN,
            Self::Budget(_) => StatusCode::PAYMENT_REQUIRED,
            Self::Concurrency | Self::Rate(_) | Self::BudgetBusy(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::CredentialUnreadable | Self::Ledger => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable => StatusCode::BAD_GATEWAY,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// When trying again may help; `None` when it does not.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rate(wait) => Some(*wait),
            Self::Concurrency
            | Self::BudgetBusy(_)
            | Self::Ledger
            | Self::Unreachable
            | Self::Silent
            | Self::CredentialUnreadable
            | Self::Unsent => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    pub(super) fn body(&self) -> Bytes {
        let body =
            json!({"type": "error", "error": {"type": self.kind(), "message": format!("Paddock: {self}")}});
        body.to_string().into()
    }

    /// As an event of a stream that has begun already.
    pub(super) fn event(&self) -> Bytes {
        let mut event = b"event: error\ndata: ".to_vec();
        event.extend_from_slice(&self.body());
        event.extend_from_slice(b"\n\n");
        event.into()
    }

    pub(super) fn response<B: From<Bytes>>(&self) -> Response<B> {
        let mut response = Response::new(B::from(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.retry_after() {
            Some(wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            None => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
        }
        response
    }
}
