//! `alerts history` and `report history`: the events between two dates.

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
use sessionwatch_core::{duration::DAY, plural::ListTotal, timestamp::UtcTimestamp};

use crate::cli::{
    Failure, block_on,
    lists::{RAISE_LIMIT, note_if_cut, render_list},
    opening::open_existing_app,
    target_args::ConfigArgs,
    values::parse_instant,
};

/// The events to list.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AlertHistoryArgs {
    /// Start date [default: 7 days ago]
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    from: Option<UtcTimestamp>,
    /// End date [default: now]
    #[arg(long, value_parser = parse_instant, value_name = "DATE")]
    to: Option<UtcTimestamp>,
    /// Only this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only this check
    #[arg(long, value_name = "CHECK")]
    check: Option<String>,
    /// Case-insensitive text search
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only alerts that fired, resolved, or sent a reminder
    #[arg(long)]
    alerts_only: bool,
    /// Show at most this many events, the latest ones
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(in crate::cli) fn run(args: &AlertHistoryArgs, now: UtcTimestamp) -> Result<String, Failure> {
    let search = EventSearch {
        from: args.from.unwrap_or(now - 7 * DAY),
        to: args.to.unwrap_or(now),
        target: args.target.clone(),
        check: args.check.clone(),
        text: args.text.clone(),
        alerts_only: args.alerts_only,
        before_id: None,
        // One more than shown, to learn whether the list is cut.
        limit: args.limit + 1,
    };
    if search.from >= search.to {
        return Err(Failure::Usage("--from must be before --to".into()));
    }
    let app = open_existing_app(&args.config)?;
    let mut found = block_on(async { Ok(alerts::search_events(&app, search.clone()).await?) })?;
    let limit = args.limit as usize;
    if found.len() > limit {
        let total = block_on(async { Ok(alerts::count_events(&app, search).await?) })?;
        note_if_cut("events", limit, ListTotal::Exactly(total), RAISE_LIMIT);
    }
    // The latest events are kept, because the search returns the oldest first.
    let found = found.split_off(found.len().saturating_sub(limit));
    Ok(render_list(&build_event_table(&found)?, args.format, "matching events"))
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
        header: ["at", "target", "check", "event", "summary"].map(str::to_owned).to_vec(),
        rows: events.iter().map(row).collect(),
        json_rows: events.iter().map(document).collect::<Result<_, _>>()?,
    })
}
