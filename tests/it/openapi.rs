//! The OpenAPI document: reviewed as a whole, and complete for its readers.

use serde_json::Value;

use crate::support::{AppBuilder, document};

#[test]
fn the_document_is_the_reviewed_one() {
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(document()).unwrap());
}

#[tokio::test]
async fn the_document_is_served_as_it_is_printed() {
    let app = AppBuilder::fake().start();
    assert_eq!(
        &app.client().get("/openapi.json").await.expect(200).body,
        document()
    );
    assert_eq!(document()["openapi"], "3.1.0");
}

#[test]
fn every_operation_says_what_it_does_who_may_and_what_it_answers() {
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            for field in ["operationId", "summary", "description"] {
                assert!(
                    operation[field].as_str().is_some_and(|text| !text.is_empty()),
                    "{at} has no {field}"
                );
            }
            assert!(
                operation["description"]
                    .as_str()
                    .unwrap()
                    .contains("**Permissions**"),
                "{at}"
            );
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{at}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    "{at} {status}"
                );
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document().pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                fields.values().for_each(walk);
            }
            Value::Array(values) => values.iter().for_each(walk),
            _ => {}
        }
    }
    walk(document());
}

/// Whether a field, or what it may be, has a description.
fn is_described(field: &Value) -> bool {
    field.get("description").is_some()
        || field["oneOf"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(is_described))
}

#[test]
fn every_field_of_a_schema_says_what_it_is() {
    let undocumented: Vec<_> = document()["components"]["schemas"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, schema)| {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields
                .filter(|(_, field)| !is_described(field))
                .map(move |(field, _)| format!("{name}.{field}"))
        })
        .collect();
    assert!(undocumented.is_empty(), "{undocumented:?}");
}
