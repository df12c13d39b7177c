//! The command line: `paddock serve | migrate | tenant | key | usage | audit | export | import | reseal | doctor |
//! config | openapi`.

mod admin;
mod doctor;

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use secrecy::ExposeSecret as _;

use crate::guardian;
use crate::jail::{self, trial};
use crate::service;
use crate::settings::{LoadOptions, LogFormat as SettingsLogFormat, Settings, StorageKind};
use crate::startup::{self, Application, Stopper, stores};
use crate::store::sql::migrate::PendingMigration;
use crate::store::{Store, archive};
use crate::telemetry::{self, LogFormat, Telemetry, TraceOptions};

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
    /// Bring the store to this version's schema, and tell what it lacked. `serve` does so too.
    Migrate {
        /// Only tell what it lacks, and fail if it lacks anything. Writes nothing.
        #[arg(long)]
        check: bool,
    },
    /// Write everything that the store holds as JSON lines. Stop the servers on it first.
    Export {
        /// The file to make, for this user alone; it must not exist. Standard output when absent.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Read what `export` wrote into an empty store, and check that it gives back the same.
    Import {
        /// The file.
        #[arg(value_name = "FILE")]
        input: PathBuf,
    },
    /// Seal anew what older sealing keys sealed, so that they may be taken out of the settings.
    Reseal,
    /// Tenants.
    Tenant {
        /// What to do.
        #[command(subcommand)]
        command: admin::TenantCommand,
    },
    /// Keys of tenants.
    Key {
        /// What to do.
        #[command(subcommand)]
        command: admin::KeyCommand,
    },
    /// What was used of models, added up.
    Usage(admin::UsageArguments),
    /// The audit.
    Audit {
        /// What to do.
        #[command(subcommand)]
        command: admin::AuditCommand,
    },
    /// Look whether a server with these settings would do its work here, and tell what to do where it would not.
    /// Run it as the server's user. Fails if a server would not start, or would run no turn.
    Doctor {
        /// As JSON: a list of `check`, `verdict` (ok, warning, failed), `found`, `advice`.
        #[arg(long)]
        json: bool,
    },
    /// Print the settings in force, without secrets.
    Config,
    /// Print the OpenAPI document.
    Openapi,
    /// Guard an agent: what the server starts its agents with.
    #[command(name = guardian::COMMAND, hide = true)]
    AgentExec {
        /// The server's process id.
        server: u32,
        /// The CLI.
        program: PathBuf,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Become an agent, in its jail: what a guardian starts the CLI with.
    #[command(name = guardian::INNER_COMMAND, hide = true)]
    JailExec {
        /// The guardian's process id.
        #[arg(long)]
        guardian: Option<u32>,
        /// That the namespaces are made already.
        #[arg(long)]
        inside: bool,
        /// The CLI.
        program: PathBuf,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Try to get out of a jail: what the server starts to see whether it holds.
    #[command(name = trial::COMMAND, hide = true)]
    JailTrial {
        /// What lies outside, as JSON.
        bait: String,
    },
}

impl Cli {
    /// Does what the command line says.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Openapi => print(&api_document()?),
            Command::Config => print(&self.settings()?.redacted_yaml()?),
            Command::Doctor { json } => doctor::run(self.settings(), json),
            Command::Serve => serve(self.settings()?),
            Command::Migrate { check } => migrate(&self.settings()?, check),
            Command::Export { ref output } => export(&self.settings()?, output.as_deref()),
            Command::Reseal => reseal(&self.settings()?),
            Command::Import { ref input } => import(&self.settings()?, input),
            Command::Tenant { ref command } => admin::tenant(&self.settings()?, command),
            Command::Key { ref command } => admin::key(&self.settings()?, command),
            Command::Usage(ref arguments) => admin::usage(&self.settings()?, arguments),
            Command::Audit { ref command } => admin::audit(&self.settings()?, command),
            Command::AgentExec {
                server,
                program,
                arguments,
            } => match guardian::run(server, &program, &arguments)? {},
            Command::JailExec {
                guardian,
                inside,
                program,
                arguments,
            } => {
                guardian.map_or(Ok(()), guardian::end_with)?;
                match jail::become_program(inside, &program, &arguments)? {}
            }
            Command::JailTrial { bait } => {
                let findings = trial::attempt_all(&serde_json::from_str(&bait)?);
                print(&serde_json::to_string(&findings)?)
            }
        }
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings::load(LoadOptions::of_this_process(self.config.clone()))?)
    }
}

