//! Detection of local time: contradictions that show that a column without a time zone is read in the wrong zone.
//!
//! A wall time does not show its zone, but other values can contradict the zone it is read in: sessions created in
//! the future or hours before they were first seen, or an expiry that differs from one stored with its zone in the
//! same row. If nothing contradicts or confirms the zone, it remains an assumption, and [`MIN_GRACE`] protects active
//! sessions.

mod offset_steps;

use std::cmp::Reverse;

use jiff::SignedDuration;

use self::offset_steps::{OffsetSteps, exact_offset, nearest_step, smallest_offset_from};
use crate::{
    time_zone::{MAX_UTC_OFFSET_US, Zone},
    timestamp::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, UtcTimestamp},
};

/// Minimum grace period before a row is removed if its expiry has no time zone: the largest UTC offset there is.
pub const MIN_GRACE: SignedDuration = SignedDuration::from_micros(MAX_UTC_OFFSET_US);

const MINUTE_US: i64 = 60 * MICROS_PER_SECOND;
/// Step between UTC offsets.
const OFFSET_STEP_US: i64 = 15 * MINUTE_US;
/// Largest lead of a creation time that normal clock skew explains.
const MAX_CLOCK_AHEAD_US: i64 = 5 * MINUTE_US;
/// Maximum age of a creation time that confirms the zone. Every zone west of UTC is at least an hour behind.
const MAX_FRESH_AGE_US: i64 = 45 * MINUTE_US;
/// Tolerance between timestamps of one event written by two programs.
const EVENT_TOLERANCE_US: i64 = 30 * MICROS_PER_SECOND;
/// Tolerance between timestamps of one event written by one program.
const ROUNDING_TOLERANCE_US: i64 = 2 * MICROS_PER_SECOND;
/// Tolerated clock skew between this program and the database.
const CLOCK_SKEW_TOLERANCE_US: i64 = 2 * MINUTE_US;
/// Number of rows that must agree, if there are that many.
const MIN_AGREEING_ROWS: usize = 2;

/// UTC offsets of inhabited zones, in minutes.
const UTC_OFFSETS_MINUTES: [i64; 37] = [
    -720, -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 60, 120, 180,
    210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780,
];
/// UTC offsets during daylight saving time or beyond UTC+13, in minutes.
const FAR_EAST_OFFSETS_MINUTES: [i64; 2] = [825, 840];

/// Time zone of the values of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnZone {
    /// The values are instants.
    #[default]
    Explicit,
    /// The values have no zone and are read as UTC.
    AssumedUtc,
    /// The values have no zone and are read in the configured one.
    Local(Zone),
}

/// Newest timestamps of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewestTimes {
    /// Latest creation time, except those too far in the future for any zone.
    pub created: Option<UtcTimestamp>,
    /// Latest expiry of an expired session.
    pub ended: Option<UtcTimestamp>,
}

/// Period in which the newest sessions appeared in the table: between two consecutive check runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthWindow {
    /// Time of the last run that did not find them.
    pub after: UtcTimestamp,
    /// Time of the first run that found them.
    pub until: UtcTimestamp,
}

/// Row of the sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampledRow {
    /// Expiry as decoded.
    pub expires: Option<UtcTimestamp>,
    /// Creation time as decoded.
    pub created: Option<UtcTimestamp>,
    /// Other timestamps of the session's creation, use or change, as decoded.
    pub others: Vec<Option<UtcTimestamp>>,
    /// Expiry stored elsewhere in the row with its zone. The expiry column may have been extended since.
    pub named_expiry: Option<UtcTimestamp>,
    /// Lifetime stored in the row, in microseconds: time from the last write of the expiry to the expiry.
    pub lifetime_us: Option<i64>,
}

/// Facts about a table.
#[derive(Clone, Copy, Debug)]
pub struct LocalTimeInput<'a> {
    /// Time of the database's clock.
    pub now: UtcTimestamp,
    /// Expiry column.
    pub expires: TimeColumn<'a>,
    /// Creation column.
    pub created: Option<TimeColumn<'a>>,
    /// Columns of [`SampledRow::others`], in the same order.
    pub others: &'a [TimeColumn<'a>],
    /// Newest timestamps of the whole table.
    pub newest: NewestTimes,
    /// Number of sessions that seem active.
    pub active: u64,
    /// Sampled rows.
    pub rows: &'a [SampledRow],
    /// Usual lifetime of sessions, in microseconds.
    pub lifetime_us: Option<i64>,
    /// Period in which the table last grew.
    pub growth: Option<GrowthWindow>,
}

