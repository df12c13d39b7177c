//! How the server starts and ends: in this process, and as the process that people run.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{AppBuilder, PATIENCE, Served, paddock, processes_of, until};

#[tokio::test]
async fn running_turns_may_end_and_new_ones_are_told_to_go_elsewhere() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let (busy, idle) = (client.session("a").await, client.session("b").await);
    client.answer(&idle, "before").await;
    let mut stream = client.stream(&busy, "words 20 every 50ms").await;
    stream.until("text_delta").await;
    app.stopper.stop_within(PATIENCE);
    let refused = client.ask(&idle, "hello").await.problem(503, "shutting_down");
    assert!(!refused.header("retry-after").is_empty());
    let ready = client.get("/health/ready").await.expect(503).body;
    assert_eq!(ready["ready"], false);
    client.get("/health/live").await.expect(200);
    let done = stream.rest().await.pop().unwrap();
    assert!(done["text"].as_str().unwrap().ends_with("word20"), "{done}");
}

#[tokio::test]
async fn a_turn_over_the_drain_limit_is_interrupted_and_recorded() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = client.session("a").await;
    let mut stream = client.stream(&id, "never-end").await;
    let turn = stream.until("turn_started").await.pop().unwrap()["turn_id"].clone();
    app.stopper.stop_within(Duration::from_millis(100));
    let last = stream.rest().await.pop().unwrap();
    assert_eq!(
        (last["type"].as_str(), last["code"].as_str()),
        (Some("error"), Some("server_shutdown"))
    );
    let folder = app.stop();
    let database = sqlx::SqlitePool::connect(&format!(
        "sqlite://{}",
        folder.path().join("paddock.db").display()
    ))
    .await
    .unwrap();
    let (status, outcome): (String, String) = sqlx::query_as("SELECT status, outcome FROM turns")
        .fetch_one(&database)
        .await
        .unwrap();
    assert_eq!(status, "interrupted");
    assert!(outcome.contains("server_shutdown"), "{turn}: {outcome}");
}

#[tokio::test]
async fn silence_in_a_stream_is_filled_with_signs_of_life() {
    let app = AppBuilder::fake()
        .with(|settings| settings.events.heartbeat = Duration::from_millis(50))
        .start();
    let client = app.client();
    let id = client.session("a").await;
    let mut stream = client.stream(&id, "words 2 every 400ms").await;
    let mut frames = Vec::new();
    while let Some(frame) = stream.next_frame().await {
        frames.push(frame);
    }
    assert_eq!(frames[0], crate::support::Frame::Retry(2000));
    let comments = frames
        .iter()
        .filter(|frame| matches!(frame, crate::support::Frame::Comment(_)))
        .count();
    assert!(comments >= 2, "{frames:?}");
}

#[tokio::test]
async fn it_says_where_it_listens_that_it_is_scripted_and_what_to_try() {
    let served = Served::start(tempfile::tempdir().unwrap());
    let address = served.address;
    for part in [
        "SCRIPT, not from a model",
        &format!("http://{address}/docs/"),
        "curl",
    ] {
        assert!(
            served.welcome.contains(part),
            "{part:?} is missing in {}",
            served.welcome
        );
    }
    let health = served.client().get("/health").await.expect(200).body;
    assert_eq!(
        (health["model"].as_str(), health["isolation"].as_str()),
        (Some("scripted"), Some("namespaces"))
    );
    let line = served.welcome.lines().last().unwrap().trim().to_owned();
    let answered =
        tokio::task::spawn_blocking(move || Command::new("sh").arg("-c").arg(line).output().unwrap())
            .await
            .unwrap();
    let answered = String::from_utf8(answered.stdout).unwrap();
    assert!(
        answered.contains("\"type\":\"done\""),
        "the line that is to be pasted works: {answered}"
    );
    served.signal(Signal::INT);
    served.ended();
}

