//! The repository in a session's workspace.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::{Validate, ValidationError};

use super::diffs::{CONTEXT_USUAL, DiffFormat};
use super::rules::{flag, page_limit, rule, within_page_limit};
use super::{checked, checked_query, session_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, AsReader, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView, page_size};
use crate::api::problem::{FieldError, Problem};
use crate::api::responses::{CommitProblems, GitDiffProblems, GitLogProblems, GitProblems, RestoreProblems};
use crate::domain::{Diff, FilePath, GitChange, GitChangeKind, GitCommit, GitStatus, LogPlace};
use crate::service::{CommitOrder, GitDiffOrder, RestoreOrder, Services};

/// The most lines around what changed.
const CONTEXT_MAX: u32 = 1000;
/// The longest name of a commit, in bytes.
const NAME_MAX_BYTES: usize = 255;
/// The most paths of a request.
const PATHS_MAX: usize = 10_000;

/// What a branch, a tag or a commit may be called: what git takes, but nothing that could be an option.
pub(super) fn is_commit_name(name: &str) -> Result<(), ValidationError> {
    let is_good = (1..=NAME_MAX_BYTES).contains(&name.len())
        && !name.starts_with('-')
        && !name.chars().any(|letter| letter.is_control() || letter == ' ');
    if is_good {
        Ok(())
    } else {
        let words = "must be the name of a branch, a tag or a commit: 1 to 255 bytes, without spaces, not beginning with `-`";
        Err(rule("invalid_name", words))
    }
}

fn is_file_path(path: &str) -> Result<(), ValidationError> {
    path.parse::<FilePath>()
        .map(|_| ())
        .map_err(|error| rule("invalid_path", error.to_string()))
}

/// A path that stands in a line.
fn is_path_in_a_line(path: &str) -> Result<(), ValidationError> {
    let path = path.parse::<FilePath>();
    path.and_then(|path| path.check_new())
        .map_err(|error| rule("invalid_path", error.to_string()))
}

fn are_file_paths(paths: &[String]) -> Result<(), ValidationError> {
    if paths.is_empty() || paths.len() > PATHS_MAX {
        return Err(rule(
            "out_of_range",
            format!("must have 1 to {PATHS_MAX} entries"),
        ));
    }
    paths.iter().try_for_each(|path| is_file_path(path))
}

fn is_context(lines: u32) -> Result<(), ValidationError> {
    if lines <= CONTEXT_MAX {
        Ok(())
    } else {
        Err(rule("out_of_range", format!("must be at most {CONTEXT_MAX}")))
    }
}

fn is_message(message: &str, limits: &ApiLimits) -> Result<(), ValidationError> {
    let most = limits.message_max_bytes;
    if message.trim().is_empty() || message.len() > most || message.contains('\0') {
        let words = format!("must say something, in at most {most} bytes, without NUL");
        return Err(rule("invalid_message", words));
    }
    Ok(())
}

fn is_author(text: &str) -> Result<(), ValidationError> {
    let has_something = text.chars().any(char::is_alphanumeric);
    let is_plain = |letter: char| !letter.is_control() && letter != '<' && letter != '>';
    if has_something && text.len() <= 200 && text.chars().all(is_plain) {
        Ok(())
    } else {
        let words = "must have a letter or a digit, at most 200 bytes, and no control character, `<` or `>`";
        Err(rule("invalid_name", words))
    }
}

/// How a repository stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GitStatus)]
pub struct GitStatusView {
    /// That the workspace is a repository; what is none answers `not_a_repository`.
    #[schema(example = true)]
    is_repository: bool,
    /// The branch; null where a commit is checked out.
    #[schema(required, example = "main")]
    branch: Option<String>,
    /// The commit that is checked out; null before the first.
    #[schema(required, example = "7be73ce3c1b1cdaea86e8168dfee8575175953bf")]
    head: Option<String>,
    /// The branch that this one follows; null where there is none.
    #[schema(required, example = "origin/main")]
    upstream: Option<String>,
    /// How many commits it has that the other has not.
    #[schema(example = 1)]
    ahead: u64,
    /// How many commits the other has that it has not.
    #[schema(example = 0)]
    behind: u64,
    /// What changed, by path.
    data: Vec<GitChangeView>,
    /// Whether something is left out because there is too much of it (`git.output_max_bytes`).
    truncated: bool,
}

