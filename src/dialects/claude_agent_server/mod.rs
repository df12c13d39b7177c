//! `claude-agent-server`: one conversation for each caller, over a WebSocket, in the CLI's own messages.
//!
//! `POST /config` says how its agents are run, and begins it anew; it goes on from one connection to the next, and after a
//! restart. What would choose programs, folders or variables is refused by name.

mod commands;
mod config;
mod connection;
mod refusal;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use self::commands::Desk;
use self::config::{Config, QueryConfig};
pub(super) use self::connection::Connected;
use self::connection::{SocketMessage, serve_seated};
use self::refusal::{ConfigRefusals, ConnectRefusals, ErrorView, Refusal, answered};
use super::asking::{self, all_named, find_or_make_named, user_of};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Authenticator, Caller};
use crate::api::v1::socket::line::{Line, bounded};
use crate::api::v1::socket::{SocketRules, check_origin};
use crate::domain::{EventKind, Principal, SessionChange, SessionOptions, UserId};
use crate::service::{Error, EventOrder, NewSession, Services, SessionDetails};

/// What a caller's conversation is found by, what it was configured with, and whether with a key.
const MARK: &str = "claude_agent_server";
const CONFIG: &str = "claude_agent_server_config";
const HAS_KEY: &str = "claude_agent_server_has_key";
/// What is told of a conversation.
const TOLD: [EventKind; 3] = [EventKind::AgentMessage, EventKind::Done, EventKind::Error];

/// Its routes.
pub(super) fn add_paths(config: &mut ServiceConfig<'_>) {
    config.service(get_config).service(set_config).service(connect);
}

/// How the conversation's agents are run.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerConfigured)]
struct ConfigView {
    /// What was set; empty at first. Without keys.
    #[schema(value_type = QueryConfig)]
    config: Value,
}

/// That it is set.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerSet)]
struct SetView {
    /// `true`.
    success: bool,
    /// What was set. Without keys.
    #[schema(value_type = QueryConfig)]
    config: Value,
}

/// Look at the configuration
///
/// Of the caller's own conversation. Keys, and what MCP servers are told in secret, are not shown.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "claude-agent-server",
    operation_id = "claude_agent_server_get_config",
    responses((status = 200, description = "What was set", body = ConfigView), ConfigRefusals)
)]
#[get("/config")]
async fn get_config(
    request: HttpRequest,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let found = async {
        let caller = Caller::<AsReader>::of(&request).await?;
        let found = conversation(&services, &caller, &user_of(&caller, &limits)).await?;
        let config = found.and_then(|details| details.session.metadata.get(CONFIG).cloned());
        let config = config.unwrap_or_else(|| Map::new().into());
        Ok(HttpResponse::Ok().json(ConfigView { config }))
    };
    answered(found.await)
}

/// Set the configuration
///
/// The caller's next connection begins a conversation that is run so; one that is open goes on as it is. A key is used for this
/// conversation alone, and kept in this server's memory: sealed, never told, and to be set again after a restart.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-server",
    operation_id = "claude_agent_server_set_config",
    request_body = QueryConfig,
    responses(
        (status = 200, description = "It is set", body = SetView),
        (status = 400, description = "It is no configuration, or holds what cannot be set", body = ErrorView),
        ConfigRefusals,
    )
)]
#[post("/config")]
async fn set_config(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    connected: web::Data<Connected>,
    services: web::Data<Services>,
) -> HttpResponse {
    let set = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let body = asking::json(&request, body, &limits).await?;
        let config = config::read(body, &limits)?;
        let user = user_of(&caller, &limits);
        let former = all_named(&services, &caller, &user, &[(MARK, &mark(&caller))]).await?;
        let shown = config.shown.clone();
        make(&services, &caller, user, config).await?;
        for former in &former {
            leave(&services, &connected, &caller, former).await?;
        }
        Ok(HttpResponse::Ok().json(SetView {
            success: true,
            config: shown.into(),
        }))
    };
    answered(set.await)
}

