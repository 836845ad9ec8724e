//! Detection: which table holds the sessions, decided by its columns and by what corroborates them. A token, a user and an
//! expiry are in tables of password resets, invitations and refresh tokens too.

use super::{
    profile_catalog::{OtherLoginSign, Profile},
    table_names::{self, TableNameMeaning},
};
use crate::{
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
    sql::{
        Dialect,
        schema::DatabaseSchema,
        tables::{ColumnInfo, ColumnKind, TableInfo, TableKind},
    },
};

/// A table that can be read under a profile.
#[derive(Clone, Debug)]
pub struct LayoutCandidate {
    /// How its columns map.
    pub mapping: Mapping,
    /// The profile's title.
    pub title: String,
    /// How well it fits; higher is better.
    pub score: u32,
    /// Why it was chosen.
    pub reasons: Vec<String>,
    /// What this schema cannot prevent, and what to know about the table.
    pub notes: Vec<String>,
    /// What is missing before the table is taken for the sessions; empty if enough speaks for it.
    pub missing_evidence: Vec<String>,
    /// What the tables beside it say about log-ins that do not end with their rows.
    pub other_login_hints: Vec<String>,
    /// Whether the configuration names the table.
    pub is_named_in_config: bool,
}

/// A table that has the columns of a session table, and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledOutTable {
    /// The table.
    pub table: TableName,
    /// Why it is none.
    pub reason: String,
}

/// Tables that hold sessions, best first, and near misses.
#[derive(Clone, Debug, Default)]
pub struct Detection {
    /// Best first.
    pub candidates: Vec<LayoutCandidate>,
    /// Tables that have the columns but may not be read, with the columns that lack permission.
    pub unreadable: Vec<(String, Vec<String>)>,
    /// Tables that have the columns, and hold something else.
    pub ruled_out: Vec<RuledOutTable>,
}

/// What the configuration says about the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct DetectionConstraint<'a> {
    /// The only table that is meant.
    pub only_table: Option<&'a TableInfo>,
    /// The profile is named, and needs no certain sign.
    pub is_profile_named: bool,
}

/// A table with the columns that a profile asks for.
#[derive(Clone, Copy)]
struct ProfileMatch<'a> {
    schema: &'a DatabaseSchema,
    table: &'a TableInfo,
    profile: &'a Profile,
    token: &'a ColumnInfo,
    user: &'a ColumnInfo,
    expires: &'a ColumnInfo,
}

/// Finds the tables of sessions.
#[must_use]
pub fn detect_candidates(
    schema: &DatabaseSchema,
    profiles: &[Profile],
    constraint: DetectionConstraint<'_>,
) -> Detection {
    let mut detection = Detection::default();
    let meant = |table: &&TableInfo| constraint.only_table.is_none_or(|only| std::ptr::eq(only, *table));
    for table in schema.tables.iter().filter(meant) {
        for profile in profiles {
            let Some(found) = ProfileMatch::find(schema, table, profile) else { continue };
            if constraint.only_table.is_none() && found.is_child_of_match() {
                continue;
            }
            if let (None, Some(why)) = (constraint.only_table, found.rule_out_reason()) {
                let ruled_out = RuledOutTable { table: table_name(table), reason: why };
                if !detection.ruled_out.contains(&ruled_out) {
                    detection.ruled_out.push(ruled_out);
                }
                continue;
            }
            let unreadable = found.unreadable_columns();
            if !unreadable.is_empty() {
                let refused = (table.name.clone(), unreadable);
                if !detection.unreadable.contains(&refused) {
                    detection.unreadable.push(refused);
                }
            } else if let Some(candidate) = found.build_candidate(constraint) {
                detection.candidates.push(candidate);
            }
        }
    }
    // The sort is stable: the order of tables (search path) and of the catalogue breaks ties.
    detection.candidates.sort_by_key(|candidate| {
        (!candidate.missing_evidence.is_empty(), std::cmp::Reverse(candidate.score))
    });
    detection
}

impl<'a> ProfileMatch<'a> {
    fn find(schema: &'a DatabaseSchema, table: &'a TableInfo, profile: &'a Profile) -> Option<Self> {
        let (token, user) = (find_column(table, &profile.token)?, find_column(table, &profile.user)?);
        Some(Self { schema, table, profile, token, user, expires: find_column(table, &profile.expires)? })
    }

    /// Whether its rows are those of another table that matches too.
    fn is_child_of_match(&self) -> bool {
        let above = self.table.parent_table.as_ref().and_then(|above| self.schema.table(above));
        above.is_some_and(|above| Self::find(self.schema, above, self.profile).is_some())
    }

