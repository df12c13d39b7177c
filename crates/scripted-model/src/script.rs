//! The language of prompts: lines that begin with `%` say what to do, all others what to say.

use std::time::Duration;

use serde_json::{Value, json};

/// One step of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Says a text.
    Say(String),
    /// Says numbered words, one at a time.
    Words { count: u32, every: Duration },
    /// Thinks a text.
    Think(String),
    /// Calls a tool. Without `beside`, it ends the message and waits for what the tool answers.
    Tool {
        name: String,
        input: Value,
        beside: bool,
    },
    /// Says what the tools have answered.
    Results,
    /// Says the prompts before this one.
    Recall,
    /// Does nothing for a while.
    Wait(Duration),
    /// Does nothing more, ever.
    Hang,
    /// Answers with an HTTP error.
    Fail {
        status: u16,
        retry_after: Option<u32>,
        times: Option<u32>,
    },
    /// Breaks the stream off with an error.
    Overloaded { times: Option<u32> },
    /// Drops the connection.
    Drop { times: Option<u32> },
    /// Sets the usage that is told.
    Usage {
        input: Option<u64>,
        output: Option<u64>,
        cache_read: Option<u64>,
        cache_creation: Option<u64>,
    },
    /// Sets the reason for which the answer stops.
    Stop(String),
}

/// The steps that a prompt asks for; none when it holds no line of the language.
pub(crate) fn parse(prompt: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut scripted = false;
    for line in prompt.lines() {
        if let Some(directive) = line.trim_start().strip_prefix('%') {
            scripted = true;
            steps.push(step(directive.trim()));
        } else if !line.trim().is_empty() {
            steps.push(Step::Say(line.to_owned()));
        }
    }
    if scripted { steps } else { Vec::new() }
}

/// One line of the language. One that is not understood is said, so that its author sees it.
fn step(directive: &str) -> Step {
    let (word, rest) = directive
        .split_once(char::is_whitespace)
        .unwrap_or((directive, ""));
    let rest = rest.trim();
    let understood = match word {
        "say" => Some(Step::Say(rest.to_owned())),
        "words" => words(rest),
        "think" => Some(Step::Think(rest.to_owned())),
        "tool" => tool(rest, false),
        "+tool" => tool(rest, true),
        "bash" => Some(bash(rest, false)),
        "+bash" => Some(bash(rest, true)),
        "write" => write(rest),
        "read" => Some(call("Read", json!({"file_path": rest}), false)),
        "results" => Some(Step::Results),
        "recall" => Some(Step::Recall),
        "wait" => duration(rest).map(Step::Wait),
        "hang" => Some(Step::Hang),
        "fail" => fail(rest),
        "overloaded" => Some(Step::Overloaded { times: times(rest) }),
        "drop" => Some(Step::Drop { times: times(rest) }),
        "usage" => Some(usage(rest)),
        "stop" => Some(Step::Stop(rest.to_owned())),
        _ => None,
    };
    understood.unwrap_or_else(|| Step::Say(format!("(not understood: % {directive})")))
}

fn call(name: &str, input: Value, beside: bool) -> Step {
    Step::Tool {
        name: name.to_owned(),
        input,
        beside,
    }
}

fn bash(command: &str, beside: bool) -> Step {
    call(
        "Bash",
        json!({"command": command, "description": "A scripted command"}),
        beside,
    )
}

fn tool(rest: &str, beside: bool) -> Option<Step> {
    let (name, input) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
    let input: Value = serde_json::from_str(input.trim()).ok()?;
    (!name.is_empty() && input.is_object()).then(|| call(name, input, beside))
}

fn write(rest: &str) -> Option<Step> {
    let (file, content) = rest.split_once(char::is_whitespace)?;
    Some(call(
        "Write",
        json!({"file_path": file, "content": format!("{}\n", content.trim())}),
        false,
    ))
}

fn words(rest: &str) -> Option<Step> {
    let mut parts = rest.split_whitespace();
    let count = parts.next()?.parse().ok()?;
    let every = match (parts.next(), parts.next()) {
        (Some("every"), Some(every)) => duration(every)?,
        (None, None) => Duration::ZERO,
        _ => return None,
    };
    Some(Step::Words { count, every })
}

fn fail(rest: &str) -> Option<Step> {
    let status = rest
        .split_whitespace()
        .next()?
        .parse()
        .ok()
        .filter(|status| (400..600).contains(status))?;
    Some(Step::Fail {
        status,
        retry_after: value(rest, "retry-after"),
        times: times(rest),
    })
}

fn usage(rest: &str) -> Step {
    Step::Usage {
        input: value(rest, "input"),
        output: value(rest, "output"),
        cache_read: value(rest, "cache_read"),
        cache_creation: value(rest, "cache_creation"),
    }
}

fn times(rest: &str) -> Option<u32> {
    value(rest, "times")
}

/// The number after `name=` or `name `.
fn value<T: std::str::FromStr>(rest: &str, name: &str) -> Option<T> {
    let mut parts = rest.split(|c: char| c.is_whitespace() || c == '=');
    parts.find(|part| *part == name)?;
    parts.next()?.parse().ok()
}

/// `50ms`, `5s`, `2m`.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u32 = digits.parse().ok()?;
    match text.strip_prefix(digits)? {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        "m" => Some(Duration::from_secs(u64::from(number) * 60)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_prompt_without_the_language_has_no_steps() {
        assert_eq!(parse("Hello, 100 % of you"), []);
        assert_eq!(parse(""), []);
    }

    #[test]
    fn the_readmes_lines_mean_what_it_says() {
        for (line, step) in [
            ("% say hi there", Step::Say("hi there".into())),
            (
                "  %words 3 every 50ms",
                Step::Words {
                    count: 3,
                    every: Duration::from_millis(50),
                },
            ),
            (
                "% words 3",
                Step::Words {
                    count: 3,
                    every: Duration::ZERO,
                },
            ),
            ("% wait 2m", Step::Wait(Duration::from_mins(2))),
            (
                "% fail 429 retry-after=7 times 2",
                Step::Fail {
                    status: 429,
                    retry_after: Some(7),
                    times: Some(2),
                },
            ),
            ("% overloaded", Step::Overloaded { times: None }),
            (
                "% tool Grep {\"pattern\": \"x y\"}",
                call("Grep", json!({"pattern": "x y"}), false),
            ),
            (
                "% write a.txt one two",
                call(
                    "Write",
                    json!({"file_path": "a.txt", "content": "one two\n"}),
                    false,
                ),
            ),
            ("% stop refusal", Step::Stop("refusal".into())),
        ] {
            assert_eq!(parse(line), [step], "{line}");
        }
        let usage = Step::Usage {
            input: Some(5),
            output: None,
            cache_read: Some(2),
            cache_creation: None,
        };
        assert_eq!(parse("% usage input=5 cache_read=2"), [usage]);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for line in [
            "% dance",
            "% words many",
            "% fail 200",
            "% tool Bash {",
            "% wait soon",
        ] {
            assert!(
                matches!(&parse(line)[..], [Step::Say(text)] if text.contains("not understood")),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_prompt_is_too_odd(prompt in "(%? ?[a-z+]{0,10} ?\\PC{0,20}\n?){0,5}") {
            parse(&prompt);
        }
    }
}
