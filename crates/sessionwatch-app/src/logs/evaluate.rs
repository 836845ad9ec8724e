//! Evaluates log events: correlates them with sessions, and runs the log checks.

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
    plural::format_count,
    severity::Severity,
    source_activity::SourceStatus,
    text::name_users,
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

/// The maximum number of log events shown as evidence of a failing check.
const MAX_SHOWN_EVENTS: u32 = 10;

/// Sessions of a target, looked up by token prefix.
#[derive(Clone, Debug, Default)]
pub struct PrefixLookup {
    /// Sessions that match one of the prefixes.
    pub matches: Vec<ListedSession>,
    /// Number of all sessions of the target.
    pub total_sessions: u64,
}

/// Correlates a log event with sessions. Returns the match kind, or `None` if no correlation was possible, and details
/// as JSON. `table` is the lookup, or the reason why it failed.
#[must_use]
pub fn correlate_event(
    event: &LogEventRecord,
    table: Result<&PrefixLookup, &str>,
) -> (Option<MatchKind>, Value) {
    let table = match table {
        Ok(table) => table,
        Err(why) => return (None, json!({ "why": why })),
    };
    let Some(prefix) = event.token_prefix.as_deref() else {
        return (None, json!({ "why": "the line contains no token" }));
    };
    let shown =
        |line: &ListedSession| line.token_prefix.clone().filter(|shown| prefix_matches(shown, prefix));
    let alike: Vec<&ListedSession> = table.matches.iter().filter(|line| shown(line).is_some()).collect();
    // For a short token, the table shows fewer characters than the line contains.
    // The shortest one: the lookup must not compare characters that the table does not store.
    let prefix = alike.iter().filter_map(|line| shown(line)).min_by_key(String::len).unwrap_or(prefix.into());
    let prefix = prefix.as_str();
    let users: Vec<Option<&str>> = alike.iter().map(|line| line.user.as_deref()).collect();
    let named: Vec<&str> =
        [&event.user, &event.other_user].into_iter().flatten().map(String::as_str).collect();
    // In an event about a shared token, several users are expected and no contradiction.
    let shared = event.kind == LogEventKind::DuplicateToken.name();
    let correlation = correlation::correlate_sessions(prefix, &named, &users, table.total_sessions, shared);
    let row = |at: &usize| {
        let line = alike[*at];
        json!({
            "id": line.id, "user": line.user, "expires_at": line.expires_at.map(clock::format_rfc3339),
            "created_at": line.created_at.map(clock::format_rfc3339), "display": line.display,
        })
    };
    let sessions: Vec<Value> = correlation.rows.iter().map(row).collect();
    let skew = clock_skew(event, &correlation, &alike);
    let detail = json!({
        "sessions": sessions, "coincidences": correlation.expected_collisions,
        "clock_offset_us": skew.map(saturating_micros),
    });
    (Some(correlation.match_kind), detail)
}

/// The minimum length at which a shorter prefix in the table matches a longer one in a line.
const MIN_PREFIX_CHARS: usize = 5;

/// Returns `true` if the prefix shown by the table belongs to a token that starts with `prefix`.
#[must_use]
fn prefix_matches(shown: &str, prefix: &str) -> bool {
    shown == prefix || shown.chars().count() >= MIN_PREFIX_CHARS && prefix.starts_with(shown)
}

/// Returns the prefixes that the table may show for a token that starts with `prefix`.
#[must_use]
pub fn possible_prefixes(prefix: &str) -> Vec<String> {
    let lengths = prefix.char_indices().map(|(at, _)| at).skip(MIN_PREFIX_CHARS);
    lengths.chain([prefix.len()]).map(|end| prefix[..end].to_owned()).collect()
}

/// Returns the offset of the log's clock against the database's, from a creation that both recorded. `None` unless the
/// event is a creation that matches exactly one session.
fn clock_skew(
    event: &LogEventRecord,
    joined: &correlation::Correlation,
    alike: &[&ListedSession],
) -> Option<SignedDuration> {
    // With several candidates, it is not known whose creation time to compare.
    let [only] = joined.rows.as_slice() else { return None };
    let created = event.kind == LogEventKind::Created.name() && joined.match_kind == MatchKind::Exact;
    Some(event.at.filter(|_| created)?.duration_since(alike[*only].created_at?))
}

/// The input of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct EvalInput<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Name of the target.
    pub target: &'a str,
    /// The current time.
    pub now: UtcTimestamp,
}

