//! What the CLI writes down lives in the store: a conversation goes on from there alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::AppBuilder;

pub(crate) async fn database(folder: &Path) -> sqlx::SqlitePool {
    let url = format!("sqlite://{}", folder.join("paddock.db").display());
    sqlx::SqlitePool::connect(&url).await.unwrap()
}

/// The transcripts in all private homes: the lines of each file, by its path below `projects`.
fn on_disk(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    fn collect(at: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.to_str().unwrap().contains("/.claude/projects/") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&folder.join("homes"), &mut files);
    files
        .into_iter()
        .filter_map(|path| {
            let (_, below) = path.to_str()?.split_once("/.claude/projects/")?;
            let text = std::fs::read_to_string(&path).unwrap();
            // Beside a sub-agent's lines is a file of what it is: one object.
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            Some((below.to_owned(), lines.collect()))
        })
        .collect()
}

async fn in_the_store(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT path, body FROM transcript_entries ORDER BY session_id, path, position")
            .fetch_all(&database(folder).await)
            .await
            .unwrap();
    let mut files: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (path, body) in rows {
        let mut entry: Value = serde_json::from_str(&body).unwrap();
        if entry["type"] == "agent_metadata" {
            entry.as_object_mut().unwrap().remove("type");
            files.insert(path.replace(".jsonl", ".meta.json"), vec![entry]);
            continue;
        }
        files.entry(path).or_default().push(entry);
    }
    files
}

/// Whether what is stored of a file is what the CLI wrote, in its order, and lacks nothing of the conversation. The CLI
/// also writes lines for its own use alone, which it does not tell of; they have no `uuid`.
#[track_caller]
fn holds_the_conversation(path: &str, stored: &[Value], written: &[Value]) {
    let mut rest = stored.iter().peekable();
    for line in written {
        if rest.peek() == Some(&line) {
            rest.next();
        } else {
            assert!(line.get("uuid").is_none(), "{path} lacks {line}");
        }
    }
    assert_eq!(
        rest.next(),
        None,
        "{path}: the store has what was not written, or in another order"
    );
}

#[tokio::test]
async fn every_line_of_the_conversation_and_its_sub_agents_is_in_the_store_and_goes_back_as_it_was() {
    let with_agents = |builder: AppBuilder| {
        builder.with(|settings| {
            settings.defaults.allowed_tools.push("Task".to_owned());
            settings.defaults.allowed_tools.push("Agent".to_owned());
        })
    };
    let app = with_agents(AppBuilder::real()).start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 42.").await;
    let task = r#"{"description": "look", "prompt": "% say I looked.", "subagent_type": "general-purpose"}"#;
    client
        .answer(&id, &format!("% tool Agent {task}\n% say The sub-agent looked."))
        .await;
    let folder = app.stop();
    let written = on_disk(folder.path());
    assert!(
        written.keys().any(|path| path.contains("agent-")),
        "there is a sub-agent's file: {:?}",
        written.keys()
    );
    let stored = in_the_store(folder.path()).await;
    assert_eq!(
        stored.keys().collect::<Vec<_>>(),
        written.keys().collect::<Vec<_>>()
    );
    for (path, lines) in &written {
        holds_the_conversation(path, &stored[path], lines);
    }

    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let app = with_agents(AppBuilder::real()).in_folder_of(&folder).start();
    let answer = app
        .client()
        .answer(&id, "Which number did I ask you to remember?")
        .await;
    assert!(answer.contains("42"), "{answer}");
    let folder = app.stop();
    let given_back = on_disk(folder.path());
    let stored_again = in_the_store(folder.path()).await;
    for (path, lines) in &stored {
        assert_eq!(
            &given_back[path][..lines.len()],
            lines,
            "{path} came back as it was, and went on"
        );
        holds_the_conversation(path, &stored_again[path], &given_back[path]);
    }
}

#[tokio::test]
async fn a_conversation_goes_on_from_the_store_alone() {
    for builder in [AppBuilder::real(), AppBuilder::real().in_postgres()] {
        let builder = builder.with(|settings| settings.api.drain_timeout = Duration::from_secs(5));
        let url = builder.database_url();
        let app = builder.start();
        let client = app.client();
        let id = client.session("alice").await;
        client.answer(&id, "Remember the number 42.").await;
        client.answer(&id, "% bash echo from a tool").await;
        let folder = app.stop();
        // Another machine has the store and the workspace, and nothing else.
        std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
        let builder = AppBuilder::real().in_folder_of(&folder);
        let app = match url {
            Some(url) => builder.on_database(&url),
            None => builder,
        }
        .start();
        let client = app.client();
        let answer = client
            .answer(&id, "Which number did I ask you to remember?")
            .await;
        assert!(answer.contains("42"), "{answer}");
        let session = client
            .get(&format!("/api/v1/sessions/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(session["message_count"], 3);
    }
}

#[tokio::test]
async fn a_conversation_of_which_nothing_is_kept_is_lost_by_name() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 42.").await;
    let folder = app.stop();
    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let database = database(folder.path()).await;
    sqlx::query("DELETE FROM transcript_entries")
        .execute(&database)
        .await
        .unwrap();
    database.close().await;
    let app = AppBuilder::real().in_folder_of(&folder).start();
    app.client()
        .ask(&id, "Which number did I ask you to remember?")
        .await
        .problem(409, "conversation_lost");
}

#[tokio::test]
async fn a_damaged_entry_leaves_the_rest_of_the_conversation() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 42.").await;
    let folder = app.stop();
    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let database = database(folder.path()).await;
    let torn =
        sqlx::query("UPDATE transcript_entries SET body = '{\"torn' WHERE body LIKE '%queue-operation%'")
            .execute(&database)
            .await
            .unwrap();
    assert!(torn.rows_affected() > 0);
    database.close().await;
    let app = AppBuilder::real().in_folder_of(&folder).start();
    let answer = app
        .client()
        .answer(&id, "Which number did I ask you to remember?")
        .await;
    assert!(answer.contains("42"), "{answer}");
}
