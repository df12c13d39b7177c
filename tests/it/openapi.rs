//! The OpenAPI document: reviewed as a whole, and complete for its readers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::support::{AppBuilder, document};

/// Operations that answer nothing but success, or a failure of their own: they take neither a credential, nor a parameter, nor
/// a body, so there is nothing for which a caller could be refused.
const WITHOUT_ERRORS: [&str; 9] = [
    "claude_agent_http_health",
    "claude_agent_http_root",
    "codeagents_proxy_health",
    "get_health",
    "get_liveness",
    "get_openapi",
    "get_readiness",
    "get_root",
    "mcp_coding_agents_health",
];

/// Each operation, with its method and path.
fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = document()["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

/// What a reference leads to, or the schema itself.
fn resolved(mut schema: &'static Value) -> &'static Value {
    while let Some(reference) = schema["$ref"].as_str() {
        schema = document().pointer(reference.trim_start_matches('#')).unwrap();
    }
    schema
}

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

/// A value as Swagger UI shows it: by the schema's example, else of its parts' examples. `missing` gets the path of each part that
/// has none and must be there.
fn sample(schema: &'static Value, at: &str, missing: &mut Vec<String>) -> Value {
    assert!(
        at.len() < 2000,
        "a schema without an example leads to itself: {at}"
    );
    if let Some(example) = schema.get("example").or_else(|| schema["examples"].get(0)) {
        return example.clone();
    }
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return sample(resolved(schema), &format!("{at} > {name}"), missing);
    }
    let fixed = [schema.get("const"), schema["enum"].get(0), schema.get("default")];
    if let Some(value) = fixed.into_iter().flatten().next() {
        return value.clone();
    }
    for union in ["oneOf", "anyOf"] {
        if let Some(kinds) = schema[union].as_array() {
            // Every kind needs examples; the first that is more than null is shown.
            let shown = kinds.iter().map(|kind| sample(kind, at, missing));
            return shown.fold(
                Value::Null,
                |first, next| if first.is_null() { next } else { first },
            );
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for part in parts {
            match sample(part, at, missing) {
                Value::Object(fields) => whole.extend(fields),
                other => panic!("{at}: {other} is no object"),
            }
        }
        return whole.into();
    }
    match kind(schema) {
        Some("null") => Value::Null,
        Some("boolean") => true.into(),
        Some("string") if schema["format"] == "date-time" => "2026-11-21T09:30:00Z".into(),
        Some("array") if schema.get("items").is_some() => {
            json!([sample(&schema["items"], &format!("{at}[]"), missing)])
        }
        Some("object") if schema.get("properties").is_some() => sample_object(schema, at, missing),
        _ => {
            missing.push(at.to_owned());
            Value::Null
        }
    }
}

/// The same of an object: all that must be there, and all else that has examples.
fn sample_object(schema: &'static Value, at: &str, missing: &mut Vec<String>) -> Value {
    let must = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let mut shown = Map::new();
    for (name, field) in schema["properties"].as_object().unwrap() {
        let mut missing_here = Vec::new();
        let value = sample(field, &format!("{at}.{name}"), &mut missing_here);
        if must.iter().any(|required| required == name) {
            missing.append(&mut missing_here);
        }
        if missing_here.is_empty() {
            shown.insert(name.clone(), value);
        }
    }
    shown.into()
}

/// The type of a schema, apart from null.
fn kind(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .find(|kind| *kind != "null"),
        kind => kind.as_str(),
    }
}

/// What is wrong with a value, by a schema of the document; formats count.
fn wrong(schema: &Value, value: &Value) -> Vec<String> {
    let mut whole = schema.clone();
    if schema.to_string().contains("$ref") {
        whole["components"] = document()["components"].clone();
    }
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        .should_validate_formats(true)
        .build(&whole)
        .unwrap();
    let errors = validator.iter_errors(value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The contents of a body that are shown as JSON: all but texts.
fn shown(body: &'static Value) -> impl Iterator<Item = (&'static String, &'static Value)> {
    let contents = body["content"].as_object().into_iter().flatten();
    contents.filter(|(media, content)| {
        let is_text = media.starts_with("text/") && *media != "text/event-stream"
            || *media == "application/openmetrics-text";
        assert!(
            !is_text || kind(resolved(&content["schema"])) == Some("string"),
            "{media}"
        );
        !is_text
    })
}

#[test]
fn every_body_and_parameter_has_an_example_that_its_schema_allows() {
    let (mut missing, mut refused) = (Vec::new(), Vec::new());
    let mut look = |at: String, holder: &'static Value| {
        let schema = &holder["schema"];
        let given = holder.get("example").cloned();
        let value = given.unwrap_or_else(|| sample(schema, &at, &mut missing));
        // Lines of JSON are one text, and their schema says so, or one of them, and the schema is a line's.
        for error in wrong(schema, &value) {
            refused.push(format!("{at}: {error}: {value}"));
        }
    };
    let mut bodies = 0;
    for (at, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            look(format!("{at} {}", parameter["name"]), parameter);
        }
        for (media, content) in shown(&operation["requestBody"]) {
            look(format!("{at} {media}"), content);
            bodies += 1;
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            for (media, content) in shown(response).filter(|_| status.starts_with('2')) {
                look(format!("{at} {status} {media}"), content);
                bodies += 1;
            }
        }
    }
    // What comes over WebSockets is in the document too, and problems are what most errors are.
    for name in ["SocketReply", "StreamEvent", "Problem"] {
        let schema = &document()["components"]["schemas"][name];
        let value = sample(schema, name, &mut missing);
        refused.extend(
            wrong(schema, &value)
                .iter()
                .map(|error| format!("{name}: {error}")),
        );
    }
    assert!(missing.is_empty(), "no example: {missing:#?}");
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(bodies > 100, "{bodies}");
}

#[test]
fn every_example_of_a_schema_is_one_of_it() {
    fn walk(schema: &'static Value, at: &str, checked: &mut usize, refused: &mut Vec<String>) {
        let examples = schema["examples"].as_array().into_iter().flatten();
        for example in schema.get("example").into_iter().chain(examples) {
            *checked += 1;
            let errors = wrong(schema, example);
            refused.extend(errors.iter().map(|error| format!("{at}: {error}: {example}")));
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(field, &format!("{at}.{name}"), checked, refused);
        }
        for inner in ["oneOf", "anyOf", "allOf"] {
            for part in schema[inner].as_array().into_iter().flatten() {
                walk(part, at, checked, refused);
            }
        }
        for inner in ["items", "additionalProperties"]
            .iter()
            .filter_map(|inner| schema.get(inner))
        {
            walk(inner, at, checked, refused);
        }
    }
    let (mut checked, mut refused) = (0, Vec::new());
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        walk(schema, name, &mut checked, &mut refused);
    }
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(checked > 300, "{checked}");
}

