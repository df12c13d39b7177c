//! Turns of the real CLI on the scripted model.

use serde_json::{Value, json};

use crate::support::{AppBuilder, joined, until};

#[tokio::test]
async fn a_message_is_answered() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let answer = client.ask(&id, "Good morning").await.expect(200);
    assert_eq!(answer.text("text"), "You said: Good morning");
    assert_eq!(answer.text("stop_reason"), "end_turn");
    assert!(answer.body["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert!(answer.body["cost_usd"].as_f64().unwrap() > 0.0);
    let session = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (session["message_count"].as_u64(), session["agent_live"].as_bool()),
        (Some(1), Some(true))
    );
}

#[tokio::test]
async fn the_session_addressed_routes_do_the_same() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let path = format!("/api/v1/sessions/{id}");
    let answer = client
        .post(&format!("{path}/messages"), &json!({"message": "one"}))
        .await
        .expect(200);
    assert_eq!(answer.text("text"), "You said: one");
    let request = client
        .request(reqwest::Method::POST, &format!("{path}/stream"))
        .json(&json!({"message": "two"}));
    let events = crate::support::Stream::of(request.send().await.unwrap())
        .rest()
        .await;
    assert_eq!(joined(&events), "You said: two");
}

#[tokio::test]
async fn what_a_turn_costs_is_its_own_and_not_the_processs() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut costs = Vec::new();
    for _ in 0..2 {
        let answer = client
            .ask(&id, "% usage input=1000 output=100\n% say ok")
            .await
            .expect(200);
        assert_eq!(answer.body["usage"]["output_tokens"], 100);
        costs.push(answer.body["cost_usd"].as_f64().unwrap());
    }
    assert!((costs[0] - costs[1]).abs() < 1e-9 && costs[0] > 0.0, "{costs:?}");
}

#[tokio::test]
async fn a_stream_tells_the_turn_in_order_and_its_deltas_joined_are_the_text() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let prompt = "% think Let me see\nI look.\n% bash echo from the tool\n% results\nThat was it.";
    let events = client.stream(&id, prompt).await.rest().await;
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(&types[..2], ["session", "turn_started"]);
    assert_eq!(&types[types.len() - 2..], ["usage", "done"]);
    let place = |kind: &str| {
        types
            .iter()
            .position(|other| *other == kind)
            .unwrap_or_else(|| panic!("no {kind}: {types:?}"))
    };
    assert!(place("thinking_delta") < place("text_delta") && place("text_delta") < place("tool_use"));
    assert!(place("tool_use") < place("tool_result"));
    let numbers: Vec<_> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let done = events.last().unwrap();
    assert_eq!(done["text"], "I look.\n\nfrom the tool\n\nThat was it.");
    assert_eq!(joined(&events), done["text"].as_str().unwrap());
    assert_eq!(events[place("tool_use")]["tool_name"], "Bash");
    assert_eq!(events[place("tool_result")]["content"], "from the tool");
}

