//! `dialects`: other systems' wire formats.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::require;
use crate::domain::{Dialect, Role, TenantName, UserId};

/// Other systems' wire formats.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Given")]
pub struct DialectsSection {
    /// The most entries of a list that the original has no pages for.
    pub list_max: usize,
    /// The user for whom sessions are made where neither the request nor its credential names one.
    pub user_id: UserId,
    /// Whether `openai` tells the calls of tools in its text.
    pub openai_shows_tools: bool,
    /// `claude-agent-http`.
    pub claude_agent_http: DialectSettings,
    /// `claude-agent-server`.
    pub claude_agent_server: DialectSettings,
    /// `claude-code-sse`. Without a prefix its `/health` is at its own address only.
    pub claude_code_sse: DialectSettings,
    /// `codeagents-proxy`.
    pub codeagents_proxy: DialectSettings,
    /// `mcp-coding-agents`.
    pub mcp_coding_agents: DialectSettings,
    /// `openai`.
    pub openai: DialectSettings,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub struct DialectSettings {
    /// Whether it is there.
    pub enabled: bool,
    /// What its paths begin with on the platform's own port; nothing, where it may be: they are at the root.
    pub prefix: String,
    /// An address of its own (`127.0.0.1:8787`), where its paths are the original's; none when null. Off a loopback
    /// address, a credential is always needed there.
    pub bind: Option<SocketAddr>,
    /// Whom callers without a credential are at that address; they are refused when null. Only with a `bind` on a
    /// loopback address, and only for calls to a loopback name that come from no other web page.
    pub anonymous: Option<AnonymousSettings>,
}

/// What is written of them: what is not written of one is its own default.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    list_max: usize,
    user_id: UserId,
    openai_shows_tools: bool,
    claude_agent_http: GivenDialect,
    claude_agent_server: GivenDialect,
    claude_code_sse: GivenDialect,
    codeagents_proxy: GivenDialect,
    mcp_coding_agents: GivenDialect,
    openai: GivenDialect,
}

/// What is written of one.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GivenDialect {
    enabled: Option<bool>,
    prefix: Option<String>,
    bind: Option<SocketAddr>,
    anonymous: Option<AnonymousSettings>,
}

impl Default for Given {
    fn default() -> Self {
        let defaults = DialectsSection::default();
        Self {
            list_max: defaults.list_max,
            user_id: defaults.user_id,
            openai_shows_tools: defaults.openai_shows_tools,
            claude_agent_http: GivenDialect::default(),
            claude_agent_server: GivenDialect::default(),
            claude_code_sse: GivenDialect::default(),
            codeagents_proxy: GivenDialect::default(),
            mcp_coding_agents: GivenDialect::default(),
            openai: GivenDialect::default(),
        }
    }
}

impl From<Given> for DialectsSection {
    fn from(given: Given) -> Self {
        let defaults = Self::default();
        Self {
            list_max: given.list_max,
            user_id: given.user_id,
            openai_shows_tools: given.openai_shows_tools,
            claude_agent_http: given.claude_agent_http.or(defaults.claude_agent_http),
            claude_agent_server: given.claude_agent_server.or(defaults.claude_agent_server),
            claude_code_sse: given.claude_code_sse.or(defaults.claude_code_sse),
            codeagents_proxy: given.codeagents_proxy.or(defaults.codeagents_proxy),
            mcp_coding_agents: given.mcp_coding_agents.or(defaults.mcp_coding_agents),
            openai: given.openai.or(defaults.openai),
        }
    }
}

impl GivenDialect {
    fn or(self, defaults: DialectSettings) -> DialectSettings {
        DialectSettings {
            enabled: self.enabled.unwrap_or(defaults.enabled),
            prefix: self.prefix.unwrap_or(defaults.prefix),
            bind: self.bind.or(defaults.bind),
            anonymous: self.anonymous.or(defaults.anonymous),
        }
    }
}

/// Whom callers without a credential are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnonymousSettings {
    /// Their tenant.
    pub tenant: TenantName,
    /// What they may do.
    pub role: Role,
    /// The one user they act for; any of the tenant's when null.
    #[serde(default)]
    pub user_id: Option<UserId>,
}

