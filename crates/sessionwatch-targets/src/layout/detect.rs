//! Detection: which table holds the sessions, decided by its columns and by what corroborates them. A token, a user and an
//! expiry are in tables of password resets, invitations and refresh tokens too.

use super::{
    catalogue::{Elsewhere, Profile},
    names::{self, Says},
};
use crate::{
    mapping::{InstantColumn, Mapping, Revoke, TableName, UsersMapping},
    sql::{
        Dialect,
        schema::Schema,
        tables::{Column, ColumnKind, Table, TableKind},
    },
};

/// A table that can be read under a profile.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// How its columns map.
    pub mapping: Mapping,
    /// The profile's title.
    pub title: String,
    /// How well it fits; higher is better.
    pub score: u32,
    /// Why it was chosen.
    pub why: Vec<String>,
    /// What this schema cannot prevent, and what to know about the table.
    pub notes: Vec<String>,
    /// What is missing before the table is taken for the sessions; empty if enough speaks for it.
    pub lacks: Vec<String>,
    /// What the tables beside it say about log-ins that do not end with their rows.
    pub elsewhere: Vec<String>,
    /// Whether the configuration names the table.
    pub named: bool,
}

/// A table that has the columns of a session table, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledOut {
    /// The table.
    pub table: TableName,
    /// Why it is none.
    pub why: String,
}

/// Tables that hold sessions, best first, and near misses.
#[derive(Clone, Debug, Default)]
pub struct Detection {
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Tables that have the columns but may not be read, with the columns that lack permission.
    pub refused: Vec<(String, Vec<String>)>,
    /// Tables that have the columns, and hold something else.
    pub ruled_out: Vec<RuledOut>,
}

/// What the configuration says about the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The only table that is meant.
    pub table: Option<&'a Table>,
    /// The profile is named, and needs no certain sign.
    pub profile: bool,
}

/// A table with the columns that a profile asks for.
#[derive(Clone, Copy)]
struct Match<'a> {
    schema: &'a Schema,
    table: &'a Table,
    profile: &'a Profile,
    token: &'a Column,
    user: &'a Column,
    expires: &'a Column,
}

/// Finds the tables of sessions.
#[must_use]
pub fn detect(schema: &Schema, catalogue: &[Profile], wanted: Wanted<'_>) -> Detection {
    let mut detection = Detection::default();
    let meant = |table: &&Table| wanted.table.is_none_or(|only| std::ptr::eq(only, *table));
    for table in schema.tables.iter().filter(meant) {
        for profile in catalogue {
            let Some(found) = Match::of(schema, table, profile) else { continue };
            if wanted.table.is_none() && found.is_part() {
                continue;
            }
            if let (None, Some(why)) = (wanted.table, found.ruled_out()) {
                let ruled_out = RuledOut { table: name_of(table), why };
                if !detection.ruled_out.contains(&ruled_out) {
                    detection.ruled_out.push(ruled_out);
                }
                continue;
            }
            let unreadable = found.unreadable();
            if !unreadable.is_empty() {
                let refused = (table.name.clone(), unreadable);
                if !detection.refused.contains(&refused) {
                    detection.refused.push(refused);
                }
            } else if let Some(candidate) = found.candidate(wanted) {
                detection.candidates.push(candidate);
            }
        }
    }
    // The sort is stable: the order of tables (search path) and of the catalogue breaks ties.
    detection
        .candidates
        .sort_by_key(|candidate| (!candidate.lacks.is_empty(), std::cmp::Reverse(candidate.score)));
    detection
}

impl<'a> Match<'a> {
    fn of(schema: &'a Schema, table: &'a Table, profile: &'a Profile) -> Option<Self> {
        let (token, user) = (first(table, &profile.token)?, first(table, &profile.user)?);
        Some(Self { schema, table, profile, token, user, expires: first(table, &profile.expires)? })
    }

    /// Whether its rows are those of another table that matches too.
    fn is_part(&self) -> bool {
        let above = self.table.part_of.as_ref().and_then(|above| self.schema.table(above));
        above.is_some_and(|above| Self::of(self.schema, above, self.profile).is_some())
    }

    /// Why the table holds something else, if its name says so and the profile does not know it by that name.
    fn ruled_out(&self) -> Option<String> {
        match names::says(&self.table.name) {
            Says::Other { holds, of_sessions: false } if !self.is_named() => Some(format!(
                "has the columns of a token, a user and an expiry, but its name says that it holds {holds}"
            )),
            _ => None,
        }
    }

    fn is_named(&self) -> bool {
        self.profile.tables.contains(&self.table.name)
    }

