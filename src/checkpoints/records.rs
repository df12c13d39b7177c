//! Which trees a session's turns began and ended with, and how much of that is kept.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::object::{ObjectId, Objects};
use super::own;
use super::tree::Tree;
use super::{CheckpointError, CheckpointLimits, verified};
use crate::domain::{Checkpoint, Moment, TurnId};

/// After how many records that went it is looked for what only they needed.
const SWEEP_AFTER: u64 = 10;

/// A checkpoint, and its tree if it came to one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) checkpoint: Checkpoint,
    pub(super) tree: Option<ObjectId>,
}

/// How much is held, as far as is known: never less than is.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Held {
    bytes: u64,
    /// How many records went since it was last looked for what only they needed.
    gone: u64,
}

/// A session's records.
#[derive(Debug)]
pub(super) struct Records<'a> {
    session: &'a Path,
}

impl<'a> Records<'a> {
    pub(super) fn of(session: &'a Path) -> Self {
        Self { session }
    }

    fn path(&self, turn: TurnId, moment: Moment) -> PathBuf {
        self.session.join("turns").join(format!("{turn}.{moment}"))
    }

    fn tree_path(&self, tree: ObjectId) -> PathBuf {
        self.session.join("trees").join(tree.to_string())
    }

    pub(super) fn write(&self, record: &Record, waiting: &Path) -> io::Result<()> {
        let checkpoint = &record.checkpoint;
        let path = self.path(checkpoint.turn, checkpoint.moment);
        own::write_whole(&path, &waiting.join("record"), &serde_json::to_vec(record)?)
    }

    pub(super) fn read(&self, turn: TurnId, moment: Moment) -> io::Result<Option<Record>> {
        let bytes = own::read(&self.path(turn, moment))?;
        Ok(bytes.map(|bytes| serde_json::from_slice(&bytes)).transpose()?)
    }

