//! What goes wrong, as this system says it: `{"error": WORDS}`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa::{IntoResponses, ToSchema};

use super::super::refusing;
use crate::api::problem::{Problem, ProblemCode};
use crate::service::Error;

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerError)]
pub(super) struct ErrorView {
    /// In words.
    #[schema(example = "Configuration must be an object")]
    error: String,
}

/// Why something was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    words: String,
    problem: Option<Box<Problem>>,
}

impl Refusal {
    pub(super) fn bad(words: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            words: words.to_owned(),
            problem: None,
        }
    }

    /// In words.
    pub(super) fn words(&self) -> &str {
        &self.words
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        if problem.code == ProblemCode::MalformedJson {
            return Self::bad("Invalid JSON");
        }
        Self {
            status: problem.code.status(),
            words: refusing::words(&problem).to_owned(),
            problem: Some(Box::new(problem)),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

pub(super) fn answered(result: Result<HttpResponse, Refusal>) -> HttpResponse {
    result.unwrap_or_else(|refusal| {
        let view = ErrorView { error: refusal.words };
        refusing::respond(refusal.status, refusal.problem.as_deref(), view)
    })
}

const SCHEMA: &str = "ClaudeAgentServerError";

/// What can be wrong with a configuration.
pub(super) struct ConfigRefusals;

impl IntoResponses for ConfigRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = ConnectRefusals::responses();
        all.extend(refusing::documented(
            SCHEMA,
            &[
                (400, "It is no configuration, or holds what cannot be set"),
                (408, "The body did not arrive in time"),
                (409, "There is no gateway that could use a key"),
                (413, "The body is too long"),
            ],
        ));
        all
    }
}

/// What can be wrong with a connection.
pub(super) struct ConnectRefusals;

impl IntoResponses for ConnectRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusing::documented(
            SCHEMA,
            &[
                (400, "The connection cannot become a WebSocket"),
                (401, "No credential, or one that is not known"),
                (403, "The credential, or the web page's origin, does not allow it"),
                (410, "The conversation has ended"),
                (429, "Too often, or as many as there may be"),
                (500, "It failed"),
                (503, "The store does not answer"),
                (507, "The store is full"),
            ],
        )
    }
}
