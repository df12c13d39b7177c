//! What was spent, and who the caller is and what is left.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::budgets::BudgetView;
use super::rules::is_user_id;
use super::{checked_query, tenant_name};
use crate::api::ApiLimits;
use crate::api::auth::{AsGuest, AsReader, Caller};
use crate::api::input::{CheckRequest, ValidQuery};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{MeProblems, UsageProblems};
use crate::domain::{MicroUsd, Role, Usage, UsageGroup, UsageSum};
use crate::service::{Services, UsageFilter};

/// What usage is asked for.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct UsageRequestQuery {
    /// What sums are told apart by, apart by commas: `day`, `tenant`, `user`, `key`, `session`, `model`. One sum of all when
    /// absent.
    #[param(example = "day,model")]
    group_by: Option<String>,
    /// That from then on.
    #[param(example = "2026-11-01T00:00:00Z")]
    from: Option<DateTime<Utc>>,
    /// That before then.
    #[param(example = "2026-12-01T00:00:00Z")]
    before: Option<DateTime<Utc>>,
    /// That of this tenant, by its name. Absent: the caller's; for an admin, all tenants'.
    #[param(example = "acme")]
    tenant: Option<String>,
    /// That of this user.
    #[validate(custom(function = "is_user_id"))]
    #[param(example = "alice")]
    user_id: Option<String>,
    /// That of this key.
    #[param(example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")]
    key_id: Option<String>,
    /// That of this session.
    #[param(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: Option<String>,
}

impl UsageRequestQuery {
    fn groups(&self) -> Result<Vec<UsageGroup>, FieldError> {
        let names = self.group_by.iter().flat_map(|names| names.split(','));
        names
            .map(|name| {
                name.trim().parse().map_err(|_unknown| {
                    let words = format!("`{name}` is none of day, tenant, user, key, session, model");
                    FieldError::new("group_by", "unknown_group", words)
                })
            })
            .collect()
    }
}

impl CheckRequest for UsageRequestQuery {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        self.groups().err().into_iter().collect()
    }
}

/// A sum of what was used. Of what sums are told apart by, only what was asked for is there.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// The day, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-11-21")]
    day: Option<NaiveDate>,
    /// The tenant's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ten_0199e2b018e37f60a14c5d7e9f1a2b3c")]
    tenant_id: Option<String>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "alice")]
    user_id: Option<String>,
    /// The key; absent also for what no key asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")]
    key_id: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "claude-opus-5-5")]
    model: Option<String>,
    /// How many requests.
    #[schema(example = 31)]
    requests: u64,
    /// Tokens.
    #[serde(flatten)]
    usage: Usage,
    /// Cost, in USD.
    #[schema(example = 0.42)]
    cost_usd: f64,
}

impl From<UsageSum> for UsageView {
    fn from(sum: UsageSum) -> Self {
        Self {
            day: sum.day,
            tenant_id: sum.tenant.map(|tenant| tenant.to_string()),
            user_id: sum.user.map(|user| user.to_string()),
            key_id: sum.key.map(|key| key.to_string()),
            session_id: sum.session.map(|session| session.to_string()),
            model: sum.model,
            requests: sum.entries,
            usage: sum.usage,
            cost_usd: sum.cost.as_usd(),
        }
    }
}

/// Sums of what was used.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageListView {
    /// The sums, in the order of what they are told apart by.
    data: Vec<UsageView>,
}

impl UsageView {
    /// The first line of CSV.
    pub const COLUMNS: &'static str = "day,tenant_id,user_id,key_id,session_id,model,requests,input_tokens,output_tokens,\
        cache_read_input_tokens,cache_creation_input_tokens,cost_usd\r\n";

    /// A line of CSV. Ids and names hold nothing that needs quotes but a model's name, which comes from outside.
    #[must_use]
    pub fn line(&self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let model = text(&self.model).replace('"', "\"\"");
        let usage = &self.usage;
        format!(
            "{},{},{},{},{},\"{model}\",{},{},{},{},{},{:.6}\r\n",
            self.day.map(|day| day.to_string()).unwrap_or_default(),
            text(&self.tenant_id),
            text(&self.user_id),
            text(&self.key_id),
            text(&self.session_id),
            self.requests,
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens,
            self.cost_usd,
        )
    }
}