    fn unreadable(&self) -> Vec<String> {
        let columns = [self.token, self.user, self.expires].into_iter();
        columns.filter(|column| !column.readable).map(|column| column.name.clone()).collect()
    }

    fn mapping(&self) -> Option<Mapping> {
        let Self { schema, table, profile, token, user, expires } = *self;
        let created = readable(table, &profile.created).and_then(|column| {
            let decoder = profile.decoder(schema.dialect, column)?;
            Some(InstantColumn { column: column.name.clone(), decoder })
        });
        let decoder = profile.decoder(schema.dialect, expires)?;
        Some(Mapping {
            profile: profile.name.clone(),
            sessions: name_of(table),
            id: readable(table, &profile.id).filter(|id| id.name != token.name).map(|id| id.name.clone()),
            token: token.name.clone(),
            user: Some(user.name.clone()),
            expires: InstantColumn { column: expires.name.clone(), decoder },
            created,
            ip: readable(table, &profile.ip).map(|column| column.name.clone()),
            agent: readable(table, &profile.agent).map(|column| column.name.clone()),
            users: users(schema, table, user, profile),
            accounts: sibling(schema, table, &profile.accounts).map(name_of),
            revoke: Revoke::Delete,
            deleted: None,
            token_prefix: None,
            impersonator: None,
            max_lifetime_s: Some(profile.max_lifetime_days * 86_400),
        })
    }

    fn candidate(&self, wanted: Wanted<'_>) -> Option<Candidate> {
        let Self { schema, table, profile, token, user, expires } = *self;
        let declared = profile.declared(schema.dialect);
        let agreeing = self.agreeing();
        let shown =
            profile.general || profile.is_shown(schema, table, agreeing == declared.len() && agreeing > 0);
        let housed = table.schema.as_ref().is_some_and(|schema| profile.schemas.contains(schema));
        if !wanted.profile && !shown && !housed {
            return None;
        }
        let mapping = self.mapping()?;
        let lacks = if wanted.table.is_some() { vec![] } else { self.lacks() };
        let identified = profile.id.is_empty() == readable(table, &profile.id).is_none();
        let points = |points: u32, holds: bool| points * u32::from(holds);
        let score = points(100, !profile.general)
            + 60
            + 10 * u32::try_from(agreeing).unwrap_or(0)
            + points(5, identified)
            + points(3, self.is_named())
            + points(40, housed)
            + points(20, table.search_path.is_some())
            + 4 * self.signs()
            + points(2, mapping.users.is_some())
            + points(1, !profile.ip.is_empty() && mapping.ip.is_some());
        let contradicting = u32::try_from(declared.len() - agreeing).unwrap_or(0);
        let penalty = 5 * contradicting + points(30, !profile.schemas.is_empty() && !housed);
        Some(Candidate {
            why: vec![format!(
                "table `{}` has a token (`{}`), a user (`{}`) and an expiry (`{}`, {}) as {} stores them",
                table.name, token.name, user.name, expires.name, expires.declared, profile.title
            )],
            notes: notes(schema.dialect, table, &mapping),
            title: profile.title.clone(),
            score: score.saturating_sub(penalty),
            lacks,
            elsewhere: elsewhere(schema, table, profile),
            named: wanted.table.is_some(),
            mapping,
        })
    }

    /// How many columns have the types that the library gives them.
    fn agreeing(&self) -> usize {
        let roles = [
            ("id", readable(self.table, &self.profile.id)),
            ("user", Some(self.user)),
            ("expires", Some(self.expires)),
        ];
        let declared = self.profile.declared(self.schema.dialect);
        let fits = |role: &str, types: &str| {
            let mut columns =
                roles.iter().filter(|(name, _)| *name == role).filter_map(|(_, column)| *column);
            columns.any(|column| types.split('|').any(|one| one == column.declared))
        };
        declared.iter().filter(|(role, types)| fits(role, types)).count()
    }

    fn is_named_like_sessions(&self) -> bool {
        self.is_named() || names::says(&self.table.name) == Says::Sessions
    }

    /// Whether the table is called as the framework calls it, beside users whom it refers to, and says when a session began: then
    /// an application of its own making is known too, which need not have every column of the framework.
    fn is_plainly_sessions(&self) -> bool {
        let has_users = sibling(self.schema, self.table, &self.profile.users).is_some()
            || self.table.foreign_key_on(&self.user.name).is_some();
        self.is_named() && has_users && first(self.table, &self.profile.created).is_some()
    }

