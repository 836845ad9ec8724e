//! `check`: one look, one verdict.

use std::process::ExitCode;

use sessionwatch_app::{
    app::error::TargetError,
    check_run::{self, Report, Request},
    checks,
    output::{self, Format},
    report,
};
use sessionwatch_core::suggest::nearest;

use super::{Failure, choices::EngineChoice, target::TargetArgs};

/// Look at the session table once and judge it
#[derive(Debug, clap::Args)]
#[command(mut_arg("url", |arg| arg.help(
    "Address (postgres://USER:PASSWORD@HOST/DATABASE, sqlite:PATH or the path of a SQLite file), or the name of a configured \
     target; without one, every configured target, else $DATABASE_URL"
)))]
pub(super) struct Args {
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
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (config, mut targets) = args.target.choose_located()?;
    if let Some(unknown) = args.only.iter().find(|id| config.rules.ids().all(|known| known != **id)) {
        let hint = nearest(unknown, config.rules.ids());
        let known: Vec<&str> = config.rules.ids().collect();
        return Err(Failure::Usage(format!(
            "there is no check `{unknown}`{hint}; the checks are {}",
            known.join(", ")
        )));
    }
    if let Some(check) =
        checks::TABLE_CHECKS.iter().find(|check| check.compares && args.only.iter().any(|id| id == check.id))
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
            let (catalogue, rules) = (config.catalogue.as_slice(), &config.rules);
            let request =
                Request { target, catalogue, rules, deep: args.deep, only: &args.only, watched: None };
            reports.push(check_run::run_checks_once(request).await);
        }
        Ok(reports)
    })?;
    // At a terminal both streams are read together, and the report names the error.
    let is_read_twice =
        args.format == Format::Table && output::is_stdout_terminal() && output::is_stderr_terminal();
    for report in &reports {
        if let Err(error) = &report.seen
            && !is_read_twice
        {
            super::complain(&format!("{}: {error}", report.target), Some(&error.hint()));
        }
    }
    let text = report::render(&reports, args.format);
    if args.format == Format::Table {
        super::print_readable(&text)?
    } else {
        super::print(&text)?
    }
    for error in reports.iter().filter_map(|report| report.seen.as_ref().err()).filter(|_| is_read_twice) {
        super::hint(&error.hint());
    }
    Ok(exit_code(&reports))
}

/// 0 healthy, 1 failing, 2 something is named that does not exist, 3 not known.
pub(super) fn exit_code(reports: &[Report]) -> ExitCode {
    if reports.iter().any(|report| report.seen.as_ref().is_err_and(TargetError::is_usage)) {
        return ExitCode::from(2);
    }
    let any = |verdict: &str| reports.iter().any(|report| report.verdict() == verdict);
    match (any("failing"), any("unknown")) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    }
}
