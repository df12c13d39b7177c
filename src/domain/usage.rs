//! Tokens used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Tokens that a turn, or a sum of turns, used, by the kind they are priced by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Input tokens that were neither read from nor written to the prompt cache.
    #[serde(default)]
    #[schema(example = 812)]
    pub input_tokens: u64,
    /// Output tokens.
    #[serde(default)]
    #[schema(example = 96)]
    pub output_tokens: u64,
    /// Input tokens read from the prompt cache.
    #[serde(default)]
    #[schema(example = 640)]
    pub cache_read_input_tokens: u64,
    /// Input tokens written to the prompt cache.
    #[serde(default)]
    #[schema(example = 0)]
    pub cache_creation_input_tokens: u64,
}

impl Usage {
    /// Tokens of all kinds.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input_tokens
            .saturating_add(self.output_tokens)
            .saturating_add(self.cache_read_input_tokens)
            .saturating_add(self.cache_creation_input_tokens)
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_input_tokens: self
                .cache_read_input_tokens
                .saturating_add(other.cache_read_input_tokens),
            cache_creation_input_tokens: self
                .cache_creation_input_tokens
                .saturating_add(other.cache_creation_input_tokens),
        }
    }
}
