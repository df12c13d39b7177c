//! Who calls: reads the credential off a request, and holds its role against what an operation asks for.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::problem::{Problem, ProblemCode};
use super::trace::TrustedProxies;
use crate::domain::{Principal, Role, SessionId};
use crate::service::{AuthenticationService, Counted, Error, KeyIdentity, Limits, Standing, Unauthenticated};

/// Turns credentials into principals.
#[derive(Debug, Clone)]
pub struct Authenticator {
    service: Arc<AuthenticationService>,
    limits: Arc<Limits>,
    anonymous: Anonymous,
}

/// Who callers without a credential are.
#[derive(Debug, Clone)]
pub enum Anonymous {
    /// Whoever the server's settings say: nobody, where it asks for keys.
    AsElsewhere,
    /// Nobody.
    Nobody,
    /// This one, if no other web page sent them: whoever can reach a loopback address, a browser's pages among them, may be
    /// made to call.
    This(Arc<KeyIdentity>),
}

impl Authenticator {
    /// Callers are whom this service says, and may ask as often as these limits say.
    #[must_use]
    pub fn new(service: Arc<AuthenticationService>, limits: Arc<Limits>) -> Self {
        Self {
            service,
            limits,
            anonymous: Anonymous::AsElsewhere,
        }
    }

    /// The same at an address where callers without a credential are this one.
    #[must_use]
    pub fn at(&self, anonymous: Anonymous) -> Self {
        Self {
            anonymous,
            ..self.clone()
        }
    }

    /// Whom a request is from.
    async fn whose(&self, request: &HttpRequest, address: Option<IpAddr>) -> Result<Principal, Problem> {
        let key = presented(request.headers())
            .map_err(|detail| Problem::new(ProblemCode::Unauthenticated).with_detail(detail))?;
        let whose = match (key, &self.anonymous) {
            (None, Anonymous::Nobody) => Err(Unauthenticated::Missing),
            (None, Anonymous::This(identity)) => {
                if is_of_this_machine(request) {
                    self.service.authenticate_as(identity, address).await
                } else {
                    Err(Unauthenticated::Missing)
                }
            }
            (key, _) => self.service.authenticate(key, address).await,
        };
        Ok(whose?)
    }

    /// Who calls, and the limit that is nearest to being reached.
    async fn admit(
        &self,
        address: Option<IpAddr>,
        caller: impl Future<Output = Result<Principal, Problem>>,
    ) -> Result<(Principal, Option<Standing>), Problem> {
        // Before anything is looked up: whoever guesses is stopped here.
        let of_address = self
            .limits
            .count_address(Counted::Request, address)
            .await
            .map_err(Error::from)?;
        let principal = caller.await?;
        let own = self
            .limits
            .count(Counted::Request, principal.tenant, principal.counted_as())
            .await
            .map_err(Error::from)?;
        let nearest = [of_address, own]
            .into_iter()
            .flatten()
            .min_by_key(|standing| standing.left);
        Ok((principal, nearest))
    }
}

/// Counts a request that came on a connection which is open.
pub async fn count_request(authenticator: &Authenticator, caller: &Principal) -> Result<(), Problem> {
    let limits = &authenticator.limits;
    let counted = limits.count(Counted::Request, caller.tenant, caller.counted_as());
    counted
        .await
        .map(|_| ())
        .map_err(|error| Error::from(error).into())
}

/// Who opens a connection to a session: by a ticket where there is one, else as any caller.
pub async fn caller_of_socket(
    request: &HttpRequest,
    ticket: Option<&str>,
    session: SessionId,
) -> Result<Principal, Problem> {
    let Some(ticket) = ticket else {
        return Caller::<AsReader>::of(request).await;
    };
    let (authenticator, address) = parts(request)?;
    let redeem = async {
        let redeemed = authenticator.service.redeem_ticket(ticket, session, address);
        Ok(redeemed.await?)
    };
    let admitted = authenticator.admit(address, redeem).await?;
    Ok(noted(request, admitted))
}