    /// Why the table holds something else, if its name says so and the profile does not know it by that name.
    fn rule_out_reason(&self) -> Option<String> {
        match table_names::classify_table_name(&self.table.name) {
            TableNameMeaning::Other { holds, is_session_like: false } if !self.has_known_name() => {
                Some(format!(
                    "has the columns of a token, a user and an expiry, but its name says that it holds {holds}"
                ))
            }
            _ => None,
        }
    }

    fn has_known_name(&self) -> bool {
        self.profile.tables.contains(&self.table.name)
    }

    fn unreadable_columns(&self) -> Vec<String> {
        let columns = [self.token, self.user, self.expires].into_iter();
        columns.filter(|column| !column.readable).map(|column| column.name.clone()).collect()
    }

    fn build_mapping(&self) -> Option<Mapping> {
        let Self { schema, table, profile, token, user, expires } = *self;
        let created = find_readable_column(table, &profile.created).and_then(|column| {
            let decoder = profile.decoder_for(schema.dialect, column)?;
            Some(TimestampColumn { column: column.name.clone(), decoder })
        });
        let decoder = profile.decoder_for(schema.dialect, expires)?;
        Some(Mapping {
            profile: profile.name.clone(),
            sessions: table_name(table),
            id: find_readable_column(table, &profile.id)
                .filter(|id| id.name != token.name)
                .map(|id| id.name.clone()),
            token: token.name.clone(),
            user: Some(user.name.clone()),
            expires: TimestampColumn { column: expires.name.clone(), decoder },
            created,
            ip: find_readable_column(table, &profile.ip).map(|column| column.name.clone()),
            agent: find_readable_column(table, &profile.user_agent).map(|column| column.name.clone()),
            users: build_users_mapping(schema, table, user, profile),
            accounts: find_sibling_table(schema, table, &profile.accounts).map(table_name),
            revoke: RevokeMethod::Delete,
            deleted: None,
            token_prefix: None,
            impersonator: None,
            max_lifetime_s: Some(profile.max_lifetime_days * 86_400),
        })
    }

    fn build_candidate(&self, constraint: DetectionConstraint<'_>) -> Option<LayoutCandidate> {
        let Self { schema, table, profile, token, user, expires } = *self;
        let declared = profile.declared_types(schema.dialect);
        let agreeing = self.count_agreeing_types();
        let shown = profile.general
            || profile.has_certain_sign(schema, table, agreeing == declared.len() && agreeing > 0);
        let housed = table.schema.as_ref().is_some_and(|schema| profile.schemas.contains(schema));
        if !constraint.is_profile_named && !shown && !housed {
            return None;
        }
        let mapping = self.build_mapping()?;
        let lacks = if constraint.only_table.is_some() { vec![] } else { self.find_missing_evidence() };
        let identified = profile.id.is_empty() == find_readable_column(table, &profile.id).is_none();
        let points = |points: u32, holds: bool| points * u32::from(holds);
        let score = points(100, !profile.general)
            + 60
            + 10 * u32::try_from(agreeing).unwrap_or(0)
            + points(5, identified)
            + points(3, self.has_known_name())
            + points(40, housed)
            + points(20, table.search_path_index.is_some())
            + 4 * self.count_signs()
            + points(2, mapping.users.is_some())
            + points(1, !profile.ip.is_empty() && mapping.ip.is_some());
        let contradicting = u32::try_from(declared.len() - agreeing).unwrap_or(0);
        let penalty = 5 * contradicting + points(30, !profile.schemas.is_empty() && !housed);
        Some(LayoutCandidate {
            reasons: vec![format!(
                "table `{}` has a token (`{}`), a user (`{}`) and an expiry (`{}`, {}) as {} stores them",
                table.name, token.name, user.name, expires.name, expires.declared_type, profile.title
            )],
            notes: schema_notes(schema.dialect, table, &mapping),
            title: profile.title.clone(),
            score: score.saturating_sub(penalty),
            missing_evidence: lacks,
            other_login_hints: find_other_login_hints(schema, table, profile),
            is_named_in_config: constraint.only_table.is_some(),
            mapping,
        })
    }

