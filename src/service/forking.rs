//! Forks: a new session with the conversation of another, which stays as it is.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::conversation::{UpTo, copy_conversation, history};
use super::error::Error;
use super::sessions::{SessionDetails, SessionService, off_the_worker};
use crate::agent::Agents;
use crate::domain::{
    ClaudeSessionId, Clock, EventBody, EventId, Moment, Principal, Session, SessionId, Subdir, TurnId,
};
use crate::security::workspace::Workspace;
use crate::security::workspace_copy::{CopyError, CopyLimits, copy_tree};
use crate::store::Store;

/// How many events, or lines, are copied at once.
const BATCH: u32 = 500;

/// How a session is to be forked.
#[derive(Debug, Clone, Default)]
pub struct ForkOrder {
    /// The last message that the fork has; all when absent.
    pub up_to: Option<EventId>,
    /// The first turn that the fork does not have, with what it changed; instead of `up_to`.
    pub before: Option<TurnId>,
    /// What people call it; as the original when absent.
    pub title: Option<String>,
    /// What its client attaches; as the original when absent.
    pub metadata: Option<Map<String, Value>>,
    /// Its workspace; the original's when absent.
    pub subdir: Option<Subdir>,
    /// Whether the original's workspace is copied into its own, which must be new or empty.
    pub copy_workspace: bool,
}

/// Forks sessions.
#[derive(Debug)]
pub struct ForkService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
    limits: CopyLimits,
}

impl ForkService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
        limits: CopyLimits,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            clock,
            limits,
        }
    }

    /// Makes a session that goes on from where another is, or was.
    pub async fn fork(
        &self,
        caller: &Principal,
        id: SessionId,
        order: ForkOrder,
    ) -> Result<SessionDetails, Error> {
        let original = self.sessions.find_usable(caller, id).await?;
        // The policy may be another one by now.
        self.sessions.check_policy(caller, &original.options).await?;
        self.sessions.count_new(caller).await?;
        let up_to = match (order.before, order.up_to) {
            (Some(turn), _) => UpTo::Turn(turn),
            (None, Some(message)) => UpTo::Message(message),
            (None, None) => UpTo::End,
        };
        let history = history(&*self.store, caller.tenant, id, up_to).await?;
        let stored = self.store.read_transcript(caller.tenant, id).await?;
        let conversation = ClaudeSessionId::generate(&*self.clock);
        let copied = copy_conversation(&stored, original.claude_session_id, conversation, up_to, &history)?;
        let now = self.clock.now();
        let fork = Session {
            id: SessionId::generate(&*self.clock),
            title: order.title.or_else(|| original.title.clone()),
            metadata: order.metadata.unwrap_or_else(|| original.metadata.clone()),
            subdir: order.subdir.or_else(|| original.subdir.clone()),
            claude_session_id: conversation,
            conversation_started: original.conversation_started && !copied.is_empty(),
            message_count: history
                .iter()
                .filter(|event| matches!(event.body, EventBody::Message { .. }))
                .count() as u64,
            created_at: now,
            last_active_at: now,
            ..original.clone()
        };
        let folders = self.sessions.make_folders(caller, &fork).await?;
        if order.copy_workspace {
            let from = self.sessions.folders(caller, &original).await?.workspace;
            self.fill(&original, order.before, from, &folders.workspace)
                .await?;
        }
        self.sessions.insert(caller, &fork).await?;
        for (path, lines) in &copied.files {
            for lines in lines.chunks(BATCH as usize) {
                self.agents
                    .write_transcript(caller.tenant, fork.id, path, lines)
                    .await?;
            }
        }
        let mut bodies = history.into_iter().map(|event| event.body).peekable();
        while bodies.peek().is_some() {
            let batch: Vec<_> = bodies.by_ref().take(BATCH as usize).collect();
            self.agents.record(caller.tenant, fork.id, batch).await?;
        }
        self.agents.prewarm(fork.clone(), folders);
        self.sessions.details(caller, fork).await
    }

    /// Fills a fork's workspace: with the original's, or with what that was before a turn.
    async fn fill(
        &self,
        original: &Session,
        before: Option<TurnId>,
        from: Workspace,
        to: &Workspace,
    ) -> Result<(), Error> {
        let to = to.dir().try_clone().map_err(|error| Error::Internal {
            action: "the new workspace cannot be used",
            source: Box::new(error),
        })?;
        let limits = self.limits;
        let Some(turn) = before else {
            return off_the_worker(move || Ok(copy_tree(from.dir(), &to, limits)?)).await;
        };
        let kept = self.agents.checkpoints(original.tenant, original.id);
        let session = original.id;
        off_the_worker(move || {
            let failed = |error| Error::Copy(CopyError::Failed(error));
            if to.entries().map_err(failed)?.next().is_some() {
                return Err(Error::Copy(CopyError::NotEmpty));
            }
            let tree = kept.tree(turn, Moment::Before)?;
            let (_, bytes) = tree.files();
            if bytes > limits.max_bytes || tree.entries.len() as u64 > limits.max_entries {
                return Err(Error::Copy(CopyError::TooLarge));
            }
            let restored = kept.restore(turn, Moment::Before, &to)?;
            if !restored.not_kept.is_empty() {
                tracing::warn!(session.id = %session, turn.id = %turn, files = restored.not_kept.len(),
                    "a fork does not have what was not kept of the workspace");
            }
            Ok(())
        })
        .await
    }
}
