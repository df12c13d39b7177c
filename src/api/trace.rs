//! Around every request: its id, its log line, and problems in one shape whoever made them.

use std::net::IpAddr;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, web};
use ipnet::IpNet;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::measuring::HttpMetrics;
use super::problem::{Problem, ProblemCode};
use crate::domain::{Principal, SessionId, TurnId};
use crate::service::Standing;
use crate::telemetry;

/// The header of a request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a request.
const REQUEST_ID_MAX: usize = 128;

/// The proxies whose word on a client's address is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|network| network.contains(&address.to_canonical()))
    }

    /// Where a request comes from: its connection's other end, or, while that is a proxy we trust, whom it names.
    #[must_use]
    pub fn client_address(&self, request: &HttpRequest) -> Option<IpAddr> {
        let mut address = request.peer_addr()?.ip();
        let named = request
            .headers()
            .get_all("x-forwarded-for")
            .filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
        for hop in hops.into_iter().rev() {
            if !self.trusts(address) {
                break;
            }
            match hop.parse() {
                Ok(named) => address = named,
                Err(_) => break,
            }
        }
        Some(address)
    }
}

/// What a request is called, in its answer's `X-Request-ID` and in the log.
#[derive(Debug, Clone)]
pub struct RequestName(String);

impl RequestName {
    /// This request's name.
    #[must_use]
    pub fn of(request: &HttpRequest) -> String {
        let extensions = request.extensions();
        let name = extensions.get::<Self>();
        name.map(|name| name.0.clone()).unwrap_or_default()
    }
}

fn request_id(request: &ServiceRequest) -> String {
    let sane = |id: &&str| {
        (1..=REQUEST_ID_MAX).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
    };
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane);
    given.map_or_else(fresh_id, ToOwned::to_owned)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a request's id orders nothing and is kept nowhere"
)]
fn fresh_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Gives a request its id, logs it, and gives every problem one shape.
pub async fn around(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = request_id(&request);
    request.extensions_mut().insert(RequestName(id.clone()));
    let begun = Instant::now();
    let method = request.method().clone();
    let metrics = request.app_data::<web::Data<HttpMetrics>>().cloned();
    let client = request
        .app_data::<web::Data<TrustedProxies>>()
        .and_then(|proxies| proxies.client_address(request.request()));
    let span = tracing::info_span!("request", request.id = %id, otel.kind = "server");
    let traceparent = request.headers().get("traceparent");
    telemetry::continue_from(&span, traceparent.and_then(|value| value.to_str().ok()));
    let mut response = match next.call(request).instrument(span.clone()).await {
        Ok(response) => shaped(response.map_into_boxed_body(), &id),
        Err(error) => {
            let problem = problem_of(&error);
            let mut response = problem.to_response(&id);
            name_request(response.headers_mut(), &id);
            measure(metrics.as_ref(), &span, &method, None, response.status(), begun);
            return Err(InternalError::from_response(problem, response).into());
        }
    };
    name_request(response.headers_mut(), &id);
    tell_limit(&mut response);
    let route = response.request().match_pattern();
    measure(metrics.as_ref(), &span, &method, route, response.status(), begun);
    span.in_scope(|| log(&response, client, begun));
    Ok(response)
}

/// Counts and measures a request, and names its part of a trace by its route.
fn measure(
    metrics: Option<&web::Data<HttpMetrics>>,
    span: &Span,
    method: &Method,
    route: Option<String>,
    status: StatusCode,
    begun: Instant,
) {
    telemetry::name_request(
        span,
        method.as_str(),
        route.as_deref().unwrap_or("unmatched"),
        status.as_u16(),
    );
    if let Some(metrics) = metrics {
        metrics.answered(method, route, status, begun.elapsed());
    }
}

