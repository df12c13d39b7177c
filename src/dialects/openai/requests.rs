//! What a request asks for.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::super::asking::wrong_with;
use super::refusal::Refusal;
use crate::api::ApiLimits;
use crate::service::NewAttachment;

/// Parameters that say something about sampling or tools of the client's, which agents cannot heed, and what they may
/// be: what a client sends that wants nothing of them.
const NEUTRAL: [(&str, &[f64]); 5] = [
    ("temperature", &[1.0]),
    ("top_p", &[1.0]),
    ("n", &[1.0]),
    ("presence_penalty", &[0.0]),
    ("frequency_penalty", &[0.0]),
];

/// A chat to be completed.
///
/// Other parameters of the original are refused by name, unless they say what holds anyway.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OpenaiChat)]
#[expect(dead_code, reason = "says in the document what `read` reads")]
#[schema(example = json!({"model": "claude-code", "messages": [{"role": "user", "content": "What is in this folder?"}], "user": "alice"}))]
pub(super) struct ChatRequest {
    /// The model; `claude-code` leaves it to the server.
    #[schema(example = "claude-code")]
    model: String,
    /// What was said, the newest last: of `system`, `developer`, `user` and `assistant`; `content` is a text, or parts of
    /// type `text` and `image_url` (a `data:` URL).
    #[schema(value_type = Vec<Object>, min_items = 1, example = json!([{"role": "user", "content": "Hello"}]))]
    messages: Vec<Value>,
    /// Whether the answer comes as it is made.
    #[schema(default = false)]
    stream: Option<bool>,
    /// `include_usage`: whether the last chunk but one tells what was used.
    #[schema(value_type = Option<BTreeMap<String, Value>>, example = json!({"include_usage": true}))]
    stream_options: Option<Map<String, Value>>,
    /// Who asks: the user of the platform for whom the session is, and its name.
    #[schema(example = "alice")]
    user: Option<String>,
}

/// A request, read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) model: String,
    /// What the instructions say.
    pub(super) system: Option<String>,
    /// What was said up to the last answer: who, and what.
    before: Vec<(&'static str, String)>,
    /// What was said since.
    since: Vec<String>,
    pub(super) attachments: Vec<NewAttachment>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) user: Option<String>,
}

impl Asked {
    /// What an agent is told: what was said since the last answer; all, if it knows nothing of it.
    pub(super) fn prompt(&self, knows_nothing: bool) -> String {
        let since = self.since.join("\n\n");
        if !knows_nothing || self.before.is_empty() {
            return since;
        }
        let said: Vec<_> = self
            .before
            .iter()
            .map(|(who, what)| format!("[{who}]\n{what}"))
            .collect();
        format!(
            "This conversation began elsewhere. This was said so far:\n\n{}\n\nGo on from there:\n\n[user]\n{since}",
            said.join("\n\n")
        )
    }
}

/// What instructions are known by.
pub(super) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    STANDARD_NO_PAD.encode(digest)
}

pub(super) fn read(body: Value, limits: &ApiLimits) -> Result<Asked, Refusal> {
    let Value::Object(mut body) = body else {
        return Err(Refusal::parameter("body", "must be an object"));
    };
    body.retain(|_, value| !value.is_null());
    let model = match body.remove("model") {
        Some(Value::String(model)) if !model.is_empty() && !model.contains(char::is_whitespace) => model,
        _ => return Err(Refusal::parameter("model", "must be the name of a model")),
    };
    let messages = match body.remove("messages") {
        Some(Value::Array(messages)) if !messages.is_empty() => messages,
        _ => {
            return Err(Refusal::parameter(
                "messages",
                "must be a list of at least one message",
            ));
        }
    };
    let stream = flag(&mut body, "stream")?;
    let include_usage = match body.remove("stream_options") {
        None => false,
        Some(Value::Object(mut options)) => {
            // Whether chunks are padded is no matter of ours: none is.
            options.retain(|name, value| name != "include_obfuscation" && !value.is_null());
            let include = flag(&mut options, "include_usage")?;
            if let Some(other) = options.keys().next() {
                return Err(Refusal::unsupported(&format!("stream_options.{other}")));
            }
            include
        }
        Some(_) => return Err(Refusal::parameter("stream_options", "must be an object")),
    };
    let user = match body.remove("user") {
        None => None,
        Some(Value::String(user)) if !user.is_empty() => Some(user),
        Some(_) => return Err(Refusal::parameter("user", "must be a text")),
    };
    refuse_rest(body)?;
    let mut asked = Asked {
        model,
        system: None,
        before: Vec::new(),
        since: Vec::new(),
        attachments: Vec::new(),
        stream,
        include_usage,
        user,
    };
    for (index, message) in messages.into_iter().enumerate() {
        take_message(&mut asked, index, &message)?;
    }
    if asked.since.is_empty() {
        return Err(Refusal::parameter(
            "messages",
            "must end with a message of role 'user'",
        ));
    }
    // What a session knows already is not asked again, however long it is.
    if let Some(words) = wrong_with(&asked.prompt(false), limits) {
        return Err(Refusal::parameter("messages", &words));
    }
    let instructions = asked.system.as_ref().map_or(0, String::len);
    if instructions > limits.system_prompt_max_bytes {
        let most = limits.system_prompt_max_bytes;
        let words =
            format!("must have at most {most} bytes of instructions (limits.system_prompt_max_bytes)");
        return Err(Refusal::parameter("messages", &words));
    }
    if asked.attachments.len() > limits.attachments_max {
        let most = limits.attachments_max;
        let words = format!("must hold at most {most} images (limits.attachments_max)");
        return Err(Refusal::parameter("messages", &words));
    }
    Ok(asked)
}

