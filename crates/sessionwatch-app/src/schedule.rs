//! When a target is looked at, and by which checks. Pure: the present instant is a parameter, and so is how a look went.

mod wall_time;

use std::{collections::BTreeSet, hash::Hasher as _};

use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use jiff::{SignedDuration, tz::TimeZone};
use sessionwatch_core::{
    duration::{DAY, whole_micros},
    instant::Instant,
};
use siphasher::sip::SipHasher13;

/// Looks at a target are at least so far apart, whatever asks for them.
pub const LEAST_GAP: SignedDuration = SignedDuration::from_secs(60);
/// Failures in a row after which looks become rarer.
const PATIENT_FAILURES: u32 = 3;
/// The longest wait of a target that fails.
const LONGEST_BACK_OFF: SignedDuration = SignedDuration::from_mins(15);
/// Looks may take up this part of the time.
const SHARE: i32 = 10;
/// Targets on the same cron expression are spread over so long.
const SPLAY: SignedDuration = SignedDuration::from_secs(20);
/// Intervals within which a run must have succeeded for a target to count as watched.
const CURRENT_INTERVALS: i32 = 3;
/// Days over which costs are worked out.
const MONTH: i32 = 30;

/// When something is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// At this distance.
    Every(SignedDuration),
    /// At the times of this expression, in this zone.
    Cron(Box<Cron>, TimeZone),
}

/// What is wrong with a cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCron {
    /// It cannot be read.
    #[error("must be minute, hour, day of month, month and day of week, such as \"0 6 * * mon\" ({0})")]
    Unreadable(String),
    /// It names no instant.
    #[error("names no instant that ever comes")]
    Never,
}

/// Checks with a schedule in common.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When they are due.
    pub schedule: Schedule,
    /// Their ids.
    pub checks: BTreeSet<String>,
    /// Indexes and constraints are distrusted.
    pub deep: bool,
}

/// All schedules of a target, and what was done last.
#[derive(Clone, Debug)]
pub struct Timetable {
    entries: Vec<Entry>,
    /// Of each entry, when it was last done.
    done: Vec<Option<Instant>>,
    looked: Option<Instant>,
    /// The first look, if there was none.
    first: Instant,
    /// Somebody asked for a look out of turn.
    hurried: bool,
    /// Sessions were ended there lately.
    closely: bool,
    failures: u32,
    took: SignedDuration,
    seed: u64,
}

/// A look that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The checks to make.
    pub checks: BTreeSet<String>,
    /// Distrust indexes and constraints.
    pub deep: bool,
}

impl Schedule {
    /// Reads a cron expression of five fields.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or names no instant.
    pub fn cron(text: &str, zone: &TimeZone) -> Result<Self, BadCron> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| BadCron::Unreadable(error.to_string()))?;
        let schedule = Self::Cron(Box::new(cron), zone.clone());
        // A date such as 31 February is read without complaint. The instant to start from does not matter.
        let start = Instant::UNIX_EPOCH + 20_000 * DAY;
        schedule.after(start).map(|_| schedule.clone()).ok_or(BadCron::Never)
    }

    /// The first time after an instant; nothing if there is none.
    #[must_use]
    pub fn after(&self, last: Instant) -> Option<Instant> {
        match self {
            Self::Every(distance) => Some(last + *distance),
            Self::Cron(cron, zone) => wall_time::next(cron, zone, last.into())?.try_into().ok(),
        }
    }

    /// The distance between two times, from an instant on.
    #[must_use]
    pub fn distance(&self, now: Instant) -> SignedDuration {
        let next = self.after(now);
        let second = next.and_then(|next| self.after(next));
        next.zip(second).map_or(SignedDuration::MAX, |(next, second)| second.duration_since(next))
    }

    /// The last time at or before an instant; nothing if there is none. Only for cron expressions.
    #[must_use]
    pub fn before(&self, now: Instant) -> Option<Instant> {
        let Self::Cron(cron, zone) = self else { return None };
        wall_time::previous(cron, zone, now.into())?.try_into().ok()
    }

    /// When something was done last, for [`Schedule::after`], by a clock that may have been set back since. What seems to
    /// lie ahead was done just now. A time that an expression names does not come again for that, unless it would be
    /// waited for for more than a day.
    #[must_use]
    pub fn last_done(&self, last: Instant, now: Instant) -> Instant {
        match self {
            Self::Cron(..) if last.duration_since(now) <= DAY => last,
            _ => last.min(now),
        }
    }
}

