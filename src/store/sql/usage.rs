//! The ledger of usage.

use async_trait::async_trait;

use super::engine::Engine;
use super::rows::{unsigned, usage, usage_record, usage_values};
use super::statement::{Statement, Value, chunks, sql};
use super::{SqlStore, Transaction};
use crate::domain::{MicroUsd, SessionId, TenantId, UsageGroup, UsageQuery, UsageRecord, UsageSum};
use crate::store::{Result, StoreError, UsageLedger};

/// A figure becomes the larger one of that which stands and that which comes. Both engines know this, and no function by
/// the same name.
macro_rules! larger {
    ($column:literal) => {
        concat!(
            $column,
            " = CASE WHEN excluded.",
            $column,
            " > usage_records.",
            $column,
            " THEN excluded.",
            $column,
            " ELSE usage_records.",
            $column,
            " END"
        )
    };
}

#[async_trait]
impl<E: Engine> UsageLedger for SqlStore<E> {
    async fn record_usage(&self, tenant: TenantId, records: &[UsageRecord]) -> Result<()> {
        let rows: Vec<_> = records
            .iter()
            .map(|record| usage_values(tenant, record))
            .collect();
        let mut transaction = self.begin().await?;
        insert_in_tx(&mut transaction, &rows).await?;
        transaction.commit().await
    }

    async fn sum_usage(&self, tenant: TenantId, query: &UsageQuery) -> Result<Vec<UsageSum>> {
        let mut groups = query.by.clone();
        groups.sort_unstable();
        groups.dedup();
        let rows = self
            .read("add up usage", select_sums(tenant, query, &groups))
            .await?;
        let mut sums = rows
            .iter()
            .map(|row| sum(row, &groups))
            .collect::<Result<Vec<_>>>()?;
        // A sum of nothing is no sum, grouped or not.
        sums.retain(|sum| sum.entries > 0);
        sums.sort_unstable();
        Ok(sums)
    }

    async fn list_usage(
        &self,
        tenant: TenantId,
        after: Option<&UsageRecord>,
        limit: u32,
    ) -> Result<Vec<UsageRecord>> {
        let mut statement =
            sql("SELECT * FROM usage_records WHERE").push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(after) = after {
            statement = statement
                .push_bind(" AND (turn_id, model) > (", after.turn.as_uuid())
                .push_bind(", ", after.model.as_str())
                .push(")");
        }
        let statement = statement.push_bind(" ORDER BY turn_id, model LIMIT ", limit);
        let rows = self.read("list usage", statement).await?;
        rows.iter().map(usage_record).collect()
    }
}

/// How each figure of an entry becomes the larger of two.
const FIGURES: [&str; 5] = [
    larger!("input_tokens"),
    larger!("output_tokens"),
    larger!("cache_read_input_tokens"),
    larger!("cache_creation_input_tokens"),
    larger!("cost_micro_usd"),
];

/// Enters rows; of those that are entered already, the larger figures stand.
pub(super) async fn insert_in_tx<E: Engine>(
    transaction: &mut Transaction<E>,
    rows: &[Vec<Value>],
) -> Result<()> {
    for chunk in chunks(rows, E::ROWS_A_STATEMENT) {
        let insert = sql(
            "INSERT INTO usage_records (turn_id, model, tenant_id, session_id, user_id, day, at, input_tokens, \
             output_tokens, cache_read_input_tokens, cache_creation_input_tokens, cost_micro_usd) VALUES ",
        )
        .push_rows(chunk.iter().cloned())
        .push(" ON CONFLICT (turn_id, model) DO UPDATE SET ");
        let insert = FIGURES
            .iter()
            .enumerate()
            .fold(insert, |insert, (index, figure)| {
                insert.push(if index == 0 { "" } else { ", " }).push(figure)
            });
        transaction.run("enter usage", insert).await?;
    }
    Ok(())
}

fn column(group: UsageGroup) -> &'static str {
    match group {
        UsageGroup::Day => "day, ",
        UsageGroup::User => "user_id, ",
        UsageGroup::Session => "session_id, ",
        UsageGroup::Model => "model, ",
    }
}

fn select_sums(tenant: TenantId, query: &UsageQuery, groups: &[UsageGroup]) -> Statement {
    let mut statement = sql("SELECT ");
    for group in groups {
        statement = statement.push(column(*group));
    }
    // A sum is of a wider type than what is added.
    statement = statement
        .push(
            "CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens, \
             CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens, \
             CAST(COALESCE(SUM(cache_read_input_tokens), 0) AS BIGINT) AS cache_read_input_tokens, \
             CAST(COALESCE(SUM(cache_creation_input_tokens), 0) AS BIGINT) AS cache_creation_input_tokens, \
             CAST(COALESCE(SUM(cost_micro_usd), 0) AS BIGINT) AS cost_micro_usd, COUNT(*) AS n \
             FROM usage_records WHERE",
        )
        .push_bind(" tenant_id = ", tenant.as_uuid());
    if let Some(from) = query.from {
        statement = statement.push_bind(" AND at >= ", from);
    }
    if let Some(before) = query.before {
        statement = statement.push_bind(" AND at < ", before);
    }
    if let Some(user) = &query.user {
        statement = statement.push_bind(" AND user_id = ", user.as_str());
    }
    if let Some(session) = query.session {
        statement = statement.push_bind(" AND session_id = ", session.as_uuid());
    }
    let mut before = " GROUP BY ";
    for group in groups {
        statement = statement.push(before).push(column(*group).trim_end_matches(", "));
        before = ", ";
    }
    statement
}

fn sum(row: &impl super::engine::Row, groups: &[UsageGroup]) -> Result<UsageSum> {
    let mut sum = UsageSum {
        usage: usage(row)?,
        cost: MicroUsd::new(unsigned("cost", row.integer("cost_micro_usd")?)?),
        entries: unsigned("count", row.integer("n")?)?,
        ..UsageSum::default()
    };
    for group in groups {
        match group {
            UsageGroup::Day => {
                let day = row.text("day")?.parse();
                sum.day = Some(day.map_err(|error| StoreError::corrupt("day", error))?);
            }
            UsageGroup::User => {
                let user = row.text("user_id")?.parse();
                sum.user = Some(user.map_err(|error| StoreError::corrupt("user id", error))?);
            }
            UsageGroup::Session => sum.session = Some(SessionId::from_uuid(row.uuid("session_id")?)),
            UsageGroup::Model => sum.model = Some(row.text("model")?),
        }
    }
    Ok(sum)
}
