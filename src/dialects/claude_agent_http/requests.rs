//! What requests must be like, and what is said of one that is not: as pydantic says it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::refusal::{Refusal, wrong};
use crate::api::ApiLimits;
use crate::domain::{SessionId, Subdir, UserId};
use crate::service::TurnOrder;

/// The longest user's name, subfolder, session's id and message, in characters.
const USER_MAX: usize = 64;
const SUBDIR_MAX: usize = 200;
const SESSION_MAX: usize = 200;
const MESSAGE_MAX: usize = 100_000;
/// The least and the longest time limit, in seconds, and the usual one.
const TIMEOUT: (i64, i64) = (1, 600);
const TIMEOUT_USUAL: Duration = Duration::from_mins(2);

/// A session to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ClaudeAgentHttpCreateSession)]
#[expect(dead_code, reason = "says in the document what `read_create` reads")]
pub(super) struct CreateSessionRequest {
    /// The user that it is for.
    #[schema(
        example = "alice",
        pattern = "^[a-zA-Z0-9_-]+$",
        min_length = 1,
        max_length = 64
    )]
    user_id: String,
    /// The folder in the user's tree that it works in.
    #[schema(example = "my-project", max_length = 200)]
    subdir: Option<String>,
    /// Anything of the client's own; comes back as it is.
    #[schema(value_type = BTreeMap<String, Value>, required = false, example = json!({"ticket": "OPS-1234"}))]
    metadata: Option<Map<String, Value>>,
}

/// A message to a session.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ClaudeAgentHttpMessage)]
#[expect(dead_code, reason = "says in the document what `read_chat` reads")]
pub(super) struct ChatRequest {
    /// The session.
    #[schema(
        pattern = "^[a-zA-Z0-9_-]+$",
        min_length = 1,
        max_length = 200,
        example = "ses_0199e2c8a5b07c3f9d1e2a4b6c8d0e1f"
    )]
    session_id: String,
    /// The message.
    #[schema(example = "What is in this folder?", min_length = 1, max_length = 100_000)]
    message: String,
    /// After how many seconds the turn is interrupted if it has not ended; 120 when absent.
    #[schema(minimum = 1, maximum = 600, example = 120)]
    timeout: Option<u64>,
}

/// A session to be made, read.
pub(super) struct NewSession {
    pub(super) user: UserId,
    pub(super) subdir: Option<Subdir>,
    pub(super) metadata: Map<String, Value>,
}

/// Reads the fields of a body, and collects what is wrong with them.
struct Fields {
    body: Map<String, Value>,
    errors: Vec<Value>,
}

impl Fields {
    fn of(body: &[u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            let error = wrong("missing", &[], "Field required", &Value::Null, None);
            return Err(Refusal::fields(vec![error]));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(body)) => Ok(Self {
                body,
                errors: Vec::new(),
            }),
            Ok(other) => {
                let words = "Input should be a valid dictionary or object to extract fields from";
                let error = wrong("model_attributes_type", &[], words, &other, None);
                Err(Refusal::fields(vec![error]))
            }
            Err(error) => {
                let context = json!({"error": error.to_string()});
                let told = json!({"type": "json_invalid", "loc": ["body", offset(body, &error)],
                    "msg": "JSON decode error", "input": {}, "ctx": context});
                Err(Refusal::fields(vec![told]))
            }
        }
    }

    fn tell(&mut self, kind: &str, field: &str, words: &str, input: &Value, context: Option<Value>) {
        self.errors.push(wrong(kind, &[field], words, input, context));
    }

    fn refuse(&mut self, field: &str, words: &str, input: &str) {
        let words = format!("Value error, {words}");
        self.tell(
            "value_error",
            field,
            &words,
            &input.into(),
            Some(json!({"error": {}})),
        );
    }

    /// A text of so many characters; `None` when there is none, or it was told what is wrong with it.
    fn text(&mut self, field: &str, required: bool, least: usize, most: usize) -> Option<String> {
        let text = match self.body.remove(field) {
            None if required => {
                let body = Value::Object(self.body.clone());
                self.tell("missing", field, "Field required", &body, None);
                return None;
            }
            None => return None,
            Some(Value::Null) if !required => return None,
            Some(Value::String(text)) => text,
            Some(other) => {
                self.tell(
                    "string_type",
                    field,
                    "Input should be a valid string",
                    &other,
                    None,
                );
                return None;
            }
        };
        let length = text.chars().count();
        if length < least {
            let words = format!("String should have at least {least} character");
            self.tell(
                "string_too_short",
                field,
                &words,
                &text.into(),
                Some(json!({"min_length": least})),
            );
            return None;
        }
        if length > most {
            let words = format!("String should have at most {most} characters");
            self.tell(
                "string_too_long",
                field,
                &words,
                &text.into(),
                Some(json!({"max_length": most})),
            );
            return None;
        }
        Some(text)
    }

    fn end<T>(self, read: Option<T>) -> Result<T, Refusal> {
        match read {
            Some(read) if self.errors.is_empty() => Ok(read),
            _ => Err(Refusal::fields(self.errors)),
        }
    }
}

