//! Holds what everyone saw in a round against the logs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::actors::{Seen, Told};

fn is_delta(event: &Value) -> bool {
    event["type"].as_str().unwrap().ends_with("_delta")
}

fn id(event: &Value) -> u64 {
    event["id"].as_u64().unwrap()
}

fn ends_turn(event: &Value) -> bool {
    event["type"] == "done" || event["type"] == "error"
}

/// The whole events, in their order.
fn whole(events: &[Value]) -> Vec<&Value> {
    let whole = |event: &&Value| !is_delta(event) && event["type"] != "gap";
    events.iter().filter(whole).collect()
}

pub(super) fn check(seen: &Seen, round: u64) {
    for (session, log) in &seen.logs {
        assert!(
            log.is_sorted_by(|one, next| id(one) < id(next)),
            "round {round}: ids of {session} do not rise"
        );
        check_turns(session, log, round);
    }
    for (session, read) in &seen.readers {
        assert!(
            read.is_sorted_by(|one, next| id(one) < id(next)),
            "round {round}: a reader of {session} was told something twice, or out of order"
        );
        let (read_whole, log) = (whole(read), whole(&seen.logs[session]));
        assert_eq!(
            read_whole, log,
            "round {round}: a reader of {session} did not see the log"
        );
        check_text(read, round);
    }
    check_told(seen, round);
}

/// Each turn has one prompt and one end, and nothing after it.
fn check_turns(session: &str, log: &[Value], round: u64) {
    let mut turns: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for event in log {
        if let Some(turn) = event["turn_id"].as_str() {
            turns.entry(turn).or_default().push(event);
        }
    }
    for (turn, events) in turns {
        let prompts = events.iter().filter(|event| event["type"] == "message").count();
        let ends = events.iter().filter(|event| ends_turn(event)).count();
        let told = format!("round {round}: turn {turn} of {session}: {events:?}");
        // One that waited and did not begin has no prompt in the log.
        let waited = events.first().is_some_and(|event| event["type"] == "turn_queued");
        assert!(prompts == 1 || (prompts == 0 && waited), "{told}");
        assert_eq!(ends, 1, "{told}");
        assert!(events.last().is_some_and(|event| ends_turn(event)), "{told}");
    }
}

/// What a reader was told piece by piece is what the turn said, where it completed.
fn check_text(read: &[Value], round: u64) {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for event in read {
        let Some(turn) = event["turn_id"].as_str() else {
            continue;
        };
        let text = event["text"].as_str().unwrap_or_default();
        if event["type"] == "text_delta" {
            texts.entry(turn).or_default().push_str(text);
        } else if event["type"] == "turn_resumed" {
            texts.insert(turn, text.to_owned());
        } else if event["type"] == "done" {
            let said = texts.get(turn).map(String::as_str).unwrap_or_default();
            assert_eq!(
                said,
                event["text"].as_str().unwrap(),
                "round {round}: pieces of turn {turn} are lost"
            );
        }
    }
}

/// What clients were told is so; and nothing ran twice.
fn check_told(seen: &Seen, round: u64) {
    for (mark, (session, told)) in &seen.told {
        let log = &seen.logs[session];
        // Marks end with a number: the one that begins with this one is another.
        let is_marked = |text: &str| {
            text.split(|c: char| c.is_whitespace() || c == ',')
                .any(|word| word == mark)
        };
        let prompts: Vec<_> = log
            .iter()
            .filter(|event| event["type"] == "message" && event["text"].as_str().is_some_and(is_marked))
            .collect();
        assert!(prompts.len() <= 1, "round {round}: {mark} ran twice: {prompts:?}");
        let recalled = seen.recalled.get(session).map(String::as_str).unwrap_or_default();
        let in_conversation = recalled
            .split(|c: char| c.is_whitespace() || c == ',')
            .filter(|word| word == mark)
            .count();
        assert!(
            in_conversation <= prompts.len(),
            "round {round}: {mark} is in the conversation twice: {recalled}"
        );
        match told {
            Told::Taken { turn, text } => {
                let end = log
                    .iter()
                    .find(|event| ends_turn(event) && event["turn_id"] == turn.as_str());
                let end =
                    end.unwrap_or_else(|| panic!("round {round}: {mark} was taken, and is not in the log"));
                if let Some(text) = text {
                    assert_eq!(
                        (&end["type"], &end["text"]),
                        (&"done".into(), &text.as_str().into()),
                        "round {round}: {mark}"
                    );
                    assert!(
                        recalled.is_empty() || in_conversation == 1,
                        "round {round}: {mark} was forgotten"
                    );
                }
            }
            Told::Refused => assert!(prompts.is_empty(), "round {round}: {mark} was refused, and ran"),
            Told::Nothing => {}
        }
    }
}
