//! Permissions: an agent asks whether it may use a tool, or asks its user something, and somebody answers: a rule, a
//! person, or the clock.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{PermissionId, SessionId, TurnId, UserId};

/// A question of an agent, and its answer once there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Permission {
    /// Its id.
    pub id: PermissionId,
    /// The session whose agent asks.
    pub session: SessionId,
    /// The session's user.
    pub user: UserId,
    /// The turn in which it asks.
    pub turn: TurnId,
    /// The tool.
    pub tool_name: String,
    /// What the tool would be called with.
    pub tool_input: Value,
    /// The call's id, where the CLI tells it.
    pub tool_use_id: Option<String>,
    /// What the call is for, in the agent's words.
    #[serde(default)]
    pub description: Option<String>,
    /// The tool pattern that "remember" would allow from then on; `None` where it cannot be remembered.
    #[serde(default)]
    pub remembered_as: Option<String>,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
    /// When it ends without an answer.
    pub expires_at: DateTime<Utc>,
    /// The answer; `None` while it waits.
    pub resolution: Option<PermissionResolution>,
}

impl Permission {
    /// What is asked.
    #[must_use]
    pub fn kind(&self) -> PermissionKind {
        match self.tool_name.as_str() {
            "AskUserQuestion" => PermissionKind::Question,
            "ExitPlanMode" => PermissionKind::Plan,
            _ => PermissionKind::Tool,
        }
    }
}

/// What an agent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PermissionKind {
    /// Whether a tool may be used.
    Tool,
    /// Questions with choices; `tool_input.questions` has them.
    Question,
    /// Whether the plan in `tool_input` may be carried out.
    Plan,
}

/// How a question was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PermissionResolution {
    /// The answer.
    pub decision: PermissionDecision,
    /// What the agent is told besides.
    pub message: Option<String>,
    /// What the tool is to be called with instead.
    pub updated_input: Option<Value>,
    /// The answers to a question, by the question's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Map<String, Value>>,
    /// Whether the same needs no permission in this session from now on.
    #[serde(default)]
    pub remember: bool,
    /// Who answered: a credential's name; `paddock` for the server itself.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl PermissionResolution {
    /// The server's own answer.
    #[must_use]
    pub fn by_server(decision: PermissionDecision, at: DateTime<Utc>) -> Self {
        Self {
            decision,
            message: None,
            updated_input: None,
            answers: None,
            remember: false,
            by: "paddock".to_owned(),
            at,
        }
    }
}

/// An answer to an agent's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PermissionDecision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
    /// Nobody answered in time.
    Expired,
    /// The agent no longer asks.
    Withdrawn,
}

/// Who answers when a tool needs a permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionRule {
    /// For which calls: a tool (`WebFetch`), `*`, or a tool with what it is called with (`Bash(git status:*)`,
    /// `Write(docs/*)`, `WebFetch(https://example.com/*)`). `*` stands for any text, `:*` at the end for "and
    /// whatever follows as further words".
    #[schema(example = "Bash(git status:*)")]
    pub tool: String,
    /// The answer.
    pub decision: RuleDecision,
}

/// A rule's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleDecision {
    /// The tool may be used.
    Allow,
    /// It may not.
    Deny,
    /// A person is asked.
    Ask,
}

impl PermissionRule {
    /// Whether it is about this call. A rule that allows commands by their beginning is not about one that holds what
    /// lets a shell do something else as well.
    #[must_use]
    pub fn covers(&self, tool_name: &str, input: &Value) -> bool {
        let Some((tool, argument)) = self.tool.strip_suffix(')').and_then(|rule| rule.split_once('(')) else {
            return glob(&self.tool, tool_name);
        };
        if !glob(tool, tool_name) {
            return false;
        }
        let called_with = ["command", "file_path", "notebook_path", "url", "path", "pattern"]
            .iter()
            .find_map(|name| input.get(name)?.as_str());
        let Some(called_with) = called_with else {
            return false;
        };
        let cautious = self.decision == RuleDecision::Allow && input.get("command").is_some();
        if cautious && called_with != argument && called_with.contains(SHELL_SYNTAX) {
            return false;
        }
        match argument.strip_suffix(":*") {
            Some(words) => called_with
                .strip_prefix(words)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)),
            None => glob(argument, called_with),
        }
    }

    /// Whether its pattern can be read.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let named = self
            .tool
            .starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
        let closed = self.tool.contains('(') == self.tool.ends_with(')');
        named && closed && self.tool.len() <= 512 && !self.tool.contains(char::is_control)
    }
}

/// What lets a shell do more than run the one command that a text begins with.
const SHELL_SYNTAX: [char; 14] = [
    ';', '&', '|', '`', '$', '<', '>', '(', ')', '{', '}', '\n', '\r', '\\',
];

/// Whether `text` is like `pattern`, in which `*` stands for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn covers(rule: &str, decision: RuleDecision, tool: &str, input: &Value) -> bool {
        let tool_rule = PermissionRule {
            tool: rule.to_owned(),
            decision,
        };
        assert!(tool_rule.is_valid(), "{rule}");
        tool_rule.covers(tool, input)
    }

    #[test]
    fn a_rule_covers_a_tool_or_what_it_is_called_with() {
        let git = json!({"command": "git status --short"});
        for (rule, covered) in [
            ("*", true),
            ("Bash", true),
            ("Read", false),
            ("B*h", true),
            ("Bash(git status:*)", true),
            ("Bash(git:*)", true),
            ("Bash(gi:*)", false),
            ("Bash(git status)", false),
            ("Bash(*--short)", true),
            ("Bash(*sta*ort)", true),
            ("Read(git:*)", false),
        ] {
            assert_eq!(covers(rule, RuleDecision::Allow, "Bash", &git), covered, "{rule}");
        }
        let file = json!({"file_path": "/w/docs/a.md", "content": "x"});
        assert!(covers("Write(/w/docs/*)", RuleDecision::Allow, "Write", &file));
        assert!(!covers("Write(/w/src/*)", RuleDecision::Allow, "Write", &file));
        assert!(covers(
            "mcp__tiny__*",
            RuleDecision::Deny,
            "mcp__tiny__add",
            &json!({})
        ));
        assert!(!covers(
            "Task(x)",
            RuleDecision::Allow,
            "Task",
            &json!({"other": 1})
        ));
    }

    #[test]
    fn a_command_that_does_more_is_not_allowed_by_its_beginning() {
        for command in [
            "git status; rm -rf .",
            "git status && curl evil",
            "git log | sh",
            "git $(rm x)",
            "git `rm x`",
            "git status\nrm x",
            "git status > /etc/passwd",
        ] {
            let input = json!({"command": command});
            assert!(
                !covers("Bash(git:*)", RuleDecision::Allow, "Bash", &input),
                "{command}"
            );
            assert!(
                !covers("Bash(git*)", RuleDecision::Allow, "Bash", &input),
                "{command}"
            );
            assert!(
                covers("Bash(git*)", RuleDecision::Deny, "Bash", &input),
                "{command}"
            );
            let exact = format!("Bash({command})");
            if !command.contains('\n') && !command.contains('(') {
                assert!(covers(&exact, RuleDecision::Allow, "Bash", &input), "{command}");
            }
        }
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_not_valid() {
        for tool in ["", "(x)", "Bash(git", "Bash git)", "Bash\n", "1"] {
            let rule = PermissionRule {
                tool: tool.to_owned(),
                decision: RuleDecision::Ask,
            };
            assert!(!rule.is_valid(), "{tool:?}");
        }
    }
}
