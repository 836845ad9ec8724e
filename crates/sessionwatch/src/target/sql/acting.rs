//! The SQL of acting: rows are read whole for the archive, and then removed or changed if they are still what was read.

use std::fmt::Write as _;

use sessionwatch_rules::planned::Planned;

use super::{Sql, identifier, string, table};
use crate::profile::{
    mapping::Revoke,
    schema::{ColumnKind, Dialect},
};

/// By what planned rows are found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Where they stood.
    Place,
    /// Their ids.
    Id,
    /// Their marks, which takes a look at every row.
    Mark,
}

/// What is done with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// They are removed.
    Delete,
    /// Their expiry becomes this, as the database stores it.
    Expire(&'a str),
    /// The column becomes the value.
    Flag(&'a str, &'a str),
}

impl<'a> Change<'a> {
    /// How sessions are ended; `now` is that instant as the target stores it.
    #[must_use]
    pub fn of(revoke: &'a Revoke, now: &'a str) -> Self {
        match revoke {
            Revoke::Delete => Self::Delete,
            Revoke::Expire => Self::Expire(now),
            Revoke::Flag { column, value } => Self::Flag(column, value),
        }
    }
}

fn numbers(numbers: impl Iterator<Item = i64>) -> String {
    numbers.fold(String::new(), |mut list, number| {
        let comma = if list.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(list, "{comma}{number}");
        list
    })
}

