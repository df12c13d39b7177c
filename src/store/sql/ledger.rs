//! The ledger of usage.

use async_trait::async_trait;

use super::SqlStore;
use super::engine::{Engine, Row};
use super::money;
use super::rows::{LEDGER_ENTRY, ledger_entry, unsigned, usage};
use super::statement::{Statement, select, sql};
use crate::domain::{
    EntryId, KeyId, LedgerEntry, MicroUsd, SessionId, TenantId, UsageGroup, UsageQuery, UsageSum,
};
use crate::store::{Result, StoreError, UsageLedger};

#[async_trait]
impl<E: Engine> UsageLedger for SqlStore<E> {
    async fn enter_usage(&self, tenant: TenantId, entries: &[LedgerEntry]) -> Result<()> {
        let mut transaction = self.begin().await?;
        money::lock::<E>(&mut transaction, tenant).await?;
        for entry in entries {
            money::enter::<E>(&mut transaction, tenant, entry).await?;
        }
        transaction.commit().await
    }

    async fn sum_usage(&self, tenant: Option<TenantId>, query: &UsageQuery) -> Result<Vec<UsageSum>> {
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
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>> {
        let mut statement =
            select(LEDGER_ENTRY, " FROM ledger_entries WHERE").push_bind(" tenant_id = ", tenant.as_uuid());
        if let Some(after) = after {
            statement = statement.push_bind(" AND id > ", after.as_uuid());
        }
        let statement = statement.push_bind(" ORDER BY id LIMIT ", limit);
        let rows = self.read("list usage", statement).await?;
        rows.iter().map(ledger_entry).collect()
    }
}

fn column(group: UsageGroup) -> &'static str {
    match group {
        UsageGroup::Day => "day, ",
        UsageGroup::Tenant => "tenant_id, ",
        UsageGroup::User => "user_id, ",
        UsageGroup::Key => "key_id, ",
        UsageGroup::Session => "session_id, ",
        UsageGroup::Model => "model, ",
    }
}

fn select_sums(tenant: Option<TenantId>, query: &UsageQuery, groups: &[UsageGroup]) -> Statement {
    let mut statement = sql("SELECT ");
    for group in groups {
        statement = statement.push(column(*group));
    }
    // A sum is of a wider type than what is added.
    statement = statement.push(
        "CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens, \
         CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens, \
         CAST(COALESCE(SUM(cache_read_input_tokens), 0) AS BIGINT) AS cache_read_input_tokens, \
         CAST(COALESCE(SUM(cache_creation_input_tokens), 0) AS BIGINT) AS cache_creation_input_tokens, \
         CAST(COALESCE(SUM(cost_micro_usd), 0) AS BIGINT) AS cost_micro_usd, COUNT(*) AS n \
         FROM ledger_entries WHERE",
    );
    // Of any time, where none is asked for.
    let from = query.from.unwrap_or(chrono::DateTime::UNIX_EPOCH);
    statement = statement.push_bind(" at >= ", from);
    if let Some(tenant) = tenant {
        statement = statement.push_bind(" AND tenant_id = ", tenant.as_uuid());
    }
    if let Some(before) = query.before {
        statement = statement.push_bind(" AND at < ", before);
    }
    if let Some(user) = &query.user {
        statement = statement.push_bind(" AND user_id = ", user.as_str());
    }
    if let Some(key) = query.key {
        statement = statement.push_bind(" AND key_id = ", key.as_uuid());
    }
    if let Some(session) = query.session {
        statement = statement.push_bind(" AND session_id = ", session.as_uuid());
    }
    if let Some(turn) = query.turn {
        statement = statement.push_bind(" AND turn_id = ", turn.as_uuid());
    }
    let mut before = " GROUP BY ";
    for group in groups {
        statement = statement.push(before).push(column(*group).trim_end_matches(", "));
        before = ", ";
    }
    statement
}

fn sum(row: &impl Row, groups: &[UsageGroup]) -> Result<UsageSum> {
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
            UsageGroup::Tenant => sum.tenant = Some(TenantId::from_uuid(row.uuid("tenant_id")?)),
            UsageGroup::User => {
                let user = row.text("user_id")?.parse();
                sum.user = Some(user.map_err(|error| StoreError::corrupt("user id", error))?);
            }
            UsageGroup::Key => sum.key = row.uuid_or_null("key_id")?.map(KeyId::from_uuid),
            UsageGroup::Session => sum.session = Some(SessionId::from_uuid(row.uuid("session_id")?)),
            UsageGroup::Model => sum.model = Some(row.text("model")?),
        }
    }
    Ok(sum)
}
