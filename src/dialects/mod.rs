//! Other systems' wire formats over the use cases: thin faces, one file or folder each, without logic of their own.
//!
//! Each has its paths on the platform's own port, as they are or under a prefix, and may have a port of its own. Shapes
//! that the originals' clients depend on are kept to the byte; who calls, what they may do, limits and money are the
//! platform's.

mod asking;
pub mod claude_agent_http;
pub mod claude_agent_server;
pub mod claude_code_sse;
pub mod codeagents_proxy;
mod frames;
mod listing;
pub mod mcp_coding_agents;
pub mod openai;
mod refusing;
mod verbatim;

use actix_web::web;
use chrono::{DateTime, SecondsFormat, Utc};
use utoipa::openapi::OpenApi;
use utoipa_actix_web::scope;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::api::{self, fallback};
use crate::domain::Dialect;

/// A dialect on the platform's own port.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Which.
    pub dialect: Dialect,
    /// What its paths begin with; empty where they are the platform's neighbours.
    pub prefix: String,
}

/// What dialects keep in memory, the same at all ports of a server.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    connected: web::Data<claude_agent_server::Connected>,
    folders: web::Data<codeagents_proxy::Folders>,
}

impl Shared {
    fn add_to(&self, config: &mut ServiceConfig<'_>) {
        config
            .app_data(self.connected.clone())
            .app_data(self.folders.clone());
    }
}

/// The routes of these dialects, beside the platform's own.
pub fn routes(mounts: &[Mount], shared: &Shared) -> impl Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static {
    let (mounts, shared) = (mounts.to_vec(), shared.clone());
    move |config| {
        shared.add_to(config);
        for mount in &mounts {
            if mount.prefix.is_empty() {
                add_paths(mount.dialect, config);
            } else {
                add_whole(mount.dialect, &mount.prefix, config);
            }
        }
    }
}

/// The routes of one dialect that has an address of its own.
pub fn alone(dialect: Dialect, shared: &Shared) -> impl Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static {
    let shared = shared.clone();
    move |config| {
        shared.add_to(config);
        add_whole(dialect, "", config);
    }
}

/// The OpenAPI document of a server with these dialects.
#[must_use]
pub fn openapi(mounts: &[Mount]) -> OpenApi {
    api::openapi(&routes(mounts, &Shared::default()))
}

/// All that a dialect has, where nothing else is.
fn add_whole(dialect: Dialect, prefix: &str, config: &mut ServiceConfig<'_>) {
    let rest = match dialect {
        Dialect::ClaudeAgentHttp => web::to(claude_agent_http::not_here),
        _ => web::to(fallback::not_here),
    };
    config.service(
        scope::scope(prefix)
            .configure(|config| {
                add_paths(dialect, config);
                add_platform_paths(dialect, config);
            })
            .default_service(rest),
    );
}

/// The paths that are a dialect's alone.
fn add_paths(dialect: Dialect, config: &mut ServiceConfig<'_>) {
    match dialect {
        Dialect::ClaudeAgentHttp => claude_agent_http::add_paths(config),
        Dialect::ClaudeAgentServer => claude_agent_server::add_paths(config),
        Dialect::ClaudeCodeSse => claude_code_sse::add_paths(config),
        Dialect::CodeagentsProxy => codeagents_proxy::add_paths(config),
        Dialect::McpCodingAgents => mcp_coding_agents::add_paths(config),
        Dialect::Openai => openai::add_paths(config),
    }
}

/// The paths of a dialect that the platform has too, and answers itself where they meet.
fn add_platform_paths(dialect: Dialect, config: &mut ServiceConfig<'_>) {
    if dialect == Dialect::ClaudeCodeSse {
        claude_code_sse::add_platform_paths(config);
    }
}

/// A time as JavaScript's `toISOString` writes one.
fn iso(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The same of a time that is written in RFC 3339; empty where it is none.
fn iso_of(time: &str) -> String {
    time.parse().map(iso).unwrap_or_default()
}
