//! `openai`: chat completions, as the official clients of `OpenAI`'s API ask for them.
//!
//! A request with a `user`, or with a session's name in a header, goes on in the session of that name, which remembers: of the
//! messages, only those since the last answer are asked. Any other has a session of its own, which ends with its answer.
//! Parameters that an agent cannot heed are refused by name.

mod answer;
mod refusal;
mod requests;

use std::convert::Infallible;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::Map;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use self::answer::{Answer, ChunkView, CompletionView};
use self::refusal::{ErrorView, Refusal, RefusalResponses, TurnRefusalResponses, answered};
use self::requests::{Asked, ChatRequest};
use super::asking::{self, find_or_make_named, user_of};
use super::frames;
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller};
use crate::domain::{Principal, SessionChange, SessionId, SessionOptions, UserId};
use crate::service::{Error, LogStream, NewSession, OnBusy, Services, SessionDetails, TurnOrder};

/// The model's name by which the server's own choice is asked for.
const OWN_CHOICE: &str = "claude-code";
/// The header that names the session, and tells which it is.
const SESSION: &str = "x-session-id";
/// The longest name of a session.
const SESSION_NAME_MAX: usize = 200;
/// What a session of this dialect is found by.
const MARK: &str = "openai_session";

/// Its routes.
pub(super) fn add_paths(config: &mut ServiceConfig<'_>) {
    config
        .service(complete_chat)
        .service(list_models)
        .service(get_model);
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiModel)]
pub struct ModelView {
    /// The name to ask for it with.
    #[schema(example = "claude-code")]
    id: String,
    /// `model`.
    #[schema(example = "model")]
    object: &'static str,
    /// 0: it is not known when it was made.
    #[schema(example = 0)]
    created: u64,
    /// `anthropic`.
    #[schema(example = "anthropic")]
    owned_by: &'static str,
}

impl ModelView {
    fn of(id: String) -> Self {
        Self {
            id,
            object: "model",
            created: 0,
            owned_by: "anthropic",
        }
    }
}

/// Models.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenaiModelList)]
pub struct ModelListView {
    /// `list`.
    #[schema(example = "list")]
    object: &'static str,
    /// The models.
    data: Vec<ModelView>,
}

/// Complete a chat
///
/// With `user` or the header `X-Session-Id`, in the session of that name, which is made where there is none: it remembers, so only the
/// messages since the last answer count. Without, in a session of its own, which is told all messages. The answer's
/// `X-Session-Id` is the session's id. A prompt for a session that is at work waits for its turn.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "openai",
    operation_id = "openai_complete_chat",
    params(("X-Session-Id" = Option<String>, Header, description = "The name of the session, any of the client's own, or the id of one", example = "my-conversation")),
    request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer; with `stream`, server-sent events, each a chunk, the last `[DONE]`", content(
            (CompletionView = "application/json"),
            (ChunkView = "text/event-stream"),
        )),
        TurnRefusalResponses,
    )
)]
#[post("/v1/chat/completions")]
async fn complete_chat(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let completed = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let body = asking::json(&request, body, &limits).await?;
        let asked = requests::read(body, &limits)?;
        let place = place(&services, &limits, &caller, &request, &asked).await?;
        let session = place.details.session.id;
        let begun = begin(&services, &caller, &limits, &place, &asked).await;
        let close = closing(services.clone(), caller, session, place.ends);
        let events = match begun {
            Ok(events) => events,
            Err(refusal) => {
                close.await;
                return Err(refusal);
            }
        };
        let answer = Answer::new(&asked, services.sessions.now(), limits.dialect_shows_tools);
        if asked.stream {
            let chunks = answer.into_chunks(events, limits.heartbeat);
            let chunks = chunks.chain(stream::once(async move {
                close.await;
                Ok::<_, Infallible>(Bytes::new())
            }));
            let mut response = frames::response("text/event-stream; charset=utf-8");
            response.insert_header((SESSION, session.to_string()));
            return Ok(response
                .streaming(chunks.filter(|chunk| {
                    std::future::ready(chunk.as_ref().is_ok_and(|chunk| !chunk.is_empty()))
                })));
        }
        let completion = answer.whole(events).await;
        close.await;
        let mut response = HttpResponse::Ok();
        response.insert_header((SESSION, session.to_string()));
        Ok(response.json(completion?))
    };
    answered(completed.await)
}

/// List models
///
/// Those that the CLI offers, and `claude-code`, which leaves it to the server.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "openai",
    operation_id = "openai_list_models",
    responses((status = 200, description = "The models", body = ModelListView), RefusalResponses)
)]
#[get("/v1/models")]
async fn list_models(request: HttpRequest, services: web::Data<Services>) -> HttpResponse {
    let listed = async {
        let caller = Caller::<AsReader>::of(&request).await?;
        let ids = model_ids(&services, &caller).await?;
        Ok(HttpResponse::Ok().json(ModelListView {
            object: "list",
            data: ids.into_iter().map(ModelView::of).collect(),
        }))
    };
    answered(listed.await)
}

