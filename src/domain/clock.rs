//! The one source of the current time, so that tests can hold it still.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
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

/// The machine's clock, put right by another that counts for all: that of the database which several instances share. So
/// their times agree, however wrong their machines' clocks are.
#[derive(Debug, Default)]
pub struct SharedClock {
    /// How wrong the machine's clock is made to be.
    skew: TimeDelta,
    /// What is added to it, in microseconds.
    correction: AtomicI64,
}

impl SharedClock {
    /// A clock of this machine, wrong by `skew` until it is put right.
    #[must_use]
    pub fn wrong_by(skew: TimeDelta) -> Self {
        Self {
            skew,
            correction: AtomicI64::new(0),
        }
    }

    fn of_this_machine(&self) -> DateTime<Utc> {
        SystemClock.now() + self.skew
    }

    /// Puts it right: the other clock showed `right` when this one would have shown the middle of what it shows now and what
    /// it showed `ago`.
    pub fn set(&self, right: DateTime<Utc>, ago: TimeDelta) {
        let here = self.of_this_machine() - ago / 2;
        let correction = (right - here).num_microseconds().unwrap_or(0);
        self.correction.store(correction, Ordering::Relaxed);
    }

    /// How far this machine's clock is behind.
    #[must_use]
    pub fn correction(&self) -> TimeDelta {
        TimeDelta::microseconds(self.correction.load(Ordering::Relaxed))
    }
}

impl Clock for SharedClock {
    fn now(&self) -> DateTime<Utc> {
        self.of_this_machine() + self.correction()
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
    fn a_wrong_clock_is_put_right() {
        let clock = SharedClock::wrong_by(TimeDelta::minutes(7));
        assert!(clock.now() - SystemClock.now() > TimeDelta::minutes(6));
        clock.set(SystemClock.now(), TimeDelta::zero());
        let wrong = clock.now() - SystemClock.now();
        assert!(wrong.abs() < TimeDelta::seconds(1), "{wrong}");
        assert!((clock.correction() + TimeDelta::minutes(7)).abs() < TimeDelta::seconds(1));
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
