//! App for tests with one target: a SQLite database of ten active sessions.

use std::{ops::Deref, path::PathBuf, sync::Arc};

use rusqlite::Connection;

use super::{Actor, TargetOps, test_app::TestApp};

/// Users `u1` to `u8`; `u1` has three sessions and the others one each, `s01` to `s10`. All expire in 2099.
const SHOP_SCHEMA: &str = "
    CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT);
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, user_id TEXT NOT NULL, expires INTEGER NOT NULL);
    INSERT INTO users WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8)
        SELECT 'u' || i, 'Name ' || i, 'mail' || i || '@example.org' FROM n;
    INSERT INTO sessions WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)
        SELECT printf('s%02d', i), printf('%02dabcdefghijklmnopqrstuvwxyz', i), 'u' || max(1, i - 2), 4070908800000
        FROM n;
";

const SESSIONS_MAPPING: &str = "[target.mapping]\nsessions = \"sessions\"\nid = \"id\"\ntoken = \"token\"\n\
                                user = \"user_id\"\nexpires = \"expires\"\ndecoder = \"epoch-ms\"\n";
const USERS_MAPPING: &str = "users = \"users\"\ndisplay = [\"name\", \"email\"]\n";

pub(super) struct TestShop {
    folder: tempfile::TempDir,
    app: TestApp,
}

impl Deref for TestShop {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl TestShop {
    /// Creates the target `shop`, with more sections of configuration.
    pub(super) fn new(more: &str) -> Self {
        Self::with_mapping(&format!("{SESSIONS_MAPPING}{USERS_MAPPING}"), more)
    }

    /// Creates the target without its users table.
    pub(super) fn without_users_table() -> Self {
        Self::with_mapping(SESSIONS_MAPPING, "")
    }

    fn with_mapping(mapping: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("shop.db");
        Connection::open(&database).unwrap().execute_batch(SHOP_SCHEMA).unwrap();
        let [database, store] =
            [database, folder.path().join("state.db")].map(|path| path.display().to_string());
        let text = format!(
            "[[target]]\nname = \"shop\"\nurl = {database:?}\n{mapping}\n[serve]\nstore = {store:?}\n{more}"
        );
        Self { folder, app: TestApp::with_config(&text) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the database.
    pub(super) fn execute(&self, sql: &str) {
        Connection::open(self.path("shop.db")).unwrap().execute_batch(sql).unwrap();
    }

    /// Returns the IDs of all sessions.
    pub(super) fn session_ids(&self) -> Vec<String> {
        let database = Connection::open(self.path("shop.db")).unwrap();
        let mut query = database.prepare("SELECT id FROM sessions ORDER BY id").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Returns the operations of an account on the target.
    pub(super) fn ops(&self, account: &str) -> TargetOps {
        let app = Arc::clone(&self.app);
        TargetOps::new(&app, app.target("shop").unwrap(), &Actor::from_account(account))
    }
}
