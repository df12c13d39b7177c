//! Budgets of tenants.

use actix_web::{HttpResponse, delete, get, put, web};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::paging::PageQuery;
use super::rules::is_amount;
use super::tenant_name;
use crate::api::ApiLimits;
use crate::api::auth::{AsOwner, Caller};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{BudgetProblems, ListInTenantProblems, SetBudgetProblems};
use crate::domain::{BudgetId, BudgetPeriod, BudgetScope, BudgetStanding, MicroUsd};
use crate::service::{BudgetOrder, Services};

/// Whose spending counts against a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetKind {
    /// All of the tenant's.
    Tenant,
    /// One user's.
    User,
    /// One key's.
    Key,
    /// One session's.
    Session,
}

/// A budget and how it stands in its period.
#[derive(Debug, Serialize, ToSchema)]
pub struct BudgetView {
    /// Its id.
    #[schema(example = "bdg_0199e2b23a057b82836e7f901b3c4d5e")]
    budget_id: String,
    /// Whose spending counts.
    scope: BudgetKind,
    /// Which user, key or session; null for the tenant's.
    #[schema(required, example = "alice")]
    subject: Option<String>,
    /// In what time.
    period: BudgetPeriod,
    /// The most money, in USD; null for any.
    #[schema(required, example = 25.0)]
    max_usd: Option<f64>,
    /// The most tokens of all kinds; null for any.
    #[schema(required, example = json!(null))]
    max_tokens: Option<u64>,
    /// When the period began, in UTC.
    #[schema(example = "2026-11-01")]
    period_start: NaiveDate,
    /// When the next one begins; null for never.
    #[schema(required)]
    resets_at: Option<DateTime<Utc>>,
    /// What was spent in the period, in USD.
    #[schema(example = 3.25)]
    spent_usd: f64,
    /// The tokens that were used in it.
    #[schema(example = 412_000)]
    spent_tokens: u64,
    /// What requests that run may spend at most, in USD.
    #[schema(example = 0.1)]
    reserved_usd: f64,
    /// The tokens that they may use at most.
    #[schema(example = 9000)]
    reserved_tokens: u64,
    /// How much is spent, in percent, of money or of tokens, whichever is more.
    #[schema(example = 13)]
    percent: u64,
}

impl From<BudgetStanding> for BudgetView {
    fn from(standing: BudgetStanding) -> Self {
        let percent = standing.percent();
        let BudgetStanding {
            budget,
            period_start,
            spent,
            reserved,
        } = standing;
        let subject = budget.scope.subject();
        Self {
            budget_id: budget.id.to_string(),
            scope: match budget.scope {
                BudgetScope::Tenant => BudgetKind::Tenant,
                BudgetScope::User(_) => BudgetKind::User,
                BudgetScope::Key(_) => BudgetKind::Key,
                BudgetScope::Session(_) => BudgetKind::Session,
            },
            subject: (!subject.is_empty()).then_some(subject),
            resets_at: budget
                .period
                .end(period_start.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc()),
            period: budget.period,
            max_usd: budget.max_cost.map(MicroUsd::as_usd),
            max_tokens: budget.max_tokens,
            period_start,
            spent_usd: spent.cost.as_usd(),
            spent_tokens: spent.tokens,
            reserved_usd: reserved.cost.as_usd(),
            reserved_tokens: reserved.tokens,
            percent,
        }
    }
}

/// A budget to be set.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"scope": "user", "subject": "alice", "period": "month", "max_usd": 25.0}))]
pub struct SetBudgetRequest {
    /// Whose spending counts.
    #[validate(required)]
    #[schema(required, nullable = false)]
    scope: Option<BudgetKind>,
    /// Which user, key or session; none for the tenant's.
    #[schema(nullable = false, example = "alice")]
    subject: Option<String>,
    /// In what time: a day or a month of UTC, or all time.
    #[validate(required)]
    #[schema(required, nullable = false)]
    period: Option<BudgetPeriod>,
    /// The most money, in USD; any when absent. One of both is needed.
    #[validate(custom(function = "is_amount"))]
    #[schema(nullable = false, minimum = 0, maximum = 1_000_000_000, example = 25.0)]
    max_usd: Option<f64>,
    /// The most tokens of all kinds; any when absent.
    #[validate(range(max = 1_000_000_000_000_000_u64))]
    #[schema(nullable = false, maximum = 1_000_000_000_000_000_u64, example = 50_000_000)]
    max_tokens: Option<u64>,
}

