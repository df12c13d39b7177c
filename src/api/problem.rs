//! What goes wrong, on the wire: RFC 9457 problem details, one shape for every error of every route.
//!
//! What the client did is told in full. What failed inside is told by name only; its causes are logged.

mod code;

use std::fmt;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

pub use self::code::ProblemCode;
use crate::domain::TurnId;

/// The media type of problems.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One field, or query parameter, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its path: `options.max_turns`.
    #[schema(example = "user_id")]
    pub field: String,
    /// What is wrong with it, by name: `missing`, `unknown`, `wrong_type`, or a rule's name.
    #[schema(example = "missing")]
    pub code: String,
    /// What is wrong with it, in words.
    #[schema(example = "is missing")]
    pub message: String,
}

impl FieldError {
    /// A field's error.
    pub fn new(field: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            code: code.into(),
            message: message.into(),
        }
    }
}

/// Why a request was not done.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Why, by name.
    pub code: ProblemCode,
    /// What it means here, for the client's developer.
    pub detail: Option<String>,
    /// The fields that cannot be used.
    pub errors: Vec<FieldError>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// The turn that ended this way.
    pub turn_id: Option<TurnId>,
    /// The methods that the path takes.
    pub allow: Option<String>,
    /// How often a minute it may be done.
    pub rate_limit: Option<u32>,
}

impl Problem {
    /// A problem without more to say.
    #[must_use]
    pub const fn new(code: ProblemCode) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            retry_after: None,
            turn_id: None,
            allow: None,
            rate_limit: None,
        }
    }

    /// The same, with what it means here.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// A request whose fields cannot be used.
    #[must_use]
    pub fn fields(code: ProblemCode, errors: Vec<FieldError>) -> Self {
        let mut problem = Self::new(code);
        problem.errors = errors;
        problem
    }

    /// The answer, for the request of this id.
    #[must_use]
    pub fn to_response(&self, request_id: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.content_type(PROBLEM_JSON);
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.insert_header((header::RETRY_AFTER, seconds.max(1).to_string()));
        }
        if let Some(limit) = self.rate_limit {
            let wait = self.retry_after.unwrap_or_default().as_secs().max(1);
            response.insert_header(("ratelimit-limit", limit.to_string()));
            response.insert_header(("ratelimit-remaining", "0"));
            response.insert_header(("ratelimit-reset", wait.to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.clone()));
        }
        if self.code == ProblemCode::Unauthenticated {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"paddock\""));
        }
        response.json(self.view(request_id))
    }

    /// The problem as it is sent, for the request of this id.
    #[must_use]
    pub fn view<'a>(&'a self, request_id: &'a str) -> ProblemView<'a> {
        ProblemView {
            kind: format!("urn:paddock:problem:{}", self.code),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.as_deref(),
            code: self.code,
            request_id,
            turn_id: self.turn_id.map(|turn| turn.to_string()),
            errors: &self.errors,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        // The request's id is filled in on the way out, by the middleware that knows it.
        self.to_response("")
    }
}

/// A problem as it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
#[schema(example = json!({"type": "urn:paddock:problem:validation_failed", "title": "The request has fields that cannot be used", "status": 422, "code": "validation_failed", "request_id": "0199e2c8-a5b0-7c3f-9d1e-2a4b6c8d0e1f", "errors": [{"field": "user_id", "code": "missing", "message": "is missing"}]}))]
pub struct ProblemView<'a> {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:paddock:problem:validation_failed")]
    kind: String,
    /// What it is called, for people.
    #[schema(example = "The request has fields that cannot be used")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What it means here.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// What it is called, for programs.
    code: ProblemCode,
    /// The request's id, as in `X-Request-ID`.
    request_id: &'a str,
    /// The turn that ended this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<String>,
    /// The fields, or query parameters, that cannot be used.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    errors: &'a [FieldError],
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;
    use crate::domain::TurnErrorCode;

    #[test]
    fn the_problems_are_these() {
        let table: Vec<_> = ProblemCode::iter()
            .map(|code| format!("{} {code}: {}", code.status().as_u16(), code.title()))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn every_way_a_turn_can_end_is_an_error_status() {
        for code in TurnErrorCode::iter() {
            assert!(ProblemCode::from(code).status().as_u16() >= 400, "{code}");
        }
    }
}
