//! What a script comes to for one request: the message it answers with, as the API's stream of events.

use std::time::Duration;

use serde_json::{Value, json};

use crate::conversation::Conversation;
use crate::script::{Step, parse};

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// An event of the stream.
    Event(Value),
    /// Nothing, for a while.
    Pause(Duration),
    /// Nothing, ever.
    Hang,
    /// The connection is dropped.
    Drop,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Performance {
    /// An HTTP error.
    Error { status: u16, retry_after: Option<u32> },
    /// A message, as a stream.
    Stream(Vec<Act>),
}

/// A failure that happens only so many times for a prompt.
pub(crate) type Failures<'a> = dyn FnMut(Option<u32>) -> bool + 'a;

/// What to answer to a request. `fails` is asked whether a failure with a number of times still happens.
pub(crate) fn perform(
    conversation: &Conversation,
    model: &str,
    id: &str,
    fails: &mut Failures<'_>,
) -> Performance {
    let mut steps = parse(&conversation.prompt);
    if steps.is_empty() {
        steps = vec![Step::Say(reply(conversation))];
    }
    let mut writer = Writer::new(conversation, model, id);
    for step in round(&steps, conversation.tool_rounds) {
        match step {
            Step::Fail {
                status,
                retry_after,
                times,
            } if fails(*times) => {
                return Performance::Error {
                    status: *status,
                    retry_after: *retry_after,
                };
            }
            Step::Overloaded { times } if fails(*times) => {
                writer.close_block();
                writer.event(json!({
                    "type": "error",
                    "error": {"type": "overloaded_error", "message": "Overloaded"}
                }));
                return Performance::Stream(writer.acts);
            }
            Step::Drop { times } if fails(*times) => {
                writer.acts.push(Act::Drop);
                return Performance::Stream(writer.acts);
            }
            Step::Hang => {
                writer.acts.push(Act::Hang);
                return Performance::Stream(writer.acts);
            }
            step => writer.play(step, conversation),
        }
    }
    Performance::Stream(writer.finish())
}

/// The steps of one message: those after as many rounds of tools as have been answered.
fn round(steps: &[Step], rounds: usize) -> Vec<&Step> {
    let mut current = 0;
    let mut chosen = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        if current == rounds {
            chosen.push(step);
        }
        let next_is_beside = matches!(steps.get(index + 1), Some(Step::Tool { beside: true, .. }));
        if matches!(step, Step::Tool { .. }) && !next_is_beside {
            current += 1;
        }
    }
    chosen
}

/// The answer to a prompt in plain words.
fn reply(conversation: &Conversation) -> String {
    let prompt = conversation.prompt.as_str();
    let lower = prompt.to_lowercase();
    if lower.starts_with("remember ") {
        return "I will remember that.".to_owned();
    }
    let asks = ["which", "what"].iter().any(|word| lower.starts_with(word)) && lower.contains("remember");
    if asks {
        let told = conversation.earlier.iter().rev().find_map(|earlier| {
            let words = earlier.get("remember ".len()..)?;
            earlier
                .to_lowercase()
                .starts_with("remember ")
                .then(|| words.trim_end_matches('.'))
        });
        return told.map_or_else(
            || "You have not asked me to remember anything.".to_owned(),
            |told| format!("You asked me to remember {told}."),
        );
    }
    format!("You said: {prompt}")
}

struct Writer {
    acts: Vec<Act>,
    id: String,
    working_dir: Option<String>,
    block: usize,
    /// The kind of the open block.
    open: Option<&'static str>,
    tools: usize,
    words_said: u64,
    stop: Option<String>,
    usage: [u64; 4],
    output_set: bool,
}

impl Writer {
    fn new(conversation: &Conversation, model: &str, id: &str) -> Self {
        let mut writer = Self {
            acts: Vec::new(),
            id: id.to_owned(),
            working_dir: conversation.working_dir.clone(),
            block: 0,
            open: None,
            tools: 0,
            words_said: 0,
            stop: None,
            usage: [conversation.tokens, 0, 0, 0],
            output_set: false,
        };
        let message = json!({
            "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": writer.usage_told()
        });
        writer.event(json!({"type": "message_start", "message": message}));
        writer.event(json!({"type": "ping"}));
        writer
    }

    fn event(&mut self, event: Value) {
        self.acts.push(Act::Event(event));
    }

    fn play(&mut self, step: &Step, conversation: &Conversation) {
        match step {
            Step::Say(text) => self.say(text),
            Step::Words { count, every } => {
                for number in 1..=*count {
                    if number > 1 && !every.is_zero() {
                        self.acts.push(Act::Pause(*every));
                    }
                    let space = if number > 1 { " " } else { "" };
                    self.text(&format!("{space}word{number}"));
                }
            }
            Step::Think(text) => self.think(text),
            Step::Tool { name, input, .. } => self.call(name, input),
            Step::Results => self.say(&conversation.tool_results.join("\n")),
            Step::Recall => self.say(&conversation.earlier.join("\n")),
            Step::Wait(pause) => self.acts.push(Act::Pause(*pause)),
            Step::Usage {
                input,
                output,
                cache_read,
                cache_creation,
            } => {
                let set = [input, output, cache_read, cache_creation];
                for (told, set) in self.usage.iter_mut().zip(set) {
                    *told = set.unwrap_or(*told);
                }
                self.output_set |= output.is_some();
                // The input's share is told at the start of the message.
                let usage = self.usage_told();
                if let Some(Act::Event(start)) = self.acts.first_mut()
                    && let Some(told) = start.pointer_mut("/message/usage")
                {
                    *told = usage;
                }
            }
            Step::Stop(reason) => self.stop = Some(reason.clone()),
            // Failures that happen no more.
            Step::Fail { .. } | Step::Overloaded { .. } | Step::Drop { .. } | Step::Hang => {}
        }
    }

