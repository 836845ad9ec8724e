//! Row ids that run out: once a sequence or its column holds no greater number, nobody can log in.

use sessionwatch_core::plural::format_count;
use sessionwatch_targets::doctor_queries::RowIdSequence;

use super::{Diagnostic, DoctorInput, diagnostic_fail, diagnostic_pass, diagnostic_warn};

/// One in so many numbers that are left is a warning, and a failure.
const LOW_ROW_ID_DIVISORS: [i64; 2] = [5, 50];

/// Says how many numbers are left.
pub(super) fn diagnose_row_ids(patient: DoctorInput<'_>) -> Option<Diagnostic> {
    let RowIdSequence { name: sequence, max_value: greatest, last_value: last, created_last_hour } =
        patient.row_ids?;
    let left = greatest - last;
    let [few, very_few] = LOW_ROW_ID_DIVISORS.map(|parts| greatest / parts);
    if left >= few {
        return Some(diagnostic_pass(
            "row-ids",
            format!("{left} of {greatest} row ids are left in `{sequence}`"),
        ));
    }
    let lasts = created_last_hour.filter(|created| *created > 0).map(|created| {
        let hours = u64::try_from(left / created).unwrap_or(0);
        format!("; at the rate of the last hour, that is {}", format_count(hours, "hour", "hours"))
    });
    let tell = if left < very_few { diagnostic_fail } else { diagnostic_warn };
    Some(tell(
        "row-ids",
        format!(
            "row ids run out: {left} are left of {greatest} in `{sequence}`, and then nobody can log in{}",
            lasts.unwrap_or_default()
        ),
        patient.remedies().widen_row_ids(sequence),
    ))
}
