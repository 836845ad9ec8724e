//! The SQL of addresses: what a scan reads to find a row again, and how rows are found by it.

use sessionwatch_core::{addresses::Address, row_ref};

use super::{Sql, dialect::numbers};
use crate::sql::tables::{ColumnKind, Equality, TableKind};

/// By what the rows of a table are found again within one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowAddressing {
    /// `ctid` in a table that is one heap, or `rowid` in SQLite.
    Place,
    /// `tableoid` and `ctid`.
    HeapAndPlace,
    /// Their id, where the role may not read places or there are none.
    Id,
    /// Nothing.
    Nothing,
}

/// Which rows a query is about.
#[derive(Clone, Copy, Debug)]
pub enum Among<'a> {
    /// All of them.
    All,
    /// Those on tokens of these fingerprints, which takes a look at every row.
    Fingerprints(&'a [u64]),
    /// Those at these addresses.
    Addresses(&'a [Address]),
    /// Those at these addresses, as long as they are on tokens of these fingerprints.
    Suspects(&'a [u64], &'a [Address]),
    /// Those of these users, which takes a look at every row.
    Users(&'a [String]),
}

/// How the users who exist are told from others in a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrphanSearch {
    /// Not at all.
    Skipped,
    /// By a join in the database.
    Join,
    /// By comparing with the keys of all users, which this query gives.
    UserKeys(String),
}

/// Rows from which on the keys of all users are read: below, a round trip more costs more than a join.
const LARGE_TABLE: u64 = 20_000;
/// Users for each session, up to which their keys are read.
const USERS_PER_SESSION: u64 = 4;

impl Sql<'_> {
    /// By what a scan lets rows be found again.
    #[must_use]
    pub fn row_addressing(&self) -> RowAddressing {
        let Some(table) = self.schema.table(&self.mapping.sessions) else { return RowAddressing::Nothing };
        let has_places = self.dialect().has_places(table);
        let is_view = table.kind == TableKind::View;
        match &self.mapping.id {
            _ if has_places && (table.kind == TableKind::Partitioned || table.inherited) => {
                RowAddressing::HeapAndPlace
            }
            _ if has_places => RowAddressing::Place,
            Some(id) if is_view || self.is_unique(id) => RowAddressing::Id,
            _ => RowAddressing::Nothing,
        }
    }

    /// The columns of the address in a scan.
    pub(super) fn address_columns(&self) -> Vec<String> {
        let places = |several_heaps| {
            self.dialect().place_columns(several_heaps).iter().map(|&column| column.to_owned()).collect()
        };
        match self.row_addressing() {
            RowAddressing::Place => places(false),
            RowAddressing::HeapAndPlace => places(true),
            RowAddressing::Id => vec![self.id_text()],
            RowAddressing::Nothing => vec![],
        }
    }

    /// The order of rows of evidence that are alike otherwise: as the ledger has it, by address.
    pub(super) fn address_order(&self) -> String {
        match self.row_addressing() {
            // Where a person pastes a query, ids are what can be read.
            _ if self.pasted => "2".into(),
            RowAddressing::Id => self.dialect().by_bytes(&self.id_text()),
            RowAddressing::Nothing => "2".into(),
            _ => self.address_columns().join(", "),
        }
    }

    /// The row's id as text; NULL where there is none.
    pub(super) fn id_text(&self) -> String {
        self.mapping.id.as_deref().map_or("CAST(NULL AS text)".into(), |id| self.text(&self.column(id)))
    }

    /// The condition that a row is among some, after others; nothing for all.
    pub(super) fn and_among(&self, among: Among<'_>) -> String {
        match among {
            Among::All => String::new(),
            Among::Fingerprints(fingerprints) => {
                let list = numbers(fingerprints.iter().map(|fingerprint| fingerprint.cast_signed()));
                if list.is_empty() {
                    return " AND 1 = 0".into();
                }
                format!(" AND {} IN ({list})", self.fingerprint())
            }
            Among::Addresses(addresses) => format!(" AND {}", self.at(addresses)),
            Among::Suspects(fingerprints, addresses) => {
                let on_tokens = self.and_among(Among::Fingerprints(fingerprints));
                format!(" AND {}{on_tokens}", self.at(addresses))
            }
            Among::Users(users) => {
                let list: Vec<String> = users.iter().map(|user| self.string(user)).collect();
                let casts = self.dialect().casts_literals();
                let user = if casts { self.user() } else { self.text(&self.user()) };
                format!(" AND {user} IN ({})", list.join(", "))
            }
        }
    }

    /// The condition that a row stands at one of these addresses.
    fn at(&self, addresses: &[Address]) -> String {
        let (mut heaps, mut places, mut ids) = (vec![], vec![], vec![]);
        for address in addresses {
            match address {
                Address::Place(place) => places.push(*place),
                Address::HeapAndPlace { heap, place } => {
                    heaps.push(*heap);
                    places.push(*place);
                }
                Address::Id(id) => ids.push(id.as_str()),
            }
        }
        let id = self.mapping.id.as_deref().filter(|_| !ids.is_empty());
        match id {
            Some(id) => self.with_ids(id, ids.into_iter()),
            None if places.is_empty() => "1 = 0".into(),
            None => self.dialect().at_places(&heaps, &places),
        }
    }

    /// Fingerprints, and the addresses of the rows that have them.
    #[must_use]
    pub fn addresses_by_fingerprint(&self, fingerprints: &[u64]) -> Option<String> {
        let columns = self.address_columns();
        if columns.is_empty() || fingerprints.is_empty() {
            return None;
        }
        Some(format!(
            "SELECT {}, {}\nFROM {}\nWHERE {} IS NOT NULL{}",
            self.fingerprint(),
            columns.join(", "),
            self.sessions(),
            self.token(),
            self.and_among(Among::Fingerprints(fingerprints))
        ))
    }

    /// Reads a line of [`Self::addresses_by_fingerprint`].
    #[must_use]
    pub fn addressed(&self, row: &[Option<String>]) -> Option<(u64, Address)> {
        let fingerprint: i64 = row.first()?.as_deref()?.parse().ok()?;
        let first = row.get(1)?.as_deref()?;
        let address = match self.row_addressing() {
            RowAddressing::Place => Address::Place(row_ref::place(first)?),
            RowAddressing::HeapAndPlace => Address::HeapAndPlace {
                heap: first.parse().ok()?,
                place: row_ref::place(row.get(2)?.as_deref()?)?,
            },
            RowAddressing::Id => Address::Id(first.to_owned()),
            RowAddressing::Nothing => return None,
        };
        Some((fingerprint.cast_unsigned(), address))
    }

    /// Whether rows of some users are found by comparing the column with what stands for them.
    #[must_use]
    pub fn finds_users_by_value(&self) -> bool {
        let sessions = &self.mapping.sessions;
        self.mapping.user.as_ref().is_some_and(|user| {
            let kinds = [ColumnKind::Integer, ColumnKind::Text, ColumnKind::Uuid];
            let is_exact = self.equality(sessions, user) == Equality::Exact;
            is_exact && (!self.dialect().casts_literals() || kinds.contains(&self.kind(sessions, user)))
        })
    }

    /// How a scan finds sessions whose user does not exist. To compare the keys of large tables here takes a fraction of the
    /// time of a join there, as long as equal keys are the same bytes and there are not many more users than sessions.
    #[must_use]
    pub fn orphan_search(&self) -> OrphanSearch {
        if !self.looks_for_orphans() {
            return OrphanSearch::Skipped;
        }
        let (Some(users), Some(user)) = (&self.mapping.users, &self.mapping.user) else {
            return OrphanSearch::Skipped;
        };
        let sessions = &self.mapping.sessions;
        let kind = self.kind(sessions, user);
        let comparable = self.dialect().scans_typed_columns()
            && self.keyed_alike(users)
            && self.link(users) == Equality::Exact
            && self.equality(sessions, user) == Equality::Exact
            && !self.mixes_padding(users)
            && matches!(kind, ColumnKind::Integer | ColumnKind::Text | ColumnKind::Uuid);
        let rows = |table| self.schema.table(table).and_then(|table| table.estimated_rows);
        let worthwhile = rows(sessions).zip(rows(&users.table)).is_some_and(|(sessions, users)| {
            sessions >= LARGE_TABLE && users <= sessions.saturating_mul(USERS_PER_SESSION)
        });
        if !comparable || !worthwhile {
            return OrphanSearch::Join;
        }
        let key = super::identifier(&users.key);
        let key = if kind == ColumnKind::Integer { key } else { self.text(&key) };
        OrphanSearch::UserKeys(format!(
            "SELECT {key} FROM {} WHERE {} IS NOT NULL",
            super::table(&users.table),
            super::identifier(&users.key)
        ))
    }
}
