//! The API's own description: a card at `/`, the OpenAPI document, and Swagger UI over it.

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use strum::IntoEnumIterator as _;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Components, Contact, Info, License, OpenApi, PathItem, Tag};
use utoipa::{PartialSchema as _, ToSchema};
use utoipa_swagger_ui::SwaggerUi;

use super::console::Shown;
use super::problem::{FieldError, ProblemCode, ProblemView};
use super::v1::socket::{SocketCommand, SocketReply};
use crate::console::wants_page;
use crate::domain::Dialect;

/// What the API is, in a few words.
const DESCRIPTION: &str = "A multi-tenant HTTP platform for Claude Code: every user gets agents that work in a folder of \
their own, in sessions that outlive connections and restarts.\n\nErrors are RFC 9457 problems; `code` names them. Every \
response carries `X-Request-ID`.\n\nFor people there is [the web console](/console/), unless this server's has been switched off.";

/// What the answer at `/` goes by.
const VARIES: HeaderValue = HeaderValue::from_static("accept");

/// The document, rendered once.
#[derive(Debug)]
pub struct Document(String);

impl Document {
    pub(super) fn new(document: &OpenApi) -> std::io::Result<Self> {
        document.to_json().map(Self).map_err(std::io::Error::other)
    }
}

/// What is at `/`.
#[derive(Debug, Serialize, ToSchema)]
pub struct RootView {
    /// `Paddock`.
    #[schema(example = "Paddock")]
    name: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Where its web console is; null: it is switched off. Browsers get it at `/`, too.
    #[schema(example = "/console/")]
    console: Option<&'static str>,
    /// Where its documentation is.
    #[schema(example = "/docs/")]
    docs: &'static str,
    /// Where its OpenAPI document is.
    #[schema(example = "/openapi.json")]
    openapi: &'static str,
    /// Where it tells how it is.
    #[schema(example = "/health")]
    health: &'static str,
}

/// What this server is
///
/// A browser, which asks for `text/html`, gets the web console, unless that is switched off.
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "About",
    operation_id = "get_root",
    security(()),
    responses((status = 200, description = "What it is, and where to go on; for browsers, the web console", content((RootView = "application/json"), (String = "text/html"))), (status = 304, description = "The console's page, which the browser has"))
)]
#[get("/")]
pub(super) async fn get_root(request: HttpRequest, console: Shown) -> HttpResponse {
    if let Some(console) = console.get_ref()
        && wants_page(&request)
    {
        let mut page = console.page(&request);
        page.headers_mut().append(header::VARY, VARIES);
        return page;
    }
    HttpResponse::Ok()
        .insert_header((header::VARY, VARIES))
        .json(RootView {
            name: "Paddock",
            version: env!("CARGO_PKG_VERSION"),
            console: console.as_ref().as_ref().map(|_| "/console/"),
            docs: "/docs/",
            openapi: "/openapi.json",
            health: "/health",
        })
}

/// This document
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "About",
    operation_id = "get_openapi",
    security(()),
    responses((status = 200, description = "The OpenAPI 3.1 document", body = Object, example = json!({"openapi": "3.1.0", "info": {"title": "Paddock", "version": "0.1.0"}, "paths": {}})))
)]
#[get("/openapi.json")]
pub(super) async fn get_openapi(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(document.0.clone())
}

/// Swagger UI, from files in the binary.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route(
            "/docs",
            web::get().to(async || {
                HttpResponse::Found()
                    .insert_header((header::LOCATION, "/docs/"))
                    .finish()
            }),
        )
        .service(SwaggerUi::new("/docs/{_:.*}").config(utoipa_swagger_ui::Config::new(["/openapi.json"])));
}

/// Adds what the routes cannot say themselves.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    let mut info = Info::new("Paddock", env!("CARGO_PKG_VERSION"));
    info.description = Some(DESCRIPTION.to_owned());
    info.license = Some(License::new("MIT"));
    info.contact = None::<Contact>;
    document.info = info;
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A key, as a bearer token"))
                .build(),
        ),
    );
    components.add_security_scheme(
        "api_key",
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
            "X-API-Key",
            "A key",
        ))),
    );
    // Named by responses only, where no schema is collected from.
    components
        .schemas
        .insert("Problem".to_owned(), ProblemView::schema());
    components
        .schemas
        .insert("FieldError".to_owned(), FieldError::schema());
    components
        .schemas
        .insert("ProblemCode".to_owned(), ProblemCode::schema());
    for (name, schema) in [
        ("SocketCommand", SocketCommand::schema()),
        ("SocketReply", SocketReply::schema()),
    ] {
        components.schemas.insert(name.to_owned(), schema);
    }
    let no_scopes: [&str; 0] = [];
    document.security = Some(vec![
        SecurityRequirement::new("bearer", no_scopes),
        SecurityRequirement::new("api_key", no_scopes),
    ]);
    let tag = |name: &str, words: &str| {
        let mut tag = Tag::new(name);
        tag.description = Some(words.to_owned());
        tag
    };
    document.tags = Some(vec![
        tag("Sessions", "Conversations, each bound to one folder."),
        tag("Checkpoints", "What workspaces were like before and after turns."),
        tag("Chat", "Turns: a prompt, and all that follows until its result."),
        tag("Turns", "Turns by their ids: looked up, cancelled."),
        tag(
            "Git",
            "The repository in a session's workspace, and what workspaces begin with.",
        ),
        tag(
            "Shares",
            "Links by which a session is shown to people who have no credential.",
        ),
        tag("Permissions", "What agents ask, and what they are answered."),
        tag("Steering", "Live agents, outside the conversation."),
        tag("Events", "Sessions' logs: read, followed, and over WebSockets."),
        tag("Webhooks", "Where a tenant's events are sent."),
        tag("Models", "The models that sessions can ask for."),
        tag("Admin", "Tenants, their keys and credentials, and the audit."),
        tag("Money", "Budgets, and what was spent."),
        tag("Health", "How the server is."),
        tag("About", "What this server is."),
    ]);
    let tags = document.tags.get_or_insert_default();
    for dialect in Dialect::iter().map(|dialect| dialect.to_string()) {
        if document.paths.paths.values().any(|item| has_tag(item, &dialect)) {
            tags.push(tag(
                &dialect,
                &format!("The wire format of {dialect}, for its clients."),
            ));
        }
    }
    document
}

/// Whether an operation of a path has a tag.
fn has_tag(item: &PathItem, tag: &str) -> bool {
    let operations = [&item.get, &item.post, &item.put, &item.patch, &item.delete];
    let tags = operations
        .into_iter()
        .flatten()
        .filter_map(|operation| operation.tags.as_ref());
    tags.flatten().any(|own| own == tag)
}
