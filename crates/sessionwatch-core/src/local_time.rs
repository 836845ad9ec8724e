//! Local time: whether a column without a time zone holds the wall clock that it is read as, or that of another zone.
//!
//! A wall clock says nothing of its zone, but it can contradict the reading: sessions that were created in the future,
//! or hours before they were first seen; an end that differs from the one that the same row names with its zone. Where
//! nothing contradicts and nothing confirms, a reading stays an assumption, and [`MIN_GRACE`] is what protects.

mod offset_steps;

use std::cmp::Reverse;

use jiff::SignedDuration;

use self::offset_steps::{OffsetSteps, exact_offset, nearest_step, smallest_offset_from};
use crate::{
    time_zone::{MAX_UTC_OFFSET_US, Zone},
    timestamp::{MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND, UtcTimestamp},
};

/// No shorter time after its end is a row removed whose end names no zone: so far can a clock be from UTC.
pub const MIN_GRACE: SignedDuration = SignedDuration::from_micros(MAX_UTC_OFFSET_US);

const MINUTE_US: i64 = 60 * MICROS_PER_SECOND;
/// Clocks of zones differ by multiples of it.
const OFFSET_STEP_US: i64 = 15 * MINUTE_US;
/// A creation that is no farther ahead may be due to clocks that differ a little.
const MAX_CLOCK_AHEAD_US: i64 = 5 * MINUTE_US;
/// A creation that is no older confirms that the clock is not behind UTC: every zone in the west is an hour or more.
const MAX_FRESH_AGE_US: i64 = 45 * MINUTE_US;
/// How far two instants of one event may be apart that two programs wrote, and that one program wrote.
const EVENT_TOLERANCE_US: i64 = 30 * MICROS_PER_SECOND;
const ROUNDING_TOLERANCE_US: i64 = 2 * MICROS_PER_SECOND;
/// How far the clocks of the database and of the program that looks at it may be apart.
const CLOCK_SKEW_TOLERANCE_US: i64 = 2 * MINUTE_US;
/// Rows that have to say the same, where there are so many.
const MIN_AGREEING_ROWS: usize = 2;

/// How far clocks are from UTC, in minutes, wherever people live.
const UTC_OFFSETS_MINUTES: [i64; 37] = [
    -720, -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 60, 120, 180,
    210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780,
];
/// The same, on summer time or farther east than a day is long.
const FAR_EAST_OFFSETS_MINUTES: [i64; 2] = [825, 840];

/// What zone the values of a column are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnZone {
    /// They name an instant themselves.
    #[default]
    Explicit,
    /// They name none, and are read as UTC.
    AssumedUtc,
    /// They name none, and the configuration says that it is this one.
    Local(Zone),
}

/// The newest instants of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewestTimes {
    /// The latest creation, those left out that are farther in the future than any zone explains.
    pub created: Option<UtcTimestamp>,
    /// The latest end of a session that has ended.
    pub ended: Option<UtcTimestamp>,
}

/// When the newest sessions that looks have seen appear came into the table: after one look, until the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrowthWindow {
    /// They were not there yet.
    pub after: UtcTimestamp,
    /// They were there.
    pub until: UtcTimestamp,
}

/// A row of the sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampledRow {
    /// The end, as it is read.
    pub expires: Option<UtcTimestamp>,
    /// The creation, as it is read.
    pub created: Option<UtcTimestamp>,
    /// When the session was created, used or changed by other columns, as they are read.
    pub others: Vec<Option<UtcTimestamp>>,
    /// The end as the row names it elsewhere, with its zone. The end that is stored may have moved on since.
    pub named_expiry: Option<UtcTimestamp>,
    /// The lifetime that the row names, in microseconds: the end was stored so long before.
    pub lifetime_us: Option<i64>,
}

/// What is known of a table.
#[derive(Clone, Copy, Debug)]
pub struct LocalTimeInput<'a> {
    /// By the clock of the database.
    pub now: UtcTimestamp,
    /// The column of the end.
    pub expires: TimeColumn<'a>,
    /// The column of the creation.
    pub created: Option<TimeColumn<'a>>,
    /// The other columns of the rows, in their order.
    pub others: &'a [TimeColumn<'a>],
    /// The newest instants of the whole table.
    pub newest: NewestTimes,
    /// Sessions that seem active.
    pub active: u64,
    /// Some rows.
    pub rows: &'a [SampledRow],
    /// The lifetime that sessions usually have, in microseconds.
    pub lifetime_us: Option<i64>,
    /// When the table last grew.
    pub growth: Option<GrowthWindow>,
}

/// A column, and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct TimeColumn<'a> {
    /// Its name.
    pub name: &'a str,
    /// What zone its values are in.
    pub zone: ColumnZone,
}

/// Why a column is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZoneDoubt {
    /// How far ahead of UTC the clock is that was written, in microseconds; negative in the west; `None` if that does not
    /// show.
    pub offset_us: Option<i64>,
    /// The column, what is wrong with it, and what shows it.
    pub reason: String,
    /// Something contradicts the reading; otherwise nothing confirms it.
    pub is_contradicted: bool,
}

