//! Never the wrong table: tables of frameworks are recognized as such, and tables that merely look like sessions are
//! not.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use testkit::{Database, ProgramOutput, run_program_in};

mod ambiguity;
mod libraries;

/// A database of either kind, with the URL that configurations and commands use.
enum Store {
    Server(Database<'static>),
    File(tempfile::TempDir),
}

impl Store {
    /// Creates an empty database on a server, or a file.
    fn new(server: bool) -> Self {
        if server {
            Self::Server(testkit::empty_database())
        } else {
            Self::File(tempfile::tempdir().unwrap())
        }
    }

    fn run(&self, sql: &str) {
        match self {
            Self::Server(database) => {
                database.psql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            Self::File(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
                connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }

    fn count(&self, table: &str) -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        match self {
            Self::Server(database) => database.psql(&query).unwrap().trim().parse().unwrap(),
            Self::File(folder) => {
                let connection = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
                connection.query_row(&query, [], |row| row.get(0)).unwrap()
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Server(database) => database.url("postgres"),
            Self::File(folder) => folder.path().join("app.db").display().to_string(),
        }
    }

    /// A folder with a configuration of the target `app`, with these lines about it.
    fn configured(&self, lines: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        self.configure(folder.path(), lines);
        folder
    }

    fn configure(&self, folder: &Path, lines: &str) {
        let url = self.url();
        let text = format!(
            "[[target]]\nname = \"app\"\nurl = \"{url}\"\nwrite_url = \"{url}\"\n{lines}\n\
             [checks.slow-check-run]\nbudget_ms = 3600000\n[serve]\nlisten = \"127.0.0.1:0\"\n"
        );
        std::fs::write(folder.join("sessionwatch.toml"), text).unwrap();
    }

    /// A table of token, user and expiry, with expired rows.
    fn tokens(&self, name: &str, columns: [&str; 3], more: &str) {
        let instant = if matches!(self, Self::Server(_)) { "timestamptz" } else { "text" };
        let [token, user, expires] = columns;
        self.run(&format!(
            "CREATE TABLE \"{name}\" (\"{token}\" text NOT NULL, \"{user}\" text NOT NULL, \
               \"{expires}\" {instant} NOT NULL{more});
             INSERT INTO \"{name}\" (\"{token}\", \"{user}\", \"{expires}\") \
               VALUES ('a-token-of-something', 'u1', '2020-01-01T00:00:00.000Z'),
               ('another-token-of-it', 'u2', '2090-01-01T00:00:00.000Z');"
        ));
    }
}

fn check(folder: &Path) -> (ProgramOutput, Value) {
    let said = run_program_in(folder, &[], &["check", "--format", "json"]);
    let report = said.check_report();
    (said, report)
}

fn fixtures() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/frameworks");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 30);
    paths
}

/// Loads a fixture. Returns the database, and the expectations in its header.
fn load(path: &Path) -> (Store, String) {
    let text = std::fs::read_to_string(path).unwrap();
    let store = Store::new(!path.to_str().unwrap().contains(".sqlite."));
    store.run(&text);
    let expected = text.lines().find_map(|line| line.strip_prefix("-- expected of sessionwatch: ")).unwrap();
    (store, expected.to_owned())
}

fn fixture(name: &str) -> Store {
    let path = fixtures().into_iter().find(|path| path.file_name().unwrap() == name).unwrap();
    load(&path).0
}

const SNAKE: [&str; 3] = ["token", "user_id", "expires_at"];
const CAMEL: [&str; 3] = ["token", "userId", "expiresAt"];
/// Tables of other tokens, in several spellings.
const OTHERS: [(&str, [&str; 3]); 14] = [
    ("password_reset_tokens", SNAKE),
    ("passwordResets", CAMEL),
    ("email_verification_tokens", SNAKE),
    ("EmailConfirmation", CAMEL),
    ("invitations", SNAKE),
    ("teamInvites", CAMEL),
    ("refresh_tokens", SNAKE),
    ("refreshtoken", CAMEL),
    ("api_keys", SNAKE),
    ("ApiKey", CAMEL),
    ("personal-access-tokens", SNAKE),
    ("oauthAccessToken", CAMEL),
    ("magic_links", SNAKE),
    ("token_blacklist", SNAKE),
];

#[test]
fn tables_of_frameworks_are_recognized_as_such() {
    for path in fixtures() {
        let (store, expected) = load(&path);
        let parts: Vec<&str> = expected.split(" | ").collect();
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        let plan = run_program_in(folder.path(), &[], &["cleanup", "expired"]);
        let name = path.file_name().unwrap().to_str().unwrap();
        if let [profile, framework, table] = parts[..] {
            assert_eq!(
                (&report["profile"], &report["framework"], &report["table"]),
                (&json!(profile), &json!(framework), &json!(table)),
                "{name}: {report:#} {}",
                said.stderr
            );
            assert!(
                said.exit_code < 2 || report["stats"]["sessions"].as_u64() > Some(0),
                "{name}: {}",
                said.stderr
            );
            let place = format!("Table: {table} ({framework}).");
            assert!(
                plan.exit_code == 0 && plan.stdout.contains(&place),
                "{name}: {} {}",
                plan.stdout,
                plan.stderr
            );
            let doctor = testkit::run_for_json(&["doctor", &store.url(), "--format", "json"]);
            let layout = finding(&doctor, "layout");
            assert_eq!(layout["level"], "pass", "{name}: {layout}");
        } else {
            assert_eq!(said.exit_code, 3, "{name}: {report:#}");
            assert!(said.stderr.contains(parts[1]), "{name}: {}", said.stderr);
            assert_eq!((&report["result"], &report["table"]), (&json!("unknown"), &Value::Null), "{name}");
            assert_eq!(plan.exit_code, 3, "{name}: {}", plan.stdout);
            let mapping: Vec<&str> = said.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
            if mapping.first() == Some(&"[target.mapping]") {
                store.configure(folder.path(), &mapping.join("\n"));
                let (said, report) = check(folder.path());
                assert!(report["stats"]["sessions"].as_u64() > Some(0), "{name}: {report:#} {}", said.stderr);
            }
        }
    }
}

fn finding(doctor: &Value, id: &str) -> Value {
    let findings = doctor["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).cloned().unwrap_or_default()
}

#[test]
fn the_role_of_grants_recognizes_the_same() {
    for path in fixtures() {
        let (Store::Server(database), expected) = load(&path) else { continue };
        let parts: Vec<&str> = expected.split(" | ").collect();
        let [profile, framework, table] = parts[..] else { continue };
        let (watch, act) = (testkit::create_role(&database, "watch"), testkit::create_role(&database, "act"));
        let url = database.url("postgres");
        let grants =
            testkit::run_program(&["grants", &url, "--watch-role", &watch, "--write-role", &act]).stdout;
        let grants: Vec<&str> = grants.lines().filter(|line| !line.starts_with("CREATE ROLE")).collect();
        database.psql(&grants.join("\n")).unwrap();
        let report = testkit::run_check(&database.url(&watch), &[]);
        assert_eq!(
            (&report["profile"], &report["framework"], &report["table"]),
            (&json!(profile), &json!(framework), &json!(table)),
            "{}: {report:#}",
            path.display()
        );
    }
}

#[test]
fn other_token_tables_do_not_make_the_session_table_ambiguous() {
    for name in ["better-auth-kysely-pg.sql", "better-auth-kysely.sqlite.sql"] {
        let store = fixture(name);
        for (table, columns) in OTHERS {
            store.tokens(table, columns, "");
        }
        let folder = store.configured("");
        let (said, report) = check(folder.path());
        assert!(
            report["table"].as_str().unwrap().ends_with("session") && said.exit_code < 3,
            "{report:#} {}",
            said.stderr
        );
        let doctor = testkit::run_for_json(&["doctor", &store.url(), "--format", "json"]);
        assert_eq!(finding(&doctor, "layout")["level"], "pass", "{doctor:#}");
        let plan = run_program_in(folder.path(), &[], &["cleanup", "expired", "--format", "json"]);
        assert_eq!(plan.exit_code, 0, "{}", plan.stderr);
        let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
        assert!(plan["plan"]["table"].as_str().unwrap().ends_with("session"), "{plan:#}");
        assert_eq!(plan["plan"]["framework"], "Better Auth");
    }
}

#[test]
fn other_token_tables_are_not_session_tables() {
    for server in [true, false] {
        for (table, columns) in OTHERS {
            for users in
                ["", "CREATE TABLE \"user\" (id text PRIMARY KEY, name text); CREATE TABLE account (id text)"]
            {
                let store = Store::new(server);
                store.run(users);
                let with_all = if columns == SNAKE {
                    ", created_at text, updated_at text, ip_address text, user_agent text"
                } else {
                    ", \"createdAt\" text, \"updatedAt\" text, \"ipAddress\" text, \"userAgent\" text"
                };
                store.tokens(table, columns, if users.is_empty() { "" } else { with_all });
                let folder = store.configured("");
                let (said, report) = check(folder.path());
                assert_eq!((said.exit_code, &report["table"]), (3, &Value::Null), "{table}: {report:#}");
                assert!(
                    said.stderr.contains(table) && said.stderr.contains("judging by its name it holds"),
                    "{table}: {}",
                    said.stderr
                );
                for plan in [&["revoke", "all"][..], &["cleanup", "expired"], &["revoke", "user", "u1"]] {
                    assert_eq!(run_program_in(folder.path(), &[], plan).exit_code, 3, "{table}");
                }
            }
        }
    }
}

#[test]
fn signed_tokens_are_not_sessions_whatever_their_table_is_called() {
    for server in [true, false] {
        let store = Store::new(server);
        store.run("CREATE TABLE \"user\" (id text PRIMARY KEY, name text); CREATE TABLE account (id text)");
        store.tokens(
            "session",
            SNAKE,
            ", created_at text, updated_at text, ip_address text, user_agent text",
        );
        let folder = store.configured("");
        assert_eq!(check(folder.path()).1["framework"], "Better Auth, snake_case columns");
        store.run("UPDATE session SET token = 'eyJhbGciOiJIUzI1NiJ9.eyJ1IjoxfQ.sig' || user_id");
        let (said, report) = check(folder.path());
        assert!(
            said.exit_code == 3 && said.stderr.contains("its tokens are JWTs"),
            "{report:#} {}",
            said.stderr
        );
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("eyJ"), "{}", said.stdout);
        // A mapping that names it anyway gets a finding.
        store.configure(folder.path(), "sessions = \"session\"");
        let (_, report) = check(folder.path());
        assert!(report["notes"].to_string().contains("are JWTs"), "{report:#}");
        let plan = run_program_in(folder.path(), &[], &["revoke", "user", "u2"]);
        assert!(plan.exit_code == 0 && plan.stdout.contains("are JWTs"), "{} {}", plan.stdout, plan.stderr);
    }
}

#[test]
fn a_table_with_too_little_evidence_is_unknown_until_it_is_named() {
    for server in [true, false] {
        let store = Store::new(server);
        store.run(
            "CREATE TABLE \"user\" (id text PRIMARY KEY, name text); CREATE TABLE account (id text); \
             INSERT INTO \"user\" VALUES ('u1', 'x'), ('u2', 'y')",
        );
        store.tokens("entries", SNAKE, "");
        let folder = store.configured("");
        let all = &["revoke", "all"][..];
        for lines in ["", "profile = \"better-auth-snake-case\""] {
            store.configure(folder.path(), lines);
            let (said, report) = check(folder.path());
            assert_eq!((said.exit_code, &report["result"]), (3, &json!("unknown")), "{report:#}");
            for check in report["checks"].as_array().unwrap() {
                let reason = check["reason"].as_str().unwrap_or_default();
                assert!(
                    reason.contains("entries") && reason.contains("no column `created_at`")
                        || reason.contains("serve")
                        || reason.contains("no baseline"),
                    "{check:#}"
                );
            }
            for plan in [all, &["cleanup", "expired"], &["cleanup", "duplicates"], &["revoke", "user", "u1"]]
            {
                let said = run_program_in(folder.path(), &[], plan);
                assert!(
                    said.exit_code == 2
                        && said.stderr.contains("entries")
                        && said.stderr.contains("sessions = \""),
                    "{} {}",
                    said.stdout,
                    said.stderr
                );
            }
        }
        let doctor = testkit::run_for_json(&["doctor", &store.url(), "--format", "json"]);
        assert_eq!(finding(&doctor, "layout")["level"], "fail", "{doctor:#}");
        // The lines that the error prints are enough.
        let refused = run_program_in(folder.path(), &[], all).stderr;
        let lines: Vec<&str> = refused.lines().filter_map(|line| line.strip_prefix("  ")).collect();
        store.configure(folder.path(), &lines.join("\n"));
        let (said, report) = check(folder.path());
        assert!(said.exit_code != 3 || !said.stdout.contains("too little"), "{report:#}");
        let planned = run_program_in(folder.path(), &[], all);
        assert!(
            planned.exit_code == 0 && planned.stdout.contains("entries ("),
            "{} {}",
            planned.stdout,
            planned.stderr
        );
    }
}

#[test]
fn reports_name_table_and_framework() {
    let database = testkit::healthy_database();
    let url = database.url("postgres");
    for (format, part) in [
        ("table", "Auth.js with Prisma in public.sessions"),
        ("markdown", "Table `public.sessions`, Auth.js with Prisma."),
        ("json", "\"table\": \"public.sessions\""),
    ] {
        let said = testkit::run_program(&["check", &url, "--format", format]);
        assert!(said.stdout.contains(part), "{format}: {}", said.stdout);
    }
}
