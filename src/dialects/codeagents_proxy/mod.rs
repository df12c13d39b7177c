//! `codeagents-proxy`: conversations that are bound to folders, one run at a time in each folder, whose events are counted
//! from 1 and can be read again.
//!
//! A conversation is a session that goes by the client's name for it. Folders are of the caller's tree.

mod folders;
mod payload;
mod refusal;
mod requests;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Map;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

pub(super) use self::folders::Folders;
use self::payload::{Numbered, Payload};
use self::refusal::{ErrorView, Refusal, RefusalResponses, answered};
use self::requests::{Asked, RunRequest};
use super::asking::{self, find_named, find_or_make_named, user_of};
use super::frames::{self, Told};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller};
use crate::domain::{
    EventId, EventKind, Principal, SessionChange, SessionId, SessionOptions, Subdir, TurnId, UserId,
};
use crate::service::{Error, EventOrder, LogStream, NewSession, Services, SessionDetails, TurnOrder};

/// What a conversation is found by, and the folder that it is bound to.
const MARK: &str = "codeagents_conversation";
const FOLDER: &str = "codeagents_folder";
/// What is read of a session's log.
const READ: [EventKind; 3] = [EventKind::AgentMessage, EventKind::Done, EventKind::Error];

/// Its routes.
pub(super) fn add_paths(config: &mut ServiceConfig<'_>) {
    config
        .service(get_health)
        .service(run_agent)
        .service(replay_events);
}

/// Whether the server answers
///
/// **Permissions**: none.
#[utoipa::path(
    tag = "codeagents-proxy",
    operation_id = "codeagents_proxy_health",
    security(()),
    responses((status = 200, description = "It does: `ok`", body = String, content_type = "text/plain"))
)]
#[get("/healthz")]
async fn get_health() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("ok")
}

/// Run a prompt in a conversation, or follow the run that goes on
///
/// Server-sent events, each with its number in the conversation as `id`: those after `Last-Event-ID`, then what comes, up to the end of
/// the run. The run goes on if the client leaves.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "codeagents-proxy",
    operation_id = "codeagents_proxy_stream",
    params(("Last-Event-ID" = Option<String>, Header, description = "The number of the last event that the client has; 0 when absent or blank", example = "42")),
    request_body = RunRequest,
    responses(
        (status = 200, description = "Server-sent events, each one of the CLI's messages", body = Payload, content_type = "text/event-stream"),
        (status = 400, description = "The request is not as it must be", body = ErrorView),
        RefusalResponses,
    )
)]
#[post("/v1/agent/stream")]
async fn run_agent(
    request: HttpRequest,
    body: web::Payload,
    limits: web::Data<ApiLimits>,
    folders: web::Data<Folders>,
    services: web::Data<Services>,
) -> HttpResponse {
    let streamed = async {
        let caller = Caller::<AsMember>::of(&request).await?;
        let body = asking::json(&request, body, &limits).await?;
        let last = request.headers().get("last-event-id");
        let asked = requests::read(body, last, &limits)?;
        let run = Run {
            services: &services,
            limits: &limits,
            user: user_of(&caller, &limits),
            caller: &caller,
            asked: &asked,
        };
        let (session, turn, is_new) = run.start_or_attach(&folders).await?;
        let events = open(&services, &caller, session, true).await?;
        let frames = follow(events, turn, asked.since, is_new, limits.heartbeat);
        Ok(frames::response("text/event-stream; charset=utf-8").streaming(frames))
    };
    answered(streamed.await)
}

/// Which part of a conversation is read.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReplayQuery {
    /// What came after the event of this number; 0 when absent or blank.
    #[param(example = "0")]
    since: Option<String>,
}

