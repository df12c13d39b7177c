//! The ledger, budgets, and what requests that run may spend.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};

use super::{MemoryStore, State};
use crate::domain::{
    Amount, AuditNote, Budget, BudgetId, BudgetStanding, BudgetWarning, EntryId, LedgerEntry, Reservation,
    Reserved, Spender, TenantId, UsageGroup, UsageQuery, UsageSum, budget,
};
use crate::store::{BudgetStore, Result, UsageLedger};

/// A request that runs.
#[derive(Debug)]
pub(super) struct Running {
    tenant: TenantId,
    reservation: Reservation,
    held_by: Vec<(BudgetId, NaiveDate)>,
    renewed_at: DateTime<Utc>,
}

impl State {
    /// Enters an entry, unless it is there; the warnings that are due.
    pub(super) fn enter_usage(&mut self, tenant: TenantId, entry: &LedgerEntry) -> Vec<BudgetWarning> {
        if entry.is_empty() || self.ledger.contains_key(&entry.id) {
            return Vec::new();
        }
        let standings = self.standings(tenant, Some(&entry.spender), entry.at);
        self.ledger.insert(entry.id, (tenant, entry.clone()));
        standings
            .iter()
            .filter_map(|standing| standing.warning_after(entry.amount()))
            .collect()
    }

    /// Settles what runs of these spenders, with what was seen of it.
    pub(super) fn settle_of(&mut self, of: impl Fn(TenantId, &Spender) -> bool) {
        let (theirs, others) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|(_, running)| of(running.tenant, &running.reservation.entry.spender));
        self.running = others;
        let theirs: BTreeMap<EntryId, Running> = theirs;
        for running in theirs.into_values() {
            self.enter_usage(running.tenant, &running.reservation.entry);
        }
    }

    /// How the tenant's budgets stand: what is spent is added up, and so is what is set aside.
    fn standings(
        &self,
        tenant: TenantId,
        spender: Option<&Spender>,
        now: DateTime<Utc>,
    ) -> Vec<BudgetStanding> {
        self.budgets
            .values()
            .filter(|(owner, budget)| {
                *owner == tenant && spender.is_none_or(|spender| budget.scope.covers(spender))
            })
            .map(|(_, budget)| {
                let period_start = budget.period.start(now);
                let entries = self.ledger.values().filter(|(owner, entry)| {
                    *owner == tenant
                        && budget.scope.covers(&entry.spender)
                        && budget.period.start(entry.at) == period_start
                });
                let holds = self
                    .running
                    .values()
                    .filter(|running| running.held_by.contains(&(budget.id, period_start)));
                BudgetStanding {
                    budget: budget.clone(),
                    period_start,
                    spent: entries.fold(Amount::default(), |sum, (_, entry)| sum.plus(entry.amount())),
                    reserved: holds.fold(Amount::default(), |sum, running| {
                        sum.plus(running.reservation.estimate)
                    }),
                }
            })
            .collect()
    }
}

#[async_trait]
impl UsageLedger for MemoryStore {
    async fn enter_usage(&self, tenant: TenantId, entries: &[LedgerEntry]) -> Result<()> {
        let mut state = self.lock();
        for entry in entries {
            state.enter_usage(tenant, entry);
        }
        Ok(())
    }

    async fn sum_usage(&self, tenant: Option<TenantId>, query: &UsageQuery) -> Result<Vec<UsageSum>> {
        let state = self.lock();
        let mut sums: BTreeMap<UsageSum, UsageSum> = BTreeMap::new();
        let entries = state
            .ledger
            .values()
            .filter(|(owner, _)| tenant.is_none_or(|tenant| *owner == tenant))
            .filter(|(_, entry)| query.from.is_none_or(|from| entry.at >= from))
            .filter(|(_, entry)| query.before.is_none_or(|before| entry.at < before))
            .filter(|(_, entry)| query.user.as_ref().is_none_or(|user| entry.spender.user == *user))
            .filter(|(_, entry)| query.key.is_none_or(|key| entry.spender.key == Some(key)))
            .filter(|(_, entry)| {
                query
                    .session
                    .is_none_or(|session| entry.spender.session == session)
                    && query.turn.is_none_or(|turn| entry.spender.turn == Some(turn))
            });
        for (owner, entry) in entries {
            let told_apart = |group| query.by.contains(&group);
            let spender = &entry.spender;
            let group = UsageSum {
                day: told_apart(UsageGroup::Day).then(|| entry.at.date_naive()),
                tenant: told_apart(UsageGroup::Tenant).then_some(*owner),
                user: told_apart(UsageGroup::User).then(|| spender.user.clone()),
                key: spender.key.filter(|_| told_apart(UsageGroup::Key)),
                session: told_apart(UsageGroup::Session).then_some(spender.session),
                model: told_apart(UsageGroup::Model).then(|| entry.model.clone()),
                ..UsageSum::default()
            };
            let sum = sums.entry(group.clone()).or_insert(group);
            sum.usage = sum.usage.plus(entry.usage);
            sum.cost = sum.cost.plus(entry.cost);
            sum.entries += 1;
        }
        Ok(sums.into_values().collect())
    }

