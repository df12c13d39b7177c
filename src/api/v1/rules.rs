//! What values of requests must be like, beyond their types: the rules that request types name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value};
use validator::ValidationError;

use crate::api::ApiLimits;
use crate::domain::{Subdir, UserId};

/// A rule that a value breaks.
pub(super) fn rule(code: &'static str, words: impl Into<Cow<'static, str>>) -> ValidationError {
    ValidationError::new(code).with_message(words.into())
}

pub(super) fn is_user_id(text: &str) -> Result<(), ValidationError> {
    text.parse::<UserId>()
        .map(|_| ())
        .map_err(|error| rule("invalid_name", error.to_string()))
}

pub(super) fn is_subdir(text: &str) -> Result<(), ValidationError> {
    text.parse::<Subdir>()
        .map(|_| ())
        .map_err(|error| rule("invalid_path", error.to_string()))
}

pub(super) fn is_title(title: &str, limits: &ApiLimits) -> Result<(), ValidationError> {
    if title.chars().count() > limits.title_max_chars {
        return Err(rule(
            "too_long",
            format!("must have at most {} characters", limits.title_max_chars),
        ));
    }
    if title.chars().any(char::is_control) {
        return Err(rule("control_character", "must not hold control characters"));
    }
    Ok(())
}

pub(super) fn is_metadata(metadata: &Map<String, Value>, limits: &ApiLimits) -> Result<(), ValidationError> {
    let bytes = serde_json::to_vec(metadata).map_or(usize::MAX, |json| json.len());
    if bytes > limits.metadata_max_bytes {
        return Err(rule(
            "too_long",
            format!("must have at most {} bytes of JSON", limits.metadata_max_bytes),
        ));
    }
    if metadata
        .iter()
        .any(|(key, value)| key.contains('\0') || holds_nul(value))
    {
        return Err(rule("control_character", "must not hold NUL"));
    }
    Ok(())
}

pub(super) fn is_search(text: &str, limits: &ApiLimits) -> Result<(), ValidationError> {
    is_title(text, limits)?;
    if text.trim().is_empty() {
        return Err(rule("empty", "must not be empty"));
    }
    Ok(())
}

pub(super) fn is_metadata_query(
    wanted: &BTreeMap<String, String>,
    limits: &ApiLimits,
) -> Result<(), ValidationError> {
    if wanted.len() > limits.metadata_filters_max {
        return Err(rule(
            "too_many",
            format!("must be for at most {} keys", limits.metadata_filters_max),
        ));
    }
    Ok(())
}

/// Whether NUL is in a text of it; not every store keeps it.
fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(holds_nul),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

pub(super) fn is_word(text: &str) -> Result<(), ValidationError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:/@[]-".contains(c);
    if text.is_empty() || text.len() > 128 || text.starts_with('-') || !text.chars().all(allowed) {
        return Err(rule(
            "invalid_name",
            "must be a model's name: letters, digits and `._:/@[]-`, at most 128",
        ));
    }
    Ok(())
}

pub(super) fn is_system_prompt(text: &str, limits: &ApiLimits) -> Result<(), ValidationError> {
    if text.len() > limits.system_prompt_max_bytes {
        return Err(rule(
            "too_long",
            format!("must have at most {} bytes", limits.system_prompt_max_bytes),
        ));
    }
    if text.contains('\0') {
        return Err(rule("control_character", "must not hold NUL"));
    }
    Ok(())
}

pub(super) fn are_tools(tools: &[String], limits: &ApiLimits) -> Result<(), ValidationError> {
    if tools.len() > limits.tool_list_max {
        return Err(rule(
            "too_many",
            format!("must have at most {} entries", limits.tool_list_max),
        ));
    }
    let good = |tool: &String| {
        tool.chars()
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic())
            && tool.len() <= 512
            && !tool.chars().any(char::is_control)
    };
    if !tools.iter().all(good) {
        let words = "entries must be tools such as `Read` or `Bash(git:*)`, of at most 512 bytes";
        return Err(rule("invalid_name", words));
    }
    Ok(())
}

pub(super) fn is_budget(usd: f64) -> Result<(), ValidationError> {
    if usd > 0.0 && usd <= 1000.0 {
        Ok(())
    } else {
        Err(rule("out_of_range", "must be more than 0 and at most 1000"))
    }
}

/// Reads `limit`, which a query string has as text.
pub(super) fn page_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|_unreadable| serde::de::Error::custom("must be a whole number"))
}

pub(super) fn within_page_limit(limit: u32, limits: &ApiLimits) -> Result<(), ValidationError> {
    if (1..=limits.page_max).contains(&limit) {
        Ok(())
    } else {
        Err(rule(
            "out_of_range",
            format!("must be between 1 and {}", limits.page_max),
        ))
    }
}

/// Tells a field that is null from one that is absent.
#[expect(clippy::option_option, reason = "absent, null and a value are three things")]
pub(super) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
