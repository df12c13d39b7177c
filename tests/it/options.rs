//! Every option of a session reaches the real CLI: seen in what the model was asked, or in what the CLI did.

use serde_json::{Value, json};

use crate::support::{AppBuilder, Client, TestApp, processes_of};

/// A server that lets sessions set `APP_…` and denies what no rule of a session allows, instead of asking a person.
fn app() -> TestApp {
    AppBuilder::real()
        .with(|settings| {
            settings.agent.session_environment = vec!["APP_*".into()];
            settings.permissions.rules =
                serde_json::from_value(json!([{"tool": "*", "decision": "deny"}])).unwrap();
            settings.defaults.allowed_tools = vec!["Bash(echo:*)".into()];
        })
        .start()
}

async fn session(client: &Client, options: Value) -> String {
    client
        .session_with(&json!({"user_id": "alice", "options": options}))
        .await
}

/// What the model was asked last, as one text.
async fn last_request(app: &TestApp) -> Value {
    app.model_requests().await.pop().unwrap()["body"].take()
}

#[tokio::test]
async fn the_model_and_the_effort_are_what_the_model_is_asked_with() {
    let app = app();
    let client = app.client();
    let id = session(&client, json!({"model": "claude-opus-4-5", "effort": "low"})).await;
    client.answer(&id, "hello").await;
    let asked = last_request(&app).await;
    assert_eq!(
        (asked["model"].as_str(), asked["output_config"]["effort"].as_str()),
        (Some("claude-opus-4-5"), Some("low"))
    );
}

#[tokio::test]
async fn an_overloaded_model_is_replaced_by_the_fallback_model() {
    let app = app();
    let client = app.client();
    let options = json!({"model": "claude-opus-4-5", "fallback_model": "claude-haiku-4-5"});
    let id = session(&client, options).await;
    assert_eq!(
        client.answer(&id, "% overloaded times 4\n% say made it").await,
        "made it"
    );
    assert_eq!(last_request(&app).await["model"], "claude-haiku-4-5");
}

#[tokio::test]
async fn system_prompts_are_what_the_model_reads() {
    let app = app();
    let client = app.client();
    let id = session(
        &client,
        json!({"system_prompt": "You are a PIRATE.", "append_system_prompt": "Be LOUD."}),
    )
    .await;
    client.answer(&id, "hello").await;
    let system = last_request(&app).await["system"].to_string();
    assert!(
        system.contains("You are a PIRATE.") && system.contains("Be LOUD."),
        "{system}"
    );
}

#[tokio::test]
async fn permission_modes_decide_what_needs_no_permission() {
    let app = app();
    let client = app.client();
    for (mode, written) in [("default", false), ("acceptEdits", true), ("dontAsk", false)] {
        let id = session(&client, json!({"permission_mode": mode})).await;
        client
            .answer(&id, &format!("% write {mode}.txt hello\n% say done"))
            .await;
        let file = app.workspace("alice").join(format!("{mode}.txt"));
        assert_eq!(file.exists(), written, "{mode}");
    }
    let id = session(&client, json!({"permission_mode": "plan"})).await;
    client.answer(&id, "hello").await;
    assert!(last_request(&app).await.to_string().contains("Plan mode"), "plan");
}