/// Returns the instant until which a run that succeeded at `at`, and took `took`, shows that a target with
/// these schedules is watched: three intervals of the most frequent schedule, or of the distance that runs keep.
#[must_use]
pub fn current_until(entries: &[Entry], at: Instant, took: SignedDuration) -> Instant {
    let third = |entry: &Entry| (0..CURRENT_INTERVALS).try_fold(at, |at, _| entry.schedule.after(at));
    let due = entries.iter().filter_map(third).min().unwrap_or(at);
    due.max(at + spacing(took).saturating_mul(CURRENT_INTERVALS))
}

/// A length of time below `most`, another one for each number.
fn spread(number: u64, most: SignedDuration) -> SignedDuration {
    let micros = whole_micros(most).unsigned_abs().max(1);
    SignedDuration::from_micros((number % micros).cast_signed())
}

/// The time between two runs, at least, where one takes `took`.
fn spacing(took: SignedDuration) -> SignedDuration {
    LEAST_GAP.max(took.saturating_mul(SHARE - 1).clamp(SignedDuration::ZERO, LONGEST_BACK_OFF))
}

impl Timetable {
    /// The schedules of the target of that name, which was last looked at then, or is to be looked at first then.
    #[must_use]
    pub fn new(name: &str, entries: Vec<Entry>, looked: Option<Instant>, first: Instant) -> Self {
        let mut hasher = SipHasher13::new();
        hasher.write(name.as_bytes());
        Self {
            done: vec![looked; entries.len()],
            entries,
            looked,
            first,
            hurried: false,
            closely: false,
            failures: 0,
            took: SignedDuration::ZERO,
            seed: hasher.finish(),
        }
    }

    /// Asks for a look out of turn: it is due as soon as looks may follow each other.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// Looks follow each other as fast as they may, whatever the schedules say, while that is so.
    pub fn closely(&mut self, closely: bool) {
        self.closely = closely;
    }

    /// When the next look is due.
    #[must_use]
    pub fn next(&self, now: Instant) -> Instant {
        let due = (0..self.entries.len()).filter_map(|at| self.due_at(at, now)).min();
        let due = if self.hurried || self.closely { Some(now) } else { due };
        let earliest = self.looked.map_or(self.first, |looked| looked + self.gap());
        due.unwrap_or(Instant::MAX).max(earliest)
    }

