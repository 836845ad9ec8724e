//! Session stats over time: each check run for two days, five-minute means for two weeks, and hourly means for as long
//! as history is retained.

use std::{collections::BTreeMap, fmt};

use jiff::SignedDuration;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use sessionwatch_core::{
    duration::SECOND,
    local_time::GrowthWindow,
    period::Period,
    time_zone::MAX_UTC_OFFSET_US,
    timestamp::{MICROS_PER_SECOND, UtcTimestamp},
};

use crate::{StoreError, transaction::Tx};

/// The finer resolutions in seconds (0: every run), each with its retention.
const FINE_RESOLUTIONS: [(i64, SignedDuration); 2] =
    [(0, SignedDuration::from_hours(2 * 24)), (300, SignedDuration::from_hours(14 * 24))];
/// The coarsest resolution, in seconds. Retained as long as all history.
const HOURLY_RESOLUTION_SECS: i64 = 3_600;

/// Gauges by name: mean, minimum and maximum.
pub type GaugeValues = BTreeMap<String, [f64; 3]>;

/// One point of a time series.
#[derive(Clone, Debug, PartialEq)]
pub struct GaugeSample {
    /// Start of the bucket.
    pub at: UtcTimestamp,
    /// Number of check runs in the bucket.
    pub runs: u64,
    /// Number of these runs that failed.
    pub failed_runs: u64,
    /// Gauges of the successful runs.
    pub gauges: GaugeValues,
}

