//! `sessions`: the rows, for a person to read.

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use sessionwatch_app::{
    api_types,
    app::{
        AppState,
        logs::{LogEventQuery, search_log_events},
    },
    config::Config,
    logs::{describe_kept, kept_json},
    output::{Format, table::Sheet},
    report,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{instant::Instant, period::Period};
use sessionwatch_store::{Store, StoreError};
use sessionwatch_targets::{
    connect::ConnectedTarget, error::TargetError, evidence::Evidence, listing::Line, sql::List,
};

use super::{
    Failure,
    choices::{RankChoice, SortChoice, StatusChoice},
    target::TargetArgs,
};

/// Show sessions and the users who hold them
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    List(ListArgs),
    Show(ShowArgs),
    Top(TopArgs),
}

/// List sessions, latest end first
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Only sessions of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Which sessions
    #[arg(long, value_enum, default_value = "all")]
    status: StatusChoice,
    /// By what they are sorted
    #[arg(long, value_enum, default_value = "expires")]
    sort: SortChoice,
    /// Smallest first
    #[arg(long)]
    ascending: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Show one session, or those whose tokens begin so
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Row ID or token prefix, as `sessions list` shows them
    #[arg(value_name = "ID|PREFIX")]
    name: String,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    shown: Shown,
}

/// Rank users by their sessions
#[derive(Debug, clap::Args)]
pub(super) struct TopArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// By what users are ranked
    #[arg(long, value_enum, default_value = "active")]
    by: RankChoice,
    #[command(flatten)]
    shown: Shown,
}

/// Signals of one token that are shown.
const SIGNALS: u32 = 100;

