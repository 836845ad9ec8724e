//! SQLite, whose database is a file.

use std::path::Path;

use sessionwatch_core::timestamp_decoder::Decoder;
use sessionwatch_targets::sql::{Dialect, RowAddressing};

use super::{Backend, TestDatabase, remediation::Site};

pub(crate) struct Sqlite;

struct File(tempfile::TempDir);

impl Backend for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn dialect(&self) -> Dialect {
        Dialect::SQLITE
    }

    fn literal(&self, text: &str) -> String {
        let bytes: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("CAST(x'{bytes}' AS text)")
    }

    fn create(&self) -> Box<dyn TestDatabase> {
        Box::new(File(tempfile::tempdir().unwrap()))
    }

    fn visit_anomalous(&self, story: &dyn Fn(&Site<'_>)) {
        for numbered in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("app.db");
            file(&path, numbered);
            configured(folder.path(), "");
            let sql = |sql: &str| {
                if sql.starts_with("INSERT") {
                    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
                    return String::new();
                }
                query(&path, sql)
            };
            let live = "CAST(strftime('%s', 'now') AS integer) * 1000 + 86400000";
            story(&Site { folder: folder.path(), sql: &sql, live });
        }
    }

    fn instant_columns(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("integer", "epoch-s"),
            ("text", "epoch-ms"),
            ("text", "iso-text"),
            ("datetime", "epoch-ms-or-iso"),
            ("datetime", "timestamp-local:America/New_York"),
            ("text", "timestamp-local:Australia/Lord_Howe"),
        ]
    }

    fn paged_columns(&self) -> &'static [(&'static str, Decoder)] {
        &[("integer", Decoder::EpochSeconds)]
    }

    fn table_endings(&self) -> &'static [(&'static str, RowAddressing)] {
        &[(")", RowAddressing::Position), (") WITHOUT ROWID", RowAddressing::Id)]
    }

    fn id_columns(&self) -> &'static [&'static str] {
        &["text PRIMARY KEY NOT NULL", "text", "integer PRIMARY KEY NOT NULL"]
    }

    fn random_tables(&self) -> u32 {
        40
    }
}

impl TestDatabase for File {
    fn urls(&self) -> Vec<String> {
        vec![format!("sqlite:{}", self.0.path().join("app.db").display())]
    }

    fn execute(&self, script: &str) {
        let file = rusqlite::Connection::open(self.0.path().join("app.db")).unwrap();
        file.execute_batch(script).unwrap();
    }

    fn query(&self, query: &str) -> String {
        self::query(&self.0.path().join("app.db"), query)
    }
}

/// Runs a query on a file, and returns its rows as `psql` would print them.
pub(crate) fn query(path: &Path, sql: &str) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut text = String::new();
    while let Some(row) = rows.next().unwrap() {
        let cells = (0..width).map(|at| match row.get_ref(at).unwrap() {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => other.as_str().unwrap_or_default().to_owned(),
        });
        text += &(cells.collect::<Vec<_>>().join("|") + "\n");
    }
    text
}

/// The operator guide's tables with every anomaly, in a file. Rows have row numbers, or an ID instead.
pub(crate) fn file(path: &Path, numbered: bool) {
    let hours = |hours: &str| format!("CAST(strftime('%s', 'now') AS integer) * 1000 + ({hours}) * 3600000");
    let series = |last: u32| {
        format!(
            "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {last}) SELECT n FROM n) AS n"
        )
    };
    let rowid = if numbered { "" } else { " WITHOUT ROWID" };
    let rows =
        |select: String, last: u32| format!("INSERT INTO sessions SELECT {select} FROM {};", series(last));
    let script = [
        "CREATE TABLE users (id integer PRIMARY KEY, name text, \"xUsername\" text);".to_owned(),
        format!(
            "CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL, \"userId\" integer NOT NULL, \
               expires integer NOT NULL){rowid};"
        ),
        format!("INSERT INTO users SELECT n, 'User ' || n, 'user' || n FROM {};", series(60)),
        rows(format!("'s' || n, 'token-' || n || '-x', 1 + n % 60, {}", hours("n")), 90),
        rows(format!("'d' || n, 'token-' || n || '-x', 1 + n % 60, {}", hours("24")), 1),
        rows(format!("'e2', 'token-2-x', 9, {}", hours("24")), 1),
        rows(format!("'o' || n, 'orphan-' || n, 1000 + n, {}", hours("24")), 12),
        rows(format!("'m' || n, 'many-' || n, 5, {}", hours("24")), 7),
        rows(format!("'x' || n, 'old-' || n, 7, {} - 1000", hours("-n")), 130),
    ];
    rusqlite::Connection::open(path).unwrap().execute_batch(&script.concat()).unwrap();
}

/// Writes a configuration of a target in a file.
pub(crate) fn configured(folder: &Path, more: &str) {
    let mapping = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"sessionToken\"\n\
        expires = \"expires\"\n\
        decoder = \"epoch-ms\"\nuser = \"userId\"\nusers = \"users\"\ndisplay = [\"name\", \"xUsername\"]\n";
    let text = format!("[[target]]\nname = \"app\"\nurl = \"sqlite:app.db\"\n{mapping}{more}");
    std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
}
