//! What goes wrong, as `FastAPI` says it: `{"detail": …}`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa::{IntoResponses, ToSchema};

use super::super::refusing;
use crate::api::problem::{Problem, ProblemCode};
use crate::domain::TurnErrorCode;
use crate::service::Error;

/// What [`DetailView`] is called in the OpenAPI document.
const SCHEMA: &str = "ClaudeAgentHttpDetail";

/// Why something was refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentHttpDetail)]
pub(super) struct DetailView {
    /// In words; where fields are wrong, a list of what is.
    #[schema(value_type = Value)]
    detail: Value,
}

/// An answer that says what went wrong.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: Value,
    /// What the platform says of it; its headers are sent too.
    problem: Option<Box<Problem>>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self {
            status,
            detail: detail.into(),
            problem: None,
        }
    }

    /// Fields that are not as they must be.
    pub(super) fn fields(errors: Vec<Value>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Value::Array(errors))
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Session not found")
    }

    pub(super) fn gone() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Session not found or expired")
    }

    pub(super) fn internal() -> Self {
        Problem::new(ProblemCode::Internal).into()
    }

    /// Of a session that is looked up.
    pub(super) fn of_lookup(error: Error) -> Self {
        match error {
            Error::SessionNotFound | Error::SessionClosed | Error::SessionExpired => Self::not_found(),
            error => error.into(),
        }
    }

    /// Of a session that is made.
    pub(super) fn of_creation(error: Error) -> Self {
        let is_the_path = matches!(error, Error::Workspace(_));
        let mut refusal = Self::from(error);
        if is_the_path && refusal.status.is_client_error() {
            refusal.status = StatusCode::BAD_REQUEST;
        }
        refusal
    }

    /// Of a turn, or of a session that is to take one.
    pub(super) fn of_turn(error: Error) -> Self {
        match error {
            Error::SessionNotFound | Error::SessionClosed | Error::SessionExpired => Self::gone(),
            Error::SessionBusy { .. } => {
                let mut refusal = Self::from(error);
                refusal.status = StatusCode::TOO_MANY_REQUESTS;
                refusal.detail = "Session is busy processing another request".into();
                refusal
            }
            Error::TurnEnded { error, .. } => {
                let status = match error.code {
                    TurnErrorCode::TurnTimeout => StatusCode::GATEWAY_TIMEOUT,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                Self::new(status, format!("Failed to send message: {}", error.message))
            }
            error => error.into(),
        }
    }

    /// What is told of it where it is a chunk of a stream; `None` where it is none.
    pub(super) fn as_chunk(&self) -> Option<&str> {
        let before_the_turn = matches!(self.status, StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS);
        self.detail.as_str().filter(|_| before_the_turn)
    }

    pub(super) fn into_response(self) -> HttpResponse {
        let view = DetailView { detail: self.detail };
        refusing::respond(self.status, self.problem.as_deref(), view)
    }

    pub(super) fn into_response_allowing(self, methods: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::ALLOW, methods.to_owned()));
        response.json(DetailView { detail: self.detail })
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.code.status(),
            detail: refusing::words(&problem).into(),
            problem: Some(Box::new(problem)),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

/// The response, or what went wrong as one.
pub(super) fn answer(result: Result<HttpResponse, Refusal>) -> HttpResponse {
    result.unwrap_or_else(Refusal::into_response)
}

/// What any operation can be refused with, as the OpenAPI document lists it.
pub(super) struct RefusalProblems;

impl IntoResponses for RefusalProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusing::documented(
            SCHEMA,
            &[
                (400, "The folder cannot be used, or the body broke off"),
                (401, "No credential, or one that is not known"),
                (403, "The credential does not allow it"),
                (404, "There is no such folder of the caller"),
                (408, "The body did not arrive in time"),
                (409, "The folder cannot be used as it is"),
                (410, "The session is closed"),
                (413, "The body is too long"),
                (422, "Fields are not as they must be"),
                (
                    429,
                    "Too often, or as many as there may be; `Retry-After` says when to come again",
                ),
                (500, "It failed"),
                (503, "The store, or the issuer of tokens, does not answer"),
                (507, "The store is full"),
            ],
        )
    }
}

/// What a turn can be refused with, or end with.
pub(super) struct TurnRefusalProblems;

impl IntoResponses for TurnRefusalProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = RefusalProblems::responses();
        all.extend(refusing::documented(
            SCHEMA,
            &[
                (402, "A budget is spent"),
                (404, "The session is not there, or has expired"),
                (500, "The turn did not complete; the detail says why"),
                (504, "The turn reached its `timeout`"),
            ],
        ));
        all
    }
}

/// An entry of a list of what is wrong, as pydantic makes it.
pub(super) fn wrong(kind: &str, field: &[&str], words: &str, input: &Value, context: Option<Value>) -> Value {
    let mut place = vec!["body"];
    place.extend(field);
    let mut error = json!({"type": kind, "loc": place, "msg": words, "input": input});
    if let (Some(context), Some(error)) = (context, error.as_object_mut()) {
        error.insert("ctx".to_owned(), context);
    }
    error
}