/// Read a conversation's events
///
/// As lines of JSON, as they are now: the line k is the event of the number `since` + k.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "codeagents-proxy",
    operation_id = "codeagents_proxy_replay",
    params(("conversation_id" = String, Path, description = "The conversation, by the client's name for it", example = "my-conversation"), ReplayQuery),
    responses(
        (status = 200, description = "Events, one a line", body = Payload, content_type = "application/x-ndjson"),
        RefusalResponses,
    )
)]
#[get("/v1/conversations/{conversation_id}/events")]
async fn replay_events(
    request: HttpRequest,
    path: web::Path<String>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> HttpResponse {
    let replayed = async {
        let caller = Caller::<AsReader>::of(&request).await?;
        if !requests::is_id(&path) {
            return Err(Refusal::bad("Invalid id format."));
        }
        let query = web::Query::<ReplayQuery>::from_query(request.query_string()).ok();
        let since = query.and_then(|query| query.into_inner().since);
        let since =
            requests::number(since.as_deref()).ok_or_else(|| Refusal::bad("Invalid since parameter."))?;
        let user = user_of(&caller, &limits);
        let found = find_named(&services, &caller, &user, &[(MARK, path.as_str())]).await?;
        let session = found.ok_or_else(|| Refusal::unknown(&path))?.session.id;
        let events = open(&services, &caller, session, false).await?;
        let mut response = HttpResponse::Ok();
        response
            .content_type("application/x-ndjson")
            .insert_header(("cache-control", "no-cache"));
        Ok(response.streaming(lines(events, since)))
    };
    answered(replayed.await)
}

/// A conversation's log from its beginning, where its numbers are counted from.
async fn open(
    services: &Services,
    caller: &Principal,
    session: SessionId,
    follow: bool,
) -> Result<LogStream, Refusal> {
    let order = EventOrder {
        session,
        after: EventId::START,
        kinds: READ.to_vec(),
        deltas: false,
        raw: true,
        turn: None,
        follow,
    };
    let events = services.events.read(caller, order).await?;
    events.ok_or_else(Refusal::internal)
}

/// The numbered events of a log as lines, those after `since`.
fn lines(events: LogStream, since: u64) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::unfold(
        (events, Numbered::default()),
        move |(mut events, mut numbered)| async move {
            loop {
                let item = match events.next().await? {
                    Ok(item) => item,
                    // The line is broken off, so that nobody takes it for the end.
                    Err(error) => return Some((Err(error), (events, numbered))),
                };
                if let Some((number, json)) = numbered.take(&item)
                    && number > since
                {
                    let line = Bytes::from(format!("{json}\n"));
                    return Some((Ok(line), (events, numbered)));
                }
            }
        },
    )
}

/// The numbered events of a log as server-sent events: those after `since`, up to the last one of a turn. All of a turn that was just
/// begun are told, wherever the client says that it is.
fn follow(
    events: LogStream,
    turn: TurnId,
    since: u64,
    is_new: bool,
    heartbeat: std::time::Duration,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let events = stream::unfold(Some(events), move |events| async move {
        let mut events = events?;
        let item = events.next().await?;
        let is_last = item
            .as_ref()
            .is_ok_and(|item| item.terminal && item.turn == Some(turn));
        Some((item, (!is_last).then_some(events)))
    });
    let mut numbered = Numbered::default();
    frames::of_items(events, heartbeat, b": ping\n\n", move |told| match told {
        Told::Event(item) => match numbered.take(item) {
            Some((number, json)) if number > since || (is_new && item.turn == Some(turn)) => {
                format!("id: {number}\ndata: {json}\n\n").into_bytes()
            }
            _ => Vec::new(),
        },
        // The stream ends without a result, and its client comes again.
        Told::Broken(_words) => Vec::new(),
    })
}

/// A run that is asked for.
struct Run<'a> {
    services: &'a Services,
    limits: &'a ApiLimits,
    caller: &'a Principal,
    user: UserId,
    asked: &'a Asked,
}