impl SetBudgetRequest {
    fn scope(&self) -> Result<BudgetScope, FieldError> {
        let wrong = |words: &str| FieldError::new("subject", "invalid_subject", words);
        let subject = self.subject.as_deref();
        match (self.scope, subject) {
            (Some(BudgetKind::Tenant), None) => Ok(BudgetScope::Tenant),
            (Some(BudgetKind::Tenant), Some(_)) => Err(wrong("a tenant's budget has none")),
            (Some(BudgetKind::User), Some(user)) => user
                .parse()
                .map(BudgetScope::User)
                .map_err(|_invalid| wrong("must be a user's id")),
            (Some(BudgetKind::Key), Some(key)) => key
                .parse()
                .map(BudgetScope::Key)
                .map_err(|_invalid| wrong("must be a key's id")),
            (Some(BudgetKind::Session), Some(session)) => session
                .parse()
                .map(BudgetScope::Session)
                .map_err(|_invalid| wrong("must be a session's id")),
            (Some(_), None) => Err(wrong("must say whose")),
            (None, _) => Err(FieldError::new("scope", "missing", "must be given")),
        }
    }
}

impl CheckRequest for SetBudgetRequest {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.scope.is_some() {
            errors.extend(self.scope().err());
        }
        if self.max_usd.is_none() && self.max_tokens.is_none() {
            let words = "one of max_usd and max_tokens must be given";
            errors.push(FieldError::new("max_usd", "missing", words));
        }
        errors
    }
}

/// Set a budget
///
/// In place of the one of the same scope, subject and period, if there is one. What was spent in the period counts. At 75
/// and 95 % the session that spends gets a `budget_warning`; past the limit the model is asked no more, also in the middle
/// of a turn, which then ends with `budget_exceeded`.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Money",
    operation_id = "set_budget",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme")),
    request_body = SetBudgetRequest,
    responses((status = 200, description = "The budget, and how it stands", body = BudgetView), SetBudgetProblems)
)]
#[put("/api/v1/admin/tenants/{tenant}/budgets")]
pub(in crate::api) async fn set_budget(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    body: ValidJson<SetBudgetRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    let asked = body.0;
    let scope = asked
        .scope()
        .map_err(|error| Problem::fields(ProblemCode::ValidationFailed, vec![error]))?;
    let Some(period) = asked.period else {
        return Err(Problem::new(ProblemCode::ValidationFailed));
    };
    let order = BudgetOrder {
        scope,
        period,
        max_cost: asked.max_usd.map(MicroUsd::from_usd),
        max_tokens: asked.max_tokens,
    };
    let standing = services.spending.set_budget(&caller, &tenant, order).await?;
    Ok(HttpResponse::Ok().json(BudgetView::from(standing)))
}

/// List budgets
///
/// And how they stand.
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Money",
    operation_id = "list_budgets",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), PageQuery),
    responses((status = 200, description = "A page of budgets", body = PageView<BudgetView>), ListInTenantProblems)
)]
#[get("/api/v1/admin/tenants/{tenant}/budgets")]
pub(in crate::api) async fn list_budgets(
    caller: Caller<AsOwner>,
    path: web::Path<String>,
    query: ValidQuery<PageQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path)?;
    let filter = [tenant.to_string()];
    let scope = CursorScope {
        list: "budgets",
        tenant: caller.tenant,
        filter: &filter,
    };
    let after = query.0.key::<BudgetId>(&cursors, scope)?;
    let page = services
        .spending
        .list_budgets(&caller, &tenant, after, query.0.size(&limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<BudgetView>::of(page, &cursors, scope)))
}

/// Remove a budget
///
/// **Permissions**: `owner` of the tenant, or `admin`.
#[utoipa::path(
    tag = "Money",
    operation_id = "remove_budget",
    params(("tenant" = String, Path, description = "The tenant's name", example = "acme"), ("budget_id" = String, Path, description = "The budget", example = "bdg_0199e2b23a057b82836e7f901b3c4d5e")),
    responses((status = 204, description = "It is removed"), BudgetProblems)
)]
#[delete("/api/v1/admin/tenants/{tenant}/budgets/{budget_id}")]
pub(in crate::api) async fn remove_budget(
    caller: Caller<AsOwner>,
    path: web::Path<(String, String)>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let tenant = tenant_name(&path.0)?;
    let id = path
        .1
        .parse()
        .map_err(|_not_an_id| Problem::new(ProblemCode::BudgetNotFound))?;
    services.spending.remove_budget(&caller, &tenant, id).await?;
    Ok(HttpResponse::NoContent().finish())
}