/// A path that is not as it was committed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GitChange)]
pub struct GitChangeView {
    /// Its path.
    #[schema(example = "src/main.rs")]
    path: String,
    /// Its path before it was renamed or copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "src/old.rs")]
    old_path: Option<String>,
    /// What is prepared for the next commit; null: nothing.
    #[schema(required)]
    index: Option<GitChangeKind>,
    /// What is not prepared; null: nothing.
    #[schema(required)]
    worktree: Option<GitChangeKind>,
}

impl From<GitStatus> for GitStatusView {
    fn from(status: GitStatus) -> Self {
        Self {
            is_repository: true,
            branch: status.branch,
            head: status.head,
            upstream: status.upstream,
            ahead: status.ahead,
            behind: status.behind,
            data: status.changes.into_iter().map(Into::into).collect(),
            truncated: status.truncated,
        }
    }
}

impl From<GitChange> for GitChangeView {
    fn from(change: GitChange) -> Self {
        Self {
            path: change.path,
            old_path: change.old_path,
            index: change.index,
            worktree: change.worktree,
        }
    }
}

/// A commit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GitCommit)]
pub struct GitCommitView {
    /// Its id.
    #[schema(example = "7be73ce3c1b1cdaea86e8168dfee8575175953bf")]
    commit: String,
    /// The commits that it comes after.
    #[schema(example = json!(["de980441c3ab03a8c07dda1ad27b8a11f39deb1e"]))]
    parents: Vec<String>,
    /// Who wrote what it holds.
    #[schema(example = "alice")]
    author_name: String,
    /// The author's address.
    #[schema(example = "alice@example.com")]
    author_email: String,
    /// When it was written, by the author's clock.
    authored_at: DateTime<Utc>,
    /// The first line of its message.
    #[schema(example = "Tidy up the tests")]
    subject: String,
    /// The rest of its message.
    #[schema(example = "They said one thing twice.")]
    body: String,
}

impl From<GitCommit> for GitCommitView {
    fn from(commit: GitCommit) -> Self {
        Self {
            commit: commit.id,
            parents: commit.parents,
            author_name: commit.author_name,
            author_email: commit.author_email,
            authored_at: commit.authored_at,
            subject: commit.subject,
            body: commit.body,
        }
    }
}

/// Get how a session's repository stands
///
/// The branch and what changed since the last commit, as `git status` tells. The repository is the one in the workspace's own
/// `.git` folder. `git` runs in the jail of the session's agent, without a network.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Git",
    operation_id = "get_git_status",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    responses((status = 200, description = "How it stands", body = GitStatusView), GitProblems)
)]
#[get("/api/v1/sessions/{session_id}/git/status")]
pub(in crate::api) async fn get_git_status(
    caller: Caller<AsReader>,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let status = services.git.status(&caller, session_id(&path)?).await?;
    Ok(HttpResponse::Ok().json(GitStatusView::from(status)))
}

/// Which difference.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub struct GitDiffQuery {
    /// From this branch, tag or commit, or from nothing (`4b825dc642cb6eb9a060e54bf8d69288fbee4904`, git's empty tree). When absent: from what is prepared for the next commit; with `staged`, from the last one.
    #[validate(custom(function = "is_commit_name"))]
    #[param(example = "main")]
    from: Option<String>,
    /// To this branch, tag or commit; needs `from`. When absent: to the files.
    #[validate(custom(function = "is_commit_name"))]
    #[param(example = "HEAD")]
    to: Option<String>,
    /// To what is prepared for the next commit, and not to the files; not together with `to`.
    #[serde(default, deserialize_with = "flag")]
    staged: Option<bool>,
    /// Of this path, and all below it.
    #[validate(custom(function = "is_file_path"))]
    #[param(example = "src")]
    path: Option<String>,
    /// How many lines are told around what changed; 3 when absent.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "is_context"))]
    #[param(minimum = 0, maximum = 1000, example = 3)]
    context: Option<u32>,
    /// How it is told; as `Accept` says when absent.
    #[param(inline)]
    format: Option<DiffFormat>,
}

