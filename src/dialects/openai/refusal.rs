//! What goes wrong, as `OpenAI`'s API says it: `{"error": {"message", "type", "param", "code"}}`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa::{IntoResponses, ToSchema};

use super::super::refusing;
use crate::api::problem::{Problem, ProblemCode};
use crate::service::Error;

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiError)]
pub(super) struct ErrorView {
    /// What.
    pub(super) error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiErrorBody)]
pub(super) struct ErrorBody {
    /// In words.
    message: String,
    /// What kind of error it is: `invalid_request_error`, `authentication_error`, `permission_error`, `rate_limit_error`, `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The parameter that is wrong, if one is.
    #[schema(required)]
    param: Option<String>,
    /// Why, by name.
    #[schema(required)]
    code: Option<String>,
}

/// Why something was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: ErrorBody,
    problem: Option<Box<Problem>>,
}

impl Refusal {
    fn new(status: StatusCode, message: String, param: Option<&str>, code: Option<&str>) -> Self {
        Self {
            status,
            body: ErrorBody {
                message,
                kind: kind_of(status),
                param: param.map(ToOwned::to_owned),
                code: code.map(ToOwned::to_owned),
            },
            problem: None,
        }
    }

    /// A parameter that is not as it must be.
    pub(super) fn parameter(name: &str, words: &str) -> Self {
        let message = format!("'{name}' {words}");
        Self::new(
            StatusCode::BAD_REQUEST,
            message,
            Some(name),
            Some("invalid_value"),
        )
    }

    /// A parameter that an agent cannot heed.
    pub(super) fn unsupported(name: &str) -> Self {
        let message = format!("Unsupported parameter: '{name}' is not supported here.");
        Self::new(
            StatusCode::BAD_REQUEST,
            message,
            Some(name),
            Some("unsupported_parameter"),
        )
    }

    pub(super) fn no_such_model(id: &str) -> Self {
        let message = format!("The model '{id}' does not exist");
        Self::new(
            StatusCode::NOT_FOUND,
            message,
            Some("model"),
            Some("model_not_found"),
        )
    }

    pub(super) fn internal() -> Self {
        Problem::new(ProblemCode::Internal).into()
    }

    /// What is told of it where it is an event of a stream.
    pub(super) fn into_view(self) -> ErrorView {
        ErrorView { error: self.body }
    }
}

fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = problem.code.to_string();
        Self {
            problem: Some(Box::new(problem.clone())),
            ..Self::new(
                problem.code.status(),
                refusing::words(&problem).to_owned(),
                None,
                Some(&code),
            )
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
        let problem = refusal.problem.as_deref();
        let has_run = problem.is_some_and(|problem| problem.turn_id.is_some());
        let mut response = refusing::respond(refusal.status, problem, ErrorView { error: refusal.body });
        if has_run {
            // The official clients would run it again.
            let name = HeaderName::from_static("x-should-retry");
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static("false"));
        }
        response
    })
}

const SCHEMA: &str = "OpenaiError";

/// What any operation can be refused with, as the OpenAPI document lists it.
pub(super) struct RefusalResponses;

impl IntoResponses for RefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusing::documented(
            SCHEMA,
            &[
                (401, "No credential, or one that is not known"),
                (403, "The credential does not allow it"),
                (429, "Too often"),
                (500, "It failed"),
                (503, "The store, or the CLI, is not there"),
            ],
        )
    }
}

/// What a turn can be refused with, or end with.
pub(super) struct TurnRefusalResponses;

impl IntoResponses for TurnRefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = RefusalResponses::responses();
        all.extend(refusing::documented(
            SCHEMA,
            &[
                (400, "A parameter is not as it must be, or cannot be heeded"),
                (402, "A budget is spent"),
                (404, "There is no such model, or session"),
                (408, "The body did not arrive in time"),
                (409, "The turn was interrupted, or the conversation is lost"),
                (410, "The session is closed"),
                (413, "The body is too long"),
                (422, "The prompt cannot be sent on"),
                (502, "The model, or the agent, failed"),
                (504, "The turn took too long"),
                (507, "There is no more room"),
            ],
        ));
        all
    }
}
