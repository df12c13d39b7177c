//! Dialects at addresses of their own.

use paddock::settings::{AnonymousSettings, DialectSettings, Settings};
use reqwest::Method;
use serde_json::json;

use crate::support::{AppBuilder, Client, key, read};

const LOOPBACK: &str = "127.0.0.1:0";

fn bind(settings: &mut DialectSettings, address: &str) {
    settings.bind = Some(address.parse().unwrap());
}

fn anonymous(settings: &mut DialectSettings, tenant: &str, role: &str, user: Option<&str>) {
    settings.anonymous = Some(AnonymousSettings {
        tenant: tenant.parse().unwrap(),
        role: role.parse().unwrap(),
        user_id: user.map(|user| user.parse().unwrap()),
    });
}

/// One with the keys of `acme`, and these dialects at addresses of their own.
fn builder(change: impl FnOnce(&mut Settings)) -> AppBuilder {
    AppBuilder::fake()
        .with_keys(&[
            ("acme", "member", "acme", None),
            ("acme-owner", "owner", "acme", None),
        ])
        .with(change)
}

#[tokio::test]
async fn each_has_its_own_paths_there_and_nothing_else() {
    let app = AppBuilder::fake()
        .with(|settings| {
            let dialects = &mut settings.dialects;
            for dialect in [
                &mut dialects.claude_agent_http,
                &mut dialects.claude_agent_server,
                &mut dialects.claude_code_sse,
                &mut dialects.codeagents_proxy,
                &mut dialects.mcp_coding_agents,
                &mut dialects.openai,
            ] {
                bind(dialect, LOOPBACK);
            }
        })
        .start();
    let paths = [
        ("claude-agent-http", "/api/v1/sessions"),
        ("claude-agent-server", "/config"),
        ("claude-code-sse", "/api/sessions"),
        ("codeagents-proxy", "/healthz"),
        ("mcp-coding-agents", "/api/v1/models"),
        ("openai", "/v1/models"),
    ];
    let status = async |client: &Client, path: &str| {
        let answer = client.request(Method::GET, path).send().await.unwrap();
        answer.status().as_u16()
    };
    for (dialect, own) in paths {
        let client = app.client_of(dialect, None);
        assert_eq!(status(&client, own).await, 200, "{dialect}");
        for (other, path) in paths {
            // The two that share paths are told apart by what they answer.
            let is_shared = path.starts_with("/api/v1/sessions") && dialect == "mcp-coding-agents";
            if other != dialect && !is_shared {
                assert_eq!(status(&client, path).await, 404, "{path} at {dialect}");
            }
        }
        for path in [
            "/metrics",
            "/docs/",
            "/openapi.json",
            "/api/v1/me",
            "/internal/log",
        ] {
            assert_eq!(status(&client, path).await, 404, "{path} at {dialect}");
        }
    }
    // Its own health is there, which at the platform's address is the platform's.
    let health = app
        .client_of("claude-code-sse", None)
        .request(Method::GET, "/health");
    let health: serde_json::Value = health.send().await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "ok");
    // What is made at one address is there at the others.
    let made = app
        .client()
        .post(
            "/compat/claude-agent-http/api/v1/sessions",
            &json!({"user_id": "alice"}),
        )
        .await;
    let id = made.expect(201).text("session_id");
    let listed = app
        .client_of("claude-agent-http", None)
        .request(Method::GET, "/api/v1/sessions");
    let listed: Vec<String> = listed.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed, [id]);
}

