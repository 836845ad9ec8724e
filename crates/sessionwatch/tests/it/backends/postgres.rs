//! PostgreSQL, direct and through a pooler.

use sessionwatch_core::timestamp_decoder::Decoder;
use sessionwatch_targets::sql::{Dialect, RowAddressing};
use testkit::Database;

use super::{Backend, TestDatabase, remediation::Site};
use crate::actions::Place;

pub(crate) struct Postgres;

impl Backend for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn dialect(&self) -> Dialect {
        Dialect::POSTGRES
    }

    fn literal(&self, text: &str) -> String {
        format!("$text${text}$text$")
    }

    fn create(&self) -> Box<dyn TestDatabase> {
        Box::new(testkit::empty_database())
    }

    fn visit_anomalous(&self, story: &dyn Fn(&Site<'_>)) {
        let database = testkit::anomalous_database();
        for port in [0, 1] {
            let database = testkit::shared_server().create_database(Some(&database)).unwrap();
            let place = Place::new(&database, port);
            let sql = |sql: &str| database.psql(sql).unwrap();
            story(&Site { folder: place.folder.path(), sql: &sql, live: "now() + interval '1 day'" });
        }
    }

    fn instant_columns(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("timestamptz", "timestamptz"),
            ("timestamp", "timestamp-utc"),
            ("timestamp", "timestamp-local:America/New_York"),
            ("timestamp(6)", "timestamp-local:Australia/Lord_Howe"),
            ("text", "timestamp-local:America/New_York"),
            ("bigint", "epoch-s"),
            ("bigint", "epoch-ms"),
            ("text", "epoch-s"),
            ("varchar(40)", "epoch-ms"),
            ("text", "iso-text"),
        ]
    }

    fn paged_columns(&self) -> &'static [(&'static str, Decoder)] {
        &[
            ("timestamptz", Decoder::Timestamptz),
            ("timestamp", Decoder::TimestampUtc),
            ("bigint", Decoder::EpochSeconds),
        ]
    }

    fn table_endings(&self) -> &'static [(&'static str, RowAddressing)] {
        &[(")", RowAddressing::Position)]
    }

    fn id_columns(&self) -> &'static [&'static str] {
        &["text PRIMARY KEY", "text", "text NOT NULL", "integer PRIMARY KEY", "uuid PRIMARY KEY"]
    }

    fn random_tables(&self) -> u32 {
        8
    }
}

impl TestDatabase for Database<'static> {
    fn urls(&self) -> Vec<String> {
        Database::urls(self, "postgres").into()
    }

    fn execute(&self, script: &str) {
        self.psql(script).unwrap();
    }

    fn query(&self, query: &str) -> String {
        self.psql(query).unwrap()
    }
}
