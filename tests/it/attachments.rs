//! Images and documents that go with a prompt, with the real CLI.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::AppBuilder;

/// A PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgAAACAAAB4iG8MwAAAABJRU5ErkJggg==";

fn blocks(request: &Value) -> Vec<Value> {
    let messages = request["body"]["messages"].as_array().unwrap();
    messages
        .iter()
        .filter_map(|message| message["content"].as_array())
        .flatten()
        .cloned()
        .collect()
}

#[tokio::test]
async fn images_and_documents_reach_the_model_sent_along_or_from_the_workspace() {
    let app = AppBuilder::real().start();
    let client = app.client();
    let id = client.session("alice").await;
    let workspace = app.workspace("alice");
    std::fs::write(workspace.join("pixel.png"), STANDARD.decode(PIXEL).unwrap()).unwrap();
    std::fs::write(workspace.join("notes.md"), "The answer is FORTY-TWO.").unwrap();
    let body = json!({"session_id": id, "message": "% say seen", "attachments": [
        {"name": "shot.png", "media_type": "image/png", "data": PIXEL},
        {"media_type": "application/pdf", "data": STANDARD.encode("%PDF-1.4 x")},
        {"media_type": "text/plain", "data": STANDARD.encode("a plain text")},
        {"path": "pixel.png"},
        {"path": "notes.md"},
    ]});
    let answer = client.post("/api/v1/chat", &body).await.expect(200);
    assert_eq!(answer.text("text"), "seen");
    let asked = blocks(&app.model_requests().await[0]);
    let of_type = |kind: &str| asked.iter().filter(|block| block["type"] == kind).count();
    assert_eq!((of_type("image"), of_type("document")), (2, 3));
    assert!(json!(asked).to_string().contains("FORTY-TWO"));

    let turn = format!("/api/v1/sessions/{id}/turns/{}", answer.text("turn_id"));
    assert_eq!(client.get(&turn).await.expect(200).text("message"), "% say seen");
}

#[tokio::test]
async fn an_attachment_that_cannot_be_sent_is_told_by_name_and_nothing_is_run() {
    let app = AppBuilder::fake()
        .with(|settings| settings.limits.attachment_max_bytes = 10)
        .start();
    let client = app.client();
    let id = client.session("alice").await;
    let workspace = app.workspace("alice");
    std::fs::write(workspace.join("long.txt"), "more than ten bytes").unwrap();
    std::fs::write(workspace.join("binary"), [0xff, 0xfe]).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", workspace.join("out")).unwrap();
    for attachment in [
        json!({"path": "long.txt"}),
        json!({"path": "binary"}),
        json!({"path": "out"}),
        json!({"path": "none"}),
        json!({"media_type": "text/plain", "data": STANDARD.encode("more than ten bytes")}),
    ] {
        let body = json!({"message": "hello", "attachments": [attachment]});
        let refused = client
            .post(&format!("/api/v1/sessions/{id}/messages"), &body)
            .await
            .problem(422, "validation_failed");
        assert_eq!(
            refused.body["errors"][0]["field"], "attachments[0]",
            "{}",
            refused.body
        );
    }
    let session = client
        .get(&format!("/api/v1/sessions/{id}"))
        .await
        .expect(200)
        .body;
    assert_eq!(session["message_count"], 0);
}
