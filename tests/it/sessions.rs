//! Sessions: made, listed, read, changed, closed, made ready.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{AppBuilder, TestApp, until};

fn app() -> TestApp {
    AppBuilder::fake().start()
}

fn ids(page: &Value) -> Vec<String> {
    page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["session_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_session_is_made_with_its_folder_and_read_back() {
    let app = app();
    let client = app.client();
    let body = json!({"user_id": "alice", "subdir": "./a//b/", "title": "T", "metadata": {"k": [1, null]},
        "options": {"model": "opus", "permission_mode": "plan", "max_turns": 3}});
    let made = client.post("/api/v1/sessions", &body).await.expect(201);
    let id = made.text("session_id");
    assert_eq!(made.header("location"), format!("/api/v1/sessions/{id}"));
    assert_eq!(made.body["subdir"], "a/b");
    assert_eq!(made.body["metadata"], json!({"k": [1, null]}));
    assert_eq!(made.body["options"]["model"], "opus");
    assert_eq!(
        made.body["options"]["allowed_tools"][0], "Bash",
        "what is not asked for is the default"
    );
    assert_eq!(made.body["status"], "active");
    assert!(app.workspace("alice").join("a/b").is_dir());
    assert_eq!(
        made.text("cwd"),
        app.workspace("alice").join("a/b").to_str().unwrap()
    );

    let read = client.get(&format!("/api/v1/sessions/{id}")).await.expect(200);
    for field in [
        "title",
        "metadata",
        "options",
        "claude_session_id",
        "created_at",
        "cwd",
    ] {
        assert_eq!(read.body[field], made.body[field], "{field}");
    }
}

#[tokio::test]
async fn creating_a_session_calls_no_model() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    until("its agent lives", async || {
        let session = client.get(&format!("/api/v1/sessions/{id}")).await.expect(200);
        (session.body["agent_live"] == true).then_some(())
    })
    .await;
    assert_eq!(app.model_requests().await, [] as [Value; 0]);
}

#[tokio::test]
async fn lists_are_pages_newest_first_with_filters() {
    let app = app();
    let client = app.client();
    let mut made = Vec::new();
    for user in ["alice", "bob", "alice", "alice"] {
        made.push(client.session(user).await);
    }
    client
        .delete(&format!("/api/v1/sessions/{}", made[2]))
        .await
        .expect(204);
    let get = async |query: &str| {
        client
            .get(&format!("/api/v1/sessions{query}"))
            .await
            .expect(200)
            .body
    };
    assert_eq!(
        ids(&get("").await),
        [&made[3], &made[1], &made[0]].map(Clone::clone),
        "closed ones are left out"
    );
    assert_eq!(ids(&get("?status=all").await).len(), 4);
    assert_eq!(ids(&get("?status=closed").await), [made[2].clone()]);
    assert_eq!(ids(&get("?user_id=bob").await), [made[1].clone()]);
    assert_eq!(ids(&get("?user_id=nobody").await), [] as [&str; 0]);

    let first = get("?limit=2").await;
    client.session("carol").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = get(&format!("?limit=2&cursor={cursor}")).await;
    assert_eq!(
        [ids(&first), ids(&second)].concat(),
        [&made[3], &made[1], &made[0]].map(Clone::clone)
    );
    assert_eq!(second["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_cursor_that_no_list_gave_is_refused_by_name() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    client.session("alice").await;
    let page = client.get("/api/v1/sessions?limit=1").await.expect(200);
    let of_sessions = page.text("next_cursor");
    for path in [
        "/api/v1/sessions?cursor=x".to_owned(),
        "/api/v1/sessions?cursor=".to_owned(),
        format!("/api/v1/sessions/{id}/messages?cursor={of_sessions}"),
    ] {
        client.get(&path).await.problem(400, "invalid_cursor");
    }
}

#[tokio::test]
async fn a_change_changes_what_it_names_and_null_removes_a_title() {
    let app = app();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "a", "title": "old", "metadata": {"k": 1}}))
        .await;
    let path = format!("/api/v1/sessions/{id}");
    let change = async |body: Value| client.patch(&path, &body).await;
    assert_eq!(
        change(json!({"title": "new"})).await.expect(200).body["metadata"],
        json!({"k": 1})
    );
    let changed = change(json!({"metadata": {}})).await.expect(200).body;
    assert_eq!(
        (changed["title"].as_str(), &changed["metadata"]),
        (Some("new"), &json!({}))
    );
    assert_eq!(
        change(json!({"title": null})).await.expect(200).body["title"],
        Value::Null
    );
    change(json!({})).await.problem(422, "validation_failed");
}

