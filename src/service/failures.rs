//! Which refused credentials are entered in the audit. Whoever guesses keys must not be able to fill it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::network_of;

/// From one place, one is noted in so long.
const WINDOW: Duration = Duration::from_mins(1);
/// From everywhere, so many are noted in that time.
const NOTES_MAX: u32 = 60;
/// The most places that are told apart.
const PLACES_MAX: usize = 10_000;

/// Counts refusals by place.
#[derive(Debug, Default)]
pub(super) struct Failures {
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// Since when the notes are counted, and how many there were.
    window: Option<(Instant, u32)>,
    /// When one was noted last, and how many were not since.
    places: HashMap<Option<IpAddr>, (Instant, u64)>,
}

impl Failures {
    /// Whether a refusal is to be noted, and if so, how many from the same place were not before it.
    pub(super) fn count(&self, address: Option<IpAddr>) -> Option<u64> {
        let now = Instant::now();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = &mut *counted;
        let place = address.map(network_of);
        if let Some((since, unnoted)) = counted.places.get_mut(&place)
            && now.duration_since(*since) < WINDOW
        {
            *unnoted += 1;
            return None;
        }
        let window = counted.window.get_or_insert((now, 0));
        if now.duration_since(window.0) >= WINDOW {
            *window = (now, 0);
        }
        if window.1 >= NOTES_MAX {
            return None;
        }
        window.1 += 1;
        if counted.places.len() >= PLACES_MAX {
            counted
                .places
                .retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        let before = counted.places.insert(place, (now, 0));
        Some(before.map_or(0, |(_, unnoted)| unnoted))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_many_refusals_of_one_place_a_few_are_noted_and_the_others_counted() {
        let failures = Failures::default();
        let place = Some("192.0.2.1".parse().unwrap());
        assert_eq!(failures.count(place), Some(0));
        for _ in 0..7 {
            assert_eq!(failures.count(place), None);
        }
        assert_eq!(failures.count(Some("192.0.2.2".parse().unwrap())), Some(0));
        tokio::time::advance(WINDOW).await;
        assert_eq!(failures.count(place), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_changes_addresses_does_not_fill_the_audit() {
        let failures = Failures::default();
        let noted = |number: u32, network: u32| {
            let address = Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(number));
            failures.count(Some(address.into())).is_some()
        };
        assert_eq!((0..100).filter(|number| noted(*number, 1)).count(), 1);
        assert_eq!((0..1000).filter(|network| noted(0, *network)).count(), 59);
    }
}
