//! What goes wrong below: the CLI, the store, the pool. `fake-claude` stands in for the CLI.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AppBuilder, PATIENCE, TestApp, processes_of, until};

fn app() -> TestApp {
    AppBuilder::fake().start()
}

async fn garbage_lines(app: &TestApp) -> u64 {
    app.client().get("/health").await.expect(200).body["garbage_lines"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn a_missing_cli_is_told_by_name_and_by_the_health_check() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.cli_path = "/nowhere/claude".into())
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.ask(&id, "hello").await.problem(503, "agent_unavailable");
    client
        .get("/api/v1/models")
        .await
        .problem(503, "agent_unavailable");
    let ready = client.get("/health/ready").await.expect(503).body;
    assert_eq!(
        (ready["cli_ok"].as_bool(), ready["storage_ok"].as_bool()),
        (Some(false), Some(true))
    );
    assert!(ready["problems"][0].as_str().unwrap().contains("/nowhere/claude"));
    client.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn a_cli_that_is_not_executable_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claude");
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.cli_path = file.clone())
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let told = client.ask(&id, "hello").await.problem(503, "agent_unavailable");
    assert!(
        told.text("detail").contains("not an executable file"),
        "{}",
        told.body
    );
}

fn told_at_start(what: &str) -> AppBuilder {
    let what = what.to_owned();
    AppBuilder::fake().with(|settings| {
        settings
            .agent
            .environment
            .insert("FAKE_CLAUDE_START".to_owned(), what);
        settings.agent.start_timeout = Duration::from_millis(500);
    })
}

#[tokio::test]
async fn a_cli_that_exits_at_the_start_is_told_with_its_last_words() {
    let app = told_at_start("exit 7").start();
    let client = app.client();
    let id = client.session("alice").await;
    let told = client
        .ask(&id, "hello")
        .await
        .problem(502, "agent_start_failed")
        .text("detail");
    assert!(
        told.contains("exit code 7") && told.contains("told to exit at the start"),
        "{told}"
    );
}

#[tokio::test]
async fn a_cli_that_never_gets_ready_is_ended_and_told() {
    let app = told_at_start("hang").start();
    let client = app.client();
    let id = client.session("alice").await;
    let told = client
        .ask(&id, "hello")
        .await
        .problem(502, "agent_start_failed")
        .text("detail");
    assert!(told.contains("not ready in time"), "{told}");
    until("nothing of it is left", async || {
        processes_of(app.folder.path()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn garbage_at_the_start_is_skipped_and_counted() {
    let app = told_at_start("garbage").start();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "hello").await, "You said: hello");
    assert_eq!(garbage_lines(&app).await, 1);
}

#[tokio::test]
async fn a_cli_that_dies_in_a_turn_fails_that_turn_and_not_the_next() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "first").await;
    for death in ["exit 3", "abort"] {
        let told = client
            .ask(&id, death)
            .await
            .problem(502, "agent_crashed")
            .text("detail");
        let how = if death == "abort" {
            "signal 6"
        } else {
            "told to exit"
        };
        assert!(told.contains(how), "{told}");
        assert_eq!(
            client.answer(&id, "recall").await.split(", ").next(),
            Some("first"),
            "its context is there"
        );
    }
    let events = client.stream(&id, "exit 3").await.rest().await;
    let last = events.last().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["code"].as_str()),
        (Some("error"), Some("agent_crashed"))
    );
}

#[tokio::test]
async fn garbage_and_unknown_messages_in_a_turn_are_skipped_and_counted_and_never_fatal() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "garbage").await, "after garbage");
    assert_eq!(garbage_lines(&app).await, 6);
    assert_eq!(client.answer(&id, "unknown").await, "after unknown messages");
    assert_eq!(
        garbage_lines(&app).await,
        6,
        "a message of an unknown type is no garbage"
    );
    assert_eq!(client.answer(&id, "next").await, "You said: next");
}

