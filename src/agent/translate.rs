//! From the CLI's messages to a turn's events and outcome. Pure: no IO, no time.

use serde_json::Value;

use crate::domain::{EventBody, MicroUsd, ToolCall, TurnError, TurnErrorCode, Usage};
use crate::protocol::message::{
    AssistantMessage, CliMessage, ContentBlock, StreamDelta, SystemMessage, TurnResult, UserMessage,
};

/// What stands between two blocks of text.
const BLOCK_BREAK: &str = "\n\n";

/// Collects one turn.
///
/// The text of a turn is what its `text_delta`s say, joined. The CLI streams a block and then tells it whole; where
/// the two differ (an answer broke off and was asked for again), what was streamed is taken back by an event.
#[derive(Debug, Default)]
pub struct Translator {
    /// Text of whole blocks.
    said: String,
    /// Text streamed of a block that has not been told whole.
    streamed: String,
    tool_calls: Vec<ToolCall>,
    /// Why the model stopped its last message.
    stop_reason: Option<String>,
}

/// What a turn came to, by the CLI's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Tokens used.
    pub usage: Usage,
    /// What the turn cost.
    pub cost: MicroUsd,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
    /// The answer in the form that the session's schema asks for.
    pub structured_output: Option<Value>,
    /// Why it did not complete.
    pub error: Option<TurnError>,
}

impl Verdict {
    /// Of a turn without a result.
    #[must_use]
    pub fn broken(error: TurnError) -> Self {
        Self {
            usage: Usage::default(),
            cost: MicroUsd::ZERO,
            stop_reason: None,
            structured_output: None,
            error: Some(error),
        }
    }
}

impl Translator {
    /// Takes in an event of the turn that an earlier server wrote. What was streamed of a block that never came whole does
    /// not count: the agent does not know of it.
    pub fn recall(&mut self, event: EventBody) {
        match event {
            EventBody::AssistantMessage {
                content,
                parent_tool_use_id: None,
                ..
            } => {
                for block in &content {
                    let text = block.get("text").and_then(Value::as_str);
                    if let Some(text) = text.filter(|text| !text.is_empty() && block["type"] == "text") {
                        let whole = self.first_piece(text);
                        self.said.push_str(&whole);
                    }
                }
            }
            EventBody::ToolUse {
                tool_name,
                tool_input,
                tool_use_id,
                parent_tool_use_id: None,
            } => self.note_call(tool_use_id, tool_name, tool_input),
            EventBody::ToolResult {
                tool_use_id,
                content,
                is_error,
                ..
            } => self.note_result(&tool_use_id, &content, is_error),
            _ => {}
        }
    }

    /// All that was said so far in whole blocks.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }

    fn note_call(&mut self, tool_use_id: String, tool: String, input: Value) {
        self.tool_calls.push(ToolCall {
            tool,
            input,
            output: None,
            is_error: None,
            tool_use_id,
        });
    }

    fn note_result(&mut self, tool_use_id: &str, content: &Value, is_error: bool) {
        let mut calls = self.tool_calls.iter_mut();
        if let Some(call) = calls.find(|call| call.tool_use_id == tool_use_id) {
            call.output = Some(content.clone());
            call.is_error = Some(is_error);
        }
    }

