//! Local time: whether a column without a time zone holds the wall clock that it is read as, or that of another zone.
//!
//! A wall clock says nothing of its zone, but it can contradict the reading: sessions that were created in the future,
//! or hours before they were first seen; an end that differs from the one that the same row names with its zone. Where
//! nothing contradicts and nothing confirms, a reading stays an assumption, and [`MIN_GRACE`] is what protects.

mod steps;

use std::cmp::Reverse;

use jiff::SignedDuration;

use self::steps::{Steps, at_least, exact, step};
use crate::{
    instant::{Instant, MICROS_PER_DAY, MICROS_PER_HOUR, MICROS_PER_SECOND},
    zone::{MAX_OFFSET, Zone},
};

/// No shorter time after its end is a row removed whose end names no zone: so far can a clock be from UTC.
pub const MIN_GRACE: SignedDuration = SignedDuration::from_micros(MAX_OFFSET);

const MINUTE: i64 = 60 * MICROS_PER_SECOND;
/// Clocks of zones differ by multiples of it.
const STEP: i64 = 15 * MINUTE;
/// A creation that is no farther ahead may be due to clocks that differ a little.
const AHEAD: i64 = 5 * MINUTE;
/// A creation that is no older confirms that the clock is not behind UTC: every zone in the west is an hour or more.
const FRESH: i64 = 45 * MINUTE;
/// How far two instants of one event may be apart that two programs wrote, and that one program wrote.
const APART: i64 = 30 * MICROS_PER_SECOND;
const ROUNDED: i64 = 2 * MICROS_PER_SECOND;
/// How far the clocks of the database and of the program that looks at it may be apart.
const CLOCKS: i64 = 2 * MINUTE;
/// Rows that have to say the same, where there are so many.
const ENOUGH: usize = 2;

/// How far clocks are from UTC, in minutes, wherever people live.
const OFFSETS: [i64; 37] = [
    -720, -660, -600, -570, -540, -480, -420, -360, -300, -240, -210, -180, -150, -120, -60, 60, 120, 180,
    210, 240, 270, 300, 330, 345, 360, 390, 420, 480, 525, 540, 570, 600, 630, 660, 720, 765, 780,
];
/// The same, on summer time or farther east than a day is long.
const FAR_EAST: [i64; 2] = [825, 840];

/// What zone the values of a column are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// They name an instant themselves.
    #[default]
    Named,
    /// They name none, and are read as UTC.
    AssumedUtc,
    /// They name none, and the configuration says that it is this one.
    Local(Zone),
}

/// The newest instants of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Newest {
    /// The latest creation, those left out that are farther in the future than any zone explains.
    pub created: Option<Instant>,
    /// The latest end of a session that has ended.
    pub ended: Option<Instant>,
}

/// When the newest sessions that looks have seen appear came into the table: after one look, until the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// They were not there yet.
    pub after: Instant,
    /// They were there.
    pub until: Instant,
}

/// A row of the sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The end, as it is read.
    pub expires: Option<Instant>,
    /// The creation, as it is read.
    pub created: Option<Instant>,
    /// When the session was created, used or changed by other columns, as they are read.
    pub others: Vec<Option<Instant>>,
    /// The end as the row names it elsewhere, with its zone. The end that is stored may have moved on since.
    pub end_named: Option<Instant>,
    /// The lifetime that the row names, in microseconds: the end was stored so long before.
    pub lifetime_us: Option<i64>,
}

/// What is known of a table.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// By the clock of the database.
    pub now: Instant,
    /// The column of the end.
    pub expires: Column<'a>,
    /// The column of the creation.
    pub created: Option<Column<'a>>,
    /// The other columns of the rows, in their order.
    pub others: &'a [Column<'a>],
    /// The newest instants of the whole table.
    pub newest: Newest,
    /// Sessions that seem active.
    pub active: u64,
    /// Some rows.
    pub rows: &'a [Row],
    /// The lifetime that sessions usually have, in microseconds.
    pub lifetime_us: Option<i64>,
    /// When the table last grew.
    pub growth: Option<Growth>,
}

/// A column, and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// What zone its values are in.
    pub clock: Clock,
}

/// Why a column is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// How far ahead of UTC the clock is that was written, in microseconds; negative in the west; `None` if that does not
    /// show.
    pub offset_us: Option<i64>,
    /// The column, what is wrong with it, and what shows it.
    pub reason: String,
    /// Something contradicts the reading; otherwise nothing confirms it.
    pub contradicted: bool,
}

/// The columns that are not believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// The end.
    pub expires: Option<Doubt>,
    /// The creation.
    pub created: Option<Doubt>,
}

/// What contradicts a reading: by how much it is ahead of the truth, if that shows, and in words.
struct Evidence {
    shift_us: Option<i64>,
    why: String,
}