    /// The look that is due at an instant; nothing before it is.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Due> {
        if self.next(now) > now {
            return None;
        }
        let mut due = Due { checks: BTreeSet::new(), deep: false };
        for (at, entry) in self.entries.iter().enumerate() {
            let hurried = (self.hurried || self.closely) && !entry.deep;
            if hurried || self.due_at(at, now).is_some_and(|due| due <= now) {
                due.checks.extend(entry.checks.iter().cloned());
                due.deep |= entry.deep;
            }
        }
        Some(due)
    }

    /// A look was taken: what it did is done, and what was missed before it is left out. One that failed is due again.
    pub fn looked(&mut self, due: &Due, now: Instant, took: SignedDuration, succeeded: bool) {
        for (entry, done) in self.entries.iter().zip(&mut self.done) {
            if succeeded && entry.checks.is_subset(&due.checks) && (due.deep || !entry.deep) {
                *done = Some(now);
            }
        }
        self.hurried = false;
        self.looked = Some(now);
        self.took = took;
        self.failures = if succeeded { 0 } else { self.failures.saturating_add(1) };
    }

    /// The clock was set back: what seems to lie ahead was just now.
    pub fn rebase(&mut self, now: Instant) {
        for (entry, done) in self.entries.iter().zip(&mut self.done) {
            *done = done.map(|done| entry.schedule.last_done(done, now));
        }
        self.looked = self.looked.map(|looked| looked.min(now));
    }

    /// Whether the clock was set back since the last look.
    #[must_use]
    pub fn is_ahead(&self, now: Instant) -> bool {
        self.looked.is_some_and(|looked| looked > now)
    }

    /// When an entry is due: at once the first time.
    fn due_at(&self, at: usize, now: Instant) -> Option<Instant> {
        let Some(done) = self.done[at] else { return Some(now) };
        let entry = &self.entries[at];
        let splay = match entry.schedule {
            Schedule::Every(_) => SignedDuration::ZERO,
            Schedule::Cron(..) => spread(self.seed, SPLAY),
        };
        // Done at the splayed time of a tick is done with the tick.
        entry.schedule.after((done - splay).max(Instant::MIN)).map(|next| next + splay)
    }

    /// Time between two looks, at least: longer where they take long, and doubling where they fail.
    fn gap(&self) -> SignedDuration {
        let failing = self.failures.saturating_sub(PATIENT_FAILURES - 1).min(10);
        let back_off = if failing == 0 {
            SignedDuration::ZERO
        } else {
            LEAST_GAP.saturating_mul(1 << failing).min(LONGEST_BACK_OFF)
        };
        spacing(self.took).max(back_off) + self.jitter(back_off / 10)
    }

    /// Up to that much, another for each target and failure.
    fn jitter(&self, most: SignedDuration) -> SignedDuration {
        let mut hasher = SipHasher13::new();
        hasher.write_u64(self.seed);
        hasher.write_u32(self.failures);
        spread(hasher.finish() >> 1, most)
    }

    /// What the schedules cost in a month of 30 days: looks, and how long a database is awake which suspends
    /// itself after so long without a query.
    #[must_use]
    pub fn cost(&self, suspends_after: SignedDuration) -> (u64, SignedDuration) {
        let start = Instant::UNIX_EPOCH + 20_000 * DAY;
        let end = start + MONTH * DAY;
        let (done, looked) = (vec![Some(start); self.done.len()], Some(start));
        let mut table = Self {
            done,
            looked,
            hurried: false,
            closely: false,
            failures: 0,
            took: SignedDuration::ZERO,
            ..self.clone()
        };
        let (mut looks, mut awake, mut now) = (0, SignedDuration::ZERO, start);
        loop {
            let next = table.next(now);
            awake += next.min(end).duration_since(now).min(suspends_after);
            if next >= end {
                return (looks, awake);
            }
            looks += 1;
            now = next;
            if let Some(due) = table.due(now) {
                table.looked(&due, now, SignedDuration::ZERO, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use sessionwatch_core::duration::{HOUR, MINUTE, SECOND};

    use super::*;

    const AT_ONCE: SignedDuration = SignedDuration::ZERO;
    const SHORT: SignedDuration = SignedDuration::from_micros(5);

    fn at(after: SignedDuration) -> Instant {
        Instant::UNIX_EPOCH + after
    }

    pub(super) fn utc(text: &str) -> Instant {
        text.parse::<Timestamp>().unwrap().try_into().unwrap()
    }

    fn entry(schedule: Schedule, checks: &[&str], deep: bool) -> Entry {
        Entry { schedule, checks: checks.iter().map(|id| (*id).to_owned()).collect(), deep }
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::cron(text, &TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn cron_keeps_to_local_time_over_a_change_of_clocks() {
        let daily = cron("30 6 * * *", "Europe/Berlin");
        assert_eq!(daily.after(utc("2026-10-24T10:00:00Z")), Some(utc("2026-10-25T05:30:00Z")));
        assert_eq!(daily.after(utc("2026-10-23T10:00:00Z")), Some(utc("2026-10-24T04:30:00Z")));
        assert_eq!(daily.before(utc("2026-10-25T05:29:00Z")), Some(utc("2026-10-24T04:30:00Z")));
        // The hour that is left out in spring is not a day that is left out.
        let gap = cron("30 2 * * *", "Europe/Berlin").after(utc("2026-03-28T12:00:00Z")).unwrap();
        assert!(gap < utc("2026-03-29T12:00:00Z"), "{gap:?}");
    }

    #[test]
    fn a_success_counts_for_three_intervals_of_the_most_frequent_schedule() {
        let start = utc("2026-11-24T12:00:00Z");
        let until = |entries: &[Entry], took: SignedDuration| {
            current_until(entries, start, took).duration_since(start)
        };
        let often = entry(Schedule::Every(5 * MINUTE), &["a"], false);
        let nightly = entry(cron("0 3 * * *", "UTC"), &["a"], true);
        assert_eq!(until(&[nightly.clone(), often.clone()], AT_ONCE), 15 * MINUTE);
        assert_eq!(until(std::slice::from_ref(&nightly), AT_ONCE), 63 * HOUR);
        // Runs are at least a minute apart, and slow ones nine times as long as they take.
        assert_eq!(until(&[entry(Schedule::Every(SECOND), &["a"], false)], AT_ONCE), 3 * MINUTE);
        assert_eq!(until(&[often], 40 * SECOND), 18 * MINUTE);
    }

    #[test]
    fn bad_expressions_are_told_apart() {
        let zone = TimeZone::UTC;
        for text in ["", "every day", "61 * * * *", "* * * * * *", "* * * *"] {
            assert!(matches!(Schedule::cron(text, &zone), Err(BadCron::Unreadable(_))), "{text}");
        }
        assert_eq!(Schedule::cron("0 0 31 2 *", &zone).unwrap_err(), BadCron::Never);
    }

    #[test]
    fn one_look_serves_all_that_is_due_and_missed_ticks_are_left_out() {
        let start = utc("2026-11-24T02:58:00Z");
        let entries = vec![
            entry(Schedule::Every(MINUTE), &["a", "b"], false),
            entry(cron("0 3 * * *", "UTC"), &["a", "b", "c"], true),
        ];
        let mut table = Timetable::new("x", entries, Some(start), start);
        let looks: Vec<(i64, usize, bool)> = (0..6)
            .map(|_| {
                let now = table.next(start);
                let due = table.due(now).unwrap();
                assert_eq!(table.due(now - SHORT), None);
                table.looked(&due, now, SignedDuration::ZERO, true);
                (now.duration_since(start).as_secs(), due.checks.len(), due.deep)
            })
            .collect();
        let deep: Vec<_> = looks.iter().filter(|(_, checks, deep)| *deep && *checks == 3).collect();
        assert_eq!((looks.len(), deep.len()), (6, 1), "{looks:?}");
        assert!(looks.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 60), "{looks:?}");
        // An hour without a look is one look late, not sixty.
        let late = start + HOUR;
        let due = table.due(late).unwrap();
        table.looked(&due, late, AT_ONCE, true);
        assert_eq!(table.next(late), late + MINUTE);
    }

    #[test]
    fn failing_and_slow_targets_are_looked_at_less_often() {
        let start = at(DAY);
        let table =
            || Timetable::new("x", vec![entry(Schedule::Every(MINUTE), &["a"], false)], Some(start), start);
        let gaps = |took: SignedDuration, succeeded: bool| -> Vec<i64> {
            let mut table = table();
            let mut now = start;
            let gap = |_| {
                let next = table.next(now);
                let gap = next.duration_since(now);
                now = next;
                table.looked(&table.due(now).unwrap(), now, took, succeeded);
                gap.as_secs()
            };
            (0..9).map(gap).collect()
        };
        assert_eq!(gaps(SECOND, true), [60; 9]);
        assert_eq!(gaps(20 * SECOND, true)[1..], [180; 8]);
        let failing = gaps(AT_ONCE, false);
        assert_eq!(failing[..3], [60; 3]);
        assert!(failing[3] >= 120 && failing[4] >= 240 && failing[8] >= 900, "{failing:?}");
        assert!(failing.iter().all(|gap| *gap <= 990), "{failing:?}");
    }

    #[test]
    fn a_look_out_of_turn_still_keeps_its_distance() {
        let start = at(DAY);
        let entries = vec![
            entry(Schedule::Every(6 * HOUR), &["a"], false),
            entry(cron("0 3 * * *", "UTC"), &["a"], true),
        ];
        let mut table = Timetable::new("x", entries, Some(start), start);
        table.hurry();
        assert_eq!(table.next(start + SECOND), start + LEAST_GAP);
        let due = table.due(start + LEAST_GAP).unwrap();
        assert!(!due.deep && due.checks.len() == 1);
        table.looked(&due, start + LEAST_GAP, AT_ONCE, true);
        assert!(table.next(start + LEAST_GAP) > start + 2 * HOUR);
        let mut new =
            Timetable::new("x", vec![entry(Schedule::Every(MINUTE), &["a"], false)], None, start + SHORT);
        assert_eq!((new.next(start), new.due(start)), (start + SHORT, None));
        let due = new.due(start + SHORT).unwrap();
        new.looked(&due, start + SHORT, AT_ONCE, false);
        assert_eq!(new.next(start + SHORT), start + SHORT + LEAST_GAP, "what failed is due again");
    }

    #[test]
    fn a_clock_that_goes_back_stops_nothing() {
        let mut table = Timetable::new(
            "x",
            vec![entry(Schedule::Every(MINUTE), &["a"], false)],
            Some(at(10 * HOUR)),
            at(AT_ONCE),
        );
        let now = at(7 * HOUR);
        assert!(table.is_ahead(now) && table.next(now) > now + HOUR);
        table.rebase(now);
        assert_eq!(table.next(now), now + MINUTE);
    }

    #[test]
    fn a_time_that_cron_names_does_not_come_again_when_the_clock_goes_back() {
        let nightly = || entry(cron("0 21 * * *", "UTC"), &["a"], false);
        let mut table = Timetable::new("x", vec![nightly()], Some(utc("2026-11-28T21:00:30Z")), at(AT_ONCE));
        let before = table.next(utc("2026-11-28T22:10:00Z"));
        table.rebase(utc("2026-11-28T19:10:00Z"));
        assert_eq!(table.next(utc("2026-11-28T22:11:00Z")), before, "not at once");
        table.rebase(utc("2026-11-01T19:10:00Z"));
        assert!(table.next(utc("2026-11-01T19:10:00Z")) < utc("2026-11-01T22:00:00Z"), "nor a month late");
    }

    #[test]
    fn a_schedule_says_what_it_costs() {
        let cost = |schedule| {
            Timetable::new("x", vec![entry(schedule, &["a"], false)], None, at(AT_ONCE)).cost(5 * MINUTE)
        };
        assert_eq!(cost(Schedule::Every(MINUTE)), (30 * 1_440 - 1, MONTH * DAY));
        assert_eq!(cost(Schedule::Every(6 * HOUR)), (119, 120 * 5 * MINUTE));
        assert_eq!(cost(cron("0 6 * * *", "UTC")).0, 30);
    }

    proptest! {
        /// Whatever the schedules, looks keep their distance, and none is waited for in vain.
        #[test]
        fn looks_keep_their_distance(minutes in prop::collection::vec(1i64..600, 1..4), minute in 0u8..60, took in 0i64..30) {
            let mut entries: Vec<Entry> =
                minutes.iter().map(|every| entry(Schedule::Every(SignedDuration::from_mins(*every)), &["a"], false)).collect();
            entries.push(entry(cron(&format!("{minute} * * * *"), "UTC"), &["b"], false));
            let mut table = Timetable::new("x", entries, None, at(DAY));
            let mut now = at(DAY);
            for _ in 0..50 {
                let next = table.next(now);
                prop_assert!(next.duration_since(now) <= HOUR + SPLAY);
                let due = table.due(next).unwrap();
                prop_assert!(!due.checks.is_empty());
                table.looked(&due, next, SignedDuration::from_secs(took), true);
                prop_assert!(table.next(next).duration_since(next) >= LEAST_GAP);
                now = next;
            }
        }
    }
}
