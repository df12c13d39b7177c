//! Budgets, and what was spent: by tenant, user, key, session, model and day.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::error::Error;
use super::tenants::TenantService;
use crate::domain::{
    AuditAction, AuditNote, Budget, BudgetId, BudgetPeriod, BudgetScope, BudgetStanding, Clock, KeyId,
    MicroUsd, Page, Principal, Role, SessionId, TenantName, UsageGroup, UsageQuery, UsageSum, UserId,
};
use crate::store::Store;

/// The most budgets of a tenant.
const BUDGETS_MAX: u32 = 1000;

/// A budget to be set.
#[derive(Debug, Clone)]
pub struct BudgetOrder {
    /// Whose spending counts.
    pub scope: BudgetScope,
    /// In what time.
    pub period: BudgetPeriod,
    /// The most money; any when absent.
    pub max_cost: Option<MicroUsd>,
    /// The most tokens; any when absent.
    pub max_tokens: Option<u64>,
}

/// What usage is asked for. `None` does not filter.
#[derive(Debug, Clone, Default)]
pub struct UsageFilter {
    /// That of this tenant.
    pub tenant: Option<TenantName>,
    /// That from then on.
    pub from: Option<DateTime<Utc>>,
    /// That before then.
    pub before: Option<DateTime<Utc>>,
    /// That of this user.
    pub user: Option<UserId>,
    /// That of this key.
    pub key: Option<KeyId>,
    /// That of this session.
    pub session: Option<SessionId>,
    /// One sum for each value of these.
    pub by: Vec<UsageGroup>,
}

/// Budgets and usage.
#[derive(Debug)]
pub struct SpendingService {
    store: Arc<dyn Store>,
    tenants: Arc<TenantService>,
    clock: Arc<dyn Clock>,
    /// Whether there is a gateway, without which no budget holds.
    has_gateway: bool,
    /// The most sums of one answer.
    sums_max: usize,
}

impl SpendingService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        tenants: Arc<TenantService>,
        clock: Arc<dyn Clock>,
        has_gateway: bool,
        sums_max: usize,
    ) -> Self {
        Self {
            store,
            tenants,
            clock,
            has_gateway,
            sums_max,
        }
    }

    /// Sets a budget of a tenant's, in place of the one of the same scope and period.
    pub async fn set_budget(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        order: BudgetOrder,
    ) -> Result<BudgetStanding, Error> {
        if !self.has_gateway {
            return Err(Error::GatewayOff);
        }
        let tenant = self.tenants.get(caller, tenant).await?;
        let now = self.clock.now();
        let budget = Budget {
            id: BudgetId::generate(&*self.clock),
            scope: order.scope,
            period: order.period,
            max_cost: order.max_cost,
            max_tokens: order.max_tokens,
            created_at: now,
        };
        let listed = async || {
            self.store
                .list_budgets(tenant.id, None, now, None, BUDGETS_MAX)
                .await
        };
        let before = listed().await?;
        let replaced = before
            .iter()
            .any(|standing| standing.budget.scope == budget.scope && standing.budget.period == budget.period);
        if !replaced && before.len() >= BUDGETS_MAX as usize {
            return Err(Error::TooManyBudgets { most: BUDGETS_MAX });
        }
        let note = AuditNote::by(caller, now, tenant.id, AuditAction::BudgetSet, &budget.describe())
            .with("max_micro_usd", budget.max_cost.map(MicroUsd::get))
            .with("max_tokens", budget.max_tokens);
        let set = self.store.set_budget(tenant.id, &budget, &note).await?;
        let after = listed().await?;
        let standing = after.into_iter().find(|standing| standing.budget.id == set.id);
        standing.ok_or(Error::BudgetNotFound)
    }

    /// A page of a tenant's budgets and how they stand.
    pub async fn list_budgets(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        after: Option<BudgetId>,
        limit: u32,
    ) -> Result<Page<BudgetStanding, BudgetId>, Error> {
        let tenant = self.tenants.get(caller, tenant).await?;
        let now = self.clock.now();
        let standings = self
            .store
            .list_budgets(tenant.id, None, now, after, limit.saturating_add(1))
            .await?;
        Ok(Page::cut(standings, limit as usize, |standing| {
            standing.budget.id
        }))
    }

    /// Removes a budget of a tenant's.
    pub async fn remove_budget(
        &self,
        caller: &Principal,
        tenant: &TenantName,
        id: BudgetId,
    ) -> Result<(), Error> {
        let tenant = self.tenants.get(caller, tenant).await?;
        let action = AuditAction::BudgetRemoved;
        let note = AuditNote::by(caller, self.clock.now(), tenant.id, action, &id);
        if self.store.remove_budget(tenant.id, id, &note).await? {
            Ok(())
        } else {
            Err(Error::BudgetNotFound)
        }
    }

    /// The budgets that the caller itself meets: its tenant's, its key's, and its user's where it acts for one.
    pub async fn own_budgets(&self, caller: &Principal) -> Result<Vec<BudgetStanding>, Error> {
        // What is spent is not a guest's to know.
        if caller.guest.is_some() {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let all = self
            .store
            .list_budgets(caller.tenant, None, now, None, BUDGETS_MAX)
            .await?;
        let own = |standing: &BudgetStanding| match &standing.budget.scope {
            BudgetScope::Tenant => true,
            BudgetScope::User(user) => caller.user.as_ref() == Some(user),
            BudgetScope::Key(key) => caller.key == Some(*key),
            BudgetScope::Session(_) => false,
        };
        Ok(all.into_iter().filter(own).collect())
    }

    /// What was used, added up. Whoever runs the platform sees all tenants' unless one is named; a credential that acts for
    /// one user sees that user's.
    pub async fn usage(&self, caller: &Principal, filter: UsageFilter) -> Result<Vec<UsageSum>, Error> {
        let tenant = match &filter.tenant {
            Some(name) if *name == caller.tenant_name => Some(caller.tenant),
            Some(name) => Some(self.tenants.get(caller, name).await?.id),
            None if caller.role == Role::Admin => None,
            None => Some(caller.tenant),
        };
        let user = match (&caller.user, filter.user) {
            (Some(own), Some(asked)) if *own != asked => return Ok(Vec::new()),
            (Some(own), _) => Some(own.clone()),
            (None, asked) => asked,
        };
        let query = UsageQuery {
            turn: None,
            from: filter.from,
            before: filter.before,
            user,
            key: filter.key,
            session: filter.session,
            by: filter.by,
        };
        let sums = self.store.sum_usage(tenant, &query).await?;
        if sums.len() > self.sums_max {
            return Err(Error::TooManySums { most: self.sums_max });
        }
        Ok(sums)
    }
}
