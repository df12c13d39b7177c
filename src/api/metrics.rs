//! What is counted and measured, for Prometheus.

use actix_web::{HttpResponse, get, web};

use super::auth::{AsAdmin, Caller};
use super::problem::Problem;
use super::responses::MetricsProblems;
use crate::service::{METRICS_TYPE, Services};

/// Get metrics
///
/// What is counted and measured, in the `OpenMetrics` text that Prometheus reads.
///
/// **Permissions**: `admin`.
#[utoipa::path(
    tag = "Health",
    operation_id = "get_metrics",
    responses(
        (status = 200, description = "The figures", body = String, content_type = "application/openmetrics-text"),
        MetricsProblems,
    )
)]
#[get("/metrics")]
pub(super) async fn get_metrics(
    _caller: Caller<AsAdmin>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let text = services.metrics.render()?;
    Ok(HttpResponse::Ok().content_type(METRICS_TYPE).body(text))
}
