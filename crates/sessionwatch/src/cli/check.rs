//! `check`: one run of all checks, and its report.

use std::{path::PathBuf, process::ExitCode};

use sessionwatch_app::{
    app::error::TargetError,
    check_run::{self, CheckReport, CheckRunRequest},
    checks::{self, CheckSettings},
    output,
    report::{self, AcceptedFindings, ReportFormat},
};
use sessionwatch_core::{severity::Severity, suggest::did_you_mean};

use super::{Failure, choices::EngineChoice, target_args::TargetArgs};

/// Unlike other commands, `check` takes all targets by default.
const TARGET_HELP: &str = "Configured target name, database URL or SQLite file \
    [default: all configured targets, else $DATABASE_URL]";

/// Run all checks once and print a report
#[derive(Debug, clap::Args)]
#[command(
    mut_arg("url", |arg| arg.help(TARGET_HELP)),
    after_help = "Exit codes: 0 passing, 1 failing, 2 usage or configuration error, 3 unknown, 70 bug"
)]
pub(super) struct CheckArgs {
    /// Run only this check; repeatable
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Skip this check; repeatable
    #[arg(long, value_name = "ID")]
    ignore: Vec<String>,
    /// Fail only at this severity or above
    #[arg(
        long, value_name = "SEVERITY", default_value = "low", hide_default_value = true,
        value_parser = parse_severity()
    )]
    fail_on: Severity,
    /// Report of an earlier `check --format json`: only findings that are not in it fail
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: ReportFormat,
    /// Print nothing when passing
    #[arg(long, short)]
    quiet: bool,
    /// Print only the headline
    #[arg(long)]
    summary: bool,
    /// Where to aggregate [default: scan]
    #[arg(long, value_enum)]
    engine: Option<EngineChoice>,
    /// Read every row instead of trusting constraints
    #[arg(long)]
    no_trust_constraints: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// Returns a parser of severities, which lists them in the help and after a typo.
fn parse_severity() -> impl clap::builder::TypedValueParser<Value = Severity> {
    use clap::builder::TypedValueParser as _;
    let names = Severity::ALL.iter().map(|severity| severity.name());
    clap::builder::PossibleValuesParser::new(names)
        .try_map(|name| name.parse::<Severity>().map_err(|_| "not a severity"))
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    if args.summary && args.format != ReportFormat::Table {
        return Err(Failure::Usage("--summary works with `--format table` only".into()));
    }
    let accepted = args.baseline.as_deref().map(AcceptedFindings::read_file).transpose();
    let accepted = accepted.map_err(|error| Failure::Usage(error.to_string()))?;
    // The layout that the daemon has recorded, so that both check the same table.
    let (mut config, mut targets) = args.target.choose_located()?;
    let only = select_checks(args, &mut config.checks)?;
    for target in &mut targets {
        target.engine = args.engine.map_or(target.engine, Into::into);
    }
    let mut reports = super::block_on(async {
        let mut reports = Vec::new();
        // One after the other: each run already uses the database as much as it should.
        for target in &targets {
            let (catalogue, settings) = (config.catalogue.as_slice(), &config.checks);
            let request = CheckRunRequest {
                target,
                catalogue,
                settings,
                ignore_constraints: args.no_trust_constraints,
                requested_ids: &only,
                history: None,
            };
            reports.push(check_run::run_checks_once(request).await);
        }
        Ok(reports)
    })?;
    if let Some(accepted) = accepted {
        accepted.apply(&mut reports);
    }
    print_reports(args, &reports)?;
    Ok(ExitCode::from(exit_code(&reports, args.fail_on)))
}

/// Applies `--only` and `--ignore`, and returns the ids of the checks to run; empty for all that are enabled.
fn select_checks(args: &CheckArgs, settings: &mut CheckSettings) -> Result<Vec<String>, Failure> {
    for id in args.only.iter().chain(&args.ignore) {
        if settings.table_check_ids().all(|known| known != *id) {
            let hint = did_you_mean(id, settings.table_check_ids());
            let known: Vec<&str> = settings.table_check_ids().collect();
            return Err(Failure::Usage(format!("unknown check `{id}`{hint}; checks: {}", known.join(", "))));
        }
    }
    // A single run has nothing to compare with, and the check would always be unknown.
    if let Some(check) = checks::TABLE_CHECKS
        .iter()
        .find(|check| check.needs_previous_run && args.only.iter().any(|id| id == check.id))
    {
        return Err(Failure::Usage(format!(
            "`{}` compares two check runs: only `sessionwatch serve` can run it",
            check.id
        )));
    }
    let is_ignored = |id: &str| args.ignore.iter().any(|ignored| ignored == id);
    let ignored = checks::TABLE_CHECKS.iter().map(|check| check.id).filter(|id| is_ignored(id));
    settings.disabled.extend(ignored);
    settings.custom_checks.retain(|custom| !is_ignored(&custom.id));
    // A check that is requested by name runs even where it is disabled, so that it has to leave this list too.
    let only: Vec<String> = args.only.iter().filter(|id| !is_ignored(id)).cloned().collect();
    let is_any_left = if args.only.is_empty() {
        let runs = |check: &checks::Check| !check.needs_previous_run && settings.is_enabled(check.id);
        checks::TABLE_CHECKS.iter().any(runs) || !settings.custom_checks.is_empty()
    } else {
        !only.is_empty()
    };
    if !is_any_left {
        return Err(Failure::Usage(
            "no check is left to run: --ignore or the configuration excludes all".into(),
        ));
    }
    Ok(only)
}

/// Prints the reports, and the errors of targets that could not be checked.
fn print_reports(args: &CheckArgs, reports: &[CheckReport]) -> Result<(), Failure> {
    if args.quiet && exit_code(reports, args.fail_on) == 0 {
        return Ok(());
    }
    // At a terminal both streams are read together, and the headline names the error already.
    let names_errors =
        args.format == ReportFormat::Table && output::is_stdout_terminal() && output::is_stderr_terminal();
    let errors =
        || reports.iter().filter_map(|report| Some((&report.target, report.observation.as_ref().err()?)));
    for (target, error) in errors().filter(|_| !names_errors) {
        super::print_error(&format!("{target}: {error}"), Some(&error.hint()));
    }
    if args.summary {
        let headlines: String = reports.iter().map(|report| format!("{}\n", report.headline())).collect();
        super::print_readable(&headlines)?;
    } else if args.format == ReportFormat::Table {
        super::print_readable(&report::render_reports(reports, args.format))?;
    } else {
        super::print_text(&report::render_reports(reports, args.format))?;
    }
    for (_, error) in errors().filter(|_| names_errors) {
        super::print_hint(&error.hint());
    }
    Ok(())
}

/// Returns the exit code: 0 passing, 1 failing, 2 something named does not exist, 3 unknown.
fn exit_code(reports: &[CheckReport], fail_on: Severity) -> u8 {
    // The most specific problem first: a target that does not exist must not look like a failing check.
    if reports.iter().any(|report| report.observation.as_ref().is_err_and(TargetError::is_usage_error)) {
        2
    } else if reports.iter().any(|report| report.fails_at(fail_on)) {
        1
    } else if reports.iter().any(CheckReport::has_unknown) {
        3
    } else {
        0
    }
}
