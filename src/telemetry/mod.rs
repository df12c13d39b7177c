//! Logs. Prompts, answers, keys and environments are never logged; ids, names of codes and figures are.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

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
    /// Somebody has set up logging in this process before.
    #[error("logging is set up already")]
    Installed(#[source] TryInitError),
}

/// Sends the process's logs to standard error, for the rest of its life.
pub fn install(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(TelemetryError::Installed)
}
