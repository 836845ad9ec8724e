//! Judging signals: to which sessions they belong, and which checks fail because of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_clock as clock;
use sessionwatch_core::{
    checks::{CheckOutcome, CheckVerdict},
    correlation::{self, MatchKind},
    duration::{DAY, saturating_micros},
    log_gaps::StoredLogGap,
    period::Period,
    severity::Severity,
    source_activity::SourceStatus,
    timestamp::UtcTimestamp,
};
use sessionwatch_logs::log_event::LogEventKind;
use sessionwatch_store::{
    StoreError,
    log_events::{self, LogEventRecord, LogEventSearch},
    transaction::Tx,
};
use sessionwatch_targets::{evidence::EvidenceRow, listing::ListedSession};

use crate::{
    check_run::CheckResult,
    checks::{self, LogCheckKind, LogCheckLimit},
    config::{Config, logs::LogSourceConfig},
};

/// Signals that show why a check fails.
const MAX_SHOWN_EVENTS: u32 = 10;

/// The sessions of a target by the prefixes that were asked for.
#[derive(Clone, Debug, Default)]
pub struct PrefixLookup {
    /// The sessions.
    pub matches: Vec<ListedSession>,
    /// How many there are in all.
    pub total_sessions: u64,
}

/// What a signal was joined to: how it fits, by name, and the rest as JSON.
#[must_use]
pub fn correlate_event(
    signal: &LogEventRecord,
    table: Result<&PrefixLookup, &str>,
) -> (Option<MatchKind>, Value) {
    let table = match table {
        Ok(table) => table,
        Err(why) => return (None, json!({ "why": why })),
    };
    let Some(prefix) = signal.token_prefix.as_deref() else {
        return (None, json!({ "why": "the line names no token" }));
    };
    let shown =
        |line: &ListedSession| line.token_prefix.clone().filter(|shown| prefix_matches(shown, prefix));
    let alike: Vec<&ListedSession> = table.matches.iter().filter(|line| shown(line).is_some()).collect();
    // Of a short token, less is shown than the line has.
    let prefix = alike.iter().filter_map(|line| shown(line)).min_by_key(String::len).unwrap_or(prefix.into());
    let prefix = prefix.as_str();
    let users: Vec<Option<&str>> = alike.iter().map(|line| line.user.as_deref()).collect();
    let named: Vec<&str> =
        [&signal.user, &signal.other_user].into_iter().flatten().map(String::as_str).collect();
    let shared = signal.kind == LogEventKind::DuplicateToken.name();
    let joined = correlation::correlate_sessions(prefix, &named, &users, table.total_sessions, shared);
    let row = |at: &usize| {
        let line = alike[*at];
        json!({
            "id": line.id, "user": line.user, "expires_at": line.expires_at.map(clock::format_rfc3339),
            "created_at": line.created_at.map(clock::format_rfc3339), "display": line.display,
        })
    };
    let sessions: Vec<Value> = joined.rows.iter().map(row).collect();
    let skew = clock_skew(signal, &joined, &alike);
    let detail = json!({ "sessions": sessions, "coincidences": joined.expected_collisions, "clock_offset_us": skew.map(saturating_micros) });
    (Some(joined.match_kind), detail)
}

/// The fewest characters by which a token in a line is found whose prefix in the table is shorter.
const MIN_PREFIX_CHARS: usize = 5;

/// Whether the prefix that the table shows is that of a token that begins as a line says.
#[must_use]
fn prefix_matches(shown: &str, prefix: &str) -> bool {
    shown == prefix || shown.chars().count() >= MIN_PREFIX_CHARS && prefix.starts_with(shown)
}

/// The prefixes that the table may show of a token that begins as a line says.
#[must_use]
pub fn possible_prefixes(prefix: &str) -> Vec<String> {
    let lengths = prefix.char_indices().map(|(at, _)| at).skip(MIN_PREFIX_CHARS);
    lengths.chain([prefix.len()]).map(|end| prefix[..end].to_owned()).collect()
}

