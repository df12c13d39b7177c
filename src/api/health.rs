//! How the server is: for people, load balancers and orchestrators. None needs a credential.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::{HealthReport, Services};

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// `healthy`, or `unhealthy` when the store does not answer.
    #[schema(example = "healthy")]
    status: &'static str,
    /// Whether it takes new work.
    ready: bool,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// What it stores in.
    #[schema(example = "sqlite")]
    storage: &'static str,
    /// Whether the store answers.
    storage_ok: bool,
    /// Whether the CLI is there and executable.
    cli_ok: bool,
    /// How many sessions are active; null when the store does not answer.
    #[schema(required, example = 12)]
    active_sessions: Option<u64>,
    /// How many agent processes live.
    #[schema(example = 3)]
    live_agents: usize,
    /// How many sessions are in a turn.
    #[schema(example = 1)]
    busy_agents: usize,
    /// How many agent processes live that no turn uses.
    #[schema(example = 2)]
    idle_agents: usize,
    /// How many turns wait, for an agent or for a turn before them.
    #[schema(example = 0)]
    queued_turns: usize,
    /// What fences agents in, as was tried at the start: `namespaces`, `landlock`, or `none`: nothing does.
    #[schema(example = "namespaces")]
    isolation: &'static str,
    /// Where answers come from: `anthropic`, `scripted` (a script, not a model), or `missing_credential`.
    #[schema(example = "scripted")]
    model: &'static str,
    /// How long it has run, in seconds.
    #[schema(example = 86400.5)]
    uptime_seconds: f64,
    /// How many lines of agents' output were no messages, and were skipped.
    #[schema(example = 0)]
    garbage_lines: u64,
    /// What is wrong, in words.
    #[schema(example = json!([]))]
    problems: Vec<String>,
}

impl From<HealthReport> for HealthView {
    fn from(report: HealthReport) -> Self {
        Self {
            status: if report.healthy { "healthy" } else { "unhealthy" },
            ready: report.ready,
            version: report.version,
            storage: report.storage,
            storage_ok: report.storage_ok,
            cli_ok: report.cli_ok,
            active_sessions: report.active_sessions,
            live_agents: report.live_agents,
            busy_agents: report.busy_agents,
            idle_agents: report.idle_agents,
            queued_turns: report.queued_turns,
            isolation: report.isolation,
            model: report.model,
            uptime_seconds: report.uptime.as_secs_f64(),
            garbage_lines: report.garbage_lines,
            problems: report.problems,
        }
    }
}

/// That the process lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct LivenessView {
    /// `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// How the server is
///
/// Everything the server can tell of itself. 503 when its store does not answer.
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "Health",
    operation_id = "get_health",
    security(()),
    responses(
        (status = 200, description = "It does its work", body = HealthView),
        (status = 503, description = "Its store does not answer", body = HealthView),
    )
)]
#[get("/health")]
pub(super) async fn get_health(services: web::Data<Services>) -> HttpResponse {
    let report = services.health.report().await;
    let mut response = if report.healthy {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response.json(HealthView::from(report))
}

/// Whether the process lives
///
/// For an orchestrator that restarts what does not answer. Looks at nothing beyond the process.
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "Health",
    operation_id = "get_liveness",
    security(()),
    responses((status = 200, description = "It lives", body = LivenessView))
)]
#[get("/health/live")]
pub(super) async fn get_liveness() -> HttpResponse {
    HttpResponse::Ok().json(LivenessView { status: "alive" })
}

/// Whether the server takes new work
///
/// For a load balancer. 503 while the server stops, when its store does not answer, and when the CLI cannot be started.
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "Health",
    operation_id = "get_readiness",
    security(()),
    responses(
        (status = 200, description = "It takes new work", body = HealthView),
        (status = 503, description = "It does not; `problems` says why", body = HealthView),
    )
)]
#[get("/health/ready")]
pub(super) async fn get_readiness(services: web::Data<Services>) -> HttpResponse {
    let report = services.health.report().await;
    let mut response = if report.ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    response.json(HealthView::from(report))
}