impl Run<'_> {
    /// The session, the turn that is followed, and whether it was just begun.
    async fn start_or_attach(&self, folders: &Folders) -> Result<(SessionId, TurnId, bool), Refusal> {
        let marks = [(MARK, self.asked.id.as_str())];
        let known = find_named(self.services, self.caller, &self.user, &marks).await?;
        if let Some(details) = &known
            && let Some(turn) = self.running(details).await?
        {
            return Ok((details.session.id, turn, false));
        }
        let Some(text) = &self.asked.text else {
            return Err(Refusal::bad("text required to start a new run."));
        };
        let folder = match (&self.asked.cwd, &known) {
            (Some(cwd), _) => self.folder(cwd)?,
            (None, Some(details)) => details.session.subdir.clone(),
            (None, None) => return Err(Refusal::bad("cwd must be a non-empty string.")),
        };
        if let Some(details) = &known {
            self.check_folder(details, folder.as_ref())?;
        }
        // Of two that want the same folder at once, the second sees the first.
        let _gate = folders.enter(self.caller, &self.user, folder.as_ref()).await;
        if let Some(busy) = self.busy_neighbour(folder.as_ref()).await? {
            return Err(Refusal::folder_busy(&busy));
        }
        let details = match known {
            Some(details) => {
                self.check_options(&details).await?;
                details
            }
            None => self.make(folder.clone()).await?,
        };
        self.check_folder(&details, folder.as_ref())?;
        let order = TurnOrder::new(details.session.id, text.clone());
        match self.services.turns.submit(self.caller, order).await {
            Ok(turn) => Ok((details.session.id, turn.turn.id, true)),
            Err(Error::SessionBusy { .. }) => Err(Refusal::already_running(&self.asked.id)),
            Err(error) => Err(error.into()),
        }
    }

    /// The turn that runs and can be attached to, if one runs.
    async fn running(&self, details: &SessionDetails) -> Result<Option<TurnId>, Refusal> {
        if !details.busy {
            return Ok(None);
        }
        let turns = self
            .services
            .turns
            .list(self.caller, details.session.id, None, 1)
            .await?;
        let running = turns
            .items
            .into_iter()
            .next()
            .filter(|turn| turn.turn.outcome.is_none());
        let Some(running) = running else { return Ok(None) };
        if self
            .asked
            .text
            .as_ref()
            .is_some_and(|text| *text != running.turn.message)
        {
            return Err(Refusal::already_running(&self.asked.id));
        }
        let cwd = self.asked.cwd.as_ref();
        let cwd = cwd.ok_or_else(|| Refusal::bad("cwd is required to attach."))?;
        self.check_folder(details, self.folder(cwd)?.as_ref())?;
        Ok(Some(running.turn.id))
    }

    fn folder(&self, cwd: &str) -> Result<Option<Subdir>, Refusal> {
        let path = std::path::Path::new(cwd);
        Ok(self.services.sessions.subdir_of(self.caller, &self.user, path)?)
    }

    fn check_folder(&self, details: &SessionDetails, folder: Option<&Subdir>) -> Result<(), Refusal> {
        if details.session.subdir.as_ref() == folder {
            return Ok(());
        }
        let expected = details.cwd.display().to_string();
        let got = self.asked.cwd.as_deref().unwrap_or_default();
        Err(Refusal::cwd_mismatch(&self.asked.id, &expected, got))
    }

    /// The folder as it is shown, if another conversation runs in it.
    async fn busy_neighbour(&self, folder: Option<&Subdir>) -> Result<Option<String>, Refusal> {
        let marks = [(FOLDER, folder.map_or("", Subdir::as_str))];
        let neighbours = super::asking::all_named(self.services, self.caller, &self.user, &marks).await?;
        let own = |details: &SessionDetails| {
            let name = details.session.metadata.get(MARK);
            name.is_some_and(|name| *name == self.asked.id)
        };
        let mut busy = neighbours.iter().filter(|details| details.busy && !own(details));
        Ok(busy.next().map(|details| details.cwd.display().to_string()))
    }

    async fn make(&self, subdir: Option<Subdir>) -> Result<SessionDetails, Refusal> {
        let mut metadata = Map::new();
        metadata.insert(
            FOLDER.to_owned(),
            subdir.as_ref().map_or("", Subdir::as_str).into(),
        );
        let new = NewSession {
            user: self.user.clone(),
            subdir,
            title: None,
            metadata,
            options: SessionOptions {
                agent_messages: Some(true),
                ..self.asked.options(self.limits)?
            },
        };
        let marks = [(MARK, self.asked.id.as_str())];
        let made = find_or_make_named(self.services, self.caller, new, &marks).await?;
        Ok(made.0)
    }

    /// Brings a conversation to the options that this run asks for, as far as they can change.
    async fn check_options(&self, details: &SessionDetails) -> Result<(), Refusal> {
        let asked = self.asked.options(self.limits)?;
        let has = &details.session.options;
        let differs = [
            (
                "allowed_tools",
                asked.allowed_tools.is_some() && asked.allowed_tools != has.allowed_tools,
            ),
            (
                "system_prompt",
                asked.system_prompt.is_some() && asked.system_prompt != has.system_prompt,
            ),
            (
                "system_prompt",
                asked.append_system_prompt.is_some()
                    && asked.append_system_prompt != has.append_system_prompt,
            ),
            (
                "max_turns",
                asked.max_turns.is_some() && asked.max_turns != has.max_turns,
            ),
            (
                "mcp_servers",
                asked.mcp_servers.is_some() && asked.mcp_servers != has.mcp_servers,
            ),
        ];
        if let Some((name, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(Refusal::bad(&format!("{name} cannot change in a conversation.")));
        }
        let change = SessionChange {
            model: asked.model.map(Some).filter(|model| *model != has.model),
            permission_mode: asked
                .permission_mode
                .filter(|mode| Some(*mode) != has.permission_mode),
            ..SessionChange::default()
        };
        if change.changes_options() {
            let changed = self
                .services
                .sessions
                .update(self.caller, details.session.id, change);
            changed.await?;
        }
        Ok(())
    }
}