impl GaugeSample {
    /// Returns the point of a single run; `None` stands for a failed run.
    #[must_use]
    pub fn from_run(at: UtcTimestamp, seen: Option<&[(&'static str, f64)]>) -> Self {
        let gauges = seen.unwrap_or_default().iter().map(|(name, value)| ((*name).to_owned(), [*value; 3]));
        Self { at, runs: 1, failed_runs: u64::from(seen.is_none()), gauges: gauges.collect() }
    }

    /// Merges another point into this one, weighting means by successful runs.
    #[expect(clippy::cast_precision_loss, reason = "a mean of gauges; counts stay below 2^53")]
    pub fn merge_sample(&mut self, other: &Self) {
        // Failed runs have no values, so they carry no weight.
        let (here, there) = ((self.runs - self.failed_runs) as f64, (other.runs - other.failed_runs) as f64);
        for (name, [mean, low, high]) in &other.gauges {
            // A gauge may be missing in earlier runs, for example before an upgrade.
            let merged = self.gauges.entry(name.clone()).or_insert([*mean, *low, *high]);
            // A bucket of failed runs only has no gauges to average with.
            if here > 0.0 {
                let mean = (merged[0] * here + mean * there) / (here + there).max(1.0);
                *merged = [mean, merged[1].min(*low), merged[2].max(*high)];
            }
        }
        self.runs += other.runs;
        self.failed_runs += other.failed_runs;
    }
}

/// The retention of samples.
#[derive(Clone, Copy, Debug)]
pub struct SampleRetention {
    /// Retention of the coarsest resolution.
    pub max_age: SignedDuration,
    /// The confirmed time; see [`crate::confirmed_time`].
    pub confirmed_now: UtcTimestamp,
}

/// Stores a run, merges it into the coarser resolutions, and deletes points past their retention.
///
/// # Errors
///
/// If the store cannot be written.
pub fn record_sample(
    db: Tx<'_>,
    target: &str,
    point: &GaugeSample,
    retention: SampleRetention,
) -> Result<(), StoreError> {
    for resolution in [0, 300, HOURLY_RESOLUTION_SECS] {
        let start = bucket_start(point.at, resolution);
        // Aligned to the bucket, so that all runs of a bucket update the same row.
        let mut merged = GaugeSample { at: start, ..point.clone() };
        let before = db.query_row(
            "SELECT at, looks, blind, gauges FROM samples WHERE target = $1 AND resolution = $2 AND at = $3",
            &[target.into(), resolution.into(), start.into()],
        )?;
        // Read and merged here, because the databases have no common JSON functions.
        if let Some(row) = before {
            let mut earlier = sample_from_row(&row)?;
            earlier.merge_sample(&merged);
            merged = earlier;
        }
        upsert_sample(db, target, resolution, &merged)?;
    }
    for (resolution, max_age) in
        FINE_RESOLUTIONS.into_iter().chain([(HOURLY_RESOLUTION_SECS, SignedDuration::MAX)])
    {
        // The configured retention also shortens the finer resolutions.
        let before = retention.confirmed_now - max_age.min(retention.max_age);
        db.execute(
            "DELETE FROM samples WHERE target = $1 AND resolution = $2 AND at < $3",
            &[target.into(), resolution.into(), before.into()],
        )?;
    }
    Ok(())
}

/// Stores runs of a target that has no samples yet, oldest first, in every resolution that retains them at `now`.
///
/// # Errors
///
/// If the store cannot be written.
pub fn insert_past_runs(
    db: Tx<'_>,
    target: &str,
    runs: &[GaugeSample],
    now: UtcTimestamp,
) -> Result<(), StoreError> {
    let coarsest = [(HOURLY_RESOLUTION_SECS, SignedDuration::MAX)];
    for (resolution, max_age) in FINE_RESOLUTIONS.into_iter().chain(coarsest) {
        let retained = runs.iter().filter(|run| now.duration_since(run.at) < max_age);
        let mut bucket: Option<GaugeSample> = None;
        for run in retained {
            let start = bucket_start(run.at, resolution);
            match &mut bucket {
                Some(merged) if merged.at == start => merged.merge_sample(run),
                _ => {
                    let next = Some(GaugeSample { at: start, ..run.clone() });
                    if let Some(complete) = std::mem::replace(&mut bucket, next) {
                        upsert_sample(db, target, resolution, &complete)?;
                    }
                }
            }
        }
        if let Some(complete) = bucket {
            upsert_sample(db, target, resolution, &complete)?;
        }
    }
    Ok(())
}

fn upsert_sample(db: Tx<'_>, target: &str, resolution: i64, sample: &GaugeSample) -> Result<(), StoreError> {
    let gauges = encode_gauges(&sample.gauges);
    let [runs, failed_runs] =
        [sample.runs, sample.failed_runs].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    db.execute(
        "INSERT INTO samples (target, resolution, at, looks, blind, gauges) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (target, resolution, at) DO UPDATE SET looks = excluded.looks, blind = excluded.blind, \
         gauges = excluded.gauges",
        &[
            target.into(),
            resolution.into(),
            sample.at.into(),
            runs.into(),
            failed_runs.into(),
            gauges.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Returns the start of the bucket that contains an instant.
fn bucket_start(at: UtcTimestamp, resolution: i64) -> UtcTimestamp {
    let width = (resolution * MICROS_PER_SECOND).max(1);
    // Euclidean, so that buckets before 1970 are as wide as all others.
    UtcTimestamp::from_micros(at.micros().div_euclid(width) * width).unwrap_or(at)
}

/// Returns the points of a target in a period, in the finest resolution that reaches back to its start.
///
/// # Errors
///
/// If the store cannot be read.
pub fn list_samples_between(
    db: Tx<'_>,
    target: &str,
    Period { from, to }: Period,
    now: UtcTimestamp,
) -> Result<Vec<GaugeSample>, StoreError> {
    // One resolution for the whole period: a chart must not mix points of different widths.
    // By age and not by length: older points exist only in coarser resolutions.
    let fine = FINE_RESOLUTIONS.into_iter().find(|(_, max_age)| now.duration_since(from) <= *max_age);
    let resolution = fine.map_or(HOURLY_RESOLUTION_SECS, |(resolution, _)| resolution);
    let rows = db.query_rows(
        "SELECT at, looks, blind, gauges FROM samples WHERE target = $1 AND resolution = $2 AND at >= $3 \
         AND at < $4 ORDER BY at",
        // Aligned, so that the bucket in which the period starts is included.
        &[target.into(), resolution.into(), bucket_start(from, resolution).into(), to.into()],
    )?;
    rows.iter().map(sample_from_row).collect()
}

/// Returns the last successful run in a period. Returns `None` if there was none, or single runs of that time are no
/// longer retained.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_last_successful_sample(
    db: Tx<'_>,
    target: &str,
    Period { from, to }: Period,
) -> Result<Option<GaugeSample>, StoreError> {
    let row = db.query_row(
        "SELECT at, looks, blind, gauges FROM samples WHERE target = $1 AND resolution = 0 AND at >= $2 \
         AND at < $3 AND looks > blind
         ORDER BY at DESC LIMIT 1",
        &[target.into(), from.into(), to.into()],
    )?;
    row.map(|row| sample_from_row(&row)).transpose()
}

/// Returns the window in which sessions were last created in a target, according to successful runs.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_session_growth(
    db: Tx<'_>,
    target: &str,
    now: UtcTimestamp,
) -> Result<Option<GrowthWindow>, StoreError> {
    let looks = list_samples_between(
        db,
        target,
        // The largest UTC offset is how far a clock in a wrong time zone can shift the creation times.
        Period { from: now - SignedDuration::from_micros(MAX_UTC_OFFSET_US), to: now + SECOND },
        now,
    )?;
    let value = |point: &GaugeSample, name: &str| point.gauges.get(name).map(|[mean, ..]| *mean);
    let mut before = None;
    let looks = looks.iter().filter_map(|point| {
        let stored = value(point, "stored")?;
        let grew = match value(point, "created") {
            // Reappeared sessions count as created, but are not new.
            Some(created) => created > value(point, "reappeared").unwrap_or(0.0),
            // Without the number of created sessions, only a growing table proves that some were created.
            None => before.is_some_and(|before| stored > before),
        };
        before = Some(stored);
        Some((point.at, grew))
    });
    Ok(GrowthWindow::find_latest(looks))
}

/// Returns the time of a target's last check run.
///
/// # Errors
///
/// If the store cannot be read.
pub fn last_run_at(db: Tx<'_>, target: &str) -> Result<Option<UtcTimestamp>, StoreError> {
    let row =
        db.query_row("SELECT MAX(at) FROM samples WHERE target = $1 AND resolution = 0", &[target.into()])?;
    row.map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

/// The last check run of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// Time of the run.
    pub at: UtcTimestamp,
    /// `true` if the session table could be read.
    pub succeeded: bool,
}

/// Returns the last check run of a target within two days.
///
/// # Errors
///
/// If the store cannot be read.
pub fn find_last_run(db: Tx<'_>, target: &str) -> Result<Option<LastRun>, StoreError> {
    let row = db.query_row(
        "SELECT at, CASE WHEN looks > blind THEN 1 ELSE 0 END FROM samples
         WHERE target = $1 AND resolution = 0 ORDER BY at DESC LIMIT 1",
        &[target.into()],
    )?;
    row.map(|row| Ok(LastRun { at: row.read_timestamp(0)?, succeeded: row.read_bool(1)? })).transpose()
}

/// Returns the time of a target's last successful check run: exact for two days, then to five minutes, then to the
/// hour.
///
/// # Errors
///
/// If the store cannot be read.
pub fn last_success_at(db: Tx<'_>, target: &str) -> Result<Option<UtcTimestamp>, StoreError> {
    let row =
        db.query_row("SELECT MAX(at) FROM samples WHERE target = $1 AND looks > blind", &[target.into()])?;
    row.map_or(Ok(None), |row| row.read_optional_timestamp(0))
}

fn sample_from_row(row: &super::row::StoreRow) -> Result<GaugeSample, StoreError> {
    Ok(GaugeSample {
        at: row.read_timestamp(0)?,
        runs: row.read_u64(1)?,
        failed_runs: row.read_u64(2)?,
        gauges: row.decode_text(3, decode_gauges)?,
    })
}

/// Encodes gauges as JSON: one number if mean, minimum and maximum are equal, as they mostly are, otherwise all three.
fn encode_gauges(gauges: &GaugeValues) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "only where nothing is lost")]
    let number = |value: f64| {
        // Whole numbers are written without a fraction, which keeps most samples short.
        let whole = value as i64;
        if whole as f64 == value { Value::from(whole) } else { Value::from(value) }
    };
    let gauge = |[mean, low, high]: &[f64; 3]| {
        // By bits, since comparing floats for equality is what is meant here.
        let same = mean.to_bits() == low.to_bits() && mean.to_bits() == high.to_bits();
        if same { number(*mean) } else { Value::from([*mean, *low, *high].map(number).to_vec()) }
    };
    let gauges: Map<String, Value> =
        gauges.iter().map(|(name, values)| (name.clone(), gauge(values))).collect();
    Value::Object(gauges).to_string()
}

