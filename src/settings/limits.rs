//! `limits`: what requests may ask for at most.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// What requests may ask for at most.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// The longest prompt, in bytes.
    pub message_max_bytes: usize,
    /// The longest title, in characters.
    pub title_max_chars: usize,
    /// The most metadata of a session, in bytes of JSON.
    pub metadata_max_bytes: usize,
    /// The most keys of metadata that a list of sessions may be filtered by at once.
    pub metadata_filters_max: usize,
    /// The longest system prompt, in bytes.
    pub system_prompt_max_bytes: usize,
    /// The most entries of a list of tools.
    pub tool_list_max: usize,
    /// The longest option that the CLI defines (sub-agents, MCP servers, a schema, variables), in bytes of JSON.
    pub option_max_bytes: usize,
    /// The most attachments of a prompt.
    pub attachments_max: usize,
    /// The longest attachment, in bytes. One that is sent along must fit into `api.body_limit_bytes` in base64.
    pub attachment_max_bytes: u64,
    /// The most of a workspace that a fork copies, in bytes.
    pub workspace_copy_max_bytes: u64,
    /// The most files, folders and links that a fork copies.
    pub workspace_copy_max_entries: u64,
    /// The longest time limit that a turn may ask for.
    #[serde(with = "duration")]
    pub turn_timeout_max: Duration,
    /// How long the second of two requests with one `Idempotency-Key` waits for the first; then 409
    /// `request_in_progress`.
    #[serde(with = "duration")]
    pub idempotency_wait: Duration,
    /// How long it is kept what a request with an `Idempotency-Key` was answered with.
    #[serde(with = "duration")]
    pub idempotency_retention: Duration,
    /// The most sums that a question for usage is answered with.
    pub usage_rows_max: usize,
    /// How many entries a page of a list has when the request does not say.
    pub page_default: u32,
    /// The most entries of a page of a list.
    pub page_max: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            message_max_bytes: 1024 * 1024,
            title_max_chars: 200,
            metadata_max_bytes: 16 * 1024,
            metadata_filters_max: 5,
            system_prompt_max_bytes: 256 * 1024,
            tool_list_max: 200,
            option_max_bytes: 256 * 1024,
            attachments_max: 20,
            attachment_max_bytes: 5 * 1024 * 1024,
            workspace_copy_max_bytes: 1024 * 1024 * 1024,
            workspace_copy_max_entries: 100_000,
            turn_timeout_max: Duration::from_hours(1),
            idempotency_wait: Duration::from_secs(30),
            idempotency_retention: Duration::from_hours(72),
            usage_rows_max: 10_000,
            page_default: 50,
            page_max: 200,
        }
    }
}

impl LimitsSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        for (value, name) in [
            (self.message_max_bytes, "message_max_bytes"),
            (self.title_max_chars, "title_max_chars"),
            (self.metadata_max_bytes, "metadata_max_bytes"),
            (self.metadata_filters_max, "metadata_filters_max"),
            (self.system_prompt_max_bytes, "system_prompt_max_bytes"),
            (self.tool_list_max, "tool_list_max"),
            (self.option_max_bytes, "option_max_bytes"),
            (self.page_max as usize, "page_max"),
            (self.usage_rows_max, "usage_rows_max"),
        ] {
            require(value > 0, problems, &format!("limits.{name}: must be at least 1"));
        }
        require(
            self.idempotency_retention >= Duration::from_mins(10),
            problems,
            "limits.idempotency_retention: must be at least 10m",
        );
        require(
            self.turn_timeout_max >= Duration::from_secs(1),
            problems,
            "limits.turn_timeout_max: must be at least 1s",
        );
        require(
            (1..=self.page_max).contains(&self.page_default),
            problems,
            "limits.page_default: must be between 1 and limits.page_max",
        );
    }
}
