//! Exchanges as they were, for people to read and for the next run to be held against: what differs from run to run is masked.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Map, Value};

use crate::support::{Answer, Client, read};

/// The headers that other systems' clients look at.
const HEADERS: [&str; 7] = [
    "content-type",
    "cache-control",
    "x-accel-buffering",
    "allow",
    "www-authenticate",
    "x-should-retry",
    "retry-after",
];
/// What is another thing each time, whatever it is.
const VARIABLE: [&str; 22] = [
    "uuid",
    "usage",
    "modelUsage",
    "duration_ms",
    "duration_api_ms",
    "ttft_ms",
    "total_cost_usd",
    "cost_usd",
    "uptime_seconds",
    "signature",
    "requestId",
    "created",
    "chars",
    "claude_code_version",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "diagnostics",
    "request_id",
    "message_id",
    "context_management",
];

/// Writes down what a client does.
pub(super) struct Recorder {
    client: Client,
    /// The folder of all workspaces.
    folder: String,
    text: String,
}

impl Recorder {
    pub(super) fn new(client: Client, folder: &std::path::Path) -> Self {
        Self {
            client,
            folder: folder.display().to_string(),
            text: String::new(),
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], Some(&body.to_string())).await
    }

    pub(super) async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        writeln!(self.text, "### {method} {}", self.masked_text(path)).unwrap();
        let mut request = self.client.request(method, path);
        for (name, value) in headers {
            writeln!(self.text, "{name}: {value}").unwrap();
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            let shown = serde_json::from_str(body).map_or_else(|_| body.to_owned(), |json| self.json(json));
            writeln!(self.text, "{shown}").unwrap();
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        let answer = read(request.send().await.unwrap()).await;
        writeln!(self.text, "--> {}", answer.status.as_u16()).unwrap();
        for name in HEADERS {
            if answer.headers.contains_key(name) {
                writeln!(self.text, "{name}: {}", answer.header(name)).unwrap();
            }
        }
        let shown = self.body(&answer.raw);
        writeln!(self.text, "{shown}").unwrap();
        answer
    }

    /// What goes over another kind of connection.
    pub(super) fn note(&mut self, direction: &str, json: &Value) {
        let shown = self.json(json.clone());
        writeln!(self.text, "{direction} {shown}").unwrap();
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn body(&self, raw: &str) -> String {
        if let Ok(json) = serde_json::from_str::<Value>(raw) {
            return self.json(json) + "\n";
        }
        let line = |line: &str| {
            let (start, json) = line
                .strip_prefix("data: ")
                .map_or(("", line), |json| ("data: ", json));
            match serde_json::from_str::<Value>(json) {
                Ok(json) if json.is_object() => format!("{start}{}\n", self.json(json)),
                _ => format!("{}\n", self.masked_text(line)),
            }
        };
        raw.lines().map(line).collect()
    }

    fn json(&self, json: Value) -> String {
        self.masked(json).to_string()
    }

    fn masked(&self, value: Value) -> Value {
        match value {
            Value::Object(fields) if is_of_the_machine(&fields) => {
                // The rest is the machine's, and the CLI's version's.
                let kept = ["type", "subtype", "session_id"];
                let kept = fields
                    .into_iter()
                    .filter(|(name, _)| kept.contains(&name.as_str()));
                let mut kept: Map<String, Value> =
                    kept.map(|(name, value)| (name, self.masked(value))).collect();
                kept.insert("…".to_owned(), "…".into());
                Value::Object(kept)
            }
            Value::Object(fields) if fields.contains_key("session_id") && is_the_clis(&fields) => {
                // What later versions of it say besides is theirs.
                let kept = [
                    "type",
                    "subtype",
                    "session_id",
                    "message",
                    "parent_tool_use_id",
                    "is_error",
                    "num_turns",
                    "result",
                ];
                let kept = fields
                    .into_iter()
                    .filter(|(name, _)| kept.contains(&name.as_str()));
                kept.map(|(name, value)| (name, self.masked(value))).collect()
            }
            Value::Object(fields) => {
                let masked = fields.into_iter().map(|(name, value)| {
                    // A place in a log is a number.
                    let is_place = name == "id" && value.is_number();
                    let is_variable = is_place || (VARIABLE.contains(&name.as_str()) && !value.is_null());
                    let value = if is_variable {
                        "…".into()
                    } else {
                        self.masked(value)
                    };
                    (name, value)
                });
                masked.collect()
            }
            Value::Array(values) => values.into_iter().map(|value| self.masked(value)).collect(),
            Value::String(text) => self.masked_text(&text).into(),
            other => other,
        }
    }

    fn masked_text(&self, text: &str) -> String {
        let text = text.replace(&self.folder, "WORKSPACES");
        if text.parse::<uuid::Uuid>().is_ok() {
            return "UUID".to_owned();
        }
        let is_time = text.len() >= 19
            && text.as_bytes()[4] == b'-'
            && (text.parse::<chrono::DateTime<chrono::Utc>>().is_ok()
                || text.replace(' ', "T").parse::<chrono::NaiveDateTime>().is_ok());
        if is_time {
            return "TIME".to_owned();
        }
        let mut masked = String::new();
        let mut rest = text.as_str();
        // Ids of ours: three letters, an underscore, 32 hexadecimal digits.
        while let Some(at) = rest.find('_') {
            let (before, after) = rest.split_at(at + 1);
            masked.push_str(before);
            let id = after.split_at_checked(32);
            let id = id.filter(|(id, _)| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            match id {
                Some((_, behind)) => {
                    masked.push('…');
                    rest = behind;
                }
                None => rest = after,
            }
        }
        masked.push_str(rest);
        for made_up in ["chatcmpl-", "msg_scripted_"] {
            if let Some(at) = masked.find(made_up) {
                masked.truncate(at + made_up.len());
                masked.push('…');
            }
        }
        masked
    }
}

/// Whether it is what the CLI says of itself and of where it runs.
fn is_of_the_machine(fields: &Map<String, Value>) -> bool {
    fields.get("type").is_some_and(|kind| kind == "system") && !fields.contains_key("source")
}

/// Whether it is a message of the CLI's.
fn is_the_clis(fields: &Map<String, Value>) -> bool {
    let kind = fields.get("type").and_then(Value::as_str);
    matches!(kind, Some("assistant" | "user" | "result"))
}
