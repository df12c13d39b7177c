//! Attachments: files that go with a prompt.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was sent with a prompt, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Its name, or its path in the workspace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What it is.
    pub media_type: String,
    /// How long it is, in bytes.
    pub size_bytes: u64,
}