#[tokio::test]
async fn ctrl_c_ends_it_at_once_also_in_a_turn_with_nothing_left_running() {
    let served = Served::start(tempfile::tempdir().unwrap());
    let client = served.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "never-end").await;
    stream.until("turn_started").await;
    served.signal(Signal::INT);
    let (code, took, folder) = served.ended();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(processes_of(folder.path()), [] as [i32; 0]);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_anything() {
    let served = Served::start(tempfile::tempdir().unwrap());
    let client = served.client();
    let id = client.session("alice").await;
    let mut stream = client.stream(&id, "never-end").await;
    stream.until("turn_started").await;
    served.signal(Signal::TERM);
    until("it drains", async || {
        (client.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    served.signal(Signal::TERM);
    let (code, took, folder) = served.ended();
    assert_eq!(code, Some(0));
    assert!(
        took < Duration::from_secs(20),
        "the drain limit of 30 s was not waited for: {took:?}"
    );
    assert_eq!(processes_of(folder.path()), [] as [i32; 0]);
}

#[tokio::test]
async fn a_turn_that_the_server_did_not_survive_is_unknown_and_not_run_again() {
    let served = Served::start(tempfile::tempdir().unwrap());
    let client = served.client();
    let id = client.session("alice").await;
    client.answer(&id, "before").await;
    let mut stream = client.stream(&id, "words 1000 every 20ms").await;
    stream.until("text_delta").await;
    served.signal(Signal::KILL);
    let (_, _, folder) = served.ended();
    let served = Served::start(folder);
    let client = served.client();
    assert_eq!(
        client.answer(&id, "recall").await,
        "before",
        "the lost turn was not run again"
    );
    let path = served.folder.path().join("data/paddock.db");
    let database = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    let statuses: Vec<(String,)> = sqlx::query_as("SELECT status FROM turns ORDER BY id")
        .fetch_all(&database)
        .await
        .unwrap();
    assert_eq!(
        statuses
            .iter()
            .map(|(status,)| status.as_str())
            .collect::<Vec<_>>(),
        ["completed", "unknown", "completed"]
    );
    let last: Vec<(i64,)> =
        sqlx::query_as("SELECT COUNT(*) FROM events WHERE kind IN ('done', 'error') GROUP BY turn_id")
            .fetch_all(&database)
            .await
            .unwrap();
    assert_eq!(last, [(1,), (1,), (1,)], "each turn ends once");
    served.signal(Signal::INT);
    served.ended();
}

fn refused(change: impl FnOnce(&mut Command)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = paddock(folder.path());
    command.arg("serve");
    change(&mut command);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_taken_address_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let told = refused(|command| {
        command.env("PADDOCK__API__PORT", port.to_string());
    });
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{told}"
    );
}

#[test]
fn an_open_address_without_a_key_is_refused_and_told_what_to_set() {
    let told = refused(|command| {
        command.env("PADDOCK__API__HOST", "0.0.0.0");
    });
    assert!(told.contains("PADDOCK__AUTH__ADMIN_KEY"), "{told}");
}

#[test]
fn a_wrong_setting_is_told_with_its_path() {
    let told = refused(|command| {
        command.env("PADDOCK__AGENT__MAX_LIVES", "9");
    });
    assert!(told.contains("max_lives"), "{told}");
}

#[test]
fn the_settings_in_force_are_printed_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = paddock(folder.path());
    command
        .arg("config")
        .env_remove("PADDOCK__MODEL__SCRIPTED")
        .env("ANTHROPIC_API_KEY", "sk-secret-of-the-test");
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("api_key: '[redacted]'") && printed.contains("port: 0"),
        "{printed}"
    );
    assert!(!printed.contains("sk-secret"), "{printed}");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = paddock(folder.path()).arg("openapi").spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut first = [0; 10];
    out.read_exact(&mut first).unwrap();
    drop(out);
    assert!(child.wait().unwrap().success());
}

/// `paddock serve` in a mount namespace of its own, which needs no privileges, after these shell commands.
fn contained(folder: &Path, before: &str) -> Command {
    let environment: Vec<_> = paddock(folder)
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(format!(
            "{before} && exec {} serve",
            env!("CARGO_BIN_EXE_paddock")
        ))
        .current_dir(folder)
        .env_clear()
        .envs(environment)
        .env("PADDOCK__SESSION__SQLITE_PATH", "small/paddock.db")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn a_store_that_cannot_be_written_refuses_the_start_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("small")).unwrap();
    let served = Served::of(contained(folder.path(), "true"), folder);
    served.client().session("alice").await;
    served.signal(Signal::INT);
    let (_, _, folder) = served.ended();
    let read_only = "mount --bind small small && mount -o remount,bind,ro small";
    let output = contained(folder.path(), read_only).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    let last = told.lines().last().unwrap();
    assert!(
        last.contains("session.storage") && last.contains("read-only"),
        "{told}"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_new_turns_by_name_and_is_forgotten_when_there_is_room() {
    // A file system of its own, small enough to fill.
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("small")).unwrap();
    let command = contained(folder.path(), "mount -t tmpfs -o size=2m none small");
    let served = Served::of(command, folder);
    let client = served.client();
    let id = client.session("alice").await;
    client.answer(&id, "before").await;
    let filler = format!(
        "/proc/{}/root{}/small/filler",
        served.pid(),
        served.folder.path().display()
    );
    std::fs::write(&filler, vec![0; 4 * 1024 * 1024]).expect_err("the disk is full");
    let big = "x".repeat(200_000);
    client
        .post("/api/v1/chat", &json!({"session_id": id, "message": big}))
        .await
        .problem(507, "store_full");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(client.answer(&id, "recall").await, "before");
    served.signal(Signal::INT);
    served.ended();
}
