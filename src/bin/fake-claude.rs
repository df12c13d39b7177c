//! A scripted stand-in for the CLI, for faults and load only: it speaks the CLI's stream-json and does what the prompt
//! says, faults included. It is no agent, calls no model, and no test of what the real CLI does may use it.
//!
//! A prompt's first line says what to do; `docs/fake-claude.md` lists it all. What has to happen before there is a
//! prompt is said by the variable `FAKE_CLAUDE_START`.

use std::fs;
use std::io::{self, BufRead as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde_json::{Value, json};

/// What the stand-in was started as.
struct Arguments {
    session: String,
    resume: bool,
    /// Whether it is to tell what it writes down.
    mirror: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--version") {
        // Nobody may take it for the real one.
        let _told = writeln!(
            io::stdout(),
            "0.0.0 (fake-claude, a stand-in for faults and load)"
        );
        return ExitCode::SUCCESS;
    }
    match Fake::start(&arguments) {
        Ok(mut fake) => fake.serve(),
        Err(code) => code,
    }
}

fn option(arguments: &[String], name: &str) -> Option<String> {
    let joined = format!("{name}=");
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if let Some(value) = word.strip_prefix(&joined) {
            return Some(value.to_owned());
        }
        if word == name {
            return words.next().cloned();
        }
    }
    None
}

struct Fake {
    arguments: Arguments,
    transcript: Option<PathBuf>,
    earlier: Vec<String>,
    input: Receiver<Value>,
    turns: u32,
    deaf_to_end: bool,
}

/// How a step of a turn ended.
enum Flow {
    GoOn,
    Interrupted,
    InputClosed,
}

impl Fake {
    fn start(arguments: &[String]) -> Result<Self, ExitCode> {
        start_as_told()?;
        let resumed = option(arguments, "--resume");
        let session = resumed
            .clone()
            .or_else(|| option(arguments, "--session-id"))
            .unwrap_or_default();
        let arguments = Arguments {
            session,
            resume: resumed.is_some(),
            mirror: arguments.iter().any(|argument| argument == "--session-mirror"),
        };
        let transcript = transcript_path(&arguments.session);
        let exists = transcript.as_ref().is_some_and(|path| path.is_file());
        if arguments.resume && !exists {
            let why = format!("No conversation found with session ID: {}", arguments.session);
            complain(&why);
            say(
                &json!({"type": "result", "subtype": "error_during_execution", "is_error": true, "errors": [why],
                "session_id": arguments.session, "total_cost_usd": 0, "usage": {}}),
            );
            return Err(ExitCode::from(1));
        }
        if !arguments.resume && exists {
            complain(&format!(
                "Error: Session ID {} is already in use.",
                arguments.session
            ));
            return Err(ExitCode::from(1));
        }
        let earlier = transcript
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default();
        let earlier = earlier
            .lines()
            .filter_map(|line| {
                serde_json::from_str::<Value>(line)
                    .ok()?
                    .get("prompt")?
                    .as_str()
                    .map(ToOwned::to_owned)
            })
            .collect();
        let (lines, input) = mpsc::channel();
        std::thread::spawn(move || read_input(&lines));
        Ok(Self {
            arguments,
            transcript,
            earlier,
            input,
            turns: 0,
            deaf_to_end: false,
        })
    }

    fn serve(&mut self) -> ExitCode {
        loop {
            let Ok(line) = self.input.recv() else {
                if self.deaf_to_end {
                    sleep_for_ever();
                }
                return ExitCode::SUCCESS;
            };
            match line.get("type").and_then(Value::as_str) {
                Some("control_request") => {
                    Self::answer(&line);
                }
                Some("user") => {
                    if let Some(code) = self.turn(&line) {
                        return code;
                    }
                }
                _ => {}
            }
        }
    }