/// Where in a text something is wrong, in characters.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let text = String::from_utf8_lossy(body);
    let before: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(|line| line.chars().count())
        .sum();
    before + error.column().saturating_sub(1)
}

pub(super) fn read_create(body: &[u8], limits: &ApiLimits) -> Result<NewSession, Refusal> {
    let mut fields = Fields::of(body)?;
    let user = fields.text("user_id", true, 1, USER_MAX);
    let user = user.and_then(|text| {
        let user = text.parse::<UserId>().ok();
        if user.is_none() {
            let words = "user_id must contain only alphanumeric, underscore, or hyphen";
            fields.refuse("user_id", words, &text);
        }
        user
    });
    let subdir = fields.text("subdir", false, 0, SUBDIR_MAX);
    let subdir = subdir.and_then(|text| subdir_of(&mut fields, &text));
    let metadata = match fields.body.remove("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(metadata)) => metadata,
        Some(other) => {
            fields.tell(
                "dict_type",
                "metadata",
                "Input should be a valid dictionary",
                &other,
                None,
            );
            Map::new()
        }
    };
    let length = serde_json::to_vec(&metadata).map_or(usize::MAX, |json| json.len());
    if length > limits.metadata_max_bytes {
        let words = format!(
            "metadata must have at most {} bytes of JSON",
            limits.metadata_max_bytes
        );
        fields.refuse("metadata", &words, "");
    }
    let read = user.map(|user| NewSession {
        user,
        subdir,
        metadata,
    });
    fields.end(read)
}

/// The folder that a text names, as the original reads it: what `.` and doubled slashes add is nothing.
fn subdir_of(fields: &mut Fields, text: &str) -> Option<Subdir> {
    if text.contains("..") {
        fields.refuse("subdir", "Path traversal (..) not allowed in subdir", text);
        return None;
    }
    if text.starts_with('/') {
        fields.refuse("subdir", "Absolute path not allowed in subdir", text);
        return None;
    }
    let parts: Vec<_> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.is_empty() {
        return None;
    }
    match parts.join("/").parse::<Subdir>() {
        Ok(subdir) => Some(subdir),
        Err(error) => {
            fields.refuse("subdir", &error.to_string(), text);
            None
        }
    }
}

pub(super) fn read_chat(body: &[u8], limits: &ApiLimits) -> Result<TurnOrder, Refusal> {
    let mut fields = Fields::of(body)?;
    let session = fields.text("session_id", true, 1, SESSION_MAX);
    if let Some(text) = &session
        && !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    {
        fields.refuse("session_id", "Invalid session_id format", text);
    }
    let message = fields.text("message", true, 1, MESSAGE_MAX);
    match message.as_deref() {
        Some(text) if text.trim().is_empty() => fields.refuse("message", "Message cannot be empty", text),
        Some(text) if text.contains('\0') => fields.refuse("message", "Message cannot hold NUL", text),
        Some(text) if text.len() > limits.message_max_bytes => {
            let words = format!("Message cannot have more than {} bytes", limits.message_max_bytes);
            fields.refuse("message", &words, "");
        }
        _ => {}
    }
    let timeout = read_timeout(&mut fields, limits);
    let (Some(session), Some(message)) = (session, message) else {
        return fields.end(None);
    };
    fields.end(Some(()))?;
    // One that cannot be an id of ours is nobody's.
    let session = session.parse::<SessionId>().map_err(|_invalid| Refusal::gone())?;
    Ok(TurnOrder {
        timeout: Some(timeout),
        ..TurnOrder::new(session, message)
    })
}

fn read_timeout(fields: &mut Fields, limits: &ApiLimits) -> Duration {
    let usual = TIMEOUT_USUAL.min(limits.turn_timeout_max);
    let Some(asked) = fields.body.remove("timeout") else {
        return usual;
    };
    // A whole number is one also as a text, or with a point.
    let number = match &asked {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .filter(|number| number.fract() == 0.0)
            .and_then(|number| format!("{number:.0}").parse().ok()),
        Value::Number(number) => Some(number.as_i64().unwrap_or(i64::MAX)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let (least, most) = TIMEOUT;
    let most = most.min(i64::try_from(limits.turn_timeout_max.as_secs()).unwrap_or(most));
    match number {
        None => fields.tell(
            "int_type",
            "timeout",
            "Input should be a valid integer",
            &asked,
            None,
        ),
        Some(number) if number < least => {
            let words = format!("Input should be greater than or equal to {least}");
            fields.tell(
                "greater_than_equal",
                "timeout",
                &words,
                &asked,
                Some(json!({"ge": least})),
            );
        }
        Some(number) if number > most => {
            let words = format!("Input should be less than or equal to {most}");
            fields.tell(
                "less_than_equal",
                "timeout",
                &words,
                &asked,
                Some(json!({"le": most})),
            );
        }
        Some(number) => return Duration::from_secs(number.unsigned_abs()),
    }
    usual
}
