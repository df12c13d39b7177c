//! Rates: how often something may be done. A bucket holds a minute's worth, and fills up evenly.

use std::num::NonZeroU32;
use std::time::Duration;

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: NonZeroU32,
}

/// The time in which an empty bucket fills up, in microseconds.
const MINUTE: u64 = 60_000_000;

/// What came of taking from a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// How many were taken: none, or up to as many as were wanted.
    pub taken: u32,
    /// How many are left.
    pub left: u32,
    /// When the bucket is empty no more, where nothing was taken.
    pub wait: Duration,
    /// When it is full again.
    pub full_in: Duration,
}

impl Rate {
    /// So many a minute; `None` for zero, which is no limit.
    #[must_use]
    pub fn per_minute(times: u32) -> Option<Self> {
        NonZeroU32::new(times).map(|per_minute| Self { per_minute })
    }

    /// How many a full bucket holds.
    #[must_use]
    pub const fn limit(self) -> u32 {
        self.per_minute.get()
    }

    /// Takes up to `wanted` from a bucket that is full at `full_at`, in microseconds; what came of it, and when the bucket
    /// is full then.
    #[must_use]
    pub fn take(self, full_at: u64, now: u64, wanted: u32) -> (Taken, u64) {
        let interval = MINUTE / u64::from(self.limit());
        let full_at = full_at.max(now);
        // Each that is missing takes an interval to come back.
        let room = MINUTE.saturating_sub(full_at - now);
        let there = u32::try_from(room / interval.max(1))
            .unwrap_or(u32::MAX)
            .min(self.limit());
        let taken = there.min(wanted);
        let full_at = full_at + u64::from(taken) * interval;
        let wait = if taken == 0 && wanted > 0 {
            interval - (room % interval.max(1)).min(interval)
        } else {
            0
        };
        let answer = Taken {
            taken,
            left: there - taken,
            wait: Duration::from_micros(wait),
            full_in: Duration::from_micros(full_at - now),
        };
        (answer, full_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_holds_a_minutes_worth_and_fills_up_evenly() {
        let rate = Rate::per_minute(6).unwrap();
        let mut full_at = 0;
        for left in (0..6).rev() {
            let (taken, then) = rate.take(full_at, 0, 1);
            assert_eq!((taken.taken, taken.left), (1, left));
            full_at = then;
        }
        let (none, _) = rate.take(full_at, 0, 1);
        assert_eq!((none.taken, none.wait), (0, Duration::from_secs(10)));
        let (none, _) = rate.take(full_at, 4_000_000, 1);
        assert_eq!(none.wait, Duration::from_secs(6));
        let (one, _) = rate.take(full_at, 10_000_000, 5);
        assert_eq!((one.taken, one.full_in), (1, Duration::from_mins(1)));
        assert_eq!(Rate::per_minute(0), None);
    }

    proptest! {
        #[test]
        fn in_no_minute_is_more_taken_than_twice_the_limit_and_in_the_long_run_the_limit(
            limit in 1..500_u32,
            steps in proptest::collection::vec((0..2_000_000_u64, 1..20_u32), 1..300),
        ) {
            let rate = Rate::per_minute(limit).unwrap();
            let (mut now, mut full_at, mut total) = (0, 0, 0_u64);
            for (later, wanted) in steps {
                now += later;
                let (taken, then) = rate.take(full_at, now, wanted);
                prop_assert!(taken.taken <= wanted);
                full_at = then;
                total += u64::from(taken.taken);
                // A full bucket, and what came since.
                let interval = MINUTE / u64::from(limit);
                prop_assert!(total <= u64::from(limit) + now / interval);
            }
        }
    }
}
