//! Differences between clocks, as multiples of a quarter of an hour.

use super::{
    CLOCK_SKEW_TOLERANCE_US, FAR_EAST_OFFSETS_MINUTES, MINUTE_US, OFFSET_STEP_US, UTC_OFFSETS_MINUTES,
};

/// How differences stand to multiples of a quarter of an hour.
#[derive(Default)]
pub(super) struct OffsetSteps {
    /// Rows without a difference.
    pub(super) zero_rows: usize,
    /// The multiple that most rows have, and how many they are.
    pub(super) shift_us: i64,
    pub(super) shift_rows: usize,
}

impl OffsetSteps {
    pub(super) fn from_differences(differences: &[i64], apart: i64) -> Self {
        let near =
            |by: &i64| nearest_step(*by, apart).filter(|step| *step == 0 || exact_offset(*step).is_some());
        let mut found: Vec<i64> = differences.iter().filter_map(near).collect();
        found.sort_unstable();
        let mut steps = Self::default();
        for run in found.chunk_by(|one, other| one == other) {
            match run.first() {
                Some(0) => steps.zero_rows = run.len(),
                Some(shift) if run.len() > steps.shift_rows => {
                    (steps.shift_us, steps.shift_rows) = (*shift, run.len())
                }
                _ => {}
            }
        }
        steps
    }
}

/// The multiple of a quarter of an hour that a difference is, to within so much.
pub(super) fn nearest_step(by: i64, apart: i64) -> Option<i64> {
    let step = (by + OFFSET_STEP_US / 2).div_euclid(OFFSET_STEP_US) * OFFSET_STEP_US;
    ((by - step).abs() <= apart).then_some(step)
}

/// A difference that the clock of some place has to UTC.
pub(super) fn exact_offset(by: i64) -> Option<i64> {
    (by % MINUTE_US == 0
        && UTC_OFFSETS_MINUTES
            .iter()
            .chain(&FAR_EAST_OFFSETS_MINUTES)
            .any(|minutes| *minutes == by / MINUTE_US))
    .then_some(by)
}

/// The least that a clock can be ahead which is ahead by so much, or a little more.
pub(super) fn smallest_offset_from(ahead: i64) -> Option<i64> {
    let offsets =
        UTC_OFFSETS_MINUTES.iter().chain(&FAR_EAST_OFFSETS_MINUTES).map(|minutes| minutes * MINUTE_US);
    offsets.filter(|offset| *offset > 0).find(|offset| *offset >= ahead - CLOCK_SKEW_TOLERANCE_US)
}
