//! Forks, with the real CLI.

use serde_json::{Value, json};

use crate::support::AppBuilder;

#[tokio::test]
async fn a_fork_goes_on_with_the_conversation_and_the_original_is_untouched() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 7.").await;
    let before = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    let forked = client
        .post(
            &format!("/api/v1/sessions/{id}/fork"),
            &json!({"title": "Another way"}),
        )
        .await
        .expect(201);
    let fork = forked.text("session_id");
    assert_ne!(fork, id);
    assert_eq!(forked.header("location"), format!("/api/v1/sessions/{fork}"));
    assert_eq!(
        client
            .answer(&fork, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 7."
    );
    client.answer(&fork, "Remember the number 8.").await;
    let after = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    assert_eq!(after, before);
    assert_eq!(
        client
            .answer(&id, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 7."
    );
    // The fork stands on its own: without its original, and after a restart.
    client.delete(&format!("/api/v1/sessions/{id}")).await.expect(204);
    let folder = app.stop();
    std::fs::remove_dir_all(folder.path().join("homes")).unwrap();
    let app = AppBuilder::real().in_folder_of(&folder).start();
    assert_eq!(
        app.client()
            .answer(&fork, "Which number did I ask you to remember?")
            .await,
        "You asked me to remember the number 8."
    );
}

#[tokio::test]
async fn a_fork_goes_on_from_any_earlier_message() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    client.answer(&id, "Remember the number 1.").await;
    client
        .answer(&id, "% say looking\n% bash echo hi\n% say found")
        .await;
    client.answer(&id, "Remember the number 2.").await;
    let messages = client
        .get(&format!("/api/v1/sessions/{id}/messages"))
        .await
        .expect(200)
        .body;
    let messages = messages["data"].as_array().unwrap();
    // Prompt, answer; prompt, text, tool call, result, text; prompt, answer.
    assert_eq!(messages.len(), 9, "{messages:?}");
    for (at, message) in messages.iter().enumerate() {
        let body = json!({"message_id": message["id"]});
        let forked = client
            .post(&format!("/api/v1/sessions/{id}/fork"), &body)
            .await
            .expect(201);
        let fork = forked.text("session_id");
        let copied = client
            .get(&format!("/api/v1/sessions/{fork}/messages"))
            .await
            .expect(200)
            .body;
        assert_eq!(copied["data"].as_array().unwrap().len(), at + 1);
        let remembered = if at >= 7 { 2 } else { 1 };
        assert_eq!(
            client
                .answer(&fork, "Which number did I ask you to remember?")
                .await,
            format!("You asked me to remember the number {remembered}."),
            "after {message}"
        );
        client
            .delete(&format!("/api/v1/sessions/{fork}"))
            .await
            .expect(204);
    }
    client
        .post(&format!("/api/v1/sessions/{id}/fork"), &json!({"message_id": 7}))
        .await
        .problem(404, "message_not_found");
}

#[tokio::test]
async fn a_fork_has_the_workspace_or_a_copy_of_it() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "subdir": "one", "metadata": {"k": "v"}}))
        .await;
    client.answer(&id, "% write a.txt hello\n% say done").await;
    let fork = |body: Value| {
        let path = format!("/api/v1/sessions/{id}/fork");
        let client = &client;
        async move { client.post(&path, &body).await }
    };
    let same = fork(json!({})).await.expect(201);
    assert_eq!(
        (same.text("subdir").as_str(), &same.body["metadata"]),
        ("one", &json!({"k": "v"}))
    );
    let copy = fork(json!({"subdir": "two", "copy_workspace": true}))
        .await
        .expect(201);
    let text = client
        .answer(&copy.text("session_id"), "% bash cat a.txt; pwd\n% results")
        .await;
    assert!(text.contains("hello") && text.contains("alice/two"), "{text}");
    assert_eq!(
        std::fs::read_to_string(app.workspace("alice").join("two/a.txt")).unwrap(),
        "hello\n"
    );
    fork(json!({"subdir": "two", "copy_workspace": true}))
        .await
        .problem(409, "workspace_not_empty");
    fork(json!({"copy_workspace": true}))
        .await
        .problem(422, "validation_failed");
}

#[tokio::test]
async fn a_workspace_that_is_larger_than_may_be_copied_is_refused_by_name() {
    let app = AppBuilder::fake()
        .with(|settings| settings.limits.workspace_copy_max_bytes = 4)
        .start();
    let client = app.client();
    let id = client
        .session_with(&json!({"user_id": "alice", "subdir": "one"}))
        .await;
    std::fs::write(app.workspace("alice").join("one/a.txt"), "hello").unwrap();
    client
        .post(
            &format!("/api/v1/sessions/{id}/fork"),
            &json!({"subdir": "two", "copy_workspace": true}),
        )
        .await
        .problem(409, "workspace_too_large");
}
