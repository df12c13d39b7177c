//! What sessions' workspaces can begin with.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::{AsReader, Caller};
use crate::api::problem::Problem;
use crate::api::responses::MeProblems;
use crate::service::{Services, Template};

/// A template.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Template)]
pub struct TemplateView {
    /// What it is called, in `template` of a new session.
    #[schema(example = "python")]
    name: String,
    /// What it is for.
    #[schema(example = "A Python package with tests")]
    description: String,
}

impl From<&Template> for TemplateView {
    fn from(template: &Template) -> Self {
        Self {
            name: template.name.clone(),
            description: template.description.clone(),
        }
    }
}

/// All templates.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemplateList)]
pub struct TemplateListView {
    /// The templates, by name.
    data: Vec<TemplateView>,
}

/// List templates
///
/// What the workspace of a new session can begin with: folders that the server's settings name (`workspaces.templates`).
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Git",
    operation_id = "list_templates",
    responses((status = 200, description = "The templates", body = TemplateListView), MeProblems)
)]
#[get("/api/v1/templates")]
pub(in crate::api) async fn list_templates(
    _caller: Caller<AsReader>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let data = services.beginnings.templates().iter().map(Into::into).collect();
    Ok(HttpResponse::Ok().json(TemplateListView { data }))
}