    fn usage_told(&self) -> Value {
        let [input, output, cache_read, cache_creation] = self.usage;
        json!({
            "input_tokens": input, "output_tokens": output,
            "cache_read_input_tokens": cache_read, "cache_creation_input_tokens": cache_creation
        })
    }

    fn open_block(&mut self, kind: &'static str, block: &Value) {
        if self.open == Some(kind) {
            return;
        }
        self.close_block();
        self.open = Some(kind);
        self.event(json!({"type": "content_block_start", "index": self.block, "content_block": block}));
    }

    fn close_block(&mut self) {
        if self.open.take().is_some() {
            self.event(json!({"type": "content_block_stop", "index": self.block}));
            self.block += 1;
        }
    }

    fn delta(&mut self, delta: &Value) {
        self.event(json!({"type": "content_block_delta", "index": self.block, "delta": delta}));
    }

    fn text(&mut self, piece: &str) {
        self.open_block("text", &json!({"type": "text", "text": ""}));
        self.words_said += 1;
        self.delta(&json!({"type": "text_delta", "text": piece}));
    }

    /// Says a text as a block of its own, word by word.
    fn say(&mut self, text: &str) {
        self.close_block();
        for piece in text.split_inclusive(' ') {
            self.text(piece);
        }
    }

    fn think(&mut self, text: &str) {
        self.open_block(
            "thinking",
            &json!({"type": "thinking", "thinking": "", "signature": ""}),
        );
        for piece in text.split_inclusive(' ') {
            self.delta(&json!({"type": "thinking_delta", "thinking": piece}));
        }
        self.delta(&json!({"type": "signature_delta", "signature": "c2NyaXB0ZWQ="}));
        self.close_block();
    }

    fn call(&mut self, name: &str, input: &Value) {
        self.close_block();
        self.tools += 1;
        let call = format!("toolu_{}_{}", self.id, self.tools);
        self.open_block(
            "tool_use",
            &json!({"type": "tool_use", "id": call, "name": name, "input": {}}),
        );
        let input = self.rooted(input).to_string();
        self.delta(&json!({"type": "input_json_delta", "partial_json": input}));
        self.close_block();
        self.stop.get_or_insert("tool_use".to_owned());
    }

    /// The CLI's tools want absolute paths; scripts do not know theirs.
    fn rooted(&self, input: &Value) -> Value {
        let mut input = input.clone();
        if let (Some(Value::String(path)), Some(folder)) = (input.get_mut("file_path"), &self.working_dir)
            && !path.starts_with('/')
        {
            *path = format!("{folder}/{path}");
        }
        input
    }

    fn finish(mut self) -> Vec<Act> {
        if self.block == 0 && self.open.is_none() && self.stop.as_deref() != Some("refusal") {
            self.text("");
        }
        self.close_block();
        if !self.output_set {
            self.usage[1] = self.words_said.max(1);
        }
        let stop = self.stop.clone().unwrap_or_else(|| "end_turn".to_owned());
        let usage = self.usage_told();
        self.event(json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": usage}));
        self.event(json!({"type": "message_stop"}));
        self.acts
    }
}

/// The message that a stream of events tells.
pub(crate) fn whole_message(events: &[Value]) -> Value {
    let mut message = json!({});
    let mut blocks: Vec<Value> = Vec::new();
    let mut input = String::new();
    for event in events {
        match event.get("type").and_then(Value::as_str) {
            Some("message_start") => message = event.get("message").cloned().unwrap_or_default(),
            Some("content_block_start") => {
                blocks.push(event.get("content_block").cloned().unwrap_or_default());
                input.clear();
            }
            Some("content_block_delta") => {
                if let (Some(block), Some(delta)) = (blocks.last_mut(), event.get("delta")) {
                    add(block, delta, &mut input);
                }
            }
            Some("message_delta") => {
                for (name, at) in [("stop_reason", "/delta/stop_reason"), ("usage", "/usage")] {
                    if let (Some(fields), Some(value)) = (message.as_object_mut(), event.pointer(at)) {
                        fields.insert(name.to_owned(), value.clone());
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(fields) = message.as_object_mut() {
        fields.insert("content".to_owned(), Value::Array(blocks));
    }
    message
}

fn add(block: &mut Value, delta: &Value, input: &mut String) {
    let Some(fields) = block.as_object_mut() else {
        return;
    };
    for name in ["text", "thinking", "signature"] {
        if let Some(piece) = delta.get(name).and_then(Value::as_str) {
            let told = fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let joined = format!("{told}{piece}");
            fields.insert(name.to_owned(), Value::String(joined));
        }
    }
    if let Some(piece) = delta.get("partial_json").and_then(Value::as_str) {
        input.push_str(piece);
        fields.insert(
            "input".to_owned(),
            serde_json::from_str(input).unwrap_or_default(),
        );
    }
}
