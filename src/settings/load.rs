//! Reads settings from where they are written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use config::{Config, Environment};

use super::{Settings, environment};

/// Where settings are written.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The file, which must exist.
    pub file: Option<PathBuf>,
    /// The file that is read if it exists and no other is named.
    pub usual_file: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
}

impl LoadOptions {
    /// This process's environment, and `file`, else `config.yaml` in the working directory.
    #[must_use]
    pub fn of_this_process(file: Option<PathBuf>) -> Self {
        Self {
            file,
            usual_file: Some("config.yaml".into()),
            environment: environment::process_environment(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("the settings file {} is not YAML", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_yaml::Error,
    },
    /// A secret's file cannot be read.
    #[error("{variable}: {} cannot be read", path.display())]
    SecretFile {
        /// The variable that names it.
        variable: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A secret is given twice.
    #[error("{0} and {0}_FILE are both set; choose one")]
    TwoSources(String),
    /// What the CLI's own login wrote down is not that.
    #[error("CLAUDE_CODE_AUTH_JSON: {0}")]
    AuthJson(&'static str),
    /// A setting can only be written in the file.
    #[error("{0}: this setting has no variable; write it in the settings file")]
    FileOnly(String),
    /// A key nobody knows, or a value of the wrong kind.
    #[error("{path}: {source}")]
    Key {
        /// The setting's path.
        path: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The sources cannot be put together.
    #[error("the settings cannot be put together")]
    Merge(#[source] config::ConfigError),
    /// Values that cannot be used.
    #[error("{}", one_a_line(.0))]
    Invalid(Vec<String>),
}

fn one_a_line(problems: &[String]) -> String {
    let mut text = String::from("the settings cannot be used:");
    for problem in problems {
        // Writing to a string cannot fail.
        let _written = write!(text, "\n  {problem}");
    }
    text
}

impl Settings {
    /// The settings that are written there, over the defaults.
    pub fn load(options: LoadOptions) -> Result<Self, SettingsError> {
        let mut sources = Config::builder();
        let usual = options.usual_file.filter(|path| path.exists());
        if let Some(path) = options.file.or(usual)
            && let Some(values) = read_yaml(&path)?
        {
            sources = sources.add_source(Config::try_from(&values).map_err(SettingsError::Merge)?);
        }
        let variables = environment::settings_in(&options.environment)?;
        let mut from_environment = Environment::with_prefix(environment::PREFIX.trim_end_matches('_'))
            .prefix_separator("__")
            .separator("__")
            .list_separator(",")
            .try_parsing(true)
            .source(Some(variables));
        for list in environment::LISTS {
            from_environment = from_environment.with_list_parse_key(list);
        }
        let merged = sources
            .add_source(from_environment)
            .build()
            .map_err(SettingsError::Merge)?;
        let settings: Self = serde_path_to_error::deserialize(merged).map_err(at_path)?;
        let problems = settings.problems();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError::Invalid(problems))
        }
    }
}

/// What the file holds; `None` when it holds nothing.
fn read_yaml(path: &Path) -> Result<Option<serde_yaml::Value>, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::File {
        path: path.to_owned(),
        source,
    })?;
    let values: serde_yaml::Value = serde_yaml::from_str(&text).map_err(|source| SettingsError::Yaml {
        path: path.to_owned(),
        source,
    })?;
    if values.is_null() {
        return Ok(None);
    }
    // On its own first: once merged, an empty section of a wrong name can no longer be seen.
    let _alone: Settings = serde_path_to_error::deserialize(&values).map_err(at_path)?;
    Ok(Some(values))
}

fn at_path<E: std::error::Error + Send + Sync + 'static>(
    error: serde_path_to_error::Error<E>,
) -> SettingsError {
    SettingsError::Key {
        path: error.path().to_string(),
        source: Box::new(error.into_inner()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::settings::StorageKind;

    fn load(yaml: &str, environment: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, yaml).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        Settings::load(LoadOptions {
            file: Some(file),
            usual_file: None,
            environment,
        })
    }

    fn refused(yaml: &str, environment: &[(&str, &str)]) -> String {
        load(yaml, environment)
            .expect_err("these settings were taken")
            .to_string()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let yaml = "api: {port: 1000}\nsession: {ttl: 5m, storage: memory}";
        let settings = load(
            yaml,
            &[("PADDOCK__API__PORT", "2000"), ("PADDOCK__SESSION__TTL", "60")],
        )
        .unwrap();
        assert_eq!(settings.api.port, 2000);
        assert_eq!(settings.session.ttl, Duration::from_mins(1));
        assert_eq!(settings.session.storage, StorageKind::Memory);
        assert_eq!(settings.agent.max_live, 20);
    }

    #[test]
    fn our_names_win_over_the_documented_names_of_others() {
        let alias = ("CLAUDE_AGENT_API_PORT", "1001");
        assert_eq!(load("", &[alias]).unwrap().api.port, 1001);
        assert_eq!(
            load("", &[alias, ("PADDOCK__API__PORT", "1002")])
                .unwrap()
                .api
                .port,
            1002
        );
        assert_eq!(
            load("api: {port: 1000}", &[alias]).unwrap().api.port,
            1001,
            "a variable wins over the file"
        );
    }

    #[test]
    fn every_documented_name_reaches_a_setting() {
        let values = [
            ("STORAGE", "memory"),
            ("TTL", "7"),
            ("TIMEOUT", "7"),
            ("PORT", "7"),
            ("HOST", "127.0.0.7"),
            ("AUTO_CREATE_DIR", "false"),
            ("PERMISSION_MODE", "plan"),
            ("MAX_TURNS", "7"),
            ("USD", "7.5"),
            ("BASE_URL", "http://127.0.0.1:7"),
        ];
        for (alias, _) in environment::ALIASES {
            let value = values
                .iter()
                .find(|(end, _)| alias.ends_with(end))
                .map_or("seven", |(_, value)| *value);
            let yaml = if *alias == "DATABASE_URL" {
                "session: {storage: postgresql}"
            } else {
                ""
            };
            let defaults = load(yaml, &[]).unwrap();
            let settings = load(yaml, &[(alias, value)]).unwrap();
            assert_ne!(
                settings.redacted_yaml().unwrap(),
                defaults.redacted_yaml().unwrap(),
                "{alias} changed nothing"
            );
        }
    }

    #[test]
    fn what_is_not_written_of_a_dialect_is_its_own_default() {
        let yaml = "dialects: {openai: {bind: '127.0.0.1:1'}, codeagents_proxy: {prefix: /proxy}}";
        let environment = [
            ("PADDOCK__DIALECTS__CLAUDE_AGENT_HTTP__ENABLED", "false"),
            ("PADDOCK__DIALECTS__OPENAI__ANONYMOUS__TENANT", "acme"),
            ("PADDOCK__DIALECTS__OPENAI__ANONYMOUS__ROLE", "member"),
        ];
        let dialects = load(yaml, &environment).unwrap().dialects;
        assert!(!dialects.claude_agent_http.enabled);
        assert_eq!(dialects.claude_agent_http.prefix, "/compat/claude-agent-http");
        assert!(dialects.openai.enabled && dialects.openai.bind.is_some());
        assert_eq!(dialects.openai.anonymous.unwrap().tenant.as_str(), "acme");
        assert!(dialects.codeagents_proxy.enabled);
        assert_eq!(dialects.codeagents_proxy.prefix, "/proxy");
        assert!(refused("dialects: {openai: {prefx: /v}}", &[]).contains("dialects.openai"));
    }

    #[test]
    fn a_key_nobody_knows_is_told_with_its_path() {
        let from_file = refused("api: {prot: 1}", &[]);
        assert!(
            from_file.contains("api") && from_file.contains("prot") && from_file.contains("port"),
            "{from_file}"
        );
        let from_environment = refused("", &[("PADDOCK__API__PROT", "1")]);
        assert!(
            from_environment.contains("api") && from_environment.contains("prot"),
            "{from_environment}"
        );
        assert!(refused("apis: {}", &[]).contains("apis"));
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_told_with_its_path() {
        assert!(refused("api: {port: http}", &[]).contains("api.port"));
        assert!(refused("", &[("PADDOCK__SESSION__TTL", "soon")]).contains("session.ttl"));
        assert!(refused("session: {ttl: -1}", &[]).contains("session.ttl"));
        assert!(refused("session: {storage: oracle}", &[]).contains("session.storage"));
    }

    #[test]
    fn all_wrong_values_are_told_at_once() {
        let told = refused(
            "agent: {max_live: 0, line_limit_bytes: 1}\nlimits: {page_default: 0}",
            &[],
        );
        for path in ["agent.max_live", "agent.line_limit_bytes", "limits.page_default"] {
            assert!(told.contains(path), "{path} is missing in: {told}");
        }
    }

    #[test]
    fn an_address_beyond_loopback_needs_a_key() {
        let told = refused("api: {host: 0.0.0.0}", &[]);
        assert!(told.contains("PADDOCK__AUTH__ADMIN_KEY"), "{told}");
        let key = ("PADDOCK__AUTH__ADMIN_KEY", "a-key-of-enough-length");
        assert!(load("api: {host: 0.0.0.0}", &[key]).unwrap().auth.is_enforced());
        assert!(refused("api: {host: 0.0.0.0}\nauth: {enabled: false}", &[key]).contains("auth.enabled"));
        assert!(
            load("auth: {enabled: true}", &[]).is_ok(),
            "the first start makes a key"
        );
        assert!(load("api: {host: 0.0.0.0}\nauth: {enabled: true}", &[]).is_ok());
        assert!(!load("", &[]).unwrap().auth.is_enforced());
    }

    #[test]
    fn keys_are_checked_before_they_are_used() {
        let told = refused(
            "auth: {keys: [{name: a, key: short}, {name: a, key_sha256: xyz, tenant: UP, user_id: '..'}, {name: c}]}",
            &[],
        );
        for part in [
            "keys[0].key",
            "keys[1].name",
            "keys[1].key_sha256",
            "keys[1].tenant",
            "keys[1].user_id",
            "keys[2]",
        ] {
            assert!(told.contains(part), "{part} is missing in: {told}");
        }
    }

    #[test]
    fn cors_is_checked_for_what_browsers_would_misuse() {
        assert!(
            refused("api: {cors_origins: ['*'], cors_credentials: true}", &[]).contains("cors_credentials")
        );
        assert!(refused("api: {cors_origins: ['*', 'https://a.b']}", &[]).contains("cors_origins"));
        assert!(refused("api: {cors_origins: ['https://a.b/path']}", &[]).contains("cors_origins"));
        let listed = load(
            "",
            &[("PADDOCK__API__CORS_ORIGINS", "https://a.b,http://localhost:3000")],
        )
        .unwrap();
        assert_eq!(listed.api.cors_origins.len(), 2);
    }

    #[test]
    fn proxies_are_addresses_or_networks() {
        let good = load("api: {trusted_proxies: ['10.0.0.0/8', '::1', '127.0.0.1']}", &[]);
        assert_eq!(good.unwrap().api.trusted_proxies.len(), 3);
        for wrong in ["10.0.0.0/33", "proxy.local", "10.0.0.1/", "/8"] {
            assert!(
                refused(&format!("api: {{trusted_proxies: ['{wrong}']}}"), &[]).contains("trusted_proxies")
            );
        }
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_from_both() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "sk-from-a-file\n").unwrap();
        let path = file.to_str().unwrap();
        let settings = load("", &[("ANTHROPIC_API_KEY_FILE", path)]).unwrap();
        assert_eq!(settings.model.api_key.unwrap().expose_secret(), "sk-from-a-file");
        let settings = load("", &[("PADDOCK__MODEL__AUTH_TOKEN_FILE", path)]).unwrap();
        assert_eq!(
            settings.model.auth_token.unwrap().expose_secret(),
            "sk-from-a-file"
        );
        assert!(
            refused(
                "",
                &[("ANTHROPIC_API_KEY_FILE", path), ("ANTHROPIC_API_KEY", "x")]
            )
            .contains("both")
        );
        assert!(refused("", &[("ANTHROPIC_API_KEY_FILE", "/nowhere/key")]).contains("/nowhere/key"));
    }

    #[test]
    fn what_the_server_keeps_may_not_lie_where_agents_write() {
        let told = refused("user: {base_dir: data}", &[]);
        assert!(
            told.contains("session.sqlite_path") && told.contains("agent.homes_dir"),
            "{told}"
        );
    }

    #[test]
    fn checkpoints_lie_where_no_agent_writes_and_keep_something() {
        for (yaml, told) in [
            ("checkpoints: {dir: data/workspaces/kept}", "checkpoints.dir"),
            ("checkpoints: {dir: data/homes/kept}", "checkpoints.dir"),
            ("checkpoints: {dir: ''}", "checkpoints.dir"),
            ("checkpoints: {max_bytes: 0}", "checkpoints.max_bytes"),
            ("checkpoints: {max_turns: 0}", "checkpoints.max_turns"),
            ("checkpoints: {max_depth: 257}", "checkpoints.max_depth"),
            ("checkpoints: {timeout: 0}", "checkpoints.timeout"),
        ] {
            assert!(refused(yaml, &[]).contains(told), "{yaml}");
        }
        let settings = load("agent: {homes_dir: /var/lib/homes}", &[]).unwrap();
        let folder = settings.checkpoints.folder(&settings.agent.homes_dir);
        assert_eq!(folder, Path::new("/var/lib/checkpoints"));
    }

    #[test]
    fn two_credentials_or_a_script_beside_one_are_refused() {
        let both = [("ANTHROPIC_API_KEY", "a"), ("ANTHROPIC_AUTH_TOKEN", "b")];
        assert!(refused("", &both).contains("model:"));
        assert!(refused("model: {scripted: true}", &both[..1]).contains("model.scripted"));
    }

    #[test]
    fn what_is_printed_holds_no_secret() {
        let secrets = [
            ("ANTHROPIC_API_KEY", "sk-very-secret"),
            ("PADDOCK__AUTH__ADMIN_KEY", "an-admin-key-secret"),
        ];
        let yaml = "auth: {keys: [{name: a, key: another-key-secret}]}";
        let settings = load(yaml, &secrets).unwrap();
        for shown in [settings.redacted_yaml().unwrap(), format!("{settings:?}")] {
            assert!(!shown.contains("secret"), "{shown}");
            assert!(!shown.contains("sk-very"), "{shown}");
        }
    }

    #[test]
    fn a_map_whose_case_counts_is_refused_in_a_variable() {
        let told = refused("", &[("PADDOCK__AGENT__ENVIRONMENT__FOO", "1")]);
        assert!(told.contains("PADDOCK__AGENT__ENVIRONMENT__FOO"), "{told}");
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        assert_eq!(
            load("", &[("PADDOCK__API__PORT", ""), ("ANTHROPIC_API_KEY", "")])
                .unwrap()
                .api
                .port,
            8000
        );
    }

    #[test]
    fn the_shipped_file_names_every_setting_and_changes_none() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
        let text = std::fs::read_to_string(&shipped).unwrap();
        let settings = Settings::load(LoadOptions {
            file: Some(shipped),
            ..LoadOptions::default()
        })
        .unwrap();
        assert_eq!(
            settings.redacted_yaml().unwrap(),
            Settings::default().redacted_yaml().unwrap()
        );
        let defaults = serde_json::to_value(Settings::default()).unwrap();
        let written: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        for (section, values) in defaults.as_object().unwrap() {
            let values = values.as_object().cloned().unwrap_or_default();
            assert!(
                written.get(section).is_some(),
                "config.yaml does not name {section}"
            );
            for key in values.keys() {
                assert!(
                    written[section].get(key).is_some(),
                    "config.yaml does not name {section}.{key}"
                );
            }
        }
    }
}
