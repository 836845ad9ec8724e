//! Databases to point the program at.

use std::{sync::OnceLock, time::Duration};

use crate::{Database, PostgresServer, polling::let_time_pass, server::shared_server};

/// The schema that the guide was written for, without the constraints, so that every anomaly can be planted.
pub const GUIDE_SCHEMA: &str = r#"
CREATE TABLE users (id serial PRIMARY KEY, name text, "xId" text, "xUsername" text, "createdAt" timestamp(3) DEFAULT now());
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" integer NOT NULL, expires timestamp(3) NOT NULL);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" integer);
INSERT INTO users (name, "xUsername") SELECT 'User ' || n, 'user' || n FROM generate_series(1, 60) AS n;
INSERT INTO sessions
  SELECT 's' || n, 'token-' || md5(n::text), 1 + n % 60, now() + n * interval '1 hour' FROM generate_series(1, 90) AS n;
"#;

/// Two tokens twice (one over two users), twelve orphans, seven sessions of one user, 130 expired.
pub const GUIDE_ANOMALIES: &str = r#"
INSERT INTO sessions SELECT 'd' || n, 'token-' || md5(n::text), 1 + n % 60, now() + interval '1 day' FROM generate_series(1, 1) AS n;
INSERT INTO sessions SELECT 'e' || n, 'token-' || md5(n::text), 9, now() + interval '1 day' FROM generate_series(2, 2) AS n;
INSERT INTO sessions SELECT 'o' || n, 'orphan-' || n, 1000 + n, now() + interval '1 day' FROM generate_series(1, 12) AS n;
INSERT INTO sessions SELECT 'm' || n, 'many-' || n, 5, now() + interval '1 day' FROM generate_series(1, 7) AS n;
INSERT INTO sessions SELECT 'x' || n, 'old-' || n, 7, now() - n * interval '1 hour' FROM generate_series(1, 130) AS n;
"#;

/// A database with the guide's tables, in order.
#[must_use]
pub fn healthy_database() -> Database<'static> {
    static HEALTHY_TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    clone_template(&HEALTHY_TEMPLATE, &[GUIDE_SCHEMA])
}

/// A database with the guide's tables, and something wrong of every kind.
#[must_use]
pub fn anomalous_database() -> Database<'static> {
    static ANOMALOUS_TEMPLATE: OnceLock<Database<'static>> = OnceLock::new();
    clone_template(&ANOMALOUS_TEMPLATE, &[GUIDE_SCHEMA, GUIDE_ANOMALIES])
}

/// A database with nothing in it.
///
/// # Panics
///
/// If it cannot be made.
#[must_use]
pub fn empty_database() -> Database<'static> {
    shared_server().create_database(None).expect("a database")
}

/// A copy of a template that is filled once.
///
/// # Panics
///
/// If a script fails.
#[must_use]
pub fn clone_template(template: &'static OnceLock<Database<'static>>, scripts: &[&str]) -> Database<'static> {
    let template = template.get_or_init(|| {
        let database = empty_database();
        for script in scripts {
            database.psql(script).expect("a script that runs");
        }
        database
    });
    shared_server().create_database(Some(template)).expect("a copy")
}

/// A server that insists on TLS, which all tests of a binary share.
///
/// # Panics
///
/// If it does not start.
#[must_use]
pub fn shared_tls_server() -> &'static PostgresServer {
    static SHARED_TLS_SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SHARED_TLS_SERVER
        .get_or_init(|| PostgresServer::start_with_tls().expect("a private PostgreSQL server starts"))
}

/// A new role that may log in, of a name that no other story uses.
///
/// # Panics
///
/// If it cannot be made.
#[must_use]
pub fn create_role(database: &Database<'_>, kind: &str) -> String {
    let role = format!("{kind}_{}", database.name());
    database.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'testkit'")).expect("a role");
    role
}

/// Waits until the program's queries have left a server, asking a bounded number of times: what has not.
///
/// # Panics
///
/// If the server cannot be asked.
#[must_use]
pub fn wait_for_remaining_queries(database: &Database<'_>) -> String {
    let running = format!(
        "SELECT state, query FROM pg_stat_activity WHERE application_name = 'sessionwatch' AND datname = '{}' AND state <> 'idle'",
        database.name()
    );
    let mut left = String::new();
    for _ in 0..100 {
        left = database.psql(&running).expect("the server answers");
        if left.is_empty() {
            break;
        }
        let_time_pass(Duration::from_millis(100));
    }
    left
}
