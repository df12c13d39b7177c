//! Logs and traces. Prompts, answers, keys and environments are in neither; ids, names of codes and figures are.

mod traces;

use std::time::Duration;

use tokio::runtime::Handle;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _};

use self::traces::Traces;

pub use traces::{TraceOptions, continue_from, name_request, traceparent};

/// How long spans that wait may take to be sent at the end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Why logging was not set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("telemetry.log_filter is not a filter such as `info` or `info,paddock=debug`")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Spans cannot be sent.
    #[error("spans cannot be sent to telemetry.otlp_endpoint")]
    Traces(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Somebody has set up logging in this process before.
    #[error("logging is set up already")]
    Installed(#[source] TryInitError),
}

/// Logs and traces of this process, until it is ended.
#[derive(Debug)]
#[must_use = "spans that wait are lost when it is dropped"]
pub struct Telemetry {
    traces: Option<Traces>,
}

impl Telemetry {
    /// Sends what waits.
    pub fn end(self) {
        if let Some(traces) = self.traces {
            traces.end(END_PATIENCE);
        }
    }
}

/// Sends the process's logs to standard error for the rest of its life, and its spans to where `traces` says.
pub fn install(
    filter: &str,
    format: LogFormat,
    traces: Option<(&TraceOptions, reqwest::Client)>,
    runtime: Handle,
) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    let traces = traces
        .map(|(options, client)| Traces::start(options, client, runtime))
        .transpose()
        .map_err(TelemetryError::Traces)?;
    // Spans alone: what is logged in them is in the log.
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("paddock"));
    let spans = traces.as_ref().map(|traces| {
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(spans)
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(TelemetryError::Installed)?;
    Ok(Telemetry { traces })
}
