//! Files of a session's workspace: listed, told, made, moved, copied, removed, searched.

pub mod archives;
pub mod content;
pub mod uploads;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::rules::{flag, page_limit, within_page_limit};
use super::{checked, checked_query, session_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsFileGuest, AsMember, Caller};
use crate::api::idempotency::{Answer, IdempotencyKey, once};
use crate::api::input::{CheckRequest, ValidJson, ValidQuery};
use crate::api::page::{CursorKey, CursorScope, PageView, page_size};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::{
    ListFilesProblems, NewFileProblems, ReadFileProblems, RemoveFileProblems, SearchFilesProblems,
};
use crate::domain::FilePath;
use crate::service::{Entry, EntryKind, Glob, ListOrder, SearchOrder, Services};

/// What something in a folder is.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link, wherever it leads.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// Something in a workspace.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"path": "src/main.rs", "name": "main.rs", "kind": "file", "size_bytes": 42, "modified_at": "2026-01-01T12:00:00Z", "mode": "0644", "etag": "\"2f-18a-2a\"", "link_target": null}))]
pub struct FileView {
    /// Its path in the workspace; empty for the workspace itself. A name that is not UTF-8 is told with its bad bytes replaced,
    /// and cannot be asked for.
    #[schema(example = "src/main.rs")]
    path: String,
    /// The last part of its path.
    #[schema(example = "main.rs")]
    name: String,
    /// What it is.
    kind: FileKind,
    /// How long it is, in bytes.
    #[schema(example = 42)]
    size_bytes: u64,
    /// When it was last written.
    #[schema(example = "2026-01-01T12:00:00Z")]
    modified_at: DateTime<Utc>,
    /// Who may do what with it, in octal digits.
    #[schema(example = "0644")]
    mode: String,
    /// Which state of a file this is, for `If-Match`, `If-None-Match` and `If-Range`; null for what is no file.
    #[schema(required, example = "\"2f-18a-2a\"")]
    etag: Option<String>,
    /// Where a link leads, as it is written; null for what is none.
    #[schema(required, example = "../notes.txt")]
    link_target: Option<String>,
}

impl From<Entry> for FileView {
    fn from(entry: Entry) -> Self {
        Self {
            name: entry.path.rsplit('/').next().unwrap_or_default().to_owned(),
            kind: match entry.kind {
                EntryKind::File => FileKind::File,
                EntryKind::Folder => FileKind::Folder,
                EntryKind::Link => FileKind::Link,
                EntryKind::Other => FileKind::Other,
            },
            size_bytes: entry.size_bytes,
            modified_at: entry.modified_at,
            mode: format!("{:04o}", entry.mode),
            etag: entry.tag.map(|tag| format!("\"{tag}\"")),
            link_target: entry.link_target,
            path: entry.path,
        }
    }
}

/// A path of a query, if it is there; the workspace itself has none.
fn folder_of(path: Option<&str>) -> Result<Option<FilePath>, Problem> {
    let path = path.filter(|path| !matches!(*path, "" | "." | "./"));
    checked_query("path", path)
}

/// A path of a query that must be there.
fn path_of(path: Option<&str>) -> Result<FilePath, Problem> {
    folder_of(path)?.ok_or_else(|| {
        let error = FieldError::new("path", "missing", "is missing");
        Problem::fields(ProblemCode::InvalidQuery, vec![error])
    })
}

fn glob_of(glob: Option<&str>) -> Result<Option<Glob>, Problem> {
    checked_query("glob", glob)
}

/// What is to be listed.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ListFilesQuery {
    /// The folder; the workspace itself when absent.
    #[param(example = "src")]
    path: Option<String>,
    /// How many levels of folders; 1, the folder alone, when absent.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(range(min = 1))]
    #[param(minimum = 1, example = 3)]
    depth: Option<u32>,
    /// What paths, from the folder downwards, must match: `*` and `?` stay in a folder, `**` does not.
    #[param(example = "**/*.rs")]
    glob: Option<String>,
    /// How many entries at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(example = "pS9kQ0m1xV3bT7yWn2rLfDE3")]
    cursor: Option<String>,
}

impl CheckRequest for ListFilesQuery {}

