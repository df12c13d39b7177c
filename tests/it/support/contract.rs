//! Holds answers against the OpenAPI document.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use super::Answer;

/// The document, as it is served.
pub(crate) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        serde_json::to_value(paddock::startup::openapi(&paddock::settings::Settings::default())).unwrap()
    })
}

/// Fails unless some operation of the path declares the answer's status, and the answer is as declared there. Paths
/// that no operation has answer with a problem.
#[track_caller]
pub(crate) fn check(path: &str, answer: &Answer) {
    assert!(
        !answer.header("x-request-id").is_empty(),
        "{path}: no X-Request-ID"
    );
    let content_type = answer.header("content-type");
    let media = content_type.split(';').next().unwrap_or_default();
    if answer.status.is_client_error() || answer.status.is_server_error() {
        if media == "application/problem+json" {
            assert_eq!(
                answer.body["request_id"],
                answer.header("x-request-id"),
                "{path}: {}",
                answer.body
            );
            assert_eq!(answer.body["status"], answer.status.as_u16());
            validate(
                &serde_json::json!({"$ref": "#/components/schemas/Problem"}),
                path,
                answer,
            );
        } else {
            assert!(
                // Dialects say what is wrong in their own words.
                path.starts_with("/health") || path.starts_with("/compat/") || !path.starts_with("/api/v1"),
                "{path}: an error that is no problem: {content_type} {}",
                answer.body
            );
        }
    }
    let Some(item) = item(path) else {
        assert!(
            answer.status == 404 || path.starts_with("/docs"),
            "{path} is not in the document"
        );
        return;
    };
    if answer.status == 405 {
        return;
    }
    let status = answer.status.as_u16().to_string();
    let declared: Vec<&Value> = item
        .as_object()
        .unwrap()
        .values()
        .filter_map(|operation| operation["responses"].get(&status))
        .collect();
    assert!(
        !declared.is_empty(),
        "{path}: status {status} is not declared: {}",
        answer.body
    );
    let contents: Vec<&Value> = declared
        .iter()
        .filter_map(|response| response["content"].get(media))
        .collect();
    if answer.body.is_null() {
        return;
    }
    assert!(
        !contents.is_empty(),
        "{path}: {status} is not declared with {media}"
    );
    let valid = contents
        .iter()
        .any(|content| errors(&content["schema"], &answer.body).is_empty());
    assert!(
        valid,
        "{path}: {status}: {:?}: {}",
        errors(&contents[0]["schema"], &answer.body),
        answer.body
    );
}

fn item(path: &str) -> Option<&'static Value> {
    let asked: Vec<_> = path.split('/').collect();
    let matches = |template: &str| {
        let parts: Vec<_> = template.split('/').collect();
        parts.len() == asked.len()
            && parts
                .iter()
                .zip(&asked)
                .all(|(part, asked)| part == asked || (part.starts_with('{') && !asked.is_empty()))
    };
    document()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(template, _)| matches(template))
        .map(|(_, item)| item)
}

#[track_caller]
fn validate(schema: &Value, path: &str, answer: &Answer) {
    let wrong = errors(schema, &answer.body);
    assert!(wrong.is_empty(), "{path}: {wrong:?}: {}", answer.body);
}

/// What is wrong with a value, by a schema of the document.
pub(crate) fn errors(schema: &Value, value: &Value) -> Vec<String> {
    // Made once for each schema: that takes far longer than its use.
    static VALIDATORS: OnceLock<Mutex<HashMap<String, Arc<jsonschema::Validator>>>> = OnceLock::new();
    let validator = {
        let mut validators = VALIDATORS.get_or_init(Mutex::default).lock().unwrap();
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let mut whole = schema.clone();
            whole["components"] = document()["components"].clone();
            Arc::new(jsonschema::draft202012::new(&whole).unwrap())
        });
        Arc::clone(validator)
    };
    validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}
