//! Detection: finds the session table by its columns and by corroborating evidence. Columns alone are not
//! enough, since tables of password resets, invitations and refresh tokens have a token, a user and an expiry
//! too.

use super::{
    profile_catalog::{OtherLoginSign, Profile},
    table_classification::{self, TableNameMeaning},
};
use crate::{
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
    sql::{
        Dialect,
        database_schema::DatabaseSchema,
        table_info::{ColumnInfo, ColumnKind, TableInfo, TableKind},
    },
};

/// A table that matches a profile.
#[derive(Clone, Debug)]
pub struct LayoutCandidate {
    /// Mapping of its columns.
    pub mapping: Mapping,
    /// Title of the profile.
    pub title: String,
    /// Quality of the match; higher is better.
    pub score: u32,
    /// Reasons for the choice.
    pub reasons: Vec<String>,
    /// Problems that the schema cannot prevent, and other facts worth knowing.
    pub notes: Vec<String>,
    /// Evidence missing before the table counts as the session table; empty if there is enough.
    pub missing_evidence: Vec<String>,
    /// Signs of logins that do not end with their rows, from the tables beside this one.
    pub other_login_hints: Vec<String>,
    /// `true` if the configuration names the table.
    pub is_named_in_config: bool,
}

/// A table with the columns of a session table that holds something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledOutTable {
    /// Name of the table.
    pub table: TableName,
    /// Reason, to be read after the name.
    pub reason: String,
}

/// Result of detection: candidates and near misses.
#[derive(Clone, Debug, Default)]
pub struct Detection {
    /// Session tables, best first.
    pub candidates: Vec<LayoutCandidate>,
    /// Matching tables that the role cannot read, with the unreadable columns.
    pub unreadable: Vec<(String, Vec<String>)>,
    /// Matching tables that hold something else.
    pub ruled_out: Vec<RuledOutTable>,
}

/// Constraints from the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct DetectionConstraint<'a> {
    /// The only table to consider.
    pub only_table: Option<&'a TableInfo>,
    /// `true` if the configuration names the profile, which then needs no certain sign.
    pub is_profile_named: bool,
}

/// A table with the columns of a profile.
#[derive(Clone, Copy)]
struct ProfileMatch<'a> {
    schema: &'a DatabaseSchema,
    table: &'a TableInfo,
    profile: &'a Profile,
    token: &'a ColumnInfo,
    user: &'a ColumnInfo,
    expires: &'a ColumnInfo,
}

