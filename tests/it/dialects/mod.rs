//! Other systems' clients: what they send, and what they are to get.

mod claude_agent_http;
mod claude_agent_server;
mod claude_code_sse;
mod clients;
mod codeagents_proxy;
mod faces;
mod mcp_coding_agents;
mod openai;
mod ports;
mod recorded;

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