#[tokio::test]
async fn a_closed_session_stays_closed_and_keeps_its_record() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "hello").await, "You said: hello");
    let path = format!("/api/v1/sessions/{id}");
    client.delete(&path).await.expect(204);
    client.delete(&path).await.expect(204);
    let closed = client.get(&path).await.expect(200).body;
    assert_eq!(
        (closed["status"].as_str(), closed["agent_live"].as_bool()),
        (Some("closed"), Some(false))
    );
    assert!(closed["closed_at"].is_string());
    client.ask(&id, "again").await.problem(410, "session_closed");
    client
        .post(&format!("{path}/resume"), &json!({}))
        .await
        .problem(410, "session_closed");
    client
        .patch(&path, &json!({"title": "x"}))
        .await
        .problem(410, "session_closed");
    let messages = client.get(&format!("{path}/messages")).await.expect(200).body;
    assert_eq!(
        messages["data"].as_array().unwrap().len(),
        2,
        "what was said is still there"
    );
    let homes = app.folder.path().join("homes");
    let left: Vec<_> = std::fs::read_dir(homes)
        .unwrap()
        .flatten()
        .flat_map(|tenant| std::fs::read_dir(tenant.path()).unwrap())
        .collect();
    assert!(left.is_empty(), "the private home is gone: {left:?}");
}

#[tokio::test]
async fn closing_ends_a_running_turn_and_its_process() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "never-end").await;
    stream.until("turn_started").await;
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["code"].as_str()),
        (Some("error"), Some("session_closed"))
    );
    assert_eq!(crate::support::processes_of(app.folder.path()), [] as [i32; 0]);
}

#[tokio::test]
async fn a_session_that_is_not_used_expires() {
    let app = AppBuilder::fake()
        .with(|settings| settings.session.ttl = std::time::Duration::from_millis(1))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    until("it has expired", async || {
        (client.ask(&id, "hello").await.status == 410).then_some(())
    })
    .await;
    client.ask(&id, "hello").await.problem(410, "session_expired");
    let read = client.get(&format!("/api/v1/sessions/{id}")).await.expect(200);
    assert!(read.body["expires_at"].is_string());
}

#[tokio::test]
async fn a_link_that_leads_out_is_refused_at_use_and_not_only_at_creation() {
    let app = app();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "subdir": "work"}))
        .await;
    client.session("bob").await;
    let work = app.workspace("alice").join("work");
    std::fs::remove_dir(&work).unwrap();
    symlink(app.workspace("bob"), &work).unwrap();
    client.ask(&id, "pid").await.problem(403, "workspace_refused");
    client
        .post(&format!("/api/v1/sessions/{id}/resume"), &json!({}))
        .await
        .problem(403, "workspace_refused");
    let body = json!({"user_id": "alice", "subdir": "work/new"});
    client
        .post("/api/v1/sessions", &body)
        .await
        .problem(403, "workspace_refused");
    assert_eq!(std::fs::read_dir(app.workspace("bob")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_workspace_that_was_deleted_is_told_and_made_again_by_resuming() {
    let app = app();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "subdir": "work"}))
        .await;
    let before = client.answer(&id, "pid").await;
    std::fs::remove_dir_all(app.workspace("alice").join("work")).unwrap();
    client.ask(&id, "hello").await.problem(409, "workspace_missing");
    client
        .post(&format!("/api/v1/sessions/{id}/resume"), &json!({}))
        .await
        .expect(200);
    assert_ne!(
        client.answer(&id, "pid").await,
        before,
        "the old process stood in the folder that is gone"
    );
    std::fs::remove_dir_all(app.workspace("alice").join("work")).unwrap();
    std::fs::write(app.workspace("alice").join("work"), "").unwrap();
    client
        .ask(&id, "hello")
        .await
        .problem(409, "workspace_not_a_folder");
}

#[tokio::test]
async fn sessions_in_memory_work_the_same_and_end_with_the_server() {
    let app = AppBuilder::fake().in_memory().start();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "hello").await, "You said: hello");
    let health = client.get("/health").await.expect(200).body;
    assert_eq!(
        (health["storage"].as_str(), health["active_sessions"].as_u64()),
        (Some("memory"), Some(1))
    );
    let folder = app.stop();
    let app = AppBuilder::fake().in_folder_of(&folder).in_memory().start();
    app.client()
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .problem(404, "session_not_found");
}

#[tokio::test]
async fn history_is_paged_oldest_first() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "one").await;
    client.answer(&id, "tool Bash").await;
    let path = format!("/api/v1/sessions/{id}/messages");
    let whole = client.get(&path).await.expect(200).body;
    let roles: Vec<_> = whole["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(
        roles,
        ["user", "assistant", "user", "assistant", "tool", "assistant"]
    );
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client
            .get(&format!("{path}?limit=4{cursor}"))
            .await
            .expect(200)
            .body;
        paged.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(Value::Array(paged), whole["data"]);
}
