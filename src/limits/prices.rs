//! What models cost.
//!
//! A price has a day from which on it holds, so that a change of prices can be entered ahead, and what was spent before
//! keeps what it cost.

use chrono::NaiveDate;

use crate::domain::pattern::matches;
use crate::domain::{Amount, MicroUsd, Usage};

/// A price in micro-USD for a million tokens.
pub type PerMillion = u64;

/// What tokens of a model cost, by kind, in micro-USD for a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Input.
    pub input: PerMillion,
    /// Output.
    pub output: PerMillion,
    /// Input that was read from the cache.
    pub cache_read: PerMillion,
    /// Input that was written to the cache for five minutes.
    pub cache_write: PerMillion,
    /// Input that was written to the cache for an hour.
    pub cache_write_hour: PerMillion,
}

/// What a model costs from a day on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The model, by name; a name that ends in `*` stands for all that begin so.
    pub model: String,
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// What its tokens cost.
    pub rates: Rates,
}

/// What is done with a model that has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownModel {
    /// It is not asked.
    Refuse,
    /// It costs what the dearest one costs, kind by kind.
    Dearest,
    /// It costs nothing.
    Free,
}

/// What was used, as it is priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Tokens.
    pub usage: Usage,
    /// How many of those written to the cache are kept for an hour.
    pub for_an_hour: u64,
}

/// What models cost.
#[derive(Debug, Clone)]
pub struct PriceTable {
    prices: Vec<Price>,
    unknown: UnknownModel,
}

impl PriceTable {
    /// These prices.
    #[must_use]
    pub fn new(prices: Vec<Price>, unknown: UnknownModel) -> Self {
        Self { prices, unknown }
    }

    /// What a model's tokens cost on a day; `None` when it is not to be asked.
    #[must_use]
    pub fn rates(&self, model: &str, day: NaiveDate) -> Option<Rates> {
        let holding = self
            .prices
            .iter()
            .filter(|price| price.from <= day && matches(&price.model, model));
        // The most exact name, and of that the latest day.
        let best = holding.max_by_key(|price| (exactness(&price.model), price.from));
        match (best, self.unknown) {
            (Some(price), _) => Some(price.rates),
            (None, UnknownModel::Refuse) => None,
            (None, UnknownModel::Free) => Some(Rates::default()),
            (None, UnknownModel::Dearest) => Some(self.dearest(day)),
        }
    }

    fn dearest(&self, day: NaiveDate) -> Rates {
        let known = self.prices.iter().filter(|price| price.from <= day);
        known.fold(Rates::default(), |most, Price { rates, .. }| Rates {
            input: most.input.max(rates.input),
            output: most.output.max(rates.output),
            cache_read: most.cache_read.max(rates.cache_read),
            cache_write: most.cache_write.max(rates.cache_write),
            cache_write_hour: most.cache_write_hour.max(rates.cache_write_hour),
        })
    }
}

fn exactness(pattern: &str) -> (bool, usize) {
    (!pattern.ends_with('*'), pattern.len())
}

impl Rates {
    /// What was used costs this much; a part of a micro-USD counts as a whole one.
    #[must_use]
    pub fn cost(&self, used: Used) -> MicroUsd {
        let Usage {
            input_tokens,
            output_tokens,
            cache_read_input_tokens,
            cache_creation_input_tokens,
        } = used.usage;
        let for_an_hour = used.for_an_hour.min(cache_creation_input_tokens);
        let parts = [
            (input_tokens, self.input),
            (output_tokens, self.output),
            (cache_read_input_tokens, self.cache_read),
            (cache_creation_input_tokens - for_an_hour, self.cache_write),
            (for_an_hour, self.cache_write_hour),
        ];
        let sum: u128 = parts
            .into_iter()
            .map(|(tokens, rate)| u128::from(tokens) * u128::from(rate))
            .sum();
        MicroUsd::new(u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// What a request may use at most: each token of its body has two bytes or more, and it answers no longer than it was
    /// asked to.
    #[must_use]
    pub fn estimate(&self, body_bytes: usize, max_tokens: u64) -> Amount {
        let input = body_bytes as u64 / 2 + 1;
        let dearest = self.input.max(self.cache_write).max(self.cache_write_hour);
        let all = Rates {
            input: dearest,
            ..*self
        };
        let usage = Usage {
            input_tokens: input,
            output_tokens: max_tokens,
            ..Usage::default()
        };
        Amount {
            cost: all.cost(Used {
                usage,
                for_an_hour: 0,
            }),
            tokens: usage.total(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(model: &str, from: &str, input: u64) -> Price {
        Price {
            model: model.into(),
            from: from.parse().unwrap(),
            rates: Rates {
                input,
                output: input * 5,
                cache_read: input / 10,
                cache_write: input * 5 / 4,
                cache_write_hour: input * 2,
            },
        }
    }

    fn table(unknown: UnknownModel) -> PriceTable {
        let prices = [
            price("claude-opus-*", "2026-01-01", 5_000_000),
            price("claude-opus-*", "2026-12-01", 4_000_000),
            price("claude-opus-4-1*", "2026-01-01", 15_000_000),
            price("claude-opus-4-1-mini", "2026-01-01", 1_000_000),
        ];
        PriceTable::new(prices.into(), unknown)
    }

    #[test]
    fn the_most_exact_name_and_the_latest_day_count() {
        let table = table(UnknownModel::Refuse);
        let input =
            |model: &str, day: &str| table.rates(model, day.parse().unwrap()).map(|rates| rates.input);
        assert_eq!(input("claude-opus-5", "2026-11-30"), Some(5_000_000));
        assert_eq!(input("claude-opus-5", "2026-12-01"), Some(4_000_000));
        assert_eq!(input("claude-opus-4-1-2025", "2026-12-01"), Some(15_000_000));
        assert_eq!(input("claude-opus-4-1-mini", "2026-12-01"), Some(1_000_000));
        assert_eq!(input("claude-opus-5", "2025-12-31"), None, "not yet");
        assert_eq!(input("other", "2026-12-01"), None);
    }

    #[test]
    fn an_unknown_model_is_refused_free_or_as_dear_as_any() {
        let day = "2026-06-01".parse().unwrap();
        let input = |unknown| table(unknown).rates("other", day).map(|rates| rates.input);
        assert_eq!(input(UnknownModel::Refuse), None);
        assert_eq!(input(UnknownModel::Free), Some(0));
        assert_eq!(input(UnknownModel::Dearest), Some(15_000_000));
    }

    #[test]
    fn each_kind_of_token_has_its_price_and_parts_count_as_wholes() {
        let rates = price("m", "2026-01-01", 5_000_000).rates;
        let cost = |usage: Usage, for_an_hour| rates.cost(Used { usage, for_an_hour }).get();
        let usage = Usage {
            input_tokens: 100,
            output_tokens: 10,
            cache_read_input_tokens: 1000,
            cache_creation_input_tokens: 200,
        };
        assert_eq!(cost(usage, 0), 500 + 250 + 500 + 1250);
        assert_eq!(
            cost(usage, 50),
            500 + 250 + 500 + 937 + 500 + 1,
            "937.5 rounds up"
        );
        let one = Usage {
            cache_read_input_tokens: 1,
            ..Usage::default()
        };
        assert_eq!(cost(one, 0), 1);
        let huge = Usage {
            input_tokens: u64::MAX,
            ..Usage::default()
        };
        assert_eq!(cost(huge, 0), u64::MAX);
    }
}
