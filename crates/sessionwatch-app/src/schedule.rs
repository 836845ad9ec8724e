//! Scheduling of check runs. Pure: the current time and the outcome of a run are parameters.

mod wall_time;

use std::{collections::BTreeSet, hash::Hasher as _};

use croner::{
    Cron,
    parser::{CronParser, Seconds},
};
use jiff::{SignedDuration, tz::TimeZone};
use sessionwatch_core::{
    duration::{DAY, saturating_micros},
    timestamp::UtcTimestamp,
};
use siphasher::sip::SipHasher13;

/// Minimum time between two runs of a target, even for runs on request.
pub const MIN_RUN_GAP: SignedDuration = SignedDuration::from_secs(60);
/// Consecutive failures after which runs back off.
const BACKOFF_FAILURE_THRESHOLD: u32 = 3;
/// Maximum backoff, and maximum spacing of slow runs.
const MAX_RUN_BACKOFF: SignedDuration = SignedDuration::from_mins(15);
/// Runs may take up at most one in this many parts of the time, to limit the load on the database.
const RUN_TIME_SHARE_DIVISOR: i32 = 10;
/// Period over which targets with the same cron expression are spread.
const MAX_CRON_SPLAY: SignedDuration = SignedDuration::from_secs(20);
/// Intervals within which a run must have succeeded for a target to count as monitored.
const FRESHNESS_INTERVALS: i32 = 3;
/// Days of a month in cost estimates.
const COST_PERIOD_DAYS: i32 = 30;

/// A recurring schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// A fixed interval.
    Every(SignedDuration),
    /// A cron expression in a time zone.
    Cron(Box<Cron>, TimeZone),
}

/// An invalid cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The expression cannot be parsed.
    #[error("must be minute, hour, day of month, month and day of week, such as \"0 6 * * mon\" ({0})")]
    Unreadable(String),
    /// The expression never matches.
    #[error("never matches a date")]
    Never,
}

/// Checks that share a schedule.
#[derive(Clone, Debug)]
pub struct ScheduledChecks {
    /// The schedule.
    pub schedule: Schedule,
    /// Check IDs.
    pub checks: BTreeSet<String>,
    /// `true` to read every row instead of trusting indexes and constraints.
    pub ignore_constraints: bool,
}

/// The schedules of a target, with the state of its runs.
#[derive(Clone, Debug)]
pub struct RunScheduler {
    entries: Vec<ScheduledChecks>,
    /// Time of the last successful run of each entry.
    last_done: Vec<Option<UtcTimestamp>>,
    last_run_at: Option<UtcTimestamp>,
    /// Time of the first run, if there was none.
    first_run_at: UtcTimestamp,
    /// A run out of schedule is pending.
    is_run_requested: bool,
    /// Runs follow each other at the minimum gap, after sessions were revoked.
    is_high_frequency: bool,
    consecutive_failures: u32,
    last_duration: SignedDuration,
    seed: u64,
}

/// A run that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueRun {
    /// IDs of the due checks.
    pub checks: BTreeSet<String>,
    /// `true` to read every row instead of trusting indexes and constraints.
    pub ignore_constraints: bool,
}

impl Schedule {
    /// Parses a cron expression of five fields.
    ///
    /// # Errors
    ///
    /// If the expression is invalid or never matches.
    pub fn parse_cron(text: &str, zone: &TimeZone) -> Result<Self, CronError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| CronError::Unreadable(error.to_string()))?;
        let schedule = Self::Cron(Box::new(cron), zone.clone());
        // The parser accepts dates such as 31 February. Any start time will do.
        let start = UtcTimestamp::UNIX_EPOCH + 20_000 * DAY;
        schedule.next_after(start).map(|_| schedule.clone()).ok_or(CronError::Never)
    }

    /// Returns the first time after `last`; `None` if there is none.
    #[must_use]
    pub fn next_after(&self, last: UtcTimestamp) -> Option<UtcTimestamp> {
        match self {
            Self::Every(distance) => Some(last + *distance),
            Self::Cron(cron, zone) => wall_time::next_occurrence(cron, zone, last.into())?.try_into().ok(),
        }
    }

    /// Returns the interval between the next two times after `now`.
    #[must_use]
    pub fn interval_at(&self, now: UtcTimestamp) -> SignedDuration {
        let next = self.next_after(now);
        let second = next.and_then(|next| self.next_after(next));
        next.zip(second).map_or(SignedDuration::MAX, |(next, second)| second.duration_since(next))
    }

    /// Returns the last time at or before `now`; `None` if there is none, and for fixed intervals.
    #[must_use]
    pub fn last_at_or_before(&self, now: UtcTimestamp) -> Option<UtcTimestamp> {
        let Self::Cron(cron, zone) = self else { return None };
        wall_time::previous_occurrence(cron, zone, now.into())?.try_into().ok()
    }

    /// Returns the time of the last run for [`Schedule::next_after`], clamped to `now` if the clock was set back since.
    #[must_use]
    pub fn clamp_last_run(&self, last: UtcTimestamp, now: UtcTimestamp) -> UtcTimestamp {
        match self {
            // A time of day that has passed must not be due again after the clock was set back a little, but a clock
            // that was far ahead must not suspend the schedule for more than a day.
            Self::Cron(..) if last.duration_since(now) <= DAY => last,
            _ => last.min(now),
        }
    }
}