impl Clock {
    /// Whether a wall clock has to be placed in a zone to be read.
    #[must_use]
    pub fn is_wall(self) -> bool {
        self != Self::Named
    }
}

impl Newest {
    /// Takes in a creation.
    #[inline]
    pub fn see_created(&mut self, at: Instant, now: Instant) {
        if Some(at) > self.created && at <= now.plus_micros(MAX_OFFSET + STEP) {
            self.created = Some(at);
        }
    }
}

impl Growth {
    /// The latest growth, given the looks in their order: when, and whether sessions had appeared since the look before.
    #[must_use]
    pub fn latest(looks: impl IntoIterator<Item = (Instant, bool)>) -> Option<Self> {
        let (mut before, mut latest) = (None, None);
        for (until, grew) in looks {
            if let (true, Some(after)) = (grew, before) {
                latest = Some(Self { after, until });
            }
            before = Some(until);
        }
        latest
    }
}

impl Facts<'_> {
    /// The columns that are not believed, and why.
    #[must_use]
    pub fn doubts(&self) -> Doubts {
        let created = self.created.filter(|column| column.clock.is_wall());
        let ends = self.expires.clock.is_wall();
        let of_creation = if ends || created.is_some() { self.activity_contradicted() } else { None };
        let of_end = if ends { self.end_contradicted() } else { None };
        // Columns that are read alike were written alike, as far as anybody can know.
        let alike = ends && created.is_none_or(|column| column.clock == self.expires.clock);
        let end = of_end.as_ref().or(of_creation.as_ref().filter(|_| alike));
        let creation = of_creation.as_ref().or(of_end.as_ref().filter(|_| alike));
        let idle = || if ends { self.nothing_active() } else { None };
        Doubts {
            expires: end.map(|evidence| doubt(self.expires, evidence, self.now)).or_else(idle),
            created: created.zip(creation).map(|(column, evidence)| doubt(column, evidence, self.now)),
        }
    }

    /// When sessions were created, used or changed: the creation first, and then the other columns.
    fn activities(&self) -> impl Iterator<Item = (usize, Column<'_>)> {
        let others = self.others.iter().enumerate().map(|(number, column)| (number + 1, *column));
        self.created.map(|column| (0, column)).into_iter().chain(others)
    }

    fn activity_contradicted(&self) -> Option<Evidence> {
        self.ahead().or_else(|| self.differs_in_row()).or_else(|| self.behind_growth()).or_else(|| {
            // An end that names its instant shows what a creation means that names none.
            if self.expires.clock.is_wall() { None } else { self.odd_lifetime(-1) }
        })
    }

    fn end_contradicted(&self) -> Option<Evidence> {
        let odd = || {
            if self.created?.clock.is_wall() {
                // Which of the two is wrong cannot be told.
                self.odd_lifetime(1).map(|evidence| Evidence { shift_us: None, ..evidence })
            } else {
                self.ends_before_it_begins().or_else(|| self.odd_lifetime(1))
            }
        };
        self.used_in_the_future().or_else(|| self.differs_from_named_end()).or_else(odd)
    }

    /// A session cannot have been created, or used, in the future.
    fn ahead(&self) -> Option<Evidence> {
        let newest = |number: usize| {
            let mut newest = if number == 0 { self.newest } else { Newest::default() };
            for at in self.rows.iter().filter_map(|row| row.activity(number)) {
                newest.see_created(at, self.now);
            }
            Some(newest.created?.micros_since(self.now))
        };
        let walls = self.activities().filter(|(_, column)| column.clock.is_wall());
        // Of columns that are equally far ahead, the creation is named.
        let found = walls.filter_map(|(number, column)| Some((newest(number)?, Reverse(number), column)));
        let (ahead, _, column) = found.max_by_key(|(ahead, number, _)| (*ahead, *number))?;
        (ahead > AHEAD).then(|| Evidence {
            shift_us: at_least(ahead),
            why: format!("`{}` is up to {} ahead of the database's clock", column.name, hours(ahead)),
        })
    }

    /// The same, where a row names how long before its end it was used.
    fn used_in_the_future(&self) -> Option<Evidence> {
        let used = self.rows.iter().filter_map(|row| Some(row.expires?.plus_micros(-row.lifetime_us?)));
        let ahead =
            used.map(|at| at.micros_since(self.now)).filter(|ahead| *ahead <= MAX_OFFSET + STEP).max()?;
        (ahead > AHEAD).then(|| Evidence {
            shift_us: at_least(ahead),
            why: format!(
                "by `{}` and the lifetime in the row, sessions were used up to {} in the future",
                self.expires.name,
                hours(ahead)
            ),
        })
    }

    /// One event, in two columns of a row, one of which names its instant.
    fn differs_in_row(&self) -> Option<Evidence> {
        let (walls, named): (Vec<_>, Vec<_>) =
            self.activities().partition(|(_, column)| column.clock.is_wall());
        let pairs = walls.iter().flat_map(|wall| named.iter().map(move |named| (*wall, *named)));
        let mut differing = pairs.filter_map(|((wall, column), (other, truth))| {
            let differences =
                self.differences(|row| Some(row.activity(wall)?.micros_since(row.activity(other)?)));
            let steps = Steps::of(&differences, APART);
            // A session that was used since is apart by any time; one that was not by none, or by what clocks differ.
            let agreed = steps.exact == 0 && 2 * steps.most >= differences.len() && steps.most >= ENOUGH;
            agreed.then(|| Evidence {
                shift_us: Some(steps.shift),
                why: format!(
                    "`{}` is {} {} `{}` of the same row, which names its time zone",
                    column.name,
                    hours(steps.shift.abs()),
                    direction(steps.shift),
                    truth.name
                ),
            })
        });
        differing.next()
    }

    fn differences(&self, of: impl Fn(&Row) -> Option<i64>) -> Vec<i64> {
        self.rows.iter().filter_map(of).collect()
    }

    /// Sessions were first seen hours after what they say of their creation.
    fn behind_growth(&self) -> Option<Evidence> {
        let column = self.created.filter(|column| column.clock.is_wall())?;
        let growth = self.growth?;
        let newest = self.newest.created?;
        // The newest session came between the two looks.
        let (least, most) =
            (growth.after.micros_since(newest) - CLOCKS, growth.until.micros_since(newest) + CLOCKS);
        if least < FRESH - CLOCKS {
            return None;
        }
        let behind = OFFSETS.iter().map(|minutes| -minutes * MINUTE).filter(|behind| *behind > 0);
        let behind = behind.filter(|behind| (least..=most).contains(behind)).min()?;
        Some(Evidence {
            shift_us: Some(-behind),
            why: format!(
                "sessions appeared lately, and the newest `{}` is {} old by the database's clock",
                column.name,
                hours(self.now.micros_since(newest))
            ),
        })
    }

    /// The end that is stored, and the one that the row names with its zone.
    fn differs_from_named_end(&self) -> Option<Evidence> {
        let differences = self.differences(|row| Some(row.expires?.micros_since(row.end_named?)));
        let steps = Steps::of(&differences, ROUNDED);
        let enough = |rows: usize| rows > 0 && rows >= ENOUGH.min(differences.len());
        let name = self.expires.name;
        // Use moves an end only further away. Some rows may be of a time when the application was set otherwise; but where
        // an end seems too late, use at regular times explains it as well, unless it would be use in the future.
        let explained = self.rows.iter().any(|row| row.lifetime_us.is_some());
        let agreed = if steps.shift < 0 {
            steps.most > steps.exact || 5 * steps.most >= differences.len()
        } else {
            !explained && steps.exact == 0 && 2 * steps.most >= differences.len()
        };
        if agreed && enough(steps.most) {
            let why = format!(
                "`{name}` is {} {} the end that the same row names with its zone",
                hours(steps.shift.abs()),
                direction(steps.shift)
            );
            return Some(Evidence { shift_us: Some(steps.shift), why });
        }
        let early = differences.iter().filter(|by| (-MAX_OFFSET..-AHEAD).contains(*by));
        let (count, most) = early.fold((0, 0), |(count, most), by| (count + 1, by.abs().max(most)));
        (steps.exact == 0 && 2 * count >= differences.len() && enough(count)).then(|| Evidence {
            shift_us: at_least(most).map(|shift| -shift),
            why: format!(
                "`{name}` is up to {} before the end that the same row names with its zone",
                hours(most)
            ),
        })
    }

    /// No session ends before it was created.
    fn ends_before_it_begins(&self) -> Option<Evidence> {
        let lifetimes = self.differences(|row| Some(row.expires?.micros_since(row.created?)));
        let negative = lifetimes.iter().filter(|lifetime| (-MAX_OFFSET..-MINUTE).contains(*lifetime)).count();
        let agreed =
            negative > 0 && negative >= ENOUGH.min(lifetimes.len()) && 2 * negative >= lifetimes.len();
        agreed.then(|| Evidence {
            shift_us: self
                .lifetime_us
                .and_then(|usual| self.common_lifetime()?.checked_sub(usual))
                .and_then(exact),
            why: format!("`{}` is before the creation of the same row", self.expires.name),
        })
    }

    /// Sessions live longer or shorter than they usually do, by what clocks differ; `sign` says whose clock that is: 1 for
    /// the end's, -1 for the creation's.
    fn odd_lifetime(&self, sign: i64) -> Option<Evidence> {
        // What rows say of their own lifetimes is known better than what is usual.
        let usual = self.lifetime_us.filter(|_| self.rows.iter().all(|row| row.lifetime_us.is_none()))?;
        let common = self.common_lifetime()?;
        let shift = exact(common - usual)?;
        // Half days and the like are lifetimes that people configure.
        (common > MICROS_PER_DAY && common % (MICROS_PER_DAY / 2) != 0).then(|| Evidence {
            shift_us: Some(sign * shift),
            why: format!(
                "`{}` is {} after the creation, not {}",
                self.expires.name,
                hours(common),
                hours(usual)
            ),
        })
    }

    /// The lifetime that at least half of the rows have, to the quarter of an hour.
    fn common_lifetime(&self) -> Option<i64> {
        let lifetimes = self.differences(|row| Some(row.expires?.micros_since(row.created?)));
        let mut steps: Vec<i64> = lifetimes.iter().filter_map(|lifetime| step(*lifetime, APART)).collect();
        steps.sort_unstable();
        let common = steps.chunk_by(|one, other| one == other).max_by_key(|run| run.len())?;
        let agreed = common.len() >= ENOUGH.min(lifetimes.len()) && 2 * common.len() >= lifetimes.len();
        common.first().copied().filter(|_| agreed)
    }

    /// Nothing seems active, and what ended lately would be in another zone.
    fn nothing_active(&self) -> Option<Doubt> {
        let Clock::AssumedUtc = self.expires.clock else { return None };
        let ended = self.newest.ended?;
        if self.active > 0 || self.now.micros_since(ended) >= MAX_OFFSET || self.is_confirmed() {
            return None;
        }
        let reason = format!(
            "`{}` names no time zone, no session seems active, and the last one ended {} ago: \
             whether it holds UTC or local time cannot be told",
            self.expires.name,
            hours(self.now.micros_since(ended))
        );
        Some(Doubt { offset_us: None, reason, contradicted: false })
    }

    /// Whether something shows that the end is read as it was written.
    fn is_confirmed(&self) -> bool {
        let alike = |(_, column): &(usize, Column<'_>)| column.clock == self.expires.clock;
        let fresh = |(number, _): (usize, Column<'_>)| {
            let newest = self.newest.created.filter(|_| number == 0);
            let mut seen = self.rows.iter().filter_map(|row| row.activity(number)).chain(newest);
            seen.any(|at| self.now.micros_since(at).abs() < FRESH)
        };
        let named = self.differences(|row| Some(row.expires?.micros_since(row.end_named?)));
        self.activities().filter(alike).any(fresh) || named.iter().any(|by| by.abs() <= ROUNDED)
    }
}

