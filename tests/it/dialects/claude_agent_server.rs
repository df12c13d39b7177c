//! `claude-agent-server`: one conversation for each caller, over a WebSocket.

use futures_util::SinkExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::recorded::Recorder;
use crate::support::{AppBuilder, Client, Socket, TestApp, key, read, turn_over, until, user_message};

async fn connect_as(app: &TestApp, name: Option<&str>) -> Result<Socket, Error> {
    let key = name.map(key);
    let headers: Vec<_> = key.iter().map(|key| ("x-api-key", key.as_str())).collect();
    Socket::open(app, "/ws", &headers).await
}

/// A connection that was greeted.
async fn connect(app: &TestApp) -> Socket {
    let mut socket = connect_as(app, None).await.unwrap();
    assert_eq!(socket.next().await, json!({"type": "connected"}));
    socket
}

async fn ask(socket: &mut Socket, message: &Value) -> Value {
    socket.send(message).await;
    socket.next().await
}

async fn set(client: &Client, config: &Value) -> Value {
    let answer = client.post("/config", config).await.expect(200);
    assert_eq!(answer.body["success"], true);
    answer.body["config"].clone()
}

#[tokio::test]
async fn every_documented_exchange_is_as_it_was() {
    let app = AppBuilder::real().start();
    let mut recorder = Recorder::new(app.client(), &app.folder.path().join("workspaces"));
    recorder.get("/config").await.expect(200);
    let config = json!({"systemPrompt": "You are a helpful assistant.", "allowedTools": ["Bash"],
        "agents": {"myAgent": {"name": "My Custom Agent", "description": "A custom agent"}}});
    recorder.post("/config", &config).await.expect(200);
    recorder.get("/config").await.expect(200);
    recorder
        .send(Method::POST, "/config", &[], Some("{"))
        .await
        .expect(400);
    recorder.get("/ws").await.expect(404);
    let mut socket = connect(&app).await;
    recorder.note("<-", &json!({"type": "connected"}));
    for message in [
        user_message("I look.\n% bash echo hello\n% say done"),
        user_message("Hello"),
    ] {
        recorder.note("->", &message);
        socket.send(&message).await;
        for data in turn_over(&mut socket).await {
            recorder.note("<-", &json!({"type": "sdk_message", "data": data}));
        }
    }
    for message in [
        json!({"type": "create_file", "path": "notes.txt", "content": "one"}),
        json!({"type": "read_file", "path": "notes.txt"}),
        json!({"type": "read_file", "path": "notes.txt", "encoding": "base64"}),
        json!({"type": "list_files"}),
        json!({"type": "delete_file", "path": "notes.txt"}),
        json!({"type": "read_file", "path": "notes.txt"}),
        json!({"type": "dance"}),
        json!(null),
    ] {
        recorder.note("->", &message);
        let answer = ask(&mut socket, &message).await;
        recorder.note("<-", &answer);
    }
    insta::assert_snapshot!(recorder.into_text());
}

#[tokio::test]
async fn the_conversation_goes_on_over_connections_and_restarts_until_it_is_configured_anew() {
    let app = AppBuilder::real().start();
    let mut socket = connect(&app).await;
    socket.send(&user_message("Remember the number 42")).await;
    turn_over(&mut socket).await;
    drop(socket);
    let folder = app.stop();
    let app = AppBuilder::real().in_folder_of(&folder).start();
    let mut socket = connect(&app).await;
    let question = user_message("Which number did I ask you to remember?");
    socket.send(&question).await;
    let said = turn_over(&mut socket).await;
    assert!(
        said.last().unwrap()["result"].as_str().unwrap().contains("42"),
        "{said:?}"
    );
    // Whoever is connected keeps the conversation; the next connection has the new one.
    set(&app.client(), &json!({"systemPrompt": "Be brief."})).await;
    socket.send(&question).await;
    let said = turn_over(&mut socket).await;
    assert!(
        said.last().unwrap()["result"].as_str().unwrap().contains("42"),
        "{said:?}"
    );
    drop(socket);
    let mut socket = until("the seat is free", async || {
        let mut socket = connect_as(&app, None).await.unwrap();
        (socket.next().await["type"] == "connected").then_some(socket)
    })
    .await;
    socket.send(&question).await;
    let said = turn_over(&mut socket).await;
    assert!(
        !said.last().unwrap()["result"].as_str().unwrap().contains("42"),
        "{said:?}"
    );
    let asked = app.model_requests().await.last().unwrap().to_string();
    assert!(asked.contains("Be brief."), "{asked}");
}

