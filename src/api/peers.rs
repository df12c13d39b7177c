//! What other instances of the server ask of this one, under `/internal`. It is in no document: nobody else is to ask, and
//! without the token that the instances share it is as if it were not there.

use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::StreamExt as _;

use super::ApiLimits;
use super::problem::{Problem, ProblemCode};
use crate::domain::SessionId;
use crate::service::{PeerRequest, Services};

/// The routes.
pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::scope("/internal/v1")
            .route("/commands", web::post().to(obey))
            .route("/logs/{session_id}", web::get().to(follow)),
    );
}

/// Refuses whoever is no instance.
fn admit(request: &HttpRequest, services: &Services) -> Result<(), Problem> {
    let given = request.headers().get(header::AUTHORIZATION);
    let token = given
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match token {
        Some(token) if services.peers.admits(token) => Ok(()),
        _ => Err(Problem::new(ProblemCode::NotFound)),
    }
}

async fn obey(
    request: HttpRequest,
    body: web::Payload,
    services: web::Data<Services>,
    limits: web::Data<ApiLimits>,
) -> Result<HttpResponse, Problem> {
    // Before anything is read: what a stranger sends costs nothing.
    admit(&request, &services)?;
    let body = body.to_bytes_limited(limits.peer_request_max_bytes).await;
    let body = body
        .map_err(|_too_long| Problem::new(ProblemCode::BodyTooLarge))?
        .map_err(|error| Problem::new(ProblemCode::RequestTimeout).with_detail(error.to_string()))?;
    let asked: PeerRequest = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(ProblemCode::ValidationFailed).with_detail(error.to_string()))?;
    Ok(HttpResponse::Ok().json(services.peers.obey(asked).await))
}

async fn follow(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    admit(&request, &services)?;
    let not_here = || Problem::new(ProblemCode::NotFound);
    let session: SessionId = path.parse().map_err(|_invalid| not_here())?;
    let lines = services.peers.log(session).await.ok_or_else(not_here)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/x-ndjson"))
        .streaming(lines.map(Ok::<_, std::convert::Infallible>)))
}
