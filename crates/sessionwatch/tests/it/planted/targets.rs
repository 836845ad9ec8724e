//! Targets with planted session tokens.

use testkit::Database;

use super::{ACT_PASSWORD, WATCH_PASSWORD};

/// Session tokens, in which a unique part follows the part that may be shown.
const PLANT: &str = r#"
UPDATE sessions SET "sessionToken" = left(md5("sessionToken"), 8) || 'Z' || md5(reverse("sessionToken"));
UPDATE sessions SET "sessionToken" = 'ZQ42XV' WHERE id = 's3';
"#;

/// A target with its URLs for both roles, all its tokens, and the state store of its daemon.
pub(super) struct Planted {
    pub(super) url: String,
    pub(super) write_url: Option<String>,
    pub(super) tokens: Vec<String>,
    /// Location of the store: a file beside the configuration, or a schema of this database.
    pub(super) store: Option<Database<'static>>,
    _kept: Kept,
}

/// Owner of the target's resources, which are released on drop.
#[expect(dead_code, reason = "it is only to be dropped")]
enum Kept {
    Database(Database<'static>),
    Folder(tempfile::TempDir),
}

pub(super) fn in_postgres() -> Planted {
    let database = testkit::anomalous_database();
    database.psql(PLANT).unwrap();
    let of = |kind: &str, password: &str| {
        let role = testkit::create_role(&database, kind);
        database.psql(&format!("ALTER ROLE {role} SUPERUSER PASSWORD '{password}'")).unwrap();
        database.url(&role).replace(":testkit@", &format!(":{password}@"))
    };
    let (url, write_url) = (of("watch", WATCH_PASSWORD), of("act", ACT_PASSWORD));
    assert!(url.contains(WATCH_PASSWORD));
    let tokens = database.psql(r#"SELECT DISTINCT "sessionToken" FROM sessions"#).unwrap();
    Planted {
        url,
        write_url: Some(write_url),
        tokens: tokens.lines().map(str::to_owned).collect(),
        store: Some(testkit::empty_database()),
        _kept: Kept::Database(database),
    }
}

pub(super) fn in_sqlite() -> Planted {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch(
            r#"CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
               CREATE TABLE sessions (id TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL, "userId" INTEGER NOT NULL,
                 expires INTEGER NOT NULL);
               WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 40)
               INSERT INTO users SELECT n, 'User ' || n FROM n;
               WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 60)
               INSERT INTO sessions SELECT 's' || n, lower(hex(randomblob(4))) || 'Z' || lower(hex(randomblob(16))),
                 1 + n % 45,
                 (unixepoch() + (n - 20) * 3600) * 1000 FROM n;
               UPDATE sessions SET "sessionToken" = (SELECT "sessionToken" FROM sessions WHERE id = 's50')
                 WHERE id = 's51';
               UPDATE sessions SET "sessionToken" = 'ZQ42XV' WHERE id = 's3';"#,
        )
        .unwrap();
    let mut query = connection.prepare(r#"SELECT DISTINCT "sessionToken" FROM sessions"#).unwrap();
    let tokens: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    Planted {
        url: format!("sqlite:{}", path.display()),
        write_url: None,
        tokens,
        store: None,
        _kept: Kept::Folder(folder),
    }
}
