//! SQL for planning: the rows that a plan covers, identified without their tokens.

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{QueryBuilder, RowKeyKind, dialect::RowHashColumns, quote_identifier, quote_table};
use crate::{
    mapping::{RevokeMethod, UsersMapping},
    side_effects::ForeignKeyEdge,
    sql::table_info::ColumnKind,
};

/// Longest chain of sessions that refer to each other.
const MAX_REFERENCE_DEPTH: u32 = 32;

/// Filter for sessions. All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionFilter {
    /// User id.
    pub user: Option<String>,
    /// Part of the user's id, name or handle, ignoring case.
    pub user_like: Option<String>,
    /// Creation time after this, in microseconds.
    pub created_after: Option<i64>,
    /// Creation time before this.
    pub created_before: Option<i64>,
    /// Expiry time after this.
    pub expires_after: Option<i64>,
    /// Expiry time before this.
    pub expires_before: Option<i64>,
    /// IP address.
    pub ip: Option<String>,
    /// Part of the user agent, ignoring case.
    #[serde(rename = "user_agent_like")]
    pub agent_like: Option<String>,
    /// Only sessions in which an impersonator acts for the user.
    pub impersonated: bool,
}

/// The rows that a plan covers.
#[derive(Clone, Copy, Debug)]
pub enum RowSelection<'a> {
    /// Rows expired at this time.
    Expired(UtcTimestamp),
    /// Rows whose user does not exist.
    Orphaned,
    /// Rows whose token occurs more than once: all if several users share the token, otherwise all but the
    /// newest.
    Duplicates,
    /// Active rows of each user beyond this number; those that expire last are kept.
    Excess(u64),
    /// Rows of one user.
    User(&'a str),
    /// Rows of several users.
    Users(&'a [String]),
    /// The row with this id, or rows with this token prefix.
    IdOrPrefix(&'a str),
    /// The rows with these ids.
    Ids(&'a [String]),
    /// Every row.
    All,
    /// Rows that match a filter.
    Matching(&'a SelectionFilter),
    /// The given rows, and the sessions that the database deletes with them by foreign keys.
    WithReferencing(&'a RowSelection<'a>, &'a [ForeignKeyEdge]),
}

/// A selection of rows.
#[derive(Clone, Copy, Debug)]
pub struct SelectionQuery<'a> {
    /// Property of the rows.
    pub selection: RowSelection<'a>,
    /// Method of ending them. Rows already ended that way are left out.
    pub revoke: &'a RevokeMethod,
    /// Unique key of the rows.
    pub row_key: RowKeyKind,
}

/// Columns that identify a row within one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKeyColumns(Vec<String>);

impl RowKeyColumns {
    /// Returns `(a, b)`, or `a` alone.
    fn tuple_expr(&self) -> String {
        if let [one] = self.0.as_slice() { one.clone() } else { format!("({})", self.0.join(", ")) }
    }

    /// Returns `a AS n0, b AS n1`.
    fn aliased_columns(&self) -> String {
        let names = self.0.iter().enumerate().map(|(at, column)| format!("{column} AS n{at}"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Returns `r.n0, r.n1`.
    fn outer_columns(&self) -> String {
        self.columns_of("r")
    }

    /// Returns `t.n0, t.n1`.
    fn columns_of(&self, table: &str) -> String {
        (0..self.0.len()).map(|at| format!("{table}.n{at}")).collect::<Vec<_>>().join(", ")
    }

    /// Returns `a = t.n0 AND b = t.n1`.
    fn equality_condition(&self, table: &str) -> String {
        let parts = self.0.iter().enumerate().map(|(at, column)| format!("{column} = {table}.n{at}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// Returns `a DESC, b DESC`.
    fn descending_order(&self) -> String {
        self.0.iter().map(|column| format!("{column} DESC")).collect::<Vec<_>>().join(", ")
    }
}

impl QueryBuilder<'_> {
    /// Returns the columns that identify a row within one query, or `None` if the table has none.
    #[must_use]
    pub fn row_key(&self, addressing: RowKeyKind) -> Option<RowKeyColumns> {
        let places = |several_heaps| {
            let columns = self.dialect().position_columns(several_heaps).iter();
            Some(RowKeyColumns(columns.map(|&column| column.to_owned()).collect()))
        };
        match addressing {
            RowKeyKind::Place => places(false),
            RowKeyKind::HeapAndPlace => places(true),
            // A nullable id would silently leave out rows.
            RowKeyKind::Id => self.unique_id_column().map(|id| RowKeyColumns(vec![self.session_column(id)])),
        }
    }

    /// Returns `true` if values of a column are unique.
    #[must_use]
    pub fn is_unique_column(&self, column: &str) -> bool {
        self.schema.table(&self.mapping.sessions).is_some_and(|table| table.unique_index_on(column).is_some())
    }

    /// Returns the row id column, if it is unique and never NULL.
    pub(super) fn unique_id_column(&self) -> Option<&str> {
        let id = self.mapping.id.as_deref().filter(|id| self.is_unique_column(id))?;
        let column = self.schema.table(&self.mapping.sessions)?.column(id)?;
        (!column.nullable).then_some(id)
    }

    /// Returns a keyed hash of the columns that must not change between plan and apply: id, token, user and
    /// expiry.
    #[must_use]
    pub fn row_hash_expr(&self) -> String {
        let named = [self.mapping.id.as_deref(), self.mapping.user.as_deref()];
        let columns = named.map(|column| column.map(|column| self.session_column(column)));
        let [id, user] = columns.map(|column| column.unwrap_or_else(|| "NULL".into()));
        let (token, expires) =
            (self.session_column(&self.mapping.token), self.session_column(&self.mapping.expires.column));
        let kind = self.column_kind(&self.mapping.sessions, &self.mapping.expires.column);
        let expires_in_zone = kind == ColumnKind::Timestamptz;
        self.dialect()
            .row_hash_expr(RowHashColumns { id, token, user, expires, expires_in_zone }, self.fingerprint_key)
    }

    /// Returns the query for the rows of a plan: locator (position or heap), version, id, row hash, token
    /// prefix, user, expiry in microseconds, active flag, fingerprint.
    #[must_use]
    pub fn planned_rows_query(
        &self,
        selection: RowSelection<'_>,
        revoke: &RevokeMethod,
        row_key: RowKeyKind,
    ) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let [locator, version] = self.dialect().planned_version_exprs(row_key);
        let id = self
            .mapping
            .id
            .as_deref()
            .map_or("CAST(NULL AS text)".into(), |id| self.cast_to_text(&self.session_column(id)));
        let place = match row_key {
            RowKeyKind::Place => Some(self.dialect().position_columns(false).join(", ")),
            RowKeyKind::HeapAndPlace => Some(self.dialect().position_columns(true).join(", ")),
            RowKeyKind::Id => None,
        };
        let (before, gone, condition, first) = match (selection, self.row_key(row_key)) {
            (RowSelection::WithReferencing(&roots, references), Some(name)) => (
                format!(
                    "WITH RECURSIVE {goes}, gone AS (SELECT {names}, MAX(goes.depth) AS depth FROM goes \
                     GROUP BY {names})\n",
                    goes = self.cascade_cte(
                        SelectionQuery { selection: roots, revoke, row_key },
                        references,
                        &name
                    ),
                    names = name.columns_of("goes"),
                ),
                ", gone",
                name.equality_condition("gone"),
                // Referencing rows are deleted first, so that no row is deleted by a cascade unnoticed.
                Some("gone.depth DESC"),
            ),
            _ => (String::new(), "", self.selection_condition(selection, revoke, row_key), None),
        };
        // Rows stored together are deleted together, which touches fewer pages.
        let order: Vec<&str> = first.into_iter().chain(place.as_deref()).collect();
        let order = if order.is_empty() { String::new() } else { format!("\nORDER BY {}", order.join(", ")) };
        format!(
            "{before}SELECT {locator}, {version}, {id}, {row_hash}, {prefix}, {user}, {end}, \
             CASE WHEN {active} THEN 1 ELSE 0 END, {fingerprint}\nFROM {sessions}{gone}\nWHERE {condition}{order}",
            fingerprint = self.fingerprint_expr(),
            row_hash = self.row_hash_expr(),
            prefix = self.token_prefix_expr(),
            user = self.cast_to_text(&self.user_column()),
            end = expiry.micros_expr(&expiry.value),
            active = expiry.active_condition(self.now),
            sessions = self.sessions_source(),
        )
    }

    /// Returns the query that counts the selected rows.
    #[must_use]
    pub fn count_rows_query(
        &self,
        selection: RowSelection<'_>,
        revoke: &RevokeMethod,
        addressing: RowKeyKind,
    ) -> String {
        format!(
            "SELECT COUNT(*)\nFROM {}\nWHERE {}",
            self.sessions_source(),
            self.selection_condition(selection, revoke, addressing)
        )
    }

    /// Returns the query for one row of totals: active sessions, all sessions, those with an undecodable
    /// expiry or one before the given time, those whose expiry is text without a zone, and microseconds of
    /// the latest creation and of the latest expiry in the past.
    #[must_use]
    pub fn totals_query(&self, implausible_before: UtcTimestamp) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        format!(
            "SELECT {}, COUNT(*), {}, {}, {}\nFROM {}",
            self.count_where(&expiry.active_condition(self.now)),
            self.count_where(&format!(
                "{} OR {}",
                expiry.undecodable_condition(),
                expiry.expired_condition(implausible_before)
            )),
            self.count_where(&self.naive_expiry_condition()),
            self.newest_timestamp_exprs().join(", "),
            self.sessions_source()
        )
    }

    /// Returns the query with one row if a user with this id exists, or `None` if no user table is known.
    #[must_use]
    pub fn user_exists_query(&self, id: &str) -> Option<String> {
        let users = self.mapping.users.as_ref()?;
        let equality = self.column_equality(&users.table, &users.key);
        let key =
            self.cast_to_text(&self.fold_expr(&format!("w.{}", quote_identifier(&users.key)), equality));
        let id = self.fold_expr(&self.quote_string(id), equality);
        Some(format!("SELECT 1 FROM {} AS w WHERE {key} = {id} LIMIT 1", quote_table(&users.table)))
    }

    /// Returns the query for users whose id, name or handle contains a text: id, then the display columns.
    /// `None` if no user table is known.
    #[must_use]
    pub fn search_users_query(&self, part: &str, limit: usize) -> Option<String> {
        let users = self.mapping.users.as_ref()?;
        let key = self.cast_to_text(&format!("w.{}", quote_identifier(&users.key)));
        let named = || users.display.iter().map(|column| format!("w.{}", quote_identifier(column)));
        let shown: String = named().map(|column| format!(", {}", self.display_text(&column))).collect();
        let columns = [key.clone()].into_iter().chain(named().map(|column| self.cast_to_text(&column)));
        let fits: Vec<String> = columns.map(|column| self.contains_condition(&column, part)).collect();
        Some(format!(
            "SELECT {key}{shown}\nFROM {} AS w\nWHERE {}\nORDER BY 1\nLIMIT {limit}",
            quote_table(&users.table),
            fits.join(" OR ")
        ))
    }

    /// Returns the query for one row: first and last token prefix among up to `limit` sessions in
    /// alphabetical order, and the number of sessions.
    #[must_use]
    pub fn token_prefix_range_query(&self, limit: usize) -> String {
        format!(
            "SELECT MIN(p), MAX(p), COUNT(*) FROM (SELECT {} AS p FROM {} WHERE {} IS NOT NULL LIMIT {limit}) AS q",
            self.token_prefix_expr(),
            self.sessions_source(),
            self.token_text()
        )
    }

    /// Returns the token as text, without the common prefix of all tokens.
    pub(super) fn distinct_token_text(&self) -> String {
        let value = self.token_text();
        match self.mapping.token_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => {
                let (length, prefix) = (prefix.chars().count(), self.quote_string(prefix));
                format!(
                    "CASE WHEN substr({value}, 1, {length}) = {prefix} THEN substr({value}, {}) ELSE {value} END",
                    length + 1
                )
            }
            None => value,
        }
    }

    /// Returns the condition that a row has this id, or otherwise a token with this prefix.
    fn id_or_prefix_condition(&self, name: &str) -> String {
        let prefix: String = name.chars().take(super::MAX_TOKEN_PREFIX_CHARS).collect();
        let begins = if name.is_empty() || prefix != name {
            "1 = 0".into()
        } else {
            // Tokens are case-sensitive.
            let length = prefix.chars().count();
            format!("substr({}, 1, {length}) = {}", self.token_prefix_expr(), self.quote_string(&prefix))
        };
        match &self.mapping.id {
            Some(id) => {
                let wanted = self.quote_string(name);
                let is = |alias: &str| {
                    format!("{} = {wanted}", self.cast_to_text(&format!("{alias}.{}", quote_identifier(id))))
                };
                format!(
                    "({} OR ({begins} AND NOT EXISTS (SELECT 1 FROM {} AS q WHERE {})))",
                    is("s"),
                    quote_table(&self.mapping.sessions),
                    is("q")
                )
            }
            None => begins,
        }
    }

    pub(super) fn selection_condition(
        &self,
        chosen: RowSelection<'_>,
        revoke: &RevokeMethod,
        row_key: RowKeyKind,
    ) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let condition = match chosen {
            RowSelection::Expired(before) => return expiry.expired_condition(before),
            RowSelection::Orphaned => return self.orphaned_condition(),
            RowSelection::Duplicates => self.duplicate_rows_condition(row_key),
            RowSelection::Excess(keep) => self.excess_rows_condition(keep, row_key),
            RowSelection::User(id) => self.user_condition(id),
            RowSelection::Users(ids) => {
                let each: Vec<String> = ids.iter().map(|id| self.user_condition(id)).collect();
                if each.is_empty() { "1 = 0".into() } else { format!("({})", each.join(" OR ")) }
            }
            RowSelection::IdOrPrefix(name) => self.id_or_prefix_condition(name),
            RowSelection::Ids(ids) => self.exact_ids_condition(ids),
            RowSelection::All => "1 = 1".into(),
            RowSelection::Matching(filter) => self.filter_condition(filter),
            RowSelection::WithReferencing(&roots, references) => {
                let Some(name) = self.row_key(row_key) else { return "1 = 0".into() };
                let goes =
                    self.cascade_cte(SelectionQuery { selection: roots, revoke, row_key }, references, &name);
                let query = format!("WITH RECURSIVE {goes} SELECT {} FROM goes", name.columns_of("goes"));
                return self.key_in_query_condition(&name, &query);
            }
        };
        match revoke {
            RevokeMethod::Delete => condition,
            // Expired sessions need not be expired again.
            RevokeMethod::Expire => format!("{condition}\n  AND {}", expiry.active_condition(self.now)),
            RevokeMethod::Flag { column, value } => {
                let (column, value) =
                    (self.cast_to_text(&self.session_column(column)), self.quote_string(value));
                format!("{condition}\n  AND ({column} IS NULL OR {column} <> {value})")
            }
        }
    }

    /// Returns the recursive table `goes` of the selected rows and the rows that refer to them: key columns,
    /// referenced columns, and the distance from a selected row.
    fn cascade_cte(
        &self,
        roots: SelectionQuery<'_>,
        references: &[ForeignKeyEdge],
        name: &RowKeyColumns,
    ) -> String {
        let (mut keys, mut refers) = (String::new(), vec![]);
        for (turn, reference) in references.iter().enumerate() {
            let mut conditions = vec![];
            let columns = reference
                .referencing_columns()
                .1
                .iter()
                .zip(reference.referenced_columns().1)
                .zip(&reference.equality_operators);
            for (at, ((from, to), equals)) in columns.enumerate() {
                keys.push_str(&format!("s.{} AS k{turn}_{at}, ", quote_identifier(to)));
                conditions.push(format!("goes.k{turn}_{at} {equals} s.{}", quote_identifier(from)));
            }
            refers.push(conditions.join(" AND "));
        }
        format!(
            "goes AS (SELECT {names}, {keys}0 AS depth FROM {sessions} WHERE {roots}\n\
             UNION ALL SELECT {names}, {keys}goes.depth + 1 FROM goes, {all} AS s\n\
             WHERE goes.depth < {MAX_REFERENCE_DEPTH} AND ({refers}))",
            names = name.aliased_columns(),
            sessions = self.sessions_source(),
            roots = self.selection_condition(roots.selection, roots.revoke, roots.row_key),
            all = quote_table(&self.mapping.sessions),
            refers = refers.join(" OR "),
        )
    }

    /// Returns the query for rows that are evidence of a leak: fingerprint, token prefix, id, user, expiry in
    /// microseconds, orphan flag.
    #[must_use]
    pub fn leak_rows_query(&self, limit: usize) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let id = self
            .mapping
            .id
            .as_deref()
            .map_or("CAST(NULL AS text)".into(), |id| self.cast_to_text(&self.session_column(id)));
        let token = self.token_key();
        let doubled = format!(
            "{token} IN (SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL \
             GROUP BY {token} HAVING COUNT(*) > 1)",
            sessions = self.sessions_source()
        );
        format!(
            "SELECT {fingerprint}, {prefix}, {id}, {user}, {end}, CASE WHEN {orphaned} THEN 1 ELSE 0 END\n\
             FROM {sessions}\nWHERE {doubled} OR ({orphaned})\nORDER BY 1, 4, 3\nLIMIT {limit}",
            fingerprint = self.fingerprint_expr(),
            prefix = self.token_prefix_expr(),
            user = self.cast_to_text(&self.user_column()),
            end = expiry.micros_expr(&expiry.value),
            sessions = self.sessions_source(),
            orphaned = self.orphaned_condition(),
        )
    }

    /// Returns the condition that a row's user does not exist. Always false if the user table may be
    /// incomplete.
    #[must_use]
    pub fn orphaned_condition(&self) -> String {
        let seen = self.users_visibility_caveat().is_none();
        let (Some(users), Some(user), true) = (&self.mapping.users, &self.mapping.user, seen) else {
            return "1 = 0".into();
        };
        let user = self.session_column(user);
        format!(
            "{user} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {} AS w WHERE {})",
            quote_table(&users.table),
            self.user_join_condition(users)
        )
    }

    /// Returns the condition that `w` is the user of `s`.
    pub(super) fn user_join_condition(&self, users: &UsersMapping) -> String {
        let (key, user) = self.user_join_pair(users);
        format!("{key} = {user}")
    }

    fn duplicate_rows_condition(&self, addressing: RowKeyKind) -> String {
        let Some(name) = self.row_key(addressing) else { return "1 = 0".into() };
        let (token, user) = (self.token_key(), self.cast_to_text(&self.user_key()));
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let newest = match &self.mapping.created {
            Some(created) => {
                let created = self.timestamp_expr(created);
                // A row without a creation time counts as the oldest.
                format!(
                    "CASE WHEN {0} IS NULL THEN 1 ELSE 0 END, {0} DESC",
                    created.micros_expr(&created.value)
                )
            }
            None => {
                format!("CASE WHEN {} THEN 0 ELSE 1 END, {} DESC", expiry.never_condition(), expiry.value)
            }
        };
        let doubled = format!(
            "SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL GROUP BY {token} HAVING COUNT(*) > 1",
            sessions = self.sessions_source()
        );
        self.key_in_query_condition(
            &name,
            &format!(
                "SELECT {outer} FROM (\n    SELECT {selected}, MIN({user}) OVER same AS low, MAX({user}) \
                 OVER same AS high,\n      \
                 COUNT({user}) OVER same AS known, COUNT(*) OVER same AS n,\n      \
                 ROW_NUMBER() OVER (PARTITION BY {token} ORDER BY {newest}, {descending}) AS turn\n    \
                 FROM {sessions}\n    WHERE {token} IN ({doubled})\n    \
                 WINDOW same AS (PARTITION BY {token})\n  ) AS r\n  \
                 WHERE r.low <> r.high OR (r.known > 0 AND r.known < r.n) OR r.turn > 1",
                outer = name.outer_columns(),
                selected = name.aliased_columns(),
                descending = name.descending_order(),
                sessions = self.sessions_source(),
            ),
        )
    }

    fn excess_rows_condition(&self, keep: u64, addressing: RowKeyKind) -> String {
        let Some(name) = self.row_key(addressing) else { return "1 = 0".into() };
        let user = self.user_key();
        let expiry = self.timestamp_expr(&self.mapping.expires);
        self.key_in_query_condition(
            &name,
            &format!(
                "SELECT {outer} FROM (\n    SELECT {selected},\n      ROW_NUMBER() OVER (PARTITION BY {user} ORDER BY \
                 CASE WHEN {never} THEN 0 ELSE 1 END, {value} DESC, {descending}) AS turn\n    \
                 FROM {sessions}\n    WHERE {user} IS NOT NULL AND {active}\n  ) AS r\n  WHERE r.turn > {keep}",
                outer = name.outer_columns(),
                selected = name.aliased_columns(),
                descending = name.descending_order(),
                never = expiry.never_condition(),
                value = expiry.value,
                active = expiry.active_condition(self.now),
                sessions = self.sessions_source(),
            ),
        )
    }

    /// Returns the condition that a row is among those that a query returns.
    fn key_in_query_condition(&self, name: &RowKeyColumns, query: &str) -> String {
        self.dialect().in_query_condition(&name.0, &name.tuple_expr(), query)
    }
}