    /// Answers a control request; whether it was an interrupt.
    fn answer(line: &Value) -> bool {
        let id = line.get("request_id").cloned().unwrap_or_default();
        let subtype = line
            .pointer("/request/subtype")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let answer = match subtype {
            "initialize" => {
                json!({"commands": [], "models": [{"value": "fake", "displayName": "Fake", "description": "None"}],
                "account": {}, "pid": std::process::id()})
            }
            "interrupt" => json!({"still_queued": []}),
            "set_model" | "set_permission_mode" => json!({}),
            other => {
                say(
                    &json!({"type": "control_response", "response": {"subtype": "error", "request_id": id,
                    "error": format!("Unsupported control request subtype: {other}"),
                    "error_code": "unsupported_request"}}),
                );
                return false;
            }
        };
        say(&json!({"type": "control_response",
            "response": {"subtype": "success", "request_id": id, "response": answer}}));
        subtype == "interrupt"
    }

    /// Waits, and answers what is asked meanwhile.
    fn wait(&self, time: Duration) -> Flow {
        let until = std::time::Instant::now() + time;
        loop {
            match self
                .input
                .recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
            {
                Ok(line) if Self::answer(&line) => return Flow::Interrupted,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Flow::GoOn,
                Err(RecvTimeoutError::Disconnected) if self.deaf_to_end => sleep_for_ever(),
                Err(RecvTimeoutError::Disconnected) => return Flow::InputClosed,
            }
        }
    }

    /// Runs a turn; an exit code if it ends the process.
    #[expect(clippy::too_many_lines, reason = "a table: one arm a fault")]
    fn turn(&mut self, line: &Value) -> Option<ExitCode> {
        let prompt = line
            .pointer("/message/content")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let id = line.get("uuid").cloned().unwrap_or_default();
        self.turns += 1;
        say(&json!({"type": "command_lifecycle", "command_uuid": id, "state": "started"}));
        say(
            &json!({"type": "system", "subtype": "init", "session_id": self.arguments.session, "model": "fake"}),
        );
        let mut words = prompt.lines().next().unwrap_or_default().split_whitespace();
        let verb = words.next().unwrap_or_default().to_owned();
        let rest: Vec<String> = words.map(ToOwned::to_owned).collect();
        let first = rest.first().map_or("", String::as_str);
        let text = match verb.as_str() {
            "words" => match self.words(&rest) {
                (said, Flow::GoOn) => said,
                (said, Flow::Interrupted) => return self.interrupted(&id, &prompt, &said),
                (_, Flow::InputClosed) => return Some(ExitCode::SUCCESS),
            },
            "never-end" => match self.wait(Duration::from_secs(u64::from(u32::MAX))) {
                Flow::InputClosed => return Some(ExitCode::SUCCESS),
                _ => return self.interrupted(&id, &prompt, ""),
            },
            "silence" => sleep_for_ever(),
            "fall-silent" => {
                delta("half an ");
                sleep_for_ever();
            }
            "exit" => {
                delta("half an ");
                complain("fake-claude: told to exit");
                return Some(ExitCode::from(first.parse().unwrap_or(1)));
            }
            "abort" => {
                delta("half an ");
                std::process::abort();
            }
            "garbage" => {
                for line in [
                    "this is no JSON",
                    "{\"type\": 5}",
                    "[1, 2]",
                    "\"text\"",
                    "{\"half\": ",
                ] {
                    let _told = writeln!(io::stdout(), "{line}");
                }
                let _told = io::stdout().write_all(b"\xff\xfe\x00 not text\n");
                "after garbage".to_owned()
            }
            "long-line" => {
                long_line(first.parse().unwrap_or(100));
                "after a long line".to_owned()
            }
            "unknown" => {
                say(&json!({"type": "message_of_next_year", "payload": {"deep": [1, 2, 3]}}));
                say(&json!({"type": "system", "subtype": "subtype_of_next_year"}));
                say(&json!({"type": "assistant", "message": "not an object"}));
                "after unknown messages".to_owned()
            }
            "ignore-end" => {
                self.deaf_to_end = true;
                ignore_sigterm();
                "deaf".to_owned()
            }
            "grandchild" => {
                leave_grandchild(first);
                "left one behind".to_owned()
            }
            "tool" => {
                call_tool(first);
                "used a tool".to_owned()
            }
            "permission" => self.ask_permission(first),
            "api-error" => {
                self.finish(&id, &prompt, &json!({"subtype": "success", "is_error": true,
                    "result": format!("API Error: {first} scripted"), "api_error_status": first.parse::<u16>().ok()}));
                return None;
            }
            "max-turns" => {
                delta("half an answer");
                whole("half an answer");
                self.finish(
                    &id,
                    &prompt,
                    &json!({"subtype": "error_max_turns", "is_error": true}),
                );
                return Some(ExitCode::from(1));
            }
            "twice" => {
                whole("said twice");
                self.finish(
                    &id,
                    &prompt,
                    &json!({"subtype": "success", "result": "said twice"}),
                );
                self.finish(
                    &id,
                    &prompt,
                    &json!({"subtype": "success", "result": "said twice"}),
                );
                return None;
            }
            "new-session" => {
                first.clone_into(&mut self.arguments.session);
                self.transcript = transcript_path(&self.arguments.session);
                "moved".to_owned()
            }
            "recall" => self.earlier.join(", "),
            "pid" => std::process::id().to_string(),
            _ => format!("You said: {prompt}"),
        };
        if verb != "words" {
            for piece in text.split_inclusive(' ') {
                delta(piece);
            }
        }
        whole(&text);
        self.finish(
            &id,
            &prompt,
            &json!({"subtype": "success", "result": text, "stop_reason": "end_turn"}),
        );
        None
    }

