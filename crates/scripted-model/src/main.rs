//! Runs the scripted Messages API server as a process of its own.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Parser;
use scripted_model::{Options, ScriptedModel};

/// A scripted Messages API server: no model, no key. The prompt says what it answers; see its README.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; loopback only.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// The port to listen on; 0: any free one.
    #[arg(long, default_value_t = 8100)]
    port: u16,
    /// The longest request body, in bytes.
    #[arg(long, default_value_t = Options::default().body_limit_bytes)]
    body_limit_bytes: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        host: arguments.host,
        port: arguments.port,
        body_limit_bytes: arguments.body_limit_bytes,
        ..Options::default()
    };
    match ScriptedModel::start(options) {
        Ok(model) => {
            // A reader that has gone away is not an error.
            let _told = writeln!(
                std::io::stdout(),
                "scripted-model listens on {}",
                model.base_url()
            );
            match until_told().await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            }
        }
        Err(error) => fail(&error),
    }
}

async fn until_told() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        told = tokio::signal::ctrl_c() => told,
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    let cause = error
        .source()
        .map_or_else(String::new, |source| format!(": {source}"));
    let _told = writeln!(std::io::stderr(), "scripted-model: {error}{cause}");
    ExitCode::FAILURE
}
