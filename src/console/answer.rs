//! How the console's files are sent: what a browser may keep, and what it must not do with them.

use actix_web::http::header::{
    self, AcceptEncoding, CacheControl, CacheDirective, ContentEncoding, Encoding, EntityTag, Header as _,
    IfNoneMatch,
};
use actix_web::{HttpRequest, HttpResponse};

use super::Asset;

/// What the page may do: load what lies here, talk to this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How long a browser may use a file without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Its name changes with its content.
    ForEver,
    /// It asks each time, and is told when nothing has changed.
    AskedAgain,
}

/// Sends a file, or says that the client has it.
pub(super) fn answer(asset: &Asset, lasting: Lasting, request: &HttpRequest) -> HttpResponse {
    let gzip = asset.gzip.filter(|_| takes_gzip(request));
    let tag = match gzip {
        Some(_) => format!("{}-gzip", asset.tag),
        None => asset.tag.to_owned(),
    };
    let tag = EntityTag::new_strong(tag);
    let mut response = if has(request, &tag) {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header(header::ETag(tag.clone()))
        .insert_header(CacheControl(match lasting {
            Lasting::ForEver => vec![
                CacheDirective::Public,
                CacheDirective::MaxAge(31_536_000),
                CacheDirective::Extension("immutable".to_owned(), None),
            ],
            Lasting::AskedAgain => vec![CacheDirective::NoCache],
        }))
        .insert_header((header::VARY, "accept-encoding"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    if has(request, &tag) {
        return response.finish();
    }
    response.insert_header((header::CONTENT_TYPE, media_type(asset.path)));
    if let Some(gzip) = gzip {
        response.insert_header(ContentEncoding::Gzip);
        return response.body(gzip);
    }
    response.body(asset.plain)
}

fn takes_gzip(request: &HttpRequest) -> bool {
    // One that says nothing is sent what needs no unpacking.
    request.headers().contains_key(header::ACCEPT_ENCODING)
        && AcceptEncoding::parse(request)
            .is_ok_and(|accepted| accepted.negotiate([Encoding::gzip()].iter()) == Some(Encoding::gzip()))
}

fn has(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|other| other.weak_eq(tag)),
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Err(_) => false,
    }
}

/// What kind of file this is, by its name.
fn media_type(path: &str) -> &'static str {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
