//! The SQL of putting back: rows that would collide with others, or whose user is gone, stay in the archive.

use super::{
    QueryBuilder,
    dialect::{EndedRowsRestore, RowInsertion},
    quote_identifier, quote_table,
};
use crate::{
    mapping::{Mapping, RevokeMethod, TableName},
    sql::tables::Equality,
    unsealed_rows::ColumnDecl,
};

/// Why a row cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestoreObstacle {
    /// Its id is in the table.
    Id,
    /// Its token is in the table, or another row on it comes back.
    Token,
    /// No user of its id is seen.
    User,
    /// The row whose session was ended in place is not there any more, or has another token, user or end.
    Gone,
    /// The row whose session was ended in place has neither an id nor a token by which it could be found.
    Unidentified,
    /// A constraint, a rule or a trigger of the table refuses it.
    Refused,
}

impl RestoreObstacle {
    const STATEMENT_OBSTACLES: [Self; 3] = [Self::Id, Self::Token, Self::User];

    /// Its name in what a statement gives.
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

    /// The obstacle of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::STATEMENT_OBSTACLES.into_iter().find(|obstacle| obstacle.name() == name)
    }
}

/// The obstacles that can be seen before a row is put back, each with the condition that it is in the way.
type ObstacleConditions = Vec<(RestoreObstacle, String)>;

/// Sessions that were ended in place, as one statement sets them back.
#[derive(Clone, Copy, Debug)]
pub struct EndedRows<'a> {
    /// The columns that are archived.
    pub columns: &'a [ColumnDecl],
    /// The column that ended them.
    pub ended_by_column: &'a str,
    /// The positions of those [`QueryBuilder::unchanged_column_indexes`] that are NULL in all of these rows.
    pub null_columns: &'a [usize],
}