impl Row {
    /// The creation, or another column by its number from one.
    fn activity(&self, number: usize) -> Option<Instant> {
        match number.checked_sub(1) {
            None => self.created,
            Some(other) => self.others.get(other).copied().flatten(),
        }
    }
}

fn doubt(column: Column<'_>, evidence: &Evidence, now: Instant) -> Doubt {
    let assumed = if let Clock::Local(zone) = column.clock { zone.offset_at(now) } else { 0 };
    let offset_us = evidence.shift_us.map(|shift| shift + assumed);
    let is = match (column.clock, offset_us) {
        (Clock::Local(zone), Some(offset)) => {
            format!("is not the local time of {}, but about {}", zone.name(), utc(offset))
        }
        (Clock::Local(zone), None) => format!("is not the local time of {}", zone.name()),
        (_, Some(offset)) => format!("is stored in local time, about {}", utc(offset)),
        (_, None) => "is stored in local time".to_owned(),
    };
    let reason = format!("`{}` {is}: {}", column.name, evidence.why);
    Doubt { offset_us, reason, contradicted: true }
}

/// `UTC-5`, `UTC+5:45`.
#[must_use]
pub fn utc(offset_us: i64) -> String {
    let minutes = offset_us.abs() / MINUTE;
    let sign = if offset_us < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes / 60, minutes % 60);
    if minutes == 0 { format!("UTC{sign}{hours}") } else { format!("UTC{sign}{hours}:{minutes:02}") }
}

fn direction(shift: i64) -> &'static str {
    if shift < 0 { "before" } else { "after" }
}

/// `2.0 h`, `6.8 days`.
#[expect(clippy::cast_precision_loss, reason = "hours for people")]
fn hours(micros: i64) -> String {
    if micros.abs() > 2 * MICROS_PER_DAY {
        format!("{:.2} days", micros as f64 / MICROS_PER_DAY as f64)
    } else {
        format!("{:.1} h", micros as f64 / MICROS_PER_HOUR as f64)
    }
}

#[cfg(test)]
mod tests;
