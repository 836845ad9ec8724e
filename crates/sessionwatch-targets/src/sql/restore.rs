//! SQL for restoring rows. Rows that would collide with others, or whose user is gone, stay in the archive.

use super::{
    QueryBuilder,
    dialect::{EndedRowsRestore, RowInsertion},
    quote_identifier, quote_table,
};
use crate::{
    decrypted_rows::ColumnDecl,
    mapping::{Mapping, RevokeMethod, TableName},
    sql::table_info::Equality,
};

/// Reason why a row cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestoreObstacle {
    /// Its id exists in the table.
    Id,
    /// Its token exists in the table, or in another row being restored.
    Token,
    /// Its user does not exist, or is hidden.
    User,
    /// The row ended in place no longer exists, or has another token, user or expiry.
    Gone,
    /// The row ended in place has neither an id nor a token to find it by.
    Unidentified,
    /// A constraint, a rule or a trigger of the table rejects the row.
    Refused,
}

impl RestoreObstacle {
    const STATEMENT_OBSTACLES: [Self; 3] = [Self::Id, Self::Token, Self::User];

    /// Returns the name used in results of statements.
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Token => "token",
            Self::User => "user",
            Self::Gone => "gone",
            Self::Unidentified => "unidentified",
            Self::Refused => "refused",
        }
    }

    /// Parses the name used in results of statements.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::STATEMENT_OBSTACLES.into_iter().find(|obstacle| obstacle.name() == name)
    }
}

/// Obstacles that can be detected before a row is restored, each with its condition.
type ObstacleConditions = Vec<(RestoreObstacle, String)>;

/// Sessions ended in place, to be restored by one statement.
#[derive(Clone, Copy, Debug)]
pub struct EndedRows<'a> {
    /// Archived columns.
    pub columns: &'a [ColumnDecl],
    /// Column that ended them.
    pub ended_by_column: &'a str,
    /// Positions among [`QueryBuilder::unchanged_column_indexes`] that are NULL in all of these rows.
    pub null_columns: &'a [usize],
}

