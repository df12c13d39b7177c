//! The actor that owns one agent: the only one that reads and writes its process's pipes.
//!
//! It answers what the CLI asks, hands the messages of a turn to whoever runs the turn, and ends the process with all
//! that it started. It reads no further line while the last one has not been taken, so that a slow reader holds the
//! CLI back instead of filling memory; commands are served all the while.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::codec::FramedRead;
use uuid::Uuid;

use super::control_group::ControlGroup;
use super::handle::{Agent, AgentEnd, AgentState, Command, TurnMessage};
use super::metrics::AgentMetrics;
use super::pool::Place;
use super::process::{ExitStatus, Pipes, Process};
use super::transcript::{Kept, TranscriptQueue};
use crate::domain::MicroUsd;
use crate::gateway::Door;
use crate::lifecycle::Tasks;
use crate::protocol::control::{self, Initialize};
use crate::protocol::lines::{Line, LineDecoder};
use crate::protocol::message::{CliMessage, TurnResult};
use crate::protocol::question::{ControlRequest, ControlResponse, Question};

/// The most lines that may wait for a process to read them.
const MAX_UNREAD_LINES: usize = 256;

/// How an actor treats its process.
#[derive(Debug, Clone)]
pub struct ActorLimits {
    /// How long the CLI may take to be ready.
    pub start_timeout: Duration,
    /// How long the CLI may take to end after its input was closed, and again after SIGTERM.
    pub stop_grace: Duration,
    /// The longest line it may write; a longer one is skipped and counted.
    pub line_limit_bytes: usize,
    /// How much of what it writes to standard error is kept for error messages.
    pub stderr_tail_bytes: usize,
}

/// Takes over a started process. `place` is held until nothing is left of it. What the CLI writes down goes to
/// `transcript`, if it is kept.
#[must_use]
pub(super) fn take_over(
    process: Process,
    pipes: Pipes,
    initialize: &Initialize,
    limits: ActorLimits,
    metrics: Arc<AgentMetrics>,
    belongings: Belongings,
    tasks: &Tasks,
) -> Agent {
    let Belongings {
        place,
        transcript,
        door,
        control_group,
    } = belongings;
    let meter = door.as_ref().map(|door| door.meter().clone());
    let (commands, inbox) = mpsc::channel(8);
    let (state, watched) = watch::channel(AgentState::Starting);
    let pid = process.id();
    let (input, lines) = mpsc::channel(16);
    tasks.spawn(write_lines(pipes.stdin, lines));
    let actor = Actor {
        process,
        input: Some(input),
        limits,
        metrics,
        state,
        turn: None,
        pending: None,
        written_down: None,
        transcript: transcript.clone(),
        backlog: VecDeque::new(),
        complaint: Tail::default(),
        ending: Ending::NotYet,
        start_timed_out: false,
        spent: MicroUsd::ZERO,
        asked: HashMap::new(),
        asks: 0,
        place: Some(place),
        door,
        control_group,
    };
    let hello = initialize.to_line();
    tasks.spawn(async move {
        actor.run(inbox, pipes.stdout, pipes.stderr, hello).await;
    });
    Agent {
        commands,
        state: watched,
        transcript,
        meter,
        pid,
    }
}

/// What is an agent's for as long as its process lives.
#[derive(Debug)]
pub(super) struct Belongings {
    /// Its place in the pool.
    pub(super) place: Place,
    /// Where what its CLI writes down goes, if it is kept.
    pub(super) transcript: Option<TranscriptQueue>,
    /// Its way to the model, if there is a gateway.
    pub(super) door: Option<Door>,
    /// Its control group, if it has one.
    pub(super) control_group: Option<ControlGroup>,
}

/// The turn whose messages are handed on.
#[derive(Debug)]
struct CurrentTurn {
    prompt: Uuid,
    messages: mpsc::Sender<TurnMessage>,
    /// Whether messages are handed on with the lines that they came as.
    verbatim: bool,
    /// Whether the CLI has told of the prompt by its id; then only what it tells of that id counts.
    known: bool,
    /// Whether the CLI has begun to work on the prompt.
    begun: bool,
}

