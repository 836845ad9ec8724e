//! `doctor`: is this target safe, and can it be watched?

use std::{fmt::Write as _, process::ExitCode};

use serde_json::{Value, json};
use sessionwatch_app::{
    api_types,
    app::{
        target_reader::TargetReader,
        targets::{Diagnostic, DiagnosticLevel},
    },
    sanitize::sanitize_text,
};

use super::{Failure, target::TargetArgs};

/// Examine schema, role, connection and clock, with the SQL that mends what is wrong
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How the findings are written
    #[arg(long, value_enum, default_value = "table")]
    format: DoctorFormat,
}

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DoctorFormat {
    /// For people.
    Table,
    /// One document.
    Json,
}

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let reads = TargetReader::new(&config, &target);
    let findings = super::block_on(async { Ok(reads.run_doctor().await?) })?;
    match args.format {
        DoctorFormat::Table => super::print_readable(&render_text(&target.name, &findings))?,
        DoctorFormat::Json => {
            super::print_text(&format!("{:#}\n", findings_to_json(&target.name, &findings)))?
        }
    }
    let failing = findings.iter().any(|finding| finding.level == DiagnosticLevel::Fail);
    Ok(if failing { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn render_text(target: &str, findings: &[Diagnostic]) -> String {
    let mut text = format!("{target}\n\n");
    for finding in findings {
        // Writing to a String cannot fail, here and below.
        let _ =
            writeln!(text, "{:4}  {}: {}", finding.level.name(), finding.id, sanitize_text(&finding.summary));
        for line in finding.fix.iter().flat_map(|fix| fix.lines()) {
            let _ = writeln!(text, "        → {}", sanitize_text(line));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fail, warn) = (count(DiagnosticLevel::Fail), count(DiagnosticLevel::Warn));
    let _ = writeln!(
        text,
        "\n{} passed, {warn} could be better, {fail} must be mended",
        findings.len() - fail - warn
    );
    text
}

fn findings_to_json(target: &str, findings: &[Diagnostic]) -> Value {
    let findings: Vec<_> = findings.iter().map(api_types::DoctorFindingDto::from).collect();
    json!({ "schema": 2, "target": target, "findings": findings })
}
