//! Axes: round values, and full hours or days.

use jiff::SignedDuration;
use sessionwatch_app::app::Period;
use sessionwatch_clock as clock;
use sessionwatch_core::{duration::HOUR, timestamp::UtcTimestamp};

/// Limits above this multiple of the highest value are left out of the scale: they would flatten the line.
const MAX_LIMIT_RATIO: f64 = 3.0;

/// Returns the upper end of the y-axis: a round number that is at least the highest value.
pub(super) fn axis_end(values: impl Iterator<Item = f64>, limits: impl Iterator<Item = f64>) -> f64 {
    // At least 1, or a flat line at zero would divide by zero.
    let highest = values.fold(1.0, f64::max);
    let highest = limits.filter(|limit| *limit <= highest * MAX_LIMIT_RATIO).fold(highest, f64::max);
    let step = 10_f64.powf(highest.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|factor| factor * step)
        .find(|end| *end >= highest)
        .unwrap_or(highest)
}

/// Returns instants and labels of the ticks on the x-axis, about `wanted` of them.
pub(super) fn time_ticks(period: Period, wanted: i32) -> Vec<(UtcTimestamp, String)> {
    const STEPS_IN_MINUTES: [i64; 14] =
        [5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080, 43_200, 86_400];
    let steps = STEPS_IN_MINUTES.into_iter().map(SignedDuration::from_mins);
    let step = steps.into_iter().find(|step| period.duration() <= *step * wanted).unwrap_or(90 * 24 * HOUR);
    let minutes = step.as_mins();
    let begun = period.from.duration_since(UtcTimestamp::UNIX_EPOCH).as_mins() / minutes * minutes;
    let first = UtcTimestamp::UNIX_EPOCH + SignedDuration::from_mins(begun) + step;
    std::iter::successors(Some(first), |at| Some(*at + step))
        .take_while(|at| *at < period.to)
        .map(|at| (at, tick_label(at, step)))
        .collect()
}

/// Returns the hour and minute, or the day.
fn tick_label(at: UtcTimestamp, step: SignedDuration) -> String {
    let text = clock::format_utc(at);
    // Slices of the ISO format.
    if step < 24 * HOUR { text[11..16].to_owned() } else { clock::format_day(at) }
}
