//! Sample databases.

use std::{path::Path, sync::OnceLock, time::Duration};

use crate::{Database, PostgresServer, polling::let_time_pass, server::shared_server};

/// Schema and healthy rows of the operator guide, without its constraints, so that every anomaly can be planted.
pub const GUIDE_SCHEMA: &str = r#"
CREATE TABLE users (id serial PRIMARY KEY, name text, "xId" text, "xUsername" text,
  "createdAt" timestamp(3) DEFAULT now());
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" integer NOT NULL,
  expires timestamp(3) NOT NULL);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" integer);
INSERT INTO users (name, "xUsername") SELECT 'User ' || n, 'user' || n FROM generate_series(1, 60) AS n;
INSERT INTO sessions
  SELECT 's' || n, 'token-' || md5(n::text), 1 + n % 60, now() + n * interval '1 hour' FROM generate_series(1, 90) AS n;
"#;

/// Anomalies for [`GUIDE_SCHEMA`]: two duplicate tokens (one shared by two users), twelve orphaned sessions, seven
/// sessions of one user, 130 expired sessions.
pub const GUIDE_ANOMALIES: &str = r#"
INSERT INTO sessions SELECT 'd' || n, 'token-' || md5(n::text), 1 + n % 60, now() + interval '1 day'
  FROM generate_series(1, 1) AS n;
INSERT INTO sessions SELECT 'e' || n, 'token-' || md5(n::text), 9, now() + interval '1 day'
  FROM generate_series(2, 2) AS n;
INSERT INTO sessions SELECT 'o' || n, 'orphan-' || n, 1000 + n, now() + interval '1 day'
  FROM generate_series(1, 12) AS n;
INSERT INTO sessions SELECT 'm' || n, 'many-' || n, 5, now() + interval '1 day' FROM generate_series(1, 7) AS n;
INSERT INTO sessions SELECT 'x' || n, 'old-' || n, 7, now() - n * interval '1 hour' FROM generate_series(1, 130) AS n;
"#;

/// Creates a healthy database with the operator guide's tables.
#[must_use]
pub fn healthy_database() -> Database<'static> {
    static HEALTHY_TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    clone_template(&HEALTHY_TEMPLATE, &[GUIDE_SCHEMA])
}

/// Creates a healthy database and a configuration in a folder that monitors it as target `app`. The dashboard listens
/// on a free port, and `serve_options` are more lines of `[serve]`. A daemon needs the returned database.
///
/// # Panics
///
/// Panics if the configuration cannot be written.
#[must_use]
pub fn configure_healthy_target(folder: &Path, serve_options: &str) -> Database<'static> {
    let database = healthy_database();
    let url = database.url("postgres");
    let text = format!(
        "[[target]]\nname = \"app\"\nurl = \"{url}\"\n[serve]\nlisten = \"127.0.0.1:0\"\n{serve_options}"
    );
    std::fs::write(folder.join("sessionwatch.toml"), text).expect("the configuration is written");
    database
}

/// Creates a database with the operator guide's tables and anomalies of every kind.
#[must_use]
pub fn anomalous_database() -> Database<'static> {
    static ANOMALOUS_TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    clone_template(&ANOMALOUS_TEMPLATE, &[GUIDE_SCHEMA, GUIDE_ANOMALIES])
}

/// Creates an empty database.
///
/// # Panics
///
/// Panics if the database cannot be created.
#[must_use]
pub fn empty_database() -> Database<'static> {
    shared_server().create_database(None).expect("the database is created")
}

/// Copies a template database, which the scripts fill on first use.
///
/// # Panics
///
/// Panics if a script fails.
#[must_use]
pub fn clone_template(template: &'static OnceLock<Database<'static>>, scripts: &[&str]) -> Database<'static> {
    let template = template.get_or_init(|| {
        let database = empty_database();
        for script in scripts {
            database.psql(script).expect("the script runs");
        }
        database
    });
    shared_server().create_database(Some(template)).expect("the template is copied")
}

/// Returns a server that requires TLS, shared by all tests of a binary.
///
/// # Panics
///
/// Panics if the server does not start.
#[must_use]
pub fn shared_tls_server() -> &'static PostgresServer {
    static SHARED_TLS_SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SHARED_TLS_SERVER
        .get_or_init(|| PostgresServer::start_with_tls().expect("a private PostgreSQL server starts"))
}

/// Creates a login role and returns its name, which is unique to the database: roles belong to the whole server.
///
/// # Panics
///
/// Panics if the role cannot be created.
#[must_use]
pub fn create_role(database: &Database<'_>, kind: &str) -> String {
    let role = format!("{kind}_{}", database.name());
    database.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'testkit'")).expect("the role is created");
    role
}

/// Waits up to 10 seconds until the program has no query running in a database, and returns those that remain.
///
/// # Panics
///
/// Panics if the server does not respond.
#[must_use]
pub fn wait_for_remaining_queries(database: &Database<'_>) -> String {
    let running = format!(
        "SELECT state, query FROM pg_stat_activity \
           WHERE application_name = 'sessionwatch' AND datname = '{}' AND state <> 'idle'",
        database.name()
    );
    let mut left = String::new();
    for _ in 0..100 {
        left = database.psql(&running).expect("the server responds");
        if left.is_empty() {
            break;
        }
        let_time_pass(Duration::from_millis(100));
    }
    left
}
