//! Tests that run on every database: counts, lists, plans, removal and restore are the same wherever sessions are
//! stored. `engine_equivalence` and `paging` belong to them. To add a database, add a file to this folder and a line to
//! [`BACKENDS`].

mod ended_in_place;
mod evidence;
pub(crate) mod postgres;
mod quoting;
pub(crate) mod remediation;
pub(crate) mod sqlite;

use sessionwatch_core::timestamp_decoder::Decoder;
use sessionwatch_targets::{
    address::TargetAddress,
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
    sql::{Dialect, RowAddressing, database_schema::DatabaseSchema},
};

use self::remediation::Site;

/// The databases that the tests run on.
pub(crate) const BACKENDS: [&dyn Backend; 2] = [&postgres::Postgres, &sqlite::Sqlite];

/// A database that tests can set up.
pub(crate) trait Backend: Sync {
    /// Name for failure messages.
    fn name(&self) -> &'static str;

    /// SQL dialect.
    fn dialect(&self) -> Dialect;

    /// Quotes any text as a literal in its SQL, by other means than the program does.
    fn literal(&self, text: &str) -> String;

    /// Creates a database without tables.
    fn create(&self) -> Box<dyn TestDatabase>;

    /// Runs a test on targets with every anomaly, one for each way to connect to or lay out such a database.
    fn visit_anomalous(&self, story: &dyn Fn(&Site<'_>));

    /// Column types for instants, with their decoders.
    fn instant_columns(&self) -> &'static [(&'static str, &'static str)];

    /// The same, for pages ordered by such columns.
    fn paged_columns(&self) -> &'static [(&'static str, Decoder)];

    /// Ends of table definitions with a primary key, and how rows of such tables are addressed.
    fn table_endings(&self) -> &'static [(&'static str, RowAddressing)];

    /// Column types for row IDs.
    fn id_columns(&self) -> &'static [&'static str];

    /// Number of random tables per column type.
    fn random_tables(&self) -> u32;
}

/// A database of one test.
pub(crate) trait TestDatabase {
    /// Every URL of the database, as a user writes it.
    fn urls(&self) -> Vec<String>;

    /// The same, parsed.
    fn addresses(&self) -> Vec<TargetAddress> {
        self.urls().iter().map(|url| TargetAddress::parse(url).unwrap()).collect()
    }

    /// Runs SQL statements.
    fn execute(&self, script: &str);

    /// Runs a query, and returns its rows as `psql` prints them.
    fn query(&self, query: &str) -> String;
}

/// Mapping of sessions in a table `s`, with expiry in seconds, and of users in a table `u`.
fn mapping(schema: &DatabaseSchema, display: &[&str]) -> Mapping {
    let named = schema.dialect.has_schemas().then(|| "public".to_owned());
    let name = |name: &str| TableName { schema: named.clone(), name: name.into() };
    Mapping {
        revoke: RevokeMethod::Delete,
        profile: "custom".into(),
        sessions: name("s"),
        id: Some("id".into()),
        token: "t".into(),
        user: Some("u".into()),
        expires: TimestampColumn { column: "e".into(), decoder: Decoder::EpochSeconds },
        created: None,
        ip: None,
        agent: None,
        users: Some(UsersMapping {
            table: name("u"),
            key: "id".into(),
            display: display.iter().map(|&column| column.to_owned()).collect(),
        }),
        accounts: None,
        deleted: None,
        token_prefix: None,
        impersonator: None,
        max_lifetime_s: None,
    }
}
