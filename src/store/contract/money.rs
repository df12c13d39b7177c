//! The ledger, budgets, and what requests that run may spend.
//!
//! Always, and after any crash: what a budget counts as spent in a period is the sum of the ledger's entries that it
//! covers, and what it counts as reserved is the sum of the reservations that hold on to it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::domain::{
    AuditNote, Budget, BudgetId, BudgetStanding, BudgetWarning, EntryId, LedgerEntry, Reservation, Reserved,
    Spender, TenantId, UsageQuery, UsageSum,
};
use crate::store::Result;

/// The ledger: who used how much. Entries are never changed.
#[async_trait]
pub trait UsageLedger: Send + Sync {
    /// Enters what was used outside of any reservation. One of the same id is entered already, and stays.
    async fn enter_usage(&self, tenant: TenantId, entries: &[LedgerEntry]) -> Result<()>;

    /// Sums of the entries that match, in the order of what they are told apart by; of all tenants' when none is given.
    async fn sum_usage(&self, tenant: Option<TenantId>, query: &UsageQuery) -> Result<Vec<UsageSum>>;

    /// Up to `limit` entries in the order of their ids, of those after `after`.
    async fn list_usage(
        &self,
        tenant: TenantId,
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>>;
}

/// Budgets.
#[async_trait]
pub trait BudgetStore: Send + Sync {
    /// Sets a budget: one of the same scope and period keeps its id and gets these limits. What was spent in the period
    /// counts. Answers the budget as it then is.
    async fn set_budget(&self, tenant: TenantId, budget: &Budget, note: &AuditNote) -> Result<Budget>;

    /// Removes a budget; whether there was one.
    async fn remove_budget(&self, tenant: TenantId, id: BudgetId, note: &AuditNote) -> Result<bool>;

    /// Up to `limit` budgets and how they stand at `now`, in the order of their ids, of those after `after`; those alone
    /// that cover a spender, where one is given.
    async fn list_budgets(
        &self,
        tenant: TenantId,
        spender: Option<&Spender>,
        now: DateTime<Utc>,
        after: Option<BudgetId>,
        limit: u32,
    ) -> Result<Vec<BudgetStanding>>;

    /// In one step: asks every budget that covers the spender, and, if all let it through, sets the estimate aside in all.
    async fn reserve(&self, tenant: TenantId, reservation: &Reservation) -> Result<Reserved>;

    /// Notes what was seen so far of a request that runs, and that it runs at `now`.
    async fn note_seen(&self, tenant: TenantId, seen: &LedgerEntry, now: DateTime<Utc>) -> Result<()>;

    /// In one step: enters what a request did use, counts it in the budgets that cover it, and gives back what was set
    /// aside. One that used nothing is not entered. Settling again changes nothing. Answers the warnings that are due.
    async fn settle(&self, tenant: TenantId, entry: &LedgerEntry) -> Result<Vec<BudgetWarning>>;

    /// Settles up to `limit` requests that were last known to run before `before`, with what was seen of them; how many.
    async fn settle_abandoned(&self, before: DateTime<Utc>, limit: u32) -> Result<u64>;
}