/// Returns the time until which a run that succeeded at `at` and took `duration` counts as recent: three intervals of
/// the most frequent schedule, or of the minimum spacing if that is longer.
#[must_use]
pub fn fresh_until(entries: &[ScheduledChecks], at: UtcTimestamp, duration: SignedDuration) -> UtcTimestamp {
    let third = |entry: &ScheduledChecks| {
        (0..FRESHNESS_INTERVALS).try_fold(at, |at, _| entry.schedule.next_after(at))
    };
    let due = entries.iter().filter_map(third).min().unwrap_or(at);
    due.max(at + min_run_spacing(duration).saturating_mul(FRESHNESS_INTERVALS))
}

/// Maps a number to a duration below `most`.
fn spread_offset(number: u64, most: SignedDuration) -> SignedDuration {
    let micros = saturating_micros(most).unsigned_abs().max(1);
    SignedDuration::from_micros((number % micros).cast_signed())
}

/// Returns the minimum time between two runs that take `duration`.
fn min_run_spacing(duration: SignedDuration) -> SignedDuration {
    MIN_RUN_GAP
        .max(duration.saturating_mul(RUN_TIME_SHARE_DIVISOR - 1).clamp(SignedDuration::ZERO, MAX_RUN_BACKOFF))
}

impl RunScheduler {
    /// Creates the scheduler of a target. `first_run_at` applies if there was no run yet.
    #[must_use]
    pub fn new(
        name: &str,
        entries: Vec<ScheduledChecks>,
        last_run_at: Option<UtcTimestamp>,
        first_run_at: UtcTimestamp,
    ) -> Self {
        // Seeded by name, so that splay and jitter differ between targets but not between restarts.
        let mut hasher = SipHasher13::new();
        hasher.write(name.as_bytes());
        Self {
            last_done: vec![last_run_at; entries.len()],
            entries,
            last_run_at,
            first_run_at,
            is_run_requested: false,
            is_high_frequency: false,
            consecutive_failures: 0,
            last_duration: SignedDuration::ZERO,
            seed: hasher.finish(),
        }
    }

    /// Requests a run out of schedule, which is due once the minimum gap has passed.
    pub fn request_run(&mut self) {
        self.is_run_requested = true;
    }

    /// Sets whether runs follow each other at the minimum gap, regardless of the schedules.
    pub fn set_high_frequency(&mut self, closely: bool) {
        self.is_high_frequency = closely;
    }

    /// Returns the time of the next run.
    #[must_use]
    pub fn next_run_at(&self, now: UtcTimestamp) -> UtcTimestamp {
        let due = (0..self.entries.len()).filter_map(|at| self.entry_due_at(at, now)).min();
        let due = if self.is_run_requested || self.is_high_frequency { Some(now) } else { due };
        let earliest = self.last_run_at.map_or(self.first_run_at, |last_run| last_run + self.min_gap());
        due.unwrap_or(UtcTimestamp::MAX).max(earliest)
    }

    /// Returns the run that is due at `now`; `None` if none is.
    #[must_use]
    pub fn due_run(&self, now: UtcTimestamp) -> Option<DueRun> {
        if self.next_run_at(now) > now {
            return None;
        }
        let mut due = DueRun { checks: BTreeSet::new(), ignore_constraints: false };
        for (at, entry) in self.entries.iter().enumerate() {
            // A full read is too expensive for runs on request.
            let is_expedited = (self.is_run_requested || self.is_high_frequency) && !entry.ignore_constraints;
            if is_expedited || self.entry_due_at(at, now).is_some_and(|due| due <= now) {
                due.checks.extend(entry.checks.iter().cloned());
                due.ignore_constraints |= entry.ignore_constraints;
            }
        }
        Some(due)
    }