#[tokio::test]
async fn the_agent_works_in_its_workspace() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "subdir": "project"}))
        .await;
    let prompt = "% write notes.txt Written by the agent\n% bash cat notes.txt && pwd\n% results";
    let answer = client.ask(&id, prompt).await.expect(200);
    let project = app.workspace("alice").join("project");
    assert_eq!(
        std::fs::read_to_string(project.join("notes.txt")).unwrap(),
        "Written by the agent\n"
    );
    let calls = answer.body["tool_calls"].as_array().unwrap();
    assert_eq!(
        calls
            .iter()
            .map(|call| call["tool"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["Write", "Bash"]
    );
    assert!(calls.iter().all(|call| call["is_error"] == false), "{calls:?}");
    assert_eq!(
        calls[1]["output"],
        format!("Written by the agent\n{}", project.display())
    );
}

#[tokio::test]
async fn a_conversation_goes_on_with_its_context_after_a_restart() {
    let app = AppBuilder::real().start();
    let id = app.client().session("alice").await;
    app.client().answer(&id, "Remember the number 42.").await;
    let folder = app.stop();

    let app = AppBuilder::real().in_folder_of(&folder).start();
    let client = app.client();
    assert_eq!(
        client
            .answer(&id, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 42."
    );
    let messages = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    assert_eq!(messages["data"].as_array().unwrap().len(), 4);
    let ids: Vec<_> = messages["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["id"].as_u64().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[tokio::test]
async fn a_turn_goes_on_when_its_client_leaves_and_the_next_question_gets_its_own_answer() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "% words 20 every 20ms").await;
    stream.until("text_delta").await;
    drop(stream);
    let path = format!("/api/v1/sessions/{id}");
    until("the turn has ended", async || {
        (client.get(&path).await.expect(200).body["busy"] == false).then_some(())
    })
    .await;
    assert_eq!(
        client.answer(&id, "What is next?").await,
        "You said: What is next?"
    );
    let messages = client.get(&format!("{path}/messages")).await.expect(200).body;
    let text = messages
        .pointer("/data/1/content/0/text")
        .and_then(Value::as_str)
        .unwrap();
    assert!(
        text.ends_with("word20"),
        "the turn that nobody watched is whole: {text}"
    );
}

#[tokio::test]
async fn a_turn_that_nobody_waits_for_any_more_is_finished_too() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let body = json!({"session_id": id, "message": "% words 10 every 50ms"});
    let request = client.request(reqwest::Method::POST, "/api/v1/chat").json(&body);
    let path = format!("/api/v1/sessions/{id}");
    tokio::select! {
        _ = request.send() => panic!("the turn was over too soon"),
        () = until("the turn runs", async || {
            (client.get(&path).await.expect(200).body["busy"] == true).then_some(())
        }) => {}
    }
    until("the turn has ended", async || {
        (client.get(&path).await.expect(200).body["busy"] == false).then_some(())
    })
    .await;
    let messages = client.get(&format!("{path}/messages")).await.expect(200).body;
    assert_eq!(messages["data"].as_array().unwrap().len(), 2);
    assert_eq!(client.answer(&id, "next").await, "You said: next");
}

#[tokio::test]
async fn a_turn_over_its_time_limit_is_interrupted_and_the_session_stays_usable() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the word heron.").await;
    let body = json!({"session_id": id, "message": "% words 600 every 100ms", "timeout": 1});
    let late = client
        .post("/api/v1/chat", &body)
        .await
        .problem(504, "turn_timeout");
    assert!(late.text("turn_id").starts_with("trn_"));

    let request = client
        .request(reqwest::Method::POST, "/api/v1/chat/stream")
        .json(&body);
    let events = crate::support::Stream::of(request.send().await.unwrap())
        .rest()
        .await;
    let last = events.last().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["code"].as_str()),
        (Some("error"), Some("turn_timeout"))
    );
    assert!(
        joined(&events).starts_with("word1 word2"),
        "what was said so far was told"
    );

    assert_eq!(
        client.answer(&id, "What did I ask you to remember?").await,
        "You asked me to remember the word heron."
    );
}

#[tokio::test]
async fn a_second_message_to_a_busy_session_is_refused_and_harms_nothing() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "% words 10 every 50ms").await;
    stream.until("text_delta").await;
    let refused = client.ask(&id, "me too").await.problem(409, "session_busy");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    let body = json!({"session_id": id, "message": "me too"});
    client
        .post("/api/v1/chat/stream", &body)
        .await
        .problem(409, "session_busy");
    let events = stream.rest().await;
    assert!(
        events.last().unwrap()["text"]
            .as_str()
            .unwrap()
            .ends_with("word10")
    );
    assert_eq!(client.answer(&id, "now me").await, "You said: now me");
}

#[tokio::test]
async fn every_option_of_a_session_reaches_the_cli() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let options = json!({
        "model": "claude-haiku-5-5",
        "system_prompt": "You are a lighthouse keeper.",
        "append_system_prompt": "Speak of the sea.",
        "permission_mode": "dontAsk",
        "allowed_tools": ["Bash(echo allowed*)", "Read"],
        "disallowed_tools": ["WebSearch"],
        "max_turns": 2,
        "max_budget_usd": 5.0
    });
    let id = client
        .session_with(&json!({"user_id": "alice", "options": options}))
        .await;
    let prompt = "% bash echo allowed\n% bash touch forbidden.txt\n% say never reached";
    let answer = client.ask(&id, prompt).await.expect(200);
    assert_eq!(
        answer.text("stop_reason"),
        "max_turns",
        "two requests, and no third"
    );
    let calls = answer.body["tool_calls"].as_array().unwrap();
    assert_eq!(
        (calls[0]["output"].as_str(), calls[0]["is_error"].as_bool()),
        (Some("allowed"), Some(false))
    );
    assert_ne!(calls[1]["is_error"], false, "{calls:?}");
    assert!(
        !app.workspace("alice").join("forbidden.txt").exists(),
        "dontAsk denies what no rule allows"
    );

    let requests = app.model_requests().await;
    let first = &requests[0]["body"];
    assert_eq!(first["model"], "claude-haiku-5-5");
    let system = first["system"].to_string();
    assert!(
        system.contains("lighthouse keeper") && system.contains("Speak of the sea"),
        "{system}"
    );
    let tools = first["tools"].to_string();
    assert!(
        tools.contains("\"Bash\"") && !tools.contains("\"WebSearch\""),
        "{tools}"
    );
    assert_eq!(
        client.answer(&id, "and on").await,
        "You said: and on",
        "the session goes on after max_turns"
    );
}

