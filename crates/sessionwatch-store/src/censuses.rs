//! Censuses: gauges of a target over time. Single looks for two days, five-minute means for two weeks, hourly ones for as
//! long as history is kept.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Map, Value};
use sessionwatch_core::{
    duration::SECOND,
    instant::{Instant, MICROS_PER_SECOND},
    local_time::Growth,
    period::Period,
    zone::MAX_OFFSET,
};

use crate::{StoreError, db::Db};

/// Resolutions in seconds, and how long each is kept; the coarsest is kept for as long as all history.
const STEPS: [(i64, SignedDuration); 2] =
    [(0, SignedDuration::from_hours(2 * 24)), (300, SignedDuration::from_hours(14 * 24))];
/// The coarsest resolution, in seconds.
const HOURLY: i64 = 3_600;

/// Gauges by name: the mean, the lowest and the highest.
pub type Gauges = BTreeMap<String, [f64; 3]>;

/// One point in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When it begins.
    pub at: Instant,
    /// Looks that are in it.
    pub looks: u64,
    /// Those among them that saw nothing.
    pub blind: u64,
    /// What the others saw.
    pub gauges: Gauges,
}

impl Point {
    /// The point of a single look; nothing seen is a blind one.
    #[must_use]
    pub fn of(at: Instant, seen: Option<&[(&'static str, f64)]>) -> Self {
        let gauges = seen.unwrap_or_default().iter().map(|(name, value)| ((*name).to_owned(), [*value; 3]));
        Self { at, looks: 1, blind: u64::from(seen.is_none()), gauges: gauges.collect() }
    }

    /// Takes another one in.
    #[expect(clippy::cast_precision_loss, reason = "a mean of gauges; counts stay below 2^53")]
    pub fn merge(&mut self, other: &Self) {
        let (here, there) = ((self.looks - self.blind) as f64, (other.looks - other.blind) as f64);
        for (name, [mean, low, high]) in &other.gauges {
            let merged = self.gauges.entry(name.clone()).or_insert([*mean, *low, *high]);
            if here > 0.0 {
                let mean = (merged[0] * here + mean * there) / (here + there).max(1.0);
                *merged = [mean, merged[1].min(*low), merged[2].max(*high)];
            }
        }
        self.looks += other.looks;
        self.blind += other.blind;
    }
}

/// How long looks are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How long the coarsest resolution is kept.
    pub keep: SignedDuration,
    /// An instant that has certainly passed.
    pub passed: Instant,
}

/// Keeps a look, takes it into the coarser resolutions, and forgets what has passed its time.
///
/// # Errors
///
/// If it cannot be written.
pub fn put(db: Db<'_>, target: &str, point: &Point, retention: Retention) -> Result<(), StoreError> {
    for resolution in [0, 300, HOURLY] {
        let start = start_of(point.at, resolution);
        let mut merged = Point { at: start, ..point.clone() };
        let before = db.row(
            "SELECT at, looks, blind, gauges FROM censuses WHERE target = $1 AND resolution = $2 AND at = $3",
            &[target.into(), resolution.into(), start.into()],
        )?;
        if let Some(row) = before {
            let mut earlier = read(&row)?;
            earlier.merge(&merged);
            merged = earlier;
        }
        let gauges = written(&merged.gauges);
        let [looks, blind] =
            [merged.looks, merged.blind].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        db.run(
            "INSERT INTO censuses (target, resolution, at, looks, blind, gauges) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (target, resolution, at) DO UPDATE SET looks = excluded.looks, blind = excluded.blind, gauges = excluded.gauges",
            &[target.into(), resolution.into(), start.into(), looks.into(), blind.into(), gauges.as_str().into()],
        )?;
    }
    for (resolution, kept) in STEPS.into_iter().chain([(HOURLY, SignedDuration::MAX)]) {
        let before = retention.passed - kept.min(retention.keep);
        db.run(
            "DELETE FROM censuses WHERE target = $1 AND resolution = $2 AND at < $3",
            &[target.into(), resolution.into(), before.into()],
        )?;
    }
    Ok(())
}

/// The begin of the point of a resolution in which an instant is.
fn start_of(at: Instant, resolution: i64) -> Instant {
    let width = (resolution * MICROS_PER_SECOND).max(1);
    Instant::from_micros(at.micros().div_euclid(width) * width).unwrap_or(at)
}

/// The points of a target between two instants, in the finest resolution that goes back so far.
///
/// # Errors
///
/// If they cannot be read.
pub fn between(
    db: Db<'_>,
    target: &str,
    Period { from, to }: Period,
    now: Instant,
) -> Result<Vec<Point>, StoreError> {
    let fine = STEPS.into_iter().find(|(_, kept)| now.duration_since(from) <= *kept);
    let resolution = fine.map_or(HOURLY, |(resolution, _)| resolution);
    let rows = db.rows(
        "SELECT at, looks, blind, gauges FROM censuses WHERE target = $1 AND resolution = $2 AND at >= $3 AND at < $4 ORDER BY at",
        &[target.into(), resolution.into(), start_of(from, resolution).into(), to.into()],
    )?;
    rows.iter().map(read).collect()
}

/// What the last look of a period found that saw something; nothing once single looks of that time are no longer kept.
///
/// # Errors
///
/// If it cannot be read.
pub fn last_look(db: Db<'_>, target: &str, Period { from, to }: Period) -> Result<Option<Point>, StoreError> {
    let row = db.row(
        "SELECT at, looks, blind, gauges FROM censuses WHERE target = $1 AND resolution = 0 AND at >= $2 AND at < $3 AND looks > blind
         ORDER BY at DESC LIMIT 1",
        &[target.into(), from.into(), to.into()],
    )?;
    row.map(|row| read(&row)).transpose()
}

/// When sessions last appeared in a target, by what looks found that saw something.
///
/// # Errors
///
/// If it cannot be read.
pub fn growth(db: Db<'_>, target: &str, now: Instant) -> Result<Option<Growth>, StoreError> {
    let looks = between(
        db,
        target,
        Period { from: now - SignedDuration::from_micros(MAX_OFFSET), to: now + SECOND },
        now,
    )?;
    let value = |point: &Point, name: &str| point.gauges.get(name).map(|[mean, ..]| *mean);
    let mut before = None;
    let looks = looks.iter().filter_map(|point| {
        let stored = value(point, "stored")?;
        let grew = match value(point, "created") {
            // What came back had been there.
            Some(created) => created > value(point, "revived").unwrap_or(0.0),
            None => before.is_some_and(|before| stored > before),
        };
        before = Some(stored);
        Some((point.at, grew))
    });
    Ok(Growth::latest(looks))
}

/// When a target was last looked at.
///
/// # Errors
///
/// If it cannot be read.
pub fn last(db: Db<'_>, target: &str) -> Result<Option<Instant>, StoreError> {
    let row =
        db.row("SELECT MAX(at) FROM censuses WHERE target = $1 AND resolution = 0", &[target.into()])?;
    row.map_or(Ok(None), |row| row.maybe_instant(0))
}

/// When a run last succeeded on a target: exactly for two days, then to five minutes, then to the hour.
///
/// # Errors
///
/// If it cannot be read.
pub fn last_seen(db: Db<'_>, target: &str) -> Result<Option<Instant>, StoreError> {
    let row = db.row("SELECT MAX(at) FROM censuses WHERE target = $1 AND looks > blind", &[target.into()])?;
    row.map_or(Ok(None), |row| row.maybe_instant(0))
}

fn read(row: &super::row::Row) -> Result<Point, StoreError> {
    Ok(Point {
        at: row.instant(0)?,
        looks: row.count(1)?,
        blind: row.count(2)?,
        gauges: row.decoded(3, gauges)?,
    })
}

/// Gauges as JSON: one number where mean, lowest and highest are the same, as they mostly are.
fn written(gauges: &Gauges) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "only where nothing is lost")]
    let number = |value: f64| {
        let whole = value as i64;
        if whole as f64 == value { Value::from(whole) } else { Value::from(value) }
    };
    let gauge = |[mean, low, high]: &[f64; 3]| {
        let same = mean.to_bits() == low.to_bits() && mean.to_bits() == high.to_bits();
        if same { number(*mean) } else { Value::from([*mean, *low, *high].map(number).to_vec()) }
    };
    let gauges: Map<String, Value> =
        gauges.iter().map(|(name, values)| (name.clone(), gauge(values))).collect();
    Value::Object(gauges).to_string()
}

