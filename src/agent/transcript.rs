//! Keeps what the CLI writes down of a conversation, and gives it back to a private home that lacks it.
//!
//! Each agent has one keeper: a task that stores lines in the order in which the CLI wrote them. A turn is not over
//! before its lines are stored. Lines that the store does not take wait, up to a bound, and are tried again with the
//! next ones; past the bound the transcript is broken, and says so at the end of every turn.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::home::Home;
use super::log::{Hold, LogError};
use super::runtime::SessionRuntime;
use crate::domain::{ClaudeSessionId, Transcript, TranscriptEntry, TranscriptPath};
use crate::lifecycle::Tasks;

/// How many messages of the CLI may wait for the keeper; then the CLI waits.
const QUEUE: usize = 64;

/// What a keeper is told.
#[derive(Debug)]
pub(super) enum Kept {
    /// These lines were written to this file.
    Lines { file: PathBuf, lines: Vec<String> },
    /// Tell when everything before this is stored, or is not going to be; and whether anything was.
    Flush(oneshot::Sender<Result<bool, TranscriptLost>>),
}

/// Lines of a transcript are not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the CLI wrote down of the conversation was not stored")]
pub(super) struct TranscriptLost;

/// Where an agent's actor puts what the CLI wrote down.
pub(super) type TranscriptQueue = mpsc::Sender<Kept>;

/// Starts the keeper of one agent, whose CLI writes below `projects`.
pub(super) fn keep(
    runtime: &Arc<SessionRuntime>,
    hold: Hold,
    projects: PathBuf,
    max_waiting_bytes: usize,
    tasks: &Tasks,
) -> TranscriptQueue {
    let (queue, queued) = mpsc::channel(QUEUE);
    let keeper = Keeper {
        runtime: Arc::clone(runtime),
        hold,
        projects,
        max_waiting_bytes,
        waiting: VecDeque::new(),
        waiting_bytes: 0,
        broken: false,
        stored: false,
    };
    tasks.spawn(keeper.run(queued));
    queue
}

struct Keeper {
    runtime: Arc<SessionRuntime>,
    /// The hold of the session in which its agent was started.
    hold: Hold,
    projects: PathBuf,
    max_waiting_bytes: usize,
    /// Lines that are not stored yet, by file, in order.
    waiting: VecDeque<(TranscriptPath, Vec<String>)>,
    waiting_bytes: usize,
    /// Whether lines were lost.
    broken: bool,
    /// Whether lines were stored.
    stored: bool,
}

impl Keeper {
    async fn run(mut self, mut queue: mpsc::Receiver<Kept>) {
        while let Some(told) = queue.recv().await {
            let mut flushes = Vec::new();
            self.take(told, &mut flushes);
            // What has gathered meanwhile is stored together.
            while self.waiting_bytes < self.max_waiting_bytes
                && let Ok(told) = queue.try_recv()
            {
                self.take(told, &mut flushes);
            }
            let stored = self.store().await;
            for flush in flushes {
                // Whoever waited may be gone.
                let _waits = flush.send(stored);
            }
        }
    }

    fn take(&mut self, told: Kept, flushes: &mut Vec<oneshot::Sender<Result<bool, TranscriptLost>>>) {
        let (file, lines) = match told {
            Kept::Flush(flush) => return flushes.push(flush),
            Kept::Lines { file, lines } => (file, lines),
        };
        let path = match TranscriptPath::below(&self.projects, &file) {
            Ok(path) => path,
            Err(error) => {
                tracing::error!(session.id = %self.runtime.session, file = %file.display(),
                    error = &error as &dyn std::error::Error, "the CLI wrote a transcript to an odd place");
                self.broken = true;
                return;
            }
        };
        let bytes: usize = lines.iter().map(String::len).sum();
        if self.waiting_bytes + bytes > self.max_waiting_bytes && !self.waiting.is_empty() {
            tracing::error!(session.id = %self.runtime.session, "a transcript has lost lines: too many wait for the store");
            self.broken = true;
            return;
        }
        self.waiting_bytes += bytes;
        match self.waiting.back_mut() {
            Some((last, waiting)) if *last == path => waiting.extend(lines),
            _ => self.waiting.push_back((path, lines)),
        }
    }

    /// Stores what waits, in order.
    async fn store(&mut self) -> Result<bool, TranscriptLost> {
        while let Some((path, lines)) = self.waiting.front() {
            match self
                .runtime
                .log
                .append_transcript(Some(self.hold), path, lines)
                .await
            {
                Ok(appended) => {
                    for bad in &appended.refused {
                        tracing::error!(session.id = %self.runtime.session, error = bad as &dyn std::error::Error,
                            "the CLI wrote down what is no entry; the rest is kept");
                    }
                    self.stored = true;
                    self.waiting.pop_front();
                }
                Err(LogError::SessionMissing | LogError::Fenced) => {
                    // It was removed, or another instance goes on with it: there is nothing to be kept for.
                    self.waiting.clear();
                }
                Err(error) => {
                    tracing::warn!(session.id = %self.runtime.session, error = &error as &dyn std::error::Error,
                        "lines of a transcript wait for the store");
                    return Err(TranscriptLost);
                }
            }
        }
        self.waiting_bytes = 0;
        if self.broken {
            Err(TranscriptLost)
        } else {
            Ok(self.stored)
        }
    }
}

/// Writes a transcript into a private home, for the CLI to go on with. Entries that cannot be read any more are named
/// and left out; without any of the conversation itself, nothing is written, and the CLI says that it is lost.
pub(super) fn give_back(
    transcript: &Transcript,
    conversation: ClaudeSessionId,
    home: &Home,
) -> io::Result<bool> {
    for bad in &transcript.damaged {
        tracing::error!(conversation = %conversation, error = bad as &dyn std::error::Error,
            "a stored entry of a transcript is damaged; the rest goes back to the CLI");
    }
    let own_name = format!("{conversation}.jsonl");
    let has_conversation = transcript.files.iter().any(|file| {
        let name = Path::new(file.path.as_str()).file_name();
        name.is_some_and(|name| name == own_name.as_str()) && !file.entries.is_empty()
    });
    if !has_conversation {
        return Ok(false);
    }
    for file in &transcript.files {
        let path = Path::new(file.path.as_str());
        let mut out = io::BufWriter::new(home.transcript_file(path)?);
        let mut metadata = None;
        for entry in &file.entries {
            match agent_metadata(entry) {
                Some(newer) => metadata = Some(newer),
                None => writeln!(out, "{}", entry.as_json())?,
            }
        }
        out.flush()?;
        if let Some(metadata) = metadata {
            let beside = home.transcript_file(&path.with_extension("meta.json"))?;
            serde_json::to_writer(beside, &metadata)?;
        }
    }
    Ok(true)
}

/// What the CLI tells of a sub-agent among its lines, and keeps in a file beside them; the last of it counts.
fn agent_metadata(entry: &TranscriptEntry) -> Option<Map<String, Value>> {
    if !entry.as_json().contains("agent_metadata") {
        return None;
    }
    let mut fields: Map<String, Value> = serde_json::from_str(entry.as_json()).ok()?;
    (fields.remove("type")? == "agent_metadata").then_some(fields)
}
