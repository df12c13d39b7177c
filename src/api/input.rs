//! Reads bodies and query strings, and tells everything that is wrong with them at once.
//!
//! A request type is deserialised with `serde` (which knows shapes) and checked with `validator` (which knows values).
//! `serde` stops at the first wrong field; so a wrong field is noted, taken out, and the rest is read again. That asks
//! of request types that every field may be absent; `#[validate(required)]` says which may not.

use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use validator::{ValidateArgs, ValidationErrors, ValidationErrorsKind};

use super::ApiLimits;
use super::problem::{FieldError, Problem, ProblemCode};

/// The most wrong fields that are told at once. Each is found by reading the request again, so this also bounds the
/// work that one body can ask for.
const FIELD_ERRORS_MAX: usize = 50;

/// A type that requests are read into.
pub trait CheckRequest: DeserializeOwned + for<'a> ValidateArgs<'a, Args = &'a ApiLimits> {
    /// What is wrong with the values of requests inside this one, which `validator` does not hand the limits to.
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        Vec::new()
    }
}

/// What is wrong with a request's values.
fn check<T: CheckRequest>(request: &T, limits: &ApiLimits) -> Vec<FieldError> {
    let mut errors = broken_rules("", request, limits);
    errors.extend(request.check_inner(limits));
    errors
}

/// The rules that a value breaks, its fields named from `prefix` downwards.
pub fn broken_rules<T>(prefix: &str, value: &T, limits: &ApiLimits) -> Vec<FieldError>
where
    T: for<'a> ValidateArgs<'a, Args = &'a ApiLimits>,
{
    let mut errors = Vec::new();
    if let Err(found) = value.validate_with_args(limits) {
        collect(prefix, &found, &mut errors);
    }
    errors
}

/// A JSON body that is as its type says.
#[derive(Debug)]
pub struct ValidJson<T>(pub T, pub BodyDigest);

/// A digest of a request: its method, its path and its body, byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest(pub [u8; 32]);

impl BodyDigest {
    /// The digest of a request with this body.
    #[must_use]
    pub fn of(request: &HttpRequest, body: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for part in [
            request.method().as_str().as_bytes(),
            request.path().as_bytes(),
            body,
        ] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// A query string that is as its type says.
#[derive(Debug)]
pub struct ValidQuery<T>(pub T);

impl<T: CheckRequest + 'static> FromRequest for ValidJson<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let limits = limits(&request)?;
            let body = read_body(&request, payload, &limits).await?;
            let value: Value = serde_json::from_slice(&body)
                .map_err(|error| Problem::new(ProblemCode::MalformedJson).with_detail(format!("{error}")))?;
            let digest = BodyDigest::of(&request, &body);
            read(value, &limits, ProblemCode::ValidationFailed).map(|body| Self(body, digest))
        })
    }
}

impl<T: CheckRequest + 'static> FromRequest for ValidQuery<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(Self::of(request))
    }
}

impl<T: CheckRequest> ValidQuery<T> {
    /// The query of this request.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let limits = limits(request)?;
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|error| Problem::new(ProblemCode::InvalidQuery).with_detail(error.to_string()))?;
        let mut fields = Map::new();
        for (name, value) in pairs.into_inner() {
            // `metadata.KEY=value` is a field of a field, whatever the key is.
            let before = match name.split_once('.') {
                Some((group, key)) => fields
                    .entry(group)
                    .or_insert_with(|| Value::Object(Map::new()))
                    .as_object_mut()
                    .map_or(Some(Value::Null), |group| {
                        group.insert(key.to_owned(), Value::String(value))
                    }),
                None => fields.insert(name.clone(), Value::String(value)),
            };
            if before.is_some() {
                let error = FieldError::new(name, "repeated", "must be given once");
                return Err(Problem::fields(ProblemCode::InvalidQuery, vec![error]));
            }
        }
        read(Value::Object(fields), &limits, ProblemCode::InvalidQuery).map(Self)
    }
}

fn limits(request: &HttpRequest) -> Result<web::Data<ApiLimits>, Problem> {
    request
        .app_data::<web::Data<ApiLimits>>()
        .cloned()
        .ok_or_else(|| Problem::new(ProblemCode::Internal))
}

async fn read_body(request: &HttpRequest, payload: Payload, limits: &ApiLimits) -> Result<BytesMut, Problem> {
    let is_json =
        request.mime_type().ok().flatten().is_some_and(|mime| {
            mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json")
        });
    if !is_json {
        return Err(Problem::new(ProblemCode::UnsupportedMediaType)
            .with_detail("send the body with `Content-Type: application/json`"));
    }
    read_bytes(request, payload, limits).await
}

/// A request's body, whatever it is: as long as a body may be, and in time.
pub async fn read_bytes(
    request: &HttpRequest,
    mut payload: Payload,
    limits: &ApiLimits,
) -> Result<BytesMut, Problem> {
    let limit = limits.body_limit_bytes;
    let too_large = || {
        Problem::new(ProblemCode::BodyTooLarge).with_detail(format!("a body may have at most {limit} bytes"))
    };
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    let all = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(ProblemCode::MalformedJson).with_detail(format!("the body broke off: {error}"))
            })?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    let in_time: Result<Result<(), Problem>, _> = tokio::time::timeout(limits.body_timeout, all).await;
    in_time.map_err(|_late| {
        Problem::new(ProblemCode::RequestTimeout).with_detail(late(limits.body_timeout))
    })??;
    Ok(body)
}

