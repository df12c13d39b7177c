//! Steering a session's live agent outside the conversation.

use std::sync::Arc;

use serde_json::Value;

use super::error::Error;
use super::sessions::SessionService;
use crate::agent::{Agents, CliQuestion};
use crate::domain::{EventBody, Principal, SessionId, TurnId};
use crate::store::Store;

/// What putting files back came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewound {
    /// The files, as the CLI names them.
    pub files: Vec<String>,
    /// Lines that come, or would come, back.
    pub insertions: u64,
    /// Lines that go, or would go.
    pub deletions: u64,
}

/// Steers live agents.
#[derive(Debug)]
pub struct SteeringService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
}

impl SteeringService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, agents: Agents, sessions: Arc<SessionService>) -> Self {
        Self {
            store,
            agents,
            sessions,
        }
    }

    /// How full a session's context is, as the CLI tells it.
    pub async fn context_usage(&self, caller: &Principal, session: SessionId) -> Result<Value, Error> {
        self.ask(caller, session, CliQuestion::ContextUsage).await
    }

    /// How a session's MCP servers are, as the CLI tells it.
    pub async fn mcp_status(&self, caller: &Principal, session: SessionId) -> Result<Value, Error> {
        let answer = self.ask(caller, session, CliQuestion::McpStatus).await?;
        Ok(answer
            .get("mcpServers")
            .cloned()
            .unwrap_or(Value::Array(Vec::new())))
    }

    /// Stops a task that runs beside the conversation. One that does not run is fine.
    pub async fn stop_task(&self, caller: &Principal, session: SessionId, task: String) -> Result<(), Error> {
        self.ask(caller, session, CliQuestion::StopTask(task.clone()))
            .await?;
        let event = EventBody::TaskStopped { task_id: task };
        Ok(self.agents.record(caller.tenant, session, vec![event]).await?)
    }

    /// Puts files back to where they were before a turn, or tells which that would be.
    pub async fn rewind_files(
        &self,
        caller: &Principal,
        session: SessionId,
        before: TurnId,
        dry_run: bool,
    ) -> Result<Rewound, Error> {
        self.sessions.find_usable(caller, session).await?;
        if self
            .store
            .find_turn(caller.tenant, session, before)
            .await?
            .is_none()
        {
            return Err(Error::TurnNotFound);
        }
        // What is told of changes is told by the rehearsal only.
        let rehearsal = CliQuestion::RewindFiles {
            before,
            dry_run: true,
        };
        let answer = self.ask(caller, session, rehearsal).await?;
        if answer.get("canRewind").and_then(Value::as_bool) != Some(true) {
            let why = answer.get("error").and_then(Value::as_str);
            return Err(Error::CliRefused(why.unwrap_or("it cannot").to_owned()));
        }
        let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
        let files = answer.get("filesChanged").and_then(Value::as_array);
        let rewound = Rewound {
            files: files
                .into_iter()
                .flatten()
                .filter_map(|file| file.as_str().map(ToOwned::to_owned))
                .collect(),
            insertions: number("insertions"),
            deletions: number("deletions"),
        };
        if !dry_run {
            let rewind = CliQuestion::RewindFiles {
                before,
                dry_run: false,
            };
            self.ask(caller, session, rewind).await?;
            let event = EventBody::FilesRewound {
                before_turn: before,
                files: rewound.files.clone(),
            };
            self.agents.record(caller.tenant, session, vec![event]).await?;
        }
        Ok(rewound)
    }

    async fn ask(&self, caller: &Principal, id: SessionId, question: CliQuestion) -> Result<Value, Error> {
        let session = self.sessions.find_usable(caller, id).await?;
        let folders = self.sessions.folders(caller, &session).await?;
        Ok(self.agents.ask(caller, session, folders, question).await?)
    }
}
