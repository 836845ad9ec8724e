//! The SQL of planning: which rows an action would touch, named without their tokens.

use sessionwatch_core::timestamp::UtcTimestamp;

use super::{QueryBuilder, RowKeyKind, dialect::RowHashColumns, quote_identifier, quote_table};
use crate::{
    mapping::{RevokeMethod, UsersMapping},
    side_effects::ForeignKeyEdge,
    sql::tables::ColumnKind,
};

/// Sessions that refer to each other, followed behind each other.
const MAX_REFERENCE_DEPTH: u32 = 32;

/// Conditions on sessions that a person names; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelectionFilter {
    /// Of this user.
    pub user: Option<String>,
    /// Whose id, name or handle contains this, in upper or lower case.
    pub user_like: Option<String>,
    /// Created after that instant, in microseconds.
    pub created_after: Option<i64>,
    /// Created before that instant.
    pub created_before: Option<i64>,
    /// That end after that instant.
    pub expires_after: Option<i64>,
    /// That end before that instant.
    pub expires_before: Option<i64>,
    /// From this address.
    pub ip: Option<String>,
    /// Whose user agent contains this.
    #[serde(rename = "user_agent_like")]
    pub agent_like: Option<String>,
    /// In which somebody else acts for the user.
    pub impersonated: bool,
}