#[tokio::test]
async fn callers_without_a_credential_are_whom_the_settings_name_and_no_other() {
    let app = builder(|settings| {
        bind(&mut settings.dialects.codeagents_proxy, LOOPBACK);
        anonymous(
            &mut settings.dialects.codeagents_proxy,
            "acme",
            "member",
            Some("alice"),
        );
        bind(&mut settings.dialects.openai, LOOPBACK);
        anonymous(&mut settings.dialects.openai, "acme", "reader", None);
        bind(&mut settings.dialects.claude_code_sse, LOOPBACK);
    })
    .start();
    let anybody = app.client_of("codeagents-proxy", None);
    let run = json!({"conversation_id": "c", "text": "hello", "cwd": "project"});
    let ran = anybody.request(Method::POST, "/v1/agent/stream").json(&run);
    assert_eq!(ran.send().await.unwrap().status(), 200);
    let listed = app
        .client_with("acme")
        .get("/api/v1/sessions?user_id=alice")
        .await
        .expect(200);
    assert_eq!(listed.body["data"].as_array().unwrap().len(), 1, "it is alice's");
    // At the platform's own address nobody is let in for that.
    app.client().post("/v1/agent/stream", &run).await.expect(401);
    // Who brings a key is who the key says; a wrong one is nobody's.
    let send = async |name: &str| {
        let request = anybody.request(Method::GET, "/v1/conversations/c/events");
        let request = request.header("x-api-key", key(name));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((send("acme").await, send("nobody").await), (404, 401));
    // They may do no more than their role allows.
    let body = json!({"model": "claude-code", "messages": [{"role": "user", "content": "hello"}]});
    let chat = app
        .client_of("openai", None)
        .request(Method::POST, "/v1/chat/completions")
        .json(&body);
    assert_eq!(chat.send().await.unwrap().status(), 403);
    // Where nobody is named, a credential is needed.
    let list = app
        .client_of("claude-code-sse", None)
        .request(Method::GET, "/api/sessions");
    assert_eq!(list.send().await.unwrap().status(), 401);
    let list = app
        .client_of("claude-code-sse", Some("acme"))
        .request(Method::GET, "/api/sessions");
    assert_eq!(list.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn neither_a_web_page_nor_whoever_a_proxy_asks_for_calls_as_whoever_has_no_credential() {
    let app = builder(|settings| {
        bind(&mut settings.dialects.claude_code_sse, LOOPBACK);
        anonymous(&mut settings.dialects.claude_code_sse, "acme", "member", None);
    })
    .start();
    let client = app.client_of("claude-code-sse", None);
    let send = async |name: &'static str, value: &str| {
        let request = client.request(Method::GET, "/api/sessions").header(name, value);
        request.send().await.unwrap().status().as_u16()
    };
    // A page of another origin; and one whose name was made to lead here.
    assert_eq!(send("origin", "https://evil.example").await, 401);
    assert_eq!(send("host", "evil.example:3000").await, 401);
    assert_eq!(send("host", "localhost.evil.example").await, 401);
    for name in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
        assert_eq!(send(name, "192.0.2.1").await, 401, "{name}");
    }
    assert_eq!(send("origin", "http://localhost:5173").await, 200);
    assert_eq!(send("host", "[::1]:3000").await, 200);
    assert_eq!(send("host", "localhost:3000").await, 200);
}

#[tokio::test]
async fn off_the_loopback_address_a_credential_is_always_needed() {
    // Without keys, whoever reaches the platform's own address is let in.
    let app = AppBuilder::fake()
        .with(|settings| bind(&mut settings.dialects.openai, "0.0.0.0:0"))
        .start();
    app.client().get("/v1/models").await.expect(200);
    let (_, address) = &app.dialects[0];
    let near = Client::new(([127, 0, 0, 1], address.port()).into(), None);
    assert_eq!(
        read(near.request(Method::GET, "/v1/models").send().await.unwrap())
            .await
            .status,
        401
    );
}

#[test]
fn settings_that_would_let_anybody_in_from_outside_are_refused() {
    let problems = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.problems().join("\n")
    };
    for address in [None, Some("0.0.0.0:8787"), Some("192.0.2.1:8787")] {
        let found = problems(&|settings| {
            settings.dialects.openai.bind = address.map(|address| address.parse().unwrap());
            anonymous(&mut settings.dialects.openai, "acme", "member", None);
        });
        assert!(found.starts_with("dialects.openai.anonymous: "), "{found}");
    }
    let twice = problems(&|settings| {
        bind(&mut settings.dialects.openai, "127.0.0.1:3000");
        bind(&mut settings.dialects.claude_code_sse, "127.0.0.1:3000");
    });
    assert_eq!(twice, "dialects.openai.bind: is dialects.claude_code_sse.bind");
    let within =
        problems(&|settings| settings.dialects.openai.prefix = "/compat/claude-agent-http/v1".into());
    assert!(within.starts_with("dialects.openai.prefix: lies in "), "{within}");
    let bare = problems(&|settings| settings.dialects.mcp_coding_agents.prefix = String::new());
    assert!(bare.starts_with("dialects.mcp_coding_agents.prefix: "), "{bare}");
    for good in ["", "/v", "/compat/openai"] {
        assert_eq!(
            problems(&|settings| settings.dialects.openai.prefix = good.into()),
            ""
        );
    }
}

#[tokio::test]
async fn a_server_with_many_addresses_ends_in_order() {
    let app = AppBuilder::fake()
        .with(|settings| {
            bind(&mut settings.dialects.openai, LOOPBACK);
            bind(&mut settings.dialects.claude_code_sse, LOOPBACK);
        })
        .start();
    let addresses: Vec<_> = app.dialects.iter().map(|(_, address)| *address).collect();
    app.stop();
    for address in addresses {
        assert!(
            std::net::TcpStream::connect(address).is_err(),
            "{address} is still open"
        );
    }
}
