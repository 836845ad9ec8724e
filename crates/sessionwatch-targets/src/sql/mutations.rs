//! The SQL of acting: rows are read whole for the archive, and then removed or changed if they are still what was read.

use sessionwatch_core::row_ref::RowRef;

use super::{
    Sql,
    dialect::{ReadCondition, numbers},
    identifier,
    row_changes::{Change, Mutation, Named, ReadRows},
    table,
};
use crate::mapping::Revoke;

impl Sql<'_> {
    /// Planned rows, whole: locator, version, mark, and then every column.
    #[must_use]
    pub fn whole(&self, columns: &[String], named: Named, rows: &[&RowRef]) -> String {
        let all: Vec<String> = columns.iter().map(|column| self.column(column)).collect();
        let [locator, version] = self.read_version(named, columns);
        // A row that is the version that was planned is what was planned.
        let mark = if self.by_version(named) { "0".into() } else { self.mark() };
        format!(
            "SELECT {locator}, {version}, {mark}, {}\nFROM {} AS s\nWHERE {}",
            all.join(", "),
            self.heaps(named),
            self.named_by(named, rows),
        )
    }

    /// A hash of every column that is archived. It holds within one transaction, since the text of some types depends on
    /// settings.
    pub(super) fn row_hash(&self, columns: &[String]) -> String {
        let all: Vec<String> = columns.iter().map(|column| self.column(column)).collect();
        self.dialect().row_hash(&all, self.key)
    }

    /// Locator and version of a session, as it is found.
    pub(super) fn read_version(&self, named: Named, columns: &[String]) -> [String; 2] {
        let by_place = named == Named::Place;
        self.dialect().read_version(by_place, self.place_or_mark(), self.row_hash(columns))
    }

    /// The table, and with it its children, but for rows that are named by their places: those are unique in one heap only.
    pub(super) fn heaps(&self, named: Named) -> String {
        let only = if self.by_version(named) { "ONLY " } else { "" };
        format!("{only}{}", table(&self.mapping.sessions))
    }

    /// Whether rows that are found so are known by their versions, rather than by their marks.
    #[must_use]
    pub fn by_version(&self, named: Named) -> bool {
        self.dialect().changes_in_bulk() && named == Named::Place
    }

    /// What names a row where rows have numbers: that, or else its mark.
    pub(super) fn place_or_mark(&self) -> String {
        if self.has_rowid() { "s.rowid".into() } else { self.mark() }
    }

    /// Whether rows have numbers; all do but those of SQLite tables that were made without.
    #[must_use]
    pub fn has_rowid(&self) -> bool {
        self.schema.table(&self.mapping.sessions).is_none_or(|table| !table.without_rowid)
    }

    fn named_by(&self, named: Named, rows: &[&RowRef]) -> String {
        match (named, &self.mapping.id) {
            (Named::Place, _) => {
                let places: Vec<u64> = rows.iter().map(|row| row.place).collect();
                self.dialect().at_places(&[], &places)
            }
            (Named::Id, Some(id)) => {
                self.with_ids_or_marks(id, rows.iter().map(|row| (row.id.as_deref(), row.mark)))
            }
            _ => self.marked(rows.iter().map(|row| row.mark)),
        }
    }

    /// The condition that a row has one of these ids.
    pub(super) fn with_ids<'i>(&self, id: &str, ids: impl Iterator<Item = &'i str>) -> String {
        let ids: Vec<String> = ids.map(|id| self.string(id)).collect();
        self.dialect().id_among(&self.column(id), self.declared(id), &ids.join(", "))
    }

    /// The condition that a row has one of these ids or, where it has none, its mark: a column whose values are unique may be
    /// NULL in many rows.
    pub(super) fn with_ids_or_marks<'i>(
        &self,
        id: &str,
        rows: impl Iterator<Item = (Option<&'i str>, i64)>,
    ) -> String {
        let (mut ids, mut marks) = (vec![], vec![]);
        for (id, mark) in rows {
            match id {
                Some(id) => ids.push(id),
                None => marks.push(mark),
            }
        }
        let by_id = self.with_ids(id, ids.into_iter());
        if marks.is_empty() {
            return by_id;
        }
        format!("({by_id} OR ({} IS NULL AND {}))", self.column(id), self.marked(marks.into_iter()))
    }

    /// The condition that a row is one of those that were read.
    pub(super) fn is_read(&self, read: ReadRows<'_>) -> String {
        let rows = || read.rows.iter();
        let named = match (read.named, &self.mapping.id) {
            (Named::Place, _) => None,
            (Named::Id, Some(id)) => {
                Some(self.with_ids_or_marks(id, rows().map(|row| (row.id.as_deref(), row.mark))))
            }
            _ => Some(self.marked(rows().map(|row| row.mark))),
        };
        self.dialect().is_read(&ReadCondition {
            rows: read.rows,
            named,
            row_hash: self.row_hash(read.columns),
            place_or_mark: self.place_or_mark(),
        })
    }

    /// The condition that a row has one of these marks.
    pub(super) fn marked(&self, marks: impl Iterator<Item = i64>) -> String {
        self.dialect().number_among(&self.mark(), &numbers(marks))
    }

    fn declared(&self, column: &str) -> Option<&str> {
        let table = self.schema.table(&self.mapping.sessions)?;
        table.column(column).map(|column| column.declared.as_str())
    }

    /// Which of these rows are there: their marks as they are now. By id, a row shows that has changed since.
    #[must_use]
    pub fn present(&self, named: Named, rows: &[&RowRef]) -> String {
        let id =
            self.mapping.id.as_deref().map_or("CAST(NULL AS text)".into(), |id| self.text(&self.column(id)));
        format!(
            "SELECT {}, {id}\nFROM {} AS s\nWHERE {}",
            self.mark(),
            table(&self.mapping.sessions),
            self.named_by(named, rows)
        )
    }

    /// The same, but only those that were not ended: a row that is only marked keeps its mark.
    #[must_use]
    pub fn unchanged(&self, named: Named, rows: &[&RowRef], revoke: &Revoke) -> String {
        let present = self.present(named, rows);
        match revoke {
            Revoke::Flag { column, value } => {
                let (column, value) = (self.text(&self.column(column)), self.string(value));
                format!("{present} AND ({column} IS NULL OR {column} <> {value})")
            }
            _ => present,
        }
    }

    /// Removes or changes one row that is still what was read. Parameters are its place, or its mark where it has none, and its
    /// version.
    #[must_use]
    pub fn change_one(&self, mutation: Mutation<'_>, columns: &[String]) -> String {
        let sessions = table(&self.mapping.sessions);
        let change = mutation.change;
        let orphans = if mutation.orphans_only { format!(" AND {}", self.orphaned()) } else { String::new() };
        let (name, version) = (self.place_or_mark(), self.row_hash(columns));
        let still = format!("{name} = ?1 AND {version} = ?2{orphans}");
        match change {
            Change::Delete => format!("DELETE FROM {sessions} AS s WHERE {still}"),
            Change::Expire(now) => {
                let column = &self.mapping.expires.column;
                format!(
                    "UPDATE {sessions} AS s SET {} = {} WHERE {still}",
                    identifier(column),
                    self.literal(column, now)
                )
            }
            Change::Flag(column, value) => {
                format!(
                    "UPDATE {sessions} AS s SET {} = {} WHERE {still}",
                    identifier(column),
                    self.literal(column, value)
                )
            }
        }
    }

    /// A value of a column, given as text.
    pub(super) fn literal(&self, column: &str, value: &str) -> String {
        self.dialect().literal(self.kind(&self.mapping.sessions, column), value)
    }
}
