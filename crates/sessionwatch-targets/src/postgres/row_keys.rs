//! Unique keys of rows in a table with one or several heaps.

use super::PostgresRead;
use crate::{
    backend::RowKeySupport,
    cells,
    error::TargetError,
    mapping::TableName,
    sql::{self, Dialect, RowKeyKind},
};

impl PostgresRead {
    pub(super) async fn find_table_row_key(
        &self,
        sessions: &TableName,
    ) -> Result<RowKeySupport, TargetError> {
        let name = sql::quote_string(Dialect::POSTGRES, &sql::quote_table(sessions));
        let query = format!(
            "WITH RECURSIVE heaps(oid) AS (SELECT {name}::regclass::oid UNION\n  \
             SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN heaps ON i.inhparent = heaps.oid)\n\
             SELECT c.relkind = 'r' AND NOT c.relhassubclass AND COALESCE(m.amname = 'heap', false),\n  \
             c.relkind = 'r' AND c.relhassubclass,\n  \
             pg_catalog.has_column_privilege(c.oid, 'ctid', 'SELECT') \
             AND pg_catalog.has_column_privilege(c.oid, 'xmin', 'SELECT'),\n  \
             pg_catalog.has_column_privilege(c.oid, 'ctid', 'SELECT') \
             AND pg_catalog.has_column_privilege(c.oid, 'tableoid', 'SELECT'),\n  \
             (SELECT k.relname FROM heaps JOIN pg_catalog.pg_class AS k ON k.oid = heaps.oid\n  \
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.oid AND a.attnum > 0 AND NOT a.attisdropped\n  \
             WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute AS p WHERE p.attrelid = c.oid \
             AND p.attname = a.attname AND p.attnum > 0 AND NOT p.attisdropped)\n  \
             ORDER BY k.relname LIMIT 1)\n\
             FROM pg_catalog.pg_class AS c LEFT JOIN pg_catalog.pg_am AS m ON m.oid = c.relam \
             WHERE c.oid = {name}::regclass"
        );
        let rows = self.query_rows(&query).await?;
        let row = cells::only_row(&rows, "the storage of a table")?;
        let is = |at: usize| cells::parse_flag(row, at, "the storage of a table");
        let (one_heap, inherited, places, heaps) = (is(0)?, is(1)?, is(2)?, is(3)?);
        if let Some(Some(child)) = row.get(4) {
            return Ok(RowKeySupport::ExtraChildColumns(child.clone()));
        }
        Ok(match (one_heap, places, heaps) {
            (true, true, _) => RowKeySupport::Unique(RowKeyKind::Place),
            (false, _, true) => RowKeySupport::Unique(RowKeyKind::HeapAndPlace),
            // A unique index does not cover inheriting tables.
            (false, ..) if inherited => RowKeySupport::Unsupported,
            _ => RowKeySupport::Unique(RowKeyKind::Id),
        })
    }
}