impl QueryBuilder<'_> {
    /// Inserts removed rows into the sessions, or into a table that inherits from them: as many at once, and with what in
    /// answer, as the dialect does.
    #[must_use]
    pub fn insert_removed_statement(&self, columns: &[ColumnDecl], into: &TableName) -> String {
        let (sessions, token) = (&self.mapping.sessions, &self.mapping.token);
        let obstacles = self.obstacle_conditions(|name| {
            Some(self.dialect().inserted_value_expr(Self::column_index(columns, name)?))
        });
        self.dialect().insert_rows_statement(&RowInsertion {
            sessions,
            into_table: into,
            columns,
            obstacle: first_obstacle_expr(&obstacles),
            obstacles: obstacles.into_iter().map(|(_, condition)| condition).collect(),
            token: Self::column_index(columns, token),
            token_equality: self.column_equality(sessions, token),
            row_hash: self.row_hash_expr(),
        })
    }

    /// Sets sessions back that were ended in place: as many at once, and with what in answer, as the dialect does.
    #[must_use]
    pub fn restore_ended_statement(&self, ended: EndedRows<'_>) -> String {
        let EndedRows { columns, ended_by_column: ended_by, null_columns: nulls } = ended;
        let parameter = |at: usize| self.dialect().restored_value_expr(at);
        // Values are compared by `=`, which finds them by an index, and NULL by `IS NULL`: nothing equals it.
        let same = self.unchanged_column_indexes(columns, ended_by).into_iter().filter_map(|at| {
            let column = quote_identifier(&columns.get(at)?.name);
            Some(if nulls.contains(&at) {
                format!("s.{column} IS NULL")
            } else {
                format!("s.{column} = {}", parameter(at))
            })
        });
        let condition = same.collect::<Vec<_>>().join(" AND ");
        let value = Self::column_index(columns, ended_by).map_or_else(|| "NULL".into(), parameter);
        self.dialect().restore_ended_statement(&EndedRowsRestore {
            sessions: &self.mapping.sessions,
            columns,
            assignment: format!("{} = {value}", quote_identifier(ended_by)),
            condition,
            row_hash: self.row_hash_expr(),
        })
    }

    /// The column whose new value ended sessions in place; `None` where their rows were removed.
    #[must_use]
    pub fn ended_by_column<'a>(&'a self, change: &'a RevokeMethod) -> Option<&'a str> {
        match change {
            RevokeMethod::Delete => None,
            RevokeMethod::Expire => Some(&self.mapping.expires.column),
            RevokeMethod::Flag { column, .. } => Some(column),
        }
    }

    /// The positions of the columns that a session which was ended in place still has as they are archived, or else it is not
    /// set back: those of its mark but for the one that ended it.
    #[must_use]
    pub fn unchanged_column_indexes(&self, columns: &[ColumnDecl], ended_by: &str) -> Vec<usize> {
        let Mapping { id, token, user, expires, .. } = self.mapping;
        let marked = [id.as_deref(), Some(token), user.as_deref(), Some(&expires.column)];
        let unchanged = marked.into_iter().flatten().filter(|name| *name != ended_by);
        unchanged.filter_map(|name| Self::column_index(columns, name)).collect()
    }

    /// Whether sessions with NULL at those positions have an id or a token that tells their rows from others.
    #[must_use]
    pub fn can_identify_rows(&self, columns: &[ColumnDecl], nulls: &[usize]) -> bool {
        let identifying = self.mapping.id.as_deref().into_iter().chain([self.mapping.token.as_str()]);
        let mut positions = identifying.filter_map(|name| Self::column_index(columns, name));
        positions.any(|at| !nulls.contains(&at))
    }

    fn column_index(columns: &[ColumnDecl], name: &str) -> Option<usize> {
        columns.iter().position(|column| column.name == name)
    }

    /// Which of these fingerprints are those of tokens in the table.
    #[must_use]
    pub fn present_tokens_query(&self, fingerprints: &[i64]) -> String {
        let numbers = fingerprints.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let among = self.dialect().number_list_expr(&numbers);
        let fingerprint = self.fingerprint_expr();
        // A row that is marked as deleted has its token all the same.
        let sessions = quote_table(&self.mapping.sessions);
        format!("SELECT DISTINCT {fingerprint}\nFROM {sessions} AS s\nWHERE {fingerprint} IN ({among})")
    }

    /// Which of these users exist; `None` where no users are known, or some may be missing from what is read.
    #[must_use]
    pub fn present_users_query(&self, ids: &[&str]) -> Option<String> {
        let users = self.mapping.users.as_ref().filter(|_| self.users_visibility_caveat().is_none())?;
        let ids: Vec<String> = ids.iter().map(|id| self.quote_string(id)).collect();
        let wanted = self.dialect().texts_as_rows_query(&ids);
        let equality = self.column_equality(&users.table, &users.key);
        let declared = self.schema.table(&users.table).and_then(|found| found.column(&users.key));
        let key = format!("w.{}", quote_identifier(&users.key));
        let is_cast = self.dialect().casts_literals() && self.has_matching_key_types(users);
        let is = match (equality, declared) {
            // Compared as what it is, the key is looked up in its index.
            (Equality::Exact, Some(column)) if is_cast => {
                format!("{key} = CAST(v.id AS {})", column.declared_type)
            }
            _ => self.same_user_condition(&key, "v.id", equality),
        };
        Some(format!("{wanted} WHERE EXISTS (SELECT 1 FROM {} AS w WHERE {is})", quote_table(&users.table)))
    }

    /// The condition that two values are the same user to the application.
    fn same_user_condition(&self, key: &str, value: &str, equality: Equality) -> String {
        format!(
            "{} = {}",
            self.cast_to_text(&self.fold_expr(key, equality)),
            self.cast_to_text(&self.fold_expr(value, equality))
        )
    }

    /// What can be in the way of a row whose values are written so.
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
            let is = self.same_user_condition(&key, &value, self.column_equality(&users.table, &users.key));
            let known = format!("SELECT 1 FROM {} AS w WHERE {is}", quote_table(&users.table));
            Some(format!("({value} IS NOT NULL AND NOT EXISTS ({known}))"))
        };
        let found = [
            (RestoreObstacle::Id, mapping.id.as_deref().and_then(taken)),
            (RestoreObstacle::Token, taken(&mapping.token)),
            (RestoreObstacle::User, user_is_missing()),
        ];
        found.into_iter().filter_map(|(obstacle, condition)| Some((obstacle, condition?))).collect()
    }

    /// The name of what is in the way of one row, whose values are parameters; NULL if nothing is.
    #[must_use]
    pub fn obstacle_query(&self, columns: &[ColumnDecl]) -> String {
        let value = |name: &str| Self::column_index(columns, name).map(|at| format!("?{}", at + 1));
        format!("SELECT {}", first_obstacle_expr(&self.obstacle_conditions(value)))
    }
}

/// The name of the first obstacle whose condition holds; NULL if none does.
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
