//! The command line: `paddock serve | config | openapi`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::settings::{LoadOptions, LogFormat as SettingsLogFormat, Settings};
use crate::startup::{Application, Stopper};
use crate::telemetry::{self, LogFormat};

/// The multi-tenant HTTP platform for Claude Code.
#[derive(Debug, Parser)]
#[command(name = "paddock", version, about)]
pub struct Cli {
    /// The settings file; `config.yaml` in the working directory is read when it is there.
    #[arg(long, global = true, env = "PADDOCK_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop. SIGTERM lets running turns end; SIGINT interrupts them; a second signal does not wait.
    Serve,
    /// Print the settings in force, without secrets.
    Config,
    /// Print the OpenAPI document.
    Openapi,
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Openapi => print(&api_document()?),
            Command::Config => print(&self.settings()?.redacted_yaml()?),
            Command::Serve => serve(self.settings()?),
        }
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::load(LoadOptions::of_this_process(self.config.clone()))?)
    }
}

fn api_document() -> anyhow::Result<String> {
    crate::api::openapi()
        .to_pretty_json()
        .context("the OpenAPI document cannot be written as JSON")
}

/// Writes to standard output; a reader that has gone away is not an error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    let format = match settings.telemetry.log_format {
        SettingsLogFormat::Pretty => LogFormat::Pretty,
        SettingsLogFormat::Json => LogFormat::Json,
    };
    telemetry::install(&settings.telemetry.log_filter, format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let drain = settings.api.drain_timeout;
        let needs_key = settings.auth.is_enforced();
        let application = Application::build(settings).await?;
        print(&welcome(&application, needs_key))?;
        let signals = watch_signals(application.stopper(), drain);
        tokio::pin!(signals);
        let served = application.run_until_stopped();
        tokio::pin!(served);
        tokio::select! {
            served = &mut served => return Ok(served?),
            // After the second signal there is nothing more to listen for.
            watched = &mut signals => watched.context("signals cannot be watched")?,
        }
        Ok(served.await?)
    });
    // Everything that matters has ended in order; what is left is idle threads.
    runtime.shutdown_background();
    served
}

/// What a person needs to know first.
fn welcome(application: &Application, needs_key: bool) -> String {
    let url = format!("http://{}", application.address());
    let key = if needs_key {
        " -H \"Authorization: Bearer $PADDOCK_KEY\""
    } else {
        ""
    };
    let mut lines = Vec::new();
    if application.scripted_model().is_some() {
        lines.push(
            "No key for a model is set: answers come from a SCRIPT, not from a model (set ANTHROPIC_API_KEY for the real one)."
                .to_owned(),
        );
    }
    lines.push(format!(
        "Paddock listens on {url}   docs: {url}/docs/   health: {url}/health"
    ));
    lines.push("Try it:".to_owned());
    lines.push(format!(
        "  S=$(curl -s {url}/api/v1/sessions{key} -H 'Content-Type: application/json' -d '{{\"user_id\":\"alice\"}}' | grep -o 'ses_[0-9a-f]*' | head -n 1); \
         curl -sN {url}/api/v1/sessions/$S/stream{key} -H 'Content-Type: application/json' -d '{{\"message\":\"Hello!\"}}'"
    ));
    lines.join("\n")
}

async fn watch_signals(stopper: Stopper, drain: Duration) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => stopper.stop_within(drain),
        // Whoever presses Ctrl-C is waiting.
        _ = interrupt.recv() => stopper.stop_within(Duration::ZERO),
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stopper.force();
    Ok(())
}