/// List files
///
/// What the workspace, or a folder of it, holds, in the order of the paths. Links are not followed. A page may be short, or
/// empty, and not be the last: `next_cursor` tells.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Files",
    operation_id = "list_files",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ListFilesQuery),
    responses((status = 200, description = "A page of what is there", body = PageView<FileView>), ListFilesProblems)
)]
#[get("/api/v1/sessions/{session_id}/files")]
pub(in crate::api) async fn list_files(
    caller: Caller<AsFileGuest>,
    path: web::Path<String>,
    query: ValidQuery<ListFilesQuery>,
    limits: web::Data<ApiLimits>,
    cursors: web::Data<CursorKey>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, query) = (session_id(&path)?, query.0);
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let depth = query.depth.unwrap_or(1);
    let filter = [
        id.to_string(),
        text(&query.path),
        text(&query.glob),
        depth.to_string(),
    ];
    let scope = CursorScope {
        list: "files",
        tenant: caller.tenant,
        filter: &filter,
    };
    let after = query.cursor.as_deref().map(|cursor| cursors.read(scope, cursor));
    let order = ListOrder {
        folder: folder_of(query.path.as_deref())?,
        depth,
        glob: glob_of(query.glob.as_deref())?,
        after: after.transpose()?,
        limit: page_size(query.limit, &limits) as usize,
        most_seen: 0,
    };
    let page = services.files.list(&caller, id, order).await?;
    Ok(HttpResponse::Ok().json(PageView::<FileView>::of(page, &cursors, scope)))
}

/// Which file or folder.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct StatQuery {
    /// Its path; the workspace itself when absent.
    #[param(example = "src/main.rs")]
    path: Option<String>,
}

impl CheckRequest for StatQuery {}

/// Look at a file
///
/// What is at a path: a file, a folder, a link, which is told of itself, or something else.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Files",
    operation_id = "stat_file",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), StatQuery),
    responses((status = 200, description = "What is there", body = FileView), ReadFileProblems)
)]
#[get("/api/v1/sessions/{session_id}/files/stat")]
pub(in crate::api) async fn stat_file(
    caller: Caller<AsFileGuest>,
    path: web::Path<String>,
    query: ValidQuery<StatQuery>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let at = folder_of(query.0.path.as_deref())?;
    let entry = services.files.stat(&caller, session_id(&path)?, at).await?;
    Ok(HttpResponse::Ok().json(FileView::from(entry)))
}

/// What is to be removed.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct RemoveFileQuery {
    /// Its path.
    #[param(required, example = "notes.txt")]
    path: Option<String>,
    /// Whether a folder goes with all that it holds; `false` when absent.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = true)]
    recursive: Option<bool>,
}

impl CheckRequest for RemoveFileQuery {}

/// Remove a file
///
/// Removes a file, or a folder. Of a link, the link goes, and not what it leads to. With `If-Match` a file goes only in that
/// state.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "remove_file",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), ("If-Match" = Option<String>, Header, description = "The `etag` of the state that is meant", example = "\"2f-18a-2a\""), RemoveFileQuery),
    responses((status = 204, description = "It is gone"), RemoveFileProblems)
)]
#[delete("/api/v1/sessions/{session_id}/files")]
pub(in crate::api) async fn remove_file(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    query: ValidQuery<RemoveFileQuery>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let at = path_of(query.0.path.as_deref())?;
    let recursive = query.0.recursive.unwrap_or(false);
    let expected = content::expected(&request)?;
    services
        .files
        .remove(&caller, session_id(&path)?, at, recursive, expected)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A folder to be made.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
pub struct NewFolderRequest {
    /// Its path. What is missing on the way is made too.
    #[validate(required)]
    #[schema(required, nullable = false, example = "src/bin", max_length = 4096)]
    path: Option<String>,
}

impl CheckRequest for NewFolderRequest {}

/// Make a folder
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "make_folder",
    description = "Makes a folder, with those above it. One that is there is refused.\n\n**Permissions**: `member`.",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = NewFolderRequest,
    responses((status = 201, description = "The folder", body = FileView), NewFileProblems)
)]
#[post("/api/v1/sessions/{session_id}/files/folders")]
pub(in crate::api) async fn make_folder(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<NewFolderRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let at = checked("path", body.0.path.as_deref().unwrap_or_default())?;
    once(&caller, &services, key.with(body.1), async || {
        let made = services.files.make_folder(&caller, session, at).await?;
        Answer::new(StatusCode::CREATED, &FileView::from(made))
    })
    .await
}

/// Where something is to be put.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[schema(example = json!({"from": "notes.txt", "to": "docs/notes.txt", "overwrite": false}))]
pub struct PutFileRequest {
    /// The path of what is there.
    #[validate(required)]
    #[schema(required, nullable = false, example = "notes.txt", max_length = 4096)]
    from: Option<String>,
    /// The path that it gets. What is missing on the way is made.
    #[validate(required)]
    #[schema(required, nullable = false, example = "docs/notes.txt", max_length = 4096)]
    to: Option<String>,
    /// Whether a file, or an empty folder, that is there is replaced; `false` when absent.
    #[schema(nullable = false)]
    overwrite: Option<bool>,
}

impl CheckRequest for PutFileRequest {}

impl PutFileRequest {
    fn paths(&self) -> Result<(FilePath, FilePath), Problem> {
        let from = checked("from", self.from.as_deref().unwrap_or_default())?;
        let to = checked("to", self.to.as_deref().unwrap_or_default())?;
        Ok((from, to))
    }
}

