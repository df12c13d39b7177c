//! A folder as an archive, out and in.

use actix_web::http::header;
use actix_web::{HttpResponse, get, post, web};
use futures_util::stream::poll_fn;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::content::download;
use super::{folder_of, session_id};
use crate::api::ApiLimits;
use crate::api::auth::{AsFileGuest, AsMember, Caller};
use crate::api::input::{CheckRequest, ValidQuery, next_piece};
use crate::api::problem::Problem;
use crate::api::responses::{PackProblems, UnpackProblems};
use crate::api::v1::rules::flag;
use crate::service::{ArchiveFormat, Services, Unpacked};

/// The form of an archive.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub(in crate::api) enum ArchiveForm {
    /// A gzipped tar.
    #[default]
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A zip.
    #[serde(rename = "zip")]
    Zip,
}

impl From<ArchiveForm> for ArchiveFormat {
    fn from(form: ArchiveForm) -> Self {
        match form {
            ArchiveForm::TarGz => Self::TarGz,
            ArchiveForm::Zip => Self::Zip,
        }
    }
}

/// Which folder, in which form.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PackQuery {
    /// The folder; the workspace itself when absent.
    #[param(example = "src")]
    path: Option<String>,
    /// The archive's form; `tar.gz` when absent.
    #[param(inline, example = "zip")]
    format: Option<ArchiveForm>,
}

impl CheckRequest for PackQuery {}

/// Download a folder
///
/// The workspace, or a folder of it, as an archive. Links are packed as links; pipes, sockets and devices are left out. It
/// is packed while it is sent: what the agent changes meanwhile may be in it or not, and if it cannot be packed whole the
/// answer breaks off.
///
/// **Permissions**: `guest` of a link that shows the session's files, or `reader`.
#[utoipa::path(
    tag = "Files",
    operation_id = "download_folder",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), PackQuery),
    responses((status = 200, description = "The archive", content_type = "application/gzip", body = String, example = json!("(bytes)")), PackProblems)
)]
#[get("/api/v1/sessions/{session_id}/files/archive")]
pub(in crate::api) async fn download_folder(
    caller: Caller<AsFileGuest>,
    path: web::Path<String>,
    query: ValidQuery<PackQuery>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = session_id(&path)?;
    let folder = folder_of(query.0.path.as_deref())?;
    let form = query.0.format.unwrap_or_default();
    let (ending, content_type) = match form {
        ArchiveForm::TarGz => ("tar.gz", "application/gzip"),
        ArchiveForm::Zip => ("zip", "application/zip"),
    };
    let name = folder
        .as_ref()
        .map_or_else(|| id.to_string(), |folder| folder.split().1.to_owned());
    let mut pieces = services.files.pack(&caller, id, folder, form.into()).await?;
    Ok(HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(download(&format!("{name}.{ending}")))
        .streaming(poll_fn(move |task| pieces.poll_recv(task))))
}

/// Where an archive is to be unpacked.
#[derive(Debug, Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[validate(context = ApiLimits)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct UnpackQuery {
    /// The folder; the workspace itself when absent. What is missing on the way is made.
    #[param(example = "vendor")]
    path: Option<String>,
    /// The archive's form; `tar.gz` when absent.
    #[param(inline, example = "tar.gz")]
    format: Option<ArchiveForm>,
    /// Whether files that are there are replaced; `false` when absent: then, if there is one, nothing is unpacked.
    #[serde(default, deserialize_with = "flag")]
    #[param(value_type = Option<bool>, example = true)]
    overwrite: Option<bool>,
}

impl CheckRequest for UnpackQuery {}

/// What was unpacked.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnpackedView {
    /// Files.
    #[schema(example = 12)]
    files: u64,
    /// Folders, also such as were there.
    #[schema(example = 3)]
    folders: u64,
    /// Bytes of the files.
    #[schema(example = 4096)]
    bytes: u64,
}

impl From<Unpacked> for UnpackedView {
    fn from(unpacked: Unpacked) -> Self {
        Self {
            files: unpacked.files,
            folders: unpacked.folders,
            bytes: unpacked.bytes,
        }
    }
}

/// Unpack an archive
///
/// Unpacks the archive that is the body: all of it, or nothing. Names that are absolute, climb or come twice are refused,
/// and so are links, devices, what is encrypted, and more than may be unpacked (422 `archive_refused`).
///
/// **Permissions**: `member`.
#[utoipa::path(
    tag = "Files",
    operation_id = "unpack_archive",
    params(("session_id" = String, Path, description = "The session", example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"), UnpackQuery),
    request_body(content = String, content_type = "application/octet-stream", description = "The archive", example = json!("(bytes)")),
    responses((status = 201, description = "What was unpacked", body = UnpackedView), UnpackProblems)
)]
#[post("/api/v1/sessions/{session_id}/files/archive")]
pub(in crate::api) async fn unpack_archive(
    caller: Caller<AsMember>,
    path: web::Path<String>,
    query: ValidQuery<UnpackQuery>,
    mut body: web::Payload,
    limits: web::Data<ApiLimits>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let folder = folder_of(query.0.path.as_deref())?;
    let mut archive = services.files.begin_archive(&caller, session_id(&path)?).await?;
    while let Some(piece) = next_piece(&mut body, &limits).await? {
        archive.write(&piece).await?;
    }
    let form = query.0.format.unwrap_or_default();
    let overwrite = query.0.overwrite.unwrap_or(false);
    let unpacked = archive.unpack(form.into(), folder, overwrite).await?;
    Ok(HttpResponse::Created().json(UnpackedView::from(unpacked)))
}
