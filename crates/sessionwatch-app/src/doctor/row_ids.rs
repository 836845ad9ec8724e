//! Row ids that run out: once a sequence or its column reaches the maximum, no user can log in.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::doctor_queries::RowIdSequence;

use super::{Diagnostic, DoctorInput, diagnostic_fail, diagnostic_pass, diagnostic_warn};

/// Fractions of remaining ids below which a finding is a warning (1 in 5) and an error (1 in 50).
const LOW_ROW_ID_DIVISORS: [i64; 2] = [5, 50];

/// Reports how many ids are left.
pub(super) fn diagnose_row_ids(input: DoctorInput<'_>) -> Option<Diagnostic> {
    let RowIdSequence { name: sequence, max_value, last_value, created_last_hour } = input.row_ids?;
    let left = max_value - last_value;
    // Relative to the maximum, because 32-bit and 64-bit ids differ by a factor of four billion.
    let [few, very_few] = LOW_ROW_ID_DIVISORS.map(|parts| max_value / parts);
    if left >= few {
        return Some(diagnostic_pass(
            "row-ids",
            format!("{left} of {max_value} row IDs are left in `{sequence}`"),
        ));
    }
    let lasts = created_last_hour.filter(|created| *created > 0).map(|created| {
        let hours = u64::try_from(left / created).unwrap_or(0);
        format!(" (in {} at the rate of the last hour)", format_count(hours, "hour", "hours"))
    });
    let diagnostic = if left < very_few { diagnostic_fail } else { diagnostic_warn };
    Some(diagnostic(
        "row-ids",
        format!(
            "row IDs are running out: {left} of {max_value} are left in `{sequence}`, and no \
             user can log in after that{}",
            lasts.unwrap_or_default()
        ),
        input.remedies().widen_row_ids(sequence),
    ))
}