    /// How many columns have the types that the library gives them.
    fn count_agreeing_types(&self) -> usize {
        let roles = [
            ("id", find_readable_column(self.table, &self.profile.id)),
            ("user", Some(self.user)),
            ("expires", Some(self.expires)),
        ];
        let declared = self.profile.declared_types(self.schema.dialect);
        let fits = |role: &str, types: &str| {
            let mut columns =
                roles.iter().filter(|(name, _)| *name == role).filter_map(|(_, column)| *column);
            columns.any(|column| types.split('|').any(|one| one == column.declared_type))
        };
        declared.iter().filter(|(role, types)| fits(role, types)).count()
    }

    fn is_named_like_sessions(&self) -> bool {
        self.has_known_name()
            || table_names::classify_table_name(&self.table.name) == TableNameMeaning::Sessions
    }

    /// Whether the table is called as the framework calls it, beside users whom it refers to, and says when a session began: then
    /// an application of its own making is known too, which need not have every column of the framework.
    fn is_plainly_sessions(&self) -> bool {
        let has_users = find_sibling_table(self.schema, self.table, &self.profile.users).is_some()
            || self.table.foreign_key_on(&self.user.name).is_some();
        self.has_known_name() && has_users && find_column(self.table, &self.profile.created).is_some()
    }

    /// Columns that every version of the framework has, and this table has not.
    fn missing_columns(&self) -> Vec<&'a String> {
        let columns = self.profile.corroboration.columns.iter();
        columns.filter(|column| self.table.column(column).is_none()).collect()
    }

    /// How many signs speak for the table, less those that speak against it.
    fn count_signs(&self) -> u32 {
        let Self { schema, table, profile, user, .. } = *self;
        let corroboration = &profile.corroboration;
        let signs = [
            !corroboration.columns.is_empty() && self.missing_columns().is_empty(),
            self.is_named_like_sessions(),
            find_sibling_table(schema, table, &profile.users).is_some(),
            table.foreign_key_on(&user.name).is_some(),
            find_sibling_table(schema, table, &profile.accounts).is_some(),
        ];
        let against = matches!(table_names::classify_table_name(&table.name), TableNameMeaning::Other { .. })
            && !self.has_known_name();
        let signs = signs.iter().filter(|sign| **sign).count();
        (corroboration.token + u32::try_from(signs).unwrap_or(0)).saturating_sub(u32::from(against))
    }

    /// What is missing before the table is taken for the sessions.
    fn find_missing_evidence(&self) -> Vec<String> {
        let Self { schema, table, profile, user, .. } = *self;
        let corroboration = &profile.corroboration;
        let mut lacks = Vec::new();
        if let (TableNameMeaning::HistoryCopy(word), false) =
            (table_names::classify_table_name(&table.name), self.has_known_name())
        {
            lacks.push(format!("its name says `{word}`"));
        }
        let missing = self.missing_columns();
        let has_enough = corroboration.columns.len() - missing.len() >= corroboration.columns_needed;
        if !has_enough && !self.is_plainly_sessions() {
            let missing: Vec<&str> = missing.into_iter().map(String::as_str).collect();
            lacks.push(format!("it has no column `{}`", missing.join("`, `")));
        }
        if self.count_signs() < corroboration.signs_needed {
            if !self.is_named_like_sessions() {
                lacks.push("its name does not speak of sessions".into());
            }
            if find_sibling_table(schema, table, &profile.users).is_none()
                && table.foreign_key_on(&user.name).is_none()
            {
                lacks.push("no table of users is beside it".into());
            }
            if find_sibling_table(schema, table, &profile.accounts).is_none() {
                lacks.push("no table of accounts is beside it".into());
            }
        }
        lacks
    }
}

/// What the tables beside the sessions say about log-ins that do not end with their rows.
#[must_use]
pub fn find_other_login_hints(schema: &DatabaseSchema, table: &TableInfo, profile: &Profile) -> Vec<String> {
    let beside = || schema.tables.iter().filter(|other| other.schema == table.schema);
    let says = |sign: &&OtherLoginSign| {
        let there = |names: &String| beside().any(|other| names.split('|').any(|name| other.name == name));
        sign.with.iter().all(there)
            && !sign
                .without
                .iter()
                .any(|word| beside().any(|other| table_names::contains_word(&other.name, word)))
    };
    profile.elsewhere.iter().filter(says).map(|sign| sign.says.clone()).collect()
}