impl Sql<'_> {
    /// Planned rows, whole: place, version, mark, and then every column. With `locked`, those that nobody else holds.
    #[must_use]
    pub fn whole(&self, columns: &[String], (named, rows): (Named, &[&Planned]), locked: bool) -> String {
        let all: Vec<String> = columns.iter().map(|column| self.column(column)).collect();
        let (place, version) = match self.dialect() {
            Dialect::Postgres => ("s.ctid".to_owned(), "s.xmin".to_owned()),
            Dialect::Sqlite => (self.sqlite_place(), version(&all)),
        };
        // A row that is the version that was planned is what was planned.
        let mark = if self.by_version(named) { "0".into() } else { self.mark() };
        let lock =
            if locked && self.dialect() == Dialect::Postgres { "\nFOR UPDATE OF s SKIP LOCKED" } else { "" };
        format!(
            "SELECT {place}, {version}, {mark}, {}\nFROM {} AS s\nWHERE {}{lock}",
            all.join(", "),
            table(&self.mapping.sessions),
            self.named_by(named, rows),
        )
    }

    /// Whether rows that are found so are known by their versions, rather than by their marks.
    #[must_use]
    pub fn by_version(&self, named: Named) -> bool {
        self.dialect() == Dialect::Postgres && named == Named::Place
    }

    /// What names a row of SQLite: its number, or else its mark.
    fn sqlite_place(&self) -> String {
        if self.has_rowid() { "s.rowid".into() } else { self.mark() }
    }

    /// Whether rows have numbers; all do but those of SQLite tables that were made without.
    #[must_use]
    pub fn has_rowid(&self) -> bool {
        self.schema.table(&self.mapping.sessions).is_none_or(|table| !table.without_rowid)
    }

    fn named_by(&self, named: Named, rows: &[&Planned]) -> String {
        let sqlite = self.dialect() == Dialect::Sqlite;
        match (named, &self.mapping.id) {
            (Named::Place, _) if sqlite => {
                format!("s.rowid IN ({})", numbers(rows.iter().map(|row| row.place.cast_signed())))
            }
            (Named::Place, _) => format!("s.ctid = ANY({})", tids(rows.iter().map(|row| row.place))),
            (Named::Id, Some(id)) => {
                let ids = rows.iter().filter_map(|row| row.id.as_deref());
                let ids: Vec<String> = ids.map(|id| string(self.dialect(), id)).collect();
                let ids = ids.join(", ");
                match self.declared(id) {
                    // Compared as what it is, the id is looked up in its index.
                    Some(declared) if !sqlite => {
                        format!("{} = ANY(CAST(ARRAY[{ids}]::text[] AS {declared}[]))", self.column(id))
                    }
                    _ => format!("{} IN ({ids})", self.text(&self.column(id))),
                }
            }
            _ => self.marked(rows.iter().map(|row| row.mark)),
        }
    }

    /// The condition that a row has one of these marks.
    fn marked(&self, marks: impl Iterator<Item = i64>) -> String {
        let marks = numbers(marks);
        if self.dialect() == Dialect::Sqlite {
            format!("{} IN ({marks})", self.mark())
        } else {
            format!("{} = ANY('{{{marks}}}'::bigint[])", self.mark())
        }
    }

    fn declared(&self, column: &str) -> Option<&str> {
        let table = self.schema.table(&self.mapping.sessions)?;
        table.column(column).map(|column| column.declared.as_str())
    }

    /// Which of these rows are there: their marks as they are now. By id, a row shows that has changed since.
    #[must_use]
    pub fn present(&self, named: Named, rows: &[&Planned]) -> String {
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
    pub fn unchanged(&self, named: Named, rows: &[&Planned], revoke: &Revoke) -> String {
        let present = self.present(named, rows);
        match revoke {
            Revoke::Flag { column, value } => {
                let (column, value) = (self.text(&self.column(column)), string(self.dialect(), value));
                format!("{present} AND ({column} IS NULL OR {column} <> {value})")
            }
            _ => present,
        }
    }

    /// Removes or changes the rows that are still what was read: places and versions, pairwise. In detail, it gives one
    /// line: how many they were, and, where some are missing, the places of those.
    #[must_use]
    pub fn change(
        &self,
        (change, orphans): (Change<'_>, bool),
        read: &[(u64, i64)],
        detailed: bool,
    ) -> String {
        let sessions = table(&self.mapping.sessions);
        let orphans = if orphans { format!(" AND {}", self.orphaned()) } else { String::new() };
        let set = match change {
            Change::Delete => None,
            Change::Expire(now) => Some((self.mapping.expires.column.as_str(), now)),
            Change::Flag(column, value) => Some((column, value)),
        };
        let set =
            set.map(|(column, value)| format!("{} = {}", identifier(column), self.literal(column, value)));
        let mut versions: Vec<i64> = read.iter().map(|(_, version)| *version).collect();
        versions.sort_unstable();
        versions.dedup();
        let versions = numbers(versions.into_iter());
        let still = format!(
            "s.ctid = ANY({}) AND s.xmin = ANY('{{{versions}}}'::xid[]){orphans}",
            tids(read.iter().map(|(place, _)| *place))
        );
        let changed = match (set, detailed) {
            (None, false) => return format!("DELETE FROM {sessions} AS s WHERE {still}"),
            (Some(set), false) => return format!("UPDATE {sessions} AS s SET {set} WHERE {still}"),
            (None, true) => {
                format!("d AS (DELETE FROM {sessions} AS s WHERE {still} RETURNING s.ctid AS place)")
            }
            // What an update returns is the new place.
            (Some(set), true) => format!(
                "l AS (SELECT s.ctid AS place FROM {sessions} AS s WHERE {still} FOR UPDATE),\n\
                 d AS (UPDATE {sessions} AS s SET {set} FROM l WHERE s.ctid = l.place RETURNING l.place)"
            ),
        };
        format!("WITH {changed}\nSELECT string_agg(d.place::text, ' ') FROM d")
    }

    /// The same for SQLite, a statement for one row: parameters are its place, or its mark where it has none, and its version.
    #[must_use]
    pub fn change_one(&self, change: Change<'_>, columns: &[String], orphans: bool) -> String {
        let sessions = table(&self.mapping.sessions);
        let orphans = if orphans { format!(" AND {}", self.orphaned()) } else { String::new() };
        let all: Vec<String> = columns.iter().map(|column| self.column(column)).collect();
        let name = self.sqlite_place();
        let still = format!("{name} = ?1 AND {} = ?2{orphans}", version(&all));
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
    fn literal(&self, column: &str, value: &str) -> String {
        let is_number = value.parse::<i64>().is_ok();
        match (self.dialect(), self.kind(&self.mapping.sessions, column)) {
            (Dialect::Sqlite, ColumnKind::Text) => string(Dialect::Sqlite, value),
            (Dialect::Sqlite, _) if is_number => value.to_owned(),
            (dialect, _) => string(dialect, value),
        }
    }
}

/// A hash of a whole SQLite row, under the key of this look.
fn version(columns: &[String]) -> String {
    let quoted: Vec<String> = columns.iter().map(|column| format!("quote({column})")).collect();
    format!("sw_fingerprint({})", quoted.join(" || ',' || "))
}

fn tids(places: impl Iterator<Item = u64>) -> String {
    let mut list = String::from("'{");
    for (number, place) in places.enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(list, "{comma}\"({},{})\"", place >> 16, place & 0xffff);
    }
    list.push_str("}'::tid[]");
    list
}