    fn words(&self, rest: &[String]) -> (String, Flow) {
        let number = |index: usize| {
            rest.get(index)
                .and_then(|word| word.trim_end_matches("ms").parse::<u64>().ok())
        };
        let (count, pause) = (number(0).unwrap_or(1), number(2).unwrap_or(0));
        let mut said = String::new();
        for word in 1..=count {
            let piece = if word == 1 {
                "word1".to_owned()
            } else {
                format!(" word{word}")
            };
            delta(&piece);
            said.push_str(&piece);
            match self.wait(Duration::from_millis(pause)) {
                Flow::GoOn => {}
                flow => return (said, flow),
            }
        }
        (said, Flow::GoOn)
    }

    fn interrupted(&mut self, id: &Value, prompt: &str, said: &str) -> Option<ExitCode> {
        if !said.is_empty() {
            whole(said);
        }
        self.finish(
            id,
            prompt,
            &json!({"subtype": "error_during_execution", "is_error": true,
            "errors": ["interrupted"]}),
        );
        None
    }

    fn ask_permission(&self, tool: &str) -> String {
        say(
            &json!({"type": "control_request", "request_id": "ask-1", "request": {"subtype": "can_use_tool",
            "tool_name": tool, "input": {}, "tool_use_id": "t1"}}),
        );
        while let Ok(line) = self.input.recv() {
            if line.pointer("/response/request_id").and_then(Value::as_str) == Some("ask-1") {
                let behavior = line
                    .pointer("/response/response/behavior")
                    .and_then(Value::as_str)
                    .unwrap_or("none");
                return format!("permission: {behavior}");
            }
            Self::answer(&line);
        }
        "permission: nobody answered".to_owned()
    }

    /// Writes the prompt into the transcript, and ends the turn.
    fn finish(&mut self, id: &Value, prompt: &str, fields: &Value) {
        if let Some(path) = &self.transcript {
            let folder = path.parent().map(PathBuf::from).unwrap_or_default();
            let entry = json!({"prompt": prompt, "uuid": id});
            let line = format!("{entry}\n");
            let written = fs::create_dir_all(folder).and_then(|()| {
                fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)?
                    .write_all(line.as_bytes())
            });
            if let Err(error) = written {
                complain(&format!("fake-claude: the transcript was not written: {error}"));
            }
            if self.arguments.mirror {
                say(&json!({"type": "transcript_mirror", "filePath": path, "entries": [entry]}));
            }
        }
        self.earlier.push(prompt.to_owned());
        let mut result = json!({"type": "result", "is_error": false, "num_turns": 1, "duration_ms": 1,
            "session_id": self.arguments.session, "total_cost_usd": f64::from(self.turns) / 100.0,
            "usage": {"input_tokens": 10, "output_tokens": 5}, "user_message_uuid": id, "user_message_uuids": [id]});
        if let (Some(result), Some(fields)) = (result.as_object_mut(), fields.as_object()) {
            result.extend(fields.clone());
        }
        say(&result);
        say(&json!({"type": "command_lifecycle", "command_uuid": id, "state": "completed"}));
    }
}

