//! What the platform refuses, in other systems' words.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};

use crate::api::problem::Problem;

/// The headers of a problem that say something to any client.
const HEADERS: [&str; 5] = [
    "retry-after",
    "www-authenticate",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
];

/// An error of this status and body, with the headers of what the platform says of it.
pub(super) fn respond(status: StatusCode, problem: Option<&Problem>, body: impl Serialize) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    if let Some(problem) = problem {
        let said = problem.to_response("");
        for name in HEADERS {
            if let Some(value) = said.headers().get(name) {
                response.insert_header((name, value.clone()));
            }
        }
    }
    response.json(body)
}

/// What operations can answer with, each with an error of this schema, as the OpenAPI document lists it.
pub(super) fn documented(schema: &str, statuses: &[(u16, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let response = |words: &str| {
        let schema = Some(Ref::from_schema_name(schema));
        ResponseBuilder::new()
            .description(words)
            .content("application/json", ContentBuilder::new().schema(schema).build())
            .build()
    };
    let all = statuses.iter();
    all.map(|(status, words)| (status.to_string(), response(words).into()))
        .collect()
}

/// A problem in one sentence.
pub(super) fn words(problem: &Problem) -> &str {
    problem.detail.as_deref().unwrap_or_else(|| problem.code.title())
}
