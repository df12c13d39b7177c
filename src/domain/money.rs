//! Money, in millionths of a US dollar, so that sums are exact.

use serde::{Deserialize, Serialize};

/// An amount in micro-USD (1 000 000 = 1 USD). Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(u64);

impl MicroUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `micro_usd` millionths of a dollar.
    #[must_use]
    pub const fn new(micro_usd: u64) -> Self {
        Self(micro_usd)
    }

    /// The amount in millionths of a dollar.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount nearest to `usd` dollars; zero for what is negative or not a number.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and a negative or NaN amount is meant to become zero"
    )]
    pub fn from_usd(usd: f64) -> Self {
        Self((usd * 1_000_000.0).round() as u64)
    }

    /// The amount in dollars, for the wire.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact below nine billion dollars")]
    pub fn as_usd(self) -> f64 {
        self.0 as f64 / 1_000_000.0
    }

    /// Whether another account of the same differs by more than rounding: by more than a hundredth, and than 100 micro-USD.
    #[must_use]
    pub const fn differs_from(self, other: Self) -> bool {
        let difference = self.0.abs_diff(other.0);
        let larger = if self.0 > other.0 { self.0 } else { other.0 };
        difference > 100 && difference > larger / 100
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of `self` after taking `other` away; zero when `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Money on the wire: a number of dollars.
pub(super) mod usd {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::MicroUsd;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes fields by reference"
    )]
    pub(in crate::domain) fn serialize<S: Serializer>(
        cost: &MicroUsd,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(cost.as_usd())
    }

    pub(in crate::domain) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<MicroUsd, D::Error> {
        f64::deserialize(deserializer).map(MicroUsd::from_usd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_rounded_to_the_nearest_millionth() {
        assert_eq!(MicroUsd::from_usd(0.004_175), MicroUsd::new(4_175));
        assert_eq!(MicroUsd::from_usd(0.000_000_6), MicroUsd::new(1));
    }

    #[test]
    fn what_is_not_an_amount_is_nothing() {
        assert_eq!(MicroUsd::from_usd(f64::NAN), MicroUsd::ZERO);
        assert_eq!(MicroUsd::from_usd(-1.0), MicroUsd::ZERO);
    }
}
