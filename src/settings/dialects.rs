//! `dialects`: other systems' wire formats.

use serde::{Deserialize, Serialize};

use super::require;

/// Other systems' wire formats.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialectsSection {
    /// The most entries of a list that the original has no pages for.
    pub list_max: usize,
    /// `claude-agent-http`.
    pub claude_agent_http: DialectSettings,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialectSettings {
    /// Whether it is there.
    pub enabled: bool,
    /// What its paths begin with.
    pub prefix: String,
}

impl DialectSettings {
    /// Its prefix, if it is there.
    #[must_use]
    pub fn mounted(&self) -> Option<String> {
        self.enabled.then(|| self.prefix.clone())
    }
}

impl Default for DialectsSection {
    fn default() -> Self {
        Self {
            list_max: 1000,
            claude_agent_http: DialectSettings {
                enabled: true,
                prefix: "/compat/claude-agent-http".to_owned(),
            },
        }
    }
}

impl DialectsSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            self.list_max > 0,
            problems,
            "dialects.list_max: must be at least 1",
        );
        let prefix = &self.claude_agent_http.prefix;
        let parts: Vec<_> = prefix.split('/').skip(1).collect();
        let good = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        // The platform's own paths are not given away.
        let own = ["api", "internal", "docs", "health", "metrics"];
        require(
            prefix.starts_with('/')
                && parts.iter().all(good)
                && !parts.first().is_none_or(|first| own.contains(first)),
            problems,
            "dialects.claude_agent_http.prefix: must be a path such as /compat/NAME, of A-Z a-z 0-9 . _ -, and none of the \
             platform's own",
        );
    }
}
