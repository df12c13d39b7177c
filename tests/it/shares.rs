//! Links by which a session is shown: who may make them, what they show, and when they end.

use paddock::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, Stream, TestApp, until};

fn app(change: impl FnOnce(&mut Settings)) -> TestApp {
    AppBuilder::fake()
        .with_keys(&[
            ("root", "admin", "default", None),
            ("owner", "owner", "acme", None),
            ("member", "member", "acme", None),
            ("rival", "owner", "rival", None),
        ])
        .with(change)
        .start()
}

async fn allow(app: &TestApp, share_links: bool) {
    app.client_with("root")
        .patch(
            "/api/v1/admin/tenants/acme",
            &json!({"policy": {"share_links": share_links}}),
        )
        .await
        .expect(200);
}

async fn share(app: &TestApp, session: &str, asked: &Value) -> (Client, Value) {
    let made = app
        .client_with("member")
        .post(&format!("/api/v1/sessions/{session}/shares"), asked)
        .await
        .expect(201);
    let guest = Client::new(app.address, Some(made.text("token")));
    (guest, made.body)
}

#[tokio::test]
async fn a_link_is_made_only_where_the_tenant_allows_it_and_shows_nothing_once_it_does_not() {
    let app = app(|settings| settings.auth.cache_ttl = std::time::Duration::ZERO);
    let id = app.client_with("member").session("alice").await;
    let (path, session) = (
        format!("/api/v1/sessions/{id}/shares"),
        format!("/api/v1/sessions/{id}"),
    );
    let member = app.client_with("member");
    member
        .post(&path, &json!({}))
        .await
        .problem(403, "shares_forbidden");
    allow(&app, true).await;
    let (guest, _) = share(&app, &id, &json!({})).await;
    guest.get(&session).await.expect(200);
    allow(&app, false).await;
    guest.get(&session).await.problem(403, "shares_forbidden");
    allow(&app, true).await;
    guest.get(&session).await.expect(200);
}

#[tokio::test]
async fn a_link_shows_one_session_without_what_its_client_keeps_there() {
    let app = app(|settings| settings.agent.session_environment = vec!["TEAM_*".into()]);
    allow(&app, true).await;
    let member = app.client_with("member");
    let body = json!({
        "user_id": "alice", "title": "Shown", "metadata": {"ticket": "SECRET-1"},
        "options": {
            "model": "opus", "system_prompt": "SECRET-2", "env": {"TEAM_A": "SECRET-3"}, "agent_messages": true,
            "mcp_servers": {"SECRET-4": {"type": "http", "url": "https://secret.example"}}
        }
    });
    let (id, other) = (member.session_with(&body).await, member.session("alice").await);
    member.answer(&id, "hello").await;
    member
        .patch(
            &format!("/api/v1/sessions/{id}"),
            &json!({"metadata": {"ticket": "SECRET-5"}}),
        )
        .await
        .expect(200);
    let (guest, made) = share(&app, &id, &json!({})).await;
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("pdk_share_"), "{token}");
    let page = format!("http://{}/#/shared/{token}", app.address);
    assert_eq!(made["url"], page.as_str());

    let shown = guest
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&shown["title"], &shown["metadata"]),
        (&json!("Shown"), &json!({}))
    );
    assert_eq!(
        shown["options"],
        json!({"model": "opus", "permission_mode": "acceptEdits"})
    );
    let me = guest.get("/api/v1/me").await.expect(200).body;
    assert_eq!(
        (&me["role"], &me["session_id"], &me["key_id"], &me["files"]),
        (&json!("guest"), &json!(id), &Value::Null, &json!(false))
    );
    assert_eq!(me["budgets"], json!([]));
    for what in ["", "/messages", "/turns", "/events"] {
        let path = format!("/api/v1/sessions/{id}{what}");
        let answer = guest.get(&path).await.expect(200);
        assert!(!answer.raw.contains("SECRET"), "{what}: {}", answer.raw);
        let owners = member.get(&path).await.expect(200);
        assert!(!owners.raw.is_empty());
    }
    for query in ["raw=true", "types=agent_message", "types=done,session_updated"] {
        guest
            .get(&format!("/api/v1/sessions/{id}/events?{query}"))
            .await
            .problem(403, "forbidden");
    }
    let conversation = guest
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200);
    assert!(conversation.raw.contains("hello"), "{}", conversation.raw);
    guest
        .get(&format!("/api/v1/sessions/{other}"))
        .await
        .problem(404, "session_not_found");
    guest
        .post(
            &format!("/api/v1/sessions/{id}/messages"),
            &json!({"message": "more"}),
        )
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn a_link_ends_when_it_is_revoked_and_the_streams_of_its_guests_with_it() {
    let app = app(|settings| settings.auth.recheck_interval = std::time::Duration::from_millis(20));
    allow(&app, true).await;
    let member = app.client_with("member");
    let id = member.session("alice").await;
    member.answer(&id, "hello").await;
    let (guest, made) = share(&app, &id, &json!({"expires_in_s": 3600})).await;
    let (staying, _) = share(&app, &id, &json!({})).await;
    let open = async |client: &Client| {
        let request = client.request(Method::GET, &format!("/api/v1/sessions/{id}/events"));
        let request = request.header("accept", "text/event-stream");
        let mut stream = Stream::of(request.send().await.unwrap());
        stream.until("done").await;
        stream
    };
    let (stream, mut other) = (open(&guest).await, open(&staying).await);
    let share = made["share_id"].as_str().unwrap();
    let path = format!("/api/v1/sessions/{id}/shares/{share}");
    app.client_with("rival")
        .delete(&path)
        .await
        .problem(404, "session_not_found");
    let elsewhere = member.session("alice").await;
    member
        .delete(&format!("/api/v1/sessions/{elsewhere}/shares/{share}"))
        .await
        .problem(404, "share_not_found");
    for _ in 0..2 {
        member.delete(&path).await.expect(204);
    }
    let answer = guest.get(&format!("/api/v1/sessions/{id}")).await;
    assert!(
        answer
            .problem(401, "unauthenticated")
            .text("detail")
            .contains("revoked"),
        "it says why"
    );
    assert_eq!(stream.rest().await, Vec::<Value>::new());
    member.answer(&id, "and more").await;
    other.until("done").await;

    let listed = member
        .get(&format!("/api/v1/sessions/{id}/shares"))
        .await
        .expect(200);
    assert!(!listed.raw.contains("pdk_share_"), "{}", listed.raw);
    let listed = listed.body["data"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1]["share_id"], share);
    assert!(listed[1]["revoked_at"].is_string() && listed[0]["revoked_at"].is_null());

    let audit = app
        .client_with("owner")
        .get("/api/v1/admin/audit")
        .await
        .expect(200);
    let told = |action: &str| {
        let entries = audit.body["data"].as_array().unwrap().iter();
        entries.filter(|entry| entry["action"] == action).count()
    };
    assert_eq!((told("share_created"), told("share_revoked")), (2, 1));
    assert!(!audit.raw.contains("pdk_share_"));
}

