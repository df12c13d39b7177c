//! Commits writes of several sessions together.
//!
//! A commit waits for the disk, and costs much the same for one write as for many. So writes queue, and one task takes
//! all that have gathered into one transaction. Each write is answered once it is durable, and is refused alone: what
//! is wrong with one of a group harms no other. A group that the database did not take because it does not answer is
//! tried again while there is patience; whether an earlier try was committed after all is seen by the ids.
//!
//! A caller that goes away takes nothing with it: its write is in the queue whole, or not at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::engine::Engine;
use super::events::EventRow;
use super::{CommitOptions, Database, part_of_a_trace};
use crate::domain::{
    Epoch, Event, EventId, SessionId, TenantId, TranscriptEntry, TranscriptPath, Turn, TurnId,
};
use crate::lifecycle::Tasks;
use crate::store::{RequestAnswer, Result, StoreError, StoreMetrics, TurnEnd};

mod group;

pub(super) use group::append_transcript;

/// How long the tasks may take to commit what is queued when the store is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);
/// The most of one group, in bytes of bodies.
const GROUP_MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long is waited before a group is tried again: at first, and at most.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// Events that are written.
#[derive(Debug)]
pub(super) struct Entries {
    /// As they are stored: several pieces of a message make one row.
    rows: Vec<EventRow>,
    /// The ids of all of them.
    ids: Vec<EventId>,
}

impl Entries {
    pub(super) fn of(events: &[Event]) -> Result<Self> {
        Ok(Self {
            rows: EventRow::of(events)?,
            ids: events.iter().map(|event| event.id).collect(),
        })
    }
}

/// What is written to a session under its epoch.
#[derive(Debug)]
pub(super) enum Work {
    /// Events.
    Append(Entries),
    /// A turn that waits for others, with its first events.
    Queue {
        turn: Box<Turn>,
        entries: Entries,
        answer: Option<RequestAnswer>,
    },
    /// A turn that begins, with its first events.
    Begin {
        turn: Box<Turn>,
        entries: Entries,
        answer: Option<RequestAnswer>,
    },
    /// A turn that ends, with its last events.
    Finish {
        end: Box<TurnEnd>,
        outcome: String,
        entries: Entries,
    },
    /// Lines of a transcript.
    Transcript {
        path: TranscriptPath,
        entries: Vec<TranscriptEntry>,
    },
}

impl Work {
    fn events(&self) -> Option<&Entries> {
        match self {
            Self::Append(entries)
            | Self::Queue { entries, .. }
            | Self::Begin { entries, .. }
            | Self::Finish { entries, .. } => Some(entries),
            Self::Transcript { .. } => None,
        }
    }

    fn ids(&self) -> &[EventId] {
        self.events().map_or(&[], |entries| &entries.ids)
    }

    fn rows(&self) -> &[EventRow] {
        self.events().map_or(&[], |entries| &entries.rows)
    }

    fn turn(&self) -> Option<TurnId> {
        match self {
            Self::Queue { turn, .. } | Self::Begin { turn, .. } => Some(turn.id),
            Self::Finish { end, .. } => Some(end.turn),
            Self::Append(_) | Self::Transcript { .. } => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Transcript { entries, .. } => entries.iter().map(|entry| entry.as_json().len()).sum(),
            work => work.rows().iter().map(EventRow::bytes).sum(),
        }
    }
}

/// One write, and who waits for it.
#[derive(Debug)]
struct Job {
    tenant: TenantId,
    session: SessionId,
    epoch: Epoch,
    work: Work,
    /// Whether it was in a group whose commit may or may not have happened.
    tried: bool,
    done: oneshot::Sender<Result<u64>>,
}

/// Queues writes for the tasks that commit them.
#[derive(Debug)]
pub(super) struct GroupWriter<E: Engine> {
    /// One queue a task; all writes of a session go through the same. `None` once closed.
    lanes: Mutex<Option<Vec<mpsc::Sender<Job>>>>,
    tasks: Tasks,
    metrics: StoreMetrics,
    engine: std::marker::PhantomData<fn() -> E>,
}

impl<E: Engine> GroupWriter<E> {
    pub(super) fn start(
        database: &Arc<Database<E>>,
        options: &CommitOptions,
        lanes: u32,
        patience: Duration,
    ) -> Self {
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let lanes = (0..lanes.max(1))
            .map(|_| {
                let (queue, queued) = mpsc::channel(options.queue.max(1));
                let lane = Lane {
                    database: Arc::clone(database),
                    window: options.window,
                    group_max: options.group_max.max(1),
                    patience,
                };
                tasks.spawn(lane.run(queued));
                queue
            })
            .collect();
        Self {
            lanes: Mutex::new(Some(lanes)),
            tasks,
            metrics: database.metrics.clone(),
            engine: std::marker::PhantomData,
        }
    }