/// Move a file
///
/// Moves, or renames, a file or a folder.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "move_file",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = PutFileRequest,
    responses((status = 200, description = "What was moved, where it is now", body = FileView), NewFileProblems)
)]
#[post("/api/v1/sessions/{session_id}/files/move")]
pub(in crate::api) async fn move_file(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<PutFileRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let (from, to) = body.0.paths()?;
    let overwrite = body.0.overwrite.unwrap_or(false);
    once(&caller, &services, key.with(body.1), async || {
        let moved = services.files.rename(&caller, session, from, to, overwrite);
        Answer::new(StatusCode::OK, &FileView::from(moved.await?))
    })
    .await
}

/// Copy a file
///
/// Copies a file, or a folder with all that it holds. Links in a folder stay links.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "copy_file",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of the client's own; the same request with the same key is not done again, and is answered with what was answered the first time", example = "7c1b6d1e-order-4711"), ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f")),
    request_body = PutFileRequest,
    responses((status = 201, description = "The copy", body = FileView), NewFileProblems)
)]
#[post("/api/v1/sessions/{session_id}/files/copy")]
pub(in crate::api) async fn copy_file(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    body: ValidJson<PutFileRequest>,
    key: IdempotencyKey,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let (from, to) = body.0.paths()?;
    let overwrite = body.0.overwrite.unwrap_or(false);
    once(&caller, &services, key.with(body.1), async || {
        let copied = services.files.copy(&caller, session, from, to, overwrite);
        Answer::new(StatusCode::CREATED, &FileView::from(copied.await?))
    })
    .await
}

/// What is looked for.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct SearchFilesQuery {
    /// The text, or the regular expression.
    #[validate(required, length(min = 1, max = 1000))]
    #[param(required, min_length = 1, max_length = 1000, example = "TODO")]
    q: Option<String>,
    /// Whether `q` is a regular expression, in the syntax of Rust's `regex`; `false` when absent.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = false)]
    regex: Option<bool>,
    /// Whether upper and lower case differ; `false` when absent.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = false)]
    case_sensitive: Option<bool>,
    /// The folder; the workspace itself when absent.
    #[param(example = "src")]
    path: Option<String>,
    /// What paths, from the folder downwards, must match: `*` and `?` stay in a folder, `**` does not.
    #[param(example = "**/*.rs")]
    glob: Option<String>,
    /// How many lines at most.
    #[serde(default, deserialize_with = "page_limit")]
    #[validate(custom(function = "within_page_limit", use_context))]
    #[param(minimum = 1, example = 50)]
    limit: Option<u32>,
}

impl CheckRequest for SearchFilesQuery {}

/// A line that matches.
#[derive(Debug, Serialize, ToSchema)]
pub struct HitView {
    /// The file's path in the workspace.
    #[schema(example = "src/main.rs")]
    path: String,
    /// Which line, from 1.
    #[schema(example = 12)]
    line: u64,
    /// Where in the line it begins, in characters, from 1.
    #[schema(example = 8)]
    column: u64,
    /// The line, or its beginning.
    #[schema(example = "    // TODO: tidy up")]
    text: String,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub struct HitsView {
    /// The lines, in the order of the paths.
    data: Vec<HitView>,
    /// Whether there may be more: as many were found as were asked for, the time was up, or files were too long to be
    /// searched.
    #[schema(example = false)]
    truncated: bool,
}

/// Search files
///
/// Finds the lines of text files that hold a text, or match a regular expression. Links are not followed.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Files",
    operation_id = "search_files",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), SearchFilesQuery),
    responses((status = 200, description = "What was found", body = HitsView), SearchFilesProblems)
)]
#[get("/api/v1/sessions/{session_id}/files/search")]
pub(in crate::api) async fn search_files(
    caller: Caller<AsFileGuest>,
    path: web::Path<String>,
    query: ValidQuery<SearchFilesQuery>,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let query = query.0;
    let order = SearchOrder {
        pattern: query.q.unwrap_or_default(),
        is_regex: query.regex.unwrap_or(false),
        case_sensitive: query.case_sensitive.unwrap_or(false),
        folder: folder_of(query.path.as_deref())?,
        glob: glob_of(query.glob.as_deref())?,
        limit: page_size(query.limit, &limits) as usize,
    };
    let found = services.files.search(&caller, session_id(&path)?, order).await?;
    let data = found.hits.into_iter().map(|hit| HitView {
        path: hit.path,
        line: hit.line,
        column: hit.column,
        text: hit.text,
    });
    Ok(HttpResponse::Ok().json(HitsView {
        data: data.collect(),
        truncated: found.truncated,
    }))
}
