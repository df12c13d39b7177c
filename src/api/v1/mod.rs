//! The handlers of `/api/v1`, one file a resource.

pub mod audit;
pub mod budgets;
pub mod chat;
pub mod checkpoints;
pub mod credentials;
pub mod diffs;
pub mod erasure;
pub mod events;
pub mod files;
pub mod forks;
pub mod git;
pub mod keys;
pub mod messages;
pub mod models;
pub mod options;
mod paging;
pub mod permissions;
mod rules;
pub mod sessions;
pub mod shares;
pub mod socket;
pub mod sources;
pub mod steering;
pub mod templates;
pub mod tenants;
pub mod turns;
pub mod usage;
pub mod webhooks;

use crate::domain::{SessionId, TenantName, TurnId};

use super::problem::{FieldError, Problem, ProblemCode};

/// The session of a path. What is no session's id is as unknown as one that nobody has.
fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::SessionNotFound))
}

/// The tenant of a path. What is no tenant's name is the name of no tenant.
fn tenant_name(text: &str) -> Result<TenantName, Problem> {
    text.parse()
        .map_err(|_invalid| Problem::new(ProblemCode::TenantNotFound))
}

/// The turn of a path.
fn turn_id(text: &str) -> Result<TurnId, Problem> {
    text.parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::TurnNotFound))
}

/// A query parameter, parsed, if it is there.
fn checked_query<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    let parse = |text: &str| {
        text.parse().map_err(|error: T::Err| {
            let error = FieldError::new(name, "invalid_name", error.to_string());
            Problem::fields(ProblemCode::InvalidQuery, vec![error])
        })
    };
    text.map(parse).transpose()
}

/// A value that was checked before, parsed.
fn checked<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: T::Err| {
        let error = FieldError::new(field, "invalid_name", error.to_string());
        Problem::fields(ProblemCode::ValidationFailed, vec![error])
    })
}
