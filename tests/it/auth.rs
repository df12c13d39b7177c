//! Who may do what: every operation with no credential, a wrong one, another tenant's, and too low a role.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, TestApp, document, until};

/// How an operation is called, and the least role that it asks for.
struct Case {
    operation: &'static str,
    method: Method,
    path: &'static str,
    body: Option<Value>,
    role: &'static str,
}

/// Every operation that needs a credential. `{id}` is a session of tenant `acme`.
#[expect(clippy::too_many_lines, reason = "one entry for each operation")]
fn cases() -> Vec<Case> {
    let case = |operation, method, path, body: Option<Value>, role| Case {
        operation,
        method,
        path,
        body,
        role,
    };
    let chat = || Some(json!({"session_id": "{id}", "message": "hello"}));
    let message = || Some(json!({"message": "hello"}));
    let credential = "/api/v1/admin/tenants/acme/model-credential";
    let key = || Some(json!({"kind": "api_key", "secret": "a-secret"}));
    let tenants = "/api/v1/admin/tenants";
    let keys = "/api/v1/admin/tenants/acme/keys";
    let one_key = "/api/v1/admin/tenants/acme/keys/key_00000000000000000000000000000000";
    let new_key = || Some(json!({"name": "n", "role": "reader"}));
    let put = || Some(json!({"from": "a", "to": "b"}));
    vec![
        case(
            "create_tenant",
            Method::POST,
            tenants,
            Some(json!({"name": "t"})),
            "admin",
        ),
        case("list_tenants", Method::GET, tenants, None, "owner"),
        case(
            "get_tenant",
            Method::GET,
            "/api/v1/admin/tenants/acme",
            None,
            "owner",
        ),
        case(
            "update_tenant",
            Method::PATCH,
            "/api/v1/admin/tenants/acme",
            Some(json!({"suspended": false})),
            "admin",
        ),
        case(
            "erase_tenant",
            Method::DELETE,
            "/api/v1/admin/tenants/nobody",
            None,
            "admin",
        ),
        case(
            "erase_user",
            Method::DELETE,
            "/api/v1/admin/tenants/acme/users/nobody",
            None,
            "owner",
        ),
        case(
            "export_user",
            Method::GET,
            "/api/v1/admin/tenants/acme/users/nobody/export",
            None,
            "owner",
        ),
        case(
            "export_tenant",
            Method::GET,
            "/api/v1/admin/tenants/acme/export",
            None,
            "owner",
        ),
        case("create_key", Method::POST, keys, new_key(), "owner"),
        case("list_keys", Method::GET, keys, None, "owner"),
        case("get_key", Method::GET, one_key, None, "owner"),
        case("revoke_key", Method::DELETE, one_key, None, "owner"),
        case(
            "set_budget",
            Method::PUT,
            "/api/v1/admin/tenants/acme/budgets",
            Some(json!({"scope": "tenant", "period": "day", "max_usd": 1000})),
            "owner",
        ),
        case(
            "list_budgets",
            Method::GET,
            "/api/v1/admin/tenants/acme/budgets",
            None,
            "owner",
        ),
        case(
            "remove_budget",
            Method::DELETE,
            "/api/v1/admin/tenants/acme/budgets/bdg_00000000000000000000000000000000",
            None,
            "owner",
        ),
        case(
            "claude_agent_http_create_session",
            Method::POST,
            "/compat/claude-agent-http/api/v1/sessions",
            Some(json!({"user_id": "alice"})),
            "member",
        ),
        case(
            "claude_agent_http_list_sessions",
            Method::GET,
            "/compat/claude-agent-http/api/v1/sessions",
            None,
            "reader",
        ),
        case(
            "claude_agent_http_get_session",
            Method::GET,
            "/compat/claude-agent-http/api/v1/sessions/{id}",
            None,
            "reader",
        ),
        case(
            "claude_agent_http_resume_session",
            Method::POST,
            "/compat/claude-agent-http/api/v1/sessions/{id}/resume",
            None,
            "member",
        ),
        case(
            "claude_agent_http_chat",
            Method::POST,
            "/compat/claude-agent-http/api/v1/chat",
            chat(),
            "member",
        ),
        case(
            "claude_agent_http_stream_chat",
            Method::POST,
            "/compat/claude-agent-http/api/v1/chat/stream",
            chat(),
            "member",
        ),
        case(
            "claude_agent_http_delete_session",
            Method::DELETE,
            "/compat/claude-agent-http/api/v1/sessions/{id}",
            None,
            "member",
        ),
        case(
            "claude_code_sse_create_session",
            Method::POST,
            "/api/sessions",
            Some(json!({})),
            "member",
        ),
        case(
            "claude_code_sse_list_sessions",
            Method::GET,
            "/api/sessions",
            None,
            "reader",
        ),
        case(
            "claude_code_sse_stream",
            Method::POST,
            "/api/stream/{id}",
            Some(json!({"prompt": "hello"})),
            "member",
        ),
        case(
            "claude_code_sse_execute",
            Method::POST,
            "/api/execute",
            Some(json!({"prompt": "hello"})),
            "member",
        ),
        case(
            "claude_code_sse_delete_session",
            Method::DELETE,
            "/api/sessions/{id}",
            None,
            "member",
        ),
        case(
            "claude_agent_server_get_config",
            Method::GET,
            "/config",
            None,
            "reader",
        ),
        case(
            "claude_agent_server_set_config",
            Method::POST,
            "/config",
            Some(json!({"model": "opus"})),
            "member",
        ),
        case("claude_agent_server_connect", Method::GET, "/ws", None, "member"),
        case(
            "codeagents_proxy_stream",
            Method::POST,
            "/v1/agent/stream",
            Some(json!({"conversation_id": "c", "text": "hello", "cwd": "p"})),
            "member",
        ),
        case(
            "codeagents_proxy_replay",
            Method::GET,
            "/v1/conversations/c/events",
            None,
            "reader",
        ),
        case(
            "openai_complete_chat",
            Method::POST,
            "/v1/chat/completions",
            Some(json!({"model": "claude-code", "messages": [{"role": "user", "content": "hello"}]})),
            "member",
        ),
        case("openai_list_models", Method::GET, "/v1/models", None, "reader"),
        case(
            "openai_get_model",
            Method::GET,
            "/v1/models/claude-code",
            None,
            "reader",
        ),
        case(
            "mcp_coding_agents_list_models",
            Method::GET,
            "/compat/mcp-coding-agents/api/v1/models",
            None,
            "reader",
        ),
        case(
            "mcp_coding_agents_create_session",
            Method::POST,
            "/compat/mcp-coding-agents/api/v1/sessions",
            Some(json!({})),
            "member",
        ),
        case(
            "mcp_coding_agents_list_sessions",
            Method::GET,
            "/compat/mcp-coding-agents/api/v1/sessions",
            None,
            "reader",
        ),
        case(
            "mcp_coding_agents_get_session",
            Method::GET,
            "/compat/mcp-coding-agents/api/v1/sessions/{id}",
            None,
            "reader",
        ),
        case(
            "mcp_coding_agents_send_message",
            Method::POST,
            "/compat/mcp-coding-agents/api/v1/sessions/{id}/messages",
            Some(json!({"prompt": "hello"})),
            "member",
        ),
        case(
            "mcp_coding_agents_list_messages",
            Method::GET,
            "/compat/mcp-coding-agents/api/v1/sessions/{id}/messages",
            None,
            "reader",
        ),
        case(
            "mcp_coding_agents_stream_message",
            Method::POST,
            "/compat/mcp-coding-agents/api/v1/sessions/{id}/stream",
            Some(json!({"prompt": "hello"})),
            "member",
        ),
        case(
            "mcp_coding_agents_end_session",
            Method::DELETE,
            "/compat/mcp-coding-agents/api/v1/sessions/{id}",
            None,
            "member",
        ),
        case("get_usage", Method::GET, "/api/v1/usage", None, "reader"),
        case("get_me", Method::GET, "/api/v1/me", None, "guest"),
        case("list_audit", Method::GET, "/api/v1/admin/audit", None, "owner"),
        case("set_model_credential", Method::PUT, credential, key(), "owner"),
        case("get_model_credential", Method::GET, credential, None, "owner"),
        case(
            "remove_model_credential",
            Method::DELETE,
            credential,
            None,
            "owner",
        ),
        case(
            "create_webhook",
            Method::POST,
            "/api/v1/webhooks",
            Some(json!({"url": "https://example.com/", "events": ["done"]})),
            "owner",
        ),
        case("list_webhooks", Method::GET, "/api/v1/webhooks", None, "owner"),
        case(
            "get_webhook",
            Method::GET,
            "/api/v1/webhooks/whk_00000000000000000000000000000000",
            None,
            "owner",
        ),
        case(
            "update_webhook",
            Method::PATCH,
            "/api/v1/webhooks/whk_00000000000000000000000000000000",
            Some(json!({"enabled": true})),
            "owner",
        ),
        case(
            "remove_webhook",
            Method::DELETE,
            "/api/v1/webhooks/whk_00000000000000000000000000000000",
            None,
            "owner",
        ),
        case(
            "get_webhook_secret",
            Method::GET,
            "/api/v1/webhooks/whk_00000000000000000000000000000000/secret",
            None,
            "owner",
        ),
        case(
            "rotate_webhook_secret",
            Method::POST,
            "/api/v1/webhooks/whk_00000000000000000000000000000000/secret",
            None,
            "owner",
        ),
        case(
            "list_deliveries",
            Method::GET,
            "/api/v1/webhooks/whk_00000000000000000000000000000000/deliveries",
            None,
            "owner",
        ),
        case(
            "redeliver_message",
            Method::POST,
            "/api/v1/webhooks/whk_00000000000000000000000000000000/deliveries/msg_00000000000000000000000000000000_1/redeliver",
            None,
            "owner",
        ),
        case(
            "redeliver_dead",
            Method::POST,
            "/api/v1/webhooks/whk_00000000000000000000000000000000/redeliver",
            None,
            "owner",
        ),
        case(
            "replay_events",
            Method::POST,
            "/api/v1/webhooks/whk_00000000000000000000000000000000/replay",
            Some(json!({"session_id": "ses_00000000000000000000000000000000"})),
            "owner",
        ),
        case(
            "create_session",
            Method::POST,
            "/api/v1/sessions",
            Some(json!({"user_id": "alice"})),
            "member",
        ),
        case("list_sessions", Method::GET, "/api/v1/sessions", None, "reader"),
        case("get_session", Method::GET, "/api/v1/sessions/{id}", None, "guest"),
        case(
            "update_session",
            Method::PATCH,
            "/api/v1/sessions/{id}",
            Some(json!({"title": "t"})),
            "member",
        ),
        case(
            "resume_session",
            Method::POST,
            "/api/v1/sessions/{id}/resume",
            None,
            "member",
        ),
        case(
            "list_messages",
            Method::GET,
            "/api/v1/sessions/{id}/messages",
            None,
            "guest",
        ),
        case("chat", Method::POST, "/api/v1/chat", chat(), "member"),
        case(
            "stream_chat",
            Method::POST,
            "/api/v1/chat/stream",
            chat(),
            "member",
        ),
        case(
            "send_message",
            Method::POST,
            "/api/v1/sessions/{id}/messages",
            message(),
            "member",
        ),
        case(
            "stream_message",
            Method::POST,
            "/api/v1/sessions/{id}/stream",
            message(),
            "member",
        ),
        case(
            "submit_turn",
            Method::POST,
            "/api/v1/sessions/{id}/turns",
            message(),
            "member",
        ),
        case(
            "issue_socket_ticket",
            Method::POST,
            "/api/v1/sessions/{id}/ws-ticket",
            None,
            "reader",
        ),
        case(
            "open_socket",
            Method::GET,
            "/api/v1/sessions/{id}/ws",
            None,
            "reader",
        ),
        case(
            "read_events",
            Method::GET,
            "/api/v1/sessions/{id}/events",
            None,
            "guest",
        ),
        case(
            "list_turns",
            Method::GET,
            "/api/v1/sessions/{id}/turns",
            None,
            "guest",
        ),
        case(
            "get_turn",
            Method::GET,
            "/api/v1/sessions/{id}/turns/trn_00000000000000000000000000000000",
            None,
            "guest",
        ),
        case(
            "cancel_turn",
            Method::POST,
            "/api/v1/sessions/{id}/turns/trn_00000000000000000000000000000000/cancel",
            None,
            "member",
        ),
        case(
            "interrupt_session",
            Method::POST,
            "/api/v1/sessions/{id}/interrupt",
            None,
            "member",
        ),
        case(
            "fork_session",
            Method::POST,
            "/api/v1/sessions/{id}/fork",
            Some(json!({})),
            "member",
        ),
        case(
            "list_permissions",
            Method::GET,
            "/api/v1/permissions",
            None,
            "reader",
        ),
        case(
            "list_session_permissions",
            Method::GET,
            "/api/v1/sessions/{id}/permissions",
            None,
            "reader",
        ),
        case(
            "get_permission",
            Method::GET,
            "/api/v1/sessions/{id}/permissions/prm_00000000000000000000000000000000",
            None,
            "reader",
        ),
        case(
            "answer_permission",
            Method::POST,
            "/api/v1/sessions/{id}/permissions/prm_00000000000000000000000000000000",
            Some(json!({"decision": "deny"})),
            "member",
        ),
        case(
            "get_context_usage",
            Method::GET,
            "/api/v1/sessions/{id}/context",
            None,
            "reader",
        ),
        case(
            "list_mcp_servers",
            Method::GET,
            "/api/v1/sessions/{id}/mcp",
            None,
            "reader",
        ),
        case(
            "stop_task",
            Method::POST,
            "/api/v1/sessions/{id}/tasks/b1/stop",
            None,
            "member",
        ),
        case(
            "rewind_files",
            Method::POST,
            "/api/v1/sessions/{id}/rewind",
            Some(json!({"turn_id": "trn_00000000000000000000000000000000"})),
            "member",
        ),
        case(
            "list_files",
            Method::GET,
            "/api/v1/sessions/{id}/files",
            None,
            "guest",
        ),
        case(
            "stat_file",
            Method::GET,
            "/api/v1/sessions/{id}/files/stat",
            None,
            "guest",
        ),
        case(
            "read_file",
            Method::GET,
            "/api/v1/sessions/{id}/files/content?path=a",
            None,
            "guest",
        ),
        case(
            "search_files",
            Method::GET,
            "/api/v1/sessions/{id}/files/search?q=a",
            None,
            "guest",
        ),
        case(
            "download_folder",
            Method::GET,
            "/api/v1/sessions/{id}/files/archive",
            None,
            "guest",
        ),
        case(
            "write_file",
            Method::PUT,
            "/api/v1/sessions/{id}/files/content?path=a",
            None,
            "member",
        ),
        case(
            "make_folder",
            Method::POST,
            "/api/v1/sessions/{id}/files/folders",
            Some(json!({"path": "folder"})),
            "member",
        ),
        case(
            "move_file",
            Method::POST,
            "/api/v1/sessions/{id}/files/move",
            put(),
            "member",
        ),
        case(
            "copy_file",
            Method::POST,
            "/api/v1/sessions/{id}/files/copy",
            put(),
            "member",
        ),
        case(
            "remove_file",
            Method::DELETE,
            "/api/v1/sessions/{id}/files?path=a",
            None,
            "member",
        ),
        case(
            "upload_files",
            Method::POST,
            "/api/v1/sessions/{id}/files/upload",
            None,
            "member",
        ),
        case(
            "unpack_archive",
            Method::POST,
            "/api/v1/sessions/{id}/files/archive",
            None,
            "member",
        ),
        case(
            "list_checkpoints",
            Method::GET,
            "/api/v1/sessions/{id}/checkpoints",
            None,
            "guest",
        ),
        case(
            "get_turn_diff",
            Method::GET,
            "/api/v1/sessions/{id}/turns/trn_00000000000000000000000000000000/diff",
            None,
            "guest",
        ),
        case(
            "rewind_turn",
            Method::POST,
            "/api/v1/sessions/{id}/turns/trn_00000000000000000000000000000000/rewind",
            Some(json!({})),
            "member",
        ),
        case(
            "create_share",
            Method::POST,
            "/api/v1/sessions/{id}/shares",
            Some(json!({"files": true})),
            "member",
        ),
        case(
            "list_shares",
            Method::GET,
            "/api/v1/sessions/{id}/shares",
            None,
            "member",
        ),
        case(
            "revoke_share",
            Method::DELETE,
            "/api/v1/sessions/{id}/shares/shr_00000000000000000000000000000000",
            None,
            "member",
        ),
        case(
            "get_git_status",
            Method::GET,
            "/api/v1/sessions/{id}/git/status",
            None,
            "reader",
        ),
        case(
            "get_git_diff",
            Method::GET,
            "/api/v1/sessions/{id}/git/diff",
            None,
            "reader",
        ),
        case(
            "list_git_commits",
            Method::GET,
            "/api/v1/sessions/{id}/git/log",
            None,
            "reader",
        ),
        case(
            "create_git_commit",
            Method::POST,
            "/api/v1/sessions/{id}/git/commits",
            Some(json!({"message": "m"})),
            "member",
        ),
        case(
            "restore_git_files",
            Method::POST,
            "/api/v1/sessions/{id}/git/restore",
            Some(json!({"paths": ["a"]})),
            "member",
        ),
        case("list_templates", Method::GET, "/api/v1/templates", None, "reader"),
        case("get_metrics", Method::GET, "/metrics", None, "admin"),
        case("list_models", Method::GET, "/api/v1/models", None, "reader"),
        // Last: it ends the session.
        case(
            "delete_session",
            Method::DELETE,
            "/api/v1/sessions/{id}",
            None,
            "member",
        ),
    ]
}

