//! Budgets: how much may be spent, by whom, in what time; and what a request would add.
//!
//! A request is let through while less than the limit is spent and set aside; what it may cost at most is set aside until
//! it is known what it did cost. So what is spent passes a limit by one request at most, however many run at once.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::ledger::Spender;
use super::{BudgetId, KeyId, MicroUsd, SessionId, UserId};

/// An amount of money and of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Money.
    pub cost: MicroUsd,
    /// Tokens of all kinds.
    pub tokens: u64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cost: self.cost.plus(other.cost),
            tokens: self.tokens.saturating_add(other.tokens),
        }
    }

    /// What is left after taking `other` away.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            cost: self.cost.saturating_sub(other.cost),
            tokens: self.tokens.saturating_sub(other.tokens),
        }
    }
}

/// Whose spending counts against a budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// All of the tenant's.
    Tenant,
    /// One user's.
    User(UserId),
    /// One key's.
    Key(KeyId),
    /// One session's.
    Session(SessionId),
}

impl BudgetScope {
    /// Its kind, as it is stored.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::Session(_) => "session",
        }
    }

    /// Whose, as it is stored; nothing for the tenant itself.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Tenant => String::new(),
            Self::User(user) => user.to_string(),
            Self::Key(key) => key.to_string(),
            Self::Session(session) => session.to_string(),
        }
    }

    /// The scope that was stored so.
    #[must_use]
    pub fn from_parts(kind: &str, subject: &str) -> Option<Self> {
        match kind {
            "tenant" => Some(Self::Tenant),
            "user" => subject.parse().ok().map(Self::User),
            "key" => subject.parse().ok().map(Self::Key),
            "session" => subject.parse().ok().map(Self::Session),
            _ => None,
        }
    }

    /// Whether what this one spends counts.
    #[must_use]
    pub fn covers(&self, spender: &Spender) -> bool {
        match self {
            Self::Tenant => true,
            Self::User(user) => spender.user == *user,
            Self::Key(key) => spender.key == Some(*key),
            Self::Session(session) => spender.session == *session,
        }
    }
}

/// In what time.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BudgetPeriod {
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
    /// All time.
    Total,
}

impl BudgetPeriod {
    /// The day on which the period began that `now` lies in.
    #[must_use]
    pub fn start(self, now: DateTime<Utc>) -> NaiveDate {
        let today = now.date_naive();
        match self {
            Self::Day => today,
            Self::Month => today.with_day(1).unwrap_or(today),
            Self::Total => DateTime::<Utc>::UNIX_EPOCH.date_naive(),
        }
    }

    /// When the next one begins; never for all time.
    #[must_use]
    pub fn end(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let months = match self {
            Self::Day => {
                return self
                    .start(now)
                    .succ_opt()?
                    .and_hms_opt(0, 0, 0)
                    .map(|end| end.and_utc());
            }
            Self::Month => chrono::Months::new(1),
            Self::Total => return None,
        };
        let next = self.start(now).checked_add_months(months)?;
        next.and_hms_opt(0, 0, 0).map(|end| end.and_utc())
    }
}

/// How much may be spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// Whose spending counts.
    pub scope: BudgetScope,
    /// In what time.
    pub period: BudgetPeriod,
    /// The most money; any when absent.
    pub max_cost: Option<MicroUsd>,
    /// The most tokens; any when absent.
    pub max_tokens: Option<u64>,
    /// When it was first set.
    pub created_at: DateTime<Utc>,
}

impl Budget {
    /// What it is called for those whose requests it stops.
    #[must_use]
    pub fn describe(&self) -> String {
        let (kind, period) = (self.scope.kind(), self.period);
        match self.scope.subject() {
            subject if subject.is_empty() => format!("{kind} by {period}"),
            subject => format!("{kind} {subject} by {period}"),
        }
    }
}

/// How a budget stands in its period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStanding {
    /// The budget.
    pub budget: Budget,
    /// When the period began.
    pub period_start: NaiveDate,
    /// What was spent in it.
    pub spent: Amount,
    /// What requests that run may spend at most.
    pub reserved: Amount,
}

/// Whether a budget lets a request through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetVerdict {
    /// It does.
    Open,
    /// Not before requests that run have told what they cost.
    Waits,
    /// It does not: all is spent.
    Exhausted,
}

/// The parts of a budget at which is warned, in percent.
pub const WARNING_PERCENTS: [u64; 2] = [75, 95];

impl BudgetStanding {
    /// Whether it lets a request through.
    #[must_use]
    pub fn verdict(&self) -> BudgetVerdict {
        let reached = |amount: Amount| {
            self.budget.max_cost.is_some_and(|most| amount.cost >= most)
                || self.budget.max_tokens.is_some_and(|most| amount.tokens >= most)
        };
        if reached(self.spent) {
            BudgetVerdict::Exhausted
        } else if reached(self.spent.plus(self.reserved)) {
            BudgetVerdict::Waits
        } else {
            BudgetVerdict::Open
        }
    }

    /// How much of it is spent, in percent, of money or of tokens, whichever is more.
    #[must_use]
    pub fn percent(&self) -> u64 {
        percent(&self.budget, self.spent)
    }

    /// The warning that is due when `amount` more is spent, if one is.
    #[must_use]
    pub fn warning_after(&self, amount: Amount) -> Option<BudgetWarning> {
        let before = self.percent();
        let spent = self.spent.plus(amount);
        let after = percent(&self.budget, spent);
        let passed = WARNING_PERCENTS
            .into_iter()
            .rev()
            .find(|warned| before < *warned && after >= *warned)?;
        Some(BudgetWarning {
            budget: self.budget.clone(),
            percent: passed,
            spent,
        })
    }
}