/// Timestamp column and its zone.
#[derive(Clone, Copy, Debug)]
pub struct TimeColumn<'a> {
    /// Column name.
    pub name: &'a str,
    /// Time zone of its values.
    pub zone: ColumnZone,
}

/// Doubt about the time zone of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZoneDoubt {
    /// UTC offset of the values as written, in microseconds, negative west of UTC; `None` if unknown.
    pub offset_us: Option<i64>,
    /// Text that names the column, the problem and the evidence.
    pub reason: String,
    /// Values contradict the zone. Otherwise nothing confirms it.
    pub is_contradicted: bool,
}

/// Doubts about the columns of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeZoneDoubts {
    /// Doubt about the expiry column.
    pub expires: Option<TimeZoneDoubt>,
    /// Doubt about the creation column.
    pub created: Option<TimeZoneDoubt>,
}

/// Evidence against a zone: the error of the decoded values, if known, and a text.
struct Contradiction {
    shift_us: Option<i64>,
    reason: String,
}

impl ColumnZone {
    /// Returns whether values are wall times without a zone.
    #[must_use]
    pub fn is_wall_clock(self) -> bool {
        self != Self::Explicit
    }
}

impl NewestTimes {
    /// Records a creation time.
    #[inline]
    pub fn observe_created(&mut self, at: UtcTimestamp, now: UtcTimestamp) {
        if Some(at) > self.created && at <= now.saturating_add_micros(MAX_UTC_OFFSET_US + OFFSET_STEP_US) {
            self.created = Some(at);
        }
    }
}

impl GrowthWindow {
    /// Returns the period of the latest growth. `runs` holds the time of each check run, in order, and whether it
    /// found new sessions.
    #[must_use]
    pub fn find_latest(runs: impl IntoIterator<Item = (UtcTimestamp, bool)>) -> Option<Self> {
        let (mut before, mut latest) = (None, None);
        for (until, grew) in runs {
            if let (true, Some(after)) = (grew, before) {
                latest = Some(Self { after, until });
            }
            before = Some(until);
        }
        latest
    }
}

