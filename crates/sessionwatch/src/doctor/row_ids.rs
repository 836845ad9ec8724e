//! Row ids that run out: once a sequence or its column holds no greater number, nobody can log in.

use sessionwatch_core::plural::counted;

use super::{Finding, Patient, fail, pass, warn};
use crate::{
    profile::schema::Dialect,
    target::{
        cells,
        connect::ConnectedTarget,
        error::TargetError,
        sql::{identifier, table as quoted},
    },
};

/// One in so many numbers that are left is a warning, and a failure.
const FEW: [i64; 2] = [5, 50];

/// The numbers that are given to rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowIds {
    /// The sequence.
    sequence: String,
    /// The greatest number that it and the column can hold.
    greatest: i64,
    /// The greatest that was given.
    last: i64,
    /// Sessions that users created in the last hour; nothing where that is not stored.
    created_last_hour: Option<i64>,
}

/// Asks where the row ids stand; nothing where they are no small numbers of a sequence.
///
/// # Errors
///
/// If the target does not answer.
pub(super) async fn read(opened: &ConnectedTarget) -> Result<Option<RowIds>, TargetError> {
    let sql = opened.sql(false, &sessionwatch_core::checks::Thresholds::default());
    let mapping = sql.mapping;
    let Some(id) = mapping.id.as_deref().filter(|_| sql.schema.dialect == Dialect::Postgres) else {
        return Ok(None);
    };
    let declared = sql.schema.table(&mapping.sessions).and_then(|table| table.column(id));
    let holds = match declared.map(|column| column.declared.as_str()) {
        Some("integer") => i64::from(i32::MAX),
        Some("smallint") => i64::from(i16::MAX),
        _ => return Ok(None),
    };
    let rows = opened.session.fetch(&sql.row_ids(id)).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let number = |at: usize| cells::number::<i64>(&row, at, "a number of a sequence");
    let (Some(Some(sequence)), Some(last)) = (row.first().cloned(), number(2)?) else { return Ok(None) };
    let greatest = number(1)?.map_or(holds, |greatest| greatest.min(holds));
    Ok(Some(RowIds { sequence, greatest, last, created_last_hour: number(3)? }))
}

/// Says how many numbers are left.
pub(super) fn examine(patient: Patient<'_>) -> Option<Finding> {
    let RowIds { sequence, greatest, last, created_last_hour } = patient.row_ids?;
    let mapping = &patient.opened.layout.candidate.mapping;
    let left = greatest - last;
    let [few, very_few] = FEW.map(|parts| greatest / parts);
    if left >= few {
        return Some(pass("row-ids", format!("{left} of {greatest} row ids are left in `{sequence}`")));
    }
    let lasts = created_last_hour.filter(|created| *created > 0).map(|created| {
        let hours = u64::try_from(left / created).unwrap_or(0);
        format!("; at the rate of the last hour, that is {}", counted(hours, "hour", "hours"))
    });
    let (table, id) = (quoted(&mapping.sessions), identifier(mapping.id.as_deref().unwrap_or_default()));
    let tell = if left < very_few { fail } else { warn };
    Some(tell(
        "row-ids",
        format!(
            "row ids run out: {left} are left of {greatest} in `{sequence}`, and then nobody can log in{}",
            lasts.unwrap_or_default()
        ),
        format!(
            "ALTER TABLE {table} ALTER COLUMN {id} TYPE bigint; ALTER SEQUENCE {sequence} AS bigint;  -- rewrites the table, which nobody can use meanwhile"
        ),
    ))
}
