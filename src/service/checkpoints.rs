//! Checkpoints: what a session's workspace was like before and after its turns; telling what a turn changed, and going back.

use std::sync::Arc;

use super::conversation::{UpTo, copy_conversation};
use super::error::Error;
use super::sessions::{SessionDetails, SessionService, off_the_worker};
use crate::agent::{Agents, Folders, IdleSession};
use crate::checkpoints::{DiffLimits, DiffOrder};
use crate::domain::{
    Checkpoint, ClaudeSessionId, Clock, Diff, EventBody, Moment, Page, Principal, Session, SessionChange,
    SessionId, TurnId,
};
use crate::store::Store;

/// How many lines are written at once.
const BATCH: usize = 500;
/// How many files are named that were not kept.
const NAMED: usize = 100;

/// What is to be as it was before a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RewindOrder {
    /// The turn.
    pub turn: TurnId,
    /// The workspace.
    pub files: bool,
    /// The conversation.
    pub conversation: bool,
}

/// Tells of checkpoints, and goes back to them.
#[derive(Debug, Clone)]
pub struct CheckpointService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
    diffs: DiffLimits,
}

impl CheckpointService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
        diffs: DiffLimits,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            clock,
            diffs,
        }
    }

    /// A page of a session's, newest first.
    pub async fn list(
        &self,
        caller: &Principal,
        id: SessionId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<Checkpoint, u64>, Error> {
        let session = self.sessions.find(caller, id).await?;
        let kept = self.agents.checkpoints(session.tenant, session.id);
        let mut all = off_the_worker(move || kept.list().map_err(unreadable)).await?;
        all.reverse();
        all.retain(|checkpoint| before.is_none_or(|before| checkpoint.number < before));
        all.truncate(limit as usize + 1);
        Ok(Page::cut(all, limit as usize, |checkpoint| checkpoint.number))
    }

    /// What a turn changed in the workspace.
    pub async fn diff(
        &self,
        caller: &Principal,
        id: SessionId,
        turn: TurnId,
        order: DiffOrder,
    ) -> Result<Diff, Error> {
        let session = self.sessions.find(caller, id).await?;
        self.find_turn(caller, id, turn).await?;
        let (kept, limits) = (self.agents.checkpoints(session.tenant, session.id), self.diffs);
        off_the_worker(move || Ok(kept.diff(turn, &order, limits)?)).await
    }

    /// Goes back to where a session was before a turn. What the log has of what came since stays.
    pub async fn rewind(
        &self,
        caller: &Principal,
        id: SessionId,
        order: RewindOrder,
    ) -> Result<SessionDetails, Error> {
        let session = self.sessions.find_usable(caller, id).await?;
        self.find_turn(caller, id, order.turn).await?;
        if order.files {
            let kept = self.agents.checkpoints(session.tenant, session.id);
            off_the_worker(move || Ok(kept.tree(order.turn, Moment::Before).map(|_| ())?)).await?;
        }
        let folders = self.sessions.make_folders(caller, &session).await?;
        let (service, by) = (self.clone(), caller.clone());
        // Half of it would be worse than none: it goes on when the caller has gone.
        let done = self.agents.to_its_end(async move {
            let idle = service.agents.hold_idle(by.tenant, id).await?;
            service
                .go_back(&by, &idle, &folders, order)
                .await
                .map(|session| (session, folders))
        });
        let (session, folders) = done.await.unwrap_or_else(|| {
            Err(Error::ShuttingDown {
                retry_after: super::error::RETRY_SOON,
            })
        })?;
        self.agents.prewarm(session.clone(), folders);
        self.sessions.details(caller, session).await
    }

    /// Goes back, first with the files. Each step can be taken again: what is broken off is asked for again.
    async fn go_back(
        &self,
        caller: &Principal,
        idle: &IdleSession,
        folders: &Folders,
        order: RewindOrder,
    ) -> Result<Session, Error> {
        let RewindOrder {
            turn,
            files,
            conversation,
        } = order;
        // Another turn may have run since it was looked at.
        let session = idle.session().await?;
        idle.end_agent().await;
        // What can fail without harm comes first.
        let anew = if conversation {
            Some(self.copy(idle, &session, turn).await?)
        } else {
            None
        };
        let mut not_kept = Vec::new();
        if files {
            let kept = self.agents.checkpoints(session.tenant, session.id);
            let workspace = folders.workspace.dir().try_clone().map_err(unreadable)?;
            let restored =
                off_the_worker(move || Ok(kept.restore(turn, Moment::Before, &workspace)?)).await?;
            tracing::info!(session.id = %session.id, turn.id = %turn, written = restored.written,
                removed = restored.removed, not_kept = restored.not_kept.len(), "a workspace is as it was before a turn");
            not_kept = restored.not_kept;
            not_kept.truncate(NAMED);
        }
        let mut session = session;
        if let Some(change) = anew {
            idle.check()?;
            // From here on the next turn knows no more than it did before that turn.
            let changed = self
                .store
                .update_session(session.tenant, session.id, &change)
                .await?;
            session = changed.ok_or(Error::SessionClosed)?;
        }
        idle.record(vec![EventBody::SessionRewound {
            before_turn: turn,
            files,
            conversation,
            not_kept,
        }])
        .await?;
        session.last_active_at = session.last_active_at.max(self.clock.now());
        self.store
            .touch_session(caller.tenant, session.id, session.last_active_at)
            .await?;
        Ok(session)
    }

    /// Stores the conversation that the session had before a turn under a new id, by which it is still to be gone on with.
    /// What the session had is kept.
    async fn copy(
        &self,
        idle: &IdleSession,
        session: &Session,
        turn: TurnId,
    ) -> Result<SessionChange, Error> {
        let stored = self.store.read_transcript(session.tenant, session.id).await?;
        let anew = ClaudeSessionId::generate(&*self.clock);
        let current = session.claude_session_id;
        let copied = copy_conversation(&stored, current, anew, UpTo::Turn(turn), &[])?;
        for (path, lines) in &copied.files {
            for lines in lines.chunks(BATCH) {
                idle.write_transcript(path, lines).await?;
            }
        }
        Ok(SessionChange {
            new_conversation: Some(anew),
            conversation_goes_on: !copied.is_empty(),
            ..SessionChange::default()
        })
    }

    async fn find_turn(&self, caller: &Principal, session: SessionId, turn: TurnId) -> Result<(), Error> {
        let found = self.store.find_turn(caller.tenant, session, turn).await?;
        found.map(|_| ()).ok_or(Error::TurnNotFound)
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::Internal {
        action: "the session's checkpoints cannot be used",
        source: Box::new(error),
    }
}
