//! What tenants may ask for, and how much and how often.

use serde_json::{Value, json};

use crate::support::{Answer, AppBuilder, Client, TestApp, until};

const ACME: &str = "/api/v1/admin/tenants/acme";

fn with_keys(builder: AppBuilder) -> AppBuilder {
    builder.with_keys(&[
        ("root", "admin", "default", None),
        ("acme", "member", "acme", None),
        ("acme-too", "member", "acme", None),
        ("rival", "member", "rival", None),
    ])
}

fn app() -> TestApp {
    with_keys(AppBuilder::fake()).start()
}

async fn change(app: &TestApp, body: &Value) {
    app.client_with("root").patch(ACME, body).await.expect(200);
}

fn limit(answer: &Answer) -> (&str, &str) {
    (
        answer.header("ratelimit-limit"),
        answer.header("ratelimit-remaining"),
    )
}

#[tokio::test]
async fn a_forbidden_option_is_refused_by_its_name_and_audited() {
    let app = app();
    let policy = json!({"permission_modes": ["default", "acceptEdits"], "models": ["claude-haiku-*"],
        "mcp_commands": ["npx"], "denied_tools": ["WebFetch"], "defaults": {"model": "claude-haiku-5-5"}});
    change(&app, &json!({"policy": policy})).await;
    let acme = app.client_with("acme");
    let create = async |client: &Client, options: Value| {
        let body = json!({"user_id": "alice", "options": options});
        client.post("/api/v1/sessions", &body).await
    };
    for (options, name) in [
        (json!({"permission_mode": "bypassPermissions"}), "permission_mode"),
        (json!({"model": "claude-opus-5-5"}), "model"),
        (
            json!({"mcp_servers": {"x": {"command": "/bin/sh"}}}),
            "mcp_servers.x",
        ),
    ] {
        let refused = create(&acme, options.clone())
            .await
            .problem(403, "option_forbidden");
        assert!(refused.text("detail").contains(name), "{}", refused.body);
        create(&app.client_with("rival"), options).await.expect(201);
    }
    let made = create(&acme, json!({"disallowed_tools": ["WebSearch"]}))
        .await
        .expect(201);
    let options = &made.body["options"];
    assert_eq!(options["model"], "claude-haiku-5-5");
    assert_eq!(options["disallowed_tools"], json!(["WebSearch", "WebFetch"]));
    let id = made.text("session_id");
    let path = format!("/api/v1/sessions/{id}");
    acme.patch(&path, &json!({"permission_mode": "bypassPermissions"}))
        .await
        .problem(403, "option_forbidden");
    acme.patch(&path, &json!({"permission_mode": "default"}))
        .await
        .expect(200);
    // A fork is a new session: the policy of now counts.
    change(&app, &json!({"policy": {"models": ["claude-opus-*"]}})).await;
    acme.post(&format!("{path}/fork"), &json!({}))
        .await
        .problem(403, "option_forbidden");
    let audit = app
        .client_with("root")
        .get("/api/v1/admin/audit?tenant=acme")
        .await
        .expect(200);
    let refused: Vec<_> = audit.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "option_refused")
        .map(|entry| entry["target"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        refused,
        [
            "model",
            "permission_mode",
            "mcp_servers.x",
            "model",
            "permission_mode"
        ]
    );
}

#[tokio::test]
async fn a_policy_or_a_limit_that_cannot_be_is_refused_by_name() {
    let app = app();
    let root = app.client_with("root");
    for (body, field) in [
        (json!({}), ""),
        (json!({"policy": {"colours": []}}), "policy.colours"),
        (json!({"policy": {"models": [""]}}), "policy.models"),
        (
            json!({"policy": {"defaults": {"max_turns": 0}}}),
            "policy.defaults.max_turns",
        ),
        (json!({"limits": {"turns_max": -1}}), "limits.turns_max"),
        (json!({"limits": {"turns": 1}}), "limits.turns"),
    ] {
        let refused = root.patch(ACME, &body).await.problem(422, "validation_failed");
        assert!(
            refused.body["errors"]
                .to_string()
                .contains(&format!("\"field\":\"{field}\"")),
            "{body}: {}",
            refused.body
        );
    }
    let terms = json!({"limits": {"turns_max": 3}, "policy": {"network": "gateway"}});
    let changed = root.patch(ACME, &terms).await.expect(200).body;
    assert_eq!(
        (&changed["limits"], &changed["policy"]),
        (&terms["limits"], &terms["policy"])
    );
}

