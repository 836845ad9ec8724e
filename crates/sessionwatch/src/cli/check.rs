//! `check`: one look, one verdict.

use std::process::ExitCode;

use sessionwatch_app::{
    app::error::TargetError,
    check_run::{self, CheckReport, CheckRunRequest},
    checks,
    output::{self, OutputFormat},
    report,
};
use sessionwatch_core::suggest::did_you_mean;

use super::{Failure, choices::EngineChoice, target::TargetArgs};

/// Look at the session table once and judge it
#[derive(Debug, clap::Args)]
#[command(mut_arg("url", |arg| arg.help(
    "Address (postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH or the path of a SQLite file), or the name of a configured \
     target; without one, every configured target, else $DATABASE_URL"
)))]
pub(super) struct CheckArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Run only this check; may be repeated
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// How the facts are obtained [default: scan]
    #[arg(long, value_enum)]
    engine: Option<EngineChoice>,
    /// Distrust indexes and constraints: read every row
    #[arg(long)]
    deep: bool,
    /// How the report is written
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let (config, mut targets) = args.target.choose_located()?;
    if let Some(unknown) = args.only.iter().find(|id| config.checks.check_ids().all(|known| known != **id)) {
        let hint = did_you_mean(unknown, config.checks.check_ids());
        let known: Vec<&str> = config.checks.check_ids().collect();
        return Err(Failure::Usage(format!(
            "there is no check `{unknown}`{hint}; the checks are {}",
            known.join(", ")
        )));
    }
    if let Some(check) = checks::TABLE_CHECKS
        .iter()
        .find(|check| check.needs_previous_run && args.only.iter().any(|id| id == check.id))
    {
        return Err(Failure::Usage(format!(
            "`{}` compares two looks: only `sessionwatch serve` makes it",
            check.id
        )));
    }
    for target in &mut targets {
        target.engine = args.engine.map_or(target.engine, Into::into);
    }
    let reports = super::block_on(async {
        let mut reports = Vec::new();
        for target in &targets {
            let (catalogue, rules) = (config.catalogue.as_slice(), &config.checks);
            let request = CheckRunRequest {
                target,
                catalogue,
                settings: rules,
                ignore_constraints: args.deep,
                requested_ids: &args.only,
                history: None,
            };
            reports.push(check_run::run_checks_once(request).await);
        }
        Ok(reports)
    })?;
    // At a terminal both streams are read together, and the report names the error.
    let is_read_twice =
        args.format == OutputFormat::Table && output::is_stdout_terminal() && output::is_stderr_terminal();
    for report in &reports {
        if let Err(error) = &report.observation
            && !is_read_twice
        {
            super::print_error(&format!("{}: {error}", report.target), Some(&error.hint()));
        }
    }
    let text = report::render_reports(&reports, args.format);
    if args.format == OutputFormat::Table {
        super::print_readable(&text)?
    } else {
        super::print_text(&text)?
    }
    for error in
        reports.iter().filter_map(|report| report.observation.as_ref().err()).filter(|_| is_read_twice)
    {
        super::print_hint(&error.hint());
    }
    Ok(exit_code(&reports))
}

/// 0 healthy, 1 failing, 2 something is named that does not exist, 3 not known.
pub(super) fn exit_code(reports: &[CheckReport]) -> ExitCode {
    if reports.iter().any(|report| report.observation.as_ref().is_err_and(TargetError::is_usage_error)) {
        return ExitCode::from(2);
    }
    let any = |verdict: &str| reports.iter().any(|report| report.verdict() == verdict);
    match (any("failing"), any("unknown")) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    }
}