/// With what status an operation answers on a session that is nobody's: a stream of this dialect tells it in its only chunk.
fn status_of_nobodys(operation: &str) -> u16 {
    match operation {
        "claude_agent_http_stream_chat" => 200,
        _ => 404,
    }
}

/// With what status a key that nobody has is refused: one dialect tells it from none by the status.
fn status_of_unknown_key(operation: &str) -> u16 {
    if operation.starts_with("mcp_coding_agents_") {
        403
    } else {
        401
    }
}

fn filled(case: &Case, id: &str) -> (String, Option<Value>) {
    let body = case
        .body
        .as_ref()
        .map(|body| serde_json::from_str(&body.to_string().replace("{id}", id)).unwrap());
    (case.path.replace("{id}", id), body)
}

fn app() -> TestApp {
    AppBuilder::fake()
        .with_keys(&[
            ("root", "admin", "default", None),
            ("acme-member", "member", "acme", None),
            ("acme-reader", "reader", "acme", None),
            ("acme-alice", "member", "acme", Some("alice")),
            ("acme-bob", "member", "acme", Some("bob")),
            ("rival-owner", "owner", "rival", None),
        ])
        .start()
}

#[test]
fn every_operation_is_either_open_on_purpose_or_has_a_case_here() {
    let open = BTreeSet::from([
        "get_health",
        "get_liveness",
        "get_readiness",
        "get_root",
        "get_openapi",
        "claude_agent_http_root",
        "claude_agent_http_health",
        "codeagents_proxy_health",
        "mcp_coding_agents_health",
    ]);
    let covered: BTreeSet<_> = cases().iter().map(|case| case.operation).collect();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            let is_open = operation["security"] == json!([{}]);
            assert_eq!(is_open, open.contains(id), "{path}: {id}");
            assert!(is_open || covered.contains(id), "{path}: {id} has no case");
            assert!(
                is_open
                    || ["/api/", "/compat/", "/metrics", "/v1/", "/config", "/ws"]
                        .iter()
                        .any(|own| path.starts_with(own)),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_known_key_nothing_is_done() {
    let app = app();
    let id = app.client_with("acme-member").session("alice").await;
    for case in cases() {
        let (path, body) = filled(&case, &id);
        let refused = app
            .client()
            .send(case.method.clone(), &path, body.as_ref())
            .await
            .refused(401, "unauthenticated");
        assert!(
            refused.header("www-authenticate").starts_with("Bearer"),
            "{}",
            case.operation
        );
        let wrong = app
            .client_with("nobody")
            .send(case.method, &path, body.as_ref())
            .await;
        wrong.refused(status_of_unknown_key(case.operation), "unauthenticated");
    }
    let messages = app
        .client_with("acme-member")
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200);
    assert_eq!(messages.body["data"], json!([]));
}

#[tokio::test]
async fn a_key_that_was_revoked_or_has_expired_does_nothing() {
    let app = app();
    let id = app.client_with("acme-member").session("alice").await;
    let root = app.client_with("root");
    let keys = "/api/v1/admin/tenants/acme/keys";
    let end = chrono::Utc::now() + chrono::TimeDelta::milliseconds(300);
    let made = async |name: &str, end: Option<String>| {
        let mut body = json!({"name": name, "role": "admin"});
        if let Some(end) = end {
            body["expires_at"] = end.into();
        }
        root.post(keys, &body).await.expect(201)
    };
    let revoked = made("revoked", None).await;
    root.delete(revoked.header("location")).await.expect(200);
    let expired = made("expired", Some(end.to_rfc3339())).await;
    let clients = [revoked, expired].map(|made| Client::new(app.address, Some(made.text("key"))));
    until("it has expired", async || {
        (clients[1].get("/api/v1/me").await.status == 401).then_some(())
    })
    .await;
    for case in cases() {
        let (path, body) = filled(&case, &id);
        for client in &clients {
            let answer = client.send(case.method.clone(), &path, body.as_ref()).await;
            answer.refused(status_of_unknown_key(case.operation), "unauthenticated");
        }
    }
}

#[tokio::test]
async fn another_tenants_name_answers_like_one_that_nobody_has() {
    let app = app();
    app.client_with("acme-member").session("alice").await;
    let rival = app.client_with("rival-owner");
    let mut seen = 0;
    for case in cases() {
        if !case.path.contains("/tenants/acme") || case.role == "admin" {
            continue;
        }
        seen += 1;
        let mut answers = Vec::new();
        for name in ["acme", "nobody"] {
            let path = case.path.replace("/tenants/acme", &format!("/tenants/{name}"));
            let answer = rival.send(case.method.clone(), &path, case.body.as_ref()).await;
            let mut body = answer.problem(404, "tenant_not_found").body;
            body["request_id"].take();
            answers.push(body);
        }
        assert_eq!(answers[0], answers[1], "{}", case.operation);
    }
    assert_eq!(seen, 14, "every operation on a tenant");
}

#[tokio::test]
async fn another_tenants_session_answers_like_one_that_nobody_has() {
    let app = app();
    // Of one that every dialect knows.
    let whole = json!({"user_id": "alice", "options": {"agent_messages": true}});
    let id = app.client_with("acme-member").session_with(&whole).await;
    let unknown = format!("ses_{}", "0".repeat(32));
    let rival = app.client_with("rival-owner");
    let mut seen = 0;
    for case in cases() {
        if !case.path.contains("{id}")
            && !case
                .body
                .as_ref()
                .is_some_and(|body| body.to_string().contains("{id}"))
        {
            continue;
        }
        seen += 1;
        let mut answers = Vec::new();
        for id in [&id, &unknown, "not-an-id"] {
            let (path, body) = filled(&case, id);
            let answer = rival.send(case.method.clone(), &path, body.as_ref()).await;
            let mut answer = answer.refused(status_of_nobodys(case.operation), "session_not_found");
            let told = answer.body.as_object_mut();
            let varies = told.is_some_and(|told| {
                ["request_id", "requestId", "timestamp"].map(|name| told.remove(name).is_some()) != [false; 3]
            });
            if varies {
                answer.raw.clear();
            }
            let body = answer.body.to_string().replace(id, "ID");
            answers.push((body, answer.raw));
        }
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{}: {answers:?}",
            case.operation
        );
    }
    assert_eq!(seen, 60, "every operation on a session");
    assert_eq!(
        rival.get("/api/v1/sessions?status=all").await.expect(200).body["data"],
        json!([])
    );
    let session = app
        .client_with("acme-member")
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (session["status"].as_str(), session["message_count"].as_u64()),
        (Some("active"), Some(0))
    );
}

