//! What the CLI writes down of its conversations.

use async_trait::async_trait;

use crate::domain::{
    BadEntry, EntryPlace, Epoch, SessionId, TenantId, Transcript, TranscriptEntry, TranscriptPath,
};
use crate::store::Result;

/// What became of entries that were to be appended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TranscriptAppended {
    /// How many were stored.
    pub stored: u64,
    /// How many were there already, by their `uuid`.
    pub repeated: u64,
    /// Those that are no entries; their positions count from 1 in what was given. All others were stored.
    pub refused: Vec<BadEntry>,
}

/// What the CLI writes down of its conversations.
#[async_trait]
pub trait TranscriptStore: Send + Sync {
    /// Appends lines to a file of a session's transcript, in order. One whose `uuid` the file has already is left
    /// out, so that the same lines may come twice; one without is appended as it comes.
    ///
    /// # Errors
    /// `SessionGone`, `StaleEpoch`; nothing is kept then.
    async fn append_transcript(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        path: &TranscriptPath,
        lines: &[String],
    ) -> Result<TranscriptAppended>;

    /// All that is kept of a session's transcript. Entries that cannot be read any more are named, and the rest is
    /// there.
    async fn read_transcript(&self, tenant: TenantId, session: SessionId) -> Result<Transcript>;
}

/// The lines that are entries, and those that are not.
pub(in crate::store) fn parse_lines(
    path: &TranscriptPath,
    lines: &[String],
) -> (Vec<TranscriptEntry>, Vec<BadEntry>) {
    let mut refused = Vec::new();
    let entries = (1..)
        .zip(lines)
        .filter_map(|(position, line)| match TranscriptEntry::parse(line.clone()) {
            Ok(entry) => Some(entry),
            Err(reason) => {
                let place = EntryPlace {
                    path: path.clone(),
                    position,
                };
                refused.push(BadEntry { place, reason });
                None
            }
        })
        .collect();
    (entries, refused)
}
