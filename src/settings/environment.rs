//! Settings from environment variables: `PADDOCK__SECTION__KEY`, the names that the originals documented, and secrets
//! from files.

use std::collections::HashMap;
use std::fs;

use serde_json::Value;

use super::load::SettingsError;

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "PADDOCK__";

/// Names that people know from elsewhere, and the variables they stand for. Ours win over them.
pub const ALIASES: &[(&str, &str)] = &[
    ("CLAUDE_AGENT_USER_BASE_DIR", "PADDOCK__USER__BASE_DIR"),
    (
        "CLAUDE_AGENT_USER_AUTO_CREATE_DIR",
        "PADDOCK__USER__AUTO_CREATE_DIR",
    ),
    ("CLAUDE_AGENT_SESSION_STORAGE", "PADDOCK__SESSION__STORAGE"),
    ("CLAUDE_AGENT_SESSION_TTL", "PADDOCK__SESSION__TTL"),
    (
        "CLAUDE_AGENT_SESSION_SQLITE_PATH",
        "PADDOCK__SESSION__SQLITE_PATH",
    ),
    ("DATABASE_URL", "PADDOCK__SESSION__DATABASE_URL"),
    ("CLAUDE_AGENT_SESSION_PG_HOST", "PADDOCK__SESSION__PG_HOST"),
    ("CLAUDE_AGENT_SESSION_PG_PORT", "PADDOCK__SESSION__PG_PORT"),
    (
        "CLAUDE_AGENT_SESSION_PG_DATABASE",
        "PADDOCK__SESSION__PG_DATABASE",
    ),
    ("CLAUDE_AGENT_SESSION_PG_USER", "PADDOCK__SESSION__PG_USER"),
    (
        "CLAUDE_AGENT_SESSION_PG_PASSWORD",
        "PADDOCK__SESSION__PG_PASSWORD",
    ),
    ("CLAUDE_AGENT_API_HOST", "PADDOCK__API__HOST"),
    ("CLAUDE_AGENT_API_PORT", "PADDOCK__API__PORT"),
    ("CLAUDE_AGENT_CLI_PATH", "PADDOCK__AGENT__CLI_PATH"),
    (
        "CLAUDE_AGENT_IDLE_SESSION_TIMEOUT",
        "PADDOCK__AGENT__IDLE_TIMEOUT",
    ),
    (
        "CLAUDE_AGENT_DEFAULTS_SYSTEM_PROMPT",
        "PADDOCK__DEFAULTS__SYSTEM_PROMPT",
    ),
    (
        "CLAUDE_AGENT_DEFAULTS_PERMISSION_MODE",
        "PADDOCK__DEFAULTS__PERMISSION_MODE",
    ),
    ("CLAUDE_AGENT_DEFAULTS_MODEL", "PADDOCK__DEFAULTS__MODEL"),
    ("CLAUDE_AGENT_DEFAULTS_MAX_TURNS", "PADDOCK__DEFAULTS__MAX_TURNS"),
    (
        "CLAUDE_AGENT_DEFAULTS_MAX_BUDGET_USD",
        "PADDOCK__DEFAULTS__MAX_BUDGET_USD",
    ),
    ("ANTHROPIC_MODEL", "PADDOCK__DEFAULTS__MODEL"),
    ("ANTHROPIC_BASE_URL", "PADDOCK__MODEL__BASE_URL"),
    ("ANTHROPIC_API_KEY", "PADDOCK__MODEL__API_KEY"),
    ("ANTHROPIC_AUTH_TOKEN", "PADDOCK__MODEL__AUTH_TOKEN"),
    ("CLAUDE_CODE_OAUTH_TOKEN", "PADDOCK__MODEL__OAUTH_TOKEN"),
];

