//! One request through the gateway, and its answer.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use http_body_util::{BodyExt as _, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;
use tokio::time::error::Elapsed;
use tracing::{Instrument as _, Span};

use super::billing::{Bill, Order, RENEWED_EVERY};
use super::credential::Credential;
use super::door::Behind;
use super::limits::Admission;
use super::metrics::GatewayMetrics;
use super::refusal::Refusal;
use super::usage::UsageReader;

/// A body, whole or as it comes.
pub(super) type Body = UnsyncBoxBody<Bytes, Broken>;

/// An answer that broke off in the middle, at the other end.
#[derive(Debug, thiserror::Error)]
#[error("the model's API broke off its answer")]
pub(super) struct Broken(#[source] Option<reqwest::Error>);

/// Headers of a connection, and not of what goes over it.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Headers by which an agent proves itself, to us; and that would have the answer come in a form that cannot be read.
const OUR_OWN: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
];

/// What is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A question whether anyone is there, which is answered here.
    Hello,
    /// A message, which uses tokens.
    Message,
    /// A count of tokens, which uses none.
    Count,
    /// A look at what models there are.
    Models,
}

/// Answers a request.
pub(super) async fn answer(behind: &Behind, request: Request<Incoming>) -> Response<Body> {
    let meter = &behind.meter;
    let span = tracing::info_span!(
        parent: &meter.span(),
        "model",
        otel.kind = "client",
        model = tracing::field::Empty,
        outcome = tracing::field::Empty,
        usage.input_tokens = tracing::field::Empty,
        usage.output_tokens = tracing::field::Empty,
    );
    match forward(behind, request).instrument(span.clone()).await {
        Ok(response) => response,
        Err(refusal) => {
            let _entered = span.enter();
            span.record("outcome", refusal.name());
            behind.gateway.metrics.refused(refusal.name());
            tracing::info!(tenant.id = %meter.tenant(), refusal = refusal.kind(), "the gateway refused: {refusal}");
            refusal.response::<Full<Bytes>>().map(whole)
        }
    }
}

fn whole(body: Full<Bytes>) -> Body {
    body.map_err(|never| match never {}).boxed_unsync()
}

async fn forward(behind: &Behind, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let kind = Kind::of(&head.method, head.uri.path())?;
    if kind == Kind::Hello {
        return Ok(Response::new(whole(Full::default())));
    }
    if !token(&head.headers).is_some_and(|token| behind.is_token(token)) {
        return Err(Refusal::Token);
    }
    let gateway = &behind.gateway;
    let settings = &gateway.settings;
    let body = receive(body, settings.request_max_bytes, settings.request_timeout).await?;
    let asked = match kind {
        Kind::Message | Kind::Count => Some(asked_of(&body)?),
        Kind::Hello | Kind::Models => None,
    };
    let tenant = gateway.limits.tenant(behind.meter.tenant()).await?;
    if let Some(asked) = &asked {
        Span::current().record("model", asked.model.chars().take(100).collect::<String>());
        gateway.limits.check_model(tenant.as_ref(), &asked.model)?;
    }
    let admission = gateway
        .limits
        .admit(behind.meter.tenant(), tenant.as_ref())
        .await?;
    let (credential, payer) = gateway.credential(&behind.meter).await?;
    let bill = match (kind, asked, behind.meter.spender()) {
        (Kind::Message, Some(asked), Some(spender)) => {
            let order = Order {
                model: &asked.model,
                body_bytes: body.len(),
                max_tokens: asked.max_tokens,
                payer,
            };
            Some(Bill::open(gateway, &behind.meter, spender, &order).await?)
        }
        _ => None,
    };
    let url = settings.address_of(head.uri.path(), head.uri.query());
    let asked = gateway
        .client
        .request(head.method, url)
        .headers(to_upstream(&head.headers, &credential))
        .body(body)
        .send();
    let sent_at = Instant::now();
    let response = match tokio::time::timeout(settings.silence_timeout, asked).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            // Its text may name the address, which is not the agent's to know.
            tracing::warn!(
                error = &error.without_url() as &dyn std::error::Error,
                "the model's API cannot be reached"
            );
            return Err(Refusal::Unreachable);
        }
        Err(_late) => return Err(Refusal::Silent),
    };
    Ok(pass_on(behind, kind, bill, response, admission, sent_at))
}

impl Kind {
    fn of(method: &Method, path: &str) -> Result<Self, Refusal> {
        match (method, path) {
            (&Method::HEAD | &Method::GET, "/") => Ok(Self::Hello),
            (&Method::POST, "/v1/messages") => Ok(Self::Message),
            (&Method::POST, "/v1/messages/count_tokens") => Ok(Self::Count),
            (&Method::GET, "/v1/models") => Ok(Self::Models),
            (&Method::GET, path)
                if path
                    .strip_prefix("/v1/models/")
                    .is_some_and(|model| !model.is_empty() && !model.contains(['/', '.', '%'])) =>
            {
                Ok(Self::Models)
            }
            _ => Err(Refusal::Path),
        }
    }
}

/// What the agent proves itself with.
fn token(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    bearer.or(key)
}

