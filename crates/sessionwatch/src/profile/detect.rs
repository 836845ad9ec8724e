//! Detection: which table holds the sessions, decided by its columns; names only break ties.

use super::{
    catalogue::Profile,
    mapping::{InstantColumn, Mapping, Revoke, TableName, UsersMapping},
    schema::{Column, Dialect, Equality, Schema, Table, TableKind},
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
}

/// Tables that hold sessions, best first, and near misses.
#[derive(Clone, Debug, Default)]
pub struct Detection {
    /// Best first.
    pub candidates: Vec<Candidate>,
    /// Tables that have the columns but may not be read, with the columns that lack permission.
    pub refused: Vec<(String, Vec<String>)>,
}

/// Finds the tables of sessions.
#[must_use]
pub fn detect(schema: &Schema, catalogue: &[Profile]) -> Detection {
    let mut detection = Detection::default();
    for table in &schema.tables {
        for profile in catalogue {
            let (Some(token), Some(user), Some(expires)) =
                (first(table, &profile.token), first(table, &profile.user), first(table, &profile.expires))
            else {
                continue;
            };
            let unreadable: Vec<String> = [token, user, expires]
                .iter()
                .filter(|column| !column.readable)
                .map(|column| column.name.clone())
                .collect();
            if !unreadable.is_empty() {
                let refused = (table.name.clone(), unreadable);
                if !detection.refused.contains(&refused) {
                    detection.refused.push(refused);
                }
            } else if let Some(candidate) = candidate(schema, table, profile) {
                detection.candidates.push(candidate);
            }
        }
    }
    // The sort is stable: the order of tables (search path) and of the catalogue breaks ties.
    detection.candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.score));
    detection
}