    async fn list_usage(
        &self,
        tenant: TenantId,
        after: Option<EntryId>,
        limit: u32,
    ) -> Result<Vec<LedgerEntry>> {
        let state = self.lock();
        Ok(state
            .ledger
            .values()
            .filter(|(owner, entry)| *owner == tenant && after.is_none_or(|after| entry.id > after))
            .take(limit as usize)
            .map(|(_, entry)| entry.clone())
            .collect())
    }
}

#[async_trait]
impl BudgetStore for MemoryStore {
    async fn set_budget(&self, tenant: TenantId, new: &Budget, note: &AuditNote) -> Result<Budget> {
        let mut state = self.lock();
        state.enter_audit(note)?;
        let same = state.budgets.values_mut().find(|(owner, budget)| {
            *owner == tenant && budget.scope == new.scope && budget.period == new.period
        });
        if let Some((_, budget)) = same {
            budget.max_cost = new.max_cost;
            budget.max_tokens = new.max_tokens;
            return Ok(budget.clone());
        }
        state.budgets.insert(new.id, (tenant, new.clone()));
        Ok(new.clone())
    }

    async fn remove_budget(&self, tenant: TenantId, id: BudgetId, note: &AuditNote) -> Result<bool> {
        let mut state = self.lock();
        let is_there = state.budgets.get(&id).is_some_and(|(owner, _)| *owner == tenant);
        if is_there {
            state.enter_audit(note)?;
            state.budgets.remove(&id);
        }
        Ok(is_there)
    }

    async fn list_budgets(
        &self,
        tenant: TenantId,
        spender: Option<&Spender>,
        now: DateTime<Utc>,
        after: Option<BudgetId>,
        limit: u32,
    ) -> Result<Vec<BudgetStanding>> {
        let standings = self.lock().standings(tenant, spender, now);
        let later = standings
            .into_iter()
            .filter(|standing| after.is_none_or(|after| standing.budget.id > after));
        Ok(later.take(limit as usize).collect())
    }

    async fn reserve(&self, tenant: TenantId, reservation: &Reservation) -> Result<Reserved> {
        let mut state = self.lock();
        let entry = &reservation.entry;
        let standings = state.standings(tenant, Some(&entry.spender), entry.at);
        if let Some(refusal) = budget::refusal(&standings) {
            return Ok(refusal);
        }
        let running = Running {
            tenant,
            reservation: reservation.clone(),
            held_by: standings
                .iter()
                .map(|standing| (standing.budget.id, standing.period_start))
                .collect(),
            renewed_at: entry.at,
        };
        state.running.insert(entry.id, running);
        Ok(Reserved::Granted)
    }

    async fn note_seen(&self, tenant: TenantId, seen: &LedgerEntry, now: DateTime<Utc>) -> Result<()> {
        let mut state = self.lock();
        let running = state.running.get_mut(&seen.id);
        if let Some(running) = running.filter(|running| running.tenant == tenant) {
            running.reservation.entry = seen.clone();
            running.renewed_at = now;
        }
        Ok(())
    }

    async fn settle(&self, tenant: TenantId, entry: &LedgerEntry) -> Result<Vec<BudgetWarning>> {
        let mut state = self.lock();
        state.running.remove(&entry.id);
        Ok(state.enter_usage(tenant, entry))
    }

    async fn settle_abandoned(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let mut state = self.lock();
        let abandoned: Vec<_> = state
            .running
            .iter()
            .filter(|(_, running)| running.renewed_at < before)
            .take(limit as usize)
            .map(|(id, _)| *id)
            .collect();
        for id in &abandoned {
            if let Some(running) = state.running.remove(id) {
                state.enter_usage(running.tenant, &running.reservation.entry);
            }
        }
        Ok(abandoned.len() as u64)
    }
}
