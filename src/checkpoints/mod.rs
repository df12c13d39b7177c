//! Checkpoints: what a workspace was like before and after each turn, so that it can be told what a turn changed, and gone
//! back.
//!
//! They lie in a folder of the server's own that no agent reaches, one folder a session. What files hold is kept once,
//! under its digest (`object`); a tree names what was where (`tree`); a record says which tree a turn began or ended with
//! (`records`). `taking` makes a tree of a workspace, `restoring` a workspace of a tree, `diffing` tells two trees apart.
//!
//! A checkpoint is written from the contents upwards, each step once the disk has the one before: a record that is there is
//! whole. What a crash leaves is in nobody's way, and removed with the next.
//!
//! Nothing here decides who may see what, and nothing is reached by a path that an agent can change.

mod diffing;
mod index;
mod object;
mod own;
mod records;
mod restoring;
mod taking;
mod tree;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use cap_std::fs::Dir;
use chrono::{DateTime, Utc};
use rustix::fs::{FlockOperation, flock};

use crate::domain::{Checkpoint, CheckpointFailure, Diff, Moment, SessionId, TenantId, TurnId};

pub use diffing::{DiffLimits, DiffOrder};
pub use restoring::Restored;
pub use tree::{NotKept, PathBytes, Tree};

use index::{Index, NewIndex};
use object::{NewObjects, ObjectId, Objects};
use records::{Record, Records};
use taking::Taker;

/// How long is waited before a lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// How much is kept of a session.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointLimits {
    /// Of all its checkpoints together, in bytes; the oldest go first.
    pub max_bytes: u64,
    /// Of one: files, folders and links.
    pub max_entries: u64,
    /// Of one file, in bytes.
    pub max_file_bytes: u64,
    /// How deep folders are gone into.
    pub max_depth: u32,
    /// Of how many turns.
    pub max_turns: usize,
    /// How long taking one may take.
    pub timeout: Duration,
}

/// Why a checkpoint is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// There is none, or no longer.
    #[error("there is no such checkpoint")]
    NotFound,
    /// What is kept is not what was kept once.
    #[error("the checkpoint is damaged: {0}")]
    Damaged(String),
    /// The file system failed.
    #[error("the checkpoint cannot be used")]
    Failed(#[from] io::Error),
}

/// Why no checkpoint was taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The workspace holds too much.
    #[error("the workspace holds more files, folders and links than are kept (checkpoints.max_entries)")]
    TooManyEntries,
    /// The workspace's files are too large.
    #[error("the workspace's files are larger together than is kept (checkpoints.max_bytes)")]
    TooLarge,
    /// It was given up.
    #[error(transparent)]
    GivenUp(GivenUp),
    /// The file system failed.
    #[error("the workspace was not read, or what was read not written")]
    Io(#[source] io::Error),
}

impl TakeError {
    fn reason(&self) -> CheckpointFailure {
        match self {
            Self::TooManyEntries => CheckpointFailure::TooManyEntries,
            Self::TooLarge => CheckpointFailure::TooLarge,
            Self::GivenUp(GivenUp::TimedOut) => CheckpointFailure::TimedOut,
            Self::GivenUp(GivenUp::ToldTo) => CheckpointFailure::Interrupted,
            Self::Io(_) => CheckpointFailure::Failed,
        }
    }
}

impl From<io::Error> for TakeError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<GivenUp>()) {
            Some(given_up) => Self::GivenUp(*given_up),
            None => Self::Io(error),
        }
    }
}

/// Why taking a checkpoint was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// It took longer than it may.
    #[error("it took longer than it may (checkpoints.timeout)")]
    TimedOut,
    /// It was told to.
    #[error("it was told to be given up")]
    ToldTo,
}

/// How long something with files may take, and whether it is to be given up. Clones share it.
#[derive(Debug, Clone)]
pub struct Patience {
    until: Option<Instant>,
    told: Arc<AtomicU8>,
}

