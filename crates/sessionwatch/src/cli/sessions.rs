//! `sessions`: lists of sessions, and of the users with the most.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use sessionwatch_app::{
    api_types,
    app::{
        error::StoreError,
        logs::{LogEventQuery, count_log_events, search_log_events},
        sessions::{SessionList, SessionQuery, SessionRow},
        state_store,
        target_reader::{RankedUser, TargetReader, UserRanking},
    },
    config::Config,
    logs::{describe_log_event, log_event_json},
    output::{OutputFormat, table::OutputTable},
    report,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{period::Period, plural::ListTotal, timestamp::UtcTimestamp};

use super::{
    Failure,
    choices::{RankChoice, SortChoice, StatusChoice},
    lists::{RAISE_LIMIT, empty_list, filtered_noun, note_if_cut, render_list},
    target_args::TargetArgs,
};

/// List sessions, and the users with the most sessions
#[derive(Debug, clap::Subcommand)]
pub(super) enum SessionsCommand {
    List(SessionListArgs),
    Show(SessionShowArgs),
    Top(TopUsersArgs),
}

/// List sessions, latest expiry first
#[derive(Debug, clap::Args)]
pub(super) struct SessionListArgs {
    /// Only sessions of the user with this ID
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only sessions of users whose ID, name, handle or email contains TEXT
    #[arg(long, value_name = "TEXT")]
    user_like: Option<String>,
    /// Only sessions with this status
    #[arg(long, value_enum, default_value = "all")]
    status: StatusChoice,
    /// Sort order
    #[arg(long, value_enum, default_value = "expires")]
    sort: SortChoice,
    /// Sort in ascending order
    #[arg(long)]
    ascending: bool,
    #[command(flatten)]
    shown: ListOutputArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Show sessions by row ID or token prefix
#[derive(Debug, clap::Args)]
pub(super) struct SessionShowArgs {
    /// Row ID or token prefix, as `sessions list` shows them
    #[arg(value_name = "ID|PREFIX")]
    name: String,
    #[command(flatten)]
    shown: ListOutputArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// List the users with the most sessions
#[derive(Debug, clap::Args)]
pub(super) struct TopUsersArgs {
    /// Sessions to count
    #[arg(long, value_enum, default_value = "active")]
    by: RankChoice,
    #[command(flatten)]
    shown: ListOutputArgs,
    #[command(flatten)]
    target: TargetArgs,
}

/// Log events of one token that are shown.
const MAX_SHOWN_LOG_EVENTS: u32 = 100;

/// The size and the format of a list.
#[derive(Debug, clap::Args)]
pub(super) struct ListOutputArgs {
    /// Maximum number of rows
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
}

pub(super) fn run(args: &SessionsCommand) -> Result<ExitCode, Failure> {
    let text = match args {
        SessionsCommand::List(args) => {
            let query = SessionQuery {
                status: args.status.into(),
                user: args.user.clone(),
                user_like: args.user_like.clone(),
                sort: Some(args.sort.into()),
                ascending: args.ascending,
                ..args.shown.base_query()
            };
            list_sessions(&args.target, &args.shown, &query)?
        }
        SessionsCommand::Show(args) => {
            let query = SessionQuery { row_id_or_prefix: Some(args.name.clone()), ..args.shown.base_query() };
            let found = find_sessions(&args.target, &query, args.shown.format)?;
            if found.table.rows.is_empty() {
                return Err(Failure::Usage(
                    "no session has that row ID or token prefix; `sessionwatch sessions list` shows both"
                        .into(),
                ));
            }
            append_log_events(&found, args.shown.format)?
        }
        SessionsCommand::Top(args) => rank_users(args)?,
    };
    super::print_text(&text)?;
    Ok(ExitCode::SUCCESS)
}

impl ListOutputArgs {
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    pub(super) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Returns the query for every session, latest expiry first.
    fn base_query(&self) -> SessionQuery {
        SessionQuery::first(self.limit as usize)
    }
}

fn list_sessions(
    target: &TargetArgs,
    shown: &ListOutputArgs,
    query: &SessionQuery,
) -> Result<String, Failure> {
    let found = find_sessions(target, query, shown.format)?;
    let noun = filtered_noun("sessions", *query != shown.base_query());
    Ok(render_list(&found.table, shown.format, &noun))
}

/// The sessions that a query found.
struct FoundSessions {
    config: Config,
    target: String,
    /// Their token prefixes.
    prefixes: Vec<String>,
    table: OutputTable,
}

fn find_sessions(
    target: &TargetArgs,
    query: &SessionQuery,
    format: OutputFormat,
) -> Result<FoundSessions, Failure> {
    // Programs read CSV: times are as in JSON.
    let written = if format == OutputFormat::Csv { clock::format_rfc3339 } else { clock::format_utc };
    let (config, target) = target.choose_one_located()?;
    let reads = TargetReader::new(&config, &target);
    let listed = super::block_on(async { Ok(reads.list_sessions(query).await?) })?;
    note_if_cut_sessions(&listed, RAISE_LIMIT);
    let prefixes = listed.rows.iter().filter_map(|row| row.token_prefix.clone()).collect();
    let table = build_session_table(&listed, written)?;
    Ok(FoundSessions { config, target: target.name, prefixes, table })
}

/// Prints a note on stderr if there are more sessions than listed.
pub(super) fn note_if_cut_sessions(listed: &SessionList, advice: &str) {
    if let Some(total) = listed.total {
        note_if_cut("sessions", listed.rows.len(), total, advice);
    }
}

/// Renders sessions, and the log events with their tokens if `serve` reads logs of the target.
fn append_log_events(found: &FoundSessions, format: OutputFormat) -> Result<String, Failure> {
    let mut text = found.table.render(format);
    if found.config.logs.sources_for_target(&found.target).next().is_none() {
        return Ok(text);
    }
    let Some(app) = state_store::open_existing_app(&found.config)? else { return Ok(text) };
    let (mut events, mut count) = (Vec::new(), 0);
    let prefixes: std::collections::BTreeSet<&String> = found.prefixes.iter().collect();
    for prefix in prefixes {
        let query = LogEventQuery {
            targets: vec![found.target.clone()],
            kind: None,
            token_prefix: Some(prefix.clone()),
            user: None,
            source: None,
            only_warnings: false,
            period: Period::ALL_TIME,
            before: None,
            limit: MAX_SHOWN_LOG_EVENTS,
        };
        events.extend(super::block_on(async { Ok(search_log_events(&app, query.clone()).await?) })?);
        count += super::block_on(async { Ok(count_log_events(&app, query).await?) })?;
    }
    let advice = "`sessionwatch logs events --token PREFIX` lists more";
    note_if_cut("log events", events.len(), ListTotal::Exactly(count), advice);
    match format {
        OutputFormat::Json => {
            let unwritable = |_| StoreError::NotSerializable("the list of sessions");
            let mut document: Value = serde_json::from_str(&text).map_err(unwritable)?;
            document["log_events"] = events.iter().map(log_event_json).collect::<Result<_, _>>()?;
            text = format!("{document:#}\n");
        }
        OutputFormat::Table | OutputFormat::Markdown => {
            text.push('\n');
            text.push_str(&if events.is_empty() { empty_list("log events") } else { "Log events:\n".into() });
            for event in &events {
                text.push_str(&format!("  {}\n", describe_log_event(event)));
            }
        }
        // These formats hold rows of one kind only.
        OutputFormat::Ndjson | OutputFormat::Csv => {}
    }
    Ok(text)
}

fn rank_users(args: &TopUsersArgs) -> Result<String, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    let (reads, limit) = (TargetReader::new(&config, &target), args.shown.limit as usize);
    let ranking = super::block_on(async { Ok(reads.rank_users(args.by.into(), limit).await?) })?;
    note_if_cut("users", ranking.users.len(), ranking.total, RAISE_LIMIT);
    Ok(render_list(&build_ranking_table(&ranking), args.shown.format, "users"))
}

/// Builds the table of sessions. `written` formats times.
pub(super) fn build_session_table(
    listed: &SessionList,
    written: fn(UtcTimestamp) -> String,
) -> Result<OutputTable, StoreError> {
    let SessionList { rows, display, now, .. } = listed;
    let now = *now;
    let mut header = vec!["token prefix", "id", "user", "expires", "status", "hours left"];
    let has = |test: fn(&SessionRow) -> bool| rows.iter().any(test);
    let (created, ip, agent) =
        (has(|row| row.created_at.is_some()), has(|row| row.ip.is_some()), has(|row| row.agent.is_some()));
    for (shown, name) in [(created, "created"), (ip, "ip"), (agent, "user_agent")] {
        header.extend(shown.then_some(name));
    }
    header.extend(display.iter().map(String::as_str));
    let cells = |row: &SessionRow| {
        let mut cells = vec![
            row.token_prefix.clone(),
            row.id.clone(),
            row.user.clone(),
            row.expires_at.map(written),
            Some(report::session_status(row.expires_at, now).to_owned()),
            report::hours_left(row.expires_at, now).map(|hours| format!("{hours:.1}")),
        ];
        let more = [(created, row.created_at.map(written)), (ip, row.ip.clone()), (agent, row.agent.clone())];
        cells.extend(more.into_iter().filter(|(shown, _)| *shown).map(|(_, text)| text));
        cells.extend(row.display.iter().cloned());
        cells.into_iter().map(Option::unwrap_or_default).collect()
    };
    let document =
        |row: &SessionRow| api_types::to_json_value(api_types::SessionDto::from_row(row, display, now));
    Ok(OutputTable {
        json_key: "sessions",
        header: header.into_iter().map(str::to_owned).collect(),
        rows: rows.iter().map(cells).collect(),
        json_rows: rows.iter().map(document).collect::<Result<_, _>>()?,
    })
}

/// Builds the table of users with their number of sessions.
pub(super) fn build_ranking_table(ranking: &UserRanking) -> OutputTable {
    let UserRanking { users, display, .. } = ranking;
    let row = |user: &RankedUser| {
        let mut row = vec![user.id.clone().unwrap_or_default(), user.sessions.to_string()];
        row.extend(user.display.iter().map(|text| text.clone().unwrap_or_default()));
        row
    };
    let document = |user: &RankedUser| {
        let display = display_columns(display, &user.display);
        json!({ "user": user.id, "sessions": user.sessions, "display": display })
    };
    let header = ["user", "sessions"].into_iter().map(str::to_owned).chain(display.iter().cloned());
    OutputTable {
        json_key: "users",
        header: header.collect(),
        rows: users.iter().map(row).collect(),
        json_rows: users.iter().map(document).collect(),
    }
}

fn display_columns(names: &[String], values: &[Option<String>]) -> Map<String, Value> {
    names.iter().cloned().zip(values.iter().map(|value| json!(value))).collect()
}