/// By how much the log's clock is ahead of the database's, by a session that both say was created.
fn clock_skew(
    signal: &LogEventRecord,
    joined: &correlation::Correlation,
    alike: &[&ListedSession],
) -> Option<SignedDuration> {
    let [only] = joined.rows.as_slice() else { return None };
    let created = signal.kind == LogEventKind::Created.name() && joined.match_kind == MatchKind::Exact;
    Some(signal.at.filter(|_| created)?.duration_since(alike[*only].created_at?))
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct EvalInput<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The target.
    pub target: &'a str,
    /// The present instant.
    pub now: UtcTimestamp,
}

/// A check's outcome, and the signals that show it.
#[derive(Clone, Debug)]
pub struct LogCheckResult {
    /// The outcome.
    pub outcome: CheckResult,
    /// The latest signals.
    pub events: Vec<LogEventRecord>,
}

/// What every check of logs says of a target.
///
/// # Errors
///
/// If what is known cannot be read.
pub fn evaluate_log_checks(db: Tx<'_>, view: EvalInput<'_>) -> Result<Vec<LogCheckResult>, StoreError> {
    let logs = &view.config.logs;
    let voices = load_source_states(db, view)?;
    let doubt = idle_reason(&voices);
    let tally = WindowedEvents::load(db, view)?;
    let mut all = Vec::new();
    for check in checks::LOG_CHECKS.iter().filter(|check| view.config.checks.is_enabled(check.id)) {
        let limit = logs.check_limit(check);
        let (finding, signals) = match check.kind {
            LogCheckKind::Events(kind) => {
                tally.evaluate_limit(CountedEvents::Kind(kind.name()), limit, doubt.as_deref())
            }
            LogCheckKind::UserConflicts => {
                tally.evaluate_limit(CountedEvents::Contradictions, limit, doubt.as_deref())
            }
            LogCheckKind::IdleSource => (evaluate_idle_sources(&voices), vec![]),
            LogCheckKind::SourceGaps => (evaluate_gaps(&voices, limit, view.now), vec![]),
        };
        let mut judged = build_result(
            check.id,
            view.config.checks.log_check_severity(check),
            check.action,
            finding,
            signals,
        );
        if let LogCheckKind::Events(kind) = check.kind {
            downgrade_unconfirmed(db, view, kind.name(), limit, &mut judged)?;
        }
        all.push(judged);
    }
    for own in &logs.custom_checks {
        let name = own.pattern.name.as_str();
        let (finding, signals) = tally.evaluate_limit(CountedEvents::Kind(name), own.limit, doubt.as_deref());
        // How severe these are is the operator's to say.
        all.push(build_result(name, own.pattern.severity, &own.action, finding, signals));
    }
    Ok(all)
}

fn build_result(
    id: &str,
    severity: Severity,
    action: &str,
    finding: CheckOutcome,
    signals: Vec<LogEventRecord>,
) -> LogCheckResult {
    let evidence = signals.iter().map(event_evidence).collect();
    let outcome = CheckResult { id: id.into(), severity, action: action.into(), outcome: finding, evidence };
    LogCheckResult { outcome, events: signals }
}

/// Looks for a session that confirms what critical signals say. Without one it is high, since whoever can make the
/// application log a line could have written it.
fn downgrade_unconfirmed(
    db: Tx<'_>,
    view: EvalInput<'_>,
    kind: &str,
    limit: LogCheckLimit,
    result: &mut LogCheckResult,
) -> Result<(), StoreError> {
    let outcome = &mut result.outcome;
    if outcome.severity != Severity::Critical || outcome.outcome.verdict != CheckVerdict::Failing {
        return Ok(());
    }
    let window = count_window(view, limit.window);
    let exact = LogEventSearch {
        kind: Some(kind),
        match_kind: Some(MatchKind::Exact.name()),
        limit: MAX_SHOWN_EVENTS,
        ..LogEventSearch::default()
    };
    let confirmed =
        log_events::search_log_events(db, view.target, Period { from: window.from, to: window.to }, &exact)?;
    if confirmed.is_empty() {
        outcome.severity = Severity::High;
        outcome.outcome.summary.push_str(
            "; unconfirmed: no line fits a session in the table, and whoever can make the application log text can write such a line",
        );
        return Ok(());
    }
    // Those that a session confirms come first.
    if !confirmed.iter().any(|one| result.events.first().is_some_and(|first| first.id == one.id)) {
        outcome.outcome.summary.push_str(&format!("; confirmed: {}", summarize_event(&confirmed[0])));
    }
    let others = result.events.drain(..).filter(|other| confirmed.iter().all(|one| one.id != other.id));
    let others: Vec<LogEventRecord> = others.collect();
    result.events = confirmed.into_iter().chain(others).take(MAX_SHOWN_EVENTS as usize).collect();
    outcome.evidence = result.events.iter().map(event_evidence).collect();
    Ok(())
}