    /// All of them, oldest first.
    pub(super) fn read_all(&self) -> io::Result<Vec<Record>> {
        let entries = match std::fs::read_dir(self.session.join("turns")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all: Vec<Record> = Vec::new();
        for entry in entries {
            // One that goes in this very moment is not there.
            if let Some(bytes) = own::read(&entry?.path())? {
                all.push(serde_json::from_slice(&bytes)?);
            }
        }
        all.sort_by_key(|record| record.checkpoint.number);
        Ok(all)
    }

    pub(super) fn write_tree(&self, tree: &Tree, waiting: &Path) -> io::Result<ObjectId> {
        let bytes = serde_json::to_vec(tree)?;
        let id = ObjectId::of(&bytes);
        let path = self.tree_path(id);
        if !path.is_file() {
            own::write_whole(&path, &waiting.join("tree"), &bytes)?;
        }
        Ok(id)
    }

    pub(super) fn read_tree(&self, id: ObjectId) -> Result<Tree, CheckpointError> {
        let bytes = own::read(&self.tree_path(id))?.ok_or(CheckpointError::NotFound)?;
        verified(&bytes, id, "the tree")?;
        serde_json::from_slice(&bytes)
            .map_err(|error| CheckpointError::Damaged(format!("the tree {id} cannot be read: {error}")))
    }

    fn held(&self) -> io::Result<Option<Held>> {
        let bytes = own::read(&self.session.join("held.json"))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn write_held(&self, held: Held, waiting: &Path) -> io::Result<()> {
        let part = waiting.join("held");
        std::fs::write(&part, serde_json::to_vec(&held)?)?;
        std::fs::rename(part, self.session.join("held.json"))
    }

    /// Notes that so many bytes come to what is held.
    pub(super) fn note_more(&self, bytes: u64, waiting: &Path) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let held = self.held()?.map_or_else(|| self.count(), Ok)?;
        let bytes = held.bytes.saturating_add(bytes);
        self.write_held(Held { bytes, ..held }, waiting)
    }

    fn count(&self) -> io::Result<Held> {
        let all = Objects::of(self.session).all()?;
        Ok(Held {
            bytes: all.iter().map(|(_, bytes)| bytes).sum(),
            gone: 0,
        })
    }

    /// Removes the oldest ones until no more is kept than may be; never the newest.
    pub(super) fn keep_within(
        &self,
        limits: CheckpointLimits,
        waiting: &Path,
    ) -> Result<(), CheckpointError> {
        let mut records = self.read_all()?;
        let mut held = self.held()?.map_or_else(|| self.count(), Ok)?;
        let too_many = beyond(&records, limits.max_turns);
        if too_many > 0 {
            for record in records.drain(..too_many) {
                self.remove(&record)?;
                held.gone += 1;
            }
            self.write_held(held, waiting)?;
        }
        if held.bytes > limits.max_bytes || held.gone >= SWEEP_AFTER {
            self.sweep(records, limits.max_bytes, waiting)?;
        }
        Ok(())
    }

    fn remove(&self, record: &Record) -> io::Result<()> {
        let checkpoint = &record.checkpoint;
        tracing::debug!(turn.id = %checkpoint.turn, moment = %checkpoint.moment, "an old checkpoint goes");
        own::remove_file(&self.path(checkpoint.turn, checkpoint.moment))
    }

    /// Removes the oldest records until what the others need is no more than may be, then what nobody needs.
    fn sweep(&self, mut records: Vec<Record>, max_bytes: u64, waiting: &Path) -> Result<(), CheckpointError> {
        let objects = Objects::of(self.session);
        let all = objects.all()?;
        // The newest record that needs each content, by its place among them.
        let mut needed_by: HashMap<ObjectId, usize> = HashMap::new();
        let mut trees: BTreeMap<ObjectId, usize> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            if let Some(tree) = record.tree {
                trees.insert(tree, at);
            }
        }
        for (tree, at) in &trees {
            let tree = match self.read_tree(*tree) {
                Ok(tree) => tree,
                Err(error @ CheckpointError::Failed(_)) => return Err(error),
                Err(error) => {
                    // Nobody can go back to it any more; the others are whole.
                    tracing::error!(error = &error as &dyn std::error::Error, "a checkpoint is lost");
                    continue;
                }
            };
            for object in tree.objects() {
                let newest = needed_by.entry(object).or_insert(*at);
                *newest = (*newest).max(*at);
            }
        }
        let mut frees = vec![0_u64; records.len()];
        let mut needed = 0_u64;
        for (object, bytes) in &all {
            if let Some(frees) = needed_by.get(object).and_then(|at| frees.get_mut(*at)) {
                *frees += bytes;
                needed += bytes;
            }
        }
        let mut gone = 0;
        for frees in frees.iter().take(records.len().saturating_sub(1)) {
            if needed <= max_bytes {
                break;
            }
            needed -= frees;
            gone += 1;
        }
        // First who needs them, then they: a crash in between leaves what the next sweep removes.
        for record in records.drain(..gone) {
            tracing::info!(turn.id = %record.checkpoint.turn, moment = %record.checkpoint.moment,
                "a checkpoint goes: the session's hold more than they may (checkpoints.max_bytes)");
            self.remove(&record)?;
        }
        let kept: HashSet<_> = records.iter().filter_map(|record| record.tree).collect();
        for (object, _) in &all {
            if needed_by.get(object).is_none_or(|newest| *newest < gone) {
                objects.remove(*object)?;
            }
        }
        for entry in std::fs::read_dir(self.session.join("trees"))? {
            let entry = entry?;
            let id = entry.file_name().to_string_lossy().parse::<ObjectId>();
            if id.map_or(true, |id| !kept.contains(&id)) {
                own::remove_file(&entry.path())?;
            }
        }
        let held = Held {
            bytes: needed,
            gone: 0,
        };
        Ok(self.write_held(held, waiting)?)
    }
}

/// How many of the oldest are of turns that are too many.
fn beyond(records: &[Record], max_turns: usize) -> usize {
    let mut newest: Vec<TurnId> = Vec::new();
    for (at, record) in records.iter().enumerate().rev() {
        let turn = record.checkpoint.turn;
        if !newest.contains(&turn) {
            if newest.len() >= max_turns {
                return at + 1;
            }
            newest.push(turn);
        }
    }
    0
}
