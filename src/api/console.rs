//! Where the web console is: its files under `/console/`. Its page is at `/`, too, for browsers ([`super::docs`]).

use actix_web::{HttpRequest, HttpResponse, guard, web};

use super::fallback;
use super::problem::{Problem, ProblemCode};
use crate::console::Console;

/// The console, unless it is switched off.
pub type Shown = web::Data<Option<Console>>;

/// The files that browsers load.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    let reading = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    config
        .service(
            web::resource("/console")
                .route(reading().to(async || web::Redirect::to("/console/")))
                .default_service(web::to(fallback::not_here)),
        )
        .service(
            web::resource("/console/{path:.*}")
                .route(reading().to(file))
                .default_service(web::to(fallback::not_here)),
        );
}

async fn file(
    request: HttpRequest,
    path: web::Path<String>,
    console: Shown,
) -> Result<HttpResponse, Problem> {
    let console = console.get_ref().ok_or(Problem::new(ProblemCode::NotFound))?;
    if path.is_empty() {
        return Ok(console.page(&request));
    }
    let file = console.file(&path, &request);
    file.ok_or(Problem::new(ProblemCode::NotFound))
}
