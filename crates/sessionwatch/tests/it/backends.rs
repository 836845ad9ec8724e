//! Stories that every database goes through: what is counted, listed, planned, removed and put back is the same wherever
//! sessions are kept. `engine_equivalence` and `paging` belong to them. A further database is a file in this folder and a line in
//! [`BACKENDS`].

mod ended_in_place;
mod evidence;
pub(crate) mod postgres;
mod quoting;
pub(crate) mod remediation;
pub(crate) mod sqlite;

use sessionwatch_core::decoder::Decoder;
use sessionwatch_targets::{
    address::TargetAddress,
    mapping::{Mapping, RevokeMethod, TableName, TimestampColumn, UsersMapping},
    sql::{Dialect, RowAddressing, schema::DatabaseSchema},
};

use self::remediation::Site;

/// The databases that the stories are told of.
pub(crate) const BACKENDS: [&dyn Backend; 2] = [&postgres::Postgres, &sqlite::Sqlite];

/// A database, as tests set it up.
pub(crate) trait Backend: Sync {
    /// For what a failed test says.
    fn name(&self) -> &'static str;

    /// The SQL that it understands.
    fn dialect(&self) -> Dialect;

    /// A text that stands for itself in its SQL, whatever is in it, written otherwise than the program writes it.
    fn literal(&self, text: &str) -> String;

    /// Makes a database without tables.
    fn create(&self) -> Box<dyn TestDatabase>;

    /// Tells a story of targets with every anomaly: one for each way to reach or to lay out such a database.
    fn visit_anomalous(&self, story: &dyn Fn(&Site<'_>));

    /// Types of columns that hold instants, and what decodes them.
    fn instant_columns(&self) -> &'static [(&'static str, &'static str)];

    /// The same, for pages in the order of such columns.
    fn paged_columns(&self) -> &'static [(&'static str, Decoder)];

    /// What closes the definition of a table with a primary key, and how its rows are then addressed.
    fn table_endings(&self) -> &'static [(&'static str, RowAddressing)];

    /// Types of row IDs.
    fn id_columns(&self) -> &'static [&'static str];

    /// How many random tables are tried of each type.
    fn random_tables(&self) -> u32;
}

/// A database of one test.
pub(crate) trait TestDatabase {
    /// Every way that leads to it, as a person writes it.
    fn urls(&self) -> Vec<String>;

    /// The same, as addresses.
    fn addresses(&self) -> Vec<TargetAddress> {
        self.urls().iter().map(|url| TargetAddress::parse(url).unwrap()).collect()
    }

    /// Runs statements.
    fn execute(&self, script: &str);

    /// The rows of a query, as `psql` writes them.
    fn query(&self, query: &str) -> String;
}

/// Sessions in a table `s` whose ends are seconds, and their users in a table `u`.
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
