//! Tenants and keys over the API: made, used, bound, revoked, audited; and what of it another instance sees.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, AppBuilder, Client, TestApp, read, until};

const TENANTS: &str = "/api/v1/admin/tenants";

fn app() -> TestApp {
    AppBuilder::fake()
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme-owner", "owner", "acme", None),
            ("rival-owner", "owner", "rival", None),
        ])
        .start()
}

/// Makes a key of tenant `acme`; its answer.
async fn new_key(client: &Client, body: &Value) -> Answer {
    client.post(&format!("{TENANTS}/acme/keys"), body).await
}

/// A client with a key that was just made.
fn with(app: &TestApp, made: &Answer) -> Client {
    Client::new(app.address, Some(made.text("key")))
}

#[tokio::test]
async fn a_key_works_from_when_it_is_made_until_it_is_revoked() {
    let app = app();
    let owner = app.client_with("acme-owner");
    let made = new_key(
        &owner,
        &json!({"name": "ci", "role": "member", "user_id": "alice"}),
    )
    .await
    .expect(201);
    let key = made.text("key");
    assert!(key.starts_with("pdk_key_") && key.len() == 51, "{key}");
    assert_eq!(made.header("cache-control"), "no-store");
    let alice = with(&app, &made);
    alice.session("alice").await;
    alice
        .post("/api/v1/sessions", &json!({"user_id": "bob"}))
        .await
        .problem(403, "forbidden");

    let path = made.header("location").to_owned();
    let shown = owner.get(&path).await.expect(200).body;
    assert!(shown["last_used_at"].is_string(), "{shown}");
    assert!(!shown.to_string().contains(&key));
    let listed = owner.get(&format!("{TENANTS}/acme/keys")).await.expect(200).body;
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(&key));

    let revoked = owner.delete(&path).await.expect(200).body;
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(owner.delete(&path).await.expect(200).body, revoked, "it stays so");
    let refused = alice
        .get("/api/v1/sessions")
        .await
        .problem(401, "unauthenticated");
    assert_eq!(refused.text("detail"), "the key was revoked");
}

