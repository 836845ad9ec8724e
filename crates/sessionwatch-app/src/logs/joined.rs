//! How the logs of a period and the table fit together: counts, what one has and the other has not, and by how much their
//! clocks differ.

use jiff::SignedDuration;
use serde_json::{Value, json};
use sessionwatch_core::{correlation::MatchKind, duration::whole_micros, period::Period, plural::counted};
use sessionwatch_logs::signal::Kind;
use sessionwatch_store::{
    StoreError,
    db::Db,
    signals::{self, Kept, Search, Window},
};
use sessionwatch_targets::listing::Line;

use crate::config::Config;

/// Signals that are looked at.
pub const MOST: u32 = 100_000;

/// What is counted, or why it is not.
pub type Counted = Result<u64, String>;

/// How logs and table fit.
#[derive(Clone, Debug)]
pub struct Fits {
    /// Signals that name a token, by how they fit: exact, ambiguous, contradicting, gone, not joined.
    pub fits: [(&'static str, u64); 5],
    /// Signals that contradict the table.
    pub contradicting: Vec<Kept>,
    /// Creations in the log.
    pub created: u64,
    /// Creations in the log of which no row is left.
    pub without_row: u64,
    /// Rows that were created and of whose creation no line tells.
    pub without_line: Counted,
    /// By how much the log's clock is ahead of the database's, and of how many creations that is the median.
    pub skew: Option<(SignedDuration, usize)>,
    /// By how much the log's clock is at most behind this machine's; what is negative says that it is ahead.
    pub behind: Option<SignedDuration>,
}

/// Works it out from the signals of a period.
///
/// # Errors
///
/// If they cannot be read.
pub fn fits(
    db: Db<'_>,
    config: &Config,
    window: Window<'_>,
    rows: Result<&[Line], &str>,
) -> Result<Fits, StoreError> {
    let name = window.target;
    let all = Search { limit: MOST, ..Search::default() };
    let found = signals::search(db, name, Period { from: window.from, to: window.to }, &all)?;
    let named: Vec<&Kept> = found.iter().filter(|signal| signal.prefix.is_some()).collect();
    let count = |fit: Option<&str>| named.iter().filter(|signal| signal.fit.as_deref() == fit).count() as u64;
    let by_fit = |fit: MatchKind| (fit.name(), count(Some(fit.name())));
    let creations: Vec<&Kept> =
        named.iter().copied().filter(|signal| signal.kind == Kind::Created.name()).collect();
    let without_row =
        creations.iter().filter(|signal| signal.fit.as_deref() == Some(MatchKind::Gone.name())).count()
            as u64;
    let sampled = config.logs.of(name).find(|source| source.sampled);
    let without_line = match (sampled, rows) {
        (Some(source), _) => Err(format!("`{}` is sampled, so that lines may be missing", source.name)),
        (None, Err(why)) => Err(why.to_owned()),
        (None, Ok(rows)) => without_line(db, config, name, rows, &creations)?,
    };
    Ok(Fits {
        fits: [
            by_fit(MatchKind::Exact),
            by_fit(MatchKind::Ambiguous),
            by_fit(MatchKind::Contradicting),
            by_fit(MatchKind::Gone),
            ("not joined", count(None)),
        ],
        contradicting: found
            .iter()
            .filter(|signal| signal.fit.as_deref() == Some(MatchKind::Contradicting.name()))
            .take(20)
            .cloned()
            .collect(),
        created: creations.len() as u64,
        without_row,
        without_line,
        skew: skew(&creations),
        behind: found.iter().filter_map(|signal| Some(signal.seen_at.duration_since(signal.at?))).min(),
    })
}

/// Rows of whose creation no line tells, since logs were first read.
fn without_line(
    db: Db<'_>,
    config: &Config,
    target: &str,
    rows: &[Line],
    creations: &[&Kept],
) -> Result<Counted, StoreError> {
    let mut known = false;
    for source in config.logs.of(target) {
        known |= super::find_source(db, &source.name)?.is_some();
    }
    if !known {
        return Ok(Err("no line was read yet".into()));
    }
    let Some(first) = creations.iter().map(|signal| signal.seen_at).min() else {
        return Ok(Err("no line of a creation was read in that time".into()));
    };
    let told: std::collections::BTreeSet<&str> =
        creations.iter().filter_map(|signal| signal.prefix.as_deref()).collect();
    let untold = rows.iter().filter(|row| {
        let later = row.created_at.is_some_and(|created| created >= first);
        later && row.token_prefix.as_deref().is_some_and(|prefix| !told.contains(prefix))
    });
    Ok(Ok(untold.count() as u64))
}

/// The median of what creations say of the clocks.
fn skew(creations: &[&Kept]) -> Option<(SignedDuration, usize)> {
    let skew = |signal: &&Kept| signal.joined.as_ref()?["skew_us"].as_i64().map(SignedDuration::from_micros);
    let mut all: Vec<SignedDuration> = creations.iter().filter_map(skew).collect();
    all.sort_unstable();
    Some((*all.get(all.len() / 2)?, all.len()))
}

impl Fits {
    /// As JSON.
    ///
    /// # Errors
    ///
    /// If it cannot be written as JSON.
    pub fn json(&self) -> Result<Value, StoreError> {
        let contradicting = self.contradicting.iter().map(super::kept_json);
        let contradicting = contradicting.collect::<Result<Vec<_>, _>>()?;
        let mut fits = json!({});
        for (name, count) in self.fits {
            fits[name.replace(' ', "_")] = count.into();
        }
        let why = self.without_line.as_ref().err();
        Ok(json!({
            "schema": 1, "fits": fits, "created": self.created, "created_without_row": self.without_row,
            "rows_without_creation": self.without_line.as_ref().ok(), "not_counted": why,
            "ahead_of_database_us": self.skew.map(|(skew, _)| whole_micros(skew)), "creations_compared": self.skew.map(|(_, of)| of),
            "behind_at_most_us": self.behind.map(whole_micros),
            "contradicting": contradicting,
        }))
    }

    /// For people.
    #[must_use]
    pub fn text(&self, target: &str, hours: u32) -> String {
        let all: u64 = self.fits.iter().map(|(_, count)| count).sum();
        let mut text = format!(
            "{target}, the last {hours} hours: {}\n",
            counted(all, "signal names a token", "signals name a token")
        );
        for (name, count) in self.fits {
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
        text.push_str(&self.clocks());
        for signal in &self.contradicting {
            text.push_str(&format!("\n{}\n", super::describe_kept(signal)));
        }
        text
    }

    fn clocks(&self) -> String {
        let seconds = |length: SignedDuration| {
            let length = length.unsigned_abs();
            format!("{}.{:03} s", length.as_secs(), length.subsec_millis())
        };
        if let Some((skew, of)) = self.skew {
            let way = if skew.is_negative() { "behind" } else { "ahead of" };
            return format!(
                "The log's clock is {} {way} the database's (median of {of} creations)\n",
                seconds(skew)
            );
        }
        match self.behind {
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