    /// Answers once the write is durable, with how much of it was stored.
    pub(super) async fn write(
        &self,
        tenant: TenantId,
        session: SessionId,
        epoch: Epoch,
        work: Work,
    ) -> Result<u64> {
        let began = Instant::now();
        let events = work.ids().len();
        let (done, is_done) = oneshot::channel();
        let lane = self.lane_of(session).ok_or_else(closed)?;
        let job = Job {
            tenant,
            session,
            epoch,
            work,
            tried: false,
            done,
        };
        lane.send(job).await.map_err(|_job| closed())?;
        let span = part_of_a_trace(|| tracing::debug_span!("store.write", store.events = events));
        let waited = is_done.instrument(span).await;
        let written = waited.unwrap_or_else(|_| Err(closed()));
        let durable = if written.is_ok() { events } else { 0 };
        self.metrics.log_written(durable, began.elapsed());
        written
    }

    fn lane_of(&self, session: SessionId) -> Option<mpsc::Sender<Job>> {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lanes = lanes.as_ref()?;
        // Ids are random in their lower half.
        let (_, random) = session.as_uuid().as_u64_pair();
        let lane = usize::try_from(random).unwrap_or(usize::MAX) % lanes.len().max(1);
        lanes.get(lane).cloned()
    }

    /// Takes no further writes, and waits for those that are queued.
    pub(super) async fn close(&self) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(lanes);
        if !self.tasks.wait(CLOSE_PATIENCE).await {
            tracing::error!("not all writes that were queued could be committed");
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable(Arc::new(sqlx::Error::PoolClosed))
}

/// One task that commits.
struct Lane<E: Engine> {
    database: Arc<Database<E>>,
    window: Duration,
    group_max: usize,
    patience: Duration,
}

impl<E: Engine> Lane<E> {
    async fn run(self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            let group = self.gather(first, &mut queue).await;
            self.commit(group).await;
        }
    }

    async fn gather(&self, first: Job, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let until = Instant::now() + self.window;
        let mut bytes = first.work.bytes();
        let mut group = vec![first];
        let mut waited = false;
        while group.len() < self.group_max && bytes < GROUP_MAX_BYTES {
            let next = match queue.try_recv() {
                Ok(job) => Some(job),
                // Writes often come in flocks; whoever is just about to queue may. It costs next to nothing.
                Err(_) if !waited => {
                    waited = true;
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(_) if self.window.is_zero() => None,
                Err(_) => tokio::time::timeout_at(until, queue.recv()).await.ok().flatten(),
            };
            let Some(job) = next else { break };
            waited = false;
            bytes += job.work.bytes();
            group.push(job);
        }
        group
    }

    async fn commit(&self, mut group: Vec<Job>) {
        let began = Instant::now();
        let deadline = began + self.patience;
        let mut wait = RETRY_WAITS.0;
        loop {
            match group::commit(&self.database, &group).await {
                Ok(outcomes) => {
                    self.database.metrics.committed(group.len(), began.elapsed());
                    return answer(group, outcomes);
                }
                Err(error @ StoreError::Unavailable(_)) => {
                    if Instant::now() + wait > deadline {
                        return refuse(group, &error);
                    }
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a group of writes is tried again"
                    );
                    for job in &mut group {
                        job.tried = true;
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_WAITS.1);
                }
                Err(error) if group.len() == 1 => return refuse(group, &error),
                // Something is wrong with one of them: each for itself.
                Err(_) => break,
            }
        }
        for job in group {
            let alone = vec![job];
            match group::commit(&self.database, &alone).await {
                Ok(outcomes) => answer(alone, outcomes),
                Err(error) => refuse(alone, &error),
            }
        }
    }
}

fn answer(group: Vec<Job>, outcomes: Vec<Result<u64>>) {
    for (job, outcome) in group.into_iter().zip(outcomes) {
        // Whoever waited may be gone.
        let _waits = job.done.send(outcome);
    }
}

fn refuse(group: Vec<Job>, error: &StoreError) {
    for job in group {
        let _waits = job.done.send(Err(error.clone()));
    }
}
