//! Other systems' clients: what they send, and what they are to get.

mod claude_agent_http;
mod claude_code_sse;

use serde_json::Value;

/// The objects of a stream of server-sent events.
fn chunks(text: &str) -> Vec<Value> {
    let frames = text
        .split_terminator("\n\n")
        .filter(|frame| !frame.starts_with(':'));
    frames
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}