    /// The events that a message of the turn stands for.
    pub fn translate(&mut self, message: &CliMessage) -> Vec<EventBody> {
        match message {
            CliMessage::StreamEvent(event) if event.parent_tool_use_id.is_none() => self.stream(&event.delta),
            CliMessage::Assistant(message) => self.assistant(message),
            CliMessage::User(message) => self.user(message),
            CliMessage::System(message) => task(message).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    fn stream(&mut self, delta: &StreamDelta) -> Vec<EventBody> {
        match delta {
            StreamDelta::MessageStart => self.retract(),
            StreamDelta::Text(text) if !text.is_empty() => {
                let piece = if self.streamed.is_empty() {
                    self.first_piece(text)
                } else {
                    text.clone()
                };
                self.streamed.push_str(&piece);
                vec![EventBody::TextDelta { text: piece }]
            }
            StreamDelta::Thinking(text) if !text.is_empty() => {
                vec![EventBody::ThinkingDelta { text: text.clone() }]
            }
            StreamDelta::StopReason(reason) => {
                self.stop_reason = Some(reason.clone());
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn first_piece(&self, text: &str) -> String {
        if self.said.is_empty() {
            text.to_owned()
        } else {
            format!("{BLOCK_BREAK}{text}")
        }
    }

    /// Takes back what was streamed of a block that will not be told whole.
    fn retract(&mut self) -> Vec<EventBody> {
        if self.streamed.is_empty() {
            return Vec::new();
        }
        vec![EventBody::TextRetracted {
            text: std::mem::take(&mut self.streamed),
        }]
    }

    fn assistant(&mut self, message: &AssistantMessage) -> Vec<EventBody> {
        let mut events = Vec::new();
        let of_sub_agent = message.parent_tool_use_id.is_some();
        for block in &message.content {
            match block {
                ContentBlock::Text(text) if !of_sub_agent && !text.is_empty() => {
                    events.extend(self.whole_block(text));
                }
                ContentBlock::ToolUse { id, name, input } => {
                    if !of_sub_agent {
                        self.note_call(id.clone(), name.clone(), input.clone());
                    }
                    events.push(EventBody::ToolUse {
                        tool_name: name.clone(),
                        tool_input: input.clone(),
                        tool_use_id: id.clone(),
                        parent_tool_use_id: message.parent_tool_use_id.clone(),
                    });
                }
                _ => {}
            }
        }
        events.push(EventBody::AssistantMessage {
            content: message.raw_content.clone(),
            model: message.model.clone(),
            message_id: message.id.clone(),
            parent_tool_use_id: message.parent_tool_use_id.clone(),
        });
        events
    }

    fn whole_block(&mut self, text: &str) -> Vec<EventBody> {
        let whole = self.first_piece(text);
        let mut events = Vec::new();
        if self.streamed != whole {
            events = self.retract();
            events.push(EventBody::TextDelta { text: whole.clone() });
        }
        self.streamed.clear();
        self.said.push_str(&whole);
        events
    }

    fn user(&mut self, message: &UserMessage) -> Vec<EventBody> {
        let mut events = Vec::new();
        for block in &message.content {
            let ContentBlock::ToolResult {
                tool_use_id,
                content,
                is_error,
            } = block
            else {
                continue;
            };
            self.note_result(tool_use_id, content, *is_error);
            events.push(EventBody::ToolResult {
                tool_use_id: tool_use_id.clone(),
                content: content.clone(),
                is_error: *is_error,
                parent_tool_use_id: message.parent_tool_use_id.clone(),
            });
        }
        events
    }

    /// What is left to tell when the turn ends: the answer of a command that the CLI ran without the model, or that
    /// the text of a message that never came whole does not count.
    ///
    /// Of a turn that was cut short, the text of a message that never came whole does count.
    pub fn finish(&mut self, result: Option<&TurnResult>, cut_short: bool) -> Vec<EventBody> {
        if cut_short {
            self.said.push_str(&std::mem::take(&mut self.streamed));
        }
        let mut events = self.retract();
        if let Some(answer) = result.and_then(|result| result.result.as_deref())
            && self.said.is_empty()
            && !answer.is_empty()
            && !result.is_some_and(|result| result.is_error)
        {
            answer.clone_into(&mut self.said);
            events.push(EventBody::TextDelta {
                text: answer.to_owned(),
            });
        }
        events
    }

    /// What the CLI's result says of the turn.
    #[must_use]
    pub fn judge(&self, result: &TurnResult) -> Verdict {
        let stop = |reason: &str| Some(reason.to_owned());
        let (stop_reason, error) = match result.subtype.as_str() {
            "success" if !result.is_error => (
                result.stop_reason.clone().or_else(|| self.stop_reason.clone()),
                None,
            ),
            "error_max_turns" => (stop("max_turns"), None),
            "error_max_budget_usd" => (stop("max_budget"), None),
            "error_max_structured_output_retries" => {
                let message = "the answer did not take the form of the session's output_schema".to_owned();
                let code = TurnErrorCode::OutputInvalid;
                (None, Some(TurnError { code, message }))
            }
            _ => (None, Some(explain(result))),
        };
        Verdict {
            usage: result.usage,
            cost: result.turn_cost.unwrap_or_default(),
            stop_reason,
            structured_output: result.structured_output.clone(),
            error,
        }
    }

    /// All that was said, and the tools that were called.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<ToolCall>) {
        (self.said, self.tool_calls)
    }
}

/// What the CLI tells of a task beside the conversation.
fn task(message: &SystemMessage) -> Option<EventBody> {
    let task_id = message.task_id.clone()?;
    match message.subtype.as_str() {
        "task_started" => Some(EventBody::TaskStarted {
            task_id,
            description: message.description.clone(),
            tool_use_id: message.tool_use_id.clone(),
        }),
        "task_notification" => Some(EventBody::TaskEnded {
            task_id,
            status: message.status.clone(),
            summary: message.summary.clone(),
        }),
        _ => None,
    }
}

fn explain(result: &TurnResult) -> TurnError {
    let words = match &result.result {
        Some(text) if !text.is_empty() => text.clone(),
        _ if !result.errors.is_empty() => result.errors.join("; "),
        _ => format!("the CLI ended the turn with `{}`", result.subtype),
    };
    let of_the_model = result.api_error_status.is_some() || words.starts_with("API Error");
    let code = if of_the_model {
        TurnErrorCode::ModelError
    } else {
        TurnErrorCode::TurnFailed
    };
    TurnError { code, message: words }
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "`json!` in a call reads best by value"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(json: serde_json::Value) -> CliMessage {
        CliMessage::parse(&json.to_string()).unwrap()
    }

    fn delta(text: &str) -> CliMessage {
        message(
            json!({"type": "stream_event", "parent_tool_use_id": null, "event":
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}}),
        )
    }

    fn start() -> CliMessage {
        message(json!({"type": "stream_event", "event": {"type": "message_start", "message": {}}}))
    }

    fn whole(block: serde_json::Value) -> CliMessage {
        message(json!({"type": "assistant", "message": {"id": "m", "model": "x", "content": [block]}}))
    }

    fn text(text: &str) -> CliMessage {
        whole(json!({"type": "text", "text": text}))
    }

    fn result(fields: serde_json::Value) -> TurnResult {
        let mut all = json!({"type": "result", "subtype": "success"});
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let CliMessage::Result(result) = message(all) else {
            panic!("not read as a result")
        };
        result
    }

    /// The turn's text as a client joins it from events, and as the translator has it.
    fn both_texts(messages: &[CliMessage], result: &TurnResult) -> (String, String) {
        let mut translator = Translator::default();
        let mut events: Vec<_> = messages
            .iter()
            .flat_map(|message| translator.translate(message))
            .collect();
        events.extend(translator.finish(Some(result), false));
        let mut joined = String::new();
        for event in events {
            match event {
                EventBody::TextDelta { text } => joined.push_str(&text),
                EventBody::TextRetracted { text } => joined = joined.strip_suffix(&text).unwrap().to_owned(),
                _ => {}
            }
        }
        (joined, translator.into_parts().0)
    }

    #[test]
    fn the_deltas_joined_are_the_text_over_tools_and_blocks() {
        let messages = [
            start(),
            delta("I will "),
            delta("write."),
            text("I will write."),
            whole(json!({"type": "tool_use", "id": "t", "name": "Write", "input": {}})),
            start(),
            delta("Done."),
            text("Done."),
        ];
        let (joined, text) = both_texts(&messages, &result(json!({"result": "Done."})));
        assert_eq!(text, "I will write.\n\nDone.");
        assert_eq!(joined, text);
    }

    #[test]
    fn an_answer_that_broke_off_and_was_asked_for_again_counts_once() {
        let messages = [start(), delta("Hel"), start(), delta("Hello"), text("Hello")];
        assert_eq!(
            both_texts(&messages, &result(json!({}))),
            ("Hello".into(), "Hello".into())
        );
        let messages = [start(), delta("Hel"), text("Hello, whole and not streamed")];
        let (joined, text) = both_texts(&messages, &result(json!({})));
        assert_eq!(joined, "Hello, whole and not streamed");
        assert_eq!(joined, text);
    }

    #[test]
    fn text_that_never_came_whole_does_not_count() {
        let messages = [
            start(),
            delta("All good."),
            text("All good."),
            start(),
            delta("And th"),
        ];
        let (joined, text) = both_texts(&messages, &result(json!({})));
        assert_eq!((joined.as_str(), text.as_str()), ("All good.", "All good."));
    }

    #[test]
    fn what_the_cli_answers_by_itself_is_the_text() {
        let (joined, text) = both_texts(&[], &result(json!({"result": "Total cost: 0"})));
        assert_eq!(
            (joined.as_str(), text.as_str()),
            ("Total cost: 0", "Total cost: 0")
        );
    }

    #[test]
    fn a_tool_call_has_what_the_tool_answered() {
        let mut translator = Translator::default();
        translator.translate(&whole(
            json!({"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}),
        ));
        let events = translator.translate(&message(
            json!({"type": "user", "message": {"role": "user", "content":
            [{"type": "tool_result", "tool_use_id": "t1", "content": "a.txt", "is_error": true}]}}),
        ));
        assert!(
            matches!(&events[..], [EventBody::ToolResult { is_error: true, .. }]),
            "{events:?}"
        );
        let (_, calls) = translator.into_parts();
        assert_eq!(calls[0].output, Some(json!("a.txt")));
        assert_eq!(calls[0].is_error, Some(true));
    }

    #[test]
    fn a_sub_agents_words_are_not_the_turns() {
        let mut translator = Translator::default();
        let of_sub_agent = message(json!({"type": "assistant", "parent_tool_use_id": "t9", "message":
            {"content": [{"type": "text", "text": "inner"}, {"type": "tool_use", "id": "i", "name": "Read", "input": {}}]}}));
        let events = translator.translate(&of_sub_agent);
        assert!(events.iter().any(|event| matches!(
            event,
            EventBody::ToolUse {
                parent_tool_use_id: Some(_),
                ..
            }
        )));
        assert_eq!(translator.into_parts(), (String::new(), Vec::new()));
    }

    #[test]
    fn results_are_judged_by_what_they_say() {
        let judge = |fields| Translator::default().judge(&result(fields));
        let good = judge(json!({"stop_reason": "end_turn", "usage": {"input_tokens": 3}}));
        assert_eq!(
            (good.error, good.stop_reason.as_deref()),
            (None, Some("end_turn"))
        );
        assert_eq!(good.usage.input_tokens, 3);

        let api =
            judge(json!({"is_error": true, "result": "API Error: 529 overloaded", "api_error_status": 529}));
        assert_eq!(api.error.unwrap().code, TurnErrorCode::ModelError);

        let turns = judge(json!({"subtype": "error_max_turns", "is_error": true}));
        assert_eq!(
            (turns.error, turns.stop_reason.as_deref()),
            (None, Some("max_turns"))
        );

        let failed =
            judge(json!({"subtype": "error_during_execution", "is_error": true, "errors": ["a", "b"]}));
        let error = failed.error.unwrap();
        assert_eq!(
            (error.code, error.message.as_str()),
            (TurnErrorCode::TurnFailed, "a; b")
        );

        let new = judge(json!({"subtype": "error_of_next_year"}));
        assert!(new.error.unwrap().message.contains("error_of_next_year"));
    }

    #[test]
    fn what_another_server_wrote_of_a_turn_is_taken_up_but_for_what_came_in_part() {
        let tool = json!({"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}});
        let answer = message(json!({"type": "user", "message": {"content":
            [{"type": "tool_result", "tool_use_id": "t", "content": "a", "is_error": false}]}}));
        let said = [
            start(),
            delta("One."),
            text("One."),
            whole(tool),
            answer,
            start(),
            text("Two."),
        ];
        let mut first = Translator::default();
        let mut events: Vec<_> = said.iter().flat_map(|message| first.translate(message)).collect();
        events.extend(first.translate(&start()));
        events.extend(first.translate(&delta("Thr")));
        let mut next = Translator::default();
        for event in events {
            next.recall(event);
        }
        assert_eq!(next.said(), "One.\n\nTwo.");
        assert_eq!(first.said(), next.said());
        next.translate(&text("Four."));
        let (text, calls) = next.into_parts();
        assert_eq!(text, "One.\n\nTwo.\n\nFour.");
        assert_eq!(calls, first.into_parts().1);
        assert_eq!(calls[0].output, Some(json!("a")));
    }
}