/// The result of a log check, with the events that caused it.
#[derive(Clone, Debug)]
pub struct LogCheckResult {
    /// The result.
    pub outcome: CheckResult,
    /// The latest events, at most 10.
    pub events: Vec<LogEventRecord>,
}

/// Runs all log checks of a target.
///
/// # Errors
///
/// If the store cannot be read.
pub fn evaluate_log_checks(db: Tx<'_>, view: EvalInput<'_>) -> Result<Vec<LogCheckResult>, StoreError> {
    let logs = &view.config.logs;
    let states = load_source_states(db, view)?;
    // Computed once: an idle source makes every limit on events of its target unknown.
    let doubt = idle_reason(&states);
    let tally = WindowedEvents::load(db, view)?;
    let mut all = Vec::new();
    for check in checks::LOG_CHECKS.iter().filter(|check| view.config.checks.is_enabled(check.id)) {
        let limit = logs.check_limit(check);
        let (finding, events) = match check.kind {
            LogCheckKind::Events(kind) => {
                tally.evaluate_limit(CountedEvents::Kind(kind.name()), limit, doubt.as_deref())
            }
            LogCheckKind::UserConflicts => {
                tally.evaluate_limit(CountedEvents::Contradictions, limit, doubt.as_deref())
            }
            LogCheckKind::IdleSource => (evaluate_idle_sources(&states), vec![]),
            LogCheckKind::SourceGaps => (evaluate_gaps(&states, limit, view.now), vec![]),
        };
        let mut result = build_result(
            check.id,
            view.config.checks.log_check_severity(check),
            check.action,
            finding,
            events,
        );
        // Only events can be forged; an idle source or a gap is observed here and not by the application.
        if let LogCheckKind::Events(kind) = check.kind {
            downgrade_unconfirmed(db, view, kind.name(), limit, &mut result)?;
        }
        all.push(result);
    }
    for own in &logs.custom_checks {
        let name = own.pattern.name.as_str();
        let (finding, events) = tally.evaluate_limit(CountedEvents::Kind(name), own.limit, doubt.as_deref());
        // Never downgraded: the operator chose the severity of a custom check.
        all.push(build_result(name, own.pattern.severity, &own.action, finding, events));
    }
    Ok(all)
}

fn build_result(
    id: &str,
    severity: Severity,
    action: &str,
    finding: CheckOutcome,
    events: Vec<LogEventRecord>,
) -> LogCheckResult {
    let evidence = events.iter().map(event_evidence).collect();
    let outcome = CheckResult::new(id, severity, action, finding, evidence);
    LogCheckResult { outcome, events }
}

/// Lowers a critical result to high unless a stored session confirms one of its events, since anyone who can make the
/// application log text could forge such a line.
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
    // Lowered, not dropped: a forged line is a finding too.
    if confirmed.is_empty() {
        outcome.severity = Severity::High;
        outcome.outcome.summary.push_str(
            "; unconfirmed: no event matches a stored session, and anyone who can make the application log \
             text can forge one",
        );
        return Ok(());
    }
    // Confirmed events come first in the evidence.
    // The summary names the latest event, which may be a different one than the confirmed one.
    if !confirmed.iter().any(|one| result.events.first().is_some_and(|first| first.id == one.id)) {
        outcome.outcome.summary.push_str(&format!("; confirmed: {}", summarize_event(&confirmed[0])));
    }
    let others = result.events.drain(..).filter(|other| confirmed.iter().all(|one| one.id != other.id));
    let others: Vec<LogEventRecord> = others.collect();
    result.events = confirmed.into_iter().chain(others).take(MAX_SHOWN_EVENTS as usize).collect();
    outcome.evidence = result.events.iter().map(event_evidence).collect();
    Ok(())
}

