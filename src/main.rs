//! Entry point of the `paddock` binary: reads the command line and hands over.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use paddock::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed, and why. Standard error may be gone; then there is nobody to tell.
            let _told = writeln!(std::io::stderr(), "paddock: {error:#}");
            ExitCode::FAILURE
        }
    }
}