impl Patience {
    /// So long from now on.
    #[must_use]
    pub fn lasting(timeout: Duration) -> Self {
        Self {
            until: Instant::now().checked_add(timeout),
            told: Arc::default(),
        }
    }

    /// As long as it takes.
    #[must_use]
    pub fn endless() -> Self {
        Self {
            until: None,
            told: Arc::default(),
        }
    }

    /// Says that it is to be given up.
    pub fn give_up(&self) {
        self.told.store(1, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        let given_up = if self.told.load(Ordering::Relaxed) != 0 {
            GivenUp::ToldTo
        } else if self.until.is_some_and(|until| Instant::now() >= until) {
            GivenUp::TimedOut
        } else {
            return Ok(());
        };
        Err(io::Error::other(given_up))
    }
}

/// The checkpoints of all sessions.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    base: PathBuf,
    limits: CheckpointLimits,
}

/// The checkpoints of one session. Its methods touch the file system and may block.
#[derive(Debug, Clone)]
pub struct SessionCheckpoints {
    folder: PathBuf,
    limits: CheckpointLimits,
}

impl Checkpoints {
    /// Checkpoints below `base`, which is made with the first of them.
    #[must_use]
    pub fn new(base: &Path, limits: CheckpointLimits) -> Self {
        // Of a path that cannot be told, the one that was given.
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        Self { base, limits }
    }

    /// A session's.
    #[must_use]
    pub fn of(&self, tenant: TenantId, session: SessionId) -> SessionCheckpoints {
        SessionCheckpoints {
            folder: self.folder(tenant).join(session.to_string()),
            limits: self.limits,
        }
    }

    /// How long taking one may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// Removes all of a tenant's.
    pub fn remove_tenant(&self, tenant: TenantId) -> io::Result<()> {
        own::remove_folder(&self.folder(tenant))
    }

    fn folder(&self, tenant: TenantId) -> PathBuf {
        self.base.join(tenant.to_string())
    }
}

