//! The correlation report: how the log events of a period match the stored sessions, and how far the clocks differ.

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_core::{
    correlation::MatchKind, duration::saturating_micros, period::Period, plural::format_count,
};
use sessionwatch_logs::log_event::LogEventKind;
use sessionwatch_store::{
    StoreError,
    log_events::{self, LogEventRecord, LogEventSearch, LogEventWindow},
    transaction::Tx,
};
use sessionwatch_targets::listing::ListedSession;

use crate::config::Config;

/// The maximum number of log events in a report.
pub const MAX_CORRELATED_EVENTS: u32 = 100_000;

/// A count, or the reason why it is unknown.
pub type CountResult = Result<u64, String>;

/// The correlation of log events and sessions.
#[derive(Clone, Debug)]
pub struct CorrelationReport {
    /// Number of events that contain a token, by match kind: exact, ambiguous, contradicting, gone, not correlated.
    pub match_counts: [(&'static str, u64); 5],
    /// Events that contradict the stored sessions, at most 20.
    pub contradicting: Vec<LogEventRecord>,
    /// Session creations in the log.
    pub created: u64,
    /// Session creations in the log whose session no longer exists.
    pub without_row: u64,
    /// Sessions whose creation is missing in the log.
    pub without_line: CountResult,
    /// Median offset of the log's clock against the database's, positive if ahead, and the number of creations
    /// compared.
    pub clock_skew: Option<(SignedDuration, usize)>,
    /// Upper bound of the lag of the log's clock behind this machine's; negative if the log's clock is ahead.
    pub clock_lag: Option<SignedDuration>,
}

/// Builds the report of a period.
///
/// # Errors
///
/// If the store cannot be read.
pub fn correlate_period(
    db: Tx<'_>,
    config: &Config,
    window: LogEventWindow<'_>,
    rows: Result<&[ListedSession], &str>,
) -> Result<CorrelationReport, StoreError> {
    let name = window.target;
    let all = LogEventSearch { limit: MAX_CORRELATED_EVENTS, ..LogEventSearch::default() };
    let found = log_events::search_log_events(db, name, Period { from: window.from, to: window.to }, &all)?;
    let named: Vec<&LogEventRecord> = found.iter().filter(|event| event.token_prefix.is_some()).collect();
    // Over the events already loaded, which are limited; the numbers are those of the report.
    let count =
        |fit: Option<&str>| named.iter().filter(|event| event.match_kind.as_deref() == fit).count() as u64;
    let by_fit = |fit: MatchKind| (fit.name(), count(Some(fit.name())));
    let creations: Vec<&LogEventRecord> =
        named.iter().copied().filter(|event| event.kind == LogEventKind::Created.name()).collect();
    let without_row =
        creations.iter().filter(|event| event.match_kind.as_deref() == Some(MatchKind::Gone.name())).count()
            as u64;
    // A sampled source drops lines on purpose, so a missing line proves nothing.
    let sampled = config.logs.sources_for_target(name).find(|source| source.is_sampled);
    let without_line = match (sampled, rows) {
        (Some(source), _) => Err(format!("`{}` is sampled, so lines may be missing", source.name)),
        (None, Err(why)) => Err(why.to_owned()),
        (None, Ok(rows)) => count_rows_without_line(db, config, name, rows, &creations)?,
    };
    Ok(CorrelationReport {
        match_counts: [
            by_fit(MatchKind::Exact),
            by_fit(MatchKind::Ambiguous),
            by_fit(MatchKind::Contradicting),
            by_fit(MatchKind::Gone),
            ("not correlated", count(None)),
        ],
        contradicting: found
            .iter()
            .filter(|event| event.match_kind.as_deref() == Some(MatchKind::Contradicting.name()))
            .take(20)
            .cloned()
            .collect(),
        created: creations.len() as u64,
        without_row,
        without_line,
        clock_skew: median_skew(&creations),
        // The minimum: delivery adds a delay to every line, and the smallest delay is closest to the
        // difference of the clocks.
        clock_lag: found.iter().filter_map(|event| Some(event.read_at.duration_since(event.at?))).min(),
    })
}

/// Counts the sessions created since logs were first read whose creation is missing in the log.
fn count_rows_without_line(
    db: Tx<'_>,
    config: &Config,
    target: &str,
    rows: &[ListedSession],
    creations: &[&LogEventRecord],
) -> Result<CountResult, StoreError> {
    let mut known = false;
    for source in config.logs.sources_for_target(target) {
        known |= super::find_source(db, &source.name)?.is_some();
    }
    if !known {
        return Ok(Err("no log lines have been read yet".into()));
    }
    // Sessions from before the first line that was read have no line that could be found.
    let Some(first) = creations.iter().map(|event| event.read_at).min() else {
        return Ok(Err("no session creation was logged in this period".into()));
    };
    let logged: std::collections::BTreeSet<&str> =
        creations.iter().filter_map(|event| event.token_prefix.as_deref()).collect();
    let unlogged = rows.iter().filter(|row| {
        let later = row.created_at.is_some_and(|created| created >= first);
        later && row.token_prefix.as_deref().is_some_and(|prefix| !logged.contains(prefix))
    });
    Ok(Ok(unlogged.count() as u64))
}

/// Returns the median clock offset of session creations. The median tolerates single lines that were delayed.
fn median_skew(creations: &[&LogEventRecord]) -> Option<(SignedDuration, usize)> {
    let skew = |event: &&LogEventRecord| {
        event.correlation.as_ref()?["clock_offset_us"].as_i64().map(SignedDuration::from_micros)
    };
    let mut all: Vec<SignedDuration> = creations.iter().filter_map(skew).collect();
    all.sort_unstable();
    Some((*all.get(all.len() / 2)?, all.len()))
}

impl CorrelationReport {
    /// Returns the report as JSON.
    ///
    /// # Errors
    ///
    /// If an event cannot be serialized.
    pub fn to_json(&self) -> Result<Value, StoreError> {
        let contradicting = self.contradicting.iter().map(super::log_event_json);
        let contradicting = contradicting.collect::<Result<Vec<_>, _>>()?;
        let mut fits = json!({});
        for (name, count) in self.match_counts {
            fits[name.replace(' ', "_")] = count.into();
        }
        let why = self.without_line.as_ref().err();
        Ok(json!({
            "schema": 2, "match_kinds": fits, "created": self.created, "created_without_row": self.without_row,
            "rows_without_creation": self.without_line.as_ref().ok(), "not_counted": why,
            "ahead_of_database_us": self.clock_skew.map(|(skew, _)| saturating_micros(skew)),
            "creations_compared": self.clock_skew.map(|(_, of)| of),
            "behind_at_most_us": self.clock_lag.map(saturating_micros),
            "contradicting": contradicting,
        }))
    }

    /// Returns the report as text.
    #[must_use]
    pub fn render_text(&self, target: &str, hours: u32) -> String {
        let all: u64 = self.match_counts.iter().map(|(_, count)| count).sum();
        let mut text = format!(
            "{target}, last {}: {}\n",
            format_count(hours.into(), "hour", "hours"),
            format_count(all, "log event with a token", "log events with a token")
        );
        for (name, count) in self.match_counts {
            text.push_str(&format!("  {name:<14} {count}\n"));
        }
        text.push_str(&format!(
            "\nSession creations in the log: {}\n  of sessions that no longer exist: {}\n",
            self.created, self.without_row
        ));
        text.push_str(&match &self.without_line {
            Ok(count) => format!("Sessions without a creation in the log: {count}\n"),
            Err(why) => format!("Sessions without a creation in the log: unknown, {why}\n"),
        });
        text.push_str(&self.describe_clocks());
        for event in &self.contradicting {
            text.push_str(&format!("\n{}\n", super::describe_log_event(event)));
        }
        text
    }

    fn describe_clocks(&self) -> String {
        let seconds = |length: SignedDuration| {
            let length = length.unsigned_abs();
            format!("{}.{:03} s", length.as_secs(), length.subsec_millis())
        };
        if let Some((skew, of)) = self.clock_skew {
            let way = if skew.is_negative() { "behind" } else { "ahead of" };
            return format!(
                "The log's clock is {} {way} the database's (median of {})\n",
                seconds(skew),
                format_count(of as u64, "session creation", "session creations")
            );
        }
        match self.clock_lag {
            Some(behind) if behind.is_negative() => {
                format!("The log's clock is at least {} ahead of this machine's\n", seconds(behind))
            }
            Some(behind) => format!(
                "The log's clock is at most {} behind this machine's (this includes the delay of lines)\n",
                seconds(behind)
            ),
            None => "The log's clock is unknown: no log event of this period has a timestamp\n".into(),
        }
    }
}

#[cfg(test)]
mod tests;