#[tokio::test]
async fn too_low_a_role_is_refused_before_anything_is_read() {
    let app = app();
    let id = app.client_with("acme-member").session("alice").await;
    let reader = app.client_with("acme-reader");
    for case in cases() {
        let (path, body) = filled(&case, &id);
        if ["guest", "reader"].contains(&case.role) {
            // What is asked for may not be there, or not be done by the stand-in; that is told to readers.
            let answer = reader.send(case.method, &path, body.as_ref()).await;
            assert!(
                [200, 201, 404, 409, 426].contains(&answer.status.as_u16()),
                "{}: {}",
                case.operation,
                answer.body
            );
        } else {
            reader
                .send(case.method.clone(), &path, body.as_ref())
                .await
                .refused(403, "forbidden");
            let nonsense = json!({"nonsense": true});
            reader
                .send(case.method, &path, Some(&nonsense))
                .await
                .refused(403, "forbidden");
        }
    }
}

#[tokio::test]
async fn a_guest_reads_what_it_was_shown_and_does_nothing_else() {
    let app = app();
    let root = app.client_with("root");
    let member = app.client_with("acme-member");
    root.patch(
        "/api/v1/admin/tenants/acme",
        &json!({"policy": {"share_links": true}}),
    )
    .await
    .expect(200);
    // Of one that every dialect knows.
    let whole = json!({"user_id": "alice", "options": {"agent_messages": true}});
    let (id, other) = (member.session_with(&whole).await, member.session("alice").await);
    let shared = member
        .post(&format!("/api/v1/sessions/{id}/shares"), &json!({"files": true}))
        .await
        .expect(201);
    let guest = Client::new(app.address, Some(shared.text("token")));
    let (mut read, mut refused) = (0, 0);
    for case in cases() {
        let (path, body) = filled(&case, &id);
        if case.role == "guest" {
            read += 1;
            let answer = guest.send(case.method.clone(), &path, body.as_ref()).await;
            assert!(
                [200, 404].contains(&answer.status.as_u16()),
                "{}: {}",
                case.operation,
                answer.body
            );
            assert_ne!(answer.body["code"], "session_not_found", "{}", case.operation);
            if path.contains(&id) {
                let (path, body) = filled(&case, &other);
                guest
                    .send(case.method, &path, body.as_ref())
                    .await
                    .refused(404, "session_not_found");
            }
        } else {
            refused += 1;
            guest
                .send(case.method, &path, body.as_ref())
                .await
                .refused(403, "forbidden");
        }
    }
    assert!(read >= 6 && refused > 70, "{read} {refused}");
}

