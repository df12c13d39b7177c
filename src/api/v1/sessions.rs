//! Sessions: made, listed, read, changed, closed, made ready.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::options::SessionOptionsRequest;
use super::rules::{
    is_metadata, is_metadata_query, is_search, is_subdir, is_title, is_user_id, is_word, page_limit, present,
    within_page_limit,
};
use super::sources::SourceRequest;
use super::{checked, session_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsGuest, AsMember, AsReader, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery, broken_rules};
use crate::api::page::{CursorKey, CursorScope, PageView, page_size};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{
    ChangeProblems, CloseProblems, CreateProblems, ListProblems, ReadProblems, ResumeProblems,
};
use crate::domain::{PermissionMode, SessionChange, SessionId, SessionOptions};
use crate::service::{Beginning, NewSession, Services, SessionDetails, SessionQuery, SessionState};

/// A session to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"user_id": "alice", "subdir": "my-project", "title": "Tidy up the tests", "metadata": {"ticket": "OPS-1234"}, "options": {"model": "opus", "permission_mode": "acceptEdits"}}))]
pub struct CreateSessionRequest {
    /// The user that it is for: 1 to 64 of `A-Z a-z 0-9 _ -`.
    #[validate(required, custom(function = "is_user_id"))]
    #[schema(
        required,
        nullable = false,
        example = "alice",
        pattern = "^[A-Za-z0-9_-]{1,64}$"
    )]
    user_id: Option<String>,
    /// The folder in the user's tree that it works in: a relative path without `..`, at most 200 characters. The tree
    /// itself when absent.
    #[validate(custom(function = "is_subdir"))]
    #[schema(nullable = false, example = "my-project", max_length = 200)]
    subdir: Option<String>,
    /// What people call it.
    #[validate(custom(function = "is_title", use_context))]
    #[schema(nullable = false, example = "Tidy up the tests")]
    title: Option<String>,
    /// Anything of the client's own; comes back as it is.
    #[validate(custom(function = "is_metadata", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"ticket": "OPS-1234"}))]
    metadata: Option<Map<String, Value>>,
    /// How its agents are run; the server's defaults fill the rest.
    #[schema(nullable = false)]
    options: Option<SessionOptionsRequest>,
    /// A repository that is cloned into its workspace, which must be new or empty. The request waits for that. Where it fails,
    /// there is no session.
    #[schema(nullable = false)]
    source: Option<SourceRequest>,
    /// The template whose files its workspace, which must be new or empty, begins with; not together with `source`.
    #[schema(nullable = false, max_length = 100, example = "python")]
    template: Option<String>,
}

impl CheckRequest for CreateSessionRequest {
    fn check_inner(&self, limits: &ApiLimits) -> Vec<FieldError> {
        let options = self.options.as_ref();
        let mut errors = options.map_or_else(Vec::new, |options| broken_rules("options", options, limits));
        errors.extend(self.source.iter().flat_map(SourceRequest::check));
        if self.source.is_some() && self.template.is_some() {
            let words = "a workspace begins with one of `source` and `template`";
            errors.push(FieldError::new("template", "not_together", words));
        }
        errors
    }
}

impl CreateSessionRequest {
    /// What its workspace begins with, if with something.
    fn beginning(&mut self) -> Result<Option<Beginning>, Problem> {
        if let Some(source) = self.source.take() {
            let order = source.order();
            let order = order.map_err(|error| Problem::fields(ProblemCode::ValidationFailed, vec![error]))?;
            return Ok(Some(Beginning::Clone(order)));
        }
        Ok(self.template.take().map(Beginning::Template))
    }
}

/// What to change in a session. What is absent stays as it is.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"title": "Tidy up the tests", "metadata": {"ticket": "OPS-1234"}, "model": "opus", "permission_mode": "plan"}))]
pub struct UpdateSessionRequest {
    /// The title; null removes it.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "is_title", use_context))]
    #[schema(value_type = Option<String>, required = false, example = "Tidy up the tests")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    title: Option<Option<String>>,
    /// The metadata, as a whole.
    #[validate(custom(function = "is_metadata", use_context))]
    #[schema(value_type = BTreeMap<String, Value>, required = false, nullable = false, example = json!({"ticket": "OPS-1234"}))]
    metadata: Option<Map<String, Value>>,
    /// The model; null leaves it to the CLI.
    #[serde(default, deserialize_with = "present")]
    #[validate(custom(function = "is_word"))]
    #[schema(value_type = Option<String>, required = false, example = "opus")]
    #[expect(clippy::option_option, reason = "absent, null and a value are three things")]
    model: Option<Option<String>>,
    /// What tools may do without asking.
    #[schema(nullable = false)]
    permission_mode: Option<PermissionMode>,
}

impl CheckRequest for UpdateSessionRequest {}

impl UpdateSessionRequest {
    /// The change that it asks for.
    pub(super) fn change(self) -> Result<SessionChange, Problem> {
        let change = SessionChange {
            title: self.title,
            metadata: self.metadata,
            model: self.model,
            permission_mode: self.permission_mode,
            ..SessionChange::default()
        };
        if change == SessionChange::default() {
            let words = "must name a field to change: title, metadata, model, permission_mode";
            let error = FieldError::new("", "empty", words);
            return Err(Problem::fields(ProblemCode::ValidationFailed, vec![error]));
        }
        Ok(change)
    }
}

