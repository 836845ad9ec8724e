//! `doctor`: diagnoses a target, and prints SQL that fixes it.

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
use sessionwatch_core::plural::format_count;

use super::{Failure, choices::DocumentFormat, target_args::TargetArgs};

/// Diagnose schema, permissions, TLS and clock
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: DocumentFormat,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let reads = TargetReader::new(&config, &target);
    let findings = super::block_on(async { Ok(reads.run_doctor().await?) })?;
    match args.format {
        DocumentFormat::Table => super::print_readable(&render_text(&target.name, &findings))?,
        DocumentFormat::Json => {
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
        for line in finding.fix.iter().chain(&finding.schema_fix).flat_map(|fix| fix.lines()) {
            let _ = writeln!(text, "        → {}", sanitize_text(line));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (fail, warn) = (count(DiagnosticLevel::Fail), count(DiagnosticLevel::Warn));
    let passed = (findings.len() - fail - warn) as u64;
    let counts = [
        (passed, format!("{passed} passed")),
        (warn as u64, format_count(warn as u64, "warning", "warnings")),
        (fail as u64, format!("{fail} failed")),
    ];
    let counts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect();
    let _ = writeln!(text, "\n{}", counts.join(", "));
    text
}

fn findings_to_json(target: &str, findings: &[Diagnostic]) -> Value {
    let findings: Vec<_> = findings.iter().map(api_types::DoctorFindingDto::from).collect();
    json!({ "schema": 2, "target": target, "findings": findings })
}