/// Decodes gauges. Returns `None` for any other JSON.
fn decode_gauges(text: &str) -> Option<GaugeValues> {
    let gauges: BTreeMap<String, StoredGauge> = serde_json::from_str(text).ok()?;
    Some(gauges.into_iter().map(|(name, gauge)| (name, gauge.0)).collect())
}

/// Mean, minimum and maximum of a gauge. A page decodes thousands of them, so no JSON document is built in between.
struct StoredGauge([f64; 3]);

impl<'de> Deserialize<'de> for StoredGauge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StoredGaugeVisitor)
    }
}

struct StoredGaugeVisitor;

impl<'de> Visitor<'de> for StoredGaugeVisitor {
    type Value = StoredGauge;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number, or three numbers")
    }

    fn visit_f64<E>(self, value: f64) -> Result<StoredGauge, E> {
        Ok(StoredGauge([value; 3]))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn visit_i64<E>(self, value: i64) -> Result<StoredGauge, E> {
        Ok(StoredGauge([value as f64; 3]))
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    fn visit_u64<E>(self, value: u64) -> Result<StoredGauge, E> {
        Ok(StoredGauge([value as f64; 3]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<StoredGauge, A::Error> {
        let mut next = || values.next_element::<f64>();
        match [next()?, next()?, next()?, next()?] {
            // Exactly three, or the sample is undecodable.
            [Some(mean), Some(low), Some(high), None] => Ok(StoredGauge([mean, low, high])),
            _ => Err(A::Error::custom("not three numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use sessionwatch_core::duration::{DAY, HOUR};

    use super::*;
    use crate::tests::store_of_each_kind;

    fn keep(confirmed_now: UtcTimestamp, max_age: SignedDuration) -> SampleRetention {
        SampleRetention { max_age, confirmed_now }
    }

    #[test]
    fn the_latest_growth_is_that_of_the_last_run_that_saw_new_sessions() {
        for store in store_of_each_kind() {
            let at = |minute: i64| UtcTimestamp::UNIX_EPOCH + 100 * DAY + SignedDuration::from_mins(minute);
            let put = |minute: i64, seen: Option<&[(&'static str, f64)]>| {
                store
                    .write(|db| {
                        record_sample(
                            db,
                            "app",
                            &GaugeSample::from_run(at(minute), seen),
                            keep(at(minute), 400 * DAY),
                        )
                    })
                    .unwrap();
            };
            let growth = |minute: i64| store.read(|db| find_session_growth(db, "app", at(minute))).unwrap();
            let grown = |after, until| Some(GrowthWindow { after: at(after), until: at(until) });
            assert_eq!(growth(0), None);
            put(1, Some(&[("stored", 5.0)]));
            assert_eq!(growth(1), None, "nothing to compare with");
            put(2, Some(&[("stored", 6.0), ("created", 1.0), ("reappeared", 0.0)]));
            assert_eq!(growth(2), grown(1, 2));
            // As many sessions ended as were created.
            put(3, Some(&[("stored", 6.0), ("created", 2.0), ("reappeared", 0.0)]));
            assert_eq!(growth(3), grown(2, 3));
            // Restored sessions are not new, and a failed run shows nothing.
            put(4, Some(&[("stored", 9.0), ("created", 3.0), ("reappeared", 3.0)]));
            put(5, None);
            assert_eq!(growth(5), grown(2, 3));
            // An engine that computes no diff still counts stored sessions.
            put(6, Some(&[("stored", 10.0)]));
            assert_eq!(growth(6), grown(4, 6));
            assert_eq!(growth(6 + 15 * 60), None, "too long ago for any zone");
        }
    }

    #[test]
    fn past_runs_are_stored_as_if_each_had_been_recorded() {
        for store in store_of_each_kind() {
            let start = UtcTimestamp::UNIX_EPOCH + 100 * DAY;
            let runs: Vec<GaugeSample> = (0..90)
                .map(|number: i32| {
                    let at = start + SignedDuration::from_mins(17) * number;
                    GaugeSample::from_run(at, Some(&[("active", f64::from(number))]))
                })
                .collect();
            let now = runs[89].at;
            store.write(|db| insert_past_runs(db, "imported", &runs, now)).unwrap();
            for run in &runs {
                store.write(|db| record_sample(db, "recorded", run, keep(now, 400 * DAY))).unwrap();
            }
            for from in [now - HOUR, now - 3 * DAY, now - 20 * DAY] {
                let period = Period { from, to: now + SECOND };
                let list = |target: &'static str| {
                    store.read(|db| list_samples_between(db, target, period, now)).unwrap()
                };
                assert_eq!(list("imported"), list("recorded"));
                assert!(!list("imported").is_empty());
            }
        }
    }

    #[test]
    fn runs_are_rolled_up_and_pruned() {
        for store in store_of_each_kind() {
            let at = |minute: i64| UtcTimestamp::UNIX_EPOCH + 100 * DAY + SignedDuration::from_mins(minute);
            for minute in 0..120 {
                let point =
                    GaugeSample::from_run(at(minute), (minute != 7).then_some(&[("active", minute as f64)]));
                store.write(|db| record_sample(db, "app", &point, keep(point.at, 400 * DAY))).unwrap();
            }
            let points = |from, to, now| {
                store.read(|db| list_samples_between(db, "app", Period { from, to }, now)).unwrap()
            };
            assert_eq!(points(at(0), at(120), at(120)).len(), 120);
            // Three days later only the coarser resolutions reach back that far.
            let fine = points(at(0), at(120), at(120) + 3 * DAY);
            assert_eq!(fine.len(), 24);
            assert_eq!((fine[1].runs, fine[1].failed_runs), (5, 1));
            assert_eq!(fine[1].gauges["active"], [(5.0 + 6.0 + 8.0 + 9.0) / 4.0, 5.0, 9.0]);
            let hourly = points(at(0), at(120), at(120) + 30 * DAY);
            assert_eq!(hourly.len(), 2);
            assert_eq!(hourly[1].gauges["active"], [89.5, 60.0, 119.0]);
            let late = GaugeSample::from_run(at(0) + 20 * DAY, Some(&[("active", 1.0)]));
            store.write(|db| record_sample(db, "app", &late, keep(late.at, 400 * DAY))).unwrap();
            let left = |resolution: i64| {
                let query = "SELECT COUNT(*) FROM samples WHERE resolution = $1";
                store
                    .read(|db| db.query_row(query, &[resolution.into()]))
                    .unwrap()
                    .unwrap()
                    .read_u64(0)
                    .unwrap()
            };
            assert_eq!([0, 300, 3_600].map(left), [1, 1, 3]);
            assert_eq!(store.read(|db| last_run_at(db, "app")).unwrap(), Some(late.at));
            let end = GaugeSample::from_run(late.at + HOUR, None);
            store.write(|db| record_sample(db, "app", &end, keep(end.at, DAY))).unwrap();
            assert_eq!(left(3_600), 2, "limited by the retention of history");
        }
    }
}
