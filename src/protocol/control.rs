//! What is written to the CLI: prompts, control requests, and answers to what it asks. One line of JSON each.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The id of the `initialize` request; the answer to it says that the CLI is ready.
pub const INITIALIZE_ID: &str = "initialize";

/// What the CLI is told before its first prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Initialize {
    /// Replaces its system prompt.
    pub system_prompt: Option<String>,
    /// Is added after its system prompt.
    pub append_system_prompt: Option<String>,
}

impl Initialize {
    /// The request's line.
    #[must_use]
    pub fn to_line(&self) -> Bytes {
        let mut request = Map::from_iter([("subtype".to_owned(), json!("initialize"))]);
        if let Some(prompt) = &self.system_prompt {
            request.insert("systemPrompt".to_owned(), json!([prompt]));
        }
        if let Some(prompt) = &self.append_system_prompt {
            request.insert("appendSystemPrompt".to_owned(), json!(prompt));
        }
        line(&json!({"type": "control_request", "request_id": INITIALIZE_ID, "request": request}))
    }
}

/// A prompt, under an id of ours, which the CLI names again in what it tells of the prompt.
#[must_use]
pub fn prompt(id: Uuid, text: &str) -> Bytes {
    line(&json!({
        "type": "user",
        "message": {"role": "user", "content": text},
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": id.hyphenated().to_string(),
    }))
}

/// Ends the running turn.
#[must_use]
pub fn interrupt(request_id: &str) -> Bytes {
    line(&json!({"type": "control_request", "request_id": request_id, "request": {"subtype": "interrupt"}}))
}

/// Answers that a tool may not be used.
#[must_use]
pub fn deny_tool(request_id: &str, message: &str) -> Bytes {
    success(request_id, &json!({"behavior": "deny", "message": message}))
}

/// Answers that a question is not understood.
#[must_use]
pub fn refuse(request_id: &str, error: &str) -> Bytes {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request_id, "error": error},
    }))
}

fn success(request_id: &str, answer: &Value) -> Bytes {
    line(&json!({
        "type": "control_response",
        "response": {"subtype": "success", "request_id": request_id, "response": answer},
    }))
}

fn line(message: &impl Serialize) -> Bytes {
    // Only a map with keys that are no strings has no JSON form; none is written here.
    let mut text = serde_json::to_vec(message).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