#[tokio::test]
async fn a_budget_ends_a_turn_by_name() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let options = json!({"max_budget_usd": 0.01});
    let id = client
        .session_with(&json!({"user_id": "alice", "options": options}))
        .await;
    let prompt = "% usage input=1000000 output=10\n% bash echo one\n% say two";
    let answer = client.ask(&id, prompt).await.expect(200);
    assert_eq!(answer.text("stop_reason"), "max_budget");
}

#[tokio::test]
async fn the_servers_defaults_reach_the_cli_where_a_session_is_silent() {
    let app = AppBuilder::real()
        .with(|settings| settings.defaults.system_prompt = Some("You are the house default.".to_owned()))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "hello").await;
    let system = app.model_requests().await[0]["body"]["system"].to_string();
    assert!(system.contains("house default"), "{system}");
}

#[tokio::test]
async fn an_error_of_the_models_api_is_told_by_name_and_the_session_goes_on() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let failed = client.ask(&id, "% fail 400").await.problem(502, "model_error");
    assert!(failed.text("detail").contains("400"), "{}", failed.body);
    assert_eq!(
        client.answer(&id, "% fail 529 times 1\n% say after all").await,
        "after all"
    );
}

#[tokio::test]
async fn an_answer_that_broke_off_is_taken_back_and_its_deltas_joined_are_the_text() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let events = client
        .stream(&id, "One part.\n% wait 500ms\n% drop times 1\n% say And whole.")
        .await
        .rest()
        .await;
    assert!(
        events.iter().any(|event| event["type"] == "text_retracted"),
        "{events:?}"
    );
    let done = events.last().unwrap();
    assert_eq!(done["text"], "One part.\n\nAnd whole.");
    assert_eq!(joined(&events), "One part.\n\nAnd whole.");
}

#[tokio::test]
async fn a_stream_error_of_the_model_ends_in_an_answer_too() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let events = client
        .stream(&id, "First.\n% overloaded times 1\n% say Second.")
        .await
        .rest()
        .await;
    let done = events.last().unwrap();
    assert_eq!(done["type"], "done", "{events:?}");
    assert!(done["text"].as_str().unwrap().ends_with("Second."));
    assert_eq!(joined(&events), done["text"].as_str().unwrap());
}

#[tokio::test]
async fn what_the_cli_answers_without_the_model_is_an_answer() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let events = client.stream(&id, "/cost").await.rest().await;
    let done = events.last().unwrap();
    assert_eq!(done["type"], "done");
    assert!(!done["text"].as_str().unwrap().is_empty());
    assert_eq!(joined(&events), done["text"].as_str().unwrap());
    assert_eq!(client.answer(&id, "next").await, "You said: next");
}

#[tokio::test]
async fn no_credential_and_no_prompt_stand_on_a_command_line() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let options = json!({"system_prompt": "a-secret-instruction"});
    let id = client
        .session_with(&json!({"user_id": "alice", "options": options}))
        .await;
    client.answer(&id, "a-secret-question").await;
    let agents = crate::support::processes_of(app.folder.path());
    assert!(!agents.is_empty(), "the agent lives");
    for pid in agents {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(!line.contains("secret"), "{line}");
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        assert!(
            !environment.contains("CARGO_MANIFEST_DIR"),
            "the server's own environment is not the agents'"
        );
    }
}

#[tokio::test]
async fn the_models_are_those_that_the_cli_offers() {
    let app = AppBuilder::real().start();
    let models = app.client().get("/api/v1/models").await.expect(200).body;
    let ids: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"opus") && ids.contains(&"haiku"), "{ids:?}");
}
