//! What is in a file: read in whole or in part, and written in whole, both held to a state where the client names one.

use std::io::{Seek as _, SeekFrom};
use std::time::SystemTime;

use actix_web::http::header::{
    self, EntityTag, Header as _, HttpDate, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, Range,
};
use actix_web::{HttpRequest, HttpResponse, get, put, web};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;
use validator::Validate;

use super::{FileView, path_of, session_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsFileGuest, AsMember, Caller};
use crate::api::input::{CheckRequest, ValidQuery, next_piece};
use crate::api::problem::{Problem, ProblemCode};
use crate::api::responses::{ReadContentProblems, WriteFileProblems};
use crate::api::v1::rules::flag;
use crate::service::{Entry, Expected, Services};

/// Which file.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ContentQuery {
    /// Its path.
    #[param(required, example = "src/main.rs")]
    path: Option<String>,
}

impl CheckRequest for ContentQuery {}

/// Read a file
///
/// What is in a file, or with `Range` a part of it. It is told as a download, whatever it holds: pages and scripts of a
/// workspace do not run under this server's name.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Files",
    operation_id = "read_file",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        ("Range" = Option<String>, Header, description = "Which bytes; one range", example = "bytes=0-99"),
        ("If-Range" = Option<String>, Header, description = "The `etag` of the state of which the range is wanted; of another state, all is told", example = "\"2f-18a-2a\""),
        ("If-None-Match" = Option<String>, Header, description = "The `etag` of the state that is known already: 304", example = "\"2f-18a-2a\""),
        ContentQuery
    ),
    responses(
        (status = 200, description = "All of it", content_type = "application/octet-stream", body = String, headers(("ETag" = String, description = "Which state of the file this is"), ("Last-Modified" = String, description = "When it was last written")), example = json!("hello")),
        (status = 206, description = "The part that was asked for", content_type = "application/octet-stream", body = String, headers(("Content-Range" = String, description = "Which bytes of how many")), example = json!("hell")),
        (status = 304, description = "It is still in that state"),
        ReadContentProblems,
    )
)]
#[get("/api/v1/sessions/{session_id}/files/content")]
pub(in crate::api) async fn read_file(
    caller: Caller<AsFileGuest>,
    path: web::Path<String>,
    query: ValidQuery<ContentQuery>,
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let at = path_of(query.0.path.as_deref())?;
    let opened = services.files.open(&caller, session_id(&path)?, at).await?;
    let tag = tag_of(&opened.entry);
    let written: SystemTime = opened.entry.modified_at.into();
    if is_known(&request, tag.as_ref(), written) {
        let mut answer = HttpResponse::NotModified();
        answer.insert_header(header::ETag(
            tag.unwrap_or_else(|| EntityTag::new_weak(String::new())),
        ));
        return Ok(answer.finish());
    }
    let length = opened.entry.size_bytes;
    let part = match wanted(&request, tag.as_ref(), length) {
        Wanted::All => None,
        Wanted::Part(first, last) => Some((first, last)),
        Wanted::Nothing => {
            return Ok(not_satisfiable(length));
        }
    };
    let (first, count) = part.map_or((0, length), |(first, last)| (first, last - first + 1));
    let mut file = opened.file;
    if first > 0 {
        file.seek(SeekFrom::Start(first)).map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a file was not read");
            Problem::new(ProblemCode::WorkspaceUnavailable)
        })?;
    }
    let mut answer = if part.is_some() {
        HttpResponse::PartialContent()
    } else {
        HttpResponse::Ok()
    };
    if let Some((first, last)) = part {
        answer.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{length}")));
    }
    if let Some(tag) = tag {
        answer.insert_header(header::ETag(tag));
    }
    answer
        .content_type(mime_guess::from_path(&opened.entry.path).first_or_octet_stream())
        .insert_header(header::LastModified(written.into()))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(download(&opened.entry.path));
    // As long as was told: what was appended since is left out, and one that was cut breaks the answer off.
    let content = ReaderStream::new(tokio::fs::File::from_std(file).take(count));
    Ok(answer.no_chunking(count).streaming(content))
}

fn not_satisfiable(length: u64) -> HttpResponse {
    let problem =
        Problem::new(ProblemCode::RangeNotSatisfiable).with_detail(format!("the file has {length} bytes"));
    let mut answer = actix_web::ResponseError::error_response(&problem);
    if let Ok(range) = header::HeaderValue::from_str(&format!("bytes */{length}")) {
        answer.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    answer
}

/// That a browser keeps it as a file of this name.
pub(super) fn download(path: &str) -> header::ContentDisposition {
    let name = path.rsplit('/').next().unwrap_or_default();
    header::ContentDisposition::attachment(name)
}

fn tag_of(entry: &Entry) -> Option<EntityTag> {
    entry.tag.map(|tag| EntityTag::new_strong(tag.to_string()))
}

/// Whether the client has this state already.
fn is_known(request: &HttpRequest, tag: Option<&EntityTag>, written: SystemTime) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(items)) if !items.is_empty() => {
            tag.is_some_and(|tag| items.iter().any(|item| item.weak_eq(tag)))
        }
        _ => match IfModifiedSince::parse(request) {
            Ok(IfModifiedSince(since)) => HttpDate::from(written) <= since,
            Err(_) => false,
        },
    }
}

