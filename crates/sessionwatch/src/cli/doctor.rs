//! `doctor`: is this target safe, and can it be watched?

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};
use sessionwatch_app::{
    api_types,
    app::{
        target_reads::TargetReads,
        targets::{Finding, Level},
    },
    sanitize::printable,
};

use super::{Failure, target::TargetArgs};

/// Examine schema, role, connection and clock, with the SQL that mends what is wrong
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// How the findings are written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let reads = TargetReads::new(&config, &target);
    let findings = super::block_on(async { Ok(reads.examine().await?) })?;
    match args.format {
        Format::Table => super::print_readable(&text(&target.name, &findings))?,
        Format::Json => super::print(&format!("{:#}\n", document(&target.name, &findings)))?,
    }
    let failing = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failing { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn text(target: &str, findings: &[Finding]) -> String {
    let mut text = format!("{target}\n\n");
    for finding in findings {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{:4}  {}: {}", finding.level.name(), finding.id, printable(&finding.summary));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            let _ = writeln!(text, "        → {}", printable(line));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fail, warn) = (count(Level::Fail), count(Level::Warn));
    let _ = writeln!(
        text,
        "\n{} passed, {warn} could be better, {fail} must be mended",
        findings.len() - fail - warn
    );
    text
}

fn document(target: &str, findings: &[Finding]) -> Value {
    let findings: Vec<_> = findings.iter().map(api_types::Examined::from).collect();
    json!({ "schema": 1, "target": target, "findings": findings })
}
