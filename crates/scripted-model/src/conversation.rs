//! What a request says: the prompts so far, and how far the answer to the last one has come.

use serde_json::Value;

/// A conversation, as its last request carries it.
#[derive(Debug, PartialEq)]
pub(crate) struct Conversation {
    /// The prompts before the last one.
    pub(crate) earlier: Vec<String>,
    /// The last prompt.
    pub(crate) prompt: String,
    /// How many messages with tool calls have answered it so far.
    pub(crate) tool_rounds: usize,
    /// What the tools answered, in order.
    pub(crate) tool_results: Vec<String>,
    /// The folder that the CLI says it works in.
    pub(crate) working_dir: Option<String>,
    /// About how many tokens the request has: a quarter of its bytes.
    pub(crate) tokens: u64,
}

impl Conversation {
    /// Reads a request's body.
    pub(crate) fn of(body: &Value) -> Self {
        let mut conversation = Self {
            earlier: Vec::new(),
            prompt: String::new(),
            tool_rounds: 0,
            tool_results: Vec::new(),
            working_dir: working_dir(body),
            tokens: body.to_string().len() as u64 / 4,
        };
        for message in body
            .get("messages")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let blocks = blocks(message);
            match message.get("role").and_then(Value::as_str) {
                Some("user") => conversation.hear(&blocks),
                Some("assistant") if blocks.iter().any(|block| is(block, "tool_use")) => {
                    conversation.tool_rounds += 1;
                }
                _ => {}
            }
        }
        conversation
    }

    fn hear(&mut self, blocks: &[Value]) {
        let results: Vec<_> = blocks.iter().filter(|block| is(block, "tool_result")).collect();
        self.tool_results
            .extend(results.into_iter().map(|block| text_of(block.get("content"))));
        // A prompt after a turn that ended with a tool's answer stands in the same message as that.
        for text in blocks
            .iter()
            .filter_map(|block| block.get("text")?.as_str())
            .filter(|text| is_prompt(text))
        {
            let last = std::mem::replace(&mut self.prompt, text.trim().to_owned());
            if !last.is_empty() {
                self.earlier.push(last);
            }
            self.tool_rounds = 0;
            self.tool_results.clear();
        }
    }
}

/// Whether a text is the user's own: not what the CLI puts beside it.
fn is_prompt(text: &str) -> bool {
    const OF_THE_CLI: [&str; 5] = [
        "<system-reminder>",
        "Tool loaded.",
        "[Image: source: ",
        "[Request interrupted",
        "Your response above was cut off mid-stream",
    ];
    let text = text.trim();
    !text.is_empty() && !OF_THE_CLI.iter().any(|start| text.starts_with(start))
}

fn is(block: &Value, kind: &str) -> bool {
    block.get("type").and_then(Value::as_str) == Some(kind)
}

fn blocks(message: &Value) -> Vec<Value> {
    match message.get("content") {
        Some(Value::String(text)) => vec![serde_json::json!({"type": "text", "text": text})],
        Some(Value::Array(blocks)) => blocks.clone(),
        _ => Vec::new(),
    }
}

/// The text of a tool's answer.
fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => {
            let texts: Vec<_> = blocks
                .iter()
                .filter_map(|block| block.get("text")?.as_str())
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// The CLI tells the model where it works.
fn working_dir(body: &Value) -> Option<String> {
    const MARK: &str = "Primary working directory: ";
    fn find(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => {
                let (_, rest) = text.split_once(MARK)?;
                rest.lines().next().map(|line| line.trim().to_owned())
            }
            Value::Array(values) => values.iter().find_map(find),
            Value::Object(fields) => fields.values().find_map(find),
            _ => None,
        }
    }
    [body.get("system"), body.get("messages")]
        .into_iter()
        .flatten()
        .find_map(find)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_prompt_is_told_from_what_stands_around_it() {
        let conversation = Conversation::of(&json!({"messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "<system-reminder>x</system-reminder>"},
                {"type": "text", "text": "first"}]},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]},
            {"role": "user", "content": " second "},
            {"role": "system", "content": "Environment\n - Primary working directory: /w/alice\n - more"},
        ]}));
        assert_eq!(conversation.earlier, ["first"]);
        assert_eq!(conversation.prompt, "second");
        assert_eq!(conversation.working_dir.as_deref(), Some("/w/alice"));
    }

    #[test]
    fn rounds_of_tools_are_counted_since_the_last_prompt() {
        let round = |id: &str| {
            [
                json!({"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]}),
                json!({"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": id}]},
                    {"type": "text", "text": "<system-reminder>y</system-reminder>"}]}),
            ]
        };
        let mut messages = vec![json!({"role": "user", "content": "one"})];
        messages.extend(round("a"));
        messages.push(json!({"role": "user", "content": "two"}));
        messages.extend(round("b"));
        messages.extend(round("c"));
        let conversation = Conversation::of(&json!({"messages": messages}));
        assert_eq!(
            (conversation.prompt.as_str(), conversation.tool_rounds),
            ("two", 2)
        );
        assert_eq!(conversation.tool_results, ["b", "c"]);
    }

    #[test]
    fn a_body_of_another_shape_is_an_empty_conversation() {
        for body in [
            json!(null),
            json!([]),
            json!({"messages": 3}),
            json!({"messages": [null, {"role": "user"}]}),
        ] {
            assert_eq!(Conversation::of(&body).prompt, "");
        }
    }
}
