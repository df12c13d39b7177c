//! Agents as processes: nothing of them outlives them, they are bounded, and they are counted.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{AppBuilder, Served, joined, paddock, processes_of, real_cli, until};

fn names_of(folder: &Path) -> Vec<(i32, String)> {
    processes_of(folder)
        .into_iter()
        .filter_map(|pid| {
            Some((
                pid,
                std::fs::read_to_string(format!("/proc/{pid}/comm"))
                    .ok()?
                    .trim()
                    .to_owned(),
            ))
        })
        .collect()
}

fn runs(folder: &Path, name: &str) -> bool {
    names_of(folder).iter().any(|(_, running)| running == name)
}

/// The server, with the real CLI.
fn real(command: &mut Command) {
    command.env("PADDOCK__AGENT__CLI_PATH", real_cli());
}

#[tokio::test]
async fn nothing_of_an_agent_outlives_a_server_that_is_killed() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut command = paddock(folder.path());
    real(&mut command);
    let served = Served::of(
        {
            command.arg("serve");
            command
        },
        std::sync::Arc::clone(&folder),
    );
    let client = served.client();
    // One in the middle of a tool call that has left its group and its session behind, and one that is idle.
    let idle = client.session("alice").await;
    client.answer(&idle, "hello").await;
    let busy = client.session("bob").await;
    let prompt = "% bash setsid -f sleep 1001; sleep 1000";
    let stream = client.stream(&busy, prompt).await;
    until("the tool runs", async || {
        let names = names_of(folder.path());
        (names.iter().filter(|(_, name)| name == "sleep").count() == 2).then_some(())
    })
    .await;
    assert!(runs(folder.path(), "claude"));
    served.signal(Signal::KILL);
    served.ended();
    drop(stream);
    until("nothing is left", async || {
        processes_of(folder.path()).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_guardian_is_killed_ends_and_its_turn_says_so() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 7.").await;
    let mut stream = client.stream(&id, "% words 500 every 50ms").await;
    stream.until("text_delta").await;
    let guardian = names_of(app.folder.path())
        .into_iter()
        .find(|(_, name)| name == "paddock")
        .unwrap()
        .0;
    kill_process(Pid::from_raw(guardian).unwrap(), Signal::KILL).unwrap();
    assert_eq!(stream.rest().await.pop().unwrap()["code"], "agent_crashed");
    assert_eq!(
        client
            .answer(&id, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 7."
    );
}

#[tokio::test]
async fn what_a_tool_has_left_in_a_session_of_its_own_ends_with_the_agent() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client
        .answer(&id, "% bash setsid -f sleep 1000 >/dev/null 2>&1\n% say left")
        .await;
    assert!(runs(app.folder.path(), "sleep"));
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    until("it has ended", async || {
        processes_of(app.folder.path()).is_empty().then_some(())
    })
    .await;
    assert!(
        !app.folder
            .path()
            .join("homes")
            .read_dir()
            .unwrap()
            .any(|tenant| { tenant.unwrap().path().read_dir().unwrap().next().is_some() }),
        "its private home is removed"
    );
}

#[tokio::test]
async fn a_session_is_warm_before_its_first_prompt_and_takes_no_place_of_one_in_use() {
    let app = AppBuilder::fake()
        .with(|settings| settings.agent.max_live = 1)
        .start();
    let client = app.client();
    let live = async |id: &str| {
        client
            .get(&format!("/api/v1/sessions/{id}"))
            .await
            .expect(200)
            .body["agent_live"]
            == true
    };
    let first = client.session("alice").await;
    until("it is warm", async || live(&first).await.then_some(())).await;
    client.answer(&first, "hello").await;
    let second = client.session("bob").await;
    assert_eq!(
        client.answer(&first, "pid").await,
        client.answer(&first, "pid").await
    );
    assert!(
        live(&first).await && !live(&second).await,
        "it was used a moment ago"
    );
    assert_eq!(
        client.answer(&second, "hello").await,
        "You said: hello",
        "a prompt makes room"
    );
    assert!(!live(&first).await);
}

fn figure(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .trim()
        .parse()
        .unwrap()
}

async fn metrics(client: &crate::support::Client) -> String {
    let response = client
        .request(reqwest::Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

#[tokio::test]
async fn idle_agents_make_way_when_memory_presses_and_busy_ones_do_not() {
    let app = AppBuilder::real()
        .with(|settings| {
            settings.agent.memory_max_bytes = 1;
            settings.agent.memory_interval = Duration::from_millis(100);
        })
        .start();
    let client = app.client();
    let idle = client.session("alice").await;
    client.answer(&idle, "Remember the number 7.").await;
    let mut stream = client.stream(&idle, "% words 20 every 50ms").await;
    stream.until("text_delta").await;
    until("it was looked at", async || {
        (figure(&metrics(&client).await, "paddock_agent_memory_bytes ") > 50_000_000.0).then_some(())
    })
    .await;
    assert_eq!(
        stream.rest().await.pop().unwrap()["type"],
        "done",
        "a busy one goes on"
    );
    until("the idle one is ended", async || {
        (client.get("/health").await.expect(200).body["live_agents"] == 0).then_some(())
    })
    .await;
    assert!(
        figure(
            &metrics(&client).await,
            "paddock_agent_evictions_total{reason=\"memory\"}"
        ) >= 1.0
    );
    assert_eq!(
        client
            .answer(&idle, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 7."
    );
}

#[tokio::test]
async fn agents_and_turns_are_counted_and_measured() {
    let app = AppBuilder::fake().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "hello").await;
    client.ask(&id, "abort").await.problem(502, "agent_crashed");
    client.answer(&id, "hello").await;
    let text = metrics(&client).await;
    for (name, value) in [
        ("paddock_agents{state=\"idle\"}", 1.0),
        ("paddock_agents{state=\"busy\"}", 0.0),
        ("paddock_turns_waiting{for=\"agent\"}", 0.0),
        ("paddock_turn_seconds_count{status=\"completed\"}", 2.0),
        ("paddock_turn_seconds_count{status=\"failed\"}", 1.0),
        ("paddock_turn_first_delta_seconds_count", 3.0),
        ("paddock_agent_crashes_total", 1.0),
        ("paddock_agent_start_seconds_count{purpose=\"ahead\"}", 1.0),
        ("paddock_agent_start_seconds_count{purpose=\"turn\"}", 1.0),
    ] {
        assert!(
            (figure(&text, name) - value).abs() < 0.5,
            "{name} is not {value} in {text}"
        );
    }
}

#[tokio::test]
async fn two_hundred_sessions_at_once_lose_no_event_and_keep_their_order() {
    let app = AppBuilder::fake()
        .with(|settings| {
            settings.agent.max_live = 50;
            settings.agent.queue_timeout = crate::support::PATIENCE;
            // The disk may be busy with what other tests write.
            settings.session.store_patience = crate::support::PATIENCE;
        })
        .start();
    let client = app.client();
    let expected: Vec<_> = (1..=20).map(|word| format!("word{word}")).collect();
    let expected = expected.join(" ");
    let turns = (0..200).map(|number| {
        let (client, expected) = (client.clone(), expected.clone());
        tokio::spawn(async move {
            let id = client.session(&format!("user-{number}")).await;
            let mut last = 0;
            for _ in 0..2 {
                let events = client.stream(&id, "words 20 every 1ms").await.rest().await;
                assert_eq!(joined(&events), expected);
                assert_eq!(events.last().unwrap()["type"], "done");
                for event in &events {
                    let id = event["id"].as_u64().unwrap();
                    assert!(id > last, "{id} after {last}");
                    last = id;
                }
            }
        })
    });
    for turn in futures_util::future::join_all(turns).await {
        turn.unwrap();
    }
    assert!(figure(&metrics(&client).await, "paddock_agents{state=\"idle\"}") <= 50.0);
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn children(pid: u32) -> Vec<u32> {
    paddock::guardian::tree::ProcessTree::now().descendants(pid)
}

#[tokio::test]
async fn five_hundred_sessions_used_interrupted_crashed_and_closed_leave_nothing() {
    const SESSIONS: usize = 500;
    const AT_ONCE: usize = 25;
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let mut command = paddock(folder.path());
    command.arg("serve").env("PADDOCK__AGENT__STOP_GRACE", "1s");
    let served = Served::of(command, std::sync::Arc::clone(&folder));
    let client = served.client();
    client.answer(&client.session("warm-up").await, "hello").await;
    let before = descriptors(served.pid());
    let work = futures_util::stream::iter((0..SESSIONS).map(|number| {
        let client = client.clone();
        async move {
            let id = client.session(&format!("user-{}", number % 7)).await;
            let path = |rest: &str| format!("/api/v1/sessions/{id}{rest}");
            let submit = async |message: &str| {
                let body = json!({"message": message, "on_busy": "queue"});
                client
                    .post(&path("/turns"), &body)
                    .await
                    .expect(202)
                    .text("turn_id")
            };
            match number % 6 {
                0 => drop(client.answer(&id, "hello").await),
                1 => {
                    let mut stream = client.stream(&id, "never-end").await;
                    stream.until("turn_started").await;
                    client.post(&path("/interrupt"), &json!({})).await.expect(200);
                    stream.rest().await;
                }
                2 => drop(client.ask(&id, "exit 3").await.problem(502, "agent_crashed")),
                3 => {
                    // The client goes away in the middle.
                    let mut stream = client.stream(&id, "words 1000 every 1ms").await;
                    stream.until("text_delta").await;
                }
                4 => {
                    submit("never-end").await;
                    submit("hello").await;
                }
                _ => drop(client.answer(&id, "grandchild left").await),
            }
            client.delete(&path("")).await.expect(204);
        }
    }));
    work.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let warm: Value = client.get("/api/v1/sessions").await.expect(200).body;
    assert_eq!(warm["data"].as_array().unwrap().len(), 1);
    client
        .delete(&format!(
            "/api/v1/sessions/{}",
            warm["data"][0]["session_id"].as_str().unwrap()
        ))
        .await
        .expect(204);
    until("no child is left, and few more descriptors", async || {
        let quiet = children(served.pid()).is_empty() && descriptors(served.pid()) <= before + 16;
        quiet.then_some(())
    })
    .await;
    assert_eq!(processes_of(&folder.path().join("data")), [] as [i32; 0]);
    for tenant in folder.path().join("data/homes").read_dir().unwrap() {
        assert_eq!(
            tenant.unwrap().path().read_dir().unwrap().count(),
            0,
            "no private home is left"
        );
    }
    served.signal(Signal::TERM);
    let (code, ..) = served.ended();
    assert_eq!(code, Some(0));
}
