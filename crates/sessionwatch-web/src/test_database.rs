//! A target with chosen sessions, for tests of lists and exports.

use jiff::SignedDuration;
use sessionwatch_store::{Store, StoreLocation};

use super::test_dashboard::TestDashboard;

/// Tables with every column that pages show.
const TABLES: [&str; 3] = [
    "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT, email TEXT)",
    "CREATE TABLE sessions (id TEXT NOT NULL PRIMARY KEY, \"sessionToken\" TEXT NOT NULL, \"userId\" TEXT, \
     expires INTEGER NOT NULL, \"createdAt\" INTEGER NOT NULL, \"ipAddress\" TEXT, \"userAgent\" TEXT)",
    "CREATE INDEX sessions_token ON sessions (\"sessionToken\")",
];

/// Where the configuration finds what the tables hold.
const MAPPING: &str = r#"sessions = "sessions"
token = "sessionToken"
expires = "expires"
decoder = "epoch-ms"
id = "id"
user = "userId"
created = "createdAt"
ip = "ipAddress"
user_agent = "userAgent"
users = "users"
display = ["name"]"#;

/// A session of the target.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestSession<'a> {
    pub(super) id: &'a str,
    pub(super) token: &'a str,
    pub(super) user: &'a str,
    /// Name of the user; a user without one does not exist.
    pub(super) name: Option<&'a str>,
    /// Negative for a session that has expired.
    pub(super) expires_in: SignedDuration,
    pub(super) ip: Option<&'a str>,
    pub(super) agent: Option<&'a str>,
}

impl Default for TestSession<'_> {
    fn default() -> Self {
        Self {
            id: "s1",
            token: "tokentokentokentokentokentokentoken",
            user: "u1",
            name: Some("Ada"),
            expires_in: SignedDuration::from_hours(24),
            ip: None,
            agent: None,
        }
    }
}

/// Returns a dashboard whose target has these sessions, and the directory that holds the database.
pub(super) fn dashboard_with_sessions(sessions: &[TestSession<'_>]) -> (tempfile::TempDir, TestDashboard) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    // A store is an ordinary database, in which any table can be created.
    let database = Store::open(&StoreLocation::File(path.clone())).unwrap();
    let now = sessionwatch_clock::now();
    database
        .write(|db| {
            for table in ["accounts", "login_sessions", "api_tokens"] {
                db.execute(&format!("DROP TABLE {table}"), &[])?;
            }
            for table in TABLES {
                db.execute(table, &[])?;
            }
            for session in sessions {
                let expires_ms = (now + session.expires_in).micros() / 1_000;
                let created_ms = (now - SignedDuration::from_hours(1)).micros() / 1_000;
                if let Some(name) = session.name {
                    let sql = "INSERT INTO users VALUES ($1, $2, NULL) ON CONFLICT DO NOTHING";
                    db.execute(sql, &[session.user.into(), name.into()])?;
                }
                let (ip, agent) = (session.ip.map(str::to_owned), session.agent.map(str::to_owned));
                db.execute(
                    "INSERT INTO sessions VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    &[
                        session.id.into(),
                        session.token.into(),
                        session.user.into(),
                        expires_ms.into(),
                        created_ms.into(),
                        (&ip).into(),
                        (&agent).into(),
                    ],
                )?;
            }
            Ok(())
        })
        .unwrap();
    drop(database);
    let key = folder.path().join("archive.key");
    let config = format!(
        "[actions]\narchive_identity = \"{}\"\n
        [[target]]\nname = \"app\"\nurl = \"sqlite:{}\"\n[target.mapping]\n{MAPPING}\n",
        key.display(),
        path.display()
    );
    (folder, TestDashboard::with_config(&config))
}
