//! Many files at once, as a form of a web page sends them.

use std::collections::HashSet;

use actix_multipart::{Multipart, MultipartError};
use actix_web::{HttpResponse, post, web};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::{FileView, folder_of, session_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsMember, Caller};
use crate::api::input::{CheckRequest, ValidQuery, next_piece};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::api::responses::UploadProblems;
use crate::api::v1::rules::flag;
use crate::domain::FilePath;
use crate::service::{Expected, Services};

/// Where files are to be put.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct UploadQuery {
    /// The folder; the workspace itself when absent. What is missing on the way is made.
    #[param(example = "docs")]
    path: Option<String>,
    /// Whether files that are there are replaced; `true` when absent. Else, if there is one, nothing is written.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = false)]
    overwrite: Option<bool>,
}

impl CheckRequest for UploadQuery {}

/// A form with files. Each part needs a file name, which may hold folders; the names of the parts do not matter.
#[derive(Debug, ToSchema)]
pub struct UploadForm {
    /// A file.
    #[schema(format = Binary, value_type = Vec<String>, example = json!(["hello"]))]
    #[expect(
        dead_code,
        reason = "it is told in the document, and read from the parts of the form"
    )]
    files: Vec<Vec<u8>>,
}

/// Files that were written.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadedView {
    /// The files, in the order of the form.
    data: Vec<FileView>,
}

/// Upload files
///
/// Writes the files of a form. All are taken first, and get their names once all have come; a form that breaks off, or holds
/// a name that cannot be used, writes nothing.
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "upload_files",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), UploadQuery),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "The files", body = UploadedView), UploadProblems)
)]
#[post("/api/v1/sessions/{session_id}/files/upload")]
pub(in crate::api) async fn upload_files(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    query: ValidQuery<UploadQuery>,
    mut form: Multipart,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let session = session_id(&path)?;
    let folder = folder_of(query.0.path.as_deref())?;
    let mut writing = services.files.begin(&caller, session).await?;
    let (mut files, mut names) = (Vec::new(), HashSet::new());
    loop {
        let next = tokio::time::timeout(limits.upload_patience, form.try_next()).await;
        let next = next.map_err(|_late| Problem::new(ProblemCode::RequestTimeout))?;
        let Some(mut part) = next.map_err(|error| broken(&error))? else {
            break;
        };
        let at = name_of(part.content_disposition(), folder.as_ref())?;
        if !names.insert(at.to_string()) {
            return Err(wrong(&format!(
                "there are two files {at:?} in the form",
                at = at.as_str()
            )));
        }
        if files.len() >= limits.upload_max_files {
            let most = limits.upload_max_files;
            return Err(wrong(&format!("a form may hold at most {most} files")));
        }
        let mut file = writing.file().await?;
        while let Some(piece) = next_piece(&mut part, &limits).await? {
            writing.write(&mut file, &piece).await?;
        }
        files.push((at, file));
    }
    if files.is_empty() {
        return Err(wrong("there is no file in the form"));
    }
    let expected = if query.0.overwrite.unwrap_or(true) {
        Expected::Anything
    } else {
        let paths = files.iter().map(|(at, _)| at.clone()).collect();
        writing.refuse_existing(paths).await?;
        Expected::Nothing
    };
    let mut data = Vec::new();
    for (at, file) in files {
        let (entry, _is_new) = writing.place(file, at, true, expected.clone()).await?;
        data.push(FileView::from(entry));
    }
    Ok(HttpResponse::Created().json(UploadedView { data }))
}

/// The path that a part of a form is to have.
fn name_of(
    disposition: Option<&actix_web::http::header::ContentDisposition>,
    folder: Option<&FilePath>,
) -> Result<FilePath, Problem> {
    let name = disposition.and_then(actix_web::http::header::ContentDisposition::get_filename);
    let name = name.ok_or_else(|| wrong("a part has no file name"))?;
    let name: FilePath = name
        .parse()
        .map_err(|error| wrong(&format!("{name:?} {error}")))?;
    let at = match folder {
        Some(folder) => folder
            .join(&name)
            .map_err(|error| wrong(&format!("{:?} {error}", name.as_str())))?,
        None => name,
    };
    at.check_new()
        .map_err(|error| wrong(&format!("{:?} {error}", at.as_str())))?;
    Ok(at)
}

fn wrong(words: &str) -> Problem {
    let error = FieldError::new("files", "invalid_form", words);
    Problem::fields(ProblemCode::ValidationFailed, vec![error])
}

fn broken(error: &MultipartError) -> Problem {
    let code = match error {
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::ContentTypeIncompatible
        | MultipartError::BoundaryMissing => ProblemCode::UnsupportedMediaType,
        _ => ProblemCode::UploadBroken,
    };
    Problem::new(code).with_detail(error.to_string())
}
