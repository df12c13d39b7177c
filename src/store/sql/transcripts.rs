//! Transcripts.

use async_trait::async_trait;

use super::SqlStore;
use super::engine::{Engine, Row as _};
use super::rows::unsigned;
use super::statement::sql;
use super::writer::Work;
use crate::domain::{
    BadEntry, EntryPlace, Epoch, SessionId, TenantId, Transcript, TranscriptEntry, TranscriptFile,
    TranscriptPath,
};
use crate::store::contract::parse_lines;
use crate::store::{Result, StoreError, TranscriptAppended, TranscriptStore};

/// How many entries are read at once.
const READ_BATCH: u32 = 500;

#[async_trait]
impl<E: Engine> TranscriptStore for SqlStore<E> {
    async fn append_transcript(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        path: &TranscriptPath,
        lines: &[String],
    ) -> Result<TranscriptAppended> {
        let (entries, refused) = parse_lines(path, lines);
        let given = entries.len() as u64;
        let work = Work::Transcript {
            path: path.clone(),
            entries,
        };
        let stored = self.writer.write(tenant, session, epoch, work).await?;
        Ok(TranscriptAppended {
            stored,
            repeated: given.saturating_sub(stored),
            refused,
        })
    }

    async fn read_transcript(&self, tenant: TenantId, session: SessionId) -> Result<Transcript> {
        let mut transcript = Transcript::default();
        let mut after = (String::new(), 0_i64);
        loop {
            let statement = sql("SELECT path, position, body FROM transcript_entries \
                 JOIN sessions ON sessions.id = transcript_entries.session_id \
                 WHERE session_id = $1 AND sessions.tenant_id = $2 AND (path, position) > ($3, $4) \
                 ORDER BY path, position LIMIT $5")
            .bind(session.as_uuid())
            .bind(tenant.as_uuid())
            .bind(after.0.as_str())
            .bind(after.1)
            .bind(READ_BATCH);
            let rows = self.read("read a transcript", statement).await?;
            let full = rows.len() == READ_BATCH as usize;
            for row in rows {
                after = (row.text("path")?, row.integer("position")?);
                let path: TranscriptPath = after
                    .0
                    .parse()
                    .map_err(|error| StoreError::corrupt("transcript's path", error))?;
                let position = unsigned("transcript's position", after.1)?;
                add(&mut transcript, path, position, row.text("body")?);
            }
            if !full {
                return Ok(transcript);
            }
        }
    }
}

fn add(transcript: &mut Transcript, path: TranscriptPath, position: u64, body: String) {
    if transcript.files.last().is_none_or(|file| file.path != path) {
        transcript.files.push(TranscriptFile {
            path: path.clone(),
            entries: Vec::new(),
        });
    }
    match (TranscriptEntry::parse(body), transcript.files.last_mut()) {
        (Ok(entry), Some(file)) => file.entries.push(entry),
        (Ok(_), None) => {}
        (Err(reason), _) => transcript.damaged.push(BadEntry {
            place: EntryPlace { path, position },
            reason,
        }),
    }
}
