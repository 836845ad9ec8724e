//! `check`: one look, one verdict.

use std::process::ExitCode;

use sessionwatch_rules::settings::Settings;

use super::{Failure, TargetArgs};
use crate::{
    checks,
    look::{self, Report, Request},
    report::Format,
    target::observe::Engine,
};

/// Look at the session table once and judge it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Run only this check; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// How the facts are obtained
    #[arg(long, value_enum, default_value = "scan")]
    engine: Engine,
    /// Distrust indexes and constraints: read every row
    #[arg(long)]
    deep: bool,
    /// How the report is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(unknown) = args.only.iter().find(|id| checks::ALL.iter().all(|check| check.id != **id)) {
        let known: Vec<&str> = checks::ALL.iter().map(|check| check.id).collect();
        return Err(Failure::Usage(format!(
            "there is no check `{unknown}`; the checks are {}",
            known.join(", ")
        )));
    }
    let request = Request {
        address: args.target.address()?,
        engine: args.engine,
        deep: args.deep,
        limits: args.target.limits(),
        only: args.only.clone(),
        settings: Settings::default(),
    };
    let report = super::block_on(async { Ok(look::look(&request).await?) })?;
    super::print(&report.render(args.format))?;
    Ok(exit_code(&report))
}

/// 0 healthy, 1 failing, 3 not known.
pub(super) fn exit_code(report: &Report) -> ExitCode {
    match report.verdict() {
        "healthy" => ExitCode::SUCCESS,
        "failing" => ExitCode::from(1),
        _ => ExitCode::from(3),
    }
}
