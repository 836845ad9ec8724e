//! `logs correlate`: log events matched against the session table.

use std::process::ExitCode;

use jiff::SignedDuration;
use sessionwatch_app::app::{Period, logs, state_store::StoreRequirement, target_reader::TargetReader};
use sessionwatch_clock as clock;
use sessionwatch_core::duration::{HOUR, from_days};

use super::super::{
    Failure, choices::DocumentFormat, opening, target_args::TargetArgs, values::duration_between,
};

/// Match log events against the session table
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogsCorrelateArgs {
    /// How far back to look
    #[arg(long, default_value = "24h", value_parser = duration_between(HOUR, from_days(30)), value_name = "DURATION")]
    since: SignedDuration,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: DocumentFormat,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(args: &LogsCorrelateArgs) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    if config.logs.sources_for_target(&target.name).next().is_none() {
        let why = format!("no log source is configured for `{}`: add one under [[logs]]", target.name);
        return Err(Failure::Usage(why));
    }
    let app = opening::open_app(config, StoreRequirement::Existing)?;
    let config = app.config();
    let period = Period::ending_at(clock::now(), args.since);
    let correlation = super::super::block_on(async {
        let rows = TargetReader::new(&config, &target).list_sessions_created_since(period.from).await?;
        Ok(logs::build_correlation_report(&app, target.name.clone(), period, rows).await?)
    })?;
    let hours = u32::try_from(args.since.as_hours()).unwrap_or(u32::MAX);
    super::super::print_text(&match args.format {
        DocumentFormat::Table => correlation.render_text(&target.name, hours),
        DocumentFormat::Json => format!("{:#}\n", correlation.to_json()?),
    })?;
    Ok(if correlation.contradicting.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