#[test]
fn every_operation_lists_its_errors() {
    let mut without = BTreeSet::new();
    for (at, operation) in operations() {
        let is_dialect = !operation["tags"][0]
            .as_str()
            .unwrap()
            .starts_with(char::is_uppercase);
        let responses = operation["responses"].as_object().unwrap().iter();
        let refusals: Vec<_> = responses.filter(|(status, _)| status.starts_with('4')).collect();
        let mut listed = 0;
        for (status, response) in &refusals {
            let words = response["description"].as_str().unwrap_or_default();
            assert!(!words.is_empty(), "{at} {status} has no description");
            let contents: Vec<_> = shown(response).collect();
            for (media, content) in &contents {
                let schema = resolved(&content["schema"]);
                assert!(
                    schema["properties"].is_object(),
                    "{at} {status} {media}: no schema of a problem"
                );
            }
            let is_problem = contents.iter().any(|(media, content)| {
                *media == "application/problem+json"
                    && content["schema"]["$ref"] == "#/components/schemas/Problem"
            });
            assert!(is_dialect || is_problem, "{at} {status} is no problem");
            listed += contents.len();
        }
        if listed == 0 {
            let takes_nothing =
                operation.get("parameters").is_none() && operation.get("requestBody").is_none();
            assert!(
                takes_nothing && operation["security"] == json!([{}]),
                "{at} lists no errors"
            );
            without.insert(operation["operationId"].as_str().unwrap());
        }
    }
    assert_eq!(without, BTreeSet::from(WITHOUT_ERRORS));
}
