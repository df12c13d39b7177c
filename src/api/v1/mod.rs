//! The handlers of `/api/v1`, one file a resource.

pub mod chat;
pub mod messages;
pub mod models;
mod rules;
pub mod sessions;

use crate::domain::SessionId;

use super::problem::{Problem, ProblemCode};

/// The session of a path. What is no session's id is as unknown as one that nobody has.
fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::SessionNotFound))
}
