//! Classification of time differences as UTC offsets, which are multiples of 15 minutes.

use super::{
    CLOCK_SKEW_TOLERANCE_US, FAR_EAST_OFFSETS_MINUTES, MINUTE_US, OFFSET_STEP_US, UTC_OFFSETS_MINUTES,
};

/// Summary of differences rounded to UTC offset steps.
#[derive(Default)]
pub(super) struct OffsetSteps {
    /// Number of rows without a difference.
    pub(super) zero_rows: usize,
    /// Most common difference other than zero, in microseconds.
    pub(super) shift_us: i64,
    /// Number of rows with that difference.
    pub(super) shift_rows: usize,
}

impl OffsetSteps {
    pub(super) fn from_differences(differences: &[i64], tolerance: i64) -> Self {
        let near = |by: &i64| {
            nearest_step(*by, tolerance).filter(|step| *step == 0 || exact_offset(*step).is_some())
        };
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

/// Returns the nearest multiple of 15 minutes, if the difference is within the tolerance.
pub(super) fn nearest_step(by: i64, tolerance: i64) -> Option<i64> {
    let step = (by + OFFSET_STEP_US / 2).div_euclid(OFFSET_STEP_US) * OFFSET_STEP_US;
    ((by - step).abs() <= tolerance).then_some(step)
}

/// Returns the difference if it is a UTC offset in use.
pub(super) fn exact_offset(by: i64) -> Option<i64> {
    (by % MINUTE_US == 0
        && UTC_OFFSETS_MINUTES
            .iter()
            .chain(&FAR_EAST_OFFSETS_MINUTES)
            .any(|minutes| *minutes == by / MINUTE_US))
    .then_some(by)
}

/// Returns the smallest UTC offset in use of at least `ahead`, allowing for clock skew.
pub(super) fn smallest_offset_from(ahead: i64) -> Option<i64> {
    let offsets =
        UTC_OFFSETS_MINUTES.iter().chain(&FAR_EAST_OFFSETS_MINUTES).map(|minutes| minutes * MINUTE_US);
    offsets.filter(|offset| *offset > 0).find(|offset| *offset >= ahead - CLOCK_SKEW_TOLERANCE_US)
}
