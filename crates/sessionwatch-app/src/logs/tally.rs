//! What was found, counted, with the first of what is bad.

use sessionwatch_core::{instant::Instant, severity::Severity};
use sessionwatch_logs::{
    pattern::Pattern,
    reader::{Counters, Place},
    signal::{Kind, Signal},
};

use super::Found;

/// Signals of each kind that are kept whole.
const KEPT: u64 = 100;

/// How often something was found, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    /// How often.
    pub signals: u64,
    /// The first time, by the log's clock.
    pub first: Option<Instant>,
    /// The last time.
    pub last: Option<Instant>,
}

/// A signal that may be kept, with where it was read.
#[derive(Clone, Debug)]
struct Raw {
    signal: Signal<'static>,
    bytes: (u64, u64),
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Tally<'p> {
    patterns: &'p [Pattern],
    /// By kind; then by pattern.
    counts: Vec<Count>,
    raw: Vec<Raw>,
    /// The first ones of each kind that is bad.
    pub kept: Vec<Found>,
    /// What was read.
    pub counters: Counters,
}

impl Count {
    fn merge(&mut self, other: Self) {
        self.signals += other.signals;
        self.first = self.first.into_iter().chain(other.first).min();
        self.last = self.last.max(other.last);
    }
}

impl<'p> Tally<'p> {
    /// Nothing yet, with these patterns.
    #[must_use]
    pub fn new(patterns: &'p [Pattern]) -> Self {
        let counts = vec![Count::default(); Kind::ALL.len() + patterns.len()];
        Self { patterns, counts, raw: vec![], kept: vec![], counters: Counters::default() }
    }

    fn place(signal: &Signal<'_>) -> usize {
        match signal.pattern {
            Some(number) => Kind::ALL.len() + number,
            None => signal.kind as usize,
        }
    }

    fn severity(&self, at: usize) -> Option<Severity> {
        match Kind::ALL.get(at) {
            Some(kind) => kind.severity(),
            None => self.patterns.get(at - Kind::ALL.len()).map(|pattern| pattern.severity),
        }
    }

    fn name(&self, at: usize) -> &'p str {
        match Kind::ALL.get(at) {
            Some(kind) => kind.name(),
            None => self.patterns.get(at - Kind::ALL.len()).map_or("", |pattern| &pattern.name),
        }
    }

    /// One signal more.
    pub fn add(&mut self, signal: Signal<'_>, place: Place<'_>) {
        let at = Self::place(&signal);
        let severity = self.severity(at);
        let Some(count) = self.counts.get_mut(at) else { return };
        count.merge(Count { signals: 1, first: signal.at, last: signal.at });
        if severity.is_some() && count.signals <= KEPT {
            self.raw.push(Raw { signal: signal.into_owned(), bytes: (place.from, place.to) });
        }
    }

    /// Adds what a later part of a source gave.
    pub fn merge(&mut self, part: Self, source: &str) {
        let mut kept = vec![0; self.counts.len()];
        for raw in part.raw {
            let at = Self::place(&raw.signal);
            if self.counts[at].signals + kept[at] < KEPT {
                kept[at] += 1;
                let place = Place { from: raw.bytes.0, to: raw.bytes.1, text: &[] };
                self.kept.push(Found::of(raw.signal, place, source, self.patterns));
            }
        }
        for (count, more) in self.counts.iter_mut().zip(part.counts) {
            count.merge(more);
        }
        self.counters.add(part.counters);
    }

    /// What was found, by name and severity, the worst first.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'p str, Option<Severity>, Count)> {
        let all = self.counts.iter().enumerate().filter(|(_, count)| count.signals > 0);
        let mut found: Vec<_> = all.map(|(at, count)| (self.name(at), self.severity(at), *count)).collect();
        found.sort_by_key(|(name, severity, _)| (std::cmp::Reverse(*severity), *name));
        found
    }

    /// Whether something critical or high was found.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.counts().iter().any(|(_, severity, _)| *severity >= Some(Severity::High))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_of_each_kind_are_kept_over_all_parts() {
        let place = Place { from: 0, to: 1, text: b"x" };
        let part = |count: u64| {
            let mut part = Tally::new(&[]);
            for _ in 0..count {
                part.add(Signal::of(Kind::UserMismatch), place);
                part.add(Signal::of(Kind::Created), place);
            }
            part
        };
        let mut all = Tally::new(&[]);
        for count in [60, 150, 10] {
            all.merge(part(count), "x");
        }
        assert_eq!(all.kept.len(), 100);
        let counts: Vec<_> = all.counts().iter().map(|(name, _, count)| (*name, count.signals)).collect();
        assert_eq!(counts, [("user-mismatch", 220), ("created", 220)]);
    }

    #[test]
    fn every_kind_has_its_own_place() {
        for (at, kind) in Kind::ALL.iter().copied().enumerate() {
            assert_eq!(Tally::place(&Signal::of(kind)), at);
        }
    }
}
