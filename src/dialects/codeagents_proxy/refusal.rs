//! What goes wrong, as this system says it: `{"error": CODE, …}`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;
use utoipa::{IntoResponses, ToSchema};

use super::super::refusing;
use crate::api::problem::{Problem, ProblemCode};
use crate::service::{Error, WorkspaceError};

/// After how many milliseconds it makes sense to look again whether a folder is free.
const BUSY_RETRY_MS: u64 = 2000;

/// What went wrong.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CodeagentsProxyError)]
pub(super) struct ErrorView {
    /// By name.
    error: String,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<String>,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    conversation_id: Option<String>,
    /// The folder that is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cwd: Option<String>,
    /// When it makes sense to come again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
    /// The folder that the conversation is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expected_cwd: Option<String>,
    /// The one that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    got_cwd: Option<String>,
}

/// Why something was refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    body: Box<ErrorView>,
    problem: Option<Box<Problem>>,
}

impl Refusal {
    fn new(status: StatusCode, error: &str) -> Self {
        Self {
            status,
            body: Box::new(ErrorView {
                error: error.to_owned(),
                ..ErrorView::default()
            }),
            problem: None,
        }
    }

    pub(super) fn bad(message: &str) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, "bad_request");
        refusal.body.message = Some(message.to_owned());
        refusal
    }

    pub(super) fn unknown(conversation: &str) -> Self {
        let mut refusal = Self::new(StatusCode::NOT_FOUND, "conversation_unknown");
        refusal.body.conversation_id = Some(conversation.to_owned());
        refusal
    }

    pub(super) fn folder_busy(cwd: &str) -> Self {
        let mut refusal = Self::new(StatusCode::CONFLICT, "agent_folder_busy");
        refusal.body.cwd = Some(cwd.to_owned());
        refusal.body.retry_after_ms = Some(BUSY_RETRY_MS);
        refusal
    }

    pub(super) fn cwd_mismatch(conversation: &str, expected: &str, got: &str) -> Self {
        let mut refusal = Self::new(StatusCode::CONFLICT, "conversation_cwd_mismatch");
        refusal.body.conversation_id = Some(conversation.to_owned());
        refusal.body.expected_cwd = Some(expected.to_owned());
        refusal.body.got_cwd = Some(got.to_owned());
        refusal
    }

    pub(super) fn already_running(conversation: &str) -> Self {
        let mut refusal = Self::new(StatusCode::CONFLICT, "conversation_already_running");
        refusal.body.conversation_id = Some(conversation.to_owned());
        refusal
    }

    pub(super) fn internal() -> Self {
        Problem::new(ProblemCode::Internal).into()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let mut refusal = Self::new(problem.code.status(), &problem.code.to_string());
        refusal.body.message = Some(refusing::words(&problem).to_owned());
        if problem.code == ProblemCode::MalformedJson {
            refusal.status = StatusCode::BAD_REQUEST;
            "bad_request".clone_into(&mut refusal.body.error);
        }
        refusal.problem = Some(Box::new(problem));
        refusal
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let is_outside = matches!(error, Error::Workspace(WorkspaceError::Outside));
        let mut refusal = Self::from(Problem::from(error));
        if is_outside {
            refusal.status = StatusCode::FORBIDDEN;
        }
        refusal
    }
}

pub(super) fn answered(result: Result<HttpResponse, Refusal>) -> HttpResponse {
    result
        .unwrap_or_else(|refusal| refusing::respond(refusal.status, refusal.problem.as_deref(), refusal.body))
}

/// What any operation can be refused with, as the OpenAPI document lists it.
pub(super) struct RefusalResponses;

impl IntoResponses for RefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusing::documented(
            "CodeagentsProxyError",
            &[
                (400, "The request is not as it must be"),
                (401, "No credential, or one that is not known"),
                (402, "A budget is spent"),
                (
                    403,
                    "The credential does not allow it, or the folder is not the caller's",
                ),
                (404, "There is no such conversation, or folder"),
                (408, "The body did not arrive in time"),
                (
                    409,
                    "The folder is in use, the conversation is bound to another, or runs another prompt",
                ),
                (410, "The conversation has ended"),
                (413, "The body is too long"),
                (422, "The folder's name cannot be used"),
                (429, "Too often, or as many as there may be"),
                (500, "It failed"),
                (502, "The instance that has the conversation does not answer"),
                (503, "The store, or the agent, is not there"),
                (507, "The store is full"),
            ],
        )
    }
}