/// Finds session tables.
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
            // Partitions are read through their parent.
            if constraint.only_table.is_none() && found.is_child_of_match() {
                continue;
            }
            if let (None, Some(reason)) = (constraint.only_table, found.rule_out_reason()) {
                let ruled_out = RuledOutTable { table: table_name(table), reason };
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
    // The sort is stable: the order of tables (search path) and of profiles breaks ties.
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

    /// Returns `true` if the rows are also those of a matching parent table.
    fn is_child_of_match(&self) -> bool {
        let above = self.table.parent_table.as_ref().and_then(|above| self.schema.table(above));
        above.is_some_and(|above| Self::find(self.schema, above, self.profile).is_some())
    }

    /// Returns why the table holds something else according to its name, unless the profile lists that name.
    fn rule_out_reason(&self) -> Option<String> {
        match table_classification::classify_table_name(&self.table.name) {
            TableNameMeaning::Other { holds, is_session_like: false } if !self.has_known_name() => {
                Some(format!(
                    "has columns for a token, a user and an expiry, but judging by its name it holds {holds}"
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
                // The row id is shown and logged, so the token must never serve as one.
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
        let missing_evidence =
            if constraint.only_table.is_some() { vec![] } else { self.find_missing_evidence() };
        let identified = profile.id.is_empty() == find_readable_column(table, &profile.id).is_none();
        // The weights rank profiles that match the same tables; only their order matters.
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
        // A profile tied to a schema is unlikely outside of it.
        let penalty = 5 * contradicting + points(30, !profile.schemas.is_empty() && !housed);
        Some(LayoutCandidate {
            reasons: vec![format!(
                "table `{}` has a token (`{}`), a user (`{}`) and an expiry (`{}`, {}), as stored by {}",
                table.name, token.name, user.name, expires.name, expires.declared_type, profile.title
            )],
            notes: schema_notes(schema.dialect, table, &mapping),
            title: profile.title.clone(),
            score: score.saturating_sub(penalty),
            missing_evidence,
            other_login_hints: find_other_login_hints(schema, table, profile),
            is_named_in_config: constraint.only_table.is_some(),
            mapping,
        })
    }

    /// Counts the columns with the declared types of the framework.
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
            || table_classification::classify_table_name(&self.table.name) == TableNameMeaning::Sessions
    }

    /// Returns `true` if the table has the framework's name and a creation time, and a user table is beside
    /// it. That is enough even for an application that lacks some columns of the framework.
    fn is_plainly_sessions(&self) -> bool {
        let has_users = find_sibling_table(self.schema, self.table, &self.profile.users).is_some()
            || self.table.foreign_key_on(&self.user.name).is_some();
        self.has_known_name() && has_users && find_column(self.table, &self.profile.created).is_some()
    }

    /// Returns the columns that every version of the framework has and this table lacks.
    fn missing_columns(&self) -> Vec<&'a String> {
        let columns = self.profile.corroboration.columns.iter();
        columns.filter(|column| self.table.column(column).is_none()).collect()
    }

    /// Counts the signs for the table, less those against.
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
        // A name that suggests another content cancels one sign.
        let against =
            matches!(table_classification::classify_table_name(&table.name), TableNameMeaning::Other { .. })
                && !self.has_known_name();
        let signs = signs.iter().filter(|sign| **sign).count();
        (corroboration.token + u32::try_from(signs).unwrap_or(0)).saturating_sub(u32::from(against))
    }

    /// Returns the evidence still missing before the table counts as the session table.
    fn find_missing_evidence(&self) -> Vec<String> {
        let Self { schema, table, profile, user, .. } = *self;
        let corroboration = &profile.corroboration;
        let mut lacks = Vec::new();
        if let (TableNameMeaning::HistoryCopy(word), false) =
            (table_classification::classify_table_name(&table.name), self.has_known_name())
        {
            lacks.push(format!("its name contains `{word}`"));
        }
        let missing = self.missing_columns();
        let has_enough = corroboration.columns.len() - missing.len() >= corroboration.columns_needed;
        if !has_enough && !self.is_plainly_sessions() {
            let missing: Vec<&str> = missing.into_iter().map(String::as_str).collect();
            lacks.push(format!("it has no column `{}`", missing.join("`, `")));
        }
        if self.count_signs() < corroboration.signs_needed {
            if !self.is_named_like_sessions() {
                lacks.push("its name does not suggest sessions".into());
            }
            if find_sibling_table(schema, table, &profile.users).is_none()
                && table.foreign_key_on(&user.name).is_none()
            {
                lacks.push("there is no user table beside it".into());
            }
            if find_sibling_table(schema, table, &profile.accounts).is_none() {
                lacks.push("there is no account table beside it".into());
            }
        }
        lacks
    }
}

/// Returns signs of logins that do not end with their rows, from the tables beside the sessions.
#[must_use]
pub fn find_other_login_hints(schema: &DatabaseSchema, table: &TableInfo, profile: &Profile) -> Vec<String> {
    let beside = || schema.tables.iter().filter(|other| other.schema == table.schema);
    let says = |sign: &&OtherLoginSign| {
        let there = |names: &String| beside().any(|other| names.split('|').any(|name| other.name == name));
        sign.with.iter().all(there)
            && !sign
                .without
                .iter()
                .any(|word| beside().any(|other| table_classification::contains_word(&other.name, word)))
    };
    profile.elsewhere.iter().filter(says).map(|sign| sign.says.clone()).collect()
}

/// Returns the column in which an application marks sessions as deleted or revoked.
#[must_use]
pub fn find_soft_delete_column(table: &TableInfo) -> Option<&ColumnInfo> {
    const SOFT_DELETE_NAMES: [&str; 5] = ["deleted", "removed", "revoked", "invalidated", "loggedout"];
    let is_mark = |column: &&ColumnInfo| {
        let name = column.name.to_lowercase().replace('_', "");
        let name = name.strip_prefix("is").unwrap_or(&name);
        // A text such as `N` is ambiguous, so text columns are no flags.
        let is_flag = column.is_boolean() || column.kind == ColumnKind::Integer;
        SOFT_DELETE_NAMES.iter().filter_map(|mark| name.strip_prefix(mark)).any(|rest| match rest {
            "" => is_flag,
            rest => ["at", "on"].contains(&rest),
        })
    };
    table.columns.iter().find(is_mark)
}

/// Returns `true` if the name of a column suggests the last use or change of a session.
#[must_use]
pub fn is_last_use_column(column: &str) -> bool {
    let name = column.to_lowercase().replace(['_', '-'], "");
    // `last_used_at` and `lastUsedTime` both mean `lastused`.
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

/// Returns the column with the administrator who impersonates a user.
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

/// Returns the table with one of these names in the same schema.
fn find_sibling_table<'a>(
    schema: &'a DatabaseSchema,
    table: &TableInfo,
    names: &[String],
) -> Option<&'a TableInfo> {
    names.iter().find_map(|name| {
        schema.tables.iter().find(|other| other.name == *name && other.schema == table.schema)
    })
}

