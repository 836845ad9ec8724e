//! How the logs of a period and the table fit together: counts, what one has and the other has not, and by how much their
//! clocks differ.

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

/// Signals that are looked at.
pub const MAX_CORRELATED_EVENTS: u32 = 100_000;

/// What is counted, or why it is not.
pub type CountResult = Result<u64, String>;

/// How logs and table fit.
#[derive(Clone, Debug)]
pub struct CorrelationReport {
    /// Signals that name a token, by how they fit: exact, ambiguous, contradicting, gone, not joined.
    pub match_counts: [(&'static str, u64); 5],
    /// Signals that contradict the table.
    pub contradicting: Vec<LogEventRecord>,
    /// Creations in the log.
    pub created: u64,
    /// Creations in the log of which no row is left.
    pub without_row: u64,
    /// Rows that were created and of whose creation no line tells.
    pub without_line: CountResult,
    /// By how much the log's clock is ahead of the database's, and of how many creations that is the median.
    pub clock_skew: Option<(SignedDuration, usize)>,
    /// By how much the log's clock is at most behind this machine's; what is negative says that it is ahead.
    pub clock_lag: Option<SignedDuration>,
}

/// Works it out from the signals of a period.
///
/// # Errors
///
/// If they cannot be read.
pub fn correlate_period(
    db: Tx<'_>,
    config: &Config,
    window: LogEventWindow<'_>,
    rows: Result<&[ListedSession], &str>,
) -> Result<CorrelationReport, StoreError> {
    let name = window.target;
    let all = LogEventSearch { limit: MAX_CORRELATED_EVENTS, ..LogEventSearch::default() };
    let found = log_events::search_log_events(db, name, Period { from: window.from, to: window.to }, &all)?;
    let named: Vec<&LogEventRecord> = found.iter().filter(|signal| signal.token_prefix.is_some()).collect();
    let count =
        |fit: Option<&str>| named.iter().filter(|signal| signal.match_kind.as_deref() == fit).count() as u64;
    let by_fit = |fit: MatchKind| (fit.name(), count(Some(fit.name())));
    let creations: Vec<&LogEventRecord> =
        named.iter().copied().filter(|signal| signal.kind == LogEventKind::Created.name()).collect();
    let without_row = creations
        .iter()
        .filter(|signal| signal.match_kind.as_deref() == Some(MatchKind::Gone.name()))
        .count() as u64;
    let sampled = config.logs.sources_for_target(name).find(|source| source.is_sampled);
    let without_line = match (sampled, rows) {
        (Some(source), _) => Err(format!("`{}` is sampled, so that lines may be missing", source.name)),
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
            .filter(|signal| signal.match_kind.as_deref() == Some(MatchKind::Contradicting.name()))
            .take(20)
            .cloned()
            .collect(),
        created: creations.len() as u64,
        without_row,
        without_line,
        clock_skew: median_skew(&creations),
        clock_lag: found.iter().filter_map(|signal| Some(signal.read_at.duration_since(signal.at?))).min(),
    })
}

/// Rows of whose creation no line tells, since logs were first read.
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
        return Ok(Err("no line was read yet".into()));
    }
    let Some(first) = creations.iter().map(|signal| signal.read_at).min() else {
        return Ok(Err("no line of a creation was read in that time".into()));
    };
    let told: std::collections::BTreeSet<&str> =
        creations.iter().filter_map(|signal| signal.token_prefix.as_deref()).collect();
    let untold = rows.iter().filter(|row| {
        let later = row.created_at.is_some_and(|created| created >= first);
        later && row.token_prefix.as_deref().is_some_and(|prefix| !told.contains(prefix))
    });
    Ok(Ok(untold.count() as u64))
}

/// The median of what creations say of the clocks.
fn median_skew(creations: &[&LogEventRecord]) -> Option<(SignedDuration, usize)> {
    let skew = |signal: &&LogEventRecord| {
        signal.correlation.as_ref()?["clock_offset_us"].as_i64().map(SignedDuration::from_micros)
    };
    let mut all: Vec<SignedDuration> = creations.iter().filter_map(skew).collect();
    all.sort_unstable();
    Some((*all.get(all.len() / 2)?, all.len()))
}

impl CorrelationReport {
    /// As JSON.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON.
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
            "ahead_of_database_us": self.clock_skew.map(|(skew, _)| saturating_micros(skew)), "creations_compared": self.clock_skew.map(|(_, of)| of),
            "behind_at_most_us": self.clock_lag.map(saturating_micros),
            "contradicting": contradicting,
        }))
    }

    /// For people.
    #[must_use]
    pub fn render_text(&self, target: &str, hours: u32) -> String {
        let all: u64 = self.match_counts.iter().map(|(_, count)| count).sum();
        let mut text = format!(
            "{target}, the last {hours} hours: {}\n",
            format_count(all, "signal names a token", "signals name a token")
        );
        for (name, count) in self.match_counts {
            text.push_str(&format!("  {name:<14} {count}\n"));
        }
        text.push_str(&format!(
            "\nCreations in the log: {}; of {} no row is left\n",
            self.created, self.without_row
        ));
        text.push_str(&match &self.without_line {
            Ok(count) => format!("Rows of whose creation no line tells: {count}\n"),
            Err(why) => format!("Rows of whose creation no line tells: not counted, {why}\n"),
        });
        text.push_str(&self.describe_clocks());
        for signal in &self.contradicting {
            text.push_str(&format!("\n{}\n", super::describe_log_event(signal)));
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
                "The log's clock is {} {way} the database's (median of {of} creations)\n",
                seconds(skew)
            );
        }
        match self.clock_lag {
            Some(behind) if behind.is_negative() => {
                format!("The log's clock is at least {} ahead of this machine's\n", seconds(behind))
            }
            Some(behind) => format!(
                "The log's clock is at most {} behind this machine's (lines took as long to arrive)\n",
                seconds(behind)
            ),
            None => "Nothing is known of the log's clock: no line says when\n".into(),
        }
    }
}