#[tokio::test]
async fn a_second_connection_is_told_and_let_go_and_another_caller_has_its_own() {
    let app = AppBuilder::fake()
        .with_keys(&[("one", "member", "acme", None), ("two", "member", "acme", None)])
        .start();
    let open = async |name| {
        let mut socket = connect_as(&app, Some(name)).await.unwrap();
        let first = socket.next().await;
        (socket, first)
    };
    let (mut first, greeted) = open("one").await;
    assert_eq!(greeted["type"], "connected");
    let (second, told) = open("one").await;
    assert_eq!(
        told,
        json!({"type": "error", "error": "Server already has an active connection"})
    );
    assert_eq!(second.closed().await, (1000, String::new()));
    let (mut other, greeted) = open("two").await;
    assert_eq!(greeted["type"], "connected");
    first.send(&user_message("mine")).await;
    turn_over(&mut first).await;
    other.send(&user_message("recall")).await;
    let said = turn_over(&mut other).await;
    assert!(!said.last().unwrap().to_string().contains("mine"), "{said:?}");
}

#[tokio::test]
async fn an_interrupt_ends_what_runs_and_the_next_prompt_is_answered_by_its_own_answer() {
    let app = AppBuilder::real().start();
    let mut socket = connect(&app).await;
    // There is nothing to interrupt: nothing is said.
    socket.send(&json!({"type": "interrupt"})).await;
    socket.send(&user_message("I begin.\n% hang")).await;
    loop {
        let next = socket.next().await;
        if next["data"]["type"] == "system" {
            break;
        }
    }
    until("the model was asked", async || {
        let asked = app.model_requests().await;
        asked
            .iter()
            .any(|request| request.to_string().contains("% hang"))
            .then_some(())
    })
    .await;
    socket.send(&json!({"type": "interrupt"})).await;
    let said = turn_over(&mut socket).await;
    assert_eq!(
        said.last().unwrap()["subtype"],
        "error_during_execution",
        "{said:?}"
    );
    socket.send(&user_message("Hello")).await;
    let said = turn_over(&mut socket).await;
    assert!(
        said.last().unwrap()["result"]
            .as_str()
            .unwrap()
            .contains("You said: Hello"),
        "{said:?}"
    );
}

#[tokio::test]
async fn an_agent_that_dies_is_told_and_the_next_prompt_has_another() {
    let app = AppBuilder::fake().start();
    let mut socket = connect(&app).await;
    let config = app.client().get("/config").await.expect(200).body;
    assert_eq!(config, json!({"config": {}}), "nothing was set");
    socket.send(&user_message("exit 3")).await;
    let error = loop {
        let next = socket.next().await;
        if next["type"] == "error" {
            break next["error"].as_str().unwrap().to_owned();
        }
    };
    assert!(!error.is_empty());
    socket.send(&user_message("hello")).await;
    assert_eq!(turn_over(&mut socket).await.last().unwrap()["subtype"], "success");
}

#[tokio::test]
async fn files_are_those_of_the_workspace_alone() {
    let app = AppBuilder::fake().start();
    let mut socket = connect(&app).await;
    let workspace = app.workspace("default");
    std::os::unix::fs::symlink("/etc", workspace.join("out")).unwrap();
    for path in ["../stolen", "/etc/passwd", "out/hostname", "a/../../b"] {
        for kind in ["create_file", "read_file", "delete_file", "list_files"] {
            let answer = ask(&mut socket, &json!({"type": kind, "path": path, "content": "x"})).await;
            assert_eq!(answer["type"], "error", "{kind} {path}: {answer}");
        }
    }
    let bytes = json!({"type": "create_file", "path": "a.bin", "content": "/wD+", "encoding": "base64"});
    let done = json!({"type": "file_result", "operation": "create_file", "result": "success"});
    assert_eq!(ask(&mut socket, &bytes).await, done);
    assert_eq!(std::fs::read(workspace.join("a.bin")).unwrap(), [0xff, 0, 0xfe]);
    let wrong = json!({"type": "create_file", "path": "a.bin", "content": "!", "encoding": "base64"});
    assert_eq!(
        ask(&mut socket, &wrong).await["error"],
        "Failed to create file: content is not base64"
    );
    let listed = ask(&mut socket, &json!({"type": "list_files", "path": "."})).await;
    assert_eq!(listed["result"], json!(["a.bin", "out"]));
    // In a frame of bytes too.
    let read = json!({"type": "read_file", "path": "a.bin", "encoding": "base64"}).to_string();
    socket.0.send(Message::binary(read)).await.unwrap();
    assert_eq!(socket.next().await["result"], "/wD+");
}

