//! Erasing a user or a tenant: afterwards, neither the store nor the disk holds anything of them.

use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};

use crate::support::{AppBuilder, TestApp, processes_of};

const SECRET: &str = "a-word-that-only-alice-wrote";

fn with_keys(builder: AppBuilder) -> AppBuilder {
    builder.with_keys(&[
        ("root", "admin", "default", None),
        ("acme", "owner", "acme", None),
        ("rival", "owner", "rival", None),
    ])
}

/// Whether a file below the folder has these bytes in it, or in its name.
fn found_in(folder: &Path, word: &str, found: &mut Vec<String>) {
    // What agents that live keep for a moment may have gone.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        let named = entry.file_name().to_string_lossy().contains(word);
        let holds = kind.is_file()
            && std::fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(word.len()).any(|window| window == word.as_bytes()));
        if named || holds {
            found.push(path.display().to_string());
        }
        if kind.is_dir() {
            found_in(&path, word, found);
        }
    }
}

/// Alice works, with the real CLI: a conversation, files, a fork, a key.
async fn work(app: &TestApp, user: &str) -> String {
    let acme = app.client_with("acme");
    let body = json!({"user_id": user, "title": SECRET, "metadata": {"note": SECRET}});
    let id = acme.session_with(&body).await;
    acme.answer(&id, &format!("% write {SECRET}.txt {SECRET}\n% say {SECRET}"))
        .await;
    acme.post(
        &format!("/api/v1/sessions/{id}/fork"),
        &json!({"subdir": "copy", "copy_workspace": true}),
    )
    .await
    .expect(201);
    let key = json!({"name": format!("of-{user}"), "role": "member", "user_id": user});
    acme.post("/api/v1/admin/tenants/acme/keys", &key)
        .await
        .expect(201);
    id
}

#[tokio::test]
async fn nothing_of_an_erased_user_is_left_in_the_file_or_on_the_disk() {
    let app = with_keys(AppBuilder::real()).start();
    let acme = app.client_with("acme");
    work(&app, "alice").await;
    let bob = acme.session("bob").await;
    acme.answer(&bob, "% say bobs").await;
    let mut before = Vec::new();
    found_in(app.folder.path(), SECRET, &mut before);
    assert!(
        before.len() >= 4,
        "the store, a workspace, a copy, a home: {before:?}"
    );

    let path = "/api/v1/admin/tenants/acme/users/alice";
    app.client_with("rival")
        .delete(path)
        .await
        .problem(404, "tenant_not_found");
    let erased = acme.delete(path).await.expect(200).body;
    assert_eq!(erased["sessions"], 2);
    let mut left = Vec::new();
    found_in(app.folder.path(), SECRET, &mut left);
    assert_eq!(left, [] as [String; 0]);
    let folders: Vec<_> = std::fs::read_dir(app.folder.path().join("workspaces/acme"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(folders, ["bob"]);
    assert_eq!(acme.answer(&bob, "% say still here").await, "still here");
    let keys = acme.get("/api/v1/admin/tenants/acme/keys").await.expect(200).body;
    assert_eq!(keys["data"], json!([]));
    let usage = acme.get("/api/v1/usage?group_by=user").await.expect(200).body;
    let users: Vec<_> = usage["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sum| sum["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(users, ["bob", "erased"]);
    let audit = acme.get("/api/v1/admin/audit?limit=1").await.expect(200).body;
    assert_eq!(
        (&audit["data"][0]["action"], &audit["data"][0]["target"]),
        (&json!("user_erased"), &json!("alice"))
    );
    assert_eq!(acme.delete(path).await.expect(200).body["sessions"], 0);
}

#[tokio::test]
async fn nothing_of_an_erased_tenant_is_left_on_a_server() {
    let builder = with_keys(AppBuilder::real()).in_postgres();
    let url = builder.database_url().unwrap();
    let app = builder.start();
    let root = app.client_with("root");
    work(&app, "alice").await;
    app.client_with("rival").session("alice").await;
    let path = "/api/v1/admin/tenants/acme";
    app.client_with("acme")
        .delete(path)
        .await
        .problem(403, "forbidden");
    root.delete("/api/v1/admin/tenants/default")
        .await
        .problem(403, "forbidden");
    root.delete(path).await.expect(200);
    root.get(path).await.problem(404, "tenant_not_found");
    let mut left = Vec::new();
    found_in(app.folder.path(), SECRET, &mut left);
    assert_eq!(left, [] as [String; 0]);
    assert!(!app.folder.path().join("workspaces/acme").exists());
    assert!(app.folder.path().join("workspaces/rival/alice").exists());
    let mut database = sqlx::PgConnection::connect(&url).await.unwrap();
    let tables = sqlx::query(
        "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = 'public'",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    assert!(tables.len() > 15);
    for table in tables {
        let name: String = table.get("name");
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT t::text AS row FROM {name} AS t"
        )))
        .fetch_all(&mut database)
        .await
        .unwrap();
        for row in rows {
            let row: String = row.get("row");
            assert!(!row.contains(SECRET), "{name}: {row}");
            assert!(name == "audit_entries" || !row.contains("acme"), "{name}: {row}");
        }
    }
    // The name is free again.
    root.post("/api/v1/admin/tenants", &json!({"name": "acme"}))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_erased_users_agents_are_ended_in_the_middle_of_their_work() {
    let app = with_keys(AppBuilder::real()).start();
    let acme = app.client_with("acme");
    let id = acme.session("alice").await;
    let mut stream = acme.stream(&id, "% bash sleep 300").await;
    stream.until("tool_use").await;
    assert!(!processes_of(app.folder.path()).is_empty());
    acme.delete("/api/v1/admin/tenants/acme/users/alice")
        .await
        .expect(200);
    assert_eq!(processes_of(app.folder.path()), [] as [i32; 0]);
    acme.ask(&id, "% say hi").await.problem(404, "session_not_found");
}

#[tokio::test]
async fn what_belongs_to_a_user_is_handed_out_whole() {
    let app = with_keys(AppBuilder::real()).start();
    let acme = app.client_with("acme");
    let id = work(&app, "alice").await;
    let bob = acme.session("bob").await;
    let request = acme.request(
        reqwest::Method::GET,
        "/api/v1/admin/tenants/acme/users/alice/export",
    );
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["format"], "paddock-part");
    assert_eq!(lines.last().unwrap()["end"]["records"], lines.len() - 2);
    let of = |kind: &str| lines.iter().filter(|line| line["record"] == kind).count();
    assert_eq!(of("session"), 2);
    assert!(of("turn") >= 1 && of("event") >= 3 && of("transcript_entry") >= 2 && of("usage") >= 1);
    let file = lines
        .iter()
        .find(|line| line["path"] == format!("{SECRET}.txt"))
        .unwrap();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(file["data"].as_str().unwrap())
        .unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap().trim(), SECRET);
    assert!(text.contains(&id) && !text.contains(&bob));
    let audit = acme.get("/api/v1/admin/audit?limit=1").await.expect(200).body;
    assert_eq!(audit["data"][0]["action"], "user_exported");
    let path = "/api/v1/admin/tenants/acme/export";
    let whole = acme.request(reqwest::Method::GET, path).send().await.unwrap();
    let whole = whole.text().await.unwrap();
    assert!(whole.contains(&id) && whole.contains(&bob) && whole.contains(&format!("alice/{SECRET}.txt")));
    app.client_with("rival")
        .get(path)
        .await
        .problem(404, "tenant_not_found");
}