impl LocalTimeInput<'_> {
    /// Finds the columns whose zone is doubtful.
    #[must_use]
    pub fn find_doubts(&self) -> TimeZoneDoubts {
        let created = self.created.filter(|column| column.zone.is_wall_clock());
        let is_expiry_zoneless = self.expires.zone.is_wall_clock();
        let activity_evidence =
            if is_expiry_zoneless || created.is_some() { self.find_activity_contradiction() } else { None };
        let expiry_evidence = if is_expiry_zoneless { self.find_expiry_contradiction() } else { None };
        // Columns decoded in the same way were probably written in the same way.
        let same_zone = is_expiry_zoneless && created.is_none_or(|column| column.zone == self.expires.zone);
        let for_expiry = expiry_evidence.as_ref().or(activity_evidence.as_ref().filter(|_| same_zone));
        let for_creation = activity_evidence.as_ref().or(expiry_evidence.as_ref().filter(|_| same_zone));
        let idle_doubt = || if is_expiry_zoneless { self.find_idle_doubt() } else { None };
        TimeZoneDoubts {
            expires: for_expiry
                .map(|evidence| build_doubt(self.expires, evidence, self.now))
                .or_else(idle_doubt),
            created: created
                .zip(for_creation)
                .map(|(column, evidence)| build_doubt(column, evidence, self.now)),
        }
    }

    /// Columns with times of creation, use or change, with their numbers for [`SampledRow::activity_time`].
    fn activity_columns(&self) -> impl Iterator<Item = (usize, TimeColumn<'_>)> {
        let others = self.others.iter().enumerate().map(|(number, column)| (number + 1, *column));
        self.created.map(|column| (0, column)).into_iter().chain(others)
    }

    fn find_activity_contradiction(&self) -> Option<Contradiction> {
        self.find_future_activity()
            .or_else(|| self.find_row_difference())
            .or_else(|| self.find_growth_lag())
            .or_else(|| {
                // An expiry with a zone reveals the zone of a creation time without one.
                if self.expires.zone.is_wall_clock() { None } else { self.find_odd_lifetime(-1) }
            })
    }

    fn find_expiry_contradiction(&self) -> Option<Contradiction> {
        let odd = || {
            if self.created?.zone.is_wall_clock() {
                // The evidence does not show which of the two columns is wrong.
                self.find_odd_lifetime(1).map(|evidence| Contradiction { shift_us: None, ..evidence })
            } else {
                self.find_expiry_before_creation().or_else(|| self.find_odd_lifetime(1))
            }
        };
        self.find_future_use().or_else(|| self.find_named_expiry_difference()).or_else(odd)
    }

    /// Creation or use in the future, which is impossible.
    fn find_future_activity(&self) -> Option<Contradiction> {
        let newest = |number: usize| {
            let mut newest = if number == 0 { self.newest } else { NewestTimes::default() };
            for at in self.rows.iter().filter_map(|row| row.activity_time(number)) {
                newest.observe_created(at, self.now);
            }
            Some(newest.created?.micros_since(self.now))
        };
        let walls = self.activity_columns().filter(|(_, column)| column.zone.is_wall_clock());
        // If several columns are equally far ahead, the creation column is reported.
        let found = walls.filter_map(|(number, column)| Some((newest(number)?, Reverse(number), column)));
        let (ahead, _, column) = found.max_by_key(|(ahead, number, _)| (*ahead, *number))?;
        (ahead > MAX_CLOCK_AHEAD_US).then(|| Contradiction {
            shift_us: smallest_offset_from(ahead),
            reason: format!(
                "`{}` is up to {} ahead of the database's clock",
                column.name,
                format_hours(ahead)
            ),
        })
    }

    /// Use in the future, derived from an expiry and the lifetime stored in the row.
    fn find_future_use(&self) -> Option<Contradiction> {
        let used =
            self.rows.iter().filter_map(|row| Some(row.expires?.saturating_add_micros(-row.lifetime_us?)));
        let ahead = used
            .map(|at| at.micros_since(self.now))
            .filter(|ahead| *ahead <= MAX_UTC_OFFSET_US + OFFSET_STEP_US)
            .max()?;
        (ahead > MAX_CLOCK_AHEAD_US).then(|| Contradiction {
            shift_us: smallest_offset_from(ahead),
            reason: format!(
                "by `{}` and the lifetime in the row, sessions were last used up to {} in the future",
                self.expires.name,
                format_hours(ahead)
            ),
        })
    }

    /// Difference between two columns of one event, only one of which has a zone.
    fn find_row_difference(&self) -> Option<Contradiction> {
        let (walls, named): (Vec<_>, Vec<_>) =
            self.activity_columns().partition(|(_, column)| column.zone.is_wall_clock());
        let pairs = walls.iter().flat_map(|wall| named.iter().map(move |named| (*wall, *named)));
        let mut differing = pairs.filter_map(|((wall, column), (other, truth))| {
            let differences = self.collect_differences(|row| {
                Some(row.activity_time(wall)?.micros_since(row.activity_time(other)?))
            });
            let steps = OffsetSteps::from_differences(&differences, EVENT_TOLERANCE_US);
            // Sessions used since then differ by arbitrary times; unused ones by nothing or exactly by the UTC
            // offset.
            // One row alone may be an accident.
            let agreed = steps.zero_rows == 0
                && 2 * steps.shift_rows >= differences.len()
                && steps.shift_rows >= MIN_AGREEING_ROWS;
            agreed.then(|| Contradiction {
                shift_us: Some(steps.shift_us),
                reason: format!(
                    "`{}` is {} {} `{}` of the same row, which has a time zone",
                    column.name,
                    format_hours(steps.shift_us.abs()),
                    direction_word(steps.shift_us),
                    truth.name
                ),
            })
        });
        differing.next()
    }

    fn collect_differences(&self, of: impl Fn(&SampledRow) -> Option<i64>) -> Vec<i64> {
        self.rows.iter().filter_map(of).collect()
    }

    /// Sessions first seen hours after their creation time.
    fn find_growth_lag(&self) -> Option<Contradiction> {
        let column = self.created.filter(|column| column.zone.is_wall_clock())?;
        let growth = self.growth?;
        let newest = self.newest.created?;
        // The newest session appeared between two check runs.
        let (least, most) = (
            growth.after.micros_since(newest) - CLOCK_SKEW_TOLERANCE_US,
            growth.until.micros_since(newest) + CLOCK_SKEW_TOLERANCE_US,
        );
        if least < MAX_FRESH_AGE_US - CLOCK_SKEW_TOLERANCE_US {
            return None;
        }
        let behind =
            UTC_OFFSETS_MINUTES.iter().map(|minutes| -minutes * MINUTE_US).filter(|behind| *behind > 0);
        let behind = behind.filter(|behind| (least..=most).contains(behind)).min()?;
        Some(Contradiction {
            shift_us: Some(-behind),
            reason: format!(
                "sessions appeared recently, but the newest `{}` is {} old by the database's clock",
                column.name,
                format_hours(self.now.micros_since(newest))
            ),
        })
    }

    /// Difference between the expiry column and the expiry stored with its zone in the same row.
    fn find_named_expiry_difference(&self) -> Option<Contradiction> {
        let differences = self.collect_differences(|row| Some(row.expires?.micros_since(row.named_expiry?)));
        let steps = OffsetSteps::from_differences(&differences, ROUNDING_TOLERANCE_US);
        let enough = |rows: usize| rows > 0 && rows >= MIN_AGREEING_ROWS.min(differences.len());
        let name = self.expires.name;
        // Use only moves an expiry later, so a column that is earlier is a sign of another zone, even if some rows
        // date from before the application changed its zone. A column that is later may also be due to use at regular
        // intervals, unless that use would be in the future.
        let explained = self.rows.iter().any(|row| row.lifetime_us.is_some());
        let agreed = if steps.shift_us < 0 {
            steps.shift_rows > steps.zero_rows || 5 * steps.shift_rows >= differences.len()
        } else {
            !explained && steps.zero_rows == 0 && 2 * steps.shift_rows >= differences.len()
        };
        if agreed && enough(steps.shift_rows) {
            let reason = format!(
                "`{name}` is {} {} the time-zone-aware expiry in the same row",
                format_hours(steps.shift_us.abs()),
                direction_word(steps.shift_us)
            );
            return Some(Contradiction { shift_us: Some(steps.shift_us), reason });
        }
        let early = differences.iter().filter(|by| (-MAX_UTC_OFFSET_US..-MAX_CLOCK_AHEAD_US).contains(*by));
        let (count, most) = early.fold((0, 0), |(count, most), by| (count + 1, by.abs().max(most)));
        (steps.zero_rows == 0 && 2 * count >= differences.len() && enough(count)).then(|| Contradiction {
            shift_us: smallest_offset_from(most).map(|shift| -shift),
            reason: format!(
                "`{name}` is up to {} before the time-zone-aware expiry in the same row",
                format_hours(most)
            ),
        })
    }

    /// Expiry before creation, which is impossible.
    fn find_expiry_before_creation(&self) -> Option<Contradiction> {
        let lifetimes = self.collect_differences(|row| Some(row.expires?.micros_since(row.created?)));
        let negative =
            lifetimes.iter().filter(|lifetime| (-MAX_UTC_OFFSET_US..-MINUTE_US).contains(*lifetime)).count();
        let agreed = negative > 0
            && negative >= MIN_AGREEING_ROWS.min(lifetimes.len())
            && 2 * negative >= lifetimes.len();
        agreed.then(|| Contradiction {
            shift_us: self
                .lifetime_us
                .and_then(|usual| self.common_lifetime()?.checked_sub(usual))
                .and_then(exact_offset),
            reason: format!("`{}` is before the creation of the same row", self.expires.name),
        })
    }

    /// Lifetimes that differ from the usual one by a UTC offset. `sign` is 1 to blame the expiry column and -1 to
    /// blame the creation column.
    fn find_odd_lifetime(&self, sign: i64) -> Option<Contradiction> {
        // A lifetime stored in the row is better evidence than the usual one.
        let usual = self.lifetime_us.filter(|_| self.rows.iter().all(|row| row.lifetime_us.is_none()))?;
        let common = self.common_lifetime()?;
        let shift = exact_offset(common - usual)?;
        // Multiples of half a day are lifetimes that people configure.
        (common > MICROS_PER_DAY && common % (MICROS_PER_DAY / 2) != 0).then(|| Contradiction {
            shift_us: Some(sign * shift),
            reason: format!(
                "`{}` is {} after the creation time, not the usual {}",
                self.expires.name,
                format_hours(common),
                format_hours(usual)
            ),
        })
    }

    /// Lifetime shared by at least half of the rows, rounded to [`OFFSET_STEP_US`].
    fn common_lifetime(&self) -> Option<i64> {
        let lifetimes = self.collect_differences(|row| Some(row.expires?.micros_since(row.created?)));
        let mut steps: Vec<i64> =
            lifetimes.iter().filter_map(|lifetime| nearest_step(*lifetime, EVENT_TOLERANCE_US)).collect();
        steps.sort_unstable();
        let common = steps.chunk_by(|one, other| one == other).max_by_key(|run| run.len())?;
        let agreed =
            common.len() >= MIN_AGREEING_ROWS.min(lifetimes.len()) && 2 * common.len() >= lifetimes.len();
        common.first().copied().filter(|_| agreed)
    }

    /// Doubt if no session seems active, but recently expired ones would be active in another zone.
    fn find_idle_doubt(&self) -> Option<TimeZoneDoubt> {
        let ColumnZone::AssumedUtc = self.expires.zone else { return None };
        let ended = self.newest.ended?;
        if self.active > 0 || self.now.micros_since(ended) >= MAX_UTC_OFFSET_US || self.is_expiry_confirmed()
        {
            return None;
        }
        let reason = format!(
            "`{}` has no time zone, no session seems active, and the last one expired {} ago: \
              the values may be UTC or local time",
            self.expires.name,
            format_hours(self.now.micros_since(ended))
        );
        Some(TimeZoneDoubt { offset_us: None, reason, is_contradicted: false })
    }

    /// Returns whether other values confirm the zone of the expiry.
    fn is_expiry_confirmed(&self) -> bool {
        let alike = |(_, column): &(usize, TimeColumn<'_>)| column.zone == self.expires.zone;
        let fresh = |(number, _): (usize, TimeColumn<'_>)| {
            let newest = self.newest.created.filter(|_| number == 0);
            let mut seen = self.rows.iter().filter_map(|row| row.activity_time(number)).chain(newest);
            seen.any(|at| self.now.micros_since(at).abs() < MAX_FRESH_AGE_US)
        };
        let named = self.collect_differences(|row| Some(row.expires?.micros_since(row.named_expiry?)));
        self.activity_columns().filter(alike).any(fresh)
            || named.iter().any(|by| by.abs() <= ROUNDING_TOLERANCE_US)
    }
}