    /// Records a run. A successful run completes its entries, and occurrences missed before it are skipped; the entries
    /// of a failed run stay due.
    pub fn record_run(&mut self, due: &DueRun, now: UtcTimestamp, duration: SignedDuration, succeeded: bool) {
        for (entry, done) in self.entries.iter().zip(&mut self.last_done) {
            if succeeded
                && entry.checks.is_subset(&due.checks)
                && (due.ignore_constraints || !entry.ignore_constraints)
            {
                *done = Some(now);
            }
        }
        self.is_run_requested = false;
        self.last_run_at = Some(now);
        self.last_duration = duration;
        self.consecutive_failures = if succeeded { 0 } else { self.consecutive_failures.saturating_add(1) };
    }

    /// Adjusts the times of past runs after the clock was set back to `now`.
    pub fn clamp_to(&mut self, now: UtcTimestamp) {
        for (entry, done) in self.entries.iter().zip(&mut self.last_done) {
            *done = done.map(|done| entry.schedule.clamp_last_run(done, now));
        }
        self.last_run_at = self.last_run_at.map(|last_run| last_run.min(now));
    }

    /// Returns `true` if the clock was set back since the last run.
    #[must_use]
    pub fn has_clock_moved_back(&self, now: UtcTimestamp) -> bool {
        self.last_run_at.is_some_and(|last_run| last_run > now)
    }

    /// Returns the due time of an entry; `now` if it never ran.
    fn entry_due_at(&self, at: usize, now: UtcTimestamp) -> Option<UtcTimestamp> {
        let Some(done) = self.last_done[at] else { return Some(now) };
        let entry = &self.entries[at];
        let splay = match entry.schedule {
            Schedule::Every(_) => SignedDuration::ZERO,
            Schedule::Cron(..) => spread_offset(self.seed, MAX_CRON_SPLAY),
        };
        // Runs happen at the occurrence plus splay, so the splay is subtracted to find the next occurrence.
        entry.schedule.next_after((done - splay).max(UtcTimestamp::MIN)).map(|next| next + splay)
    }

    /// Returns the minimum time until the next run: longer for slow runs, and doubling with each failure.
    fn min_gap(&self) -> SignedDuration {
        let failing = self.consecutive_failures.saturating_sub(BACKOFF_FAILURE_THRESHOLD - 1).min(10);
        let back_off = if failing == 0 {
            SignedDuration::ZERO
        } else {
            MIN_RUN_GAP.saturating_mul(1 << failing).min(MAX_RUN_BACKOFF)
        };
        min_run_spacing(self.last_duration).max(back_off) + self.backoff_jitter(back_off / 10)
    }

    /// Returns a jitter below `most` that differs by target and failure, so that targets on one server do not retry
    /// together.
    fn backoff_jitter(&self, most: SignedDuration) -> SignedDuration {
        let mut hasher = SipHasher13::new();
        hasher.write_u64(self.seed);
        hasher.write_u32(self.consecutive_failures);
        spread_offset(hasher.finish() >> 1, most)
    }

