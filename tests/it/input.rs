//! Bad input: every kind gets a clear error, and loses nothing.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{AppBuilder, TestApp, read};

fn app() -> TestApp {
    AppBuilder::fake().start()
}

fn wrong_fields(body: &Value) -> Vec<(String, String)> {
    let errors = body["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("no errors in {body}"));
    let text = |error: &Value, field: &str| error[field].as_str().unwrap().to_owned();
    let mut fields: Vec<_> = errors
        .iter()
        .map(|error| (text(error, "field"), text(error, "code")))
        .collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn all_wrong_fields_are_told_at_once() {
    let app = app();
    let body = json!({
        "subdir": "../up", "title": "x".repeat(201), "metadata": [], "extra": 1,
        "options": {"model": 5, "permission_mode": "everything", "max_turns": 0, "max_budget_usd": -1,
            "allowed_tools": ["--flag"], "disallowed_tools": "Bash", "temperature": 1}
    });
    let answer = app
        .client()
        .post("/api/v1/sessions", &body)
        .await
        .problem(422, "validation_failed");
    let expected = [
        ("extra", "unknown"),
        ("metadata", "wrong_type"),
        ("options.allowed_tools", "invalid_name"),
        ("options.disallowed_tools", "wrong_type"),
        ("options.max_budget_usd", "out_of_range"),
        ("options.max_turns", "range"),
        ("options.model", "wrong_type"),
        ("options.permission_mode", "wrong_type"),
        ("options.temperature", "unknown"),
        ("subdir", "invalid_path"),
        ("title", "too_long"),
        ("user_id", "missing"),
    ];
    assert_eq!(
        wrong_fields(&answer.body),
        expected.map(|(field, code)| (field.to_owned(), code.to_owned()))
    );
}

#[tokio::test]
async fn a_body_of_nothing_but_unknown_fields_is_told_of_a_bounded_number() {
    let app = app();
    let mut body = serde_json::Map::new();
    for number in 0..20_000 {
        body.insert(format!("z{number}"), json!(0));
    }
    let answer = app
        .client()
        .post("/api/v1/sessions", &Value::Object(body))
        .await
        .problem(422, "validation_failed");
    let told = wrong_fields(&answer.body);
    assert_eq!(told.len(), 51);
    assert!(told.contains(&(String::new(), "too_many".to_owned())));
}

#[tokio::test]
async fn an_unknown_field_of_any_name_hides_no_other_error() {
    let app = app();
    for name in ["user_id2", "user_id.x", "user_id[0]", "a`, expected `b", "", "."] {
        let answer = app
            .client()
            .post("/api/v1/sessions", &json!({name: 1}))
            .await
            .problem(422, "validation_failed");
        let told = wrong_fields(&answer.body);
        assert!(
            told.contains(&("user_id".to_owned(), "missing".to_owned())),
            "{name:?} hides it: {told:?}"
        );
        assert!(
            told.contains(&(name.to_owned(), "unknown".to_owned())),
            "{name:?}: {told:?}"
        );
    }
}

#[tokio::test]
async fn names_that_would_climb_or_hide_are_refused() {
    let app = app();
    let client = app.client();
    for user in ["", "..", "a/b", "a b", "alice\n", "a\u{0}", "é", &"x".repeat(65)] {
        let answer = client
            .post("/api/v1/sessions", &json!({"user_id": user}))
            .await
            .problem(422, "validation_failed");
        assert_eq!(
            wrong_fields(&answer.body),
            [("user_id".to_owned(), "invalid_name".to_owned())],
            "{user:?}"
        );
    }
    for subdir in [
        "..",
        "a/../b",
        "/etc",
        "a\u{0}b",
        "a\nb",
        "a\\b",
        "",
        &"x".repeat(201),
        &"日".repeat(86),
    ] {
        let body = json!({"user_id": "alice", "subdir": subdir});
        let answer = client
            .post("/api/v1/sessions", &body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(
            wrong_fields(&answer.body),
            [("subdir".to_owned(), "invalid_path".to_owned())],
            "{subdir:?}"
        );
    }
    assert_eq!(
        std::fs::read_dir(app.folder.path().join("workspaces"))
            .unwrap()
            .count(),
        0,
        "nothing was made"
    );
}

#[tokio::test]
async fn messages_and_time_limits_are_checked() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    for (body, field, code) in [
        (json!({"message": " \n"}), "message", "blank"),
        (json!({"message": "a\u{0}"}), "message", "control_character"),
        (
            json!({"message": "x".repeat(1024 * 1024 + 1)}),
            "message",
            "too_long",
        ),
        (json!({}), "message", "missing"),
        (json!({"message": "x", "timeout": 0}), "timeout", "out_of_range"),
        (
            json!({"message": "x", "timeout": 3601}),
            "timeout",
            "out_of_range",
        ),
        (json!({"message": "x", "timeout": -1}), "timeout", "wrong_type"),
        (
            json!({"message": "x", "on_busy": "wait"}),
            "on_busy",
            "wrong_type",
        ),
        (json!({"message": "x", "on_idle": "queue"}), "on_idle", "unknown"),
        (json!({"message": "x", "on_lost": true}), "on_lost", "wrong_type"),
        (
            json!({"message": "x", "attachments": [{}]}),
            "attachments",
            "invalid_attachment",
        ),
        (
            json!({"message": "x", "attachments": [{"media_type": "image/png", "data": "?"}]}),
            "attachments",
            "invalid_attachment",
        ),
        (
            json!({"message": "x", "attachments": [{"media_type": "video/mp4", "data": "eA=="}]}),
            "attachments",
            "invalid_attachment",
        ),
        (
            json!({"message": "x", "attachments": [{"path": "../x"}]}),
            "attachments",
            "invalid_attachment",
        ),
        (
            json!({"message": "x", "attachments": vec![json!({"path": "x"}); 21]}),
            "attachments",
            "too_many",
        ),
    ] {
        for path in ["messages", "stream"] {
            let answer = client
                .post(&format!("/api/v1/sessions/{id}/{path}"), &body)
                .await
                .problem(422, "validation_failed");
            assert_eq!(wrong_fields(&answer.body), [(field.to_owned(), code.to_owned())]);
        }
    }
    let huge = "x".repeat(1024 * 1024);
    assert_eq!(
        client.answer(&id, &huge).await,
        format!("You said: {huge}"),
        "just at the limit"
    );
}

#[tokio::test]
async fn a_session_id_that_is_none_is_an_unknown_session() {
    let app = app();
    let client = app.client();
    for id in [
        "x",
        "ses_1",
        "ses_ZZ",
        "trn_01a1fcb22b8a7791b91b709dea15f711",
        "1'%20OR%20'1'='1",
    ] {
        client
            .get(&format!("/api/v1/sessions/{id}"))
            .await
            .problem(404, "session_not_found");
        client.ask(id, "hello").await.problem(404, "session_not_found");
    }
}

#[tokio::test]
async fn bodies_that_are_not_json_are_refused_by_name() {
    let app = app();
    let client = app.client();
    let post = async |content_type: Option<&str>, body: &'static str| {
        let mut request = client.request(Method::POST, "/api/v1/sessions").body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        read(request.send().await.unwrap()).await
    };
    for body in ["", "{", "{'user_id': 1}", "{\"user_id\": \"a\"} x", "\u{feff}{}"] {
        let answer = post(Some("application/json"), body)
            .await
            .problem(400, "malformed_json");
        assert!(answer.text("detail").contains("line"), "{}", answer.body);
    }
    for body in ["[]", "3", "null", "\"text\""] {
        post(Some("application/json"), body)
            .await
            .problem(422, "validation_failed");
    }
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("nonsense"),
    ] {
        post(content_type, "{\"user_id\": \"alice\"}")
            .await
            .problem(415, "unsupported_media_type");
    }
    post(
        Some("application/json; charset=utf-8"),
        "{\"user_id\": \"alice\"}",
    )
    .await
    .expect(201);
    let deep = "[".repeat(100_000);
    let request = client
        .request(Method::POST, "/api/v1/sessions")
        .header("content-type", "application/json")
        .body(deep);
    read(request.send().await.unwrap())
        .await
        .problem(400, "malformed_json");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let app = AppBuilder::fake()
        .with(|settings| settings.api.body_limit_bytes = 1000)
        .start();
    let client = app.client();
    let body = json!({"user_id": "alice", "title": "x".repeat(1000)});
    client
        .post("/api/v1/sessions", &body)
        .await
        .problem(413, "body_too_large");
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        vec![Ok(b"{\"user_id\": \"".to_vec()), Ok(vec![b'x'; 2000])];
    let request = client
        .request(Method::POST, "/api/v1/sessions")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)));
    read(request.send().await.unwrap())
        .await
        .problem(413, "body_too_large");
    client.session("alice").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let app = AppBuilder::fake()
        .with(|settings| settings.api.body_timeout = Duration::from_millis(200))
        .start();
    let mut connection = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let head = "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = connection.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_head_that_does_not_arrive_is_given_up() {
    let app = AppBuilder::fake()
        .with(|settings| settings.api.head_timeout = Duration::from_millis(200))
        .start();
    let mut connection = tokio::net::TcpStream::connect(app.address).await.unwrap();
    connection
        .write_all(b"GET /health HTTP/1.1\r\nhost:")
        .await
        .unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    assert!(
        String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn unknown_paths_and_methods_answer_in_the_same_shape() {
    let app = app();
    let client = app.client();
    for path in [
        "/nope",
        "/api",
        "/api/v1",
        "/api/v1/sessions/x/y/z",
        "/api/v2/sessions",
        "/api/v1/sessions/",
    ] {
        client.get(path).await.problem(404, "not_found");
    }
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/sessions", "GET, POST"),
        (Method::DELETE, "/api/v1/chat", "POST"),
        (Method::POST, "/api/v1/sessions/ses_1", "GET, PATCH, DELETE"),
        (Method::POST, "/health", "GET"),
    ] {
        let answer = client
            .send(method, path, None)
            .await
            .problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn query_parameters_are_checked_all_at_once() {
    let app = app();
    let client = app.client();
    let query = "?limit=0&status=open&user_id=a%2Fb&order=up";
    let answer = client
        .get(&format!("/api/v1/sessions{query}"))
        .await
        .problem(422, "invalid_query");
    let fields: Vec<_> = wrong_fields(&answer.body)
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    assert_eq!(fields, ["limit", "order", "status", "user_id"]);
    for query in ["?limit=201", "?limit=x", "?limit=-1", "?limit=1&limit=2"] {
        client
            .get(&format!("/api/v1/sessions{query}"))
            .await
            .problem(422, "invalid_query");
    }
    client.get("/api/v1/sessions?limit=200").await.expect(200);
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_replaced() {
    let app = app();
    let send = async |id: &str| {
        let request = app
            .client()
            .request(Method::GET, "/nope")
            .header("x-request-id", id);
        read(request.send().await.unwrap()).await
    };
    assert_eq!(send("trace-1.2:3").await.text("request_id"), "trace-1.2:3");
    for id in ["with space", "\"quoted\"", &"x".repeat(129)] {
        assert_ne!(send(id).await.header("x-request-id"), id);
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_when_they_are_listed() {
    let preflight = async |app: &TestApp, origin: &str| {
        let request = app
            .client()
            .request(Method::OPTIONS, "/api/v1/sessions")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,authorization");
        let response = request.send().await.unwrap();
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        (
            response.status().as_u16(),
            header("access-control-allow-origin"),
            header("access-control-allow-credentials"),
        )
    };
    let closed = app();
    assert_eq!(
        preflight(&closed, "https://a.example").await.1,
        None,
        "no origin by default"
    );

    let open = AppBuilder::fake()
        .with(|settings| settings.api.cors_origins = vec!["https://a.example".into()])
        .start();
    assert_eq!(
        preflight(&open, "https://a.example").await,
        (200, Some("https://a.example".into()), None)
    );
    assert_eq!(preflight(&open, "https://b.example").await.1, None);

    let all = AppBuilder::fake()
        .with(|settings| settings.api.cors_origins = vec!["*".into()])
        .start();
    assert_eq!(
        preflight(&all, "https://b.example").await,
        (200, Some("*".into()), None)
    );

    let trusted = AppBuilder::fake()
        .with(|settings| {
            settings.api.cors_origins = vec!["https://a.example".into()];
            settings.api.cors_credentials = true;
        })
        .start();
    assert_eq!(
        preflight(&trusted, "https://a.example").await.2,
        Some("true".into())
    );
}