fn parts(request: &HttpRequest) -> Result<(web::Data<Authenticator>, Option<IpAddr>), Problem> {
    let authenticator = request
        .app_data::<web::Data<Authenticator>>()
        .ok_or_else(|| Problem::new(ProblemCode::Internal))?;
    let address = request
        .app_data::<web::Data<TrustedProxies>>()
        .and_then(|proxies| proxies.client_address(request));
    Ok((authenticator.clone(), address))
}

/// The caller, noted for whoever tells of the request.
fn noted(request: &HttpRequest, (principal, nearest): (Principal, Option<Standing>)) -> Principal {
    if let Some(nearest) = nearest {
        request.extensions_mut().insert(nearest);
    }
    request.extensions_mut().insert(principal.clone());
    principal
}

/// What proxies say of those for whom they ask.
const FORWARDED: [&str; 5] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
];

/// Whether a request is addressed to this machine by a name that only this machine has, is from no other web page, and was
/// passed on for nobody: a page that has its own name lead here is found out by the first, any other by the second.
fn is_of_this_machine(request: &HttpRequest) -> bool {
    if FORWARDED.iter().any(|name| request.headers().contains_key(*name)) {
        return false;
    }
    let is_loopback =
        |authority: &str| {
            let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
                if port.ends_with(']') { authority } else { host }
            });
            host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse::<IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        };
    let text = |name| request.headers().get(name).map(|value| value.to_str());
    let to_here = matches!(text(header::HOST), Some(Ok(host)) if is_loopback(host));
    let from_here = match text(header::ORIGIN) {
        None => true,
        Some(Ok(origin)) => origin
            .split_once("://")
            .is_some_and(|(_, host)| is_loopback(host)),
        Some(Err(_)) => false,
    };
    to_here && from_here
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

/// Refuses a caller of too low a role.
pub fn require(caller: &Principal, least: Role) -> Result<(), Problem> {
    if caller.role >= least {
        return Ok(());
    }
    let detail = format!(
        "this needs a credential of role `{least}`; this one's is `{}`",
        caller.role
    );
    Err(Problem::new(ProblemCode::Forbidden).with_detail(detail))
}

/// The least role that an operation asks for.
pub trait RequiredRole {
    /// That role.
    const ROLE: Role;
    /// Whether guests need a link that shows files.
    const FILES: bool = false;
}

/// Asks for [`Role::Guest`]: open to those who came by a link that shows the session.
#[derive(Debug)]
pub struct AsGuest;

impl RequiredRole for AsGuest {
    const ROLE: Role = Role::Guest;
}

/// Asks for [`Role::Guest`] and, of those who came by a link, for one that shows the session's files.
#[derive(Debug)]
pub struct AsFileGuest;

impl RequiredRole for AsFileGuest {
    const ROLE: Role = Role::Guest;
    const FILES: bool = true;
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

/// Asks for [`Role::Owner`].
#[derive(Debug)]
pub struct AsOwner;

impl RequiredRole for AsOwner {
    const ROLE: Role = Role::Owner;
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

impl<R: RequiredRole> Caller<R> {
    /// Who sends this request.
    pub async fn of(request: &HttpRequest) -> Result<Principal, Problem> {
        let caller = Self::from_request(request, &mut Payload::None).await?;
        Ok(caller.principal)
    }
}

impl<R: RequiredRole> FromRequest for Caller<R> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (authenticator, address) = parts(&request)?;
            let whose = async { authenticator.whose(&request, address).await };
            let principal = noted(&request, authenticator.admit(address, whose).await?);
            require(&principal, R::ROLE)?;
            if R::FILES && !principal.may_see_files() {
                let words = "this link shows the conversation, not the files";
                return Err(Problem::new(ProblemCode::Forbidden).with_detail(words));
            }
            Ok(Self {
                principal,
                role: PhantomData,
            })
        })
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