    /// Columns that every version of the framework has, and this table has not.
    fn missing_columns(&self) -> Vec<&'a String> {
        let columns = self.profile.corroboration.columns.iter();
        columns.filter(|column| self.table.column(column).is_none()).collect()
    }

    /// How many signs speak for the table, less those that speak against it.
    fn signs(&self) -> u32 {
        let Self { schema, table, profile, user, .. } = *self;
        let corroboration = &profile.corroboration;
        let signs = [
            !corroboration.columns.is_empty() && self.missing_columns().is_empty(),
            self.is_named_like_sessions(),
            sibling(schema, table, &profile.users).is_some(),
            table.foreign_key_on(&user.name).is_some(),
            sibling(schema, table, &profile.accounts).is_some(),
        ];
        let against = matches!(names::says(&table.name), Says::Other { .. }) && !self.is_named();
        let signs = signs.iter().filter(|sign| **sign).count();
        (corroboration.token + u32::try_from(signs).unwrap_or(0)).saturating_sub(u32::from(against))
    }

    /// What is missing before the table is taken for the sessions.
    fn lacks(&self) -> Vec<String> {
        let Self { schema, table, profile, user, .. } = *self;
        let corroboration = &profile.corroboration;
        let mut lacks = Vec::new();
        if let (Says::Copies(word), false) = (names::says(&table.name), self.is_named()) {
            lacks.push(format!("its name says `{word}`"));
        }
        let missing = self.missing_columns();
        let has_enough = corroboration.columns.len() - missing.len() >= corroboration.columns_needed;
        if !has_enough && !self.is_plainly_sessions() {
            let missing: Vec<&str> = missing.into_iter().map(String::as_str).collect();
            lacks.push(format!("it has no column `{}`", missing.join("`, `")));
        }
        if self.signs() < corroboration.signs_needed {
            if !self.is_named_like_sessions() {
                lacks.push("its name does not speak of sessions".into());
            }
            if sibling(schema, table, &profile.users).is_none() && table.foreign_key_on(&user.name).is_none()
            {
                lacks.push("no table of users is beside it".into());
            }
            if sibling(schema, table, &profile.accounts).is_none() {
                lacks.push("no table of accounts is beside it".into());
            }
        }
        lacks
    }
}

/// What the tables beside the sessions say about log-ins that do not end with their rows.
#[must_use]
pub fn elsewhere(schema: &Schema, table: &Table, profile: &Profile) -> Vec<String> {
    let beside = || schema.tables.iter().filter(|other| other.schema == table.schema);
    let says = |sign: &&Elsewhere| {
        let there = |names: &String| beside().any(|other| names.split('|').any(|name| other.name == name));
        sign.with.iter().all(there)
            && !sign.without.iter().any(|word| beside().any(|other| names::has_word(&other.name, word)))
    };
    profile.elsewhere.iter().filter(says).map(|sign| sign.says.clone()).collect()
}

/// The column by which an application marks sessions as deleted or revoked instead of removing them.
#[must_use]
pub fn soft_delete(table: &Table) -> Option<&Column> {
    const MARKS: [&str; 5] = ["deleted", "removed", "revoked", "invalidated", "loggedout"];
    let is_mark = |column: &&Column| {
        let name = column.name.to_lowercase().replace('_', "");
        let name = name.strip_prefix("is").unwrap_or(&name);
        // Text such as `N` may mean either.
        let is_flag = column.is_boolean() || column.kind == ColumnKind::Integer;
        MARKS.iter().filter_map(|mark| name.strip_prefix(mark)).any(|rest| match rest {
            "" => is_flag,
            rest => ["at", "on"].contains(&rest),
        })
    };
    table.columns.iter().find(is_mark)
}

/// Whether a column is called after the last use of a session, or its last change.
#[must_use]
pub fn is_last_use(column: &str) -> bool {
    let name = column.to_lowercase().replace(['_', '-'], "");
    let name = name.strip_suffix("at").or_else(|| name.strip_suffix("time")).unwrap_or(&name);
    let is_one = |name: &str| {
        let last = [
            "activity", "active", "used", "use", "seen", "access", "accessed", "touched", "updated",
            "modified",
        ];
        name.strip_prefix("last").is_some_and(|rest| last.contains(&rest))
            || ["updated", "modified", "timemodified"].contains(&name)
    };
    is_one(name)
}

/// The column that names the administrator who acts for a user in a session.
#[must_use]
pub fn impersonator(table: &Table) -> Option<&Column> {
    const NAMES: [&str; 4] = ["impersonatedby", "impersonatorid", "impersonator", "impersonatedbyid"];
    let is_named = |column: &&Column| {
        NAMES.contains(&column.name.to_lowercase().replace('_', "").as_str()) && column.readable
    };
    table.columns.iter().find(is_named)
}

