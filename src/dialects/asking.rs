//! What dialects ask of the platform: bodies, prompts, and sessions that are found again by a name of the client's own.

use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};

use crate::api::ApiLimits;
use crate::api::input::{broken_rules, read_bytes};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::v1::options::SessionOptionsRequest;
use crate::domain::{Principal, SessionId, SessionOptions, UserId};
use crate::service::{Error, NewSession, Services, SessionDetails, SessionQuery, SessionState};

/// How many sessions of one name are looked at, of which there should be one.
const NAMESAKES_MAX: u32 = 16;

/// A body's JSON, whatever type it says it is of.
pub(super) async fn json(
    request: &HttpRequest,
    body: web::Payload,
    limits: &ApiLimits,
) -> Result<Value, Problem> {
    let body = read_bytes(request, body.into_inner(), limits).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::new(ProblemCode::MalformedJson).with_detail(error.to_string()))
}

/// What is wrong with a prompt, if anything is.
pub(super) fn wrong_with(prompt: &str, limits: &ApiLimits) -> Option<String> {
    if prompt.trim().is_empty() {
        return Some("must not be blank".to_owned());
    }
    if prompt.contains('\0') {
        return Some("must not hold NUL".to_owned());
    }
    let most = limits.message_max_bytes;
    (prompt.len() > most).then(|| format!("must have at most {most} bytes (limits.message_max_bytes)"))
}

/// Options of a session, of those that the API has; else what is wrong with them.
pub(super) fn options(fields: Map<String, Value>, limits: &ApiLimits) -> Result<SessionOptions, String> {
    let asked: SessionOptionsRequest =
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    match broken_rules("", &asked, limits).first() {
        Some(error) => Err(format!("{} {}", error.field, error.message)),
        None => Ok(asked.into()),
    }
}

/// The user for whom a caller's sessions are, where the request names none.
pub(super) fn user_of(caller: &Principal, limits: &ApiLimits) -> UserId {
    let own = caller.user.clone();
    own.unwrap_or_else(|| limits.dialect_user.clone())
}

/// The active session of a user that goes by these marks in its metadata: the oldest, if there are several.
pub(super) async fn find_named(
    services: &Services,
    caller: &Principal,
    user: &UserId,
    marks: &[(&str, &str)],
) -> Result<Option<SessionDetails>, Error> {
    let mut found = all_named(services, caller, user, marks).await?;
    Ok(found.pop())
}

/// The same; it is made where there is none, and then comes with `true`.
///
/// Whoever makes one looks again, so that of two who do so at once one gives way.
pub(super) async fn find_or_make_named(
    services: &Services,
    caller: &Principal,
    mut new: NewSession,
    marks: &[(&str, &str)],
) -> Result<(SessionDetails, bool), Error> {
    let user = new.user.clone();
    if let Some(found) = find_named(services, caller, &user, marks).await? {
        return Ok((found, false));
    }
    let mark = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
    new.metadata.extend(marks.iter().map(mark).collect::<Map<_, _>>());
    let made = services.sessions.create(caller, new).await?;
    match find_named(services, caller, &user, marks).await? {
        Some(oldest) if oldest.session.id != made.session.id => {
            services.sessions.close(caller, made.session.id).await?;
            Ok((oldest, false))
        }
        _ => Ok((made, true)),
    }
}

/// The newest active sessions of a user that go by these marks.
pub(super) async fn all_named(
    services: &Services,
    caller: &Principal,
    user: &UserId,
    marks: &[(&str, &str)],
) -> Result<Vec<SessionDetails>, Error> {
    let query = SessionQuery {
        user: Some(user.clone()),
        state: Some(SessionState::Active),
        metadata: marks
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        title: None,
    };
    let page = services.sessions.list(caller, query, None, NAMESAKES_MAX).await?;
    Ok(page.items)
}

/// Closes a session that was made for one prompt.
pub(super) async fn close(services: &Services, caller: &Principal, session: SessionId) {
    if let Err(error) = services.sessions.close(caller, session).await {
        tracing::warn!(session.id = %session, error = &error as &dyn std::error::Error,
            "a session of one prompt was not closed; it will expire");
    }
}
