//! `model.prices`: what models cost.

use std::collections::HashSet;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::require;

/// The dearest price that is believed to be meant, in USD for a million tokens.
const PRICE_MAX_USD: f64 = 1_000_000.0;

/// What a model costs from a day on, in USD for a million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    /// The model, by name; a name that ends in `*` stands for all that begin so.
    pub model: String,
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// Input.
    pub input_usd: f64,
    /// Output.
    pub output_usd: f64,
    /// Input that was read from the cache.
    pub cache_read_usd: f64,
    /// Input that was written to the cache for five minutes; null: 1.25 times the price of input.
    #[serde(default)]
    pub cache_write_usd: Option<f64>,
    /// Input that was written to the cache for an hour; null: twice the price of input.
    #[serde(default)]
    pub cache_write_hour_usd: Option<f64>,
}

/// What is done with a model that has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPrice {
    /// It is not asked.
    Refuse,
    /// It costs what the dearest one costs, kind by kind.
    Dearest,
    /// It costs nothing.
    Free,
}

/// What the models cost that the CLI offers, as it counts itself (version 2.1.329, measured on 2026-11-21).
pub(super) fn known() -> Vec<PriceSettings> {
    [
        ("claude-opus-5-5*", 4.0, 20.0, 0.2),
        ("claude-opus-5*", 5.0, 25.0, 0.5),
        ("claude-opus-4-8*", 5.0, 25.0, 0.5),
        ("claude-opus-4-7*", 5.0, 25.0, 0.5),
        ("claude-opus-4-6*", 5.0, 25.0, 0.5),
        ("claude-opus-4-5*", 5.0, 25.0, 0.5),
        ("claude-sonnet-5-5*", 2.0, 10.0, 0.1),
        ("claude-sonnet-5*", 2.0, 10.0, 0.2),
        ("claude-sonnet-4*", 3.0, 15.0, 0.3),
        ("claude-haiku-5-5*", 0.1, 0.5, 0.01),
        ("claude-haiku-4-5*", 1.0, 5.0, 0.1),
        ("claude-fable-5-2*", 8.0, 40.0, 0.2),
        ("claude-fable-5-1*", 10.0, 50.0, 0.25),
        ("claude-fable-5*", 10.0, 50.0, 1.0),
        ("claude-mythos-5-2*", 8.0, 40.0, 0.2),
        ("claude-mythos-5*", 10.0, 50.0, 1.0),
    ]
    .map(|(model, input_usd, output_usd, cache_read_usd)| PriceSettings {
        model: model.to_owned(),
        from: NaiveDate::default(),
        input_usd,
        output_usd,
        cache_read_usd,
        cache_write_usd: None,
        cache_write_hour_usd: None,
    })
    .into()
}

pub(super) fn check(prices: &[PriceSettings], problems: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (index, price) in prices.iter().enumerate() {
        let at = format!("model.prices[{index}]");
        require(
            !price.model.is_empty() && seen.insert((&price.model, price.from)),
            problems,
            &format!("{at}.model: must not be empty, and have one price from a day on"),
        );
        let given = [
            Some(price.input_usd),
            Some(price.output_usd),
            Some(price.cache_read_usd),
            price.cache_write_usd,
            price.cache_write_hour_usd,
        ];
        let good = |usd: &f64| (0.0..=PRICE_MAX_USD).contains(usd);
        require(
            given.iter().flatten().all(good),
            problems,
            &format!("{at}: prices must lie between 0 and {PRICE_MAX_USD} USD for a million tokens"),
        );
    }
}
