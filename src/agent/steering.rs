//! Steering a live session: what is asked of its CLI outside the conversation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::handle::AskError;
use super::launch::Folders;
use super::manager::Agents;
use super::starting::{NoAgent, Purpose};
use crate::domain::{Permission, Session, SessionId, TurnErrorCode, TurnId};

/// Something that is asked of a session's CLI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CliQuestion {
    /// How full the context is.
    ContextUsage,
    /// How its MCP servers are.
    McpStatus,
    /// To stop a background task.
    StopTask(String),
    /// To put files back to where they were before a turn; or, as a rehearsal, which.
    RewindFiles {
        /// The turn.
        before: TurnId,
        /// Whether nothing is to be changed.
        dry_run: bool,
    },
}

impl CliQuestion {
    fn parts(self) -> (&'static str, Map<String, Value>) {
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        let subtype = match self {
            Self::ContextUsage => {
                set("detail", json!("summary"));
                "get_context_usage"
            }
            Self::McpStatus => "mcp_status",
            Self::StopTask(task) => {
                set("task_id", json!(task));
                "stop_task"
            }
            Self::RewindFiles { before, dry_run } => {
                set(
                    "user_message_id",
                    json!(before.as_uuid().hyphenated().to_string()),
                );
                set("dry_run", json!(dry_run));
                "rewind_files"
            }
        };
        (subtype, fields)
    }
}

/// Why a session's CLI was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// There is no agent to ask.
    #[error("{}", .0.message)]
    NoAgent(crate::domain::TurnError),
    /// The CLI did not answer, or refused.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl Agents {
    /// Asks a session's CLI, which is started here if it does not live.
    pub async fn ask_here(
        &self,
        session: Session,
        folders: Folders,
        question: CliQuestion,
    ) -> Result<Value, SteeringError> {
        let shared = std::sync::Arc::clone(&self.shared);
        // On the main runtime: a process may be started, and belongs there.
        let asked = self.shared.tasks.spawn(async move {
            let runtime = shared.runtime(session.tenant, session.id);
            // A live agent is asked as it is, also in the middle of a turn.
            let agent = if let Some(agent) = runtime.live_agent().await {
                agent
            } else {
                let position = tokio::sync::watch::Sender::new(0);
                let purpose = Purpose::Turn(&position);
                let ready = shared.ensure_agent(&runtime, &session, &folders, purpose).await;
                ready.map_err(|error: NoAgent| SteeringError::NoAgent(error.to_turn_error()))?
            };
            runtime.touch();
            let (subtype, fields) = question.parts();
            Ok(agent
                .ask(subtype, fields, shared.settings.control_timeout)
                .await?)
        });
        asked
            .await
            .unwrap_or(Err(SteeringError::Ask(AskError::Gone(super::handle::Gone))))
    }

    /// Brings an agent that lives here to the model and permission mode that its session has now.
    pub async fn apply_options_here(&self, session: &Session) {
        let Some(runtime) = self.shared.known(session.id) else {
            return;
        };
        let mut slot = runtime.agent.lock().await;
        let Some(live) = slot.as_mut().filter(|live| live.agent.is_alive()) else {
            return;
        };
        let (now, wanted) = (live.options().clone(), &session.options);
        let patience = self.shared.settings.control_timeout;
        if now.model != wanted.model {
            let fields = Map::from_iter([("model".to_owned(), json!(wanted.model))]);
            if let Err(error) = live.agent.ask("set_model", fields, patience).await {
                tracing::info!(session.id = %session.id, %error, "a model is set with the next agent");
                return;
            }
        }
        if now.permission_mode != wanted.permission_mode
            && let Some(mode) = wanted.permission_mode
        {
            let fields = Map::from_iter([("mode".to_owned(), json!(mode))]);
            if let Err(error) = live.agent.ask("set_permission_mode", fields, patience).await {
                tracing::info!(session.id = %session.id, %error, "a permission mode is set with the next agent");
                return;
            }
        }
        live.note_options(wanted.clone());
    }

    /// Interrupts a turn that is here, and which it was.
    #[expect(clippy::must_use_candidate, reason = "that nothing ran is no error")]
    pub fn interrupt_here(&self, session: SessionId, turn: Option<TurnId>) -> Option<TurnId> {
        let runtime = self.shared.known(session)?;
        let turn = match turn {
            Some(turn) => runtime.line.find(turn)?,
            None => runtime.line.first()?,
        };
        turn.stop(TurnErrorCode::TurnInterrupted);
        Some(turn.id)
    }

    /// Brings an answer to a turn that is here; whether it is, and listens.
    pub async fn bring_answer_here(&self, permission: Permission) -> bool {
        let Some(runtime) = self.shared.known(permission.session) else {
            return false;
        };
        match runtime.line.find(permission.turn) {
            Some(turn) => turn.answer(permission).await,
            None => false,
        }
    }
}