/// Get usage
///
/// What was used of models, added up from the ledger, in which each request has its entry. `Accept: text/csv` for CSV.
///
/// **Permissions**: `reader`; a credential that acts for one user sees that user's only.
#[utoipa::path(
    tag = "Money",
    operation_id = "get_usage",
    params(UsageRequestQuery),
    responses(
        (status = 200, description = "Sums", content((UsageListView = "application/json"), (String = "text/csv"))),
        UsageProblems
    )
)]
#[get("/api/v1/usage")]
pub(in crate::api) async fn get_usage(
    caller: Caller<AsReader>,
    query: ValidQuery<UsageRequestQuery>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = query.0;
    let by = asked
        .groups()
        .map_err(|error| Problem::fields(ProblemCode::InvalidQuery, vec![error]))?;
    let filter = UsageFilter {
        tenant: asked.tenant.as_deref().map(tenant_name).transpose()?,
        from: asked.from,
        before: asked.before,
        user: checked_query("user_id", asked.user_id.as_deref())?,
        key: checked_query("key_id", asked.key_id.as_deref())?,
        session: checked_query("session_id", asked.session_id.as_deref())?,
        by,
    };
    let sums = services.spending.usage(&caller, filter).await?;
    let data: Vec<UsageView> = sums.into_iter().map(Into::into).collect();
    let wants_csv = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.trim().starts_with("text/csv"));
    if wants_csv {
        let lines: String = data.iter().map(UsageView::line).collect();
        return Ok(HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .body(format!("{}{lines}", UsageView::COLUMNS)));
    }
    Ok(HttpResponse::Ok().json(UsageListView { data }))
}

/// The caller, and what is left to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MeView {
    /// The tenant's id.
    #[schema(example = "ten_0199e2b018e37f60a14c5d7e9f1a2b3c")]
    tenant_id: String,
    /// The tenant's name.
    #[schema(example = "acme")]
    tenant: String,
    /// What the credential allows.
    role: Role,
    /// The one user that it acts for; null for any of the tenant's.
    #[schema(required, example = "alice")]
    user_id: Option<String>,
    /// The one session that a guest may look at; null for all others.
    #[schema(required, example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: Option<String>,
    /// Whether a guest may look at the session's files; null for all others.
    #[schema(required, example = true)]
    files: Option<bool>,
    /// What the credential is called.
    #[schema(example = "ci")]
    credential: String,
    /// The key; null where it is none.
    #[schema(required, example = "key_0199e2b129f47a71b25d6e8f0a2b3c4d")]
    key_id: Option<String>,
    /// The budgets that it meets: its tenant's, its key's and its user's.
    budgets: Vec<BudgetView>,
    /// The least that is left of them, in USD; null where none has a limit of money.
    #[schema(required, example = 21.75)]
    left_usd: Option<f64>,
}

/// Get who I am
///
/// And what is left of the budgets that I meet.
///
/// **Permissions**: `guest`.
#[utoipa::path(
    tag = "Money",
    operation_id = "get_me",
    responses((status = 200, description = "The caller", body = MeView), MeProblems)
)]
#[get("/api/v1/me")]
pub(in crate::api) async fn get_me(
    caller: Caller<AsGuest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let budgets = services.spending.own_budgets(&caller).await?;
    let left = budgets
        .iter()
        .filter_map(|standing| Some(standing.budget.max_cost?.saturating_sub(standing.spent.cost)))
        .min();
    Ok(HttpResponse::Ok().json(MeView {
        tenant_id: caller.tenant.to_string(),
        tenant: caller.tenant_name.to_string(),
        role: caller.role,
        user_id: caller.user.as_ref().map(ToString::to_string),
        session_id: caller.guest.map(|guest| guest.session.to_string()),
        files: caller.guest.map(|guest| guest.files),
        credential: caller.credential.clone(),
        key_id: caller.key.map(|key| key.to_string()),
        left_usd: left.map(MicroUsd::as_usd),
        budgets: budgets.into_iter().map(Into::into).collect(),
    }))
}
