//! What a checkpoint costs: the first of a workspace of 10,000 files and 500 MB, and the next ones: when one file changed, and
//! when none did.
//!
//! `cargo bench --bench checkpoints` prints the figures of `docs/PERFORMANCE.md`. Tried only (`cargo test --benches`, `--test`),
//! it does the same with a few.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark may panic, and prints"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use paddock::checkpoints::{CheckpointLimits, Checkpoints, Patience, SessionCheckpoints};
use paddock::domain::{Checkpoint, Clock as _, Moment, SessionId, SystemClock, TenantId, TurnId};

const LIMITS: CheckpointLimits = CheckpointLimits {
    max_bytes: 4 * 1024 * 1024 * 1024,
    max_entries: 200_000,
    max_file_bytes: 100 * 1024 * 1024,
    max_depth: 64,
    max_turns: 50,
    timeout: Duration::from_mins(10),
};
/// How old files are that are not read again.
const SETTLED: Duration = Duration::from_millis(3500);
/// How often the next checkpoint is taken.
const ROUNDS: usize = 9;

fn main() {
    let tried = std::env::args().any(|argument| argument == "--test");
    let measured = std::env::args().any(|argument| argument == "--bench") && !tried;
    let (files, file_bytes) = if measured { (10_000, 50_000) } else { (100, 500) };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let workspace = folder.path().join("workspace");
    fill(&workspace, files, file_bytes);
    std::thread::sleep(SETTLED);
    let dir = Dir::open_ambient_dir(&workspace, ambient_authority()).unwrap();
    let checkpoints = Checkpoints::new(&folder.path().join("checkpoints"), LIMITS);
    let kept = checkpoints.of(
        TenantId::generate(&SystemClock),
        SessionId::generate(&SystemClock),
    );
    let (first, taken) = take(&kept, &dir);
    println!(
        "checkpoints: the first, of {} files and {} bytes: {first:?}",
        taken.files, taken.bytes
    );
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        std::fs::write(workspace.join("7/7"), format!("changed {round}")).unwrap();
        changed.push(take(&kept, &dir).0);
        same.push(take(&kept, &dir).0);
    }
    for (what, mut times) in [("one file changed", changed), ("nothing changed", same)] {
        times.sort();
        let (median, most) = (times.get(times.len() / 2).unwrap(), times.last().unwrap());
        println!(
            "checkpoints: the next, when {what}: {median:?}, at most {most:?}: {:.2} % of the first",
            100.0 * median.as_secs_f64() / first.as_secs_f64()
        );
    }
}

/// Makes so many files in folders of a hundred, none like another.
fn fill(workspace: &Path, files: usize, file_bytes: usize) {
    let mut seed = 1_u64;
    for number in 0..files {
        let folder = workspace.join((number / 100).to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let mut bytes = Vec::with_capacity(file_bytes + 8);
        while bytes.len() < file_bytes {
            // Nothing that a file system could make smaller.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.extend_from_slice(&seed.to_le_bytes());
        }
        bytes.truncate(file_bytes);
        std::fs::write(folder.join((number % 100).to_string()), bytes).unwrap();
    }
    std::fs::create_dir_all(workspace.join("7")).unwrap();
}

fn take(kept: &SessionCheckpoints, dir: &Dir) -> (Duration, Checkpoint) {
    let (turn, began) = (TurnId::generate(&SystemClock), Instant::now());
    let taken = kept
        .take(dir, turn, Moment::Before, SystemClock.now(), &Patience::endless())
        .unwrap();
    (began.elapsed(), taken)
}