#[tokio::test]
async fn a_key_ends_by_itself_and_works_only_from_its_networks() {
    let app = app();
    let owner = app.client_with("acme-owner");
    let elsewhere = json!({"name": "far", "role": "reader", "networks": ["192.0.2.0/24", "2001:db8::/32"]});
    let far = new_key(&owner, &elsewhere).await.expect(201);
    with(&app, &far)
        .get("/api/v1/sessions")
        .await
        .problem(403, "forbidden");
    let here = json!({"name": "near", "role": "reader", "networks": ["127.0.0.0/8"]});
    let near = new_key(&owner, &here).await.expect(201);
    with(&app, &near).get("/api/v1/sessions").await.expect(200);

    let end = chrono::Utc::now() + chrono::TimeDelta::milliseconds(1500);
    let short = json!({"name": "short", "role": "reader", "expires_at": end.to_rfc3339()});
    let short = with(&app, &new_key(&owner, &short).await.expect(201));
    short.get("/api/v1/sessions").await.expect(200);
    until("the key has ended", async || {
        let answer = short.get("/api/v1/sessions").await;
        (answer.status == 401).then(|| assert_eq!(answer.text("detail"), "the key has expired"))
    })
    .await;
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused_by_name() {
    let app = app();
    let owner = app.client_with("acme-owner");
    for (body, field) in [
        (json!({"role": "reader"}), "name"),
        (json!({"name": "", "role": "reader"}), "name"),
        (json!({"name": "x\n", "role": "reader"}), "name"),
        (json!({"name": "x"}), "role"),
        (json!({"name": "x", "role": "king"}), "role"),
        (
            json!({"name": "x", "role": "reader", "user_id": "../x"}),
            "user_id",
        ),
        (
            json!({"name": "x", "role": "owner", "user_id": "alice"}),
            "user_id",
        ),
        (
            json!({"name": "x", "role": "reader", "networks": ["here"]}),
            "networks",
        ),
        (
            json!({"name": "x", "role": "reader", "expires_at": "2020-01-01T00:00:00Z"}),
            "expires_at",
        ),
        (json!({"name": "x", "role": "reader", "key": "mine"}), "key"),
    ] {
        let refused = new_key(&owner, &body).await.problem(422, "validation_failed");
        let fields: Vec<_> = refused.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect();
        assert!(fields.iter().any(|told| told == field), "{body}: {fields:?}");
    }
    let admin = json!({"name": "x", "role": "admin"});
    new_key(&owner, &admin).await.problem(403, "forbidden");
    new_key(&app.client_with("root"), &admin).await.expect(201);
    new_key(&owner, &json!({"name": "x", "role": "reader"}))
        .await
        .problem(409, "key_name_taken");
}

#[tokio::test]
async fn an_owner_sees_its_own_tenant_and_every_other_name_is_unknown() {
    let app = app();
    let (owner, rival) = (app.client_with("acme-owner"), app.client_with("rival-owner"));
    let key = new_key(&owner, &json!({"name": "ci", "role": "reader"}))
        .await
        .expect(201);
    let (key, unknown) = (key.text("key_id"), format!("key_{}", "0".repeat(32)));
    for (method, path, body) in [
        (Method::GET, String::new(), None),
        (Method::GET, "/keys".into(), None),
        (
            Method::POST,
            "/keys".into(),
            Some(json!({"name": "n", "role": "reader"})),
        ),
        (Method::GET, format!("/keys/{key}"), None),
        (Method::DELETE, format!("/keys/{key}"), None),
        (Method::GET, "/model-credential".into(), None),
        (Method::DELETE, "/model-credential".into(), None),
    ] {
        let mut answers = Vec::new();
        for tenant in ["acme", "nobody", "No Name"] {
            let path = format!("{TENANTS}/{tenant}{path}");
            let mut answer = rival
                .send(method.clone(), &path, body.as_ref())
                .await
                .problem(404, "tenant_not_found")
                .body;
            answer["request_id"].take();
            answers.push(answer);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        owner
            .get(&format!("{TENANTS}/acme/keys/{unknown}"))
            .await
            .problem(404, "key_not_found");
    }
    rival
        .get("/api/v1/admin/audit?tenant=acme")
        .await
        .problem(404, "tenant_not_found");
    let own = rival.get(TENANTS).await.expect(200).body;
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
    assert_eq!(own["data"][0]["name"], "rival");
    rival
        .delete(&format!("{TENANTS}/rival/keys/{key}"))
        .await
        .problem(404, "key_not_found");
    let kept = owner.get(&format!("{TENANTS}/acme/keys/{key}")).await.expect(200);
    assert_eq!(kept.body["revoked_at"], Value::Null);
}

#[tokio::test]
async fn a_tenant_is_made_suspended_and_taken_back() {
    let app = app();
    let root = app.client_with("root");
    let made = root.post(TENANTS, &json!({"name": "newco"})).await.expect(201);
    root.post(TENANTS, &json!({"name": "newco"}))
        .await
        .problem(409, "tenant_exists");
    root.post(TENANTS, &json!({"name": "New Co"}))
        .await
        .problem(422, "validation_failed");
    let path = made.header("location").to_owned();
    let body = json!({"name": "boss", "role": "owner"});
    let boss = with(&app, &root.post(&format!("{path}/keys"), &body).await.expect(201));
    boss.get(&path).await.expect(200);
    boss.patch(&path, &json!({"suspended": true}))
        .await
        .problem(403, "forbidden");

    root.patch(&path, &json!({"suspended": true})).await.expect(200);
    boss.get(&path).await.problem(403, "tenant_suspended");
    root.patch(&path, &json!({"suspended": false})).await.expect(200);
    boss.get(&path).await.expect(200);

    let names = async |query: &str| {
        let page = root.get(&format!("{TENANTS}{query}")).await.expect(200).body;
        let names: Vec<_> = page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tenant| tenant["name"].as_str().unwrap().to_owned())
            .collect();
        (names, page["next_cursor"].as_str().map(ToOwned::to_owned))
    };
    let (first, next) = names("?limit=3").await;
    let (rest, end) = names(&format!("?limit=3&cursor={}", next.unwrap())).await;
    assert_eq!([first, rest].concat(), ["acme", "default", "newco", "rival"]);
    assert_eq!(end, None);
}

#[tokio::test]
async fn every_administrative_change_and_refusal_is_in_the_audit_with_who_and_where() {
    let app = app();
    let (root, owner) = (app.client_with("root"), app.client_with("acme-owner"));
    root.post(TENANTS, &json!({"name": "newco"})).await.expect(201);
    let made = new_key(&owner, &json!({"name": "ci", "role": "reader"}))
        .await
        .expect(201);
    let (id, client) = (made.text("key_id"), with(&app, &made));
    owner
        .delete(&format!("{TENANTS}/acme/keys/{id}"))
        .await
        .expect(200);
    for _ in 0..20 {
        client
            .get("/api/v1/sessions")
            .await
            .problem(401, "unauthenticated");
    }
    let entries = async |client: &Client, query: &str| {
        let page = client
            .get(&format!("/api/v1/admin/audit{query}"))
            .await
            .expect(200);
        page.body["data"].as_array().unwrap().clone()
    };
    let brief = |entries: &[Value]| -> Vec<(String, String, String)> {
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
        entries
            .iter()
            .map(|entry| (text(entry, "action"), text(entry, "actor"), text(entry, "target")))
            .collect()
    };
    let entry = |action: &str, actor: &str, target: &str| (action.into(), actor.into(), target.into());
    let all = entries(&root, "").await;
    assert_eq!(
        brief(&all),
        [
            entry("key_refused", "ci", &id),
            entry("key_revoked", "acme-owner", &id),
            entry("key_created", "acme-owner", &id),
            entry("tenant_created", "root", "newco"),
        ],
        "and of twenty refusals, one"
    );
    assert_eq!(all[0]["details"]["reason"], "the key was revoked");
    assert!(all.iter().all(|entry| entry["address"] == "127.0.0.1"));
    let own = brief(&entries(&owner, "").await);
    assert_eq!(own, brief(&all[..3]), "an owner sees what is its own");
    assert_eq!(brief(&entries(&root, "?tenant=acme").await), own);
    let page = root.get("/api/v1/admin/audit?limit=3").await.expect(200).body;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = entries(&root, &format!("?limit=3&cursor={next}")).await;
    assert_eq!(rest, all[3..]);
}

#[tokio::test]
async fn an_unknown_key_is_audited_and_tells_nothing_of_itself() {
    let app = app();
    let guess = "pdk_key_this-is-a-guess-and-must-not-be-kept-anywhere";
    let guesser = Client::new(app.address, Some(guess.to_owned()));
    guesser
        .get("/api/v1/sessions")
        .await
        .problem(401, "unauthenticated");
    let audit = app
        .client_with("root")
        .get("/api/v1/admin/audit")
        .await
        .expect(200);
    assert_eq!(audit.body["data"][0]["action"], "key_refused");
    assert_eq!(audit.body["data"][0]["target"], "unknown");
    assert!(!audit.body.to_string().contains("guess"));
}

#[tokio::test]
async fn a_key_that_one_instance_revokes_opens_no_other_after_five_seconds() {
    let keys: &[(&str, &str, &str, Option<&str>)] = &[("root", "admin", "acme", None)];
    let builder = AppBuilder::fake().with_keys(keys).in_postgres();
    let url = builder.database_url().unwrap();
    let (one, other) = (
        builder.start(),
        AppBuilder::fake().with_keys(keys).on_database(&url).start(),
    );
    let root = one.client_with("root");
    let made = new_key(&root, &json!({"name": "ci", "role": "reader"}))
        .await
        .expect(201);
    let there = with(&other, &made);
    there.get("/api/v1/sessions").await.expect(200);
    let id = made.text("key_id");
    root.delete(&format!("{TENANTS}/acme/keys/{id}"))
        .await
        .expect(200);
    let revoked = Instant::now();
    with(&one, &made)
        .get("/api/v1/sessions")
        .await
        .problem(401, "unauthenticated");
    until("the other instance knows", async || {
        (there.get("/api/v1/sessions").await.status == 401).then_some(())
    })
    .await;
    assert!(
        revoked.elapsed() <= Duration::from_secs(5),
        "{:?}",
        revoked.elapsed()
    );
}

#[tokio::test]
async fn both_headers_take_a_stored_key() {
    let app = app();
    let made = new_key(
        &app.client_with("acme-owner"),
        &json!({"name": "ci", "role": "reader"}),
    )
    .await
    .expect(201);
    let request = app
        .client()
        .request(Method::GET, "/api/v1/sessions")
        .header("x-api-key", made.text("key"));
    read(request.send().await.unwrap()).await.expect(200);
}
