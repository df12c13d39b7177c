//! What values of requests must be like, beyond their types: the rules that request types name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize as _, Deserializer};
use serde_json::{Map, Value};
use validator::ValidationError;

use super::options::PluginRequest;
use crate::api::ApiLimits;
use crate::domain::{PermissionRule, Subdir, TenantName, UserId};

/// A rule that a value breaks.
pub(super) fn rule(code: &'static str, words: impl Into<Cow<'static, str>>) -> ValidationError {
    ValidationError::new(code).with_message(words.into())
}

pub(super) fn is_user_id(text: &str) -> Result<(), ValidationError> {
    text.parse::<UserId>()
        .map(|_| ())
        .map_err(|error| rule("invalid_name", error.to_string()))
}

pub(super) fn is_tenant_name(text: &str) -> Result<(), ValidationError> {
    text.parse::<TenantName>()
        .map(|_| ())
        .map_err(|error| rule("invalid_name", error.to_string()))
}

pub(super) fn is_key_name(name: &str) -> Result<(), ValidationError> {
    let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        let words = "must have 1 to 100 characters, none of them a control character";
        Err(rule("invalid_name", words))
    }
}

pub(super) fn are_names(names: &[String], limits: &ApiLimits) -> Result<(), ValidationError> {
    has_room(names.len(), limits)?;
    let good = |name: &String| (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    if names.iter().all(good) {
        Ok(())
    } else {
        let words = "each must have 1 to 256 bytes, none of them a control character";
        Err(rule("invalid_name", words))
    }
}

pub(super) fn is_amount(usd: f64) -> Result<(), ValidationError> {
    if (0.0..=1e9).contains(&usd) {
        Ok(())
    } else {
        Err(rule("out_of_range", "must lie between 0 and 1000000000"))
    }
}

pub(super) fn are_networks(networks: &[String]) -> Result<(), ValidationError> {
    if networks.len() > 50 {
        return Err(rule("too_many", "must have at most 50 entries"));
    }
    match networks.iter().find(|network| network.parse::<IpNet>().is_err()) {
        Some(network) => {
            let words = format!("`{network}` is no network like 192.0.2.0/24 or 2001:db8::/32");
            Err(rule("invalid_network", words))
        }
        None => Ok(()),
    }
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
    has_room(tools.len(), limits)?;
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

fn is_long(what: &impl serde::Serialize, limits: &ApiLimits) -> Result<(), ValidationError> {
    let bytes = serde_json::to_vec(what).map_or(usize::MAX, |json| json.len());
    if bytes > limits.option_max_bytes {
        return Err(rule(
            "too_long",
            format!("must have at most {} bytes of JSON", limits.option_max_bytes),
        ));
    }
    Ok(())
}

fn has_room(entries: usize, limits: &ApiLimits) -> Result<(), ValidationError> {
    if entries > limits.tool_list_max {
        return Err(rule(
            "too_many",
            format!("must have at most {} entries", limits.tool_list_max),
        ));
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}

/// Things by name that the CLI defines: objects, each of which `is_one`.
fn are_named(
    things: &Map<String, Value>,
    limits: &ApiLimits,
    is_one: impl Fn(&Map<String, Value>) -> bool,
    words: &'static str,
) -> Result<(), ValidationError> {
    is_long(things, limits)?;
    has_room(things.len(), limits)?;
    if !things.keys().all(|name| is_name(name)) {
        return Err(rule("invalid_name", "names must be 1 to 64 of `A-Z a-z 0-9 _ -`"));
    }
    if !things
        .values()
        .all(|thing| thing.as_object().is_some_and(&is_one))
    {
        return Err(rule("invalid_entry", words));
    }
    Ok(())
}

fn is_text(thing: &Map<String, Value>, name: &str) -> bool {
    thing
        .get(name)
        .and_then(Value::as_str)
        .is_some_and(|text| !text.trim().is_empty())
}

pub(super) fn are_agents(agents: &Map<String, Value>, limits: &ApiLimits) -> Result<(), ValidationError> {
    let is_agent = |agent: &Map<String, Value>| is_text(agent, "description") && is_text(agent, "prompt");
    are_named(
        agents,
        limits,
        is_agent,
        "entries must have the texts `description` and `prompt`",
    )
}

pub(super) fn are_mcp_servers(
    servers: &Map<String, Value>,
    limits: &ApiLimits,
) -> Result<(), ValidationError> {
    let is_server = |server: &Map<String, Value>| match server.get("type").and_then(Value::as_str) {
        None | Some("stdio") => server.get("type").is_none_or(Value::is_string) && is_text(server, "command"),
        Some("http" | "sse") => is_text(server, "url"),
        Some(_) => false,
    };
    let words = "entries must have a `command`, or a `type` of `http` or `sse` and a `url`";
    are_named(servers, limits, is_server, words)
}

pub(super) fn are_plugins(plugins: &[PluginRequest], limits: &ApiLimits) -> Result<(), ValidationError> {
    let paths: Vec<_> = plugins.iter().map(|plugin| plugin.path.clone()).collect();
    are_dirs(&paths, limits)
}

pub(super) fn are_dirs(dirs: &[String], limits: &ApiLimits) -> Result<(), ValidationError> {
    has_room(dirs.len(), limits)?;
    dirs.iter().try_for_each(|dir| is_subdir(dir))
}

pub(super) fn are_rules(rules: &[PermissionRule], limits: &ApiLimits) -> Result<(), ValidationError> {
    has_room(rules.len(), limits)?;
    if !rules.iter().all(PermissionRule::is_valid) {
        let words = "each `tool` must be like `WebFetch`, `*` or `Bash(git:*)`, of at most 512 bytes";
        return Err(rule("invalid_name", words));
    }
    Ok(())
}

pub(super) fn is_schema(schema: &Value, limits: &ApiLimits) -> Result<(), ValidationError> {
    is_long(schema, limits)?;
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(rule(
            "invalid_schema",
            "must be a JSON schema of `\"type\": \"object\"`",
        ));
    }
    jsonschema::validator_for(schema)
        .map(|_| ())
        .map_err(|error| rule("invalid_schema", format!("is no JSON schema: {error}")))
}

pub(super) fn are_variables(
    variables: &BTreeMap<String, String>,
    limits: &ApiLimits,
) -> Result<(), ValidationError> {
    is_long(variables, limits)?;
    let is_variable = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if !variables.keys().all(is_variable) {
        return Err(rule("invalid_name", "names must be of letters, digits and `_`"));
    }
    if variables.values().any(|value| value.contains('\0')) {
        return Err(rule("control_character", "must not hold NUL"));
    }
    Ok(())
}

/// Something that a person answers an agent with.
pub(super) fn is_answer(answer: &Map<String, Value>, limits: &ApiLimits) -> Result<(), ValidationError> {
    is_long(answer, limits)
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

pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|_unreadable| serde::de::Error::custom("must be true or false"))
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
