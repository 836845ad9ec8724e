//! Summary of a log scan: event counts, and the first severe events of each kind.

use sessionwatch_core::{severity::Severity, timestamp::UtcTimestamp};
use sessionwatch_logs::{
    line_reader::{LogExcerpt, ReadCounters},
    log_event::{LogEvent, LogEventKind},
    pattern::Pattern,
};

use super::LocatedLogEvent;

/// The number of events of each kind that are kept in full.
const MAX_KEPT_PER_KIND: u64 = 100;

/// Number and period of events of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EventCount {
    /// Number of events.
    pub count: u64,
    /// Time of the first event, by the log's clock.
    pub first: Option<UtcTimestamp>,
    /// Time of the last event.
    pub last: Option<UtcTimestamp>,
}

/// An event without the parts that are only built if it is kept.
#[derive(Clone, Debug)]
struct RawEvent {
    event: LogEvent<'static>,
    byte_range: (u64, u64),
}

/// The summary of a scan, or of one part of it.
#[derive(Clone, Debug)]
pub struct LogSummary<'p> {
    patterns: &'p [Pattern],
    /// Counts of all kinds, followed by those of all patterns.
    counts: Vec<EventCount>,
    raw_events: Vec<RawEvent>,
    /// The first events of each kind that has a severity.
    pub kept_events: Vec<LocatedLogEvent>,
    /// Counters of what was read.
    pub counters: ReadCounters,
}

impl EventCount {
    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
    }
}

impl<'p> LogSummary<'p> {
    /// Creates an empty summary.
    #[must_use]
    pub fn new(patterns: &'p [Pattern]) -> Self {
        let counts = vec![EventCount::default(); LogEventKind::ALL.len() + patterns.len()];
        Self { patterns, counts, raw_events: vec![], kept_events: vec![], counters: ReadCounters::default() }
    }

    fn count_index(event: &LogEvent<'_>) -> usize {
        match event.pattern_index {
            Some(number) => LogEventKind::ALL.len() + number,
            None => event.kind as usize,
        }
    }

    fn severity_at(&self, at: usize) -> Option<Severity> {
        match LogEventKind::ALL.get(at) {
            Some(kind) => kind.severity(),
            None => self.patterns.get(at - LogEventKind::ALL.len()).map(|pattern| pattern.severity),
        }
    }

    fn name_at(&self, at: usize) -> &'p str {
        match LogEventKind::ALL.get(at) {
            Some(kind) => kind.name(),
            None => self.patterns.get(at - LogEventKind::ALL.len()).map_or("", |pattern| &pattern.name),
        }
    }

    /// Adds an event.
    pub fn add_event(&mut self, event: LogEvent<'_>, place: LogExcerpt<'_>) {
        let at = Self::count_index(&event);
        let severity = self.severity_at(at);
        let Some(count) = self.counts.get_mut(at) else { return };
        count.merge(EventCount { count: 1, first: event.at, last: event.at });
        // Kept only if severe, because a scan can find millions of normal events.
        if severity.is_some() && count.count <= MAX_KEPT_PER_KIND {
            self.raw_events.push(RawEvent { event: event.into_owned(), byte_range: (place.from, place.to) });
        }
    }

    /// Adds the summary of a later part of a source.
    pub fn merge(&mut self, part: Self, source: &str) {
        let mut kept = vec![0; self.counts.len()];
        for raw in part.raw_events {
            let at = Self::count_index(&raw.event);
            // By the counts before this part, so that parts in any order keep the first events of the file.
            if self.counts[at].count + kept[at] < MAX_KEPT_PER_KIND {
                kept[at] += 1;
                let place = LogExcerpt { from: raw.byte_range.0, to: raw.byte_range.1, text: &[] };
                self.kept_events.push(LocatedLogEvent::new(raw.event, place, source, self.patterns));
            }
        }
        for (count, more) in self.counts.iter_mut().zip(part.counts) {
            count.merge(more);
        }
        self.counters.merge(part.counters);
    }

    /// Returns the counts with names and severities, most severe first.
    #[must_use]
    pub fn sorted_counts(&self) -> Vec<(&'p str, Option<Severity>, EventCount)> {
        let all = self.counts.iter().enumerate().filter(|(_, count)| count.count > 0);
        let mut found: Vec<_> =
            all.map(|(at, count)| (self.name_at(at), self.severity_at(at), *count)).collect();
        found.sort_by_key(|(name, severity, _)| (std::cmp::Reverse(*severity), *name));
        found
    }

    /// Returns `true` if an event of severity high or critical was found.
    #[must_use]
    pub fn has_severe_events(&self) -> bool {
        self.sorted_counts().iter().any(|(_, severity, _)| *severity >= Some(Severity::High))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_events_of_each_kind_are_kept_across_parts() {
        let place = LogExcerpt { from: 0, to: 1, text: b"x" };
        let part = |count: u64| {
            let mut part = LogSummary::new(&[]);
            for _ in 0..count {
                part.add_event(LogEvent::new(LogEventKind::UserMismatch), place);
                part.add_event(LogEvent::new(LogEventKind::Created), place);
            }
            part
        };
        let mut all = LogSummary::new(&[]);
        for count in [60, 150, 10] {
            all.merge(part(count), "x");
        }
        assert_eq!(all.kept_events.len(), 100);
        let counts: Vec<_> =
            all.sorted_counts().iter().map(|(name, _, count)| (*name, count.count)).collect();
        assert_eq!(counts, [("user-mismatch", 220), ("created", 220)]);
    }

    #[test]
    fn every_kind_has_its_own_index() {
        for (at, kind) in LogEventKind::ALL.iter().copied().enumerate() {
            assert_eq!(LogSummary::count_index(&LogEvent::new(kind)), at);
        }
    }
}
