//! Budgets, and what requests that run may spend.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::engine::{Engine, Row as _};
use super::rows::{from_json, signed, to_json};
use super::statement::{Statement, sql};
use super::{SqlStore, audit, money};
use crate::domain::{
    AuditNote, Budget, BudgetId, BudgetStanding, BudgetWarning, LedgerEntry, MicroUsd, Reservation, Reserved,
    Spender, TenantId,
};
use crate::store::{BudgetStore, Result, StoreError};

#[async_trait]
impl<E: Engine> BudgetStore for SqlStore<E> {
    async fn set_budget(&self, tenant: TenantId, budget: &Budget, note: &AuditNote) -> Result<Budget> {
        let mut transaction = self.begin().await?;
        let set = insert(tenant, budget).push(
            " ON CONFLICT (tenant_id, scope, subject, period) DO UPDATE SET max_micro_usd = excluded.max_micro_usd, \
             max_tokens = excluded.max_tokens RETURNING ",
        ).push(money::BUDGET);
        let row = transaction.row("set a budget", set).await?;
        let row = row.ok_or_else(|| StoreError::corrupt("budget", "it was not stored"))?;
        let stored = money::stored(&row)?;
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(stored)
    }

    async fn remove_budget(&self, tenant: TenantId, id: BudgetId, note: &AuditNote) -> Result<bool> {
        let mut transaction = self.begin().await?;
        money::lock::<E>(&mut transaction, tenant).await?;
        let remove = sql("DELETE FROM budgets WHERE id = $1 AND tenant_id = $2")
            .bind(id.as_uuid())
            .bind(tenant.as_uuid());
        if transaction.run("remove a budget", remove).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        audit::append_in_tx(&mut transaction, note).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn list_budgets(
        &self,
        tenant: TenantId,
        spender: Option<&Spender>,
        now: DateTime<Utc>,
        after: Option<BudgetId>,
        limit: u32,
    ) -> Result<Vec<BudgetStanding>> {
        let mut select = money::select_standings(tenant, now);
        if let Some(spender) = spender {
            select = money::covering(select, spender);
        }
        if let Some(after) = after {
            select = select.push_bind(" AND budgets.id > ", after.as_uuid());
        }
        let select = select.push_bind(" ORDER BY budgets.id LIMIT ", limit);
        let mut standings = Vec::new();
        for row in &self.read("list budgets", select).await? {
            let (mut standing, counted) = money::standing(row, now)?;
            if !counted {
                let sum = money::select_spent(tenant, &standing);
                standing.spent = money::spent(self.read_one("add up what was spent", sum).await?.as_ref())?;
            }
            standings.push(standing);
        }
        Ok(standings)
    }

    async fn reserve(&self, tenant: TenantId, reservation: &Reservation) -> Result<Reserved> {
        let mut transaction = self.begin().await?;
        money::lock::<E>(&mut transaction, tenant).await?;
        let reserved = money::reserve::<E>(&mut transaction, tenant, reservation).await?;
        transaction.commit().await?;
        Ok(reserved)
    }

    async fn note_seen(&self, tenant: TenantId, seen: &LedgerEntry, now: DateTime<Utc>) -> Result<()> {
        let note =
            sql("UPDATE reservations SET entry = $3, renewed_at = $4 WHERE id = $1 AND tenant_id = $2")
                .bind(seen.id.as_uuid())
                .bind(tenant.as_uuid())
                .bind(to_json("write a reservation", seen)?)
                .bind(now);
        self.write("note what was seen of a request", note)
            .await
            .map(|_| ())
    }

    async fn settle(&self, tenant: TenantId, entry: &LedgerEntry) -> Result<Vec<BudgetWarning>> {
        let mut transaction = self.begin().await?;
        money::lock::<E>(&mut transaction, tenant).await?;
        money::give_back::<E>(&mut transaction, entry.id).await?;
        let warnings = money::enter::<E>(&mut transaction, tenant, entry).await?;
        transaction.commit().await?;
        Ok(warnings)
    }

    async fn settle_abandoned(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let find =
            sql("SELECT id, tenant_id FROM reservations WHERE renewed_at < $1 ORDER BY renewed_at LIMIT $2")
                .bind(before)
                .bind(limit);
        let abandoned = self.read("find abandoned requests", find).await?;
        let mut settled = 0;
        for row in &abandoned {
            let (id, tenant) = (row.uuid("id")?, TenantId::from_uuid(row.uuid("tenant_id")?));
            let mut transaction = self.begin().await?;
            money::lock::<E>(&mut transaction, tenant).await?;
            // It may have been settled, or have told of itself, since then.
            let again = sql("SELECT entry FROM reservations WHERE id = $1 AND renewed_at < $2")
                .bind(id)
                .bind(before);
            let Some(row) = transaction.row("find an abandoned request", again).await? else {
                transaction.roll_back().await?;
                continue;
            };
            let entry: LedgerEntry = from_json("reservation", &row.text("entry")?)?;
            money::give_back::<E>(&mut transaction, entry.id).await?;
            money::enter::<E>(&mut transaction, tenant, &entry).await?;
            transaction.commit().await?;
            settled += 1;
        }
        Ok(settled)
    }
}

pub(super) fn insert(tenant: TenantId, budget: &Budget) -> Statement {
    sql(
        "INSERT INTO budgets (id, tenant_id, scope, subject, period, max_micro_usd, max_tokens, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(budget.id.as_uuid())
    .bind(tenant.as_uuid())
    .bind(budget.scope.kind())
    .bind(budget.scope.subject())
    .bind(budget.period.to_string())
    .bind(budget.max_cost.map(MicroUsd::get).map(signed))
    .bind(budget.max_tokens.map(signed))
    .bind(budget.created_at)
}
