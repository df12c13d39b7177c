//! Attachments: files that go with a prompt.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was sent with a prompt, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attachment {
    /// Its name, or its path in the workspace.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "error.png")]
    pub name: Option<String>,
    /// What it is.
    #[schema(example = "image/png")]
    pub media_type: String,
    /// How long it is, in bytes.
    #[schema(example = 20480)]
    pub size_bytes: u64,
}
