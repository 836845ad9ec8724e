//! `logs scan`: the log events of whole files.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::UNIX_EPOCH,
};

use serde_json::{Value, json};
use sessionwatch_app::{
    config::Config,
    logs::{
        LocatedLogEvent,
        scan::{LogEventCollector, ScanJob, scan_file},
        summary::{EventCount, LogSummary},
    },
    output::{OutputFormat, table::OutputTable},
    preflight,
};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    plural::{self, ListTotal},
    severity::Severity,
    timestamp::UtcTimestamp,
};
use sessionwatch_logs::{
    line_reader::{LogExcerpt, ReadCounters},
    log_event::{LogEvent, LogEventKind},
    matchers::Matchers,
};

use super::super::{Failure, lists::empty_list, print_text, target_args::ConfigArgs};

/// Log events that are shown in full below the table.
const MAX_SHOWN_EVENTS: usize = 20;

/// Scan log files: plain, gzip or zstd
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct LogsScanArgs {
    /// Log files or patterns such as 'logs/*.gz'; - for stdin
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only this kind of log event, or this log check; repeatable
    #[arg(long, value_name = "KIND")]
    only: Vec<String>,
    /// Output format; ndjson and csv list every log event
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Collects the log events of one part of a file.
struct ScanPart<'a, 'p> {
    source: &'a str,
    matchers: &'a Matchers,
    only: &'a [String],
    /// Every log event is listed, not only counted.
    keep_all: bool,
    tally: LogSummary<'p>,
    list: Vec<LocatedLogEvent>,
}

impl LogEventCollector for ScanPart<'_, '_> {
    fn push_event(&mut self, event: LogEvent<'_>, place: LogExcerpt<'_>) {
        let patterns = self.matchers.patterns();
        if !self.only.is_empty() {
            let pattern = event.pattern_index.and_then(|number| patterns.get(number));
            let name = pattern.map_or(event.kind.name(), |pattern| &pattern.name);
            if !self.only.iter().any(|only| only == name) {
                return;
            }
        }
        if self.keep_all {
            self.list.push(LocatedLogEvent::new(event.clone(), place, self.source, patterns));
        }
        self.tally.add_event(event, place);
    }
}

pub(super) fn run(args: &LogsScanArgs) -> Result<ExitCode, Failure> {
    let config = preflight::load_config(args.config.config.as_deref())?;
    require_known_kinds(&config, &args.only)?;
    let keep_all = [OutputFormat::Ndjson, OutputFormat::Csv].contains(&args.format);
    let patterns = config.logs.line_patterns();
    let mut tally = LogSummary::new(&patterns);
    if args.format == OutputFormat::Csv {
        print_text(CSV_HEADER)?;
    }
    for path in expand_patterns(&args.files)? {
        let matchers = super::build_matchers(&config, modified_at(&path));
        let source = path.display().to_string();
        let new_collector = || ScanPart {
            source: &source,
            matchers: &matchers,
            only: &args.only,
            keep_all,
            tally: LogSummary::new(&patterns),
            list: vec![],
        };
        let search = ScanJob { path: &path, matchers: &matchers, new_collector };
        scan_file(&search, |part: ScanPart<'_, '_>, counters: ReadCounters| {
            let line = |found: &LocatedLogEvent| match args.format {
                OutputFormat::Csv => render_csv_line(found),
                _ => format!("{}\n", found.to_json()),
            };
            print_text(&part.list.iter().map(line).collect::<String>())?;
            let mut read = part.tally;
            read.counters = counters;
            tally.merge(read, &source);
            Ok::<_, Failure>(())
        })?;
    }
    match args.format {
        OutputFormat::Ndjson | OutputFormat::Csv => {}
        OutputFormat::Json => print_text(&format!("{:#}\n", summary_to_json(&tally)))?,
        OutputFormat::Table | OutputFormat::Markdown => print_text(&render_summary(&tally, args.format))?,
    }
    Ok(if tally.has_severe_events() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Rejects unknown kinds of log events: a typo would match nothing.
fn require_known_kinds(config: &Config, only: &[String]) -> Result<(), Failure> {
    let kinds =
        LogEventKind::ALL.iter().filter(|kind| **kind != LogEventKind::Pattern).map(|kind| kind.name());
    let names: Vec<&str> =
        kinds.chain(config.logs.custom_checks.iter().map(|own| own.pattern.name.as_str())).collect();
    match only.iter().find(|only| !names.contains(&only.as_str())) {
        None => Ok(()),
        Some(only) => {
            let hint = sessionwatch_core::suggest::did_you_mean(only, names.iter().copied());
            let known = if hint.is_empty() { format!("; the kinds are {}", names.join(", ")) } else { hint };
            Err(Failure::Usage(format!("there is no kind of log event `{only}`{known}")))
        }
    }
}

/// Expands patterns into files.
fn expand_patterns(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in given {
        let text = path.to_string_lossy();
        // A file of exactly that name wins, whatever characters its name has.
        if path.as_os_str() == "-" || path.exists() || !text.contains(['*', '?', '[']) {
            files.push(path.clone());
            continue;
        }
        let faulty = |why: &str| Failure::Usage(format!("`{text}` is not a valid file pattern: {why}"));
        let matching = glob::glob(&text).map_err(|error| faulty(error.msg))?;
        let before = files.len();
        files.extend(matching.filter_map(Result::ok).filter(|path| path.is_file()));
        if files.len() == before {
            return Err(faulty("no file matches it"));
        }
    }
    Ok(files)
}

/// Returns the time of the last write to a file: times without a year are near it.
fn modified_at(path: &Path) -> UtcTimestamp {
    let modified = std::fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let micros = since.and_then(|since| i64::try_from(since.as_micros()).ok());
    micros.and_then(UtcTimestamp::from_micros).unwrap_or_else(clock::now)
}

/// The code with which NextAuth.js 4 logs that it could not delete a session.
const SESSION_GONE_CODE: &str = "adapter_error_deleteSession";
const CSV_HEADER: &str =
    "at,kind,severity,user,other_user,token_prefix,reason,request_id,source,from,to,text\n";

fn render_csv_line(found: &LocatedLogEvent) -> String {
    let event = &found.event;
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let (from, to) = found.byte_range;
    sessionwatch_app::output::csv::render_csv_line(&[
        &event.at.map(clock::format_rfc3339).unwrap_or_default(),
        found.name(),
        found.severity.map_or("", Severity::name),
        &text(&event.user),
        &text(&event.other_user),
        &text(&event.token_prefix),
        &text(&event.reason),
        &text(&event.request_id),
        &found.source,
        &from.to_string(),
        &to.to_string(),
        &found.text,
    ])
}

fn summary_to_json(tally: &LogSummary<'_>) -> Value {
    let counted = |(name, severity, count): (&str, Option<Severity>, EventCount)| {
        json!({
            "kind": name, "severity": severity.map(Severity::name), "log_events": count.count,
            "first": count.first.map(clock::format_rfc3339), "last": count.last.map(clock::format_rfc3339),
        })
    };
    let ReadCounters { lines, bytes, hits, unrecognized, truncated, not_utf8, overlong } = tally.counters;
    json!({
        "schema": 2,
        "read": {
            "lines": lines, "bytes": bytes, "hits": hits, "meaningless": unrecognized,
            "truncated": truncated, "not_utf8": not_utf8, "overlong": overlong,
        },
        "kinds": tally.sorted_counts().into_iter().map(counted).collect::<Vec<_>>(),
        "log_events": tally.kept_events.iter().map(LocatedLogEvent::to_json).collect::<Vec<_>>(),
    })
}

fn render_summary(tally: &LogSummary<'_>, format: OutputFormat) -> String {
    let ReadCounters { lines, bytes, hits, unrecognized, truncated, not_utf8, overlong } = tally.counters;
    let mut text = format!(
        "Read {} ({}); {hits} may hold log events\n",
        plural::format_count(lines, "line", "lines"),
        plural::format_count(bytes, "byte", "bytes")
    );
    for (count, what) in [
        (unrecognized, "match no known pattern (`sessionwatch logs explain LINE` shows why)"),
        (truncated, "are truncated; their last value is ignored"),
        (not_utf8, "are not UTF-8, and were read nevertheless"),
        (overlong, "are longer than 1 MiB; the rest was not read"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} of them {what}\n"));
        }
    }
    let counts = tally.sorted_counts();
    if counts.is_empty() {
        text.push_str(&format!("\n{}", empty_list("log events")));
        return text;
    }
    let when = |at: Option<UtcTimestamp>| at.map(clock::format_utc).unwrap_or_default();
    let row = |(name, severity, count): &(&str, Option<Severity>, EventCount)| {
        let severity = severity.map_or("", Severity::name).to_owned();
        vec![(*name).to_owned(), severity, count.count.to_string(), when(count.first), when(count.last)]
    };
    let header = ["kind", "severity", "count", "first", "last"].map(str::to_owned).to_vec();
    let sheet =
        OutputTable { json_key: "kinds", header, rows: counts.iter().map(row).collect(), json_rows: vec![] };
    text.push_str(&format!("\n{}", sheet.render(format)));
    let mut worst: Vec<&LocatedLogEvent> =
        tally.kept_events.iter().filter(|found| found.severity >= Some(Severity::High)).collect();
    worst.sort_by_key(|found| std::cmp::Reverse(found.severity));
    if !worst.is_empty() {
        text.push('\n');
    }
    for found in worst.iter().take(MAX_SHOWN_EVENTS) {
        let place = format!("{}, bytes {} to {}", found.source, found.byte_range.0, found.byte_range.1);
        text.push_str(&format!("{}\n    {place}\n", found.to_line()));
    }
    if tally.kept_events.iter().any(|found| found.event.reason.as_deref() == Some(SESSION_GONE_CODE)) {
        text.push_str(&format!(
            "\n`{SESSION_GONE_CODE}`: a browser used the cookie of a deleted session. Expected after a \
             cleanup or a revocation.\n"
        ));
    }
    if let Some(cut) = ListTotal::Exactly(worst.len() as u64).describe_cut(MAX_SHOWN_EVENTS as u64) {
        text.push_str(&format!("{cut}; `--format ndjson` lists every log event.\n"));
    }
    text
}
