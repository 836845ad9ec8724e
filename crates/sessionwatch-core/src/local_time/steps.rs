//! Differences between clocks, as multiples of a quarter of an hour.

use super::{CLOCKS, FAR_EAST, MINUTE, OFFSETS, STEP};

/// How differences stand to multiples of a quarter of an hour.
#[derive(Default)]
pub(super) struct Steps {
    /// Rows without a difference.
    pub(super) exact: usize,
    /// The multiple that most rows have, and how many they are.
    pub(super) shift: i64,
    pub(super) most: usize,
}

impl Steps {
    pub(super) fn of(differences: &[i64], apart: i64) -> Self {
        let near = |by: &i64| step(*by, apart).filter(|step| *step == 0 || exact(*step).is_some());
        let mut found: Vec<i64> = differences.iter().filter_map(near).collect();
        found.sort_unstable();
        let mut steps = Self::default();
        for run in found.chunk_by(|one, other| one == other) {
            match run.first() {
                Some(0) => steps.exact = run.len(),
                Some(shift) if run.len() > steps.most => (steps.shift, steps.most) = (*shift, run.len()),
                _ => {}
            }
        }
        steps
    }
}

/// The multiple of a quarter of an hour that a difference is, to within so much.
pub(super) fn step(by: i64, apart: i64) -> Option<i64> {
    let step = (by + STEP / 2).div_euclid(STEP) * STEP;
    ((by - step).abs() <= apart).then_some(step)
}

/// A difference that the clock of some place has to UTC.
pub(super) fn exact(by: i64) -> Option<i64> {
    (by % MINUTE == 0 && OFFSETS.iter().chain(&FAR_EAST).any(|minutes| *minutes == by / MINUTE)).then_some(by)
}

/// The least that a clock can be ahead which is ahead by so much, or a little more.
pub(super) fn at_least(ahead: i64) -> Option<i64> {
    let offsets = OFFSETS.iter().chain(&FAR_EAST).map(|minutes| minutes * MINUTE);
    offsets.filter(|offset| *offset > 0).find(|offset| *offset >= ahead - CLOCKS)
}