/// What an action is about.
#[derive(Clone, Copy, Debug)]
pub enum RowSelection<'a> {
    /// Rows that ended before that instant.
    Expired(UtcTimestamp),
    /// Rows whose user does not exist.
    Orphaned,
    /// Rows on tokens that occur more than once: all, where several users share the token; all but the newest, where it is
    /// one user's.
    Duplicates,
    /// Active rows of users who hold more than so many, beyond that number; those that end last are kept.
    Excess(u64),
    /// Rows of one user.
    User(&'a str),
    /// Rows of some users.
    Users(&'a [String]),
    /// The row of that id, or on tokens that begin so.
    IdOrPrefix(&'a str),
    /// Every row.
    All,
    /// Rows that fit.
    Matching(&'a SelectionFilter),
    /// Those rows, and the sessions that the database deletes with them because they refer to them.
    WithReferencing(&'a RowSelection<'a>, &'a [ForeignKeyEdge]),
}

/// Rows that an action is about.
#[derive(Clone, Copy, Debug)]
pub struct SelectionQuery<'a> {
    /// What they have in common.
    pub selection: RowSelection<'a>,
    /// How they are ended: what has ended so already is left out.
    pub revoke: &'a RevokeMethod,
    /// What is unique to each of them.
    pub row_key: RowKeyKind,
}

/// Columns that together are unique to a row inside one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowKeyColumns(Vec<String>);

impl RowKeyColumns {
    /// `(a, b)`, or `a` alone.
    fn tuple_expr(&self) -> String {
        if let [one] = self.0.as_slice() { one.clone() } else { format!("({})", self.0.join(", ")) }
    }

    /// `a AS n0, b AS n1`
    fn aliased_columns(&self) -> String {
        let names = self.0.iter().enumerate().map(|(at, column)| format!("{column} AS n{at}"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// `r.n0, r.n1`
    fn outer_columns(&self) -> String {
        self.columns_of("r")
    }

    /// `t.n0, t.n1`
    fn columns_of(&self, table: &str) -> String {
        (0..self.0.len()).map(|at| format!("{table}.n{at}")).collect::<Vec<_>>().join(", ")
    }

    /// `a = t.n0 AND b = t.n1`
    fn equality_condition(&self, table: &str) -> String {
        let parts = self.0.iter().enumerate().map(|(at, column)| format!("{column} = {table}.n{at}"));
        parts.collect::<Vec<_>>().join(" AND ")
    }

    /// `a DESC, b DESC`
    fn descending_order(&self) -> String {
        self.0.iter().map(|column| format!("{column} DESC")).collect::<Vec<_>>().join(", ")
    }
}

impl QueryBuilder<'_> {
    /// What every row has and no two share, inside one query; `None` if the table has nothing like that.
    #[must_use]
    pub fn row_key(&self, addressing: RowKeyKind) -> Option<RowKeyColumns> {
        let places = |several_heaps| {
            let columns = self.dialect().position_columns(several_heaps).iter();
            Some(RowKeyColumns(columns.map(|&column| column.to_owned()).collect()))
        };
        match addressing {
            RowKeyKind::Place => places(false),
            RowKeyKind::HeapAndPlace => places(true),
            // Rows without an id would be left out unseen.
            RowKeyKind::Id => self.unique_id_column().map(|id| RowKeyColumns(vec![self.session_column(id)])),
        }
    }

    /// Whether no two rows have the same value there.
    #[must_use]
    pub fn is_unique_column(&self, column: &str) -> bool {
        self.schema.table(&self.mapping.sessions).is_some_and(|table| table.unique_index_on(column).is_some())
    }

    /// The row id, if every row has one, and no two have the same.
    pub(super) fn unique_id_column(&self) -> Option<&str> {
        let id = self.mapping.id.as_deref().filter(|id| self.is_unique_column(id))?;
        let column = self.schema.table(&self.mapping.sessions)?.column(id)?;
        (!column.nullable).then_some(id)
    }

    /// A hash, under the key of this look, of what must not have changed when a plan is carried out: id, token, user and
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

    /// The rows that an action would touch: locator (place, or else heap), version, id, mark, prefix, user, end in
    /// microseconds, whether it is active, fingerprint of the token.
    #[must_use]
    pub fn planned_rows_query(
        &self,
        selection: RowSelection<'_>,
        revoke: &RevokeMethod,
        addressing: RowKeyKind,
    ) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let [locator, version] = self.dialect().planned_version_exprs(addressing);
        let id = self
            .mapping
            .id
            .as_deref()
            .map_or("CAST(NULL AS text)".into(), |id| self.cast_to_text(&self.session_column(id)));
        let place = match addressing {
            RowKeyKind::Place => Some(self.dialect().position_columns(false).join(", ")),
            RowKeyKind::HeapAndPlace => Some(self.dialect().position_columns(true).join(", ")),
            RowKeyKind::Id => None,
        };
        let (before, gone, condition, first) = match (selection, self.row_key(addressing)) {
            (RowSelection::WithReferencing(&roots, references), Some(name)) => (
                format!(
                    "WITH RECURSIVE {goes}, gone AS (SELECT {names}, MAX(goes.depth) AS depth FROM goes GROUP BY {names})\n",
                    goes = self.cascade_cte(
                        SelectionQuery { selection: roots, revoke, row_key: addressing },
                        references,
                        &name
                    ),
                    names = name.columns_of("goes"),
                ),
                ", gone",
                name.equality_condition("gone"),
                // What refers to a row goes before it, so that nothing goes with it unseen.
                Some("gone.depth DESC"),
            ),
            _ => (String::new(), "", self.selection_condition(selection, revoke, addressing), None),
        };
        // Rows that lie together are removed together.
        let order: Vec<&str> = first.into_iter().chain(place.as_deref()).collect();
        let order = if order.is_empty() { String::new() } else { format!("\nORDER BY {}", order.join(", ")) };
        format!(
            "{before}SELECT {locator}, {version}, {id}, {mark}, {prefix}, {user}, {end}, CASE WHEN {active} THEN 1 ELSE 0 END, {fingerprint}\nFROM {sessions}{gone}\nWHERE {condition}{order}",
            fingerprint = self.fingerprint_expr(),
            mark = self.row_hash_expr(),
            prefix = self.token_prefix_expr(),
            user = self.cast_to_text(&self.user_column()),
            end = expiry.micros_expr(&expiry.value),
            active = expiry.active_condition(self.now),
            sessions = self.sessions_source(),
        )
    }

    /// How many rows an action would touch now.
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

    /// One row: active sessions, all, those whose end cannot be read or is before that instant, those whose end is text that
    /// names no zone, and microseconds of the latest creation and of the latest end that has passed.
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

    /// One line if there is a user of that id, whatever ids are made of; nothing where no users are known.
    #[must_use]
    pub fn user_exists_query(&self, id: &str) -> Option<String> {
        let users = self.mapping.users.as_ref()?;
        let equality = self.column_equality(&users.table, &users.key);
        let key =
            self.cast_to_text(&self.fold_expr(&format!("w.{}", quote_identifier(&users.key)), equality));
        let id = self.fold_expr(&self.quote_string(id), equality);
        Some(format!("SELECT 1 FROM {} AS w WHERE {key} = {id} LIMIT 1", quote_table(&users.table)))
    }

    /// Users whose id, name or handle contains a text: id, then the display columns; nothing where no users are known.
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

    /// One row: the first and the last token prefix of so many sessions, in alphabetical order, and how many sessions those are.
    #[must_use]
    pub fn token_prefix_range_query(&self, limit: usize) -> String {
        format!(
            "SELECT MIN(p), MAX(p), COUNT(*) FROM (SELECT {} AS p FROM {} WHERE {} IS NOT NULL LIMIT {limit}) AS q",
            self.token_prefix_expr(),
            self.sessions_source(),
            self.token_text()
        )
    }

    /// The token as text, without what every token begins with.
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

    /// The condition that a row is of that id, or else on a token that begins so.
    fn id_or_prefix_condition(&self, name: &str) -> String {
        let prefix: String = name.chars().take(super::MAX_TOKEN_PREFIX_CHARS).collect();
        let begins = if name.is_empty() || prefix != name {
            "1 = 0".into()
        } else {
            // Upper and lower case differ in tokens.
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
        addressing: RowKeyKind,
    ) -> String {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let condition = match chosen {
            RowSelection::Expired(before) => return expiry.expired_condition(before),
            RowSelection::Orphaned => return self.orphaned_condition(),
            RowSelection::Duplicates => self.duplicate_rows_condition(addressing),
            RowSelection::Excess(keep) => self.excess_rows_condition(keep, addressing),
            RowSelection::User(id) => self.user_condition(id),
            RowSelection::Users(ids) => {
                let each: Vec<String> = ids.iter().map(|id| self.user_condition(id)).collect();
                if each.is_empty() { "1 = 0".into() } else { format!("({})", each.join(" OR ")) }
            }
            RowSelection::IdOrPrefix(name) => self.id_or_prefix_condition(name),
            RowSelection::All => "1 = 1".into(),
            RowSelection::Matching(filter) => self.filter_condition(filter),
            RowSelection::WithReferencing(&roots, references) => {
                let Some(name) = self.row_key(addressing) else { return "1 = 0".into() };
                let goes = self.cascade_cte(
                    SelectionQuery { selection: roots, revoke, row_key: addressing },
                    references,
                    &name,
                );
                let query = format!("WITH RECURSIVE {goes} SELECT {} FROM goes", name.columns_of("goes"));
                return self.key_in_query_condition(&name, &query);
            }
        };
        match revoke {
            RevokeMethod::Delete => condition,
            // What has ended already need not be ended.
            RevokeMethod::Expire => format!("{condition}\n  AND {}", expiry.active_condition(self.now)),
            RevokeMethod::Flag { column, value } => {
                let (column, value) =
                    (self.cast_to_text(&self.session_column(column)), self.quote_string(value));
                format!("{condition}\n  AND ({column} IS NULL OR {column} <> {value})")
            }
        }
    }

    /// The table `goes` of the rows of a choice and of what refers to them, in turn: names, what others refer to, and how many
    /// rows away from a chosen one.
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

    /// Rows that are evidence of a leak: fingerprint, prefix, id, user, end in microseconds, and whether the user does not exist.
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
            "{token} IN (SELECT {token} FROM {sessions} WHERE {token} IS NOT NULL GROUP BY {token} HAVING COUNT(*) > 1)",
            sessions = self.sessions_source()
        );
        format!(
            "SELECT {fingerprint}, {prefix}, {id}, {user}, {end}, CASE WHEN {orphaned} THEN 1 ELSE 0 END\nFROM {sessions}\nWHERE {doubled} OR ({orphaned})\nORDER BY 1, 4, 3\nLIMIT {limit}",
            fingerprint = self.fingerprint_expr(),
            prefix = self.token_prefix_expr(),
            user = self.cast_to_text(&self.user_column()),
            end = expiry.micros_expr(&expiry.value),
            sessions = self.sessions_source(),
            orphaned = self.orphaned_condition(),
        )
    }

    /// The condition that a row's user does not exist; it holds for no row where users may be missing from what is read.
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

    /// The condition that `w` is the user of `s`.
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
                // A creation that is not known is the oldest.
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
                "SELECT {outer} FROM (\n    SELECT {selected}, MIN({user}) OVER same AS low, MAX({user}) OVER same AS high,\n      \
                 COUNT({user}) OVER same AS known, COUNT(*) OVER same AS n,\n      \
                 ROW_NUMBER() OVER (PARTITION BY {token} ORDER BY {newest}, {descending}) AS turn\n    \
                 FROM {sessions}\n    WHERE {token} IN ({doubled})\n    WINDOW same AS (PARTITION BY {token})\n  ) AS r\n  \
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

    /// The condition that a row is among those that a query names.
    fn key_in_query_condition(&self, name: &RowKeyColumns, query: &str) -> String {
        self.dialect().in_query_condition(&name.0, &name.tuple_expr(), query)
    }
}
