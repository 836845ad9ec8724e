//! The application's database, on a server or in a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use testkit::Database;

use super::shapes::{SHAPES, Shape};

/// Connections of the application.
pub(super) enum App {
    Server(Database<'static>),
    File(PathBuf),
}

impl App {
    pub(super) fn server(shape: Shape) -> Self {
        let database = testkit::empty_database();
        database
            .psql(&schema("timestamp(3)", "now() + interval '1 day'", "now() - interval '3 days'"))
            .unwrap();
        if shape != Shape::Plain {
            // In one transaction, so that rows of several heaps share tuple and transaction IDs.
            let (_, script) = SHAPES.iter().find(|(named, _)| *named == shape).unwrap();
            database
                .psql(&format!("BEGIN; ALTER TABLE sessions RENAME TO old; {script}; DROP TABLE old; COMMIT"))
                .unwrap();
        }
        if shape == Shape::InheritedAlike {
            database.psql("UPDATE dead SET id = 's' || (substr(id, 2)::int + 1)").unwrap();
        }
        Self::Server(database)
    }

    /// Every row with its table, by token prefix.
    pub(super) fn full_rows(&self) -> BTreeMap<String, String> {
        let Self::Server(database) = self else { return BTreeMap::new() };
        let rows = database
            .psql(
                "SELECT left(\"sessionToken\", 8), s.tableoid::regclass::text || s::text FROM sessions AS s",
            )
            .unwrap();
        let pair = |line: &str| line.split_once('|').map(|(token, row)| (token.to_owned(), row.to_owned()));
        rows.lines().filter_map(pair).collect()
    }

    /// Dependent rows of other tables, by session.
    pub(super) fn carts(&self, shape: Shape) -> BTreeMap<String, Vec<String>> {
        const CARTS: &str = "SELECT session, 'cart ' || id || ' ' || note FROM carts UNION ALL
            SELECT c.session, 'item ' || i.cart || ' ' || i.name FROM items AS i JOIN carts AS c ON c.id = i.cart \
              ORDER BY 1, 2";
        let rows: Vec<(String, String)> = match self {
            Self::Server(_) if !matches!(shape, Shape::Referenced | Shape::ReferencedPartitions) => vec![],
            Self::Server(database) => {
                let rows = database.psql(CARTS).unwrap();
                let pair =
                    |line: &str| line.split_once('|').map(|(id, rest)| (id.to_owned(), rest.to_owned()));
                rows.lines().filter_map(pair).collect()
            }
            Self::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let mut statement = connection.prepare(CARTS).unwrap();
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
        };
        let mut carts = BTreeMap::<String, Vec<String>>::new();
        rows.into_iter().for_each(|(session, row)| carts.entry(session).or_default().push(row));
        carts
    }

    pub(super) fn file(folder: &Path) -> Self {
        let path = folder.join("app.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let now = "CAST(strftime('%s', 'now') AS integer) * 1000";
        let (live, dead) = (format!("{now} + 86400000"), format!("{now} - 259200000"));
        let sql = schema("INTEGER", &live, &dead);
        let numbers = "(WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 420) \
            SELECT n FROM n) AS n";
        let sql = sql
            .replace("generate_series(1, 420) AS n", numbers)
            .replace("generate_series(1, 30) AS n", &numbers.replace("420", "30"))
            .replace("md5(n::text)", "hex(randomblob(16))");
        connection.execute_batch(&sql).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE carts (id integer PRIMARY KEY AUTOINCREMENT, \
                   session text REFERENCES sessions (id) ON DELETE CASCADE, note text NOT NULL DEFAULT '');
                 CREATE TABLE items (cart integer REFERENCES carts (id) ON DELETE CASCADE, \
                   session text REFERENCES sessions (id) ON DELETE CASCADE, name text);
                 INSERT INTO carts (session) SELECT id FROM sessions;
                 INSERT INTO items SELECT id, session, 'a' FROM carts; \
                 INSERT INTO items SELECT id, NULL, 'b' FROM carts;
                 INSERT INTO items SELECT * FROM items WHERE cart % 5 = 0",
            )
            .unwrap();
        Self::File(path)
    }

    /// Returns `true` if the statement succeeded. It does not wait for locks.
    pub(super) fn run(&self, sql: &str) -> bool {
        match self {
            Self::Server(database) => database.psql(&format!("SET lock_timeout = '20ms';\n{sql}")).is_ok(),
            Self::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                connection.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
                connection.execute_batch(sql).is_ok()
            }
        }
    }

    /// Token prefixes and IDs of the rows.
    pub(super) fn rows(&self) -> BTreeMap<String, String> {
        match self {
            Self::Server(database) => {
                let rows = database.psql("SELECT left(\"sessionToken\", 8), id FROM sessions").unwrap();
                let pair =
                    |line: &str| line.split_once('|').map(|(id, rest)| (id.to_owned(), rest.to_owned()));
                rows.lines().filter_map(pair).collect()
            }
            Self::File(path) => {
                let connection = rusqlite::Connection::open(path).unwrap();
                let query = "SELECT substr(\"sessionToken\", 1, 8), id FROM sessions";
                let mut statement = connection.prepare(query).unwrap();
                let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
                rows.map(Result::unwrap).collect()
            }
        }
    }

    pub(super) fn url(&self, pooled: bool) -> String {
        match self {
            Self::Server(database) => database.urls("postgres")[usize::from(pooled)].clone(),
            Self::File(path) => format!("sqlite:{}", path.display()),
        }
    }
}

/// Half of the rows have expired, and there are few users.
fn schema(instant: &str, live: &str, dead: &str) -> String {
    format!(
        "CREATE TABLE users (id integer PRIMARY KEY, name text);
         CREATE TABLE sessions (id text PRIMARY KEY, \"sessionToken\" text NOT NULL UNIQUE, \
           \"userId\" integer NOT NULL, expires {instant} NOT NULL, seen integer DEFAULT 0);
         INSERT INTO users SELECT n, 'User ' || n FROM generate_series(1, 30) AS n;
         INSERT INTO sessions (id, \"sessionToken\", \"userId\", expires) SELECT 's' || n, md5(n::text), 1 + n % 30, \
           CASE n % 2 WHEN 0 THEN {live} ELSE {dead} END FROM generate_series(1, 420) AS n;"
    )
}
