//! Looks whether a server with these settings would do its work here, and says what to do where it would not.
//!
//! It looks by doing what a server does: it tries the jail, connects to the store, asks the model's API. It changes nothing
//! that lasts, and starts no agent.

mod machine;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::process::Command;

use super::{fence, parts, sealing_keys, stores, trace_client};
use crate::agent::home::Homes;
use crate::agent::process::locate;
use crate::domain::{Clock, SystemClock};
use crate::gateway::Tried;
use crate::jail::Level;
use crate::lifecycle::Tasks;
use crate::settings::{Settings, StorageKind};
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreError};

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the CLI's version is read from that this program is tested with.
const PINNED: &str = include_str!("../../tools/claude-cli/package.json");
/// The most that clocks may differ by before tokens, signatures and leases suffer.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(5);

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// A server works, and less well than it could.
    Warning,
    /// A server does not start, or runs no turn.
    Failed,
}

/// What was looked at, and found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; absent where nothing is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Warning,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    /// A server does not start, or runs no turn.
    pub fn failed(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Failed,
            ..Self::warning(check, found, advice)
        }
    }
}

/// Looks at everything. Must be called on the main runtime.
pub async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![cli(settings).await, machine::kernel(), jail(settings).await];
    findings.extend(machine::folders(settings));
    findings.push(store(settings).await);
    findings.push(clock(settings).await);
    findings.push(model(settings).await);
    findings.push(machine::address(settings));
    findings.push(machine::descriptors(settings));
    findings.push(machine::memory(settings));
    findings.extend(traces(settings).await);
    findings
}

async fn cli(settings: &Settings) -> Finding {
    const CHECK: &str = "cli";
    let advice = "install it (scripts/install-cli.sh does), and name it in agent.cli_path";
    let path = match locate(&settings.agent.cli_path, &fence::search_path()) {
        Ok(path) => path,
        Err(error) => return Finding::failed(CHECK, error.to_string(), advice),
    };
    let shown = path.display();
    #[expect(
        clippy::disallowed_methods,
        reason = "it only says its version, and is killed if it does not"
    )]
    let asked = Command::new(&path).arg("--version").kill_on_drop(true).output();
    let output = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(output)) if output.status.success() => output,
        Ok(Ok(output)) => {
            return Finding::failed(
                CHECK,
                format!("{shown} --version ended with {}", output.status),
                advice,
            );
        }
        Ok(Err(error)) => {
            return Finding::failed(CHECK, format!("{shown} cannot be started: {error}"), advice);
        }
        Err(_late) => return Finding::failed(CHECK, format!("{shown} --version does not end"), advice),
    };
    let told = String::from_utf8_lossy(&output.stdout);
    let version = told.split_whitespace().next().unwrap_or("no version").to_owned();
    let found = format!("{shown}, version {version}");
    match pinned() {
        Some(pinned) if pinned != version => Finding::warning(
            CHECK,
            found,
            format!("this Paddock is tested with {pinned}; another one may speak differently"),
        ),
        _ => Finding::ok(CHECK, found),
    }
}

/// The CLI's version that this program is tested with.
fn pinned() -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(PINNED).ok()?;
    let version = package.pointer("/dependencies/@anthropic-ai~1claude-code")?;
    version.as_str().map(ToOwned::to_owned)
}

async fn jail(settings: &Settings) -> Finding {
    const CHECK: &str = "jail";
    let tried = async {
        // In a place of its own: opening homes sets their rights anew, which is not for beside a server that runs.
        let folder = tempfile::tempdir()?;
        // Agents of a server that is root run under users of their own, who have to pass.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let homes = Homes::open(&folder.path().join("homes"))?;
        let guardian = parts::guardian(settings.agent.guardian_path.clone());
        Ok::<_, std::io::Error>(fence::build(settings, guardian.as_deref(), &homes).await)
    };
    match tried.await {
        Ok(Ok(fence)) if fence.level == Level::None => Finding::warning(
            CHECK,
            "agents are not fenced in: each can read what all others and the server have",
            "see docs/SECURITY.md for what a fence needs; `isolation.level: best` takes the strongest that holds",
        ),
        Ok(Ok(fence)) => {
            let users = if fence.users.is_some() {
                ", under users of tenants' own"
            } else {
                ""
            };
            Finding::ok(
                CHECK,
                format!("{} holds, as was tried{users}", <&str>::from(fence.level)),
            )
        }
        Ok(Err(error)) => Finding::failed(CHECK, error.to_string(), "see docs/SECURITY.md, `isolation`"),
        Err(error) => Finding::failed(
            CHECK,
            format!("no home can be made to try it: {error}"),
            "let the server's user write the folder for temporary files (TMPDIR)",
        ),
    }
}