fn first<'a>(table: &'a Table, names: &[String]) -> Option<&'a Column> {
    names.iter().find_map(|name| table.column(name))
}

fn readable<'a>(table: &'a Table, names: &[String]) -> Option<&'a Column> {
    first(table, names).filter(|column| column.readable)
}

fn name_of(table: &Table) -> TableName {
    TableName { schema: table.schema.clone(), name: table.name.clone() }
}

/// A table of one of these names in the same schema.
fn sibling<'a>(schema: &'a Schema, table: &Table, names: &[String]) -> Option<&'a Table> {
    names.iter().find_map(|name| {
        schema.tables.iter().find(|other| other.name == *name && other.schema == table.schema)
    })
}

/// The users: where the foreign key points, else by name.
fn users(schema: &Schema, table: &Table, user: &Column, profile: &Profile) -> Option<UsersMapping> {
    let (users, key) = match table.foreign_key_on(&user.name) {
        Some(key) => (
            schema.find(key.target_schema.as_deref(), &key.target_table)?,
            key.target_columns.first()?.clone(),
        ),
        None => (sibling(schema, table, &profile.users)?, "id".to_owned()),
    };
    users.column(&key).filter(|column| column.readable)?;
    let shown =
        profile.display.iter().filter(|name| users.column(name).is_some_and(|column| column.readable));
    Some(UsersMapping { table: name_of(users), display: shown.cloned().collect(), key })
}

/// Why the table of users cannot be read, where the user column of the sessions refers to one, or one is beside them under
/// the name that the framework gives it; `None` if users are read, or there is no such table.
#[must_use]
pub fn unreadable_users(schema: &Schema, mapping: &Mapping, profile: Option<&Profile>) -> Option<String> {
    let user = mapping.user.as_deref().filter(|_| mapping.users.is_none())?;
    let sessions = schema.table(&mapping.sessions)?;
    let (name, key) = match sessions.foreign_key_on(user) {
        Some(key) => {
            let name = TableName { schema: key.target_schema.clone(), name: key.target_table.clone() };
            (name, key.target_columns.first()?.clone())
        }
        None => (name_of(sibling(schema, sessions, &profile?.users)?), "id".to_owned()),
    };
    let column = schema.table(&name).and_then(|users| users.column(&key));
    let is_readable = column.is_some_and(|column| column.readable);
    (!is_readable).then(|| format!("this role may not read `{key}` of `{name}`"))
}

/// What the schema cannot prevent, and what to know about the table.
#[must_use]
pub fn notes(dialect: Dialect, table: &Table, mapping: &Mapping) -> Vec<String> {
    let mut notes = Vec::new();
    match table.kind {
        TableKind::View | TableKind::MaterializedView => {
            notes.push(format!(
                "`{}` is a view: it has no constraints, and nothing can be proved by them",
                table.name
            ));
        }
        TableKind::Partitioned => notes.push(format!(
            "`{}` is partitioned: a unique index holds only with the partition key",
            table.name
        )),
        TableKind::Foreign => {
            notes.push(format!("`{}` is a foreign table: reading it loads another server", table.name))
        }
        TableKind::Table if table.inherited => notes.push(format!(
            "other tables inherit from `{}`: its unique indexes and foreign keys do not cover their rows",
            table.name
        )),
        TableKind::Table => {}
    }
    if table.unique_on(&mapping.token).is_none() {
        notes.push(format!(
            "no unique index on `{}`: the schema cannot prevent duplicated tokens",
            mapping.token
        ));
    }
    if let Some(how) = dialect.comparison(table.equality(&mapping.token)) {
        notes.push(format!("tokens are compared {how}, as `{}` itself compares them", mapping.token));
    }
    // Without it, nothing else is known of users either.
    if mapping.user.is_none() {
        notes.push(
            "no user column is named: orphaned sessions, sessions of one user and rapid creation are not checked (`user` under [target.mapping])"
                .into(),
        );
        return notes;
    }
    let enforced = mapping
        .user
        .as_deref()
        .and_then(|user| table.foreign_key_on(user))
        .is_some_and(|key| table.is_proved_by(key) || !dialect.enforces_foreign_keys());
    if !enforced {
        notes.push(
            "no validated foreign key to the users: the schema cannot prevent orphaned sessions".into(),
        );
    }
    if mapping.created.is_none() {
        notes.push("no creation column: only `serve` can see who creates many sessions in an hour".into());
    }
    if mapping.users.is_none() {
        notes.push("no readable table of users: orphaned sessions cannot be found".into());
    }
    notes
}

#[cfg(test)]
mod tests;