fn percent(budget: &Budget, spent: Amount) -> u64 {
    let part = |spent: u64, most: Option<u64>| match most {
        None => 0,
        Some(0) => 100,
        Some(most) => u64::try_from(u128::from(spent) * 100 / u128::from(most)).unwrap_or(u64::MAX),
    };
    part(spent.cost.get(), budget.max_cost.map(MicroUsd::get)).max(part(spent.tokens, budget.max_tokens))
}

/// A budget of which much is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetWarning {
    /// The budget.
    pub budget: Budget,
    /// The part that was passed, in percent.
    pub percent: u64,
    /// What is spent.
    pub spent: Amount,
}

/// What a session is told of a budget of which much is spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetNotice {
    /// Whose spending counts: `tenant`, `user`, `key` or `session`.
    #[schema(example = "tenant")]
    pub scope: String,
    /// Which user, key or session.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(example = "alice")]
    pub subject: Option<String>,
    /// In what time.
    pub period: BudgetPeriod,
    /// The part that was passed, in percent: 75 or 95.
    #[schema(example = 75)]
    pub percent: u64,
    /// What was spent, in USD.
    #[serde(rename = "spent_usd", with = "super::money::usd")]
    #[schema(value_type = f64, example = 18.75)]
    pub spent: MicroUsd,
    /// The tokens that were used, of all kinds.
    #[schema(example = 2_400_000)]
    pub spent_tokens: u64,
}

impl From<&BudgetWarning> for BudgetNotice {
    fn from(warning: &BudgetWarning) -> Self {
        let subject = warning.budget.scope.subject();
        Self {
            scope: warning.budget.scope.kind().to_owned(),
            subject: (!subject.is_empty()).then_some(subject),
            period: warning.budget.period,
            percent: warning.percent,
            spent: warning.spent.cost,
            spent_tokens: warning.spent.tokens,
        }
    }
}

/// What came of asking budgets for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// It may go, and its amount is set aside.
    Granted,
    /// It may not go before others have told what they cost.
    Waits(Box<Budget>),
    /// It may not go: all is spent.
    Exhausted(Box<Budget>),
}

/// The first of these that does not let a request through, exhausted ones before those that wait.
#[must_use]
pub fn refusal(standings: &[BudgetStanding]) -> Option<Reserved> {
    let first = |wanted| standings.iter().find(|standing| standing.verdict() == wanted);
    let budget = |standing: &BudgetStanding| Box::new(standing.budget.clone());
    first(BudgetVerdict::Exhausted)
        .map(|standing| Reserved::Exhausted(budget(standing)))
        .or_else(|| first(BudgetVerdict::Waits).map(|standing| Reserved::Waits(budget(standing))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Clock as _, SystemClock};

    fn standing(most: u64, spent: u64, reserved: u64) -> BudgetStanding {
        let cost = |cost| Amount {
            cost: MicroUsd::new(cost),
            tokens: 0,
        };
        BudgetStanding {
            budget: Budget {
                id: BudgetId::generate(&SystemClock),
                scope: BudgetScope::Tenant,
                period: BudgetPeriod::Day,
                max_cost: Some(MicroUsd::new(most)),
                max_tokens: None,
                created_at: SystemClock.now(),
            },
            period_start: SystemClock.now().date_naive(),
            spent: cost(spent),
            reserved: cost(reserved),
        }
    }

    #[test]
    fn a_budget_is_open_while_less_than_its_limit_is_spent_and_set_aside() {
        for (most, spent, reserved, verdict) in [
            (100, 0, 0, BudgetVerdict::Open),
            (100, 60, 39, BudgetVerdict::Open),
            (100, 60, 40, BudgetVerdict::Waits),
            (100, 100, 0, BudgetVerdict::Exhausted),
            (100, 140, 0, BudgetVerdict::Exhausted),
            (0, 0, 0, BudgetVerdict::Exhausted),
        ] {
            assert_eq!(
                standing(most, spent, reserved).verdict(),
                verdict,
                "{most} {spent} {reserved}"
            );
        }
    }

    #[test]
    fn a_warning_is_given_once_for_each_part_and_the_highest_counts() {
        let warning = |spent: u64, more: u64| {
            let amount = Amount {
                cost: MicroUsd::new(more),
                tokens: 0,
            };
            standing(100, spent, 0)
                .warning_after(amount)
                .map(|warning| warning.percent)
        };
        assert_eq!(warning(0, 74), None);
        assert_eq!(warning(74, 1), Some(75));
        assert_eq!(warning(75, 10), None);
        assert_eq!(warning(10, 90), Some(95));
        assert_eq!(warning(96, 10), None);
    }

    #[test]
    fn periods_begin_and_end_in_utc() {
        let now = "2026-12-31T23:59:59Z".parse().unwrap();
        let start = |period: BudgetPeriod| period.start(now).to_string();
        assert_eq!(start(BudgetPeriod::Day), "2026-12-31");
        assert_eq!(start(BudgetPeriod::Month), "2026-12-01");
        assert_eq!(start(BudgetPeriod::Total), "1970-01-01");
        let next = "2027-01-01T00:00:00Z".parse().ok();
        assert_eq!(BudgetPeriod::Day.end(now), next);
        assert_eq!(BudgetPeriod::Month.end(now), next);
        assert_eq!(BudgetPeriod::Total.end(now), None);
    }
}