/// Which sessions, and which page of them.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub struct ListSessionsQuery {
    /// Those of this user.
    #[validate(custom(function = "is_user_id"))]
    #[param(example = "alice")]
    user_id: Option<String>,
    /// Those of this status; active ones when absent.
    #[param(inline)]
    status: Option<StatusQuery>,
    /// Those in whose title a word begins so, or several words one after the other; case does not count.
    #[validate(custom(function = "is_search", use_context))]
    #[param(example = "tidy up")]
    q: Option<String>,
    /// Those whose metadata has, under this key at the top, this value: a text, or what a number, a boolean or null is
    /// written as. May be given for several keys, in place of `KEY`; all of them count.
    #[serde(default)]
    #[validate(custom(function = "is_metadata_query", use_context))]
    #[param(rename = "metadata.KEY", value_type = Option<String>, example = "OPS-1234")]
    metadata: BTreeMap<String, String>,
    /// How many sessions at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    cursor: Option<String>,
}

impl CheckRequest for ListSessionsQuery {}

impl ListSessionsQuery {
    /// What a cursor of the list is bound to.
    fn as_cursor_filter(&self) -> Vec<String> {
        let status = self.status.unwrap_or(StatusQuery::Active);
        let mut filter = vec![
            self.user_id.clone().unwrap_or_default(),
            format!("{status:?}"),
            self.q.clone().unwrap_or_default(),
        ];
        filter.extend(
            self.metadata
                .iter()
                .flat_map(|(key, value)| [key.clone(), value.clone()]),
        );
        filter
    }
}

/// Sessions of which status.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusQuery {
    /// Those that take turns.
    Active,
    /// Those that were closed.
    Closed,
    /// Those that were not used for longer than sessions live.
    Expired,
    /// All.
    All,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Its id.
    #[schema(example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")]
    session_id: String,
    /// The user that it is for.
    #[schema(example = "alice")]
    user_id: String,
    /// The folder in the user's tree that it works in; null: the tree itself.
    #[schema(required, example = "my-project")]
    subdir: Option<String>,
    /// The folder that it works in, as the server sees it.
    #[schema(example = "/var/lib/paddock/workspaces/default/alice/my-project")]
    cwd: String,
    /// What people call it.
    #[schema(required, example = "Tidy up the tests")]
    title: Option<String>,
    /// What its client attached.
    #[schema(value_type = BTreeMap<String, Value>, example = json!({"ticket": "OPS-1234"}))]
    metadata: Map<String, Value>,
    /// How its agents are run. Values of variables, and what MCP servers are told in secret, are not shown.
    options: SessionOptions,
    /// The CLI's own id of the conversation.
    #[schema(example = "3f2a1b0c-9d8e-4f7a-8b6c-5d4e3f2a1b0c")]
    claude_session_id: String,
    /// Whether it can be used.
    status: SessionStatusView,
    /// How many prompts it has taken.
    #[schema(example = 3)]
    message_count: u64,
    /// Whether a turn runs.
    busy: bool,
    /// Whether its agent lives; if not, the next prompt starts one.
    agent_live: bool,
    /// When it was made.
    created_at: DateTime<Utc>,
    /// When it was made or last took or finished a turn.
    last_active_at: DateTime<Utc>,
    /// When it expires if it is not used; null: never.
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was closed; null while it is not.
    #[schema(required)]
    closed_at: Option<DateTime<Utc>>,
}

/// Whether a session can be used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SessionStatus)]
pub enum SessionStatusView {
    /// It takes turns.
    Active,
    /// It was closed by its client and cannot come back.
    Closed,
    /// It was not used for longer than sessions live, and will be removed.
    Expired,
}

impl From<SessionState> for SessionStatusView {
    fn from(state: SessionState) -> Self {
        match state {
            SessionState::Active => Self::Active,
            SessionState::Closed => Self::Closed,
            SessionState::Expired => Self::Expired,
        }
    }
}

impl SessionView {
    /// Its path.
    pub(super) fn path(&self) -> String {
        format!("/api/v1/sessions/{}", self.session_id)
    }
}

impl From<SessionDetails> for SessionView {
    fn from(details: SessionDetails) -> Self {
        let session = details.session;
        Self {
            session_id: session.id.to_string(),
            user_id: session.user.to_string(),
            subdir: session.subdir.map(|subdir| subdir.to_string()),
            cwd: details.cwd.to_string_lossy().into_owned(),
            title: session.title,
            metadata: session.metadata,
            options: session.options.shown(),
            claude_session_id: session.claude_session_id.to_string(),
            status: details.state.into(),
            message_count: session.message_count,
            busy: details.busy,
            agent_live: details.agent_live,
            created_at: session.created_at,
            last_active_at: session.last_active_at,
            expires_at: details.expires_at,
            closed_at: session.closed_at,
        }
    }
}

