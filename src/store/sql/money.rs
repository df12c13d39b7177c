//! What is done to budgets and to the ledger inside a transaction.
//!
//! Whoever changes money of a tenant locks the tenant first, so that what a budget says is the sum of the ledger's
//! entries whenever anybody can see it. Such transactions are short.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::Transaction;
use super::engine::{Engine, Row};
use super::rows::{from_json, ledger_values, signed, to_json, unsigned};
use super::statement::{Statement, sql};
use crate::domain::budget;
use crate::domain::{
    Amount, Budget, BudgetId, BudgetScope, BudgetStanding, BudgetWarning, EntryId, LedgerEntry, MicroUsd,
    Reservation, Reserved, Spender, TenantId,
};
use crate::store::{Result, StoreError};

/// A budget that something is set aside of, and the period's first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hold {
    budget: BudgetId,
    period_start: NaiveDate,
}

/// Keeps all others off this tenant's money until the transaction ends.
pub(super) async fn lock<E: Engine>(transaction: &mut Transaction<E>, tenant: TenantId) -> Result<()> {
    let lock = sql("SELECT id FROM tenants WHERE id = $1")
        .bind(tenant.as_uuid())
        .push(E::LOCK_ROWS);
    transaction.rows("lock a tenant's money", lock).await.map(|_| ())
}

/// The statement that finds a tenant's budgets and how they stand at `now`.
pub(super) fn select_standings(tenant: TenantId, now: DateTime<Utc>) -> Statement {
    use crate::domain::BudgetPeriod as Period;
    let day = |period: Period| period.start(now).to_string();
    sql("SELECT ")
        .push(BUDGET)
        .push(", budget_use.period_start, spent_micro_usd, spent_tokens, reserved_micro_usd, reserved_tokens \
         FROM budgets LEFT JOIN budget_use ON budget_use.budget_id = budgets.id AND budget_use.period_start = \
         CASE budgets.period WHEN 'day' THEN $1 WHEN 'month' THEN $2 ELSE $3 END WHERE")
    .bind(day(Period::Day))
    .bind(day(Period::Month))
    .bind(day(Period::Total))
    .push_bind(" budgets.tenant_id = ", tenant.as_uuid())
}

/// Those alone that cover the spender.
pub(super) fn covering(statement: Statement, spender: &Spender) -> Statement {
    let mut statement = statement
        .push(" AND (budgets.scope = 'tenant' OR (budgets.scope = 'user'")
        .push_bind(" AND budgets.subject = ", spender.user.as_str())
        .push(") OR (budgets.scope = 'session'")
        .push_bind(" AND budgets.subject = ", spender.session.to_string())
        .push(")");
    if let Some(key) = spender.key {
        statement = statement
            .push(" OR (budgets.scope = 'key'")
            .push_bind(" AND budgets.subject = ", key.to_string())
            .push(")");
    }
    statement.push(")")
}

/// A budget and how it stands; `false` where nothing was counted in its period yet.
pub(super) fn standing(row: &impl Row, now: DateTime<Utc>) -> Result<(BudgetStanding, bool)> {
    let counted = row.text_or_null("period_start")?.is_some();
    let amount = |cost, tokens| -> Result<Amount> {
        Ok(Amount {
            cost: MicroUsd::new(unsigned("amount", row.integer_or_null(cost)?.unwrap_or(0))?),
            tokens: unsigned("amount", row.integer_or_null(tokens)?.unwrap_or(0))?,
        })
    };
    let budget = stored(row)?;
    let standing = BudgetStanding {
        period_start: budget.period.start(now),
        budget,
        spent: amount("spent_micro_usd", "spent_tokens")?,
        reserved: amount("reserved_micro_usd", "reserved_tokens")?,
    };
    Ok((standing, counted))
}

/// What [`stored`] reads.
pub(super) const BUDGET: &str = "id, scope, subject, period, max_micro_usd, max_tokens, created_at";