#[tokio::test]
async fn allowed_tools_need_no_permission_and_disallowed_ones_are_not_offered() {
    let app = app();
    let client = app.client();
    let options = json!({
        "permission_mode": "default", "allowed_tools": ["Bash(mkdir:*)"], "disallowed_tools": ["WebSearch", "Write"],
    });
    let id = session(&client, options).await;
    client
        .answer(&id, "% bash mkdir made\n% bash touch not-made\n% say done")
        .await;
    let workspace = app.workspace("alice");
    assert!(workspace.join("made").is_dir() && !workspace.join("not-made").exists());
    let asked = last_request(&app).await;
    let tools: Vec<_> = asked["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| &tool["name"])
        .collect();
    assert!(
        tools.contains(&&json!("Bash")) && !tools.contains(&&json!("Write")),
        "{tools:?}"
    );
}

#[tokio::test]
async fn a_turn_ends_at_its_most_model_requests() {
    let app = app();
    let client = app.client();
    let id = session(&client, json!({"max_turns": 2})).await;
    let answer = client
        .ask(
            &id,
            "% bash echo one\n% bash echo two\n% bash echo three\n% say done",
        )
        .await
        .expect(200);
    assert_eq!(answer.text("stop_reason"), "max_turns");
    assert_eq!(client.answer(&id, "next").await, "You said: next");
}

#[tokio::test]
async fn sub_agents_are_offered_and_run() {
    let app = app();
    let client = app.client();
    let options = json!({
        "agents": {"reviewer": {"description": "Reviews with CARE", "prompt": "You are the REVIEWER."}},
        "allowed_tools": ["Task", "Agent"],
    });
    let id = session(&client, options).await;
    let call = json!({"description": "review", "prompt": "% say fine", "subagent_type": "reviewer"});
    client
        .answer(&id, &format!("% tool Agent {call}\n% say done"))
        .await;
    let requests = app.model_requests().await;
    assert!(requests[0]["body"].to_string().contains("Reviews with CARE"));
    assert!(
        requests.iter().any(|request| request["body"]["system"]
            .to_string()
            .contains("You are the REVIEWER.")),
        "the sub-agent has its own prompt"
    );
}

#[tokio::test]
async fn an_mcp_server_runs_and_its_secrets_stand_nowhere() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support");
    let app = AppBuilder::real()
        .with(|settings| settings.isolation.read_paths = vec![folder.into()])
        .start();
    let client = app.client();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mcp-server.mjs");
    let options = json!({
        "mcp_servers": {"tiny": {"command": "node", "args": [script], "env": {"TINY_SECRET": "hush-hush"}}},
        "allowed_tools": ["mcp__tiny__add"],
    });
    let id = session(&client, options).await;
    let answer = client
        .answer(&id, "% tool ToolSearch {\"query\": \"select:mcp__tiny__add\", \"max_results\": 5}\n% tool mcp__tiny__add {\"a\": 2, \"b\": 3}\n% results")
        .await;
    assert!(answer.contains("sum 5, secret of 9"), "{answer}");
    let servers = client
        .get(&format!("/api/v1/sessions/{id}/mcp"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (
            servers["data"][0]["name"].as_str(),
            servers["data"][0]["status"].as_str()
        ),
        (Some("tiny"), Some("connected")),
        "{servers}"
    );
    let shown = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        shown["options"]["mcp_servers"]["tiny"]["env"]["TINY_SECRET"],
        "***"
    );
    for told in [&servers, &shown] {
        assert!(!told.to_string().contains("hush"), "{told}");
    }
    for pid in processes_of(app.folder.path()) {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(!line.contains("hush") && !line.contains("mcp__tiny"), "{line}");
    }
}

#[tokio::test]
async fn a_plugin_of_the_users_tree_is_loaded() {
    let app = app();
    let client = app.client();
    let plugin = app.workspace("alice").join("plugins/mine");
    std::fs::create_dir_all(plugin.join(".claude-plugin")).unwrap();
    std::fs::create_dir_all(plugin.join("commands")).unwrap();
    std::fs::write(
        plugin.join(".claude-plugin/plugin.json"),
        r#"{"name": "mine", "version": "1.0.0"}"#,
    )
    .unwrap();
    std::fs::write(plugin.join("commands/greet.md"), "Greet with the word XYZZY.").unwrap();
    let id = session(
        &client,
        json!({"plugins": [{"type": "local", "path": "plugins/mine"}]}),
    )
    .await;
    client.answer(&id, "/mine:greet").await;
    assert!(last_request(&app).await["messages"].to_string().contains("XYZZY"));
    client
        .post(
            "/api/v1/sessions",
            &json!({"user_id": "alice", "options": {"plugins": [{"type": "local", "path": "plugins/none"}]}}),
        )
        .await
        .problem(409, "workspace_missing");
}

#[tokio::test]
async fn a_workspaces_own_settings_count_only_where_they_are_asked_for() {
    let app = app();
    let client = app.client();
    std::fs::create_dir_all(app.workspace("alice")).unwrap();
    std::fs::write(
        app.workspace("alice").join("CLAUDE.md"),
        "The house rule is PLUGH.",
    )
    .unwrap();
    for (sources, read) in [(json!([]), false), (json!(["project"]), true)] {
        let id = session(&client, json!({"setting_sources": sources})).await;
        client.answer(&id, "hello").await;
        assert_eq!(
            last_request(&app).await.to_string().contains("PLUGH"),
            read,
            "{sources}"
        );
    }
}

#[tokio::test]
async fn added_folders_of_the_users_tree_are_worked_in_and_others_are_not() {
    let app = app();
    let client = app.client();
    let file = app.workspace("alice").join("shared/docs/a.txt");
    let call = format!(
        "% tool Write {}\n% say done",
        json!({"file_path": file, "content": "hello"})
    );
    for (options, written) in [(json!({}), false), (json!({"add_dirs": ["shared/docs"]}), true)] {
        let body = json!({"user_id": "alice", "subdir": "project", "options": options});
        let id = client.session_with(&body).await;
        client.answer(&id, &call).await;
        assert_eq!(file.exists(), written, "{options}");
    }
    for path in ["../bob", "/etc"] {
        let body = json!({"user_id": "alice", "options": {"add_dirs": [path]}});
        client
            .post("/api/v1/sessions", &body)
            .await
            .problem(422, "validation_failed");
    }
    std::os::unix::fs::symlink("/etc", app.workspace("alice").join("out")).unwrap();
    let body = json!({"user_id": "alice", "options": {"add_dirs": ["out"]}});
    client
        .post("/api/v1/sessions", &body)
        .await
        .problem(403, "workspace_refused");
}

