//! The models that sessions can ask for.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::{AsReader, Caller};
use crate::api::problem::Problem;
use crate::api::responses::ModelsProblems;
use crate::service::Services;

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelView {
    /// What to ask for it with, in a session's `options.model`.
    #[schema(example = "opus")]
    id: String,
    /// What people call it.
    #[schema(example = "Opus")]
    name: String,
    /// What it is good for.
    #[schema(example = "Most capable for complex work")]
    description: String,
}

/// The models.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelsView {
    /// The models, in the CLI's order.
    data: Vec<ModelView>,
}

/// List models
///
/// The models that the installed CLI offers, as it tells them.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Models",
    operation_id = "list_models",
    responses(
        (status = 200, description = "The models", body = ModelsView),
        ModelsProblems,
    )
)]
#[get("/api/v1/models")]
pub(in crate::api) async fn list_models(
    caller: Caller<AsReader>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let models = services.models.list(&caller).await?;
    let data = models
        .into_iter()
        .map(|model| ModelView {
            id: model.id,
            name: model.name,
            description: model.description,
        })
        .collect();
    Ok(HttpResponse::Ok().json(ModelsView { data }))
}