/// The columns that are not believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeZoneDoubts {
    /// The end.
    pub expires: Option<TimeZoneDoubt>,
    /// The creation.
    pub created: Option<TimeZoneDoubt>,
}

/// What contradicts a reading: by how much it is ahead of the truth, if that shows, and in words.
struct Contradiction {
    shift_us: Option<i64>,
    reason: String,
}

impl ColumnZone {
    /// Whether a wall clock has to be placed in a zone to be read.
    #[must_use]
    pub fn is_wall_clock(self) -> bool {
        self != Self::Explicit
    }
}

impl NewestTimes {
    /// Takes in a creation.
    #[inline]
    pub fn observe_created(&mut self, at: UtcTimestamp, now: UtcTimestamp) {
        if Some(at) > self.created && at <= now.saturating_add_micros(MAX_UTC_OFFSET_US + OFFSET_STEP_US) {
            self.created = Some(at);
        }
    }
}

impl GrowthWindow {
    /// The latest growth, given the looks in their order: when, and whether sessions had appeared since the look before.
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
    /// The columns that are not believed, and why.
    #[must_use]
    pub fn find_doubts(&self) -> TimeZoneDoubts {
        let created = self.created.filter(|column| column.zone.is_wall_clock());
        let ends = self.expires.zone.is_wall_clock();
        let of_creation = if ends || created.is_some() { self.find_activity_contradiction() } else { None };
        let of_end = if ends { self.find_expiry_contradiction() } else { None };
        // Columns that are read alike were written alike, as far as anybody can know.
        let alike = ends && created.is_none_or(|column| column.zone == self.expires.zone);
        let end = of_end.as_ref().or(of_creation.as_ref().filter(|_| alike));
        let creation = of_creation.as_ref().or(of_end.as_ref().filter(|_| alike));
        let idle = || if ends { self.find_idle_doubt() } else { None };
        TimeZoneDoubts {
            expires: end.map(|evidence| build_doubt(self.expires, evidence, self.now)).or_else(idle),
            created: created.zip(creation).map(|(column, evidence)| build_doubt(column, evidence, self.now)),
        }
    }

    /// When sessions were created, used or changed: the creation first, and then the other columns.
    fn activity_columns(&self) -> impl Iterator<Item = (usize, TimeColumn<'_>)> {
        let others = self.others.iter().enumerate().map(|(number, column)| (number + 1, *column));
        self.created.map(|column| (0, column)).into_iter().chain(others)
    }

    fn find_activity_contradiction(&self) -> Option<Contradiction> {
        self.find_future_activity()
            .or_else(|| self.find_row_difference())
            .or_else(|| self.find_growth_lag())
            .or_else(|| {
                // An end that names its instant shows what a creation means that names none.
                if self.expires.zone.is_wall_clock() { None } else { self.find_odd_lifetime(-1) }
            })
    }

    fn find_expiry_contradiction(&self) -> Option<Contradiction> {
        let odd = || {
            if self.created?.zone.is_wall_clock() {
                // Which of the two is wrong cannot be told.
                self.find_odd_lifetime(1).map(|evidence| Contradiction { shift_us: None, ..evidence })
            } else {
                self.find_expiry_before_creation().or_else(|| self.find_odd_lifetime(1))
            }
        };
        self.find_future_use().or_else(|| self.find_named_expiry_difference()).or_else(odd)
    }