/// Look a model up
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "openai",
    operation_id = "openai_get_model",
    params(("model" = String, Path, description = "The model", example = "claude-code")),
    responses(
        (status = 200, description = "The model", body = ModelView),
        (status = 404, description = "There is no such model", body = ErrorView),
        RefusalResponses,
    )
)]
#[get("/v1/models/{model}")]
async fn get_model(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> HttpResponse {
    let found = async {
        let caller = Caller::<AsReader>::of(&request).await?;
        let id = path.into_inner();
        check_model(&services, &caller, &id).await?;
        Ok(HttpResponse::Ok().json(ModelView::of(id)))
    };
    answered(found.await)
}

async fn model_ids(services: &Services, caller: &Principal) -> Result<Vec<String>, Error> {
    let known = services.models.list(caller).await?;
    let own = std::iter::once(OWN_CHOICE.to_owned());
    Ok(own.chain(known.into_iter().map(|model| model.id)).collect())
}

/// Refuses a model that nobody offers. Full names of models, which the CLI takes too, begin with `claude-`.
async fn check_model(services: &Services, caller: &Principal, id: &str) -> Result<(), Refusal> {
    let is_known =
        id.starts_with("claude-") || model_ids(services, caller).await?.iter().any(|known| known == id);
    if is_known {
        Ok(())
    } else {
        Err(Refusal::no_such_model(id))
    }
}

/// The session that a request goes on in.
struct Place {
    details: SessionDetails,
    /// Whether it knows nothing of what was said before.
    is_new: bool,
    /// Whether it ends with the answer.
    ends: bool,
}

async fn place(
    services: &Services,
    limits: &ApiLimits,
    caller: &Principal,
    request: &HttpRequest,
    asked: &Asked,
) -> Result<Place, Refusal> {
    check_model(services, caller, &asked.model).await?;
    let named = match request.headers().get(SESSION) {
        Some(name) => Some(name.to_str().unwrap_or_default().to_owned()),
        None => asked.user.as_ref().map(|user| format!("user:{user}")),
    };
    if let Some(id) = named.as_deref().and_then(|name| name.parse::<SessionId>().ok()) {
        let details = services.sessions.get(caller, id).await?;
        set_model(services, caller, &details, asked).await?;
        return Ok(Place {
            details,
            is_new: false,
            ends: false,
        });
    }
    let new = NewSession {
        user: user(caller, limits, asked)?,
        subdir: None,
        title: None,
        metadata: Map::new(),
        options: SessionOptions {
            model: model(asked),
            append_system_prompt: asked.system.clone(),
            ..SessionOptions::default()
        },
    };
    let Some(name) = named else {
        return Ok(Place {
            details: services.sessions.create(caller, new).await?,
            is_new: true,
            ends: true,
        });
    };
    if name.is_empty() || name.len() > SESSION_NAME_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Refusal::parameter(
            SESSION,
            &format!("must be 1 to {SESSION_NAME_MAX} printable characters of ASCII"),
        ));
    }
    // Other instructions are another conversation.
    let instructions = requests::digest(asked.system.as_deref().unwrap_or_default());
    let marks = [
        (MARK, name.as_str()),
        ("openai_instructions", instructions.as_str()),
    ];
    let (details, is_new) = find_or_make_named(services, caller, new, &marks).await?;
    if !is_new {
        set_model(services, caller, &details, asked).await?;
    }
    Ok(Place {
        is_new: is_new || details.session.message_count == 0,
        details,
        ends: false,
    })
}

/// Whom the session is for: the user that the request names, unless the credential acts for one.
fn user(caller: &Principal, limits: &ApiLimits, asked: &Asked) -> Result<UserId, Refusal> {
    match &asked.user {
        Some(user) if caller.user.is_none() => user
            .parse()
            .map_err(|error| Refusal::parameter("user", &format!("names a user of the platform: {error}"))),
        _ => Ok(user_of(caller, limits)),
    }
}

fn model(asked: &Asked) -> Option<String> {
    Some(asked.model.clone()).filter(|model| model != OWN_CHOICE)
}

async fn set_model(
    services: &Services,
    caller: &Principal,
    details: &SessionDetails,
    asked: &Asked,
) -> Result<(), Error> {
    let wanted = model(asked);
    if wanted.is_none() || wanted == details.session.options.model {
        return Ok(());
    }
    let change = SessionChange {
        model: Some(wanted),
        ..SessionChange::default()
    };
    services
        .sessions
        .update(caller, details.session.id, change)
        .await
        .map(|_changed| ())
}

async fn begin(
    services: &Services,
    caller: &Principal,
    limits: &ApiLimits,
    place: &Place,
    asked: &Asked,
) -> Result<LogStream, Refusal> {
    let prompt = asked.prompt(place.is_new);
    if let Some(words) = asking::wrong_with(&prompt, limits) {
        return Err(Refusal::parameter("messages", &words));
    }
    let order = TurnOrder {
        attachments: asked.attachments.clone(),
        on_busy: OnBusy::Queue,
        ..TurnOrder::new(place.details.session.id, prompt)
    };
    Ok(services.turns.stream(caller, order, None).await?)
}

/// Ends a session, if it ends with its answer.
async fn closing(services: web::Data<Services>, caller: Principal, session: SessionId, ends: bool) {
    if ends {
        asking::close(&services, &caller, session).await;
    }
}
