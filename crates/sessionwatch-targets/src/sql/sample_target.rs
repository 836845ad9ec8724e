//! A sample session table for tests, with names that would break statements without quoting.

use sessionwatch_core::{timestamp::UtcTimestamp, timestamp_decoder::Decoder};

use super::{
    Dialect, QueryBuilder,
    database_schema::DatabaseSchema,
    table_info::{ColumnInfo, ColumnKind, IndexInfo, TableInfo},
};
use crate::mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping};

pub(crate) const SESSIONS_TABLE: &str = "ses\"sions; --";
pub(crate) const USERS_TABLE: &str = "us'ers";
pub(crate) const ID_COLUMN: &str = "i\"d";
pub(crate) const TOKEN_COLUMN: &str = "tok'en";
pub(crate) const USER_COLUMN: &str = "user id";
pub(crate) const EXPIRES_COLUMN: &str = "ex\"pires";

/// A Sunday in November 2026.
pub(crate) const SAMPLE_NOW: UtcTimestamp =
    UtcTimestamp::UNIX_EPOCH.saturating_add_micros(1_795_953_600_000_000);

/// Mapping and schema of a sample target. Tests modify what they are about.
#[derive(Debug)]
pub(crate) struct SampleTarget {
    pub(crate) mapping: Mapping,
    pub(crate) schema: DatabaseSchema,
}

impl SampleTarget {
    pub(crate) fn new(dialect: Dialect, expires: TimestampColumn, kind: ColumnKind) -> Self {
        let name = |name: &str| {
            let schema = dialect.has_schemas().then(|| "My app".to_owned());
            TableName { schema, name: name.into() }
        };
        let created = TimestampColumn { column: "created".into(), ..expires.clone() };
        let mapping = Mapping {
            profile: "custom".into(),
            sessions: name(SESSIONS_TABLE),
            id: Some(ID_COLUMN.into()),
            token: TOKEN_COLUMN.into(),
            token_prefix: None,
            user: Some(USER_COLUMN.into()),
            expires,
            created: Some(created),
            deleted: None,
            impersonator: Some("acts for".into()),
            ip: Some("ip".into()),
            agent: Some("agent".into()),
            users: Some(UsersMapping {
                table: name(USERS_TABLE),
                key: "key".into(),
                display: vec!["na\"me".into()],
            }),
            accounts: None,
            revoke: RevokeMethod::Delete,
            max_lifetime_s: None,
        };
        let texts = [ID_COLUMN, TOKEN_COLUMN, USER_COLUMN, "ip", "agent", "acts for"]
            .map(|name| sample_column(name, ColumnKind::Text));
        let instants = [EXPIRES_COLUMN, "created"].map(|name| sample_column(name, kind));
        let sessions = TableInfo {
            columns: texts.into_iter().chain(instants).collect(),
            indexes: vec![unique_index(ID_COLUMN)],
            ..sample_table(&mapping.sessions)
        };
        let users = TableInfo {
            columns: ["key", "na\"me"].map(|name| sample_column(name, ColumnKind::Text)).into(),
            ..sample_table(&name(USERS_TABLE))
        };
        Self {
            mapping,
            schema: DatabaseSchema { dialect, has_named_search_path: false, tables: vec![sessions, users] },
        }
    }

    /// Creates a target in a SQLite file with timestamps in milliseconds since 1970.
    pub(crate) fn in_file() -> Self {
        let expires = TimestampColumn { column: EXPIRES_COLUMN.into(), decoder: Decoder::EpochMillis };
        Self::new(Dialect::SQLITE, expires, ColumnKind::Integer)
    }

    /// Creates a target on a PostgreSQL server with native timestamps.
    pub(crate) fn on_server() -> Self {
        let expires = TimestampColumn { column: EXPIRES_COLUMN.into(), decoder: Decoder::Timestamptz };
        Self::new(Dialect::POSTGRES, expires, ColumnKind::Timestamptz)
    }

    pub(crate) fn query_builder(&self) -> QueryBuilder<'_> {
        QueryBuilder {
            fingerprint_key: 7,
            notable_above: 5,
            ..QueryBuilder::for_sampling(&self.mapping, &self.schema, SAMPLE_NOW)
        }
    }

    pub(crate) fn sessions_table(&mut self) -> &mut TableInfo {
        &mut self.schema.tables[0]
    }

    pub(crate) fn users_table(&mut self) -> &mut TableInfo {
        &mut self.schema.tables[1]
    }

    /// Returns a column of the sessions.
    pub(crate) fn session_column(&mut self, name: &str) -> &mut ColumnInfo {
        self.sessions_table().columns.iter_mut().find(|column| column.name == name).unwrap()
    }
}

fn sample_table(name: &TableName) -> TableInfo {
    TableInfo {
        schema: name.schema.clone(),
        name: name.name.clone(),
        search_path_index: Some(0),
        ..TableInfo::default()
    }
}

fn sample_column(name: &str, kind: ColumnKind) -> ColumnInfo {
    let declared_type = match kind {
        ColumnKind::Integer => "bigint",
        ColumnKind::Timestamptz => "timestamp with time zone",
        _ => "text",
    };
    let (name, declared_type) = (name.to_owned(), declared_type.to_owned());
    ColumnInfo { name, declared_type, kind, readable: true, ..ColumnInfo::default() }
}

fn unique_index(column: &str) -> IndexInfo {
    IndexInfo {
        name: "ids".into(),
        columns: vec![column.into()],
        unique: true,
        complete: true,
        exact: true,
        ..IndexInfo::default()
    }
}
