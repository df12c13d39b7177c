//! Other people's clients, and such as their documentation shows, at addresses where only the dialect is.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{AppBuilder, PATIENCE, TestApp, key};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What a program printed, as JSON.
async fn told(program: &str, arguments: &[&str]) -> Value {
    let program = program.replace("ROOT", ROOT);
    let mut command = Command::new(program);
    let arguments = arguments
        .iter()
        .map(|argument| argument.replace("CLIENTS", &format!("{ROOT}/tests/it/clients")));
    command
        .args(arguments)
        .env("TEST_CLIENTS", format!("{ROOT}/tools/test-clients"))
        .env("no_proxy", "*")
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("it ends")
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const PYTHON: &str = "ROOT/tools/test-clients/python/bin/python";

fn own_address(app: &TestApp) -> String {
    app.dialects[0].1.to_string()
}

#[tokio::test]
async fn the_official_clients_of_openai_are_answered_remembered_and_refused() {
    let app = AppBuilder::real()
        .with_keys(&[("acme", "member", "acme", None)])
        .with(|settings| settings.dialects.openai.bind = Some("127.0.0.1:0".parse().unwrap()))
        .start();
    let base = format!("http://{}/v1", own_address(&app));
    let acme = key("acme");
    for (program, script) in [
        (PYTHON, "CLIENTS/chat-completions.py"),
        ("node", "CLIENTS/chat-completions.mjs"),
    ] {
        let told = told(program, &[script, &base, &acme]).await;
        assert_eq!(told["models"][0], "claude-code", "{told}");
        assert_eq!(told["answer"], "I will remember that.");
        assert_eq!(told["finish_reason"], "stop");
        assert!(told["streamed"].as_str().unwrap().contains("42"), "{told}");
        assert!(told["pieces"].as_u64().unwrap() > 1, "{told}");
        for tokens in ["total_tokens", "streamed_tokens"] {
            assert!(told[tokens].as_u64().unwrap() > 0, "{told}");
        }
        assert_eq!(
            told["errors"],
            json!([
                ["NotFoundError", "model_not_found", "model"],
                ["BadRequestError", "unsupported_parameter", "temperature"],
                ["AuthenticationError", "unauthenticated", null],
            ])
        );
    }
}

#[tokio::test]
async fn clients_that_read_data_lines_by_their_type_find_what_they_look_for() {
    let app = AppBuilder::real()
        .with(|settings| settings.dialects.claude_code_sse.bind = Some("127.0.0.1:0".parse().unwrap()))
        .start();
    let base = format!("http://{}", own_address(&app));
    for (program, script) in [(PYTHON, "CLIENTS/sse.py"), ("node", "CLIENTS/sse.mjs")] {
        let told = told(program, &[script, &base]).await;
        assert_eq!(
            told,
            json!({
                "types": ["connected", "message", "tool_use", "message", "completed"],
                "texts": ["I look.", "done"],
                "deleted": "Session deleted",
            })
        );
    }
}

#[tokio::test]
async fn a_client_of_the_web_socket_configures_connects_and_is_answered() {
    let app = AppBuilder::real()
        .with(|settings| settings.dialects.claude_agent_server.bind = Some("127.0.0.1:0".parse().unwrap()))
        .start();
    let told = told("node", &["CLIENTS/agent-server.mjs", &own_address(&app)]).await;
    assert_eq!(
        (&told["configured"], &told["result"]),
        (&json!(200), &json!("You said: Hello"))
    );
    let types: Vec<_> = told["types"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind.as_str().unwrap())
        .collect();
    assert_eq!((types[0], types[1]), ("connected", "system"));
    assert!(types.contains(&"assistant"), "{types:?}");
}