impl Default for DialectsSection {
    fn default() -> Self {
        let at = |prefix: &str| DialectSettings {
            enabled: true,
            prefix: prefix.to_owned(),
            bind: None,
            anonymous: None,
        };
        Self {
            list_max: 1000,
            user_id: UserId::default(),
            openai_shows_tools: false,
            claude_agent_http: at("/compat/claude-agent-http"),
            // The paths of those without a prefix collide with nothing.
            claude_agent_server: at(""),
            claude_code_sse: at(""),
            codeagents_proxy: at(""),
            mcp_coding_agents: at("/compat/mcp-coding-agents"),
            openai: at(""),
        }
    }
}

impl DialectsSection {
    /// Those that are switched on.
    pub fn enabled(&self) -> impl Iterator<Item = (Dialect, &DialectSettings)> {
        self.all()
            .into_iter()
            .map(|(dialect, _, settings)| (dialect, settings))
            .filter(|(_, settings)| settings.enabled)
    }

    /// Whether callers without a credential are somebody in one of them.
    pub(super) fn has_anonymous(&self) -> bool {
        self.enabled().any(|(_, settings)| settings.anonymous.is_some())
    }

    /// Each with its key.
    fn all(&self) -> [(Dialect, &'static str, &DialectSettings); 6] {
        [
            (
                Dialect::ClaudeAgentHttp,
                "claude_agent_http",
                &self.claude_agent_http,
            ),
            (
                Dialect::ClaudeAgentServer,
                "claude_agent_server",
                &self.claude_agent_server,
            ),
            (Dialect::ClaudeCodeSse, "claude_code_sse", &self.claude_code_sse),
            (
                Dialect::CodeagentsProxy,
                "codeagents_proxy",
                &self.codeagents_proxy,
            ),
            (
                Dialect::McpCodingAgents,
                "mcp_coding_agents",
                &self.mcp_coding_agents,
            ),
            (Dialect::Openai, "openai", &self.openai),
        ]
    }

    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            self.list_max > 0,
            problems,
            "dialects.list_max: must be at least 1",
        );
        let enabled: Vec<_> = self
            .all()
            .into_iter()
            .filter(|(_, _, settings)| settings.enabled)
            .collect();
        for (index, (dialect, name, settings)) in enabled.iter().enumerate() {
            settings.check(*dialect, name, problems);
            for (_, other, others) in enabled.iter().take(index) {
                require(
                    !overlap(&settings.prefix, &others.prefix),
                    problems,
                    &format!("dialects.{name}.prefix: lies in dialects.{other}.prefix, or holds it"),
                );
                let same_port = |one: &DialectSettings| one.bind.filter(|bind| bind.port() != 0);
                require(
                    same_port(settings).is_none() || same_port(settings) != same_port(others),
                    problems,
                    &format!("dialects.{name}.bind: is dialects.{other}.bind"),
                );
            }
        }
    }
}

/// Whether one prefix lies in the other. Those without one lie beside each other.
fn overlap(one: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| format!("{inner}/").starts_with(&format!("{outer}/"));
    !one.is_empty() && !other.is_empty() && (holds(one, other) || holds(other, one))
}

impl DialectSettings {
    fn check(&self, dialect: Dialect, name: &str, problems: &mut Vec<String>) {
        // The platform's own paths are not given away.
        const OWN: [&str; 5] = ["api", "internal", "docs", "health", "metrics"];
        // Their paths are the platform's too.
        let needs_prefix = matches!(dialect, Dialect::ClaudeAgentHttp | Dialect::McpCodingAgents);
        let parts: Vec<_> = self.prefix.split('/').skip(1).collect();
        let good = |part: &&str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !part.is_empty() && part.bytes().all(fits)
        };
        let is_path = self.prefix.starts_with('/')
            && parts.iter().all(good)
            && parts.first().is_some_and(|first| !OWN.contains(first));
        require(
            is_path || (!needs_prefix && self.prefix.is_empty()),
            problems,
            &format!(
                "dialects.{name}.prefix: must be a path such as /compat/NAME, of A-Z a-z 0-9 . _ -, and none of the \
                 platform's own"
            ),
        );
        require(
            self.anonymous
                .as_ref()
                .is_none_or(|caller| caller.role != Role::Guest),
            problems,
            &format!("dialects.{name}.anonymous.role: guests come by links that show a session"),
        );
        require(
            self.anonymous.is_none() || self.bind.is_some_and(|bind| bind.ip().is_loopback()),
            problems,
            &format!(
                "dialects.{name}.anonymous: is possible only with a dialects.{name}.bind on a loopback address; elsewhere a \
                 credential is always needed"
            ),
        );
    }
}