#[tokio::test]
async fn an_answer_takes_the_form_of_the_schema_or_fails_by_name() {
    let app = app();
    let client = app.client();
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let id = session(&client, json!({"output_schema": schema})).await;
    let answer = client
        .ask(&id, "% tool StructuredOutput {\"n\": 3}")
        .await
        .expect(200);
    assert_eq!(answer.body["structured_output"], json!({"n": 3}));
    let mut stream = client.stream(&id, "% tool StructuredOutput {\"n\": 4}").await;
    let done = stream.until("done").await.pop().unwrap();
    assert_eq!(done["structured_output"], json!({"n": 4}));
    let turn = format!("/api/v1/sessions/{id}/turns/{}", answer.text("turn_id"));
    assert_eq!(
        client.get(&turn).await.expect(200).body["structured_output"],
        json!({"n": 3})
    );
    client
        .ask(
            &id,
            "% tool StructuredOutput {\"n\": \"three\"}\n".repeat(12).as_str(),
        )
        .await
        .problem(502, "output_invalid");
    for schema in [
        json!({"type": "string"}),
        json!({"type": "object", "properties": 7}),
    ] {
        let body = json!({"user_id": "alice", "options": {"output_schema": schema}});
        client
            .post("/api/v1/sessions", &body)
            .await
            .problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn variables_reach_the_agents_tools_if_sessions_may_set_them() {
    let app = app();
    let client = app.client();
    let options = json!({"env": {"APP_COLOUR": "green"}, "allowed_tools": ["Bash(printenv:*)"]});
    let id = session(&client, options).await;
    let answer = client.answer(&id, "% bash printenv APP_COLOUR\n% results").await;
    assert!(answer.starts_with("green"), "{answer}");
    let shown = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(shown["options"]["env"], json!({"APP_COLOUR": "***"}));
    for name in ["PATH", "ANTHROPIC_BASE_URL", "LD_PRELOAD"] {
        let body = json!({"user_id": "alice", "options": {"env": {name: "x"}}});
        let refused = client
            .post("/api/v1/sessions", &body)
            .await
            .problem(403, "option_forbidden");
        assert!(
            refused.text("detail").contains(&format!("env.{name}")),
            "{}",
            refused.body
        );
    }
}

#[tokio::test]
async fn what_the_server_configures_every_session_has() {
    let plugins = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(plugins.path().join(".claude-plugin")).unwrap();
    std::fs::create_dir_all(plugins.path().join("commands")).unwrap();
    std::fs::write(
        plugins.path().join(".claude-plugin/plugin.json"),
        r#"{"name": "house", "version": "1.0.0"}"#,
    )
    .unwrap();
    std::fs::write(plugins.path().join("commands/style.md"), "The style is FROBOZZ.").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mcp-server.mjs");
    let path = plugins.path().to_owned();
    let app = AppBuilder::real()
        .with(move |settings| {
            let server = json!({"tiny": {"command": "node", "args": [script]}});
            settings.mcp_servers = serde_json::from_value(server).unwrap();
            settings.plugins = serde_json::from_value(json!([{"type": "local", "path": path}])).unwrap();
        })
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "/house:style").await;
    assert!(
        last_request(&app).await["messages"]
            .to_string()
            .contains("FROBOZZ")
    );
    let servers = client
        .get(&format!("/api/v1/sessions/{id}/mcp"))
        .await
        .expect(200)
        .body;
    assert_eq!(servers["data"][0]["name"], "tiny", "{servers}");
}

#[tokio::test]
async fn options_that_cannot_be_used_are_told_by_name() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    for (options, field) in [
        (json!({"effort": "huge"}), "options.effort"),
        (
            json!({"agents": {"a b": {"description": "x", "prompt": "y"}}}),
            "options.agents",
        ),
        (json!({"agents": {"a": {"description": "x"}}}), "options.agents"),
        (
            json!({"mcp_servers": {"a": {"type": "http"}}}),
            "options.mcp_servers",
        ),
        (
            json!({"mcp_servers": {"a": {"type": "carrier-pigeon", "url": "x"}}}),
            "options.mcp_servers",
        ),
        (
            json!({"plugins": [{"type": "local", "path": "/opt"}]}),
            "options.plugins",
        ),
        (
            json!({"setting_sources": ["everyone"]}),
            "options.setting_sources[0]",
        ),
        (
            json!({"permission_rules": [{"tool": "Bash(", "decision": "allow"}]}),
            "options.permission_rules",
        ),
        (json!({"env": {"a b": "x"}}), "options.env"),
        (json!({"fallback_model": "--x"}), "options.fallback_model"),
        (
            json!({"agents": {"a": {"description": "x", "prompt": "y".repeat(300_000)}}}),
            "options.agents",
        ),
    ] {
        let refused = client
            .post(
                "/api/v1/sessions",
                &json!({"user_id": "alice", "options": options}),
            )
            .await
            .problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["field"], field, "{}", refused.body);
    }
}
