//! One turn through all faces: what they tell differs, what is kept does not.

use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, Socket, TestApp, joined, turn_over, user_message};

const PROMPT: &str = "I look.\n% bash echo hello\n% think so it is\n% say done";

/// The log of the newest session, without what is another each time.
async fn log(client: &Client) -> (Vec<Value>, String) {
    let newest = client
        .get("/api/v1/sessions?limit=1&status=all")
        .await
        .expect(200);
    let id = newest.body["data"][0]["session_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/sessions/{id}/events?limit=200");
    let all = client.get(&path).await.expect(200).body["data"]
        .as_array()
        .unwrap()
        .clone();
    let text = joined(&all);
    let whole = all.into_iter().filter(|event| {
        let kind = event["type"].as_str().unwrap();
        !kind.ends_with("_delta")
    });
    let masked = whole.map(|mut event| {
        let varies = [
            "id",
            "turn_id",
            "created_at",
            "session_id",
            "claude_session_id",
            "message_id",
            "tool_use_id",
            "usage",
            "cost_usd",
        ];
        for field in varies {
            event.as_object_mut().unwrap().remove(field);
        }
        for block in event["content"].as_array_mut().into_iter().flatten() {
            for field in ["id", "signature"] {
                block.as_object_mut().unwrap().remove(field);
            }
        }
        event
    });
    (masked.collect(), text)
}

/// Sends a prompt over the WebSocket dialect, and waits for its result.
async fn over_a_socket(app: &TestApp) {
    let mut socket = Socket::open(app, "/ws", &[]).await.unwrap();
    assert_eq!(socket.next().await["type"], "connected");
    socket.send(&user_message(PROMPT)).await;
    turn_over(&mut socket).await;
}

#[tokio::test]
async fn the_same_turn_through_all_seven_faces_yields_the_same_log() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let session = client.session("default").await;
    client.ask(&session, PROMPT).await.expect(200);
    let (native, text) = log(&client).await;
    let kinds: Vec<_> = native
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    for kind in [
        "message",
        "session",
        "tool_use",
        "tool_result",
        "assistant_message",
        "done",
    ] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(text, "I look.\n\ndone");

    let check = async |face: &str| {
        let (events, said) = log(&client).await;
        assert_eq!(events, native, "{face}");
        assert_eq!(said, text, "{face}");
    };
    let prefix = "/compat/claude-agent-http/api/v1";
    let made = client
        .post(&format!("{prefix}/sessions"), &json!({"user_id": "default"}))
        .await
        .expect(201);
    let chat = json!({"session_id": made.text("session_id"), "message": PROMPT});
    client.post(&format!("{prefix}/chat"), &chat).await.expect(200);
    check("claude-agent-http").await;

    client
        .post("/api/execute", &json!({"prompt": PROMPT}))
        .await
        .expect(200);
    check("claude-code-sse").await;

    let run = json!({"conversation_id": "c", "text": PROMPT, "cwd": app.workspace("default")});
    client.post("/v1/agent/stream", &run).await.expect(200);
    check("codeagents-proxy").await;

    let prefix = "/compat/mcp-coding-agents/api/v1/sessions";
    let made = client.post(prefix, &json!({})).await.expect(201);
    let path = format!("{prefix}/{}/messages", made.text("sessionId"));
    client.post(&path, &json!({"prompt": PROMPT})).await.expect(200);
    check("mcp-coding-agents").await;

    over_a_socket(&app).await;
    crate::support::until("the turn is over", async || {
        let (events, _) = log(&client).await;
        events.iter().any(|event| event["type"] == "done").then_some(())
    })
    .await;
    check("claude-agent-server").await;

    let body = json!({"model": "claude-code", "messages": [{"role": "user", "content": PROMPT}]});
    client.post("/v1/chat/completions", &body).await.expect(200);
    check("openai").await;
}

#[tokio::test]
async fn the_clis_own_messages_are_told_to_whoever_asks_for_them_where_they_are_kept() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let whole = json!({"user_id": "alice", "options": {"agent_messages": true}});
    for (body, keeps) in [(json!({"user_id": "alice"}), false), (whole, true)] {
        let session = client.session_with(&body).await;
        client
            .ask(&session, "% bash echo hello\n% say done")
            .await
            .expect(200);
        let read = async |query: &str| {
            let path = format!("/api/v1/sessions/{session}/events?limit=200{query}");
            client.get(&path).await.expect(200).body["data"]
                .as_array()
                .unwrap()
                .clone()
        };
        let (plain, raw) = (read("").await, read("&raw=true").await);
        let (kept, rest): (Vec<_>, Vec<_>) = raw
            .into_iter()
            .partition(|event| event["type"] == "agent_message");
        assert_eq!(rest, plain);
        assert!(plain.iter().any(|event| event["type"] == "text_delta"));
        assert_eq!(read("&types=agent_message").await, kept);
        let kinds: Vec<_> = kept
            .iter()
            .map(|event| event["message"]["type"].as_str().unwrap())
            .collect();
        if keeps {
            assert_eq!(kinds.first(), Some(&"system"), "{kinds:?}");
            assert_eq!(kinds.last(), Some(&"result"), "{kinds:?}");
            assert!(
                kinds.contains(&"assistant") && kinds.contains(&"user"),
                "{kinds:?}"
            );
            assert!(!kinds.contains(&"stream_event"), "{kinds:?}");
        } else {
            assert_eq!(kinds, [] as [&str; 0]);
        }
        let pieces = read("&deltas=false").await;
        assert!(
            pieces
                .iter()
                .all(|event| event["type"] != "text_delta" && event["type"] != "agent_message")
        );
    }
}