/// Returns an event as evidence, with the session that it was correlated with.
fn event_evidence(event: &LogEventRecord) -> EvidenceRow {
    let correlation = event.correlation.as_ref().unwrap_or(&Value::Null);
    let session = &correlation["sessions"][0];
    let text = |key: &str| session[key].as_str().map(str::to_owned);
    let expires = session["expires_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    // The correlation was stored as JSON, so every field may be missing in events of earlier versions.
    let display = session["display"]
        .as_array()
        .map(|all| all.iter().map(|one| one.as_str().map(str::to_owned)).collect());
    EvidenceRow {
        token_prefix: event.token_prefix.clone(),
        id: text("id"),
        user: text("user").or_else(|| event.user.clone()),
        expires_at: expires.and_then(|at| UtcTimestamp::try_from(at).ok()),
        rows: correlation["sessions"].as_array().map_or(0, |all| all.len() as u64),
        display: display.unwrap_or_default(),
        ..EvidenceRow::default()
    }
}

/// The events that a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CountedEvents<'a> {
    /// Events of a kind or custom pattern.
    Kind(&'a str),
    /// Events that contradict the stored sessions.
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

/// Returns the time window of a limit.
fn count_window(view: EvalInput<'_>, length: SignedDuration) -> log_events::LogEventWindow<'_> {
    // Extends into the future, so that events read before the clock was set back still count.
    log_events::LogEventWindow { target: view.target, from: view.now - length, to: view.now + DAY }
}

/// Event counts by window. Limits with the same window share one query.
struct WindowedEvents {
    /// Counts, by length of the window.
    windows: BTreeMap<SignedDuration, Vec<log_events::LogEventCount>>,
    /// Events of exceeded limits, by length of the window, newest first.
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
            // Events are loaded only for exceeded limits, which are rare.
            let exceeded = limits.iter().filter(|(counted, limit)| {
                limit.window == length && tally.count_events(*counted, *limit) > limit.max
            });
            let (mut kinds, mut found) = (Vec::new(), Vec::new());
            for (counted, _) in exceeded {
                match counted {
                    CountedEvents::Kind(name) => kinds.push(*name),
                    CountedEvents::Contradictions => {
                        let match_kind = Some(MatchKind::Contradicting.name());
                        let search = LogEventSearch {
                            match_kind,
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
            // Ids grow with time, and the two queries above overlap.
            found.sort_by_key(|event| std::cmp::Reverse(event.id));
            found.dedup_by_key(|event| event.id);
            tally.latest.insert(length, found);
        }
        Ok(tally)
    }

    fn count_events(&self, counted: CountedEvents<'_>, limit: LogCheckLimit) -> u64 {
        let counts = self.windows.get(&limit.window).into_iter().flatten();
        counts.filter(|one| counted.includes(&one.kind, one.match_kind.as_deref())).map(|one| one.count).sum()
    }

    /// Evaluates a limit. Returns the latest events too if it is exceeded. With a `doubt` about the sources, a limit
    /// that is not exceeded is unknown rather than passing.
    fn evaluate_limit(
        &self,
        counted: CountedEvents<'_>,
        limit: LogCheckLimit,
        doubt: Option<&str>,
    ) -> (CheckOutcome, Vec<LogEventRecord>) {
        let count = self.count_events(counted, limit);
        let latest: Vec<LogEventRecord> = if count > limit.max {
            let all = self.latest.get(&limit.window).into_iter().flatten();
            let of_it = all.filter(|event| counted.includes(&event.kind, event.match_kind.as_deref()));
            of_it.take(MAX_SHOWN_EVENTS as usize).cloned().collect()
        } else {
            vec![]
        };
        let period = format_window(limit.window);
        let counted = match counted {
            CountedEvents::Kind(kind) => {
                format_count(count, &format!("`{kind}` event"), &format!("`{kind}` events"))
            }
            CountedEvents::Contradictions => format_count(
                count,
                "contradiction between log and database",
                "contradictions between log and database",
            ),
        };
        let mut summary = format!("{counted} in the last {period}");
        if let Some(first) = latest.first() {
            summary.push_str(&format!("; the latest: {}", summarize_event(first)));
        }
        let threshold = format!("> {} in {period}", limit.max);
        // Too many events fail the check even if others may be missing.
        let outcome = match (count > limit.max, doubt) {
            (false, Some(why)) => CheckOutcome::unknown(threshold, why),
            (is_failing, _) => CheckOutcome::from_listed_count(is_failing, count, threshold, summary),
        };
        (outcome, latest)
    }
}

/// Formats the window of a limit, exactly to the second: `1 minute`, `60 minutes`, `90 seconds`.
fn format_window(window: SignedDuration) -> String {
    let seconds = window.as_secs().unsigned_abs();
    if seconds.is_multiple_of(60) {
        format_count(seconds / 60, "minute", "minutes")
    } else {
        format_count(seconds, "second", "seconds")
    }
}

/// Summarizes an event and its correlation in a few words.
fn summarize_event(event: &LogEventRecord) -> String {
    let mut words = Vec::new();
    words.extend(event.token_prefix.as_ref().map(|prefix| format!("token {prefix}…")));
    let users: Vec<&str> =
        [&event.user, &event.other_user].into_iter().flatten().map(String::as_str).collect();
    words.extend(name_users(&users));
    let correlation = event.correlation.as_ref().unwrap_or(&Value::Null);
    let session = &correlation["sessions"][0];
    let correlation_note = match event.match_kind.as_deref() {
        Some("exact") => session["id"].as_str().map(|id| format!("session {id}")),
        Some("contradicting") => {
            session["user"].as_str().map(|user| format!("stored session belongs to user {user}"))
        }
        Some("ambiguous") => {
            let possible = |count: usize| format_count(count as u64, "possible session", "possible sessions");
            correlation["sessions"].as_array().map(|all| possible(all.len()))
        }
        Some("gone") => Some("no session with this prefix".to_owned()),
        _ => correlation["why"].as_str().map(|why| format!("not correlated: {why}")),
    };
    words.extend(correlation_note);
    // Log fields may contain escape sequences, and the summary is printed on terminals.
    crate::sanitize::sanitize_text(&words.join(", "))
}

/// A log source of a target, with its activity.
struct SourceState<'a> {
    source: &'a LogSourceConfig,
    status: SourceStatus,
    last_line_at: Option<UtcTimestamp>,
    gaps: Vec<StoredLogGap>,
}

fn load_source_states<'a>(db: Tx<'_>, view: EvalInput<'a>) -> Result<Vec<SourceState<'a>>, StoreError> {
    let mut states = Vec::new();
    for source in view.config.logs.sources_for_target(view.target) {
        // A source that has never delivered has no record, and counts as never active.
        let stored = super::find_source(db, &source.name)?.unwrap_or_default();
        let status = stored.activity.status_at(stored.last_line_at, view.now, source.idle_after);
        states.push(SourceState { source, status, last_line_at: stored.last_line_at, gaps: stored.gaps });
    }
    Ok(states)
}

/// Returns the reason why the absence of events proves nothing: a source that is idle or was never active. `None` if
/// all sources are active.
fn idle_reason(states: &[SourceState<'_>]) -> Option<String> {
    // The first reason is enough: one silent source makes the result unknown.
    states.iter().find_map(|SourceState { source, status, last_line_at, .. }| match (status, last_line_at) {
        (SourceStatus::NeverActive, _) => {
            Some(format!("no line of log source `{}` has been read yet", source.name))
        }
        (SourceStatus::Idle, Some(at)) => {
            Some(format!("`{}` has been idle since {}", source.name, clock::format_utc(*at)))
        }
        _ => None,
    })
}

fn evaluate_idle_sources(states: &[SourceState<'_>]) -> CheckOutcome {
    let idle: Vec<String> = states
        .iter()
        .filter(|state| state.status == SourceStatus::Idle)
        .map(|state| {
            let since = state.last_line_at.map(clock::format_utc).unwrap_or_default();
            let name = &state.source.name;
            format!("`{name}` has been idle since {since}, though it is usually active at this time")
        })
        .collect();
    let threshold = "idle at a time of usual activity".to_owned();
    let count = idle.len() as u64;
    match (count, idle_reason(states)) {
        (0, Some(why)) => CheckOutcome::unknown(threshold, &why),
        (0, None) => {
            let summary = "all log sources are as active as usual".to_owned();
            CheckOutcome::from_count(false, count, threshold, summary)
        }
        _ => CheckOutcome::from_count(true, count, threshold, idle.join("; ")),
    }
}

/// Evaluates the number of gaps within a window.
fn evaluate_gaps(states: &[SourceState<'_>], limit: LogCheckLimit, now: UtcTimestamp) -> CheckOutcome {
    let since = now - limit.window;
    let all = states.iter().flat_map(|state| state.gaps.iter().map(|gap| (state.source, gap)));
    // Older gaps stay in the stored list, but no longer fail the check.
    let recent: Vec<(&LogSourceConfig, &StoredLogGap)> = all.filter(|(_, gap)| gap.is_after(since)).collect();
    let count = recent.len() as u64;
    let period = format_window(limit.window);
    let mut summary = format!("{} in the last {period}", format_count(count, "log gap", "log gaps"));
    if let Some((source, gap)) = recent.iter().max_by_key(|(_, gap)| gap.at) {
        let bytes = gap.bytes.map(|bytes| format!(" ({})", format_count(bytes, "byte", "bytes")));
        let bytes = bytes.unwrap_or_default();
        summary.push_str(&format!("; the latest, in `{}`: {}{bytes}", source.name, gap.cause.description()));
    }
    let threshold = format!("> {} in {period}", limit.max);
    CheckOutcome::from_count(count > limit.max, count, threshold, summary)
}

#[cfg(test)]
mod tests;
