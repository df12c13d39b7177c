//! Who calls: the one place where a credential becomes a [`Principal`].

use std::fmt;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::problem::{Problem, ProblemCode};
use crate::domain::{Principal, Role};

/// Finds whom a key stands for.
pub type FindPrincipal = dyn Fn(&str) -> Option<Principal> + Send + Sync;

/// Turns credentials into principals.
#[derive(Clone)]
pub struct Authenticator {
    find: Arc<FindPrincipal>,
    anonymous: Option<Principal>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Callers with a key are whom `find` says; those without are `anonymous`, or refused.
    #[must_use]
    pub fn new(find: Arc<FindPrincipal>, anonymous: Option<Principal>) -> Self {
        Self { find, anonymous }
    }

    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let refuse = |detail: &str| Problem::new(ProblemCode::Unauthenticated).with_detail(detail);
        let key = match presented(headers) {
            Ok(Some(key)) => key,
            Ok(None) => {
                return self
                    .anonymous
                    .clone()
                    .ok_or_else(|| refuse("send a key as `Authorization: Bearer …` or `X-API-Key: …`"));
            }
            Err(detail) => return Err(refuse(detail)),
        };
        // Where no key is needed, a key means nothing; it is not held against whoever sends one.
        let found = (self.find)(key).or_else(|| self.anonymous.clone());
        found.ok_or_else(|| refuse("the key is not known"))
    }
}

/// The key in a request's headers.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str());
    let bearer = match text(header::AUTHORIZATION) {
        None => None,
        Some(Ok(value)) => {
            let (scheme, key) = value.split_once(' ').unwrap_or((value, ""));
            if !scheme.eq_ignore_ascii_case("bearer") || key.trim().is_empty() {
                return Err("`Authorization` must be `Bearer` and a key");
            }
            Some(key.trim())
        }
        Some(Err(_)) => return Err("`Authorization` is not readable"),
    };
    let own = match text(header::HeaderName::from_static("x-api-key")) {
        None => None,
        Some(Ok(value)) => Some(value.trim()),
        Some(Err(_)) => return Err("`X-API-Key` is not readable"),
    };
    match (bearer, own) {
        (Some(one), Some(other)) if one != other => {
            Err("`Authorization` and `X-API-Key` hold different keys")
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// The least role that an operation asks for.
pub trait RequiredRole {
    /// That role.
    const ROLE: Role;
}

/// Asks for [`Role::Reader`].
#[derive(Debug)]
pub struct AsReader;

impl RequiredRole for AsReader {
    const ROLE: Role = Role::Reader;
}

/// Asks for [`Role::Member`].
#[derive(Debug)]
pub struct AsMember;

impl RequiredRole for AsMember {
    const ROLE: Role = Role::Member;
}

/// Asks for [`Role::Admin`].
#[derive(Debug)]
pub struct AsAdmin;

impl RequiredRole for AsAdmin {
    const ROLE: Role = Role::Admin;
}

/// The caller of a request, whose role is `R`'s or more. As the first argument of a handler, it is settled before
/// anything else of the request is read.
#[derive(Debug)]
pub struct Caller<R> {
    principal: Principal,
    role: PhantomData<R>,
}

impl<R> Deref for Caller<R> {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

impl<R: RequiredRole> FromRequest for Caller<R> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let authenticated = request
            .app_data::<web::Data<Authenticator>>()
            .ok_or_else(|| Problem::new(ProblemCode::Internal))
            .and_then(|authenticator| authenticator.authenticate(request.headers()));
        ready(authenticated.and_then(|principal| {
            request.extensions_mut().insert(principal.clone());
            if principal.role >= R::ROLE {
                return Ok(Self {
                    principal,
                    role: PhantomData,
                });
            }
            let detail = format!(
                "this needs a credential of role `{}`; this one's is `{}`",
                R::ROLE,
                principal.role
            );
            Err(Problem::new(ProblemCode::Forbidden).with_detail(detail))
        }))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_key_is_taken_from_either_header() {
        for (list, key) in [
            (&[("authorization", "Bearer abc")][..], Some("abc")),
            (&[("authorization", "bEARER  abc ")], Some("abc")),
            (&[("x-api-key", "abc")], Some("abc")),
            (
                &[("x-api-key", "abc"), ("authorization", "Bearer abc")],
                Some("abc"),
            ),
            (&[], None),
        ] {
            assert_eq!(presented(&headers(list)), Ok(key), "{list:?}");
        }
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for list in [
            &[("authorization", "Basic abc")][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer  ")],
            &[("authorization", "abc")],
            &[("x-api-key", "abc"), ("authorization", "Bearer abd")],
        ] {
            assert!(presented(&headers(list)).is_err(), "{list:?}");
        }
    }
}