async fn store(settings: &Settings) -> Finding {
    const CHECK: &str = "store";
    let kind = match settings.session.storage {
        StorageKind::Memory => {
            return Finding::warning(
                CHECK,
                "memory: everything is lost when the server ends",
                "set session.storage to sqlite or postgresql",
            );
        }
        StorageKind::Sqlite => "sqlite",
        StorageKind::Postgresql => "postgresql",
    };
    match stores::pending_migrations(settings).await {
        Ok(pending) if pending.is_empty() => Finding::ok(CHECK, format!("{kind}, of this version's schema")),
        Ok(pending) => Finding::ok(
            CHECK,
            format!(
                "{kind}; it lacks {} migrations, which the start of a server makes",
                pending.len()
            ),
        ),
        Err(error) => Finding::failed(
            CHECK,
            in_full(&error),
            "see the settings `session.*`; `paddock migrate --check` tells more",
        ),
    }
}

async fn clock(settings: &Settings) -> Finding {
    const CHECK: &str = "clock";
    let advice = "let the machine's clock be set over the network (NTP): leases, budgets by day, tokens and signatures count on it";
    let ours = SystemClock.now();
    if ours < DateTime::<Utc>::from_timestamp(1_760_000_000, 0).unwrap_or_default() {
        return Finding::failed(CHECK, format!("it is {ours} here"), advice);
    }
    match stores::server_time(settings).await {
        Some(Ok(theirs)) => {
            let differs = (theirs - ours).abs();
            let found = format!(
                "it differs from the database's by {} ms",
                differs.num_milliseconds()
            );
            if differs > CLOCKS_DIFFER {
                Finding::warning(CHECK, found, advice)
            } else {
                Finding::ok(CHECK, found)
            }
        }
        Some(Err(StoreError::NoDatabase(_))) if settings.session.pg_create_database => Finding::ok(
            CHECK,
            format!("it is {ours} here; there is no database yet to compare with"),
        ),
        Some(Err(_)) => Finding::warning(
            CHECK,
            "the database did not tell its time",
            "see what is said of the store",
        ),
        None => Finding::ok(
            CHECK,
            format!("it is {ours} here; there is no other clock to compare with"),
        ),
    }
}

async fn model(settings: &Settings) -> Finding {
    const CHECK: &str = "model";
    if settings.model.scripted {
        return Finding::warning(
            CHECK,
            "answers come from a script, not from a model",
            "set ANTHROPIC_API_KEY, and model.scripted to false",
        );
    }
    let Some(credential) = parts::credential(&settings.model) else {
        return Finding::failed(
            CHECK,
            "there is no credential of the platform's",
            "set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN, CLAUDE_CODE_OAUTH_TOKEN), unless each tenant has one of its own",
        );
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let nothing: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let tasks = Tasks::on(tokio::runtime::Handle::current());
    let limits = Arc::new(parts::limits(settings, &nothing, &clock));
    let gateway = sealing_keys(settings)
        .and_then(|sealing| parts::gateway(settings, None, &sealing, &limits, &nothing, &clock, &tasks));
    let gateway = match gateway {
        Ok(Some(gateway)) => gateway,
        Ok(None) => {
            return Finding::warning(
                CHECK,
                "agents hold the credential themselves, and nothing is metered",
                "set model.gateway to true",
            );
        }
        Err(error) => return Finding::failed(CHECK, in_full(&error), "see the settings `model.*`"),
    };
    match gateway.try_credential(&credential).await {
        Tried::Taken => Finding::ok(CHECK, "the API takes the platform's credential"),
        Tried::Refused => Finding::failed(
            CHECK,
            "the API refuses the platform's credential",
            "set one that is valid",
        ),
        Tried::NoAnswer => Finding::failed(
            CHECK,
            "the API cannot be reached, or did not answer",
            "see model.base_url, the network, and HTTPS_PROXY if there is a proxy",
        ),
    }
}

/// Whether the collector takes spans, if there is to be one.
async fn traces(settings: &Settings) -> Option<Finding> {
    const CHECK: &str = "traces";
    let endpoint = settings.telemetry.otlp_endpoint.as_ref()?;
    let advice = "see telemetry.otlp_endpoint; a server runs without its collector all the same";
    let client = match trace_client(settings.telemetry.otlp_timeout) {
        Ok(client) => client,
        Err(error) => return Some(Finding::failed(CHECK, in_full(&error), advice)),
    };
    // No spans at all are a request too.
    let asked = client
        .post(endpoint.clone())
        .header("content-type", "application/x-protobuf")
        .body(Vec::new());
    let asked = match &settings.telemetry.otlp_authorization {
        Some(secret) => asked.header("authorization", secrecy::ExposeSecret::expose_secret(secret)),
        None => asked,
    };
    Some(match asked.send().await {
        Ok(answer) if answer.status().is_success() => Finding::ok(CHECK, "the collector answers"),
        Ok(answer) => Finding::warning(
            CHECK,
            format!("the collector answers {}", answer.status()),
            advice,
        ),
        Err(error) => Finding::warning(
            CHECK,
            format!("the collector does not answer: {}", in_full(&error.without_url())),
            advice,
        ),
    })
}

/// An error with what brought it about.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// A folder that need not be there yet: the nearest one above it that is.
fn nearest(path: &std::path::Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors()
        .find(|folder| folder.exists())
        .map(std::path::Path::to_owned)
}