/// A budget as it is stored.
pub(super) fn stored(row: &impl Row) -> Result<Budget> {
    let scope = BudgetScope::from_parts(&row.text("scope")?, &row.text("subject")?);
    let limit = |column| {
        let limit = row.integer_or_null(column)?;
        limit.map(|limit| unsigned("budget's limit", limit)).transpose()
    };
    let period = row.text("period")?.parse();
    Ok(Budget {
        id: BudgetId::from_uuid(row.uuid("id")?),
        scope: scope.ok_or_else(|| StoreError::corrupt("budget's scope", "it is none"))?,
        period: period.map_err(|error| StoreError::corrupt("budget's period", error))?,
        max_cost: limit("max_micro_usd")?.map(MicroUsd::new),
        max_tokens: limit("max_tokens")?,
        created_at: row.time("created_at")?,
    })
}

/// How the budgets stand that cover a spender, each counted. The tenant is locked.
pub(super) async fn standings<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    spender: &Spender,
    now: DateTime<Utc>,
) -> Result<Vec<BudgetStanding>> {
    let select = covering(select_standings(tenant, now), spender).push(" ORDER BY budgets.id");
    let rows = transaction.rows("find budgets", select).await?;
    let mut standings = Vec::with_capacity(rows.len());
    for row in &rows {
        let (mut standing, counted) = standing(row, now)?;
        if !counted {
            begin_period::<E>(transaction, tenant, &mut standing).await?;
        }
        standings.push(standing);
    }
    Ok(standings)
}

/// Counts what was spent in a period before its budget was asked for the first time.
async fn begin_period<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    standing: &mut BudgetStanding,
) -> Result<()> {
    let sum = select_spent(tenant, standing);
    standing.spent = spent(transaction.row("add up what was spent", sum).await?.as_ref())?;
    let insert = sql(
        "INSERT INTO budget_use (budget_id, period_start, spent_micro_usd, spent_tokens, \
         reserved_micro_usd, reserved_tokens) VALUES ($1, $2, $3, $4, 0, 0)",
    )
    .bind(standing.budget.id.as_uuid())
    .bind(standing.period_start.to_string())
    .bind(signed(standing.spent.cost.get()))
    .bind(signed(standing.spent.tokens));
    transaction
        .run("begin a budget's period", insert)
        .await
        .map(|_| ())
}

/// The statement that adds up what the ledger says was spent in a budget's period.
pub(super) fn select_spent(tenant: TenantId, standing: &BudgetStanding) -> Statement {
    let from = standing
        .period_start
        .and_hms_opt(0, 0, 0)
        .unwrap_or_default()
        .and_utc();
    let mut sums = sql("SELECT CAST(COALESCE(SUM(cost_micro_usd), 0) AS BIGINT) AS cost, \
         CAST(COALESCE(SUM(input_tokens + output_tokens + cache_read_input_tokens + cache_creation_input_tokens), 0) \
         AS BIGINT) AS tokens FROM ledger_entries WHERE")
    .push_bind(" tenant_id = ", tenant.as_uuid())
    .push_bind(" AND at >= ", from);
    if let Some(end) = standing.budget.period.end(from) {
        sums = sums.push_bind(" AND at < ", end);
    }
    match &standing.budget.scope {
        BudgetScope::Tenant => sums,
        BudgetScope::User(user) => sums.push_bind(" AND user_id = ", user.as_str()),
        BudgetScope::Key(key) => sums.push_bind(" AND key_id = ", key.as_uuid()),
        BudgetScope::Session(session) => sums.push_bind(" AND session_id = ", session.as_uuid()),
    }
}

/// What such a sum says.
pub(super) fn spent(row: Option<&impl Row>) -> Result<Amount> {
    let row = row.ok_or_else(|| StoreError::corrupt("sum", "there is none"))?;
    Ok(Amount {
        cost: MicroUsd::new(unsigned("cost", row.integer("cost")?)?),
        tokens: unsigned("tokens", row.integer("tokens")?)?,
    })
}

