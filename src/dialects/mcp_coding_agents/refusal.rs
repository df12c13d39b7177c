//! What goes wrong, in this system's envelope: `{"error": {"code", "message", "details"?}, "timestamp", "requestId"}`.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa::{IntoResponses, ToSchema};

use super::super::iso;
use super::super::refusing;
use crate::api::problem::{Problem, ProblemCode};
use crate::api::trace::RequestName;
use crate::domain::TurnErrorCode;
use crate::service::{Error, Services, Standing};

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsError)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorView {
    /// What.
    error: ErrorBody,
    /// When.
    #[schema(example = "2026-11-21T09:30:00.000Z")]
    timestamp: String,
    /// The request, as in `X-Request-ID`.
    #[schema(example = "0199e2c8-a5b0-7c3f-9d1e-2a4b6c8d0e1f")]
    request_id: String,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = McpCodingAgentsErrorBody)]
struct ErrorBody {
    /// By name.
    code: String,
    /// In words.
    message: String,
    /// More of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    details: Option<Value>,
}

/// What was being done when it failed, as the original names that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Create,
    List,
    Get,
    End,
    Send,
    Stream,
    History,
}

impl Failure {
    fn code(self) -> &'static str {
        match self {
            Self::Create => "SESSION_CREATE_FAILED",
            Self::List => "LIST_SESSIONS_FAILED",
            Self::Get => "GET_SESSION_FAILED",
            Self::End => "END_SESSION_FAILED",
            Self::Send => "MESSAGE_SEND_FAILED",
            Self::Stream => "SSE_SETUP_FAILED",
            Self::History => "GET_MESSAGES_FAILED",
        }
    }
}

/// Why something was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
    problem: Option<Box<Problem>>,
}

impl Refusal {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            problem: None,
        }
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    pub(super) fn no_session(id: &str) -> Self {
        let message = format!("Session {id} not found");
        Self::new(StatusCode::NOT_FOUND, "SESSION_NOT_FOUND", message)
    }

    pub(super) fn internal() -> Self {
        Problem::new(ProblemCode::Internal).into()
    }

    /// Of a caller who is not let in.
    pub(super) fn of_caller(problem: Problem, sent_any: bool) -> Self {
        let refusal = Self::from(problem);
        match refusal.code.as_str() {
            "UNAUTHENTICATED" if sent_any => Self {
                status: StatusCode::FORBIDDEN,
                code: "INVALID_API_KEY".to_owned(),
                message: "Invalid API key".to_owned(),
                ..refusal
            },
            "UNAUTHENTICATED" => Self {
                code: "MISSING_API_KEY".to_owned(),
                message: "Missing x-api-key header".to_owned(),
                ..refusal
            },
            _ => refusal,
        }
    }

    /// Of what a use case said went wrong.
    pub(super) fn of(error: Error, doing: Failure) -> Self {
        let told = match &error {
            Error::QuotaReached { .. } if doing == Failure::Create => {
                Some(("MAX_SESSIONS_REACHED", StatusCode::TOO_MANY_REQUESTS))
            }
            Error::TurnEnded { error, .. } if error.code == TurnErrorCode::TurnTimeout => {
                Some(("REQUEST_TIMEOUT", StatusCode::REQUEST_TIMEOUT))
            }
            // The agent's failures are the server's, to this system's clients.
            Error::TurnEnded { .. } => Some((Failure::Send.code(), StatusCode::INTERNAL_SERVER_ERROR)),
            _ => None,
        };
        let refusal = Self::from(error);
        let told = told.or_else(|| {
            let failed = refusal.status.is_server_error();
            failed.then_some((doing.code(), refusal.status))
        });
        let Some((code, status)) = told else {
            return refusal;
        };
        Self {
            status,
            code: code.to_owned(),
            ..refusal
        }
    }

    /// In words.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let code = match problem.code {
            ProblemCode::RateLimited => "RATE_LIMIT_EXCEEDED".to_owned(),
            ProblemCode::MalformedJson | ProblemCode::ValidationFailed => "INVALID_REQUEST".to_owned(),
            code => code.to_string().to_ascii_uppercase(),
        };
        let message = match problem.code {
            ProblemCode::RateLimited => "Too many requests",
            _ => refusing::words(&problem),
        };
        Self {
            problem: Some(Box::new(problem.clone())),
            ..Self::new(problem.code.status(), &code, message)
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

/// The response, with what is told of limits.
pub(super) fn answered(request: &HttpRequest, result: Result<HttpResponse, Refusal>) -> HttpResponse {
    let now = request
        .app_data::<actix_web::web::Data<Services>>()
        .map(|services| services.sessions.now())
        .unwrap_or_default();
    let standing = request.extensions().get::<Standing>().copied();
    let standing = standing.map(|standing| (standing.limit, standing.left, standing.full_in));
    let (mut response, standing) = match result {
        Ok(response) => (response, standing),
        Err(refusal) => {
            let (response, refused_by) = refused(request, refusal, now);
            (response, refused_by.or(standing))
        }
    };
    if let Some((limit, left, full_in)) = standing {
        let reset = now + TimeDelta::from_std(full_in).unwrap_or_default();
        let figures = [
            ("x-ratelimit-limit", i64::from(limit)),
            ("x-ratelimit-remaining", i64::from(left)),
            // In milliseconds since 1970.
            ("x-ratelimit-reset", reset.timestamp_millis()),
        ];
        for (name, figure) in figures {
            let name = actix_web::http::header::HeaderName::from_static(name);
            response.headers_mut().insert(name, figure.into());
        }
    }
    response
}

type Figures = (u32, u32, std::time::Duration);

fn refused(request: &HttpRequest, refusal: Refusal, now: DateTime<Utc>) -> (HttpResponse, Option<Figures>) {
    let limit = refusal.problem.as_ref().and_then(|problem| {
        let limit = problem.rate_limit?;
        Some((limit, 0, problem.retry_after.unwrap_or_default()))
    });
    let details = limit.map(|(limit, _, full_in)| {
        let reset = now + TimeDelta::from_std(full_in).unwrap_or_default();
        json!({"limit": limit, "window": 60_000, "reset": iso(reset)})
    });
    let view = ErrorView {
        error: ErrorBody {
            code: refusal.code,
            message: refusal.message,
            details,
        },
        timestamp: iso(now),
        request_id: RequestName::of(request),
    };
    let response = refusing::respond(refusal.status, refusal.problem.as_deref(), view);
    (response, limit)
}

const SCHEMA: &str = "McpCodingAgentsError";

/// What any operation can be refused with, as the OpenAPI document lists it.
pub(super) struct RefusalResponses;

impl IntoResponses for RefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusing::documented(
            SCHEMA,
            &[
                (400, "The body is not as it must be"),
                (401, "No credential"),
                (403, "The credential is not known, or does not allow it"),
                (404, "There is no such session, or folder"),
                (408, "The body did not arrive in time"),
                (409, "The folder cannot be used as it is"),
                (410, "The session is closed"),
                (413, "The body is too long"),
                (422, "The folder's name cannot be used"),
                (429, "Too often, or as many as there may be"),
                (500, "It failed"),
                (502, "The instance that has the session does not answer"),
                (503, "The store, or the CLI, is not there"),
                (507, "The store is full"),
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
                (402, "A budget is spent"),
                (408, "The turn took too long, or the body did not arrive in time"),
            ],
        ));
        all
    }
}
