//! The HTTP face: routes, what they take and answer, and nothing else. Handlers authorise, validate, call one use case
//! and show its answer.
//!
//! Start reading at [`routes`]; [`input`] reads requests, [`problem`] says what goes wrong, [`v1`] holds the handlers.

pub mod auth;
pub mod console;
pub mod docs;
mod errors;
pub mod fallback;
pub mod health;
pub mod idempotency;
pub mod input;
mod measuring;
pub mod metrics;
pub mod page;
mod peers;
pub mod problem;
pub mod responses;
pub mod streams;
pub mod trace;
pub mod v1;

use std::net::TcpListener;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpServer, web};
use ipnet::IpNet;
use utoipa::openapi::OpenApi;
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

pub use auth::{Anonymous, Authenticator};
pub use measuring::HttpMetrics;
pub use v1::socket::SocketRules;

use crate::console::Console;
use crate::domain::UserId;
use crate::service::Services;

/// What requests may ask for at most, and how the server treats its clients.
#[derive(Debug, Clone)]
pub struct ApiLimits {
    /// The longest body, in bytes.
    pub body_limit_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How many entries a page has when the request does not say.
    pub page_default: u32,
    /// The most entries of a page.
    pub page_max: u32,
    /// The longest prompt, in bytes.
    pub message_max_bytes: usize,
    /// The longest title, in characters.
    pub title_max_chars: usize,
    /// The most metadata of a session, in bytes of JSON.
    pub metadata_max_bytes: usize,
    /// The longest system prompt, in bytes.
    pub system_prompt_max_bytes: usize,
    /// The most entries of a list of tools.
    pub tool_list_max: usize,
    /// The most keys of metadata that a list may be filtered by at once.
    pub metadata_filters_max: usize,
    /// The longest option that the CLI defines (sub-agents, MCP servers, a schema), in bytes of JSON.
    pub option_max_bytes: usize,
    /// The most attachments of a prompt.
    pub attachments_max: usize,
    /// The longest time limit that a turn may ask for.
    pub turn_timeout_max: Duration,
    /// The most files of one upload.
    pub upload_max_files: usize,
    /// How long a body that brings files may be silent.
    pub upload_patience: Duration,
    /// How long a link shows a session where the request does not say.
    pub share_ttl: Duration,
    /// The longest time for which a link may show a session.
    pub share_ttl_max: Duration,
    /// How long a stream may be silent before a comment is sent.
    pub heartbeat: Duration,
    /// The most entries of a list of a dialect that has no pages.
    pub dialect_list_max: usize,
    /// The user for whom a dialect makes sessions where nobody names one.
    pub dialect_user: UserId,
    /// Whether `openai` tells the calls of tools in its text.
    pub dialect_shows_tools: bool,
    /// The longest request of another instance, in bytes.
    pub peer_request_max_bytes: usize,
}

/// What handlers work with.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// The use cases.
    pub services: Services,
    /// Who calls.
    pub authenticator: Authenticator,
    /// What requests may ask for at most.
    pub limits: ApiLimits,
    /// Signs the cursors of lists.
    pub cursors: page::CursorKey,
    /// How connections are treated that stay open.
    pub sockets: SocketRules,
    /// What is counted and measured of requests.
    pub metrics: HttpMetrics,
    /// The web console, unless it is switched off.
    pub console: Option<Console>,
}

/// How the HTTP server listens.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// How many threads serve requests; 0: one for each core.
    pub workers: usize,
    /// The most open connections, over all threads.
    pub max_connections: usize,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long connections may take to end after the server was told to.
    pub connection_grace: Duration,
    /// The web origins whose pages may call; `*` alone for all.
    pub cors_origins: Vec<String>,
    /// Whether pages may send the browser's credentials.
    pub cors_credentials: bool,
    /// The proxies whose word on a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// What is served at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The API, and others besides it.
    All,
    /// The others alone.
    Others,
}

/// Serves on `listener`, once the answer is awaited: the API, unless the content is the others alone, and `others`.
pub fn serve(
    state: ApiState,
    listener: TcpListener,
    options: &ServerOptions,
    content: Content,
    others: impl Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static,
) -> std::io::Result<Server> {
    let cors = options.clone();
    let services = web::Data::new(state.services);
    let authenticator = web::Data::new(state.authenticator);
    let limits = web::Data::new(state.limits);
    let cursors = web::Data::new(state.cursors);
    let sockets = web::Data::new(state.sockets);
    let metrics = web::Data::new(state.metrics);
    let console = web::Data::new(state.console);
    let proxies = web::Data::new(trace::TrustedProxies(options.trusted_proxies.clone()));
    let document = match content {
        Content::All => openapi(&others),
        Content::Others => document_of(&others),
    };
    let known_paths = web::Data::new(fallback::KnownPaths::of(&document));
    let document = web::Data::new(docs::Document::new(&document)?);
    let mut server = HttpServer::new(move || {
        App::new()
            .into_utoipa_app()
            .app_data(services.clone())
            .app_data(authenticator.clone())
            .app_data(limits.clone())
            .app_data(cursors.clone())
            .app_data(sockets.clone())
            .app_data(metrics.clone())
            .app_data(proxies.clone())
            .app_data(known_paths.clone())
            .app_data(document.clone())
            .app_data(console.clone())
            .configure(|config| {
                if content == Content::All {
                    routes(config);
                }
            })
            .configure(&others)
            .map(|app| {
                let app = match content {
                    Content::All => app
                        .configure(docs::configure)
                        .configure(console::configure)
                        .configure(peers::configure),
                    Content::Others => app,
                };
                app.default_service(web::to(fallback::not_here))
            })
            .into_app()
            .wrap(Condition::new(!cors.cors_origins.is_empty(), cors_policy(&cors)))
            .wrap(from_fn(trace::around))
    })
    .keep_alive(options.keep_alive)
    .client_request_timeout(options.head_timeout)
    .shutdown_timeout(options.connection_grace.as_secs().max(1))
    .disable_signals();
    if options.workers > 0 {
        server = server.workers(options.workers);
    }
    let workers = if options.workers > 0 {
        options.workers
    } else {
        default_workers()
    };
    // actix-web counts them by thread.
    server = server.max_connections(options.max_connections.div_ceil(workers));
    Ok(server.listen(listener)?.run())
}

fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Every route of the API.
pub fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(v1::sessions::create_session)
        .service(v1::sessions::list_sessions)
        .service(v1::sessions::get_session)
        .service(v1::sessions::update_session)
        .service(v1::sessions::delete_session)
        .service(v1::sessions::resume_session)
        .service(v1::forks::fork_session)
        .service(v1::messages::list_messages)
        .service(v1::chat::chat)
        .service(v1::chat::stream_chat)
        .service(v1::chat::send_message)
        .service(v1::chat::stream_message)
        .service(v1::chat::submit_turn)
        .service(v1::events::read_events)
        .service(v1::socket::issue_ticket)
        .service(v1::socket::open_socket)
        .service(v1::git::get_git_status)
        .service(v1::git::get_git_diff)
        .service(v1::git::list_git_commits)
        .service(v1::git::create_git_commit)
        .service(v1::git::restore_git_files)
        .service(v1::templates::list_templates)
        .service(v1::shares::create_share)
        .service(v1::shares::list_shares)
        .service(v1::shares::revoke_share)
        .service(v1::turns::list_turns)
        .service(v1::turns::get_turn)
        .service(v1::turns::cancel_turn)
        .service(v1::turns::interrupt_session)
        .service(v1::checkpoints::list_checkpoints)
        .service(v1::checkpoints::get_turn_diff)
        .service(v1::checkpoints::rewind_turn)
        .service(v1::webhooks::create_webhook)
        .service(v1::webhooks::list_webhooks)
        .service(v1::webhooks::get_webhook)
        .service(v1::webhooks::update_webhook)
        .service(v1::webhooks::remove_webhook)
        .service(v1::webhooks::get_webhook_secret)
        .service(v1::webhooks::rotate_webhook_secret)
        .service(v1::webhooks::deliveries::list_deliveries)
        .service(v1::webhooks::deliveries::redeliver_message)
        .service(v1::webhooks::deliveries::redeliver_dead)
        .service(v1::webhooks::deliveries::replay_events)
        .service(v1::files::list_files)
        .service(v1::files::stat_file)
        .service(v1::files::remove_file)
        .service(v1::files::make_folder)
        .service(v1::files::move_file)
        .service(v1::files::copy_file)
        .service(v1::files::search_files)
        .service(v1::files::content::read_file)
        .service(v1::files::content::write_file)
        .service(v1::files::uploads::upload_files)
        .service(v1::files::archives::download_folder)
        .service(v1::files::archives::unpack_archive)
        .service(v1::permissions::list_permissions)
        .service(v1::permissions::list_session_permissions)
        .service(v1::permissions::get_permission)
        .service(v1::permissions::answer_permission)
        .service(v1::steering::get_context_usage)
        .service(v1::steering::list_mcp_servers)
        .service(v1::steering::stop_task)
        .service(v1::steering::rewind_files)
        .service(v1::models::list_models)
        .service(v1::tenants::create_tenant)
        .service(v1::tenants::list_tenants)
        .service(v1::tenants::get_tenant)
        .service(v1::tenants::update_tenant)
        .service(v1::erasure::erase_tenant)
        .service(v1::erasure::erase_user)
        .service(v1::erasure::export_user)
        .service(v1::erasure::export_tenant)
        .service(v1::keys::create_key)
        .service(v1::keys::list_keys)
        .service(v1::keys::get_key)
        .service(v1::keys::revoke_key)
        .service(v1::audit::list_audit)
        .service(v1::budgets::set_budget)
        .service(v1::budgets::list_budgets)
        .service(v1::budgets::remove_budget)
        .service(v1::usage::get_usage)
        .service(v1::usage::get_me)
        .service(v1::credentials::set_model_credential)
        .service(v1::credentials::get_model_credential)
        .service(v1::credentials::remove_model_credential)
        .service(health::get_health)
        .service(health::get_liveness)
        .service(health::get_readiness)
        .service(metrics::get_metrics)
        .service(docs::get_root)
        .service(docs::get_openapi);
}

/// The OpenAPI document of the API, and of `others` besides it.
#[must_use]
pub fn openapi(others: &impl Fn(&mut ServiceConfig<'_>)) -> OpenApi {
    let app = App::new().into_utoipa_app().configure(routes).configure(others);
    docs::complete(app.split_for_parts().1)
}

/// The OpenAPI document of some routes alone.
fn document_of(routes: &impl Fn(&mut ServiceConfig<'_>)) -> OpenApi {
    App::new().into_utoipa_app().configure(routes).split_for_parts().1
}

fn cors_policy(options: &ServerOptions) -> Cors {
    let mut cors = Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "PATCH", "DELETE"])
        .allow_any_header()
        .expose_headers([
            trace::REQUEST_ID.as_str(),
            "retry-after",
            "location",
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "x-session-id",
        ])
        .max_age(600);
    for origin in &options.cors_origins {
        cors = if origin == "*" {
            cors.allow_any_origin().send_wildcard()
        } else {
            cors.allowed_origin(origin)
        };
    }
    if options.cors_credentials {
        cors.supports_credentials()
    } else {
        cors
    }
}
