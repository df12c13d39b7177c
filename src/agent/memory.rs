//! How much memory all agents take, and what is done when that is too much: idle ones are ended, busy ones never.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::manager::{Agents, Shared};
use crate::guardian::tree::ProcessTree;

impl Agents {
    /// Looks at the memory of all agents, for as long as the server runs.
    pub async fn watch_memory(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.shared.settings.memory_interval) => self.shared.look_at_memory().await,
                () = self.shared.shutdown.begun() => return,
            }
        }
    }

    /// What all agents, and what they started, took of memory when that was last looked at, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.shared.memory_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    async fn look_at_memory(&self) {
        let runtimes: Vec<_> = self.lock_runtimes().values().cloned().collect();
        let mut pids = Vec::new();
        for runtime in &runtimes {
            // One that is just being started or ended is counted the next time.
            if let Ok(slot) = runtime.agent.try_lock() {
                pids.extend(slot.as_ref().and_then(|live| live.agent.pid));
            }
        }
        let counted = tokio::task::spawn_blocking(move || {
            let tree = ProcessTree::now();
            pids.into_iter()
                .map(|pid| (pid, tree.memory_bytes(pid)))
                .collect::<std::collections::HashMap<u32, u64>>()
        });
        let Ok(by_pid) = counted.await else { return };
        let mut total: u64 = by_pid.values().sum();
        self.memory_bytes.store(total, Ordering::Relaxed);
        let limit = self.settings.memory_max_bytes;
        while limit > 0 && total > limit {
            let Some(idle) = self.take_longest_idle(|_| true, Duration::ZERO) else {
                tracing::warn!(
                    total,
                    limit,
                    "agents take more memory than they may, and none of them is idle"
                );
                return;
            };
            let freed = idle
                .agent
                .pid
                .and_then(|pid| by_pid.get(&pid))
                .copied()
                .unwrap_or(0);
            idle.agent.stop().await;
            self.metrics.agent_evicted("memory");
            total = total.saturating_sub(freed.max(1));
            tracing::info!(
                freed,
                total,
                limit,
                "ended an idle agent, since agents took too much memory"
            );
        }
    }
}