async fn receive(body: Incoming, most: usize, patience: Duration) -> Result<Bytes, Refusal> {
    let received = tokio::time::timeout(patience, Limited::new(body, most).collect()).await;
    match received {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::TooLong(most)),
        Ok(Err(_)) | Err(_) => Err(Refusal::Unsent),
    }
}

/// What the model is asked, as far as it matters here.
#[derive(Deserialize)]
struct Asked {
    model: String,
    #[serde(default)]
    max_tokens: u64,
}

fn asked_of(body: &[u8]) -> Result<Asked, Refusal> {
    serde_json::from_slice(body).map_err(|_malformed| Refusal::Malformed)
}

/// The agent's headers, but for those of its connection and of its proof; with the real credential.
fn to_upstream(from_agent: &HeaderMap, credential: &Credential) -> HeaderMap {
    let mut headers = without(from_agent, &OUR_OWN);
    credential.add_to(&mut headers);
    headers
}

fn without(headers: &HeaderMap, left_out: &[HeaderName]) -> HeaderMap {
    let named: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        let is_kept = !OF_THE_CONNECTION.contains(name)
            && !left_out.contains(name)
            && !named.iter().any(|named| named == name.as_str());
        if is_kept {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// The answer as it comes, read off on the way.
fn pass_on(
    behind: &Behind,
    kind: Kind,
    bill: Option<Bill>,
    response: reqwest::Response,
    admission: Admission,
    sent_at: Instant,
) -> Response<Body> {
    let is_stream = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    let settings = &behind.gateway.settings;
    let reader = match kind {
        Kind::Message if is_stream => UsageReader::of_stream(),
        Kind::Message if response.status().is_success() => UsageReader::of_whole(settings.request_max_bytes),
        _ => UsageReader::of_nothing(),
    };
    let (status, headers) = (
        response.status(),
        without(response.headers(), &[header::SET_COOKIE]),
    );
    let passing = Passing {
        from: response.bytes_stream().boxed(),
        reader,
        bill,
        silence: settings.silence_timeout,
        is_stream,
        over: false,
        underway: Underway::begin(&behind.gateway.metrics, sent_at, status),
        _admission: admission,
    };
    let pieces = stream::unfold(passing, |mut passing| async move {
        let next = passing.next().await?;
        Some((next, passing))
    });
    let mut answer = Response::new(StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// An answer on its way. However it ends, what it used is counted when it is dropped.
struct Passing {
    from: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    reader: UsageReader,
    bill: Option<Bill>,
    silence: Duration,
    is_stream: bool,
    over: bool,
    underway: Underway,
    _admission: Admission,
}

impl Passing {
    /// What comes next. A long silence is no sign that the request is not running.
    async fn next_bytes(&mut self) -> Result<Option<reqwest::Result<Bytes>>, Elapsed> {
        let until = tokio::time::Instant::now() + self.silence;
        loop {
            let soon = (tokio::time::Instant::now() + RENEWED_EVERY).min(until);
            match tokio::time::timeout_at(soon, self.from.next()).await {
                Err(late) if soon == until => return Err(late),
                Err(_not_yet) => {
                    if let Some(bill) = &mut self.bill {
                        bill.note();
                    }
                }
                Ok(next) => return Ok(next),
            }
        }
    }

    async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        if self.over {
            return None;
        }
        match self.next_bytes().await {
            Ok(Some(Ok(bytes))) => {
                self.reader.read(&bytes);
                if let Some(bill) = &mut self.bill {
                    bill.see(self.reader.used());
                }
                Some(Ok(bytes))
            }
            Ok(None) => {
                self.underway.whole();
                None
            }
            Ok(Some(Err(error))) => {
                self.over = true;
                Some(Err(Broken(Some(error.without_url()))))
            }
            Err(_silent) => {
                self.over = true;
                Some(if self.is_stream {
                    Ok(Refusal::Silent.event())
                } else {
                    Err(Broken(None))
                })
            }
        }
    }
}

/// An answer that is counted, however it ends.
struct Underway {
    metrics: GatewayMetrics,
    sent_at: Instant,
    outcome: &'static str,
    is_error: bool,
    span: Span,
}

impl Underway {
    fn begin(metrics: &GatewayMetrics, sent_at: Instant, status: StatusCode) -> Self {
        metrics.begun(sent_at.elapsed());
        Self {
            metrics: metrics.clone(),
            sent_at,
            outcome: "broken_off",
            is_error: status.is_client_error() || status.is_server_error(),
            span: Span::current(),
        }
    }

    /// All of it came.
    fn whole(&mut self) {
        self.outcome = if self.is_error {
            "upstream_error"
        } else {
            "answered"
        };
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.span.record("outcome", self.outcome);
        self.metrics.ended(self.outcome, self.sent_at.elapsed());
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(bill) = &mut self.bill {
            let used = self.reader.finish();
            let span = &self.underway.span;
            span.record("usage.input_tokens", used.usage.input_tokens);
            span.record("usage.output_tokens", used.usage.output_tokens);
            bill.see(used);
        }
    }
}