#[derive(Debug)]
struct Actor {
    process: Process,
    /// Lines for the process; `None` once its input is to be closed.
    input: Option<mpsc::Sender<Bytes>>,
    limits: ActorLimits,
    metrics: Arc<AgentMetrics>,
    state: watch::Sender<AgentState>,
    turn: Option<CurrentTurn>,
    /// A message that the turn's runner has not taken yet.
    pending: Option<TurnMessage>,
    /// What the CLI wrote down and the transcript's keeper has not taken yet.
    written_down: Option<Kept>,
    /// Where that goes, if it is kept.
    transcript: Option<TranscriptQueue>,
    /// Lines that did not fit into the process's input queue.
    backlog: VecDeque<Bytes>,
    complaint: Tail,
    ending: Ending,
    start_timed_out: bool,
    /// What the process has cost so far, by its own count.
    spent: MicroUsd,
    /// What the CLI was asked and has not answered.
    asked: HashMap<String, oneshot::Sender<Result<Value, String>>>,
    asks: u64,
    /// Its place in the pool, given back before its end is told.
    place: Option<Place>,
    /// Its way to the model, closed with its end.
    door: Option<Door>,
    /// Its control group, removed with its end.
    control_group: Option<ControlGroup>,
}

/// How far the end of a process has come.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// It is not to end.
    NotYet,
    /// Its input is closed; at the given time it is sent SIGTERM.
    Closing(Instant),
    /// It was sent SIGTERM; at the given time it is killed.
    Terminating(Instant),
    /// It was killed, or has ended.
    Killed,
}

impl Ending {
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Closing(at) | Self::Terminating(at) => Some(at),
            Self::NotYet | Self::Killed => None,
        }
    }
}