/// Create a session
///
/// Makes a conversation bound to a folder, and the folder if it is missing. No model is called: the agent is started
/// in the background, so that the first prompt finds it ready.
///
/// **Permissions**: `member`; a credential that acts for one user, for that user only.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "create_session",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711")),
    request_body = CreateSessionRequest,
    responses(
        (status = 201, description = "The session", body = SessionView, headers(("Location" = String, description = "The session's path"))),
        CreateProblems,
    )
)]
#[post("/api/v1/sessions")]
pub(in crate::api) async fn create_session(
    caller: Caller<AsMember>,
    body: ValidJson<CreateSessionRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let mut asked = body.0;
    let beginning = asked.beginning()?;
    let new = NewSession {
        user: checked("user_id", &asked.user_id.unwrap_or_default())?,
        subdir: asked
            .subdir
            .as_deref()
            .map(|subdir| checked("subdir", subdir))
            .transpose()?,
        title: asked.title,
        metadata: asked.metadata.unwrap_or_default(),
        options: asked.options.map(SessionOptions::from).unwrap_or_default(),
    };
    once(&caller, &services, key.with(body.1), async || {
        let made = match beginning {
            Some(beginning) => services.beginnings.create(&caller, new, beginning).await?,
            None => services.sessions.create(&caller, new).await?,
        };
        let view = SessionView::from(made);
        Ok(Answer::new(StatusCode::CREATED, &view)?.at(view.path()))
    })
    .await
}

/// List sessions
///
/// The tenant's sessions, newest first; active ones unless `status` says otherwise.
///
/// **Permissions**: `reader`; a credential that acts for one user sees that user's only.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "list_sessions",
    params(ListSessionsQuery),
    responses((status = 200, description = "A page of sessions", body = PageView<SessionView>), ListProblems)
)]
#[get("/api/v1/sessions")]
pub(in crate::api) async fn list_sessions(
    caller: Caller<AsReader>,
    query: ValidQuery<ListSessionsQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = query.0;
    let filter = asked.as_cursor_filter();
    let scope = CursorScope {
        list: "sessions",
        tenant: caller.tenant,
        filter: &filter,
    };
    let query = SessionQuery {
        user: asked
            .user_id
            .as_deref()
            .map(|user| checked("user_id", user))
            .transpose()?,
        state: match asked.status.unwrap_or(StatusQuery::Active) {
            StatusQuery::Active => Some(SessionState::Active),
            StatusQuery::Closed => Some(SessionState::Closed),
            StatusQuery::Expired => Some(SessionState::Expired),
            StatusQuery::All => None,
        },
        metadata: asked.metadata.into_iter().collect(),
        title: asked.q,
    };
    let before = asked
        .cursor
        .as_deref()
        .map(|cursor| cursors.read::<SessionId>(scope, cursor))
        .transpose()?;
    let page = services
        .sessions
        .list(&caller, query, before, page_size(asked.limit, &limits))
        .await?;
    Ok(HttpResponse::Ok().json(PageView::<SessionView>::of(page, &cursors, scope)))
}

/// Get a session
///
/// Also a closed one.
///
/// **Permissions**: `guest` of the session, or `reader`.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "get_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 200, description = "The session", body = SessionView), ReadProblems)
)]
#[get("/api/v1/sessions/{session_id}")]
pub(in crate::api) async fn get_session(
    caller: Caller<AsGuest>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let details = services.sessions.get(&caller, session_id(&path)?).await?;
    Ok(HttpResponse::Ok().json(SessionView::from(details)))
}

/// Change a session
///
/// Its title, its metadata, its model, its permission mode. What the body does not name stays as it is. A live agent is
/// brought to a new model or mode at once, also in the middle of a turn, where the CLI takes that; else with the next turn.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "update_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = UpdateSessionRequest,
    responses((status = 200, description = "The session as it now is", body = SessionView), ChangeProblems)
)]
#[patch("/api/v1/sessions/{session_id}")]
pub(in crate::api) async fn update_session(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<UpdateSessionRequest>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = body.0.change()?;
    let details = services
        .sessions
        .update(&caller, session_id(&path)?, change)
        .await?;
    Ok(HttpResponse::Ok().json(SessionView::from(details)))
}

/// Close a session
///
/// Ends its turn, if one runs, and its agent, and removes the agent's private home. The workspace and the record stay;
/// the session cannot come back. Closing a closed session changes nothing.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "delete_session",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 204, description = "It is closed"), CloseProblems)
)]
#[delete("/api/v1/sessions/{session_id}")]
pub(in crate::api) async fn delete_session(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    services.sessions.close(&caller, session_id(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Make a session ready
///
/// Starts its agent in the background, and makes its workspace again if it is gone. A prompt does not need this: it
/// starts the agent itself.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Sessions",
    operation_id = "resume_session",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 200, description = "The session", body = SessionView), ResumeProblems)
)]
#[post("/api/v1/sessions/{session_id}/resume")]
pub(in crate::api) async fn resume_session(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    once(&caller, &services, key.alone(), async || {
        let details = services.sessions.resume(&caller, session).await?;
        Answer::new(StatusCode::OK, &SessionView::from(details))
    })
    .await
}
