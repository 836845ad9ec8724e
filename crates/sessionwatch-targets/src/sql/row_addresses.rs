//! SQL for row addresses, by which a scan lets rows be found again.

use sessionwatch_core::{row_addresses::RowAddress, row_ref};

use super::{QueryBuilder, dialect::join_numbers};
use crate::{
    cells,
    error::TargetError,
    sql::table_info::{ColumnKind, Equality, TableKind},
};

/// The address of a row within one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowAddressing {
    /// `ctid` in a table with one heap, or `rowid` in SQLite.
    Position,
    /// `tableoid` and `ctid`.
    HeapAndPosition,
    /// The id, if the role may not read positions or there are none.
    Id,
    /// None.
    Unavailable,
}

/// The rows that a query covers.
#[derive(Clone, Copy, Debug)]
pub enum RowSubset<'a> {
    /// All rows.
    All,
    /// Rows with tokens of these fingerprints. Requires a full scan.
    Fingerprints(&'a [u64]),
    /// Rows at these addresses.
    Addresses(&'a [RowAddress]),
    /// Rows at these addresses whose tokens still have these fingerprints.
    Suspects(&'a [u64], &'a [RowAddress]),
    /// Rows of these users. Requires a full scan.
    Users(&'a [String]),
}

/// The way in which a scan finds orphans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanSearch {
    /// Orphans are not searched for.
    Skipped,
    /// A join in the database.
    Join,
    /// A comparison with the keys of all users, which this query returns.
    UserKeys(String),
}

/// Minimum number of sessions for reading all user keys. For fewer, a join costs less than another round
/// trip.
const MIN_ROWS_FOR_KEY_COMPARISON: u64 = 20_000;
/// Maximum number of users per session for reading all user keys.
const MAX_USERS_PER_SESSION: u64 = 4;

impl QueryBuilder<'_> {
    /// Returns the kind of address that a scan reads.
    #[must_use]
    pub fn row_addressing(&self) -> RowAddressing {
        let Some(table) = self.schema.table(&self.mapping.sessions) else {
            return RowAddressing::Unavailable;
        };
        let has_positions = self.dialect().has_row_positions(table);
        let is_view = table.kind == TableKind::View;
        match &self.mapping.id {
            _ if has_positions && (table.kind == TableKind::Partitioned || table.has_children) => {
                RowAddressing::HeapAndPosition
            }
            _ if has_positions => RowAddressing::Position,
            // Views have no indexes; duplicates among their ids are caught by counting the rows found.
            Some(id) if is_view || self.is_unique_column(id) => RowAddressing::Id,
            _ => RowAddressing::Unavailable,
        }
    }

    /// Returns the address columns of a scan.
    pub(super) fn address_columns(&self) -> Vec<String> {
        let places = |several_heaps| {
            self.dialect().position_columns(several_heaps).iter().map(|&column| column.to_owned()).collect()
        };
        match self.row_addressing() {
            RowAddressing::Position => places(false),
            RowAddressing::HeapAndPosition => places(true),
            RowAddressing::Id => vec![self.id_text_expr()],
            RowAddressing::Unavailable => vec![],
        }
    }

    /// Returns the order of otherwise equal rows of evidence: by address, as in a snapshot.
    pub(super) fn address_order_expr(&self) -> String {
        match self.row_addressing() {
            // Positions mean little to people, so pasted queries sort by id.
            _ if self.standalone => "2".into(),
            RowAddressing::Id => self.dialect().byte_order_expr(&self.id_text_expr()),
            RowAddressing::Unavailable => "2".into(),
            _ => self.address_columns().join(", "),
        }
    }

    /// Returns the row id as text, or NULL without an id column.
    pub(super) fn id_text_expr(&self) -> String {
        self.mapping
            .id
            .as_deref()
            .map_or("CAST(NULL AS text)".into(), |id| self.cast_to_text(&self.session_column(id)))
    }

    /// Returns a further condition that a row is in a subset; empty for all rows.
    pub(super) fn and_subset_condition(&self, subset: RowSubset<'_>) -> String {
        match subset {
            RowSubset::All => String::new(),
            RowSubset::Fingerprints(fingerprints) => {
                let list = join_numbers(fingerprints.iter().map(|fingerprint| fingerprint.cast_signed()));
                // `IN ()` is a syntax error in PostgreSQL.
                if list.is_empty() {
                    return " AND 1 = 0".into();
                }
                format!(" AND {} IN ({list})", self.fingerprint_expr())
            }
            RowSubset::Addresses(addresses) => format!(" AND {}", self.at_addresses_condition(addresses)),
            RowSubset::Suspects(fingerprints, addresses) => {
                let on_tokens = self.and_subset_condition(RowSubset::Fingerprints(fingerprints));
                format!(" AND {}{on_tokens}", self.at_addresses_condition(addresses))
            }
            RowSubset::Users(users) => {
                let list: Vec<String> = users.iter().map(|user| self.quote_string(user)).collect();
                let casts = self.dialect().casts_literals();
                let user = if casts { self.user_column() } else { self.cast_to_text(&self.user_column()) };
                format!(" AND {user} IN ({})", list.join(", "))
            }
        }
    }

    /// Returns the condition that a row is at one of these addresses.
    fn at_addresses_condition(&self, addresses: &[RowAddress]) -> String {
        let (mut heaps, mut places, mut ids) = (vec![], vec![], vec![]);
        for address in addresses {
            match address {
                RowAddress::Position(position) => places.push(*position),
                RowAddress::HeapAndPosition { heap, position } => {
                    heaps.push(*heap);
                    places.push(*position);
                }
                RowAddress::Id(id) => ids.push(id.as_str()),
            }
        }
        let id = self.mapping.id.as_deref().filter(|_| !ids.is_empty());
        match id {
            Some(id) => self.ids_condition(id, ids.into_iter()),
            None if places.is_empty() => "1 = 0".into(),
            None => self.dialect().at_positions_condition(&heaps, &places),
        }
    }

    /// Returns the query for fingerprints and the addresses of their rows.
    #[must_use]
    pub fn addresses_by_fingerprint_query(&self, fingerprints: &[u64]) -> Option<String> {
        let columns = self.address_columns();
        if columns.is_empty() || fingerprints.is_empty() {
            return None;
        }
        Some(format!(
            "SELECT {}, {}\nFROM {}\nWHERE {} IS NOT NULL{}",
            self.fingerprint_expr(),
            columns.join(", "),
            self.sessions_source(),
            self.token_key(),
            self.and_subset_condition(RowSubset::Fingerprints(fingerprints))
        ))
    }

    /// Reads a row of [`Self::addresses_by_fingerprint_query`]. Returns `None` if the row has no address.
    ///
    /// # Errors
    ///
    /// If a cell cannot be decoded.
    pub(crate) fn parse_address_row(
        &self,
        row: &[Option<String>],
    ) -> Result<Option<(u64, RowAddress)>, TargetError> {
        let fingerprint: i64 = cells::parse_required_number(row, 0, "a fingerprint")?;
        // Rows of views have no position, and ids may be NULL.
        let Some(Some(first)) = row.get(1) else { return Ok(None) };
        let position = |text: &str| {
            row_ref::parse_locator(text).ok_or(TargetError::Undecodable("the position of a row"))
        };
        let address = match self.row_addressing() {
            RowAddressing::Position => RowAddress::Position(position(first)?),
            RowAddressing::HeapAndPosition => RowAddress::HeapAndPosition {
                heap: cells::parse_required_number(row, 1, "the OID of a table")?,
                position: position(cells::required_text(row, 2, "the position of a row")?)?,
            },
            RowAddressing::Id => RowAddress::Id(first.to_owned()),
            RowAddressing::Unavailable => return Ok(None),
        };
        Ok(Some((fingerprint.cast_unsigned(), address)))
    }

    /// Returns `true` if rows of given users can be found by comparing the user column with their IDs.
    #[must_use]
    pub fn can_match_users_by_value(&self) -> bool {
        let sessions = &self.mapping.sessions;
        self.mapping.user.as_ref().is_some_and(|user| {
            let kinds = [ColumnKind::Integer, ColumnKind::Text, ColumnKind::Uuid];
            let is_exact = self.column_equality(sessions, user) == Equality::Exact;
            is_exact
                && (!self.dialect().casts_literals() || kinds.contains(&self.column_kind(sessions, user)))
        })
    }

    /// Returns how a scan finds sessions whose user does not exist.
    #[must_use]
    pub fn plan_orphan_search(&self) -> OrphanSearch {
        if !self.needs_orphan_search() {
            return OrphanSearch::Skipped;
        }
        let (Some(users), Some(user)) = (&self.mapping.users, &self.mapping.user) else {
            return OrphanSearch::Skipped;
        };
        // Comparing keys here takes a fraction of the time of a join in the database, as long as equal keys
        // have equal bytes and users do not far outnumber sessions.
        let sessions = &self.mapping.sessions;
        let kind = self.column_kind(sessions, user);
        let comparable = self.dialect().scans_typed_columns()
            && self.has_matching_key_types(users)
            && self.user_key_equality(users) == Equality::Exact
            && self.column_equality(sessions, user) == Equality::Exact
            && !self.has_mixed_padding(users)
            && matches!(kind, ColumnKind::Integer | ColumnKind::Text | ColumnKind::Uuid);
        let rows = |table| self.schema.table(table).and_then(|table| table.estimated_rows);
        let worthwhile = rows(sessions).zip(rows(&users.table)).is_some_and(|(sessions, users)| {
            sessions >= MIN_ROWS_FOR_KEY_COMPARISON && users <= sessions.saturating_mul(MAX_USERS_PER_SESSION)
        });
        if !comparable || !worthwhile {
            return OrphanSearch::Join;
        }
        let key = super::quote_identifier(&users.key);
        let key = if kind == ColumnKind::Integer { key } else { self.cast_to_text(&key) };
        OrphanSearch::UserKeys(format!(
            "SELECT {key} FROM {} WHERE {} IS NOT NULL",
            super::quote_table(&users.table),
            super::quote_identifier(&users.key)
        ))
    }
}
