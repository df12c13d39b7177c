//! Traces: the spans of requests, turns, agents, requests to the model and queries, sent to a collector over OTLP
//! (protobuf over HTTP). Off unless an endpoint is set.
//!
//! Spans carry ids, names and figures, never what people or models write. A trace that a client began is continued: its
//! `traceparent` is taken over. Which traces are kept is decided here, by their ids alone, so that no client can have more
//! of them kept and all instances decide alike.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::runtime::Handle;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The header, and the key, of a trace's parent.
const TRACEPARENT: &str = "traceparent";

/// Where spans are sent, and which.
#[derive(Debug, Clone)]
pub struct TraceOptions {
    /// The collector's address for spans, such as `http://collector:4318/v1/traces`.
    pub endpoint: String,
    /// What is sent as the header `Authorization`.
    pub authorization: Option<SecretString>,
    /// Which part of all traces is kept, from 0 to 1.
    pub sample_ratio: f64,
    /// How long the collector may take to answer.
    pub timeout: Duration,
    /// How many spans wait to be sent at most; further ones are dropped.
    pub queue_max: usize,
    /// What the service is called.
    pub service: String,
    /// Which instance of it this is.
    pub instance: Option<String>,
}

/// Sends spans for as long as it lives.
#[derive(Debug)]
pub(super) struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to send; requests run on `runtime`, over `client`.
    pub(super) fn start(
        options: &TraceOptions,
        client: reqwest::Client,
        runtime: Handle,
    ) -> Result<Self, ExporterBuildError> {
        let mut headers = HashMap::new();
        if let Some(authorization) = &options.authorization {
            headers.insert(
                "authorization".to_owned(),
                authorization.expose_secret().to_owned(),
            );
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender { client, runtime })
            .with_headers(headers)
            .with_endpoint(&options.endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(options.timeout)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(options.queue_max)
            .with_max_export_batch_size(options.queue_max.min(512))
            .build();
        let mut resource = Resource::builder()
            .with_service_name(options.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if let Some(instance) = &options.instance {
            resource = resource.with_attribute(KeyValue::new("service.instance.id", instance.clone()));
        }
        let provider = SdkTracerProvider::builder()
            .with_span_processor(
                BatchSpanProcessor::builder(exporter)
                    .with_batch_config(batches)
                    .build(),
            )
            .with_sampler(Sampler::TraceIdRatioBased(options.sample_ratio))
            .with_resource(resource.build())
            .build();
        Ok(Self { provider })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("paddock")
    }

    /// Sends what waits, for at most `patience`.
    pub(super) fn end(self, patience: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(patience) {
            tracing::warn!(%error, "not all spans were sent");
        }
    }
}

/// Sends over the client that the rest of the server has, on the main runtime: spans are gathered on a thread without one.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

/// Makes `span` part of the trace that a client began, if it named one.
pub fn continue_from(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    if parent.span().span_context().is_valid() {
        // Without traces there is nothing to be part of.
        let _no_traces = span.set_parent(parent);
    }
}

/// What names `span` to whoever goes on with its trace; nothing where there are no traces.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Names a request's span by what it turned out to be, where there are traces.
pub fn name_request(span: &Span, method: &str, route: &str, status: u16) {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return;
    }
    context.span().update_name(format!("{method} {route}"));
    span.set_attribute("http.request.method", method.to_owned());
    span.set_attribute("http.route", route.to_owned());
    span.set_attribute("http.response.status_code", i64::from(status));
}
