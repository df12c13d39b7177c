//! What no route takes: told apart are paths that exist for other methods, and paths that do not exist.

use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::OpenApi;

use super::problem::{Problem, ProblemCode};

/// The paths that exist, and their methods.
#[derive(Debug)]
pub struct KnownPaths(Vec<(Vec<String>, String)>);

impl KnownPaths {
    /// The paths of a document.
    #[must_use]
    pub fn of(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter().map(|(path, item)| {
            let methods = [
                ("GET", item.get.is_some()),
                ("POST", item.post.is_some()),
                ("PATCH", item.patch.is_some()),
                ("PUT", item.put.is_some()),
                ("DELETE", item.delete.is_some()),
            ];
            let taken: Vec<_> = methods
                .into_iter()
                .filter_map(|(name, taken)| taken.then_some(name))
                .collect();
            (parts(path).map(ToOwned::to_owned).collect(), taken.join(", "))
        });
        Self(paths.collect())
    }

    /// The methods that a path takes, if it exists.
    #[must_use]
    pub fn methods(&self, path: &str) -> Option<&str> {
        let asked: Vec<&str> = parts(path).collect();
        let matches = |template: &[String]| {
            template.len() == asked.len()
                && template
                    .iter()
                    .zip(&asked)
                    .all(|(part, asked)| part == asked || (part.starts_with('{') && !asked.is_empty()))
        };
        self.0
            .iter()
            .find(|(template, _)| matches(template))
            .map(|(_, methods)| methods.as_str())
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('/').split('/')
}

/// Answers what no route takes.
pub async fn not_here(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let known = request.app_data::<web::Data<KnownPaths>>();
    match known.and_then(|known| known.methods(request.path())) {
        Some(methods) => {
            let mut problem = Problem::new(ProblemCode::MethodNotAllowed);
            problem.allow = Some(methods.to_owned());
            Err(problem)
        }
        None => Err(Problem::new(ProblemCode::NotFound)),
    }
}