impl SampledRow {
    /// Returns the creation time for number 0, or another column by its number from 1.
    fn activity_time(&self, number: usize) -> Option<UtcTimestamp> {
        match number.checked_sub(1) {
            None => self.created,
            Some(other) => self.others.get(other).copied().flatten(),
        }
    }
}

fn build_doubt(column: TimeColumn<'_>, evidence: &Contradiction, now: UtcTimestamp) -> TimeZoneDoubt {
    let assumed = if let ColumnZone::Local(zone) = column.zone { zone.offset_us_at(now) } else { 0 };
    let offset_us = evidence.shift_us.map(|shift| shift + assumed);
    let predicate_text = match (column.zone, offset_us) {
        (ColumnZone::Local(zone), Some(offset)) => {
            format!("is not the local time of {}, but about {}", zone.name(), format_utc_offset(offset))
        }
        (ColumnZone::Local(zone), None) => format!("is not the local time of {}", zone.name()),
        (_, Some(offset)) => format!("is stored in local time, about {}", format_utc_offset(offset)),
        (_, None) => "is stored in local time".to_owned(),
    };
    let reason = format!("`{}` {predicate_text}: {}", column.name, evidence.reason);
    TimeZoneDoubt { offset_us, reason, is_contradicted: true }
}

/// Formats a UTC offset: `UTC-5`, `UTC+5:45`.
#[must_use]
pub fn format_utc_offset(offset_us: i64) -> String {
    let minutes = offset_us.abs() / MINUTE_US;
    let sign = if offset_us < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes / 60, minutes % 60);
    if minutes == 0 { format!("UTC{sign}{hours}") } else { format!("UTC{sign}{hours}:{minutes:02}") }
}

fn direction_word(shift: i64) -> &'static str {
    if shift < 0 { "before" } else { "after" }
}

/// Formats a time span: `2.0 h`, `6.79 days`.
#[expect(clippy::cast_precision_loss, reason = "hours for people")]
fn format_hours(micros: i64) -> String {
    if micros.abs() > 2 * MICROS_PER_DAY {
        format!("{:.2} days", micros as f64 / MICROS_PER_DAY as f64)
    } else {
        format!("{:.1} h", micros as f64 / MICROS_PER_HOUR as f64)
    }
}

#[cfg(test)]
mod tests;
