//! `telemetry`: logs.

use serde::{Deserialize, Serialize};

/// Logs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySection {
    /// What is logged: a level (error, warn, info, debug, trace), or levels by module (`info,paddock=debug`).
    pub log_filter: String,
    /// How log lines look: pretty or json.
    pub log_format: LogFormat,
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
        }
    }
}