/// The column by which an application marks sessions as deleted or revoked instead of removing them.
#[must_use]
pub fn find_soft_delete_column(table: &TableInfo) -> Option<&ColumnInfo> {
    const SOFT_DELETE_NAMES: [&str; 5] = ["deleted", "removed", "revoked", "invalidated", "loggedout"];
    let is_mark = |column: &&ColumnInfo| {
        let name = column.name.to_lowercase().replace('_', "");
        let name = name.strip_prefix("is").unwrap_or(&name);
        // Text such as `N` may mean either.
        let is_flag = column.is_boolean() || column.kind == ColumnKind::Integer;
        SOFT_DELETE_NAMES.iter().filter_map(|mark| name.strip_prefix(mark)).any(|rest| match rest {
            "" => is_flag,
            rest => ["at", "on"].contains(&rest),
        })
    };
    table.columns.iter().find(is_mark)
}

/// Whether a column is called after the last use of a session, or its last change.
#[must_use]
pub fn is_last_use_column(column: &str) -> bool {
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
pub fn find_impersonator_column(table: &TableInfo) -> Option<&ColumnInfo> {
    const IMPERSONATOR_NAMES: [&str; 4] =
        ["impersonatedby", "impersonatorid", "impersonator", "impersonatedbyid"];
    let is_named = |column: &&ColumnInfo| {
        IMPERSONATOR_NAMES.contains(&column.name.to_lowercase().replace('_', "").as_str()) && column.readable
    };
    table.columns.iter().find(is_named)
}

fn find_column<'a>(table: &'a TableInfo, names: &[String]) -> Option<&'a ColumnInfo> {
    names.iter().find_map(|name| table.column(name))
}

fn find_readable_column<'a>(table: &'a TableInfo, names: &[String]) -> Option<&'a ColumnInfo> {
    find_column(table, names).filter(|column| column.readable)
}

fn table_name(table: &TableInfo) -> TableName {
    TableName { schema: table.schema.clone(), name: table.name.clone() }
}

/// A table of one of these names in the same schema.
fn find_sibling_table<'a>(
    schema: &'a DatabaseSchema,
    table: &TableInfo,
    names: &[String],
) -> Option<&'a TableInfo> {
    names.iter().find_map(|name| {
        schema.tables.iter().find(|other| other.name == *name && other.schema == table.schema)
    })
}

/// The users: where the foreign key points, else by name.
fn build_users_mapping(
    schema: &DatabaseSchema,
    table: &TableInfo,
    user: &ColumnInfo,
    profile: &Profile,
) -> Option<UsersMapping> {
    let (users, key) = match table.foreign_key_on(&user.name) {
        Some(key) => (
            schema.find_table(key.target_schema.as_deref(), &key.target_table)?,
            key.target_columns.first()?.clone(),
        ),
        None => (find_sibling_table(schema, table, &profile.users)?, "id".to_owned()),
    };
    users.column(&key).filter(|column| column.readable)?;
    let shown =
        profile.display.iter().filter(|name| users.column(name).is_some_and(|column| column.readable));
    Some(UsersMapping { table: table_name(users), display: shown.cloned().collect(), key })
}

/// Why the table of users cannot be read, where the user column of the sessions refers to one, or one is beside them under
/// the name that the framework gives it; `None` if users are read, or there is no such table.
#[must_use]
pub fn unreadable_users_reason(
    schema: &DatabaseSchema,
    mapping: &Mapping,
    profile: Option<&Profile>,
) -> Option<String> {
    let user = mapping.user.as_deref().filter(|_| mapping.users.is_none())?;
    let sessions = schema.table(&mapping.sessions)?;
    let (name, key) = match sessions.foreign_key_on(user) {
        Some(key) => {
            let name = TableName { schema: key.target_schema.clone(), name: key.target_table.clone() };
            (name, key.target_columns.first()?.clone())
        }
        None => (table_name(find_sibling_table(schema, sessions, &profile?.users)?), "id".to_owned()),
    };
    let column = schema.table(&name).and_then(|users| users.column(&key));
    let is_readable = column.is_some_and(|column| column.readable);
    (!is_readable).then(|| format!("this role may not read `{key}` of `{name}`"))
}

/// What the schema cannot prevent, and what to know about the table.
#[must_use]
pub fn schema_notes(dialect: Dialect, table: &TableInfo, mapping: &Mapping) -> Vec<String> {
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
        TableKind::Table if table.has_children => notes.push(format!(
            "other tables inherit from `{}`: its unique indexes and foreign keys do not cover their rows",
            table.name
        )),
        TableKind::Table => {}
    }
    if table.unique_index_on(&mapping.token).is_none() {
        notes.push(format!(
            "no unique index on `{}`: the schema cannot prevent duplicated tokens",
            mapping.token
        ));
    }
    if let Some(how) = dialect.describe_comparison(table.column_equality(&mapping.token)) {
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