impl QueryBuilder<'_> {
    /// Returns the statement that inserts deleted rows into the session table or a table that inherits from
    /// it. The dialect decides how many at once, and what the statement returns.
    #[must_use]
    pub fn insert_removed_statement(&self, columns: &[ColumnDecl], into_table: &TableName) -> String {
        let (sessions, token) = (&self.mapping.sessions, &self.mapping.token);
        let obstacles = self.obstacle_conditions(|name| {
            Some(self.dialect().inserted_value_expr(Self::column_index(columns, name)?))
        });
        self.dialect().insert_rows_statement(&RowInsertion {
            sessions,
            into_table,
            columns,
            obstacle: first_obstacle_expr(&obstacles),
            obstacles: obstacles.into_iter().map(|(_, condition)| condition).collect(),
            token: Self::column_index(columns, token),
            token_equality: self.column_equality(sessions, token),
            row_hash: self.row_hash_expr(),
        })
    }

    /// Returns the statement that restores sessions ended in place. The dialect decides how many at once, and
    /// what the statement returns.
    #[must_use]
    pub fn restore_ended_statement(&self, ended: EndedRows<'_>) -> String {
        let EndedRows { columns, ended_by_column, null_columns } = ended;
        let parameter = |at: usize| self.dialect().restored_value_expr(at);
        // `=` can use an index but never matches NULL, so NULL columns are compared with IS NULL.
        let same = self.unchanged_column_indexes(columns, ended_by_column).into_iter().filter_map(|at| {
            let column = quote_identifier(&columns.get(at)?.name);
            Some(if null_columns.contains(&at) {
                format!("s.{column} IS NULL")
            } else {
                format!("s.{column} = {}", parameter(at))
            })
        });
        // Any other change of the row since then means that it must not be overwritten.
        let condition = same.collect::<Vec<_>>().join(" AND ");
        let value = Self::column_index(columns, ended_by_column).map_or_else(|| "NULL".into(), parameter);
        self.dialect().restore_ended_statement(&EndedRowsRestore {
            sessions: &self.mapping.sessions,
            columns,
            assignment: format!("{} = {value}", quote_identifier(ended_by_column)),
            condition,
            row_hash: self.row_hash_expr(),
        })
    }

    /// Returns the column whose new value ended sessions in place, or `None` if rows were deleted.
    #[must_use]
    pub fn ended_by_column<'a>(&'a self, change: &'a RevokeMethod) -> Option<&'a str> {
        match change {
            RevokeMethod::Delete => None,
            RevokeMethod::Expire => Some(&self.mapping.expires.column),
            RevokeMethod::Flag { column, .. } => Some(column),
        }
    }

    /// Returns the positions of the columns that must be unchanged for a session ended in place to be
    /// restored: those of the row hash, except the one that ended the session.
    #[must_use]
    pub fn unchanged_column_indexes(&self, columns: &[ColumnDecl], ended_by: &str) -> Vec<usize> {
        let Mapping { id, token, user, expires, .. } = self.mapping;
        let marked = [id.as_deref(), Some(token), user.as_deref(), Some(&expires.column)];
        let unchanged = marked.into_iter().flatten().filter(|name| *name != ended_by);
        unchanged.filter_map(|name| Self::column_index(columns, name)).collect()
    }

    /// Returns `true` if sessions with NULL at those positions can still be identified by id or token.
    #[must_use]
    pub fn can_identify_rows(&self, columns: &[ColumnDecl], nulls: &[usize]) -> bool {
        let identifying = self.mapping.id.as_deref().into_iter().chain([self.mapping.token.as_str()]);
        let mut positions = identifying.filter_map(|name| Self::column_index(columns, name));
        positions.any(|at| !nulls.contains(&at))
    }

    fn column_index(columns: &[ColumnDecl], name: &str) -> Option<usize> {
        columns.iter().position(|column| column.name == name)
    }

    /// Returns the query for those of the fingerprints whose tokens exist in the table.
    #[must_use]
    pub fn present_tokens_query(&self, fingerprints: &[i64]) -> String {
        let numbers = fingerprints.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let among = self.dialect().number_list_expr(&numbers);
        let fingerprint = self.fingerprint_expr();
        // Soft-deleted rows count too: their tokens are still in the table.
        let sessions = quote_table(&self.mapping.sessions);
        format!("SELECT DISTINCT {fingerprint}\nFROM {sessions} AS s\nWHERE {fingerprint} IN ({among})")
    }

    /// Returns the query for those of the users that exist, or `None` if no user table is known or the table
    /// may be incomplete.
    #[must_use]
    pub fn present_users_query(&self, ids: &[&str]) -> Option<String> {
        let users = self.mapping.users.as_ref().filter(|_| self.users_visibility_caveat().is_none())?;
        let ids: Vec<String> = ids.iter().map(|id| self.quote_string(id)).collect();
        let wanted = self.dialect().texts_as_rows_query(&ids);
        let equality = self.column_equality(&users.table, &users.key);
        let declared = self.schema.table(&users.table).and_then(|found| found.column(&users.key));
        let key = format!("w.{}", quote_identifier(&users.key));
        let is_cast = self.dialect().casts_literals() && self.has_matching_key_types(users);
        let equals_user = match (equality, declared) {
            // Compared in its own type, the key can be looked up in its index.
            (Equality::Exact, Some(column)) if is_cast => {
                format!("{key} = CAST(v.id AS {})", column.declared_type)
            }
            _ => self.same_user_condition(&key, "v.id", equality),
        };
        Some(format!(
            "{wanted} WHERE EXISTS (SELECT 1 FROM {} AS w WHERE {equals_user})",
            quote_table(&users.table)
        ))
    }

    /// Returns the condition that two values denote the same user to the application.
    fn same_user_condition(&self, key: &str, value: &str, equality: Equality) -> String {
        format!(
            "{} = {}",
            self.cast_to_text(&self.fold_expr(key, equality)),
            self.cast_to_text(&self.fold_expr(value, equality))
        )
    }

    /// Returns the possible obstacles for a row, whose values are given as expressions.
    fn obstacle_conditions(&self, value: impl Fn(&str) -> Option<String>) -> ObstacleConditions {
        let mapping = self.mapping;
        let taken = |column: &str| {
            let equality = self.column_equality(&mapping.sessions, column);
            let there = self.fold_expr(&format!("q.{}", quote_identifier(column)), equality);
            let value = self.fold_expr(&value(column)?, equality);
            Some(format!(
                "EXISTS (SELECT 1 FROM {} AS q WHERE {there} = {value})",
                quote_table(&mapping.sessions)
            ))
        };
        let user_is_missing = || {
            let (users, value) = (mapping.users.as_ref()?, value(mapping.user.as_deref()?)?);
            let key = format!("w.{}", quote_identifier(&users.key));
            let equals_user =
                self.same_user_condition(&key, &value, self.column_equality(&users.table, &users.key));
            let known = format!("SELECT 1 FROM {} AS w WHERE {equals_user}", quote_table(&users.table));
            Some(format!("({value} IS NOT NULL AND NOT EXISTS ({known}))"))
        };
        let found = [
            (RestoreObstacle::Id, mapping.id.as_deref().and_then(taken)),
            (RestoreObstacle::Token, taken(&mapping.token)),
            (RestoreObstacle::User, user_is_missing()),
        ];
        found.into_iter().filter_map(|(obstacle, condition)| Some((obstacle, condition?))).collect()
    }

    /// Returns the query that names the obstacle of one row, whose values are parameters, or NULL if there is
    /// none.
    #[must_use]
    pub fn obstacle_query(&self, columns: &[ColumnDecl]) -> String {
        let value = |name: &str| Self::column_index(columns, name).map(|at| format!("?{}", at + 1));
        format!("SELECT {}", first_obstacle_expr(&self.obstacle_conditions(value)))
    }
}

/// Returns the name of the first obstacle whose condition holds, or NULL if none does.
fn first_obstacle_expr(conditions: &ObstacleConditions) -> String {
    if conditions.is_empty() {
        return "CAST(NULL AS text)".into();
    }
    let cases: String = conditions
        .iter()
        .map(|(obstacle, condition)| format!(" WHEN {condition} THEN '{}'", obstacle.name()))
        .collect();
    format!("CASE{cases} END")
}
