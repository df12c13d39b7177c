//! `telemetry`: logs and traces.

use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use super::redacted::redact;
use super::{duration, require};

/// Logs and traces.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySection {
    /// What is logged: a level (error, warn, info, debug, trace), or levels by module (`info,paddock=debug`).
    pub log_filter: String,
    /// How log lines look: pretty or json.
    pub log_format: LogFormat,
    /// Where traces are sent: a collector's address for spans over OTLP (protobuf over HTTP), such as
    /// `http://collector:4318/v1/traces`. None: no traces.
    pub otlp_endpoint: Option<Url>,
    /// What is sent to the collector as the header `Authorization`. Better set by
    /// `PADDOCK__TELEMETRY__OTLP_AUTHORIZATION_FILE`.
    #[serde(serialize_with = "redact")]
    pub otlp_authorization: Option<SecretString>,
    /// Which part of all traces is kept, from 0 to 1.
    pub otlp_sample_ratio: f64,
    /// How long the collector may take to answer.
    #[serde(with = "duration")]
    pub otlp_timeout: Duration,
    /// How many spans wait to be sent at most; further ones are dropped.
    pub otlp_queue_max: usize,
    /// What the service is called in traces.
    pub otlp_service_name: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            log_filter: "info,actix_server=warn".to_owned(),
            log_format: LogFormat::Pretty,
            otlp_endpoint: None,
            otlp_authorization: None,
            otlp_sample_ratio: 1.0,
            otlp_timeout: Duration::from_secs(10),
            otlp_queue_max: 2048,
            otlp_service_name: "paddock".to_owned(),
        }
    }
}

impl TelemetrySection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        require(
            self.otlp_endpoint.as_ref().is_none_or(is_http),
            problems,
            "telemetry.otlp_endpoint: must be an http or https address, such as http://collector:4318/v1/traces",
        );
        require(
            (0.0..=1.0).contains(&self.otlp_sample_ratio),
            problems,
            "telemetry.otlp_sample_ratio: must be from 0 to 1",
        );
        require(
            !self.otlp_timeout.is_zero(),
            problems,
            "telemetry.otlp_timeout: must be longer than 0",
        );
        require(
            self.otlp_queue_max > 0,
            problems,
            "telemetry.otlp_queue_max: must be at least 1",
        );
        require(
            !self.otlp_service_name.trim().is_empty(),
            problems,
            "telemetry.otlp_service_name: must not be empty",
        );
    }
}
