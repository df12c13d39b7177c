//! Other systems' clients: what they send, and what they are to get.

mod claude_agent_http;