/// Connect to the conversation
///
/// Each message is a JSON object. The server's (`ClaudeAgentServerOutput`) are `connected` at first, then what the CLI says from now on; the
/// client's are `ClaudeAgentServerInput`. A caller who is connected already is told so, and let go.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "claude-agent-server",
    operation_id = "claude_agent_server_connect",
    responses(
        (status = 101, description = "The connection is a WebSocket; these are its messages, one way and the other", body = SocketMessage),
        (status = 404, description = "That is no WebSocket", body = String, content_type = "text/plain"),
        ConnectRefusals,
    )
)]
#[get("/ws")]
async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    limits: web::Data<ApiLimits>,
    rules: web::Data<SocketRules>,
    authenticator: web::Data<Authenticator>,
    connected: web::Data<Connected>,
    services: web::Data<Services>,
) -> HttpResponse {
    let opened = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        check_origin(&request, &rules.origins)?;
        if !request.headers().contains_key("sec-websocket-key") {
            return Ok(HttpResponse::NotFound()
                .content_type("text/plain;charset=utf-8")
                .body("Not Found"));
        }
        let seat = connected.seat(&caller);
        let details = match &seat {
            Some(_) => Some(ready(&services, &limits, &caller).await?),
            None => None,
        };
        let upgraded = actix_ws::handle(&request, payload);
        let (response, socket, incoming) = upgraded.map_err(|error| Refusal::bad(&error.to_string()))?;
        let (Some(seat), Some(details)) = (seat, details) else {
            connection::turn_away(socket, &rules, "Server already has an active connection");
            return Ok(response);
        };
        if details.session.metadata.contains_key(HAS_KEY) && !services.credentials.has_for_session(&details) {
            let words = "The key that POST /config set is no longer known to this server; set it again";
            connection::turn_away(socket, &rules, words);
            return Ok(response);
        }
        let session = details.session.id;
        let order = EventOrder {
            session,
            after: services.events.last(&caller, session).await?,
            kinds: TOLD.to_vec(),
            deltas: false,
            raw: true,
            turn: None,
            follow: true,
        };
        let events = services.events.open(&caller, order).await?;
        let events = events.ok_or_else(|| Refusal::bad("The conversation has ended"))?;
        let incoming = bounded(incoming, &rules);
        let over = services.events.over(&caller);
        let rules = rules.get_ref().clone();
        let line = Line::new(socket, rules.idle_timeout);
        let desk = Desk {
            caller,
            session,
            limits,
            services,
            authenticator,
        };
        let served = serve_seated(seat, line, rules, desk, incoming, events, over);
        #[expect(
            clippy::disallowed_methods,
            reason = "the connection is the worker's, like any response; what a message begins does not depend on it"
        )]
        actix_web::rt::spawn(served);
        Ok(response)
    };
    answered(opened.await)
}

/// By what a caller's conversation is known.
fn mark(caller: &Principal) -> String {
    caller
        .key
        .map_or_else(|| caller.credential.clone(), |key| key.to_string())
}

/// The caller's conversation: the one that was configured last.
async fn conversation(
    services: &Services,
    caller: &Principal,
    user: &UserId,
) -> Result<Option<SessionDetails>, Error> {
    let all = all_named(services, caller, user, &[(MARK, &mark(caller))]).await?;
    Ok(all.into_iter().next())
}

/// The caller's conversation; it is made where there is none.
async fn ready(services: &Services, limits: &ApiLimits, caller: &Principal) -> Result<SessionDetails, Error> {
    let user = user_of(caller, limits);
    if let Some(found) = conversation(services, caller, &user).await? {
        return Ok(found);
    }
    let new = new_session(user, Config::default());
    let made = find_or_make_named(services, caller, new, &[(MARK, &mark(caller))]).await?;
    Ok(made.0)
}

fn new_session(user: UserId, config: Config) -> NewSession {
    let mut metadata = Map::new();
    metadata.insert(CONFIG.to_owned(), config.shown.into());
    NewSession {
        user,
        subdir: None,
        title: None,
        metadata,
        options: SessionOptions {
            agent_messages: Some(true),
            ..config.options
        },
    }
}

/// Makes a conversation that is run as it was configured.
async fn make(services: &Services, caller: &Principal, user: UserId, config: Config) -> Result<(), Refusal> {
    let key = config.key.clone();
    let mut new = new_session(user, config);
    new.metadata.insert(MARK.to_owned(), mark(caller).into());
    if key.is_some() {
        new.metadata.insert(HAS_KEY.to_owned(), true.into());
    }
    let made = services.sessions.create(caller, new).await?;
    if let Some(key) = key
        && let Err(error) = services.credentials.set_for_session(&made, &key)
    {
        services.sessions.close(caller, made.session.id).await?;
        return Err(error.into());
    }
    Ok(())
}

/// Gives up the conversation before: a client that is connected keeps it until it leaves.
async fn leave(
    services: &Services,
    connected: &Connected,
    caller: &Principal,
    former: &SessionDetails,
) -> Result<(), Error> {
    if connected.has(caller) {
        let mut metadata = former.session.metadata.clone();
        metadata.remove(MARK);
        let change = SessionChange {
            metadata: Some(metadata),
            ..SessionChange::default()
        };
        services
            .sessions
            .update(caller, former.session.id, change)
            .await?;
        return Ok(());
    }
    services.credentials.forget_for_session(former);
    services.sessions.close(caller, former.session.id).await
}