impl CheckRequest for GitDiffQuery {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        if self.to.is_some() && self.from.is_none() {
            return vec![FieldError::new(
                "from",
                "missing",
                "is needed where `to` is given",
            )];
        }
        if self.to.is_some() && self.staged == Some(true) {
            let words = "goes to what is prepared, and `to` to a commit; choose one";
            return vec![FieldError::new("staged", "not_together", words)];
        }
        Vec::new()
    }
}

/// Get what differs in a session's repository
///
/// Between the files, what is prepared for the next commit, and commits, as `git diff` tells: structured, or with
/// `format=unified` (or `Accept: text/x-diff`) as text. Untracked files are in the status, not here.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Git",
    operation_id = "get_git_diff",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        GitDiffQuery,
    ),
    responses(
        (status = 200, description = "What differs", content((Diff = "application/json"), (String = "text/x-diff"))),
        GitDiffProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}/git/diff")]
pub(in crate::api) async fn get_git_diff(
    caller: Caller<AsReader>,
    path: web::Path<String>,
    query: ValidQuery<GitDiffQuery>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = query.0;
    let format = DiffFormat::of(asked.format, &request);
    let order = GitDiffOrder {
        from: asked.from,
        to: asked.to,
        staged: asked.staged.unwrap_or(false),
        path: checked_query("path", asked.path.as_deref())?,
        context: asked.context.unwrap_or(CONTEXT_USUAL),
    };
    let diff = services.git.diff(&caller, session_id(&path)?, order).await?;
    Ok(format.answer(&diff))
}

/// Which commits, and which page of them.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub struct GitLogQuery {
    /// Those that led to this branch, tag or commit; to the one that is checked out when absent.
    #[serde(rename = "ref")]
    #[validate(custom(function = "is_commit_name"))]
    #[param(example = "main")]
    name: Option<String>,
    /// Those that changed this path, or what is below it.
    #[validate(custom(function = "is_path_in_a_line"))]
    #[param(example = "src/main.rs")]
    path: Option<String>,
    /// How many commits at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    cursor: Option<String>,
}

impl CheckRequest for GitLogQuery {}

/// List the commits of a session's repository
///
/// Newest first, as `git log` tells. Pages go on from the commit with which the first began, whatever is committed meanwhile.
///
/// **Permissions**: `reader`.
#[utoipa::path(
    tag = "Git",
    operation_id = "list_git_commits",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        GitLogQuery,
    ),
    responses((status = 200, description = "A page of commits", body = PageView<GitCommitView>), GitLogProblems)
)]
#[get("/api/v1/sessions/{session_id}/git/log")]
pub(in crate::api) async fn list_git_commits(
    caller: Caller<AsReader>,
    path: web::Path<String>,
    query: ValidQuery<GitLogQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let asked = query.0;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let filter = [session.to_string(), text(&asked.name), text(&asked.path)];
    let scope = CursorScope {
        list: "git_log",
        tenant: caller.tenant,
        filter: &filter,
    };
    let after = asked.cursor.as_deref();
    let after = after
        .map(|cursor| cursors.read::<LogPlace>(scope, cursor))
        .transpose()?;
    let below = checked_query::<FilePath>("path", asked.path.as_deref())?;
    let page = services
        .git
        .log(
            &caller,
            session,
            asked.name.as_deref(),
            below.as_ref(),
            after,
            page_size(asked.limit, &limits),
        )
        .await?;
    Ok(HttpResponse::Ok().json(PageView {
        data: page.items.into_iter().map(GitCommitView::from).collect(),
        next_cursor: page.next.map(|place| cursors.write(scope, &place)),
    }))
}