#[tokio::test]
async fn a_key_is_used_for_the_conversation_and_told_to_nobody() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let secret = "sk-ant-of-this-caller";
    // The official client sends what is its own besides.
    let config = json!({"anthropicApiKey": secret, "model": "haiku", "e2bApiKey": "e2b-secret", "template": "t",
        "timeoutMs": 1, "debug": true, "connectionUrl": "http://x"});
    assert_eq!(set(&client, &config).await, json!({"model": "haiku"}));
    let told = client.get("/config").await.expect(200).raw;
    assert_eq!(told, r#"{"config":{"model":"haiku"}}"#);
    let mut socket = connect(&app).await;
    socket.send(&user_message("Hello")).await;
    turn_over(&mut socket).await;
    drop(socket);
    let asked = app.model_requests().await;
    let with_key = asked
        .iter()
        .filter(|request| request["headers"].to_string().contains(secret));
    assert!(with_key.count() > 0, "{asked:?}");
    let sessions = client.get("/api/v1/sessions").await.expect(200).raw;
    assert!(
        !sessions.contains("secret") && !sessions.contains(secret),
        "{sessions}"
    );
    let stored = std::fs::read(app.folder.path().join("paddock.db")).unwrap();
    let found = stored
        .windows(secret.len())
        .any(|window| window == secret.as_bytes());
    assert!(!found, "the key lies in the store");
    // It does not outlive the server, and nobody else's is used in its place.
    let folder = app.stop();
    let app = AppBuilder::real().in_folder_of(&folder).start();
    let mut socket = connect_as(&app, None).await.unwrap();
    let told = socket.next().await;
    assert!(told["error"].as_str().unwrap().contains("set it again"), "{told}");
    assert_eq!(socket.closed().await.0, 1000);
    set(&app.client(), &config).await;
    let mut socket = connect(&app).await;
    socket.send(&user_message("Hello")).await;
    turn_over(&mut socket).await;
}

#[tokio::test]
async fn what_would_choose_programs_folders_or_variables_is_refused_by_name() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    for (config, words) in [
        (json!({"cwd": "/etc"}), "cwd cannot be set here"),
        (json!({"env": {"PATH": "/x"}}), "env cannot be set here"),
        (
            json!({"pathToClaudeCodeExecutable": "/bin/sh"}),
            "pathToClaudeCodeExecutable cannot be set here",
        ),
        (
            json!({"permissionMode": "plan"}),
            "permissionMode cannot be set here",
        ),
        (
            json!({"mcpServers": {"s": {"command": "/bin/sh"}}}),
            "mcpServers.s must be of type http or sse: programs cannot be chosen here",
        ),
        (
            json!({"systemPrompt": {"type": "file", "path": "/etc"}}),
            "systemPrompt must be a string, or the preset claude_code",
        ),
        (json!({"anthropicApiKey": 5}), "anthropicApiKey must be a key"),
        (json!([1]), "Configuration must be an object"),
        (json!(null), "Configuration must be an object"),
    ] {
        let refused = client.post("/config", &config).await.expect(400);
        assert_eq!(refused.body, json!({"error": words}));
    }
    let torn = client.request(Method::POST, "/config").body("{");
    let torn = read(torn.send().await.unwrap()).await.expect(400);
    assert_eq!(torn.body, json!({"error": "Invalid JSON"}));
    let servers = json!({"mcpServers": {"s": {"type": "http", "url": "https://x", "headers": {"Authorization": "secret"}}}});
    assert_eq!(
        set(&client, &servers).await["mcpServers"]["s"]["headers"]["Authorization"],
        "***"
    );
    assert_eq!(
        client.get("/config").await.body["config"]["mcpServers"]["s"]["url"],
        "https://x"
    );
}