#[tokio::test]
async fn a_model_that_the_policy_forbids_is_not_reached_by_any_way() {
    let app = with_keys(AppBuilder::real()).start();
    let acme = app.client_with("acme");
    let id = acme
        .session_with(&json!({"user_id": "alice", "options": {"model": "claude-opus-5-5"}}))
        .await;
    assert_eq!(acme.answer(&id, "% say hi").await, "hi");
    change(&app, &json!({"policy": {"models": ["claude-haiku-*"]}})).await;
    let refused = acme.ask(&id, "% say hi").await.problem(502, "model_error");
    assert!(
        refused.text("detail").contains("not allowed here"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn requests_are_limited_by_tenant_and_key_and_say_when_to_come_back() {
    let app = with_keys(AppBuilder::fake())
        .with(|settings| settings.rates.key_requests_per_minute = 20)
        .start();
    change(&app, &json!({"limits": {"requests_per_minute": 30}})).await;
    let (acme, too) = (app.client_with("acme"), app.client_with("acme-too"));
    let path = "/api/v1/sessions";
    let first = acme.get(path).await.expect(200);
    assert_eq!(limit(&first), ("20", "19"), "the nearest one");
    assert!(first.header("ratelimit-reset").parse::<u64>().unwrap() <= 4);
    for _ in 0..19 {
        acme.get(path).await.expect(200);
    }
    let refused = acme.get(path).await.problem(429, "rate_limited");
    assert_eq!(limit(&refused), ("20", "0"));
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    assert!(
        refused.text("detail").contains("requests of this key"),
        "{}",
        refused.body
    );
    let mut allowed = 0;
    let last = loop {
        let answer = too.get(path).await;
        if answer.status != 200 {
            break answer.problem(429, "rate_limited");
        }
        allowed += 1;
    };
    assert!((9..=13).contains(&allowed), "what the tenant had left: {allowed}");
    assert!(
        last.text("detail").contains("requests of this tenant"),
        "{}",
        last.body
    );
    app.client_with("rival").get(path).await.expect(200);
}

#[tokio::test]
async fn an_address_is_limited_before_it_is_known_who_calls() {
    let app = with_keys(AppBuilder::fake())
        .with(|settings| settings.rates.address_requests_per_minute = 5)
        .start();
    let nobody = app.client_with("nobody");
    let mut refused = 0;
    for _ in 0..8 {
        let answer = nobody.get("/api/v1/sessions").await;
        refused += u32::from(answer.status == 429);
    }
    assert!(refused >= 2, "{refused}");
    app.client_with("acme")
        .get("/api/v1/sessions")
        .await
        .problem(429, "rate_limited");
    app.client().get("/health").await.expect(200);
    let app = with_keys(AppBuilder::fake())
        .with(|settings| {
            settings.rates.address_sessions_per_minute = 2;
            settings.rates.address_turns_per_minute = 1;
        })
        .start();
    let id = app.client_with("acme").session("alice").await;
    app.client_with("rival").session("alice").await;
    let refused = app
        .client_with("acme")
        .post("/api/v1/sessions", &json!({"user_id": "alice"}))
        .await
        .problem(429, "rate_limited");
    assert!(refused.text("detail").contains("new sessions of this address"));
    app.client_with("acme").answer(&id, "hello").await;
    let refused = app
        .client_with("acme")
        .ask(&id, "hello")
        .await
        .problem(429, "rate_limited");
    assert!(refused.text("detail").contains("turns of this address"));
}

#[tokio::test]
async fn new_sessions_and_turns_have_limits_of_their_own() {
    let app = app();
    change(
        &app,
        &json!({"limits": {"sessions_per_minute": 3, "turns_per_minute": 2}}),
    )
    .await;
    let acme = app.client_with("acme");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(acme.session("alice").await);
    }
    let body = json!({"user_id": "alice"});
    let refused = acme
        .post("/api/v1/sessions", &body)
        .await
        .problem(429, "rate_limited");
    assert!(
        refused.text("detail").contains("new sessions"),
        "{}",
        refused.body
    );
    assert_eq!(limit(&refused), ("3", "0"));
    acme.post(&format!("/api/v1/sessions/{}/fork", ids[0]), &json!({}))
        .await
        .problem(429, "rate_limited");
    for _ in 0..2 {
        acme.answer(&ids[0], "hello").await;
    }
    let refused = acme.ask(&ids[1], "hello").await.problem(429, "rate_limited");
    assert!(
        refused.text("detail").contains("turns of this tenant"),
        "{}",
        refused.body
    );
    acme.get("/api/v1/sessions").await.expect(200);
}

#[tokio::test]
async fn there_are_as_many_sessions_turns_and_agents_as_there_may_be() {
    let app = app();
    change(
        &app,
        &json!({"limits": {"sessions_max": 4, "user_sessions_max": 3, "turns_max": 2, "agents_max": 2}}),
    )
    .await;
    let acme = app.client_with("acme");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(acme.session("alice").await);
    }
    let create = async |user: &str| acme.post("/api/v1/sessions", &json!({"user_id": user})).await;
    let full = create("alice").await.problem(429, "quota_reached");
    assert!(full.text("detail").contains("user_sessions_max"), "{}", full.body);
    ids.push(create("bob").await.expect(201).text("session_id"));
    let full = create("carol").await.problem(429, "quota_reached");
    assert!(
        full.text("detail").contains("sessions_max is reached: 4"),
        "{}",
        full.body
    );
    app.client_with("rival").session("alice").await;

    let submit = async |id: &str, message: &str| {
        acme.post(
            &format!("/api/v1/sessions/{id}/turns"),
            &json!({"message": message}),
        )
        .await
    };
    submit(&ids[0], "never-end").await.expect(202);
    submit(&ids[1], "never-end").await.expect(202);
    let full = submit(&ids[2], "hello").await.problem(429, "quota_reached");
    assert!(full.text("detail").contains("turns_max"), "{}", full.body);
    let interrupt = format!("/api/v1/sessions/{}/interrupt", ids[0]);
    acme.post(&interrupt, &json!({})).await.expect(200);
    // Its agent is idle then, and makes room: the tenant has two.
    until("the turn has ended", async || {
        (submit(&ids[2], "hello").await.status == 202).then_some(())
    })
    .await;
    let health = app.client().get("/health").await.expect(200).body;
    assert!(
        health["live_agents"].as_u64().unwrap() <= 3,
        "two, and the rival's: {health}"
    );
}

#[tokio::test]
async fn a_tenants_own_limit_of_its_folders_counts() {
    let app = with_keys(AppBuilder::real())
        .with(|settings| settings.isolation.disk_interval = std::time::Duration::from_millis(100))
        .start();
    change(&app, &json!({"limits": {"workspace_max_bytes": 20_000_000}})).await;
    let acme = app.client_with("acme");
    let id = acme.session("alice").await;
    let fill = "% bash head -c 30000000 /dev/zero > big; sleep 60";
    acme.ask(&id, fill).await.problem(507, "workspace_full");
}

#[tokio::test]
async fn a_tenants_agents_reach_the_model_alone_where_that_is_its_policy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = with_keys(AppBuilder::real())
        .with(|settings| {
            settings.isolation.network =
                paddock::settings::NetworkSetting::Named(paddock::settings::NamedNetwork::Open);
        })
        .start();
    let (acme, rival) = (app.client_with("acme"), app.client_with("rival"));
    change(&app, &json!({"policy": {"network": "gateway"}})).await;
    let script = format!("% bash (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>&1 && echo reached\n% results");
    let mut told = Vec::new();
    for client in [&acme, &rival] {
        let id = client.session("alice").await;
        told.push(client.answer(&id, &script).await);
    }
    assert!(!told[0].contains("reached"), "{told:?}");
    assert!(told[1].contains("reached"), "{told:?}");
}

#[tokio::test]
async fn servers_on_one_store_count_together() {
    let start = |builder: AppBuilder| {
        with_keys(builder)
            .with(|settings| settings.tenants.requests_per_minute = 200)
            .start()
    };
    let builder = AppBuilder::fake().in_postgres();
    let url = builder.database_url().unwrap();
    let (one, other) = (start(builder), start(AppBuilder::fake().on_database(&url)));
    let started = std::time::Instant::now();
    let mut allowed = 0_u32;
    for number in 0..600_u32 {
        let app = if number % 2 == 0 { &one } else { &other };
        let answer = app.client_with("acme").get("/api/v1/me").await;
        allowed += u32::from(answer.status == 200);
    }
    let refilled = u32::try_from(started.elapsed().as_secs()).unwrap() * 200 / 60 + 4;
    // A full bucket, what came since, and a twentieth that the other one held.
    assert!(allowed <= 200 + refilled + 10, "{allowed}");
    assert!(allowed + 20 >= 200, "{allowed}");
}