/// The secrets, each of which may come from the file that `NAME_FILE` names.
pub(super) const SECRETS: &[&str] = &[
    "PADDOCK__AUTH__ADMIN_KEY",
    "PADDOCK__AUTH__SEALING_KEY",
    "PADDOCK__SESSION__DATABASE_URL",
    "PADDOCK__SESSION__PG_PASSWORD",
    "PADDOCK__MODEL__API_KEY",
    "PADDOCK__MODEL__AUTH_TOKEN",
    "PADDOCK__MODEL__OAUTH_TOKEN",
    "PADDOCK__TELEMETRY__OTLP_AUTHORIZATION",
];

/// The variable in which one of the originals takes what the CLI's own login wrote down.
pub(super) const AUTH_JSON: &str = "CLAUDE_CODE_AUTH_JSON";

/// Where a credential for the model may come from.
const CREDENTIALS: [&str; 3] = [
    "PADDOCK__MODEL__API_KEY",
    "PADDOCK__MODEL__AUTH_TOKEN",
    "PADDOCK__MODEL__OAUTH_TOKEN",
];

/// The settings that are lists; in a variable, their entries are separated by commas.
pub(super) const LISTS: &[&str] = &[
    "api.cors_origins",
    "api.trusted_proxies",
    "defaults.allowed_tools",
    "defaults.disallowed_tools",
    "defaults.setting_sources",
    "agent.session_environment",
    "agent.pass_environment",
    "git.clone_hosts",
    "git.clone_networks",
    "isolation.read_paths",
    "isolation.write_paths",
    "model.allowed_models",
    "webhooks.allowed_networks",
    "webhooks.schedule",
];

/// The settings that have no variable: their keys' case counts, or their entries are structures.
const FILE_ONLY: &[&str] = &[
    "PADDOCK__AGENT__ENVIRONMENT",
    "PADDOCK__AUTH__KEYS",
    "PADDOCK__MCP_SERVERS",
    "PADDOCK__MODEL__PRICES",
    "PADDOCK__PERMISSIONS__RULES",
    "PADDOCK__PLUGINS",
    "PADDOCK__WORKSPACES__TEMPLATES",
];

/// The variables of this process. Those that are no text are left out.
#[must_use]
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The variables of `environment` that are settings, all by our own names.
pub(super) fn settings_in(
    environment: &[(String, String)],
) -> Result<HashMap<String, String>, SettingsError> {
    let given: HashMap<&str, &str> = environment
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut settings = HashMap::new();
    for (alias, name) in ALIASES {
        if let Some(value) = value_of(&given, alias, name)? {
            settings.entry((*name).to_owned()).or_insert(value);
        }
    }
    for secret in SECRETS {
        if let Some(value) = value_of(&given, secret, secret)? {
            settings.insert((*secret).to_owned(), value);
        }
    }
    let login = given.get(AUTH_JSON).map(|text| login_in(text)).transpose()?;
    for (name, value) in given {
        let is_secret_file = name
            .strip_suffix("_FILE")
            .is_some_and(|secret| SECRETS.contains(&secret));
        if !name.starts_with(PREFIX) || is_secret_file {
            continue;
        }
        if FILE_ONLY.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(SettingsError::FileOnly(name.to_owned()));
        }
        settings.insert(name.to_owned(), value.to_owned());
    }
    // A credential that is named as one counts more.
    if let Some(login) = login
        && !CREDENTIALS.iter().any(|name| settings.contains_key(*name))
    {
        let (name, value) = credential_in(&login).ok_or(SettingsError::AuthJson(
            "holds neither claudeAiOauth.accessToken nor primaryApiKey, and no other credential is set",
        ))?;
        settings.insert(name.to_owned(), value);
    }
    Ok(settings)
}

fn login_in(text: &str) -> Result<Value, SettingsError> {
    serde_json::from_str(text).map_err(|_not_json| SettingsError::AuthJson("is not JSON"))
}