fn candidate(schema: &Schema, table: &Table, profile: &Profile) -> Option<Candidate> {
    let dialect = schema.dialect;
    let token = first(table, &profile.token)?;
    let user = first(table, &profile.user)?;
    let expires = first(table, &profile.expires)?;
    let decoder = profile.decoder(dialect, expires)?;
    let created = readable(table, &profile.created);
    let created = created.and_then(|column| {
        Some(InstantColumn { column: column.name.clone(), decoder: profile.decoder(dialect, column)? })
    });
    let users = users(schema, table, user, profile);
    let mapping = Mapping {
        profile: profile.name.clone(),
        sessions: TableName { schema: table.schema.clone(), name: table.name.clone() },
        id: readable(table, &profile.id).filter(|id| id.name != token.name).map(|id| id.name.clone()),
        token: token.name.clone(),
        user: Some(user.name.clone()),
        expires: InstantColumn { column: expires.name.clone(), decoder },
        created,
        ip: readable(table, &profile.ip).map(|column| column.name.clone()),
        agent: readable(table, &profile.agent).map(|column| column.name.clone()),
        users,
        accounts: sibling(schema, table, &profile.accounts).map(name_of),
        revoke: Revoke::Delete,
        max_lifetime_s: Some(profile.max_lifetime_days * 86_400),
    };
    let roles = [("id", readable(table, &profile.id)), ("user", Some(user)), ("expires", Some(expires))];
    let declared = profile.declared(dialect);
    let fits = |role: &str| {
        roles.iter().any(|(name, column)| {
            *name == role && column.is_some_and(|column| Some(&column.declared) == declared.get(role))
        })
    };
    let agreeing = u32::try_from(declared.keys().filter(|role| fits(role)).count()).unwrap_or(0);
    let contradicting = u32::try_from(declared.len()).unwrap_or(0) - agreeing;
    let named = profile.tables.contains(&table.name);
    let housed = table.schema.as_ref().is_some_and(|schema| profile.schemas.contains(schema));
    let identified = profile.id.is_empty() == readable(table, &profile.id).is_none();
    let score = 100
        + 10 * agreeing
        + 5 * u32::from(identified)
        + 3 * u32::from(named)
        + 40 * u32::from(housed)
        + 20 * u32::from(table.search_path.is_some())
        + 2 * u32::from(mapping.users.is_some())
        + u32::from(!profile.ip.is_empty() && mapping.ip.is_some());
    let penalty = 5 * contradicting + 30 * u32::from(!profile.schemas.is_empty() && !housed);
    Some(Candidate {
        why: vec![format!(
            "table `{}` has a token (`{}`), a user (`{}`) and an expiry (`{}`, {}) as {} stores them",
            table.name, token.name, user.name, expires.name, expires.declared, profile.title
        )],
        notes: notes(dialect, table, &mapping),
        title: profile.title.clone(),
        score: score.saturating_sub(penalty),
        mapping,
    })
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

/// How a column compares, where not byte for byte.
#[must_use]
pub fn comparison(dialect: Dialect, equality: Equality) -> Option<&'static str> {
    match (dialect, equality) {
        (_, Equality::Exact | Equality::Text) => None,
        (Dialect::Postgres, Equality::CaseBlind) => Some("without regard to case (citext)"),
        (Dialect::Sqlite, Equality::CaseBlind) => Some("without regard to case (COLLATE NOCASE)"),
        (_, Equality::SpaceBlind) => Some("without regard to spaces at the end (COLLATE RTRIM)"),
        (_, Equality::Collation) => Some("by a nondeterministic collation"),
    }
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
    if let Some(how) = comparison(dialect, table.equality(&mapping.token)) {
        notes.push(format!("tokens are compared {how}, as `{}` itself compares them", mapping.token));
    }
    let enforced = mapping
        .user
        .as_deref()
        .and_then(|user| table.foreign_key_on(user))
        .is_some_and(|key| table.is_proved_by(key) || dialect == Dialect::Sqlite);
    if !enforced {
        notes.push(
            "no validated foreign key to the users: the schema cannot prevent orphaned sessions".into(),
        );
    }
    if mapping.created.is_none() {
        notes.push(
            "no creation column: rapid creation is judged by the number of sessions a user holds".into(),
        );
    }
    if mapping.users.is_none() {
        notes.push("no readable table of users: orphaned sessions cannot be found".into());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{catalogue, schema::ColumnKind};

    fn table(name: &str, columns: &[(&str, &str, ColumnKind)]) -> Table {
        let column = |(name, declared, kind): &(&str, &str, ColumnKind)| Column {
            name: (*name).into(),
            declared: (*declared).into(),
            kind: *kind,
            readable: true,
            ..Column::default()
        };
        Table {
            schema: Some("public".into()),
            name: name.into(),
            search_path: Some(0),
            columns: columns.iter().map(column).collect(),
            ..Table::default()
        }
    }

    fn chosen(tables: Vec<Table>) -> Option<String> {
        let schema = Schema { dialect: Dialect::Postgres, path_named: false, tables };
        detect(&schema, &catalogue::embedded()).candidates.first().map(|best| best.mapping.profile.clone())
    }

    const TEXT: ColumnKind = ColumnKind::Text;
    const PRISMA: (&str, &str, ColumnKind) =
        ("expires", "timestamp(3) without time zone", ColumnKind::Timestamp);
    const ZONED: (&str, &str, ColumnKind) = ("expires", "timestamp with time zone", ColumnKind::Timestamptz);

    #[test]
    fn tells_the_adapters_apart_by_columns_under_any_table_name() {
        let token = ("sessionToken", "text", TEXT);
        let number = ("userId", "integer", ColumnKind::Integer);
        let uuid = ("userId", "uuid", ColumnKind::Uuid);
        let uuid_id = ("id", "uuid", ColumnKind::Uuid);
        let serial = ("id", "integer", ColumnKind::Integer);
        for (columns, profile) in [
            (vec![("id", "text", TEXT), token, number, PRISMA], "authjs-prisma"),
            (
                vec![
                    ("id", "text", TEXT),
                    ("session_token", "text", TEXT),
                    ("user_id", "text", TEXT),
                    PRISMA,
                ],
                "authjs-prisma-mapped",
            ),
            (vec![serial, token, number, ZONED], "authjs-pg"),
            (
                vec![
                    token,
                    ("userId", "text", TEXT),
                    ("expires", "timestamp without time zone", ColumnKind::Timestamp),
                ],
                "authjs-drizzle",
            ),
            (vec![uuid_id, token, uuid, ZONED], "authjs-kysely"),
            (vec![uuid_id, token, uuid, ("expires", "character varying", TEXT)], "authjs-typeorm"),
            (
                vec![
                    ("id", "text", TEXT),
                    ("token", "text", TEXT),
                    ("userId", "text", TEXT),
                    ("expiresAt", "timestamp with time zone", ColumnKind::Timestamptz),
                ],
                "better-auth-kysely",
            ),
            (
                vec![
                    ("id", "text", TEXT),
                    ("token", "text", TEXT),
                    ("user_id", "text", TEXT),
                    ("expires_at", "timestamp without time zone", ColumnKind::Timestamp),
                ],
                "better-auth-drizzle",
            ),
            (
                vec![
                    ("id", "text", TEXT),
                    ("token", "text", TEXT),
                    ("userId", "text", TEXT),
                    ("expiresAt", "timestamp(3) without time zone", ColumnKind::Timestamp),
                ],
                "better-auth-prisma",
            ),
        ] {
            assert_eq!(chosen(vec![table("anything", &columns)]).as_deref(), Some(profile));
        }
    }

    #[test]
    fn the_supabase_schema_is_recognised_off_the_search_path() {
        let mut sessions = table(
            "sessions",
            &[
                ("id", "uuid", ColumnKind::Uuid),
                ("sessionToken", "text", TEXT),
                ("userId", "uuid", ColumnKind::Uuid),
                ZONED,
            ],
        );
        sessions.schema = Some("next_auth".into());
        sessions.search_path = None;
        assert_eq!(chosen(vec![sessions]).as_deref(), Some("authjs-supabase"));
    }

    #[test]
    fn other_tables_are_left_alone_and_unreadable_columns_are_named() {
        assert_eq!(
            chosen(vec![table(
                "verification_token",
                &[("identifier", "text", TEXT), ("token", "text", TEXT), ZONED]
            )]),
            None
        );
        let mut sessions =
            table("sessions", &[("sessionToken", "text", TEXT), ("userId", "text", TEXT), ZONED]);
        sessions.columns[0].readable = false;
        let schema = Schema { dialect: Dialect::Postgres, path_named: false, tables: vec![sessions] };
        let detection = detect(&schema, &catalogue::embedded());
        assert!(detection.candidates.is_empty());
        assert_eq!(detection.refused, vec![("sessions".into(), vec!["sessionToken".into()])]);
    }
}
