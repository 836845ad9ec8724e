//! The SQL of putting back: rows that would collide with others, or whose user is gone, stay in the archive.

use super::{
    Sql,
    dialect::{RowInsertion, RowsSetBack},
    identifier, table,
};
use crate::{
    mapping::{Mapping, Revoke, TableName},
    sql::tables::Equality,
    unsealed_rows::ColumnDecl,
};

/// Why a row cannot be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
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

impl Obstacle {
    const ALL: [Self; 3] = [Self::Id, Self::Token, Self::User];

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
        Self::ALL.into_iter().find(|obstacle| obstacle.name() == name)
    }
}

/// The obstacles that can be seen before a row is put back, each with the condition that it is in the way.
type Conditions = Vec<(Obstacle, String)>;

/// Sessions that were ended in place, as one statement sets them back.
#[derive(Clone, Copy, Debug)]
pub struct EndedRows<'a> {
    /// The columns that are archived.
    pub columns: &'a [ColumnDecl],
    /// The column that ended them.
    pub ended_by: &'a str,
    /// The positions of those [`Sql::unchanged_columns`] that are NULL in all of these rows.
    pub nulls: &'a [usize],
}

impl Sql<'_> {
    /// Inserts removed rows into the sessions, or into a table that inherits from them: as many at once, and with what in
    /// answer, as the dialect does.
    #[must_use]
    pub fn insert_removed(&self, columns: &[ColumnDecl], into: &TableName) -> String {
        let (sessions, token) = (&self.mapping.sessions, &self.mapping.token);
        let obstacles =
            self.obstacles(|name| Some(self.dialect().inserted_value(Self::position(columns, name)?)));
        self.dialect().insert(&RowInsertion {
            sessions,
            into,
            columns,
            obstacle: named(&obstacles),
            obstacles: obstacles.into_iter().map(|(_, condition)| condition).collect(),
            token: Self::position(columns, token),
            token_equality: self.equality(sessions, token),
            mark: self.mark(),
        })
    }

    /// Sets sessions back that were ended in place: as many at once, and with what in answer, as the dialect does.
    #[must_use]
    pub fn set_back(&self, ended: EndedRows<'_>) -> String {
        let EndedRows { columns, ended_by, nulls } = ended;
        let holder = |at: usize| self.dialect().set_back_value(at);
        // Values are compared by `=`, which finds them by an index, and NULL by `IS NULL`: nothing equals it.
        let same = self.unchanged_columns(columns, ended_by).into_iter().filter_map(|at| {
            let column = identifier(&columns.get(at)?.name);
            Some(if nulls.contains(&at) {
                format!("s.{column} IS NULL")
            } else {
                format!("s.{column} = {}", holder(at))
            })
        });
        let condition = same.collect::<Vec<_>>().join(" AND ");
        let value = Self::position(columns, ended_by).map_or_else(|| "NULL".into(), holder);
        self.dialect().set_back(&RowsSetBack {
            sessions: &self.mapping.sessions,
            columns,
            set: format!("{} = {value}", identifier(ended_by)),
            condition,
            mark: self.mark(),
        })
    }

    /// The column whose new value ended sessions in place; `None` where their rows were removed.
    #[must_use]
    pub fn ended_by<'a>(&'a self, change: &'a Revoke) -> Option<&'a str> {
        match change {
            Revoke::Delete => None,
            Revoke::Expire => Some(&self.mapping.expires.column),
            Revoke::Flag { column, .. } => Some(column),
        }
    }

    /// The positions of the columns that a session which was ended in place still has as they are archived, or else it is not
    /// set back: those of its mark but for the one that ended it.
    #[must_use]
    pub fn unchanged_columns(&self, columns: &[ColumnDecl], ended_by: &str) -> Vec<usize> {
        let Mapping { id, token, user, expires, .. } = self.mapping;
        let marked = [id.as_deref(), Some(token), user.as_deref(), Some(&expires.column)];
        let unchanged = marked.into_iter().flatten().filter(|name| *name != ended_by);
        unchanged.filter_map(|name| Self::position(columns, name)).collect()
    }

    /// Whether sessions with NULL at those positions have an id or a token that tells their rows from others.
    #[must_use]
    pub fn identifies(&self, columns: &[ColumnDecl], nulls: &[usize]) -> bool {
        let identifying = self.mapping.id.as_deref().into_iter().chain([self.mapping.token.as_str()]);
        let mut positions = identifying.filter_map(|name| Self::position(columns, name));
        positions.any(|at| !nulls.contains(&at))
    }

    fn position(columns: &[ColumnDecl], name: &str) -> Option<usize> {
        columns.iter().position(|column| column.name == name)
    }

    /// Which of these fingerprints are those of tokens in the table.
    #[must_use]
    pub fn tokens_there(&self, fingerprints: &[i64]) -> String {
        let numbers = fingerprints.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let among = self.dialect().number_list(&numbers);
        let fingerprint = self.fingerprint();
        // A row that is marked as deleted has its token all the same.
        let sessions = table(&self.mapping.sessions);
        format!("SELECT DISTINCT {fingerprint}\nFROM {sessions} AS s\nWHERE {fingerprint} IN ({among})")
    }

    /// Which of these users exist; `None` where no users are known, or some may be missing from what is read.
    #[must_use]
    pub fn users_there(&self, ids: &[&str]) -> Option<String> {
        let users = self.mapping.users.as_ref().filter(|_| self.users_doubt().is_none())?;
        let ids: Vec<String> = ids.iter().map(|id| self.string(id)).collect();
        let wanted = self.dialect().texts_as_rows(&ids);
        let equality = self.equality(&users.table, &users.key);
        let declared = self.schema.table(&users.table).and_then(|found| found.column(&users.key));
        let key = format!("w.{}", identifier(&users.key));
        let is_cast = self.dialect().casts_literals() && self.keyed_alike(users);
        let is = match (equality, declared) {
            // Compared as what it is, the key is looked up in its index.
            (Equality::Exact, Some(column)) if is_cast => {
                format!("{key} = CAST(v.id AS {})", column.declared)
            }
            _ => self.is_same_user(&key, "v.id", equality),
        };
        Some(format!("{wanted} WHERE EXISTS (SELECT 1 FROM {} AS w WHERE {is})", table(&users.table)))
    }

    /// The condition that two values are the same user to the application.
    fn is_same_user(&self, key: &str, value: &str, equality: Equality) -> String {
        format!("{} = {}", self.text(&self.folded(key, equality)), self.text(&self.folded(value, equality)))
    }

    /// What can be in the way of a row whose values are written so.
    fn obstacles(&self, value: impl Fn(&str) -> Option<String>) -> Conditions {
        let mapping = self.mapping;
        let taken = |column: &str| {
            let equality = self.equality(&mapping.sessions, column);
            let there = self.folded(&format!("q.{}", identifier(column)), equality);
            let value = self.folded(&value(column)?, equality);
            Some(format!("EXISTS (SELECT 1 FROM {} AS q WHERE {there} = {value})", table(&mapping.sessions)))
        };
        let user_is_missing = || {
            let (users, value) = (mapping.users.as_ref()?, value(mapping.user.as_deref()?)?);
            let key = format!("w.{}", identifier(&users.key));
            let is = self.is_same_user(&key, &value, self.equality(&users.table, &users.key));
            let known = format!("SELECT 1 FROM {} AS w WHERE {is}", table(&users.table));
            Some(format!("({value} IS NOT NULL AND NOT EXISTS ({known}))"))
        };
        let found = [
            (Obstacle::Id, mapping.id.as_deref().and_then(taken)),
            (Obstacle::Token, taken(&mapping.token)),
            (Obstacle::User, user_is_missing()),
        ];
        found.into_iter().filter_map(|(obstacle, condition)| Some((obstacle, condition?))).collect()
    }

    /// The name of what is in the way of one row, whose values are parameters; NULL if nothing is.
    #[must_use]
    pub fn obstacle_of_one(&self, columns: &[ColumnDecl]) -> String {
        let value = |name: &str| Self::position(columns, name).map(|at| format!("?{}", at + 1));
        format!("SELECT {}", named(&self.obstacles(value)))
    }
}

/// The name of the first obstacle whose condition holds; NULL if none does.
fn named(conditions: &Conditions) -> String {
    if conditions.is_empty() {
        return "CAST(NULL AS text)".into();
    }
    let cases: String = conditions
        .iter()
        .map(|(obstacle, condition)| format!(" WHEN {condition} THEN '{}'", obstacle.name()))
        .collect();
    format!("CASE{cases} END")
}
