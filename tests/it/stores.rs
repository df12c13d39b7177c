//! Every store behind the same server: what is told of it, what happens when it is lost, and how all of it moves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use private_postgres::Cluster;
use serde_json::{Value, json};

use crate::support::{AppBuilder, cluster, until};

fn ids(page: &Value) -> Vec<String> {
    page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_server_on_postgresql_does_what_one_on_a_file_does() {
    let builder = AppBuilder::fake().in_postgres();
    let url = builder.database_url().unwrap();
    let app = builder.start();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "hello").await, "You said: hello");
    let health = client.get("/health").await.expect(200).body;
    assert_eq!(
        (health["storage"].as_str(), health["storage_ok"].as_bool()),
        (Some("postgresql"), Some(true))
    );
    let folder = app.stop();
    // By its parts this time.
    let app = AppBuilder::fake()
        .in_folder_of(&folder)
        .with(|settings| {
            settings.session.storage = paddock::settings::StorageKind::Postgresql;
            settings.session.pg_host = "127.0.0.1".to_owned();
            settings.session.pg_port = cluster().port();
            settings.session.pg_database = url.rsplit('/').next().unwrap().to_owned();
            settings.session.pg_user = "postgres".to_owned();
        })
        .start();
    let client = app.client();
    assert_eq!(client.answer(&id, "recall").await, "hello");
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    client.ask(&id, "hello").await.problem(410, "session_closed");
}