/// The next piece of a body that is not kept in memory; `None` at its end.
pub async fn next_piece<S, E>(stream: &mut S, limits: &ApiLimits) -> Result<Option<Bytes>, Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let next = tokio::time::timeout(limits.upload_patience, stream.try_next()).await;
    match next {
        Ok(Ok(piece)) => Ok(piece),
        Ok(Err(error)) => {
            Err(Problem::new(ProblemCode::UploadBroken).with_detail(format!("the body broke off: {error}")))
        }
        Err(_late) => Err(Problem::new(ProblemCode::RequestTimeout).with_detail(format!(
            "a body may be silent for {} seconds at most",
            limits.upload_patience.as_secs_f64()
        ))),
    }
}

fn late(limit: Duration) -> String {
    format!("a body must arrive within {} seconds", limit.as_secs_f64())
}

/// The request that `value` is, or everything that is wrong with it.
pub fn read<T: CheckRequest>(mut value: Value, limits: &ApiLimits, code: ProblemCode) -> Result<T, Problem> {
    if !value.is_object() {
        return Err(Problem::fields(
            code,
            vec![FieldError::new("", "wrong_type", "must be an object")],
        ));
    }
    let mut errors: Vec<FieldError> = Vec::new();
    let request: T = loop {
        match serde_path_to_error::deserialize(&value) {
            Ok(request) => break request,
            Err(error) => {
                let field = error.path().to_string();
                let message = error.into_inner().to_string();
                let (shape_error, taken_out) = describe(&mut value, &field, &message);
                errors.push(shape_error);
                if errors.len() == FIELD_ERRORS_MAX {
                    let words = "more fields may be wrong; these are as many as are told at once";
                    errors.push(FieldError::new("", "too_many", words));
                    return Err(Problem::fields(code, errors));
                }
                if !taken_out {
                    return Err(Problem::fields(code, errors));
                }
            }
        }
    };
    let shape_errors = errors.len();
    for error in check(&request, limits) {
        let told = errors
            .iter()
            .take(shape_errors)
            .any(|other| other.code == "wrong_type" && lies_within(&other.field, &error.field));
        if !told {
            errors.push(error);
        }
    }
    if errors.is_empty() {
        Ok(request)
    } else {
        Err(Problem::fields(code, errors))
    }
}

/// Whether a path is the field's, or of something in it.
fn lies_within(path: &str, field: &str) -> bool {
    path.strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What `serde` says of a field, in our words; and whether the field could be taken out.
fn describe(value: &mut Value, path: &str, message: &str) -> (FieldError, bool) {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        // A wrong entry of a list takes the whole list out.
        return (
            FieldError::new(path, "wrong_type", message),
            take_out(value, path),
        );
    };
    // The name is the client's: it may hold any character.
    let name = rest.rsplit_once("`, expected").map_or(rest, |(name, _)| name);
    let parent = path.strip_suffix(name).unwrap_or(path).trim_end_matches('.');
    let fields = parent
        .split('.')
        .filter(|part| !part.is_empty())
        .try_fold(value, |at, part| at.get_mut(part));
    let taken_out = fields
        .and_then(Value::as_object_mut)
        .is_some_and(|fields| fields.remove(name).is_some());
    let field = if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    };
    (
        FieldError::new(field, "unknown", "is not a field of this request"),
        taken_out,
    )
}

/// Takes the field at `path` out; false when there is none.
fn take_out(value: &mut Value, path: &str) -> bool {
    let mut parts = path
        .split('.')
        .map(|part| part.split_once('[').map_or(part, |(name, _)| name))
        .peekable();
    let mut at = value;
    while let Some(part) = parts.next() {
        let Some(fields) = at.as_object_mut() else {
            return false;
        };
        if parts.peek().is_none() {
            return fields.remove(part).is_some();
        }
        match fields.get_mut(part) {
            Some(inner) => at = inner,
            None => return false,
        }
    }
    false
}

fn collect(prefix: &str, found: &ValidationErrors, errors: &mut Vec<FieldError>) {
    let mut kinds: Vec<_> = found.errors().iter().collect();
    kinds.sort_by_key(|(field, _)| field.as_ref().to_owned());
    for (field, kind) in kinds {
        let path = if prefix.is_empty() {
            field.to_string()
        } else {
            format!("{prefix}.{field}")
        };
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(&path, inner, errors),
            ValidationErrorsKind::List(entries) => {
                for (index, inner) in entries {
                    collect(&format!("{path}[{index}]"), inner, errors);
                }
            }
            ValidationErrorsKind::Field(rules) => errors.extend(rules.iter().map(|rule| {
                let code = if rule.code == "required" {
                    "missing"
                } else {
                    rule.code.as_ref()
                };
                let words = rule.message.as_deref().unwrap_or("is missing");
                FieldError::new(&path, code, words)
            })),
        }
    }
}