    /// A session cannot have been created, or used, in the future.
    fn find_future_activity(&self) -> Option<Contradiction> {
        let newest = |number: usize| {
            let mut newest = if number == 0 { self.newest } else { NewestTimes::default() };
            for at in self.rows.iter().filter_map(|row| row.activity_time(number)) {
                newest.observe_created(at, self.now);
            }
            Some(newest.created?.micros_since(self.now))
        };
        let walls = self.activity_columns().filter(|(_, column)| column.zone.is_wall_clock());
        // Of columns that are equally far ahead, the creation is named.
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

    /// The same, where a row names how long before its end it was used.
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
                "by `{}` and the lifetime in the row, sessions were used up to {} in the future",
                self.expires.name,
                format_hours(ahead)
            ),
        })
    }

    /// One event, in two columns of a row, one of which names its instant.
    fn find_row_difference(&self) -> Option<Contradiction> {
        let (walls, named): (Vec<_>, Vec<_>) =
            self.activity_columns().partition(|(_, column)| column.zone.is_wall_clock());
        let pairs = walls.iter().flat_map(|wall| named.iter().map(move |named| (*wall, *named)));
        let mut differing = pairs.filter_map(|((wall, column), (other, truth))| {
            let differences = self.collect_differences(|row| {
                Some(row.activity_time(wall)?.micros_since(row.activity_time(other)?))
            });
            let steps = OffsetSteps::from_differences(&differences, EVENT_TOLERANCE_US);
            // A session that was used since is apart by any time; one that was not by none, or by what clocks differ.
            let agreed = steps.zero_rows == 0
                && 2 * steps.shift_rows >= differences.len()
                && steps.shift_rows >= MIN_AGREEING_ROWS;
            agreed.then(|| Contradiction {
                shift_us: Some(steps.shift_us),
                reason: format!(
                    "`{}` is {} {} `{}` of the same row, which names its time zone",
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

    /// Sessions were first seen hours after what they say of their creation.
    fn find_growth_lag(&self) -> Option<Contradiction> {
        let column = self.created.filter(|column| column.zone.is_wall_clock())?;
        let growth = self.growth?;
        let newest = self.newest.created?;
        // The newest session came between the two looks.
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
                "sessions appeared lately, and the newest `{}` is {} old by the database's clock",
                column.name,
                format_hours(self.now.micros_since(newest))
            ),
        })
    }

    /// The end that is stored, and the one that the row names with its zone.
    fn find_named_expiry_difference(&self) -> Option<Contradiction> {
        let differences = self.collect_differences(|row| Some(row.expires?.micros_since(row.named_expiry?)));
        let steps = OffsetSteps::from_differences(&differences, ROUNDING_TOLERANCE_US);
        let enough = |rows: usize| rows > 0 && rows >= MIN_AGREEING_ROWS.min(differences.len());
        let name = self.expires.name;
        // Use moves an end only further away. Some rows may be of a time when the application was set otherwise; but where
        // an end seems too late, use at regular times explains it as well, unless it would be use in the future.
        let explained = self.rows.iter().any(|row| row.lifetime_us.is_some());
        let agreed = if steps.shift_us < 0 {
            steps.shift_rows > steps.zero_rows || 5 * steps.shift_rows >= differences.len()
        } else {
            !explained && steps.zero_rows == 0 && 2 * steps.shift_rows >= differences.len()
        };
        if agreed && enough(steps.shift_rows) {
            let why = format!(
                "`{name}` is {} {} the end that the same row names with its zone",
                format_hours(steps.shift_us.abs()),
                direction_word(steps.shift_us)
            );
            return Some(Contradiction { shift_us: Some(steps.shift_us), reason: why });
        }
        let early = differences.iter().filter(|by| (-MAX_UTC_OFFSET_US..-MAX_CLOCK_AHEAD_US).contains(*by));
        let (count, most) = early.fold((0, 0), |(count, most), by| (count + 1, by.abs().max(most)));
        (steps.zero_rows == 0 && 2 * count >= differences.len() && enough(count)).then(|| Contradiction {
            shift_us: smallest_offset_from(most).map(|shift| -shift),
            reason: format!(
                "`{name}` is up to {} before the end that the same row names with its zone",
                format_hours(most)
            ),
        })
    }

    /// No session ends before it was created.
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

    /// Sessions live longer or shorter than they usually do, by what clocks differ; `sign` says whose clock that is: 1 for
    /// the end's, -1 for the creation's.
    fn find_odd_lifetime(&self, sign: i64) -> Option<Contradiction> {
        // What rows say of their own lifetimes is known better than what is usual.
        let usual = self.lifetime_us.filter(|_| self.rows.iter().all(|row| row.lifetime_us.is_none()))?;
        let common = self.common_lifetime()?;
        let shift = exact_offset(common - usual)?;
        // Half days and the like are lifetimes that people configure.
        (common > MICROS_PER_DAY && common % (MICROS_PER_DAY / 2) != 0).then(|| Contradiction {
            shift_us: Some(sign * shift),
            reason: format!(
                "`{}` is {} after the creation, not {}",
                self.expires.name,
                format_hours(common),
                format_hours(usual)
            ),
        })
    }

    /// The lifetime that at least half of the rows have, to the quarter of an hour.
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

    /// Nothing seems active, and what ended lately would be in another zone.
    fn find_idle_doubt(&self) -> Option<TimeZoneDoubt> {
        let ColumnZone::AssumedUtc = self.expires.zone else { return None };
        let ended = self.newest.ended?;
        if self.active > 0 || self.now.micros_since(ended) >= MAX_UTC_OFFSET_US || self.is_expiry_confirmed()
        {
            return None;
        }
        let reason = format!(
            "`{}` names no time zone, no session seems active, and the last one ended {} ago: \
             whether it holds UTC or local time cannot be told",
            self.expires.name,
            format_hours(self.now.micros_since(ended))
        );
        Some(TimeZoneDoubt { offset_us: None, reason, is_contradicted: false })
    }

    /// Whether something shows that the end is read as it was written.
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
    /// The creation, or another column by its number from one.
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
    let is = match (column.zone, offset_us) {
        (ColumnZone::Local(zone), Some(offset)) => {
            format!("is not the local time of {}, but about {}", zone.name(), format_utc_offset(offset))
        }
        (ColumnZone::Local(zone), None) => format!("is not the local time of {}", zone.name()),
        (_, Some(offset)) => format!("is stored in local time, about {}", format_utc_offset(offset)),
        (_, None) => "is stored in local time".to_owned(),
    };
    let reason = format!("`{}` {is}: {}", column.name, evidence.reason);
    TimeZoneDoubt { offset_us, reason, is_contradicted: true }
}

/// `UTC-5`, `UTC+5:45`.
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

/// `2.0 h`, `6.8 days`.
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
