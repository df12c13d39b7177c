//! Dialects: other systems whose clients find their wire format here.

use strum::{Display, EnumIter};

/// A system whose wire format is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub enum Dialect {
    /// Sessions by id, a question and its answer; `FastAPI`'s errors.
    ClaudeAgentHttp,
    /// One conversation over a WebSocket.
    ClaudeAgentServer,
    /// Sessions whose prompts are answered in whole messages.
    ClaudeCodeSse,
    /// Conversations bound to folders, whose events are counted.
    CodeagentsProxy,
    /// Sessions with a history, in an envelope of errors.
    McpCodingAgents,
    /// Chat completions, as `OpenAI`'s API has them.
    Openai,
}
