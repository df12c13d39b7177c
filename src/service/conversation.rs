//! Where a session's conversation has been: which messages lead to a place in it, and what the CLI wrote down up to there.
//!
//! A log only grows, and so do transcripts; a rewind goes on from an earlier place, and what came after stays where it was.
//! So a place of the past can always be found again, also one that was gone back from.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

use super::error::Error;
use crate::domain::{
    ClaudeSessionId, Event, EventBody, EventId, EventKind, EventQuery, SessionId, TenantId, Transcript,
    TranscriptEntry, TranscriptFile, TranscriptPath, TurnId,
};
use crate::store::Store;

/// How many events are read at once.
const BATCH: u32 = 500;
/// What the name of a transcript's file ends in.
const SUFFIX: &str = ".jsonl";

/// Up to where a conversation is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpTo {
    /// All of it.
    End,
    /// This message, which is the last.
    Message(EventId),
    /// This turn, which is left out.
    Turn(TurnId),
}

/// A conversation's files under a new id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Copied {
    /// The files, and their lines.
    pub(super) files: Vec<(TranscriptPath, Vec<String>)>,
}

impl Copied {
    /// Whether there is nothing to go on from.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// The messages of a session that lead to a place.
pub(super) async fn history(
    store: &dyn Store,
    tenant: TenantId,
    session: SessionId,
    up_to: UpTo,
) -> Result<Vec<Event>, Error> {
    let mut kinds = EventKind::MESSAGES.to_vec();
    kinds.push(EventKind::SessionRewound);
    let until = match up_to {
        UpTo::Message(message) => Some(message),
        UpTo::End | UpTo::Turn(_) => None,
    };
    let (mut lineage, mut after) = (Lineage::default(), EventId::START);
    loop {
        let query = EventQuery {
            until,
            ..EventQuery::after(after).of_kinds(&kinds)
        };
        let batch = store.read_events(tenant, session, &query, BATCH).await?;
        let is_last = batch.len() < BATCH as usize;
        for event in batch {
            after = event.id;
            lineage.take(event);
        }
        if is_last {
            break;
        }
    }
    match up_to {
        UpTo::End => Ok(lineage.up_to(lineage.tip)),
        UpTo::Message(wanted) => {
            let all = lineage.up_to(lineage.tip);
            let found = all.last().is_some_and(|last| last.id == wanted);
            found.then_some(all).ok_or(Error::MessageNotFound)
        }
        UpTo::Turn(turn) => {
            let before = lineage.before.get(&turn).ok_or(Error::TurnNotFound)?;
            Ok(lineage.up_to(*before))
        }
    }
}

/// Messages, each with the one before it in the conversation.
#[derive(Debug, Default)]
struct Lineage {
    messages: Vec<(Event, Option<usize>)>,
    /// The last one.
    tip: Option<usize>,
    /// The last one before each turn.
    before: HashMap<TurnId, Option<usize>>,
}

impl Lineage {
    fn take(&mut self, event: Event) {
        if let EventBody::SessionRewound {
            before_turn,
            conversation,
            ..
        } = &event.body
        {
            if let (true, Some(before)) = (*conversation, self.before.get(before_turn)) {
                self.tip = *before;
            }
            return;
        }
        if let Some(turn) = event.turn_id {
            self.before.entry(turn).or_insert(self.tip);
        }
        self.messages.push((event, self.tip));
        self.tip = self.messages.len().checked_sub(1);
    }

    /// The messages that lead to one of them, itself included.
    fn up_to(&self, mut at: Option<usize>) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some((event, before)) = at.and_then(|at| self.messages.get(at)) {
            all.push(event.clone());
            at = *before;
        }
        all.reverse();
        all
    }
}

/// A conversation's files under a new id, as far as it is wanted. `current` is the one that the session goes on with.
pub(super) fn copy_conversation(
    stored: &Transcript,
    current: ClaudeSessionId,
    to: ClaudeSessionId,
    up_to: UpTo,
    history: &[Event],
) -> Result<Copied, Error> {
    let found = place(stored, current, up_to, history);
    let (from, wanted) = match (found, up_to) {
        (Some(found), _) => found,
        // The session has no conversation yet, or has lost it.
        (None, UpTo::End | UpTo::Turn(_)) => (current, None),
        (None, UpTo::Message(_)) if stored.files.is_empty() => (current, None),
        (None, UpTo::Message(_)) => return Err(Error::MessageNotFound),
    };
    let (from, to) = (from.to_string(), to.to_string());
    let mut copied = Copied::default();
    for file in &stored.files {
        if !file.path.as_str().contains(&from) {
            // Of another conversation of this session.
            continue;
        }
        let lines = file.entries.iter().map(TranscriptEntry::as_json);
        let wanted = wanted.filter(|_| name_of(file) == Some(from.as_str()));
        let path = file.path.as_str().replace(&from, &to);
        let path = path.parse().map_err(|error| Error::Internal {
            action: "a transcript's path cannot be copied",
            source: Box::new(error),
        })?;
        let lines = lines
            .take(wanted.unwrap_or(usize::MAX))
            .map(|line| line.replace(&from, &to));
        copied.files.push((path, lines.collect()));
    }
    let goes_on = copied.files.iter().any(|(path, lines)| {
        let is_main = path.as_str().ends_with(&format!("{to}{SUFFIX}"));
        is_main && lines.iter().any(|line| is_said(line))
    });
    Ok(if goes_on { copied } else { Copied::default() })
}