/// Sets the estimate aside, if every budget lets it.
pub(super) async fn reserve<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    reservation: &Reservation,
) -> Result<Reserved> {
    let entry = &reservation.entry;
    let standings = standings::<E>(transaction, tenant, &entry.spender, entry.at).await?;
    if let Some(refusal) = budget::refusal(&standings) {
        return Ok(refusal);
    }
    let mut holds = Vec::with_capacity(standings.len());
    for standing in standings {
        let hold = Hold {
            budget: standing.budget.id,
            period_start: standing.period_start,
        };
        let reserve = sql(
            "UPDATE budget_use SET reserved_micro_usd = reserved_micro_usd + $3, \
             reserved_tokens = reserved_tokens + $4 WHERE budget_id = $1 AND period_start = $2",
        );
        let reserve = bind_change(reserve, hold, reservation.estimate);
        transaction.run("set aside of a budget", reserve).await?;
        holds.push(hold);
    }
    let insert = sql(
        "INSERT INTO reservations (id, tenant_id, entry, held_by, micro_usd, tokens, renewed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(entry.id.as_uuid())
    .bind(tenant.as_uuid())
    .bind(to_json("write a reservation", entry)?)
    .bind(to_json("write a reservation", &holds)?)
    .bind(signed(reservation.estimate.cost.get()))
    .bind(signed(reservation.estimate.tokens))
    .bind(entry.at);
    transaction.run("store a reservation", insert).await?;
    Ok(Reserved::Granted)
}

fn bind_change(statement: Statement, hold: Hold, amount: Amount) -> Statement {
    statement
        .bind(hold.budget.as_uuid())
        .bind(hold.period_start.to_string())
        .bind(signed(amount.cost.get()))
        .bind(signed(amount.tokens))
}

/// Gives back what was set aside for an entry, if anything is; whether it was.
pub(super) async fn give_back<E: Engine>(transaction: &mut Transaction<E>, id: EntryId) -> Result<bool> {
    let delete =
        sql("DELETE FROM reservations WHERE id = $1 RETURNING held_by, micro_usd, tokens").bind(id.as_uuid());
    let Some(row) = transaction.row("end a reservation", delete).await? else {
        return Ok(false);
    };
    let holds: Vec<Hold> = from_json("reservation", &row.text("held_by")?)?;
    let amount = Amount {
        cost: MicroUsd::new(unsigned("amount", row.integer("micro_usd")?)?),
        tokens: unsigned("amount", row.integer("tokens")?)?,
    };
    for hold in holds {
        let give_back = sql(
            "UPDATE budget_use SET reserved_micro_usd = reserved_micro_usd - $3, \
             reserved_tokens = reserved_tokens - $4 WHERE budget_id = $1 AND period_start = $2",
        );
        let give_back = bind_change(give_back, hold, amount);
        transaction.run("give back to a budget", give_back).await?;
    }
    Ok(true)
}

/// Enters an entry and counts it in the budgets that cover it; the warnings that are due. The tenant is locked.
pub(super) async fn enter<E: Engine>(
    transaction: &mut Transaction<E>,
    tenant: TenantId,
    entry: &LedgerEntry,
) -> Result<Vec<BudgetWarning>> {
    if entry.is_empty() {
        return Ok(Vec::new());
    }
    // Counted before it is entered: a period that begins with it adds up the ledger.
    let standings = standings::<E>(transaction, tenant, &entry.spender, entry.at).await?;
    let insert = sql(
        "INSERT INTO ledger_entries (id, tenant_id, user_id, session_id, turn_id, key_id, model, payer, day, at, \
         input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, cost_micro_usd) VALUES ",
    )
    .push_row(ledger_values(tenant, entry))
    .push(" ON CONFLICT (id) DO NOTHING");
    if transaction.run("enter usage", insert).await? == 0 {
        return Ok(Vec::new());
    }
    let amount = entry.amount();
    let mut warnings = Vec::new();
    for standing in standings {
        let hold = Hold {
            budget: standing.budget.id,
            period_start: standing.period_start,
        };
        let spend = sql("UPDATE budget_use SET spent_micro_usd = spent_micro_usd + $3, \
             spent_tokens = spent_tokens + $4 WHERE budget_id = $1 AND period_start = $2");
        transaction
            .run("count in a budget", bind_change(spend, hold, amount))
            .await?;
        warnings.extend(standing.warning_after(amount));
    }
    Ok(warnings)
}