/// A signal with the session that it was joined to.
fn event_evidence(signal: &LogEventRecord) -> EvidenceRow {
    let joined = signal.correlation.as_ref().unwrap_or(&Value::Null);
    let session = &joined["sessions"][0];
    let text = |key: &str| session[key].as_str().map(str::to_owned);
    let expires = session["expires_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let display = session["display"]
        .as_array()
        .map(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    EvidenceRow {
        token_prefix: signal.token_prefix.clone(),
        id: text("id"),
        user: text("user").or_else(|| signal.user.clone()),
        expires_at: expires.and_then(|at| UtcTimestamp::try_from(at).ok()),
        rows: joined["sessions"].as_array().map_or(0, |all| all.len() as u64),
        display: display.unwrap_or_default(),
    }
}

/// Signals that one limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CountedEvents<'a> {
    /// Those of a kind or pattern.
    Kind(&'a str),
    /// Those that say something else than the table.
    Contradictions,
}

impl CountedEvents<'_> {
    fn includes(self, kind: &str, fit: Option<&str>) -> bool {
        match self {
            Self::Kind(name) => kind == name,
            Self::Contradictions => fit == Some(MatchKind::Contradicting.name()),
        }
    }
}

/// The window of that length in which a limit counts. A signal that seems to come later was seen before the clock was
/// set back: its window is not over.
fn count_window(view: EvalInput<'_>, length: SignedDuration) -> log_events::LogEventWindow<'_> {
    log_events::LogEventWindow { target: view.target, from: view.now - length, to: view.now + DAY }
}

/// The signals that limits are about. Each window is read once, however many limits count in it.
struct WindowedEvents {
    /// By the length of the window.
    windows: BTreeMap<SignedDuration, Vec<log_events::LogEventCount>>,
    /// Those that show why a limit is exceeded, by the length of the window, the latest first.
    latest: BTreeMap<SignedDuration, Vec<LogEventRecord>>,
}

impl WindowedEvents {
    fn load(db: Tx<'_>, view: EvalInput<'_>) -> Result<Self, StoreError> {
        let logs = &view.config.logs;
        let checks = checks::LOG_CHECKS.iter().filter(|check| view.config.checks.is_enabled(check.id));
        let of_checks = checks.filter_map(|check| match check.kind {
            LogCheckKind::Events(kind) => Some((CountedEvents::Kind(kind.name()), logs.check_limit(check))),
            LogCheckKind::UserConflicts => Some((CountedEvents::Contradictions, logs.check_limit(check))),
            LogCheckKind::IdleSource | LogCheckKind::SourceGaps => None,
        });
        let of_patterns =
            logs.custom_checks.iter().map(|own| (CountedEvents::Kind(own.pattern.name.as_str()), own.limit));
        let limits: Vec<(CountedEvents<'_>, LogCheckLimit)> = of_checks.chain(of_patterns).collect();
        let mut tally = Self { windows: BTreeMap::new(), latest: BTreeMap::new() };
        let lengths: BTreeSet<SignedDuration> = limits.iter().map(|(_, limit)| limit.window).collect();
        for length in lengths {
            let window = count_window(view, length);
            tally.windows.insert(length, log_events::count_log_events(db, window)?);
            let exceeded = limits.iter().filter(|(counted, limit)| {
                limit.window == length && tally.count_events(*counted, *limit) > limit.max
            });
            let (mut kinds, mut found) = (Vec::new(), Vec::new());
            for (counted, _) in exceeded {
                match counted {
                    CountedEvents::Kind(name) => kinds.push(*name),
                    CountedEvents::Contradictions => {
                        let fit = Some(MatchKind::Contradicting.name());
                        let search = LogEventSearch {
                            match_kind: fit,
                            limit: MAX_SHOWN_EVENTS,
                            ..LogEventSearch::default()
                        };
                        found.extend(log_events::search_log_events(
                            db,
                            view.target,
                            Period { from: window.from, to: window.to },
                            &search,
                        )?);
                    }
                }
            }
            found.extend(log_events::list_latest_by_kind(db, window, &kinds, MAX_SHOWN_EVENTS)?);
            found.sort_by_key(|signal| std::cmp::Reverse(signal.id));
            found.dedup_by_key(|signal| signal.id);
            tally.latest.insert(length, found);
        }
        Ok(tally)
    }

    fn count_events(&self, counted: CountedEvents<'_>, limit: LogCheckLimit) -> u64 {
        let counts = self.windows.get(&limit.window).into_iter().flatten();
        counts.filter(|one| counted.includes(&one.kind, one.match_kind.as_deref())).map(|one| one.count).sum()
    }

    /// What a limit says of the signals that it is about, and the latest of them where it is exceeded.
    fn evaluate_limit(
        &self,
        counted: CountedEvents<'_>,
        limit: LogCheckLimit,
        doubt: Option<&str>,
    ) -> (CheckOutcome, Vec<LogEventRecord>) {
        let count = self.count_events(counted, limit);
        let latest: Vec<LogEventRecord> = if count > limit.max {
            let all = self.latest.get(&limit.window).into_iter().flatten();
            let of_it = all.filter(|signal| counted.includes(&signal.kind, signal.match_kind.as_deref()));
            of_it.take(MAX_SHOWN_EVENTS as usize).cloned().collect()
        } else {
            vec![]
        };
        let minutes = limit.window.as_mins();
        let plural = if count == 1 { "" } else { "s" };
        let name = match counted {
            CountedEvents::Kind(kind) => format!("signal{plural} `{kind}`"),
            CountedEvents::Contradictions => format!("contradiction{plural} between log and table"),
        };
        let mut summary = format!("{count} {name} in the last {minutes} minutes");
        if let Some(first) = latest.first() {
            summary.push_str(&format!("; the latest: {}", summarize_event(first)));
        }
        let verdict = match (count > limit.max, doubt) {
            (true, _) => CheckVerdict::Failing,
            (false, Some(why)) => CheckVerdict::Unknown(why.to_owned()),
            (false, None) => CheckVerdict::Passing,
        };
        #[expect(clippy::cast_precision_loss, reason = "a count for people")]
        let value = Some(count as f64);
        let threshold = format!("> {} in {minutes} minutes", limit.max);
        (
            CheckOutcome {
                verdict,
                value,
                threshold,
                summary,
                proving_constraint: None,
                user_limit: None,
                is_informational: false,
            },
            latest,
        )
    }
}

/// A signal in a few words, with what the table says.
fn summarize_event(signal: &LogEventRecord) -> String {
    let mut words = Vec::new();
    words.extend(signal.token_prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> =
        [&signal.user, &signal.other_user].into_iter().flatten().map(String::as_str).collect();
    words.extend((!users.is_empty()).then(|| format!("user {}", users.join(" and "))));
    let joined = signal.correlation.as_ref().unwrap_or(&Value::Null);
    let session = &joined["sessions"][0];
    let said = match signal.match_kind.as_deref() {
        Some("exact") => session["id"].as_str().map(|id| format!("session {id}")),
        Some("contradicting") => {
            session["user"].as_str().map(|user| format!("in the table it is user {user}"))
        }
        Some("ambiguous") => {
            joined["sessions"].as_array().map(|all| format!("{} sessions could be meant", all.len()))
        }
        Some("gone") => Some("no such session is left".to_owned()),
        _ => joined["why"].as_str().map(|why| format!("not joined: {why}")),
    };
    words.extend(said);
    crate::sanitize::sanitize_text(&words.join(", "))
}

/// A source of a target, and what is known of its voice.
struct SourceState<'a> {
    source: &'a LogSourceConfig,
    status: SourceStatus,
    last_line_at: Option<UtcTimestamp>,
    gaps: Vec<StoredLogGap>,
}

fn load_source_states<'a>(db: Tx<'_>, view: EvalInput<'a>) -> Result<Vec<SourceState<'a>>, StoreError> {
    let mut voices = Vec::new();
    for source in view.config.logs.sources_for_target(view.target) {
        let kept = super::find_source(db, &source.name)?.unwrap_or_default();
        let voice = kept.activity.status_at(kept.last_line_at, view.now, source.idle_after);
        voices.push(SourceState { source, status: voice, last_line_at: kept.last_line_at, gaps: kept.gaps });
    }
    Ok(voices)
}

/// Why nothing follows from what no log says.
fn idle_reason(voices: &[SourceState<'_>]) -> Option<String> {
    voices.iter().find_map(|SourceState { source, status: voice, last_line_at: last, .. }| {
        match (voice, last) {
            (SourceStatus::NeverActive, _) => Some(format!("no line of `{}` was read yet", source.name)),
            (SourceStatus::Idle, Some(at)) => {
                Some(format!("`{}` has been quiet since {}", source.name, clock::format_utc(*at)))
            }
            _ => None,
        }
    })
}

fn evaluate_idle_sources(voices: &[SourceState<'_>]) -> CheckOutcome {
    let quiet: Vec<String> = voices
        .iter()
        .filter(|heard| heard.status == SourceStatus::Idle)
        .map(|heard| {
            let since = heard.last_line_at.map(clock::format_utc).unwrap_or_default();
            let name = &heard.source.name;
            format!("`{name}` has been quiet since {since}, though it usually speaks at this time")
        })
        .collect();
    let verdict = match (quiet.is_empty(), idle_reason(voices)) {
        (false, _) => CheckVerdict::Failing,
        (true, Some(why)) => CheckVerdict::Unknown(why),
        (true, None) => CheckVerdict::Passing,
    };
    let summary =
        if quiet.is_empty() { "every source speaks as it usually does".to_owned() } else { quiet.join("; ") };
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let value = Some(quiet.len() as f64);
    let threshold = "a source that usually speaks".to_owned();
    CheckOutcome {
        verdict,
        value,
        threshold,
        summary,
        proving_constraint: None,
        user_limit: None,
        is_informational: false,
    }
}

/// How many times lines may be missing within a window.
fn evaluate_gaps(voices: &[SourceState<'_>], limit: LogCheckLimit, now: UtcTimestamp) -> CheckOutcome {
    let since = now - limit.window;
    let all = voices.iter().flat_map(|heard| heard.gaps.iter().map(|gap| (heard.source, gap)));
    let recent: Vec<(&LogSourceConfig, &StoredLogGap)> = all.filter(|(_, gap)| gap.is_after(since)).collect();
    let count = recent.len() as u64;
    let minutes = limit.window.as_mins();
    let plural = if count == 1 { "" } else { "s" };
    let mut summary = format!("{count} gap{plural} in logs in the last {minutes} minutes");
    if let Some((source, gap)) = recent.iter().max_by_key(|(_, gap)| gap.at) {
        let bytes = gap.bytes.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
        summary.push_str(&format!("; the latest, in `{}`: {}{bytes}", source.name, gap.cause.description()));
    }
    let verdict = if count > limit.max { CheckVerdict::Failing } else { CheckVerdict::Passing };
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    let value = Some(count as f64);
    let threshold = format!("> {} in {minutes} minutes", limit.max);
    CheckOutcome {
        verdict,
        value,
        threshold,
        summary,
        proving_constraint: None,
        user_limit: None,
        is_informational: false,
    }
}
