//! Forks: a new session with the conversation of another, which stays as it is.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Error;
use super::sessions::{SessionDetails, SessionService, off_the_worker};
use crate::agent::Agents;
use crate::domain::{
    ClaudeSessionId, Clock, Event, EventBody, EventId, EventKind, EventQuery, Principal, Session, SessionId,
    Subdir, Transcript, TranscriptPath,
};
use crate::security::workspace_copy::{CopyLimits, copy_tree};
use crate::store::Store;

/// How many events are copied at once.
const BATCH: u32 = 500;

/// How a session is to be forked.
#[derive(Debug, Clone, Default)]
pub struct ForkOrder {
    /// The last message that the fork has; all when absent.
    pub up_to: Option<EventId>,
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
        let history = self.history(caller, id, order.up_to).await?;
        let stored = self.store.read_transcript(caller.tenant, id).await?;
        let conversation = ClaudeSessionId::generate(&*self.clock);
        let copied = copy_conversation(
            &stored,
            original.claude_session_id,
            conversation,
            order.up_to,
            &history,
        )?;
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
            let (to, limits) = (
                folders
                    .workspace
                    .dir()
                    .try_clone()
                    .map_err(|error| Error::Internal {
                        action: "the new workspace cannot be used",
                        source: Box::new(error),
                    })?,
                self.limits,
            );
            off_the_worker(move || copy_tree(from.dir(), &to, limits).map_err(Error::from)).await?;
        }
        self.sessions.insert(caller, &fork).await?;
        for (path, lines) in &copied {
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

    /// The messages of a session up to one of them.
    async fn history(
        &self,
        caller: &Principal,
        session: SessionId,
        up_to: Option<EventId>,
    ) -> Result<Vec<Event>, Error> {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let query = EventQuery {
                until: up_to,
                ..EventQuery::after(all.last().map_or(EventId::START, |event| event.id))
                    .of_kinds(&EventKind::MESSAGES)
            };
            let batch = self
                .store
                .read_events(caller.tenant, session, &query, BATCH)
                .await?;
            let last = batch.len() < BATCH as usize;
            all.extend(batch);
            if last {
                break;
            }
        }
        match up_to {
            Some(wanted) if all.last().is_none_or(|event| event.id != wanted) => Err(Error::MessageNotFound),
            _ => Ok(all),
        }
    }
}

/// A conversation's files under a new id, as far as it is wanted.
fn copy_conversation(
    stored: &Transcript,
    from: ClaudeSessionId,
    to: ClaudeSessionId,
    up_to: Option<EventId>,
    history: &[Event],
) -> Result<Vec<(TranscriptPath, Vec<String>)>, Error> {
    let (from, to) = (from.to_string(), to.to_string());
    let own_name = format!("{from}.jsonl");
    let mut copied = Vec::new();
    for file in &stored.files {
        let is_main = file.path.as_str().rsplit('/').next() == Some(own_name.as_str());
        if !file.path.as_str().contains(&from) {
            // Of an earlier conversation that this session has lost.
            continue;
        }
        let lines: Vec<&str> = file
            .entries
            .iter()
            .map(crate::domain::TranscriptEntry::as_json)
            .collect();
        let wanted = match (is_main, up_to) {
            (true, Some(_)) => cut(&lines, history).ok_or(Error::MessageNotFound)?,
            _ => lines.len(),
        };
        let path = file.path.as_str().replace(&from, &to);
        let path = path.parse().map_err(|error| Error::Internal {
            action: "a transcript's path cannot be copied",
            source: Box::new(error),
        })?;
        let lines = lines
            .iter()
            .take(wanted)
            .map(|line| line.replace(&from, &to))
            .collect();
        copied.push((path, lines));
    }
    Ok(copied)
}

/// How many lines of a conversation there are up to the last of these messages.
fn cut(lines: &[&str], history: &[Event]) -> Option<usize> {
    let last = history.last()?;
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for event in history {
        if let EventBody::AssistantMessage {
            message_id: Some(id), ..
        } = &event.body
        {
            *seen.entry(id).or_default() += 1;
        }
    }
    let prompt = last.turn_id.map(|turn| turn.as_uuid().hyphenated().to_string());
    let mut wanted = match &last.body {
        EventBody::AssistantMessage {
            message_id: Some(id),
            parent_tool_use_id: None,
            ..
        } => seen.get(id.as_str()).copied()?,
        EventBody::Message { .. }
        | EventBody::ToolResult {
            parent_tool_use_id: None,
            ..
        } => 1,
        // A message inside of a sub-agent is no place to go on from.
        _ => return None,
    };
    let is_it = |line: &Value| match &last.body {
        EventBody::Message { .. } => line.get("uuid").and_then(Value::as_str) == prompt.as_deref(),
        EventBody::AssistantMessage { message_id, .. } => {
            line.get("type").and_then(Value::as_str) == Some("assistant")
                && line.pointer("/message/id").and_then(Value::as_str) == message_id.as_deref()
        }
        EventBody::ToolResult { tool_use_id, .. } => {
            let blocks = line.pointer("/message/content").and_then(Value::as_array);
            blocks.into_iter().flatten().any(|block| {
                block.get("type").and_then(Value::as_str) == Some("tool_result")
                    && block.get("tool_use_id").and_then(Value::as_str) == Some(tool_use_id)
            })
        }
        _ => false,
    };
    for (index, line) in lines.iter().enumerate() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if is_it(&line) {
            wanted -= 1;
            if wanted == 0 {
                return Some(index + 1);
            }
        }
    }
    None
}