#[tokio::test]
async fn a_line_over_the_limit_is_skipped_in_bounded_memory() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.line_limit_bytes = 1024 * 1024)
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "warm").await;
    let before = peak_memory();
    assert_eq!(client.answer(&id, "long-line 100").await, "after a long line");
    assert_eq!(garbage_lines(&app).await, 1);
    // The tests share a process; others' growth is in the figure too, so the bound is wide, and below the line's 100 MB.
    assert!(
        peak_memory() - before < 80 * 1024 * 1024,
        "{} bytes more",
        peak_memory() - before
    );
}

fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_turn_that_never_ends_is_interrupted_and_its_process_kept() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    let pid = client.answer(&id, "pid").await;
    let body = json!({"session_id": id, "message": "never-end", "timeout": 1});
    client
        .post("/api/v1/chat", &body)
        .await
        .problem(504, "turn_timeout");
    assert_eq!(client.answer(&id, "pid").await, pid);
}

#[tokio::test]
async fn a_cli_that_does_not_even_hear_an_interrupt_is_killed_and_the_next_message_works() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.interrupt_grace = Duration::from_millis(200))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let pid = client.answer(&id, "pid").await;
    let body = json!({"session_id": id, "message": "silence", "timeout": 1});
    client
        .post("/api/v1/chat", &body)
        .await
        .problem(504, "turn_timeout");
    assert_ne!(client.answer(&id, "pid").await, pid);
}

#[tokio::test]
async fn a_result_told_twice_is_not_the_next_turns() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "twice").await, "said twice");
    for number in 0..5 {
        assert_eq!(
            client.answer(&id, &format!("number {number}")).await,
            format!("You said: number {number}")
        );
    }
}

#[tokio::test]
async fn a_session_id_that_the_cli_changes_is_followed() {
    let app = app();
    let id = app.client().session("alice").await;
    let new = "0199e2c8-a5b0-7c3f-9d1e-2a4b6c8d0e1f";
    assert_eq!(
        app.client().answer(&id, &format!("new-session {new}")).await,
        "moved"
    );
    app.client().answer(&id, "said under the new id").await;
    let session = app
        .client()
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200);
    assert_eq!(session.text("claude_session_id"), new);
    let folder = app.stop();
    let app = AppBuilder::fake().in_folder_of(&folder).start();
    assert!(
        app.client()
            .answer(&id, "recall")
            .await
            .contains("said under the new id")
    );
}

#[tokio::test]
async fn what_an_agent_left_behind_ends_with_its_session() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "grandchild pid").await;
    let grandchild: i32 = std::fs::read_to_string(app.workspace("alice").join("pid"))
        .unwrap()
        .parse()
        .unwrap();
    assert!(processes_of(app.folder.path()).contains(&grandchild));
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    until("nothing is left", async || {
        processes_of(app.folder.path()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_ignores_every_word_is_killed_when_its_session_closes() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.stop_grace = Duration::from_millis(100))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    assert_eq!(client.answer(&id, "ignore-end").await, "deaf");
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    assert_eq!(processes_of(app.folder.path()), [] as [i32; 0]);
}

#[tokio::test]
async fn an_error_result_that_calls_itself_a_success_is_an_error() {
    let app = app();
    let client = app.client();
    let id = client.session("alice").await;
    client.ask(&id, "api-error 529").await.problem(502, "model_error");
    let answer = client.ask(&id, "max-turns").await.expect(200);
    assert_eq!(
        (answer.text("text").as_str(), answer.text("stop_reason").as_str()),
        ("half an answer", "max_turns")
    );
    assert_eq!(
        client.answer(&id, "next").await,
        "You said: next",
        "the process that ended is replaced"
    );
}

#[tokio::test]
async fn the_agent_that_was_idle_longest_makes_room_and_its_session_goes_on() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.max_live = 2)
        .start();
    let client = app.client();
    let mut sessions = Vec::new();
    for user in ["a", "b", "c"] {
        let id = client.session(user).await;
        client.answer(&id, user).await;
        sessions.push(id);
    }
    let live = client.get("/health").await.expect(200).body["live_agents"]
        .as_u64()
        .unwrap();
    assert!(live <= 2, "{live}");
    assert_eq!(
        client.answer(&sessions[0], "recall").await,
        "a",
        "its context is there"
    );
}