fn flag(fields: &mut Map<String, Value>, name: &str) -> Result<bool, Refusal> {
    match fields.remove(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(Refusal::parameter(name, "must be true or false")),
    }
}

/// Refuses parameters that are left and want something.
fn refuse_rest(body: Map<String, Value>) -> Result<(), Refusal> {
    for (name, value) in body {
        let neutral = NEUTRAL
            .iter()
            .find(|(known, _)| *known == name)
            .is_some_and(|(_, values)| value.as_f64().is_some_and(|value| values.contains(&value)));
        let wants_nothing = neutral
            || value.as_array().is_some_and(Vec::is_empty)
            || value == Value::Bool(false)
            || (name == "response_format" && value.get("type").is_some_and(|kind| kind == "text"))
            || (name == "parallel_tool_calls" && value.is_boolean());
        if !wants_nothing {
            return Err(Refusal::unsupported(&name));
        }
    }
    Ok(())
}

fn take_message(asked: &mut Asked, index: usize, message: &Value) -> Result<(), Refusal> {
    let at = |field: &str| format!("messages[{index}].{field}");
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    let text = |parts: Vec<String>| parts.join("\n\n");
    let content = message.get("content").cloned().unwrap_or_default();
    let mut images = Vec::new();
    let parts = read_content(content, &at("content"), &mut images)?;
    match role {
        "system" | "developer" => {
            let before = asked.system.take().map(|before| before + "\n\n");
            asked.system = Some(before.unwrap_or_default() + &text(parts));
        }
        "user" => {
            asked.since.push(text(parts));
            asked.attachments.append(&mut images);
        }
        "assistant" => {
            if message
                .get("tool_calls")
                .is_some_and(|calls| calls.as_array().is_some_and(|calls| !calls.is_empty()))
            {
                return Err(Refusal::unsupported(&at("tool_calls")));
            }
            let since = asked.since.drain(..).map(|what| ("user", what));
            asked.before.extend(since);
            asked.before.push(("assistant", text(parts)));
            // They belong to what was answered.
            asked.attachments.clear();
        }
        _ => {
            let words = "must be 'system', 'developer', 'user' or 'assistant'";
            return Err(Refusal::parameter(&at("role"), words));
        }
    }
    Ok(())
}

fn read_content(content: Value, at: &str, images: &mut Vec<NewAttachment>) -> Result<Vec<String>, Refusal> {
    let parts = match content {
        Value::String(text) => return Ok(vec![text]),
        Value::Null => return Ok(Vec::new()),
        Value::Array(parts) => parts,
        _ => return Err(Refusal::parameter(at, "must be a text or a list of parts")),
    };
    let mut texts = Vec::new();
    for part in parts {
        let field = |name: &str| part.get(name).and_then(Value::as_str);
        match (field("type"), field("text").or_else(|| field("refusal"))) {
            (Some("text" | "refusal"), Some(text)) => texts.push(text.to_owned()),
            (Some("image_url"), _) => {
                let url = part.get("image_url").and_then(|image| image.get("url"));
                let image = url.and_then(Value::as_str).and_then(data_of);
                let words =
                    "holds an image that is not a `data:` URL in base64; nothing is fetched for a prompt";
                images.push(image.ok_or_else(|| Refusal::parameter(at, words))?);
            }
            _ => {
                return Err(Refusal::parameter(
                    at,
                    "holds a part that is neither `text` nor `image_url`",
                ));
            }
        }
    }
    Ok(texts)
}

/// What a `data:` URL holds.
fn data_of(url: &str) -> Option<NewAttachment> {
    let (media_type, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some(NewAttachment::Data {
        name: None,
        media_type: media_type.to_owned(),
        data: STANDARD.decode(data).ok()?,
    })
}
