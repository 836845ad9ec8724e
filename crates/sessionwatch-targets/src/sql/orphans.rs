//! The SQL of users who exist: how sessions are joined with them, and what proves that none is missing.

use super::{OrphanSearch, QueryBuilder, quote_identifier, quote_table};
use crate::{
    mapping::{TableName, UsersMapping},
    sql::tables::{ColumnInfo, ColumnKind, Equality, TableKind},
};

impl QueryBuilder<'_> {
    /// Whether orphans must be looked for in the rows: there are users, and nothing proves that all exist. Where the role
    /// does not see every user, a user who is not seen may exist, so no row can be told to be an orphan.
    #[must_use]
    pub fn needs_orphan_search(&self) -> bool {
        let known = self.mapping.user.is_some()
            && self.mapping.users.is_some()
            && self.users_visibility_caveat().is_none();
        known && self.orphan_proof_key().is_none()
    }

    /// Why users may be missing from what can be read of them, although they exist.
    #[must_use]
    pub fn users_visibility_caveat(&self) -> Option<String> {
        if let Some(users) = self.hidden_users_table() {
            return Some(format!(
                "row-level security hides rows of {} from this role; `sessionwatch grants` prints a policy that shows them",
                quote_table(users)
            ));
        }
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table)?.visibility_caveat.clone()
    }

    /// The foreign key that forbids orphans: validated, enabled, and for every row of both tables.
    #[must_use]
    pub fn orphan_proof_key(&self) -> Option<&str> {
        let users = self.mapping.users.as_ref()?;
        let sessions = self.schema.table(&self.mapping.sessions)?;
        let key = sessions.foreign_key_on(self.mapping.user.as_deref()?)?;
        let whole =
            self.schema.table(&users.table).is_some_and(|table| !table.has_children && !table.is_subscribed);
        let refers = key.target_table == users.table.name
            && key.target_columns.iter().eq([&users.key])
            && (users.table.schema.is_none() || key.target_schema == users.table.schema);
        // SQLite checks foreign keys only where the application asked for it, so one proves nothing there.
        let proves = refers && whole && sessions.is_proved_by(key);
        (proves && !self.ignore_constraints && self.schema.dialect.enforces_foreign_keys())
            .then_some(key.name.as_str())
    }

    pub(super) fn orphan_join(&self) -> (String, Option<String>) {
        match (&self.mapping.users, &self.mapping.user) {
            (Some(users), Some(user)) if self.plan_orphan_search() == OrphanSearch::Join => {
                let user = self.session_column(user);
                let join = self.join_users(users, &user);
                let orphan = format!("({user} IS NOT NULL AND u.k IS NULL)");
                (join, Some(orphan))
            }
            _ => (String::new(), None),
        }
    }

    /// Joins each row to at most one user, whose key is `u.k`.
    pub(super) fn join_users(&self, users: &UsersMapping, user: &str) -> String {
        let link = self.user_key_equality(users);
        let distinct = if self.has_unique_user_keys(users) { "" } else { "DISTINCT " };
        let key = self.fold_expr(&quote_identifier(&users.key), link);
        let source = format!("(SELECT {distinct}{key} AS k FROM {})", quote_table(&users.table));
        let (key, user) = self.comparable_pair(users, "u.k".into(), self.fold_expr(user, link));
        format!("\nLEFT JOIN {source} AS u ON {key} = {user}")
    }

    /// Whether no two users have keys that are equal to what a session holds.
    pub(super) fn has_unique_user_keys(&self, users: &UsersMapping) -> bool {
        let found = self.schema.table(&users.table);
        let same = self.user_key_equality(users) == self.column_equality(&users.table, &users.key);
        same && found.is_some_and(|table| table.unique_index_on(&users.key).is_some())
    }

    /// The users as `w`, one for each key: a session with two of them would be listed twice.
    pub(super) fn users_source(&self, users: &UsersMapping) -> String {
        // Of a view it is not known, and to group it costs more than a line that comes twice.
        let is_view = self.schema.table(&users.table).is_some_and(|found| found.kind == TableKind::View);
        let table = quote_table(&users.table);
        if is_view || self.has_unique_user_keys(users) {
            return format!("{table} AS w");
        }
        let key = self.fold_expr(&quote_identifier(&users.key), self.user_key_equality(users));
        let columns = users.display.iter().filter(|column| **column != users.key);
        let columns: String = columns
            .map(|column| quote_identifier(column))
            .map(|column| format!(", MIN({}) AS {column}", self.cast_to_text(&column)))
            .collect();
        format!(
            "(SELECT {key} AS {}{columns} FROM {table} GROUP BY {key}) AS w",
            quote_identifier(&users.key)
        )
    }

    /// How users are found by what a session holds: as either column compares, whichever makes more values equal.
    pub(super) fn user_key_equality(&self, users: &UsersMapping) -> Equality {
        let user = self.mapping.user.as_ref().map(|user| self.column_equality(&self.mapping.sessions, user));
        let both = [self.column_equality(&users.table, &users.key), user.unwrap_or_default()];
        let wider = [Equality::CaseInsensitive, Equality::TrailingSpaceInsensitive, Equality::Text];
        wider.into_iter().find(|equality| both.contains(equality)).unwrap_or(both[0])
    }

    /// Whether the column of the session and the key of the users are of one kind, so that an index can join them.
    pub(super) fn has_matching_key_types(&self, users: &UsersMapping) -> bool {
        let column =
            |table: &TableName, name: &str| -> Option<&ColumnInfo> { self.schema.table(table)?.column(name) };
        let user = self.mapping.user.as_ref().and_then(|user| column(&self.mapping.sessions, user));
        let (Some(user), Some(key)) = (user, column(&users.table, &users.key)) else { return false };
        user.kind == key.kind && (user.kind != ColumnKind::Other || user.declared_type == key.declared_type)
    }

    /// Whether one of the key and the user is padded with spaces (`character(n)`), and the other is not: they are compared
    /// without those spaces, as whose texts they differ.
    pub(super) fn has_mixed_padding(&self, users: &UsersMapping) -> bool {
        let is_padded = |table: &TableName, name: &str| {
            self.schema
                .table(table)
                .and_then(|table| table.column(name))
                .is_some_and(|column| column.is_padded)
        };
        let user = self.mapping.user.as_ref();
        user.is_some_and(|user| {
            is_padded(&self.mapping.sessions, user) != is_padded(&users.table, &users.key)
        })
    }

    /// Both sides of a comparison of a key and a user, as text where they could not be compared otherwise.
    pub(super) fn comparable_pair(
        &self,
        users: &UsersMapping,
        key: String,
        user: String,
    ) -> (String, String) {
        let folded = ![Equality::Exact, Equality::Collation].contains(&self.user_key_equality(users));
        if folded || self.has_matching_key_types(users) || self.dialect().compares_any_types() {
            (key, user)
        } else {
            (self.cast_to_text(&key), self.cast_to_text(&user))
        }
    }

    /// Both sides of the join of `w`, the users, with the user of a session.
    pub(super) fn user_join_pair(&self, users: &UsersMapping) -> (String, String) {
        let link = self.user_key_equality(users);
        let key = self.fold_expr(&format!("w.{}", quote_identifier(&users.key)), link);
        self.comparable_pair(users, key, self.fold_expr(&self.user_column(), link))
    }
}