/// Which conversation has a place, and how many of its lines there are up to there; `None` is all of them.
fn place(
    stored: &Transcript,
    current: ClaudeSessionId,
    up_to: UpTo,
    history: &[Event],
) -> Option<(ClaudeSessionId, Option<usize>)> {
    if up_to == UpTo::End {
        return Some((current, None));
    }
    let mut mains: Vec<_> = stored
        .files
        .iter()
        .filter_map(|file| Some((conversation_of(file)?, file)))
        .collect();
    // What the session goes on with comes first; what it was before, it still has.
    mains.sort_by_key(|(conversation, _)| *conversation != current);
    let lines = |file: &'_ TranscriptFile| -> Vec<String> {
        let entries = file.entries.iter();
        entries.map(|entry| entry.as_json().to_owned()).collect()
    };
    let found = mains.iter().find_map(|(conversation, file)| {
        let at = match up_to {
            UpTo::End => None,
            UpTo::Message(_) => {
                let lines = lines(file);
                cut(&lines.iter().map(String::as_str).collect::<Vec<_>>(), history)
            }
            UpTo::Turn(turn) => file
                .entries
                .iter()
                .position(|entry| entry.uuid() == Some(turn.as_uuid())),
        };
        Some((*conversation, Some(at?)))
    });
    let UpTo::Turn(turn) = up_to else {
        return found;
    };
    found.or_else(|| {
        // Its prompt never reached the CLI: what came later is left out.
        let (conversation, file) = mains.iter().find(|(conversation, _)| *conversation == current)?;
        let is_later = |uuid: Uuid| uuid.get_version_num() == 7 && TurnId::from_uuid(uuid) > turn;
        let at = file
            .entries
            .iter()
            .position(|entry| entry.uuid().is_some_and(is_later));
        Some((*conversation, at))
    })
}

/// The name of a file without its suffix.
fn name_of(file: &TranscriptFile) -> Option<&str> {
    file.path.as_str().rsplit('/').next()?.strip_suffix(SUFFIX)
}

/// The conversation that a file is the main one of.
fn conversation_of(file: &TranscriptFile) -> Option<ClaudeSessionId> {
    let name = name_of(file)?;
    Some(ClaudeSessionId::from_uuid(Uuid::parse_str(name).ok()?))
}

/// Whether a line is something that somebody said.
fn is_said(line: &str) -> bool {
    let line: Option<Value> = serde_json::from_str(line).ok();
    let kind = line.as_ref().and_then(|line| line.get("type")?.as_str());
    matches!(kind, Some("user" | "assistant"))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ManualClock, SystemClock};

    fn line(kind: &str, uuid: Uuid, conversation: ClaudeSessionId) -> TranscriptEntry {
        let line = json!({"type": kind, "uuid": uuid, "sessionId": conversation.to_string()});
        TranscriptEntry::parse(line.to_string()).unwrap()
    }

    /// A conversation of these turns: each a prompt and an answer.
    fn conversation(id: ClaudeSessionId, turns: &[TurnId]) -> TranscriptFile {
        let entries = turns.iter().flat_map(|turn| {
            [
                line("user", turn.as_uuid(), id),
                line(
                    "assistant",
                    Uuid::from_u128(turn.as_uuid().as_u128() ^ (0xf << 76)),
                    id,
                ),
            ]
        });
        TranscriptFile {
            path: format!("-work/{id}{SUFFIX}").parse().unwrap(),
            entries: entries.collect(),
        }
    }

    fn lines_before(stored: &Transcript, current: ClaudeSessionId, turn: TurnId) -> usize {
        let to = ClaudeSessionId::generate(&SystemClock);
        let copied = copy_conversation(stored, current, to, UpTo::Turn(turn), &[]).unwrap();
        let files: Vec<_> = copied.files.iter().map(|(_, lines)| lines).collect();
        assert!(
            files
                .iter()
                .flat_map(|lines| lines.iter())
                .all(|line| line.contains(&to.to_string()))
        );
        files.iter().map(|lines| lines.len()).sum()
    }

    #[test]
    fn a_turn_is_found_in_what_the_session_had_before_too_and_one_without_a_prompt_by_its_time() {
        let clock = ManualClock::at(chrono::DateTime::UNIX_EPOCH);
        let new = || {
            // Of one moment, ids are in no order.
            clock.advance(chrono::TimeDelta::seconds(1));
            TurnId::generate(&clock)
        };
        let (first, second, unheard, third) = (new(), new(), new(), new());
        let id = || ClaudeSessionId::generate(&SystemClock);
        let (old, current) = (id(), id());
        let stored = Transcript {
            files: vec![
                conversation(old, &[first, second]),
                conversation(current, &[first, third]),
            ],
            ..Transcript::default()
        };
        assert_eq!(lines_before(&stored, current, third), 2);
        assert_eq!(
            lines_before(&stored, current, second),
            2,
            "what was gone back from"
        );
        assert_eq!(lines_before(&stored, current, unheard), 2);
        assert_eq!(lines_before(&stored, current, new()), 4, "nothing came after");
        assert_eq!(
            lines_before(&stored, current, first),
            0,
            "nothing is left to go on from"
        );
        assert_eq!(lines_before(&Transcript::default(), current, first), 0);
    }
}
