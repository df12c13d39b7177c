//! The web console: the page that a browser gets, and the files that it loads, all from within the binary.
//!
//! Nothing here asks who calls: the files hold no secrets. What the page shows it reads over the API, with the key of whoever
//! sits before it. `build.rs` makes the table of the files from `web/dist`; without them there is a page that says so.

mod answer;

use actix_web::http::header::{self, Accept, Header as _};
use actix_web::{HttpRequest, HttpResponse};

use answer::Lasting;

/// A file of the console.
#[derive(Debug, Clone, Copy)]
struct Asset {
    /// Where it lies in `web/dist`.
    path: &'static str,
    /// Names its content.
    tag: &'static str,
    plain: &'static [u8],
    /// Compressed, where that is shorter.
    gzip: Option<&'static [u8]>,
}

/// What was built into this binary.
const BUILT_IN: &[Asset] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The page of a server that was built without the console.
const WITHOUT: Asset = Asset {
    path: "index.html",
    tag: "without",
    plain: include_bytes!("without.html"),
    gzip: None,
};

/// The page that loads all else.
const PAGE: &str = "index.html";
/// The folder of the files whose names change with their content.
const NAMED_BY_CONTENT: &str = "assets/";

/// The web console.
#[derive(Debug, Clone, Copy)]
pub struct Console {
    assets: &'static [Asset],
}

impl Console {
    /// The one in this binary.
    #[must_use]
    pub const fn built_in() -> Self {
        Self { assets: BUILT_IN }
    }

    /// The page that loads all else; or, where the binary has none, one that says how to build it.
    #[must_use]
    pub fn page(self, request: &HttpRequest) -> HttpResponse {
        let page = self.find(PAGE).unwrap_or(WITHOUT);
        answer::answer(&page, Lasting::AskedAgain, request)
    }

    /// A file that the page loads, if there is one of this path.
    #[must_use]
    pub fn file(self, path: &str, request: &HttpRequest) -> Option<HttpResponse> {
        let asset = self.find(path)?;
        let lasting = if path.starts_with(NAMED_BY_CONTENT) {
            Lasting::ForEver
        } else {
            Lasting::AskedAgain
        };
        Some(answer::answer(&asset, lasting, request))
    }

    fn find(self, path: &str) -> Option<Asset> {
        self.assets.iter().find(|asset| asset.path == path).copied()
    }
}

/// Whether a request would rather have a page than JSON: it names pages, as browsers do, and JSON no higher.
#[must_use]
pub fn wants_page(request: &HttpRequest) -> bool {
    if !request.headers().contains_key(header::ACCEPT) {
        return false;
    }
    let Ok(accept) = Accept::parse(request) else {
        return false;
    };
    let quality = |media: &str| {
        let named = accept.0.iter().filter(|accepted| accepted.item == media);
        named.map(|accepted| accepted.quality).max()
    };
    match (quality("text/html"), quality("application/json")) {
        (Some(page), Some(json)) => page > header::q(0.0) && page >= json,
        (Some(page), None) => page > header::q(0.0),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;

    use super::*;

    const SCRIPT: &str = "assets/index-abc.js";
    const CONSOLE: Console = Console {
        assets: &[
            Asset {
                path: SCRIPT,
                tag: "0123456789abcdef",
                plain: b"let a = 1;",
                gzip: Some(b"compressed"),
            },
            Asset {
                path: "icon.svg",
                tag: "fedcba9876543210",
                plain: b"<svg/>",
                gzip: None,
            },
        ],
    };

    fn asked(headers: &[(&str, &str)]) -> HttpRequest {
        let with = |request: TestRequest, header: &(&str, &str)| request.insert_header(*header);
        headers.iter().fold(TestRequest::get(), with).to_http_request()
    }

    fn header_of(response: &HttpResponse, name: &str) -> String {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    }

    async fn body(response: HttpResponse) -> String {
        String::from_utf8(to_bytes(response.into_body()).await.unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_page_is_for_whoever_names_pages_and_json_no_higher() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in [
            firefox,
            "text/html",
            "application/json, text/html",
            "text/html;q=0.5",
        ] {
            assert!(wants_page(&asked(&[("accept", accept)])), "{accept}");
        }
        for accept in [
            "*/*",
            "application/json",
            "text/html;q=0.4, application/json",
            "text/html;q=0",
            "text/*",
            "…",
        ] {
            assert!(!wants_page(&asked(&[("accept", accept)])), "{accept}");
        }
        assert!(!wants_page(&asked(&[])));
    }

    #[actix_web::test]
    async fn a_binary_without_the_console_says_how_to_build_it() {
        let none = Console { assets: &[] };
        let page = none.page(&asked(&[("accept-encoding", "gzip")]));
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(header_of(&page, "content-type"), "text/html; charset=utf-8");
        assert!(body(page).await.contains("make web"));
        assert!(none.file(SCRIPT, &asked(&[])).is_none());
    }

    #[actix_web::test]
    async fn a_file_named_by_its_content_is_kept_for_ever() {
        let script = CONSOLE.file(SCRIPT, &asked(&[])).unwrap();
        assert_eq!(
            header_of(&script, "cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(
            header_of(&script, "content-type"),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(header_of(&script, "x-content-type-options"), "nosniff");
        assert_eq!(header_of(&script, "content-encoding"), "");
        assert_eq!(body(script).await, "let a = 1;");
        let icon = CONSOLE.file("icon.svg", &asked(&[])).unwrap();
        assert_eq!(header_of(&icon, "cache-control"), "no-cache");
    }

    #[actix_web::test]
    async fn a_file_is_compressed_for_whoever_takes_that() {
        let script = CONSOLE
            .file(SCRIPT, &asked(&[("accept-encoding", "br, gzip;q=0.5")]))
            .unwrap();
        assert_eq!(header_of(&script, "content-encoding"), "gzip");
        assert_eq!(header_of(&script, "vary"), "accept-encoding");
        assert_eq!(body(script).await, "compressed");
        for encodings in ["identity", "gzip;q=0", "br"] {
            let script = CONSOLE
                .file(SCRIPT, &asked(&[("accept-encoding", encodings)]))
                .unwrap();
            assert_eq!(header_of(&script, "content-encoding"), "", "{encodings}");
        }
    }

    #[actix_web::test]
    async fn a_file_that_the_client_has_is_not_sent_again() {
        for encoding in ["gzip", "identity"] {
            let script = CONSOLE
                .file(SCRIPT, &asked(&[("accept-encoding", encoding)]))
                .unwrap();
            let tag = header_of(&script, "etag");
            let again = asked(&[("accept-encoding", encoding), ("if-none-match", &tag)]);
            let again = CONSOLE.file(SCRIPT, &again).unwrap();
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(header_of(&again, "etag"), tag);
            assert_eq!(body(again).await, "");
        }
        let other = asked(&[("if-none-match", "\"another\"")]);
        assert_eq!(CONSOLE.file(SCRIPT, &other).unwrap().status(), StatusCode::OK);
    }
}