/// What has to happen before there is a prompt.
fn start_as_told() -> Result<(), ExitCode> {
    let told = variable("FAKE_CLAUDE_START").unwrap_or_default();
    let (verb, rest) = told.split_once(' ').unwrap_or((&told, ""));
    match verb {
        "exit" => {
            complain("fake-claude: told to exit at the start");
            Err(ExitCode::from(rest.parse().unwrap_or(1)))
        }
        "hang" => sleep_for_ever(),
        "garbage" => {
            let _told = writeln!(io::stdout(), "Welcome! This is no JSON.");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the stand-in is told by its environment, as the CLI is"
    )]
    std::env::var(name).ok()
}

fn transcript_path(session: &str) -> Option<PathBuf> {
    let config = PathBuf::from(variable("CLAUDE_CONFIG_DIR")?);
    let folder = std::env::current_dir()
        .ok()?
        .to_string_lossy()
        .replace(['/', '.'], "-");
    Some(
        config
            .join("projects")
            .join(folder)
            .join(format!("{session}.jsonl")),
    )
}

fn read_input(lines: &Sender<Value>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if let Ok(value) = serde_json::from_str(&line)
            && lines.send(value).is_err()
        {
            return;
        }
    }
}

fn say(message: &Value) {
    // Whoever listened has gone; the end of the input says so too.
    let _told = writeln!(io::stdout().lock(), "{message}");
}

fn complain(text: &str) {
    let _told = writeln!(io::stderr(), "{text}");
}

fn delta(text: &str) {
    say(
        &json!({"type": "stream_event", "parent_tool_use_id": null, "event": {"type": "content_block_delta",
        "index": 0, "delta": {"type": "text_delta", "text": text}}}),
    );
}

fn whole(text: &str) {
    say(
        &json!({"type": "assistant", "parent_tool_use_id": null, "message": {"id": "msg_fake", "model": "fake",
        "content": [{"type": "text", "text": text}]}}),
    );
}

fn call_tool(name: &str) {
    say(
        &json!({"type": "assistant", "message": {"id": "msg_fake", "model": "fake",
        "content": [{"type": "tool_use", "id": "t1", "name": name, "input": {"a": 1}}]}}),
    );
    say(&json!({"type": "user", "message": {"role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "fake output", "is_error": false}]}}));
}

/// One line of so many megabytes.
fn long_line(megabytes: usize) {
    let piece = vec![b'x'; 1024 * 1024];
    let mut out = io::stdout().lock();
    for _ in 0..megabytes {
        if out.write_all(&piece).is_err() {
            return;
        }
    }
    let _told = out.write_all(b"\n");
}

/// Leaves a process behind that lives on, and writes its id into a file.
fn leave_grandchild(file: &str) {
    #[expect(
        clippy::disallowed_methods,
        reason = "to leave a process behind is what was asked for"
    )]
    let child = std::process::Command::new("sleep").arg("1000").spawn();
    match child {
        Ok(child) => {
            if let Err(error) = fs::write(file, child.id().to_string()) {
                complain(&format!("fake-claude: {file}: {error}"));
            }
        }
        Err(error) => complain(&format!("fake-claude: sleep: {error}")),
    }
}

/// From now on SIGTERM does nothing: a handler that is never asked swallows it.
fn ignore_sigterm() {
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
            return;
        };
        runtime.block_on(async {
            let caught = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            // Whoever asked waits for this word.
            let _told = ready.send(());
            if caught.is_ok() {
                std::future::pending::<()>().await;
            }
        });
    });
    if is_ready.recv().is_err() {
        complain("fake-claude: SIGTERM is not ignored");
    }
}

fn sleep_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}