/// Builds the mapping of the users: by the foreign key if there is one, otherwise by name.
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
        // The supported frameworks name the key of their users `id`.
        None => (find_sibling_table(schema, table, &profile.users)?, "id".to_owned()),
    };
    users.column(&key).filter(|column| column.readable)?;
    let shown =
        profile.display.iter().filter(|name| users.column(name).is_some_and(|column| column.readable));
    Some(UsersMapping { table: table_name(users), display: shown.cloned().collect(), key })
}

/// Returns why the user table cannot be read, or `None` if it can, or there is none. The user table is the
/// one that the user column refers to, or one with the framework's name beside the sessions.
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
    (!is_readable).then(|| format!("the role cannot read `{key}` of `{name}`"))
}

/// Returns problems that the schema cannot prevent, and other facts worth knowing about the table.
#[must_use]
pub fn schema_notes(dialect: Dialect, table: &TableInfo, mapping: &Mapping) -> Vec<String> {
    let mut notes = Vec::new();
    match table.kind {
        TableKind::View | TableKind::MaterializedView => {
            notes.push(format!(
                "`{}` is a view: views have no constraints, so none can rule out problems",
                table.name
            ));
        }
        TableKind::Partitioned => notes
            .push(format!("`{}` is partitioned: a unique index must include the partition key", table.name)),
        TableKind::Foreign => {
            notes.push(format!("`{}` is a foreign table: checks put load on another server", table.name))
        }
        TableKind::Table if table.has_children => notes.push(format!(
            "other tables inherit from `{}`: its unique indexes and foreign keys do not cover their rows",
            table.name
        )),
        TableKind::Table => {}
    }
    if table.unique_index_on(&mapping.token).is_none() {
        notes.push(format!(
            "no unique index on `{}`: the schema does not prevent duplicate tokens",
            mapping.token
        ));
    }
    if let Some(how) = dialect.describe_comparison(table.column_equality(&mapping.token)) {
        notes.push(format!("tokens are compared {how}, like the column `{}` itself", mapping.token));
    }
    // Without a user column, every further note would repeat this one.
    let Some(user) = mapping.user.as_deref() else {
        notes.push(
            "no user column is mapped, so these checks cannot run: token-reassigned, orphaned-sessions, \
             sessions-per-user, user-session-excess, rapid-creation (set `user` under [target.mapping])"
                .into(),
        );
        return notes;
    };
    let key = table.foreign_key_on(user);
    let enforced = key.is_some_and(|key| table.is_proved_by(key) || !dialect.enforces_foreign_keys());
    if !enforced {
        notes.push(
            "no validated foreign key to the users table: the schema does not prevent orphaned sessions"
                .into(),
        );
    }
    if mapping.created.is_none() {
        notes.push("no creation column: only `serve` can detect rapid creation".into());
    }
    if mapping.users.is_none() {
        notes.push("no readable user table: orphaned sessions cannot be detected".into());
    }
    notes
}

#[cfg(test)]
mod tests;