#[tokio::test]
async fn a_link_ends_by_itself_and_lasts_no_longer_than_may_be() {
    let app = app(|settings| {
        settings.auth.share_link_ttl = std::time::Duration::from_mins(1);
        settings.auth.share_link_ttl_max = std::time::Duration::from_secs(90);
    });
    allow(&app, true).await;
    let member = app.client_with("member");
    let id = member.session("alice").await;
    for seconds in [0, 91] {
        let refused = member
            .post(
                &format!("/api/v1/sessions/{id}/shares"),
                &json!({"expires_in_s": seconds}),
            )
            .await
            .problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], "expires_in_s");
    }
    let lasts = |made: &Value| {
        let at =
            |name: &str| -> chrono::DateTime<chrono::Utc> { made[name].as_str().unwrap().parse().unwrap() };
        (at("expires_at") - at("created_at")).num_seconds()
    };
    let (_, usual) = share(&app, &id, &json!({})).await;
    let (guest, short) = share(&app, &id, &json!({"expires_in_s": 1})).await;
    assert_eq!((lasts(&usual), lasts(&short)), (60, 1));
    let path = format!("/api/v1/sessions/{id}");
    until("the link ends", async || {
        let answer = guest.get(&path).await;
        (answer.status == 401).then(|| assert!(answer.text("detail").contains("expired")))
    })
    .await;
}

#[tokio::test]
async fn a_token_is_told_once_and_nobody_has_a_key_of_a_guest() {
    let app = app(|_| ());
    allow(&app, true).await;
    let member = app.client_with("member");
    let id = member.session("alice").await;
    let ask = async || {
        let path = format!("/api/v1/sessions/{id}/shares");
        let request = member
            .request(Method::POST, &path)
            .header("idempotency-key", "one");
        crate::support::read(request.json(&json!({})).send().await.unwrap())
            .await
            .expect(201)
    };
    let (first, again) = (ask().await, ask().await);
    assert_eq!(first.header("cache-control"), "no-store");
    assert_eq!(first.body["share_id"], again.body["share_id"]);
    assert_eq!(
        (&again.body["token"], &again.body["url"]),
        (&Value::Null, &Value::Null)
    );
    let refused = app
        .client_with("owner")
        .post(
            "/api/v1/admin/tenants/acme/keys",
            &json!({"name": "g", "role": "guest"}),
        )
        .await
        .problem(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["field"], "role");
    Client::new(app.address, Some("pdk_share_nobody-has-this-one".into()))
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_guest_stays_one_where_no_key_is_needed() {
    let app = AppBuilder::fake().start();
    let anybody = app.client();
    anybody
        .patch(
            "/api/v1/admin/tenants/default",
            &json!({"policy": {"share_links": true}}),
        )
        .await
        .expect(200);
    let (id, other) = (anybody.session("alice").await, anybody.session("bob").await);
    let made = anybody
        .post(&format!("/api/v1/sessions/{id}/shares"), &json!({}))
        .await
        .expect(201);
    let guest = Client::new(app.address, Some(made.text("token")));
    guest.get(&format!("/api/v1/sessions/{id}")).await.expect(200);
    guest
        .get(&format!("/api/v1/sessions/{other}"))
        .await
        .problem(404, "session_not_found");
    guest.get("/api/v1/sessions").await.problem(403, "forbidden");
    anybody
        .delete(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(204);
    guest.get(&format!("/api/v1/sessions/{id}")).await.expect(200);
    Client::new(app.address, Some("pdk_share_nobody-has-this-one".into()))
        .get("/api/v1/sessions")
        .await
        .problem(401, "unauthenticated");
}
