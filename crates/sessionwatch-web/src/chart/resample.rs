//! Fewer points for a picture: the mean of each slot of time.

use jiff::SignedDuration;
use sessionwatch_app::app::Period;
use sessionwatch_core::timestamp::UtcTimestamp;

use super::ChartPoint;

/// A gap of this share of the period is a gap in the line.
const LONGEST_GAP_SHARE: i32 = 40;
/// Unless points are farther apart anyway: a gap is then this multiple of their usual distance.
const LONGEST_GAP_RATIO: i32 = 3;

/// Returns at most about `max_points` points. Unknown values, and long times without any value, become one point with
/// `None`, so that no line is drawn through them.
pub(super) fn resample_points(points: &[ChartPoint], period: Period, max_points: usize) -> Vec<ChartPoint> {
    let slots = i32::try_from(max_points.max(1)).unwrap_or(i32::MAX);
    let slot = period.duration() / slots;
    let longest_gap = (period.duration() / LONGEST_GAP_SHARE)
        .max(slot * 2)
        .max(usual_distance(points).unwrap_or_default() * LONGEST_GAP_RATIO);
    let mut resampled: Vec<ChartPoint> = vec![];
    let mut current: Option<SlotMean> = None;
    let mut last: Option<UtcTimestamp> = None;
    for (at, value) in points {
        let is_far = last.is_some_and(|last| at.duration_since(last) > longest_gap);
        let is_next = current.as_ref().is_some_and(|mean| at.duration_since(mean.from) >= slot);
        if is_next || is_far || value.is_none() {
            resampled.extend(current.take().map(SlotMean::into_point));
        }
        let breaks_line = is_far || value.is_none();
        if breaks_line && resampled.last().is_some_and(|(_, value)| value.is_some()) {
            resampled.push((last.filter(|_| is_far).unwrap_or(*at), None));
        }
        if let Some(value) = value {
            current.get_or_insert(SlotMean { from: *at, last: *at, sum: 0.0, count: 0.0 }).add(*at, *value);
        }
        last = Some(*at);
    }
    resampled.extend(current.map(SlotMean::into_point));
    resampled
}

/// Returns the median distance between points.
fn usual_distance(points: &[ChartPoint]) -> Option<SignedDuration> {
    let pairs = points.windows(2);
    let mut distances: Vec<SignedDuration> = pairs.map(|pair| pair[1].0.duration_since(pair[0].0)).collect();
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied()
}

/// The mean of the values in a slot of time.
struct SlotMean {
    from: UtcTimestamp,
    last: UtcTimestamp,
    sum: f64,
    count: f64,
}

impl SlotMean {
    fn add(&mut self, at: UtcTimestamp, value: f64) {
        self.last = at;
        self.sum += value;
        self.count += 1.0;
    }

    fn into_point(self) -> ChartPoint {
        // At its last value, so that the line reaches the latest one.
        (self.last, Some(self.sum / self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> UtcTimestamp {
        UtcTimestamp::UNIX_EPOCH + SignedDuration::from_mins(30_000_000 + minutes)
    }

    #[test]
    fn points_are_averaged_by_slot_and_unknown_values_stay() {
        let period = Period { from: at(0), to: at(400) };
        let points: Vec<ChartPoint> = (0..400).map(|minute| (at(minute), Some(5.0))).collect();
        let few = resample_points(&points, period, 40);
        assert_eq!((few.len(), few[39]), (40, (at(399), Some(5.0))));

        let mut unknown = points.clone();
        for point in &mut unknown[100..110] {
            point.1 = None;
        }
        let gaps = resample_points(&unknown, period, 40).iter().filter(|(_, value)| value.is_none()).count();
        assert_eq!(gaps, 1);

        let mut missing = points;
        missing.drain(100..200);
        let gaps = resample_points(&missing, period, 40).iter().filter(|(_, value)| value.is_none()).count();
        assert_eq!(gaps, 1);
        assert_eq!(resample_points(&[], period, 40), []);

        // Samples of long ago are farther apart than a fortieth of a short period.
        let rare: Vec<ChartPoint> = (0..10).map(|number| (at(number * 40), Some(5.0))).collect();
        assert!(resample_points(&rare, period, 240).iter().all(|(_, value)| value.is_some()));
    }
}