impl Actor {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        stdout: ChildStdout,
        mut stderr: ChildStderr,
        initialize: Bytes,
    ) {
        let mut lines = FramedRead::new(stdout, LineDecoder::new(self.limits.line_limit_bytes));
        let mut complaints = vec![0; 4096];
        let (mut inbox_open, mut lines_open, mut stderr_open) = (true, true, true);
        let start_deadline = Instant::now() + self.limits.start_timeout;
        // Set when the process has ended: until then, what it wrote last is read.
        let mut exit: Option<(ExitStatus, Instant)> = None;
        self.send(initialize);

        let status = loop {
            if let Some((status, _)) = exit
                && !lines_open
                && !stderr_open
                && self.pending.is_none()
                && self.written_down.is_none()
            {
                break status;
            }
            let starting = self.is_starting() && matches!(self.ending, Ending::NotYet);
            let end_deadline = self.ending.deadline();
            let drain_deadline = exit.map(|(_, until)| until);
            tokio::select! {
                biased;
                command = inbox.recv(), if inbox_open => {
                    inbox_open = command.is_some();
                    // Without a handle nobody can use it again.
                    self.obey(command.unwrap_or(Command::Stop));
                }
                () = deliver(&mut self.turn, &mut self.pending), if self.pending.is_some() => {}
                () = write_down(self.transcript.as_ref(), &mut self.written_down), if self.written_down.is_some() => {}
                () = flush(&mut self.input, &mut self.backlog), if !self.backlog.is_empty() => {}
                line = lines.next(), if lines_open && self.pending.is_none() && self.written_down.is_none() => match line {
                    Some(Ok(line)) => self.take(line),
                    Some(Err(error)) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "an agent's output cannot be read");
                        lines_open = false;
                    }
                    None => lines_open = false,
                },
                read = stderr.read(&mut complaints), if stderr_open => match read {
                    Ok(length @ 1..) => self.complain(complaints.get(..length).unwrap_or_default()),
                    _ => stderr_open = false,
                },
                status = self.process.ended(), if exit.is_none() => {
                    exit = Some((status, Instant::now() + self.limits.stop_grace));
                    self.ending = Ending::Killed;
                }
                // Only a process that left the group can still hold the pipes open.
                () = at(drain_deadline), if drain_deadline.is_some() => {
                    (lines_open, stderr_open) = (false, false);
                    self.pending = None;
                }
                () = at(end_deadline), if end_deadline.is_some() => self.press(),
                () = tokio::time::sleep_until(start_deadline), if starting => {
                    self.start_timed_out = true;
                    self.kill();
                }
            }
        };
        self.report_end(status);
    }

    fn is_starting(&self) -> bool {
        matches!(*self.state.borrow(), AgentState::Starting)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Turn {
                prompt,
                line,
                verbatim,
                messages,
            } => {
                self.turn = Some(CurrentTurn {
                    prompt,
                    messages,
                    verbatim,
                    known: false,
                    begun: false,
                });
                self.send(line);
            }
            Command::Send(line) => self.send(line),
            Command::Ask {
                subtype,
                fields,
                answer,
            } => {
                self.asked.retain(|_, answer| !answer.is_closed());
                self.asks += 1;
                let id = format!("ask-{}", self.asks);
                self.send(control::request(&id, subtype, fields));
                self.asked.insert(id, answer);
            }
            Command::Interrupt => {
                self.asks += 1;
                let id = format!("interrupt-{}", self.asks);
                self.send(control::request(&id, "interrupt", Map::new()));
            }
            Command::Stop => self.begin_ending(),
            Command::Kill => self.kill(),
        }
    }

    fn begin_ending(&mut self) {
        if matches!(self.ending, Ending::NotYet) {
            self.input = None;
            self.backlog.clear();
            self.ending = Ending::Closing(Instant::now() + self.limits.stop_grace);
        }
    }

    /// Goes on to the next means of ending the process.
    fn press(&mut self) {
        match self.ending {
            Ending::Closing(_) => {
                self.process.terminate();
                self.ending = Ending::Terminating(Instant::now() + self.limits.stop_grace);
            }
            Ending::Terminating(_) => self.kill(),
            Ending::NotYet | Ending::Killed => {}
        }
    }

    fn kill(&mut self) {
        self.process.kill();
        self.ending = Ending::Killed;
    }

    /// Queues a line for the process, without waiting for it to read. One that lets too many lines wait is killed.
    fn send(&mut self, line: Bytes) {
        if self.backlog.len() >= MAX_UNREAD_LINES {
            self.complain(b"it reads nothing of what it is told");
            self.kill();
        } else {
            self.backlog.push_back(line);
        }
    }

    fn complain(&mut self, text: &[u8]) {
        self.complaint.push(text, self.limits.stderr_tail_bytes);
    }

    fn take(&mut self, line: Line) {
        let text = match line {
            Line::Text(text) => text,
            Line::TooLong { .. } => return self.count_garbage("too long"),
            Line::NotUtf8 => return self.count_garbage("not UTF-8"),
        };
        match CliMessage::parse(&text) {
            Ok(CliMessage::ControlResponse(response)) => self.answered(response),
            Ok(CliMessage::ControlRequest(request)) => self.was_asked(request, text),
            Ok(CliMessage::TranscriptMirror { file, lines }) => {
                self.written_down = Some(Kept::Lines { file, lines });
            }
            Ok(message) => self.hand_on(message, text),
            Err(_) => self.count_garbage("not a message"),
        }
    }

    fn count_garbage(&self, what: &'static str) {
        self.metrics.garbage_line();
        tracing::warn!(
            agent.pid = self.process.id(),
            what,
            "skipped a line of an agent's output"
        );
    }

    /// The CLI answered a control request of ours.
    fn answered(&mut self, response: ControlResponse) {
        if let Some(asker) = self.asked.remove(&response.request_id) {
            // Whoever asked may have lost patience.
            let _waits = asker.send(response.outcome);
            return;
        }
        let initialized = response.request_id == control::INITIALIZE_ID && self.is_starting();
        match response.outcome {
            Ok(answer) if initialized => {
                self.state.send_replace(AgentState::Ready(Arc::new(answer)));
            }
            Ok(_) => {}
            Err(error) if initialized => {
                self.complain(error.as_bytes());
                self.kill();
            }
            Err(error) => tracing::warn!(agent.pid = self.process.id(), error, "the CLI refused a request"),
        }
    }

    /// The CLI asks something of us: whoever runs the turn decides about tools.
    fn was_asked(&mut self, request: ControlRequest, line: String) {
        let id = &request.request_id;
        match &request.question {
            Question::CanUseTool(_) if self.turn.is_some() => {
                self.hand_on(CliMessage::ControlRequest(request), line);
            }
            Question::CanUseTool(question) => {
                let why = format!("No turn runs that could ask for {}.", question.tool_name);
                self.send(control::deny_tool(id, &why));
            }
            Question::Other { subtype } => {
                self.send(control::refuse(id, &format!("{subtype} is not supported here")));
            }
        }
    }

    /// Hands a message on to the turn it belongs to; drops it when it belongs to none.
    fn hand_on(&mut self, mut message: CliMessage, line: String) {
        if let CliMessage::Result(result) = &mut message {
            result
                .turn_cost
                .get_or_insert(result.total_cost.saturating_sub(self.spent));
            self.spent = result.total_cost;
            if self.turn.is_none() {
                // A CLI that cannot start says why in a result of its own.
                let errors = result.errors.join("; ");
                self.complain(errors.as_bytes());
            }
        }
        let Some(turn) = &mut self.turn else { return };
        match &message {
            CliMessage::CommandLifecycle { prompt, state } => {
                if *prompt == Some(turn.prompt) {
                    turn.known = true;
                    turn.begun |= state == "started";
                }
                return;
            }
            CliMessage::System(system) if system.subtype == "init" => turn.begun |= !turn.known,
            CliMessage::Result(result) if !belongs(result, turn) => {
                tracing::warn!(
                    agent.pid = self.process.id(),
                    "dropped a result that belongs to no running turn"
                );
                return;
            }
            CliMessage::Other { .. } if !turn.verbatim => return,
            _ => {}
        }
        let line = (turn.verbatim && message.is_conversation()).then_some(line);
        self.pending = Some(TurnMessage { message, line });
    }

    fn report_end(&mut self, status: ExitStatus) {
        let was_ready = matches!(*self.state.borrow(), AgentState::Ready(_));
        let complaint = self.complaint.text();
        if !matches!(status.code, Some(0)) {
            tracing::warn!(agent.status = %status, agent.complaint_bytes = complaint.len(), "an agent's process ended");
        }
        let end = AgentEnd {
            status,
            was_ready,
            start_timed_out: self.start_timed_out,
            complaint,
        };
        self.place = None;
        self.door = None;
        self.control_group = None;
        // Whoever waits for the turn's next message looks here when there is none; so this comes first.
        self.state.send_replace(AgentState::Ended(Arc::new(end)));
        self.turn = None;
        self.asked.clear();
    }
}