    /// Returns the number of runs in a month of 30 days, and how long they keep a database awake that suspends itself
    /// after `autosuspend_after` without a query.
    #[must_use]
    pub fn estimate_monthly_cost(&self, autosuspend_after: SignedDuration) -> (u64, SignedDuration) {
        let start = UtcTimestamp::UNIX_EPOCH + 20_000 * DAY;
        let end = start + COST_PERIOD_DAYS * DAY;
        let (last_done, last_run_at) = (vec![Some(start); self.last_done.len()], Some(start));
        let mut table = Self {
            last_done,
            last_run_at,
            is_run_requested: false,
            is_high_frequency: false,
            consecutive_failures: 0,
            last_duration: SignedDuration::ZERO,
            ..self.clone()
        };
        // Simulates the month with the real scheduler, so that all limits are included.
        let (mut runs, mut awake, mut now) = (0, SignedDuration::ZERO, start);
        loop {
            let next = table.next_run_at(now);
            awake += next.min(end).duration_since(now).min(autosuspend_after);
            if next >= end {
                return (runs, awake);
            }
            runs += 1;
            now = next;
            if let Some(due) = table.due_run(now) {
                table.record_run(&due, now, SignedDuration::ZERO, true);
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

    fn at(after: SignedDuration) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + after
    }

    pub(super) fn utc(text: &str) -> UtcTimestamp {
        text.parse::<Timestamp>().unwrap().try_into().unwrap()
    }

    fn entry(schedule: Schedule, checks: &[&str], ignore_constraints: bool) -> ScheduledChecks {
        ScheduledChecks {
            schedule,
            checks: checks.iter().map(|id| (*id).to_owned()).collect(),
            ignore_constraints,
        }
    }

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::parse_cron(text, &TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn cron_follows_local_time_across_dst_changes() {
        let daily = cron("30 6 * * *", "Europe/Berlin");
        assert_eq!(daily.next_after(utc("2026-10-24T10:00:00Z")), Some(utc("2026-10-25T05:30:00Z")));
        assert_eq!(daily.next_after(utc("2026-10-23T10:00:00Z")), Some(utc("2026-10-24T04:30:00Z")));
        assert_eq!(daily.last_at_or_before(utc("2026-10-25T05:29:00Z")), Some(utc("2026-10-24T04:30:00Z")));
        // A time in the skipped hour of spring is still due that day.
        let gap = cron("30 2 * * *", "Europe/Berlin").next_after(utc("2026-03-28T12:00:00Z")).unwrap();
        assert!(gap < utc("2026-03-29T12:00:00Z"), "{gap:?}");
    }

    #[test]
    fn a_success_counts_for_three_intervals_of_the_most_frequent_schedule() {
        let start = utc("2026-11-24T12:00:00Z");
        let until = |entries: &[ScheduledChecks], took: SignedDuration| {
            fresh_until(entries, start, took).duration_since(start)
        };
        let often = entry(Schedule::Every(5 * MINUTE), &["a"], false);
        let nightly = entry(cron("0 3 * * *", "UTC"), &["a"], true);
        assert_eq!(until(&[nightly.clone(), often.clone()], AT_ONCE), 15 * MINUTE);
        assert_eq!(until(std::slice::from_ref(&nightly), AT_ONCE), 63 * HOUR);
        // Runs are at least a minute apart, and slow runs nine times their duration.
        assert_eq!(until(&[entry(Schedule::Every(SECOND), &["a"], false)], AT_ONCE), 3 * MINUTE);
        assert_eq!(until(&[often], 40 * SECOND), 18 * MINUTE);
    }

    #[test]
    fn invalid_expressions_are_rejected() {
        let zone = TimeZone::UTC;
        for text in ["", "every day", "61 * * * *", "* * * * * *", "* * * *"] {
            assert!(matches!(Schedule::parse_cron(text, &zone), Err(CronError::Unreadable(_))), "{text}");
        }
        assert_eq!(Schedule::parse_cron("0 0 31 2 *", &zone).unwrap_err(), CronError::Never);
    }

    #[test]
    fn one_run_covers_all_due_checks_and_missed_occurrences_are_skipped() {
        let start = utc("2026-11-24T02:58:00Z");
        let entries = vec![
            entry(Schedule::Every(MINUTE), &["a", "b"], false),
            entry(cron("0 3 * * *", "UTC"), &["a", "b", "c"], true),
        ];
        let mut table = RunScheduler::new("x", entries, Some(start), start);
        let runs: Vec<(i64, usize, bool)> = (0..6)
            .map(|_| {
                let now = table.next_run_at(start);
                let due = table.due_run(now).unwrap();
                assert_eq!(table.due_run(now - SHORT), None);
                table.record_run(&due, now, SignedDuration::ZERO, true);
                (now.duration_since(start).as_secs(), due.checks.len(), due.ignore_constraints)
            })
            .collect();
        let full: Vec<_> = runs.iter().filter(|(_, checks, full)| *full && *checks == 3).collect();
        assert_eq!((runs.len(), full.len()), (6, 1), "{runs:?}");
        assert!(runs.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 60), "{runs:?}");
        // After an hour without a run, one run is due, not sixty.
        let late = start + HOUR;
        let due = table.due_run(late).unwrap();
        table.record_run(&due, late, AT_ONCE, true);
        assert_eq!(table.next_run_at(late), late + MINUTE);
    }

    #[test]
    fn failing_and_slow_targets_are_checked_less_often() {
        let start = at(DAY);
        let table = || {
            RunScheduler::new("x", vec![entry(Schedule::Every(MINUTE), &["a"], false)], Some(start), start)
        };
        let gaps = |took: SignedDuration, succeeded: bool| -> Vec<i64> {
            let mut table = table();
            let mut now = start;
            let gap = |_| {
                let next = table.next_run_at(now);
                let gap = next.duration_since(now);
                now = next;
                table.record_run(&table.due_run(now).unwrap(), now, took, succeeded);
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
    fn a_requested_run_keeps_the_minimum_gap() {
        let start = at(DAY);
        let entries = vec![
            entry(Schedule::Every(6 * HOUR), &["a"], false),
            entry(cron("0 3 * * *", "UTC"), &["a"], true),
        ];
        let mut table = RunScheduler::new("x", entries, Some(start), start);
        table.request_run();
        assert_eq!(table.next_run_at(start + SECOND), start + MIN_RUN_GAP);
        let due = table.due_run(start + MIN_RUN_GAP).unwrap();
        assert!(!due.ignore_constraints && due.checks.len() == 1);
        table.record_run(&due, start + MIN_RUN_GAP, AT_ONCE, true);
        assert!(table.next_run_at(start + MIN_RUN_GAP) > start + 2 * HOUR);
        let mut new =
            RunScheduler::new("x", vec![entry(Schedule::Every(MINUTE), &["a"], false)], None, start + SHORT);
        assert_eq!((new.next_run_at(start), new.due_run(start)), (start + SHORT, None));
        let due = new.due_run(start + SHORT).unwrap();
        new.record_run(&due, start + SHORT, AT_ONCE, false);
        assert_eq!(new.next_run_at(start + SHORT), start + SHORT + MIN_RUN_GAP, "a failed run is due again");
    }

    #[test]
    fn a_clock_set_back_does_not_suspend_the_schedule() {
        let mut table = RunScheduler::new(
            "x",
            vec![entry(Schedule::Every(MINUTE), &["a"], false)],
            Some(at(10 * HOUR)),
            at(AT_ONCE),
        );
        let now = at(7 * HOUR);
        assert!(table.has_clock_moved_back(now) && table.next_run_at(now) > now + HOUR);
        table.clamp_to(now);
        assert_eq!(table.next_run_at(now), now + MINUTE);
    }

    #[test]
    fn a_cron_occurrence_does_not_repeat_after_the_clock_is_set_back() {
        let nightly = || entry(cron("0 21 * * *", "UTC"), &["a"], false);
        let mut table =
            RunScheduler::new("x", vec![nightly()], Some(utc("2026-11-28T21:00:30Z")), at(AT_ONCE));
        let before = table.next_run_at(utc("2026-11-28T22:10:00Z"));
        table.clamp_to(utc("2026-11-28T19:10:00Z"));
        assert_eq!(table.next_run_at(utc("2026-11-28T22:11:00Z")), before, "not at once");
        table.clamp_to(utc("2026-11-01T19:10:00Z"));
        assert!(
            table.next_run_at(utc("2026-11-01T19:10:00Z")) < utc("2026-11-01T22:00:00Z"),
            "nor a month late"
        );
    }

    #[test]
    fn the_monthly_cost_of_a_schedule_is_estimated() {
        let cost = |schedule| {
            RunScheduler::new("x", vec![entry(schedule, &["a"], false)], None, at(AT_ONCE))
                .estimate_monthly_cost(5 * MINUTE)
        };
        assert_eq!(cost(Schedule::Every(MINUTE)), (30 * 1_440 - 1, COST_PERIOD_DAYS * DAY));
        assert_eq!(cost(Schedule::Every(6 * HOUR)), (119, 120 * 5 * MINUTE));
        assert_eq!(cost(cron("0 6 * * *", "UTC")).0, 30);
    }

    proptest! {
        /// For any schedules, runs keep the minimum gap, and every due run has checks.
        #[test]
        fn runs_keep_the_minimum_gap(
            minutes in prop::collection::vec(1i64..600, 1..4), minute in 0u8..60, took in 0i64..30,
        ) {
            let every = |minutes: &i64| Schedule::Every(SignedDuration::from_mins(*minutes));
            let mut entries: Vec<ScheduledChecks> =
                minutes.iter().map(|minutes| entry(every(minutes), &["a"], false)).collect();
            entries.push(entry(cron(&format!("{minute} * * * *"), "UTC"), &["b"], false));
            let mut table = RunScheduler::new("x", entries, None, at(DAY));
            let mut now = at(DAY);
            for _ in 0..50 {
                let next = table.next_run_at(now);
                prop_assert!(next.duration_since(now) <= HOUR + MAX_CRON_SPLAY);
                let due = table.due_run(next).unwrap();
                prop_assert!(!due.checks.is_empty());
                table.record_run(&due, next, SignedDuration::from_secs(took), true);
                prop_assert!(table.next_run_at(next).duration_since(next) >= MIN_RUN_GAP);
                now = next;
            }
        }
    }
}