/// The credential in what the CLI's own login wrote down: a token of a subscription, else a key.
fn credential_in(login: &Value) -> Option<(&'static str, String)> {
    let text = |pointer: &str| Some(login.pointer(pointer)?.as_str()?.to_owned());
    let token = text("/claudeAiOauth/accessToken").map(|token| ("PADDOCK__MODEL__OAUTH_TOKEN", token));
    token.or_else(|| Some(("PADDOCK__MODEL__API_KEY", text("/primaryApiKey")?)))
}

/// What a variable says, or the file that it names if it is a secret's.
fn value_of(
    given: &HashMap<&str, &str>,
    variable: &str,
    name: &str,
) -> Result<Option<String>, SettingsError> {
    let plain = given.get(variable).map(|value| (*value).to_owned());
    let file_variable = format!("{variable}_FILE");
    let file = given
        .get(file_variable.as_str())
        .filter(|_| SECRETS.contains(&name));
    match (plain, file) {
        (Some(_), Some(_)) => Err(SettingsError::TwoSources(variable.to_owned())),
        (plain, None) => Ok(plain),
        (None, Some(path)) => {
            let text = fs::read_to_string(path).map_err(|source| SettingsError::SecretFile {
                variable: file_variable.clone(),
                path: (*path).into(),
                source,
            })?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn what_the_clis_login_wrote_down_is_a_credential_unless_another_is_named() {
        let read = |json: &str, others: &[(&str, &str)]| {
            let own = (AUTH_JSON.to_owned(), json.to_owned());
            let others = others
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            settings_in(&others.chain([own]).collect::<Vec<_>>())
        };
        let login =
            r#"{"claudeAiOauth": {"accessToken": "sk-ant-oat", "refreshToken": "r", "expiresAt": 1}}"#;
        let found = read(login, &[]).unwrap();
        assert_eq!(found["PADDOCK__MODEL__OAUTH_TOKEN"], "sk-ant-oat");
        let found = read(r#"{"primaryApiKey": "sk-ant-api"}"#, &[]).unwrap();
        assert_eq!(found["PADDOCK__MODEL__API_KEY"], "sk-ant-api");
        let found = read(login, &[("ANTHROPIC_API_KEY", "sk-ant-named")]).unwrap();
        assert_eq!(found["PADDOCK__MODEL__API_KEY"], "sk-ant-named");
        assert!(!found.contains_key("PADDOCK__MODEL__OAUTH_TOKEN"));
        let torn = read("{", &[("ANTHROPIC_API_KEY", "sk-ant-named")]).unwrap_err();
        assert!(torn.to_string().contains("is not JSON"), "{torn}");
        // As its documentation has it, where there is a key besides.
        let documented = r#"{"session_key": "your-session-key"}"#;
        read(documented, &[("ANTHROPIC_API_KEY", "sk-ant-named")]).unwrap();
        let alone = read(documented, &[]).unwrap_err();
        assert!(alone.to_string().contains("holds neither"), "{alone}");
    }

    #[test]
    fn every_list_can_be_set_by_a_variable_or_says_that_it_cannot() {
        fn lists(path: &str, value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Array(_) => found.push(path.to_owned()),
                Value::Object(fields) => {
                    for (name, value) in fields {
                        let path = if path.is_empty() {
                            name.clone()
                        } else {
                            format!("{path}.{name}")
                        };
                        lists(&path, value, found);
                    }
                }
                _ => {}
            }
        }
        let mut found = Vec::new();
        lists(
            "",
            &serde_json::to_value(Settings::default()).unwrap(),
            &mut found,
        );
        assert!(found.contains(&"webhooks.schedule".to_owned()));
        found.retain(|path| {
            let variable = format!("PADDOCK__{}", path.replace('.', "__").to_uppercase());
            !LISTS.contains(&path.as_str()) && !FILE_ONLY.iter().any(|prefix| variable.starts_with(prefix))
        });
        assert_eq!(found, [] as [&str; 0]);
    }
}