/// Whether a result ends this turn, and not one that the CLI ran on its own or told of twice.
fn belongs(result: &TurnResult, turn: &CurrentTurn) -> bool {
    if result.prompts.is_empty() {
        turn.begun
    } else {
        result.prompts.contains(&turn.prompt)
    }
}

/// Gives the pending message to the turn's runner; drops both when nobody runs it any more. Cancel-safe.
async fn deliver(turn: &mut Option<CurrentTurn>, pending: &mut Option<TurnMessage>) {
    let Some(current) = turn.as_ref() else {
        *pending = None;
        return;
    };
    let place = current.messages.reserve().await;
    let last = pending
        .as_ref()
        .is_some_and(|pending| matches!(pending.message, CliMessage::Result(_)));
    let gone = match (place, pending.take()) {
        (Ok(place), Some(message)) => {
            place.send(message);
            false
        }
        (place, _) => place.is_err(),
    };
    if last || gone {
        *turn = None;
    }
}

/// Gives what the CLI wrote down to the transcript's keeper; drops it when it is not kept. Cancel-safe.
async fn write_down(transcript: Option<&TranscriptQueue>, written_down: &mut Option<Kept>) {
    if let Some(transcript) = transcript
        && let Ok(place) = transcript.reserve().await
        && let Some(lines) = written_down.take()
    {
        place.send(lines);
    }
    *written_down = None;
}

/// Gives the next line to the process's writer. Cancel-safe.
async fn flush(input: &mut Option<mpsc::Sender<Bytes>>, backlog: &mut VecDeque<Bytes>) {
    let Some(sender) = input.as_ref() else {
        backlog.clear();
        return;
    };
    let closed = match sender.reserve().await {
        Ok(place) => {
            if let Some(line) = backlog.pop_front() {
                place.send(line);
            }
            false
        }
        Err(_closed) => true,
    };
    if closed {
        *input = None;
        backlog.clear();
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Writes lines until the sender is gone, then closes the input; ends early when the process reads no more.
async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Bytes>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

/// The last bytes of a text that may be long.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, text: &[u8], limit_bytes: usize) {
        self.0.extend(text);
        let excess = self.0.len().saturating_sub(limit_bytes);
        self.0.drain(..excess);
    }

    fn text(&self) -> String {
        let (front, back) = self.0.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_keeps_the_end_and_no_more_than_its_limit() {
        let mut tail = Tail::default();
        tail.push(b"one two", 5);
        assert_eq!(tail.text(), "e two");
        tail.push("é".as_bytes(), 5);
        assert_eq!(tail.text(), "twoé");
    }
}