/// Gauges as written. Returns `None` for anything else.
fn gauges(text: &str) -> Option<Gauges> {
    let gauge = |value: &Value| match value {
        Value::Array(values) => {
            let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
            numbers?.try_into().ok()
        }
        value => value.as_f64().map(|value| [value; 3]),
    };
    let gauges: Map<String, Value> = serde_json::from_str(text).ok()?;
    gauges.iter().map(|(name, value)| Some((name.clone(), gauge(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::{DAY, HOUR};

    use super::*;
    use crate::tests::both;

    fn keep(passed: Instant, keep: SignedDuration) -> Retention {
        Retention { keep, passed }
    }

    #[test]
    fn the_latest_growth_is_that_of_the_last_run_that_saw_sessions_appear() {
        for store in both() {
            let at = |minute: i64| Instant::UNIX_EPOCH + 100 * DAY + SignedDuration::from_mins(minute);
            let put = |minute: i64, seen: Option<&[(&'static str, f64)]>| {
                store
                    .write(|db| put(db, "app", &Point::of(at(minute), seen), keep(at(minute), 400 * DAY)))
                    .unwrap();
            };
            let growth = |minute: i64| store.read(|db| growth(db, "app", at(minute))).unwrap();
            let grown = |after, until| Some(Growth { after: at(after), until: at(until) });
            assert_eq!(growth(0), None);
            put(1, Some(&[("stored", 5.0)]));
            assert_eq!(growth(1), None, "nothing to compare with");
            put(2, Some(&[("stored", 6.0), ("created", 1.0), ("revived", 0.0)]));
            assert_eq!(growth(2), grown(1, 2));
            // As many rows went as came.
            put(3, Some(&[("stored", 6.0), ("created", 2.0), ("revived", 0.0)]));
            assert_eq!(growth(3), grown(2, 3));
            // What was put back had been there, and a run that saw nothing says nothing.
            put(4, Some(&[("stored", 9.0), ("created", 3.0), ("revived", 3.0)]));
            put(5, None);
            assert_eq!(growth(5), grown(2, 3));
            // An engine that does not compare counts all the same.
            put(6, Some(&[("stored", 10.0)]));
            assert_eq!(growth(6), grown(4, 6));
            assert_eq!(growth(6 + 15 * 60), None, "too long ago for any zone");
        }
    }

    #[test]
    fn looks_are_rolled_up_and_forgotten_in_time() {
        for store in both() {
            let at = |minute: i64| Instant::UNIX_EPOCH + 100 * DAY + SignedDuration::from_mins(minute);
            for minute in 0..120 {
                let point = Point::of(at(minute), (minute != 7).then_some(&[("active", minute as f64)]));
                store.write(|db| put(db, "app", &point, keep(point.at, 400 * DAY))).unwrap();
            }
            let points =
                |from, to, now| store.read(|db| between(db, "app", Period { from, to }, now)).unwrap();
            assert_eq!(points(at(0), at(120), at(120)).len(), 120);
            // Three days later only the coarser ones are asked for.
            let fine = points(at(0), at(120), at(120) + 3 * DAY);
            assert_eq!(fine.len(), 24);
            assert_eq!((fine[1].looks, fine[1].blind), (5, 1));
            assert_eq!(fine[1].gauges["active"], [(5.0 + 6.0 + 8.0 + 9.0) / 4.0, 5.0, 9.0]);
            let hourly = points(at(0), at(120), at(120) + 30 * DAY);
            assert_eq!(hourly.len(), 2);
            assert_eq!(hourly[1].gauges["active"], [89.5, 60.0, 119.0]);
            let late = Point::of(at(0) + 20 * DAY, Some(&[("active", 1.0)]));
            store.write(|db| put(db, "app", &late, keep(late.at, 400 * DAY))).unwrap();
            let left = |resolution: i64| {
                let query = "SELECT COUNT(*) FROM censuses WHERE resolution = $1";
                store.read(|db| db.row(query, &[resolution.into()])).unwrap().unwrap().count(0).unwrap()
            };
            assert_eq!([0, 300, 3_600].map(left), [1, 1, 3]);
            assert_eq!(store.read(|db| last(db, "app")).unwrap(), Some(late.at));
            let end = Point::of(late.at + HOUR, None);
            store.write(|db| put(db, "app", &end, keep(end.at, DAY))).unwrap();
            assert_eq!(left(3_600), 2, "no longer than history is kept");
        }
    }
}
