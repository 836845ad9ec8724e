//! SQL for joining sessions with users, and the proofs that no user is missing.

use super::{OrphanSearch, QueryBuilder, quote_identifier, quote_table};
use crate::{
    mapping::{TableName, UsersMapping},
    sql::table_info::{ColumnInfo, ColumnKind, Equality, TableKind},
};

impl QueryBuilder<'_> {
    /// Returns `true` if orphans must be searched for: users are known and visible, and no constraint rules
    /// orphans out.
    #[must_use]
    pub fn needs_orphan_search(&self) -> bool {
        // A user hidden from the role may exist, so no row can be called an orphan then.
        let known = self.mapping.user.is_some()
            && self.mapping.users.is_some()
            && self.users_visibility_caveat().is_none();
        known && self.orphan_proof_key().is_none()
    }

    /// Returns why the user table may be incomplete for this role.
    #[must_use]
    pub fn users_visibility_caveat(&self) -> Option<String> {
        if let Some(users) = self.hidden_users_table() {
            return Some(format!(
                "row-level security hides rows of {} from this role; run `sessionwatch grants` for a policy \
                 that shows them",
                quote_table(users)
            ));
        }
        let users = self.mapping.users.as_ref()?;
        self.schema.table(&users.table)?.visibility_caveat.clone()
    }

    /// Returns the foreign key that rules out orphans: validated, enabled, and valid for every row of both
    /// tables.
    #[must_use]
    pub fn orphan_proof_key(&self) -> Option<&str> {
        let users = self.mapping.users.as_ref()?;
        let sessions = self.schema.table(&self.mapping.sessions)?;
        let key = sessions.foreign_key_on(self.mapping.user.as_deref()?)?;
        // Rows of child tables, and replicated rows, are not covered by the foreign key.
        let whole =
            self.schema.table(&users.table).is_some_and(|table| !table.has_children && !table.is_subscribed);
        let refers = key.target_table == users.table.name
            && key.target_columns.iter().eq([&users.key])
            && (users.table.schema.is_none() || key.target_schema == users.table.schema);
        // SQLite enforces foreign keys only on connections that ask for it, so a key proves nothing there.
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

    /// Returns a join of each row with at most one user, whose key is `u.k`.
    pub(super) fn join_users(&self, users: &UsersMapping, user: &str) -> String {
        let link = self.user_key_equality(users);
        let distinct = if self.has_unique_user_keys(users) { "" } else { "DISTINCT " };
        let key = self.fold_expr(&quote_identifier(&users.key), link);
        let source = format!("(SELECT {distinct}{key} AS k FROM {})", quote_table(&users.table));
        let (key, user) = self.comparable_pair(users, "u.k".into(), self.fold_expr(user, link));
        format!("\nLEFT JOIN {source} AS u ON {key} = {user}")
    }

    /// Returns `true` if no two users have keys equal to the same session value.
    pub(super) fn has_unique_user_keys(&self, users: &UsersMapping) -> bool {
        let found = self.schema.table(&users.table);
        let same = self.user_key_equality(users) == self.column_equality(&users.table, &users.key);
        same && found.is_some_and(|table| table.unique_index_on(&users.key).is_some())
    }

    /// Returns the user table as `w` with one row per key, so that no session is listed twice.
    pub(super) fn users_source(&self, users: &UsersMapping) -> String {
        // A view has no indexes that prove uniqueness, and grouping it costs more than a repeated row.
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

    /// Returns how session values match user keys: by the wider equality of the two columns.
    pub(super) fn user_key_equality(&self, users: &UsersMapping) -> Equality {
        let user = self.mapping.user.as_ref().map(|user| self.column_equality(&self.mapping.sessions, user));
        let both = [self.column_equality(&users.table, &users.key), user.unwrap_or_default()];
        let wider = [Equality::CaseInsensitive, Equality::TrailingSpaceInsensitive, Equality::Text];
        wider.into_iter().find(|equality| both.contains(equality)).unwrap_or(both[0])
    }

    /// Returns `true` if the user column and the user key have the same type, so that an index can join them.
    pub(super) fn has_matching_key_types(&self, users: &UsersMapping) -> bool {
        let column =
            |table: &TableName, name: &str| -> Option<&ColumnInfo> { self.schema.table(table)?.column(name) };
        let user = self.mapping.user.as_ref().and_then(|user| column(&self.mapping.sessions, user));
        let (Some(user), Some(key)) = (user, column(&users.table, &users.key)) else { return false };
        user.kind == key.kind && (user.kind != ColumnKind::Other || user.declared_type == key.declared_type)
    }

    /// Returns `true` if only one of user column and user key is padded (`character(n)`). Such values compare
    /// equal without the padding, while their texts differ.
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

    /// Returns both sides of a comparison of key and user, cast to text if their types cannot be compared.
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

    /// Returns both sides of the join of the users `w` with the user of a session.
    pub(super) fn user_join_pair(&self, users: &UsersMapping) -> (String, String) {
        let link = self.user_key_equality(users);
        let key = self.fold_expr(&format!("w.{}", quote_identifier(&users.key)), link);
        self.comparable_pair(users, key, self.fold_expr(&self.user_column(), link))
    }
}
