//! The tree of processes, as `/proc` tells it: who descends from whom, and how much memory that takes.

use std::collections::HashMap;
use std::fs;

use rustix::process::{Pid, Signal, getpid, kill_process};

/// What is known of a process.
#[derive(Debug, Clone, Copy)]
struct Entry {
    pid: u32,
    parent: u32,
}

/// All processes, by their parents.
#[derive(Debug, Default)]
pub struct ProcessTree {
    children: HashMap<u32, Vec<u32>>,
}

impl ProcessTree {
    /// The processes as they are now; none where there is no `/proc`.
    #[must_use]
    pub fn now() -> Self {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(Entry { pid, parent }) = number.and_then(read) {
                children.entry(parent).or_default().push(pid);
            }
        }
        Self { children }
    }

    /// All that descend from a process, itself not included.
    #[must_use]
    pub fn descendants(&self, of: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut next = vec![of];
        while let Some(parent) = next.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                found.push(*child);
                next.push(*child);
            }
        }
        found
    }

    /// The private memory of a process and all that descend from it, in bytes.
    #[must_use]
    pub fn memory_bytes(&self, of: u32) -> u64 {
        let mut all = self.descendants(of);
        all.push(of);
        all.into_iter().map(private_bytes).sum()
    }
}

fn read(pid: u32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let parent = after_name.split_whitespace().nth(1)?.parse().ok()?;
    Some(Entry { pid, parent })
}

/// What a process takes that no other shares, in bytes; zero when it is gone.
fn private_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let anonymous = kilobytes("RssAnon:").unwrap_or(0) + kilobytes("RssShmem:").unwrap_or(0);
    anonymous * 1024
}

/// Kills all that descend from this process.
pub fn kill_descendants() {
    let own = u32::try_from(getpid().as_raw_nonzero().get()).unwrap_or(0);
    for pid in ProcessTree::now().descendants(own) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _gone = kill_process(pid, Signal::KILL);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_a_child_of_its_parent_and_takes_memory() {
        let tree = ProcessTree::now();
        let own = std::process::id();
        let parent = u32::try_from(rustix::process::getppid().unwrap().as_raw_nonzero().get()).unwrap();
        assert!(tree.descendants(parent).contains(&own));
        assert!(tree.memory_bytes(own) > 100_000);
        assert_eq!(tree.memory_bytes(u32::MAX), 0);
    }
}