fn api_document() -> anyhow::Result<String> {
    crate::startup::openapi(&Settings::default())
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

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

fn migrate(settings: &Settings, check: bool) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let list = |migrations: &[PendingMigration]| {
        let lines = migrations
            .iter()
            .map(|migration| format!("  {:04} {}", migration.version, migration.description));
        lines.collect::<Vec<_>>().join("\n")
    };
    if check {
        let pending = runtime.block_on(stores::pending_migrations(settings))?;
        anyhow::ensure!(
            pending.is_empty(),
            "the store lacks migrations; run `paddock migrate`:\n{}",
            list(&pending)
        );
        return print("the store is of this version's schema");
    }
    let done = runtime.block_on(stores::migrate(settings))?;
    if done.is_empty() {
        print("the store was of this version's schema already")
    } else {
        print(&format!("migrated:\n{}", list(&done)))
    }
}

/// The store, as a server has left it.
async fn open_stored(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    anyhow::ensure!(
        settings.session.storage != StorageKind::Memory,
        "session.storage is memory, which holds nothing beyond a server's life"
    );
    Ok(stores::open(settings).await?)
}

fn export(settings: &Settings, output: Option<&Path>) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let pending = stores::pending_migrations(settings).await?;
        anyhow::ensure!(
            pending.is_empty(),
            "there is no store of this version's schema; see `paddock migrate --check`"
        );
        let store = open_stored(settings).await?;
        let summary = match output {
            None => archive::export(&*store, std::io::stdout().lock()).await?,
            Some(path) => {
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)
                    .with_context(|| format!("{} cannot be made", path.display()))?;
                let mut out = std::io::BufWriter::new(&file);
                let summary = archive::export(&*store, &mut out).await?;
                drop(out);
                file.sync_all()?;
                summary
            }
        };
        store.close().await;
        // Standard output may be the archive.
        report("exported", &summary)
    })
}

fn import(settings: &Settings, input: &Path) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let open = || Ok(std::io::BufReader::new(std::fs::File::open(input)?));
        open().with_context(|| format!("{} cannot be read", input.display()))?;
        let store = open_stored(settings).await?;
        let summary = archive::import(&*store, open).await?;
        store.close().await;
        report("imported and checked", &summary)
    })
}

fn reseal(settings: &Settings) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let keys = startup::sealing_keys(settings)?;
        let store = open_stored(settings).await?;
        let resealed = service::reseal(&*store, &keys).await?;
        store.close().await;
        print(&format!("sealed {resealed} credentials anew"))
    })
}

fn report(what: &str, summary: &archive::Summary) -> anyhow::Result<()> {
    let mut err = std::io::stderr().lock();
    writeln!(
        err,
        "{what} {} records, sha256 {}",
        summary.records, summary.sha256
    )?;
    for bad in &summary.damaged {
        writeln!(err, "left out: {bad}")?;
    }
    Ok(())
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    let format = match settings.telemetry.log_format {
        SettingsLogFormat::Pretty => LogFormat::Pretty,
        SettingsLogFormat::Json => LogFormat::Json,
    };
    let runtime = runtime()?;
    let telemetry = install_telemetry(&settings, format, runtime.handle().clone())?;
    // It holds secrets: no core file of it is written, and no process of its user looks into it.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("the server cannot be closed to other processes")?;
    let served = runtime.block_on(async {
        let drain = settings.api.drain_timeout;
        let needs_key = settings.auth.is_enforced();
        let mut application = Box::pin(Application::build(settings)).await?;
        if let Some(key) = application.take_first_key() {
            // To standard output, and not to the log: it is for whoever started the server, this once.
            print(&format!(
                "There was no key; this one of role admin was made. It is shown this once and kept nowhere:\n  {}",
                key.expose_secret()
            ))?;
        }
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
    telemetry.end();
    // Everything that matters has ended in order; what is left is idle threads.
    runtime.shutdown_background();
    served
}

fn install_telemetry(
    settings: &Settings,
    format: LogFormat,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<Telemetry> {
    let section = &settings.telemetry;
    let traces = section.otlp_endpoint.as_ref().map(|endpoint| TraceOptions {
        endpoint: endpoint.to_string(),
        authorization: section.otlp_authorization.clone(),
        sample_ratio: section.otlp_sample_ratio,
        timeout: section.otlp_timeout,
        queue_max: section.otlp_queue_max,
        service: section.otlp_service_name.clone(),
        instance: settings.instance.id.as_ref().map(ToString::to_string),
    });
    let client = traces
        .as_ref()
        .map(|traces| startup::trace_client(traces.timeout))
        .transpose()?;
    let traces = traces.as_ref().zip(client);
    Ok(telemetry::install(&section.log_filter, format, traces, runtime)?)
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
