//! One at a time begins a run in a folder.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::{Principal, Subdir, UserId};

/// How many gates there are; folders share them.
const GATES: usize = 64;

/// Gates that runs pass through as they begin, one at a time for a folder, so that a look at who is in it stands until the
/// next one is. They are this instance's: two that begin at two instances in the same moment may both be let in.
#[derive(Debug)]
pub(in crate::dialects) struct Folders(Vec<Mutex<()>>);

impl Default for Folders {
    fn default() -> Self {
        Self((0..GATES).map(|_| Mutex::default()).collect())
    }
}

impl Folders {
    /// Passes a folder's gate; it is closed to others until this is dropped.
    pub(super) async fn enter(
        &self,
        caller: &Principal,
        user: &UserId,
        folder: Option<&Subdir>,
    ) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        (caller.tenant, user, folder.map(Subdir::as_str)).hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % GATES as u64).unwrap_or_default();
        match self.0.get(index) {
            Some(gate) => Some(gate.lock().await),
            None => None,
        }
    }
}
