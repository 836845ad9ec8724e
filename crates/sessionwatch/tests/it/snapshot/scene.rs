//! Tables for snapshots: every anomaly, in a fixed order.

use std::path::Path;

use testkit::{Database, ProgramOutput};

/// One token shared by two users, twelve orphans, a user with seven sessions, and four expired ones. Sessions expire
/// half an hour away from a full one, so that relative times are stable for some minutes.
const POSTGRESQL: &str = r#"
CREATE TABLE users (id serial PRIMARY KEY, name text, "xId" text, "xUsername" text,
  "createdAt" timestamp(3) DEFAULT now());
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text NOT NULL, "userId" integer NOT NULL,
  expires timestamp(3) NOT NULL);
CREATE TABLE accounts (id text PRIMARY KEY, "userId" integer);
INSERT INTO users (name, "xUsername") SELECT 'User ' || n, 'user' || n FROM generate_series(1, 12) AS n;
CREATE FUNCTION in_hours(hours integer) RETURNS timestamp AS $$
  SELECT now()::timestamp + make_interval(hours => hours, secs => 1890) $$ LANGUAGE SQL;
INSERT INTO sessions SELECT 's' || lpad(n::text, 2, '0'), 'token-' || md5(n::text), 1 + n % 10, in_hours(n)
  FROM generate_series(1, 20) AS n;
INSERT INTO sessions SELECT 'd01', "sessionToken", 9, in_hours(25) FROM sessions WHERE id = 's03';
INSERT INTO sessions SELECT 'o' || lpad(n::text, 2, '0'), 'orphan-' || md5(n::text), 1000 + n, in_hours(40 + n)
  FROM generate_series(1, 12) AS n;
INSERT INTO sessions SELECT 'm' || n, 'many-' || md5(n::text), 5, in_hours(60 + n) FROM generate_series(1, 5) AS n;
INSERT INTO sessions SELECT 'x' || n, 'expired-' || md5(n::text), 7, in_hours(-72 * n - 12)
  FROM generate_series(1, 4) AS n;
DROP FUNCTION in_hours;
ANALYZE;
"#;

/// The same, smaller, as Prisma stores it in SQLite.
const SQLITE: &str = r#"
CREATE TABLE "User" (id TEXT PRIMARY KEY NOT NULL, name TEXT, email TEXT);
CREATE TABLE "Session" (id TEXT PRIMARY KEY NOT NULL, "sessionToken" TEXT NOT NULL,
  "userId" TEXT NOT NULL, expires DATETIME NOT NULL);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6)
INSERT INTO "User" SELECT 'u' || i, 'User ' || i, 'user' || i || '@example.org' FROM n;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6)
INSERT INTO "Session" SELECT 's' || i, 'token-' || i || '-long-enough-to-be-a-secret', 'u' || i,
  (unixepoch() + i * 3600 + 1890) * 1000 FROM n;
INSERT INTO "Session" VALUES ('d1', 'token-3-long-enough-to-be-a-secret', 'u4', (unixepoch() + 90000 + 1890) * 1000);
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12)
INSERT INTO "Session" SELECT 'o' || printf('%02d', i), 'orphan-' || i || '-long-enough-to-be-a-secret', 'gone' || i,
  (unixepoch() + 150000 + i * 3600 + 1890) * 1000 FROM n;
INSERT INTO "Session" VALUES ('x1', 'expired-long-enough-to-be-a-secret', 'u2', (unixepoch() - 900000) * 1000);
"#;

pub(super) fn postgresql() -> Database<'static> {
    let database = testkit::empty_database();
    database.psql(POSTGRESQL).unwrap();
    database
}

pub(super) fn sqlite(path: &Path) {
    rusqlite::Connection::open(path).unwrap().execute_batch(SQLITE).unwrap();
}

/// Output of commands that one user runs in a folder, one after the other.
pub(super) struct Terminal<'a> {
    pub(super) folder: &'a Path,
    said: String,
}

impl<'a> Terminal<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self { folder, said: String::new() }
    }

    /// Runs a command, given with its arguments separated by spaces. Returns its output.
    pub(super) fn run(&mut self, command: &str) -> ProgramOutput {
        let words: Vec<&str> = command.split(' ').collect();
        let said = testkit::run_program_in(self.folder, &[("USER", "ada")], &words);
        self.said.push_str(&format!("$ sessionwatch {command}\n{}", said.stdout));
        if !said.stderr.is_empty() {
            self.said.push_str(&format!("--- standard error\n{}", said.stderr));
        }
        self.said.push_str(&format!("--- exit code {}\n\n", said.exit_code));
        said
    }

    /// Runs a command once in each list format.
    pub(super) fn run_in_all_formats(&mut self, command: &str) {
        for format in ["table", "json", "ndjson", "csv", "markdown"] {
            self.run(&format!("{command} --format {format}"));
        }
    }

    /// Returns the output since the last call.
    pub(super) fn taken(&mut self) -> String {
        std::mem::take(&mut self.said)
    }
}

/// The plan ID in a command's output.
pub(super) fn plan_of(said: &ProgramOutput) -> String {
    let at = said.stdout.find("p-").unwrap_or_else(|| panic!("no plan: {} {}", said.stdout, said.stderr));
    said.stdout[at..].chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect()
}
