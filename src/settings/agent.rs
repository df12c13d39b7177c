//! `agent`: the agents' processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, require};

/// What an agent is told whose turn goes on.
const RESUME_PROMPT: &str = "The server on which you were working was lost, and you go on on another. What you were doing \
at that moment may have happened wholly, in part or not at all: look first, then go on with the task.";

/// The agents' processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSection {
    /// The Claude Code CLI: a path, or a name that is looked up in PATH.
    pub cli_path: PathBuf,
    /// The program that guards agents; null: the server's own, started again.
    pub guardian_path: Option<PathBuf>,
    /// The folder of the agents' private homes: settings and transcripts, one folder a session.
    pub homes_dir: PathBuf,
    /// A folder whose content each new private home begins with (`.claude/settings.json`, `.gitconfig`); null:
    /// nothing.
    pub home_template: Option<PathBuf>,
    /// The most agent processes at once. Each takes about 150 MB.
    pub max_live: usize,
    /// How long a turn waits for an agent when all are at work.
    #[serde(with = "duration")]
    pub queue_timeout: Duration,
    /// The most turns that wait for an agent.
    pub queue_max: usize,
    /// The most turns of one session that wait for the one that runs (`on_busy: queue`).
    pub turn_queue_max: usize,
    /// How often a turn is gone on with whose server was lost, where its tenant asks for that (`on_lost: resume`).
    pub turn_resumes_max: u32,
    /// What its agent is then told.
    pub resume_prompt: String,
    /// How long an agent may be idle before it is ended; its session goes on with the next prompt.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Whether a session's agent is started before its first prompt.
    pub prewarm: bool,
    /// The most agents that are being started ahead at once.
    pub prewarm_concurrency: usize,
    /// How long an agent must have been idle to make room for one that is started ahead.
    #[serde(with = "duration")]
    pub prewarm_idle_min: Duration,
    /// How long the CLI may take to be ready.
    #[serde(with = "duration")]
    pub start_timeout: Duration,
    /// How long the CLI may take to end an interrupted turn before it is killed.
    #[serde(with = "duration")]
    pub interrupt_grace: Duration,
    /// How long the CLI may take to answer what it is asked outside the conversation.
    #[serde(with = "duration")]
    pub control_timeout: Duration,
    /// How long the CLI may take to end before it is sent SIGTERM, and again before it is killed.
    #[serde(with = "duration")]
    pub stop_grace: Duration,
    /// The most private memory of all agents together, what they started included, in bytes; past it, idle agents are ended. 0: no limit.
    pub memory_max_bytes: u64,
    /// How often that memory is looked at.
    #[serde(with = "duration")]
    pub memory_interval: Duration,
    /// The longest line that the CLI may write, in bytes; a longer one is skipped and counted.
    pub line_limit_bytes: usize,
    /// How much of what the CLI writes to standard error is kept for error messages, in bytes.
    pub stderr_tail_bytes: usize,
    /// How much of a transcript may wait for a store that does not take it, in bytes; past it, turns end in an error.
    pub transcript_buffer_bytes: usize,
    /// The variables of the server's environment that agents get.
    pub pass_environment: Vec<String>,
    /// More variables that agents get. No secrets: every tool that an agent runs sees them.
    pub environment: BTreeMap<String, String>,
    /// The variables that sessions may set for their agents (options.env): names, or beginnings that end in *.
    pub session_environment: Vec<String>,
}

impl Default for AgentSection {
    fn default() -> Self {
        let passed = [
            "PATH",
            "LANG",
            "LC_ALL",
            "TZ",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "NODE_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ];
        Self {
            cli_path: "claude".into(),
            guardian_path: None,
            homes_dir: "data/homes".into(),
            home_template: None,
            max_live: 20,
            queue_timeout: Duration::from_secs(30),
            queue_max: 1000,
            turn_queue_max: 20,
            turn_resumes_max: 2,
            resume_prompt: RESUME_PROMPT.to_owned(),
            idle_timeout: Duration::from_mins(10),
            prewarm: true,
            prewarm_concurrency: 4,
            prewarm_idle_min: Duration::from_secs(30),
            start_timeout: Duration::from_mins(1),
            interrupt_grace: Duration::from_secs(5),
            control_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(3),
            memory_max_bytes: 0,
            memory_interval: Duration::from_secs(10),
            line_limit_bytes: 32 * 1024 * 1024,
            stderr_tail_bytes: 8 * 1024,
            transcript_buffer_bytes: 32 * 1024 * 1024,
            pass_environment: passed.map(ToOwned::to_owned).to_vec(),
            environment: BTreeMap::new(),
            session_environment: Vec::new(),
        }
    }
}

impl AgentSection {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        require(
            (1..=100_000).contains(&self.max_live),
            problems,
            "agent.max_live: must be between 1 and 100000",
        );
        for (value, name) in [
            (self.queue_timeout, "queue_timeout"),
            (self.control_timeout, "control_timeout"),
            (self.memory_interval, "memory_interval"),
        ] {
            require(
                !value.is_zero(),
                problems,
                &format!("agent.{name}: must be more than 0"),
            );
        }
        require(
            self.prewarm_concurrency > 0,
            problems,
            "agent.prewarm_concurrency: must be at least 1",
        );
        for name in &self.session_environment {
            let beginning = name.strip_suffix('*').unwrap_or(name);
            require(
                beginning.is_empty() || is_variable(beginning),
                problems,
                &format!(
                    "agent.session_environment: `{name}` is neither the name of a variable nor the beginning of one"
                ),
            );
        }
        require(
            !self.cli_path.as_os_str().is_empty(),
            problems,
            "agent.cli_path: must not be empty",
        );
        require(
            self.line_limit_bytes >= 64 * 1024,
            problems,
            "agent.line_limit_bytes: must be at least 65536",
        );
        require(
            !self.start_timeout.is_zero(),
            problems,
            "agent.start_timeout: must be more than 0",
        );
        require(
            !self.idle_timeout.is_zero(),
            problems,
            "agent.idle_timeout: must be more than 0",
        );
        for name in self.environment.keys().chain(&self.pass_environment) {
            require(
                is_variable(name),
                problems,
                &format!("agent: `{name}` is not the name of a variable"),
            );
        }
    }
}

fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}
