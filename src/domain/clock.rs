//! The one source of the current time, so that tests can hold it still.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

/// Tells the time, to the microsecond: what every store keeps, so that a value read back equals the one written.
pub trait Clock: Debug + Send + Sync {
    /// The current time in UTC, cut to whole microseconds.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        whole_microseconds(Utc::now())
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<DateTime<Utc>>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn at(start: DateTime<Utc>) -> Self {
        Self {
            now: Mutex::new(whole_microseconds(start)),
        }
    }

    /// Moves the clock forward (or, with a negative step, back).
    pub fn advance(&self, step: TimeDelta) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now += step;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole_microseconds(time: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only past the year 2262, where the uncut time is still the better answer.
    time.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_has_no_nanoseconds() {
        assert_eq!(SystemClock.now().timestamp_subsec_nanos() % 1_000, 0);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let start = SystemClock.now();
        let clock = ManualClock::at(start);
        assert_eq!(clock.now(), start);
        clock.advance(TimeDelta::seconds(3));
        assert_eq!(clock.now(), start + TimeDelta::seconds(3));
    }
}
