//! Rows that are changed: by what they are found, what was read of them, and what is done with them.

use sessionwatch_core::row_ref;

use crate::mapping::RevokeMethod;

/// By what planned rows are found again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocateBy {
    /// Where they stood.
    Position,
    /// Their ids.
    Id,
    /// Their marks, which takes a look at every row.
    RowHash,
}

/// What is unique to a row of the sessions, inside one query.
///
/// `ctid` alone is unique inside one heap only: rows of two partitions may share both `ctid` and `xmin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowKeyKind {
    /// The place: `ctid` in a table that is one heap, `rowid` in SQLite.
    #[default]
    Place,
    /// Heap and place, `(tableoid, ctid)`: partitions, inheritance, hypertables, storage that is no heap.
    HeapAndPlace,
    /// A unique id, where the role may not read places or there are none.
    Id,
}

/// A row that was read in this transaction, as the change that follows names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowVersion {
    /// By place: where it stands. Otherwise the heap it is in (`tableoid`).
    pub locator: u64,
    /// By place: the transaction that wrote it (`xmin`). Otherwise a hash of every column.
    pub version: i64,
    /// A hash of id, token, user and expiry.
    pub row_hash: i64,
    /// Its id, where the table has one.
    pub id: Option<String>,
}

/// Rows that were read in this transaction, and how they were found.
#[derive(Clone, Copy, Debug)]
pub struct ReadRows<'a> {
    /// How they were found.
    pub locate_by: LocateBy,
    /// Every column that is archived.
    pub columns: &'a [String],
    /// The rows.
    pub rows: &'a [RowVersion],
}

impl RowVersion {
    /// The text by which a detailed change names this row among those that it changed.
    #[must_use]
    pub fn locator_text(&self, locate_by: LocateBy) -> String {
        match locate_by {
            LocateBy::Position => row_ref::format_ctid(self.locator),
            LocateBy::Id | LocateBy::RowHash => format!("{}:{}", self.locator, self.version),
        }
    }
}

/// What is done with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowChange<'a> {
    /// They are removed.
    Delete,
    /// Their expiry becomes this, as the database stores it.
    Expire(&'a str),
    /// The column becomes the value.
    Flag(&'a str, &'a str),
}

/// What is done, and to which of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutation<'a> {
    /// What is done.
    pub change: RowChange<'a>,
    /// Only to rows whose user still does not exist.
    pub orphans_only: bool,
}

impl<'a> RowChange<'a> {
    /// How sessions are ended; `now` is that instant as the target stores it.
    #[must_use]
    pub fn from_revoke(revoke: &'a RevokeMethod, now: &'a str) -> Self {
        match revoke {
            RevokeMethod::Delete => Self::Delete,
            RevokeMethod::Expire => Self::Expire(now),
            RevokeMethod::Flag { column, value } => Self::Flag(column, value),
        }
    }
}
