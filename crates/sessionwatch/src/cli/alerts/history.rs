//! `alerts history`, and `report history`: what happened between two dates.

use sessionwatch_app::{
    api_types,
    app::{
        alerts::{self, EventRecord, EventSearch},
        error::StoreError,
    },
    output::{OutputFormat, table::OutputTable},
    sanitize::sanitize_text,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{duration::DAY, timestamp::UtcTimestamp};

use crate::cli::{Failure, block_on, opening::open_existing_app, target::ConfigArgs};

/// What is looked for.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AlertHistoryArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// From this date or instant on, such as 2026-01-31 or 2026-01-31T12:00:00Z [default: 7 days ago]
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Before this date or instant [default: now]
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Only this target
    #[arg(long)]
    target: Option<String>,
    /// Only this check
    #[arg(long)]
    check: Option<String>,
    /// Only what has these words in it, large or small
    #[arg(long, value_name = "WORDS")]
    text: Option<String>,
    /// Only alerts that fired, were repeated or resolved
    #[arg(long)]
    alerts_only: bool,
    /// The most lines; of more, the latest
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// How the list is written
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

pub(in crate::cli) fn run(args: &AlertHistoryArgs, now: UtcTimestamp) -> Result<String, Failure> {
    let (from, to) =
        (parse_date_option("from", args.from.as_deref())?, parse_date_option("to", args.to.as_deref())?);
    let search = EventSearch {
        from: from.unwrap_or(now - 7 * DAY),
        to: to.unwrap_or(now),
        target: args.target.clone(),
        check: args.check.clone(),
        text: args.text.clone(),
        alerts_only: args.alerts_only,
        before_id: None,
        limit: args.limit,
    };
    if search.from >= search.to {
        return Err(Failure::Usage("--from must be before --to".into()));
    }
    let app = open_existing_app(&args.config)?;
    let found = block_on(async { Ok(alerts::search_events(&app, search).await?) })?;
    if found.is_empty() && args.format == OutputFormat::Table {
        return Ok("nothing happened\n".into());
    }
    Ok(build_event_table(&found)?.render(args.format))
}

/// A date or an instant as people write it; UTC, unless it says otherwise.
pub(in crate::cli) fn parse_date_option(
    option: &str,
    text: Option<&str>,
) -> Result<Option<UtcTimestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let instant = text.parse::<jiff::Timestamp>().ok();
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let found = instant.or_else(|| day().map(|day| day.timestamp()));
    found.and_then(|at| UtcTimestamp::try_from(at).ok()).map(Some).ok_or_else(|| {
        Failure::Usage(format!("--{option} must be a date such as 2026-01-31 or 2026-01-31T12:00:00Z"))
    })
}

fn build_event_table(events: &[EventRecord]) -> Result<OutputTable, StoreError> {
    let row = |event: &EventRecord| {
        let kind = event.kind.clone();
        vec![
            clock::format_utc(event.at),
            event.target.clone(),
            event.check.clone(),
            kind,
            sanitize_text(&event.summary),
        ]
    };
    let document = |event: &EventRecord| api_types::to_json_value(api_types::EventDto::from_record(event)?);
    Ok(OutputTable {
        json_key: "events",
        header: ["at", "target", "check", "what", "summary"].map(str::to_owned).to_vec(),
        rows: events.iter().map(row).collect(),
        json_rows: events.iter().map(document).collect::<Result<_, _>>()?,
    })
}