#[tokio::test]
async fn a_key_of_one_user_sees_no_other_users_sessions() {
    let app = app();
    let id = app.client_with("acme-alice").session("alice").await;
    let bob = app.client_with("acme-bob");
    bob.post("/api/v1/sessions", &json!({"user_id": "alice"}))
        .await
        .refused(403, "forbidden");
    for case in cases() {
        let (path, body) = filled(&case, &id);
        if path.contains(&id) || body.as_ref().is_some_and(|body| body.to_string().contains(&id)) {
            bob.send(case.method, &path, body.as_ref())
                .await
                .refused(status_of_nobodys(case.operation), "session_not_found");
        }
    }
    bob.session("bob").await;
    for query in ["", "?user_id=alice"] {
        let listed = bob
            .get(&format!("/api/v1/sessions{query}"))
            .await
            .expect(200)
            .body;
        assert!(!listed.to_string().contains(&id), "{listed}");
    }
    app.client_with("acme-alice")
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn tenants_users_have_folders_of_their_own() {
    let app = app();
    app.client_with("acme-member").session("alice").await;
    app.client_with("rival-owner").session("alice").await;
    for tenant in ["acme", "rival"] {
        assert!(
            app.folder
                .path()
                .join("workspaces")
                .join(tenant)
                .join("alice")
                .is_dir(),
            "{tenant}"
        );
    }
}

#[tokio::test]
async fn either_header_is_taken_and_two_different_keys_are_not() {
    let app = app();
    let request = |bearer: Option<&str>, own: Option<&str>| {
        let mut request = app.client().request(Method::GET, "/api/v1/sessions");
        if let Some(name) = bearer {
            request = request.bearer_auth(crate::support::key(name));
        }
        if let Some(name) = own {
            request = request.header("x-api-key", crate::support::key(name));
        }
        async { crate::support::read(request.send().await.unwrap()).await }
    };
    request(None, Some("acme-member")).await.expect(200);
    request(Some("acme-member"), Some("acme-member"))
        .await
        .expect(200);
    request(Some("acme-member"), Some("rival-owner"))
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn what_needs_no_credential_is_open_and_tells_no_secrets() {
    let app = app();
    for path in ["/", "/health", "/health/live", "/health/ready", "/openapi.json"] {
        let answer = app.client().get(path).await.expect(200);
        assert!(!answer.body.to_string().contains("key-for-tests"), "{path}");
    }
    app.client().get("/docs").await.expect(302);
    let page = app.client().request(Method::GET, "/docs/").send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("swagger"));
}
