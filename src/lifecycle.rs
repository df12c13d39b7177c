//! How the server ends, and where its background work runs.
//!
//! Three tokens: the soft one says "take no new work", the next "let go of those who follow", the hard one "stop now". Work that must outlive the request
//! that began it is spawned through [`Tasks`], on the main runtime: a task spawned on an HTTP worker dies with it.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks on the main runtime and waits for them at the end.
#[derive(Debug, Clone)]
pub struct Tasks {
    handle: Handle,
    tracker: TaskTracker,
}

impl Tasks {
    /// Spawns on `handle`, which must be a runtime that lives as long as the server.
    #[must_use]
    pub fn on(handle: Handle) -> Self {
        Self {
            handle,
            tracker: TaskTracker::new(),
        }
    }

    /// Runs `future` to its end, whoever started it.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn_on(future, &self.handle)
    }

    /// Waits until every task has ended, at most `limit`; whether they all did.
    pub async fn wait(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }

    /// How many tasks have not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }
}

/// The tokens of an orderly end, in their order.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    streams: CancellationToken,
    hard: CancellationToken,
}

impl Shutdown {
    /// Nothing has been asked to end.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says: take no new work.
    pub fn begin(&self) {
        self.soft.cancel();
    }

    /// Says: whoever follows something is to be let go; nothing more will come.
    pub fn end_streams(&self) {
        self.streams.cancel();
    }

    /// Ends when whoever follows something is to be let go.
    pub async fn streams_to_end(&self) {
        self.streams.cancelled().await;
    }

    /// Says: stop now.
    pub fn force(&self) {
        self.soft.cancel();
        self.streams.cancel();
        self.hard.cancel();
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Ends when new work is refused.
    pub async fn begun(&self) {
        self.soft.cancelled().await;
    }

    /// Ends when everything has to stop.
    pub async fn forced(&self) {
        self.hard.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_outlives_the_runtime_that_asked_for_it() {
        let main = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let tasks = Tasks::on(main.handle().clone());
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        worker.block_on(async {
            tasks.spawn(async move {
                released.await.unwrap();
                done.send(()).unwrap();
            });
        });
        drop(worker);
        release.send(()).unwrap();
        is_done
            .recv_timeout(Duration::from_secs(10))
            .expect("the task went on");
    }

    #[tokio::test]
    async fn force_is_also_a_beginning() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.has_begun());
        shutdown.force();
        assert!(shutdown.has_begun());
        shutdown.forced().await;
    }
}
