//! Sessions end when they are not used: expired, then gone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, until};

const HOUR: Duration = Duration::from_hours(1);

async fn status_of(client: &Client, id: &str) -> Option<String> {
    let session = client.get(&format!("/api/v1/sessions/{id}")).await;
    session.body["status"].as_str().map(ToOwned::to_owned)
}

fn builders() -> [AppBuilder; 3] {
    [
        AppBuilder::fake().in_memory(),
        AppBuilder::fake(),
        AppBuilder::fake().in_postgres(),
    ]
}

#[tokio::test]
async fn an_expired_session_is_gone_for_use_and_can_still_be_read() {
    for builder in builders() {
        let app = builder
            .with(|settings| settings.session.ttl = Duration::from_secs(2))
            .start();
        let client = app.client();
        let id = client.session("alice").await;
        client.answer(&id, "hello").await;
        until("it has expired", async || {
            (status_of(&client, &id).await? == "expired").then_some(())
        })
        .await;
        let path = format!("/api/v1/sessions/{id}");
        client.ask(&id, "hello").await.problem(410, "session_expired");
        client
            .patch(&path, &json!({"title": "t"}))
            .await
            .problem(410, "session_expired");
        client
            .post(&format!("{path}/resume"), &Value::Null)
            .await
            .problem(410, "session_expired");
        let read = client.get(&path).await.expect(200);
        assert!(read.body["expires_at"].is_string());
        client.get(&format!("{path}/messages")).await.expect(200);
        let listed = async |query: &str| {
            let page = client.get(&format!("/api/v1/sessions{query}")).await.expect(200);
            page.body["data"].as_array().unwrap().len()
        };
        assert_eq!(listed("").await, 0);
        assert_eq!(listed("?status=expired").await, 1);
        assert_eq!(listed("?status=all").await, 1);
        let health = client.get("/health").await.expect(200).body;
        assert_eq!(health["active_sessions"], 0);
    }
}

#[tokio::test]
async fn a_session_lives_on_while_it_is_used() {
    let app = AppBuilder::fake()
        .with(|settings| settings.session.ttl = Duration::from_secs(3))
        .start();
    let client = app.client();
    let (used, resumed, left) = (
        client.session("a").await,
        client.session("b").await,
        client.session("c").await,
    );
    until("the one that is left alone has expired", async || {
        client.answer(&used, "hello").await;
        client
            .post(&format!("/api/v1/sessions/{resumed}/resume"), &Value::Null)
            .await
            .expect(200);
        (status_of(&client, &left).await? == "expired").then_some(())
    })
    .await;
    client.answer(&used, "hello").await;
    assert_eq!(status_of(&client, &resumed).await.as_deref(), Some("active"));
}

#[tokio::test]
async fn a_turn_that_is_longer_than_sessions_live_is_not_cut_off() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.session.ttl = Duration::from_secs(2);
            settings.session.removal_delay = Some(Duration::ZERO);
            settings.session.sweep_interval = Duration::from_millis(20);
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let text = client.answer(&id, "words 30 every 100ms").await;
    assert!(text.ends_with("word30"), "{text}");
}

#[tokio::test]
async fn what_has_expired_is_removed_after_its_delay_with_all_it_has() {
    for builder in builders() {
        let app = builder
            .with(|settings| {
                settings.session.ttl = Duration::from_millis(400);
                settings.session.removal_delay = Some(Duration::from_millis(400));
                settings.session.sweep_interval = Duration::from_millis(20);
                settings.session.sweep_batch = 2;
            })
            .start();
        let client = app.client();
        let mut ids = Vec::new();
        for user in ["a", "b", "c", "d", "e"] {
            let id = client.session(user).await;
            client.ask(&id, "hello").await;
            ids.push(id);
        }
        for id in &ids {
            until("it is gone", async || {
                status_of(&client, id).await.is_none().then_some(())
            })
            .await;
            client.ask(id, "hello").await.problem(404, "session_not_found");
        }
        let homes = app.folder.path().join("homes");
        until("their homes and agents are gone", async || {
            let live = client.get("/health").await.body["live_agents"] == 0;
            let left = std::fs::read_dir(&homes)
                .unwrap()
                .flatten()
                .flat_map(|tenant| std::fs::read_dir(tenant.path()).into_iter().flatten())
                .count();
            (live && left == 0).then_some(())
        })
        .await;
        assert!(app.workspace("a").is_dir(), "the user's files stay");
    }
}

#[tokio::test]
async fn nothing_expires_without_a_limit_and_nothing_is_removed_without_a_delay() {
    for (ttl, removal_delay) in [
        (Duration::ZERO, Some(Duration::ZERO)),
        (Duration::from_millis(1), None),
    ] {
        let app = AppBuilder::fake()
            .with(|settings| {
                settings.session.ttl = ttl;
                settings.session.removal_delay = removal_delay;
                settings.session.sweep_interval = Duration::from_millis(5);
            })
            .start();
        let client = app.client();
        let id = client.session("alice").await;
        // Far more looks than one.
        for _ in 0..50 {
            let status = status_of(&client, &id).await;
            assert!(status.is_some(), "it is kept");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let session = client
            .get(&format!("/api/v1/sessions/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(session["expires_at"].is_null(), ttl.is_zero());
        assert_eq!(
            session["status"],
            if ttl.is_zero() { "active" } else { "expired" }
        );
    }
}

#[tokio::test]
async fn old_events_go_by_their_tenants_rule_and_pieces_of_messages_sooner() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.session.sweep_interval = Duration::from_millis(20);
            settings.events.delta_retention = Duration::from_millis(1);
            settings.events.retention = Duration::from_millis(1);
            settings.events.message_retention = HOUR;
        })
        .with_keys(&[
            ("platform-admin", "admin", "default", None),
            ("acme-member", "member", "acme", None),
            ("rival-member", "member", "rival", None),
        ])
        .start();
    let (acme, rival) = (app.client_with("acme-member"), app.client_with("rival-member"));
    let limits = json!({"limits": {"message_retention_seconds": 1, "delta_retention_seconds": 1}});
    let admin = app.client_with("platform-admin");
    admin
        .patch("/api/v1/admin/tenants/acme", &limits)
        .await
        .expect(200);
    let (short, long) = (acme.session("alice").await, rival.session("alice").await);
    acme.answer(&short, "words 3").await;
    rival.answer(&long, "words 3").await;
    let messages = async |client: &Client, id: &str| {
        let page = client
            .get(&format!("/api/v1/sessions/{id}/messages"))
            .await
            .expect(200);
        page.body["data"].as_array().unwrap().len()
    };
    until("the old events are gone", async || {
        (messages(&acme, &short).await == 0).then_some(())
    })
    .await;
    assert!(messages(&rival, &long).await >= 2, "another tenant's stay");
    let database = sqlx::SqlitePool::connect(&format!(
        "sqlite://{}",
        app.folder.path().join("paddock.db").display()
    ))
    .await
    .unwrap();
    until("no pieces are left", async || {
        let (pieces,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM events WHERE kind = 'deltas'")
            .fetch_one(&database)
            .await
            .unwrap();
        (pieces == 0).then_some(())
    })
    .await;
    acme.answer(&short, "recall").await;
}
