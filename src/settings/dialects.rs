//! `dialects`: other systems' wire formats.

use serde::{Deserialize, Serialize};

use super::require;
use crate::domain::UserId;

/// Other systems' wire formats.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DialectsSection {
    /// The most entries of a list that the original has no pages for.
    pub list_max: usize,
    /// The user for whom sessions are made where neither the request nor its credential names one.
    pub user_id: UserId,
    /// `claude-agent-http`.
    pub claude_agent_http: DialectSettings,
    /// `claude-code-sse`.
    pub claude_code_sse: DialectSettings,
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
            user_id: UserId::default(),
            claude_agent_http: DialectSettings {
                enabled: true,
                prefix: "/compat/claude-agent-http".to_owned(),
            },
            claude_code_sse: DialectSettings {
                enabled: true,
                // Its paths collide with nothing.
                prefix: String::new(),
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
        let (agent_http, code_sse) = (&self.claude_agent_http, &self.claude_code_sse);
        agent_http.check("claude_agent_http", false, problems);
        code_sse.check("claude_code_sse", true, problems);
        require(
            agent_http.prefix != code_sse.prefix,
            problems,
            "dialects.claude_code_sse.prefix: is another dialect's",
        );
    }
}

impl DialectSettings {
    /// `at_root`: whether it may have no prefix, since its paths are nobody else's.
    fn check(&self, name: &str, at_root: bool, problems: &mut Vec<String>) {
        // The platform's own paths are not given away.
        const OWN: [&str; 5] = ["api", "internal", "docs", "health", "metrics"];
        let parts: Vec<_> = self.prefix.split('/').skip(1).collect();
        let good = |part: &&str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && part.bytes().all(fits)
        };
        let is_path = self.prefix.starts_with('/')
            && parts.iter().all(good)
            && parts.first().is_some_and(|first| !OWN.contains(first));
        require(
            is_path || (at_root && self.prefix.is_empty()),
            problems,
            &format!(
                "dialects.{name}.prefix: must be a path such as /compat/NAME, of A-Z a-z 0-9 . _ -, and none of the \
                 platform's own"
            ),
        );
    }
}
