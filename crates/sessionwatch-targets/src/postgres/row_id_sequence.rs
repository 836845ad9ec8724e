//! The sequence that numbers the rows.

use super::PostgresRead;
use crate::{
    backend::RowIdSequence,
    cells,
    error::TargetError,
    sql::{Dialect, QueryBuilder, quote_identifier, quote_string, quote_table},
};

pub(super) async fn read_sequence(
    session: &PostgresRead,
    sql: &QueryBuilder<'_>,
) -> Result<Option<RowIdSequence>, TargetError> {
    let mapping = sql.mapping;
    let Some(id) = mapping.id.as_deref() else { return Ok(None) };
    let declared = sql.schema.table(&mapping.sessions).and_then(|table| table.column(id));
    let holds = match declared.map(|column| column.declared_type.as_str()) {
        Some("integer") => i64::from(i32::MAX),
        Some("smallint") => i64::from(i16::MAX),
        // A bigint sequence does not run out, and other types have none.
        _ => return Ok(None),
    };
    let rows = session.query_rows(&sequence_query(sql, id)).await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let number = |at: usize| cells::parse_number::<i64>(&row, at, "a sequence number");
    let (Some(Some(name)), Some(last_value)) = (row.first().cloned(), number(2)?) else { return Ok(None) };
    let max_value = number(1)?.map_or(holds, |max_value| max_value.min(holds));
    Ok(Some(RowIdSequence { name, max_value, last_value, created_last_hour: number(3)? }))
}

/// Returns the query for the sequence of the row id column, with at most one row: name, maximum, last value,
/// and the number of sessions created in the last hour. Without the privilege to read the sequence, the
/// greatest id in the table stands in for the last value.
fn sequence_query(sql: &QueryBuilder<'_>, id: &str) -> String {
    let sessions = quote_table(&sql.mapping.sessions);
    let lately = sql.created_last_hour_condition().map_or("NULL".into(), |lately| {
        format!("(SELECT COUNT(*) FROM {} WHERE {lately})", sql.sessions_source())
    });
    format!(
        "SELECT pg_catalog.quote_ident(c.relname)::text, q.seqmax,\n  \
         GREATEST((SELECT MAX(s.{column})::bigint FROM {sessions} AS s),\n  \
         CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') \
         THEN pg_catalog.pg_sequence_last_value(c.oid::regclass) END), {lately}\n\
         FROM pg_catalog.pg_sequence AS q\nJOIN pg_catalog.pg_class AS c ON c.oid = q.seqrelid\n\
         JOIN pg_catalog.pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass \
         AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')\n\
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid\n\
         WHERE d.refobjid = {regclass}::regclass AND a.attname = {name} AND q.seqincrement > 0 \
         AND NOT q.seqcycle\nLIMIT 1",
        column = quote_identifier(id),
        regclass = quote_string(Dialect::POSTGRES, &sessions),
        name = quote_string(Dialect::POSTGRES, id),
    )
}
