//! Differences on the wire: by file, place and line, or as text.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::Diff;

/// The media type of differences as text.
const TEXT: &str = "text/x-diff";
/// How many lines are told around what changed where nobody says.
pub(super) const CONTEXT_USUAL: u32 = 3;

/// How a diff is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffFormat {
    /// File by file, line by line, as JSON.
    Structured,
    /// As text.
    Unified,
}

impl DiffFormat {
    /// The form that a request asks for: the one it names, else the one that it accepts.
    pub(super) fn of(named: Option<Self>, request: &HttpRequest) -> Self {
        let accepts_text = || {
            let accept = request.headers().get(header::ACCEPT);
            let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
            accept.to_ascii_lowercase().contains(TEXT)
        };
        match named {
            Some(named) => named,
            None if accepts_text() => Self::Unified,
            None => Self::Structured,
        }
    }

    /// A diff in this form.
    pub(super) fn answer(self, diff: &Diff) -> HttpResponse {
        match self {
            Self::Structured => HttpResponse::Ok().json(diff),
            Self::Unified => HttpResponse::Ok()
                .content_type(format!("{TEXT}; charset=utf-8"))
                .body(diff.to_unified()),
        }
    }
}