/// How much is shown, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Shown {
    /// The most that are shown
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How the list is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let text = match args {
        Args::List(args) => {
            let list = List {
                status: args.status.into(),
                user: args.user.as_deref(),
                named: None,
                prefixes: &[],
                created_since: None,
                paged: false,
                after: None,
                sort: args.sort.into(),
                ascending: args.ascending,
                limit: args.shown.limit as usize,
            };
            lines(&args.target, &args.shown, list)?
        }
        Args::Show(args) => {
            let list = List { named: Some(&args.name), ..List::all(args.shown.limit as usize) };
            let found = found(&args.target, list, args.shown.format)?;
            if found.sheet.rows.is_empty() {
                return Err(Failure::Usage(
                    "no session has that row ID or token prefix; `sessionwatch sessions list` shows both"
                        .into(),
                ));
            }
            with_signals(&found, args.shown.format)?
        }
        Args::Top(args) => top(args)?,
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn lines(target: &TargetArgs, shown: &Shown, list: List<'_>) -> Result<String, Failure> {
    let sheet = found(target, list, shown.format)?.sheet;
    let readable = [Format::Table, Format::Markdown].contains(&shown.format);
    Ok(if sheet.rows.is_empty() && readable { "no session\n".into() } else { sheet.render(shown.format) })
}

/// Sessions that were found.
struct Sessions {
    config: Config,
    target: String,
    /// The first characters of their tokens.
    prefixes: Vec<String>,
    sheet: Sheet,
}

fn found(target: &TargetArgs, list: List<'_>, format: Format) -> Result<Sessions, Failure> {
    // What a program reads is written as in JSON.
    let written = if format == Format::Csv { clock::rfc3339 } else { clock::readable };
    let (config, target) = target.choose_one_located()?;
    let limit = list.limit;
    let (prefixes, listed, is_cut) = super::block_on(super::with_open(&config, &target, async |opened| {
        let scope = opened.scope(false, &config.rules.thresholds);
        let list = List { limit: limit + 1, ..list };
        let mut lines = opened.session.list(&scope, list).await?;
        let is_cut = lines.len() > limit;
        lines.truncate(limit);
        let prefixes = lines.iter().filter_map(|line| line.token_prefix.clone()).collect();
        Ok((prefixes, Listed { lines, display: display(opened), now: opened.now }, is_cut))
    }))?;
    cut(is_cut, limit);
    Ok(Sessions { config, target: target.name, prefixes, sheet: listed.sheet(written)? })
}

/// Says that a list ends before what there is to list.
fn cut(is_cut: bool, limit: usize) {
    if is_cut {
        super::complain_of(&format!("{limit} shown, there are more: --limit shows them"));
    }
}

/// Sessions, and what the logs say of their tokens, where the watch reads logs.
fn with_signals(found: &Sessions, format: Format) -> Result<String, Failure> {
    let mut text = found.sheet.render(format);
    if found.config.logs.of(&found.target).next().is_none() {
        return Ok(text);
    }
    let Some(store) = Store::find(&found.config.serve.store)? else { return Ok(text) };
    let app = AppState::for_command(store, found.config.clone())?;
    let mut signals = Vec::new();
    let prefixes: std::collections::BTreeSet<&String> = found.prefixes.iter().collect();
    for prefix in prefixes {
        let query = LogEventQuery {
            targets: vec![found.target.clone()],
            kind: None,
            prefix: Some(prefix.clone()),
            user: None,
            only_bad: false,
            period: Period::ALWAYS,
            before: None,
            limit: SIGNALS,
        };
        signals.extend(super::block_on(async { Ok(search_log_events(&app, query).await?) })?);
    }
    match format {
        Format::Json => {
            let unwritable = |_| StoreError::Unwritable("the list of sessions");
            let mut document: Value = serde_json::from_str(&text).map_err(unwritable)?;
            document["signals"] = signals.iter().map(kept_json).collect::<Result<_, _>>()?;
            text = format!("{document:#}\n");
        }
        Format::Table | Format::Markdown => {
            text.push_str(if signals.is_empty() {
                "\nThe logs say nothing of it.\n"
            } else {
                "\nIn the logs:\n"
            });
            for signal in &signals {
                text.push_str(&format!("  {}\n", describe_kept(signal)));
            }
        }
        // One kind of row in each list.
        Format::Ndjson | Format::Csv => {}
    }
    Ok(text)
}

fn top(args: &TopArgs) -> Result<String, Failure> {
    let (config, target) = args.target.choose_one_located()?;
    super::block_on(super::with_open(&config, &target, async |opened| {
        let mapping = &opened.layout.candidate.mapping;
        if mapping.user.is_none() {
            let why = "no column of the user is known, so users cannot be ranked";
            return Err(TargetError::Mapping(why.into()));
        }
        if args.by == RankChoice::Recent && mapping.created.is_none() {
            let why = "creation is not stored, so recent sessions cannot be told";
            return Err(TargetError::Mapping(why.into()));
        }
        let scope = opened.scope(false, &config.rules.thresholds);
        let limit = args.shown.limit as usize;
        let mut ranking = opened.session.ranking(&scope, args.by.into(), limit + 1).await?;
        cut(ranking.len() > limit, limit);
        ranking.truncate(limit);
        Ok(ranks(&ranking, &display(opened)).render(args.shown.format))
    }))
}

/// The columns of the users that are shown.
fn display(opened: &ConnectedTarget) -> Vec<String> {
    opened.layout.candidate.mapping.users.as_ref().map(|users| users.display.clone()).unwrap_or_default()
}

/// Sessions that are listed.
struct Listed {
    lines: Vec<Line>,
    /// The columns of the users that are shown.
    display: Vec<String>,
    /// The database's time.
    now: Instant,
}

impl Listed {
    /// The sessions as rows, with instants written in one way.
    fn sheet(&self, written: fn(Instant) -> String) -> Result<Sheet, StoreError> {
        let Self { lines, display, now } = self;
        let now = *now;
        let mut header = vec!["token", "id", "user", "expires", "status", "hours left"];
        let has = |test: fn(&Line) -> bool| lines.iter().any(test);
        let (created, ip, agent) = (
            has(|line| line.created_at.is_some()),
            has(|line| line.ip.is_some()),
            has(|line| line.agent.is_some()),
        );
        for (shown, name) in [(created, "created"), (ip, "ip"), (agent, "agent")] {
            header.extend(shown.then_some(name));
        }
        header.extend(display.iter().map(String::as_str));
        let row = |line: &Line| {
            let mut row = vec![
                line.token_prefix.clone(),
                line.id.clone(),
                line.user.clone(),
                line.expires_at.map(written),
                Some(report::status(line.expires_at, now).to_owned()),
                report::hours_left(line.expires_at, now).map(|hours| format!("{hours:.1}")),
            ];
            let more =
                [(created, line.created_at.map(written)), (ip, line.ip.clone()), (agent, line.agent.clone())];
            row.extend(more.into_iter().filter(|(shown, _)| *shown).map(|(_, text)| text));
            row.extend(line.display.iter().cloned());
            row.into_iter().map(Option::unwrap_or_default).collect()
        };
        let document = |line: &Line| api_types::json(api_types::Session::of(line, display, now));
        Ok(Sheet {
            kind: "sessions",
            header: header.into_iter().map(str::to_owned).collect(),
            rows: lines.iter().map(row).collect(),
            documents: lines.iter().map(document).collect::<Result<_, _>>()?,
        })
    }
}

fn ranks(ranking: &[Evidence], display: &[String]) -> Sheet {
    let row = |holder: &Evidence| {
        let mut row = vec![holder.user.clone().unwrap_or_default(), holder.rows.to_string()];
        row.extend(holder.display.iter().map(|text| text.clone().unwrap_or_default()));
        row
    };
    let document = |holder: &Evidence| json!({ "user": holder.user, "sessions": holder.rows, "display": columns(display, &holder.display) });
    let header = ["user", "sessions"].into_iter().map(str::to_owned).chain(display.iter().cloned());
    Sheet {
        kind: "users",
        header: header.collect(),
        rows: ranking.iter().map(row).collect(),
        documents: ranking.iter().map(document).collect(),
    }
}

fn columns(names: &[String], values: &[Option<String>]) -> Map<String, Value> {
    names.iter().cloned().zip(values.iter().map(|value| json!(value))).collect()
}