impl SessionCheckpoints {
    /// Takes one of a workspace as it is now. What it comes to is recorded, also that it came to nothing.
    pub fn take(
        &self,
        workspace: &Dir,
        turn: TurnId,
        moment: Moment,
        now: DateTime<Utc>,
        patience: &Patience,
    ) -> Result<Checkpoint, TakeError> {
        let new = Checkpoint {
            number: 0,
            turn,
            moment,
            created_at: now,
            files: 0,
            bytes: 0,
            stored_bytes: 0,
            not_kept: 0,
            failure: None,
        };
        own::make_folder(&self.folder)?;
        let _lock = self.lock(FlockOperation::NonBlockingLockExclusive, patience)?;
        let waiting = self.waiting()?;
        let records = Records::of(&self.folder);
        let all = records.read_all()?;
        let number = all.last().map_or(0, |last| last.checkpoint.number) + 1;
        let new = Checkpoint { number, ..new };
        match self.take_new(workspace, new, &all, &waiting, patience) {
            Ok(record) => {
                let taken = record.checkpoint;
                // It is there; that too much is there with it is the next one's to mend.
                if let Err(error) = records.keep_within(self.limits, &waiting) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "old checkpoints were not removed"
                    );
                }
                Ok(taken)
            }
            Err(error) => {
                let failed = Checkpoint {
                    failure: Some(error.reason()),
                    ..new
                };
                records.write(
                    &Record {
                        checkpoint: failed,
                        tree: None,
                    },
                    &waiting,
                )?;
                Err(error)
            }
        }
    }

    fn take_new(
        &self,
        workspace: &Dir,
        new: Checkpoint,
        before: &[Record],
        waiting: &Path,
        patience: &Patience,
    ) -> Result<Record, TakeError> {
        let last = before.iter().rev().find_map(|record| record.tree);
        let known = Index::read(&self.folder, last)?.by_path();
        let objects = Objects::of(&self.folder);
        let mut taker = Taker::new(
            self.limits,
            patience,
            known,
            NewObjects::new(&objects, waiting.to_owned()),
            NewIndex::begin(waiting)?,
        );
        taker.take(workspace)?;
        let Taker {
            new: content,
            index,
            tree,
            ..
        } = taker;
        let records = Records::of(&self.folder);
        let stored_bytes = content.bytes();
        records.note_more(stored_bytes, waiting)?;
        content.place()?;
        let (files, bytes) = tree.files();
        let checkpoint = Checkpoint {
            files,
            bytes,
            stored_bytes,
            not_kept: tree.not_kept().count() as u64,
            ..new
        };
        let tree = records.write_tree(&tree, waiting)?;
        let record = Record {
            checkpoint,
            tree: Some(tree),
        };
        records.write(&record, waiting)?;
        if !index.says_the_same(tree, last) {
            index.write(&self.folder, waiting, tree)?;
        }
        Ok(record)
    }

    /// All of them, oldest first.
    pub fn list(&self) -> io::Result<Vec<Checkpoint>> {
        let all = Records::of(&self.folder).read_all()?;
        Ok(all.into_iter().map(|record| record.checkpoint).collect())
    }

    /// What the workspace was like at a moment of a turn.
    pub fn tree(&self, turn: TurnId, moment: Moment) -> Result<Tree, CheckpointError> {
        let records = Records::of(&self.folder);
        let record = records.read(turn, moment)?.ok_or(CheckpointError::NotFound)?;
        records.read_tree(record.tree.ok_or(CheckpointError::NotFound)?)
    }

    /// Makes a workspace what it was at a moment of a turn.
    pub fn restore(
        &self,
        turn: TurnId,
        moment: Moment,
        workspace: &Dir,
    ) -> Result<Restored, CheckpointError> {
        let _lock = self.lock_to_read()?;
        let records = Records::of(&self.folder);
        let tree = self.tree(turn, moment)?;
        let last = records.read_all()?.iter().rev().find_map(|record| record.tree);
        let known = Index::read(&self.folder, last)?.by_path();
        restoring::restore(&tree, &Objects::of(&self.folder), known, workspace)
    }

    /// What a turn changed.
    pub fn diff(&self, turn: TurnId, order: &DiffOrder, limits: DiffLimits) -> Result<Diff, CheckpointError> {
        let _lock = self.lock_to_read()?;
        let before = self.tree(turn, Moment::Before)?;
        let after = self.tree(turn, Moment::After)?;
        diffing::diff(&before, &after, &Objects::of(&self.folder), order, limits)
    }

    /// Removes all of them.
    pub fn remove(&self) -> io::Result<()> {
        own::remove_folder(&self.folder)
    }

    /// The folder for what is not whole yet, without what a crash left in it.
    fn waiting(&self) -> io::Result<PathBuf> {
        let waiting = self.folder.join("waiting");
        own::remove_folder(&waiting)?;
        own::make_folder(&waiting)?;
        own::make_folder(&self.folder.join("objects"))?;
        own::make_folder(&self.folder.join("trees"))?;
        own::make_folder(&self.folder.join("turns"))?;
        Ok(waiting)
    }

    /// Has nobody remove meanwhile what is read.
    fn lock_to_read(&self) -> Result<File, CheckpointError> {
        if !self.folder.is_dir() {
            return Err(CheckpointError::NotFound);
        }
        let patience = Patience::lasting(self.limits.timeout);
        Ok(self.lock(FlockOperation::NonBlockingLockShared, &patience)?)
    }

    /// The session's lock, also against other processes that have the folder.
    fn lock(&self, kind: FlockOperation, patience: &Patience) -> io::Result<File> {
        let path = self.folder.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        loop {
            match flock(file.as_fd(), kind) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            patience.check()?;
            std::thread::sleep(LOCK_PAUSE);
        }
    }
}

/// The digest under which something is kept, if it holds what it says.
fn verified(bytes: &[u8], id: ObjectId, what: &str) -> Result<(), CheckpointError> {
    if ObjectId::of(bytes) == id {
        Ok(())
    } else {
        Err(CheckpointError::Damaged(format!(
            "{what} {id} is not what it was"
        )))
    }
}

#[cfg(test)]
mod tests;
