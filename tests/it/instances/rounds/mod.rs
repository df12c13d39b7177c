//! Rounds of random work on three instances behind nginx, with random faults; and a checker of what everyone saw.
//!
//! They take the machine for themselves, so `make test` runs them alone. Each round has a seed, which is printed: `PADDOCK_ROUNDS_SEED` plays from there again. `PADDOCK_ROUNDS` says how many.
//! What is held, whatever happens to instances, database and network:
//!
//! - ids of a session's log rise strictly, and no id ever means two things, whoever told it;
//! - what was acknowledged is in the log, once, and has exactly one end;
//! - a request that is sent again, to whichever instance, runs once; no prompt is twice in the conversation;
//! - whoever follows, cut off at random and going on anywhere, sees the log, all of it, in order;
//! - no process is left over.

mod actors;
mod chance;
mod checker;
mod place;

use std::sync::Arc;
use std::time::Duration;

use actors::Round;
use chance::Chance;
use place::{Fault, Place};

/// How many rounds there are with the stand-in, and with the real CLI.
const ROUNDS: u64 = 54;
const REAL_ROUNDS: u64 = 6;
/// How long a round's work goes on.
const WORK: Duration = Duration::from_millis(1500);

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Which rounds to play: the first one's seed, and how many.
fn rounds(usual: u64, share: u64) -> std::ops::Range<u64> {
    let first = number("PADDOCK_ROUNDS_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 1000);
    let count = number("PADDOCK_ROUNDS").map_or(usual, |all| (all * share / (ROUNDS + REAL_ROUNDS)).max(1));
    first..first + count
}

async fn play(place: &mut Place, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut chance = Chance::new(seed);
        let fault = Fault::pick(&mut chance, place.size());
        println!("round {seed}: {fault:?}");
        let began = std::time::Instant::now();
        let round = Arc::new(Round::begin(place.doors(), place.speaks(), seed).await);
        let mut apart = chance.fork();
        let work = actors::work(&round, &mut apart, WORK);
        let ((), ()) = tokio::join!(work, place.suffer(fault, &mut chance));
        let worked = began.elapsed();
        place.heal().await;
        let healed = began.elapsed();
        let seen = round.settle().await;
        checker::check(&seen, seed);
        println!(
            "  worked until {worked:.1?}, healed at {healed:.1?}, settled at {:.1?}",
            began.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the machine for itself: `make test` runs it alone"]
async fn nothing_is_lost_or_done_twice_whatever_happens_to_instances() {
    let mut place = Place::open(place::Speaks::StandIn).await;
    play(&mut place, rounds(ROUNDS, ROUNDS)).await;
    place.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes the machine for itself: `make test` runs it alone"]
async fn nothing_is_lost_or_done_twice_with_the_real_cli() {
    let mut place = Place::open(place::Speaks::RealCli).await;
    play(&mut place, rounds(REAL_ROUNDS, REAL_ROUNDS)).await;
    place.close().await;
}
