//! The web console as browsers get it. What the page itself does is tested in a browser (`scripts/check-console.mjs`).

use std::path::Path;

use reqwest::header::{ACCEPT, ACCEPT_ENCODING, IF_NONE_MATCH};
use reqwest::{Method, Response};

use crate::support::{Answer, AppBuilder, TestApp};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a server answers, with these headers, at a path. The console's files are not in the OpenAPI document.
async fn got(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = app.client().request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    told(request.send().await.unwrap()).await
}

async fn told(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let raw = response.text().await.unwrap();
    Answer {
        status,
        headers,
        body: serde_json::from_str(&raw).unwrap_or_default(),
        raw,
    }
}

async fn page(app: &TestApp) -> Answer {
    let page = got(app, "/", &[(ACCEPT.as_str(), BROWSER)]).await.expect(200);
    assert!(
        page.raw.contains("/console/assets/"),
        "the console is not in the binary: run `make web`, then the tests"
    );
    page
}

/// Whether a path is that of a file with this ending.
fn is_of(path: &str, ending: &str) -> bool {
    let extension = Path::new(path).extension();
    extension.is_some_and(|extension| extension == ending)
}

/// The paths of what the page loads.
fn loaded(page: &str) -> Vec<String> {
    let links = page
        .split(['"', '\''])
        .filter(|text| text.starts_with("/console/"));
    links.map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_browser_gets_the_console_at_the_root() {
    let app = AppBuilder::fake().start();
    let page = page(&app).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("content-security-policy"), POLICY);
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-cache");
    let varies: Vec<_> = page.headers.get_all("vary").iter().collect();
    assert!(varies.iter().any(|value| *value == "accept"), "{varies:?}");
    assert!(!page.header("x-request-id").is_empty());
    let same = got(&app, "/console/", &[]).await.expect(200);
    assert_eq!(same.raw, page.raw);
    let moved = got(&app, "/console", &[]).await.expect(307);
    assert_eq!(moved.header("location"), "/console/");
}

#[tokio::test]
async fn who_does_not_ask_for_a_page_gets_the_card_with_a_link_to_it() {
    let app = AppBuilder::fake().start();
    for accept in ["*/*", "application/json"] {
        let card = got(&app, "/", &[(ACCEPT.as_str(), accept)]).await.expect(200);
        assert_eq!(card.header("content-type"), "application/json");
        assert_eq!(card.header("content-security-policy"), "");
        assert_eq!(card.header("vary"), "accept");
        assert_eq!(
            (card.text("name"), card.text("console"), card.text("docs")),
            ("Paddock".to_owned(), "/console/".to_owned(), "/docs/".to_owned())
        );
    }
}

#[tokio::test]
async fn the_page_holds_no_script_and_no_style_and_names_nothing_outside() {
    let app = AppBuilder::fake().start();
    let page = page(&app).await.raw;
    let scripts = page.matches("<script").count();
    assert!(scripts > 0);
    assert_eq!(page.matches(" src=\"/console/assets/").count(), scripts, "{page}");
    assert!(!page.contains("<style"), "{page}");
    for attribute in [" style=", " onclick=", " onload=", " onerror=", "javascript:"] {
        assert!(!page.contains(attribute), "{attribute}: {page}");
    }
    for outside in ["http://", "https://", "\"//"] {
        assert!(!page.contains(outside), "{outside}: {page}");
    }
}

#[tokio::test]
async fn what_the_page_loads_is_there_and_kept_for_ever_where_its_name_tells_its_content() {
    let app = AppBuilder::fake().start();
    let paths = loaded(&page(&app).await.raw);
    assert!(paths.iter().any(|path| is_of(path, "js")), "{paths:?}");
    assert!(paths.iter().any(|path| is_of(path, "css")), "{paths:?}");
    for path in paths {
        let file = got(&app, &path, &[]).await.expect(200);
        let lasting = if path.starts_with("/console/assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        assert_eq!(file.header("cache-control"), lasting, "{path}");
        assert_eq!(file.header("x-content-type-options"), "nosniff", "{path}");
        assert_ne!(file.header("content-type"), "application/octet-stream", "{path}");
        let packed = got(&app, &path, &[(ACCEPT_ENCODING.as_str(), "gzip")])
            .await
            .expect(200);
        if is_of(&path, "js") {
            assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
            assert_eq!(packed.header("vary"), "accept-encoding", "{path}");
        }
        let tag = file.header("etag").to_owned();
        let again = got(&app, &path, &[(IF_NONE_MATCH.as_str(), &tag)])
            .await
            .expect(304);
        assert_eq!((again.header("etag"), again.raw.as_str()), (tag.as_str(), ""));
    }
}

#[tokio::test]
async fn the_page_is_not_sent_again_to_who_has_it() {
    let app = AppBuilder::fake().start();
    let tag = page(&app).await.header("etag").to_owned();
    let headers = [(ACCEPT.as_str(), BROWSER), (IF_NONE_MATCH.as_str(), tag.as_str())];
    let again = got(&app, "/", &headers).await.expect(304);
    assert_eq!(again.header("content-security-policy"), POLICY);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_and_no_page() {
    let app = AppBuilder::fake().start();
    for path in [
        "/console/assets/none.js",
        "/console/assets/",
        "/console/assets",
        "/console/../Cargo.toml",
        "/console/%2e%2e/Cargo.toml",
        "/console/..%2fCargo.toml",
        "/console//etc/passwd",
        "/console/INDEX.HTML",
    ] {
        got(&app, path, &[(ACCEPT.as_str(), BROWSER)])
            .await
            .problem(404, "not_found");
    }
    let posted = app
        .client()
        .request(Method::POST, "/console/")
        .send()
        .await
        .unwrap();
    told(posted).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_server_without_the_console_answers_browsers_as_all_others() {
    let app = AppBuilder::fake()
        .with(|settings| settings.api.console = false)
        .start();
    let card = got(&app, "/", &[(ACCEPT.as_str(), BROWSER)]).await.expect(200);
    assert_eq!(card.header("content-type"), "application/json");
    assert!(card.body["console"].is_null(), "{}", card.body);
    for path in ["/console/", "/console/index.html"] {
        got(&app, path, &[]).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn the_console_and_the_documentation_lead_to_each_other() {
    let app = AppBuilder::fake().start();
    let document = got(&app, "/openapi.json", &[]).await.expect(200);
    let description = document.body["info"]["description"].as_str().unwrap();
    assert!(description.contains("](/console/)"), "{description}");
    let page = page(&app).await.raw;
    let scripts = loaded(&page).into_iter().filter(|path| is_of(path, "js"));
    let mut linked = page.contains("/docs/");
    for path in scripts {
        linked |= got(&app, &path, &[]).await.raw.contains("/docs/");
    }
    assert!(linked, "the console has no link to /docs/");
}
