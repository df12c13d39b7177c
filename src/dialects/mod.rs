//! Other systems' wire formats over the use cases: thin faces, one file or folder each, without logic of their own.
//!
//! Each is mounted under a prefix. Shapes that the originals' clients depend on are kept to the byte; who calls, what they
//! may do, limits and money are the platform's.

pub mod claude_agent_http;
pub mod claude_code_sse;
mod frames;
mod listing;
mod refusing;

use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::api;

/// Where the dialects are; one that is absent is switched off.
#[derive(Debug, Clone)]
pub struct Mounts {
    /// The prefix of `claude-agent-http`.
    pub claude_agent_http: Option<String>,
    /// The prefix of `claude-code-sse`.
    pub claude_code_sse: Option<String>,
}

/// The routes of all dialects that are switched on.
pub fn routes(mounts: &Mounts) -> impl Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static {
    let mounts = mounts.clone();
    move |config| {
        if let Some(prefix) = &mounts.claude_agent_http {
            claude_agent_http::mount(config, prefix);
        }
        if let Some(prefix) = &mounts.claude_code_sse {
            claude_code_sse::mount(config, prefix);
        }
    }
}

/// The OpenAPI document of a server with these dialects.
#[must_use]
pub fn openapi(mounts: &Mounts) -> OpenApi {
    api::openapi(&routes(mounts))
}
