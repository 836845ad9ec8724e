//! `logs join`: how logs and table fit together.

use std::process::ExitCode;

use jiff::SignedDuration;
use sessionwatch_app::app::{Period, logs, state_store::StoreRequirement, target_reader::TargetReader};
use sessionwatch_clock as clock;

use super::{
    super::{Failure, opening, target::TargetArgs},
    DocumentFormat,
};

/// Say how what the watch has read in logs fits the table of sessions
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogsCorrelateArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Hours back
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
    /// How it is written
    #[arg(long, value_enum, default_value = "text")]
    format: DocumentFormat,
}

pub(super) fn run(args: &LogsCorrelateArgs) -> Result<ExitCode, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    if config.logs.sources_for_target(&target.name).next().is_none() {
        let why = format!("no source of logs is configured for `{}`: see [[logs]]", target.name);
        return Err(Failure::Usage(why));
    }
    let app = opening::open_app(config, StoreRequirement::Existing)?;
    let config = app.config();
    let period = Period::ending_at(clock::now(), SignedDuration::from_hours(args.hours.into()));
    let fits = super::super::block_on(async {
        let rows = TargetReader::new(&config, &target).list_sessions_created_since(period.from).await?;
        Ok(logs::correlate_with_table(&app, target.name.clone(), period, rows).await?)
    })?;
    super::super::print_text(&match args.format {
        DocumentFormat::Text => fits.render_text(&target.name, args.hours),
        DocumentFormat::Json => format!("{:#}\n", fits.to_json()?),
    })?;
    Ok(if fits.contradicting.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
