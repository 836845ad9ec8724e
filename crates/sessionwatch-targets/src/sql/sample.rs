//! A table of sessions for tests, with names that would end a statement that does not quote them.

use sessionwatch_core::{decoder::Decoder, instant::Instant};

use super::{
    Dialect, Sql,
    schema::Schema,
    tables::{Column, ColumnKind, Index, Table},
};
use crate::mapping::{InstantColumn, Mapping, Revoke, TableName, UsersMapping};

pub(crate) const SESSIONS: &str = "ses\"sions; --";
pub(crate) const USERS: &str = "us'ers";
pub(crate) const ID: &str = "i\"d";
pub(crate) const TOKEN: &str = "tok'en";
pub(crate) const USER: &str = "user id";
pub(crate) const EXPIRES: &str = "ex\"pires";

/// A Sunday in November 2026.
pub(crate) const NOW: Instant = Instant::UNIX_EPOCH.plus_micros(1_795_953_600_000_000);

/// How a target stores its sessions, and the schema that was found there. Tests change what they are about.
#[derive(Debug)]
pub(crate) struct SampleTarget {
    pub(crate) mapping: Mapping,
    pub(crate) schema: Schema,
}

impl SampleTarget {
    pub(crate) fn new(dialect: Dialect, expires: InstantColumn, kind: ColumnKind) -> Self {
        let name = |name: &str| {
            let schema = dialect.has_schemas().then(|| "My app".to_owned());
            TableName { schema, name: name.into() }
        };
        let created = InstantColumn { column: "created".into(), ..expires.clone() };
        let mapping = Mapping {
            profile: "custom".into(),
            sessions: name(SESSIONS),
            id: Some(ID.into()),
            token: TOKEN.into(),
            token_prefix: None,
            user: Some(USER.into()),
            expires,
            created: Some(created),
            deleted: None,
            impersonator: Some("acts for".into()),
            ip: Some("ip".into()),
            agent: Some("agent".into()),
            users: Some(UsersMapping {
                table: name(USERS),
                key: "key".into(),
                display: vec!["na\"me".into()],
            }),
            accounts: None,
            revoke: Revoke::Delete,
            max_lifetime_s: None,
        };
        let texts = [ID, TOKEN, USER, "ip", "agent", "acts for"].map(|name| column(name, ColumnKind::Text));
        let instants = [EXPIRES, "created"].map(|name| column(name, kind));
        let sessions = Table {
            columns: texts.into_iter().chain(instants).collect(),
            indexes: vec![unique(ID)],
            ..found(&mapping.sessions)
        };
        let users = Table {
            columns: ["key", "na\"me"].map(|name| column(name, ColumnKind::Text)).into(),
            ..found(&name(USERS))
        };
        Self { mapping, schema: Schema { dialect, path_named: false, tables: vec![sessions, users] } }
    }

    /// A table whose instants are milliseconds since 1970, in a SQLite file.
    pub(crate) fn in_file() -> Self {
        let expires = InstantColumn { column: EXPIRES.into(), decoder: Decoder::EpochMillis };
        Self::new(Dialect::SQLITE, expires, ColumnKind::Integer)
    }

    /// A table whose instants are timestamps, on a PostgreSQL server.
    pub(crate) fn on_server() -> Self {
        let expires = InstantColumn { column: EXPIRES.into(), decoder: Decoder::Timestamptz };
        Self::new(Dialect::POSTGRES, expires, ColumnKind::Timestamptz)
    }

    pub(crate) fn sql(&self) -> Sql<'_> {
        Sql { key: 7, notable_above: 5, ..Sql::sampling(&self.mapping, &self.schema, NOW) }
    }

    pub(crate) fn sessions(&mut self) -> &mut Table {
        &mut self.schema.tables[0]
    }

    pub(crate) fn users(&mut self) -> &mut Table {
        &mut self.schema.tables[1]
    }

    /// A column of the sessions.
    pub(crate) fn column(&mut self, name: &str) -> &mut Column {
        self.sessions().columns.iter_mut().find(|column| column.name == name).unwrap()
    }
}

fn found(name: &TableName) -> Table {
    Table { schema: name.schema.clone(), name: name.name.clone(), search_path: Some(0), ..Table::default() }
}

fn column(name: &str, kind: ColumnKind) -> Column {
    let declared = match kind {
        ColumnKind::Integer => "bigint",
        ColumnKind::Timestamptz => "timestamp with time zone",
        _ => "text",
    };
    let (name, declared) = (name.to_owned(), declared.to_owned());
    Column { name, declared, kind, readable: true, ..Column::default() }
}

fn unique(column: &str) -> Index {
    Index {
        name: "ids".into(),
        columns: vec![column.into()],
        unique: true,
        complete: true,
        exact: true,
        ..Index::default()
    }
}
