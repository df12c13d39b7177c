//! What the CLI asks of whoever runs it, and what it answers when it is asked.

use serde_json::Value;

/// Something that the CLI asks.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlRequest {
    /// The id to answer with.
    pub request_id: String,
    /// The question.
    pub question: Question,
}

/// What the CLI asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Whether a tool may be used; questions to the user and plans come the same way.
    CanUseTool(Box<ToolQuestion>),
    /// Anything else.
    Other {
        /// What it is called.
        subtype: String,
    },
}

/// Whether a tool may be used.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolQuestion {
    /// The tool.
    pub tool_name: String,
    /// What it is to be called with.
    pub input: Value,
    /// The call's id.
    pub tool_use_id: Option<String>,
    /// What the call is for, in the agent's words.
    pub description: Option<String>,
    /// The rule that the CLI proposes to remember, as it is written in lists of tools.
    pub proposed_rule: Option<String>,
}

/// The answer to something that was asked of the CLI.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlResponse {
    /// The id of the question.
    pub request_id: String,
    /// The answer, or why there is none.
    pub outcome: Result<Value, String>,
}

pub(super) fn control_request(fields: &Value) -> Option<ControlRequest> {
    let request = fields.get("request")?;
    let subtype = text(request, "subtype")?;
    let question = match subtype.as_str() {
        "can_use_tool" => Question::CanUseTool(Box::new(ToolQuestion {
            tool_name: text(request, "tool_name")?,
            input: request.get("input").cloned().unwrap_or(Value::Null),
            tool_use_id: text(request, "tool_use_id"),
            description: text(request, "description"),
            proposed_rule: proposed_rule(request),
        })),
        _ => Question::Other { subtype },
    };
    Some(ControlRequest {
        request_id: text(fields, "request_id")?,
        question,
    })
}

/// The one rule of the CLI's proposals that allows the like of this call; none where it proposes several, or none.
fn proposed_rule(request: &Value) -> Option<String> {
    if request.get("suppress_always_allow_rule").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let proposals = request.get("permission_suggestions")?.as_array()?;
    let mut rules = proposals
        .iter()
        .filter(|proposal| {
            proposal.get("type").and_then(Value::as_str) == Some("addRules")
                && proposal.get("behavior").and_then(Value::as_str) == Some("allow")
        })
        .filter_map(|proposal| proposal.get("rules")?.as_array())
        .flatten();
    let rule = rules.next()?;
    if rules.next().is_some() {
        return None;
    }
    let tool = text(rule, "toolName")?;
    Some(match text(rule, "ruleContent") {
        Some(content) => format!("{tool}({content})"),
        None => tool,
    })
}

pub(super) fn control_response(fields: &Value) -> Option<ControlResponse> {
    let response = fields.get("response")?;
    let outcome = match response.get("subtype")?.as_str()? {
        "success" => Ok(response.get("response").cloned().unwrap_or(Value::Null)),
        _ => Err(text(response, "error").unwrap_or_else(|| "refused".to_owned())),
    };
    Some(ControlResponse {
        request_id: text(response, "request_id")?,
        outcome,
    })
}

fn text(fields: &Value, name: &str) -> Option<String> {
    fields.get(name)?.as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As CLI 2.1.329 asks, shortened.
    fn asked(proposals: &Value) -> ToolQuestion {
        let request = control_request(&json!({"request_id": "r1", "request": {
            "subtype": "can_use_tool", "tool_name": "Bash", "display_name": "Bash", "input": {"command": "touch x"},
            "description": "Make a file", "permission_suggestions": proposals, "tool_use_id": "toolu_1",
        }}))
        .unwrap();
        assert_eq!(request.request_id, "r1");
        match request.question {
            Question::CanUseTool(question) => *question,
            Question::Other { subtype } => panic!("{subtype}"),
        }
    }

    #[test]
    fn a_question_tells_what_is_to_be_called_and_what_may_be_remembered() {
        let rule = |content: &str| {
            json!({"type": "addRules", "rules": [{"toolName": "Bash", "ruleContent": content}], "behavior": "allow",
                "destination": "localSettings"})
        };
        let mode = json!({"type": "setMode", "mode": "acceptEdits", "destination": "session"});
        let question = asked(&json!([rule("touch x *"), mode]));
        assert_eq!(question.input, json!({"command": "touch x"}));
        assert_eq!(question.proposed_rule.as_deref(), Some("Bash(touch x *)"));
        assert_eq!(asked(&json!([rule("a"), rule("b")])).proposed_rule, None);
        assert_eq!(asked(&json!([mode])).proposed_rule, None);
        assert_eq!(asked(&json!(7)).proposed_rule, None);
    }

    #[test]
    fn questions_and_answers_that_are_not_understood_are_told_apart() {
        let other =
            control_request(&json!({"request_id": "r", "request": {"subtype": "elicitation"}})).unwrap();
        assert_eq!(
            other.question,
            Question::Other {
                subtype: "elicitation".into()
            }
        );
        let refused =
            control_response(&json!({"response": {"subtype": "error", "request_id": "r2", "error": "no"}}));
        assert_eq!(refused.unwrap().outcome, Err("no".into()));
        assert_eq!(control_request(&json!({"request": {}})), None);
    }
}
