//! `paddock doctor`: what was looked at, a line each, and what to do.

use std::fmt::Write as _;

use crate::settings::Settings;
use crate::startup::doctor::{Finding, Verdict, examine};

/// Prints what was found; fails if a server would not start, or would run no turn.
pub(super) fn run(settings: anyhow::Result<Settings>, json: bool) -> anyhow::Result<()> {
    let findings = match settings {
        Ok(settings) => super::runtime()?.block_on(examine(&settings)),
        Err(error) => vec![Finding::failed(
            "settings",
            format!("{error:#}"),
            "correct what is named; docs/CONFIGURATION.md lists all settings",
        )],
    };
    let text = if json {
        serde_json::to_string_pretty(&findings)?
    } else {
        lines(&findings)?
    };
    super::print(&text)?;
    let failed = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Failed)
        .count();
    anyhow::ensure!(failed == 0, "{failed} of {} checks failed", findings.len());
    Ok(())
}

fn lines(findings: &[Finding]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        writeln!(text, "{verdict:8}{:12}{}", finding.check, finding.found)?;
        if let Some(advice) = &finding.advice {
            writeln!(text, "{:20}to do: {advice}", "")?;
        }
    }
    Ok(text)
}