/// A commit to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"message": "Tidy up the tests", "paths": ["tests"], "author_name": "Alice", "author_email": "alice@example.com"}))]
pub struct CreateCommitRequest {
    /// Its message.
    #[validate(required, custom(function = "is_message", use_context))]
    #[schema(required, nullable = false, example = "Tidy up the tests")]
    message: Option<String>,
    /// What of the workspace it is to hold, and nothing else: these paths and all below them. What is prepared when absent.
    #[validate(custom(function = "are_file_paths"))]
    #[schema(nullable = false, min_items = 1, max_items = 10000, example = json!(["tests"]))]
    paths: Option<Vec<String>>,
    /// Whether it is to hold all that changed, also what is untracked; not together with `paths`.
    #[schema(nullable = false)]
    all: Option<bool>,
    /// Who wrote it; as the repository says when absent, else the session's user.
    #[validate(custom(function = "is_author"))]
    #[schema(nullable = false, max_length = 200, example = "Alice")]
    author_name: Option<String>,
    /// The address of who wrote it.
    #[validate(custom(function = "is_author"))]
    #[schema(nullable = false, max_length = 200, example = "alice@example.com")]
    author_email: Option<String>,
}

impl CheckRequest for CreateCommitRequest {
    fn check_inner(&self, _limits: &ApiLimits) -> Vec<FieldError> {
        if self.all == Some(true) && self.paths.is_some() {
            let words = "takes all that changed, and `paths` some of it; choose one";
            return vec![FieldError::new("all", "not_together", words)];
        }
        Vec::new()
    }
}

fn paths_of(paths: Option<Vec<String>>) -> Result<Vec<FilePath>, Problem> {
    let paths = paths.unwrap_or_default();
    paths.iter().map(|path| checked("paths", path)).collect()
}

/// Make a commit in a session's repository
///
/// Of all that changed, of some paths, or of what is prepared. No hook of the repository runs. Where there is nothing to commit, it
/// is 409 `nothing_to_commit`.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Git",
    operation_id = "create_git_commit",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = CreateCommitRequest,
    responses((status = 201, description = "The commit", body = GitCommitView), CommitProblems)
)]
#[post("/api/v1/sessions/{session_id}/git/commits")]
pub(in crate::api) async fn create_git_commit(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<CreateCommitRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let asked = body.0;
    let order = CommitOrder {
        message: asked.message.unwrap_or_default(),
        paths: paths_of(asked.paths)?,
        all: asked.all.unwrap_or(false),
        author_name: asked.author_name,
        author_email: asked.author_email,
    };
    once(&caller, &services, key.with(body.1), async || {
        let made = services.git.commit(&caller, session, order).await?;
        Answer::new(StatusCode::CREATED, &GitCommitView::from(made))
    })
    .await
}

/// What is to be put back.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"paths": ["src/main.rs"], "source": "HEAD"}))]
pub struct RestoreFilesRequest {
    /// The paths, and all below them.
    #[validate(required, custom(function = "are_file_paths"))]
    #[schema(required, nullable = false, min_items = 1, max_items = 10000, example = json!(["src/main.rs"]))]
    paths: Option<Vec<String>>,
    /// As they were at this branch, tag or commit. When absent: as they are prepared for the next commit; with `staged`, as in the
    /// last one.
    #[validate(custom(function = "is_commit_name"))]
    #[schema(nullable = false, example = "HEAD")]
    source: Option<String>,
    /// Whether what is prepared for the next commit is put back, and not the files; no when absent.
    #[schema(nullable = false)]
    staged: Option<bool>,
}

impl CheckRequest for RestoreFilesRequest {}

/// The paths that were put back.
#[derive(Debug, Serialize, ToSchema)]
pub struct RestoredView {
    /// The paths, as they were asked for.
    #[schema(example = json!(["src/main.rs"]))]
    paths: Vec<String>,
}

/// Put files of a session's repository back
///
/// As they were at a commit, or are prepared for the next one, as `git restore` does. What is not committed of them is lost.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Git",
    operation_id = "restore_git_files",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = RestoreFilesRequest,
    responses((status = 200, description = "What was put back", body = RestoredView), RestoreProblems)
)]
#[post("/api/v1/sessions/{session_id}/git/restore")]
pub(in crate::api) async fn restore_git_files(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<RestoreFilesRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let asked = body.0;
    let order = RestoreOrder {
        paths: paths_of(asked.paths)?,
        source: asked.source,
        staged: asked.staged.unwrap_or(false),
    };
    once(&caller, &services, key.with(body.1), async || {
        let paths = order.paths.iter().map(ToString::to_string).collect();
        services.git.restore(&caller, session, order).await?;
        Answer::new(StatusCode::OK, &RestoredView { paths })
    })
    .await
}
