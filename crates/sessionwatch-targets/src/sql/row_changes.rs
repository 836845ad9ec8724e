//! Row changes: how rows are located, what was read of them, and what is done to them.

use sessionwatch_core::row_ref;

use crate::mapping::RevokeMethod;

/// The way to locate planned rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocateBy {
    /// By position.
    Position,
    /// By id.
    Id,
    /// By row hash. Requires a full scan.
    RowHash,
}

/// The unique key of a session row within one query.
///
/// `ctid` alone is unique inside one heap only: rows of two partitions may share both `ctid` and `xmin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKeyKind {
    /// Position: `ctid` in a table with one heap, `rowid` in SQLite.
    #[default]
    Place,
    /// Heap and position, `(tableoid, ctid)`: partitions, inheritance, hypertables, or storage other than
    /// heaps.
    HeapAndPlace,
    /// A unique id, if the role may not read positions or there are none.
    Id,
}

/// A row read in this transaction, as the following change identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowVersion {
    /// Position if located by position, otherwise the row's heap (`tableoid`).
    pub locator: u64,
    /// Writing transaction (`xmin`) if located by position, otherwise a hash of every column.
    pub version: i64,
    /// Hash of id, token, user and expiry.
    pub row_hash: i64,
    /// Row id, if the table has one.
    pub id: Option<String>,
}

/// Rows read in this transaction.
#[derive(Clone, Copy, Debug)]
pub struct ReadRows<'a> {
    /// Method by which they were located.
    pub locate_by: LocateBy,
    /// Archived columns.
    pub columns: &'a [String],
    /// The rows.
    pub rows: &'a [RowVersion],
}

impl RowVersion {
    /// Returns the text by which a detailed change reports this row as changed.
    #[must_use]
    pub fn locator_text(&self, locate_by: LocateBy) -> String {
        match locate_by {
            LocateBy::Position => row_ref::format_ctid(self.locator),
            LocateBy::Id | LocateBy::RowHash => format!("{}:{}", self.locator, self.version),
        }
    }
}

/// A change of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowChange<'a> {
    /// Deletes the row.
    Delete,
    /// Sets the expiry to this value, in the form that the database stores.
    Expire(&'a str),
    /// Sets a column to a value.
    Flag(&'a str, &'a str),
}

/// A change, and the rows that it applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutation<'a> {
    /// Change.
    pub change: RowChange<'a>,
    /// Only rows whose user still does not exist.
    pub orphans_only: bool,
}

impl<'a> RowChange<'a> {
    /// Returns the change that ends sessions this way. `now` is in the form that the target stores.
    #[must_use]
    pub fn from_revoke(revoke: &'a RevokeMethod, now: &'a str) -> Self {
        match revoke {
            RevokeMethod::Delete => Self::Delete,
            RevokeMethod::Expire => Self::Expire(now),
            RevokeMethod::Flag { column, value } => Self::Flag(column, value),
        }
    }
}
