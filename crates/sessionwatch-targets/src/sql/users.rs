//! SQL for users: sessions per user, top users, and display columns.

use std::fmt::Write as _;

use super::{QueryBuilder, quote_identifier, quote_table};
use crate::sql::table_info::{ColumnKind, Equality};

/// Collation that sorts text by bytes, the fastest order.
const BYTE_COLLATION: &str = " COLLATE \"C\"";

impl QueryBuilder<'_> {
    /// Returns the query for all facts about users in one pass over the sessions: kind of row, user, rows
    /// `n`, active `a`, created in the last hour `r`, orphan flag, number of such users. Rows of the kind
    /// `users` are totals; `active`, `rows` and `recent` list notable users, those with the highest count
    /// first; `orphan` lists users that do not exist.
    #[must_use]
    pub fn per_user_query(&self, tops: usize, orphans: usize) -> String {
        let (mut sql, has_recent) = self.user_tally_cte();
        let is_collated = self.has_collated_user();
        let name = if is_collated { "name" } else { "u" };
        let named = |column: &str| format!("CASE WHEN n > {} OR o THEN {column} END", self.notable_above);
        let name_of = if is_collated { format!("{} AS name, ", named("name")) } else { String::new() };
        let missing = "CASE WHEN o THEN 1 ELSE 0 END";
        // Only notable users are listed by name; all others are grouped by their counts.
        let _ = write!(
            sql,
            ", grouped AS MATERIALIZED (\n  SELECT {u} AS u, {name_of}n, a, r, o, COUNT(*) AS users \
             FROM known GROUP BY {by}\n)\n\
             SELECT 'users', CAST(NULL AS text), n, a, r, {missing}, CAST(SUM(users) AS bigint) FROM grouped \
             GROUP BY n, a, r, {missing}",
            u = named("u"),
            by = if is_collated { "1, 2, n, a, r, o" } else { "1, n, a, r, o" },
        );
        let mut lines = |kind: &str, rest: String| {
            let _ = write!(
                sql,
                "\nUNION ALL SELECT * FROM (SELECT '{kind}', CAST({name} AS text), n, a, r, {missing}, 1 \
                 FROM grouped WHERE u IS NOT NULL AND {rest}) AS {kind}_users"
            );
        };
        let order = self.user_order_expr("grouped");
        let above = self.notable_above;
        lines("active", format!("a > {above} ORDER BY a DESC, {order} LIMIT {tops}"));
        if has_recent {
            lines("recent", format!("NOT o AND r > {above} ORDER BY r DESC, {order} LIMIT {tops}"));
        } else {
            lines("rows", format!("NOT o AND n > {above} ORDER BY n DESC, {order} LIMIT {tops}"));
        }
        if self.needs_orphan_search() {
            lines("orphan", format!("o LIMIT {orphans}"));
        }
        sql
    }

    /// Returns `WITH known AS (…)`: each user `u` with rows `n`, active `a`, created in the last hour `r`,
    /// orphan flag `o`.
    fn user_tally_cte(&self) -> (String, bool) {
        let expiry = self.timestamp_expr(&self.mapping.expires);
        let recent = self.created_last_hour_condition();
        let (active, user) = (expiry.active_condition(self.now), self.user_key());
        let (sorted, sessions) = (self.sortable_user_expr(), self.sessions_source());
        let has_recent = recent.is_some();
        let counted = |condition: &str| self.count_where(condition);
        let per = if let Some(key) = &sorted {
            // Sorted narrow rows are grouped and merged with the index of the users in one pass, while a hash
            // table of all users waits for memory at every row.
            let recent = recent.unwrap_or_else(|| "(1 = 0)".into());
            format!(
                "  SELECT u, COUNT(*) AS n, {} AS a, {} AS r\n  FROM (SELECT {key} AS u, {active} AS active, \
                 {recent} AS recent \
                 FROM {sessions} WHERE {user} IS NOT NULL ORDER BY 1 OFFSET 0) AS sorted GROUP BY u",
                counted("active"),
                counted("recent"),
            )
        } else {
            // One of several equal texts represents all of them.
            let name = if self.has_collated_user() {
                format!(", MIN(CAST({user} AS text) COLLATE \"C\") AS name")
            } else {
                String::new()
            };
            let recent = recent.map_or("0".into(), |recent| counted(&recent));
            format!(
                "  SELECT {user} AS u, COUNT(*) AS n, {} AS a, {recent} AS r{name}\n  \
                 FROM {sessions} WHERE {user} IS NOT NULL GROUP BY {user}",
                counted(&active),
            )
        };
        let names = if self.has_collated_user() { ", name" } else { "" };
        let compared = match &sorted {
            Some(key) if key.ends_with(BYTE_COLLATION) => format!("per.u{BYTE_COLLATION}"),
            _ => "per.u".to_owned(),
        };
        let (join, orphan) = match &self.mapping.users {
            Some(users) if self.needs_orphan_search() => (self.join_users(users, &compared), "(u.k IS NULL)"),
            _ => (String::new(), "(1 = 0)"),
        };
        let sql = format!(
            "WITH per AS (\n{per}\n), known AS (\n  SELECT per.u AS u, n, a, r, {orphan} AS o{names} FROM per{join}\n)"
        );
        (sql, has_recent)
    }

    /// Returns the user of a session in a form that sorts fast and is equal only for equal users, or `None`
    /// if there is none.
    fn sortable_user_expr(&self) -> Option<String> {
        let user = self.mapping.user.as_deref()?;
        let is_exact = self.column_equality(&self.mapping.sessions, user) == Equality::Exact;
        let joins_alike = self.mapping.users.as_ref().is_none_or(|users| {
            !self.needs_orphan_search()
                || (self.user_key_equality(users) == Equality::Exact && !self.has_mixed_padding(users))
        });
        if self.standalone || !self.dialect().sorts_before_grouping() || !is_exact || !joins_alike {
            return None;
        }
        match self.column_kind(&self.mapping.sessions, user) {
            ColumnKind::Integer | ColumnKind::Uuid => Some(self.session_column(user)),
            ColumnKind::Text => {
                Some(format!("{}{BYTE_COLLATION}", self.cast_to_text(&self.session_column(user))))
            }
            _ => None,
        }
    }

    /// Returns the order of the users of a table.
    fn user_order_expr(&self, table: &str) -> String {
        let kind = self.mapping.user.as_deref().map(|user| self.column_kind(&self.mapping.sessions, user));
        if self.has_collated_user() { "name".into() } else { self.dialect().user_order_expr(table, kind) }
    }

    /// Returns the query for users with more than `above` of one count (`n`, `a` or `r`), highest first.
    #[must_use]
    pub fn top_users_query(&self, tally: char, above: u64, limit: usize) -> String {
        self.select_top_users(&tally.to_string(), tally, above, limit)
    }

    /// Returns the query for users with a count (`n`, `a` or `r`), highest first: the user, the count, and the number
    /// of all users with such a count.
    #[must_use]
    pub fn ranked_users_query(&self, tally: char, limit: usize) -> String {
        self.select_top_users(&format!("{tally}, COUNT(*) OVER ()"), tally, 0, limit)
    }

    fn select_top_users(&self, columns: &str, tally: char, above: u64, limit: usize) -> String {
        let (mut sql, _) = self.user_tally_cte();
        // Users that do not exist still count as holders of active sessions.
        let existing = if tally == 'a' { "" } else { " AND NOT o" };
        let (shown, order) = (
            if self.has_collated_user() { "name" } else { "CAST(u AS text)" },
            self.user_order_expr("known"),
        );
        // Writing to a String cannot fail.
        let _ = write!(
            sql,
            "\nSELECT {shown}, {columns} FROM known WHERE {tally} > {above}{existing} ORDER BY {tally} DESC, \
             {order} LIMIT {limit}"
        );
        sql
    }

    /// Returns the query for the display columns of these users: ID, then the columns.
    #[must_use]
    pub fn user_display_query(&self, ids: &[&str]) -> Option<String> {
        let users =
            self.mapping.users.as_ref().filter(|users| !users.display.is_empty() && !ids.is_empty())?;
        let list: Vec<String> = ids.iter().map(|id| self.quote_string(id)).collect();
        let equality = self.user_key_equality(users);
        let key =
            self.cast_to_text(&self.fold_expr(&format!("w.{}", quote_identifier(&users.key)), equality));
        let shown: String = users
            .display
            .iter()
            .map(|column| format!(", {}", self.display_text(&format!("w.{}", quote_identifier(column)))))
            .collect();
        // Compared in its own type, the key can be looked up in its index.
        let indexed = self.dialect().casts_literals()
            && self.has_matching_key_types(users)
            && [Equality::Exact, Equality::Collation].contains(&equality);
        let compared = if indexed { format!("w.{}", quote_identifier(&users.key)) } else { key.clone() };
        Some(format!(
            "SELECT {key}{shown}\nFROM {} AS w\nWHERE {compared} IN ({})",
            quote_table(&users.table),
            list.join(", ")
        ))
    }
}