#[tokio::test]
async fn sessions_are_found_by_title_and_metadata() {
    for builder in [AppBuilder::fake(), AppBuilder::fake().in_postgres()] {
        let app = builder.start();
        let client = app.client();
        let make = async |title: &str, metadata: Value| {
            client
                .session_with(&json!({"user_id": "a", "title": title, "metadata": metadata}))
                .await
        };
        let tests = make("Tidy up the tests", json!({"team": "core", "a.b": 1})).await;
        let docs = make("Write the docs", json!({"team": "docs"})).await;
        let get = async |query: &str| {
            ids(&client
                .get(&format!("/api/v1/sessions{query}"))
                .await
                .expect(200)
                .body)
        };
        assert_eq!(get("?q=the").await, [docs.clone(), tests.clone()]);
        assert_eq!(get("?q=up%20the%20TE").await, std::slice::from_ref(&tests));
        assert_eq!(get("?metadata.team=docs").await, [docs]);
        assert_eq!(
            get("?metadata.team=core&metadata.a.b=1&q=tidy").await,
            std::slice::from_ref(&tests)
        );
        assert_eq!(get("?metadata.team=core&metadata.a.b=2").await, [] as [&str; 0]);
        client
            .patch(&format!("/api/v1/sessions/{tests}"), &json!({"title": null}))
            .await
            .expect(200);
        assert_eq!(get("?q=tidy").await, [] as [&str; 0]);
        for wrong in [
            "?q=",
            "?q=%00",
            "?metadata.a=1&metadata.a=2",
            "?metadata=a",
            "?metadata.a=1&metadata.b=1&metadata.c=1&metadata.d=1&metadata.e=1&metadata.f=1",
            "?status.x=1",
            "?unknown=1",
        ] {
            client
                .get(&format!("/api/v1/sessions{wrong}"))
                .await
                .problem(422, "invalid_query");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_tenant_filter_and_server_only() {
    let builder = AppBuilder::fake().with_keys(&[
        ("acme-member", "member", "acme", None),
        ("rival-member", "member", "rival", None),
    ]);
    let app = builder.start();
    let (acme, rival) = (app.client_with("acme-member"), app.client_with("rival-member"));
    for _ in 0..3 {
        acme.session("alice").await;
        rival.session("alice").await;
    }
    let first = acme
        .get("/api/v1/sessions?limit=1&user_id=alice")
        .await
        .expect(200);
    let cursor = first.text("next_cursor");
    let next = |filter: &str| format!("/api/v1/sessions?limit=1{filter}&cursor={cursor}");
    acme.get(&next("&user_id=alice")).await.expect(200);
    acme.get(&next("")).await.problem(400, "invalid_cursor");
    acme.get(&next("&user_id=alice&status=all"))
        .await
        .problem(400, "invalid_cursor");
    rival
        .get(&next("&user_id=alice"))
        .await
        .problem(400, "invalid_cursor");
    let mut changed = cursor.clone().into_bytes();
    let last = changed.len() - 2;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    acme.get(&format!(
        "/api/v1/sessions?limit=1&user_id=alice&cursor={changed}"
    ))
    .await
    .problem(400, "invalid_cursor");
    // After a restart it is as good as before.
    let folder = app.stop();
    let app = AppBuilder::fake()
        .in_folder_of(&folder)
        .with_keys(&[("acme-member", "member", "acme", None)])
        .start();
    app.client_with("acme-member")
        .get(&next("&user_id=alice"))
        .await
        .expect(200);
}

#[tokio::test]
async fn text_that_not_every_store_keeps_is_refused_by_name() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = client.session("alice").await;
    let nul = "a\u{0}b";
    for (path, body, field) in [
        (
            "/api/v1/sessions".to_owned(),
            json!({"user_id": "a", "metadata": {"k": [{"x": nul}]}}),
            "metadata",
        ),
        (
            "/api/v1/sessions".to_owned(),
            json!({"user_id": "a", "metadata": {nul: 1}}),
            "metadata",
        ),
        (
            "/api/v1/sessions".to_owned(),
            json!({"user_id": "a", "title": nul}),
            "title",
        ),
        (
            "/api/v1/sessions".to_owned(),
            json!({"user_id": "a", "options": {"system_prompt": nul}}),
            "options.system_prompt",
        ),
        (
            format!("/api/v1/sessions/{id}/messages"),
            json!({"message": nul}),
            "message",
        ),
    ] {
        let refused = client.post(&path, &body).await.problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_store_that_is_lost_is_told_by_name_and_forgotten_when_it_is_back() {
    let mut own = Cluster::start().unwrap();
    let app = AppBuilder::fake()
        .on_database(&own.url("paddock"))
        .with(|settings| settings.session.store_patience = Duration::from_millis(500))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "before").await;
    own.stop().unwrap();
    let refused = client.ask(&id, "hello").await.problem(503, "store_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    client
        .post("/api/v1/sessions", &json!({"user_id": "bob"}))
        .await
        .problem(503, "store_unavailable");
    let ready = client.get("/health/ready").await.expect(503).body;
    assert_eq!(
        (&ready["ready"], &ready["storage_ok"]),
        (&json!(false), &json!(false))
    );
    assert!(!ready["problems"].as_array().unwrap().is_empty());
    client.get("/health/live").await.expect(200);
    own.start_again().unwrap();
    until("it is ready again by itself", async || {
        (client.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(client.answer(&id, "recall").await, "before");
}

#[tokio::test]
async fn a_turn_outlives_a_store_that_is_away_for_a_moment() {
    let mut own = Cluster::start().unwrap();
    let app = AppBuilder::fake()
        .on_database(&own.url("paddock"))
        .with(|settings| {
            settings.session.store_patience = Duration::from_secs(30);
            settings.events.delta_segment_bytes = 1;
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "words 30 every 30ms").await;
    stream.until("text_delta").await;
    own.crash().unwrap();
    own.start_again().unwrap();
    let done = stream.rest().await.pop().unwrap();
    assert_eq!(done["type"], "done", "{done}");
    assert!(done["text"].as_str().unwrap().ends_with("word30"), "{done}");
    let messages = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200);
    assert_eq!(messages.body["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_turn_whose_store_stays_away_ends_by_name_and_is_settled_when_it_is_back() {
    let mut own = Cluster::start().unwrap();
    let app = AppBuilder::fake()
        .on_database(&own.url("paddock"))
        .with(|settings| {
            settings.session.store_patience = Duration::from_millis(200);
            settings.events.delta_segment_bytes = 1;
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "before").await;
    let mut stream = client.stream(&id, "words 1000 every 20ms").await;
    stream.until("text_delta").await;
    own.stop().unwrap();
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["code"].as_str()),
        (Some("error"), Some("store_unavailable"))
    );
    own.start_again().unwrap();
    until("the session takes turns again", async || {
        (client.ask(&id, "recall").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_fell_out_of_memory_reads_every_piece_from_the_store() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.events.feed_max_bytes = 20_000;
            settings.events.delta_segment_bytes = 1_000;
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "words 5000").await;
    let mut events = stream.until("text_delta").await;
    until("the turn has ended", async || {
        let session = client.get(&format!("/api/v1/sessions/{id}")).await.expect(200);
        (session.body["busy"] == false).then_some(())
    })
    .await;
    events.extend(stream.rest().await);
    assert!(events.iter().all(|event| event["type"] != "gap"));
    let done = events.last().unwrap()["text"].as_str().unwrap();
    assert_eq!(
        crate::support::joined(&events),
        done,
        "no piece is missing or twice"
    );
}

/// Runs the program on this store.
fn paddock(folder: &Path, arguments: &[&str], database: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paddock"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("PADDOCK__SESSION__SQLITE_PATH", folder.join("paddock.db"))
        .env("PADDOCK__SESSION__STORE_PATIENCE", "2s")
        .args(arguments);
    if let Some(url) = database {
        command
            .env("PADDOCK__SESSION__STORAGE", "postgresql")
            .env("DATABASE_URL", url);
    }
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn everything_moves_from_a_file_to_a_server_and_back() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "title": "Tidy up"}))
        .await;
    client.answer(&id, "Remember the number 42.").await;
    let folder = app.stop();
    let url = cluster().url(&cluster().new_name());
    let run = |arguments: &[&str], database: Option<&str>| {
        let output = paddock(folder.path(), arguments, database);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (_, exported) = run(&["export", "--output", "all.jsonl"], None);
    let (_, imported) = run(&["import", "all.jsonl"], Some(&url));
    assert_eq!(
        exported.replace("exported", "imported and checked"),
        imported,
        "the same count and the same hash"
    );
    let (again, _) = run(&["export"], Some(&url));
    assert_eq!(
        again,
        std::fs::read_to_string(folder.path().join("all.jsonl")).unwrap()
    );
    let mode = folder
        .path()
        .join("all.jsonl")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "prompts are nobody else's");
    let twice = paddock(folder.path(), &["export", "--output", "all.jsonl"], None);
    assert!(!twice.status.success() && text(&twice.stderr).contains("all.jsonl cannot be made"));
    let full = paddock(folder.path(), &["import", "all.jsonl"], Some(&url));
    assert!(!full.status.success() && text(&full.stderr).contains("not empty"));

    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let app = AppBuilder::real().in_folder_of(&folder).on_database(&url).start();
    let answer = app
        .client()
        .answer(&id, "Which number did I ask you to remember?")
        .await;
    assert!(answer.contains("42"), "{answer}");
}

#[test]
fn a_store_is_migrated_and_checked_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let url = cluster().url(&cluster().new_name());
    for database in [None, Some(url.as_str())] {
        let check = || paddock(folder.path(), &["migrate", "--check"], database);
        let before = check();
        assert!(!before.status.success());
        assert!(
            text(&before.stderr).contains("0001 sessions"),
            "{}",
            text(&before.stderr)
        );
        let migrated = paddock(folder.path(), &["migrate"], database);
        assert!(migrated.status.success(), "{}", text(&migrated.stderr));
        assert!(text(&migrated.stdout).contains("0002 stores"));
        let after = check();
        assert!(after.status.success(), "{}", text(&after.stderr));
        let again = paddock(folder.path(), &["migrate"], database);
        assert!(text(&again.stdout).contains("already"));
    }
}

#[test]
fn a_store_that_cannot_be_reached_refuses_the_start_in_one_line_without_its_password() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://alice:open-sesame@{nobody}/paddock");
    for command in [&["serve"][..], &["migrate"], &["migrate", "--check"]] {
        let refused = paddock(folder.path(), command, Some(&url));
        assert_eq!(refused.status.code(), Some(1));
        let told = text(&refused.stderr);
        let last = told.lines().last().unwrap();
        assert!(
            last.contains("does not answer") && last.contains("refused"),
            "{told}"
        );
        assert!(!told.contains("sesame"), "{told}");
    }
    let printed = paddock(folder.path(), &["config"], Some(&url));
    assert!(text(&printed.stdout).contains("database_url: '[redacted]'"));
    assert!(!text(&printed.stdout).contains("sesame"));
    let file_and_url = Command::new(env!("CARGO_BIN_EXE_paddock"))
        .current_dir(folder.path())
        .env("DATABASE_URL", &url)
        .arg("config")
        .output()
        .unwrap();
    assert!(text(&file_and_url.stderr).contains("session.database_url"));
}