enum Wanted {
    All,
    Part(u64, u64),
    Nothing,
}

/// Which bytes a request asks for. Of several ranges, or one that cannot be read, all are told.
fn wanted(request: &HttpRequest, tag: Option<&EntityTag>, length: u64) -> Wanted {
    let still = match IfRange::parse(request) {
        Ok(IfRange::EntityTag(wanted)) => tag.is_some_and(|tag| wanted.strong_eq(tag)),
        // A date tells too little: a file is written more than once a second here.
        Ok(IfRange::Date(_)) => false,
        Err(_) => true,
    };
    match Range::parse(request) {
        Ok(Range::Bytes(specs)) if still => match specs.as_slice() {
            [spec] => spec
                .to_satisfiable_range(length)
                .map_or(Wanted::Nothing, |(first, last)| Wanted::Part(first, last)),
            _ => Wanted::All,
        },
        _ => Wanted::All,
    }
}

/// What the client takes a file to be.
pub(super) fn expected(request: &HttpRequest) -> Result<Expected, Problem> {
    let has = |name| request.headers().contains_key(name);
    let (matches, matches_not) = (has(header::IF_MATCH), has(header::IF_NONE_MATCH));
    let wrong = |words: &str| Problem::new(ProblemCode::PreconditionFailed).with_detail(words.to_owned());
    if matches && matches_not {
        return Err(wrong("send `If-Match` or `If-None-Match`"));
    }
    if matches {
        return match IfMatch::parse(request) {
            Ok(IfMatch::Any) => Ok(Expected::Something),
            Ok(IfMatch::Items(tags)) if !tags.is_empty() && tags.iter().all(|tag| !tag.weak) => Ok(
                Expected::Tags(tags.iter().map(|tag| tag.tag().to_owned()).collect()),
            ),
            _ => Err(wrong("`If-Match` holds no `etag` of a file")),
        };
    }
    if matches_not {
        return match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => Ok(Expected::Nothing),
            _ => Err(wrong("`If-None-Match` can only be `*` here")),
        };
    }
    Ok(Expected::Anything)
}

/// Which file is to be written.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WriteFileQuery {
    /// Its path.
    #[param(required, example = "notes.txt")]
    path: Option<String>,
    /// Whether folders that are missing on the way are made; `true` when absent.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = true)]
    parents: Option<bool>,
}

impl CheckRequest for WriteFileQuery {}

/// Write a file
///
/// Makes a file of the body, or replaces one. It has its name once it is whole and on the disk: whoever reads meanwhile, the
/// agent too, sees the old one or the new one. With `If-Match` only that state is replaced, with `If-None-Match: *` nothing
/// is.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "write_file",
    params(
        ("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"),
        ("If-Match" = Option<String>, Header, description = "The `etag` of the state that is replaced, or `*` for any", example = "\"2f-18a-2a\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none", example = "*"),
        WriteFileQuery
    ),
    request_body(content = String, content_type = "application/octet-stream", description = "What is to be in it", example = json!("hello")),
    responses(
        (status = 200, description = "The file, which was there", body = FileView),
        (status = 201, description = "The file, which is new", body = FileView),
        WriteFileProblems,
    )
)]
#[put("/api/v1/sessions/{session_id}/files/content")]
pub(in crate::api) async fn write_file(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    query: ValidQuery<WriteFileQuery>,
    request: HttpRequest,
    mut body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let at = path_of(query.0.path.as_deref())?;
    let expected = expected(&request)?;
    let mut writing = services.files.begin(&caller, session).await?;
    let mut file = writing.file().await?;
    while let Some(piece) = next_piece(&mut body, &limits).await? {
        writing.write(&mut file, &piece).await?;
    }
    let parents = query.0.parents.unwrap_or(true);
    let (entry, is_new) = writing.place(file, at, parents, expected).await?;
    let mut answer = if is_new {
        HttpResponse::Created()
    } else {
        HttpResponse::Ok()
    };
    if let Some(tag) = tag_of(&entry) {
        answer.insert_header(header::ETag(tag));
    }
    Ok(answer.json(FileView::from(entry)))
}