/// Tells how near the nearest limit is.
fn tell_limit(response: &mut ServiceResponse<BoxBody>) {
    let standing = response.request().extensions().get::<Standing>().copied();
    // A refusal tells of its own.
    let Some(standing) = standing.filter(|_| !response.headers().contains_key("ratelimit-limit")) else {
        return;
    };
    let seconds = standing.full_in.as_secs() + u64::from(standing.full_in.subsec_nanos() > 0);
    let figures = [
        ("ratelimit-limit", u64::from(standing.limit)),
        ("ratelimit-remaining", u64::from(standing.left)),
        ("ratelimit-reset", seconds),
    ];
    for (name, figure) in figures {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from(figure));
    }
}

fn name_request(headers: &mut HeaderMap, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
}

/// The same response; a problem's body gets the request's id, and an error that is no problem of ours becomes one.
fn shaped(response: ServiceResponse<BoxBody>, id: &str) -> ServiceResponse<BoxBody> {
    match response.response().error().map(problem_of) {
        Some(problem) => response.into_response(problem.to_response(id)),
        None => response,
    }
}

fn problem_of(error: &Error) -> Problem {
    if let Some(problem) = error.as_error::<Problem>() {
        return problem.clone();
    }
    let status = error.as_response_error().status_code();
    let code = match status {
        StatusCode::NOT_FOUND => ProblemCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::BodyTooLarge,
        StatusCode::REQUEST_TIMEOUT => ProblemCode::RequestTimeout,
        status if status.is_client_error() => ProblemCode::MalformedJson,
        _ => {
            tracing::error!(%error, "a request failed");
            ProblemCode::Internal
        }
    };
    Problem::new(code)
}

fn log(response: &ServiceResponse<BoxBody>, client: Option<IpAddr>, begun: Instant) {
    let request = response.request();
    let extensions = request.extensions();
    let principal = extensions.get::<Principal>();
    tracing::info!(
        http.method = %request.method(),
        http.route = request.match_pattern().as_deref().unwrap_or("-"),
        http.status = response.status().as_u16(),
        duration_ms = begun.elapsed().as_millis(),
        client.address = client.map(tracing::field::display),
        tenant.name = principal.map(|principal| tracing::field::display(&principal.tenant_name)),
        credential = principal.map(|principal| principal.credential.as_str()),
        session.id = session_of(request).map(tracing::field::display),
        turn.id = extensions.get::<TurnId>().map(tracing::field::display),
        "answered"
    );
}

/// The session that a request's path names, if it is the name of one.
fn session_of(request: &HttpRequest) -> Option<SessionId> {
    request.match_info().get("session_id")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(trusted: &[&str], peer: &str, forwarded: &str) -> String {
        let proxies = TrustedProxies(trusted.iter().map(|network| network.parse().unwrap()).collect());
        let request = TestRequest::default()
            .peer_addr(format!("{peer}:1").parse().unwrap())
            .insert_header(("x-forwarded-for", forwarded))
            .to_http_request();
        proxies.client_address(&request).unwrap().to_string()
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_as_far_as_the_next_one() {
        assert_eq!(
            seen(&[], "192.0.2.1", "198.51.100.7"),
            "192.0.2.1",
            "nobody is trusted"
        );
        assert_eq!(
            seen(&["192.0.2.0/24"], "192.0.2.1", "198.51.100.7"),
            "198.51.100.7"
        );
        let forged = "1.1.1.1, 198.51.100.7";
        assert_eq!(
            seen(&["192.0.2.0/24"], "192.0.2.1", forged),
            "198.51.100.7",
            "what the client wrote itself"
        );
        let chain = "198.51.100.7, 192.0.2.9";
        assert_eq!(
            seen(&["192.0.2.0/24"], "192.0.2.1", chain),
            "198.51.100.7",
            "two proxies"
        );
        assert_eq!(seen(&["192.0.2.0/24"], "192.0.2.1", "unknown"), "192.0.2.1");
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        let id = |given: &'static str| {
            request_id(
                &TestRequest::default()
                    .insert_header(("x-request-id", given))
                    .to_srv_request(),
            )
        };
        assert_eq!(id("abc-1.2:3_4"), "abc-1.2:3_4");
        for wrong in ["", "a b", "a\"b", "é"] {
            assert_ne!(id(wrong), wrong);
        }
    }
}