#[tokio::test]
async fn busy_agents_never_make_room() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.max_live = 1)
        .start();
    let client = app.client();
    let (one, two) = (client.session("a").await, client.session("b").await);
    let mut stream = client.stream(&one, "words 1000 every 50ms").await;
    stream.until("text_delta").await;
    let refused = client.ask(&two, "hello").await.problem(503, "agents_exhausted");
    assert!(!refused.header("retry-after").is_empty());
    client
        .delete(&format!("/api/v1/sessions/{one}"))
        .await
        .expect(204);
    assert_eq!(client.answer(&two, "hello").await, "You said: hello");
}

#[tokio::test]
async fn an_idle_agent_is_ended_and_its_session_goes_on() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.idle_timeout = Duration::from_millis(200))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "before").await;
    until("the agent is ended", async || {
        (client.get("/health").await.expect(200).body["live_agents"] == 0).then_some(())
    })
    .await;
    assert_eq!(client.answer(&id, "recall").await, "before");
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_told_by_name_and_recovers() {
    let app = AppBuilder::fake()
        .with(|settings| settings.session.store_patience = Duration::from_millis(200))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "before").await;
    let database = app.folder.path().join("paddock.db");
    let holder = sqlx::SqlitePool::connect(&format!("sqlite://{}", database.display()))
        .await
        .unwrap();
    let held = holder.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let refused = client.ask(&id, "hello").await.problem(503, "store_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    client
        .post("/api/v1/sessions", &json!({"user_id": "bob"}))
        .await
        .problem(503, "store_unavailable");
    drop(held);
    until("it recovers", async || {
        (client.ask(&id, "hello").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_that_fails_in_a_turn_fails_the_turn_by_name_and_settles_it_later() {
    let app = AppBuilder::fake()
        .with(|settings| settings.session.store_patience = Duration::from_millis(100))
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "words 20 every 50ms").await;
    let turn = stream.until("turn_started").await.pop().unwrap()["turn_id"].clone();
    let database = app.folder.path().join("paddock.db");
    let holder = sqlx::SqlitePool::connect(&format!("sqlite://{}", database.display()))
        .await
        .unwrap();
    let held = holder.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["code"].as_str()),
        (Some("error"), Some("store_unavailable"))
    );
    drop(held);
    let answered = until("it recovers", async || {
        let answer = client.ask(&id, "recall").await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_ne!(answered.body["turn_id"], turn);
    let (status,): (String,) = sqlx::query_as("SELECT status FROM turns WHERE outcome LIKE '%turn_unknown%'")
        .fetch_one(&holder)
        .await
        .unwrap();
    assert_eq!(status, "unknown");
}

#[tokio::test]
async fn many_sessions_at_once_each_get_their_own_answers_in_order() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.max_live = 40)
        .start();
    let mut users = tokio::task::JoinSet::new();
    for user in 0..40 {
        let client = app.client();
        users.spawn(async move {
            let id = client.session(&format!("user{user}")).await;
            for turn in 0..3 {
                let prompt = format!("turn {turn} of {user}");
                let events = client.stream(&id, &prompt).await.rest().await;
                let done = events.last().unwrap();
                assert_eq!(done["text"], format!("You said: {prompt}"));
                assert_eq!(crate::support::joined(&events), done["text"].as_str().unwrap());
            }
        });
    }
    let all = async {
        while let Some(user) = users.join_next().await {
            user.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .expect("all are answered");
}

#[tokio::test]
async fn a_reader_that_fell_out_of_memory_misses_nothing() {
    let app = AppBuilder::fake()
        .with(|settings| settings.events.feed_max_bytes = 2_000)
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "words 20000").await;
    let mut events = stream.until("text_delta").await;
    until("the turn has ended", async || {
        (client
            .get(&format!("/api/v1/sessions/{id}"))
            .await
            .expect(200)
            .body["busy"]
            == false)
            .then_some(())
    })
    .await;
    events.extend(stream.rest().await);
    let done: &Value = events.last().unwrap();
    assert_eq!(done["type"], "done");
    assert!(done["text"].as_str().unwrap().ends_with("word20000"));
    assert_eq!(crate::support::joined(&events), done["text"].as_str().unwrap());
}
